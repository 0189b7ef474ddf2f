"""The expression language: what it allows, what it means, what it refuses, and how it says so."""

import ast
import contextlib
import math
import sys
import traceback
from collections.abc import Iterator, Mapping
from datetime import timedelta
from functools import reduce

import immutables
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepwell.core.expressions import operations, values
from stepwell.core.expressions.evaluate import compile_expression
from stepwell.errors import ExpressionError

SCOPE = {
    "input_data": {"items": [3, 1, 2], "name": "Ada", "total": 12.5, "flag": True, "nothing": None},
    "step_outputs": {"fetch": {"rows": [{"id": 1}, {"id": 2}]}, "fetch-data": {"rows": 7}, "validate": {"ok": True}},
    "context": {"key": "name", "class": "first"},
}


class View(Mapping):
    """A lazy mapping, as the engine's scope is: not a dict, and it equals none by itself."""

    def __init__(self, data):
        self.data = data

    def __getitem__(self, key):
        return self.data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.data)

    def __len__(self):
        return len(self.data)

    __eq__ = object.__eq__
    __hash__ = None


def value_of(source, scope=SCOPE):
    return compile_expression(source).evaluate(scope)


def refusal_of(source, scope=SCOPE):
    with pytest.raises(ExpressionError) as caught:
        value_of(source, scope)
    return caught.value


# What it means.


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("step_outputs['validate']['ok'] == True and len(input_data.items) >= 3", True),
        ("step_outputs.fetch.rows[-1].id", 2),
        ("input_data.items[1:]", [1, 2]),
        ("input_data.items[::-1]", [2, 1, 3]),
        ("input_data.name[0] + 'x'", "Ax"),
        ("input_data[context.key]", "Ada"),
        ("context['class']", "first"),
        ("1 < 2 <= 2 < 3", True),
        ("1 < 2 > 2", False),
        ("'d' in 'Ada' and 'x' not in 'Ada'", True),
        ("'rows' in step_outputs.fetch", True),
        ("{'id': 2} in step_outputs.fetch.rows", True),
        ("input_data.nothing is None", True),
        ("input_data.nothing is null and input_data.name is not null", True),
        ("[true, false, null]", [True, False, None]),
        ("input_data.name or 'nobody'", "Ada"),
        ("input_data.nothing or 'nobody'", "nobody"),
        ("0 and missing", 0),
        ("'many' if len(input_data.items) > 2 else missing", "many"),
        ("-7 // 2", -4),
        ("-7 % 3", 2),
        ("7 / 2", 3.5),
        ("True + True", 2),
        ("-True", -1),
        ("[1] + [2, 3]", [1, 2, 3]),
        ("(1,) + (2,)", (1, 2)),
        ("{'a': [1, {'b': (2,)}]}", {"a": [1, {"b": (2,)}]}),
        ("min(input_data.items) + max(4, 9, 2)", 10),
        ("sum(input_data.items) + sum([1, 2], 0.5)", 9.5),
        ("any([0, '', 1]) and not all([1, 0])", True),
        ("round(2.5), round(2.675, 2), round(1234, ndigits=-2)", (2, 2.67, 1200)),
        ("abs(-3) + abs(-0.5)", 3.5),
        ("sorted(input_data.items, reverse=True)", [3, 2, 1]),
        ("sorted(context)", ["class", "key"]),
        ("str(1) + str(1.0) + str(true) + str(null) + str('x')", "11.0TrueNonex"),
        ("str([1, {'a': null}])", "[1, {'a': None}]"),
        ("int('12') + int(3.9) + int(true)", 16),
        ("float('1.5') + float(1)", 2.5),
        ("[bool([]), bool('x'), str(), int(), float(), bool()]", [False, True, "", 0, 0.0, False]),
        ("len(input_data)", 5),
        ("(1, 2) == (1, 2)", True),
        ("'''triple \n text'''", "triple \n text"),
        ("  1 +\n  2  # with a comment\n", 3),
        ("()", ()),
        ("'é' + 'ü'", "éü"),
    ],
)
def test_it_means_what_it_means_in_python(source, expected):
    value = value_of(source)
    assert value == expected
    assert type(value) is type(expected)


