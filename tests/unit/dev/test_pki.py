import base64
import json
import ssl
import stat
import subprocess
from pathlib import Path

import pytest
from fovea_dev.pki import Pki, Subject, token_kubeconfig_text


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    made = Pki(tmp_path_factory.mktemp("keys") / "pki")
    made.authority("ca")
    made.authority("other-ca")
    made.issue(
        "ca", [Subject("server", "api", "", ("127.0.0.1",), ("localhost",)), Subject("admin", "root", "system:masters")]
    )
    made.service_account_key()
    return made


def openssl(*words: str) -> str:
    return subprocess.run(["openssl", *words], capture_output=True, text=True, check=True).stdout


def test_every_file_is_readable_by_its_owner_only(pki: Pki) -> None:
    assert stat.S_IMODE(pki.folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in pki.folder.iterdir()} == {0o600}


def test_a_certificate_is_trusted_by_its_own_authority_only(pki: Pki) -> None:
    command = ["openssl", "verify", "-x509_strict", "-CAfile"]
    good = subprocess.run(
        [*command, pki.certificate("ca"), pki.certificate("server")], capture_output=True, check=False
    )
    bad = subprocess.run(
        [*command, pki.certificate("other-ca"), pki.certificate("server")], capture_output=True, check=False
    )
    assert good.returncode == 0, good.stderr
    assert bad.returncode != 0


def test_a_client_carries_its_user_and_group_and_a_server_its_names(pki: Pki) -> None:
    client = openssl("x509", "-in", str(pki.certificate("admin")), "-noout", "-subject", "-ext", "extendedKeyUsage")
    assert "O = system:masters, CN = root" in client
    assert "Server" not in client
    server = openssl("x509", "-in", str(pki.certificate("server")), "-noout", "-ext", "subjectAltName")
    assert "DNS:localhost, IP Address:127.0.0.1" in server


def test_what_exists_is_kept(pki: Pki) -> None:
    before = {path.name: path.read_bytes() for path in pki.folder.iterdir()}
    pki.authority("ca")
    pki.issue("ca", [Subject("admin", "root", "system:masters")])
    pki.service_account_key()
    assert {path.name: path.read_bytes() for path in pki.folder.iterdir()} == before


def test_a_kubeconfig_holds_all_that_a_client_needs(pki: Pki, tmp_path: Path) -> None:
    path = tmp_path / "kubeconfig"
    pki.kubeconfig(path, server="https://10.245.0.1:6443", authority="ca", client="admin")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    document = json.loads(path.read_text())
    assert document["clusters"][0]["cluster"]["server"] == "https://10.245.0.1:6443"
    authority = base64.b64decode(document["clusters"][0]["cluster"]["certificate-authority-data"]).decode()
    assert ssl.create_default_context(cadata=authority).cert_store_stats()["x509_ca"] == 1
    assert set(document["users"][0]["user"]) == {"client-certificate-data", "client-key-data"}
    assert json.loads(token_kubeconfig_text("https://x", "QQ==", "abc"))["users"][0]["user"] == {"token": "abc"}
