"""Objects at rest, kept as compressed JSON: about a twentieth of what the record of an ended job takes.

An object is packed as the API server sent it, without the fields that no record contains. When a decision needs the object,
it is unpacked and read again, so its record is the same as before.
"""

import json
import zlib
from collections.abc import Mapping
from typing import Any

_NOT_READ = ("managedFields", "annotations")
_LEVEL = 6

_WORDS = (
    b'{"apiVersion":"fovea.dev/v1alpha1","kind":"TrainingJob","metadata":{"creationTimestamp":"2026-01-01T00:00:00Z",'
    b'"generation":1,"labels":{"app.kubernetes.io/part-of":"","fovea.dev/"},"name":"","namespace":"default",'
    b'"resourceVersion":"1","uid":"","ownerReferences":[]},"spec":{"args":{"augment":false,"batch-size":32,'
    b'"early-stopping":false,"epochs":10,"image-size":64,"learning-rate":0.01,"optimizer":"adam"},"cancel":false,'
    b'"checkpoint":{"everySteps":100,"keep":3,"from":"job://"},"inputs":{"data":"s3://fovea/datasets/"},'
    b'"machineType":"standard","model":{"deploy":true,"name":""},"pod":{"env":[{"name":"","value":""}]},"runPolicy":'
    b'{"backoffLimit":3,"cleanPodPolicy":"Running","maxRunningSeconds":3600,"ttlSecondsAfterFinished":604800},'
    b'"suspend":false,"trainer":{"container":{"args":[],"command":[],"image":""},"recipe":"image-classifier"}},"status":'
    b'{"attempts":{"chief-0":0},"checkpoint":{"step":1000,"time":"2026-01-01T00:00:00Z","uri":"s3://fovea/"},'
    b'"conditions":[{"lastTransitionTime":"2026-01-01T00:00:00Z","message":"","observedGeneration":1,"reason":'
    b'"Admitted","status":"True","type":"Admitted"},{"reason":"PodsRunning","status":"False","type":"Running"},'
    b'{"reason":"JobSucceeded","type":"Succeeded"},{"type":"Suspended"},{"type":"Failed"}],'
    b'"endTime":"2026-01-01T00:00:00Z","machineType":"standard","message":"The model is registered as version",'
    b'"model":{"bytes":1000,"digest":"sha256:","files":3,"uri":"s3://fovea/"},"modelVersion":"-v1",'
    b'"observedGeneration":1,"output":{"bytes":1000,"digest":"sha256:","files":3,"uri":"s3://fovea/jobs/"},'
    b'"progress":{"epoch":10,"epochs":10,"metrics":{"accuracy":"0.99","loss":"0.01"},"step":1000,"steps":1000,"time":'
    b'"2026-01-01T00:00:00Z"},"queueTime":"2026-01-01T00:00:00Z","reason":"Succeeded","resolvedInputs":[{"digest":'
    b'"sha256:","kind":"publication","name":"data","uri":"s3://fovea/"}],"roles":{"chief":{"active":0,"failed":0,'
    b'"pending":0,"succeeded":1}},"runningSeconds":60,"startTime":"2026-01-01T00:00:00Z","state":"SUCCEEDED"}}'
)
"""Dictionary for the compression: texts that many jobs have in common take no space. It does not affect the unpacked objects."""


def pack(raw: Mapping[str, Any]) -> bytes:
    """Pack all fields of an object that a record may contain."""
    metadata = {key: value for key, value in raw["metadata"].items() if key not in _NOT_READ}
    text = json.dumps({**raw, "metadata": metadata}, separators=(",", ":"), sort_keys=True, ensure_ascii=False)
    work = zlib.compressobj(_LEVEL, zdict=_WORDS)
    # Texts of others may hold halves of surrogate pairs, which JSON can say and UTF-8 cannot.
    return work.compress(text.encode("utf-8", "surrogatepass")) + work.flush()


def unpack(data: bytes) -> dict[str, Any]:
    """The packed object."""
    text = zlib.decompressobj(zdict=_WORDS).decompress(data).decode("utf-8", "surrogatepass")
    document: dict[str, Any] = json.loads(text)
    return document
