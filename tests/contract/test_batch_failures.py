"""Whatever dies, and whenever: every record is answered exactly once, and a finished shard is never answered again."""

import json
import random
from collections import Counter
from dataclasses import replace

from fovea_api.contract import batch, exit_codes, report, storage
from fovea_api.contract.batch import Summary
from support.batch_pod import (
    BatchPod,
    answered,
    brightness,
    output,
    programs_shards,
    put_pictures,
    running,
    wait_for_answers,
)
from support.object_store import ObjectStore
from support.polling import until
from support.store_proxy import StoreProxy

CLOSED_PORT = 9


def all_once(store: ObjectStore, pod: BatchPod, pictures: dict[str, int]) -> None:
    """Each picture has its answer, and has it once."""
    found = brightness(output(store, pod))
    assert Counter(found) == Counter(pictures.items())


def manifests(store: ObjectStore, pod: BatchPod) -> dict[str, object]:
    """When the answers in the store were written."""
    prefix = f"{pod.prediction}/shards/answers/"
    found = store.client.list_objects(store.bucket, prefix=prefix, recursive=True)
    return {item.object_name: item.last_modified for item in found if item.object_name.endswith(storage.MANIFEST)}


def test_two_pods_share_the_shards_and_the_last_one_writes_the_output(
    object_store: ObjectStore, batch_pod: BatchPod
) -> None:
    pictures = put_pictures(object_store, batch_pod, 20)
    batch_pod.plan = replace(batch_pod.plan, workers=2)
    second = batch_pod.another(1, "second")
    with running(second):
        code, first = batch_pod.start().ended()
        assert code == exit_codes.OK, batch_pod.log()
        assert first.termination.reason == report.REASON_NOTHING_TO_PUBLISH
        assert first.termination.metrics == {"records": 11, "errors": 0, "shards": 4}
        assert answered(object_store, batch_pod) == {0, 2, 4, 6}
        code, last = second.start().ended()
        assert code == exit_codes.OK, second.log()
    assert last.termination.reason == report.REASON_PUBLISHED
    assert last.termination.metrics == {"records": 20, "errors": 0, "shards": 7}
    assert programs_shards(second) == [1, 3, 5]
    all_once(object_store, batch_pod, pictures)


def test_two_pods_of_one_number_at_once_do_no_harm(object_store: ObjectStore, batch_pod: BatchPod) -> None:
    pictures = put_pictures(object_store, batch_pod, 20)
    twin = batch_pod.another(0, "twin")
    with running(twin):
        batch_pod.start()
        twin.start()
        said = [pod.ended() for pod in (batch_pod, twin)]
    assert [code for code, _ in said] == [exit_codes.OK, exit_codes.OK], batch_pod.log() + twin.log()
    one, two = (ended.termination for _, ended in said)
    assert one.reason == two.reason == report.REASON_PUBLISHED
    assert (one.output, one.metrics) == (two.output, two.metrics)
    all_once(object_store, batch_pod, pictures)


def test_containers_that_are_killed_at_any_moment_go_on_where_they_were(
    object_store: ObjectStore, batch_pod: BatchPod
) -> None:
    """Agent and program are started again on the same volume, as the kubelet does it; an answer that is published stays."""
    pictures = put_pictures(object_store, batch_pod, 120)
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    draw = random.Random(seed)
    batch_pod.start()
    for done in (4, 12, 20, 28, 36):
        wait_for_answers(object_store, batch_pod, done)
        before = manifests(object_store, batch_pod)
        assert batch_pod.agent is not None
        assert batch_pod.program is not None
        for process, again in draw.sample(
            [(batch_pod.agent, batch_pod.start_agent), (batch_pod.program, batch_pod.start_program)],
            draw.choice([1, 2]),
        ):
            process.kill()
            process.wait()
            again()
        assert before.items() <= manifests(object_store, batch_pod).items()
    code, ended = batch_pod.ended()
    assert (code, ended.termination.reason) == (exit_codes.OK, report.REASON_PUBLISHED), batch_pod.log()
    assert before.items() <= manifests(object_store, batch_pod).items()
    assert ended.termination.metrics == {"records": 120, "errors": 0, "shards": 40}
    all_once(object_store, batch_pod, pictures)


def test_a_pod_that_is_lost_is_followed_by_one_that_repeats_no_finished_shard(
    object_store: ObjectStore, batch_pod: BatchPod
) -> None:
    pictures = put_pictures(object_store, batch_pod, 60)
    batch_pod.start()
    wait_for_answers(object_store, batch_pod, 7)
    batch_pod.kill()
    finished = answered(object_store, batch_pod)
    put_pictures(object_store, replace(batch_pod), 63)  # what is added later is no part of this prediction
    follower = batch_pod.another(0, "follower")
    with running(follower):
        code, ended = follower.start().ended()
    assert code == exit_codes.OK, follower.log()
    assert sorted(programs_shards(follower)) == sorted(set(range(20)) - finished)
    assert ended.termination.metrics == {"records": 60, "errors": 0, "shards": 20}
    all_once(object_store, batch_pod, pictures)


