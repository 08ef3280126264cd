"""Links with options, several at once, repeatable requests, and `curt edit`:
on both stores, with two hosts."""

import json
import os
import signal
import sqlite3
import subprocess
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

import harness
import webservers
from harness import Pool
from proctools import wait_complete

JSON = {"Content-Type": "application/json", "Accept": "application/json"}
CLIENTS = 50


class Hosts:
    """Two pools on one store, each with a cache of its own."""

    def __init__(self, build, store, settings, server):
        self.store, self.server = store, server
        settings = {**settings, "CACHE_TTL": 90, "MAX_BODY": 1048576}
        self.first = Pool(build, settings)
        other = dict(settings)
        del other["RUNTIME_DIR"]
        if store == "dynamodb":
            del other["STATE_DIR"]
        self.second = Pool(build, other)
        self.both = (self.first, self.second)

    def create(self, host=0, headers=(), body=None, **members):
        """(status, the answer's JSON)"""
        if body is None:
            body = {"long_url": "https://example.com/", **members}
        answer = self.both[host % 2].request(
            "POST", "/create", {**JSON, **dict(headers)}, json.dumps(body))
        return answer.status, json.loads(answer.body)

    def made(self, **options):
        status, link = self.create(**options)
        assert status == 200, link
        return link

    def follow(self, short_id, host=0):
        answer = self.both[host].request("GET", "/t/" + short_id)
        return answer.status, answer.headers.get("location")

    def shown(self, short_id):
        return json.loads(self.first.tool("-j", "get", short_id).stdout)

    def tool(self, *args):
        done = self.first.tool(*args, check=False)
        return done.returncode, done.stdout, done.stderr

    def vanish(self, short_id):
        """The link is not in the store, as if it had not been created."""
        if self.store == "sqlite":
            path = self.first.settings["STATE_DIR"] + "/curt.db"
            with sqlite3.connect(path, timeout=20) as db:
                gone = db.execute("DELETE FROM links WHERE short_id = ?",
                                  (short_id,)).rowcount
            assert gone == 1
        else:
            self.server.client().delete_item(
                TableName=self.first.settings["TABLE"],
                Key={"short_id": {"S": short_id}})

    def ids_of(self, url):
        """The ids of the links that lead there."""
        if self.store == "sqlite":
            path = self.first.settings["STATE_DIR"] + "/curt.db"
            with sqlite3.connect(path, timeout=20) as db:
                return {row[0] for row in db.execute(
                    "SELECT short_id FROM links WHERE long_url = ?", (url,))}
        pages = self.server.client().get_paginator("scan").paginate(
            TableName=self.first.settings["TABLE"], ConsistentRead=True,
            FilterExpression="long_url = :u",
            ExpressionAttributeValues={":u": {"S": url}})
        return {item["short_id"]["S"] for page in pages
                for item in page["Items"]}


@pytest.fixture(scope="module", params=webservers.STORES)
def hosts(request, build, module_store_settings):
    settings = module_store_settings(request.param)
    server = (request.getfixturevalue("dynamodb_local")
              if request.param == "dynamodb" else None)
    h = Hosts(build, request.param, settings, server)
    with h.first, h.second:
        h.first.start()
        h.second.start()
        yield h


def url():
    """One that no other test has."""
    return "https://example.com/" + uuid.uuid4().hex


def at_once(work):
    """What work(0), work(1), ... return, all at the same time."""
    with ThreadPoolExecutor(CLIENTS) as clients:
        return list(clients.map(work, range(CLIENTS)))


# ---- Options ---------------------------------------------------------------

OPTIONS = {"ttl": 3600, "not_before": "2020-01-01T00:00:00Z", "max_hits": 7,
           "redirect_status": 307, "forward_query": True,
           "title": "Grüße <\"&", "tags": ["news", "a b", "news"]}
STORED = {"not_before": 1577836800, "max_hits": 7, "redirect_status": 307,
          "forward_query": True, "title": "Grüße <\"&", "tags": ["a b", "news"]}
