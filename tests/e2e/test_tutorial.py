"""The tutorial's Lambda functions and curt redirect, count and end each
other's links. The set-up is in tutorial_site.py."""

import json
import os
import re
import threading
import time

import pytest

import harness
from tutorial_site import (
    MAX_CHAR, MIN_CHAR, PLAIN_URLS, TABLE, load_handler, proxy_event,
    short_id_of)
from tutorial_site import lambda_environment, tutorial  # fixtures

WEEK = 604800


# ---- Redirects ------------------------------------------------------------

@pytest.mark.parametrize("url", PLAIN_URLS, ids=lambda url: url[:40])
def test_each_side_redirects_the_links_of_the_other(tutorial, url):
    by_lambda = tutorial.lambda_create(url)
    r = tutorial.curt_get(by_lambda)
    assert r.status == 301
    assert r.headers["location"] == url
    assert tutorial.lambda_get(by_lambda) == url

    by_curt = tutorial.curt_create(url)
    assert tutorial.lambda_get(by_curt) == url
    assert tutorial.curt_get(by_curt).headers["location"] == url
    assert (tutorial.item(by_curt)["long_url"]
            == tutorial.item(by_lambda)["long_url"] == {"S": url})


# What curt would not have stored like this: it sends what it would have.
RAW_URLS = [
    ("http://example.com/a b?c= d", "http://example.com/a%20b?c=%20d"),
    ("http://example.com/ä/€?𝄞=ß#ü",
     "http://example.com/%C3%A4/%E2%82%AC?%F0%9D%84%9E=%C3%9F#%C3%BC"),
    ("http://example.com/a|b?b=%zz&c=100%&d[]=e#f|%",
     "http://example.com/a%7Cb?b=%25zz&c=100%25&d%5B%5D=e#f|%"),
    ("http://example.com/\"<>\\^`{|}",
     "http://example.com/%22%3C%3E/%5E%60%7B%7C%7D"),
    ("https://exämple.com/", "https://xn--exmple-cua.com/"),
    ("  http://example.com/trimmed\r\n", "http://example.com/trimmed"),
]


@pytest.mark.parametrize("raw,normal", RAW_URLS)
def test_raw_url_of_the_lambda_is_served_normalised(tutorial, raw, normal):
    short_id = tutorial.lambda_create(raw)
    assert tutorial.item(short_id)["long_url"] == {"S": raw}
    r = tutorial.curt_get(short_id)
    assert (r.status, r.headers["location"]) == (301, normal)
    assert tutorial.item(short_id)["long_url"] == {"S": raw}
    assert tutorial.lambda_get(short_id) == raw
    # The same input through curt is stored normalised; the Lambda sends that.
    assert tutorial.lambda_get(tutorial.curt_create(raw)) == normal


# Bodies that the Lambda takes, and what it then stores as long_url.
UNSERVABLE = [
    ({"long_url": "google.com"}, "S"),
    ({"long_url": "//example.com/"}, "S"),
    ({"long_url": "ftp://example.com/"}, "S"),
    ({"long_url": "javascript:alert(1)"}, "S"),
    ({"long_url": "http:///path"}, "S"),
    ({"long_url": "http://user:pass@example.com/"}, "S"),
    ({"long_url": "http://example.com/\r\nSet-Cookie: a=b"}, "S"),
    ({"long_url": "http://example.com/\r\n\r\n<script>"}, "S"),
    ({"long_url": "http://example.com/\nX: y"}, "S"),
    ({"long_url": "http://example.com/\x00"}, "S"),
    ({"long_url": "http://example.com/\x85"}, "S"),
    ({"long_url": "http://example.com/" + "x" * 8000}, "S"),
    ({"long_url": 0}, "N"),
    ({"long_url": False}, "BOOL"),
    ({"long_url": None}, "NULL"),
    ({"url": "https://example.com/"}, "NULL"),
]


def assert_fails_alone(tutorial, short_id):
    """500 and a log line for this link; no hit, no harm to another one."""
    workers = tutorial.pool.workers()
    before = tutorial.item(short_id)
    r = tutorial.curt_get(short_id)
    assert r.status == 500
    assert r.headers["content-type"] == "application/problem+json"
    assert "location" not in r.headers and "set-cookie" not in r.headers
    trace_id = r.headers["x-amzn-trace-id"]
    assert json.loads(r.text)["trace_id"] == trace_id
    assert [line for line in tutorial.pool.log().splitlines()
            if "level=error" in line and trace_id in line
            and "link %s cannot be served" % short_id in line]
    assert tutorial.item(short_id) == before

    other = tutorial.lambda_create("https://example.com/other")
    for _ in workers:
        assert tutorial.curt_get(other).status == 301
    assert tutorial.pool.workers() == workers


