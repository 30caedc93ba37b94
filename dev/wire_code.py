"""Write the `*_pb2.py` and `*_pb2.pyi` beside the .proto files of `wire/`: python dev/wire_code.py.

Not protoc's own Python code: that runs with its own and the next major version of protobuf only. What is written here
hands the compiled description to protobuf's public functions, which are the same from 4.25 on.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1] / "wire"
PACKAGE = ROOT / "fovea_wire"


def generate(destination: Path = ROOT) -> list[Path]:
    """Generate below `destination`, the folder that holds `fovea_wire/`; returns the files. SystemExit on an error."""
    protos = sorted(path.relative_to(ROOT).as_posix() for path in PACKAGE.glob("*.proto"))
    with tempfile.TemporaryDirectory() as folder:
        compiled = Path(folder) / "compiled"
        # A process of its own: the compiler's library does not bear TensorFlow's in the same one.
        command = [
            sys.executable,
            *("-m", "grpc_tools.protoc"),
            f"-I{ROOT}",
            f"--descriptor_set_out={compiled}",
            f"--pyi_out={destination}",
            *protos,
        ]
        if code := subprocess.run(command, check=False).returncode:
            raise SystemExit(f"protoc ended with {code}; its message is above")
        _write_modules(compiled.read_bytes(), destination)
    return sorted((destination / "fovea_wire").glob("*_pb2.py*"))


def _write_modules(compiled: bytes, destination: Path) -> None:
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    for file in FileDescriptorSet.FromString(compiled).file:
        name = file.name.removesuffix(".proto")
        lines = [f'"""Messages of {Path(name).name}.proto. Written by dev/wire_code.py: do not edit."""', ""]
        lines += ["from google.protobuf import descriptor_pool, message_factory"]
        if file.enum_type:
            lines += ["from google.protobuf.internal import enum_type_wrapper"]
        # What a file needs has to be in the pool before it.
        needed = [Path(dependency) for dependency in sorted(file.dependency)]
        lines += [f"from {'.'.join(path.parent.parts)} import {path.stem}_pb2 as _{path.stem}" for path in needed]
        lines += [
            "",
            "DESCRIPTOR = descriptor_pool.Default().AddSerializedFile(",
            f"    {file.SerializeToString()!r}",
            ")",
            "",
        ]
        for message in file.message_type:
            found = f'DESCRIPTOR.message_types_by_name["{message.name}"]'
            lines.append(f"{message.name} = message_factory.GetMessageClass({found})")
        for enum in file.enum_type:
            found = f'DESCRIPTOR.enum_types_by_name["{enum.name}"]'
            lines.append(f"{enum.name} = enum_type_wrapper.EnumTypeWrapper({found})")
            lines += [f"{value.name} = {value.number}" for value in enum.value]
        (destination / f"{name}_pb2.py").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    for path in generate():
        sys.stdout.write(f"{path.name}\n")
