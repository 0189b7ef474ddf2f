"""Reading a definition from a file, a text or plain data, with errors that name the place."""

from __future__ import annotations

import os
import pathlib
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from stepwell.arguments import check_texts
from stepwell.errors import DefinitionError
from stepwell.schemas.definitions.bounds import wrong_values
from stepwell.schemas.definitions.custom_types import resolve_definition, resolve_types
from stepwell.schemas.definitions.loaded import Loaded, of_definition
from stepwell.schemas.definitions.model import Definition, Retry, Step, hash_definition
from stepwell.schemas.definitions.places import Lines, Path, Problem, locate, show
from stepwell.schemas.definitions.shapes import shape_problems, unknown_value
from stepwell.schemas.definitions.step_type import StepTypes
from stepwell.schemas.definitions.text import parse_text, read_text
from stepwell.schemas.definitions.yaml_core import Loader
from stepwell.schemas.dialects import CANONICAL, NAMES, detect, translate

Source = Definition | Mapping[str, Any] | str | pathlib.Path


def load_definition(
    source: Source, types: StepTypes, *, place: str = "", dialect: str | None = None, name: str = ""
) -> Definition:
    """Read a definition, in whichever dialect it is written.

    Args:
        source: A definition, plain data, a path, or YAML or JSON text (anything with a line break or a brace).
        types: The built-in step types.
        place: How messages name the source; by default the path.
        dialect: One of ``stepwell.schemas.dialects.NAMES``; by default the shape tells.
        name: What it is called if it does not say so, as some dialects allow; by default the file's name.

    Raises:
        DefinitionError: It cannot be read, or its shape is wrong; all problems at once.
    """
    loaded = read_definition(source, types, place=place, dialect=dialect, name=name)
    if loaded.problems or loaded.definition is None:
        raise loaded.everything(None)
    return loaded.definition


def read_definition(
    source: Source, types: StepTypes, *, place: str = "", dialect: str | None = None, name: str = ""
) -> Loaded:
    """Read a definition as ``load_definition`` does, and keep what tells where everything came from.

    What is wrong with its shape is in ``Loaded.problems``; the arguments are the same.

    Raises:
        DefinitionError: It cannot be read.
    """
    given: object = source
    if not isinstance(given, Definition | Mapping | str | pathlib.Path):
        above = "; put @stepwell.workflow above a function" if callable(given) else ""
        raise _refused(f"a definition is a path, a text or plain data, not {given!r:.100}{above}")
    if dialect is not None:
        check_texts(_refused, dialect=dialect)
    check_texts(_refused, name=name)
    if dialect is not None and dialect not in NAMES:
        raise DefinitionError([unknown_value(dialect, NAMES, "dialect")], place=place)
    if isinstance(source, Definition):
        resolved, wrong = resolve_definition(source, types)
        wrong = [*wrong, *(f"{show(path)}: {text}" for path, text in _retry_problems(resolved))]
        if wrong:
            raise DefinitionError(wrong, place=place or f"workflow {source.name!r}")
        return of_definition(resolved)
    if isinstance(source, Mapping):
        place = place or "definition"
        _check_values(source, place)
        return _load(dict(source), types, place, dialect, name, None)
    if isinstance(source, pathlib.Path) or not ("\n" in source or "{" in source):
        path = pathlib.Path(source)
        text, place, name = read_text(path), place or str(source), name or path.stem
    else:
        text, place = source, place or "definition"
    return _load(parse_text(text, place), types, place, dialect, name, Lines(text, Loader))


def _refused(message: str) -> DefinitionError:
    return DefinitionError([message])


def from_plain(data: Any, types: StepTypes, *, place: str) -> Definition:
    """Check plain data and make a definition of it.

    Raises:
        DefinitionError: Its shape is wrong.
    """
    _check_values(data, place)
    loaded = _load(data, types, place, None, "", None)
    if loaded.problems or loaded.definition is None:
        raise loaded.everything(None)
    return loaded.definition


def _check_values(data: Any, place: str) -> None:
    wrong = wrong_values(data)
    if wrong:
        raise DefinitionError([wrong], place=place)