def test_json_constants_yield_to_names_in_the_scope():
    assert value_of("true", {"true": "a step"}) == "a step"
    assert value_of("true", {}) is True
    assert compile_expression("null == true or x").names == {"x"}


def test_a_function_name_may_also_be_the_name_of_a_step():
    expression = compile_expression("sum.output + sum([1])")
    assert expression.names == {"sum"}
    assert expression.evaluate({"sum": {"output": 4}}) == 5


def test_dotted_access_never_reads_an_attribute():
    class Tempting(dict):
        secret = "attribute"

    assert value_of("x.secret", {"x": Tempting(secret="key")}) == "key"
    assert "no key 'secret'" in refusal_of("x.secret", {"x": Tempting()}).message
    assert value_of("x.items", {"x": {"items": 1}}) == 1


def test_reading_a_missing_key_never_changes_the_data():
    from collections import defaultdict

    data = defaultdict(list)
    refusal_of("x.new", {"x": data})
    refusal_of("x['new']", {"x": data})
    assert not data


@pytest.mark.parametrize("wrap", [View, immutables.Map, dict])
def test_any_mapping_is_as_good_as_a_dict(wrap):
    scope = wrap({"x": wrap({"a": wrap({"b": 1})}), "y": [wrap({"b": 1})]})
    assert value_of("x.a.b + x['a']['b']", scope) == 2
    assert value_of("x.a == {'b': 1} and {'b': 1} == x.a and x == {'a': {'b': 1}}", scope) is True
    assert value_of("x.a != {'b': 2} and x.a != 1", scope) is True
    assert value_of("y == [{'b': 1}] and x.a in y and {'b': 1} in y and 'a' in x", scope) is True
    assert value_of("str(x)", scope) == "{'a': {'b': 1}}"
    assert value_of("len(x), sorted(x), x and true", scope) == (1, ["a"], True)
    assert "Did you mean 'alpha'" in refusal_of("x.alpa", {"x": wrap({"alpha": 1})}).remedy


def test_sum_adds_from_left_to_right_on_every_python():
    numbers = [0.1] * 10
    assert value_of("sum(x)", {"x": numbers}) == reduce(lambda a, b: a + b, numbers, 0) != math.fsum(numbers)


def test_data_is_handed_on_without_a_copy():
    assert value_of("input_data.items") is SCOPE["input_data"]["items"]


# What it reads.


def test_names_and_references_tell_what_an_expression_reads():
    expression = compile_expression(
        "step_outputs.fetch.rows[0].id > step_outputs['a-b']['x'].y and len(input[context.key].z) and c[1:].d and e"
    )
    assert expression.names == {"step_outputs", "input", "context", "c", "e"}
    assert expression.references == {
        ("step_outputs", "fetch", "rows"),
        ("step_outputs", "a-b", "x", "y"),
        ("input",),
        ("context", "key"),
        ("c",),
        ("e",),
    }


def test_references_are_found_wherever_an_expression_may_stand():
    expression = compile_expression("[a.b, {c.d: e.f}, (g.h if i.j else k.l,), sorted(m.n, reverse=o.p), -q.r]")
    assert {".".join(path) for path in expression.references} == {
        "a.b", "c.d", "e.f", "g.h", "i.j", "k.l", "m.n", "o.p", "q.r",
    }  # fmt: skip


# What its errors say.


def test_a_missing_key_names_near_matches():
    error = refusal_of("input_data.itms")
    assert "no key 'itms'" in error.message
    assert error.remedy == "Did you mean 'items'?"


def test_a_missing_key_without_near_matches_lists_what_there_is():
    assert refusal_of("context.zzz").remedy == "There is: 'key', 'class'."
    assert refusal_of("x.a", {"x": {}}).remedy == "There is none at all."


def test_a_missing_name_names_near_matches():
    error = refusal_of("inptu_data.items")
    assert "no name 'inptu_data'" in error.message
    assert "'input_data'" in error.remedy


