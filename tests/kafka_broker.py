"""A real Kafka broker for tests.

The one that ``STEPWELL_TEST_KAFKA`` names (``host:port``); else one in Docker, where an engine runs; else one from its
jars, by ``deploy/kafka``. Where none can be had, the tests fail: a skipped broker proves nothing.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from stepwell.log.kafka.settings import KafkaSettings
from tests.patience import HANG

SCRIPT = Path(__file__).parent.parent / "deploy" / "kafka"
IMAGE = "apache/kafka:4.3.1"
# Sessions as short as tests want them; Kafka's least is 6 s.
PROPERTIES = {"group.min.session.timeout.ms": "500", "group.initial.rebalance.delay.ms": "0"}


class Broker:
    """A broker that ``deploy/kafka`` has started; some tests stop it and start it again."""

    def __init__(self, data: Path, *arguments: str) -> None:
        self.data = data
        settings = [part for name, value in PROPERTIES.items() for part in ("--set", f"{name}={value}")]
        self.state = json.loads(self.run("up", "--port", "0", "--json", *settings, *arguments))

    @property
    def bootstrap(self) -> str:
        return self.state["bootstrap"]

    def run(self, verb: str, *arguments: str) -> str:
        return run(verb, "--data", str(self.data), *arguments)


def run(*arguments: str) -> str:
    """Run ``deploy/kafka``."""
    command = [str(SCRIPT), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stderr}")
    return done.stdout


@contextmanager
def local_broker(*arguments: str) -> Iterator[Broker]:
    """A broker from its jars."""
    data = Path(tempfile.mkdtemp(prefix="stepwell-kafka-"))
    try:
        broker = Broker(data / "data", *arguments)
        try:
            yield broker
        finally:
            broker.run("down", "--wipe")
    finally:
        shutil.rmtree(data, ignore_errors=True)


def _in_docker(place: Path) -> str:
    """Start a broker in Docker; the place names it from then on."""
    settings = [
        part
        for name, value in PROPERTIES.items()
        for part in ("-e", f"KAFKA_{name.replace('.', '_').upper()}={value}")
    ]
    port = 39092
    listeners = ["-e", f"KAFKA_ADVERTISED_LISTENERS=PLAINTEXT://127.0.0.1:{port}"]
    run = ["docker", "run", "-d", "--rm", "-p", f"127.0.0.1:{port}:9092", *settings, *listeners, IMAGE]
    name = subprocess.run(run, capture_output=True, text=True, check=True).stdout.strip()
    (place / "container").write_text(name)
    tool = ["/opt/kafka/bin/kafka-topics.sh", "--bootstrap-server", "127.0.0.1:9092", "--list"]
    deadline = time.monotonic() + HANG
    while subprocess.run(["docker", "exec", name, *tool], capture_output=True, check=False).returncode:
        if time.monotonic() > deadline:
            raise RuntimeError("the broker in Docker did not become ready")
        time.sleep(0.2)
    return f"127.0.0.1:{port}"


def settings_for(bootstrap: str, *, partitions: int = 2, session_timeout: float = 1.5) -> KafkaSettings:
    """Settings of a log of a test's own, which is patient with a broker that has hardly any processor left."""
    return KafkaSettings(
        bootstrap,
        namespace=f"test-{secrets.token_hex(4)}",
        partitions=partitions,
        session_timeout=session_timeout,
        connect_timeout=HANG,
        append_timeout=HANG,
    )


def url_of(settings: KafkaSettings) -> str:
    """The same as a URL, for other processes."""
    return (
        f"kafka://{settings.bootstrap}?namespace={settings.namespace}&partitions={settings.partitions}"
        f"&session_timeout={settings.session_timeout}&connect_timeout={HANG}&append_timeout={HANG}"
    )


async def forget(bootstrap: str, namespace: str) -> None:
    """Delete a test's topics: a broker that keeps those of hundreds of tests gets slow."""
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    mine = [topic for topic in await admin.list_topics() if topic.startswith(f"{namespace}.")]
    await admin.delete_topics(mine)
    await admin.close()


def shared_broker(place: Path) -> str:
    """Where the broker of a whole run of tests listens. Of its processes, the first that asks starts it.

    Args:
        place: A directory that all of them know; ``end_shared_broker`` ends what was started there.
    """
    named = os.environ.get("STEPWELL_TEST_KAFKA")
    if named:
        return named
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        told = place / "bootstrap"
        if not told.exists():
            in_docker = subprocess.run(["sh", "-c", "docker info"], capture_output=True, check=False).returncode == 0
            told.write_text(_in_docker(place) if in_docker else Broker(place / "kafka").bootstrap)
        return told.read_text()


def end_shared_broker(place: Path) -> None:
    """End what ``shared_broker`` has started, if it was asked at all."""
    container, data = place / "container", place / "kafka"
    if container.exists():
        subprocess.run(["docker", "rm", "-f", container.read_text()], capture_output=True, check=False)
    elif (data / "state.json").exists():
        run("down", "--data", str(data), "--wipe")