@pytest.mark.parametrize("body,kind", UNSERVABLE,
                         ids=lambda value: repr(value)[:45])
def test_link_of_the_lambda_that_cannot_be_served(tutorial, body, kind):
    short_id = tutorial.lambda_create_from(body)
    assert list(tutorial.item(short_id)["long_url"]) == [kind]
    assert_fails_alone(tutorial, short_id)


def test_long_url_that_is_missing_or_no_string(tutorial):
    ids = []
    for value in (
            None, {"N": "42"}, {"L": []}, {"M": {}},
            {"M": {"S": {"S": "https://example.com/"}}},
            {"L": [{"S": "https://example.com/"}]},
            {"SS": ["https://example.com/"]}, {"B": b"https://example.com/"}):
        ids.append(tutorial.lambda_create("https://example.com/"))
        tutorial.change(ids[-1], long_url=value)
        assert_fails_alone(tutorial, ids[-1])
    done = tutorial.pool.tool("get", *ids, check=False)
    assert done.returncode == os.EX_DATAERR
    assert (done.stdout, len(done.stderr.splitlines())) == ("", len(ids))
    assert all(short_id in done.stderr for short_id in ids)


# ---- Hits -----------------------------------------------------------------

@pytest.mark.parametrize("maker", ["lambda_create", "curt_create"])
def test_hits_of_both_sides_add_up(tutorial, maker):
    short_id = getattr(tutorial, maker)("https://example.com/counted")
    assert tutorial.hits(short_id) == 0
    for by_curt, by_lambda in ((3, 2), (1, 0), (0, 4), (2, 1)):
        for _ in range(by_curt):
            assert tutorial.curt_get(short_id).status == 301
            assert tutorial.curt_get(short_id, "HEAD").status == 301
        for _ in range(by_lambda):
            assert tutorial.lambda_get(short_id)
    harness.wait_until(lambda: tutorial.hits(short_id) >= 13, "13 hits")
    assert tutorial.item(short_id)["hits"] == {"N": "13"}
    assert tutorial.curt_item(short_id)["hits"] == "13"


def test_hits_of_both_sides_at_the_same_time(tutorial):
    short_id = tutorial.lambda_create("https://example.com/crowded")
    statuses = []

    def visit():
        for _ in range(20):
            statuses.append(tutorial.curt_get(short_id).status)

    visitors = [threading.Thread(target=visit) for _ in range(4)]
    for visitor in visitors:
        visitor.start()
    for _ in range(20):
        assert tutorial.lambda_get(short_id) == "https://example.com/crowded"
    for visitor in visitors:
        visitor.join()
    assert statuses == [301] * 80
    harness.wait_until(lambda: tutorial.hits(short_id) >= 100, "100 hits")
    assert tutorial.hits(short_id) == 100


# ---- Ids ------------------------------------------------------------------

@pytest.mark.parametrize("maker", ["lambda_create", "curt_create"])
def test_ids_are_of_one_kind(tutorial, maker):
    make = getattr(tutorial, maker)
    ids = [make("https://example.com/%d" % n) for n in range(80)]
    assert len(set(ids)) == len(ids)
    assert {len(short_id) for short_id in ids} == set(
        range(MIN_CHAR, MAX_CHAR + 1))
    for kind in ("[a-z]", "[A-Z]", "[0-9]"):
        assert re.search(kind, "".join(ids))
    assert re.fullmatch("[A-Za-z0-9]+", "".join(ids))
    # The other side takes each of them for an id.
    for n in range(0, 80, 8):
        url = "https://example.com/%d" % n
        assert tutorial.lambda_get(ids[n]) == url
        assert tutorial.curt_get(ids[n]).headers["location"] == url


def test_ids_of_a_lambda_with_other_lengths(tutorial, dynamodb_local,
                                            monkeypatch):
    for length in (1, 20, 64):
        monkeypatch.setenv("MIN_CHAR", str(length))
        monkeypatch.setenv("MAX_CHAR", str(length))
        create = load_handler("create", dynamodb_local.endpoint)
        body = json.dumps({"long_url": "https://example.com/%d" % length})
        short_id = short_id_of(create(proxy_event(body, {}), None)["body"])
        assert len(short_id) == length
        r = tutorial.curt_get(short_id)
        assert r.headers["location"] == "https://example.com/%d" % length


# ---- The end of links -----------------------------------------------------

def in_time(seconds, text="%d"):
    return {"N": text % (time.time() + seconds)}


