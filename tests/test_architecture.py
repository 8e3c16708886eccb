"""Imports point one way, and what only one place may do is done in one place."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

BELOW: dict[str, tuple[str, ...]] = {
    # A package or module, and what of the worker it may import. What is not named here stands above all.
    "agent.cores": (),
    "agent.settings": ("agent.cores",),
    "agent.ending": (),
    "agent.clock": (),
    "agent.heard": (),
    "agent.timers": ("agent.clock",),
    "agent.people": (),
    "agent.signals": (),
    "agent.library": (),
    "agent.stores": (),
    "agent.transcripts": ("agent.transcripts",),
    "agent.providers": ("agent.providers",),
    "agent.services": ("agent.services", "agent.settings"),
    "agent.agents": ("agent.heard", "agent.library", "agent.providers"),
}


def tree_of(path: Path) -> ast.Module:
    """A module, parsed; once more when CPython 3.11.7 stumbles over its own count of depth (gh-106905)."""
    try:
        return ast.parse(path.read_text())
    except SystemError:
        return ast.parse(path.read_text())


def modules() -> Iterator[tuple[str, Path]]:
    for package in ("agent", "config_store"):
        for path in sorted((ROOT / package).rglob("*.py")):
            name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            yield name.removesuffix(".__init__"), path


def imports(path: Path) -> Iterator[str]:
    """Every module that a file imports, names taken from packages included."""
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def is_in(name: str, package: str) -> bool:
    return name == package or name.startswith(package + ".")


MODULES = list(modules())


@pytest.mark.parametrize(
    ("name", "path"), [m for m in MODULES if is_in(m[0], "config_store")], ids=lambda v: str(v)
)
def test_config_store_knows_neither_livekit_nor_the_worker(name: str, path: Path) -> None:
    """What a session is configured to be can be used and tested alone."""
    assert [i for i in imports(path) if is_in(i, "livekit") or is_in(i, "agent")] == []


@pytest.mark.parametrize("package", list(BELOW))
def test_imports_point_down(package: str) -> None:
    """A part imports only what stands below: job → agents, providers, clock, transcripts → config_store."""
    allowed = (package, *BELOW[package])
    for name, path in MODULES:
        if is_in(name, package):
            up = {i for i in imports(path) if is_in(i, "agent") and i != "agent"}
            up = {i for i in up if not any(is_in(i, a) for a in allowed)}
            assert up == set(), f"{name} imports from above"


def test_nothing_stands_above_the_commands() -> None:
    """Commands use everything else; only they and the entry point import commands."""
    users = {name for name, path in MODULES if any(is_in(i, "agent.cli") for i in imports(path))}
    assert {name for name in users if not is_in(name, "agent.cli")} == {"agent.__main__"}


def test_the_environment_is_read_in_one_place() -> None:
    """Only the settings read os.environ; everybody else is told."""
    readers = [
        name
        for name, path in MODULES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Attribute)
        and node.attr in ("environ", "getenv")
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    ]
    assert set(readers) <= {"agent.settings"}


def test_the_librarys_private_parts_are_used_in_one_place() -> None:
    """
    Inner modules, and names with an underscore of objects that are not one's own, are for `agent.library`.

    The plugin of one provider is not the library; what Python documents with an underscore is public.
    """
    assert {name for name, path in MODULES if any(map(_is_private, imports(path)))} == {"agent.library"}
    allowed = {
        "os._exit": None,
        "row._mapping": None,
        "stream._opts": "agent.providers.sarvam_stt",
        "sys._clear_type_cache": "agent.memory",
    }
    others = {
        (name, use)
        for name, path in MODULES
        for use in _private_names(path)
        if name != "agent.library" and (use not in allowed or allowed[use] not in (None, name))
    }
    assert others == set()


def _is_private(module: str) -> bool:
    """Whether a module, or a name in one, is an inner one of livekit's."""
    inner = ("livekit.agents.ipc", "livekit.agents.voice.agent_activity")
    return any(is_in(module, part) for part in inner) or (
        is_in(module, "livekit") and any(part.startswith("_") for part in module.split("."))
    )


def _private_names(path: Path) -> Iterator[str]:
    """Attributes with an underscore that a module uses of anything but `self` and its own class."""
    for node in ast.walk(tree_of(path)):
        if (
            isinstance(node, ast.Attribute)
            and node.attr.startswith("_")
            and not node.attr.startswith("__")
            and ast.unparse(node.value) not in ("self", "cls", "super()")
        ):
            yield ast.unparse(node)


@pytest.mark.parametrize(
    ("module", "spared"),
    [("agent.serving", ("alembic", "sqlalchemy.dialects.postgresql")), ("agent.preload", ("sqlalchemy",))],
)
def test_what_is_not_needed_for_long_is_not_loaded(module: str, spared: tuple[str, ...]) -> None:
    """
    A worker that finds its tables up to date has no migrations in memory, and the fork server no SQL toolkit:
    jobs read a preset with the driver alone.
    """
    program = f"import sys, {module}; print(*[name for name in {spared!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.split() == []


def test_the_installed_library_has_what_is_used_of_it() -> None:
    """The pinned livekit-agents passes the start-up self-check."""
    from agent.library import missing_parts

    assert missing_parts() == []


def test_files_stay_small() -> None:
    """A file of more than 400 lines holds two things, or needs a reason here."""
    assert [name for name, path in MODULES if len(path.read_text().splitlines()) > 400] == []
