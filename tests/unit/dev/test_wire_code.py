"""The code of the wire's messages is what their .proto files generate."""

from pathlib import Path

import wire_code


def test_the_wire_code_is_what_its_protos_generate(tmp_path: Path) -> None:
    written = wire_code.generate(tmp_path)
    assert [path.name for path in written] == sorted(path.name for path in wire_code.PACKAGE.glob("*_pb2.py*"))
    for path in written:
        assert path.read_text() == (wire_code.PACKAGE / path.name).read_text(), "stale: python dev/wire_code.py"
