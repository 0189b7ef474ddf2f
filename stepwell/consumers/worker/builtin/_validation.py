"""The rule ``validate``: data that does not fit fails the step, with every problem named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from stepwell.consumers.worker.builtin._paths import MISSING, Path, RuleError, parse_path, walk
from stepwell.consumers.worker.builtin._settings import Settings
from stepwell.consumers.worker.builtin._tables import Rule
from stepwell.core.expressions.json_schema import MOST_PROBLEMS, compile_schema, misfits
from stepwell.core.expressions.meter import Meter
from stepwell.errors import ExpressionError, LimitError, StepwellError


class ValidationError(StepwellError):
    """The data is not what a ``validate`` rule asks for. Never retried by default.

    Args:
        problems: What is wrong, each as ``place: message``.
        place: The rule.
    """

    def __init__(self, problems: list[str], *, place: str = "") -> None:
        self.problems = problems
        message = problems[0] if len(problems) == 1 else "\n  ".join([f"{len(problems)} problems", *problems])
        super().__init__(message, place=place)


def compile_validate(settings: Settings, run: Meter) -> Rule:
    """``{field, schema, required}``: fail unless what is at ``field`` fits a JSON Schema and has these fields."""
    path = parse_path(settings.text("field", ""), settings.at("field"))
    if "schema" not in settings and "required" not in settings:
        raise settings.wrong("schema", "is missing", "Give a JSON Schema as schema, or a list of fields as required.")
    texts = settings.texts("required") if "required" in settings else []
    required = [parse_path(text, settings.at("required")) for text in texts]
    by_schema = schema_check(settings, run) if "schema" in settings else None

    def problems(data: Any) -> Iterator[str]:
        for at, value in _found(data, path, run, ""):
            if value is MISSING or isinstance(value, RuleError):
                yield _problem(at, value)
                continue
            for wanted in required:
                parts = _found(value, wanted, run, at)
                yield from (_problem(*part) for part in parts if _is_absent(part[1]))
            if by_schema is not None:
                yield from by_schema(value, at, run)

    def validate(data: Any) -> Any:
        found = [problem for problem, _ in zip(problems(data), range(MOST_PROBLEMS), strict=False)]
        if found:
            raise ValidationError(found, place=settings.place)
        return data

    return validate


def _found(data: Any, path: Path, run: Meter, at: str) -> Iterator[tuple[str, Any]]:
    """What is at a path, as ``walk``; an error where the data has another shape."""
    try:
        yield from walk(data, path, run, at)
    except RuleError as error:
        yield error.place, error


def _is_absent(value: Any) -> bool:
    return value is MISSING or value is None or isinstance(value, RuleError)


def _problem(at: str, value: Any) -> str:
    what = "is missing" if value is MISSING else "is null" if value is None else value.message
    return f"{at or 'the data'}: {what}"


def schema_check(settings: Settings, schemas: Meter | None = None) -> Callable[[Any, str, Meter], Iterator[str]]:
    """What checks data by the JSON Schema under ``schema``: gives each problem, as ``place: message``. It takes the
    data, its place, and the meter that pays; see ``BoundedValidator``.

    Args:
        settings: Where it is.
        schemas: As for ``compile_schema``.
    """
    try:
        validator = compile_schema(settings.mapping("schema"), schemas)
    except ExpressionError as error:
        raise settings.wrong(f"schema{error.place}", error.message, error.remedy) from None

    def check(value: Any, at: str, run: Meter) -> Iterator[str]:
        try:
            yield from misfits(validator, value, at, run)
        except LimitError as error:
            raise error.said(error.message, place="schema", remedy=error.remedy) from None
        except ExpressionError as error:
            raise settings.wrong("schema", error.message, error.remedy) from None

    return check
