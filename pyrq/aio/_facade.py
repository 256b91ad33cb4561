"""What all facades are: who they are, how they end, and what becomes of a copy."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Generic, TypeVar

from pyrq.aio._runner import Runner
from pyrq.core.member import Setup

__all__ = ["Facade"]

T = TypeVar("T")
Self = TypeVar("Self", bound="Facade[Any]")


class Facade(Generic[T]):
    """A queue or a pool, as an object that tasks share."""

    def _start(self, setup: Setup[T], redis: object, retry: float | None, gather: bool | None) -> None:
        self._redis, self._retry, self._gather = redis, retry, gather
        self._setup = setup
        self._codec = setup.codec
        self._run = Runner(setup, redis, retry, gather)

    @property
    def name(self) -> str:
        """Its name, and the key of what it keeps on the server."""
        return self._setup.name

    @property
    def client_id(self) -> str:
        """Who this object is: its label and a unique part, made anew after a fork."""
        return self._run.member().keys.client_id

    async def close(self) -> None:
        """Ends the session on the server, and closes the connections that a URL made. A queue first does what its
        `release` does.

        A client, pool or backend that was given stays open. Closing twice is allowed.
        """
        async with self._run.get_lock:
            await self._run.close()

    async def __aenter__(self: Self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    # Copies are other consumers

    def __getstate__(self) -> dict[str, Any]:
        if not isinstance(self._redis, str | None):
            raise TypeError("only an object that was made from a URL can be pickled: a connection can't")
        return self._origin()

    def _origin(self) -> dict[str, Any]:
        return {"setup": self._setup, "redis": self._redis, "retry": self._retry, "gather": self._gather}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._start(state["setup"], state["redis"], state["retry"], state["gather"])

    def __copy__(self: Self) -> Self:
        other = type(self).__new__(type(self))
        other.__setstate__(self._origin())
        return other

    def __deepcopy__(self: Self, memo: dict[int, Any]) -> Self:
        return self.__copy__()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name!r} of {self.client_id!r}>"
