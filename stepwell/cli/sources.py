"""What a verb is given as a definition: a file that holds one, or Python that builds one."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stepwell.cli.exits import UsageError
from stepwell.cli.imports import import_from, import_handlers, import_module
from stepwell.language import compile_loaded, read_definition
from stepwell.suggest import suggest

if TYPE_CHECKING:
    from pathlib import Path

    from stepwell.builder import Workflow
    from stepwell.core.plan.compile import Plan
    from stepwell.schemas.definitions.model import Definition

_DOTTED: Final = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*\Z")


def is_python(named: str | Path) -> bool:
    """Whether it names a workflow that is built in Python: ``FILE.py``, ``FILE.py:NAME`` or ``MODULE:NAME``."""
    head, name = _split(str(named))
    return head.endswith(".py") or (bool(name and _DOTTED.match(head)) and not Path(named).exists())


def given(named: str | Path) -> Path | Workflow[Any, Any]:
    """What is named: a path, or a workflow whose module has been imported, its steps with it.

    Raises:
        HandlerError: The module cannot be imported.
        UsageError: It holds no such workflow, or several where none was named. The one that calls all the others
            need not be named.
    """
    if not is_python(named):
        return Path(named)
    head, name = _split(str(named))
    if head.endswith(".py"):
        module = _import_file(Path(head))
    else:
        (module,) = import_handlers([head], place=str(named))
    return _workflow(module, name, str(named))


def definition_of(source: Path | Workflow[Any, Any]) -> Definition | Path:
    """What ``load_definition`` takes.

    Raises:
        BuildError: The workflow function does what cannot be recorded.
        DefinitionError: What it builds is no valid definition.
    """
    return source if isinstance(source, Path) else source.definition


def _split(named: str) -> tuple[str, str]:
    head, sign, name = named.rpartition(":")
    return (head, name) if sign and name.isidentifier() else (named, "")


def _import_file(file: Path) -> str:
    """Import a file under the name that it has for Python: with the packages around it, as workers will name it."""
    if not file.is_file():
        raise UsageError("there is no such file", place=str(file))
    path = file.resolve()
    parts, root = [path.stem], path.parent
    while (root / "__init__.py").is_file():
        parts, root = [root.name, *parts], root.parent
    module = ".".join(parts)
    if not _DOTTED.match(module):
        raise UsageError(
            f"{module!r} is no name that Python can import", place=str(file), remedy="Rename the file: order_flow.py."
        )
    import_from(str(root))
    import_module(module, place=str(file))
    found = getattr(sys.modules[module], "__file__", None)
    if found is None or Path(found).resolve() != path:
        raise UsageError(
            f"Python knows another module as {module!r}: {found or 'a built-in one'}",
            place=str(file),
            remedy="Rename the file, or put it into a package (a directory with an __init__.py).",
        )
    return module


def _workflow(module: str, name: str, place: str) -> Workflow[Any, Any]:
    from stepwell.builder import Workflow  # noqa: PLC0415 - start-up time

    there = {key: value for key, value in vars(sys.modules[module]).items() if isinstance(value, Workflow)}
    if name:
        found = there.get(name)
        if found is None:
            raise UsageError(
                f"module {module!r} has no workflow {name!r}{suggest(name, there)}"
                + (f" (there are: {', '.join(there)})" if there else ""),
                place=place,
                remedy="Name a function that @stepwell.workflow makes one.",
            )
        return found
    own = {key: value for key, value in there.items() if value.__module__ == module}
    if not own:
        raise UsageError(
            "builds no workflow", place=place, remedy="Put @stepwell.workflow over the function that calls the steps."
        )
    if len(own) > 1:  # then the one that is meant is the one that no other calls
        called = {child.name for one in own.values() for child in one.children}
        own = {key: value for key, value in own.items() if value.name not in called} or own
    if len(own) > 1:
        raise UsageError(
            f"builds several workflows: {', '.join(own)}", place=place, remedy=f"Name one: {place}:{next(iter(own))}"
        )
    return next(iter(own.values()))


def compile_source(file: Path, dialect: str | None) -> tuple[Plan, str]:
    """The plan of a file's definition, and the dialect that it is written in."""
    loaded = read_definition(definition_of(given(file)), dialect=dialect)
    return compile_loaded(loaded), loaded.dialect
