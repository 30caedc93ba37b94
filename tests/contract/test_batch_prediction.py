"""A batch prediction's data path: the agent and the program as processes, a real object store, a real SavedModel."""

import base64
import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import tensorflow as tf
from fovea_api.contract import batch, exit_codes, report, storage
from fovea_api.contract.report import ProgressReport
from support.batch_pod import BatchPod, brightness, lines, output, put_input, put_pictures, rows
from support.model_server import MODEL, ModelServer, png
from support.object_store import ObjectStore
from support.polling import until


def test_each_picture_is_answered_once_and_the_output_is_a_publication(
    object_store: ObjectStore, batch_pod: BatchPod
) -> None:
    pictures = put_pictures(object_store, batch_pod, 10)
    put_input(object_store, batch_pod, {"notes.txt": b"no picture"})
    code, ended = batch_pod.start().ended()
    assert (code, ended.code) == (exit_codes.OK, exit_codes.OK), batch_pod.log()
    files = output(object_store, batch_pod)
    assert sorted(files) == [f"part-0000{number}-of-00004.jsonl" for number in range(4)]
    found = brightness(files)
    assert dict(found) == pictures
    assert [name for name, _ in found] == sorted(pictures)
    said = ended.termination
    assert said.reason == report.REASON_PUBLISHED
    assert said.metrics == {"records": 10, "errors": 0, "shards": 4}
    assert said.output is not None
    assert (said.output.uri, said.output.files) == (batch_pod.plan.output_uri, 4)


def test_the_answers_are_those_of_the_model_server(
    object_store: ObjectStore, batch_pod: BatchPod, tiny_server: ModelServer
) -> None:
    pictures = put_pictures(object_store, batch_pod, 7)
    assert batch_pod.start().ended()[0] == exit_codes.OK, batch_pod.log()
    found = {line["record"]: line["prediction"] for line in lines(output(object_store, batch_pod))}
    instances = [{"b64": base64.b64encode(png(pictures[name])).decode()} for name in found]
    status, answer, _ = tiny_server.rest("POST", f"/v1/models/{MODEL}:predict", {"instances": instances})
    assert status == 200
    assert list(found.values()) == answer["predictions"]


def test_rows_of_json_are_answered_as_rest_answers_them(
    object_store: ObjectStore, batch_pod: BatchPod, tiny_server: ModelServer
) -> None:
    instances = [{"a": [number / 3, -number], "b": number} for number in range(40)]
    text = "".join(json.dumps(instance) + "\n" for instance in instances)
    batch_pod.plan = replace(batch_pod.plan, input_format=batch.JSONL, shard_bytes=300)
    batch_pod.signature = "pair"
    put_input(object_store, batch_pod, {"rows.jsonl": text.encode()})
    assert batch_pod.start().ended()[0] == exit_codes.OK, batch_pod.log()
    found = lines(output(object_store, batch_pod))
    body = {"signature_name": "pair", "instances": instances}
    answer = tiny_server.rest("POST", f"/v1/models/{MODEL}:predict", body)[1]
    assert [line["prediction"] for line in found] == answer["predictions"]
    assert found[1]["record"] == f"rows.jsonl:{text.index(chr(10)) + 1}"


def test_records_that_cannot_be_answered_are_named_with_the_reason_and_counted(
    object_store: ObjectStore, batch_pod: BatchPod
) -> None:
    batch_pod.plan = replace(batch_pod.plan, input_format=batch.JSONL, shard_bytes=40)
    batch_pod.signature = "half_plus_two"
    bad = [b'{"x": 1', b'{"y": 1}', b'{"x": "one"}', b"[1, [2]]", b"\xff", b'{"x": 1, "z": 2}', b"7, 8"]
    good = [b"4", b'{"x": 6}', b"", b"8"]
    content = b"\n".join([*good[:2], *bad[:4], *good[2:], *bad[4:]]) + b"\n"
    put_input(object_store, batch_pod, {"rows.jsonl": content})
    code, ended = batch_pod.start().ended()
    assert code == exit_codes.OK, batch_pod.log()
    files = output(object_store, batch_pod)
    assert [line["prediction"] for line in lines(files)] == [4, 5, 6]
    errors = {line["record"]: line["error"] for line in lines(files, batch.ERRORS)}
    places = [content.index(line + b"\n") for line in bad]
    assert list(errors) == [f"rows.jsonl:{place}" for place in places]
    reasons = list(errors.values())
    assert reasons[0].startswith("The line is not JSON")
    assert "does not have named input: y" in reasons[1]
    assert "is not of expected type: float" in reasons[2]
    assert ended.termination.metrics == {"records": 10, "errors": 7, "shards": len(files) - 1}


