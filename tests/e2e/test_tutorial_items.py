"""The items that the tutorial's Lambda functions and curt store are alike,
attribute by attribute, and each side reads the other's. The set-up is in
tutorial_site.py."""

import json
import random
import re
import time
from calendar import timegm

import pytest
from botocore.exceptions import ClientError

import harness
from dynamodb_local import DynamoDBLocal
from tutorial_site import (
    APP_URL, CLIENT, PLAIN_URLS, curt_settings, make_table, short_id_of)
from tutorial_site import lambda_environment, tutorial  # fixtures

WEEK = 604800


# ---- Items ----------------------------------------------------------------

def parse_time(text):
    return timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%S"))


def check_item(item, short_id, before, after):
    """An item that was made between before and after, of either side."""
    assert {name: list(value) for name, value in item.items()} == {
        "short_id": ["S"], "long_url": ["S"], "short_url": ["S"],
        "created_at": ["S"], "ttl": ["N"], "hits": ["N"], "analytics": ["M"]}
    assert item["short_id"]["S"] == short_id
    assert item["short_url"]["S"] == APP_URL + short_id
    assert item["hits"] == {"N": "0"}
    assert re.fullmatch("[0-9]+", item["ttl"]["N"])
    created = parse_time(item["created_at"]["S"])
    assert before <= created <= after
    # The Lambda asks for the time twice.
    assert created + WEEK <= int(item["ttl"]["N"]) <= created + WEEK + 2


def make_both(tutorial, url, client=CLIENT):
    """The items that the Lambda and curt make of the same request."""
    before = int(time.time())
    ids = (tutorial.lambda_create(url, client),
           tutorial.curt_create(url, client))
    items = [tutorial.item(short_id) for short_id in ids]
    # The one attribute more, by which a create knows its own item again.
    assert re.fullmatch("[A-Za-z0-9]{22}", items[1].pop("creation_token")["S"])
    for short_id, item in zip(ids, items):
        check_item(item, short_id, before, int(time.time()))
    return items


ANALYSED_URLS = PLAIN_URLS + [
    "http://example.com",
    "http://example.com/?",
    "http://example.com/?&&=&a&b=&d=e=f&",
    "http://example.com/?a=1&a=2&b=x&a=3&%61=4&b=",
    "http://example.com/?a+b=c+d&e%2Bf=g%2Bh&i%20j=%20&k=+",
    "http://example.com/?a=%26&b=%3D&%26=c&d=%23&e=%25&f=%2525",
    "http://example.com/?a=%&b=%4&c=%4g&d=%%41&e=%u0041",
    "http://example.com/?a=%ff&b=%c3&c=%c3%a4%c3&%fe=d&e=%f0%9f%98&f=%f0z",
    "http://example.com/?a=%ed%a0%80&b=%c0%80&c=%f4%90%80%80&d=%f0%9f%98%80",
    "http://example.com/?a=x%00y&b=%0d%0aX:%20y&c=%7f&d=%22%5c%2f",
    "http://example.com/?a;b=c;d=e&f[]=1&f[]=2&g.h=3",
    "http://example.com/?hits=1&ttl=2&short_id=x&long_url=y&S=1&NULL=true",
    "http://example.com/?a=ä&ö=b&c=%e4ä%c3&d=e f",
    "http://example.com/#?a=1",
    "http://example.com/?a=1#b?c=2&d=3",
    "http://example.com/?a=1?b=2&c=/?d=3",
]


@pytest.mark.parametrize("url", ANALYSED_URLS, ids=lambda url: url[-50:])
def test_items_have_the_same_shape(tutorial, url):
    by_lambda, by_curt = make_both(tutorial, url)
    assert by_curt["analytics"] == by_lambda["analytics"]
    for name, value in CLIENT.items():
        assert by_curt["analytics"]["M"][name] == {"S": value}


def test_any_bytes_in_parameters(tutorial):
    """Percent escapes of bytes that are UTF-8 at times: both sides replace the
    same ones by U+FFFD."""
    bytes_of_interest = (b"aZ\x01\x7f\x80\x8f\x90\x9f\xa0\xbf\xc1\xc2\xc3\xdf"
                         b"\xe0\xe2\x82\xed\xef\xf0\xf4\xf5\xff")
    draw = random.Random(20181129)
    seen = 0
    for _ in range(4):
        values = [bytes(draw.choices(bytes_of_interest, k=draw.randint(1, 6)))
                  for _ in range(250)]
        url = "http://example.com/?" + "&".join(
            "p%d=%s" % (i, "".join("%%%02x" % byte for byte in value))
            for i, value in enumerate(values))
        by_lambda, by_curt = make_both(tutorial, url)
        assert by_curt["analytics"] == by_lambda["analytics"]
        seen += len(by_curt["analytics"]["M"]) - len(CLIENT)
    assert seen == 1000


