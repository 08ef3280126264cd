"""DynamoDB is away, comes back, and hangs: what curt answers meanwhile, and
that it goes on afterwards without being started again."""

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import dynamodb_local as local
import harness
from tutorial_site import Site, TABLE, curt_settings, make_table, short_id_of
from tutorial_site import lambda_environment  # a fixture

STORE_TIMEOUT = 3


class Movable:
    """DynamoDB Local on a port of our choice, so that it can come back."""

    def __init__(self, monkeypatch):
        any_port = '<Set name="port">0</Set>'
        assert local.JETTY.count(any_port) == 1
        self.port = harness.free_port()
        monkeypatch.setattr(local, "JETTY", local.JETTY.replace(
            any_port, any_port.replace("0", str(self.port))))
        self.server = local.DynamoDBLocal()
        self.server.endpoint = "http://127.0.0.1:%d" % self.port
        self.settings = curt_settings(self.server, STORE_TIMEOUT=STORE_TIMEOUT)

    def start(self):
        """Starts it with the table, which is empty: it keeps nothing."""
        self.server.start()
        assert self.server.endpoint == self.settings[
            "AWS_ENDPOINT_URL_DYNAMODB"]
        make_table(self.server.client(), TABLE)


@pytest.fixture
def movable(monkeypatch):
    made = Movable(monkeypatch)
    yield made
    made.server.stop()


def request_in_time(pool, method, uri, *rest):
    begin = time.monotonic()
    r = pool.request(method, uri, *rest)
    assert time.monotonic() - begin < STORE_TIMEOUT + 10
    return r


def post(pool, url):
    return request_in_time(pool, "POST", "/create",
                           {"Content-Type": "application/json"},
                           json.dumps({"long_url": url}))


def assert_unavailable(r):
    assert r.status == 503
    assert int(r.headers["retry-after"]) > 0
    assert r.headers["content-type"] == "application/problem+json"
    assert json.loads(r.text)["trace_id"] == r.headers["x-amzn-trace-id"]
    assert "location" not in r.headers


def assert_away(pool, uri):
    """Both kinds of request fail well, on both workers at the same time; what
    needs no store does not fail at all."""
    with ThreadPoolExecutor(2) as threads:
        for _ in range(2):
            get = threads.submit(request_in_time, pool, "GET", uri)
            create = threads.submit(post, pool, "https://example.com/lost")
            assert_unavailable(get.result())
            assert_unavailable(create.result())
    assert request_in_time(pool, "GET", "/t/~").status == 404
    done = pool.tool("get", "someId", check=False)
    assert done.returncode == os.EX_TEMPFAIL
    assert done.stderr.startswith("curt: ")


def wait_until_back(pool):
    """The circuit closes when its probe is answered, within its longest wait
    and a timeout."""
    harness.wait_until(
        lambda: request_in_time(pool, "GET", "/t/nobody").status == 404,
        "the store is asked again", 30, interval=0.2)


def test_dynamodb_comes_hangs_goes_and_comes_back(build, movable,
                                                  lambda_environment):
    with harness.Pool(build, movable.settings) as pool:
        pool.start()
        processes = pool.children()
        assert_away(pool, "/t/someId")

        movable.start()
        wait_until_back(pool)
        site = Site(movable.server, pool)
        item = site.item(site.lambda_create("https://example.com/back"))
        short_id = item["short_id"]["S"]
        uri = "/t/" + short_id
        for _ in range(4):
            assert request_in_time(pool, "GET", uri).status == 301
            assert post(pool, "https://example.com/").status == 200
        harness.wait_until(lambda: site.hits(short_id) == 4, "4 hits")

        # Each worker has a connection, most likely, and loses its answer.
        os.kill(movable.server.process.pid, signal.SIGSTOP)
        try:
            assert_away(pool, uri)
        finally:
            os.kill(movable.server.process.pid, signal.SIGCONT)
        wait_until_back(pool)
        for _ in range(4):
            r = request_in_time(pool, "GET", uri)
            assert r.headers["location"] == "https://example.com/back"
        assert site.lambda_get(site.curt_create("https://example.com/on")) == (
            "https://example.com/on")
        harness.wait_until(lambda: site.hits(short_id) == 8, "8 hits")

        movable.server.stop()
        assert_away(pool, uri)

        movable.start()
        wait_until_back(pool)
        site = Site(movable.server, pool)
        site.put(item)
        for _ in range(4):
            r = request_in_time(pool, "GET", uri)
            assert r.headers["location"] == "https://example.com/back"
            r = post(pool, "https://example.com/again")
            assert r.status == 200
            assert site.lambda_get(short_id_of(r.text)) == (
                "https://example.com/again")
        harness.wait_until(lambda: site.hits(short_id) == 4, "4 hits")
        assert pool.children() == processes


def test_table_is_missing(build, dynamodb_local):
    settings = curt_settings(dynamodb_local, TABLE="no-such-table")
    with harness.Pool(build, settings) as pool:
        pool.start()
        assert_unavailable(pool.request("GET", "/t/someId"))
        assert_unavailable(post(pool, "https://example.com/"))
        for action in ("GetItem", "PutItem"):
            assert [line for line in pool.log().splitlines()
                    if action in line and "no-such-table" in line
                    and "curt table create" in line]
        done = pool.tool("table", "check", check=False)
        assert done.returncode == 1
        assert "no-such-table" in done.stdout
        assert "`curt table create`" in done.stdout
