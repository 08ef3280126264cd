"""What `curt` and `curt.fcgi -t` print is text for a terminal and JSON for
programs, whatever another client of the store, or the store, has said."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

import harness
from aws_faults import error
from aws_wire import Proxy

# Each kind of character that a terminal obeys, and bytes that are not UTF-8.
HOSTILE = ("\x1b]0;title\x07 \x1b[2J\x08\x7f\r\u0080\u009b31m\u009d\u202dleft"
           "\u202e\u2066\u2069 é\\")
SHOWN = (r"\x1b]0;title\x07 \x1b[2J\x08\x7f\x0d\xc2\x80\xc2\x9b31m\xc2\x9d"
         r"\xe2\x80\xadleft\xe2\x80\xae\xe2\x81\xa6\xe2\x81\xa9 é" + "\\")
OBEYED = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def run(pool, *args):
    """Runs the tool; its exit status, standard output and standard error,
    which must have nothing that a terminal obeys."""
    done = subprocess.run(
        [pool.build.tool, "-c", pool.conf, *args], env=pool.env(), timeout=60,
        stdin=subprocess.DEVNULL, capture_output=True)
    out, err = done.stdout.decode(), done.stderr.decode()
    assert not OBEYED.search(out) and not OBEYED.search(err), (out, err)
    return done.returncode, out, err


def get_json(pool, short_id):
    status, out, err = run(pool, "get", short_id, "--json")
    assert status == 0, err
    assert out.count("\n") == 1
    members = json.loads(out, object_pairs_hook=lambda pairs: pairs)
    names = [name for name, _ in members]
    assert len(set(names)) == len(names)
    assert set(names) <= {"short_id", "short_url", "long_url", "created_at",
                          "ttl", "hits", "analytics"}
    return json.loads(out)


class Links:
    """A pool, and how to write an item around it."""

    def __init__(self, build, store, settings, dynamodb_local):
        self.pool = harness.Pool(build, settings)
        self.pool.write_conf()
        self.store = store
        self.settings = settings
        self.client = dynamodb_local and dynamodb_local.client()

    def put(self, long_url, short_url, created_at, analytics=None):
        if self.store == "sqlite":
            path = Path(self.settings["STATE_DIR"]) / "curt.db"
            if not path.exists():
                run(self.pool, "table", "create")
            with sqlite3.connect(path) as db:
                db.execute(
                    "INSERT OR REPLACE INTO links (short_id, long_url,"
                    " short_url, created_at, hits, analytics) VALUES"
                    " ('odd', ?, ?, ?, 3, CAST(? AS TEXT))",
                    (long_url, short_url, created_at, analytics))
        else:
            self.client.put_item(TableName=self.settings["TABLE"], Item={
                "short_id": {"S": "odd"}, "long_url": {"S": long_url},
                "short_url": {"S": short_url}, "hits": {"N": "3"},
                "created_at": {"S": created_at},
                "analytics": {"M": {HOSTILE: {"S": HOSTILE}}}})


@pytest.fixture
def links(request, build, store_settings):
    def make(store):
        return Links(build, store, store_settings(store),
                     store == "dynamodb"
                     and request.getfixturevalue("dynamodb_local"))
    return make


@pytest.mark.parametrize("store", ["sqlite", "dynamodb"])
def test_tool_get_shows_what_a_terminal_would_obey(links, store):
    made = links(store)
    made.put("http://x/" + HOSTILE, "http://y/" + HOSTILE, HOSTILE,
             json.dumps({HOSTILE: HOSTILE}, ensure_ascii=False))
    status, out, _ = run(made.pool, "get", "odd")
    assert status == 0
    lines = out.splitlines()
    assert "Leads to       http://x/" + SHOWN in lines
    assert "Short URL      http://y/" + SHOWN in lines
    assert "Created        " + SHOWN in lines
    assert lines[-2:] == ["Analytics", "  %s  %s" % (SHOWN, SHOWN)]
    table = made.settings.get("TABLE")
    assert run(made.pool, "get", "none")[::2] == (
        1, "curt: none: no such link (APP_URL is http://127.0.0.1/t/, store %s)"
        "\n" % (f"dynamodb, table {table}" if table
                else made.settings["STATE_DIR"] + "/curt.db"))
    item = get_json(made.pool, "odd")
    assert item["long_url"] == "http://x/" + HOSTILE
    assert item["created_at"] == HOSTILE
    assert item["analytics"] == {HOSTILE: HOSTILE}
    assert item["hits"] == 3


def test_tool_get_json_has_its_own_members_only(links):
    """More of the kind: tests/unit/test_link.c."""
    made = links("sqlite")
    for analytics, wanted in [
            (b' {"a":\n[1,\r{"b":\tnull}]}\n ', {"a": [1, {"b": None}]}),
            (b'{"a":1},"hits":999', None),
            (b'{"a":1}\0,"hits":999', {"a": 1})]:
        made.put("http://x/", "http://y/", "2018-11-29T00:05:02", analytics)
        item = get_json(made.pool, "odd")
        assert item["analytics"] == wanted
        assert item["hits"] == 3


def test_tool_get_json_is_utf8(links):
    made = links("sqlite")
    made.put("http://x/", "http://y/", "2018-11-29T00:05:02", b"{}")
    with sqlite3.connect(
            Path(made.settings["STATE_DIR"]) / "curt.db") as db:
        db.execute("UPDATE links SET long_url = CAST(? AS TEXT),"
                   " created_at = CAST(? AS TEXT)", (b"a\xff\xc3", b"\xfe\x9b"))
    assert get_json(made.pool, "odd")["long_url"] == "a\ufffd\ufffd"
    _, out, _ = run(made.pool, "get", "odd")
    assert r"a\xff\xc3" in out and r"\xfe\x9b" in out


def test_tool_errors_of_the_store_are_shown(build, store_settings):
    """The text of a server, or of what is on the way to it."""
    settings = store_settings("dynamodb")
    with Proxy(fault=lambda request, _: error(
            "AccessDeniedException", HOSTILE)) as server:
        settings["AWS_ENDPOINT_URL_DYNAMODB"] = server.endpoint
        pool = harness.Pool(build, settings)
        pool.write_conf()
        for args in (["get", "odd"], ["delete", "odd"], ["table", "check"],
                     ["table", "create"], ["create", "http://e.com/"],
                     ["doctor"], ["doctor", "--json"]):
            status, out, err = run(pool, *args)
            assert status != 0
            assert "title" in out + err, args
        done = subprocess.run([build.fcgi, "-c", pool.conf, "-t"],
                              env=pool.env(), capture_output=True, timeout=60)
        assert done.returncode == 78
        assert not OBEYED.search(done.stderr.decode())
        assert b"title" in done.stderr


def test_tool_faults_of_a_configuration_are_shown(build):
    pool = harness.Pool(build, {"MAX_CHAR": "\u009b31m\u202e", "x\u009b": "y"})
    pool.write_conf()
    for command in ([build.tool, "-c", pool.conf, "config"],
                    [build.fcgi, "-c", pool.conf, "-t"]):
        done = subprocess.run(command, env=pool.env(), capture_output=True,
                              timeout=60)
        assert done.returncode == 78
        text = done.stderr.decode()
        assert "MAX_CHAR" in text and not OBEYED.search(text)
    status, _, err = run(pool, "get", "\x1b[2J")
    assert status == 78 and "MAX_CHAR" in err


def test_tool_shows_arguments_and_names(build, store_settings, tmp_path):
    """In what it says of them, good or bad; and of another process."""
    settings = store_settings("sqlite")
    settings["STATE_DIR"] += "/\u009b31m"
    pool = harness.Pool(build, settings)
    pool.write_conf()
    odd = tmp_path / HOSTILE.replace("/", "").replace("\x08", "")
    run(pool, "table", "create")
    for args, wanted in [
            (["backup", odd], 0), (["backup", odd / "no"], None), (["restore", odd], 0),
            (["restore", odd / "no"], None), (["-c", odd / "no", "get", "x"], 78),
            (["-c", odd / "no", "doctor"], 78),
            (["table", HOSTILE], 64), (["get", HOSTILE], 65),
            (["get", "http://x/" + HOSTILE], 65), ([HOSTILE], 64),
            (["help", HOSTILE], 64), (["--" + HOSTILE], 64),
            (["hits", HOSTILE], 64), (["backup", "x", HOSTILE], 64),
            (["create", HOSTILE], 65),
            (["table", "create", "--tag", HOSTILE], 64),
            (["table", "create", "--billing", HOSTILE], 64),
            (["table", "create", "--read-units", HOSTILE], 64)]:
        status, out, err = run(pool, *args)
        assert wanted is None or status == wanted, (args, status, err)
        assert r"\x1b" in out + err, args
    holder = subprocess.Popen(
        ["/usr/bin/python3", "-c",
         "import sys; open('/proc/self/comm', 'w').write('\x1b[2J\\n');"
         "kept = open(sys.argv[1]); print(flush=True); sys.stdin.read()",
         settings["STATE_DIR"] + "/curt.db"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    holder.stdout.readline()
    status, _, err = run(pool, "restore", odd)
    holder.communicate()
    assert status == 75 and r"(\x1b[2J)" in err, err


def test_reading_makes_no_database(build):
    with harness.Pool(build, {}) as pool:
        pool.write_conf()
        state, runtime = (Path(pool.settings[key])
                          for key in ("STATE_DIR", "RUNTIME_DIR"))
        for args in (["get", "abc1234"], ["delete", "abc1234"]):
            assert run(pool, *args) == (
                75, "", "curt: %s/curt.db does not exist; curt.fcgi or `curt "
                "create` creates it\n" % state)
        assert run(pool, "hits")[0] == 0
        assert run(pool, "doctor")[0] == 1
        assert list(state.iterdir()) == list(runtime.iterdir()) == []
        assert run(pool, "create", "https://example.com/")[0] == 0
        assert run(pool, "get", "abc1234")[0] == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="changes to other users")
def test_another_user_is_told_whose_files_they_are(build, tmp_path):
    with harness.Pool(build, {}) as pool:
        pool.write_conf()
        assert run(pool, "create", "https://example.com/")[0] == 0
        backup = pool.workdir / "backup"
        assert run(pool, "backup", backup)[0] == 0
        backup.chmod(0o644)
        state = Path(pool.settings["STATE_DIR"])
        for path in (state, *state.iterdir()):
            shutil.chown(path, "www-data")
        tool = shutil.copy(build.tool, pool.workdir)
        advice = ("Permission denied; run it as root or as the user curt.fcgi "
                  "runs as, www-data")

        def run_as_nobody(*args):
            done = subprocess.run(
                [tool, "-c", pool.conf, *args], user=65534, group=65534,
                extra_groups=[], cwd="/", env=pool.env(), timeout=60,
                stdin=subprocess.DEVNULL, capture_output=True, text=True)
            return done.returncode, done.stdout, done.stderr

        for mode in (0o750, 0o755):
            state.chmod(mode)
            for args in (["get", "abc1234"], ["delete", "abc1234"],
                         ["create", "https://example.com/"],
                         ["table", "create"], ["table", "check"],
                         ["backup", pool.workdir / "b"],
                         ["restore", backup]):
                status, out, err = run_as_nobody(*args)
                assert (status, out) == (77, ""), (mode, args, err)
                assert err.endswith(advice + "\n"), (mode, args, err)
                assert err.count("\n") == 1 and "cannot open" in err
                assert "curt: denied" not in err
        status, out, _ = run_as_nobody("doctor")
        assert status == 77 and out.startswith("warn  user: ")
        assert "run it as root or as the user curt.fcgi runs as, www" in out
        # And the pool's user, of a directory of root's.
        closed = pool.workdir / "closed"
        closed.mkdir(0o755)
        done = subprocess.run(
            [tool, "-c", pool.conf, "backup", closed / "b"], user="www-data",
            group=33, extra_groups=[], cwd="/", env=pool.env(), timeout=60,
            capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (
            77, "curt: backup failed: cannot create a file in %s: "
            "Permission denied\n" % closed)
