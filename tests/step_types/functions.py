"""Write ``stepwell/steps.py`` from the declarations of step types: ``python -m tests.step_types.functions``.

The functions are written out, not made while the package is imported, so that type checkers and editors see real
signatures. A test compares the file with what this makes of the declarations.
"""

import json
import re
import textwrap
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from stepwell.schemas.definitions.step_type import Field, StepType, fields_of
from stepwell.step_types.table import BUILT_IN

FILE = Path(__file__).parents[2] / "stepwell" / "steps.py"
WIDTH = 118

HEAD = '''\
"""The built-in step types, for workflows that are written in Python: each call is a step, and returns its result.

Called in a function under ``@stepwell.workflow``; every one takes the options of ``StepOptions`` besides. An argument
may be, or hold, the result of another step. Settings have the names that they have in ``config``, but where an option
of every step has the same: the setting's name is longer then.
"""

# Written by `just generate` from the declarations in stepwell/step_types. Change those, not this file.

from __future__ import annotations

'''


def source() -> str:
    """The text of the module."""
    called = sorted((one for one in BUILT_IN if one.call is not None), key=lambda one: one.name)
    functions = "\n\n".join(function(one) for one in called)
    results = {one.result.__name__: one.name for one in called if one.result is not Any}
    return "".join((HEAD, *imports(functions, results), exported(called, results), "\n\n", functions))


def imports(functions: str, results: Mapping[str, str]) -> Iterator[str]:
    """The lines that import what the functions name."""
    for module, names in (
        ("collections.abc", ("Mapping", "Sequence")),
        ("typing", ("Any", "Literal", "Unpack", "cast")),
    ):
        used = [name for name in names if re.search(rf"\b{name}\b", functions)]
        yield f"from {module} import {', '.join(used)}\n" if used else ""
    yield "\nfrom stepwell.builder.built_in import add_step\nfrom stepwell.builder.recording import StepOptions\n"
    yield from (
        f"from stepwell.step_types.{module} import {name}\n"
        for name, module in sorted(results.items(), key=lambda one: one[1])
    )
    yield "\n"


def exported(called: list[StepType], results: Mapping[str, str]) -> str:
    """``__all__``: what the functions return, and the functions."""
    names = [*sorted(results), *(one.name for one in called)]
    return "__all__ = [\n" + "".join(f'    "{name}",\n' for name in names) + "]\n"


def function(declared: StepType) -> str:
    """The function of a type."""
    call, fields = declared.call, {field.parameter: field for field in fields_of(declared)}
    named = [name for name in fields if name not in call.positional]
    parameters = [_parameter(name, declared, fields.get(name)) for name in call.positional]
    if named:
        parameters += ["*", *(_parameter(name, declared, fields[name]) for name in named)]
    parameters.append("**options: Unpack[StepOptions]")
    result = "Any" if declared.result is Any else declared.result.__name__
    order = [*call.positional, *named]
    given = "".join(f'        "{name}": {name},\n' for name in order)
    made = f'add_step("{declared.name}", given, options)'
    return "".join(
        (
            f"def {declared.name}(\n",
            *(f"    {one},\n" for one in parameters),
            f") -> {result}:\n",
            docstring(
                declared.text,
                {name: fields[name].described if name in fields else "The step's input." for name in order},
            ),
            f"    given = {{\n{given}    }}\n",
            f"    return {made}\n" if result == "Any" else f"    return cast({result}, {made})\n",
        )
    )


def docstring(text: str, about: Mapping[str, str]) -> str:
    """What the function does, and each of its parameters."""
    lines = textwrap.wrap(f'"""{in_docstrings(text)}', WIDTH, initial_indent="    ", subsequent_indent="    ")
    lines += ["", "    Args:"]
    for name, said in about.items():
        lines += textwrap.wrap(
            f"{name}: {in_docstrings(said)}",
            WIDTH,
            initial_indent=" " * 8,
            subsequent_indent=" " * 12,
            break_on_hyphens=False,
        )
    return "\n".join([*lines, '    """', ""])


def in_docstrings(markdown: str) -> str:
    """Code in double backticks, as docstrings have it."""
    return markdown.replace("`", "``")


def _parameter(name: str, declared: StepType, field: Field | None) -> str:
    hint = "Any" if field is None else _typed(field.type)
    needed = name in declared.call.needed or (field is not None and field.required)
    arms = [arm for arm in hint.split(" | ") if arm != "None"] if "[" not in hint else [hint.removesuffix(" | None")]
    plain = " | ".join(arms)
    if needed:
        return f"{name}: {plain}"
    return f"{name}: {plain} = None" if plain == "Any" else f"{name}: {plain} | None = None"


def _typed(hint: Any) -> str:
    """A type as callers may give it: any mapping for a dict, any sequence for a list or a tuple."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _typed(args[0])
    if origin in (Union, types.UnionType):
        return " | ".join(dict.fromkeys(_typed(arm) for arm in args))
    if origin is Literal:
        words = ", ".join(json.dumps(word) for word in args)
        return f"Literal[{words}]"
    if origin is dict or origin is Mapping:
        return f"Mapping[{', '.join(map(_typed, args))}]"
    if origin in (list, tuple):
        return f"Sequence[{_typed(args[0])}]"
    return "None" if hint is type(None) else "Any" if hint is Any else hint.__name__


if __name__ == "__main__":
    FILE.write_text(source())
