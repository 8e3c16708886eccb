"""Two agents of one session in one room: exactly one of them leaves."""

import itertools

import pytest

from agent.twins import yields


@pytest.mark.parametrize("owner", [None, "agent-a", "agent-b"], ids=["no claim", "a has it", "b has it"])
def test_of_two_agents_exactly_one_leaves(owner: str | None) -> None:
    """Both decide alone, from what both see, and one stays: the one with the claim, else the first."""
    me, other = "agent-a", "agent-b"
    leaving = [pair[0] for pair in ((me, other), (other, me)) if yields(*pair, owner)]

    assert leaving == ["agent-a" if owner == "agent-b" else "agent-b"]


def test_of_many_agents_one_stays() -> None:
    """Where more than two meet, everybody leaves but the first in order."""
    agents = ["agent-c", "agent-a", "agent-d", "agent-b"]
    left = {me for me, other in itertools.permutations(agents, 2) if yields(me, other, None)}

    assert set(agents) - left == {"agent-a"}
