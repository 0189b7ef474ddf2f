"""Reading a definition: what may be written shorter, and errors that name the place."""

import pytest

from stepwell.errors import DefinitionError
from stepwell.language import from_plain, load_definition
from stepwell.schemas.definitions.bounds import MOST_BYTES
from stepwell.schemas.definitions.model import Compensation, Definition, ErrorHandler, Step

STEP = {"id": "a", "handler": "h"}


def problem(data, **fields):
    with pytest.raises(DefinitionError) as caught:
        from_plain({"name": "w", "version": "1", "steps": [STEP], **data, **fields}, place="w.yaml")
    assert caught.value.place == "w.yaml"
    (found,) = caught.value.problems
    return found


def steps_of(text):
    return load_definition(text).steps


# --- what may be written shorter ---


def test_yaml_json_plain_data_and_files_are_the_same(tmp_path):
    yaml = "name: w\nversion: 1.0\nsteps:\n  - {id: a, handler: h}\n"
    json = '{"name": "w", "version": "1.0", "steps": [{"id": "a", "handler": "h"}]}'
    path = tmp_path / "w.yaml"
    path.write_text(yaml)
    expected = Definition("w", (Step("a", handler="h"),), version="1.0")
    plain = {"name": "w", "version": 1.0, "steps": [STEP]}
    for source in (yaml, json, plain, path, str(path), expected):
        assert load_definition(source) == expected


def test_steps_may_be_a_mapping_by_id():
    assert steps_of("name: w\nsteps:\n  a: {handler: h}\n  b: {type: input, depends_on: a}\n  c:\n    handler: h\n") == (
        Step("a", handler="h"), Step("b", type="input", depends_on=("a",)), Step("c", handler="h"),
    )  # fmt: skip


def test_short_forms_of_a_step():
    (step,) = steps_of("name: w\nsteps: [{id: a, handler: h, compensate: undo, condition: true, retry: , queue: }]")
    assert step == Step("a", handler="h", compensate=Compensation("undo"), condition="True")


def test_an_error_handler_may_be_just_a_step():
    definition = load_definition("name: w\nsteps: {a: {handler: h}, b: {handler: h}}\nerror_handlers: {a: b}")
    assert definition.error_handlers == {"a": ErrorHandler("b", "fail")}


def test_without_a_version_the_content_makes_one():
    one = load_definition("name: w\nsteps: [{id: a, handler: h}]")
    same = load_definition('{"steps": [{"handler": "h", "id": "a"}], "name": "w"}')
    other = load_definition("name: w\nsteps: [{id: a, handler: other}]")
    assert len(one.version) == 8
    assert one == same
    assert one.version != other.version


@pytest.mark.parametrize(("written", "version"), [("0", "0"), ("1", "1"), ("1.5", "1.5"), ("'x y'", "x y")])
def test_a_version_that_is_written_is_kept(written, version):
    assert load_definition(f"name: w\nversion: {written}\nsteps: [{{id: a, handler: h}}]").version == version


def test_only_true_and_false_are_truth_values():
    (step,) = steps_of("name: w\nsteps: [{id: a, handler: h, config: {on: k, no: off, y: yes, t: true, f: False}}]")
    assert step.config == {"on": "k", "no": "off", "y": "yes", "t": True, "f": False}


def test_a_mapping_may_take_over_and_overrule_the_keys_of_another():
    (one, other) = steps_of("name: w\nsteps:\n- &a {id: a, handler: h, queue: q}\n- &b {<<: *a, id: b}\n")
    assert other == Step("b", handler="h", queue="q")
    assert one == Step("a", handler="h", queue="q")


