"""Functions that definitions name by dotted paths.

A definition is data, and may come from anybody. What it can reach by a path is what was written to be found there: a
function that is defined in the modules that steps may import. What such a module has merely imported (``system``,
``run``) is not, nor is what begins with an underscore.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
from collections.abc import Callable, Iterable
from typing import Any

from stepwell.errors import HandlerError
from stepwell.suggest import suggest


def is_within(path: str, prefixes: Iterable[str]) -> bool:
    """Whether a function's dotted path lies in one of these modules, or below."""
    return is_module_within(path.rpartition(".")[0], prefixes)


def is_module_within(module: str, prefixes: Iterable[str]) -> bool:
    """Whether a module is one of these, or lies below one."""
    return any(module == prefix or module.startswith(f"{prefix}.") for prefix in prefixes if prefix)


def may_be_imported(path: str, prefixes: Iterable[str]) -> bool:
    """Whether a dotted path lies where steps may import from, and names nothing private."""
    return is_within(path, prefixes) and not _private(path)


def _private(path: str) -> str:
    """The first part of a path that is no public name; empty if there is none."""
    return next((part for part in path.split(".") if not part.isidentifier() or part.startswith("_")), "")


def import_function(path: str, prefixes: Iterable[str]) -> Callable[..., Any]:
    """The function at a dotted path.

    Args:
        prefixes: The modules from which steps may name functions, or prefixes of them.

    Raises:
        HandlerError: It lies elsewhere, is private, was defined elsewhere, or is none.
    """
    place = f"handler {path!r}"
    module_name, _, attribute = path.rpartition(".")
    if not is_within(path, prefixes):
        allowed = ", ".join(prefixes) or "none"
        raise HandlerError(
            f"lies outside the modules that steps may import (allowed: {allowed})",
            place=place,
            remedy=f"Start with --handlers {module_name}",
        )
    if _private(path):
        raise HandlerError(
            f"{_private(path)!r} is not a public name, and no other is reached by a path",
            place=place,
            remedy='Register the function with @stepwell.handler("…"), and name it by that.',
        )
    try:
        module = importlib.import_module(module_name)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # it is foreign code that runs while it is imported
        raise HandlerError(
            f"module {module_name!r} cannot be imported: {type(error).__name__}: {error}",
            place=place,
            remedy="Check the name, and that it can be imported from the current directory.",
        ) from error
    function = getattr(module, attribute, None)
    if not callable(function):
        functions = [
            key
            for key, value in vars(module).items()
            if callable(value) and not key.startswith("_") and is_module_within(_defined_in(value), prefixes)
        ]
        raise HandlerError(
            f"module {module_name!r} has no function {attribute!r}{suggest(attribute, functions)}", place=place
        )
    home = _defined_in(function)
    if not is_module_within(home, prefixes):
        raise HandlerError(
            f"is not defined in the modules that steps may import, but in {home or 'Python itself'}",
            place=place,
            remedy="Write a function of your own that calls it, or register it: "
            f'stepwell.handler("{attribute}")({attribute}).',
        )
    return function  # type: ignore[no-any-return]


def _defined_in(function: Any) -> str:
    """The module in which a function was written, under all decorators; of an object that can be called, in which its
    class was; empty where there is none.
    """
    while isinstance(function, functools.partial | functools.partialmethod):
        function = function.func
    with contextlib.suppress(ValueError):  # it wraps itself
        function = inspect.unwrap(function)
    owner = function if inspect.isroutine(function) or inspect.isclass(function) else type(function)
    found = getattr(owner, "__module__", None)
    return found if isinstance(found, str) else ""
