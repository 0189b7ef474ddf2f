"""Reading a definition from a file, a text or plain data, with errors that name the place."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml
from msgspec.structs import replace

from stepwell.errors import DefinitionError
from stepwell.schemas.definitions import (
    Compensation,
    Definition,
    ErrorHandler,
    Retry,
    Step,
    hash_definition,
)

MOST_BYTES: Final = 8 * 1024 * 1024  # a definition of 10,000 steps has about 2 MB

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C one is ten times as fast, where it was built


def load_definition(source: Definition | Mapping[str, Any] | str | Path, *, place: str = "") -> Definition:
    """Read a definition.

    Args:
        source: A definition, plain data, a path, or YAML or JSON text (anything with a line break or a brace).
        place: How messages name the source; by default the path.

    Raises:
        DefinitionError: It cannot be read, or its shape is wrong.
    """
    if isinstance(source, Definition):
        return source
    if isinstance(source, Mapping):
        return from_plain(dict(source), place=place or "definition")
    if isinstance(source, Path) or not ("\n" in source or "{" in source):
        text, place = _read(Path(source)), place or str(source)
    else:
        text, place = source, place or "definition"
    return from_plain(_parse(text, place), place=place)


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > MOST_BYTES:
            raise DefinitionError([f"has more than {MOST_BYTES:,} bytes"], place=str(path))
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        near = difflib.get_close_matches(path.name, _names_beside(path), n=1)
        hint = f"; did you mean {path.parent / near[0]}?" if near else ""
        raise DefinitionError([f"there is no such file{hint}"], place=str(path)) from None
    except IsADirectoryError:
        raise DefinitionError(["is a directory; name a YAML or JSON file"], place=str(path)) from None
    except UnicodeDecodeError as error:
        raise DefinitionError(
            [f"is no text in UTF-8 (byte {error.start}); is it a YAML or JSON file?"], place=str(path)
        ) from None
    except OSError as error:
        raise DefinitionError([f"cannot be read: {error.strerror}"], place=str(path)) from None


def _names_beside(path: Path) -> list[str]:
    try:
        return [other.name for other in path.parent.iterdir()]
    except OSError:
        return []


def _parse(text: str, place: str) -> Any:
    stripped = text.lstrip()
    if stripped.startswith("{"):
        try:
            return json.loads(text)
        except ValueError as error:
            problem = error
        try:  # YAML's flow style begins with a brace, too
            return yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader
        except (yaml.YAMLError, RecursionError):
            raise DefinitionError([f"is no JSON: {problem}"], place=place) from None
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a safe loader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise DefinitionError([f"{at}{error.problem or error.context or 'is no YAML'}"], place=place) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DefinitionError([f"is no YAML: {error}"], place=place) from None


def from_plain(data: Any, *, place: str) -> Definition:
    """Check plain data and make a definition of it.

    Raises:
        DefinitionError: Its shape is wrong.
    """
    if not isinstance(data, dict):
        kind = "empty" if data is None else f"a {type(data).__name__}"
        raise DefinitionError([f"is {kind}; a definition is a mapping with name and steps"], place=place)
    prepared = _shorthand(data)
    try:
        definition = msgspec.convert(prepared, Definition)
        if "version" not in prepared:
            # A definition without a version gets one made from its content, so that editing it makes a new version.
            definition = replace(definition, version=hash_definition(replace(definition, version="0"))[:8])
    except msgspec.ValidationError as error:
        raise DefinitionError([_explain(str(error), prepared)], place=place) from None
    except RecursionError:
        raise DefinitionError(["is nested too deeply"], place=place) from None
    return definition


def _shorthand(data: dict[str, Any]) -> dict[str, Any]:
    """Spell out what may be written shorter."""
    data = dict(data)
    version = data.get("version")
    if isinstance(version, (int, float)) and not isinstance(version, bool):
        data["version"] = str(version)  # YAML reads 1.0 as a number
    elif version is None:
        data.pop("version", None)
    handlers = data.get("error_handlers")
    if isinstance(handlers, dict):
        data["error_handlers"] = {
            key: {"step": value} if isinstance(value, str) else value for key, value in handlers.items()
        }
    steps = data.get("steps")
    if isinstance(steps, dict):
        steps = [{"id": key, **(value or {})} if isinstance(value, (dict, type(None))) else value
                 for key, value in steps.items()]  # fmt: skip
    if isinstance(steps, list):
        data["steps"] = [_shorthand_step(step) if isinstance(step, dict) else step for step in steps]
    return data


def _shorthand_step(step: dict[str, Any]) -> dict[str, Any]:
    step = dict(step)
    if isinstance(step.get("compensate"), str):
        step["compensate"] = {"handler": step["compensate"]}
    if isinstance(step.get("depends_on"), str):
        step["depends_on"] = [step["depends_on"]]
    if isinstance(step.get("condition"), bool):
        step["condition"] = str(step["condition"])
    for key in ("depends_on", "input_mapping", "config", "retry", "name", "description", "queue", "mode"):
        if key in step and step[key] is None:
            del step[key]
    return step


_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>[^`]*)`")
_PLACE = re.compile(r" - at `(?:key in )?\$?(?P<path>[^`]*)`$")
_FIELDS = {
    field for struct in (Definition, Step, Retry, Compensation, ErrorHandler) for field in struct.__struct_fields__
}


def _explain(message: str, data: dict[str, Any]) -> str:
    """Msgspec's message with the place first, and a suggestion for a misspelt key."""
    at = _PLACE.search(message)
    path = at["path"].lstrip(".") if at else ""
    text = _PLACE.sub("", message)
    unknown = _UNKNOWN.search(text)
    if unknown:
        name = unknown["name"]
        fields = _fields_at(path)
        near = difflib.get_close_matches(name, fields, n=1, cutoff=0.6)
        hint = f', did you mean "{near[0]}"?' if near else f"; there are {', '.join(sorted(fields))}"
        text = f'unknown key "{name}"{hint}'
    else:
        text = text.replace("Object missing required field", "missing").replace("`", '"')
        text = text[0].lower() + text[1:]
    step = re.match(r"steps\[(\d+)\]", path)
    path = path.replace("[...]", "[…]")
    if step:
        steps = data.get("steps")
        entry = steps[int(step[1])] if isinstance(steps, list) else {}
        if isinstance(entry, dict) and isinstance(entry.get("id"), str):
            path += f' ("{entry["id"]}")'
    return f"{path}: {text}" if path else text


def _fields_at(path: str) -> list[str]:
    last = re.sub(r"\[[^\]]*\]$", "", path).rpartition(".")[2]
    by_place: dict[str, type[msgspec.Struct]] = {
        "": Definition, "steps": Step, "retry": Retry, "compensate": Compensation, "error_handlers": ErrorHandler,
    }  # fmt: skip
    struct = by_place.get(last)
    return sorted(struct.__struct_fields__ if struct else _FIELDS)
