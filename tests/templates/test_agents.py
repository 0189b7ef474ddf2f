"""Templates in which agents work, from their creation to their output."""

import json

import pytest

from stepwell.schemas.definitions.blueprint import find_blueprint, instantiate
from stepwell.testing.kit import simulate

pytest.importorskip("stepwell.consumers.worker.builtin.files")  # agents' and files' steps

pytestmark = pytest.mark.rows("O3", "O4", "T8")

HANDLERS = "stepwell.templates.handlers"
ITEMS = [{"id": number, "value": number * number} for number in range(1, 6)]


def running(template, params, data, handlers, *, also=None):
    """The instance at its end. ``also`` does what people do meanwhile."""
    definition = instantiate(find_blueprint(template), params)

    async def scenario(world):
        await world.register(definition)
        run = await world.start(definition["name"], data, id="it")
        if also is not None:
            await also(world)
        for _ in range(40):
            found = await run.status()
            if found.status in ("completed", "failed", "paused"):
                return found
            await world.advance(seconds=30)
        raise AssertionError(f"it is {found.status}")

    queues = ["default", *(name.partition(":")[2] for name in handlers)]
    return simulate(scenario, handlers=handlers, modules=[HANDLERS], queues=queues)


def doubling(agent, seen):
    async def work(data):
        seen.append((agent, data["part"], [item["id"] for item in data["items"]]))
        return {"results": [{"value": 2 * item["value"]} for item in data["items"]]}

    return {f"agent_task:{agent}": work}


PARTS = {"worker_agent_1": "north", "worker_agent_2": "middle", "worker_agent_3": "south"}


def test_three_agents_share_the_items_and_the_parts_are_put_together():
    seen = []
    agents = doubling("north", seen) | doubling("middle", seen) | doubling("south", seen)
    done = running("parallel_processing", PARTS, {"items": ITEMS}, agents)
    assert sorted(seen) == [("middle", 2, [3, 4]), ("north", 1, [1, 2]), ("south", 3, [5])]
    assert done.output["complete"] is True
    assert [result["value"] for result in done.output["results"]] == [2, 8, 18, 32, 50]
    assert done.output["sums"] == {"value": 110}


def test_fewer_items_than_agents_leave_agents_without_work():
    seen = []
    agents = doubling("north", seen)
    done = running("parallel_processing", PARTS, {"items": ITEMS[:1]}, agents)
    assert seen == [("north", 1, [1])]
    assert (done.output["complete"], done.output["count"]) == (True, 1)


@pytest.mark.parametrize(("choice", "status"), [("fail", "failed"), ("skip", "completed"), ("pause", "paused")])
def test_a_part_that_fails_its_check_does_what_was_chosen(choice, status):
    async def lazy(_data):
        return {"results": []}

    agents = doubling("north", []) | {"agent_task:middle": lazy} | doubling("south", [])
    ended = running("parallel_processing", {**PARTS, "on_bad_part": choice}, {"items": ITEMS}, agents)
    assert ended.status == status
    if choice == "skip":
        assert (ended.output["complete"], ended.output["count"], ended.output["expected"]) == (False, 3, 5)


def test_a_pipeline_fetches_changes_and_writes_and_a_stage_that_fails_is_tried_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tries = []

    async def fetch(data):
        tries.append(data)
        if len(tries) == 1:
            raise ConnectionError("the archive is away")
        return {"records": [{"day": data["request"]["day"], "from": data["source"]}, {"day": "x", "from": ""}]}

    async def change(data):
        return {"records": [{**record, "seen": True} for record in data["records"]]}

    done = running(
        "sequential_pipeline",
        {"extraction_agent": "reader", "transformation_agent": "shaper", "source": "archive",
         "output_path": "out/days.json"},
        {"day": "2026-03-01"},
        {"agent_task:reader": fetch, "agent_task:shaper": change},
    )  # fmt: skip
    assert done.status == "completed", done.error
    assert len(tries) == 2
    assert (done.output["extracted"], done.output["loaded"]) == (2, 2)
    written = json.loads((tmp_path / "out/days.json").read_text())
    assert written[0] == {"day": "2026-03-01", "from": "archive", "seen": True}


def triage(**assessment):
    async def assess(_data):
        return assessment

    async def at_once(data):
        return {"urgent": data["request"]["subject"]}

    async def in_turn(data):
        return {"routine": data["assessment"]["score"]}

    return {"agent_task:triage": assess, "agent_task:on-call": at_once, "agent_task:standard": in_turn}


ROUTED = {"assessment_agent": "triage", "priority_agent": "on-call"}


@pytest.mark.parametrize(
    ("score", "path", "result"), [(95, "urgent", {"urgent": "leak"}), (80, "urgent", {"urgent": "leak"}),
                                  (79, "routine", {"routine": 79}), (30, "routine", {"routine": 30}),
                                  (29, "none", None)],
)  # fmt: skip
def test_the_score_chooses_the_way(score, path, result):
    done = running("conditional_workflow", ROUTED, {"subject": "leak"}, triage(score=score, confidence=0.9))
    assert (done.output["path"], done.output["result"], done.output["reviewed"]) == (path, result, False)


@pytest.mark.parametrize(("verb", "path"), [("approve", "urgent"), ("reject", "routine"), ("nobody", "urgent")])
def test_where_the_assessment_is_not_sure_a_person_decides(verb, path):
    async def person(world):
        await world.advance(minutes=1)
        if verb == "nobody":
            await world.advance(hours=2)
        else:
            await getattr(world.client, verb)("it", by="duty-officer")

    unsure = triage(score=50, confidence=0.2)
    done = running("conditional_workflow", ROUTED, {"subject": "leak"}, unsure, also=person)
    assert (done.output["path"], done.output["reviewed"]) == (path, True)


def test_an_assessment_that_is_none_fails_and_says_what_is_missing():
    failed = running("conditional_workflow", ROUTED, {"subject": "leak"}, triage(score=50))
    assert failed.status == "failed"
    assert "confidence" in str(failed.error)