@pytest.mark.parametrize("source", ["fetch-data.rows", "step_outputs.fetch-data.rows", "1 + fetch - data.rows"])
def test_an_id_with_a_dash_is_recognised_in_what_was_read_as_a_subtraction(source):
    scope = {"step_outputs": View({"fetch-data": {"rows": 7}})}
    assert "['fetch-data']" in refusal_of(source, scope).remedy


def test_an_id_with_a_dash_is_recognised_by_its_second_half_too():
    assert "step_outputs['fetch-data']" in refusal_of("fetch-data", {"fetch": 1, "fetch-data": 2}).remedy


def test_an_id_without_its_root_is_recognised():
    assert refusal_of("validate.ok").remedy == "Write step_outputs.validate."


def test_a_name_that_is_listed_but_has_no_value_yet_says_so():
    class Unsettled(View):
        def __getitem__(self, key):
            raise KeyError(key)

    assert refusal_of("x.fetch", {"x": Unsettled({"fetch": 1})}).remedy == "It has no value yet."


def test_a_misspelt_function_names_the_right_one():
    error = refusal_of("lenn(x)")
    assert "lenn()" in error.message
    assert "Did you mean len()?" in error.remedy
    assert "the functions len, min" in error.remedy


def test_a_refusal_says_what_and_where():
    error = refusal_of("é + [x for x in y]")
    assert "a comprehension is not allowed: [x for x in y] (line 1, column 5)" in error.message
    assert "Allowed: " in error.remedy
    assert "(line 3, column 2)" in refusal_of("1 + (\n2 +\n x ** 2)").message
    assert "line 1, column 4" in refusal_of("a && b").message


def test_a_failure_names_the_part_that_failed():
    assert refusal_of("1 + len(input_data.items) / 0").message == (
        "len(input_data.items) / 0 (in 1 + len(input_data.items) / 0): division by zero"
    )
    assert "null has no keys" in refusal_of("input_data.nothing.rows").message
    assert "cannot compare a text with a number" in refusal_of("input_data.name < 3").message
    assert "no index 3: the length is 3" in refusal_of("input_data.items[3]").message


def test_a_message_stays_short_however_large_source_and_data_are():
    wide = {"x": {f"key{i}" * 50: "v" * 10_000 for i in range(5_000)}}
    for source in (
        "x.nope",
        f"x['{'k' * 3000}']",
        f"x.nope + {'1 + ' * 90} 1",
        "x + x",
        "int(x)",
        "f'" + "a" * 999 + "'",
    ):
        assert len(str(refusal_of(source, wide))) < 1_000


def test_warnings_of_pythons_parser_reach_nobody(recwarn):
    assert value_of(r"'\d'") == r"\d"
    assert value_of("1if 2else 3") == 1
    assert not recwarn.list


# What it refuses.

HOSTILE = [
    "__import__('os').system('true')", "__builtins__", "__name__", "x.__class__", "x.__class__.__mro__[1]",
    "''.encode()", "x.y()", "x['y']()", "(len)(x)(y)", "eval('1')", "exec('1')", "open('f')", "getattr(x, 'y')",
    "type(x)", "dir()", "globals()", "vars(x)", "print(1)", "input()", "range(9)", "list(x)", "dict(x)", "set(x)",
    "map(len, x)", "lambda: 1", "(lambda x: x)(1)", "[a for a in x]", "{a for a in x}", "{a: 1 for a in x}",
    "any(a for a in x)", "(y := 1)", "f'{x}'", "f'{x.__class__}'", "b'bytes'", "1j", "...", "{1, 2}", "[*x]",
    "{**x}", "len(*x)", "sorted(**x)", "sorted(x, key=len)", "sorted(x, True)", "max(x, default=1)", "min(x, key=abs)",
    "2 ** 9", "2 ** 9 ** 9 ** 9", "1 << 9", "9 >> 1", "1 | 2", "1 & 2", "1 ^ 2", "~1", "+1", "x @ x", "x is x",
    "1 is not 2", "None is 1", "await x", "yield", "(yield x)", "yield from x", "x = 1", "import os", "a; b", "del x",
    "x[1:2, 3]", "x[...]", "len()", "len(1, 2)", "round(1, 2, 3)", "round(1, 2, ndigits=3)", "sorted()", "min()",
    "", " ", "\n", "#", "(", ")", "a)\n+ b", "'", "'''", "1 +", "a b", "a.", ".a", "a..b", "a.1", "1.a", "a.class",
    "9e999", "-9e999", "1" * 4_299, "0x" + "f" * 3_600, "'\\ud800'", "\ud800", "'\ud800'", "a\0b", "\0",
    "x" * 4_001, "[" * 150 + "]" * 150, "-" * 3_000 + "1", "not " * 900 + "x", "~" * 3_000 + "1",
    "+".join("1" * 200), "x" + ".a" * 200, "x" + "[0]" * 200, ",".join("1" * 1_500), ",".join(["x[:]"] * 600), "x is " + "-" * 3_000 + "1",
    "1 if 1 else " * 200 + "1", "lambda: " * 400 + "1", "{'a':" * 150 + "1" + "}" * 150, "{None: 1}['a']", "a`b",
]  # fmt: skip

