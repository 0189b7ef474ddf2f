"""Standard output, which belongs to results.

Who asks for ``--json`` reads one JSON object there, or one a line. What handlers print, and the processes that they
start, stands on stderr then: file descriptor 1 is stderr's, and results have a descriptor of their own.

What the encoding of standard output has no bytes for is written with backslashes, as JSON has them.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import Final, TextIO

ESCAPES: Final = "stepwell-escapes"
"""An error handler of codecs: ``é`` becomes ``\\u00e9``, which JSON reads as ``é`` again."""


class _Results:
    stream: TextIO | None = None  # None while standard output is what it was


_results = _Results()


def results() -> TextIO:
    """Where results are printed."""
    return _results.stream or sys.stdout


def open_what_is_closed() -> None:
    """Have standard input, output and stderr lead nowhere where a process was started without them.

    The next file that is opened would else get their descriptor: what handlers and their processes print would be
    written into it, be it the log.
    """
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # becomes this one, the lowest that is free
            os.set_inheritable(descriptor, True)
            if getattr(sys, name) is None:
                mode = "r" if name == "stdin" else "w"
                stream = open(descriptor, mode, encoding="utf-8")  # noqa: PTH123, SIM115 - as long as we live
                setattr(sys, name, stream)
                setattr(sys, f"__{name}__", stream)


@contextlib.contextmanager
def reserved() -> Iterator[None]:
    """Keep standard output for results; all else that is written to it goes to stderr.

    In a process of its own that lasts until the process ends, since threads of handlers may outlive the block. Where
    standard output is no file (in a test), it lasts for the block, and covers what is written by Python code.
    """
    out = sys.stdout
    if out is None or _results.stream is not None:
        yield
        return
    own = _descriptor_of_its_own(out)
    if own is not None:
        _results.stream = own
        sys.stdout = sys.stderr if sys.stderr is not None else out
        yield
        return
    _results.stream, sys.stdout = out, sys.stderr
    try:
        yield
    finally:
        _results.stream, sys.stdout = None, out


def _descriptor_of_its_own(out: TextIO) -> TextIO | None:
    """Give descriptor 1 to stderr; return a stream to where it went before. None where that cannot be."""
    try:
        if out.fileno() != 1:
            return None
        out.flush()
        if sys.stderr is None:
            os.open(os.devnull, os.O_WRONLY)  # becomes descriptor 2, the lowest that is free
        kept = os.dup(1)
        os.dup2(2, 1)
    except (OSError, ValueError):  # it is no file, or closed
        return None
    return open(kept, "w", encoding=out.encoding, errors=ESCAPES)  # noqa: PTH123 - a descriptor, for as long as we live


def escape_what_cannot_be_written() -> None:
    """Have standard output and stderr take every text, whatever their encodings."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ESCAPES)


def json_escapes(text: str) -> str:
    """Each character of a text as JSON can write it in ASCII; one beyond U+FFFF is two escapes."""
    units = text.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[i : i + 2].hex()}" for i in range(0, len(units), 2))


def _escaped(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return json_escapes(error.object[error.start : error.end]), error.end


codecs.register_error(ESCAPES, _escaped)
