"""The flag that writes the expected reports anew: `pytest tests/errors --update-golden`."""

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Known when this folder is named on the command line; elsewhere the flag is simply off."""
    parser.addoption("--update-golden", action="store_true", help="write the expected reports anew")
