"""The command line: one file per group of commands."""

import importlib
import itertools
import sys
from collections.abc import Sequence

import typer
from typer.exceptions import TyperException

from agent.cli.output import FAILED, fail
from agent.settings import SettingsError

app = typer.Typer(
    name="agent",
    help="One LiveKit worker that serves many kinds of voice call from configuration.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


GROUPS = {
    "bundles": "Check, explain and list bundles.",
    "session": "Start, end and list sessions.",
    "preset": "Presets that users saved.",
    "transcripts": "The records of past sessions.",
    "db": "The database's schema.",
}
"""Commands with commands of their own, in the order of `agent --help`, behind the plain ones."""
COMMANDS = ("demo", "dev", "start", "doctor")


@app.callback()
def _agent() -> None:
    # with a callback Typer keeps the name of a command that is the only one
    pass


def build(only: str | None = None) -> typer.Typer:
    """
    The command line; imported late, so that `agent --help` stays quick.

    Args:
        only: A command that is wanted and no other: a worker has no use for what the others load, and every
            command is there sooner. Another word than a command's name, or None: all.
    """
    every = (*COMMANDS, *GROUPS)
    for name in [only] if only in every else every:
        module = importlib.import_module(f"agent.cli.{name}")
        if name in GROUPS:
            app.add_typer(module.app, name=name, help=GROUPS[name])
        else:
            app.command(name)(getattr(module, name))
    return app


def run() -> None:
    """
    Run one command and end the process; a problem of the user's is one line on stderr, never a traceback.

    Exit status: that of the command; 2 for a wrong use of it, such as an unknown option; 130 after Ctrl-C.
    """
    try:
        try:
            status: object = typer.main.get_command(build(next(iter(sys.argv[1:]), None)))(
                prog_name="agent", standalone_mode=False
            )
        except SettingsError as exc:
            fail(str(exc), code="settings", as_json=_json_among(sys.argv))
        except TyperException as exc:
            _say_wrong_use(exc)
            status = exc.exit_code
        except typer.Abort:
            fail("aborted", code="aborted", exit=FAILED, as_json=_json_among(sys.argv))
    except typer.Exit as ended:
        status = ended.exit_code
    sys.exit(status if isinstance(status, int) else 0)


def _say_wrong_use(problem: TyperException) -> None:
    """One line for a command line that cannot be meant; nothing where the help was printed instead of it."""
    message = " ".join(problem.format_message().split()).removesuffix(".")
    if not message:  # a group without a command
        return
    context = getattr(problem, "ctx", None)
    command = context.command_path if context is not None else "agent"
    fail(
        f"{message}; see `{command} --help`",
        code="usage",
        exit=problem.exit_code,
        as_json=_json_among(sys.argv),
    )


def _json_among(arguments: Sequence[str]) -> bool:
    """Whether JSON was asked for, as far as that can be seen where the arguments were not understood."""
    return "--json" in itertools.takewhile(lambda word: word != "--", arguments)
