"""Fixtures of the config store: a folder of bundles to write into, and sessions resolved from it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from config_store.catalog import Catalog
from config_store.compiled import CompiledBundles, CompileReport, compile_bundles
from config_store.dispatch import Dispatch
from config_store.overrides import Override
from config_store.preset import PresetReader
from config_store.resolve import Call, Resolved, resolve_session
from tests.config_store.facts import catalog

BASIC = """
models: {stt: {provider: near}, llm: {provider: near}, tts: {provider: near}}
agents:
  desk: {instructions: You talk., greeting: "Hello.", handoffs: [expert]}
  expert: {instructions: You know., voice_id: bob}
"""


class FixedOverride:
    """An override reader that always finds the same."""

    def __init__(self, found: Override | None) -> None:
        self.found = found

    async def read(self, key: str, *, rev: int | None, once: bool, deadline: float) -> Override | None:
        return self.found


@dataclass
class Bundles:
    """A folder of bundles that a test writes, compiled when a session is resolved."""

    root: Path
    out: Path
    environ: dict[str, str] = field(default_factory=dict)
    catalog: Catalog = field(default_factory=catalog)

    def write(self, files: Mapping[str, str]) -> None:
        """Write files by path; a bundle's name alone stands for NAME.yaml."""
        for name, text in files.items():
            path = self.root / (name if Path(name).suffix else f"{name}.yaml")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")

    def compile(self) -> CompileReport:
        """Compile the folder."""
        return compile_bundles(self.root, self.out, environ=self.environ, catalog=self.catalog)

    async def resolve(
        self,
        dispatch: Dispatch | None = None,
        *,
        override: Mapping[str, Any] | Override | None = None,
        presets: PresetReader | None = None,
        call: Call | None = None,
        default_bundle: str | None = None,
        **said: Any,
    ) -> Resolved:
        """Compile, and resolve one session; `said` are fields of the dispatch."""
        asked = dispatch or Dispatch(**said)
        report = self.compile()
        assert asked.bundle not in report.quarantined, report.quarantined[str(asked.bundle)]
        found = Override(override) if isinstance(override, Mapping) else override
        return await resolve_session(
            asked,
            call=call or Call("room"),
            override_key="session:s:config",
            compiled=CompiledBundles(self.out),
            overrides=FixedOverride(found),
            presets=presets,
            catalog=self.catalog,
            default_bundle=default_bundle,
            budget_seconds=1.0,
        )


@pytest.fixture
def bundles(tmp_path: Path) -> Bundles:
    """An empty folder of bundles."""
    (tmp_path / "bundles").mkdir()
    return Bundles(tmp_path / "bundles", tmp_path / "compiled")
