"""API keys, and pages of other sites: who may create links."""

import base64
import json
import os
import re
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import webservers
from aws_wire import HANG_UP, Proxy
from harness import Pool, make_dir, run_tool, wait_until
from test_webservers import ask

URL = "https://example.com/page"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
PARTNER = "https://partner.example"
TYPO = "curt_" + 43 * "a" + "0JI41w"
UNKNOWN = "curt_" + 43 * "a" + "0JI41v"


class KeyPool(Pool):
    """The tool without the search for leaks, which takes as long as all the
    rest; open_pool has it."""

    def tool(self, *args, check=True, stdin=None):
        env = self.env()
        env["ASAN_OPTIONS"] += ":detect_leaks=0"
        return run_tool(self.build, self.workdir, env, ("-c", self.conf), args,
                        check, stdin)


def make_key(pool, name, *options):
    """A new key, which is all that is printed."""
    done = pool.tool("key", "create", name, *options)
    assert re.fullmatch(r"curt_[A-Za-z0-9]{49}\n", done.stdout), done.stdout
    assert done.stderr == ""
    return done.stdout.strip()


def shown(pool, name):
    return json.loads(pool.tool("key", "show", name, "-j").stdout)


def post(pool, key=None, method="POST", **fields):
    """POST /create; fields: of its head, with _ for -."""
    headers = {"Content-Type": "application/json", "Accept": "application/json",
               **{name.replace("_", "-"): value
                  for name, value in fields.items()}}
    if key is not None:
        headers["X-Api-Key"] = key
    return pool.request(method, "/create", headers,
                        json.dumps({"long_url": URL}))


def check(pool, key, status, reason=None):
    """The answer to a create with a key. That of a refusal says why."""
    answer = post(pool, key)
    assert answer.status == status, answer.raw
    challenge = answer.headers.get("www-authenticate")
    if status in (401, 403):
        detail = json.loads(answer.body)["detail"]
        assert detail == "The API key %s." % reason
        error = "invalid_token" if status == 401 else "insufficient_scope"
        assert challenge == ('Bearer realm="curt", error="%s", '
                             'error_description="%s"' % (error, detail))
        assert not key or key not in answer.raw.decode()
    else:
        assert challenge is None
    return answer


@pytest.fixture(scope="module", params=webservers.STORES)
def pool(request, build, module_store_settings):
    settings = module_store_settings(request.param)
    with KeyPool(build, {**settings, "CREATE_AUTH": "key", "LOG_LEVEL": "debug",
                         "CORS_ORIGINS": "http://x.example " + PARTNER}) as p:
        yield p.start()


@pytest.fixture(scope="module")
def open_pool(build, module_store_settings):
    with Pool(build, {**module_store_settings("sqlite"),
                      "CORS_ORIGINS": PARTNER}) as p:
        yield p.start()


# ---- Keys

def test_a_key_is_needed(pool):
    key = make_key(pool, "needed")
    answer = post(pool)
    assert answer.status == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="curt"'
    assert "needs an API key" in json.loads(answer.body)["detail"]
    for fields in ({"X_Api_Key": key}, {"Authorization": "Bearer " + key},
                   {"Authorization": "bearer  " + key},
                   {"X_Api_Key": key, "Authorization": "Bearer " + TYPO},
                   {"X_Api_Key": key, "Authorization": "Basic eDp5"}):
        answer = post(pool, **fields)
        assert answer.status == 200, (fields, answer.raw)
        link = json.loads(pool.tool(
            "get", json.loads(answer.body)["short_id"], "-j").stdout)
        assert link["key"] == "needed"
    assert "key" not in json.loads(answer.body)
    # The web server's, and not for curt.
    basic = base64.b64encode(("x:" + key).encode()).decode()
    assert post(pool, Authorization="Basic " + basic).status == 401
    # Links are followed without a key.
    assert pool.request("GET", "/t/" + link["short_id"]).status == 301


