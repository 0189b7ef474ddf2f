# ruff: noqa: A002, A006 - an input is called input
"""Workflows written in Python: what they are recorded as, that they run, and what is refused with its remedy."""

import dataclasses
import datetime as dt
import inspect
from typing import Any, Literal, NamedTuple, TypedDict

import msgspec
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import stepwell
from stepwell import BuildError, DefinitionError, steps
from stepwell.builder import Reference
from stepwell.consumers.worker.handlers import Handlers, registered
from stepwell.core.plan.gate_config import read_child, read_gate
from stepwell.errors import HandlerError
from stepwell.language import compile_plan, load_definition
from stepwell.schemas.definitions.model import Definition, Step, encode_definition, hash_definition
from stepwell.step_types.table import BUILT_IN
from stepwell.testing import simulate
from tests.builder.typed_good import Order, Reservation, charge, notify, order, reserve, tested_alone

pytestmark = [pytest.mark.rows("R1", "R2", "R10")]


@stepwell.step
def load(source: str = "here") -> dict[str, Any]:
    return {"rows": [1, 2, 3], "from": source}


@stepwell.step
def total(rows: list[int], more: int = 0) -> int:
    return sum(rows) + more


@stepwell.step
def say(text: Any) -> Any:
    return text


@stepwell.step
def fail(message: str) -> str:
    raise ValueError(message)


def built(function):
    """The steps of a workflow function, as plain data by id."""
    definition = stepwell.workflow("w", version="1")(function).definition
    compile_plan(definition)
    return {step["id"]: step for step in msgspec.json.decode(encode_definition(definition))["steps"]}


# --- what is recorded -------------------------------------------------------------------------------------------


def test_what_is_passed_becomes_templates_and_dependencies():
    found = built(lambda input: total(load(input.place)["rows"], more=input.more))
    assert found["load"] == {
        "id": "load", "handler": "tests.builder.test_builder.load", "input": {"source": "{{ input.place }}"},
    }  # fmt: skip
    assert found["total"]["depends_on"] == ["load"]
    assert found["total"]["input"] == {"rows": "{{ step_outputs.load.rows }}", "more": "{{ input.more }}"}


def test_the_same_function_twice_gets_ids_of_its_own_and_loops_over_what_is_known_fan_out():
    def fan_out(input):
        parts = [total(rows) for rows in ([1], [2], [3])]
        named = total.using(id="all")([4])
        return say([*parts, named])

    found = built(fan_out)
    assert list(found) == ["total", "total_2", "total_3", "all", "say"]
    assert found["say"]["depends_on"] == ["total", "total_2", "total_3", "all"]
    assert compile_plan(stepwell.workflow("w")(fan_out).definition).batches[0] == (
        "total",
        "total_2",
        "total_3",
        "all",
    )


def test_options_of_a_function_hold_for_each_of_its_steps_and_using_changes_one():
    found = built(
        lambda input: charge.using(id="second", retry=5, queue="money", label="Pay")(reserve(input), order=input)
    )
    assert found["reserve"]["checkpoint"] == "reserved"
    assert found["reserve"]["compensate"] == {
        "handler": "tests.builder.typed_good.release", "input": {"reservation": "{{ output }}"},
    }  # fmt: skip
    assert found["second"]["retry"] == {"max_attempts": 5}
    assert (found["second"]["timeout_seconds"], found["second"]["queue"], found["second"]["name"]) == (
        10,
        "money",
        "Pay",
    )
    assert charge.options["retry"] == stepwell.Retry(max_attempts=3)


