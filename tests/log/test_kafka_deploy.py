"""``deploy/kafka``: what is said about ports, brokers and versions is followed, or refused in words."""

from __future__ import annotations

import json
import socket
import subprocess
from pathlib import Path

import pytest

from tests.kafka_broker import SCRIPT, run


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def refused(*arguments: str) -> str:
    done = subprocess.run([str(SCRIPT), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode
    assert "Traceback" not in done.stderr
    return done.stderr


def ports(data: Path) -> list[int]:
    return [node["port"] for node in json.loads(run("status", "--data", str(data), "--json"))["nodes"]]


def test_what_names_a_port_that_is_no_brokers_is_refused(tmp_path: Path):
    data = tmp_path / "data"
    data.mkdir()
    node = {"port": 9092, "controller": 1, "sasl_port": 2, "pid": 0, "birth": ""}
    state = {"version": "4.3.1", "sasl": None, "settings": {}, "nodes": [node]}
    (data / "state.json").write_text(json.dumps(state))
    for verb in ("down", "status", "kill", "start-node"):
        assert "on port 9192: they are 127.0.0.1:9092" in refused(verb, "--data", str(data), "--port", "9192")
    assert run("down", "--data", str(data), "--port", "9092") == ""
    assert "9092" in run("status", "--data", str(data), "--port", "9092")


@pytest.mark.slow
@pytest.mark.kafka
def test_a_broker_that_was_made_before_follows_to_the_port_that_is_asked_for(tmp_path: Path):
    data = tmp_path / "data"
    here = ("--data", str(data))
    first, second = free_port(), free_port()
    try:
        run("up", *here, "--port", str(first))
        assert ports(data) == [first]
        said = refused("up", *here, "--port", str(second))
        assert f"already up: 127.0.0.1:{first}" in said
        run("down", *here, "--port", str(first))
        assert "a cluster of 1;" in refused("up", *here, "--brokers", "3")
        with socket.socket() as other:
            other.bind(("127.0.0.1", second))
            other.listen()
            assert f"port {second} cannot be had" in refused("up", *here, "--port", str(second))
        run("up", *here, "--port", str(second))
        assert ports(data) == [second]
        run("down", *here)
        run("up", *here)
        assert ports(data) == [second]
    finally:
        run("down", *here, "--wipe")
