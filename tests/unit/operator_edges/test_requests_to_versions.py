"""What proxies count of the requests to versions: as Envoy writes it, over restarts of proxies and operators, and while nobody answers."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fovea_operator.cluster.envoy import Counts, Ledger, read, url
from fovea_operator.cluster.traffic import TrafficReader
from fovea_operator.reconcile.shared.traffic import Load, Requests, Sample
from fovea_operator.settings import Settings
from support.counted import DIGITS, NAMES, V1, V2, Api, totals, watching

STATISTICS = Path(__file__).parents[2] / "data/envoy/statistics.txt"


def test_what_envoy_writes_is_read_by_version() -> None:
    found = read(STATISTICS.read_text())
    assert found.keys() == {V1, V2}
    assert (found[V2].total, found[V2].failed, found[V2].active) == (947, 280, 0)
    assert (found[V1].total, found[V1].failed, found[V1].active) == (13_180, 0, 1)
    requests = found[V2].requests
    assert sum(requests.latencies.values()) == 915
    assert requests.quantile(0.5) == pytest.approx(3.92, abs=0.01)
    assert 16 < (requests.quantile(0.99) or 0) < 32


def test_rest_counts_by_its_codes_and_other_services_not_at_all() -> None:
    cluster = 'envoy_cluster_name="service/vision/digits-v1-aaaa/8501"'
    found = read(
        f'envoy_cluster_upstream_rq_xx{{envoy_response_code_class="2",{cluster}}} 90\n'
        f'envoy_cluster_upstream_rq_xx{{envoy_response_code_class="4",{cluster}}} 7\n'
        f'envoy_cluster_upstream_rq_xx{{envoy_response_code_class="5",{cluster}}} 3\n'
        f'envoy_cluster_upstream_rq_xx{{envoy_response_code_class="2",envoy_cluster_name="xds_cluster"}} 5\n'
    )
    assert found == {V1: Counts(100, 10)}


def test_a_version_without_a_request_yet_is_known_by_its_cluster_and_its_first_requests_count() -> None:
    """Envoy makes the counters of a cluster's requests with the first of them."""
    ledger, cluster = Ledger(), '{envoy_cluster_name="service/vision/digits-v1-aaaa/8500/grpc"}'
    ledger.take("10.0.0.1", read(f"envoy_cluster_membership_total{cluster} 0\n"))
    assert (ledger.counts(V1), ledger.counts(V2)) == (True, False)
    ledger.take("10.0.0.1", read(f"envoy_cluster_grpc_PredictionService_Predict_0{cluster} 7\n"))
    assert ledger.of(V1).total == 7


def test_a_request_that_its_client_gave_up_has_failed_and_no_status_tells_of_it() -> None:
    """HTTP/1 has no word for it: the connection of the request is closed. Those of gRPC end as they please."""
    text = ""
    for port in ("8500/grpc", "8501"):
        cluster = f'{{envoy_cluster_name="service/vision/digits-v1-aaaa/{port}"}}'
        text += f"envoy_cluster_upstream_rq_tx_reset{cluster} 3\n"
        text += f"envoy_cluster_upstream_cx_destroy_local_with_active_rq{cluster} 20\n"
    assert read(text) == {V1: Counts(23, 23)}


def test_only_these_versions_are_asked_for() -> None:
    address = url("fd00::7", 19001, [V1])
    assert address.startswith("http://[fd00::7]:19001/stats/prometheus?filter=")
    assert "vision%2Fdigits%5C-v1%5C-aaaa" in address
    assert "v2" not in address


@pytest.mark.parametrize(
    ("readings", "sum_"),
    [
        ([5], 0),
        ([5, 9], 4),
        ([5, 9, 2], 6),
        ([5, 9, 2, 3], 7),
    ],
    ids=[
        "the first one counts nothing",
        "then what is new",
        "a proxy that began again counts from 0",
        "and on from there",
    ],
)
def test_only_differences_count(readings: list[int], sum_: int) -> None:
    ledger = Ledger()
    for number in readings:
        ledger.take("10.0.0.1", {V1: Counts(number, 0, {10.0: number})})
    assert ledger.of(V1) == Counts(sum_, 0, {10.0: sum_} if sum_ else {})


WHOLE, PART = Counts(1_000, 9, {10.0: 1_000}, 2, 1_002), Counts(active=2, begun=1_002)


