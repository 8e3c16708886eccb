"""Which entries of a journal are written, and who waits for that."""

import asyncio
import threading


class Acknowledged:
    """
    The numbers that a `write` has returned for. Thread-safe: the writer marks, event loops wait.

    Numbers are settled almost in order, so this holds the highest one, the few below it that are still open,
    and the ranges that were lost.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._highest = 0
        self._open: set[int] = set()
        self._lost: list[list[int]] = []
        self._broken = False
        self._waiting: dict[int, list[asyncio.Future[bool]]] = {}

    def written(self, number: int) -> None:
        """`write` has returned for this entry."""
        with self._lock:
            self._settle(number)
            self._broken = False
            waiting = self._waiting.pop(number, [])
        _answer(waiting, True)

    def lost(self, number: int) -> None:
        """This entry will never be written."""
        with self._lock:
            self._settle(number)
            if self._lost and self._lost[-1][1] == number - 1:
                self._lost[-1][1] = number
            else:
                self._lost.append([number, number])
            waiting = self._waiting.pop(number, [])
        _answer(waiting, False)

    def broken(self) -> None:
        """Nothing can be written at present: whoever waits is told so, and goes on."""
        with self._lock:
            self._broken = True
            waiting = [future for futures in self._waiting.values() for future in futures]
            self._waiting.clear()
        _answer(waiting, False)

    async def wait(self, number: int) -> bool:
        """True once the entry is written; False at once when it is lost or nothing can be written now."""
        with self._lock:
            if number <= self._highest and number not in self._open:
                return not any(low <= number <= high for low, high in self._lost)
            if self._broken:
                return False
            future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(number, []).append(future)
        return await future

    def _settle(self, number: int) -> None:
        if number > self._highest:
            self._open.update(range(self._highest + 1, number))
            self._highest = number
        else:
            self._open.discard(number)


def _answer(waiting: list[asyncio.Future[bool]], answer: bool) -> None:
    for future in waiting:
        try:
            future.get_loop().call_soon_threadsafe(_set, future, answer)
        except RuntimeError:  # that loop is closed: nobody waits any more
            continue


def _set(future: asyncio.Future[bool], answer: bool) -> None:
    if not future.done():
        future.set_result(answer)
