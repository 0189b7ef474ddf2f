"""The step ``file_operation``: what it does to files, what it refuses, and that it may be repeated."""

import base64
import hashlib
import os

import pytest
from file_steps import do, names, refusal, root

from stepwell.consumers.worker.builtin import _roots, files
from stepwell.consumers.worker.builtin._roots import (
    FileAccessDenied,
    FileExists,
    FileNotFound,
    FileSettingsError,
)
from stepwell.consumers.worker.builtin.files import FileContentError, PayloadTooLarge
from stepwell.consumers.worker.failures import describe
from stepwell.core.decide.retry import is_retryable
from stepwell.schemas.definitions.model import Retry
from tests.workbench import handlers_of, outcome, stage, workflow

__all__ = ["root"]  # a fixture

pytestmark = pytest.mark.rows("O2")


@pytest.mark.parametrize(
    ("config", "raw"),
    [
        ({"content": "Zoë\n"}, "Zoë\n".encode()),
        ({"content": "Zoë", "encoding": "latin-1"}, b"Zo\xeb"),
        ({"content": {"b": [1, None], "a": "é"}}, '{\n  "b": [\n    1,\n    null\n  ],\n  "a": "é"\n}\n'.encode()),
        ({"content": "text", "format": "json"}, b'"text"\n'),
        ({"content": "AAH/", "format": "base64"}, b"\x00\x01\xff"),
        ({"content": ""}, b""),
    ],
)
def test_what_is_written_is_read_back_and_writing_it_again_changes_nothing(root, config, raw):
    for _ in range(2):
        assert do("write", "a.txt", **config) == {"path": "a.txt", "size": len(raw)}
        assert (root / "a.txt").read_bytes() == raw
    reading = {key: value for key, value in config.items() if key != "content"}
    if not isinstance(config["content"], str):
        reading["format"] = "json"
    assert do("read", "a.txt", **reading) == {"path": "a.txt", "content": config["content"], "size": len(raw)}
    assert names(root) == ["a.txt"]  # and nothing of what it was made from


def test_without_content_the_steps_input_is_written(root):
    do("write", "in.json", {"rows": [1]})
    assert do("read", "in.json", format="json")["content"] == {"rows": [1]}


def test_a_file_that_is_replaced_keeps_its_mode_and_its_readers(root):
    (root / "a").write_text("old")
    (root / "a").chmod(0o640)
    with (root / "a").open() as reader:
        do("write", "a", content="new")
        assert reader.read() == "old"  # whole, whenever one looks
    assert (root / "a").stat().st_mode & 0o777 == 0o640


