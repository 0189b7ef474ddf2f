"""``stepwell validate``."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Any

from stepwell.cli.drawing import count, skip_lines
from stepwell.cli.imports import import_handlers
from stepwell.cli.options import Dialect, File, Json, Modules
from stepwell.cli.output import print, print_json
from stepwell.cli.session import client_of
from stepwell.cli.signature import Option
from stepwell.cli.sources import compile_source, is_python
from stepwell.client.launch import check_handlers
from stepwell.consumers.registry.children import missing_children
from stepwell.consumers.registry.credentials import tell_credentials
from stepwell.consumers.worker.builtin import BUILTIN
from stepwell.consumers.worker.handlers import Handlers, registered
from stepwell.core.decide.skips import runs_after_skips
from stepwell.schemas.dialects import CANONICAL

if TYPE_CHECKING:
    from stepwell.consumers.registry.children import MissingChild
    from stepwell.schemas.definitions.model import Definition


async def validate(
    file: File,
    dialect: Dialect = None,
    modules: Modules = (),
    log: Annotated[
        str | None,
        Option("--log", metavar="URL", help="Look, too, whether this log knows the workflows that steps start."),
    ] = None,
    as_json: Json = False,
) -> int:
    """Check a definition: its shape, its graph, its expressions; with --handlers, its handlers too.

    \b
    stepwell validate order.yaml --handlers shop.steps
    """
    prefixes = import_handlers(modules)  # before the definition: they may hold step types of their own
    compiled, written = compile_source(file, dialect)
    checks_handlers = bool(modules) or is_python(file)  # its module was imported, and the steps with it
    if checks_handlers:
        handlers = Handlers(prefixes, BUILTIN)
        handlers.update(registered)
        check_handlers(compiled, handlers)
    definition = compiled.definition
    tell_credentials(definition)
    told: dict[str, Any] = {}
    if log is not None:
        missing = await _missing_children(definition, log)
        told["warnings"] = [f"{place}: {reason}" for place, reason, _ in missing]
        for line in told["warnings"]:
            print(f"warning: {line}", file=sys.stderr)
    if as_json:
        print_json({
            "valid": True, "workflow": definition.name, "version": definition.version, "hash": compiled.hash,
            "dialect": written, "runs_after_skip": runs_after_skips(compiled), **told,
        })  # fmt: skip
    else:
        unchecked = "" if checks_handlers or not compiled.handlers else "; handlers not checked: name --handlers"
        steps = count(len(definition.steps), "step")
        form = "" if written == CANONICAL else f", dialect {written}"
        print(f"{file}: {definition.name} {definition.version} is valid: {steps}{form}{unchecked}")
        for line in skip_lines(compiled):
            print(f"  {line}")
    return 0


async def _missing_children(definition: Definition, log: str) -> list[MissingChild]:
    """The steps that start what the log does not know; a definition that is not registered yet may start itself."""
    async with client_of(log) as client:
        await client.registry.catch_up()
        missing = missing_children(definition, client.registry)
    own = {step.id for step in definition.steps if step.config.get("workflow") == definition.name}
    return [child for child in missing if child.step_id not in own]
