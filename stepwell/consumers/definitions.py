"""The registered definitions, read from their topic and compiled once."""

from __future__ import annotations

from collections.abc import Iterable

from stepwell.core.plan import Plan, compile_plan
from stepwell.errors import DefinitionConflictError, DefinitionError
from stepwell.log.port import DEFINITIONS, Log, NewRecord, Record
from stepwell.schemas.definitions import Definition, decode_definition, encode_definition, hash_definition
from stepwell.telling import Logger

_logger = Logger("stepwell.definitions")


class Definitions:
    """What the log's ``definitions`` topic holds, as far as it was read.

    The first record under a name and version stands; a later one with other content is ignored by everybody, so
    that all readers agree without asking each other.

    Attributes:
        position: Offset of the next record to read.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self.position = 0
        self._versions: dict[str, dict[str, str]] = {}  # name -> version -> hash, the newest version last
        self._definitions: dict[str, Definition] = {}  # by hash
        self._plans: dict[str, Plan] = {}  # by hash, compiled when first asked for

    async def catch_up(self) -> None:
        """Read up to the end of the topic as it is now."""
        end = await self._log.end(DEFINITIONS, 0)
        while self.position < end:
            records = await self._log.read(DEFINITIONS, 0, self.position)
            if not records:
                return
            for record in records:
                self._take(record)

    def _take(self, record: Record) -> None:
        self.position = max(self.position, record.offset + 1)
        try:
            definition = decode_definition(record.value)
        except ValueError as error:  # msgspec's errors are ValueErrors
            _logger.warning("unreadable definition ignored", key=record.key, offset=record.offset, error=str(error))
            return
        versions = self._versions.setdefault(definition.name, {})
        digest = hash_definition(definition)
        if definition.version not in versions:
            versions[definition.version] = digest
            self._definitions[digest] = definition

    async def register(self, definition: Definition, plan: Plan | None = None) -> Plan:
        """Make a definition known to everybody who uses this log.

        Registering the same definition again changes nothing.

        Args:
            plan: The definition's, if it has been compiled already.

        Raises:
            DefinitionError: It is not valid.
            DefinitionConflictError: Its name and version belong to another definition.
        """
        plan = plan or compile_plan(definition)
        await self.catch_up()
        if self._versions.get(definition.name, {}).get(definition.version) is None:
            value = encode_definition(definition)
            await self._log.append(DEFINITIONS, 0, [NewRecord(definition.reference, value)])
            await self.catch_up()  # somebody may have been first
        if self._versions[definition.name][definition.version] != plan.hash:
            raise DefinitionConflictError(
                f"version {definition.version} of workflow {definition.name!r} is registered with other content",
                place=definition.reference,
                remedy="Registered versions never change: give this one a new `version`, or leave `version` out to "
                "have one made from the content.",
            )
        self._plans.setdefault(plan.hash, plan)
        return plan

    def by_hash(self, definition: str) -> Plan | None:
        """The definition that an instance is pinned to, compiled; None where it is not known (yet)."""
        plan = self._plans.get(definition)
        if plan is None and definition in self._definitions:
            try:
                plan = compile_plan(self._definitions[definition])
            except DefinitionError as error:
                _logger.warning("a registered definition does not compile", hash=definition, error=str(error))
                return None
            self._plans[definition] = plan
        return plan

    def resolve(self, workflow: str, version: str | None) -> Plan | None:
        """A definition by name and version; without one, the version registered last."""
        versions = self._versions.get(workflow)
        if not versions:
            return None
        digest = versions.get(version) if version is not None else next(reversed(versions.values()))
        return None if digest is None else self.by_hash(digest)

    def names(self) -> Iterable[str]:
        """Names of the registered workflows."""
        return self._versions.keys()

    def all(self) -> list[Definition]:
        """Every registered definition, by name and in the order of registration."""
        return [
            self._definitions[digest]
            for name in sorted(self._versions)
            for digest in self._versions[name].values()
            if digest in self._definitions
        ]
