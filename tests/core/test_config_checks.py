"""What a built-in step's config says literally is checked with the graph; what templates fill in, when it runs."""

from pathlib import Path

import pytest

from stepwell.consumers.worker.builtin.process import _ON_FIELDS, _OPERATIONS, _RULES
from stepwell.core.expressions.evaluate import compile_expression
from stepwell.errors import DefinitionError, ExpressionError
from stepwell.language import compile_plan
from stepwell.schemas.definitions.model import LONGEST_SECONDS, Compensation, Retry, Step
from stepwell.step_types.http_request import METHODS as HTTP_METHODS
from stepwell.step_types.process import OPERATIONS as OPERATION_KEYS
from stepwell.step_types.process import RULES as RULE_KEYS
from stepwell.step_types.table import BUILT_IN
from tests.core.build import step, workflow
from tests.cost import usual_seconds


def problems(*steps):
    with pytest.raises(DefinitionError) as caught:
        compile_plan(workflow(*steps))
    return caught.value.problems


def config_problems(type_, config):
    return [found.removeprefix("steps[0].config") for found in problems(Step("a", type=type_, config=config))]


def rule_problems(*rules):
    return [found.removeprefix(".rules") for found in config_problems("process", {"rules": list(rules)})]


URL = "https://example.com"
SECONDS = "is no number of seconds from 0 to ten years"


@pytest.mark.parametrize(
    ("type_", "config", "expected"),
    [
        ("process", {"rulez": 3}, [': unknown key "rulez", did you mean "rules"?']),
        ("process", {"rules": 3}, [".rules: a list of rules is needed, not a number"]),
        ("input", {"dat": {}}, [': unknown key "dat", did you mean "data"?']),
        ("input", {"data": [1]}, [".data: a mapping is needed, not a list"]),
        ("output", {"zzz": 1}, [': unknown key "zzz"; there are none']),
        ("condition_check", {"condition": "true", "zzz": 1}, [': unknown key "zzz"; there are condition']),
        ("wait", {"seconds": 1, "minutes": 1}, [': unknown key "minutes"; there are seconds']),
        ("wait", {"seconds": "ten"}, [f".seconds: 'ten' {SECONDS}"]),
        ("wait", {"seconds": "10"}, [f".seconds: '10' {SECONDS}"]),
        ("wait", {"seconds": -1}, [f".seconds: -1 {SECONDS}"]),
        ("wait", {"seconds": True}, [f".seconds: True {SECONDS}"]),
        ("wait", {"seconds": LONGEST_SECONDS + 1}, [f".seconds: {LONGEST_SECONDS + 1} {SECONDS}"]),
        ("http_request", {"url": "ftp://x", "foo": 1},
         [f': unknown key "foo"; there are {", ".join(BUILT_IN["http_request"].keys)}',
          ".url: only http:// and https:// URLs can be requested"]),
        ("http_request", {"url": "file:///{{ input.path }}"}, [".url: only http:// and https:// URLs can be requested"]),
        ("http_request", {"url": ""}, [".url: only http:// and https:// URLs can be requested"]),
        ("http_request", {"url": 3}, [".url: a text is needed, not a number"]),
        ("http_request", {"url": URL, "method": "pots"}, ['.method: unknown method "pots", did you mean "POST"?']),
        ("http_request", {"url": URL, "method": 3}, [".method: a text is needed, not a number"]),
        ("http_request", {"url": URL, "header": {}}, [': unknown key "header", did you mean "headers"?']),
        ("llm", {}, [': type "llm" needs "prompt" or "messages"']),
        ("llm", {"prompt": ""}, [".prompt: is empty"]),
        ("llm", {"prompt": "?", "temprature": 1}, [': unknown key "temprature", did you mean "temperature"?']),
        ("llm", {"prompt": "?", "temperature": 2.1}, [".temperature: a number from 0 to 2 is needed"]),
        ("llm", {"prompt": "?", "max_tokens": 1.5}, [".max_tokens: a whole number from 1 to 10,000,000 is needed"]),
        ("llm", {"prompt": "?", "timeout_seconds": 0}, [".timeout_seconds: a number above 0 is needed"]),
        ("llm", {"prompt": "?", "include_input": "yes"}, [".include_input: true or false is needed, not a text"]),
        ("llm", {"prompt": "?", "schema": {"type": "x"}},
         [".schema.type: 'x' is not valid under any of the given schemas"]),
        ("llm", {"messages": "hi"}, [".messages: a list of messages is needed, not a text"]),
        ("llm", {"messages": ["hi", {"role": "boss", "content": 1, "name": "x"}]},
         [".messages[0]: a mapping with role and content is needed, not a text",
          '.messages[1]: unknown key "name"; there are role, content',
          ".messages[1].role: one of system, user, assistant is needed",
          ".messages[1].content: a text is needed, not a number"]),
        ("file_operation", {"operation": "reed", "path": "a"},
         ['.operation: unknown operation "reed", did you mean "read"?']),
        ("file_operation", {"operation": "copy", "path": "a"}, [': the operation "copy" needs "to"']),
        ("file_operation", {"operation": "read", "path": "a", "content": "x"},
         ['.content: the operation "read" takes none; it takes path, format, encoding']),
        ("file_operation", {"operation": "checksum", "path": "a", "algorithm": "sha257"},
         ['.algorithm: unknown algorithm "sha257", did you mean "sha256"?']),
        ("file_operation", {"operation": "list", "path": "a", "recursive": 1},
         [".recursive: true or false is needed, not a number"]),
        ("agent_task", {"agent_id": 3}, [".agent_id: a text is needed, not a number"]),
    ],
)  # fmt: skip
def test_a_literal_mistake_is_found_with_the_graph(type_, config, expected):
    assert config_problems(type_, config) == expected


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("upper", "[0]: a mapping is needed, not a text"),
        ({}, '[0]: needs "type"'),
        ({"type": "transfrm"}, '[0].type: unknown type "transfrm", did you mean "transform"?'),
        ({"type": 3}, "[0].type: a text is needed, not a number"),
        ({"type": "qq"}, f'[0].type: unknown type "qq"; there are {", ".join(RULE_KEYS)}'),
        ({"type": "sort", "bye": "x"}, '[0]: unknown key "bye", did you mean "by"?'),
        ({"type": "transform", "field": "x"}, '[0]: needs "operation"'),
        ({"type": "transform", "field": "x", "operation": "uper"},
         '[0].operation: unknown operation "uper", did you mean "upper"?'),
        ({"type": "transform", "field": "x", "operation": "upper", "digits": 1},
         '[0]: unknown key "digits"; there are type, field, operation'),
    ],
)  # fmt: skip
def test_a_rules_type_operation_and_keys_are_checked(rule, expected):
    assert rule_problems(rule) == [expected]