HOSTILE_ON_DATA = [
    "'a' * 1000000000", "[0] * 1000000000", "1000000000 * 'a'", "'%s' % x", "'%999999999d' % 1", "[].items()", "s.upper",
    "round(1, 1000000000)", "round(1, -1000000000)", "round(10, -1000000000)", "huge * 2", "huge + 1", "-huge", "huge % 3",
    "str(huge)", "int(digits)", "float(digits)", "int('1e9')", "int('9' + digits)", "float('nan')", "float('inf')",
    "float('1e999')", "1e308 * 10", "1e308 + 1e308", "-1e308 - 1e308", "int(1e308) * 1e308", "1 / 0", "1 // 0", "1 % 0",
    "1.0 % 0", "big // 0.0", "big * 1.5", "big / 1", "float(big)", "nan + 1", "inf - inf", "int(nan)", "round(inf)",
    "sum([1e308, 1e308])", "sum('ab')", "sum([[1]])", "sum(many)", "sorted(many)", "min(many)", "any(many)", "many + many",
    "str([many, many])", "text + text", "str(texts)", "sorted([1, 'a'])", "max([1, None])", "min([])", "max('')", "min(3)",
    "len(3)", "abs('a')", "{'a': 1} < {'b': 2}", "1 < 'a'", "None < 1", "[1] < ['a']", "1 in 2", "1 in 'a'", "[1] in {'a': 1}",
    "{'a': 1} + {'b': 2}", "[1] + (1,)", "'a' + 1", "-'a'", "-None", "{1: 2}", "{null: 2}", "{s: {digits: 1, 2: 2}}",
    "[1]['a']", "[1][1.0]", "[1][null]", "[1][9]", "''[0]", "[1][digits]", "[1][huge]", "[1][::0]", "[1]['a':]", "1[0]",
    "{'a': 1}[0]", "{'a': 1}[[1]]", "null.a", "null[0]", "s.a", "1 .a", "x[s]", "nope", "len > 3",
    "deep == deeper", "deep in [deeper]", "deep < deeper", "sorted([deep, deeper])", "str(deep)", "cycle == [cycle]",
    "str(cycle)", "thing == thing", "[thing] == [1]", "str(thing)", "thing.real", "thing[0]", "thing < 1", "str([thing])",
    "len(thing)", "int(thing)", "sorted([thing])", "broken.a", "broken == {}", "str(broken)", "len(broken)", "sorted(broken)",
    "'a' in broken", "not broken", "broken and 1", "1 if broken else 2", "bool(broken)", "odd == {}", "str(odd)",
    "[x == x, " + ", ".join(["wide == wider"] * 150) + "]", " + ".join(["str(text)"] * 90),
]  # fmt: skip


class Broken(Mapping):
    """A mapping that raises whatever is asked of it."""

    def _raise(self, *_):
        raise RuntimeError("broken")

    __getitem__ = __iter__ = __len__ = __contains__ = get = items = keys = _raise