FORM = ("short_id=%s&ttl=3600&not_before=1577836800&max_hits=7"
        "&redirect_status=307&forward_query=on&title=Gr%%C3%%BC%%C3%%9Fe+%%3C"
        "%%22%%26&tags=news,+a+b,news&long_url=https://example.com/?x=%%26")
TOOL = ("--ttl", "3600", "--not-before", "2020-01-01T01:00:00+01:00",
        "--max-hits", "7", "--redirect-status", "307", "--forward-query", "on",
        "--title", "Grüße <\"&", "--tags", "news, a b,news")


def test_each_way_to_give_options(hosts):
    ids = ["way-%d_%s" % (i, uuid.uuid4().hex[:8]) for i in range(3)]
    link = hosts.made(short_id=ids[0], **OPTIONS)
    assert link["short_url"] == "http://127.0.0.1/t/" + ids[0]
    answer = hosts.first.request(
        "POST", "/create", {"Content-Type": "application/x-www-form-urlencoded"},
        FORM % ids[1])
    assert (answer.status, answer.text) == (200,
                                            "http://127.0.0.1/t/" + ids[1])
    assert hosts.tool("create", "--id", ids[2], *TOOL, "https://example.com/")[
        :2] == (0, "http://127.0.0.1/t/%s\n" % ids[2])
    for short_id in ids:
        shown = hosts.shown(short_id)
        assert shown == {**shown, **STORED}
        assert abs(shown["ttl"] - time.time() - 3600) < 60
        text = hosts.tool("get", short_id)[1]
        for line in ("Title          Grüße <\"&", "Tags           a b, news",
                     "Max hits       7", "Status         307",
                     "Forward query  yes"):
            assert line in text.splitlines()
        assert "\nActive from    2020-01-01 " in text
    shown = hosts.shown(ids[0])
    # What is read back from the store is what was answered.
    for name in ("analytics", "version", "key"):
        shown.pop(name, None)
    assert link == shown


def test_options_that_are_refused(hosts):
    status, problem = hosts.create(max_hits=0)
    assert (status, problem["detail"]) == (
        400, "The max_hits must be an integer from 1 to 1000000000.")
    assert hosts.tool("create", "--max-hits", "0", "https://example.com/") == (
        os.EX_DATAERR, "",
        "curt: --max-hits must be an integer from 1 to 1000000000\n")
    assert hosts.tool("create", "--id", "health", "https://example.com/") == (
        os.EX_DATAERR, "", "curt: --id is a reserved word; choose another\n")


def test_ids_of_one_case(build):
    with Pool(build, {"CASE_INSENSITIVE": "on"}, workers=1) as pool:
        pool.start()
        made = pool.tool("create", "--id", "Spring-1", "https://example.com/")
        assert made.stdout == "http://127.0.0.1/t/spring-1\n"
        pool.tool("edit", "SPRING-1", "--title", "x")
        link = json.loads(pool.tool("-j", "get", "sPRING-1").stdout)
        assert (link["short_id"], link["title"]) == ("spring-1", "x")
        drawn = pool.tool("create", stdin=20 * "https://example.com/\n").stdout
        assert len(drawn.split()) == 20 and drawn == drawn.lower()


# ---- One id, many clients --------------------------------------------------

def test_one_client_gets_an_alias(hosts):
    for _ in range(3):
        alias, target = uuid.uuid4().hex, url()
        answers = at_once(lambda i: hosts.create(
            i, short_id=alias, long_url=target + "/%d" % i))
        statuses = [status for status, _ in answers]
        assert sorted(statuses) == [200] + 49 * [409]
        winner = statuses.index(200)
        assert hosts.follow(alias) == (301, target + "/%d" % winner)
        detail = answers[winner - 1][1]["detail"]
        assert detail == "The short_id is taken; choose another."
    assert hosts.tool("create", "--id", alias, "https://example.com/") == (
        os.EX_DATAERR, "", "curt: --id is taken; choose another\n")
    # That of a deleted link is never given away again.
    hosts.first.tool("delete", alias)
    assert hosts.create(short_id=alias)[0] == 409
    assert hosts.create(1, short_id=alias, find_if_exists=True)[0] == 409


