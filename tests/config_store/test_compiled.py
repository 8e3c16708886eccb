"""Publishing bundles: what is served, what is not, and that a broken edit never reaches a call."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from config_store.compiled import CompiledBundles, Compiler, compile_bundles
from config_store.digest import digest_of
from config_store.folder import BundleFolder
from config_store.published import Publication
from tests.config_store.conftest import BASIC, Bundles
from tests.config_store.facts import catalog


@pytest.fixture
def compiler(bundles: Bundles) -> Compiler:
    """A compiler over the folder, not run yet."""
    return Compiler(BundleFolder(bundles.root), Publication(bundles.out), bundles.environ, bundles.catalog)


def test_what_is_published(bundles: Bundles) -> None:
    """Each bundle is one file that its owner alone can read; partial ones are served and not startable."""
    bundles.write({"base": "name: base\n", "acme/main": f"include: [base]\n{BASIC}"})

    report = bundles.compile()

    assert (report.usable, report.startable) == (("acme/main", "base"), ("acme/main",))
    found = CompiledBundles(bundles.out)
    assert found.startable() == ("acme/main",)
    main = found.get("acme/main")
    assert main is not None
    assert main.document["name"] == "base"
    assert main.origins["name"] == "bundles/base.yaml:1:1"
    assert found.get("nothing") is None
    files = [path for path in bundles.out.rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert not [path for path in files if path.suffix != ".json"]


def test_a_broken_bundle_is_quarantined_by_name(bundles: Bundles) -> None:
    """At first start a broken bundle is not served, and says why; the others are."""
    bundles.write({"good": BASIC, "bad": "agnets: {}\n"})

    report = bundles.compile()

    assert report.usable == ("good",)
    assert "bundles/bad.yaml:1:1: unknown key 'agnets'" in report.quarantined["bad"]
    assert CompiledBundles(bundles.out).get("bad") is None


def test_the_last_good_version_is_served_on(bundles: Bundles, compiler: Compiler) -> None:
    """A broken edit leaves the last good version in place, in this process and after a restart."""
    bundles.write({"main": BASIC})
    compiler.run()
    bundles.write({"main": BASIC.replace("Hello.", "Good day.") + "agnets: {}\n"})

    edited = compiler.refresh()
    restarted = bundles.compile()

    assert edited is not None
    for report in (edited, restarted):
        assert (report.usable, tuple(report.served_last_good), report.quarantined) == (
            ("main",),
            ("main",),
            {},
        )
        assert "unknown key 'agnets'" in report.served_last_good["main"]
    served = CompiledBundles(bundles.out).get("main")
    assert served is not None
    assert served.document["agents"]["desk"]["greeting"] == "Hello."

    bundles.write({"main": BASIC.replace("Hello.", "Good day.")})
    repaired = compiler.refresh()

    assert repaired is not None
    assert (repaired.served_last_good, repaired.changed) == ({}, ("main",))


def test_a_last_good_version_that_this_release_cannot_read(bundles: Bundles) -> None:
    """What an older release published and the schema no longer takes is quarantined, not served."""
    bundles.write({"main": BASIC})
    bundles.compile()
    path = next((bundles.out / "bundles").glob("main.json"))
    data = json.loads(path.read_text())
    data["document"]["no_longer_known"] = 1
    path.write_text(json.dumps(data))
    bundles.write({"main": "agnets: {}\n"})

    report = bundles.compile()

    assert tuple(report.quarantined) == ("main",)
    assert CompiledBundles(bundles.out).get("main") is None


async def test_a_session_that_changes_nothing_is_what_was_published(bundles: Bundles) -> None:
    """Its digest and origins are ready in the file, the same as of a session that asks for what is there."""
    bundles.write({"main": f"{BASIC}idle_timeout_seconds: 60\noptimization_level: speed\n"})
    plain = await bundles.resolve(bundle="main")
    same = await bundles.resolve(bundle="main", override={"idle_timeout_seconds": 60})
    published = CompiledBundles(bundles.out).get("main")

    assert published is not None
    assert (plain.digest, dict(plain.origins)) == (published.digest, published.origins)
    assert same.digest == plain.digest == digest_of(plain.written)
    assert {**same.origins, "idle_timeout_seconds": "bundles/main.yaml:6:1"} == plain.origins
    other = await bundles.resolve(bundle="main", override={"optimization_level": "quality"})
    assert other.origins["turn_taking.min_delay"] == "optimization_level"


def test_a_last_good_version_has_the_digest_of_this_release(bundles: Bundles) -> None:
    """What an older release published is served with what this one makes of it."""
    bundles.write({"main": BASIC})
    bundles.compile()
    path = bundles.out / "bundles" / "main.json"
    before = path.read_text()
    path.write_text(json.dumps({**json.loads(before), "digest": "sha256:of another release", "origins": {}}))
    bundles.write({"main": "agnets: {}\n"})

    assert tuple(bundles.compile().served_last_good) == ("main",)
    served = json.loads(path.read_text())
    assert served["digest"] == json.loads(before)["digest"]
    assert served["origins"]["captions"] == "default"


OPENED = """
import asyncio, sys
from pathlib import Path
from config_store.compiled import CompiledBundles
from config_store.dispatch import Dispatch
from config_store.resolve import Call, resolve_session

