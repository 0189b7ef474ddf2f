"""What handlers may ask for: found out when they are found, and refused in words where they would get nothing."""

from __future__ import annotations

import collections.abc
import dataclasses
import functools
import pathlib
import typing
from typing import TYPE_CHECKING

import msgspec
import pydantic
import pytest

import stepwell
from stepwell.consumers.worker.context import StepContext
from stepwell.consumers.worker.handlers import Handler, Handlers, registered
from stepwell.errors import BuildError, HandlerError
from tests.workbench import handlers_of, one_step, outcome, stage

if TYPE_CHECKING:
    from decimal import Decimal as Money

    from stepwell.nowhere import Nothing

    from stepwell import StepContext as Context


class Model(pydantic.BaseModel):
    price: float
    tags: list[str] = []


class Item(msgspec.Struct):
    model: Model
    path: pathlib.Path = pathlib.Path()


class Plain:
    """A class that nothing says how to make of JSON."""


@dataclasses.dataclass
class NeedsPlain:
    plain: Plain


@dataclasses.dataclass
class MayHavePlain:
    price: float
    plain: Plain | None = None


class UserId(str):
    __slots__ = ()


class Ctx:
    """Stands in for a run's context: it is passed on as it is."""

    config: typing.ClassVar = {}


CTX = typing.cast(StepContext, Ctx())


def given(function: typing.Any, data: typing.Any) -> list[typing.Any]:
    return Handler("h", function).arguments(data, CTX)


# --- annotations that only type checkers can read -----------------------------------------------------------------


def by_name(data: dict, ctx: Nothing) -> Nothing: ...  # type: ignore[type-arg]


def by_annotation(data, it: stepwell.StepContext) -> Nothing: ...


def alone(it: Context) -> Money: ...


def optional(data, it: StepContext | None = None): ...


def of_a_checker_only(data: dict, it: Nothing.StepContext | None = None): ...  # type: ignore[type-arg]


