"""Reading what older versions wrote.

Events are kept for ever, so every version that was ever written must be readable for ever. Each function below lifts
the raw JSON of one transition from one version to the next; ``lift`` applies them in turn. A version newer than this
program's is never guessed at: the reader stops and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from stepwell.errors import LogVersionError
from stepwell.schemas.records.events import EVENTS_VERSION


def upcast_v1_v2(transition: dict[str, Any]) -> dict[str, Any]:
    """Version 1 gave errors as text and the wait before a retry in seconds from the transition's time.

    Version 2 has structured errors, so that policies can tell their kinds, and the moment itself, so that folding
    needs no arithmetic on times.
    """
    events = []
    for old in transition["events"]:
        event = dict(old)
        if isinstance(event.get("error"), str):
            kind, colon, message = event["error"].partition(": ")
            event["error"] = {"type": kind, "message": message} if colon else {"type": "Error", "message": kind}
        if event["type"] == "step.retry_scheduled" and "delay_seconds" in event:
            event["due"] = transition["at"] + round(event.pop("delay_seconds") * 1000)
        events.append(event)
    return {**transition, "version": 2, "events": events}


def upcast_v2_v3(transition: dict[str, Any]) -> dict[str, Any]:
    """Version 3 has the shapes of version 2 and further ones; what version 2 wrote means what it meant.

    For some hours of its history version 2 gave a child's workflow the names ``workflow`` and ``version``, which are
    ``child_workflow`` and ``child_version`` since: those are mended here.
    """
    events = [_with_childs_names(event) for event in transition["events"]]
    return {**transition, "version": 3, "events": events}


def upcast_v3_v4(transition: dict[str, Any]) -> dict[str, Any]:
    """Version 4 has a further event (``timers.moved``); what version 3 wrote means what it meant."""
    return {**transition, "version": 4}


def _with_childs_names(event: dict[str, Any]) -> dict[str, Any]:
    if event["type"] != "child.requested" or "child_workflow" in event:
        return event
    names = {"workflow": "child_workflow", "version": "child_version"}
    return {names.get(key, key): value for key, value in event.items()}


def lift_instance(instance: dict[str, Any]) -> dict[str, Any]:
    """Bring an encoded instance of a snapshot, or of a ``workflow.reopened``, to today's shape.

    States grow by fields with defaults, so most need nothing. What a step that waits for a child holds is the event
    that asked for it.

    Raises:
        AttributeError, KeyError, TypeError: It is none.
    """
    steps = {
        step_id: {**step, "child": _with_childs_names(step["child"])} if step.get("child") else step
        for step_id, step in instance["steps"].items()
    }
    return {**instance, "steps": steps}


UPCASTERS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    1: upcast_v1_v2,
    2: upcast_v2_v3,
    3: upcast_v3_v4,
}
SAME_SHAPE: Final = 2
"""From this version on whatever today's shapes read is read as it stands: only what they refuse needs lifting."""


def lift(transition: dict[str, Any], place: str) -> dict[str, Any]:
    """Bring a raw transition to the current version.

    Args:
        place: Where it was read, for the message.

    Raises:
        LogVersionError: It is newer than this program, or of no version at all.
    """
    version = transition.get("version")
    while version != EVENTS_VERSION:
        if version not in UPCASTERS:
            raise LogVersionError(
                f"an event of version {version!r}; this Stepwell knows versions 1 to {EVENTS_VERSION}",
                place=place,
                remedy="Nothing was skipped. Update Stepwell (pip install --upgrade stepwell) and start it again.",
            )
        transition = UPCASTERS[version](transition)
        version = transition["version"]
    return transition
