"""What is wrong with a definition is said at once, whole, and in words that name the place."""

import pytest

from stepwell.errors import DefinitionError
from stepwell.language import compile_plan
from stepwell.schemas.definitions.model import Compensation, Definition, Retry, Step, hash_definition
from stepwell.step_types.table import BUILT_IN
from tests.core.build import step, workflow


def problems(*steps, **fields):
    with pytest.raises(DefinitionError) as caught:
        compile_plan(workflow(*steps, **fields))
    assert "w" in caught.value.place
    return caught.value.problems


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ((), "steps: there are none; a workflow needs at least one"),
        ((step("a"), step("b"), step("a")), 'steps[2].id: "a" is given to 2 steps'),
        (
            (step("extract"), step("load", "extrct")),
            'steps[1].depends_on: unknown step "extrct", did you mean "extract"?',
        ),
        ((step("a"), step("b", "zebra")), 'steps[1].depends_on: unknown step "zebra"'),
        ((step("a", "a"),), 'steps[0].depends_on: "a" depends on itself'),
        ((step("a"), step("b", "a", "a")), 'steps[1].depends_on: "a" is named 2 times'),
        ((Step("a", type="pyton", handler="h"),), 'steps[0].type: unknown type "pyton", did you mean "python"?'),
        (
            (Step("a", type="qq"),),
            (
                f'steps[0].type: unknown type "qq"; there are {", ".join(BUILT_IN.names)}; '
                "one of your own is known once its module is imported (--handlers)"
            ),
        ),
        ((Step("a"),), 'steps[0] ("a"): needs a handler: a registered name or a dotted path'),
        ((Step("a", type="input", handler="h"),), 'steps[0].handler: a step of type "input" takes none'),
        ((Step("a", type="wait"),), 'steps[0].config: type "wait" needs "seconds"'),
        ((Step("a", type="http_request"),), 'steps[0].config: type "http_request" needs "url"'),
        ((Step("a", type="condition_check"),), 'steps[0].config: type "condition_check" needs "condition"'),
        (
            (Step("a", type="condition_check", config={"condition": 1}),),
            "steps[0].config.condition: must be an expression in a string",
        ),
        (
            (step("a", input=[1], input_mapping={"x": 1}),),
            "steps[0].input: must be a mapping where there is an input_mapping",
        ),
        ((step("fetch"), step("b", "fetch", condition="fetsh.output")),
         'steps[1].condition: nothing is called "fetsh", did you mean "fetch"?'),
        ((step("a", condition="qqqq > 1"),),
         'steps[0].condition: nothing is called "qqqq"; there are input, step_outputs, context and step ids'),
        ((step("fetch"), step("b", "fetch", input="{{ step_outputs.fech }}")),
         'steps[1].input: unknown step "fech", did you mean "fetch"?'),
        ((step("a"), step("b", condition="step_outputs.a.x")),
         'steps[1].condition: refers to "a", which "b" does not depend on, directly or not; add it to depends_on'),
        ((step("b", input_mapping={"x": "step_outputs.a.x"}), step("a", "b")),
         'steps[0].input_mapping: refers to "a", which "b" does not depend on, directly or not; add it to depends_on'),
    ],
)  # fmt: skip
def test_a_problem_is_told_with_its_place(steps, expected):
    assert problems(*steps) == [expected]


def test_a_cycle_is_shown_as_a_path():
    found = problems(step("start"), step("a", "start", "c"), step("b", "a"), step("c", "b"), step("end", "c"))
    assert found == ["steps: they depend on each other in a cycle: a → b → c → a"]


def test_every_problem_is_told_at_once():
    found = problems(step("a"), step("b", "x"), step("c", type="wait"), on_error={"a": ("nobody", "fail")})
    assert found == [
        'error_handlers.a: unknown step "nobody"',
        'steps[2].config: type "wait" needs "seconds"',
        'steps[1].depends_on: unknown step "x"',
    ]


