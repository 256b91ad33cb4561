from __future__ import annotations

from typing import Any

import pytest

from pyrq.core import errors, ops, session_ops
from pyrq.core.limits import NO_LIMITS
from pyrq.core.options import Durability, Fsync, Replicas
from pyrq.core.session import Identity
from pyrq.core.waiting import NO_WAIT
from pyrq.core.wire import (
    NeedsSource,
    Refusal,
    TryLater,
    check_server,
    commands,
    error_of,
    move_commands,
    moved,
    results,
    trial,
    unblock,
)
from tests.unit.helpers import HELD, KEYS, ME

ADD = ops.add(KEYS, ME, [b"x", b"y"], NO_LIMITS)
ACK = ops.ack(KEYS, ME, HELD, [b"x"])
COUNT = ops.count(KEYS)
BURN = session_ops.burn(KEYS, [Identity(b"3", 4, 120)])
NOSCRIPT = Refusal("NOSCRIPT No matching script. Please use EVAL.")

SHA = "0123456789abcdef0123456789abcdef01234567"
SIX = f"ERR Error running script (call to f_{SHA}): @user_script:9: "  # Redis 6.2 wraps an error in a script
SEVEN = f" script: {SHA}, on @user_script:9."  # Redis 7 appends where it happened
RETRIED = [
    ("READONLY You can't write against a read only replica.", errors.ReadOnlyReplicaError),
    (f"{SIX}-READONLY You can't write against a read only replica.", errors.ReadOnlyReplicaError),
    (f"{SIX}@user_script: 9: -READONLY You can't write against a read only replica.", errors.ReadOnlyReplicaError),
    (f"READONLY You can't write against a read only replica.{SEVEN}", errors.ReadOnlyReplicaError),
    ("NOREPLICAS Not enough good replicas to write.", errors.NotEnoughReplicasError),
    (f"NOREPLICAS Not enough good replicas to write.{SEVEN}", errors.NotEnoughReplicasError),
    (
        "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands "
        "that may modify the data set are disabled.",
        errors.ServerConfigError,
    ),
    ("LOADING Redis is loading the dataset in memory", errors.ServerBusyError),
    ("LOADING Valkey is loading the dataset in memory", errors.ServerBusyError),
    ("BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", errors.ServerBusyError),
    ("BUSY Valkey is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.", errors.ServerBusyError),
    (
        "UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)",
        errors.ServerBusyError,
    ),
    ("MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.", errors.ServerBusyError),
    ("CLUSTERDOWN The cluster is down", errors.ServerBusyError),
    ("TRYAGAIN Multiple keys request during rehashing of slot", errors.ServerBusyError),
    ("MOVED 3999 127.0.0.1:6381", errors.ServerBusyError),
    ("ASK 3999 127.0.0.1:6381", errors.ServerBusyError),
]
FINAL = [
    ("WRONGTYPE Operation against a key holding the wrong kind of value", errors.WrongTypeError),
    (f"{SIX}WRONGTYPE Operation against a key holding the wrong kind of value", errors.WrongTypeError),
    (f"WRONGTYPE Operation against a key holding the wrong kind of value{SEVEN}", errors.WrongTypeError),
    ("OOM command not allowed when used memory > 'maxmemory'.", errors.ServerFullError),
    (f"{SIX}-OOM command not allowed when used memory > 'maxmemory'.", errors.ServerFullError),
    (f"{SIX}@user_script: 9: -OOM command not allowed when used memory > 'maxmemory'.", errors.ServerFullError),
    (f"OOM command not allowed when used memory > 'maxmemory'.{SEVEN}", errors.ServerFullError),
    ("NOPERM this user has no permissions to run the 'evalsha' command", errors.PermissionDeniedError),
    ("NOPERM User pyrq has no permissions to run the 'evalsha' command", errors.PermissionDeniedError),
    ("NOPERM No permissions to access a key", errors.PermissionDeniedError),
    (
        f"{SIX}The user executing the script can't run this command or subcommand",
        errors.PermissionDeniedError,
    ),
    (f"ERR The user executing the script can't run this command or subcommand{SEVEN}", errors.PermissionDeniedError),
    (
        "ERR The user executing the script can't access at least one of the keys mentioned in the command "
        f"arguments{SEVEN}",
        errors.PermissionDeniedError,
    ),
    (
        f"ERR ACL failure in script: User u has no permissions to run the 'lpush' command{SEVEN}",
        errors.PermissionDeniedError,
    ),
    ("NOAUTH Authentication required.", errors.AuthenticationError),
    ("WRONGPASS invalid username-password pair or user is disabled.", errors.AuthenticationError),
    ("ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.", errors.ServerConfigError),
    ("ERR unknown command 'WAITAOF', with args beginning with: '1' '0' ", errors.ServerTooOldError),
    (f"{SIX}Unknown Redis command called from Lua script", errors.ServerTooOldError),
    (f"ERR Unknown Redis command called from script{SEVEN}", errors.ServerTooOldError),
    ("ERR value is not an integer or out of range", errors.ServerRefusedError),
    ("BUSYKEY Target key name already exists.", errors.ServerRefusedError),
    ("Some text of nobody knows whom", errors.ServerRefusedError),
    ("", errors.ServerRefusedError),
]


