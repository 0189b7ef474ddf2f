"""What handlers return: all of it is recorded, or the step fails and the error names the place."""

import collections
import dataclasses
import datetime as dt
import decimal
import enum
import fractions
import pathlib
import types
import uuid

import msgspec
import pydantic
import pytest

from stepwell.consumers.worker.failures import ReportedError
from stepwell.consumers.worker.results import as_json, plain
from tests.workbench import handlers_of, one_step, outcome, stage, until


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Ratio(float):
    pass


class Moment(dt.datetime):
    pass


class Day(dt.date):
    pass


class Money(decimal.Decimal):
    pass


class Raw(bytes):
    pass


class Level(enum.IntEnum):
    LOW = 1


class Point(msgspec.Struct, tag="point"):
    x: object = 0


@dataclasses.dataclass
class Box:
    inside: object


class Model(pydantic.BaseModel):
    price: float
    when: dt.date | None = None


class Scalar:
    """As numpy's scalars and arrays are."""

    dtype = "float32"
    size = 1

    def __init__(self, value):
        self._value = value

    def tolist(self):
        return self._value


@pytest.mark.parametrize(
    ("given", "read"),
    [
        (Text("a"), "a"),
        ([Number(3), Ratio(2.5), Raw(b"a"), collections.UserString("u")], [3, 2.5, "YQ==", "u"]),
        (Moment(2026, 1, 2, 3, tzinfo=dt.UTC), "2026-01-02T03:00:00Z"),
        ([Day(2026, 1, 2), Money("1.50")], ["2026-01-02", "1.50"]),
        (pathlib.Path("a/b"), "a/b"),
        (collections.deque([1, 2]), [1, 2]),
        (collections.UserDict(a=1), {"a": 1}),
        (types.MappingProxyType({"a": 1}), {"a": 1}),
        (collections.ChainMap({"a": 1}, {"b": 2}), {"a": 1, "b": 2}),
        ({"a": 1}.keys(), ["a"]),
        (range(3), [0, 1, 2]),
        ({True: 1, None: 2, 3: 4, 1.5: 6, Text("k"): 7}, {"true": 1, "null": 2, "3": 4, "1.5": 6, "k": 7}),
        ({Level.LOW: 1, dt.date(2026, 1, 2): 2}, {"1": 1, "2026-01-02": 2}),
        ({"deep": [{1: Point({2: 3})}]}, {"deep": [{"1": {"type": "point", "x": {"2": 3}}}]}),
        (Scalar(2.5), 2.5),
        (Scalar([[1, 2]]), [[1, 2]]),
        (fractions.Fraction(1, 2), 0.5),
        (Model(price=1.5, when="2026-01-02"), {"price": 1.5, "when": "2026-01-02"}),
        ([Box(Model(price=1.5))], [{"inside": {"price": 1.5, "when": None}}]),
        (10**30, 10**30),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_an_obvious_form_as_json_is_recorded_in_it(given, read):
    made = plain(given, "result")
    assert made == read
    assert msgspec.json.decode(msgspec.json.encode(made)) == read


ITSELF = {"a": []}
ITSELF["a"].append(ITSELF)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"items": [0, 1, 2, {"price": float("nan")}]}, "result.items[3].price is nan, which JSON has no number for"),
        (float("inf"), "result is inf"),
        ([Ratio("-inf")], "result[0] is -inf"),
        ({"a b": {"c": object()}}, "result['a b'].c is an object, which is no JSON"),
        ({1: "a", "1": "b"}, "result has two keys that are both \"1\" in JSON: 1 and '1'"),
        ({"a": {True: "a", "true": "b"}}, 'result.a has two keys that are both "true" in JSON'),
        ({uuid.UUID(int=1): "a", str(uuid.UUID(int=1)): "b"}, "result has two keys that are both"),
        ({dt.date(2026, 1, 2): "a", "2026-01-02": "b"}, "result has two keys that are both"),
        ({(1, 2): 3}, "result has a key that is a tuple"),
        ({float("nan"): 3}, "result has a key that is a float"),
        ({"name": ["caf\udce9"]}, "result.name[0] holds half of a character"),
        ({"caf\udce9": 1}, "result holds half of a character"),
        ([(x for x in [1])], "result[0] is a generator, which is no JSON"),
        (Box([Point(float("nan"))]), "result.inside[0].x is nan"),
        (Point({1: Box(object)}), "result.x['1'].inside is a type, which is no JSON"),
        ([Model(price=float("nan"))], "result[0].price is nan"),
        ({"a": fractions.Fraction(1, 3)}, "result.a is a fractions.Fraction, which is no JSON"),
        (ITSELF, "result.a[0] contains itself"),
        (range(10**12), "result has more than 1,000,000 items"),
        ([1 + 2j], "result[0] is a complex, which is no JSON"),
        ({"a": [10**5_000]}, "result.a[0] is a whole number of too many digits"),
        ([Number(-(10**5_000))], "result[0] is a whole number of too many digits"),
        ({"a": {10**5_000: 1}}, "result.a has a key that is a whole number of too many digits"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_json_would_lose_is_refused_and_the_place_is_named(given, said):
    with pytest.raises(TypeError) as refused:
        plain(given, "result")
    assert str(refused.value).startswith(said)


def test_what_is_nested_too_deeply_is_said_on_every_python():
    deep = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(ReportedError, match="nested more than 500 deep"):
        plain(deep, "result")


def test_an_object_whose_own_methods_fail_is_named():
    class Rude(collections.UserDict):
        def items(self):
            raise ValueError("not even this")

    with pytest.raises(TypeError, match=r"result\[0\] cannot be made JSON: ValueError: not even this"):
        plain([Rude()], "result")


def test_what_is_set_in_the_shared_context_is_named_as_such():
    assert as_json(1, {"rows": Number(3)}) == (1, {"rows": 3})
    with pytest.raises(TypeError, match=r"context.rows\[1\] is nan"):
        as_json(1, {"rows": [0, float("nan")]})


@pytest.mark.parametrize("threads", [False, True])
async def test_a_result_that_is_no_json_fails_the_step_at_once_and_names_the_place(log, threads):
    runs = []

    def bad(data):
        runs.append(1)
        return {"items": [{"price": float("nan")}]}

    async def bad_coroutine(data):
        return bad(data)

    retry = {"max_attempts": 3, "initial_delay_seconds": 0}
    async with stage(log, handlers_of(work=bad if threads else bad_coroutine), one_step(retry=retry)) as client:
        view = await outcome(client)
    assert (view.status, view.error.type, len(runs)) == ("failed", "TypeError", 1)
    assert view.error.message.startswith("result.items[0].price is nan")
    assert "return None" in view.error.message


async def test_the_output_of_a_compensation_is_held_to_the_same(log):
    definition = {
        "name": "w",
        "version": "1",
        "steps": [
            {"id": "a", "handler": "work", "compensate": "undo"},
            {"id": "b", "handler": "bad", "depends_on": ["a"], "on_failure": "rollback"},
        ],
    }
    handlers = handlers_of(work=lambda data: 1, undo=lambda data: {"x": float("nan")}, bad=lambda data: 1 / 0)
    async with stage(log, handlers, definition) as client:
        run = await client.start("w")

        async def held():
            view = await run.status()
            return view if view.status in ("paused", "failed") else None

        view = await until(held)
        assert "result.x is nan" in (view.reason or view.error.message)
