"""The same terminal as for the templates."""

from tests.cli.conftest import inside  # noqa: F401 - a fixture
from tests.templates.conftest import stepwell  # noqa: F401 - a fixture
