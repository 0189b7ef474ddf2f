"""Outcomes on their way: what a queue gives out again meanwhile is settled, too, and not before the outcome is safe."""

import asyncio

from stepwell.consumers.worker.outbox import Outbox
from stepwell.log.port import Delivery


class Queue:
    """A queue whose settlements land when the test says so."""

    def __init__(self):
        self.settled = []

    def settle(self, deliveries, outcomes=()):
        future = asyncio.get_running_loop().create_future()
        self.settled.append((list(deliveries), list(outcomes), future))
        return future


def delivery(value=b"first"):
    return Delivery("default", 7, "one", value, {})


async def test_a_repeat_is_settled_once_the_outcome_of_the_first_is_safe(log):
    queue, reported = Queue(), []
    outbox = Outbox(log, queue, reported.append)
    assert not outbox.is_repeat(delivery())
    sent = outbox.settle(delivery(), None)
    outbox.flush()
    assert outbox.is_repeat(delivery(b"again"))  # after a rebalance the queue gives it out anew
    assert len(queue.settled) == 1
    queue.settled[0][2].set_result(None)
    await sent
    await asyncio.sleep(0)
    assert [one.value for one in queue.settled[1][0]] == [b"again"]
    queue.settled[1][2].set_result(None)
    await asyncio.sleep(0)
    assert not outbox.is_repeat(delivery())
    assert len(queue.settled) == 2


async def test_a_repeat_stays_with_the_queue_where_the_outcome_did_not_arrive(log):
    queue = Queue()
    outbox = Outbox(log, queue, lambda future: future.exception())
    sent = outbox.settle(delivery(), None)
    outbox.flush()
    assert outbox.is_repeat(delivery(b"again"))
    queue.settled[0][2].set_exception(OSError("the disk is full"))
    assert isinstance((await asyncio.gather(sent, return_exceptions=True))[0], OSError)
    await asyncio.sleep(0)
    assert len(queue.settled) == 1
