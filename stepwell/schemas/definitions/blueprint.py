"""Templates of workflows: a definition with parameters, and a header that describes them.

A template is a YAML or JSON file: ``template`` (its name), ``version``, ``description``, ``parameters``, and under
``definition`` a definition in the canonical form in which ``${parameter}`` stands for a value.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Container, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from stepwell.errors import DefinitionError, UnknownWorkflowError
from stepwell.schemas.definitions.bounds import not_finite
from stepwell.schemas.definitions.json_text import JsonError, value_of
from stepwell.schemas.definitions.substitution import substitute
from stepwell.schemas.definitions.text import parse_text, read_text
from stepwell.suggest import choice, suggest

SUFFIXES: Final = (".yaml", ".yml", ".json")
OWN_DIRECTORY: Final = Path("templates")
_SHIPPED: Final = "stepwell.templates"
_WORDS: Final = {
    "string": "a text", "integer": "a whole number", "number": "a number", "boolean": "true or false",
    "list": "a list", "mapping": "a mapping",
}  # fmt: skip


class Parameter(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One value that whoever creates a workflow gives.

    Attributes:
        default: What it is if nobody gives it; without one it is required.
        required: Said for people; it follows from ``default``.
        choices: The values that it may have; any without them.
        minimum: The least that a number may be.
        maximum: The most.
        example: A value to try it with.
    """

    type: Literal["string", "integer", "number", "boolean", "list", "mapping"]
    description: str = ""
    default: Any = UNSET
    required: bool | UnsetType = UNSET
    choices: tuple[Any, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    example: Any = UNSET

    @property
    def is_required(self) -> bool:
        """Whether it must be given."""
        return self.default is UNSET

    @property
    def sample(self) -> Any:
        """A value to try it with: its example, or else its default."""
        return self.default if self.example is UNSET else self.example


class Blueprint(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A template: what its file says.

    Attributes:
        template: Its name.
        version: The template's own, so that one can tell what a workflow was made from.
        use_for: What it is good for.
        agents: What each agent gets and has to return, by the parameter that names it.
        input_example: An input with which a workflow made from the samples of its parameters can be started.
        source: Where it was read: ``shipped``, or a file.
    """

    template: Annotated[str, Meta(min_length=1, max_length=200)]
    definition: dict[str, Any]
    version: str = "1"
    description: str = ""
    use_for: tuple[str, ...] = ()
    parameters: dict[str, Parameter] = {}
    agents: dict[str, str] = {}
    input_example: Any = None
    source: str = ""


def read_blueprint(text: str, place: str) -> Blueprint:
    """Read a template.

    Raises:
        DefinitionError: It is none.
    """
    data = parse_text(text, place)
    if not isinstance(data, dict) or "template" not in data:
        raise DefinitionError(["is no template: one has the keys template and definition"], place=place)
    try:
        blueprint = msgspec.convert({**data, "source": place}, Blueprint)
    except msgspec.ValidationError as error:
        raise DefinitionError([_explained(str(error))], place=place) from None
    problems = []
    for name, parameter in blueprint.parameters.items():
        at = f"parameters.{name}"
        if not name.isidentifier():
            problems.append(f"{at}: a parameter's name has letters, digits and underscores")
        if parameter.required is not UNSET and parameter.required != parameter.is_required:
            problems.append(f"{at}.required: says {str(parameter.required).lower()}; a default makes it optional")
        for key, value in (("default", parameter.default), ("example", parameter.example)):
            problem = "" if value is UNSET else _problem(parameter, value)
            if problem:
                problems.append(f"{at}.{key}: {problem}")
    problems.extend(
        f"agents.{name}: there is no such parameter{suggest(name, blueprint.parameters)}"
        for name in blueprint.agents
        if name not in blueprint.parameters
    )
    if problems:
        raise DefinitionError(problems, place=place)
    return blueprint


def find_blueprints(directory: Path = OWN_DIRECTORY) -> dict[str, Blueprint]:
    """Every template by name: the shipped ones, and those of a directory, which win.

    Raises:
        DefinitionError: A file of the directory is no template.
    """
    found = [read_blueprint(entry.read_text(encoding="utf-8"), entry.name) for entry in _shipped()]
    made = {blueprint.template: msgspec.structs.replace(blueprint, source="shipped") for blueprint in found}
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        if path.suffix in SUFFIXES and path.is_file():
            blueprint = read_blueprint(read_text(path), str(path))
            made[blueprint.template] = blueprint
    return made


def _shipped() -> list[Traversable]:
    """The files of the templates that come with Stepwell, by name."""
    entries = (entry for entry in resources.files(_SHIPPED).iterdir() if entry.name.endswith(SUFFIXES))
    return sorted(entries, key=lambda entry: entry.name)


def find_blueprint(name: str, directory: Path = OWN_DIRECTORY) -> Blueprint:
    """A template by its name, or by the path of its file.

    Raises:
        UnknownWorkflowError: There is none of this name.
        DefinitionError: The file cannot be read, or is no template.
    """
    if name.endswith(SUFFIXES) or "/" in name:
        return read_blueprint(read_text(Path(name)), name)
    known = find_blueprints(directory)
    if name in known:
        return known[name]
    near = choice(name.replace("-", "_"), known)
    raise UnknownWorkflowError(
        f"there is no such template{near}", place=name, remedy="stepwell templates lists them."
    )


def of_template(workflow: str, registered: Container[str] = ()) -> str:
    """How a workflow is made of the shipped template that its name says; empty where none is called so.

    Args:
        workflow: ``order_processing``, also written ``order-processing`` or ``order_processing_workflow``.
        registered: Names of workflows that are there already.
    """
    name = workflow.lower().replace("-", "_").removesuffix("_workflow")
    text = next((entry.read_text(encoding="utf-8") for entry in _shipped() if Path(entry.name).stem == name), None)
    if text is None:
        return ""
    called = str(read_blueprint(text, name).definition.get("name", name))
    if called in registered:
        return f"What the template {name} makes is called {called}, and is registered."
    needs = f" Its worker is started with --handlers {_SHIPPED}.handlers." if f"{_SHIPPED}.handlers" in text else ""
    return (
        f"There is a template of this name: `stepwell create {name}`, or over HTTP POST /v1/templates/{name}, makes "
        f"and registers the workflow {called}; `stepwell templates {name}` shows what it takes.{needs}"
    )


def instantiate(blueprint: Blueprint, given: Mapping[str, Any], *, name: str = "") -> dict[str, Any]:
    """A definition made from a template, as plain data.

    Args:
        given: Values of parameters. Texts are read by the parameter's type, as they come from a command line.
        name: The workflow's name; without one, the template's.

    Raises:
        DefinitionError: A parameter is unknown, missing or of the wrong type, each of them told; or the template
            itself is wrong.
    """
    problems, values = [], {}
    for key in given:
        if key not in blueprint.parameters:
            known = ", ".join(blueprint.parameters) or "none"
            problems.append(
                f'unknown parameter "{key}"{suggest(key, blueprint.parameters) or f"; there are {known}"}'
            )
    for key, parameter in blueprint.parameters.items():
        if key not in given and parameter.is_required:
            problems.append(f'parameter "{key}" is missing: {parameter.description or _WORDS[parameter.type]}')
        elif key in given:
            try:
                value = _from_text(parameter, given[key]) if isinstance(given[key], str) else given[key]
                problem = _problem(parameter, value)
            except JsonError as error:
                value, problem = None, str(error)
            if problem:
                problems.append(f'parameter "{key}": {problem}')
            values[key] = value
        else:
            values[key] = parameter.default
    if problems:
        remedy = f"stepwell templates {blueprint.template} shows what it takes."
        raise DefinitionError(problems, place=f"template {blueprint.template}", remedy=remedy)
    made = substitute(blueprint.definition, values, place=f"template {blueprint.template}")
    if name:
        made["name"] = name
    tags = made.get("tags") or []
    origin = f"template:{blueprint.template}@{blueprint.version}"
    return {**made, "tags": [*tags, origin]} if isinstance(tags, list) and origin not in tags else made


def _from_text(parameter: Parameter, text: str) -> Any:
    """What a text of the command line means; the text itself where it means nothing of the type.

    Raises:
        JsonError: It is a list or a mapping that cannot be kept.
    """
    if parameter.type == "string":
        return text
    value = value_of(text)
    if parameter.type == "list" and not isinstance(value, list) and not text.lstrip().startswith(("[", "{")):
        return [part.strip() for part in text.split(",")] if text.strip() else []  # names, most of the time
    return value


def _problem(parameter: Parameter, value: Any) -> str:
    """What is wrong with a value; empty if nothing is."""
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    fits = {
        "string": isinstance(value, str),
        "integer": number and isinstance(value, int),
        "number": number and math.isfinite(value),
        "boolean": isinstance(value, bool),
        "list": isinstance(value, list),
        "mapping": isinstance(value, dict),
    }[parameter.type]
    if not fits:
        return f"must be {_WORDS[parameter.type]}, not {json.dumps(value, ensure_ascii=False, default=repr)}"
    place = not_finite(value)
    if place is not None:
        return f"{place}: must be a number that JSON can hold".removeprefix(": ")
    if parameter.choices and value not in parameter.choices:
        near = suggest(str(value), map(str, parameter.choices))
        return f'must be one of {", ".join(map(str, parameter.choices))}, not "{value}"{near}'
    if parameter.is_required and value == "":
        return "is empty"
    if number and parameter.minimum is not None and value < parameter.minimum:
        return f"must be at least {parameter.minimum:g}, not {value}"
    if number and parameter.maximum is not None and value > parameter.maximum:
        return f"must be at most {parameter.maximum:g}, not {value}"
    return ""


_UNKNOWN: Final = re.compile(r"Object contains unknown field `(?P<key>[^`]*)`")
_PLACE: Final = re.compile(r" - at `\$?\.?(?P<path>[^`]*)`$")


def _explained(message: str) -> str:
    """Msgspec's message with the place first, and a suggestion for a misspelt key."""
    place = _PLACE.search(message)
    path = place["path"] if place else ""
    text = _PLACE.sub("", message)
    unknown = _UNKNOWN.search(text)
    if unknown:
        struct = Parameter if path.startswith("parameters") else Blueprint
        keys = [key for key in struct.__struct_fields__ if key != "source"]
        text = f'unknown key "{unknown["key"]}"{choice(unknown["key"], keys)}'
    text = text.replace("Object missing required field", "missing").replace("`", '"')
    return f"{path}: {text[0].lower()}{text[1:]}" if path else f"{text[0].lower()}{text[1:]}"
