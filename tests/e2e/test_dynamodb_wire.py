"""What curt says to DynamoDB, byte by byte, and what it makes of every answer
that is not the expected one."""

import datetime
import json
import re
import subprocess
import time

import pytest

import harness
from aws_wire import HANG_UP, Answer, Proxy, closed_port
from dynamodb_tool import (SECRET, apply_and, create_in, id_of, items, once,
                           start_pool)
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


@pytest.mark.parametrize("token", [None, TOKEN], ids=["lasting", "session"])
def test_every_signature_is_botocores(table, dynamodb_local, token):
    table.env["AWS_SESSION_TOKEN"] = token
    table.env["AWS_SECRET_ACCESS_KEY"] = SECRET
    with Proxy(dynamodb_local.endpoint) as proxy:
        table.at(proxy)
        short_id = id_of(table.ok("create", LONG_URL))
        item = json.loads(table.ok("--json", "get", short_id))
        assert item["short_id"] == short_id
        table.ok("table", "check")
        table.ok("table", "create")
        table.ok("delete", short_id)
        assert table("get", short_id)[0] == 1
        for request in proxy.requests:
            check_request(request, table.env, proxy.port)
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


def test_a_worker_keeps_one_connection(table, dynamodb_local, tmp_path):
    with Proxy(dynamodb_local.endpoint) as proxy:
        pool = start_pool(table, proxy, tmp_path)
        with pool:
            pool.start()
            before = len(proxy.requests)
            for i in range(10):
                response = create_in(pool, "https://example.com/%d" % i)
                assert response.status == 200
                path = "/t/" + id_of(response.body.decode())
                assert pool.request("GET", path).status == 301
            used = [r for r in proxy.requests[before:]
                    if r.action in ("PutItem", "GetItem")]
            assert len(used) == 20
            assert len({r.connection for r in used}) == 1


def test_a_connection_that_the_server_ended_costs_nothing(
        table, dynamodb_local, tmp_path):
    """Servers end idle connections without a word."""
    def answer_and_close(request, forward):
        answer = forward()
        answer.cut = request.action == "UpdateItem"
        return answer

    with Proxy(dynamodb_local.endpoint, answer_and_close) as proxy:
        pool = start_pool(table, proxy, tmp_path)
        with pool:
            pool.start()
            response = create_in(pool, "https://example.com/")
            path = "/t/" + id_of(response.body.decode())
            for hits in range(1, 6):
                assert pool.request("GET", path).status == 301
                harness.wait_until(
                    lambda: items(table, dynamodb_local)[0]["hits"]["N"]
                    == str(hits), "hit %d" % hits)
            assert proxy.actions().count("UpdateItem") == 5
            assert len({r.connection for r in proxy.requests}) >= 5


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
        table, dynamodb_local, tmp_path):
    """libcurl repeats a request by itself when a kept connection dies."""
    with Proxy(dynamodb_local.endpoint) as proxy:
        pool = start_pool(table, proxy, tmp_path)
        with pool:
            pool.start()
            first = create_in(pool, "https://example.com/1")
            assert first.status == 200
            before = len(proxy.requests)
            proxy.fault = once("PutItem", apply_and(HANG_UP))
            second = create_in(pool, "https://example.com/2")
            assert second.status == 200
            assert proxy.actions()[before:] == ["PutItem", "PutItem",
                                                "GetItem"]
            assert proxy.requests[before].body == proxy.requests[
                before + 1].body
    stored = {i["short_id"]["S"]: i["long_url"]["S"]
              for i in items(table, dynamodb_local)}
    assert stored == {id_of(first.body.decode()): "https://example.com/1",
                      id_of(second.body.decode()): "https://example.com/2"}


def test_a_hit_is_never_sent_twice(table, dynamodb_local, tmp_path):
    with Proxy(dynamodb_local.endpoint) as proxy:
        pool = start_pool(table, proxy, tmp_path)
        with pool:
            pool.start()
            response = create_in(pool, "https://example.com/")
            path = "/t/" + id_of(response.body.decode())
            proxy.fault = once("UpdateItem", apply_and(HANG_UP))
            assert pool.request("GET", path).status == 301
            assert pool.request("GET", path).status == 301
            harness.wait_until(
                lambda: proxy.actions().count("UpdateItem") == 2, "hits")
            harness.wait_until(
                lambda: items(table, dynamodb_local)[0]["hits"]["N"] == "2",
                "the second hit")
            assert proxy.actions().count("UpdateItem") == 2


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
@pytest.mark.parametrize("args", [("get", "abc"), ("delete", "abc"),
                                  ("create", "https://example.com/")])
