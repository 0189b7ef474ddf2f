"""What is printed neither steers the terminal nor hides in it, whoever wrote it."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest
import structlog

import stepwell
from stepwell import logs
from stepwell.cli.output import escaped
from stepwell.cli.output import print as print_it
from stepwell.consumers.worker.failures import describe
from stepwell.errors import CommandRejectedError
from tests.cli.test_serve import server
from tests.workbench import handlers_of, stage, workflow

ODD = ["\x1b[2J", "\x9b31m", "\u202egnp", "\u2066x", "\r", "\0", "\x07", "\u200bx", "\ufeff", "\U000e0041", "\x7f"]
STEERS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200b\ufeff\U000e0000-\U000e007f]")


@pytest.mark.parametrize("odd", ODD)
def test_nothing_that_is_printed_steers_the_terminal(capsys, odd):
    print_it("an id:", f"a{odd}b", 5, end="!\n")
    told = capsys.readouterr().out
    assert not STEERS.search(told)
    assert told.startswith("an id: a\\u")
    assert told.endswith(" 5!\n")


@pytest.mark.parametrize("odd", ODD)
def test_what_was_json_still_is_and_means_the_same(odd):
    value = {"a": odd, odd: "\n\té🚀 \u200d"}
    text = escaped(json.dumps(value, ensure_ascii=False))
    assert not STEERS.search(text)
    assert json.loads(text) == value
    assert "🚀" in text


def test_every_module_of_the_terminal_prints_by_that_function():
    for path in (Path(stepwell.__file__).parent / "cli").rglob("*.py"):
        tree = ast.parse(path.read_text())
        prints = any(isinstance(node, ast.Name) and node.id == "print" for node in ast.walk(tree))
        own = any(
            isinstance(node, ast.ImportFrom) and node.module == "stepwell.cli.output"
            and any(name.name == "print" for name in node.names) for node in tree.body
        )  # fmt: skip
        assert own or not prints or path.name == "output.py", path.name
        writes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute) and node.attr == "write"]
        writes = [node for node in writes if isinstance(node.value, ast.Attribute) and node.value.attr[:3] == "std"]
        assert not writes, path.name


@pytest.mark.parametrize("as_json", [False, True])
def test_nothing_that_is_told_to_operators_steers_the_terminal(capsys, as_json):
    structlog.reset_defaults()
    try:
        logs.configure(as_json=as_json)
        for odd in ODD:
            logs.Logger("stepwell.test").warning("a name", name=f"a{odd}b", other=f"x\n[error] forged {odd}")
    finally:
        structlog.reset_defaults()
    done = capsys.readouterr()
    told = done.out + done.err
    assert not STEERS.search(told)
    assert len(told.splitlines()) == len(ODD)


@pytest.mark.parametrize("odd", [*ODD, "\n", "\t"])
async def test_an_id_that_would_spoil_a_line_is_refused_by_client_and_engine(log, odd):
    from stepwell.schemas.records.commands import StartWorkflow

    async with stage(log, handlers_of(work=lambda data: data)) as client:
        await client.register(workflow({"id": "a", "handler": "work"}))
        name = (await client.definitions())[0].name
        with pytest.raises(CommandRejectedError, match="control characters") as told:
            await client.start(name, id=f"a{odd}b")
        assert told.value.code == "invalid_command"
        with pytest.raises(CommandRejectedError, match="control characters"):  # as another program would send it
            await client.ask(StartWorkflow(f"a{odd}b", workflow=name, command_id="c"))
        assert await client.instances() == [] or (await client.instances())[0] == []


@pytest.mark.parametrize("odd", [*ODD[:3], "\n"])
def test_a_name_that_would_spoil_a_line_is_refused_by_the_terminal(inside, odd):
    if odd == "\0":
        return  # no argument holds it
    inside.write("w.yaml", "name: w\nsteps:\n  - {id: a, type: output}\n")
    for words in (
        ("worker", "--name", f"a{odd}b"),
        ("engine", "--name", f"a{odd}b"),
        ("run", "w.yaml", "--id", f"a{odd}b"),
    ):
        told = inside(*words, status=2)
        assert "control characters" in told
        assert not STEERS.search(told)


def test_an_errors_type_is_a_name():
    kind = type("Odd\x1b[31m\nError", (ValueError,), {})
    told = describe(kind("x"))
    assert told.type == "Odd\\x1b[31m Error"
    assert not any(STEERS.search(name) for name in told.kinds)


async def test_names_that_workers_give_over_http_are_plain(tmp_path):
    async with server(tmp_path) as (_, http, _):
        for odd in ("\x1b[2J", "\u202e", "\n"):
            answer = await http.post("/v1/work/claim", json={"worker": f"w{odd}", "handlers": ["a"]})
            assert answer.status_code == 422
            assert "control characters" in answer.json()["detail"]
            started = await http.post("/v1/instances", json={"workflow": "w", "id": f"w{odd}"})
            assert started.status_code == 422
