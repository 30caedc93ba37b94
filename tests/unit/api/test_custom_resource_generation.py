"""Types become structural schemas: the checked-in files are current, what has no structural form is refused with its path."""

from pathlib import Path
from typing import Annotated

import pytest
import yaml
from fovea_api.v1alpha1 import KINDS, crd
from fovea_api.v1alpha1.admission import policies
from fovea_api.v1alpha1.common import Model
from pydantic import Field

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize("folder", ["crds", "charts/fovea/files/crds"])
def test_the_checked_in_definitions_are_those_of_the_types(tmp_path: Path, folder: str) -> None:
    crd.write(tmp_path)
    written = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert {path.name: path.read_text() for path in (ROOT / folder).glob("*.yaml")} == written


def test_the_yaml_that_is_written_means_what_was_meant(tmp_path: Path) -> None:
    crd.write(tmp_path)
    for kind in KINDS:
        assert yaml.safe_load((tmp_path / f"{kind.crd_name}.yaml").read_text()) == crd.definition(kind)
    assert list(yaml.safe_load_all((tmp_path / "admission.yaml").read_text())) == policies()


def schema_of(model: type[Model]) -> dict[str, object]:
    document = model.model_json_schema(by_alias=True)
    return crd._structural(document, document.get("$defs", {}), "Thing")


def test_an_optional_field_loses_its_null_branch_and_keeps_its_bounds() -> None:
    class Thing(Model):
        """A thing."""

        how_many: Annotated[int | None, Field(ge=1, le=9)] = None
        """How many."""

    assert schema_of(Thing) == {
        "type": "object",
        "description": "A thing.",
        "properties": {
            "howMany": {"type": "integer", "format": "int64", "minimum": 1, "maximum": 9, "description": "How many."}
        },
    }


def test_no_bound_is_left_out_without_a_word() -> None:
    class Thing(Model):
        """A thing."""

        ratio: Annotated[float, Field(gt=1, lt=9)] = 2
        """How much."""

    [found] = schema_of(Thing)["properties"].values()  # type: ignore[attr-defined]
    bounds = {"minimum": 1, "exclusiveMinimum": True, "maximum": 9, "exclusiveMaximum": True}
    assert bounds.items() <= found.items()

    class Other(Model):
        """Another one."""

        number: Annotated[int, Field(multiple_of=3)] = 3

    with pytest.raises(crd.SchemaError, match=r"Thing\.number: multipleOf is not written"):
        schema_of(Other)


def test_a_union_is_refused_with_the_path_of_the_field() -> None:
    class Thing(Model):
        """A thing."""

        either: int | str = 1

    with pytest.raises(crd.SchemaError, match=r"Thing\.either: is a union of 2 types"):
        schema_of(Thing)


class Node(Model):
    """A node of a tree."""

    child: "Node | None" = None


def test_a_type_that_contains_itself_is_refused() -> None:
    with pytest.raises(crd.SchemaError, match="refers to itself"):
        schema_of(Node)


def test_a_maps_key_pattern_becomes_a_rule_since_structural_schemas_have_none() -> None:
    inputs = crd.definition(KINDS[0])["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"][
        "properties"
    ]["inputs"]
    assert inputs["x-kubernetes-validations"] == [
        {
            "rule": "self.all(k, k.matches(r'^[a-z]([-a-z0-9]*[a-z0-9])?$') && k.size() <= 40)",
            "message": "names in inputs have at most 40 characters and hold a-z, 0-9 and '-', starting with a letter",
        }
    ]
