"""Types -> CustomResourceDefinitions: pydantic's JSON schema made structural. Run by `make generate`.

Pydantic's schema is not structural: references are inlined, titles and null branches dropped, `const` becomes a one-value enum.
What cannot be expressed (recursion, other unions) is refused with the path of the field.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from fovea_api.contract import names

from .common import GROUP, VERSION, Column, Kind

HEADER = "# Generated from api/fovea_api/v1alpha1 by `make generate`: edit the types, not this file.\n"

_KEPT = (
    "type",
    "description",
    "enum",
    "format",
    "minimum",
    "maximum",
    "minLength",
    "maxLength",
    "pattern",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "x-kubernetes-validations",
    "x-kubernetes-list-type",
    "x-kubernetes-list-map-keys",
)
_BOUNDS_WITHOUT_A_PLACE = {"multipleOf", "uniqueItems", "not", "oneOf", "contains"}
_STATUS_ITEMS = 64
_DEEPEST = 20


class SchemaError(ValueError):
    """A type that has no structural schema; the message names the field's path."""


def definition(kind: Kind) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind."""
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _schema(kind)},
        "additionalPrinterColumns": [_column(column) for column in kind.columns],
    }
    if kind.subresources:
        version["subresources"] = kind.subresources
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": kind.crd_name, "labels": {"app.kubernetes.io/part-of": "fovea"}},
        "spec": {
            "group": GROUP,
            "scope": kind.scope,
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": [kind.short],
                "categories": ["fovea"],
            },
            "versions": [version],
        },
    }


def _schema(kind: Kind) -> dict[str, Any]:
    """The whole object of a kind, with what every object has and the rules on more than one field."""
    document = kind.model.model_json_schema(by_alias=True, mode="validation")
    schema = _structural(document, document.get("$defs", {}), kind.kind)
    schema["description"] = _text(kind.model.__doc__)
    properties = schema["properties"]
    properties["apiVersion"] = {
        "type": "string",
        "description": f"Group and version of this schema: {GROUP}/{VERSION}.",
    }
    properties["kind"] = {"type": "string", "description": f"The kind: {kind.kind}."}
    # The bound lets CEL estimate the cost of rules on the name.
    properties["metadata"] = {"type": "object", "properties": {"name": {"type": "string", "maxLength": 63}}}
    schema["required"] = ["spec"]
    own_rules = schema.pop("x-kubernetes-validations", [])
    if validations := [*own_rules, *kind.root_rules]:
        schema["x-kubernetes-validations"] = validations
    if "status" in properties:
        properties["status"].pop("default", None)
        _bound_status(properties["status"])
        # One writer writes it: without a record of who owns which of its fields an object is a third smaller (ADR 148).
        properties["status"]["x-kubernetes-map-type"] = "atomic"
    return schema


def _column(column: Column) -> dict[str, Any]:
    """A printer column; what it does not say is left out."""
    said = {
        "name": column.name,
        "type": column.type,
        "jsonPath": column.json_path,
        "priority": column.priority,
        "description": column.description,
    }
    return {key: value for key, value in said.items() if value or key in ("name", "type", "jsonPath")}


def _exclusive(node: dict[str, Any], path: str) -> dict[str, Any]:
    """Bounds that a value must not reach: OpenAPI 3.0 has a word beside the bound. No bound is left out without a word."""
    if unknown := sorted(_BOUNDS_WITHOUT_A_PLACE & node.keys()):
        raise SchemaError(
            f"{path}: {', '.join(unknown)} is not written into the definition: use a rule or another bound"
        )
    found: dict[str, Any] = {}
    for bound in ("minimum", "maximum"):
        exclusive = f"exclusive{bound.capitalize()}"
        if exclusive in node:
            found |= {bound: node[exclusive], exclusive: True}
    return found


def _structural(node: dict[str, Any], definitions: dict[str, Any], path: str) -> dict[str, Any]:
    """One schema node, inlined and reduced to what Kubernetes allows."""
    if path.count(".") > _DEEPEST:
        raise SchemaError(f"{path}: refers to itself; structural schemas end somewhere")
    node = _resolved(node, definitions, path)
    if node.get("x-fovea-scalars"):
        return _scalars(node)
    if node.get("x-kubernetes-int-or-string"):
        # Each bound beside it applies to its own kind of value: a text's bounds to text, a number's to numbers.
        result: dict[str, Any] = {"x-kubernetes-int-or-string": True} | {
            key: node[key] for key in ("minimum", "minLength", "maxLength", "pattern") if key in node
        }
    else:
        result = {key: node[key] for key in _KEPT if key in node} | _exclusive(node, path)
        if "const" in node:
            result["enum"] = [node["const"]]
        if "type" not in result:
            raise SchemaError(
                f"{path}: has no type; only plain types, objects, lists and maps have a structural schema"
            )
    if "description" in node:
        result["description"] = _text(node["description"])
    if "default" in node and node["default"] is not None:
        result["default"] = node["default"]
    if result.get("type") == "integer":
        result["format"] = "int64"
    if result.get("type") == "number":
        result.setdefault("format", "double")
    if result.get("type") == "array":
        result["items"] = _structural(node["items"], definitions, f"{path}[]")
    if result.get("type") == "object":
        _object(node, result, definitions, path)
    return result


def _object(node: dict[str, Any], result: dict[str, Any], definitions: dict[str, Any], path: str) -> None:
    if "properties" in node:
        result["properties"] = {
            name: _structural(child, definitions, f"{path}.{name}") for name, child in node["properties"].items()
        }
        if required := node.get("required"):
            result["required"] = required
        return
    # A key with a pattern makes pydantic write patternProperties, one without additionalProperties.
    patterns = node.get("patternProperties", {})
    values = next(iter(patterns.values())) if len(patterns) == 1 else node.get("additionalProperties")
    if not isinstance(values, dict):
        raise SchemaError(f"{path}: an object needs fields, or values of one type")
    result["additionalProperties"] = _structural(values, definitions, f"{path}.*")
    keys = _resolved(node.get("propertyNames", {}), definitions, path)
    if patterns:
        keys = {**keys, "pattern": next(iter(patterns)), "maxLength": keys.get("maxLength", names.MAX_NAME)}
    if keys:
        # Structural schemas know neither: the key's bounds become CEL rules on the map.
        name = path.rsplit(".", 1)[-1]
        checks = []
        if "pattern" in keys:
            checks.append(f"k.matches(r'{keys['pattern']}')")
        if "maxLength" in keys:
            checks.append(f"k.size() <= {keys['maxLength']}")
        if checks:
            result.setdefault("x-kubernetes-validations", []).append(
                {
                    "rule": f"self.all(k, {' && '.join(checks)})",
                    "message": f"names in {name} have at most {keys.get('maxLength', 253)} characters"
                    + (f" and {keys['x-fovea-words']}" if "x-fovea-words" in keys else ""),
                }
            )


def _resolved(node: dict[str, Any], definitions: dict[str, Any], path: str) -> dict[str, Any]:
    """Follow $ref, drop the null branch of an optional field; what stands beside wins (description, default)."""
    beside = {key: value for key, value in node.items() if key not in ("$ref", "anyOf", "allOf")}
    if "$ref" in node:
        target = definitions[node["$ref"].rsplit("/", 1)[-1]]
        return {**_resolved(target, definitions, path), **beside}
    if "x-kubernetes-int-or-string" in node or "x-fovea-scalars" in node:
        return node
    branches = [branch for branch in node.get("anyOf", ()) if branch.get("type") != "null"]
    if len(branches) == 1:
        return {**_resolved(branches[0], definitions, path), **beside}
    if branches:
        raise SchemaError(f"{path}: is a union of {len(branches)} types; structural schemas have none")
    return node


def _scalars(node: dict[str, Any]) -> dict[str, Any]:
    """A map of strings, numbers and booleans: the values have no single type, the admission policy checks them."""
    branches = [branch for branch in node.get("anyOf", [node]) if branch.get("type") == "object"]
    result: dict[str, Any] = {"type": "object", "description": _text(node["description"])}
    result["maxProperties"] = branches[0].get("maxProperties", node.get("maxProperties", 128))
    result["additionalProperties"] = {"x-kubernetes-preserve-unknown-fields": True}
    return result


def _bound_status(node: dict[str, Any]) -> None:
    """Lists and maps of a status get a bound too: nothing in the store is without one."""
    if node.get("type") == "object" and "additionalProperties" in node:
        node.setdefault("maxProperties", _STATUS_ITEMS)
        _bound_status(node["additionalProperties"])
    for child in node.get("properties", {}).values():
        _bound_status(child)
    if node.get("type") == "array":
        node.setdefault("maxItems", _STATUS_ITEMS)
        _bound_status(node["items"])


def _text(text: str | None) -> str:
    return " ".join((text or "").split())


def write(folder: Path) -> None:
    """Write one JSON-compatible YAML file per kind and the admission policy; files of kinds that no longer exist are removed."""
    from . import KINDS
    from .admission import policies

    documents = {f"{kind.crd_name}.yaml": [definition(kind)] for kind in KINDS}
    documents["admission.yaml"] = policies()
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.yaml"):
        if old.name not in documents:
            old.unlink()
    for name, objects in documents.items():
        (folder / name).write_text(HEADER + "---\n".join(_yaml(item) for item in objects))


def _yaml(document: Any, indent: int = 0) -> str:
    """Block-style YAML of a JSON document: this package depends on pydantic only, and strings are quoted as JSON (which is YAML)."""
    pad = "  " * indent
    if isinstance(document, dict) and document:
        lines = []
        for key, value in document.items():
            text = _yaml(value, indent + 1)
            plain = key if key.replace("-", "").replace(".", "").replace("/", "").isalnum() else json.dumps(key)
            nested = isinstance(value, (dict, list)) and bool(value)
            lines.append(f"{pad}{plain}:\n{text}" if nested else f"{pad}{plain}: {text}\n")
        return "".join(lines)
    if isinstance(document, list) and document:
        lines = []
        for value in document:
            text = _yaml(value, indent + 1)
            if isinstance(value, (dict, list)) and value:
                lines.append(f"{pad}- {text[len(pad) + 2 :]}")
            else:
                lines.append(f"{pad}- {text}\n")
        return "".join(lines)
    return json.dumps(document, ensure_ascii=False)


def main() -> None:
    """Command line: `python -m fovea_api.v1alpha1.crd FOLDER…`."""
    parser = argparse.ArgumentParser(description="Write Fovea's CRDs and admission policy as YAML.")
    parser.add_argument(
        "folders", nargs="+", type=Path, help="folders to write to; other *.yaml files there are removed"
    )
    for folder in parser.parse_args().folders:
        write(folder)
        print(f"wrote {folder}")


if __name__ == "__main__":
    main()
