"""Handlers of the shipped templates: what they compute and write is real, and needs no other system.

Name them to a worker with ``--handlers stepwell.templates.handlers``. Documents are written to an outbox, a directory
from which a mail gateway, a payment service or a printer takes them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from decimal import ROUND_HALF_UP, Decimal
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Final

from stepwell.consumers.worker.context import StepContext


class ValidationError(ValueError):
    """The data does not fit; another attempt would meet the same."""


_CENT: Final = Decimal("0.01")
_NAME: Final = re.compile(r"[\w][\w.@+-]{0,99}")
_LAST_DIGITS: Final = re.compile(r"\d{4}")


def price_order(data: dict[str, Any], ctx: StepContext) -> dict[str, Any]:
    """Price every line of ``items`` by ``config.catalogue``.

    Returns:
        ``{lines, total, currency, agrees}``; ``agrees`` tells whether the total is the ``order_amount`` of the input.

    Raises:
        ValidationError: A product is not in the catalogue.
    """
    catalogue = ctx.config["catalogue"]
    unknown = sorted({item["product_id"] for item in data["items"]} - set(catalogue))
    if unknown:
        raise ValidationError(f"not in the catalogue: {', '.join(unknown)}")
    lines = []
    total = Decimal(0)
    for item in data["items"]:
        price = Decimal(str(catalogue[item["product_id"]]["price"]))
        amount = (price * item["quantity"]).quantize(_CENT, ROUND_HALF_UP)
        total += amount
        lines.append({**item, "price": float(price), "amount": float(amount)})
    agrees = total == Decimal(str(data["order_amount"])).quantize(_CENT, ROUND_HALF_UP)
    return {"lines": lines, "total": float(total), "currency": ctx.config["currency"], "agrees": agrees}


def check_stock(data: dict[str, Any], ctx: StepContext) -> dict[str, Any]:
    """Compare what is ordered with the ``stock`` of ``config.catalogue``.

    Returns:
        ``{lines}``: each product with what is ordered of it in all, and what is left after that.

    Raises:
        ValidationError: There is not enough of something, with each shortage.
    """
    catalogue = ctx.config["catalogue"]
    wanted: dict[str, int] = {}
    for item in data["items"]:
        wanted[item["product_id"]] = wanted.get(item["product_id"], 0) + item["quantity"]
    stock = {product: catalogue[product].get("stock", 0) for product in wanted}
    short = [f"{product}: {count} ordered, {stock[product]} there" for product, count in wanted.items()
             if count > stock[product]]  # fmt: skip
    if short:
        raise ValidationError(f"not enough of {'; '.join(short)}")
    return {
        "lines": [
            {"product_id": product, "quantity": count, "left": stock[product] - count}
            for product, count in wanted.items()
        ]
    }


def check_payment(data: dict[str, Any], ctx: StepContext) -> dict[str, Any]:
    """Check a method of payment: its type against ``config.accepted``, the last digits of a card.

    Returns:
        ``{type, reference}``, without anything of the card but its last four digits.

    Raises:
        ValidationError: It is not accepted.
    """
    kind = data["type"]
    if kind not in ctx.config["accepted"]:
        raise ValidationError(f"{kind} is not accepted; there are {', '.join(ctx.config['accepted'])}")
    if not kind.endswith("_card"):
        return {"type": kind, "reference": kind}
    last = str(data.get("last4", ""))
    if not _LAST_DIGITS.fullmatch(last):
        raise ValidationError("last4 must be the last four digits of the card")
    return {"type": kind, "reference": f"card ending in {last}"}


def check_limit(data: dict[str, Any], ctx: StepContext) -> dict[str, Any]:
    """Compare an expense's ``amount`` with the limit of its ``category`` in ``config.limits``.

    Returns:
        ``{within, limit, reason}``; a category without a limit is never within.
    """
    limit = ctx.config["limits"].get(data["category"])
    if limit is None:
        return {"within": False, "limit": None, "reason": f"There is no limit for {data['category']}."}
    within = data["amount"] <= limit
    words = "is within" if within else "exceeds"
    return {"within": within, "limit": limit, "reason": f"It {words} the limit of {limit:g}."}


def split_items(data: dict[str, Any], ctx: StepContext) -> dict[str, Any]:
    """Cut ``items`` into ``config.parts`` neighbouring parts whose sizes differ by one at most."""
    items, parts = data["items"], ctx.config["parts"]
    size, rest = divmod(len(items), parts)
    made, at = [], 0
    for number in range(parts):
        end = at + size + (number < rest)
        made.append(items[at:end])
        at = end
    return {"parts": made}


def check_part(data: dict[str, Any], ctx: StepContext) -> dict[str, Any]:
    """Check what an agent made of its part: a list of ``results``, for ``config.least_share`` of the items.

    Returns:
        ``{part, items, results, share, checksum}``.

    Raises:
        ValidationError: There are too few, too many, or no results at all.
    """
    outcome, count = data["outcome"], len(data["items"])
    results = outcome.get("results") if isinstance(outcome, dict) else None
    if not isinstance(results, list):
        raise ValidationError(f"part {data['part']}: the agent returned no list of results")
    useful = [result for result in results if result is not None]
    share, least = len(useful) / count, ctx.config["least_share"]
    if len(results) > count:
        raise ValidationError(f"part {data['part']}: {len(results)} results for {count} items")
    if share < least:
        raise ValidationError(f"part {data['part']}: {len(useful)} results for {count} items, {least:.0%} are needed")
    return {"part": data["part"], "items": count, "results": useful, "share": share, "checksum": _checksum(useful)}


def join_parts(data: dict[str, Any]) -> dict[str, Any]:
    """Put parts that have passed their check together, in order; a part that was left out is null.

    Returns:
        ``{results, count, expected, complete, parts, sums}``; ``sums`` adds up each field that is a number in
        every result that has it.
    """
    parts = [part for part in data["parts"] if part is not None]
    results = [result for part in parts for result in part["results"]]
    return {
        "results": results,
        "count": len(results),
        "expected": data["expected"],
        "complete": len(results) == data["expected"],
        "parts": [{key: part[key] for key in ("part", "items", "share", "checksum")} for part in parts],
        "sums": _sums(results),
    }


def _sums(results: list[Any]) -> dict[str, float]:
    found: dict[str, list[Any]] = {}
    for result in results:
        for key, value in result.items() if isinstance(result, dict) else ():
            found.setdefault(key, []).append(value)
    numbers = {
        key: values
        for key, values in found.items()
        if all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    }
    return {key: sum(values) for key, values in numbers.items()}


def write_document(data: Any, ctx: StepContext) -> dict[str, Any]:
    """Write the input as JSON to ``config.directory/folder/name.json``.

    A repeat writes the same file, and whoever looks sees the old one or the new one, never half of it.

    Returns:
        ``{path, sha256, bytes}``.

    Raises:
        ValidationError: Folder or name would lead elsewhere.
    """
    document = {"id": ctx.idempotency_key, "instance": ctx.instance_id, "document": data}
    text = json.dumps(document, ensure_ascii=False, indent=2, sort_keys=True) + "\n"
    return _write(_place(ctx, ".json"), text.encode())


def write_mail(data: dict[str, Any], ctx: StepContext) -> dict[str, Any]:
    """Write a mail (RFC 5322) as ``config.directory/folder/name.eml``, for a mail gateway to send.

    Args:
        data: ``{to, subject, text}``.
        ctx: ``config.sender`` is whom it comes from.

    Returns:
        ``{path, sha256, bytes}``.

    Raises:
        ValidationError: An address or the subject cannot stand in a header.
    """
    message = EmailMessage()
    try:
        message["From"], message["To"], message["Subject"] = ctx.config["sender"], data["to"], data["subject"]
    except ValueError as error:
        raise ValidationError(str(error)) from None
    if not message["To"].addresses or "@" not in str(message["To"]):
        raise ValidationError(f"{data['to']!r} is no address")
    # The same for every attempt, so that a gateway that has seen it knows it again.
    message["Message-ID"] = f"<{_checksum(ctx.idempotency_key)[:32]}@stepwell.invalid>"
    message.set_content(data["text"])
    return _write(_place(ctx, ".eml"), message.as_bytes())


def withdraw_document(data: dict[str, Any]) -> dict[str, Any]:
    """Undo ``write_document``: remove the file, if it still is what was written.

    Args:
        data: What ``write_document`` returned.

    Returns:
        ``{path, withdrawn}``; a file that somebody has taken or changed stays as it is, and is not withdrawn.
    """
    path = Path(data["path"])
    with contextlib.suppress(FileNotFoundError):
        if hashlib.sha256(path.read_bytes()).hexdigest() == data["sha256"]:
            path.unlink()
            return {"path": str(path), "withdrawn": True}
    return {"path": str(path), "withdrawn": False}


def _place(ctx: StepContext, suffix: str) -> Path:
    for key in ("folder", "name"):
        if not _NAME.fullmatch(str(ctx.config[key])):
            raise ValidationError(f"{ctx.config[key]!r} cannot be the name of a file: letters, digits and .@+-_ only")
    return Path(ctx.config["directory"], ctx.config["folder"], f"{ctx.config['name']}{suffix}")


def _write(path: Path, content: bytes) -> dict[str, Any]:
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_bytes(content)
    beside.replace(path)
    return {"path": str(path), "sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}


def _checksum(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
