"""Whether starts may take a registered version."""

from __future__ import annotations

from stepwell.cli.exits import UsageError
from stepwell.cli.output import print, print_json
from stepwell.cli.session import client_of


async def switch(named: str, *, active: bool, reason: str, as_json: bool, log: str | None) -> int:
    """Activate or deactivate a version."""
    name, sign, version = named.rpartition("@")
    if not sign or not name or not version:
        raise UsageError("is not of the form NAME@VERSION", place=named, remedy="`stepwell definitions` shows them.")
    async with client_of(log) as client:
        change = client.activate if active else client.deactivate
        changed = await change(name, version, reason=reason)
        current = next((one.version for one in await client.definitions(workflow=name) if one.current), None)
    if as_json:
        print_json({"name": name, "version": version, "active": active, "changed": changed, "current": current})
        return 0
    word = "active" if active else "inactive"
    then = (
        "no version can be started now" if current is None
        else f"a start that names no version takes {current}"
    )  # fmt: skip
    print(f"{named}: {'is' if changed else 'was'} {word}{'' if changed else ' already'}; {then}")
    return 0
