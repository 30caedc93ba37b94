"""A training pod's data path against a real object store: fetch, sync, the next attempt's fetch."""

from dataclasses import replace

from fovea_api.contract import environment, exit_codes, listing, report, storage
from fovea_api.contract.plan import INPUT_PUBLICATION, Input
from support.object_store import ObjectStore
from support.polling import until
from support.training_pod import NAMESPACE, TrainingPod, finish, manifest, published


def test_what_a_trainer_wrote_is_published_and_the_next_attempt_finds_the_job_complete(
    object_store: ObjectStore, pod: TrainingPod
) -> None:
    assert pod.fetch().code == exit_codes.OK
    pod.start_sync()
    pod.checkpoint(200, {"weights": b"w200", "optimizer/slots": b"s200"})
    until(lambda: published(object_store, pod) == {200}, what="checkpoint 200 is published")
    finish(pod)

    ended = pod.sync_ended()

    assert ended.code == exit_codes.OK
    told = ended.termination
    assert told.reason == report.REASON_PUBLISHED
    assert told.metrics == {"accuracy": 0.975, "loss": 0.1}
    assert told.checkpoint_step == 200
    output = manifest(object_store, storage.output(pod.job, 1))
    assert output.complete
    assert told.complete
    assert told.output is not None
    assert (told.output.digest, told.output.size, told.output.files) == (output.digest, output.size, 3)
    assert told.output.uri == f"s3://{object_store.bucket}/{storage.output(pod.job, 1)}"
    assert told.model is not None
    assert told.model.digest == manifest(object_store, storage.model(pod.job, 1)).digest
    assert [e.path for e in manifest(object_store, storage.tensorboard(pod.job, 1)).entries] == [
        "events.out.tfevents.1"
    ]

    again = pod.next_attempt().fetch()
    assert again.code == exit_codes.ALREADY_COMPLETE
    assert again.termination.reason == report.REASON_ALREADY_COMPLETE
    assert (again.termination.output, again.termination.model) == (told.output, told.model)
    assert again.termination.metrics == told.metrics
    assert again.termination.complete


def test_workers_begin_with_the_newest_checkpoint_and_parameter_servers_with_none(
    object_store: ObjectStore, pod: TrainingPod
) -> None:
    assert pod.fetch().code == exit_codes.OK
    pod.start_sync()
    pod.checkpoint(200, {"weights": b"w200"})
    until(lambda: published(object_store, pod) == {200}, what="checkpoint 200 is published")
    finish(pod)
    assert pod.sync_ended().termination.complete

    chief = pod.next_attempt()
    worker = replace(chief, plan=replace(chief.plan, role="worker", publish=False), folder=pod.folder / "worker")
    server = replace(chief, plan=replace(chief.plan, role="ps", publish=False, restore=False), folder=pod.folder / "ps")
    for each in (worker, server):
        each.folder.mkdir()
    found = {each.plan.role: each.fetch() for each in (worker, server)}
    assert {role: ended.code for role, ended in found.items()} == {"worker": exit_codes.OK, "ps": exit_codes.OK}, (
        "only the chief says that the job is complete"
    )
    assert {role: ended.termination.checkpoint_step for role, ended in found.items()} == {"worker": 200, "ps": None}
    folder = environment.DIRECTORIES[environment.CHECKPOINT_DIR].rsplit("/", 1)[1]
    assert sorted(path.name for path in (worker.work / folder).iterdir()) == ["200"]
    assert list((server.work / folder).iterdir()) == []


def test_without_the_success_marker_the_output_is_published_but_the_job_is_not_complete(
    object_store: ObjectStore, pod: TrainingPod
) -> None:
    assert pod.fetch().code == exit_codes.OK
    pod.start_sync()
    ended = pod.sync_ended()
    assert ended.code == exit_codes.OK
    assert ended.termination.output is not None
    assert ended.termination.output.files == 0
    assert ended.termination.model is None
    assert not ended.termination.complete
    assert not manifest(object_store, storage.output(pod.job, 1)).complete
    assert pod.next_attempt().fetch().code == exit_codes.OK


