"""A data pipeline over four years of weather: read → validate → clean → three analyses at once → report → alert.

What passes from step to step through the log is small: paths, checksums, figures. The rows stay in files, and a step
that opens a file checks that it is the one it was told about.
"""

from __future__ import annotations

import csv
import datetime as dt
import hashlib
import io
import json
import os
import threading
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from statistics import fmean
from typing import Any, NamedTuple

Data = dict[str, Any]

COLUMNS = ("date", "precipitation", "temp_max", "temp_min", "wind", "weather")
WEATHERS = ("drizzle", "rain", "snow", "sun", "fog")
WET_WEATHERS = ("drizzle", "rain", "snow")
# Outside these no thermometer or gauge of this city has been; mm, °C and m/s.
PLAUSIBLE = {"precipitation": (0, 200), "temp_max": (-25, 50), "temp_min": (-30, 40), "wind": (0, 40)}
MEASURES = ("precipitation", "temp_max", "temp_min", "wind")
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class DataError(ValueError):
    """The data cannot be used. Reading it again would not help, so nothing is retried."""


class Day(NamedTuple):
    """One row of clean data."""

    date: dt.date
    precipitation: float
    temp_max: float
    temp_min: float
    wind: float
    weather: str


def read(data: Data) -> Data:
    """Look at the file: is it there, is it the one that was meant, does it have the columns?

    Args:
        data: ``path``, and the ``sha256`` that the file must have.
    """
    path = Path(data["path"])
    content = path.read_bytes()  # an OSError here may pass, and is retried
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != data["sha256"]:
        raise DataError(f"{path} is not the file that was meant: its SHA-256 is {sha256}")
    header = content.split(b"\n", 1)[0].decode().strip().split(",")
    if tuple(header) != COLUMNS:
        raise DataError(f"{path}: columns {', '.join(header)}; expected {', '.join(COLUMNS)}")
    return {"path": str(path), "sha256": sha256, "bytes": len(content), "lines": content.count(b"\n")}


def validate(data: Data) -> Data:
    """Check every row by itself and the rows among each other; say which lines cannot be used, and why.

    Raises:
        DataError: More than a tenth of the rows is unusable: then something else is wrong.
    """
    rows = _rows(data)
    problems: dict[int, str] = {}
    seen: set[dt.date] = set()
    for line, row in rows:
        problem = _problem(row, seen)
        if problem:
            problems[line] = problem
    if len(problems) * 10 > len(rows):
        first = next(iter(problems.items()), (1, "no rows"))
        raise DataError(f"{data['path']}: {len(problems)} of {len(rows)} rows unusable; line {first[0]}: {first[1]}")
    days = sorted(seen)
    expected = (days[-1] - days[0]).days + 1 if days else 0
    doubtful = sum(
        (float(r["precipitation"]) > 0) != (r["weather"] in WET_WEATHERS) for n, r in rows if n not in problems
    )
    return {
        "rows": len(rows),
        "unusable": {str(line): problem for line, problem in list(problems.items())[:100]},
        "missing_days": expected - len(days),
        "labels_that_disagree_with_the_gauge": doubtful,
        "first": str(days[0]),
        "last": str(days[-1]),
    }


def clean(data: Data) -> Data:
    """Write the usable rows, in order of date, in one format, to a file of their own."""
    lines: list[list[str]] = []
    seen: set[dt.date] = set()
    for _, row in _rows(data):
        if _problem(row, seen) is None:
            values = (f"{float(row[measure]):.1f}" for measure in MEASURES)
            lines.append([str(_date(row["date"])), *values, row["weather"].strip().lower()])
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([COLUMNS, *sorted(lines)])
    path = Path(data["output_dir"]) / f"clean-{data['sha256'][:12]}.csv"
    return {"path": str(path), "sha256": write_atomically(path, text.getvalue()), "rows": len(lines)}


