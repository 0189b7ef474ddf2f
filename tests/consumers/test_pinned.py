"""Instances are pinned to their definition by its hash, which no other definition can take over."""

from __future__ import annotations

import pytest

from stepwell.consumers.definitions import Definitions
from stepwell.core.plan import compile_plan
from stepwell.errors import DefinitionConflictError
from stepwell.log.port import DEFINITIONS, NewRecord
from stepwell.schemas.definitions import Definition, Step, encode_definition

FIRST = Definition("first", (Step("a", handler="h"),), version="1")
OTHER = Definition("other", (Step("b", handler="h"),), version="1")


@pytest.fixture
def same_hash(monkeypatch):
    """All definitions have one hash, as two would whose SHA-256 begin alike."""
    monkeypatch.setattr("stepwell.core.plan.hash_canonical", lambda _: "0" * 16)
    monkeypatch.setattr("stepwell.consumers.definitions.hash_definition", lambda _: "0" * 16)


@pytest.mark.usefixtures("same_hash")
async def test_a_definition_with_the_hash_of_another_one_is_refused(log):
    definitions = Definitions(log)
    await definitions.register(FIRST)
    with pytest.raises(DefinitionConflictError, match="is that of first@1"):
        await definitions.register(OTHER)
    assert await log.end(DEFINITIONS, 0) == 1
    assert list(definitions.names()) == ["first"]
    assert (await definitions.register(FIRST)).definition == FIRST


@pytest.mark.usefixtures("same_hash")
async def test_a_definition_with_the_hash_of_another_one_never_changes_what_instances_do(log):
    records = [NewRecord(one.reference, encode_definition(one)) for one in (FIRST, OTHER)]
    await log.append(DEFINITIONS, 0, records)  # by somebody who does not ask
    definitions = Definitions(log)
    await definitions.catch_up()
    assert definitions.by_hash("0" * 16).definition == FIRST
    assert list(definitions.names()) == ["first"]
    assert [one.name for one in definitions.summaries()] == ["first"]
    with pytest.raises(DefinitionConflictError):
        await definitions.register(OTHER, compile_plan(OTHER))
