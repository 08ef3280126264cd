"""What happens when processes die, and when the SQLite store fails."""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

import proctools
from harness import Pool, SpawnFcgiPool, make_dir, make_workdir, wait_until
from proctools import (Load, check_redirect, check_unavailable, create,
                       freeze, hits_of, make_link, open_db, pending, said, slay,
                       wait_complete, wait_gone, wait_said)


# kill -9

class Ledger:
    """What clients were told: the links created, and the redirects."""

    def __init__(self, pool):
        self.pool = pool
        self.lock = threading.Lock()
        self.links = {}  # short_id: long_url
        self.twice = []
        self.hits = {}  # short_id: how often its redirect was answered
        self.answered = 0
        self.failures = 0

    def work(self, n):
        """One create or redirect; what is not answered does not count."""
        try:
            if n % 3:
                self.create("https://example.com/%d" % n)
            else:
                self.follow()
            with self.lock:
                self.answered += 1
        except OSError:
            with self.lock:
                self.failures += 1
            time.sleep(0.01)

    def create(self, url):
        answer = create(self.pool, url)
        # The ids are so short that many are drawn twice: 503 if all are taken.
        assert answer.status in (200, 503), answer.raw
        if answer.status == 503:
            return
        link = json.loads(answer.body)
        assert link["long_url"] == url
        with self.lock:
            if link["short_id"] in self.links:
                self.twice.append((link, self.links[link["short_id"]]))
            self.links[link["short_id"]] = url

    def follow(self):
        with self.lock:
            if not self.links:
                return
            short_id, url = random.choice(list(self.links.items()))
        answer = self.pool.request("GET", "/t/" + short_id)
        assert answer.status == 301, answer.raw
        assert answer.headers["location"] == url
        with self.lock:
            self.hits[short_id] = self.hits.get(short_id, 0) + 1


def kill_some(pool, ledger, load, rounds):
    """Kills workers at random, and the master in each fourth round."""
    for n in range(rounds):
        goal = ledger.answered + random.randrange(10, 40)
        wait_until(lambda: load.errors or ledger.answered >= goal,
                   "%d answers" % goal, 60)
        load.check()
        if n % 4 == 3:
            freeze(pool.pid)  # or it might have one more child than we see
            orphans = pool.children()
            pool.process.kill()
            pool.process.wait(30)
            # What the orphans hold they finish, and the socket is free.
            wait_gone(orphans, 20)
            pool.kill()
            pool.launch()
            continue
        children = pool.children()
        for pid in random.sample(children, min(2, len(children))):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass  # it died with the other one


def test_answered_creates_survive_kill(build):
    settings = {"MIN_CHAR": 2, "MAX_CHAR": 2, "STORE_TIMEOUT": 15,
                "HITS_FLUSH": 1}
    with SpawnFcgiPool(build, settings, workers=4).start() as pool:
        ledger = Ledger(pool)
        with Load(ledger.work, threads=5) as load:
            kill_some(pool, ledger, load, rounds=12)
        wait_complete(pool)
        assert len(ledger.links) > 50
        assert ledger.failures > 0, "the kills disturbed nobody"
        assert not ledger.twice

        wait_until(lambda: pending(pool) == 0, "all hits in the store",
                   interval=0.2)
        db = open_db(pool)
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = {i: (u, hits) for i, u, hits in db.execute(
            "SELECT short_id, long_url, hits FROM links")}
        db.close()
        lost = {i: u for i, u in ledger.links.items()
                if i not in rows or rows[i][0] != u}
        assert not lost
        lost = {i: n for i, n in ledger.hits.items() if rows[i][1] < n}
        assert not lost

        # And so says curt itself.
        for short_id, url in random.sample(sorted(ledger.links.items()), 10):
            check_redirect(pool, short_id, url)
        sample = random.sample(sorted(ledger.hits), min(8, len(ledger.hits)))
        for short_id in sample:
            item = json.loads(pool.tool("get", short_id, "--json").stdout)
            assert item["long_url"] == ledger.links[short_id]
            assert item["hits"] >= ledger.hits[short_id]


