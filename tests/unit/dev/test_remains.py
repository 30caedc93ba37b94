from pathlib import Path

import pytest
from fovea_dev.remains import is_runc, is_shim, mounts_below, remove_network_results

SOCKET = Path("/run/fovea/containerd.sock")
MOUNTS = """\
proc /proc proc rw 0 0
tmpfs /c/kubelet/pods/1/volumes tmpfs rw 0 0
overlay /run/fovea/containerd/x/rootfs overlay rw 0 0
tmpfs /c/kubelet/pods/1/volumes/inner tmpfs rw 0 0
tmpfs /c/kubelet-of-another tmpfs rw 0 0
tmpfs /c/kubelet/with\\040space tmpfs rw 0 0
"""


def test_mounts_are_found_innermost_first_and_only_below_the_folders() -> None:
    assert mounts_below(Path("/c/kubelet"), Path("/run/fovea"), table=MOUNTS) == [
        "/c/kubelet/with space",
        "/c/kubelet/pods/1/volumes/inner",
        "/run/fovea/containerd/x/rootfs",
        "/c/kubelet/pods/1/volumes",
    ]


@pytest.mark.parametrize(
    ("sentence", "command", "expected"),
    [
        ("our shim", "/usr/bin/containerd-shim-runc-v2 -namespace k8s.io -address /run/fovea/containerd.sock", True),
        (
            "another containerd's shim",
            "/usr/bin/containerd-shim-runc-v2 -address /run/containerd/containerd.sock",
            False,
        ),
        (
            "a cluster with a longer name",
            "/usr/bin/containerd-shim-runc-v2 -address /run/fovea-b/containerd.sock",
            False,
        ),
        ("somebody who looks for it", "grep -address /run/fovea/containerd.sock", False),
        ("a kernel thread", "", False),
    ],
)
def test_only_shims_of_our_own_socket_are_ours(sentence: str, command: str, expected: bool) -> None:
    assert is_shim([word.encode() for word in command.split(" ")], SOCKET) is expected, sentence


@pytest.mark.parametrize(
    ("sentence", "command", "expected"),
    [
        ("runc at work for us", "runc --root /run/fovea/runc/k8s.io --log x create", True),
        ("runc of somebody else", "/usr/bin/runc --root /run/docker/runtime-runc/moby create", False),
        ("runc of a cluster with a longer name", "runc --root /run/fovea-b/runc/k8s.io create", False),
        ("another program with that flag", "crun --root /run/fovea/runc/k8s.io create", False),
    ],
)
def test_only_runc_with_our_folder_is_ours(sentence: str, command: str, expected: bool) -> None:
    assert is_runc([word.encode() for word in command.split(" ")], Path("/run/fovea/runc")) is expected, sentence


def test_only_the_network_records_of_our_pods_are_removed(tmp_path: Path) -> None:
    ours, others = "a" * 64, "b" * 64
    gone = [f"fovea-{ours}-eth0", f"cni-loopback-{ours}-lo"]
    stay = [f"fovea-b-{others}-eth0", f"cni-loopback-{others}-lo", "fovea-short-eth0"]
    for name in gone + stay:
        (tmp_path / name).write_text("{}")
    remove_network_results("fovea", tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(stay)
