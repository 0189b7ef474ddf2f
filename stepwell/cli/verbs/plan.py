"""``stepwell plan``."""

from __future__ import annotations

from typing import Annotated

import msgspec

from stepwell.cli.drawing import plan_lines
from stepwell.cli.exits import UsageError
from stepwell.cli.imports import import_handlers
from stepwell.cli.options import Dialect, File, Json, Modules
from stepwell.cli.output import print, print_json
from stepwell.cli.signature import Option
from stepwell.cli.sources import compile_source
from stepwell.core.decide.skips import runs_after_skips
from stepwell.schemas.definitions.dump import to_yaml
from stepwell.schemas.dialects import CANONICAL


async def plan(
    file: File,
    modules: Modules = (),
    dialect: Dialect = None,
    as_yaml: Annotated[
        bool, Option("--yaml", "--canonical", help="Print the definition in the canonical form, as YAML.")
    ] = False,
    as_json: Json = False,
) -> int:
    """Show in which batches the steps of a definition run, and what waits for what.

    \b
    stepwell plan order.yaml
    stepwell plan graph.json --yaml     # what a definition in another dialect is compiled to
    """
    import_handlers(modules)  # before the definition: they may hold step types of their own
    compiled, written = compile_source(file, dialect)
    definition = compiled.definition
    if as_yaml and as_json:
        raise UsageError("--yaml and --json are two forms of the same", remedy="Choose one.")
    if as_json:
        print_json({
            "workflow": definition.name, "version": definition.version, "hash": compiled.hash, "dialect": written,
            "batches": compiled.batches, "runs_after_skip": runs_after_skips(compiled),
            "error_handlers": sorted(definition.error_handlers),
            "definition": msgspec.to_builtins(definition),
        })  # fmt: skip
        return 0
    if not as_yaml:
        print("\n".join(plan_lines(compiled)))
    if not as_yaml and written != CANONICAL:
        print(f"\n# From the dialect {written}, in the canonical form:")
    if as_yaml or written != CANONICAL:
        print(to_yaml(definition), end="")
    return 0
