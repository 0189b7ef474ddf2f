"""COMPILE and EXPR: what it takes to make a large definition ready to run, and to evaluate a condition."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable
from statistics import median
from typing import Any, Final

import yaml

from benchmarks.common import must
from stepwell.core.expressions.evaluate import compile_expression
from stepwell.core.expressions.templates import compile_template
from stepwell.language import compile_plan, load_definition

_LAYER: Final = 100

SCOPE: Final[dict[str, Any]] = {
    "input": {"amount": 250, "country": "SE", "items": [{"price": 3.5}, {"price": 4}], "tags": ["new", "gift"]},
    "context": {"run_id": "r-1", "attempt": 2},
    "step_outputs": {"check": {"ok": True, "score": 0.83}, "fetch-rates": {"rates": {"SEK": 11.2}}, "skipped": None},
}
CONDITIONS: Final[dict[str, Any]] = {
    "input.amount > 100": True,
    "step_outputs.check.ok == true and step_outputs.check.score >= 0.8": True,
    "input.country in ['SE', 'NO', 'FI'] or 'gift' in input.tags": True,
    "step_outputs['fetch-rates'].rates.SEK * input.amount < 2000": False,
    "step_outputs.skipped is None and not (context.attempt > 3 or len(input.items) == 0)": True,
    "sum([input.items[0].price, input.items[1].price]) / len(input.items) > 3 if input.amount else false": True,
}


def _large(steps: int) -> dict[str, Any]:
    """Layers of steps, each with a dependency, a condition and templates that no other step has."""
    made: list[dict[str, Any]] = []
    for number in range(steps):
        step: dict[str, Any] = {"id": f"step-{number}", "handler": "shop.work", "config": {"level": number % 7}}
        if number >= _LAYER:
            before = f"step-{number - _LAYER}"
            step |= {
                "depends_on": [before],
                "condition": f"step_outputs['{before}'].n > {number}",
                "input": {"n": f"{{{{ step_outputs['{before}'].n + 1 }}}}", "note": f"after {before}"},
            }
        made.append(step)
    return {"name": "large", "version": "1", "steps": made}


def _best(act: Callable[[], Any], times: int) -> tuple[float, float, Any]:
    """Seconds of processor time, the best and the median of so many times; and the result."""
    taken, result = [], None
    for _ in range(times):
        result = None
        gc.collect()
        began = time.process_time()  # the machine has other tenants
        result = act()
        taken.append(time.process_time() - began)
    return min(taken), median(taken), result


async def compile_large(_: str) -> dict[str, Any]:
    """COMPILE: 10,000 steps from plain data, JSON and YAML to a plan."""
    steps = 10_000
    data = _large(steps)
    texts = {"json": json.dumps(data), "yaml": yaml.dump(data, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper))}
    best, middle, plan = _best(lambda: compile_plan(load_definition(data)), 7)
    must(len(plan.steps) == steps and len(plan.batches) == steps // _LAYER, "the plan of 10,000 steps")
    read = {}
    for form, text in texts.items():
        _, read[form], definition = _best(lambda text=text: load_definition(text), 3)  # type: ignore[misc]
        must(compile_plan(definition).hash == plan.hash, f"the same from {form}")
    last = plan.steps[f"step-{steps - 1}"]
    scope = {"step_outputs": {f"step-{steps - 1 - _LAYER}": {"n": steps}}}
    must(last.condition.evaluate(scope) is True, "a condition of the plan")
    must(last.input.evaluate(scope)["n"] == steps + 1, "a template of the plan")
    return {
        "steps": steps, "expressions": 2 * (steps - _LAYER), "seconds": round(middle, 3), "best_s": round(best, 3),
        "read_json_s": round(read["json"], 3), "read_yaml_s": round(read["yaml"], 2),
        "mb_of_json": round(len(texts["json"]) / 1e6, 2),
    }  # fmt: skip


async def conditions(_: str) -> dict[str, Any]:
    """EXPR: conditions as people write them, compiled once and evaluated many times; microseconds each."""
    times = 20_000
    taken = {}
    for source, wanted in CONDITIONS.items():
        expression = compile_expression(source)
        must(expression.evaluate(SCOPE) is wanted, source)

        def often(evaluate: Callable[[Any], Any] = expression.evaluate) -> None:
            for _ in range(times):
                evaluate(SCOPE)

        taken[source] = _best(often, 5)[1] / times * 1e6
    template = compile_template({"to": "{{ input.country }}", "text": "{{ input.amount }} of {{ context.run_id }}"})
    must(template.evaluate(SCOPE) == {"to": "SE", "text": "250 of r-1"}, "a template")

    def render() -> None:
        for _ in range(times):
            template.evaluate(SCOPE)

    rendered = _best(render, 5)[1] / times * 1e6
    fresh = [f"input.amount > {number} and step_outputs.check.ok" for number in range(5_000)]
    compiled = _best(lambda: [compile_expression(source) for source in fresh], 1)[1] / len(fresh) * 1e6
    return {
        "microseconds": round(median(taken.values()), 2), "slowest": round(max(taken.values()), 2),
        "each": {source: round(value, 2) for source, value in taken.items()}, "template": round(rendered, 2),
        "compile": round(compiled, 1),
    }  # fmt: skip
