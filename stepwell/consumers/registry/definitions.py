"""The registered definitions, read from their topic and compiled once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from stepwell.command_line import command
from stepwell.consumers.registry.credentials import tell_credentials
from stepwell.core.plan.compile import Plan
from stepwell.errors import (
    DefinitionConflictError,
    DefinitionError,
    InactiveWorkflowError,
    RecordTooLargeError,
    StepwellError,
    UnknownWorkflowError,
)
from stepwell.language import compile_plan
from stepwell.log.port import DEFINITIONS, Log, NewRecord, Record
from stepwell.logs import Logger
from stepwell.schemas.definitions.model import Definition, decode_definition, encode_definition, hash_definition
from stepwell.schemas.records.activation import (
    ACTIVATION,
    ACTIVE_HEADER,
    KIND,
    VersionActivation,
    decode_activation,
    encode_activation,
    is_activation,
)
from stepwell.schemas.records.packing import pack, unpack
from stepwell.schemas.records.pins import SHORTEST, ByHash
from stepwell.schemas.records.sender import NOBODY, Sender
from stepwell.suggest import suggest

_logger = Logger("stepwell.definitions")

_NAMED: Final = 10  # definitions that a message names


class RegisteredVersion(Struct, frozen=True):
    """One registered version, as people and programs look through them.

    Attributes:
        name: Of the workflow.
        hash: What instances of it are pinned to; those that an earlier Stepwell started, to its first 16 digits.
        active: Whether new starts may take it.
        current: Whether a start that names no version takes it: the active one that was registered last.
        steps: How many there are.
        position: Offset of its record on the topic ``definitions``; those registered later have larger ones.
        registered_at: Milliseconds since 1970.
    """

    name: str
    version: str
    hash: str
    active: bool
    current: bool
    tags: tuple[str, ...]
    description: str
    steps: int
    position: int
    registered_at: int


class _Version:
    """What is known of one version; only ``active`` ever changes."""

    __slots__ = ("active", "hash", "position", "registered_at")

    def __init__(self, digest: str, record: Record) -> None:
        self.hash = digest
        self.active = record.headers.get(ACTIVE_HEADER) != "false"
        self.position = record.offset
        self.registered_at = record.timestamp


class Definitions:
    """What the log's ``definitions`` topic holds, as far as it was read.

    A fold over the topic, so that all readers agree without asking each other: the first record under a name and
    version stands, and a later one with other content is ignored by everybody, and so is one whose hash is that of
    another one: instances are pinned by it. The last ``VersionActivation`` of a version says whether it may be
    started.

    A hash is looked for by ``by_hash`` alone, whole or as a beginning that is one definition's alone.

    Attributes:
        position: Offset of the next record to read.
    """

    def __init__(self, log: Log) -> None:
        self._log = log
        self.position: int = 0
        self._versions: dict[str, dict[str, _Version]] = {}  # by name and version, the newest version last
        self._definitions = ByHash[Definition]()
        self._plans: dict[str, Plan] = {}  # by whole hash, compiled when first asked for
        self._broken: set[str] = set()  # whole hashes of those that do not compile

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
        if record.offset < self.position:
            return  # two that read at once: a record that comes twice must not undo what came between
        self.position = record.offset + 1
        try:
            if is_activation(record.headers):
                self._switch(decode_activation(record.value), record)
                return
            definition = decode_definition(unpack(record.value, record.headers))
        except ValueError as error:  # msgspec's errors are ValueErrors
            _logger.warning("unreadable definition ignored", key=record.key, offset=record.offset, error=str(error))
            return
        if self._version(definition.name, definition.version) is not None:
            return
        digest = hash_definition(definition)
        if self._definitions.whole(digest) == digest:  # of other content, as name and version are part of it
            _logger.warning("definition with another one's hash ignored", key=record.key, offset=record.offset)
            return
        self._versions.setdefault(definition.name, {})[definition.version] = _Version(digest, record)
        self._definitions.put(digest, definition)

    def _switch(self, asked: VersionActivation, record: Record) -> None:
        version = self._versions.get(asked.workflow, {}).get(asked.version)
        if version is None:  # nobody of ours writes that: a version is looked for before it is switched
            _logger.warning("activation of an unknown version ignored", key=record.key, offset=record.offset)
        else:
            version.active = asked.active

    async def register(
        self, definition: Definition, plan: Plan | None = None, *, activate: bool = True, sender: Sender = NOBODY
    ) -> Plan:
        """Make a definition known to everybody who uses this log.

        Registering the same definition again changes nothing, whether it is active or not.

        Args:
            plan: The definition's, if it has been compiled already.
            activate: Whether a version that is new may be started at once.
            sender: Who registers it, for people.

        Raises:
            DefinitionError: It is not valid, or larger than the log takes.
            DefinitionConflictError: Its name and version, or its hash, belong to another definition.
        """
        plan = plan or compile_plan(definition)
        await self.catch_up()
        if self._version(definition.name, definition.version) is None:
            self._check_hash(plan)
            tell_credentials(definition)
            value, headers = pack(encode_definition(definition), self._log.max_record_bytes)
            if not activate:
                headers[ACTIVE_HEADER] = "false"
            headers |= sender.headers
            try:
                await self._log.append(DEFINITIONS, 0, [NewRecord(definition.reference, value, headers)])
            except RecordTooLargeError as error:
                problem = f"has {error.size:,} bytes when compressed, more than a record of the log: {error.limit:,}"
                raise DefinitionError(
                    [problem], place=definition.reference, remedy="Move large data out of it, into files or an input."
                ) from None
            await self.catch_up()  # somebody may have been first
        if self._version(definition.name, definition.version) is None:
            self._check_hash(plan)
        if self._versions[definition.name][definition.version].hash != plan.hash:
            raise DefinitionConflictError(
                f"version {definition.version} of workflow {definition.name!r} is registered with other content",
                place=definition.reference,
                remedy="Registered versions never change: give this one a new `version`, or leave `version` out to "
                "have one made from the content.",
            )
        self._plans.setdefault(plan.hash, plan)
        return plan

    def _check_hash(self, plan: Plan) -> None:
        """Refuse a definition that is new and whose hash is, or begins as, that of another one.

        Instances of that one, and ids of submitted graphs, may be pinned by the beginning alone: they would stop, as
        nobody could tell any more which of the two they mean.
        """
        for digest in self._definitions.beginning(plan.hash[:SHORTEST]):
            other = self._definitions[digest].reference
            same = f"is that of {other}, whose instances are pinned by it"
            begins = f"begins as that of {other}, whose older instances are pinned by the beginning"
            raise DefinitionConflictError(
                f"its hash, {plan.hash}, {same if digest == plan.hash else begins}",
                place=plan.definition.reference,
                remedy="Change anything in it, such as its `description`: that gives it another hash.",
            )

    async def switch(
        self, workflow: str, version: str, *, active: bool, reason: str = "", sender: Sender = NOBODY
    ) -> bool:
        """Let new starts take a version, or not; instances that run keep theirs.

        Args:
            reason: Why, for people, and
            sender: who asks for it.

        Returns:
            Whether that changed anything.

        Raises:
            UnknownWorkflowError: No such version is registered.
        """
        await self.catch_up()
        found = self._version(workflow, version)
        if found is None:
            raise self.unknown(workflow, version)
        if found.active is active:
            return False
        value = encode_activation(VersionActivation(workflow, version, active, reason))
        headers = {KIND: ACTIVATION, **sender.headers}
        await self._log.append(DEFINITIONS, 0, [NewRecord(f"{workflow}@{version}", value, headers)])
        await self.catch_up()
        return True

    async def to_start(self, workflow: str, version: str | None) -> Plan | StepwellError:
        """What a start takes, or why it can take nothing.

        The version is chosen where the topic was read to its end, and not by an engine that may be behind: so a start
        sees whatever was registered, activated or deactivated before it.
        """
        await self.catch_up()
        plan = self.resolve(workflow, version)
        if plan is not None and self.is_active(workflow, version):
            return plan
        if plan is None and (version is not None or workflow not in self.names()):
            return self.unknown(workflow, version)
        activate = command("activate", f"{workflow}@{version or 'VERSION'}")
        return InactiveWorkflowError(
            f"{f'version {version}' if version else 'every version'} of workflow {workflow!r} is inactive",
            workflow=workflow,
            version=version or "",
            remedy=f"`{activate}` lets it be started again; "
            f"`{command('definitions', '--workflow', workflow)}` shows its versions.",
        )

    def unknown(self, workflow: str, version: str | None) -> UnknownWorkflowError:
        """The error for what is not registered."""
        versions = self._versions.get(workflow)
        if versions and version is not None:
            newest = ", ".join(list(versions)[-10:])
            return UnknownWorkflowError(
                f"no workflow {workflow!r} version {version} is registered (there are: {newest})",
                remedy="Register it first: client.register(path), or stepwell register FILE.",
            )
        from stepwell.schemas.definitions.blueprint import of_template  # noqa: PLC0415 - start-up time

        known = ", ".join(sorted(self._versions)) or "none"
        named = f"{workflow!r}" + (f" version {version}" if version else "")
        return UnknownWorkflowError(
            f"no workflow {named} is registered{suggest(workflow, self._versions)} (there are: {known})",
            remedy=of_template(workflow, self._versions)
            or "Register its definition first: client.register(path), or stepwell start FILE.",
        )

    def by_hash(self, definition: str) -> Plan | None:
        """The definition that an instance is pinned to, compiled.

        Args:
            definition: Its hash; or the beginning of one, as earlier versions of Stepwell pinned it.

        Returns:
            None where it is not known (yet), or a beginning fits several: ``why_missing`` says which.
        """
        plan = self._plans.get(definition)
        if plan is not None:
            return plan
        digest = self._definitions.whole(definition)
        if digest is None or digest in self._broken:
            return None
        plan = self._plans.get(digest)
        if plan is None:
            try:
                plan = compile_plan(self._definitions[digest])
            except DefinitionError as error:
                _logger.warning("a registered definition does not compile", hash=digest, error=str(error))
                self._broken.add(digest)
                return None
            self._plans[digest] = plan
        return plan

    def why_missing(self, definition: str) -> str:
        """Why ``by_hash`` gives nothing for this hash, in words."""
        found = [self._definitions[digest].reference for digest in self._definitions.beginning(definition)]
        if not found:
            return f"no definition with the hash {definition} is registered"
        if len(found) == 1:
            return f"the definition with the hash {definition}, {found[0]}, does not compile here"
        named = ", ".join(found[:_NAMED]) + (", …" if len(found) > _NAMED else "")
        several = f"the hashes of {len(found):,} definitions begin with {definition}"
        return f"{several}, and nobody can tell which is meant: {named}"

    def knows(self, definition: str) -> bool:
        """Whether a definition was read, by its hash; it need not have been compiled."""
        return definition in self._plans or bool(self._definitions.beginning(definition))

    def resolve(self, workflow: str, version: str | None) -> Plan | None:
        """A definition by name and version, active or not; without a version, the active one registered last."""
        found = self._version(workflow, version) if version is not None else self._current(workflow)
        return None if found is None else self.by_hash(found.hash)

    def is_active(self, workflow: str, version: str | None) -> bool:
        """Whether new starts may take this version; without one, whether they may take any."""
        found = self._version(workflow, version) if version is not None else self._current(workflow)
        return found is not None and found.active

    def _version(self, workflow: str, version: str) -> _Version | None:
        return self._versions.get(workflow, {}).get(version)

    def _current(self, workflow: str) -> _Version | None:
        versions = self._versions.get(workflow, {})
        return next((version for version in reversed(versions.values()) if version.active), None)

    def names(self) -> Iterable[str]:
        """Names of the registered workflows."""
        return self._versions.keys()

    def all(self) -> list[Definition]:
        """Every registered definition, by name and in the order of registration."""
        return [
            self._definitions[version.hash]
            for name in sorted(self._versions)
            for version in self._versions[name].values()
        ]

    def summaries(self) -> list[RegisteredVersion]:
        """What there is to say of each, in the same order."""
        return [
            RegisteredVersion(
                name=name,
                version=number,
                hash=version.hash,
                active=version.active,
                current=version is self._current(name),
                tags=self._definitions[version.hash].tags,
                description=self._definitions[version.hash].description,
                steps=len(self._definitions[version.hash].steps),
                position=version.position,
                registered_at=version.registered_at,
            )
            for name in sorted(self._versions)
            for number, version in self._versions[name].items()
        ]
