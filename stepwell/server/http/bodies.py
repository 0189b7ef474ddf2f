"""What requests of the native API hold, and what they are answered with."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from litestar.params import Parameter as Schema
from msgspec import UNSET, Meta, Struct, UnsetType

from stepwell.consumers.reading.histories import EventRecord
from stepwell.consumers.reading.views import InstanceView
from stepwell.consumers.registry.definitions import RegisteredVersion
from stepwell.core.decide.skips import runs_after_skips
from stepwell.core.plan.compile import Plan
from stepwell.schemas.definitions.blueprint import Parameter
from stepwell.schemas.definitions.model import LONGEST_SECONDS, Definition
from stepwell.schemas.records.commands import InstanceId, Priority
from stepwell.schemas.records.events import ErrorInfo
from stepwell.server.http.problems import Problem

MOST_STARTS = 1_000  # of one batch: as many as a client has on their way at once

IfExists = Literal["refuse", "use"]
Name = Annotated[str, Meta(min_length=1, max_length=200)]
Reason = Annotated[str, Meta(max_length=10_000)]
# Of any output, under the name that it has always had in the description.
Instance = Annotated[InstanceView[Any], Schema(schema_component_key="InstanceView")]


class Start(Struct, frozen=True, forbid_unknown_fields=True):
    """A start of an instance.

    Attributes:
        workflow: Name of a registered definition.
        version: Of the definition; without one, the active version that was registered last.
        input: Any JSON value; a mapping as a rule. Without one, an empty mapping.
        id: What the instance is to be called. Starting the same under the same id again finds the instance that
            exists.
        priority: 0 to 100; higher runs first under load.
        timeout_seconds: For the whole instance; without one, what the definition says.
        if_exists: Where the id belongs to an instance that was started for something else (another workflow, input or
            version): `refuse` this start with 409, or `use` the one that exists.
    """

    workflow: Name
    version: Name | None = None
    input: Any = None
    id: InstanceId | None = None
    priority: Priority = 0
    timeout_seconds: Annotated[float, Meta(ge=0, le=LONGEST_SECONDS)] | None = None
    if_exists: IfExists = "refuse"


class Started(Struct, frozen=True, omit_defaults=True):
    """What became of a start.

    Attributes:
        existed: Whether there was an instance of this id already; the start has changed nothing then.
        decided: Whether an engine has taken the start. Otherwise it is in the log, and will have its turn.
        instance: How the instance is, where the request said `wait`; its status tells whether it has ended.
    """

    instance_id: str
    existed: bool
    decided: bool
    instance: Instance | None = None


class Batch(Struct, frozen=True, forbid_unknown_fields=True):
    """Several starts; each is taken or refused on its own."""

    starts: Annotated[list[Start], Meta(min_length=1, max_length=MOST_STARTS)]


class BatchEntry(Struct, frozen=True, omit_defaults=True):
    """What became of one start of a batch.

    Attributes:
        status: The HTTP status that it would have had alone.
        problem: Why it was refused.
    """

    status: int
    started: Started | None = None
    problem: Problem | None = None


class BatchAnswer(Struct, frozen=True):
    """What became of the starts of a batch, in their order."""

    results: list[BatchEntry]


class Registered(Struct, frozen=True):
    """What became of a registration.

    Attributes:
        hash: What instances are pinned to.
        dialect: How the definition is written.
        is_new: Whether this version was not known before.
        active: Whether starts may take it.
        warnings: Steps that start a workflow which is not registered, or inactive, and credentials that are written
            out; left out where there is none.
    """

    name: str
    version: str
    hash: str
    dialect: str
    is_new: bool
    active: bool
    warnings: list[str] | UnsetType = UNSET


class PlanView(Struct, frozen=True, omit_defaults=True):
    """In which order the steps of a definition run.

    Attributes:
        batches: Ids of the steps that could run at once if nothing failed and nothing was limited.
        error_handlers: Ids of the steps whose failure is handled.
        handlers: What workers must have registered.
        runs_after_skip: Of each step that may be skipped, the steps that depend on it and run all the same.
    """

    batches: list[list[str]]
    error_handlers: list[str]
    handlers: list[str]
    runs_after_skip: dict[str, tuple[str, ...]] = {}


def plan_view(plan: Plan) -> PlanView:
    """The plan of a compiled definition."""
    batches = [list(batch) for batch in plan.batches]
    return PlanView(batches, sorted(plan.definition.error_handlers), sorted(plan.handlers), runs_after_skips(plan))


class Validated(Struct, frozen=True):
    """A definition that is valid, and not registered for that.

    Attributes:
        dialect: How it is written.
        definition: The same in the canonical form.
    """

    name: str
    version: str
    hash: str
    dialect: str
    plan: PlanView
    definition: Definition


class DefinitionList(Struct, frozen=True):
    """Registered versions, those of one name in the order of registration."""

    definitions: list[RegisteredVersion]


class DefinitionView(Struct, frozen=True):
    """A registered version.

    Attributes:
        definition: In the canonical form, with its steps.
    """

    about: RegisteredVersion
    plan: PlanView
    definition: Definition


class Switch(Struct, frozen=True, forbid_unknown_fields=True):
    """Why a version is activated or deactivated; recorded."""

    reason: Reason = ""


class Switched(Struct, frozen=True):
    """A version that was activated or deactivated.

    Attributes:
        changed: Whether it was otherwise before.
    """

    name: str
    version: str
    active: bool
    changed: bool


class Result(Struct, frozen=True):
    """How an instance has ended, or that it has not yet.

    Attributes:
        status: As in `InstanceView`.
        finished: Whether it has ended.
        error: Why it failed.
    """

    instance_id: str
    status: str
    finished: bool
    output: Any = None
    error: ErrorInfo | None = None


class History(Struct, frozen=True):
    """What happened to an instance, in order.

    Attributes:
        more: Whether there are events after these; ask again with `after` the last one's sequence.
    """

    events: list[EventRecord]
    more: bool


class Why(Struct, frozen=True, forbid_unknown_fields=True):
    """Why an instance is paused or cancelled; recorded."""

    reason: Reason = ""


class Resume(Struct, frozen=True, forbid_unknown_fields=True):
    """How to go on.

    Attributes:
        skip_failed: Go on without the steps that failed, instead of running them anew. A gate that was rejected or
            not decided in time asks anew all the same.
    """

    skip_failed: bool = False


class Reschedule(Struct, frozen=True, forbid_unknown_fields=True):
    """Which timers to move, and where to.

    Attributes:
        step_id: The step whose timer is meant; empty for all of the instance.
        delay_seconds: From now until that timer is due. Without it, what is due later than if its wait began now is
            due then.
    """

    step_id: str = ""
    delay_seconds: Annotated[float, Meta(ge=0)] | None = None


class Rollback(Struct, frozen=True, forbid_unknown_fields=True):
    """Where to return to.

    Attributes:
        to: A number is an event's sequence. A text is a checkpoint's name or a settled step's id; where nothing has
            that name, `latest`, `start` or an event's number. Without one, the step that was settled last.
        pause: Stay paused there.
    """

    to: int | str | None = None
    pause: bool = False


class Decision(Struct, frozen=True, forbid_unknown_fields=True):
    """What a person has decided about a step that waits for approval.

    Attributes:
        step_id: The step; may be left out where only one waits.
        by: Who decides. With access tokens it is the token's name, and another one is refused.
        comment: Recorded with it.
    """

    step_id: Annotated[str, Meta(max_length=200)] = ""
    by: Annotated[str, Meta(max_length=200)] = ""
    comment: Reason = ""


class Steered(Struct, frozen=True):
    """A command that an engine has followed.

    Attributes:
        command: What was asked: `cancel`, `pause`, …
    """

    instance_id: str
    command: str


class TemplateView(Struct, frozen=True, omit_defaults=True):
    """A template that workflows can be created from.

    Attributes:
        parameters: By name.
        source: `shipped`, or its file.
    """

    template: str
    version: str
    description: str
    parameters: dict[str, Parameter]
    use_for: list[str] = []
    agents: dict[str, str] = {}
    input_example: Any = None
    source: str = ""


class TemplateList(Struct, frozen=True):
    """The templates that the server knows."""

    templates: list[TemplateView]


class Creation(Struct, frozen=True, forbid_unknown_fields=True):
    """A workflow to be created from a template.

    Attributes:
        parameters: Values of the template's parameters, by name.
        name: What to call the workflow; without one, as the template.
    """

    parameters: dict[str, Any] = {}
    name: Annotated[str, Meta(max_length=200)] = ""
