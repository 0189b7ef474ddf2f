"""What handlers take, give and raise: typed values, outputs that cannot be kept, and whatever else they do."""

import asyncio
from dataclasses import dataclass
from functools import partial

import msgspec
import pytest

from stepwell.consumers.worker.context import StepContext
from stepwell.consumers.worker.worker import Worker
from tests.workbench import (
    handlers_of,
    one_step,
    outcome,
    running,
    stage,
    steps,
    work,
    workflow,
)


class Payment(msgspec.Struct):
    amount: int
    to: str = "nobody"


@dataclass
class Receipt:
    paid: int
    tags: list[str]


async def test_handlers_may_take_and_give_typed_values(log):
    async def pay(payment: Payment, ctx: StepContext) -> Receipt:
        assert isinstance(payment, Payment)
        ctx.set("to", payment.to)
        return Receipt(payment.amount, [ctx.step_id])

    def book(receipt: Receipt):
        assert isinstance(receipt, Receipt)
        return {receipt.paid, receipt.paid + 1}

    def nothing():
        return None

    definition = workflow(
        {"id": "a", "handler": "pay"},
        {"id": "b", "handler": "book", "depends_on": ["a"], "input": "{{ step_outputs.a }}"},
        {"id": "c", "handler": "nothing", "depends_on": ["b"]},
    )
    async with stage(log, handlers_of(pay=pay, book=book, nothing=nothing), definition) as client:
        view = await outcome(client, {"amount": 7, "to": "me"})
    assert view.status == "completed", view.error
    assert view.steps["a"].output == {"paid": 7, "tags": ["a"]}
    assert sorted(view.steps["b"].output) == [7, 8]
    assert view.context == {"to": "me"}


async def test_an_input_of_the_wrong_type_is_not_tried_again(log):
    async def pay(payment: Payment):
        raise AssertionError("never called")

    retry = {"max_attempts": 5, "initial_delay_seconds": 0}
    async with stage(log, handlers_of(work=pay), one_step(retry=retry)) as client:
        view = await outcome(client, {"amount": "much"})
    assert (view.status, view.error.type) == ("failed", "ValidationError")
    assert "amount" in view.error.message
    assert view.steps["a"].attempts == 1


class Callable:
    def __init__(self, answer):
        self._answer = answer

    async def __call__(self, data: dict, ctx: StepContext):
        return [self._answer, ctx.step_id]


async def test_partials_and_callable_objects_are_handlers_too(log):
    def add(data, ctx, more=0):
        return data["n"] + more

    definition = workflow({"id": "a", "handler": "partial"}, {"id": "b", "handler": "object"})
    async with stage(log, handlers_of(partial=partial(add, more=4), object=Callable(3)), definition) as client:
        view = await outcome(client, {"n": 1})
    assert view.output == {"a": 5, "b": [3, "b"]}


@pytest.mark.parametrize(
    ("given", "error"),
    [
        (object, "TypeError"),
        (lambda: "x" * 2_000_000, "PayloadTooLarge"),
        (lambda: nested(600), "PayloadTooLarge"),
        (lambda: nested(5_000), "PayloadTooLarge"),
        (lambda: "caf\udce9", "TypeError"),
    ],
    ids=["object", "huge", "deep", "bottomless", "surrogate"],
)
async def test_an_output_that_cannot_be_kept_fails_the_step_and_nothing_is_lost(log, given, error):
    runs = []

    async def bad(data, ctx):
        runs.append(ctx.run)
        return given()

    retry = {"max_attempts": 3, "initial_delay_seconds": 0}
    definition = workflow({"id": "a", "handler": "bad", "retry": retry, "on_failure": "skip"}, *steps("b", after="a"))
    async with stage(log, handlers_of(bad=bad, work=work), definition) as client:
        view = await outcome(client)
    assert (view.status, view.steps["b"].status) == ("completed", "succeeded")
    assert view.steps["a"].error.type == error
    assert runs == [1], "trying again would not help"


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


class RudeError(Exception):
    def __str__(self):
        raise ValueError("not even this")


@pytest.mark.parametrize("threads", [False, True])
@pytest.mark.parametrize(
    ("raised", "shown"),
    [
        (SystemExit(3), "3"),
        (asyncio.CancelledError("by itself"), "by itself"),
        (FileNotFoundError(2, "No such file", "caf\udce9"), r"[Errno 2] No such file: 'caf\udce9'"),
        (RudeError(), "(it cannot be shown: ValueError)"),
        (ValueError("x" * 100_000), "x" * 2_000 + "… (100,000 characters)"),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_whatever_a_handler_raises_is_a_failure_of_its_step(log, raised, shown, threads):
    async def coroutine(data):
        raise raised

    def function(data):
        raise raised

    worker = Worker(log, handlers_of(work=function if threads else coroutine), concurrency=1)
    async with stage(log, None, one_step()) as client, running(worker.run()):
        for _ in range(2):  # its place is free again
            view = await outcome(client)
            assert (view.status, view.error.type) == ("failed", type(raised).__name__)
            assert view.error.message == shown
        assert worker._intake.busy == 0