def monthly(data: Data) -> Data:
    """Each month of each year, and what is usual for a calendar month over all years."""
    days = _days(data)
    months: dict[tuple[int, int], list[Day]] = {}
    for day in days:
        months.setdefault((day.date.year, day.date.month), []).append(day)
    by_month = {f"{y}-{m:02d}": _summary(own, data["wet_day_mm"]) for (y, m), own in sorted(months.items())}
    usual = {}
    for number, name in enumerate(MONTHS, start=1):
        own = [by_month[f"{y}-{m:02d}"] for y, m in sorted(months) if m == number]
        if own:
            usual[name] = {key: round(fmean(month[key] for month in own), 1) for key in own[0]}
    return {"by_month": by_month, "usual": usual}


def extremes(data: Data) -> Data:
    """Records, and the days beyond the thresholds that an alert is wanted for."""
    days = _days(data)
    records = {
        "hottest": _record(days, "temp_max", max),
        "coldest": _record(days, "temp_min", min),
        "wettest": _record(days, "precipitation", max),
        "windiest": _record(days, "wind", max),
    }
    jump, after = max(((abs(b.temp_max - a.temp_max), b.date) for a, b in _neighbours(days)), default=(0.0, None))
    records["largest_change"] = {"date": str(after), "value": round(jump, 1)}
    limits = data["alert_above"]
    alerts = [
        {"date": str(day.date), "measure": measure, "value": getattr(day, measure), "limit": limit}
        for measure, limit in sorted(limits.items())
        for day in days
        if getattr(day, measure) > limit
    ]
    return {"records": records, "alerts": alerts[:200], "alert_count": len(alerts)}


def spells(data: Data) -> Data:
    """Runs of dry and of wet days, and how much yesterday says about today."""
    days, limit = _days(data), data["wet_day_mm"]
    runs: list[list[Day]] = []
    for day in days:
        follows = runs and day.date - runs[-1][-1].date == dt.timedelta(days=1)
        if follows and (day.precipitation >= limit) == (runs[-1][-1].precipitation >= limit):
            runs[-1].append(day)
        else:
            runs.append([day])
    dry = [run for run in runs if run[0].precipitation < limit]
    wet = [run for run in runs if run[0].precipitation >= limit]
    pairs = Counter((a.precipitation >= limit, b.precipitation >= limit) for a, b in _neighbours(days))
    return {
        "longest_dry": [_spell(run) for run in sorted(dry, key=len, reverse=True)[:5]],
        "longest_wet": [_spell(run) for run in sorted(wet, key=len, reverse=True)[:5]],
        "wet_days": sum(map(len, wet)),
        "wet_after_wet": _share(pairs[True, True], pairs[True, False]),
        "wet_after_dry": _share(pairs[False, True], pairs[False, False]),
    }


