"""What the rules of a link do when it is followed, and `curt disable`, on both
stores: exactly so many visits on all hosts, and changes that the next request
sees."""

import http.server
import json
import os
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection

import pytest

import webservers
from aws_wire import HANG_UP, Proxy
from browser import Browser
from harness import Pool, make_dir, wait_until
from proctools import create, hits_of, make_link, open_db

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
FLAGS = {"forward_query", "disabled", "warning"}


def change_sqlite(pool, short_id, **fields):
    with closing(open_db(pool)) as db:
        for name, value in fields.items():
            db.execute("UPDATE links SET %s = ? WHERE short_id = ?" % name,
                       (value, short_id))


class Hosts:
    """A pool, or two that share a table as two hosts do, and the store by
    another client: what that changes is seen within CACHE_TTL."""

    def __init__(self, build, settings, count, work, local=None):
        self.store = settings["STORE"]
        self.settings = settings
        self.client = local.client() if local else None
        self.pools = [Pool(build, {
            **settings, "HITS_FLUSH": 1,
            "STATE_DIR": (settings["STATE_DIR"] if i == 0
                          else str(make_dir(work / "state"))),
            "RUNTIME_DIR": (settings["RUNTIME_DIR"] if i == 0
                            else str(make_dir(work / "run"))),
            "CACHE_TTL": 60 if i == 0 else 1})
            for i in range(count)]
        self.pool = self.pools[0]

    def __enter__(self):
        for pool in self.pools:
            pool.start()
        return self

    def __exit__(self, *exception):
        for pool in self.pools:
            pool.__exit__(*exception)

    def change(self, short_id, **fields):
        """Sets attributes of a link in the store."""
        if self.client is None:
            change_sqlite(self.pool, short_id, **fields)
            return
        for name, value in fields.items():
            kind = ({"BOOL": value} if name in FLAGS else
                    {"S": value} if isinstance(value, str) else
                    {"N": str(value)})
            self.client.update_item(
                TableName=self.settings["TABLE"],
                Key={"short_id": {"S": short_id}},
                UpdateExpression="SET #a = :a",
                ExpressionAttributeNames={"#a": name},
                ExpressionAttributeValues={":a": kind})

    def remove(self, short_id):
        """Leaves nothing of a link, not even that it was deleted."""
        if self.client is None:
            with closing(open_db(self.pool)) as db:
                db.execute("DELETE FROM links WHERE short_id = ?", (short_id,))
            return
        self.client.delete_item(TableName=self.settings["TABLE"],
                                Key={"short_id": {"S": short_id}})

    def make(self, url="https://example.com/page", **fields):
        """A link with rules that no host has read yet."""
        short_id = make_link(self.pool, url)
        self.change(short_id, **fields)
        return short_id

    def get(self, path, headers=(), method="GET", host=0):
        return self.pools[host].request(method, "/t/" + path, dict(headers))

    def statuses(self, path, n=6):
        """Of as many requests, so that each worker has some."""
        return {self.get(path).status for _ in range(n)}


@pytest.fixture(scope="module", params=webservers.STORES)
def hosts(request, build, module_store_settings, tmp_path_factory):
    settings = module_store_settings(request.param)
    dynamodb = request.param == "dynamodb"
    work = tmp_path_factory.mktemp("hosts")
    work.chmod(0o755)
    with Hosts(build, settings, 2 if dynamodb else 1, work,
               request.getfixturevalue("dynamodb_local") if dynamodb
               else None) as hosts:
        yield hosts


def problem(answer):
    assert answer.headers["cache-control"] == "no-store"
    return json.loads(answer.body)


def test_a_link_has_its_own_status(hosts):
    ids = {}
    for status in (301, 302, 307, 308):
        ids[status] = hosts.make("https://example.com/?a=1#f",
                                 redirect_status=status, forward_query=True)
        answer = hosts.get(ids[status] + "?b=%20\u00e4")
        assert answer.status == status
        assert answer.headers["location"] == (
            "https://example.com/?a=1&b=%20%C3%A4#f")
        assert answer.headers["cache-control"] == (
            "private, max-age=90" if status in (301, 308)
            else "private, no-cache")
    for short_id in ids.values():
        wait_until(lambda: hits_of(hosts.pool, short_id) == 1, "the hit")


