"""`python -m agent` and the console script `agent`."""


def main() -> None:
    """Run the command line."""
    from agent.cli import run

    run()


if __name__ == "__main__":
    main()
