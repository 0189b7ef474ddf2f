"""``--id``: whether an instance is started, gone on with, or neither."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Inside, Shell

READS = {"name": "order", "steps": [{"id": "a", "handler": "steps.note", "input": {"n": "{{ input.n }}"}}]}
ASKS = {
    "name": "order",
    "input_schema": {"type": "object", "required": ["n"], "properties": {"n": {"type": "integer"}}},
    "steps": [{"id": "a", "handler": "steps.note"}],
}
TAKES_NONE = {"name": "order", "steps": [{"id": "a", "handler": "steps.note"}]}
RUN = ("run", "w.json", "--handlers", "steps", "--id")


@pytest.mark.parametrize("definition", [READS, ASKS])
def test_an_unknown_id_without_an_input_starts_nothing_where_the_workflow_needs_one(
    shell: Shell, inside: Inside, definition: object
):
    shell.write("w.json", definition)
    inside(*RUN, "order-7", "--input", '{"n": 1}')
    err = inside(*RUN, "order-77", status=2)
    assert "nothing with this id is in the log: 'order-77'" in err
    assert "`stepwell list` shows the ids" in err
    assert "--input JSON" in err
    assert [instance for instance, _, _ in shell.runs()] == ["order-7"]
    assert inside.json("list")["total"] == 1
    inside(*RUN, "order-7")
    inside(*RUN, "order-8", "--param", "n=2")


def test_a_workflow_that_needs_no_input_is_started_without_one_unless_it_is_to_be_gone_on_with(
    shell: Shell, inside: Inside
):
    shell.write("w.json", TAKES_NONE)
    for more in ((), ("--param", "n=1")):
        assert "nothing with this id" in inside(*RUN, "one", "--continue", *more, status=2)
    assert "--continue" in inside("run", "w.json", "--handlers", "steps", "--continue", status=2)
    inside(*RUN, "one")
    assert "finished already" in inside(*RUN, "one", "--continue")


def test_an_id_that_was_started_with_another_input_is_refused_unless_it_is_to_be_used(shell: Shell, inside: Inside):
    shell.write("w.json", READS)
    shell.write("o.json", {**READS, "name": "other"})
    inside("start", "w.json", "--id", "one", "--input", '{"n": 1, "m": 2}')
    for words in (("start", "w.json", "--id", "one"), (*RUN, "one")):
        err = inside(*words, "--input", '{"n": 2}', status=2)
        assert 'instance "one" exists already, with another input' in err
        assert "--if-exists use" in err
    assert 'with workflow "order", not "other"' in inside("start", "o.json", "--id", "one", status=2)
    assert "--if-exists" in inside(*RUN, "one", "--if-exists", "maybe", status=2)
    same = ("--input", '{"m": 2, "n": 1}')
    assert "nothing was started" in inside("start", "w.json", "--id", "one", *same)
    assert "nothing was started" in inside("start", "w.json", "--id", "one")
    assert "nothing was started" in inside("start", "w.json", "--id", "one", "--param", "n=2", "--if-exists", "use")
    assert "goes on with the input" in inside(*RUN, "one", "--param", "n=2", "--if-exists", "use")
    assert "exists already" in inside(*RUN, "one", "--param", "n=2", status=2)
    inside(*RUN, "one", *same)