# --- what is wrong ---


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"setps": []}, 'unknown key "setps", did you mean "steps"?'),
        ({"zzz": 1}, 'unknown key "zzz"; there are ' + ", ".join(sorted(Definition.__struct_fields__))),
        ({"steps": [STEP, {"id": "b", "handlr": "h"}]},
         'steps[1] ("b"): unknown key "handlr", did you mean "handler"?'),
        ({"steps": [STEP, {"handler": "h"}]}, 'steps[1]: missing "id"'),
        ({"steps": [{**STEP, "retry": {"max_atempts": 3}}]},
         'steps[0].retry ("a"): unknown key "max_atempts", did you mean "max_attempts"?'),
        ({"steps": [{**STEP, "retry": {"max_attempts": 0}}]},
         'steps[0].retry.max_attempts ("a"): expected a whole number of at least 1'),
        ({"steps": [{**STEP, "on_failure": "explode"}]},
         'steps[0].on_failure ("a"): unknown value "explode"; there are fail, skip, pause, rollback'),
        ({"steps": [{**STEP, "timeout_seconds": "5s"}]},
         'steps[0].timeout_seconds ("a"): expected a number, not a text'),
        ({"steps": "a"}, "steps: expected a list, not a text"),
        ({"steps": {"a": 3}}, "steps.a: expected a mapping, not a number"),
        ({"steps": [{"id": 5, "handler": "h"}]}, "steps[0].id: expected a text, not a number"),
        ({"steps": [{**STEP, "compensate": {"handler": "u", "qeue": "q"}}]},
         'steps[0].compensate ("a"): unknown key "qeue", did you mean "queue"?'),
        ({"error_handlers": {"a": {"step": "b", "thn": "fail"}}},
         'error_handlers.a: unknown key "thn", did you mean "then"?'),
        ({"max_parallel_steps": 0}, "max_parallel_steps: expected a whole number of at least 1"),
        ({"steps": [{**STEP, "on_failure": "skp"}]},
         'steps[0].on_failure ("a"): unknown value "skp", did you mean "skip"? There are fail, skip, pause, rollback'),
        ({"steps": [{**STEP, "mode": "serial"}]},
         'steps[0].mode ("a"): unknown value "serial", did you mean "sequential"? There are parallel, sequential'),
        ({"steps": [{**STEP, "timeout_seconds": 0}]}, 'steps[0].timeout_seconds ("a"): expected a number above 0'),
        ({"steps": [{**STEP, "compensate": {"handler": "u", "timeout_seconds": 0}}]},
         'steps[0].compensate.timeout_seconds ("a"): expected a number above 0'),
        ({"default_timeout_seconds": 0}, "default_timeout_seconds: expected a number above 0"),
        ({"default_timeout_seconds": 1e12},
         "default_timeout_seconds: expected a number of at most 316,224,000"),
        ({"steps": [{**STEP, "retry": {"retry_on_timeout": "yes"}}]},
         'steps[0].retry.retry_on_timeout ("a"): expected true or false, not a text'),
        ({"steps": [{**STEP, "retry": {"max_attempts": 1.5}}]},
         'steps[0].retry.max_attempts ("a"): expected a whole number, not a fraction'),
        ({"steps": [{**STEP, "checkpoint": 3}]},
         'steps[0].checkpoint ("a"): expected true or false or a text, not a number'),
        ({"steps": [{**STEP, "checkpoint": "no"}]}, 'steps[0].checkpoint ("a"): write true or false instead of "no"'),
        ({"error_handlers": {"a": {"step": "b"}, "c": {"step": "d", "then": "go on"}}},
         'error_handlers.c.then: unknown value "go on"; there are fail, continue, rollback'),
        ({"error_handlers": {"a": 3}}, "error_handlers.a: expected a mapping, not a number"),
        ({"steps": [{**STEP, "input": {"x": [{1: "b"}]}}]}, 'steps[0].input.x[0]: the key 1 is no text; write "1"'),
        ({"name": ""}, "name: expected a text of at least 1 character"),
        ({"version": ""}, "version: expected a text of at least 1 character"),
    ],
)  # fmt: skip
def test_a_problem_is_told_with_its_place(data, expected):
    assert problem(data) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\n", "is empty; a definition is a mapping with name and steps"),
        ("- a\n- b\n", "is a list; a definition is a mapping with name and steps"),
        ("name: w\nsteps: [\n", "line 3, column 1: "),
        ('{"name": "w",\n', "is no JSON: "),
        ("a: *nowhere\n", "line 1, column 4: found undefined alias"),
        ("name: w\nsteps:\n- id: a\n  input: {1: b}\n", 'line 4: the key 1 is no text; write "1"'),
        ("name: w\n1.5: x\n", 'line 2: the key 1.5 is no text; write "1.5"'),
        ("name: w\ntrue: x\n", 'line 2: the key true is no text; write "true"'),
        ("name: w\nversion: 1\n\nname: x\n", 'line 4: "name" is given twice'),
        ("name: w\nsteps:\n- {id: a,\n   id: b}\n", 'line 4: "id" is given twice'),
        ("name: w\ninput: {{ input.a }}\n", "line 2: a key must be a text; is this a template? Put it in quotes: "),
        ('{"name": "w",\n"steps": [],\n"name": "x"}', 'line 3: "name" is given twice'),
        ('{"name": "w", "\\ud83d": 1, "\\ud83d": 2}', '"\\ud83d" is given twice'),
        (
            "a: !!python/object/apply:os.system [echo]\n",
            "line 1: the tag !!python/object/apply:os.system is not allowed",
        ),
    ],
)
def test_a_text_that_cannot_be_read_says_where(text, expected):
    with pytest.raises(DefinitionError) as caught:
        load_definition(text)
    assert caught.value.problems[0].startswith(expected)


