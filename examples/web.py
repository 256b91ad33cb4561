"""A web application whose handler adds to a queue: the answer does not wait for the work.

It needs `pip install starlette`, and a server program:

    pip install uvicorn
    uvicorn examples.web:app

With `pip install httpx`, `python examples/web.py` sends it three orders without a network. What it adds is what
`python examples/worker.py` works on.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, TypedDict

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from pyrq.aio import JsonCodec, Queue, QueueFull
from pyrq.errors import InvalidItemError

NAME = "orders"


class State(TypedDict):
    """What lives as long as the application."""

    queue: Queue[Any]


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[State]:
    """Opens one queue object for all requests, and closes it at the end."""
    url = os.environ.get("PYRQ_URL") or "embedded:///tmp/pyrq-examples"
    async with Queue(NAME, url, codec=JsonCodec(), max_size=100_000) as queue:
        yield {"queue": queue}


async def add_order(request: Request) -> JSONResponse:
    """Takes an order, and answers when the queue has it."""
    try:
        order = await request.json()
    except ValueError:
        return JSONResponse({"error": "an order is JSON"}, 400)
    if not isinstance(order, dict) or "number" not in order:
        return JSONResponse({"error": "an order has a number"}, 400)
    queue: Queue[Any] = request.state.queue
    try:
        await queue.add_item(order)
    except InvalidItemError:
        return JSONResponse({"error": "an order is JSON, without NaN or half characters"}, 400)
    except QueueFull:
        return JSONResponse({"error": "too many orders wait"}, 503, {"Retry-After": "5"})
    return JSONResponse({"order": order["number"]}, 202)


async def show(request: Request) -> JSONResponse:
    """Shows how the queue is doing."""
    queue: Queue[Any] = request.state.queue
    return JSONResponse(asdict(await queue.stats()))


app = Starlette(
    routes=[Route("/orders", add_order, methods=["POST"]), Route("/orders", show, methods=["GET"])], lifespan=lifespan
)


async def main() -> None:
    """Sends three orders, as a browser would, and looks at the queue."""
    import httpx  # for this alone: the application does not need it

    async with lifespan(app) as state:

        async def with_state(scope: Any, receive: Any, send: Any) -> None:
            await app({**scope, "state": dict(state)}, receive, send)  # what a server program does

        transport = httpx.ASGITransport(app=with_state)
        async with httpx.AsyncClient(transport=transport, base_url="http://example") as client:
            for number in (1, 2, 3):
                answer = await client.post("/orders", json={"number": number})
                print(answer.status_code, answer.text)
            print((await client.get("/orders")).text)


if __name__ == "__main__":
    asyncio.run(main())
