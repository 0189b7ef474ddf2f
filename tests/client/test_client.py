"""The Python front door: what it gives, what it refuses, and what it does while no engine is there."""

import asyncio
import time
from collections import Counter

import pydantic
import pytest
from msgspec.structs import replace

from stepwell.client.connect import connect
from stepwell.consumers.engine.engine import Engine
from stepwell.consumers.worker.handlers import Handlers
from stepwell.errors import (
    CommandRejectedError,
    DefinitionConflictError,
    LogClosedError,
    UnknownInstanceError,
    UnknownWorkflowError,
    WorkflowFailedError,
)
from stepwell.log.port import COMMANDS
from tests.patience import HANG
from tests.workbench import client_on, handlers_of, running, stage, steps, until, workflow


async def work(data, ctx):
    if data.get("fail") == ctx.step_id:
        raise ValueError("asked to fail")
    return {"n": data.get("n", 0) + 1}


CHAIN = workflow(*steps("a", "b"), output="{{ step_outputs.b.n }}")
SLEEPY = workflow({"id": "sleep", "type": "wait", "config": {"seconds": 60}}, name="sleepy")


@pytest.fixture
async def client(log):
    async with stage(log, handlers_of(work=work), CHAIN, SLEEPY) as client:
        yield client


async def finished(client, *args, **kwargs):
    run = await client.start(*args, **kwargs)
    return await run.result(timeout=HANG)


# --- results --------------------------------------------------------------------------------------------------


@pytest.mark.rows("R10")
async def test_a_result_holds_what_became_of_every_step(client):
    view = await finished(client, "w", {"n": 1}, id="one", priority=7)
    assert (view.instance_id, view.workflow, view.version, view.status) == ("one", "w", "1", "completed")
    assert (view.output, view.input, view.priority) == (3, {"n": 1}, 7)
    assert {step_id: (step.status, step.output) for step_id, step in view.steps.items()} == {
        "a": ("succeeded", {"n": 2}),
        "b": ("succeeded", {"n": 3}),
    }
    assert 0 < view.started_at <= view.steps["a"].finished_at <= view.finished_at
    assert view.raise_for_status() is view


async def test_a_failure_is_a_result_too_and_an_exception_on_request(client):
    view = await finished(client, "w", {"fail": "b"})
    assert (view.status, view.failed_step, view.error.type) == ("failed", "b", "ValueError")
    with pytest.raises(WorkflowFailedError) as caught:
        view.raise_for_status()
    assert (caught.value.step_id, caught.value.error_type, caught.value.status) == ("b", "ValueError", "failed")


async def test_a_result_that_takes_too_long_is_a_timeout_and_the_instance_goes_on(client):
    run = await client.start("sleepy")
    with pytest.raises(TimeoutError):
        await run.result(timeout=0.05)
    await client.wait(run.id, lambda state: state.status == "running", timeout=HANG)
    await run.cancel()
    assert (await run.result(timeout=HANG)).status == "cancelled"


async def test_the_result_of_what_finished_before_anybody_watched_is_there_at_once(client, open_log):
    view = await finished(client, "w", {"n": 1}, id="one")
    async with client_on(await open_log()) as late:
        assert await late.wait("one", lambda state: not state.live, timeout=HANG) == view
        assert await late.get("one") == view


async def test_many_may_wait_for_the_same_instance(client):
    run = await client.start("sleepy", id="one")
    waiting = [asyncio.ensure_future(client.wait("one", lambda s: not s.live, timeout=HANG)) for _ in range(5)]
    await asyncio.gather(*(client.pause("one"), client.resume("one")))
    await run.cancel()
    assert {view.status for view in await asyncio.gather(*waiting)} == {"cancelled"}


# --- starting -------------------------------------------------------------------------------------------------


