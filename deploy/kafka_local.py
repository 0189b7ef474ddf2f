"""A real Apache Kafka on this machine, from its published jars: no image, no installation.

Needs Java 17 or newer, and Maven to download the jars once. Brokers are KRaft nodes (broker and controller in one
JVM), one of them or three, for development and tests; do not run your business on it.

    deploy/kafka up                     one broker on port 9092, its data in .stepwell/kafka
    deploy/kafka up --brokers 3         three, on 9092 to 9094
    deploy/kafka status | down          how they are; stop them (--wipe: and forget their data)
    deploy/kafka kill --node 2          SIGKILL one of them, as a crash would
    deploy/kafka start-node --node 2    and start it again

Jars, and an archive of loaded classes that makes a broker start in 2 to 4 seconds, are kept in
$STEPWELL_KAFKA_HOME (default ~/.cache/stepwell-kafka).
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

VERSION = "4.3.1"  # 4.4.0 was published with a POM that Maven cannot resolve
HOME = Path(os.environ.get("STEPWELL_KAFKA_HOME") or "~/.cache/stepwell-kafka").expanduser()
HEAP = os.environ.get("STEPWELL_KAFKA_HEAP", "384m")
HOST = "127.0.0.1"
CLUSTER = (
    "c3RlcHdlbGwtbG9jYWwhIQ"  # 16 bytes in base64, as Kafka wants it; fixed, so that a formatted disk can be copied
)
ROOM_TO_STOP = 20.0  # seconds for a clean shutdown
COPY = "org.apache.maven.plugins:maven-dependency-plugin:3.6.1:copy-dependencies"

POM = """<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>stepwell</groupId><artifactId>local-kafka</artifactId><version>1</version><packaging>pom</packaging>
  <dependencies>
    <dependency>
      <groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>{version}</version>
    </dependency>
    <dependency>
      <groupId>org.slf4j</groupId><artifactId>slf4j-jdk14</artifactId><version>1.7.36</version>
    </dependency>
  </dependencies>
</project>
"""
LOGGING = """handlers=java.util.logging.ConsoleHandler
.level=WARNING
java.util.logging.ConsoleHandler.formatter=java.util.logging.SimpleFormatter
java.util.logging.SimpleFormatter.format=%1$tF %1$tT.%1$tL %4$s %3$s %5$s%6$s%n
"""


def fail(text: str) -> SystemExit:
    """An end with one line for people."""
    return SystemExit(f"deploy/kafka: {text}")


# --- the jars -------------------------------------------------------------------------------------------------


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Only one process at a time prepares what all of them share."""
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def check_java() -> None:
    """Say what is missing before a stack trace does."""
    if shutil.which("java") is None:
        raise fail("java was not found; install a Java runtime, version 17 or newer")
    said = subprocess.run(["java", "-version"], capture_output=True, text=True, check=False).stderr
    number = said.partition('version "')[2].partition('"')[0].partition(".")[0]
    if number.isdigit() and int(number) < 17:
        raise fail(f"java is version {number}; Kafka {VERSION} needs 17 or newer")