# ---- Repeated requests -----------------------------------------------------

def test_a_repeated_create_answers_the_first_result(hosts):
    for options in ({}, {"short_id": uuid.uuid4().hex}, {"ttl": 0}):
        key, target = {"Idempotency-Key": uuid.uuid4().hex}, url()
        first = hosts.made(headers=key, long_url=target, **options)
        for host in (0, 1, 0):
            assert hosts.made(host=host, headers=key, long_url=target,
                              **options) == first
        status, problem = hosts.create(1, key, long_url=target, title="x",
                                       **options)
        assert status == 422 and problem["detail"] == (
            "The Idempotency-Key was used with another body in the last 24 "
            "hours.")
        assert hosts.ids_of(target) == {first["short_id"]}
        # Also when the link was edited; a deleted one is created again.
        hosts.first.tool("edit", first["short_id"], "--title", "y")
        assert hosts.made(headers=key, long_url=target, **options) == {
            **first, "title": "y"}
        hosts.first.tool("delete", first["short_id"])
        status, again = hosts.create(1, key, long_url=target, **options)
        assert status == (409 if "short_id" in options else 200)
        assert again.get("short_id") != first["short_id"]


def test_clients_with_one_idempotency_key(hosts):
    for options in ({}, {"short_id": uuid.uuid4().hex}):
        key, target = {"Idempotency-Key": uuid.uuid4().hex}, url()
        answers = at_once(lambda i: hosts.create(i, key, long_url=target,
                                                 **options))
        assert {status for status, _ in answers} == {200}
        assert len({link["short_id"] for _, link in answers}) == 1
        assert len(hosts.ids_of(target)) == 1


def test_a_create_that_was_interrupted_is_completed(hosts):
    """The id is reserved, and the process died before it stored the link."""
    for find in (False, True):
        target = url()
        request = {"long_url": target, "find_if_exists": find}
        key = {} if find else {"Idempotency-Key": uuid.uuid4().hex}
        first = hosts.made(headers=key, **request)
        hosts.vanish(first["short_id"])
        again = hosts.made(host=1, headers=key, **request)
        assert again["short_id"] == first["short_id"]
        assert hosts.ids_of(target) == {first["short_id"]}


def test_a_reserved_id_that_another_link_has(hosts):
    """The id was drawn and reserved, but is that of another client's link."""
    for find in (False, True):
        target, other = url(), url()
        request = {"long_url": target, "find_if_exists": find}
        key = {} if find else {"Idempotency-Key": uuid.uuid4().hex}
        first = hosts.made(headers=key, **request)
        hosts.vanish(first["short_id"])
        time.sleep(1.1 - time.time() % 1)  # a link of another second
        hosts.made(short_id=first["short_id"], long_url=other)
        again = hosts.made(host=1, headers=key, **request)
        assert again["short_id"] != first["short_id"]
        assert hosts.made(headers=key, **request) == again
        assert hosts.ids_of(target) == {again["short_id"]}


def test_killed_workers_create_nothing_twice(hosts):
    """Each request is repeated on the other host, whatever became of it."""
    target = url()
    answered = {}

    def create(i):
        try:
            status, link = hosts.create(
                0, {"Idempotency-Key": "%s-%d" % (target, i)},
                long_url="%s/%d" % (target, i))
        except (OSError, ConnectionError):
            return
        if status == 200:
            answered[i] = link["short_id"]

    with ThreadPoolExecutor(8) as clients:
        work = [clients.submit(create, i) for i in range(CLIENTS)]
        for _ in range(4):
            harness.wait_until(lambda: hosts.first.workers(), "a worker")
            for pid in hosts.first.workers()[:1]:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        for done in work:
            done.result()
    wait_complete(hosts.first)
    for i in range(CLIENTS):
        link = hosts.made(host=1,
                          headers={"Idempotency-Key": "%s-%d" % (target, i)},
                          long_url="%s/%d" % (target, i))
        assert answered.get(i, link["short_id"]) == link["short_id"]
        assert hosts.ids_of("%s/%d" % (target, i)) == {link["short_id"]}


