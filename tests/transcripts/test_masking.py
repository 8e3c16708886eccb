"""What is taken out of entries before they are written, and what never is."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.metrics import FIGURE
from agent.silence import SILENCE, silence_of
from agent.transcripts.entries import WORDS
from agent.transcripts.masking import mask
from agent.transcripts.redaction import redactor

AGENT = Path(__file__).parent.parent.parent / "agent"
DIGITS = redactor([{"name": "number", "pattern": r"\d{4,}"}, "credit_card"])


def _entries_written() -> Iterator[str]:
    """The types of entries that the code writes, as far as it names them where it writes them."""
    for path in AGENT.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
                continue
            to_journal = node.keywords or ast.unparse(node.func.value).endswith("journal")
            first = node.args[0]
            if (
                node.func.attr == "append"
                and to_journal
                and isinstance(first, ast.Constant)
                and isinstance(first.value, str)
            ):
                yield first.value


def test_for_every_type_it_is_said_where_its_words_are() -> None:
    """A type that is not listed would be redacted as a whole, times and digests included."""
    written = {*_entries_written(), FIGURE, SILENCE}
    assert {"start", "user", "tool_call", "revision", "verdicts", "end"} <= written
    assert written - WORDS.keys() == set()


def test_a_bundles_own_pattern_leaves_what_a_later_process_needs() -> None:
    """A pattern that takes out all longer numbers takes them out of words, not out of times."""
    noted = {"type": "silence", "attempt": 1, "n": 2, "idle_seconds": 1.5, "grows": True}
    noted |= {"redis_ms": 1_700_000_000_000}
    masked = mask(noted, DIGITS)

    assert masked == noted
    assert silence_of([masked], 1_700_000_002_000) == pytest.approx(3.5)


def test_a_digest_is_no_card_number() -> None:
    """The digest of a changed config stays whole, whatever its digits look like."""
    changed = {"type": "revision", "digest": "sha256:4111111111111111aaa", "changed": ["voice.pace"]}
    assert mask(changed, DIGITS) == changed


def test_a_type_that_is_unknown_is_redacted_as_a_whole() -> None:
    """Whatever another release writes: nothing unredacted is stored."""
    masked = mask({"type": "whisper", "n": 1, "said": "4111 1111 1111 1111", "identity": "u1"}, DIGITS)
    assert masked == {"type": "whisper", "n": 1, "said": "[credit_card]", "identity": "u1"}


def test_silence_that_another_release_redacted_costs_nothing_but_itself() -> None:
    """A session that was written so goes on; its silence is the last one that can be read."""
    good = {"type": "silence", "attempt": 1, "n": 2, "idle_seconds": 2.0, "grows": False, "redis_ms": 1_000}
    spoilt = {**good, "n": 3, "redis_ms": "[number]"}
    assert silence_of([good, spoilt], 9_000) == pytest.approx(2.0)
