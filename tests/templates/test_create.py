"""``stepwell templates`` and ``stepwell create``, as somebody at a terminal meets them."""

import json
import re
import shlex
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.rows("O3", "O5", "T8")

CHAIN = ["--param", "level1_approver=alice", "--param", "level2_approver=bob", "--param", 'request_title=Desk "4"']
OWN = """
template: greeting
description: Says hello
parameters:
  who: {type: string, description: whom to greet}
  times: {type: integer, default: 1, minimum: 1, maximum: 9}
definition:
  name: greeting
  steps:
    - {id: hello, type: input, config: {data: {text: "hello ${who}", times: "${times}"}}}
"""


def test_templates_are_listed_with_what_they_need(stepwell):
    out, _ = stepwell("templates")
    assert "approval_chain" in out
    assert "--param level1_approver=…  who decides first" in out
    listed = json.loads(stepwell("templates", "--json")[0])["templates"]
    assert len(listed) == 7
    chain = next(one for one in listed if one["template"] == "approval_chain")
    assert chain["parameters"]["level1_approver"]["required"] is True
    assert chain["parameters"]["level3_required"]["default"] == 1


def test_one_template_is_shown_with_types_defaults_and_a_command_that_works(stepwell):
    out, _ = stepwell("templates", "conditional_workflow")
    assert "urgent_from: number, default 80" in out
    assert "returns {score, confidence, reason}" in out
    line = next(line for line in out.splitlines() if line.startswith("stepwell create"))
    created, _ = stepwell(*line.split()[1:])
    assert created.startswith("created conditional-workflow@")


def test_create_registers_and_tells_how_to_start(stepwell):
    out, _ = stepwell("create", "approval_chain", *CHAIN)
    reference = out.splitlines()[0].removeprefix("created ")
    name, _, version = reference.partition("@")
    assert f"stepwell start {name} --version {version}" in out
    assert "approval:  level1: alice" in out
    again = json.loads(stepwell("create", "approval_chain", *CHAIN, "--json")[0])
    assert again["reference"] == reference
    assert again["definition"]["steps"][1]["config"]["title"] == 'Desk "4"'
    started = stepwell("start", name, "--version", version, "--id", "c-1")[0]
    assert started.strip() == "c-1"


def test_other_parameters_make_another_version_beside_it(stepwell):
    one = json.loads(stepwell("create", "sample", "--json")[0])
    other = json.loads(stepwell("create", "sample", "--param", "top=1", "--name", "mine", "--json")[0])
    assert other["workflow"] == "mine"
    assert one["version"] != other["version"]


def test_everything_wrong_with_the_parameters_is_told_at_once(stepwell):
    _, err = stepwell(
        "create", "approval_chain", "--param", "level_1_approver=a", "--param", "level3_required=many",
        "--param", "level1_timeout_seconds=0", status=2,
    )  # fmt: skip
    assert 'unknown parameter "level_1_approver", did you mean "level1_approver"?' in err
    assert 'parameter "request_title" is missing: what is to be approved' in err
    assert 'parameter "level3_required": must be a whole number, not "many"' in err
    assert 'parameter "level1_timeout_seconds": must be at least 1, not 0' in err
    assert "5 problems" not in err
    assert "6 problems" in err
    _, err = stepwell("create", "aproval_chain", status=2)
    assert 'did you mean "approval_chain"?' in err
    _, err = stepwell("create", "sample", "--param", "top", status=2)
    assert "is not of the form KEY=VALUE" in err
    _, err = stepwell("create", "sample", "--param", "top=1", "--param", "top=2", status=2)
    assert "is given twice" in err


def test_texts_stay_texts_and_lists_may_be_written_with_commas(stepwell):
    chain = ["--param", "level1_approver=007", "--param", "level2_approver=true", "--param", "request_title=1.0"]
    made = json.loads(
        stepwell("create", "approval_chain", *chain, "--param", "level3_approvers=carol, dave", "--json")[0]
    )
    assert made["approvals"] == {"level1": ["007"], "level2": ["true"], "level3": ["carol", "dave"]}


def test_out_writes_a_definition_that_runs_and_never_over_another(stepwell):
    for name in ("mine.yaml", "mine.json"):
        out, _ = stepwell("create", "sample", "--name", "mine", "--out", name)
        assert f"wrote {name}" in out
        assert json.loads(stepwell("run", name, "--json")[0])["output"]["rows_used"] == 3
    assert json.loads((stepwell.directory / "mine.json").read_text()) == yaml.safe_load(
        (stepwell.directory / "mine.yaml").read_text()
    )
    _, err = stepwell("create", "sample", "--out", "mine.yaml", status=2)
    assert "exists already" in err
    out, err = stepwell("create", "sample", "--out", "-")
    assert yaml.safe_load(out)["name"] == "sample"
    assert "It needs no handlers" in err


def test_the_command_that_is_told_for_a_file_runs_it(stepwell):
    out, _ = stepwell("create", "human_approval", "--param", 'limits={"travel": 700}', "--out", "claim.yaml")
    told = next(line for line in out.splitlines() if "stepwell run" in line)
    words = shlex.split(told.partition("run:")[2])
    assert words[:5] == ["stepwell", "run", "claim.yaml", "--handlers", "stepwell.templates.handlers"]
    output = json.loads(stepwell(*words[1:], "--json")[0])["output"]
    assert output["by_itself"] is True
    assert (stepwell.directory / output["document"]["path"]).is_file()
    agents = ["--param", "extraction_agent=a", "--param", "transformation_agent=b"]
    assert "stepwell run p.yaml --handlers MODULE" in stepwell(
        "create", "sequential_pipeline", *agents, "--out", "p.yaml"
    )[0]  # fmt: skip


