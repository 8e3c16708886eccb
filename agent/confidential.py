"""Secrets in what a process prints: log lines, and the traceback of an exception that nobody caught."""

import io
import json
import re
import sys
from collections.abc import Collection, Mapping
from typing import TextIO
from urllib.parse import unquote, unquote_plus, urlsplit

from agent.settings import Settings, environment

LEAST_SECRET = 8
"""Characters of the shortest value that counts as a secret; shorter ones are words that anybody may say."""

HIDDEN = "[secret]"

_NAME = re.compile(r"(?:KEY|SECRET|TOKEN|PASSWORD|CREDENTIALS?)S?$", re.IGNORECASE)


def secrets_of(settings: Settings, variables: Mapping[str, str], named: Collection[str] = ()) -> list[str]:
    """
    Values that are never stored or printed, wherever they turn up; longest first.

    They are the settings' keys, the passwords in their addresses, and the variables whose name says that
    they hold one.

    Args:
        settings: This process's.
        variables: The environment.
        named: Variables that hold a secret whatever their name is.
    """
    keys = [settings.livekit_api_secret, settings.openai_api_key, settings.eleven_api_key]
    values = {key.get_secret_value() for key in keys if key is not None}
    for url in (settings.redis_url, settings.database_url):
        values |= _passwords(url.get_secret_value()) if url is not None else set()
    values |= {value for name, value in variables.items() if name in named or _NAME.search(name)}
    return sorted((value for value in values if len(value) >= LEAST_SECRET), key=len, reverse=True)


def _passwords(address: str) -> set[str]:
    """
    Those before the host and in the query (`password`, `sentinel_password`, `sslpassword`), as written and as
    meant; what a `+` means is not the same for every driver.
    """
    options = (option.partition("=") for option in address.partition("?")[2].split("&"))
    written = {value for name, _, value in options if unquote(name).lower().endswith("password")}
    written.add(urlsplit(address).password or "")
    return {meant(password) for password in written for meant in (str, unquote, unquote_plus)}


def key_variables(config: object) -> set[str]:
    """Every variable that a config of plain maps and lists names as one with a key in it (`api_key_env`)."""
    if isinstance(config, list):
        return {name for each in config for name in key_variables(each)}
    if not isinstance(config, dict):
        return set()
    named = config.get("api_key_env")
    inner = {name for each in config.values() for name in key_variables(each)}
    return inner | {named} if isinstance(named, str) else inner


def guard_stderr(settings: Settings) -> None:
    """From now on nothing that this process or a fork of it writes to stderr holds a secret. Idempotent."""
    if not isinstance(sys.stderr, GuardedStream):
        sys.stderr = GuardedStream(sys.stderr, secrets_of(settings, environment()))


def hidden(text: str, settings: Settings) -> str:
    """The text without any secret of this process."""
    shown = io.StringIO()
    GuardedStream(shown, secrets_of(settings, environment())).write(text)
    return shown.getvalue()


class GuardedStream(io.TextIOBase):
    """A text stream that takes secrets out of each piece that is written to it."""

    def __init__(self, stream: TextIO, secrets: Collection[str]) -> None:
        self._stream = stream
        # In `repr`, in JSON and in JSON that holds a `repr` a value may look otherwise than it is.
        said = {form for value in secrets for form in (value, repr(value)[1:-1])}
        self._secrets = sorted(said | {json.dumps(form)[1:-1] for form in said}, key=len, reverse=True)

    def write(self, text: str, /) -> int:
        """Write it without secrets; the number of characters that were given."""
        shown = text
        for secret in self._secrets:
            shown = shown.replace(secret, HIDDEN)
        self._stream.write(shown)
        return len(text)

    def flush(self) -> None:
        """Flush the stream behind."""
        self._stream.flush()

    def fileno(self) -> int:
        """Of the stream behind: what is written there directly is not guarded."""
        return self._stream.fileno()

    def isatty(self) -> bool:
        """Whether the stream behind is a terminal."""
        return self._stream.isatty()

    def writable(self) -> bool:
        """It is."""
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of the stream behind."""
        return self._stream.encoding

    @property
    def errors(self) -> str | None:  # type: ignore[override]
        """Of the stream behind."""
        return self._stream.errors
