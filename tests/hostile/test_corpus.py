"""Whatever is given as a definition or an expression, a clear error names the place, soon and in little memory."""

import pytest

from stepwell.core.expressions.evaluate import compile_expression
from stepwell.core.expressions.templates import compile_template
from stepwell.errors import DefinitionError, ExpressionError
from stepwell.language import compile_plan, load_definition
from tests.hostile.corpus import FILES, SHAPES, TEXTS
from tests.hostile.corpus_expressions import BIG, EVALUATED, EXPRESSIONS, TEMPLATES
from tests.hostile.measured import check_message, measured

SECONDS = 60.0
"""Processor time that one case may take. The slowest takes two seconds, or ten where its innermost calls happen to
begin a new chunk of CPython's frame stack each time, which depends on how deep the test runner has got before. What
has no bound takes for ever."""


def rows(table):
    return [pytest.param(given, piece, id=name) for name, given, piece in table]


def refused(kind, act, piece):
    """The error of what is given, which came in time and can be printed."""
    with measured() as took, pytest.raises(kind) as caught:
        act()
    assert took.seconds < SECONDS, f"took {took.seconds:.1f} s of processor time"
    assert piece in check_message(caught.value)
    return caught.value


def test_the_corpus_has_no_name_twice_and_hundreds_of_cases():
    tables = (TEXTS, FILES, SHAPES, EXPRESSIONS, EVALUATED, TEMPLATES)
    for table in tables:
        names = [name for name, _, _ in table]
        assert sorted(set(names)) == sorted(names)
    assert sum(map(len, tables)) >= 300


@pytest.mark.parametrize(("text", "piece"), rows(TEXTS))
def test_a_malformed_text_is_refused(text, piece):
    error = refused(DefinitionError, lambda: compile_plan(load_definition(text, place="w.yaml")), piece)
    assert "w" in str(error)


@pytest.mark.parametrize(("text", "piece"), rows(TEXTS))
def test_a_malformed_file_is_refused_by_its_name(text, piece, tmp_path):
    file = tmp_path / "odd.yaml"
    file.write_bytes(text.encode(errors="surrogatepass"))
    error = refused(DefinitionError, lambda: compile_plan(load_definition(file)), piece)
    assert error.problems


@pytest.mark.parametrize(("name", "piece"), rows(FILES))
def test_a_name_that_leads_to_no_definition_is_refused(name, piece):
    refused(DefinitionError, lambda: compile_plan(load_definition(name)), piece)


@pytest.mark.parametrize(("data", "piece"), rows(SHAPES))
def test_a_definition_that_makes_no_sense_is_refused(data, piece):
    refused(DefinitionError, lambda: compile_plan(load_definition(data)), piece)


@pytest.mark.parametrize(("source", "piece"), rows(EXPRESSIONS))
def test_an_expression_that_is_not_allowed_is_refused_when_it_is_compiled(source, piece):
    refused(ExpressionError, lambda: compile_expression(source), piece)


@pytest.mark.parametrize(("source", "piece"), rows(EXPRESSIONS))
def test_a_condition_that_is_not_allowed_is_refused_with_the_definition_and_its_step(source, piece):
    steps = [{"id": "a", "handler": "h"}, {"id": "b", "handler": "h", "depends_on": ["a"], "condition": source}]
    error = refused(DefinitionError, lambda: compile_plan(load_definition({"name": "w", "steps": steps})), "")
    assert all("steps[1].condition" in problem for problem in error.problems) or "surrogates" in str(error)


@pytest.mark.parametrize(("source", "piece"), rows(EVALUATED))
def test_an_expression_that_asks_for_too_much_is_refused_when_it_is_evaluated(source, piece):
    expression = compile_expression(source)
    refused(ExpressionError, lambda: expression.evaluate({"input": BIG}), piece)


@pytest.mark.parametrize(("value", "piece"), rows(TEMPLATES))
def test_a_template_that_is_not_allowed_is_refused(value, piece):
    refused(ExpressionError, lambda: compile_template(value), piece)