def test_conditions_are_comparisons_of_results_and_nest():
    def careful(input):
        found = load()
        with stepwell.when(found["rows"][0] > 0):
            with stepwell.unless(input.quiet):
                say("both")
            say.using(condition=(input.a == "x") | ~input.b)("three")
        say.using(condition="len(step_outputs.load.rows) > 2", id="text")("by text")
        stepwell.steps.condition_check(input.a != None)  # noqa: E711 - to be recorded
        with stepwell.when(found["ready"]):
            say.using(id="truth")("truth")

    found = built(careful)
    assert found["say"]["condition"] == "(step_outputs.load.rows[0] > 0) and (not (input.quiet))"
    assert found["say_2"]["condition"] == "(step_outputs.load.rows[0] > 0) and ((input.a == 'x') or (not input.b))"
    assert found["text"]["condition"] == "len(step_outputs.load.rows) > 2"
    assert found["condition_check"]["config"] == {"condition": "input.a != None"}
    assert found["truth"]["condition"] == "step_outputs.load.ready"
    assert all(found[step]["depends_on"] == ["load"] for step in ("say", "say_2", "text", "truth"))


def test_texts_with_results_in_them_are_templates_and_ids_with_dashes_stand_in_brackets():
    def texts(input):
        found = load.using(id="load-it")()
        return say(f"{found['rows']} for {input.name}, {input!s}")

    step = built(texts)["say"]
    assert step["input"]["text"] == "{{ step_outputs['load-it'].rows }} for {{ input.name }}, {{ input }}"
    assert step["depends_on"] == ["load-it"]


def test_fields_stand_under_the_names_that_they_have_as_json():
    class Point(NamedTuple):
        x: int
        y: int

    class Row(msgspec.Struct, array_like=True, tag="row"):
        first: str
        point: Point

    class Extra(TypedDict):
        row: Row

    @dataclasses.dataclass
    class Result:
        rows: list[Row]
        extra: Extra | None
        reserved: Reservation

    result = Reference("r", Result)
    assert str(result.rows[2].first) == "{{ r.rows[2][1] }}"
    assert str(result.rows[1:3][0].point.y) == "{{ r.rows[1:3][0][2][1] }}"
    assert str(result.extra["row"].first) == "{{ r.extra.row[1] }}"
    assert str(result.reserved.item_id) == "{{ r.reserved.itemId }}"
    assert str(result.reserved.order.gift) == "{{ r.reserved.order.gift }}"
    assert str(Reference("r")["class"]["a b"][0]) == "{{ r['class']['a b'][0] }}"
    assert str(Reference("r")[Reference("input.key")].x) == "{{ r[input.key].x }}"


def test_several_parameters_are_keys_of_the_input_and_defaults_are_kept():
    def several(name, limit=3):
        return say([name, limit])

    assert built(several)["say"]["input"]["text"] == [
        "{{ input.name }}", "{{ input.limit if 'limit' in input else 3 }}",
    ]  # fmt: skip


def test_what_is_returned_is_the_output_and_the_docstring_the_description():
    @stepwell.workflow
    def described(input: Order) -> dict[str, Any]:
        """Counts rows.

        And more that nobody needs in a list.
        """
        found = load()
        return {"rows": found["rows"], "of": [input.id, 7]}

    assert described.definition.name == "described"
    assert described.definition.description == "Counts rows."
    assert described.definition.output == {"rows": "{{ step_outputs.load.rows }}", "of": ["{{ input.id }}", 7]}
    assert len(described.definition.version) == 8, "made from the content"


def test_arguments_may_be_structs_that_hold_results():
    made = built(lambda input: charge(reserve(Order(input.id, 2.5)), order=input))
    assert made["reserve"]["input"] == {"order": {"id": "{{ input.id }}", "total": 2.5, "gift": False}}


