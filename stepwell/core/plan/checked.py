"""A definition that was read, compiled: what is wrong with its shape, its graph or its expressions, told at once."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from stepwell.core.expressions.meter import Meter
from stepwell.core.expressions.schema_bounds import MAX_CHECK
from stepwell.core.plan.compile import Plan, compile_plan
from stepwell.errors import DefinitionError
from stepwell.schemas.definitions.loaded import Loaded
from stepwell.schemas.definitions.model import Definition
from stepwell.schemas.definitions.places import Path, locate
from stepwell.schemas.definitions.step_type import StepTypes

_MOST_ROUNDS: Final = 8
_MOST_STEPS: Final = 20_000  # of all rounds together: each is as much work as the first
_UNTRUSTED: Final = re.compile(r"does not depend on, directly or not|is called \"(?:error|failed_step)\"")
_NAMED: Final = re.compile(r': (?:unknown step )?"([^"]*)"')


def compile_loaded(loaded: Loaded, types: StepTypes) -> Plan:
    """Compile what was read.

    Args:
        loaded: From ``stepwell.schemas.definitions.load.read_definition``.
        types: The step types there are.

    Raises:
        DefinitionError: With every problem, each with its place in the document as it was written.
    """
    if loaded.definition is None:
        raise loaded.everything(None)
    try:
        plan = compile_plan(loaded.definition, types)
    except DefinitionError as error:
        found = DefinitionError(_all_problems(loaded.definition, types, error.problems), place=error.place)
        raise (loaded.everything(found) if loaded.problems else loaded.explained(found)) from None
    if loaded.problems:
        raise loaded.everything(None)
    return plan


def _all_problems(definition: Definition, types: StepTypes, first: list[str]) -> list[str]:
    """These problems, and those that a compilation that stopped at them did not get to.

    What is known to be wrong is taken out of a copy, which is compiled again, until nothing new turns up.
    """
    found = dict.fromkeys(first)
    plain = _changeable(msgspec.to_builtins(definition))
    new, trusted = first, True
    schemas, needed = Meter(MAX_CHECK), 0
    for _ in range(max(1, min(_MOST_ROUNDS, _MOST_STEPS // max(1, len(definition.steps))))):
        for problem in new:
            mended = _mend(plain, problem)
            if mended is None:
                return list(found)
            trusted = trusted and mended
        if schemas.left < needed:  # what would be told then is wrong with nothing but this
            break
        before = schemas.left
        try:
            compile_plan(msgspec.convert(plain, Definition), types, schemas)
        except DefinitionError as error:
            new = [problem for problem in error.problems if problem not in found]
        except msgspec.ValidationError:
            break
        else:
            break
        if not new:
            break
        needed = before - schemas.left
        # An order that was taken out is no order that is missing.
        found.update(dict.fromkeys(problem for problem in new if trusted or not _UNTRUSTED.search(problem)))
    return list(found)


def _mend(plain: dict[str, Any], problem: str) -> bool | None:
    """Take out what a problem is about.

    Returns:
        Whether the order of the steps is still the one that was written; None if nothing can be taken out.
    """
    if problem.startswith("steps: they depend on each other"):
        for step in plain["steps"]:
            step.pop("depends_on", None)
        return False
    place = locate(problem, plain)
    if place is None or not place[0]:
        return None
    path, rest = place
    if path[0] == "error_handlers":
        plain["error_handlers"].pop(str(path[1]) if path[1:] else "", None)
        return False
    if path[0] != "steps":
        return _blank(plain, path)
    return None if len(path) == 1 else _mend_step(plain, path, rest)


def _mend_step(plain: dict[str, Any], path: Path, rest: str) -> bool:
    """The same of a step.

    Args:
        path: Of the problem, from the top.
        rest: Of the problem, after its place.
    """
    step, key = plain["steps"][path[1]], path[2] if path[2:] else ""
    if key == "id":
        step["id"] = f"{path[1]}: {step['id'].strip()}"
        return False
    if key == "depends_on":
        name = _NAMED.match(rest)
        step["depends_on"] = [other for other in step["depends_on"] if name is None or other != name[1]]
        return False
    if key in ("input", "input_mapping") or (key == "config" and step.get("handler")):
        return _blank(plain, path)
    if key in ("condition", "compensate"):
        step.pop(key)
    else:  # a step that takes whatever it is given: its templates can be checked all the same
        for one in ("type", "retry", "timeout_seconds"):
            step.pop(one, None)
        step["handler"] = "any"
    return True


def _blank(plain: dict[str, Any], path: Path) -> bool:
    """Replace what stands at a place by nothing."""
    node: Any = plain
    for part in path[:-1]:
        node = node[part]
    if isinstance(node, dict):
        node.pop(path[-1], None)
    else:
        node[path[-1]] = "-" if isinstance(node[path[-1]], str) else None  # a list of texts, as tags are, stays one
    return True


def _changeable(value: Any) -> Any:
    """Plain data without tuples, whose items could not be replaced. Definitions are not deeper than readers allow."""
    if isinstance(value, dict):
        return {key: _changeable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_changeable(item) for item in value]
    return value