async def test_an_unknown_workflow_is_refused_with_those_that_there_are(client):
    with pytest.raises(UnknownWorkflowError) as caught:
        await client.start("nowhere")
    assert "sleepy, w" in str(caught.value)
    with pytest.raises(UnknownWorkflowError, match="'w' version 7"):
        await client.start("w", version="7")


async def test_an_input_that_does_not_fit_its_schema_is_refused(client):
    schema = {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}}
    await client.register(workflow(*steps("a"), name="strict", input_schema=schema))
    with pytest.raises(CommandRejectedError) as caught:
        await client.start("strict", {"n": "one"})
    assert caught.value.code == "invalid_input"
    assert (await finished(client, "strict", {"n": 1})).status == "completed"


async def test_a_payload_that_nobody_could_read_is_refused_at_once(client, log):
    deep = []
    for _ in range(600):
        deep = [deep]
    end = await log.end(COMMANDS, 0)
    with pytest.raises(CommandRejectedError, match="nested"):
        await client.start("w", {"n": deep})
    assert await log.end(COMMANDS, 0) == end


@pytest.mark.rows("R10")
async def test_without_an_engine_a_start_returns_at_once_and_the_next_engine_decides_it(log):
    async with client_on(log) as client:
        await client.register(CHAIN)
        began = time.monotonic()
        run = await client.start("w", {"n": 1}, id="one")
        assert time.monotonic() - began < HANG
        assert (await run.status()).status == "pending"
        waiting = asyncio.ensure_future(run.result())
        async with stage(log, handlers_of(work=work)) as other:
            assert (await waiting).output == 3
            assert (await other.start("w", id="one")).existed


async def test_versions_stay_what_they_were_and_the_newest_is_the_default(client):
    second = CHAIN | {"version": "2", "output": "{{ step_outputs.a.n }}"}
    await client.register(second)
    await client.register(second)  # the same again: nothing happens
    with pytest.raises(DefinitionConflictError):
        await client.register(second | {"description": "other"})
    assert (await finished(client, "w", {"n": 1})).output == 2
    assert (await finished(client, "w", {"n": 1}, version="1")).output == 3
    assert [(d.name, d.version) for d in await client.workflows()] == [("sleepy", "1"), ("w", "1"), ("w", "2")]


async def test_two_clients_on_one_log_see_the_same(client, open_log):
    async with client_on(await open_log()) as other:
        run = await client.start("sleepy", id="one")
        assert (await other.start("sleepy", id="one")).existed
        waiting = asyncio.ensure_future(other.wait("one", lambda state: not state.live, timeout=HANG))
        await other.pause("one")
        assert (await run.status()).status == "paused"
        await client.cancel("one", "enough")
        assert (await waiting).reason == "enough"
        assert await client.history("one") == await other.history("one")


async def test_commands_at_the_same_time_each_get_their_own_answer(client):
    runs = await asyncio.gather(
        *(client.start("w", {"n": number % 10}, id=f"i{number % 10}") for number in range(40))
    )
    assert sum(not run.existed for run in runs) == 10
    results = await asyncio.gather(
        *(client.cancel(f"nobody{number}") for number in range(10)), return_exceptions=True
    )
    assert [error.instance_id for error in results] == [f"nobody{number}" for number in range(10)]


# --- looking --------------------------------------------------------------------------------------------------


@pytest.mark.rows("T5")
async def test_a_history_holds_every_event_in_order(client):
    await finished(client, "w", {"n": 1}, id="one")
    history = await client.history("one")
    assert [(record.sequence, record.type) for record in history] == list(
        enumerate(
            [
                "workflow.started",
                "step.ready",
                "step.succeeded",
                "step.ready",
                "step.succeeded",
                "workflow.completed",
            ],
            1,
        )
    )
    assert all(record.instance_id == "one" and record.at and record.offset >= 0 for record in history)
    with pytest.raises(UnknownInstanceError, match="nobody"):
        await client.history("nobody")


