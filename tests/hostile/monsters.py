"""Definitions and schemas too large, too deep or too cunning to be written down: each is made by code.

A monster is what makes it, and what happens to it; most must be refused, some must only be survived.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from stepwell.core.expressions.evaluate import compile_expression
from stepwell.core.expressions.json_schema import compile_schema, worst
from stepwell.core.expressions.templates import compile_template
from stepwell.language import compile_plan, load_definition
from tests.hostile.corpus import flow, one
from tests.hostile.corpus_expressions import BIG

STEPS: Final = '"steps": [{"id": "a", "handler": "h"}]'


def _registered(source: Any) -> Any:
    return compile_plan(load_definition(source, place="w.yaml")).hash


def _yaml(tail: str) -> Callable[[], Any]:
    return lambda: _registered("name: w\nsteps: [{id: a, handler: h}]\n" + tail)


def _json(output: str) -> Callable[[], Any]:
    return lambda: _registered('{"name": "w", ' + STEPS + ', "output": ' + output + "}")


def _plain(make: Callable[[], Any]) -> Callable[[], Any]:
    return lambda: _registered(make())


def _data(schema: Any, make: Callable[[], Any]) -> Callable[[], Any]:
    """What a schema says of data: one line, or nothing."""
    return lambda: worst(compile_schema(schema), make())


def _value(source: str) -> Callable[[], Any]:
    return lambda: len(str(compile_expression(source).evaluate({"input": BIG})))


def _laughs(levels: int, wide: int, merge: bool = False) -> str:
    """Aliases of aliases: ``wide ** levels`` values in as many lines as there are levels."""
    sign = "<<: " if merge else ""
    first = "x0: &x0 {k: 1}\n" if merge else "x0: &x0 [1, 2]\n"
    lines = [
        f"x{n}: &x{n} " + ("{" + f"k{n}: [{', '.join([f'*x{n - 1}'] * wide)}], {sign}*x{n - 1}" + "}" if merge
                           else f"[{', '.join([f'*x{n - 1}'] * wide)}]") + "\n"
        for n in range(1, levels + 1)
    ]  # fmt: skip
    return "output:\n" + "".join(f"  {line}" for line in [first, *lines])


def _chain(count: int, **fields: Any) -> list[dict[str, Any]]:
    return [{"id": f"s{n}", "handler": "h", "depends_on": [f"s{n - 1}"] if n else [], **fields} for n in range(count)]


def _circle(count: int) -> dict[str, Any]:
    steps = _chain(count)
    steps[0]["depends_on"] = [f"s{count - 1}"]
    return flow(*steps)


def _layers(wide: int, deep: int) -> dict[str, Any]:
    """Every step of a layer depends on every step of the one before: many ways lead through it."""
    steps = [
        {"id": f"{n}-{m}", "handler": "h", "depends_on": [f"{n - 1}-{k}" for k in range(wide)] if n else []}
        for n in range(deep)
        for m in range(wide)
    ]
    return flow(*steps)


def _doubling(levels: int) -> dict[str, Any]:
    """Each definition refers to the next twice: ``2 ** levels`` checks."""
    defs: dict[str, Any] = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(levels)}
    defs[f"d{levels}"] = {"type": "integer"}
    return {"$ref": "#/$defs/d0", "$defs": defs}


def _branching(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {"type": "object", "properties": {}}
    for _ in range(levels):
        schema = {"anyOf": [{"type": "object", "properties": {"a": schema}, "required": ["b"]}, schema]}
    return schema


def _nested(levels: int) -> Any:
    data: Any = {}
    for _ in range(levels):
        data = {"a": data}
    return data


def _itself() -> Any:
    data: dict[str, Any] = {}
    data["a"] = data
    return one(config=data)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "ten lines of aliases": (_yaml(_laughs(9, 9)), "more than 1,000,000 values with its aliases"),
    "sixty lines of aliases": (_yaml(_laughs(60, 2)), "more than 1,000,000 values with its aliases"),
    "aliases and merge keys": (_yaml(_laughs(30, 2, merge=True)), "more than 1,000,000 values with its aliases"),
    "a long text by aliases": (
        _yaml("output:\n  a: &a " + "x" * 100_000 + "\n  b: [" + ", ".join(["*a"] * 5_000) + "]\n"),
        "more than 1,000,000 values with its aliases",
    ),
    "a hundred thousand brackets in YAML": (_yaml("output: " + "[" * 100_000), "nested more than 200 deep"),
    "a hundred thousand braces in YAML": (_yaml("output: " + "{a: " * 100_000), "nested more than 200 deep"),
    "a hundred thousand dashes": (_yaml("output:\n  " + "- " * 100_000 + "1\n"), "nested more than 200 deep"),
    "ten thousand levels of indentation": (
        _yaml("output:\n" + "".join(" " * n + "a:\n" for n in range(1, 3_000))), "nested more than 200 deep",
    ),
    "a hundred thousand brackets in JSON": (_json("[" * 100_000 + "]" * 100_000), "nested"),
    "a hundred thousand braces in JSON": (_json('{"a":' * 100_000 + "1" + "}" * 100_000), "nested"),
    "a thousand brackets in JSON": (_json("[" * 900 + "]" * 900), "nested more than 200 deep"),
    "a million values in YAML": (_yaml("output: [" + "1," * 1_000_000 + "]\n"), "more than 500,000 keys and values"),
    "two million values in JSON": (_json("[" + "1," * 2_000_000 + "1]"), "more than 1,000,000 values"),
    "nine megabytes of YAML": (_yaml("output: " + "x" * 9_000_000), "more than 8,388,608 bytes"),
    "nine megabytes in few characters": (_yaml("output: " + "\u6f22" * 3_000_000), "more than 8,388,608 bytes"),
    "a number of a million digits": (_json("1" * 1_000_000), "number"),
    "a number of a million digits in YAML": (_yaml("output: " + "1" * 1_000_000), "a number of 1,000,000 characters"),
    "a number of a million digits, base 16": (_yaml("output: 0x" + "1" * 1_000_000), "a number of"),
    "a fraction of a million digits": (_yaml("output: 1." + "1" * 1_000_000), "a number of"),
    "a hundred thousand anchors": (_yaml("output: [" + ", ".join(f"&a{n} 1" for n in range(300_000)) + "]\n!"), ""),
    "a hundred thousand keys twice": (
        _yaml("output:\n" + "".join(f"  k{n % 50_000}: 1\n" for n in range(100_000))), "is given twice",
    ),
    "a tag a hundred thousand times": (_yaml("output: [" + "!x 1, " * 100_000 + "]\n"), "the tag !x is not allowed"),
    "data in itself": (_plain(_itself), "is nested more than 200 deep"),
    "data that shares": (lambda: _registered(one(config={"a": BIG["broad"]})), "more than 1,000,000 values"),
    "a text shared": (lambda: _registered(one(config={"a": ["x" * 1_000_000] * 50})), "texts of more than"),
    "deep data": (lambda: _registered(one(config={"a": _nested(100_000)})), "nested more than 200 deep"),
    "150,000 steps": (_plain(lambda: flow(*_chain(150_000))), "there are 150,000, 100,000 are allowed"),
    "a million dependencies": (_plain(lambda: _layers(600, 3)), "720,000 dependencies, 500,000 are allowed"),
    "a cycle of 50,000 steps": (_plain(lambda: _circle(50_000)), "in a cycle"),
    "20,000 wrong dependencies": (
        _plain(lambda: flow(*[{"id": f"step-{n}", "handler": "h", "depends_on": [f"stp-{n}"]} for n in range(20_000)])),
        "and 19,900 more",
    ),
    "20,000 wrong references": (
        _plain(lambda: flow(*[
            {"id": f"step-{n}", "handler": "h", "input": {"a": f"{{{{ step_outputs.stp_{n}.a }}}}"}}
            for n in range(20_000)
        ])),
        "and 19,900 more",
    ),
    "20,000 wrong types": (
        _plain(lambda: flow(*[{"id": f"s{n}", "type": f"pyth{n}"} for n in range(20_000)])), "more",
    ),
    "one id 20,000 times": (_plain(lambda: flow(*[{"id": "a", "handler": "h"}] * 20_000)), "is given to 20000 steps"),
    "a dependency 100,000 times": (
        _plain(lambda: flow({"id": "a", "handler": "h"}, {"id": "b", "handler": "h", "depends_on": ["a"] * 100_000})),
        "is named 100000 times",
    ),
    "100,000 unknown keys": (
        _plain(lambda: flow() | {f"k{n}": 1 for n in range(100_000)}), "unknown key",
    ),
    "20,000 wrong error handlers": (
        _plain(lambda: flow(error_handlers={f"x{n}": "a" for n in range(20_000)})), 'unknown step "x',
    ),
    "a condition of a megabyte": (_plain(lambda: one(condition="1+" * 500_000 + "1")), "1,000,001 characters"),
    "a template of a megabyte that stays open": (lambda: compile_template("{{ '" * 250_000), "is never closed"),
    "a template of quotes": (lambda: compile_template("{{ " + "'\\" * 500_000), "is never closed"),
    "a schema with 30,000 values": (
        _plain(lambda: flow(input_schema={"enum": list(range(30_000))})), "the schema has more than 20,000 values",
    ),
    "a schema nested 100,000 deep": (lambda: compile_schema(_nested(100_000)), "nested more than 100 deep"),
    "a schema that holds itself": (lambda: compile_schema(_itself()["steps"][0]["config"]), "nested more than 100"),
    "definitions that double": (_data(_doubling(40), lambda: 1), "too much work"),
    "a schema that refers to itself": (_data({"$ref": "#"}, lambda: 1), "without end"),
    "two that refer to each other": (
        _data({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, lambda: 1),
        "without end",
    ),
    "patterns for each of many keys": (
        _data({"patternProperties": {f"^k{n}$": {} for n in range(2_000)}}, lambda: {f"x{n}": 1 for n in range(5_000)}),
        "too much work",
    ),
    "a schema that looks for what is not there": (
        _data({"contains": {"contains": {"contains": {"const": 1}}}}, lambda: [[[0] * 100] * 100] * 100),
        "too much work",
    ),
}  # fmt: skip

TAKEN: dict[str, tuple[Callable[[], Any], str]] = {
    "a hundred million pairs": (
        _data({"items": {"enum": list(range(10_000))}}, lambda: [-1] * 10_000), "is not one of",
    ),
    "definitions that double, and nothing fits": (_data(_doubling(40), lambda: "x"), "is not of type"),
    "a pattern that takes re for ever": (
        _data({"pattern": "^(a+)+$"}, lambda: "a" * 100_000 + "b"), "does not match",
    ),
    "a pattern that takes re for ever, of keys": (
        _data({"patternProperties": {"^(a|a?)+$": {"type": "null"}}}, lambda: {"a" * 5_000 + "b": 1}), "",
    ),
    "an e-mail's pattern": (
        _data({"pattern": r"^([a-zA-Z0-9])(([\-.]|[_]+)?([a-zA-Z0-9]+))*(@){1}[a-z0-9]+$"}, lambda: "a" * 50_000), "",
    ),
    "unique elements": (_data({"uniqueItems": True}, lambda: [{"a": n} for n in range(50_000)]), ""),
    "a branching schema": (_data(_branching(9), lambda: _nested(9)), ""),
    "layers of 300 steps": (_plain(lambda: _layers(300, 6)), ""),
    "a chain of 50,000 steps": (_plain(lambda: flow(*_chain(50_000))), ""),
    "100,000 wide": (
        _plain(lambda: flow(*[{"id": f"s{n}", "handler": "h"} for n in range(100_000)])), "",
    ),
    "aliases as people use them": (
        _yaml("output:\n  a: &a {k: 1, l: [1, 2]}\n  b: {<<: *a, k: 2}\n  c: [*a, *a]\n"), "",
    ),
    "four hundred thousand values of YAML": (_yaml("output: [" + "1," * 400_000 + "1]\n"), ""),
    "nine hundred thousand values of JSON": (_json("[" + "1," * 900_000 + "1]"), ""),
    "the largest list, sorted twice": (_value("len(sorted(sorted(input.list, reverse=true)))"), ""),
    "the broad among themselves": (_value("len(input.broad)"), ""),
}  # fmt: skip
"""What is large or cunning, and taken all the same: a piece of what comes of it."""
