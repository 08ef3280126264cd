"""The log on standard error, and what there is when it leads nowhere; the
configuration as a pool reads it."""

import json
import os
import shutil
import signal

import proctools
from harness import Pool, wait_until
from proctools import (DaemonPool, EnvPool, check_redirect, create,
                       descriptors, insert_links, make_link, open_db,
                       read_log, reload, said, slay, wait_said)


HOSTILE = [
    'x" msg="forged',
    "x\nlevel=error proc=master pid=1 msg=\"forged\"",
    "x\r\ntime=2000-01-01T00:00:00Z level=error msg=forged",
    "x\\\" forged",
    "\x1b[2Jforged\x07\x00",
    "forged \u2028 \x85 \u202e",
    "forged" * 3000,
]


def test_each_line_of_the_log_is_one_that_curt_wrote(build):
    with Pool(build, {"LOG_LEVEL": "debug"}, workers=1).start() as pool:
        good = make_link(pool)
        for text in HOSTILE:
            for name in ("User-Agent", "X-Amzn-Trace-Id", "Accept", "Host"):
                answer = pool.request("GET", "/t/" + good, {name: text})
                assert answer.status == 301
            for url in (text, "https://example.com/" + text,
                        "https://" + text + "/"):
                assert create(pool, url).status in (200, 400)
            assert pool.request("GET", "/t/" + text).status == 404
            assert pool.request(text, "/t/" + good).status == 405
            pool.request("POST", "/create", {"Content-Type": text}, text)
        # A link that another hand wrote is logged when it cannot be served.
        with proctools.open_db(pool) as db:
            for i, text in enumerate(HOSTILE):
                proctools.insert_links(db, [("bad%d" % i, None)])
                db.execute("UPDATE links SET long_url = ? WHERE short_id = ?",
                           (text, "bad%d" % i))
        db.close()
        for i in range(len(HOSTILE)):
            assert pool.request("GET", "/t/bad%d" % i).status == 500
        lines = read_log(pool)  # asserts the form of each
        pids = {str(p) for p in pool.children() + [pool.pid]}
        assert {line["pid"] for line in lines} <= pids
        assert {line["proc"] for line in lines} >= {"master", "worker"}
        assert not [line for line in lines
                    if line["msg"].startswith("forged")]
        traces = {proctools.unescape(line["trace_id"]) for line in lines}
        assert HOSTILE[0] in traces, "a trace id with quotes is a good one"


def test_each_line_has_what_the_design_says(build):
    with Pool(build, {}, workers=1).start() as pool:
        short_id = make_link(pool)
        line = wait_said(pool, "link %s created" % short_id, "info")[0]
        assert line["proc"] == "worker"
        assert int(line["pid"]) in pool.workers()
        assert line["trace_id"].startswith("Root=1-")
        start = said(pool, "started with 1 workers")[0]
        assert (start["proc"], int(start["pid"])) == ("master", pool.pid)


def test_spawn_fcgi_without_a_terminal(build):
    """Standard error is /dev/null then; what is to be said goes to syslog."""
    pool = DaemonPool(build, {}, workers=1)
    try:
        pool.start()
        assert descriptors(pool.pid)[2] == "/dev/null"
        short_id = make_link(pool)
        check_redirect(pool, short_id)
        victim = pool.workers()[0]
        slay(victim)
        wait_until(lambda: pool.complete() and victim not in pool.workers(),
                   "another worker")
        pool.conf.write_text("NONSENSE\n")
        os.kill(pool.pid, signal.SIGHUP)
        check_redirect(pool, short_id)
        pool.settings["MAX_CHAR"] = pool.settings["MIN_CHAR"] = 11
        pool.write_conf()
        os.kill(pool.pid, signal.SIGHUP)
        wait_until(lambda: len(make_link(pool)) == 11, "the new configuration")
        pool.stop()
    finally:
        pool.kill()
        shutil.rmtree(pool.workdir, ignore_errors=True)


def test_log_that_nobody_reads_any_more_does_not_kill(build):
    """Standard error is a pipe, and its reader has gone."""
    class FifoPool(Pool):
        def command(self, workers):
            return ["sh", "-c", 'exec "$0" "$@" 2>"$TMPDIR"/fifo',
                    *super().command(workers)]

    pool = FifoPool(build, {"LOG_LEVEL": "debug"}, workers=1)
    os.mkfifo(pool.workdir / "fifo")
    reader = os.open(pool.workdir / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    with pool.start():
        assert b"proc=master" in os.read(reader, 65536)
        os.close(reader)
        for _ in range(10):
            check_redirect(pool, make_link(pool))
        reload(pool)
        check_redirect(pool, make_link(pool))


def test_environment_alone_is_enough(build):
    with Pool(build, {"MIN_CHAR": 9, "MAX_CHAR": 9}, workers=1,
              via_env=True).start() as pool:
        assert len(make_link(pool)) == 9


def test_environment_wins_over_the_file(build):
    with EnvPool(build, {"MIN_CHAR": "nonsense", "MAX_CHAR": 5}, workers=1,
                 environment={"MIN_CHAR": "8", "MAX_CHAR": "8"}
                 ).start() as pool:
        answer = create(pool, "https://example.com/")
        assert len(json.loads(answer.body)["short_id"]) == 8


ODD_TTLS = {"millis": {"N": "4102444800000"}, "text": {"S": "in a week"}}


def test_ttl_that_ends_nothing_is_said_once(build, store_env, request):
    """Milliseconds and text mean never, as they do to DynamoDB."""
    with Pool(build, {**store_env, "CACHE_TTL": 0}, workers=1).start() as pool:
        if store_env["STORE"] == "dynamodb":
            client = request.getfixturevalue("dynamodb_local").client()
            for name, ttl in ODD_TTLS.items():
                client.put_item(TableName=store_env["TABLE"], Item={
                    "short_id": {"S": name}, "ttl": ttl,
                    "long_url": {"S": "https://example.com/" + name}})
        else:
            make_link(pool)
            db = open_db(pool)
            insert_links(db, [(name, *ttl.values())
                              for name, ttl in ODD_TTLS.items()])
            db.close()
        for _ in range(2):
            for name in ODD_TTLS:
                check_redirect(pool, name, "https://example.com/" + name)
        line, = said(pool, "its ttl", "warning")
        assert "link millis: its ttl 4102444800000" in line["msg"]
        assert "milliseconds" in line["msg"] and line["proc"] == "worker"

        millis, text = (json.loads(pool.tool("--json", "get", name).stdout)
                        for name in ODD_TTLS)
        assert millis["ttl"] == 4102444800000 and "ttl" not in text
        assert "milliseconds" in millis["ttl_note"]
        assert "in?a?week" in text["ttl_note"]
        assert "not a number of seconds" in text["ttl_note"]
        shown = pool.tool("get", "text").stdout
        assert "Expires        never\nNote           " in shown
        assert "\nNote" not in pool.tool("get", make_link(pool)).stdout