# Commands


def test_scripts_go_by_name_or_in_full() -> None:
    assert commands([ADD, COUNT], None, in_full=False) == [
        (b"EVALSHA", ADD.script.sha, b"3", *ADD.keys, *ADD.args),
        (b"EVALSHA", COUNT.script.sha, b"1", b"orders"),
    ]
    assert commands([ADD], None, in_full=True) == [(b"EVAL", ADD.script.source, b"3", *ADD.keys, *ADD.args)]


@pytest.mark.parametrize(
    ("durability", "wait"),
    [
        (Replicas(2, 300), (b"WAIT", b"2", b"300")),
        (Fsync(1, 2, 400), (b"WAITAOF", b"1", b"2", b"400")),
        (Fsync(0, 1), (b"WAITAOF", b"0", b"1", b"100")),
    ],
)
@pytest.mark.parametrize("in_full", [True, False])
def test_one_wait_goes_behind_all_calls(durability: Durability, wait: tuple[bytes, ...], in_full: bool) -> None:
    sent = commands([BURN, ADD], durability, in_full=in_full)
    assert sent == [*commands([BURN, ADD], None, in_full=in_full), wait]


def test_a_trial_is_answered_at_once() -> None:
    assert trial(Replicas(2, 300)) == (b"WAIT", b"0", b"1")
    assert trial(Fsync(1, 2, 300)) == (b"WAITAOF", b"1", b"0", b"1")
    assert trial(Fsync(0, 2, 300)) == (b"WAITAOF", b"0", b"0", b"1")


@pytest.mark.parametrize(("seconds", "text"), [(5.0, b"5.000"), (0.005, b"0.005"), (1.23456, b"1.235")])
def test_a_move_says_first_who_asks(seconds: float, text: bytes) -> None:
    assert move_commands(b"from", b"to", seconds) == [
        (b"CLIENT", b"ID"),
        (b"BLMOVE", b"from", b"to", b"RIGHT", b"LEFT", text),
    ]


def test_a_blocked_connection_is_woken_by_its_number() -> None:
    assert unblock(17) == (b"CLIENT", b"UNBLOCK", b"17")


@pytest.mark.parametrize(("reply", "expected"), [(b"item", True), (b"", True), (None, False)])
def test_what_a_move_brought(reply: bytes | None, expected: bool) -> None:
    assert moved(reply) is expected


@pytest.mark.parametrize(("text", "kind"), [*RETRIED, *FINAL])
def test_a_refused_move(text: str, kind: type[errors.RqError]) -> None:
    # A move is sent once: what may pass is for the caller to judge.
    with pytest.raises(errors.RqError) as caught:
        moved(Refusal(text))
    assert type(caught.value) is kind


# Results


