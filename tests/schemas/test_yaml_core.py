"""Every door reads YAML with the core schema of YAML 1.2, and what is written is read as the same by everybody."""

from __future__ import annotations

import json
import time

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from stepwell.cli.files import as_yaml
from stepwell.consumers.outbound.webhook_file import read_webhooks
from stepwell.core.expressions.templates import compile_template
from stepwell.errors import DefinitionError
from stepwell.language import load_definition
from stepwell.schemas.definitions.blueprint import instantiate, read_blueprint
from stepwell.schemas.definitions.text import parse_text
from stepwell.schemas.definitions.yaml_core import write_yaml
from stepwell.schemas.dialects import NAMES

CORE = {
    "12:30": "12:30", "190:20:30": "190:20:30", "1:30.5": "1:30.5", "01234": 1234, "0644": 644, "-017": -17,
    "1_000": "1_000", "1_0.5": "1_0.5", "1,000": "1,000", "0b101": "0b101", "0o644": 420, "0o9": "0o9", "0x1F": 31,
    "-0x1F": "-0x1F", "1e3": 1000.0, "1E-2": 0.01, "+12": 12, ".5": 0.5, "-.5e1": -5.0, "1.": 1.0, ".": ".", "-": None,
    "=": "=", "<<": "<<", "2026-11-30": "2026-11-30", "2026-11-30 10:00:00": "2026-11-30 10:00:00", "yes": "yes",
    "On": "On", "n": "n", "True": True, "tRue": "tRue", "NULL": None, "~": None, "nuLL": "nuLL", "NaN": "NaN",
    "Infinity": "Infinity", "inf": "inf", "٣": "٣",
}  # fmt: skip


@pytest.mark.parametrize(("written", "meant"), CORE.items())
def test_a_plain_word_is_what_the_core_schema_says(written, meant):
    if written == "-":
        return
    found = (
        parse_text(f"a: {written}\nb: [{written}]\n", "x") if "," not in written else parse_text(f"a: {written}", "x")
    )
    assert found["a"] == meant
    assert type(found["a"]) is type(meant)
    assert found.get("b", [meant]) == [meant]


@pytest.mark.parametrize("written", ["12:30", "0b1", "1_0", "=", "yes", "2026-11-30", "NaN"])
def test_a_key_is_a_text_where_the_core_schema_says_so(written):
    assert parse_text(f"{written}: 1\n", "x") == {written: 1}


@pytest.mark.parametrize("written", ["0o17", "1e3", "0644", "null", "~", "true", ".5"])
def test_a_key_that_is_no_text_is_refused_with_the_remedy(written):
    with pytest.raises(DefinitionError, match=r"line 1: the key .* is no text; write"):
        parse_text(f"{written}: 1\n", "x")


@pytest.mark.parametrize("written", [".inf", "-.Inf", ".nan", "1e400", "[1, {a: .NAN}]"])
def test_what_json_has_not_is_refused_with_its_place(written):
    with pytest.raises(DefinitionError, match=r"x: a.*: (-?inf|nan) is no number that JSON can hold"):
        parse_text(f"a: {written}\n", "x")


def test_merge_keys_are_kept():
    assert parse_text("a: &a {x: 1}\nb: {<<: *a, y: 12:30}\n", "x") == {"a": {"x": 1}, "b": {"x": 1, "y": "12:30"}}


def test_a_definition_a_template_a_webhook_and_a_dialect_read_alike(tmp_path):
    definition = load_definition(
        "name: w\nsteps:\n  - {id: a, type: input, config: {data: {at: 12:30, mode: 0o644}}}\n"
    )
    assert definition.steps[0].config == {"data": {"at": "12:30", "mode": 420}}
    written = (
        "template: t\nparameters: {at: {type: string, default: 12:30, description: when}}\n"
        "definition: {name: w, steps: [{id: a, type: input, config: {data: {at: '${at}', day: 2026-11-30}}}]}\n"
    )
    made = instantiate(read_blueprint(written, "t"), {})
    assert made["steps"][0]["config"] == {"data": {"at": "12:30", "day": "2026-11-30"}}
    hooks = tmp_path / "hooks.yaml"
    hooks.write_text("- {name: 2026-11-30, url: 'https://a.example/', events: ['*']}\n")
    assert read_webhooks(hooks, {})[0].name == "2026-11-30"
    tasks = load_definition("name: w\ntasks:\n  - {id: a, type: activity, activity_type: h, config: {at: 12:30}}\n")
    assert tasks.steps[0].config == {"at": "12:30"}


