"""Pieces of a pod that Fovea's API types describe in Kubernetes' own words: what a type knows is kept, what it does not is named."""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType
from typing import Any

from fovea_api.v1alpha1.common import Model
from pydantic import ValidationError

from .draft import Draft
from .source import Field

Schema = dict[str, Any]
_NONE: Mapping[str, str] = MappingProxyType({})


@cache
def _schema(model: type[Model]) -> Schema:
    return model.model_json_schema(by_alias=True)


def fitted(
    field: Field, model: type[Model], draft: Draft, remedies: Mapping[str, str] = _NONE
) -> dict[str, Any] | None:
    """The value without the fields that the type does not have, which are reported as dropped.

    `remedies`: what the user must do about such a field, by its name.

    None if the type does not take the rest: then the whole field is reported as dropped.
    """
    schema = _schema(model)
    unknown: list[Field] = []
    value = _known(field, schema, schema.get("$defs", {}), unknown)
    try:
        model.model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        part = ".".join(str(name) for name in first["loc"])
        draft.drop(field, f"Fovea does not take it: {f'{part}: ' if part else ''}{first['msg']}.", f"Correct {field}.")
        return None
    for one in unknown:
        draft.drop(one, f"Fovea has no field {one.path[-1]} here.", remedies.get(str(one.path[-1]), ""))
    return dict(value)


def ordered(value: Any, model: type[Model]) -> Any:
    """The value with its fields in the order of the type, as people read and write them."""
    schema = _schema(model)
    return _ordered(value, schema, schema.get("$defs", {}))


def _ordered(value: Any, schema: Schema, definitions: dict[str, Schema]) -> Any:
    schema = _resolved(schema, definitions)
    if isinstance(value, dict) and "properties" in schema:
        known = {key: child for key, child in schema["properties"].items() if key in value}
        first = {key: _ordered(value[key], child, definitions) for key, child in known.items()}
        return first | {key: one for key, one in value.items() if key not in known}
    if isinstance(value, list) and "items" in schema:
        return [_ordered(one, schema["items"], definitions) for one in value]
    return value


def field_names(model: type[Model]) -> frozenset[str]:
    """The names of a type's fields, as they are written."""
    return frozenset(_schema(model)["properties"])


def _known(field: Field, schema: Schema, definitions: dict[str, Schema], unknown: list[Field]) -> Any:
    schema = _resolved(schema, definitions)
    value = field.value
    if isinstance(value, dict) and "properties" in schema:
        kept = {}
        for key, child in field.items():
            if key in schema["properties"]:
                kept[key] = _known(child, schema["properties"][key], definitions, unknown)
            else:
                unknown.append(child)
        return kept
    if isinstance(value, list) and "items" in schema:
        return [_known(child, schema["items"], definitions, unknown) for child in field.entries()]
    return value


def _resolved(schema: Schema, definitions: dict[str, Schema]) -> Schema:
    """The schema that a reference means; of an optional one the schema without null."""
    while True:
        if "$ref" in schema:
            schema = definitions[schema["$ref"].rsplit("/", 1)[-1]]
        elif "anyOf" in schema:
            schema = next((one for one in schema["anyOf"] if one.get("type") != "null"), {})
        else:
            return schema
