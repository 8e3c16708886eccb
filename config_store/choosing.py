"""Which layers a session has: its override, its preset, its bundle, and that they belong together."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from config_store.dispatch import KEYS, Dispatch, NotGiven
from config_store.errors import (
    BundleNotFoundError,
    ConfigRefused,
    InvalidBundleError,
    OverrideLateError,
    StoreUnavailableError,
)
from config_store.layer import Layer, Prompt, read_layer
from config_store.merge import lay_plain
from config_store.names import suggestion
from config_store.overrides import OverrideReader
from config_store.preset import Preset, PresetReader
from config_store.provenance import Provenance
from config_store.published import CompiledBundle
from config_store.routes import Call, Routes
from config_store.verdict import Verdict

_SHAPES = {"overrides_rev": "must be a whole number, 0 or more"}


class BundleReader(Protocol):
    """Where a session reads bundles."""

    def get(self, name: str) -> CompiledBundle | None:
        """One bundle; None when none of that name is served."""

    def startable(self) -> tuple[str, ...]:
        """The names of the bundles that a session can start with."""

    def routes(self) -> Routes:
        """The routing rules."""

    def prompt(self, prompt: str) -> str | None:
        """The text of a prompt by its id; None when there is none."""


@dataclass
class Stores:
    """Redis and the database as one session start sees them: readers, one deadline, and what failed."""

    overrides: OverrideReader | None
    presets: PresetReader | None
    deadline: float
    failures: list[StoreUnavailableError] = field(default_factory=list)

    def verdicts(self) -> list[Verdict]:
        """One for each store that failed."""
        return [Verdict("", "unsupported", f"{failure}; started without it") for failure in self.failures]


@dataclass
class Chosen:
    """The bundle and the layers over it, weakest first."""

    bundle: CompiledBundle
    layers: list[Layer]
    preset: Preset | None
    user_id: str | None
    organization: str | None
    verdicts: list[Verdict]


async def choose(
    dispatch: Dispatch,
    *,
    call: Call,
    override_key: str,
    compiled: BundleReader,
    stores: Stores,
    default_bundle: str | None,
) -> Chosen:
    """
    Find the layers of a session.

    Raises:
        ConfigRefused: No bundle, a bundle or preset that is not there, or of another organization; a preset
            of another user.
    """
    asked = _dispatch_layer(dispatch, compiled.prompt)
    override = await _override_layer(dispatch, override_key, stores, compiled.prompt)
    user_id = dispatch.user_id or override.user_id or asked.user_id
    named = asked.preset if isinstance(override.preset, NotGiven) else override.preset
    wanted = override.bundle or dispatch.bundle
    preset = await _preset(named, user_id, dispatch.organization, wanted, stores)
    verdicts: list[Verdict] = []
    if preset is not None and isinstance(named, NotGiven) and wanted is None:
        preset = _default_that_fits(preset, compiled, dispatch.organization, verdicts)
    name = wanted or (preset.bundle if preset is not None else None)
    bundle = _bundle(name, call, compiled, default_bundle)
    _say_choices(override)
    _check_user(dispatch.user_id, preset)
    if preset is not None and isinstance(named, NotGiven) and preset.bundle != bundle.name:
        preset = None  # a default of another bundle stays out of this session
    _check_organization(dispatch.organization, bundle, preset)
    layers = [asked, override]
    verdicts += stores.verdicts()
    if preset is not None:
        layers.insert(
            0, read_layer(preset.settings, f"preset {preset.id}", compiled.prompt, may_choose=False)
        )
        if preset.bundle != bundle.name:
            verdicts.append(
                Verdict("preset", "applied", "it was saved over another bundle", source=f"preset {preset.id}")
            )
    organization = dispatch.organization or bundle.organization
    return Chosen(bundle, layers, preset, user_id, organization, verdicts)


def _dispatch_layer(dispatch: Dispatch, prompt: Prompt) -> Layer:
    layer = read_layer(dispatch.overrides, "dispatch", prompt, may_choose=False)
    layer.preset = dispatch.preset
    layer.variables = {**layer.variables, **dispatch.variables}
    if dispatch.metadata:
        inner = layer.settings.get("metadata")
        below = inner if isinstance(inner, dict) else {}
        layer.settings["metadata"] = lay_plain(
            below, dispatch.metadata, "dispatch", Provenance(), ("metadata",)
        )
    for key in dispatch.unknown:
        layer.say(key[:100], "refused", f"unknown key of the dispatch{suggestion(key[:100], KEYS)}")
    for key in dispatch.broken:
        layer.say(key, "refused", _SHAPES.get(key, "must be a map"))
    return layer


async def _override_layer(dispatch: Dispatch, key: str, stores: Stores, prompt: Prompt) -> Layer:
    origin = f"redis {key}"
    empty = Layer(origin)
    if stores.overrides is None:
        return empty
    try:
        found = await stores.overrides.read(
            key, rev=dispatch.overrides_rev, once=dispatch.session_id is None, deadline=stores.deadline
        )
    except StoreUnavailableError as exc:
        stores.failures.append(exc)
        return empty
    if found is None:
        return empty
    if found.is_stale:
        stores.failures.append(OverrideLateError(dispatch.overrides_rev or 0))
    if found.problem is not None:
        empty.say("", "refused", f"the override {found.problem}")
        return empty
    return read_layer(found.values, origin, prompt, may_choose=True)


async def _preset(
    named: str | NotGiven | None,
    user_id: str | None,
    organization: str | None,
    bundle: str | None,
    stores: Stores,
) -> Preset | None:
    if named is None or (isinstance(named, NotGiven) and (user_id is None or stores.presets is None)):
        return None
    try:
        if isinstance(named, NotGiven):
            assert stores.presets is not None
            found = await stores.presets.default_of(user_id or "", organization, deadline=stores.deadline)
            is_other = found is not None and bundle is not None and found.bundle != bundle
            return None if is_other else found
        if stores.presets is None:
            raise ConfigRefused("the preset cannot be read: there is no database")
        found = await stores.presets.by_id(named, deadline=stores.deadline)
    except StoreUnavailableError as exc:
        if isinstance(named, NotGiven):
            stores.failures.append(exc)
            return None
        raise ConfigRefused(f"the preset cannot be read: {exc}") from None
    if found is None:
        raise ConfigRefused(
            "the preset that was asked for does not exist; a preset is asked for by its id (`p-…`), which "
            "`agent preset list --user USER` shows"
        )
    return found


def _default_that_fits(
    preset: Preset, compiled: BundleReader, organization: str | None, verdicts: list[Verdict]
) -> Preset | None:
    """A user's default, which nobody asked for by name: one whose bundle cannot serve here is left out."""
    try:
        bundle = compiled.get(preset.bundle)
    except (BundleNotFoundError, InvalidBundleError):  # of bundles as they stand in the folder
        bundle = None
    if bundle is None:
        reason = "the bundle it was saved for is not there, or is quarantined"
    elif not bundle.is_startable:
        reason = "the bundle it was saved for is partial"
    elif organization is not None and bundle.organization not in (None, organization):
        reason = "the bundle it was saved for belongs to another organization"
    else:
        return preset
    verdicts.append(Verdict("preset", "unsupported", reason, source=f"preset {preset.id}"))
    return None


