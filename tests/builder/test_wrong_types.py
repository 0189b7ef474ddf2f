"""A wrong type in a decorator, an option or a setting of a step is told as such when the workflow is built or read."""

import inspect
import itertools

import pytest

import stepwell
from stepwell import Handlers, StepwellError, steps
from stepwell.builder.recording import OPTIONS
from stepwell.language import compile_plan
from stepwell.step_types.table import BUILT_IN
from tests.client.test_wrong_types import WRONG

NUMBERS = itertools.count()


@stepwell.step(name="wrong-types.one")
def one(number: int = 1) -> int:
    return number


def built(record, **about):
    """A workflow whose function does this, made ready to run."""

    def flow():
        record(one())

    compile_plan(stepwell.workflow("wrong-types", **about)(flow).definition)


def new_step(**options):
    def function(number: int = 1) -> int:
        return number

    function.__qualname__ = f"wrong_types_{next(NUMBERS)}"
    return stepwell.step(**options)(function)


def under(block, condition):
    with block(condition):
        one()


CALLS = {
    **{f"step {name}": lambda wrong, name=name: built(lambda _: new_step(**{name: wrong})()) for name in (*OPTIONS, "name")},
    **{f"using {name}": lambda wrong, name=name: built(lambda _: one.using(**{name: wrong})()) for name in OPTIONS},
    **{
        f"workflow {name}": lambda wrong, name=name: built(lambda _: one(), **{name: wrong})
        for name in inspect.signature(stepwell.workflow).parameters
        if name not in ("name", "unknown")
    },
    "workflow": lambda wrong: stepwell.workflow(wrong)(one),
    "when": lambda wrong: built(lambda _: under(stepwell.when, wrong)),
    "unless": lambda wrong: built(lambda _: under(stepwell.unless, wrong)),
    "expression": lambda wrong: built(lambda _: one(stepwell.expression(wrong))),
    "on_error": lambda wrong: built(lambda first: stepwell.on_error(wrong, first)),
    "on_error handler": lambda wrong: built(lambda first: stepwell.on_error(first, wrong)),
    "on_error then": lambda wrong: built(lambda first: stepwell.on_error(first, one(), then=wrong)),
    "to_yaml": stepwell.to_yaml,
    "handler": stepwell.handler("wrong-types.handler"),
    "step_type": stepwell.step_type,
    "step_type config": lambda wrong: stepwell.step_type("wrong-types-config", config=wrong),
    "step_type function": stepwell.step_type("wrong-types-function"),
    "Handlers prefixes": lambda wrong: Handlers(prefixes=wrong),
    "Handlers builtin": lambda wrong: Handlers(builtin=wrong),
    "register name": lambda wrong: Handlers().register(wrong, lambda data: data),
    "register function": lambda wrong: Handlers().register("x", wrong),
    "replace name": lambda wrong: Handlers().replace(wrong, lambda data: data),
    "replace function": lambda wrong: Handlers().replace("x", wrong),
    "update": lambda wrong: Handlers().update(wrong),
    "Archive": stepwell.Archive,
}  # fmt: skip
for kind in (one.name for one in BUILT_IN if one.call is not None):
    for parameter in inspect.signature(steps.__dict__[kind]).parameters.values():
        if parameter.kind is not parameter.VAR_KEYWORD:
            needed = {
                other.name: "x"
                for other in inspect.signature(steps.__dict__[kind]).parameters.values()
                if other.default is other.empty and other.kind is not other.VAR_KEYWORD
            }
            CALLS[f"{kind} {parameter.name}"] = lambda wrong, kind=kind, name=parameter.name, needed=needed: built(
                lambda _: steps.__dict__[kind](**needed | {name: wrong})
            )


@pytest.mark.parametrize("what", CALLS)
def test_a_wrong_type_is_answered_by_an_error_of_stepwell(what):
    for wrong in WRONG:
        try:
            CALLS[what](wrong)
        except StepwellError:
            continue  # anything else is no answer


def test_one_tag_is_not_its_letters():
    @stepwell.workflow("wrong-types-tags", tags="shop")
    def flow():
        one()

    assert flow.definition.tags == ("shop",)
