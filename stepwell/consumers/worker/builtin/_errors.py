"""What can go wrong with the files that steps work on."""

from __future__ import annotations

from stepwell.errors import StepwellError


class FileOperationError(StepwellError):
    """A file could not be worked on.

    Args:
        path: As the definition names it.
        retryable: Whether another attempt may go better: the disk is full, a server of files is away.
    """

    def __init__(
        self, message: str, *, path: str = "", retryable: bool = False, place: str = "", remedy: str = ""
    ) -> None:
        self.path = path
        self.retryable = retryable
        super().__init__(message, place=place, remedy=remedy)


class FileSettingsError(FileOperationError):
    """The settings of the step are wrong; ``place`` says which. Not retryable."""


class PathRefused(FileOperationError):  # noqa: N818 - a kind of error that retry policies know, as the next ones
    """A path leads out of the directories that steps may work in. Not retryable."""


class FileNotFound(FileOperationError, FileNotFoundError):  # noqa: N818
    """There is no such file or directory. Not retryable."""


class FileExists(FileOperationError, FileExistsError):  # noqa: N818
    """There is another file already, and ``overwrite`` is false. Not retryable."""


class FileAccessDenied(FileOperationError, PermissionError):  # noqa: N818
    """The worker's user may not. Not retryable."""


class WrongKindOfFile(FileOperationError):  # noqa: N818
    """A directory where a file is needed, or the other way round, or something else altogether. Not retryable."""
