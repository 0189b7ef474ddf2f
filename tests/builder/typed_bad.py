"""What mypy must object to, each marked with the code of its error. Never run: read by test_typing.py."""

import stepwell
from stepwell import steps
from tests.builder.typed_good import Order, Receipt, charge, notify, order, reserve


@stepwell.workflow("bad")
def bad(input: Order) -> Receipt:  # noqa: A002
    reservation = reserve(input.id)  # error: arg-type
    paid = charge(reservation)  # error: call-arg
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
