"""Identity of an input: equal data, equal digest, and nothing else; read where no agent wrote it."""

from pathlib import Path

import pytest
from fovea_api.contract import listing
from hypothesis import given
from hypothesis import strategies as st

FILES = st.dictionaries(
    st.text(min_size=1, max_size=8).filter(lambda path: "\0" not in path),
    st.tuples(st.integers(0, 2**40), st.text("0123456789abcdef-", max_size=8)),
    max_size=6,
)


def identity(files: dict[str, tuple[int, str]]) -> listing.Identity:
    summed = listing.Files()
    for path, (size, etag) in sorted(files.items()):
        summed.add(path, size, etag)
    return summed.identity()


@given(FILES, FILES)
def test_two_inputs_have_the_same_digest_exactly_when_they_have_the_same_files(
    one: dict[str, tuple[int, str]], other: dict[str, tuple[int, str]]
) -> None:
    assert (identity(one) == identity(other)) == (one == other)
    assert (identity(one).files, identity(one).size) == (len(one), sum(size for size, _ in one.values()))


def test_an_identity_is_read_back_as_it_was_written_and_is_none_where_no_agent_was(tmp_path: Path) -> None:
    assert listing.read(tmp_path, "data") is None
    written = identity({"a/größe 🤗.png": (3, "e1")})
    written.write(tmp_path, "data")
    assert listing.read(tmp_path, "data") == written
    assert [file.name for file in (tmp_path / listing.FOLDER).iterdir()] == ["data.json"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"digest": "sha256:0", "files": "many", "size": 1}'])
def test_a_malformed_identity_names_its_file(tmp_path: Path, text: str) -> None:
    file = listing.file_of(tmp_path, "data")
    file.parent.mkdir()
    file.write_text(text)
    with pytest.raises(ValueError, match=r"\.fovea/data\.json.*malformed"):
        listing.read(tmp_path, "data")


def test_what_another_release_adds_to_an_identity_is_left_out() -> None:
    text = '{"digest": "sha256:0", "files": 1, "size": 2, "newer": true}'
    assert listing.Identity.from_json(text) == listing.Identity("sha256:0", 1, 2)
