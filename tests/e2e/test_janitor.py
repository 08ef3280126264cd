"""The janitor: what it removes, what it leaves, and that there is one."""

import json
import os
import signal
import sqlite3
import subprocess
import time

import pytest

from harness import Pool, is_resting, make_dir, wait_until
from proctools import (DAY, EnvPool, Load, check_redirect, check_unavailable,
                       create, freeze, hits_of, insert_links, is_locked,
                       kill_at_once, lock_holders, lone_janitors, make_link,
                       open_db, pending, said, slay, steady, wait_said)


def count(db, condition="1"):
    return db.execute(
        "SELECT count(*) FROM links WHERE " + condition).fetchone()[0]


def old_links(n, prefix="old", age=DAY + 60):
    now = int(time.time())
    return [("%s%06d" % (prefix, i), now - age - i) for i in range(n)]


def holder_of(pool):
    """The janitor of a pool that is the only one on its STATE_DIR."""
    return wait_until(lambda: lock_holders(pool.settings["STATE_DIR"],
                                           pool.children()), "a janitor")[0]


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
        wait_until(lambda: count(db) == len(kept), "the new ones gone")
        db.close()


def test_many_are_removed_a_few_at_a_time_and_redirects_go_on(build):
    with Pool(build, {}, workers=2).start() as pool:
        good = make_link(pool)
        db = open_db(pool)
        total = 2000
        took = []

        def work(_):
            begun = time.monotonic()
            check_redirect(pool, good)
            took.append(time.monotonic() - begun)
            time.sleep(0.01)

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
        assert sorted(took)[len(took) // 2] < 1 and max(took) < 15
        check_redirect(pool, good)


def test_killed_in_the_middle_the_next_one_goes_on(build):
    with Pool(build, {}, workers=1) as pool:
        db = put_before_start(pool, old_links(4000) + [("never", None)])
        pool.start()
        for _ in range(2):
            holder = holder_of(pool)
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
        janitor = holder_of(pool)
        db = open_db(pool)
        db.execute("PRAGMA busy_timeout = 0")

        def freeze_without_lock():
            """At rest: not in a transaction, nor in the queue for one, where
            no other process could make a link."""
            if not is_resting(janitor):
                return False
            freeze(janitor)
            try:
                db.execute("BEGIN IMMEDIATE").connection.rollback()
            except sqlite3.OperationalError:
                os.kill(janitor, signal.SIGCONT)
                return False
            return True
        wait_until(freeze_without_lock, "a janitor between transactions")
        db.close()
        for _ in range(5):
            check_redirect(pool, make_link(pool))
        os.kill(janitor, signal.SIGCONT)


def test_locked_store_does_not_end_it(build):
    with Pool(build, {"STORE_TIMEOUT": 1}, workers=1) as pool:
        db = put_before_start(pool, old_links(5))
        db.execute("BEGIN IMMEDIATE")
        pool.start()
        holder = holder_of(pool)
        wait_said(pool, "removing expired links failed", "warning")
        assert count(db) == 5
        db.execute("COMMIT")
        wait_until(lambda: count(db) == 0, "the expired ones gone")
        db.close()
        assert holder_of(pool) == holder


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
                assert pool.request("GET", "/t/~").status == 404
                pids += lone_janitors([pool.pid])
        return lock_holders(state, pids)

    with Pool(build, settings, workers=workers).start() as first:
        held = wait_until(lambda: holders(first), "a janitor")
        with Pool(build, settings, workers=workers).start() as second:
            assert steady(lambda: holders(first, second), "one") == held
            assert len(held) == 1
            assert is_locked(state)

            # Killed, it has one successor within a few seconds.
            slay(held[0])
            wait_until(lambda: set(holders(first, second)) - set(held),
                       "a successor")
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
                       "the expired ones gone")
            db.close()
    # A janitor without a master moves its last hits after its worker's end.
    wait_until(lambda: not is_locked(state), "no janitor left")


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
        holder_of(first)
        with Pool(build, settings, workers=1).start() as second:
            second.stop()
            assert not said(second, "did not finish in time")


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
        wait_until(lambda: lock_holders(state, [janitor]), "the lock")


# ---- A wall clock that is wrong --------------------------------------------


CLOCK = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

