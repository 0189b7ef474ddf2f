"""Options of steps and workflows that there are none of are refused: dropped, they would not do what they say."""

import inspect

import pytest

import stepwell
from stepwell import steps
from stepwell.errors import BuildError
from stepwell.step_types.table import BUILT_IN


@stepwell.step(name="options.reserve")
def reserve(order: int) -> int:
    return order


def test_using_refuses_an_option_that_there_is_none_of():
    with pytest.raises(BuildError, match=r'reserve\.using has no option "conditon", did you mean "condition"'):
        reserve.using(conditon="input.ok")


def test_step_refuses_an_option_that_there_is_none_of():
    with pytest.raises(BuildError, match=r'@stepwell\.step has no option "retires", did you mean "retry"') as refused:
        stepwell.step(retires=5)
    assert "It takes name, id, after, condition, " in refused.value.remedy


def test_workflow_refuses_an_option_that_there_is_none_of():
    with pytest.raises(BuildError, match=r'@stepwell\.workflow has no option "verison", did you mean "version"'):
        stepwell.workflow(verison="1")
    with pytest.raises(BuildError, match='has no option "retry"'):
        stepwell.workflow("named", retry=3)


CALLS = {one.name: steps.__dict__[one.name] for one in BUILT_IN if one.call is not None}


def test_every_function_of_a_step_type_is_looked_at():
    public = {
        name
        for name, value in vars(steps).items()
        if inspect.isfunction(value) and value.__module__ == "stepwell.steps"
    }
    assert {name for name in public if not name.startswith("_")} == set(CALLS)


@pytest.mark.parametrize("kind", sorted(CALLS))
def test_a_step_type_refuses_an_option_that_there_is_none_of(kind):
    @stepwell.workflow(f"options {kind}")
    def flow():
        parameters = inspect.signature(CALLS[kind]).parameters.values()
        needed = {one.name: "x" for one in parameters if one.default is one.empty and one.kind is not one.VAR_KEYWORD}
        CALLS[kind](**needed, when_skiped="run")

    with pytest.raises(
        BuildError, match=f'stepwell.steps.{kind} has no option "when_skiped", did you mean "when_skipped"'
    ):
        _ = flow.definition


def test_a_step_types_own_settings_are_suggested_as_well():
    @stepwell.workflow("options timeout")
    def flow():
        steps.http_request("http://a", timeout=5)

    with pytest.raises(BuildError, match='has no option "timeout", did you mean "timeout_seconds"') as refused:
        _ = flow.definition
    assert "request_timeout_seconds" in refused.value.remedy
    assert "line" in refused.value.place


def test_every_decorator_works_bare_and_with_parentheses():
    def function(data: dict) -> dict:
        return data

    for made in (stepwell.handler, stepwell.handler(), stepwell.handler("options.named")):
        assert made(function) is function
    for made in (stepwell.step, stepwell.step(), stepwell.step(name="options.step")):
        assert isinstance(made(function), stepwell.StepFunction)
    for made in (stepwell.workflow, stepwell.workflow(), stepwell.workflow("options-named"), stepwell.workflow(None)):
        assert isinstance(made(function), stepwell.Workflow)
    with pytest.raises(BuildError, match="step_type needs a name"):
        stepwell.step_type(function)
    with pytest.raises(BuildError, match="step_type needs a name"):
        stepwell.step_type()


def test_every_decorator_refuses_an_option_that_there_is_none_of():
    for decorate, given in (
        (stepwell.handler, {"nam": "x"}), (stepwell.step, {"nam": "x"}), (stepwell.workflow, {"tag": "x"}),
        (stepwell.step_type, {"confg": None}),
    ):  # fmt: skip
        with pytest.raises(BuildError, match=r"has no option .* did you mean"):
            decorate(**given)
