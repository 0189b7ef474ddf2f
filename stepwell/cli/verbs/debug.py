"""``stepwell debug``: why an instance is stuck or has failed, and what to do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from stepwell.cli.drawing import SIGNS, count, short
from stepwell.cli.instances import attempt_lines
from stepwell.cli.options import Id, Json, LogUrl
from stepwell.cli.output import print, print_json
from stepwell.cli.session import at, client_of
from stepwell.cli.views import local_time, table
from stepwell.command_line import about
from stepwell.diagnosis import diagnose
from stepwell.errors import visible
from stepwell.schemas.records.statuses import PENDING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stepwell.diagnosis import Diagnosis, Finding
    from stepwell.diagnosis.diagnosing import Blocked
    from stepwell.projections.rows import AttemptRow


_MOST_BLOCKED = 20  # steps that are shown with what they wait for
_MOST_FINDINGS = 20
_MOST_ATTEMPTS = 20  # of one step, the last ones
_MOST_LINES = 40  # of a traceback, the last ones


async def debug(instance_id: Id, as_json: Json = False, log: LogUrl = None) -> int:
    """Say why an instance is stuck, or why it failed, and what to do.

    It names the step, its input, its error and all attempts; what waits for what; and the commands that help.

    \b
    stepwell debug order-1
    """
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
        lines += ["", visible(f"All that happened: {about('history', found.instance_id, at=here)}")]
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
