"""Hits: each 301 that a GET got is one hit in the store, whatever dies and
whatever is away meanwhile."""

import json
import os
import random
import signal
import sqlite3
import threading
import time
from pathlib import Path

import pytest

import dynamodb_local
from aws_wire import HANG_UP, Proxy
from harness import (ForkedPool, MultiwatchPool, Pool, is_resting, parent_of,
                     wait_until)
from proctools import (Load, age_of, freeze, insert_links, lock_holders,
                       lone_janitors, make_link, open_db, pending, said, slay,
                       steady, wait_complete, wait_gone, wait_said)

LINKS = 12


class Table:
    """The store by another hand: Python's SQLite, or boto3."""

    def __init__(self, settings):
        self.settings = settings
        if settings.get("STORE") == "dynamodb":
            self.client = dynamodb_local.client(
                settings["AWS_ENDPOINT_URL_DYNAMODB"])

    def hits(self):
        """{short_id: hits} of all links, without those that were deleted."""
        if self.settings.get("STORE") == "dynamodb":
            items = self.client.scan(TableName=self.settings["TABLE"],
                                     ConsistentRead=True)["Items"]
            return {i["short_id"]["S"]: int(i["hits"].get("N", -1))
                    for i in items if "long_url" in i}
        path = Path(self.settings["STATE_DIR"]) / "curt.db"
        db = sqlite3.connect(path, timeout=20)
        try:
            return dict(db.execute("SELECT short_id, hits FROM links"
                                   " WHERE deleted_at IS NULL"))
        finally:
            db.close()


class Books:
    """What clients saw: 301s by link, and requests that were cut off, of which
    nobody knows whether they were counted."""

    def __init__(self, pool, ids):
        self.pool = pool
        self.ids = ids
        self.lock = threading.Lock()
        self.seen = {i: 0 for i in ids}
        self.cut = {i: 0 for i in ids}

    def work(self, _):
        self.visit(random.choice(self.ids))

    def visit(self, short_id):
        try:
            answer = self.pool.request("GET", "/t/" + short_id)
        except OSError:
            with self.lock:
                self.cut[short_id] += 1
            time.sleep(0.01)
            return
        assert answer.status == 301, answer.raw
        with self.lock:
            self.seen[short_id] += 1

    def stroll(self, _):
        """The same with a pause, where a few hundred a second show as much."""
        self.visit(random.choice(self.ids))
        time.sleep(0.01)

    def follow(self, n):
        for i in range(n):
            self.work(i)
        assert not any(self.cut.values())

    def agree(self, settings):
        """Whether as many hits are in the table as there were redirects."""
        return (sum(Table(settings).hits().values())
                == sum(self.seen.values()))

    def check(self, hits):
        wrong = {i: (self.seen[i], hits[i], self.cut[i]) for i in self.ids
                 if not self.seen[i] <= hits[i] <= self.seen[i] + self.cut[i]}
        assert not wrong, "(301s, hits, cut off) by link: %r" % wrong


def make_links(pool, n=LINKS):
    return [make_link(pool, "https://example.com/%d" % i) for i in range(n)]


def wait_flushed(pool):
    """Waits until all hits are in the store, and looks seldom: each look is a
    run of `curt`."""
    wait_until(lambda: pending(pool) == 0, "nothing pending", interval=0.2)


def test_every_301_is_one_hit_whoever_is_killed(build, store_env):
    settings = {**store_env, "HITS_FLUSH": 1, "CACHE_TTL": 2}
    pool = Pool(build, settings, workers=3).start()
    with pool:
        books = Books(pool, make_links(pool))
        killed = {"worker": 0, "janitor": 0}
        with Load(books.work, threads=3) as load:
            while sum(killed.values()) < 8 or min(killed.values()) < 3:
                load.wait_calls(random.randrange(5, 60))
                # One that dies young is replaced late.
                old = [p for p in pool.children() if age_of(p) > 1.05]
                if not old:
                    continue
                janitors = pool.janitors()
                victim = random.choice(
                    [p for p in old if p in janitors] * 3 or old)
                if killed["janitor"] > killed["worker"]:
                    victim = random.choice(old)
                killed["janitor" if victim in janitors else "worker"] += 1
                slay(victim)
            load.wait_calls(50)
            wait_until(lambda: load.errors or sum(books.seen.values()) > 500,
                       "500 redirects", 60)
        wait_complete(pool)
        pool.stop()
        assert pending(pool) == 0
        books.check(Table(store_env).hits())


