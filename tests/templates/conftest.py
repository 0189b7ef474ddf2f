"""A terminal for these tests."""

import sys

import pytest

from stepwell.cli.main import command
from tests.cli.conftest import inside  # noqa: F401 - a fixture


@pytest.fixture
def stepwell(inside, capsys):  # noqa: F811
    def call(*words, status=0):
        """What a verb prints on stdout, and on stderr."""
        inside._monkeypatch.setattr(sys, "argv", ["stepwell", *words])
        ended = command()
        out, err = capsys.readouterr()
        assert ended == status, f"{out}\n{err}"
        assert "Traceback" not in err
        return out, err

    call.directory = inside.directory
    return call
