"""Webhooks, delivered to a real HTTP server that fails, is slow, and dies."""

import asyncio
import base64
import hashlib
import hmac
import json
import os
import sys
import time
from pathlib import Path

import pytest
from http_server import Answer, Server

from stepwell.consumers.outbound import webhooks
from stepwell.consumers.outbound.webhook_file import Webhook, read_webhooks
from stepwell.consumers.outbound.webhooks import WebhookDelivery, Webhooks
from stepwell.consumers.reading.bookmarks import Bookmarks
from stepwell.errors import DefinitionError, PositionGoneError
from stepwell.log.local.log import LocalLog
from stepwell.log.port import DEAD_LETTERS, EVENTS
from tests.patience import HANG
from tests.workbench import ends, handlers_of, running, stage, steps, stop, until, work, workflow

CHAIN = workflow(*steps("a", "b"), output="{{ step_outputs.b.n }}")
OTHER = workflow(*steps("a"), name="other")
SOURCE = "/stepwell/stepwell"
ROOT = Path(__file__).resolve().parents[2]
KEY = b"k" * 32
SECRET = "whsec_" + base64.b64encode(KEY).decode()


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(webhooks, "_FIRST_DELAY", 0.01)
    monkeypatch.setattr(webhooks, "_LONGEST_DELAY", 0.05)
    monkeypatch.setenv("HOOK_SECRET", SECRET)


def hook(server, name="shop", path="/hook", **more):
    return Webhook(name=name, url=server.url(path), events=tuple(more.pop("events", ("*",))), **more)


def ids(seen):
    return [one.headers["webhook-id"] for one in seen]


async def history_ids(client, *names):
    return {f"{name}:{record.sequence}" for name in names for record in await client.history(name)}


async def letters(log):
    found = []
    for partition in range(log.partitions):
        found += await log.read(DEAD_LETTERS, partition, 0)
    return found


async def begun(log, *names):
    async def stored():
        return {info.name for info in await Bookmarks(log).all()} >= {f"webhook:{name}" for name in names}

    await until(stored)


