"""What stands in the golden files, as values of today's code.

Whoever adds an event, a command or a field adds an entry here and runs ``python -m tests.golden.make``, which writes
the new file and never touches an old one. Entries stay for ever, like the logs that they stand for.
"""

from __future__ import annotations

from typing import Any

from immutables import Map
from msgspec.structs import replace

from stepwell.core.fold.acceptance import Stamp
from stepwell.core.fold.evolve import fold
from stepwell.core.fold.partition import PartitionState, Progress, follow
from stepwell.core.fold.snapshots import encode_partition
from stepwell.core.fold.state import InstanceState, encode_instance
from stepwell.schemas.definitions.model import Compensation, Definition, ErrorHandler, Retry, Step, encode_definition
from stepwell.schemas.records import commands as c
from stepwell.schemas.records import events as e
from stepwell.schemas.records import partition_records as p
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.statuses import WorkflowStatus
from stepwell.schemas.records.step_waits import ApprovalDecided, ApprovalRequired, ChildRequested, Parent
from stepwell.schemas.records.work import CancelRuns, WorkItem

AT = 1_760_000_000_000
ERROR = e.ErrorInfo("ConnectionError", "no route to höst", ("OSError", "IOError"), "Traceback …", retryable=True)
READY = e.StepReady(
    step_id="charge", run=3, step_type="process", handler="shop.charge", queue="payments", attempt=2, max_attempts=5,
    input={"order_id": 1, "lines": [{"sku": "ä", "n": 2.5}], "none": None}, config={"url": "http://x"},
    timeout_seconds=30.0, origin=1, purpose="handle", target="reserve", sequential=True,
)  # fmt: skip

PARENT = Parent("order-0", "sub", 3)

_EVENTS: dict[str, e.Event] = {
    "workflow.started": e.WorkflowStarted(
        workflow="order", version="7", definition="0123456789abcdef", input={"order_id": 1}, priority=10,
        due=AT + 60_000, command_id="c-1",
    ),
    "workflow.started-2": e.WorkflowStarted(
        workflow="order", version="7", definition="0123456789abcdef", parent=PARENT, command_id="c-1"
    ),
    "workflow.paused": e.WorkflowPaused("lunch", "c-2"),
    "workflow.resumed": e.WorkflowResumed(("a", "b"), ("c",), "c-3"),
    "workflow.reopened": e.WorkflowReopened({"id": "order-1", "status": "failed"}),
    "workflow.completed": e.WorkflowCompleted({"receipt": [1, 2]}),
    "workflow.failed": e.WorkflowFailed(ERROR, "charge"),
    "workflow.cancelled": e.WorkflowCancelled("enough", "c-4"),
    "incident.raised": e.IncidentRaised("no_handler", "nobody takes it", "charge"),
    "command.rejected": e.CommandRejected("PauseWorkflow", "already_finished", "it has finished", "c-5"),
    "command.rejected-2": e.CommandRejected(
        "StartWorkflow", "unknown_workflow", "no such workflow", "c-5", parent=PARENT
    ),
    "approval.required": ApprovalRequired(
        step_id="gate", run=2, approvers=("ann", "bob"), required=2, title="Pay?", message="Much", input={"a": 1},
        level=2, due=AT + 60_000, timeout_seconds=60.0, on_timeout="escalate", escalate_to=(("eve",), ("kim", "lee")),
        on_reject="continue", sequential=True,
    ),
    "approval.decided": ApprovalDecided("gate", 2, approved=True, by="ann", comment="fïne", level=2, command_id="c-8"),
    "child.requested": ChildRequested(
        step_id="sub", run=3, child_id="order-1.sub.3", child_workflow="payment", child_version="2",
        input={"total": 12.5}, priority=7, wait=False, on_failure="continue", due=AT + 9_000, timeout_seconds=9.0,
        sequential=True, depth=4,
    ),
    "command.noted": e.CommandNoted("PauseWorkflow", "it is paused already", "c-6"),
    "step.ready": READY,
    "step.started": e.StepStarted("charge", 3, "worker-1", AT + 35_000),
    "step.heartbeat": e.StepHeartbeat("charge", 3, {"done": 0.5}),
    "step.waiting": e.StepWaiting("nap", 4, AT + 5_000, sequential=True),
    "step.succeeded": e.StepSucceeded(
        "charge", 3, {"receipt": "r-1"}, {"total": 12.5}, ("pack", "ship"), "paid", 2, "reserve"
    ),
    "step.succeeded-2": e.StepSucceeded("charge", 3, {"receipt": "r-1"}, worker="worker-1", took=1_250, cpu=730),
    "step.retry_scheduled": e.StepRetryScheduled("charge", 3, ERROR, AT + 2_000, 2),
    "step.retry_scheduled-2": e.StepRetryScheduled("charge", 3, ERROR, AT + 2_000, 2, "worker-1", 1_250, 730),
    "step.returned": e.StepReturned("charge", 3, AT + 1_000, "no such handler"),
    "step.failed": e.StepFailed("charge", 3, ERROR, "skip", ("pack",), 5),
    "step.failed-2": e.StepFailed("charge", 3, ERROR, "skip", ("pack",), 5, "worker-1", 1_250, 730),
    "step.skipped": e.StepSkipped("gift", "condition is false: input.gift", ("pack",)),
    "step.cancelled": e.StepCancelled("charge", 3),
    "steps.deferred": e.StepsDeferred(((4, "d"), (5, "e")), ((6, "f"),)),
    "rollback.started": e.RollbackStarted(5, ("charge", "reserve"), "fail", ERROR, "ship", "c-7"),
    "step.compensated": e.StepCompensated("charge", 9, {"refund": "f-1"}),
    "step.compensated-2": e.StepCompensated("charge", 9, {"refund": "f-1"}, "worker-1", 1_250, 730),
    "workflow.rolled_back": e.WorkflowRolledBack(5, {"pack": 1}),
}  # fmt: skip


