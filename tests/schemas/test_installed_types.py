"""Step types of installed packages are found wherever packages can be, and where there are none, nothing is read."""

import importlib.metadata
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from stepwell.schemas.definitions.installed_types import GROUP, installed_types

pytestmark = pytest.mark.rows("X4")
POINT = f"[{GROUP}]\nweather = weather_steps:weather\n"


@pytest.fixture(autouse=True)
def afresh():
    installed_types.cache_clear()
    yield
    installed_types.cache_clear()


@pytest.fixture
def site(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "site"
    monkeypatch.syspath_prepend(str(path))
    return path


def as_files(info: Path) -> None:
    info.mkdir(parents=True)
    (info / ("PKG-INFO" if info.name.lower().endswith("egg-info") else "METADATA")).write_text("Name: weather\n")
    (info / "entry_points.txt").write_text(POINT)


@pytest.mark.parametrize("name", ["weather-1.dist-info", "weather-1-py3.11.egg-info", "Weather-1.DIST-INFO"])
def test_a_package_in_a_directory_of_the_path_is_found(site, name):
    as_files(site / name)
    assert list(installed_types()) == ["weather"]


def test_a_package_in_the_working_directory_is_found(site, monkeypatch):
    as_files(site / "weather-1.dist-info")
    monkeypatch.chdir(site)
    monkeypatch.setattr(sys, "path", ["", *(path for path in sys.path if path != str(site))])
    assert list(installed_types()) == ["weather"]


def test_a_package_that_is_an_egg_is_found(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path / "weather-1.egg"))
    as_files(tmp_path / "weather-1.egg" / "EGG-INFO")
    assert list(installed_types()) == ["weather"]


def test_a_package_in_an_archive_is_found(tmp_path, monkeypatch):
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("weather-1.dist-info/METADATA", "Name: weather\n")
        archive.writestr("weather-1.dist-info/entry_points.txt", POINT)
    monkeypatch.syspath_prepend(str(tmp_path / "all.zip"))
    assert list(installed_types()) == ["weather"]


def test_a_package_that_a_finder_of_its_own_knows_is_found(tmp_path, monkeypatch):
    as_files(tmp_path / "weather-1.dist-info")

    class Finder(importlib.metadata.DistributionFinder):
        def find_spec(self, *_args):
            return None

        def find_distributions(self, context=None):
            return [importlib.metadata.Distribution.at(tmp_path / "weather-1.dist-info")]

    monkeypatch.setattr(sys, "meta_path", [*sys.meta_path, Finder()])
    assert list(installed_types()) == ["weather"]


def test_directories_that_are_not_there_and_files_that_are_named_like_packages_are_passed_over(site):
    assert installed_types() == {}  # there is no such directory
    site.mkdir()
    (site / "old.egg-info").write_text("Name: old\n")
    (site / "plain-1.dist-info").mkdir()
    installed_types.cache_clear()
    assert installed_types() == {}


def test_where_no_package_brings_any_their_metadata_is_not_read():
    program = (
        "import sys\nfrom stepwell.schemas.definitions.installed_types import installed_types\n"
        "print(installed_types(), 'importlib.metadata' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-S", "-c", program], capture_output=True, text=True, check=True,
                          env={"PYTHONPATH": str(Path(__file__).parents[2])})  # fmt: skip
    assert done.stdout == "{} False\n"
