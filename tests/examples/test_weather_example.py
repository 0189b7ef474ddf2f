"""The pipeline's figures, against computing them another way; and what happens to data that are not right."""

import csv
import datetime as dt
import hashlib
import json
from itertools import groupby, pairwise
from pathlib import Path

import pytest

from examples.weather_pipeline import handlers
from stepwell.core.expressions.evaluate import compile_expression

DATA = Path("examples/weather_pipeline/data/seattle-weather.csv")
INPUT = json.loads((Path(__file__).resolve().parents[2] / "examples/weather_pipeline/input.json").read_text())


def described(path):
    return {"path": str(path), "sha256": hashlib.sha256(Path(path).read_bytes()).hexdigest()}


def run(folder, path=DATA, **more):
    """The steps in order, wired as in workflow.yaml."""
    data = {**INPUT, **described(path), "output_dir": str(folder), **more}
    out = {"read": handlers.read(data)}
    out["validate"] = handlers.validate(out["read"])
    out["clean"] = handlers.clean({**out["read"], "output_dir": data["output_dir"]})
    for name in ("monthly", "extremes", "spells"):
        out[name] = getattr(handlers, name)({**data, **out["clean"]})
    analyses = {name: out[name] for name in ("monthly", "extremes", "spells")}
    source = out["read"]["sha256"]
    out["report"] = handlers.report({**data, **analyses, "source": source, "quality": out["validate"]})
    return out


@pytest.fixture(scope="module")
def rows():
    with (Path(__file__).resolve().parents[2] / DATA).open() as file:
        return [
            {**row, "date": row["date"].replace("/", "-"), "rain": float(row["precipitation"])}
            for row in csv.DictReader(file)
        ]


def test_months_equal_an_independent_sum(tmp_path, rows):
    out = run(tmp_path)["monthly"]
    assert len(out["by_month"]) == 48
    by_month = {month: list(own) for month, own in groupby(rows, key=lambda row: row["date"][:7])}
    for month, own in by_month.items():
        assert out["by_month"][month]["precipitation"] == round(sum(r["rain"] for r in own), 1)
        assert out["by_month"][month]["wet_days"] == len([r for r in own if r["rain"] >= 1])
        assert out["by_month"][month]["mean_max"] == pytest.approx(
            sum(float(r["temp_max"]) for r in own) / len(own), abs=0.0501
        )
    januaries = [out["by_month"][f"{year}-01"]["precipitation"] for year in range(2012, 2016)]
    assert out["usual"]["Jan"]["precipitation"] == pytest.approx(sum(januaries) / 4, abs=0.0501)


def test_records_equal_sorting_the_rows(tmp_path, rows):
    records = run(tmp_path)["extremes"]["records"]
    for name, column, sign in (
        ("hottest", "temp_max", -1),
        ("coldest", "temp_min", 1),
        ("wettest", "rain", -1),
        ("windiest", "wind", -1),
    ):
        first = min(rows, key=lambda r: (sign * float(r[column]), r["date"]))
        assert records[name] == {"date": first["date"], "value": float(first[column])}


def test_spells_equal_splitting_a_string_of_days(tmp_path, rows):
    spells = run(tmp_path)["spells"]
    days = "".join("w" if row["rain"] >= 1 else "d" for row in rows)
    assert spells["longest_dry"][0]["days"] == max(map(len, days.split("w")))
    assert spells["longest_wet"][0]["days"] == max(map(len, days.split("d")))
    assert spells["wet_days"] == days.count("w")
    pairs = [a + b for a, b in pairwise(days)]
    assert spells["wet_after_wet"] == round(pairs.count("ww") / (pairs.count("ww") + pairs.count("wd")), 3)
    assert spells["wet_after_dry"] == round(pairs.count("dw") / (pairs.count("dw") + pairs.count("dd")), 3)
    start = rows.index(next(r for r in rows if r["date"] == spells["longest_dry"][0]["first"]))
    assert set(days[start : start + spells["longest_dry"][0]["days"]]) == {"d"}


