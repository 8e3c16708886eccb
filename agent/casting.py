"""
The models of one talk: made for the session and for agents that differ from it, changed live, closed once.

Who is changed and who is made anew is decided by owner: an agent's name, or None for the session.
"""

from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from agent.providers import registry
from agent.providers.live import apply, apply_voice
from config_store.schema import KINDS, Kind, SessionConfig

_BUILD: Final[Mapping[Kind, Callable[[SessionConfig, str | None, Mapping[str, str]], Any]]] = {
    "stt": registry.build_stt,
    "llm": registry.build_llm,
    "tts": registry.build_tts,
    "realtime": registry.build_realtime,
}
_VOICE: Final[tuple[Kind, ...]] = ("tts",)


class Casting:
    """
    Who listens, thinks and speaks.

    Args:
        config: The session's config.
        keys: The environment that providers' keys come from.
        on_change: Called with kind, provider and whether it works again when one of a list of fallbacks fails
            or is back; None: nobody wants to know.
    """

    def __init__(
        self,
        config: SessionConfig,
        keys: Mapping[str, str],
        on_change: Callable[[Kind, str, bool], None] | None = None,
    ) -> None:
        self._on_change = on_change
        self._config = config
        self._keys = keys
        self._made: dict[str | None, dict[Kind, Any]] = {}
        self._is_relayed = False  # the session's voice is another object than at its start

    def for_session(self) -> dict[str, Any]:
        """New models of every kind, as livekit's session takes them."""
        return self._make(None, KINDS)

    def for_agent(self, agent: str) -> dict[str, Any]:
        """New models of the kinds for which this agent differs from the session."""
        made = self._make(agent, registry.own_kinds(self._config, agent))
        if self._is_relayed and "tts" not in made:
            made["tts"] = self._made[None]["tts"]
        return made

    def change(self, config: SessionConfig, agents: Collection[str]) -> dict[str, Any]:
        """
        Let every model that can do so speak and listen as another config says, from its next utterance on.

        Args:
            config: What the session is from now on; another provider or model in it is left alone.
            agents: Those that have been made already.

        Returns:
            Agents whose voice is another object now, with that voice.
        """
        old, self._config = self._config, config
        voices: dict[str, Any] = {}
        for owner, models in self._made.items():
            for kind, model in list(models.items()):
                if kind == "tts":
                    models[kind], _ = apply_voice(model, old, config, owner)
                elif kind != "llm":
                    apply(kind, model, old, config, owner)
                if models[kind] is not model and owner is None:
                    self._is_relayed = True
                elif models[kind] is not model and owner is not None:
                    voices[owner] = models[kind]
        for agent in agents:
            if "tts" in self._made.get(agent, {}):
                continue
            if "tts" in registry.own_kinds(config, agent) and (own := self._make(agent, _VOICE)):
                voices[agent] = own["tts"]
            elif self._is_relayed:
                voices[agent] = self._made[None]["tts"]
        return voices

    async def close(self) -> None:
        """Close every model; bounded, never raises."""
        await registry.close(*(model for models in self._made.values() for model in models.values()))

    def _make(self, owner: str | None, kinds: Collection[Kind]) -> dict[str, Any]:
        if self._config.is_text_only:
            kinds = [kind for kind in kinds if kind == "llm"]
        found = {kind: _BUILD[kind](self._config, owner, self._keys) for kind in kinds}
        made: dict[Kind, Any] = {kind: model for kind, model in found.items() if model is not None}
        self._made.setdefault(owner, {}).update(made)
        if self._on_change is not None:
            for kind, model in made.items():
                registry.on_availability(self._config, owner, kind, model, self._on_change)
        return {"llm" if kind == "realtime" else kind: model for kind, model in made.items()}
