"""What the README and the docs show must be true: definitions compile, code runs, verbs and options exist."""

import os
import re
import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import click
import pytest
import yaml

from stepwell.cli.main import app
from stepwell.consumers.worker.builtin.process import compile_rules
from stepwell.errors import DefinitionError
from stepwell.language import compile_plan, load_definition
from tests.kafka_broker import IMAGE
from tests.patience import HANG

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
README, GUARANTEES, DEFINITIONS = ROOT / "README.md", ROOT / "docs/guarantees.md", ROOT / "docs/definitions.md"
TERMINAL = ROOT / "docs/terminal.md"
CONTEXT = click.Context(app)
QUERIES = ROOT / "docs/queries.md"
ORDER = shlex.split(
    "run order.yaml --handlers shop --id order-1 --param order=1 --param gift=false --param address=x"
)


class Block(NamedTuple):
    """A fenced block of a page."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self):
        return f"{self.page.name}:{self.line}"


def blocks(*languages, pages=PAGES):
    found = []
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, match.start()) + 1
            if match[1] in languages:
                found.append(Block(page, line, match[1], match[2]))
    return found


def definitions():
    return [b for b in blocks("yaml") if re.search(r"^name:", b.text, re.MULTILINE) and "\nsteps:" in b.text]


def shown_commands():
    """Every command line that begins with ``stepwell``, in blocks of the shell and of the terminal."""
    for block in blocks("sh", "console"):
        for line in block.text.splitlines():
            if block.language == "console" and not line.startswith("$ "):
                continue  # output
            words = shlex.split(line.removeprefix("$ "), comments=True)
            for index, word in enumerate(words):
                if word.rpartition("/")[2] == "stepwell":
                    yield block, [word for word in words[index + 1 :] if word != "&"]
                    break


def without_env_file(words):
    """A command's words without ``--env-file FILE``, which may stand anywhere in any of them."""
    left, rest = [], iter(words)
    for word in rest:
        if word == "--env-file":
            assert next(rest, None) is not None, "it needs a file"
        elif not word.startswith("--env-file="):
            left.append(word)
    return left


def after(text, page, language):
    """The first block of a language that follows a text."""
    whole = page.read_text(encoding="utf-8")
    assert text in whole
    line = whole.count("\n", 0, whole.index(text)) + 1
    return next(block for block in blocks(language, pages=[page]) if block.line > line).text


def run(*arguments, cwd, check=True):
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True, timeout=HANG, env=_environment()
    )
    if check:
        assert done.returncode == 0, f"{arguments}\n{done.stdout}\n{done.stderr}"
    return done


def _environment():
    kept = {key: value for key, value in os.environ.items() if not key.startswith("STEPWELL_")}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}


@pytest.fixture
def shop(tmp_path):
    """A directory with the README's own files."""
    (tmp_path / "order.yaml").write_text(after("`order.yaml`:", README, "yaml"))
    (tmp_path / "shop.py").write_text(after("`shop.py`:", README, "python"))
    (tmp_path / "program.py").write_text(after("Or from Python", README, "python"))
    return tmp_path


def test_there_are_pages_and_blocks_to_look_at():
    assert {"README.md", "definitions.md", "handlers.md", "terminal.md", "guarantees.md"} <= {p.name for p in PAGES}
    assert len(definitions()) > 10
    assert len(blocks("python")) > 5
    assert len(list(shown_commands())) > 20


@pytest.mark.parametrize("block", definitions(), ids=str)
def test_every_definition_that_is_shown_compiles(block):
    plan = compile_plan(load_definition(block.text, place=str(block)))
    assert plan.batches


@pytest.mark.parametrize("block", definitions(), ids=str)
def test_every_rule_of_a_process_step_that_is_shown_is_one(block):
    for step in load_definition(block.text).steps:
        if step.type == "process":
            compile_rules(step.config["rules"])


@pytest.mark.parametrize("block", blocks("yaml"), ids=str)
def test_every_yaml_block_is_yaml(block):
    yaml.safe_load(block.text)


