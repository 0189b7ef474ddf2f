"""What is drawn to be costly: large data that is repeated, merged, joined and checked by schemas that branch.

Each is evaluated by the parts that an engine or a worker evaluates it by; what comes of it, or the error, is one of many,
and that it comes soon and in little memory is what matters (see ``fuzz.run``).
"""

from __future__ import annotations

import json
from typing import Any, Final

from hypothesis import strategies as st

from stepwell.consumers.worker.builtin.process import RuleError, ValidationError, apply_rules
from stepwell.core.decide.decide import decide
from stepwell.core.decide.decision import Circumstances
from stepwell.core.decide.starting import can_continue
from stepwell.core.expressions.json_schema import compile_schema, worst
from stepwell.core.expressions.templates import compile_template
from stepwell.errors import DefinitionError, ExpressionError
from stepwell.language import compile_plan, load_definition
from stepwell.schemas.records.codec import encode
from stepwell.schemas.records.commands import ContinueWorkflow, StartWorkflow
from tests.core.model import Known
from tests.hostile.measured import check_message

MOST_WRITTEN: Final = 40_000_000
"""Bytes of one event: two meters' worth, and what a definition says literally."""
LARGE: Final[dict[str, Any]] = {
    "t": "ab " * 40_000, "l": list(range(5_000)), "r": [{"a": n % 7, "b": str(n), "c": "x" * 20} for n in range(1_000)],
    "m": {f"k{n}": n for n in range(3_000)}, "n": 10**300,
}  # fmt: skip

# --- templates over large data ------------------------------------------------------------------------------------

_roots = st.sampled_from(("input", "input.t", "input.l", "input.r", "input.m", "input.n", "'x'", "2", "[]"))


