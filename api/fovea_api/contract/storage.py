"""Layout of the object store: functions from names to keys. No key is spelled anywhere else.

One bucket; `<namespace>/` is the border of a team. Everything that Fovea publishes is a *publication*: payload objects below a
prefix and, written last, `<prefix>/manifest.json`; without the manifest it does not exist.
"""

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

BUCKET = "fovea"
MANIFEST = "manifest.json"
SCHEME = "s3"

SECRET_ENDPOINT = "endpoint"  # noqa: S105 - keys of a Secret's data, not secrets
SECRET_BUCKET = "bucket"  # noqa: S105
SECRET_REGION = "region"  # noqa: S105
SECRET_ACCESS_KEY = "accessKey"  # noqa: S105
SECRET_SECRET_KEY = "secretKey"  # noqa: S105
SECRET_CA_BUNDLE = "ca.crt"  # noqa: S105
"""Keys of the Secret `fovea-object-store`: endpoint is a URL (http or https), region and ca.crt are optional."""

_BUCKET_IN_HOST = re.compile(r"(?P<bucket>.+)\.(?P<host>s3[.-](?!.*\.vpce\.)[a-z0-9.-]*amazonaws\.com(?:\.cn)?)")


def address(endpoint: str) -> SplitResult:
    """Read the endpoint of a store; raises ValueError that says what is wrong with it.

    Bucket and keys have places of their own. Whatever else an endpoint held would be left out in silence, or be taken by
    the client library for a part of the host.
    """
    if "@" in endpoint:  # not repeated: it may hold a password
        raise ValueError("a URL with a user name or password is not taken: access key and secret key stand beside it")
    problem = _problem(endpoint)
    if problem is not None:
        raise ValueError(f"{endpoint!r} is not a URL like https://minio.example.com:9000{problem}")
    return urlsplit(endpoint)


def _problem(endpoint: str) -> str | None:
    try:
        parts = urlsplit(endpoint)
        port = parts.port
    except ValueError as error:  # of brackets or the port
        return f": {error}"
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or re.search(r"\s", parts.netloc):
        return ""
    if parts.path.strip("/") or parts.query or parts.fragment:
        return ": write scheme, host and port alone, the bucket is named apart"
    if found := _BUCKET_IN_HOST.fullmatch(parts.hostname):
        return f": the bucket is named apart, write {parts.scheme}://{found['host']} and the bucket {found['bucket']}"
    return None


def job(namespace: str, name: str, uid: str) -> str:
    """Prefix of everything a TrainingJob publishes."""
    return f"{namespace}/jobs/{name}/{uid}"


def jobs(namespace: str, name: str) -> str:
    """Prefix of what all jobs of a name published, each below its uid."""
    return f"{namespace}/jobs/{name}"


def name_of(jobs_prefix: str) -> str:
    """The name in what `jobs` or `job` made."""
    return jobs_prefix.split("/")[2]


def uid_of(jobs_prefix: str) -> str:
    """The uid in what `job` made; empty for what `jobs` made."""
    return jobs_prefix.partition("/jobs/")[2].partition("/")[2]


def resolved(job_prefix: str, name: str) -> str:
    """Key of the object in which a job's first attempt wrote what of another job an input (or checkpoint.from) stands for."""
    return f"{job_prefix}/resolved/{name}.json"


def checkpoints(job_prefix: str) -> str:
    """Prefix under which each checkpoint is a publication named by its step."""
    return f"{job_prefix}/checkpoints"


def checkpoint(job_prefix: str, step: int) -> str:
    """Prefix of one checkpoint's publication."""
    return f"{checkpoints(job_prefix)}/{step}"


def unproven(prefix: str) -> str:
    """Key of the empty object that says of the checkpoint at `prefix` that it may be torn: it did not appear by rename."""
    return f"{prefix}/unproven"


def doubts(job_prefix: str) -> str:
    """Prefix (with a closing slash) of what `doubt` names."""
    return f"{job_prefix}/doubts/"


def doubt(job_prefix: str, digest: str, by: str) -> str:
    """Key of the empty object that says what speaks against a checkpoint of this digest: `by`, an attempt or evidence."""
    return f"{doubts(job_prefix)}{digest.removeprefix('sha256:')}/{by}"


def model(job_prefix: str, attempt: int) -> str:
    """Prefix of the SavedModel that an attempt published."""
    return f"{job_prefix}/model/{attempt}"


def outputs(job_prefix: str) -> str:
    """Prefix under which each attempt's output folder is a publication."""
    return f"{job_prefix}/output"


def output(job_prefix: str, attempt: int) -> str:
    """Prefix of the output folder that an attempt published."""
    return f"{outputs(job_prefix)}/{attempt}"