out, opened = sys.argv[1], []
def resolve():
    return resolve_session(
        Dispatch(bundle="main"), call=Call("room"), override_key="k", compiled=CompiledBundles(Path(out)),
        overrides=None, presets=None, catalog=None, default_bundle=None, budget_seconds=1,
    )
asyncio.run(resolve())  # what is loaded once is loaded
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
asyncio.run(resolve())
print(*opened, sep="\\n")
"""


def test_a_job_opens_one_file(bundles: Bundles) -> None:
    """A session whose bundle is named reads that bundle's published file, and no other file at all."""
    bundles.write({"base": "name: base\n", "main": f"include: [base]\n{BASIC}"})
    bundles.compile()

    ran = subprocess.run([sys.executable, "-c", OPENED, str(bundles.out)], capture_output=True, check=True)

    assert ran.stdout.decode().split() == [str(bundles.out / "bundles" / "main.json")]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"format": 0}', b'{"format": 1}', b"\xff"])
def test_a_damaged_published_file(bundles: Bundles, content: bytes) -> None:
    """A published file that cannot be read is as if it were not there, and is made anew."""
    bundles.write({"main": BASIC})
    bundles.compile()
    path = bundles.out / "bundles" / "main.json"
    path.write_bytes(content)

    assert CompiledBundles(bundles.out).get("main") is None
    bundles.compile()
    assert CompiledBundles(bundles.out).get("main") is not None


def test_a_change_compiles_what_it_concerns(bundles: Bundles, compiler: Compiler) -> None:
    """An include or a prompt that changes recompiles every bundle that uses it, and no other."""
    prompt = BASIC.replace("instructions: You talk.", "instructions: {prompt: kind}")
    bundles.write(
        {"low": "name: a\n", "mid": "include: [low]\n", "user": f"include: [mid]\n{BASIC}", "other": BASIC}
    )
    bundles.write({"prompted": prompt, "prompts/kind.md": "Be kind."})
    compiler.run()

    def after(files: dict[str, str]) -> tuple[str, ...]:
        bundles.write(files)
        report = compiler.refresh()
        assert report is not None
        return report.changed

    assert compiler.refresh() is None
    assert after({"low": "name: bb\n"}) == ("low", "mid", "user")
    assert after({"prompts/kind.md": "Be very kind."}) == ("prompted",)
    assert after({"other": f"{BASIC}\n# a comment\n"}) == ("other",)
    assert after({"notes.txt": "nothing"}) == ()
    assert CompiledBundles(bundles.out).prompt("kind") == "Be very kind."


def test_a_missing_include_that_comes_is_seen(bundles: Bundles, compiler: Compiler) -> None:
    """A bundle that waits for an include is compiled when it appears, and falls back when it goes."""
    bundles.write({"main": f"include: [late]\n{BASIC}"})
    assert tuple(compiler.run().quarantined) == ("main",)

    bundles.write({"late": "name: late\n"})
    report = compiler.refresh()
    assert report is not None
    assert report.usable == ("late", "main")

    (bundles.root / "late.yaml").unlink()
    report = compiler.refresh()
    assert report is not None
    assert tuple(report.served_last_good) == ("main",)


