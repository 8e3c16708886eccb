"""What is deployed agrees with what the worker says of itself, and standard tools find no fault in it."""

import itertools
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from agent.providers.registry import catalog
from agent.services.ports import free_ports
from agent.settings import Settings, SettingsError, environment, load
from agent.worker import stop_budget_seconds
from config_store.compiled import Compiler
from config_store.folder import BundleFolder
from config_store.published import Publication
from tests.conftest import missing

ROOT = Path(__file__).parent.parent
KUBERNETES = ROOT / "deploy" / "kubernetes"
MANIFEST = KUBERNETES / "worker.yaml"
MIGRATION = KUBERNETES / "migrate.yaml"
UNIT = ROOT / "deploy" / "livekit-agent.service"


def manifests() -> dict[str, dict[str, Any]]:
    """The Kubernetes objects of all files by kind."""
    return {
        one["kind"]: one for path in (MANIFEST, MIGRATION) for one in yaml.safe_load_all(path.read_text())
    }


def pods() -> list[dict[str, Any]]:
    """The pods that are described: a worker's and that of the migration."""
    found = manifests()
    return [found[kind]["spec"]["template"]["spec"] for kind in ("Deployment", "Job")]


def checked(*command: str) -> None:
    """A linter finds nothing."""
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def environment_of(pod: dict[str, Any]) -> dict[str, str]:
    """The variables of its container."""
    return {one["name"]: one["value"] for one in pod["containers"][0].get("env", ())}


def test_kubernetes_waits_as_long_as_a_stop_may_take() -> None:
    """The grace period is not shorter than the longest stop with the drain that the manifest asks for."""
    pod = manifests()["Deployment"]["spec"]["template"]["spec"]
    drain = float(environment_of(pod)["AGENT_DRAIN_SECONDS"])
    budget = stop_budget_seconds(Settings(drain_seconds=drain))
    assert budget <= pod["terminationGracePeriodSeconds"] <= budget + 30


