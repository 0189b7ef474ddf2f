"""One meter pays for all that a step, or a workflow's output, makes the engine compute: work, and bytes as JSON."""

import pytest

from stepwell.core.decide.decide import decide
from stepwell.core.decide.decision import Circumstances
from stepwell.core.decide.starting import can_continue
from stepwell.core.expressions.evaluate import compile_expression
from stepwell.core.expressions.meter import MAX_MADE, MAX_WORK, Meter
from stepwell.core.expressions.templates import compile_template
from stepwell.core.expressions.values import Evaluation
from stepwell.errors import ExpressionError, LimitError
from stepwell.language import compile_plan
from stepwell.schemas.definitions.model import Compensation
from stepwell.schemas.records.commands import CompleteStep, ContinueWorkflow, StartWorkflow
from tests.core.build import started, statuses, step, workflow
from tests.core.model import Known

TEXT = "x" * 900_000
LARGE = {"b": TEXT}
MANY = ["{{ input.b }}"] * 1500


def error_of(engine, step_id="a"):
    error = engine.latest.steps[step_id].error
    assert error.kinds == ("ExpressionError",)
    assert error.type == "LimitError"
    return error.message


# --- What a template makes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "value",
    [
        MANY,
        {str(n): "{{ input }}" for n in range(1500)},
        "{{ [" + ", ".join(["input.b"] * 300) + "] }}",
        ["{{ input.b }} and {{ 'more' }}"] * 1500,
        ["{{ input.b + 'x' }}"] * 1500,
        ["{{ str(input.b) }}"] * 1500,
        ["{{ sorted([input.b]) }}"] * 1500,
        ["{{ {'a': input} }}"] * 1500,
        ["{{ [input.b, input.b][1:] }}"] * 1500,
        ["x {{ input }}"] * 1500,
    ],
)
def test_a_template_that_repeats_what_is_large_is_refused_before_it_is_written(value):
    with pytest.raises(LimitError) as caught:
        compile_template({"l": value}).evaluate({"input": LARGE})
    assert caught.value.limit in (MAX_MADE, 1_000_000, 2_000_000)
    assert caught.value.used > caught.value.limit
    assert caught.value.place.startswith("l")
    assert f"{caught.value.limit:,}" in caught.value.message
    assert caught.value.remedy


def test_all_expressions_of_a_template_pay_from_one_meter():
    one = "{{ len(sorted(input.l)) }}"
    data = {"input": {"l": list(range(90_000))}}
    assert compile_template([one]).evaluate(data) == [90_000]
    with pytest.raises(LimitError, match="units of work"):
        compile_template([one] * 30).evaluate(data)


def test_an_evaluation_that_goes_on_pays_for_each_part_of_each_expression():
    run = Evaluation({"a": 1})
    expression = compile_expression("a + 1 == 2 and a in [1, 2]")
    assert expression.evaluate_in(run)
    once = MAX_WORK - run.left
    assert once >= 10
    for _ in range(9):
        expression.evaluate_in(run)
    assert MAX_WORK - run.left == 10 * once


def test_an_error_of_the_meter_says_what_was_used_and_what_is_allowed():
    meter = Meter(100, 1000)
    meter.spend(40)
    with pytest.raises(LimitError) as caught:
        meter.spend(70)
    assert (caught.value.used, caught.value.limit) == (110, 100)
    assert "110 units of work, 100 are allowed" in str(caught.value)
    assert isinstance(caught.value, ExpressionError)
    with pytest.raises(LimitError, match="1,001 bytes, 1,000 are allowed"):
        Meter(100, 1000).make(1001)


def test_a_value_is_measured_as_often_as_it_is_part_of_another():
    value = [1]
    for _ in range(60):
        value = [value, value]
    with pytest.raises(LimitError):
        Meter().measure(value)
    deep = []
    for _ in range(100_000):
        deep = [deep]
    Meter().measure(deep)


# --- Steps ------------------------------------------------------------------------------------------------------


def test_an_input_that_grows_fails_its_step_and_names_the_place():
    engine = started(step("a", input={"l": MANY}), data=LARGE)
    assert engine.latest.status == "failed"
    assert error_of(engine).startswith("input.l[9]: there is too much data: 9,0")


def test_a_config_that_grows_fails_its_step_and_names_the_place():
    engine = started(step("a", input={}, config={"deep": {"l": MANY}}), data=LARGE)
    assert error_of(engine).startswith("config.deep.l[9]: there is too much data")


def test_condition_input_and_config_of_a_step_pay_from_one_meter():
    part = ["{{ input.b }}"] * 5
    engine = started(step("a", input={"l": part}, config={"l": part}), data=LARGE)
    assert error_of(engine).startswith("config.l[4]: there is too much data")


