"""Starting again: what is published already, made from the same, is not compiled a second time."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from config_store import compiler as compiling
from config_store import inputs
from config_store.bundle import Bundle, load_bundle
from config_store.compiled import CompiledBundles, Compiler, CompileReport
from config_store.folder import BundleFolder
from config_store.published import Publication
from tests.config_store.conftest import BASIC, Bundles
from tests.config_store.facts import catalog

KEYED = BASIC.replace("llm: {provider: near}", "llm: {provider: openai}")

Start = Callable[..., CompileReport]


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the bundles that were compiled, in order; tests clear it between two starts."""
    names: list[str] = []

    def noted(*arguments: object) -> Bundle | None:
        names.append(str(arguments[1]))
        return load_bundle(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(compiling, "load_bundle", noted)
    return names


@pytest.fixture
def start(bundles: Bundles) -> Start:
    """A worker that starts on the folder: a compiler of its own, run once."""

    def run(release: str = "1") -> CompileReport:
        environ = dict(bundles.environ)
        known = replace(bundles.catalog, environment=environ)
        return Compiler(BundleFolder(bundles.root), Publication(bundles.out), environ, known, release).run()

    return run


@pytest.fixture
def folder(bundles: Bundles) -> Bundles:
    """Bundles that share an include, take a prompt and a file, a value of the environment, and a key."""
    bundles.environ.update({"WHO": "hush-value", "OPENAI_API_KEY": "hush-key", "OTHER": "x"})
    bundles.write(
        {
            "shared": "idle_timeout_seconds: 30\n",
            "alone": BASIC,
            "includes": f"include: [shared]\n{BASIC}",
            "named": f"name: ${{WHO}}\ndescription: ${{MISSING:-none}}\n{BASIC}",
            "keyed": KEYED,
            "prompted": BASIC.replace("You talk.", "{prompt: desk}"),
            "filed": BASIC.replace("You talk.", "{file: texts/desk.md}"),
            "prompts/desk.md": "You are at the desk.\n",
            "texts/desk.md": "You sit at the desk.\n",
        }
    )
    return bundles


def test_nothing_is_compiled_twice(folder: Bundles, start: Start, compiled: list[str]) -> None:
    """A second start compiles nothing, and reports and serves the same as the first."""
    first = start()
    assert len(compiled) == 7
    compiled.clear()

    again = start()

    assert compiled == []
    assert again == replace(first, changed=(), compiled=())
    assert CompiledBundles(folder.out).get("named") is not None
    assert first.providers == {"near", "openai"}


@pytest.mark.parametrize(
    ("change", "concerned"),
    [
        (lambda b: b.write({"alone": BASIC + "captions: false\n"}), ["alone"]),
        (lambda b: b.write({"shared": "idle_timeout_seconds: 40\n"}), ["includes", "shared"]),
        (lambda b: b.write({"prompts/desk.md": "You know.\n"}), ["prompted"]),
        (lambda b: b.write({"texts/desk.md": "You know.\n"}), ["filed"]),
        (lambda b: b.environ.update(WHO="another"), ["named"]),
        (lambda b: b.environ.update(MISSING="set now"), ["named"]),
        (lambda b: b.environ.update(OTHER="another"), []),
        (lambda b: b.environ.update(OPENAI_API_KEY="another key"), []),
        (lambda b: b.environ.pop("OPENAI_API_KEY"), ["keyed"]),
        (lambda b: (b.root / "alone.yaml").rename(b.root / "alone.yml"), ["alone"]),
        (lambda b: b.write({"fresh": BASIC}), ["fresh"]),
        (lambda b: (b.root / "alone.yaml").unlink(), []),
        (lambda b: (b.out / "bundles" / "alone.json").unlink(), ["alone"]),
        (lambda b: (b.out / "bundles" / "alone.json").write_text("{"), ["alone"]),
        (lambda b: (b.out / "made" / "alone.json").write_text("{}"), ["alone"]),
    ],
    ids=[
        "its own file", "an include", "a prompt", "a file", "a value", "a value that had a default",
        "a value of nobody", "another key", "no key", "another ending", "a new one", "one that is gone",
        "not published", "published and torn", "not known from what",
    ],
)  # fmt: skip
def test_a_change_compiles_what_it_concerns(
    folder: Bundles,
    start: Start,
    compiled: list[str],
    change: Callable[[Bundles], object],
    concerned: list[str],
) -> None:
    """What changed while no worker ran is compiled at the next start, with all that it concerns; no more."""
    start()
    compiled.clear()
    change(folder)

    start()

    assert compiled == concerned


@pytest.mark.parametrize("what", ["release", "code", "catalog"])
def test_another_release_compiles_everything(
    folder: Bundles, start: Start, compiled: list[str], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Other code, other packages or another catalog may judge otherwise: every bundle is compiled anew."""
    start()
    compiled.clear()
    if what == "code":
        monkeypatch.setattr(inputs, "code_digest", lambda: "another")
    elif what == "catalog":
        folder.catalog = replace(catalog(), modules=frozenset({"more"}))

    start("2" if what == "release" else "1")

    assert len(compiled) == 7


def test_a_broken_bundle_is_compiled_every_time(folder: Bundles, start: Start, compiled: list[str]) -> None:
    """A broken one is reported at every start, with the last good version served, until it is put back."""
    start()
    folder.write({"alone": BASIC + "agnets: {}\n"})
    compiled.clear()

    reports = [start(), start()]

    assert compiled == ["alone", "alone"]
    assert all("agnets" in report.served_last_good["alone"] for report in reports)
    folder.write({"alone": BASIC})
    compiled.clear()
    assert start().served_last_good == {}
    assert compiled == []


def test_warnings_are_said_again(folder: Bundles, start: Start, compiled: list[str]) -> None:
    """A warning of a bundle that is not compiled again is reported all the same."""
    lonely = BASIC + "  lonely: {instructions: Nobody comes here.}\n"
    folder.write({"alone": lonely})
    first = start()
    compiled.clear()

    again = start()

    assert compiled == []
    assert "lonely" in first.warnings["alone"]
    assert again.warnings == first.warnings


def test_a_link_that_leads_out_is_seen(
    folder: Bundles, start: Start, compiled: list[str], tmp_path: Path
) -> None:
    """A file that became a link out of the folder is no longer taken, although its content is the same."""
    start()
    outside = tmp_path / "outside.yaml"
    (folder.root / "alone.yaml").rename(outside)
    (folder.root / "alone.yaml").symlink_to(outside)
    compiled.clear()

    report = start()

    assert compiled == ["alone"]
    assert "leads out of the bundles folder" in report.served_last_good["alone"]


def test_what_is_remembered_holds_no_value(folder: Bundles, start: Start) -> None:
    """What bundles were made from names variables, and holds no value and no plain digest of one."""
    start()
    kept = "".join(path.read_text() for path in (folder.out / "made").iterdir())

    assert '"WHO"' in kept
    assert "hush" not in kept
    again = Publication(folder.out / "elsewhere")
    again.prepare()
    assert again.salt() != Publication(folder.out).salt() == Publication(folder.out).salt()
