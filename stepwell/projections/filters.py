"""What one can ask of the instances: filters, orders, the cursor of the next page. Pure; SQL is made elsewhere."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from stepwell import errors
from stepwell.projections.fields import DEEPEST, LONGEST_NAME, LONGEST_VALUE, field_value
from stepwell.projections.rows import LONGEST_TEXT, InstanceRow
from stepwell.schemas.records.statuses import PENDING, WorkflowStatus
from stepwell.suggest import suggest

Order = Literal["-created", "created", "-finished", "finished", "-priority", "priority"]
ORDERS: Final = ("-created", "created", "-finished", "finished", "-priority", "priority")
STATUSES: Final = (PENDING, *(status.value for status in WorkflowStatus))
MOST_ON_A_PAGE: Final = 1_000
LEAST_TEXT: Final = 3  # characters of a text to look for in errors: the index is of three in a row


FilterError = errors.FilterError


class InstanceFilter(Struct, frozen=True, kw_only=True):
    """Which instances are wanted; what is left out does not matter. Times are milliseconds since 1970.

    Attributes:
        status: Any of these.
        workflow: Name of the definition.
        version: Of it.
        tag: A tag of the definition.
        created_after: Started, or, of a pending one, asked for at this time or later,
        created_before: or earlier than this.
        finished_after: Finished at this time or later,
        finished_before: or earlier than this.
        priority_min: From this priority
        priority_max: to this one.
        input: Values of fields of the input by dotted name: ``{"customer.id": 17}``.
        output: The same of the output.
        error: A text in any error that the instance has had, without regard to case.
        parent: Id of the instance that has started it.
        id: The instance's id.
    """

    status: tuple[str, ...] = ()
    workflow: str = ""
    version: str = ""
    tag: str = ""
    created_after: int | None = None
    created_before: int | None = None
    finished_after: int | None = None
    finished_before: int | None = None
    priority_min: Annotated[int, Meta(ge=0, le=100)] | None = None
    priority_max: Annotated[int, Meta(ge=0, le=100)] | None = None
    input: dict[str, Any] = {}
    output: dict[str, Any] = {}
    error: str = ""
    parent: str = ""
    id: str = ""

    def fields(self) -> list[tuple[str, str]]:
        """The wanted fields, by full name and as they are looked up."""
        return [*_fields("input", self.input), *_fields("output", self.output)]


def _fields(root: str, wanted: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = []
    for name, value in wanted.items():
        place = f"{root}.{name}" if name else root
        scalar = field_value(value)
        if scalar is None:
            raise FilterError(
                f"can be looked up by a number, a text of up to {LONGEST_VALUE} characters, true, false or null",
                place=place[:LONGEST_NAME],
            )
        if name.count(".") >= DEEPEST:
            raise FilterError(f"only fields up to {DEEPEST} keys deep can be looked up", place=place[:LONGEST_NAME])
        found.append((place, scalar))
    return found


def checked(wanted: InstanceFilter) -> InstanceFilter:
    """The filter itself, if it makes sense.

    Raises:
        FilterError: It does not.
    """
    for name in ("workflow", "version", "tag", "error", "parent", "id"):
        if not isinstance(getattr(wanted, name), str):
            raise FilterError(f"takes one text, and {getattr(wanted, name)!r} is none", place=name)
    for status in wanted.status:
        if status not in STATUSES:
            raise FilterError(
                f"no instance has the status {status!r}{suggest(status, STATUSES)}",
                place="status",
                remedy=f"They are {', '.join(STATUSES)}.",
            )
    if 0 < len(wanted.error) < LEAST_TEXT:
        raise FilterError(f"a text of {LEAST_TEXT} characters at least is looked for", place="error")
    if len(wanted.error) > LONGEST_TEXT or "\0" in wanted.error:  # SQLite takes a text to end at a zero
        raise FilterError(f"a text of {LONGEST_TEXT:,} characters at most, without NUL, is looked for", place="error")
    for name in ("priority_min", "priority_max"):
        number = getattr(wanted, name)
        if number is not None and (type(number) is not int or not 0 <= number <= 100):
            raise FilterError("a priority is a number from 0 to 100", place=name)
    if wanted.priority_max is not None and (wanted.priority_min or 0) > wanted.priority_max:
        raise FilterError("nothing lies between: it is more than the most", place="priority_min")
    for kind in ("created", "finished"):
        after, before = getattr(wanted, f"{kind}_after"), getattr(wanted, f"{kind}_before")
        if after is not None and before is not None and after >= before:
            raise FilterError("nothing lies between: it is not before `before`", place=f"{kind}_after")
    wanted.fields()
    return wanted


class InstancePage(list[InstanceRow]):
    """A page of instances.

    Attributes:
        next: Cursor of the next page; empty on the last one.
        total: How many instances there are in all,
        total_is_exact: or at least, where counting was cut short.
    """

    def __init__(self, rows: list[InstanceRow], next_: str, total: int, *, exact: bool) -> None:
        super().__init__(rows)
        self.next = next_
        self.total = total
        self.total_is_exact = exact


_Integer = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]  # what SQLite can compare with


class Cursor(Struct, frozen=True, array_like=True):
    """Behind which row the next page begins.

    Attributes:
        order: The order that it belongs to.
        key: The last row's value in this order,
        number: and its number.
    """

    order: str
    key: _Integer
    number: _Integer


def write_cursor(cursor: Cursor) -> str:
    """A cursor as text without any odd character."""
    return base64.urlsafe_b64encode(msgspec.json.encode(cursor)).decode().rstrip("=")


def read_cursor(text: str, order: str) -> Cursor:
    """Read a cursor.

    Raises:
        FilterError: It is none, or belongs to another order.
    """
    try:
        padded = text + "=" * (-len(text) % 4)
        cursor = msgspec.json.decode(base64.urlsafe_b64decode(padded.encode()), type=Cursor)
    except (binascii.Error, ValueError):
        raise FilterError(
            "is no cursor", place="cursor", remedy="Give back what the page before said as `next`, unchanged."
        ) from None
    if cursor.order != order:
        raise FilterError(
            f"belongs to the order {cursor.order!r}, and this is {order!r}",
            place="cursor",
            remedy="Ask for the first page again after a change of order.",
        )
    return cursor


def checked_order(order: str) -> str:
    """The order itself, if there is such a one.

    Raises:
        FilterError: There is none.
    """
    if order not in ORDERS:
        raise FilterError(
            f"there is no order {order!r}{suggest(order, ORDERS)}",
            place="order",
            remedy=f"They are {', '.join(ORDERS)}; with a minus, the largest or latest comes first.",
        )
    return order
