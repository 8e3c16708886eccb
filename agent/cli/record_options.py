"""The options that several commands about records share, and which records they choose together."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any

import typer

from agent.cli.output import want_json
from agent.cli.records import owner_of
from agent.transcripts.filters import Filters, Owner

Json = Annotated[bool, typer.Option("--json", callback=want_json, is_eager=True, help="Answer in JSON.")]
Organization = Annotated[str | None, typer.Option(help="Only of this organization; '' for those of none.")]
User = Annotated[str | None, typer.Option(help="Only of this user.")]
SessionId = Annotated[str, typer.Argument(metavar="ID", help="The session's id.")]


@dataclass(frozen=True)
class Chosen:
    """The records that a command is about."""

    owner: Owner
    filters: Filters


def choosing(command: Callable[..., None]) -> Callable[..., None]:
    """
    Give a command the options that choose records, in the place of its parameter `chosen`.

    Typer reads the signature, and knows no other way for several commands to have the same options.
    """
    signature = inspect.signature(command)
    options = inspect.signature(_chosen).parameters

    @functools.wraps(command)
    def run(**given: Any) -> None:
        chosen = _chosen(**{name: given.pop(name) for name in options})
        command(chosen=chosen, **given)

    listed: list[inspect.Parameter] = []
    for name, parameter in signature.parameters.items():
        listed += options.values() if name == "chosen" else [parameter]
    run.__signature__ = signature.replace(parameters=listed)  # type: ignore[attr-defined]
    return run


def _chosen(
    user: User = None,
    organization: Organization = None,
    bundle: Annotated[str | None, typer.Option(help="Only of this bundle.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only with this end reason.")] = None,
    agent: Annotated[str | None, typer.Option(help="Only where this agent took part.")] = None,
    since: Annotated[
        str | None, typer.Option("--from", help="Started at this time (ISO 8601, UTC) or later.")
    ] = None,
    until: Annotated[str | None, typer.Option("--to", help="Started before this time.")] = None,
    silent: Annotated[
        bool | None,
        typer.Option(
            "--silent/--no-silent",
            help="With sessions in which the user said nothing, or without; by default --user hides them, "
            "and an export has them.",
        ),
    ] = None,
) -> Chosen:
    return Chosen(owner_of(organization, user), Filters(bundle, reason, agent, since, until, silent))
