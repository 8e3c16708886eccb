"""Who of those in a room is the user: a table of comings and goings."""

from dataclasses import dataclass
from typing import Any, cast

import pytest
from livekit import rtc

from agent.people import People, people_of


@dataclass
class Somebody:
    """As much of a participant as is looked at."""

    identity: str
    kind: int = rtc.ParticipantKind.PARTICIPANT_KIND_STANDARD
    disconnect_reason: int | None = None


KINDS = {
    "sip": rtc.ParticipantKind.PARTICIPANT_KIND_SIP,
    "agent": rtc.ParticipantKind.PARTICIPANT_KIND_AGENT,
    "egress": rtc.ParticipantKind.PARTICIPANT_KIND_EGRESS,
    "ingress": rtc.ParticipantKind.PARTICIPANT_KIND_INGRESS,
}


def told(happens: str, user_id: str | None = None) -> list[str]:
    """What the session is told: `+a` comes, `-a` goes, `~a` does for no reason; `sip:a` is of that kind."""
    log: list[str] = []
    people = People(
        user_id=user_id,
        on_present=lambda identity: log.append(f"+{identity}"),
        on_absent=lambda kind, reason: log.append(f"-{kind}"),
        on_change=lambda *_: None,
    )
    for word in happens.split():
        kind, _, identity = word[1:].rpartition(":")
        reason = rtc.DisconnectReason.CLIENT_INITIATED if word[0] == "-" else None
        somebody = cast(Any, Somebody(identity, KINDS.get(kind, Somebody.kind), reason))
        (people.joined if word[0] == "+" else people.left)(somebody)
    return log


@pytest.mark.parametrize(
    ("happens", "user_id", "heard"),
    [
        ("+a", None, "+a"),
        ("+sip:a -sip:a", None, "+a -sip"),
        ("+agent:x +egress:r +ingress:i", None, ""),
        ("+egress:r +a", None, "+a"),
        ("+a +b -b", None, "+a"),
        ("+a -a +a", None, "+a -standard +a"),
        ("+a -a +c", None, "+a -standard +c"),
        ("+a +b -a", None, "+a -standard"),
        ("+a +b -a -b +b", None, "+a -standard +b"),
        ("+a +b -a +c", None, "+a -standard +c"),
        ("+a +b ~a ~b +b +a", None, "+a -standard +a"),
        ("+b +u", "u", "+b +u"),
        ("+a +a", None, "+a +a"),
    ],
    ids=[
        "the first one", "a telephone", "no machine is the user", "a recorder was there before",
        "an observer", "the same one comes back", "as somebody else", "an observer does not take the place",
        "an observer who comes anew does", "the next one does", "everybody in a restart of the connection",
        "who was named takes the place",
        "a second tab of the user",
    ],
)  # fmt: skip
def test_who_is_the_user(happens: str, user_id: str | None, heard: str) -> None:
    """Presence and absence are those of the user alone, by the rules of the documentation."""
    assert " ".join(told(happens, user_id)) == heard


def journal(happens: str, attempt: int = 1) -> list[dict[str, Any]]:
    """Comings and goings as a journal has them."""
    changes = {"+": "joined", "-": "left"}
    return [
        {"type": "participant", "attempt": attempt, "identity": word[1:], "kind": "standard",
         "change": changes[word[0]]}
        for word in happens.split()
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("first", "second", "user", "observers"),
    [
        ("+a +b", "", "a", {"b"}),
        ("+a +b -a", "", "a", {"b"}),
        ("+a +b", "+a +b", "a", {"b"}),
        ("+a +b", "+b +c", "c", {"b"}),
        ("", "", None, set()),
    ],
    ids=[
        "both are there",
        "the user had left",
        "both are there again",
        "the user came as somebody else",
        "nobody",
    ],
)
def test_a_later_process_knows_who_the_user_was(
    first: str, second: str, user: str | None, observers: set[str]
) -> None:
    """By the journal of the processes before it, whether or not a user was named."""
    found = people_of([*journal(first), *journal(second, attempt=2)], None)
    assert (found.user, found.observers, found.present) == (user, observers, False)
