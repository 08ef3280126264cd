"""What curt says to DynamoDB, byte by byte, and what it makes of every answer
that is not the expected one."""

import datetime
import json
import re
import shutil
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import harness
import proctools
from aws_wire import HANG_UP, Answer, Proxy, closed_port
from dynamodb_local import all_items
from dynamodb_tool import (SECRET, Curt, apply_and, create_in, id_of, items,
                           once, start_pool)
from dynamodb_tool import nowhere, table  # fixtures

EX_DATAERR, EX_NOPERM, EX_TEMPFAIL = 65, 77, 75

TOKEN = "FwoGZXIvYXdzEXAMPLE" + "T0k3n/+=" * 180
LONG_URL = "https://example.com/a?utm_source=\u00e4 \U0001f517&q=1#end"


# ---- What is sent ---------------------------------------------------------


def check_request(request, env, port, scheme="http"):
    assert request.method == "POST"
    assert request.path == "/"
    assert request.value("Host") == "127.0.0.1:%d" % port
    assert request.value("Content-Type") == "application/x-amz-json-1.0"
    assert request.value("Content-Length") == str(len(request.body))
    assert request.value("X-Amz-Target").startswith("DynamoDB_20120810.")
    token = env.get("AWS_SESSION_TOKEN")
    assert request.values("X-Amz-Security-Token") == ([token] if token else [])
    for name in ("Accept-Encoding", "Expect", "Cookie", "Transfer-Encoding",
                 "Proxy-Authorization", "Connection"):
        assert request.values(name) == [], name
    assert request.json["TableName"] == env["TABLE"]

    must = {"host", "x-amz-date", "x-amz-target", "content-type"}
    assert must | ({"x-amz-security-token"} if token else set()) <= set(
        request.signed_headers())
    assert (request.value("Authorization")
            == request.authorization_by_botocore(env, scheme))
    sent = datetime.datetime.strptime(request.value("X-Amz-Date"),
                                      "%Y%m%dT%H%M%SZ")
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    assert abs((now - sent).total_seconds()) < 60


def test_every_signature_is_botocores(table, dynamodb_local):
    """Those of lasting keys are in the contract suite as well, see below."""
    table.env["AWS_SECRET_ACCESS_KEY"] = SECRET
    with Proxy(dynamodb_local.endpoint) as proxy:
        table.at(proxy)

        def ok(token, *args):
            before = len(proxy.requests)
            table.env["AWS_SESSION_TOKEN"] = token
            out = table.ok(*args)
            for request in proxy.requests[before:]:
                check_request(request, table.env, proxy.port)
            return out

        short_id = id_of(ok(TOKEN, "create", LONG_URL))
        for token in (None, TOKEN):
            item = json.loads(ok(token, "--json", "get", short_id))
            assert item["short_id"] == short_id
            ok(token, "table", "create")
        ok(TOKEN, "table", "check")
        ok(TOKEN, "delete", short_id)
        assert table("get", short_id)[0] == 1
        check_request(proxy.requests[-1], table.env, proxy.port)
        assert {"PutItem", "GetItem", "CreateTable",
                "DescribeTable", "DescribeTimeToLive"} <= set(proxy.actions())


def test_the_check_itself_notices_a_wrong_signature(table, dynamodb_local):
    with Proxy(dynamodb_local.endpoint) as proxy:
        table.at(proxy).ok("create", "https://example.com/")
        [request] = proxy.requests
        check_request(request, table.env, proxy.port)
        with pytest.raises(AssertionError):
            check_request(request, {**table.env,
                                    "AWS_SECRET_ACCESS_KEY": SECRET + "x"},
                          proxy.port)
        request.body = request.body.replace(b"example", b"elpmaxe")
        with pytest.raises(AssertionError):
            check_request(request, table.env, proxy.port)


def test_the_region_decides_what_is_signed(table, dynamodb_local):
    table.env["AWS_DEFAULT_REGION"] = "ap-southeast-2"
    table.env["AWS_REGION"] = None
    with Proxy(dynamodb_local.endpoint) as proxy:
        table.at(proxy).ok("create", "https://example.com/")
        [request] = proxy.requests
        check_request(request, {**table.env, "AWS_REGION": "ap-southeast-2"},
                      proxy.port)