def report(data: Data) -> Data:
    """Join the three analyses into one report, as JSON for programs and as Markdown for people."""
    figures = {key: data[key] for key in ("title", "source", "quality", "monthly", "extremes", "spells")}
    folder = Path(data["output_dir"])
    name = f"weather-{data['source'][:12]}"
    as_json, as_markdown = folder / f"{name}.json", folder / f"{name}.md"
    text = json.dumps(figures, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    return {
        "json": str(as_json),
        "json_sha256": write_atomically(as_json, text),
        "markdown": str(as_markdown),
        "markdown_sha256": write_atomically(as_markdown, _markdown(figures)),
    }


def alert(data: Data) -> Data:
    """Say on which days a threshold was passed. The workflow skips this step when there are none."""
    lines = [f"{a['date']}: {a['measure']} {a['value']} (limit {a['limit']})" for a in data["alerts"]]
    path = Path(data["output_dir"]) / "alerts.txt"
    write_atomically(path, "\n".join([*lines, ""]))
    return {"path": str(path), "message": f"{data['title']}: {len(lines)} alerts, the first on {lines[0]}"}


def write_atomically(path: Path, text: str) -> str:
    """Write a file beside its place and move it there, so that nobody sees half of it; return its SHA-256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")  # an abandoned run may still write
    content = text.encode()
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    return hashlib.sha256(content).hexdigest()


def _rows(data: Data) -> list[tuple[int, dict[str, str]]]:
    """The rows of a file by line number, if it is still the file that an earlier step saw."""
    content = Path(data["path"]).read_bytes()
    if hashlib.sha256(content).hexdigest() != data["sha256"]:
        raise DataError(f"{data['path']} has changed while the workflow ran")
    return list(enumerate(csv.DictReader(io.StringIO(content.decode())), start=2))


def _days(data: Data) -> list[Day]:
    """The rows of the clean file."""
    return [_day(row) for _, row in _rows(data)]


def _day(row: dict[str, str]) -> Day:
    rain, high, low, wind = (float(row[measure]) for measure in MEASURES)
    return Day(_date(row["date"]), rain, high, low, wind, row["weather"])


def _neighbours(days: list[Day]) -> Iterator[tuple[Day, Day]]:
    """Every day with the one after it, where none is missing between them."""
    return ((a, b) for a, b in pairwise(days) if b.date - a.date == dt.timedelta(days=1))


def _date(text: str) -> dt.date:
    return dt.date.fromisoformat(text.strip().replace("/", "-"))


def _problem(row: dict[str, str], seen: set[dt.date]) -> str | None:
    """Why a row cannot be used, or None; a usable row's date is added to those seen."""
    try:
        date = _date(row["date"])
        values = {measure: float(row[measure]) for measure in MEASURES}
    except (AttributeError, TypeError, ValueError) as error:
        return str(error)
    if date in seen:
        return f"{date} comes twice"
    for measure, (low, high) in PLAUSIBLE.items():
        if not low <= values[measure] <= high:
            return f"{measure} {values[measure]:g} is not between {low} and {high}"
    if values["temp_min"] > values["temp_max"]:
        return f"temp_min {values['temp_min']:g} is above temp_max {values['temp_max']:g}"
    if row["weather"].strip().lower() not in WEATHERS:
        return f"unknown weather {row['weather']!r}"
    seen.add(date)
    return None


def _summary(days: list[Day], wet_day_mm: float) -> dict[str, float]:
    return {
        "precipitation": round(sum(day.precipitation for day in days), 1),
        "wet_days": sum(day.precipitation >= wet_day_mm for day in days),
        "mean_max": round(fmean(day.temp_max for day in days), 1),
        "mean_min": round(fmean(day.temp_min for day in days), 1),
        "mean_wind": round(fmean(day.wind for day in days), 1),
    }


def _record(days: list[Day], measure: str, pick: Any) -> dict[str, Any]:
    """The first day that holds a record."""
    value = pick(getattr(day, measure) for day in days)
    return {"date": str(next(day.date for day in days if getattr(day, measure) == value)), "value": value}


def _spell(run: list[Day]) -> dict[str, Any]:
    total = round(sum(day.precipitation for day in run), 1)
    return {"first": str(run[0].date), "last": str(run[-1].date), "days": len(run), "precipitation": total}


def _share(part: int, rest: int) -> float | None:
    return round(part / (part + rest), 3) if part + rest else None


def _markdown(figures: Data) -> str:
    quality, records, runs = figures["quality"], figures["extremes"]["records"], figures["spells"]
    lines = [
        f"# {figures['title']}",
        "",
        f"{quality['first']} to {quality['last']}: {quality['rows']} rows, {len(quality['unusable'])} unusable,",
        f"{quality['missing_days']} days missing. On {quality['labels_that_disagree_with_the_gauge']} days the word",
        "for the weather and the rain gauge disagree.",
        "",
        "## A usual year",
        "",
        "| month | rain, mm | wet days | mean high, °C | mean low, °C | wind, m/s |",
        "| --- | --- | --- | --- | --- | --- |",
        *(
            "| " + " | ".join(map(str, (name, *month.values()))) + " |"
            for name, month in figures["monthly"]["usual"].items()
        ),
        "",
        "## Records",
        "",
        *(f"- {name.replace('_', ' ')}: {record['value']} on {record['date']}" for name, record in records.items()),
        "",
        "## Spells",
        "",
    ]
    if runs:
        for kind in ("dry", "wet"):
            lines += [
                f"- longest {kind} spell: {longest['days']} days, {longest['first']} to {longest['last']}"
                for longest in runs[f"longest_{kind}"][:1]
            ]
        lines.append(
            f"- chance of a wet day: {runs['wet_after_wet']} after a wet one, {runs['wet_after_dry']} after a dry one"
        )
    else:
        lines.append("Could not be computed; the rest of the report stands without.")
    return "\n".join([*lines, ""])
