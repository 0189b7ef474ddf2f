"""The JSON Schema of a definition as people write it: the canonical form and its short forms, for editors.

Made from the structs that read definitions and from the declarations of step types, so that it cannot know other keys
than they do. It sees shapes only; what needs the whole graph (unknown ids, cycles, expressions) is seen by
``stepwell validate``.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

from stepwell.schemas.definitions.model import Compensation, Definition, ErrorHandler, Retry, Step
from stepwell.schemas.definitions.step_type import Field, StepTypes, fields_of, schema_of

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_Schema = dict[str, Any]
_NULL: Final[_Schema] = {"type": "null"}
_TEMPLATE: Final[_Schema] = {
    "type": "string",
    "pattern": r"\{\{",
    "description": "A template: {{ expression }}.",
}
_NULLABLE: Final = ("depends_on", "input_mapping", "config", "retry", "name", "description", "queue", "mode")


def definition_schema(types: StepTypes, own: Iterable[str] = ()) -> _Schema:
    """JSON Schema (2020-12) of what ``load_definition`` reads, by shape.

    Args:
        types: The built-in step types.
        own: Names of step types of one's own; others than these and the built-in ones do not fit.
    """
    structs = (Definition, Step, Retry, Compensation, ErrorHandler)
    _, found = msgspec.json.schema_components(structs, ref_template="#/$defs/{name}")
    for struct in structs:
        _describe(found[struct.__name__], struct)
    _allow_short_steps(found, types, own)
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


def _allow_short_steps(found: dict[str, _Schema], types: StepTypes, own: Iterable[str]) -> None:
    step = found["Step"]
    properties = step["properties"]
    properties["type"] = {
        "description": properties["type"].get("description", ""),
        "enum": [*types.names, *types.aliases, *own],
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


def _by_type(types: StepTypes) -> list[_Schema]:
    own = [one.name for one in types if one.takes_handler]
    rules = [
        {
            "if": {"anyOf": [{"not": {"required": ["type"]}}, {"properties": {"type": {"enum": own}}}]},
            "then": {"required": ["handler"], "properties": {"handler": {"type": "string", "minLength": 1}}},
            "else": {"properties": {"handler": _NULL}},  # the handler of one's own type has its name: none is written
        }
    ]
    for declared in types:
        if declared.config is None:
            continue
        needed = list(declared.required)
        config: _Schema = {
            "type": ["object", "null"] if not needed else "object",
            "properties": {field.name: _setting(field) for field in fields_of(declared)},
        }
        if declared.closed:
            config["additionalProperties"] = False
        then: _Schema = {"properties": {"config": config}}
        config |= declared.together
        if needed:
            config["required"] = needed
            then["required"] = ["config"]
        names = [declared.name, *declared.aliases]
        rules.append({"if": {"required": ["type"], "properties": {"type": {"enum": names}}}, "then": then})
    return rules


def _setting(field: Field) -> _Schema:
    schema = schema_of(field)
    if schema and schema != {"type": "string"}:
        schema = {"anyOf": [schema, _TEMPLATE]}
    return schema | {"description": field.described}


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
