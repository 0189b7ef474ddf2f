"""What is wrong is told whole, in the words of the document, with its lines."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
import yaml

from stepwell.errors import DefinitionError
from stepwell.language import compile_loaded, read_definition

from .fixtures import fixtures

CLAIM = """\
name: claim
parameters: 3
tasks:
  - {id: a, type: activty, config: {x: "{{ nothing.there }}"}}
  - id: b
    type: activity
    activity_type: http_request
    timeout: soon
    depends_on:
      - a
      - z
    config:
      url: http://x
      method: FETCH
      body: "{{ 1 + }}"
  - {id: c, type: human_approval, depend_on: [a], condition: "parameters.amount >"}
  - {id: d, type: activity, activity_type: h, depends_on: [e]}
  - {id: e, type: activity, activity_type: h, depends_on: [d]}
colour: red
"""


def problems(source: Any, **named: str) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        compile_loaded(read_definition(source, name="unnamed", **named))
    return caught.value.problems


def test_everything_at_once_in_the_order_of_the_text():
    syntax = "(line 1, column 1): invalid syntax"
    expected = [
        "line 2: parameters: expected parameters by name, such as {amount: {type: number}}, or a list",
        "line 3: tasks: they depend on each other in a cycle: d → e → d",
        'line 4: tasks[0].type ("a"): unknown type "activty", did you mean "activity"?',
        'line 4: tasks[0].config: nothing is called "nothing"; there are input, step_outputs, context and step ids',
        'line 8: tasks[1].timeout ("b"): "soon" is no duration; write seconds, or a text such as 90s, 15m, 2h or 3d',
        'line 11: tasks[1].depends_on[1]: unknown task "z"',
        'line 14: tasks[1].config.method: unknown method "FETCH", did you mean "PATCH"?',
        f"line 15: tasks[1].config.body: 1 + {syntax}",
        'line 16: tasks[2] ("c"): unknown key "depend_on", did you mean "depends_on"?',
        f"line 16: tasks[2].condition: input.amount > {syntax}",
        'line 19: unknown key "colour"; there are description,',
    ]
    for told, beginning in zip(problems(CLAIM), expected, strict=True):
        assert told.startswith(beginning)


def test_lines_of_json_too_also_where_it_is_indented_by_tabs():
    text = '{\n\t"id": "x",\n\t"steps": {\n\t\t"a": {"type": "inptu"},\n\t\t"b": {"type": "output", "depends_on": ["c"]}\n\t}\n}'
    assert problems(text) == [
        'line 4: steps.a.type: unknown type "inptu", did you mean "input"?',
        'line 5: steps.b.depends_on[0]: unknown step "c"',
    ]


def test_the_canonical_form_is_told_about_likewise():
    text = "name: a\nsteps:\n  x: {handler: h, timeout_seconds: -1}\n  y:\n    handler: h\n    condition: input.a >\n    depends_on: [z]\n"
    told = problems(text)
    assert [problem[:30] for problem in told] == [
        "line 3: steps.x.timeout_second", "line 6: steps.y.condition: inp", "line 7: steps.y.depends_on: un",
    ]  # fmt: skip


def test_what_was_taken_out_to_look_on_is_not_told_to_be_missing():
    data = {"name": "a", "steps": [
        {"id": "x", "handler": "h"},
        {"id": "y", "handler": "h", "depends_on": ["xx"], "input": "{{ step_outputs.x }}", "condition": "1 +"},
    ]}  # fmt: skip
    told = problems(data)
    assert len(told) == 2
    assert not any("does not depend on" in problem for problem in told)


def test_a_dialect_that_there_is_not_is_refused_with_the_one_that_is_meant():
    known = "canonical, residency, executor, orchestration, dag, tasks"
    expected = [f'unknown dialect "resdency", did you mean "residency"? There are {known}']
    assert problems({"steps": []}, dialect="resdency") == expected


def test_a_dialect_that_is_named_is_taken_whatever_the_shape():
    assert 'missing "dag"' in problems({"name": "a", "tasks": []}, dialect="dag")
    (step,) = compile_loaded(
        read_definition({"name": "a", "steps": [{"id": "x", "handler": "h"}]}, dialect="residency")
    ).steps.values()
    assert step.step.handler == "h"


_ODD = [
    None,
    3,
    -1,
    1.5,
    True,
    "",
    "x",
    "{{ }}",
    "{{ 1 + }}",
    "{{ a.output }}",
    [],
    {},
    [3],
    [{}],
    {"a": 1},
    ["x", "x"],
]


def _places(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    below = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    return [path, *(place for key, part in below for place in _places(part, (*path, key)))]


def _changed(data: Any, random_: random.Random) -> Any:
    """The same with something in it replaced, renamed or left out."""
    data = json.loads(json.dumps(data))
    *above, last = random_.choice([place for place in _places(data) if place])
    node = data
    for key in above:
        node = node[key]
    change = random_.randrange(3)
    if change == 0 or isinstance(node, list):
        node[last] = random_.choice(_ODD)
    elif change == 1:
        node[f"{last}x"] = node.pop(last)
    else:
        del node[last]
    return data


@pytest.mark.parametrize("fixture", fixtures(), ids=str)
def test_whatever_is_changed_in_an_example_is_taken_or_told(fixture):
    data = yaml.safe_load(fixture.path.read_text())
    refused: list[DefinitionError] = []
    for seed in range(250):
        random_ = random.Random(seed)
        changed = data
        for _ in range(random_.randint(1, 3)):
            changed = _changed(changed, random_)
        for dialect in (None, fixture.dialect):
            try:
                compile_loaded(read_definition(json.dumps(changed, indent=1), name="unnamed", dialect=dialect))
            except DefinitionError as error:
                refused.append(error)
    assert len(refused) > 100
    assert all(error.problems and all(error.problems) for error in refused)


@pytest.mark.parametrize("depth", [400, 450, 500, 550, 900])
def test_what_is_nested_without_end_is_refused(depth: int):
    deep = "[" * depth + "]" * depth
    task = f'{{"id": "x", "activity_type": "h", "config": {{"x": {deep}}}}}'
    assert all("nested" in problem for problem in problems(f'{{"name": "a", "tasks": [{task}]}}'))


def test_a_text_that_is_no_text_is_refused():
    assert problems('{"name": "a\\ud800", "tasks": [{"id": "x", "activity_type": "h"}]}')


def test_templates_that_never_end_are_refused_at_once():
    for text in ("{{" * 50_000, "{{'" * 20_000, "{{" + "a." * 50_000 + "}}", "{{ " + "''" * 20_000 + "}"):
        (told,) = problems({"name": "a", "tasks": [{"id": "x", "activity_type": "h", "config": {"x": text}}]})
        assert told.startswith("tasks[0].config.x: this {{ is never closed")
