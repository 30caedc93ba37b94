"""What agent and program of a batch prediction say to each other survives JSON, and a newer release's fields."""

import json
from dataclasses import asdict

import pytest
from fovea_api.contract import batch, columns, storage
from fovea_api.contract.batch import Shard, Summary
from fovea_api.contract.plan import BatchPlan

PLAN = BatchPlan(
    "vision", "pets", "1", 2, "s3://b/in", "images", "s3://b/out", "jsonl", "sha256:1", 100, 10, "http://o"
)
SAID = (Shard(3, 7, ("000000",), ("ä/1.png",), "", 5, 2), Summary(10, 1, ("1.png: why",)), PLAN)


@pytest.mark.parametrize("said", SAID, ids=lambda said: type(said).__name__)
def test_what_is_written_is_read(said: Shard | Summary | BatchPlan) -> None:
    assert type(said).from_json(said.to_json()) == said


@pytest.mark.parametrize("said", SAID[:2], ids=lambda said: type(said).__name__)
def test_fields_of_a_newer_release_are_left_out_and_missing_ones_refused(said: Shard | Summary) -> None:
    document = asdict(said)
    assert type(said).from_json(json.dumps(document | {"later": 1})) == said
    for text in ("{}", "[]", "no JSON"):
        with pytest.raises(ValueError):
            type(said).from_json(text)


def test_parts_are_named_so_that_their_order_is_that_of_the_shards() -> None:
    assert batch.part(3, 12, batch.CSV) == "part-00003-of-00012.csv"
    names = [batch.part(number, 20_000, batch.JSONL) for number in (0, 9, 10, 19_999)]
    assert names == sorted(names)


def test_all_of_a_prediction_lies_below_its_namespace() -> None:
    prefix = storage.batch("vision", "pets", "1")
    keys = (storage.batch_output(prefix), storage.batch_plan(prefix), storage.batch_answer(prefix, 3))
    assert all(key.startswith("vision/predictions/pets/1/") for key in keys)
    assert not any(one.startswith(other) for one in keys for other in keys if one != other)


def test_names_of_columns_are_read_as_they_were_written(tmp_path) -> None:
    assert columns.read(tmp_path) == ()
    columns.write(tmp_path, ["größe", "b"])
    assert columns.read(tmp_path) == ("größe", "b")
    file = tmp_path / columns.FILE
    file.write_text(json.dumps({"format": 2, "columns": []}))
    with pytest.raises(ValueError, match="has format 2, this version reads format 1"):
        columns.read(tmp_path)
    file.write_text("[]")
    with pytest.raises(ValueError, match="export the model again"):
        columns.read(tmp_path)