def test_find_if_exists(hosts):
    target = url()
    first = hosts.made(long_url=target, find_if_exists=True, title="first")
    again = hosts.made(host=1, long_url="  %s " % target, title="second",
                       find_if_exists=True)
    assert again == first
    # A link that was made without the member is not known by its URL.
    assert hosts.made(long_url=target) != first
    assert hosts.tool("create", "--find-if-exists", target)[:2] == (
        0, first["short_url"] + "\n")
    answers = at_once(lambda i: hosts.create(i, long_url=target + "/x",
                                             find_if_exists=True))
    assert {status for status, _ in answers} == {200}
    assert len({link["short_id"] for _, link in answers}) == 1

    # Edited away, deleted, expired: another link, which is then found.
    for change in (("edit", "--long-url", url()), ("delete",),
                   ("edit", "--expires-at")):
        if change[-1] == "--expires-at":
            change += (str(int(time.time()) + 3),)
        hosts.first.tool(change[0], first["short_id"], *change[1:])
        if change[-2:-1] == ("--expires-at",):
            time.sleep(max(0, int(change[-1]) - time.time()) + 0.01)
        new = hosts.made(host=1, long_url=target, find_if_exists=True)
        assert new["short_id"] != first["short_id"]
        assert hosts.made(long_url=target, find_if_exists=True) == new
        first = new

    # Nor is one found that is disabled, or has no visits left.
    hosts.first.tool("disable", first["short_id"])
    new = hosts.made(long_url=target, find_if_exists=True, max_hits=1)
    assert new["short_id"] != first["short_id"]
    assert hosts.follow(new["short_id"])[0] == 301
    last = hosts.made(long_url=target, find_if_exists=True)
    assert last["short_id"] not in (first["short_id"], new["short_id"])
    assert hosts.create(short_id=first["short_id"], long_url=target,
                        find_if_exists=True)[0] == 409

    # With an alias it is that link which is looked for.
    alias, target = uuid.uuid4().hex, url()
    link = hosts.made(short_id=alias, long_url=target, find_if_exists=True)
    assert hosts.made(host=1, short_id=alias, long_url=target,
                      find_if_exists=True) == link
    assert hosts.create(short_id=alias, find_if_exists=True)[0] == 409


# ---- Several at once -------------------------------------------------------

def test_several_at_once(hosts):
    alias, target = uuid.uuid4().hex, url()
    found = hosts.made(long_url=target, find_if_exists=True)
    status, results = hosts.create(body=[
        {"long_url": "https://example.com/1", "short_id": alias, "title": "x"},
        {"long_url": "javascript:alert(1)"},
        {"long_url": "https://example.com/2", "short_id": alias},
        {"long_url": target, "find_if_exists": True},
        "https://example.com/3",
        {"long_url": "https://example.com/4", "ttl": 0}])
    assert status == 200
    assert [r["status"] for r in results] == [200, 400, 409, 200, 400, 200]
    assert results[0]["link"]["title"] == "x"
    assert results[2] == {"status": 409, "title": "Conflict", "detail":
                          "The short_id is taken; choose another."}
    assert results[3]["link"] == found
    assert "ttl" not in results[5]["link"]
    for result, last in zip(results, "1xxx"):
        if last != "x":
            assert hosts.follow(result["link"]["short_id"], 1) == (
                301, "https://example.com/" + last)

    status, results = hosts.create(body=[
        {"long_url": "%s/%d" % (target, i)} for i in range(100)])
    assert status == 200 and len(results) == 100
    assert len({r["link"]["short_id"] for r in results}) == 100
    for i in (0, 57, 99):
        assert hosts.follow(results[i]["link"]["short_id"]) == (
            301, "%s/%d" % (target, i))
    for count in (0, 101):
        status, problem = hosts.create(body=count * [{"long_url": target}])
        assert status == 400 and "1 to 100 links" in problem["detail"]
    status, problem = hosts.create(headers={"Idempotency-Key": "x"},
                                   body=[{"long_url": target}])
    assert status == 400 and "for one link" in problem["detail"]


