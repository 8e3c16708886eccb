"""`agent start`: the worker alone, against LIVEKIT_URL."""

import asyncio
import sys

import typer

from agent import memory
from agent import settings as process_settings
from agent.cli.interrupts import interruptible
from agent.cli.output import FAILED, WRONG_USE, fail


def start() -> None:
    """
    Run the worker against LIVEKIT_URL until SIGTERM or Ctrl-C, then drain.

    Without REDIS_URL and DATABASE_URL an embedded Valkey and SQLite under AGENT_DATA are used.

    Exit status: 0 after a drain, and after SIGTERM before it takes calls; 1 when LiveKit is lost or something
    failed; 2 when a setting is wrong, a module of AGENT_MODULES cannot be imported, or no bundle is usable.

    Example: LIVEKIT_URL=ws://localhost:7880 LIVEKIT_API_KEY=devkey LIVEKIT_API_SECRET=secret agent start
    """
    memory.keep_small()
    process_settings.pass_on(OPENBLAS_NUM_THREADS="1")  # it starts threads when it is imported
    try:
        from agent import fork_server
        from agent.importing import Trial
        from agent.serving import StartError, serve
    except ImportError as exc:  # a name that another version of the library has elsewhere or not at all
        if not (exc.name or "").startswith("livekit."):
            raise
        fail(
            f"the installed livekit-agents lacks {exc.name}; install the version this runtime pins",
            code="livekit_agents_version",
            exit=FAILED,
        )

    settings = process_settings.load()
    settings.require_livekit()
    # begun before there are threads, so that it can be forked and goes on beside the rest of the start
    trial = Trial(settings.modules, "fork") if settings.modules else None
    fork_server.fork_early()
    try:
        with interruptible():
            status = asyncio.run(serve(settings, trial))
    except StartError as exc:
        if exc.report:
            sys.stderr.write(exc.report.rstrip() + "\n")
        fail(str(exc), code=exc.code, exit=WRONG_USE if exc.is_wrong_use else FAILED)
    finally:
        if trial is not None:
            trial.close()
    raise typer.Exit(status)
