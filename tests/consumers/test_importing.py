"""What a definition reaches by a dotted path: functions that are defined where steps may import from, and no others."""

import sys

import pytest

from stepwell.consumers.worker.handlers import Handlers
from stepwell.errors import HandlerError

TOOLS = """
import functools, math, os, random, subprocess
from os import system
from subprocess import run, Popen
from functools import partial
from json import loads

import workshop.inner
from workshop.inner import helper, Press
from elsewhere import foreign, Foreign, decorated, logged, plainly

def own(data):
    return data

async def own_coroutine(data):
    return data

def _private(data):
    return data

class Step:
    def __init__(self, data=None):
        self.data = data
    def __call__(self, data):
        return data
    def method(self, data):
        return data
    @classmethod
    def made(cls, data):
        return data

@logged
def wrapped(data):
    return data

@functools.lru_cache
def cached(data=None):
    return data

short = lambda data: data
instance = Step()
bound = instance.method
made = Step.made
partly = partial(own)
press = Press()

shell = logged(os.system)
partly_foreign = partial(os.system)
foreign_instance = Foreign()
foreign_bound = random.random
foreign_method = Foreign().method
evaluate = eval
root = math.sqrt
number = 3

class Inherits(subprocess.Popen):
    pass

communicate = Inherits.communicate

def __getattr__(name):
    if name == "dynamic":
        return system
    raise AttributeError(name)
"""

ELSEWHERE = """
import functools

def foreign(data):
    return data

class Foreign:
    def __call__(self, data):
        return data
    def method(self, data):
        return data

def logged(function):
    @functools.wraps(function)
    def call(data):
        return function(data)
    return call

def plainly(function):
    def call(data):
        return function(data)
    return call

@logged
def decorated(data):
    return data
"""


@pytest.fixture
def handlers(tmp_path, monkeypatch):
    """Steps may import from ``workshop``."""
    (tmp_path / "workshop").mkdir()
    (tmp_path / "workshop" / "__init__.py").write_text("")
    (tmp_path / "workshop" / "tools.py").write_text(TOOLS)
    (tmp_path / "workshop" / "inner.py").write_text(
        "def helper(data):\n    return data\n\nclass Press:\n    def __call__(self, data):\n        return data\n"
    )
    (tmp_path / "workshop" / "__main__.py").write_text("raise SystemExit('run')\n\ndef x(data): ...\n")
    (tmp_path / "workshop" / "_hidden.py").write_text("def x(data): ...\n")
    (tmp_path / "workshop" / "rude.py").write_text("class Rude(BaseException): ...\nraise Rude('not today')\n")
    (tmp_path / "elsewhere.py").write_text(ELSEWHERE)
    monkeypatch.syspath_prepend(tmp_path)
    yield Handlers(["workshop"])
    for name in [name for name in sys.modules if name.partition(".")[0] in ("workshop", "elsewhere")]:
        del sys.modules[name]


@pytest.mark.parametrize(
    "name",
    [
        "own", "own_coroutine", "Step", "wrapped", "cached", "short", "instance", "bound", "made", "partly", "press",
        "helper", "Press",
    ],
)  # fmt: skip
def test_what_is_defined_in_an_allowed_module_is_found(handlers, name):
    assert handlers.find("python", f"workshop.tools.{name}")
    assert handlers.knows("python", f"workshop.tools.{name}")


@pytest.mark.parametrize(
    "name",
    [
        "system", "run", "Popen", "partial", "loads", "shell", "partly_foreign", "foreign", "Foreign", "foreign_instance",
        "foreign_bound", "foreign_method", "evaluate", "root", "communicate", "decorated", "logged", "plainly", "dynamic",
    ],
)  # fmt: skip
def test_what_an_allowed_module_has_merely_imported_is_refused(handlers, name):
    with pytest.raises(HandlerError, match="is not defined in the modules that steps may import, but in") as refused:
        handlers.find("python", f"workshop.tools.{name}")
    assert "register it" in refused.value.remedy
    assert not handlers.knows("python", f"workshop.tools.{name}")


@pytest.mark.parametrize(
    "path",
    [
        "workshop.tools._private", "workshop.__main__.x", "workshop._hidden.x", "workshop.tools.__getattr__",
        "workshop.tools.__builtins__", "workshop.tools.__init__", "workshop.tools.own.__call__", "workshop.tools.Step.__init__",
    ],
)  # fmt: skip
def test_what_begins_with_an_underscore_is_refused_and_not_even_imported(handlers, path):
    with pytest.raises(HandlerError, match="is not a public name"):
        handlers.find("python", path)
    assert not handlers.knows("python", path)
    assert not {"workshop.__main__", "workshop._hidden"} & set(sys.modules)


@pytest.mark.parametrize(
    "path",
    [
        "workshop.tools.os.system", "workshop.tools.Step.method", "workshop.inner.helper.x", "workshop.tools.number",
        "workshop.tools.nothing", "workshop.rude.x", "os.system", "workshops.x", "workshop.tools.", "workshop..own", ".own",
        "workshop.tools.own()", "workshop",
    ],
)  # fmt: skip
def test_whatever_else_a_path_names_is_refused_in_words(handlers, path):
    with pytest.raises(HandlerError) as refused:
        handlers.find("python", path)
    assert refused.value.place == f"handler {path!r}"
    assert not handlers.knows("python", path)


def test_a_re_export_is_found_where_its_own_module_is_allowed_too(handlers):
    assert handlers.find("python", "workshop.tools.helper")
    narrow = Handlers(["workshop.tools"])
    assert narrow.find("python", "workshop.tools.own")
    with pytest.raises(HandlerError, match=r"but in workshop\.inner"):
        narrow.find("python", "workshop.tools.helper")


def test_what_is_registered_is_found_by_its_name_wherever_it_was_defined(handlers):
    from elsewhere import foreign

    handlers.register("borrowed", foreign)
    assert handlers.find("python", "borrowed").origin is foreign


def test_strict_handlers_find_what_is_registered_and_no_dotted_path(handlers):
    from workshop.tools import own

    strict = Handlers(None)
    strict.register("own", own)
    strict.register("workshop.tools.named", own)
    assert strict.find("python", "own")
    assert strict.find("python", "workshop.tools.named")
    with pytest.raises(HandlerError, match="is not registered, and this worker runs no others") as refused:
        strict.find("python", "workshop.tools.own")
    assert "--no-strict-handlers" in refused.value.remedy
    assert not strict.knows("python", "workshop.tools.own")
    assert strict.prefixes == ()
