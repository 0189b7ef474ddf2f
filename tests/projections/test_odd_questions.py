"""Questions with odd values in them: refused with a reason, or answered; never a traceback, and never wrong."""

from __future__ import annotations

import base64
import contextlib

import msgspec
import pytest

from stepwell.log.local.log import LocalLog
from stepwell.projections.filters import FilterError
from tests.patience import HANG
from tests.workbench import handlers_of, one_step, stage


@pytest.fixture
async def client(tmp_path):
    log = await LocalLog.open(tmp_path / "log.db")

    def work(data):
        raise LookupError(data.get("says", ""))

    async with stage(log, handlers_of(work=work), one_step()) as client:
        yield client
    await log.close()


async def ended(client, name, **data):
    await client.start("w", data, id=name)
    await client.wait(name, lambda state: not state.live, timeout=HANG)


async def found(client, **wanted):
    return [row.instance_id for row in (await client.instances(**wanted))[0]]


@pytest.mark.parametrize(
    "text", ["a%b", "a_b", 'a"b', "a*b", "a NEAR b", "a OR b", "a\\b", "NOT", "(ab", "a:b", "'--;", "ÜBER", "日本語"]
)
async def test_whatever_is_looked_for_in_errors_is_looked_for_as_it_stands(client, text):
    await ended(client, "with", says=f"before {text} behind")
    await ended(client, "without", says="before axb behind, and a, and b")
    assert await found(client, error=text) == ["with"]
    assert [one.instance_id for one in await client.views.errors(text=text)] == ["with"]


@pytest.mark.parametrize("text", ["abc\0def", "abc\ud800", "x" * 3_000, "x" * 60_000])
async def test_a_text_that_no_error_can_hold_is_refused(client, text):
    await ended(client, "one", says="abc")
    with pytest.raises(FilterError):
        await found(client, error=text)
    with pytest.raises(FilterError):
        await client.views.errors(text=text)


@pytest.mark.parametrize("case", ["über", "Über", "ÜBER"])
async def test_no_case_matters_in_any_alphabet(client, case):
    await ended(client, "one", says="ÜBER alles")
    assert await found(client, error=case) == ["one"]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"])
async def test_a_value_that_json_does_not_have_is_refused_and_is_not_null(client, value):
    await ended(client, "one", x=None)
    with pytest.raises(FilterError):
        await found(client, input={"x": value})


async def test_numbers_of_any_size_are_told_apart(client):
    for name, value in (("one", 2**53 + 1), ("two", 2**53 + 2), ("three", 2**70), ("four", -(2**70))):
        await ended(client, name, x=value)
    assert await found(client, input={"x": 2**53 + 1}) == ["one"]
    assert await found(client, input={"x": 2**70}) == ["three"]
    assert await found(client, input={"x": -(2**70)}) == ["four"]


@pytest.mark.parametrize("odd", ["\ud800", "a\0b", "x" * 100_000])
async def test_odd_names_find_nothing_or_are_refused(client, odd):
    await ended(client, "one", x=1)
    for wanted in (
        {"workflow": odd},
        {"version": odd},
        {"tag": odd},
        {"parent": odd},
        {"input": {odd: 1}},
    ):
        with contextlib.suppress(FilterError):
            assert await found(client, **wanted) == []
    with contextlib.suppress(FilterError):
        assert await client.views.instance(odd) is None
        assert await client.views.attempts(odd) == []
        assert await client.views.errors(odd) == []
        assert await client.views.audit(by=odd) == []
        assert await client.views.audit(instance_id=odd) == []
        assert await client.views.statistics(odd) == []
        assert await client.views.work(queue=odd) == []
        assert await client.views.cached(odd) is None


@pytest.mark.parametrize("time", [2**63, 2**64])
async def test_times_beyond_all_times_are_answered_or_refused(client, time):
    for name in ("created_after", "created_before", "finished_after", "finished_before"):
        with pytest.raises(FilterError):
            await client.instances(**{name: time})
    with pytest.raises(FilterError):
        await client.views.audit(since=time)


@pytest.mark.parametrize(
    "cursor", [["-created", 2**63, 1], ["-created", 1, 2**64 - 1], ["-created", -(2**70), 1], ["-created", "x", 1]]
)
async def test_a_cursor_that_was_tampered_with_is_refused(client, cursor):
    text = base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode().rstrip("=")
    with pytest.raises(FilterError):
        await client.instances(cursor=text)


async def test_there_is_no_instance_without_an_id(client):
    await ended(client, "one")
    assert await client.views.instance("") is None
