"""
Where the livekit-server program comes from: the PATH, our cache, LiveKit's release, or a build with Go.

Each source is tried in turn and says why it failed, so that the one error at the end names them all. The
result is cached outside the checkout: a second run finds it in no time.
"""

import fcntl
import platform
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

from agent.services import go_toolchain
from agent.services.release import ReleaseError, download_release

VERSION = "1.13.5"
"""The release of livekit-server that this project is tested with."""

MODULE = f"github.com/livekit/livekit-server/cmd/server@v{VERSION}"
"""What `go install` builds; the program it makes is called `server`."""

BUILD_WITHIN = 1800.0
"""Seconds for a build; measured 80 to 95 on two cores."""

Progress = Callable[[str], None]
"""Told in one line what goes on, every few seconds."""


class ServerUnavailableError(Exception):
    """livekit-server cannot be had here; one line per source with the reason."""


def cache_folder(environment: Mapping[str, str]) -> Path:
    """`$XDG_CACHE_HOME/livekit-agent-runtime`, else `~/.cache/livekit-agent-runtime`; may not exist yet."""
    home = environment.get("XDG_CACHE_HOME") or ""
    base = Path(home) if home.startswith("/") else Path.home() / ".cache"  # the standard: absolute or ignored
    return base / "livekit-agent-runtime"


def find_server(environment: Mapping[str, str], *, cached_only: bool = False) -> Path | None:
    """
    The program on the PATH or in the cache, without getting anything.

    Args:
        environment: The process's environment (PATH, XDG_CACHE_HOME).
        cached_only: Leave the PATH out.
    """
    if not cached_only and (found := shutil.which("livekit-server", path=environment.get("PATH"))):
        return Path(found)
    cached = cache_folder(environment) / f"livekit-server-{VERSION}"
    return cached if cached.is_file() else None


def get_server(environment: Mapping[str, str], progress: Progress, *, release_url: str | None = None) -> Path:
    """
    The program, fetched or built when it is not there yet. Concurrent callers wait for the first one.

    Args:
        environment: The process's environment (PATH, XDG_CACHE_HOME, proxies).
        progress: Told what goes on.
        release_url: Folder of the release archive; None: LiveKit's on GitHub.

    Raises:
        ServerUnavailableError: No source had it.
    """
    if found := find_server(environment):
        return found
    cache = cache_folder(environment)
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "livekit-server.lock").open("a") as turn:
        try:
            fcntl.flock(turn, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            progress("waiting for another process that is getting livekit-server")
            fcntl.flock(turn, fcntl.LOCK_EX)
        if found := find_server(environment, cached_only=True):
            return found
        with tempfile.TemporaryDirectory(prefix="livekit-server-", dir=cache) as scratch:
            program = _obtain(Path(scratch), environment, progress, release_url)
            program.chmod(0o755)
            kept = cache / f"livekit-server-{VERSION}"
            program.rename(kept)  # within one file system: there is never half a program under this name
    return kept


def _obtain(
    scratch: Path, environment: Mapping[str, str], progress: Progress, release_url: str | None
) -> Path:
    reasons = []
    try:
        return download_release(
            VERSION, scratch, system=platform.system(), machine=platform.machine(),
            progress=progress, base_url=release_url,
        )  # fmt: skip
    except ReleaseError as exc:
        reasons.append(f"release archive: {exc}")
        progress(f"no release archive ({exc}); building livekit-server {VERSION}")
    try:
        go = go_toolchain.find(environment) or go_toolchain.install(scratch, environment, progress)
        return _build(go, scratch, environment, progress)
    except go_toolchain.GoError as exc:
        reasons.append(f"build with Go: {exc}")
    raise ServerUnavailableError(
        f"livekit-server {VERSION} is not on the PATH and could not be got. " + " · ".join(reasons)
    )


def _build(go: Path, scratch: Path, environment: Mapping[str, str], progress: Progress) -> Path:
    """Build from source with the Go proxy's modules, everything below `scratch`, which goes afterwards."""
    with subprocess.Popen(  # noqa: S603 - the command is ours
        [go, "install", "-v", "-ldflags=-s -w", MODULE],
        env=go_toolchain.settings(scratch, environment), cwd=scratch, text=True, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as build:  # fmt: skip
        limit = threading.Timer(BUILD_WITHIN, build.kill)
        limit.start()
        try:
            last = _follow(build, progress)
        except BaseException:
            build.kill()
            raise
        finally:
            limit.cancel()
    program = scratch / "bin" / "server"
    if build.returncode != 0 or not program.is_file():
        raise go_toolchain.GoError(f"`go install` failed: {last or f'status {build.returncode}'}")
    return program


def _follow(build: "subprocess.Popen[str]", progress: Progress) -> str:
    """Turn the output of `go install -v` into counts; returns the last line that was neither."""
    modules = packages = 0
    last = ""
    assert build.stdout is not None
    for line in build.stdout:
        if line.startswith("go: downloading "):
            modules += 1
        elif re.fullmatch(r"[\w.~/-]+\n", line):
            packages += 1
        else:
            last = line.strip()
            continue
        if (modules + packages) % 25 == 0:
            progress(f"building livekit-server {VERSION}: {modules} modules, {packages} packages compiled")
    return last
