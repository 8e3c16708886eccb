"""What is left of a log record: where it comes from and what happened, and nothing that anybody said."""

import asyncio
import io
import logging
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agent import logs, reduction
from agent.logs import SessionFields
from agent.reduction import Reduction
from config_store.dispatch import DispatchError

WORDS = "the parrot is dead"


class Kept(logging.Handler):
    """Keeps what comes through the filter of a job, as the parent gets it: pickled."""

    def __init__(self) -> None:
        super().__init__()
        self.addFilter(Reduction(["shop.tools"]))
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(pickle.loads(pickle.dumps(record)))

    @property
    def only(self) -> logging.LogRecord:
        """The one line there was."""
        (record,) = self.records
        return record

    @property
    def line(self) -> str:
        """All that a formatter shows of it, and its fields."""
        fields = {k: v for k, v in vars(self.only).items() if k not in reduction.STANDARD}
        return f"{logging.Formatter().format(self.only)} {fields}"


@pytest.fixture
def kept() -> Iterator[Kept]:
    """Every logger's lines; a handler that another test left would have had them first."""
    handler, root = Kept(), logging.getLogger()
    level, others = root.level, root.handlers
    root.handlers = [handler]
    root.setLevel(logging.DEBUG)
    yield handler
    root.handlers = others
    root.setLevel(level)


def caught(exc: BaseException) -> BaseException:
    """An exception as it is where it was caught, with its frames."""
    try:
        _raise(exc)
    except BaseException as raised:  # noqa: BLE001 - groups of all kinds
        return raised
    raise AssertionError


def _raise(exc: BaseException, cause: BaseException | None = None) -> None:
    raise exc from cause


library = logging.getLogger("some_library.part")
error = ValueError(WORDS)
LINES: list[tuple[Callable[[], None], str]] = [
    (lambda: library.error(f"failed to ask: {error}, retrying in {1.5}s"), "failed to ask: [text]"),
    (lambda: library.error(f"{WORDS} is what came of it"), "[text] is what came of it"),
    (lambda: library.error(f"{WORDS}"), "[text]"),
    (lambda: library.error("failed to ask: " + str(error)), "failed to ask: [text]"),
    (lambda: library.error("failed to ask: %s after %d", error, 3), "failed to ask: ValueError after 3"),
    (lambda: library.error("failed to ask: %s", str(error)), "failed to ask: [text]"),
    (lambda: library.error("%(n)d of %(what)r", {"n": 2, "what": WORDS}), "2 of '[text]'"),
    (lambda: library.error(error), "ValueError"),
    (lambda: library.error("a line with %d", WORDS), "a line with %d"),
    (lambda: library.info("nothing to leave out"), "nothing to leave out"),
]


@pytest.mark.parametrize(("log", "left"), LINES, ids=range(len(LINES)))
def test_a_librarys_message_is_what_stands_in_its_source(
    kept: Kept, log: Callable[[], None], left: str
) -> None:
    """Text that is filled in is left out however it is filled in; numbers and types of exceptions stay."""
    log()
    assert kept.only.getMessage() == left
    assert "parrot" not in kept.line


def test_a_message_that_no_caller_wrote_is_left_out(kept: Kept) -> None:
    """A record that was made elsewhere says that there was a text."""
    library.handle(logging.makeLogRecord({"name": library.name, "levelno": 40, "msg": WORDS}))
    assert kept.only.getMessage() == "[text]"


def test_an_exception_is_its_type_and_its_frames(kept: Kept) -> None:
    """Also what caused it, what it came in the middle of, and what a group holds: places, and no messages."""
    inner = caught(KeyError(WORDS))
    try:
        try:
            _raise(RuntimeError(WORDS), inner)
        except RuntimeError as exc:
            raise ExceptionGroup(WORDS, [exc, caught(OSError(WORDS))])  # noqa: B904 - a context, not a cause
    except ExceptionGroup:
        library.exception("it broke", stack_info=True)
    for told in ("KeyError", "RuntimeError", "OSError", "ExceptionGroup", __file__, "in caught", "Stack ("):
        assert told in kept.line, told
    for hidden in ("parrot", "_raise(RuntimeError"):
        assert hidden not in kept.line