def nested(levels, inner):
    value = inner
    for _ in range(levels):
        value = [value]
    return value


def hostile_scope():
    cycle = []
    cycle.append(cycle)
    return {
        "x": {"a": 1}, "s": "text", "digits": "9" * 100_000, "huge": 10**6_000, "big": 10**3_000, "nan": math.nan,
        "inf": math.inf, "many": list(range(100_001)), "text": "a" * 900_000, "texts": ["a" * 900_000] * 3,
        "deep": nested(5_000, 1), "deeper": nested(5_000, 2), "cycle": cycle, "thing": object(), "broken": Broken(),
        "odd": {1: 2}, "wide": list(range(90_000)), "wider": list(range(90_000)), "y": [b"x", {1}],
    }  # fmt: skip


@pytest.mark.parametrize("source", HOSTILE, ids=lambda source: source[:30].encode("unicode_escape").decode())
def test_a_hostile_source_is_refused_when_it_is_compiled(source):
    with pytest.raises(ExpressionError) as caught:
        compile_expression(source)
    assert str(caught.value).encode()
    assert caught.value.remedy


def test_hostile_data_gives_only_expression_errors():
    scope = hostile_scope()
    for source in HOSTILE_ON_DATA:
        error = refusal_of(source, scope)
        assert len(str(error)) < 1_000, source


def test_a_limit_does_not_depend_on_the_callers_stack():
    def at_depth(levels, source):
        return at_depth(levels - 1, source) if levels else refusal_of(source, scope).message

    scope = hostile_scope()
    assert at_depth(0, "deep == deeper") == at_depth(400, "deep == deeper")


def test_an_exhausted_stack_is_an_expression_error_too():
    expression = compile_expression("(" * 90 + "x" + " + 1)" * 90)

    def at_depth(levels):
        if levels:
            return at_depth(levels - 1)
        with pytest.raises(ExpressionError, match="nested too deeply"):
            expression.evaluate({"x": 1})
        with pytest.raises(ExpressionError, match="nested too deeply"):
            compile_expression(expression.source)
        return True

    used = sum(1 for _ in traceback.walk_stack(None))
    assert at_depth(sys.getrecursionlimit() - used - 70)
    assert expression.evaluate({"x": 1}) == 91


@pytest.mark.parametrize(
    ("source", "refused"),
    [
        ("x" + " " * 3_998 + "1", False),
        ("[" + ",".join("1" * 999) + "]", False),
        ("[" + ",".join("1" * 1_000) + "]", True),
        ("+".join("1" * 100), False),
        ("+".join("1" * 101), True),
    ],
)
def test_the_limits_of_a_source_are_where_they_are_said_to_be(source, refused):
    if refused:
        with pytest.raises(ExpressionError):
            compile_expression(source)
    elif source.startswith("x"):
        with pytest.raises(ExpressionError, match="invalid syntax"):  # read, not measured
            compile_expression(source)
    else:
        compile_expression(source)


def test_large_but_allowed_data_is_worked_on():
    scope = {
        "x": list(range(operations.MAX_ELEMENTS)),
        "big": 10**4_000,
        "text": "a" * 500_000,
        "deep": nested(150, 1),
    }
    assert value_of("sum(x) == 4999950000 and max(x) - min(x) == 99999 and sorted(x) == x", scope) is True
    assert value_of("big + 1 > big and big // big == 1 and -big < 0 and len(str(big)) == 4001", scope) is True
    assert value_of("len(text + text)", scope) == values.MAX_TEXT
    assert value_of("deep == deep", scope) is True


# Random ones.

JSON_NUMBERS = st.integers(-50, 50) | st.floats(-50, 50).map(lambda x: round(x, 3))
DATA = {"i": 7, "f": -2.5, "t": "text", "b": True, "n": None, "l": [3, 1, 2], "d": {"k": 4, "m": "z"}, "e": []}
_TEXTS = st.sampled_from(["t", "'a'", "''", "d['m']", "str(i)", "'é' 'x'"])


