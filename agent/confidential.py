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


def guard_stderr(settings: Settings, named: Collection[str] = ()) -> None:
    """
    From now on nothing that this process or a fork of it writes to stderr holds a secret.

    Again: what is a secret meanwhile is one, too; what was one stays one, for the calls that still use it.

    Args:
        settings: This process's.
        named: Variables that hold a secret whatever their name is.
    """
    secrets = secrets_of(settings, environment(), named)
    if isinstance(sys.stderr, GuardedStream):
        sys.stderr.hide(secrets)
    else:
        sys.stderr = GuardedStream(sys.stderr, secrets)


def without_secrets(text: str) -> str:
    """The text without any secret that this process's stderr is guarded against."""
    return sys.stderr.shown(text) if isinstance(sys.stderr, GuardedStream) else text


def hidden(text: str, settings: Settings) -> str:
    """The text without any secret of this process."""
    return GuardedStream(io.StringIO(), secrets_of(settings, environment())).shown(text)


class GuardedStream(io.TextIOBase):
    """A text stream that takes secrets out of each piece that is written to it."""

    def __init__(self, stream: TextIO, secrets: Collection[str]) -> None:
        self._stream = stream
        self._secrets: list[str] = []
        self.hide(secrets)

    def hide(self, secrets: Collection[str]) -> None:
        """From now on take out these, too."""
        # In `repr`, in JSON and in JSON that holds a `repr` a value may look otherwise than it is.
        said = {form for value in secrets for form in (value, repr(value)[1:-1])}
        said |= {json.dumps(form)[1:-1] for form in said}
        self._secrets = sorted(said.union(self._secrets), key=len, reverse=True)

    def shown(self, text: str) -> str:
        """The text without secrets."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text

    def write(self, text: str, /) -> int:
        """Write it without secrets; the number of characters that were given."""
        self._stream.write(self.shown(text))
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