def test_killed_master_loses_nothing(build, store_env):
    settings = {**store_env, "HITS_FLUSH": 3600}
    with Pool(build, settings, workers=2).start() as pool:
        books = Books(pool, make_links(pool, 4))
        for _ in range(2):
            books.follow(20)
            everyone = pool.children()
            for pid in [pool.pid] + everyone:
                os.kill(pid, signal.SIGKILL)
            pool.process.wait(30)
            wait_gone(everyone)
            pool.kill()
            # What was on its way is in the store and pending, until it is
            # repeated.
            seen, stored = sum(books.seen.values()), Table(store_env).hits()
            assert sum(stored.values()) <= seen
            assert sum(stored.values()) + pending(pool) >= seen
            pool.launch()
            wait_complete(pool)
        books.follow(10)
        pool.stop()
        assert pending(pool) == 0
        books.check(Table(store_env).hits())


@pytest.mark.parametrize("kind, workers", [
    (Pool, 3), (Pool, 0), (ForkedPool, 3), (MultiwatchPool, 2)])
def test_orderly_stop_leaves_nothing_pending(build, store_settings, kind,
                                             workers):
    store = store_settings("sqlite")
    with kind(build, {**store, "HITS_FLUSH": 3600}, workers=workers) as pool:
        pool.start()
        books = Books(pool, make_links(pool, 4))
        wait_until(lambda: any(map(is_resting, lock_holders(
            store["STATE_DIR"], pool.janitors()
            + lone_janitors(pool.workers() + [pool.pid])))), "a janitor")
        with Load(books.work, threads=3) as load:
            load.wait_calls(150)
        assert pending(pool) > 0
        assert json.loads(pool.tool("get", books.ids[0], "--json").stdout)[
            "hits"] == books.seen[books.ids[0]]
        pool.stop()
        # The janitor of a lone worker ends a moment after it.
        wait_flushed(pool)
        assert sum(books.cut.values()) == 0
        books.check(Table(store).hits())


def test_last_of_the_lone_workers_flushes(build, store_settings):
    """The one that had the janitor goes first; the other has just looked."""
    store = store_settings("sqlite")
    with ForkedPool(build, {**store, "HITS_FLUSH": 3600}, workers=2) as pool:
        pool.start()
        books = Books(pool, make_links(pool, 2))
        state = store["STATE_DIR"]
        wait_until(lambda: lone_janitors(pool.pids), "a janitor")
        [janitor] = steady(
            lambda: lock_holders(state, lone_janitors(pool.pids)), "one")
        first = parent_of(janitor)[0]
        [second] = [p for p in pool.pids if p != first]
        freeze(first)
        books.follow(1)
        os.kill(first, signal.SIGCONT)
        os.kill(first, signal.SIGTERM)
        wait_gone([first, janitor])
        books.follow(3)
        os.kill(second, signal.SIGTERM)
        wait_gone([second])
        wait_flushed(pool)
        books.check(Table(store).hits())


def test_stop_right_after_a_reload_leaves_nothing_pending(build,
                                                          store_settings):
    store = store_settings("sqlite")
    with Pool(build, {**store, "HITS_FLUSH": 3600}, workers=2).start() as pool:
        books = Books(pool, make_links(pool, 2))
        before = pool.children()
        pool.signal(signal.SIGHUP)
        wait_gone(before)
        books.follow(20)
        pool.stop()
        assert pending(pool) == 0
        books.check(Table(store).hits())


