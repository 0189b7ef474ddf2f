"""What is recorded of an exception, whatever it is and whatever its methods do."""

import datetime as dt
import traceback
from email.utils import format_datetime

import pytest

from stepwell.consumers.worker.failures import describe
from stepwell.core.decide.retry import is_retryable
from stepwell.schemas.definitions.model import LONGEST_SECONDS, Retry
from stepwell.schemas.records.codec import encode
from tests.workbench import handlers_of, one_step, outcome, running, stage


def asking(value):
    error = ConnectionError("busy")
    error.retry_after = value
    return error


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (3, 3.0),
        (2.5, 2.5),
        ("7", 7.0),
        (" 0.5 ", 0.5),
        (dt.timedelta(minutes=2), 120.0),
        (10**400, LONGEST_SECONDS),
        (float("inf"), LONGEST_SECONDS),
        (dt.timedelta.max, LONGEST_SECONDS),
        ("9" * 400, LONGEST_SECONDS),
        (-(10**400), None),
        (float("nan"), None),
        ("nan", None),
        ("-1", None),
        (0, None),
        (True, None),
        ("soon", None),
        (None, None),
        ([3], None),
        (1j, None),
        (object(), None),
    ],
    ids=lambda value: str(value)[:20],
)
def test_how_long_an_exception_asks_to_wait_is_seconds_or_nothing(given, seconds):
    assert describe(asking(given)).retry_after == seconds


@pytest.mark.parametrize("said", [lambda time: time, format_datetime], ids=["time", "header"])
def test_an_exception_may_ask_to_wait_until_a_time(said):
    in_an_hour = dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)
    assert 0 < describe(asking(said(in_an_hour))).retry_after <= 3_600


class RudeError(Exception):
    """Every question that it is asked ends badly."""

    def __str__(self):
        raise SystemExit(3)

    @property
    def retryable(self):
        raise KeyboardInterrupt

    @property
    def retry_after(self):
        raise StopIteration


class Long(str):
    __slots__ = ()

    def __len__(self):
        raise ValueError

    def __getitem__(self, item):
        raise ValueError

    def encode(self, *_):
        raise ValueError


class OddTextError(Exception):
    def __str__(self):
        return Long("odd")


def test_an_exception_whose_own_methods_fail_is_described_all_the_same():
    told = describe(RudeError())
    assert (told.type, told.message) == ("RudeError", "(it cannot be shown: SystemExit)")
    assert (told.retryable, told.retry_after) == (None, None)
    assert describe(OddTextError()).message == "odd"
    assert encode(describe(OddTextError()))


class DeniesItselfError(Exception):
    @property
    def __class__(self):
        raise SystemExit(3)


class GroupOfItselfError(ExceptionGroup):
    @property
    def exceptions(self):
        return (self,)


def test_an_exception_whose_class_lies_is_described_as_what_it_is():
    told = describe(DeniesItselfError("x"))
    assert (told.type, told.kinds) == ("DeniesItselfError", ("DeniesItselfError",))
    told = describe(GroupOfItselfError("g", [ValueError("x")]))
    assert (told.type, "ValueError: x" in told.message) == ("GroupOfItselfError", True)


async def test_a_handlers_bad_data_ends_its_attempt_and_not_its_worker(log):
    def bad(data):
        raise asking(10**400)

    async with stage(log, handlers_of(work=bad), one_step()) as client, running():
        for _ in range(2):
            view = await outcome(client)
            assert (view.status, view.error.type) == ("failed", "ConnectionError")


# --- groups -------------------------------------------------------------------------------------------------------


class CardDeclinedError(ValueError):
    retryable = False


class ThrottledError(Exception):
    retryable = True
    retry_after = 9


def test_the_errors_in_a_group_are_in_its_message_and_its_kinds():
    inner = ExceptionGroup("inner", [CardDeclinedError("no money"), KeyError("x")])
    told = describe(ExceptionGroup("all", [OSError("disk"), inner]))
    assert told.type == "ExceptionGroup"
    assert told.message.startswith(
        "all (2 sub-exceptions): OSError: disk; CardDeclinedError: no money; KeyError: 'x'"
    )
    assert {"OSError", "CardDeclinedError", "ValueError", "KeyError", "LookupError"} <= set(told.kinds)
    assert len(told.kinds) == len(set(told.kinds))


def test_a_group_of_base_errors_names_them_as_well():
    told = describe(BaseExceptionGroup("g", [SystemExit(3), ValueError("x")]))
    assert "SystemExit: 3; ValueError: x" in told.message


@pytest.mark.parametrize(
    ("inside", "policy", "again"),
    [
        ([ConnectionError()], {}, True),
        ([TypeError()], {}, False),
        ([ConnectionError(), TypeError()], {}, False),
        ([CardDeclinedError(), ThrottledError()], {}, False),
        ([ThrottledError(), ThrottledError()], {}, True),
        ([ThrottledError(), TypeError()], {}, False),
        ([ConnectionError()], {"non_retryable": ["OSError"]}, False),
        ([TypeError()], {"retryable": ["TypeError"]}, True),
        ([ExceptionGroup("inner", [CardDeclinedError()])], {}, False),
    ],
    ids=str,
)
def test_whether_a_group_is_retried_hangs_on_the_errors_in_it(inside, policy, again):
    assert is_retryable(Retry(max_attempts=2, **policy), describe(ExceptionGroup("g", inside))) is again


def test_the_longest_wait_that_the_errors_in_a_group_ask_for_counts():
    assert describe(ExceptionGroup("g", [asking(3), ThrottledError(), asking("no")])).retry_after == 9.0


def test_a_group_of_any_size_and_depth_is_described_in_a_bounded_text():
    wide = ExceptionGroup("wide", [ValueError("x" * 10_000) for _ in range(5_000)])
    deep = ExceptionGroup("deep", [wide])
    for _ in range(3_000):
        deep = ExceptionGroup("deep", [deep])
    assert "and 95 more" in describe(wide).message
    for error in (wide, deep):
        assert len(encode(describe(error))) < 10_000


def test_related_errors_are_shown_up_to_a_number_and_no_time_is_spent_on_more(monkeypatch):
    """An error that is in a group twice is shown twice, so what is to be shown may double with each level."""
    shown = []
    original = traceback.TracebackException.__init__

    def counting(self, *args, **kwargs):
        shown.append(None)
        original(self, *args, **kwargs)

    monkeypatch.setattr(traceback.TracebackException, "__init__", counting)
    doubled = ExceptionGroup("leaf", [ValueError("x")])
    for _ in range(40):
        doubled = ExceptionGroup("doubled", [doubled, doubled])
    chained = ValueError("first")
    for number in range(20_000):
        error = ValueError(number)
        error.__cause__, chained = chained, error
    for error in (doubled, chained):
        assert "raise error" in describe(raised(error)).traceback
    assert len(shown) < 3_000
    later = KeyError("later")
    later.__cause__ = OSError("earlier")
    assert "OSError: earlier" in describe(raised(later)).traceback


def raised(error):
    with pytest.raises(type(error)) as caught:
        raise error
    return caught.value
