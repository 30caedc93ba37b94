"""Whole jobs of other systems: the manifests and the report that an import makes of each are in tests/data/client/import."""

import pytest
from fovea.cli import import_text
from fovea_api.v1alpha1 import MachineType, TrainingJob
from support.golden import Golden
from support.imports import SCHEMAS, SOURCES, accounting, document, in_manifests, made_of, manifests, unknown_fields

EACH = pytest.mark.parametrize("name", sorted(SOURCES))


@EACH
def test_a_job_of_another_system_becomes_these_manifests(name: str, golden: Golden) -> None:
    golden.check(f"client/import/{name}/made.yaml", manifests(made_of(name)))


@EACH
def test_the_report_says_what_became_of_each_field(name: str, golden: Golden) -> None:
    golden.check_text(f"client/import/{name}/report.txt", import_text.report(made_of(name)))


@EACH
def test_every_leaf_of_the_source_is_in_the_report(name: str) -> None:
    assert len(list(accounting(document(name), made_of(name).lines))) > 5


@EACH
def test_what_is_said_to_be_in_the_manifest_is_there(name: str) -> None:
    done = made_of(name)
    for line in done.lines:
        if line.key and line.path not in LATER:
            held = in_manifests(done, line)
            assert line.became in held if isinstance(held, list) and held != line.became else held == line.became, line


LATER = {("trainingInput", "args"), ("trainingInput", "pythonModule")}
"""What a later field adds to: jobDir is one more argument."""


@EACH
def test_the_manifests_fit_the_definitions_and_have_no_field_that_these_do_not_know(name: str) -> None:
    for manifest in manifests(made_of(name)):
        assert list(unknown_fields(manifest, SCHEMAS[manifest["kind"]])) == []
        {"TrainingJob": TrainingJob, "MachineType": MachineType}[manifest["kind"]].model_validate(manifest)


def test_a_field_that_the_definition_does_not_know_is_found() -> None:
    (job, *_) = manifests(made_of("tfjob-sidecars"))
    job["spec"]["trainer"]["container"]["volumes"][0]["hostPath"] = {"path": "/"}
    assert list(unknown_fields(job, SCHEMAS["TrainingJob"])) == [".spec.trainer.container.volumes[].hostPath"]
