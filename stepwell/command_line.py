"""Commands of the terminal, as messages tell people to type them: a shell takes each word of them as it is meant."""

from __future__ import annotations

import shlex


def command(*words: str) -> str:
    """``stepwell`` with these words."""
    return shlex.join(("stepwell", *words))


def about(verb: str, instance_id: str, *options: str, at: str = "") -> str:
    """A command about an instance. An id that begins as an option does is told apart by ``--``.

    Args:
        at: What it needs besides, to look at the same log: `` --log URL``, or nothing.
    """
    if instance_id.startswith("-"):
        return f"{command(verb, *options)}{at} {shlex.join(('--', instance_id))}"
    return f"{command(verb, instance_id, *options)}{at}"
