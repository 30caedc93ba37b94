"""The list of shards and the output of a batch prediction, on a store in memory."""

import gzip
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fovea_agent import batch_shards
from fovea_agent.batch_answers import publish_answer, published_answers
from fovea_agent.batch_output import Output
from fovea_agent.batch_plan import PlannedShards
from fovea_agent.errors import AgentError, Corrupt, KeyRefused, Misconfigured, Missing, TooNew
from fovea_agent.sending import Sending
from fovea_agent.settings import WorkVolume
from fovea_api.contract import batch, report, storage
from fovea_api.contract.batch import Summary
from fovea_api.contract.manifest import Manifest
from fovea_api.contract.plan import BatchPlan
from support.memory_store import MemoryStore

PREFIX = storage.batch("vision", "pets", "1")
PLAN = BatchPlan(
    namespace="vision",
    name="pets",
    uid="1",
    workers=1,
    input_uri="s3://fovea/vision/in",
    input_format=batch.JSONL,
    output_uri="s3://fovea/vision/out",
    output_format=batch.JSONL,
    model_digest="sha256:1",
    shard_bytes=20,
    shard_records=2,
)


def planned(store: MemoryStore, folder: Path, **changed: Any) -> PlannedShards:
    plan = replace(PLAN, **changed)
    folder.mkdir(exist_ok=True)
    return PlannedShards(plan, store, PREFIX, store, storage.Location.parse(plan.input_uri), folder)


def put(store: MemoryStore, **files: bytes) -> None:
    store.content |= {f"vision/in/{name.replace('__', '/').replace('_', '.')}": data for name, data in files.items()}


def refusal(action: Any, kind: type[AgentError]) -> str:
    with pytest.raises(kind) as refused:
        action()
    return refused.value.message


# -- the list -----------------------------------------------------------------------------------------------------------


def test_the_first_list_holds_for_all_pods_whatever_is_in_the_store_later(tmp_path: Path) -> None:
    store = MemoryStore()
    put(store, a_jsonl=b"1\n2\n3\n" * 8, sub__b_ndjson=b"4\n", notes_txt=b"no record", c_csv=b"a\n1\n")
    first, second = planned(store, tmp_path / "1"), planned(store, tmp_path / "2")
    assert not first.fetch()
    first.make()
    put(store, d_jsonl=b"5\n")
    second.make()
    for one in (first, second):
        assert one.fetch()
        found = [(part.sources[0].path, part.start, part.end) for part in one.read()]
        assert found == [("a.jsonl", 0, 20), ("a.jsonl", 20, 40), ("a.jsonl", 40, 48), ("sub/b.ndjson", 0, 2)]


def test_an_input_may_be_one_object_of_any_name(tmp_path: Path) -> None:
    store = MemoryStore()
    put(store, rows=b"1\n")
    one = planned(store, tmp_path, input_uri="s3://fovea/vision/in/rows")
    one.make()
    assert one.fetch()
    ((source,),) = [part.sources for part in one.read()]
    assert (source.path, one.key_of(source)) == ("", "vision/in/rows")


@pytest.mark.parametrize(
    "files,words",
    [
        ({"a_jsonl_gz": b"packed"}, "'a.jsonl.gz' below s3://fovea/vision/in is compressed"),
        (
            {"a_jsonl": b"", "notes_txt": b"x"},
            "has no object with lines (.jsonl, .ndjson, .jsonlines): correct spec.input",
        ),
    ],
)
def test_an_input_that_cannot_be_read_is_refused_with_a_remedy(
    tmp_path: Path, files: dict[str, bytes], words: str
) -> None:
    store = MemoryStore()
    put(store, **files)
    with pytest.raises(AgentError) as refused:
        planned(store, tmp_path).make()
    assert words in refused.value.message
    assert not published_answers(store, PREFIX)