@pytest.mark.parametrize(
    ("on_error", "expected"),
    [
        ({"wrok": ("mend", "fail")}, ['error_handlers.wrok: unknown step "wrok", did you mean "work"?']),
        ({"work": ("work", "fail")}, ["error_handlers.work: a step cannot handle its own failure"]),
        (
            {"work": ("mend", "fail"), "other": ("mend", "fail")},
            ['error_handlers.work: "mend" already handles "other"; give each step a handler of its own'],
        ),
        (
            {"work": ("mend", "fail"), "mend": ("late", "fail")},
            ["error_handlers.mend: an error handler cannot have one itself"],
        ),
        (
            {"work": ("after", "fail")},
            [
                'steps[3].depends_on: "after" handles the failure of "work" and may depend on nothing else',
            ],
        ),
    ],
)
def test_error_handlers_are_checked(on_error, expected):
    steps = (step("work"), step("mend"), step("other"), step("after", "other"), step("late"))
    found = problems(*steps, on_error=on_error)
    assert found == expected


def test_nothing_may_depend_on_an_error_handler():
    found = problems(step("work"), step("mend"), step("b", "mend"), on_error={"work": ("mend", "continue")})
    assert found == ['steps[2].depends_on: "mend" runs only when "work" fails; nothing may depend on it']


def test_an_error_handler_may_name_the_error_and_others_may_not():
    compile_plan(
        workflow(
            step("a"), step("mend", input={"e": "{{ error.message }}", "s": "{{ failed_step }}"}),
            on_error={"a": ("mend", "fail")},
        )
    )  # fmt: skip
    found = problems(step("a", input="{{ error }}"))
    assert found[0].startswith('steps[0].input: nothing is called "error"')


def test_a_compensation_may_name_the_output_of_its_step():
    compile_plan(workflow(step("a", compensate=Compensation("undo", input={"x": "{{ output.x }}"}))))
    (found,) = problems(step("a", compensate=Compensation("undo", input={"x": "{{ outptu.x }}"})))
    assert found == 'steps[0].compensate.input: nothing is called "outptu", did you mean "output"?'


def test_an_expression_that_is_not_allowed_names_its_place():
    (found,) = problems(step("a", config={"headers": {"x": "{{ ().__class__ }}"}}))
    assert found.startswith("steps[0].config.headers.x: ")


def test_indirect_dependencies_may_be_referred_to():
    compile_plan(workflow(step("a"), step("b", "a"), step("c", "b", condition="a.status == 'succeeded'")))


def test_the_plan_shows_what_could_run_at_once():
    plan = compile_plan(workflow(step("d", "b", "c"), step("a"), step("c", "a"), step("b", "a"), step("e")))
    assert plan.batches == (("a", "e"), ("c", "b"), ("d",))
    assert plan.roots == ("a", "e")
    assert plan.outputs == ("d", "e")


def test_an_input_schema_is_checked_and_never_fetches_anything():
    (found,) = problems(step("a"), input_schema={"type": "objekt"})
    assert found.startswith("input_schema.type: ")
    (found,) = problems(step("a"), input_schema={"properties": {"x": {"pattern": "["}}})
    assert found.startswith("input_schema.properties.x.pattern: ")
    (found,) = problems(step("a"), input_schema={"$ref": "#/nowhere"})
    assert found == 'input_schema.$ref: there is no "#/nowhere" in the schema'
    for reference in ("http://127.0.0.1:9/schema.json", "#"):
        plan = compile_plan(workflow(step("a"), input_schema={"$ref": reference}))
        assert plan.input_problem({}).startswith("input: cannot be checked by the input_schema: ")


def test_a_definition_built_in_python_is_the_one_that_is_read_back():
    """Seconds given as ints are floats on the wire; both must be one definition, with one hash."""
    built = workflow(step("a", timeout_seconds=30, retry=Retry(max_attempts=2, multiplier=2)), version="1")
    plan = compile_plan(built)
    assert plan.definition.steps[0].timeout_seconds == 30.0
    assert type(plan.definition.steps[0].timeout_seconds) is float
    assert plan.hash == hash_definition(built) == hash_definition(plan.definition)


@pytest.mark.parametrize(
    ("definition", "expected"),
    [
        (Definition("w", (Step("a", handler="h", retry=Retry(max_attempts=0)),)), "Expected `int` >= 1"),
        (Definition("w", (Step("", handler="h"),)), "Expected `str` of length >= 1"),
        (Definition("w", (Step("a", handler="h", timeout_seconds=-1),)), "Expected `float` > 0"),
        (Definition("w", (Step("a", handler="h", on_failure="explode"),)), "Invalid enum value"),
        (Definition("w", (Step("a", handler="h", input=object()),)), "object is unsupported"),
    ],
)
def test_a_definition_built_in_python_is_checked_like_any_other(definition, expected):
    with pytest.raises(DefinitionError, match=expected):
        compile_plan(definition)