def test_requests_are_what_the_design_says(table, dynamodb_local):
    with Proxy(dynamodb_local.endpoint) as proxy:
        table.at(proxy)
        short_id = id_of(table.ok("create", LONG_URL))
        table.ok("get", short_id)
        table.ok("delete", short_id)
        put, get, delete = [r.json for r in proxy.requests]
    assert set(put) == {"TableName", "Item", "ConditionExpression"}
    assert put["ConditionExpression"] == "attribute_not_exists(short_id)"
    assert set(put["Item"]) == {"short_id", "long_url", "short_url",
                                "created_at", "ttl", "hits", "analytics",
                                "creation_token"}
    assert put["Item"]["analytics"]["M"]["source_ip"] == {"NULL": True}
    assert put["Item"]["analytics"]["M"]["utm_source"] == {
        "S": "\u00e4 \U0001f517"}
    key = {"short_id": {"S": short_id}}
    assert get == {"TableName": table.env["TABLE"], "Key": key,
                   "ConsistentRead": True}
    # What is left of a link keeps its id from being given away again.
    deleted_at = int(delete["Item"].pop("deleted_at")["N"])
    assert abs(deleted_at - time.time()) < 60
    assert delete == {"TableName": table.env["TABLE"], "Item": key,
                      "ConditionExpression": "attribute_exists(long_url)"}


def test_the_item_is_the_tutorials(table, dynamodb_local):
    short_url = table.ok("create", LONG_URL)
    [item] = items(table, dynamodb_local)
    analytics = item.pop("analytics")["M"]
    ttl = int(item.pop("ttl")["N"])
    assert re.fullmatch("[A-Za-z0-9]{22}", item.pop("creation_token")["S"])
    created = datetime.datetime.strptime(item.pop("created_at")["S"],
                                         "%Y-%m-%dT%H:%M:%S")
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    assert abs((now - created).total_seconds()) < 60
    assert abs(ttl - 604800 - time.time()) < 60
    assert item == {
        "short_id": {"S": id_of(short_url)},
        "short_url": {"S": short_url},
        "long_url": {"S": "https://example.com/a?utm_source=%C3%A4%20"
                          "%F0%9F%94%97&q=1#end"},
        "hits": {"N": "0"},
    }
    assert analytics.pop("xray_trace_id")["S"].startswith("Root=1-")
    assert analytics.pop("user_agent")["S"].startswith("curt/")
    assert analytics == {"source_ip": {"NULL": True}, "q": {"S": "1"},
                         "utm_source": {"S": "\u00e4 \U0001f517"}}


# ---- Connections ----------------------------------------------------------


class Served:
    """A pool with one worker and a table, for all tests that need one; each
    has links of its own, and leaves no hit pending."""

    def __init__(self, table, local, proxy, pool):
        self.name = table.env["TABLE"]
        self.client = local.client()
        self.proxy = proxy
        self.pool = pool

    def put(self, short_id, **more):
        self.client.put_item(TableName=self.name, Item={
            "short_id": {"S": short_id}, "hits": {"N": "1"},
            "long_url": {"S": "https://example.com/"}, **more})

    def hits(self, short_id):
        return self.client.get_item(
            TableName=self.name, Key={"short_id": {"S": short_id}},
            ConsistentRead=True)["Item"]["hits"]

    def follow(self, short_id):
        assert self.pool.request("GET", "/t/" + short_id).status == 301

    def create(self, long_url):
        response = create_in(self.pool, long_url)
        assert response.status == 200
        return id_of(response.body.decode())

    def updates(self, short_id):
        return [r for r in self.proxy.requests if r.action == "UpdateItem"
                and r.json["Key"]["short_id"]["S"] == short_id]

    def pending(self):
        return self.pool.tool("hits").stdout

    def wait_flushed(self):
        harness.wait_until(lambda: self.pending().startswith("0 hits"),
                           "all hits in the store", interval=0.5)

    def said(self, text):
        return self.pool.log().count(text)


@pytest.fixture(scope="module")
def module_served(build, dynamodb_local):
    top = harness.make_workdir()
    table = Curt(build, top, dynamodb_local, STORE_TIMEOUT="15")
    dynamodb_local.create_table(table.env["TABLE"])
    with Proxy(dynamodb_local.endpoint) as proxy, \
            start_pool(table, proxy, top) as pool:
        pool.start()
        yield Served(table, dynamodb_local, proxy, pool)
    shutil.rmtree(top)


@pytest.fixture
def served(module_served):
    yield module_served
    module_served.proxy.fault = None
    module_served.wait_flushed()


def test_each_store_keeps_one_connection(table, dynamodb_local, tmp_path):
    """The contract suite opens the store twice in its own process, and once in
    each of twelve others."""
    with Proxy(dynamodb_local.endpoint) as proxy:
        table.at(proxy)
        done = subprocess.run(
            [table.build.dir / "tests" / "unit" / "store_contract"],
            env=harness.child_env(tmp_path, table.env), timeout=300,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True)
        assert done.returncode == 0, done.stdout
        assert proxy.connections == 14
        assert len(proxy.requests) > 290
        for request in proxy.requests:
            check_request(request, table.env, proxy.port)


