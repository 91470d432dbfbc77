"""What the server has counted, as families of metrics, made when somebody looks.

Nothing is labelled while a stanza is on its way: the parts of the server count in plain integers, and labels are put to
them here.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import product
from math import isinf

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from xmppws import __version__
from xmppws.core import metrics
from xmppws.core.histogram import Histogram
from xmppws.core.host import Host
from xmppws.core.router import KnowsLogins
from xmppws.core.stores import Storage
from xmppws.errors import OF_UPSTREAM, Reason, Side
from xmppws.http.causes import Cause
from xmppws.http.endpoint import Endpoint


def _build() -> Metric:
    libraries = {name: version(name) for name in ("aiohttp", "lxml", "uvloop")}
    return InfoMetricFamily(
        "xmppws_build", "What runs here.", {"version": __version__, "python": platform.python_version(), **libraries}
    )


@dataclass(frozen=True, eq=False)
class Figures(Collector):
    """The parts of one server that count. `refused` are the counters of those who refuse."""

    endpoint: Endpoint
    refused: Sequence[Counter[Cause]]
    hosts: Mapping[str, Host]
    storage: Storage
    others: Callable[[], Iterable[tuple[str, object]]] = tuple
    """What else has metrics of its own, with the domain that it stands by."""
    build: Metric = field(default_factory=_build)

    def describe(self) -> list[Metric]:
        """Say nothing: registering collects nothing then."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Return all families."""
        yield self.build
        yield from self._connections()
        yield from self._handshakes()
        yield from self._streams()
        yield from self._hosts()
        yield from self._slow_readers()
        yield from self._logins()
        yield from self._storage()
        yield from self._process()
        yield from self._declared()

    def _connections(self) -> Iterator[Metric]:
        stages: Counter[tuple[str, str]] = Counter()
        waiting: Counter[str] = Counter()
        for connection in self.endpoint.connections:
            stages[connection.occupies or connection.host, connection.stage] += 1
            waiting[connection.host] += connection.waiting
        stages["", "http"] = self.endpoint.admission.connections - len(self.endpoint.connections)
        stages["", "new"] += 0
        family = GaugeMetricFamily("xmppws_connections", "Connections by state.", labels=["host", "state"])
        queues = GaugeMetricFamily("xmppws_send_buffer_bytes", "Bytes that clients have yet to take.", labels=["host"])
        trips = HistogramMetricFamily(
            "xmppws_ping_round_trip_seconds", "Time until a WebSocket ping was answered.", labels=["host"]
        )
        for domain in self._domains:
            queues.add_metric([domain], waiting[domain])
            _add_histogram(trips, domain, self.endpoint.round_trips[domain])
        for domain in self.endpoint.routers:
            for stage in ("new", "stranger", "established", "ending"):
                stages[domain, stage] += 0
        for (domain, stage), number in stages.items():
            family.add_metric([domain, stage], number)
        yield from (family, queues, trips)

    @property
    def _domains(self) -> tuple[str, ...]:
        """The virtual hosts, and "" for what has not come to one yet."""
        return ("", *self.endpoint.routers)

    def _handshakes(self) -> Iterator[Metric]:
        family = CounterMetricFamily(
            "xmppws_handshakes_refused", "Requests and connections that were refused.", labels=["cause"]
        )
        for cause in Cause:
            family.add_metric([cause.value], sum(refused[cause] for refused in self.refused))
        yield family

    def _streams(self) -> Iterator[Metric]:
        opens = CounterMetricFamily("xmppws_streams_opened", "XMPP streams opened.", labels=["host"])
        for domain in self.endpoint.routers:
            opens.add_metric([domain], self.endpoint.opens[domain])
        yield opens
        slowed = CounterMetricFamily(
            "xmppws_slowed", "Times that a client was not read for a while, as it sent too much.", labels=["host"]
        )
        for domain in self._domains:
            slowed.add_metric([domain], self.endpoint.slowed[domain])
        yield slowed
        ends = CounterMetricFamily(
            "xmppws_streams_ended", "WebSockets that ended, why, and who ended them.", labels=["host", "reason", "by"]
        )
        for domain, reason, side in product(self._domains, Reason, Side):
            if (side is Side.UPSTREAM) != (reason in OF_UPSTREAM):
                continue  # The one is never without the other.
            ends.add_metric([domain, reason.id, side.value], self.endpoint.ends[domain, reason, side])
        yield ends

    def _hosts(self) -> Iterator[Metric]:
        sessions = GaugeMetricFamily("xmppws_sessions", "Bound resources.", labels=["host", "state"])
        stanzas = CounterMetricFamily(
            "xmppws_stanzas", "Stanzas from and to clients.", labels=["host", "kind", "direction"]
        )
        times = HistogramMetricFamily(
            "xmppws_dispatch_seconds", "Time to handle a stanza of a client; one of 64 is timed.", labels=["host"]
        )
        for domain, host in self.hosts.items():
            _add_histogram(times, domain, host.traffic.times)
            available = sum(session.presence is not None for session in host.sessions)
            sessions.add_metric([domain, "available"], available)
            sessions.add_metric([domain, "unavailable"], len(host.sessions) - available)
            for direction, counts in (("in", host.traffic.received), ("out", host.traffic.sent)):
                for kind, number in counts.items():
                    stanzas.add_metric([domain, kind, direction], number)
        yield from (sessions, stanzas, times)

    def _slow_readers(self) -> Iterator[Metric]:
        slow = GaugeMetricFamily("xmppws_slow_readers", "Clients that read too slowly now.", labels=["host"])
        held = CounterMetricFamily(
            "xmppws_slow_readers_held", "Presence and chat states that had to wait for slow readers.", labels=["host"]
        )
        collapsed = CounterMetricFamily(
            "xmppws_slow_readers_collapsed",
            "Of them, those that were never sent, as a newer one came.",
            labels=["host"],
        )
        pauses = CounterMetricFamily(
            "xmppws_slow_readers_pauses",
            "Times that a client was not read for a while, as it had written to a slow reader.",
            labels=["host"],
        )
        for domain, host in self.hosts.items():
            slow.add_metric([domain], sum(session.caught_up is not None for session in host.sessions))
            held.add_metric([domain], host.traffic.held.value)
            collapsed.add_metric([domain], host.traffic.collapsed.value)
            pauses.add_metric([domain], host.traffic.pauses.value)
        yield from (slow, held, collapsed, pauses)

    def _logins(self) -> Iterator[Metric]:
        logins = CounterMetricFamily("xmppws_logins", "Attempts to log in.", labels=["host", "mechanism", "outcome"])
        for domain, router in self.endpoint.routers.items():
            if isinstance(router, KnowsLogins):
                for (mechanism, outcome), number in router.traffic.logins.items():
                    logins.add_metric([domain, mechanism, outcome], number)
        yield logins

    def _storage(self) -> Iterator[Metric]:
        writing = self.storage.writing
        if writing is None:
            return
        yield _histogram("xmppws_storage_transaction_seconds", "Time a transaction took.", writing.seconds)
        yield _histogram("xmppws_storage_transaction_writes", "Writes that shared a transaction.", writing.sizes)
        yield GaugeMetricFamily("xmppws_storage_writes_waiting", "Writes that wait for the disk.", writing.waiting())

    def _process(self) -> Iterator[Metric]:
        vocabulary = self.endpoint.vocabulary
        yield GaugeMetricFamily(
            "xmppws_names_bytes", "Memory of element and attribute names that clients brought.", vocabulary.spent
        )
        yield GaugeMetricFamily("xmppws_names_limit_bytes", "How much of it there may be.", vocabulary.per_process)
        yield _histogram(
            "xmppws_event_loop_delay_seconds",
            "How late the event loop began what was due each second.",
            self.endpoint.deadlines.delays,
        )

    def _declared(self) -> Iterator[Metric]:
        families: dict[str, CounterMetricFamily | GaugeMetricFamily] = {}
        for domain, owner in self._owners():
            for metric, value in metrics.values(owner):
                family = families.get(metric.name)
                if family is None:
                    type_ = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
                    family = families[metric.name] = type_(metric.name, metric.help, labels=["host"])
                family.add_metric([domain], value)
        yield from families.values()

    def _owners(self) -> Iterator[tuple[str, object]]:
        """Return what may have metrics of its own, with the virtual host."""
        for domain, host in self.hosts.items():
            for module in host.modules.values():
                yield domain, module
        yield from self.endpoint.routers.items()
        yield from self.others()


def _histogram(name: str, help: str, histogram: Histogram) -> Metric:
    return HistogramMetricFamily(name, help, _buckets(histogram), histogram.total)


def _add_histogram(family: HistogramMetricFamily, domain: str, histogram: Histogram) -> None:
    family.add_metric([domain], _buckets(histogram), histogram.total)


def _buckets(histogram: Histogram) -> list[tuple[str, float]]:
    return [("+Inf" if isinf(bound) else str(float(bound)), number) for bound, number in histogram.cumulative()]
