"""Names that health checks (grpc.health.v1) ask for."""

from __future__ import annotations

from typing import Final

from fovea_wire.methods import MODEL_SERVICE, PREDICTION_SERVICE

NAMES: Final = ("", "ModelService", "PredictionService", MODEL_SERVICE, PREDICTION_SERVICE)
"""The server itself, TensorFlow Serving's short names, and the services' full ones."""
