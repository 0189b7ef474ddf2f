"""What the tests of several rooms share."""

import os
import random
import shutil
import tempfile
from pathlib import Path

import pytest
import structlog
from hypothesis import HealthCheck, settings

from stepwell.log.local.log import LocalLog
from tests import byte_code
from tests.kafka_broker import end_shared_broker, shared_broker

# How long an example takes says more of the machine than of what is tested.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")

SHARED = pytest.StashKey[Path]()  # a directory that all processes of one run of the tests know
WROTE = pytest.StashKey[bool]()  # whether the processes of xdist have kept byte code until they were configured
MOST_PROCESSES = 4  # they share one broker


def pytest_xdist_auto_num_workers(config):
    """A process for each core and one more; whoever names files or tests, rather than folders, has them run plainly.

    Tests of processes and brokers wait for them half of the time: the one more has work meanwhile.
    """
    if not any(Path(argument).is_dir() for argument in config.args):
        return 0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(cores + 1, MOST_PROCESSES) if cores > 1 else 0


def pytest_configure(config):
    of_head = getattr(config, "workerinput", {}).get("shared")
    config.stash[SHARED] = Path(of_head or tempfile.mkdtemp(prefix="stepwell-tests-"))
    if of_head:
        if config.workerinput["wrote"]:
            byte_code.let_write_no_more()
    else:
        cache = getattr(config, "cache", None)  # there is none where pytest is told to keep nothing
        byte_code.compile_once(cache.mkdir("byte-code") if cache else config.stash[SHARED] / "byte-code")


@pytest.hookimpl(wrapper=True)
def pytest_collection():
    with byte_code.kept():
        return (yield)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config):
    config.stash[WROTE] = byte_code.let_write()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    node.workerinput["shared"] = str(node.config.stash[SHARED])
    node.workerinput["wrote"] = node.config.stash[WROTE]


def pytest_unconfigure(config):
    if not hasattr(config, "workerinput"):  # the others have ended
        end_shared_broker(config.stash[SHARED])
        shutil.rmtree(config.stash[SHARED], ignore_errors=True)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Mark what needs a broker, so that ``-m "not kafka"`` leaves it out."""
    for item in items:
        if "kafka" in item.nodeid or "kafka_broker" in getattr(item, "fixturenames", ()):
            item.add_marker("kafka")


class _TellsFailures:
    """Names each failed test as it fails: a run may take long, and may never reach its closing summary."""

    def __init__(self, terminal):
        self._terminal = terminal

    def pytest_runtest_logreport(self, report):
        if report.failed:
            self._terminal.write_line(f"\nFAILED {report.nodeid} ({report.when})", red=True)


def pytest_sessionstart(session):
    terminal = session.config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None and not hasattr(session.config, "workerinput"):
        session.config.pluginmanager.register(_TellsFailures(terminal), "tells-failures")


@pytest.fixture(scope="session")
def kafka_broker(request):
    """Where a real broker listens: one for all processes that test."""
    return shared_broker(request.config.stash[SHARED])


@pytest.fixture(autouse=True)
def _told_as_in_a_new_process():
    """A verb that ran inside a test has said how operators are told; the next test is another program."""
    yield
    if structlog.is_configured():
        structlog.reset_defaults()


@pytest.fixture
def rng():
    """Randomness whose seed is printed; ``STEPWELL_SEED`` repeats a run."""
    seed = int(os.environ.get("STEPWELL_SEED") or random.randrange(2**32))
    print(f"STEPWELL_SEED={seed}")  # noqa: T201 - shown where a test fails
    return random.Random(seed)


@pytest.fixture
async def open_log(tmp_path):
    """Opens log objects on one file; each stands for a process of its own. Commits do not wait for the disk."""
    logs = []

    async def opened(**options):
        log = await LocalLog.open(tmp_path / "log.db", durability="normal", **options)
        logs.append(log)
        return log

    yield opened
    for log in reversed(logs):
        await log.close()


@pytest.fixture
async def log(open_log):
    """A log of one partition."""
    return await open_log(partitions=1)