def test_fetch_resumes_at_the_newest_checkpoint_and_passes_over_one_that_does_not_verify(
    object_store: ObjectStore, pod: TrainingPod
) -> None:
    assert pod.fetch().code == exit_codes.OK
    pod.start_sync()
    for step in (200, 400):
        pod.checkpoint(step, {"weights": b"w%d" % step})
        until(lambda step=step: step in published(object_store, pod), what=f"checkpoint {step} is published")
    pod.kill_sync()

    second = pod.next_attempt()
    ended = second.fetch()
    assert (ended.code, ended.termination.checkpoint_step) == (exit_codes.OK, 400)
    assert (second.directory(environment.CHECKPOINT_DIR) / "400" / "weights").read_bytes() == b"w400"

    prefix = storage.checkpoint(pod.job, 400)
    object_store.put(f"{prefix}/{manifest(object_store, prefix).entries[0].key}", b"rot!")
    third = second.next_attempt()
    ended = third.fetch()
    assert (ended.code, ended.termination.checkpoint_step) == (exit_codes.OK, 200)
    assert "passed over 400" in ended.termination.message
    assert [p.name for p in third.directory(environment.CHECKPOINT_DIR).iterdir()] == ["200"]


def test_a_checkpoint_that_did_not_verify_is_replaced_when_the_next_attempt_comes_as_far(
    object_store: ObjectStore, pod: TrainingPod
) -> None:
    assert pod.fetch().code == exit_codes.OK
    pod.start_sync()
    for step in (200, 400, 600):
        pod.checkpoint(step, {"weights": b"w%d" % step})
        until(lambda step=step: step in published(object_store, pod), what=f"checkpoint {step} is published")
    pod.kill_sync()
    payload, broken = storage.checkpoint(pod.job, 400), storage.manifest(storage.checkpoint(pod.job, 600))
    object_store.put(f"{payload}/{manifest(object_store, payload).entries[0].key}", b"rot!")
    object_store.put(broken, b"{rot")

    second = pod.next_attempt()
    assert second.fetch().termination.checkpoint_step == 200
    assert published(object_store, second) == {200, 400, 600}  # before the sidecar writes, nothing is taken away
    second.start_sync()
    until(lambda: published(object_store, second) == {200}, what="400 and 600 are withdrawn")
    second.checkpoint(400, {"weights": b"anew"})
    until(lambda: published(object_store, second) == {200, 400}, what="400 is published again")
    second.kill_sync()
    second.start_sync()  # the kubelet starts it again: what it published itself stays
    told = second.sync_ended().termination
    assert (told.checkpoint_step, published(object_store, second)) == (400, {200, 400})

    third = second.next_attempt()
    ended = third.fetch()
    assert (ended.code, ended.termination.checkpoint_step) == (exit_codes.OK, 400)
    assert (third.directory(environment.CHECKPOINT_DIR) / "400" / "weights").read_bytes() == b"anew"


def test_what_another_job_published_is_not_withdrawn_by_one_that_passed_it_over(
    object_store: ObjectStore, pod: TrainingPod
) -> None:
    assert pod.fetch().code == exit_codes.OK
    pod.start_sync()
    for step in (200, 400):
        pod.checkpoint(step, {"weights": b"w%d" % step})
        until(lambda step=step: step in published(object_store, pod), what=f"checkpoint {step} is published")
    pod.kill_sync()
    prefix = storage.checkpoint(pod.job, 400)
    object_store.put(f"{prefix}/{manifest(object_store, prefix).entries[0].key}", b"rot!")

    source = str(storage.Location(object_store.bucket, pod.job))
    other = replace(pod, plan=replace(pod.plan, job="tuesday", checkpoint_from=source), folder=pod.folder / "tuesday")
    other.folder.mkdir()
    assert other.fetch().termination.checkpoint_step == 200
    other.start_sync()
    other.checkpoint(400, {"weights": b"tuesday"})
    assert other.sync_ended().code == exit_codes.OK
    assert published(object_store, other) == {400}
    assert published(object_store, pod) == {200, 400}


def test_a_job_continues_from_another_jobs_checkpoint_and_publishes_only_its_own(
    object_store: ObjectStore, pod: TrainingPod
) -> None:
    assert pod.fetch().code == exit_codes.OK
    pod.start_sync()
    pod.checkpoint(300, {"weights": b"monday"})
    until(lambda: published(object_store, pod) == {300}, what="checkpoint 300 is published")
    pod.kill_sync()

    monday = str(storage.Location(object_store.bucket, pod.job))
    tuesday = replace(pod, plan=replace(pod.plan, job="tuesday", checkpoint_from=monday), folder=pod.folder / "tuesday")
    tuesday.folder.mkdir()
    ended = tuesday.fetch()
    assert ended.termination.checkpoint_step == 300
    tuesday.start_sync()
    tuesday.checkpoint(350, {"weights": b"tuesday"})
    assert tuesday.sync_ended().code == exit_codes.OK
    assert published(object_store, tuesday) == {350}

    nobody = replace(tuesday, plan=replace(tuesday.plan, job="wednesday", checkpoint_from=monday + "-of-nobody"))
    ended = nobody.fetch()
    assert (ended.code, ended.termination.reason) == (exit_codes.INPUT_MISSING, "CheckpointMissing")