def test_error_handlers_and_built_in_types():
    def everything(input):
        fetched = steps.http_request("https://example.com/rates", query={"base": input.currency}, retry=2)
        stepwell.on_error(fetched, say(stepwell.expression("error.message")), then="continue")
        answer = steps.llm(f"Sum up {input.text}", model="small", temperature=0)
        gate = steps.approval_gate(
            "Send it?", approvers=["ann"], required=1, deadline_seconds=60, on_timeout="reject"
        )
        with stepwell.when(gate.approved):
            steps.file_operation("write", "out.txt", content=answer.response)
        tidy = steps.process(fetched.response, [{"type": "select", "fields": ["a"]}])
        child = steps.workflow_trigger("other", {"rows": tidy}, version="2")
        steps.wait(5, child.output)
        steps.agent_task("writer", {"text": answer.response}, config={"tone": "dry"})
        steps.output({"answer": answer.response, "child": child.instance_id})

    definition = stepwell.workflow("w", version="1")(everything).definition
    compile_plan(definition)
    made = {step.id: step for step in definition.steps}
    assert msgspec.to_builtins(definition.error_handlers) == {"http_request": {"step": "say", "then": "continue"}}
    assert made["http_request"].config == {
        "url": "https://example.com/rates", "query": {"base": "{{ input.currency }}"},
    }  # fmt: skip
    assert made["llm"].config == {"prompt": "Sum up {{ input.text }}", "model": "small", "temperature": 0}
    assert made["file_operation"].condition == "step_outputs.approval_gate.approved"
    assert set(made["file_operation"].depends_on) == {"llm", "approval_gate"}
    assert made["approval_gate"].config["timeout_seconds"] == 60
    assert made["workflow_trigger"].config["input"] == {"rows": "{{ step_outputs.process }}"}
    assert made["wait"].input == "{{ step_outputs.workflow_trigger.output }}"
    assert (made["agent_task"].queue, made["agent_task"].config["tone"]) == ("writer", "dry")


def test_a_workflow_called_in_another_one_is_a_child():
    made = built(lambda input: say(order(input.order)))
    assert made["order"]["type"] == "workflow_trigger"
    assert made["order"]["config"] == {"workflow": "typed-order", "version": "1", "input": "{{ input.order }}"}
    assert made["say"]["input"] == {"text": "{{ step_outputs.order.output }}"}


# --- what is built is the canonical form --------------------------------------------------------------------------


def test_what_is_built_reads_back_from_yaml_as_the_same_definition():
    text = order.to_yaml()
    again = load_definition(text)
    assert again == order.definition
    assert hash_definition(again) == hash_definition(order.definition)
    assert stepwell.to_yaml(order.definition) == text
    assert list(yaml.safe_load(text))[:3] == ["name", "version", "description"]


words = st.text(st.characters(exclude_categories=("Cs",)), max_size=20) | st.sampled_from(
    [
        "yes",
        "no",
        "on",
        "1",
        "1.0",
        "null",
        "~",
        "2026-01-01",
        "1:30",
        "=",
        "<<",
        "0x1f",
        "1e3",
        "- a",
        "a: b",
        "# x",
        "",
    ]
)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | words,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)


@given(words.filter(bool), values, st.dictionaries(words, values, max_size=3))
def test_any_definition_survives_yaml_to_the_last_bit_of_its_hash(name, data, config):
    made = Definition(name, (Step("a", handler="h", input=data, config=config, description=name),), version=name)
    assert hash_definition(load_definition(stepwell.to_yaml(made))) == hash_definition(made)


# --- it runs ---------------------------------------------------------------------------------------------------------


def test_a_workflow_written_in_python_runs_with_typed_values_in_its_steps():
    async def scenario(world):
        await world.register(order)
        rich = await world.run("typed-order", {"id": 1, "total": 200, "gift": True})
        poor = await world.run("typed-order", {"id": 2, "total": 5})
        return rich, poor

    rich, poor = simulate(scenario)
    assert rich.raise_for_status().output == "charge-item-1: item-1, card, thanks"
    assert rich.steps["gift_note"].output == "charge-item-1: item-1, a gift for 1"
    assert (poor.status, poor.steps["gift_note"].status) == ("completed", "skipped")


def test_an_input_that_does_not_fit_a_parameter_fails_the_step_and_names_it():
    async def scenario(world):
        await world.register(stepwell.workflow("w")(lambda input: total(input.rows)))
        return await world.run("w", {"rows": [1, "x"]}), await world.run("w", {"rows": ["1", 2]})

    wrong, lenient = simulate(scenario)
    assert (wrong.error.type, wrong.error.message) == (
        "ValidationError",
        "Expected `int`, got `str` - at `$.rows[1]`",
    )
    assert lenient.output == 3


