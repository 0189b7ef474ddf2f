"""Rules on lists of rows: ``filter``, ``map``, ``sort``, ``group`` and ``join``.

``where``, ``set`` and ``aggregate`` hold expressions of the one language, over the row's keys and ``row``, the row
itself. Nulls are treated as databases do: aggregates leave them out, sorting puts them last, and joins never match
them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, Final

from stepwell.consumers.worker.builtin._paths import (
    EACH,
    ENTRY,
    MISSING,
    Path,
    RuleError,
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
from stepwell.core.expressions.evaluate import compile_expression
from stepwell.core.expressions.values import Evaluation, bounded, kind, plain
from stepwell.errors import ExpressionError, LimitError

MAX_ROWS: Final = 100_000
"""Rows that a join makes: several times what a record of 1 MB holds, and far less than fills the memory."""

_ROW: Final = 3
"""Units of work for what is done with a row, or a cell of one."""

Rule = Callable[[Any], Any]
"""A compiled rule: makes new data of old."""

_Value = Callable[[Any, str], Any]  # of a row and its place


def compile_filter(settings: Settings, run: Evaluation) -> Rule:
    """``{field, where, into}``: keep the rows for which an expression holds."""
    where = _expression(settings, "where", settings.text("where"), run)

    def keep(rows: list[Any], at: str) -> list[Any]:
        return [row for number, row in enumerate(rows) if where(row, below(at, number))]

    return _on_rows(settings, keep, run)


def compile_map(settings: Settings, run: Evaluation) -> Rule:
    """``{field, set: {target: expression}, into}``: compute fields of each row, all from the row as it was."""
    targets = [
        (_plain_path(settings, "set", target), _expression(settings, f"set.{target}", source, run))
        for target, source in settings.mapping("set").items()
    ]

    def compute(rows: list[Any], at: str) -> list[Any]:
        result = []
        for number, row in enumerate(rows):
            place = below(at, number)
            new: Any = dict(mapping_of(row, place))
            run.spend(len(row) // 8)
            for path, value in targets:
                if len(path) == 1:
                    run.make(0 if path[0] in new else ENTRY)
                    new[path[0]] = value(row, place)
                else:
                    new = write(new, path, value(row, place), run, place)
            result.append(new)
        return result

    return _on_rows(settings, compute, run)


def compile_sort(settings: Settings, run: Evaluation) -> Rule:
    """``{field, by, descending, into}``: by one field or several; equal rows keep their order, nulls come last."""
    paths = _columns(settings, "by")
    descending = settings.flag("descending")

    def order(rows: list[Any], at: str) -> list[Any]:
        for text, path in reversed(paths):
            run.spend(2 * len(rows))
            keyed = list(zip(_column(rows, text, path, at, run), rows, strict=True))
            present = [pair for pair in keyed if pair[0] is not None]
            _comparable([key for key, _ in present], f"by {text}", at)
            present.sort(key=itemgetter(0), reverse=descending)
            rows = [row for _, row in present] + [row for key, row in keyed if key is None]
        return rows

    return _on_rows(settings, order, run)


def compile_group(settings: Settings, run: Evaluation) -> Rule:
    """``{field, by, aggregate: {name: {function: expression}}, into}``: a row for each group, in order of their
    first rows. Without ``by`` all rows are one group.
    """
    columns = _columns(settings, "by") if "by" in settings else []
    aggregates = {name: _aggregate(settings, name, what, run) for name, what in settings.mapping("aggregate").items()}
    names = Counter([*(_last(path) for _, path in columns), *aggregates])
    twice = next((name for name, count in names.items() if count > 1), None)
    if twice is not None:
        raise settings.wrong("by", f'the result would have two fields "{twice}"', "Give the aggregate another name.")

    def gather(rows: list[Any], at: str) -> list[Any]:
        groups: dict[tuple[Any, ...], list[tuple[Any, str]]] = {} if columns else {(): []}
        for number, (row, key) in enumerate(zip(rows, _keys(rows, columns, at, run), strict=True)):
            groups.setdefault(key, []).append((row, below(at, number)))
        run.spend(len(groups) * len(names))
        run.make(len(groups) * len(names) * ENTRY)
        return [
            {_last(path): cell for (_, path), (_, cell) in zip(columns, key, strict=True)}
            | {name: value(members, at) for name, value in aggregates.items()}
            for key, members in groups.items()
        ]

    return _on_rows(settings, gather, run)


def compile_join(settings: Settings, run: Evaluation) -> Rule:
    """``{left, right, on, how: inner | left, prefix, into}``: rows of two lists that agree on a field.

    ``on`` is a field of both or ``{left, right}``. A row of the result has the left row's fields and the right's;
    ``prefix`` is put before the right's names. ``how: left`` keeps rows without a partner, with nulls. The result
    takes the place of the left list unless ``into`` says where it goes.
    """
    left_at, right_at = settings.text("left"), settings.text("right")
    left_path, right_path = _plain_path(settings, "left", left_at), _plain_path(settings, "right", right_at)
    into = _plain_path(settings, "into", settings.text("into")) if "into" in settings else left_path
    on = settings.get("on")
    sides = Settings(on, settings.at("on"), ("left", "right"), RuleError) if isinstance(on, Mapping) else None
    left_on, right_on = (
        _columns(settings, "on") if sides is None else _columns(sides, side) for side in ("left", "right")
    )
    if len(left_on) != len(right_on):
        raise settings.wrong("on", "left and right have different numbers of fields")
    outer = settings.choice("how", ("inner", "left"), "inner") == "left"
    prefix = settings.text("prefix", "")

    def join(data: Any) -> Any:
        left = rows_of(read(data, left_path, run), left_at)
        right = rows_of(read(data, right_path, run), right_at)
        partners: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
        names: dict[str, None] = {}
        for row, key in zip(right, _keys(right, right_on, right_at, run), strict=True):
            if outer:
                run.spend(len(row) * (1 + len(prefix) // 64))
                names |= dict.fromkeys(f"{prefix}{name}" for name in row)
                run.make((len(names) * len(prefix)) // 1024)  # most rows have the same ones
            partners.setdefault(key, []).append(row)
        result: list[Any] = []
        for number, (row, key) in enumerate(zip(left, _keys(left, left_on, left_at, run), strict=True)):
            found = [] if (False, None) in key else partners.get(key, [])
            if len(result) + len(found) > MAX_ROWS:
                raise RuleError(f"the join has more than {MAX_ROWS:,} rows", remedy="Join on more fields.")
            result.extend(_merged(row, other, prefix, below(left_at, number), run) for other in found)
            if outer and not found:
                run.spend(len(names) // 8)
                run.make(ENTRY * (len(names) + len(row)))
                result.append(names | dict(row))
        return write(data, into, result, run, "")

    return join


def _merged(
    left: Mapping[str, Any], right: Mapping[str, Any], prefix: str, at: str, run: Evaluation
) -> dict[str, Any]:
    run.spend(_ROW + len(left) // 8 + len(right) // 2)
    run.make(ENTRY * (len(left) + len(right)))
    if prefix:  # which makes new names, as long as an earlier join or whoever wrote the rows has made the old ones
        run.make(len(prefix) * len(right) + sum(map(len, right)))
    result = dict(left)
    for name, value in right.items():
        key = f"{prefix}{name}" if prefix else name
        if key in result and not _same(result[key], value, run):
            raise RuleError(
                f'both rows have a field "{key}", with different values',
                place=at,
                remedy='Tell them apart with a prefix for the right ones, such as prefix: "right_".',
            )
        result[key] = value
    return result


def _same(one: Any, other: Any, run: Evaluation) -> bool:
    if one is other:
        return True
    if isinstance(one, (str, Mapping, list, tuple)):
        return bool(plain(one, run, made=False) == plain(other, run, made=False))
    return bool(one == other)


# -- Aggregates --


def _sum(values: list[Any], at: str) -> Any:
    total: Any = 0
    for value in _numbers(values, at):
        total += value
    return bounded(total)


def _average(values: list[Any], at: str) -> Any:
    return bounded(_sum(values, at) / len(values)) if values else None


def _extreme(choose: Callable[..., Any]) -> Callable[[list[Any], str], Any]:
    return lambda values, at: choose(_comparable(values, choose.__name__, at), default=None)


_AGGREGATES: Final[dict[str, Callable[[list[Any], str], Any]]] = {
    "sum": _sum,
    "count": lambda values, _: len(values),
    "min": _extreme(min),
    "max": _extreme(max),
    "avg": _average,
}


def _aggregate(
    settings: Settings, name: str, what: Any, run: Evaluation
) -> Callable[[list[tuple[Any, str]], str], Any]:
    place = f"aggregate.{name}"
    if not isinstance(what, Mapping) or len(what) != 1:
        remedy = f"One of {', '.join(_AGGREGATES)} with what it is taken of, as in {{sum: amount}}."
        raise settings.wrong(place, "one function is needed", remedy)
    ((function, source),) = Settings(what, settings.at(place), _AGGREGATES, RuleError).values.items()
    if function == "count" and source is True:
        return lambda members, _: len(members)
    value = _expression(settings, f"{place}.{function}", source, run)
    combine = _AGGREGATES[function]

    def aggregate(members: list[tuple[Any, str]], at: str) -> Any:
        values = [found for row, place in members if (found := value(row, place)) is not None]
        run.spend(len(values))
        try:
            return combine(values, at)
        except (ExpressionError, OverflowError) as error:
            message = error.message if isinstance(error, ExpressionError) else "the numbers are too large"
            raise RuleError(f"{place}.{function}: {message}", place=at) from error

    return aggregate


# -- Parts of rules, and cells of rows --


def _on_rows(settings: Settings, work: Callable[[list[Any], str], list[Any]], run: Evaluation) -> Rule:
    """A rule that makes new rows of those at ``field`` (by default the data itself), there or ``into`` elsewhere."""
    field = settings.text("field", "")
    if "into" not in settings:
        path = parse_path(field, settings.at("field"))
        return lambda data: rewrite(data, path, lambda value, at: work(rows_of(value, at), at), run)
    path = _plain_path(settings, "field", field)
    into = _plain_path(settings, "into", settings.text("into"))
    return lambda data: write(data, into, work(rows_of(read(data, path, run), field), field), run, "")


def _plain_path(settings: Settings, key: str, text: str) -> Path:
    path = parse_path(text, settings.at(key))
    if EACH in path:
        raise settings.wrong(key, f"one place is needed, not the many of {text}")
    return path


def _columns(settings: Settings, key: str) -> list[tuple[str, Path]]:
    columns = [(text, _plain_path(settings, key, text)) for text in settings.texts(key)]
    if not all(path for _, path in columns):
        raise settings.wrong(key, "a field's name is needed")
    return columns


def _last(path: Path) -> str:
    return str(path[-1])


def _expression(settings: Settings, key: str, source: Any, run: Evaluation) -> _Value:
    if not isinstance(source, str):
        raise settings.wrong(key, f"an expression is needed, not {kind(source)}")
    try:
        expression = compile_expression(source)
    except ExpressionError as error:
        raise settings.wrong(key, error.message, error.remedy) from error
    whole = "row" in expression.names

    def evaluate(row: Any, at: str) -> Any:
        scope = row if isinstance(row, Mapping) else {}
        run.spend(_ROW + (len(scope) // 8 if whole else 0))
        run.scope = {**scope, "row": row} if whole else scope
        try:
            return expression.evaluate_in(run)
        except LimitError as error:
            raise error.said(f"{key}: {error.message}", place=at, remedy=error.remedy) from error
        except ExpressionError as error:
            raise RuleError(f"{key}: {error.message}", place=at, remedy=error.remedy) from error

    return evaluate


def _column(rows: list[Any], text: str, path: Path, at: str, run: Evaluation) -> list[Any]:
    """What each row has in a column: None where it has nothing. That no row has it is taken for a mistake."""
    run.spend(_ROW * len(rows) * len(path))
    cells = [_cell(row, path, below(at, number)) for number, row in enumerate(rows)]
    if cells and all(cell is MISSING for cell in cells):
        raise missing(rows[0], text, below(at, 0))
    return [None if cell is MISSING else cell for cell in cells]


def _cell(row: Any, path: Path, at: str) -> Any:
    value: Any = mapping_of(row, at)
    for part in path:
        if isinstance(part, str) and isinstance(value, Mapping):
            value = value.get(part, MISSING)
        elif isinstance(part, int) and isinstance(value, (list, tuple)):
            value = value[part] if part < len(value) else MISSING
        else:
            return MISSING
    return value


def _keys(
    rows: list[Any], columns: list[tuple[str, Path]], at: str, run: Evaluation
) -> list[tuple[tuple[bool, Any], ...]]:
    """What tells the rows apart: the cells of some columns, each with whether it is a truth value, since to Python
    ``True`` is 1, and to JSON it is not.
    """
    keys: list[list[tuple[bool, Any]]] = [[] for _ in rows]
    for text, path in columns:
        for key, cell in zip(keys, _column(rows, text, path, at, run), strict=True):
            if isinstance(cell, (list, tuple, Mapping)):
                raise RuleError(f"rows cannot be told apart by {kind(cell)}", place=below(at, text))
            key.append((isinstance(cell, bool), cell))
    return [tuple(key) for key in keys]


def _numbers(values: list[Any], at: str) -> list[Any]:
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise RuleError(f"numbers are needed, not {kind(value)}", place=at, remedy="Cast them first.")
    return values


def _comparable(values: list[Any], what: str, at: str) -> list[Any]:
    """Check that values can be compared: all texts, all numbers, or all truth values."""
    kinds = {kind(value): value for value in values}
    if len(kinds) > 1:
        raise RuleError(
            f"{what}: {' and '.join(sorted(kinds))} cannot be compared", place=at, remedy="Cast them first."
        )
    for name, value in kinds.items():
        if not isinstance(value, (str, int, float)):
            raise RuleError(f"{what}: {name} cannot be compared", place=at)
    return values
