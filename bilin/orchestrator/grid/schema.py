"""The JSON Schema of a grid, made from the same declarations as its check, so that editors complete and check it.

What the schema refuses the reader refuses. What it accepts may still have a fault: it cannot say what several fields
must satisfy together.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bilin.catalog import REGISTRIES, usable
from bilin.fields import Field, fields_of, plain_value
from bilin.folder import SWEEP_NAME
from bilin.orchestrator.grid.conditions import known_fields
from bilin.orchestrator.grid.ranges import SCALES, SEARCHED_BLOCKS, can_be_searched
from bilin.orchestrator.grid.settings import BLOCKS, DOCUMENT_KEYS, ClusterSettings, Keep, Seeds
from bilin.spec import ValidateSpec

Schema = dict[str, Any]

_TYPES = {bool: "boolean", int: "integer", float: "number", str: "string"}


def grid_schema() -> Schema:
    """Return the schema, in JSON Schema's draft 2020-12."""
    document = _document_properties()
    needed = [
        {"if": _lacks("grids"), "then": {"required": list(REGISTRIES)}},
        *({"if": _lacks(key), "then": {"properties": {"grids": {"items": {"required": [key]}}}}} for key in REGISTRIES),
    ]
    properties = {
        "name": {
            "type": "string",
            "pattern": f"^{SWEEP_NAME.pattern}$",
            "description": "the sweep's name in the store",
        },
        **document,
        "cluster": _block(ClusterSettings),
        "grids": _list(
            _closed({key: {"$ref": f"#/properties/{key}"} for key in document}),
            minItems=1,
            description="several documents; the top-level keys are their defaults",
        ),
    }
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A grid of bilin"}
    return {**schema, **_closed(properties), "required": ["name"], "allOf": needed}


def _document_properties() -> Schema:
    blocks = {
        key: [_block(block, axes=key == "train", may_search=key in SEARCHED_BLOCKS) for block in settings]
        for key, settings in BLOCKS.items()
    }
    used = (settings for kind in REGISTRIES for settings in usable(kind).values())
    known = {name: fields for name, fields in known_fields(used).items() if not fields[0].is_list}
    group = {"type": "array", "minItems": 2, "uniqueItems": True, "items": {"enum": list(known)}}
    values: Schema = {registry.what: {"enum": list(usable(kind))} for kind, registry in REGISTRIES.items()}
    values |= {name: {"anyOf": [_one_value(field) for field in fields]} for name, fields in known.items()}
    cells = {**_closed({name: _or_list(value) for name, value in values.items()}), "minProperties": 1}
    properties = {
        **{key: schemas[0] if len(schemas) == 1 else {"oneOf": schemas} for key, schemas in blocks.items()},
        "tasks": _entries("tasks", "what is trained on; each field may be a list, which is an axis"),
        "models": _entries("models", "what is trained; each field may be a list, which is an axis"),
        "seeds": _field(fields_of(Seeds)["seeds"], not_empty=True),
        "keep_weights": _field(fields_of(Keep)["keep_weights"]),
        "zip": _list(group, default=[], description="groups of fields that vary together"),
        "exclude": _list(cells, default=[], description="cells to leave out: all values must match"),
    }
    return {key: properties[key] for key in DOCUMENT_KEYS}


def _entries(kind: str, description: str) -> Schema:
    key, settings = REGISTRIES[kind].key, usable(kind)
    each = [
        {
            "if": {"properties": {key: {"const": name}}, "required": [key]},
            "then": _block(block, axes=True, may_search=kind in SEARCHED_BLOCKS, also={key: True}),
        }
        for name, block in settings.items()
    ]
    entry = {"type": "object", "required": [key], "properties": {key: {"enum": list(settings)}}, "allOf": each}
    return _list(entry, minItems=1, description=description)


def _block(
    settings: type, *, axes: bool = False, may_search: bool = False, also: Mapping[str, Any] | None = None
) -> Schema:
    fields, not_empty = fields_of(settings), settings not in (ValidateSpec, ClusterSettings)
    properties = {name: _field(field, axes=axes, not_empty=not_empty) for name, field in fields.items()}
    for name, field in fields.items():
        if may_search and can_be_searched(field):
            properties[name]["anyOf"].append(_range(field))
    required = [name for name, field in fields.items() if field.required]
    return {**_closed({**(also or {}), **properties}), **({"required": required} if required else {})}


def _closed(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "additionalProperties": False}


def _list(items: Schema, **more: object) -> Schema:
    return {"type": "array", "items": items, **more}


def _field(field: Field, *, axes: bool = False, not_empty: bool = False) -> Schema:
    schema = _one_value(field.item if field.is_list or field.is_mapping else field)
    if field.is_mapping:
        names = {"propertyNames": {"pattern": f"^(?:{field.form.pattern})$"}} if field.form else {}
        schema = {"type": "object", "additionalProperties": schema, **names}
    elif field.is_list:
        schema = _list(schema)
        if field.length is not None:
            schema |= {"minItems": field.length, "maxItems": field.length}
        else:
            schema |= {"uniqueItems": True, **({"minItems": 1} if not_empty else {})}
    elif axes:
        schema = _or_list(schema)
    default = {} if field.required else {"default": plain_value(field.default)}
    return {**schema, **default, "description": field.doc}


def _range(field: Field) -> Schema:
    bounds = _list(_one_value(field.item), minItems=2, maxItems=2)
    return {"oneOf": [{**_closed({scale: bounds}), "required": [scale]} for scale in SCALES]}


def _or_list(schema: Schema) -> Schema:
    return {"anyOf": [schema, _list(schema, minItems=1)]}


def _one_value(field: Field) -> Schema:
    schema: Schema = {"type": _TYPES[field.type]}
    if field.form:
        schema = {"type": ["string", "integer"], "pattern": f"^(?:{field.form.pattern})$"}
    elif field.choices:
        schema["enum"] = list(field.choices)
    limits = {"minimum": field.at_least, "exclusiveMinimum": field.above, "maximum": field.at_most}
    schema |= {key: limit for key, limit in limits.items() if limit is not None}
    return {"anyOf": [schema, {"type": "null"}]} if field.optional else schema


def _lacks(key: str) -> Schema:
    return {"not": {"required": [key]}}
