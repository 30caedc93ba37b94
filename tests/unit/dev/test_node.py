import json
import re
import tomllib
from pathlib import Path

from fovea_dev import control_plane, registry
from fovea_dev.layout import NODE_ADDRESS, POD_NETWORK, Cache, Cluster
from fovea_dev.network import nft_rules
from fovea_dev.node import cni_configuration, containerd_configuration, kubelet_configuration, proxy_configuration

CLUSTER = Cluster(Cache(Path("/c")))
PLANE = control_plane.of_cluster(CLUSTER, lambda name: Path("/bin") / name)


def test_containerd_keeps_everything_in_our_folders_and_runs_without_the_right_to_lower_oom_scores() -> None:
    document = tomllib.loads(containerd_configuration(CLUSTER, "127.0.0.1:5000/pause:1"))
    cri = document["plugins"]["io.containerd.grpc.v1.cri"]
    assert (document["root"], document["state"]) == ("/c/containerd", "/run/fovea/containerd")
    assert document["grpc"]["address"] == "/run/fovea/containerd.sock"
    assert cri["restrict_oom_score_adj"] is True
    assert cri["netns_mounts_under_state_dir"] is True
    assert cri["sandbox_image"] == "127.0.0.1:5000/pause:1"
    assert cri["containerd"]["runtimes"]["runc"]["options"] == {"SystemdCgroup": False, "Root": "/run/fovea/runc"}


def test_nothing_of_the_node_writes_iptables_rules() -> None:
    assert kubelet_configuration(CLUSTER, PLANE)["makeIPTablesUtilChains"] is False
    assert [plugin["type"] for plugin in cni_configuration(CLUSTER)["plugins"]] == ["bridge"]
    assert cni_configuration(CLUSTER)["plugins"][0]["ipMasq"] is False
    assert proxy_configuration(CLUSTER)["mode"] == "nftables"


def test_kubelet_demands_authentication_and_has_room_for_many_pods() -> None:
    configuration = kubelet_configuration(CLUSTER, PLANE)
    assert configuration["authentication"]["anonymous"] == {"enabled": False}
    assert configuration["authorization"] == {"mode": "Webhook"}
    assert 250 <= configuration["maxPods"] < POD_NETWORK.num_addresses
    assert configuration["serializeImagePulls"] is False


def test_every_server_listens_on_the_nodes_address_and_speaks_tls() -> None:
    kubeconfig = Path("/c/kubeconfig")
    api, etcd = PLANE.api_server().command, PLANE.etcd().command
    for command in (api, PLANE.controller_manager(kubeconfig).command, PLANE.scheduler(kubeconfig).command):
        assert f"--bind-address={NODE_ADDRESS}" in command
        assert any(word.startswith("--tls-cert-file=") for word in command)
    assert "--authorization-mode=Node,RBAC" in api
    assert "--enable-admission-plugins=NodeRestriction" in api
    assert [word for word in [*api, *etcd] if "http://" in word] == []
    assert "--client-cert-auth=true" in etcd


def test_the_registry_listens_on_loopback_only() -> None:
    assert json.loads(registry.configuration(CLUSTER))["http"]["addr"] == "127.0.0.1:5000"


def test_our_packet_filter_rules_touch_our_own_table_only() -> None:
    named = re.findall(r"^(?:delete )?table (\S+ \S+)", nft_rules("fovea"), re.MULTILINE)
    assert set(named) == {"ip fovea"}
    assert "flush" not in nft_rules("fovea")
