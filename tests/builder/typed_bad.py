"""What type checkers must object to, each marked with the code of mypy's error. Never run: read by test_typing.py."""

import stepwell
from stepwell import steps
from stepwell.testing import World
from tests.builder.typed_good import Order, Receipt, charge, count, greet, notify, order, parcel, pay, reserve


@stepwell.workflow("bad")
def bad(input: Order) -> Receipt:  # noqa: A002
    reservation = reserve(input.id)  # error: arg-type
    charge(reservation)  # error: call-arg
    paid = charge(reservation, order=input)
    charge(paid, order=input)  # error: arg-type
    notify(paid.id, [paid.sum])  # error: attr-defined
    notify(paid.paid, ["a"])  # error: arg-type
    notify.using(idd="x")("a", ["b"])  # error: call-arg
    notify.using(on_failure="ignore")("a", ["b"])  # error: arg-type
    steps.http_request("https://example.com/", methd="POST")  # error: call-arg
    steps.approval_gate("Ship it?").aproved  # noqa: B018  # error: attr-defined
    steps.approval_gate("Ship it?", on_timeout="aprove")  # error: arg-type
    steps.approval_gate(approvers=[1])  # error: list-item
    steps.workflow_trigger("other", wait="no")  # error: arg-type
    steps.workflow_trigger("other").outputs  # noqa: B018  # error: attr-defined
    total: int = paid.paid  # noqa: F841  # error: assignment
    child: int = order(input)  # noqa: F841  # error: assignment
    return reservation  # error: return-value


@stepwell.step(retry="often")  # error: call-overload, untyped-decorator
def wrong(text: str) -> str:
    return text


order(1)  # error: arg-type


async def started(client: stepwell.Client) -> None:
    await client.start(pay, 1)  # error: misc
    await client.start(pay, {"id": 1, "total": 2.0})  # error: arg-type
    await client.start(pay, Receipt("r-1", 2.0))  # error: misc
    await client.start(pay)  # error: arg-type
    await client.start(pay, Order(1, 2.0), idd="pay-1")  # error: call-overload
    await client.start(pay, Order(1, 2.0), id=1)  # error: call-overload
    await client.start(greet, 1)  # error: misc
    await client.start(parcel, "r-1")  # error: arg-type
    await client.start(count, 1)  # error: arg-type
    await client.start(charge, Order(1, 2.0))  # error: call-overload
    await client.start(None)  # error: call-overload
    await client.register(charge)  # error: arg-type
    run = await client.start(pay, Order(1, 2.0))
    wrong: stepwell.Run[str] = run  # noqa: F841  # error: assignment
    number: int = (await run.result()).output.id  # noqa: F841  # error: assignment
    (await run.status()).output.sum  # noqa: B018  # error: attr-defined


async def in_a_test(world: World) -> None:
    await world.run(pay, 1)  # error: misc
    number: int = (await world.run(pay, Order(1, 2.0))).output  # noqa: F841  # error: assignment
    await world.register(1)  # error: arg-type
