"""The server's metrics in the Prometheus text format."""

from collections.abc import Iterator

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector, CollectorRegistry

from co3d.printable import make_printable
from co3d.serving.service import Service

MS_PER_SECOND = 1000.0


def write_metrics(service: Service) -> bytes:
    """All current metrics. Labels name streams, never classes, of which there may be thousands."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Counts(service))
    return generate_latest(registry)


class _Counts(Collector):
    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
        service, engine = self._service, self._service.engine
        counters, visits = service.counters, service.visits
        for name, text, value in (
            ("co3d_engine_load", "Share of the workers' time that live streams use", engine.load),
            (
                "co3d_engine_step_cost_seconds",
                "Processor time of a frame's preprocessing and step",
                engine.step_cost_ms / MS_PER_SECOND,
            ),
            ("co3d_visitors", "Visitors whose video is labelled now", len(visits)),
            ("co3d_subscribers", "Clients that follow streams or events", counters.subscribers),
        ):
            yield GaugeMetricFamily(name, text, value)
        for name, text, value in (
            ("co3d_visits", "Visitors so far", visits.opened),
            ("co3d_refused_visits", "Visitors for whom there was no room", visits.refused),
            (
                "co3d_visitor_pictures",
                "Pictures that visitors sent",
                counters.pictures + service.rtc.pictures,
            ),
            (
                "co3d_refused_pictures",
                "Pictures of visitors that could not be read or were too large",
                counters.refused_pictures + service.rtc.refused_pictures,
            ),
            (
                "co3d_late_pictures",
                "Pictures of visitors dropped because they waited too long",
                counters.late_pictures,
            ),
            (
                "co3d_lost_messages",
                "Messages dropped because clients read too slowly",
                counters.lost_messages,
            ),
            ("co3d_media_deaths", "Deaths of the media process", service.media.deaths),
            (
                "co3d_cut_clients",
                "Clients disconnected as they read nothing",
                counters.cut_clients,
            ),
            (
                "co3d_lost_predictions",
                "Predictions dropped because the server read too slowly",
                service.streams.watch.lost_predictions,
            ),
        ):
            yield CounterMetricFamily(name, text, value)
        yield from self._collect_streams()

    def _collect_streams(self) -> Iterator[Metric]:
        counts = {
            name: CounterMetricFamily(f"co3d_stream_{name}", text, labels=["stream"])
            for name, text in (
                ("pictures", "Pictures that came"),
                ("predictions", "Predictions made"),
                ("dropped_frames", "Frames dropped because labelling was too slow"),
                ("gaps", "Times without pictures"),
                ("jumps_back", "Jumps back of its clock"),
                ("size_changes", "Changes of its pictures' size"),
            )
        }
        up = GaugeMetricFamily("co3d_stream_up", "Whether pictures come", labels=["stream"])
        lag = GaugeMetricFamily(
            "co3d_stream_lag_seconds", "From a frame's arrival to its prediction", labels=["stream"]
        )
        latency = GaugeMetricFamily(
            "co3d_stream_latency_seconds",
            "Quantiles of the time from arrival in the engine to prediction",
            labels=["stream", "quantile"],
        )
        for _, entry, status in self._service.streams.list_all():
            stream = [make_printable(entry.camera.name)]
            is_live = status is not None and not status.has_ended
            if status is not None and status.state is not None:
                is_live = is_live and status.state.phase == "live"
            up.add_metric(stream, float(is_live))
            metrics = None if status is None else status.metrics
            if status is None or metrics is None:
                continue
            values = {**vars(metrics), **vars(status.irregularities)}
            for name, family in counts.items():
                family.add_metric(stream, values[name])
            if metrics.lag_ms is not None:
                lag.add_metric(stream, metrics.lag_ms / MS_PER_SECOND)
            quantiles = metrics.latency
            for quantile, value_ms in (
                ("0.5", quantiles.p50_ms),
                ("0.95", quantiles.p95_ms),
                ("0.99", quantiles.p99_ms),
            ):
                latency.add_metric([*stream, quantile], value_ms / MS_PER_SECOND)
        yield from (up, lag, latency, *counts.values())
