"""The file of access tokens: lines ``NAME ROLE SHA256``, never a token itself."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import os
import re
import secrets
import stat
import time
from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Final

from msgspec import Struct

from stepwell.errors import StepwellError, visible
from stepwell.logs import Logger
from stepwell.own_files import claim
from stepwell.private_files import make_directory, opened, tell_if_open

VARIABLE: Final = "STEPWELL_TOKENS"
_PREFIX: Final = "stepwell_"  # so that scanners for leaked secrets can know one when they see it
_LOOK_EVERY: Final = 1.0  # seconds between two looks whether the file has changed
_GONE: Final = (0, 0)  # the stamp of a file that is not there
_NAME: Final = re.compile(r"[^\s#\x00-\x1f\x7f]{1,200}\Z")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}\Z")
_logger = Logger("stepwell.server")


class Role(StrEnum):
    """What a token's holder may do.

    A monitor reads health and metrics, and nothing else. A viewer reads. An operator reads, registers, starts and
    steers. An approver reads, approves and rejects. A worker claims steps and reports on them, and nothing else. An
    admin may do everything.
    """

    MONITOR = "monitor"
    VIEWER = "viewer"
    OPERATOR = "operator"
    APPROVER = "approver"
    WORKER = "worker"
    ADMIN = "admin"

    def covers(self, demanded: Role) -> bool:
        """Whether its holder may do what another role is demanded for."""
        return demanded in _COVERS[self]


_COVERS: Final[dict[Role, frozenset[Role]]] = {
    Role.MONITOR: frozenset({Role.MONITOR}),
    Role.VIEWER: frozenset({Role.MONITOR, Role.VIEWER}),
    Role.OPERATOR: frozenset({Role.MONITOR, Role.VIEWER, Role.OPERATOR}),
    Role.APPROVER: frozenset({Role.MONITOR, Role.VIEWER, Role.APPROVER}),
    Role.WORKER: frozenset({Role.WORKER}),
    Role.ADMIN: frozenset(Role),
}
"""What each role may ask for: an operator steers and an approver decides, and neither does the other's work."""


class TokenError(StepwellError):
    """The file of tokens cannot be used, or what is to be written into it makes no sense."""


class Token(Struct, frozen=True):
    """What is known of a token.

    Attributes:
        name: Who holds it.
        digest: Its SHA-256, in hexadecimal.
    """

    name: str
    role: Role
    digest: str