ODD = [
    *CORE,
    "y",
    "off",
    ".inf",
    "0",
    "",
    " a ",
    "a\nb",
    "\n a",
    "#",
    "- a",
    "a: b",
    "\x85",
    "1e3",
    "83e2010",
    "2.0.0",
]
texts = st.sampled_from(ODD) | st.text(max_size=8) | st.text("0123456789+-._:,eExob", max_size=6)
values = st.recursive(
    texts | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.booleans() | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(data=st.dictionaries(texts, values, max_size=3))
@example(data={"a": ODD, **dict.fromkeys(ODD)})
def test_what_is_written_is_read_as_the_same_in_both_versions_of_yaml(data):
    for text in (write_yaml(data), as_yaml(data)):
        for found in (yaml.safe_load(text), parse_text(text, "x") if not _versions(data) else data):
            assert found == data
            assert json.dumps(found) == json.dumps(data)  # the same types, too


def _versions(data):
    return data.keys() & {"version", "schema_version", "definition", "steps", "tasks", "nodes", "dag"}


# --- versions -----------------------------------------------------------------------------------------------

STEPS = {
    "canonical": {"steps": [{"id": "a", "handler": "h", "on_failure": "fail"}]},
    "residency": {"steps": [{"id": "a", "name": "A", "handler": "h", "execution_mode": "sequential"}]},
    "executor": {"steps": {"a": {"type": "process", "input": {"rules": []}, "max_retries": 1}}},
    "orchestration": {"tasks": {"a": {"action": "agent_task", "agent_id": "x"}}},
    "dag": {"dag": {"nodes": [{"id": "a", "handler": "h"}]}},
    "tasks": {"tasks": [{"id": "a", "type": "activity", "activity_type": "h"}]},
}


@pytest.mark.parametrize("dialect", NAMES)
@pytest.mark.parametrize("written", ["1.10", "1.0", "007", "1e3", "0x10", "1_0", "2026-11-30", "12:30", "3", "+1"])
def test_a_version_is_what_is_written_in_every_dialect(dialect, written):
    body = json.dumps(STEPS[dialect])[1:]
    loaded = load_definition(f"name: w\nversion: {written}\n{yaml.safe_dump(STEPS[dialect])}", dialect=dialect)
    assert loaded.version == written
    if written in ("1.10", "1.0", "1e3", "3"):  # the others are no numbers of JSON
        assert load_definition(f'{{"name": "w", "version": {written}, {body}', dialect=dialect).version == written


def test_the_version_of_a_document_under_definition_is_what_is_written():
    inner = "definition:\n  version: 1.10\n  name: w\n  steps: [{id: a, name: A, handler: h}]\n"
    assert load_definition(inner).version == "1.10"
    assert load_definition('{"definition": {"version": 1.10, "name": "w", "steps": [{"id": "a", "handler": "h"}]}}'
                           ).version == "1.10"  # fmt: skip


CHILD = "{workflow: c, version: 1.10, input: {version: 1.10}}"
TRIGGERS = {
    "canonical": f"name: w\nsteps:\n- {{id: a, type: workflow_trigger, config: {CHILD}}}\n",
    "json": f'{{"name": "w", "steps": {{"a": {{"type": "workflow_trigger", "config": {CHILD}}}}}}}'.replace(
        "workflow:", '"workflow":').replace(" c,", ' "c",').replace("version:", '"version":').replace("input:", '"input":'),
    "tasks": f"name: w\ntasks:\n- {{id: a, type: sub_workflow, config: {CHILD}}}\n",
    "orchestration": f"name: w\ntasks:\n  a: {{action: workflow_trigger, parameters: {CHILD}}}\n",
}  # fmt: skip


@pytest.mark.parametrize("text", TRIGGERS.values(), ids=TRIGGERS)
def test_the_version_that_a_step_triggers_is_what_is_written_and_data_stays_a_number(text):
    assert load_definition(text).steps[0].config == {"workflow": "c", "version": "1.10", "input": {"version": 1.1}}


def test_a_version_that_an_alias_repeats_is_a_number_where_it_is_data():
    text = "name: w\nversion: &v 1.10\nsteps: [{id: a, type: input, config: {data: {v: *v}}}]\n"
    definition = load_definition(text)
    assert (definition.version, definition.steps[0].config) == ("1.10", {"data": {"v": 1.1}})


def test_a_version_that_is_merged_in_is_what_is_written():
    text = "<<: {version: 1.10}\nname: w\nsteps: [{id: a, type: input}]\n"
    assert load_definition(text).version == "1.10"


def test_the_version_of_a_template_is_what_is_written():
    text = "template: t\nversion: 1.10\ndefinition: {name: w, version: 2.50, steps: [{id: a, type: input}]}\n"
    blueprint = read_blueprint(text, "t")
    assert (blueprint.version, instantiate(blueprint, {})["version"]) == ("1.10", "2.50")


# --- the mark that some editors write ----------------------------------------------------------------------


@pytest.mark.parametrize("text", ['{"name": "w", "steps": [{"id": "a", "type": "input"}]}',
                                  "name: w\nsteps: [{id: a, type: input}]\n"])  # fmt: skip
def test_a_byte_order_mark_is_no_part_of_a_document(text, tmp_path):
    file = tmp_path / "w.json"
    file.write_text(text, encoding="utf-8-sig")
    assert load_definition(file).name == "w"
    assert load_definition("\ufeff" + text).name == "w"


BLOCKS = {
    "|\n      {{ input.rows }}\n": [1, 2], ">\n      {{ input.rows }}\n": [1, 2], "|-\n      {{ input.rows }}\n": [1, 2],
    "|\n      {{ {'a': input.rows} }}\n": {"a": [1, 2]}, "|\n      {{ input.n\n         + 1 }}\n": 3,
    '|\n      {{ "}}" }}\n': "}}", "|\n      {{ input.n }} and {{ input.n }}\n": "2 and 2\n", "|\n      n: {{ input.n }}\n": "n: 2\n",
    "|\n\n      {{ input.rows }}\n": [1, 2], "|\n      {{ input.rows }}  \n": [1, 2], ">-\n      {{ input.n }} \n": 2,
    "|2\n        {{ input.rows }}\n": [1, 2], '"{{ input.n }} "': "2 ",
    "|+\n      {{ input.n }}\n\n": "2\n\n", '"{{ input.n }}\\n"': "2\n",
}  # fmt: skip


@pytest.mark.parametrize(("written", "value"), BLOCKS.items())
def test_a_block_that_is_one_template_keeps_the_type_of_its_value(written, value):
    text = f"name: w\nsteps:\n  - id: a\n    handler: h\n    input:\n     x: {written}"
    template = compile_template(load_definition(text).steps[0].input)
    assert template.evaluate({"input": {"rows": [1, 2], "n": 2}}) == {"x": value}


@pytest.mark.parametrize("piece", ["\\'", '\\"', "\\'''\n      "])
def test_a_block_of_quotes_that_are_never_closed_is_read_in_linear_time(piece):
    text = f"name: w\nsteps:\n  - id: a\n    input: |\n      {{{{ {piece * 20_000} }}}}\n"
    began = time.process_time()
    parse_text(text, "w")
    assert time.process_time() - began < 3
