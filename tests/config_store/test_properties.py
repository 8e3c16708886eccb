"""Laws that hold for any bundle: a report for every text, and the laws of laying layers over each other."""

from pathlib import Path
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from config_store.bundle import load_bundle
from config_store.digest import canonical
from config_store.errors import report
from config_store.folder import BundleFolder
from config_store.levels import LEVEL_ORIGIN, fill, levels
from config_store.merge import lay_nodes, lay_plain
from config_store.parts import Sources
from config_store.provenance import Provenance
from config_store.schema import SessionConfig
from config_store.span import Node, Span
from tests.config_store.facts import catalog

HERE = Path(__file__).parent.parent
TEXTS = [path.read_text("utf-8", "replace") for path in sorted(HERE.glob("errors/*/bundles/*.yaml"))]
BUNDLES = [path.read_text("utf-8") for path in sorted((HERE.parent / "bundles").glob("*.yaml"))]


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A bundle with a piece cut out, doubled, or put elsewhere."""
    text = draw(st.sampled_from(TEXTS + BUNDLES))
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(text)))
        end = draw(st.integers(start, min(len(text), start + 40)))
        piece = draw(
            st.sampled_from(
                ["", "  ", "\n", ": ", "- ", "null", "3", "[]", "{}", "${X}", "{{x}}", text[start:end] * 2]
            )
        )
        text = text[:start] + piece + text[end:]
    return text


@settings(max_examples=300, deadline=None)
@given(text=damaged() | st.text())
def test_any_text_has_a_report(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever stands in a file, the bundle is valid or has a report; never an exception."""
    folder = tmp_path_factory.getbasetemp() / "any-text"
    folder.mkdir(exist_ok=True)
    (folder / "main.yaml").write_text(text, "utf-8", "surrogatepass", newline="")

    bundle = load_bundle(Sources(BundleFolder(folder), {"X": "4711"}), "main", catalog())

    assert bundle is not None
    if bundle.is_usable:
        SessionConfig.model_validate(fill(bundle.document, "balanced"))
    assert report("main", bundle.problems)


SCALARS = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["a", "b", ""])
NAMES = st.sampled_from(
    ["models", "agents", "llm", "tts", "provider", "model", "plugin", "voice_id", "x", "y"]
)
LAYERS = st.dictionaries(
    NAMES,
    st.recursive(
        SCALARS | st.lists(SCALARS, max_size=2),
        lambda inner: st.dictionaries(NAMES, inner, min_size=1, max_size=3),
        max_leaves=6,
    ),
    max_size=4,
)


def node(value: Any) -> Node:
    """A tree with one place for everything."""
    span = Span("x", 1, 1)
    if isinstance(value, dict):
        return Node(span, {key: node(item) for key, item in value.items()})
    return Node(span, [node(item) for item in value] if isinstance(value, list) else value)


@given(LAYERS)
def test_nothing_over_a_layer_changes_nothing(layer: dict[str, Any]) -> None:
    """An empty layer is neutral, above and below."""
    kept = {key: value for key, value in layer.items() if key != "agents"}

    assert lay_nodes(node(kept), node({})).plain() == kept
    assert lay_nodes(node({}), node(kept)).plain() == kept


@given(LAYERS)
def test_a_layer_over_itself_is_itself(layer: dict[str, Any]) -> None:
    """Laying the same values twice gives what once gives."""
    once = lay_nodes(node({}), node(layer)).plain()

    assert lay_nodes(node(once), node(once)).plain() == lay_nodes(node({}), node(once)).plain()


@given(LAYERS, LAYERS)
def test_the_stronger_layer_is_all_there(weaker: dict[str, Any], stronger: dict[str, Any]) -> None:
    """Every scalar of the stronger layer is in the result, at its path."""
    merged = lay_nodes(node(weaker), node(stronger))

    for path, leaf in node(stronger).leaves():
        removed = path[0] == "agents" and len(path) == 2 and leaf.value is None
        found = merged.at(path)
        if not removed and leaf.value != {}:
            assert found is not None
            assert found.plain() == leaf.plain()


@given(LAYERS, LAYERS)
def test_no_layer_is_changed(weaker: dict[str, Any], stronger: dict[str, Any]) -> None:
    """Merging leaves both layers as they were."""
    below, above = node(weaker), node(stronger)

    lay_nodes(below, above)

    assert (below.plain(), above.plain()) == (weaker, stronger)


@given(LAYERS, LAYERS)
def test_both_forms_agree(weaker: dict[str, Any], stronger: dict[str, Any]) -> None:
    """Trees with places and plain maps merge alike, but for removals, which only bundles have."""
    if isinstance(stronger.get("agents"), dict) and None in stronger["agents"].values():
        del stronger["agents"]
    known = Provenance({".".join(map(str, path)): "low" for path, _ in node(weaker).leaves()})
    before = {**weaker}

    merged = lay_plain(weaker, stronger, "high", known)

    assert merged == lay_nodes(node(weaker), node(stronger)).plain()
    assert weaker == before
    paths = {".".join(map(str, path)) for path, leaf in node(merged).leaves() if leaf.value != {}}
    assert paths <= known.origins.keys()


NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**53) + 1, 2**53 - 1)
ANY_JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), inner, max_size=4)
    ),
)


@settings(max_examples=300)
@given(ANY_JSON)
def test_canonical_json_is_the_standards(value: Any) -> None:
    """The quick way to canonical JSON writes exactly what the library for RFC 8785 writes."""
    assert canonical(value) == rfc8785.dumps(value)


@pytest.mark.parametrize("level", levels())
def test_the_table_of_levels_is_valid(level: str) -> None:
    """Every level fills turn-taking, and its values pass the schema; what is given stays."""
    origins: dict[str, str] = {}
    given = {"turn_taking": {"max_delay": 9.0}, "models": {"llm": {"provider": "openai"}}}

    filled = fill(given, level, origins)

    config = SessionConfig.model_validate(filled)
    assert config.turn_taking.max_delay == 9.0
    assert config.models.llm is not None
    assert config.models.llm.model
    assert set(origins.values()) == {LEVEL_ORIGIN}
    assert given == {"turn_taking": {"max_delay": 9.0}, "models": {"llm": {"provider": "openai"}}}


def test_balanced_is_what_the_schema_says() -> None:
    """The level that is the default fills in the defaults of the schema."""
    filled = SessionConfig.model_validate(fill({}, "balanced"))

    assert filled.turn_taking == SessionConfig().turn_taking
