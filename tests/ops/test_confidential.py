"""What a process prints holds no secret, however it comes to be printed."""

import asyncio
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from agent.bundles import Bundles
from agent.confidential import GuardedStream, secrets_of
from agent.settings import Settings

CRASH = """
import logging, sys, threading
from agent import logs, settings
logs.set_up(settings.load())
secret = settings.environment()["CANARY_TOKEN"]
logging.getLogger("agent.x").error("said %r", secret, extra={"of": secret})
print("printed", secret, file=sys.stderr)
threading.Thread(target=lambda: {}[secret]).start()
raise RuntimeError(f"no answer with {secret}")
"""


KEYED = """
name: Main
agents: {{front: {{instructions: hello}}}}
modality_profile: text_only
models: {{llm: {{provider: openai, model: gpt-4.1-mini, api_key_env: {}}}}}
"""


def test_no_output_of_a_crash_holds_a_secret() -> None:
    """Log lines as text and as JSON, a thread's exception, the last one and a print hold no secret."""
    secret = 'two "words"\nof a cänary'
    for log_format in ("json", "text"):
        environment = {"CANARY_TOKEN": secret, "AGENT_LOG_FORMAT": log_format, "PYTHONIOENCODING": "utf-8"}
        ran = subprocess.run(
            [sys.executable, "-c", CRASH], env=environment, capture_output=True, text=True, check=False
        )
        assert ran.returncode == 1
        assert ran.stderr.count("[secret]") == 3
        assert "KeyError" in ran.stderr
        assert "RuntimeError" in ran.stderr
        for part in ("words", "nary"):
            assert part not in ran.stderr


def test_secrets_are_found_by_name_by_setting_and_in_addresses() -> None:
    """Keys of the settings, passwords in addresses as written and as meant, and variables that say so."""
    settings = Settings(
        livekit_api_secret=SecretStr("livekit-secret"),
        redis_url=SecretStr("redis://me:p%40ssword-1@host"),
        database_url=SecretStr("postgresql://me:dbpassword@host/x"),
    )
    variables = {
        "ACME_KEY": "of-the-name",
        "ACME_VOICE": "of-the-bundle",
        "HOME": "/home/somebody",
        "X_KEY": "short",
    }
    found = set(secrets_of(settings, variables, {"ACME_VOICE"}))
    assert found == {
        "livekit-secret", "p%40ssword-1", "p@ssword-1", "dbpassword", "of-the-name", "of-the-bundle",
    }  # fmt: skip


@pytest.mark.parametrize(
    "address",
    [
        {"redis_url": "unix:///run/valkey.sock?db=1&password={}"},
        {"redis_url": "redis+sentinel://a:1,b:2/main?sentinel_password={}"},
        {
            "redis_url": "rediss+sentinel://a/main?sentinel_username=bob-the-user&sentinel_password={}&ssl_ca_certs=/ca.pem"
        },
        {"database_url": "postgresql:///x?host=/run/postgresql&user=bob-the-user&password={}"},
        {"database_url": "postgresql+psycopg://host/x?password={}"},
        {"database_url": "postgresql://host/x?sslkey=/etc/client.key&sslpassword={}"},
    ],
)
def test_a_password_in_the_query_of_an_address_is_a_secret(address: dict[str, str]) -> None:
    """As written and as meant, whatever a `+` means; names, paths and other options are no secrets."""
    [(name, url)] = address.items()
    settings = Settings(**{name: SecretStr(url.format("p%40ss+word-1"))})
    assert set(secrets_of(settings, {})) == {"p%40ss+word-1", "p@ss+word-1", "p@ss word-1"}


def test_a_password_of_both_kinds_in_one_address() -> None:
    """The servers' password and the Sentinels' are both secrets; a `#` in a query cuts nothing off."""
    both = Settings(redis_url=SecretStr("redis+sentinel://:of-servers@a/main?sentinel_password=of-sentinels"))
    assert set(secrets_of(both, {})) == {"of-servers", "of-sentinels"}
    hashed = Settings(database_url=SecretStr("postgresql://host/x?password=before#after-it"))
    assert set(secrets_of(hashed, {})) == {"before#after-it"}


async def test_keys_that_bundles_name_are_secrets_as_bundles_change(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """
    The value of a variable that a bundle names as its key is not printed, whatever the variable's name is;
    one that an edit names is one from then on, and the one before stays one, for the calls that have it.
    """
    values = {"ACME_VOICE": "value-of-acme", "OTHER_VOICE": "value-of-other"}
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    printed = io.StringIO()
    monkeypatch.setattr(sys, "stderr", printed)
    (tmp_path / "bundles").mkdir()
    bundle = tmp_path / "bundles" / "main.yaml"
    bundle.write_text(KEYED.format("ACME_VOICE"))
    bundles = Bundles(Settings(bundles=bundle.parent, data=tmp_path / "data"))
    bundles.compile()
    print(*values.values(), file=sys.stderr)
    assert printed.getvalue() == "[secret] value-of-other\n"

    seen = asyncio.Event()
    guard = bundles._guard

    def guarded(variables: frozenset[str]) -> None:
        guard(variables)
        seen.set()

    monkeypatch.setattr(bundles, "_guard", guarded)
    watching = asyncio.create_task(bundles.watch())
    bundle.write_text(KEYED.format("OTHER_VOICE"))
    async with asyncio.timeout(30):
        await seen.wait()
    watching.cancel()
    await asyncio.wait({watching})
    print(*values.values(), file=sys.stderr)
    assert printed.getvalue().splitlines()[-1] == "[secret] [secret]"


def test_a_guarded_stream_is_a_stream() -> None:
    """It takes secrets out in every form, says how much was written, and knows of the stream behind."""
    behind = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    stream = GuardedStream(behind, ['a"secret"'])
    text = 'so a"secret" ' + json.dumps({"x": 'a"secret"'})
    assert stream.write(text) == len(text)
    stream.flush()
    assert behind.buffer.getvalue() == b'so [secret] {"x": "[secret]"}'
    assert (stream.isatty(), stream.writable(), stream.encoding) == (False, True, "utf-8")
