"""Peers of the model server: what is counted as a server's, what is sent to it, what the tables say."""

import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from peers import asked, fovea, mlserver, table, turns
from peers.known import SERVERS
from peers.server import Place
from served import load, processes
from served.ceiling import Limit

LEAVES_A_CHILD = (
    "import subprocess, sys, time;"
    "subprocess.run([sys.executable, '-c', '''import os, time\n"
    "if os.fork() == 0:\n"
    "    os.setsid()\n"
    '    open("left", "w").write(str(os.getpid()))\n'
    "    time.sleep(600)''']);"
    "time.sleep(600)"
)


def test_a_helper_that_cuts_itself_loose_is_counted_and_ended_with_its_server(tmp_path):
    words = [sys.executable, "-c", LEAVES_A_CHILD]
    with processes.running(words, {}, tmp_path / "log", tmp_path) as process:
        left = tmp_path / "left"
        deadline = time.monotonic() + 60
        while not (left.exists() and left.read_text()):
            assert time.monotonic() < deadline, (tmp_path / "log").read_text()
            time.sleep(0.05)
        helper = int(left.read_text())
        assert {process.pid, helper} <= set(processes.family(process.pid))
        assert processes.spent(process.pid) > 0
    assert helper not in processes.family(helper) or processes._fields(helper)[0] in "ZX"


