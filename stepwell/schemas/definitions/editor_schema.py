"""The JSON Schema of a definition as people write it: the canonical form and its short forms, for editors.

Made from the structs that read definitions and from the tables of step types, so that it cannot know other keys than
they do. It sees shapes only; what needs the whole graph (unknown ids, cycles, expressions) is seen by
``stepwell validate``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, get_args, get_type_hints

import msgspec

from stepwell.schemas.definitions.model import (
    CONFIG_KEYS,
    HTTP_METHODS,
    OPERATION_KEYS,
    REQUIRED_CONFIG,
    RULE_KEYS,
    STEP_TYPES,
    TYPE_ALIASES,
    Compensation,
    Definition,
    ErrorHandler,
    Retry,
    Step,
)
from stepwell.schemas.records.step_waits import ChildRequested, OnReject, OnTimeout

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_Schema = dict[str, Any]
_NULL: Final[_Schema] = {"type": "null"}
_TEMPLATE: Final[_Schema] = {
    "type": "string",
    "pattern": r"\{\{",
    "description": "A template: {{ expression }}.",
}
_NAME: Final[_Schema] = {"type": "string", "minLength": 1, "maxLength": 200}
_NAMES: Final[_Schema] = _NAME | {"type": ["array", "string"], "items": _NAME}
_KINDS: Final[Mapping[str, _Schema]] = {
    "text": {"type": "string"},
    "number": {"type": "number"},
    "seconds": {"type": "number", "minimum": 0},
    "texts": {"type": "array", "items": {"type": "string"}},
    "whole": {"type": "integer"},
    "yes": {"type": "boolean"},
    "mapping": {"type": "object"},
    "list": {"type": "array"},
    "time": {"type": "number", "exclusiveMinimum": 0},
    "count": {"type": "integer", "minimum": 1, "maximum": 1000},
    "priority": {"type": "integer", "minimum": 0, "maximum": 100},
    "name": _NAME,
    "version": {"type": ["string", "null"]},
    "names": _NAMES,
    "levels": {"type": "array", "items": _NAMES},
    "on_timeout": {"enum": list(get_args(OnTimeout))},
    "on_reject": {"enum": list(get_args(OnReject))},
    "on_failure": {"enum": list(get_args(get_type_hints(ChildRequested)["on_failure"]))},
    "any": {},
}
# What editors say of a setting, and which kind of value it has; a setting that is not here takes any value.
_SETTINGS: Final[Mapping[str, Mapping[str, tuple[str, str]]]] = {
    "input": {
        "data": ("mapping", "Laid over the workflow's input."),
        "schema": ("mapping", "JSON Schema that the result must fit."),
        "required": ("texts", "Keys that the result must have."),
    },
    "condition_check": {"condition": ("any", "An expression; the output's `result` says whether it holds.")},
    "wait": {"seconds": ("seconds", "How long, in seconds; it survives restarts.")},
    "process": {"rules": ("list", "What is done to the data, rule after rule.")},
    "llm": {
        "prompt": ("text", "What is asked."),
        "system": ("text", "What the model is told before everything else."),
        "messages": ("list", "A conversation: role and content of each message."),
        "model": ("text", "The model's name."),
        "temperature": ("number", "0 for the likeliest words; more for more varied ones."),
        "max_tokens": ("whole", "The longest answer, in tokens."),
        "schema": ("mapping", "JSON Schema of the answer, where it is to be data."),
        "timeout_seconds": ("seconds", "For one answer."),
    },
    "file_operation": {
        "operation": ("text", "What is done: read, write, copy, move, list or checksum."),
        "path": ("text", "The file, or the directory."),
        "to": ("text", "Where it is copied or moved to."),
        "content": ("any", "What is written."),
        "recursive": ("yes", "Whether directories below are listed, too."),
        "overwrite": ("yes", "Whether a file that is there may be replaced."),
        "make_dirs": ("yes", "Whether missing directories are made."),
    },
    "approval_gate": {
        "approvers": ("names", "Who may decide; nobody named means anybody."),
        "required": ("count", "How many must approve; 1 by default."),
        "title": ("text", "What is to be decided, in a line."),
        "message": ("text", "The same at length."),
        "timeout_seconds": ("time", "How long each level has to decide."),
        "on_timeout": ("on_timeout", "What happens then; escalate asks escalate_to."),
        "escalate_to": ("levels", "Who decides next; a list of lists for several levels."),
        "on_reject": ("on_reject", "continue makes a rejection the step's output; otherwise it fails the step."),
    },
    "workflow_trigger": {
        "workflow": ("name", "Name of the workflow to start."),
        "version": ("version", "Its version; the active one registered last by default."),
        "input": ("any", "Its input; the step's own by default."),
        "wait": ("yes", "Whether the step lasts until the other workflow has finished."),
        "on_failure": (
            "on_failure",
            "continue makes the other's failure the step's output.",
        ),
        "priority": ("priority", "0 to 100; the parent's by default."),
    },
    "http_request": {
        "url": ("text", "http:// or https://"),
        "method": ("text", f"{', '.join(HTTP_METHODS)}; GET by default."),
        "headers": ("mapping", "Headers of the request."),
        "query": ("mapping", "Parameters of the URL."),
        "params": ("mapping", "The same as query."),
        "json": ("any", "The body, as JSON."),
        "form": ("mapping", "The body, as the fields of a form."),
        "body": ("text", "The body, as text."),
        "timeout_seconds": ("seconds", "For everything together; 30 by default."),
        "auth": ("mapping", "{bearer: …} or {basic: {username: …, password: …}}; {secret: NAME} for a secret."),
        "expect": ("any", 'Statuses that are no failure: 200, "200-204", "2xx", or a list.'),
        "response": ("text", "How the answer is read: auto, json or text."),
        "max_response_bytes": ("whole", "The longest answer."),
    },
}
# What of an approval_gate goes with what.
_GATE: Final[_Schema] = {
    "dependentRequired": {"on_timeout": ["timeout_seconds"], "escalate_to": ["timeout_seconds"]},
    "if": {"required": ["on_timeout"], "properties": {"on_timeout": {"const": "escalate"}}},
    "then": {"required": ["escalate_to"], "properties": {"escalate_to": {"not": {"maxItems": 0, "type": "array"}}}},
}
_NULLABLE: Final = ("depends_on", "input_mapping", "config", "retry", "name", "description", "queue", "mode")


def definition_schema(types: Iterable[str] = ()) -> _Schema:
    """JSON Schema (2020-12) of what ``load_definition`` reads, by shape.

    Args:
        types: Names of step types of one's own; others than these and the built-in ones do not fit.
    """
    structs = (Definition, Step, Retry, Compensation, ErrorHandler)
    _, found = msgspec.json.schema_components(structs, ref_template="#/$defs/{name}")
    for struct in structs:
        _describe(found[struct.__name__], struct)
    _allow_short_steps(found, tuple(types))
    _allow_short_definitions(found)
    root = found.pop("Definition")
    return {"$schema": DIALECT, **root, "title": "A workflow's definition", "$defs": found}


# --- what people may write shorter ------------------------------------------------------------------------------


def _allow_short_definitions(found: dict[str, _Schema]) -> None:
    properties = found["Definition"]["properties"]
    text = {key: value for key, value in properties["version"].items() if key not in ("default", "description")}
    properties["version"] = {
        "description": "Text or number; without one, it is made from the content.",
        "anyOf": [text, {"type": "number"}, _NULL],
    }
    by_id = {key: value for key, value in found["Step"].items() if key != "required"}
    found["StepWithoutId"] = by_id | {"description": "A step, under its id.", "title": "StepWithoutId"}
    # No anyOf: each keyword looks at its own kind of value only, and editors complete and explain what they see.
    properties["steps"] = {
        "description": "A list of steps, or a mapping from ids to steps.",
        "type": ["array", "object"],
        "items": {"$ref": "#/$defs/Step"},
        "minItems": 1,
        "additionalProperties": {"$ref": "#/$defs/StepWithoutId"},
        "propertyNames": {"minLength": 1, "maxLength": 200},
        "minProperties": 1,
    }
    properties["error_handlers"]["additionalProperties"] = {
        "anyOf": [
            {"type": "string", "minLength": 1, "description": "Id of the handling step; then the workflow fails."},
            {"$ref": "#/$defs/ErrorHandler"},
        ]
    }


def _allow_short_steps(found: dict[str, _Schema], types: tuple[str, ...]) -> None:
    step = found["Step"]
    properties = step["properties"]
    properties["type"] = {
        "description": properties["type"].get("description", ""),
        "enum": [*STEP_TYPES, *TYPE_ALIASES, *types],
        "default": "python",
    }
    _widen(properties, "depends_on", {"type": "string", "description": "The only one."})
    _widen(properties, "condition", {"type": "boolean"})
    _widen(properties, "compensate", {"type": "string", "minLength": 1, "description": "A handler's name or path."})
    for key in _NULLABLE:
        _widen(properties, key, _NULL)
    # What other versions of YAML take for a truth value would become a checkpoint's name here.
    properties["checkpoint"]["not"] = {"enum": ["yes", "no", "on", "off"]}
    step["allOf"] = _by_type(types)


def _widen(properties: dict[str, _Schema], key: str, other: _Schema) -> None:
    """Let a property be something else, too."""
    known = properties[key]
    outer: _Schema = {name: known[name] for name in ("description", "default") if name in known}
    inner = {name: value for name, value in known.items() if name not in outer}
    properties[key] = {**outer, "anyOf": [*(inner["anyOf"] if set(inner) == {"anyOf"} else [inner]), other]}


# --- what depends on the step's type ------------------------------------------------------------------------------


def _by_type(types: tuple[str, ...]) -> list[_Schema]:
    own = ["python"]
    rules = [
        {
            "if": {"anyOf": [{"not": {"required": ["type"]}}, {"properties": {"type": {"enum": own}}}]},
            "then": {"required": ["handler"], "properties": {"handler": {"type": "string", "minLength": 1}}},
            "else": {"properties": {"handler": _NULL}},
        }
    ]
    del types  # the handler of one's own type has its name: none is written
    for kind in STEP_TYPES:
        if kind not in CONFIG_KEYS:
            continue
        names = [kind, *(alias for alias, canonical in TYPE_ALIASES.items() if canonical == kind)]
        needed = list(REQUIRED_CONFIG.get(kind, ()))
        config: _Schema = {
            "type": ["object", "null"] if not needed else "object",
            "properties": {key: _setting(kind, key) for key in CONFIG_KEYS[kind]},
            "additionalProperties": False,
        }
        then: _Schema = {"properties": {"config": config}}
        if kind == "approval_gate":
            config |= _GATE
        if needed:
            config["required"] = needed
            then["required"] = ["config"]
        rules.append({"if": {"required": ["type"], "properties": {"type": {"enum": names}}}, "then": then})
    return rules


def _setting(kind: str, key: str) -> _Schema:
    value, text = _SETTINGS.get(kind, {}).get(key, ("any", ""))
    schema = dict(_KINDS[value])
    if kind == "process" and key == "rules":
        schema["items"] = _rule()
    if schema and schema != _KINDS["text"]:
        schema = {"anyOf": [schema, _TEMPLATE]}
    return schema | ({"description": text} if text else {})


def _rule() -> _Schema:
    keys = {key for names in RULE_KEYS.values() for key in names}
    return {
        "type": ["object", "string"],
        "pattern": _TEMPLATE["pattern"],
        "required": ["type"],
        "properties": {
            "type": {"enum": list(RULE_KEYS), "description": "What the rule does."},
            "operation": {"anyOf": [{"enum": list(OPERATION_KEYS)}, _TEMPLATE]},
            **{key: {} for key in sorted(keys - {"operation"})},
        },
        "allOf": [
            {
                "if": {"properties": {"type": {"const": kind}}},
                "then": {"propertyNames": {"enum": ["type", *names]}},
            }
            for kind, names in RULE_KEYS.items()
        ],
    }


# --- descriptions --------------------------------------------------------------------------------------------------

_ATTRIBUTE: Final = re.compile(r"^ {4}(?P<name>\w+): (?P<text>.*(?:\n {8}.*)*)", re.MULTILINE)


def _describe(schema: _Schema, struct: type[msgspec.Struct]) -> None:
    """Put the first sentence of the docstring over it, and what it says of each attribute over each property."""
    text = inspect.cleandoc(struct.__doc__ or "")
    head, _, attributes = text.partition("\nAttributes:\n")
    schema["description"] = head.partition("\n\n")[0].strip()
    for match in _ATTRIBUTE.finditer(attributes):
        if match["name"] in schema["properties"]:
            words = " ".join(match["text"].split()).replace("``", "`")
            schema["properties"][match["name"]]["description"] = words
