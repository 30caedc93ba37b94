"""How an input is divided: every record in exactly one shard, whatever the content and the size of a shard."""

import io
import itertools
import random

import pytest
from fovea_agent import batch_shards
from fovea_agent.batch_shards import Malformed, Part, Source
from fovea_agent.crc32c import crc32c
from fovea_api.contract import shards
from hypothesis import given
from hypothesis import strategies as st

SIZES = st.integers(1, 60)
LINES = st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b" ")), max_size=20)
CELLS = st.lists(st.lists(st.text('ab",\n\r é', max_size=8), min_size=2, max_size=2), min_size=1, max_size=12)
RECORDS = st.lists(st.binary(max_size=30), max_size=15)


def tfrecord(record: bytes) -> bytes:
    length = len(record).to_bytes(8, "little")
    return length + shards.masked(crc32c(length)).to_bytes(4, "little") + record + b"crc."


def csv_record(cells: list[str]) -> bytes:
    return (",".join('"{}"'.format(cell.replace('"', '""')) for cell in cells) + "\n").encode()


def ranges(parts: list[Part], header: int = 0) -> list[tuple[int, int]]:
    """Where each shard begins and ends; there is no gap between two."""
    found = [(part.start, part.end) for part in parts]
    assert all(one[1] == two[0] for one, two in itertools.pairwise(found))
    assert all(start < end for start, end in found)
    assert all(part.header == header for part in parts)
    return found


def check(found: list[tuple[int, int]], ends: list[int], start: int, most: int) -> None:
    """Shards from `start` to the last end, cut at ends only, and none too large that has more than one record."""
    if not ends or ends[-1] == start:
        assert found == []
        return
    assert (found[0][0], found[-1][1]) == (start, ends[-1])
    assert {end for _, end in found} <= set(ends)
    for begin, end in found:
        records = [each for each in ends if begin < each <= end]
        assert end - begin <= most or len(records) == 1


@given(st.lists(st.integers(0, 50), max_size=30), SIZES, st.integers(1, 5))
def test_every_picture_is_in_one_shard_of_no_more_than_its_size(sizes: list[int], most: int, records: int) -> None:
    pictures = [Source(f"{number}.png", size, "e") for number, size in enumerate(sizes)]
    parts = list(batch_shards.of_pictures(pictures, most, records))
    assert [picture for part in parts for picture in part.sources] == pictures
    for part in parts:
        assert 1 <= len(part.sources) <= records
        assert sum(one.size for one in part.sources) <= most or len(part.sources) == 1


@given(LINES, st.booleans(), SIZES, st.integers(1, 8))
def test_lines_are_cut_at_line_breaks(lines: list[bytes], ended: bool, most: int, window: int) -> None:
    content = b"\n".join(lines) + (b"\n" if ended and lines else b"")

    def read(offset: int, length: int) -> bytes:
        assert 0 <= offset < len(content)
        assert 0 < length <= len(content) - offset
        return content[offset : offset + length]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(batch_shards, "WINDOW", window)
        parts = list(batch_shards.of_lines(Source("a", len(content), "e"), most, read))
    ends = [place + 1 for place, byte in enumerate(content) if byte == 10]
    ends += [len(content)] if content and not content.endswith(b"\n") else []
    check(ranges(parts), ends, 0, most)


@given(CELLS, SIZES)
def test_csv_is_never_cut_within_quotes(cells: list[list[str]], most: int) -> None:
    records = [csv_record(row) for row in cells]
    content = b"".join(records)
    parts = list(batch_shards.of_csv(Source("a", len(content), "e"), most, io.BytesIO(content)))
    ends, place = [], 0
    for record in records:
        place += len(record)
        ends.append(place)
    check(ranges(parts, header=ends[0]), ends, ends[0], most)


@given(RECORDS, SIZES)
def test_tfrecords_are_cut_between_records_whatever_they_hold(records: list[bytes], most: int) -> None:
    inner = b"".join(map(tfrecord, records))  # a record that holds records: their borders are none of the file
    framed = [tfrecord(record) for record in [inner, *records]]
    content = b"".join(framed)
    parts = list(batch_shards.of_tfrecord(Source("a", len(content), "e"), most, io.BytesIO(content)))
    ends, place = [], 0
    for record in framed:
        place += len(record)
        ends.append(place)
    check(ranges(parts), ends, 0, most)