def test_locked_sqlite_only_delays_hits(build, store_settings):
    store = store_settings("sqlite")
    settings = {**store, "HITS_FLUSH": 1, "STORE_TIMEOUT": 1}
    with Pool(build, settings, workers=1).start() as pool:
        books = Books(pool, make_links(pool, 5))
        books.follow(20)
        db = open_db(pool)
        db.execute("BEGIN IMMEDIATE")
        books.follow(40)
        wait_said(pool, "flushing hits failed, will retry", "warning")
        assert pending(pool) >= 40
        books.follow(10)
        slay(pool.janitors()[0])
        db.execute("COMMIT")
        db.close()
        wait_flushed(pool)
        books.check(Table(store).hits())
        # It says that once, not each second.
        assert len(said(pool, "flushing hits failed, will retry")) <= 2


def dynamodb_through(proxy, store_settings, **more):
    store = store_settings("dynamodb")
    return store, {**store, "AWS_ENDPOINT_URL_DYNAMODB": proxy.endpoint,
                   "HITS_FLUSH": 1, "STORE_TIMEOUT": 10, **more}


def is_update(request):
    return request.action == "UpdateItem"


def test_dynamodb_away_only_delays_hits(build, dynamodb_local, store_settings):
    with Proxy(dynamodb_local.endpoint) as proxy:
        store, settings = dynamodb_through(proxy, store_settings, CACHE_TTL=1)
        with Pool(build, settings, workers=1).start() as pool:
            books = Books(pool, make_links(pool, 5))
            for short_id in books.ids:
                books.visit(short_id)  # all are in the cache now
            proxy.fault = lambda request, forward: HANG_UP
            time.sleep(1.1)  # and none is fresh
            wait_until(lambda: books.follow(5) or said(
                pool, "flushing hits failed, will retry", "warning"),
                       "a flush that failed", interval=0.1)
            books.follow(5)
            assert pending(pool) > 0
            proxy.fault = None
            wait_flushed(pool)
            books.check(Table(store).hits())


def test_dynamodb_answers_that_are_lost_count_once(build, dynamodb_local,
                                                   store_settings):
    lost = {"before": 0, "after": 0}

    def fault(request, forward):
        if not is_update(request) or random.random() < 0.4:
            return None
        if random.random() < 0.6:
            forward()
            lost["after"] += 1
        else:
            lost["before"] += 1
        return HANG_UP

    with Proxy(dynamodb_local.endpoint, fault) as proxy:
        store, settings = dynamodb_through(proxy, store_settings)
        with Pool(build, settings, workers=2).start() as pool:
            books = Books(pool, make_links(pool))
            with Load(books.stroll, threads=2) as load:
                for _ in range(3):
                    load.wait_calls(20)
                    wait_until(lambda: age_of(pool.janitors()[0]) > 1.1
                               if pool.janitors() else False, "a janitor")
                    slay(pool.janitors()[0])
                    wait_complete(pool)
            wait_until(lambda: lost["after"] > 20 and lost["before"] > 5,
                       "lost answers", 60)
            proxy.fault = None
            wait_flushed(pool)
        assert not any(books.cut.values())
        books.check(Table(store).hits())


def test_one_bad_item_does_not_hold_up_the_others(build, dynamodb_local,
                                                  store_settings):
    with Proxy(dynamodb_local.endpoint) as proxy:
        store, settings = dynamodb_through(proxy, store_settings)
        table = Table(store)
        with Pool(build, settings, workers=1).start() as pool:
            ids = make_links(pool, 24)
            for bad in ids[:4]:
                table.client.update_item(
                    TableName=store["TABLE"], Key={"short_id": {"S": bad}},
                    UpdateExpression="SET hits = :many",
                    ExpressionAttributeValues={":many": {"S": "many"}})
            for short_id in ids:
                assert pool.request("GET", "/t/" + short_id).status == 301

            def good():
                hits = table.hits()
                return all(hits[i] == 1 for i in ids[4:])

            wait_until(good, "hits of the good ones", interval=0.1)
            # Nothing can be added to the others: said, and not tried again.
            wait_flushed(pool)
            for bad in ids[:4]:
                assert "dropped 1 hits of link %s" % bad in pool.log()


