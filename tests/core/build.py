"""Short words for small definitions, so that a behaviour test shows only what it is about."""

from __future__ import annotations

from typing import Any

from stepwell.schemas.definitions.model import Definition, ErrorHandler, Step
from tests.core.model import Engine


def step(step_id: str, *after: str, **fields: Any) -> Step:
    """A step of type python, unless it is given another."""
    if "type" not in fields:
        fields.setdefault("handler", f"do_{step_id}")
    return Step(step_id, depends_on=after, **fields)


def workflow(*steps: Step, on_error: dict[str, tuple[str, str]] | None = None, **fields: Any) -> Definition:
    """A definition; ``on_error`` maps a step to (its error handler, what then)."""
    handlers = {failed: ErrorHandler(handler, then) for failed, (handler, then) in (on_error or {}).items()}
    return Definition(name="w", steps=steps, error_handlers=handlers, **fields)


def started(*steps: Step, data: Any = None, budget: int = 256, **fields: Any) -> Engine:
    """An instance of a small workflow, just started."""
    engine = Engine(workflow(*steps, **fields), budget=budget)
    engine.start(data)
    return engine


def statuses(engine: Engine) -> dict[str, str]:
    """The status of each step that something has happened to, by id."""
    return {step_id: str(one.status) for step_id, one in sorted(engine.latest.steps.items())}


def in_hand(engine: Engine) -> list[str]:
    """The steps that workers have been given, in order."""
    return [item.step.step_id for item in engine.in_hand]


def until_nobody_has_it(engine: Engine, step_id: str = "a") -> None:
    """Every worker hands a step back, until a person is called."""
    while engine.latest.status != "paused":
        engine.give_back(step_id)
        due = engine.next_due()
        assert due is not None
        engine.wait((due - engine.now) / 1000)
