"""Reading YAML: what scalars mean, where things stand, and that no text does harm."""

import time
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from config_store.errors import Problem
from config_store.scalars import ScalarError, resolve
from config_store.span import Node
from config_store.yaml_source import MAX_NODES, read_yaml
from config_store.yaml_text import MAX_BYTES, decode


def read(text: str | bytes, environ: dict[str, str] | None = None) -> tuple[Node | None, tuple[Problem, ...]]:
    """The tree of a text and its problems."""
    source = decode(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"), "x.yaml")
    if isinstance(source, Problem):
        return None, (source,)
    root, problems, _ = read_yaml(source, environ or {})
    return root, problems


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"), ("on", "on"), ("yes", "yes"), ("Off", "Off"), ("y", "y"),
        ("true", True), ("False", False), ("TRUE", True), ("null", None), ("~", None), ("", None),
        ("012", 12), ("0o17", 15), ("0x1F", 31), ("+7", 7), ("-3", -3),
        ("1.10", 1.1), ("1e3", 1000.0), (".5", 0.5), ("5.", 5.0), ("-1.5E-3", -0.0015),
        ("12:30", "12:30"), ("2026-01-01", "2026-01-01"), ("1_000", "1_000"), ("0b1", "0b1"), ("<<", "<<"),
        ("=", "="), ("1.2.3", "1.2.3"), ("+", "+"), ("-", "-"), (".", "."), ("0x", "0x"), ("١٢", "١٢"),
    ],
)  # fmt: skip
def test_scalars_are_yaml_1_2(text: str, value: Any) -> None:
    """An unquoted scalar means what the core schema of YAML 1.2 says; times, dates and words are text."""
    assert (resolve(text), type(resolve(text))) == (value, type(value))


@pytest.mark.parametrize("text", [".nan", ".inf", "-.Inf", "1e999", "9" * 5000, str(2**53)])
def test_numbers_that_no_config_can_hold(text: str) -> None:
    """A number that JSON cannot carry is refused and not rounded."""
    with pytest.raises(ScalarError, match="in quotes it is text"):
        resolve(text)


def test_places() -> None:
    """Every value knows its line and column, in the text as an editor shows it."""
    root, problems = read("# first\r\nagents:\r\n  désk: {a: [1, 'zwei']}\r\n")

    assert not problems
    assert root is not None
    found = root.at(("agents", "désk", "a", 1))
    assert found is not None
    assert (str(found.span), found.span.length, found.value) == ("x.yaml:3:17", 6, "zwei")
    agent = root.at(("agents", "désk"))
    assert agent is not None
    assert str(agent.key) == "x.yaml:3:3"


def test_a_byte_order_mark_moves_nothing() -> None:
    """A byte order mark is not part of the first column."""
    root, _ = read(b"\xef\xbb\xbfname: x\n")

    assert root is not None
    assert root.child("name") is not None
    assert str(root.value["name"].key) == "x.yaml:1:1"  # type: ignore[index, call-overload]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: ${N}", 12),
        ('a: "${N}"', "12"),
        ("a: x${N}", "x12"),
        ("a: ${UNSET:-7}", 7),
        ("a: ${EMPTY:-7}", 7),
        ("a: ${EMPTY}", None),
        ("a: ${UNSET:-}", None),
        ("a: ${N:?why}", 12),
        ("a: $$N", "$N"),
        ("a: $${N}", "${N}"),
        ("a: $5", "$5"),
        ("a: ${T}", True),
        ("a: ${NESTED}", "${N}"),
        ("a: |\n  x ${N}\n", "x 12\n"),
    ],
)
def test_variables_of_the_environment(text: str, value: Any) -> None:
    """A value is put in place before it is typed, unless it stands in quotes; it is never searched again."""
    environ = {
        "N": "012" if "x" not in text and '"' not in text else "12",
        "EMPTY": "",
        "T": "true",
        "NESTED": "${N}",
    }

    root, problems = read(text, environ)

    assert not problems
    assert root is not None
    assert root.plain() == {"a": value}


def test_a_value_of_the_environment_is_marked() -> None:
    """A scalar in which the environment has a part keeps what was written, to be shown in its place."""
    root, _ = read("a: [x, '${N} y']\nb: $$5\n", {"N": "12"})

    assert root is not None
    assert [(path, node.source) for path, node in root.sourced()] == [(("a", 1), "${N} y")]


@pytest.mark.parametrize("char", ["\u0085", "\u2028", "\u2029"], ids=["U+0085", "U+2028", "U+2029"])
def test_separators_in_pasted_words_are_text(char: str) -> None:
    """NEL, line and paragraph separators break no line, as in YAML 1.2, and move no place."""
    root, problems = read(
        f'plain: a{char}b\nblock: |\n  one{char}two\n  three\nquoted: "x{char}y"\nk{char}: ${{V}} {char}z\n',
        {"V": "v"},
    )

    assert not problems
    assert root is not None
    assert isinstance(root.value, dict)
    assert root.plain() == {
        "plain": f"a{char}b",
        "block": f"one{char}two\nthree\n",
        "quoted": f"x{char}y",
        f"k{char}": f"v {char}z",
    }
    last = root.value[f"k{char}"]
    assert (last.span.line, last.span.column, last.source) == (6, 5, f"${{V}} {char}z")


def test_two_mistakes_are_both_reported() -> None:
    """One mistake of form does not hide the next."""
    _, problems = read("a: &x 1\nb: !t 2\na: *x\n")

    assert [problem.span.line for problem in problems if problem.span] == [1, 2, 3, 3]


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "{a: " * 50_000,
        "- " * 100_000,
        "? " * 50_000,
        "a: &a [*a, *a]\n",
        "&a " * 10_000,
        "a: '" + "x" * 400_000,
        "a:\n" * 100_000,
        "\n".join(f"k{n}: v" for n in range(60_000)),
        "a: " + "${X}" * 60_000,
        "[a, " * 30_000,
        "!<" + "x" * 300_000,
        "%TAG ! " * 1000,
    ],
    ids=range(13),
)  # fmt: skip
def test_no_text_exhausts_the_reader(text: str) -> None:
    """Deep, wide and long texts end in problems, quickly and without much memory."""
    began = time.process_time()

    _, problems = read(text)

    assert problems
    assert time.process_time() - began < 5


def test_limits() -> None:
    """Too many values and too large a file are each one problem."""
    _, many = read("a: [" + "1," * (MAX_NODES + 1) + "]")
    _, large = read(b"#" * (MAX_BYTES + 1))

    assert [problem.message for problem in many] == [f"more than {MAX_NODES} values in one file"]
    assert "a bundle may have 512 KiB" in large[0].message


YAML_LIKE = st.text(st.sampled_from(list("abc:-?{}[],&*!|>'\"%@`#~<=$ \n\t\r0.1é日\x00\x85\u2028\ud800")))


@settings(max_examples=400, deadline=None)
@given(YAML_LIKE | st.text() | st.binary())
@example("a: ${X:-${Y}}")
@example("? \n? \n")
@example("a: !\n")
@example("- &a\n- *a")
@example("\ufeff\ufeffa: b")
def test_any_text_is_a_tree_or_problems(text: str | bytes) -> None:
    """Any text in: a tree, or problems with places that can be shown; never an exception."""
    root, problems = read(text, {"X": "1"})

    for problem in problems:
        assert problem.render()
        assert problem.span is not None
        assert problem.span.line >= 1
        assert problem.span.column >= 1
    if root is not None:
        root.plain()
