"""The SDK. Names are resolved on first use, so that importing it costs nothing."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .client import Client
    from .errors import (
        AlreadyExistsError,
        ConflictError,
        ForbiddenError,
        FoveaError,
        InvalidError,
        JobGoneError,
        NotFoundError,
        NotInstalledError,
        PredictionError,
        StoreError,
        UnreachableError,
        WaitTimeoutError,
    )
    from .images import Prediction
    from .job import Job
    from .live import JobProgress
    from .predictor import Predictor, predict

_HOMES = {
    "Client": "client",
    "Job": "job",
    "JobProgress": "live",
    "Prediction": "images",
    "Predictor": "predictor",
    "predict": "predictor",
}
_ERRORS = (
    "AlreadyExistsError",
    "ConflictError",
    "ForbiddenError",
    "FoveaError",
    "InvalidError",
    "JobGoneError",
    "NotFoundError",
    "NotInstalledError",
    "PredictionError",
    "StoreError",
    "UnreachableError",
    "WaitTimeoutError",
)

__all__ = [
    "AlreadyExistsError",
    "Client",
    "ConflictError",
    "ForbiddenError",
    "FoveaError",
    "InvalidError",
    "Job",
    "JobGoneError",
    "JobProgress",
    "NotFoundError",
    "NotInstalledError",
    "Prediction",
    "PredictionError",
    "Predictor",
    "StoreError",
    "UnreachableError",
    "WaitTimeoutError",
    "predict",
]


def __getattr__(name: str) -> Any:
    home = "errors" if name in _ERRORS else _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'fovea.sdk' has no attribute {name!r}")
    return getattr(import_module(f".{home}", __name__), name)