def _numbers(inner):
    """Numeric expressions over ``(numbers, truths)`` strategies."""
    numbers, truths = inner, st.sampled_from(["b", "not b", "i > f", "'a' in t", "n is None", "l == [3, 1, 2]"])
    return st.one_of(
        st.tuples(numbers, st.sampled_from(["+", "-", "*", "/", "//", "%"]), numbers).map(
            "({0[0]} {0[1]} {0[2]})".format
        ),
        numbers.map("-({})".format),
        numbers.map("abs({})".format),
        numbers.map("round({}, 3)".format),
        numbers.map("int({})".format),
        numbers.map("float({})".format),
        st.lists(numbers, min_size=2, max_size=4).map(lambda xs: f"max({', '.join(xs)})"),
        st.lists(numbers, min_size=0, max_size=4).map(lambda xs: f"min([{', '.join(xs)}])"),
        st.lists(numbers, max_size=4).map(lambda xs: f"sum([{', '.join(xs)}])"),
        st.tuples(st.lists(numbers, max_size=4), numbers).map(
            lambda p: f"sorted([{', '.join(p[0])}], reverse=b)[int({p[1]})]"
        ),
        st.tuples(numbers, truths, numbers).map("({0[0]} if {0[1]} else {0[2]})".format),
        st.tuples(numbers, numbers).map("({0[0]} and {0[1]})".format),
        st.tuples(numbers, numbers).map("({0[0]} or {0[1]})".format),
        st.tuples(numbers, numbers).map("l[int({0[0]}):int({0[1]})]".format).map("len({})".format),
    )


NUMBER = st.recursive(
    JSON_NUMBERS.map(repr) | st.sampled_from(["i", "f", "b", "d['k']", "l[0]", "len(t)", "len(d)"]),
    _numbers,
    max_leaves=8,
)
TRUTH = st.one_of(
    st.tuples(
        NUMBER, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), NUMBER, st.sampled_from(["<", "=="]), NUMBER
    ).map(" ".join),
    st.tuples(_TEXTS, st.sampled_from(["<", ">=", "==", "!=", "in", "not in"]), _TEXTS).map(" ".join),
    st.tuples(NUMBER, st.sampled_from(["in", "not in"]), st.sampled_from(["l", "[1, 2.0, f]", "(i, b)"])).map(
        " ".join
    ),
    st.tuples(NUMBER, NUMBER).map("[{0[0]}, t] == [{0[1]}, t]".format),
    NUMBER.map("bool({})".format),
    st.tuples(_TEXTS, NUMBER).map("({0[0]} + str({0[1]}))[-3:]".format),
    st.lists(NUMBER, max_size=3).map(lambda xs: f"any([{', '.join(xs)}]) or all([{', '.join(xs)}])"),
    NUMBER.map("{{'a': {}, 't': (t, n)}}".format),
)
ALLOWED = {
    f: getattr(__builtins__, f) if not isinstance(__builtins__, dict) else __builtins__[f]
    for f in operations.FUNCTIONS
}
ALLOWED["sum"] = lambda values: reduce(lambda a, b: a + b, values, 0)


@settings(max_examples=500, deadline=None)
@given(NUMBER | TRUTH)
def test_the_safe_subset_means_what_python_says(source):
    try:
        expected = eval(source, {"__builtins__": ALLOWED}, dict(DATA))
    except Exception:
        refusal_of(source, DATA)
        return
    value = value_of(source, DATA)
    assert repr(value) == repr(expected)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.dictionaries(st.text(), inner).map(View),
    max_leaves=10,
)
FRAGMENTS = st.sampled_from([
    *"abcx'\"()[]{}.,:+-*/%<>=!@^~|&;#\\\n \0", "**", "//", "==", " in ", " is ", " not ", " and ", " or ", " if ", " else ",
    "lambda:", "for", "None", "true", "len(", "sorted(", "str(", "min(", "round(", "x.a", "x['a']", "[0]", "1", "1e308", "0.1",
    "'a'", "f'", "b'", "\ud800", "é", "__", "9" * 30, "...", ":=", "await ", "yield ", "*x", "**x", "x if x else x",
])  # fmt: skip