def test_many_workers_make_the_file_at_the_same_time(build):
    """Each opens the store with its first request, and one makes the schema:
    the others wait for it and are not turned away."""
    for _ in range(3):
        with Pool(build, {"STORE_TIMEOUT": 10}, workers=8) as pool:
            pool.start(ready=False)
            answers = []
            barrier = threading.Barrier(10)

            def work():
                barrier.wait(20)
                for i in range(3):
                    answers.append(create(pool, "https://example.com/%d" % i))

            threads = [threading.Thread(target=work) for _ in range(10)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(60)
            assert [a.status for a in answers] == [200] * 30
            assert not said(pool, "", "warning") + said(pool, "", "error")
            db = open_db(pool)
            assert db.execute("SELECT count(*) FROM links").fetchone() == (30,)
            db.close()


# A store that does not answer

def test_locked_store_is_503_in_time_and_redirects_go_on(build):
    with Pool(build, {"STORE_TIMEOUT": 1}, workers=3).start() as pool:
        short_id = make_link(pool)
        db = open_db(pool)
        db.execute("BEGIN IMMEDIATE")
        took = []
        for _ in range(3):
            begun = time.monotonic()
            check_unavailable(create(pool, "https://example.com/"))
            took.append(time.monotonic() - begun)
            check_redirect(pool, short_id)
        # Promised is a second more; a busy machine may need longer.
        assert 0.9 < min(took) and max(took) < 20, took
        # A worker that finds the lock there when it opens the store, too.
        for pid in pool.workers():
            slay(pid)
        wait_complete(pool)
        for _ in range(3):
            begun = time.monotonic()
            check_redirect(pool, short_id)
            assert time.monotonic() - begun < 20
        check_unavailable(create(pool, "https://example.com/"))
        line = wait_said(pool, "create: the store failed", "error")[0]
        assert "curt.db" in line["msg"] and "locked" in line["msg"]

        db.execute("COMMIT")
        make_link(pool)
        db.close()
        for _ in range(3):
            check_redirect(pool, short_id)
        # What moves to the store counts twice for a moment (curt get).
        wait_until(lambda: hits_of(pool, short_id) == 9, "nine hits",
                   interval=0.2)


def test_readers_of_the_file_hold_nobody_up(build):
    with Pool(build, {"STORE_TIMEOUT": 1}, workers=2).start() as pool:
        short_id = make_link(pool)
        db = open_db(pool)
        db.execute("BEGIN")
        assert db.execute("SELECT count(*) FROM links").fetchone() == (1,)
        for _ in range(5):
            make_link(pool)
            check_redirect(pool, short_id)
        db.execute("COMMIT")
        db.close()


def test_stop_does_not_wait_for_a_locked_store(build):
    """The request that waits for the store is still answered."""
    with Pool(build, {"STORE_TIMEOUT": 2}, workers=2).start() as pool:
        make_link(pool)
        db = open_db(pool)
        db.execute("BEGIN IMMEDIATE")
        client = pool.client()
        client.send(client.request_bytes(
            "POST", "/create", proctools.JSON,
            '{"long_url": "https://example.com/"}'))
        wait_until(lambda: sum(map(proctools.connections, pool.workers())),
                   "the request taken")
        pool.signal(signal.SIGTERM)
        check_unavailable(client.response())
        client.close()
        assert pool.process.wait(30) == 0
        db.execute("COMMIT")
        db.close()


# A store that is broken

def start_broken(build, state_dir, workers=2, cls=Pool, **options):
    """A pool whose store cannot work: it starts, and says 503."""
    pool = cls(build, {"STATE_DIR": str(state_dir), "STORE_TIMEOUT": 15},
               workers=workers, **options).start()
    check_unavailable(create(pool, "https://example.com/"))
    check_unavailable(pool.request("GET", "/t/abcdefg",
                                   {"Accept": "application/json"}))
    return pool


def check_recovery(pool):
    """Everything works again, in the processes that there were."""
    before = pool.workers()
    for _ in range(4):
        check_redirect(pool, make_link(pool))
    assert pool.workers() == before
    assert not said(pool, "was ended by")
    wait_until(lambda: proctools.lock_holders(pool.settings["STATE_DIR"],
                                              pool.children()), "a janitor")


@pytest.mark.parametrize("fault", ["missing", "file", "directory in the way"])
def test_wrong_state_dir_is_503_until_it_is_repaired(build, tmp_path, fault):
    state = make_dir(tmp_path / "top") / "state"
    if fault == "missing":
        state = state / "dir"
    elif fault == "file":
        state.write_text("I am no directory\n")
    else:
        (state / "curt.db").mkdir(parents=True)
    with start_broken(build, state) as pool:
        line = said(pool, "create: the store failed", "error")[0]
        assert str(state / "curt.db") in line["msg"]
        if fault == "missing":
            line = said(pool, "cannot create directory: STATE_DIR", "warning")[0]
            assert "%s: No such file" % state in line["msg"]
        if fault == "missing":
            state.mkdir(parents=True)
        elif fault == "file":
            state.unlink()
            state.mkdir()
        else:
            (state / "curt.db").rmdir()
        check_recovery(pool)


class CommonUserPool(Pool):
    """Runs as a user for whom permissions count."""

    def command(self, workers):
        argv = super().command(workers)
        if os.geteuid() != 0:
            return argv
        program = self.workdir / "curt.fcgi"  # where that user can reach it
        if not program.exists():
            shutil.copy(self.build.fcgi, program)
        return ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups",
                program] + argv[1:]