class Jars:
    """What is downloaded and prepared once."""

    def __init__(self, version: str) -> None:
        self.version = version
        self.root = HOME / version

    def prepare(self) -> None:
        """Have the jars and the class archive in place."""
        check_java()
        with locked(self.root):
            if not (self.root / ".downloaded").exists():
                self._download()
            if not self.archive.exists():
                self._archive()

    def _download(self) -> None:
        if shutil.which("mvn") is None:
            raise fail("mvn was not found; install Maven: it downloads Kafka's jars, once")
        print(f"downloading Kafka {self.version} to {self.root}", file=sys.stderr)
        pom = self.root / "pom.xml"
        pom.write_text(POM.format(version=self.version))
        command = [
            "mvn",
            "-B",
            "-q",
            "-f",
            str(pom),
            COPY,
            f"-DoutputDirectory={self.root}/lib",
            "-DincludeScope=runtime",
        ]
        if subprocess.run(command, stdout=sys.stderr, check=False).returncode:
            raise fail("Maven could not download Kafka's jars (see above)")
        (self.root / "logging.properties").write_text(LOGGING)
        (self.root / ".downloaded").touch()

    @property
    def archive(self) -> Path:
        return self.root / "classes.jsa"

    def _archive(self) -> None:
        """Run a broker once to see which classes it loads (AppCDS): later ones start in a third of the time."""
        data = self.root / "training"
        shutil.rmtree(data, ignore_errors=True)
        cluster = Cluster(data)
        try:
            cluster.start(self, brokers=1, port=0, settings={}, sasl=None, dump=True)
        finally:
            cluster.stop()  # cleanly: the archive is written at the exit
            shutil.rmtree(data, ignore_errors=True)

    def java(self, *, dump: bool = False, brief: bool = False) -> list[str]:
        """The command line up to the main class."""
        command = ["java", f"-Xms{HEAP}", f"-Xmx{HEAP}", "-XX:+UseSerialGC", "-XX:-UsePerfData"]
        command += ["-Djava.awt.headless=true", "-Djava.net.preferIPv4Stack=true"]
        command += [f"-Djava.util.logging.config.file={self.root}/logging.properties"]
        if brief:
            command += ["-XX:TieredStopAtLevel=1"]
        if dump:
            command += [f"-XX:ArchiveClassesAtExit={self.archive}"]
        elif self.archive.exists():
            command += [
                f"-XX:SharedArchiveFile={self.archive}",
                "-Xshare:auto",
                "-Xlog:cds=off",
                "-Xlog:cds+dynamic=off",
            ]
        # The archive holds for one class path, written out in one order.
        return [*command, "-cp", ":".join(map(str, sorted((self.root / "lib").glob("*.jar"))))]

    def formatted(self, node: int, brokers: int, properties: Path, target: Path) -> None:
        """A disk as Kafka wants to find it. Made once, then copied: a JVM saved for every broker."""
        template = self.root / f"disk-{node}-of-{brokers}"
        if not template.exists():
            tool = ["kafka.tools.StorageTool", "format", "-t", CLUSTER, "-c", str(properties), "--ignore-formatted"]
            made = subprocess.run([*self.java(brief=True), *tool], capture_output=True, text=True, check=False)
            if made.returncode:
                raise fail(f"the disk could not be formatted:\n{made.stdout}{made.stderr}")
            fresh = template.with_name(f"{template.name}.{os.getpid()}")
            shutil.copytree(target, fresh)
            with suppress(OSError):  # another process has just made the same
                fresh.rename(template)
        shutil.copytree(template, target, dirs_exist_ok=True)


# --- processes ------------------------------------------------------------------------------------------------


def birth(pid: int) -> str:
    """When a live process began, by the kernel: with its number it names one process, even once that is reused."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        said = subprocess.run(
            ["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False
        )
        state, _, began = said.stdout.strip().partition(" ")
        return "" if not state or state.startswith("Z") else began.strip()
    return "" if fields[0] == "Z" else fields[19]


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, below those that the kernel gives to outgoing connections."""
    found: list[int] = []
    while len(found) < count:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind((HOST, port))
            if port not in found:
                found.append(port)
    return found


def brokers_seen(port: int) -> int:
    """How many brokers a broker knows: it answers only once it is ready. Metadata request, version 1, all topics."""
    request = struct.pack(">hhih8si", 3, 1, 1, 8, b"stepwell", 0)
    try:
        with socket.create_connection((HOST, port), 0.5) as connection:
            connection.sendall(struct.pack(">i", len(request)) + request)
            answer = b""
            while len(answer) < 12:
                some = connection.recv(4096)
                if not some:
                    return 0
                answer += some
    except OSError:
        return 0
    return int.from_bytes(answer[8:12], "big")