def test_a_worker_keeps_one_connection(served):
    before = len(served.proxy.requests)
    for i in range(10):
        served.follow(served.create("https://example.com/%d" % i))
    used = [r for r in served.proxy.requests[before:]
            if r.action in ("PutItem", "GetItem")]
    assert len(used) == 20
    assert len({r.connection for r in used}) == 1


def test_a_connection_that_the_server_ended_costs_nothing(served):
    """Servers end idle connections without a word."""
    def answer_and_close(request, forward):
        answer = forward()
        answer.cut = request.action == "UpdateItem"
        return answer

    served.proxy.fault = answer_and_close
    served.put("ended")
    for hits in range(2, 5):
        served.follow("ended")
        harness.wait_until(lambda: served.hits("ended")["N"] == str(hits),
                           "hit %d" % hits)
    updates = served.updates("ended")
    assert len(updates) == len({r.connection for r in updates}) == 3


# ---- Lost answers ---------------------------------------------------------


def hang(request=None, forward=None):
    time.sleep(60)
    return HANG_UP


@pytest.mark.parametrize("lost", [
    apply_and(HANG_UP),
    apply_and(hang),
    apply_and(Answer(b'{"__type":"x#InternalServerError"}', 500)),
    apply_and(Answer(b"<html>bad gateway</html>", 502, "text/html")),
    apply_and(Answer(b"{}", length=400, cut=True)),
    apply_and(Answer(b"{")),
    apply_and(Answer(b"")),
], ids=["closed", "hang", "internal", "gateway", "short", "garbled", "empty"])
def test_a_create_whose_answer_was_lost_is_found(table, dynamodb_local, lost):
    with Proxy(dynamodb_local.endpoint, once("PutItem", lost)) as proxy:
        table.env["STORE_TIMEOUT"] = "5"
        short_id = id_of(table.at(proxy).ok("create", "https://example.com/"))
        assert proxy.actions() == ["PutItem", "PutItem", "GetItem"]
        first, second, back = proxy.requests
        assert second.body == first.body
        assert back.json["ConsistentRead"] is True
    [item] = items(table, dynamodb_local)
    assert item["short_id"]["S"] == short_id


def test_a_create_that_never_arrived_is_not_claimed(table, dynamodb_local):
    def lose(request, forward):
        return HANG_UP if request.action == "PutItem" else None

    with Proxy(dynamodb_local.endpoint, lose) as proxy:
        status, out, error = table.at(proxy)("create", "https://example.com/")
        assert proxy.actions() == ["PutItem"] * 3 + ["GetItem"]
    assert (status, out) == (EX_TEMPFAIL, "")
    assert error.startswith("curt: outcome unknown: ")
    assert "found no item" in error
    assert items(table, dynamodb_local) == []


def test_a_create_that_another_one_won_is_drawn_again(table, dynamodb_local):
    client = dynamodb_local.client()
    foreign = []

    def steal(request, forward):
        item = {**request.json["Item"], "long_url": {"S": "https://e.org/"}}
        client.put_item(TableName=table.env["TABLE"], Item=item)
        foreign.append(item)
        return HANG_UP

    with Proxy(dynamodb_local.endpoint, once("PutItem", steal)) as proxy:
        short_id = id_of(table.at(proxy).ok("create", "https://example.com/"))
        assert proxy.actions() == ["PutItem", "PutItem", "GetItem", "PutItem"]
    stored = {i["short_id"]["S"]: i["long_url"]["S"]
              for i in items(table, dynamodb_local)}
    assert stored == {foreign[0]["short_id"]["S"]: "https://e.org/",
                      short_id: "https://example.com/"}


def test_a_create_sent_twice_on_a_dead_connection_is_one_link(
        served, dynamodb_local):
    """libcurl repeats a request by itself when a kept connection dies."""
    first = served.create("https://example.com/twice/1")
    before = len(served.proxy.requests)
    served.proxy.fault = once("PutItem", apply_and(HANG_UP))
    second = served.create("https://example.com/twice/2")
    assert served.proxy.actions()[before:] == ["PutItem", "PutItem", "GetItem"]
    assert served.proxy.requests[before].body == served.proxy.requests[
        before + 1].body
    stored = {i: item["long_url"]["S"] for i, item in all_items(
        dynamodb_local.client(), served.name).items()
        if "/twice/" in item["long_url"]["S"]}
    assert stored == {first: "https://example.com/twice/1",
                      second: "https://example.com/twice/2"}


def test_a_hit_is_never_sent_twice(served):
    served.put("lost")
    served.proxy.fault = once("UpdateItem", apply_and(HANG_UP))
    served.follow("lost")
    served.follow("lost")
    served.wait_flushed()
    assert served.hits("lost")["N"] == "3"
    # That whose answer was lost was sent again; a flush may have come between
    # the two hits.
    updates = [r.body for r in served.updates("lost")]
    assert len(updates) == len(set(updates)) + 1