def test_a_file_found_empty_is_waited_for(bundles: Bundles, compiler: Compiler) -> None:
    """An editor empties a file before it writes: whichever look sees it so, no bundle is taken for empty."""
    bundles.write({"main": BASIC})
    compiler.run()

    for looked_at in (None, [bundles.root / "main.yaml"]):
        bundles.write({"main": ""})
        assert compiler.refresh(looked_at) is None
        assert compiler.is_waiting

        bundles.write({"main": BASIC.replace("Hello.", "Good day.")})
        report = compiler.refresh(looked_at)
        assert report is not None
        assert (report.compiled, report.served_last_good) == (("main",), {})
        assert not compiler.is_waiting


def test_a_deleted_bundle_goes(bundles: Bundles, compiler: Compiler) -> None:
    """A bundle whose file is deleted is no longer served; after a restart neither."""
    bundles.write({"main": BASIC, "gone": BASIC, "later": BASIC})
    compiler.run()
    (bundles.root / "gone.yaml").unlink()
    report = compiler.refresh()
    assert report is not None
    assert report.usable == ("later", "main")
    assert CompiledBundles(bundles.out).get("gone") is None

    (bundles.root / "later.yaml").unlink()
    assert bundles.compile().usable == ("main",)
    assert CompiledBundles(bundles.out).get("later") is None


@pytest.mark.parametrize("how", ["away", "empty"])
def test_a_folder_that_is_away(bundles: Bundles, compiler: Compiler, how: str) -> None:
    """While the folder is away or empty everything is served as it was; when it is back, as it is then."""
    bundles.write({"main": BASIC})
    compiler.run()
    (bundles.root / "main.yaml").unlink()
    if how == "away":
        bundles.root.rmdir()

    away = compiler.refresh()

    assert away is not None
    assert away.folder_problem
    assert (away.usable, away.startable) == (("main",), ("main",))
    assert CompiledBundles(bundles.out).startable() == ("main",)
    assert compiler.refresh() is None
    bundles.root.mkdir(exist_ok=True)
    bundles.write({"other": BASIC})
    back = compiler.refresh()
    assert back is not None
    assert (back.usable, back.folder_problem) == (("other",), None)


def test_broken_routes_keep_the_last_good_rules(bundles: Bundles, compiler: Compiler) -> None:
    """A broken routes.yaml is reported, all of it with places, and the rules that were good apply."""
    bundles.write({"main": BASIC, "part": "name: x\n", "routes": "routes: [{room: '*', bundle: main}]\n"})
    compiler.run()
    broken = "routes:\n  - {rom: x, bundle: mian}\n  - {room: 3}\n  - {room: x, bundle: part}\n"
    bundles.write({"routes": broken})

    report = compiler.refresh()

    assert report is not None
    assert report.routes_problem is not None
    assert "bundles/routes.yaml:2:6: unknown key 'rom'; did you mean 'room'?" in report.routes_problem
    assert "bundles/routes.yaml:2:22: no bundle 'mian'; did you mean 'main'?" in report.routes_problem
    assert "bundles/routes.yaml:3:5: a route lacks the key 'bundle'" in report.routes_problem
    assert "bundles/routes.yaml:4:23: 'part' is partial: it has no agents" in report.routes_problem
    assert [route.bundle for route in CompiledBundles(bundles.out).routes().routes] == ["main"]

    bundles.write({"routes": "routes:\n  - {room: x, bundle: mian}\n  - {room: x, bundle: part}\n"})
    report = compiler.refresh()
    assert report is not None
    assert "no bundle 'mian'; did you mean 'main'?" in str(report.routes_problem)
    assert "'part' is partial: it has no agents" in str(report.routes_problem)