async def test_a_replay_shows_the_instance_right_after_any_event(client):
    end = await finished(client, "w", {"n": 1}, id="one")
    seen = [await client.replay("one", to=sequence) for sequence in range(1, 7)]
    assert [view.sequence for view in seen] == [1, 2, 3, 4, 5, 6]
    assert [view.steps["a"].status for view in seen] == ["pending", "ready", *["succeeded"] * 4]
    assert [view.status for view in seen] == [*["running"] * 5, "completed"]
    assert seen[-1] == end == await client.replay("one")
    with pytest.raises(UnknownInstanceError):
        await client.replay("one", to=0)


@pytest.mark.rows("O6", "R15")
async def test_a_workflow_is_created_started_looked_at_and_cancelled_from_python(client):
    await client.register(workflow({"id": "s", "type": "wait", "config": {"seconds": 600}}, name="ours"))
    run = await client.start("ours", {"n": 1})
    assert (await client.get(run.id)).status == "running"
    page, total = await client.instances(status="running", workflow="ours")
    assert ([row.instance_id for row in page], total) == ([run.id], 1)
    await client.cancel(run.id, "no longer needed")
    assert (await client.get(run.id)).status == "cancelled"
    (figures,) = await client.statistics("ours")
    assert (figures.total, figures.cancelled, figures.running, figures.success_rate) == (1, 1, 0, 0.0)


async def test_instances_are_found_by_what_they_are_and_in_pages(client):
    for number in range(6):
        await finished(client, "w", {"fail": "a" if number % 3 == 0 else ""}, id=f"i{number}", priority=number * 10)
    await client.start("sleepy", id="z")
    await client.start("sleepy", id="p")
    await client.pause("p")

    async def found(**filters):
        page, total = await client.instances(**filters)
        assert total >= len(page)
        return {summary.instance_id for summary in page}

    assert await found(status="failed") == {"i0", "i3"}
    assert await found(status="running") == {"z"}
    assert await found(status="paused") == {"p"}
    assert await found(workflow="sleepy") == {"z", "p"}
    assert await found(priority_min=30) == {"i3", "i4", "i5"}
    assert await found(workflow="w", status="completed", priority_min=20) == {"i2", "i4", "i5"}
    fifth = (await client.get("i4")).started_at
    assert await found(created_after=fifth + 1) <= {"i5", "z", "p"}
    assert await found(created_after=fifth) >= {"i4", "i5", "z", "p"}

    pages = [await client.instances(limit=3)]
    while pages[-1][0].next:
        pages.append(await client.instances(limit=3, cursor=pages[-1][0].next))
    assert [total for _, total in pages] == [8] * 3
    assert [len(page) for page, _ in pages] == [3, 3, 2]
    listed = [summary for page, _ in pages for summary in page]
    assert len({summary.instance_id for summary in listed}) == 8
    assert [s.started_at for s in listed] == sorted((s.started_at for s in listed), reverse=True)


# --- subscribing ----------------------------------------------------------------------------------------------


async def test_a_subscription_gives_the_events_that_its_patterns_name(client, open_log):
    async with client_on(await open_log()) as other:
        heard = {name: [] for name in ("workflow.*", "step.succeeded,workflow.failed", "*")}
        begun = []

        async def listen(name):
            async with other.subscribe(name.split(",")) as events:
                begun.append(name)
                async for record in events:
                    heard[name].append(replace(record, position="", workflow=""))

        listeners = [asyncio.ensure_future(listen(name)) for name in heard]
        await until(lambda: len(begun) == 3)
        await finished(client, "w", {"n": 1}, id="one")
        await finished(client, "w", {"fail": "b"}, id="two")
        history = [*await client.history("one"), *await client.history("two")]
        await until(lambda: len(heard["*"]) == len(history))
        for listener in listeners:
            listener.cancel()
        await asyncio.gather(*listeners, return_exceptions=True)
        assert heard["*"] == history
        kinds = [record.type for record in heard["workflow.*"]]
        assert kinds == ["workflow.started", "workflow.completed", "workflow.started", "workflow.failed"]
        assert [record.type for record in heard["step.succeeded,workflow.failed"]] == [
            *["step.succeeded"] * 3, "workflow.failed",
        ]  # fmt: skip
        assert not other.subscriber._endings, "who has gone is told nothing"


