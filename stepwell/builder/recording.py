"""A workflow while its function runs: calls of steps become steps, what is passed becomes templates."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any, Final, TypedDict

import msgspec

from stepwell.builder.references import Reference, plain, source_of
from stepwell.core.expressions.templates import compile_template
from stepwell.errors import BuildError, ExpressionError
from stepwell.schemas.definitions.model import AfterHandler, Compensation, Mode, OnFailure, Retry, WhenSkipped


class StepOptions(TypedDict, total=False):
    """What a step can be told besides its input.

    Attributes:
        id: Its id; without one, the function's name, or the type's, with a number where that is taken.
        after: Results of steps that must be settled first, though nothing of theirs is passed.
        condition: A comparison of results (``paid.total > 100``), or an expression as text; false skips the step.
        queue: Which workers get it.
        retry: All attempts, as a number, or a ``Retry``.
        timeout_seconds: For one attempt.
        on_failure: ``fail``, ``skip``, ``pause`` or ``rollback``, once no attempt is left.
        compensate: What undoes it: a step function, a handler's name, or a ``Compensation``.
        checkpoint: True, or a name that a rollback can name.
        mode: ``sequential`` for one at a time.
        when_skipped: ``run`` or ``skip``, where a step that it depends on was skipped.
        label: What people call it.
        description: What it is for.
        config: Settings that its handler reads from ``ctx.config``.
    """

    id: str
    after: Sequence[Any]
    condition: Any
    queue: str
    retry: Retry | int
    timeout_seconds: float
    on_failure: OnFailure
    compensate: Any
    checkpoint: bool | str
    mode: Mode
    when_skipped: WhenSkipped
    label: str
    description: str
    config: dict[str, Any]


OPTIONS: Final = tuple(StepOptions.__annotations__)

_recording: ContextVar[Recorder | None] = ContextVar("stepwell_recording", default=None)
_KEYS: Final = ("queue", "timeout_seconds", "on_failure", "checkpoint", "mode", "when_skipped", "description")


class Recorder:
    """The steps so far.

    Attributes:
        steps: As plain data, in the order of the calls.
        error_handlers: As in a definition.
        children: The workflows that were called, by name.
    """

    def __init__(self) -> None:
        self.steps: dict[str, dict[str, Any]] = {}
        self.error_handlers: dict[str, dict[str, Any]] = {}
        self.conditions: list[str] = []
        self.children: dict[str, Any] = {}
        self._numbers: dict[str, int] = {}  # of each base, the last that an id was made with
        self._places: dict[str, int] = {}  # of the steps in their order

    @contextlib.contextmanager
    def at_work(self) -> Iterator[None]:
        """Record the calls of the block."""
        token = _recording.set(self)
        try:
            yield
        finally:
            _recording.reset(token)

    def add(self, base: str, step: dict[str, Any], options: StepOptions, hint: Any, *, sub: str = "") -> Any:
        """Add a step; return what its result will be.

        Args:
            base: Its id, unless the options name one or it is taken.
            step: ``type``, ``handler``, ``input``, ``config``.
            hint: The type of its result.
            sub: The part of its output that is its result.

        Raises:
            BuildError: Something in it cannot be written into a definition.
        """
        step_id = self._free_id(base, options)
        place = f"step {step_id!r}"
        made: dict[str, Any] = {"id": step_id, **plain(step, place)}
        if "config" in options:
            made["config"] = {**made.get("config", {}), **plain(options["config"], place)}
        conditions = [*self.conditions, *([source_of(options["condition"])] if "condition" in options else ())]
        if conditions:
            made["condition"] = conditions[0] if len(conditions) == 1 else " and ".join(f"({c})" for c in conditions)
        after = [_step_of(result, place) for result in options.get("after", ())]
        wanted = {*after, *self._referred_to(made, place)}
        if wanted:
            made["depends_on"] = sorted(wanted, key=self._places.__getitem__)
        for key in _KEYS:
            if key in options:
                made[key] = options[key]
        if "label" in options:
            made["name"] = options["label"]
        if "retry" in options:
            retry = options["retry"]
            made["retry"] = {"max_attempts": retry} if isinstance(retry, int) else msgspec.to_builtins(retry)
        if options.get("compensate") is not None:
            made["compensate"] = _compensation(options["compensate"], place)
        self._places[step_id] = len(self.steps)
        self.steps[step_id] = made
        source = f"step_outputs.{step_id}" if step_id.isidentifier() else f"step_outputs[{step_id!r}]"
        return Reference(f"{source}{sub}", hint, step=step_id)

    def _free_id(self, base: str, options: StepOptions) -> str:
        named = options.get("id")
        if named is not None:
            if named in self.steps:
                raise BuildError(f"the id {named!r} is given to two steps", remedy="Ids are unique in a workflow.")
            return named
        free = base
        while free in self.steps:
            number = self._numbers.get(base, 1) + 1
            self._numbers[base], free = number, f"{base}_{number}"
        return free

    def _referred_to(self, made: dict[str, Any], place: str) -> set[str]:
        """Ids of the steps that its templates and its condition read."""
        found = set()
        texts: dict[str, Any] = {key: made[key] for key in ("input", "config") if key in made}
        if "condition" in made:
            texts["condition"] = f"{{{{ {made['condition']} }}}}"
        try:
            references = compile_template(texts).references
        except ExpressionError as error:
            raise BuildError(error.message, place=f"{place}, {error.place}", remedy=error.remedy) from None
        for path in references:
            step_id = path[1] if path[0] == "step_outputs" and len(path) > 1 else path[0]
            if step_id in self.steps:
                found.add(step_id)
        return found

    def handle(self, failing: Any, handler: Any, then: AfterHandler) -> None:
        """Let a step run only where another one has failed."""
        failing_id, handler_id = (_step_of(result, "stepwell.on_error") for result in (failing, handler))
        self.error_handlers[failing_id] = {"step": handler_id, "then": then}


def recorder() -> Recorder | None:
    """The workflow that is being built right now; None outside of every workflow function."""
    return _recording.get()


def needed(what: str) -> Recorder:
    """The same, for what makes no sense elsewhere.

    Raises:
        BuildError: No workflow is being built.
    """
    found = recorder()
    if found is None:
        raise BuildError(
            f"{what} belongs into a workflow function", remedy="Call it in a function under @stepwell.workflow."
        )
    return found


def _step_of(result: Any, place: str) -> str:
    if isinstance(result, Reference) and result._stepwell_step:
        return result._stepwell_step
    raise BuildError(f"{result!r} is no step's result", place=place, remedy="Pass what the step's call has returned.")


def _compensation(given: Any, place: str) -> Any:
    if isinstance(given, str):
        return given
    if isinstance(given, Compensation):
        return plain(given, place)
    make = getattr(given, "as_compensation", None)
    if make is None:
        raise BuildError(
            f"{given!r} cannot undo a step",
            place=place,
            remedy="compensate takes a step function, a handler's name, or a stepwell.Compensation.",
        )
    return make(place)


@contextlib.contextmanager
def when(condition: Any) -> Iterator[None]:
    """The steps of the block run only if a condition holds; otherwise they are skipped.

    Args:
        condition: A comparison of results or of the input (``paid.total > 100``), joined with ``&`` and ``|``; a
            result, for its truth; or an expression as text.
    """
    building = needed("stepwell.when")
    building.conditions.append(source_of(condition))
    try:
        yield
    finally:
        building.conditions.pop()


@contextlib.contextmanager
def unless(condition: Any) -> Iterator[None]:
    """The steps of the block run only if a condition does not hold. See ``when``."""
    with when(f"not ({source_of(condition)})"):
        yield


def on_error(failing: Any, handler: Any, then: AfterHandler = "fail") -> None:
    """Let a step run only if another one has failed for good.

    Args:
        failing: The result of the step that may fail.
        handler: The result of the step that deals with it; it may refer to ``stepwell.expression("error.message")``.
        then: Whether the workflow fails, continues or rolls back once that is done.
    """
    needed("stepwell.on_error").handle(failing, handler, then)
