"""The link cache: what it spares the store, and how soon it sees a change."""

import json
import os
import random
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aws_wire import HANG_UP, Proxy
from harness import (ForkedPool, Pool, children_of, make_dir, run_tool,
                     wait_until)
from proctools import (Load, check_redirect, check_unavailable, create, freeze,
                       make_link, open_db, said, slay, wait_complete,
                       wait_said)

CACHE_SIZE = 1 << 20


class Site:
    """A pool on DynamoDB Local through a proxy that counts, and the table by
    another hand: boto3."""

    def __init__(self, build, server, settings, kind=Pool, workers=2, **more):
        self.proxy = Proxy(server.endpoint)
        self.client = server.client()
        self.table = settings["TABLE"]
        self.pool = kind(build, {
            **settings, "HITS_FLUSH": 3600, **more,
            "AWS_ENDPOINT_URL_DYNAMODB": self.proxy.endpoint,
        }, workers=workers)

    def __enter__(self):
        self.proxy.__enter__()
        try:
            self.pool.start()
        except BaseException:
            self.proxy.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *exception):
        self.proxy.fault = None
        try:
            self.pool.__exit__(*exception)
        finally:
            self.proxy.__exit__(*exception)

    def put(self, short_id, long_url="https://example.com/page", **numbers):
        item = {"short_id": short_id, "long_url": long_url,
                "short_url": "http://127.0.0.1/t/" + short_id,
                "created_at": "2018-11-29T00:05:02"}
        self.client.put_item(TableName=self.table, Item={
            **{k: {"S": v} for k, v in item.items()}, "hits": {"N": "0"},
            "analytics": {"M": {}},
            **{k: {"N": str(v)} for k, v in numbers.items()}})
        return short_id

    def remove(self, short_id):
        self.client.delete_item(TableName=self.table,
                                Key={"short_id": {"S": short_id}})

    def reads(self, short_id):
        """How often the store was asked for this link. (What an eventually
        consistent read does not find is asked for once more, consistently.)"""
        return sum(1 for r in self.proxy.requests if r.action == "GetItem"
                   and r.json["Key"]["short_id"]["S"] == short_id
                   and not r.json["ConsistentRead"])

    def get(self, short_id):
        return self.pool.request("GET", "/t/" + short_id)

    def check(self, short_id, n=1, url="https://example.com/page"):
        for _ in range(n):
            check_redirect(self.pool, short_id, url)

    def check_for(self, seconds, short_id="one"):
        """The same for a while, some fifty times a second."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.check(short_id)
            time.sleep(0.02)


@pytest.fixture
def make_site(build, dynamodb_local, store_settings):
    def make(*args, **options):
        return Site(build, dynamodb_local, store_settings("dynamodb"), *args,
                    **options)
    return make


def cache_file(pool):
    return Path(pool.settings["RUNTIME_DIR"]) / "cache"


# What it spares the store

def test_known_link_is_not_asked_for_again(make_site):
    with make_site() as site:
        for short_id in ("one", "two", "x" * 64):
            site.put(short_id)
            site.check(short_id, 30)
            assert site.reads(short_id) == 1
        assert site.pool.request("HEAD", "/t/one").status == 301
        # What a process knew is still known when it is gone.
        for pid in site.pool.workers():
            slay(pid)
        wait_complete(site.pool)
        site.check("one", 10)
        assert site.reads("one") == 1


def test_known_link_outlives_a_restart(make_site):
    with make_site() as site:
        site.put("one")
        site.check("one")
        site.pool.stop()
        site.pool.start()
        site.check("one", 5)
        assert site.reads("one") == 1


def test_guesses_cost_one_question_each(make_site):
    with make_site() as site:
        for _ in range(10):
            for short_id in ("guessA", "guessB"):
                assert site.get(short_id).status == 404
        assert site.reads("guessA") == site.reads("guessB") == 1
        # A link that another host makes is there within seconds.
        site.put("guessA")
        wait_until(lambda: site.get("guessA").status == 301, "the link")
        site.check("guessA", 10)
        time.sleep(5.1)
        assert site.get("guessB").status == 404
        assert site.reads("guessB") == 2


def test_many_who_want_one_link_ask_once(make_site):
    def slowly(request, forward):
        if request.action == "GetItem":
            time.sleep(0.4)

    with make_site(workers=8) as site, ThreadPoolExecutor(8) as threads:
        site.put("wanted")
        site.proxy.fault = slowly
        for short_id, status in (("wanted", 301), ("nobody", 404)):
            answers = list(threads.map(site.get, [short_id] * 16))
            assert {a.status for a in answers} == {status}
            assert site.reads(short_id) == 1


@pytest.mark.parametrize("key", ["CACHE_TTL", "CACHE_SIZE"])
def test_switched_off_each_request_asks(make_site, key):
    with make_site(**{key: 0}) as site:
        site.put("one")
        site.check("one", 8)
        assert site.reads("one") == 8
        assert site.get("nobody").status == site.get("nobody").status == 404
        assert site.reads("nobody") == 2
        assert not cache_file(site.pool).exists()
        assert not said(site.pool, "cache")
        site.remove("one")
        assert site.get("one").status == 404


def test_processes_without_a_master_share_it(make_site):
    with make_site(kind=ForkedPool) as site:
        site.put("one")
        for served in site.pool.pids:
            others = [p for p in site.pool.pids if p != served]
            for pid in others:
                freeze(pid)
            site.check("one", 3)
            for pid in others:
                os.kill(pid, signal.SIGCONT)
        assert site.reads("one") == 1
        site.pool.tool("delete", "one")
        for _ in range(6):
            assert site.get("one").status == 404


def test_hot_link_stays_while_guesses_pass(make_site):
    with make_site(CACHE_SIZE=CACHE_SIZE, CACHE_TTL=600) as site:
        site.proxy.fault = None
        site.put("hot")
        site.check("hot", 2)
        for n in range(600):
            site.get("cold%d" % n)
            if n % 50 == 0:
                site.check("hot")
        assert site.reads("hot") == 1


# How soon it sees a change

def test_delete_is_seen_by_the_next_request(build, store_env):
    with Pool(build, store_env, workers=3).start() as pool:
        for n in range(4):
            short_id = make_link(pool, "https://example.com/%d" % n)
            for _ in range(6):
                check_redirect(pool, short_id, "https://example.com/%d" % n)
            pool.tool("delete", short_id)
            for _ in range(6):
                assert pool.request("GET", "/t/" + short_id).status == 404


def test_delete_is_seen_at_once_under_load(build, store_settings):
    """Readers fill the cache again and again while links are deleted."""
    with Pool(build, store_settings("sqlite"), workers=4).start() as pool:
        wanted = [make_link(pool)]
        deleted = threading.Event()

        def work(_):
            gone, short_id = deleted.is_set(), wanted[0]
            status = pool.request("GET", "/t/" + short_id).status
            if gone and short_id == wanted[0] and deleted.is_set():
                assert status == 404

        with Load(work, threads=4) as load:
            for n in range(5):
                load.wait_calls(30)
                pool.tool("delete", wanted[0])
                deleted.set()
                load.wait_calls(30)
                fresh = make_link(pool)
                deleted.clear()
                wanted[0] = fresh


def test_delete_of_what_is_gone_already_forgets_it(make_site):
    """Another host deleted it; the operator makes sure on this one."""
    with make_site() as site:
        site.put("one")
        site.check("one", 3)
        site.remove("one")
        site.check("one")
        assert site.pool.tool("delete", "one", check=False).returncode == 1
        assert site.get("one").status == 404


def test_delete_is_seen_after_the_file_was_edited(make_site):
    """The tool reads a CACHE_SIZE that the pool does not have yet."""
    with make_site() as site:
        site.put("one")
        site.check("one", 3)
        site.pool.settings["CACHE_SIZE"] = 4 * CACHE_SIZE
        site.pool.write_conf()
        site.pool.tool("delete", "one")
        assert site.get("one").status == 404


def test_new_link_is_there_although_it_was_missing(build, store_env):
    settings = {**store_env, "MIN_CHAR": 1, "MAX_CHAR": 1}
    with Pool(build, settings, workers=3).start() as pool:
        alphabet = ("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                    "0123456789")
        for c in alphabet:
            assert pool.request("GET", "/t/" + c).status == 404
        for n in range(10):
            url = "https://example.com/%d" % n
            if n % 2:
                short_id = pool.tool("create", url).stdout.strip()[-1]
            else:
                short_id = make_link(pool, url)
            check_redirect(pool, short_id, url)


def test_change_by_another_hand_is_seen_within_cache_ttl(make_site):
    with make_site(CACHE_TTL=1) as site:
        site.put("one", "https://example.com/0")
        for n in range(2):
            old, new = ("https://example.com/%d" % i for i in (n, n + 1))
            site.check("one", 1, old)
            site.put("one", new)
            end = time.monotonic() + 1.2
            seen = set()
            while time.monotonic() < end:
                seen.add(site.get("one").headers["location"])
                time.sleep(0.02)
            assert seen <= {old, new}
            site.check("one", 5, new)
        site.remove("one")
        time.sleep(1.2)
        assert site.get("one").status == 404


def test_new_link_of_another_host_is_seen_within_cache_ttl(make_site):
    with make_site(CACHE_TTL=1) as site:
        assert site.get("one").status == 404
        site.put("one")
        time.sleep(1.2)
        site.check("one", 3)


def test_hot_link_is_refreshed_by_one_and_ahead(make_site):
    """While one asks, and the store takes its time, nobody waits."""
    with make_site(CACHE_TTL=2, workers=4) as site:
        site.put("one")
        site.check("one")
        slowest = []

        def slowly(request, forward):
            if request.action == "GetItem":
                time.sleep(1)

        def work(_):
            begun = time.monotonic()
            site.check("one")
            slowest.append(time.monotonic() - begun)
            time.sleep(0.01)

        site.proxy.fault = slowly
        begun = time.monotonic()
        with Load(work, threads=3) as load:
            wait_until(lambda: site.reads("one") > 2, "two questions")
            load.wait_calls(200)
        questions = site.reads("one") - 1
        assert questions <= 1 + (time.monotonic() - begun) / 1.2
        # A worker that asks may hold the connection of another request, which
        # it accepted before the request was there.
        assert sum(1 for s in slowest if s > 0.9) <= 2 * questions


def test_link_expires_to_the_second_in_the_cache(make_site):
    with make_site(CACHE_TTL=60) as site:
        ttl = int(time.time()) + 3
        site.put("one", ttl=ttl)
        statuses = []
        while True:
            before = time.time()
            answer = site.get("one")
            after = time.time()
            statuses.append(answer.status)
            # The kernel's seconds are a tick of some milliseconds late.
            if after < ttl:
                assert answer.status == 301
                age = int(answer.headers["cache-control"].rpartition("=")[2])
                assert age <= ttl - int(before - 0.02)
            if before >= ttl + 0.02:
                assert answer.status == 410
                break
            time.sleep(0.02)
        assert statuses.count(301) > 5
        assert site.reads("one") == 1


# When the store is away

def test_store_away_known_links_go_on(make_site):
    with make_site(CACHE_TTL=1) as site:
        site.put("one")
        site.check("one")
        site.proxy.fault = lambda request, forward: HANG_UP
        begun = time.monotonic()
        time.sleep(1.2)
        site.check("one", 20)
        check_unavailable(site.get("two"))
        assert said(site.pool, "serving stale link one", "warning")
        # It is asked about once a second, not each time.
        before = site.reads("one")
        site.check_for(2.5)
        questions = time.monotonic() - begun + 1
        assert len(said(site.pool, "serving stale link one")) <= questions
        # The attempts of one question are 4 at most.
        assert site.reads("one") - before <= 4 * questions
        site.proxy.fault = None
        site.put("one", "https://example.com/new")
        wait_until(lambda: site.get("one").headers["location"].endswith("new"),
                   "the store asked again")
        wait_until(lambda: site.get("two").status == 404, "an answer")


def test_store_away_for_longer_than_cache_stale(make_site):
    with make_site(CACHE_TTL=1, CACHE_STALE=4) as site:
        site.put("one")
        site.check("one")
        begun = time.monotonic()
        site.proxy.fault = lambda request, forward: HANG_UP
        time.sleep(1.2)
        site.check_for(begun + 2.5 - time.monotonic())
        time.sleep(2)
        check_unavailable(site.get("one"))


def hang(request, forward):
    time.sleep(2.5)
    return HANG_UP


def test_store_that_hangs_is_queried_by_one_worker_at_a_time(make_site):
    with make_site(CACHE_TTL=1, STORE_TIMEOUT=2, workers=4) as site:
        site.put("one")
        site.check("one")
        site.proxy.fault = hang
        time.sleep(1.2)
        calls = []

        def work(_):
            begun = time.monotonic()
            site.check("one")
            calls.append((begun, time.monotonic()))
            time.sleep(0.01)

        def queries():
            return len(said(site.pool, "serving stale link one"))

        begun = time.monotonic()
        with Load(work, threads=8) as load:
            wait_until(lambda: load.errors or queries() >= 3, "three queries",
                       30, 0.1)
            load.check()
        # A query takes two seconds, and the next comes a second later.
        assert queries() <= (time.monotonic() - begun) / 3 + 1
        # It holds up that worker, with the connections that it has already.
        # The others answer meanwhile.
        slow = [call for call in calls if call[1] - call[0] > 1.5]
        assert len(slow) >= 3
        for first, last in slow:
            assert any(first < begun and ended < last
                       for begun, ended in calls)


def test_store_that_hangs_costs_each_client_its_timeout_once(make_site):
    with make_site(STORE_TIMEOUT=2, workers=5) as site, \
            ThreadPoolExecutor(5) as threads:
        site.proxy.fault = hang
        begun = time.monotonic()
        for answer in threads.map(site.get, ["unheard"] * 5):
            check_unavailable(answer)
        assert time.monotonic() - begun < 2 * 4  # the five of them: 10


# The file

@pytest.mark.parametrize("content", [
    b"", b"garbage" * 1000, b"\0" * 100000, None],
    ids=["empty", "garbage", "zeros", "cut"])
def test_file_that_is_not_a_cache_is_replaced(make_site, content):
    site = make_site(CACHE_SIZE=CACHE_SIZE)
    path = cache_file(site.pool)
    if content is not None:
        path.write_bytes(content)
    with site:
        site.put("one")
        site.check("one", 10)
        assert site.reads("one") == 1
        size = path.stat().st_size
        assert CACHE_SIZE // 2 < size < 2 * CACHE_SIZE
        if content is None:
            site.pool.stop()
            os.truncate(path, size // 2)
            site.pool.start()
            site.check("one", 10)
            assert site.reads("one") == 2
            assert path.stat().st_size == size


def test_file_that_goes_away_is_missed_by_nobody(make_site):
    with make_site() as site:
        site.put("one")
        site.check("one", 5)
        cache_file(site.pool).unlink()
        site.check("one", 5)
        assert site.reads("one") == 1
        for pid in site.pool.workers():
            slay(pid)
        wait_complete(site.pool)
        site.check("one", 5)
        assert site.reads("one") == 2


def test_no_place_for_it_is_said_and_costs_only_speed(make_site):
    site = make_site()
    site.pool.settings["RUNTIME_DIR"] = str(site.pool.workdir / "none" / "run")
    with site:
        line = wait_said(site.pool, "/cache: No such file", "warning")[0]
        assert line["proc"] == "worker"
        site.put("one")
        site.check("one", 5)
        assert site.reads("one") == 5
        site.pool.tool("delete", "one")
        assert site.get("one").status == 404


def test_cache_is_opened_when_it_can_be(make_site):
    with make_site(workers=1) as site:
        site.put("one")
        site.pool.stop()
        cache_file(site.pool).unlink()
        cache_file(site.pool).mkdir()
        site.pool.start()
        site.check("one", 3)
        assert len(said(site.pool, "running without a link cache")) == 1
        cache_file(site.pool).rmdir()
        wait_until(lambda: site.check("one") or
                   said(site.pool, "link cache opened", "info"), "the cache")
        before = site.reads("one")
        site.check("one", 5)
        assert site.reads("one") <= before + 1
        assert len(said(site.pool, "running without a link cache")) == 1


def test_delete_by_a_tool_with_another_environment(make_site, dynamodb_local):
    """It knows the table by another name of the endpoint: identities of the
    store differ, and the pool's cache is reached all the same."""
    with make_site() as site:
        site.put("one")
        site.check("one", 5)
        run_tool(site.pool.build, site.pool.workdir,
                 {**site.pool.env(),
                  "AWS_ENDPOINT_URL_DYNAMODB": dynamodb_local.endpoint},
                 ("-c", site.pool.conf), ("delete", "one"))
        assert site.get("one").status == 404


