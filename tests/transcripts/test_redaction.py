"""What redaction takes out, and what it leaves."""

import pytest

import benchmarks.redaction
from agent.transcripts.redaction import UnknownRedactionError, redactor

ALL = redactor(["email", "phone_number", "credit_card", "iban"])

TAKEN_OUT = {
    "mail ann.lee+x@mail.example.co.uk now": "mail [email] now",
    "it is john dot smith at gmail dot com": "it is [email]",
    "mail bob at acme dot com or al@x.com": "mail [email] or [email]",
    "my card is 4111 1111 1111 1111 okay": "my card is [credit_card] okay",
    "card 4111-1111-1111-1111.": "card [credit_card].",
    "amex 378282246310005": "amex [credit_card]",
    "four one one one one one one one one one one one one one one one": "[credit_card]",
    "four triple one double one double one double one double one double one one one two": "[credit_card] two",
    "it's forty one eleven eleven eleven eleven eleven eleven eleven thanks": "it's [credit_card] thanks",
    "call me at +49 170 1234567": "call me at [phone_number]",
    "my number is (415) 555-2671": "my number is [phone_number]",
    "you can reach me on 555 0123": "you can reach me on [phone_number]",
    "oh two oh seven nine four six oh one two three": "[phone_number]",
    "plus four four two oh seven nine four six oh one two three": "[phone_number]",
    "four one five, five five five, two six seven one": "[phone_number]",
    "four one five um five five five uh two six seven one": "[phone_number]",
    "my iban is DE89 3704 0044 0532 0130 00 thanks": "my iban is [iban] thanks",
    "GB82WEST12345698765432": "[iban]",
}


@pytest.mark.parametrize("text", TAKEN_OUT, ids=range(len(TAKEN_OUT)))
def test_people_s_data_is_taken_out(text: str) -> None:
    """Numbers and addresses are found as written and as spoken."""
    assert ALL(text) == TAKEN_OUT[text]


@pytest.mark.parametrize(
    "text",
    [
        "my order is 12345",
        "the year nineteen ninety nine, or two thousand and one",
        "one two three, testing",
        "it costs 1,250.50 euros",
        "at 10:30 on 2026-01-31",
        "meet me at noon dot",
        "I have one or two questions",
        "oh, one more thing",
        "version 1.8.9 at port 8081",
        "card 4111 1111 1111 1112",
        "DE00 3704 0044 0532 0130 00",
        "twenty twenty five",
    ],
)
def test_other_words_are_left(text: str) -> None:
    """Prices, dates, counting and numbers with a wrong checksum stay."""
    assert redactor(["email", "credit_card", "iban", "phone_number"])(text) == text


def test_only_what_is_asked_for() -> None:
    """A bundle that asks for e-mail only keeps its numbers."""
    text = "ann@example.com 4111 1111 1111 1111"
    assert redactor(["email"])(text) == "[email] 4111 1111 1111 1111"
    assert redactor([])(text) == text


def test_own_pattern() -> None:
    """A bundle's own pattern is replaced by its name."""
    assert redactor([{"name": "badge", "pattern": r"\bB-\d+"}])("badge B-123") == "badge [badge]"


def test_unknown_name_and_bad_pattern_are_refused() -> None:
    """What cannot be done is an error that names it, not silence."""
    with pytest.raises(UnknownRedactionError, match="'phone' is not known"):
        redactor(["phone"])
    with pytest.raises(UnknownRedactionError, match="'x' does not compile"):
        redactor([{"name": "x", "pattern": "("}])
    with pytest.raises(UnknownRedactionError, match="name"):
        redactor([{"pattern": "x"}])


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("your card is 4111 1111 11", "your card is […]"),
        ("your card is four one one", "your card is […]"),
        ("write to ann@exa", "write to […]"),
        ("the year 20", "the year 20"),
    ],
)
def test_begin_of_a_number_does_not_slip_through(text: str, kept: str) -> None:
    """Words that were cut off in the middle of a number or address do not keep its begin."""
    assert ALL.partial(text) == kept


def test_precision_and_recall_over_the_labelled_sentences(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The benchmark's figures are within its limits, and it prints both for each kind."""
    monkeypatch.setattr("sys.argv", ["benchmarks.redaction"])
    assert benchmarks.redaction.main() == 0
    printed = capsys.readouterr().out
    for name in benchmarks.redaction.NAMES:
        (line,) = [line for line in printed.splitlines() if line.strip().startswith(name)]
        assert "precision" in line
        assert "recall" in line


def test_redacting_twice_changes_nothing() -> None:
    """What was redacted stays as it is."""
    for text in TAKEN_OUT:
        assert ALL(ALL(text)) == ALL(text)
