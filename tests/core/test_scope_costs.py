"""What an expression looks up costs the same however much there is that it does not look up. Counted, not timed."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from msgspec.structs import replace

from stepwell.core.decide.scope import Scope
from stepwell.core.expressions.evaluate import compile_expression
from stepwell.core.expressions.templates import compile_template
from stepwell.core.fold.state import ContextValue, StepState
from stepwell.schemas.records.statuses import StepStatus
from tests.core.build import started, step

pytestmark = [pytest.mark.slow]  # each uses a meter up


class Counted(Mapping):
    """A mapping that counts what is read of it: one for a look-up, one for each key that is gone through."""

    def __init__(self, data):
        self.data, self.read = data, 0

    def __getitem__(self, key):
        self.read += 1
        return self.data[key]

    def __contains__(self, key):
        self.read += 1
        return key in self.data

    def __iter__(self):
        for key in self.data:
            self.read += 1
            yield key

    def __len__(self):
        return len(self.data)


def reads(source, size, *, template=False):
    """How often an expression reads of the context, the steps and the input, where there are so many of each."""
    engine = started(step("s0", input={}))
    context = Counted({f"k{n}": (ContextValue(1, n - 1), ContextValue(2, n)) for n in range(size)})
    steps = Counted({f"s{n}": StepState(StepStatus.SUCCEEDED, settled=n + 2, output={"v": n}) for n in range(size)})
    given = Counted({f"i{n}": n for n in range(size)})
    scope = Scope(replace(engine.latest, context=context, steps=steps, input=given), engine.plan)
    compiled = compile_template(f"{{{{ {source} }}}}") if template else compile_expression(source)
    return compiled.evaluate(scope), context.read + steps.read + given.read


@pytest.mark.parametrize("template", [False, True])
@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("context.k7", 7),
        ("context['k7']", 7),
        ("context.k7 + context.k8 + context.k9", 24),
        ("'k7' in context", True),
        ("'nothing' in context", False),
        ("input.i7", 7),
        ("input_data.i7", 7),
        ("'i7' in input", True),
        ("step_outputs.s7.v", 7),
        ("step_outputs['s7'].v", 7),
        ("'s7' in step_outputs", True),
        ("s7.output.v", 7),
        ("s7.status == 'succeeded'", True),
        ("context.k1 if 'k1' in context else input.i1", 1),
    ],
)
def test_what_is_looked_up_costs_the_same_however_much_there_is(source, value, template):
    few, many = reads(source, 10, template=template), reads(source, 4_000, template=template)
    assert few[0] == many[0] == value
    assert many[1] == few[1] <= 12


@pytest.mark.parametrize("source", ["len(context)", "len(input)"])
def test_a_length_reads_nothing(source):
    assert reads(source, 4_000) == (4_000, 0)


def test_the_number_of_outputs_is_counted_without_being_gathered():
    counted, read = reads("len(step_outputs)", 4_000)
    assert (counted, read <= 8_000) == (4_000, True)


def test_the_context_is_what_it_was_where_all_of_it_is_asked_for():
    engine = started(
        step("a"), step("b", "a", input={"all": "{{ context }}", "text": "{{ str(context) }}, {{ context }}"})
    )
    engine.complete("a", None, z=1, a={"b": [2]})
    assert engine.item("b").step.input == {
        "all": {"a": {"b": [2]}, "z": 1},
        "text": "{'a': {'b': [2]}, 'z': 1}, {\"a\":{\"b\":[2]},\"z\":1}",
    }
