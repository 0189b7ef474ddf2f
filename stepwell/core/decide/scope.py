"""What expressions and templates see of an instance, and how data flows from step to step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from stepwell.core.expressions.meter import Meter
from stepwell.core.expressions.values import Evaluation
from stepwell.core.fold.state import InstanceState
from stepwell.core.plan.compile import Plan, PlanStep
from stepwell.schemas.records.events import ErrorInfo
from stepwell.schemas.records.statuses import StepStatus

Extra = Mapping[str, Any]
NOTHING: Extra = {}

_FEW: Final = 4
"""What is merged of so few outputs is at most as many records, and is not worth measuring."""
_ENTRY: Final = 16
"""Bytes for an entry of a mapping that is made of others' entries."""


class _StepOutputs(Mapping[str, Any]):
    """``step_outputs``: outputs of the steps that succeeded; a step that was settled without one gives None."""

    __slots__ = ("_state",)

    def __init__(self, state: InstanceState) -> None:
        self._state = state

    def __getitem__(self, step_id: str) -> Any:
        step = self._state.steps.get(step_id)
        if step is None or not step.settled:
            raise KeyError(step_id)
        return step.output

    def __contains__(self, step_id: object) -> bool:
        step = self._state.steps.get(step_id)  # type: ignore[call-overload]
        return step is not None and step.status is StepStatus.SUCCEEDED

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(step_id for step_id, step in self._state.steps.items() if step.settled))

    def __len__(self) -> int:
        return sum(1 for step in self._state.steps.values() if step.settled)


class _Context(Mapping[str, Any]):
    """``context``: the newest value of each key, looked up where it is used and never gathered for one of them."""

    __slots__ = ("_values",)

    def __init__(self, state: InstanceState) -> None:
        self._values = state.context

    def __getitem__(self, key: str) -> Any:
        return self._values[key][-1].value

    def __contains__(self, key: object) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._values))

    def __len__(self) -> int:
        return len(self._values)


class Scope(Mapping[str, Any]):
    """The names of an expression, each looked up only when it is used.

    ``input`` (and ``input_data``): the workflow's input. ``step_outputs``: by step id. ``context``: the shared
    context. A step's id: ``{output, status, error}`` of that step, once it is settled.
    """

    __slots__ = ("_extra", "_plan", "_state")

    def __init__(self, state: InstanceState, plan: Plan, extra: Extra = NOTHING) -> None:
        self._state = state
        self._plan = plan
        self._extra = extra

    def __getitem__(self, name: str) -> Any:
        if name in self._extra:
            return self._extra[name]
        if name in ("input", "input_data"):
            return self._state.input
        if name == "step_outputs":
            return _StepOutputs(self._state)
        if name == "context":
            return _Context(self._state)
        step = self._state.steps.get(name)
        if step is None or not step.settled:
            raise KeyError(name)
        return {"output": step.output, "status": str(step.status), "error": _told(step.error)}

    def __iter__(self) -> Iterator[str]:
        yield from self._extra
        yield from ("input", "input_data", "step_outputs", "context")
        yield from (step_id for step_id in self._plan.steps if step_id in self._state.steps)

    def __len__(self) -> int:
        return sum(1 for _ in self)


def failure_scope(state: InstanceState, failed: str) -> Extra:
    """What an error handler may refer to besides: ``error`` and ``failed_step``."""
    return {"error": _told(state.steps[failed].error), "failed_step": failed}


def _told(error: ErrorInfo | None) -> dict[str, Any] | None:
    """An error as expressions see it: the same keys, whatever there is to say."""
    if error is None:
        return None
    return {"type": error.type, "message": error.message, "kinds": list(error.kinds), "traceback": error.traceback}


def step_input(state: InstanceState, plan_step: PlanStep, extra: Extra, run: Evaluation) -> Any:
    """The input of a step that is about to run.

    What the definition says, or else the outputs of its dependencies merged in their order over the workflow's
    input. An output that is no mapping stands under its step's id. An ``output`` step gathers by step id instead.

    Args:
        extra: What the scope holds besides the instance, which is merged as well.
        run: Within its scope templates are evaluated, and its meter pays.

    Raises:
        LimitError: It would be too large.
        ExpressionError: A template cannot be evaluated.
    """
    if plan_step.input is not None:
        given = plan_step.input.evaluate_in(run)
        return given if plan_step.mapping is None else {**given, **plan_step.mapping.evaluate_in(run)}
    if plan_step.way == "output":
        outputs = {other: state.steps[other] for other in plan_step.step.depends_on}
        return _gathered({other: s.output for other, s in outputs.items() if s.status is StepStatus.SUCCEEDED}, run)
    merged = dict(state.input) if isinstance(state.input, dict) else {"input": state.input}
    # What an instant step makes is seen by others before it was ever written, so that it is always measured.
    measured = plan_step.instant or len(plan_step.step.depends_on) > _FEW
    if measured:
        run.weigh(state.input)
    for other in plan_step.step.depends_on:
        step = state.steps.get(other)
        if step is None or step.status is not StepStatus.SUCCEEDED:
            continue
        if measured:
            run.weigh(step.output)
        if isinstance(step.output, dict):
            merged.update(step.output)
        elif step.output is not None:
            merged[other] = step.output
    merged.update(extra)
    run.room -= _ENTRY * len(merged)  # of few records, whose entries alone are never too many
    return merged


def _gathered(outputs: dict[str, Any], run: Meter) -> dict[str, Any]:
    """The same outputs, once they are paid for: each was small enough to be written, all together may not be."""
    for output in outputs.values():
        run.weigh(output)
    return outputs


def workflow_output(state: InstanceState, plan: Plan, run: Evaluation) -> Any:
    """What a completed workflow returns.

    Args:
        run: As for ``step_input``.

    Raises:
        LimitError: It would be too large.
        ExpressionError: The definition's ``output`` cannot be evaluated.
    """
    if plan.output is not None:
        return plan.output.evaluate_in(run)
    succeeded = {
        step_id: state.steps[step_id].output
        for step_id in plan.outputs
        if step_id in state.steps and state.steps[step_id].status is StepStatus.SUCCEEDED
    }
    only_output_step = len(plan.outputs) == 1 and plan.steps[plan.outputs[0]].way == "output"
    return succeeded.get(plan.outputs[0]) if only_output_step else _gathered(succeeded, run)