def test_an_answer_of_a_program_that_died_before_it_removed_the_shard_is_not_made_again(
    object_store: ObjectStore, batch_pod: BatchPod
) -> None:
    pictures = put_pictures(object_store, batch_pod, 9)
    batch_pod.start_agent()
    shard, answer = (batch_pod.work / name / "0" for name in (batch.SHARDS, batch.ANSWERS))
    until(shard.exists, what="a shard is there")
    unfinished = batch_pod.folder / "answer"
    unfinished.mkdir()
    entries = [{"record": f"{number}.png", "prediction": {"brightness": number * 7}} for number in (1, 2, 3)]
    (unfinished / batch.PREDICTIONS).write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    (unfinished / batch.SUMMARY_FILE).write_text(Summary(3).to_json())
    unfinished.rename(answer)
    until(lambda: not shard.exists(), what="the agent removes a shard that is answered")
    batch_pod.start_program()
    code, _ = batch_pod.ended()
    assert code == exit_codes.OK, batch_pod.log()
    assert programs_shards(batch_pod) == [1, 2]
    all_once(object_store, batch_pod, pictures)


def through(proxy: StoreProxy, pod: BatchPod) -> None:
    """Let the pod reach the store through the proxy."""
    (pod.keys / storage.SECRET_ENDPOINT).write_text(proxy.endpoint)


def test_a_store_that_is_away_is_waited_for(object_store: ObjectStore, batch_pod: BatchPod) -> None:
    pictures = put_pictures(object_store, batch_pod, 60)
    with StoreProxy(object_store.port).running() as proxy:
        through(proxy, batch_pod)
        batch_pod.start()
        wait_for_answers(object_store, batch_pod, 5)
        proxy.upstream = CLOSED_PORT
        until(lambda: "store unreachable" in batch_pod.log(), what="the store is missed")
        proxy.upstream = object_store.port
        code, ended = batch_pod.ended()
    assert (code, ended.code) == (exit_codes.OK, exit_codes.OK), batch_pod.log()
    assert "store reachable again" in batch_pod.log()
    assert programs_shards(batch_pod) == list(range(20))
    all_once(object_store, batch_pod, pictures)


def test_an_agent_that_dies_while_it_composes_is_followed_by_one_that_ends_it(
    object_store: ObjectStore, batch_pod: BatchPod
) -> None:
    pictures = put_pictures(object_store, batch_pod, 30)
    place = storage.Location.parse(batch_pod.plan.output_uri).key
    written: list[str] = []

    def composed() -> bool:
        return len(written) >= 3

    with StoreProxy(object_store.port).running() as proxy:
        through(proxy, batch_pod)

        def before(request: object) -> None:
            method, path = request.method, request.path  # type: ignore[attr-defined]
            if method == "PUT" and f"/{place}/" in path:
                written.append(path)

        proxy.before = before
        batch_pod.start()
        until(composed, what="a part of the output is there", every=0.001)
        assert batch_pod.agent is not None
        batch_pod.agent.kill()
        batch_pod.agent.wait()
        batch_pod.start_agent()
        code, ended = batch_pod.ended()
    assert (code, ended.termination.reason) == (exit_codes.OK, report.REASON_PUBLISHED), batch_pod.log()
    assert ended.termination.metrics["records"] == 30
    all_once(object_store, batch_pod, pictures)


def test_sigterm_ends_both_at_once_while_shards_are_left(object_store: ObjectStore, batch_pod: BatchPod) -> None:
    put_pictures(object_store, batch_pod, 60)
    batch_pod.start()
    wait_for_answers(object_store, batch_pod, 2)
    assert batch_pod.agent is not None
    assert batch_pod.program is not None
    for process in (batch_pod.program, batch_pod.agent):
        process.terminate()
        assert process.wait(10) == 143
    assert object_store.names(storage.Location.parse(batch_pod.plan.output_uri).key + "/") == ["claims/1"]


def test_nothing_of_the_agent_s_own_is_left_in_the_program_s_folders(
    object_store: ObjectStore, batch_pod: BatchPod
) -> None:
    put_pictures(object_store, batch_pod, 9)
    assert batch_pod.start().ended()[0] == exit_codes.OK, batch_pod.log()
    folders = [batch_pod.work / batch.SHARDS, batch_pod.work / batch.ANSWERS]
    assert [list(folder.iterdir()) for folder in folders] == [[], []]
