"""Steps of agents, files and models as a user of the command line meets them."""

from __future__ import annotations

import json

import pytest

from .conftest import Shell

AGENTS = """
import stepwell

@stepwell.handler("agent_task:writer")
def write(data, ctx):
    return {"by": ctx.config["agent_id"], "about": data["topic"]}
"""
ROUND = """
name: round
steps:
  - {id: draft, type: agent_task, queue: writer, config: {agent_id: writer}}
  - id: save
    type: file_operation
    queue: files
    depends_on: [draft]
    config: {operation: write, path: out/draft.json, make_dirs: true}
"""


@pytest.mark.rows("O2")
def test_a_run_serves_every_queue_of_its_definition(shell: Shell):
    shell.write("agents.py", AGENTS)
    shell.write("round.yaml", ROUND)
    result = shell.json("run", "round.yaml", "--handlers", "agents", "--param", "topic=rain")
    assert result["output"]["save"]["path"] == "out/draft.json"
    saved = json.loads((shell.directory / "out/draft.json").read_text())
    assert saved == {"topic": "rain", "by": "writer", "about": "rain"}


def test_an_agent_that_nobody_stands_for_is_told_before_anything_starts(shell: Shell):
    shell.write("round.yaml", ROUND)
    for words in (("run", "round.yaml"), ("validate", "round.yaml", "--handlers", "steps")):
        done = shell(*words, status=2)
        assert 'steps[0] ("draft"): handler \'agent_task:writer\': nobody does the tasks of the agent "writer"' in (
            done.stderr
        )
        assert '@stepwell.handler("agent_task:writer")' in done.stderr


@pytest.mark.rows("D6")
def test_without_a_model_a_step_fails_and_says_what_to_do(shell: Shell):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        shell.env.pop(name, None)
    shell.write("ask.yaml", "name: ask\nsteps:\n  - {id: a, type: llm, config: {prompt: Hi, model: m}}\n")
    done = shell("run", "ask.yaml", status=1)
    assert "LLMNotConfigured: no language model is configured" in done.stderr
    assert "OPENAI_BASE_URL" in done.stderr


TYPES = """
import msgspec, stepwell

class Mail(msgspec.Struct):
    to: list[str]

@stepwell.step_type("mail", config=Mail)
def mail(data, ctx):
    return {"sent_to": ctx.config.to}
"""


def test_a_type_of_ones_own_is_known_to_every_verb_that_its_module_is_named_to(shell: Shell):
    shell.write("steps.py", TYPES)
    shell.write("m.yaml", "name: m\nsteps:\n  - {id: a, type: mail, config: {to: [ann]}}\n")
    assert "is valid" in shell("validate", "m.yaml", "--handlers", "steps").stdout
    assert "a  (mail)" in shell("plan", "m.yaml", "--handlers", "steps").stdout
    assert shell.json("run", "m.yaml", "--handlers", "steps")["output"] == {"a": {"sent_to": ["ann"]}}
    shell("start", "m.yaml", "--handlers", "steps", "--id", "m-1")
    assert shell.json("run", "m.yaml", "--handlers", "steps", "--id", "m-1")["status"] == "completed"
    shell.write("t.yaml", "template: t\ndefinition: {name: t, steps: [{id: a, type: mail, config: {to: []}}]}\n")
    assert "created t@" in shell("create", "./t.yaml", "--handlers", "steps").stdout
    refused = shell("validate", "m.yaml", status=2).stderr
    assert 'unknown type "mail"' in refused
    assert "--handlers" in refused
    shell.write("m.yaml", "name: m\nsteps:\n  - {id: a, type: mial, config: {to: [ann]}}\n")
    refused = shell("validate", "m.yaml", "--handlers", "steps", status=2).stderr
    assert 'm.yaml: line 3: steps[0].type ("a"): unknown type "mial", did you mean "mail"?' in refused


def test_what_to_say_again_names_the_modules_and_the_dialect(shell: Shell):
    shell.write("steps.py", TYPES)
    shell.write("m.yaml", "id: m\nsteps:\n  a: {type: mail, input: {to: '{{ input.to }}'}}\n")
    named = ("m.yaml", "--dialect", "executor", "--handlers", "steps")
    shell("run", *named, "--id", "m-1", "--param", "to=ann", status=1)
    told = shell("start", *named, "--id", "m-1", "--wait", status=1).stderr
    assert "stepwell start m.yaml --dialect executor --handlers steps --id m-1 --wait" in told


def test_a_type_that_many_steps_have_is_explained_once(shell: Shell):
    steps = "".join(f"  s{n}: {{type: mail}}\n" for n in range(3))
    shell.write("m.yaml", f"name: m\nsteps:\n{steps}")
    told = shell("validate", "m.yaml", status=2).stderr
    assert told.count('unknown type "mail"') == 3
    assert told.count("one of your own is known once its module is imported") == 1


def test_a_path_that_leads_out_fails_the_step(shell: Shell):
    config = {"operation": "read", "path": "{{ input.path }}"}
    shell.write("r.json", {"name": "r", "steps": [{"id": "a", "type": "file_operation", "config": config}]})
    done = shell("run", "r.json", "--param", "path=/etc/hostname", status=1)
    assert "PathRefused" in done.stderr
    assert "STEPWELL_FILE_ROOTS" in done.stderr