def transition(*events: e.Event, sequence: int = 1, at: int = AT, instance_id: str = "order-1") -> e.Transition:
    """A transition as it is read today, whatever version wrote it."""
    return e.Transition(e.EVENTS_VERSION, at, instance_id, sequence, events)


def as_written(version: int, value: e.Transition) -> bytes:
    """What a program of that version wrote, where the shapes are the same since."""
    return encode(replace(value, version=version))


# Events and fields that came with version 3.
_SINCE_V3: dict[str, e.Event] = {
    "workflow.started-3": e.WorkflowStarted(
        workflow="order", version="7", definition="0123456789abcdef", command_id="c-1", life=AT
    ),
    "workflow.started-4": e.WorkflowStarted(
        workflow="order", version="7", definition="0123456789abcdef" * 4, command_id="c-1"
    ),
    "workflow.rolled_back-2": e.WorkflowRolledBack(5, {"pack": 1}, {"paid": 4}),
    "workflow.rolled_back-3": e.WorkflowRolledBack(5, {"pack": 1}, {"paid": 4}, unlimited=True),
    "workflow.ending": e.WorkflowEnding("rollback", ERROR, "charge", "enough", "c-9", ("mend", "tell")),
    "workflow.resumed-2": e.WorkflowResumed(("a",), command_id="c-3", dues={"": AT + 90_000, "gate": AT + 60_000}),
    "step.started-2": e.StepStarted("charge", 3, "worker-1", AT + 35_000, 2),
    "step.waiting-2": e.StepWaiting("nap", 4, AT + 5_000, idle=True),
    "approval.required-2": ApprovalRequired(step_id="gate", run=2, approvers=("ann",), title="Pay?", idle=True),
    "child.requested-3": ChildRequested(
        step_id="sub", run=3, child_id="order-1.sub.3", child_workflow="payment", idle=True
    ),
}

# Events and fields that came with version 4, or after it: add further ones here.
_SINCE_V4: dict[str, e.Event] = {
    "timers.moved": e.TimersMoved({"": AT + 90_000, "charge": AT + 8_000}, "c-10"),
    "workflow.paused-2": e.WorkflowPaused("order-0 is paused", "order-0.sub.3:hold:9", held=True),
}

TRANSITIONS = {
    f"events/v4/{name}.json": transition(event, sequence=12)
    for name, event in {**_EVENTS, **_SINCE_V3, **_SINCE_V4}.items()
}

# What version 3 wrote, in the shapes that version 4 has, too.
FROM_V3 = {
    f"events/v3/{name}.json": transition(event, sequence=12) for name, event in {**_EVENTS, **_SINCE_V3}.items()
}