def test_a_picture_that_cannot_be_read_costs_no_other_picture_its_answer(
    object_store: ObjectStore, batch_pod: BatchPod
) -> None:
    pictures = put_pictures(object_store, batch_pod, 8)
    put_input(object_store, batch_pod, {"5.png": b"no picture", "7.png": b""})
    batch_pod.plan = replace(batch_pod.plan, shard_records=100)
    batch_pod.batch_size = 8
    assert batch_pod.start().ended()[0] == exit_codes.OK, batch_pod.log()
    files = output(object_store, batch_pod)
    assert dict(brightness(files)) == {
        name: value for name, value in pictures.items() if name not in ("5.png", "7.png")
    }
    assert [line["record"] for line in lines(files, batch.ERRORS)] == ["5.png", "7.png"]
    assert "Unknown image file format" in lines(files, batch.ERRORS)[0]["error"]


def test_rows_of_csv_become_rows_of_csv(object_store: ObjectStore, batch_pod: BatchPod) -> None:
    batch_pod.plan = replace(batch_pod.plan, input_format=batch.CSV, output_format=batch.CSV, shard_bytes=30)
    batch_pod.signature = "half_plus_two"
    content = (
        'note,x\n"two\nlines, one cell",2\n' + "".join(f"plain,{number}\n" for number in range(4, 20, 2)) + "bad,no\n"
    )
    put_input(object_store, batch_pod, {"table.csv": content.encode()})
    assert batch_pod.start().ended()[0] == exit_codes.OK, batch_pod.log()
    files = output(object_store, batch_pod)
    parts = [rows(files[name]) for name in sorted(files) if name.startswith("part-")]
    assert all(part[0] == ["record", "y"] for part in parts)
    assert [row[1] for part in parts for row in part[1:]] == [
        "3.0",
        *(str(2.0 + number / 2) for number in range(4, 20, 2)),
    ]
    assert parts[0][1][0] == "table.csv:7"
    (error,) = lines(files, batch.ERRORS)
    assert error["error"] == "Column x is 'no', which is no float"


def test_examples_are_classified_and_answered_with_examples(object_store: ObjectStore, batch_pod: BatchPod) -> None:
    batch_pod.plan = replace(batch_pod.plan, input_format=batch.TFRECORD, output_format=batch.TFRECORD, shard_bytes=80)
    batch_pod.signature = "classify"
    file = batch_pod.folder / "data.tfrecord"
    with tf.io.TFRecordWriter(str(file)) as writer:
        for number in range(9):
            x = tf.train.Feature(float_list=tf.train.FloatList(value=[number / 10]))
            writer.write(tf.train.Example(features=tf.train.Features(feature={"x": x})).SerializeToString())
        writer.write(b"no example")
    put_input(object_store, batch_pod, {"data.tfrecord": file.read_bytes(), "data.tfrecord.index": b"not a record"})
    assert batch_pod.start().ended()[0] == exit_codes.OK, batch_pod.log()
    files = output(object_store, batch_pod)
    found: list[Any] = []
    for name in sorted(files):
        if name.startswith("part-"):
            (batch_pod.folder / name).write_bytes(files[name])
            found += map(
                tf.train.Example.FromString, tf.data.TFRecordDataset(str(batch_pod.folder / name)).as_numpy_iterator()
            )
    scores = [list(one.features.feature["scores"].float_list.value) for one in found]
    assert scores == [pytest.approx([1 - number / 10, number / 10], abs=1e-6) for number in range(9)]
    assert found[0].features.feature["record"].bytes_list.value[0] == b"data.tfrecord:0"
    assert len(lines(files, batch.ERRORS)) == 1


def test_a_submission_has_a_line_for_each_picture_in_the_order_of_the_numbers(
    object_store: ObjectStore, batch_pod: BatchPod
) -> None:
    pictures = put_pictures(object_store, batch_pod, 11)
    batch_pod.plan = replace(batch_pod.plan, output_format=batch.KAGGLE)
    put_input(object_store, batch_pod, {"12.jpg": b"no picture"})
    assert batch_pod.start().ended()[0] == exit_codes.OK, batch_pod.log()
    files = output(object_store, batch_pod)
    assert sorted(files) == [batch.ERRORS, batch.SUBMISSION]
    heading, *found = rows(files[batch.SUBMISSION])
    assert heading == ["id", "label"]
    bright = {name.removesuffix(".png"): "bright" if value > 127 else "dark" for name, value in pictures.items()}
    assert found == [[str(number), bright[str(number)]] for number in range(1, 12)]