def test_what_is_wrong_with_a_key(pool):
    check(pool, "hunter2", 401, "is malformed")
    check(pool, "", 401, "is malformed")
    check(pool, TYPO, 401, "has a typo")
    check(pool, UNKNOWN, 401, "is unknown")
    check(pool, UNKNOWN, 401, "is unknown")
    reader = make_key(pool, "reader", "--scopes", "read,own")
    check(pool, reader, 403, "lacks the scope that this needs")
    check(pool, make_key(pool, "boss", "--scopes", "admin"), 200)
    soon = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3))
    brief = make_key(pool, "brief", "--expires", soon)
    wait_until(lambda: post(pool, brief).status == 401, "its end")
    check(pool, brief, 401, "has expired")


def test_a_change_counts_with_the_next_request(pool):
    key = make_key(pool, "changed")
    for verb, status, reason, state in (
            ("show", 200, None, "active"),
            ("disable", 401, "is disabled", "disabled"),
            ("enable", 200, None, "active"),
            ("disable", 401, "is disabled", "disabled"),
            ("revoke", 401, "is revoked", "revoked")):
        pool.tool("key", verb, "changed")
        for _ in range(3):
            check(pool, key, status, reason)
        assert shown(pool, "changed")["state"] == state
    done = pool.tool("key", "enable", "changed", check=False)
    assert (done.returncode, done.stderr) == (
        os.EX_DATAERR, "curt: the API key is revoked, and that is final\n")
    check(pool, key, 401, "is revoked")


def test_rotate(pool):
    old = make_key(pool, "rotated", "--scopes", "create,own", "--expires", "9d")
    before = shown(pool, "rotated")
    check(pool, old, 200)
    new = json.loads(pool.tool("key", "rotate", "rotated", "-j").stdout)
    for key in (old, new["key"]):
        check(pool, key, 200)
    after = shown(pool, "rotated")
    assert [after[n] for n in ("name", "scopes", "expires")] == [
        before[n] for n in ("name", "scopes", "expires")] == [
        new[n] for n in ("name", "scopes", "expires")]
    newest = pool.tool("key", "rotate", "rotated", "--grace", 0).stdout.strip()
    check(pool, newest, 200)
    for key in (old, new["key"]):
        check(pool, key, 401, "has expired")
    # An old one is switched off with the new one.
    last = pool.tool("key", "rotate", "rotated").stdout.strip()
    pool.tool("key", "disable", "rotated")
    for key in (newest, last):
        check(pool, key, 401, "is disabled")
    pool.tool("key", "enable", "rotated")
    check(pool, newest, 200)
    pool.tool("key", "revoke", "rotated")
    for key in (old, new["key"], newest, last):
        check(pool, key, 401, "is revoked")
    assert pool.tool("key", "rotate", "rotated", check=False).stderr == (
        "curt: the API key rotated is revoked\n")


def test_the_day_of_the_last_use(pool):
    key = make_key(pool, "used")
    assert "last_used" not in shown(pool, "used")
    first = time.strftime("%Y-%m-%d", time.gmtime())
    check(pool, key, 200)
    assert shown(pool, "used")["last_used"] in (
        first, time.strftime("%Y-%m-%d", time.gmtime()))
    line = "%-24s %-8s %-20s " % ("used", "active", "create")
    assert line + first in pool.tool("key", "list").stdout


def test_names_are_unique(pool):
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(
            lambda name: pool.tool("key", "create", name, check=False),
            ["same", "same", "same", "other1", "other2"]))
    same = [d for d in done[:3] if d.returncode == 0]
    assert len(same) == 1, done
    for d in done[:3]:
        if d not in same:
            assert (d.returncode, d.stdout) == (os.EX_DATAERR, "")
            assert d.stderr.startswith(
                'curt: an API key was named "same" already, and a name is not '
                "used again")
    assert [d.returncode for d in done[3:]] == [0, 0]
    for d in (same[0], *done[3:]):
        check(pool, d.stdout.strip(), 200)
    pool.tool("key", "revoke", "same")
    done = pool.tool("key", "create", "same", check=False)
    assert done.returncode == os.EX_DATAERR
    listed = [json.loads(line)["name"]
              for line in pool.tool("key", "list", "-j").stdout.splitlines()]
    assert {"same", "other1", "other2"} <= set(listed)
    assert len(set(listed)) == len(listed)


