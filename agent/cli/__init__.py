"""The command line: one file per group of commands."""

import importlib
import itertools
import sys
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperGroup
from typer.exceptions import TyperException

from agent.cli.output import FAILED, fail
from agent.cli.streams import end_when_unwritable, prepare

COMMANDS = {
    "demo": "Show the main job on this machine, with no keys: LiveKit, Valkey, SQLite, a worker, callers "
    "that speak.",
    "dev": "Run the services, a worker and a local page to talk with an agent by microphone, until Ctrl-C.",
    "start": "Run the worker against LIVEKIT_URL until SIGTERM or Ctrl-C, then drain.",
    "doctor": "Check each part that a worker needs, one line each: what is wrong, and what to do.",
}
"""What `agent --help` says of each command, in its order; here so that it is said without importing them."""
GROUPS = {
    "bundles": "Check, explain and list bundles.",
    "session": "Start, end and list sessions.",
    "preset": "Presets that users saved.",
    "transcripts": "The records of past sessions.",
    "db": "The database's schema.",
}
"""Commands with commands of their own, behind the plain ones."""


class Program(TyperGroup):
    """
    Imports a command when it is asked for, by its name or by Tab, and no other.

    So `agent --help` and Tab are there at once, and a worker has nothing in memory that others load.
    """

    def invoke(self, ctx: Any) -> Any:
        from agent.settings import SettingsError

        try:
            return super().invoke(ctx)
        except SettingsError as exc:
            fail(str(exc), code="settings", as_json=_json_among(sys.argv))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if args and args[0] in self.commands:
            self.load(args[0])
        return super().resolve_command(ctx, args)

    def load(self, name: str) -> None:
        """Put the command itself in the place of its line in the help."""
        module = importlib.import_module(f"agent.cli.{name}")
        whole = _empty()
        if name in GROUPS:
            whole.add_typer(module.app, name=name, help=GROUPS[name])
        else:
            whole.command(name)(getattr(module, name))
        self.commands[name] = typer.main.get_group(whole).commands[name]


def build() -> typer.Typer:
    """The command line, each command no more than its line in the help until it is asked for."""
    app = _empty(
        cls=Program,
        help="One LiveKit worker that serves many kinds of voice call from configuration.",
        no_args_is_help=True,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for name, text in (COMMANDS | GROUPS).items():
        app.command(name, help=text)(_nothing)
    return app


def _empty(**settings: Any) -> typer.Typer:
    app = typer.Typer(name="agent", pretty_exceptions_enable=False, rich_markup_mode="rich", **settings)
    app.callback()(_nothing)  # with a callback Typer keeps the name of a command that is the only one
    return app


def _nothing() -> None:
    pass


def run() -> None:
    """
    Run one command and end the process; a problem of the user's is one line on stderr, never a traceback.

    Exit status: that of the command; 2 for a wrong use of it, such as an unknown option; 130 after Ctrl-C.
    """
    as_json = _json_among(sys.argv)
    try:
        prepare(sys.argv[1:], as_json=as_json)
        try:
            status: object = typer.main.get_command(build())(prog_name="agent", standalone_mode=False)
            sys.stdout.flush()  # here, where it may fail
        except TyperException as exc:
            _say_wrong_use(exc)
            status = exc.exit_code
        except typer.Abort:
            fail("aborted", code="aborted", exit=FAILED, as_json=as_json)
        except OSError as exc:
            end_when_unwritable(exc, as_json=as_json)
            raise
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
