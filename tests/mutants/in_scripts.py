"""Defects of the Lua scripts: what the server would do wrong."""

from __future__ import annotations

from tests.mutants.defect import Defect

__all__ = ["DEFECTS"]

_UNIT = "tests/unit"
_REAL = "tests/integration"

_CALLS = [
    Defect(
        "no-lane-check",
        "a call that comes again runs again",
        "core/lua/lib/lane.lua",
        "  if sequence > last then return nil end\n",
        "  if sequence >= last then return nil end\n",
        f"{_UNIT}/test_resends.py::test_sent_twice_is_done_once",
    ),
    Defect(
        "stale-runs",
        "a call runs behind a later one of its lane",
        "core/lua/lib/lane.lua",
        "  if sequence < last or reply == BURNT then return {STALE} end\n",
        "  if sequence < last then return nil end\n  if reply == BURNT then return {STALE} end\n",
        f"{_UNIT}/test_resends.py::test_a_hand_out_that_is_sent_again_behind_a_later_call_does_nothing",
    ),
    Defect(
        "burnt-runs",
        "a call whose sequence was burnt counts as done",
        "core/lua/lib/lane.lua",
        "  if sequence < last or reply == BURNT then return {STALE} end\n",
        "  if sequence < last then return {STALE} end\n",
        f"{_UNIT}/test_resends.py::test_a_hand_out_that_its_caller_gave_up_hands_out_nothing_late",
    ),
    Defect(
        "silent-repeat",
        "a call that comes again writes nothing, so a WAIT behind it confirms at once",
        "core/lua/lib/lane.lua",
        "  redis.call('EXPIRE', session, ttl)\n  local answer = {AGAIN}\n",
        "  local answer = {AGAIN}\n",
        f"{_REAL}/test_durability.py::test_a_repeated_call_is_not_confirmed_falsely",
    ),
    Defect(
        "stale-get",
        "a get takes items behind a later one",
        "core/lua/get.lua",
        "if number < last then return {STALE} end\n",
        "",
        f"{_UNIT}/test_defects.py::test_a_get_that_runs_behind_a_later_one_takes_nothing",
    ),
    Defect(
        "get-forgets-records",
        "a get goes by the session alone, which may have expired",
        "core/lua/get.lua",
        "last = math.max(last, taker)\n",
        "",
        f"{_REAL}/test_faults.py::test_a_late_get_is_stale_though_the_session_expired",
    ),
    Defect(
        "get-unconfirmed",
        "what a get handed out counts as received, though its reply was lost",
        "core/lua/get.lua",
        "if taker ~= tonumber(received) and size <= length then unseen = size end\n",
        "",
        f"{_UNIT}/test_sync_queue.py::test_an_abandoned_get_is_handed_out_first",
    ),
    Defect(
        "confirm-believes",
        "a confirmation counts for a call that the server does not know of",
        "core/lua/confirm.lua",
        "or {STALE}",
        "or {DONE}",
        f"{_UNIT}/test_defects.py::test_what_the_server_does_not_know_of_is_not_confirmed",
    ),
    Defect(
        "full-server-keeps",
        "a full server refuses what would empty it",
        "core/lua/lib/lane.lua",
        "  fresh = redis.call('EXPIRE', session, ttl) == 1\n",
        "",
        f"{_REAL}/test_errors.py::test_a_full_server_refuses_an_add_and_can_be_drained",
    ),
]

