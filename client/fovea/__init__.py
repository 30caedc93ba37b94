"""Fovea's Python SDK: `fovea.Client` for jobs, models and data, `fovea.predict` and `fovea.Predictor` to classify."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .sdk import Client, FoveaError, Predictor, predict

__all__ = ["Client", "FoveaError", "Predictor", "predict"]


def __getattr__(name: str) -> Any:
    # Resolved on first use: `import fovea` and `fovea --help` must not pay for pydantic, kubernetes, grpc and minio.
    if name in __all__:
        from . import sdk

        return getattr(sdk, name)
    raise AttributeError(f"module 'fovea' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
