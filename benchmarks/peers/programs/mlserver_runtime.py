"""MLServer's side: an inference runtime of our own, as its documentation has it for frameworks it brings none for.

`mlserver start FOLDER` loads it, in MLServer's own environment, as the settings in that folder say.
"""

from typing import Any

import numpy as np
import tensorflow as tf
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Classifier(MLModel):
    """The SavedModel at the settings' `uri`, by the signature that they name."""

    async def load(self) -> bool:
        extra = self.settings.parameters.extra
        self._run = tf.saved_model.load(self.settings.parameters.uri).signatures[extra["signature"]]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        (given,) = payload.inputs
        found = self._run(**{given.name: tf.constant(self._values(given))})
        labels = [label.decode() for label in found["label"].numpy()]
        outputs = [
            NumpyCodec.encode_output("scores", found["scores"].numpy()),
            StringCodec.encode_output("label", labels),
        ]
        return InferenceResponse(model_name=self.name, outputs=outputs)

    def _values(self, given: Any) -> Any:
        return list(given.data) if given.datatype == "BYTES" else NumpyCodec.decode_input(given).astype(np.float32)