_HELD = [
    Defect(
        "ack-counts-all",
        "an ack counts what nobody held",
        "core/lua/ack.lua",
        "    if redis.call('LREM', processing, -1, ARGV[i]) == 1 then\n      removed = removed + 1\n"
        "      done[removed] = ARGV[i]\n    end\n",
        "    redis.call('LREM', processing, -1, ARGV[i])\n    removed = removed + 1\n    done[removed] = ARGV[i]\n",
        f"{_UNIT}/test_sync_queue.py::test_only_what_this_consumer_holds",
    ),
    Defect(
        "ack-wrong-end",
        "an ack removes the newest of equal items",
        "core/lua/ack.lua",
        "redis.call('LREM', processing, -1, ARGV[i])",
        "redis.call('LREM', processing, 1, ARGV[i])",
        f"{_UNIT}/test_defects.py::test_of_equal_items_the_oldest_is_acknowledged",
    ),
    Defect(
        "ack-reaches-unseen",
        "an ack reaches a batch that its caller has not seen",
        "core/lua/lib/held.lua",
        "  return tonumber(kept) + size, size, false\n",
        "  return tonumber(kept), size, false\n",
        f"{_UNIT}/test_sync_queue.py::test_an_ack_does_not_reach_what_was_not_seen",
    ),
    Defect(
        "tenure-ignored",
        "an ack of a tenure that is over reaches what was taken since",
        "core/lua/lib/held.lua",
        "  if tenure ~= '0' and tenure ~= tenure_of(known[2]) then return math.huge, 0, false end\n",
        "",
        f"{_UNIT}/test_consumer_leases.py::test_an_ack_of_an_older_tenure_does_not_reach_what_was_taken_since",
    ),
    Defect(
        "reject-wrong-end",
        "rejected items go to the end of the line",
        "core/lua/lib/waiting_plain.lua",
        "  redis.call('RPUSH', queue, unpack(items))\n  return #items\n",
        "  redis.call('LPUSH', queue, unpack(items))\n  return #items\n",
        f"{_UNIT}/test_sync_queue.py::test_a_rejected_batch_comes_out_again_first_in_its_order",
    ),
    Defect(
        "bury-keeps",
        "a buried item stays held",
        "core/lua/bury.lua",
        "remove_held(processing, plan, session .. ' ' .. lane .. ' ' .. sequence)\n",
        "",
        f"{_UNIT}/test_defects.py::test_what_was_buried_is_held_no_more",
    ),
    Defect(
        "release-keeps-landed",
        "what landed for a consumer stays there when it leaves",
        "core/lua/release.lua",
        "if #landed > 0 then put_back(queue, landing, landed) end\n",
        "",
        f"{_UNIT}/test_scripts_new.py::test_a_release_puts_back_what_landed",
    ),
    Defect(
        "delete-wrong-end",
        "deleting takes the oldest copies",
        "core/lua/delete.lua",
        "redis.call('LREM', queue, count, ARGV[i])",
        "redis.call('LREM', queue, -count, ARGV[i])",
        f"{_UNIT}/test_sync_queue.py::test_deleting_takes_the_newest_copies",
    ),
]

_SWEEPS = [
    Defect(
        "sweep-any-key",
        "a sweep empties lists that are none of this queue's",
        "core/lua/lib/silent.lua",
        "    local ours = #key > #prefix and string.sub(key, 1, #prefix) == prefix\n",
        "    local ours = true\n",
        f"{_REAL}/test_layout.py::test_foreign_fields_are_not_touched",
    ),
    Defect(
        "lease-ignored",
        "a sweep goes by its own timeout, not by the lease of the consumer",
        "core/lua/lib/silent.lua",
        "ours and leases[string.sub(key, #prefix + 1) .. LEASE] or tonumber(timeout)\n",
        "tonumber(timeout)\n",
        f"{_UNIT}/test_scripts_new.py::test_a_consumer_is_swept_after_its_own_lease",
    ),
    Defect(
        "sweep-order",
        "the consumer with the latest contact comes out first",
        "core/lua/lib/silent.lua",
        "a.at > b.at end",
        "a.at < b.at end",
        f"{_UNIT}/test_defects.py::test_what_was_held_for_longest_comes_out_first",
    ),
    Defect(
        "sweep-leaves-landed",
        "what landed for a dead consumer is never found",
        "core/lua/re_enqueue.lua",
        "if #lists + #over > 0 then\n",
        "if #lists + #over < 0 then\n",
        f"{_UNIT}/test_scripts_new.py::test_a_sweep_puts_back_what_landed_for_the_dead",
    ),
    Defect(
        "sweep-forgets-counts",
        "a sweep is no delivery, so what kills its consumers comes again for ever",
        "core/lua/re_enqueue.lua",
        "  keep_counts(deliveries, again, counts, spent, 0, SWEPT)\n",
        "",
        f"{_UNIT}/test_scripts_new.py::test_a_sweep_counts_as_a_delivery",
    ),
    Defect(
        "sweep-shares-list",
        "a long list stays its consumer's while a sweep takes it in parts",
        "core/lua/re_enqueue.lua",
        "  if is_taken(key) then return key end\n",
        "  if key then return key end\n",
        f"{_UNIT}/test_defects.py::test_a_consumer_whose_long_list_is_being_swept_holds_none_of_it",
    ),
    Defect(
        "suspects-together",
        "what may have killed its consumer takes others with it",
        "core/lua/get.lua",
        "if counted then waiting = first_of(waiting, taken_together(deliveries, waiting)) end\n",
        "",
        f"{_UNIT}/test_scripts_new.py::test_what_may_have_killed_its_consumer_is_taken_alone",
    ),
    Defect(
        "beat-revives",
        "a beat renews a lease that was swept",
        "core/lua/beat.lua",
        "if not tenure or redis.call('LLEN', processing) == 0 then return {NOTHING, 0, 0} end\n",
        "tenure = tenure or '1'\n",
        f"{_UNIT}/test_scripts_new.py::test_a_beat_renews_a_lease_and_says_when_it_is_lost",
    ),
]

