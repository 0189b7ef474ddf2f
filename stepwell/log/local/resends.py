"""Work that is sent again: of a record with an id there is one entry in the file, however often it is sent.

Whoever takes a partition of events over sends again what the owner before may not have delivered. What it did deliver
may still wait, may be in the hands of a worker, or may be settled; and what it had not finished writing may even come
after the repeat. So the ids of what was sent again are kept for a while, each with the token of its entry: a record
with such an id is no second entry, and whoever settles a copy that he was handed in memory settles that entry.

What is sent once, which is nearly everything, costs none of this: nothing is looked up while nothing was sent again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from stepwell.errors import LogError
from stepwell.log.local.batches import Batch
from stepwell.log.local.services import Services
from stepwell.log.local.transaction import Row, Transaction

KEPT_FOR: Final = 600_000  # milliseconds; a process that is this late with a commit has been struck off


class EnqueueAgain:
    """Put records into a queue that may have been put there before.

    Args:
        log: The log.
        queue: The queue.
        rows: The records, each with its id.
        batch: What they are part of.
    """

    durable = True

    def __init__(self, log: Services, queue: str, rows: list[Row], batch: Batch) -> None:
        self._log = log
        self._queue = queue
        self._rows = rows
        self._batch = batch
        self.size: int = sum(len(row.value) for row in rows)

    def apply(self, tx: Transaction) -> None:
        known = {**_waiting(tx, self._queue, self._rows), **tokens_of(tx, self._rows)}
        new = list({row.effect: row for row in self._rows if row.effect not in known}.values())
        first = tx.enqueue(self._queue, new, [None] * len(new))
        known.update((row.effect, token) for token, row in enumerate(new, first))
        tx.execute("DELETE FROM sent_again WHERE at < ?", (tx.now - KEPT_FOR,))
        tx.execute(
            "INSERT INTO sent_again SELECT key, value, ? FROM json_each(?) WHERE true "
            "ON CONFLICT(id) DO UPDATE SET at = excluded.at",
            (tx.now, _json(known)),
        )
        tx.execute(
            "INSERT INTO meta VALUES ('sent_again_at', ?) ON CONFLICT(name) DO UPDATE SET value = excluded.value",
            (tx.now,),
        )
        tx.repeats = tx.now

    def done(self) -> None:
        self._log.gave_back()
        self._batch.safe(len(self._rows))

    def failed(self, error: LogError) -> None:
        self._batch.failed(error)


def tokens_of(tx: Transaction, rows: Sequence[Row]) -> dict[str, int]:
    """The ids of those records that were sent again lately, with the tokens of their entries, settled or not."""
    if tx.repeats is None:
        found = tx.execute("SELECT value FROM meta WHERE name = 'sent_again_at'").fetchone()
        tx.repeats = found[0] if found else 0
    if tx.repeats < tx.now - KEPT_FOR:  # nearly always
        return {}
    ids = _json([row.effect for row in rows if row.effect])
    return dict(
        tx.execute("SELECT id, token FROM sent_again WHERE id IN (SELECT value FROM json_each(?))", (ids,)).fetchall()
    )


def count_lost(tx: Transaction, chosen: str, parameters: Sequence[Any]) -> None:
    """Count entries as handed out and lost.

    Args:
        chosen: Which, as a condition on the table ``queue``,
        parameters: and its parameters.
    """
    tx.execute("DELETE FROM lost WHERE token NOT IN (SELECT id FROM queue)")
    tx.execute(
        f"INSERT INTO lost SELECT id, 1 FROM queue WHERE {chosen} "  # noqa: S608 - constants
        "ON CONFLICT(token) DO UPDATE SET times = times + 1",
        parameters,
    )


def _waiting(tx: Transaction, queue: str, rows: Sequence[Row]) -> dict[str, int]:
    """Which of the records are in a queue still, with the tokens of their entries. Looks at the whole queue."""
    found = tx.execute(
        "SELECT json_extract(headers, '$.id'), id FROM queue WHERE queue = ? "
        "AND key IN (SELECT value FROM json_each(?)) AND json_extract(headers, '$.id') IN "
        "(SELECT value FROM json_each(?))",
        (queue, _json(sorted({row.key for row in rows})), _json([row.effect for row in rows])),
    )
    return dict(found.fetchall())


def _json(value: object) -> str:
    return msgspec.json.encode(value).decode()
