"""``stepwell migrate``, as somebody at a terminal meets it."""

import json
import re
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

from stepwell.schemas.migration.old_conditions import expression_of

pytestmark = pytest.mark.rows("O11", "O5")

OLD_YAML = """\
# the books of a month
name: books
version: 1.0.0
steps:
  - {id: read, agent: clerk, action: agent_task, timeout: 60}
  - id: close   # at night
    agent: ledger
    action: agent_task
    depends_on: [read]
    params:
      note: |
        two
        lines
      word: "no"
"""
MIDDLE = {
    "name": "Prüfung", "version": "1.2.0",
    "tasks": {"a": {"action": "agent_task", "agent_id": "k", "conditions": [
        {"field": "input.n", "operator": "greater_or_equal", "value": 3}]}},
}  # fmt: skip


@pytest.fixture
def folder(stepwell):
    path = stepwell.directory / "workflows"
    path.mkdir()
    (path / "old.yaml").write_text(OLD_YAML)
    (path / "middle.json").write_text(json.dumps(MIDDLE, indent=4, ensure_ascii=False))
    (path / "other.yaml").write_text("name: x\nsteps:\n  - {id: a, type: input}\n")
    return path


def contents(folder):
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_status_tells_versions_and_what_would_change_and_changes_nothing(stepwell, folder):
    before = contents(folder)
    out, _ = stepwell("migrate", "status")
    assert "workflows/old.yaml: 1.0.0, would become 2.0.0" in out
    assert "1.1.0 → 1.2.0: each task has conditions" in out
    assert "workflows/other.yaml: another dialect" in out
    assert "3 files, 2 to migrate" in out
    assert contents(folder) == before
    stepwell("migrate", "status", "--check", status=1)
    shown = json.loads(stepwell("migrate", "status", "workflows/middle.json", "--json")[0])
    assert [file["state"] for file in shown["files"]] == ["older"]


def test_all_migrates_and_keeps_the_originals(stepwell, folder):
    before = contents(folder)
    out, err = stepwell("migrate", "--all")
    assert "workflows/old.yaml: 1.0.0 → 2.0.0; the original is workflows/old.yaml.1.0.0.bak" in out
    assert "comments of YAML are not kept; they are in workflows/old.yaml.1.0.0.bak" in err
    after = contents(folder)
    assert after["old.yaml.1.0.0.bak"] == OLD_YAML
    assert after["middle.json.1.2.0.bak"] == before["middle.json"]
    assert after["other.yaml"] == before["other.yaml"]
    books = yaml.safe_load(after["old.yaml"])
    assert list(books["tasks"]) == ["read", "close"]
    assert books["tasks"]["close"]["parameters"] == {"note": "two\nlines\n", "word": "no"}
    assert after["middle.json"].startswith('{\n    "name": "Prüfung",\n    "version": "2.0.0"')
    assert json.loads(after["middle.json"])["tasks"]["a"]["conditions"] == ["input.n >= 3"]
    stepwell("migrate", "status", "--check")
    out, _ = stepwell("migrate", "--all", "workflows")
    assert "workflows/old.yaml: 2.0.0, nothing to do" in out
    assert contents(folder) == after


def test_dry_run_prints_a_diff_that_patch_understands(stepwell, folder):
    before = contents(folder)
    out, _ = stepwell("migrate", "workflows/middle.json", "--dry-run")
    assert contents(folder) == before
    (stepwell.directory / "change.diff").write_text(out)
    assert '-    "version": "1.2.0",\n+    "version": "2.0.0",' in out
    try:
        subprocess.run(["patch", "workflows/middle.json", "change.diff"], cwd=stepwell.directory, check=True)
    except FileNotFoundError:
        return  # there is no patch on this machine; the diff's text was looked at
    patched = (folder / "middle.json").read_text()
    (folder / "middle.json").write_text(before["middle.json"])
    stepwell("migrate", "workflows/middle.json")
    assert (folder / "middle.json").read_text() == patched


def test_an_original_that_was_kept_is_never_written_over(stepwell, folder):
    (folder / "old.yaml.1.0.0.bak").write_text("kept by somebody")
    (folder / "old.yaml.1.0.0.bak.2").write_text("and this")
    out, _ = stepwell("migrate", "workflows/old.yaml")
    assert "old.yaml.1.0.0.bak.3" in out
    after = contents(folder)
    assert after["old.yaml.1.0.0.bak"] == "kept by somebody"
    assert after["old.yaml.1.0.0.bak.2"] == "and this"
    assert after["old.yaml.1.0.0.bak.3"] == OLD_YAML


