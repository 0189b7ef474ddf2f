"""What can go wrong, as a user sees it: one base, typed fields, and a message that names place and remedy."""

from __future__ import annotations

import re
from typing import Any, Final

# What a terminal obeys, what turns the direction of a text, what cannot be seen at all, halves of surrogate pairs;
# not the joiners U+200C and U+200D, which words of some scripts need.
ODD: Final = (
    "[\\x00-\\x08\\x0b-\\x1f\\x7f-\\x9f\\u061c\\u200b\\u200e\\u200f\\u2028-\\u202e\\u2060-\\u2069\\ufeff\\ufff9-\\ufffb"
    "\\ud800-\\udfff\\U000e0000-\\U000e007f]"
)
_ODD: Final = re.compile(ODD)


def visible(text: str) -> str:
    """A text for people in which nothing hides, and nothing steers a terminal: what would is shown as its code."""
    return _ODD.sub(lambda found: ascii(found[0])[1:-1], text)


def is_plain(text: str) -> bool:
    """Whether a text can be a name: one line in which nothing hides, and nothing steers a terminal."""
    return not _ODD.search(text) and "\n" not in text and "\t" not in text


NOT_PLAIN: Final = "has line breaks, control characters or invisible ones"


def _restored(kind: type[StepwellError], args: tuple[Any, ...], attributes: dict[str, Any]) -> StepwellError:
    error = kind.__new__(kind, *args)
    error.args = args  # OSError's own constructor drops them
    error.__dict__.update(attributes)
    return error


class StepwellError(Exception):
    """Base of every error that Stepwell raises on purpose.

    Args:
        message: What was wrong, in one sentence.
        place: Where: a file, a path inside a definition (``steps[3].depends_on``), an instance.
        remedy: What to do next.
    """

    def __init__(self, message: str, *, place: str = "", remedy: str = "") -> None:
        self.message: str = visible(message)  # messages quote what they are given
        self.place: str = visible(place)
        self.remedy: str = visible(remedy)
        super().__init__(self.message)

    def __reduce__(self) -> tuple[Any, ...]:
        """As it is, whatever its constructor takes: errors go to other processes, and into caches."""
        return _restored, (type(self), self.args, self.__dict__)

    @property
    def sentence(self) -> str:
        """The same in one line, for records."""
        text = f"{self.place}: {self.message}" if self.place else self.message
        return f"{text} ({' '.join(self.remedy.split())})" if self.remedy else text

    def __str__(self) -> str:
        text = f"{self.place}: {self.message}" if self.place else self.message
        return f"{text}\n  {self.remedy}" if self.remedy else text


MOST_SHOWN: Final = 100
"""Problems of one definition that a message shows: who has more wants to see the first ones."""


class DefinitionError(StepwellError):
    """A definition cannot be accepted.

    Attributes:
        problems: Every reason, each as ``place: message``; the message shows the first hundred.
    """

    def __init__(self, problems: list[str], *, place: str = "", remedy: str = "") -> None:
        self.problems: list[str] = [visible(problem) for problem in problems]
        shown = self.problems[:MOST_SHOWN]
        if len(problems) > MOST_SHOWN:
            shown.append(f"and {len(problems) - MOST_SHOWN:,} more")
        message = shown[0] if len(problems) == 1 else "\n  ".join([f"{len(problems):,} problems", *shown])
        super().__init__(message, place=place, remedy=remedy)


class DefinitionConflictError(StepwellError):
    """Another definition is already registered under this name and version."""


class BuildError(StepwellError):
    """A workflow that is written in Python does what cannot be recorded."""


class ExpressionError(StepwellError):
    """An expression or template cannot be compiled, or cannot be evaluated on the data it was given."""

    def said(self, message: str, *, place: str = "", remedy: str = "") -> ExpressionError:
        """The same error in the words of whoever knows more about where it happened."""
        return ExpressionError(message, place=place, remedy=remedy)


class LimitError(ExpressionError):
    """What a definition or an input asks for takes more work, or more memory, than there is for it.

    Args:
        used: What it has taken, with what it asked for last: units of work, or bytes; the message says which.
        limit: What it may take.
    """

    def __init__(self, message: str, *, used: int, limit: int, place: str = "", remedy: str = "") -> None:
        self.used = used
        self.limit = limit
        super().__init__(message, place=place, remedy=remedy)

    def said(self, message: str, *, place: str = "", remedy: str = "") -> LimitError:
        """The same error in other words."""
        return LimitError(message, used=self.used, limit=self.limit, place=place, remedy=remedy)


class HandlerError(StepwellError):
    """A handler cannot be found, imported or called."""


class StepTypeError(StepwellError):
    """A custom step type cannot be registered, or the package that brings it cannot be loaded."""


class UnknownWorkflowError(StepwellError):
    """No definition of this name (and version) is registered."""


class InactiveWorkflowError(StepwellError):
    """The version that was asked for, or every version of a workflow, is inactive: nothing may be started of it.

    Args:
        workflow: Name of the definition.
        version: The version that was named; empty where none was.
    """

    def __init__(self, message: str, *, workflow: str, version: str = "", remedy: str = "") -> None:
        self.workflow = workflow
        self.version = version
        super().__init__(message, remedy=remedy)


class UnknownInstanceError(StepwellError):
    """The log holds no instance of this id."""


class ArchiveError(StepwellError):
    """An archive cannot be written, or read."""


class ArchiveVersionError(ArchiveError):
    """The archive was written by a newer Stepwell, in a format that this one does not know."""


