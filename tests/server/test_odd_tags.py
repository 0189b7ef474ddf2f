"""Definitions and questions that nobody would write by hand are answered with what is wrong with them, never 500."""

from __future__ import annotations

import json

import pytest

from tests.server.conftest import problem
from tests.workbench import one_step

ODD_TAGS = [
    1, "text", {"a": 1}, [1], [None], [True], [1.5], [["a"]], [[["a"]]], [{"a": "b"}], ["\ud800"], ["\x00"], ["\u202e"],
    ["z" * 1_000_000],
]  # fmt: skip
ODD_TIMES = [
    "9" * 5_000,
    "-" + "9" * 5_000,
    "9" * 20,
    "٣" * 20,
    "9999-12-31T23:59:59-23:59",
    "2026-01-01T00:00:00." + "1" * 5_000,
]


@pytest.mark.parametrize("route", ["/v1/definitions", "/v1/workflow"])
@pytest.mark.parametrize("tags", ODD_TAGS, ids=range(len(ODD_TAGS)))
async def test_odd_tags_are_refused_by_every_route_that_takes_a_definition(http, route, tags):
    body = json.dumps({**one_step(), "tags": tags})
    answer = await http.post(route, content=body, headers={"content-type": "application/json"})
    assert 400 <= answer.status_code < 500, answer.text
    problem(answer, answer.status_code)


@pytest.mark.parametrize("route", ["/v1/definitions", "/v1/workflow"])
async def test_many_tags_and_none_are_no_fault_of_the_server(http, route):
    for tags in (None, [], ["a"] * 5_000, [f"tag-{number}" for number in range(5_000)]):
        answer = await http.post(route, json={**one_step(), "tags": tags})
        assert answer.status_code < 500, answer.text


async def test_what_else_is_wrong_is_told_beside_an_odd_tag(http):
    steps = [{"id": "a", "handler": "work", "depends_on": ["b"]}, {"id": "b", "handler": "work", "depends_on": ["a"]}]
    asked = {"name": "w", "version": "1", "tags": ["fine", "\x00"], "steps": steps}
    told = problem(await http.post("/v1/definitions", json=asked), 422)
    assert any("tags[1]" in one for one in told["problems"])
    assert any("depend" in one for one in told["problems"])


@pytest.mark.parametrize("time", ODD_TIMES, ids=range(len(ODD_TIMES)))
async def test_a_time_that_is_none_is_refused_by_every_route_that_takes_one(http, time):
    for route, name in [("/v1/audit", "since"), ("/v1/audit", "before"), ("/v1/instances", "created_after"),
                        ("/v1/instances", "created_before"), ("/v1/instances", "finished_after"),
                        ("/v1/instances", "finished_before")]:  # fmt: skip
        answer = await http.get(route, params={name: time})
        assert answer.status_code < 500, (route, name, answer.text)
