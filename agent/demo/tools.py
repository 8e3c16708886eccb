"""The Python tool of the demo bundle: an ordinary async function; its docstring is what the LLM is told."""

STATUS_BY_ORDER = {
    "seven": "is on its way and arrives tomorrow",
    "eight": "is waiting in the shop",
}
"""What the pretended shop knows, by order number as it is spoken."""


async def lookup_order(order_number: str) -> str:
    """Look up where an order is.

    Args:
        order_number: The number of the order, as the caller said it.
    """
    order_number = order_number.strip().lower()
    status = STATUS_BY_ORDER.get(order_number)
    return f"Order {order_number} {status}." if status else f"There is no order {order_number}."
