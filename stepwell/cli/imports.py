"""The modules of a user: imported as seen from the directory in which the command was started."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterable
from pathlib import Path

from stepwell.errors import HandlerError


def import_handlers(modules: Iterable[str], *, place: str = "") -> list[str]:
    """Import the modules that steps may use, as seen from the current directory; return them.

    Args:
        place: Where they are named; by default by ``--handlers``.

    Raises:
        HandlerError: One cannot be imported.
    """
    names = [name for module in modules for name in module.split(",") if name]
    if names:
        import_from(os.getcwd())  # noqa: PTH109 - compared as text
    for name in names:
        if name.endswith(".py") or "/" in name:
            dotted = name.removesuffix(".py").strip("/").replace("/", ".")
            raise HandlerError(
                "is a path; modules are named with dots", place=f"--handlers {name}", remedy=f"--handlers {dotted}"
            )
        import_module(name, place=place or f"--handlers {name}")
        _check_found_here(name, place=place or f"--handlers {name}")
    return names


def import_from(directory: str) -> None:
    """Let modules be imported from a directory that people, and steps, may write into: after all others.

    Were it first, a file in it would stand in for any module that something imports later.
    """
    if directory not in sys.path:
        sys.path.append(directory)


def _check_found_here(name: str, *, place: str) -> None:
    """Check that a module whose file is in the working directory has not been found elsewhere."""
    here = Path.cwd()
    first = name.partition(".")[0]
    mine = next((path for path in (here / f"{first}.py", here / first / "__init__.py") if path.is_file()), None)
    found = getattr(sys.modules.get(first), "__file__", None)
    if mine is not None and (found is None or Path(found).resolve() != mine.resolve()):
        raise HandlerError(
            f"Python knows another module as {first!r}: {found or 'a built-in one'}",
            place=place,
            remedy=f"Rename {mine.relative_to(here)}: what is installed comes first.",
        )


def paths_of(modules: Iterable[str], *, strict: bool) -> list[str] | None:
    """Import the modules that steps may use; return those from which definitions may name functions by dotted path.

    Args:
        strict: Registered functions only: None is returned.

    Raises:
        HandlerError: One cannot be imported.
    """
    names = import_handlers(modules)
    return None if strict else names


def import_module(name: str, *, place: str) -> None:
    """Import a module that its user has written.

    Raises:
        HandlerError: It cannot be imported.
    """
    try:
        importlib.import_module(name)
    except (Exception, SystemExit) as error:  # it is foreign code that runs while it is imported
        raise _not_imported(name, error, place) from None


def _not_imported(name: str, error: BaseException, place: str) -> HandlerError:
    missing = error.name if isinstance(error, ModuleNotFoundError) else None
    if missing and (name == missing or name.startswith(f"{missing}.")):
        return HandlerError(
            f"no module {missing!r} can be found",
            place=place,
            remedy="Name it as you would import it in Python, from the directory in which you start stepwell.",
        )
    if missing:
        return HandlerError(
            f"module {name!r} cannot be imported: it needs {missing!r}, which is not installed",
            place=place,
            remedy="Install it into the environment in which stepwell runs.",
        )
    if isinstance(error, SystemExit):
        return HandlerError(
            f"module {name!r} cannot be imported: it ends the program (SystemExit: {error.code})",
            place=place,
            remedy='Put what a script does under `if __name__ == "__main__":`.',
        )
    where, text = "", str(error)
    trace = error.__traceback__
    while trace:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith("<frozen importlib"):
            where = f" ({file}, line {trace.tb_lineno})"
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename:
        where, text = f" ({error.filename}, line {error.lineno})", error.msg
    return HandlerError(f"module {name!r} cannot be imported: {type(error).__name__}: {text}{where}", place=place)