@pytest.mark.parametrize(
    ("readings", "sum_"),
    [
        ([PART, WHOLE], Counts()),
        ([PART, WHOLE, Counts(1_007, 9, {10.0: 1_007}, 0, 1_007)], Counts(7, 0, {10.0: 7}, 0, 5)),
        ([WHOLE, PART], Counts()),
        ([WHOLE, PART, Counts(active=1, begun=1_005)], Counts(begun=3)),
        ([WHOLE, PART, WHOLE], Counts()),
        ([WHOLE, Counts(active=1, begun=4)], Counts(begun=4)),
    ],
    ids=[
        "what is asked for from now on is not new",
        "its next requests are",
        "what is not asked for any more has not gone back",
        "and requests that begin are seen as before",
        "what was not asked for once counts from then",
        "a proxy that began again meanwhile counts from 0",
    ],
)
def test_of_two_readings_only_those_counters_are_compared_that_both_have(readings: list[Counts], sum_: Counts) -> None:
    """A version that is scaled by its requests is read in part; while it is judged, wholly."""
    ledger = Ledger()
    for seen in readings:
        ledger.take("10.0.0.1", {V1: seen}, () if seen.total else [V1])
    assert replace(ledger.of(V1), active=0) == sum_


def test_quantiles_and_slow_parts_are_interpolated_within_bounds() -> None:
    requests = Requests(100, 0, {10.0: 50, 20.0: 40, float("inf"): 10})
    assert (requests.quantile(0.5), requests.quantile(0.7), requests.quantile(0.99)) == (10.0, 15.0, 20.0)
    assert (requests.slower_than(0.0), requests.slower_than(15.0), requests.slower_than(20.0)) == (1.0, 0.3, 0.1)
    assert (Requests().quantile(0.5), Requests().slower_than(1.0)) == (None, 0.0)


def test_a_step_counts_from_when_it_began_and_every_reading_wakes_its_model() -> None:
    async def story() -> None:
        async with watching() as world:
            world.proxy.counts = {V1: 100, V2: 0}
            assert totals(world.look(None)) == {}
            await world.until(lambda: len(world.woken) > 2)
            world.proxy.counts = {V1: 150, V2: 5}
            since = datetime.now(UTC)
            assert totals(world.look(since)) == {V1.name: 0, V2.name: 0}
            await world.until(lambda: totals(world.look(since)) == {V1.name: 50, V2.name: 5})
            # The next step counts from its own beginning, whatever was before.
            later = since + timedelta(seconds=3)
            assert totals(world.look(later)) == {V1.name: 0, V2.name: 0}
            world.proxy.counts = {V1: 151, V2: 9}
            await world.until(lambda: totals(world.look(later)) == {V1.name: 1, V2.name: 4})
            assert set(world.woken) == {DIGITS}
            [path] = set(world.api.paths)
            assert "/namespaces/envoy/endpointslices?labelSelector=kubernetes.io/service-name%3Dgateway" in path

    asyncio.run(story())


def test_a_step_of_a_model_that_is_scaled_counts_its_own_requests_only() -> None:
    """Its proxies are read already, in part. The first look at the step comes while they are asked."""

    async def story() -> None:
        async with watching() as world:
            world.proxy.counts = {V1: 1_000_000, V2: 500}
            world.load()
            await world.until(lambda: world.load().begun is not None)
            since, looks = datetime.now(UTC), []
            world.proxy.then = lambda: looks.append(world.look(since))
            await world.until(lambda: looks != [])
            await world.until(lambda: totals(world.look(since)) == {V1.name: 0, V2.name: 0})
            woken = len(world.woken)
            await world.until(lambda: len(world.woken) > woken + 3)
            assert totals(world.look(since)) == {V1.name: 0, V2.name: 0}
            world.proxy.counts = {V1: 1_000_030, V2: 507}
            await world.until(lambda: totals(world.look(since)) == {V1.name: 30, V2.name: 7})
            last = world.load().last_request
            world.reader.forget(DIGITS)
            samples = len(world.load().samples)
            await world.until(lambda: len(world.load().samples) > samples + 3)
            assert (world.load().last_request, world.load().trouble) == (last, ""), "nobody has asked meanwhile"

    asyncio.run(story())


def test_an_operator_that_is_new_counts_from_its_first_reading() -> None:
    async def story() -> None:
        async with watching() as world:
            world.proxy.counts = {V1: 1000, V2: 700}
            long_ago = datetime.now(UTC) - timedelta(hours=1)
            world.look(long_ago)
            await world.until(lambda: len(world.woken) > 1)
            assert totals(world.look(long_ago)) == {V1.name: 0, V2.name: 0}
            world.proxy.counts = {V1: 1010, V2: 701}
            await world.until(lambda: totals(world.look(long_ago)) == {V1.name: 10, V2.name: 1})

    asyncio.run(story())


