"""Two batch predictions with one place for their outputs, on a real store: one publishes, the other says whose the place is."""

import json
from dataclasses import replace
from pathlib import Path

from fovea_api.contract import exit_codes, report, storage
from support.batch_pod import BatchPod, brightness, output, put_pictures, running
from support.object_store import ObjectStore
from support.polling import until


def of(pod: BatchPod, uid: str, name: str = "other") -> BatchPod:
    """A pod of another prediction with the same input and the same place for its output."""
    made = pod.another(0, uid)
    made.plan = replace(pod.plan, name=name, uid=f"{pod.plan.uid}-{uid}")
    return made


def claims(store: ObjectStore, pod: BatchPod) -> list[str]:
    """The uids that the claims at the place name, in order."""
    place = storage.Location.parse(pod.plan.output_uri).key
    names = [name for name in store.names(f"{place}/") if name.startswith("claims/")]
    return [json.loads(store.get(f"{place}/{name}"))["uid"] for name in names]


def test_of_two_predictions_at_once_one_publishes_and_the_other_names_it(
    object_store: ObjectStore, batch_pod: BatchPod
) -> None:
    pictures = put_pictures(object_store, batch_pod, 20)
    second = of(batch_pod, "second")
    with running(second):
        both = [batch_pod.start(), second.start()]
        ended = [(pod, *pod.ended()) for pod in both]
    done = [pod for pod, code, _ in ended if code == exit_codes.OK]
    refused = [end.termination for _, code, end in ended if code == exit_codes.CONFIGURATION]
    assert (len(done), len(refused)) == (1, 1), batch_pod.log() + second.log()
    assert refused[0].reason == report.REASON_OUTPUT_TAKEN
    assert f"(uid {done[0].plan.uid})" in refused[0].message
    assert sorted(brightness(output(object_store, done[0]))) == sorted(pictures.items())


def test_a_claim_that_is_left_behind_keeps_others_out_but_not_its_own_retry_nor_the_next_of_its_name(
    object_store: ObjectStore, batch_pod: BatchPod, tmp_path: Path
) -> None:
    pictures = put_pictures(object_store, batch_pod, 9)
    batch_pod.start_agent()
    until(lambda: claims(object_store, batch_pod) == [batch_pod.plan.uid], what="the place is claimed")
    until((batch_pod.work / "shards" / "0").exists, what="the first shard is there")
    batch_pod.kill()

    other, retry = of(batch_pod, "stranger"), batch_pod.another(0, "retry")
    successor = of(batch_pod, "successor", batch_pod.plan.name)
    with running(other, retry, successor):
        code, said = other.start().ended()
        assert (code, said.termination.reason) == (exit_codes.CONFIGURATION, report.REASON_OUTPUT_TAKEN)
        assert f"prediction 'pets' of namespace 'vision' (uid {tmp_path.name})" in said.termination.message
        assert object_store.names(f"{other.prediction}/") == [], "nothing was answered for nothing"

        retry.start_agent()
        until((retry.work / "shards" / "0").exists, what="the same prediction goes on")
        retry.kill()

        code, said = successor.start().ended()
        assert (code, said.termination.reason) == (exit_codes.OK, report.REASON_PUBLISHED), successor.log()
        assert sorted(brightness(output(object_store, successor))) == sorted(pictures.items())
