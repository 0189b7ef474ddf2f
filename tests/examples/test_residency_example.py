"""The whole workflow's handlers, in order, on the shipped rosters."""

import csv
import datetime as dt
import hashlib
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml

from examples.residency import analysis, handlers
from examples.residency.model import InputError, Period, Resident, ScheduleChangedError, read_program, read_roster
from examples.residency.schedule_file import read_schedule
from stepwell.core.expressions.evaluate import compile_expression

ROOT = Path(__file__).resolve().parents[2]
STEPS = {
    step["id"]: step for step in yaml.safe_load((ROOT / "examples/residency/workflow.yaml").read_text())["steps"]
}


def run(name, folder, context):
    """What the engine would do: each step gets the input and, over it, what came before; conditions decide."""
    data = {**json.loads((ROOT / "examples/residency" / name).read_text()), "output_dir": str(folder)}
    outputs = {}
    for step_id in ("validate", "generate", "compliance", "conflicts", "resilience", "publish", "escalate", "notify"):
        step = STEPS[step_id]
        if "condition" in step and not compile_expression(step["condition"]).evaluate({"step_outputs": outputs}):
            continue
        handler = getattr(handlers, step["handler"].rsplit(".", 1)[1])
        wants_context = handler.__code__.co_argcount == 2
        outputs[step_id] = handler(data, context) if wants_context else handler(data)
        json.dumps(outputs[step_id], allow_nan=False)
        data = {**data, **outputs[step_id]}
    return data, outputs


@pytest.fixture(scope="module")
def full(tmp_path_factory, heard):
    return _in_root(run, "input.json", tmp_path_factory.mktemp("full"), heard())


@pytest.fixture(scope="module")
def short(tmp_path_factory, heard):
    return _in_root(run, "input_short.json", tmp_path_factory.mktemp("short"), heard())


def _in_root(function, *args):
    before = Path.cwd()
    os.chdir(ROOT)
    try:
        return function(*args)
    finally:
        os.chdir(before)


def lines_of(data):
    with Path(data["schedule"]["path"]).open() as file:
        return list(csv.DictReader(file))


def test_every_shift_of_every_day_has_the_residents_and_seniors_that_it_needs(full):
    data, _ = full
    program = json.loads(Path(data["program"]).read_text())
    with Path(data["roster"]).open() as file:
        pgy = {row["id"]: int(row["pgy"]) for row in csv.DictReader(file)}
    present = Counter((row["date"], row["shift"]) for row in lines_of(data))
    seniors = Counter((row["date"], row["shift"]) for row in lines_of(data) if pgy[row["resident"]] > 1)
    day, last = dt.date.fromisoformat(data["start_date"]), dt.date.fromisoformat(data["end_date"])
    days = 0
    while day <= last:
        for shift in program["shifts"]:
            needed = shift["weekend" if day.isoweekday() > 5 else "weekday"]
            assert present[str(day), shift["id"]] >= needed
            assert seniors[str(day), shift["id"]] >= min(shift.get("min_seniors", 0), needed)
        day += dt.timedelta(days=1)
        days += 1
    assert days == 365


def test_nobody_works_on_leave_and_nobody_twice_at_once(full):
    data, _ = full
    with Path(data["roster"]).open() as file:
        leave = {row["id"]: [span.split("/") for span in row["leave"].split(";")] for row in csv.DictReader(file)}
    by_resident = {}
    for row in lines_of(data):
        by_resident.setdefault(row["resident"], []).append((row["start"], row["free_at"]))
        assert not any(first <= row["start"][:10] <= last for first, last in leave[row["resident"]])
        assert not any(first <= row["free_at"][:10] <= last for first, last in leave[row["resident"]])
    assert len(by_resident) == 48
    for times in by_resident.values():
        times.sort()
        assert all(free_at <= start for (_, free_at), (start, _) in itertools.pairwise(times))


def test_the_shipped_roster_is_compliant_and_published(full):
    data, outputs = full
    assert data["verdict"]["compliant"]
    assert set(data["verdict"]["by_rule"].values()) == {0}
    assert data["findings"]["clean"]
    assert data["schedule"]["overrides"] == data["schedule"]["uncovered"] == 0
    assert "escalate" not in outputs
    assert outputs["notify"]["status"] == "compliant"
    report = Path(outputs["notify"]["report"]).read_text()
    assert report.count("\n| R") == 48
    assert outputs["notify"]["message"] in report


def test_every_resident_has_a_calendar_with_exactly_their_shifts(full):
    data, _ = full
    counts = Counter(row["resident"] for row in lines_of(data))
    files = sorted(Path(data["released"]["folder"]).iterdir())
    assert [file.name for file in files] == [f"R{n:02d}.ics" for n in range(1, 49)]
    for file in files:
        text = file.read_bytes().decode()
        assert text.count("BEGIN:VEVENT\r\n") == counts[file.stem]
        assert "\n" not in text.replace("\r\n", "")