def test_a_write_that_fails_leaves_what_was_there_and_nothing_else(root, monkeypatch):
    do("write", "a", content="old")

    def full(_descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(_roots.os, "fsync", full)
    with pytest.raises(_roots.FileOperationError, match="No space left") as caught:
        do("write", "a", content="new")
    assert is_retryable(Retry(max_attempts=3), describe(caught.value))  # somebody may make room
    assert (root / "a").read_text() == "old"
    assert names(root) == ["a"]


def test_without_overwrite_only_the_same_content_may_be_there(root):
    do("write", "a", content="one", overwrite=False)
    do("write", "a", content="one", overwrite=False)  # a repeat
    refusal(FileExists, "write", "a", content="two", overwrite=False)
    assert (root / "a").read_text() == "one"
    assert names(root) == ["a"]


def test_directories_are_made_if_asked_for(root):
    refusal(FileNotFound, "write", "x/y/a", content="1")
    do("write", "x/y/a", content="1", make_dirs=True)
    do("write", "x/y/a", content="1", make_dirs=True)
    assert (root / "x/y/a").read_text() == "1"


def test_a_file_too_large_to_return_is_an_error_that_names_its_size(root):
    (root / "big").write_bytes(b"x" * 2_000_000)
    error = refusal(PayloadTooLarge, "read", "big")
    assert error.size == 2_000_000
    assert "2,000,000 bytes" in str(error)
    (root / "middle").write_bytes(b"x" * 800_000)
    do("read", "middle")
    assert refusal(PayloadTooLarge, "read", "middle", format="base64").limit < 800_000


@pytest.mark.parametrize(
    ("raw", "config", "text"),
    [
        (b"\xff\xfe", {}, "is no text in utf-8 (byte 0)"),
        (b"{", {"format": "json"}, "is no JSON"),
        (b"[" * 100_000, {"format": "json"}, "is no JSON"),
    ],
)
def test_content_that_does_not_fit_its_format_is_told(root, raw, config, text):
    (root / "a").write_bytes(raw)
    assert text in str(refusal(FileContentError, "read", "a", **config))
    assert do("read", "a", format="base64")["content"] == base64.b64encode(raw).decode()


def test_what_cannot_be_written_is_told(root):
    assert "is no base64" in str(refusal(FileContentError, "write", "a", content="?", format="base64"))
    assert "a text is needed" in str(refusal(FileContentError, "write", "a", content=[1], format="text"))
    assert "'ë'" in str(refusal(FileContentError, "write", "a", content="Zoë", encoding="ascii"))
    assert names(root) == []


# --- copy, move, list, checksum -----------------------------------------------------------------------------


def test_a_copy_has_the_same_content_and_may_be_repeated(root):
    do("write", "a", content="one")
    for _ in range(2):
        assert do("copy", "a", to="sub/b", make_dirs=True) == {"path": "a", "to": "sub/b", "size": 3}
    do("write", "a", content="two")
    refusal(FileExists, "copy", "a", to="sub/b", overwrite=False)
    assert (root / "sub/b").read_text() == "one"
    assert "is the same file" in str(refusal(FileSettingsError, "copy", "a", to="./a"))


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_move_may_be_repeated(root, overwrite):
    do("write", "a", content="one")
    for _ in range(2):
        moved = do("move", "a", to="b", overwrite=overwrite)
        assert moved == {"path": "a", "to": "b", "size": 3}
    assert names(root) == ["b"]
    refusal(FileNotFound, "move", "a", to="c", overwrite=overwrite)


def test_a_move_that_was_killed_between_its_two_names_is_ended(root):
    do("write", "a", content="one")
    os.link(root / "a", root / "b")
    do("move", "a", to="b", overwrite=False)
    assert names(root) == ["b"]


def test_a_move_takes_the_place_of_a_file_only_if_it_may(root):
    do("write", "a", content="one")
    do("write", "b", content="two")
    refusal(FileExists, "move", "a", to="b", overwrite=False)
    assert names(root) == ["a", "b"]
    do("move", "a", to="b")
    assert (root / "b").read_text() == "one"


def test_a_move_to_another_file_system_copies(root, monkeypatch):
    do("write", "a", content="one")

    def elsewhere(*_, **__):
        raise OSError(18, "Invalid cross-device link")

    monkeypatch.setattr(files.os, "rename", elsewhere)
    do("move", "a", to="b")
    assert names(root) == ["b"]
    assert (root / "b").read_text() == "one"


def test_a_list_names_what_is_there_by_pattern_and_depth(root):
    for name in ("b.csv", "a.csv", "x/c.csv", "x/y/d.txt", ".stepwell/log.db"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text("12345")
    (root / "link").symlink_to(root / "x")
    os.utime(root / "a.csv", (0, 86_400))
    listed = do("list", ".", pattern="*.csv")
    assert [entry["path"] for entry in listed["entries"]] == ["a.csv", "b.csv"]
    assert listed["entries"][0] == {
        "name": "a.csv", "path": "a.csv", "type": "file", "size": 5, "modified": "1970-01-02T00:00:00Z"
    }  # fmt: skip
    deep = do("list", str(root), recursive=True)
    shown = {entry["path"].removeprefix(f"{root}/"): entry["type"] for entry in deep["entries"]}
    assert shown == {
        "a.csv": "file", "b.csv": "file", "link": "link", "x": "directory", "x/c.csv": "file", "x/y": "directory",
        "x/y/d.txt": "file",
    }  # fmt: skip
    assert [e["path"] for e in do("list", "x", pattern="y/*", recursive=True)["entries"]] == ["x/y/d.txt"]
    assert deep["count"] == 7


def test_a_list_of_too_many_is_refused(root, monkeypatch):
    monkeypatch.setattr(files, "MAX_ENTRIES", 3)
    for number in range(4):
        (root / f"{number}").touch()
    assert refusal(PayloadTooLarge, "list", ".").limit == 3


@pytest.mark.parametrize("algorithm", ["sha256", "sha512", "sha1", "md5", "blake2b"])
def test_a_checksum_is_the_files(root, algorithm):
    (root / "a").write_bytes(b"abc" * 1_000_000)
    found = do("checksum", "a", algorithm=algorithm)
    assert found["checksum"] == hashlib.new(algorithm, b"abc" * 1_000_000).hexdigest()
    assert (found["algorithm"], found["size"]) == (algorithm, 3_000_000)


# --- where it may work --------------------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() == 0, reason="root may do anything")
def test_what_the_workers_user_may_not_do_is_told(root):
    (root / "a").write_text("x")
    (root / "a").chmod(0)
    refusal(FileAccessDenied, "read", "a")


@pytest.mark.parametrize(
    ("operation", "config", "place"),
    [
        ("erase", {}, "config.operation"),
        ("read", {"path": " "}, "config.path"),
        ("read", {"path": "a\0b"}, "config.path"),
        ("read", {"path": 3}, "config.path"),
        ("read", {"to": "b"}, "config"),
        ("read", {"encoding": "rot13"}, "config.encoding"),
        ("read", {"encoding": "nonsense"}, "config.encoding"),
        ("read", {"format": "xml"}, "config.format"),
        ("copy", {}, "config.to"),
        ("write", {"overwrite": "yes", "content": ""}, "config.overwrite"),
        ("checksum", {"algorithm": "crc"}, "config.algorithm"),
    ],
)
def test_settings_that_a_template_has_filled_in_wrongly_are_told(root, operation, config, place):
    (root / "a").write_text("x")
    given = {"path": "a", **config}
    assert refusal(FileSettingsError, operation, given.pop("path"), **given).place == place


async def test_a_workflow_writes_and_reads_files_on_a_worker(root, log):
    definition = workflow(
        {"id": "save", "type": "file_operation",
         "config": {"operation": "write", "path": "out/{{ input.name }}.json", "content": "{{ input.rows }}",
                    "make_dirs": True}},
        {"id": "load", "type": "file_operation", "depends_on": ["save"],
         "config": {"operation": "read", "path": "{{ step_outputs.save.path }}", "format": "json"}},
    )  # fmt: skip
    async with stage(log, handlers_of(), definition) as client:
        ended = await outcome(client, {"name": "june", "rows": [1, 2]})
        assert ended.output == {"load": {"path": "out/june.json", "content": [1, 2], "size": 13}}
        failed = await outcome(client, {"name": "../../x", "rows": []})
    assert (failed.status, failed.error.type) == ("failed", "PathRefused")
    assert failed.steps["save"].attempts == 1
