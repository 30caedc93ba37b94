import re
from pathlib import Path

import pytest
from fovea_api.contract import environment
from fovea_dev.layout import Cache, Cluster, LayoutError

LONGEST = "abcdefghij"


def test_the_cache_is_where_fovea_cache_says_else_in_the_users_cache_folder() -> None:
    assert Cache.from_environment({"FOVEA_CACHE": "/disk/cache"}).root == Path("/disk/cache")
    assert Cache.from_environment({"XDG_CACHE_HOME": "/home/u/.c"}).root == Path("/home/u/.c/fovea")
    assert Cache.from_environment({"FOVEA_CACHE": ""}).root == Path.home() / ".cache/fovea"


def test_everything_that_lasts_lies_below_the_cache() -> None:
    cluster = Cluster(Cache(Path("/c")), "other")
    lasting = [cluster.state, cluster.kubeconfig, cluster.pki, cluster.logs, cluster.volumes, cluster.containerd_root]
    lasting += [cluster.cache.tools_bin, cluster.cache.go_build, cluster.cache.go_modules, cluster.cache.buildah]
    lasting += [cluster.cache.registry, cluster.cache.base, cluster.cache.locks]
    assert [path for path in lasting if not path.is_relative_to("/c")] == []


def test_names_fit_what_the_kernel_allows() -> None:
    cluster = Cluster(Cache(Path("/c")), LONGEST)
    assert max(len(cluster.node_link), len(cluster.pod_bridge)) <= 15, "an interface's name"
    assert len(str(cluster.containerd_socket)) <= 107, "a socket's path"


@pytest.mark.parametrize("name", ["fovea", "agent", LONGEST])
def test_an_agent_that_is_started_on_the_clusters_machine_keeps_its_state_outside_of_every_clusters_folders(
    name: str,
) -> None:
    cluster = Cluster(Cache(Path("/c")), name)
    assert not Path(environment.AGENT_MOUNT).resolve().is_relative_to(cluster.run)
    assert not cluster.run.is_relative_to(Path(environment.AGENT_MOUNT).resolve())


def test_two_clusters_share_no_folder_of_state() -> None:
    one, other = (Cluster(Cache(Path("/c")), name) for name in ("fovea", "other"))
    for get in (
        "state",
        "run",
        "containerd_root",
        "containerd_socket",
        "cgroup",
        "pod_bridge",
        "node_link",
        "nft_table",
    ):
        assert getattr(one, get) != getattr(other, get), get


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("FOVEA_CLUSTER", "Upper"),
        ("FOVEA_CLUSTER", "../etc"),
        ("FOVEA_CLUSTER", LONGEST + "k"),
        ("FOVEA_REGISTRY_PORT", "http"),
        ("FOVEA_REGISTRY_PORT", "65536"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_with_its_value(variable: str, value: str) -> None:
    with pytest.raises(LayoutError, match=re.escape(f"{variable}={value!r}")):
        Cluster.from_environment({variable: value})