def test_kubernetes_holds_no_secret_and_asks_the_worker_by_its_own_probes() -> None:
    """Secrets come by reference alone; readiness and liveness are two questions; nothing runs as root."""
    for pod in pods():
        (container,) = pod["containers"]
        assert container["envFrom"] == [{"secretRef": {"name": "livekit-agent"}}]
        assert not {name for name in environment_of(pod) if not name.startswith("AGENT_")}
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert pod["securityContext"]["runAsNonRoot"]
    worker = pods()[0]["containers"][0]
    assert worker["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert worker["livenessProbe"]["httpGet"]["path"] == "/livez"


def test_kubernetes_sets_no_variables_by_the_names_of_services(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Service named `agent-http` would set a variable of ours to what is no port; no pod is given such."""
    monkeypatch.setenv("AGENT_HTTP_PORT", "tcp://10.0.0.7:80")
    with pytest.raises(SettingsError, match="AGENT_HTTP_PORT"):
        load()
    assert [pod["enableServiceLinks"] for pod in pods()] == [False, False]


def figure(what: str) -> float:
    """What `docs/figures.md` says of ours in the table beside a hard-coded worker, in MB."""
    rows = re.findall(
        rf"^\| {what} \| [\d.]+ MB \| ([\d.]+) MB \|",
        (ROOT / "docs" / "figures.md").read_text(),
        re.MULTILINE,
    )
    assert len(rows) == 1
    return float(rows[0])


def test_kubernetes_ends_a_greedy_job_before_the_kernel_ends_all() -> None:
    """By the figures, a full worker with two jobs more at their limit fits into the container's memory."""
    pod = pods()[0]
    environment = environment_of(pod)
    full = figure("idle worker") + int(environment["AGENT_MAX_SESSIONS"]) * figure("memory of one more call")
    resources = pod["containers"][0]["resources"]
    asked, most = (
        1024 * int(resources[kind]["memory"].removesuffix("Gi")) for kind in ("requests", "limits")
    )
    assert full <= asked
    assert full + 2 * int(environment["AGENT_JOB_MEMORY_MB"]) <= most


def test_kubernetes_scales_below_the_cap() -> None:
    """The target of the autoscaler leaves room in every worker for a burst."""
    found = manifests()
    cap = int(environment_of(found["Deployment"]["spec"]["template"]["spec"])["AGENT_MAX_SESSIONS"])
    metric = found["HorizontalPodAutoscaler"]["spec"]["metrics"][0]["pods"]
    assert metric["metric"]["name"] == "agent_sessions"
    assert 0 < int(metric["target"]["averageValue"]) < cap


def test_compose_publishes_the_ports_that_livekit_uses() -> None:
    """Of HTTP and of media over TCP, which it has by itself, and the UDP port of media that it is told."""
    livekit = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["livekit"]
    options = dict(itertools.pairwise(livekit["command"]))
    assert livekit["ports"] == ["7880:7880", "7881:7881", "{0}:{0}/udp".format(options["--udp-port"])]


def test_compose_and_systemd_wait_as_long_as_a_stop_may_take() -> None:
    """`docker compose stop` and `systemctl stop` kill no worker that is still saying goodbye."""
    worker = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]["worker"]
    drain = float(worker["environment"]["AGENT_DRAIN_SECONDS"])
    grace = float(worker["stop_grace_period"].removesuffix("s"))
    assert grace >= stop_budget_seconds(Settings(drain_seconds=drain))
    unit = dict(
        line.removeprefix("Environment=").split("=", 1)
        for line in UNIT.read_text().splitlines()
        if "=" in line and not line.startswith("#")
    )
    budget = stop_budget_seconds(Settings(drain_seconds=float(unit["AGENT_DRAIN_SECONDS"])))
    assert float(unit["TimeoutStopSec"]) >= budget


def test_every_setting_in_the_manifests_is_one() -> None:
    """No AGENT_ variable is set that the worker does not read."""
    known = {f"AGENT_{name.upper()}" for name in Settings.model_fields}
    texts = [MANIFEST, MIGRATION, UNIT, ROOT / "compose.yaml", ROOT / "Dockerfile"]
    named = {
        word.split("=")[0].split(":")[0].strip('",}{')
        for path in texts
        for word in path.read_text().split()
        if word.lstrip("{").startswith("AGENT_") and not word.startswith("AGENT_DRAIN_SECONDS)")
    }
    named |= {
        word.removeprefix("Environment=").split("=")[0]
        for word in UNIT.read_text().split()
        if word.startswith("Environment=")
    }
    assert {name for name in named if name.startswith("AGENT_")} <= known


class Health(BaseHTTPRequestHandler):
    """A worker's HTTP, of which only /livez is there."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/livez" else 503)
        self.end_headers()

    def log_message(self, *args: Any) -> None:
        pass


def test_the_health_check_asks_the_worker_and_no_proxy() -> None:
    """A proxy in the environment makes no healthy worker an unhealthy one; one that is gone is unhealthy."""
    (line,) = re.findall(
        r"^HEALTHCHECK .*\\\n +CMD (\[.*\])$", (ROOT / "Dockerfile").read_text(), re.MULTILINE
    )
    command = [sys.executable, *json.loads(line)[1:]]
    dead = f"http://127.0.0.1:{free_ports(1)[0]}"

    def is_healthy(port: int) -> bool:
        environment = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"), dead)
        environment["AGENT_HTTP_PORT"] = str(port)
        done = subprocess.run(command, env=environment, capture_output=True, timeout=30, check=False)
        return done.returncode == 0

    with HTTPServer(("127.0.0.1", 0), Health) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            assert is_healthy(server.server_port)
        finally:
            server.shutdown()
    assert not is_healthy(server.server_port)


def test_hadolint_finds_nothing() -> None:
    """The Dockerfile keeps hadolint's rules."""
    checked(str(Path(sys.executable).with_name("hadolint")), "Dockerfile")


@pytest.mark.parametrize("path", sorted(KUBERNETES.iterdir()), ids=lambda path: path.name)
def test_kubernetes_takes_the_manifests(path: Path) -> None:
    """Kubernetes' own schemas accept every object."""
    objects = list(yaml.safe_load_all(path.read_text()))
    assert objects
    for one in objects:
        kubernetes_validate.validate(one, "1.37", strict=True)


def config_maps() -> dict[str, Path]:
    """The ConfigMaps that the header of the manifest makes, and from which folder."""
    commands = re.findall(
        r"kubectl create configmap (\S+) --from-file=(\S+)/$", MANIFEST.read_text(), re.MULTILINE
    )
    return {name: ROOT / folder for name, folder in commands}


def mounted(pod: dict[str, Any], sources: dict[str, Path], root: Path) -> Path:
    """
    The container's bundles as kubectl and the kubelet make them, below `root`.

    kubectl takes the plain files of a folder and none of the folders in it. The kubelet writes them to a
    hidden folder, to which a link `..data` leads, and a link for each file through that one; it makes the
    mount point where another volume is mounted inside of a ConfigMap's.
    """
    volumes = {one["name"]: one.get("configMap") for one in pod["volumes"]}
    (container,) = pod["containers"]
    mounts = {one["mountPath"]: volumes[one["name"]] for one in container["volumeMounts"]}
    for path, config_map in sorted(mounts.items()):
        if config_map is None:
            continue
        assert config_map.keys() == {"name"}, "`items`, `optional` and modes are not imitated here"
        around = [mounts[str(outer)] for outer in Path(path).parents if str(outer) in mounts]
        assert None not in around, "it makes mount points in ConfigMaps' volumes alone"
        files = {
            file.name: file.read_bytes() for file in sources[config_map["name"]].iterdir() if file.is_file()
        }
        project(root / path.lstrip("/"), files)
    return root / environment_of(pod)["AGENT_BUNDLES"].lstrip("/")


def project(folder: Path, files: dict[str, bytes]) -> None:
    """Write a ConfigMap's files as the kubelet does, also over what it wrote before."""
    folder.mkdir(parents=True, exist_ok=True)
    hidden = Path(tempfile.mkdtemp(prefix="..2026_01_01_00_00_00.", dir=folder))
    for name, content in files.items():
        (hidden / name).write_bytes(content)
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(f"..data/{name}")
    (folder / "..data_tmp").symlink_to(hidden.name)
    (folder / "..data_tmp").replace(folder / "..data")


def states(bundles: Path) -> dict[str, str]:
    """What `agent bundles check` says of each bundle, with keys."""
    keys = {"OPENAI_API_KEY": "placeholder", "ELEVEN_API_KEY": "placeholder"}
    done = subprocess.run(
        [sys.executable, "-m", "agent", "bundles", "check", "--json"],
        cwd=bundles.parent, env={"PATH": "/usr/bin:/bin", "AGENT_BUNDLES": str(bundles), **keys},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return {one["name"]: one["state"] for one in json.loads(done.stdout)}


def test_kubernetes_has_the_bundles_of_the_folder(tmp_path: Path) -> None:
    """What the header's commands and the manifest's volumes give is the shipped bundles, prompts included."""
    found = states(mounted(pods()[0], config_maps(), tmp_path))
    assert found == states(ROOT / "bundles")
    assert found["interview"] == found["support"] == "startable"


def test_kubernetes_takes_bundles_in_folders_of_theirs(tmp_path: Path) -> None:
    """One more ConfigMap, volume and mount, as the header says, and the folder's bundles are there."""
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme" / "desk.yaml").write_text("include: [support]\n")
    pod = pods()[0]
    pod["volumes"].append({"name": "acme", "configMap": {"name": "acme"}})
    pod["containers"][0]["volumeMounts"].append(
        {"name": "acme", "mountPath": "/bundles/acme", "readOnly": True}
    )
    found = states(mounted(pod, {**config_maps(), "acme": tmp_path / "acme"}, tmp_path / "root"))
    assert found == {**states(ROOT / "bundles"), "acme/desk": "startable"}


def test_kubernetes_brings_an_edit_to_running_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A prompt that is replaced in its ConfigMap is compiled by a worker that runs."""
    monkeypatch.setenv("OPENAI_API_KEY", "placeholder")
    monkeypatch.setenv("ELEVEN_API_KEY", "placeholder")
    folder = mounted(pods()[0], config_maps(), tmp_path)
    settings = Settings(bundles=folder)
    environ = environment()
    compiler = Compiler(
        BundleFolder(folder),
        Publication(tmp_path / "out"),
        environ,
        catalog(settings, environ, to_check=True),
    )
    assert "support" in compiler.run().startable
    project(folder / "prompts", {"support.md": b"You answer.", "coding_expert.md": b"You ask."})
    report = compiler.refresh([folder / "prompts" / "..data"])
    assert report is not None
    assert set(report.changed) == {"support", "interview"}


def test_kubernetes_migrates_anew_with_each_release() -> None:
    """
    Each migration is a Job of its own, with the workers' image, and none is applied along with the workers.

    A Job that is there by the same name takes no other template.
    """
    job = manifests()["Job"]
    assert "name" not in job["metadata"]
    assert job["metadata"]["generateName"]
    assert "Job" not in {one["kind"] for one in yaml.safe_load_all(MANIFEST.read_text())}
    assert len({pod["containers"][0]["image"] for pod in pods()}) == 1
    assert job["spec"]["template"]["spec"]["containers"][0]["args"] == ["db", "upgrade"]


UPGRADE = re.compile(r"^job=\$\(kubectl create .*\n.*\n.* apply .*$", re.MULTILINE)

KUBECTL = """#!/bin/sh
echo "$*" >> told
case "$1" in
create) test "$FAILS" != create && echo job.batch/livekit-agent-migrate-x7k2p ;;
*) test "$FAILS" != "$1" ;;
esac
"""
"""Writes down what it is told, and fails at one verb."""


@pytest.mark.parametrize("fails", ["create", "wait", "nothing"])
def test_kubernetes_replaces_no_worker_before_the_schema_is_there(tmp_path: Path, fails: str) -> None:
    """The documented commands wait for the Job that they made, and apply nothing where that is in vain."""
    (script,) = UPGRADE.findall((ROOT / "docs" / "operations.md").read_text())
    (tmp_path / "kubectl").write_text(KUBECTL)
    (tmp_path / "kubectl").chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "FAILS": fails},
        check=False,
    )
    assert (done.returncode == 0) is (fails == "nothing")
    told = [line.split() for line in (tmp_path / "told").read_text().splitlines()]
    verbs = [words[0] for words in told]
    assert verbs == ["create", "wait", "apply"][: {"create": 1, "wait": 2, "nothing": 3}[fails]]
    files = {word for words in told for word in words if word.endswith(".yaml")}
    assert all((ROOT / name).is_file() for name in files)
    if fails == "nothing":
        assert told[1][-1] == "job.batch/livekit-agent-migrate-x7k2p"
        assert "--for=condition=complete" in told[1]


def test_the_manifest_has_the_commands_of_the_documentation() -> None:
    """Who reads only the file reads the same order as who reads the page."""
    (documented,) = UPGRADE.findall((ROOT / "docs" / "operations.md").read_text())
    (written,) = UPGRADE.findall(re.sub(r"^#   ", "", MIGRATION.read_text(), flags=re.MULTILINE))
    assert written == documented


def test_compose_takes_its_file() -> None:
    """The Compose specification's schema accepts the file."""
    checked(
        sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml"
    )


@pytest.mark.parametrize("name", ["check.yml", "newest.yml"])
def test_github_takes_the_workflows(name: str) -> None:
    """GitHub's schema accepts them, they run targets of the Makefile, and one of them is run by hand."""
    path = ROOT / ".github" / "workflows" / name
    checked(
        sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.github-workflows", str(path)
    )
    workflow = yaml.load(path.read_text(), yaml.BaseLoader)
    assert ("workflow_dispatch" in workflow["on"]) is (name == "newest.yml")
    steps = [step["run"] for job in workflow["jobs"].values() for step in job["steps"] if "run" in step]
    targets = [command.removeprefix("make ") for command in steps if command.startswith("make ")]
    assert targets
    for target in targets:
        assert f"\n{target}:" in (ROOT / "Makefile").read_text()


def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    """`systemd-analyze verify` has nothing to say but that the program is not installed here."""
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        missing("systemd-analyze", "`apt-get install systemd`")
    copy = tmp_path / UNIT.name
    copy.write_text(UNIT.read_text().replace("/opt/livekit-agent/bin/agent", sys.executable))
    done = subprocess.run(
        [analyze, "verify", str(copy)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
