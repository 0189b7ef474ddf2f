"""``stepwell health``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell.cli.alerts import CRITICAL, LEVEL_SIGNS
from stepwell.cli.drawing import count
from stepwell.cli.options import Json, LogUrl
from stepwell.cli.output import print, print_json
from stepwell.cli.views import asking, table
from stepwell.diagnosis.overview import health_of

if TYPE_CHECKING:
    from stepwell.diagnosis.overview import Report


async def health(as_json: Json = False, log: LogUrl = None) -> int:
    """Print how all is going: log, engines, workers, read models, and each workflow with a score from 0 to 100.

    Exit status: 0 nothing is critical, 1 something is, 2 the log cannot be opened.

    \b
    stepwell health
    stepwell health --json | jq .level
    """
    async with asking(log) as client:
        report = await health_of(client)
    if as_json:
        print_json(report)
    else:
        print("\n".join(health_lines(report)))
    return CRITICAL if report.level == "critical" else 0


def health_lines(report: Report, most: int = 1_000) -> list[str]:
    """A report as a table.

    Args:
        most: Workflows that are shown, those with the lowest scores.
    """
    rows: list[tuple[str, ...]] = [
        (LEVEL_SIGNS[part.level], part.name.replace("_", " "), part.level, part.words) for part in report.parts
    ]
    rows += [
        (LEVEL_SIGNS[one.level], f"{one.workflow} {one.version}", f"{one.score} {one.level}", one.words)
        for one in report.workflows[:most]
    ]
    lines = table(("", "", "", ""), rows)
    if len(report.workflows) > most:
        lines.append(f"… and {count(len(report.workflows) - most, 'more workflow')}, none with a lower score")
    lines += [f"  {part.name.replace('_', ' ')}: {part.remedy}" for part in report.parts if part.remedy]
    return lines