def test_there_and_back_again_is_the_same_document(stepwell, folder):
    stepwell("migrate", "workflows/old.yaml")
    out, _ = stepwell("migrate", "workflows/old.yaml", "--to", "1.0.0")
    assert "2.0.0 → 1.0.0" in out
    assert yaml.safe_load((folder / "old.yaml").read_text()) == yaml.safe_load(OLD_YAML)
    _, err = stepwell("migrate", "workflows/old.yaml", "--to", "1.3.0", status=2)
    assert "there are 1.0.0, 1.1.0, 1.2.0, 2.0.0" in err


def test_a_file_that_cannot_be_migrated_stops_none_of_the_others(stepwell, folder):
    (folder / "broken.yaml").write_text("name: [")
    (folder / "wrong.json").write_text('{"name": "w", "version": "1.1.0", "tasks": {"a": 1, "b": 2}}')
    out, err = stepwell("migrate", "--all", status=2)
    assert "error: workflows/wrong.json: tasks.a: must be a mapping" in err
    assert "tasks.b: must be a mapping" in err
    assert "error: workflows/broken.yaml: line" in err
    assert "workflows/old.yaml: 1.0.0 → 2.0.0" in out
    shown = json.loads(stepwell("migrate", "--all", "--json", status=2)[0])
    states = {file["file"]: file["state"] for file in shown["files"]}
    assert states["workflows/broken.yaml"] == states["workflows/wrong.json"] == "wrong"
    assert states["workflows/old.yaml"] == "current"


def test_a_link_stays_a_link_and_a_files_rights_stay_as_they_are(stepwell, folder):
    (folder / "old.yaml").chmod(0o640)
    (folder / "link.yaml").symlink_to("old.yaml")
    stepwell("migrate", "workflows/link.yaml")
    assert (folder / "link.yaml").is_symlink()
    assert stat.S_IMODE((folder / "old.yaml").stat().st_mode) == 0o640
    assert "2.0.0" in (folder / "old.yaml").read_text()


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        ([], "needs a file, or --all"),
        (["nosuch.json"], "there is no such file"),
        (["workflows"], "stepwell migrate --all workflows"),
        (["workflows/other.yaml"], "is no definition of the orchestration dialect"),
        (["--all", "--check"], "goes with status"),
        (["status", "nowhere"], "there is no such file"),
    ],
)
def test_what_cannot_be_done_is_told(stepwell, folder, words, problem):
    assert problem in stepwell("migrate", *words, status=2)[1]


def test_without_definitions_there_is_nothing_to_do(stepwell):
    assert "there is no such directory" in stepwell("migrate", "--all", status=2)[1]
    (stepwell.directory / "workflows").mkdir()
    assert "no definitions to migrate" in stepwell("migrate", "--all")[0]


def test_the_example_of_the_page_is_what_comes_out(stepwell):
    page = (Path(__file__).parents[2] / "docs/migration.md").read_text()
    before = re.search(r"^```yml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[1]
    after = re.search(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)[1]
    (stepwell.directory / "books.yaml").write_text(before)
    stepwell("migrate", "books.yaml")
    assert (stepwell.directory / "books.yaml").read_text() == after


def test_the_conditions_of_the_page_become_the_expressions_beside_them():
    page = (Path(__file__).parents[2] / "docs/migration.md").read_text()
    rows = re.findall(r"^\| `(\{field.*?\})` \| `(.*?)` \|$", page, re.MULTILINE)
    assert len(rows) == 4
    for condition, expression in rows:
        assert expression_of(yaml.safe_load(condition)) == expression


def test_a_workflow_s_own_version_is_told_and_left_alone(stepwell, folder):
    (folder / "own.yaml").write_text("name: own\nversion: '7'\ntasks:\n  a: {action: api_call}\n")
    out, _ = stepwell("migrate", "status", "workflows/own.yaml")
    assert "workflows/own.yaml: 2.0.0, nothing to do" in out
    assert 'version: "7" is no version of the schema, but the workflow\'s own; read as 2.0.0' in out
    before = contents(folder)["own.yaml"]
    assert "nothing to do" in stepwell("migrate", "workflows/own.yaml")[0]
    assert "schema_version: 2.0.0" in stepwell("migrate", "workflows/own.yaml", "--to", "1.0.0", status=2)[1]
    assert contents(folder)["own.yaml"] == before