def test_running_again_writes_the_same_bytes_and_leaves_no_drafts(tmp_path):
    first = run(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert run(tmp_path) == first
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert not [name for name in before if name.startswith(".")]


def test_the_two_reports_hold_the_same_figures(tmp_path):
    out = run(tmp_path)["report"]
    figures, text = json.loads(Path(out["json"]).read_text()), Path(out["markdown"]).read_text()
    for record in figures["extremes"]["records"].values():
        assert f"{record['value']} on {record['date']}" in text
    for name, month in figures["monthly"]["usual"].items():
        assert f"| {name} | {month['precipitation']} | {month['wet_days']} |" in text


def test_the_report_stands_without_the_spells(tmp_path):
    out = run(tmp_path)
    analyses = {"monthly": out["monthly"], "extremes": out["extremes"], "spells": None}
    common = {"title": "T", "source": "0" * 64, "quality": out["validate"], "output_dir": str(tmp_path)}
    written = handlers.report({**common, **analyses})
    assert "the rest of the report stands" in Path(written["markdown"]).read_text()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("2012/01/05,0.0,5.0,9.0,2.0,sun", "temp_min 9 is above temp_max 5"),
        ("2012/01/05,-1.0,9.0,5.0,2.0,sun", "precipitation -1 is not between 0 and 200"),
        ("2012/01/05,0.0,99.0,5.0,2.0,sun", "temp_max 99 is not between -25 and 50"),
        ("2012/01/05,nan,9.0,5.0,2.0,sun", "precipitation nan is not between 0 and 200"),
        ("2012/01/05,,9.0,5.0,2.0,sun", "could not convert"),
        ("2012/01/05,0.0,9.0", "float"),
        ("2012/01/35,0.0,9.0,5.0,2.0,sun", "day"),
        ("2012/01/04,0.0,9.0,5.0,2.0,sun", "2012-01-04 comes twice"),
        ("2012/01/05,0.0,9.0,5.0,2.0,frogs", "unknown weather 'frogs'"),
    ],
)
def test_a_row_that_cannot_be_used_is_named_and_left_out(tmp_path, line, problem):
    lines = DATA.read_text().splitlines()[:41]
    assert lines[5].startswith("2012/01/05")
    lines[5] = line
    broken = tmp_path / "broken.csv"
    broken.write_text("\n".join(lines) + "\n")
    out = run(tmp_path / "out", broken)
    assert list(out["validate"]["unusable"]) == ["6"]
    assert problem in out["validate"]["unusable"]["6"]
    assert (out["validate"]["missing_days"], out["clean"]["rows"]) == (1, 39)
    assert "2012-01-05" not in Path(out["clean"]["path"]).read_text()


def test_a_missing_day_breaks_a_spell_and_is_no_neighbour(tmp_path):
    days = [dt.date(2020, 1, 1) + dt.timedelta(n) for n in range(10) if n != 5]
    text = "\n".join(
        ["date,precipitation,temp_max,temp_min,wind,weather", *(f"{d},0,{d.day * 3},1,1,sun" for d in days)]
    )
    path = tmp_path / "gap.csv"
    path.write_text(text + "\n")
    out = run(tmp_path / "out", path)
    assert [spell["days"] for spell in out["spells"]["longest_dry"]] == [5, 4]
    assert out["extremes"]["records"]["largest_change"]["value"] == 3


def test_more_than_a_tenth_of_bad_rows_fails_the_step(tmp_path):
    lines = DATA.read_text().splitlines()[:41]
    path = tmp_path / "bad.csv"
    path.write_text("\n".join([lines[0], *(line.replace("2012", "year") for line in lines[1:6]), *lines[6:]]) + "\n")
    with pytest.raises(handlers.DataError, match="5 of 40 rows unusable; line 2"):
        run(tmp_path / "out", path)


def test_another_file_than_the_one_meant_is_refused_by_every_step(tmp_path):
    copy = tmp_path / "copy.csv"
    copy.write_bytes(DATA.read_bytes())
    told = described(copy)
    copy.write_text(copy.read_text().replace("2012/01/01,0.0", "2012/01/01,9.0"))
    with pytest.raises(handlers.DataError, match="not the file that was meant"):
        handlers.read(told)
    with pytest.raises(handlers.DataError, match="has changed while the workflow ran"):
        handlers.validate(told)


def test_a_missing_file_is_an_os_error_which_the_workflow_retries(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        handlers.read({"path": str(tmp_path / "nowhere.csv"), "sha256": "0"})


@pytest.mark.parametrize(("name", "expected"), [("input.json", True), ("input_calm.json", False)])
def test_the_alert_runs_only_for_the_input_with_low_thresholds(tmp_path, rows, name, expected):
    limits = json.loads(Path(f"examples/weather_pipeline/{name}").read_text())["alert_above"]
    out = run(tmp_path, alert_above=limits)
    condition = compile_expression("len(step_outputs.extremes.alerts) > 0")
    assert condition.evaluate({"step_outputs": out}) is expected
    beyond = [r for r in rows for column, limit in limits.items() if float(r[column]) > limit]
    assert out["extremes"]["alert_count"] == len(beyond)
    if expected:
        told = handlers.alert({"title": "T", "alerts": out["extremes"]["alerts"], "output_dir": str(tmp_path)})
        assert len(Path(told["path"]).read_text().splitlines()) == len(beyond)
