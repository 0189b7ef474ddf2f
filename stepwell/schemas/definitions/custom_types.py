"""Step types that are not built in: registered in this process, or brought by an installed package.

A step ``type: name`` is read as a ``python`` step with that name for its handler, so the canonical form and the
engine know nothing of them. What is installed is looked up when a definition first names a type that is nowhere
else; a package is imported only if one of its types is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from stepwell.errors import StepTypeError
from stepwell.schemas.definitions.installed_types import installed_types
from stepwell.schemas.definitions.model import Definition
from stepwell.schemas.definitions.step_type import StepTypes
from stepwell.suggest import choice, did_you_mean, near_words

_LONGEST_KEY: Final = 100  # characters that are shown of a key, and compared with others
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")


class CustomType(NamedTuple):
    """A step type of somebody's own.

    Attributes:
        function: What runs its steps: a handler.
        config: What a step's ``config`` must fit; None for anything.
        description: For people.
    """

    name: str
    function: Callable[..., Any]
    config: type[msgspec.Struct] | None = None
    description: str = ""


_known: dict[str, CustomType] = {}


def check_name(name: Any, types: StepTypes, config: Any = None) -> None:
    """Refuse what cannot be registered.

    Args:
        types: The built-in types.

    Raises:
        StepTypeError: The name is a built-in type's, or no name; ``config`` is no Struct.
    """
    place = f"step type {name!r}"
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise StepTypeError("a name has letters, digits, dashes and underscores, 100 at most", place=place)
    if name in types or name in types.aliases:
        remedy = f'Give yours another name; steps of this one that a log holds run by @stepwell.handler("{name}").'
        raise StepTypeError("is built in", place=place, remedy=remedy)
    if config is not None and not (isinstance(config, type) and issubclass(config, msgspec.Struct)):
        raise StepTypeError("config must be a class derived from msgspec.Struct", place=place)


def remember_type(custom: CustomType) -> None:
    """Make a type known in this process; the same name again takes its place."""
    _known[custom.name] = custom


def find_type(name: str, types: StepTypes) -> CustomType | None:
    """A type by its name; None if there is none.

    Args:
        types: The built-in types.

    Raises:
        StepTypeError: An installed package brings it, but cannot be loaded.
    """
    if name not in _known and _NAME.fullmatch(name) and name in installed_types():  # not for each dotted path
        _load(name, types)
    return _known.get(name)


def _load(name: str, types: StepTypes) -> None:
    points = installed_types()[name]
    sources = " and ".join(_source(point) for point in points)
    place = f"step type {name!r}"
    if len(points) > 1:
        raise StepTypeError(f"is brought by {sources}", place=place, remedy="Uninstall all of them but one.")
    check_name(name, types)
    try:
        loaded = points[0].load()
    except (Exception, SystemExit) as error:  # it is foreign code that runs while it is imported
        reason = f"{type(error).__name__}: {error}"
        message = f"comes from {sources}, which cannot be loaded: {reason}"
        raise StepTypeError(message, place=place, remedy="Mend that package, or uninstall it.") from error
    if name in _known:  # a decorator has registered it meanwhile
        return
    if not callable(loaded):
        message = f"comes from {sources}, whose {points[0].value} is no function"
        raise StepTypeError(message, place=place, remedy="Mend that package, or uninstall it.")
    _known[name] = CustomType(name, loaded, None, (loaded.__doc__ or "").partition("\n")[0])


def _source(point: Any) -> str:
    distribution = getattr(point, "dist", None)
    return f"the package {distribution.name} {distribution.version}" if distribution else f"{point.value}"


# --- reading ------------------------------------------------------------------------------------------------


def resolve_types(data: dict[str, Any], types: StepTypes) -> list[str]:
    """Make ``python`` steps of those of custom types, in place; return what is wrong with them.

    Args:
        data: A definition as plain data, its steps a list.
        types: The built-in types.
    """
    steps = data.get("steps")
    problems: list[str] = []
    for index, step in enumerate(steps if isinstance(steps, list) else ()):
        name = step.get("type") if isinstance(step, dict) else None
        if not isinstance(name, str) or name in types:
            continue
        named = f' ("{step["id"]}")' if isinstance(step.get("id"), str) else ""
        try:
            custom = find_type(name, types)
        except StepTypeError as error:
            problems.append(f"steps[{index}].type{named}: {error.sentence}")
            continue
        if custom is None:
            near = _near(name, types)
            if near:
                problems.append(f'steps[{index}].type{named}: unknown type "{name}"{did_you_mean(near)}')
            continue  # else it is told with the rest of the graph
        if step.get("handler") is not None:
            problems.append(f'steps[{index}].handler{named}: a step of type "{name}" takes none')
        config = step.get("config", {})
        if custom.config is not None and isinstance(config, dict):
            problems += [
                f"steps[{index}].config{at}{named}: {message}" for at, message in _misfits(custom.config, config)
            ]
        step["type"], step["handler"] = "python", name
    return problems


def _near(name: str, types: StepTypes) -> str:
    """A custom type's name that is near, and nearer than a built-in one's; empty if there is none."""
    custom = _known.keys() | installed_types().keys()
    if not custom or len(name) > _LONGEST_KEY:
        return ""
    near = near_words(name, sorted({*custom, *types.names}))
    return near[0] if near and near[0] in custom else ""


def resolve_definition(definition: Definition, types: StepTypes) -> tuple[Definition, list[str]]:
    """The same for a definition that was built in Python."""
    if all(step.type in types for step in definition.steps):
        return definition, []
    data = {"steps": [msgspec.structs.asdict(step) for step in definition.steps]}
    problems = resolve_types(data, types)
    steps = tuple(
        msgspec.structs.replace(step, type=new["type"], handler=new["handler"])
        for step, new in zip(definition.steps, data["steps"], strict=True)
    )
    return msgspec.structs.replace(definition, steps=steps), problems


def _misfits(wanted: type[msgspec.Struct], config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What in a config does not fit a Struct: where, and why. What templates fill in is checked when it runs."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(wanted)}
    for key in config:
        if key not in fields:
            hint = choice(key, fields) if fields else "; there are none"
            shown = key if len(key) <= _LONGEST_KEY else f"{key[:_LONGEST_KEY]}…"
            yield "", f'unknown key "{shown}"{hint}'
    missing = [name for name, field in fields.items() if field.required and name not in config]
    for name in missing:
        yield "", f'needs "{name}"'
    literal = {key: value for key, value in config.items() if key in fields and not _has_template(value)}
    wrong = False
    for key, value in literal.items():
        try:
            msgspec.convert(value, fields[key].type, strict=False)
        except msgspec.ValidationError as error:
            wrong = True
            message, _, inner = str(error).partition(" - at `$")
            yield f".{key}{inner.removesuffix('`')}", message.replace("`", "")
    if not (wrong or missing) and len(literal) == len(config):
        try:
            msgspec.convert(literal, wanted, strict=False)  # what the Struct itself has to say
        except msgspec.ValidationError as error:
            yield "", str(error).replace("`", "")


def _has_template(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_template, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(_has_template, value))
    return isinstance(value, str) and "{{" in value
