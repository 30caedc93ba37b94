"""Keys for the embedded MinIO: its bucket, and per namespace a key that reaches that namespace's prefix only.

The one part of the agent that uses an interface of MinIO's own. With another store the platform team fills the Secret.
"""

import argparse
import hashlib
import json
import secrets
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from fovea_api.contract import names, report, storage
from fovea_api.contract.report import Termination
from minio.credentials import StaticProvider
from minio.minioadmin import MinioAdmin

from fovea_agent import log
from fovea_agent.connections import http_pool
from fovea_agent.errors import KeyAbsent, KeyRefused, Misconfigured, Missing, StoreUnreachable
from fovea_agent.kubernetes_secrets import ClusterSecrets, secret_manifest
from fovea_agent.patience import Patience
from fovea_agent.refusals import mapped
from fovea_agent.settings import DEFAULT_REGION, StoreAccess
from fovea_agent.store import Store

ROOT_USER = "MINIO_ROOT_USER"
ROOT_PASSWORD = "MINIO_ROOT_PASSWORD"  # noqa: S105 - the name of a variable

_READ = ["s3:GetObject"]
_WRITE = ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]


def policy(bucket: str, namespace: str, shared_prefixes: Sequence[str] = ()) -> dict[str, Any]:
    """What a namespace's key may: everything below its prefix, read what is shared, list no more than that."""
    shared = [f"{prefix.strip('/')}/*" for prefix in shared_prefixes]
    bucket_arn = f"arn:aws:s3:::{bucket}"
    statements: list[dict[str, Any]] = [
        {"Effect": "Allow", "Action": ["s3:GetBucketLocation"], "Resource": [bucket_arn]},
        {
            "Effect": "Allow",
            "Action": ["s3:ListBucket"],
            "Resource": [bucket_arn],
            "Condition": {"StringLike": {"s3:prefix": [f"{namespace}/*", *shared]}},
        },
        {"Effect": "Allow", "Action": [*_READ, *_WRITE], "Resource": [f"{bucket_arn}/{namespace}/*"]},
    ]
    if shared:
        statements.append({"Effect": "Allow", "Action": _READ, "Resource": [f"{bucket_arn}/{one}" for one in shared]})
    return {"Version": "2012-10-17", "Statement": statements}


def access_key(namespace: str) -> str:
    """The name of a namespace's key: always the same, so that a lost Secret leaves no second key. 20 characters."""
    return f"fovea{hashlib.sha256(namespace.encode()).hexdigest()[:15]}"


class Secrets(Protocol):
    """Where the keys go."""

    def read(self, namespace: str) -> dict[str, str] | None:
        """The namespace's Secret, None when it has none."""

    def write(self, namespace: str, data: Mapping[str, str]) -> None:
        """Create or replace it."""


