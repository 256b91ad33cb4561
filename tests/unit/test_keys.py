from __future__ import annotations

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pyrq.core.keys import Keys, Kind, check_label, check_name

SUFFIXES = ("-timeouts", "-unique", "-retry-count", "-retry-timeout", "-processing")

plain = st.text(st.characters(categories=["L", "N"]), min_size=1, max_size=40)


@pytest.mark.parametrize(
    "name",
    [
        "orders",
        "o",
        "{orders}",
        "a{b}c{d}",
        "orders:eu.1_x",
        "with space",
        "äöü",
        "orders-timeouts-2",
        "processing",
        "a-unique.",
        "n" * 200,
        "é" * 100,
    ],
)
def test_a_name_is_allowed(name: str) -> None:
    assert check_name("name", name) == name


@pytest.mark.parametrize(
    "name",
    [
        "",
        "n" * 201,
        "é" * 101,
        "a/b",
        "/",
        "{",
        "}",
        "{}",
        "a{}b",
        "{a",
        "a}",
        "{{a}}",
        "{a{b}}",
        "}a{",
        "a-processing-b",
        "-processing-",
        *SUFFIXES,
        *("orders" + suffix for suffix in SUFFIXES),
        "a\nb",
        "a\n",
        "\x00",
        "a\x7f",
        "a\x85b",
        "a\u2028b",
        "a\u2029",
        "\ud800",
        "a\udc80",
    ],
)
def test_a_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"^queue_name must be 1 to 200 bytes of text without '/'") as caught:
        check_name("queue_name", name)
    for suffix in SUFFIXES:
        assert repr(suffix) in str(caught.value)


@pytest.mark.parametrize("name", [None, b"orders", 5, ["orders"]])
def test_a_name_is_text(name: object) -> None:
    with pytest.raises(TypeError, match=rf"^name must be text .*, not {type(name).__name__}$"):
        check_name("name", name)


@given(plain)
def test_letters_and_digits_make_a_name(name: str) -> None:
    assert check_name("name", name) == name


@given(plain, st.sampled_from(["/", "{", "}", "{}", "-processing-", "\n", "\x1f", "\u2028", "\ud900"]), plain)
def test_one_wrong_part_spoils_a_name(before: str, wrong: str, after: str) -> None:
    with pytest.raises(ValueError, match="must be"):
        check_name("name", before + wrong + after)


@given(st.text(max_size=12))
@settings(deadline=None)
def test_what_is_allowed_is_as_the_rule_says(name: str) -> None:
    try:
        check_name("name", name)
    except ValueError:
        return
    assert 1 <= len(name.encode()) <= 200
    assert "/" not in name
    assert name.isprintable() or not any(ord(letter) < 32 or 127 <= ord(letter) < 160 for letter in name)
    depth = 0
    for letter in name:
        depth += {"{": 1, "}": -1}.get(letter, 0)
        assert depth in (0, 1)
    assert depth == 0
    assert "{}" not in name


@given(st.text(st.sampled_from("a{}"), max_size=10))
def test_the_rule_of_braces(text: str) -> None:
    assume(text)
    left = text
    while (start := left.find("{")) >= 0 and (end := left.find("}", start)) > start + 1:
        if "{" in left[start + 1 : end] or "}" in left[:start]:
            break
        left = left[end + 1 :]
    balanced = "{" not in left and "}" not in left
    if balanced:
        assert check_name("name", text) == text
    else:
        with pytest.raises(ValueError, match="braces"):
            check_name("name", text)


@pytest.mark.parametrize("label", ["me", "host[12]", "a-processing-b", "x" * 100, "é" * 50, "a b"])
def test_a_label_is_allowed(label: str) -> None:
    assert check_label("client_id", label) == label


@pytest.mark.parametrize("label", ["", "x" * 101, "é" * 51, "a/b", "{", "a}", "a\tb", "a\n", "\u2028", "\ud800"])
def test_a_label_is_refused(label: str) -> None:
    with pytest.raises(ValueError, match=r"^client_id must be 1 to 100 bytes of text without '/', braces or control"):
        check_label("client_id", label)


@pytest.mark.parametrize("label", [b"me", 1, None])
def test_a_label_is_text(label: object) -> None:
    with pytest.raises(TypeError, match=rf"^client_id must be text .*, not {type(label).__name__}$"):
        check_label("client_id", label)


@pytest.mark.parametrize("kind", Kind)
def test_the_layout_to_the_letter(kind: Kind) -> None:
    assert Keys.of("orders", "host[1]-abc", kind) == Keys(
        name="orders",
        kind=kind,
        client_id="host[1]-abc",
        queue=b"orders",
        processing=b"orders-processing-host[1]-abc",
        timeouts=b"orders-timeouts",
        consumers=b"orders/consumers",
        session=b"orders/session/host[1]-abc",
        landing=b"orders/landing/host[1]-abc",
        delayed=b"orders/delayed",
        deliveries=b"orders/deliveries",
        dead=b"orders/dead",
        meta=b"orders/meta",
        unique=b"orders-unique",
        retry_count=b"orders-retry-count",
        retry_timeout=b"orders-retry-timeout",
        repair=b"orders/repair/host[1]-abc",
        prefix=b"orders-processing-",
        landing_prefix=b"orders/landing/",
        consumer=b"host[1]-abc",
    )


def test_keys_are_those_of_a_plain_queue_unless_told_otherwise() -> None:
    assert Keys.of("orders", "me") == Keys.of("orders", "me", Kind.PLAIN)
    assert len({Keys.of("orders", "me", kind) for kind in Kind}) == 3


@given(plain, st.sampled_from(["unique", "retry_count", "retry_timeout", "timeouts"]))
def test_no_name_is_that_of_a_key_of_the_older_layout(name: str, key: str) -> None:
    with pytest.raises(ValueError, match="not ending in"):
        check_name("name", getattr(Keys.of(name, "me"), key).decode())


def test_the_layout_of_a_name_that_is_not_ascii() -> None:
    keys = Keys.of("{ö}", "ü")
    assert keys.processing == "{ö}-processing-ü".encode()
    assert keys.session == "{ö}/session/ü".encode()
    assert keys.landing == "{ö}/landing/ü".encode()
    assert keys.unique == "{ö}-unique".encode()
    assert keys.repair == "{ö}/repair/ü".encode()


@given(plain, plain, plain)
def test_keys_of_different_queues_never_meet(one: str, other: str, client: str) -> None:
    assume(one != other)

    def all_of(name: str) -> set[bytes]:
        keys = Keys.of(name, client)
        own = {keys.queue, keys.processing, keys.timeouts, keys.consumers, keys.session, keys.dead, keys.repair}
        own |= {keys.unique, keys.retry_count, keys.retry_timeout}
        own |= {keys.landing, keys.delayed, keys.deliveries, keys.meta}
        assert len(own) == 14
        return own

    assert not all_of(one) & all_of(other)


@given(plain, plain)
def test_a_landing_list_is_found_by_its_consumer(name: str, client: str) -> None:
    keys = Keys.of(name, client)
    assert keys.landing == keys.landing_prefix + keys.consumer
    assert keys.processing == keys.prefix + keys.consumer
