"""The templates that come with Stepwell: each can be created, compiles, and the parts that need nobody run."""

import json
import tomllib
from email import message_from_bytes
from importlib import resources
from pathlib import Path

import pytest

from stepwell.errors import DefinitionError
from stepwell.language import compile_plan, load_definition
from stepwell.schemas.definitions.blueprint import find_blueprint, find_blueprints, instantiate, read_blueprint
from stepwell.templates import handlers as shipped
from stepwell.testing.kit import simulate

pytestmark = pytest.mark.rows("O3", "T8")

NAMES = [
    "approval_chain", "parallel_processing", "sequential_pipeline", "conditional_workflow", "order_processing",
    "human_approval", "sample",
]  # fmt: skip
SAMPLES = {
    name: {key: parameter.sample for key, parameter in find_blueprint(name).parameters.items()} for name in NAMES
}
HANDLERS = "stepwell.templates.handlers"


class Ctx:
    """What a handler asks its context for."""

    instance_id = "order-1"
    idempotency_key = "order-1:charge:4"

    def __init__(self, **config):
        self.config = config


def plan_of(name, **params):
    return compile_plan(load_definition(instantiate(find_blueprint(name), {**SAMPLES[name], **params})))


def test_these_are_shipped():
    assert set(NAMES) == set(find_blueprints(Path("nowhere")))


@pytest.mark.parametrize("name", NAMES)
def test_each_compiles_with_sample_parameters_and_takes_its_sample_input(name):
    blueprint = find_blueprint(name)
    plan = plan_of(name)
    assert plan.input_problem(blueprint.input_example) == ""
    assert f"template:{name}@{blueprint.version}" in plan.definition.tags
    assert "${" not in str(plan.definition)
    for key, parameter in blueprint.parameters.items():
        assert parameter.description, key


@pytest.mark.parametrize("name", NAMES)
def test_each_stays_the_same_definition_apart_from_its_texts_whatever_texts_are_given(name):
    nasty = "{{ input.x }}' \"${y}\n- id: evil\n}}"
    blueprint = find_blueprint(name)
    # An agent's name is a queue's, and those have no line breaks.
    texts = {
        key: nasty.replace("\n", " ") if key in blueprint.agents else nasty for key, parameter in blueprint.parameters.items()
        if parameter.type == "string" and not parameter.choices
    }  # fmt: skip
    one, other = plan_of(name), plan_of(name, **texts)
    assert one.batches == other.batches
    assert [step.type for step in one.definition.steps] == [step.type for step in other.definition.steps]


@pytest.mark.parametrize("name", NAMES)
def test_every_handler_that_a_template_names_is_shipped(name):
    for handler in plan_of(name).handlers:
        module, _, function = handler.rpartition(".")
        assert module == HANDLERS
        assert callable(getattr(shipped, function))


def test_the_parameters_of_the_command_lines_are_all_that_is_needed():
    needed = {
        name: [key for key, p in blueprint.parameters.items() if p.is_required]
        for name, blueprint in find_blueprints(Path("nowhere")).items()
    }
    assert needed == {
        "approval_chain": ["level1_approver", "level2_approver", "request_title"],
        "parallel_processing": ["worker_agent_1", "worker_agent_2", "worker_agent_3"],
        "sequential_pipeline": ["extraction_agent", "transformation_agent"],
        "conditional_workflow": ["assessment_agent", "priority_agent"],
        "order_processing": [], "human_approval": [], "sample": [],
    }  # fmt: skip


def test_agents_get_steps_in_queues_of_their_own():
    steps = {step.id: step for step in plan_of("parallel_processing").definition.steps}
    assert [steps[f"work_{n}"].queue for n in (1, 2, 3)] == ["north", "middle", "south"]
    assert steps["work_2"].config["agent_id"] == "middle"


def test_the_pipeline_runs_one_by_one_with_checkpoints_and_retries():
    steps = plan_of("sequential_pipeline", max_attempts=4).definition.steps
    assert {step.mode for step in steps} == {"sequential"}
    assert [step.checkpoint for step in steps if step.checkpoint] == ["extracted", "transformed", "loaded"]
    assert [step.retry.max_attempts for step in steps if step.type == "agent_task"] == [4, 4]


def test_the_sample_runs_with_nothing_but_built_in_steps():
    definition = instantiate(find_blueprint("sample"), {"top": 1})

    async def scenario(world):
        await world.register(definition)
        by_default = await world.run("sample", {})
        own = [{"city": "x", "product": "p", "amount": 9}]
        return by_default.output, (await world.run("sample", {"rows": own})).output

    by_default, own = simulate(scenario)
    assert by_default == {
        "rows_used": 3,
        "totals": [{"city": "Ulm", "total": 7, "rows": 2}, {"city": "Bern", "total": 5, "rows": 1}],
        "top": [{"city": "Bern", "product": "tea", "amount": 5}],
    }
    assert own["totals"] == [{"city": "X", "total": 9, "rows": 1}]


def test_a_small_order_goes_through_and_leaves_its_documents(tmp_path):
    blueprint = find_blueprint("order_processing")
    # No person is needed below the amount; the gate is left out because its condition is false.
    definition = instantiate(blueprint, {"outbox": str(tmp_path), "approval_from": 1e9})

    async def scenario(world):
        await world.register(definition)
        return await world.run(definition["name"], blueprint.input_example)

    done = simulate(scenario, modules=[HANDLERS])
    assert done.status == "completed", done.error
    assert done.output["total"] == 1539.8
    assert done.output["approved_by"] is None
    written = sorted(path.name for path in (tmp_path / "A-2041").iterdir())
    assert written == ["confirmation.eml", "payment-request.json", "picking-list.json", "text-message.json"]
    request = json.loads((tmp_path / "A-2041/payment-request.json").read_text())["document"]
    assert request["amount"] == 1539.8
    assert request["method"]["reference"] == "card ending in 0042"
    mail = message_from_bytes((tmp_path / "A-2041/confirmation.eml").read_bytes())
    assert (mail["To"], mail["Subject"]) == ("ines@example.org", "Your order A-2041")


