"""What is owed to a user who was away, or whose agent was: pure functions of the talk."""

from pathlib import Path

import pytest
from livekit.agents import llm

from agent.taking_over import Past, owes_answer, up_to_the_users_words
from agent.transcripts.conversation import conversation
from agent.transcripts.journal import Journal
from agent.transcripts.reading import read_journals

Said = tuple[str, str, bool]


def talk(*said: Said) -> llm.ChatContext:
    """Messages as (role, text, interrupted); ids are their texts."""
    history = llm.ChatContext.empty()
    for role, text, interrupted in said:
        history.add_message(role=role, content=text, interrupted=interrupted, id=text)  # type: ignore[arg-type]
    return history


GREETING: Said = ("assistant", "welcome", False)
CUT_GREETING: Said = ("assistant", "wel", True)
ASKED: Said = ("user", "when?", False)
ANSWER: Said = ("assistant", "at nine", False)
CUT: Said = ("assistant", "at", True)


@pytest.mark.parametrize(
    ("said", "unheard", "owed"),
    [
        ((), (), False),
        ((CUT_GREETING,), (), False),
        ((GREETING, ASKED), (), True),
        ((GREETING, ASKED, ANSWER), (), False),
        ((GREETING, ASKED, CUT), (), True),
        ((GREETING, ASKED, ANSWER), ("at nine",), True),
        ((GREETING, ASKED, CUT, ANSWER), (), False),
    ],
    ids=[
        "nothing was said", "a greeting is not repeated", "no answer yet", "answered", "cut in the middle",
        "said to nobody", "answered after a cut",
    ],
)  # fmt: skip
def test_a_user_who_is_back_is_owed_what_they_did_not_hear(
    said: tuple[Said, ...], unheard: tuple[str, ...], owed: bool
) -> None:
    """The user's last words are answered anew when no answer to them was heard to its end."""
    assert owes_answer(talk(*said), unheard) is owed


def test_the_model_is_asked_again_without_its_cut_answer() -> None:
    """What was said to the last words is left out, so that it is not continued in the middle; tools stay."""
    history = talk(GREETING, ASKED, CUT)
    history.insert(llm.FunctionCall(call_id="c", name="lookup", arguments="{}"))
    kept = up_to_the_users_words(history).items

    assert [getattr(item, "text_content", item.type) for item in kept] == [
        "welcome",
        "when?",
        "function_call",
    ]


def test_a_later_process_knows_who_greeted_and_since_when_the_user_was_there(tmp_path: Path) -> None:
    """By the journal, also where Redis did not take it: no agent greets twice, and the maximum goes on."""
    journal = Journal(tmp_path, "s-1", 1)
    journal.append("start", session_id="s-1", initial_agent="front")
    journal.append("participant", identity="u", kind="standard", change="joined")
    journal.append("live")
    journal.append("agent", speech_id="a", agent="front", text="Welcome.", final=True, heard="all")
    journal.append("handoff", **{"from": "front", "to": "sales"})
    assert journal.close(5)
    talk = conversation(read_journals(tmp_path, "s-1"))
    past = Past(talk, talk.agent, None, 0.0)

    assert past.greeters == {"front", "sales"}
    assert talk.live_at is not None
    assert [entry["identity"] for entry in talk.participants] == ["u"]
