"""The store is away for a while: answers come at once all the same, the store
is not run over, and everything is as before as soon as it is back."""

import threading
import time
import uuid
from collections import Counter
from statistics import mean, median

import pytest

import dynamodb_local as local
import harness
from aws_faults import FAULTS, FaultServer, Keys
from dynamodb_local import all_items
from proctools import (Load, check_unavailable, create, make_link, pending,
                       said, slay, wait_complete)

STORE_TIMEOUT = 3
WORKERS = 4

# Connections of the janitor, each with calls of its own.
JANITOR = 4

# From breaker.h and aws_endpoint.h, in seconds; and what the machine adds.
FAILURES = 5
OPEN_MAX = 5
PROBE_MARGIN = 1
ASIDE = 10
MARGIN = 10

# Sendings of one call: three attempts, and one more where a connection that
# was kept turned out to be dead.
SENDINGS = 4

FAST = 0.5

# What took longer has used up STORE_TIMEOUT.
FULL_TIME = STORE_TIMEOUT * 0.9


def unknown():
    return uuid.uuid4().hex[:12]


class Site:
    """A pool whose store can be taken away, with links that it knows."""

    def __init__(self, build, dynamodb_local, settings, servers=1,
                 workers=WORKERS, **more):
        self.client = dynamodb_local.client()
        self.table = settings["TABLE"]
        self.servers = [FaultServer(dynamodb_local.endpoint,
                                    Keys.of(settings), local.REGION)
                        for _ in range(servers)]
        self.server = self.servers[0]
        self.pool = harness.Pool(build, {
            **settings, "APP_URL": "http://127.0.0.1/t/",
            "STORE_TIMEOUT": STORE_TIMEOUT, "HITS_FLUSH": 1, "CACHE_TTL": 1,
            **more, "AWS_ENDPOINT_URL_DYNAMODB": ",".join(
                s.endpoint for s in self.servers)}, workers=workers)
        self.followed = Counter()
        self.lock = threading.Lock()

    def __enter__(self):
        for server in self.servers:
            server.__enter__()
        try:
            self.pool.start()
            # The first requests to a store that was just started take long.
            harness.wait_until(lambda: {
                create(self.pool, "https://example.com/first").status
                for _ in range(2 * WORKERS)} == {200}, "a store at work")
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *exception):
        for server in self.servers:
            server.clear()
        try:
            self.pool.__exit__(*exception)
        finally:
            self.close()
        for server in self.servers:
            server.check_signatures()

    def close(self):
        for server in self.servers:
            server.__exit__(None, None, None)

    def openings(self):
        return len(said(self.pool, "store unavailable, failing fast"))

    def down(self, name):
        self.opened = self.openings()
        self.server.always = FAULTS[name]

    def wait_open(self):
        """Waits until requests have opened the circuit."""
        harness.wait_until(lambda: self.openings() > self.opened,
                           "an open circuit", 60, 0.1)

    def up(self):
        for server in self.servers:
            server.clear()

    def follow(self, short_id):
        """The answer of a redirect, counted if it was one."""
        answer = self.pool.request("GET", "/t/" + short_id)
        if answer.status == 301:
            with self.lock:
                self.followed[short_id] += 1
        return answer

    def check_hits(self):
        """Every 301 is one hit in the table, no more and no less."""
        harness.wait_until(lambda: pending(self.pool) == 0,
                           "all hits in the store", 30, 0.2)
        items = all_items(self.client, self.table)
        hits = {i: int(item["hits"]["N"]) for i, item in items.items()}
        assert hits == {i: self.followed[i] for i in items}


@pytest.fixture
def make_site(build, dynamodb_local, store_settings):
    def make(**options):
        return Site(build, dynamodb_local, store_settings("dynamodb"),
                    **options)
    return make


