import urllib.request

import pytest
from fovea_dev import proxies
from fovea_dev.layout import NODE_ADDRESS


def test_without_a_proxy_nothing_is_set() -> None:
    environment = {"PATH": "/bin", "HTTPS_PROXY": ""}
    proxies.spare_the_cluster(environment)
    assert environment == {"PATH": "/bin", "HTTPS_PROXY": ""}


@pytest.mark.parametrize("proxy", ["HTTPS_PROXY", "https_proxy", "http_proxy", "ALL_PROXY"])
def test_behind_a_proxy_the_cluster_is_reached_directly_and_what_was_excepted_stays(proxy: str) -> None:
    environment = {proxy: "http://proxy.example:3128", "no_proxy": "intranet.example, 127.0.0.1"}
    proxies.spare_the_cluster(environment)
    once = dict(environment)
    proxies.spare_the_cluster(environment)
    assert environment == once
    entries = environment["NO_PROXY"].split(",")
    assert environment["no_proxy"] == environment["NO_PROXY"]
    assert entries[:2] == ["intranet.example", "127.0.0.1"]
    assert {NODE_ADDRESS, "10.244.0.0/16", "10.96.0.0/16", ".svc", ".cluster.local"} <= set(entries)


def test_a_client_goes_to_the_node_directly(monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {"HTTPS_PROXY": "http://proxy.example:3128"}
    proxies.spare_the_cluster(environment)
    monkeypatch.setenv("no_proxy", environment["no_proxy"])
    assert urllib.request.proxy_bypass_environment(f"{NODE_ADDRESS}:6443")
    assert not urllib.request.proxy_bypass_environment("registry.example.com:443")