def test_an_update_costs_a_link_one_request_a_flush(build, dynamodb_local,
                                                    store_settings):
    with Proxy(dynamodb_local.endpoint) as proxy:
        store, settings = dynamodb_through(proxy, store_settings)
        with Pool(build, settings, workers=2).start() as pool:
            books = Books(pool, make_links(pool, 1))
            begun = time.monotonic()
            with Load(books.stroll, threads=2) as load:
                load.wait_calls(100)
                wait_until(lambda: proxy.actions().count("UpdateItem") > 1,
                           "two flushes")
            wait_flushed(pool)
            seen = sum(books.seen.values())
            flushes = time.monotonic() - begun + 4
            assert 2 <= proxy.actions().count("UpdateItem") <= flushes
            sent = [r.json for r in proxy.requests if is_update(r)]
            values = [s["ExpressionAttributeValues"] for s in sent]
            assert sum(int(v[":n"]["N"]) for v in values) == seen
            numbers = [int(v[":seq"]["N"]) for v in values]
            assert numbers == sorted(set(numbers))
            assert len({json.dumps(s["ExpressionAttributeNames"])
                        for s in sent}) == 1
            books.check(Table(store).hits())


def test_hits_of_a_deleted_link_are_dropped(build, store_env):
    settings = {**store_env, "HITS_FLUSH": 3600}
    with Pool(build, settings, workers=1).start() as pool:
        books = Books(pool, make_links(pool, 2))
        gone, kept = books.ids
        for _ in range(3):
            assert pool.request("GET", "/t/" + gone).status == 301
        for _ in range(2):
            assert pool.request("GET", "/t/" + kept).status == 301
        pool.tool("delete", gone)
        assert pool.request("GET", "/t/" + gone).status == 404
        pool.stop()
        assert pending(pool) == 0
        assert Table(store_env).hits() == {kept: 2}
        [line] = said(pool, "hits of deleted links", "info")
        assert line["msg"] == "dropped 3 hits of deleted links"


def test_only_redirects_of_get_count(build, store_settings):
    store = store_settings("sqlite")
    with Pool(build, {**store, "HITS_FLUSH": 1}, workers=1).start() as pool:
        short_id = make_link(pool)
        db = open_db(pool)
        insert_links(db, [("late", int(time.time()) - 10)])
        db.close()
        for method, uri, status in (
                ("GET", short_id, 301), ("HEAD", short_id, 301),
                ("HEAD", short_id, 301), ("GET", "late", 410),
                ("GET", "nobody", 404), ("POST", short_id, 405)):
            assert pool.request(method, "/t/" + uri).status == status
        pool.stop()
        assert Table(store).hits() == {short_id: 1, "late": 0}


def test_pending_hits_are_shown(build, store_settings):
    store = store_settings("sqlite")
    with Pool(build, {**store, "HITS_FLUSH": 3600}, workers=1) as pool:
        pool.write_conf()
        assert "0 hits of 0 links" in pool.tool("hits").stdout
        pool.start()
        books = Books(pool, make_links(pool, 3))
        for i, short_id in enumerate(books.ids):
            for _ in range(i + 1):
                assert pool.request("GET", "/t/" + short_id).status == 301
        assert pool.tool("hits").stdout == "6 hits of 3 links are pending\n"
        for i, short_id in enumerate(books.ids):
            item = json.loads(pool.tool("get", short_id, "--json").stdout)
            assert item["hits"] == i + 1
        assert set(Table(store).hits().values()) == {0}


def test_hits_of_another_table_wait_for_it(build, store_settings):
    """A HUP does not change the table, a restart does; a kill -9 leaves hits."""
    first, second = store_settings("dynamodb"), store_settings("dynamodb")
    second["STATE_DIR"] = first["STATE_DIR"]
    pool = Pool(build, {**first, "HITS_FLUSH": 3600}, workers=1)
    with pool.start():
        books = Books(pool, make_links(pool, 2))
        books.follow(4)
        pool.settings["TABLE"] = second["TABLE"]
        pool.write_conf()
        old = lock_holders(first["STATE_DIR"], pool.children())
        pool.signal(signal.SIGHUP)
        wait_said(pool, "TABLE: changed in the file", "warning")
        new = wait_until(
            lambda: set(lock_holders(first["STATE_DIR"], pool.children()))
            - set(old), "the new janitor")
        wait_until(lambda: sum(Table(first).hits().values()) == 4, "a flush")
        freeze(new.pop())
        books.follow(4)
        freeze(pool.pid)
        for pid in pool.children():
            os.kill(pid, signal.SIGKILL)
        pool.kill()
        left = pending(pool)
        assert left >= 4

        pool.start()
        line = wait_said(pool, "hits wait for another table", "warning")[0]
        assert line["msg"].startswith("%d hits" % left)
        assert "%d hits wait" % left in pool.tool("hits").stdout
        others = Books(pool, make_links(pool, 2))
        others.follow(3)
        assert pending(pool) == 3
        pool.stop()
        others.check(Table(second).hits())
        assert sum(Table(first).hits().values()) == 4

        pool.settings["TABLE"] = first["TABLE"]
        pool.start()
        assert "wait for another" not in pool.tool("hits").stdout
        pool.stop()
    books.check(Table(first).hits())


