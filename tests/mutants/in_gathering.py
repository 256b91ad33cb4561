"""Defects of what callers do together: who hears what, and what becomes of those that are cancelled."""

from __future__ import annotations

from tests.mutants.defect import Defect

__all__ = ["DEFECTS"]

_UNIT = "tests/unit"

_PIPELINES = [
    Defect(
        "gathered-no-wait",
        "calls that go together are not waited for",
        "core/gathering.py",
        "    return sent + commands((), durability, in_full=False)\n",
        "    return sent\n",
        f"{_UNIT}/test_gathering.py::test_each_parcel_is_sent_as_if_alone_and_one_wait_follows_all",
    ),
    Defect(
        "gathered-mixed-up",
        "a caller hears what another one's call has come to",
        "core/gathering.py",
        "        start = end\n",
        "",
        f"{_UNIT}/test_gathering.py::test_each_caller_has_its_own_results",
    ),
    Defect(
        "gathered-one-error",
        "callers share an exception, and change what it says",
        "core/gathering.py",
        "    twin = copy(error)\n",
        "    twin = error\n",
        f"{_UNIT}/test_joining.py::test_each_is_told_in_its_own_words_that_the_outcome_is_unknown",
    ),
    Defect(
        "gathered-connection-kept",
        "a connection whose answer to one of several callers could not be read is used for the next call",
        "backends/redis_sync.py",
        "                connection.disconnect()\n",
        "                pass\n",
        f"{_UNIT}/test_gathered_runs.py::test_a_connection_is_closed_behind_an_answer_that_is_not_understood",
    ),
    Defect(
        "gathered-no-doubt",
        "a call that goes on without its caller, who was cancelled, is no doubt",
        "backends/redis_async.py",
        "        self.doubts += 1\n\n    async def _fly",
        "        self.doubts += 0\n\n    async def _fly",
        f"{_UNIT}/test_gathered_runs.py::test_a_task_that_is_cancelled_in_a_flight_that_goes_on_is_a_doubt",
    ),
    Defect(
        "gathered-fork",
        "a fork waits for a thread of its parent",
        "backends/redis_sync.py",
        "            self._pid, self._flights = os.getpid(), {}\n",
        "            self._pid = os.getpid()\n",
        f"{_UNIT}/test_gathered_runs.py::test_a_fork_does_not_wait_for_threads_of_its_parent",
    ),
    Defect(
        "flight-waits-for-ever",
        "callers wait for a flight that is late, however long it takes",
        "backends/gather_async.py",
        "            here.late = here.loop.call_later(self._patience, self._depart, here)\n        try:\n",
        "            here.late = None\n        try:\n",
        f"{_UNIT}/test_flights.py::test_nobody_waits_for_a_flight_that_is_late",
    ),
    Defect(
        "flight-leader-silent",
        "a thread that is interrupted while it sends for others leaves them waiting",
        "backends/gather_sync.py",
        "        except BaseException:\n            self._disappoint(crew)\n            raise\n",
        "        except BaseException:\n            raise\n",
        f"{_UNIT}/test_flights.py::test_the_others_are_told_when_the_thread_that_flies_for_them_fails",
    ),
    Defect(
        "lent-after-a-fault",
        "behind a connection that failed, others of the same time are lent without a look",
        "backends/lending_sync.py",
        "                    self.forget()  # what befell it may have befallen the others\n",
        "                    pass\n",
        f"{_UNIT}/test_lending.py::test_what_befalls_one_may_have_befallen_all",
    ),
    Defect(
        "lent-though-closed",
        "a connection that the server has closed is lent again, so that a refused login is an unknown outcome",
        "backends/lending_sync.py",
        " and _redis.is_quiet(connection)",
        "",
        f"{_UNIT}/test_lending.py::test_what_is_not_quiet_is_looked_at_by_the_pool",
    ),
    Defect(
        "lent-in-another-loop",
        "a connection of one event loop is lent in another",
        "backends/lending_async.py",
        " and loop is asyncio.get_running_loop()",
        "",
        f"{_UNIT}/test_lending.py::test_what_was_kept_in_an_event_loop_is_not_lent_in_another",
    ),
]

_TOGETHER = [
    Defect(
        "promise-not-kept",
        "what is promised to one task is handed out to another",
        "core/session.py",
        "        return max(0, len(self._items) - self._promised)\n",
        "        return len(self._items)\n",
        f"{_UNIT}/test_session.py::test_what_is_promised_counts_as_returned_and_is_the_oldest",
    ),
    Defect(
        "promise-for-ever",
        "the share of a task that was cancelled stays promised to it",
        "aio/_joining.py",
        "            self._inbox.redeem(outcome.size)\n",
        "",
        f"{_UNIT}/test_joining.py::test_the_share_of_a_task_that_was_cancelled_before_it_came_is_handed_out_next",
    ),
    Defect(
        "release-forgets-all",
        "a release forgets what a task that is cancelled meanwhile had been promised",
        "aio/_runner.py",
        "        session.inbox.forget(max(0, kept - left))\n        session.returning = None\n        if",
        "        session.inbox.forget()\n        session.returning = None\n        if",
        f"{_UNIT}/test_joining.py::test_what_is_promised_while_a_release_is_under_way_is_not_forgotten",
    ),
    Defect(
        "joint-record-freed",
        "the record of a joint add may be overwritten while one of its errors may ask about it",
        "sync/_joining.py",
        "    part._confirm_earlier = short  # while this one lives, the call's record stays\n",
        "    part._confirm = lambda: None\n",
        f"{_UNIT}/test_joining.py::test_the_record_of_a_joint_add_stays_while_any_of_its_errors_may_ask",
    ),
    Defect(
        "joint-full-for-all",
        "whoever comes with one that does not fit in is told that nothing was added",
        "core/joining.py",
        "    return [QueueFull() if many < 0 else many for many in counts]\n",
        "    return [QueueFull() if min(counts) < 0 else many for many in counts]\n",
        f"{_UNIT}/test_joining.py::test_the_one_that_does_not_fit_in_is_refused_alone",
    ),
    Defect(
        "joint-ack-counts-all",
        "who acknowledges together with others is told of items that nobody held",
        "core/lua/ack_together.lua",
        "for item, many in pairs(missing) do held[item] = held[item] - many end\n",
        "",
        f"{_UNIT}/test_ack_together.py::test_it_is_as_if_they_came_one_after_another",
    ),
    Defect(
        "joint-ack-sees-all",
        "an ack for several callers reaches what none of them has seen",
        "core/lua/ack_together.lua",
        "find_held(processing, hidden, FIRST)",
        "find_held(processing, 0, FIRST)",
        f"{_UNIT}/test_joining.py::test_an_ack_for_several_leaves_what_no_caller_has_seen",
    ),
]

DEFECTS = [*_PIPELINES, *_TOGETHER]
