"""Starts: what every route that starts an instance has in common."""

from __future__ import annotations

import asyncio
import hashlib
import uuid
from http import HTTPStatus
from typing import Any, Final, NamedTuple

from stepwell.client.client import Client
from stepwell.client.run import Run
from stepwell.client.same_start import difference
from stepwell.errors import UnknownInstanceError
from stepwell.ids import new_id
from stepwell.log.partitioner import partition_for
from stepwell.log.port import EVENTS
from stepwell.server.http.bodies import Start, Started
from stepwell.server.http.freshness import position_headers
from stepwell.server.http.problems import RefusedError
from stepwell.server.http.reading import check_segment

LONGEST_WAIT: Final = 300  # seconds that a request may wait for an end; whoever wants more asks again
LONGEST_KEY: Final = 1_000  # characters of an idempotency key


class Begun(NamedTuple):
    """A start, and what goes with its answer.

    Attributes:
        position: Where what was answered is in the log; empty where no engine has answered.
    """

    started: Started
    position: str

    @property
    def status(self) -> HTTPStatus:
        """201 for what was started, 200 for what existed, 202 for what no engine has decided yet."""
        if not self.started.decided and self.started.instance is None:
            return HTTPStatus.ACCEPTED
        return HTTPStatus.OK if self.started.existed else HTTPStatus.CREATED

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the answer."""
        return position_headers([self.position])


def id_of_key(workflow: str, key: str) -> str:
    """The instance id that a workflow and an idempotency key stand for: the same whoever computes it (UUID 8)."""
    digest = hashlib.sha256(f"{workflow}\0{key}".encode()).digest()
    value = int.from_bytes(digest[:16], "big")
    value = value & ~(0xF << 76) | 0x8 << 76
    value = value & ~(0b11 << 62) | 0b10 << 62
    return str(uuid.UUID(int=value))


async def start(client: Client, asked: Start, *, key: str = "", wait: float = 0.0) -> Begun:
    """Start an instance.

    Args:
        key: An idempotency key, which stands for the instance's id where the start names none.
        wait: How many seconds to wait for its end.

    Raises:
        RefusedError: The key was used with another input or version, or no path can name the id.
        StepwellError: What ``Client.start`` raises; but where no engine answers in time, the answer says so.
    """
    check_segment(asked.id, "id")
    instance_id = asked.id or (id_of_key(asked.workflow, key) if key else new_id())
    run = await _run(client, asked, instance_id, watch=wait > 0, use=bool(key))
    if key and run.existed:
        await _check_same(client, asked, instance_id)
    if not wait:
        return Begun(Started(instance_id, run.existed, run.decided), run.position)
    found = await _waited(client, run, wait)
    position = run.position
    if found is not None:  # what is shown stands somewhere before the end
        partition = partition_for(instance_id, client.log.partitions)
        position = f"{partition}@{await client.log.end(EVENTS, partition) - 1}"
    return Begun(Started(instance_id, run.existed, run.decided, instance=found), position)


async def _run(client: Client, asked: Start, instance_id: str, *, watch: bool, use: bool) -> Run:
    try:
        return await client.start(
            asked.workflow,
            asked.input,
            id=instance_id,
            version=asked.version,
            priority=asked.priority,
            timeout_seconds=asked.timeout_seconds,
            watch=watch,
            if_exists="use" if use else asked.if_exists,
        )
    except TimeoutError:
        return Run(client, instance_id, decided=False)


async def _check_same(client: Client, asked: Start, instance_id: str) -> None:
    found = await client.pending.find(instance_id)
    if difference(found, asked.workflow, asked.version, {} if asked.input is None else asked.input):
        raise RefusedError(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            "this idempotency key was used for a start with another input or version",
            place="Idempotency-Key",
            remedy=f"Use another key. The instance of this one is {instance_id}.",
        )


async def _waited(client: Client, run: Run, seconds: float) -> Any:
    """The instance at its end, or as it is when the time is over; None if no engine has decided the start."""
    deadline = asyncio.get_running_loop().time() + seconds
    try:
        return await run.result(timeout=seconds)
    except TimeoutError:
        pass
    try:
        async with asyncio.timeout(max(1.0, deadline - asyncio.get_running_loop().time())):
            return await client.get(run.id)
    except (UnknownInstanceError, TimeoutError):
        return None