@pytest.mark.parametrize("block", blocks("python"), ids=str)
def test_every_python_block_compiles(block):
    compile(block.text, str(block), "exec")


@pytest.mark.parametrize(("block", "words"), list(shown_commands()), ids=str)
def test_every_verb_and_option_that_is_shown_exists(block, words):
    options = {option for parameter in app.params for option in parameter.opts}
    words = without_env_file(words)
    if words and not words[0].startswith("-"):
        verb = app.get_command(CONTEXT, words[0])
        assert verb is not None, f"{block}: there is no verb {words[0]}"
        if isinstance(verb, click.Group):  # a group, such as `projections`
            verb = verb.get_command(CONTEXT, words[1])
            assert verb is not None, f"{block}: there is no verb {words[0]} {words[1]}"
        options = {option for parameter in verb.params for option in (*parameter.opts, *parameter.secondary_opts)}
    options.add("--help")
    before_pipe = words[: words.index("|")] if "|" in words else words
    for word in before_pipe:
        if word.startswith("--"):
            assert word.partition("=")[0] in options, f"{block}: {word}"


def test_every_verb_is_described_on_the_page_about_the_terminal():
    text = TERMINAL.read_text(encoding="utf-8")
    for verb in app.list_commands(CONTEXT):
        assert app.get_command(CONTEXT, verb).hidden or re.search(rf"^## .*\b{verb}\b", text, re.MULTILINE), verb


