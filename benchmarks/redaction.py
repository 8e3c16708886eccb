"""
How much of people's data redaction finds, and how much else it takes out, over a labelled test set.

    python -m benchmarks.redaction [--verbose]

Each line of `redaction.txt` is a sentence in which what must be taken out stands in `{name|…}`; sentences
without any are there to be left alone. They were written by hand beside the code, so the figures say what it
can do rather than how often calls hold something it cannot; add what goes wrong in the field.
"""

import argparse
import re
import sys
import time
from collections import Counter
from pathlib import Path

from agent.transcripts.redaction import redactor

LABEL = re.compile(r"\{(\w+)\|([^}]*)\}")
NAMES = ("email", "phone_number", "credit_card", "iban")
LEAST = {
    "email": (0.95, 0.95),
    "phone_number": (0.85, 0.85),
    "credit_card": (0.95, 0.95),
    "iban": (0.95, 0.95),
}


def sentences() -> list[tuple[str, str]]:
    """The test set: (the sentence, the sentence as it should be stored)."""
    lines = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if line and not line.startswith("#")]
    return [(LABEL.sub(r"\2", line), LABEL.sub(r"[\1]", line)) for line in kept]


def main() -> int:
    """Exit status 0 if precision and recall of every kind are at least what is expected."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--verbose", action="store_true", help="show the sentences that went wrong")
    asked = parser.parse_args()
    redact = redactor(NAMES)
    right: Counter[str] = Counter()
    expected: Counter[str] = Counter()
    found: Counter[str] = Counter()
    longest = 0.0
    tests = sentences()
    for sentence, stored in tests:
        begun = time.perf_counter()
        answer = redact(sentence)
        longest = max(longest, time.perf_counter() - begun)
        wanted, given = (Counter(re.findall(r"\[(\w+)\]", text)) for text in (stored, answer))
        expected += wanted
        found += given
        # A finding counts when the sentence comes out right as a whole: half a card number is not found.
        right += wanted & given if answer == stored else Counter()
        if answer != stored and asked.verbose:
            print(f"  {sentence}\n    expected {stored}\n    got      {answer}")
    print(f"{len(tests)} sentences, {expected.total()} findings expected; slowest {longest * 1000:.2f} ms")
    good = True
    for name in NAMES:
        precision = right[name] / found[name] if found[name] else 1.0
        recall = right[name] / expected[name] if expected[name] else 1.0
        least_precision, least_recall = LEAST[name]
        good &= precision >= least_precision and recall >= least_recall
        print(
            f"  {name:<14} precision {precision:.2f} (limit {least_precision:.2f})   "
            f"recall {recall:.2f} (limit {least_recall:.2f})   of {expected[name]}"
        )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
