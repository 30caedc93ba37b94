"""Lines that TensorFlow and its libraries print by themselves and that tell a user nothing: kept out of the log.

They come from C++ code, straight to file descriptor 2, so that is where they are taken out: by their exact words.
Every other line passes, warnings and errors included. What Python prints does not take this way.
"""

import io
import os
import re
import sys
import threading
from typing import Self, TextIO

_PREFIX = rb"(?:[IWEF]\d{4} [\d:.]+ +\d+ |\d{4}-\d\d-\d\d [\d:.]+: [IWEF] )?\S*"
NOISE = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog\(\)"
    rb"|To enable the following instructions: "
    rb"|" + _PREFIX + rb"(?:cpu_feature_guard|port)\.cc:\d+\] "
    rb"(?:This TensorFlow binary is optimized|oneDNN custom operations are on)"
    rb"|" + _PREFIX + rb"cuda_(?:fft|dnn|blas)\.cc:\d+\] Unable to register cu\w+ factory"
    rb"|" + _PREFIX + rb"computation_placer\.cc:\d+\] computation placer already registered"
    rb"|" + _PREFIX + rb"cuda_executor\.cc:\d+\] failed call to cuInit|" + _PREFIX + rb"cuda_diagnostics\.cc:\d+\] "
    rb"|" + _PREFIX + rb"local_rendezvous\.cc:\d+\] Local rendezvous is aborting with status: "
    rb"(?:INVALID_ARGUMENT|OUT_OF_RANGE)|\s+\[\[\{\{"
    rb"|" + _PREFIX + rb"op_kernel\.cc:\d+\] OP_REQUIRES failed at decode_\w+\.cc:\d+ : INVALID_ARGUMENT"
    rb"|" + _PREFIX + rb"jpeg_mem\.cc:\d+\] "
    # libjpeg and libpng: a picture that cannot be read is named by us, with its file.
    rb"|Improper call to JPEG library in state "
    rb"|Corrupt JPEG data: |Premature end of JPEG file|Not a JPEG file: |Unsupported marker type 0x"
    rb"|Unsupported JPEG process: |Invalid (?:JPEG file structure|SOS parameters|progressive parameters|crop request)"
    rb"|Bogus (?:Huffman table|marker length|DQT|DHT|DAC|sampling|virtual)|Inconsistent progression sequence"
    rb"|Warning: unknown JFIF revision number|(?:Huffman|Quantization|Arithmetic) table 0x\w+ was not defined"
    rb"|Empty (?:JPEG|input) |Empty input file|JPEG datastream contains no image"
    rb"|libpng (?:error|warning): "
)
_LONGEST = 1 << 16
"""A line is never held back for more than this, in bytes."""


class Quiet:
    """Context manager: while it is open, descriptor 2 passes all lines but NOISE on to where it led before."""

    def __enter__(self) -> Self:
        self._outside = os.dup(2)
        self._python: TextIO | None = None
        if _is_descriptor_2(sys.stderr):  # Python's own lines and a terminal's bar go straight there
            self._python = sys.stderr
            sys.stderr = open(
                self._outside, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False
            )
        receiving, sending = os.pipe()
        os.dup2(sending, 2)
        os.close(sending)
        self._thread = threading.Thread(target=_pass_on, args=(receiving, self._outside), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._python is not None:
            sys.stderr.flush()
            sys.stderr = self._python
        os.dup2(self._outside, 2)  # the pipe's only sender is gone; what is left in it is read to its end
        self._thread.join(timeout=5)
        os.close(self._outside)


def _is_descriptor_2(stream: TextIO) -> bool:
    try:
        return stream.fileno() == 2
    except (OSError, io.UnsupportedOperation, AttributeError):
        return False


def _pass_on(receiving: int, outside: int) -> None:
    rest = b""
    while piece := os.read(receiving, _LONGEST):
        *lines, rest = (rest + piece).split(b"\n")
        _write(outside, b"".join(line + b"\n" for line in lines if not NOISE.match(line)))
        if len(rest) >= _LONGEST:
            _write(outside, rest)
            rest = b""
    if not NOISE.match(rest):
        _write(outside, rest)
    os.close(receiving)


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
