"""Definitions in the dialects, from the command line."""

from __future__ import annotations

import yaml

from .conftest import Inside, Shell

HANDLERS = ("--handlers", "steps", "--handlers", "hall")
HALL = """\
def greet(data):
    return {"greeting": f"hello {data['name']}"}
"""
LETTERS = """\
id: letters
steps:
  collect: {type: input, input: {data: {city: oslo}}}
  shout:
    type: process
    input: {rules: [{type: transform, field: city, operation: uppercase}]}
    depends_on: [collect]
"""
ROTA = {
    "steps": [
        {"id": "ask", "handler": "hall.greet", "input_mapping": {"name": "input_data.who"}},
        {"id": "note", "handler": "steps.note", "depends_on": ["ask"], "execution_mode": "sequential",
         "condition": "step_outputs['ask']['greeting'] == 'hello lena'"},
    ],
    "error_handlers": {},
    "default_timeout_seconds": 60,
}  # fmt: skip
CLAIM = {
    "name": "claim", "version": 1.0,
    "parameters": {"amount": {"type": "number", "required": True}, "who": {"type": "string", "default": "omar"}},
    "tasks": [
        {"id": "greet", "type": "activity", "activity_type": "hall.greet", "input": {"name": "{{ parameters.who }}"}},
        {"id": "sign", "type": "human_approval", "depends_on": ["greet"], "condition": "parameters.amount > 500"},
        {"id": "pay", "type": "activity", "activity_type": "steps.note", "depends_on": ["sign"],
         "config": {"text": "{{ tasks.greet.output.greeting }}"}},
    ],
}  # fmt: skip
GRAPH = {
    "name": "graph",
    "dag": {"nodes": [
        {"id": "input", "handler": "input", "dependencies": []},
        {"id": "a-b", "handler": "hall.greet", "dependencies": ["input"], "config": {"x": "{{ input.name }}"}},
        {"id": "c", "handler": "steps.note", "dependencies": ["a-b"], "config": {"x": "{{ a-b.output.greeting }}"}},
        {"id": "output", "handler": "output", "dependencies": ["a-b"]},
    ]},
}  # fmt: skip


def test_each_runs_as_it_is_written(shell: Shell):
    shell.write("hall.py", HALL)
    shell.write("letters.yaml", LETTERS)
    assert shell.json("run", "letters.yaml")["output"] == {"shout": {"city": "OSLO"}}
    shell.write("rota.json", ROTA)
    ended = shell.json("run", "rota.json", *HANDLERS, "--param", "who=lena")
    assert (ended["workflow"], ended["output"]) == ("rota", {"note": {"note": 1}})
    ended = shell.json("run", "rota.json", *HANDLERS, "--param", "who=omar")
    assert ended["steps"]["note"]["status"] == "skipped"
    shell.write("graph.json", GRAPH)
    ended = shell.json("run", "graph.json", *HANDLERS, "--param", "name=kim")
    assert ended["output"] == {"a-b": {"greeting": "hello kim"}}


def test_a_claim_waits_for_a_person_only_above_its_limit(shell: Shell):
    shell.write("hall.py", HALL)
    shell.write("claim.json", CLAIM)
    ended = shell.json("run", "claim.json", *HANDLERS, "--param", "amount=5")
    assert (ended["status"], ended["steps"]["sign"]["status"]) == ("completed", "skipped")
    assert ended["steps"]["greet"]["output"] == {"greeting": "hello omar"}
    words = ("run", "claim.json", *HANDLERS, "--param", "amount=900", "--id", "big")
    assert shell.json(*words, status=3)["steps"]["sign"]["status"] == "waiting"
    shell("approve", "big", "--by", "lena")
    assert shell.json(*words)["status"] == "completed"


def test_plan_shows_what_it_was_compiled_to(shell: Shell):
    shell.write("letters.yaml", LETTERS)
    both = shell("plan", "letters.yaml").stdout
    batches, _, canonical = both.partition("# From the dialect executor, in the canonical form:\n")
    assert "2 steps in 2 batches" in batches
    assert shell("plan", "letters.yaml", "--yaml").stdout == canonical
    assert yaml.safe_load(canonical)["steps"][1] == {
        "id": "shout", "type": "process", "depends_on": ["collect"], "retry": {"max_attempts": 4},
        "config": {"rules": [{"type": "transform", "field": "city", "operation": "uppercase"}]},
    }  # fmt: skip
    shell.write("again.yaml", canonical)
    told, told_again = shell.json("plan", "letters.yaml"), shell.json("plan", "again.yaml")
    assert told["hash"] == told_again["hash"]
    assert (told["dialect"], told_again["dialect"]) == ("executor", "canonical")
    assert "canonical form" not in shell("plan", "again.yaml").stdout


def test_the_dialect_can_be_named(inside: Inside):
    inside.write("rota.yaml", "name: rota\nsteps: [{id: a, handler: steps.note}]\n")
    inside("validate", "rota.yaml", "--dialect", "residency")
    inside("plan", "rota.yaml", "--dialect", "residency")
    inside("run", "rota.yaml", "--dialect", "residency", "--handlers", "steps")
    inside("start", "rota.yaml", "--dialect", "residency")
    told = inside("validate", "rota.yaml", "--dialect", "resdency", status=2)
    assert 'unknown dialect "resdency", did you mean "residency"?' in told
    told = inside("validate", "rota.yaml", "--dialect", "dag", status=2)
    assert 'missing "dag"' in told
    told = inside("start", "rota", "--dialect", "dag", status=2)
    assert "rota is no file" in told


def test_validate_tells_everything_with_lines(shell: Shell):
    shell.write("letters.yaml", LETTERS.replace("type: input", "type: inptu").replace("depends_on", "dependson"))
    told = shell("validate", "letters.yaml", status=2).stderr
    assert 'line 3: steps.collect.type: unknown type "inptu", did you mean "input"?' in told
    assert 'line 7: steps.shout: unknown key "dependson", did you mean "depends_on"?' in told
    shell.write("letters.yaml", LETTERS)
    assert "letters.yaml: letters" in (said := shell("validate", "letters.yaml").stdout)
    assert "2 steps, dialect executor" in said
