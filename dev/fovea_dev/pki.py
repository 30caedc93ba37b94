"""The cluster's keys and certificates, made by the openssl program at the first start, readable by root only."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fovea_dev.commands import output

DAYS = "3650"
# A configuration of our own: what the machine's openssl.cnf adds differs from one distribution to the next.
_REQUEST = """\
[req]
distinguished_name = name
x509_extensions = authority
prompt = no
[name]
CN = fovea
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign, cRLSign, digitalSignature
subjectKeyIdentifier = hash
"""
_EXTENSIONS = """\
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature, keyEncipherment
extendedKeyUsage = {usage}
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
"""


@dataclass(frozen=True)
class Subject:
    """The subject of a certificate: file name, common name (user), organization (group), and a server's names."""

    file: str
    common_name: str
    organization: str = ""
    addresses: tuple[str, ...] = ()
    names: tuple[str, ...] = ()

    @property
    def distinguished_name(self) -> str:
        """The subject in openssl's notation."""
        organization = f"/O={self.organization}" if self.organization else ""
        return f"{organization}/CN={self.common_name}"

    def extensions(self) -> str:
        """The X.509 extensions: every one may be a client; a server has alternative names besides."""
        is_server = bool(self.addresses or self.names)
        text = _EXTENSIONS.format(usage="serverAuth, clientAuth" if is_server else "clientAuth")
        if is_server:
            alternatives = [f"DNS:{name}" for name in self.names] + [f"IP:{address}" for address in self.addresses]
            text += f"subjectAltName = {', '.join(alternatives)}\n"
        return text


class Pki:
    """Certificate authorities, certificates and the ServiceAccount key in one folder; what exists is kept."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def key(self, name: str) -> Path:
        """The private key's file."""
        return self.folder / f"{name}.key"

    def certificate(self, name: str) -> Path:
        """The certificate's file."""
        return self.folder / f"{name}.crt"

    def authority(self, name: str) -> None:
        """A self-signed certificate authority."""
        if self._complete(name):
            return
        self._new_key(name)
        self._write(
            self.certificate(name),
            _openssl(
                ["req", "-x509", "-new", "-config", self._request(), "-key", self.key(name)],
                ["-sha256", "-days", DAYS, "-subj", f"/CN=fovea-{name}"],
            ),
        )

    def issue(self, authority: str, subjects: Sequence[Subject]) -> None:
        """Certificates signed by an authority of this folder."""
        for subject in subjects:
            if not self._complete(subject.file):
                self._issue(authority, subject)

    def fingerprint(self) -> str:
        """Changes when any certificate does: a process that uses one must then be restarted."""
        total = hashlib.sha256()
        for path in sorted(self.folder.glob("*.crt")):
            total.update(path.read_bytes())
        return total.hexdigest()

    def service_account_key(self, name: str = "service-account") -> Path:
        """The RSA key that signs ServiceAccount tokens."""
        path = self.key(name)
        if not path.exists():
            self._write(path, _openssl(["genrsa", "2048"]))
        return path

    def kubeconfig(self, path: Path, *, server: str, authority: str, client: str) -> None:
        """A kubeconfig with everything in it, for the holder of a client certificate."""
        self._write(path, kubeconfig_text(server, *(self._base64(file) for file in self._files(authority, client))))

    def _files(self, authority: str, client: str) -> tuple[Path, Path, Path]:
        return self.certificate(authority), self.certificate(client), self.key(client)

    def _base64(self, path: Path) -> str:
        return base64.b64encode(path.read_bytes()).decode()

    def _issue(self, authority: str, subject: Subject) -> None:
        self._new_key(subject.file)
        extensions = self.folder / f"{subject.file}.ext"
        self._write(extensions, subject.extensions())
        request = _openssl(
            ["req", "-new", "-config", self._request(), "-key", self.key(subject.file)],
            ["-sha256", "-subj", subject.distinguished_name],
        )
        certificate = _openssl(
            ["x509", "-req", "-sha256", "-days", DAYS, "-extfile", extensions],
            ["-CA", self.certificate(authority), "-CAkey", self.key(authority)],
            ["-set_serial", str(int.from_bytes(os.urandom(15), "big"))],
            stdin=request,
        )
        self._write(self.certificate(subject.file), certificate)

    def _request(self) -> Path:
        path = self.folder / "request.cnf"
        if not path.exists():
            self._write(path, _REQUEST)
        return path

    def _new_key(self, name: str) -> None:
        self._write(self.key(name), _openssl(["ecparam", "-name", "prime256v1", "-genkey", "-noout"]))

    def _complete(self, name: str) -> bool:
        # The certificate is written last: with it, the key is there too.
        return self.certificate(name).exists() and self.key(name).exists()

    def _write(self, path: Path, text: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        write_private(path, text)


def _openssl(*words: Sequence[str | Path], stdin: str | None = None) -> str:
    return output(["openssl", *(word for group in words for word in group)], stdin=stdin)


def write_private(path: Path, text: str) -> None:
    """Write a file at once or not at all, readable by its owner only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)
    fresh.replace(path)


def kubeconfig_text(server: str, authority: str, certificate: str, key: str, *, name: str = "fovea") -> str:
    """A kubeconfig (JSON, which is YAML) with base64-encoded PEM data."""
    user = {"client-certificate-data": certificate, "client-key-data": key}
    return _kubeconfig(server, authority, user, name)


def token_kubeconfig_text(server: str, authority: str, token: str, *, name: str = "fovea") -> str:
    """A kubeconfig for the holder of a bearer token; the authority is base64-encoded PEM."""
    return _kubeconfig(server, authority, {"token": token}, name)


def _kubeconfig(server: str, authority: str, user: dict[str, str], name: str) -> str:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": server, "certificate-authority-data": authority}}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
        "current-context": name,
    }
    return json.dumps(document, indent=2) + "\n"