def test_alone_hits_follow_a_region_that_a_hup_changes(build, store_settings):
    """The regions of DynamoDB Local have the same tables, journals have not."""
    settings = store_settings("dynamodb")
    config = Path(settings["STATE_DIR"]) / "config"
    config.write_text("[profile one]\nregion = eu-west-1\n"
                      "[profile two]\nregion = eu-west-2\n")
    del settings["AWS_REGION"]
    settings.update(HITS_FLUSH=1, AWS_CONFIG_FILE=str(config),
                    AWS_PROFILE="one")
    with Pool(build, settings, workers=0).start() as pool:
        books = Books(pool, make_links(pool, 2))
        books.follow(4)
        pool.settings["AWS_PROFILE"] = "two"
        pool.write_conf()
        pool.signal(signal.SIGHUP)
        wait_said(pool, "configuration reloaded", "info")
        wait_until(lambda: books.follow(1) or said(pool, "kept as hits."),
                   "another journal")
        books.follow(4)
        # Some may be in the journal of the one region or of the other, where
        # they wait until it is configured again: none is lost.
        for profile in 3 * ("two", "one"):
            pool.settings["AWS_PROFILE"] = profile
            pool.write_conf()
            pool.signal(signal.SIGHUP)
            end = time.monotonic() + 10
            while time.monotonic() < end and not books.agree(settings):
                pool.request("GET", "/t/~")
            if books.agree(settings):
                break
        books.check(Table(settings).hits())


def test_without_a_journal_hits_go_to_the_store(build, store_env):
    settings = {**store_env, "HITS_FLUSH": 3600}
    (Path(store_env["STATE_DIR"]) / "hits").mkdir()
    with Pool(build, settings, workers=2).start() as pool:
        wait_said(pool, "/hits: ", "warning")
        books = Books(pool, make_links(pool, 3))
        books.follow(30)
        books.check(Table(store_env).hits())


@pytest.mark.parametrize("content", [b"", b"garbage" * 1000, b"\0" * 4096],
                         ids=["empty", "garbage", "zeros"])
def test_a_file_that_is_not_a_journal_is_replaced(build, store_settings,
                                                  content):
    store = store_settings("sqlite")
    path = Path(store["STATE_DIR"]) / "hits"
    path.write_bytes(content)
    with Pool(build, {**store, "HITS_FLUSH": 1}, workers=2).start() as pool:
        books = Books(pool, make_links(pool, 3))
        books.follow(30)
        wait_flushed(pool)
        books.check(Table(store).hits())
    assert not path.with_name("hits.new").exists()


def test_a_janitor_that_found_no_journal_looks_again(build, store_settings):
    """The disk was full at the start, say, and is not any more."""
    store = store_settings("sqlite")
    obstacle = Path(store["STATE_DIR"]) / "hits"
    obstacle.mkdir()
    with Pool(build, {**store, "HITS_FLUSH": 1}, workers=1).start() as pool:
        wait_said(pool, "/hits: ", "warning")
        books = Books(pool, make_links(pool, 2))
        books.follow(5)
        obstacle.rmdir()
        # The worker, also: nobody has to start it again.
        wait_until(lambda: books.follow(1) or
                   {"worker", "janitor"} <= {
                       line["proc"] for line in
                       said(pool, "hit journal opened", "info")},
                   "the journal")
        books.follow(20)
        wait_flushed(pool)
        books.check(Table(store).hits())
