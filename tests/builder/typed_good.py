"""Workflows as one writes and starts them: type checkers have nothing to say. Read by test_typing.py; the tests run it."""

from typing import Any

import msgspec

import stepwell
from stepwell import steps
from stepwell.testing import World


class Order(msgspec.Struct):
    id: int
    total: float
    gift: bool = False


class Reservation(msgspec.Struct, rename="camel"):
    item_id: str
    order: Order


class Receipt(msgspec.Struct):
    id: str
    paid: float


@stepwell.step
async def release(reservation: Reservation) -> None:
    """Undo ``reserve``."""


@stepwell.step(compensate=release, checkpoint="reserved")
async def reserve(order: Order) -> Reservation:
    return Reservation(f"item-{order.id}", order)


@stepwell.step(retry=stepwell.Retry(max_attempts=3), timeout_seconds=10)
async def charge(ctx: stepwell.StepContext, reservation: Reservation, *, order: Order) -> Receipt:
    return Receipt(f"{ctx.step_id}-{reservation.item_id}", order.total)


@stepwell.step(name="shop.tell")
def notify(receipt: str, items: list[str], note: str = "thanks") -> str:
    return f"{receipt}: {', '.join(items)}, {note}"


@stepwell.workflow("typed-order", version="1", tags=["shop"], input_schema=Order, default_timeout_seconds=60)
def order(input: Order) -> str:  # noqa: A002 - the word of the definition
    """Takes an order."""
    reservation = reserve(input)
    paid = charge(reservation, order=input)
    with stepwell.when((paid.paid > 100) & input.gift):
        notify.using(id="gift_note")(paid.id, [reservation.item_id], note=f"a gift for {input.id}")
    with stepwell.when(paid.paid > 10_000):
        gate = steps.approval_gate(f"{paid.id}?", approvers=["ann"], deadline_seconds=60, on_timeout="reject")
        child = steps.workflow_trigger("audit", {"by": gate.by}, wait=False, on_child_failure="continue")
        notify.using(id="audited")(child.instance_id, [gate.comment])
    pause = steps.wait(0.01, after=[paid])
    return notify.using(after=[pause])(paid.id, [reservation.item_id, "card"])


async def tested_alone() -> float:
    made = await reserve.function(Order(1, 2.0))
    total: float = made.order.total
    return total


@stepwell.workflow("typed-payment")
def pay(order: Order) -> Receipt:
    """Returns what its step returns: a type of its own."""
    return charge(reserve(order), order=order)


@stepwell.workflow("typed-greeting")
def greet(name: str, times: int = 1) -> str:
    """Takes keys of the input; one of them is enough."""
    return notify(name, [f"{times} times"])


@stepwell.workflow("typed-parcel")
def parcel(receipt: str, items: list[str]) -> str:
    """Takes keys of the input; all of them."""
    return notify(receipt, items)


@stepwell.step
def shelf(number: int) -> list[str]:
    return [f"{number} cups", "tea"]


@stepwell.workflow("typed-stock")
def count() -> list[str]:
    """Takes no input."""
    return shelf(1)


async def started(client: stepwell.Client) -> float:
    await client.register(pay)
    run: stepwell.Run[Receipt] = await client.start(pay, Order(1, 2.0), id="pay-1", priority=5)
    outcome = await run.result(timeout=30)
    receipt: Receipt = outcome.raise_for_status().output
    status: stepwell.InstanceView[Receipt] = await run.status()
    assert status.output.id == receipt.id
    for flow in (greet, parcel, count):
        await client.register(flow)
    texts: list[str] = [
        (await (await client.start(greet, "ann")).result()).output,
        (await (await client.start(greet, {"name": "ann", "times": 2})).result()).output,
        (await (await client.start(parcel, {"receipt": "r-1", "items": ["tea"]})).result()).output,
        *(await (await client.start(count)).result()).output,
    ]
    assert texts == ["ann: 1 times, thanks", "ann: 2 times, thanks", "r-1: tea, thanks", "1 cups", "tea"]
    return receipt.paid


async def started_by_name(client: stepwell.Client) -> Any:
    named: stepwell.Run = await client.start("typed-payment", {"id": 1, "total": 2.0})
    made = await client.start(pay.definition, {"id": 1, "total": 3.0})
    outcomes: list[stepwell.InstanceView] = [await named.result(), await made.result()]
    return [outcome.output["paid"] for outcome in outcomes]


async def in_a_test(world: World) -> str:
    await world.register(pay)
    outcome = await world.run(pay, Order(4, 5.0))
    again = await (await world.start(pay, Order(4, 5.0), id="again")).result()
    number: str = outcome.output.id
    assert again.output.id == number
    return number