# What version 2 wrote, in the shapes that version 3 has, too.
_OF_V2 = {
    **_EVENTS,
    "child.requested-2": replace(_EVENTS["child.requested"], depth=1),  # before children counted their depth
}
FROM_V2 = {f"events/v2/{name}.json": transition(event, sequence=12) for name, event in _OF_V2.items()}
# For some hours version 2 wrote a child's workflow and version under these names.
CHILD_OF_OLD = ChildRequested(
    step_id="sub", run=3, child_id="order-1.sub.3", child_workflow="payment", child_version="2", input={"total": 12.5},
    due=AT + 9_000, timeout_seconds=9.0,
)  # fmt: skip
FROM_OLD_V2 = {"events/v2/child.requested-old.json": transition(CHILD_OF_OLD, sequence=12)}
OLD_V2 = {
    "events/v2/child.requested-old.json": {
        "version": 2, "at": AT, "instance_id": "order-1", "sequence": 12,
        "events": [
            {"type": "child.requested", "step_id": "sub", "run": 3, "child_id": "order-1.sub.3",
             "workflow": "payment", "version": "2", "input": {"total": 12.5}, "due": AT + 9_000,
             "timeout_seconds": 9.0},
        ],
    },
}  # fmt: skip

# Version 1 was written by earlier programs; nobody writes it any more. Each file, and what it means today.
FROM_V1 = {
    "events/v1/step.failed.json": transition(
        e.StepFailed("charge", 3, e.ErrorInfo("ConnectionError", "no route: none at all"), "fail"),
        e.WorkflowFailed(e.ErrorInfo("Error", "it broke"), "charge"),
        sequence=4,
    ),
    "events/v1/step.retry_scheduled.json": transition(
        e.StepRetryScheduled("charge", 3, e.ErrorInfo("Boom", "x"), AT + 1_500, 2), sequence=4
    ),
    "events/v1/step.ready.json": transition(e.StepReady(step_id="charge", run=1, handler="shop.charge"), sequence=2),
}
V1 = {
    "events/v1/step.failed.json": {
        "version": 1, "at": AT, "instance_id": "order-1", "sequence": 4,
        "events": [
            {"type": "step.failed", "step_id": "charge", "run": 3, "error": "ConnectionError: no route: none at all"},
            {"type": "workflow.failed", "error": "it broke", "step_id": "charge"},
        ],
    },
    "events/v1/step.retry_scheduled.json": {
        "version": 1, "at": AT, "instance_id": "order-1", "sequence": 4,
        "events": [
            {"type": "step.retry_scheduled", "step_id": "charge", "run": 3, "error": "Boom: x", "delay_seconds": 1.5,
             "attempt": 2},
        ],
    },
    "events/v1/step.ready.json": {
        "version": 1, "at": AT, "instance_id": "order-1", "sequence": 2,
        "events": [{"type": "step.ready", "step_id": "charge", "run": 1, "handler": "shop.charge"}],
    },
}  # fmt: skip

COMMANDS: dict[str, c.Command] = {
    f"commands/{type(command).__name__}.json": command
    for command in (
        c.StartWorkflow(
            "order-1", workflow="order", version="7", input={"order_id": 1}, priority=10, timeout_seconds=60.0,
            command_id="c-1",
        ),
        c.CancelWorkflow("order-1", "enough", "c-2"),
        c.PauseWorkflow("order-1", "lunch", "c-3"),
        c.ResumeWorkflow("order-1", "skip", "c-4"),
        c.HoldWorkflow("order-0.sub.3", parent=PARENT, command_id="order-0.sub.3:hold:9"),
        c.ReleaseWorkflow("order-0.sub.3", parent=PARENT, command_id="order-0.sub.3:release:11"),
        c.RescheduleTimers("order-1", "charge", 30.0, "c-10"),
        c.RollbackWorkflow("order-1", "paid", pause=True, command_id="c-5"),
        c.CompleteStep("order-1", "charge", 3, {"receipt": "ä"}, {"total": 12.5}),
        c.FailStep("order-1", "charge", 3, ERROR),
        c.ReportStarted("order-1", "charge", 3, "worker-1"),
        c.HeartbeatStep("order-1", "charge", 3, {"done": 0.5}),
        c.ReturnStep("order-1", "charge", 3, "no such handler"),
        c.ApproveStep("order-1", "gate", "ann", "fïne", "c-6"),
        c.RejectStep("order-1", "gate", "bob", "no", "c-7"),
        c.ChildEnded(
            "order-1", step_id="sub", run=3, child_id="order-1.sub.3", status="failed", output={"a": 1}, error=ERROR
        ),
    )
}  # fmt: skip

