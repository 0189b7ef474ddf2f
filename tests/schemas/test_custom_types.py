"""Step types of one's own: registered by a decorator or by an installed package, and checked where they are read."""

import subprocess
import sys

import msgspec
import pytest

import stepwell
from stepwell.consumers.worker import handlers as handlers_module
from stepwell.consumers.worker.handlers import Handlers
from stepwell.errors import DefinitionError, HandlerError, StepTypeError
from stepwell.language import compile_plan, load_definition
from stepwell.schemas.definitions import custom_types
from stepwell.schemas.definitions.model import Definition, Step, encode_definition
from tests.patience import HANG
from tests.workbench import outcome, stage, workflow

pytestmark = pytest.mark.rows("X4")


class Mail(msgspec.Struct):
    to: list[str]
    subject: str = "(none)"
    copies: int = 1


@pytest.fixture(autouse=True)
def afresh(monkeypatch):
    """No type of one test is known to the next, and neither is what was installed."""
    monkeypatch.setattr(custom_types, "_known", {})
    monkeypatch.setattr(handlers_module, "registered", Handlers())
    custom_types.installed_types.cache_clear()
    yield
    custom_types.installed_types.cache_clear()


@pytest.fixture
def mail():
    @stepwell.step_type("mail", config=Mail)
    async def send(data, ctx):
        """Send a mail."""
        return {"sent": ctx.config.to * ctx.config.copies, "subject": ctx.config.subject, "body": data["body"]}

    return handlers_module.registered


def definition(**step):
    return {"name": "w", "version": "2", "steps": [{"id": "m", "type": "mail", **step}]}


def problems(**step):
    with pytest.raises(DefinitionError) as caught:
        compile_plan(load_definition(definition(**step)))
    return caught.value.problems


def test_a_step_of_a_custom_type_is_read_as_a_python_step_with_a_handler(mail):
    made = load_definition(definition(config={"to": ["a"]}))
    assert made.steps == (Step("m", handler="mail", config={"to": ["a"]}),)
    assert load_definition(encode_definition(made).decode()) == made  # the canonical form needs no plugin


def test_a_definition_built_in_python_may_name_it_too(mail):
    built = Definition("w", (Step("m", type="mail", config={"to": ["a"]}),), version="2")
    assert load_definition(built) == load_definition(definition(config={"to": ["a"]}))
    with pytest.raises(DefinitionError, match='needs "to"'):
        load_definition(Definition("w", (Step("m", type="mail"),)))


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({}, [' ("m"): needs "to"']),
        ({"to": "a"}, ['.to ("m"): Expected array, got str']),
        ({"to": [1]}, ['.to[0] ("m"): Expected str, got int']),
        ({"to": [], "copies": "many", "subjct": 1},
         [' ("m"): unknown key "subjct", did you mean "subject"?', '.copies ("m"): Expected int, got str']),
    ],
)  # fmt: skip
def test_its_config_is_checked_when_the_definition_is_read(mail, config, expected):
    assert problems(config=config) == [f"steps[0].config{problem}" for problem in expected]


def test_what_a_template_fills_in_is_checked_when_it_runs(mail):
    load_definition(definition(config={"to": "{{ input.to }}", "copies": "{{ input.n }}"}))
    assert problems(config={"to": "{{ input.to }}", "copies": "x"}) == [
        'steps[0].config.copies ("m"): Expected int, got str'
    ]


def test_all_problems_are_told_at_once(mail):
    steps = [{"id": f"m{n}", "type": "mail", "config": {"too": 1}} for n in range(3)]
    with pytest.raises(DefinitionError) as caught:
        load_definition({"name": "w", "steps": steps})
    assert len(caught.value.problems) == 6


def test_a_custom_type_takes_no_handler(mail):
    assert problems(handler="other", config={"to": []}) == [
        'steps[0].handler ("m"): a step of type "mail" takes none'
    ]


async def test_its_function_gets_its_config_as_an_instance(mail, log):
    config = {"to": ["a"], "copies": "{{ input.n }}"}
    made = workflow({"id": "m", "type": "mail", "config": config, "input": {"body": "hi"}})
    async with stage(log, mail, made) as client:
        ended = await outcome(client, {"n": 2})
        assert ended.output == {"m": {"sent": ["a", "a"], "subject": "(none)", "body": "hi"}}
        failed = await outcome(client, {"n": "many"})
    assert (failed.status, failed.error.type) == ("failed", "ValidationError")
    assert "copies" in failed.error.message


async def test_a_type_whose_name_is_built_in_by_now_is_refused_and_its_steps_in_a_log_run_by_a_handler(log):
    with pytest.raises(StepTypeError, match=r"is built in") as caught:
        stepwell.step_type("email", config=Mail)
    assert '@stepwell.handler("email")' in caught.value.remedy

    @stepwell.handler("email")
    def send(_data, ctx):
        return {"sent": ctx.config["to"]}

    as_read_before = workflow({"id": "m", "type": "python", "handler": "email", "config": {"to": ["a"]}})
    async with stage(log, handlers_module.registered, as_read_before) as client:
        assert (await outcome(client)).output == {"m": {"sent": ["a"]}}


def test_names_that_cannot_be_are_refused():
    for name in ("http_request", "ai", "", "a.b", "a b", "x" * 101):
        with pytest.raises(StepTypeError):
            stepwell.step_type(name)
    with pytest.raises(StepTypeError, match="derived from msgspec"):
        stepwell.step_type("mail", config=dict)


def test_one_name_belongs_to_one_function(mail):
    with pytest.raises(HandlerError, match="registered twice"):
        stepwell.step_type("mail")(lambda data: data)


