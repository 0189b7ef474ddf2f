"""The programs of docs/interop.md run as they are shown, but for names of broker and namespace."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stepwell.log.kafka.log import KafkaLog
from tests.interop.test_foreign_clients import CHAIN, HANDLERS, feeding, settings, url  # noqa: F401 - fixtures
from tests.patience import HANG
from tests.workbench import ends, stage, until

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/interop.md").read_text(encoding="utf-8")
PROGRAMS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def program(*words):
    (found,) = [text for text in PROGRAMS if all(word in text for word in words)]
    return found


def run(folder, *arguments, **more):
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{folder}", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        **more,
    )


@pytest.fixture
def here(tmp_path, settings):  # noqa: F811
    def written(name, text):
        text = text.replace("localhost:9092", settings.bootstrap).replace('"stepwell.', f'"{settings.namespace}.')
        text = re.sub(r'FeedRouter\("(\w+)"\)', rf'FeedRouter("\1", namespace="{settings.namespace}")', text)
        (tmp_path / name).write_text(text)
        return tmp_path

    return written


async def test_a_start_by_librdkafka_is_billed_by_a_faststream_application(here, settings, url, tmp_path):  # noqa: F811
    here("start.py", program("Producer").replace('"order",\n', '"w",\n'))
    here("billing.py", program('router = FeedRouter("billing")'))
    log = await KafkaLog.open(settings)
    billing = run(tmp_path, "-m", "faststream", "run", "billing:app")
    os.set_blocking(billing.stdout.fileno(), False)
    said = b""

    def billed():
        nonlocal said
        said += billing.stdout.read() or b""
        assert billing.poll() is None, said.decode()
        return b"order-2 " in said

    try:
        async with feeding(url), stage(log, HANDLERS, CHAIN) as client:
            start = run(tmp_path, "start.py")
            assert start.wait(20) == 0, start.stdout.read().decode()
            start.stdout.close()
            await ends(client, "order-2")
            await until(billed, timeout=HANG)
    finally:
        billing.kill()
        billing.wait()
        billing.stdout.close()
        await log.close()


def test_the_test_that_is_shown_passes_and_types_check_strictly(tmp_path):
    (tmp_path / "billing.py").write_text(program('router = FeedRouter("billing")'))
    (tmp_path / "counting.py").write_text(program("router.batches"))
    (tmp_path / "test_billing.py").write_text(program("TestKafkaBroker"))
    (tmp_path / "served.py").write_text(program("FeedApplication"))
    checked = run(tmp_path, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-o", "asyncio_mode=auto", ".")
    out = checked.communicate(timeout=HANG)[0].decode()
    assert "1 passed" in out, out
    typed = run(
        tmp_path, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "billing.py", "counting.py"
    )
    out = typed.communicate(timeout=HANG)[0].decode()
    assert typed.returncode == 0, out


def test_the_command_that_is_shown_is_one():
    (line,) = re.findall(r"^echo 'order-1:(.*)' \|$", PAGE, re.MULTILINE)
    assert json.loads(line)["type"] == "StartWorkflow"