def test_a_delete_whose_answer_was_lost_is_done(table, dynamodb_local):
    short_id = id_of(table.ok("create", "https://example.com/"))
    lost = once("PutItem", apply_and(HANG_UP))
    with Proxy(dynamodb_local.endpoint, lost) as proxy:
        table.at(proxy).ok("delete", short_id)
        assert proxy.actions() == ["PutItem", "PutItem"]
    [item] = items(table, dynamodb_local)
    assert set(item) == {"short_id", "deleted_at"}


def test_a_delete_without_any_answer_is_unknown(table, dynamodb_local):
    short_id = id_of(table.ok("create", "https://example.com/"))

    def lose(request, forward):
        forward()
        return HANG_UP

    with Proxy(dynamodb_local.endpoint, lose) as proxy:
        status, out, error = table.at(proxy)("delete", short_id)
        assert proxy.actions() == ["PutItem"] * 3
    assert (status, out) == (EX_TEMPFAIL, "")
    assert error.startswith("curt: outcome unknown: ")


# ---- Answers that are none ------------------------------------------------


def test_a_refused_connection(nowhere):
    with closed_port() as s:
        port = s.getsockname()[1]
        nowhere.env["AWS_ENDPOINT_URL"] = "http://127.0.0.1:%d" % port
        nowhere.env["STORE_TIMEOUT"] = "30"
        start = time.monotonic()
        status, out, error = nowhere("get", "abc")
        assert time.monotonic() - start < 20
    assert (status, out) == (EX_TEMPFAIL, "")
    assert "curt: dynamodb:GetItem" in error
    assert str(port) in error


def test_a_refused_create_is_known_to_have_failed(nowhere):
    with closed_port() as s:
        nowhere.env["AWS_ENDPOINT_URL"] = ("http://127.0.0.1:%d"
                                           % s.getsockname()[1])
        status, out, error = nowhere("create", "https://example.com/")
    assert (status, out) == (EX_TEMPFAIL, "")
    assert error.startswith("curt: dynamodb:PutItem")


def drip():
    for _ in range(500):
        time.sleep(0.1)
        yield b" "


@pytest.mark.parametrize("answer, text", [
    (Answer(b"<html>oops</html>", 500, "text/html"), "HTTP status 500"),
    (Answer(b"<html>no</html>", 404, "text/html"), "HTTP status 404"),
    (Answer(b"<html>hi</html>", 200, "text/html"), "not a JSON object"),
    (Answer(b"{}", length=3, cut=True), ""),
    (Answer(b'{"Item":{"long_url":{"S":"https://e.com/', cut=True),
     "not a JSON object"),
    (Answer(b"{}", length=1), "not a JSON object"),
    (Answer(b"{} {}"), "not a JSON object"),
    (Answer(b"[]"), "not a JSON object"),
    (Answer(b"null"), "not a JSON object"),
    (Answer(b""), "not a JSON object"),
    (Answer(b"\xff\xfe{}"), "not a JSON object"),
    (Answer(b'{"Item":{"long_url":{"S":"\xff\xfe"}}}'), "not a JSON object"),
    (Answer(b"{", length=None), "not a JSON object"),
    (HANG_UP, ""),
    (Answer(b"", 302, headers=[("Location", "http://127.0.0.1:9/")]),
     "HTTP status 302"),
    (Answer(b"", 204), "HTTP status 204"),
], ids=lambda value: None)
def test_an_answer_that_is_none(nowhere, answer, text):
    with Proxy(None, lambda request, forward: answer) as proxy:
        status, out, error = nowhere.at(proxy)("get", "abc")
        assert proxy.actions() == ["GetItem"] * 3
    assert (status, out) == (EX_TEMPFAIL, "")
    assert error.startswith("curt: dynamodb:GetItem on table "
                            + nowhere.env["TABLE"])
    assert text in error
    assert "(3 attempts)" in error


@pytest.mark.parametrize("slow", [
    hang,
    lambda request, forward: Answer(drip(), length=1000),
    lambda request, forward: Answer(drip(), length=None),
], ids=["silence", "drip", "drip without length"])
def test_the_deadline_is_kept(nowhere, slow):
    nowhere.env["STORE_TIMEOUT"] = "1"

    def run(args):
        start = time.monotonic()
        return (*nowhere(*args), time.monotonic() - start, args[0])

    with Proxy(None, slow) as proxy, ThreadPoolExecutor(3) as threads:
        nowhere.at(proxy)
        runs = list(threads.map(run, [
            ("get", "abc"), ("delete", "abc"),
            ("create", "https://example.com/")]))
    for status, out, error, took, verb in runs:
        assert (status, out) == (EX_TEMPFAIL, "")
        assert 0.9 < took < 20, took
        assert "imed out" in error or "timeout" in error, error
        assert error.startswith("curt: dynamodb:GetItem" if verb == "get"
                                else "curt: outcome unknown: ")


