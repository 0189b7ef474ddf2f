"""What a program can import, and hand on to another process."""

import importlib
import inspect
import pickle
import pkgutil
from typing import get_args

import pytest

import stepwell
from stepwell.errors import (
    CommandRejectedError,
    DefinitionError,
    InactiveWorkflowError,
    LeaseLostError,
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
