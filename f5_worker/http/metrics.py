"""What Prometheus reads at `/metrics`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from f5_worker.boot.report import read_report
from f5_worker.server.jobs import JobRunner
from f5_worker.synthesis.context import Worker

disable_created_metrics()  # type: ignore[no-untyped-call]  # a time beside each counter, which Prometheus does not use
_LATENCY_S = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0, 300.0)
_RTF = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)


class ServerMetrics:
    """The metrics of one server.

    Args:
        look_up: returns whether requests are served, and what runs jobs.
    """

    def __init__(self, look_up: Callable[[], tuple[bool, JobRunner]]) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "f5_http_requests",
            "Requests by route, method and status.",
            ("route", "method", "status"),
            registry=registry,
        )
        self._errors = Counter("f5_errors", "Errors that callers were told, by code.", ("code",), registry=registry)
        self._first_audio_s = Histogram(
            "f5_first_audio_seconds",
            "From a request to its first audio, of streams.",
            buckets=_LATENCY_S,
            registry=registry,
        )
        self._job_s = Histogram(
            "f5_job_seconds", "From a request to its last audio, or to its whole response.", buckets=_LATENCY_S,
            registry=registry,
        )  # fmt: skip
        self._audio_s = Counter("f5_audio_seconds", "Seconds of audio that were made.", registry=registry)
        self._rtf = Histogram(
            "f5_real_time_factor", "Seconds of the device for a second of audio.", buckets=_RTF, registry=registry
        )
        self._cpu_s = Counter(
            "f5_cpu_seconds", "The processor's seconds of jobs, by stage.", ("stage",), registry=registry
        )
        ProcessCollector(registry=registry)
        registry.register(_State(look_up))

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def count_request(self, route: str, method: str, status: int) -> None:
        """Count a request that ended; `status` is 0 for a caller that left before the response."""
        self._requests.labels(route, method, status).inc()

    def count_error(self, code: str) -> None:
        """Count an error that a caller was told."""
        self._errors.labels(code).inc()

    @contextmanager
    def job(self) -> Iterator[ObservedJob]:
        """Measure the block, in which a request is answered."""
        yield ObservedJob(self._first_audio_s.observe, self._finish)

    def _finish(self, elapsed_s: float, audio_s: float, metrics: Mapping[str, Any]) -> None:
        self._job_s.observe(elapsed_s)
        self._audio_s.inc(audio_s)
        self._rtf.observe(metrics["rtf"])
        for stage, cpu_ms in metrics["cpu_ms"].items():
            self._cpu_s.labels(stage).inc(cpu_ms / 1e3)


class ObservedJob:
    """The times of one job."""

    def __init__(
        self, first: Callable[[float], None], finish: Callable[[float, float, Mapping[str, Any]], None]
    ) -> None:
        self._first, self._finish = first, finish
        self._began, self._heard = time.monotonic(), False

    def chunk(self, duration_s: float) -> None:
        """Record a chunk of a stream."""
        if duration_s and not self._heard:
            self._heard = True
            self._first(time.monotonic() - self._began)

    def end(self, audio: Mapping[str, Any] | None, metrics: Mapping[str, Any] | None) -> None:
        """Record the response, if it is one of speech: its fields `audio` and `metrics`."""
        if audio and metrics:
            self._finish(time.monotonic() - self._began, audio["duration_s"], metrics)


class _State(Collector):
    """The metrics that are looked up whenever Prometheus reads them."""

    def __init__(self, look_up: Callable[[], tuple[bool, JobRunner]]) -> None:
        self._look_up = look_up

    def collect(self) -> Iterator[Metric]:
        """Yield the state of the server, of the engine, of the caches and of boot."""
        is_ready, runner = self._look_up()
        yield GaugeMetricFamily("f5_ready", "1 while requests are served.", float(is_ready))
        phases = GaugeMetricFamily("f5_boot_phase_seconds", "How long each phase of the start took.", labels=["phase"])
        for name, ms in (read_report() or {}).get("phases_ms", {}).items():
            phases.add_metric([name], ms / 1e3)
        yield phases
        yield GaugeMetricFamily("f5_jobs_running", "Jobs that run.", runner.n_running)
        yield GaugeMetricFamily("f5_jobs_waiting", "Jobs that wait for their turn.", runner.n_jobs - runner.n_running)
        worker = runner.worker
        if worker is None:
            return
        yield from _devices(worker)
        caches = CounterMetricFamily(
            "f5_reference_cache", "Look-ups of prepared references.", labels=["cache", "found"]
        )
        for name, cache in (("voices", worker.voices.references), ("callers", worker.caller_references)):
            caches.add_metric([name, "yes"], cache.n_hits)
            caches.add_metric([name, "no"], cache.n_misses)
        yield caches


def _devices(worker: Worker) -> Iterator[Metric]:
    """Yield what each device does and has; its label is its place among those of `health`."""
    labels = ["device"]
    forwards = CounterMetricFamily("f5_engine_forwards", "Forwards of the model.", labels=labels)
    segments = CounterMetricFamily("f5_engine_segments", "Segments in them: the batch.", labels=labels)
    frames = CounterMetricFamily("f5_engine_frames", "Mel frames in them.", labels=labels)
    busy_s = CounterMetricFamily("f5_engine_busy_seconds", "Seconds in which the device worked.", labels=labels)
    frames_max = GaugeMetricFamily("f5_engine_frames_max", "Mel frames that a forward may have.", labels=labels)
    reserved = GaugeMetricFamily(
        "f5_device_reserved_bytes", "Memory of the device that this process has.", labels=labels
    )
    total = GaugeMetricFamily("f5_device_bytes", "Memory of the device.", labels=labels)
    models = (worker.models.default, *worker.models.default.replicas)
    for index, (engine, model) in enumerate(zip(worker.engine.engines, models, strict=True)):
        label, load = [str(index)], engine.load
        forwards.add_metric(label, load.n_forwards)
        segments.add_metric(label, load.n_segments)
        frames.add_metric(label, load.n_frames)
        busy_s.add_metric(label, load.busy_s)
        frames_max.add_metric(label, load.max_frames)
        if memory := model.device_bytes:
            reserved.add_metric(label, memory[0])
            total.add_metric(label, memory[1])
    yield from (forwards, segments, frames, busy_s, frames_max, *((reserved, total) if reserved.samples else ()))
