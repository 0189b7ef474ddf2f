"""No step that writes files is a way to run code; and the working directory stands in for no other module."""

import json
import textwrap

from tests.cli.test_serve import server

WRITE_AND_RUN = {
    "name": "evil",
    "steps": [
        {
            "id": "write",
            "type": "file_operation",
            "config": {"operation": "write", "path": "shop/evil.py", "content": "def run(d): open('ran','w')"},
        },
        {"id": "run", "type": "python", "handler": "shop.evil.run", "depends_on": ["write"]},
    ],
}


def make_shop(directory):
    (directory / "shop").mkdir()
    (directory / "shop/__init__.py").write_text("")


async def test_over_http_nobody_writes_a_module_and_has_it_run(tmp_path):
    make_shop(tmp_path)
    async with server(tmp_path, "--handlers", "shop") as (_, http, _):
        made = await http.post("/v1/definitions", json=WRITE_AND_RUN)
        assert made.status_code < 300, made.text
        answer = await http.post("/v1/instances?wait=25", json={"workflow": "evil"})
        assert "STEPWELL_FILE_ROOTS" in answer.text, answer.text
    assert not (tmp_path / "shop/evil.py").exists()
    assert not (tmp_path / "ran").exists()


def test_a_worker_refuses_at_once_a_root_that_holds_its_code_or_its_log(shell):
    make_shop(shell.directory)
    shell("run", str(shell.write("x.json", {"name": "x", "steps": [{"id": "a", "handler": "greet"}]})),
          "--handlers", "steps", "--log", "file:data/log.db")  # fmt: skip
    (shell.directory / "files").mkdir()
    for root, word in ((".", "log.db"), ("data", "log.db"), ("files", "Python imports")):
        shell.env["STEPWELL_FILE_ROOTS"] = root
        for verb in (("worker", "--handlers", "shop"), ("serve", "--port", "0", "--handlers", "shop")):
            told = shell(*verb, "--log", "file:data/log.db", status=2).stderr
            assert word in told
            assert "STEPWELL_FILE_ROOTS" in told


def test_a_file_of_the_environment_is_none_that_steps_may_read(shell):
    shell.write("production", "STEPWELL_SECRET_KEY=abc")
    config = {"operation": "read", "path": "production"}
    shell.write("x.json", {"name": "x", "steps": [{"id": "a", "type": "file_operation", "config": config}]})
    told = shell("run", "x.json", "--env-file", "production", status=1).stderr
    assert "PathRefused" in told
    assert "abc" not in told


def test_a_run_writes_beside_its_definition_and_no_modules(shell):
    make_shop(shell.directory)
    shell.write("evil.json", {**WRITE_AND_RUN, "steps": WRITE_AND_RUN["steps"][:1]})
    assert "PathRefused" in shell("run", "evil.json", "--handlers", "shop", status=1).stderr
    assert not (shell.directory / "shop/evil.py").exists()
    config = {"operation": "write", "path": "out.txt", "content": "x"}
    shell.write("good.json", {"name": "good", "steps": [{"id": "a", "type": "file_operation", "config": config}]})
    shell("run", "good.json", "--handlers", "shop")
    assert (shell.directory / "out.txt").read_text() == "x"


def test_a_module_of_the_working_directory_is_found_and_stands_in_for_no_other(shell):
    """``click`` and ``sqlite3`` are imported after the working directory is known."""
    for name in ("click", "sqlite3", "httpx"):
        shell.write(f"{name}.py", f"open('ran-{name}', 'w')")
    shell.write("x.json", {"name": "x", "steps": [{"id": "b", "handler": "seen"}]})
    shell.write("steps2.py", textwrap.dedent("""
        import sys, stepwell, steps, httpx
        @stepwell.handler("seen")
        def seen(data):
            return {"path": sys.path}
    """))  # fmt: skip
    done = shell.json("run", "x.json", "--handlers", "steps2")
    assert done["steps"]["b"]["output"]["path"][-1] == str(shell.directory)
    assert str(shell.directory) not in done["steps"]["b"]["output"]["path"][:-1]
    assert not list(shell.directory.glob("ran-*"))


def test_a_module_whose_name_another_one_has_is_told(shell):
    shell.write("httpx.py", "def run(data): return {}")
    shell.write("x.json", {"name": "x", "steps": [{"id": "a", "handler": "httpx.run"}]})
    told = shell("run", "x.json", "--handlers", "httpx", status=2).stderr
    assert "knows another module as 'httpx'" in told
    assert "Rename httpx.py" in told


def test_a_workflow_in_a_file_of_python_comes_after_what_is_installed(shell):
    shell.write("flow.py", textwrap.dedent("""
        import sys, stepwell
        @stepwell.step
        def seen(x: int) -> list[str]:
            return sys.path
        @stepwell.workflow
        def flow(x: int):
            return seen(x)
    """))  # fmt: skip
    done = shell.json("run", "flow.py", "--input", json.dumps({"x": 1}))
    assert done["output"][-1] == str(shell.directory)


def test_a_credential_that_is_written_out_is_warned_of_once_it_would_be_recorded(inside):
    config = {"url": "https://example.com", "headers": {"Authorization": "Bearer abc"}}
    inside.write("w.json", {"name": "w", "steps": [{"id": "a", "type": "http_request", "config": config}]})
    for verb in ("validate", "register"):
        told = inside(verb, "w.json")
        assert "a credential is written out" in told
        assert "headers.Authorization" in told
        assert "abc" not in told
