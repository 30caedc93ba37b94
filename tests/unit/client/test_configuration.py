"""Kubeconfigs and certificates as people have them."""

import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from fovea.sdk import Client, InvalidError
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


def test_a_folder_is_no_kubeconfig(tmp_path: Path) -> None:
    ran = fovea("jobs", "list", "--kubeconfig", tmp_path)
    assert ran.code == 1
    assert f"kubeconfig {tmp_path} cannot be used" in ran.err


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
        access = stores.from_environment(
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
