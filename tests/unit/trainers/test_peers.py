"""What the processes of a distributed job notice of each other, without TensorFlow's part in it."""

import socket
from contextlib import closing

import pytest
from fovea_trainers.errors import PeerLost
from fovea_trainers.runtime import lifeline as lifelines
from fovea_trainers.runtime import watchdog
from fovea_trainers.runtime.lifeline import GONE_SECONDS, Lifeline, Sign, look
from fovea_trainers.runtime.placement import io_device
from support.polling import until


class Clock:
    """A time that only tests move."""

    now = 0.0

    def __call__(self):
        return self.now


def listening():
    server = socket.create_server(("127.0.0.1", 0))
    return server, f"127.0.0.1:{server.getsockname()[1]}"


def test_a_chief_that_was_never_there_is_waited_for_and_one_that_has_gone_is_lost():
    clock = Clock()
    server = socket.socket()  # bound, not listening: refuses, and nobody else takes the port
    server.bind(("127.0.0.1", 0))
    address = f"127.0.0.1:{server.getsockname()[1]}"
    assert look(address) is Sign.REFUSES
    lifeline = Lifeline(address, clock=clock)
    clock.now = 1000.0
    assert not lifeline.lost(), "it has not begun"
    server.listen()
    assert not lifeline.lost()
    server.close()
    lifeline.lost()
    clock.now += GONE_SECONDS + 1
    assert lifeline.lost()


def test_a_chief_that_only_hangs_up_is_there():
    clock = Clock()
    server, address = listening()
    with closing(server):
        lifeline = Lifeline(address, clock=clock)
        for _ in range(3):
            assert not lifeline.lost()
            accepted, _ = server.accept()
            accepted.close()
            clock.now += GONE_SECONDS + 1


def test_a_chief_that_answers_and_asks_nothing_any_more_is_that_of_another_attempt(monkeypatch):
    clock, sign = Clock(), [Sign.ANSWERS]
    monkeypatch.setattr(lifelines, "look", lambda _: sign[0])
    lifeline = Lifeline("127.0.0.1:1", 10.0, clock)

    def after(seconds):
        """What is said at the end, with a look each second."""
        found = []
        for _ in range(seconds):
            clock.now += 1
            found.append(lifeline.replaced())
        return found[-1]

    assert not after(100), "no chief has come yet"
    lifeline.asked()
    assert not after(10)
    lifeline.asked()
    sign[0] = Sign.SILENT
    assert not after(20), "it is frozen"
    sign[0] = Sign.ANSWERS
    assert after(1)
    clock.now += 1000
    assert not after(1), "this process was frozen itself"
    assert after(11)


def test_a_process_that_takes_a_connection_and_says_nothing_is_silent(monkeypatch):
    monkeypatch.setattr(lifelines, "_CONNECT_SECONDS", 0.1)
    server, address = listening()
    with closing(server):
        assert look(address) is Sign.SILENT


class Peers:
    """Two workers with signs that a test gives them, and the watchdog that looks at them."""

    def __init__(self, monkeypatch, *signs, patient=True, **more):
        monkeypatch.setattr(watchdog, "BEAT_SECONDS", 0.005)
        self.clock, self.ended = Clock(), []
        named = dict(zip(("worker 0", "worker 1"), signs, strict=True))
        self.dog = watchdog.Watchdog(
            {name: name for name in named},
            60,
            patient=patient,
            clock=self.clock,
            look=named.get,
            end=self.ended.append,
            **more,
        )
        until(lambda: {name: sign for name, (sign, _) in self.dog._signs.items()} == named, what="a look", every=0.005)
        self.dog.check()
        self.clock.now = 61.0


def test_a_silent_worker_is_named_and_the_process_ends_if_nobody_looks(monkeypatch):
    peers = Peers(monkeypatch, Sign.ANSWERS, Sign.SILENT)
    with pytest.raises(PeerLost, match=r"^worker 1 has not answered for 60 s: frozen, or its machine is gone"):
        peers.dog.check()
    peers.clock.now = 64.0
    until(lambda: peers.ended, what="the end", every=0.005)


def test_where_all_wait_in_tensorflow_one_that_has_ended_ends_the_process(monkeypatch):
    peers = Peers(monkeypatch, Sign.ANSWERS, Sign.REFUSES, patient=False, guards_ends=True)
    peers.clock.now = 64.0
    until(lambda: peers.ended, what="the end", every=0.005)
    assert peers.ended[0].startswith("worker 1 has ended and was not back within 60 s")


@pytest.mark.parametrize(
    ("signs", "patient", "lost"),
    [
        ((Sign.ANSWERS, Sign.REFUSES), True, None),
        ((Sign.REFUSES, Sign.REFUSES), True, "worker 0 and worker 1"),
        ((Sign.ANSWERS, Sign.REFUSES), False, "worker 1"),
    ],
    ids=["one is left", "none is left", "each is needed"],
)
def test_a_worker_that_has_ended_is_missed_only_where_it_is_needed(monkeypatch, signs, patient, lost):
    peers = Peers(monkeypatch, *signs, patient=patient)
    if lost is None:
        peers.dog.check()
    else:
        with pytest.raises(PeerLost, match=f"^{lost} has ended and was not back within 60 s"):
            peers.dog.check()
    assert not peers.ended


class Placed:
    def __init__(self, device):
        self.device = device


@pytest.mark.parametrize(
    ("devices", "expected"),
    [
        (["/job:ps/replica:0/task:0/device:CPU:0"], "/job:chief/replica:0/task:0"),
        (["/job:localhost/replica:0/task:0/device:CPU:0"], None),
        ([], None),
    ],
)
def test_files_of_variables_on_servers_are_the_chief_s(devices, expected):
    assert io_device([*map(Placed, devices), object()]) == expected