def test_a_link_becomes_active_without_the_store(hosts):
    begin = int(time.time()) + 3
    short_id = hosts.make(not_before=begin)
    answer = hosts.get(short_id)
    assert answer.status == 404
    assert problem(answer)["detail"] == "This link is not active yet."
    assert problem(answer)["not_before"].startswith("20")
    assert hosts.get(short_id + "+").status == 404
    assert hosts.get(short_id + ".qr").status == 200
    hosts.remove(short_id)
    wait_until(lambda: hosts.get(short_id).status == 301, "its time")
    assert time.time() >= begin


def test_never_more_than_max_hits(hosts):
    wanted = 20
    short_id = hosts.make(max_hits=wanted)
    answer = hosts.get(short_id, method="HEAD")
    assert answer.status == 301
    assert answer.headers["cache-control"] == "no-store"

    def visit(i):
        return hosts.get(short_id, host=i % len(hosts.pools)).status

    with ThreadPoolExecutor(50) as threads:
        got = list(threads.map(visit, range(3 * wanted)))
    assert (got.count(301), got.count(410)) == (wanted, 2 * wanted)
    answer = hosts.get(short_id)
    assert problem(answer)["detail"] == "This link has had all its visits."
    assert hosts.get(short_id, method="HEAD").status == 410
    assert hosts.get(short_id + "+").status == 410
    # Nothing of it is in the journal.
    other = make_link(hosts.pool)
    assert hosts.get(other).status == 301
    wait_until(lambda: hits_of(hosts.pool, other) == 1, "a flush")
    assert hits_of(hosts.pool, short_id) == wanted
    # That it has none left costs the store nothing, until a change on this
    # host.
    hosts.change(short_id, max_hits=wanted + 2)
    assert hosts.statuses(short_id) == {410}
    hosts.pool.tool("enable", short_id)
    page = hosts.get(short_id + "+", BROWSER)
    assert "<dt>Visits left</dt><dd>2</dd>" in page.body.decode()
    assert [hosts.get(short_id).status for _ in range(4)] == [
        301, 301, 410, 410]


def test_disable_is_seen_by_the_next_request(hosts):
    short_id = hosts.make()
    assert hosts.statuses(short_id) == {301}
    reason = "phishing <b> \u00e4"
    done = hosts.pool.tool("disable", short_id, "--reason", reason)
    assert done.stdout == "%s is disabled\n" % short_id
    assert hosts.statuses(short_id) == {410}
    for path in (short_id, short_id + "+", short_id + ".qr"):
        assert problem(hosts.get(path))["reason"] == reason
    page = hosts.get(short_id, BROWSER)
    assert page.status == 410
    assert "phishing &lt;b&gt; \u00e4</bdi>" in page.body.decode()
    wait_until(lambda: hosts.get(short_id, host=-1).status == 410,
               "the other host")
    link = json.loads(hosts.pool.tool("get", short_id, "--json").stdout)
    assert (link["disabled"], link["reason"]) == (True, reason)
    done = hosts.pool.tool("enable", short_id, "--json")
    assert json.loads(done.stdout) == {"enabled": short_id}
    assert hosts.statuses(short_id) == {301}
    link = json.loads(hosts.pool.tool("get", short_id, "--json").stdout)
    assert not {"disabled", "reason"} & set(link)


def test_a_warning_is_passed_once_for_each_visit(hosts):
    short_id = hosts.make("https://xn--mnchen-3ya.de/a")
    done = hosts.pool.tool("disable", short_id, "--warn", "--json",
                           "--reason", "look-alike")
    assert json.loads(done.stdout) == {"warned": short_id}
    page = hosts.get(short_id, BROWSER)
    assert page.status == 200
    assert page.headers["cache-control"] == "no-store"
    body = page.body.decode()
    for text in ("look-alike", "m\u00fcnchen.de", 'href="?proceed"'):
        assert text in body
    passed = {**BROWSER, "Sec-Fetch-Site": "same-origin"}
    assert hosts.get(short_id + "?proceed", {
        **BROWSER, "Sec-Fetch-Site": "cross-site"}).status == 200
    assert problem(hosts.get(short_id))["reason"] == "look-alike"
    assert hosts.get(short_id).status == 403
    answer = hosts.get(short_id + "?proceed", passed)
    assert answer.status == 301
    assert answer.headers["location"] == "https://xn--mnchen-3ya.de/a"
    assert answer.headers["cache-control"] == "no-store"
    wait_until(lambda: hits_of(hosts.pool, short_id) == 1, "the hit")


