"""The version comes from git's tags, wherever the package is built from."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import stepwell
from tests.patience import HANG

ROOT = Path(__file__).resolve().parents[2]
FALLBACK = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["version"]["fallback-version"]
FILES = ("pyproject.toml", "README.md", "LICENSE", "hatch_build.py", ".gitattributes", ".git_archival.txt")
NAMED = {f"GIT_{who}_{what}": "x@example.org" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
WITHOUT = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "SETUPTOOLS_SCM_"))}


def git(where, *words):
    subprocess.run(["git", *words], cwd=where, check=True, capture_output=True, env=WITHOUT | NAMED, timeout=HANG)


def version(where, **environment):
    """What a build in a folder would call itself."""
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "hatchling", "version"],
        cwd=where, check=True, capture_output=True, text=True, env=WITHOUT | environment, timeout=HANG,
    )  # fmt: skip
    return ran.stdout.strip()


@pytest.fixture
def tree(tmp_path):
    """A repository of two commits, with all that the version is made from."""
    where = tmp_path / "tree"
    where.mkdir()
    for name in FILES:
        shutil.copy(ROOT / name, where / name)
    git(where, "init", "--quiet")
    git(where, "add", "--all")
    git(where, "commit", "--quiet", "--message", "one")
    git(where, "commit", "--quiet", "--message", "two", "--allow-empty")
    return where


def archive(tree, where):
    where.mkdir()
    git(tree, "archive", "--format", "tar", "--output", where / "archive.tar", "HEAD")
    shutil.unpack_archive(where / "archive.tar", where, filter="data")
    return where


def test_a_tag_is_the_version_and_what_follows_it_is_on_the_way_to_the_next(tree, tmp_path):
    git(tree, "tag", "v3.1.4")
    git(tree, "tag", "docs-9")
    assert version(tree) == version(archive(tree, tmp_path / "at the tag")) == "3.1.4"
    git(tree, "commit", "--quiet", "--message", "three", "--allow-empty")
    after = version(tree)
    assert re.fullmatch(r"3\.1\.5\.dev1\+g[0-9a-f]{7,}", after), after
    assert version(archive(tree, tmp_path / "after it")) == after
    (tree / "README.md").write_text("changed")
    assert version(tree).startswith(f"{after}.d")


def test_a_clone_without_tags_counts_its_commits_from_the_fallback(tree, tmp_path):
    base = FALLBACK.removesuffix("0")
    assert re.fullmatch(rf"{re.escape(base)}2\+g[0-9a-f]+", version(tree))
    git(tmp_path, "clone", "--quiet", "--depth", "1", tree.as_uri(), "shallow")
    assert re.fullmatch(rf"{re.escape(base)}1\+g[0-9a-f]+", version(tmp_path / "shallow"))


def test_a_tree_that_git_says_nothing_of_has_the_fallback(tree, tmp_path):
    assert version(archive(tree, tmp_path / "archive")) == FALLBACK
    assert version(tree, PATH=str(tmp_path)) == FALLBACK
    shutil.rmtree(tree / ".git")
    assert version(tree) == FALLBACK


def test_the_fallback_follows_the_newest_release_of_the_changelog():
    released = re.findall(
        r"^## (\d+)\.(\d+)\.(\d+) - \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE
    )
    major, minor, patch = map(int, released[0])
    assert f"{major}.{minor}.{patch + 1}.dev0" == FALLBACK


def test_the_package_says_the_version_that_was_built():
    from stepwell import _version

    assert stepwell.__version__ == _version.__version__


def test_source_code_that_nothing_was_built_from_says_so(tmp_path):
    shutil.copytree(
        ROOT / "stepwell",
        tmp_path / "stepwell",
        ignore=shutil.ignore_patterns("_version.py", "assets", "__pycache__"),
    )
    ran = subprocess.run(
        [sys.executable, "-m", "stepwell", "--version"],
        cwd=tmp_path, check=True, capture_output=True, text=True, timeout=HANG,
    )  # fmt: skip
    assert ran.stdout == "stepwell 0+unknown\n"
