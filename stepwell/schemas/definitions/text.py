"""Reading YAML and JSON, from files that may be anything, with errors that name the line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import yaml

from stepwell.errors import DefinitionError
from stepwell.schemas.definitions.bounds import (
    MOST_BYTES,
    TooLargeError,
    check_expanded,
    check_text,
    nodes_of,
    odd_scalar,
    wrong_nodes,
    wrong_values,
)
from stepwell.schemas.definitions.json_text import JsonError, parse_json, without_bom
from stepwell.schemas.definitions.literals import is_one_template
from stepwell.schemas.definitions.versions import version_places
from stepwell.schemas.definitions.yaml_core import MERGE, NUMBERS, TEXT, Loader
from stepwell.suggest import near_words

_KEYS: Final = (TEXT, MERGE)  # what a key may be


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
        return without_bom(data.decode())
    except FileNotFoundError:
        near = near_words(path.name, _names_beside(path))
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
    """Plain data from YAML or JSON in which every key is a text, given once, and every value is one that JSON has.

    Versions are texts as they are written, also where they look like numbers.

    Args:
        place: How messages name the text.

    Raises:
        DefinitionError: It is neither, with the line where that is known.
    """
    try:
        check_text(text)
        data = _parse_checked(without_bom(text), place)
        wrong = wrong_values(data)
    except TooLargeError as error:
        raise DefinitionError([str(error)], place=place) from None
    if wrong:
        raise DefinitionError([wrong], place=place)
    return data


def _parse_checked(text: str, place: str) -> Any:
    if text.lstrip()[:1] in ("{", "["):
        try:
            return _parse_json(text)
        except JsonError as error:  # of a key that is given twice YAML's reader knows the line
            problem = str(error)
        try:  # YAML's flow style begins with a bracket, too
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


def _parse_json(text: str) -> Any:
    """Read JSON.

    Raises:
        JsonError: It is none, or has a key twice.
    """
    data = parse_json(text)
    versions = written = _numeric_versions(data)
    if any(isinstance(mapping[key], float) for mapping, key in versions):
        # Once more: the same places, with what stands there.
        written = _numeric_versions(parse_json(text, number=_Written))
    for (mapping, key), (other, _) in zip(versions, written, strict=True):
        mapping[key] = str(other[key])
    return data


def _numeric_versions(data: Any) -> list[tuple[dict[str, Any], str]]:
    return [place for place in version_places(data, _parts, lambda part: part) if _is_number(*place)]


class _Written(str):
    """A number as it is written."""

    __slots__ = ()


def _is_number(mapping: dict[str, Any], key: str) -> bool:
    value = mapping[key]
    return isinstance(value, (int, float, _Written)) and not isinstance(value, bool)


def _parts(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        yield from value.items()
    elif isinstance(value, list):
        yield from enumerate(value)


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
        _keep_versions(root)
        _trim_templates(root)
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
                elif key.tag not in _KEYS:
                    yield line, f'the key {key.value} is no text; write "{key.value}"'
                elif key.value in names:
                    yield line, f'"{key.value}" is given twice'
                else:
                    names.add(key.value)


def _keep_versions(root: yaml.Node) -> None:
    """Make texts of the numbers that are versions."""
    for mapping, key in list(version_places(root, _node_parts, lambda node: getattr(node, "value", None))):
        for owner in _with_merged(mapping):
            for index, (name, value) in enumerate(owner.value):
                if name.value == key and isinstance(value, yaml.ScalarNode) and value.tag in NUMBERS:
                    # A node of its own: an alias may stand for the same number elsewhere.
                    kept = yaml.ScalarNode(TEXT, value.value, value.start_mark, value.end_mark)
                    owner.value[index] = (name, kept)


def _with_merged(mapping: yaml.MappingNode) -> Iterator[yaml.MappingNode]:
    """A mapping, and those that are merged into it."""
    yield mapping
    for name, value in mapping.value:
        if name.tag == MERGE:
            for other in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                if isinstance(other, yaml.MappingNode):
                    yield from _with_merged(other)


def _trim_templates(root: yaml.Node) -> None:
    """Take what nobody sees around a template away where a block is nothing but that template.

    A text that is one template becomes its value, a list or a number; with the line break that ends a block, a blank
    behind it or an empty line before it, it would become a text. In quotes, and where ``|+`` keeps more line breaks,
    they are meant.
    """
    for node in nodes_of(root):
        if isinstance(node, yaml.ScalarNode) and node.style in ("|", ">"):
            found = node.value.removesuffix("\n").rstrip(" \t").lstrip()
            if found.endswith("}}") and is_one_template(found):
                node.value = found


def _node_parts(node: yaml.Node) -> Iterator[tuple[Any, Any]]:
    if isinstance(node, yaml.MappingNode):
        for mapping in _with_merged(node):
            yield from ((key.value, value) for key, value in mapping.value if isinstance(key, yaml.ScalarNode))
    elif isinstance(node, yaml.SequenceNode):
        yield from enumerate(node.value)