_OTHERS = [
    Defect(
        "due-twice",
        "an item that was put off comes again and again",
        "core/lua/lib/arrivals.lua",
        "    redis.call('ZREM', delayed, unpack(due))\n",
        "",
        f"{_UNIT}/test_scripts_new.py::test_due_items_join_the_end_of_the_line_in_order",
    ),
    Defect(
        "due-while-paused",
        "items become due while the queue is paused",
        "core/lua/lib/arrivals.lua",
        "paused and '(-inf' or now",
        "now",
        f"{_UNIT}/test_looking.py::test_nothing_becomes_due_while_paused",
    ),
    Defect(
        "put-off-equal",
        "equal items that are put off become one",
        "core/lua/lib/later.lua",
        "string.format('%016d %04d %s %s\\n', sequence, i, lane, session) .. items[i]",
        "'\\n' .. items[i]",
        f"{_UNIT}/test_scripts_new.py::test_two_equal_delayed_items_are_two",
    ),
    Defect(
        "room-off-by-one",
        "a queue takes one item less than its bound",
        "core/lua/lib/room.lua",
        "<= tonumber(max_size)",
        "< tonumber(max_size)",
        f"{_UNIT}/test_looking.py::test_a_full_queue_takes_no_more",
    ),
    Defect(
        "redrive-removes-first",
        "a redrive that is refused half-way has lost its items",
        "core/lua/redrive.lua",
        "join_late(queue, items)\nredis.call('LTRIM', dead, 0, -size - 1)\n",
        "redis.call('LTRIM', dead, 0, -size - 1)\njoin_late(queue, items)\n",
        f"{_REAL}/test_defects.py::test_a_redrive_that_is_refused_half_way_loses_nothing",
    ),
    Defect(
        "get-removes-first",
        "a get that is refused half-way has lost its items",
        "core/lua/get.lua",
        "    redis.call('LPUSH', processing, unpack(waiting))\n    leave(unpack(waiting))\n"
        "    redis.call('LTRIM', queue, 0, -size - 1)\n",
        "    redis.call('LTRIM', queue, 0, -size - 1)\n    leave(unpack(waiting))\n"
        "    redis.call('LPUSH', processing, unpack(waiting))\n",
        f"{_REAL}/test_errors.py::test_a_command_forbidden_at_run_time_loses_nothing",
    ),
    Defect(
        "unique-stays-taken",
        "an item that was taken still counts as waiting, so that it can't be added",
        "core/lua/lib/waiting_unique.lua",
        "  return redis.call('SREM', unique, ...)\n",
        "  return 0\n",
        f"{_UNIT}/test_unique_queue.py::test_what_is_taken_may_be_added_at_once",
    ),
    Defect(
        "unique-not-noted",
        "an item that joins is not noted as waiting, so that it can wait twice",
        "core/lua/lib/waiting_unique.lua",
        "    redis.call('SADD', unique, unpack(new))\n",
        "",
        f"{_UNIT}/test_unique_queue.py::test_what_waits_is_not_added_again",
    ),
    Defect(
        "pool-from-then",
        "an overdue item of a pool is hidden from when it was due, not from now",
        "core/lua/pool_get.lua",
        "seconds_from(math.max(tonumber(now), tonumber(due)), ack_ttl) .. MARK",
        "seconds_from(redis.call('ZSCORE', pool, items[1]), ack_ttl) .. MARK",
        f"{_UNIT}/test_pool.py::test_what_is_long_overdue_is_hidden_from_now_on",
    ),
    Defect(
        "pool-acks-any",
        "an ack reaches an item of a pool that is not handed out",
        "core/lua/pool_ack.lua",
        "  if is_marked(scores[i]) then\n",
        "  if scores[i] then\n",
        f"{_UNIT}/test_pool.py::test_what_is_not_handed_out_is_not_touched",
    ),
    Defect(
        "pool-added-stays-handed-out",
        "what is added to a pool while it is handed out is still handed out",
        "core/lua/pool_add.lua",
        "seconds_from(server_time(now), 0))",
        "seconds_from(server_time(now), 0) .. MARK)",
        f"{_UNIT}/test_pool.py::test_what_is_added_again_is_not_handed_out_any_more",
    ),
]

DEFECTS = [*_CALLS, *_HELD, *_SWEEPS, *_OTHERS]
