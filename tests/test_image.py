"""
The image's steps, run without Docker: what the Dockerfile says is read from it and done in a folder.

The uv is of the Dockerfile's version, from PyPI. Not run here: pulling the base images (the Python of this
machine stands in for theirs), `useradd` (its number is used without a name), COPY's file owners, and
everything that a container runtime does by itself.
"""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.services.livekit_server import LiveKitServer
from agent.services.ports import free_ports
from tests.conftest import missing

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parent.parent
READY_SECONDS = 60.0


@dataclass
class Stage:
    """One stage of the Dockerfile, as its instructions say."""

    environment: dict[str, str] = field(default_factory=dict)
    steps: list[tuple[str, str]] = field(default_factory=list)
    """COPY and RUN, in order."""
    others: dict[str, str] = field(default_factory=dict)
    """The last of every other instruction."""


def stages() -> list[Stage]:
    """The stages in order."""
    text = re.sub(r"\\\n\s*", " ", (ROOT / "Dockerfile").read_text())
    found: list[Stage] = []
    for line in text.splitlines():
        word, _, rest = line.partition(" ")
        if not word.isupper():
            continue
        if word == "FROM":
            found.append(Stage())
        elif word == "ENV":
            found[-1].environment |= dict(pair.split("=", 1) for pair in shlex.split(rest))
        elif word in ("COPY", "RUN"):
            found[-1].steps.append((word, rest))
        else:
            found[-1].others[word] = rest
    return found


@dataclass
class Image:
    """The folder that stands for the image, and its last stage."""

    folder: Path
    stage: Stage

    def inside(self, text: str) -> str:
        """A path of the image, here."""
        return re.sub(r"(?<![\w/.])/(opt/agent|bundles|data)\b", rf"{self.folder}/\1", text)

    def environment(self, **more: str) -> dict[str, str]:
        """What a process in the image gets."""
        values = {name: self.inside(value) for name, value in self.stage.environment.items()}
        return {
            **values,
            "PATH": values["PATH"].replace("$PATH", "/usr/bin:/bin"),
            "HOME": f"{self.folder}/data",
            **more,
        }


