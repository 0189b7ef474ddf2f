"""A real Apache Kafka on this machine, from its published jars: no image, no installation.

Needs Java 17 or newer, and Maven to download the jars once. Brokers are KRaft nodes (broker and controller in one
JVM), one of them or three, for development and tests; do not run your business on it.

    deploy/kafka up                     one broker on port 9092, its data in .stepwell/kafka
    deploy/kafka up --brokers 3         three, on 9092 to 9094
    deploy/kafka up --port 9192         on another port; data that there is goes on there
    deploy/kafka status | down          how they are; stop them (--wipe: and forget their data)
    deploy/kafka kill --node 2          SIGKILL one of them, as a crash would
    deploy/kafka start-node --node 2    and start it again

Jars, and an archive of loaded classes that makes a broker start in 2 to 4 seconds, are kept in
$STEPWELL_KAFKA_HOME (default ~/.cache/stepwell-kafka).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from kafka_cluster import Cluster
from kafka_jars import VERSION, Jars, fail


def train(jars: Jars, data: Path) -> None:
    """Run a broker to its end."""
    cluster = Cluster(data)
    try:
        cluster.start(jars, brokers=1, port=0, settings={}, sasl=None, dump=True)
    finally:
        cluster.stop()  # cleanly: the archive is written at the exit


def up(options: argparse.Namespace) -> None:
    settings = {}
    for text in options.set:
        name, equals, value = text.partition("=")
        if not equals:
            raise fail(f"--set {text}: write NAME=VALUE")
        settings[name] = value
    cluster = Cluster(options.data)
    jars = Jars(options.version or cluster.state.get("version", VERSION))
    jars.prepare(lambda data: train(jars, data))
    cluster.start(jars, brokers=options.brokers, port=options.port, settings=settings, sasl=options.sasl)
    options.port = None  # which they have by now
    status(options)


def down(options: argparse.Namespace) -> None:
    cluster = Cluster(options.data).known(options.port)
    if options.wipe:
        cluster.wipe()
    else:
        cluster.stop()


def status(options: argparse.Namespace) -> None:
    """Print it, as text or JSON."""
    cluster = Cluster(options.data).known(options.port)
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
    Cluster(options.data).known(options.port).kill(options.node)


def start_node(options: argparse.Namespace) -> None:
    cluster = Cluster(options.data).known(options.port)
    cluster.start_node(Jars(cluster.state["version"]), options.node)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="deploy/kafka", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    verbs = parser.add_subparsers(required=True, metavar="up | down | status | kill | start-node")

    def verb(name: str, act: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
        made = verbs.add_parser(name, help=text, description=text)
        made.add_argument("--data", type=Path, default=Path(".stepwell/kafka"), help="where (default: %(default)s)")
        about = "of the first broker; 0 for free ones (default: 9092, or as before)" if act is up else "of a broker"
        made.add_argument("--port", type=int, help=about)
        made.set_defaults(act=act)
        return made

    start = verb("up", up, "Start brokers, and return once they are ready.")
    start.add_argument("--brokers", type=int, choices=(1, 3), help="how many (default: 1, or as before)")
    start.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="a broker property")
    start.add_argument("--sasl", metavar="USER:PASSWORD[,…]", help="have a SASL/PLAIN listener too, for these users")
    start.add_argument("--version", help=f"of Kafka (default: {VERSION}, or as before)")
    start.add_argument("--json", action="store_true")
    verb("down", down, "Stop the brokers.").add_argument("--wipe", action="store_true", help="forget their data")
    verb("status", status, "Say how the brokers are.").add_argument("--json", action="store_true")
    verb("kill", kill, "End a broker as a crash does.").add_argument("--node", type=int, default=1)
    verb("start-node", start_node, "Start a broker again.").add_argument("--node", type=int, default=1)
    options = parser.parse_args()
    options.act(options)


if __name__ == "__main__":
    main()
