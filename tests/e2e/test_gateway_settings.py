"""What the chart's settings for the gateway do, on Envoy Gateway itself: TLS, limits, the log of requests, retries."""

import json
import os
import re
import socket
import ssl
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from http.client import HTTPSConnection
from pathlib import Path
from typing import Any

import grpc
import pytest
from fovea.sdk import Predictor
from fovea_dev.pki import Pki, Subject
from fovea_wire import methods
from support import behind_gateway, installed_gateway
from support.behind_gateway import NAMESPACE, Served
from support.jobs import condition
from support.local_models import SIGNATURE
from support.page_commands import IN_BLOCKS, documents, groups, of, yaml_blocks
from support.polling import until

pytestmark = pytest.mark.wide
PAGE = "docs/how-to/gateway.md"
DOMAIN = "models.test"
CERTIFICATE = "models-tls"
PER_SECOND = 40
PROXIES = 2
REQUEST_SECONDS = 5
"""Long enough for all requests of these tests."""
SETTINGS = (
    f"gateway.domain={DOMAIN}",
    "gateway.tls.enabled=true",
    f"gateway.tls.certificateSecret={CERTIFICATE}",
    f"gateway.envoy.requestsPerSecond={PER_SECOND}",
    "gateway.envoy.maxRequestSize=1Mi",
    f"gateway.envoy.requestSeconds={REQUEST_SECONDS}",
)
MEBIBYTE = 1 << 18
"""In values of four bytes."""


def commands(*begin: str) -> list[list[str]]:
    """The words of the commands of kubectl on the page that begin so."""
    found = [command.words for command in of("kubectl", IN_BLOCKS) if command.page == PAGE]
    return [words for words in found if tuple(words[1 : len(begin) + 1]) == begin]


def manifests(group: str) -> list[dict[str, Any]]:
    """The manifests of an API group on the page."""
    texts = [text for name, text in yaml_blocks() if name.startswith(f"{PAGE},") and group in groups(text)]
    return [document for text in texts for document in documents(text)]


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    made = Pki(tmp_path_factory.mktemp("pki"))
    made.authority("authority")
    made.issue("authority", [Subject("models", "models", names=(f"*.{NAMESPACE}.{DOMAIN}",))])
    return made


