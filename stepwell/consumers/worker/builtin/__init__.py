"""The built-in step types that workers run: one function each, of a step's input and its context.

Whoever starts a worker imports this package, so it takes no heavy libraries with it: they are imported by the
first call that needs them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from stepwell.consumers.worker.builtin.process import process as _process
from stepwell.consumers.worker.context import StepContext


async def _http_request(data: Any, ctx: StepContext) -> Any:
    from stepwell.consumers.worker.builtin.http import http_request  # noqa: PLC0415 - httpx takes 0.2 s to import

    return await http_request(data, ctx)


async def _http_request_of_a_service(data: Any, ctx: StepContext) -> Any:
    from stepwell.consumers.worker.builtin.http import http_request  # noqa: PLC0415 - as above

    return await http_request(data, ctx, bound=True)


async def _llm(data: Any, ctx: StepContext) -> Any:
    from stepwell.consumers.worker.builtin.llm import llm  # noqa: PLC0415 - as above

    return await llm(data, ctx)


def _file_operation(data: Any, ctx: StepContext) -> Any:
    from stepwell.consumers.worker.builtin.files import file_operation  # noqa: PLC0415 - few definitions have one

    return file_operation(data, ctx, Path.cwd())


def _file_operation_of_a_service(data: Any, ctx: StepContext) -> Any:
    from stepwell.consumers.worker.builtin.files import file_operation  # noqa: PLC0415 - as above

    return file_operation(data, ctx)


Types = Mapping[str, Callable[[Any, StepContext], Any]]

BUILTIN: Final[dict[str, Callable[[Any, StepContext], Any]]] = {
    "process": _process,
    "http_request": _http_request,
    "llm": _llm,
    "file_operation": _file_operation,
}
"""The function of each step type: coroutine functions run in the worker's loop, others in threads.

This is what somebody gets who runs definitions of their own, by ``stepwell run`` or ``stepwell.connect``: their steps
work on files in the directory in which that was started.
"""

OF_SERVICES: Final[dict[str, Callable[[Any, StepContext], Any]]] = {
    **BUILTIN,
    "http_request": _http_request_of_a_service,
    "file_operation": _file_operation_of_a_service,
}
"""The same for processes that run what others have written: steps work on files in directories that are named,
and secrets go to hosts that are."""