@pytest.fixture
def small_run(tmp_path):
    """RUNTIME_DIR on a tmpfs of 50 MiB, as /run is on a small machine."""
    path = make_dir(tmp_path / "run")
    if os.geteuid() != 0 or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=50m,mode=777", "curt", path],
            check=False).returncode:
        pytest.skip("needs a mount")
    yield path
    subprocess.run(["umount", "-l", path], check=True)


def test_cache_fits_a_small_run(build, small_run):
    def size():
        path = small_run / "cache"
        return path.stat().st_size >> 20 if path.exists() else 0

    with Pool(build, {"RUNTIME_DIR": str(small_run)}, workers=2) as pool:
        pool.start()
        good = make_link(pool)
        assert 20 <= size() <= 25
        assert "CACHE_SIZE is not set" in pool.tool("config").stdout
        # One that fills it, in the place of the other, then a smaller one.
        for megabytes, restart in ((44, True), (16, False), (44, True),
                                   (16, True)):
            pool.settings["CACHE_SIZE"] = megabytes << 20
            pool.write_conf()
            if restart:
                pool.stop()
                pool.start()
            else:
                pool.signal(signal.SIGHUP)
            wait_until(lambda: check_redirect(pool, good)
                       or size() == megabytes, "%d MiB" % megabytes)
        # What never fits is said, with the key.
        pool.settings["CACHE_SIZE"] = 60 << 20
        pool.write_conf()
        pool.signal(signal.SIGHUP)
        wait_said(pool, "set a smaller CACHE_SIZE", "warning")
        check_redirect(pool, good)