@pytest.fixture(scope="module")
def uv(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The program of the Dockerfile's uv; uv keeps what it downloads, so that is once for each machine."""
    (version,) = re.findall(
        r"^COPY --from=\S+/uv:(\S+) /uv ", (ROOT / "Dockerfile").read_text(), re.MULTILINE
    )
    ours = subprocess.run(
        [ROOT / "scripts" / "find-uv"], capture_output=True, text=True, check=True
    ).stdout.split()
    folder = tmp_path_factory.mktemp("uv")
    install = [*ours, "pip", "install", "--quiet", "--python", sys.executable, "--target", str(folder)]
    done = subprocess.run([*install, f"uv=={version}"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        missing(f"uv {version}", f"it could not be got from PyPI: {done.stderr.strip()[-200:]}")
    return str(folder / "bin" / "uv")


@pytest.fixture(scope="module")
def image(uv: str) -> Iterator[Image]:
    """Both stages, done in a folder that every user can read."""
    build, last = stages()
    folder = Path(tempfile.mkdtemp(prefix="agent-image-"))
    folder.chmod(0o755)
    python = next(path for path in ("/usr/bin/python3.11", sys.executable) if Path(path).exists())
    image = Image(folder, last)
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("UV_", "VIRTUAL_ENV"))},
        **{name: image.inside(value) for name, value in build.environment.items()},
        "UV_PYTHON": python,
    }
    source = folder / "src"
    source.mkdir()
    try:
        for word, rest in build.steps:
            if word == "COPY" and not rest.startswith("--from"):
                *names, target = rest.split()
                for name in names:
                    copy(
                        ROOT / name,
                        source / target / ("" if len(names) > 1 else name if target == "./" else ""),
                    )
            elif word == "RUN":
                command = shlex.split(rest)
                assert command[0] == "uv"
                done = subprocess.run(
                    [uv, *command[1:]],
                    cwd=source,
                    env=environment,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert done.returncode == 0, done.stderr
        shutil.rmtree(source)  # the last stage has only what is copied into it
        for word, rest in last.steps:
            if word == "COPY" and not rest.startswith("--from"):
                name, target = rest.split()
                copy(ROOT / name, Path(image.inside(target)))
        data = folder / "data"
        data.mkdir(mode=0o700)
        if os.getuid() == 0:
            os.chown(data, *(int(last.others["USER"]),) * 2)
        yield image
    finally:
        shutil.rmtree(folder)


def copy(source: Path, target: Path) -> None:
    """As COPY does it."""
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copy(source, target)


def contained(image: Image, command: list[str]) -> list[str]:
    """The command as the image's user, on a root that cannot be written but for /data; as far as we may."""
    if os.getuid() != 0:
        return command
    user = image.stage.others["USER"]
    data = shlex.quote(f"{image.folder}/data")
    script = (
        f"mount --bind {data} {data} && mount -o remount,bind,ro / && exec setpriv --reuid={user} "
        f"--regid={user} --clear-groups --bounding-set=-all --no-new-privs -- {shlex.join(command)}"
    )
    return ["unshare", "--mount", "sh", "-c", script]


def test_the_build_has_the_uv_that_the_dockerfile_names(uv: str) -> None:
    """The steps are tried with the version that `docker build` takes, whichever one this machine has."""
    told = subprocess.run([uv, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    assert f"/uv:{told} /uv " in (ROOT / "Dockerfile").read_text()


def test_no_tool_of_the_build_and_no_test_is_in_the_image(image: Image) -> None:
    """The environment has what the worker needs, the packages themselves and not a link to the source."""
    packages = image.folder / "opt" / "agent" / "lib" / "python3.11" / "site-packages"
    names = {path.name for path in packages.iterdir()}
    assert {"agent", "config_store", "livekit", "espeakng_loader"} <= names
    assert not names & {"pytest", "mypy", "tests", "hypothesis", "playwright"}
    assert not [name for name in names if name.endswith(".pth") and "livekit_agent_runtime" in name]
    assert list((packages / "agent").rglob("*.pyc")), "compiled: the worker starts on a read-only root"


def test_the_worker_runs_as_the_image_has_it(image: Image, livekit_server: LiveKitServer) -> None:
    """
    The entry point, as user 10001 without capabilities, on a read-only root: it gets ready, the health check
    passes, SIGTERM drains it with exit status 0, and it wrote nowhere but under /data.
    """
    entry = [*json.loads(image.stage.others["ENTRYPOINT"]), *json.loads(image.stage.others["CMD"])]
    program = str(image.folder / "opt" / "agent" / "bin" / entry[0])
    port = str(free_ports(1)[0])
    environment = image.environment(
        **livekit_server.environment, AGENT_NAME="image", AGENT_HTTP_PORT=port, AGENT_DRAIN_SECONDS="0"
    )
    worker = subprocess.Popen(
        contained(image, [program, *entry[1:]]),
        cwd=image.inside(image.stage.others["WORKDIR"]), env=environment,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        wait_ready(worker, port)
        check = json.loads(image.stage.others["HEALTHCHECK"].partition("CMD ")[2])
        python = str(image.folder / "opt" / "agent" / "bin" / check[0])
        healthy = subprocess.run([python, *check[1:]], env=environment, capture_output=True, check=False)
        assert healthy.returncode == 0, healthy.stderr
        worker.send_signal(getattr(signal, image.stage.others["STOPSIGNAL"]))
        output, _ = worker.communicate(timeout=60)
    finally:
        worker.kill()
        worker.communicate()
    assert worker.returncode == 0, output
    sick = subprocess.run([python, *check[1:]], env=environment, capture_output=True, check=False)
    assert sick.returncode != 0, "nobody answers any more"


def wait_ready(worker: "subprocess.Popen[str]", port: str) -> None:
    """Until `/readyz` answers 200."""
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until and worker.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
                if answer.status == 200:
                    return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    worker.kill()
    pytest.fail(f"the worker is not ready:\n{worker.communicate()[0]}")