def test_an_order_of_what_is_not_in_stock_fails_without_a_retry_and_writes_nothing(tmp_path):
    blueprint = find_blueprint("order_processing")
    definition = instantiate(blueprint, {"outbox": str(tmp_path), "approval_from": 1e9})
    order = {**blueprint.input_example, "items": [{"product_id": "PROD-3", "quantity": 13}]}

    async def scenario(world):
        await world.register(definition)
        return await world.start(definition["name"], order, id="o")

    async def whole(world):
        run = await scenario(world)
        await world.advance(minutes=1)
        return await run.status()

    failed = simulate(whole, modules=[HANDLERS])
    assert failed.status == "failed"
    assert "PROD-3: 13 ordered, 12 there" in str(failed.error)
    assert list(tmp_path.iterdir()) == []


def test_an_expense_within_its_limit_passes_by_itself(tmp_path):
    definition = instantiate(find_blueprint("human_approval"), {"outbox": str(tmp_path)})
    expense = {"expense_id": "E-1", "employee": "jon", "category": "meals", "amount": 41.5}

    async def scenario(world):
        await world.register(definition)
        return await world.run(definition["name"], expense)

    done = simulate(scenario, modules=[HANDLERS])
    assert done.output["approved"] is True
    assert done.output["by_itself"] is True
    assert json.loads((tmp_path / "expenses/E-1.json").read_text())["document"]["policy"]["limit"] == 60


def test_parts_are_checked_one_by_one_and_joined():
    split = shipped.split_items({"items": [1, 2, 3, 4, 5]}, Ctx(parts=3))["parts"]
    assert split == [[1, 2], [3, 4], [5]]
    checked = [
        shipped.check_part({"part": n, "items": part, "outcome": {"results": [{"n": i} for i in part]}}, Ctx(least_share=1))
        for n, part in enumerate(split, start=1)
    ]  # fmt: skip
    joined = shipped.join_parts({"expected": 5, "parts": [checked[0], None, checked[2]]})
    assert (joined["count"], joined["complete"], joined["sums"]) == (3, False, {"n": 8})
    for outcome, words in (
        (None, "no list"),
        ({"results": []}, "0 results for 2"),
        ({"results": [1, 2, 3]}, "3 results"),
    ):
        with pytest.raises(shipped.ValidationError, match=words):
            shipped.check_part({"part": 1, "items": [1, 2], "outcome": outcome}, Ctx(least_share=0.5))


def test_a_document_is_withdrawn_only_while_it_is_what_was_written(tmp_path):
    ctx = Ctx(directory=str(tmp_path), folder="A-1", name="note")
    first = shipped.write_document({"a": 1}, ctx)
    assert shipped.write_document({"a": 1}, ctx) == first
    assert shipped.withdraw_document(first) == {"path": first["path"], "withdrawn": True}
    assert shipped.withdraw_document(first)["withdrawn"] is False
    shipped.write_document({"a": 2}, ctx)
    assert shipped.withdraw_document(first)["withdrawn"] is False
    assert json.loads(Path(first["path"]).read_text())["document"] == {"a": 2}


@pytest.mark.parametrize("folder", ["..", "a/b", "", "/etc", ".hidden", "a\nb"])
def test_no_order_id_leads_out_of_the_outbox(tmp_path, folder):
    with pytest.raises(shipped.ValidationError):
        shipped.write_document({}, Ctx(directory=str(tmp_path), folder=folder, name="n"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("to", ["", "nobody", "a@b.c\nBcc: everybody@example.org"])
def test_a_mail_has_an_address_and_no_other_headers(tmp_path, to):
    ctx = Ctx(directory=str(tmp_path), folder="f", name="n", sender="orders@example.com")
    with pytest.raises(shipped.ValidationError):
        shipped.write_mail({"to": to, "subject": "s", "text": "t"}, ctx)


def test_all_that_is_wrong_with_a_template_file_is_told():
    text = """
template: t
parameters:
  "a b": {type: string}
  n: {type: integer, default: x, required: true}
agents: {mail: who}
definition: {name: t}
"""
    with pytest.raises(DefinitionError) as caught:
        read_blueprint(text, "t.yaml")
    assert caught.value.problems == [
        "parameters.a b: a parameter's name has letters, digits and underscores",
        "parameters.n.required: says true; a default makes it optional",
        'parameters.n.default: must be a whole number, not "x"',
        "agents.mail: there is no such parameter",
    ]
    for text, words in (
        ("template: t\ndefinition: {}\nparametres: {}", 'unknown key "parametres", did you mean "parameters"?'),
        ("template: t\ndefinition: {}\nparameters: {a: {typ: string}}", 'unknown key "typ", did you mean "type"?'),
        ("template: t", 'missing "definition"'),
        ("name: t", "is no template"),
    ):
        with pytest.raises(DefinitionError, match=words.replace("?", r"\?")):
            read_blueprint(text, "t.yaml")


def test_the_templates_lie_inside_the_package_that_the_wheel_takes_in_whole():
    names = {entry.name for entry in resources.files("stepwell.templates").iterdir()}
    assert {f"{name}.yaml" for name in NAMES} <= names
    settings = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert settings["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"] == ["stepwell"]