def only_expression_errors(source, scope):
    with contextlib.suppress(ExpressionError):
        compile_expression(source).evaluate(scope)


@settings(max_examples=500, deadline=timedelta(seconds=5))
@given(st.text(max_size=60) | st.lists(FRAGMENTS, max_size=25).map("".join), JSON)
def test_random_text_raises_nothing_but_expression_errors(source, data):
    only_expression_errors(source, {"x": data, "a": data, "b": 3, "c": [1, data]})


def _name(text):
    return ast.Name(text, ast.Load())


def _trees(inner):
    """Random nodes of Python's grammar, allowed or not."""
    many = st.lists(inner, min_size=1, max_size=3)
    binary = [ast.Add, ast.Sub, ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Pow, ast.LShift, ast.BitOr, ast.MatMult]
    comparison = [ast.Eq, ast.NotEq, ast.Lt, ast.GtE, ast.In, ast.NotIn, ast.Is, ast.IsNot]
    functions = st.sampled_from([*operations.FUNCTIONS, "eval", "type"]).map(_name)
    loops = st.builds(lambda i: ast.comprehension(ast.Name("q", ast.Store()), i, [], 0), inner)
    return st.one_of(
        st.builds(lambda a, op, b: ast.BinOp(a, op(), b), inner, st.sampled_from(binary), inner),
        st.builds(
            lambda op, a: ast.UnaryOp(op(), a), st.sampled_from([ast.USub, ast.Not, ast.UAdd, ast.Invert]), inner
        ),
        st.builds(
            lambda op, values: ast.BoolOp(op(), [*values, _name("a")]), st.sampled_from([ast.And, ast.Or]), many
        ),
        st.builds(
            lambda a, ops, b: ast.Compare(a, [op() for op in ops], [b] * len(ops)),
            inner,
            st.lists(st.sampled_from(comparison), min_size=1, max_size=3),
            inner,
        ),
        st.builds(ast.IfExp, inner, inner, inner),
        st.builds(lambda f, args: ast.Call(f, args, []), functions | inner, many),
        st.builds(
            lambda a, name: ast.Call(_name("sorted"), [a], [ast.keyword(name, a)]),
            inner,
            st.sampled_from(["reverse", "key"]),
        ),
        st.builds(
            lambda a, key: ast.Attribute(a, key, ast.Load()), inner, st.sampled_from(["a", "items", "__class__"])
        ),
        st.builds(lambda a, key: ast.Subscript(a, key, ast.Load()), inner, inner),
        st.builds(lambda a, b, c: ast.Subscript(a, ast.Slice(b, c, None), ast.Load()), inner, inner, inner),
        st.builds(lambda parts: ast.List(parts, ast.Load()), many),
        st.builds(lambda parts: ast.Tuple(parts, ast.Load()), many),
        st.builds(lambda parts: ast.Dict(parts, parts), many),
        st.builds(ast.Set, many),
        st.builds(lambda a, loop: ast.ListComp(a, [loop]), inner, loops),
        st.builds(lambda a: ast.Lambda(ast.arguments([], [], None, [], [], None, []), a), inner),
        st.builds(lambda a: ast.JoinedStr([ast.FormattedValue(a, -1, None)]), st.just(_name("a"))),
    )


TREES = st.recursive(
    st.sampled_from([None, True, 0, 1, -1, 2.5, "a", "", 10**30, 1e308]).map(ast.Constant)
    | st.sampled_from(["a", "b", "x", "true", "null", "nope"]).map(_name),
    _trees,
    max_leaves=12,
)


@settings(max_examples=500, deadline=timedelta(seconds=5))
@given(TREES, JSON)
def test_random_trees_raise_nothing_but_expression_errors(tree, data):
    source = ast.unparse(ast.fix_missing_locations(ast.Expression(tree)))
    only_expression_errors(source, {"x": data, "a": [1, "a", data], "b": 3})
