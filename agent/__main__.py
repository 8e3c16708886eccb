"""`python -m agent` and the console script `agent`."""

import os
import signal
import sys


def main() -> None:
    """Run the command line; Ctrl-C ends it without a word, unless a command asks to be told of it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if sys.argv[1:2] == ["start"]:
        signal.signal(signal.SIGTERM, _end)
    from agent.cli import run

    run()


def _end(*_: object) -> None:
    """
    A worker that is told to stop before it takes jobs ends at once: there is nothing to drain yet.

    The first process of a container needs a handler for that, as the kernel drops a signal that it has none
    for. Not by SystemExit, which Python swallows in some places while modules are loaded. `Worker.run` puts
    its own handler in the place of this one.
    """
    os._exit(0)


if __name__ == "__main__":
    main()
