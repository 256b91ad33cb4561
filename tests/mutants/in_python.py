"""Defects of the Python side: what is sent, when it is sent again, and what its answer is taken for."""

from __future__ import annotations

from tests.mutants.defect import Defect

__all__ = ["DEFECTS"]

_UNIT = "tests/unit"
_REAL = "tests/integration"

_SENDING = [
    Defect(
        "wait-elsewhere",
        "WAIT goes out on another connection, where it confirms what that one wrote: nothing",
        "backends/redis_sync.py",
        "            replies = self._exchange("
        "connection, commands(parcel.calls, durability, in_full=parcel.in_full))\n",
        "            replies = self._exchange(connection, commands(parcel.calls, None, in_full=parcel.in_full))\n"
        "            with self._connection() as other:\n"
        "                replies += self._exchange(other, commands([], durability, in_full=parcel.in_full))\n",
        f"{_REAL}/test_durability.py::test_a_frozen_replica_confirms_nothing_to_eight_threads",
    ),
    Defect(
        "wait-in-a-pipeline-of-its-own",
        "WAIT goes out behind the answer, when the connection may be another one's",
        "backends/redis_async.py",
        "            replies = await self._exchange("
        "connection, commands(parcel.calls, durability, in_full=parcel.in_full))\n",
        "            replies = await self._exchange(connection, commands(parcel.calls, None, in_full=parcel.in_full))\n"
        "            replies += await self._exchange(connection, commands([], durability, in_full=parcel.in_full))\n",
        f"{_UNIT}/test_redis_backends.py::test_calls_and_their_wait_go_in_one_pipeline",
    ),
    Defect(
        "no-wait-in-full",
        "a call whose script was missing is sent in full without its WAIT",
        "backends/redis_sync.py",
        "                return self._attempt(Parcel(calls, tries.in_full), durability)\n",
        "                return self._attempt(Parcel(calls, tries.in_full), None if tries.in_full else durability)\n",
        f"{_REAL}/test_durability.py::test_a_missing_script_is_not_confirmed_falsely",
    ),
    Defect(
        "proof-of-anything",
        "whatever is acknowledged counts as what the last get brought",
        "core/session.py",
        "        return held if items == whole.items else None\n",
        "        return held\n",
        f"{_UNIT}/test_ack_all.py::test_anything_else_is_acknowledged_by_its_items",
    ),
    Defect(
        "proof-fails-silently",
        "what could not be proved is not acknowledged at all",
        "sync/_runner.py",
        "            if many >= 0:\n                return many\n",
        "            return max(many, 0)\n",
        f"{_UNIT}/test_ack_all.py::test_where_something_was_swept_the_rest_is_acknowledged",
    ),
    Defect(
        "proof-beside-a-wait",
        "an ack that is not proved passes for one that too few replicas have",
        "aio/_runner.py",
        "        proof = None if self.setup.durability else inbox.prove(acked)\n",
        "        proof = inbox.prove(acked)\n",
        f"{_UNIT}/test_ack_all.py::test_where_a_get_waits_for_replicas_too_items_are_sent",
    ),
    Defect(
        "too-few-are-enough",
        "one replica less than asked for is enough",
        "core/wire.py",
        "        short = replicas < durability.count\n",
        "        short = replicas < durability.count - 1\n",
        f"{_UNIT}/test_wire.py::test_too_few_replicas",
    ),
    Defect(
        "repeat-needs-no-confirmation",
        "a call that was answered again needs no replica",
        "core/call.py",
        "reply[0] in (Status.DONE, Status.AGAIN)",
        "reply[0] == Status.DONE",
        f"{_UNIT}/test_redis_backends.py::test_a_repeated_call_needs_its_confirmation_too",
    ),
    Defect(
        "lost-is-nothing-done",
        "an error that follows a lost answer says that nothing was done",
        "core/retry.py",
        "        if not self._lost or isinstance(",
        "        if not self._lost or error or isinstance(",
        f"{_UNIT}/test_retry.py::test_what_follows_a_lost_answer_does_not_say_that_nothing_was_done",
    ),
    Defect(
        "partly-run-is-nothing-done",
        "a refusal beside a call that ran says that nothing was done",
        "core/wire.py",
        "    return errors.OutcomeUnknown.after(failure) if partly else failure\n",
        "    return failure\n",
        f"{_UNIT}/test_wire.py::test_a_final_refusal_beside_a_call_that_ran_does_not_say_that_nothing_was_done",
    ),
    Defect(
        "answers-left-unread",
        "a connection goes back to the pool in the middle of an answer",
        "backends/lending_sync.py",
        "                    connection.disconnect()\n",
        "",
        f"{_UNIT}/test_redis_backends.py::test_a_connection_with_unread_answers_is_closed",
    ),
    Defect(
        "cancelled-in-an-answer",
        "a cancelled call leaves its connection in the middle of an answer",
        "backends/lending_async.py",
        "                    await connection.disconnect(nowait=True)\n",
        "",
        f"{_UNIT}/test_redis_backends.py::test_a_cancelled_run_leaves_no_connection_in_the_middle_of_an_answer",
    ),
    Defect(
        "stale-primary",
        "a connection to a primary that became a replica is kept",
        "backends/lending_sync.py",
        "kind is None or issubclass(kind, _redis.KEEPING)",
        "kind is None or kind.__name__ == 'TryLater' or issubclass(kind, _redis.KEEPING)",
        f"{_REAL}/test_defects.py::test_a_demoted_primary_is_left_for_the_new_one",
    ),
]

