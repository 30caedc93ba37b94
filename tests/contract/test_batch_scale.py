"""Ten thousand pictures on two pods, while a pod is lost, programs and agents die, and the store goes away."""

import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from fovea_api.contract import batch, exit_codes, report, storage
from fovea_api.contract.plan import BatchPlan
from support.batch_pod import (
    NAMESPACE,
    BatchPod,
    answered,
    brightness,
    output,
    programs_shards,
    put_input,
    running,
    wait_for_answers,
)
from support.model_server import png
from support.object_store import running_object_store
from support.polling import until

PICTURES, SHARD = 10_000, 100
AWAY_SECONDS = 20


@pytest.mark.wide
def test_ten_thousand_pictures_are_answered_once_each_whatever_dies(saved_model: Path, tmp_path: Path) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")
    draw = random.Random(seed)
    pictures = {f"{number // 1000}/{number}.png": draw.randrange(256) for number in range(PICTURES)}
    with running_object_store(tmp_path / "store") as store:
        uri = f"s3://{store.bucket}/{NAMESPACE}/datasets/many"
        made = f"s3://{store.bucket}/{storage.batch_output(storage.batch(NAMESPACE, 'many', '1'))}"
        plan = BatchPlan(NAMESPACE, "many", "1", 2, uri, batch.IMAGES, made, batch.JSONL, "sha256:0", 1 << 30, SHARD)
        folder = tmp_path / "first"
        folder.mkdir()
        first = BatchPod(plan, folder, store.keys(NAMESPACE, tmp_path / "keys"), saved_model, batch_size=32)
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda item: put_input(store, first, {item[0]: png(item[1])}), pictures.items()))
        second, follower = first.another(1, "second"), first.another(0, "follower")
        with running(first, second, follower):
            first.start()
            second.start()
            wait_for_answers(store, first, draw.randrange(5, 15))
            assert second.program is not None
            second.program.kill()
            second.program.wait()
            second.start_program()
            wait_for_answers(store, first, draw.randrange(20, 30))
            first.kill()
            finished = answered(store, first)
            follower.start()
            wait_for_answers(store, first, draw.randrange(40, 50))
            store.stop()
            gone = time.monotonic()
            assert second.agent is not None
            second.agent.kill()
            second.agent.wait()
            second.start_agent()
            until(lambda: time.monotonic() > gone + AWAY_SECONDS, what="the store was away")
            store.start()
            ended = [pod.ended(600) for pod in (follower, second)]
        assert [code for code, _ in ended] == [exit_codes.OK] * 2, follower.log() + second.log()
        assert finished.isdisjoint(programs_shards(follower))
        said = [end.termination for _, end in ended]
        (whole,) = [one for one in said if one.reason == report.REASON_PUBLISHED] or [None]
        assert whole is not None, said
        assert whole.metrics == {"records": PICTURES, "errors": 0, "shards": PICTURES // SHARD}
        assert Counter(brightness(output(store, replace(first)))) == Counter(pictures.items())