def _grown(part: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    calls = st.sampled_from(("str", "sorted", "len", "sum", "max", "any", "list"))
    methods = st.sampled_from((
        "split()", "split('a')", "replace('a', 'bbbbbbbb')", "upper()", "items()", "values()", "keys()", "splitlines()",
        "title()", "strip()", "count('a')", "find('zz')", "get('k1', [])", "join(['a', 'b'])",
    ))  # fmt: skip
    return st.one_of(
        st.builds("({} {} {})".format, part, st.sampled_from(("+", "*", "==", "<", "in", "and", "or")), part),
        st.builds("{}({})".format, calls, part),
        st.builds("{}.{}".format, part, methods),
        st.builds("[{}, {}]".format, part, part),
        st.builds("{{'k': {}, 'l': {}}}".format, part, part),
        st.builds("{}[::-1]".format, part),
    )


_trees = st.recursive(_roots, _grown, max_leaves=6)
_texts = st.builds("{{{{ {} }}}}".format, _trees) | st.builds("x {{{{ {} }}}}".format, _trees)
_repeated = st.builds(lambda text, times: [text] * times, _texts, st.sampled_from((1, 2, 30, 300)))
repeated = _repeated | st.dictionaries(st.sampled_from("abc"), _texts | _repeated, max_size=3)


def check_repeated(value: Any) -> bool:
    """It is made, and not much of it; or refused in words."""
    try:
        made = compile_template(value).evaluate({"input": LARGE})
    except ExpressionError as error:
        check_message(error)
        return False
    assert len(json.dumps(made)) < MOST_WRITTEN
    return True


# --- instances whose steps merge and gather -----------------------------------------------------------------------


@st.composite
def flows(draw: st.DrawFn) -> dict[str, Any]:
    """A definition of steps that take each other's outputs."""
    steps: list[dict[str, Any]] = []
    for number in range(draw(st.integers(1, 25))):
        before = [step["id"] for step in steps]
        after = draw(st.lists(st.sampled_from(before), max_size=3, unique=True)) if before else []
        step: dict[str, Any] = {"id": f"s{number}", "depends_on": after}
        step |= draw(st.sampled_from((
            {"type": "input"}, {"type": "output"}, {"type": "output"}, {"type": "process"},
            {"type": "condition_check", "config": {"condition": "len(str(input)) > 5"}},
        )))  # fmt: skip
        if draw(st.integers(0, 3)) == 0:
            step["input"] = draw(repeated)
        steps.append(step)
    return {"name": "w", "version": "1", "steps": steps}


def check_flow(data: Any) -> bool:
    """Its instance comes to an end, or to a worker, and no decision makes more than can be written."""
    try:
        plan = compile_plan(load_definition(data))
    except DefinitionError as error:
        check_message(error)
        return False
    known, state = Known(plan), None
    command: Any = StartWorkflow("i", workflow="w", input=LARGE)
    for _ in range(500):
        decision = decide(state, command, Circumstances(0, known))
        state = decision.state
        assert all(len(encode(event)) < MOST_WRITTEN for event in decision.events)
        if state is None or not state.live or not can_continue(state, plan):
            break
        command = ContinueWorkflow("i")
    else:
        raise AssertionError("it goes on and on")
    return state is not None and state.status != "failed"


# --- schemas that branch ------------------------------------------------------------------------------------------

_AROUND: Final = ("allOf", "anyOf", "oneOf", "dependentSchemas", "if", "not", "properties", "items", "$ref")
_OVER: Final[tuple[dict[str, Any], ...]] = (
    {}, {"unevaluatedProperties": False}, {"unevaluatedItems": False}, {"unevaluatedProperties": {"type": "string"}},
    {"$schema": "https://json-schema.org/draft/2019-09/schema", "unevaluatedProperties": False},
    {"$schema": "http://json-schema.org/draft-07/schema#"}, {"uniqueItems": True}, {"$dynamicAnchor": "n"},
)  # fmt: skip
_LEAVES: Final[tuple[Any, ...]] = (
    {}, True, False, {"type": "integer"}, {"uniqueItems": True}, {"pattern": "(?:a|b)*a(?:a|b){300}c"}, {"enum": [[1], {}]},
    {"additionalProperties": False, "patternProperties": {f"^x{n}$": {} for n in range(50)}}, {"$dynamicRef": "#n"},
    {"propertyNames": {"pattern": "^[a-z]+$"}}, {"contains": {"const": -1}}, {"items": {"multipleOf": 0.1}},
)  # fmt: skip


@st.composite
def branching(draw: st.DrawFn) -> tuple[Any, Any]:
    """A schema whose definitions each refer to the next, several times; and data."""
    levels = draw(st.integers(0, 30))
    defs: dict[str, Any] = {f"d{levels}": draw(st.sampled_from(_LEAVES))}
    for number in range(levels):
        below = {"$ref": f"#/$defs/d{number + 1}"}
        word = draw(st.sampled_from(_AROUND))
        times = draw(st.integers(1, 3))
        if word in ("allOf", "anyOf", "oneOf"):
            made: Any = {word: [below] * times}
        elif word in ("dependentSchemas", "properties"):
            made = {word: dict.fromkeys("abc"[:times], below)}
        elif word == "if":
            made = {"if": below, "then": below, "else": below}
        elif word == "$ref":
            made = below
        else:
            made = {word: below}
        defs[f"d{number}"] = made
    schema = {"$defs": defs, **draw(st.sampled_from(_OVER)), "allOf": [{"$ref": "#/$defs/d0"}]}
    data = draw(st.sampled_from((
        1, "ab" * 20_000, {"a": 1, "b": 1}, {"a": {"a": {"a": []}}, "b": [1, 1]}, [[0] * 30] * 30, LARGE, LARGE["l"],
        LARGE["r"], LARGE["m"], [{"a": n} for n in range(2_000)], [1, 1.0],
    )))  # fmt: skip
    return schema, data


def check_branching(pair: tuple[Any, Any]) -> bool:
    """It says something of the data; or is refused in words."""
    schema, data = pair
    try:
        worst(compile_schema(schema), data)
    except ExpressionError as error:
        check_message(error)
        return False
    return True


# --- rules of the step process ------------------------------------------------------------------------------------

_fields = st.sampled_from(("r", "r[]", "r[].a", "r[].b", "r[].c", "t", "l", "l[]", "m", "", "m.k1", "new"))
_rules = st.one_of(
    st.builds(
        lambda field, change: {"type": "transform", "field": field} | change, _fields,
        st.sampled_from((
            {"operation": "upper"}, {"operation": "title"}, {"operation": "drop"}, {"operation": "cast", "to": "str"},
            {"operation": "replace", "old": "x", "new": "y" * 500}, {"operation": "replace", "old": "ab", "new": ""},
            {"operation": "default", "value": "z" * 50_000}, {"operation": "rename", "to": "q"}, {"operation": "trim"},
        )),
    ),
    st.builds(
        lambda expression, name: {"type": "map", "field": "r", "set": {name: expression, f"{name}2": expression}},
        st.sampled_from(("row", "str(row)", "a + 1", "b + b", "[row, row]", "c.split('x')", "sorted([b, c])")),
        st.sampled_from(("a", "c", "d", "e.f")),
    ),
    st.builds(
        lambda on, how, prefix: {"type": "join", "left": "r", "right": "r", "on": on, "how": how, "prefix": prefix},
        st.sampled_from(("a", "b", ["a", "b"])), st.sampled_from(("inner", "left")),
        st.sampled_from(("", "p_", "p" * 10_000)),
    ),
    st.builds(lambda text: {"type": "filter", "field": "r", "where": text}, st.sampled_from(("a > 3", "row", "b in c"))),
    st.builds(lambda by: {"type": "sort", "field": "r", "by": by}, st.sampled_from(("a", "b", ["c", "a"]))),
    st.just({"type": "group", "field": "r", "by": "a", "aggregate": {"n": {"count": True}, "m": {"max": "b"}}}),
    st.builds(lambda pair, field: {"type": "validate", "field": field, "schema": pair[0]}, branching(), _fields),
    st.just({"type": "select", "field": "r", "fields": ["a", "b", "c"]}),
)  # fmt: skip
rules = st.lists(_rules, max_size=5)


def check_rules(several: Any) -> bool:
    """They make JSON, and not too much of it; or are refused in words."""
    try:
        made = apply_rules(LARGE, several)
    except (RuleError, ValidationError) as error:
        check_message(error)
        return False
    assert len(json.dumps(made)) < 4 * MOST_WRITTEN
    return True
