"""Webhooks: events posted to whoever wants to be told, in order, at least once, signed.

A receiver is a durable subscription, ``webhook:NAME``, and its events go out one at a time: the next one only when
the receiver has answered this one with 2xx, or it was given up. What is given up lies in the topic ``dead-letters``
with the reason, and delivery goes on behind it. Requests are CloudEvents over HTTP (binary mode, the values of
``stepwell.schemas.records.feed``), signed as the Standard Webhooks have it (standardwebhooks.com): HMAC-SHA256 over
``ID.TIMESTAMP.BODY``.

Which process delivers for which receiver is advice of the log's group: a receiver belongs to the partition that its
name falls into. Two that deliver for a moment at once repeat events, with the same ids; they leave none out.

The addresses of ``http_request`` (``builtin.addresses``) are not applied: they protect workers from the authors of
definitions, and these URLs are written by the operator, often for a service of the same network. Redirects are not
followed, so that no receiver can send the operator's process elsewhere, and nothing of an answer is used but its
status and ``Retry-After``.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple
from urllib.parse import quote

import httpx

from stepwell import __version__
from stepwell.backoff import Backoff
from stepwell.consumers.outbound.webhook_file import Webhook, secrets_of
from stepwell.consumers.reading.dead_letters import letters_of
from stepwell.consumers.reading.histories import EventRecord
from stepwell.consumers.reading.subscriptions import Subscription
from stepwell.consumers.worker.retry_after import retry_after_seconds
from stepwell.log.partitioner import partition_for
from stepwell.log.port import DEAD_LETTERS, Log
from stepwell.logs import Logger
from stepwell.process import now_ms
from stepwell.schemas.records.feed import CONTENT_TYPE, FeedHead, attributes, feed_value
from stepwell.tasks import cancel_and_wait

WEBHOOKS: Final = "webhooks"  # the group that shares out the receivers

_logger = Logger("stepwell.webhooks")

_FIRST_DELAY: Final = 1.0  # seconds; doubled for each further attempt
_LONGEST_DELAY: Final = 300.0
_ANSWER_BYTES: Final = 64 * 1024  # of an answer are read, so that the connection can be used again
_GONE: Final = 410  # what a receiver answers that wants no more of it: no further attempt
_PLAIN: Final = (
    "".join(map(chr, range(0x21, 0x7F))).replace('"', "").replace("%", "")
)  # CloudEvents over HTTP, 3.1.3.2


class FailedPost(NamedTuple):
    """Why an attempt failed.

    Attributes:
        reason: In words that show nothing of the URL's path, the answer or the secret.
        retry_after: Seconds that the receiver asks to be left alone for.
        final: Whether another attempt is of no use.
    """

    reason: str
    retry_after: float = 0.0
    final: bool = False


def signature(secrets: Iterable[bytes], event_id: str, timestamp: int, body: bytes) -> str:
    """The header ``webhook-signature``: one signature for each secret.

    Args:
        event_id: The header ``webhook-id``.
        timestamp: The header ``webhook-timestamp``: seconds since 1970.
    """
    signed = f"{event_id}.{timestamp}.".encode() + body
    made = (hmac.new(secret, signed, hashlib.sha256).digest() for secret in secrets)
    return " ".join(f"v1,{base64.b64encode(one).decode()}" for one in made)


class WebhookDelivery:
    """Delivers to one receiver until cancelled.

    Args:
        source: The ``ce-source`` of its events.
    """

    def __init__(self, log: Log, hook: Webhook, source: str) -> None:
        self._log = log
        self._hook = hook
        self._source = source
        self._secrets = secrets_of(hook)
        self._well = True  # whether the newest attempt succeeded

    async def run(self) -> None:
        """Deliver.

        Raises:
            StepwellError: The subscription cannot be gone on with; the log cannot be used.
        """
        hook = self._hook
        name = f"webhook:{hook.name}"
        async with (
            httpx.AsyncClient(timeout=hook.timeout_seconds, follow_redirects=False) as client,
            Subscription(self._log, hook.events, workflow=hook.workflow, name=name, named=True) as events,
        ):
            async for event in events:
                if not await self._deliver(client, event):
                    events.acknowledge()
                    await events.settle()  # so much time is not to be spent on it again

    async def _deliver(self, client: httpx.AsyncClient, event: EventRecord) -> bool:
        """Deliver an event; False where it was given up."""
        hook, clock = self._hook, asyncio.get_running_loop().time
        head = FeedHead(event.instance_id, event.sequence, event.at, event.workflow, event.life)
        said = attributes(head, event.event, f"{event.offset}.{event.number}", self._source)
        headers = {f"ce-{name}": quote(value, safe=_PLAIN) for name, value in said.items()}
        body = feed_value(head, event.event)
        began, backoff, attempt = clock(), Backoff(_FIRST_DELAY, _LONGEST_DELAY), 1
        while True:
            trouble = await self._attempt(client, headers, body)
            if trouble is None:
                if not self._well:
                    _logger.info("webhook delivers again", webhook=hook.name)
                self._well = True
                return True
            if self._well:
                _logger.warning("webhook fails", webhook=hook.name, to=hook.host, reason=trouble.reason)
            self._well = False
            spread = random.uniform(0.8, 1.2)  # noqa: S311 - not all at one moment
            wait = max(backoff.next() * spread, trouble.retry_after)
            late = clock() + wait - began > hook.give_up_seconds
            if trouble.final or attempt >= hook.max_attempts or late:
                await self._give_up(event, said, body, trouble, attempt)
                return False
            await asyncio.sleep(wait)
            attempt += 1

    async def _attempt(self, client: httpx.AsyncClient, headers: Mapping[str, str], body: bytes) -> FailedPost | None:
        """Post an event once; None where it was taken."""
        hook, event_id, now = self._hook, headers["ce-id"], now_ms() // 1000
        sent = {
            **headers,
            "content-type": CONTENT_TYPE,
            "user-agent": f"stepwell/{__version__}",
            "webhook-id": event_id,
            "webhook-timestamp": str(now),
        }
        if self._secrets:
            sent["webhook-signature"] = signature(self._secrets, event_id, now, body)
        try:
            async with (
                asyncio.timeout(hook.timeout_seconds),
                client.stream("POST", hook.url, content=body, headers=sent) as response,
            ):
                size = 0
                async for part in response.aiter_raw():
                    size += len(part)
                    if size > _ANSWER_BYTES:
                        break
        except (TimeoutError, httpx.TimeoutException):
            return FailedPost(f"no whole answer within {hook.timeout_seconds:g} s")
        except httpx.ConnectError:
            return FailedPost("it takes no connections, or its certificate is not valid")
        except (httpx.HTTPError, httpx.StreamError) as error:
            return FailedPost(f"the connection failed ({type(error).__name__})")
        finally:
            client.cookies.clear()
        if response.is_success:
            return None
        asked = retry_after_seconds(response.headers.get("retry-after", ""))
        return FailedPost(f"answered {response.status_code}", asked or 0.0, response.status_code == _GONE)

    async def _give_up(
        self, event: EventRecord, said: Mapping[str, str], body: bytes, trouble: FailedPost, attempts: int
    ) -> None:
        headers = {
            "reason": trouble.reason,
            "webhook": self._hook.name,
            "attempts": str(attempts),
            "id": said["id"],
            "event_type": said["type"],
        }
        letters = letters_of(event.instance_id, body, headers, self._log.max_record_bytes)
        await self._log.append(DEAD_LETTERS, event.partition, letters)
        _logger.error("event given up, it lies in dead-letters", instance_id=event.instance_id, **headers)


class Webhooks:
    """Delivers to those receivers that the group gives to this process.

    Args:
        hooks: All receivers; every process that shares in the work has to know the same.
        source: The ``ce-source`` of their events.
        told: Called with the names of the receivers that this process delivers to, when they change.
    """

    def __init__(
        self, log: Log, hooks: Sequence[Webhook], source: str, told: Callable[[list[str]], None] | None = None
    ) -> None:
        self._log = log
        self._hooks = hooks
        self._source = source
        self._told = told
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def run(self, at_work: Callable[[], None] | None = None) -> None:
        """Deliver until cancelled, then leave.

        Args:
            at_work: Called once the group has answered.

        Raises:
            StepwellError: What one delivery met that does not pass; the others end with it, so that it is seen.
        """
        membership = await self._log.join(WEBHOOKS)
        changed: asyncio.Task[frozenset[int]] | None = None
        try:
            given = await membership.assignment()
            if at_work is not None:
                at_work()
            while True:
                await self._share(given)
                changed = asyncio.ensure_future(membership.changed(given))
                await asyncio.wait([changed, *self._tasks.values()], return_when=asyncio.FIRST_COMPLETED)
                for task in self._tasks.values():
                    if task.done():
                        task.result()
                        return  # the log was closed
                given = await changed
        finally:
            tasks: list[asyncio.Task[Any]] = [*self._tasks.values(), *([changed] if changed is not None else [])]
            self._tasks = {}
            await cancel_and_wait(*tasks)
            await membership.leave()

    async def _share(self, given: frozenset[int]) -> None:
        ours = {
            hook.name: hook for hook in self._hooks if partition_for(hook.name, self._log.partitions) in given
        }  # fmt: skip
        for name in [name for name in self._tasks if name not in ours]:
            await cancel_and_wait(self._tasks.pop(name))
        fresh = [name for name in ours if name not in self._tasks]
        for name in fresh:
            self._tasks[name] = asyncio.ensure_future(WebhookDelivery(self._log, ours[name], self._source).run())
        if self._told is not None:
            self._told(sorted(ours))
