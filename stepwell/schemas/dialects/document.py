"""What every dialect is compiled with: the document as it was written, and the canonical form that is made of it.

A dialect takes the keys that it knows from an :class:`Entry`, and puts what they mean into a :class:`Made`, which
remembers where it came from. Values are passed on as they are wherever the meaning does not change: whatever is wrong
with them is found by the checks of the canonical form, and told at the place from which they came.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from stepwell.schemas.definitions.places import Path, Problem
from stepwell.schemas.definitions.shapes import unknown_key
from stepwell.schemas.definitions.step_type import StepTypes

MISSING: Final = object()


class Words(NamedTuple):
    """How a dialect calls things, for messages.

    Attributes:
        step: What a step is called.
        keys: Canonical keys of a step by what they are called here, where that differs.
    """

    step: str
    keys: Mapping[str, str]


class Document:
    """A document that is being compiled.

    Attributes:
        data: The document.
        name: What it is called if it does not say so itself; empty if that is not known.
        environment: Settings of the process that reads it; the ``dag`` dialect takes its retries from there.
        types: The built-in step types.
        problems: What was found to be wrong.
        origins: Places of the canonical form by the place that they came from.
    """

    def __init__(self, data: Mapping[str, Any], name: str, environment: Mapping[str, str], types: StepTypes) -> None:
        self.data = data
        self.types = types
        self.name = name
        self.environment = environment
        self.problems: list[Problem] = []
        self.origins: dict[Path, Path] = {}

    def problem(self, path: Path, text: str) -> None:
        """Note something that is wrong."""
        self.problems.append(Problem(path, text))

    def has_attempts(self, kind: Any) -> bool:
        """Whether a step of this type has attempts; what is no built-in type is a handler, and has some."""
        declared = self.types.get(kind) if isinstance(kind, str) else None
        return declared is None or declared.attempts

    def is_run(self, kind: Any) -> bool:
        """Whether a worker runs a step of this type; what the engine decides is not tried again in other systems."""
        declared = self.types.get(kind) if isinstance(kind, str) else None
        return declared is None or declared.way == "worker"

    def entry(self, value: Any, path: Path, keys: tuple[str, ...], what: str) -> Entry | None:
        """A mapping with these keys; what it is instead, and keys that it must not have, are problems."""
        if not isinstance(value, Mapping):
            self.problem(path, f"{what} is a mapping, not {_kind(value)}")
            return None
        for key in value:
            if key not in keys:
                self.problem(path, unknown_key(key, keys))
        return Entry(self, value, path)


class Entry:
    """A mapping of the document, and its place."""

    def __init__(self, document: Document, data: Mapping[str, Any], path: Path) -> None:
        self.document = document
        self.data = data
        self.path = path

    def get(self, *names: str) -> tuple[Any, Path]:
        """The value of the one of these keys that is there, and its place; ``MISSING`` if none is, or it is null."""
        given = [name for name in names if self.data.get(name) is not None]
        if not given:
            return MISSING, (*self.path, names[0])
        for other in given[1:]:
            self.document.problem((*self.path, other), f'says the same as "{given[0]}"; write one of them')
        return self.data[given[0]], (*self.path, given[0])

    def value(self, *names: str, default: Any = None) -> Any:
        """The value alone."""
        value, _ = self.get(*names)
        return default if value is MISSING else value

    def has(self, *names: str) -> bool:
        """Whether one of these keys says something."""
        return any(self.data.get(name) is not None for name in names)

    def mapping(self, *names: str) -> tuple[dict[str, Any], Path]:
        """A mapping, empty where there is none; anything else is a problem."""
        value, path = self.get(*names)
        if value is not MISSING and not isinstance(value, Mapping):
            self.document.problem(path, f"expected a mapping, not {_kind(value)}")
        return (dict(value), path) if isinstance(value, Mapping) else ({}, path)

    def number(self, *names: str, whole: bool = False) -> tuple[Any, Path]:
        """A number of at least 0, or ``MISSING``; anything else is a problem."""
        value, path = self.get(*names)
        kinds = int if whole else (int, float)
        if value is not MISSING and (isinstance(value, bool) or not isinstance(value, kinds) or value < 0):
            wanted = "a whole number" if whole else "a number"
            instead = f", not {_kind(value)}" if isinstance(value, (str, bool, list, Mapping)) else ""
            self.document.problem(path, f"expected {wanted} of at least 0{instead}")
            value = MISSING
        return value, path


class Made(dict[str, Any]):
    """A mapping of the canonical form that is being made, at its place there.

    Args:
        document: Of which it is made.
        path: Its place in the canonical form.
        origin: The place of what it is made of.
    """

    def __init__(self, document: Document, path: Path, origin: Path) -> None:
        super().__init__()
        self._document = document
        self.path = path
        if path:
            document.origins[path] = origin

    def put(self, key: str, value: Any, origin: Path) -> None:
        """Set a key, and remember where its value came from."""
        if value is not MISSING:
            self[key] = value
        self._document.origins[*self.path, key] = origin

    def move(self, key: str, entry: Entry, *names: str) -> None:
        """Set a key to what one of these keys of an entry says, if one of them says anything."""
        value, path = entry.get(*(names or (key,)))
        if value is not MISSING:
            self.put(key, value, path)

    def rename(self, key: str, name: str) -> None:
        """Give a key another name; what it holds came from where it did."""
        self.put(name, self.pop(key), self.origin(key))

    def origin(self, key: str) -> Path:
        """Where the value of a key came from."""
        return self._document.origins[*self.path, key]

    def below(self, key: str, origin: Path) -> Made:
        """A mapping under a key."""
        made = self[key] = Made(self._document, (*self.path, key), origin)
        return made


def top(document: Document, entry: Entry, *, name: tuple[str, ...] = ("name",)) -> Made:
    """The workflow's own keys that are called the same everywhere."""
    made = Made(document, (), ())
    called, path = entry.get(*name)
    if called is not MISSING:
        made.put("name", called, path)
    elif document.name:
        made["name"] = document.name
    else:
        document.problem(entry.path, f'missing "{name[0]}"')
    for key in ("version", "description", "tags"):
        made.move(key, entry)
    return made


def items(document: Document, value: Any, path: Path, what: str) -> Iterator[tuple[Any, Path]]:
    """What stands in a list, with places; anything but a list is a problem."""
    if isinstance(value, (list, tuple)):
        yield from ((part, (*path, index)) for index, part in enumerate(value))
    elif value is MISSING:
        document.problem(path[:-1], f'missing "{path[-1]}"')
    else:
        document.problem(path, f"expected a list of {what}, not {_kind(value)}")


def entries(document: Document, value: Any, path: Path, what: str) -> Iterator[tuple[str, Any, Path]]:
    """What stands in a mapping, with keys and places; anything but a mapping is a problem."""
    if isinstance(value, Mapping):
        yield from ((key, part, (*path, key)) for key, part in value.items())
    elif value is MISSING:
        document.problem(path[:-1], f'missing "{path[-1]}"')
    else:
        document.problem(path, f"expected a mapping of {what}, not {_kind(value)}")


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a truth value"
    if isinstance(value, (int, float)):
        return "a number"
    if isinstance(value, str):
        return "a text"
    return "a mapping" if isinstance(value, Mapping) else "a list"
