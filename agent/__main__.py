"""`python -m agent` and the console script `agent`."""


def main() -> None:
    """Run the command line."""
    try:
        from agent.cli import run

        run()
    except KeyboardInterrupt:
        raise SystemExit(130) from None  # Ctrl-C while still starting is no mistake


if __name__ == "__main__":
    main()
