"""What the gateway counts, for Prometheus. Children are looked up once and kept: a request costs a few µs here."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric, generate_latest
from prometheus_client.registry import Collector

from matrixinfer.bus.contracts.frames import Usage

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)


class ModelMetrics:
    """The children of one (endpoint, model)."""

    def __init__(self, metrics: Metrics, endpoint: str, model: str) -> None:
        self._by_status: dict[int, Counter] = {}
        self._requests = metrics.requests
        self._labels = (endpoint, model)
        self._ttft = metrics.ttft.labels(endpoint, model)
        self._duration = metrics.duration.labels(endpoint, model)
        self._tokens = [metrics.tokens.labels(model, kind) for kind in ("prompt", "cached", "output")]

    def first_token(self, seconds: float) -> None:
        """The first bytes of a streamed answer are there, so long after the request came."""
        self._ttft.observe(seconds)

    def ended(self, status: int, seconds: float, usage: Usage | None) -> None:
        """`status` is the HTTP status, or that of the error that ended a stream which had begun."""
        counter = self._by_status.get(status)
        if counter is None:
            counter = self._by_status[status] = self._requests.labels(*self._labels, str(status))
        counter.inc()
        self._duration.observe(seconds)
        if usage is not None:
            counts = (usage.prompt_tokens, usage.cached_tokens, usage.output_tokens)
            for child, tokens in zip(self._tokens, counts, strict=True):
                if tokens > 0:
                    child.inc(tokens)


class Metrics:
    """One registry for each gateway, so that several live in one process. `worker` tells its samples from those of the
    other workers on its port."""

    def __init__(self, in_flight: Callable[[], int], worker: str) -> None:
        self.registry = CollectorRegistry()
        self._page = _OfWorker(self.registry, worker)
        name, registry = "matrixinfer_gateway", self.registry
        self.requests = Counter(
            f"{name}_requests_total",
            "Requests that ended, by how",
            ["endpoint", "model", "status"],
            registry=registry,
        )
        self.ttft = Histogram(
            f"{name}_time_to_first_token_seconds",
            "From the request to the first bytes of its streamed answer",
            ["endpoint", "model"],
            buckets=SECONDS,
            registry=registry,
        )
        self.duration = Histogram(
            f"{name}_request_duration_seconds",
            "From the request to the end of its answer",
            ["endpoint", "model"],
            buckets=SECONDS,
            registry=registry,
        )
        self.tokens = Counter(f"{name}_tokens_total", "Tokens by kind", ["model", "kind"], registry=registry)
        self._refusals = Counter(
            f"{name}_http_refusals_total",
            "Clients given up while their request was read: no door has answered it",
            ["reason"],
            registry=registry,
        )
        gauge = Gauge(f"{name}_requests_in_flight", "Requests that this worker holds", registry=registry)
        gauge.set_function(in_flight)
        self.prompts = Counter(
            f"{name}_prompts_total",
            "Prompts for pools that name a tokenizer: how=tokens, or why they travelled in byte blocks",
            ["modelserver", "how"],
            registry=registry,
        )
        self.tokenizer_loaded = Gauge(
            f"{name}_tokenizer_loaded",
            "1 where the pool's tokenizer is in use, 0 where it is not (yet)",
            ["modelserver"],
            registry=registry,
        )
        self._models: dict[tuple[str, str], ModelMetrics] = {}

    def of(self, endpoint: str, model: str) -> ModelMetrics:
        """`model` must be one that is served, or "": a client's free text would be an unbounded label."""
        found = self._models.get((endpoint, model))
        if found is None:
            found = self._models[endpoint, model] = ModelMetrics(self, endpoint, model)
        return found

    def refused(self, reason: str) -> None:
        """`reason` is one of the few of `doors.connection`."""
        self._refusals.labels(reason).inc()

    def text(self) -> bytes:
        return generate_latest(self._page)


class _OfWorker(Collector):
    """Everything in `registry` with one more label. It is put on when a page is asked for: counting costs the same."""

    def __init__(self, registry: CollectorRegistry, worker: str) -> None:
        self._registry = registry
        self._label = {"worker": worker}

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            told = Metric(metric.name, metric.documentation, metric.type, metric.unit)
            told.samples = [sample._replace(labels=sample.labels | self._label) for sample in metric.samples]
            yield told