def test_an_error_handler_deals_with_a_failure():
    def brave(input):
        broken = fail("it rains")
        stepwell.on_error(broken, say(stepwell.expression("error.message")), then="continue")
        return stepwell.expression("step_outputs.say")

    async def scenario(world):
        await world.register(stepwell.workflow("w")(brave))
        return await world.run("w")

    assert simulate(scenario).output == "it rains"


async def test_outside_of_a_workflow_a_step_is_the_function_that_it_was():
    assert total([1, 2], more=3) == 6
    assert (await reserve(Order(1, 2.0))).item_id == "item-1"
    assert await tested_alone() == 2.0
    assert notify.name == "shop.tell"
    with pytest.raises(ValueError, match="it rains"):
        fail("it rains")


def test_workers_find_step_functions_by_their_registered_name_and_by_their_path():
    assert "tests.builder.test_builder.total" in registered.names()
    elsewhere = Handlers(["tests.builder"])
    handler = elsewhere.find("python", "tests.builder.test_builder.total")
    assert handler.function(*handler.arguments({"rows": ["1", 2], "ignored": True}, None)) == 3


def test_keyword_only_parameters_and_defaults_are_filled_by_name():
    @stepwell.step(name="test.mixed")
    def mixed(ctx: stepwell.StepContext, a: int, *, b: str = "b", c: list[int]) -> Any:
        return [ctx, a, b, c]

    handler = registered.find("python", "test.mixed")
    assert handler.function(*handler.arguments({"c": ["1"], "a": "2"}, "context")) == ["context", 2, "b", [1]]
    for data, message in [
        ({"a": 1}, "Nothing is given for the parameter c"),
        ([1], "Expected a mapping with a, c, got `list`"),
        ({"a": 1, "c": 2}, r"Expected `array`, got `int` - at `\$.c`"),
    ]:
        with pytest.raises(msgspec.ValidationError, match=message):
            handler.arguments(data, None)


# --- what is refused -------------------------------------------------------------------------------------------------


def _if(input):
    if load()["rows"]:
        say("never")


def _compared_in_if(input):
    if load()["count"] > 3:
        say("never")


REFUSED = {
    "if": (_if, "cannot be used in if", "stepwell.when"),
    "a comparison in if": (_compared_in_if, "cannot be used in if", "condition="),
    "and": (lambda input: say(input.a and input.b), "cannot be used in if", "&"),
    "not": (lambda input: say(not input.a), "cannot be used in if", "stepwell.unless"),
    "arithmetic": (lambda input: say(input.total * 1.2), "cannot be computed with", "Compute it in a step"),
    "reversed arithmetic": (lambda input: say(1 + input.total), "cannot be computed with", "stepwell.expression"),
    "minus": (lambda input: say(-input.total), "cannot be computed with", "Compute it in a step"),
    "round": (lambda input: say(round(input.total)), "cannot be computed with", "Compute it in a step"),
    "a loop": (lambda input: [say(row) for row in load()["rows"]], "cannot be looped over", "Pass it whole"),
    "len": (lambda input: say(len(load()["rows"])), "has no length yet", "Compute it in a step"),
    "in": (lambda input: say("a" in input.names), "cannot be searched", "stepwell.expression"),
    "a method": (lambda input: say(input.name.upper()), "has no methods to call", "Compute it in a step"),
    "a format": (lambda input: say(f"{input.total:.2f}"), "cannot be formatted", "Compute it in a step"),
    "an assignment": (lambda input: setattr(input, "a", 1), "cannot be changed", "from a step"),
    "an unknown field": (lambda input: say(reserve(input).item), "has no field 'item', did you mean", "fields"),
    "wrong arguments": (lambda input: total(), "missing a required argument: 'rows'", "rows, more"),
    "an argument too many": (lambda input: total([1], extra=2), "unexpected keyword argument 'extra'", "rows, more"),
    "no JSON": (lambda input: say(object()), "has no form as JSON", "JSON-able"),
    "a condition known now": (lambda input: say.using(condition=True)("x"), "known now", "plain if"),
    "after what is no step": (lambda input: say.using(after=[input])("x"), "is no step's result", "has returned"),
    "an id twice": (lambda input: [say.using(id="a")(1), say.using(id="a")(2)], "given to two steps", "unique"),
    "an expression that is none": (lambda input: say(stepwell.expression("a +")), "invalid syntax", ""),
    "a compensation with two parameters": (
        lambda input: say.using(compensate=charge)("x"), "it takes reservation, order", "Compensation",
    ),
    "a compensation that is a number": (lambda input: say.using(compensate=3)("x"), "cannot undo a step", "compensate"),
    "a bug of its own": (lambda input: say({}["a"]), "KeyError: 'a'", ""),
}  # fmt: skip


