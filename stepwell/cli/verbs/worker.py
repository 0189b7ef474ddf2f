"""``stepwell worker``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from stepwell import logs
from stepwell.cli.environment import tell_unused
from stepwell.cli.folders import chosen_directory, look
from stepwell.cli.imports import paths_of
from stepwell.cli.options import (
    DEFAULT_QUEUES,
    Concurrency,
    Lines,
    LogUrl,
    MaxDeliveries,
    Modules,
    Name,
    Queues,
    RetryFor,
    StrictHandlers,
    Workflows,
)
from stepwell.cli.service import Attempt, checked_name, own_handlers, run_service
from stepwell.cli.session import this_sender
from stepwell.cli.signature import Option
from stepwell.consumers.registry.definitions import Definitions
from stepwell.consumers.registry.folder import Folder
from stepwell.consumers.worker import settings
from stepwell.consumers.worker.builtin import OF_SERVICES
from stepwell.consumers.worker.builtin.allowed_roots import check_roots
from stepwell.consumers.worker.handlers import Handlers, registered
from stepwell.consumers.worker.worker import Worker
from stepwell.log.port import Log
from stepwell.process import process_name


async def worker(
    workflows: Workflows = None,
    modules: Modules = (),
    strict: StrictHandlers = False,
    queues: Queues = DEFAULT_QUEUES,
    concurrency: Concurrency = None,
    max_deliveries: MaxDeliveries = None,  # noqa: ARG001 - see the option
    name: Name = None,
    grace: Annotated[
        float,
        Option("--grace", metavar="SECONDS", min=0, help="When stopped, how long steps that run may take to finish."),
    ] = 25.0,  # a little less than the 30 seconds after which Kubernetes kills, unless told otherwise
    retry_for: RetryFor = 300.0,
    as_json: Lines = False,
    log: LogUrl = None,
) -> int:
    """Run steps until stopped; any number of workers share the queues.

    Ctrl-C or SIGTERM takes no more, lets what runs finish, and hands back the rest; a second one ends it at once.
    Exit status: 0 stopped, 2 what a person must mend, 75 the log was away for too long, 130 ended at once.

    \b
    stepwell worker --handlers shop --concurrency 16
    stepwell worker --handlers shop.mail --queue mail --queue letters --grace 60
    """
    named = checked_name(name) or process_name()
    at_once = concurrency or settings.concurrency()
    directory = chosen_directory(workflows)
    handlers = Handlers(paths_of(modules, strict=strict), OF_SERVICES)
    handlers.update(registered)
    logs.configure(as_json=as_json)  # after the handlers' modules, which may have ideas of their own
    tell_unused()

    def attempt_on(opened: Log) -> Attempt:
        check_roots()  # now that the log is known, which has to lie elsewhere

        async def attempt(at_work: Callable[[], None]) -> None:
            if directory is not None:
                await look(Folder(Definitions(opened), directory, this_sender()), logs.Logger("stepwell.worker"))
            made = Worker(opened, handlers, queues=queues, concurrency=at_once, name=named)
            await made.run(at_work, grace=grace)

        return attempt

    about: dict[str, Any] = {
        "name": named,
        "queues": ",".join(queues),
        "concurrency": at_once,
        "handlers": ",".join(own_handlers(handlers.names(), handlers.prefixes)) or "built-in step types only",
    }
    if directory is not None:
        about["workflows"] = str(directory)
    return await run_service("worker", attempt_on, about, retry_for=retry_for, as_json=as_json, log=log)
