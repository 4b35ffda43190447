"""What the plugin tells Prometheus: pods by state, requests, calls of the batch system."""

from __future__ import annotations

from collections import Counter as Count
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from flashlink import __version__
from flashlink.plugin.record import Record
from flashlink.pods.status import ContainerState, Phase

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0)


class Metrics:
    """The plugin's own registry, so that two plugins in one process do not share figures.

    Args:
        records: Gives all pods at the time of a scrape.
        site: Name of the site.
    """

    def __init__(self, records: Callable[[], Iterable[Record]], site: str) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_PodStates(records))
        self._requests = Histogram(
            "flashlink_request_seconds",
            "Time to answer a request",
            ["route", "code"],
            registry=self._registry,
            buckets=_SECONDS,
        )
        self._by_request: dict[tuple[str, int], Histogram] = {}
        self._calls = Histogram(
            "flashlink_batch_call_seconds",
            "Time of a call of the batch system",
            ["call"],
            registry=self._registry,
            buckets=_SECONDS,
        )
        self._failures = Counter(
            "flashlink_batch_failures", "Calls of the batch system that failed", ["call"], registry=self._registry
        )
        Gauge("flashlink_info", "The plugin", ["version", "site"], registry=self._registry).labels(
            __version__, site
        ).set(1)

    def request(self, route: str, code: int, seconds: float) -> None:
        """Count one answered request."""
        counter = self._by_request.get((route, code))
        if counter is None:  # looking it up by its labels would cost a status call more than its answer
            counter = self._by_request[route, code] = self._requests.labels(route, str(code))
        counter.observe(seconds)

    def batch_call(self, call: str, seconds: float, well: bool) -> None:
        """Count one call of the batch system."""
        self._calls.labels(call).observe(seconds)
        if not well:
            self._failures.labels(call).inc()

    def text(self) -> bytes:
        """All figures in Prometheus' text format."""
        return generate_latest(self._registry)


class _PodStates(Collector):
    def __init__(self, records: Callable[[], Iterable[Record]]) -> None:
        self._records = records

    def collect(self) -> Iterator[Metric]:
        """Count the pods at the time of the scrape."""
        counts = Count(state(record) for record in self._records())
        family = GaugeMetricFamily("flashlink_pods", "Known pods by state", labels=["state"])
        for name in ("unsubmitted", "waiting", "running", "succeeded", "failed", "deleting"):
            family.add_metric([name], counts[name])
        yield family


def state(record: Record) -> str:
    """One word for a pod: unsubmitted, waiting, running, succeeded, failed or deleting."""
    states: list[ContainerState] = list(record.states.values())
    if record.deleted is not None:
        return "deleting"
    if record.has_no_job:
        return "unsubmitted"
    if states and all(each.terminated for each in states):
        return "failed" if any(each.failed for each in states) else "succeeded"
    return "running" if any(each.phase is not Phase.WAITING for each in states) else "waiting"