def test_a_cause_that_is_its_own_cause_ends(kept: Kept) -> None:
    """A chain in a circle is told once."""
    one, other = ValueError(WORDS), TypeError(WORDS)
    one.__cause__, other.__cause__ = other, one
    library.error("round", exc_info=one)
    assert kept.line.count("ValueError") == 1


def test_fields_of_libraries_are_numbers_and_names(kept: Kept) -> None:
    """Texts under other names, what is marked as personal, and whatever cannot be sent are not shown."""
    library.error("x", extra={
        "error": WORDS, "lk.pii.text": WORDS, "participant": WORDS, "data": {"text": WORDS}, "exc": error,
        "at": threading.Lock(), "attempt": 2, "took": 0.5, "again": True, "none": None, "job_id": "AJ_1",
        "functions": ["one", threading.Lock()],
    })  # fmt: skip
    fields = {k: v for k, v in vars(kept.only).items() if k not in reduction.STANDARD and k[0] != "_"}
    assert fields == {
        "error": "[text]", "data": "dict", "exc": "ValueError", "at": "_thread.lock", "attempt": 2,
        "took": 0.5, "again": True, "none": None, "job_id": "AJ_1", "functions": ["one", "_thread.lock"],
    }  # fmt: skip


class Hostile(dict[str, Any]):
    """Raises when it is looked at."""

    def items(self) -> Any:
        """Never."""
        raise RuntimeError(WORDS)