@pytest.mark.parametrize(
    "name,limit,words",
    [
        ("a_jsonl", "LONGEST_LINE", "jsonl: the line that begins at byte 0"),
        ("a_csv", "LONGEST_ROW", "csv: the record at byte 0"),
    ],
)
def test_an_object_that_is_one_endless_line_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, limit: str, words: str
) -> None:
    monkeypatch.setattr(batch_shards, limit, 1 << 20)
    store, kind = MemoryStore(), name.removeprefix("a_")
    put(store, **{name: b"1" * (2 << 20)})
    said = refusal(planned(store, tmp_path, input_format=kind).make, Misconfigured)
    assert f"s3://fovea/vision/in/a.{kind} cannot be read as {words}" in said


def test_an_input_that_is_not_there_is_named_with_what_may_have_been_meant(tmp_path: Path) -> None:
    store = MemoryStore()
    put(store, a_jsonl=b"1\n")
    one = planned(store, tmp_path, input_uri="s3://fovea/vision/inn")
    assert "did you mean s3://fovea/vision/in/?" in refusal(one.make, Missing)


def test_a_list_of_another_model_or_of_a_newer_release_is_not_gone_by(tmp_path: Path) -> None:
    store = MemoryStore()
    put(store, a_jsonl=b"1\n")
    one = planned(store, tmp_path)
    one.make()
    assert one.fetch()
    other = planned(store, tmp_path, model_digest="sha256:2")
    assert "made for model 'sha256:1', and this pod has 'sha256:2'" in refusal(
        lambda: list(other.read()), Misconfigured
    )

    lines = gzip.decompress(one.file.read_bytes()).splitlines(keepends=True)
    one.file.write_bytes(
        gzip.compress(b"".join([json.dumps({"format": 2, "release": "9"}).encode() + b"\n", *lines[1:]]))
    )
    assert "written by Fovea 9 in format 2" in refusal(lambda: list(one.read()), TooNew)
    for broken in (lines[:-1], [*lines[:-1], b'{"shards": 2}\n'], [*lines, b"more\n"]):
        one.file.write_bytes(gzip.compress(b"".join(broken)))
        assert "shards/list.jsonl.gz is corrupt" in refusal(lambda: list(one.read()), Corrupt)


# -- the output ---------------------------------------------------------------------------------------------------------


def answer(store: MemoryStore, folder: Path, number: int, predictions: bytes, errors: bytes = b"") -> None:
    """As if the program had answered a shard of ten records."""
    made = folder / batch.ANSWERS / str(number)
    made.mkdir(parents=True)
    (made / batch.PREDICTIONS).write_bytes(predictions)
    if errors:
        (made / batch.ERRORS).write_bytes(errors)
    (made / batch.SUMMARY_FILE).write_text(Summary(10, len(errors.splitlines())).to_json())
    publish_answer(Sending(store), WorkVolume(folder, folder), PREFIX, number)


def composed(store: MemoryStore, folder: Path, count: int, **changed: Any) -> tuple[dict[str, bytes], Any]:
    output = Output(replace(PLAN, **changed), Sending(store), PREFIX, folder / "staging")
    published, totals = output.compose(count)
    manifest = Manifest.from_json(store.content[storage.manifest("vision/out")])
    assert (published.digest, published.files) == (manifest.digest, len(manifest.entries))
    return {entry.path: store.content[f"vision/out/{entry.key}"] for entry in manifest.entries}, totals


class NoCopies(MemoryStore):
    """A store that copies nothing."""

    def copy(self, source: str, etag: str, key: str) -> str:
        raise KeyRefused("this store copies nothing")


