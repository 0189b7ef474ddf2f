"""The tables of the read models, and how an older file becomes one of today.

The file is for people too: ``sqlite3 FILE`` and ``SELECT * FROM runs WHERE status = 'failed'``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from stepwell.projections.rows import AttemptRow, InstanceRow

SCHEMA_VERSION: Final = 2  # raise it with a step in MIGRATIONS, or with none where the rows must be made anew
APPLICATION_ID: Final = 0x53545756  # "STWV" in the file's header
OFFSET_BITS: Final = 40  # a place is partition << 40 | offset; of the topic `definitions`, -1 - offset
OFFSETS: Final = (1 << OFFSET_BITS) - 1
DEFINITIONS_PARTITION: Final = -1  # under which the position on the topic `definitions` is kept
CLEANUPS_PARTITION: Final = -2  # and that on the topic `cleanups`,
REFUSALS_PARTITION: Final = -3  # and on `refusals`

MIGRATIONS: Final[dict[int, str]] = {
    # The registry is copied once more: it holds whole hashes now.
    1: "ALTER TABLE attempts ADD COLUMN deliveries INTEGER NOT NULL DEFAULT 1;\n"
    f"DELETE FROM positions WHERE partition = {DEFINITIONS_PARTITION};",
}
"""What makes a file of the next version out of one of this; a version without one is built anew from the log."""

SCHEMA: Final = """
CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
-- Up to where the log was followed; written in the same transaction as what it led to.
CREATE TABLE positions(
  partition INTEGER PRIMARY KEY, offset INTEGER NOT NULL, epoch INTEGER NOT NULL, number INTEGER NOT NULL,
  at INTEGER NOT NULL, proof TEXT NOT NULL);
CREATE TABLE definitions(
  workflow TEXT NOT NULL, version TEXT NOT NULL, hash TEXT NOT NULL, active INTEGER NOT NULL,
  current INTEGER NOT NULL, tags TEXT NOT NULL, description TEXT NOT NULL, steps INTEGER NOT NULL,
  registered_at INTEGER NOT NULL, PRIMARY KEY(workflow, version)) WITHOUT ROWID;
