"""What a wheel has, for whoever installs it into an application of their own, with no checkout beside it."""

import json
import os
import subprocess
import sys
import time
import urllib.request
import zipfile
from pathlib import Path

import pytest

from agent.services.ports import LOOPBACK, free_ports
from agent.services.tether import end_process, start_tethered

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parent.parent
SHIPPED = Path("agent/demo/bundles")
READY_SECONDS = 90.0


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wheel built from this checkout, unpacked; the libraries are those of this environment."""
    folder = tmp_path_factory.mktemp("wheel")
    uv = subprocess.run([ROOT / "scripts" / "find-uv"], capture_output=True, text=True, check=True)
    subprocess.run([*uv.stdout.split(), "build", "--quiet", "--wheel", "--out-dir", folder, ROOT], check=True)
    (wheel,) = folder.glob("livekit_agent_runtime-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.fixture
def environment(installed: Path, tmp_path: Path) -> dict[str, str]:
    """What a process of the wheel has, in an empty folder."""
    return {
        **os.environ,
        "PYTHONPATH": str(installed),
        "AGENT_DATA": str(tmp_path / "var"),
        "AGENT_HTTP_PORT": str(free_ports(1)[0]),
    }


def agent(*words: str) -> list[str | Path]:
    """`agent …`, without the checkout on the path."""
    return [sys.executable, "-P", "-m", "agent", *words]


def test_the_shipped_bundles_are_in_it(installed: Path) -> None:
    """The wheel has the bundles of the checkout, file for file, and no folder beside its two packages."""
    shipped = {path.relative_to(ROOT / "bundles") for path in (ROOT / "bundles").rglob("*.*")}
    there = {path.relative_to(installed / SHIPPED) for path in (installed / SHIPPED).rglob("*.*")}
    assert there == shipped
    for path in shipped:
        assert (installed / SHIPPED / path).read_bytes() == (ROOT / "bundles" / path).read_bytes()
    tops = {path.name for path in installed.iterdir()}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"agent", "config_store"}


def test_a_worker_without_bundles_says_what_it_lacks(environment: dict[str, str], tmp_path: Path) -> None:
    """`agent start` of the wheel does not serve the demo's bundles: it names the folder and the setting."""
    livekit = {"LIVEKIT_URL": f"ws://{LOOPBACK}:1", "LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": "s"}
    done = subprocess.run(
        agent("start"), cwd=tmp_path, env={**environment, **livekit}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert "there is no folder bundles; set AGENT_BUNDLES to the folder of bundles" in done.stderr


def test_agent_dev_has_bundles_to_show(installed: Path, environment: dict[str, str], tmp_path: Path) -> None:
    """From an empty folder `agent dev` of the wheel comes up with the shipped bundles."""
    port = free_ports(1)[0]
    log = tmp_path / "dev.log"
    with log.open("wb") as output:
        running = start_tethered(
            agent("dev", "--port", str(port)), output=output, environment=environment, folder=tmp_path
        )
    try:
        until = time.monotonic() + READY_SECONDS
        while "ready: open http" not in log.read_text():
            assert running.poll() is None, log.read_text()
            assert time.monotonic() < until, log.read_text()
            time.sleep(0.1)
        with urllib.request.urlopen(f"http://{LOOPBACK}:{port}/api/bundles", timeout=5) as answer:
            names = [card["name"] for card in json.load(answer)]
    finally:
        assert end_process(running, 60) == 0, log.read_text()
    assert "demo" in names
    assert f"bundles    {installed / SHIPPED}" in log.read_text()
