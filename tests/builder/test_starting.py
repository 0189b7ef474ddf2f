"""A workflow that is written in Python is started by itself: its input and its output have the types of its function."""

import dataclasses

import msgspec
import pytest

import stepwell
from stepwell import BuildError, CommandRejectedError, OutputTypeError, UnknownWorkflowError
from stepwell.testing import simulate
from tests.builder.typed_good import (
    Order,
    Receipt,
    charge,
    count,
    greet,
    in_a_test,
    parcel,
    pay,
    started,
    started_by_name,
)


def test_what_type_checkers_say_of_starts_is_so():
    async def scenario(world):
        return await started(world.client), await started_by_name(world.client), await in_a_test(world)

    assert simulate(scenario) == (2.0, [2.0, 3.0], "charge-item-4")


async def test_the_same_holds_for_a_log_in_a_file(tmp_path):
    async with stepwell.connect(f"file:{tmp_path / 'log.db'}") as client:
        assert await started(client) == 2.0
        assert await started_by_name(client) == [2.0, 3.0]


def test_an_input_that_does_not_fit_the_function_is_refused_before_anything_is_sent():
    async def scenario(world):
        await world.register(pay)
        for wrong, text in (
            ({"id": "one", "total": 1}, r"input\.id: Expected `int`"),
            ({"total": 1}, r"input: Object missing required field `id`"),
            (1, r"input: Expected `object`, got `int`"),
            ({"id": 1, "total": object()}, r"input\.total is an object"),
        ):
            with pytest.raises(CommandRejectedError, match=text) as refused:
                await world.client.start(pay, wrong, id="wrong")
            assert refused.value.code in ("invalid_input", "invalid_command")
        await world.register(greet)
        with pytest.raises(CommandRejectedError, match=r"input\.times: Expected `int`"):
            await world.client.start(greet, {"name": "ann", "times": "often"})
        with pytest.raises(stepwell.UnknownInstanceError):
            await world.client.get("wrong")

    simulate(scenario)


def test_what_is_no_workflow_cannot_be_started():
    def plain(order: Order) -> None: ...

    async def scenario(world):
        for wrong in (None, 5, b"order", ["order"], {"name": "order"}, charge, plain, object()):
            with pytest.raises(CommandRejectedError, match="is no workflow") as refused:
                await world.client.start(wrong, {})
            assert "@stepwell.workflow" in refused.value.remedy
        with pytest.raises(UnknownWorkflowError, match=r"client\.register"):
            await world.client.start(pay, Order(1, 2.0))

    simulate(scenario)


def test_a_workflow_that_cannot_be_built_is_told_at_its_start():
    @stepwell.workflow("starting-unbuilt")
    def unbuilt(order: Order) -> Receipt:
        return charge(order) if order.gift else None

    async def scenario(world):
        with pytest.raises(BuildError, match="line"):
            await world.client.start(unbuilt, Order(1, 2.0))

    simulate(scenario)


@stepwell.step(name="starting.told")
def told(text: str) -> str:
    return text


@stepwell.step(name="starting.same")
def same(data):
    return data


def flow_of(version):
    @stepwell.workflow("starting-versions", version=version)
    def flow(order: Order) -> Receipt:
        return Receipt(told(version), order.total)

    return flow


def test_a_workflow_starts_the_version_that_it_is():
    old, new = flow_of("1"), flow_of("2")

    async def scenario(world):
        await world.register(old)
        await world.register(new)
        assert (await world.run(old, Order(1, 2.0))).output.id == "1"
        assert (await world.run(new, Order(1, 2.0))).output.id == "2"
        assert (await world.run(old.definition, {"id": 1, "total": 2})).version == "1"
        assert (await world.run(old, Order(1, 2.0), version="2")).version == "2"
        assert (await world.run("starting-versions", {"id": 1, "total": 2})).version == "2"
        await world.client.deactivate("starting-versions", "1")
        with pytest.raises(stepwell.InactiveWorkflowError):
            await world.start(old, Order(1, 2.0))

    simulate(scenario)


