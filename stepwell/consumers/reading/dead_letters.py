"""What cannot be decoded, on its way to where people find it, with the reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from stepwell.log.port import NewRecord

_LONGEST: Final = 1000  # characters of a key or a reason; only a stranger's are longer


def letters_of(key: str, value: bytes, headers: Mapping[str, str], limit: int) -> list[NewRecord]:
    """The dead letters that hold a record: one, or several, each with its ``part``, of one larger than the log takes.

    There are such, where other programs may write larger records than we.

    Args:
        headers: The reason, and where the record was.
        limit: The log's ``max_record_bytes``.
    """
    headers = {name: text[:_LONGEST] for name, text in headers.items()}
    cut = range(0, max(len(value), 1), limit)
    return [
        NewRecord(
            key[:_LONGEST],
            value[start : start + limit],
            headers | ({"part": f"{number}/{len(cut)}"} if len(cut) > 1 else {}),
        )
        for number, start in enumerate(cut, 1)
    ]