def tensorboard(job_prefix: str, attempt: int) -> str:
    """Prefix of an attempt's TensorBoard event files."""
    return f"{job_prefix}/tensorboard/{attempt}"


def evaluations(job_prefix: str, attempt: int) -> str:
    """Prefix under which an attempt of the evaluator published what it measured: a publication for each step."""
    return f"{evaluators(job_prefix)}/{attempt}"


def evaluators(job_prefix: str) -> str:
    """Prefix under which each attempt of the evaluator has its publications."""
    return f"{job_prefix}/evaluator"


def evaluator_events(job_prefix: str, attempt: int) -> str:
    """Prefix of the TensorBoard event files of an attempt of the evaluator."""
    return f"{evaluations(job_prefix, attempt)}/tensorboard"


def held(job_prefix: str, attempt: int, step: int) -> str:
    """Key of the empty object by which an attempt of the evaluator says that it needs a checkpoint: it is not pruned."""
    return f"{all_held(job_prefix)}{attempt}/{step}"


def all_held(job_prefix: str) -> str:
    """Prefix (with a closing slash) of what `held` names."""
    return f"{evaluators(job_prefix)}/held/"


def program_logs(job_prefix: str) -> str:
    """Prefix (with a closing slash) of what programs printed."""
    return f"{job_prefix}/logs/"


def program_log(job_prefix: str, task: str, attempt: int) -> str:
    """Key of what the program of a member (`chief-0`) printed in an attempt: lines with time stamps, in one object."""
    return f"{program_logs(job_prefix)}{task}/{attempt}.log"


def fence(job_prefix: str, attempt: int) -> str:
    """Key of the empty object by which an attempt says that it has started; older attempts then stop writing."""
    return f"{fences(job_prefix)}{attempt}"


def fences(job_prefix: str) -> str:
    """Prefix (with a closing slash) of the fence objects."""
    return f"{job_prefix}/fence/"


def input_listing(job_prefix: str, name: str) -> str:
    """Key of the listing (paths, sizes, ETags) by which all attempts of a job fetch the same objects as an input."""
    return f"{job_prefix}/inputs/{name}.jsonl.gz"


def cache(namespace: str, name: str) -> str:
    """Prefix under which each published generation of a named cache is a publication."""
    return f"{namespace}/cache/{name}"


def dataset(namespace: str, name: str) -> str:
    """Prefix of a data set that `fovea data upload` wrote (users' own data: no manifest)."""
    return f"{namespace}/datasets/{name}"


def batch(namespace: str, name: str, uid: str) -> str:
    """Prefix of everything of a BatchPrediction."""
    return f"{namespace}/predictions/{name}/{uid}"


def batch_output(batch_prefix: str) -> str:
    """Prefix of its output where `spec.output.uri` names no other: a publication."""
    return f"{batch_prefix}/output"


def batch_plan(batch_prefix: str) -> str:
    """Key of the list of its shards, which the first pod wrote: all pods go by it."""
    return f"{batch_prefix}/shards/list.jsonl.gz"


def batch_answer(batch_prefix: str, shard: int) -> str:
    """Prefix of the answer to a shard: a publication. A shard that has one is never answered again."""
    return f"{batch_prefix}/shards/answers/{shard}"


def batch_claim(output_prefix: str, number: int) -> str:
    """Key of a claim to the place of an output: the prediction that the one with the greatest number names may write there."""
    return f"{output_prefix}/claims/{number}"


def registered_model(namespace: str, name: str, digest: str) -> str:
    """Prefix of a SavedModel that was registered from outside (`fovea versions create`)."""
    return f"{namespace}/models/{name}/{digest.removeprefix('sha256:')[:16]}"


def manifest(prefix: str) -> str:
    """Key of a publication's manifest."""
    return f"{prefix.rstrip('/')}/{MANIFEST}"


@dataclass(frozen=True)
class Location:
    """A place in the store: bucket and key or prefix, without a leading or trailing slash."""

    bucket: str
    key: str

    @classmethod
    def parse(cls, uri: str) -> "Location":
        """Read `s3://bucket/key`; raises ValueError naming the URI and what is wrong with it."""
        parts = urlsplit(uri)
        if parts.scheme != SCHEME or not parts.netloc:
            raise ValueError(f"{uri!r} is not a store address: write s3://<bucket>/<path>")
        if parts.query or parts.fragment:
            raise ValueError(f"{uri!r} has a query or fragment: write s3://<bucket>/<path>")
        if {".", ".."} & set(parts.path.split("/")):
            raise ValueError(f"{uri!r} has a part '.' or '..': write s3://<bucket>/<path>")
        return cls(parts.netloc, parts.path.strip("/"))

    def __str__(self) -> str:
        return f"{SCHEME}://{self.bucket}/{self.key}"
