"""Reading what older versions wrote.

Events are kept for ever, so every version that was ever written must be readable for ever. Each function below lifts
the raw JSON of one transition from one version to the next; ``lift`` applies them in turn. A version newer than this
program's is never guessed at: the reader stops and says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stepwell.errors import LogVersionError
from stepwell.schemas.events import EVENTS_VERSION


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


UPCASTERS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {1: upcast_v1_v2}


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