def test_too_few_residents_take_the_other_way(short):
    data, outputs = short
    assert not data["verdict"]["compliant"]
    broken = {rule for rule, count in data["verdict"]["by_rule"].items() if count}
    assert {"weekly_hours", "day_off", "post_call_rest", "pgy1_supervision"} <= broken
    assert data["intake"]["warnings"]
    assert "publish" not in outputs
    assert not (Path(data["intake"]["folder"]) / "calendars").exists()
    assert outputs["notify"]["status"] == "not compliant"
    assert "weekly_hours" in Path(outputs["escalate"]["escalation"]["path"]).read_text()
    with Path(data["verdict"]["path"]).open() as file:
        listed = Counter(row["rule"] for row in csv.DictReader(file))
    assert listed == Counter({rule: count for rule, count in data["verdict"]["by_rule"].items() if count})


def test_80_hours_are_counted_alike_by_brute_force_on_the_overworked(short):
    """An hour-by-hour calendar of each resident, from the text of the file alone."""
    data, _ = short
    period = Period(dt.date.fromisoformat(data["start_date"]), 365)
    residents = read_roster(data["roster"], period)
    midnight = dt.datetime.combine(period.start, dt.time())
    worked = {resident.id: set() for resident in residents}  # half hours
    for row in lines_of(data):
        start, end = (dt.datetime.fromisoformat(row[key]) for key in ("start", "free_at"))
        worked[row["resident"]].update(
            range(int((start - midnight).total_seconds() // 1800), int((end - midnight).total_seconds() // 1800))
        )
    over = set()
    for resident in residents:
        by_day = Counter(half // 48 for half in worked[resident.id])
        for first in range(365 - 27):
            days = [day for day in range(first, first + 28) if day not in resident.leave]
            if sum(by_day[day] for day in days) / 2 / len(days) * 7 > 80:
                over.add(resident.id)
    with Path(data["verdict"]["path"]).open() as file:
        assert over == {row["resident"] for row in csv.DictReader(file) if row["rule"] == "weekly_hours"}
    assert over


def test_running_everything_again_changes_no_byte(full, heard):
    data, outputs = full
    folder = Path(data["intake"]["folder"])
    before = {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
    (folder / "schedule.csv").unlink()
    shutil.rmtree(folder / "calendars")
    _, again = run("input.json", data["output_dir"], heard())
    assert again == outputs
    assert {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()} == before


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_another_process_with_another_hash_seed_makes_the_same_schedule(full, tmp_path, hash_seed):
    data, _ = full
    code = (
        "import json, sys; from examples.residency.handlers import generate\n"
        "class Ctx: cancelled = False; heartbeat = staticmethod(lambda progress: None)\n"
        "print(generate(json.load(sys.stdin), Ctx)['schedule']['sha256'])"
    )
    given = {**data, "intake": {"folder": str(tmp_path)}}
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(given), capture_output=True, text=True, check=True,
        env={"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert done.stdout.strip() == data["schedule"]["sha256"]
    assert [path.name for path in tmp_path.iterdir()] == ["schedule.csv"]


def test_another_seed_makes_another_schedule_that_is_compliant_too(full, tmp_path, heard):
    data, _ = full
    given = {**data, "seed": 11, "output_dir": str(tmp_path)}
    given |= handlers.validate(given)
    assert given["intake"]["folder"] != str(tmp_path / Path(data["intake"]["folder"]).name)
    given |= handlers.generate(given, heard())
    assert given["schedule"]["sha256"] != data["schedule"]["sha256"]
    assert handlers.check_compliance(given, heard())["verdict"]["violations"] == 0


def test_long_steps_say_how_far_they_are(full, heard):
    data, _ = full
    for handler in (handlers.check_compliance, handlers.measure_resilience):
        context = heard()
        handler(data, context)
        done = [progress["done"] / progress["of"] for progress in context.progress]
        assert len(done) > 5
        assert done == sorted(done)


def test_generate_stops_soon_after_it_was_cancelled_and_writes_nothing(full, tmp_path, heard):
    context = heard()
    context.cancelled = True
    with pytest.raises(handlers.CancelledError, match="cancelled at 0 of"):
        handlers.generate({**full[0], "intake": {"folder": str(tmp_path)}}, context)
    assert not list(tmp_path.iterdir())


def test_a_schedule_that_was_changed_behind_the_workflows_back_is_refused(full, tmp_path):
    data, _ = full
    copy = tmp_path / "schedule.csv"
    copy.write_text(Path(data["schedule"]["path"]).read_text().replace("R01", "R02", 1))
    schedule = {**data["schedule"], "path": str(copy)}
    with pytest.raises(ScheduleChangedError, match="has changed"):
        handlers.find_conflicts({**data, "schedule": schedule})


def test_conflicts_that_are_planted_are_found(full):
    data, _ = full
    program = read_program(data["program"])
    period = Period(dt.date.fromisoformat(data["start_date"]), 365)
    residents = read_roster(data["roster"], period)
    duties = read_schedule(data["schedule"]["path"], data["schedule"]["sha256"])

    def kinds(changed):
        return Counter(c.kind for c in analysis.find_conflicts(changed, residents, program, period))

    assert not kinds(duties)
    call = next(d for d in duties if d.shift == "icu_call")
    assert kinds([d for d in duties if d != call]) == {"uncovered_shift": 1}
    during = call._replace(shift="elective", start=call.end, end=call.free_at, required=False)
    assert kinds([*duties, during]) == {"double_booking": 1}
    assert kinds([*duties, during._replace(resident="R99")]) == {"unknown_resident": 1}
    away = next(r for r in residents if r.leave)
    first = period.date(min(away.leave))
    eve = dt.datetime.combine(first - dt.timedelta(days=1), dt.time(21))
    late = call._replace(date=eve.date(), shift="elective", resident=away.id, start=eve)
    late = late._replace(end=eve + dt.timedelta(hours=10), free_at=eve + dt.timedelta(hours=10))
    assert kinds([*duties, late])["leave_overlap"] == 1
    until_midnight = late._replace(end=eve + dt.timedelta(hours=3), free_at=eve + dt.timedelta(hours=3))
    assert kinds([*duties, until_midnight])["leave_overlap"] == 0


@pytest.mark.parametrize("seed", range(60))
def test_the_number_of_absences_is_exact(seed):
    """Against trying every set of absences on small days, with a plain matching."""
    draw = random.Random(seed)
    pool = range(draw.randint(0, 5))
    slots = [
        (frozenset(who for who in pool if draw.random() < 0.6), draw.choice("xyz")) for _ in range(draw.randint(1, 6))
    ]
    able = {}
    for group, shift in slots:
        able.setdefault(group, Counter())[shift] += 1

    def fillable(absent):
        return any(
            all(who in group for who, (group, _) in zip(chosen, absent, strict=True))
            for chosen in itertools.permutations(pool, len(absent))
        )

    survives = 0
    while survives < len(slots) and all(fillable(a) for a in itertools.combinations(slots, survives + 1)):
        survives += 1
    assert analysis._smallest_gap(able)[0] == survives


def test_unpublishing_takes_the_calendars_back_and_may_be_done_twice(full, tmp_path):
    data, _ = full
    copy = {"released": {"folder": str(tmp_path / "calendars"), "calendars": 48}}
    shutil.copytree(data["released"]["folder"], tmp_path / "calendars")
    assert handlers.unpublish(copy) == handlers.unpublish(copy)
    assert not (tmp_path / "calendars").exists()


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("R01,Ann,one,,,", "line 2: invalid literal"),
        ("R01,Ann,9,,,", "line 2: PGY level 9"),
        ("R01,Ann,1,2026-08-09/2026-08-01,,", "line 2: leave .* ends before it starts"),
        ("R01,Ann,1,next week,,", "line 2"),
        ("R01,Ann", "line 2"),
        ("R01,Ann,1,,,\nR01,Bob,2,,,", "an id is given twice: R01"),
        ("R01,Ann,1,,,", "nobody is PGY-2 or above"),
        ("R01,Ann,2,,,surfing", "R01 prefers an unknown rotation: 'surfing'"),
    ],
)
def test_a_mistake_in_the_roster_is_named_with_its_place(full, tmp_path, line, problem):
    roster = tmp_path / "roster.csv"
    roster.write_text(f"id,name,pgy,leave,days_off,prefers\n{line}\n")
    with pytest.raises(InputError, match=problem):
        handlers.validate({**full[0], "roster": str(roster)})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"start_date": "yesterday"}, "must be dates"),
        ({"end_date": "2026-07-10"}, "10 days"),
        ({"roster": "nowhere.csv"}, "nowhere.csv: no such file"),
        ({"rules": "examples/residency/program.json"}, "program.json: Object"),
    ],
)
def test_a_mistake_in_the_input_is_named(full, change, problem):
    with pytest.raises(InputError, match=problem):
        handlers.validate({**full[0], **change})


def test_the_error_handler_leaves_a_note(tmp_path):
    error = {"type": "InputError", "message": "roster.csv, line 3: PGY level 9"}
    out = handlers.explain_failure({"output_dir": str(tmp_path), "failed_step": "validate", "error": error})
    assert "line 3: PGY level 9" in Path(out["note"]).read_text()


def test_the_roster_has_at_least_forty_people_and_the_readme_says_they_are_invented():
    period = Period(dt.date(2026, 7, 1), 365)
    residents = read_roster("examples/residency/roster.csv", period)
    assert len(residents) >= 40
    assert all(isinstance(resident, Resident) and resident.leave for resident in residents)
    assert "invented" in Path("examples/residency/README.md").read_text()


def test_checksums_are_those_of_the_files(full):
    data, _ = full
    for named in (data["schedule"], data["verdict"]):
        assert hashlib.sha256(Path(named["path"]).read_bytes()).hexdigest() == named["sha256"]
