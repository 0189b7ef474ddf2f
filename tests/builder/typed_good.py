"""A workflow as one writes it: mypy has nothing to say about it. Read by test_typing.py, and run by test_builder.py."""

import msgspec

import stepwell
from stepwell import steps


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
