from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from pyrq.core.codec import JsonCodec, TextCodec
from pyrq.core.errors import InvalidItemError, NotEnoughSyncedSlavesError, OutcomeUnknown, RqError, ServerGoneError
from pyrq.core.work import Work
from tests.unit.helpers import BrokenCodec

TEXT = TextCodec()


def numbers(first: int, last: int) -> list[bytes]:
    return [str(number).encode() for number in range(first, last)]


# Chunks


@pytest.mark.parametrize(
    ("size", "sizes"), [(0, []), (1, [1]), (999, [999]), (1000, [1000]), (1001, [1000, 1]), (2500, [1000, 1000, 500])]
)
def test_forward_chunks(size: int, sizes: list[int]) -> None:
    for items in (range(size), (number for number in range(size)), dict.fromkeys(range(size))):
        chunks = list(Work.forward(TEXT, items).chunks())
        assert [len(chunk) for chunk in chunks] == sizes
        assert [item for chunk in chunks for item in chunk] == numbers(0, size)


@pytest.mark.parametrize("length", [7, 2500])
def test_a_list_is_checked_whole(length: int) -> None:
    with pytest.raises(InvalidItemError, match=r"^item must not be None$"):
        Work.forward(TEXT, [*range(length - 1), None])


class Progress:
    """A generator with a length, as a progress bar is: it gives its items once."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.numbers = iter(range(length))

    def __len__(self) -> int:
        return self.length

    def __contains__(self, item: object) -> bool:
        return True

    def __iter__(self) -> Iterator[int]:
        return self.numbers


@pytest.mark.parametrize("length", [999, 1000, 1001, 2500])
def test_what_has_a_length_may_give_its_items_only_once(length: int) -> None:
    work = Work.forward(TEXT, Progress(length))
    assert [item for chunk in work.chunks() for item in chunk] == numbers(0, length)
    error = fail(Work.forward(TEXT, Progress(length)), ServerGoneError(), 0)
    assert error.remaining is None, "its length need not be true"


@pytest.mark.parametrize("size", [0, 1, 1000, 2500])
def test_backward_chunks_end_with_the_first_items(size: int) -> None:
    for items in (range(size), (number for number in range(size))):
        chunks = list(Work.backward(TEXT, items).chunks())
        assert [item for chunk in reversed(chunks) for item in chunk] == numbers(0, size)
        assert [len(chunk) for chunk in chunks[1:]] == [1000] * max(0, len(chunks) - 1)


def test_backward_chunks_keep_their_inner_order() -> None:
    first, second = Work.backward(TEXT, range(1500)).chunks()
    assert (first, second) == (numbers(1000, 1500), numbers(0, 1000))


@pytest.mark.parametrize("items", ["text", b"bytes", bytearray(b"b"), memoryview(b"m"), 5, None, object()])
@pytest.mark.parametrize("way", [Work.forward, Work.backward])
def test_items_are_an_iterable_and_no_single_text(way: object, items: object) -> None:
    kind = type(items).__name__
    with pytest.raises(TypeError, match=rf"^items must be an iterable of items, such as a list, not {kind}$"):
        way(TEXT, items)  # type: ignore[operator]  # either of the two class methods


def test_an_iterable_of_unknown_length_is_read_as_it_is_sent() -> None:
    read: list[int] = []

    def source() -> Iterator[int]:
        for number in range(3000):
            read.append(number)
            yield number

    chunks = Work.forward(TEXT, source()).chunks()
    assert read == []
    next(chunks)
    assert len(read) == 1000
    next(chunks)
    assert len(read) == 2000


@pytest.mark.parametrize("place", [0, 500, 1999, 2499])
def test_a_wrong_item_of_a_large_list_is_found_before_anything_is_sent(place: int) -> None:
    items: list[str | None] = ["x"] * 2500
    items[place] = None
    for way in (Work.forward, Work.backward):
        with pytest.raises(InvalidItemError, match=r"^item must not be None$"):
            way(TEXT, items)


def test_a_wrong_item_of_a_small_list_is_found_before_anything_is_sent() -> None:
    with pytest.raises(InvalidItemError):
        Work.forward(BrokenCodec(), ["fine", "refused"])


def test_a_wrong_item_of_an_iterator_ends_the_work_with_what_is_known() -> None:
    work = Work.forward(TEXT, (None if number == 1700 else number for number in range(3000)))
    chunks = work.chunks()
    work.done += len(next(chunks))
    with pytest.raises(InvalidItemError) as caught:
        next(chunks)
    assert (caught.value.done, caught.value.unknown, caught.value.remaining) == (1000, 0, None)


def test_an_error_of_the_iterator_itself_is_not_touched() -> None:
    def source() -> Iterator[int]:
        yield 1
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        next(Work.forward(TEXT, source()).chunks())


def test_the_codec_is_that_of_the_caller() -> None:
    assert list(Work.forward(JsonCodec(), [{"a": 1}, [2]]).chunks()) == [[b'{"a":1}', b"[2]"]]


# What is known after a failure


def fail(work: Work, error: RqError, at: int) -> RqError:
    """Lets the chunks before one take effect, and that one fail."""
    for number, chunk in enumerate(work.chunks()):
        if number == at:
            work.failed(error, len(chunk))
            return error
        work.done += len(chunk)
    raise AssertionError("no such chunk")


def short() -> RqError:
    """Gives the error of a chunk of 1,000 that is written, but not confirmed."""
    error = NotEnoughSyncedSlavesError()
    error.done = 1000
    return error


@pytest.mark.parametrize(
    ("kind", "done", "unknown", "remaining"),
    [
        (ServerGoneError, 1000, 0, 1500),
        (OutcomeUnknown, 1000, 1000, 500),
        (short, 2000, 0, 500),
    ],
)
def test_what_is_known_of_a_list(kind: Callable[[], RqError], done: int, unknown: int, remaining: int) -> None:
    error = fail(Work.forward(TEXT, range(2500)), kind(), 1)
    assert (error.done, error.unknown, error.remaining) == (done, unknown, remaining)
    # Backwards, the chunk of 500 goes first.
    error = fail(Work.backward(TEXT, range(2500)), kind(), 1)
    assert (error.done, error.unknown, error.remaining) == (done - 500, unknown, remaining + 500)


@pytest.mark.parametrize(
    ("kind", "done", "unknown"),
    [(ServerGoneError, 1000, 0), (OutcomeUnknown, 1000, 1000), (short, 2000, 0)],
)
def test_what_is_known_of_an_iterator(kind: Callable[[], RqError], done: int, unknown: int) -> None:
    error = fail(Work.forward(TEXT, iter(range(2500))), kind(), 1)
    assert (error.done, error.unknown, error.remaining) == (done, unknown, None)


def test_the_first_chunk_fails() -> None:
    error = fail(Work.forward(TEXT, range(5)), ServerGoneError(), 0)
    assert (error.done, error.unknown, error.remaining) == (0, 0, 5)


def test_done_is_what_the_server_counted() -> None:
    work = Work.forward(TEXT, range(1500))
    next(work.chunks())
    work.done += 3
    error = ServerGoneError()
    work.failed(error, 500)
    assert error.done == 3


@pytest.mark.parametrize(("counted", "done"), [(500, 1500), (400, 1400), (0, 1000)])
def test_what_is_written_but_not_confirmed_counts_as_the_server_counted(counted: int, done: int) -> None:
    error = NotEnoughSyncedSlavesError()
    error.done = counted
    fail(Work.forward(TEXT, range(1500)), error, 1)
    assert (error.done, error.unknown, error.remaining) == (done, 0, 0)