@pytest.mark.parametrize(
    ("type_", "config"),
    [
        ("input", {"data": {"x": 1}}),
        ("input", {"data": "{{ input.more }}"}),
        ("wait", {"seconds": 0}),
        ("wait", {"seconds": "{{ input.n }}"}),
        ("process", {}),
        ("process", {"rules": None}),
        ("process", {"rules": "{{ input.rules }}"}),
        ("process", {"rules": ["{{ input.rule }}", {"type": "{{ input.type }}", "anything": 1}]}),
        ("process", {"rules": [{"type": "transform", "operation": "{{ input.o }}", "field": "x", "digits": 1}]}),
        ("http_request", {"url": "{{ input.base }}/x", "method": "{{ input.method }}"}),
        ("http_request", {"url": "HTTPS://{{ input.host }}/x", "method": "post"}),
        ("llm", {"prompt": "{{ input.q }}", "temperature": "{{ input.t }}", "schema": "{{ input.s }}"}),
        ("llm", {"messages": [{"role": "user", "content": "{{ input.q }}"}]}),
        ("file_operation", {"operation": "{{ input.o }}", "path": "a", "to": "b"}),
        ("agent_task", {"agent_id": "{{ input.who }}", "anything": 1}),
        ("python", {"anything": 1}),
    ],
)  # fmt: skip
def test_what_is_right_or_filled_in_by_a_template_is_let_through(type_, config):
    compile_plan(workflow(Step("a", type=type_, config=config, handler="h" if type_ == "python" else None)))


def test_the_tables_are_those_of_the_workers():
    assert {one.name for one in BUILT_IN if one.closed} == set(BUILT_IN.names) - {
        "python",
        "agent_task",
    }  # these take what their handlers like
    assert set(_RULES) == set(RULE_KEYS)
    assert set(_OPERATIONS) | set(_ON_FIELDS) == set(OPERATION_KEYS)
    assert {key for keys in OPERATION_KEYS.values() for key in keys} | {"field", "operation"} == set(
        RULE_KEYS["transform"]
    )
    assert all(method.isupper() for method in HTTP_METHODS)


