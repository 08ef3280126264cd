"""A pool at work while its keys change, end, and fail to come: one fetch for
all of a host's processes, and no client sees anything of it while there is any
way."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aws_cloud import KNOWN_ID, KNOWN_URL
from aws_cloud import cloud, known_table  # fixtures
from aws_fakes import SILENCE, text_answer
from harness import MultiwatchPool, wait_until
from proctools import (Load, check_unavailable, create, descriptors, reload,
                       said, slay, wait_complete)

STORE_TIMEOUT = 3


def get(pool):
    answer = pool.request("GET", "/t/" + KNOWN_ID)
    assert answer.status == 301, answer.raw
    assert answer.headers["location"] == KNOWN_URL


def work_on(pool):
    """Work for a Load: redirects and creates, all of which must go well."""
    def work(n):
        if n % 4:
            get(pool)
        else:
            answer = create(pool, "https://example.com/%d" % n)
            assert answer.status == 200, answer.raw
        time.sleep(0.06)
    return work


def in_time(call, *args):
    begin = time.monotonic()
    value = call(*args)
    assert time.monotonic() - begin < STORE_TIMEOUT + 15
    return value


class BarePool(MultiwatchPool):
    """Processes that nobody forked for us, as under mod_fcgid."""

    def __init__(self, *args, environment=(), **options):
        super().__init__(*args, **options)
        self.environment = dict(environment)

    def env(self):
        return {**super().env(), **self.environment}


def revoke(cloud):
    """Ends all keys; a while after they came, for a source that gives out
    nothing but keys that are refused is left alone for a second."""
    time.sleep(1.2)
    cloud.issuer.revoke()


@pytest.mark.parametrize("kind", ["forked", "bare"])
def test_one_fetch_for_all_workers(cloud, kind):
    imds = cloud.imds()
    imds.delay = 0.3  # so that all want the keys at the same time
    options = {"cls": BarePool} if kind == "bare" else {}
    with cloud.pool(workers=5, HITS_FLUSH=1, **options,
                    **imds.env()) as pool:
        pool.start()
        with ThreadPoolExecutor(10) as threads:
            for future in [threads.submit(get, pool) for _ in range(40)]:
                future.result()
        wait_until(lambda: "UpdateItem" in cloud.front.actions(),
                   "hits in the store")
        assert imds.fetches() == 1
        assert imds.count("PUT " + imds.TOKEN) == 1
    assert len(cloud.issuer.used()) == 1
    assert cloud.issuer.refusals() == []


def test_revoked_in_the_middle_of_a_load(cloud):
    """The keys end long before their time: they are asked for anew at once,
    once, and no client sees anything of it."""
    container = cloud.container()
    with cloud.pool(**container.env()) as pool:
        pool.start()
        with Load(work_on(pool)) as load:
            for n in range(1, 4):
                load.wait_calls(25)
                assert len(container.requests) == n
                revoke(cloud)
            load.wait_calls(25)
    assert len(container.requests) == 4
    assert len(cloud.issuer.used()) == 4
    refusals = cloud.issuer.refusals()
    assert {r[3] for r in refusals} == {"ExpiredTokenException"}
    # Each process learns it once at most: 4 workers and the janitor.
    assert 3 <= len(refusals) <= 3 * 5


class Cached:
    """Gives the same keys until they are about to end, as ECS and EC2 do."""

    def __init__(self, issue, until):
        self.issue = issue
        self.until = until
        self.lock = threading.Lock()
        self.keys = None

    def __call__(self):
        with self.lock:
            if self.keys is None or self.keys.left() < self.until:
                self.keys = self.issue()
            return self.keys


@pytest.mark.parametrize("source", ["new", "cached"])
def test_rotation_in_the_middle_of_a_load(cloud, source):
    """Keys that live for seconds only, and are refused from then on."""
    imds = cloud.imds(lifetime=8)
    if source == "cached":
        imds.issue = Cached(imds.issue, 3)
    with cloud.pool(**imds.env(), HITS_FLUSH=1) as pool:
        pool.start()
        with Load(work_on(pool)) as load:
            wait_until(lambda: load.errors or len(cloud.issuer.used()) >= 3,
                       "two rotations", 60, 0.1)
            load.check()
        assert not said(pool, "", "error")
    assert cloud.issuer.refusals() == []
    used = cloud.issuer.used()
    assert all(new.issued < old.expires for old, new in zip(used, used[1:]))
    # One process asks for all; in vain, a few times, where the source has
    # nothing new yet.
    assert imds.fetches() <= (4 if source == "new" else 20)


def test_refresh_ahead_and_in_vain(cloud):
    """The janitor fetches new keys before the old ones end, so that nobody has
    to wait for it. When that fails, the old ones serve to their end."""
    imds = cloud.imds(lifetime=12)
    with cloud.pool(**imds.env(), HITS_FLUSH=1,
                    STORE_TIMEOUT=STORE_TIMEOUT) as pool:
        pool.start()
        get(pool)
        [first] = cloud.issuer.used()
        wait_until(lambda: imds.fetches() == 2, "keys ahead of time")
        second = cloud.issuer.sets[-1]
        assert second.issued < first.expires
        imds.trouble = text_answer("", 500)
        for _ in range(12):
            get(pool)
        wait_until(lambda: cloud.issuer.used() == [first, second],
                   "use of the new keys")
        while second.left() > 1:
            in_time(get, pool)
            time.sleep(0.1)
        # It did try, kept the keys that it had, and said so once.
        wait_until(lambda: "PUT " + imds.TOKEN in imds.paths()[6:],
                   "a third fetch", 5)
        assert cloud.issuer.used() == [first, second]
        [line] = said(pool, "instance metadata")
        assert line["level"] == "warning"
        assert "HTTP 500" in line["msg"] and "are used until" in line["msg"]

        time.sleep(max(0, second.left()) + 0.5)
        for _ in range(8):
            check_unavailable(in_time(pool.request, "GET",
                                      "/t/" + KNOWN_ID))
        check_unavailable(in_time(create, pool, "https://example.com/x"))
        assert cloud.issuer.refusals() == []
        assert "HTTP 500" in said(pool, "instance metadata", "error")[0]["msg"]

        imds.trouble = None
        wait_until(lambda: pool.request("GET", "/t/" + KNOWN_ID).status == 301,
                   "redirects again", 15, 0.2)
        for _ in range(12):
            get(pool)
        assert len(said(pool, "there are credentials again", "info")) == 1
        cloud.check_clean(pool.logs(), "the log")


def asking(pool, service):
    """Pids of the pool's processes with a connection to a service."""
    inodes = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[2] == "0100007F:%04X" % service.port and fields[3] == "01":
            inodes.add("socket:[%s]" % fields[9])
    return [pid for pid in pool.children()
            if inodes & set(descriptors(pid).values())]