class Cluster:
    """The brokers whose data is in one directory; what is known of them stands in its ``state.json``."""

    def __init__(self, data: Path) -> None:
        self.data = data.resolve()
        self._state_file = self.data / "state.json"
        self.state: dict[str, Any] = json.loads(self._state_file.read_text()) if self._state_file.exists() else {}

    def known(self) -> Cluster:
        if not self.state:
            raise fail(f"there is no local Kafka in {self.data}; `deploy/kafka up` starts one")
        return self

    @property
    def nodes(self) -> list[dict[str, Any]]:
        nodes: list[dict[str, Any]] = self.state.get("nodes", [])
        return nodes

    @staticmethod
    def alive(node: Mapping[str, Any]) -> bool:
        return bool(node["birth"]) and birth(node["pid"]) == node["birth"]

    @property
    def bootstrap(self) -> str:
        return ",".join(f"{HOST}:{node['port']}" for node in self.nodes)

    def start(
        self,
        jars: Jars,
        *,
        brokers: int,
        port: int,
        settings: Mapping[str, str],
        sasl: str | None,
        dump: bool = False,
    ) -> None:
        """Start brokers; on a directory with data they go on with it, on the same ports."""
        if any(map(self.alive, self.nodes)):
            raise fail(f"already up: {self.bootstrap}")
        if not self.state:
            if self.data.exists() and any(self.data.iterdir()):
                raise fail(f"{self.data} is not empty, and no data of ours")
            self.data.mkdir(parents=True, exist_ok=True)
            ports = free_ports(3 * brokers)
            plain = [port + number for number in range(brokers)] if port else ports[:brokers]
            rest = iter(ports[brokers:])
            self.state = {"version": jars.version, "sasl": sasl, "settings": dict(settings)}
            self.state["nodes"] = [
                {"port": one, "controller": next(rest), "sasl_port": next(rest), "pid": 0, "birth": ""}
                for one in plain
            ]
        for number, node in enumerate(self.nodes, 1):
            self._configure(number, node)
            if not self._disk(number).exists():
                jars.formatted(number, brokers, self._properties(number), self._disk(number))
        for number in range(1, brokers + 1):
            self._launch(jars, number, dump=dump)
        self._await_ready(self.nodes)

    def _disk(self, number: int) -> Path:
        return self.data / f"disk-{number}"

    def _properties(self, number: int) -> Path:
        return self.data / f"broker-{number}.properties"

    def _configure(self, number: int, node: Mapping[str, Any]) -> None:
        copies, least = (3, 2) if len(self.nodes) >= 3 else (1, 1)
        voters = ",".join(f"{i}@{HOST}:{one['controller']}" for i, one in enumerate(self.nodes, 1))
        outside = [f"PLAINTEXT://{HOST}:{node['port']}"]
        if self.state["sasl"]:
            outside.append(f"SASL_PLAINTEXT://{HOST}:{node['sasl_port']}")
        values: dict[str, Any] = {
            "process.roles": "broker,controller",
            "node.id": number,
            "controller.quorum.voters": voters,
            "listeners": ",".join([*outside, f"CONTROLLER://{HOST}:{node['controller']}"]),
            "advertised.listeners": ",".join(outside),
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": (
                "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT"
            ),
            "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": self._disk(number),
            "default.replication.factor": copies,
            "min.insync.replicas": least,
            "offsets.topic.replication.factor": copies,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": copies,
            "transaction.state.log.min.isr": least,
            "transaction.state.log.num.partitions": 4,
            "unclean.leader.election.enable": "false",
            "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": 0,
            # Small and quick: for one machine and a handful of clients.
            "num.network.threads": 2,
            "num.io.threads": 4,
            "background.threads": 2,
            "log.cleaner.dedupe.buffer.size": 8 << 20,
            "log.segment.bytes": 64 << 20,
            "log.index.size.max.bytes": 1 << 20,  # reserved for every segment; 10 MB by default
            "initial.broker.registration.timeout.ms": 30_000,
            "broker.heartbeat.interval.ms": 500,
            "broker.session.timeout.ms": 6_000,
            "controlled.shutdown.enable": str(len(self.nodes) > 1).lower(),  # one alone has nobody to hand over to
        }
        if self.state["sasl"]:
            values["sasl.enabled.mechanisms"] = "PLAIN"
            login = "org.apache.kafka.common.security.plain.PlainLoginModule required"
            users = "".join(
                f' user_{name}="{password}"'
                for name, _, password in (one.partition(":") for one in self.state["sasl"].split(","))
            )
            values["listener.name.sasl_plaintext.plain.sasl.jaas.config"] = f"{login}{users};"
        values |= self.state["settings"]
        self._properties(number).write_text("".join(f"{key}={value}\n" for key, value in values.items()))

    def _launch(self, jars: Jars, number: int, *, dump: bool = False) -> None:
        command = [*jars.java(dump=dump), "kafka.Kafka", str(self._properties(number))]
        with (self.data / f"broker-{number}.log").open("ab") as output:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd=self.data
            )
        self.nodes[number - 1].update(pid=process.pid, birth=birth(process.pid))
        self._state_file.write_text(json.dumps(self.state, indent=1))

    def _await_ready(self, nodes: Sequence[Mapping[str, Any]], within: float = 90.0) -> None:
        deadline = time.monotonic() + within
        wanted = sum(map(self.alive, self.nodes))
        while not all(brokers_seen(node["port"]) >= wanted for node in nodes):
            dead = [number for number, node in enumerate(self.nodes, 1) if node in nodes and not self.alive(node)]
            if dead or time.monotonic() > deadline:
                number = dead[0] if dead else 1
                said = (self.data / f"broker-{number}.log").read_text(errors="replace")[-2000:]
                for node in filter(self.alive, nodes):
                    os.kill(node["pid"], signal.SIGKILL)
                raise fail(f"broker {number} did not become ready; its log ends:\n{said}")
            time.sleep(0.05)

    def node(self, number: int) -> dict[str, Any]:
        if not 1 <= number <= len(self.nodes):
            raise fail(f"there is no broker {number}; there are {len(self.nodes)}")
        return self.nodes[number - 1]

    def start_node(self, jars: Jars, number: int) -> None:
        """Start one broker again."""
        if self.alive(self.node(number)):
            raise fail(f"broker {number} is up")
        self._launch(jars, number)
        self._await_ready([self.node(number)])

    def kill(self, number: int) -> None:
        """End a broker as a crash does, and wait until it is gone."""
        node = self.node(number)
        if self.alive(node):
            os.kill(node["pid"], signal.SIGKILL)
            self._await_end([node], 10.0)

    def wipe(self) -> None:
        """Stop all brokers at once, for nothing of their data is needed any more, and forget it."""
        for number in range(1, len(self.nodes) + 1):
            self.kill(number)
        shutil.rmtree(self.data, ignore_errors=True)

    def stop(self) -> None:
        """Stop all brokers cleanly; those that take too long are killed."""
        live = list(filter(self.alive, self.nodes))
        for node in live:
            os.kill(node["pid"], signal.SIGTERM)
        # Of three that stop together, the last cannot finish its controlled shutdown: the quorum is gone.
        if not self._await_end(live, ROOM_TO_STOP if len(self.nodes) == 1 else 5.0):
            for node in filter(self.alive, live):
                os.kill(node["pid"], signal.SIGKILL)
            self._await_end(live, 10.0)

    def _await_end(self, nodes: Sequence[Mapping[str, Any]], within: float) -> bool:
        deadline = time.monotonic() + within
        while any(map(self.alive, nodes)):
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True


