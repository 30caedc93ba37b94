"""Several processes that hold all weights each, on loopback; and the synchronous ways against a single process."""

import json
import os
import re
import signal
import subprocess

import numpy as np
import pytest
import tensorflow as tf
from fovea_api.contract import environment, exit_codes
from fovea_api.contract.cluster_spec import ClusterSpec
from fovea_dev.ports import free_ports
from fovea_trainers.runtime.lifeline import Sign, look
from support import tables, training, warm_trainers
from support.distributed import distributed
from support.polling import until

PAIR = {"chief": 1, "worker": 1}
STEPS = 10
"""Of an epoch: 48 training pictures, batches of 5, the last one of 3."""
EXACT = (
    "--label-column=kind",
    "--batch-size=7",
    "--epochs=3",
    "--hidden=8,4",
    "--validation-ratio=0.2",
    "--optimizer=adam",
    "--learning-rate=0.01",
)
"""200 rows: 160 to train in batches of 7 rows, which 2 workers share as 4 and 3, and a last batch of 6."""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    return training.write_pictures(tmp_path_factory.mktemp("data"), per_class=20)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return tables.write(tmp_path_factory.mktemp("table") / "flowers.csv", tables.flowers(200))


@pytest.fixture(scope="module")
def single(tmp_path_factory, table):
    root = tmp_path_factory.mktemp("single")
    assert training.run(root, "tabular", f"--data={table.parent}", *EXACT) == exit_codes.OK
    return root


def values(root):
    """Every variable of the newest checkpoint of a run."""
    newest = root / environment.CHECKPOINT_DIR.lower() / str(training.checkpoints(root)[-1])
    reader = tf.train.load_checkpoint(str(newest / "variables"))
    return {
        name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map() if name != training.OBJECT_GRAPH
    }


WAYS = {
    "several machines": (PAIR, {}),
    "synchronous parameter servers": ({"chief": 1, "worker": 2, "ps": 1}, {environment.SYNC: "1"}),
}


def test_a_chief_that_waits_for_a_worker_hears_that_it_is_to_stop(tmp_path, table):
    here, absent = (f"127.0.0.1:{port}" for port in free_ports(2))
    spec = ClusterSpec({"chief": (here,), "worker": (absent,)}, "chief", 0)
    command = warm_trainers.command("tabular", f"--data={table.parent}", *EXACT)
    variables = {**os.environ, **training.variables(tmp_path), environment.TF_CONFIG: spec.to_env()}
    with subprocess.Popen(command, env=variables) as chief:
        try:
            until(lambda: look(here) is Sign.ANSWERS, seconds=60, what="it waits for the worker")
            chief.terminate()
            assert chief.wait(timeout=20) == exit_codes.RESTART
        finally:
            chief.kill()


@pytest.mark.parametrize(("roles", "more"), WAYS.values(), ids=WAYS.keys())
def test_two_workers_that_share_each_batch_learn_what_one_process_learns(tmp_path, table, single, roles, more):
    with distributed(tmp_path, roles, "tabular", f"--data={table.parent}", *EXACT, **more) as run:
        assert set(run.codes().values()) == {exit_codes.OK}, run.lines
    ours, theirs = values(tmp_path), values(single)
    assert ours.keys() == theirs.keys()
    for name, value in theirs.items():
        assert np.allclose(ours[name], value, rtol=1e-3, atol=1e-5), name
    result, expected = training.evaluation(tmp_path), training.evaluation(single)
    assert [epoch["accuracy"] for epoch in result["history"]] == [epoch["accuracy"] for epoch in expected["history"]]
    assert result["metrics"]["val_loss"] == pytest.approx(expected["metrics"]["val_loss"], rel=1e-3)
    assert result["steps"] == expected["steps"]


def test_pictures_that_one_worker_cannot_read_end_a_synchronous_job(tmp_path):
    data = training.write_pictures(tmp_path / "data", per_class=10)
    for path in sorted(data.rglob("*.png"))[::2]:
        path.write_bytes(path.read_bytes()[:60])
    command = ("image-classifier", f"--data={data}", *training.FLAGS, "--no-cache-images", "--epochs=40")
    roles, more = WAYS["synchronous parameter servers"]
    with distributed(tmp_path, roles, *command, **more) as run:
        assert run.codes()["chief"] == 1, run.lines
    (said,) = [line for line in run.said("cannot be read so far") if "fovea-train: " in line]
    assert re.search(r"fovea-train: worker \d: \d+ of \d+ pictures in ", said), run.lines
    assert not run.said("defect"), run.lines


@pytest.mark.wide
def test_a_run_that_was_frozen_and_stopped_ends_with_the_bytes_of_one_that_was_not(tmp_path, pictures):
    flags = ("--batch-size=5", "--epochs=4000", "--decay=0", "--checkpoint-every-steps=7")
    command = ("image-classifier", f"--data={pictures}", *training.FLAGS, *flags)
    calm, disturbed = tmp_path / "calm", tmp_path / "disturbed"
    with distributed(disturbed, PAIR, *command, **{environment.PEER_SECONDS: "8"}) as run:
        run.step(14)
        run.signal("worker 0", signal.SIGSTOP)
        assert run.named_and_ended("worker 0") == exit_codes.RESTART, run.lines
    frozen = training.checkpoints(disturbed)[-1]
    with distributed(disturbed, PAIR, *command) as run:
        run.step(frozen + 7)
        run.signal("worker 0", signal.SIGTERM)
        assert set(run.codes().values()) == {exit_codes.RESTART}, run.lines
    newest = training.checkpoints(disturbed)[-1]
    assert newest >= frozen + 7
    assert len(run.said(f"asked to stop; checkpoint {newest} is written")) == 2, "both at the same step"
    end = f"--max-steps={newest + 2 * STEPS}"  # known only now: both runs would have gone on for long
    for root in (disturbed, calm):
        with distributed(root, PAIR, *command, end) as run:
            assert set(run.codes().values()) == {exit_codes.OK}, run.lines
        assert not [line for line in run.lines if line.startswith("worker 0 | epoch")], "only the chief reports"
    assert training.trained_bytes(disturbed) == training.trained_bytes(calm)
    ours, theirs = training.evaluation(disturbed), training.evaluation(calm)
    assert json.dumps(ours["history"]) == json.dumps(theirs["history"])