def test_an_answer_larger_than_any_item_is_corrupt(nowhere):
    large = Answer(b'{"Item":"' + b"x" * (5 << 20) + b'"}')
    with Proxy(None, lambda request, forward: large) as proxy:
        status, out, error = nowhere.at(proxy)("get", "abc")
        assert proxy.actions() == ["GetItem"]
    assert (status, out) == (EX_DATAERR, "")
    assert "an answer of more than" in error


def test_an_item_that_nests_too_deeply_is_corrupt(nowhere):
    deep = b'{"Item":' + b'{"M":' * 5000 + b"1" + b"}" * 5001
    with Proxy(None, lambda request, forward: Answer(deep)) as proxy:
        status, out, error = nowhere.at(proxy)("get", "abc")
    assert (status, out) == (EX_DATAERR, "")
    assert "too deeply" in error


GOOD_ITEMS = [
    {"long_url": {"S": "https://e.com/"}},
    {"long_url": {"S": "https://e.com/"}, "ttl": {"S": "x"},
     "hits": {"L": []}, "analytics": {"S": "x"}, "owner": {"B": b"\0"}},
]
BAD_ITEMS = [
    {},
    {"long_url": {"N": "1"}},
    {"long_url": {"M": {"S": {"S": "https://e.com/"}}}},
    {"long_url": {"S": "https://e.com/\0"}},
]


@pytest.mark.parametrize("found, expected", [
    (GOOD_ITEMS, 0), (BAD_ITEMS, EX_DATAERR)], ids=["good", "bad"])
def test_items_of_other_hands(table, dynamodb_local, found, expected):
    for i, item in enumerate(found):
        dynamodb_local.client().put_item(
            TableName=table.env["TABLE"],
            Item={"short_id": {"S": "abc%d" % i}, **item})
    status, out, error = table("--json", "get", *(
        "abc%d" % i for i in range(len(found))))
    assert status == expected, error
    if expected:
        assert out == ""
        assert ["long_url" in line for line in error.splitlines()] == (
            [True] * len(found))
        return
    assert len(out.splitlines()) == len(found)
    for link in map(json.loads, out.splitlines()):
        assert link["long_url"] == "https://e.com/"
        assert link["hits"] == 0
        assert "ttl" not in link


# Items to whose hits nothing can be added.
ODD_ITEMS = {
    "text": {"hits": {"S": "many"}},
    "huge": {"hits": {"N": "9." + 37 * "9" + "E+125"}},
    "tiny": {"hits": {"N": "1E-130"}},
    "full": {"hits": {"N": "1"}, "pad": {"S": 409540 * "x"}},
}


@pytest.mark.parametrize("text", [None, "Nein."], ids=["engine", "other-text"])
def test_hits_of_an_odd_item_hold_up_no_others(served, text):
    """What is wrong is seen in the item, and not in an error's text."""
    word = "other" if text else "engine"
    good = {"good%d" % i: {} for i in range(3)}
    good["large"] = {"pad": {"S": 400000 * "x"}}
    odd = {word + i for i in ODD_ITEMS}
    for i, item in {**ODD_ITEMS, **good}.items():
        served.put(word + i, **item)
    before = {i: served.hits(i) for i in odd}

    def fault(request, upstream):
        answer = upstream()
        if (text and answer.status == 400
                and b"ValidationException" in answer.body):
            answer = Answer(json.dumps({
                "__type": "com.amazon.coral.validate#ValidationException",
                "message": text}), 400)
        return answer

    served.proxy.fault = fault
    for i in 2 * [*ODD_ITEMS, *good]:
        served.follow(word + i)
    served.wait_flushed()
    dropped = re.findall(r"dropped (\d+) hits of link (%s\w+), its item "
                         "cannot be updated" % word, served.pool.log())
    assert {link for _, link in dropped} == odd
    assert sum(int(n) for n, _ in dropped) == 2 * len(ODD_ITEMS)
    assert {i: served.hits(i) for i in odd} == before
    assert [served.hits(word + i) for i in good] == len(good) * [{"N": "3"}]


