"""A catalog made up for tests: every kind of provider there can be, and nothing of the real ones."""

from collections.abc import Sequence

from config_store.catalog import Catalog, ProviderFacts
from config_store.schema import KINDS, Kind, ModelConfig

ALL: frozenset[Kind] = frozenset(KINDS)


def _option_problems(kind: Kind, model: ModelConfig) -> Sequence[tuple[str, str]]:
    if model.provider != "near":
        return ()
    found = [(key, f"unknown option of {kind}") for key in model.options if key not in ("rules", "phrases")]
    rules = model.options.get("rules", ())
    return [*found, *((f"rules[{n}]", "has no when") for n, rule in enumerate(rules) if "when" not in rule)]


def catalog(environment: dict[str, str] | None = None) -> Catalog:
    """`near` needs nothing; `openai` and `voices` need keys; `picky` a model; `extra` is not installed."""
    providers = [
        ProviderFacts("near", ALL, models={"llm": ("small", "large")}, voices=("anna", "bob")),
        ProviderFacts("openai", ALL, key_env="OPENAI_API_KEY"),
        ProviderFacts("elevenlabs", frozenset({"stt", "tts"}), key_env="ELEVEN_API_KEY"),
        ProviderFacts(
            "voices", frozenset({"tts"}), voice_problem=lambda name: None if name == "v" else "no such voice"
        ),
        ProviderFacts("picky", frozenset({"tts"}), needs_model=frozenset({"tts"})),
        ProviderFacts("extra", ALL, installed=False, extra="more"),
    ]
    return Catalog(
        providers={facts.name: facts for facts in providers},
        modules=frozenset({"my_tools", "lost_tools"}),
        names={
            "my_tools": {
                "find": False,
                "lookup_order": False,
                "end_call": False,
                "handoff_to_desk": False,
                "Guest": True,
            }
        },
        environment={} if environment is None else environment,
        is_installed=lambda plugin: "not_here" not in plugin,
        option_problems=_option_problems,
    )