_CALLING = [
    Defect(
        "retry-as-new",
        "a verdict that got no answer is carried out once more, as another call",
        "sync/_insisting.py",
        "                return self._send_held(member, identity, build)\n",
        "                return self._send_held(member, member.session.lease().next(), build)\n",
        f"{_UNIT}/test_settling.py::test_after_a_failure_the_very_same_is_sent_again",
    ),
    Defect(
        "apart-as-new",
        "an acknowledgement that got no answer beside a get is sent alone as another call",
        "sync/_insisting.py",
        "            return self._insist(member, identity, build, goes_on), NOTHING_FOUND\n",
        "            return self._insist(member, lane.next(), build, goes_on), NOTHING_FOUND\n",
        f"{_UNIT}/test_consumer_turns.py::test_what_gets_no_answer_is_asked_again_alone_and_takes_effect_once",
    ),
    Defect(
        "taken-once-closed",
        "an acknowledgement takes items along for a consumer that has just given all back",
        "aio/_insisting.py",
        "        member.check_open()  # behind the lock: nothing may be taken once it is closed\n",
        "",
        f"{_UNIT}/test_runner.py::test_once_closed_nothing_is_taken_along",
    ),
    Defect(
        "insisted-beside-hand-outs",
        "a call that hides what waits in the inbox may still be under way when that is acknowledged",
        "sync/_insisting.py",
        "        if not held.kept:\n",
        "        if held:\n",
        f"{_UNIT}/test_runner.py::test_hand_outs_wait_for_a_call_that_is_insisted_on_too",
    ),
    Defect(
        "doubtful-reused",
        "a lane whose call may be under way is used again without burning that",
        "sync/_sending.py",
        "session.free if refused and self.backend.doubts == doubts else session.doubt)",
        "session.free)",
        f"{_UNIT}/test_sync_queue.py::test_a_change_without_an_answer_is_burnt_before_its_lane_is_used_again",
    ),
    Defect(
        "resent-not-burnt",
        "a call that was sent more than once and answered may still run late",
        "sync/_sending.py",
        "        if self.backend.doubts == doubts:\n            session.free([lane])\n",
        "        if lane:\n            session.free([lane])\n",
        f"{_UNIT}/test_runner.py::test_a_call_that_was_sent_again_is_burnt_before_its_caller_goes_on",
    ),
    Defect(
        "burn-before-hand-out",
        "a burn goes in front of a hand-out, so that a missing script makes it hand out twice",
        "sync/_runner.py",
        "        if doubtful := member.session.doubtful():\n            self._burn(member, doubtful)\n",
        "",
        f"{_UNIT}/test_pool.py::test_a_server_that_forgot_a_script_hands_out_once",
    ),
    Defect(
        "shared-lane",
        "two threads use a lane at a time",
        "core/session.py",
        "            return self._free.pop()\n",
        "            return self._free[-1]\n",
        f"{_UNIT}/test_session.py::test_threads_never_share_a_lane",
    ),
    Defect(
        "error-loses-its-lane",
        "a later call overwrites what an error may still ask to be confirmed",
        "sync/_sending.py",
        "            # While the error may still ask, no later call may overwrite the lane's record.\n"
        "            finalize(error, session.free, [lane]).atexit = False\n",
        "            session.free([lane])\n",
        f"{_UNIT}/test_sync_queue.py::test_no_later_call_takes_the_lane_of_an_error_that_may_still_ask",
    ),
    Defect(
        "short-session",
        "the server forgets a call while it may still be under way",
        "core/session.py",
        "_TTL_PER_DEADLINE = 4\n",
        "_TTL_PER_DEADLINE = 0.5\n",
        f"{_UNIT}/test_session.py::test_a_session_outlives_its_calls",
    ),
    Defect(
        "fork-is-its-parent",
        "a forked process goes on as its parent, with the same lanes",
        "sync/_sending.py",
        "        process = process_id()\n",
        "        process = 0\n",
        f"{_UNIT}/test_sync_queue.py::test_a_fork_is_another_consumer",
    ),
    Defect(
        "client-clock",
        "a sweep goes by the clock of its client",
        "core/ops.py",
        "(*identity.args(), *_silence(keys, timeout), *_deaths(limits), _SWEPT, now.encode())",
        "(*identity.args(), *_silence(keys, timeout), *_deaths(limits), _SWEPT,\n"
        "         repr(__import__('time').time()).encode())",
        f"{_UNIT}/test_ops.py::TestBuilders::test_the_clock_is_the_servers_unless_told_otherwise",
    ),
    Defect(
        "read-then-sweep",
        "who is silent is read in one call, and swept in the next",
        "sync/_upkeep.py",
        "        return self._run.repeat(lambda keys, identity, _: ops.re_enqueue(keys, identity, seconds, "
        "self._setup.limits))\n",
        "        from dataclasses import replace\n"
        "        silent = [each.consumer for each in self._run.look(ops.in_flight) if each.idle >= seconds]\n"
        "        names = [self._run.member().keys.prefix + name.encode()[:-1] for name in silent]\n"
        "        return sum(\n"
        "            self._run.repeat(\n"
        "                lambda keys, identity, _, name=name: ops.re_enqueue(\n"
        "                    replace(keys, prefix=name), identity, None, self._setup.limits\n"
        "                )\n"
        "            )\n"
        "            for name in names\n"
        "        )\n",
        f"{_UNIT}/test_defects.py::test_who_comes_back_while_a_sweep_is_under_way_keeps_what_it_holds",
    ),
]