@pytest.mark.parametrize("maker", ["lambda_create", "curt_create"])
def test_expired_link_that_is_still_stored(tutorial, maker):
    short_id = getattr(tutorial, maker)("https://example.com/expired")
    tutorial.change(short_id, ttl=in_time(-1))
    before = tutorial.item(short_id)
    for method in ("GET", "HEAD"):
        r = tutorial.curt_get(short_id, method)
        assert r.status == 410
        assert "location" not in r.headers
    assert tutorial.item(short_id) == before
    # The Lambda does not look at the ttl; the link is there for it.
    assert tutorial.lambda_get(short_id) == "https://example.com/expired"
    assert tutorial.curt_item(short_id)["ttl"] == before["ttl"]["N"]


def test_ttl_that_is_not_a_number_means_never(tutorial):
    ids = []
    for ttl in (None, {"S": "1"}, {"S": "abc"}, {"NULL": True},
                {"BOOL": False}, {"NS": ["1"]}, {"M": {"N": {"N": "1"}}}):
        ids.append(tutorial.lambda_create("https://example.com/never"))
        tutorial.change(ids[-1], ttl=ttl)
        r = tutorial.curt_get(ids[-1])
        assert r.status == 301, ttl
        assert r.headers["cache-control"] == "private, max-age=90"
    assert not [item for item in tutorial.curt_items(ids) if "ttl" in item]


def test_ttl_with_a_fraction(tutorial):
    whole = {}
    for seconds, text, status in (
            (30, "%.3f", 301), (-0.5, "%.3f", 410), (-WEEK, "%.9f", 410),
            (30, "%.10e", 301), (-30, "%.10e", 410)):
        short_id = tutorial.lambda_create("https://example.com/fraction")
        tutorial.change(short_id, ttl=in_time(seconds, text))
        whole[short_id] = tutorial.item(short_id)["ttl"]["N"].partition(".")[0]
        assert tutorial.curt_get(short_id).status == status, (seconds, text)
    assert whole == {item["short_id"]: item["ttl"]
                     for item in tutorial.curt_items(whole)}


@pytest.mark.parametrize("ttl,status", [
    ("0", 410), ("-1", 410), ("-1E+100", 410), ("1E+100", 301),
    ("99999999999999999999999999999999999999", 301)])
def test_ttl_far_away(tutorial, ttl, status):
    short_id = tutorial.lambda_create("https://example.com/far")
    tutorial.change(short_id, ttl={"N": ttl})
    assert tutorial.curt_get(short_id).status == status


def test_ttl_that_is_near_shortens_what_a_browser_keeps(tutorial):
    short_id = tutorial.lambda_create("https://example.com/near")
    tutorial.change(short_id, ttl=in_time(30))
    r = tutorial.curt_get(short_id)
    age = re.fullmatch("private, max-age=([0-9]+)", r.headers["cache-control"])
    assert 0 < int(age[1]) <= 30


@pytest.mark.parametrize("maker", ["lambda_create", "curt_create"])
def test_link_that_curt_deletes_is_gone_for_both(tutorial, maker):
    short_id = getattr(tutorial, maker)("https://example.com/deleted")
    assert tutorial.lambda_get(short_id) == "https://example.com/deleted"
    assert tutorial.curt_get(short_id).status == 301
    tutorial.pool.tool("delete", short_id)
    assert tutorial.lambda_get(short_id) == ""
    assert tutorial.curt_get(short_id).status == 404
    assert tutorial.pool.tool("get", short_id, check=False).returncode == 1
    # The id stays taken, and neither visit has added hits.
    assert set(tutorial.item(short_id)) == {"short_id", "deleted_at"}


def test_link_that_another_hand_deletes(tutorial):
    short_id = tutorial.curt_create("https://example.com/deleted")
    tutorial.client.delete_item(TableName=TABLE,
                                Key={"short_id": {"S": short_id}})
    assert tutorial.curt_get(short_id).status == 404
    assert tutorial.item(short_id) is None


def test_visits_while_a_link_is_deleted_do_not_revive_it(tutorial):
    """A hit that is counted when the link has just gone makes no new item."""
    for n in range(8):
        short_id = tutorial.lambda_create("https://example.com/%d" % n)
        statuses = []
        end = time.monotonic() + 60

        def visit():
            while 404 not in statuses and time.monotonic() < end:
                statuses.append(tutorial.curt_get(short_id).status)

        visitors = [threading.Thread(target=visit) for _ in range(2)]
        for visitor in visitors:
            visitor.start()
        harness.wait_until(lambda: 301 in statuses, "a visit", interval=0.001)
        tutorial.client.delete_item(TableName=TABLE,
                                    Key={"short_id": {"S": short_id}})
        for visitor in visitors:
            visitor.join()
        assert set(statuses) == {301, 404}
        assert tutorial.item(short_id) is None