def test_locks_that_others_can_hold_do_not_matter(build, tmp_path):
    """Any local user can lock a directory that she can enter."""
    if os.geteuid() != 0:
        pytest.skip("needs another user")
    pool = Pool(build, {}, workers=2)
    dirs = [pool.settings[key] for key in ("STATE_DIR", "RUNTIME_DIR")]
    holders = []
    try:
        for path in dirs:
            os.chmod(path, 0o755)
            holders.append(subprocess.Popen(
                ["setpriv", "--reuid=65534", "--regid=65534",
                 "--clear-groups", "flock", path, "sleep", "120"]))
            wait_until(lambda: subprocess.run(
                ["flock", "-n", path, "true"]).returncode, "the lock")
        with pool.start():
            make_link(pool)
            assert pool.request("GET", "/t/nobody").status == 404
            for path, name in zip((*dirs, dirs[1]),
                                  ("hits", "cache", "writers")):
                assert (Path(path) / name).stat().st_mode & 0o7777 == 0o600
            assert not said(pool, "running without")
    finally:
        for holder in holders:
            for pid in children_of(holder.pid):
                os.kill(pid, signal.SIGKILL)
            holder.kill()
            holder.wait()


def test_another_cache_size_after_a_reload(make_site):
    with make_site(CACHE_SIZE=CACHE_SIZE) as site:
        site.put("one")
        site.check("one", 5)
        before = set(site.pool.children())
        site.pool.settings["CACHE_SIZE"] = 4 * CACHE_SIZE
        site.pool.write_conf()
        site.pool.signal(signal.SIGHUP)
        wait_until(lambda: not before & set(site.pool.children()),
                   "the reload")
        site.check("one", 10)
        assert site.reads("one") == 2
        assert cache_file(site.pool).stat().st_size > 2 * CACHE_SIZE
        site.pool.tool("delete", "one")
        assert site.get("one").status == 404