def test_a_full_queue_is_told_whatever_was_waited_for() -> None:
    for durability, answers in ((None, [[0, -1]]), (Replicas(1), [[0, -1], 0])):
        with pytest.raises(errors.QueueFull):
            results([ADD], durability, answers)


def test_a_result_for_each_call() -> None:
    assert results([BURN, ADD, COUNT], None, [1, [1, 2], 7]) == [1, 2, 7]


def test_a_repeated_call_gives_its_answer_again() -> None:
    assert results([ADD], None, [[2, 2]]) == [2]


def test_a_stale_call() -> None:
    with pytest.raises(errors.OutcomeUnknown):
        results([BURN, ADD], None, [1, [3]])


@pytest.mark.parametrize("replies", [[NOSCRIPT, [1, 2]], [1, NOSCRIPT], [Refusal(FINAL[0][0]), NOSCRIPT]])
def test_a_missing_script_means_everything_again(replies: list[Any]) -> None:
    with pytest.raises(NeedsSource):
        results([BURN, ADD], None, replies)


def test_a_missing_script_of_valkey() -> None:
    with pytest.raises(NeedsSource):
        results([ADD], Replicas(1), [Refusal("NOSCRIPT No matching script."), 0])


@pytest.mark.parametrize(("text", "kind"), RETRIED)
def test_what_is_tried_again_later(text: str, kind: type[errors.RqError]) -> None:
    with pytest.raises(TryLater) as caught:
        results([BURN, ADD], None, [1, Refusal(text)])
    assert type(caught.value.error) is kind


@pytest.mark.parametrize(("text", "kind"), FINAL)
def test_what_is_not(text: str, kind: type[errors.RqError]) -> None:
    with pytest.raises(errors.RqError) as caught:
        results([BURN, ADD], None, [1, Refusal(text)])
    assert type(caught.value) is kind


def test_the_first_refusal_counts() -> None:
    with pytest.raises(errors.WrongTypeError):
        results([BURN, ADD], None, [Refusal("WRONGTYPE x"), Refusal("OOM x")])


# Confirmation


@pytest.mark.parametrize(
    ("durability", "reply"),
    [(Replicas(2), 2), (Replicas(2), 5), (Fsync(1, 1), [1, 1]), (Fsync(0, 2), [1, 3]), (Fsync(), [1, 0])],
)
@pytest.mark.parametrize("status", [1, 2])
def test_enough_confirmed(durability: Durability, reply: Any, status: int) -> None:
    assert results([ADD], durability, [[status, 2], reply]) == [2]


@pytest.mark.parametrize("status", [1, 2])
@pytest.mark.parametrize("confirmed", [0, 1])
def test_too_few_replicas(status: int, confirmed: int) -> None:
    with pytest.raises(errors.NotEnoughSyncedSlavesError) as caught:
        results([BURN, ADD], Replicas(2, 300), [1, [status, 2], confirmed])
    assert (caught.value.confirmed, caught.value.wanted) == (confirmed, 2)
    assert f"only {confirmed} of 2 replicas confirmed within 300 ms" in str(caught.value)
    assert "The items are written" in str(caught.value)
    assert caught.value.done == 2, "what the call gave is known all the same"


@pytest.mark.parametrize(("local", "replicas"), [(0, 2), (1, 1), (0, 0)])
def test_too_few_disks(local: int, replicas: int) -> None:
    with pytest.raises(errors.NotEnoughSyncedSlavesError) as caught:
        results([ADD], Fsync(1, 2, 300), [[1, 2], [local, replicas]])
    assert f"only {local} of 1 local and {replicas} of 2 replica disks confirmed within 300 ms" in str(caught.value)
    assert (caught.value.confirmed, caught.value.wanted) == (replicas, 2)


