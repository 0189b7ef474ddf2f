"""Registering, looking, switching, and workflows that are built in Python: by the real command."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from stepwell.cli.sources import definition_of, given
from stepwell.errors import StepwellError
from tests.patience import HANG, until

from .conftest import Inside, Shell

pytestmark = [pytest.mark.rows("R1", "R2")]

PAUSE = {
    "name": "pause", "version": "1", "description": "Waits.", "tags": ["short"],
    "steps": [{"id": "w", "type": "wait", "config": {"seconds": 0.01}}],
}  # fmt: skip

FLOW = """
import stepwell

@stepwell.step
def double(x: int) -> int:
    return 2 * x

@stepwell.workflow("inner", version="1")
def inner(x: int) -> int:
    return double(x)

@stepwell.workflow("outer", version="1", tags=["maths"])
def outer(x: int) -> int:
    \"\"\"Doubles twice.\"\"\"
    return inner(double(x))
"""


# --- the registry ---------------------------------------------------------------------------------------------------


def test_files_directories_and_python_are_registered_and_listed_and_a_wrong_one_is_told(shell: Shell):
    (shell.directory / "workflows/more").mkdir(parents=True)
    shell.write("workflows/pause.yaml", yaml.safe_dump(PAUSE))
    shell.write("workflows/more/other.json", {**PAUSE, "name": "other", "tags": []})
    shell.write("workflows/more/wrong.yml", "name: wrong\nsteps: [{id: a, handlr: h}]\n")
    shell.write("flow.py", FLOW)
    told = shell.json("register", "workflows", "flow.py", status=2)
    assert [(one["name"], one["is_new"], one["active"]) for one in told["registered"]] == [
        ("other", True, True), ("pause", True, True), ("outer", True, True),
    ]  # fmt: skip
    assert [one["source"] for one in told["refused"]] == ["workflows/more/wrong.yml"]
    assert 'did you mean "handler"' in json.dumps(told["refused"][0]["problems"]).replace('\\"', '"')
    listed = shell.json("definitions")
    assert [one["name"] for one in listed["definitions"]] == ["inner", "other", "outer", "pause"]
    outer = next(one for one in listed["definitions"] if one["name"] == "outer")
    assert (outer["tags"], outer["description"], outer["current"]) == (["maths"], "Doubles twice.", True)
    assert [one["name"] for one in shell.json("definitions", "--tag", "short")["definitions"]] == ["pause"]


def test_versions_stand_side_by_side_are_switched_and_never_change(shell: Shell):
    for version in ("1", "2"):
        shell.write(f"{version}.json", {**PAUSE, "version": version})
        shell("register", f"{version}.json")
    shell.write("1.json", {**PAUSE, "tags": ["changed"]})
    refused = shell("register", "1.json", status=2)
    assert "version 1 of workflow 'pause' is registered with other content" in refused.stderr
    assert "new `version`" in refused.stderr
    assert shell.json("deactivate", "pause@2", "--reason", "too slow") == {
        "name": "pause", "version": "2", "active": False, "changed": True, "current": "1",
    }  # fmt: skip
    shell("start", "pause", "--id", "one")
    shell("start", "pause", "--version", "2", status=2)
    assert "inactive" in shell("definitions", "--workflow", "pause").stdout
    assert shell.json("activate", "pause@2")["current"] == "2"
    assert "was active already" in shell("activate", "pause@2").stdout
    assert "--no-activate" in shell("register", "--help").stdout
    shell.write("3.json", {**PAUSE, "version": "3"})
    assert "inactive" in shell("register", "--no-activate", "3.json").stdout
    assert shell.json("activate", "pause@3")["current"] == "3"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("activate", "pause"), "not of the form NAME@VERSION"),
        (("activate", "pause@9"), "version 9"),
        (("deactivate", "paus@1"), 'did you mean "pause"'),
        (("register", "nothing.yaml"), "no such file"),
        (("register", "empty"), "holds no definitions"),
        (("engine", "--workflows", "nowhere"), "no such directory"),
        (("schema", "--output", "empty"), "cannot write"),
    ],
)
def test_what_is_wrong_is_told_with_what_to_do(inside: Inside, words, message):
    (inside.directory / "empty").mkdir()
    inside("register", str(inside.write("pause.json", PAUSE)))
    assert message in inside(*words, status=2)


@pytest.mark.rows("T2")
def test_dev_registers_the_directory_and_reloads_what_changes_while_instances_keep_theirs(shell: Shell):
    folder = shell.directory / "workflows"
    folder.mkdir()
    slow = {**PAUSE, "steps": [{"id": "w", "type": "wait", "config": {"seconds": 4}}]}
    shell.write("workflows/pause.yaml", yaml.safe_dump(slow))
    process = shell.start("dev")
    try:
        until(lambda: shell("status", "old", status=None).returncode == 0 or _started(shell))
        shell.write("workflows/pause.yaml", yaml.safe_dump({**PAUSE, "version": "2"}))
        shell.write("workflows/wrong.yaml", "name: wrong\n")
        until(lambda: len(shell.json("definitions")["definitions"]) == 2)
        assert shell.json("start", "pause", "--id", "new", "--wait")["version"] == "2"
        assert shell.json("start", "pause", "--id", "old", "--wait")["version"] == "1"
    finally:
        process.send_signal(signal.SIGINT)
        told = "".join(process.communicate(timeout=HANG))
    assert "registered pause 1" in told
    assert "reloaded pause 2" in told
    assert told.count("wrong.yaml") == 1, "told once, not with every look"


def _started(shell: Shell) -> bool:
    return shell("start", "pause", "--id", "old", status=None).returncode == 0


@pytest.mark.rows("T2")
def test_an_engine_registers_the_directory_when_it_starts_and_works_though_a_file_is_wrong(shell: Shell):
    (shell.directory / "defs").mkdir()
    shell.write("defs/pause.yaml", yaml.safe_dump(PAUSE))
    shell.write("defs/wrong.yaml", "name: wrong\n")
    shell.write("own.py", "import stepwell\n\n@stepwell.step_type('greet')\ndef greet(data): ...\n")
    shell.write("defs/greeting.yaml", "name: greeting\nsteps: [{id: a, type: greet}]\n")
    process = shell.start("engine", "--workflows", "defs", "--handlers", "own", "--json")
    try:
        until(lambda: shell("start", "pause", "--id", "x", status=None).returncode == 0)
        until(lambda: shell.json("status", "x")["status"] == "completed")
        shell("start", "greeting")
    finally:
        process.send_signal(signal.SIGINT)
        told = "".join(process.communicate(timeout=HANG))
    assert "definition refused" in told
    assert "defs/wrong.yaml" in told


def test_the_schema_is_printed_or_written_with_what_editors_need(shell: Shell):
    schema = json.loads(shell("schema", "--type", "resize").stdout)
    Draft202012Validator(schema).validate({"name": "w", "steps": [{"id": "a", "type": "resize"}]})
    said = shell("schema", "--output", "s.json").stdout
    assert "# yaml-language-server: $schema=s.json" in said
    written = json.loads((shell.directory / "s.json").read_text())
    assert "resize" not in written["$defs"]["Step"]["properties"]["type"]["enum"]


def test_a_run_works_on_the_queues_of_the_workflows_that_it_starts_too(shell: Shell):
    child = {"name": "child", "steps": [{"id": "a", "handler": "steps.note", "queue": "mail"}]}
    parent = {"name": "parent", "steps": [{"id": "c", "type": "workflow_trigger", "config": {"workflow": "child"}}]}
    shell.write("child.json", child)
    shell.write("parent.json", parent)
    shell("register", "child.json")
    assert shell.json("run", "parent.json", "--handlers", "steps")["steps"]["c"]["output"]["status"] == "completed"


# --- workflows that are built in Python -----------------------------------------------------------------------------


def test_a_python_file_is_validated_planned_run_and_started_as_a_yaml_file_is(shell: Shell):
    shell.write("flow.py", FLOW)
    assert "outer 1 is valid: 2 steps\n" in shell("validate", "flow.py").stdout
    planned = shell.json("plan", "flow.py:inner")
    assert planned["definition"]["steps"][0]["handler"] == "flow.double"
    ran = shell.json("run", "flow.py", "--param", "x=3", "--id", "a")
    assert (ran["workflow"], ran["output"]) == ("outer", 12)
    assert shell.json("run", "flow.py", "--id", "a")["output"] == 12, "the same id is the same run"
    assert shell.json("run", "flow:inner", "--param", "x=3")["output"] == 6
    assert shell.json("start", "flow.py", "--param", "x=1", "--id", "b")["instance_id"] == "b"


def test_a_file_within_a_package_has_the_name_that_workers_import_it_by(shell: Shell):
    (shell.directory / "shop/orders").mkdir(parents=True)
    for name in ("shop/__init__.py", "shop/orders/__init__.py"):
        shell.write(name, "")
    shell.write("shop/orders/flow.py", FLOW)
    planned = shell.json("plan", "shop/orders/flow.py:inner")
    assert planned["definition"]["steps"][0]["handler"] == "shop.orders.flow.double"
    assert planned == shell.json("plan", "shop.orders.flow:inner")


PYTHON = {
    "none there": ("nothing.py", None, "there is no such file"),
    "no such name": ("flow1.py:outr", FLOW, 'did you mean "outer"'),
    "nothing built": ("flow2.py", "x = 1\n", "builds no workflow"),
    "two of equal rank": (
        "flow3.py",
        FLOW.replace("inner(double(x))", "double(x)"),
        "builds several workflows: inner, outer",
    ),
    "a wrong line": ("flow4.py", "import stepwell\nx = =\n", "line 2"),
    "a missing module": ("flow5.py", "import nothing_like_this\n", "needs 'nothing_like_this'"),
    "an exit": ("flow6.py", "raise SystemExit(3)\n", "ends the program"),
    "a module's name": ("json.py", FLOW, "Python knows another module as 'json'"),
    "no module's name": ("my-flow.py", FLOW, "is no name that Python can import"),
    "what cannot be recorded": (
        "flow7.py:outer",
        FLOW.replace("inner(double(x))", "1 + double(x)"),
        "cannot be computed with",
    ),
}


@pytest.mark.parametrize(("named", "text", "message"), PYTHON.values(), ids=PYTHON)
def test_what_is_wrong_with_a_python_file_is_told_with_its_place(tmp_path: Path, monkeypatch, named, text, message):
    monkeypatch.setattr(sys, "path", [*sys.path])
    file = named.partition(":")[0]
    if text is not None:
        (tmp_path / file).write_text(text)
    with pytest.raises(StepwellError) as caught:
        definition_of(given(tmp_path / named))
    assert message in str(caught.value)
    assert str(tmp_path / file) in str(caught.value) or "workflow 'outer'" in caught.value.place


def test_the_command_tells_it_as_one_message(shell: Shell):
    shell.write("flow.py", FLOW.replace("inner(double(x))", "1 + double(x)"))
    refused = shell("run", "flow.py:outer", status=2)
    assert refused.stderr.startswith("error: workflow 'outer', line 15:")
    assert refused.stdout == ""


def test_registering_a_directory_passes_over_data_in_one_line_and_a_file_that_is_named_is_read(inside: Inside):
    (inside.directory / "flows").mkdir()
    inside.write("flows/w.yaml", "name: w\nsteps: [{id: a, type: input}]\n")
    for number in range(9):
        inside.write(f"flows/rows{number}.json", [{"steps": number}])
    err = inside("register", "flows")
    assert err.count("\n") == 1
    assert err.startswith("passed over, as they hold no definition: flows/rows0.json, ")
    assert "and 4 more" in err
    assert "a definition is a mapping" in inside("register", "flows/rows1.json", status=2)
    inside.write("rows.json", [1])
    (inside.directory / "data").mkdir()
    inside.write("data/rows.json", [1])
    assert "holds no definitions" in inside("register", "data", status=2)


def test_a_workflow_that_is_a_template_s_is_told_how_it_is_registered_in_one_step(inside: Inside):
    inside("create", "sample")
    for name in ("order_processing", "order-processing", "order_processing_workflow"):
        err = inside("start", name, status=2)
        assert "`stepwell create order_processing`" in err
        assert "POST /v1/templates/order_processing" in err
        assert "--handlers stepwell.templates.handlers" in err
        assert "the workflow order-processing" in err
    inside("create", "order_processing")
    assert "is called order-processing, and is registered" in inside("start", "order_processing", status=2)
    inside("start", "sample", "--input", "{}", status=0)
