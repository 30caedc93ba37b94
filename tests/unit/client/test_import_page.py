"""The how-to lists the fields that the importer knows, and no others; a dash stands where a field is dropped."""

import re

import pytest
from fovea.sdk.importing import hosted, program, run_policy, template, tfjob
from support.pages import ROOT

PAGE = (ROOT / "docs/how-to/move-from-tfjob.md").read_text(encoding="utf-8")
OF_ROLES = {f"{name}{part}" for name in hosted.REPLICAS for part in ("Type", "Count", "Config")} - {"masterCount"}


def rows(heading: str) -> dict[str, bool]:
    """Names in the first column of the table below a heading, and whether the second one begins with a dash."""
    section = re.split(r"^#+ ", PAGE.partition(f"### {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    found = {}
    for line in section.splitlines():
        if line.startswith("| `"):
            first, second = line.strip("| ").split(" | ", maxsplit=1)
            found |= dict.fromkeys(re.findall(r"`([^`]+)`", first), second.startswith("–"))
    return found


@pytest.mark.parametrize(
    ("heading", "taken", "dropped"),
    [
        ("Run policy", {*run_policy.TAKEN, run_policy.SCHEDULING_POLICY} - {"managedBy"}, {"managedBy"}),
        ("Roles", {*tfjob.ROLES}, set()),
        (
            "Pod",
            {*template.TAKEN, "containers", "volumes"} - {"enableServiceLinks"},
            {*template.DROPPED, "enableServiceLinks"},
        ),
        ("Container", {*program.TAKEN} - {"name"}, {*program.DROPPED, "name"}),
        ("Job of Cloud ML", {"jobId", "labels"}, {*hosted.JOB_DROPPED}),
        (
            "Training input",
            OF_ROLES | {"scaleTier", "pythonModule", "args", "jobDir", "scheduling"},
            {*hosted.DROPPED, "useChiefInTfConfig"},
        ),
        (
            "The job",
            {"apiVersion", "kind", "spec.tfReplicaSpecs"}
            | {f"metadata.{name}" for name in ("name", "namespace", "labels", "annotations")},
            {f"metadata.{name}" for name in tfjob.METADATA_DROPPED}
            | {"status", "spec.successPolicy", "spec.enableDynamicWorker"},
        ),
    ],
)
def test_the_page_lists_the_fields_that_the_importer_knows(heading: str, taken: set[str], dropped: set[str]) -> None:
    found = rows(heading)
    assert {name for name, is_dropped in found.items() if not is_dropped} == taken
    assert {name for name, is_dropped in found.items() if is_dropped} == dropped
