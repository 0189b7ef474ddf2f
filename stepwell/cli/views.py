"""What the verbs that ask the read models share: waiting for them, times and fields as people write them, tables."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from stepwell.cli.drawing import count
from stepwell.cli.output import print, print_raw
from stepwell.cli.session import VALUE_REMEDY, UsageError, client_of
from stepwell.errors import visible
from stepwell.process import now_ms
from stepwell.schemas.definitions.json_text import JsonError, value_of

if TYPE_CHECKING:
    from stepwell.client.client import Client

_PATIENCE: Final = 1.0  # seconds after which one is told why nothing is shown yet
_TELL_EVERY: Final = 0.5  # seconds between two tellings on a terminal,
_TELL_SELDOM: Final = 5.0  # and elsewhere


@contextlib.asynccontextmanager
async def asking(log: str | None) -> AsyncIterator[Client]:
    """A client whose read models hold all that is in the log now: what is asked of it need not be ``fresh``."""
    async with client_of(log) as client:
        await caught_up(client)
        yield client


async def caught_up(client: Client) -> None:
    """Wait until the read models are up to date; on stderr, tell how far they are if that takes long."""
    ready = asyncio.ensure_future(client.views.models.catch_up())
    terminal = sys.stderr.isatty()
    told = False
    try:
        await asyncio.wait((ready,), timeout=_PATIENCE)
        while not ready.done():
            words = await _how_far(client)
            if words:
                told = True
                if terminal:
                    print_raw(f"\r{words}\x1b[K", end="", file=sys.stderr)
                else:
                    print(words, file=sys.stderr, flush=True)
            await asyncio.wait((ready,), timeout=_TELL_EVERY if terminal else _TELL_SELDOM)
        await ready
    finally:
        ready.cancel()
        await asyncio.gather(ready, return_exceptions=True)
        if told and terminal:
            print_raw("\r\x1b[K", end="", file=sys.stderr)


async def _how_far(client: Client) -> str:
    found = asyncio.ensure_future(client.views.models.lag())
    await asyncio.wait((found,), timeout=_PATIENCE)
    if not found.done() or found.exception() is not None:
        found.cancel()
        await asyncio.gather(found, return_exceptions=True)
        return "the read models are being opened …"
    lag = found.result()
    whole = sum(end for _, end in lag.partitions.values())
    done = whole - lag.records
    return f"the read models are being made: {done / max(1, whole):.0%} of {count(whole, 'record')} …"


# --- what people write --------------------------------------------------------------------------------------

_AGE: Final = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(s|m|min|h|d|w)")
_SECONDS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}


def time_of(text: str | None, option: str) -> int | None:
    """A time as people write it, in milliseconds since 1970: ISO, local where it names no zone, or an age.

    Raises:
        UsageError: It is neither.
    """
    if text is None:
        return None
    age = _AGE.fullmatch(text.strip())
    wrong = UsageError(
        f"is no time: {text!r}",
        place=option,
        remedy="An age such as 90s, 15m, 2h, 7d or 4w, or an ISO time such as 2026-11-21 or 2026-11-21T08:30.",
    )
    try:
        if age:
            moment = datetime.now().astimezone() - timedelta(seconds=float(age[1]) * _SECONDS[age[2]])
        else:
            moment = datetime.fromisoformat(text.strip())
        return int(moment.timestamp() * 1000)
    except (ValueError, OverflowError, OSError):
        raise wrong from None


def in_order(given: Mapping[str, tuple[str, Any]]) -> None:
    """Refuse a span of time that ends before it begins.

    Args:
        given: By the filter's name, the option and its value.

    Raises:
        UsageError: There is one.
    """
    for kind in ("created", "finished"):
        (option, after), (other, before) = given[f"{kind}_after"], given[f"{kind}_before"]
        if after is not None and before is not None and after >= before:
            raise UsageError(f"is not before {other}: nothing lies between", place=option)


def seconds_of(text: str | None, option: str) -> float | None:
    """An age as people write it, in seconds.

    Raises:
        UsageError: It is none.
    """
    if text is None:
        return None
    found = _AGE.fullmatch(text.strip())
    if not found:
        raise UsageError(f"is no age: {text!r}", place=option, remedy="Such as 90s, 15m, 2h, 7d or 4w.")
    return float(found[1]) * _SECONDS[found[2]]


def fields_of(given: Sequence[str], option: str) -> dict[str, Any]:
    """Fields to look for, as ``NAME=VALUE``; the value is JSON, or else text.

    Raises:
        UsageError: One is not of that form.
    """
    found: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError("is not of the form NAME=VALUE", place=f"{option} {text}")
        try:
            found[name] = value_of(value)
        except JsonError as error:
            raise UsageError(str(error), place=f"{option} {name}", remedy=VALUE_REMEDY) from None
    return found


def split_version(name: str) -> tuple[str, str | None]:
    """The name and the version of ``NAME`` or ``NAME@VERSION``."""
    workflow, at, version = name.rpartition("@")
    return (workflow, version) if at and workflow and version else (name, None)


# --- what people read ---------------------------------------------------------------------------------------


def local_time(milliseconds: int | None) -> str:
    """A time on this machine's clock; empty for what has not happened."""
    if not milliseconds:
        return ""
    try:
        return datetime.fromtimestamp(milliseconds / 1000).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return str(milliseconds)


def age(milliseconds: int) -> float:
    """Seconds since a time."""
    return max(0, now_ms() - milliseconds) / 1000


def table(
    titles: Sequence[str], rows: Iterable[Sequence[object]], *, right: Sequence[int] = (), indent: int = 0
) -> list[str]:
    """Rows below each other; nothing in them that a terminal would obey.

    Args:
        titles: Of the columns; a line of their own unless all are empty.
        right: Columns of numbers.
        indent: Spaces before each line.
    """
    cells = [[visible(" ".join(str(cell).split())) for cell in row] for row in rows]
    shown = [list(titles), *cells] if any(titles) else cells
    widths = [max((len(row[place]) for row in shown), default=0) for place in range(len(titles))]
    return [
        " " * indent
        + "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in shown
    ]
