"""The end of a room that a job ends itself is no error, whatever the native library calls it."""

import logging
from collections.abc import Iterator

import pytest

from agent import leaving

WHERE = ("livekit::rtc_engine::rtc_session", 704, "livekit::rtc_engine::rtc_session")
CLOSED = "publisher data channel '%s' closed unexpectedly"
CHANNELS = ("_reliable", "_lossy", "_data_track")


@pytest.fixture(autouse=True)
def library() -> Iterator[logging.Logger]:
    """livekit's logger, afterwards as it was."""
    logger = logging.getLogger("livekit")
    before = list(logger.filters)
    yield logger
    logger.filters[:] = before


def test_while_a_call_goes_on_it_is_an_error(
    library: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    """A data channel that closes in a call is told, as the library tells it."""
    for channel in CHANNELS:
        library.error("%s:%s:%s - %s", *WHERE, CLOSED % channel)
    assert len(caplog.messages) == 3


def test_the_end_of_a_room_that_we_delete_is_none(
    library: logging.Logger, caplog: pytest.LogCaptureFixture
) -> None:
    """Once the job deletes its room, these three lines are gone, and no other line of anybody's."""
    leaving.leave_quietly()
    leaving.leave_quietly()  # twice is once
    for channel in CHANNELS:
        library.error("%s:%s:%s - %s", *WHERE, CLOSED % channel)
    library.error("%s:%s:%s - %s", *WHERE, "publisher connection closed unexpectedly")
    logging.getLogger("agent.job").error("x - " + CLOSED, "_lossy")
    assert [message.split(" - ")[1] for message in caplog.messages] == [
        "publisher connection closed unexpectedly",
        CLOSED % "_lossy",
    ]
