"""How problems are shown."""

import pytest

from config_store.errors import BundleNotFoundError, Problem, report
from config_store.span import Span


@pytest.mark.parametrize(
    "line",
    [
        "  llm: {provider: openai, api_key: abc123}",
        "  llm: {provider: openai, api_key_env: abc-123}",
        "  options: {token: 'abc'}",
        "  password: hunter2",
        "  client_secret: x",
        "  model: sk-proj-4711abcdef",
        "  'apikey': \"x\"",
    ],
)
def test_a_line_that_may_hold_a_key_is_not_shown(line: str) -> None:
    """A report goes to logs: a line in which somebody may have put a key is left out of it."""
    problem = Problem("unknown key", Span("x.yaml", 3, 3), line)

    assert problem.render() == "x.yaml:3:3: unknown key"


@pytest.mark.parametrize(
    "line",
    [
        "  llm: {provider: openai, api_key_env: ACME_KEY}",
        "  options: {token: '${TOKEN}'}",
        "  instructions: Ask for the keyword, and never for a password.",
        "  panels: [secretary]",
    ],
)
def test_an_ordinary_line_is_shown(line: str) -> None:
    """A line that only names a variable, or only talks about keys, is shown with its caret."""
    assert line in Problem("m", Span("x.yaml", 3, 3, 2), line).render()


@pytest.mark.parametrize(
    ("line", "column", "length", "carets"),
    [
        ("a: b", 4, 1, "   ^"),
        ("\ta: bb", 5, 2, "\t   ^^"),
        ("日本: x", 5, 1, "      ^"),
        ("a: 日本", 4, 2, "   ^^^^"),
        ("a:", 3, 1, "  ^"),
        ("a: é", 4, 9, "   ^"),
    ],
)
def test_the_caret_stands_below(line: str, column: int, length: int, carets: str) -> None:
    """The caret is below the place as a terminal shows it, with tabs and wide characters."""
    shown = Problem("m", Span("x.yaml", 7, column, length), line).render().splitlines()

    assert shown[1:] == [f"  7 | {line}", f"    | {carets}"]


def test_a_long_line_is_cut_around_the_place() -> None:
    """Of a long line the part around the place is shown, with the caret below it."""
    line = "x" * 300 + "HERE" + "y" * 300

    source, caret = Problem("m", Span("x.yaml", 1, 301, 4), line).render().splitlines()[1:]

    assert len(source) < 120
    assert source.index("HERE") == caret.index("^^^^")


def test_a_report_counts_and_keeps_warnings_last() -> None:
    """The headline counts what is wrong; warnings come after and do not count."""
    problems = [
        Problem("w", is_warning=True),
        Problem("p", Span("x.yaml", 1, 1)),
    ]

    assert report("b", problems) == "bundle 'b' is not valid: 1 problem\nx.yaml:1:1: p\nwarning: w"
    assert str(BundleNotFoundError("x", [])) == "no bundle 'x'; the folder holds no bundle"
