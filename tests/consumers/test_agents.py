"""The step ``agent_task``: whoever is registered for an agent does its tasks, on the agent's queue."""

import pytest

from stepwell.client.connect import connect
from stepwell.consumers.worker.handlers import Handlers
from stepwell.errors import HandlerError
from tests.workbench import client_on, handlers_of, outcome, running, stage, until, workflow

pytestmark = pytest.mark.rows("O2")


async def writer(data, ctx):
    return {"by": "writer", "what": ctx.config["description"], "about": data["topic"]}


def anybody(data, ctx):
    return {"by": "anybody", "agent": ctx.config["agent_id"]}


def task(step_id, agent, **more):
    return {"id": step_id, "type": "agent_task", "queue": agent, "config": {"agent_id": agent, **more}}


DEFINITION = workflow(task("draft", "writer", description="Write it"), task("check", "critic"))
DONE = {"draft": {"by": "writer", "what": "Write it", "about": "rain"}, "check": {"by": "anybody", "agent": "critic"}}


def agents():
    made = handlers_of(agent_task=anybody)
    made.register("agent_task:writer", writer)
    return made


async def test_an_agents_own_handler_comes_before_the_one_of_all(log):
    async with stage(log, agents(), DEFINITION, queues=["writer", "critic"]) as client:
        ended = await outcome(client, {"topic": "rain"})
    assert ended.output == DONE


async def test_a_step_is_left_to_the_worker_that_has_the_agent(log):
    """Two workers of one queue; only one of them has the agent's handler, under its own or the common name."""
    from stepwell.consumers.worker.worker import Worker

    definition = workflow(task("draft", "writer", description="x"), task("check", "critic"))
    for step in definition["steps"]:
        step["queue"] = "default"
    other = Worker(log, handlers_of(unrelated=anybody), name="other")
    async with stage(log, agents(), definition) as client, running(other.run()):
        ended = await outcome(client, {"topic": "rain"})
    assert ended.status == "completed"


async def test_where_nobody_is_registered_the_error_says_how_to(log):
    handlers = handlers_of()
    with pytest.raises(HandlerError) as caught:
        handlers.find("agent_task", "agent_task:writer")
    assert '@stepwell.handler("agent_task:writer")' in caught.value.remedy
    assert '@stepwell.handler("agent_task")' in caught.value.remedy
    handlers.register("agent_task:writer", writer)
    with pytest.raises(HandlerError, match='did you mean "agent_task:writer"'):
        handlers.find("agent_task", "agent_task:wrter")
    assert handlers.knows("python", "agent_task:writer")
    assert not handlers.knows("python", "agent_task:other")
    assert not handlers.knows("agent_task:other", "")


async def test_a_task_of_nobody_is_handed_back_and_becomes_an_incident_that_tells_why(log):
    async with stage(log, handlers_of(), workflow(task("draft", "writer")), queues=["writer"]) as client:
        run = await client.start("w", {})

        async def returned():
            return [e for e in await client.history(run.id) if e.type == "step.returned"]

        (event,) = (await until(returned))[:1]
    assert 'nobody does the tasks of the agent "writer"' in event.event.reason


async def test_an_embedded_worker_serves_the_queues_of_its_agents_and_those_that_are_named(tmp_path):
    mine = Handlers()
    mine.register("agent_task:writer", writer)
    mine.register("agent_task", anybody)
    async with connect(f"file:{tmp_path / 'log.db'}", handlers=mine, queues=["critic"]) as client:
        await client.register(DEFINITION)
        assert (await outcome(client, {"topic": "rain"})).output == DONE


async def test_without_a_worker_of_its_queue_a_task_waits(log):
    async with stage(log, agents(), DEFINITION, queues=["writer"]) as client, client_on(log) as other:
        run = await client.start("w", {"topic": "rain"})
        await until(lambda: _succeeded(other, run.id))
        view = await other.get(run.id)
    assert (view.status, view.steps["check"].status) == ("running", "ready")


async def _succeeded(client, instance_id):
    steps = (await client.get(instance_id)).steps
    return "draft" in steps and steps["draft"].status == "succeeded"