COMMANDS |= {
    "commands/CompleteStep-2.json": c.CompleteStep(
        "order-1", "charge", 3, {"receipt": "ä"}, worker="worker-1", took=1_250, cpu=730
    ),
    "commands/CancelWorkflow-2.json": c.CancelWorkflow(
        "order-0.sub.3", "order-0 no longer waits for it", "order-0.sub.3:end", PARENT
    ),
    "commands/FailStep-2.json": c.FailStep("order-1", "charge", 3, ERROR, "worker-1", 1_250, 730),
}

OTHERS: dict[str, Any] = {
    "records/owned.json": p.PartitionOwned(2, AT, "engine-1"),
    "records/snapshotted.json": p.PartitionSnapshotted(2, AT, 90, 50, 39, 7, 2, 300_000, (51, 60)),
    "records/work.json": WorkItem("order-1", "order", "7", 12, READY, 10),
    "records/cancel.json": CancelRuns("order-1", 1, 9),
    "records/work-2.json": WorkItem("order-1", "order", "7", 12, READY, 10, began=AT),
    "records/cancel-2.json": CancelRuns("order-1", 1, 9, began=AT),
}

DEFINITIONS = {
    "definitions/full.json": Definition(
        name="order", version="7", description="Everything that can be said", tags=("shop", "demo"),
        input_schema={"type": "object", "required": ["order_id"]}, default_timeout_seconds=3600.0,
        max_parallel_steps=4, error_handlers={"charge": ErrorHandler("mend", "rollback")},
        output={"receipt": "{{ step_outputs.charge.receipt }}"},
        steps=(
            Step(
                "charge", name="Charge", type="python", handler="shop.charge", description="takes the money",
                queue="payments", depends_on=("reserve",), condition="input.total > 0", input={"a": 1},
                input_mapping={"id": "input.order_id"}, config={"currency": "EUR"}, mode="sequential",
                retry=Retry(5, 2.0, 3.0, 60.0, 0.5, retry_on_timeout=False, retryable=("Busy",), non_retryable=("No",)),
                timeout_seconds=30.0, on_failure="rollback", checkpoint="paid",
                compensate=Compensation("shop.refund", {"id": "{{ output.id }}"}, {"x": 1}, "refunds", Retry(2), 9.0),
            ),
            Step("reserve", handler="shop.reserve", checkpoint=True),
            Step("mend", type="wait", config={"seconds": 1}),
        ),
    ),
}  # fmt: skip

DEFINITIONS["definitions/skips.json"] = Definition(
    name="refresh", when_skipped="skip",
    steps=(Step("download", handler="d", condition="input.x"), Step("tell", handler="t", depends_on=("download",),
           when_skipped="run")),
)  # fmt: skip