def test_the_one_that_asks_is_killed(cloud):
    """Whoever asks for all the others dies over it; another one does it."""
    imds = cloud.imds()
    with cloud.pool(workers=4, **imds.env(), STORE_TIMEOUT=10) as pool:
        pool.start()
        get(pool)
        for _ in range(3):
            imds.trouble = SILENCE
            revoke(cloud)
            with ThreadPoolExecutor(4) as threads:
                futures = [threads.submit(pool.request, "GET",
                                          "/t/" + KNOWN_ID)
                           for _ in range(4)]
                [pid] = wait_until(lambda: asking(pool, imds), "one asks")
                imds.trouble = None
                slay(pid)
                good = 0
                for future in futures:
                    try:
                        good += future.result().status == 301
                    except ConnectionError:
                        pass  # its client goes with a worker
            # A worker that was killed loses the requests that it held, and it
            # may hold several.
            assert good >= 1
            wait_complete(pool)
            get(pool)


def test_web_identity_token_is_replaced(cloud):
    """The kubelet writes a new token now and then; the old one ends."""
    sts = cloud.sts()
    env = cloud.web_identity(sts)
    with cloud.pool(**env) as pool:
        pool.start()
        with Load(work_on(pool)) as load:
            load.wait_calls(10)
            for n in range(2, 4):
                cloud.web_identity(sts)
                revoke(cloud)
                load.wait_calls(20)
                assert len(sts.calls) == n
    assert len({c["WebIdentityToken"] for c in sts.calls}) == 3
    assert len(cloud.issuer.used()) == 3


def test_keys_belong_to_their_configuration(cloud):
    """What is shared is not taken by those who are configured otherwise: after
    a reload, and after a restart in the same directories."""
    first, second = cloud.container(), cloud.container()
    imds = cloud.imds()
    with cloud.pool(**first.env()) as pool:
        pool.start()
        for _ in range(8):
            get(pool)
        [keys] = cloud.issuer.used()

        pool.settings.update(second.env())
        reload(pool)
        for _ in range(8):
            get(pool)
        assert len(first.requests) == len(second.requests) == 1
        assert cloud.issuer.uses[-1][0].origin == "container"
        assert cloud.issuer.uses[-1][0] is not keys

        pool.stop()
        del pool.settings["AWS_CONTAINER_CREDENTIALS_FULL_URI"]
        pool.settings.update(imds.env())
        pool.start()
        for _ in range(8):
            get(pool)
        assert cloud.issuer.uses[-1][0].origin == "imds"
        assert imds.fetches() == 1
