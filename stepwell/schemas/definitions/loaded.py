"""A definition that was read, with what was wrong in it, and where everything in it came from."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from stepwell.errors import DefinitionError
from stepwell.schemas.definitions.model import Definition, Step
from stepwell.schemas.definitions.places import Lines, Path, Problem, locate, show
from stepwell.schemas.dialects import CANONICAL, Translation

_LINE: Final = re.compile(r"line (\d+): ")
_KEY: Final = re.compile(r'(?:: )?unknown key "([^"]*)"')
_NAMED: Final = re.compile(r'^: (?:unknown step )?"((?:[^"])*)"')
_UNKNOWN: Final = re.compile(r'unknown step (?=")')
_TIMES: Final = re.compile(r"(is given to \d+) steps$")


class Loaded:
    """A document and the definition that it says.

    Args:
        data: The document.
        dialect: What it is written in.
        place: How messages name it.
        plain: The canonical form, short forms spelt out.
        translation: How it was compiled, if it was written in another form.
        lines: Where things stand in its text, if it was one.

    Attributes:
        definition: What it says. Where there are problems, as much of it as the rest can be checked by; None if
            there is too little of it.
        problems: Everything that is wrong with its shape, as ``place: message``, in the order of the text.
    """

    def __init__(
        self,
        data: Mapping[str, Any],
        *,
        dialect: str,
        place: str,
        plain: dict[str, Any],
        translation: Translation | None = None,
        lines: Lines | None = None,
    ) -> None:
        self.dialect = dialect
        self.place = place
        self.plain = plain
        self.definition: Definition | None = None
        self.problems: list[str] = []
        self._data = data
        self._translation = translation
        self._lines = lines

    def blame(self, found: Iterable[Problem]) -> None:
        """Take note of problems of the canonical form's shape, and of what the dialect found."""
        canonical = list(found)
        written = self._translation.problems if self._translation is not None else []
        moved = [Problem(self._origin(path), self._in_words(text)) for path, text in canonical]
        problems = [*written, *moved]
        self.problems = self._sorted([self._write(problem) for problem in dict.fromkeys(problems)])
        self.definition = self._rest(canonical, written)

    def told(self, problems: Iterable[str]) -> list[str]:
        """Problems of the canonical form, each as ``place: message``, in the words of the document."""
        return self._sorted([self._tell(problem) for problem in problems])

    def explained(self, error: DefinitionError) -> DefinitionError:
        """The same error in the words of the document."""
        return DefinitionError(self.told(error.problems), place=self.place or error.place, remedy=error.remedy)

    def everything(self, error: DefinitionError | None) -> DefinitionError:
        """What is wrong with the document's shape and, if that was checked, with what it says."""
        problems = [*self.problems, *(self.told(error.problems) if error is not None else ())]
        return DefinitionError(self._sorted(problems), place=self.place)

    def _tell(self, message: str) -> str:
        found = locate(message, self.plain)
        if found is None:
            return message
        path, rest = found
        origin = self._origin(path)
        # What is missing has no place of its own: the message goes on with the key that it should stand under.
        key = re.match(r"\.([a-z_]+)(?=[:.])", rest)
        if key and self._translation is not None and self._renamed(path, key[1]) != key[1]:
            rest = f".{self._renamed(path, key[1])}{rest[key.end() :]}"
        line = self._line(_pointed(origin, rest))
        named = _NAMED.match(rest) if path[-1:] == ("depends_on",) else None
        if named:
            index = self._index(origin, named[1])
            line = self._line((*origin, *index))
            if self._translation is not None:
                origin = (*origin, *index)
        text = self._in_words(rest)
        return f"{line}{show(origin)}{text}" if origin else f"{line}{text.removeprefix(': ')}"

    def _write(self, problem: Problem) -> str:
        place = show(problem.path)
        name = self._id_at(problem.path)
        if name:
            place += f' ("{name}")'
        line = self._line(_pointed(problem.path, problem.text))
        return f"{line}{place}: {problem.text}" if place else f"{line}{problem.text}"

    def _line(self, path: Path) -> str:
        line = self._lines.line(path) if self._lines is not None else None
        return "" if line is None else f"line {line}: "

    def _sorted(self, problems: list[str]) -> list[str]:
        def at(problem: str) -> int:
            found = _LINE.match(problem)
            return int(found[1]) if found else 0

        return sorted(problems, key=at) if self._lines is not None else problems

    def _at(self, path: Path) -> Any:
        node: Any = self._data
        for part in path:
            try:
                node = node[part]
            except (KeyError, IndexError, TypeError):
                return None
        return node

    def _id_at(self, path: Path) -> str:
        """The id of the step that a place is in, where the place itself does not say it."""
        for end in range(len(path), 0, -1):
            if isinstance(path[end - 1], int):
                node = self._at(path[:end])
                if isinstance(node, Mapping) and isinstance(node.get("id"), str):
                    return str(node["id"])
        return ""

    def _index(self, path: Path, name: str) -> Path:
        """Where a name stands in the list at a place."""
        names = self._at(path)
        return (list(names).index(name),) if isinstance(names, (list, tuple)) and name in names else ()

    def _origin(self, path: Path) -> Path:
        """The place in the document that a place of the canonical form came from."""
        if self._translation is None:
            steps = self._data.get("steps")
            if isinstance(steps, Mapping) and path[:1] == ("steps",) and path[1:]:
                return ("steps", list(steps)[int(path[1])], *path[2:])
            return path
        for end in range(len(path), 0, -1):
            origin = self._translation.origins.get(path[:end])
            if origin is not None:
                rest = path[end:]
                if rest:
                    rest = (self._renamed(path[:end], str(rest[0])), *rest[1:]) if isinstance(rest[0], str) else rest
                return (*origin, *rest)
        return path

    def _renamed(self, path: Path, key: str) -> str:
        """What a key of a step is called in the document."""
        of_step = len(path) == 2 and path[0] == "steps" and self._translation is not None
        return self._translation.words.keys.get(key, key) if of_step and self._translation else key

    def _in_words(self, text: str) -> str:
        if self._translation is None:
            return text
        words = self._translation.words
        before = words.keys.get("depends_on", "depends_on")
        text = _UNKNOWN.sub(f"unknown {words.step} ", text)
        text = _TIMES.sub(rf"\1 {words.step}s", text)
        return text.replace("add it to depends_on", f"add it to {before}")

    def _rest(self, canonical: list[Problem], written: list[Problem]) -> Definition | None:
        """The definition with everything wrong left out: its graph and expressions can be checked all the same.

        A step of which it is not even known what it does is replaced by one that takes whatever it is given, so that
        nothing is told twice.
        """
        steps = self.plain.get("steps")
        if not isinstance(steps, list) or not steps or not all(isinstance(step, dict) for step in steps):
            return None
        plain = {**self.plain, "steps": [dict(step) for step in steps]}
        broken: set[int] = set()
        for path, _ in canonical:
            if path[:1] != ("steps",):
                plain.pop(str(path[0]) if path else "", None)
            elif len(path) == 1 or path[2:3] in (("id",), ("depends_on",)) or "id" not in steps[int(path[1])]:
                return None
            elif path[2:3] in ((), ("type",), ("handler",)):
                broken.add(int(path[1]))
            else:
                plain["steps"][int(path[1])].pop(path[2], None)
        of_all = self._origin(("steps",))
        of_steps = {self._origin(("steps", index)): index for index in range(len(steps))} if written else {}
        for path, text in written:
            inside = [of_steps[path[:end]] for end in range(len(path) + 1) if path[:end] in of_steps]
            if not inside and path[: len(of_all)] == of_all and path:
                return None  # a step is missing, and what refers to it is not wrong
            if text.startswith("missing") or path[-1:] in _WHAT_IT_DOES:
                broken.update(inside)
        for index in broken:
            step = plain["steps"][index]
            plain["steps"][index] = {
                "handler": "any", **{key: value for key, value in step.items() if key in _WHATEVER_IT_DOES},
            }  # fmt: skip
        plain["steps"] = [
            {key: value for key, value in step.items() if key in Step.__struct_fields__} for step in plain["steps"]
        ]
        known = {key: value for key, value in plain.items() if key in Definition.__struct_fields__}
        try:
            return msgspec.convert({"name": "unnamed", **known, "version": "0"}, Definition)
        except (msgspec.ValidationError, TypeError, RecursionError):
            return None


_WHAT_IT_DOES: Final = tuple((key,) for key in ("type", "handler", "action", "activity_type", "agent_id"))
_WHATEVER_IT_DOES: Final = ("id", "depends_on", "condition", "input", "input_mapping", "config")


def _pointed(path: Path, text: str) -> Path:
    """What a message about a place points at: an unknown key stands somewhere in its mapping."""
    key = _KEY.match(text)
    return path if key is None else (*path, key[1])


def of_definition(definition: Definition) -> Loaded:
    """A definition that was built in Python: its places are its own."""
    made = Loaded({}, dialect=CANONICAL, place="", plain={})
    made.definition = definition
    return made
