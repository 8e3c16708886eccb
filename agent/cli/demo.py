"""`agent demo`: everything on this machine, shown as it happens."""

from typing import Annotated

import typer

from agent.cli.interrupts import interruptible

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""


def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the services running until Ctrl-C.")] = False,
    plain: Annotated[bool, typer.Option("--plain", help="No colour.")] = False,
) -> None:
    """
    Show the main job on this machine, with no keys: LiveKit, Valkey, SQLite, a worker, callers that speak.

    Exit status: 0 only if everything shown really happened, 1 otherwise, with the step and the log to read.

    Example: agent demo --keep
    """
    from agent.demo.show import run

    try:
        with interruptible():
            status = run(keep=keep, plain=plain)
    except KeyboardInterrupt:
        typer.echo("stopped", err=True)
        raise typer.Exit(INTERRUPTED) from None
    raise typer.Exit(status)