def test_what_is_done_is_reported_while_the_pod_works(object_store: ObjectStore, batch_pod: BatchPod) -> None:
    put_pictures(object_store, batch_pod, 10)
    heard: list[ProgressReport] = []

    class Operator(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(ProgressReport.from_json(self.rfile.read(int(self.headers["Content-Length"])).decode()))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Operator)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    batch_pod.plan = replace(batch_pod.plan, report_url=f"http://127.0.0.1:{server.server_address[1]}")
    assert batch_pod.start().ended()[0] == exit_codes.OK, batch_pod.log()
    server.shutdown()
    server.server_close()
    assert heard[-1].step == 10
    assert heard[-1].metrics == {"records": 10, "errors": 0, "shards": 4, "shards_total": 4}
    steps = [each.step or 0 for each in heard]
    assert steps == sorted(steps)


# -- what cannot be done ------------------------------------------------------------------------------------------------


def refused(pod: BatchPod) -> tuple[int, str, str]:
    """Exit code, of both containers, reason and message."""
    code, ended = pod.start().ended()
    assert code == ended.code, pod.log()
    return code, ended.termination.reason, ended.termination.message


def test_an_input_without_records_is_named(object_store: ObjectStore, batch_pod: BatchPod) -> None:
    put_input(object_store, batch_pod, {"notes.txt": b"no picture"})
    code, reason, message = refused(batch_pod)
    assert (code, reason) == (exit_codes.INPUT_MISSING, "InputMissing")
    assert batch_pod.plan.input_uri in message
    assert ".jpg" in message


def test_an_output_with_files_of_something_else_is_refused_before_anything_is_answered(
    object_store: ObjectStore, batch_pod: BatchPod
) -> None:
    put_pictures(object_store, batch_pod, 3)
    place = storage.Location.parse(batch_pod.plan.output_uri).key
    object_store.put(f"{place}/part-00000-of-00007.jsonl", b"of somebody else")
    code, reason, message = refused(batch_pod)
    assert (code, reason) == (exit_codes.CONFIGURATION, report.REASON_OUTPUT_TAKEN)
    assert "part-00000-of-00007.jsonl" in message
    assert object_store.names(f"{batch_pod.prediction}/shards/") == []


def test_a_model_that_takes_no_pictures_ends_the_program_with_what_it_takes(
    object_store: ObjectStore, batch_pod: BatchPod
) -> None:
    put_pictures(object_store, batch_pod, 3)
    batch_pod.signature = "half_plus_two"
    batch_pod.start_program()
    assert batch_pod.program is not None
    assert batch_pod.program.wait(60) == exit_codes.CONFIGURATION
    assert "takes x (float [n])" in (batch_pod.folder / "program.log").read_text()


def test_two_pictures_of_one_name_make_no_submission(object_store: ObjectStore, batch_pod: BatchPod) -> None:
    put_input(object_store, batch_pod, {"a/1.png": png(1), "b/1.jpg": png(2)})
    batch_pod.plan = replace(batch_pod.plan, output_format=batch.KAGGLE)
    code, reason, message = refused(batch_pod)
    assert (code, reason) == (exit_codes.CONFIGURATION, "Misconfigured")
    assert "'a/1.png' and 'b/1.jpg'" in message


@pytest.mark.parametrize("gone", [True, False], ids=["deleted", "replaced"])
def test_an_object_that_is_not_what_was_listed_any_more_ends_it_with_its_name(
    object_store: ObjectStore, batch_pod: BatchPod, gone: bool
) -> None:
    put_pictures(object_store, batch_pod, 9)
    batch_pod.start_agent()
    until((batch_pod.work / batch.SHARDS / "1").exists, what="two shards are there")
    key = f"{storage.Location.parse(batch_pod.plan.input_uri).key}/9.png"
    if gone:
        object_store.client.remove_object(object_store.bucket, key)
    else:
        object_store.put(key, png(200))
    batch_pod.start_program()
    code, ended = batch_pod.ended()
    assert (code, ended.code) == (exit_codes.DATA_CORRUPT, exit_codes.DATA_CORRUPT)
    assert ended.termination.reason == "InputReplaced"
    assert key in ended.termination.message
