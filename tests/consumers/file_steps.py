"""What tests of ``file_operation`` share: a root, and ways to run a step below it."""

import pytest

from stepwell import own_files
from stepwell.consumers.worker.builtin import BUILTIN
from stepwell.consumers.worker.context import StepContext
from stepwell.consumers.worker.failures import describe
from stepwell.core.decide.retry import is_retryable
from stepwell.schemas.definitions.model import Retry
from stepwell.schemas.records.events import StepReady
from stepwell.schemas.records.work import WorkItem


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The only directory that steps may work in; the worker was started elsewhere."""
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "secret.txt").write_text("not for steps")
    made = tmp_path / "root"
    made.mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("STEPWELL_FILE_ROOTS", str(made))
    # Each operation looks at all that Stepwell has opened in this process: thousands of logs, after as many tests.
    monkeypatch.setattr(own_files, "_claimed", {})
    return made


def context(operation, path, **config):
    step = StepReady(
        step_id="f", run=1, step_type="file_operation", config={"operation": operation, "path": path, **config}
    )
    return StepContext(WorkItem("i", "w", "1", 1, step))


def do(operation, path, data=None, **config):
    return BUILTIN["file_operation"](data, context(operation, path, **config))


def refusal(kind, *given, **config):
    with pytest.raises(kind) as caught:
        do(*given, **config)
    assert type(caught.value) is kind
    assert not is_retryable(Retry(max_attempts=3), describe(caught.value))
    return caught.value


def names(directory):
    return sorted(path.name for path in directory.iterdir())


# --- reading and writing ------------------------------------------------------------------------------------
