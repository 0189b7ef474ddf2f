"""Where the step ``file_operation`` may not go, by whatever way, and what it does not take for a file."""

import os
import sys

import pytest
from file_steps import context, do, names, refusal, root

from stepwell.consumers.worker.builtin import BUILTIN, _roots
from stepwell.consumers.worker.builtin._roots import FileNotFound, FileSettingsError, PathRefused, WrongKindOfFile

__all__ = ["root"]  # a fixture

pytestmark = pytest.mark.rows("O2")


@pytest.mark.parametrize(
    "path",
    ["../secret.txt", "x/../../secret.txt", "/etc/hostname", "/", "..", "out/secret.txt", "file", "~/../x/../.."],
)
@pytest.mark.parametrize("operation", ["read", "write", "checksum", "list", "move", "copy"])
def test_no_path_and_no_link_leads_out(root, operation, path):
    (root / "out").symlink_to(root.parent)
    (root / "file").symlink_to(root.parent / "secret.txt")
    more = {"to": "b"} if operation in ("copy", "move") else {"content": "x"} if operation == "write" else {}
    if path == "~/../x/../..":
        (root / "~").mkdir()
    error = refusal(PathRefused, operation, path, **more)
    assert "STEPWELL_FILE_ROOTS" in error.remedy
    assert (root.parent / "secret.txt").read_text() == "not for steps"


@pytest.mark.parametrize("operation", ["copy", "move"])
def test_nothing_is_put_elsewhere(root, operation):
    do("write", "a", content="x")
    (root / "dangling").symlink_to(root.parent / "new.txt")
    for to in ("../b", "dangling", str(root.parent / "b")):
        assert refusal(PathRefused, operation, "a", to=to).place == "config.to"
    assert names(root.parent) == ["elsewhere", "root", "secret.txt"]


def test_a_directory_whose_name_begins_like_a_roots_is_outside(root):
    (root.parent / "root-2").mkdir()
    refusal(PathRefused, "write", str(root.parent / "root-2" / "a"), content="x")


@pytest.mark.parametrize("operation", ["write", "copy", "move"])
def test_what_has_another_name_outside_is_left_as_it_is(root, operation):
    """A hard link cannot be told from a file; but nothing is ever written into a file that is there."""
    (root / "a").hardlink_to(root.parent / "secret.txt")
    do("write", "b", content="x")
    more = {"content": "x"} if operation == "write" else {"to": "a"}
    do(operation, "a" if operation == "write" else "b", **more)
    assert (root / "a").read_text() == "x"
    assert (root.parent / "secret.txt").read_text() == "not for steps"


@pytest.mark.parametrize("path", ["a/" * 3000, "a" * 300, "loop/a", "\ud800"])
def test_paths_that_no_disk_takes_are_told(root, path):
    (root / "loop").symlink_to("loop")
    for operation, more in (("read", {}), ("write", {"content": "x", "make_dirs": True})):
        with pytest.raises(_roots.FileOperationError) as caught:
            do(operation, path, **more)
        assert not caught.value.retryable
    assert names(root) == ["loop"]


@pytest.mark.parametrize(
    ("operation", "more"), [("write", {"content": "x"}), ("copy", {"to": "b"}), ("checksum", {}), ("list", {})]
)
def test_what_nobody_waits_for_any_more_ends_and_leaves_nothing(root, operation, more):
    (root / "a").write_text("old")
    step = context(operation, "." if operation == "list" else "a", **more)
    step.cancel()
    with pytest.raises(_roots.FileOperationError, match="nobody waits"):
        BUILTIN["file_operation"](None, step)
    assert names(root) == ["a"]
    assert (root / "a").read_text() == "old"


def test_a_link_within_the_root_is_followed(root):
    (root / "data-2").mkdir()
    (root / "data").symlink_to(root / "data-2")
    do("write", "data/a", content="x")
    assert (root / "data-2/a").read_text() == "x"


def test_the_log_is_not_for_steps(root):
    (root / ".stepwell").mkdir()
    (root / ".stepwell/log.db").write_text("log")
    (root / "way").symlink_to(root / ".stepwell")
    (root / ".StepWell").mkdir()  # on some disks, the same directory
    for path in (".stepwell/log.db", "way/log.db", ".stepwell", ".StepWell/log.db"):
        refusal(PathRefused, "read", path)
    assert [entry["name"] for entry in do("list", ".")["entries"]] == ["way"]


