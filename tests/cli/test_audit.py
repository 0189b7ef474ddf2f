"""What the terminal asks for is recorded in the name of its user, from its machine."""

from __future__ import annotations

import socket

from stepwell.log.local.log import LocalLog
from stepwell.log.port import DEFINITIONS
from stepwell.schemas.records.audit import audit_definition, audit_transition
from stepwell.schemas.records.events import ApprovalDecided
from tests.workbench import accepted

from .conftest import Shell

GATE = {"name": "purchase", "steps": [{"id": "gate", "type": "approval_gate", "config": {"title": "Buy?"}}]}
HERE = f"cli {socket.gethostname()}"


async def audit(shell: Shell):
    log = await LocalLog.open(shell.directory / ".stepwell/log.db")
    try:
        definitions = [
            audit_definition(r.key, r.value, r.headers, at=r.timestamp, partition=0, offset=r.offset)
            for r in await log.read(DEFINITIONS, 0, 0)
        ]
        found = [await accepted(log, partition) for partition in range(log.partitions)]
    finally:
        await log.close()
    commands = [
        audit_transition(record.headers, transition, partition=0, offset=record.offset)
        for history in found
        for record, transition in history
    ]
    decided = [e for own in found for _, t in own for e in t.events if isinstance(e, ApprovalDecided)]
    return definitions, [entry for entry in commands if entry is not None], decided


async def test_verbs_speak_in_their_user_s_name(shell: Shell):
    shell.env["LOGNAME"] = "carol"
    shell.write("w.json", GATE)
    shell("run", "w.json", "--id", "one", status=3)
    shell("approve", "one")
    shell("start", "purchase", "--id", "two")
    shell.env["LOGNAME"] = "dan\x1b[31m"  # of a name that is none, what can be shown
    shell("cancel", "two")
    (registered,), commands, decided = await audit(shell)
    assert (registered.by, registered.via, registered.definition[:9]) == ("carol", HERE, "purchase@")
    assert sorted((entry.instance_id, entry.by, entry.via, entry.command) for entry in commands) == [
        ("one", "carol", HERE, "ApproveStep"),
        ("one", "carol", HERE, "StartWorkflow"),
        ("two", "carol", HERE, "StartWorkflow"),
        ("two", r"dan\x1b[31m", HERE, "CancelWorkflow"),
    ]
    assert [vote.by for vote in decided] == ["carol"], "who approves need not be named"