def test_proxies_that_do_not_answer_are_trouble_and_what_was_counted_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fovea_operator.cluster.traffic._STALE", timedelta(seconds=0.1))

    async def story() -> None:
        async with watching() as world:
            since = datetime.now(UTC)
            world.proxy.counts = {V1: 1, V2: 1}
            world.look(since)
            await world.until(lambda: len(world.woken) > 1)
            world.proxy.counts = {V1: 11, V2: 6}
            await world.until(lambda: totals(world.look(since)) == {V1.name: 10, V2.name: 5})
            world.proxy.counts = None
            await world.until(lambda: "proxy 127.0.0.1: answers 503" in world.look(since).trouble)
            assert totals(world.look(since)) == {V1.name: 10, V2.name: 5}
            world.proxy.counts = {V1: 2, V2: 1}  # it has begun again
            await world.until(lambda: totals(world.look(since)) == {V1.name: 12, V2.name: 6})
            assert world.look(since).trouble == ""

    asyncio.run(story())


def test_one_proxy_that_is_silent_hides_requests_and_the_others_go_on_counting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fovea_operator.cluster.traffic._STALE", timedelta(seconds=0.3))

    async def story() -> None:
        async with watching() as world:
            silent = "127.0.0.2"
            world.api.addresses.append(silent)
            world.proxy.counts, world.proxy.active = {V1: 1, V2: 1}, 4
            world.load()
            await world.until(lambda: world.load().begun is not None)
            assert (world.load().samples[-1].active, f"proxy {silent}" in world.load().trouble) == (8, True)
            # For a moment it is as it was; then nobody can say for how long the others have had all requests.
            await world.until(lambda: world.load().begun is None)
            world.proxy.active = 5
            await world.until(lambda: world.load().samples[-1].active == 10)
            assert f"proxy {silent}" in world.load().trouble

    asyncio.run(story())


def begun(load: Load) -> list[Sample]:
    """The reading since which nothing is missing."""
    return [sample for sample in load.samples if sample.time == load.begun]


def test_where_readings_are_rare_a_proxy_that_answers_each_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fovea_operator.cluster.traffic._STALE", timedelta(seconds=0.001))

    async def story() -> None:
        async with watching() as world:
            world.proxy.counts = {V1: 1, V2: 1}
            world.load()
            await world.until(lambda: any(each.time < world.load().samples[-1].time for each in begun(world.load())))

    asyncio.run(story())


def test_a_proxy_that_cannot_serve_any_more_is_asked_and_not_waited_for() -> None:
    async def story() -> None:
        async with watching() as world:
            world.api.addresses.append("127.0.0.2")
            world.api.not_serving.add("127.0.0.2")
            world.proxy.counts = {V1: 1, V2: 1}
            world.load()
            await world.until(lambda: world.load().begun is not None)
            assert world.load().trouble == ""

    asyncio.run(story())


def test_a_version_that_no_proxy_counts_is_unknown_and_not_idle() -> None:
    """A policy for its routes gives them clusters of their own, which have another name."""

    async def story() -> None:
        async with watching() as world:
            world.proxy.counts = {V1: 1}
            world.load()
            since = datetime.now(UTC)
            await world.until(lambda: f"no proxy knows Service vision/{V2.name}" in world.load().trouble)
            assert world.load().begun is None
            world.look(since)
            await world.until(lambda: V2.name in world.look(since).trouble)
            world.proxy.counts = {V1: 1, V2: 1}
            await world.until(lambda: (world.load().trouble, world.look(since).trouble) == ("", ""))

    asyncio.run(story())


def test_addresses_that_cannot_be_read_are_trouble() -> None:
    async def story() -> None:
        async with watching() as world:
            world.api.fails = True
            world.look(datetime.now(UTC))
            await world.until(lambda: "Service envoy/gateway cannot be read" in world.look(None).trouble)

    asyncio.run(story())


def test_nothing_is_read_while_no_candidate_gets_requests() -> None:
    async def story() -> None:
        async with watching() as world:
            await asyncio.sleep(0.1)
            assert world.api.paths == []
            world.look(None)
            await world.until(lambda: world.woken != [])
            world.reader.forget(DIGITS)
            await world.until(lambda: not world.reader._wanted.is_set())

    asyncio.run(story())


@pytest.mark.parametrize(
    "settings",
    [
        Settings(),
        replace(Settings(), gateway="a/b", gateway_address="gateway.envoy.svc"),
        replace(Settings(), gateway_statistics_port=1),
    ],
    ids=["no gateway", "no port", "a port without a gateway"],
)
def test_without_counters_nothing_is_known(settings: Settings) -> None:
    reader = TrafficReader(Api(), settings, lambda _: None)  # type: ignore[arg-type]
    assert reader.look(DIGITS, NAMES, None) is None
