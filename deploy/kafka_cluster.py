"""The brokers of ``deploy/kafka``: processes that outlive the command that starts them; a file on disk knows them."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from kafka_jars import Jars, fail

HOST = "127.0.0.1"
FORGET = "`deploy/kafka down --wipe` forgets it"
PORT = 9092  # where nobody says otherwise
ROOM_TO_STOP = 20.0  # seconds for a clean shutdown


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

    def known(self, port: int | None = None) -> Cluster:
        """This cluster, if it is there, and if it is the one that is meant.

        Args:
            port: Of one of its brokers; None where nobody has named one.
        """
        if not self.state:
            raise fail(f"there is no local Kafka in {self.data}; `deploy/kafka up` starts one")
        if port is not None and port not in {node["port"] for node in self.nodes}:
            raise fail(f"no broker of {self.data} is on port {port}: they are {self.bootstrap}")
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
        brokers: int | None,
        port: int | None,
        settings: Mapping[str, str],
        sasl: str | None,
        dump: bool = False,
    ) -> None:
        """Start brokers; on a directory with data they go on with it, and with what is not said anew.

        Args:
            brokers: How many; None for as many as there were, or one.
            port: Of the first; 0 for free ones, None for those that there were, or ``PORT``.
            settings: Properties, over those that there were.
            sasl: Users with their passwords; None for those that there were.
        """
        if any(map(self.alive, self.nodes)):
            raise fail(
                f"already up: {self.bootstrap}; `deploy/kafka down` stops it, `--data DIR` keeps another beside it"
            )
        if self.state:
            if brokers not in (None, len(self.nodes)):
                raise fail(f"{self.data} has the data of a cluster of {len(self.nodes)}; {FORGET}")
            if self.state["version"] != jars.version:
                raise fail(f"the data in {self.data} is of Kafka {self.state['version']}; {FORGET}")
            self.state["settings"] |= settings
            self.state["sasl"] = sasl or self.state["sasl"]
            if port:  # clients find them wherever they are: their data names no port
                for number, node in enumerate(self.nodes):
                    node["port"] = port + number
        else:
            brokers, port = brokers or 1, PORT if port is None else port
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
        self._check_ports()
        brokers = len(self.nodes)
        for number, node in enumerate(self.nodes, 1):
            self._configure(number, node)
            if not self._disk(number).exists():
                jars.formatted(number, brokers, self._properties(number), self._disk(number))
        for number in range(1, brokers + 1):
            self._launch(jars, number, dump=dump)
        self._await_ready(self.nodes)

    def _check_ports(self) -> None:
        """Refuse ports that other programs have, rather than wait for brokers that cannot come up."""
        for node in self.nodes:
            if not 0 < node["port"] < 65_536:
                raise fail(f"{node['port']} is no port")
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind((HOST, node["port"]))
                except OSError as error:
                    raise fail(
                        f"port {node['port']} cannot be had ({error.strerror}); `--port N` names another"
                    ) from None

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