def test_what_cannot_be_disabled(hosts):
    short_id = hosts.make()
    for text in ("x" * 513, "a\nb", "\u202e"):
        done = hosts.pool.tool("disable", short_id, "--reason", text,
                               check=False)
        assert done.returncode == os.EX_DATAERR
        assert "--reason: expected at most 512 bytes" in done.stderr
    for verb in ("disable", "enable"):
        done = hosts.pool.tool(verb, "nosuch", check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert "nosuch: no such link" in done.stderr
    done = hosts.pool.tool("enable", short_id, "--warn", check=False)
    assert done.returncode == os.EX_USAGE
    assert hosts.statuses(short_id) == {301}


def test_an_id_is_never_given_away_again(build, store_env):
    """From 62 ids 30 are deleted; others are drawn then."""
    with Pool(build, {**store_env, "MIN_CHAR": 1, "MAX_CHAR": 1}) as pool:
        pool.start()

        def draw(n):
            drawn = set()
            while len(drawn) < n:
                answer = create(pool, "https://example.com/")
                if answer.status == 200:
                    drawn.add(json.loads(answer.body)["short_id"])
                else: # eight draws in a row were taken
                    assert answer.status == 503
            return drawn

        gone = draw(30)
        pool.tool("delete", *gone)
        assert {pool.request("GET", "/t/" + i).status for i in gone} == {404}
        assert not draw(20) & gone


def test_max_hits_and_a_store_that_fails(build, store_settings,
                                         dynamodb_local, tmp_path):
    """503 rather than one visit too many."""
    settings = store_settings("dynamodb")
    with Proxy(dynamodb_local.endpoint) as proxy:
        settings["AWS_ENDPOINT_URL_DYNAMODB"] = proxy.endpoint
        settings["STORE_TIMEOUT"] = 2
        with Hosts(build, settings, 1, tmp_path, dynamodb_local) as hosts:
            short_id = hosts.make(max_hits=3)
            assert hosts.get(short_id).status == 301
            proxy.fault = lambda request, forward: (
                HANG_UP if request.action == "UpdateItem" else None)
            answer = hosts.get(short_id)
            assert answer.status == 503
            assert "retry-after" in answer.headers

            def lost(request, forward):
                if request.action == "UpdateItem":
                    forward()
                    return HANG_UP
            proxy.fault = lost
            assert hosts.get(short_id).status == 503
            proxy.fault = None
            assert [hosts.get(short_id).status for _ in range(2)] == [301, 410]
            # The refusal is remembered.
            before = proxy.actions().count("UpdateItem")
            assert hosts.statuses(short_id) == {410}
            assert proxy.actions().count("UpdateItem") == before


def test_a_change_is_not_undone_by_an_old_read(build, store_settings,
                                               dynamodb_local, tmp_path):
    """An eventually consistent read may answer with what was there before."""
    settings = store_settings("dynamodb")
    old = {}

    def stale(request, forward):
        if request.action == "GetItem" and not request.json["ConsistentRead"]:
            key = request.json["Key"]["short_id"]["S"]
            return old.setdefault(key, forward())

    with Proxy(dynamodb_local.endpoint, stale) as proxy:
        settings["AWS_ENDPOINT_URL_DYNAMODB"] = proxy.endpoint
        with Hosts(build, settings, 1, tmp_path, dynamodb_local) as hosts:
            short_id = hosts.make()
            assert hosts.statuses(short_id) == {301}
            hosts.pool.tool("disable", short_id)
            assert hosts.statuses(short_id) == {410}
            hosts.pool.tool("enable", short_id)
            assert hosts.statuses(short_id) == {301}


def test_two_operators_at_once(hosts):
    """Each change is whole; none is lost unnoticed."""
    short_id = hosts.make()
    reasons = [uuid.uuid4().hex for _ in range(4)]
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda reason: hosts.pool.tool(
            "disable", short_id, "--reason", reason), reasons))
    assert all(d.stdout == "%s is disabled\n" % short_id for d in done)
    link = json.loads(hosts.pool.tool("get", short_id, "--json").stdout)
    assert link["version"] == 4
    assert link["reason"] in reasons
    assert problem(hosts.get(short_id))["reason"] == link["reason"]


