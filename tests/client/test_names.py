"""What a program can import, and hand on to another process."""

import copy
import importlib
import inspect
import pickle
import pkgutil
import re
from http import HTTPStatus
from typing import get_args

import pytest

import stepwell
import stepwell.faststream
import stepwell.testing
from stepwell.errors import (
    CommandRejectedError,
    DefinitionError,
    InactiveWorkflowError,
    LeaseLostError,
    LogError,
    RecordTooLargeError,
    StepwellError,
    UnknownClaimError,
    WorkflowFailedError,
)
from stepwell.schemas.records.events import Event
from stepwell.server.http.problems import RefusedError

ERRORS = (
    StepwellError("m", place="p", remedy="r"),
    CommandRejectedError("c", "m"),
    CommandRejectedError("c", "m", instance_id="i", remedy="r", position="0@1"),
    DefinitionError(["a: b", "c: d"], place="p"),
    InactiveWorkflowError("m", workflow="w", version="1"),
    WorkflowFailedError("m", instance_id="i", status="failed", error_type="E", step_id="s"),
    UnknownClaimError("c"),
    LeaseLostError("c", "expired", "m"),
    RecordTooLargeError("m", size=2, limit=1),
    RefusedError(403, "m", headers={"a": "b"}),
)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_is_the_same_after_it_was_pickled(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert (again.args, vars(again), str(again)) == (error.args, vars(error), str(error))


def all_errors():
    """Every error of the package, wherever it is defined."""
    for module in pkgutil.walk_packages(stepwell.__path__, "stepwell."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    waiting, found = [StepwellError], {}
    while waiting:
        kind = waiting.pop()
        if kind.__module__.startswith("stepwell") and kind not in found:
            found[kind] = kind.__name__
            waiting.extend(kind.__subclasses__())
    return sorted(found, key=lambda kind: kind.__name__)


SAMPLES = {
    "LogError": LogError("m", place="p"),
    "HTTPStatus": HTTPStatus.CONFLICT,
    "str": "some text",
    "int": 3,
    "float": 1.5,
    "bool": True,
    "list[str]": ["one: a", "two: b"],
}


def made(kind):
    """An error with something in each of its fields."""
    given = {}
    for name, one in inspect.signature(kind).parameters.items():
        annotation = one.annotation if isinstance(one.annotation, str) else one.annotation.__name__
        if annotation in SAMPLES:
            given[name] = SAMPLES[annotation]
        else:
            assert one.default is not one.empty, f"{kind.__name__}({name}: {annotation}): give it a sample"
    positional = [
        given.pop(name)
        for name, one in inspect.signature(kind).parameters.items()
        if name in given and one.kind is not one.KEYWORD_ONLY
    ]
    return kind(*positional, **given)


def test_every_error_is_the_same_after_it_was_copied_or_pickled():
    kinds = all_errors()
    assert len(kinds) > 40
    for kind in kinds:
        error = made(kind)
        ways = [lambda one, number=number: pickle.loads(pickle.dumps(one, number)) for number in range(6)]
        for way in (copy.copy, copy.deepcopy, *ways):
            again = way(error)
            assert type(again) is kind
            assert again.args == error.args
            assert str(again) == str(error)
            assert [*map(str, vars(again).values())] == [*map(str, vars(error).values())]  # some hold other errors


def test_every_error_that_a_public_docstring_names_can_be_imported_from_stepwell_errors():
    elsewhere = {"BrokenPipeError", "TimeoutError", "ValueError", "ValidationError"}  # Python's, msgspec's
    homes = (stepwell.errors, stepwell.testing, stepwell.faststream)
    named = set()
    for address in (stepwell, *homes, stepwell.steps):
        for name in address.__all__ if hasattr(address, "__all__") else dir(address):
            thing = getattr(address, name)
            for one in (thing, *(vars(thing).values() if inspect.isclass(thing) else ())):
                raises = (inspect.getdoc(one) or "").partition("Raises:\n")[2]
                named |= set(re.findall(r"\b[A-Z][A-Za-z]*Error\b", raises))
    assert len(named) > 15
    missing = [name for name in named - elsewhere if not any(hasattr(home, name) for home in homes)]
    assert missing == []


def test_every_error_of_the_public_modules_can_be_imported_from_the_package():
    for name, found in vars(stepwell.errors).items():
        if inspect.isclass(found) and issubclass(found, StepwellError):
            assert getattr(stepwell, name) is found
    assert issubclass(stepwell.FilterError, StepwellError)
    assert issubclass(stepwell.PatternError, StepwellError)


def test_every_event_can_be_imported_from_the_public_module():
    for kind in get_args(Event):
        assert getattr(stepwell.events, kind.__name__) is kind


def test_no_error_has_a_way_of_its_own_to_be_pickled():
    for module in pkgutil.walk_packages(stepwell.__path__, "stepwell."):
        if module.name.rpartition(".")[2] == "errors":
            for found in vars(importlib.import_module(module.name)).values():
                if inspect.isclass(found) and issubclass(found, StepwellError) and found is not StepwellError:
                    assert "__reduce__" not in vars(found)