def test_a_record_that_cannot_be_looked_at_is_a_line(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """Whatever a field does, there is a line that names what it raised, and nothing is printed."""
    logging.getLogger("agent.test").error("x", extra={"of": Hostile(a=1)})
    assert kept.only.getMessage() == "a line that could not be read: RuntimeError"
    assert "parrot" not in kept.line
    assert capsys.readouterr().err == ""


def test_our_own_lines_say_what_they_say(kept: Kept) -> None:
    """Messages and fields of ours stay, and so do our exceptions' words for people; others' do not."""
    ours = logging.getLogger("agent.test")
    ours.warning("refused: %s", "no such bundle", extra={"reason": "a reason", "of": {"a": ["b"]}})
    ours.error("it broke", exc_info=caught(DispatchError("the metadata is no JSON")))
    ours.error("it broke", exc_info=caught(error))
    said, known, foreign = kept.records
    assert said.getMessage() == "refused: no such bundle"
    assert (vars(said)["reason"], vars(said)["of"]) == ("a reason", {"a": ["b"]})
    assert (known.exc_text or "").endswith("DispatchError: the metadata is no JSON")
    assert (foreign.exc_text or "").endswith("\nValueError")


def test_modules_of_the_operator_say_what_they_want_but_for_exceptions(kept: Kept) -> None:
    """What a tool logs is its own affair; an exception in it is a type there, too."""
    logging.getLogger("shop.tools").warning("order %s: %s", "seven", error, exc_info=caught(error))
    assert kept.only.getMessage() == "order seven: ValueError"
    assert "parrot" not in kept.line


def test_wrong_arguments_are_no_traceback(kept: Kept, capsys: pytest.CaptureFixture[str]) -> None:
    """A line of ours with an argument too few is still a line."""
    logging.getLogger("agent.test").warning("one %s, two %s", 1)
    assert kept.only.getMessage() == "one %s, two %s"
    assert capsys.readouterr().err == ""


async def test_what_nobody_retrieved_is_told_without_words(kept: Kept) -> None:
    """asyncio's lines are made of reprs, with arguments and messages in them: what and where is left."""

    async def fail(words: str) -> None:
        raise RuntimeError(words)

    def fail_now(words: str) -> None:
        raise RuntimeError(words)

    loop = asyncio.get_running_loop()
    task = loop.create_task(fail(WORDS))
    await asyncio.wait({task})
    del task
    loop.call_soon(fail_now, WORDS)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    never, callback = errors = [record for record in kept.records if record.levelno == logging.ERROR]
    assert never.getMessage() == "Task exception was never retrieved"
    assert callback.getMessage().startswith("Exception in callback test_what_nobody_retrieved")
    for record in errors:
        assert (record.exc_text or "").endswith("\nRuntimeError")
        assert "parrot" not in logging.Formatter().format(record)


def test_what_a_job_reduced_is_not_reduced_again() -> None:
    """In the parent a job's line keeps its text, and its traceback, which comes twice, stands there once."""
    record = logging.makeLogRecord({"name": "x", "msg": "Error in it", "exc_info": (None, error, None)})
    Reduction().filter(record)
    record.msg = logging.Formatter().format(record)  # as the library's handler does
    told = record.exc_text
    Reduction().filter(record)
    assert (record.msg, record.exc_text) == ("[text]", told)


def test_exceptions_of_threads_and_collectors_are_lines(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where Python would print a traceback there is a line without a message; other hooks stay."""
    monkeypatch.setattr(threading, "excepthook", threading.__excepthook__)
    monkeypatch.setattr(sys, "unraisablehook", sys.__unraisablehook__)
    theirs = io.StringIO().write
    monkeypatch.setattr(sys, "excepthook", theirs)
    monkeypatch.setattr(logging, "raiseExceptions", True)
    reduction.catch_what_nobody_caught()

    def fail() -> None:
        raise RuntimeError(WORDS)

    class Gone:
        def __del__(self) -> None:
            fail()

    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    Gone()
    assert [record.getMessage() for record in kept.records] == [
        "a thread ended by an exception", "an exception came where nobody could catch it",
    ]  # fmt: skip
    assert all((record.exc_text or "").endswith("in fail\nRuntimeError") for record in kept.records)
    assert sys.excepthook is theirs


async def test_a_line_of_a_block_about_a_session_names_it() -> None:
    """Also one of a thread or task that begins there, and none from elsewhere; what it says itself stays."""
    fields = SessionFields()

    def seen(**given: str) -> dict[str, str]:
        record = logging.makeLogRecord(given)
        fields.filter(record)
        return {k: v for k, v in vars(record).items() if k not in reduction.STANDARD}

    async def told() -> dict[str, str]:
        return seen()

    async def one(session: str) -> None:
        with logs.about({"session": session, "bundle": "b"}):
            expected = {"session": session, "bundle": "b"}
            assert await asyncio.to_thread(seen) == expected
            assert await asyncio.create_task(told()) == expected
            assert seen(bundle="c") == {"session": session, "bundle": "c"}
        assert seen() == {}

    await asyncio.gather(one("s"), one("t"))


def test_a_line_about_a_job_gets_the_session_that_the_job_told() -> None:
    """What is known of the job is put where it lacks; what a later line says is the truth from then on."""
    fields = SessionFields()

    def seen(**given: str) -> dict[str, str]:
        record = logging.makeLogRecord(given)
        fields.filter(record)
        return {k: v for k, v in vars(record).items() if k not in reduction.STANDARD}

    assert seen(job_id="a") == {"job_id": "a"}
    seen(job_id="a", session="s", bundle="b", digest="1")
    seen(job_id="a", session="s", bundle="b", digest="2")
    assert seen(job_id="a") == {"job_id": "a", "session": "s", "bundle": "b", "digest": "2"}
    assert seen(job_id="b") == {"job_id": "b"}
    for number in range(2000):
        seen(job_id=str(number), session="s")
    assert seen(job_id="a") == {"job_id": "a"}, "the oldest are forgotten"
