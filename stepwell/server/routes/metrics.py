"""``GET /metrics`` for Prometheus: what was counted in the log, who is live, and what this process does.

Numbers of instances come from the read models' counts, so a scrape costs the same however many instances there are.
Every server of a log tells the same of them: let one be scraped, or take the maximum.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any, Final

from litestar import Response, Router, get
from litestar.di import NamedDependency
from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from stepwell.client.client import Client
from stepwell.errors import StepwellError
from stepwell.projections.totals import BOUNDS, Totals, totals, work_by_queue
from stepwell.schemas.records.statuses import FINISHED
from stepwell.server.access import Role, requires

MEDIA_TYPE: Final = "text/plain; version=0.0.4"  # Litestar adds the charset
_PATIENCE: Final = 5.0  # seconds; Prometheus gives up after ten, unless told otherwise
_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_LATENCIES: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0, 300.0)
_VERSION: Final = ("workflow", "version")
_UNKNOWN: Final = "unknown"  # route of a request that met none, method of one that nobody knows

Send = Callable[[Any], Awaitable[None]]


class Meter:
    """Counts the requests of one server.

    Attributes:
        registry: Holds what this process counts.
    """

    def __init__(self) -> None:
        self.registry: CollectorRegistry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "stepwell_http_requests",
            "Requests by route, method and status.",
            ("route", "method", "status"),
            registry=self.registry,
        )
        self._latency = Histogram(
            "stepwell_http_request_seconds",
            "How long requests took until their answer began.",
            ("route", "method"),
            buckets=_LATENCIES,
            registry=self.registry,
        )
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def watch(self, scope: Any, send: Send) -> Send:
        """Measure one request: give what is returned to the application instead of ``send``."""
        began = time.perf_counter()

        async def measured(message: Any) -> None:
            if message["type"] == "http.response.start":
                self._count(scope, message["status"], time.perf_counter() - began)
            await send(message)

        return measured

    def _count(self, scope: Any, status: int, seconds: float) -> None:
        # Never the path itself: everybody could fill the memory of the server, and of Prometheus.
        route, method = scope.get("path_template") or _UNKNOWN, scope["method"]
        key = (route, method if method in _METHODS else _UNKNOWN, status)
        found = self._children.get(key)
        if found is None:
            found = self._requests.labels(key[0], key[1], str(status)), self._latency.labels(key[0], key[1])
            self._children[key] = found
        found[0].inc()
        found[1].observe(seconds)


class Exporter:
    """Puts together what is to be told.

    Args:
        meter: Counts the requests.
    """

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._highest: dict[tuple[str, ...], float] = {}

    async def text(self, client: Client) -> bytes:
        """All of it, in Prometheus' text format."""
        registry = CollectorRegistry()
        families = list(self._meter.registry.collect())
        try:
            async with asyncio.timeout(_PATIENCE):
                families += await self._of_log(client)
            up = 1
        except (StepwellError, TimeoutError):
            up = 0  # health says why
        families.append(_gauge("stepwell_up", "Whether the log and the read models answer.", [((), up)]))
        registry.register(_Ready(families))
        return generate_latest(registry)

    async def _of_log(self, client: Client) -> list[Metric]:
        models = client.views.models
        members = await client.live_members()
        async with models.asking() as queries:
            found, work = await totals(queries), await work_by_queue(queries)
        lag = await models.lag()
        return [
            *self._of_instances(found),
            _gauge(
                "stepwell_work",
                "Attempts at steps under way.",
                [((queue, status), number) for queue, status, number in work],
                ("queue", "status"),
            ),
            _gauge("stepwell_read_models_lag_records", "Records that are not followed yet.", [((), lag.records)]),
            _gauge("stepwell_read_models_lag_seconds", "How old the oldest of them is.", [((), lag.seconds)]),
            _gauge("stepwell_engines", "Live engines.", [((), len(members.engines))]),
            _gauge("stepwell_partitions_unowned", "Partitions without a live engine.", [((), len(members.unowned))]),
            _gauge("stepwell_workers", "Live workers.", [((), len(members.workers))]),
            _gauge(
                "stepwell_worker_slots",
                "Steps that the live workers can run at once.",
                [((), sum(worker.concurrency for worker in members.workers))],
            ),
        ]

    def _of_instances(self, found: list[Totals]) -> Iterator[Metric]:
        yield _gauge(
            "stepwell_instances",
            "Instances by status.",
            [((one.workflow, one.version, status), n) for one in found for status, n in one.statuses.items()],
            (*_VERSION, "status"),
        )
        yield self._counter(
            "stepwell_instances_started",
            "Instances that were started.",
            [((one.workflow, one.version), one.started) for one in found],
            _VERSION,
        )
        for end in FINISHED:
            yield self._counter(
                f"stepwell_instances_{end}",
                f"Instances that ended as {end}.",
                [((one.workflow, one.version), one.statuses[end]) for one in found],
                _VERSION,
            )
        yield self._counter(
            "stepwell_step_attempts",
            "Attempts at steps that have ended; `failed` and `retried` ended with an error.",
            [((one.workflow, one.version, end), n) for one in found for end, n in one.attempts.items()],
            (*_VERSION, "outcome"),
        )
        took = HistogramMetricFamily(
            "stepwell_instance_seconds", "How long completed instances took.", labels=_VERSION
        )
        for one in found:
            key = ("seconds", one.workflow, one.version)
            bounds = [*map(str, BOUNDS), "+Inf"]
            counts = [self._rising((*key, bound), n) for bound, n in zip(bounds, one.durations, strict=True)]
            took.add_metric(
                [one.workflow, one.version],
                list(zip(bounds, counts, strict=True)),
                self._rising((*key, "sum"), one.seconds),
            )
        yield took

    def _counter(
        self, name: str, words: str, samples: Iterable[tuple[tuple[str, ...], float]], labels: tuple[str, ...]
    ) -> Metric:
        family = CounterMetricFamily(name, words, labels=labels)
        for values, number in samples:
            family.add_metric(values, self._rising((name, *values), number))
        return family

    def _rising(self, key: tuple[str, ...], number: float) -> float:
        """The largest number that was told under this name.

        Where somebody resumes or rolls back what had ended, a count goes down by one; to Prometheus a counter that
        falls has begun anew from nothing, and all of it would be counted a second time.
        """
        self._highest[key] = number = max(number, self._highest.get(key, 0.0))
        return number


class _Ready(Collector):
    """Gives what was collected before."""

    def __init__(self, families: list[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _gauge(
    name: str, words: str, samples: Iterable[tuple[tuple[str, ...], float]], labels: tuple[str, ...] = ()
) -> Metric:
    family = GaugeMetricFamily(name, words, labels=labels)
    for values, number in samples:
        family.add_metric(values, number)
    return family


@get("/metrics", guards=[requires(Role.MONITOR)], operation_id="metrics", tags=["health"], media_type=MEDIA_TYPE)
async def metrics(client: NamedDependency[Client], exporter: NamedDependency[Exporter]) -> Response[bytes]:
    """For Prometheus, in its text format."""
    return Response(await exporter.text(client), media_type=MEDIA_TYPE)


router: Router = Router("/", route_handlers=[metrics])
