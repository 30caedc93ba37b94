"""Counters of Envoy proxies, by version of a model: how they are asked for, read, and added up over proxies that come and go."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple
from urllib.parse import urlencode

from fovea_api.contract import names
from prometheus_client.parser import text_string_to_metric_families

from fovea_operator.reconcile.shared.traffic import Requests

_CLUSTER = re.compile(r"service/(?P<namespace>[^/]+)/(?P<name>[^/]+)/(?P<port>\d+)(/.*)?")
"""Envoy Gateway's name of a Service's cluster where backends are merged."""
_GRPC_STATUS = re.compile(r"envoy_cluster_grpc_PredictionService_[A-Za-z]+_(?P<status>\d+)")
"""Envoy takes the dots of a service's name for its own, and only the first parts of it become labels."""
_PREDICTIONS = "tensorflow.serving.PredictionService"
_NO_FAULT = frozenset({0, 1})
"""OK, and CANCELLED: the client has gone."""
_HTTP_FAULTS = frozenset({"4", "5"})
_GIVEN_UP = {
    "envoy_cluster_upstream_rq_tx_reset": lambda port: port == names.GRPC_PORT,
    "envoy_cluster_upstream_cx_destroy_local_with_active_rq": lambda port: port != names.GRPC_PORT,
}
"""Requests whose clients went before the answer, as after their deadline: they have no status and no latency. HTTP/1 has no word
for it but to close the connection, which has one request; connections of gRPC have many."""
_THERE = "membership_total"
"""What a proxy shows of a cluster from its beginning. It makes the counters of requests with the first request."""
_PATH = "/stats/prometheus"


class Service(NamedTuple):
    """A version's Service."""

    namespace: str
    name: str


@dataclass
class Counts:
    """What one proxy has counted since it started, or several in some time."""

    total: int = 0
    """Those that have ended, also those that their clients gave up."""
    failed: int = 0
    """Answered with an error, or given up."""
    latencies: dict[float, int] = field(default_factory=dict)
    """By their upper bound in milliseconds: those that are longer than the bound below it."""
    active: int = 0
    begun: int = 0
    """Requests that were sent to the version, also those that have not ended."""

    def __add__(self, other: "Counts") -> "Counts":
        bounds = self.latencies.keys() | other.latencies.keys()
        return Counts(
            self.total + other.total,
            self.failed + other.failed,
            {bound: self.latencies.get(bound, 0) + other.latencies.get(bound, 0) for bound in bounds},
            self.active + other.active,
            self.begun + other.begun,
        )

    def since(self, before: "Counts") -> "Counts":
        """What was counted after that. A counter that has gone back began again at 0 with its proxy."""
        if (
            self.total < before.total
            or self.begun < before.begun
            or any(self.latencies.get(b, 0) < n for b, n in before.latencies.items())
        ):
            return self
        return Counts(
            self.total - before.total,
            max(0, self.failed - before.failed),
            {bound: count - before.latencies.get(bound, 0) for bound, count in self.latencies.items()},
            self.active,
            max(0, self.begun - before.begun),
        )

    @property
    def under_way(self) -> "Counts":
        """Of these, what is asked for where nobody judges a version: the requests under way, and how many have begun."""
        return Counts(active=self.active, begun=self.begun)

    @property
    def requests(self) -> Requests:
        """As a decision sees it."""
        return Requests(self.total, self.failed, dict(self.latencies), self.active)


class _Seen(NamedTuple):
    """What a proxy has said last of a Service."""

    counts: Counts
    is_whole: bool
    """Whether it was asked for all counters: those that it was not asked for are not 0."""

    def new(self, before: "_Seen") -> Counts:
        """What was counted between two readings, by the counters that both have."""
        if self.is_whole and before.is_whole:
            return self.counts.since(before.counts)
        return self.counts.under_way.since(before.counts.under_way)


