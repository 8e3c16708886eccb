"""Our own use of Redis and SQL grows with the calls and with the workers, and not faster."""

import pytest

from benchmarks import real_call
from benchmarks.growth import measure
from benchmarks.real_call import RealCall


async def test_the_stores_are_asked_in_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four times the sessions, and four times the workers, cost four times as much: each costs the same."""

    async def measured_before(turns: int) -> RealCall:
        return RealCall(turns, 20.0, {"progress": 9 * turns, "silence": 3 * turns, "usage": turns}, 80.0, {})

    monkeypatch.setattr(real_call, "measure", measured_before)
    found = await measure([10, 40], at_once=10, turns=3, workers=[2, 8], seconds=2.0)
    few, many = found["growth"]
    assert many["redis_commands"] == pytest.approx(few["redis_commands"], rel=0.1)
    assert many["sql_statements"] == pytest.approx(few["sql_statements"], rel=0.1)
    assert (few["sql_rows"], few["redis_keys_left"]) == (many["sql_rows"], many["redis_keys_left"])
    assert few["redis_keys_left"] == 1.0, "the mark that it ended"
    few, many = found["sweeps"]
    assert many["redis_commands"] <= few["redis_commands"] * 1.1
    few, many = found["idle"]
    assert many["redis_commands_per_worker_second"] <= few["redis_commands_per_worker_second"] * 1.2