@pytest.mark.parametrize("durability", [Replicas(3), Fsync(1, 3)])
def test_a_refused_wait_does_not_hide_that_the_items_are_written(durability: Durability) -> None:
    with pytest.raises(errors.NotEnoughSyncedSlavesError) as caught:
        results([ADD], durability, [[1, 2], Refusal("ERR WAIT cannot be used with replica instances.")])
    assert str(caught.value).startswith(
        "The items are written, but whether replicas or disks have them could not be asked"
    )
    assert "WAIT cannot be used with replica instances" in str(caught.value)
    assert (caught.value.confirmed, caught.value.wanted) == (0, 3)


@pytest.mark.parametrize("wait", [0, [0, 0], Refusal("ERR no")])
def test_what_has_written_nothing_needs_no_confirmation(wait: Any) -> None:
    durability = Fsync() if isinstance(wait, list) else Replicas(1)
    assert results([BURN, ACK], durability, [1, [0, 0], wait]) == [1, 0]
    assert results([COUNT], durability, [3, wait]) == [3]


def test_a_refused_call_comes_before_its_wait() -> None:
    with pytest.raises(errors.ServerFullError):
        results([ADD], Replicas(1), [Refusal("OOM full"), 0])


@pytest.mark.parametrize("reply", [None, b"2", True, [1, 1, 1], [b"1", 1], [], {}, "2", 2.0])
@pytest.mark.parametrize("durability", [Replicas(2, 300), Fsync(1, 2, 300)])
def test_a_wait_whose_answer_cannot_be_read_confirms_nothing(durability: Durability, reply: Any) -> None:
    with pytest.raises(errors.NotEnoughSyncedSlavesError) as caught:
        results([ADD], durability, [[1, 2], reply])
    assert (caught.value.done, caught.value.confirmed, caught.value.wanted) == (2, 0, 2)


# Answers that can't be read

STRANGE: list[Any] = [
    None,
    7,
    b"\x01\x02",
    "12",
    [],
    [7, 2],
    [b"1", 2],
    [True, 2],
    [1],
    [1, b"2"],
    {0: 1},
    [[1, 2]],
    1.0,
]


@pytest.mark.parametrize("reply", STRANGE)
def test_a_call_whose_answer_cannot_be_read_may_have_run(reply: Any) -> None:
    with pytest.raises(errors.OutcomeUnknown) as caught:
        results([BURN, ADD], Replicas(1), [1, reply, 1])
    assert type(caught.value.__cause__) is errors.ServerRefusedError
    assert "does not understand" in str(caught.value.__cause__)
    assert caught.value.__cause__.__context__ is None, "what failed there may quote the answer"


@pytest.mark.parametrize("reply", [None, b"1", [1], True, "1"])
def test_a_call_behind_an_answer_that_cannot_be_read_may_have_run(reply: Any) -> None:
    with pytest.raises(errors.OutcomeUnknown):
        results([BURN, ADD], None, [reply, [1, 2]])


@pytest.mark.parametrize("reply", [None, b"1", [1], True, "1"])
def test_a_look_whose_answer_cannot_be_read_has_changed_nothing(reply: Any) -> None:
    with pytest.raises(errors.ServerRefusedError, match="does not understand") as caught:
        results([COUNT], None, [reply])
    assert caught.value.__context__ is None, "what failed there may quote the answer"


@pytest.mark.parametrize("reply", STRANGE)
def test_beside_a_refusal_an_answer_that_cannot_be_read_may_mean_that_something_ran(reply: Any) -> None:
    with pytest.raises(TryLater) as caught:
        results([ACK, ADD], None, [reply, Refusal("LOADING x")])
    assert caught.value.partly


# Errors


@pytest.mark.parametrize(("text", "kind"), RETRIED + FINAL)
def test_the_class_says_what_to_do(text: str, kind: type[errors.RqError]) -> None:
    error = error_of(Refusal(text))
    assert type(error) is kind
    assert str(error).startswith(kind._default_message())


@pytest.mark.parametrize("quote", ["'", "`"])
@pytest.mark.parametrize("comma", [",", ""])
def test_arguments_are_never_quoted(quote: str, comma: str) -> None:
    text = f"ERR unknown command {quote}EVALSHA{quote}{comma} with args beginning with: 'secret' 'more\nsecret' "
    error = error_of(Refusal(text))
    assert "secret" not in str(error)
    assert "beginning" not in str(error)
    assert "EVALSHA" in str(error)


