"""Upgrade and downgrade: what other versions wrote, and restarts under load."""

import http.client
import json
import signal
import sqlite3
import struct
import threading
import time
from pathlib import Path

import pytest

import harness
from harness import ROOT, Pool, wait_until
from proctools import Load, make_link, open_db, said
from test_hits import Table
from webservers import Site

SCHEMAS = ROOT / "tests/data/schema"
NOW = 3  # the schema of this version


def state_of(pool, name):
    return pool.workdir / "state" / name


def make_database(pool, schema):
    """A database of an older version, or a newer one of this."""
    db = sqlite3.connect(state_of(pool, "curt.db"))
    db.executescript((SCHEMAS / ("schema%d.sql" % min(schema, 2))).read_text())
    if schema > NOW:
        db.execute("PRAGMA user_version = %d" % schema)
    db.commit()
    db.close()


def set_version(path, version):
    """In the header of a mapped file, after the magic."""
    with open(path, "r+b") as f:
        f.seek(8)
        f.write(struct.pack("=I", version))


def version_of(path):
    return struct.unpack_from("=I", path.read_bytes()[:12], 8)[0]


# curt.db

@pytest.mark.parametrize("schema", [1, 2])
def test_database_of_an_older_version_is_taken_over(build, schema):
    with Pool(build, {"HITS_FLUSH": 1}, workers=1) as pool:
        pool.write_conf()
        make_database(pool, schema)
        doctor = pool.tool("doctor", check=False).stdout
        assert "has schema %d, this curt wants %d" % (schema, NOW) in doctor
        pool.start()
        for n in range(2):
            answer = pool.request("GET", "/t/old%d" % n)
            assert answer.status == 301
            assert answer.headers["location"] == "https://example.com/old/%d" % n
        make_link(pool)
        pool.tool("edit", "old0", "--title", "new")
        pool.stop()
        for n, hits in enumerate((4, 1)):
            link = json.loads(pool.tool("--json", "get", "old%d" % n).stdout)
            assert link["hits"] == hits
        db = open_db(pool)
        assert db.execute("PRAGMA user_version").fetchone() == (NOW,)
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        db.close()


def test_database_of_a_newer_version_is_refused_and_left_alone(build):
    with Pool(build, {}, workers=1) as pool:
        pool.write_conf()
        path = state_of(pool, "curt.db")
        make_database(pool, NOW + 1)
        before = path.read_bytes()
        text = ("%s: was written by a newer curt (schema %d, this one knows %d); "
                "install that version" % (path, NOW + 1, NOW))
        pool.start()
        assert pool.request("GET", "/t/old0").status == 503
        answer = pool.request("POST", "/create",
                              {"Content-Type": "application/json"},
                              '{"long_url": "https://example.com/"}')
        assert answer.status == 503
        assert said(pool, text, "error")
        for command in (["get", "old0"], ["create", "https://example.com/"],
                        ["delete", "old0"], ["table", "check"],
                        ["table", "create"], ["doctor"],
                        ["backup", pool.workdir / "backup.db"]):
            done = pool.tool(*command, check=False)
            assert done.returncode != 0, command
            assert "was written by a newer curt" in done.stdout + done.stderr, command
        pool.stop()
        assert path.read_bytes() == before


# The hit journal

@pytest.mark.parametrize("store", ["sqlite", "dynamodb"])
def test_journal_of_another_version_is_kept(build, store_settings, store):
    settings = {**store_settings(store), "HITS_FLUSH": 3600}
    with Pool(build, settings, workers=1) as pool:
        state = pool.settings["STATE_DIR"]
        journal = Path(state) / "hits"
        pool.start()
        link = make_link(pool)
        assert pool.request("GET", "/t/" + link).status == 301
        pool.kill()
        set_version(journal, 9)
        before = journal.read_bytes()
        hits = pool.tool("hits", check=False)
        assert "has version 9, this curt knows version 2" in hits.stderr + hits.stdout
        doctor = pool.tool("doctor", check=False).stdout
        assert "%s: has version 9, this curt knows version 2" % journal in doctor
        assert "install the version of curt that wrote it" in doctor
        assert journal.read_bytes() == before
        pool.start()
        assert said(pool, "hits: has version 9, this curt knows version 2; kept "
                          "as hits.old", "warning")
        assert pool.request("GET", "/t/" + link).status == 301
        pool.stop()
        assert journal.with_name("hits.old").read_bytes() == before
        # The version that wrote it has it back.
        journal.unlink()
        journal.with_name("hits.old").rename(journal)
        set_version(journal, 2)
        pool.start().stop()
        got = json.loads(pool.tool("--json", "get", link).stdout)
        assert got["hits"] == 2


# RUNTIME_DIR

@pytest.mark.parametrize("store", ["sqlite", "dynamodb"])
def test_runtime_files_of_other_versions_are_replaced(build, store_settings,
                                                      tmp_path, store):
    blocked = tmp_path / "blocked"
    blocked.write_text("bad.example\n")
    blocked.chmod(0o644)
    tmp_path.chmod(0o755)
    settings = {**store_settings(store), "LIMITS": "on",
                "BLOCKED_HOSTS": str(blocked)}
    names = ["cache", "limits", "blocked-hosts"]
    names.append("writers" if store == "sqlite" else "circuit")
    with Pool(build, settings, workers=1) as pool:
        run = Path(pool.settings["RUNTIME_DIR"])
        pool.start()
        link = make_link(pool)
        wait_until(lambda: all((run / n).exists() for n in names),
                   "the files %r, not %r" % (names, list(run.iterdir())))
        pool.stop()
        right = {n: version_of(run / n) for n in names}
        for version in (0, 99):
            for name in names:
                if name == "blocked-hosts":
                    (run / name).write_bytes(
                        b"curths9\0" + (run / name).read_bytes()[8:])
                else:
                    set_version(run / name, version)
            pool.start()
            assert pool.request("GET", "/t/" + link).status == 301
            refused = pool.request("POST", "/create",
                                   {"Content-Type": "application/json"},
                                   '{"long_url": "https://bad.example/"}')
            assert refused.status // 100 == 4, refused.raw
            wait_until(lambda: {n: version_of(run / n) for n in names} == right,
                       "this version's files")
            pool.stop()


