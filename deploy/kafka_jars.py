"""Kafka's jars for ``deploy/kafka``, downloaded once; and what is prepared from them once: classes, empty disks."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

VERSION = "4.3.1"  # 4.4.0 was published with a POM that Maven cannot resolve
HOME = Path(os.environ.get("STEPWELL_KAFKA_HOME") or "~/.cache/stepwell-kafka").expanduser()
HEAP = os.environ.get("STEPWELL_KAFKA_HEAP", "384m")
CLUSTER = (
    "c3RlcHdlbGwtbG9jYWwhIQ"  # 16 bytes in base64, as Kafka wants it; fixed, so that a formatted disk can be copied
)
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

    def prepare(self, train: Callable[[Path], None]) -> None:
        """Have the jars and the class archive in place.

        Args:
            train: Runs a broker to its clean end, in a directory of its own, with ``java(dump=True)``. That shows
                which classes it loads (AppCDS): later ones start in a third of the time.
        """
        check_java()
        with locked(self.root):
            if not (self.root / ".downloaded").exists():
                self._download()
            if not self.archive.exists():
                data = self.root / "training"
                shutil.rmtree(data, ignore_errors=True)
                try:
                    train(data)
                finally:
                    shutil.rmtree(data, ignore_errors=True)

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
