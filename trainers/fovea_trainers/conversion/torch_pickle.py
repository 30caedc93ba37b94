"""Files of `torch.save(model.state_dict())`, as numpy arrays by name, without PyTorch.

Two layouts: a ZIP (since PyTorch 1.6), and before it pickles one after the other, with the tensors' bytes behind them. A
pickle can name any function to be called when it is read; here it can name nothing but what a state_dict consists of.
"""

import math
import os
import pickle
import struct
import zipfile
import zlib
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from fovea_trainers.errors import WeightsError

Array = np.ndarray[Any, Any]
_ZIP, _MAGIC = b"PK\x03\x04", 0x1950A86A20F9469CFC6C
_LEGACY = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
_PROTOCOL = 1001
_DTYPES = {
    "BoolStorage": "?",
    "ByteStorage": "<u1",
    "CharStorage": "<i1",
    "DoubleStorage": "<f8",
    "FloatStorage": "<f4",
    "HalfStorage": "<f2",
    "IntStorage": "<i4",
    "LongStorage": "<i8",
    "ShortStorage": "<i2",
}


_DAMAGED = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    MemoryError,
    RuntimeError,
    struct.error,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)
"""What pickle, zipfile and numpy say of a file that is damaged, or made to do damage."""


def read(path: Path) -> Mapping[str, Array]:
    """Tensors by their names, in the file's order. Raises WeightsError for a file that is no state_dict; OSError."""
    with path.open("rb") as file:
        start = file.read(len(_LEGACY))
        file.seek(0)
        try:
            if start.startswith(_ZIP):
                content, storages = _of_zip(file)
            elif start == _LEGACY:
                content, storages = _legacy(file)
            else:
                raise WeightsError(f"{path} is no file of PyTorch: it begins with {start[:8]!r}")
            return {name: tensor.array(storages) for name, tensor in _tensors(content)}
        except _DAMAGED as error:
            reason = f"it has no {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
            raise WeightsError(
                f"{path} cannot be read as a state_dict of PyTorch: {reason}; save model.state_dict() alone, or fetch the "
                "file again"
            ) from error


@dataclass(frozen=True)
class _Storage:
    """Numbers in a row, which one or several tensors show."""

    dtype: str
    key: str
    size: int


@dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: Sequence[int]
    strides: Sequence[int]

    def array(self, storages: Mapping[str, bytes]) -> Array:
        """Its numbers within the storage. Raises ValueError for one that reaches beyond it, or shows its numbers several times."""
        row = np.frombuffer(storages[self.storage.key], self.storage.dtype)
        if len(self.shape) != len(self.strides) or min([self.offset, *self.shape, *self.strides]) < 0:
            raise ValueError(f"a tensor of shape {self.shape} has strides {self.strides} and offset {self.offset}")
        if 0 in self.shape:
            return np.zeros(self.shape, self.storage.dtype)
        last = self.offset + sum((n - 1) * stride for n, stride in zip(self.shape, self.strides, strict=True))
        if last >= row.size:
            raise ValueError(f"a tensor of shape {self.shape} reaches beyond its {row.size} numbers")
        if math.prod(self.shape) > row.size:  # strides of 0 would make any number of them of one
            raise ValueError(f"a tensor of shape {self.shape} has only {row.size} numbers")
        width = row.itemsize
        strides = [stride * width for stride in self.strides]
        return np.lib.stride_tricks.as_strided(row[self.offset :], self.shape, strides, writeable=False)


class _Unpickler(pickle._Unpickler):  # noqa: SLF001 - the public name is that in C
    """Makes tensors that know where their numbers are, and refuses every name that a state_dict does not need.

    It is the one in Python: that in C takes as much memory as the largest number of a memo says, up to 64 GiB.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return lambda storage, offset, shape, strides, *_: _Tensor(storage, offset, tuple(shape), tuple(strides))
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return lambda tensor, *_: tensor
        if module == "torch" and name in _DTYPES:
            return _Type(_DTYPES[name])
        raise pickle.UnpicklingError(f"it holds {module}.{name}, and not tensors alone")

    def persistent_load(self, identifier: Any) -> _Storage:
        kind, of_type, key, _place, size, *view = identifier
        if kind != "storage" or not isinstance(of_type, _Type) or any(view):
            raise pickle.UnpicklingError(f"it holds a storage of an unknown kind: {kind}")
        return _Storage(of_type.dtype, str(key), int(size))


@dataclass(frozen=True)
class _Type:
    dtype: str


def _legacy(file: BinaryIO) -> tuple[Any, Mapping[str, bytes]]:
    if _Unpickler(file).load() != _MAGIC or _Unpickler(file).load() != _PROTOCOL:
        raise ValueError(f"its protocol is not {_PROTOCOL}")
    if not _Unpickler(file).load()["little_endian"]:
        raise ValueError("it was written by a big-endian machine")
    content = _Unpickler(file).load()
    widths = {each.storage.key: np.dtype(each.storage.dtype).itemsize for _, each in _tensors(content)}
    storages = {}
    for key in _Unpickler(file).load():
        (size,) = struct.unpack("<q", _exactly(file, 8))
        storages[str(key)] = _exactly(file, size * widths[str(key)])
    return content, storages


def _of_zip(file: BinaryIO) -> tuple[Any, Mapping[str, bytes]]:
    with zipfile.ZipFile(file) as archive:
        if sum(member.file_size for member in archive.infolist()) > os.fstat(file.fileno()).st_size:
            raise ValueError("its members are compressed, which those of PyTorch are not")
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("it is a ZIP file without a data.pkl")
        folder = pickles[0].removesuffix("data.pkl")
        if f"{folder}byteorder" in archive.namelist() and archive.read(f"{folder}byteorder") != b"little":
            raise ValueError("it was written by a big-endian machine")
        with archive.open(pickles[0]) as member:
            content = _Unpickler(member).load()
        keys = {each.storage.key for _, each in _tensors(content)}
        return content, {key: archive.read(f"{folder}data/{key}") for key in keys}


def _tensors(content: Any) -> list[tuple[str, _Tensor]]:
    if not isinstance(content, dict) or not content:
        raise ValueError(f"it holds a {type(content).__name__}, and no tensors by name")
    for name, each in content.items():
        if not isinstance(name, str) or not isinstance(each, _Tensor):
            raise ValueError(f"{name!r} is no tensor")
    return list(content.items())


def _exactly(file: BinaryIO, size: int) -> bytes:
    there = os.fstat(file.fileno()).st_size - file.tell()
    if not 0 <= size <= there:  # before any memory is taken for it
        raise ValueError(f"it is cut off: {size} bytes are wanted, and {there} are there")
    return file.read(size)
