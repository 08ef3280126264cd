"""Limits by address, usage plans, and quotas that hosts share."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from aws_wire import HANG_UP, Proxy
from harness import Pool, run_tool, wait_until
from proctools import JSON, make_link, open_db, reload, said, wait_said
from webservers import STORES

# Nothing comes back during a test.
SLOW = "%d/86400"


def create(pool, address="192.0.2.1", key=None, url="https://example.com/"):
    headers = {**JSON, **({"X-Api-Key": key} if key else {})}
    return pool.request("POST", "/create", headers,
                        json.dumps({"long_url": url}),
                        params={"REMOTE_ADDR": address})


def get(pool, short_id, address="192.0.2.1", method="GET", headers=()):
    return pool.request(method, "/t/" + short_id, headers,
                        params={"REMOTE_ADDR": address})


def limits_of(answer):
    """{name: (q, w, r, t)} of RateLimit-Policy and RateLimit."""
    def items(field, first, second):
        pattern = r'"(\w+)";%s=(\d+);%s=(\d+)' % (first, second)
        value = answer.headers[field]
        found = re.findall(pattern, value)
        assert re.sub(pattern, "", value).strip(", ") == "", value
        return {name: (int(a), int(b)) for name, a, b in found}
    policies = items("ratelimit-policy", "q", "w")
    states = items("ratelimit", "r", "t")
    assert policies.keys() == states.keys()
    return {name: policies[name] + states[name] for name in policies}


def check_refused(answer, name, text):
    assert answer.status == 429, answer.raw
    assert answer.headers["content-type"] == "application/problem+json"
    assert text in json.loads(answer.body)["detail"]
    q, w, r, t = limits_of(answer)[name]
    assert r == 0 and 0 < t <= w
    assert 0 < int(answer.headers["retry-after"]) <= w
    return answer


def add_plan(pool, name, *options):
    pool.tool("plan", "set", name, *options)
    return pool.tool("key", "create", name, "--plan", name).stdout.strip()


@pytest.fixture(scope="module", params=STORES)
def pool(request, build, module_store_settings):
    """A pool with limits, for many tests: each has addresses of its own."""
    with Pool(build, {
            **module_store_settings(request.param), "LIMITS": "on",
            "CREATE_LIMIT": SLOW % 5, "AUTH_LIMIT": SLOW % 3,
            "UNKNOWN_LIMIT": SLOW % 4}) as started:
        started.store = request.param
        yield started.start()


# By address

def test_creation_without_a_key(pool):
    for left in (4, 3, 2, 1, 0):
        answer = create(pool, "192.0.2.1")
        assert answer.status == 200
        q, w, r, t = limits_of(answer)["create"]
        assert (q, w, r) == (5, 86400, left) and 0 < t <= w
        assert "retry-after" not in answer.headers
    check_refused(create(pool, "192.0.2.1"), "create", "Your address")
    assert create(pool, "192.0.2.2").status == 200
    # The same address in IPv6's form, and another one of the same /64
    check_refused(create(pool, "::ffff:192.0.2.1"), "create", "Your address")
    for i in range(5):
        assert create(pool, "2001:db8:1:2::%d" % i).status == 200
    check_refused(create(pool, "2001:db8:1:2:3::1"), "create", "Your address")
    assert create(pool, "2001:db8:1:3::1").status == 200
    # A key is not limited by its address.
    key = pool.tool("key", "create", "no-plan").stdout.strip()
    answer = create(pool, "192.0.2.1", key)
    assert answer.status == 200 and "ratelimit" not in answer.headers
    # A body that cannot be read costs nothing, a URL that is refused does.
    for _ in range(9):
        assert pool.request("POST", "/create", JSON, "{", params={
            "REMOTE_ADDR": "192.0.2.3"}).status == 400
    assert [create(pool, "192.0.2.3", url="nonsense").status
            for _ in range(6)] == [400] * 5 + [429]
    page = pool.request(
        "POST", "/create", {"Accept": "text/html",
                            "Content-Type": "application/x-www-form-urlencoded"},
        "long_url=https%3A%2F%2Fexample.com%2Fkept",
        params={"REMOTE_ADDR": "192.0.2.1"})
    assert page.status == 429 and "https://example.com/kept" in page.text


def test_ids_that_do_not_exist(pool):
    cached, other = make_link(pool), make_link(pool)
    assert get(pool, cached, "192.0.2.9").status == 301
    address = "192.0.2.10"
    for i in range(4):
        assert get(pool, "guess%d" % i, address,
                   "HEAD" if i == 3 else "GET").status == 404
    text = "links that do not exist"
    check_refused(get(pool, "guess4", address), "unknown", text)
    check_refused(get(pool, "guess0", address), "unknown", text)
    check_refused(get(pool, "guess5+", address), "unknown", text)
    assert get(pool, "guess4", address, "HEAD").status == 429
    # One that is not in the cache might be a guess; one that is, is served.
    check_refused(get(pool, other, address), "unknown", text)
    assert get(pool, cached, address).status == 301
    assert get(pool, other, "192.0.2.11").status == 301
    assert get(pool, other, address).status == 301
    assert get(pool, "guess4", "192.0.2.11").status == 404
    page = get(pool, "guess6", address, headers={"Accept": "text/html"})
    assert page.status == 429 and "<html" in page.text


def test_wrong_keys(pool):
    key = pool.tool("key", "create", "guessed").stdout.strip()
    address = "192.0.2.20"
    for wrong in ("curt_x", key[:-1], key[::-1]):
        assert create(pool, address, wrong).status == 401
    check_refused(create(pool, address, key), "auth", "wrong API keys")
    check_refused(create(pool, address, "curt_x"), "auth", "wrong API keys")
    assert create(pool, "192.0.2.21", key).status == 200
    # Without a key, and for links, the address is as before.
    assert create(pool, address).status == 200
    assert get(pool, "nothere", address).status == 404


# By plan

def test_rate_of_a_plan(pool):
    key = add_plan(pool, "rated", "--rate", SLOW % 3)
    for left in (2, 1, 0):
        answer = create(pool, key=key)
        assert answer.status == 200
        assert limits_of(answer)["key"][:3] == (3, 86400, left)
    check_refused(create(pool, key=key), "key", "This API key")
    # A change counts with the next request.
    pool.tool("plan", "set", "rated", "--rate", "1000/1")
    wait_until(lambda: create(pool, key=key).status == 200, "the next one", 5)
    pool.tool("plan", "set", "rated", "--rate", "")
    answer = create(pool, key=key)
    assert answer.status == 200 and "ratelimit" not in answer.headers


def test_quota_of_a_plan(pool):
    key = add_plan(pool, "small", "--quota", "3/month")
    for left in (2, 1, 0):
        answer = create(pool, key=key)
        assert answer.status == 200
        q, w, r, t = limits_of(answer)["quota"]
        assert (q, r) == (3, left) and w % 86400 == 0 and 0 < t <= w
    check_refused(create(pool, key=key), "quota", "quota of this API key")
    check_refused(create(pool, key=key), "quota", "quota of this API key")
    pool.tool("plan", "set", "small", "--quota", "5/month")
    assert [create(pool, key=key).status for _ in range(3)] == [200, 200, 429]
    pool.tool("plan", "set", "small", "--quota", "1/day", "--rate", SLOW % 9)
    answer = create(pool, key=key)
    assert answer.status == 200 and set(limits_of(answer)) == {"key", "quota"}
    assert limits_of(create(pool, key=key))["quota"][:2] == (1, 86400)


def test_plans_of_the_tool(pool):
    env = pool.env()
    env["ASAN_OPTIONS"] += ":detect_leaks=0"  # which takes as long as the rest

    def tool(*args):
        done = run_tool(pool.build, pool.workdir, env, ("-c", pool.conf),
                        ("plan", *args), check=False)
        return done.returncode, done.stdout + done.stderr
    assert tool("set", "tooled", "--rate", "10/1", "--quota", "7/week") == (
        0, "tooled: rate 10/1, quota 7/week\n")
    assert tool("set", "tooled", "--rate", "") == (
        0, "tooled: rate unlimited, quota 7/week\n")
    assert json.loads(tool("show", "tooled", "-j")[1]) == {
        "name": "tooled", "rate": None, "quota": "7/week"}
    assert "tooled: rate unlimited, quota 7/week\n" in tool("list")[1]
    # A name that the store has for itself is one like any other.
    assert tool("set", "ttl", "--quota", "1/day")[0] == 0
    assert "ttl: rate unlimited, quota 1/day\n" in tool("list")[1]
    assert tool("delete", "ttl") == (0, "plan ttl is deleted\n")
    assert "ttl:" not in tool("list")[1]
    assert tool("show", "ttl")[0] == tool("delete", "ttl")[0] == 1
    pool.tool("key", "create", "user", "--plan", "tooled")
    status, text = tool("delete", "tooled")
    assert status == 65 and "curt key revoke user" in text
    pool.tool("key", "revoke", "user")
    assert tool("delete", "tooled", "-j") == (0, '{"deleted":"tooled"}\n')


@pytest.mark.parametrize("pool", ["sqlite"], indirect=True)
def test_plans_that_are_refused(pool):
    for args, status, text in (
            (("set", "x"), 64, "--rate or --quota"),
            (("set", "x", "--rate", "1"), 64, "COUNT/SECONDS, such as 10/1"),
            (("set", "x", "--quota", "1/year"), 64, "COUNT/month"),
            (("set", "a b", "--rate", "1/1"), 65, "letters, digits"),
            (("set", "x" * 59, "--rate", "1/1"), 65, "1 to 58")):
        done = pool.tool("plan", *args, check=False)
        assert done.returncode == status and text in done.stderr, done


def test_plans_that_are_set_at_once(pool):
    """Neither command loses what the other sets, and both are in the list."""
    changes = [("--rate", "10/1"), ("--quota", "7/week")] * 4
    with ThreadPoolExecutor(len(changes)) as threads:
        for done in [threads.submit(pool.tool, "plan", "set", "both", *change)
                     for change in changes]:
            done.result()
    assert "both: rate 10/1, quota 7/week\n" in pool.tool("plan", "list").stdout


def test_a_damaged_list_of_plans(build, store_settings):
    with Pool(build, {**store_settings("sqlite"), "LIMITS": "on"}
              ).start() as pool:
        pool.tool("plan", "set", "a", "--rate", "1/1")
        with open_db(pool) as db:
            db.execute("UPDATE records SET value = '{\"names\": 1}'"
                       " WHERE key = '~plans'")
        for args in (["list"], ["set", "a", "--rate", "1/1"], ["delete", "a"]):
            done = run_tool(build, pool.workdir, pool.env(), ("-c", pool.conf),
                            ("plan", *args), check=False)
            assert (done.returncode, done.stderr) == (
                65, "curt: the record ~plans is not a list of names\n"), args
        with open_db(pool) as db:
            assert db.execute("SELECT value FROM records WHERE key = '~plans'"
                              ).fetchall() == [('{"names": 1}',)]


# The file

def test_what_was_used_outlives_the_processes(build, store_settings):
    with Pool(build, {**store_settings("sqlite"), "LIMITS": "on",
                      "CREATE_LIMIT": SLOW % 2}) as pool:
        pool.start()
        assert [create(pool).status for _ in range(3)] == [200, 200, 429]
        pool.stop()
        pool.start()
        assert create(pool).status == 429
        for limits, status in (("off", 200), ("on", 429)):
            pool.settings["LIMITS"] = limits
            reload(pool)
            assert create(pool).status == status
            assert ("ratelimit" in create(pool).headers) == (limits == "on")


def test_without_the_file_requests_are_served(build, store_settings):
    settings = store_settings("sqlite")
    path = Path(settings["RUNTIME_DIR"]) / "limits"
    path.mkdir()
    with Pool(build, {**settings, "LIMITS": "on", "CREATE_LIMIT": SLOW % 1,
                      "CACHE_SIZE": "0"}) as pool:
        pool.start()
        assert [create(pool).status for _ in range(3)] == [200] * 3
        wait_said(pool, "nothing is limited but quotas", "warning")
        key = add_plan(pool, "exact", "--quota", "4/day")
        assert [create(pool, key=key).status for _ in range(6)] == \
            [200] * 4 + [429] * 2
        path.rmdir()
        wait_until(lambda: create(pool).status == 429, "the file", 20)
        assert said(pool, "limits opened")
        with open_db(pool) as db:
            db.execute("DELETE FROM records WHERE key = '~plan~exact'")
        assert [create(pool, key=key).status for _ in range(2)] == [200] * 2
        wait_said(pool, "there is no plan exact", "warning")


# The store

def test_refusals_cost_no_query(build, dynamodb_local, store_settings):
    settings = store_settings("dynamodb")
    with Proxy(dynamodb_local.endpoint) as proxy, Pool(build, {
            **settings, "AWS_ENDPOINT_URL_DYNAMODB": proxy.endpoint,
            "LIMITS": "on", "CREATE_LIMIT": SLOW % 1, "AUTH_LIMIT": SLOW % 1,
            "UNKNOWN_LIMIT": SLOW % 1, "HITS_FLUSH": 3600}, workers=2) as pool:
        pool.start()
        key = add_plan(pool, "none", "--quota", "1000/month", "--rate", SLOW % 14)
        assert create(pool).status == 200
        assert get(pool, "guess").status == 404
        assert create(pool, "192.0.2.5", "curt_x").status == 401
        before = len(proxy.requests)
        assert [create(pool, key=key).status for _ in range(16)] == \
            [200] * 14 + [429] * 2
        counts = [r.json["Key"]["short_id"]["S"] for r in proxy.requests[before:]
                  if r.action == "UpdateItem"]
        # Two leases of ten, and the day of the key's first use
        assert len([c for c in counts if c.startswith("~quota~")]) == 2
        before = len(proxy.requests)
        for i in range(5):
            assert create(pool).status == 429
            assert create(pool, key=key).status == 429
            assert create(pool, "192.0.2.5", key).status == 429
            assert get(pool, "guess%d" % i).status == 429
        assert len(proxy.requests) == before
        # Without the store a lease cannot be taken: 503, and no link more.
        pool.tool("plan", "set", "none", "--rate", "")
        assert create(pool, key=key).status == 200

        def fail(request, forward):
            return HANG_UP if request.action == "UpdateItem" else None
        proxy.fault = fail
        statuses = [create(pool, key=key).status for _ in range(8)]
        assert statuses == [200] * 5 + [503] * 3
        proxy.fault = None
        wait_until(lambda: create(pool, key=key).status == 200, "the store", 20)


@pytest.mark.parametrize("store, quota", [("sqlite", 300), ("dynamodb", 1000)])
def test_hosts_share_a_quota(build, store_settings, store, quota):
    """So many links a month: 50 clients on two hosts get them all, or up to a
    lease of 10 less for each host."""
    settings = {**store_settings(store), "LIMITS": "on",
                "LOG_LEVEL": "warning"}
    other = store_settings("sqlite")
    moved = ["RUNTIME_DIR"] + ["STATE_DIR"] * (store == "dynamodb")
    hosts = [Pool(build, settings),
             Pool(build, {**settings, **{k: other[k] for k in moved}})]
    with hosts[0], hosts[1]:
        for host in hosts:
            host.start()
        key = add_plan(hosts[0], "shared", "--quota", "%d/month" % quota)

        def spend(n):
            taken = 0
            while True:
                answer = create(hosts[n % 2], key=key)
                if answer.status == 429:
                    return taken
                assert answer.status == 200, answer.raw
                taken += 1
        with ThreadPoolExecutor(50) as clients:
            taken = sum(clients.map(spend, range(50)))
        assert quota - 2 * 10 <= taken <= quota
