"""The URL of a Redis or Valkey, checked before anything connects. No message shows what is secret in it."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

FORMS = (
    "redis://[user:password@]host[:port][/db], rediss://… with TLS, unix:///path, "
    "redis+sentinel://[user:password@]host:port[,host:port…]/service[/db]"
)
SENTINEL_PORT = 26379

_TLS = ("ssl_ca_certs", "ssl_cert_reqs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
_LOGIN = ("sentinel_username", "sentinel_password")
_OPTIONS = {
    "redis": ("db", "protocol"),
    "rediss": ("db", "protocol", *_TLS),
    "unix": ("db", "protocol", "username", "password"),
    "redis+sentinel": _LOGIN,
    "rediss+sentinel": (*_LOGIN, *_TLS),
}


class RedisUrlError(ValueError):
    """Not the URL of a Redis; one line with what is wrong and what it takes, and nothing secret."""


@dataclass(frozen=True)
class SentinelUrl:
    """
    A master that Sentinels watch.

    User and password are the data servers'; the Sentinels' own are `sentinel_username` and
    `sentinel_password` (None: they ask for none). `tls` are options of TLS for both; None: no TLS.
    """

    sentinels: tuple[tuple[str, int], ...]
    service: str
    db: int
    username: str | None
    password: str | None = field(repr=False)
    sentinel_username: str | None
    sentinel_password: str | None = field(repr=False)
    tls: dict[str, str] | None


def parse_redis_url(url: str) -> str | SentinelUrl:
    """
    The URL itself when redis-py takes it as it is, or what it says about Sentinels.

    Options of time and of trying again are refused: how long a store may take is decided here.

    Raises:
        RedisUrlError: Not a URL of one of the forms.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _wrong("an address in brackets does not end") from None
    known = _OPTIONS.get(parts.scheme)
    if known is None:
        raise _wrong("the scheme is not known")
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    for name in options:
        if name not in known:
            more = f", only {', '.join(known)}"
            raise RedisUrlError(f"the option '{name}' is not taken with {parts.scheme}://{more}")
    if parts.scheme.endswith("+sentinel"):
        return _sentinel(parts, options)
    if parts.scheme == "unix":
        if parts.netloc.rpartition("@")[2] or not parts.path:
            raise _wrong("unix:// needs an absolute path, as in unix:///run/valkey.sock")
        _number(options.get("db", ""))
        return url
    _host_and_port(parts.netloc.rpartition("@")[2], 6379)
    _number(parts.path.strip("/") or options.get("db", ""))
    return url


def _sentinel(parts: SplitResult, options: dict[str, str]) -> SentinelUrl:
    login, _, hosts = parts.netloc.rpartition("@")
    user, _, password = login.partition(":")
    service, _, db = parts.path.strip("/").partition("/")
    if not service:
        raise _wrong("the name of the service is missing after the Sentinels")
    is_tls = parts.scheme == "rediss+sentinel"
    return SentinelUrl(
        sentinels=tuple(_host_and_port(one, SENTINEL_PORT) for one in hosts.split(",")),
        service=unquote(service),
        db=_number(db),
        username=unquote(user) or None,
        password=unquote(password) or None,
        sentinel_username=options.get("sentinel_username"),
        sentinel_password=options.get("sentinel_password"),
        tls={name: options[name] for name in _TLS if name in options} if is_tls else None,
    )


def _host_and_port(text: str, default: int) -> tuple[str, int]:
    try:
        found = urlsplit(f"//{text}")
        host, port = found.hostname, found.port
    except ValueError:
        raise _wrong("a port must be a number from 1 to 65535") from None
    if not host or found.path or port == 0:
        raise _wrong("a host is missing")
    return unquote(host), port or default


def _number(text: str) -> int:
    if text and not (text.isascii() and text.isdecimal()):
        raise _wrong("the database must be a number")
    return int(text or 0)


def _wrong(cause: str) -> RedisUrlError:
    return RedisUrlError(f"{cause}; it takes {FORMS}")