def test_hits_outlast_a_refusal_that_is_not_the_items(served):
    """A text that could mean the item, which is as it should be; meanwhile the
    hits of others arrive."""
    refused = {
        "good1": "An operand in the update expression has an incorrect data "
                 "type",
        "good2": "Item size to update has exceeded the maximum allowed size",
        "good3": "Number overflow. Attempting to store a number with "
                 "magnitude larger than supported range",
    }

    def fault(request, upstream):
        message = request.action == "UpdateItem" and refused.get(
            request.json["Key"]["short_id"]["S"])
        return Answer(json.dumps({
            "__type": "x#ValidationException", "message": message}),
            400) if message else None

    failed = "flushing hits failed, will retry: unavailable: dynamodb:"
    before, dropped = served.said(failed), served.said("dropped")
    served.proxy.fault = fault
    for short_id in (*refused, "other"):
        served.put(short_id)
        served.follow(short_id)
    harness.wait_until(lambda: served.hits("other")["N"] == "2", "the other")
    harness.wait_until(lambda: served.said(failed) > before, "the log")
    assert served.pending().startswith("3 hits of 3 links")
    served.proxy.fault = None
    served.wait_flushed()
    assert [served.hits(i)["N"] for i in refused] == ["2"] * 3
    assert served.said("dropped") == dropped


def test_hits_outlast_a_table_that_forbids_conditions(served):
    """As Alternator's write isolation forbid_rmw does: it is the table's
    fault, and not the item's."""
    def fault(request, upstream):
        if request.action == "UpdateItem":
            return Answer(json.dumps({
                "__type": "com.amazonaws.dynamodb.v20120810"
                          "#ValidationException",
                "message": "Read-modify-write operations are disabled by "
                           "'forbid_rmw' write isolation policy."}), 400)
        return None

    failed, dropped = (served.said("flushing hits failed"),
                       served.said("dropped"))
    served.put("forbidden")
    served.proxy.fault = fault
    served.follow("forbidden")
    harness.wait_until(lambda: served.updates("forbidden"), "a flush")
    harness.wait_until(lambda: served.said("flushing hits failed") > failed,
                       "the log")
    assert served.pending().startswith("1 hits")
    served.proxy.fault = None
    served.wait_flushed()
    assert served.said("dropped") == dropped
    assert served.hits("forbidden") == {"N": "2"}


# ---- Refusals -------------------------------------------------------------

KEYS, TOKENS, CLOCK = "access key", "session token", "clock"

REFUSALS = [
    ("AccessDeniedException", EX_NOPERM, "denied", "policy"),
    ("UnrecognizedClientException", EX_NOPERM, "denied", KEYS),
    ("InvalidClientTokenId", EX_NOPERM, "denied", TOKENS),
    ("MissingAuthenticationToken", EX_NOPERM, "denied", "AWS_ACCESS_KEY_ID"),
    ("MissingAuthenticationTokenException", EX_NOPERM, "denied",
     "AWS_ACCESS_KEY_ID"),
    ("IncompleteSignatureException", EX_NOPERM, "denied",
     "AWS_ACCESS_KEY_ID"),
    ("InvalidSignatureException", EX_NOPERM, "denied", CLOCK),
    ("SignatureDoesNotMatch", EX_NOPERM, "denied", "secret key"),
    ("ExpiredTokenException", EX_NOPERM, "denied", TOKENS),
    ("ThrottlingException", EX_TEMPFAIL, "throttled", "Throttling"),
    ("ProvisionedThroughputExceededException", EX_TEMPFAIL, "throttled", ""),
    ("RequestLimitExceeded", EX_TEMPFAIL, "throttled", ""),
    ("ResourceNotFoundException", EX_TEMPFAIL, "unavailable",
     "`curt table create`"),
    ("ValidationException", EX_TEMPFAIL, "unavailable", "`curt table check`"),
    ("UnknownOperationException", EX_TEMPFAIL, "unavailable",
     "AWS_ENDPOINT_URL_DYNAMODB"),
    ("InternalServerError", EX_TEMPFAIL, "unavailable", ""),
    ("InternalFailure", EX_TEMPFAIL, "unavailable", ""),
    ("ServiceUnavailable", EX_TEMPFAIL, "unavailable", ""),
    ("SomethingNew", EX_TEMPFAIL, "unavailable", "SomethingNew"),
]

FAULTS_OF_THE_SERVER = ("InternalServerError", "InternalFailure",
                        "ServiceUnavailable")


FORMS = [
    (400, "com.amazonaws.dynamodb.v20120810#", "message"),
    (500, "com.amazon.coral.service#", "Message"),
    (400, "", "other"),
]

# Those that each form has: with its text, without it, and sent again or not.
IN_EACH_FORM = ("AccessDeniedException", "ExpiredTokenException",
                "RequestLimitExceeded", "ResourceNotFoundException",
                "SomethingNew")


@pytest.mark.parametrize("kind, status, words, advice, http, prefix, key", [
    pytest.param(*refusal, *form, id="%s-%s" % (refusal[0], form[2]))
    for form in FORMS for refusal in REFUSALS
    if form is FORMS[0] or refusal[0] in IN_EACH_FORM])