ITEM = b"4111 1111 1111 1111"
CARD = ops.add(KEYS, ME, [b"x", ITEM], NO_LIMITS)


@pytest.mark.parametrize(
    "text",
    [
        "ERR can't store 4111 1111 1111 1111",
        "ERR can't store 4111 1111 1...",
        "ERR '11 1111 1111 11' can't be stored",
        "OOM no room for 4111 1111 1111 1111",
        "WRONGTYPE 4111 1111 1111 1111",
    ],
)
def test_what_was_sent_is_not_quoted(text: str) -> None:
    error = error_of(Refusal(text), [CARD])
    assert "11 11" not in str(error)
    assert Refusal(text).code in str(error)
    for replies in ([1, Refusal(text)], [Refusal(text), [1, 2]]):
        with pytest.raises(errors.RqError) as caught:
            results([BURN, CARD], None, replies)
        assert "11 11" not in f"{caught.value} {caught.value.__cause__}"
    with pytest.raises(errors.NotEnoughSyncedSlavesError) as short:
        results([CARD], Replicas(1), [[1, 2], Refusal(text)])
    assert "11 11" not in str(short.value)


def test_the_text_of_a_refused_password_is_not_shown() -> None:
    error = error_of(Refusal("WRONGPASS no user has the password open-sesame"))
    assert str(error) == f"{errors.AuthenticationError()} [WRONGPASS]"


def test_what_quotes_nothing_is_shown() -> None:
    key = f"NOPERM No permissions to access the key '{KEYS.processing.decode()}' of me-1"
    calls = [ops.get(KEYS, ME, HELD, 1, NO_WAIT), ops.add(KEYS, ME, [b"ERR", b"x", b"2"], NO_LIMITS)]
    assert f"[{key}]" in str(error_of(Refusal(key), calls))
    assert "[ERR x 2]" in str(error_of(Refusal("ERR x 2"), calls)), "too short to be told from what it says itself"


def test_a_quotation_is_not_looked_for_in_a_large_call() -> None:
    calls = [ops.add(KEYS, ME, 300 * [b"y" * 1000], NO_LIMITS)]
    assert "quotes" in str(error_of(Refusal("ERR anything"), calls))


@pytest.mark.parametrize("mark", ["\n", "\x1b[31m", "\x00", "\u202e", "\udcff"])
def test_a_text_is_one_line_of_what_can_be_printed(mark: str) -> None:
    assert str(error_of(Refusal(f"ERR so{mark}so"))).endswith(f"[ERR so?{mark[1:]}so]")


def test_a_long_text_is_cut() -> None:
    assert len(str(error_of(Refusal("ERR " + "x" * 10_000)))) < 400


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("BUSYGROUP Consumer Group name already exists", ""),
        ("ERR ASKING is not on", ""),
        ("OOMPH", ""),
        ("OOM x", "OOM"),
    ],
)
def test_a_code_is_a_whole_word(text: str, code: str) -> None:
    assert Refusal(text).code == code


def test_a_code_is_no_word_of_a_sentence() -> None:
    assert Refusal("ERR do not ASK me about OOM or BUSY").code == ""


# The server's version


def flat(**facts: bytes) -> list[Any]:
    return [part for name, value in facts.items() for part in (name.encode(), value)]


@pytest.mark.parametrize(
    ("server", "version"),
    [(b"redis", b"6.2.0"), (b"redis", b"7.0.15"), (b"redis", b"10.0.1"), (b"valkey", b"7.2.4"), (b"valkey", b"9.1.2")],
)
def test_a_server_that_is_new_enough(server: bytes, version: bytes) -> None:
    check_server({b"server": server, b"version": version, b"modules": []}, Replicas(1))
    check_server([*flat(server=server, version=version), b"modules", []], None)


