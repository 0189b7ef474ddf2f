"""``wait``: lets some time pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Final

from msgspec import Struct

from stepwell.schemas.definitions.model import LONGEST_SECONDS, Seconds
from stepwell.schemas.definitions.step_type import Call, Setting, StepType
from stepwell.step_types.base import NUMBER_OF_SECONDS, is_template


class WaitConfig(Struct, frozen=True, forbid_unknown_fields=True):
    """The ``config`` of a ``wait`` step."""

    seconds: Annotated[
        Seconds,
        Setting(
            "How long, in seconds, from 0 to ten years; it survives restarts.",
            schema=NUMBER_OF_SECONDS,
            called=("duration", "duration_seconds"),
        ),
    ]


def _check(config: Mapping[str, Any], at: str, _schemas: Any) -> Iterator[str]:
    seconds = config.get("seconds", 0)
    number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if not is_template(seconds) and not (number and 0 <= seconds <= LONGEST_SECONDS):
        yield f"{at}.seconds: {seconds!r} is no number of seconds from 0 to ten years"


TYPE: Final = StepType(
    name="wait",
    config=WaitConfig,
    way="timer",
    attempts=False,
    check=_check,
    text="Let some time pass.",
    gives="its input",
    call=Call(positional=("seconds", "data")),
)
