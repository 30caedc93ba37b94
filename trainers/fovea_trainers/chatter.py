"""Lines that TensorFlow and its libraries print by themselves and that tell a user nothing: by their exact words.

Every other line passes, warnings and errors included, and all that says why no GPU was found.
"""

import re

_PREFIX = rb"(?:[IWEF]\d{4} [\d:.]+ +\d+ |\d{4}-\d\d-\d\d [\d:.]+: [IWEF] )?\S*"
NOISE = re.compile(
    rb"WARNING: All log messages before absl::InitializeLog\(\)"
    rb"|To enable the following instructions: "
    rb"|" + _PREFIX + rb"(?:cpu_feature_guard|port)\.cc:\d+\] "
    rb"(?:This TensorFlow binary is optimized|oneDNN custom operations are on)"
    rb"|" + _PREFIX + rb"util\.cc:\d+\] oneDNN supports DT_\w+ only on platforms with"
    rb"|" + _PREFIX + rb"cuda_(?:fft|dnn|blas)\.cc:\d+\] Unable to register cu\w+ factory"
    rb"|" + _PREFIX + rb"computation_placer\.cc:\d+\] computation placer already registered"
    rb"|" + _PREFIX + rb"local_rendezvous\.cc:\d+\] Local rendezvous is aborting with status: "
    rb"(?:INVALID_ARGUMENT|OUT_OF_RANGE|ABORTED: Cleanup)|\s+\[\[\{\{"
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


class Filter:
    """Takes what was written in pieces of any size, and gives back all lines but NOISE."""

    def __init__(self) -> None:
        self._rest = b""

    def take(self, piece: bytes) -> bytes:
        """What can be passed on by now."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        passed = b"".join(line + b"\n" for line in lines if not NOISE.match(line))
        if len(self._rest) >= _LONGEST:
            passed, self._rest = passed + self._rest, b""
        return passed

    def end(self) -> bytes:
        """What is left: a last line may have no line end."""
        return b"" if NOISE.match(self._rest) else self._rest
