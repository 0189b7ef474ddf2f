"""The examples of docs/dialects.md are what the page says they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stepwell.language import compile_loaded, read_definition
from stepwell.schemas.dialects import DIALECTS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "dialects.md").read_text(encoding="utf-8")
SECTIONS = {part.partition("\n")[0]: part for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)}


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_example_of_a_dialect_is_known_and_compiled(dialect: str):
    found = re.search(r"```(?:yaml|json)\n(.*?)```", SECTIONS[dialect], re.DOTALL)
    assert found
    loaded = read_definition(found[1], name="example")
    assert loaded.dialect == dialect
    assert compile_loaded(loaded).batches


def test_what_the_page_says_of_an_example_is_what_the_terminal_prints():
    found = re.search(r"```json\n(.*?)```", SECTIONS["dag"], re.DOTALL)
    assert found
    plan = compile_loaded(read_definition(found[1]))
    said = f"{plan.definition.name} {plan.definition.version} is valid: {len(plan.steps)} steps, dialect dag"
    assert said in PAGE
