"""``agent_task``: lets an agent's handler do a task. Its ``config`` holds whatever that handler wants."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from msgspec import Struct

from stepwell.schemas.definitions.step_type import Call, Setting, StepType
from stepwell.step_types.base import literal_of, problems_of, text


class AgentTaskConfig(Struct, frozen=True):
    """The ``config`` of an ``agent_task`` step."""

    agent_id: Annotated[str, Setting("The agent that does it.", default="the step's `queue`")] = ""


def _check(config: Mapping[str, Any], at: str, _schemas: Any) -> Iterator[str]:
    yield from problems_of({"agent_id": text}, literal_of(config), at)


def agent_handler(queue: str, config: Mapping[str, Any]) -> str:
    """By what name a worker finds the code of a task.

    Args:
        queue: The step's.
        config: The step's, filled in.
    """
    agent = config.get("agent_id")
    return f"agent_task:{agent if isinstance(agent, str) and agent else queue}"


TYPE: Final = StepType(
    name="agent_task",
    config=AgentTaskConfig,
    open=True,
    check=_check,
    names_handler=agent_handler,
    text="Let an agent's handler do a task, with what `config` and the step's input say.",
    gives="what that handler returns",
    call=Call(
        positional=("agent_id", "data"),
        needed=("agent_id",),
        queue="agent_id",
    ),
)