def test_parameters_never_replace_what_the_request_said(tutorial):
    """The one difference that is meant: the tutorial's code lets them."""
    by_lambda, by_curt = make_both(
        tutorial, "http://example.com/?user_agent=x&source%5Fip=y&z=1"
        "&xray_trace_id=z&User_Agent=other")
    own = {"z": {"S": "1"}, "User_Agent": {"S": "other"}}
    assert by_lambda["analytics"]["M"] == {
        "user_agent": {"S": "x"}, "source_ip": {"S": "y"},
        "xray_trace_id": {"S": "z"}, **own}
    assert by_curt["analytics"]["M"] == {
        **{name: {"S": value} for name, value in CLIENT.items()}, **own}


def test_parameter_without_a_name_is_left_out(tutorial):
    """DynamoDB refuses the item that the Lambda makes of it."""
    url = "http://example.com/?=a&b=c&=&%25="
    with pytest.raises(ClientError, match="Empty attribute name"):
        tutorial.lambda_create(url)
    item = tutorial.item(tutorial.curt_create(url))
    assert item["long_url"] == {"S": url}
    assert item["analytics"]["M"].keys() == {*CLIENT, "b"}


def test_absent_headers_are_null(tutorial):
    trace_id = CLIENT["xray_trace_id"]
    by_lambda, by_curt = make_both(tutorial, "http://example.com/",
                                   {"xray_trace_id": trace_id})
    assert by_curt["analytics"] == by_lambda["analytics"] == {"M": {
        "user_agent": {"NULL": True}, "source_ip": {"NULL": True},
        "xray_trace_id": {"S": trace_id}}}


def test_trace_id_is_made_where_api_gateway_would(tutorial):
    short_id = tutorial.curt_create("http://example.com/", {})
    trace_id = tutorial.item(short_id)["analytics"]["M"]["xray_trace_id"]["S"]
    assert re.fullmatch("Root=1-[0-9a-f]{8}-[0-9a-f]{24}", trace_id)
    assert abs(int(trace_id[7:15], 16) - time.time()) < 60


@pytest.mark.parametrize("maker", ["lambda_create", "curt_create"])
def test_curt_get_prints_the_item(tutorial, maker):
    short_id = getattr(tutorial, maker)(
        "http://example.com/?a=1&ü=%22ö%0a",
        {"source_ip": "203.0.113.9", "xray_trace_id": "Root=1-2-3"})
    tutorial.lambda_get(short_id)
    stored = tutorial.item(short_id)
    assert tutorial.curt_item(short_id) == {
        "short_id": short_id, "short_url": APP_URL + short_id,
        "long_url": stored["long_url"]["S"],
        "created_at": stored["created_at"]["S"],
        "ttl": stored["ttl"]["N"], "hits": "1",
        "analytics": {"user_agent": None, "source_ip": "203.0.113.9",
                      "xray_trace_id": "Root=1-2-3", "a": "1", "ü": '"ö\n'}}


def test_lambda_reads_items_with_options(tutorial):
    """All that a client can give a link of curt's is more in the item; the
    Lambda follows and counts as ever, and curt edits what the Lambda made."""
    answer = tutorial.pool.request(
        "POST", "/create", {"Content-Type": "application/json"}, json.dumps({
            "long_url": "https://example.com/", "short_id": "by-name_1",
            "ttl": 600, "not_before": 1, "max_hits": 9, "redirect_status": 302,
            "forward_query": True, "title": "Grüße", "tags": ["b", "a"]}))
    assert answer.status == 200, answer.raw
    assert tutorial.lambda_get("by-name_1") == "https://example.com/"
    item = tutorial.item("by-name_1")
    assert item["hits"] == {"N": "1"}
    assert (item["title"], item["max_hits"], item["forward_query"]) == (
        {"S": "Grüße"}, {"N": "9"}, {"BOOL": True})
    assert sorted(item["tags"]["SS"]) == ["a", "b"]

    short_id = tutorial.lambda_create("https://example.com/old")
    before = tutorial.item(short_id)
    tutorial.pool.tool("edit", short_id, "--long-url",
                       "https://example.com/new", "--title", "x")
    assert tutorial.lambda_get(short_id) == "https://example.com/new"
    after = tutorial.item(short_id)
    assert {name for name in after if after[name] != before.get(name)} == {
        "long_url", "title", "version", "creation_token", "hits"}


