"""``stepwell webhooks`` and ``stepwell subscriptions``."""

import asyncio

from stepwell.consumers.reading.bookmarks import Bookmarks
from stepwell.log.local.log import LocalLog

HOOKS = """
webhooks:
  - name: billing
    url: https://billing.example/hooks/hidden-path
    events: [workflow.completed]
    secret_env: BILLING_SECRET
  - {name: chat, url: 'http://chat.example:8065/', events: [task.failed], workflow: order}
"""
SECRET = "whsec_" + "a2V5" * 8


def test_a_file_is_checked_before_it_is_used(shell):
    shell.write("hooks.yaml", HOOKS)
    shell.env["BILLING_SECRET"] = SECRET
    told = shell("webhooks", "hooks.yaml", "--check").stdout
    assert "billing  https://billing.example  workflow.completed  signed" in told
    assert "chat     http://chat.example:8065  task.failed of order  not signed" in told
    found = shell.json("webhooks", "hooks.yaml", "--check")["webhooks"]
    assert [(hook["name"], hook["signed"]) for hook in found] == [("billing", True), ("chat", False)]
    assert "hidden" not in told
    assert "hidden" not in str(found)


def test_a_mistake_is_told_with_its_line_and_nothing_is_begun(shell):
    shell.write("hooks.yaml", HOOKS)
    for check in ((), ("--check",)):
        wrong = shell("webhooks", "hooks.yaml", *check, status=2)
        assert "hooks.yaml: line 6: webhooks[0].secret_env: the environment variable BILLING_SECRET is not set" in (
            wrong.stderr
        )
        assert "Traceback" not in wrong.stderr
    assert not (shell.directory / ".stepwell").exists()


def test_durable_names_are_shown_and_forgotten(shell):
    log = ("--log", "file:log.db")

    async def stored():
        opened = await LocalLog.open(shell.directory / "log.db", partitions=2)
        await Bookmarks(opened).store("billing", "x-x", 1_700_000_000_000)
        await opened.close()

    asyncio.run(stored())
    assert "billing        0 behind" in shell("subscriptions", *log).stdout
    (found,) = shell.json("subscriptions", *log)["subscriptions"]
    assert found == {"name": "billing", "position": "x-x", "lag": 0, "at": 1_700_000_000_000}
    wrong = shell("subscriptions", "--forget", "biling", *log, status=2)
    assert "there is no durable name 'biling'" in wrong.stderr
    assert "forgotten: billing" in shell("subscriptions", "--forget", "billing", *log).stdout
    assert shell("subscriptions", *log).stdout == "no durable names\n"
