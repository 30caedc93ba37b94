from pathlib import Path

import pytest
from fovea_dev.layout import LayoutError
from fovea_dev.target import Embedded, External, Kind, Target, choose


@pytest.mark.parametrize(
    ("sentence", "environ", "kind", "expected"),
    [
        ("a bare machine gets the embedded cluster", {}, False, Embedded()),
        ("a working kind is used", {}, True, Kind()),
        ("a named kubeconfig goes before kind", {"FOVEA_KUBECONFIG": "/k"}, True, External(Path("/k"), None)),
        (
            "images go to the named registry",
            {"FOVEA_KUBECONFIG": "/k", "FOVEA_REGISTRY": "registry.example/fovea"},
            False,
            External(Path("/k"), "registry.example/fovea"),
        ),
        (
            "what is asked for goes before everything",
            {"FOVEA_TARGET": "embedded", "FOVEA_KUBECONFIG": "/k"},
            True,
            Embedded(),
        ),
        ("kind can be asked for", {"FOVEA_TARGET": "kind"}, False, Kind()),
    ],
)
def test_the_cluster_that_is_meant(sentence: str, environ: dict[str, str], kind: bool, expected: Target) -> None:
    assert choose(environ, lambda: kind) == expected, sentence


def test_a_registry_is_written_as_images_names_begin() -> None:
    named = {"FOVEA_KUBECONFIG": "/k", "FOVEA_REGISTRY": "registry.example/team/"}
    assert choose(named, lambda: False) == External(Path("/k"), "registry.example/team")
    with pytest.raises(LayoutError, match=r"FOVEA_REGISTRY='https://registry\.example': .*without https://"):
        choose(named | {"FOVEA_REGISTRY": "https://registry.example"}, lambda: False)


def test_an_unknown_target_is_refused_by_name() -> None:
    with pytest.raises(LayoutError, match="FOVEA_TARGET='minikube'"):
        choose({"FOVEA_TARGET": "minikube"}, lambda: False)
