"""What Python modules define, without running them."""

from pathlib import Path

import pytest

from config_store.python_names import python_names

MODULE = """
import os.path, json as j
from pathlib import Path as P
A: int = 1
B, (C, *D) = 1, (2, 3)
def f(): inner = 1
async def g(): ...
class K: attribute = 1
if A:
    def h(): ...
try:
    import nothing
except ImportError:
    nothing = None
    def fallback(): ...
raise SystemExit("it is not run")
"""
AGENTS = """
import library
from library import Base
from livekit.agents import Agent
from livekit.agents.voice import Agent as Voice
from .livekit import Mine
def f(): ...
class Plain: ...
class Empty(object): ...
class OfPlain(Plain, Empty): ...
class OfBase(Plain, Base): ...
class OfLibrary(library.Agent): ...
class Later(NotYet): ...
@library.made
class Decorated: ...
@library.made
def decorated(): ...
class Meta(metaclass=library.Meta): ...
try:
    from library import Either
except ImportError:
    class Either: ...
class OfEither(Either): ...
Plain2 = Plain
class OfPlain2(Plain2): ...
class Migrated(Agent): ...
class Renamed(Voice): ...
class Both(Agent, Base): ...
class OfMine(Mine): ...
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_names_at_the_top_are_found_and_no_others(folder: Path) -> None:
    """Functions, classes, imports and assignments, also under a condition; the module is not run."""
    (folder / "names_here.py").write_text(MODULE)

    names = python_names(["names_here"])["names_here"]
    assert names is not None
    assert set(names) == {"os", "j", "P", "A", "B", "C", "D", "f", "g", "K", "h", "nothing", "fallback"}


def test_what_cannot_be_the_class_of_an_agent_is_told(folder: Path) -> None:
    """A function, a class of nothing else or of livekit's; what is decorated or derived else may be."""
    (folder / "agents_here.py").write_text(AGENTS)

    names = python_names(["agents_here"])["agents_here"]
    assert names is not None
    none = {"f", "Plain", "Empty", "OfPlain", "Agent", "Voice", "Migrated", "Renamed"}
    assert (none, {name for name, may_be in names.items() if not may_be}) == (none, none)


@pytest.mark.parametrize("text", ["from os import *", "def __getattr__(name): ...", "def f(:"])
def test_what_reading_does_not_tell_is_not_known(folder: Path, text: str) -> None:
    """Nothing is called missing that may be there."""
    (folder / "unknown_here.py").write_text(text)

    assert python_names(["unknown_here", "_json"]) == {"unknown_here": None, "_json": None}


def test_modules_that_are_not_there_are_left_out(folder: Path) -> None:
    """Also below a package that is not there, or that fails."""
    (folder / "broken_package").mkdir()
    (folder / "broken_package" / "__init__.py").write_text("1 / 0")

    assert python_names(["no_such_module", "nope.mod", "broken_package.mod", ""]) == {}
