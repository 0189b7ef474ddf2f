"""Ids, names and versions with slashes and other odd characters: whatever can be started can be named in a path."""

from __future__ import annotations

import asyncio
import http.client
import json
from urllib.parse import quote

import pytest

from .conftest import fine, problem, registered

ODD = (
    "eu/7", "/", "a/", "/a", "a//b", "a/../b", "./a", "...", "a?b=c", "a#b", "100%", "%2F", "a%2Fb", "a%1Fs", "a b",
    " a ", "ü/ß", "日本/1", "batch", "result", "a/result", "$(reboot)", "a;b", "a+b", "a&b=c", "-v", '"', "'",
)  # fmt: skip


def path_of(*segments: str) -> str:
    return "/" + "/".join(quote(segment, safe="") for segment in segments)


@pytest.fixture
async def begun(http):
    definition = {"name": "w/x", "version": "1/2", "steps": [{"id": "a/b", "type": "approval_gate"}]}
    await registered(http, definition)
    return http


@pytest.mark.parametrize("name", ODD)
async def test_an_instance_of_any_id_is_started_read_and_steered(begun, name):
    started = await begun.post("/v1/instances", json={"workflow": "w/x", "id": name})
    assert fine(started, 201)["instance_id"] == name
    assert started.headers["location"] == path_of("v1", "instances", name)
    assert fine(await begun.get(started.headers["location"]))["instance_id"] == name
    at = path_of("v1", "instances", name)
    for part in ("result", "replay"):
        assert fine(await begun.get(f"{at}/{part}"))["instance_id"] == name
    assert fine(await begun.get(f"{at}/history"))["events"]
    assert isinstance(fine(await begun.get(f"{at}/attempts?fresh=true")), (dict, list))
    for verb, body in (("pause", {}), ("resume", {}), ("approve", {"step_id": "a/b"})):
        assert fine(await begun.post(f"{at}/{verb}", json=body)) == {"instance_id": name, "command": verb}
    assert fine(await begun.get(f"{at}/result?wait=20"))["status"] == "completed"
    listed = fine(await begun.get("/v1/audit", params={"instance_id": name, "fresh": "true"}))
    assert {entry["instance_id"] for entry in listed["audit"]} == {name}


async def test_names_and_versions_of_workflows_are_segments_likewise(begun):
    assert fine(await begun.get(path_of("v1", "definitions", "w/x")))["about"]["name"] == "w/x"
    at = path_of("v1", "definitions", "w/x", "1/2")
    assert fine(await begun.get(at))["about"]["version"] == "1/2"
    assert fine(await begun.post(f"{at}/deactivate"))["active"] is False
    assert fine(await begun.post(f"{at}/activate"))["active"] is True
    assert fine(await begun.get(path_of("v1", "statistics", "w/x") + "?fresh=true"))["statistics"] == []
    assert (await begun.post(path_of("api", "workflows", "w/x", "start"), json={})).status_code in (200, 201, 202)


async def test_what_is_unknown_is_told_as_it_was_meant(begun):
    told = problem(await begun.get(path_of("v1", "instances", "no/such one")), 404)
    assert "no/such one" in told["detail"]
    told = problem(await begun.get(path_of("v1", "instances", "eu/7", "nothing")), 404)
    assert told["detail"] == "there is nothing at /v1/instances/eu/7/nothing"
    told = problem(await begun.get("/v1/instances/eu/7"), 404)  # a slash that is not encoded parts segments
    assert told["detail"] == "there is nothing at /v1/instances/eu/7"


@pytest.mark.parametrize("name", [".", ".."])
async def test_what_clients_take_out_of_paths_cannot_be_started_or_registered(begun, name):
    start = {"workflow": "w/x", "id": name}
    told = problem(await begun.post("/v1/instances", json=start), 422)
    assert (told["place"], told["detail"]) == ("id", f'"{name}" cannot be named in a path')
    (entry,) = fine(await begun.post("/v1/instances/batch", json={"starts": [start]}))["results"]
    assert entry["problem"]["status"] == 422
    step = [{"id": "a", "type": "input"}]
    for place in ("name", "version"):
        definition = {"name": "w", "version": "1", "steps": step} | {place: name}
        assert problem(await begun.post("/v1/definitions", json=definition), 422)["place"] == place


async def test_an_id_of_dots_that_was_started_elsewhere_is_read_by_who_sends_it(begun, client):
    for name in (".", ".."):
        await client.start("w/x", id=name)
        for written in (name, name.replace(".", "%2E")):
            found = await asyncio.to_thread(sent, begun, f"/v1/instances/{written}")
            assert found["instance_id"] == name


def sent(http_, path: str):
    """What a GET gives whose path goes out as it is."""
    connection = http.client.HTTPConnection(http_.base_url.host, http_.base_url.port)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        told = json.loads(answer.read())
    finally:
        connection.close()
    assert answer.status == 200, told
    return told
