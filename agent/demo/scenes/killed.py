"""A job process is killed in mid-conversation; the caller hears the agent come back and go on."""

from agent.demo.lines import ASK_FOR_ORDER, FOUND, GOODBYE
from agent.demo.stage import Stage, require

SESSION = "demo-killed"
CALL = "killed"

BACK_WITHIN = 10.0
"""Seconds of silence at most between the kill and the agent's first word; measured about 2."""


async def killed(stage: Stage) -> None:
    """Play the call, kill its process, go on talking, check the one record. Raises SceneError."""
    async with await stage.call(SESSION, CALL, user="max") as caller:
        await caller.heard_all()
        asked = await caller.ask(ASK_FOR_ORDER)
        await caller.wait_words(FOUND, after=asked.end, within=15)
        before = len(caller.agents_seen)
        shot = await stage.kill(SESSION, CALL)
        await caller.wait_agent(count=before + 1, within=BACK_WITHIN)
        # the last words before the kill may still be on their way to the caller for a moment
        back = await caller.until(
            lambda: next(iter(caller.hearing.utterances(shot, caller.agents_seen[-1])), None),
            "the agent to speak again",
            within=BACK_WITHIN,
        )
        resumed = await caller.wait_event("resumed")
        require(resumed["attempt"] == 2, f"the second attempt, not {resumed}")
        await caller.heard_all(after=back.start)
        again = await caller.ask(ASK_FOR_ORDER)
        await caller.wait_words(FOUND, after=again.end, within=15)
        await caller.heard_all(after=again.end)
        await caller.ask(GOODBYE)
        await caller.wait_event("ended", reason="agent_ended", within=15)
        await caller.wait_left()
        greetings = [one.text for one in caller.captions if one.text == caller.captions[0].text]
    record = await stage.record(SESSION)
    require(len(record["attempts"]) == 2, f"both attempts in one record, not {record['attempts']}")
    require(record["end_reason"] == "agent_ended", f"the reason agent_ended, not {record['end_reason']}")
    said = [item["text"].lower() for item in record["items"] if item.get("role") == "user"]
    require(
        said == [ASK_FOR_ORDER.lower(), ASK_FOR_ORDER.lower(), GOODBYE.lower()],
        f"the words from before and after the kill in one record, not {said}",
    )
    require(len(greetings) == 1, "no second greeting after the kill")
    stage.narrator.line(
        CALL, "held", f"heard again {back.start - shot:.1f} s after the kill; one transcript, two attempts"
    )