class KeyFiles:
    """Keys as files: `<folder>/<namespace>/<key>`, readable for the owner only."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def read(self, namespace: str) -> dict[str, str] | None:
        """Read the files."""
        folder = self._folder / namespace
        return {file.name: file.read_text() for file in folder.iterdir()} if folder.is_dir() else None

    def write(self, namespace: str, data: Mapping[str, str]) -> None:
        """Write the files."""
        folder = self._folder / namespace
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for key, value in data.items():
            (folder / key).touch(mode=0o600)
            (folder / key).write_text(value)


class Printed:
    """Secrets to standard output, for `kubectl apply -f -`."""

    def read(self, namespace: str) -> None:
        """Nothing is known of what was printed before."""

    def write(self, namespace: str, data: Mapping[str, str]) -> None:
        """Print one document."""
        sys.stdout.write(json.dumps(secret_manifest(namespace, data)) + "\n---\n")


class Provision:
    """Makes bucket and keys in a MinIO by its root key."""

    def __init__(self, root: StoreAccess, patience: Patience, shared_prefixes: Sequence[str] = ()) -> None:
        self._root = root
        self._patience = patience
        self._shared = shared_prefixes
        self._admin = MinioAdmin(
            endpoint=root.host,
            credentials=StaticProvider(root.access_key, root.secret_key),
            region=root.region,
            secure=root.secure,
            http_client=http_pool(2, str(root.ca_bundle) if root.ca_bundle else None),
        )

    def make_bucket(self) -> None:
        """Wait for the store and make the bucket."""
        made = Store(self._root, self._patience).make_bucket()
        log.info("bucket made" if made else "bucket exists", bucket=self._root.bucket)

    def provide(self, namespace: str, target: Secrets) -> bool:
        """Give the namespace a key; True when its Secret was written. One that works, or is not ours, is kept."""
        present = target.read(namespace)
        own = access_key(namespace)
        if present and present.get(storage.SECRET_ACCESS_KEY) not in (None, "", own):
            log.info("the Secret holds a key of another origin: kept", namespace=namespace)
            return False
        kept = (present or {}).get(storage.SECRET_SECRET_KEY, "")
        if kept and self._works(namespace, kept):
            self._run(namespace, lambda rules: self._admin.update_service_account(access_key=own, policy=rules))
        else:
            kept = secrets.token_urlsafe(30)[:40]
            self._replace(namespace, kept)
        wanted = self._data(own, kept)
        if present == wanted:
            log.info("the Secret is kept", namespace=namespace)
            return False
        target.write(namespace, wanted)
        log.info("the Secret is written", namespace=namespace, access_key=own)
        return True

    def revoke(self, namespace: str) -> None:
        """Withdraw the namespace's key from the store; its Secret stays, with a key that is refused.

        Raises AgentError unless the store knows the key no more, whatever it answered: "not found" and "not understood"
        cannot be told apart otherwise.
        """
        own = access_key(namespace)
        try:
            self._run(namespace, lambda _: self._admin.delete_service_account(own))
        except (Missing, Misconfigured) as error:
            if self._is_known(namespace):
                raise Misconfigured(
                    f"the key {own!r} of namespace {namespace!r} is not withdrawn: {error.message}. Remove it by hand "
                    f"(mc admin user svcacct rm), or correct the endpoint"
                ) from error
            log.info("there is no key to withdraw", namespace=namespace)
        else:
            self._patience.run(lambda: self._check_unknown(namespace), f"withdraw the key of {namespace}")
            log.info("the key is withdrawn", namespace=namespace)

    def _check_unknown(self, namespace: str) -> None:
        if self._is_known(namespace):  # by a node of the store that has not heard of it yet
            raise StoreUnreachable(
                f"the object store at {self._root.endpoint} still knows the key {access_key(namespace)!r} of namespace "
                f"{namespace!r} after it was withdrawn"
            )

    def _is_known(self, namespace: str) -> bool:
        """Whether the store knows the namespace's key. With a secret that is made up: with none would it let us in."""
        try:
            self._try(namespace, secrets.token_urlsafe(30))
        except KeyAbsent:
            return False
        except KeyRefused:
            pass
        return True

    def _data(self, key: str, secret: str) -> dict[str, str]:
        data = {
            storage.SECRET_ENDPOINT: self._root.endpoint,
            storage.SECRET_BUCKET: self._root.bucket,
            storage.SECRET_REGION: self._root.region,
            storage.SECRET_ACCESS_KEY: key,
            storage.SECRET_SECRET_KEY: secret,
        }
        if self._root.ca_bundle:
            data[storage.SECRET_CA_BUNDLE] = self._root.ca_bundle.read_text()
        return data

    def _works(self, namespace: str, secret: str) -> bool:
        try:
            self._try(namespace, secret)
        except KeyRefused:
            return False
        return True

    def _try(self, namespace: str, secret: str) -> None:
        access = StoreAccess(
            self._root.endpoint,
            self._root.bucket,
            access_key(namespace),
            secret,
            self._root.region,
            self._root.ca_bundle,
        )
        Store(access, self._patience).children(f"{namespace}/", limit=1)

    def _replace(self, namespace: str, secret: str) -> None:
        own = access_key(namespace)
        self.revoke(namespace)
        self._run(
            namespace,
            lambda rules: self._admin.add_service_account(
                access_key=own, secret_key=secret, description=f"Fovea, namespace {namespace}", policy=rules
            ),
        )

    def _run(self, namespace: str, command: Any) -> None:
        rules = policy(self._root.bucket, namespace, self._shared)

        def once() -> None:
            with mapped(self._root, self._root.bucket, f"{namespace}/"):
                command(rules)

        self._patience.run(once, f"key of {namespace}")


def _of_labels(provision: Provision, cluster: ClusterSecrets, options: argparse.Namespace) -> Termination:
    from fovea_agent.namespace_keys import NamespaceKeys, keep

    keys = NamespaceKeys(provision, cluster)
    if options.every:
        keep(keys, options.every)
    written = keys.round()
    return Termination(report.REASON_PROVISIONED, f"Secret {names.OBJECT_STORE_SECRET} written in {written} namespaces")


def _of_names(provision: Provision, options: argparse.Namespace, env: Mapping[str, str]) -> int:
    from fovea_agent.namespace_keys import named

    if options.apply:
        return named(provision, ClusterSecrets.in_cluster(env), options.namespace, options.unless_labelled)
    target = KeyFiles(options.directory) if options.directory else Printed()
    return sum(provision.provide(namespace, target) for namespace in options.namespace)


def root_access(options: argparse.Namespace, env: Mapping[str, str]) -> StoreAccess:
    """The root key of the embedded MinIO: address from the options, key from the environment."""
    for name in (ROOT_USER, ROOT_PASSWORD):
        if not env.get(name):
            raise Misconfigured(f"the environment variable {name} is not set: it is the MinIO's root key")
    return StoreAccess(
        options.endpoint.rstrip("/"),
        options.bucket or storage.BUCKET,
        env[ROOT_USER],
        env[ROOT_PASSWORD],
        options.region or DEFAULT_REGION,
        options.ca_bundle,
    )


def provision_from_command_line(options: argparse.Namespace, env: Mapping[str, str]) -> Termination:
    """Run `fovea-agent provision`; raises AgentError."""
    if (options.labelled or options.every) and not (options.labelled and options.apply):
        raise Misconfigured("--labelled goes with --apply, and --every with both")
    if options.unless_labelled and not options.apply:
        raise Misconfigured("--unless-labelled goes with --apply: labels are the cluster's")
    root = root_access(options, env)
    provision = Provision(root, Patience(options.patience), options.shared_prefix)
    provision.make_bucket()
    if options.labelled:
        return _of_labels(provision, ClusterSecrets.in_cluster(env), options)
    written = _of_names(provision, options, env)
    return Termination(
        report.REASON_PROVISIONED,
        f"bucket {root.bucket} is there; Secret {names.OBJECT_STORE_SECRET} written in {written} of "
        f"{len(options.namespace) + len(options.unless_labelled)} namespaces",
    )
