"""A directory of definitions may hold other files: data lies beside definitions."""

from __future__ import annotations

import json

import pytest

from stepwell.consumers.registry import folder as module
from stepwell.consumers.registry.folder import Folder, holds_definition
from tests.workbench import client_on

GOOD = "name: w\nsteps: [{id: a, type: input}]\n"
DEFINITIONS = {
    "canonical.yaml": GOOD, "tasks.yaml": "name: w\ntasks: []\n", "dag.json": '{"name": "w", "dag": {"nodes": []}}',
    "inner.json": '{"name": "w", "definition": {}}', "broken.yaml": "name: w\nsteps: [\n", "broken.json": '{"name": "w", "steps": [',
    "misspelt.yaml": "name: w\nstesp: []\n", "misspelt.json": '{"step": []}', "indented.yaml": "  name: w\n  steps: []\n",
    "empty.yaml": "", "begun.yaml": "name: w\nversion: 1\n", "marked.yaml": "--- # one\nname: w\nsteps: []\n", "quoted.yaml": '"steps": []\n',
}  # fmt: skip
DATA = {
    "list.json": json.dumps([{"id": n, "steps": [n]} for n in range(50)]), "list.yaml": "# rows\n---\n- steps: 1\n- b\n",
    "package.json": '{"name": "shop", "version": "1.0.0", "scripts": {"test": "jest"}}', "text.yaml": "just words\n",
    "deep.json": json.dumps({"rows": [{"steps": [1, 2]}]}), "deep.yaml": "rows:\n  - steps: [1, 2]\n", "number.json": "12",
    "compose.yaml": "services:\n  db: {image: postgres}\n", "broken_data.json": '{"a": ', "many.yaml": "a: 1\n---\nb: 2\n",
    "config.yaml": "stepsize: 3\ntasks_per_day: 2\n",
}  # fmt: skip


@pytest.mark.parametrize("name", DEFINITIONS)
def test_a_file_that_is_meant_as_a_definition_is_looked_at(tmp_path, name):
    (tmp_path / name).write_text(DEFINITIONS[name])
    assert holds_definition(tmp_path / name)


@pytest.mark.parametrize("name", DATA)
def test_a_file_of_data_is_none(tmp_path, name):
    (tmp_path / name).write_text(DATA[name])
    assert not holds_definition(tmp_path / name)


def test_data_without_a_word_of_a_definition_is_not_even_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "parse_text", lambda *_: pytest.fail("parsed"))
    (tmp_path / "rows.json").write_text(json.dumps([{"steps": n} for n in range(100_000)]))
    (tmp_path / "map.yaml").write_text("\n".join(f"k{n}: [1, 2, 3]" for n in range(100_000)))
    (tmp_path / "large.yaml").write_text("a: " + "x" * 9_000_000)
    assert not any(map(holds_definition, tmp_path.iterdir()))


async def test_a_directory_passes_over_data_and_says_so_once(log, tmp_path):
    for name, text in {**DATA, "good.yaml": GOOD, "wrong.yaml": "name: x\nsteps: []\n"}.items():
        (tmp_path / name).write_text(text)
    async with client_on(log) as client:
        folder = Folder(client.registry, tmp_path)
        made = {one.path.name: one.error for one in await folder.look()}
        assert set(made) == {"good.yaml", "wrong.yaml"}
        assert made["good.yaml"] is None
        assert sorted(path.name for path in folder.passed_over) == sorted(DATA)
        assert await folder.look() == []
        assert folder.passed_over == []
        (tmp_path / "package.json").write_text(json.dumps({"name": "late", "steps": [{"id": "a", "type": "input"}]}))
        (became,) = await folder.look()
        assert became.error is None
        assert became.changed