class TokenFile:
    """The tokens of a file, read anew when it changes: who is taken out of it is refused within a second.

    Args:
        clock: Seconds that never go back.

    Raises:
        TokenError: It cannot be read, or a line of it makes no sense.
    """

    def __init__(self, path: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        claim(path)
        self._path = path
        self._clock = clock
        self._looked = clock()
        self._stamp = _stamp(path)
        self._tokens = read_tokens(path)
        tell_if_open(path)

    def __len__(self) -> int:
        return len(self._tokens)

    def find(self, token: str) -> Token | None:
        """What is known of a token; None if it is unknown. Takes the same time whichever it is."""
        self._look()
        digest = digest_of(token)
        found = None
        for known in self._tokens:
            if hmac.compare_digest(known.digest, digest):
                found = known
        return found

    def has(self, token: Token) -> bool:
        """Whether a token that was known is known still: with this name and this role."""
        self._look()
        return token in self._tokens

    def _look(self) -> None:
        now = self._clock()
        if now - self._looked < _LOOK_EVERY:
            return
        self._looked = now
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        if stamp == _GONE:  # whoever deletes it wants nobody let in
            self._tokens, self._stamp = [], stamp
            _logger.warning("the file of access tokens is gone, nobody is let in", file=str(self._path))
            return
        try:
            self._tokens, problems = _lines_of(self._path)
        except TokenError as error:  # whoever may no longer be let in is not known any more
            self._tokens = []
            _logger.warning("access tokens cannot be used, nobody is let in", error=error.sentence)
            return
        for problem in problems:  # of a line that is half written, perhaps; the others hold all the same
            _logger.warning("an access token cannot be read, its holder is not let in", error=problem.sentence)
        if not problems:
            self._stamp = stamp
            _logger.info("access tokens read anew", tokens=len(self._tokens))


def digest_of(secret: str) -> str:
    """All that is kept of a token or a ticket: its SHA-256, in hexadecimal."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()


def read_tokens(path: Path) -> list[Token]:
    """The tokens of a file.

    Raises:
        TokenError: It cannot be read, others may write it, or a line of it makes no sense.
    """
    tokens, problems = _lines_of(path)
    if problems:
        raise problems[0]
    return tokens


def _lines_of(path: Path) -> tuple[list[Token], list[TokenError]]:
    """The tokens of a file, and what is wrong with the lines that hold none. Two of one name are none.

    Raises:
        TokenError: It cannot be read, or others may write it.
    """
    try:
        _check_writers(path)
        raw = path.read_bytes()
    except OSError as error:
        remedy = "`stepwell token NAME --role ROLE` makes a token, and the file with it."
        raise TokenError(f"cannot be read: {_reason(error)}", place=str(path), remedy=remedy) from None
    tokens: list[Token] = []
    problems: list[TokenError] = []
    for number, line in enumerate(raw.splitlines(), 1):
        place = f"{path}:{number}"
        try:
            text = line.decode()
            if text.strip() and not text.lstrip().startswith("#"):
                tokens.append(_token(text.split(), place))
        except UnicodeDecodeError:
            problems.append(TokenError("is no text in UTF-8", place=place, remedy="Write the line anew."))
        except TokenError as error:
            problems.append(error)
    known = Counter(token.name for token in tokens)
    problems += [
        TokenError(f"two tokens are called {name!r}", place=str(path), remedy="Give each a name of its own.")
        for name, times in known.items()
        if times > 1
    ]
    return [token for token in tokens if known[token.name] == 1], problems


def _check_writers(path: Path) -> None:
    """Check that nobody else can add a token: to the file, or by putting another in its place.

    Raises:
        TokenError: Somebody could.
        OSError: There is no such file.
    """
    place = path.resolve(strict=True)
    for one in (place, *{path.absolute().parent, place.parent}):
        mode = one.stat().st_mode
        if mode & stat.S_IWOTH and not (stat.S_ISDIR(mode) and mode & stat.S_ISVTX):
            raise TokenError(
                "everybody on this machine can write it, and so make tokens",
                place=str(one),
                remedy=f"chmod o-w {one}",
            )


def make_token(path: Path, name: str, role: Role) -> str:
    """Make a token, and add it to a file, which is made if it does not exist.

    Returns:
        The token: nobody will ever know it again.

    Raises:
        TokenError: The name makes no sense or is taken, or the file cannot be read or written.
    """
    if not _NAME.match(name):
        raise TokenError("a name is a word of at most 200 characters, without `#`", place=visible(name[:200]))
    token = _PREFIX + secrets.token_urlsafe(32)
    line = f"{name} {role} {digest_of(token)}\n"
    try:
        make_directory(path.parent)
        number = opened(path, os.O_RDWR | os.O_APPEND | os.O_CREAT)
        with os.fdopen(number, "r+b") as file:
            fcntl.flock(number, fcntl.LOCK_EX)  # two at once could take the same name, and then the file is refused
            if any(known.name == name for known in read_tokens(path)):
                raise TokenError(
                    f"there is a token {name!r} already", place=str(path), remedy="Take its line out to revoke it."
                )
            before = file.read()
            file.write((b"\n" if before and not before.endswith(b"\n") else b"") + line.encode())
            file.flush()
            os.fsync(number)
    except OSError as error:
        raise TokenError(f"cannot be written: {_reason(error)}", place=str(path)) from None
    return token


def _token(words: list[str], place: str) -> Token:
    remedy = "A line is `NAME ROLE SHA256`; `stepwell token NAME --role ROLE` adds one."
    if len(words) != 3:
        raise TokenError(f"has {len(words)} words instead of three", place=place, remedy=remedy)
    name, role, digest = words
    if role not in list(Role):
        raise TokenError(f"there is no role {role!r}; roles: {', '.join(Role)}", place=place, remedy=remedy)
    if not _DIGEST.match(digest):
        raise TokenError("the last word is no SHA-256 of 64 hexadecimal digits", place=place, remedy=remedy)
    return Token(name, Role(role), digest)


def _stamp(path: Path) -> tuple[int, int]:
    try:
        known = path.stat()
    except OSError:
        return _GONE
    return known.st_mtime_ns, known.st_size


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
