"""Every verb that works on queues reads their names alike."""

from __future__ import annotations

import functools

import pytest

from stepwell.cli.verbs import dev, serve, worker

from .conftest import Inside


@pytest.mark.parametrize(("verb", "module"), [("worker", worker), ("serve", serve), ("dev", dev)])
@pytest.mark.parametrize(("given", "meant"), [
    ((), ["default"]), (("--queue", "a,b"), ["a", "b"]), (("--queue", " a , b ", "--queue", "c"), ["a", "b", "c"]),
    (("--queue", "a", "--queue", "a,b"), ["a", "b"]),
])  # fmt: skip
def test_queues_are_split_at_commas_by_every_verb(inside: Inside, monkeypatch, verb, module, given, meant):
    seen = []

    @functools.wraps(getattr(module, verb))  # its options are those of the real one
    async def keep(*_args, queues, **_more):
        seen.append(queues)
        return 0

    monkeypatch.setattr(module, verb, keep)
    inside(verb, *given)
    assert seen == [meant]


@pytest.mark.parametrize("verb", ["worker", "serve", "dev"])
def test_a_queue_without_a_name_is_refused_by_every_verb(inside: Inside, verb: str):
    assert "a queue's name has one character at least" in inside(verb, "--queue", "a,,b", status=2)
