"""The parts of the Kafka log that need no broker: names, settings, positions, shares, and what workers pass on."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepwell.errors import LogError
from stepwell.log.address import parse
from stepwell.log.kafka import positions
from stepwell.log.kafka.exchange import Note, Wants
from stepwell.log.kafka.settings import KafkaSettings, read_settings
from stepwell.log.kafka.shares import Says, share_out
from stepwell.log.kafka.topics import Topics
from stepwell.log.urls import open_log

# --- settings -----------------------------------------------------------------------------------------------------


def test_what_was_lost_stands_beside_who_has_what_and_older_programs_take_it_for_nobodys():
    text, _ = positions.encode(5, [7], {9: "w-1"}, 3, {6: 1, 9: 4, 11: 1})
    assert positions.decode(5, text) == positions.QueuePosition(5, frozenset({7}), {9: "w-1"}, 3, {6: 1, 9: 4, 11: 1})


def test_a_url_says_what_there_is_to_choose():
    found = read_settings(parse("kafka://a:9092,b:9093?namespace=shop&partitions=8&session_timeout=2.5"), {})
    assert found == KafkaSettings("a:9092,b:9093", namespace="shop", partitions=8, session_timeout=2.5)


def test_the_environment_says_the_rest_and_the_url_goes_first():
    variables = {
        "STEPWELL_KAFKA_SASL_USERNAME": "u",
        "STEPWELL_KAFKA_SASL_PASSWORD": "p",
        "STEPWELL_KAFKA_NAMESPACE": "n",
    }
    found = read_settings(parse("kafka://a:1?namespace=m"), variables)
    assert (found.namespace, found.sasl_username, found.sasl_password) == ("m", "u", "p")
    assert found.security_protocol == "SASL_SSL", "no password in the clear unless it was asked for"


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("kafka:", "does not name"),
        ("kafka://host", "does not name"),
        ("kafka://host:0", "does not name"),
        ("kafka://host:99999", "does not name"),
        ("kafka://..:9092", "does not name"),
        (f"kafka://{'a' * 64}:9092", "does not name"),
        ("kafka://user:secret@host:1", "no user"),
        ("kafka://host:1?colour=red", "means nothing"),
        ("kafka://host:1?partitions=many", "no number"),
        ("kafka://host:1?partitions=-1", "so many"),
        ("kafka://host:1?compression=rar", "unknown"),
        ("kafka://host:1?namespace=a/b", "cannot begin"),
        ("kafka://host:1?session_timeout=0", "more than 0"),
        ("kafka://host:1?session_timeout=nan", "more than 0"),
        ("kafka://host:1?session_timeout=inf", "at most"),
        ("kafka://host:1?append_timeout=1e300", "at most"),
        ("kafka://host:1?max_record_bytes=900000000", "at most"),
        ("kafka://host:1?security_protocol=SASL_SSL", "needs a user"),
    ],
)
def test_what_a_url_cannot_say(url, why):
    with pytest.raises(LogError, match=why) as caught:
        read_settings(parse(url), {})
    assert caught.value.remedy
    assert "secret" not in str(caught.value)


def test_a_password_is_never_shown():
    settings = KafkaSettings("a:1", sasl_username="u", sasl_password="hush")
    assert "hush" not in f"{settings!r}{settings}{settings.place}"


async def test_without_its_client_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "aiokafka", None)
    with pytest.raises(LogError) as caught:
        await open_log("kafka://host:1")
    assert "stepwell[kafka]" in caught.value.remedy


# --- names --------------------------------------------------------------------------------------------------------


@given(st.lists(st.text(), min_size=2, max_size=2, unique=True))
def test_queues_get_names_that_kafka_takes_and_tells_apart(queues):
    topics = Topics(KafkaSettings("a:1", namespace="n" * 40), None, None)
    names = [topics.name(topics.of_queue(queue)) for queue in queues]
    assert len(set(names)) == 2
    for name in names:
        assert len(name) <= 249
        assert all(one.isascii() and (one.isalnum() or one in ".-") for one in name)


# --- positions ----------------------------------------------------------------------------------------------------


@given(
    low=st.integers(0, 1 << 40),
    done=st.sets(st.integers(1, 5000), max_size=300),
    held=st.dictionaries(st.integers(0, 5000), st.sampled_from(["abc", "0123456789ab"]), max_size=20),
    heard=st.integers(0, 1 << 40),
)
def test_a_position_comes_back_as_it_was_noted(low, done, held, heard):
    done = {low + one for one in done}
    held = {low + one: name for one, name in held.items()}
    text, covered = positions.encode(low, done, held, heard)
    assert len(text.encode()) <= positions.LIMIT
    found = positions.decode(low, text)
    assert (found.low, found.heard, dict(found.held)) == (low, heard, held)
    assert found.done == {one for one in done if one < covered}


def test_what_does_not_fit_is_said_to_be_left_out():
    done = set(range(1, 40_000, 2))
    text, covered = positions.encode(0, done, {}, 0)
    assert len(text) <= positions.LIMIT
    assert 1000 < covered < 40_000
    assert positions.decode(0, text).done == {one for one in done if one < covered}


def test_a_strangers_text_says_nothing():
    assert positions.decode(7, "") == positions.QueuePosition(7)
    assert positions.decode(7, "offset of somebody else") == positions.QueuePosition(7)


# --- shares -------------------------------------------------------------------------------------------------------


@given(data=st.data(), counts=st.dictionaries(st.sampled_from("abc"), st.integers(1, 9), min_size=1))
def test_shares_are_complete_even_and_change_little(data, counts):
    members = {
        name: (
            data.draw(st.lists(st.sampled_from(sorted(counts)), unique=True, min_size=1)),
            Says(
                name,
                owned={topic: data.draw(st.lists(st.integers(0, 9), unique=True)) for topic in counts},
                round=data.draw(st.integers(0, 3)),
            ),
        )
        for name in data.draw(st.lists(st.sampled_from("pqrstu"), unique=True, min_size=1))
    }
    shares = share_out(counts, members)
    for topic, count in counts.items():
        takers = [name for name, (topics, _) in members.items() if topic in topics]
        given_out = [number for name in members for number in shares[name].get(topic, ())]
        assert sorted(given_out) == (list(range(count)) if takers else [])
        sizes = [len(shares[name][topic]) for name in takers]
        assert not sizes or max(sizes) - min(sizes) <= 1
    again = {name: (topics, Says(name, owned=shares[name], round=9)) for name, (topics, _) in members.items()}
    assert share_out(counts, again) == shares, "what is even already stays as it is"


def test_who_comes_takes_what_others_would_rather_lose():
    had = Says("old", owned={"t": [3, 1, 0, 2]})
    shares = share_out({"t": 4}, {"old": (["t"], had), "new": (["t"], Says("new"))})
    assert shares == {"old": {"t": [1, 3]}, "new": {"t": [0, 2]}}


# --- passing on ---------------------------------------------------------------------------------------------------


def test_of_two_gifts_to_one_free_hand_the_first_counts():
    wants = Wants()
    wants.follow(Note("idle", want=1, topics=["t"]))
    assert wants.of("t", "giver") == [("idle", 1)]
    assert wants.follow(Note("x", to="idle", give=[("t", 0, 1)])) == [("t", 0, 1)]
    assert not wants.follow(Note("y", to="idle", give=[("t", 1, 1)]))
    assert not wants.of("t", "giver")
