"""Reading a definition from a file, a text or plain data, with errors that name the place."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, get_args

import msgspec
import yaml
from msgspec.structs import replace

from stepwell.errors import DefinitionError
from stepwell.schemas.bounds import (
    MOST_BYTES,
    CountingLoader,
    TooLargeError,
    check_expanded,
    check_text,
    odd_scalar,
    wrong_nodes,
    wrong_values,
)
from stepwell.schemas.custom_types import resolve_definition, resolve_types
from stepwell.schemas.definitions import (
    TYPE_ALIASES,
    AfterHandler,
    Compensation,
    Definition,
    ErrorHandler,
    Mode,
    OnFailure,
    Retry,
    Step,
    hash_definition,
)

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
    (
        CountingLoader,
        getattr(yaml, "CSafeLoader", yaml.SafeLoader),
    ),  # the C one is ten times as fast, where it was built
    {"yaml_implicit_resolvers": _resolvers()},
)


def load_definition(source: Definition | Mapping[str, Any] | str | Path, *, place: str = "") -> Definition:
    """Read a definition.

    Args:
        source: A definition, plain data, a path, or YAML or JSON text (anything with a line break or a brace).
        place: How messages name the source; by default the path.

    Raises:
        DefinitionError: It cannot be read, or its shape is wrong.
    """
    if isinstance(source, Definition):
        resolved, problems = resolve_definition(source)
        if problems:
            raise DefinitionError(problems, place=place or f"workflow {source.name!r}")
        return resolved
    if isinstance(source, Mapping):
        return from_plain(dict(source), place=place or "definition")
    if isinstance(source, Path) or not ("\n" in source or "{" in source):
        text, place = _read(Path(source)), place or str(source)
    else:
        text, place = source, place or "definition"
    return from_plain(_parse(text, place), place=place)


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        DefinitionError: There is no such file, it is too large, or no text.
    """
    return _read(path)


def parse_text(text: str, place: str) -> Any:
    """Plain data from YAML or JSON in which every key is a text, given once.

    Args:
        place: How messages name the text.

    Raises:
        DefinitionError: It is neither, with the line where that is known.
    """
    return _parse(text, place)


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)  # of /dev/zero there is no end
        if len(data) > MOST_BYTES:
            raise DefinitionError([f"has more than {MOST_BYTES:,} bytes"], place=str(path))
        return data.decode()
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
    except ValueError as error:  # a NUL, half of a surrogate pair
        raise DefinitionError([f"is no file's name: {error}"], place=str(path)) from None


def _names_beside(path: Path) -> list[str]:
    try:
        return [other.name for other in path.parent.iterdir()]
    except OSError:
        return []


def _parse(text: str, place: str) -> Any:
    try:
        check_text(text)
        return _parse_checked(text, place)
    except TooLargeError as error:
        raise DefinitionError([str(error)], place=place) from None


def _parse_checked(text: str, place: str) -> Any:
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
        except TooLargeError:
            raise
        except (yaml.YAMLError, ValueError, RecursionError):
            raise DefinitionError([problem], place=place) from None
    try:
        return _parse_yaml(text, place)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        at = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        what = ": ".join([part for part in (error.context, error.problem) if part]) or "is no YAML"
        raise DefinitionError([f"{at}{what}"], place=place) from None
    except TooLargeError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        odd = yaml.reader.Reader.NON_PRINTABLE.search(text)
        if odd:
            line = text.count("\n", 0, odd.start()) + 1
            problem = f"line {line}: the character {odd[0]!a} is not allowed; is it a text?"
        else:
            problem = f"is no YAML: {str(error)[:300]}"
        raise DefinitionError([problem], place=place) from None


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
        wrong = sorted({*_wrong_keys(root), *wrong_nodes(root)})
        if wrong:
            problems = [f"line {line}: {what}" for line, what in wrong[:100]]
            raise DefinitionError(problems, place=place)
        check_expanded(root)
        try:
            return loader.construct_document(root)
        except yaml.YAMLError:
            raise
        except Exception:  # whatever PyYAML stumbles over
            raise DefinitionError([odd_scalar(loader, root)], place=place) from None
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


def from_plain(data: Any, *, place: str) -> Definition:
    """Check plain data and make a definition of it.

    Raises:
        DefinitionError: Its shape is wrong.
    """
    if not isinstance(data, dict):
        kind = "empty" if data is None else f"a {type(data).__name__}"
        raise DefinitionError([f"is {kind}; a definition is a mapping with name and steps"], place=place)
    wrong = wrong_values(data)
    if wrong:
        raise DefinitionError([wrong], place=place)
    prepared = _shorthand(data)
    _check_checkpoints(prepared, place)
    problems = resolve_types(prepared)
    if problems:
        raise DefinitionError(problems, place=place)
    try:
        definition = msgspec.convert(prepared, Definition)
        if "version" not in prepared:
            # A definition without a version gets one made from its content, so that editing it makes a new version.
            definition = replace(definition, version=hash_definition(replace(definition, version="0"))[:8])
    except msgspec.ValidationError as error:
        raise DefinitionError([_explain(str(error), prepared)], place=place) from None
    except (TypeError, ValueError) as error:  # a value of Python's that is no JSON, half of a surrogate pair
        raise DefinitionError([str(error)], place=place) from None
    except RecursionError:
        raise DefinitionError(["is nested too deeply"], place=place) from None
    return definition


