"""What workers get: steps to run, and runs to stop."""

from __future__ import annotations

from msgspec import Struct

from stepwell.schemas.records.events import StepReady


class WorkItem(Struct, frozen=True, gc=False, omit_defaults=True):
    """A run of a step, on its way to a worker: all that the worker needs.

    Attributes:
        sequence: Sequence of the StepReady event; with the instance's id it makes the effect's own id.
        began: When the instance was started, in milliseconds: an id may be used again, long after its end.
        life: The same where it may have been used before, and is known no more; else 0.
    """

    instance_id: str
    workflow: str
    version: str
    sequence: int
    step: StepReady
    priority: int = 0
    began: int = 0
    life: int = 0

    @property
    def effect_id(self) -> str:
        """Unique for this effect, so that a repeat is known as one."""
        return f"{self.instance_id}:{self.sequence}"

    @property
    def delivery_id(self) -> str:
        """What a queue knows it by, however often it is sent: its effect's id, and when the instance began."""
        return f"{self.effect_id}@{self.began}"

    @property
    def idempotency_key(self) -> str:
        """What a handler passes on to others, so that doing it again does nothing twice.

        The same for all attempts: one that timed out may have done its work all the same.
        """
        key = f"{self.instance_id}:{self.step.step_id}:{self.step.origin or self.step.run}"
        return f"{key}@{self.life}" if self.life else key


class CancelRuns(Struct, frozen=True, gc=False, omit_defaults=True):
    """Runs of an instance, first to last, that nobody waits for any more.

    Attributes:
        began: As in ``WorkItem``.
    """

    instance_id: str
    first: int
    last: int
    began: int = 0
