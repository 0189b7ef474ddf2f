"""``stepwell alerts``."""

from __future__ import annotations

from stepwell.cli.alerts import CRITICAL, alert_lines
from stepwell.cli.options import Json, LogUrl
from stepwell.cli.output import print, print_json
from stepwell.cli.views import asking
from stepwell.diagnosis.overview import alerts_of


async def alerts(as_json: Json = False, log: LogUrl = None) -> int:
    """Print what somebody should look at, and what to do about it.

    Exit status: 0 nothing is critical, 1 something is, 2 the log cannot be opened.

    \b
    stepwell alerts
    """
    async with asking(log) as client:
        found = await alerts_of(client)
    if as_json:
        print_json({"alerts": found})
    else:
        print("\n".join(alert_lines(found)) if found else "no alerts")
    return CRITICAL if any(alert.level == "critical" for alert in found) else 0