def _check_checkpoints(data: dict[str, Any], place: str) -> None:
    """Refuse what other versions of YAML take for a truth value, and here would become a checkpoint's name."""
    steps = data.get("steps")
    problems = [
        f'steps[{index}].checkpoint: write true or false instead of "{step["checkpoint"]}"'
        for index, step in enumerate(steps if isinstance(steps, list) else ())
        if isinstance(step, dict) and str(step.get("checkpoint")).lower() in {"yes", "no", "on", "off"}
    ]
    if problems:
        raise DefinitionError(problems, place=place)


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


_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>[^`]*)`")
_PLACE = re.compile(r" - at `(?:key in )?\$?(?P<path>[^`]*)`$")
_FIELDS = {
    field for struct in (Definition, Step, Retry, Compensation, ErrorHandler) for field in struct.__struct_fields__
}


def _explain(message: str, data: dict[str, Any]) -> str:
    """Msgspec's message with the place first, and a suggestion for a misspelt key."""
    at = _PLACE.search(message)
    path = at["path"].lstrip(".") if at else ""
    if path.startswith("error_handlers[...]"):
        path = path.replace("[...]", f".{_wrong_handler(data)}", 1)
    text = _PLACE.sub("", message)
    unknown = _UNKNOWN.search(text)
    if unknown:
        name = unknown["name"]
        fields = _fields_at(path)
        near = difflib.get_close_matches(name, fields, n=1, cutoff=0.6)
        hint = f', did you mean "{near[0]}"?' if near else f"; there are {', '.join(sorted(fields))}"
        text = f'unknown key "{name}"{hint}'
    else:
        text = _in_words(text, path)
    step = re.match(r"steps\[(\d+)\]", path)
    path = path.replace("[...]", "[…]")
    if step:
        steps = data.get("steps")
        entry = steps[int(step[1])] if isinstance(steps, list) else {}
        if isinstance(entry, dict) and isinstance(entry.get("id"), str):
            path += f' ("{entry["id"]}")'
    return f"{path}: {text}" if path else text


_EXPECTED = re.compile(r"Expected `(?P<types>[^`]+)`(?P<bound>.*?)(?:, got `(?P<got>[^`]+)`)?$")
_BOUND = re.compile(r" (?P<length>of length )?(?P<sign>>=|<=|>) (?P<number>[\d.e+]+)$")
_ENUM = re.compile(r"Invalid enum value (?P<value>.*)$")
_SIGNS = {">=": "of at least", "<=": "of at most", ">": "above"}
_WANTED = {
    "str": "a text", "int": "a whole number", "float": "a number", "bool": "true or false", "object": "a mapping",
    "array": "a list",
}  # fmt: skip
_GOT = {"str": "a text", "int": "a number", "float": "a fraction", "bool": "a truth value", "null": "null",
        "object": "a mapping", "array": "a list", "date": "a date", "datetime": "a date"}  # fmt: skip
_CHOICES = {"mode": Mode, "on_failure": OnFailure, "then": AfterHandler}


def _in_words(text: str, path: str) -> str:
    """Msgspec's message in words of YAML and JSON instead of Python's types."""
    choices = get_args(_CHOICES.get(path.rpartition(".")[2]))
    enum, expected = _ENUM.match(text), _EXPECTED.match(text)
    if enum and choices:
        value = enum["value"].strip("'")
        near = difflib.get_close_matches(value, choices, n=1)
        hint = f', did you mean "{near[0]}"? There are' if near else "; there are"
        return f'unknown value "{value}"{hint} {", ".join(choices)}'
    if not expected:
        text = text.replace("Object missing required field", "missing").replace("`", '"')
        return text[0].lower() + text[1:]
    kinds = [kind for kind in expected["types"].split(" | ") if kind != "null"]
    wanted = ", ".join(_WANTED.get(kind, kind) for kind in kinds[:-1])
    wanted += (" or " if wanted else "") + _WANTED.get(kinds[-1], kinds[-1])
    got = expected["got"]
    return f"expected {wanted}{_bound(expected['bound'])}" + (f", not {_GOT.get(got, got)}" if got else "")


def _bound(text: str) -> str:
    bound = _BOUND.match(text)
    if not bound:
        return text
    number = f"{float(bound['number']):,.10g}"
    unit = f" character{'' if number == '1' else 's'}" if bound["length"] else ""
    return f" {_SIGNS[bound['sign']]} {number}{unit}"


def _wrong_handler(data: dict[str, Any]) -> str:
    """The first key of ``error_handlers`` with a value that does not fit: msgspec does not name it."""
    for key, value in data["error_handlers"].items():
        try:
            msgspec.convert(value, ErrorHandler)
        except msgspec.ValidationError:
            return str(key)
    return "…"


def _fields_at(path: str) -> list[str]:
    if path.startswith("error_handlers."):
        return sorted(ErrorHandler.__struct_fields__)
    last = re.sub(r"\[[^\]]*\]$", "", path).rpartition(".")[2]
    by_place: dict[str, type[msgspec.Struct]] = {
        "": Definition, "steps": Step, "retry": Retry, "compensate": Compensation,
    }  # fmt: skip
    struct = by_place.get(last)
    return sorted(struct.__struct_fields__ if struct else _FIELDS)
