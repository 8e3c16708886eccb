"""`agent dev`: the services, a worker and a page, staying up."""

import asyncio
from typing import Annotated

import typer

from agent.cli.interrupts import interruptible
from agent.cli.output import FAILED, fail

INTERRUPTED = 130
"""Exit status after Ctrl-C while it starts, as shells have it; later Ctrl-C is the way to stop, with 0."""


def dev(
    port: Annotated[
        int | None, typer.Option(help="Port of the page; without it 8000 or, when taken, a free one.")
    ] = None,
) -> None:
    """
    Run the services, a worker and a local page to talk with an agent by microphone, until Ctrl-C.

    Edits of bundles count for the next call; edits of Python start the worker again. LIVEKIT_URL, REDIS_URL
    and DATABASE_URL are used when they are set, else servers of its own on this machine.

    Example: agent dev --port 8000
    """
    from agent import settings as process_settings
    from agent.dev.running import Development, PortTakenError
    from agent.services.livekit_binary import ServerUnavailableError
    from agent.services.livekit_server import LiveKitServerError
    from agent.services.valkey import ValkeyError

    settings = process_settings.load()
    try:
        with interruptible(), Development(settings, port) as development:
            asyncio.run(development.run())
    except PortTakenError as exc:
        fail(str(exc), code="port_taken")
    except KeyboardInterrupt:  # before everything was up
        raise typer.Exit(INTERRUPTED) from None
    except OSError as exc:
        if exc.filename is None:  # of the output
            raise
        fail(f"{exc.filename}: {exc.strerror}; set AGENT_DATA to a writable folder", code="data", exit=FAILED)
    except (ServerUnavailableError, LiveKitServerError, ValkeyError) as exc:
        fail(str(exc), code="services", exit=FAILED)
