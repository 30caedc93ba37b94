"""Kubeconfigs and certificates as people have them."""

import os
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from fovea.sdk import Client, InvalidError, store_access
from fovea.sdk import cluster as clusters
from fovea.sdk import store as stores
from fovea_dev.pki import Pki
from support.command_line import fovea

NO_KUBECONFIGS: dict[str, bytes] = {
    "an empty file": b"",
    "a list": b"- a",
    "a word": b"foo",
    "another document": b"clusters: 3",
    "no YAML": b"a: [",
    "binary": b"\xff\xfe\x00",
}


@pytest.mark.parametrize("content", NO_KUBECONFIGS.values(), ids=NO_KUBECONFIGS)
def test_a_file_that_is_no_kubeconfig_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "config"
    file.write_bytes(content)
    for words in (("jobs", "list"), ("jobs", "list", "-n", "vision")):
        ran = fovea(*words, "--kubeconfig", file)
        assert ran.code == 1
        assert f"ERROR: kubeconfig {file} cannot be used (" in ran.err
        assert "set KUBECONFIG or pass --kubeconfig" in ran.err


def test_a_kubeconfig_that_is_not_there_is_said_to_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = fovea("jobs", "list", "--kubeconfig", tmp_path / "config")
    assert (ran.code, ran.err.partition(":")[0]) == (1, "ERROR")
    assert f"kubeconfig {tmp_path / 'config'} does not exist: set KUBECONFIG or pass --kubeconfig" in ran.err
    monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'a'}{os.pathsep}{tmp_path / 'b'}")
    assert f"kubeconfig {tmp_path / 'a'}{os.pathsep}{tmp_path / 'b'} does not exist" in fovea("jobs", "list").err


def test_a_folder_is_no_kubeconfig(tmp_path: Path) -> None:
    ran = fovea("jobs", "list", "--kubeconfig", tmp_path)
    assert ran.code == 1
    assert f"kubeconfig {tmp_path} cannot be used" in ran.err


@pytest.fixture
def pod(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A pod with a service account of namespace robots; the user's home in it."""
    account, home = tmp_path / "serviceaccount", tmp_path / "home"
    for folder in (account, home):
        folder.mkdir()
    (account / "token").write_text("token")
    (account / "namespace").write_text("robots")
    monkeypatch.setattr(clusters, "_SERVICE_ACCOUNT", account)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    return home


def test_in_a_pod_a_kubeconfig_in_the_home_comes_before_the_service_account(pod: Path) -> None:
    assert Client().namespace == "robots"
    context = {"name": "c", "context": {"cluster": "c", "user": "u", "namespace": "vision"}}
    content = {"clusters": [{"name": "c", "cluster": {"server": "https://a"}}], "users": [{"name": "u", "user": {}}]}
    (pod / ".kube").mkdir()
    (pod / ".kube" / "config").write_text(yaml.safe_dump({**content, "contexts": [context], "current-context": "c"}))
    client = Client()
    assert (client.namespace, client.cluster.server) == ("vision", "https://a")


def test_in_a_pod_a_user_without_a_home_has_the_service_account(pod: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home(_: Path) -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", no_home)
    assert Client().namespace == "robots"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    pki = Pki(tmp_path_factory.mktemp("keys") / "pki")
    pki.authority("ca")
    return pki.certificate("ca").read_text()


@pytest.mark.parametrize("comment", ["", "# Prüfstelle – 認証局\n", "Subject: CN=x\n"])
def test_a_bundle_may_have_comments_in_any_language(
    certificate: str, comment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for encode in (str.encode, _latin):
        bundle = tmp_path / "ca.crt"
        bundle.write_bytes(encode(comment + certificate + comment + certificate))
        access = store_access.from_environment(
            {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_CA_BUNDLE": str(bundle)}, "https://store"
        )
        assert access is not None
        assert len(stores._trust(access).get_ca_certs()) == len(ssl.create_default_context().get_ca_certs()) + 1


def _latin(text: str) -> bytes:
    return text.encode("latin-1", errors="replace")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda _: "nothing of the kind", "holds no certificate in PEM"),
        (lambda text: text.replace("M", "ä"), "cannot be read"),
        (lambda text: text.replace("M", ""), "cannot be read"),
    ],
)
def test_a_bundle_that_is_none_is_refused_with_where_it_comes_from(
    certificate: str, damage: Callable[[str], str], said: str
) -> None:
    access = stores.Access("https://store", "k", "s", "the Secret", ca_pem=damage(certificate))
    with pytest.raises(InvalidError, match=f"the CA certificate of the Secret {said}"):
        stores._trust(access)


def test_a_model_is_not_uploaded_under_a_name_that_it_cannot_have(tmp_path: Path) -> None:
    (tmp_path / "saved_model.pb").touch()
    with pytest.raises(InvalidError, match="model name 'My_Model': use at most 40 of a-z"):
        Client(namespace="vision", kubeconfig="/nowhere").versions.create("My_Model", tmp_path)
