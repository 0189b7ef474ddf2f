"""What stands of the events in the docs and in ``stepwell.events`` is made from them: ``just generate``."""

from typing import get_args

from stepwell import events
from stepwell.schemas.records.events import Event
from tests.docs import events_table


def test_every_event_has_a_row_in_the_docs_with_what_its_docstring_says():
    text = events_table.PAGE.read_text(encoding="utf-8")
    assert events_table.page(text) == text
    assert all(f"| `{kind.__struct_config__.tag}` | " in text for kind in get_args(Event))


def test_every_event_is_importable_from_the_public_address():
    assert events_table.MODULE.read_text(encoding="utf-8") == events_table.module()
    assert {kind.__name__ for kind in get_args(Event)} | {"Event", "ErrorInfo"} == set(events.__all__)