# --- installed packages -------------------------------------------------------------------------------------


def install(path, *, name="stepwell-weather", module="weather_steps", types="", code=""):
    """An installed distribution, as an installer would leave it."""
    info = path / f"{name.replace('-', '_')}-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "RECORD").write_text("")
    (info / "entry_points.txt").write_text(f"[stepwell.step_types]\n{types}\n")
    (path / f"{module}.py").write_text(code)


DECORATED = '''
import msgspec
import stepwell

class Config(msgspec.Struct):
    city: str

@stepwell.step_type("weather", config=Config)
def weather(data, ctx):
    """The weather of a city."""
    return {"city": ctx.config.city, "sky": "blue"}
'''
PLAIN = "def weather(data, ctx):\n    return {'city': ctx.config['city'], 'sky': 'grey'}\n"
WEATHER = {"name": "w", "steps": [{"id": "a", "type": "weather", "config": {"city": "Rome"}}]}


@pytest.fixture
def site(tmp_path, monkeypatch):
    path = tmp_path / "site"
    path.mkdir()
    monkeypatch.syspath_prepend(str(path))
    yield path
    for name in ("weather_steps", "other_steps"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(("code", "sky"), [(DECORATED, "blue"), (PLAIN, "grey")])
async def test_an_installed_package_brings_a_type_that_is_loaded_when_it_is_used(site, log, code, sky):
    install(site, types="weather = weather_steps:weather", code=code)
    load_definition({"name": "w", "steps": [{"id": "a", "handler": "x.y"}]})
    assert "weather" in Handlers().names()
    assert "weather_steps" not in sys.modules  # nothing needed it so far
    worker = Handlers()  # a worker of another process has not read the definition
    assert worker.knows("python", "weather")
    assert not worker.knows("python", "wheather")
    async with stage(log, worker, WEATHER) as client:
        ended = await outcome(client, {})
    assert ended.output == {"a": {"city": "Rome", "sky": sky}}


def test_the_config_of_an_installed_type_is_checked(site):
    install(site, types="weather = weather_steps:weather", code=DECORATED)
    with pytest.raises(DefinitionError, match=r'steps\[0\]\.config \("a"\): needs "city"'):
        load_definition({"name": "w", "steps": [{"id": "a", "type": "weather"}]})


@pytest.mark.parametrize(
    ("types", "code", "says"),
    [
        ("weather = weather_steps:weather", "import nothing_of_the_kind", "ModuleNotFoundError: No module named"),
        ("weather = weather_steps:weather", "def weather(:", "SyntaxError"),
        ("weather = weather_steps:weather", "raise SystemExit(3)", "SystemExit: 3"),
        ("weather = weather_steps:wether", PLAIN, "AttributeError"),
        ("weather = weather_steps:weather", "weather = 3", "is no function"),
        ("weather = nowhere_at_all:weather", PLAIN, "ModuleNotFoundError"),
    ],
)
def test_a_broken_package_is_told_by_name(site, types, code, says):
    install(site, types=types, code=code)
    with pytest.raises(DefinitionError) as caught:
        load_definition(WEATHER)
    (problem,) = caught.value.problems
    assert problem.startswith('steps[0].type ("a"): ')
    assert "the package stepwell-weather 1.2" in problem
    assert says in problem
    with pytest.raises(HandlerError, match="stepwell-weather"):
        Handlers().find("python", "weather")
    assert not Handlers().knows("python", "weather")


def test_two_packages_with_one_name_are_told(site):
    install(site, types="weather = weather_steps:weather", code=PLAIN)
    install(site, name="other", module="other_steps", types="weather = other_steps:weather", code=PLAIN)
    with pytest.raises(DefinitionError) as caught:
        load_definition(WEATHER)
    assert "the package other 1.2" in caught.value.problems[0]
    assert "the package stepwell-weather 1.2" in caught.value.problems[0]


def test_a_broken_package_that_no_definition_uses_harms_nobody(site):
    install(site, types="weather = weather_steps:weather", code="raise ValueError")
    load_definition({"name": "w", "steps": [{"id": "a", "handler": "x.y"}]})
    assert not Handlers().knows("python", "something")


def test_from_the_command_line_an_installed_type_and_one_of_a_module_run(site, tmp_path):
    install(site, types="weather = weather_steps:weather", code=DECORATED)
    (tmp_path / "mine.py").write_text(
        "import stepwell\n\n@stepwell.step_type('shout')\ndef shout(data):\n    return data['city'].upper()\n"
    )
    (tmp_path / "w.yaml").write_text(
        "name: w\nsteps:\n"
        "  - {id: a, type: weather, config: {city: Rome}}\n"
        "  - {id: b, type: shout, depends_on: [a]}\n"
    )

    def run(*words):
        return subprocess.run(
            [sys.executable, "-m", "stepwell", *words], cwd=tmp_path, capture_output=True, text=True, timeout=HANG,
            env={"PATH": "", "PYTHONPATH": f"{site}:{':'.join(filter(None, sys.path))}"},
        )  # fmt: skip

    done = run("run", "w.yaml", "--handlers", "mine")
    assert '"b": "ROME"' in done.stdout, done.stderr
    assert "is valid: 2 steps" in run("validate", "w.yaml", "--handlers", "mine").stdout
    unknown = run("validate", "w.yaml")
    assert unknown.returncode == 2
    assert 'steps[1].type: unknown type "shout"' in unknown.stderr
    (site / "weather_steps.py").write_text("import gone")
    broken = run("validate", "w.yaml")
    assert broken.returncode == 2
    assert "stepwell-weather 1.2" in broken.stderr
    assert "Traceback" not in broken.stderr
