"""How others ask for a caption: the signatures of an exported model."""

from collections.abc import Callable, Mapping

import tensorflow as tf
from fovea_api.contract import signatures

from fovea_trainers.captions.decoding import Writer, Written
from fovea_trainers.captions.words import END, PAD, Vocabulary
from fovea_trainers.runtime.export import Signature
from fovea_trainers.vision.images import decode, fit_size

OUTPUTS = (signatures.CAPTION_OUTPUT, signatures.WORDS_OUTPUT, signatures.WORD_SCORES_OUTPUT)


def signature(
    writer: Writer, see: Callable[[tf.Tensor], tf.Tensor], vocabulary: Vocabulary, size: int, *, exif_orientation: bool
) -> Signature:
    """Encoded files to the outputs of `fovea_api.contract.signatures` for captions.

    `see` turns images float32 [n, size, size, 3] in 0..255 into what the writer wants.
    """

    def serve(image: tf.Tensor) -> Mapping[str, tf.Tensor]:
        def picture(file: tf.Tensor) -> tf.Tensor:
            return fit_size(decode(file, exif_orientation=exif_orientation), size)

        images = tf.map_fn(picture, image, fn_output_signature=tf.TensorSpec([size, size, 3], tf.float32))
        return answer(writer(see(images)), vocabulary)

    return Signature(
        inputs=[tf.TensorSpec([None], tf.string, name=signatures.IMAGE_INPUT)],
        function=serve,
        example=[tf.io.encode_png(tf.fill([size, size, 3], tf.constant(128, tf.uint8)))[tf.newaxis]],
        row_wise=OUTPUTS,
    )


def answer(written: Written, vocabulary: Vocabulary) -> Mapping[str, tf.Tensor]:
    """The outputs of `fovea_api.contract.signatures` for captions."""
    names = tf.constant(["", *vocabulary.words[1:]])  # PAD is no word
    spoken = tf.where(written.words == END, PAD, written.words)
    return {
        signatures.CAPTION_OUTPUT: tf.strings.strip(
            tf.strings.reduce_join(tf.gather(names, spoken), axis=1, separator=" ")
        ),
        signatures.WORDS_OUTPUT: tf.gather(names, written.words),
        signatures.WORD_SCORES_OUTPUT: written.scores,
    }