def test_each_refusal_says_what_to_fix(nowhere, kind, status, words, advice,
                                        http, prefix, key):
    body = json.dumps({"__type": prefix + kind, key: "why\r\nnot"})
    again = (kind in FAULTS_OF_THE_SERVER
             or (kind == "SomethingNew" and http == 500))
    nowhere.env["STORE_TIMEOUT"] = "2" if words == "throttled" else "10"
    with Proxy(None, lambda request, forward: Answer(body, http)) as proxy:
        got, out, error = nowhere.at(proxy)("get", "abc")
        assert set(proxy.actions()) == {"GetItem"}
        if words == "throttled":  # as often as there is time
            assert len(proxy.actions()) > 1
        else:
            assert len(proxy.actions()) == (3 if again else 1)
    assert (got, out) == (status, "")
    assert error.startswith(
        "curt: dynamodb:GetItem on table %s in eu-west-1: %s"
        % (nowhere.env["TABLE"], kind))
    assert advice in error
    assert len(error.splitlines()) == 1
    shown = key != "other" and (words != "denied" or "AccessDenied" in kind)
    assert ("why  not" in error) == shown


def test_time_that_runs_out_while_a_table_throttles(nowhere):
    """Then the throttling is the reason, and not the last attempt."""
    def answer(request, forward):
        if len(proxy.requests) > 1:
            over.wait(30)
            return HANG_UP
        return Answer(json.dumps({"__type": "#ThrottlingException",
                                  "message": "why"}), 400)

    over = threading.Event()
    nowhere.env["STORE_TIMEOUT"] = "4"
    with Proxy(None, answer) as proxy:
        got, _, error = nowhere.at(proxy)("get", "abc")
        over.set()
        assert len(proxy.actions()) > 1
    assert got == EX_TEMPFAIL
    assert "eu-west-1: ThrottlingException: why" in error
    assert " attempts)" in error


def test_time_that_runs_out_on_a_throttled_table_opens_no_circuit(
        nowhere, tmp_path):
    def answer(request, forward):
        with lock:
            first = request.body not in bodies
            bodies.add(request.body)
        if first:
            return Answer('{"__type": "#ThrottlingException"}', 400)
        over.wait(30)
        return HANG_UP

    over, lock, bodies = threading.Event(), threading.Lock(), set()
    nowhere.env["STORE_TIMEOUT"] = "1"
    with Proxy(None, answer) as proxy, start_pool(
            nowhere, proxy, tmp_path) as pool:
        pool.start()
        for n in range(7):  # breaker.h: 5 failures open it
            assert pool.request("GET", "/t/gone%d" % n).status == 503
        assert len(bodies) == 7
        assert not proctools.said(pool, "failing fast")
        over.set()


@pytest.mark.parametrize("kind", ["InvalidSignatureException",
                                  "AccessDeniedException", "Other"])
def test_no_secret_comes_back_from_the_server(nowhere, kind):
    """AWS repeats the signed request, token included, in some messages.
    (Curt.__call__ looks for the secrets in all that is printed.)"""
    nowhere.env["AWS_SESSION_TOKEN"] = TOKEN
    body = json.dumps({"__type": "x#" + kind, "message":
                       "should have been 'x-amz-security-token:%s\n%s'"
                       % (TOKEN, SECRET)})
    with Proxy(None, lambda request, forward: Answer(body, 400)) as proxy:
        status, out, error = nowhere.at(proxy)("get", "abc")
    assert status != 0
    assert kind in error
    assert "should have been" not in error


def test_a_missing_table_is_not_a_missing_link(table, dynamodb_local):
    table.env["TABLE"] += "-other"
    for args in (("get", "abc"), ("delete", "abc"),
                 ("create", "https://example.com/")):
        status, out, error = table(*args)
        assert (status, out) == (EX_TEMPFAIL, ""), args
        assert "curt table create" in error


# ---- Configuration --------------------------------------------------------


