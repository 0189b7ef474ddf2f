"""``run`` works for one instance and those that it has started: by what events say, whatever their ids look like."""

from __future__ import annotations

import pytest

from tests.cli.conftest import Shell

LEAF = {"name": "leaf", "steps": [{"id": "x", "handler": "steps.note"}]}
MIDDLE = {"name": "middle", "steps": [{"id": "m", "type": "workflow_trigger", "config": {"workflow": "leaf"}}]}
TOP = {
    "name": "top",
    "steps": [
        {"id": "t", "type": "workflow_trigger", "config": {"workflow": "middle"}},
        {"id": "u", "handler": "steps.note", "depends_on": ["t"]},
    ],
}


def test_a_run_leaves_an_instance_alone_whose_id_only_begins_like_its_own(shell: Shell):
    shell.write("leaf.json", LEAF)
    shell("start", "leaf.json", "--id", "v1.2")
    shell("start", "leaf.json", "--id", "v1.2.x.1")
    shell("run", "leaf.json", "--handlers", "steps", "--id", "v1")
    assert [instance for instance, _, _ in shell.runs()] == ["v1"]
    assert shell.json("status", "v1.2")["status"] in ("pending", "running")


@pytest.mark.parametrize("length", [1, 195, 200])
def test_a_run_works_for_its_children_and_theirs_however_long_its_id_is(shell: Shell, length: int):
    for definition in (LEAF, MIDDLE, TOP):
        shell.write(f"{definition['name']}.json", definition)
    shell("register", "leaf.json")
    shell("register", "middle.json")
    named = "i" * length
    done = shell.json("run", "top.json", "--handlers", "steps", "--id", named)
    assert done["status"] == "completed"
    runs = shell.runs()
    assert len(runs) == 2
    assert runs[-1][:2] == (named, "u")
    assert max(len(instance) for instance, _, _ in runs) <= 200
