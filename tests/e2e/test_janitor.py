"""The janitor: what it removes, what it leaves, and that there is one."""

import os
import signal
import sqlite3
import time

import pytest

from harness import Pool, make_dir, wait_until
from proctools import (DAY, Load, check_redirect, freeze, insert_links,
                       is_locked, lock_holders, lone_janitors, make_link,
                       open_db, said, slay, steady, wait_said)


def count(db, condition="1"):
    return db.execute(
        "SELECT count(*) FROM links WHERE " + condition).fetchone()[0]


def old_links(n, prefix="old", age=DAY + 60):
    now = int(time.time())
    return [("%s%06d" % (prefix, i), now - age - i) for i in range(n)]


def put_before_start(pool, links):
    """Makes the store and puts links into it before the pool is there."""
    pool.write_conf()
    pool.tool("table", "create")
    db = open_db(pool)
    insert_links(db, links)
    return db


def test_what_expired_is_removed_and_the_rest_is_not(build):
    now = int(time.time())
    kept = [("never", None), ("future", now + 3600), ("hour", now - 3600),
            ("almost", now - DAY + 600)]
    removed = [("day", now - DAY - 1), ("epoch", 0), ("before", -5),
               ("one", 1)]
    with Pool(build, {}, workers=1) as pool:
        db = put_before_start(pool, kept + removed)
        pool.start()
        wait_until(lambda: count(db) <= len(kept), "the expired ones gone")
        assert {row[0] for row in db.execute("SELECT short_id FROM links")} \
            == {link[0] for link in kept}
        check_redirect(pool, "never", "https://example.com/never")
        check_redirect(pool, "future", "https://example.com/future")
        assert pool.request("GET", "/t/hour").status == 410
        assert pool.request("GET", "/t/almost").status == 410
        assert pool.request("GET", "/t/day").status == 404
        line = wait_said(pool, "expired links removed", "info")[0]
        assert line["proc"] == "janitor"
        assert int(line["pid"]) in pool.janitors()

        # It looks again from time to time.
        insert_links(db, old_links(3))
        wait_until(lambda: count(db) == len(kept), "the new ones gone", 20)
        db.close()