def test_the_deadline_is_kept(nowhere, slow, args):
    nowhere.env["STORE_TIMEOUT"] = "1"
    with Proxy(None, slow) as proxy:
        start = time.monotonic()
        status, out, error = nowhere.at(proxy)(*args)
        took = time.monotonic() - start
    assert (status, out) == (EX_TEMPFAIL, "")
    assert 0.9 < took < 20, took
    assert "imed out" in error or "timeout" in error, error
    unknown = args[0] != "get"
    assert error.startswith("curt: outcome unknown: " if unknown
                            else "curt: dynamodb:GetItem")


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


@pytest.mark.parametrize("item, status", [
    ({"long_url": {"S": "https://e.com/"}}, 0),
    ({"long_url": {"S": "https://e.com/"}, "ttl": {"S": "x"},
      "hits": {"L": []}, "analytics": {"S": "x"}, "owner": {"B": b"\0"}}, 0),
    ({}, EX_DATAERR),
    ({"long_url": {"N": "1"}}, EX_DATAERR),
    ({"long_url": {"M": {"S": {"S": "https://e.com/"}}}}, EX_DATAERR),
    ({"long_url": {"S": "https://e.com/\0"}}, EX_DATAERR),
], ids=lambda value: None)
def test_items_of_other_hands(table, dynamodb_local, item, status):
    dynamodb_local.client().put_item(
        TableName=table.env["TABLE"], Item={"short_id": {"S": "abc"}, **item})
    got, out, error = table("--json", "get", "abc")
    assert got == status, error
    if status == 0:
        link = json.loads(out)
        assert link["long_url"] == "https://e.com/"
        assert link["hits"] == 0
        assert "ttl" not in link
    else:
        assert "long_url" in error


# Items to whose hits nothing can be added.
ODD_ITEMS = {
    "text": {"hits": {"S": "many"}},
    "huge": {"hits": {"N": "9." + 37 * "9" + "E+125"}},
    "tiny": {"hits": {"N": "1E-130"}},
    "full": {"hits": {"N": "1"}, "pad": {"S": 409540 * "x"}},
}


@pytest.mark.parametrize("text", [None, "Nein."], ids=["engine", "other-text"])
def test_hits_of_an_odd_item_hold_up_no_others(table, dynamodb_local,
                                               tmp_path, text):
    """What is wrong is seen in the item, and not in an error's text."""
    client = dynamodb_local.client()
    good = {"good%d" % i: {"hits": {"N": "1"}} for i in range(3)}
    good["large"] = {"hits": {"N": "1"}, "pad": {"S": 400000 * "x"}}
    for short_id, item in {**ODD_ITEMS, **good}.items():
        client.put_item(TableName=table.env["TABLE"], Item={
            "short_id": {"S": short_id}, **item,
            "long_url": {"S": "https://example.com/"}})
    before = {i["short_id"]["S"]: i["hits"]
              for i in items(table, dynamodb_local)}

    def fault(request, upstream):
        answer = upstream()
        if (text and answer.status == 400
                and b"ValidationException" in answer.body):
            answer = Answer(json.dumps({
                "__type": "com.amazon.coral.validate#ValidationException",
                "message": text}), 400)
        return answer

    with Proxy(dynamodb_local.endpoint, fault) as proxy:
        pool = start_pool(table, proxy, tmp_path)
        with pool:
            pool.start()
            for short_id in 2 * [*ODD_ITEMS, *good]:
                assert pool.request("GET", "/t/" + short_id).status == 301
            harness.wait_until(
                lambda: pool.tool("hits").stdout.startswith("0 hits"), "hits")
            dropped = re.findall(r"dropped (\d+) hits of link (\w+), its item "
                                 "cannot be updated", pool.log())
            assert {link for _, link in dropped} == set(ODD_ITEMS)
            assert sum(int(n) for n, _ in dropped) == 2 * len(ODD_ITEMS)
            assert {i["short_id"]["S"]: i["hits"]
                    for i in items(table, dynamodb_local)} == {
                **before, **{short_id: {"N": "3"} for short_id in good}}
            pool.stop()