_TAKING = [
    Defect(
        "ack-reaches-kept",
        "an ack does not say how much waits on the client's side, and reaches it",
        "core/ops.py",
        'return b"%d" % held.received, b"%d" % held.kept,',
        'return b"%d" % held.received, b"0",',
        f"{_UNIT}/test_sync_queue.py::test_an_ack_does_not_reach_what_waits_in_this_object",
    ),
    Defect(
        "empty-get-confirms",
        "a get that found nothing counts as received",
        "sync/_runner.py",
        "            if found.items:\n                inbox.arrived(identity, found)\n            if len(",
        "            inbox.arrived(identity, found)\n            if len(",
        f"{_UNIT}/test_defects.py::test_a_get_that_found_nothing_and_runs_once_more_strands_nothing",
    ),
    Defect(
        "cancelled-get-drops",
        "what a cancelled get may have brought counts as received, and nobody has it",
        "aio/_runner.py",
        "            found = await self._send(member, ops.get(member.keys, identity, inbox.held, asked, wait))\n",
        "            try:\n"
        "                found = await self._send(member, ops.get(member.keys, identity, inbox.held, asked, wait))\n"
        "            except asyncio.CancelledError:\n"
        "                inbox.held = replace(inbox.held, received=identity.sequence)\n"
        "                raise\n",
        f"{_UNIT}/test_aio_queue.py::test_a_cancelled_get_loses_nothing",
    ),
    Defect(
        "failed-bury-drops",
        "what could not be buried is forgotten",
        "sync/_taking.py",
        "            inbox.restore(spoilt)\n            raise\n",
        "            raise\n",
        f"{_UNIT}/test_sync_queue.py::test_a_bury_that_fails_loses_nothing",
    ),
    Defect(
        "release-not-settled",
        "what a release without an answer may have given back is handed out all the same",
        "sync/_runner.py",
        "        if member.session.returning is None:\n",
        "        if member.session.returning is not self:\n",
        f"{_UNIT}/test_runner.py::test_a_release_without_an_answer_is_sent_again_before_the_inbox_is_used",
    ),
    Defect(
        "close-forgets",
        "a queue is closed and its session removed while a call may be under way",
        "sync/_runner.py",
        "                if member.session.at_rest() and member.doubts == self.backend.doubts:\n",
        "                if member:\n",
        f"{_UNIT}/test_facade.py::test_the_session_outlives_an_object_whose_call_may_be_under_way",
    ),
    Defect(
        "close-forgets-threads",
        "a queue is closed and its session removed while a thread's call is under way",
        "core/session.py",
        "        return len(self._free) == len(self._lanes)\n",
        "        return not self._doubtful\n",
        f"{_UNIT}/test_runner.py::test_a_session_is_not_forgotten_while_a_call_is_under_way",
    ),
    Defect(
        "lost-move-forgotten",
        "a queue does not say that a move whose answer was lost may still bring something",
        "sync/_runner.py",
        "        except OutcomeUnknown as error:\n            moves.lose(move, until)\n",
        "        except OutcomeUnknown as error:\n",
        f"{_UNIT}/test_taking.py::test_an_item_that_a_lost_move_brings_late",
    ),
    Defect(
        "late-move",
        "a move begins though its registration may be over",
        "sync/_runner.py",
        "            if time.monotonic() - asked < LATEST_START:\n",
        "            if asked:\n",
        f"{_UNIT}/test_taking.py::test_a_get_that_took_too_long_does_not_block_before_it_has_asked_again",
    ),
    Defect(
        "chunks-forward",
        "a large batch is rejected in an order that turns its chunks round",
        "sync/_taking.py",
        "            Work.backward(BytesCodec(), raw),\n",
        "            Work.forward(BytesCodec(), raw),\n",
        f"{_UNIT}/test_batch.py::test_more_than_a_chunk_keeps_its_order",
    ),
    Defect(
        "heartbeat-off",
        "a consumer does not renew its lease, so a long handler is swept alive",
        "sync/consumer.py",
        "                if jobs := self._hands.jobs():\n                    self._beat(jobs)\n",
        "                pass\n",
        f"{_UNIT}/test_consumer_leases.py::test_a_heartbeat_keeps_the_lease_however_long_a_handler_runs",
    ),
    Defect(
        "lost-lease-settled",
        "what was lost is acknowledged all the same",
        "aio/consumer.py",
        "        if job.lease.lost:\n            self._supply.let_go(job)\n",
        "        if not job:\n            self._supply.let_go(job)\n",
        f"{_UNIT}/test_consumer_leases.py::test_a_handler_is_told_that_its_lease_is_lost",
    ),
    Defect(
        "ack-in-line",
        "an acknowledgement waits until nobody waits for an item",
        "sync/_supply.py",
        "self._taking.acquire(blocking=False)",
        "self._taking.acquire()",
        f"{_UNIT}/test_consumer_turns.py::test_an_acknowledgement_does_not_wait_for_the_next_item",
    ),
    Defect(
        "stop-unheard",
        "an acknowledgement takes items along although a stop was asked for",
        "aio/_supply.py",
        "        if verdict.fate is Fate.ACK and not self._shift.is_to_stop() and await",
        "        if verdict.fate is Fate.ACK and await",
        f"{_UNIT}/test_consumer_turns.py::test_nothing_is_taken_when_a_stop_was_asked_for",
    ),
    Defect(
        "ahead-without-bound",
        "what can't be acknowledged makes room for more, without end",
        "core/ahead.py",
        "min(self.at_once, self.most - self.held)",
        "self.at_once",
        f"{_UNIT}/test_consumer_ahead.py::test_there_is_a_bound_to_what_is_in_hand_while_nothing_can_be_acknowledged",
    ),
    Defect(
        "tenures-joined",
        "an acknowledgement of a tenure that is over goes with one of the tenure that goes on",
        "core/ahead.py",
        "lambda pair: (pair[1].fate, pair[0].tenure)",
        "lambda pair: (pair[1].fate, ended[0][0].tenure)",
        f"{_UNIT}/test_ahead.py::test_tenures_are_not_joined",
    ),
    Defect(
        "return-as-delivery",
        "what no handler has begun counts as delivered when it goes back at a stop, up to its burial",
        "core/ahead.py",
        "job.raw, NO_LIMITS)",
        "job.raw, type(NO_LIMITS)(1))",
        f"{_UNIT}/test_consumer_ahead.py::test_what_was_not_begun_goes_back_at_once_in_its_order",
    ),
    Defect(
        "lost-begun",
        "a handler is called with what was lost while it waited",
        "sync/_ahead.py",
        "                if job.lease.lost:\n",
        "                if not job:\n",
        f"{_UNIT}/test_consumer_ahead.py::test_what_is_lost_while_it_waits_is_not_begun",
    ),
]