def test_long_answers_of_an_array_are_whole(hosts):
    """Each byte of these URLs is three in the answer of half a megabyte."""
    target = "https://example.com/" + 1600 * "^"
    status, results = hosts.create(body=[{"long_url": target,
                                          "tags": ["é"]}] * 100)
    assert status == 200
    assert {r["link"]["long_url"] for r in results} == {
        target.replace("^", "%5E")}


# ---- Editing ---------------------------------------------------------------

def test_an_edit_is_seen_by_the_next_request(hosts):
    link = hosts.made(tags=["a"], title="old", max_hits=50)
    short_id = link["short_id"]
    for i in range(5):
        target = url()
        assert hosts.follow(short_id)[0] == 301
        assert hosts.tool("edit", short_id, "--long-url", target) == (
            0, "%s is changed\n" % short_id, "")
        assert hosts.follow(short_id) == (301, target)
    status, out, err = hosts.tool(
        "-j", "edit", link["short_url"], "--title", "", "--tags", "b,c",
        "--max-hits", "", "--ttl", "60", "--forward-query", "on")
    assert (status, err) == (0, "")
    shown = hosts.shown(short_id)
    assert {**json.loads(out), "version": 6} == {
        **shown, "hits": json.loads(out)["hits"]}
    assert shown["tags"] == ["b", "c"] and shown["forward_query"] is True
    assert abs(shown["ttl"] - time.time() - 60) < 30
    assert not {"title", "max_hits"} & set(shown)
    hosts.first.tool("edit", short_id, "--ttl", "0")
    assert "ttl" not in hosts.shown(short_id)


def test_edits_that_are_refused(hosts):
    short_id = hosts.made()["short_id"]
    before = hosts.shown(short_id)
    for args, status, line in (
            ((), os.EX_USAGE, "curt: edit needs an option, such as --ttl 86400;"
             " see: curt help edit"),
            (("--ttl", "x"), os.EX_DATAERR,
             "curt: --ttl must be a number of seconds from 0 to 3155760000"),
            (("--ttl", "1", "--expires-at", "2099-01-01T00:00:00Z"),
             os.EX_DATAERR, "curt: --ttl cannot be combined with expires_at"),
            (("--long-url", "x:"), os.EX_DATAERR,
             "curt: --long-url is not an absolute http or https URL"),
            (("--not-before", "2099-01-01T00:00:00Z", "--ttl", "60"),
             os.EX_DATAERR, "curt: --not-before must be before the link expires"),
            (("--id", "x"), os.EX_USAGE,
             "curt: --id is not an option of edit; see: curt help edit")):
        assert hosts.tool("edit", short_id, *args) == (status, "", line + "\n")
    assert hosts.shown(short_id) == before
    status, _, err = hosts.tool("edit", "nosuch-id", "--ttl", "0")
    assert status == 1 and err.startswith("curt: nosuch-id: no such link")


def test_two_editors_do_not_overwrite_each_other(hosts):
    short_id = hosts.made()["short_id"]
    editors = [subprocess.Popen(
        [str(a) for a in (hosts.first.build.tool, "-c", hosts.both[i % 2].conf,
                          "edit", short_id, "--title", "editor %d" % i)],
        env=hosts.both[i % 2].env(), stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True) for i in range(8)]
    done = [(e.communicate(timeout=60), e.returncode) for e in editors]
    for (_, err), status in done:
        assert (status, err) in ((0, ""), (
            os.EX_TEMPFAIL, "curt: %s: the link was changed by another "
            "command meanwhile; nothing was written, run this again\n" % short_id))
    kept = sum(status == 0 for _, status in done)
    assert kept >= 1
    assert hosts.shown(short_id)["version"] == kept
