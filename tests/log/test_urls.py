"""Which log a URL means."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepwell.errors import LogError
from stepwell.log.address import parse, without_password
from stepwell.log.local.log import LocalLog
from stepwell.log.urls import open_log
from stepwell.projections.places import views_directory


async def opened(url: str | None) -> tuple[Path, int]:
    log = await open_log(url)
    assert isinstance(log, LocalLog)
    await log.close()
    return Path(log.path), log.partitions


@pytest.mark.parametrize("form", ["file:{}", "file://{}", "file://localhost{}", "file:{}?synchronous=normal"])
async def test_a_file_is_named_by_its_path(tmp_path, form):
    path = tmp_path / "deep" / "er" / "my log.db"
    assert await opened(form.format(path)) == (path, 4)
    assert path.exists()


async def test_a_relative_path_begins_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (await opened("file:some/log.db"))[0] == tmp_path / "some/log.db"


async def test_spaces_may_be_written_as_urls_write_them(tmp_path):
    assert (await opened(f"file:{tmp_path}/my%20log.db"))[0] == tmp_path / "my log.db"


async def test_without_a_url_it_is_a_file_in_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STEPWELL_LOG", raising=False)
    assert (await opened(None))[0] == tmp_path / ".stepwell/log.db"


async def test_the_environment_names_a_log(tmp_path, monkeypatch):
    monkeypatch.setenv("STEPWELL_LOG", f"file:{tmp_path}/env.db?partitions=2")
    assert await opened(None) == (tmp_path / "env.db", 2)
    assert (await opened(f"file:{tmp_path}/given.db"))[0] == tmp_path / "given.db"


async def test_the_number_of_partitions_is_fixed_when_the_file_is_made(tmp_path):
    url = f"file:{tmp_path}/log.db"
    assert (await opened(f"{url}?partitions=9"))[1] == 9
    assert (await opened(url))[1] == 9
    assert (await opened(f"{url}?partitions=9&synchronous=full"))[1] == 9
    with pytest.raises(LogError, match="has 9 partitions, and 3 were asked for"):
        await opened(f"{url}?partitions=3")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("kafka://broker", "does not name Kafka's brokers"),
        ("postgres://x/y", "'postgres' is no kind of log"),
        ("some/log.db", "file:some/log.db"),
        ("file:", "names no file"),
        ("file:?partitions=4", "names no file"),
        ("file://host/log.db", "no other machine"),
        ("file:x.db?partitions=0", "cannot have 0 partitions"),
        ("file:x.db?partitions=100000", "cannot have 100000 partitions"),
        ("file:x.db?partitions=-1", "partitions=-1"),
        ("file:x.db?partitions=many", "partitions=many"),
        ("file:x.db?synchronous=off", "synchronous=off"),
        ("file:x.db?colour=red", "colour=red"),
    ],
)
async def test_a_url_that_means_nothing_is_refused_with_a_remedy(tmp_path, monkeypatch, url, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LogError) as caught:
        await open_log(url)
    assert words in str(caught.value)
    assert caught.value.place
    assert caught.value.remedy
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("file:log.db", "file:log.db"),
        ("kafka://h:1?sasl_username=u&sasl_password=s%26t&namespace=n", "kafka://h:1?sasl_username=u&sasl_password=***&namespace=n"),
        ("kafka://h:1?sasl_password=secret", "kafka://h:1?sasl_password=***"),
    ],
)  # fmt: skip
def test_a_url_is_shown_without_its_password(url, shown):
    assert without_password(url) == shown


async def test_an_unknown_kind_of_log_is_answered_with_both_kinds():
    with pytest.raises(LogError) as caught:
        await open_log("sqlite:x")
    assert "file:PATH" in caught.value.remedy
    assert "kafka://HOST:PORT" in caught.value.remedy


@pytest.mark.parametrize(
    ("url", "parts"),
    [
        ("file:some/my%20log.db?partitions=2", ("file", "", "some/my log.db", (("partitions", "2"),))),
        ("file:///a/log.db", ("file", "", "/a/log.db", ())),
        ("file://host/a?b=1&b=2&c=", ("file", "host", "/a", (("b", "1"), ("b", "2"), ("c", "")))),
        ("file://host", ("file", "host", "", ())),
        ("some/log.db", ("", "", "some/log.db", ())),
    ],
)
def test_a_url_is_taken_apart_in_one_way(url, parts):
    found = parse(url)
    assert (found.scheme, found.host, found.path, found.options) == parts
    assert found.text == url


def test_a_kafka_url_names_brokers_and_is_shown_without_its_options():
    found = parse("kafka://a:1,b:2/?namespace=n%20m&sasl_password=secret")
    assert (found.scheme, found.brokers, found.bare) == ("kafka", "a:1,b:2", "kafka://a:1,b:2/")
    assert found.options == (("namespace", "n m"), ("sasl_password", "secret"))


def test_read_models_stand_beside_the_file_that_the_url_names(tmp_path, monkeypatch):
    monkeypatch.delenv("STEPWELL_VIEWS", raising=False)
    assert views_directory(f"file://localhost{tmp_path}/my%20log.db?partitions=2") == tmp_path / "my log.db.views"
    assert views_directory("kafka://a:1,b:2?namespace=shop") == Path(".stepwell/kafka-a-1-b-2-shop.views")
