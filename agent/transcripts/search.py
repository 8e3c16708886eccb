"""Full-text search over what was said: FTS5 on SQLite, tsvector on PostgreSQL, the same answers on both."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from agent.transcripts.database import trouble
from agent.transcripts.filters import Everyone, Filters, Owner, WrongQuestionError
from agent.transcripts.matching import Term, newest_matches
from agent.transcripts.words import folded_words, owner_word_of, words_in

_TERM = re.compile(r'"([^"]*)"?|(\S+)')
_SNIPPET = 160
_SATURATION, _USUAL_WORDS = 1.2, 15


@dataclass(frozen=True)
class Hit:
    """One message in which all that was searched for was found."""

    session_id: str
    started_at: str
    user_id: str | None
    bundle: str | None
    title: str | None
    seq: int
    """Its place in the record."""
    role: str
    text: str
    marks: tuple[tuple[int, int], ...]
    """Begin and end of each found word in `text`."""
    score: float

    def snippet(self, before: str = "**", after: str = "**", width: int = _SNIPPET) -> str:
        """About `width` characters around the first found word, each found word between the two marks."""
        begin = max(0, self.marks[0][0] - width // 3) if self.marks else 0
        begin = self.text.rfind(" ", 0, begin) + 1 if begin else 0
        end = (
            len(self.text) if len(self.text) <= begin + width else self.text.rfind(" ", begin, begin + width)
        )
        end = end if end > begin else min(len(self.text), begin + width)
        shown, place = "…" if begin else "", begin
        for first, last in self.marks:
            if first >= begin and last <= end:
                shown += self.text[place:first] + before + self.text[first:last] + after
                place = last
        return shown + self.text[place:end] + ("…" if end < len(self.text) else "")


def terms_of(query: str) -> list[Term]:
    """What a query asks for: words, "words that stand together", and begins of words (`inter*`)."""
    terms = []
    for found in _TERM.finditer(query):
        said = found[1] if found[1] is not None else found[2]
        words = tuple(folded_words(said))
        if words:
            terms.append(Term(words, said.endswith("*")))
    return terms


def search(
    engine: Engine, owner: Owner, query: str, filters: Filters | None = None, *, limit: int = 20
) -> list[Hit]:
    """
    Messages in which everything that is asked for stands, best first; equally good ones newest first.

    Args:
        owner: Whose records are searched.
        query: Words of any script; see `terms_of`. Case and form of letters do not matter, accents do.
        filters: Narrowed to what; None: nothing.
        limit: Most hits, 1 to 200.

    Raises:
        WrongQuestionError: There is no word in the query, or a time in the filters is none; one line.
        DatabaseTroubleError: The database does not answer.
    """
    terms = terms_of(query)
    if not terms:
        raise WrongQuestionError("nothing to search for: write at least one word")
    organization = owner.organization
    whose = owner_word_of(
        None if isinstance(organization, Everyone) else organization,
        owner.user_id,
        any_organization=isinstance(organization, Everyone),
    )
    try:
        with engine.begin() as connection:
            matches = newest_matches(
                connection, terms, whose, lambda rows: (filters or Filters(silent=True)).apply(rows, owner)
            )
            found = [(_score(row.item["text"], terms), row) for row in matches]
    except SQLAlchemyError as exc:
        raise trouble(exc) from exc
    found.sort(key=lambda one: -one[0])
    return [_hit(row, terms, score) for score, row in found[: min(max(limit, 1), 200)]]


def _hit(row: Any, terms: list[Term], score: float) -> Hit:
    said = row.item["text"]
    words = [word for word in words_in(said) if word.folded]
    folded = [word.folded for word in words]
    places = {place for term in terms for place in _places(folded, term)}
    return Hit(
        session_id=row.session_id,
        started_at=row.started_at,
        user_id=row.user_id or None,
        bundle=row.bundle,
        title=row.given_title or row.title,
        seq=row.seq,
        role=row.item["role"],
        text=said,
        marks=tuple((words[place].begin, words[place].end) for place in sorted(places)),
        score=score,
    )


def _places(folded: list[str], term: Term) -> Iterator[int]:
    """The places of the words of a text that belong to a term."""
    size, last = len(term.words), term.words[-1]
    for end, word in enumerate(folded, 1):
        is_last = word.startswith(last) if term.is_prefix else word == last
        if is_last and end >= size and (size == 1 or tuple(folded[end - size : end - 1]) == term.words[:-1]):
            yield from range(end - size, end)


def _score(said: str, terms: list[Term]) -> float:
    """
    How much of a message is what was asked for, as in BM25: more often is better, less and less so, and
    rather in few words than in many. How rare a word is plays no part: every hit has all of them.
    """
    folded = folded_words(said)
    length = 0.25 + 0.75 * len(folded) / _USUAL_WORDS
    total = 0.0
    for term in terms:
        often = sum(1 for _ in _places(folded, term)) / len(term.words)
        total += often * (_SATURATION + 1) / (often + _SATURATION * length)
    return round(total, 6)
