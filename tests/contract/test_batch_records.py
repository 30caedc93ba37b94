"""What the agent divides, the program reads: the records of all shards are those of the object, each once and in order."""

import csv
import io
from pathlib import Path

import pytest
import tensorflow as tf
from fovea_agent import batch_shards
from fovea_agent.batch_shards import Part, Source
from fovea_api.contract import batch
from fovea_api.contract.batch import Shard
from fovea_serving.batch import records
from fovea_serving.batch.records import DamagedShardError, Record
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

SIZES = st.integers(1, 80)
in_one_folder = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def read(folder: Path, content: bytes, parts: list[Part], input_format: str) -> list[Record]:
    """The records of all shards as the program reads them, of files as the agent writes them."""
    found = []
    for number, part in enumerate(parts):
        (folder / batch.RECORDS).mkdir(exist_ok=True)
        (folder / batch.RECORDS / "records").write_bytes(content[: part.header] + content[part.start : part.end])
        shard = Shard(number, len(parts), ("records",), (), "a", part.start, part.header)
        found += list(records.of_shard(folder, shard, input_format))
    return found


def source(content: bytes) -> Source:
    return Source("a", len(content), "e")


@given(st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b" ")), max_size=20), SIZES)
@in_one_folder
def test_lines(tmp_path: Path, lines: list[bytes], most: int) -> None:
    content = b"\n".join(lines)
    parts = list(batch_shards.of_lines(source(content), most, lambda offset, length: content[offset : offset + length]))
    found = read(tmp_path, content, parts, batch.JSONL)
    assert [record.content for record in found] == [line.strip() for line in lines if line.strip()]
    for record in found:  # the name says where it begins
        assert content[int(record.name.rpartition(":")[2]) :].lstrip().startswith(record.content)


@given(
    st.lists(st.lists(st.text('ab",\n\r é€', max_size=8), min_size=2, max_size=2), max_size=12), SIZES, st.booleans()
)
@in_one_folder
def test_rows(tmp_path: Path, cells: list[list[str]], most: int, quoted: bool) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL, lineterminator="\r\n")
    writer.writerows([["first", "größe"], *cells])
    content = text.getvalue().encode()
    parts = list(batch_shards.of_csv(source(content), most, io.BytesIO(content)))
    found = read(tmp_path, content, parts, batch.CSV)
    expected = list(csv.DictReader(io.StringIO(content.decode(), newline="")))
    assert [record.content for record in found] == expected
    assert len({record.name for record in found}) == len(found)


@given(st.lists(st.binary(max_size=40), max_size=12), SIZES)
@in_one_folder
def test_tfrecords(tmp_path: Path, contents: list[bytes], most: int) -> None:
    file = tmp_path / "a.tfrecord"
    with tf.io.TFRecordWriter(str(file)) as writer:
        for one in contents:
            writer.write(one)
    content = file.read_bytes()
    parts = list(batch_shards.of_tfrecord(source(content), most, io.BytesIO(content)))
    assert [record.content for record in read(tmp_path, content, parts, batch.TFRECORD)] == contents


def test_a_bad_row_or_record_is_named_and_the_others_are_read(tmp_path: Path) -> None:
    content = b'a,b\n1,2\n3\n"x" y,"z\n",5\n\xff,4\n7,8\n'
    parts = list(batch_shards.of_csv(source(content), 8, io.BytesIO(content)))
    found = [(r.name, r.content or r.problem) for r in read(tmp_path, content, parts, batch.CSV)]
    assert found == [
        ("a:4", {"a": "1", "b": "2"}),
        ("a:8", "The row has 1 columns instead of 2"),
        ("a:10", "The row has 3 columns instead of 2"),
        ("a:23", "The row is not UTF-8"),
        ("a:27", {"a": "7", "b": "8"}),
    ]

    file = tmp_path / "a.tfrecord"
    with tf.io.TFRecordWriter(str(file)) as writer:
        for one in (b"one", b"two", b"three"):
            writer.write(one)
    damaged = bytearray(file.read_bytes())
    damaged[19 + 12] ^= 1  # in the content of the second record
    whole = Part((source(damaged),), 0, len(damaged))
    found = [(r.name, r.content or r.problem) for r in read(tmp_path, bytes(damaged), [whole], batch.TFRECORD)]
    assert found == [
        ("a:0", b"one"),
        ("a:19", "The checksum of the record is wrong: it is damaged"),
        ("a:38", b"three"),
    ]
    with pytest.raises(DamagedShardError, match="a:19 is no TFRecord"):
        read(tmp_path, bytes(damaged[:30]), [Part((source(damaged),), 0, 30)], batch.TFRECORD)


def test_a_byte_order_mark_is_no_part_of_the_first_record(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbf{"x": 1}\n'
    (part,) = batch_shards.of_lines(source(content), 100, lambda offset, length: content[offset : offset + length])
    assert read(tmp_path, content, [part], batch.JSONL) == [Record("a:0", b'{"x": 1}')]
    content = b"\xef\xbb\xbfa,b\n1,2\n"
    (part,) = batch_shards.of_csv(source(content), 100, io.BytesIO(content))
    assert read(tmp_path, content, [part], batch.CSV) == [Record("a:7", {"a": "1", "b": "2"})]
