"""The command line: one file per group of commands."""

import sys

import typer

from agent.cli.output import fail
from agent.settings import SettingsError

app = typer.Typer(
    name="agent",
    help="One LiveKit worker that serves many kinds of voice call from configuration.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def build() -> typer.Typer:
    """The command line with all its groups; imported late, so that `agent --help` stays quick."""
    from agent.cli import bundles, db, demo, dev, doctor, preset, session, start, transcripts

    app.command("demo")(demo.demo)
    app.command("dev")(dev.dev)
    app.command("start")(start.start)
    app.command("doctor")(doctor.doctor)
    app.add_typer(bundles.app, name="bundles", help="Check, explain and list bundles.")
    app.add_typer(session.app, name="session", help="Start, end and list sessions.")
    app.add_typer(preset.app, name="preset", help="Presets that users saved.")
    app.add_typer(transcripts.app, name="transcripts", help="The records of past sessions.")
    app.add_typer(db.app, name="db", help="The database's schema.")
    return app


def run() -> None:
    """Run one command; a problem of the user's is one line on stderr, never a traceback."""
    try:
        build()()
    except SettingsError as exc:
        try:
            fail(str(exc), code="settings", as_json="--json" in sys.argv)
        except typer.Exit as ended:
            sys.exit(ended.exit_code)
