"""The Transformer of the captions: the article's sizes, its formulas by hand, and decoding against the slow way."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf
from fovea_trainers.captions import decoding
from fovea_trainers.captions.transformer import Decoder, Encoder, Sizes, angles, grid_angles
from fovea_trainers.captions.words import END, PAD, START
from fovea_trainers.recipes import caption_generator
from fovea_trainers.runtime import optimizers

ARTICLE = Sizes(width=512, heads=8, inner=2048, dropout=0.1)
SMALL = Sizes(width=16, heads=2, inner=32, dropout=0.5)
GRID, WORDS, LONGEST = (2, 3), 12, 9


@pytest.fixture(scope="module")
def decoder():
    """With random weights that say different things of different pictures, in captions of different lengths."""
    keras.utils.set_random_seed(2)
    made = Decoder(SMALL, 2, WORDS, LONGEST)
    for weight in made.trainable_variables:
        if weight.path.endswith("kernel") or weight.path.endswith("embeddings"):
            weight.assign(weight * 2.5)
    made.trainable_variables[-1].assign(2.0 * tf.one_hot(END, WORDS))
    return made


@pytest.fixture(scope="module")
def memory():
    return tf.random.stateless_normal([5, GRID[0] * GRID[1], SMALL.width], [3, 4])


def written(decoder, memory, beams=1, longest=LONGEST):
    return tf.function(lambda m: decoding.write(decoder, m, grid=GRID, longest=longest, beams=beams))(memory)


def test_sizes_are_those_of_the_article():
    """Attention 4 · (512² + 512), feed-forward 2 · 512 · 2048 + 2048 + 512, a norm 2 · 512."""
    attention, fed, norm = 4 * (512 * 512 + 512), 2 * 512 * 2048 + 2048 + 512, 2 * 512
    encoder, decoder = Encoder(ARTICLE, 4, (8, 8, 2048)), Decoder(ARTICLE, 4, 5000, 40)
    assert encoder.count_params() == 2048 * 512 + 512 + 4 * (attention + fed + 2 * norm) == 13_658_624
    words = 5000 * 512 + 512 * 5000 + 5000
    assert decoder.count_params() == words + 4 * (2 * attention + fed + 3 * norm) == 21_941_128
    memory = encoder(tf.zeros([2, 8, 8, 2048]))
    assert memory.shape == [2, 64, 512]
    assert decoder(tf.ones([2, 7], tf.int32), memory).shape == [2, 7, 5000]


def test_positions_are_sines_and_cosines_by_the_formula():
    found = angles(np.arange(50), 512)
    for position, pair in ((0, 0), (7, 0), (7, 100), (49, 255)):
        angle = position / 10000 ** (2 * pair / 512)
        assert found[position, 2 * pair] == pytest.approx(np.sin(angle), abs=1e-6)
        assert found[position, 2 * pair + 1] == pytest.approx(np.cos(angle), abs=1e-6)
    grid = grid_angles(8, 8, 512)
    assert grid.shape == (64, 512)
    assert np.array_equal(
        grid[8 * 5 + 2], np.concatenate([angles(np.array([5]), 256)[0], angles(np.array([2]), 256)[0]])
    )


def test_the_learning_rate_rises_and_falls_as_in_the_article():
    rate = optimizers.warm_up(512, 4000)
    for number in (1, 2, 1000, 4000, 16000):
        expected = 512**-0.5 * min(number**-0.5, number * 4000**-1.5)
        assert float(rate(tf.constant(number - 1, tf.int64))) == pytest.approx(expected, rel=1e-5)
    assert float(optimizers.warm_up(512, 4000, 2.0)(tf.constant(3999, tf.int64))) == pytest.approx(
        2 * 6.9877e-4, rel=1e-4
    )


def test_loss_and_accuracy_count_no_filling_words():
    random = np.random.default_rng(2)
    logits, words = random.normal(size=(3, 4, WORDS)).astype(np.float32), random.integers(4, WORDS, (3, 5))
    words[:, 0] = START
    words[1, 3:], words[2, 2:] = PAD, PAD
    losses, hits, counts = caption_generator.compared(tf.constant(logits), tf.constant(words, tf.int32))
    expected, right = [], 0
    for row, place in itertools.product(range(3), range(4)):
        if words[row, place + 1] != PAD:
            scores = np.exp(logits[row, place].astype(np.float64))
            expected.append(-np.log(scores[words[row, place + 1]] / scores.sum()))
            right += int(scores.argmax() == words[row, place + 1])
    assert float(tf.reduce_sum(counts)) == len(expected) == 4 + 2 + 1
    assert float(tf.reduce_sum(losses * counts)) == pytest.approx(sum(expected), rel=1e-6)
    assert float(tf.reduce_sum(hits * counts)) == right


def test_a_word_sees_those_before_it_alone_and_never_what_fills_a_batch_up(decoder, memory):
    words = np.random.default_rng(1).integers(4, WORDS, (5, 6)).astype(np.int32)
    whole = decoder(tf.constant(words), memory).numpy()
    changed = words.copy()
    changed[:, 4:] = 4
    assert np.abs(decoder(tf.constant(changed), memory).numpy() - whole)[:, :4].max() < 1e-5
    filled = np.concatenate([words, np.zeros((5, 3), np.int32)], axis=1)
    assert np.abs(decoder(tf.constant(filled), memory).numpy()[:, :6] - whole).max() < 1e-5


def test_what_is_kept_of_the_words_before_gives_the_logits_of_the_whole_caption(decoder, memory):
    """Step by step with keys and values that are kept, for two captions of each picture at once."""
    words = np.random.default_rng(4).integers(4, WORDS, (5, 2, LONGEST)).astype(np.int32)
    flat = decoder(tf.constant(words.reshape(10, LONGEST)), tf.repeat(memory, 2, axis=0)).numpy()
    whole = flat.reshape(5, 2, LONGEST, WORDS)
    kept, seen = decoder.begin(10), decoder.look(memory)
    for place in range(LONGEST):
        logits, kept, looked = decoder.step(tf.constant(words[:, :, place]), tf.constant(place), kept, seen)
        assert np.abs(logits.numpy() - whole[:, :, place]).max() < 1e-4, place
        assert np.allclose(tf.reduce_sum(looked, axis=2), 1, atol=1e-5)


def slowly(decoder, memory, longest=LONGEST):
    """The most probable word after the whole caption so far, computed from its beginning each time; and its probability."""
    words, scores = [START], []
    while len(scores) < longest and words[-1] != END:
        chances = tf.nn.softmax(decoder(tf.constant([words]), memory)[0, -1]).numpy()
        allowed = np.where(np.isin(np.arange(WORDS), decoding.FORBIDDEN), -1, chances)
        words.append(int(allowed.argmax()))
        scores.append(float(chances[words[-1]]))
    return words[1:], scores


def test_one_beam_writes_what_the_slow_way_writes_word_by_word(decoder, memory):
    found = written(decoder, memory)
    lengths = set()
    for row in range(5):
        words, scores = slowly(decoder, memory[row : row + 1])
        filling = [PAD] * (LONGEST - len(words))
        assert found.words[row].numpy().tolist() == words + filling
        assert found.scores[row].numpy() == pytest.approx(scores + filling, abs=1e-5)
        assert found.attention[row].shape == [LONGEST, *GRID]
        assert tf.reduce_sum(found.attention[row], axis=[1, 2]).numpy() == pytest.approx(
            [1] * len(words) + filling, abs=1e-5
        )
        lengths.add(len(words))
    assert len(lengths) > 1, "captions of one length would not show what comes behind <end>"


def means(decoder, memory, captions):
    """The mean logarithm of the probabilities of the words of each caption, END among them."""
    words = keras.utils.pad_sequences([[START, *caption] for caption in captions], padding="post", value=PAD)
    logits = decoder(tf.constant(words[:, :-1]), tf.repeat(memory, len(captions), axis=0))
    chances = tf.gather(tf.nn.log_softmax(logits), words[:, 1:], axis=2, batch_dims=2).numpy()
    spoken = words[:, 1:] != PAD
    return (chances * spoken).sum(axis=1) / spoken.sum(axis=1)


def test_enough_beams_find_the_best_of_all_captions(decoder, memory):
    longest, spoken = 3, [END, *range(4, WORDS)]
    endings = [(END,), *itertools.product(spoken[1:], [END]), *itertools.product(spoken[1:], spoken[1:], spoken)]
    found = written(decoder, memory, beams=len(spoken) ** 2, longest=longest)
    best = [endings[means(decoder, memory[row : row + 1], endings).argmax()] for row in range(5)]
    assert [tuple(word for word in row.tolist() if word != PAD) for row in found.words.numpy()] == best
    assert len(set(best)) > 1


def test_three_beams_score_no_worse_than_one(decoder, memory):
    greedy, beam = (
        [np.log(row[row > 0]).mean() for row in written(decoder, memory, beams=beams).scores.numpy()]
        for beams in (1, 3)
    )
    assert np.mean(beam) > np.mean(greedy)


def test_a_caption_depends_on_its_picture_alone(decoder, memory):
    for beams in (1, 3):
        together = written(decoder, memory, beams=beams)
        for row in range(5):
            alone = written(decoder, memory[row : row + 1], beams=beams)
            assert np.array_equal(alone.words[0], together.words[row])
            assert np.abs(alone.scores[0] - together.scores[row]).max() < 1e-5
