"""The rules of time, one claim each; time is a number, so nothing waits."""

import pytest

from agent.clock import FINAL_CAP, VOICE_CAP, WORK_CAP, Clock, Limits


def live(limits: Limits, at: float = 0.0) -> Clock:
    """A clock whose user has been there since `at`."""
    clock = Clock(limits, at)
    clock.user_present(at)
    return clock


def kinds(clock: Clock, now: float) -> list[str]:
    return [due.kind for due in clock.due(now)]


def test_nobody_joined_is_due_at_the_join_timeout() -> None:
    """A session without its user ends when the join timeout is over, and not before."""
    clock = Clock(Limits(join=60), 10.0)

    assert kinds(clock, 69.9) == []
    assert clock.next_at(10.0) == 70.0
    assert kinds(clock, 70.0) == ["no_participant"]


def test_the_wait_for_the_user_goes_on_in_another_process() -> None:
    """What an earlier process waited counts: the user has one join timeout, not one for each process."""
    clock = Clock(Limits(join=60), 10.0, waited_seconds=45)

    assert kinds(clock, 24.9) == []
    assert kinds(clock, 25.0) == ["no_participant"]


def test_waiting_for_the_user_costs_neither_idle_nor_maximum() -> None:
    """Idle and maximum duration count from the user's first presence."""
    clock = Clock(Limits(idle=30, maximum=50, join=1000), 0.0)
    clock.user_present(500.0)

    assert kinds(clock, 529.9) == []
    assert kinds(clock, 530.0) == ["idle"]
    assert clock.live_at == 500.0


def test_idle_prompts_come_once_each_and_then_the_end() -> None:
    """In one silence every prompt is due once, in order, and the end follows."""
    clock = live(Limits(idle=10, idle_prompts=(4, 7)))

    assert kinds(clock, 4.0) == ["idle_prompt"]
    assert kinds(clock, 6.9) == []
    assert [due.index for due in clock.due(7.0)] == [1]
    assert kinds(clock, 10.0) == ["idle"]
    assert kinds(clock, 11.0) == ["idle"], "an end stays due until the session is over"


def test_words_begin_the_silence_anew_with_its_prompts() -> None:
    """After words of the user, interim or final, the prompts are due again at their times."""
    clock = live(Limits(idle=10, idle_prompts=(4,)))
    assert kinds(clock, 5.0) == ["idle_prompt"]
    clock.words(5.0, final=False)

    assert kinds(clock, 8.9) == []
    assert kinds(clock, 9.0) == ["idle_prompt"]


def test_the_agents_speech_stops_idle_but_does_not_reset_it() -> None:
    """While the agent speaks idle stands still, and goes on from where it was."""
    clock = live(Limits(idle=10))
    clock.agent_speaking(6.0, speaking=True)
    clock.agent_speaking(56.0, speaking=False)

    assert clock.next_at(56.0) == 60.0
    assert kinds(clock, 59.9) == []
    assert kinds(clock, 60.0) == ["idle"]


@pytest.mark.parametrize("work", ["speech", "tool"])
def test_one_stretch_of_work_holds_idle_only_up_to_its_cap(work: str) -> None:
    """A speech or a tool that never ends stops holding idle after its cap."""
    clock = live(Limits(idle=10))
    if work == "speech":
        clock.agent_speaking(0.0, speaking=True)
    else:
        clock.tool(0.0, "call", working=True)

    assert kinds(clock, WORK_CAP + 9.9) == []
    assert kinds(clock, WORK_CAP + 10.0) == ["idle"]


def test_two_tools_hold_idle_until_the_last_one_is_done() -> None:
    """Idle goes on only when no tool works any more."""
    clock = live(Limits(idle=10))
    clock.tool(0.0, "a", working=True)
    clock.tool(5.0, "b", working=True)
    clock.tool(6.0, "a", working=False)
    clock.tool(20.0, "b", working=False)

    assert clock.next_at(20.0) == 30.0


def test_noise_counts_as_silence_once_it_brought_no_words() -> None:
    """Voice without words stands still while it lasts and is added to the silence afterwards."""
    clock = live(Limits(idle=30))
    clock.voice(10.0, heard=True)
    assert kinds(clock, 29.0) == []
    clock.voice(30.0, heard=False)

    assert clock.next_at(30.0) == 30.0 + FINAL_CAP
    assert kinds(clock, 30.0 + FINAL_CAP + 0.01) == ["idle"]


def test_endless_noise_ends_the_session_at_the_cap() -> None:
    """Voice that never stops and never brings words holds idle for its cap and no longer."""
    clock = live(Limits(idle=40))
    clock.voice(5.0, heard=True)

    assert kinds(clock, 5.0 + VOICE_CAP - 0.1) == []
    assert kinds(clock, 40.0) == ["idle"]


def test_a_long_monologue_with_interim_words_is_not_idle() -> None:
    """Someone who talks for minutes is never idle, as long as words come."""
    clock = live(Limits(idle=20))
    clock.voice(0.0, heard=True)
    for second in range(5, 300, 5):
        clock.words(float(second), final=False)
        assert kinds(clock, float(second)) == []
    clock.voice(300.0, heard=False)
    clock.words(300.5, final=True)

    assert kinds(clock, 320.4) == []
    assert kinds(clock, 320.5) == ["idle"]


def test_a_late_final_transcript_still_counts() -> None:
    """Idle waits up to five seconds for the words of speech that just ended."""
    clock = live(Limits(idle=10))
    clock.voice(8.0, heard=True)
    clock.voice(9.0, heard=False)

    assert kinds(clock, 13.9) == []
    clock.words(13.9, final=True)
    assert kinds(clock, 23.8) == []