/* What the file says, in seconds, at each call. */
static long offset(void)
{
    char text[32] = "";
    int fd = open(getenv("CLOCK_OFFSET_FILE"), O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
        abort();
    close(fd);
    return strtol(text, NULL, 10);
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
    int (*real)(clockid_t, struct timespec *) =
        dlsym(RTLD_NEXT, "clock_gettime");
    int rc = real(id, ts);
    if (id == CLOCK_REALTIME)
        ts->tv_sec += offset();
    return rc;
}

time_t time(time_t *t)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    if (t != NULL)
        *t = ts.tv_sec;
    return ts.tv_sec;
}
"""


def make_shim(path, source):
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-x", "c", "-o", path,
                    "-", "-ldl"], input=source, text=True, check=True)
    return path


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    return make_shim(tmp_path_factory.mktemp("shim") / "clock.so", CLOCK)


class ShimPool(EnvPool):
    """A pool with a library before all others."""

    def __init__(self, build, shim, settings, **options):
        super().__init__(build, settings, **options)
        self.environment["LD_PRELOAD"] = str(shim)

    def env(self):
        env = super().env()
        env["ASAN_OPTIONS"] += ":verify_asan_link_order=0"
        return env


class ClockPool(ShimPool):
    """A pool whose wall clock is wrong by as much as set_clock() says."""

    def __init__(self, build, shim, settings, **options):
        super().__init__(build, shim, settings, **options)
        self.offset = self.workdir / "offset"
        self.set_clock(0)
        self.environment["CLOCK_OFFSET_FILE"] = str(self.offset)

    def set_clock(self, seconds):
        fresh = self.offset.with_suffix(".new")
        fresh.write_text(str(seconds))
        fresh.replace(self.offset)


def wait_round(pool, db):
    """The janitor has looked for expired links once more, and has removed one
    that expired long before any clock was wrong."""
    insert_links(db, [("long-ago", 1500000000)])
    wait_until(lambda: not count(db, "short_id = 'long-ago'"),
               "the old one gone", 30)


def week(n=1000):
    return [("week%04d" % i, int(time.time()) + 7 * DAY) for i in range(n)]


def test_clock_that_is_ahead_for_a_while_removes_nothing(build, shim):
    with ClockPool(build, shim, {}, workers=1) as pool:
        pool.start()
        link = make_link(pool)
        db = open_db(pool)
        insert_links(db, week())
        pool.set_clock(30 * DAY)
        line = wait_said(pool, "the clock is", "warning")[0]
        assert line["proc"] == "janitor" and "ahead" in line["msg"]
        assert "set it" in line["msg"] and "a day" in line["msg"]
        wait_round(pool, db)
        assert count(db) == 1001
        # Its successor knows no less.
        slay(holder_of(pool))
        wait_round(pool, db)
        assert count(db) == 1001
        assert pool.request("GET", "/t/week0001").status in (404, 410)
        pool.set_clock(0)
        wait_said(pool, "agrees with the measured time again", "info")
        wait_round(pool, db)
        assert count(db) == 1001
        check_redirect(pool, "week0001", "https://example.com/week0001")
        check_redirect(pool, link)
        assert len(said(pool, "the clock is", "warning")) == 2
        db.close()


@pytest.mark.parametrize("upgrade", [False, True], ids=["again", "upgrade"])
def test_pool_that_starts_with_a_clock_ahead_removes_nothing(build, shim,
                                                             upgrade):
    """Without STATE_DIR/clock the newest link says how late it was."""
    with ClockPool(build, shim, {}, workers=1) as pool:
        pool.write_conf()
        pool.tool("create", "https://example.com/first")
        db = open_db(pool)
        insert_links(db, week(50))
        pool.tool("create", "https://example.com/newest")
        if upgrade:
            os.unlink(os.path.join(pool.settings["STATE_DIR"], "clock"))
        pool.set_clock(30 * DAY)
        pool.start()
        wait_said(pool, "ahead of the measured time", "warning")
        wait_round(pool, db)
        assert count(db) == 52
        db.close()


def test_clock_before_the_build_makes_no_links(build, shim):
    with ClockPool(build, shim, {"CACHE_TTL": 0}, workers=1) as pool:
        pool.start()
        link = make_link(pool)
        pool.set_clock(-10 * 365 * DAY)
        check_unavailable(create(pool, "https://example.com/"))
        assert "set it" in wait_said(pool, "before this curt was built",
                                     "error")[0]["msg"]
        check_redirect(pool, link)
        line = wait_said(pool, "behind the last known time", "warning")[0]
        assert line["proc"] == "janitor" and "set it" in line["msg"]
        # The way out where the clock was wrong before and is right now.
        assert "remove %s/clock" % pool.settings["STATE_DIR"] in line["msg"]
        done = pool.tool("create", "https://example.com/", check=False)
        assert done.returncode == 75 and "was built" in done.stderr
        report = json.loads(pool.tool("doctor", "--json", check=False).stdout)
        clock = [c for c in report["checks"] if c["check"] == "clock"]
        assert [c["status"] for c in clock] == ["fail"] and (
            "built" in clock[0]["detail"])
        for offset, found, words in ((-7200, ["warn"], "behind"),
                                     (8 * DAY, ["warn"], "ahead"),
                                     (0, [], "")):
            pool.set_clock(offset)
            report = json.loads(
                pool.tool("doctor", "--json", check=False).stdout)
            clock = [c for c in report["checks"] if c["check"] == "clock"]
            assert [c["status"] for c in clock] == found, clock
            assert all(words in c["detail"] for c in clock)
        make_link(pool)


# What a child calls first: it is told to finish, or its parent has gone.
HASTE = """
#include <signal.h>
#include <sys/syscall.h>
#include <unistd.h>

pid_t getppid(void)
{
    %s;
}
"""


@pytest.mark.parametrize("haste", [
    pytest.param("raise(SIGUSR1); return syscall(SYS_getppid)", id="told"),
    pytest.param("return 0", id="orphan")])
@pytest.mark.parametrize("workers", [1, 0])
def test_told_to_finish_at_its_start_it_flushes(build, workers, haste):
    with Pool(build, {"HITS_FLUSH": 3600}, workers=1).start() as pool:
        link = make_link(pool)
        for _ in range(3):
            check_redirect(pool, link)
        kill_at_once(pool)
        assert pending(pool) == 3
        shim = make_shim(pool.workdir / "haste.so", HASTE % haste)
        hasty = ShimPool(build, shim, pool.settings, workers=workers,
                         workdir=pool.workdir)
        with hasty.start(ready=False):
            wait_until(lambda: pending(hasty) == 0, "a flush", interval=0.2)
            assert hits_of(hasty, link) == 3
            wait_until(lambda: not is_locked(pool.settings["STATE_DIR"]),
                       "the janitor's end")
            if workers:
                lines = wait_said(hasty, "janitor exited", "warning")
                assert all(", status 0" in line["msg"] for line in lines)
                assert not said(hasty, "janitor killed")
