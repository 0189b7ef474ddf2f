"""``stepwell deactivate``."""

from __future__ import annotations

from stepwell.cli.options import Json, LogUrl, Reason, Version
from stepwell.cli.versions import switch


async def deactivate(version: Version, reason: Reason = "", as_json: Json = False, log: LogUrl = None) -> int:
    """Let no further start take a version; instances that run keep it.

    \b
    stepwell deactivate order@2 --reason "charges twice"
    """
    return await switch(version, active=False, reason=reason, as_json=as_json, log=log)
