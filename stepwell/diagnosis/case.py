"""What is known of an instance that somebody wonders about, what is found, and the words for both. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from msgspec import Struct

from stepwell.client.advice import Advice, advice_of
from stepwell.command_line import about, command
from stepwell.consumers.reading.live_members import LiveMembers
from stepwell.consumers.reading.views import view
from stepwell.core.decide.people import was_not_let_through
from stepwell.core.fold.state import InstanceState
from stepwell.core.plan.compile import Plan
from stepwell.schemas.records.events import ErrorInfo

_MOST_NAMED: Final = 10  # names in one sentence


class Remedy(Struct, frozen=True):
    """Something to do.

    Attributes:
        command: For the terminal; empty where nothing can be typed.
    """

    words: str
    command: str = ""


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that holds an instance up, or that ended it.

    Attributes:
        code: A stable word for programs.
        step_id: Whose it is; empty where it is the instance's own.
        incident: Code of the incident, where there is one.
        since: Since when, in milliseconds since 1970; None where that is not known.
        due: When it ends by itself, likewise; None for never, and while time stands still for it.
        input: What the step was given.
        child: Id of the instance that the step waits for, or whose failure failed it.
    """

    code: str
    words: str
    step_id: str = ""
    incident: str = ""
    since: int | None = None
    due: int | None = None
    input: Any = None
    error: ErrorInfo | None = None
    child: str = ""
    remedies: list[Remedy] = []


class Request(NamedTuple):
    """Who asked for a pause or an end, when, and from where; names are empty where nobody is named."""

    at: int
    by: str = ""
    via: str = ""


class Case(NamedTuple):
    """All that is known.

    Attributes:
        plan: Its definition; None where it is not known.
        inputs: What each step was given last.
        children: The newest child of each step that had one.
        request: Who has paused or cancelled it.
        partition: In which it lives.
        now: In milliseconds since 1970.
        at: What commands need besides, to look at the same log: `` --log URL``, or nothing.
    """

    state: InstanceState
    plan: Plan | None
    inputs: Mapping[str, Any]
    children: Mapping[str, str]
    request: Request | None
    members: LiveMembers
    partition: int
    now: int
    at: str = ""

    def command(self, verb: str, *words: str) -> str:
        """A command about this instance."""
        return about(verb, self.state.id, *words, at=self.at)

    def other(self, *words: str) -> str:
        """A command about anything else."""
        return command(*words) + self.at

    @property
    def advice(self) -> Advice | None:
        """What it waits for that does not go on by itself."""
        return advice_of(view(self.state, self.plan), self.at)

    def resumes(self, step_id: str, *, skip: bool = True) -> list[Remedy]:
        """The ways to go on where a step has failed: anew, or without it."""
        if self.plan is not None and step_id and was_not_let_through(self.state, self.plan, step_id):
            return [Remedy("Go on, and ask anew", self.command("resume"))]
        found = [Remedy("Go on, with the failed step run anew", self.command("resume"))]
        if skip:
            found.append(Remedy("Go on without it", self.command("resume", "--skip-failed")))
        return found


# --- words --------------------------------------------------------------------------------------------------


def until(due: int, now: int) -> str:
    """How long something goes on, at most."""
    return f"until {_moment(due, now)}" if due > now else "a moment longer"


def when(due: int, now: int) -> str:
    """When something happens that is to come."""
    return f"at {_moment(due, now)}" if due > now else "now"


def _moment(due: int, now: int) -> str:
    time = datetime.fromtimestamp(due / 1000).astimezone()
    return f"{time:%Y-%m-%d %H:%M:%S} (in {span(due - now)})"


def span(milliseconds: int) -> str:
    """A duration for people."""
    seconds = max(0, milliseconds) / 1000
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def said(error: ErrorInfo) -> str:
    """An error in one line."""
    return f"{error.type}: {error.message}" if error.message else error.type


def asked_by(request: Request | None) -> str:
    """Who has asked, and from where; empty where nobody is named."""
    if request is None or not (request.by or request.via):
        return ""
    via = f" ({request.via})" if request.via else ""
    return f" by {request.by or 'somebody'}{via}"


def named(names: Sequence[str]) -> str:
    """Names in one sentence, the first ten of them."""
    shown = ", ".join(names[:_MOST_NAMED])
    return f"{shown} and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else shown
