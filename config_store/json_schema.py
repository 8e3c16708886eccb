"""The JSON Schema of a bundle file, for editors that complete and check YAML."""

from __future__ import annotations

from typing import Any

from config_store.json_text import MAX_INTEGER
from config_store.schema import SessionConfig

_INCLUDE = {
    "type": "array",
    "items": {"type": "string"},
    "title": "Include",
    "description": "Other bundles by name, weakest first; deep merge in this order, lists replace.",
}
_VARIABLE = {"type": "string", "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*"}
"""A value from the environment may stand wherever a number, a choice or text of a form can."""


def bundle_schema() -> dict[str, Any]:
    """
    The schema of what people write: the session config, `include`, texts from files, and removals.

    Every field has its description with unit and range, and its default.
    """
    schema = SessionConfig.model_json_schema(by_alias=True)
    schema["$schema"] = "https://json-schema.org/draft/2020-12/schema"
    schema["title"] = "Bundle"
    schema["properties"] = {"include": _INCLUDE, **schema["properties"]}
    definitions = schema["$defs"]
    instructions = definitions["AgentConfig"]["properties"]["instructions"]
    length = instructions.pop("maxLength", MAX_INTEGER)
    instructions.pop("type")
    instructions["anyOf"] = [
        {"type": "string", "maxLength": length},
        _map("file", "Path of a text file inside the bundles folder."),
        _map("prompt", "Id of a text in prompts/ID.md."),
    ]
    agents = schema["properties"]["agents"]
    agents["patternProperties"] = {
        pattern: {"anyOf": [entry, {"type": "null"}]}
        for pattern, entry in agents["patternProperties"].items()
    }
    for named in (agents, schema["properties"]["variables"]):
        named["additionalProperties"] = False
    for properties in [schema["properties"], *(item.get("properties", {}) for item in definitions.values())]:
        for name, field in properties.items():
            properties[name] = _or_variable(field)
    return schema


def _map(key: str, description: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {key: {"type": "string", "description": description}},
        "required": [key],
        "additionalProperties": False,
    }


def _or_variable(field: dict[str, Any]) -> dict[str, Any]:
    if "items" in field:
        field = {**field, "items": _or_variable(field["items"])}
    options = field.get("anyOf", [field])
    kinds = {option.get("type") for option in options}
    is_free_text = any(option.get("type") == "string" and not _is_narrow(option) for option in options)
    if is_free_text or not kinds & {"number", "integer", "boolean", "string"}:
        return field
    kept = ("description", "default", "title", "x-overridable", "x-takes-effect")
    about = {key: field[key] for key in kept if key in field}
    rest = {key: value for key, value in field.items() if key not in kept}
    options = rest.pop("anyOf", None) or [rest]
    return {"anyOf": [*options, _VARIABLE], **about}


def _is_narrow(text: dict[str, Any]) -> bool:
    return "enum" in text or "pattern" in text
