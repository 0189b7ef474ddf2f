"""``stepwell engine``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from stepwell import logs
from stepwell.cli.environment import tell_unused
from stepwell.cli.folders import chosen_directory, look
from stepwell.cli.imports import import_handlers
from stepwell.cli.options import Lines, LogUrl, Name, RetryFor, Types, Workflows
from stepwell.cli.service import Attempt, checked_name, run_service
from stepwell.cli.session import this_sender
from stepwell.cli.signature import Option
from stepwell.consumers.engine.admission import MOST_RUNS
from stepwell.consumers.engine.engine import Engine
from stepwell.consumers.registry.definitions import Definitions
from stepwell.consumers.registry.folder import Folder
from stepwell.log.port import Log
from stepwell.process import process_name


async def engine(
    name: Name = None,
    max_runs: Annotated[
        int | None,
        Option(
            "--max-runs", metavar="N", min=1, help="Steps in the hands of workers at which no more starts are taken."
        ),
    ] = None,
    workflows: Workflows = None,
    modules: Types = (),
    retry_for: RetryFor = 300.0,
    as_json: Lines = False,
    log: LogUrl = None,
) -> int:
    """Decide workflows until stopped; any number of engines share the log's partitions.

    Ctrl-C or SIGTERM gives the partitions to the others; a second one ends it at once.
    Exit status: 0 stopped, 2 what a person must mend, 75 the log was away for too long, 130 ended at once.

    \b
    stepwell engine --log file:/var/lib/stepwell/log.db --json
    stepwell engine --workflows /etc/stepwell/workflows
    """
    named = checked_name(name) or process_name()
    most = max_runs or MOST_RUNS
    directory = chosen_directory(workflows)
    import_handlers(modules)  # before the definitions: they may hold step types of their own
    logs.configure(as_json=as_json)
    tell_unused()

    def attempt_on(opened: Log) -> Attempt:
        definitions = Definitions(opened)
        folder = Folder(definitions, directory, this_sender()) if directory else None

        async def attempt(at_work: Callable[[], None]) -> None:
            if folder is not None:  # a file that is wrong is told, and the engine works for all the others
                await look(folder, logs.Logger("stepwell.engine"))
            made = Engine(
                opened, definitions=definitions, name=named, most_runs=most, retry_for=retry_for, outlast=True
            )
            await made.run(at_work)

        return attempt

    about: dict[str, Any] = {"name": named, "max_runs": most}
    if directory is not None:
        about["workflows"] = str(directory)
    return await run_service("engine", attempt_on, about, retry_for=retry_for, as_json=as_json, log=log)