def test_maximum_is_absolute_and_fires_while_the_agent_speaks() -> None:
    """The maximum duration does not care who is speaking or working."""
    clock = live(Limits(idle=None, maximum=100))
    clock.agent_speaking(50.0, speaking=True)
    clock.tool(60.0, "t", working=True)

    assert clock.next_at(60.0) == 100.0
    assert kinds(clock, 100.0) == ["max_duration"]


def test_warnings_before_the_maximum_come_once_each() -> None:
    """Each warning is due once, at its distance from the end."""
    clock = live(Limits(idle=None, maximum=600, warnings=(300, 60)))

    assert [due.index for due in clock.due(300.0)] == [0]
    assert kinds(clock, 400.0) == []
    assert [due.index for due in clock.due(540.0)] == [1]


def test_leaving_starts_the_grace_and_coming_back_stops_it() -> None:
    """A user who is back within the grace loses nothing; one who is not has left."""
    clock = live(Limits(idle=100, grace=15))
    clock.user_absent(10.0)
    assert kinds(clock, 24.9) == []
    assert clock.user_present(24.9) is False
    assert kinds(clock, 40.0) == []
    clock.user_absent(50.0)
    clock.user_absent(60.0)

    assert clock.next_at(60.0) == 65.0, "the grace runs from the first word of the absence"
    assert kinds(clock, 65.0) == ["user_left"]


def test_idle_stands_still_while_the_user_is_away() -> None:
    """Only the grace runs while nobody is there."""
    clock = live(Limits(idle=20, grace=15))
    clock.user_absent(10.0)
    clock.user_present(24.0)

    assert clock.next_at(24.0) == 34.0


def test_a_takeover_keeps_the_deadline_and_the_silence() -> None:
    """An attempt that takes over goes on at the age and the silence of the session."""
    clock = Clock(Limits(idle=30, idle_prompts=(20,), maximum=100), 1000.0, live_seconds=90, idle_seconds=25)
    clock.user_present(1000.0)

    assert kinds(clock, 1000.0) == [], "the prompt was said before"
    assert kinds(clock, 1005.0) == ["idle"]
    assert kinds(clock, 1010.0) == ["max_duration", "idle"]


def test_a_user_who_is_gone_at_a_takeover_has_the_grace() -> None:
    """A takeover that finds nobody waits for the grace and then ends."""
    clock = Clock(Limits(grace=15), 1000.0, live_seconds=90)

    assert kinds(clock, 1014.9) == []
    assert kinds(clock, 1015.0) == ["user_left"]


def test_a_look_that_comes_late_finds_what_was_missed() -> None:
    """Nothing depends on looking at the right moment: a late look says how late it is."""
    clock = live(Limits(idle=10, idle_prompts=(4,)))

    (due,) = clock.due(500.0)

    assert (due.kind, due.late) == ("idle", 490.0)


def test_never_means_no_moment() -> None:
    """Without limits there is nothing to wait for."""
    assert live(Limits(idle=None)).next_at(5.0) is None


def test_a_shorter_idle_counts_the_silence_there_has_been() -> None:
    """New limits hold at once: a silence that is too long under them is due now, a shorter one later."""
    clock = live(Limits(idle=100))
    clock.change(Limits(idle=20), 15.0)

    assert clock.next_at(15.0) == 20.0
    clock.change(Limits(idle=10), 16.0)
    assert [(due.kind, due.late) for due in clock.due(16.0)] == [("idle", 6.0)]


def test_a_longer_maximum_gives_its_warning_again() -> None:
    """The maximum counts from the first presence, and a warning that comes again is told again."""
    clock = live(Limits(idle=None, maximum=100, warnings=(30,)))
    assert kinds(clock, 70.0) == ["max_warning"]
    clock.change(Limits(idle=None, maximum=200, warnings=(30,)), 80.0)

    assert kinds(clock, 169.9) == []
    assert kinds(clock, 170.0) == ["max_warning"]
    assert kinds(clock, 200.0) == ["max_duration"]


def test_what_is_past_under_new_limits_is_not_made_up_for() -> None:
    """A prompt or a warning whose moment is over when it is introduced is not told late."""
    clock = live(Limits(idle=100, maximum=100))
    new = Limits(idle=100, idle_prompts=(5, 50), maximum=40, warnings=(30, 8))
    clock.change(new, 20.0)

    assert clock.due(20.0) == []
    assert [due.index for due in clock.due(32.0)] == [1]


def test_a_change_of_one_limit_leaves_what_the_others_have_told() -> None:
    """Another grace tells neither a prompt nor a warning a second time."""
    before = Limits(idle=100, idle_prompts=(10,), maximum=100, warnings=(90,), grace=15)
    clock = live(before)
    assert kinds(clock, 11.0) == ["max_warning", "idle_prompt"]
    clock.change(Limits(idle=100, idle_prompts=(10,), maximum=100, warnings=(90,), grace=5), 12.0)

    assert kinds(clock, 13.0) == []
    clock.user_absent(20.0)
    assert kinds(clock, 25.0) == ["user_left"]


def test_a_shorter_grace_counts_the_absence_there_has_been() -> None:
    """A user who is away already has the new grace from when they left."""
    clock = live(Limits(grace=60))
    clock.user_absent(10.0)
    clock.change(Limits(grace=5), 20.0)

    assert kinds(clock, 20.0) == ["user_left"]


def test_limits_may_change_before_anybody_came() -> None:
    """A change while the agent waits counts from the user's first presence."""
    clock = Clock(Limits(maximum=100, warnings=(10,)), 0.0)
    clock.change(Limits(maximum=50, warnings=(10,)), 5.0)
    clock.user_present(10.0)

    assert kinds(clock, 49.9) == []
    assert kinds(clock, 50.0) == ["max_warning"]