def test_checkpoints_beyond_the_number_kept_are_pruned_in_the_store(
    object_store: ObjectStore, pod: TrainingPod
) -> None:
    pod.plan = replace(pod.plan, checkpoint_keep=2)
    assert pod.fetch().code == exit_codes.OK
    pod.start_sync()
    for step in (1, 2, 3, 10):
        pod.checkpoint(step, {"weights": b"%d" % step})
        until(lambda step=step: step in published(object_store, pod), what=f"checkpoint {step} is published")
    pod.sync_ended()
    assert published(object_store, pod) == {3, 10}
    left = object_store.names(f"{storage.checkpoints(pod.job)}/")
    assert left == ["10/1/weights", "10/manifest.json", "3/1/weights", "3/manifest.json"]


def test_inputs_of_every_kind_are_in_their_places(object_store: ObjectStore, pod: TrainingPod) -> None:
    folder = storage.dataset(NAMESPACE, "digits")
    for key in ("train/0/a.png", "train/1/b.png", "labels.csv"):
        object_store.put(f"{folder}/{key}", key.encode())
    object_store.put(f"{folder}/empty/", b"")
    object_store.put("shared/vocabulary.txt", b"words")
    pod.fetch()
    pod.start_sync()
    pod.write(environment.OUTPUT_DIR, {"features/x.npy": b"123"})
    output = pod.sync_ended().termination.output
    assert output is not None

    inputs = (
        Input("data", f"s3://fovea/{folder}/"),
        Input("words", "s3://fovea/shared/vocabulary.txt"),
        Input("before", output.uri, INPUT_PUBLICATION, output.digest),
    )
    job = replace(pod, plan=replace(pod.plan, job="other", inputs=inputs), folder=pod.folder / "other")
    job.folder.mkdir()
    for _ in range(2):  # a restarted init container finds its work done
        ended = job.fetch()
        assert ended.code == exit_codes.OK, ended.termination
        root = job.directory(environment.INPUT_DIR)
        files = {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}
        identities = {name: files.pop(f"{listing.FOLDER}/{name}.json") for name in ("data", "words", "before")}
        assert listing.Identity.from_json(identities["data"].decode()).files == 3
        assert files == {
            "data/train/0/a.png": b"train/0/a.png",
            "data/train/1/b.png": b"train/1/b.png",
            "data/labels.csv": b"labels.csv",
            "words": b"words",
            "before/features/x.npy": b"123",
        }


def test_a_missing_input_is_named_with_what_may_have_been_meant(object_store: ObjectStore, pod: TrainingPod) -> None:
    object_store.put("vision/datasets/of-one-test/digits-big/0/a.png", b"x")
    object_store.put("vision/datasets/of-one-test/quite-different/0/a.png", b"x")
    pod.plan = replace(pod.plan, inputs=(Input("data", "s3://fovea/vision/datasets/of-one-test/digit-big"),))
    ended = pod.fetch()
    assert (ended.code, ended.termination.reason) == (exit_codes.INPUT_MISSING, "InputMissing")
    assert ended.termination.message == (
        "input 'data': nothing is at s3://fovea/vision/datasets/of-one-test/digit-big; did you mean "
        "s3://fovea/vision/datasets/of-one-test/digits-big/? Else correct spec.inputs.data or upload the data"
    )


def test_a_publication_that_is_not_what_was_asked_for_is_refused(object_store: ObjectStore, pod: TrainingPod) -> None:
    pod.fetch()
    pod.start_sync()
    output = pod.sync_ended().termination.output
    assert output is not None
    job = replace(
        pod, plan=replace(pod.plan, job="other", inputs=(Input("x", output.uri, INPUT_PUBLICATION, "sha256:0"),))
    )
    ended = job.fetch()
    assert (ended.code, ended.termination.reason) == (exit_codes.DATA_CORRUPT, "InputCorrupt")
    assert output.digest in ended.termination.message


def test_a_store_that_does_not_answer_ends_fetch_as_retryable_when_patience_ends(pod: TrainingPod) -> None:
    (pod.keys / storage.SECRET_ENDPOINT).write_text("http://127.0.0.1:9")
    ended = pod.fetch("--patience", "1")
    assert (ended.code, ended.termination.reason) == (exit_codes.RESTART, "StoreUnreachable")
    assert "http://127.0.0.1:9" in ended.termination.message
    assert exit_codes.outcome(ended.code) is exit_codes.Outcome.RETRYABLE


