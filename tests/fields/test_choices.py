"""A bundle that narrows what a session may choose."""

from config_store.policy import Gate


def test_a_list_of_choices_allows_no_other() -> None:
    """A text that is not among `choices` is refused, and the allowed ones are named; another is applied."""
    rule = {"path": "target_language", "choices": ["hi-IN", "en-IN"]}
    document = {"agents": {"desk": {"instructions": "x"}}, "overridable": [rule]}
    gate = Gate(document, "redis k", None)

    assert gate.admit({"target_language": "hi-IN"}) == {"target_language": "hi-IN"}
    assert gate.admit({"target_language": "de-DE"}) == {}
    assert [verdict.verdict for verdict in gate.verdicts] == ["applied", "refused"]
    assert "hi-IN" in f"{gate.verdicts[1].reason} {gate.verdicts[1].range}"