def test_start_starts_an_instance_and_checks_its_input_before_anything_is_registered(stepwell):
    _, err = stepwell("create", "human_approval", "--start", "--input", '{"amount": 1}', status=2)
    assert "'expense_id' is a required property" in err
    assert "For example: --input" in err
    out, _ = stepwell("create", "sample", "--start", "--id", "s-1")
    assert "started s-1" in out
    assert "It is in the log. No engine works on it now" in out
    assert json.loads(stepwell("status", "s-1", "--json")[0])["workflow"] == "sample"
    _, err = stepwell("create", "sample", "--id", "s-2", status=2)
    assert "is for an instance" in err


def test_templates_of_ones_own_work_by_name_and_by_path(stepwell):
    (stepwell.directory / "templates").mkdir()
    (stepwell.directory / "templates/greeting.yaml").write_text(OWN)
    (stepwell.directory / "elsewhere.yml").write_text(OWN)
    assert "greeting  Says hello  (templates/greeting.yaml)" in stepwell("templates")[0]
    for named in ("greeting", "elsewhere.yml", "templates/greeting.yaml"):
        made = json.loads(stepwell("create", named, "--param", 'who={{ "x" }}', "--param", "times=3", "--json")[0])
        assert made["definition"]["tags"] == ["template:greeting@1"]
    stepwell("create", "greeting", "--param", 'who={{ input }} "', "--out", "g.yaml")
    assert json.loads(stepwell("run", "g.yaml", "--json")[0])["output"]["hello"] == {
        "text": 'hello {{ input }} "', "times": 1,
    }  # fmt: skip
    (stepwell.directory / "templates/bad.yaml").write_text("template: [")
    _, err = stepwell("templates", status=2)
    assert "templates/bad.yaml: line" in err


def test_the_template_of_the_page_works(stepwell):
    page = (Path(__file__).parents[2] / "docs/templates.md").read_text()
    text = re.search(r"^```yaml\n(template: greeting.*?)^```$", page, re.MULTILINE | re.DOTALL)[1]
    (stepwell.directory / "templates").mkdir()
    (stepwell.directory / "templates/greeting.yaml").write_text(text)
    stepwell("create", "greeting", "--param", "who={{ input }}", "--param", "times=2", "--out", "g.yaml")
    for again, more in (("{{ input }}", True), ("{{ other }}", False)):
        ran, _ = stepwell("run", "g.yaml", "--input", json.dumps({"again": again}), "--json")
        assert json.loads(ran)["output"] == {"said": "Hello {{ input }}", "more": more}


def test_people_take_a_chain_to_its_end(stepwell):
    stepwell("create", "approval_chain", *CHAIN, "--param", "level3_approvers=cy,di", "--param", "level3_required=2",
             "--out", "chain.yaml")  # fmt: skip

    def run(name, status):
        out, err = stepwell("run", "chain.yaml", "--id", name, "--input", '{"amount": 4}', "--json", status=status)
        return json.loads(out), err

    waiting, _ = run("yes", 3)
    assert waiting["status"] == "running"
    assert "these may: alice" in stepwell("approve", "yes", "--by", "bob", status=2)[1]
    stepwell("approve", "yes", "--by", "alice")
    for person in ("bob", "cy", "di"):
        run("yes", 3)
        stepwell("approve", "yes", "--by", person)
    done = run("yes", 0)[0]["output"]
    assert (done["approved"], done["level"], done["title"]) == (True, 3, 'Desk "4"')
    assert [decision["by"] for decision in done["decisions"]] == ["alice", "bob", "di"]
    run("no", 3)
    stepwell("reject", "no", "--by", "alice", "--comment", "not this year")
    refused = run("no", 0)[0]["output"]
    assert (refused["approved"], refused["level"]) == (False, 1)
    assert refused["decisions"][0]["comment"] == "not this year"
    assert refused["decisions"][1:] == [None, None]


def test_a_person_lets_a_large_order_through_or_stops_it(stepwell):
    stepwell("create", "order_processing", "--out", "order.yaml")
    order = json.loads(stepwell("templates", "order_processing", "--json")[0])["input_example"]
    words = ["run", "order.yaml", "--handlers", "stepwell.templates.handlers", "--input", json.dumps(order), "--json"]
    for name in ("a", "b"):
        stepwell(*words, "--id", name, status=3)
    stepwell("approve", "a", "--by", "order-desk")
    done = json.loads(stepwell(*words, "--id", "a")[0])["output"]
    assert (done["approved_by"], len(done["documents"])) == ("order-desk", 4)
    assert all((stepwell.directory / document["path"]).is_file() for document in done["documents"])
    stepwell("reject", "b", "--by", "order-desk", "--comment", "too much")
    stopped = json.loads(stepwell(*words, "--id", "b", status=1)[0])
    assert (stopped["status"], "too much" in json.dumps(stopped)) == ("failed", True)
