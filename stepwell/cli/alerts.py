"""How well all is going, as the terminal shows it: levels and alerts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stepwell.cli.drawing import short

if TYPE_CHECKING:
    from stepwell.projections.alerts import Alert


CRITICAL = 1  # exit status of `health` and `alerts` where something is critical
LEVEL_SIGNS = {"healthy": "✔", "warning": "!", "critical": "✘"}


def alert_lines(found: list[Alert]) -> list[str]:
    """Alerts, each with what to do."""
    lines = []
    for alert in found:
        where = f"{alert.workflow} {alert.version}: " if alert.workflow else ""
        lines += [
            f"{LEVEL_SIGNS[alert.level]} {alert.level:<8}  {alert.code:<20}  {short(where + alert.message, 200)}",
            f"  {alert.remedy}",
        ]
    return lines