CREATE TABLE workflows(number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE instances(
  number INTEGER PRIMARY KEY, id TEXT NOT NULL, workflow INTEGER NOT NULL, version TEXT NOT NULL,
  status TEXT NOT NULL, definition TEXT NOT NULL, priority INTEGER NOT NULL, started_at INTEGER NOT NULL,
  finished_at INTEGER NOT NULL, updated_at INTEGER NOT NULL, sequence INTEGER NOT NULL, active INTEGER NOT NULL,
  failed_step TEXT NOT NULL, error TEXT NOT NULL, reason TEXT NOT NULL, incident TEXT NOT NULL,
  parent TEXT NOT NULL, input_hash BLOB);
CREATE INDEX instances_by_id ON instances(id);
CREATE INDEX instances_by_time ON instances(started_at);
CREATE INDEX instances_by_status ON instances(status, started_at);
CREATE INDEX instances_by_workflow ON instances(workflow, started_at);
CREATE INDEX instances_by_both ON instances(workflow, status, started_at);
CREATE INDEX instances_by_priority ON instances(priority, started_at);
CREATE INDEX instances_by_end ON instances(finished_at);
CREATE INDEX instances_by_parent ON instances(parent) WHERE parent <> '';
CREATE INDEX instances_by_input ON instances(input_hash);
-- Every attempt at every step. Inputs and outputs are not here a second time: `history` has them.
CREATE TABLE attempts(
  instance INTEGER NOT NULL, sequence INTEGER NOT NULL, step_id TEXT NOT NULL, run INTEGER NOT NULL,
  attempt INTEGER NOT NULL, max_attempts INTEGER NOT NULL, purpose TEXT NOT NULL, step_type TEXT NOT NULL,
  handler TEXT NOT NULL, queue TEXT NOT NULL, status TEXT NOT NULL, waits_for TEXT NOT NULL, worker TEXT NOT NULL,
  ready_at INTEGER NOT NULL, started_at INTEGER NOT NULL, finished_at INTEGER NOT NULL, took INTEGER NOT NULL,
  cpu INTEGER NOT NULL, due INTEGER NOT NULL, error TEXT NOT NULL, traceback TEXT NOT NULL,
  output_at INTEGER NOT NULL, deliveries INTEGER NOT NULL DEFAULT 1, PRIMARY KEY(instance, sequence)) WITHOUT ROWID;
CREATE INDEX attempts_under_way ON attempts(ready_at) WHERE finished_at = 0;
-- Every accepted transition of an instance, as the log holds it.
CREATE TABLE history(
  place INTEGER PRIMARY KEY, instance INTEGER NOT NULL, sequence INTEGER NOT NULL, value BLOB NOT NULL);
CREATE INDEX history_by_instance ON history(instance);
-- Where a history begins in the middle: the state that it goes on from.
CREATE TABLE bases(instance INTEGER PRIMARY KEY, at INTEGER NOT NULL, state BLOB NOT NULL);
CREATE TABLE names(number INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE fields(
  name INTEGER NOT NULL, value TEXT NOT NULL, instance INTEGER NOT NULL, PRIMARY KEY(name, value, instance)
) WITHOUT ROWID;
CREATE TABLE errors(
  number INTEGER PRIMARY KEY, instance INTEGER NOT NULL, at INTEGER NOT NULL, step_id TEXT NOT NULL,
  run INTEGER NOT NULL, kind TEXT NOT NULL, message TEXT NOT NULL);
CREATE INDEX errors_by_instance ON errors(instance);
CREATE INDEX errors_by_time ON errors(at);
CREATE VIRTUAL TABLE error_texts USING fts5(
  kind, message, content='errors', content_rowid='number', tokenize='trigram');
CREATE TABLE counts(
  workflow TEXT NOT NULL, version TEXT NOT NULL, step_id TEXT NOT NULL, measure TEXT NOT NULL, slot INTEGER NOT NULL,
  count INTEGER NOT NULL, PRIMARY KEY(workflow, version, step_id, measure, slot)) WITHOUT ROWID;
-- The same by the hour, for what goes by time.
CREATE TABLE hours(
  hour INTEGER NOT NULL, workflow TEXT NOT NULL, version TEXT NOT NULL, measure TEXT NOT NULL,
  count INTEGER NOT NULL, PRIMARY KEY(hour, workflow, version, measure)) WITHOUT ROWID;
CREATE INDEX counts_by_measure ON counts(measure, workflow, version) WHERE step_id = '';
CREATE TABLE audit(
  place INTEGER PRIMARY KEY, at INTEGER NOT NULL, instance_id TEXT NOT NULL, by TEXT NOT NULL, via TEXT NOT NULL,
  command TEXT NOT NULL, command_id TEXT NOT NULL, outcome TEXT NOT NULL, message TEXT NOT NULL,
  definition TEXT NOT NULL);
CREATE INDEX audit_by_time ON audit(at);
CREATE INDEX audit_by_instance ON audit(instance_id);
CREATE INDEX audit_by_name ON audit(by, at);
-- For people with the sqlite3 shell.
CREATE VIEW runs AS
  SELECT i.id, w.name AS workflow, i.version, i.status, i.priority,
    datetime(i.started_at / 1000, 'unixepoch') AS started,
    CASE WHEN i.finished_at THEN datetime(i.finished_at / 1000, 'unixepoch') END AS finished,
    i.failed_step, i.error, i.reason, i.incident, i.parent, i.number
  FROM instances i JOIN workflows w ON w.number = i.workflow;
CREATE VIEW events AS
  SELECT i.id, h.place >> 40 AS partition, h.place & ((1 << 40) - 1) AS offset, h.sequence,
    CAST(h.value AS TEXT) AS value
  FROM history h JOIN instances i ON i.number = h.instance;
"""

INSTANCE_COLUMNS: Final = (
    "id", "workflow", "version", "status", "definition", "priority", "started_at", "finished_at", "updated_at",
    "sequence", "active", "failed_step", "error", "reason", "incident", "parent",
)  # fmt: skip
_MUTABLE: Final = (
    "status", "finished_at", "updated_at", "sequence", "active", "failed_step", "error", "reason", "incident",
)  # fmt: skip

# A time that has not come is None in a row, and 0 in a table, where indexes have it.
_TIMES: Final = frozenset({"started_at", "finished_at", "due"})


def columns_of(names: Iterable[str], table: str = "") -> str:
    """Columns of a table as rows have them, for SELECT."""
    prefix = f"{table}." if table else ""
    return ", ".join(f"nullif({prefix}{name}, 0)" if name in _TIMES else prefix + name for name in names)


def _values(names: Iterable[str]) -> str:
    return ", ".join("ifnull(?, 0)" if name in _TIMES else "?" for name in names)


INSERT_INSTANCE: Final = (
    f"INSERT INTO instances(number, {', '.join(INSTANCE_COLUMNS)}, input_hash) "
    f"VALUES ({_values(('number', *INSTANCE_COLUMNS, 'input_hash'))})"
)
UPDATE_INSTANCE: Final = (
    f"UPDATE instances SET {', '.join(f'{name} = {_values([name])}' for name in _MUTABLE)} WHERE number = ?"
)
ATTEMPT_COLUMNS: Final = AttemptRow.__struct_fields__
PUT_ATTEMPT: Final = (
    f"INSERT OR REPLACE INTO attempts(instance, {', '.join(ATTEMPT_COLUMNS)}) "
    f"VALUES ({_values(('instance', *ATTEMPT_COLUMNS))})"
)
PUT_HISTORY: Final = "INSERT INTO history(place, instance, sequence, value) VALUES (?, ?, ?, ?)"
PUT_BASE: Final = "INSERT INTO bases(instance, at, state) VALUES (?, ?, ?)"
PUT_FIELD: Final = "INSERT OR IGNORE INTO fields(name, value, instance) VALUES (?, ?, ?)"
DROP_FIELD: Final = "DELETE FROM fields WHERE name = ? AND value = ? AND instance = ?"
PUT_ERROR: Final = (
    "INSERT INTO errors(number, instance, at, step_id, run, kind, message) VALUES (?, ?, ?, ?, ?, ?, ?)"
)
PUT_ERROR_TEXT: Final = "INSERT INTO error_texts(rowid, kind, message) VALUES (?, ?, ?)"
ADD_COUNT: Final = (
    "INSERT INTO counts(workflow, version, step_id, measure, slot, count) VALUES (?, ?, ?, ?, ?, ?) "
    "ON CONFLICT DO UPDATE SET count = count + excluded.count"
)
ADD_TO_HOUR: Final = (
    "INSERT INTO hours(hour, workflow, version, measure, count) VALUES (?, ?, ?, ?, ?) "
    "ON CONFLICT DO UPDATE SET count = count + excluded.count"
)
PUT_DEFINITION: Final = (
    "INSERT INTO definitions(workflow, version, hash, active, current, tags, description, steps, registered_at) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
PUT_AUDIT: Final = (
    "INSERT OR IGNORE INTO audit(place, at, instance_id, by, via, command, command_id, outcome, message, definition) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)

FORGET_REFUSALS: Final = "DELETE FROM audit WHERE place <= ? AND place > ?"


def refusal_place(offset: int) -> int:
    """Where a record of the topic ``refusals`` stands in the table ``audit``: below all of the other topics."""
    return -1 - (1 << OFFSET_BITS) - offset


def new_instance(number: int, workflow: int, row: InstanceRow, input_hash: bytes | None) -> tuple[object, ...]:
    """The parameters of ``INSERT_INSTANCE``."""
    return (
        number, row.instance_id, workflow, row.version, row.status, row.definition, row.priority, row.started_at,
        row.finished_at, row.updated_at, row.sequence, row.active, row.failed_step, row.error, row.reason,
        row.incident, row.parent, input_hash,
    )  # fmt: skip


def changed_instance(number: int, row: InstanceRow) -> tuple[object, ...]:
    """The parameters of ``UPDATE_INSTANCE``."""
    return (*(getattr(row, name) for name in _MUTABLE), number)
