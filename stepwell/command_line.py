"""Commands of the terminal, as messages tell people to type them: a shell takes each word of them as it is meant."""

from __future__ import annotations

import shlex


def command(*words: str) -> str:
    """``stepwell`` with these words."""
    return shlex.join(("stepwell", *words))


def about(verb: str, instance_id: str, *options: str, at: str = "") -> str:
    """Write a command about an instance. ``--`` separates an id that looks like an option.

    Args:
        at: What it needs besides, to look at the same log: `` --log URL``, or nothing.
    """
    if instance_id.startswith("-"):
        return f"{command(verb, *options)}{at} {shlex.join(('--', instance_id))}"
    return f"{command(verb, instance_id, *options)}{at}"