class Ledger:
    """The sum of what proxies have counted while they were read: it never goes back."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, Service], _Seen] = {}
        self._sum: dict[Service, Counts] = {}

    def take(self, proxy: str, counts: Mapping[Service, Counts], loaded: Collection[Service] = ()) -> None:
        """Add what a proxy has counted since it was read last. What it counted before the first reading is nobody's.

        `loaded`: Services of which it was asked for no more than the requests under way, and how many have begun.
        """
        self._seen = {key: seen for key, seen in self._seen.items() if key[0] != proxy or key[1] in counts}
        for service, found in counts.items():
            now, before = _Seen(found, service not in loaded), self._seen.get((proxy, service))
            self._seen[proxy, service] = now
            if before is not None:
                new = now.new(before)
                self._sum[service] = self._sum.get(service, Counts()) + Counts(
                    new.total, new.failed, new.latencies, begun=new.begun
                )

    def lose(self, proxy: str) -> None:
        """What is under way at that proxy is not known any more."""
        self._seen |= {
            key: seen._replace(counts=replace(seen.counts, active=0))
            for key, seen in self._seen.items()
            if key[0] == proxy
        }

    def counts(self, service: Service) -> bool:
        """Whether any proxy knows a version; it does from its first route."""
        return any(of == service for _, of in self._seen)

    def of(self, service: Service) -> Counts:
        """The sum for a version, with the requests that are open now."""
        total = self._sum.get(service, Counts())
        active = sum(seen.counts.active for (_, of), seen in self._seen.items() if of == service)
        return Counts(total.total, total.failed, dict(total.latencies), active, total.begun)

    def keep(self, proxies: Iterable[str], services: Iterable[Service]) -> None:
        """Forget all others."""
        there, wanted = set(proxies), set(services)
        self._seen = {key: seen for key, seen in self._seen.items() if key[0] in there and key[1] in wanted}
        self._sum = {service: counts for service, counts in self._sum.items() if service in wanted}


def url(host: str, port: int, judged: Iterable[Service], loaded: Iterable[Service] = ()) -> str:
    """Where a proxy shows what it has counted of these Services, and nothing else.

    `judged`: all counters. `loaded`: the requests under way, and how many have begun.
    """
    names_of = {
        f"{_THERE}|upstream_rq_time|upstream_rq_active|upstream_rq_total|upstream_rq_[1-5]xx|upstream_rq_tx_reset|"
        rf"upstream_cx_destroy_local_with_active_rq|grpc\.{re.escape(_PREDICTIONS)}\.[A-Za-z]+\.[0-9]+": judged,
        f"{_THERE}|upstream_rq_active|upstream_rq_total": loaded,
    }
    wanted = "|".join(
        rf"({'|'.join(sorted(re.escape(f'{service.namespace}/{service.name}') for service in services))})/.*\.({counters})"
        for counters, services in names_of.items()
        if services
    )
    address = f"[{host}]" if ":" in host else host
    query = urlencode({"filter": rf"^cluster\.service/({wanted})$"})
    return f"http://{address}:{port}{_PATH}?{query}"


def read(text: str) -> dict[Service, Counts]:
    """The counts by Service. Raises ValueError for what no proxy writes."""
    found: dict[Service, Counts] = {}
    cumulative: dict[tuple[Service, str], dict[float, int]] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            named = _CLUSTER.fullmatch(sample.labels.get("envoy_cluster_name", ""))
            if named is None:
                continue
            service, port = Service(named["namespace"], named["name"]), int(named["port"])
            counts = found.setdefault(service, Counts())
            # The parser names counters as OpenMetrics does, whatever Envoy names them.
            _add(counts, sample.name.removesuffix("_total"), sample.labels, int(sample.value), port)
            if sample.name == "envoy_cluster_upstream_rq_time_bucket":
                bounds = cumulative.setdefault((service, named[0]), {})
                bounds[float(sample.labels["le"])] = int(sample.value)
    for (service, _), bounds in cumulative.items():
        found[service] = found[service] + Counts(latencies=_apart(bounds))
    return found


def _add(counts: Counts, name: str, labels: Mapping[str, str], value: int, port: int) -> None:
    """Of gRPC, its own status counts: its answers are all 200."""
    grpc = _GRPC_STATUS.fullmatch(name)
    if grpc is not None:
        counts.total += value
        counts.failed += value if int(grpc["status"]) not in _NO_FAULT else 0
    elif name == "envoy_cluster_upstream_rq_xx" and port != names.GRPC_PORT:
        counts.total += value
        counts.failed += value if labels.get("envoy_response_code_class") in _HTTP_FAULTS else 0
    elif name in _GIVEN_UP and _GIVEN_UP[name](port):
        counts.total += value
        counts.failed += value
    elif name == "envoy_cluster_upstream_rq_active":
        counts.active += value
    elif name == "envoy_cluster_upstream_rq" and "envoy_response_code" not in labels:
        counts.begun += value


def _apart(cumulative: Mapping[float, int]) -> dict[float, int]:
    """From "at most so long" to "longer than the bound below"."""
    apart, below = {}, 0
    for bound, count in sorted(cumulative.items()):
        apart[bound] = count - below
        below = count
    return apart
