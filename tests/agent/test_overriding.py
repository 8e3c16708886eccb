"""Values that are added to an override that is there."""

from config_store.layer import merged


def test_maps_are_merged_and_values_replaced() -> None:
    """What is not named stays; a list or a value takes the place of another."""
    there = {"voice_tuning": {"pace": 1.1}, "idle_prompts": [1], "rev": 3}

    assert merged(there, {"voice_tuning": {"pitch": 0.1}, "idle_prompts": [2]}) == {
        "voice_tuning": {"pace": 1.1, "pitch": 0.1}, "idle_prompts": [2], "rev": 3,
    }  # fmt: skip
    assert there["voice_tuning"] == {"pace": 1.1}


def test_a_flat_word_replaces_the_path_it_means() -> None:
    """The path would win over the word, and the value just set would do nothing."""
    there = {"voice_id": "old", "models": {"llm": {"provider": "openai"}}}

    assert merged(there, {"voiceId": "new", "llm_model": "m", "userName": "Ann"}) == {
        "voice_id": "new", "models": {"llm": {"provider": "openai", "model": "m"}}, "userName": "Ann",
    }  # fmt: skip
