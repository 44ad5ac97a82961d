"""The JSON Schema of a grid, made from the same declarations as its check, so that editors complete and check it.

A schema cannot say all that the reader checks (what several fields must satisfy together): what it
refuses the reader refuses, and what it accepts may still have such a fault.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bilin.catalog import REGISTRIES, usable
from bilin.fields import Field, fields_of, plain_value
from bilin.orchestrator.grid.blocks import ChoicesKeys, ClusterSettings, LogUniformKeys
from bilin.orchestrator.grid.cells import Known, known_fields
from bilin.orchestrator.grid.document import SeedsKey
from bilin.orchestrator.grid.overrides import DOCUMENT_KEYS
from bilin.orchestrator.grid.read import NAME
from bilin.spec import Resources, TestSpec, TrainSpec, ValidateSpec

Schema = dict[str, Any]

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def grid_schema() -> Schema:
    """The schema, in JSON Schema's draft 2020-12."""
    document = _document_properties()
    needed = [{"if": _lacks("grids"), "then": {"required": ["tasks", "models"]}}]
    for key in ("tasks", "models"):
        each = {"properties": {"grids": {"items": {"required": [key]}}}}
        needed.append({"if": _lacks(key), "then": each})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A grid of bilin",
        "type": "object",
        "required": ["name"],
        "properties": {
            "name": {"type": "string", "pattern": f"^{NAME.pattern}$", "description": "the sweep's name in the store"},
            **document,
            "cluster": _block(ClusterSettings),
            "grids": {
                "type": "array",
                "minItems": 1,
                "items": _closed({key: {"$ref": f"#/properties/{key}"} for key in document}),
                "description": "several documents; the top-level keys are their defaults",
            },
        },
        "additionalProperties": False,
        "allOf": needed,
    }


def _document_properties() -> Schema:
    properties = {
        "tasks": _entries("tasks", "what is trained on; each field may be a list, which is an axis"),
        "models": _entries("models", "what is trained; each field may be a list, which is an axis"),
        "train": _block(TrainSpec, axes=True),
        "validate": _block(ValidateSpec),
        "test": _block(TestSpec, not_empty=True),
        "learning_rate": {"oneOf": [_block(ChoicesKeys, not_empty=True), _block(LogUniformKeys)]},
        "resources": _block(Resources),
        "seeds": _field(fields_of(SeedsKey)["seeds"], axes=False, not_empty=True),
        "zip": _zip(),
        "exclude": _exclude(),
    }
    return {key: properties[key] for key in DOCUMENT_KEYS}


def _entries(kind: str, description: str) -> Schema:
    key, settings = REGISTRIES[kind].key, usable(kind)
    each = [
        {
            "if": {"properties": {key: {"const": name}}, "required": [key]},
            "then": _block(block, axes=True, also={key: True}),
        }
        for name, block in settings.items()
    ]
    entry = {"type": "object", "required": [key], "properties": {key: {"enum": list(settings)}}, "allOf": each}
    return {"type": "array", "minItems": 1, "items": entry, "description": description}


def _block(
    settings: type, *, axes: bool = False, not_empty: bool = False, also: Mapping[str, Any] | None = None
) -> Schema:
    fields = fields_of(settings)
    properties = {name: _field(field, axes=axes, not_empty=not_empty) for name, field in fields.items()}
    required = [name for name, field in fields.items() if field.required]
    return {**_closed({**(also or {}), **properties}), **({"required": required} if required else {})}


def _closed(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _field(field: Field, *, axes: bool, not_empty: bool) -> Schema:
    schema = _value(field)
    if field.is_list and not_empty:
        schema["minItems"] = 1
    if axes and not field.is_list:
        kept: Schema = {key: schema.pop(key) for key in ("description", "default") if key in schema}
        schema = {"anyOf": [schema, {"type": "array", "minItems": 1, "items": schema}], **kept}
    return schema


def _value(field: Field) -> Schema:
    schema = _item(field.amount if field.is_mapping else field)
    if field.is_mapping:
        names = {"propertyNames": {"pattern": f"^(?:{field.limits.form.pattern})$"}} if field.limits.form else {}
        schema = {"type": "object", "additionalProperties": schema, **names}
    elif field.is_list:
        schema = {"type": "array", "items": schema}
        if field.length is not None:
            schema |= {"minItems": field.length, "maxItems": field.length}
        else:
            schema |= {"uniqueItems": True}
    elif field.optional:
        schema = {"anyOf": [schema, {"type": "null"}]}
    if not field.required:
        schema["default"] = plain_value(field.default)
    return {**schema, "description": field.doc}


def _item(field: Field) -> Schema:
    limits = field.limits
    if limits.form:
        return {"type": ["string", "integer"], "pattern": f"^(?:{limits.form.pattern})$"}
    schema: Schema = {"type": _TYPES[field.type]}
    if limits.choices:
        schema["enum"] = list(limits.choices)
    if limits.at_least is not None:
        schema["minimum"] = limits.at_least
    if limits.above is not None:
        schema["exclusiveMinimum"] = limits.above
    if limits.at_most is not None:
        schema["maximum"] = limits.at_most
    return schema


def _zip() -> Schema:
    names = [name for name, fields in _known().items() if not fields[0].is_list]
    group = {"type": "array", "minItems": 2, "uniqueItems": True, "items": {"enum": names}}
    return {"type": "array", "items": group, "default": [], "description": "groups of fields that vary together"}


def _exclude() -> Schema:
    values: Schema = {registry.what: {"enum": list(usable(kind))} for kind, registry in REGISTRIES.items()}
    for name, fields in _known().items():
        if not fields[0].is_list:
            values[name] = {"anyOf": [_condition(field) for field in fields]}
    accepted = {
        name: {"anyOf": [value, {"type": "array", "minItems": 1, "items": value}]} for name, value in values.items()
    }
    condition = {**_closed(accepted), "minProperties": 1}
    return {
        "type": "array",
        "items": condition,
        "default": [],
        "description": "cells to leave out: all values must match",
    }


def _known() -> Known:
    return known_fields(settings for kind in REGISTRIES for settings in usable(kind).values())


def _condition(field: Field) -> Schema:
    return {"anyOf": [_item(field), {"type": "null"}]} if field.optional else _item(field)


def _lacks(key: str) -> Schema:
    return {"not": {"required": [key]}}