def test_every_link_leads_to_a_file_and_a_heading_that_exist():
    for page in PAGES:
        for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", page.read_text(encoding="utf-8")):
            name, _, anchor = target.partition("#")
            linked = (page.parent / name).resolve() if name else page
            assert linked.exists(), f"{page.name}: {target}"
            if anchor:
                headings = re.findall(r"^#+ (.*)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
                assert anchor in {_anchor(heading) for heading in headings}, f"{page.name}: {target}"


def _anchor(heading):
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


def test_the_errors_that_the_page_about_definitions_lists_are_those_that_one_gets():
    text = DEFINITIONS.read_text(encoding="utf-8")
    step = {"id": "a", "handler": "x.y"}
    wrong = [
        [{"id": "extract", "handler": "x.y"}, {"id": "b", "handler": "x.y", "depends_on": ["extrct"]}],
        [step, {"id": "b", "handler": "x.y", "depends_on": ["b"]}],
        [{**step, "depends_on": ["b"]}, {"id": "b", "handler": "x.y", "depends_on": ["a"]}],
        [step, step],
        [{"id": "a", "type": "htp_request"}],
        [{"id": "a"}],
        [step, {"id": "b", "type": "http_request", "handler": "x.y", "config": {"url": "https://example.com"}}],
        [{"id": "a", "type": "wait"}],
        [{**step, "condition": "inptu.a"}],
        [step, {"id": "b", "handler": "x.y", "condition": "a.output"}],
    ]
    for steps in wrong:
        with pytest.raises(DefinitionError) as caught:
            compile_plan(load_definition({"name": "x", "steps": steps}))
        for problem in caught.value.problems:
            assert problem in text


def test_the_readmes_own_workflow_runs_with_the_commands_that_it_shows(shop):
    commands = after("def ship(data: dict)", README, "sh")
    outputs = []
    for line in commands.splitlines():
        words = shlex.split(line)
        assert words[0] == "stepwell"
        outputs.append(run("-m", "stepwell", *words[1:], cwd=shop))
    assert "is valid: 4 steps" in outputs[0].stdout
    assert '"receipt": "r-1"' in outputs[-1].stdout
    assert (shop / ".stepwell/log.db").is_file()


def test_the_readmes_workflow_in_python_is_started_by_itself(tmp_path):
    (tmp_path / "stay.py").write_text(after("`stay.py`", README, "python"))
    assert run("stay.py", cwd=tmp_path).stdout == "180\n"


def test_the_readmes_purchase_is_approved_and_pays_with_the_commands_that_it_shows(tmp_path):
    (tmp_path / "payment.yaml").write_text(after("`payment.yaml`, and", README, "yaml"))
    (tmp_path / "purchase.yaml").write_text(after("name: payment\n", README, "yaml"))
    outputs = []
    for line in after("name: purchase\n", README, "sh").splitlines():
        words = shlex.split(line, comments=True)
        outputs.append(run("-m", "stepwell", *words[1:], cwd=tmp_path, check=len(outputs) != 1))
    assert "waiting for approval: purchase-1" in outputs[1].stderr
    assert '"paid": 12' in outputs[-1].stdout


def test_the_readme_leaves_the_environment_s_directory_out_only_after_it_is_activated():
    before, activated, _ = README.read_text().partition(". .venv/bin/activate\n")
    assert activated
    for block in blocks("sh", pages=[README]):
        if block.line < before.count("\n"):
            for line in block.text.splitlines():
                assert not re.search(r"(?<![/\w])stepwell |(?<![/\w])pip ", line), line


def test_the_readmes_program_runs_and_a_second_start_of_the_same_id_starts_nothing(shop):
    first = run("program.py", cwd=shop)
    assert first.stdout == "completed {'ship': {'shipped_to': 'Main St 2', 'receipt': 'r-2'}}\n"
    assert run("program.py", cwd=shop).stdout == first.stdout
    assert '"total": 1' in run("-m", "stepwell", "list", "--json", cwd=shop).stdout


def test_the_files_of_the_page_about_the_terminal_fail_come_back_and_roll_back_as_it_shows(tmp_path):
    (tmp_path / "report.yaml").write_text(after("`report.yaml`:", TERMINAL, "yaml"))
    (tmp_path / "reports.py").write_text(after("`reports.py`:", TERMINAL, "python"))

    def stepwell(line, status=0):
        done = run("-m", "stepwell", *shlex.split(line), cwd=tmp_path, check=False)
        assert done.returncode == status, f"{line}\n{done.stdout}\n{done.stderr}"
        return done

    failed = stepwell("run report.yaml --handlers reports --param broken=true --id report-1", status=1)
    assert "Retry: stepwell resume report-1" in failed.stderr
    assert "checkpoints: loaded (event 3)" in stepwell("status report-1").stdout
    assert len(stepwell("history report-1").stdout.splitlines()) == 8
    assert "as of event 3:" in stepwell("replay report-1 --to 3").stdout
    stepwell("resume report-1")
    stepwell('stop report-1 --reason "the server is being mended"')
    assert "paused: the server is being mended" in stepwell("status report-1").stdout
    stepwell("resume report-1")
    stepwell('cancel report-1 --reason "no longer wanted"')
    stepwell("run report.yaml --handlers reports --id report-2")
    stepwell("rollback report-2 --checkpoint loaded")
    again = stepwell("run report.yaml --handlers reports --id report-2")
    assert "↶ count undone" in again.stderr
    assert "cancelled" in stepwell("list --status cancelled").stdout
    stepwell("validate nosuch.yaml", status=2)


def test_the_approval_on_the_page_about_the_terminal_goes_as_it_shows(tmp_path):
    (tmp_path / "purchase.yaml").write_text(after("`purchase.yaml`:", TERMINAL, "yaml"))
    shown = after("`purchase.yaml`:", TERMINAL, "console").splitlines()
    lines = [re.sub(r"^ *[0-9.]+ s", "", line) for line in shown]
    commands = [at for at, line in enumerate(lines) if line.startswith("$ ")]
    for at, end in zip(commands, [*commands[1:], len(lines)], strict=True):
        words = shlex.split(lines[at])[2:]
        done = run("-m", "stepwell", *words, cwd=tmp_path, check=False)
        told = [re.sub(r"^ *[0-9.]+ s", "", line) for line in (done.stdout + done.stderr).splitlines()]
        assert told == lines[at + 1 : end]


@pytest.mark.skipif(sqlite3.sqlite_version_info < (3, 38), reason="the operator ->> came with SQLite 3.38")
def test_every_query_that_is_shown_runs_on_a_log(shop):
    run("-m", "stepwell", *ORDER, cwd=shop)
    connection = sqlite3.connect(f"file:{shop}/.stepwell/log.db?mode=ro", uri=True)
    try:
        results = [connection.execute(block.text).fetchall() for block in blocks("sql", pages=[GUARANTEES])]
    finally:
        connection.close()
    assert len(results) == 5
    assert ("workflow.completed", None) in [row[1:] for row in results[0]]


def test_the_questions_that_are_shown_are_answered_as_shown(shop):
    (shop / "queries.py").write_text(after("`queries.py`, for the log", QUERIES, "python"))
    run("-m", "stepwell", *ORDER, cwd=shop)
    run("-m", "stepwell", "list", cwd=shop)
    assert run("queries.py", cwd=shop).stdout == after("asyncio.run(main())", QUERIES, "console")
    queries = [block.text for block in blocks("sql", pages=[QUERIES])]
    connection = sqlite3.connect(f"file:{shop}/.stepwell/log.db.views/1.db?mode=ro", uri=True)
    try:
        failed, slowest = (connection.execute(query).fetchall() for query in queries)
        columns = [row[1] for row in connection.execute("PRAGMA table_info(runs)")]
    finally:
        connection.close()
    assert failed == []
    assert {row[:3] for row in slowest} >= {("order-1", "charge", 1), ("order-1", "ship", 1)}
    (listed,) = re.findall(r"^\| view `runs` \| instances: (.*) \|$", QUERIES.read_text(), re.MULTILINE)
    assert re.findall(r"`(\w+)`", listed) == columns


def test_the_codes_of_findings_and_alerts_that_are_listed_are_those_that_there_are():
    from stepwell.diagnosis.causes import _ORDER

    text = QUERIES.read_text(encoding="utf-8")
    table = text[text.index("| code | what is so |") :]
    listed = [
        code for line in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for code in re.findall(r"`(\w+)`", line)
    ]
    assert listed == [*_ORDER, "pending", "rejected", "failed", "cancelled", "completed"]
    sources = "".join(
        (ROOT / "stepwell" / name).read_text() for name in ("diagnosis/overview.py", "projections/alerts.py")
    )
    health = (ROOT / "docs/health.md").read_text(encoding="utf-8")
    codes = re.findall(r'(?:code=|alert\(\s*|Alert\(\s*)"(\w+)"', sources)
    assert len(set(codes)) > 10
    for code in codes:
        assert f"| `{code}` |" in health, code


@pytest.mark.parametrize("way", [".backup", "VACUUM INTO"])
def test_a_backup_made_as_shown_is_a_log_that_goes_on(shop, way):
    run("-m", "stepwell", *ORDER, cwd=shop)
    assert way in GUARANTEES.read_text(encoding="utf-8")
    source = sqlite3.connect(shop / ".stepwell/log.db", isolation_level=None)
    if way == ".backup":
        copy = sqlite3.connect(shop / "copy.db")
        source.backup(copy)
    else:
        source.execute("VACUUM INTO ?", (str(shop / "copy.db"),))
        copy = sqlite3.connect(shop / "copy.db")
        copy.execute("PRAGMA journal_mode=WAL")
    assert copy.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    copy.close()
    source.close()
    log = ("--log", "file:copy.db")
    assert "completed" in run("-m", "stepwell", "status", "order-1", *log, cwd=shop).stdout
    run("-m", "stepwell", "rollback", "order-1", "--checkpoint", "start", *log, cwd=shop)
    assert "completed" in run("-m", "stepwell", *ORDER, *log, cwd=shop).stderr


def test_the_brokers_of_compose_are_those_of_the_tests_and_nothing_is_built_twice_under_one_name():
    services = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
    assert services["kafka"]["image"] == IMAGE
    assert f'VERSION = "{IMAGE.partition(":")[2]}"' in (ROOT / "deploy/kafka_jars.py").read_text()
    built = [name for name, service in services.items() if "build" in service]
    assert built == ["engine", "worker"]
    images = [services[name].get("image", name) for name in built]
    assert len(set(images)) == len(images), "builds at the same time that write one image get in each other's way"