@pytest.mark.parametrize("workers", [2, 0])
def test_unwritable_state_dir_is_503_until_it_is_repaired(build, workers):
    state = make_dir(make_workdir() / "state")
    state.parent.chmod(0o755)
    try:
        state.chmod(0o555)
        with CommonUserPool(build, {"STATE_DIR": str(state)},
                            workers=workers) as pool:
            pool.workdir.chmod(0o777)
            pool.start()
            check_unavailable(create(pool, "https://example.com/"))
            line = said(pool, "create: the store failed", "error")[0]
            assert str(state / "curt.db") in line["msg"]
            assert "the user that runs curt.fcgi" in line["msg"]
            state.chmod(0o777)
            check_redirect(pool, make_link(pool))
            assert state.joinpath("curt.db").stat().st_mode & 0o007 == 0
    finally:
        shutil.rmtree(state.parent)


@pytest.mark.parametrize("size", [0, 100, 4096, 20000])
def test_file_of_something_else_is_503_and_left_alone(build, tmp_path, size):
    state = make_dir(tmp_path / "state")
    junk = b"a text that is no database\n" * (size // 27 + 1)
    if size == 0:
        # A database, and a good one, but of another program.
        db = proctools.sqlite3.connect(state / "curt.db")
        db.execute("CREATE TABLE links (a)")
        db.execute("PRAGMA user_version = 1")
        db.commit()
        db.close()
    else:
        (state / "curt.db").write_bytes(junk[:size])
    before = (state / "curt.db").read_bytes()
    with start_broken(build, state) as pool:
        assert said(pool, str(state / "curt.db"), "error")
        assert (state / "curt.db").read_bytes() == before
        (state / "curt.db").rename(state / "other.db")
        check_recovery(pool)


class SmallDisk:
    """A disk that can be full. As root it is one, of 1 MiB in memory; else it
    is a limit on the size of files."""

    def __init__(self, path):
        self.path = make_dir(path)
        self.mounted = False

    def __enter__(self):
        if os.geteuid() == 0:
            self.mounted = subprocess.run(
                ["mount", "-t", "tmpfs", "-o", "size=1m,mode=777", "curt",
                 self.path], check=False).returncode == 0
        return self

    def __exit__(self, *_):
        if self.mounted:
            subprocess.run(["umount", "-l", self.path], check=True)

    def fill(self, pool):
        if not self.mounted:
            limit = (self.path / "curt.db").stat().st_size
            for pid in pool.children():
                resource.prlimit(pid, resource.RLIMIT_FSIZE,
                                 (limit, resource.RLIM_INFINITY))
            return
        with open(self.path / "filler", "wb", buffering=0) as filler:
            try:
                while True:
                    filler.write(bytes(4096))
            except OSError:
                pass

    def free(self, pool):
        if not self.mounted:
            for pid in pool.children():
                resource.prlimit(pid, resource.RLIMIT_FSIZE,
                                 (resource.RLIM_INFINITY,) * 2)
        else:
            (self.path / "filler").unlink()


class NoSizeSignalPool(Pool):
    """Without the signal that comes with a limit on the size of files."""

    def command(self, workers):
        return ["env", "--ignore-signal=XFSZ"] + super().command(workers)


def test_full_disk_is_503_until_there_is_room(build, tmp_path):
    with SmallDisk(tmp_path / "disk") as disk, NoSizeSignalPool(
            build, {"STATE_DIR": str(disk.path)}, workers=2).start() as pool:
        short_id = make_link(pool)
        before = pool.workers()
        disk.fill(pool)
        # What is free in the pages that the file has may still be used.
        links = {}

        def refused():
            answer = create(pool, "https://example.com/" + "x" * 3000)
            if answer.status == 200:
                links[json.loads(answer.body)["short_id"]] = True
                return False
            check_unavailable(answer)
            return True

        wait_until(refused, "the disk full")
        for _ in range(10):
            check_redirect(pool, short_id)
        line = said(pool, "create: the store failed", "error")[0]
        assert "curt.db" in line["msg"]
        if disk.mounted:
            assert "the disk is full" in line["msg"]

        disk.free(pool)
        make_link(pool)
        check_redirect(pool, short_id)
        for known in links:
            check_redirect(pool, known, "https://example.com/" + "x" * 3000)
        assert pool.workers() == before
        db = open_db(pool)
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        db.close()
        pool.stop()


def test_store_that_comes_later_is_used_without_a_restart(build, tmp_path):
    """The way a directory on a disk that is mounted late behaves."""
    state = make_dir(tmp_path / "mounts") / "disk" / "curt"
    with start_broken(build, state, workers=0) as pool:
        make_dir(state)
        check_redirect(pool, make_link(pool))
        assert Path(state, "curt.db").exists()
