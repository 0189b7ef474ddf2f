"""Reading YAML and JSON, from files that may be anything, with errors that name the line."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from stepwell.errors import DefinitionError
from stepwell.schemas.bounds import (
    MOST_BYTES,
    CountingLoader,
    TooLargeError,
    check_expanded,
    check_text,
    nodes_of,
    odd_scalar,
    wrong_nodes,
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


Loader: Any = type(
    "Loader",
    (
        CountingLoader,
        getattr(yaml, "CSafeLoader", yaml.SafeLoader),
    ),  # the C one is ten times as fast, where it was built
    {"yaml_implicit_resolvers": _resolvers()},
)


def read_text(path: Path) -> str:
    """The text of a file.

    Raises:
        DefinitionError: There is no such file, it is too large, or no text.
    """
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


def parse_text(text: str, place: str) -> Any:
    """Plain data from YAML or JSON in which every key is a text, given once.

    Args:
        place: How messages name the text.

    Raises:
        DefinitionError: It is neither, with the line where that is known.
    """
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
    loader = Loader(text)
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
    for node in nodes_of(root):
        if isinstance(node, yaml.MappingNode):
            names = set()
            for key, _ in node.value:
                line = key.start_mark.line + 1
                if not isinstance(key, yaml.ScalarNode):
                    yield line, 'a key must be a text; is this a template? Put it in quotes: "{{ … }}"'
                elif key.tag not in _TEXT:
                    yield line, f'the key {key.value} is no text; write "{key.value}"'
                elif key.value in names:
                    yield line, f'"{key.value}" is given twice'
                else:
                    names.add(key.value)
