"""Why LiveKit or Redis cannot be reached, in words that name the cause, without address and password."""

import socket
import ssl
from collections.abc import Iterator

import aiohttp
from redis.exceptions import AuthenticationError, NoPermissionError, ReadOnlyError, ResponseError


def reason(exc: BaseException) -> str:
    """
    Why no connection came about; the name of the exception where that is all there is.

    The driver's own exceptions say little: the one of the system is among their causes.
    """
    for each in _causes(exc):
        if (words := _said(each)) is not None:
            return words
    return type(exc).__name__


def of_redis(exc: BaseException) -> str:
    """One line about a command that Redis did not carry out: it does not answer, or it refuses."""
    if any(isinstance(each, ReadOnlyError) for each in _causes(exc)):
        return "Redis takes no writes: it is a replica, as in a failover; try again, or check REDIS_URL"
    does = "refuses" if isinstance(exc, ResponseError) else "does not answer"
    return f"Redis {does} ({reason(exc)}); check REDIS_URL"


def _said(exc: BaseException) -> str | None:
    match exc:
        case aiohttp.ClientConnectorDNSError() | socket.gaierror():
            return "no host has this name"
        case aiohttp.ClientConnectorCertificateError() | ssl.SSLCertVerificationError():
            return "its certificate is not accepted"
        case aiohttp.ClientConnectorSSLError() | ssl.SSLError():
            return "it answers, but not with TLS; does it want the address without the s (ws://, redis://)?"
        case ConnectionRefusedError():
            return "nobody listens on this port"
        case FileNotFoundError():
            return "there is no such socket"
        case PermissionError():
            return "this user may not use the socket"
        case NoPermissionError():
            return "the user may not do what is needed"
        case AuthenticationError():
            return "the user or the password is not accepted"
        case ResponseError() if "DB index" in str(exc):
            return "it has no database of this number"
        case _:
            return None


def _causes(exc: BaseException | None) -> Iterator[BaseException]:
    while exc is not None:
        yield exc
        exc = exc.__cause__ or exc.__context__