@pytest.mark.parametrize("settings, text", [
    ({"AWS_REGION": None}, "AWS_REGION"),
    ({"AWS_REGION": "eu west"}, "AWS_REGION"),
    ({"AWS_REGION": "eu:west:x"}, "AWS_REGION"),
    ({"AWS_REGION": "evil.example/x"}, "AWS_REGION"),
    ({"AWS_ACCESS_KEY_ID": None}, "AWS_ACCESS_KEY_ID"),
    ({"AWS_SECRET_ACCESS_KEY": None}, "AWS_SECRET_ACCESS_KEY"),
    ({"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
     "AWS_ACCESS_KEY_ID is not set"),
    ({"AWS_SESSION_TOKEN": "a token"}, "environment: the session token "
     "contains an invalid character"),
    ({"AWS_SECRET_ACCESS_KEY": "with space"}, "environment: the secret access "
     "key contains an invalid character"),
    ({"AWS_ENDPOINT_URL_DYNAMODB": "ftp://127.0.0.1/"},
     "AWS_ENDPOINT_URL_DYNAMODB"),
    ({"AWS_ENDPOINT_URL_DYNAMODB": "127.0.0.1:8000"},
     "AWS_ENDPOINT_URL_DYNAMODB"),
    ({"AWS_ENDPOINT_URL_DYNAMODB": "http://u:p@127.0.0.1:8000/"},
     "AWS_ENDPOINT_URL_DYNAMODB"),
    ({"AWS_ENDPOINT_URL": "file:///etc/passwd"}, "AWS_ENDPOINT_URL"),
], ids=lambda value: None)
def test_what_is_missing_is_named_and_nothing_is_sent(nowhere, settings, text):
    with Proxy(None, lambda request, forward: Answer(b"{}")) as proxy:
        nowhere.at(proxy)
        if "AWS_ENDPOINT_URL" in settings:
            nowhere.env["AWS_ENDPOINT_URL_DYNAMODB"] = None
        nowhere.env.update(settings)
        status, out, error = nowhere("get", "abc")
        assert proxy.requests == []
    assert (status, out) == (EX_NOPERM, "")
    assert text in error


def test_the_specific_endpoint_wins(nowhere):
    missing = Answer(b"{}")
    with Proxy(None, lambda request, forward: missing) as one, \
            Proxy(None, lambda request, forward: missing) as other:
        nowhere.env["AWS_ENDPOINT_URL"] = other.endpoint
        assert nowhere("get", "abc")[0] == 1
        assert (len(one.requests), len(other.requests)) == (0, 1)
        nowhere.env["AWS_ENDPOINT_URL_DYNAMODB"] = one.endpoint + "/"
        assert nowhere("get", "abc")[0] == 1
        assert (len(one.requests), len(other.requests)) == (1, 1)


def test_a_proxy_is_not_asked_for_this_host(nowhere):
    with closed_port() as s, \
            Proxy(None, lambda request, forward: Answer(b"{}")) as proxy:
        dead = "http://127.0.0.1:%d" % s.getsockname()[1]
        for name in ("http_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            nowhere.env[name] = dead
        assert nowhere.at(proxy)("get", "abc")[0] == 1
        assert len(proxy.requests) == 1


def test_a_proxy_is_asked_for_the_real_endpoint(nowhere):
    """Without an endpoint it is the region's own, over https."""
    seen = []
    with closed_port() as s:
        s.listen()
        s.settimeout(20)
        nowhere.env["HTTPS_PROXY"] = "http://127.0.0.1:%d" % s.getsockname()[1]
        for region, host in (("eu-west-1", "dynamodb.eu-west-1.amazonaws.com"),
                             ("cn-north-1",
                              "dynamodb.cn-north-1.amazonaws.com.cn")):
            nowhere.env["AWS_REGION"] = region
            process = subprocess.Popen(
                [nowhere.build.tool, "get", "abc"],
                env=harness.child_env(nowhere.workdir, nowhere.env),
                stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            for _ in range(3):
                connection, _ = s.accept()
                with connection:
                    seen.append(
                        connection.recv(4096).split(b"\r\n")[0].decode())
                    connection.sendall(b"HTTP/1.1 403 Forbidden\r\n\r\n")
            assert process.communicate(timeout=30)[0] is None
            assert process.returncode == EX_TEMPFAIL
            assert seen[-3:] == ["CONNECT %s:443 HTTP/1.1" % host] * 3


def make_certificate(directory):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days",
         "2", "-subj", "/CN=curt test", "-addext",
         "subjectAltName=IP:127.0.0.1", "-keyout", "key.pem", "-out",
         "cert.pem"], cwd=directory, check=True, stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL)
    return directory / "cert.pem", directory / "key.pem"


def test_tls_is_verified(table, dynamodb_local, tmp_path):
    tls = make_certificate(tmp_path)
    with Proxy(dynamodb_local.endpoint, tls=tls) as proxy:
        table.at(proxy)
        for bundle in (None, str(tmp_path / "no such file"),
                       "/etc/ssl/certs/ca-certificates.crt"):
            table.env["AWS_CA_BUNDLE"] = bundle
            status, out, error = table("create", "https://example.com/")
            assert (status, out) == (EX_NOPERM, ""), (bundle, error)
            assert "AWS_CA_BUNDLE" in error
        assert proxy.requests == []
        table.env["AWS_CA_BUNDLE"] = str(tls[0])
        table.ok("create", "https://example.com/")
        [request] = proxy.requests
        check_request(request, table.env, proxy.port, "https")