@pytest.mark.parametrize("words, status, error", [
    (["create", "a b"], 65, 'the name "a b" is not valid: 1 to 64 letters, '
     "digits, -, _ and ."),
    (["create", "x" * 65], 65, 'the name "%s" is not valid: 1 to 64 letters, '
     "digits, -, _ and ." % ("x" * 65)),
    (["create", "n", "--scopes", "writ"], 65, '--scopes "writ": expected '
     "create, read, manage, admin or own, separated by commas"),
    (["create", "n", "--expires", "soon"], 65, '--expires "soon": expected '
     "days such as 90d, or a time to come such as 2030-01-31T00:00:00Z"),
    (["create", "n", "--expires", "0d"], 65, '--expires "0d": expected days '
     "such as 90d, or a time to come such as 2030-01-31T00:00:00Z"),
    (["create", "n", "--expires", "2018-11-29T00:05:02Z"], 65, '--expires '
     '"2018-11-29T00:05:02Z": expected days such as 90d, or a time to come '
     "such as 2030-01-31T00:00:00Z"),
    (["create", "n", "--plan", "gold"], 65, 'no plan is named "gold"; create '
     "it first: curt plan set"),
    (["rotate", "n", "--grace", "1d"], 65, '--grace "1d": expected seconds, 0 '
     "to 31536000"),
    (["show", "nothing"], 1, 'no API key is named "nothing"; see: curt key '
     "list"),
    (["revoke", "nothing"], 1, 'no API key is named "nothing"; see: curt key '
     "list"),
    (["rotate", "nothing"], 1, 'no API key is named "nothing"; see: curt key '
     "list"),
])
def test_errors_of_the_tool(open_pool, words, status, error):
    done = open_pool.tool("key", *words, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (
        status, "", "curt: %s\n" % error)


def test_without_a_cache(build, store_env):
    with KeyPool(build, {**store_env, "CREATE_AUTH": "key",
                         "CACHE_SIZE": "0"}) as pool:
        pool.start()
        key = make_key(pool, "uncached")
        check(pool, key, 200)
        check(pool, UNKNOWN, 401, "is unknown")
        pool.tool("key", "revoke", "uncached")
        check(pool, key, 401, "is revoked")


def test_another_host_and_an_outage(build, dynamodb_local, store_settings,
                                    tmp_path):
    """A key that is revoked on one host is refused on the other within
    CACHE_TTL. While the store is unavailable, what is known of keys counts."""
    settings = {**store_settings("dynamodb"), "CREATE_AUTH": "key",
                "CACHE_TTL": 2}
    with Proxy(dynamodb_local.endpoint) as proxy, KeyPool(
            build, settings) as one, KeyPool(build, {
                **settings, "AWS_ENDPOINT_URL_DYNAMODB": proxy.endpoint,
                "STATE_DIR": make_dir(tmp_path / "state"),
                "STORE_TIMEOUT": 5,
                "RUNTIME_DIR": make_dir(tmp_path / "run")}) as two:
        tmp_path.chmod(0o755)
        one.start()
        two.start()
        key = make_key(one, "hosts")
        reader = make_key(one, "reads", "--scopes", "read")
        fresh = make_key(one, "fresh")
        for host in (one, two):
            check(host, key, 200)
            check(host, reader, 403, "lacks the scope that this needs")
        one.tool("key", "revoke", "hosts")
        revoked = last = time.monotonic()
        check(one, key, 401, "is revoked")
        while post(two, key).status == 200:
            assert last < revoked + 2  # when it was sent
            last = time.monotonic()
        check(two, key, 401, "is revoked")
        proxy.fault = lambda request, forward: HANG_UP
        assert post(two, fresh).status == 503
        check(two, key, 401, "is revoked")
        check(two, reader, 403, "lacks the scope that this needs")
        check(two, TYPO, 401, "has a typo")


# ---- Secrets

def memory_of(pid, needle):
    """Whether the bytes are anywhere in the memory of a process."""
    with open("/proc/%d/maps" % pid) as maps, open(
            "/proc/%d/mem" % pid, "rb") as memory:
        for line in maps:
            where, access, *_, name = line.split()
            begin, end = (int(n, 16) for n in where.split("-"))
            # The sanitizer's shadow is larger, and has no such bytes. The files
            # of curt are read as files.
            if (access[:2] != "rw" or end - begin > 1 << 26
                    or (access[3] == "s" and name.startswith("/"))):
                continue
            try:
                memory.seek(begin)
                if needle in memory.read(end - begin):
                    return True
            except (OSError, ValueError):
                pass
    return False


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may look")
def test_a_key_is_nowhere(pool):
    """Not in the log, the memory of a worker, a file or a list of processes."""
    key = make_key(pool, "secret")
    answers = [check(pool, key, 200)]
    body = "api_key=%s&long_url=%s" % (key, "https%3A%2F%2Fexample.com%2F")
    for _ in range(4):
        answers.append(pool.request("POST", "/create", FORM, body))
        answers.append(post(pool, Authorization="Bearer " + key))
    assert {a.status for a in answers} == {200}
    pool.tool("key", "revoke", "secret")
    for _ in range(4):
        answers.append(check(pool, key, 401, "is revoked"))
    secret = key[5:48].encode()
    # What is not secret is found: the last request of a worker.
    assert pool.request("GET", "/t/~", {"User-Agent": "seen-" + 40 * "x"})
    assert any(memory_of(pid, b"seen-" + 40 * b"x") for pid in pool.workers())
    assert not any(secret in a.raw for a in answers)
    assert "link " in pool.log() and key not in pool.log()
    for pid in pool.children():
        assert not memory_of(pid, secret), pid
        for name in ("cmdline", "environ"):
            assert secret not in Path("/proc/%d/%s" % (pid, name)).read_bytes()
        # No core dump, and only root may attach to it.
        if pid in pool.workers():
            assert os.stat("/proc/%d/mem" % pid).st_uid == 0
    for top in ("STATE_DIR", "RUNTIME_DIR"):
        for path in Path(pool.settings[top]).rglob("*"):
            if path.is_file():
                assert secret not in path.read_bytes(), path


def test_a_core_dump_is_refused(pool):
    """The kernel's own answer: PR_GET_DUMPABLE as gdb's gcore meets it."""
    for pid in pool.workers():
        status = Path("/proc/%d/status" % pid).read_text()
        assert "CoreDumping:\t0" in status
        done = subprocess.run(
            ["setpriv", "--reuid=65534", "--clear-groups", "cat",
             "/proc/%d/maps" % pid], capture_output=True, text=True, timeout=20)
        assert done.returncode != 0 and done.stdout == ""


# ---- The page

def test_the_form_has_a_field_for_the_key(pool, open_pool):
    page = {"Accept": "text/html", "Sec-Fetch-Site": "same-origin"}
    text = pool.request("GET", "/", page).body.decode()
    [field] = re.findall(r"<input[^>]*name=\"api_key\"[^>]*>", text)
    assert 'type="password"' in field and 'autocomplete="off"' in field
    assert "api_key" not in open_pool.request("GET", "/", page).body.decode()
    key = make_key(pool, "page")
    url = "long_url=https%3A%2F%2Fexample.com%2Fform"
    answer = pool.request("POST", "/create", {**page, **FORM},
                          url + "&api_key=" + key)
    assert answer.status == 200 and b"Your short link" in answer.body
    assert key not in answer.body.decode()
    for value, text in (("", "needs an API key"), (TYPO, "has a typo")):
        answer = pool.request("POST", "/create", {**page, **FORM},
                              url + "&api_key=" + value)
        body = answer.body.decode()
        assert answer.status == 401 and text in body
        assert 'value="https://example.com/form"' in body
        assert answer.headers["www-authenticate"].startswith("Bearer ")
        assert not value or value not in body


# ---- Pages of other sites

def preflight(pool, origin):
    return pool.request("OPTIONS", "/create", {
        "Origin": origin, "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-api-key"})


def test_cors(pool):
    answer = preflight(pool, PARTNER)
    assert (answer.status, answer.body) == (204, b"")
    fields = answer.headers
    assert fields["access-control-allow-origin"] == PARTNER
    assert fields["access-control-allow-methods"] == "POST"
    assert set(fields["access-control-allow-headers"].split(", ")) == {
        "content-type", "x-api-key", "authorization", "idempotency-key",
        "accept"}
    assert int(fields["access-control-max-age"]) > 0
    assert fields["vary"] == "Origin"
    for origin in ("https://evil.example", "null", PARTNER + ".evil.example",
                   "https://partner", PARTNER + ":8443", ""):
        answer = preflight(pool, origin)
        assert answer.status == 403, origin
        assert "access-control-allow-origin" not in answer.headers
    assert pool.request("OPTIONS", "/create").status == 405
    key = make_key(pool, "cors")
    for key, status in ((key, 200), (TYPO, 401), (None, 401)):
        answer = post(pool, key, Origin=PARTNER, Sec_Fetch_Site="cross-site")
        assert answer.status == status, answer.raw
        assert answer.headers["access-control-allow-origin"] == PARTNER
    # A field with a key needs a preflight, so it is not the visitor's browser
    # that is used against them; but its page may not read the answer.
    answer = post(pool, make_key(pool, "evil"), Origin="https://evil.example",
                  Sec_Fetch_Site="cross-site")
    assert answer.status == 200
    assert "access-control-allow-origin" not in answer.headers


def test_open_creation_is_for_pages_of_this_site(open_pool):
    pool = open_pool
    for fields, status in (
            ({}, 200), ({"Sec_Fetch_Site": "same-origin"}, 200),
            ({"Sec_Fetch_Site": "none"}, 200),
            ({"Sec_Fetch_Site": "cross-site"}, 403),
            ({"Sec_Fetch_Site": "same-site"}, 403),
            ({"Origin": "https://evil.example"}, 403), ({"Origin": "null"}, 403),
            ({"Origin": "http://127.0.0.1"}, 200),
            ({"Origin": PARTNER}, 200),
            ({"Origin": PARTNER, "Sec_Fetch_Site": "cross-site"}, 200),
            ({"Origin": PARTNER + "x", "Sec_Fetch_Site": "cross-site"}, 403),
            ({"Authorization": "Basic eDp5"}, 200),
            ({"Authorization": "Basic eDp5", "Sec_Fetch_Site": "cross-site"},
             403)):
        answer = post(pool, **fields)
        assert answer.status == status, (fields, answer.raw)
        assert ("access-control-allow-origin" in answer.headers) == (
            fields.get("Origin") == PARTNER)


def test_open_creation_with_a_key(open_pool):
    """A key is not needed, but one that is sent must be right: its name is
    stored with the link."""
    check(open_pool, TYPO, 401, "has a typo")
    check(open_pool, UNKNOWN, 401, "is unknown")
    answer = check(open_pool, make_key(open_pool, "opener"), 200)
    link = json.loads(open_pool.tool(
        "get", json.loads(answer.body)["short_id"], "-j").stdout)
    assert link["key"] == "opener"
    answer = post(open_pool)
    assert "key" not in json.loads(open_pool.tool(
        "get", json.loads(answer.body)["short_id"], "-j").stdout)


@pytest.mark.parametrize("kind", sorted(webservers.KINDS))
def test_through_a_web_server(build, module_store_settings, kind):
    """Each shipped file passes on the fields of a key and a preflight."""
    settings = {**module_store_settings("sqlite"), "CREATE_AUTH": "key",
                "CORS_ORIGINS": PARTNER}
    with webservers.Site(build, kind, settings) as site:
        # The web server's account makes the database, not root with the tool.
        answer = ask(site, "POST", "/create", {"X-Api-Key": UNKNOWN}, "{}")
        assert answer.status == 401
        key = make_key(site, "web")
        for fields, status in (({}, 401), ({"X-Api-Key": key}, 200),
                               ({"Authorization": "Bearer " + key}, 200),
                               ({"X-Api-Key": TYPO}, 401)):
            answer = ask(site, "POST", "/create", fields,
                         json.dumps({"long_url": URL}))
            assert answer.status == status, (fields, answer.text)
            assert ("www-authenticate" in answer.headers) == (status == 401)
        answer = ask(site, "OPTIONS", "/create", {
            "Origin": PARTNER, "Access-Control-Request-Method": "POST"})
        assert answer.status == 204, answer.text
        assert answer.headers["access-control-allow-origin"] == PARTNER
