"""LiveKit's own release archive of the server, checked against the release's list of checksums."""

import hashlib
import http.client
import io
import tarfile
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

RELEASES = "https://github.com/livekit/livekit/releases/download"
"""Folder of the releases; one archive per platform and `checksums.txt` in each (goreleaser's layout)."""

ANSWER_WITHIN = 10.0
"""Seconds of silence from the other end after which there is no internet for us."""

MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64", "armv7l": "armv7"}
"""`uname -m` → the archive's word."""

CHUNK = 1 << 20


class ReleaseError(Exception):
    """The archive is not to be had, or not what its checksum says; one line with the reason."""


def download_release(
    version: str,
    folder: Path,
    *,
    system: str,
    machine: str,
    progress: Callable[[str], None],
    base_url: str | None = None,
) -> Path:
    """
    Fetch, check and unpack the program into `folder`.

    Args:
        version: Such as `1.13.5`.
        folder: Where the program is put, as `livekit-server`.
        system: What `platform.system()` says; there are archives for Linux only.
        machine: What `platform.machine()` says.
        progress: Told how far it is.
        base_url: Another place with the same layout; None: LiveKit's releases on GitHub.

    Raises:
        ReleaseError: No archive for this machine, no way to get it, or a wrong checksum.
    """
    if system != "Linux" or machine.lower() not in MACHINES:
        raise ReleaseError(f"there is none for {system} on {machine}")
    place = f"{base_url or RELEASES}/v{version}"
    archive = f"livekit_{version}_linux_{MACHINES[machine.lower()]}.tar.gz"
    wanted = _checksum(_fetch(f"{place}/checksums.txt", lambda _: None).decode("utf-8", "replace"), archive)
    data = _fetch(
        f"{place}/{archive}",
        lambda part: progress(f"downloading livekit-server {version}: {part:.0%}"),
    )
    if hashlib.sha256(data).hexdigest() != wanted:
        raise ReleaseError(f"{archive} does not have the checksum that the release names")
    return _unpack(data, archive, folder)


def _checksum(listing: str, archive: str) -> str:
    for line in listing.splitlines():
        match line.split():
            case [digest, name] if name.removeprefix("*") == archive:
                return digest.lower()
    raise ReleaseError(f"the release's checksums do not name {archive}")


def _fetch(url: str, progress: Callable[[float], None]) -> bytes:
    """The body at a URL; `progress` gets the part of it that is there, 0 to 1, when its size is known."""
    try:
        with urllib.request.urlopen(url, timeout=ANSWER_WITHIN) as answer:  # noqa: S310 - https or a test's own
            size = int(answer.headers.get("Content-Length") or 0)
            body = bytearray()
            while part := answer.read(CHUNK):
                body += part
                if size:
                    progress(len(body) / size)
    except urllib.error.HTTPError as exc:
        exc.close()
        raise ReleaseError(f"{url} answers {exc.code}") from exc
    except (OSError, http.client.HTTPException) as exc:
        reason = getattr(exc, "reason", None) or exc
        raise ReleaseError(f"{url} is out of reach: {reason}") from exc
    return bytes(body)


def _unpack(data: bytes, archive: str, folder: Path) -> Path:
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as tar:
            source = tar.extractfile("livekit-server")
            if source is None:
                raise ReleaseError(f"{archive} has no program in it")
            program = folder / "livekit-server"
            program.write_bytes(source.read())
    except (tarfile.TarError, KeyError) as exc:
        raise ReleaseError(f"{archive} cannot be unpacked: {exc}") from exc
    return program
