"""The JSON Schema beside the bundles: what an editor accepts, marks as wrong, and completes."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from config_store.json_schema import bundle_schema

BUNDLES = Path(__file__).parents[2] / "bundles"
SCHEMA = bundle_schema()
SHIPPED = sorted(path for path in BUNDLES.rglob("*.yaml") if path.stem != "routes")
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)

Change = Callable[[dict[str, Any]], object]


def load(name: str) -> dict[str, Any]:
    """A shipped bundle as an editor's language server reads it."""
    document: dict[str, Any] = yaml.safe_load((BUNDLES / f"{name}.yaml").read_text("utf-8"))
    return document


def test_it_is_a_schema() -> None:
    """The schema itself is a valid one of the draft that it names."""
    assert SCHEMA["$schema"] == jsonschema.Draft202012Validator.META_SCHEMA["$id"]
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: str(path.stem))
def test_every_shipped_bundle_validates(path: Path) -> None:
    """Every shipped bundle is right by the schema, and its first line points to the schema's file."""
    text = path.read_text("utf-8")
    first = text.splitlines()[0]

    VALIDATOR.validate(yaml.safe_load(text))
    assert first.startswith("# yaml-language-server: $schema=")
    assert (path.parent / first.partition("=")[2]).resolve() == BUNDLES / "bundle.schema.json"


def test_the_file_is_the_present_schema() -> None:
    """What editors read is what the code says now."""
    assert json.loads((BUNDLES / "bundle.schema.json").read_text("utf-8")) == SCHEMA


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (lambda b: b.update(agnets={}), ""),
        (lambda b: b.update(idle_timeout_seconds="soon"), "idle_timeout_seconds"),
        (lambda b: b.update(optimization_level="fast"), "optimization_level"),
        (lambda b: b.update(voice_tuning={"pace": 9}), "voice_tuning"),
        (lambda b: b.update(voice_tuning={"pase": 1}), "voice_tuning"),
        (lambda b: b.update(include="base"), "include"),
        (lambda b: b.update(captions="sometimes"), "captions"),
        (lambda b: b["agents"].update({"no name": {}}), "agents"),
        (lambda b: next(iter(b["agents"].values())).update(greetings="Hi."), "agents"),
        (lambda b: next(iter(b["agents"].values())).update(instructions={"fil": "x"}), "agents"),
    ],
    ids=["key", "type", "choice", "range", "inner key", "no list", "no flag", "name", "agent key", "form"],
)  # fmt: skip
def test_wrong_bundles_do_not(change: Change, path: str) -> None:
    """A wrong key, type, choice, range or form is marked, at its place."""
    document = copy.deepcopy(load("interview"))
    VALIDATOR.validate(document)
    change(document)

    errors = list(VALIDATOR.iter_errors(document))

    assert errors
    assert all(str(error.absolute_path[0] if error.absolute_path else "") == path for error in errors)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("idle_timeout_seconds", "${IDLE:-30}"),
        ("optimization_level", "${LEVEL}"),
        ("captions", "${CAPTIONS:-true}"),
        ("organization", "${ORGANIZATION:-acme}"),
        ("models", {"llm": {"provider": "openai", "base_url": "${GATEWAY}/v1"}}),
        ("models", {"llm": {"plugin": "${PLUGIN}", "api_key_env": "${KEY_NAME:-KEY}"}}),
        ("agents", {"a": {"handoffs": ["${NEXT}"], "context": "${CONTEXT:-all}", "class": "${CLASS}"}}),
        ("agents", {"gone": None}),
        ("idle_timeout_seconds", None),
    ],
    ids=["number", "choice", "flag", "name", "address", "plugin", "agent", "removal", "null"],
)
def test_what_only_bundles_have_is_right(field: str, value: object) -> None:
    """A value from the environment, a removed agent and a null are no mistakes."""
    VALIDATOR.validate({field: value})


def _fields(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    sections = {"": schema, **schema["$defs"]}
    return {
        f"{name}.{key}": field
        for name, section in sections.items()
        for key, field in section.get("properties", {}).items()
    }


def _choices(field: dict[str, Any]) -> list[Any]:
    return [*field.get("enum", ()), *(c for one in field.get("anyOf", ()) for c in one.get("enum", ()))]


def test_names_and_choices_complete() -> None:
    """An editor can offer every key with a description, and every choice of a field that has choices."""
    fields = _fields(SCHEMA)

    assert all(field.get("description") for field in fields.values())
    assert _choices(fields[".optimization_level"]) == [
        "quality", "balanced_quality", "balanced", "balanced_speed", "speed",
    ]  # fmt: skip
    assert "audio_screenshare" in _choices(fields[".modality_profile"])
    assert _choices(fields[".on_crash"]) == ["resume", "end"]
    assert SCHEMA["additionalProperties"] is False
