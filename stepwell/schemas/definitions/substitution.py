"""Parameters of a template put into its definition, so that a value stays a value.

``${name}`` in a text stands for a parameter. A text that is nothing but one marker becomes the value and keeps its
type. What else happens depends on the place, because the engine reads a definition's texts in three ways:

- Where ``{{ … }}`` is evaluated (``input``, ``config``, ``output``), braces within a value are quoted.
- Within an expression (``condition``, inside ``{{ … }}``, in rules of ``process``), the value becomes a literal.
- Elsewhere (names, queues), it is the text.

So no value can become an expression, a reference or another step. A literal ``${`` is written ``$${``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from stepwell.errors import DefinitionError
from stepwell.schemas.definitions.bounds import MOST_BYTES, TooLargeError
from stepwell.schemas.definitions.literals import literal
from stepwell.suggest import suggest


class _Reads(Enum):
    """How the engine reads a text."""

    TEXT = "text"
    TEMPLATE = "template"
    MAPPING = "template in which a bare path is a reference"
    EXPRESSION = "expression"


_MARKER: Final = re.compile(r"\$\$\{|\$\{([^{}]*)\}")
_WHOLE: Final = re.compile(r"\$\{([^{}]*)\}")
_PART: Final = re.compile(
    r"""
    (?P<quoted>'''(?:\\.|[^\\])*?'''|\"\"\"(?:\\.|[^\\])*?\"\"\"|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*")
    | (?P<marker>\$\$\{|\$\{[^{}]*\})
    | (?P<brace>[{}])
    """,
    re.DOTALL | re.VERBOSE,
)
_IN_TEMPLATE: Final = re.compile(r"\{\{|\$\$\{|\$\{([^{}]*)\}")
_BRACES: Final = re.compile(r"^\{+|\{{2,}|\{+$")
_REFERENCE: Final = re.compile(r"(?:step_outputs|input_data|input|context)[.\[]")
_MARKED_KEY: Final = "a parameter cannot stand in a key"
_STEP: Final = {
    "condition": _Reads.EXPRESSION, "input": _Reads.TEMPLATE, "config": _Reads.TEMPLATE,
    "input_mapping": _Reads.MAPPING,
}  # fmt: skip


def substitute(definition: dict[str, Any], values: Mapping[str, Any], *, place: str) -> dict[str, Any]:
    """Put values of parameters into a definition of the canonical form.

    Args:
        values: Of every parameter, JSON values.
        place: How messages name the template.

    Returns:
        A new definition that shares nothing with what was given.

    Raises:
        DefinitionError: A marker names no parameter, or stands where no value can; all of them are told.
    """
    work = _Work(values)
    made: dict[str, Any] = {}
    try:
        for key, value in definition.items():
            at = f"definition.{key}"
            if key == "steps" and isinstance(value, (list, dict)):
                made[key] = work.steps(value, at)
            else:
                made[key] = work.value(value, at, _Reads.TEMPLATE if key == "output" else _Reads.TEXT)
    except TooLargeError as error:
        raise DefinitionError([str(error)], place=place, remedy="Give shorter values.") from None
    if work.problems:
        raise DefinitionError(work.problems, place=place)
    return made


class _Work:
    def __init__(self, values: Mapping[str, Any]) -> None:
        self.values = values
        self.problems: list[str] = []
        self._sizes: dict[str, int] = {}
        self._room = MOST_BYTES

    def steps(self, steps: Any, at: str) -> Any:
        if isinstance(steps, dict):
            for key in steps:
                self._check_key(key, at)
            return {key: self.step(step, f"{at}.{key}") for key, step in steps.items()}
        return [self.step(step, f"{at}[{index}]") for index, step in enumerate(steps)]

    def step(self, step: Any, at: str) -> Any:
        if not isinstance(step, dict):
            return self.value(step, at, _Reads.TEXT)
        made = {}
        for key, value in step.items():
            inner = f"{at}.{key}"
            if key == "compensate" and isinstance(value, dict):
                made[key] = {
                    name: self.value(part, f"{inner}.{name}", _STEP.get(name, _Reads.TEXT))
                    for name, part in value.items()
                }
            elif key == "config" and isinstance(value, dict):
                made[key] = self.config(value, inner, step.get("type"))
            else:
                made[key] = self.value(value, inner, _STEP.get(key, _Reads.TEXT))
        return made

    def config(self, config: dict[str, Any], at: str, kind: Any) -> dict[str, Any]:
        made = {}
        for key, value in config.items():
            self._check_key(key, at)
            inner = f"{at}.{key}"
            if kind == "condition_check" and key == "condition":
                made[key] = self.value(value, inner, _Reads.EXPRESSION)
            elif kind == "process" and key == "rules" and isinstance(value, list):
                made[key] = [self.rule(rule, f"{inner}[{index}]") for index, rule in enumerate(value)]
            else:
                made[key] = self.value(value, inner, _Reads.TEMPLATE)
        return made

    def rule(self, rule: Any, at: str) -> Any:
        if not isinstance(rule, dict):
            return self.value(rule, at, _Reads.TEMPLATE)
        computing = ("where", "set", "aggregate")
        return {
            key: self.value(value, f"{at}.{key}", _Reads.EXPRESSION if key in computing else _Reads.TEMPLATE)
            for key, value in rule.items()
        }

    def value(self, value: Any, at: str, reads: _Reads) -> Any:
        if isinstance(value, dict):
            for key in value:
                self._check_key(key, at)
            return {key: self.value(part, f"{at}.{key}", reads) for key, part in value.items()}
        if isinstance(value, list):
            # Within a list a bare path is no reference.
            within = _Reads.TEMPLATE if reads is _Reads.MAPPING else reads
            return [self.value(part, f"{at}[{index}]", within) for index, part in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value
        if reads is _Reads.EXPRESSION:
            return self._expression(value, at, 0, closes=False)[0]
        whole = _WHOLE.fullmatch(value)
        if whole:
            found = self._look_up(whole[1], at)
            return _quoted(found, reads)
        if reads is _Reads.TEXT:
            return _MARKER.sub(lambda marker: self._as_text(marker, at), value)
        text = self._template(value, at)
        return _unreferenced(text) if reads is _Reads.MAPPING else text

    def _check_key(self, key: Any, at: str) -> None:
        if isinstance(key, str) and "${" in key:
            self.problems.append(f'{at}: {_MARKED_KEY}, and "{key}" has one')

    def _look_up(self, name: str, at: str) -> Any:
        if name in self.values:
            self._make(name, at)
            return self.values[name]
        hint = suggest(name, self.values) or "; write $${ for a literal ${"
        self.problems.append(f'{at}: there is no parameter "{name}"{hint}')
        return ""

    def _make(self, name: str, at: str) -> None:
        """Count a value as often as it is put somewhere, before it is: a definition has no more bytes than these."""
        if name not in self._sizes:
            self._sizes[name] = len(json.dumps(self.values[name], default=str))
        self._room -= self._sizes[name]
        if self._room < 0:
            raise TooLargeError(f"{at}: the parameters make it larger than {MOST_BYTES:,} bytes")

    def _as_text(self, marker: re.Match[str], at: str) -> str:
        return "${" if marker[1] is None else _text(self._look_up(marker[1], at))

    def _template(self, text: str, at: str) -> str:
        """A text with ``{{ … }}``: markers inside are literals, those outside are text."""
        made, position = "", 0
        while part := _IN_TEMPLATE.search(text, position):
            made += text[position : part.start()]
            position = part.end()
            if part[0] == "{{":
                inner, position = self._expression(text, at, position, closes=True)
                made += "{{" + inner
            elif part[0] == "$${":
                made += "${"
            else:
                if made.endswith("{"):
                    self.problems.append(f"{at}: a brace right before {part[0]} could open a template with it")
                made += _escaped(_text(self._look_up(part[1], at)))
        return made + text[position:]

    def _expression(self, text: str, at: str, position: int, *, closes: bool) -> tuple[str, int]:
        """An expression from a position on, up to the ``}}`` that closes it or to the end, and where that is."""
        made, depth = "", 0
        while part := _PART.search(text, position):
            made += text[position : part.start()]
            if part["quoted"] is not None:
                if "${" in part["quoted"]:
                    self.problems.append(
                        f"{at}: a parameter cannot stand within the quotes of an expression; join it with +"
                    )
                made += part["quoted"]
            elif part["marker"] is not None:
                made += self._literal(part["marker"], at)
            elif closes and depth == 0 and text.startswith("}}", part.start()):
                return made + "}}", part.start() + 2
            else:
                depth += 1 if part["brace"] == "{" else -1
                made += part["brace"]
            position = part.end()
        return made + text[position:], len(text)

    def _literal(self, marker: str, at: str) -> str:
        if marker == "$${":
            self.problems.append(f"{at}: ${{ means nothing in an expression; put it within quotes")
            return ""
        try:
            written = literal(self._look_up(marker[2:-1], at))
        except ValueError as error:
            self.problems.append(f"{at}: {error}")
            return ""
        return f"({written})" if written.startswith("-") else written


def _text(value: Any) -> str:
    """What the engine would make of a value within a longer text."""
    if value is None:
        return ""
    if isinstance(value, (bool, list, dict)):
        return json.dumps(value, ensure_ascii=False, sort_keys=True)
    return str(value)


def _escaped(text: str) -> str:
    """The text where templates are evaluated: braces that could open one, also with a neighbour's, are quoted."""
    return _BRACES.sub(lambda braces: f"{{{{ '{braces[0]}' }}}}", text)


def _unreferenced(text: str) -> str:
    return f"{{{{ {literal(text)} }}}}" if _REFERENCE.match(text) and "{{" not in text else text


def _quoted(value: Any, reads: _Reads) -> Any:
    """A copy of a value that means just itself where it stands."""
    if isinstance(value, list):
        return [_quoted(part, _Reads.TEMPLATE if reads is _Reads.MAPPING else reads) for part in value]
    if isinstance(value, dict):
        return {key: _quoted(part, reads) for key, part in value.items()}
    if not isinstance(value, str) or reads is _Reads.TEXT:
        return value
    text = _escaped(value) if "{{" in value else value
    return _unreferenced(text) if reads is _Reads.MAPPING else text
