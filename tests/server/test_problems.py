from __future__ import annotations

import pytest
from litestar import get

from stepwell.errors import LogUnavailableError
from stepwell.server.access import PUBLIC, Access, Role, requires
from stepwell.server.app import MOST_BODY
from tests.server.conftest import fine, problem, registered, served
from tests.workbench import one_step


async def test_an_unknown_route_is_a_problem(http):
    told = problem(await http.get("/v1/nonsense/here"), 404, detail="there is nothing at /v1/nonsense/here")
    assert "/openapi.json" in told["remedy"]
    problem(await http.get("/"), 404)


async def test_a_wrong_method_is_told_the_right_ones(http):
    answer = await http.delete("/v1/instances/one")
    told = problem(answer, 405)
    assert answer.headers["allow"] == "GET, OPTIONS"
    assert told["detail"] == "/v1/instances/one takes GET, OPTIONS, not DELETE"
    answer = await http.put("/v1/definitions")
    problem(answer, 405)
    assert answer.headers["allow"] == "GET, OPTIONS, POST"


async def test_a_body_over_the_limit_is_refused(http):
    problem(await http.post("/v1/definitions", content=b"x" * (MOST_BODY + 1)), 413)

    async def pieces():
        for _ in range(MOST_BODY // 2**20 + 1):
            yield b" " * 2**20

    problem(await http.post("/v1/instances", content=pieces()), 413)  # without a Content-Length


async def test_an_input_larger_than_the_log_takes_is_refused(http, log):
    await registered(http, one_step())
    large = {"workflow": "w", "input": {"text": "x" * log.max_record_bytes}}
    problem(await http.post("/v1/instances", json=large), 413)
    fine(await http.post("/v1/instances", json={"workflow": "w", "id": "one"}), 201)


async def test_a_log_that_is_away_is_503_with_retry_after(client, log, monkeypatch):
    async def away(*_args, **_more):
        raise LogUnavailableError("the log is away", remedy="wait")

    async with served(client) as http:
        await registered(http, one_step())
        monkeypatch.setattr(log, "read_key", away)
        monkeypatch.setattr(log, "members", away)
        answer = await http.get("/v1/instances/one")
        problem(answer, 503, detail="the log is away", remedy="wait")
        assert int(answer.headers["retry-after"]) > 0
        health = await http.get("/v1/health")
        assert health.status_code == 503
        assert health.json()["parts"]["log"] == {
            "status": "down", "words": "cannot be used: the log is away (wait)", "code": "no_log", "remedy": "wait",
        }  # fmt: skip


@pytest.mark.parametrize("error", [ZeroDivisionError("secret"), KeyError("secret")])
async def test_a_bug_is_told_without_a_traceback_and_without_what_it_says(client, error, capsys):
    @get("/bug", guards=[requires(Role.VIEWER)])
    async def bug() -> None:
        raise error

    async with served(client, Access(), bug) as http:
        answer = await http.get("/bug")
    problem(answer, 500)
    assert "secret" not in answer.text
    assert "secret" in capsys.readouterr().err  # in the server's log it is found


async def test_a_route_that_demands_nothing_answers_nobody(client):
    @get("/forgotten")
    async def forgotten() -> str:
        return "secret"

    @get("/open", guards=[requires(PUBLIC)])
    async def open_() -> str:
        return "fine"

    async with served(client, Access(), forgotten, open_) as http:
        problem(await http.get("/forgotten"), 403)
        assert (await http.get("/open")).text == "fine"


async def test_a_body_with_a_key_twice_is_refused_at_its_place(http):
    await registered(http, one_step())
    body = b'{"workflow": "w", "id": "twice", "input": {"l": [{"a": 1, "a": 2}]}}'
    told = problem(await http.post("/v1/instances", content=body), 400, place="body.input.l[0]")
    assert told["detail"] == '"a" is given twice'
    problem(await http.get("/v1/instances/twice"), 404)


async def test_a_definition_that_begins_with_a_byte_order_mark_is_read(http):
    definition = b'\xef\xbb\xbf{"name": "b", "steps": [{"id": "a", "type": "input"}]}'
    fine(await http.post("/v1/definitions", content=definition, headers={"content-type": "application/json"}), 201)


async def test_a_body_that_begins_with_a_byte_order_mark_is_read(http):
    await registered(http, one_step())
    fine(await http.post("/v1/instances", content=b'\xef\xbb\xbf{"workflow": "w", "id": "marked"}'), 201)


async def test_a_body_that_is_no_json_is_told_why(http):
    problem(await http.post("/v1/instances"), 400, detail="body: is empty", place="body")
    for body, detail in ((b" ", "is empty"), (b'{"input": "\\ud800"}', "holds half of a character (a surrogate)")):
        problem(await http.post("/v1/instances", content=body), 400, detail=detail, place="body")


@pytest.mark.parametrize(
    "path", ["/v1/health?verbose=1", "/v1/events?workflw=w", "/v1/events?after=0@1", "/v1/instances/one/history?to=1"]
)
async def test_a_parameter_that_a_route_does_not_know_is_refused(http, path):
    told = problem(await http.get(path), 400)
    assert "there is no such parameter" in told["detail"]


async def test_a_filter_that_json_cannot_hold_is_refused(http):
    problem(await http.get("/v1/instances", params={"input.x": "[NaN]"}), 400, place="input.x")
    fine(await http.get("/v1/instances", params={"input.x": "NaN"}), 200)


async def test_an_unknown_field_of_a_body_is_told_with_the_one_that_is_meant(http):
    told = problem(await http.post("/v1/instances", json={"workflow": "w", "inptu": {}}), 400)
    assert told["detail"] == 'unknown key "inptu", did you mean "input"?'
    starts = {"starts": [{"workflow": "w"}, {"workflow": "w", "priorty": 1}]}
    told = problem(await http.post("/v1/instances/batch", json=starts), 400, place="body.starts[1]")
    assert 'did you mean "priority"?' in told["detail"]
    told = problem(await http.post("/v1/instances/x/rollback", json={"puase": True}), 400)
    assert 'did you mean "pause"?' in told["detail"]
