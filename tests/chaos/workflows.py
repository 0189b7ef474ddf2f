"""Small random definitions, and how an instance of each must end when nobody meddles with it."""

from __future__ import annotations

from random import Random
from typing import Any

COUNT = 8


def definitions(seed: int) -> dict[str, tuple[dict[str, Any], str]]:
    """Definitions by name, each with the status in which its instances end."""
    rng = Random(f"definitions of {seed}")
    shapes = (chain, fan, mesh, doomed)
    made = {}
    for number in range(COUNT):
        name = f"{shapes[number % len(shapes)].__name__}-{number}"
        steps, end = shapes[number % len(shapes)](rng)
        made[name] = ({"name": name, "version": "1", "steps": steps}, end)
    return made


def chain(rng: Random) -> tuple[list[dict[str, Any]], str]:
    length = rng.randint(2, 6)
    return [_step(rng, f"s{i}", [f"s{i - 1}"] if i else []) for i in range(length)], "completed"


def fan(rng: Random) -> tuple[list[dict[str, Any]], str]:
    branches = [_step(rng, f"b{i}", ["root"]) for i in range(rng.randint(2, 6))]
    join = _step(rng, "join", [branch["id"] for branch in branches])
    return [_step(rng, "root", []), *branches, join], "completed"


def mesh(rng: Random) -> tuple[list[dict[str, Any]], str]:
    """Any graph: each step depends on some of those before it."""
    steps: list[dict[str, Any]] = []
    for i in range(rng.randint(3, 7)):
        known = [step["id"] for step in steps]
        steps.append(_step(rng, f"m{i}", sorted(rng.sample(known, rng.randint(0, min(2, len(known)))))))
    return steps, "completed"


def doomed(rng: Random) -> tuple[list[dict[str, Any]], str]:
    """One step fails for good: the workflow goes on without it, fails, or is undone and then fails."""
    policy = rng.choice(["skip", "fail", "rollback"])
    first, last = _step(rng, "first", []), _step(rng, "last", ["bad"])
    bad = {
        **_work("bad", ["first"], failures=9), "on_failure": policy,
        "retry": {"max_attempts": 2, "initial_delay_seconds": 0.1},
    }  # fmt: skip
    if first.get("handler"):
        first["compensate"] = "undo"
    return [first, bad, last], "completed" if policy == "skip" else "failed"


def _step(rng: Random, step_id: str, after: list[str]) -> dict[str, Any]:
    draw = rng.random()
    if draw < 0.15:
        return {"id": step_id, "type": "wait", "depends_on": after, "config": {"seconds": round(rng.random(), 2)}}
    if draw < 0.30:
        failures = rng.randint(1, 2)
        retry = {"max_attempts": failures + 1, "initial_delay_seconds": 0.1, "multiplier": 1}
        return {**_work(step_id, after, failures=failures), "retry": retry}
    if draw < 0.42:  # long enough to be in somebody's hands when something breaks
        return _work(step_id, after, seconds=round(rng.uniform(0.6, 1.5), 2))
    return _work(step_id, after, seconds=round(rng.uniform(0, 0.1), 3))


def _work(step_id: str, after: list[str], **config: float) -> dict[str, Any]:
    return {"id": step_id, "handler": "work", "depends_on": after, "config": config}
