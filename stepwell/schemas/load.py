"""Reading a definition from a file, a text or plain data, with errors that name the place."""

from __future__ import annotations

import difflib
import json
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import yaml
from msgspec.structs import replace

from stepwell.errors import DefinitionError
from stepwell.schemas.definitions import TYPE_ALIASES, Definition, hash_definition
from stepwell.schemas.dialects import CANONICAL, NAMES, detect, translate
from stepwell.schemas.loaded import Loaded, of_definition
from stepwell.schemas.places import Lines, Problem
from stepwell.schemas.shapes import shape_problems, unknown_value

MOST_BYTES: Final = 8 * 1024 * 1024  # a definition of 10,000 steps has about 2 MB

_BOOL: Final = "tag:yaml.org,2002:bool"
_TEXT: Final = ("tag:yaml.org,2002:str", "tag:yaml.org,2002:merge")  # what a key may be


def _resolvers() -> dict[str, list[tuple[str, re.Pattern[str]]]]:
    """How plain words are read, with the truth values of YAML 1.2: ``on`` and ``no`` are texts."""
    resolvers = {
        first: [(tag, pattern) for tag, pattern in pairs if tag != _BOOL]
        for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    for first in "tTfF":
        resolvers[first] = [(_BOOL, re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")), *resolvers.get(first, [])]
    return resolvers


_Loader: Any = type(
    "_Loader",
    (getattr(yaml, "CSafeLoader", yaml.SafeLoader),),  # the C one is ten times as fast, where it was built
    {"yaml_implicit_resolvers": _resolvers()},
)


Source = Definition | Mapping[str, Any] | str | Path


def load_definition(source: Source, *, place: str = "", dialect: str | None = None, name: str = "") -> Definition:
    """Read a definition, in whichever dialect it is written.

    Args:
        source: A definition, plain data, a path, or YAML or JSON text (anything with a line break or a brace).
        place: How messages name the source; by default the path.
        dialect: One of ``stepwell.schemas.dialects.NAMES``; by default the shape tells.
        name: What it is called if it does not say so, as some dialects allow; by default the file's name.

    Raises:
        DefinitionError: It cannot be read, or its shape is wrong; all problems at once.
    """
    loaded = read_definition(source, place=place, dialect=dialect, name=name)
    if loaded.problems or loaded.definition is None:
        raise loaded.everything(None)
    return loaded.definition


def read_definition(source: Source, *, place: str = "", dialect: str | None = None, name: str = "") -> Loaded:
    """Read a definition as ``load_definition`` does, and keep what tells where everything came from.

    What is wrong with its shape is in ``Loaded.problems``; the arguments are the same.

    Raises:
        DefinitionError: It cannot be read.
    """
    if dialect is not None and dialect not in NAMES:
        raise DefinitionError([unknown_value(dialect, NAMES, "dialect")], place=place)
    if isinstance(source, Definition):
        return of_definition(source)
    if isinstance(source, Mapping):
        return _load(dict(source), place or "definition", dialect, name, None)
    if isinstance(source, Path) or not ("\n" in source or "{" in source):
        path = Path(source)
        text, place, name = _read(path), place or str(source), name or path.stem
    else:
        text, place = source, place or "definition"
    return _load(_parse(text, place), place, dialect, name, Lines(text, _Loader))


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
            return json.loads(text, object_pairs_hook=_unique)
        except _GivenTwiceError as error:
            problem = f'"{error}" is given twice'  # JSON is YAML, whose reader knows the line
        except (ValueError, RecursionError) as error:
            problem = f"is no JSON: {error}"
        try:  # YAML's flow style begins with a brace, too
            return _parse_yaml(text, place)
        except (yaml.YAMLError, ValueError, RecursionError):
            raise DefinitionError([problem], place=place) from None
    try:
        return _parse_yaml(text, place)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise DefinitionError([f"{at}{error.problem or error.context or 'is no YAML'}"], place=place) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise DefinitionError([f"is no YAML: {error}"], place=place) from None


class _GivenTwiceError(Exception):
    """A JSON object has a key twice."""


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        raise _GivenTwiceError(next(name for name in names if names.count(name) > 1))
    return made


def _parse_yaml(text: str, place: str) -> Any:
    """Read YAML in which every key is a text, given once.

    Raises:
        DefinitionError: A key is not; it names the line, which is known only here.
        yaml.YAMLError: It is no YAML.
    """
    loader = _Loader(text)
    try:
        root = loader.get_single_node()
        if root is None:
            return None
        problems = [f"line {line}: {what}" for line, what in sorted(_wrong_keys(root))]
        if problems:
            raise DefinitionError(problems, place=place)
        return loader.construct_document(root)
    finally:
        loader.dispose()


def _wrong_keys(root: yaml.Node) -> Iterator[tuple[int, str]]:
    left, seen = [root], set()
    while left:
        node = left.pop()
        if id(node) in seen:  # an alias
            continue
        seen.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            left.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            names = set()
            for key, value in node.value:
                left.append(value)
                line = key.start_mark.line + 1
                if not isinstance(key, yaml.ScalarNode):
                    yield line, 'a key must be a text; is this a template? Put it in quotes: "{{ … }}"'
                elif key.tag not in _TEXT:
                    yield line, f'the key {key.value} is no text; write "{key.value}"'
                elif key.value in names:
                    yield line, f'"{key.value}" is given twice'
                else:
                    names.add(key.value)


def _check_keys(data: dict[Any, Any], place: str) -> None:
    """Refuse keys of plain data that JSON does not have."""
    left: list[tuple[str, Any]] = [("", data)]
    seen = set()
    while left:
        at, value = left.pop()
        if not isinstance(value, (dict, list, tuple)) or id(value) in seen:
            continue
        seen.add(id(value))
        if not isinstance(value, dict):
            left.extend((f"{at}[{index}]", part) for index, part in enumerate(value))
            continue
        for key, part in value.items():
            if not isinstance(key, str):
                raise DefinitionError([f'{at or "the top"}: the key {key!r} is no text; write "{key}"'], place=place)
            left.append((f"{at}.{key}" if at else key, part))


def from_plain(data: Any, *, place: str) -> Definition:
    """Check plain data and make a definition of it.

    Raises:
        DefinitionError: Its shape is wrong.
    """
    loaded = _load(data, place, None, "", None)
    if loaded.problems or loaded.definition is None:
        raise loaded.everything(None)
    return loaded.definition


def _load(data: Any, place: str, dialect: str | None, name: str, lines: Lines | None) -> Loaded:
    if not isinstance(data, dict):
        kind = "empty" if data is None else f"a {type(data).__name__}"
        raise DefinitionError([f"is {kind}; a definition is a mapping with name and steps"], place=place)
    _check_keys(data, place)
    chosen = dialect or detect(data)
    translation = None
    if chosen != CANONICAL:
        try:
            translation = translate(data, chosen, name=name, environment=os.environ)
        except RecursionError:
            raise DefinitionError(["is nested too deeply"], place=place) from None
    prepared = _shorthand(data if translation is None else translation.plain)
    loaded = Loaded(data, dialect=chosen, place=place, plain=prepared, translation=translation, lines=lines)
    problems = list(_checkpoint_problems(prepared))
    try:
        definition = msgspec.convert(prepared, Definition)
        if "version" not in prepared:
            # A definition without a version gets one made from its content, so that editing it makes a new version.
            definition = replace(definition, version=hash_definition(replace(definition, version="0"))[:8])
    except msgspec.ValidationError as error:
        problems += shape_problems(prepared) or [Problem((), str(error))]
    except (TypeError, ValueError) as error:  # a value of Python's that is no JSON, half of a surrogate pair
        raise DefinitionError([str(error)], place=place) from None
    except RecursionError:
        raise DefinitionError(["is nested too deeply"], place=place) from None
    if problems or (translation is not None and translation.problems):
        loaded.blame(problems)
    else:
        loaded.definition = definition
    return loaded


def _checkpoint_problems(data: dict[str, Any]) -> Iterator[Problem]:
    """Refuse what other versions of YAML take for a truth value, and here would become a checkpoint's name."""
    steps = data.get("steps")
    for index, step in enumerate(steps if isinstance(steps, list) else ()):
        if isinstance(step, dict) and str(step.get("checkpoint")).lower() in {"yes", "no", "on", "off"}:
            text = f'write true or false instead of "{step["checkpoint"]}"'
            yield Problem(("steps", index, "checkpoint"), text)


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
    if isinstance(step.get("type"), str):
        step["type"] = TYPE_ALIASES.get(step["type"], step["type"])
    for key in ("depends_on", "input_mapping", "config", "retry", "name", "description", "queue", "mode"):
        if key in step and step[key] is None:
            del step[key]
    return step