def test_hits_outlast_a_refusal_that_is_not_the_items(
        table, dynamodb_local, tmp_path):
    """A text that could mean the item, which is as it should be; meanwhile the
    hits of others arrive."""
    refused = {
        "good1": "An operand in the update expression has an incorrect data "
                 "type",
        "good2": "Item size to update has exceeded the maximum allowed size",
        "good3": "Number overflow. Attempting to store a number with "
                 "magnitude larger than supported range",
    }
    client = dynamodb_local.client()
    for short_id in (*refused, "other"):
        client.put_item(TableName=table.env["TABLE"], Item={
            "short_id": {"S": short_id}, "hits": {"N": "1"},
            "long_url": {"S": "https://example.com/"}})
    refusing = [True]

    def fault(request, upstream):
        if refusing[0] and request.action == "UpdateItem":
            message = refused.get(request.json["Key"]["short_id"]["S"])
            return message and Answer(json.dumps({
                "__type": "x#ValidationException", "message": message}), 400)
        return None

    def stored():
        return {i["short_id"]["S"]: i["hits"]["N"]
                for i in items(table, dynamodb_local)}

    with Proxy(dynamodb_local.endpoint, fault) as proxy:
        pool = start_pool(table, proxy, tmp_path)
        with pool:
            pool.start()
            for short_id in (*refused, "other"):
                assert pool.request("GET", "/t/" + short_id).status == 301
            harness.wait_until(lambda: stored()["other"] == "2", "the other")
            harness.wait_until(
                lambda: "flushing hits failed, will retry: unavailable: "
                "dynamodb:" in pool.log(), "the log")
            assert pool.tool("hits").stdout.startswith("3 hits of 3 links")
            refusing[0] = False
            harness.wait_until(lambda: set(stored().values()) == {"2"}, "hits")
            assert "dropped" not in pool.log()
            pool.stop()


def test_hits_outlast_a_table_that_forbids_conditions(table, dynamodb_local,
                                                      tmp_path):
    """As Alternator's write isolation forbid_rmw does: it is the table's
    fault, and not the item's."""
    forbidding = [True]

    def fault(request, upstream):
        if forbidding[0] and request.action == "UpdateItem":
            return Answer(json.dumps({
                "__type": "com.amazonaws.dynamodb.v20120810"
                          "#ValidationException",
                "message": "Read-modify-write operations are disabled by "
                           "'forbid_rmw' write isolation policy."}), 400)
        return None

    client = dynamodb_local.client()
    client.put_item(TableName=table.env["TABLE"], Item={
        "short_id": {"S": "good"}, "hits": {"N": "1"},
        "long_url": {"S": "https://example.com/"}})
    with Proxy(dynamodb_local.endpoint, fault) as proxy:
        pool = start_pool(table, proxy, tmp_path)
        with pool:
            pool.start()
            assert pool.request("GET", "/t/good").status == 301
            harness.wait_until(lambda: "UpdateItem" in proxy.actions(),
                               "a flush")
            harness.wait_until(
                lambda: "flushing hits failed" in pool.log(), "the log")
            assert pool.tool("hits").stdout.startswith("1 hits")
            forbidding[0] = False
            harness.wait_until(
                lambda: pool.tool("hits").stdout.startswith("0 hits"), "hits")
            assert "dropped" not in pool.log()
            assert items(table, dynamodb_local)[0]["hits"] == {"N": "2"}
            pool.stop()


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


@pytest.mark.parametrize("kind, status, words, advice", REFUSALS,
                         ids=[r[0] for r in REFUSALS])
@pytest.mark.parametrize("http, prefix, key", [
    (400, "com.amazonaws.dynamodb.v20120810#", "message"),
    (500, "com.amazon.coral.service#", "Message"),
    (400, "", "other"),
], ids=["message", "Message", "none"])
def test_each_refusal_says_what_to_mend(nowhere, kind, status, words, advice,
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


def test_a_missing_table_is_no_missing_link(table, dynamodb_local):
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