def test_two_pools_with_one_runtime_dir_serve_their_own(build, tmp_path):
    """Two short domains on one host, both with the default RUNTIME_DIR."""
    run = str(make_dir(tmp_path / "run"))
    with Pool(build, {"RUNTIME_DIR": run}, workers=2) as first, \
            Pool(build, {"RUNTIME_DIR": run}, workers=2) as second:
        for number, pool in enumerate((first, second)):
            pool.start()
            make_link(pool)
            db = open_db(pool)
            db.execute("UPDATE links SET short_id = 'same', long_url = ?",
                       ["https://example.com/%d" % number])
            db.close()
        for _ in range(3):
            check_redirect(first, "same", "https://example.com/0")
            check_redirect(second, "same", "https://example.com/1")
        assert first.request("GET", "/t/nobody").status == 404
        first.tool("delete", "same")
        assert first.request("GET", "/t/same").status == 404
        check_redirect(second, "same", "https://example.com/1")


def test_another_table_is_another_truth(make_site, build, dynamodb_local,
                                        store_settings):
    with make_site() as site:
        site.put("one", "https://example.com/first")
        site.check("one", 3, "https://example.com/first")
        site.pool.stop()
        site.table = store_settings("dynamodb")["TABLE"]
        site.put("one", "https://example.com/second")
        site.pool.settings["TABLE"] = site.table
        site.pool.start()
        site.check("one", 3, "https://example.com/second")


def test_every_process_dies_and_no_answer_is_wrong(build, store_settings):
    """kill -9 of workers while they fill the cache, and many links."""
    settings = {**store_settings("sqlite"), "CACHE_SIZE": 1, "CACHE_TTL": 1}
    with Pool(build, settings, workers=4).start() as pool:
        urls = {}
        for n in range(40):
            url = "https://example.com/%d/" % n + "x" * random.choice(
                (0, 300, 2000, 7900))
            urls[make_link(pool, url)] = url
        ids = list(urls)
        cut = []

        def work(_):
            short_id = random.choice(ids)
            try:
                answer = pool.request("GET", "/t/" + short_id)
            except OSError:
                cut.append(short_id)
                time.sleep(0.01)
                return
            assert answer.status == 301, answer.raw[:300]
            assert answer.headers["location"] == urls[short_id]

        with Load(work, threads=4) as load:
            for _ in range(12):
                load.wait_calls(20)
                slay(random.choice(pool.workers() or [pool.janitors()[0]]))
            load.wait_calls(100)
        wait_complete(pool)
        answer = create(pool, "https://example.com/after")
        check_redirect(pool, json.loads(answer.body)["short_id"],
                       "https://example.com/after")
