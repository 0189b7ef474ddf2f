"""A log that was served with access tokens is not served without, unless somebody says so."""

from __future__ import annotations

import pytest

from stepwell import own_files
from stepwell.server.http.remembering import TokensGoneError, check_not_forgotten, note_of, remember, remembered

KAFKA = "kafka://broker:9092?namespace=shop"


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setattr(own_files, "_claimed", {})
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("url", ["file:data/log.db", "file:data/log.db?partitions=2", KAFKA])
def test_that_tokens_were_used_is_remembered_for_each_log(tmp_path, url):
    check_not_forgotten(url)
    remember(url, tmp_path / "tokens")
    with pytest.raises(TokensGoneError) as told:
        check_not_forgotten(url)
    assert told.value.place == str(tmp_path / "tokens")
    assert "--open" in told.value.remedy
    (tmp_path / "tokens").touch()
    with pytest.raises(TokensGoneError) as told:
        check_not_forgotten(url)
    assert told.value.remedy == f"Name their file: --tokens {tmp_path / 'tokens'}."
    check_not_forgotten("file:other.db")
    check_not_forgotten("kafka://broker:9092?namespace=other")


def test_a_note_is_its_log_s_wherever_the_read_models_are_kept(tmp_path, monkeypatch):
    remember(KAFKA, tmp_path / "tokens")
    monkeypatch.setenv("STEPWELL_VIEWS", str(tmp_path / "views"))
    with pytest.raises(TokensGoneError):
        check_not_forgotten(KAFKA)
    check_not_forgotten("kafka://broker:9092?namespace=other")


@pytest.mark.parametrize("damage", [b"", b"\xff", b"[]", b"{}", b'{"tokens": 1}'])
def test_a_note_that_says_nothing_any_more_is_still_one(tmp_path, damage):
    remember("file:log.db", tmp_path / "tokens")
    note_of("file:log.db").write_bytes(damage)
    with pytest.raises(TokensGoneError):
        check_not_forgotten("file:log.db")


def test_the_note_is_for_its_owner_and_names_what_steps_have_no_business_with(tmp_path):
    remember("file:log.db", tmp_path / "tokens")
    assert note_of("file:log.db").stat().st_mode & 0o777 == 0o600
    assert remembered("file:log.db") == str(tmp_path / "tokens")
    assert {str(tmp_path / "tokens"), str(tmp_path / "log.db.access")} <= set(own_files.claimed())