def test_names_that_escape(bundles: Bundles) -> None:
    """No name leads out of the folder of published bundles."""
    bundles.write({"main": BASIC})
    bundles.compile()
    found = CompiledBundles(bundles.out)

    for name in ("../index", "/etc/passwd", "..", "bundles/../main", "main\x00", "x" * 5000):
        assert found.get(name) is None
        assert found.prompt(name) is None


def test_a_link_out_of_the_folder_is_refused(bundles: Bundles, tmp_path: Path) -> None:
    """A bundle that is a link to somewhere else is not read."""
    outside = tmp_path / "outside.yaml"
    outside.write_text(BASIC)
    (bundles.root / "main.yaml").symlink_to(outside)

    report = bundles.compile()

    assert "is a link that leads out of the bundles folder" in report.quarantined["main"]


def test_what_is_not_a_bundle(bundles: Bundles) -> None:
    """Hidden files and folders, prompts, routes and other endings are no bundles."""
    bundles.write(
        {
            "main.yml": BASIC, ".hidden.yaml": BASIC, ".git/x.yaml": BASIC, "prompts/x.yaml": BASIC,
            "notes.md": "x", "bundle.schema.json": "{}",
        }
    )  # fmt: skip

    assert bundles.compile().usable == ("main",)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """Where nothing can be published the caller gets the system's error, not silence."""
    file = tmp_path / "file"
    file.write_text("")

    with pytest.raises(OSError, match=r"Not a directory|File exists"):
        compile_bundles(tmp_path, file / "out", environ={})


def test_the_shipped_bundles_are_right() -> None:
    """Every bundle of this repository is valid where keys are set, and its first line says what it shows."""
    root = Path(__file__).parents[2] / "bundles"
    names = BundleFolder(root).bundles()

    assert {"base", "offline", "demo", "interview", "support", "text_only", "hindi"} <= set(names)
    for name in names:
        first, second = (root / f"{name}.yaml").read_text("utf-8").splitlines()[:2]
        assert first == "# yaml-language-server: $schema=bundle.schema.json"
        assert second.startswith("# ")


def test_the_real_catalog_accepts_the_shipped_bundles(tmp_path: Path) -> None:
    """The bundles of this repository are valid for this worker's own providers, each with `offline` too."""
    from agent.providers.registry import catalog as real_catalog
    from agent.settings import Settings

    root = Path(__file__).parents[2] / "bundles"
    for path in root.rglob("*"):
        if path.is_file():
            (tmp_path / "b" / path.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "b" / path.relative_to(root)).write_bytes(path.read_bytes())
    for name in ("interview", "support", "text_only", "hindi"):
        (tmp_path / "b" / f"offline_{name}.yaml").write_text(f"include: [{name}, offline]\n")
    keys = {"OPENAI_API_KEY": "x", "ELEVEN_API_KEY": "x"}

    report = compile_bundles(
        tmp_path / "b", tmp_path / "out", environ={}, catalog=real_catalog(Settings(), keys)
    )

    assert not report.quarantined, "\n".join(report.quarantined.values())
    assert not report.warnings, "\n".join(report.warnings.values())


def test_without_a_key_the_offline_bundles_serve(tmp_path: Path) -> None:
    """On a machine without keys the demo is served and the others are quarantined by name."""
    report = compile_bundles(
        Path(__file__).parents[2] / "bundles", tmp_path / "out", environ={}, catalog=catalog()
    )

    assert os.environ.get("OPENAI_API_KEY") is None
    assert "interview" in report.quarantined
    assert "set OPENAI_API_KEY" in report.quarantined["interview"]


def test_files_that_cannot_be_bundles(bundles: Bundles) -> None:
    """A file whose name no bundle can have, or that another one hides, is reported and not passed over."""
    bundles.write({"main": BASIC, "main.yml": BASIC, "my bundle.yaml": BASIC})

    report = bundles.compile()

    assert report.usable == ("main",)
    assert dict(report.quarantined) == {
        "main.yml": "bundles/main.yml: not read, because there is main.yaml too",
        "my bundle": "bundles/my bundle.yaml: a bundle's name has letters, digits, '_', '-' and '.'",
    }
