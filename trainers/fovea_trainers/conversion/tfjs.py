"""Weights of TensorFlow.js: a manifest (JSON) that describes arrays, and files beside it with their bytes.

An array may be quantized: whole numbers of 8 or 16 bits, of which each stands for number × scale + min.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fovea_trainers.errors import WeightsError

Array = np.ndarray[Any, Any]
_DTYPES = {"float32": "<f4", "int32": "<i4", "uint8": "<u1", "bool": "?"}
_QUANTIZED = {"uint8": "<u1", "uint16": "<u2", "float16": "<f2"}


def read(manifest: Path) -> Mapping[str, Array]:
    """Arrays by their names, in the order of a manifest (`…-weights_manifest.json`, or a `model.json` that has one).

    Raises WeightsError for a file that is none, or whose arrays are incomplete; OSError.
    """
    try:
        document = json.loads(manifest.read_text(encoding="utf-8"))
        groups = document["weightsManifest"] if isinstance(document, dict) else document
        _require_once([path for group in groups for path in group["paths"]])
        return {name: array for group in groups for name, array in _arrays(manifest.parent, group)}
    except (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        reason = f"it has no {error}" if isinstance(error, KeyError) else str(error)
        raise WeightsError(
            f"{manifest} cannot be read as a manifest of TensorFlow.js: {reason}; give the JSON file that lies beside the "
            "files of weights"
        ) from error


def _require_once(paths: Sequence[str]) -> None:
    """A short manifest could fill the memory with one file."""
    if len(set(paths)) < len(paths):
        raise ValueError("it names a file of weights twice")


def _arrays(folder: Path, group: Mapping[str, Any]) -> Iterator[tuple[str, Array]]:
    content = b"".join(_shard(folder, name).read_bytes() for name in group["paths"])
    place = 0
    for entry in group["weights"]:
        name, shape, quantization = entry["name"], entry["shape"], entry.get("quantization")
        stored = np.dtype(_QUANTIZED[quantization["dtype"]] if quantization else _DTYPES[entry["dtype"]])
        end = place + math.prod(shape) * stored.itemsize
        if end > len(content):
            raise ValueError(f"the files of weights end within {name}")
        array = np.frombuffer(content[place:end], stored).reshape(shape)
        place = end
        yield name, _exact(array, quantization, _DTYPES[entry["dtype"]])
    if place != len(content):
        raise ValueError(f"the files of weights have {len(content)} bytes, and the arrays {place}")


def _exact(array: Array, quantization: Mapping[str, Any] | None, dtype: str) -> Array:
    if quantization is None or "scale" not in quantization:
        return array.astype(dtype)
    values = array * np.float64(quantization["scale"]) + quantization["min"]
    exact: Array = values if np.dtype(dtype).kind == "f" else np.round(values)
    return exact.astype(dtype)


def _shard(folder: Path, name: str) -> Path:
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"{name} is no file beside it")
    return path
