"""Where things stand in a text, and which place a message means."""

from __future__ import annotations

import pytest
import yaml

from stepwell.schemas.definitions.places import Lines, locate, show


@pytest.mark.parametrize(
    ("text", "path", "line"),
    [
        ("a: {b: 1}\nc:\n  - 1\n  - 2\n", ("c", 1), 4),
        ("a:\n  b: 1\n", ("a", "b"), 2),
        ("a:\n  b: 1\n", ("a", "missing", "below"), 1),
        ("a:\n  b: 1\n", (), 1),
        ("x: &x\n  b: 1\ny:\n  <<: *x\n", ("y", "b"), 2),
        ("x: &x\n  b: 1\ny:\n  <<: [*x]\n  b: 2\n", ("y", "b"), 5),
        ('{\n\t"a": [\n\t\t1]}', ("a", 0), 3),
        ("a: [", ("a",), None),
        ("", ("a",), None),
    ],
)
def test_lines(text, path, line):
    assert Lines(text, yaml.SafeLoader).line(path) == line


@pytest.mark.parametrize(
    ("message", "path", "rest"),
    [
        ("steps[1].config.a.b: wrong", ("steps", 1, "config", "a.b"), ": wrong"),
        ("steps[1].config: wrong", ("steps", 1, "config"), ": wrong"),
        ("steps[7].config: wrong", ("steps",), "[7].config: wrong"),
        ("steps[0].input: missing", ("steps", 0), ".input: missing"),
        ("name: is long", ("name",), ": is long"),
        ("version: is missing", (), "version: is missing"),
    ],
)
def test_the_place_at_the_beginning_of_a_message(message, path, rest):
    data = {"name": "x", "steps": [{"id": "a"}, {"id": "b", "config": {"a.b": 1, "a": {}}}]}
    assert locate(message, data) == (path, rest)


def test_a_message_without_a_place():
    assert locate("Is nested too deeply", {"a": 1}) is None


def test_a_path_as_people_write_it():
    assert show(("steps", 3, "config", "rules", 0)) == "steps[3].config.rules[0]"
    assert show(()) == ""
