"""The order of strength: schema, level, includes, bundle, preset, dispatch, override; every pair of them."""

import itertools
from datetime import UTC, datetime
from typing import Any

import pytest

from config_store.dispatch import Dispatch
from config_store.preset import Preset
from tests.config_store.conftest import BASIC, Bundles

LAYERS = ("default", "level", "include", "include2", "bundle", "preset", "dispatch", "redis")
"""Weakest first."""


def _values(*values: Any, **weaker: Any) -> dict[str, Any]:
    """A value of the same path for each layer that can give one."""
    return {**weaker, **dict(zip(LAYERS[2:], values, strict=True))}


FIELDS: dict[str, dict[str, Any]] = {
    "voice_tuning.pace": _values(0.5, 0.6, 0.7, 0.8, 0.9, 1.1, default=None),
    "agents.desk.voice_tuning.pitch": _values(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, default=None),
    "idle_timeout_seconds": _values(10.0, 11.0, 12.0, 13.0, 14.0, None, default=300.0),
    "turn_taking.min_delay": _values(0.1, 0.2, 0.3, 0.5, 0.6, 0.7, level=0.4),
    "agents.desk.greeting": _values("a", "b", "c", "d", "e", "f", default=None),
    "enabled_panels": _values(("a",), ("b",), ("c",), ("d",), ("e",), ("f",), default=()),
    "target_language": _values("hi", "de", "fr", "es", "it", "nl", default="en-IN"),
    "voice_id": _values("anna", "bob", "anna", "bob", "anna", "bob", default=None),
    "models.llm.model": _values("small", "large", "small", "large", "small", "large"),
    "metadata.who": _values(1, 2, 3, 4, 5, 6),
}

CASES = [
    (path, weak, strong)
    for path, values in FIELDS.items()
    for weak, strong in itertools.combinations(LAYERS, 2)
    if weak in values and strong in values
]

START = """
models: {stt: {provider: near}, llm: {provider: near}, tts: {provider: near}}
agents:
  desk: {instructions: You talk., panels: [a, b, c, d, e, f]}
overridable: [voice_tuning, agents.*.voice_tuning, agents.*.greeting, idle_timeout_seconds, turn_taking,
  enabled_panels, target_language, voice_id, models.llm.model, metadata]
"""


def _nested(path: str, value: Any) -> dict[str, Any]:
    head, _, rest = path.partition(".")
    return {head: _nested(rest, value) if rest else value}


def _yaml(path: str, value: Any) -> str:
    shown = list(value) if isinstance(value, tuple) else value
    return f"{_nested(path, shown)!r}".replace("'", '"').replace("None", "null")


class _OnePreset:
    def __init__(self, settings: dict[str, Any]) -> None:
        now = datetime.now(UTC)
        self.preset = Preset("p-1", "u", None, "mine", "main", settings, True, now, now)

    async def by_id(self, preset_id: str, *, deadline: float) -> Preset | None:
        return self.preset if preset_id == "p-1" else None

    async def default_of(self, user_id: str, organization: str | None, *, deadline: float) -> Preset | None:
        return self.preset


def _origin(layer: str) -> str:
    return {
        "default": "default", "level": "optimization_level", "include": "bundles/low.yaml:1:",
        "include2": "bundles/mid.yaml:1:", "bundle": "bundles/own.yaml:1:", "preset": "preset p-1",
        "dispatch": "dispatch", "redis": "redis session:s:config",
    }[layer]  # fmt: skip


@pytest.mark.parametrize(("path", "weak", "strong"), CASES, ids=[" ".join(case) for case in CASES])
async def test_the_stronger_layer_wins(bundles: Bundles, path: str, weak: str, strong: str) -> None:
    """Of two layers that give a value the stronger one's is the session's, and its origin says so."""
    values = FIELDS[path]
    given = {layer: values[layer] for layer in (weak, strong)}
    files = {
        layer: _yaml(path, given[layer]) for layer in ("include", "include2", "bundle") if layer in given
    }
    bundles.write(
        {
            "start": START,
            "low": files.get("include", "name: low"),
            "mid": files.get("include2", "name: mid"),
            # the bundle's own value stands in a file of its own, because START fills the bundle
            "own": files.get("bundle", "name: own"),
            "main": "include: [start, low, mid, own]\nname: main\n",
        }
    )
    preset = _OnePreset(_nested(path, given["preset"])) if "preset" in given else None
    shape: dict[str, dict[str, Any]] = {"dispatch": {}, "redis": {}}
    for layer in ("dispatch", "redis"):
        if layer in given:
            value = given[layer]
            shape[layer] = _nested(path, list(value) if isinstance(value, tuple) else value)
    resolved = await bundles.resolve(
        Dispatch(bundle="main", user_id="u", overrides=shape["dispatch"]),
        override=shape["redis"],
        presets=preset,
    )

    found: Any = resolved.config.model_dump()
    for name in path.split("."):
        found = found[name]
    assert found == values[strong]
    assert resolved.origins[path].startswith(_origin(strong))
    assert [verdict.verdict for verdict in resolved.verdicts if verdict.path == path] == [
        "applied" for layer in (weak, strong) if layer in ("preset", "dispatch", "redis") and layer in given
    ]