def test_a_cache_is_shared_by_the_jobs_of_a_namespace_and_published_at_success(
    object_store: ObjectStore, pod: TrainingPod
) -> None:
    parent = storage.cache(NAMESPACE, f"features-{pod.plan.uid}")
    pod.plan = replace(pod.plan, cache=f"features-{pod.plan.uid}")
    for name, success in (("failed", False), ("first", True), ("same", True), ("grown", True)):
        job = replace(pod, plan=replace(pod.plan, job=name), folder=pod.folder / name)
        job.folder.mkdir()
        assert job.fetch().code == exit_codes.OK
        cached = sorted(p.name for p in job.directory(environment.CACHE_DIR).iterdir())
        assert cached == {"failed": [], "first": [], "same": ["vgg"], "grown": ["vgg"]}[name]
        job.write(environment.CACHE_DIR, {"vgg": b"features"} if name != "grown" else {"more": b"features"})
        if success:
            job.write(environment.OUTPUT_DIR, {environment.SUCCESS_MARKER: b""})
        job.start_sync()
        assert job.sync_ended().code == exit_codes.OK
    manifests = [name for name in object_store.names(f"{parent}/") if name.endswith(storage.MANIFEST)]
    assert manifests == [f"1/{storage.MANIFEST}", f"2/{storage.MANIFEST}"]
    assert [e.path for e in manifest(object_store, f"{parent}/2").entries] == ["more", "vgg"]


def test_a_cache_that_is_whole_outlives_a_pod_that_is_lost_before_its_program_ends(
    object_store: ObjectStore, pod: TrainingPod
) -> None:
    pod.plan = replace(pod.plan, cache=f"features-{pod.plan.uid}")
    parent = storage.cache(NAMESPACE, pod.plan.cache)
    assert pod.fetch().code == exit_codes.OK
    pod.start_sync()
    pod.write(environment.CACHE_DIR, {"vgg": b"features"})
    pod.write(environment.OUTPUT_DIR, {environment.CACHE_MARKER: b""})
    until(lambda: f"1/{storage.MANIFEST}" in object_store.names(f"{parent}/"), what="the cache is published")
    pod.kill_sync()
    second = pod.next_attempt()
    assert second.fetch().code == exit_codes.OK
    assert (second.directory(environment.CACHE_DIR) / "vgg").read_bytes() == b"features"
    assert not list(second.directory(environment.OUTPUT_DIR).iterdir()), "it says itself when its cache is whole"


def test_a_link_out_of_the_output_never_publishes_what_only_the_agent_may_read(
    object_store: ObjectStore, pod: TrainingPod
) -> None:
    assert pod.fetch().code == exit_codes.OK
    secret = pod.keys / storage.SECRET_SECRET_KEY
    output = pod.directory(environment.OUTPUT_DIR)
    (output / "stolen").symlink_to(secret)
    (output / "folder").symlink_to(pod.keys)
    (output / "blob").write_bytes(b"mine")
    (output / "alias").symlink_to("blob")
    pod.checkpoint(1, {"weights": b"w"})
    (pod.directory(environment.CHECKPOINT_DIR) / "2").symlink_to(pod.keys)
    pod.start_sync()
    assert pod.sync_ended().code == exit_codes.OK
    assert [e.path for e in manifest(object_store, storage.output(pod.job, 1)).entries] == ["alias", "blob"]
    assert published(object_store, pod) == {1}
    words = secret.read_bytes()
    assert not any(words in object_store.get(f"{pod.job}/{name}") for name in object_store.names(f"{pod.job}/"))


def test_a_later_attempt_reads_what_the_first_one_read_and_names_what_was_replaced(
    object_store: ObjectStore, pod: TrainingPod
) -> None:
    folder = storage.dataset(NAMESPACE, f"{pod.plan.uid}-growing")
    for name in ("0/größe 🤗.png", "1/b.png"):
        object_store.put(f"{folder}/{name}", name.encode())
    pod.plan = replace(pod.plan, inputs=(Input("data", f"s3://fovea/{folder}"),))
    assert pod.fetch().code == exit_codes.OK
    object_store.put(f"{folder}/1/c.png", b"added later")

    second = pod.next_attempt()
    assert second.fetch().code == exit_codes.OK
    data = second.directory(environment.INPUT_DIR) / "data"
    assert sorted(str(p.relative_to(data)) for p in data.rglob("*.png")) == ["0/größe 🤗.png", "1/b.png"]
    inputs = [attempt.directory(environment.INPUT_DIR) for attempt in (pod, second)]
    assert listing.read(inputs[0], "data") == listing.read(inputs[1], "data") is not None

    object_store.put(f"{folder}/1/b.png", b"replaced")
    ended = second.next_attempt().fetch()
    assert (ended.code, ended.termination.reason) == (exit_codes.DATA_CORRUPT, "InputReplaced")
    assert f"{folder}/1/b.png" in ended.termination.message