def test_curt_reads_items_of_any_hand(tutorial):
    number = "12345678901234567890123456789012345678"
    # 32 levels, the most that DynamoDB takes.
    deep, printed = {"S": "x"}, "x"
    for _ in range(30):
        deep, printed = {"L": [deep]}, [printed]
    tutorial.put({
        "short_id": {"S": "anyHand"}, "long_url": {"S": "http://example.com/"},
        "owner": {"S": "someone"}, "tags": {"SS": ["a", "b"]},
        "hits": {"N": "7"}, "created_at": {"N": "5"},
        "analytics": {"M": {
            "n": {"N": number}, "f": {"N": "-1.5"}, "b": {"BOOL": True},
            "l": {"L": [{"S": "x"}, {"NULL": True}, {"M": {}}]},
            "m": {"M": {"S": {"M": {"N": {"S": "y"}}}}},
            "s": {"NS": ["3"]}, "raw": {"B": b"\x00\xff"},
            "deep": deep}}})
    assert tutorial.curt_item("anyHand") == {
        "short_id": "anyHand", "short_url": None, "created_at": None,
        "long_url": "http://example.com/", "hits": "7", "tags": ["a", "b"],
        "analytics": {"n": number, "f": "-1.5", "b": True,
                      "l": ["x", None, {}], "m": {"S": {"N": "y"}},
                      "s": ["3"], "raw": "AP8=", "deep": printed}}
    before = tutorial.item("anyHand")
    assert tutorial.curt_get("anyHand").status == 301
    harness.wait_until(lambda: tutorial.hits("anyHand") == 8, "the hit")
    # One attribute more: the number of the flush, under this host's name.
    after = tutorial.item("anyHand")
    nodes = [name for name in after if name.startswith("node_")]
    assert len(nodes) == 1 and int(after.pop(nodes[0])["N"]) >= 1
    assert {**before, "hits": {"N": "8"}} == after


# ---- The table ------------------------------------------------------------

@pytest.fixture
def bare_table(build, dynamodb_local):
    """A pool, not started, on a table of its own in the tutorial's shape."""
    name = "tutorial-%08x" % random.getrandbits(32)
    client = dynamodb_local.client()
    make_table(client, name)
    with harness.Pool(build, curt_settings(dynamodb_local, TABLE=name)) as pool:
        pool.write_conf()
        yield pool
    client.delete_table(TableName=name)


def check_table(pool):
    """What `curt table check` notes of the time to live of the tutorial's
    table, which passes as it is."""
    answer = json.loads(pool.tool("table", "check", "--json").stdout)
    assert answer["ok"] is True and answer["findings"] == []
    return [note for note in answer["notes"] if "time to live" in note]


def test_table_check_names_the_missing_ttl(bare_table):
    [note] = check_table(bare_table)
    assert "ttl" in note and bare_table.settings["TABLE"] in note
    assert "note: " + note in bare_table.tool("table", "check").stdout
    assert "`curt table create`" in note
    bare_table.tool("table", "create")
    assert check_table(bare_table) == []


@pytest.fixture
def own_server():
    """The more tables there are, the later DynamoDB Local removes anything."""
    server = DynamoDBLocal()
    server.start()
    yield server
    server.stop()


def test_ttl_of_curt_is_one_that_dynamodb_removes_by(build, own_server):
    settings = curt_settings(own_server, TABLE="links", LINK_TTL=1)
    with harness.Pool(build, settings) as pool:
        pool.write_conf()
        pool.tool("table", "create")
        pool.start()
        r = pool.request("POST", "/create",
                         {"Content-Type": "application/json"},
                         json.dumps({"long_url": "https://example.com/"}))
        uri = "/t/" + short_id_of(r.text)
        statuses = []

        def gone():
            statuses.append(pool.request("GET", uri).status)
            return statuses[-1] == 404

        harness.wait_until(gone, "the item is removed", 120, 0.2)
        assert own_server.client().scan(TableName="links")["Items"] == []
    # In this order, each for as long as it lasts.
    assert re.fullmatch("(301 )*(410 )*404 ",
                        "".join("%d " % status for status in statuses))