async def test_a_diamond_counts_once(bundles: Bundles) -> None:
    """A base shared by two includes does not undo what the first of them changed."""
    bundles.write(
        {
            "base": "idle_timeout_seconds: 10\n",
            "left": "include: [base]\nidle_timeout_seconds: 20\n",
            "right": "include: [base]\nname: right\n",
            "main": f"include: [left, right]\n{BASIC}",
        }
    )

    resolved = await bundles.resolve(bundle="main")

    assert resolved.config.idle_timeout_seconds == 20.0


async def test_null_removes_an_inherited_agent(bundles: Bundles) -> None:
    """`agents: {x: null}` takes an inherited agent away."""
    bundles.write(
        {
            "base": BASIC,
            "main": "include: [base]\nagents: {expert: null, desk: {handoffs: []}}\n",
        }
    )

    resolved = await bundles.resolve(bundle="main")

    assert list(resolved.config.agents) == ["desk"]


async def test_lists_replace(bundles: Bundles) -> None:
    """A list of a stronger layer takes the place of the weaker one's, item by item of nothing."""
    bundles.write(
        {
            "base": f"{BASIC}\nidle_prompts: [{{after_seconds: 5, say: a}}, {{after_seconds: 6, say: b}}]\n",
            "main": "include: [base]\nidle_prompts: [{after_seconds: 7, say: c}]\n",
        }
    )

    resolved = await bundles.resolve(bundle="main")

    assert [prompt.say for prompt in resolved.config.idle_prompts] == ["c"]


async def test_another_provider_drops_the_weaker_fields(bundles: Bundles) -> None:
    """A layer that changes a model's provider drops the weaker layers' other fields; the same does not."""
    bundles.environ["K"] = "x"
    bundles.catalog.environment["OPENAI_API_KEY"] = "x"  # type: ignore[index]
    bundles.write(
        {
            "base": BASIC.replace(
                "llm: {provider: near}", "llm: {provider: near, model: small, temperature: 0.5}"
            ),
            "same": "include: [base]\nmodels: {llm: {provider: near}}\n",
            "other": "include: [base]\nmodels: {llm: {provider: openai}}\n",
        }
    )

    same = (await bundles.resolve(bundle="same")).config.models.llm
    other = (await bundles.resolve(bundle="other")).config.models.llm
    overridden = (await bundles.resolve(bundle="base", override={"llm_provider": "openai"})).config.models.llm

    assert same is not None
    assert (same.model, same.temperature) == ("small", 0.5)
    assert other == overridden
    assert other is not None
    assert (other.model, other.temperature) == ("gpt-4.1-mini", None)


async def test_a_plain_voice_belongs_to_the_provider_it_was_written_for(bundles: Bundles) -> None:
    """When another provider speaks, a voice given as one name stays the old provider's."""
    bundles.catalog.environment["OPENAI_API_KEY"] = "x"  # type: ignore[index]
    bundles.write({"main": f"{BASIC}\nvoice_id: anna\n"})

    resolved = await bundles.resolve(bundle="main", override={"tts_provider": "openai"})

    assert resolved.config.voice_id == {"near": "anna"}
    assert resolved.config.agents["expert"].voice_id == {"near": "bob"}


async def test_an_optimization_level_chooses_what_is_left_open(bundles: Bundles) -> None:
    """The level chooses models and turn-taking that nobody named; what a bundle says wins."""
    bundles.catalog.environment["OPENAI_API_KEY"] = "x"  # type: ignore[index]
    models = BASIC.replace("llm: {provider: near}", "llm: {provider: openai}")
    bundles.write({"main": f"{models}\nturn_taking: {{max_delay: 9}}\n"})

    slow = (await bundles.resolve(bundle="main", override={"optimization_level": "quality"})).config
    quick = (await bundles.resolve(bundle="main", override={"optimization_level": "speed"})).config

    assert slow.models.llm is not None
    assert quick.models.llm is not None
    assert (slow.models.llm.model, quick.models.llm.model) == ("gpt-4.1", "gpt-4.1-nano")
    assert slow.turn_taking.min_delay > quick.turn_taking.min_delay
    assert slow.turn_taking.max_delay == quick.turn_taking.max_delay == 9.0
