"""`agent doctor`: is everything there that a worker needs, and if not, what to do."""

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from agent import settings as process_settings
from agent.cli.output import FAILED, print_json, want_json


def doctor(
    as_json: Annotated[bool, typer.Option("--json", callback=want_json, help="Answer as JSON.")] = False,
) -> None:
    """
    Check each part that a worker needs, one line each: what is wrong, and what to do.

    Exit status 1 when something is wrong.

    Example: agent doctor --json
    """
    from agent.examination import examine

    findings = asyncio.run(examine(*process_settings.load_usable()))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        console = Console(highlight=False, soft_wrap=True)
        for finding in findings:
            mark = "[green]ok  [/]" if finding.ok else "[red]bad [/]"
            cure = f"; {escape(finding.cure)}" if finding.cure else ""
            console.print(f"{mark} {finding.part:<12} {escape(finding.what)}{cure}")
    if not all(finding.ok for finding in findings):
        raise typer.Exit(FAILED)
