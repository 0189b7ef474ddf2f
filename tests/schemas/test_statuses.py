"""The statuses: texts that logs, read models, HTTP and users have, and that therefore never change."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import get_args, get_type_hints

import msgspec
import pytest

from stepwell.projections.filters import STATUSES
from stepwell.projections.queries import WORK
from stepwell.schemas.records.commands import ChildEnded
from stepwell.schemas.records.statuses import (
    DONE,
    FINISHED,
    LIVE,
    NOT_RUN,
    PENDING,
    RAN,
    UNDER_WAY,
    UNSUCCESSFUL,
    WENT_WRONG,
    WITH_WORKERS,
    AttemptStatus,
    InstanceStatus,
    StepStatus,
    WorkflowStatus,
    WorkStatus,
)

TEXTS = {
    WorkflowStatus: ["running", "paused", "completed", "failed", "cancelled"],
    StepStatus: ["pending", "ready", "running", "waiting", "succeeded", "failed", "skipped", "cancelled"],
    AttemptStatus: [
        "ready", "running", "waiting", "succeeded", "failed", "retried", "skipped", "cancelled", "compensated",
    ],
}  # fmt: skip


@pytest.mark.parametrize("kind", TEXTS)
def test_the_texts_are_those_of_every_log_that_was_ever_written(kind: type[StrEnum]) -> None:
    assert [status.value for status in kind] == TEXTS[kind]


@pytest.mark.parametrize("kind", TEXTS)
def test_a_member_is_its_text_wherever_it_goes(kind: type[StrEnum]) -> None:
    for status in kind:
        text = status.value
        assert type(text) is str
        assert status == text
        assert {text: 1}[status] == {status: 1}[text] == 1
        assert f"{status}" == str(status) == text
        assert json.dumps({status: status}) == json.dumps({text: text})
        assert msgspec.json.encode({status: status}) == msgspec.json.encode({text: text})


def test_an_instance_is_live_or_finished() -> None:
    assert {*LIVE, *FINISHED} == set(WorkflowStatus)
    assert LIVE.isdisjoint(FINISHED)
    assert {*FINISHED} - {WorkflowStatus.COMPLETED} == UNSUCCESSFUL


def test_a_step_is_pending_or_under_way_or_has_ended_in_one_way() -> None:
    assert {StepStatus.PENDING, StepStatus.FAILED, *UNDER_WAY, *DONE, *NOT_RUN} == set(StepStatus)
    assert UNDER_WAY.isdisjoint(DONE | NOT_RUN)
    assert WITH_WORKERS < UNDER_WAY


def test_an_attempt_is_under_way_or_has_ended_with_an_outcome_or_without() -> None:
    without = {AttemptStatus.SKIPPED, AttemptStatus.CANCELLED, AttemptStatus.COMPENSATED}
    assert {str(status) for status in AttemptStatus} == {*map(str, UNDER_WAY), *map(str, RAN), *map(str, without)}
    assert WENT_WRONG < RAN


def test_types_of_interfaces_name_the_same_statuses() -> None:
    assert get_args(InstanceStatus) == (PENDING, *WorkflowStatus) == STATUSES
    assert set(get_args(WorkStatus)) == UNDER_WAY == set(WORK)
    assert get_args(get_type_hints(ChildEnded)["status"]) == (*FINISHED, "rejected")
