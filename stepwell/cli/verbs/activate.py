"""``stepwell activate``."""

from __future__ import annotations

from stepwell.cli.options import Json, LogUrl, Reason, Version
from stepwell.cli.versions import switch


async def activate(version: Version, reason: Reason = "", as_json: Json = False, log: LogUrl = None) -> int:
    """Let starts take a version again.

    \b
    stepwell activate order@2
    """
    return await switch(version, active=True, reason=reason, as_json=as_json, log=log)