@pytest.mark.parametrize("store", [MemoryStore(), NoCopies()], ids=["copied", "sent"])
def test_the_parts_are_the_answers_and_the_errors_are_one_file(tmp_path: Path, store: MemoryStore) -> None:
    for number, errors in enumerate([b"", b'{"record": "a"}\n{"record": "b"}\n', b'{"record": "c"}\n']):
        answer(store, tmp_path, number, b"answer %d\n" % number, errors)
    files, totals = composed(store, tmp_path, 3)
    assert files == {
        "part-00000-of-00003.jsonl": b"answer 0\n",
        "part-00001-of-00003.jsonl": b"answer 1\n",
        "part-00002-of-00003.jsonl": b"answer 2\n",
        "errors.jsonl": b'{"record": "a"}\n{"record": "b"}\n{"record": "c"}\n',
    }
    assert totals == {"records": 30, "errors": 3, "shards": 3}
    writes = len(store.writes)
    assert composed(store, tmp_path, 3)[0] == files, "another pod that composes it finds it done"
    assert len(store.writes) == writes


@pytest.mark.parametrize(
    "lines,expected",
    [
        ([b"10,a\n2,b\n", b"1,c\n"], "id,label\n1,c\n2,b\n10,a\n"),
        ([b"10,a\ntwo,b\n", b"", b'1,"c, ""d"""\n'], 'id,label\n1,"c, ""d"""\n10,a\ntwo,b\n'),
        ([b""], "id,label\n"),
    ],
    ids=["numbers", "texts", "none"],
)
def test_a_submission_is_in_the_order_of_its_ids(tmp_path: Path, lines: Sequence[bytes], expected: str) -> None:
    store = MemoryStore()
    for number, content in enumerate(lines):
        answer(store, tmp_path, number, content)
    files, _ = composed(store, tmp_path, len(lines), output_format=batch.KAGGLE, input_format=batch.IMAGES)
    assert files == {batch.SUBMISSION: expected.encode()}


def test_an_answer_that_another_pod_published_first_stays(tmp_path: Path) -> None:
    store = MemoryStore()
    answer(store, tmp_path / "1", 0, b"first\n")
    answer(store, tmp_path / "2", 0, b"second\n")
    files, _ = composed(store, tmp_path, 1)
    assert files == {"part-00000-of-00001.jsonl": b"first\n"}


@pytest.mark.parametrize("name", ["manifest.json", "part-00000-of-00001.csv", "errors.jsonl", "submission.csv"])
def test_a_place_with_files_of_an_output_is_refused(tmp_path: Path, name: str) -> None:
    store = MemoryStore()
    output = Output(PLAN, Sending(store), PREFIX, tmp_path)
    store.content["vision/out/README.md"] = b"mine"
    output.refuse_files()
    store.content[f"vision/out/{name}"] = b"{}"
    with pytest.raises(Misconfigured) as refused:
        output.refuse_files()
    assert refused.value.reason == report.REASON_OUTPUT_TAKEN
    assert f"has a file {name} already" in refused.value.message


def test_an_output_that_something_else_was_published_to_meanwhile_is_left_alone(tmp_path: Path) -> None:
    store = MemoryStore()
    answer(store, tmp_path, 0, b"mine\n")
    composed(store, tmp_path, 1)
    before = dict(store.content)
    other = Output(
        replace(PLAN, name="other"), Sending(store), storage.batch("vision", "other", "2"), tmp_path / "other"
    )
    made = tmp_path / "2"
    folder = made / batch.ANSWERS / "0"
    folder.mkdir(parents=True)
    (folder / batch.PREDICTIONS).write_bytes(b"theirs\n")
    (folder / batch.SUMMARY_FILE).write_text(Summary(1).to_json())
    publish_answer(Sending(store), WorkVolume(made, made), other.prediction, 0)
    with pytest.raises(Misconfigured, match="has another publication") as refused:
        other.compose(1)
    assert refused.value.reason == report.REASON_OUTPUT_TAKEN
    assert {key: data for key, data in store.content.items() if key.startswith("vision/out/")} == {
        key: data for key, data in before.items() if key.startswith("vision/out/")
    }
    assert "whole bucket" in refusal(
        lambda: replace(other, plan=replace(PLAN, output_uri="s3://fovea")).location, Misconfigured
    )
