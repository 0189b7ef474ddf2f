"""The ``process`` step: its input changed by the rules of ``config.rules``, one after the other.

=============  ==================================================================================================
transform      ``{field, operation, …}``: change what is at ``field``: upper (uppercase), lower (lowercase), title,
               trim, rename (``to``), cast (``to``: int, float, str, bool), default (``value``), drop,
               round (``digits``), replace (``old``, ``new``)
select         ``{fields, field}``: keep only these fields, of a mapping or of each row of a list
filter         ``{field, where, into}``: keep the rows for which an expression holds
map            ``{field, set, into}``: compute fields of each row, as in ``set: {total: price * quantity}``
sort           ``{field, by, descending, into}``
group          ``{field, by, aggregate, into}``: one row for each group, with sum, count, min, max, avg
join           ``{left, right, on, how, prefix, into}``: rows of two lists that agree on a field
validate       ``{field, schema, required}``: fail with a ``ValidationError`` unless the data fits
=============  ==================================================================================================

``field`` is a path such as ``customer.name`` or ``rows[].name`` (see ``_paths``); where a rule works on rows it may
be left out if the data itself is the list. All rules are checked before the first one runs, and a field that is not
there is a mistake: ``default`` makes it, ``drop`` does not mind.

All rules of a step pay from one meter for what they do and for what they make.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from stepwell.consumers.worker.builtin._paths import (
    MISSING,
    Change,
    Path,
    RuleError,
    RuleLimitError,
    below,
    mapping_of,
    missing,
    parse_path,
    read,
    rewrite,
    rows_of,
    write,
)
from stepwell.consumers.worker.builtin._settings import Settings
from stepwell.consumers.worker.builtin._tables import (
    Rule,
    compile_filter,
    compile_group,
    compile_join,
    compile_map,
    compile_sort,
)
from stepwell.consumers.worker.builtin._validation import ValidationError, compile_validate
from stepwell.consumers.worker.context import StepContext
from stepwell.core.expressions.values import MAX_TEXT, Evaluation, as_text, bounded, kind, shorten
from stepwell.errors import ExpressionError, LimitError
from stepwell.step_types.process import OPERATIONS, RULES, TYPE

__all__ = ["RuleError", "RuleLimitError", "ValidationError", "apply_rules", "compile_rules", "process"]

MOST_WORK: Final = 6_000_000
"""Units of work that all rules of a step may take, some seconds: more than a decision has, for a worker's thread may
take longer than an engine."""
MOST_MADE: Final = 64 * 1024 * 1024
"""Bytes that they may make besides the data, what is dropped again included."""

_Operation = Callable[[Settings, Evaluation], Change]


async def process(data: Any, ctx: StepContext) -> Any:
    """Run a ``process`` step.

    Args:
        data: The step's input; stays as it is.
        ctx: ``config.rules`` are the rules; without any, the result is the input.

    Raises:
        RuleError: A rule is wrong, or does not fit the data.
        ValidationError: The data is not what a ``validate`` rule asks for.
    """
    settings = Settings(ctx.config, "", TYPE.keys, RuleError)
    # In a thread: rules take seconds on much data, in which everything else in this process would stand still.
    return await asyncio.to_thread(apply_rules, data, settings.values.get("rules"))


def apply_rules(data: Any, rules: Any) -> Any:
    """Apply rules to data, in order.

    Args:
        data: JSON data; stays as it is. The result shares with it what the rules do not change.
        rules: A list of mappings, each with a ``type``; None for no rules.

    Raises:
        RuleError: A rule is wrong, or does not fit the data; the message names rule and place.
        RuleLimitError: The rules take more work, or make more data, than there is for them.
        ValidationError: The data is not what a ``validate`` rule asks for.
    """
    run = Evaluation({}, MOST_WORK, MOST_MADE)
    compiled = compile_rules(rules, run)
    for rule in compiled:
        data = rule(data)
    if compiled:
        try:
            run.measure(data)  # what it shares is written as often as it is part of it
        except LimitError as error:
            raise limited(error, "the result") from None
    return data


def compile_rules(rules: Any, run: Evaluation | None = None) -> list[Rule]:
    """Check rules whole, and make a function of each.

    Args:
        rules: As for ``apply_rules``.
        run: What pays for all that they do.

    Raises:
        RuleError: A rule is wrong; ``place`` is where, such as ``rules[2].operation``.
    """
    if rules is None:
        return []
    if not isinstance(rules, (list, tuple)):
        raise RuleError(f"a list of rules is needed, not {kind(rules)}", place="rules")
    run = run or Evaluation({}, MOST_WORK, MOST_MADE)
    return [_compile(rule, f"rules[{number}]", run) for number, rule in enumerate(rules)]


def limited(error: LimitError, place: str) -> RuleLimitError:
    """The error of rules that ask for too much."""
    message = f"{error.place}: {error.message}" if error.place else error.message
    return RuleLimitError(message, used=error.used, limit=error.limit, place=place, remedy=error.remedy)


def _compile(rule: Any, place: str, run: Evaluation) -> Rule:
    settings = Settings(rule, place, rule if isinstance(rule, Mapping) else (), RuleError)
    name = settings.choice("type", RULES)
    settings = Settings(rule, place, ("type", *RULES[name]), RuleError)
    apply = _RULES[name](settings, run)

    def placed(data: Any) -> Any:
        try:
            return apply(data)
        except LimitError as error:
            raise limited(error, place) from error
        except ExpressionError as error:
            message = f"{error.place}: {error.message}" if error.place else error.message
            raise RuleError(message, place=place, remedy=error.remedy) from error

    return placed


# -- transform --


def _transform(settings: Settings, run: Evaluation) -> Rule:
    name = settings.choice("operation", OPERATIONS)
    Settings(settings.values, settings.place, ("type", "field", "operation", *OPERATIONS[name]), RuleError)
    path = parse_path(settings.text("field"), settings.at("field"))
    if name in _ON_FIELDS:
        return _ON_FIELDS[name](settings, path, run)
    change = _OPERATIONS[name](settings, run)
    return lambda data: rewrite(data, path, change, run)


def _default(settings: Settings, path: Path, run: Evaluation) -> Rule:
    value = settings.get("value")

    def fill(old: Any, _: str) -> Any:
        return value if old is MISSING or old is None else old

    return lambda data: rewrite(data, path, fill, run, absent="create")


def _drop(settings: Settings, path: Path, run: Evaluation) -> Rule:
    if not path:
        raise settings.wrong("field", "the whole data cannot be dropped")
    return lambda data: rewrite(data, path, lambda _, __: MISSING, run, absent="skip")


def _rename(settings: Settings, path: Path, run: Evaluation) -> Rule:
    new = settings.text("to")
    old = path[-1] if path else None
    if not isinstance(old, str):
        raise settings.wrong("field", "only a field can be renamed")

    def rename(holder: Any, at: str) -> Any:
        fields = mapping_of(holder, at)
        if old not in fields:
            raise missing(fields, old, at)
        if new in fields and new != old:
            raise RuleError(f'there is a field "{new}" already', place=at, remedy="Drop it first.")
        run.spend(len(fields) // 4)
        return {new if key == old else key: value for key, value in fields.items()}

    return lambda data: rewrite(data, path[:-1], rename, run)


def _on_text(name: str, change: Callable[[str], str], per_character: float = 1 / 16) -> _Operation:
    def operation(_: Settings, run: Evaluation) -> Change:
        def apply(value: Any, at: str) -> str:
            text = _text(value, name, at)
            run.spend(int(len(text) * per_character))
            run.make(len(text))
            return change(text)

        return apply

    return operation


def _text(value: Any, name: str, at: str) -> str:
    if not isinstance(value, str):
        raise RuleError(f"{name} takes a text, not {kind(value)}", place=at)
    return value


def _title(text: str) -> str:
    # Not str.title, which makes "They'Re" of "they're".
    return re.sub(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*", lambda word: word[0].capitalize(), text)


def _replace(settings: Settings, run: Evaluation) -> Change:
    old, new = settings.text("old"), settings.text("new")
    if not old:
        raise settings.wrong("old", "an empty text cannot be replaced")

    def replace(value: Any, at: str) -> str:
        text = _text(value, "replace", at)
        run.spend(len(text) // 8)
        size = len(text) + text.count(old) * (len(new) - len(old))
        if size > MAX_TEXT:
            raise RuleError(f"the text would have more than {MAX_TEXT:,} characters", place=at)
        run.make(size)
        return text.replace(old, new)

    return replace


def _round(settings: Settings, _: Evaluation) -> Change:
    digits = settings.integer("digits", 0, -300, 300)

    def apply(value: Any, at: str) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise RuleError(f"round takes a number, not {kind(value)}", place=at, remedy="Cast it first.")
        return round(value, digits or None)

    return apply


_TRUTH: Final = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)


def _to_int(value: Any) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise ValueError
    return int(value)


def _to_text(value: Any, run: Evaluation) -> str:
    return str(value).lower() if isinstance(value, bool) else as_text(value, run)


_CASTS: Final[dict[str, Callable[[Any, Evaluation], Any]]] = {
    "int": lambda value, run: bounded(_to_int(value), run),
    "float": lambda value, run: bounded(float(value), run),
    "str": _to_text,
    "bool": lambda value, run: _TRUTH[_to_text(value, run).strip().lower()],
}


def _cast(settings: Settings, run: Evaluation) -> Change:
    to = settings.choice("to", _CASTS)
    convert = _CASTS[to]

    def cast(value: Any, at: str) -> Any:
        if not isinstance(value, (str, int, float)):
            raise RuleError(f"cast takes a text, a number or a truth value, not {kind(value)}", place=at)
        if isinstance(value, str):
            run.spend(len(value) // 16)
        try:
            return convert(value, run)
        except LimitError:
            raise
        except (ValueError, KeyError, OverflowError, ExpressionError) as error:
            hint = "Round it first." if to == "int" and isinstance(value, float) else ""
            raise RuleError(f"{shorten(repr(value), 60)} cannot be cast to {to}", place=at, remedy=hint) from error

    return cast


# Operations on values: each reads its own settings, and makes of them what changes a value.
_OPERATIONS: Final[dict[str, _Operation]] = {
    "upper": _on_text("upper", str.upper),
    "uppercase": _on_text("uppercase", str.upper),
    "lower": _on_text("lower", str.lower),
    "lowercase": _on_text("lowercase", str.lower),
    "title": _on_text("title", _title, 1 / 4),
    "trim": _on_text("trim", str.strip),
    "cast": _cast,
    "round": _round,
    "replace": _replace,
}

# Operations on fields as such, which may be missing, or come and go.
_ON_FIELDS: Final[dict[str, Callable[[Settings, Path, Evaluation], Rule]]] = {
    "rename": _rename,
    "default": _default,
    "drop": _drop,
}


# -- select --


def _select(settings: Settings, run: Evaluation) -> Rule:
    path = parse_path(settings.text("field", ""), settings.at("field"))
    fields = [parse_path(text, settings.at("fields")) for text in settings.texts("fields")]
    if not all(field and all(isinstance(part, str) for part in field) for field in fields):
        raise settings.wrong("fields", "names of fields are needed, such as name or address.city")

    def keep(value: Any, at: str) -> Any:
        kept: Any = {}
        for field in fields:
            new = read(value, field, run, at)
            if len(field) == 1:
                kept[field[0]] = new
            else:
                kept = write(kept, field, new, run, at)
        return kept

    def select(value: Any, at: str) -> Any:
        if isinstance(value, (list, tuple)):
            return [keep(row, below(at, number)) for number, row in enumerate(rows_of(value, at))]
        return keep(mapping_of(value, at), at)

    return lambda data: rewrite(data, path, select, run)


_RULES: Final[dict[str, Callable[[Settings, Evaluation], Rule]]] = {
    "transform": _transform,
    "select": _select,
    "filter": compile_filter,
    "map": compile_map,
    "sort": compile_sort,
    "group": compile_group,
    "join": compile_join,
    "validate": compile_validate,
}