async def test_every_event_is_posted_once_in_order_and_signed(log, server):
    server.answers["/hook"] = Answer(204)
    made = Webhooks(log, [hook(server, secret_env="HOOK_SECRET")], SOURCE)
    async with stage(log, handlers_of(work=work), CHAIN) as client, running(made.run()):
        await begun(log, "shop")
        for number in range(3):
            await client.start("w", {"n": number}, id=f"örder {number}")
        await ends(client, *(f"örder {number}" for number in range(3)))
        expected = [record for number in range(3) for record in await client.history(f"örder {number}")]
        await until(lambda: len(server.seen) == len(expected))
    by_instance = {}
    for one in server.seen:
        value = json.loads(one.body)
        by_instance.setdefault(value["instance_id"], []).append(value["sequence"])
        head = one.headers
        # Checked as a receiver does that has never heard of us: standardwebhooks.com.
        signed = f"{head['webhook-id']}.{head['webhook-timestamp']}.".encode() + one.body
        made = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
        assert head["webhook-signature"] == f"v1,{made}"
        assert abs(int(head["webhook-timestamp"]) - time.time()) < 60
        assert (head["ce-specversion"], head["ce-source"], head["ce-type"]) == ("1.0", SOURCE, value["type"])
        assert head["ce-id"] == head["webhook-id"] == f"%C3%B6rder%20{value['instance_id'][-1]}:{value['sequence']}"
        assert head["content-type"] == "application/json"
        assert value["workflow"] == "w"
    assert by_instance == {f"örder {n}": list(range(1, len(expected) // 3 + 1)) for n in range(3)}
    assert not await letters(log)


async def test_the_signature_is_the_one_of_the_standards_own_example():
    secret = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    made = webhooks.signature([secret, b"other"], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert made.startswith("v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= v1,")


async def test_only_what_was_asked_for_is_posted(log, server):
    server.answers["/hook"] = Answer()
    hooks = [
        hook(server, "ends", events=["workflow.completed", "task.failed"]),
        hook(server, "other", path="/other", events=["workflow.*"], workflow="other"),
    ]
    server.answers["/other"] = Answer()
    parts = Webhooks(log, hooks, SOURCE).run()
    async with stage(log, handlers_of(work=work), CHAIN, OTHER) as client, running(parts):
        await begun(log, "ends", "other")
        await client.start("w", {"n": 1}, id="one")
        await client.start("other", {"n": 1}, id="two")
        await ends(client, "one", "two")
        await until(lambda: len(server.seen) == 4)
    got = [(one.target, one.headers["ce-type"], one.headers["ce-subject"]) for one in server.seen]
    assert sorted(got) == [
        ("/hook", "workflow.completed", "one"),
        ("/hook", "workflow.completed", "two"),
        ("/other", "workflow.completed", "two"),
        ("/other", "workflow.started", "two"),
    ]
    assert "webhook-signature" not in server.seen[0].headers


async def test_a_receiver_that_fails_for_a_while_gets_everything_in_order(log, server):
    server.answers["/hook"] = Answer(500, body=b"down")
    made = Webhooks(log, [hook(server, max_attempts=100)], SOURCE)
    async with stage(log, handlers_of(work=work), CHAIN) as client, running(made.run()):
        await begun(log, "shop")
        await client.start("w", {"n": 1}, id="one")
        await ends(client, "one")
        await until(lambda: len(server.seen) >= 3)
        assert set(ids(server.seen)) == {"one:1"}, "the next one waits for this one"
        failed = len(server.seen)
        server.answers["/hook"] = Answer()
        expected = await history_ids(client, "one")
        await until(lambda: len(set(ids(server.seen))) == len(expected))
    taken = ids(server.seen)[failed:]
    assert taken == [f"one:{number}" for number in range(1, len(expected) + 1)] or taken[1:] == [
        f"one:{number}" for number in range(1, len(expected) + 1)
    ]
    assert not await letters(log)


@pytest.mark.parametrize(
    ("answer", "reason", "attempts"),
    [
        (Answer(500), "answered 500", 3),
        (Answer(302, headers={"Location": "/elsewhere"}), "answered 302", 3),
        (Answer(410), "answered 410", 1),
        (Answer(503, headers={"Retry-After": "3600"}), "answered 503", 1),
        (Answer(wait=5), "no whole answer within 0.1 s", 3),
        (Answer(body=b"x" * 50, trickle=0.05), "no whole answer within 0.1 s", 3),
        (Answer(raw=b"what?\r\n\r\n"), "the connection failed (RemoteProtocolError)", 3),
        (Answer(raw=b""), "the connection failed (RemoteProtocolError)", 3),
    ],
)
async def test_what_is_given_up_becomes_a_dead_letter_and_delivery_goes_on(log, server, answer, reason, attempts):
    server.answers["/hook"] = answer
    patience = 0.1 if reason.startswith("no whole answer") else HANG  # on a busy machine, other answers take longer
    one = hook(server, path="/hook?key=hidden", events=["workflow.*"], timeout_seconds=patience, max_attempts=3)
    async with stage(log, handlers_of(work=work), CHAIN) as client, running(Webhooks(log, [one], SOURCE).run()):
        await begun(log, "shop")
        await client.start("w", {"n": 1}, id="one")
        await ends(client, "one")

        async def both():
            return len(await letters(log)) == 2

        await until(both)
    first, second = await letters(log)
    assert first.headers == {
        "reason": reason, "webhook": "shop", "attempts": str(attempts), "id": "one:1", "event_type": "workflow.started",
    }  # fmt: skip
    assert json.loads(first.value)["type"] == "workflow.started"
    assert json.loads(second.value)["type"] == "workflow.completed"
    assert {seen.target for seen in server.seen} == {"/hook?key=hidden"}, "no redirect is followed"
    assert not any(b"hidden" in letter.value or "hidden" in str(letter.headers) for letter in (first, second))


async def test_a_receiver_that_asks_for_a_pause_gets_it(log, server):
    server.answers["/hook"] = Answer(429, headers={"Retry-After": "1"})
    one = hook(server, events=["workflow.started"])
    async with stage(log, handlers_of(work=work), CHAIN) as client, running(Webhooks(log, [one], SOURCE).run()):
        await begun(log, "shop")
        await client.start("w", {"n": 1}, id="one")
        await until(lambda: server.seen)
        began = time.monotonic()
        server.answers["/hook"] = Answer()
        await until(lambda: len(server.seen) == 2)
        assert time.monotonic() - began > 0.8


async def test_a_receiver_that_is_not_there_is_waited_for(log, server):
    async with Server() as gone:
        one = hook(gone, events=["workflow.started"], max_attempts=100)
    async with stage(log, handlers_of(work=work), CHAIN) as client, running(Webhooks(log, [one], SOURCE).run()):
        await begun(log, "shop")
        await client.start("w", {"n": 1}, id="one")
        back = Server()
        back.answers["/hook"] = Answer()
        back.server = await asyncio.start_server(back.serve, "127.0.0.1", gone.port)
        await until(lambda: ids(back.seen) == ["one:1"])
        back.server.close()
        await back.server.wait_closed()


async def test_receivers_do_not_wait_for_each_other(log, server):
    server.answers |= {"/slow": Answer(wait=60), "/quick": Answer()}
    hooks = [hook(server, "slow", "/slow", timeout_seconds=60), hook(server, "quick", "/quick")]
    async with stage(log, handlers_of(work=work), CHAIN) as client, running(Webhooks(log, hooks, SOURCE).run()):
        await begun(log, "slow", "quick")
        await client.start("w", {"n": 1}, id="one")
        await ends(client, "one")
        expected = await history_ids(client, "one")
        await until(lambda: {*ids([s for s in server.seen if s.target == "/quick"])} == expected)


async def test_several_processes_share_the_receivers_and_one_takes_over(open_log, server):
    log, first, second = await open_log(partitions=4), await open_log(), await open_log()
    hooks = [hook(server, f"h{number}", f"/{number}", events=["workflow.started"]) for number in range(8)]
    server.answers |= {f"/{number}": Answer() for number in range(8)}
    shares = {}
    parts = [
        asyncio.ensure_future(Webhooks(one, hooks, SOURCE, lambda names, n=n: shares.update({n: names})).run())
        for n, one in enumerate((first, second))
    ]
    async with stage(log, handlers_of(work=work), CHAIN) as client:
        await begun(log, *(one.name for one in hooks))
        await until(
            lambda: len(shares) == 2 and len({*shares[0], *shares[1]}) == 8 == len(shares[0]) + len(shares[1])
        )
        assert shares[0]
        assert shares[1]
        await client.start("w", {"n": 1}, id="one")
        await until(lambda: len(server.seen) == 8)
        await stop(parts[0])
        await until(lambda: len(shares[1]) == 8)
        await client.start("w", {"n": 1}, id="two")
        await until(lambda: len([i for i in ids(server.seen) if i == "two:1"]) >= 8)
        await ends(client, "one", "two")
    await stop(parts[1])
    assert ids(server.seen).count("two:1") == 8
    assert {one.target for one in server.seen} == {f"/{number}" for number in range(8)}


async def test_a_killed_process_loses_nothing_and_goes_on_where_it_was(tmp_path, server):
    server.answers["/hook"] = Answer()
    path = tmp_path / "log.db"
    hooks = tmp_path / "hooks.yaml"
    hooks.write_text(f"- {{name: shop, url: '{server.url('/hook')}', events: ['*'], secret_env: HOOK_SECRET}}\n")
    url = f"file:{path}?synchronous=normal"
    argv = [sys.executable, "-m", "stepwell", "webhooks", str(hooks), "--log", url, "--json"]
    environment = {**os.environ, "PYTHONPATH": os.getcwd()}  # noqa: PTH109

    async def process():
        return await asyncio.create_subprocess_exec(
            *argv, env=environment, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
        )

    log = await LocalLog.open(path, durability="normal", partitions=2)
    try:
        async with stage(log, handlers_of(work=work), CHAIN) as client:
            child = await process()
            await begun(log, "shop")
            for number in range(10):
                await client.start("w", {"n": number}, id=f"i{number}")
                if number == 5:
                    await until(lambda: len(server.seen) > 5)
                    child.kill()
                    await child.wait()
            names = [f"i{number}" for number in range(10)]
            await ends(client, *names)
            child = await process()
            expected = await history_ids(client, *names)
            await until(lambda: {*ids(server.seen)} == expected, timeout=HANG)
            firsts = [one for number, one in enumerate(ids(server.seen)) if one not in ids(server.seen)[:number]]
            for name in names:
                own = [int(one.rpartition(":")[2]) for one in firsts if one.startswith(f"{name}:")]
                assert own == sorted(own), "in order"
            child.terminate()
            assert await child.wait() == 0
    finally:
        await log.close()


async def test_a_webhook_that_retention_has_overtaken_is_told_and_not_passed_over(log, server):
    await Bookmarks(log).store("webhook:shop", "1", 1)
    async with stage(log, handlers_of(work=work), CHAIN) as client:
        await client.start("w", {"n": 1}, id="one")
        await ends(client, "one")
    await log.delete_before(EVENTS, 0, 3)
    with pytest.raises(PositionGoneError, match="deleted before they were read"):
        await Webhooks(log, [hook(server)], SOURCE).run()


async def test_the_receiver_that_the_docs_show_takes_what_is_genuine_and_nothing_else(log, tmp_path):
    page = (ROOT / "docs/events.md").read_text()
    path = tmp_path / "receiver.py"
    path.write_text(page[page.index("`receiver.py`:") :].split("```python\n")[1].split("```")[0])
    async with Server() as free:
        port = free.port
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(path), str(port),
        env={**os.environ, "BILLING_SECRET": SECRET}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
    )  # fmt: skip
    url, wanted = f"http://127.0.0.1:{port}/", ("workflow.*",)
    genuine = Webhook("genuine", url, wanted, secret_env="HOOK_SECRET", max_attempts=100)
    forged = Webhook("forged", url, wanted, max_attempts=1)
    made = Webhooks(log, [genuine], SOURCE)
    async with stage(log, handlers_of(work=work), CHAIN) as client:
        async with running(made.run()):
            await begun(log, "genuine")
            await client.start("w", {"n": 1}, id="one")
            told = [(await child.stdout.readline()).decode().split() for _ in range(2)]
        assert [kind for _, kind in told] == ["workflow.started", "workflow.completed"]
        async with running(Webhooks(log, [forged], SOURCE).run()):
            await begun(log, "forged")
            await client.start("w", {"n": 1}, id="two")

            async def given_up():
                return [letter.headers["reason"] for letter in await letters(log)] == ["answered 401"] * 2

            await until(given_up)
    child.kill()
    assert await child.stdout.read() == b""
    await child.wait()


# --- the file -------------------------------------------------------------------------------------------------


def test_a_file_is_read_as_yaml_or_json(tmp_path):
    path = tmp_path / "hooks.yaml"
    path.write_text("webhooks:\n- {name: a, url: 'https://a.example/x', events: [workflow.*], secret_env: S}\n")
    (one,) = read_webhooks(path, {"S": f"{SECRET} {SECRET}"})
    assert (one.name, one.host, one.events, one.max_attempts) == ("a", "https://a.example", ("workflow.*",), 10)
    path.write_text(json.dumps([{"name": "b", "url": "http://b:80/", "events": ["*"], "workflow": "w"}]))
    assert read_webhooks(path)[0].workflow == "w"


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ({"url": "ftp://x/"}, "line 4: [1].url: is to begin with https://"),
        ({"url": "https://u:hidden@x/"}, "line 4: [1].url: holds a password"),
        ({"url": "https://x/#a"}, "line 4: [1].url: has a fragment"),
        ({"url": "https://x:hidden/"}, "line 4: [1].url: is no URL"),
        ({"name": "ok"}, 'line 3: [1].name: "ok" is given twice'),
        ({"name": "a b"}, "line 3: [1].name: has 1 to 100 letters"),
        ({"events": []}, "line 5: [1].events: names no event"),
        ({"events": ["*", "task.faild"]}, "line 7: [1].events[1]: no event is called 'task.faild'"),
        ({"events": "workflow.*"}, "line 5: [1].events: expected a list"),
        ({"evnts": 1}, 'line 3: [1]: unknown key "evnts", did you mean "events"?'),
        ({"max_attempts": 0}, "[1].max_attempts: expected a whole number of at least 1"),
        ({"secret_env": "NOT_THERE"}, "[1].secret_env: the environment variable NOT_THERE is not set"),
        ({"secret_env": "SHORT"}, "[1].secret_env: what SHORT holds is no secret"),
        ({"secret_env": "whsec_hidden=="}, "[1].secret_env: is to be the name of an environment variable"),
        ({"workflow": ""}, "[1].workflow: is empty"),
    ],
)  # fmt: skip
def test_a_file_with_a_mistake_is_refused_with_its_place_and_line(tmp_path, entry, told):
    import yaml

    path = tmp_path / "hooks.yaml"
    good = {"name": "ok", "url": "https://x/", "events": ["*"]}
    second = {"name": "second", "url": "https://x/", "events": ["*"], **entry}
    path.write_text(
        "# two\n" + json.dumps([good]).strip("[]").join(("- ", "\n")) + yaml.safe_dump([second], sort_keys=False)
    )
    with pytest.raises(DefinitionError) as caught:
        read_webhooks(path, {"SHORT": "whsec_aGlkZGVu"})
    assert told in str(caught.value)
    assert str(path) in str(caught.value)
    assert "hidden" not in str(caught.value)
    assert "aGlkZGVu" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "name: x", "webhooks: 3", "- 3", "[", '{"webhooks": [], "more": 1}'])
def test_a_file_that_is_no_list_of_webhooks_is_refused(tmp_path, text):
    path = tmp_path / "hooks.yaml"
    path.write_text(text)
    with pytest.raises(DefinitionError):
        read_webhooks(path)


def test_a_receiver_whose_secret_is_gone_is_not_delivered_to():
    with pytest.raises(ValueError, match="is not set"):
        WebhookDelivery(None, Webhook(name="x", url="https://x/", events=("*",), secret_env="NOT_THERE"), SOURCE)
