"""``process``: changes data by rules."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping
from typing import Annotated, Any, Final

from msgspec import Struct

from stepwell.core.expressions.values import kind
from stepwell.core.plan.config_checks import unknown_keys
from stepwell.schemas.definitions.step_type import Call, Setting, StepType
from stepwell.step_types.base import is_template
from stepwell.suggest import choice

RULES: Final[Mapping[str, tuple[str, ...]]] = {
    "transform": ("field", "operation", "to", "value", "digits", "old", "new"),
    "select": ("field", "fields"),
    "filter": ("field", "into", "where"),
    "map": ("field", "into", "set"),
    "sort": ("field", "into", "by", "descending"),
    "group": ("field", "into", "by", "aggregate"),
    "join": ("left", "right", "on", "how", "prefix", "into"),
    "validate": ("field", "schema", "required"),
}
"""The rules, and what each may hold besides its ``type``."""

OPERATIONS: Final[Mapping[str, tuple[str, ...]]] = {
    "upper": (), "uppercase": (), "lower": (), "lowercase": (), "title": (), "trim": (), "cast": ("to",),
    "round": ("digits",), "replace": ("old", "new"), "rename": ("to",), "default": ("value",), "drop": (),
}  # fmt: skip
"""The operations of a ``transform`` rule, and what each takes besides ``field``."""

_TEMPLATE: Final = r"\{\{"


def _rule_schema() -> dict[str, Any]:
    """What editors know of a rule."""
    keys = {key for names in RULES.values() for key in names}
    template = {"type": "string", "pattern": _TEMPLATE, "description": "A template: {{ expression }}."}
    return {
        "type": ["object", "string"],
        "pattern": _TEMPLATE,
        "required": ["type"],
        "properties": {
            "type": {"enum": list(RULES), "description": "What the rule does."},
            "operation": {"anyOf": [{"enum": list(OPERATIONS)}, template]},
            **{key: {} for key in sorted(keys - {"operation"})},
        },
        "allOf": [
            {
                "if": {"properties": {"type": {"const": name}}},
                "then": {"propertyNames": {"enum": ["type", *taken]}},
            }
            for name, taken in RULES.items()
        ],
    }


class ProcessConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The ``config`` of a ``process`` step."""

    rules: Annotated[
        list[dict[str, Any]] | None,
        Setting("What is done to the data, rule after rule.", schema={"type": "array", "items": _rule_schema()}),
    ] = None


def _check(config: Mapping[str, Any], at: str, _schemas: Any) -> Iterator[str]:
    rules = config.get("rules")
    if rules is not None and not is_template(rules):
        yield from _rule_problems(rules, f"{at}.rules")


def _rule_problems(rules: Any, at: str) -> Iterator[str]:
    if not isinstance(rules, list):
        yield f"{at}: a list of rules is needed, not {kind(rules)}"
        return
    for number, rule in enumerate(rules):
        place = f"{at}[{number}]"
        if is_template(rule):
            continue
        if not isinstance(rule, dict):
            yield f"{place}: a mapping is needed, not {kind(rule)}"
            continue
        name = yield from _chosen(rule, "type", RULES, place)
        if not name:
            continue
        known = RULES[name]
        if name == "transform":
            operation = yield from _chosen(rule, "operation", OPERATIONS, place)
            known = ("field", "operation", *OPERATIONS[operation]) if operation else known
        yield from unknown_keys(rule, ("type", *known), place)


def _chosen(rule: Mapping[str, Any], key: str, known: Iterable[str], at: str) -> Generator[str, None, str]:
    """Yield what is wrong with a choice among some words; return it where it is right and no template."""
    word = rule.get(key)
    if is_template(word):
        return ""
    if word is None:
        yield f'{at}: needs "{key}"'
    elif not isinstance(word, str):
        yield f"{at}.{key}: a text is needed, not {kind(word)}"
    elif word not in known:
        yield f'{at}.{key}: unknown {key} "{word}"{choice(word, known)}'
    else:
        return word
    return ""


TYPE: Final = StepType(
    name="process",
    config=ProcessConfig,
    check=_check,
    runs="process:process",
    text="Change data by rules: transform, filter, sort, group, join and others.",
    gives="the changed data",
    call=Call(
        positional=("data", "rules"),
        needed=("data", "rules"),
    ),
)
