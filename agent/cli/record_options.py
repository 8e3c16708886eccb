"""The options that several commands about records share."""

from typing import Annotated

import typer

from agent.cli.output import want_json

Json = Annotated[bool, typer.Option("--json", callback=want_json, is_eager=True, help="Answer in JSON.")]
Organization = Annotated[str | None, typer.Option(help="Only of this organization; '' for those of none.")]
User = Annotated[str | None, typer.Option(help="Only of this user.")]
SessionId = Annotated[str, typer.Argument(metavar="ID", help="The session's id.")]
Bundle = Annotated[str | None, typer.Option(help="Only of this bundle.")]
Reason = Annotated[str | None, typer.Option(help="Only with this end reason.")]
AgentName = Annotated[str | None, typer.Option("--agent", help="Only where this agent took part.")]
Since = Annotated[str | None, typer.Option("--from", help="Started at this time (ISO 8601, UTC) or later.")]
Until = Annotated[str | None, typer.Option("--to", help="Started before this time.")]
Silent = Annotated[
    bool | None,
    typer.Option("--silent/--no-silent", help="With sessions in which the user said nothing, or without."),
]
