"""Where endpoint, keys, bucket and region of the object store come from, and what is said when they are wrong."""

import base64
from typing import Any

import pytest
from fovea.sdk import InvalidError
from fovea.sdk import store as stores

SECRET = {
    "endpoint": "https://s3.example.com",
    "accessKey": "k",
    "secretKey": "s",
    "bucket": "team-bucket",
    "region": "eu-central-1",
}
KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
ALL = {**KEYS, "AWS_ENDPOINT_URL": "https://s3.example.org"}
OTHERS = (
    "AWS_ENDPOINT_URL_S3",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
    "AWS_SESSION_TOKEN",
    "AWS_CA_BUNDLE",
    "FOVEA_BUCKET",
)


class Cluster:
    """A cluster that holds the Secret."""

    namespace = "vision"

    def __init__(self) -> None:
        self.asked = 0

    def get(self, target: Any, path: str) -> dict[str, Any]:
        self.asked += 1
        return {"data": {key: base64.b64encode(value.encode()).decode() for key, value in SECRET.items()}}


@pytest.fixture(autouse=True)
def no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*ALL, *OTHERS):
        monkeypatch.delenv(name, raising=False)


def found(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], cluster: Cluster | None = None) -> stores.Access:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return stores.find_access(cluster or Cluster(), None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("variables", "bucket", "source"),
    [
        ({}, "team-bucket", "Secret fovea-object-store in namespace vision"),
        (KEYS, "team-bucket", "Secret fovea-object-store in namespace vision"),
        (ALL, "fovea", "Fovea's default"),
        ({"FOVEA_BUCKET": "mine"}, "mine", "FOVEA_BUCKET"),
        ({**KEYS, "FOVEA_BUCKET": "mine"}, "mine", "FOVEA_BUCKET"),
        ({**ALL, "FOVEA_BUCKET": "mine"}, "mine", "FOVEA_BUCKET"),
    ],
    ids=["Secret", "keys and Secret", "variables", "Secret, bucket", "keys and Secret, bucket", "variables, bucket"],
)
def test_the_bucket_is_the_variables_then_the_secrets(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], bucket: str, source: str
) -> None:
    access = found(monkeypatch, variables)
    assert (access.bucket, access.bucket_source) == (bucket, source)


def test_where_the_variables_are_enough_no_cluster_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Cluster()
    found(monkeypatch, ALL, cluster)
    assert cluster.asked == 0


@pytest.mark.parametrize(
    ("variables", "region"),
    [
        ({}, "eu-central-1"),
        (KEYS, "eu-central-1"),
        ({**KEYS, "AWS_REGION": "us-west-2"}, "us-west-2"),
        ({**KEYS, "AWS_DEFAULT_REGION": "us-west-2"}, "us-west-2"),
        ({"AWS_REGION": "us-west-2"}, "eu-central-1"),
        (ALL, "us-east-1"),
    ],
    ids=str,
)
def test_with_keys_alone_the_region_is_the_secrets_unless_a_variable_names_one(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], region: str
) -> None:
    assert found(monkeypatch, variables).region == region


def test_keys_of_the_variables_are_used_at_the_secrets_store(monkeypatch: pytest.MonkeyPatch) -> None:
    access = found(monkeypatch, {**KEYS, "AWS_SESSION_TOKEN": "token"})
    assert (access.endpoint, access.access_key, access.secret_key, access.session_token, access.source) == (
        "https://s3.example.com",
        "key",
        "secret",
        "token",
        "the AWS_ variables",
    )


@pytest.mark.parametrize(
    ("variables", "origin"),
    [
        ({}, "Secret fovea-object-store in namespace vision"),
        (ALL, "Fovea's default"),
        ({**ALL, "FOVEA_BUCKET": "mine"}, "FOVEA_BUCKET"),
    ],
    ids=["Secret", "variables", "variables, bucket"],
)
@pytest.mark.parametrize("code", ["NoSuchBucket", "AccessDenied"])
def test_a_bucket_that_does_not_take_it_is_said_with_its_origin_and_the_variable(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], origin: str, code: str
) -> None:
    text = stores.Store(found(monkeypatch, variables))._explain("vision/datasets/a", code, "no")
    assert f"the bucket comes from {origin}: set FOVEA_BUCKET to name another" in text


@pytest.mark.parametrize("bucket", ["s3://mine", "mine/folder", "a"])
def test_what_is_no_name_of_a_bucket_is_refused_with_its_origin(monkeypatch: pytest.MonkeyPatch, bucket: str) -> None:
    with pytest.raises(InvalidError, match=rf"bucket '{bucket}' \(FOVEA_BUCKET\): .*: write its name alone"):
        stores.Store(found(monkeypatch, {**ALL, "FOVEA_BUCKET": bucket}))


@pytest.mark.parametrize(
    "endpoint", ["s3.example.org", "https://s3.example.org:port", "https://[::1", "https://https://s3.example.org"]
)
def test_an_endpoint_that_is_no_url_is_refused_with_its_origin_before_anything_is_asked(
    monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", endpoint)
    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    with (
        pytest.raises(InvalidError, match=r"endpoint \(the AWS_ variables\): .* is not a URL"),
        stores.open_store(Cluster()),  # type: ignore[arg-type]
    ):
        pass


def test_what_the_client_library_does_not_take_is_refused_with_its_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    access = found(monkeypatch, {**ALL, "AWS_REGION": "EU (Frankfurt)"})
    with pytest.raises(InvalidError, match=r"region 'EU \(Frankfurt\)' \(the AWS_ variables\)"):
        stores.Store(access)


def test_values_of_the_secret_that_end_with_a_newline_are_taken_as_agents_take_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    access = found(monkeypatch, {})
    monkeypatch.setattr(f"{__name__}.SECRET", {key: f"{value}\n" for key, value in SECRET.items()})
    assert found(monkeypatch, {}) == access
