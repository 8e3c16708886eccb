"""The documents say what the code does."""

import re
from pathlib import Path
from typing import Any

import pytest

from config_store.fields import field_at
from scripts import reference

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("page", reference.PAGES, ids=lambda page: page.name)
def test_the_tables_match_the_code(page: Path) -> None:
    """Schema, tuning and settings are documented as they are."""
    text = page.read_text()

    assert reference.rendered(text) == text, "run `python -m scripts.reference`"


def test_the_table_says_of_every_field_that_a_session_may_change_that_it_may() -> None:
    """Each field that a session may change as a whole has that in its row, also a list and words in a map."""
    text = (ROOT / "docs" / "bundles.md").read_text("utf-8")
    rows = re.findall(r"^\| `([a-z_.*]+)` \|(?:.*? \|){3} (.*?) ?\| (.*?) ?\|$", text, re.MULTILINE)
    said = {path: (who, when) for path, who, when in rows}
    open_ = {
        path for path in said if (field := field_at(path.split("."))) and field.mark.overridable != "never"
    }

    assert {"agents.*.greeting", "idle_prompts", "max_duration_warnings", "voice_id"} <= open_
    assert {path for path in open_ if not all(said[path])} == set()


@pytest.mark.parametrize(
    "page", ["README.md", *(str(p.relative_to(ROOT)) for p in sorted(ROOT.glob("docs/*.md")))]
)
def test_links_lead_somewhere(page: str) -> None:
    """Every relative link of a document names a file that is there."""
    path = ROOT / page
    links = [link for link in re.findall(r"\]\(([^)#]+)", path.read_text()) if "://" not in link]

    assert [link for link in links if not (path.parent / link).exists()] == []


