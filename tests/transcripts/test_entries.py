"""Entries, their lines, and the names of the folders that journals lie in."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from agent.transcripts.entries import MAX_ENTRY_BYTES, from_line, iso, plain, seconds_of, to_line, union
from agent.transcripts.paths import session_folder, session_id_of

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()) | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.text(min_size=1), anything, max_size=6))
def test_line_gives_back_what_was_written(fields: dict[str, object]) -> None:
    """Whatever an entry holds, its line is one line, and reading it gives its plain form."""
    line = to_line(fields)
    assert line.count(b"\n") == 1
    assert from_line(line) == json.loads(json.dumps(plain(fields)))


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.text(max_size=20), max_size=3), st.data())
def test_damaged_line_is_recognised(fields: dict[str, str], data: st.DataObject) -> None:
    """A line that was cut, or of which one byte changed, is never taken for an entry."""
    line = to_line(fields)
    cut = data.draw(st.integers(0, len(line) - 2))
    assert from_line(line[:cut]) is None
    place = data.draw(st.integers(18, len(line) - 2))
    changed = bytes([line[place] ^ 0x01])
    assert from_line(line[:place] + changed + line[place + 1 :]) is None


def test_large_entry_is_capped() -> None:
    """An entry larger than the cap is cut to it, says so, and keeps its small fields."""
    entry = {"n": 1, "type": "tool_result", "call_id": "c", "output": "x" * 10 * MAX_ENTRY_BYTES}
    line = to_line(entry)
    read = from_line(line)
    assert len(line) <= MAX_ENTRY_BYTES + 19
    assert read is not None
    assert read["call_id"] == "c"
    assert read["output"].startswith("xxx")
    assert read["truncated"] > MAX_ENTRY_BYTES


def test_wide_entry_is_capped() -> None:
    """An entry with too many fields to cut keeps at least what it is."""
    read = from_line(to_line({"n": 4, "type": "event", "detail": {str(i): "y" * 99 for i in range(50_000)}}))
    assert read is not None
    assert (read["n"], read["type"]) == (4, "event")


def test_times_are_read_in_any_form() -> None:
    """ISO text with any offset and seconds since 1970 are one time; what is no time is None."""
    assert iso("2026-01-01T02:00:00+02:00") == "2026-01-01T00:00:00.000Z"
    assert iso(1767225600.5) == "2026-01-01T00:00:00.500Z"
    assert [seconds_of(value) for value in ("soon", None, True, float("nan"), 1e300, [])] == [None] * 6


def test_union_does_not_depend_on_the_order() -> None:
    """Two different entries with one identity give the same union in either order."""
    one, two = ({"attempt": 1, "w": "a", "n": 1, "type": kind} for kind in ("x", "y"))
    assert union([one, two, one]) == union([two, one]) != {}


@given(st.text(st.characters(), max_size=300))
def test_folder_of_a_session_never_escapes(session_id: str) -> None:
    """Whatever the id, its folder lies directly in that of the journals, and gives the id back."""
    base = Path("/journals")
    folder = session_folder(base, session_id)
    assert folder.parent == base
    assert folder.name not in ("", ".", "..")
    assert len(folder.name.encode()) <= 255
    assert session_id_of(folder) in (session_id, None)
    assert session_id_of(folder) == session_id or len(folder.name) > 150


def test_ids_that_differ_have_folders_that_differ() -> None:
    """Ids that look alike after escaping, or in their first hundred letters, do not share a folder."""
    ids = ["", "%", ".", "..", "a/b", "a%2Fb", "~", "x" * 400, "x" * 401]
    assert len({session_folder(Path("/j"), each) for each in ids}) == len(ids)
