"""The audit tells of what the server refused, and whoever is refused cannot fill the log with it."""

from __future__ import annotations

import asyncio
import re

from stepwell.client.refusals import MOST_KINDS, Refusals
from stepwell.log.port import REFUSALS, NewRecord
from stepwell.projections.models import ReadModels
from stepwell.schemas.records.refusals import KEPT, Refusal, decode_refusal, encode_refusal
from stepwell.schemas.records.sender import Sender
from stepwell.server.access import Access, Role
from tests.patience import HANG
from tests.server.conftest import fine, problem, registered
from tests.workbench import one_step, until

TIMES = re.compile(r" \(([\d,]+) times within")


async def refused(http, headers, query=""):
    answer = await http.get(f"/v1/audit?fresh=true&limit=200{query}", headers=headers)
    return [one for one in fine(answer)["audit"] if one["outcome"] == "refused"]


def times(entries):
    return sum(int(found[1].replace(",", "")) if (found := TIMES.search(one["message"])) else 1 for one in entries)


async def test_requests_without_a_right_are_in_the_audit_with_time_address_route_name_and_reason(guarded, tokens):
    _, headers = tokens
    problem(await guarded.get("/v1/instances/secret-id", headers={"Authorization": "Bearer stepwell_guessed"}), 401)
    problem(await guarded.get("/v1/instances"), 401)
    problem(await guarded.post("/v1/instances/secret-id/cancel", headers=headers[Role.VIEWER]), 403)
    admin = headers[Role.ADMIN]

    async def all_there():
        return times(await refused(guarded, admin)) == 3

    await until(all_there)
    entries = await refused(guarded, admin)
    told = {(one["by"], one["via"], one["command"], one["message"].partition(":")[0]) for one in entries}
    assert told == {
        ("", "http 127.0.0.1", "GET /v1/instances/{instance_id}", "401"),
        ("", "http 127.0.0.1", "GET /v1/instances", "401"),
        ("the-viewer", "http 127.0.0.1", "POST /v1/instances/{instance_id}/cancel", "403"),
    }
    assert all(one["at"] > 1_600_000_000_000 for one in entries)
    assert {one["by"] for one in await refused(guarded, admin, "&by=the-viewer")} == {"the-viewer"}
    assert not any(word in str(entries) for word in ("guessed", "secret-id", "Bearer"))


async def test_a_start_of_an_unknown_workflow_is_in_the_audit_and_does_not_start_later(client, guarded, tokens):
    _, headers = tokens
    asked = {"workflow": "nothing-yet", "id": "one"}
    problem(await guarded.post("/v1/instances", json=asked, headers=headers[Role.OPERATOR]), 404)
    await until(lambda: refused(guarded, headers[Role.ADMIN]))
    (entry,) = await refused(guarded, headers[Role.ADMIN])
    assert (entry["by"], entry["via"], entry["command"]) == ("the-operator", "http 127.0.0.1", "StartWorkflow")
    assert "'nothing-yet'" in entry["message"]
    await client.register({**one_step(), "name": "nothing-yet"})
    problem(await guarded.get("/v1/instances/one", headers=headers[Role.VIEWER]), 404)


async def test_many_refusals_become_few_records_that_say_how_many_they_stand_for(client, guarded, tokens):
    _, headers = tokens
    for _ in range(200):
        problem(await guarded.get("/v1/instances", headers={"Authorization": "Bearer wrong"}), 401)

    async def all_there():
        return times(await refused(guarded, headers[Role.ADMIN])) == 200

    await until(all_there)
    assert await client.log.end(REFUSALS, 0) < 20  # one at first, one a second, two, four, ... seconds later


async def test_many_kinds_of_refusals_become_few_records(log):
    refusals = Refusals(log, pause=HANG)
    for number in range(1_000):
        refusals.note(f"GET /v1/{number}", "401", Sender(via=f"http 2001:db8::{number:x}"))
    await refusals.close()
    written = [decode_refusal(record.value) for record in await log.read(REFUSALS, 0, 0)]
    assert len(written) == MOST_KINDS + 1
    assert sum(one.times for one in written) == 1_000


async def test_what_is_noted_holds_no_token_and_nothing_that_hides(log):
    refusals = Refusals(log)
    refusals.note("StartWorkflow", "no workflow 'stepwell_abcDEF-123'\n\x1b[31m" + "x" * 9_999, Sender("ann", "cli"))
    await refusals.close()
    (record,) = await log.read(REFUSALS, 0, 0)
    why = decode_refusal(record.value).why
    assert "abcDEF" not in why
    assert "\n" not in why
    assert "\x1b" not in why
    assert len(why) <= 200


async def test_what_cannot_be_written_yet_is_written_later(log):
    class Away:
        def __init__(self):
            self.fails = 1

        async def append(self, *asked):
            if self.fails:
                self.fails -= 1
                from stepwell.errors import LogUnavailableError

                raise LogUnavailableError("away")
            return await log.append(*asked)

    refusals = Refusals(Away(), pause=0.01)
    refusals.note("GET /v1/audit", "401", Sender(via="http ::1"))

    async def written():
        return await log.end(REFUSALS, 0) == 1

    await until(written)
    await refusals.close()


async def test_refusals_outlive_their_process_and_are_in_read_models_that_are_made_anew(
    client, guarded, tokens, tmp_path
):
    _, headers = tokens
    problem(await guarded.get("/v1/audit", headers=headers[Role.VIEWER]), 403)
    await until(lambda: refused(guarded, headers[Role.ADMIN]))
    before = await client.views.audit(limit=200)
    await client.views.models.rebuild()
    assert await client.views.audit(limit=200) == before
    elsewhere = ReadModels(client.log, tmp_path / "elsewhere", client.registry)
    async with elsewhere.asking(offsets=await elsewhere.ends_of_audit()) as queries:
        assert await queries.audit("", "", None, None, 200) == before
    await elsewhere.close(for_good=True)


async def test_of_refusals_the_last_ones_alone_are_kept(client):
    old = encode_refusal(Refusal(at=1, since=1, command="GET /old", why="401", via="http ::1"))
    new = encode_refusal(Refusal(at=2, since=2, command="GET /new", why="401", via="http ::1"))
    await client.log.append(REFUSALS, 0, [NewRecord("a", old)] * 10)
    await client.log.append(REFUSALS, 0, [NewRecord("a", b"no refusal"), *[NewRecord("a", new)] * (KEPT - 1)])
    assert {one.command for one in await client.views.audit(limit=1_000)} == {"GET /new"}
    refusals = Refusals(client.log)
    await client.log.append(REFUSALS, 0, [NewRecord("a", new)] * 989)
    for number in range(5):
        refusals.note(f"GET /{number}", "401", Sender(via="http ::1"))
    await asyncio.wait_for(refusals.close(), HANG)
    first = (await client.log.read(REFUSALS, 0, 0, limit=1))[0]
    assert first.offset > 0


async def test_without_tokens_a_page_of_another_site_is_in_the_audit(http):
    assert Access().open
    await registered(http, one_step())
    problem(await http.get("/v1/instances", headers={"Origin": "https://example.org"}), 403)
    await until(lambda: refused(http, {}))
    (entry,) = await refused(http, {})
    assert entry["by"] == ""
    assert "other sites" in entry["message"]