def test_capital_letters_of_ids_do_not_count(build, store_env):
    with Pool(build, {**store_env, "CASE_INSENSITIVE": "on",
                      "MIN_CHAR": 20, "MAX_CHAR": 20}) as pool:
        pool.start()
        short_id = make_link(pool)
        assert short_id == short_id.lower()
        assert pool.request("GET", "/t/" + short_id.upper()).status == 301
        pool.tool("disable", short_id.upper())
        assert pool.request("GET", "/t/" + short_id).status == 410


@pytest.mark.parametrize("kind", ["nginx", "apache-proxy-fcgi"])
def test_web_servers_pass_all_of_it_on(build, store_settings, kind):
    with webservers.Site(build, kind, store_settings("sqlite")) as site:
        def get(path, **headers):
            connection = HTTPConnection("127.0.0.1", site.port, timeout=20)
            connection.request("GET", "/t/" + path, headers=headers)
            return connection.getresponse()

        short_id = make_link(site.pool, "https://example.com/#f")
        change_sqlite(site.pool, short_id, forward_query=1, warning=1,
                      redirect_status=308)
        assert get(short_id).status == 403
        page = get(short_id + "?a=1&b", Accept="text/html")
        assert page.status == 200
        assert b'href="?proceed&amp;a=1&amp;b"' in page.read()
        field = {"Sec-Fetch-Site": "cross-site", "Accept": "text/html"}
        assert get(short_id + "?proceed&a=1", **field).status == 200
        field["Sec-Fetch-Site"] = "same-origin"
        answer = get(short_id + "?proceed&a=1&b", **field)
        assert answer.status == 308
        assert answer.getheader("Location") == "https://example.com/?a=1&b#f"


class Elsewhere(http.server.BaseHTTPRequestHandler):
    """A page of another site, with a link that would skip the warning."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(b'<!DOCTYPE html><a id="link" href="%s">here</a>'
                         % self.server.link.encode())

    def log_message(self, *_):
        pass


def test_a_browser_passes_a_warning_from_its_page(build, store_settings):
    """Without a script or a cookie; and from nowhere else."""
    browser = Browser()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Elsewhere)
    threading.Thread(target=server.serve_forever, args=(0.05,)).start()
    there = "http://localhost:%d/there" % server.server_address[1]
    try:
        with webservers.Site(build, "lighttpd",
                             store_settings("sqlite")) as site:
            short_id = make_link(site.pool, there)
            change_sqlite(site.pool, short_id, warning=1, reason="a test")
            short_url = site.url + "/t/" + short_id
            server.link = short_url + "?proceed"
            page = browser.open(javaScriptEnabled=False)
            assert page("goto", short_url) == 200
            assert page("textContent", "#reason") == "a test"
            assert page("goto", server.link) == 200
            assert page("textContent", "#reason") == "a test"
            assert page("goto", there) == 200
            page("click", "#link")
            page("waitForURL", server.link)
            assert page("textContent", "#reason") == "a test"
            page("click", "#proceed")
            page("waitForURL", there)
            wait_until(lambda: hits_of(site.pool, short_id) == 1, "the hit")
            page = browser.open()
            assert page("goto", short_url) == 200
            assert page.axe() == []
            assert page.seen()["console"] == []
            browser.close()  # lighttpd waits for its connections
    finally:
        server.shutdown()
        server.server_close()
        browser.close()