def test_an_object_that_is_no_tfrecord_file_is_refused_with_the_place_and_a_remedy() -> None:
    good = tfrecord(b"one") + tfrecord(b"two")

    def refusal(content: bytes) -> str:
        with pytest.raises(Malformed) as refused:
            list(batch_shards.of_tfrecord(Source("a", len(content), "e"), 100, io.BytesIO(content)))
        return str(refused.value)

    assert "byte 19" in refusal(good[:20] + b"x" + good[21:])
    assert "byte 19 is cut off" in refusal(good[:-1])
    assert "gzip -dc" in refusal(b"\x1f\x8b\x08" + bytes(30))
    assert "no TFRecord file" in refusal(b"a,b\n1,2\n" * 4)


def test_a_quote_that_nobody_closes_is_refused_before_it_fills_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_shards, "LONGEST_ROW", 1000)
    content = b'a,b\n1,2\n3,"four\n' + b"5,6\n" * 1000
    with pytest.raises(Malformed, match=r"byte 8 .* is a quote missing"):
        list(batch_shards.of_csv(Source("a", len(content), "e"), 100, io.BytesIO(content)))


class Counted(io.BytesIO):
    """How much of it was read."""

    taken = 0

    def readline(self, size: int | None = -1, /) -> bytes:
        line = super().readline(size)
        self.taken += len(line)
        return line


def test_a_file_of_lines_without_a_line_break_is_refused_and_not_read_into_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(batch_shards, "LONGEST_LINE", 1 << 20)
    monkeypatch.setattr(batch_shards, "WIDEST", 100_000)
    looks = []

    def read(offset: int, length: int) -> bytes:
        looks.append(length)
        return b"first\n"[offset : offset + length].ljust(length, b"1")

    parts = batch_shards.of_lines(Source("a", 600 << 20, "e"), 1000, read)
    assert next(parts).end == 6
    with pytest.raises(Malformed, match=r"line that begins at byte 6 has no end within 1 MiB.*jq -c") as refused:
        next(parts)
    assert "upload that" in str(refused.value)
    assert max(looks) <= 100_000
    assert sum(looks) <= (1 << 20) + 2000


@pytest.mark.parametrize("rest", [b"", b"\n", b"\n2"])
def test_a_line_of_the_greatest_length_is_a_record(monkeypatch: pytest.MonkeyPatch, rest: bytes) -> None:
    monkeypatch.setattr(batch_shards, "LONGEST_LINE", 1000)
    content = b"1" * (1000 - len(rest[:1])) + rest
    parts = batch_shards.of_lines(Source("a", len(content), "e"), 10, lambda offset, length: content[offset:][:length])
    assert next(parts).end == 1000


@pytest.mark.parametrize("quotes", [b"", b'"x"'])
@pytest.mark.parametrize("first", [b"", b"a,b\n"])
def test_a_file_of_csv_without_a_line_break_is_refused_and_not_read_into_memory(
    monkeypatch: pytest.MonkeyPatch, first: bytes, quotes: bytes
) -> None:
    monkeypatch.setattr(batch_shards, "LONGEST_ROW", 1 << 20)
    file = Counted(first + quotes + b"," * (3 << 20))
    with pytest.raises(Malformed, match=rf"record at byte {len(first)} has more than 1 MiB: is a quote missing"):
        list(batch_shards.of_csv(Source("a", 3 << 20, "e"), 100, file))
    assert file.taken <= (1 << 20) + 100


def test_a_record_of_csv_of_many_cells_in_quotes_is_bounded_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_shards, "LONGEST_ROW", 1 << 20)
    file = Counted(b"a,b\n" + b'"x\n",' * (1 << 20))
    with pytest.raises(Malformed, match=r"record at byte 4 has more than 1 MiB"):
        list(batch_shards.of_csv(Source("a", 5 << 20, "e"), 100, file))
    assert file.taken <= (1 << 20) + 100


@pytest.mark.parametrize("ended", [b"", b"\r"])
def test_lines_that_end_with_a_carriage_return_alone_are_named(ended: bytes) -> None:
    content = b"a,b\r1,2\r3,4" + ended
    with pytest.raises(Malformed, match=r"carriage return and no line feed: convert it \(tr") as refused:
        list(batch_shards.of_csv(Source("a", len(content), "e"), 100, io.BytesIO(content)))
    assert r"tr '\r' '\n' < FILE > NEW" in str(refused.value)


def test_the_checksum_is_that_of_castagnoli() -> None:
    assert crc32c(b"123456789") == 0xE3069283  # the check value of the catalogues
    google = pytest.importorskip("google_crc32c")
    data = random.Random(1).randbytes(100)
    assert crc32c(data) == google.value(data)
