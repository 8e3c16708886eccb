"""Changing a session that runs: from a command to a revision of its config, and the answer to who asked."""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agent.attempt import Attempt
from agent.providers import registry
from agent.providers.live import not_taken
from agent.signals import Signals
from config_store.amend import Amendment, amend, with_verdicts
from config_store.compiled import CompiledBundles
from config_store.dispatch import NOT_GIVEN
from config_store.json_text import JsonRefusedError, parse_object
from config_store.overrides import MAX_BYTES
from config_store.schema import SessionConfig
from config_store.verdict import Verdict

ANSWERS_KEPT = 8
"""How many answers the state holds; a program that asks finds its own among them."""
NOT_INSTALLED = "a provider of this session is not installed here; nothing was changed"

logger = logging.getLogger(__name__)


class Revising:
    """
    Applies `override` commands to one session.

    Args:
        attempt: The attempt that serves it.
        signals: Where the client is told.
        allow: What the room does not allow of a config, as verdicts that take the place of others.
        apply: Makes the session what the config says; called when that is written down.
    """

    def __init__(
        self,
        attempt: Attempt,
        signals: Signals,
        *,
        allow: Callable[[SessionConfig], Sequence[Verdict]],
        apply: Callable[[SessionConfig], None],
    ) -> None:
        self._attempt = attempt
        self._signals = signals
        self._allow = allow
        self._apply = apply
        self._answers: list[dict[str, Any]] = json.loads(attempt.claimed.state.get("revisions", "[]"))

    async def override(self, command_id: str, fields: Mapping[str, str]) -> None:
        """
        Apply one command and answer it in the state; a command whose own `id` was answered is left alone.

        Args:
            command_id: The command's id in the stream.
            fields: `override`: JSON in the shape of a Redis override; `id`: the sender's own, or none.
        """
        own_id = fields.get("id") or None
        if own_id is not None and any(answer.get("id") == own_id for answer in self._answers):
            logger.info("a command that was applied already was left alone", extra=self._attempt.log_fields)
            return
        try:
            asked = parse_object(fields.get("override", ""), max_bytes=MAX_BYTES)
        except JsonRefusedError as exc:
            refusal = Verdict("", "refused", f"the override {exc}", source="command")
            amendment = Amendment(self._attempt.resolved, (refusal,), {})
        else:
            amendment = self._amended(asked)
        amendment = _with(amendment, self._allow(amendment.resolved.config))
        answer: dict[str, Any] = {
            "command": command_id,
            "id": own_id,
            "digest": amendment.resolved.digest,
            "verdicts": [_timed(verdict, amendment) for verdict in amendment.verdicts],
        }
        self._answers = [*self._answers, answer][-ANSWERS_KEPT:]
        await self._attempt.revised(amendment, command_id, self._answers)
        if amendment.changed:
            self._apply(amendment.resolved.config)
        self._signals.event("config_applied", **self._attempt.applied(amendment.verdicts))

    def _amended(self, asked: Mapping[str, Any]) -> Amendment:
        settings, old = self._attempt.settings, self._attempt.resolved
        amendment = amend(
            old,
            asked,
            registry.catalog(settings, self._attempt.keys),
            prompt=CompiledBundles(settings.compiled).prompt,
        )
        try:
            return _with(amendment, _limits_of_voices(old.config, amendment))
        except registry.ProviderError:
            said = tuple(
                replace(verdict, verdict="refused", reason=NOT_INSTALLED, applied=NOT_GIVEN)
                if verdict.verdict in ("applied", "clamped")
                else verdict
                for verdict in amendment.verdicts
            )
            return Amendment(old, said, {})


def _limits_of_voices(old: SessionConfig, amendment: Amendment) -> list[Verdict]:
    """What the providers that speak cannot do, now or at all."""
    new = amendment.resolved.config
    known = {(verdict.path, verdict.reason) for verdict in registry.tuning_verdicts(old)}
    found = [
        verdict
        for verdict in registry.tuning_verdicts(new)
        if verdict.path in amendment.changed or (verdict.path, verdict.reason) not in known
    ]
    missing = {agent: not_taken(old, new, agent) for agent in (None, *new.agents)}
    for verdict in amendment.verdicts:
        *owner, key = verdict.path.split(".")[:3] if verdict.path.startswith("agents.") else [verdict.path]
        head = key.partition(".")[0]
        aspect = {"voice_id": "voice", "voice_tuning": "tuning", "target_language": "language"}.get(head)
        if aspect is None or verdict.path not in amendment.changed or verdict.path.endswith(".loudness"):
            continue
        concerned = missing.values() if not owner else (missing.get(owner[1], frozenset()),)
        if any(aspect in lacking for lacking in concerned):
            if aspect == "voice":  # it stays; a default that would speak does not come either
                found = [other for other in found if other.path != verdict.path]
            found.append(_kept(verdict, aspect))
    return found


def _kept(verdict: Verdict, aspect: str) -> Verdict:
    """A voice that cannot change in a call; a language is at least that of the words."""
    if aspect == "language":
        return replace(verdict, reason=f"{verdict.reason}; a voice keeps its own")
    reason = "this voice cannot change in a call; it does when the session goes on in another process"
    return replace(verdict, verdict="unsupported", reason=reason, applied=NOT_GIVEN)


def _with(amendment: Amendment, verdicts: Sequence[Verdict]) -> Amendment:
    """The amendment with these verdicts in place of those of the same path."""
    if not verdicts:
        return amendment
    resolved = amendment.resolved
    said = resolved.without_secrets(verdicts)
    return replace(
        amendment,
        resolved=replace(resolved, verdicts=with_verdicts(resolved.verdicts, said)),
        verdicts=with_verdicts(amendment.verdicts, said),
    )


def _timed(verdict: Verdict, amendment: Amendment) -> dict[str, Any]:
    """A verdict as the answer has it: with `effect` where something takes effect some time."""
    path = verdict.path if verdict.path in amendment.effects else verdict.path.split(".", 1)[0]
    effect = amendment.effects.get(path)
    return {**verdict.as_dict(), **({"effect": effect} if effect else {})}