def test_many_are_removed_a_few_at_a_time_and_redirects_go_on(build):
    with Pool(build, {}, workers=2).start() as pool:
        good = make_link(pool)
        db = open_db(pool)
        total = 3000
        took = []

        def work(_):
            begun = time.monotonic()
            check_redirect(pool, good)
            took.append(time.monotonic() - begun)

        with Load(work, threads=2) as load:
            insert_links(db, old_links(total))
            seen = {total + 1}

            def gone():
                left = count(db)
                seen.add(left)
                return left == 1

            wait_until(gone, "the expired ones gone", 60, interval=0.005)
            load.wait_calls(5)
        steps = sorted(seen)
        db.close()
        # A step is a hundred; a look that came late may have missed some.
        assert len(steps) >= 10, steps
        assert all((b - a) % 100 == 0 for a, b in zip(steps, steps[1:])), steps
        assert load.calls > 20
        assert sorted(took)[len(took) // 2] < 0.3 and max(took) < 5
        check_redirect(pool, good)


def test_killed_in_the_middle_the_next_one_goes_on(build):
    with Pool(build, {}, workers=1) as pool:
        db = put_before_start(pool, old_links(6000) + [("never", None)])
        pool.start()
        for _ in range(2):
            holder = wait_until(
                lambda: lock_holders(pool.settings["STATE_DIR"],
                                     pool.children()), "a janitor")[0]
            before = count(db)
            wait_until(lambda: count(db) < before, "some gone", interval=0.003)
            slay(holder)
            assert count(db) > 1, "the janitor was killed too late"
        wait_until(lambda: count(db) == 1, "the expired ones gone", 60)
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        db.close()
        check_redirect(pool, "never", "https://example.com/never")


def test_pool_without_a_janitor_for_a_while_serves(build):
    with Pool(build, {"DRAIN_TIMEOUT": 1}, workers=1).start() as pool:
        janitor = steady(lambda: lock_holders(
            pool.settings["STATE_DIR"], pool.children()), "a janitor")[0]
        freeze(janitor)
        for _ in range(5):
            check_redirect(pool, make_link(pool))
        os.kill(janitor, signal.SIGCONT)


def test_locked_store_does_not_end_it(build):
    with Pool(build, {"STORE_TIMEOUT": 1}, workers=1) as pool:
        db = put_before_start(pool, old_links(5))
        db.execute("BEGIN IMMEDIATE")
        pool.start()
        holder = steady(lambda: lock_holders(
            pool.settings["STATE_DIR"], pool.children()), "a janitor")
        wait_said(pool, "expired links were not removed", "warning")
        assert count(db) == 5
        db.execute("COMMIT")
        wait_until(lambda: count(db) == 0, "the expired ones gone", 20)
        db.close()
        assert lock_holders(pool.settings["STATE_DIR"],
                            pool.children()) == holder


@pytest.mark.parametrize("workers", [1, 0], ids=["masters", "alone"])
def test_two_pools_on_one_state_dir_have_one_janitor(build, tmp_path, workers):
    state = make_dir(tmp_path / "state")
    settings = {"STATE_DIR": str(state)}

    def holders(*pools):
        pids = []
        for pool in pools:
            if workers:
                pids += pool.children()
            else:
                assert pool.request("GET", "/t/-").status == 404
                pids += lone_janitors([pool.pid])
        return lock_holders(state, pids)

    with Pool(build, settings, workers=workers).start() as first:
        held = steady(lambda: holders(first), "a janitor")
        with Pool(build, settings, workers=workers).start() as second:
            assert steady(lambda: holders(first, second), "one") == held
            assert len(held) == 1
            assert is_locked(state)

            # Killed, it has one successor within a few seconds.
            slay(held[0])
            begun = time.monotonic()
            wait_until(lambda: set(holders(first, second)) - set(held),
                       "a successor")
            assert time.monotonic() - begun < 10
            held = steady(lambda: holders(first, second), "one")
            assert len(held) == 1

            # Its pool gone, the other pool has it.
            first.stop()
            held = steady(lambda: holders(second), "the other pool's")
            assert len(held) == 1
            assert is_locked(state)

            # And it works.
            make_link(second)
            db = open_db(second)
            insert_links(db, old_links(5))
            wait_until(lambda: holders(second) and count(db) == 1,
                       "the expired ones gone", 20)
            db.close()
    # A janitor without a master moves its last hits after its worker's end.
    wait_until(lambda: not is_locked(state), "no janitor left", 5)


def test_removed_lock_gives_no_two_janitors(build, tmp_path):
    state = make_dir(tmp_path / "state")
    settings = {"STATE_DIR": str(state), "HITS_FLUSH": 1}
    with Pool(build, settings, workers=1).start() as first, \
            Pool(build, settings, workers=1).start() as second:
        def holders():
            return lock_holders(state, first.children() + second.children())

        short_id, follows = make_link(first), 0
        for kill in (False, True, False):
            held = wait_until(holders, "a janitor")
            log_of = first if held[0] in first.children() else second
            (state / "janitor.lock").unlink()
            for pool in (first, second) * 5:
                check_redirect(pool, short_id)
                follows += 1
            if kill:
                slay(held[0])
            else:
                wait_said(log_of, "janitor.lock was removed", "warning")
            wait_until(lambda: len(holders()) == 1
                       and (state / "janitor.lock").exists(), "one janitor")
        first.stop()
        second.stop()
        db = sqlite3.connect(state / "curt.db")
        assert db.execute("SELECT hits FROM links").fetchall() == [(follows,)]
        db.close()


def test_waiting_janitors_stop_at_once(build, tmp_path):
    settings = {"STATE_DIR": str(make_dir(tmp_path / "state"))}
    with Pool(build, settings, workers=1).start() as first:
        steady(lambda: lock_holders(tmp_path / "state", first.children()),
               "a janitor")
        with Pool(build, settings, workers=1).start() as second:
            begun = time.monotonic()
            second.stop()
            assert time.monotonic() - begun < 5


def test_lock_that_cannot_be_had_is_said_once(build, tmp_path):
    state = make_dir(tmp_path / "state")
    (state / "janitor.lock").mkdir()
    with Pool(build, {"STATE_DIR": str(state)}, workers=1).start() as pool:
        janitor = pool.janitors()[0]
        line = wait_said(pool, "janitor.lock", "warning")[0]
        assert str(state) in line["msg"]
        make_link(pool)
        time.sleep(2.5)  # it tries each second
        assert len(said(pool, "janitor.lock")) == 1
        (state / "janitor.lock").rmdir()
        wait_until(lambda: lock_holders(state, [janitor]), "the lock", 10)
