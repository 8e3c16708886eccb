"""Text of others as a terminal may show it."""

_CONTROLS = dict.fromkeys([*range(9), *range(11, 32), *range(127, 160)], "\ufffd")
"""Control characters but for the tab and the end of a line."""


def plain(text: str) -> str:
    """Text of others for a terminal: what would command it (escape sequences, bells) shows as a sign."""
    return text.translate(_CONTROLS)


def one_line(text: str) -> str:
    """`plain` for a text that stands among others in a line: its own ends of lines are spaces."""
    return plain(" ".join(text.splitlines()))