def test_the_same_start_gives_the_same_instance_also_once_the_code_has_another_version():
    old, new = flow_of("1"), flow_of("2")

    async def scenario(world):
        await world.register(old)
        await world.run(old, Order(1, 2.0), id="same")
        await world.register(new)
        run = await world.start(new, Order(1, 2.0), id="same")
        assert run.existed
        assert (await run.result()).output == Receipt("1", 2.0)
        with pytest.raises(CommandRejectedError, match="another input"):
            await world.start(new, Order(1, 3.0), id="same")
        with pytest.raises(CommandRejectedError, match="version 1, not 2"):
            await world.start(new, Order(1, 2.0), id="same", version="2")

    simulate(scenario)


@stepwell.step(name="starting.number")
def number(order: Order) -> str:
    return 5


@stepwell.workflow("starting-wrong-output")
def wrong_output(order: Order) -> Receipt:
    return number(order)


def test_an_output_that_is_not_what_the_function_says_is_told_and_can_be_had_as_it_is():
    async def scenario(world):
        await world.register(wrong_output)
        run = await world.start(wrong_output, Order(1, 2.0), id="odd")
        with pytest.raises(
            OutputTypeError, match=r"not what the function of workflow 'starting-wrong-output'"
        ) as told:
            await run.result()
        assert told.value.instance_id == "odd"
        with pytest.raises(OutputTypeError):
            await run.status()
        assert (await world.client.get("odd")).output == 5

    simulate(scenario)


@stepwell.step(name="starting.fail")
def fail(order: Order) -> Receipt:
    raise ValueError("no")


@stepwell.workflow("starting-failing")
def failing_flow(order: Order) -> Receipt:
    return fail(order)


def test_what_has_failed_has_no_output():
    async def scenario(world):
        await world.register(failing_flow)
        run = await world.start(failing_flow, Order(1, 2.0))
        outcome = await run.result()
        assert (outcome.status, outcome.output) == ("failed", None)
        with pytest.raises(stepwell.WorkflowFailedError):
            outcome.raise_for_status()

    simulate(scenario)


@dataclasses.dataclass
class Parcel:
    items: list[str]


class Camel(msgspec.Struct, rename="camel"):
    first_item: str


@stepwell.workflow("starting-dataclass")
def of_dataclass(parcel: Parcel) -> Parcel:
    return Parcel([told(parcel.items[0]), "paper"])


@stepwell.workflow("starting-renamed")
def renamed(data: Camel) -> Camel:
    return same(data)


@stepwell.workflow("starting-unannotated")
def unannotated(data):
    return {"was": same(data)}


@stepwell.workflow("starting-nothing")
def returns_nothing(order: Order) -> None:
    number(order)


@stepwell.workflow("starting-keywords")
def keywords(*, name: str, order: Order) -> Order:
    return same(order)


@pytest.mark.parametrize(
    ("flow", "given", "output"),
    [
        (of_dataclass, Parcel(["tea"]), Parcel(["tea", "paper"])),
        (of_dataclass, {"items": ["tea"]}, Parcel(["tea", "paper"])),
        (renamed, Camel("a"), Camel("a")),
        (unannotated, {"a": 1}, {"was": {"a": 1}}),
        (unannotated, 5, {"was": 5}),
        (returns_nothing, Order(1, 2.0), {"number": 5}),
        (keywords, {"name": "ann", "order": Order(1, 2.0)}, Order(1, 2.0)),
        (greet, {"name": "ann", "times": 2}, "ann: 2 times, thanks"),
        (parcel, {"receipt": "r", "items": ["a"]}, "r: a, thanks"),
        (count, None, ["1 cups", "tea"]),
    ],
    ids=lambda value: getattr(value, "name", repr(value)),
)
def test_inputs_and_outputs_are_converted_as_those_of_steps(flow, given, output):
    async def scenario(world):
        await world.register(flow)
        outcome = await world.run(flow, given)
        assert outcome.status == "completed", outcome.error
        return outcome.output

    assert simulate(scenario) == output