@pytest.mark.parametrize("kind", ["approval_gate", "workflow_trigger"])
def test_what_people_and_other_workflows_are_given_is_paid_for(kind):
    config = {"approvers": MANY} if kind == "approval_gate" else {"workflow": "v", "input": MANY}
    engine = started(step("a", type=kind, input={}, config=config), data=LARGE)
    assert error_of(engine).startswith("config.")


def test_outputs_that_are_merged_are_measured_before_they_are_written():
    """Each was small enough to be stored; all of them together are not."""
    ids = [f"s{n}" for n in range(40)]
    engine = started(*[step(one, input={}) for one in ids], step("a", *ids))
    for one in ids:
        engine.complete(one, {one: TEXT})
    assert error_of(engine).startswith("input: there is too much data")


def test_outputs_that_are_gathered_are_measured_before_they_are_written():
    ids = [f"s{n}" for n in range(40)]
    engine = started(*[step(one, input={}) for one in ids], step("a", *ids, type="output"))
    for one in ids:
        engine.complete(one, TEXT)
    assert error_of(engine).startswith("input: there is too much data")


def test_the_output_of_a_workflow_is_measured_before_it_is_written():
    ids = [f"s{n}" for n in range(40)]
    engine = started(*[step(one, input={}) for one in ids])
    for one in ids:
        engine.complete(one, TEXT)
    assert engine.latest.status == "failed"
    assert engine.latest.error.type == "LimitError"
    assert engine.latest.error.message.startswith("output: there is too much data")


def test_steps_that_need_no_worker_cannot_double_their_outputs_within_one_decision():
    """Each gathers the two before it: nothing is written in between, and all of it is shared."""
    steps = [step("s0", type="input")]
    steps += [step(f"s{n}", *[f"s{m}" for m in (n - 1, n - 2) if m >= 0], type="output") for n in range(1, 200)]
    engine = started(*steps, data={"b": "x" * 1000})
    while engine.go_on():
        pass
    assert engine.latest.status == "failed"
    failed = [one for one, status in statuses(engine).items() if status == "failed"]
    assert len(failed) == 1
    assert "too much data" in error_of(engine, failed[0])


def test_the_input_of_a_compensation_that_grows_is_an_incident():
    undo = Compensation("undo", input={"l": MANY})
    engine = started(step("a", compensate=undo), step("b", "a", on_failure="rollback", input={}), data=LARGE)
    engine.complete("a", {})
    engine.fail("b")
    assert engine.latest.status == "paused"
    assert "too much data" in engine.latest.rollback.current.error.message


def test_a_decision_that_makes_much_leaves_the_rest_to_the_next():
    """A hundred steps that each get a large input are no more than some of them at once, and all of them in the end."""
    steps = [step(f"s{n:03}", input={"b": "{{ input.b }}"}) for n in range(100)]
    plan = compile_plan(workflow(*steps))
    known, state, sizes = Known(plan), None, []
    command = StartWorkflow("i", workflow="w", input=LARGE)
    while command is not None:
        decision = decide(state, command, Circumstances(0, known))
        state = decision.state
        sizes.append(sum("StepReady" in type(event).__name__ for event in decision.events))
        command = ContinueWorkflow("i") if can_continue(state, plan) else None
    assert sum(sizes) == 100
    assert max(sizes) <= 10


@pytest.mark.parametrize("room", [MAX_MADE, 4 * MAX_MADE])
def test_a_decision_that_merges_much_leaves_the_rest_to_the_next(room):
    """Merging takes hardly any work, but what is merged is written for each of the steps."""
    sources = [f"a{n}" for n in range(5)]
    steps = [step(one, input={}) for one in sources] + [step(f"s{n:03}", *sources) for n in range(100)]
    plan = compile_plan(workflow(*steps))
    circumstances = Circumstances(0, Known(plan), room=room)
    state = decide(None, StartWorkflow("i", workflow="w"), circumstances).state
    for one in sources:
        given = CompleteStep("i", one, run=state.steps[one].run, output={one: "x" * 200_000})
        decision = decide(state, given, circumstances)
        state = decision.state
    sizes = [sum("StepReady" in type(event).__name__ for event in decision.events)]
    while can_continue(state, plan):
        decision = decide(state, ContinueWorkflow("i"), circumstances)
        state = decision.state
        sizes.append(sum("StepReady" in type(event).__name__ for event in decision.events))
    assert sum(sizes) == 100
    assert max(sizes) <= room // 1_000_000 + 1


def test_a_log_that_takes_larger_records_lets_a_step_make_more():
    plan = compile_plan(workflow(step("a", input={"l": ["{{ input.b }}"] * 20})))
    command = StartWorkflow("i", workflow="w", input=LARGE)
    assert decide(None, command, Circumstances(0, Known(plan))).state.status == "failed"
    assert decide(None, command, Circumstances(0, Known(plan), room=100_000_000)).state.status == "running"