def test_every_wrong_key_is_told_at_once_in_order():
    with pytest.raises(DefinitionError) as caught:
        load_definition("name: w\n1: x\nname: v\nsteps: [{2: x}]\n")
    assert [found.partition(":")[0] for found in caught.value.problems] == ["line 2", "line 3", "line 4"]


def test_a_value_that_is_no_json_is_refused_also_where_the_content_makes_the_version():
    with pytest.raises(DefinitionError, match="object is unsupported"):
        from_plain({"name": "w", "steps": [{**STEP, "input": {"x": object()}}]}, place="w")


def test_data_that_holds_itself_is_refused():
    holds: list = []
    holds.append(holds)
    with pytest.raises(DefinitionError):
        from_plain({"name": "w", "steps": [{**STEP, "input": holds}]}, place="w")
    with pytest.raises(DefinitionError):
        load_definition("name: w\nsteps: [{id: a, handler: h, input: &x [*x]}]")


def test_what_is_nested_beyond_reason_is_refused():
    nested: object = "x"
    for _ in range(5_000):
        nested = [nested]
    for source in ({"name": "w", "steps": [{**STEP, "input": nested}]}, "name: w\nsteps: " + "[" * 5_000):
        with pytest.raises(DefinitionError):
            load_definition(source)


def test_files_that_are_not_there_or_no_text_are_told(tmp_path):
    (tmp_path / "order.yaml").write_text("name: w")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "large.yaml").write_bytes(b"#" * (MOST_BYTES + 1))
    for name, expected in {
        "oder.yaml": f"there is no such file; did you mean {tmp_path / 'order.yaml'}?",
        "": "is a directory; name a YAML or JSON file",
        "bytes.yaml": "is no text in UTF-8 (byte 0); is it a YAML or JSON file?",
        "large.yaml": "has more than 8,388,608 bytes",
    }.items():
        with pytest.raises(DefinitionError) as caught:
            load_definition(tmp_path / name)
        assert caught.value.problems == [expected]
        assert caught.value.place == str(tmp_path / name)


@pytest.mark.parametrize("key", ["\ud800name", "na\udfffme"])
def test_half_a_surrogate_pair_in_a_text_hides_no_line_of_what_is_wrong(key):
    with pytest.raises(DefinitionError) as caught:
        load_definition('{\n"' + key + '": "w",\n"steps": [{"id": "a", "handlr": "h"}]}', place="w.json")
    assert "line 3" in str(caught.value)