_TELLING = [
    Defect(
        "str-of-bytes",
        "bytes become the text of their repr",
        "core/codec.py",
        "        if isinstance(value, _BYTES):\n            return bytes(value)\n"
        '        return str(value).encode("utf-8", _ERRORS)\n',
        '        return str(value).encode("utf-8", _ERRORS)\n',
        f"{_UNIT}/test_codec.py::test_bytes_do_not_become_their_repr",
    ),
    Defect(
        "codec-error-chained",
        "an item that a codec refuses is quoted by the error's cause",
        "core/codec.py",
        '{type(codec).__name__}: {type(error).__name__}") from None\n',
        '{type(codec).__name__}: {type(error).__name__}") from error\n',
        f"{_UNIT}/test_codec.py::test_an_error_does_not_quote_the_item",
    ),
    Defect(
        "password-told",
        "what a server says of a password is shown",
        "core/wire.py",
        "    if kind is errors.AuthenticationError or code in _RETRYABLE or _quotes(said, calls):\n",
        "    if code in _RETRYABLE or _quotes(said, calls):\n",
        f"{_UNIT}/test_wire.py::test_the_text_of_a_refused_password_is_not_shown",
    ),
    Defect(
        "payload-told",
        "an item that a server quotes is shown",
        "core/wire.py",
        "    if kind is errors.AuthenticationError or code in _RETRYABLE or _quotes(said, calls):\n",
        "    if kind is errors.AuthenticationError or code in _RETRYABLE:\n",
        f"{_UNIT}/test_wire.py::test_what_was_sent_is_not_quoted",
    ),
    Defect(
        "stray-answer-kept",
        "a connection whose answer could not be read is used for the next call",
        "backends/lending_sync.py",
        "kind is None or issubclass(kind, _redis.KEEPING)",
        "kind is None or kind.__name__ == 'OutcomeUnknown' or issubclass(kind, _redis.KEEPING)",
        f"{_UNIT}/test_redis_backends.py::test_what_becomes_of_a_connection",
    ),
    Defect(
        "half-made-connection-used",
        "a connection whose setting up was interrupted stays in the pool",
        "backends/lending_async.py",
        "            await _redis.forget_idle(self._pool)\n",
        "",
        f"{_UNIT}/test_redis_backends.py::test_a_connection_whose_setting_up_was_interrupted_is_not_used",
    ),
    Defect(
        "dead-letter-has-traceback",
        "a dead letter has the traceback of its handler",
        "core/verdicts.py",
        '    return f"{kind}: {message}" if message else kind\n',
        '    return "".join(__import__("traceback").format_exception(error))\n',
        f"{_UNIT}/test_verdicts.py::test_a_reason_tells_nothing_of_the_cause_or_the_place",
    ),
    Defect(
        "url-told",
        "a wrong URL is quoted with its password",
        "backends/urls.py",
        ' URL has a wrong host, port, path or option") from None\n',
        ' URL has a wrong host, port, path or option: {url}") from None\n',
        f"{_UNIT}/test_urls.py::test_a_wrong_url_is_not_quoted",
    ),
]

DEFECTS = [*_SENDING, *_CALLING, *_TAKING, *_TELLING]
