"""A user's FastStream application against the feed, in FastStream's in-memory broker."""

import logging
import subprocess
import sys
from typing import Annotated, Any

import msgspec
import pytest
from faststream import Context, Depends, FastStream
from faststream.kafka import KafkaBroker, TestKafkaBroker
from faststream.specification.asyncapi import AsyncAPI

from stepwell.errors import StepwellError
from stepwell.faststream import FeedRouter, FeedRouterError, Happened, feed_message
from stepwell.schemas.records.events import (
    CommandNoted,
    ErrorInfo,
    StepFailed,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowStarted,
)
from tests.patience import HANG

STARTED = WorkflowStarted(workflow="order", version="1", definition="d", input={"n": 1})


def broker_of(router):
    broker = KafkaBroker("localhost:9092", logger=None)
    broker.include_router(router)
    return broker


async def test_functions_get_the_events_they_ask_for_typed():
    router, seen = FeedRouter("billing", namespace="shop"), []

    @router.on("workflow.completed")
    async def completed(happened: Happened[WorkflowCompleted]) -> None:
        seen.append(("completed", happened))

    @router.on("workflow.failed", "step.f*")
    async def failed(happened: Happened[Any]) -> None:
        seen.append(("failed", happened))

    async with TestKafkaBroker(broker_of(router)) as broker:
        one = {"instance_id": "order-1", "workflow": "order", "namespace": "shop"}
        await broker.publish(**feed_message(STARTED, **one))
        await broker.publish(**feed_message(StepFailed("a", 1, ErrorInfo("E")), sequence=2, **one))
        await broker.publish(**feed_message(WorkflowCompleted({"n": 2}), sequence=3, at=5, position=(7, 1), **one))
        await broker.publish(**feed_message(WorkflowFailed(ErrorInfo("E")), instance_id="x", namespace="other"))
        await broker.publish(b"not ours", topic="shop.feed")
    assert [(who, type(happened.event)) for who, happened in seen] == [
        ("failed", StepFailed),
        ("completed", WorkflowCompleted),
    ]
    assert seen[1][1] == Happened(
        id="order-1:3",
        type="workflow.completed",
        instance_id="order-1",
        workflow="order",
        sequence=3,
        at=5,
        partition=0,
        position=(7, 1),
        event=WorkflowCompleted({"n": 2}),
    )


async def test_functions_may_use_all_of_faststream():
    router, seen = FeedRouter("billing"), []

    def doubled(happened: Happened[WorkflowCompleted]) -> int:
        return happened.event.output * 2

    @router.on("workflow.completed")
    async def completed(
        happened: Happened[WorkflowCompleted],
        twice: Annotated[int, Depends(doubled)],
        key: Annotated[bytes, Context("message.raw_message.key")],
    ) -> None:
        seen.append((happened.event.output, twice, key))

    async with TestKafkaBroker(broker_of(router)) as broker:
        await broker.publish(**feed_message(WorkflowCompleted(21), instance_id="order-1"))
    assert seen == [(21, 42, b"order-1")]


async def test_a_batch_is_decoded_at_once_and_holds_only_what_was_asked_for():
    router, seen = FeedRouter("analysis"), []

    @router.batches("workflow.*")
    async def many(batch: list[Happened[Any]]) -> None:
        seen.append([happened.event for happened in batch])

    async with TestKafkaBroker(broker_of(router)) as broker:
        for event in (STARTED, CommandNoted("PauseWorkflow"), WorkflowCompleted(1)):
            await broker.publish(**feed_message(event, instance_id="order-1"))
    assert seen == [[STARTED], [WorkflowCompleted(1)]]


async def test_what_a_function_raises_is_raised_in_a_test():
    router = FeedRouter("billing", retry_delay=0)

    @router.on("workflow.*")
    async def broken(happened: Happened[Any]) -> None:
        raise ValueError(happened.id)

    async with TestKafkaBroker(broker_of(router)) as broker:
        with pytest.raises(ValueError, match="order-1:1"):
            await broker.publish(**feed_message(STARTED, instance_id="order-1"))


async def test_a_record_that_cannot_be_read_is_an_error_not_a_skip():
    router = FeedRouter("billing", retry_delay=0)

    @router.on("workflow.*")
    async def never(happened: Happened[Any]) -> None: ...

    message = feed_message(STARTED, instance_id="order-1")
    async with TestKafkaBroker(broker_of(router)) as broker:
        with pytest.raises(msgspec.ValidationError):
            await broker.publish(**{**message, "message": b'{"type":"workflow.started"}'})


def test_subscriptions_that_could_not_do_what_they_say_are_refused():
    router = FeedRouter("billing")
    with pytest.raises(FeedRouterError, match=r"(?s)no event is called 'workflow.compleeted'.*workflow.completed"):
        router.on("workflow.compleeted")
    with pytest.raises(FeedRouterError, match="no event is called"):
        router.on()

    @router.on("workflow.completed")
    async def first(happened: Happened[Any]) -> None: ...

    with pytest.raises(FeedRouterError, match="goes to first already, so second would never see it"):

        @router.on("workflow.*")
        async def second(happened: Happened[Any]) -> None: ...

    with pytest.raises(StepwellError, match="another group_id"):
        router.batches("*")


def test_an_application_with_such_a_router_can_describe_itself():
    router = FeedRouter("billing")

    @router.on("workflow.completed")
    async def completed(happened: Happened[WorkflowCompleted]) -> None:
        """Bill it."""

    app = FastStream(broker_of(router), specification=AsyncAPI(schema_version="3.0.0"))
    assert "stepwell.feed" in app.schema.to_specification().to_json()
    logging.getLogger("faststream").handlers.clear()


def without(package, code):
    hide = f"import sys; sys.modules[{package!r}] = None; {code}"
    return subprocess.run([sys.executable, "-c", hide], capture_output=True, text=True, timeout=HANG)


def test_without_faststream_the_error_names_the_extra():
    done = without("faststream", "import stepwell.faststream")
    assert "pip install 'stepwell[faststream]'" in done.stderr.splitlines()[-1]
    verb = "sys.argv[1:] = ['feed', '--log', 'kafka://localhost:1']; from stepwell.cli.main import entry; entry()"
    done = without("faststream", verb)
    assert done.returncode == 2
    assert "pip install 'stepwell[faststream]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_feed_of_a_file_log_is_refused_in_words(tmp_path):
    command = [sys.executable, "-m", "stepwell", "feed", "--log", f"file:{tmp_path / 'log.db'}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=HANG)
    assert done.returncode == 2
    assert "the feed is for Kafka" in done.stderr
    assert "Traceback" not in done.stderr
