"""Who asked for what, when, from where, and how it was answered: read from what the log keeps for ever.

A transition's headers name whose command it answers (``stepwell.schemas.records.sender``); what is registered and
switched on or off stands in the topic ``definitions`` with the name of who asked. Both are pure functions of one
record. They tell only of what somebody has put a name to: timers, workers and engines ask for most of what happens.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import Struct

from stepwell.schemas.records.activation import decode_activation, is_activation
from stepwell.schemas.records.events import (
    CommandNoted,
    CommandRejected,
    Transition,
    WorkflowCancelled,
    WorkflowPaused,
)
from stepwell.schemas.records.refusals import decode_refusal
from stepwell.schemas.records.sender import BY, COMMAND, COMMAND_ID, VIA, tidy
from stepwell.schemas.records.step_waits import ApprovalDecided

REGISTER: Final = "RegisterDefinition"
ACTIVATE: Final = "ActivateVersion"
DEACTIVATE: Final = "DeactivateVersion"


class AuditEntry(Struct, frozen=True, gc=False, omit_defaults=True, kw_only=True):
    """One request, and its answer.

    Attributes:
        at: When it was answered, in milliseconds since 1970.
        partition: Of the topic ``events``; of ``definitions`` where ``definition`` is set, of ``refusals`` where the
            outcome is ``refused``.
        offset: The record's; with partition and topic it is the entry's own id.
        instance_id: Whom it was asked of; empty where it was about a definition.
        by: Who asked; empty where only ``via`` is known.
        via: From where; empty where only ``by`` is known.
        command: Type of the command, such as ``CancelWorkflow``; for definitions ``RegisterDefinition``,
            ``ActivateVersion`` or ``DeactivateVersion``; where the server refused, the route, as ``GET /v1/audit``.
        command_id: What its sender knows it by, cut to 200 characters; may be empty.
        outcome: ``followed``; ``noted`` where it asked for what was so already; ``rejected`` by an engine; or
            ``refused`` before it reached one.
        message: Why it was noted or rejected; or why it was asked for, where that was said.
        definition: ``NAME@VERSION`` of a definition that was registered or switched.
    """

    at: int
    partition: int
    offset: int
    by: str
    via: str
    command: str
    outcome: Literal["followed", "noted", "rejected", "refused"] = "followed"
    instance_id: str = ""
    command_id: str = ""
    message: str = ""
    definition: str = ""


def audit_transition(
    headers: Mapping[str, str], transition: Transition, *, partition: int, offset: int
) -> AuditEntry | None:
    """Whose command a transition answers, and how.

    Args:
        headers: Of the transition's record, which has been accepted.
        partition: Where the record is, and
        offset: its offset.

    Returns:
        None where nobody is named.
    """
    by, via = headers.get(BY, ""), headers.get(VIA, "")
    if not by and not via:
        return None
    outcome: Literal["followed", "noted", "rejected"] = "followed"
    message = ""
    for event in transition.events:
        if isinstance(event, CommandRejected):
            outcome, message = "rejected", event.message
            break  # a bug's quarantine comes with an incident before it
        if isinstance(event, CommandNoted):
            outcome, message = "noted", event.message
            break
        if isinstance(event, (WorkflowPaused, WorkflowCancelled)):
            message = event.reason
        elif isinstance(event, ApprovalDecided):
            message = event.comment
    return AuditEntry(
        at=transition.at,
        partition=partition,
        offset=offset,
        instance_id=transition.instance_id,
        by=by,
        via=via,
        command=headers.get(COMMAND, ""),
        command_id=headers.get(COMMAND_ID, ""),
        outcome=outcome,
        message=message,
    )


def audit_definition(
    key: str, value: bytes, headers: Mapping[str, str], *, at: int, partition: int, offset: int
) -> AuditEntry | None:
    """Who registered a definition, or switched a version on or off.

    Args:
        key: Of the record on ``definitions``: ``NAME@VERSION``.
        at: When it was appended, in milliseconds since 1970.
        partition: Where it is, and
        offset: its offset.

    Returns:
        None where nobody is named, or the record cannot be read. That a registration changed nothing, since another
        one of the same name and version came first, is not to be seen from one record: it counts as followed.
    """
    by, via = tidy(headers.get(BY, "")), tidy(headers.get(VIA, ""))
    if not by and not via:
        return None
    command, definition, message = REGISTER, key, ""
    if is_activation(headers):
        try:
            switched = decode_activation(value)
        except ValueError:  # msgspec's errors are ValueErrors; readers of definitions tell of it
            return None
        command = ACTIVATE if switched.active else DEACTIVATE
        definition, message = f"{switched.workflow}@{switched.version}", switched.reason
    return AuditEntry(
        at=at,
        partition=partition,
        offset=offset,
        by=by,
        via=via,
        command=command,
        message=message,
        definition=definition,
    )


def audit_refusal(value: bytes, *, partition: int, offset: int) -> AuditEntry | None:
    """What was refused before it reached an engine.

    Args:
        value: Of the record on ``refusals``.
        partition: Where it is, and
        offset: its offset.

    Returns:
        None where the record cannot be read.
    """
    try:
        refusal = decode_refusal(value)
    except ValueError:  # msgspec's errors are ValueErrors
        return None
    seconds = (refusal.at - refusal.since) / 1000
    often = f" ({refusal.times:,} times within {seconds:.1f} s)" if refusal.times > 1 else ""
    return AuditEntry(
        at=refusal.at,
        partition=partition,
        offset=offset,
        by=tidy(refusal.by),
        via=tidy(refusal.via),
        command=tidy(refusal.command),
        outcome="refused",
        message=tidy(refusal.why) + often,
    )