@pytest.mark.parametrize(
    ("function", "gets"),
    [
        (by_name, [1, CTX]),
        (by_annotation, [1, CTX]),
        (optional, [1, CTX]),
        (of_a_checker_only, [1, CTX]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_context_and_a_return_type_that_only_type_checkers_can_import_do_not_matter(function, gets):
    assert given(function, 1) == gets


def test_an_input_type_that_cannot_be_read_is_refused_with_the_remedy():
    def handler(data: Money): ...

    with pytest.raises(HandlerError, match="the type of its parameter 'data' cannot be read") as refused:
        Handler("h", handler)
    assert "not under `if TYPE_CHECKING:`" in refused.value.remedy

    def step(amount: Money): ...

    with pytest.raises(HandlerError, match="the type of its parameter 'amount' cannot be read"):
        stepwell.step(name="signatures.step")(step)


def test_a_step_function_needs_none_of_the_types_that_only_type_checkers_read():
    def pay(ctx: StepContext, amount: int) -> Nothing: ...

    made = stepwell.step(name="signatures.pay")(pay)
    assert Handler("h", made).arguments({"amount": "3"}, CTX) == [CTX, 3]


def test_a_workflows_parameter_keeps_its_type_where_its_return_type_cannot_be_read():
    @stepwell.step(name="signatures.double")
    def double(number: int) -> int:
        return 2 * number

    @stepwell.workflow("doubling")
    def doubling(number: int) -> Nothing:
        return double(number)

    assert doubling.definition.steps[0].input == {"number": "{{ input.number }}"}


def test_a_type_that_is_local_to_the_handlers_own_function_is_read_where_it_uses_it():
    class Local(msgspec.Struct):
        x: int

    def handler(data: Local):
        return Local

    (made,) = given(handler, {"x": "3"})
    assert made == Local(3)


# --- types ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wanted", "data", "made"),
    [
        (Model, {"price": "1.5"}, Model(price=1.5)),
        (Model | None, None, None),
        (list[Model], [{"price": 1}], [Model(price=1)]),
        (dict[str, Model], {"a": {"price": 1}}, {"a": Model(price=1)}),
        (Item, {"model": {"price": 1}, "path": "a"}, Item(Model(price=1), pathlib.Path("a"))),
        (pathlib.Path, "a/b", pathlib.Path("a/b")),
        (UserId, "u1", UserId("u1")),
        (collections.abc.Iterable, [1], [1]),
        (collections.abc.Iterable[Model], [{"price": 1}], [Model(price=1)]),
        (collections.abc.Mapping, {"a": 1}, {"a": 1}),
        (list[int], ["1"], ["1"]),
        (MayHavePlain, {"price": 1}, MayHavePlain(1)),
    ],
    ids=str,
)
def test_an_input_is_made_what_its_annotation_says(wanted, data, made):
    def handler(data): ...

    handler.__annotations__ = {"data": wanted}
    (got,) = given(handler, data)
    assert (got, type(got)) == (made, type(made))


@pytest.mark.parametrize(
    "wanted",
    [Plain, list[Plain], dict[str, Plain], Plain | None, NeedsPlain, Model | int, typing.Callable],
    ids=str,
)
def test_a_type_of_which_no_input_can_be_made_is_refused_when_the_handler_is_found(wanted):
    def handler(data): ...

    handler.__annotations__ = {"data": wanted}
    with pytest.raises(HandlerError, match="cannot be made from JSON") as refused:
        Handler("h", handler)
    assert "pydantic model" in refused.value.remedy


@pytest.mark.parametrize("threads", [False, True])
async def test_a_pydantic_model_comes_in_and_goes_out(log, threads):
    def priced(data: Model) -> list[Model]:
        assert isinstance(data, Model)
        return [data, Model(price=data.price * 2, tags=["x"])]

    async def priced_coroutine(data: Model) -> list[Model]:
        return priced(data)

    async with stage(log, handlers_of(work=priced if threads else priced_coroutine), one_step()) as client:
        view = await outcome(client, {"price": "1.5"})
        assert view.output == {"a": [{"price": 1.5, "tags": []}, {"price": 3.0, "tags": ["x"]}]}
        view = await outcome(client, {"price": "much"})
        assert (view.error.type, view.steps["a"].attempts) == ("ValidationError", 1)
        assert "price" in view.error.message


# --- parameters that would get nothing ----------------------------------------------------------------------------


def takes_args(*args): ...


def takes_keywords(**context): ...


def takes_context_and_keywords(ctx: StepContext, **inputs): ...


def takes_a_keyword(*, data): ...


def takes_a_keyword_besides(data, *, more): ...


def takes_three(data, ctx, more): ...


@pytest.mark.parametrize(
    "function",
    [
        takes_args, takes_keywords, takes_context_and_keywords, takes_a_keyword, takes_a_keyword_besides, takes_three,
        functools.partial(takes_args, 1),
    ],
    ids=lambda value: getattr(value, "__name__", "partial"),
)  # fmt: skip
def test_a_handler_that_asks_for_what_it_would_not_get_is_refused_when_it_is_found(function):
    with pytest.raises(HandlerError) as refused:
        Handler("h", function)
    assert refused.value.remedy
    handlers = Handlers()
    with pytest.raises(HandlerError):
        handlers.register("h", function)


def test_further_parameters_with_defaults_are_left_alone():
    def handler(data, ctx, more=1, *rest, other=2, **others): ...

    assert given(handler, 1) == [1, CTX]


def test_a_decorated_handler_is_asked_for_what_the_function_under_the_decorator_takes():
    def handler(data: Model, ctx): ...

    @functools.wraps(handler)
    def wrapper(*args, **kwargs): ...

    assert given(wrapper, {"price": 1}) == [Model(price=1), CTX]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_handler_that_yields_is_refused_when_it_is_found(asynchronous):
    def yields(data):
        yield 1

    async def yields_in_a_coroutine(data):
        yield 1

    with pytest.raises(HandlerError, match="yields, and a step has one result"):
        Handler("h", yields_in_a_coroutine if asynchronous else yields)


# --- decorators ---------------------------------------------------------------------------------------------------


def test_the_decorator_works_bare_with_parentheses_and_with_a_name(monkeypatch):
    monkeypatch.setattr(registered, "_registered", {})

    @stepwell.handler
    def bare(data):
        return "bare"

    @stepwell.handler()
    def called(data):
        return "called"

    @stepwell.handler("named")
    async def other(data):
        return "named"

    assert bare(0) == "bare"
    assert called(0) == "called"
    assert {name: registered.find("python", name).origin for name in registered.names() if "." not in name} == {
        **{name: registered.find("python", name).origin for name in registered._types()},
        "bare": bare,
        "called": called,
        "named": other,
    }


@pytest.mark.parametrize("decorator", [stepwell.handler, stepwell.step_type], ids=["handler", "step_type"])
def test_an_unknown_option_of_a_decorator_is_refused(decorator):
    with pytest.raises(BuildError, match='has no option "nme", did you mean "name"'):
        decorator("x", nme="a")


@pytest.mark.parametrize(
    ("decorate", "said"),
    [
        (lambda: stepwell.handler(123), '@stepwell.handler("charge")'),
        (lambda: stepwell.step("charge"), '@stepwell.step(name="charge")'),
        (lambda: stepwell.step(None)(5), '@stepwell.step(name="charge")'),
        (lambda: stepwell.workflow(123), '@stepwell.workflow("order")'),
        (lambda: stepwell.step_type(given), '@stepwell.step_type("given")'),
    ],
    ids=["handler", "step", "step_twice", "workflow", "step_type"],
)
def test_a_decorator_that_gets_no_function_or_no_name_says_how_it_is_written(decorate, said):
    with pytest.raises(BuildError) as refused:
        decorate()
    assert said in refused.value.remedy
