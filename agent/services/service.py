"""What all our services are: started, stopped, and stopped for certain at the end of a block."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self


class Service(ABC):
    """A context manager around `start` and `stop`."""

    @abstractmethod
    def start(self) -> None:
        """Start it and return once it can be used."""

    @abstractmethod
    def stop(self) -> object:
        """End it, or one's use of it; safe to call twice."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