def test_there_may_be_several_roots_and_relative_paths_begin_at_the_first(root, tmp_path, monkeypatch):
    second = tmp_path / "second"
    second.mkdir()
    monkeypatch.setenv("STEPWELL_FILE_ROOTS", f"{root}{os.pathsep}{second}")
    do("write", "a", content="1")
    do("copy", "a", to=str(second / "b"))
    assert (second / "b").read_text() == "1"


def test_without_roots_it_is_the_directory_of_the_worker(root, tmp_path, monkeypatch):
    monkeypatch.delenv("STEPWELL_FILE_ROOTS")
    do("write", "a", content="1")
    assert (tmp_path / "elsewhere/a").read_text() == "1"
    refusal(PathRefused, "read", "../root")


def test_a_root_that_is_not_there_is_told(root, monkeypatch):
    monkeypatch.setenv("STEPWELL_FILE_ROOTS", str(root / "nowhere"))
    assert refusal(FileSettingsError, "read", "a").place == "STEPWELL_FILE_ROOTS"


class Swapping:
    """While the block runs, a directory is a link to its root's parent from one system call to another.

    Where in the block a swap could hurt is not left to two threads and the machine: each place is tried.

    Args:
        directory: What is swapped.
        first, last: The numbers of the calls between which it is a link, from 0.

    Attributes:
        calls: How many there were.
    """

    def __init__(self, directory, first, last):
        self.directory, self.away = directory, directory.with_name("away")
        self.first, self.last = first, last
        self.calls = 0

    def _called(self, frame, event, function):
        if event != "c_call" or getattr(function, "__module__", None) != "posix":
            return
        callers = (
            frame,
            frame.f_back,
            frame.f_back and frame.f_back.f_back,
        )  # os.path.realpath is two functions deep
        if not any(caller and caller.f_code.co_filename == _roots.__file__ for caller in callers):
            return  # it looks at a root, or for Stepwell's own files
        if self.calls == self.first:
            self.directory.rename(self.away)
            self.directory.symlink_to(self.directory.parent.parent)
        if self.calls == self.last:
            self.directory.unlink()
            self.away.rename(self.directory)
        self.calls += 1

    def __enter__(self):
        sys.setprofile(self._called)
        return self

    def __exit__(self, *_):
        sys.setprofile(None)
        if self.directory.is_symlink():
            self.directory.unlink()
            self.away.rename(self.directory)


def test_whoever_swaps_a_directory_for_a_link_while_it_is_looked_at_gains_nothing(root, monkeypatch):
    """Between any two system calls of a read; no read ever gives what lies outside."""
    allowed = _roots.roots(os.environ, None)  # which looks at all modules, too: once is enough
    monkeypatch.setattr(_roots, "roots", lambda *_: allowed)
    (root / "dir").mkdir()
    (root / "dir/secret.txt").write_text("harmless")
    with Swapping(root / "dir", -1, -1) as usual:
        do("read", "dir/secret.txt")
    seen = {}
    for first in range(usual.calls):
        for last in range(first + 1, usual.calls + 1):
            with Swapping(root / "dir", first, last):
                try:
                    found = do("read", "dir/secret.txt")["content"]
                except _roots.FileOperationError as error:
                    found = type(error)
            seen.setdefault(found, (first, last))
    assert {found for found in seen if isinstance(found, str)} == {"harmless"}, seen
    assert PathRefused in seen


def test_a_link_that_appears_after_the_look_is_not_followed(root):
    (root / "d").mkdir()
    place = _roots.place_of("d/secret.txt", "config.path")
    (root / "d").rmdir()
    (root / "d").symlink_to(root.parent)
    with pytest.raises(_roots.FileOperationError), _roots.opened(place):
        raise AssertionError("it was opened")


def test_what_is_no_regular_file_is_not_read(root):
    os.mkfifo(root / "pipe")
    (root / "d").mkdir()
    refusal(WrongKindOfFile, "read", "pipe")  # and does not wait for a writer
    refusal(WrongKindOfFile, "read", "d")
    refusal(WrongKindOfFile, "write", "d", content="x")
    refusal(WrongKindOfFile, "write", ".", content="x")
    refusal(WrongKindOfFile, "list", "pipe")
    do("write", "a", content="x")
    refusal(WrongKindOfFile, "move", "a", to="d")
    refusal(FileNotFound, "read", "nothing")
