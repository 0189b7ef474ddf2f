# ruff: noqa: T201 - the seed is printed
"""Definitions, expressions, templates, schemas, flows and rules drawn at random: an answer or a clear error, soon, and
in little memory.

``python -m tests.hostile --examples 20000`` draws more than the tests do; ``--seed N`` draws the same again.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable
from typing import Any, Final

import yaml
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from stepwell.core.expressions.evaluate import compile_expression
from stepwell.core.expressions.json_schema import compile_schema, worst
from stepwell.core.expressions.templates import compile_template
from stepwell.errors import DefinitionError, ExpressionError
from stepwell.language import compile_plan, load_definition
from stepwell.schemas.definitions.model import (
    Definition,
    Retry,
    Step,
    decode_definition,
    encode_definition,
    hash_definition,
)
from stepwell.step_types.process import OPERATIONS as OPERATION_KEYS
from stepwell.step_types.process import RULES as RULE_KEYS
from stepwell.step_types.table import BUILT_IN
from tests.cost import USUAL, yardstick
from tests.hostile import costly
from tests.hostile.corpus import TEXTS
from tests.hostile.corpus_expressions import EXPRESSIONS, TEMPLATES
from tests.hostile.measured import check_message

SECONDS: Final = 8.0  # of processor time, for one example: a meter is used up in one to four
MEGABYTES: Final = 400.0  # that the process may grow by over one example

IDS: Final = ("a", "b", "c", "a-b", "1")
SCOPE: Final[dict[str, Any]] = {
    "input": {"a": 1, "b": [1, 2.5, "x", None, True], "c": {"a": {}, "class": 0}, "t": "text", "e": []},
    "context": {"run_id": "r", "n": -3},
    "step_outputs": {"a": {"n": 1}, "b": None, "a-b": [[1], [2]]},
    "a": {"output": {"n": 1}},
}

# --- expressions: words in any order, and trees of the grammar ---------------------------------------------------

_WORDS: Final = (
    "input", "context", "step_outputs", "a", "b", ".a", ".b[0]", ".c", ".n", "['a-b']", "true", "null", "None", "1",
    "2.5", "-", "+", "*", "/", "//", "%", "**", "(", ")", "[", "]", "{", "}", ":", ",", ".", "==", "!=", "<", "<=", "in",
    "not in", "not ", "and", "or", "is None", "is not", " if ", " else ", "len(", "sum(", "sorted(", "str(", "int(",
    "max(", "round(", "reverse=", "'x'", '"', "'", "\\", "lambda x: ", "for x in", "__class__", "\0", "\n", "#", "{{",
    "}}", "é", "\u202e", "\ud800", "9" * 40, "1e308", "0x", "async ", "await ", ":=", "=", "&&", "'''", "f'", "b'",
)  # fmt: skip
word_soup = st.lists(st.sampled_from(_WORDS), max_size=25).map(" ".join) | st.lists(
    st.sampled_from(_WORDS), max_size=25
).map("".join)

_leaves = st.sampled_from(
    ("input.a", "input.b", "input.c", "input.t", "input.e", "input.nobody", "step_outputs['a-b']", "context.n", "true",
     "null", "0", "1", "2.5", "-7", "1e300", "'x'", "''", "[]", "{}", "10**2")
)  # fmt: skip


def _grown(part: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    operators = st.sampled_from(("+", "-", "*", "/", "//", "%", "==", "!=", "<", ">=", "in", "not in", "and", "or"))
    calls = st.sampled_from(
        ("len", "sum", "min", "max", "sorted", "str", "int", "float", "bool", "abs", "round", "any")
    )
    return st.one_of(
        st.builds("({} {} {})".format, part, operators, part),
        st.builds("{}({})".format, calls, part),
        st.builds("({} if {} else {})".format, part, part, part),
        st.builds("{}[{}]".format, part, part),
        st.builds("{}[{}:{}]".format, part, part, part),
        st.builds("[{}, {}]".format, part, part),
        st.builds("{{'k': {}, {}: 1}}".format, part, part),
        st.builds("not {}".format, part),
        st.builds("-{}".format, part),
    )


trees = st.recursive(_leaves, _grown, max_leaves=20)
expressions = word_soup | trees | st.sampled_from([source for _, source, _ in EXPRESSIONS])

# --- JSON, and definitions of it ---------------------------------------------------------------------------------

templates = st.builds(
    "{}{{{{ {} }}}}{}".format, st.sampled_from(("", "x ")), expressions, st.sampled_from(("", "}}"))
)
texts = st.text(max_size=8) | templates | st.sampled_from(("", "{{", "}}", *IDS))
_scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-(1 << 70), 1 << 70), st.floats(), texts,
    st.sampled_from((0, 1, -1, 1e308, 1 << 63)),
)  # fmt: skip


@st.composite
def _scalar(draw: st.DrawFn) -> Any:
    """By its name: st.recursive writes out what it is given, expressions and all."""
    return draw(_scalars)


values = st.recursive(
    _scalar(),
    lambda part: (
        st.lists(part, max_size=4) | st.dictionaries(st.text(max_size=5) | st.sampled_from(IDS), part, max_size=4)
    ),
    max_leaves=12,
)


def _mapping(known: dict[str, st.SearchStrategy[Any]], wild: int = 6) -> st.SearchStrategy[dict[str, Any]]:
    """A mapping with some of these keys; one time in ``wild`` any value, or a key that is unknown."""
    odd = st.dictionaries(st.sampled_from((*known, "stepps", "", "__class__")), values, max_size=1)
    nothing: st.SearchStrategy[dict[str, Any]] = st.just({})
    return st.builds(
        lambda good, bad: good | bad,
        st.fixed_dictionaries({}, optional=known),
        st.one_of(*[nothing] * (wild - 1), odd),
    )


_ids = st.sampled_from(IDS)
_settings = _mapping(dict.fromkeys(sorted({key for one in BUILT_IN for key in one.keys}), values))
_rules = st.builds(
    lambda kind, operation, fields: {"type": kind, "operation": operation} | fields,
    st.sampled_from((*RULE_KEYS, "eval")), st.sampled_from(tuple(OPERATION_KEYS)) | values,
    _mapping(dict.fromkeys(sorted({key for keys in RULE_KEYS.values() for key in keys} - {"operation"}), values)),
)  # fmt: skip
_configs = st.one_of(_settings, st.dictionaries(st.text(max_size=4), values, max_size=3),
                     st.lists(_rules, max_size=3).map(lambda rules: {"rules": rules}))  # fmt: skip
_step = _mapping(
    dict.fromkeys(Step.__struct_fields__, values)
    | {
        "id": _ids, "type": st.sampled_from((*BUILT_IN.names, *BUILT_IN.aliases)), "handler": st.sampled_from(("h", "m.f")),
        "depends_on": st.lists(_ids, max_size=2), "condition": expressions, "config": _configs,
        "retry": _mapping(dict.fromkeys(Retry.__struct_fields__, st.integers(0, 5))),
        "timeout_seconds": st.floats(0.1, 10), "name": st.text(max_size=5), "description": st.text(max_size=5),
        "queue": st.text(min_size=1, max_size=3), "mode": st.sampled_from(("parallel", "sequential")),
        "on_failure": st.sampled_from(("fail", "skip", "pause", "rollback")), "checkpoint": st.booleans(),
        "input_mapping": st.dictionaries(_ids, values, max_size=2),
        "compensate": st.just("h") | _mapping({"handler": st.just("h"), "input": values, "config": _configs}),
    }
)  # fmt: skip
_good_step = st.builds(lambda step_id, more: {"id": step_id, "handler": "h"} | more, _ids, st.one_of(
    st.just({}), st.fixed_dictionaries({}, optional={"condition": trees, "input": values, "depends_on": st.lists(_ids, max_size=1)}),
))  # fmt: skip
schemas = st.deferred(lambda: st.booleans() | _mapping(_SCHEMA_KEYS, wild=10))
_SCHEMA_KEYS: Final[dict[str, st.SearchStrategy[Any]]] = {
    "type": st.sampled_from(("object", "array", "string", "integer", "number", "null", "boolean")),
    "properties": st.dictionaries(_ids, schemas, max_size=2), "items": schemas, "not": schemas,
    "anyOf": st.lists(schemas, min_size=1, max_size=2), "allOf": st.lists(schemas, min_size=1, max_size=2),
    "pattern": st.sampled_from(("^a+$", "(a+)+$", "(?=a)", "[", r"\d", "(a)\\1", "a{9999}")) | st.text(max_size=5),
    "patternProperties": st.dictionaries(st.sampled_from(("^a", "(", ".")), schemas, max_size=2),
    "additionalProperties": schemas, "required": st.lists(_ids, max_size=2, unique=True), "enum": st.lists(values, min_size=1, max_size=3),
    "const": values, "minimum": st.floats(-5, 5), "maxLength": st.integers(0, 3), "uniqueItems": st.booleans(),
    "multipleOf": st.floats(0.001, 3), "contains": schemas, "format": st.sampled_from(("email", "date-time", "x")),
    "$ref": st.sampled_from(("#", "#/$defs/a", "#/$defs/b", "http://127.0.0.1:9/x", "#/nowhere", "")),
    "$defs": st.dictionaries(_ids, schemas, max_size=2), "if": schemas, "then": schemas,
    "propertyNames": schemas, "dependentSchemas": st.dictionaries(_ids, schemas, max_size=1),
    "unevaluatedProperties": schemas, "unevaluatedItems": schemas, "$dynamicRef": st.just("#a"), "$dynamicAnchor": st.just("a"),
    "$id": st.sampled_from(("", "http://x/y", "#")), "$schema": st.sampled_from((
        "http://json-schema.org/draft-07/schema#", "https://json-schema.org/draft/2020-12/schema", "x", "http://json-schema.org/draft-04/schema#",
    )),
}  # fmt: skip
definitions = _mapping(
    dict.fromkeys(Definition.__struct_fields__, values)
    | {
        "name": st.just("w"), "version": st.just("1"), "steps": st.lists(_step | _good_step, min_size=1, max_size=4)
        | st.lists(_good_step, min_size=1, max_size=3, unique_by=lambda step: step["id"]),
        "tags": st.lists(st.text(max_size=3), max_size=2), "input_schema": schemas, "description": st.text(max_size=5),
        "default_timeout_seconds": st.floats(0, 10), "max_parallel_steps": st.integers(0, 3),
        "error_handlers": st.dictionaries(_ids, _ids | _mapping({"step": _ids}), max_size=2),
    }
).map(lambda data: {"name": "w", "steps": [{"id": "a", "handler": "h"}]} | data)  # fmt: skip

# --- documents: good ones, cut up --------------------------------------------------------------------------------

_PIECES: Final = (
    "&a ", "*a", "<<: *a\n", "!!int ", "!x ", "- ", ": ", "? ", "{", "}", "[", "]", "|", ">\n", "'", '"', "#", "\t", "\n",
    "\0", "\ufeff", "---\n", "...\n", "%YAML 1.2\n", "null", "~", ".nan", "1e999", "0o7", "1:2:3", "2026-01-01", "{{", "@", "`",
    "\u2028", "\x85", "\ud800", "é", ",", "  ",
)  # fmt: skip


def _cut(document: str, edits: list[tuple[int, int, str]]) -> str:
    for place, length, piece in edits:
        at = place % (len(document) + 1)
        document = document[:at] + piece + document[at + length :]
    return document


def _written(data: dict[str, Any], as_json: bool) -> str:
    return json.dumps(data) if as_json else yaml.safe_dump(data, allow_unicode=True)


documents = st.builds(
    _cut,
    st.builds(_written, definitions, st.booleans()) | st.sampled_from([text for _, text, _ in TEXTS if len(text) < 500]),
    st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 3), st.sampled_from(_PIECES)), max_size=4),
)  # fmt: skip

# --- what must hold ----------------------------------------------------------------------------------------------


def check_definition(source: Any) -> bool:
    """It is compiled, and the same when it is read back; or refused in words. True if it was compiled."""
    try:
        plan = compile_plan(load_definition(source, place="w.yaml"))
    except DefinitionError as error:
        check_message(error)
        return False
    again = decode_definition(encode_definition(plan.definition))
    assert hash_definition(again) == plan.hash == compile_plan(again).hash
    return True


def check_expression(source: str) -> bool:
    """It has a value, twice the same; or is refused in words."""
    try:
        expression = compile_expression(source)
        value = expression.evaluate(SCOPE)
    except ExpressionError as error:
        check_message(error)
        return False
    assert repr(expression.evaluate(SCOPE)) == repr(value)
    assert expression.names <= {*SCOPE, *expression.names}
    return True


def check_template(value: Any) -> bool:
    """What comes of it can be written as JSON; or it is refused in words."""
    try:
        made = compile_template(value).evaluate(SCOPE)
    except ExpressionError as error:
        check_message(error)
        return False
    json.dumps(made, allow_nan=False)
    return True


def check_schema(pair: tuple[Any, Any]) -> bool:
    """It says something of data; or it, or checking by it, is refused in words."""
    schema, data = pair
    try:
        said = worst(compile_schema(schema), data)
    except ExpressionError as error:
        check_message(error)
        return False
    assert len(said) < 5_000
    return True


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), 1 << 63) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda part: st.lists(part, max_size=4) | st.dictionaries(_ids, part, max_size=3), max_leaves=10,
)  # fmt: skip

Check = Callable[[Any], bool]
KINDS: Final[dict[str, tuple[st.SearchStrategy[Any], Check]]] = {
    "definitions": (definitions, check_definition),
    "documents": (documents, check_definition),
    "expressions": (expressions, check_expression),
    "templates": (values | st.sampled_from([value for _, value, _ in TEMPLATES]), check_template),
    "schemas": (st.tuples(schemas, json_values), check_schema),
    "repeated": (costly.repeated, costly.check_repeated),
    "flows": (costly.flows(), costly.check_flow),
    "branching": (costly.branching(), costly.check_branching),
    "rules": (costly.rules, costly.check_rules),
}


@st.composite
def _drawn(draw: st.DrawFn, kind: str) -> Any:
    """One of a kind, by its name: Hypothesis would write out a strategy of a thousand parts."""
    return draw(KINDS[kind][0])


def _peak() -> float:
    """The most memory that this process ever had, in megabytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def run(kind: str, count: int, number: int) -> tuple[int, float]:
    """Draw so many of a kind.

    Args:
        kind: One of ``KINDS``.
        count: How many examples.
        number: The seed: the same draws the same, with the same version of Hypothesis.

    Returns:
        How many were well-formed after all, and the seconds of processor time that the slowest took.

    Raises:
        AssertionError: Something does not hold; Hypothesis has printed the smallest such example.
    """
    check = KINDS[kind][1]
    good, slowest = 0, 0.0

    def once(example: Any) -> None:
        nonlocal good, slowest
        before, began = _peak(), time.process_time()
        good += check(example)
        took = time.process_time() - began
        if took >= SECONDS:  # the yardstick takes longer than most examples
            took /= max(1.0, yardstick() / USUAL)
        slowest = max(slowest, took)
        assert took < SECONDS, f"took {took:.1f} s of processor time"
        # By one example: what Hypothesis remembers of thousands of them is not what is looked for.
        assert _peak() - before < MEGABYTES, f"took {_peak() - before:.0f} MB"

    print(f"{kind}: seed {number}; again: python -m tests.hostile --only {kind} --seed {number} --examples {count}")
    bounded = settings(
        max_examples=count, deadline=None, database=None, phases=(Phase.generate, Phase.shrink),
        suppress_health_check=list(HealthCheck), print_blob=False,
    )  # fmt: skip
    seed(number)(bounded(given(_drawn(kind))(once)))()
    return good, slowest