class Clients:
    """Clients that want known links, links that nobody knows, and new ones:
    what they got, when, and how long it took."""

    KINDS = ("known", "unknown", "create")

    def __init__(self, site, known):
        self.site = site
        self.known = known
        self.log = []  # (when it was asked, kind, status, how long it took)
        self.told_to_wait = []  # unknown ids that got a 503

    def work(self, n):
        kind = self.KINDS[n // WORKERS % 3]
        short_id = self.known[n % len(self.known)]
        begun = time.monotonic()
        if kind == "create":
            answer = create(self.site.pool, "https://example.com/%d" % n)
        else:
            if kind == "unknown":
                short_id = unknown()
            answer = self.site.follow(short_id)
        if answer.status == 503:
            check_unavailable(answer)
            if kind == "unknown":
                self.told_to_wait.append(short_id)
        self.log.append((begun, kind, answer.status,
                         time.monotonic() - begun))
        time.sleep(0.1)

    def statuses(self, kind, since, until, longest=60):
        return {status for at, k, status, took in self.log
                if k == kind and since < at < until and took < longest}


def wait_back(site):
    """Waits until the service is back, then sees that it really is. Returns
    how long it took."""
    begun = time.monotonic()
    harness.wait_until(
        lambda: create(site.pool, "https://example.com/back").status == 200,
        "a create", 30)
    took = time.monotonic() - begun
    for _ in range(3 * WORKERS):
        assert in_time(create, site.pool,
                       "https://example.com/on").status == 200
        assert in_time(site.pool.request, "GET",
                       "/t/" + unknown()).status == 404
    return took


def in_time(ask, *args):
    """The answer to a request; another one, once, where the machine was so slow
    that the time of the request passed. An open circuit answers at once."""
    begun = time.monotonic()
    answer = ask(*args)
    if time.monotonic() - begun > FULL_TIME:
        answer = ask(*args)
    return answer


@pytest.mark.parametrize("name", ["hang", "close_before", "http_503"])
def test_an_outage_is_told_at_once_and_costs_the_store_little(make_site, name):
    with make_site() as site:
        known = [make_link(site.pool) for _ in range(6)]
        for short_id in known:
            assert site.follow(short_id).status == 301
        clients = Clients(site, known)
        with Load(clients.work, threads=WORKERS) as load:
            load.wait_calls(3 * 3 * WORKERS)
            fast = FAST + 2 * max(t for _, _, _, t in clients.log)
            before = len(site.server.requests)
            down = time.monotonic()
            site.down(name)
            site.wait_open()
            load.wait_calls(3 * 3 * WORKERS)
            opened = time.monotonic()
            # Long enough for a few probes.
            time.sleep(STORE_TIMEOUT + 2)
            load.wait_calls(60)
            site.up()
            back = time.monotonic()
            sent = site.server.since(before)
            took = wait_back(site)
            again = time.monotonic()
            load.wait_calls(3 * 3 * WORKERS)
        end = time.monotonic()
        assert took < OPEN_MAX + STORE_TIMEOUT + MARGIN

        # What is known is served all the time; the rest is told to come back.
        assert clients.statuses("known", 0, end) == {301}
        for kind, normal in (("unknown", 404), ("create", 200)):
            assert clients.statuses(kind, 0, opened) == {normal, 503}
            assert clients.statuses(kind, opened, back - STORE_TIMEOUT) == {
                503}
            assert clients.statuses(kind, again, end, FULL_TIME) == {normal}
        assert max(t for _, _, _, t in clients.log) < STORE_TIMEOUT + MARGIN
        # Only a probe takes its time, and there is one at a time.
        during = [t for at, _, _, t in clients.log if opened < at < back]
        assert len(during) > 50
        probes = probes_within(back - down, name)
        assert median(during) < fast
        assert sum(1 for t in during if t > FULL_TIME) <= probes

        # Until it opens each has a call or two under way; then probes alone.
        calls = FAILURES + 2 * (WORKERS + JANITOR) + probes
        assert 0 < len(sent) <= calls * SENDINGS
        assert len([r for r in sent if r.at > opened + STORE_TIMEOUT]) <= (
            probes * SENDINGS)

        # An id that was asked for meanwhile is not taken for missing.
        late = clients.told_to_wait[len(clients.told_to_wait) // 2]
        site.client.put_item(TableName=site.table, Item={
            "short_id": {"S": late}, "hits": {"N": "0"},
            "long_url": {"S": "https://example.com/late"}})
        assert site.follow(late).status == 301
        site.check_hits()


def probes_within(seconds, name):
    """The most probes that the circuit makes: the first pause is of 250 ms at
    least, and doubles up to OPEN_MAX / 2; where the store hangs a probe takes
    its time, too."""
    probes, pause = 0, 0.25
    while seconds > 0:
        probes += 1
        seconds -= pause + (STORE_TIMEOUT * 0.6 if name == "hang" else 0)
        pause = min(2 * pause, OPEN_MAX / 2)
    return probes


def test_a_probe_that_is_killed_keeps_nobody_waiting(make_site):
    with make_site() as site:
        known = make_link(site.pool)
        assert site.follow(known).status == 301
        time.sleep(1.1)  # CACHE_TTL
        site.down("hang")
        with Load(lambda n: site.pool.request("GET", "/t/" + unknown()),
                  threads=WORKERS):
            site.wait_open()
        for _ in range(3):
            # Somebody is asking the store now: all are killed, so it, too.
            with Load(lambda n: ask_somehow(site), threads=1):
                harness.wait_until(lambda: site.server.active, "a probe", 30,
                                   0.005)
                for pid in site.pool.children():
                    slay(pid)
                wait_complete(site.pool)
        begun = time.monotonic()
        assert site.follow(known).status == 301
        check_unavailable(site.pool.request("GET", "/t/" + unknown()))
        assert time.monotonic() - begun < 2 * (STORE_TIMEOUT + MARGIN)
        site.up()
        took = wait_back(site)
        assert took < OPEN_MAX + STORE_TIMEOUT + PROBE_MARGIN + MARGIN
        site.check_hits()


def ask_somehow(site):
    """A request whose worker may be killed."""
    try:
        site.pool.request("GET", "/t/" + unknown())
    except OSError:
        pass
    time.sleep(0.05)


# ---- Several endpoints ----------------------------------------------------


def create_and_follow(site):
    """Both go well. How long they took."""
    begun = time.monotonic()
    assert site.follow(make_link(site.pool)).status == 301
    return time.monotonic() - begun


def at_work(site, count):
    """So many at least. How long each took."""
    took = []
    with Load(lambda n: took.append(create_and_follow(site)),
              threads=2) as load:
        load.wait_calls(count)
    return took


@pytest.mark.parametrize("name", ["close_before", "reset", "hang",
                                  "html_502"])
def test_of_two_endpoints_one_is_dead(make_site, name):
    # On a slow machine the one that answers must not be taken for dead.
    timeout = 4 if name == "hang" else 10
    with make_site(servers=2, workers=2, CACHE_TTL=0,
                   STORE_TIMEOUT=timeout) as site:
        dead, alive = site.servers
        normal = at_work(site, 30)
        # Both are used as long as both are there.
        sizes = len(dead.requests), len(alive.requests)
        assert min(sizes) > sum(sizes) / 4

        before, connections = len(dead.requests), dead.connections
        begun = time.monotonic()
        site.down(name)
        took = at_work(site, 60)
        assert mean(took) < FAST + mean(normal)
        site.check_hits()
        # Each process has to find out for itself, once in a while.
        times = 1 + (time.monotonic() - begun) // ASIDE
        most = times * (2 + JANITOR)
        assert len(dead.requests) - before <= 2 * most
        assert dead.connections - connections <= 2 * most
        if name == "hang":
            assert sum(1 for t in took if t > timeout / 2) <= most


def test_an_endpoint_that_was_dead_is_used_again(make_site):
    with make_site(servers=2, workers=2, CACHE_TTL=0,
                   STORE_TIMEOUT=10) as site:
        dead, alive = site.servers
        site.down("close_before")
        at_work(site, 30)
        site.up()
        back = time.monotonic()
        used = len(dead.requests)

        def work(n):
            create_and_follow(site)
            time.sleep(0.25)

        with Load(work, threads=1):
            harness.wait_until(lambda: len(dead.requests) > used,
                               "the one that was dead", ASIDE + 20)
        assert dead.requests[used].at - back < ASIDE + MARGIN
        time.sleep(max(0, back + ASIDE + 0.5 - time.monotonic()))
        sizes = len(dead.requests), len(alive.requests)
        at_work(site, 30)
        sizes = (len(dead.requests) - sizes[0],
                 len(alive.requests) - sizes[1])
        assert min(sizes) > sum(sizes) / 4


def test_both_endpoints_come_back(make_site):
    with make_site(servers=2) as site:
        known = make_link(site.pool)
        assert site.follow(known).status == 301
        for server in site.servers:
            server.always = FAULTS["close_before"]
        for _ in range(10):
            check_unavailable(create(site.pool, "https://example.com/no"))
            assert site.follow(known).status == 301
        site.up()
        assert wait_back(site) < OPEN_MAX + STORE_TIMEOUT + MARGIN
        site.check_hits()
