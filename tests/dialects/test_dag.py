"""The dialect of the graph engine: what its keys and templates become, and what it refuses."""

from __future__ import annotations

import pytest

from stepwell.errors import DefinitionError
from stepwell.language import compile_loaded, load_definition, read_definition

INPUT = {"id": "input", "handler": "input", "dependencies": []}


def graph(*nodes):
    return {"name": "harbour", "dag": {"nodes": [INPUT, *nodes]}}


def written(text, before="fetch-data"):
    """What a template of a node becomes."""
    fetch = {
        "id": before,
        "handler": "call_external_service",
        "config": {"url": "http://a"},
        "dependencies": ["input"],
    }
    note = {"id": "note", "handler": "llm_service", "dependencies": [before], "config": {"prompt": text}}
    loaded = read_definition(graph(fetch, note))
    compile_loaded(loaded)
    assert loaded.definition is not None
    return loaded.definition.steps[2].config["prompt"]


@pytest.mark.rows("D2")
@pytest.mark.parametrize(
    ("template", "canonical"),
    [
        ("{{ fetch.output }}", "{{ step_outputs.fetch }}"),
        ("{{fetch.output.a.b}}", "{{ step_outputs.fetch.a.b }}"),
        ("{{ fetch.output.rows.0.name }}", "{{ step_outputs.fetch.rows[0].name }}"),
        ("{{ fetch.output.rows[0].name }}", "{{ step_outputs.fetch.rows[0].name }}"),
        ("{{ fetch.output.first-name }}", "{{ step_outputs.fetch['first-name'] }}"),
        ("{{ fetch.output.class }}", "{{ step_outputs.fetch['class'] }}"),
        ("{{ input.port }} and {{ input }}", "{{ input.port }} and {{ input }}"),
        ("{{ input.output.port }}", "{{ step_outputs.input.port }}"),
        ("{{ len(fetch.output.rows) + 1 }}", "{{ len(step_outputs.fetch.rows) + 1 }}"),
        ("{{ 'fetch.output' }}", "{{ 'fetch.output' }}"),
        ("{{ fetch.status }}", "{{ fetch.status }}"),
        ("no template: fetch.output", "no template: fetch.output"),
    ],
)
def test_templates(template, canonical):
    assert written(template, before="fetch") == canonical


def test_an_id_with_a_dash_is_known_within_an_expression_too():
    assert written("{{ fetch-data.output.a }}") == "{{ step_outputs['fetch-data'].a }}"
    assert written("{{ len(fetch-data.output) - 1 }}") == "{{ len(step_outputs['fetch-data']) - 1 }}"


@pytest.mark.rows("D11")
def test_retries_come_from_the_environment_of_who_reads_it(monkeypatch: pytest.MonkeyPatch):
    node = {"id": "a", "handler": "harbour.boats", "dependencies": ["input"]}
    once = {**node, "id": "b", "max_retries": 0}
    plain = load_definition(graph(node, once)).steps[1].retry
    assert (plain.max_attempts, plain.initial_delay_seconds, plain.max_delay_seconds) == (4, 1, 60)
    for name, value in {"MAX_RETRIES": "1", "INITIAL_DELAY": "0.5", "MAX_DELAY": "8"}.items():
        monkeypatch.setenv(f"RETRY_{name}", value)
    first, second = (step.retry for step in load_definition(graph(node, once)).steps[1:])
    assert (first.max_attempts, first.initial_delay_seconds, first.max_delay_seconds) == (2, 0.5, 8)
    assert (second.max_attempts, second.initial_delay_seconds) == (1, 0.5)


@pytest.mark.parametrize(("name", "value"), [("RETRY_MAX_RETRIES", "1.5"), ("RETRY_MAX_DELAY", "soon")])
def test_a_wrong_setting_of_the_environment_is_told(monkeypatch: pytest.MonkeyPatch, name: str, value: str):
    monkeypatch.setenv(name, value)
    with pytest.raises(DefinitionError, match=f"the environment's {name} is '{value}'"):
        load_definition(graph())


@pytest.mark.rows("D1")
@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"id": "a", "handler": "h", "dependencies": ["inptu"]},
         'dag.nodes[1].dependencies[0]: unknown node "inptu", did you mean "input"?'),
        ({"id": "input", "handler": "h"}, 'dag.nodes[1].id: "input" is given to 2 nodes'),
        ({"id": "a", "handler": "h", "dependencies": ["a"]}, 'dag.nodes[1].dependencies[0]: "a" depends on itself'),
        ({"id": "a", "handler": "llm_service", "config": {"promt": "x"}}, 'unknown key "promt", did you mean "prompt"?'),
        ({"id": "a", "handler": "h", "config": {"x": "{{ input.respons }}", "y": "{{ b.output }}"}},
         "dag.nodes[1].config"),
        ({"id": "a", "dependencies": ["input"]}, "dag.nodes[1]"),
        ({"id": "a", "handler": "h", "depends_on": []}, 'unknown key "depends_on", did you mean "dependencies"?'),
        ({"id": "a", "handler": "h", "max_retries": -1}, "dag.nodes[1].max_retries"),
    ],
)  # fmt: skip
def test_refused(node, message):
    with pytest.raises(DefinitionError) as caught:
        compile_loaded(read_definition(graph(node)))
    assert message in str(caught.value)


def test_a_cycle_is_told_with_its_nodes():
    nodes = [{"id": a, "handler": "h", "dependencies": [b]} for a, b in ("xy", "yz", "zx")]
    with pytest.raises(DefinitionError) as caught:
        compile_loaded(read_definition(graph(*nodes)))
    assert caught.value.problems == ["dag.nodes: they depend on each other in a cycle: x → z → y → x"]


def test_a_key_of_a_node_that_is_no_output_is_told_once_with_what_to_write():
    node = {"id": "a", "handler": "h", "dependencies": ["b"], "config": {"x": "{{ b.rows }}"}}
    with pytest.raises(DefinitionError) as caught:
        compile_loaded(read_definition(graph({"id": "b", "handler": "h"}, node)))
    (problem,) = caught.value.problems
    assert "write b.output.rows" in problem