def test_the_readme_points_to_files_that_exist() -> None:
    """Who looks for the place of a thing is not sent to one that moved."""
    named = re.findall(
        r"`((?:agent|config_store|tests|bundles|deploy)/[\w./]*)`", (ROOT / "README.md").read_text()
    )

    assert len(named) > 20
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_the_readmes_bundle_is_valid(tmp_path: Path) -> None:
    """The bundle on the README's first screen compiles."""
    from config_store.compiled import compile_bundles

    text = re.search(r"```yaml\n(# bundles/shop.yaml\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert text
    folder = tmp_path / "bundles"
    folder.mkdir()
    for name in ("base", "offline"):
        (folder / f"{name}.yaml").write_text((ROOT / "bundles" / f"{name}.yaml").read_text())
    (folder / "shop.yaml").write_text(text.group(1))
    report = compile_bundles(folder, tmp_path / "out", environ={})

    assert report.startable == ("shop",)
    assert not report.warnings.get("shop")


def test_the_documentations_python_is_what_its_bundle_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The module and the bundle beside it compile, and the class can be an agent."""
    from agent.agents import ConfiguredAgent
    from agent.agents.tools import load_function
    from agent.providers.registry import catalog
    from agent.settings import Settings
    from config_store.compiled import compile_bundles

    text = (ROOT / "docs" / "bundles.md").read_text("utf-8")
    folder = tmp_path / "bundles"
    folder.mkdir()
    for name in ("base", "offline"):
        (folder / f"{name}.yaml").write_text((ROOT / "bundles" / f"{name}.yaml").read_text("utf-8"))
    for title, path in (("shop_python.py", tmp_path), ("bundles/orders.yaml", tmp_path)):
        code = re.search(rf"```\w+\n(# {title}\n.*?)```", text, re.DOTALL)
        assert code
        (path / title).write_text(code.group(1))
    monkeypatch.syspath_prepend(str(tmp_path))
    known = catalog(Settings(modules=("shop_python",)), {}, to_check=True)
    report = compile_bundles(folder, tmp_path / "out", catalog=known, environ={})

    assert (report.startable, report.quarantined) == (("orders",), {})
    clerk = load_function("shop_python:Clerk")
    assert isinstance(clerk, type)
    assert issubclass(clerk, ConfiguredAgent)


def test_the_routes_of_the_documentation_choose_what_their_comments_say(tmp_path: Path) -> None:
    """The example of `routes.yaml` names shipped bundles, and each rule serves its calls."""
    from config_store.folder import BundleFolder
    from config_store.routes import Call, load_routes

    text = re.search(
        r"```yaml\n(# bundles/routes.yaml\n.*?)```", (ROOT / "docs/bundles.md").read_text(), re.DOTALL
    )
    assert text
    (tmp_path / "routes.yaml").write_text(text.group(1))
    shipped = dict.fromkeys(BundleFolder(ROOT / "bundles").bundles(), True)
    routes, problems = load_routes(BundleFolder(tmp_path), {}, shipped)

    assert problems == ()
    calls = {
        Call("interview-7"): routes.routes[0],
        Call("x", sip_trunk="ST_hotline", sip_to="+1", sip_from="+49301"): routes.routes[1],
        Call("x", sip_trunk="ST_other", sip_to="+15550107", sip_from="+49301"): routes.routes[2],
        Call("x", sip_trunk="ST_hotline", sip_to="+1555010", sip_from="+1"): routes.routes[3],
        Call("Interview-7"): routes.routes[3],
    }
    for call, rule in calls.items():
        assert next(one for one in routes.routes if one.matches(call)) is rule
        assert routes.bundle_for(call) == rule.bundle


def test_the_readmes_report_is_what_is_printed(tmp_path: Path) -> None:
    """The report of mistakes on the README's first screen is the one that is printed, word for word."""
    from config_store.compiled import compile_bundles

    readme = (ROOT / "README.md").read_text()
    shown = re.search(r"```text\n(bundle 'support' is not valid.*?)```", readme, re.DOTALL)
    assert shown
    folder = tmp_path / "bundles"
    folder.mkdir()
    (folder / "offline.yaml").write_text((ROOT / "bundles" / "offline.yaml").read_text())
    (folder / "base.yaml").write_text((ROOT / "bundles" / "base.yaml").read_text())
    (folder / "support.yaml").write_text(
        "include: [bse, offline]\nname: Support\ntarget_language: en-US\n"
        "voice_tuning: {pase: 1.1, loudness: 5}\n"
        "agents:\n  front:\n    instructions: You help people with their orders.\n"
        "    greeting: Hello {{user_nam}}, how can I help?\n    handoffs: [biling]\n"
        "  billing:\n    instructions: You answer questions about bills.\n"
        "variables: {user_name: {default: there}}\n"
    )
    report = compile_bundles(folder, tmp_path / "out", environ={}).quarantined["support"]

    assert report.startswith(shown.group(1).strip())


@pytest.mark.parametrize("page", ["README.md", "docs/sessions.md"])
def test_values_in_quotes_are_read_as_text(page: str) -> None:
    """The quoted examples of `--set` are what the text beside them says: text."""
    from agent.explained import nested

    given = re.findall(r"--set '([^']+)'", (ROOT / page).read_text())
    assert given
    for pair in given:
        path, _, value = pair.partition("=")
        found: Any = nested([(path, value)])
        for name in path.split("."):
            found = found[name]
        assert found == value.strip('"')
        assert found[0] in "{["


def test_the_benchmarks_are_all_in_their_table() -> None:
    """benchmarks/README.md has a row for each benchmark, and names those that `make bench` runs besides."""
    from benchmarks.__main__ import OTHERS, PARTS

    text = (ROOT / "benchmarks" / "README.md").read_text()
    rows = re.findall(r"^\| .*?`python -m benchmarks(?:\.(\w+)| --only (\w+))", text, re.MULTILINE)
    assert {name or part for name, part in rows} == {*PARTS, *OTHERS, "peers"}
    (besides,) = re.findall(r"a command of\s+their own \(`--only ([^)]*)`\)", text)
    assert tuple(besides.split("`, `")) == OTHERS