HISTORY = [
    transition(
        e.WorkflowStarted(
            workflow="order", version="7", definition="0123456789abcdef", input={"order_id": 1}, priority=10,
            due=AT + 3_600_000, command_id="c-1",
        ),
        e.StepReady(step_id="reserve", run=1, handler="shop.reserve", max_attempts=2, input={"order_id": 1}),
        e.StepWaiting("nap", 2, AT + 5_000),
        e.StepsDeferred(((7, "later"),), ((8, "last"), (9, "very last"))),
    ),
    transition(e.StepRetryScheduled("reserve", 1, ERROR, AT + 1_000), sequence=5, at=AT + 10),
    transition(
        e.StepReady(step_id="reserve", run=3, handler="shop.reserve", attempt=2, max_attempts=2, origin=1),
        sequence=6, at=AT + 1_000,
    ),
    transition(e.StepStarted("reserve", 3, "worker-1", AT + 9_000), sequence=7, at=AT + 1_600),
    transition(e.StepHeartbeat("reserve", 3, 0.5), sequence=8, at=AT + 1_700),
    transition(
        e.StepSucceeded("reserve", 3, {"id": "ä", "z": 1, "a": [None]}, {"who": "b", "k": 1}, ("pack",), "held", 2),
        e.StepSkipped("gift", "condition is false: input.gift", ("pack",)),
        e.StepReady(step_id="charge", run=4, handler="shop.charge", queue="payments", timeout_seconds=30.0),
        sequence=9, at=AT + 2_000,
    ),
    transition(e.StepFailed("charge", 4, ERROR, "pause"),
               e.IncidentRaised("step_failed", "charge failed", "charge"), sequence=12, at=AT + 3_000),
    transition(e.CommandNoted("PauseWorkflow", "it is paused already", "c-2"), sequence=14, at=AT + 3_500),
    transition(
        e.RollbackStarted(2, ("reserve",), "run", command_id="c-3"),
        e.StepReady(step_id="reserve", run=5, handler="shop.release", purpose="compensate", input={"id": "ä"}),
        sequence=15, at=AT + 4_000,
    ),
]  # fmt: skip
INSTANCE = fold(HISTORY)
EARLIER = fold(HISTORY, to=11)
assert INSTANCE is not None
assert EARLIER is not None
STATES: dict[str, InstanceState] = {"states/rolling-back-7.json": INSTANCE, "states/running-7.json": EARLIER}
# Written before states had further fields; read as the same ones.
OLD_STATES: dict[str, InstanceState] = {
    **{f"states/rolling-back-{number}.json": INSTANCE for number in (1, 2, 3, 4, 5, 6)},
    **{f"states/running-{number}.json": EARLIER for number in (1, 2, 3, 4, 5, 6)},
}

_ended = follow(
    follow(PartitionState(), HISTORY[0], Stamp(0, 1, source=0)),
    transition(e.WorkflowCancelled("enough", "c-9"), sequence=5, at=AT + 1),
    Stamp(0, 2, source=1),
)
PARTITION = PartitionState(
    instances=Map({"order-1": INSTANCE, "order-0": replace(EARLIER, id="order-0")}),
    finished=_ended.finished.add("order-8", WorkflowStatus.FAILED, 9, ""),
    progress=Progress(17),
    at=AT + 4_000,
)
PARTITIONS = {
    "states/partition-13.jsonl": PARTITION,
    "states/partition-14.jsonl": replace(PARTITION, progress=Progress(17, 5, (7, 9))),
}
OLD_PARTITIONS = {
    "states/partition-11.jsonl": PARTITION,
    "states/partition-12.jsonl": replace(PARTITION, progress=Progress(17, 5, (7, 9))),
    "states/partition-9.jsonl": PARTITION,
    "states/partition-10.jsonl": replace(PARTITION, progress=Progress(17, 5, (7, 9))),
    "states/partition-7.jsonl": PARTITION,
    "states/partition-8.jsonl": replace(PARTITION, progress=Progress(17, 5, (7, 9))),
    "states/partition-5.jsonl": PARTITION,
    "states/partition-6.jsonl": replace(PARTITION, progress=Progress(17, 5, (7, 9))),
    "states/partition-3.jsonl": PARTITION,
    "states/partition-4.jsonl": replace(PARTITION, progress=Progress(17, 5, (7, 9))),
    "states/partition-1.jsonl": PARTITION,
    "states/partition-2.jsonl": replace(PARTITION, progress=Progress(17, 5, (7, 9))),
}


def files() -> dict[str, bytes]:
    """Every golden file and what today's code writes into it."""
    made = {name: encode(value) for name, value in {**TRANSITIONS, **V1, **OLD_V2, **COMMANDS, **OTHERS}.items()}
    made |= {name: as_written(2, value) for name, value in FROM_V2.items()}
    made |= {name: as_written(3, value) for name, value in FROM_V3.items()}
    made |= {name: encode_definition(value) for name, value in DEFINITIONS.items()}
    made |= {name: encode_instance(value) for name, value in STATES.items()}
    made |= {name: b"".join(encode_partition(value)) for name, value in PARTITIONS.items()}
    made["events/history.jsonl"] = b"\n".join(as_written(2, one) for one in HISTORY)
    made["events/history-3.jsonl"] = b"\n".join(as_written(3, one) for one in HISTORY)
    made["events/history-4.jsonl"] = b"\n".join(encode(one) for one in HISTORY)
    return made
