"""Which directories steps may be given, and what is kept from them in those that they have."""

import sys
import types
from pathlib import Path

import pytest
from file_steps import context, do, names, refusal, root

from stepwell import own_files
from stepwell.consumers.worker.builtin import OF_SERVICES
from stepwell.consumers.worker.builtin._errors import FileSettingsError, PathRefused
from stepwell.consumers.worker.builtin.allowed_roots import check_roots

__all__ = ["root"]  # a fixture


@pytest.fixture
def home(root, monkeypatch):
    """The working directory of somebody who runs definitions of their own, no other directory being named."""
    monkeypatch.delenv("STEPWELL_FILE_ROOTS")
    return Path.cwd()


@pytest.fixture
def claim(monkeypatch):
    """Name a file as Stepwell's own, for one test."""
    monkeypatch.setattr(own_files, "_claimed", dict(own_files._claimed))
    return own_files.claim


def test_a_service_gives_steps_no_directory_that_was_not_named(home):
    for operation, more in (("read", {}), ("write", {"content": "x"}), ("list", {})):
        with pytest.raises(FileSettingsError, match="no directory is named") as caught:
            OF_SERVICES["file_operation"](None, context(operation, "a", **more))
        assert caught.value.place == "STEPWELL_FILE_ROOTS"
        assert "STEPWELL_FILE_ROOTS=" in caught.value.remedy
    assert names(home) == []


def test_a_service_works_in_the_directories_that_were_named(root):
    OF_SERVICES["file_operation"](None, context("write", "a", content="x"))
    assert (root / "a").read_text() == "x"


@pytest.mark.parametrize("where", ["equal", "holds", "lies in", "by a link", "as a zip that is not there"])
def test_a_root_from_which_python_imports_is_refused(root, monkeypatch, where):
    inner = root / "inner"
    inner.mkdir()
    (root.parent / "link").symlink_to(root)
    entry = {
        "equal": root, "holds": inner, "lies in": root.parent, "by a link": root.parent / "link",
        "as a zip that is not there": inner / "code.zip",
    }[where]  # fmt: skip
    monkeypatch.setattr(sys, "path", [*sys.path, str(entry)])
    error = refusal(FileSettingsError, "write", "evil.py", content="x")
    assert "Python imports" in str(error)
    with pytest.raises(FileSettingsError):
        check_roots()
    assert names(root) == ["inner"]


@pytest.mark.parametrize("where", [".", "shop"])
def test_a_root_with_a_package_that_a_finder_of_its_own_has_found_is_refused(root, monkeypatch, where):
    """As packages are found that are installed to be edited: their directory is on no path."""
    package = types.ModuleType("edited_shop")
    package.__path__ = [str(root / where)]
    monkeypatch.setitem(sys.modules, "edited_shop", package)
    assert "Python imports" in str(refusal(FileSettingsError, "write", "evil.py", content="x"))
    package.__path__ = [str(root.parent / "beside")]
    do("write", "a.txt", content="x")


def test_the_working_directory_counts_where_python_imports_from_it(root, monkeypatch):
    monkeypatch.chdir(root)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    refusal(FileSettingsError, "write", "evil.py", content="x")


@pytest.mark.parametrize("part", ["log.db", "views/0.db", "tokens"])
def test_a_root_that_holds_what_is_stepwells_own_is_refused(root, claim, part):
    claim(root / "deep" / part)
    assert "Stepwell's own" in str(refusal(FileSettingsError, "list", "."))


def test_a_root_within_a_directory_of_stepwells_own_is_refused(root, claim):
    claim(root.parent)
    assert "lies in" in str(refusal(FileSettingsError, "list", "."))


@pytest.mark.parametrize("named", ["/", "/proc", "/proc/self/fd", "/dev", "/proc/self/cwd"])
def test_a_root_that_is_no_place_of_files_is_refused(root, monkeypatch, named):
    monkeypatch.setenv("STEPWELL_FILE_ROOTS", named)
    if named == "/proc/self/cwd":  # a link to the working directory: it is taken for what it is
        monkeypatch.setattr(sys, "path", [*sys.path, str(Path.cwd())])
    refusal(FileSettingsError, "list", ".")


def test_steps_find_stepwells_own_files_under_no_name(root, tmp_path, claim):
    """The log has other names below the root: a hard link, links, and the descriptor by which it is open."""
    log = tmp_path / "data/log.db"
    log.parent.mkdir()
    log.write_text("log")
    (log.parent / "log.db-wal").write_text("wal")
    (log.parent / "log.db-members").mkdir()
    (log.parent / "log.db-members/1").write_text("lock")
    claim(log)
    (root / "hard").hardlink_to(log)
    (root / "wal").hardlink_to(log.parent / "log.db-wal")
    (root / "lock").hardlink_to(log.parent / "log.db-members/1")
    (root / "soft").symlink_to(log)
    with log.open() as file:
        (root / "open").symlink_to(f"/proc/self/fd/{file.fileno()}")
        (root / "a").write_text("x")
        for name in ("hard", "wal", "lock", "soft", "open"):
            for operation, more in (
                ("read", {}), ("checksum", {}), ("write", {"content": "x"}), ("copy", {"to": "b"}),
                ("move", {"to": "b"}),
            ):  # fmt: skip
                refusal(PathRefused, operation, name, **more)
            refusal(PathRefused, "copy", "a", to=name)
            refusal(PathRefused, "move", "a", to=name)
    assert [entry["name"] for entry in do("list", ".")["entries"]] == ["a", "open", "soft"]
    assert log.read_text() == "log"


@pytest.mark.parametrize("name", [".env", ".git/config", "x/.ssh/id", ".ENV"])
def test_names_that_begin_with_a_dot_are_not_for_steps(root, name):
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("SECRET=1")
    (root / "way").symlink_to(path)
    for operation, more in (("read", {}), ("write", {"content": "x"}), ("move", {"to": "b"})):
        refusal(PathRefused, operation, name, **more)
        refusal(PathRefused, operation, "way", **more)
    (root / "a").write_text("x")
    refusal(PathRefused, "move", "a", to=name)
    refusal(PathRefused, "write", ".new/a", content="x", make_dirs=True)
    assert all(not entry["name"].startswith(".") for entry in do("list", ".", recursive=True)["entries"])
    assert path.read_text() == "SECRET=1"
    assert not (root / ".new").exists()


def test_beside_a_log_in_the_working_directory_nothing_takes_a_name_of_its_files(home, claim):
    """SQLite would take a ``-wal`` that is put beside a log for its newest part."""
    (home / "log.db").write_text("log")
    claim(home / "log.db")
    for name in ("log.db", "log.db-wal", "log.db-journal", "log.db.views/0.db", "LOG.db-wal"):
        refusal(PathRefused, "write", name, content="x", make_dirs=True)
    do("write", "a", content="1")
    assert sorted(name for name in names(home) if (home / name).is_file()) == ["a", "log.db"]


def test_in_the_working_directory_no_step_writes_what_python_would_import_from_it(home, monkeypatch):
    (home / "shop").mkdir()
    (home / "venv/lib").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [*sys.path, str(home), str(home / "venv/lib")])
    do("write", "a.txt", content="x")
    for name in ("evil.py", "shop/evil.py", "shop/evil.PY", "shop/evil.pyc", "shop/evil.so", "venv/lib/x.pth"):
        refusal(PathRefused, "write", name, content="x")
        refusal(PathRefused, "copy", "a.txt", to=name)
        refusal(PathRefused, "move", "a.txt", to=name)
    do("write", "shop/orders.csv", content="x")
    assert names(home / "shop") == ["orders.csv"]