# Restarts under load

class HeldPool(Pool):
    """A pool whose listening socket outlives it, as with systemd's socket
    activation: this process holds it."""

    listener = None

    def launch(self):
        if self.listener is None:
            self.listener = self.bind()
        self.spawn(self.command(self.worker_count), self.env(), self.listener)

    def restart(self, beside):
        """beside: the new pool starts while the old one finishes."""
        old = self.process
        old.terminate()
        if not beside:
            assert old.wait(60) == 0, self.logs()[-4000:]
        harness.running.remove(self)
        self.launch()
        assert old.wait(60) == 0, self.logs()[-4000:]
        self.wait_ready(self.complete)

    def reload(self):
        before = set(self.children())
        self.signal(signal.SIGHUP)
        wait_until(lambda: not before & set(self.children()) and self.complete(),
                   "new children", 60)

    def cleanup(self):
        if self.listener is not None:
            self.listener.close()
        super().cleanup()


class Clients:
    """Creates and redirects, each thread up to 50 a second, and what came of
    them."""

    def __init__(self, port):
        self.port = port
        self.local = threading.local()
        self.lock = threading.Lock()
        self.links = {}  # short_id: long_url
        self.hits = {}   # short_id: 301s
        self.failed = []

    def request(self, method, path, body=None):
        """One request, never repeated. A connection is used for fewer than
        the 100 requests after which Apache closes it."""
        if getattr(self.local, "uses", 50) >= 50:
            self.local.connection = http.client.HTTPConnection(
                "127.0.0.1", self.port, timeout=60)
            self.local.uses = 0
        self.local.uses += 1
        connection = self.local.connection
        connection.request(method, path, body,
                           {"Content-Type": "application/json"} if body else {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()

    def work(self, n):
        time.sleep(0.02)
        try:
            if n % 8 == 0 or not self.links:
                self.create("https://example.com/%d" % n)
            else:
                self.follow(n)
        except (OSError, http.client.HTTPException) as e:
            self.local.uses = 50
            self.failed.append(repr(e))

    def create(self, url):
        status, _, body = self.request("POST", "/create",
                                       json.dumps({"long_url": url}))
        if status != 200:
            self.failed.append((status, body))
            return
        with self.lock:
            self.links[body.decode().strip().rpartition("/")[2]] = url

    def follow(self, n):
        with self.lock:
            ids = list(self.links)
        short_id = ids[n % len(ids)]
        status, headers, body = self.request("GET", "/t/" + short_id)
        if status != 301 or headers["Location"] != self.links[short_id]:
            self.failed.append((status, body))
            return
        with self.lock:
            self.hits[short_id] = self.hits.get(short_id, 0) + 1


@pytest.mark.parametrize("kind, store", [
    ("lighttpd", "sqlite"), ("lighttpd", "dynamodb"), ("nginx", "sqlite"),
    ("apache-proxy-fcgi", "sqlite")])
def test_restarts_under_load_cost_no_request(build, store_settings, kind, store):
    settings = {**store_settings(store), "HITS_FLUSH": 1}
    site = Site(build, kind, settings)
    site.pool = HeldPool(build, site.settings, workdir=site.workdir)
    with site:
        clients = Clients(site.port)
        with Load(clients.work, threads=6) as load:
            for _ in range(2):
                for step in (lambda: site.pool.restart(beside=False),
                             lambda: site.pool.restart(beside=True),
                             site.pool.reload):
                    load.wait_calls(50)
                    step()
            load.wait_calls(50)
        assert clients.failed == []
        site.pool.stop()
        stored = Table(settings).hits()
        assert set(stored) == set(clients.links)
        assert {i: n for i, n in stored.items() if n} == clients.hits
        assert not said(site.pool, "did not finish in time")


# Boot

def test_after_a_power_cut_the_pool_goes_on(build, store_env):
    """Everything is killed, the boot has emptied RUNTIME_DIR, and an unclean
    one has left files there instead."""
    settings = {**store_env, "HITS_FLUSH": 3600, "LIMITS": "on"}
    with Pool(build, settings, workers=1) as pool:
        run = Path(pool.settings["RUNTIME_DIR"])
        counts = {}
        for left in ((), ("curt.sock", "curt.pid", "socket", "cache",
                          "limits", "files.lock")):
            pool.start()
            for short_id in counts:
                assert pool.request("GET", "/t/" + short_id).status == 301
                counts[short_id] += 1
            short_id = make_link(pool)
            assert pool.request("GET", "/t/" + short_id).status == 301
            counts[short_id] = 1
            pool.kill()
            for path in run.iterdir():
                path.unlink()
            for name in left:
                (run / name).write_text("99999999\n")
        pool.start()
        for short_id in counts:
            assert pool.request("GET", "/t/" + short_id).status == 301
            counts[short_id] += 1
        pool.stop()
        assert Table(store_env).hits() == counts