def _load(data: Any, types: StepTypes, place: str, dialect: str | None, name: str, lines: Lines | None) -> Loaded:
    if not isinstance(data, dict):
        kind = "empty" if data is None else f"a {type(data).__name__}"
        raise DefinitionError([f"is {kind}; a definition is a mapping with name and steps"], place=place)
    chosen = dialect or detect(data)
    translation = None
    if chosen != CANONICAL:
        try:
            translation = translate(data, chosen, types, name=name, environment=os.environ)
        except RecursionError:
            raise DefinitionError(["is nested too deeply"], place=place) from None
    prepared = _shorthand(data if translation is None else translation.plain, types)
    loaded = Loaded(data, dialect=chosen, place=place, plain=prepared, translation=translation, lines=lines)
    wrong_types = resolve_types(prepared, types)  # it spells types of somebody's own out in place
    problems = [*_checkpoint_problems(prepared), *(_placed(message, prepared) for message in wrong_types)]
    try:
        definition = msgspec.convert(prepared, Definition)
        if "version" not in prepared:
            # A definition without a version gets one made from its content, so that editing it makes a new version.
            definition = replace(definition, version=hash_definition(replace(definition, version="0"))[:8])
        problems += _retry_problems(definition, prepared)
    except msgspec.ValidationError as error:
        problems += shape_problems(prepared) or [Problem((), str(error))]
    except (TypeError, ValueError) as error:  # a value of Python's that is no JSON, half of a surrogate pair
        raise DefinitionError([str(error)], place=place) from None
    except RecursionError:
        raise DefinitionError(["is nested too deeply"], place=place) from None
    if problems or (translation is not None and translation.problems):
        loaded.blame(problems)
    else:
        loaded.definition = definition
    return loaded


def _placed(message: str, prepared: dict[str, Any]) -> Problem:
    path, rest = locate(message, prepared) or ((), message)
    found = _REST.match(rest)
    if found is None:
        return Problem(path, rest)
    parts = [int(part) if part.isdecimal() else part for part in re.findall(r"[^.\[\]]+", found[1])]
    return Problem((*path, *parts), found[2])


_REST: Final = re.compile(r'((?:\.[\w-]+|\[\d+\])*)(?: \("[^"]*"\))?: (.*)', re.DOTALL)


def _retry_problems(definition: Definition, plain: dict[str, Any] | None = None) -> Iterator[Problem]:
    """Refuse a longest wait that is written and shorter than the first; where a log holds one, it goes on holding.

    Args:
        plain: What the definition was made of. Of one that was built in Python, a default is not told from the same
            value that is written.
    """
    for index, step in enumerate(definition.steps):
        for path, retry in _retries(step):
            most, initial, at = retry.max_delay_seconds, retry.initial_delay_seconds, ("steps", index, *path)
            if most is not None and most < initial and _says_first_wait(retry, plain, at):
                text = f"is {most:g}, less than the first wait, initial_delay_seconds, which is {initial:g}"
                yield Problem((*at, "max_delay_seconds"), text)


def _says_first_wait(retry: Retry, plain: Any, path: Path) -> bool:
    if plain is None:
        return retry.initial_delay_seconds != Retry().initial_delay_seconds
    for key in path:
        plain = plain[key]
    return "initial_delay_seconds" in plain


def _retries(step: Step) -> Iterator[tuple[Path, Retry]]:
    yield ("retry",), step.retry
    if step.compensate is not None:
        yield ("compensate", "retry"), step.compensate.retry


def _checkpoint_problems(data: dict[str, Any]) -> Iterator[Problem]:
    """Refuse what other versions of YAML take for a truth value, and here would become a checkpoint's name."""
    steps = data.get("steps")
    for index, step in enumerate(steps if isinstance(steps, list) else ()):
        if isinstance(step, dict) and str(step.get("checkpoint")).lower() in {"yes", "no", "on", "off"}:
            text = f'write true or false instead of "{step["checkpoint"]}"'
            yield Problem(("steps", index, "checkpoint"), text)


def _shorthand(data: dict[str, Any], types: StepTypes) -> dict[str, Any]:
    """Spell out what may be written shorter."""
    data = dict(data)
    version = data.get("version")
    if isinstance(version, (int, float)) and not isinstance(version, bool):
        data["version"] = str(version)  # from a program; in a text it is what is written
    elif version is None:
        data.pop("version", None)
    handlers = data.get("error_handlers")
    if isinstance(handlers, dict):
        data["error_handlers"] = {
            key: {"step": value} if isinstance(value, str) else value for key, value in handlers.items()
        }
    steps = data.get("steps")
    if isinstance(steps, dict):
        steps = [{"id": key, **(value or {})} if isinstance(value, (dict, type(None))) else value
                 for key, value in steps.items()]  # fmt: skip
    if isinstance(steps, list):
        data["steps"] = [_shorthand_step(step, types) if isinstance(step, dict) else step for step in steps]
    return data


def _shorthand_step(step: dict[str, Any], types: StepTypes) -> dict[str, Any]:
    step = dict(step)
    if isinstance(step.get("compensate"), str):
        step["compensate"] = {"handler": step["compensate"]}
    if isinstance(step.get("depends_on"), str):
        step["depends_on"] = [step["depends_on"]]
    if isinstance(step.get("condition"), bool):
        step["condition"] = str(step["condition"])
    if isinstance(step.get("type"), str):
        step["type"] = types.aliases.get(step["type"], step["type"])
    for key in ("depends_on", "input_mapping", "config", "retry", "name", "description", "queue", "mode"):
        if key in step and step[key] is None:
            del step[key]
    return step
