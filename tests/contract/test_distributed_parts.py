"""Parts of distributed training, each without the other processes."""

import threading

import numpy as np
import pytest
import tensorflow as tf
from fovea_trainers.data import order
from fovea_trainers.errors import DataError, TrainerError
from fovea_trainers.runtime import remote, server, synchronous
from fovea_trainers.runtime.strategy import Shard


def test_sums_wait_for_every_part_and_add_one_that_comes_twice_once():
    sums, answers = server.Sums(), {}

    def give(part, value):
        answers[part] = sums.add(np.array([1, 1, part]), np.int64(2), np.array([value]))[0]

    first = threading.Thread(target=give, args=(0, 10.0))
    again = threading.Thread(target=give, args=(0, 10.0))
    for thread in (first, again):
        thread.start()
    assert not answers
    give(1, 5.0)
    for thread in (first, again):
        thread.join(timeout=30)
    assert answers == {0: [15.0], 1: [15.0]}


def test_sums_whose_part_has_failed_fail_for_those_that_wait():
    sums, failed = server.Sums(), []

    def give():
        try:
            sums.add(np.array([1, 1, 0]), np.int64(2), np.array([1.0]))
        except TrainerError as error:
            failed.append(str(error))

    waits = threading.Thread(target=give, daemon=True)
    waits.start()
    sums.give_up()
    waits.join(timeout=60)
    assert failed == ["step 1: another worker's part has failed"]


def test_what_a_process_refuses_reaches_its_caller_as_an_error_without_a_trace():
    def refuse():
        with remote.refusing("worker 1"):
            raise DataError('13 of 24 pictures in "/data/]" cannot be read so far')

    remote.offer("refuse", refuse)

    @tf.function
    def asked():
        return remote.call("refuse", [], [tf.bool])

    with pytest.raises(tf.errors.OpError) as raised:
        asked()
    found = remote.refusal(raised.value)
    assert (str(found), found.exit_code) == ('worker 1: 13 of 24 pictures in "/data/]" cannot be read so far', 1)
    assert remote.refusal(ValueError("of a recipe's own")) is None


def test_a_synchronous_update_gets_sums_of_every_shape(monkeypatch):
    monkeypatch.setattr(synchronous, "_MEETING", "CPU:0")
    remote.offer(server.SUM, server.Sums().add)
    meeting = synchronous._Meeting(1)
    people = tf.constant([1.0, 0.0, 2.0])

    @tf.function
    def summed():
        return meeting.begin(tf.constant(1, tf.int64), tf.constant(0, tf.int64)).sums([people, tf.constant(4)])

    counts, number = summed()
    assert counts.numpy().tolist() == [1.0, 0.0, 2.0]
    assert (number.numpy(), number.dtype) == (4, tf.int32)


def test_shards_of_a_batch_are_the_batch_and_numbers_step_over_batches():
    def of(shard, first=0):
        return order.batches(17, 5, seed=1, epoch=2, first=first, shard=shard)

    whole = of(Shard())
    parts = [of(Shard(index=index, count=3)) for index in range(3)]
    for number, batch in enumerate(whole):
        assert sorted(np.concatenate([part[number] for part in parts])) == sorted(batch)
    assert [len(part[-1]) for part in parts] == [1, 1, 0], "17 rows: the last batch has 2"
    assert np.array_equal(np.concatenate(of(Shard(every=2), first=1)), np.concatenate(whole[1::2]))


def test_a_worker_reads_on_as_long_as_it_gets_the_batches_that_it_expects():
    opened = []

    def dataset(epoch, first, shard):
        opened.append((epoch, first, shard))
        for number in range(first, 6, shard.every):
            yield (tf.constant([[float(number)]] * (number + 1)),)

    batches = server._Batches(dataset, set(), 2)
    taken = [batches.take(0, number, -1) for number in (0, 2, 5)]
    assert [values[0][0, 0] for values in taken] == [0, 2, 5]
    assert [values[1].tolist() for values in taken] == [[1.0], [1.0] * 3, [1.0] * 6]
    assert opened == [(0, 0, Shard(every=2)), (0, 5, Shard(every=2))]
    with pytest.raises(TrainerError, match="epoch 1 has no batch 7, but steps_per_epoch is more"):
        batches.take(0, 6, -1)


def test_what_a_worker_finds_unreadable_is_said_once():
    found = set()

    def dataset(epoch, first, shard):
        for number in range(first, 4):
            found.add(number)
            yield (tf.zeros([1, 1]),)

    batches = server._Batches(dataset, found, 1)
    assert [batches.take(0, number, -1)[-1].tolist() for number in (0, 1)] == [[0], [1]]
