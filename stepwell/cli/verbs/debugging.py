"""``stepwell debug``: why an instance is stuck or has failed, and what to do."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from stepwell.cli.drawing import SIGNS, count, seconds, short
from stepwell.cli.output import print
from stepwell.cli.session import at, client_of
from stepwell.cli.verbs.show import print_json
from stepwell.cli.views import local_time, table
from stepwell.errors import visible
from stepwell.schemas.records.statuses import PENDING, AttemptStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepwell.diagnosis import Diagnosis, Finding
    from stepwell.diagnosis.diagnosing import Blocked
    from stepwell.projections.rows import AttemptRow

_MOST_BLOCKED = 20  # steps that are shown with what they wait for
_MOST_FINDINGS = 20
_MOST_ATTEMPTS = 20  # of one step, the last ones
_MOST_LINES = 40  # of a traceback, the last ones


async def debug(instance_id: str, *, as_json: bool, log: str | None) -> int:
    """Print why an instance is where it is."""
    from stepwell.diagnosis import diagnose  # noqa: PLC0415 - start-up time

    async with client_of(log) as client:
        found = await diagnose(client, instance_id, at=at(log))
    if as_json:
        print_json(found)
    else:
        print("\n".join(_lines(found, at(log))))
    return 0


def _lines(found: Diagnosis, here: str) -> list[str]:
    name = f"{found.workflow} {found.version}".strip()
    sign = SIGNS.get(found.status, ("✘" if found.status == "rejected" else "▶", ""))[0]
    head = " · ".join(word for word in (name, found.instance_id, found.status) if word)
    lines = [f"{sign} {visible(head)}"]
    shown = set[str]()
    for finding in found.findings[:_MOST_FINDINGS]:
        lines += ["", *_finding(finding)]
        if finding.step_id and finding.step_id not in shown:
            shown.add(finding.step_id)
            attempts = [row for row in found.attempts if row.step_id == finding.step_id]
            lines += _attempts(attempts, finding)
    if len(found.findings) > _MOST_FINDINGS:
        lines += ["", f"… and {len(found.findings) - _MOST_FINDINGS:,} more; --json has all"]
    if found.blocked:
        lines += ["", "What waits for what:"]
        rows = [(one.step_id, "waits for", _awaited(one)) for one in found.blocked[:_MOST_BLOCKED]]
        lines += table(("", "", ""), rows, indent=2)
        if len(found.blocked) > _MOST_BLOCKED:
            lines.append(f"  … and {count(len(found.blocked) - _MOST_BLOCKED, 'more step')}; --json has all")
    if found.due:
        lines += ["", f"The whole instance times out at {local_time(found.due)}."]
    todo = dict.fromkeys((remedy.words, remedy.command) for one in found.findings for remedy in one.remedies)
    lines += ["", "What to do:"] if todo else []
    lines += table(("", ""), [(f"{words}{':' if command else '.'}", command) for words, command in todo], indent=2)
    if found.status not in (PENDING, "rejected"):
        lines += ["", visible(f"All that happened: stepwell history {shlex.quote(found.instance_id)}{here}")]
    return lines


def _awaited(blocked: Blocked) -> str:
    return short(", ".join(f"{step_id} ({status})" for step_id, status in blocked.waits_for.items()), 200)


def _finding(finding: Finding) -> list[str]:
    lines = [f"{finding.code.replace('_', ' ')}: {short(finding.words, 600)}"]
    if finding.input is not None:
        lines.append(f"  input  {short(json.dumps(finding.input, ensure_ascii=False), 400)}")
    if finding.error is not None:
        lines.append(f"  error  {short(_said(finding.error), 600)}")
        trace = finding.error.traceback.rstrip().splitlines()
        if len(trace) > _MOST_LINES:
            lines.append(f"         … {len(trace) - _MOST_LINES:,} lines before")
        lines += [f"         {visible(line)}" for line in trace[-_MOST_LINES:]]
    return lines


def _said(error: Any) -> str:
    return f"{error.type}: {error.message}" if error.message else str(error.type)


def _attempts(rows: Sequence[AttemptRow], finding: Finding) -> list[str]:
    """The attempts at a step, where there is more to them than the finding has said."""
    ended = [row for row in rows if row.finished_at]
    if not ended or (len(rows) == 1 and finding.code == "completed"):
        return []
    lines = [f"  attempts ({len(rows):,}):"]
    if len(rows) > _MOST_ATTEMPTS:
        lines.append(f"    … {len(rows) - _MOST_ATTEMPTS:,} before; `stepwell status ID --attempts` has all")
    return lines + attempt_lines(rows[-_MOST_ATTEMPTS:], steps=False, indent=4)


def attempt_lines(rows: Sequence[AttemptRow], *, steps: bool = True, indent: int = 0) -> list[str]:
    """Attempts as a table.

    Args:
        steps: Whether the step is named in each line.
        indent: Spaces before each line.
    """
    cells = [
        (
            *((row.step_id,) if steps else ()),
            "" if row.status == AttemptStatus.SKIPPED else _numbered(row),
            f"{_sign(row)} {row.status}" + (f" for {row.waits_for}" if row.waits_for else ""),
            local_time(row.started_at or row.ready_at),
            seconds(row.duration / 1000) if row.finished_at and row.status != AttemptStatus.SKIPPED else "",
            row.worker,
            short(row.error, 160),
        )
        for row in rows
    ]
    titles = (*(("step",) if steps else ()), "attempt", "status", "when", "took", "worker", "error")
    return table(titles, cells, indent=indent)


def _numbered(row: AttemptRow) -> str:
    lost = f", handed out {row.deliveries:,} times" if row.deliveries > 1 else ""
    return f"{_PURPOSES.get(row.purpose, '')}{row.attempt} of {row.max_attempts}{lost}"


_PURPOSES = {"compensate": "undoing, ", "handle": "handling, "}
_ENDS = {AttemptStatus.RETRIED.value: "✘", AttemptStatus.COMPENSATED.value: "↶"}  # which steps have no sign for


def _sign(row: AttemptRow) -> str:
    return _ENDS.get(row.status) or SIGNS[row.status][0]
