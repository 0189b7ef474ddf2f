"""A workflow that a step names and nobody knows is told before the step has its turn, by every door."""

from __future__ import annotations

import pytest

from stepwell.consumers.registry.children import missing_children
from stepwell.language import load_definition
from tests.server.conftest import client, gate, http  # noqa: F401 - fixtures
from tests.workbench import client_on

from .conftest import Inside

CHILD = "name: shop\nversion: 1.10\nsteps: [{id: a, type: input}]\n"
PARENT = "name: parent\nsteps:\n- {id: ask, type: input}\n- {id: go, type: workflow_trigger, depends_on: [ask], config: %s}\n"
TYPO = PARENT % "{workflow: shpo, wait: false}"
RIGHT = PARENT % "{workflow: shop, wait: false}"
FLOW = """
import stepwell

@stepwell.step
def one(x: int) -> int:
    return x

@stepwell.workflow
def child(x: int) -> int:
    return one(x)

@stepwell.workflow
def parent(x: int) -> int:
    return child(x)
"""
TOLD = "no workflow 'shpo' is registered, did you mean \"shop\"?"
PLACE = 'steps[1].config.workflow ("go")'


@pytest.fixture
def known(inside: Inside) -> Inside:
    inside.write("shop.yaml", CHILD)
    inside.write("typo.yaml", TYPO)
    inside.write("right.yaml", RIGHT)
    inside("register", "shop.yaml")
    return inside


@pytest.mark.parametrize(
    "words", [("register", "typo.yaml"), ("start", "typo.yaml"), ("create", "own", "--register")]
)
def test_a_child_with_a_misspelt_name_is_warned_about(known: Inside, words):
    if words[0] == "create":
        (known.directory / "templates").mkdir()
        known.write("templates/own.yaml", f"template: own\ndefinition:\n  {TYPO.replace(chr(10), chr(10) + '  ')}")
    err = known(*words)
    assert err.count("warning: a step starts a workflow that is not there") == 1
    assert TOLD in err
    assert PLACE in err


def test_a_workflow_in_python_is_warned_about_once(inside: Inside):
    inside.write("flow_with_a_child.py", FLOW)
    err = inside("register", "flow_with_a_child.py", "--no-activate")
    assert err.count("warning: a step starts a workflow that is not there") == 1
    assert "every version of workflow 'child' is inactive" in err


def test_run_and_a_start_by_name_warn_too_and_of_the_children_s_children(known: Inside):
    known("register", "typo.yaml")
    known.write(
        "grand.yaml",
        "name: grand\nsteps: [{id: x, type: workflow_trigger, config: {workflow: parent, wait: false}}]\n",
    )
    for words in (("start", "parent"), ("start", "grand.yaml"), ("start", "grand")):
        assert TOLD in known(*words) or words == ("start", "grand.yaml")
    known.write("run.yaml", TYPO.replace("parent", "other"))
    err = known("run", "run.yaml")
    assert TOLD in err
    assert err.count("warning:") == 1


def test_what_is_registered_together_knows_each_other_in_any_order(inside: Inside):
    inside.write("a.yaml", RIGHT)
    inside.write("b.yaml", CHILD)
    assert "warning" not in inside("register", "a.yaml", "b.yaml")
    assert "warning" not in inside("register", ".")


def test_validate_looks_into_a_log_where_it_is_named(known: Inside):
    assert "warning" not in known("validate", "typo.yaml")
    log = "file:.stepwell/log.db"
    err = known("validate", "typo.yaml", "--log", log)
    assert err.startswith(f"warning: {PLACE}: {TOLD}")
    assert known.json("validate", "typo.yaml", "--log", log)["warnings"] == [
        err.removeprefix("warning: ").rstrip("\n")
    ]
    assert known.json("validate", "right.yaml", "--log", log)["warnings"] == []
    known.write("self.yaml", PARENT % "{workflow: parent}")
    assert known("validate", "self.yaml", "--log", log) == ""


async def test_http_answers_a_registration_with_what_is_missing(http, log):  # noqa: F811
    answer = await http.post("/v1/definitions", content=TYPO)
    assert answer.json()["warnings"] == [f"{PLACE}: no workflow 'shpo' is registered (there are: parent)"]
    assert "warnings" not in (await http.post("/v1/definitions", content=CHILD)).json()
    assert "warnings" not in (await http.post("/v1/definitions", content=RIGHT.replace("parent", "p2"))).json()


async def test_versions_inactive_ones_and_templates_are_told_apart(log):
    async with client_on(log) as client:  # noqa: F811
        await client.register(CHILD)

        def missing(config: str) -> list[str]:
            found = missing_children(load_definition(PARENT % config), client.registry)
            return [f"{one.place}: {one.reason}" for one in found]

        assert missing("{workflow: shop, version: 1.10}") == []
        (told,) = missing("{workflow: shop, version: 1.1}")
        assert told.startswith("steps[1].config.version (\"go\"): no workflow 'shop' version 1.1 is registered")
        assert missing("{workflow: '{{ input.name }}'}") == []
        assert missing("{workflow: shop, version: '{{ input.version }}'}") == []
        await client.deactivate("shop", "1.10")
        (told,) = missing("{workflow: shop}")
        assert "every version of workflow 'shop' is inactive" in told
