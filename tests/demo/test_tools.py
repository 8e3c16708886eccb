"""The demo bundle's tool."""

import pytest

from agent.demo.tools import lookup_order


@pytest.mark.parametrize(
    ("number", "expected"),
    [
        pytest.param("seven", "Order seven is on its way and arrives tomorrow.", id="known"),
        pytest.param(" Seven ", "Order seven is on its way and arrives tomorrow.", id="as spoken"),
        pytest.param("nine", "There is no order nine.", id="unknown"),
    ],
)
async def test_an_order_is_looked_up(number: str, expected: str) -> None:
    """The tool answers with the order's state, also when there is no such order."""
    assert await lookup_order(number) == expected