@pytest.mark.parametrize(
    ("type_", "config"),
    [("input", {}), ("output", {}), ("condition_check", {"condition": "true"}), ("wait", {"seconds": 1})],
)
def test_a_step_without_attempts_takes_neither_retries_nor_a_time_limit(type_, config):
    said = f'a step of type "{type_}" has no attempts, so it takes none'
    wrong = Step("a", type=type_, config=config, retry=Retry(max_attempts=2), timeout_seconds=3)
    assert problems(wrong) == [f"steps[0].retry: {said}", f"steps[0].timeout_seconds: {said}"]
    compile_plan(workflow(Step("a", type=type_, config=config, compensate=Compensation("undo"))))  # which does run


@pytest.mark.parametrize("name", ["a\nb", " a", "a ", "a\x1b[2J", "\u2028a", "a\x85b"])
def test_an_id_that_would_break_a_line_is_refused(name):
    (found,) = problems(Step(name, handler="h"))
    assert found == f"steps[0].id: {name!r} has blanks at its ends, line breaks, control characters or invisible ones"


def test_an_id_may_be_any_other_text():
    compile_plan(workflow(step("input"), step("fetch-data"), step("Größe 1/2"), step("日本")))


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("input.a = 1", "input.a = 1 (line 1, column 9): invalid syntax; write == to compare"),
        ("input.a && input.b", "input.a && input.b (line 1, column 10): invalid syntax; write and instead of &&"),
        ("input.a || input.b", "input.a || input.b (line 1, column 10): invalid syntax; write or instead of ||"),
        ("!input.a", "!input.a (line 1, column 1): invalid syntax; write not instead of !"),
        ("{{ input.a }}", "{{ input.a }}: an expression is written without braces here; write input.a"),
        ("{{ input.a }} > 3", "{{ input.a }} > 3: an expression is written without braces here; write input.a > 3"),
        ("{{input.a == 'x'}} and true or",
         "{{input.a == 'x'}} and true or: an expression is written without braces here; write input.a == 'x' and true or"),
        ("lenn(input.a)", "the function lenn() is not allowed: lenn(input.a) (line 1, column 1); did you mean len()?"),
    ],
)  # fmt: skip
def test_an_expressions_remedy_is_told_in_the_same_line(source, expected):
    assert problems(step("a", condition=source)) == [f"steps[0].condition: {expected}"]


def test_the_page_about_definitions_shows_these_messages():
    page = (Path(__file__).resolve().parents[2] / "docs/definitions.md").read_text(encoding="utf-8")
    upper = {"type": "transform", "field": "x", "operation": "uper"}
    wrong = [
        (step("a"), Step("b", type="process", config={"rulez": 3})),
        (step("a"), Step("b", type="process", config={"rules": [upper]})),
        (Step("a", type="wait", config={"seconds": "ten"}),),
        (Step("a", type="http_request", config={"url": "ftp://x"}),),
        (Step("a", type="wait", config={"seconds": 1}, retry=Retry(max_attempts=2)),),
        (step("a", condition="input.a = 1"),),
        (step("a", condition="{{ input.a }}"),),
    ]
    for steps in wrong:
        for problem in problems(*steps):
            assert f"`{problem}`" in page


def test_where_no_remedy_is_more_to_the_point_what_is_allowed_is_listed():
    (found,) = problems(step("a", input={"x": "{{ [y for y in input.z] }}"}))
    assert found.startswith("steps[0].input.x: a comprehension is not allowed: ")
    assert "; allowed: literals, " in found
    assert "\n" not in found


def test_habits_and_braces_within_quotes_are_none():
    compile_expression("input.a == '&& = {{ x }}'")
    with pytest.raises(ExpressionError) as caught:
        compile_expression("input.a == '{{ && }}' input.b")
    assert "without braces" not in caught.value.message
    assert "&&" not in caught.value.remedy


def test_a_hostile_source_is_refused_in_time():
    for source in ("{{" * 2000, "{{" + " " * 3990, "'" * 3999, "\\'" * 2000, "'\"" * 2000, "=" * 4000):
        with usual_seconds() as took, pytest.raises(ExpressionError):
            compile_expression(source)
        assert took.seconds < 1


def test_ten_thousand_steps_are_compiled_in_seconds():
    many = [step(f"s{n}", *([f"s{n - 1}"] if n else [])) for n in range(10_000)]
    with usual_seconds() as took:
        compile_plan(workflow(*many))
    assert took.seconds < 3