# --- the command line -----------------------------------------------------------------------------------------


def up(options: argparse.Namespace) -> None:
    settings = {}
    for text in options.set:
        name, equals, value = text.partition("=")
        if not equals:
            raise fail(f"--set {text}: write NAME=VALUE")
        settings[name] = value
    jars = Jars(options.version)
    jars.prepare()
    cluster = Cluster(options.data)
    if cluster.state and len(cluster.nodes) != options.brokers:
        raise fail(
            f"{options.data} has the data of {len(cluster.nodes)} brokers; `deploy/kafka down --wipe` forgets it"
        )
    cluster.start(jars, brokers=options.brokers, port=options.port, settings=settings, sasl=options.sasl)
    status(options)


def down(options: argparse.Namespace) -> None:
    cluster = Cluster(options.data).known()
    if options.wipe:
        cluster.wipe()
    else:
        cluster.stop()


def status(options: argparse.Namespace) -> None:
    """Print it, as text or JSON."""
    cluster = Cluster(options.data).known()
    nodes = [
        {"node": number, "port": node["port"], "pid": node["pid"], "alive": cluster.alive(node)}
        | ({"sasl_port": node["sasl_port"]} if cluster.state["sasl"] else {})
        for number, node in enumerate(cluster.nodes, 1)
    ]
    if options.json:
        print(json.dumps({"bootstrap": cluster.bootstrap, "nodes": nodes}))
        return
    print(f"kafka://{cluster.bootstrap}")
    for node in nodes:
        print(f"  broker {node['node']}: {'up' if node['alive'] else 'down'}, pid {node['pid']}")


def kill(options: argparse.Namespace) -> None:
    Cluster(options.data).known().kill(options.node)


def start_node(options: argparse.Namespace) -> None:
    cluster = Cluster(options.data).known()
    cluster.start_node(Jars(cluster.state["version"]), options.node)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="deploy/kafka", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True, metavar="up | down | status | kill | start-node")

    def verb(name: str, act: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=text, description=text)
        made.add_argument("--data", type=Path, default=Path(".stepwell/kafka"), help="where (default: %(default)s)")
        made.set_defaults(act=act)
        return made

    start = verb("up", up, "Start brokers, and return once they are ready.")
    start.add_argument("--port", type=int, default=9092, help="of the first broker; 0 for free ones (default: 9092)")
    start.add_argument("--brokers", type=int, choices=(1, 3), default=1)
    start.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a broker property")
    start.add_argument("--sasl", metavar="USER:PASSWORD[,…]", help="have a SASL/PLAIN listener too, for these users")
    start.add_argument("--version", default=VERSION, help="of Kafka (default: %(default)s)")
    start.add_argument("--json", action="store_true")
    verb("down", down, "Stop the brokers.").add_argument("--wipe", action="store_true", help="forget their data")
    verb("status", status, "Say how the brokers are.").add_argument("--json", action="store_true")
    verb("kill", kill, "End a broker as a crash does.").add_argument("--node", type=int, default=1)
    verb("start-node", start_node, "Start a broker again.").add_argument("--node", type=int, default=1)
    options = parser.parse_args()
    options.act(options)


if __name__ == "__main__":
    main()
