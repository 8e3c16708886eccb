"""`python -m agent` and the console script `agent`."""

import signal


def main() -> None:
    """Run the command line; Ctrl-C ends it without a word, unless a command asks to be told of it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from agent.cli import run

    run()


if __name__ == "__main__":
    main()