def _bundle(
    name: str | None, call: Call, compiled: BundleReader, default_bundle: str | None
) -> CompiledBundle:
    why = "asked for"
    if name is None:
        name, why = compiled.routes().bundle_for(call), "chosen by routes.yaml"
    if name is None and default_bundle is not None:
        name, why = default_bundle, "of AGENT_DEFAULT_BUNDLE"
    if name is None:
        startable = compiled.startable()
        if len(startable) != 1:
            raise ConfigRefused(
                f"no bundle was asked for, no route matches, and there are {len(startable)} to choose from"
            )
        name, why = startable[0], "that is the only one"
    bundle = compiled.get(name)
    if bundle is None:
        raise ConfigRefused(f"the bundle {why}, '{name}', does not exist or is quarantined")
    if not bundle.is_startable:
        raise ConfigRefused(f"the bundle {why}, '{name}', is partial: it has no agents")
    return bundle


def _say_choices(override: Layer) -> None:
    """The override chose a bundle or a preset: those keys have a verdict like every other one."""
    if override.bundle is not None:
        override.say("bundle", "applied", "as asked", override.bundle)
    if not isinstance(override.preset, NotGiven):
        override.say("preset", "applied", "as asked", override.preset)


def _check_user(user_id: str | None, preset: Preset | None) -> None:
    """A preset is its user's own; where the dispatch says no user, whoever knows its id may use it."""
    if preset is not None and user_id not in (None, preset.user_id):
        raise ConfigRefused("the preset that was asked for belongs to another user")


def _check_organization(asked: str | None, bundle: CompiledBundle, preset: Preset | None) -> None:
    own = preset.organization if preset is not None else None
    if asked is not None and bundle.organization not in (None, asked):
        raise ConfigRefused(f"the bundle '{bundle.name}' belongs to another organization")
    if own is not None and (asked or bundle.organization) not in (None, own):
        raise ConfigRefused("the preset belongs to another organization")
    if own is not None and bundle.organization not in (None, own):
        raise ConfigRefused("the preset and the bundle belong to different organizations")