@pytest.mark.parametrize(
    ("server", "version"), [(b"redis", b"6.0.16"), (b"redis", b"5.0.3"), (b"redis", b""), (b"valkey", b"7.0.0")]
)
def test_a_server_that_is_too_old(server: bytes, version: bytes) -> None:
    name = f"{server.decode()} {version.decode()}"
    for hello in ({b"server": server, b"version": version}, flat(server=server, version=version)):
        with pytest.raises(errors.ServerTooOldError, match=f"needs Redis 6.2 or newer.* This is {name}"):
            check_server(hello, None)


@pytest.mark.parametrize(
    "hello",
    [
        *(None, 7, b"PONG", [7], [b"server"], [[], []], [[1], 2]),
        {b"server": 7},
        {b"version": None},
        {b"server": b"\xff"},
        {b"version": "7.0"},
        {b"server": []},
    ],
)
def test_a_hello_that_cannot_be_read(hello: Any) -> None:
    with pytest.raises((errors.ServerRefusedError, errors.ServerTooOldError)) as caught:
        check_server(hello, None)
    assert caught.value.__suppress_context__ or isinstance(caught.value, errors.ServerTooOldError)


def test_a_server_is_named_with_none_of_its_own_words() -> None:
    with pytest.raises(errors.ServerTooOldError) as caught:
        check_server({b"server": b"redis", b"version": b"5.0 for open-sesame" + 100 * b"9"}, None)
    assert str(caught.value).endswith("This is redis 5.099999999999999999.")
    check_server({b"server": b"open-sesame", b"version": 5000 * b"9"}, Fsync())


@pytest.mark.parametrize("hello", [{}, [], b"OK", {b"server": b"redis"}, 5, None])
def test_a_server_that_does_not_say_what_it_is(hello: Any) -> None:
    with pytest.raises(errors.ServerRefusedError, match="does not understand"):
        check_server(hello, None)


def test_a_server_of_another_make_is_given_a_try() -> None:
    check_server({b"server": b"dragonfly", b"version": b"1.0.0"}, Fsync())


@pytest.mark.parametrize("version", [b"6.2.14", b"7.0.15"])
def test_fsync_needs_a_newer_one(version: bytes) -> None:
    with pytest.raises(
        errors.ServerTooOldError, match=f"Fsync needs Redis 7.2 or newer.*This is redis {version.decode()}"
    ):
        check_server({b"server": b"redis", b"version": version}, Fsync())
    check_server({b"server": b"redis", b"version": b"7.2.0"}, Fsync())


def test_a_server_without_hello_is_too_old() -> None:
    with pytest.raises(errors.ServerTooOldError):
        check_server(Refusal("ERR unknown command `HELLO`, with args beginning with: "), None)


def test_a_refused_hello() -> None:
    with pytest.raises(errors.AuthenticationError):
        check_server(Refusal("NOAUTH HELLO must be called with the client already authenticated"), None)
    with pytest.raises(TryLater) as caught:
        check_server(Refusal("BUSY Redis is busy running a script."), None)
    assert isinstance(caught.value.error, errors.ServerBusyError)


# What ran beside a refusal


def test_a_missing_script_says_whether_another_call_ran() -> None:
    with pytest.raises(NeedsSource) as caught:
        results([BURN, ADD], None, [Refusal("NOSCRIPT x"), [1, 1]])
    assert caught.value.partly
    with pytest.raises(NeedsSource) as caught:
        results([BURN, ADD], None, [1, Refusal("NOSCRIPT x")])
    assert not caught.value.partly


def test_a_passing_refusal_says_whether_another_call_ran() -> None:
    with pytest.raises(TryLater) as caught:
        results([BURN, ADD], None, [Refusal("BUSY x"), [1, 1]])
    assert caught.value.partly


def test_a_final_refusal_beside_a_call_that_ran_does_not_say_that_nothing_was_done() -> None:
    with pytest.raises(errors.OutcomeUnknown) as caught:
        results([BURN, ADD], None, [Refusal("WRONGTYPE x"), [1, 1]])
    assert isinstance(caught.value.__cause__, errors.WrongTypeError)