class ArchiveDamagedError(ArchiveError):
    """The archive is damaged, or cut off.

    Args:
        readable: How many of its instances, from the first one on, can be read.
    """

    def __init__(self, message: str, *, readable: int, place: str = "", remedy: str = "") -> None:
        self.readable = readable
        super().__init__(message, place=place, remedy=remedy)


class SenderError(StepwellError):
    """What is said of who asks for something, or from where, is no name."""


class PositionError(StepwellError):
    """A position from which events were to be read is none, or none of this log."""


class PositionGoneError(PositionError):
    """Retention has deleted what comes after a position: who went on behind it would miss events."""


class CommandRejectedError(StepwellError):
    """The engine decided that a command cannot be followed.

    Args:
        code: A stable word for programs, such as ``already_finished``.
        message: The same for people.
        instance_id: The instance that was asked.
        position: Where the rejection is in the log, ``PARTITION@OFFSET``; empty where the engine was not asked.
    """

    def __init__(
        self, code: str, message: str, *, instance_id: str = "", remedy: str = "", position: str = ""
    ) -> None:
        self.code = code
        self.instance_id = instance_id
        self.position = position
        super().__init__(message, place=instance_id, remedy=remedy)


class WorkflowFailedError(StepwellError):
    """A workflow ended without success and its result was asked for.

    Args:
        status: ``failed`` or ``cancelled``.
        error_type: The type of the error that ended it, such as ``ConnectionError``.
        step_id: The step that failed, if one did.
    """

    def __init__(
        self, message: str, *, instance_id: str, status: str, error_type: str = "", step_id: str = ""
    ) -> None:
        self.instance_id = instance_id
        self.status = status
        self.error_type = error_type
        self.step_id = step_id
        super().__init__(message, place=instance_id)


class OutputTypeError(StepwellError):
    """A workflow completed, and what it returned is not of the type that its function says.

    Args:
        message: What does not fit.
        instance_id: The instance.
        workflow: The name of its workflow.
    """

    def __init__(self, message: str, *, instance_id: str, workflow: str) -> None:
        self.instance_id: str = instance_id
        self.workflow: str = workflow
        super().__init__(
            f"completed, but its output is not what the function of workflow {workflow!r} returns: {message}",
            place=instance_id,
            remedy="client.get(id) gives the output as it is. Mend what the function returns, or says that it does.",
        )


class UnknownClaimError(StepwellError):
    """No step was ever lent under this claim; or that was long ago, by another server, or before a restart.

    Args:
        claim: The claim.
    """

    def __init__(self, claim: str) -> None:
        self.claim = claim
        super().__init__(
            "this server knows no such claim",
            place=claim[:100],
            remedy="Drop the step: whoever lent it has given it back, and it is run again.",
        )


class LeaseLostError(StepwellError):
    """A remote worker speaks of a step that is not in its hands any more.

    Args:
        claim: What it was lent under.
        reason: ``expired``, ``released``, ``cancelled``, ``timed_out``, ``settled`` (this claim has had its outcome)
            or ``lost`` (the server had trouble with the log).
        message: The same for people.
    """

    def __init__(self, claim: str, reason: str, message: str) -> None:
        self.claim = claim
        self.reason = reason
        super().__init__(message, place=claim, remedy="Drop the step; nothing that is said of it now counts.")


class TooManyWorkersError(StepwellError):
    """More different remote workers ask for steps than one server serves."""


class EndedError(StepwellError):
    """Code that runs in this process, as a rule a handler's, has ended what was to go on."""


ENDED: Final = "As a rule that is a handler's code. Nothing that was acknowledged is lost; start it again."
"""What to say about an ``EndedError``."""


class LogError(StepwellError):
    """The log cannot be used: missing, unreadable, full, locked, of a newer version."""


class LogUnavailableError(LogError):
    """The log cannot be used for now, and that may pass by itself: a lock is held, a broker is away."""


class LogLockedError(LogUnavailableError):
    """Another program holds the log file's lock for longer than we wait."""


UNREADABLE: Final = (
    "Either a newer Stepwell wrote it: update (pip install --upgrade stepwell) and start again; "
    "or it is damaged: restore the log from a backup."
)
"""What to do about a record that has no version that we know, and no shape that we know either."""


class LogCorruptedError(LogError):
    """The log file is damaged, or is no log at all."""


class LogFullError(LogError):
    """There is no room left to append; what was acknowledged before is safe."""


class LogVersionError(LogError):
    """The log was written by a newer Stepwell, in a format or with events that this one does not know."""


class RecordTooLargeError(LogError):
    """A record is larger than the log takes.

    Args:
        size: The record's size in bytes.
        limit: The most that the log takes, in bytes.
    """

    def __init__(self, message: str, *, size: int, limit: int, place: str = "", remedy: str = "") -> None:
        self.size = size
        self.limit = limit
        super().__init__(message, place=place, remedy=remedy)


class LogLostError(LogError):
    """This process cannot use its log any more, whatever it tries: its file is not there, or others took it for dead.

    Args:
        restart: Whether the program, started anew, can go on by itself.
    """

    def __init__(self, message: str, *, restart: bool, place: str = "", remedy: str = "") -> None:
        self.restart = restart
        super().__init__(message, place=place, remedy=remedy)


class LogClosedError(LogError):
    """The log was closed while something still waited for it."""


class FilterError(StepwellError):
    """A filter, an order or a cursor that makes no sense."""


class PatternError(StepwellError):
    """A pattern names no type of event."""


class ReadModelsError(StepwellError):
    """The read models cannot be used."""


class ReadModelsVersionError(ReadModelsError):
    """The file was written by a newer Stepwell."""


class ReadModelsDamagedError(ReadModelsError):
    """The file is damaged, of an older version that cannot be migrated, or is none of ours: it must be made anew."""
