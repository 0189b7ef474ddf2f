"""What holds of every declaration of a step type, by machine."""

import inspect
import subprocess
import sys

import pytest

from stepwell import steps
from stepwell.builder.recording import OPTIONS
from stepwell.consumers.worker.builtin import BUILTIN, OF_SERVICES, _find
from stepwell.schemas.definitions.step_type import fields_of
from stepwell.step_types.table import BUILT_IN
from tests.step_types import functions, names, tables

DOCS = tables.FILE.read_text(encoding="utf-8")
BUILT = [one for one in BUILT_IN if not one.takes_handler]  # the others are step functions
_ids = {"ids": lambda one: one.name}


@pytest.mark.parametrize("declared", BUILT, **_ids)
def test_every_setting_has_a_text_for_editors(declared):
    assert all(field.setting.text.strip() for field in fields_of(declared))


@pytest.mark.parametrize("declared", BUILT, **_ids)
def test_every_setting_has_a_parameter_of_the_builder_under_the_name_that_is_declared(declared):
    function = getattr(steps, declared.name)
    parameters = set(inspect.signature(function).parameters)
    wanted = {field.setting.parameter or field.name for field in fields_of(declared)}
    assert wanted <= parameters
    assert not {field.name for field in fields_of(declared) if not field.setting.parameter} & set(OPTIONS)
    assert parameters - wanted <= {"options", "data"}  # the step's input


def test_the_table_has_the_type_of_every_file():
    """``just generate`` writes it anew."""
    assert names.FILE.read_text() == names.source(names.FILE.read_text())


def test_the_functions_of_the_builder_are_those_that_the_declarations_make():
    """``just generate`` writes them anew."""
    assert functions.FILE.read_text() == functions.source()


def test_every_setting_and_every_type_is_in_the_docs_as_the_declarations_have_them():
    """``just generate`` writes them anew."""
    assert set(tables.regions(DOCS)) == tables.wanted()
    assert tables.page(DOCS) == DOCS


def test_settings_that_must_be_there_come_first_and_nothing_is_called_twice():
    for declared in BUILT:
        flags = [field.required for field in fields_of(declared)]
        assert flags == sorted(flags, reverse=True), declared.name
        called = [name for field in fields_of(declared) for name in field.setting.called]
        assert len(called) == len(set(called)), declared.name
    names = [*BUILT_IN.names, *BUILT_IN.aliases]
    assert len(names) == len(set(names))


def test_what_a_declaration_says_runs_it_is_there():
    for declared in BUILT:
        runs = declared.way == "worker" and declared.names_handler is None
        assert bool(declared.runs) == runs == (declared.name in BUILTIN) == (declared.name in OF_SERVICES)
        for path in filter(None, (declared.runs, declared.runs_for_services)):
            assert inspect.iscoroutinefunction(_find(path)) is not declared.blocking, path


def test_neither_the_core_nor_the_schemas_import_a_declaration():
    modules = "stepwell.core.decide.decide, stepwell.core.plan.checked, stepwell.schemas.definitions.load"
    code = f"import sys, {modules}; print([name for name in sys.modules if name.startswith('stepwell.step_types')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