@pytest.fixture(scope="module")
def served(cluster: Any, pki: Pki, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    [create] = commands("create", "secret", "tls", CERTIFICATE, "-n", "fovea-system")
    files = {"--cert=tls.crt": f"--cert={pki.certificate('models')}", "--key=tls.key": f"--key={pki.key('models')}"}
    assert files.keys() <= set(create)
    gone = ("delete", "secret", CERTIFICATE, "-n", "fovea-system", "--ignore-not-found")
    cluster.kubectl(*gone)
    cluster.run(*(files.get(word, word) for word in create))
    try:
        with behind_gateway.model(cluster, tmp_path_factory.mktemp("models"), *SETTINGS) as made:
            yield made
    finally:
        cluster.kubectl(*gone)


def outside(served: Served) -> str:
    return f"{served.name}.{NAMESPACE}.{DOMAIN}"


def test_a_model_has_addresses_over_tls_and_the_client_verifies_the_certificate(
    served: Served, pki: Pki, cluster: Any
) -> None:
    host = outside(served)
    endpoint = served.status()["endpoint"]
    assert (endpoint["externalGrpcTls"], endpoint["externalRestTls"]) == (
        f"{host}:8443",
        f"https://{host}/v1/models/{served.name}",
    )
    where = f"grpcs://{installed_gateway.address(cluster, '8443')}"
    program = (
        "import sys; from fovea.sdk import Predictor\n"
        "name, where, host, signature = sys.argv[1:]\n"
        "print(Predictor(name, endpoint=where, host=host, timeout=20).answer({'x': [4.0]}, signature=signature)[1])"
    )
    call = [sys.executable, "-c", program, served.name, where, host, SIGNATURE]
    trusting = os.environ | {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(pki.certificate("authority"))}
    assert subprocess.run(call, env=trusting, capture_output=True, text=True, check=True).stdout.strip() == "1"
    untrusting = subprocess.run(call, capture_output=True, text=True, check=False)
    assert untrusting.returncode != 0
    assert "certificate" in untrusting.stderr.lower(), untrusting.stderr


def test_rest_over_tls(served: Served, pki: Pki, cluster: Any) -> None:
    class ByAddress(HTTPSConnection):
        """Asks at the gateway's address for the model's host."""

        def connect(self) -> None:
            address, _, port = installed_gateway.address(cluster, "443").rpartition(":")
            self.host, named, self.port = address, self.host, int(port)
            super(HTTPSConnection, self).connect()
            self.host = named
            self.sock = context.wrap_socket(self.sock, server_hostname=named)

    context = ssl.create_default_context(cafile=str(pki.certificate("authority")))
    connection = ByAddress(outside(served), timeout=20, context=context)
    connection.request("GET", f"/v1/models/{served.name}", headers={"Host": outside(served)})
    answer = connection.getresponse()
    assert (answer.status, "AVAILABLE" in answer.read().decode()) == (200, True)


def test_a_request_beyond_the_limit_is_refused_and_a_large_one_below_it_passes(served: Served) -> None:
    assert served.ask(values=MEBIBYTE - 1024) == 1
    with pytest.raises(grpc.RpcError) as refused:
        served.ask(values=2 * MEBIBYTE)
    said = refused.value
    body = {"signature_name": SIGNATURE, "instances": [{"x": 1.0}] * (1 << 17)}
    code, _ = served.get(f"/v1/models/{served.name}:predict", body=body)
    assert code == 413
    # gRPC has no word for 413, and a client takes each such answer for UNKNOWN.
    assert (said.code(), said.details()) == (grpc.StatusCode.UNKNOWN, "Payload Too Large")  # type: ignore[attr-defined]


def test_a_request_that_does_not_come_whole_ends_with_an_error_and_one_that_comes_slowly_is_answered(
    served: Served,
) -> None:
    address, _, port = served.rest.rpartition(":")
    body = json.dumps({"signature_name": SIGNATURE, "instances": [{"x": 4.0}]}).encode()
    head = (
        f"POST /v1/models/{served.name}:predict HTTP/1.1\r\nHost: {served.host}\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )

    def answer(pause: float | None) -> tuple[str, float]:
        """What comes back when the last ten bytes come after so many seconds, None: never; and when."""
        begun = time.monotonic()
        with socket.create_connection((address, int(port)), timeout=6 * REQUEST_SECONDS) as connection:
            connection.sendall(head.encode() + body[:-10])
            if pause is not None:
                time.sleep(pause)
                connection.sendall(body[-10:])
            came = b""
            while part := connection.recv(1 << 16):
                came += part
        return came.decode(), time.monotonic() - begun

    said, seconds = answer(None)
    assert said.startswith("HTTP/1.1 408 "), said
    assert REQUEST_SECONDS - 1 < seconds < 3 * REQUEST_SECONDS
    assert answer(REQUEST_SECONDS / 5)[0].startswith("HTTP/1.1 200 ")

    options = [("grpc.default_authority", served.host)]
    with grpc.insecure_channel(served.grpc, options=options) as channel:
        stalls = threading.Event()

        def never() -> Iterator[bytes]:
            stalls.wait(6 * REQUEST_SECONDS)
            yield b""

        call = channel.stream_unary(methods.PREDICT)
        try:
            with pytest.raises(grpc.RpcError) as late:
                call(never(), timeout=5 * REQUEST_SECONDS)
        finally:
            stalls.set()
    # gRPC has no word for 408, and a client takes it for UNKNOWN. By its own deadline it would be DEADLINE_EXCEEDED.
    said_by_grpc = late.value
    assert said_by_grpc.code() is grpc.StatusCode.UNKNOWN, said_by_grpc  # type: ignore[attr-defined]


def _burst(served: Served, requests: int) -> tuple[Counter[Any], float]:
    """How so many requests end that are sent at once, and in what time."""
    options = [("grpc.default_authority", served.host)]
    payload, ended = served.request(), Counter[Any]()
    begun = time.monotonic()
    with grpc.insecure_channel(served.grpc, options=options) as channel:
        call = channel.unary_unary(methods.PREDICT)
        for each in [call.future(payload, timeout=20) for _ in range(requests)]:
            ended[each.code()] += 1
    return ended, time.monotonic() - begun


def test_a_model_gets_no_more_requests_in_a_second_than_is_allowed_and_others_get_theirs(
    served: Served,
) -> None:
    ended, seconds = _burst(served, 400)
    print(ended, f"in {seconds:.2f} s")
    passed = ended.pop(grpc.StatusCode.OK)
    assert 0 < passed <= PROXIES * PER_SECOND * (seconds + 1)
    assert ended == {grpc.StatusCode.UNAVAILABLE: 400 - passed}
    # What counts calls of another kind has a limit of its own, and the next second allows more.
    assert served.get(f"/v1/models/{served.name}")[0] == 200
    until(lambda: _burst(served, 1)[0] == {grpc.StatusCode.OK: 1}, seconds=10, what="the next second")


def test_the_page_s_policy_gives_one_model_another_limit(served: Served) -> None:
    """The manifest of the how-to, for this model; the largest request stays what the chart says."""
    [policy] = manifests("gateway.envoyproxy.io")
    allowed = policy["spec"]["rateLimit"]["local"]["rules"][0]["limit"]["requests"]
    assert allowed > 2 * PER_SECOND
    policy["metadata"] = {"name": served.name, "namespace": NAMESPACE}
    for target in policy["spec"]["targetRefs"]:
        target["name"] = served.name
    served.cluster.apply(policy)
    try:
        everything = {grpc.StatusCode.OK: 4 * PER_SECOND}
        until(lambda: _burst(served, 4 * PER_SECOND)[0] == everything, seconds=30, what="the model's own limit")
        with pytest.raises(grpc.RpcError) as refused:
            served.ask(values=2 * MEBIBYTE)
        assert refused.value.details() == "Payload Too Large"  # type: ignore[attr-defined]
    finally:
        named = f"backendtrafficpolicies.gateway.envoyproxy.io/{served.name}"
        served.cluster.kubectl("delete", named, "-n", NAMESPACE, "--ignore-not-found")


def _says(cluster: Any, kind: str, name: str, of: str, namespace: str = NAMESPACE) -> bool:
    """Whether a condition of an object of the Gateway API is True."""
    found = cluster.get(f"{kind}.gateway.networking.k8s.io", name, namespace)
    return bool(condition(found, of).get("status") == "True")


def test_the_page_s_gateway_class_and_gateway_are_accepted(served: Served, tmp_path: Path) -> None:
    """The manifests of the how-to under names of their own, so that nothing of the cluster changes."""
    cluster, name = served.cluster, f"page-{served.name}"
    class_, gateway = manifests("gateway.networking.k8s.io")
    assert (class_["kind"], gateway["kind"]) == ("GatewayClass", "Gateway")
    class_["metadata"]["name"] = name
    gateway["metadata"] = {"name": name, "namespace": NAMESPACE}
    gateway["spec"]["gatewayClassName"] = name
    [apply] = commands("apply", "-f", "gateway-class.yaml")
    file = tmp_path / apply[-1]
    file.write_text(json.dumps(class_))
    try:
        cluster.run(*apply[:-1], str(file))
        until(lambda: _says(cluster, "gatewayclass", name, "Accepted", "default"), seconds=60, what="the class")
        cluster.apply(gateway)
        until(lambda: _says(cluster, "gateway", name, "Accepted"), seconds=60, what="the Gateway is accepted")

        def listening() -> bool:
            listeners = cluster.get("gateway.gateway.networking.k8s.io", name, NAMESPACE)["status"].get("listeners", ())
            kinds = {each["name"]: [kind["kind"] for kind in each["supportedKinds"]] for each in listeners}
            accepted = [condition({"status": each}, "Accepted").get("status") for each in listeners]
            return (kinds, accepted) == ({"grpc": ["GRPCRoute"], "rest": ["HTTPRoute"]}, ["True", "True"])

        until(listening, seconds=60, what="its listeners are accepted")
    finally:
        # The class keeps a finalizer as long as it has a Gateway.
        quiet = ("--ignore-not-found", "--timeout=60s")
        cluster.kubectl("delete", "gateways.gateway.networking.k8s.io", name, "-n", NAMESPACE, *quiet)
        cluster.kubectl("delete", "gatewayclass", name, *quiet)


def test_what_the_page_asks_of_kubectl_works(served: Served, cluster: Any) -> None:
    """On the Gateway that the chart has made; the commands that change something have tests of their own."""
    [wait], [get] = commands("wait"), commands("get")
    cluster.run(*wait)
    assert "8500" in cluster.run(*get).stdout
    [forward] = commands("port-forward")
    *begin, port = forward
    assert port == "8500"
    # Any port of this machine, since that one may be taken.
    process = subprocess.Popen(
        [*begin, f":{port}"],
        env=cluster.environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        found = re.search(r"127\.0\.0\.1:\d+", said)
        assert found is not None, f"kubectl port-forward says {said!r}"
        with Predictor(served.name, endpoint=found.group(), host=served.host) as predictor:
            assert predictor.answer({"x": [4.0]}, signature=SIGNATURE)[1] == 1
    finally:
        process.kill()
        process.communicate()


def test_the_page_s_address_of_the_local_cluster_s_gateway_answers(served: Served, cluster: Any) -> None:
    [export] = [
        command.text for command in of("export", IN_BLOCKS) if command.page == PAGE and "kubectl" in command.text
    ]
    done = subprocess.run(
        ["bash", "-euc", f'{export}\necho "$FOVEA_GATEWAY"'],
        env=cluster.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    with Predictor(served.name, endpoint=done.stdout.strip(), host=served.host) as predictor:
        assert predictor.answer({"x": [4.0]}, signature=SIGNATURE)[1] == 1


def _logged(served: Served, number: str) -> dict[str, Any]:
    """The line about the request with that id, in the log of its proxy."""

    def found() -> list[dict[str, Any]]:
        proxies = ("-l", "gateway.envoyproxy.io/owning-gateway-name=fovea", "-c", "envoy")
        text = served.cluster.kubectl("logs", "-n", installed_gateway.NAMESPACE, *proxies, "--tail=500")
        return [json.loads(line) for line in text.splitlines() if number in line]

    [line] = until(found, seconds=30, what="its line")
    return line


def test_each_request_is_a_line_of_json_with_its_id_in_the_log_of_its_proxy(served: Served) -> None:
    number = str(uuid.uuid4())
    assert served.ask(("x-request-id", number)) == 1

    line = _logged(served, number)
    assert (line["host"], line["path"], line["grpc_status"]) == (served.host, methods.PREDICT, "OK")
    assert line["attempts"] == 1
    assert served.name in line["backend"]
    assert line["bytes_received"] > 0


def test_a_request_that_may_have_run_is_not_sent_again(served: Served) -> None:
    number, broken = str(uuid.uuid4()), served.add(bias=9.0, fails=1.0)
    served.wants(broken)
    served.serves(broken)
    with pytest.raises(grpc.RpcError):
        served.ask(("x-request-id", number))

    assert _logged(served, number)["attempts"] == 1
