"""Writes the `*_pb2.py` and `*_pb2.pyi` beside the .proto files: python client/fovea/wire/generate.py."""

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent


def generate(destination: Path = ROOT) -> list[Path]:
    """Generate below `destination`, the folder that holds `fovea/`; returns the files. SystemExit on an error."""
    protos = sorted(path.relative_to(ROOT).as_posix() for path in HERE.glob("*.proto"))
    # A process of its own: the compiler's library does not bear TensorFlow's in the same one.
    command = [
        sys.executable,
        *("-m", "grpc_tools.protoc"),
        f"-I{ROOT}",
        f"--python_out={destination}",
        f"--pyi_out={destination}",
        *protos,
    ]
    if code := subprocess.run(command, check=False).returncode:
        raise SystemExit(f"protoc ended with {code}; its message is above")
    return sorted((destination / "fovea" / "wire").glob("*_pb2.py*"))


if __name__ == "__main__":
    for path in generate():
        sys.stdout.write(f"{path.name}\n")