async def test_who_still_waits_when_a_client_closes_is_told(log):
    client_context = client_on(log)
    client = await client_context.__aenter__()
    await client.register(SLEEPY)
    heard = Counter()

    events = client.subscribe()

    async def listen():
        async for record in events:
            heard[record.type] += 1
        return "ended"

    async with running(Engine(log).run()):
        listener = asyncio.ensure_future(listen())
        await until(lambda: events.position)
        run = await client.start("sleepy")
        waiting = asyncio.ensure_future(run.result())
        await until(lambda: heard == {"workflow.started": 1, "step.waiting": 1})
        await client_context.__aexit__(None, None, None)
        assert await listener == "ended"
        with pytest.raises(LogClosedError):
            await waiting


async def test_an_embedded_connection_needs_nothing_else(tmp_path):
    url = f"file:{tmp_path}/deep/down/log.db?synchronous=normal"
    async with connect(url, handlers=handlers_of(work=work)) as client:
        await client.register(CHAIN)
        run = await client.start("w", {"n": 1}, id="one")
        assert (await run.result(timeout=HANG)).output == 3
    async with connect(url, embedded=False, create=False) as client:
        assert (await client.get("one")).output == 3
        assert not await client.engine_is_live()


@pytest.mark.parametrize("value", [float("nan"), {"a": [None, float("inf")]}, {"a": {"b": -float("inf")}}])
async def test_an_input_with_a_number_that_json_cannot_hold_is_refused_and_not_made_null(client, value):
    with pytest.raises(CommandRejectedError, match=r"input.* is -?(nan|inf), which JSON has no number for"):
        await client.start("w", value, id="odd")
    with pytest.raises(UnknownInstanceError):
        await client.get("odd")


class Opaque:
    pass


class Order(pydantic.BaseModel):
    n: int


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"a": [Opaque()]}, "input.a[0] is a tests.client.test_client.Opaque, which is no JSON"),
        ({1: "a", "1": "b"}, "input has two keys that are both"),
        ({"a": 10**5_000}, "input.a is a whole number of too many digits"),
        ({"a": "caf\udce9"}, "input.a holds half of a character"),
    ],
    ids=["object", "keys", "digits", "surrogate"],
)
async def test_an_input_that_json_cannot_hold_is_refused_as_a_result_would_be(client, value, said):
    with pytest.raises(CommandRejectedError) as refused:
        await client.start("w", value, id="odd")
    assert refused.value.message.startswith(said)


async def test_an_input_may_be_whatever_a_result_may_be(client):
    run = await client.start("w", Order(n=2), id="typed")
    assert (await run.result(timeout=HANG)).output == 4
    assert (await client.start("w", Order(n=2), id="typed")).existed


@pytest.mark.parametrize(
    "options", [{"id": ""}, {"id": 5}, {"id": "one", "if_exists": "replace"}], ids=["empty", "number", "if_exists"]
)
async def test_an_id_and_what_to_do_about_it_are_never_guessed(client, options):
    """An empty id would be another instance each time, as without one."""
    with pytest.raises(CommandRejectedError):
        await client.start("w", {"n": 1}, **options)


@pytest.mark.parametrize("queues", ["default", " default, other ", ["default"]], ids=str)
async def test_a_text_names_a_queue_or_several_and_not_its_letters(tmp_path, queues):
    url = f"file:{tmp_path}/log.db?synchronous=normal"
    async with connect(url, handlers=handlers_of(work=work), queues=queues) as client:
        await client.register(CHAIN)
        assert (await (await client.start("w", {"n": 1})).result(timeout=HANG)).output == 3
    assert Handlers("shop, billing.steps").prefixes == ("shop", "billing.steps")