def test_the_time_of_a_child_that_has_ended_stays_counted(tmp_path):
    busy = "import time; end = time.process_time() + 0.3\nwhile time.process_time() < end: pass"
    code = f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', '''{busy}''']); print(1, flush=True); time.sleep(600)"
    log = tmp_path / "log"
    with processes.running([sys.executable, "-c", code], {}, log, tmp_path) as process:
        deadline = time.monotonic() + 60
        while not log.read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert processes.spent(process.pid) >= 0.3


def test_answers_over_http_may_differ_in_length_but_not_in_status():
    said = (
        "finished in 5.02s, 199.40 req/s, 28.51KB/s\n"
        "requests: 997 total, 1000 started, 997 done, 997 succeeded, 0 failed, 0 errored, 0 timeout\n"
        "status codes: 997 2xx, 0 3xx, 0 4xx, 0 5xx\n"
        "traffic: 143.12KB (146552) total, 4.20KB (4300) headers (space savings 0.00%), 91.15KB (93301) data\n"
    )
    assert load._read(said, [1.0], None, used=0.5).own_ms == pytest.approx(0.5)
    with pytest.raises(load.LoadFailed, match="not every answer was the right one"):
        load._read(said.replace("997 2xx, 0 3xx, 0 4xx, 0 5xx", "990 2xx, 0 3xx, 0 4xx, 7 5xx"), [1.0], None)


@pytest.fixture
def inputs():
    return asked.Inputs(b"a picture" * 30, np.arange(224 * 224 * 3, dtype="float32").reshape(224, 224, 3))


@pytest.mark.parametrize("name", SERVERS)
def test_every_server_is_asked_for_both_kinds_of_input(name, inputs, tmp_path):
    place = Place(tmp_path / "bin" / "python", tmp_path / "cnn3" / "1", tmp_path, [1, 2, 3])
    assert set(SERVERS[name].ways) == {asked.JPEG, asked.PIXELS}
    for ways in SERVERS[name].ways.values():
        for way in ways.values():
            call = way.call(place, inputs)
            assert call.url.startswith("http://127.0.0.1:")
            assert call.body


def test_a_request_in_the_open_inference_protocol_can_be_read_again(inputs, tmp_path):
    place = Place(tmp_path / "bin" / "python", tmp_path / "cnn3" / "1", tmp_path, [1, 2, 3])
    call = SERVERS["mlserver"].ways[asked.PIXELS]["gRPC"].call(place, inputs)
    found = dict(mlserver.fields(call.body[load.FRAME_HEAD :]))
    assert found[mlserver.MODEL_NAME] == b"pixels"
    assert found[mlserver.RAW_INPUTS] == inputs.pixels.tobytes()
    tensor = dict(mlserver.fields(found[mlserver.INPUTS]))
    assert tensor == {1: b"pixels", 2: b"FP32", 3: b"\x01\xe0\x01\xe0\x01\x03"}


def test_fovea_s_scores_are_read_from_its_answer():
    from fovea_wire import predict_pb2, tensors

    answer = predict_pb2.PredictResponse(outputs={"scores": tensors.encode(np.array([[0.25, 0.75]], "float32"))})
    assert fovea.grpc_scores(answer.SerializeToString()) == [0.25, 0.75]


@pytest.mark.parametrize("scores", [[0.5], [0.5, 0.4], [0.5, float("nan")]])
def test_other_scores_than_the_model_s_are_refused(scores):
    asked.checked([0.5, 0.5001], [0.5, 0.5])
    with pytest.raises(asked.WrongAnswer):
        asked.checked(scores, [0.5, 0.5])


def test_a_row_has_the_medians_of_the_rounds_and_what_could_not_be_measured_is_a_line(capsys):
    found = turns.Found(failures={"LitServe": "not installed: no\nnetwork"})
    for rate, ceiling in ((100.0, 200.0), (120.0, 150.0), (90.0, 100.0)):
        limit = Limit(ceiling, 6.0)
        cell = turns.Cell(load.Load(rate, 10.0, 20.0, 500, 0.25), limit, 9.0)
        found.cells.setdefault(turns.Key("BentoML, HTTP", asked.JPEG, 8), []).append(cell)
        found.limits.setdefault((asked.JPEG, 8), []).append(limit)
    table.report(found, [SimpleNamespace(name="LitServe", says="batches")], [], [8])
    said = capsys.readouterr().out
    assert "| 8 | BentoML, HTTP | 100.0 | 10.0/20.0 | 80% | 9.00 | 3.00 | 0.25 |" in said
    assert "| 8 | the ceiling: in one process | 150.0 | – | 100% | 6.00 | – | – |" in said
    assert "| LitServe | – | – | batches |" in said
    assert "- LitServe: not installed: no network" in said


def test_no_round_begins_with_the_same_turn(monkeypatch):
    order = []
    names = [SimpleNamespace(name=name, peer=None, package=None) for name in ("one", "two", "three")]
    monkeypatch.setattr(turns.model, "save_cnn3", lambda *_, **__: None)
    monkeypatch.setattr(turns, "in_process", lambda _: {kind: lambda _: [[0]] for kind in asked.SIGNATURES})
    monkeypatch.setattr(turns.environment, "version", lambda *_: "1")
    monkeypatch.setattr(turns.Turns, "_server", lambda _, server, __: order.append(server.name))
    monkeypatch.setattr(turns.Inputs, "made", lambda: asked.Inputs(b"", np.zeros((1, 1, 3), "float32")))
    turns.Turns(turns.Plan(names, [], [1], rounds=3, seconds=1), turns.Path("nowhere")).run()
    assert order == ["one", "two", "three", "two", "three", "one", "three", "one", "two"]


def test_a_peer_that_cannot_be_installed_says_so(monkeypatch):
    monkeypatch.setattr(turns.model, "save_cnn3", lambda *_, **__: None)
    monkeypatch.setattr(turns, "in_process", lambda _: {kind: lambda _: [[0]] for kind in asked.SIGNATURES})

    def refused(_: str) -> None:
        raise turns.environment.NotInstalled("not installed: no network")

    monkeypatch.setattr(turns.environment, "python_of", refused)
    monkeypatch.setattr(turns.Inputs, "made", lambda: asked.Inputs(b"", np.zeros((1, 1, 3), "float32")))
    plan = turns.Plan([SERVERS["mlserver"]], [], [1], rounds=1, seconds=1)
    found = turns.Turns(plan, turns.Path("nowhere")).run()
    assert found.failures == {"MLServer": "not installed: no network"}


def test_a_program_that_can_t_be_started_does_not_hang(tmp_path):
    with processes.running(["no-such-program"], {}, tmp_path / "log", tmp_path) as process:
        assert process.wait(60) != 0


def test_the_rate_of_a_number_of_requests_leaves_out_the_end_when_callers_have_none_left(monkeypatch):
    said = (
        "finished in 900.00ms, 4.44 req/s, 28.51KB/s\n"
        "requests: 4 total, 4 started, 4 done, 4 succeeded, 0 failed, 0 errored, 0 timeout\n"
        "status codes: 4 2xx, 0 3xx, 0 4xx, 0 5xx\n"
        "traffic: 614B (614) total, 84B (84) headers (space savings 65.43%), 276B (276) data\n"
    )
    rows = [(1_000_000, 100_000), (1_000_000, 200_000), (1_100_000, 250_000), (1_200_000, 700_000)]
    monkeypatch.setattr(load, "_h2load", lambda *_: (said, rows, 0.4))
    found = load.send_number(load.Call("http://nowhere", b"", ()), 2, 4)
    assert found.rate == pytest.approx(10.0)
    assert found.own_ms == pytest.approx(100.0)
