"""What is known of the verbs before any of them is imported, and what help makes of it."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import click
import pytest

from stepwell.cli.main import app
from stepwell.cli.verbs import GROUPS, Verb

from .conftest import Inside

VERBS = [verb for verbs in GROUPS.values() for verb in verbs]
WORDS = {verb.name: verb for verb in VERBS if not verb.verbs}
WORDS |= {f"{verb.name} {further.name}": further for verb in VERBS for further in verb.verbs}


def function_of(verb: Verb):
    module, _, name = verb.place.partition(":")
    return getattr(importlib.import_module(f"stepwell.cli.verbs.{module}"), name)


@pytest.mark.parametrize("words", WORDS)
def test_a_summary_is_the_first_line_of_what_its_verb_says_of_itself(words: str):
    assert WORDS[words].summary == inspect.getdoc(function_of(WORDS[words])).splitlines()[0]


@pytest.mark.parametrize("words", WORDS)
def test_every_verb_has_help_that_explains_all_that_it_takes(inside: Inside, words: str):
    shown = " ".join(inside.out(*words.split(), "--help").split())
    command: click.Command = app
    for word in words.split():
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), word)
    for one in command.params:
        said = one.help if isinstance(one, click.Option) else one.explanation
        assert said
        assert " ".join(said.split()[:3]) in shown, one.name


def test_help_names_every_verb_and_cuts_no_summary(inside: Inside):
    shown = " ".join(inside.out("--help").split())
    for verb in VERBS:
        assert (f"{verb.name} {verb.summary}" in shown) is not verb.is_hidden, verb.name


def imported_by(*words: str) -> set[str]:
    program = (
        "import sys; from stepwell.cli.main import command; sys.argv[1:] = sys.argv[1:]; command(); "
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", program, *words], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


@pytest.mark.parametrize("words", [("--version",), ("--help",), ("projections", "--help")], ids=" ".join)
def test_neither_version_nor_help_imports_a_verb_or_what_verbs_need(words: tuple[str, ...]):
    found = imported_by(*words)
    assert not [name for name in found if name.startswith("stepwell.cli.verbs.")]
    assert not found & {"asyncio", "msgspec", "structlog", "stepwell.client", "stepwell.log.port"}


def test_a_verb_that_is_named_imports_no_other():
    found = imported_by("schema", "--help")
    assert "litestar" not in found
    assert "stepwell.client" not in found


def test_run_imports_what_one_run_needs(tmp_path: Path):
    file, log = tmp_path / "one.yaml", f"file:{tmp_path}/log.db"
    file.write_text("{name: one, steps: [{id: a, type: input}]}")
    found = imported_by("run", str(file), "--log", log, "--json")
    assert "stepwell.consumers.engine.tenure" in found
    left_out = ("projections.models", "builder", "archiving", "server", "schemas.dialects.tasks")
    assert not found & {"importlib.metadata", "httpx", "rich", *(f"stepwell.{name}" for name in left_out)}


def test_a_mistyped_verb_is_told_the_near_one(inside: Inside):
    assert "No such command 'canel', did you mean \"cancel\"?" in inside("canel", status=2)


def test_completion_knows_every_verb_and_its_summary():
    found = {one.value: one.help for one in app.shell_complete(click.Context(app), "st")}
    assert found == {verb.name: verb.summary for verb in VERBS if verb.name.startswith("st")}


def test_an_option_of_a_verb_is_completed(inside: Inside, monkeypatch, capsys):
    from click.shell_completion import BashComplete

    complete = BashComplete(app, {}, "stepwell", "_STEPWELL_COMPLETE")
    assert {one.value for one in complete.get_completions(["replay", "x"], "--")} >= {"--to", "--json", "--log"}