@pytest.mark.parametrize(("function", "message", "remedy"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_recorded_is_refused_with_its_remedy_and_its_line(function, message, remedy):
    with pytest.raises(BuildError) as caught:
        stepwell.workflow("w")(function).definition  # noqa: B018
    assert message in caught.value.message
    assert remedy in caught.value.remedy
    assert caught.value.place == f"workflow 'w', line {caught.value.place.rpartition(' ')[2]}"


def test_an_async_workflow_function_is_refused():
    @stepwell.workflow
    async def waits(input):
        return say(input)

    with pytest.raises(BuildError, match="async def"):
        waits.definition  # noqa: B018


def test_what_belongs_into_a_workflow_is_refused_elsewhere():
    for use in (lambda: steps.wait(1), lambda: stepwell.on_error(1, 2), lambda: stepwell.when("a").__enter__()):
        with pytest.raises(BuildError, match="belongs into a workflow function"):
            use()


def test_a_workflow_without_steps_and_a_wrong_option_are_errors_of_the_definition():
    with pytest.raises(DefinitionError, match="at least one"):
        compile_plan(stepwell.workflow("w")(lambda input: None).definition)
    with pytest.raises(DefinitionError, match="expected a number above 0"):
        stepwell.workflow("w")(lambda input: say.using(timeout_seconds=0)("x")).definition  # noqa: B018


def test_functions_that_cannot_be_steps_are_refused_when_they_are_made():
    with pytest.raises(HandlerError, match=r"takes \*rows"):

        @stepwell.step
        def many(*rows: int) -> None: ...

    with pytest.raises(HandlerError, match="registered twice"):

        @stepwell.step(name="shop.tell")
        def another(text: str) -> None: ...


# --- workflows of workflows, and their inputs ---------------------------------------------------------------------------


def test_a_single_parameter_is_the_whole_input_where_it_is_a_mapping_and_a_key_where_it_is_a_value():
    def taking(annotation):
        def function(given):
            return say(given)

        function.__annotations__["given"] = annotation
        return built(function)["say"]["input"]["text"]

    for annotation in (Order, dict[str, int], Order | None, Any):
        assert taking(annotation) == "{{ input }}", annotation
    for annotation in (int, list[Order], str | None, Literal["a", "b"], int | str, dt.date, tuple[int, ...]):
        assert taking(annotation) == "{{ input.given }}", annotation


def test_workflows_that_are_called_are_registered_along_and_get_their_input_as_they_take_it():
    @stepwell.workflow("twice", version="1")
    def twice(number: int) -> int:
        return total([number, number])

    @stepwell.workflow("four-times", version="1")
    def four_times(number: int) -> int:
        return twice(twice(number))

    assert four_times.children == [twice]
    assert four_times.definition.steps[0].config["input"] == {"number": "{{ input.number }}"}

    async def scenario(world):
        await world.register(four_times)
        return await world.run("four-times", {"number": 5})

    assert simulate(scenario).raise_for_status().output == 20


def test_a_workflow_that_calls_itself_is_its_own_child_and_registered_once():
    @stepwell.workflow("down")
    def down(number: int) -> Any:
        with stepwell.when(stepwell.expression("input.number") > 0):
            return down(number)

    assert down.children == []
    assert down.definition.steps[0].config["workflow"] == "down"


def test_every_step_type_can_be_built_and_takes_every_setting():
    """``python`` is what step functions are for."""
    for kind in BUILT_IN.names:
        if kind != "python":
            assert "options" in inspect.signature(getattr(steps, kind)).parameters, kind


def test_gates_and_children_take_all_their_settings_under_their_names():
    def build(input):
        steps.approval_gate(
            "Ship?", message="m", approvers=["ann"], required=1, deadline_seconds=9.5, on_timeout="escalate",
            escalate_to=[["bob"], ["cai"]], on_reject="continue",
        )  # fmt: skip
        steps.workflow_trigger(
            "other", {"a": input.a}, version="3", wait=False, on_child_failure="continue", priority=7
        )

    made = built(build)
    gate, child = (made[kind]["config"] for kind in ("approval_gate", "workflow_trigger"))
    assert (set(gate), set(child)) == (set(BUILT_IN["approval_gate"].keys), set(BUILT_IN["workflow_trigger"].keys))
    assert msgspec.json.decode(msgspec.json.encode(read_gate(gate))) == gate
    assert msgspec.json.decode(msgspec.json.encode(read_child(child))) == child


def test_a_gate_that_is_built_is_decided_and_tells_the_rest_of_the_workflow_how():
    @stepwell.workflow("asks")
    def asks(input: Any) -> str:
        gate = steps.approval_gate("Go on?", approvers=["ann"], on_reject="continue")
        with stepwell.unless(gate.approved):
            return say(f"no, says {gate.by}: {gate.comment}")

    async def scenario(world):
        await world.register(asks)
        run = await world.start("asks", id="a")
        await world.advance(days=1)
        await world.client.reject("a", by="ann", comment="too early")
        return await run.result()

    assert simulate(scenario).raise_for_status().output == "no, says ann: too early"


def test_a_field_that_the_input_lacks_has_its_default_and_results_have_theirs_where_they_leave_them_out():
    class Where(msgspec.Struct, rename="camel"):
        post_code: str = "?"

    @dataclasses.dataclass
    class Sent:
        to: Where
        tags: list[str] = dataclasses.field(default_factory=list)
        note: str = "none"

    class Slim(msgspec.Struct, omit_defaults=True):
        size: int = 4
        made: Any = msgspec.field(default_factory=lambda: 7)

    @stepwell.step(name="test.slim")
    def slim() -> Slim:
        return Slim()

    @stepwell.workflow("lenient")
    def lenient(sent: Sent) -> Any:
        with stepwell.when(sent.note == "none"):
            return [sent.to.post_code, sent.tags, sent.note, slim().size]

    assert str(Reference("input", Slim).made) == "{{ input.made }}", "a default that is made anew each time"
    assert str(Reference("step_outputs.a", Sent).note) == "{{ step_outputs.a.note }}", "what steps return is complete"

    async def scenario(world):
        await world.register(lenient)
        full = {"to": {"postCode": "N1"}, "tags": ["x"], "note": "none"}
        return [(await world.run("lenient", given)).raise_for_status().output for given in (full, {"to": {}})]

    assert simulate(scenario) == [["N1", ["x"], "none", 4], ["?", [], "none", 4]]


def test_steps_and_workflows_say_what_follows_a_skip():
    @stepwell.workflow("w", version="1", when_skipped="skip")
    def refresh(changed: bool):
        loaded = load.using(condition="input.changed")()
        return say.using(when_skipped="run")(loaded)

    definition = refresh.definition
    assert definition.when_skipped == "skip"
    assert [one.when_skipped for one in definition.steps] == [None, "run"]
