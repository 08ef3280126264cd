"""The commands of README.md that are not pytest's own: deploy/quickstart.sh,
and the checks of the sources, which must see what they are there to see; and
the tool, `curt`, as a new user would try it."""

import fcntl
import json
import os
import pty
import re
import shutil
import sqlite3
import struct
import subprocess
import tempfile
import termios
import time
import urllib.error
import urllib.request
from contextlib import closing
from pathlib import Path

import pytest

import harness
from harness import ROOT, find_program, wait_until


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}),
                                     NoRedirect)


def status_and_location(url):
    try:
        with OPENER.open(url, timeout=10) as answer:
            return answer.status, None
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers.get("Location")


@pytest.fixture(scope="module")
def plain_checkout():
    """A copy of the sources, at a path that other accounts can reach."""
    top = Path(tempfile.mkdtemp(prefix="curt-quickstart-"))
    top.chmod(0o755)
    copy = top / "curt"
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(
        ".git", "build-tests*", "build-quickstart", "__pycache__", "e2e",
        "fuzz-found"))
    yield copy
    quickstart(copy, "--stop")
    shutil.rmtree(top)


@pytest.fixture(scope="module", params=["plain", "space-and-deep"])
def checkout(request, plain_checkout):
    """The same, and a copy of it with the objects that were compiled there:
    configured again, and linked again once a source has changed."""
    if request.param == "plain":
        yield plain_checkout
        return
    copy = plain_checkout.parent / "a b" / (12 * "deep-path/" + "curt")
    shutil.copytree(plain_checkout, copy,
                    ignore=shutil.ignore_patterns("run"))
    (copy / "src" / "main.c").touch()
    yield copy
    quickstart(copy, "--stop")


def quickstart(checkout, *arguments):
    """Without optimization, which takes more than half of the build."""
    return subprocess.run(
        ["sh", checkout / "deploy" / "quickstart.sh", *arguments], cwd="/",
        env={**os.environ, "CFLAGS": "-O0"}, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        timeout=300)


def test_quickstart_starts_again_and_stops(checkout):
    first = quickstart(checkout)
    assert first.returncode == 0, first.stdout
    [link] = re.findall(r"^  (http://127\.0\.0\.1:\d+/t/\w+) -> ",
                        first.stdout, re.M)
    assert status_and_location(link) == (301, "https://www.debian.org/")
    # What to open in a browser, before what to type.
    [page] = re.findall(r"in a browser:\n\n  (\S+)\n\n(?=.*^  curl )",
                        first.stdout, re.M | re.S)
    assert link.startswith(page + "t/")
    with OPENER.open(page, timeout=10) as answer:
        assert b"<form" in answer.read()

    again = quickstart(checkout)
    assert again.returncode == 0, again.stdout
    assert status_and_location(link) == (301, "https://www.debian.org/")

    stopped = quickstart(checkout, "--stop")
    assert stopped.returncode == 0 and "is stopped" in stopped.stdout
    with pytest.raises(urllib.error.URLError):
        OPENER.open(link, timeout=10)
    nothing = quickstart(checkout, "--stop")
    assert nothing.returncode == 0 and "Nothing to stop" in nothing.stdout


def test_quickstart_says_what_failed(checkout):
    source = checkout / "src" / "main.c"
    good = source.read_text()
    source.write_text(good + "int broken = ;\n")
    failed = quickstart(checkout)
    source.write_text(good)
    assert failed.returncode == 1
    assert "quickstart: failed at: Build" in failed.stdout
    assert "src/main.c" in failed.stdout


BAD = (
    ("src/process/master.c", "#include <sqlite3.h>\n",
     "src/process/master.c:1: <sqlite3.h>"),
    ("src/base/layer.c", '#include "store/store.h"\n',
     'src/base/layer.c:1: "store/store.h": base/ is not above store/'),
    ("src/call.c", "char *f(char *a)\n{\n    return strcpy(a, a);\n}\n",
     "src/call.c:3: strcpy"),
    ("tests/typedef.c", "typedef struct x x;\n", "tests/typedef.c:1: typedef"),
    ("src/tab.h", "int\tx;\n", "src/tab.h:1: tab"),
    ("src/columns.h", "/* %s */\n" % (75 * "x"), "src/columns.h:1: 81 columns"),
    ("src/file.h", 1001 * "\n", "src/file.h:1001: file of 1001 lines"),
    ("src/function.c", "int f(void)\n{\n%s}\n" % (66 * "    ;\n"),
     "src/function.c:2: function of 66 lines"),
)


def check(name, root):
    return subprocess.run(["sh", ROOT / "tests" / name, root], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_check_style_complains(tmp_path):
    for path, text, _ in BAD:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    found = check("check-style.sh", tmp_path)
    assert found.returncode == 1
    *lines, end = found.stdout.splitlines()
    assert end == "check-style: %d violations" % len(BAD)
    assert len(lines) == len(BAD)
    for _, _, complaint in BAD:
        assert any(line.startswith(complaint) for line in lines), (
            complaint, found.stdout)


def test_check_style_allows_what_only_looks_bad(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "src" / "x.c").write_text(
        "/* no strcpy(),\n   no atoi() */\n// sprintf\n"
        "/* %s */\n" % (74 * "ü") +
        "int x = gmtime_r(\"strtok\\\" atoi\", '\"', my_strcat);\n")
    sqlite = tmp_path / "src" / "store" / "sqlite" / "sqlite.c"
    sqlite.parent.mkdir(parents=True)
    sqlite.write_text('#include "base/buf.h"\n#include <sqlite3.h>\n')
    found = check("check-style.sh", tmp_path)
    assert (found.returncode, found.stdout) == (
        0, "check-style: 2 files keep the rules\n")


def test_check_format_complains(tmp_path):
    shutil.copy(ROOT / ".clang-format", tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "src" / "x.c").write_text("int  x;\n")
    found = check("check-format.sh", tmp_path)
    assert found.returncode == 1 and "src/x.c:1" in found.stdout
    (tmp_path / "src" / "x.c").write_text("int x;\n")
    assert check("check-format.sh", tmp_path).returncode == 0


# ---- The tool ------------------------------------------------------------


class Tool:
    """`curt` with a store of its own."""

    app_url = "https://sho.rt/t/"

    def __init__(self, build):
        self.pool = harness.Pool(build, {"APP_URL": self.app_url})
        self.pool.write_conf()
        self.database = Path(self.pool.settings["STATE_DIR"]) / "curt.db"

    def command(self, *args):
        return [self.pool.build.tool, "-c", self.pool.conf, *args]

    def env(self, **env):
        return {**self.pool.env(), **env}

    def run(self, *args, **options):
        if "input" not in options:
            options.setdefault("stdin", subprocess.DEVNULL)
        env = self.env(**options.pop("env", {}))
        done = subprocess.run(self.command(*args), env=env, timeout=60,
                              text=True, stdout=subprocess.PIPE,
                              stderr=subprocess.PIPE, **options)
        return done.returncode, done.stdout, done.stderr

    def create(self, url="https://www.debian.org/doc/?utm_source=demo"):
        status, out, err = self.run("create", url)
        assert (status, err) == (0, "")
        return out.strip().removeprefix(self.app_url)

    def change(self, statement, *values):
        with closing(sqlite3.connect(self.database, timeout=20)) as db, db:
            return db.execute(statement, values).fetchall()

    def count(self):
        return self.change("SELECT count(*) FROM links")[0][0]


@pytest.fixture
def tool(build):
    made = Tool(build)
    with made.pool:
        yield made


WRONG = {
    "typo": (["lst-"], 'unknown command "lst-"; see: curt help'),
    "swapped": (["gte", "x"], 'unknown command "gte"; did you mean "get"?'),
    "case": (["GET", "x"], 'unknown command "GET"; did you mean "get"?'),
    "two letters": (["craete1"],
                    'unknown command "craete1"; did you mean "create"?'),
    "other word": (["rm", "x"], 'unknown command "rm"; did you mean "delete"?'),
    "too far": (["list"], 'unknown command "list"; see: curt help'),
    "option meant": (["version"],
                     'unknown command "version"; did you mean "--version"?'),
    "id": (["abc1234"],
           'unknown command "abc1234"; to print that link: curt get abc1234'),
    "url": (["https://e.org/?a&b"],
            '"https://e.org/?a&b" is not a command; to shorten it: curt create '
            "'https://e.org/?a&b'; to look a short URL up: curt get "
            "'https://e.org/?a&b'"),
    "help": (["help", "chekc"],
             'unknown command "chekc"; see: curt help'),
    "missing": (["backup"],
                "backup needs FILE, such as: curt backup /var/backups/curt.db"),
    "missing id": (["get"], "get needs ID, such as: curt get abc1234"),
    "no URL": (["create"], "create needs URL, and standard input is empty"),
    "superfluous": (["backup", "a", "b"],
                    '"b" is one argument too many, backup takes FILE, such as: '
                    "curt backup /var/backups/curt.db"),
    "none": (["hits", "x"],
             '"x" is one argument too many, hits takes none, such as: curt '
             "hits"),
    "one file": (["create", "--qr", "--output", "x.svg", "a", "b"],
                 "--output and --format are for one link"),
    "option": (["create", "--foo"],
               'unknown option "--foo"; see: curt help create'),
    "letter": (["-jx"], 'unknown option "-x"; see: curt help'),
    "value": (["get", "x", "-c"],
              'option "-c" needs a value; see: curt help get'),
    "long value": (["get", "x", "--config"],
                   'option "--config" needs a value; see: curt help get'),
}


@pytest.mark.parametrize("args, line", WRONG.values(), ids=WRONG)
def test_wrong_command_line_is_one_line(tool, args, line):
    assert tool.run(*args) == (os.EX_USAGE, "", "curt: %s\n" % line)


def verbs_of(tool):
    status, out, err = tool.run("help")
    assert (status, err) == (0, "")
    return re.findall(r"^  ([a-z]+(?: [a-z]+)?) ", out, re.M)


def test_help(tool):
    status, out, err = tool.run()
    assert (status, out) == (os.EX_USAGE, "")
    assert "curt create" in err and "curt help" in err
    verbs = verbs_of(tool)
    assert {"create", "get", "help"} <= set(verbs)
    assert tool.run("--help") == tool.run("help")
    for verb in verbs:
        status, out, err = tool.run(*verb.split(), "--help")
        assert (status, err) == (0, "")
        assert re.match(r"usage: curt \[-c FILE\] \[-j\] %s\b" % verb, out)
        assert "\nexample: curt %s" % verb in out
        if verb in ("get", "help", "key create"):
            assert tool.run("help", *verb.split()) == (0, out, "")
        harness.search_leaks = False  # the others are shown the same way
    for words in (["key"], ["key", "crate"], ["help", "key"]):
        assert tool.run(*words) == (
            os.EX_USAGE, "", "curt: after \"key\" comes one of: create, list, "
            "show, disable, enable, revoke, rotate\n")


FORMS = ("%s", "sho.rt/t/%s", "https://sho.rt/t/%s", "http://sho.rt/t/%s",
         "HTTPS://Sho.RT:443/t/%s", "%s?x=1", "https://sho.rt/t/%s?a=/b#c",
         "%s.", "%s/", "%s+", "%s.qr", "https://sho.rt/t/%s.qr?format=png",
         "<https://sho.rt/t/%s>,", "sho.rt./t/%s/", " %s ")


def test_ids_in_every_form(tool):
    status, out, err = tool.run("create",
                                input=len(FORMS) * "https://a.example/\n")
    assert (status, err) == (0, "")
    ids = [url.removeprefix(tool.app_url) for url in out.splitlines()]
    arguments = [form % short_id for form, short_id in zip(FORMS, ids)]
    for verb, member in (("get", "short_id"), ("delete", "deleted")):
        status, out, err = tool.run("-j", verb, *arguments)
        assert (status, err) == (0, "")
        assert [json.loads(line)[member] for line in out.splitlines()] == ids


def test_what_is_not_an_id(tool):
    foreign = ("https://other.org/t/abc", "sho.rt/u/abc",
               "https://sho.rt:8443/t/abc")
    assert tool.run("get", *foreign) == (os.EX_DATAERR, "", "".join(
        'curt: "%s" does not begin with APP_URL, https://sho.rt/t/\n' % text
        for text in foreign))
    invalid = ("a*b", "", "https://sho.rt/t/", "sho.rt/t/abc/def",
               "https://sho.rt/t/abc%00", "a" * 65, "abc.png")
    assert tool.run("delete", *invalid) == (os.EX_DATAERR, "", "".join(
        'curt: "%s" is not a valid short id: 1 to 64 letters, digits, - and _\n'
        % text for text in invalid))


def test_get_and_delete_several(tool):
    first, second = tool.create(), tool.create()
    status, out, err = tool.run("get", first, "nosuch1", "a*b", second)
    assert status == os.EX_DATAERR
    assert err.splitlines()[0] == (
        "curt: nosuch1: no such link (APP_URL is https://sho.rt/t/, store %s)"
        % tool.database)
    shown = [block.splitlines()[0].split() for block in out.split("\n\n")]
    assert shown == [["Short", "URL", tool.app_url + i]
                     for i in (first, second)]
    status, out, err = tool.run("delete", first, "nosuch1", second)
    assert (status, out) == (1, "%s is deleted\n%s is deleted\n"
                             % (first, second))
    assert "nosuch1: no such link" in err


def text_time(seconds, zone):
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds + zone))


AGES = (
    (0, r"\d+ seconds? ago"), (60, r"\d+ seconds ago"),
    (119 * 60 - 20, "119 minutes ago"), (3 * 3600, "3 hours ago"),
    (47 * 3600, "47 hours ago"), (50 * 3600, "2 days ago"),
    (70 * 86400, "2 months ago"), (3 * 366 * 86400, "3 years ago"))


def test_get_shows_times_of_the_reader(tool):
    status, out, err = tool.run("create",
                                input=len(AGES) * "https://a.example/\n")
    assert (status, err) == (0, "")
    ids = [url.removeprefix(tool.app_url) for url in out.splitlines()]
    now = int(time.time())
    ttl = now + 6 * 86400 + 9999
    for short_id, (ago, _) in zip(ids, AGES):
        tool.change("UPDATE links SET created_at = ?, ttl = ?"
                    " WHERE short_id = ?",
                    time.strftime("%Y-%m-%dT%H:%M:%S",
                                  time.gmtime(now - ago - 5)), ttl, short_id)
    status, out, _ = tool.run("get", *ids, env={"TZ": "XST-05:30"})
    assert status == 0
    for text, (ago, said) in zip(out.split("\n\n"), AGES, strict=True):
        assert re.search(r"^Created        %s \+0530 \(%s\)$" % (
            re.escape(text_time(now - ago - 5, 19800)), said), text, re.M), text
        assert ("\nExpires        %s +0530 (in 6 days)\n"
                % text_time(ttl, 19800) in text)


def test_get_shows_the_rest(tool):
    short_id = tool.create()
    tool.change("UPDATE links SET ttl = NULL, hits = 12345, created_at = 'x'")
    lines = tool.run("get", short_id)[1].splitlines()
    trace = lines.pop(9)
    assert trace.startswith("  xray_trace_id  Root=1-")
    version = re.match("  user_agent     curt/(.*)", lines.pop(7))[1]
    assert version in tool.run("-V")[1]
    assert lines == [
        "Short URL      https://sho.rt/t/" + short_id,
        "Leads to       https://www.debian.org/doc/?utm_source=demo",
        "Short id       " + short_id,
        "Created        x",
        "Expires        never",
        "Hits           12345",
        "Analytics",
        "  source_ip      -",
        "  utm_source     demo",
    ]
    tool.change("UPDATE links SET ttl = ?, analytics = ?",
                int(time.time()) - 7300,
                '{"a":{"b":[1]},"%s":"long"}' % (30 * "x"))
    out = tool.run("get", short_id)[1]
    assert " +0000 (expired 2 hours ago)\n" in out
    assert '\n  a              { "b": [ 1 ] }\n' in out
    assert "\n  %s  long\n" % (30 * "x") in out
    for odd in ("[1]", "nonsense"):
        tool.change("UPDATE links SET analytics = ?", odd)
        assert tool.run("get", short_id)[1].endswith("Analytics      %s\n" % odd)


def on_terminal(tool, args, descriptors, stdin=None, **env):
    """Runs the tool with these descriptors on a terminal; its status and what
    is on the terminal."""
    leader, follower = pty.openpty()
    try:
        done = subprocess.run(
            tool.command(*args), timeout=60, env=tool.env(**env),
            **{"stdin": stdin or subprocess.DEVNULL,
               "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL,
               **dict.fromkeys(descriptors, follower)})
        os.close(follower)
        follower = None
        text = b""
        while True:
            try:
                text += os.read(leader, 65536)
            except OSError:  # the terminal has no user any more
                return done.returncode, text.decode().replace("\r\n", "\n")
    finally:
        os.close(leader)
        if follower is not None:
            os.close(follower)


def test_get_in_colour(tool):
    short_id = tool.create()
    args, screen = ["get", short_id], {"TERM": "xterm"}
    _, out = on_terminal(tool, args, ["stdout"], **screen)
    assert "\x1b[2mShort URL\x1b[0m      \x1b[1mhttps://sho.rt/" in out
    assert "\x1b[31m" not in out
    tool.change("UPDATE links SET ttl = ?, long_url = 'https://e.org/\x1b[5m'",
                int(time.time()) - 7300)
    _, out = on_terminal(tool, args, ["stdout"], NO_COLOR="", **screen)
    assert re.search(r"\x1b\[31m20.* \(expired 2 hours ago\)\x1b\[0m\n", out)
    assert "https://e.org/\\x1b[5m\n" in out
    plain = tool.run(*args, env=screen)[1]
    assert "\x1b" not in plain
    first = plain.split("\n")[0]
    for env in ({"NO_COLOR": "1", **screen}, {"TERM": "dumb"}, {}):
        out = on_terminal(tool, args, ["stdout"], **env)[1]
        assert "\x1b" not in out and out.startswith(first + "\n")


# ---- Many links ----------------------------------------------------------

URLS = """\
https://a.example/

# a comment
ftp://x/
https://b.example/?b=1\r
www.debian.org
https://sho.rt/t/abc
\x1b[2J
  https://c.example/
https://d.example/%s
https://e.example/""" % (9000 * "d")


def test_create_reads_lines(tool):
    status, out, err = tool.run("create", input=URLS)
    assert status == os.EX_DATAERR
    made = [tool.change("SELECT long_url FROM links WHERE short_url = ?", url)
            for url in out.splitlines()]
    assert made == [[("https://%s.example/%s" % (c, rest),)] for c, rest in
                    (("a", ""), ("b", "?b=1"), ("c", ""), ("e", ""))]
    errors = err.splitlines()
    absolute = "is not an absolute http or https URL"
    assert errors[:4] == [
        'curt: line 4: the URL "ftp://x/" ' + absolute,
        'curt: line 6: the URL "www.debian.org" %s; write https:// before it'
        % absolute,
        'curt: line 7: the URL "https://sho.rt/t/abc" leads back to this '
        "shortener",
        'curt: line 8: the URL "\\x1b[2J" has a control character in it']
    assert re.fullmatch(r'curt: line 10: the URL "https://d.example/d+\.\.\." '
                        "is longer than 8,000 bytes", errors[4])
    assert len(errors) == 5 and len(errors[4]) < 200
    status, out, err = tool.run("create", "-j", "-", input=URLS)
    assert [json.loads(line)["long_url"][8] for line in out.splitlines()] == [
        "a", "b", "c", "e"]
    assert tool.run("create", "-") == (0, "", "")


def test_create_line_without_end(tool):
    """As much as the memory of curt is not used for it."""
    status, out, err = tool.run("create", input=50000 * "https://x/" + "\n"
                                "https://a.example/\n")
    assert status == os.EX_DATAERR and out.count("\n") == 1
    assert "line 1: " in err and "longer than" in err


def test_create_several_arguments(tool):
    status, out, err = tool.run("create", "https://a.example/", "x:", "-",
                                "https://c.example/", input="https://b.example/")
    assert status == os.EX_DATAERR
    assert err == ('curt: the URL "x:" is not an absolute http or https URL\n')
    assert [tool.change("SELECT substr(long_url, 9, 1) FROM links"
                        " WHERE short_url = ?", url)[0][0]
            for url in out.splitlines()] == ["a", "b", "c"]


class Conversation:
    """`curt create` that gets a line when it has answered the one before."""

    def __init__(self, tool):
        self.process = subprocess.Popen(
            tool.command("create"), env=tool.env(), stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def say(self, line="https://a.example/\n"):
        self.process.stdin.write(line)
        self.process.stdin.flush()

    def end(self):
        with self.process as process:
            process.stdin.close()
            err = process.stderr.read()
        return process.returncode, err


def test_create_answers_each_line_and_ends_with_its_reader(tool):
    talk = Conversation(tool)
    talk.say()
    assert talk.process.stdout.readline().startswith(tool.app_url)
    talk.process.stdout.close()
    talk.say(3 * "https://b.example/\n")
    status, err = talk.end()
    assert status == os.EX_IOERR
    assert err.startswith("curt: standard output: Broken pipe\n"
                          "curt: stopped at line 2; links created: 2")
    assert tool.count() == 2


def test_create_stops_when_the_store_fails(tool):
    talk = Conversation(tool)
    talk.say()
    assert talk.process.stdout.readline().startswith(tool.app_url)
    tool.change("CREATE TRIGGER full BEFORE INSERT ON links BEGIN"
                " SELECT raise(ABORT, 'no more'); END")
    talk.say("\n" + 3 * "https://b.example/\n")
    status, err = talk.end()
    assert status > os.EX_DATAERR
    assert re.search(r"^curt: .*no more.*\n(.*\n)*curt: stopped at line 3; links "
                     "created: 1;", err, re.M), err
    status, out, err = tool.run("create", "https://a.example/",
                                "https://b.example/")
    assert (status > os.EX_DATAERR, out) == (True, "")
    assert err.endswith('curt: stopped before "https://b.example/"\n')


def test_create_shows_progress_on_a_terminal(tool):
    list_ = tool.pool.workdir / "urls"
    list_.write_text("https://a.example/\nx:\nhttps://b.example/\n")

    def create(*descriptors, **env):
        with open(list_) as lines:
            return on_terminal(tool, ["create"], descriptors, stdin=lines, **env)

    clear = "\r\x1b[K"
    status, text = create("stderr", TERM="xterm")
    assert status == os.EX_DATAERR
    assert text == "".join((
        clear, "line 1, links created: 1", clear,
        'curt: line 2: the URL "x:" is not an absolute http or https URL\n',
        "line 2, links created: 1", clear, "line 3, links created: 2", clear))
    for text in (create("stderr", TERM="dumb")[1],
                 create("stdout", "stderr", TERM="xterm")[1]):
        assert "links created" not in text and "\x1b" not in text
        assert 'line 2: the URL "x:"' in text


def test_create_without_anything_to_read(tool):
    assert on_terminal(tool, ["create"], ["stdin", "stderr"], TERM="xterm") == (
        os.EX_USAGE, "curt: create needs URL, such as: curt create "
        "https://www.debian.org/\n")
    directory = os.open(tool.pool.workdir, os.O_RDONLY)
    status, _, err = tool.run("create", stdin=directory)
    os.close(directory)
    assert (status, err.splitlines()[0]) == (
        os.EX_IOERR, "curt: standard input: Is a directory")


# ---- Completion ----------------------------------------------------------

COMPLETION = ROOT / "deploy" / "completion"


def bash_offers(words):
    script = ('. "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1));'
              '_curt; printf "%s\\n" "${COMPREPLY[@]}"')
    done = subprocess.run(
        [find_program("bash"), "--norc", "-c", script, "bash",
         COMPLETION / "curt.bash", *words], text=True, capture_output=True,
        cwd=ROOT, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.split())


def options_of_help(tool):
    return set(re.findall(r"--[a-z-]+", tool.run("help")[1]))


def test_completion_of_bash(tool):
    verbs = {verb.split()[0] for verb in verbs_of(tool)}
    assert bash_offers(["curt", ""]) == verbs
    assert bash_offers(["curt", "-j", "--config", "x", ""]) == verbs
    assert bash_offers(["curt", "help", ""]) == verbs
    assert bash_offers(["curt", "cr"]) == {"create"}
    assert bash_offers(["curt", "table", ""]) == {"create", "check"}
    assert {"key " + word for word in bash_offers(["curt", "key", ""])} == {
        verb for verb in verbs_of(tool) if verb.startswith("key ")}
    assert bash_offers(["curt", "table", "--billing", "="]) == {
        "on-demand", "provisioned"}
    assert bash_offers(["curt", "table", "--billing", "=", "p"]) == {
        "provisioned"}
    assert "README.md" in bash_offers(["curt", "restore", ""])
    assert bash_offers(["curt", "-c", "READ"]) == {"README.md"}
    offered = set().union(*(bash_offers(["curt", verb, "--"])
                            for verb in verbs))
    assert offered >= options_of_help(tool)
    assert {"--qr", "--output", "--ascii"} <= offered


class Zsh:
    """An interactive zsh with the completion of curt, on a terminal."""

    def __init__(self, workdir):
        leader, follower = pty.openpty()
        fcntl.ioctl(leader, termios.TIOCSWINSZ, struct.pack("4H", 99, 99, 0, 0))
        os.set_blocking(leader, False)
        self.terminal = leader
        self.text = ""
        self.process = subprocess.Popen(
            [find_program("zsh"), "-f", "-i"], stdin=follower, stdout=follower,
            stderr=follower, start_new_session=True, close_fds=True,
            env={**harness.child_env(workdir), "TERM": "dumb"})
        os.close(follower)

    def type(self, keys, shown):
        """Types, and returns what came on the screen, which has `shown`."""
        self.text = ""
        os.write(self.terminal, keys.encode())
        wait_until(lambda: re.search(shown, self.read()), shown)
        return self.text

    def read(self):
        try:
            self.text += os.read(self.terminal, 65536).decode()
        except BlockingIOError:
            pass
        return self.text

    def close(self):
        self.process.kill()
        self.process.wait()
        os.close(self.terminal)


def test_completion_of_zsh(tool):
    verbs = {verb.split()[0] for verb in verbs_of(tool)}
    zsh = Zsh(tool.pool.workdir)
    try:
        zsh.type("fpath=(%s $fpath); autoload -Uz compinit && compinit -D -u &&"
                 " PS1='rea''dy> '\n" % COMPLETION, "ready> ")
        shown = zsh.type("curt \t", "(?s)-- .*ready> curt ")
        assert set(re.findall(r"^(\w+) +-- ", shown, re.M)) == verbs
        offered = set()
        for verb in verbs:
            shown = zsh.type("\x15curt %s --\t" % verb,
                             "(?s)-- .*ready> curt %s --" % verb)
            offered |= set(re.findall(r"^(--[a-z-]+) +-- ", shown, re.M))
        assert offered >= options_of_help(tool) - {"--version"}, offered
        assert {"--qr", "--output", "--ascii"} <= offered
    finally:
        zsh.close()


def test_completion_is_installed(build, tmp_path):
    def make(*targets):
        """The parts of `make install` and `make uninstall`."""
        subprocess.run(["make", "-s", "-C", build.dir, *targets,
                        "DESTDIR=%s" % tmp_path, "datadir=/usr/share"],
                       check=True, stdout=subprocess.DEVNULL, timeout=300)
        return {str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")
                if p.is_file()}

    assert make("install-data-local", "install-dist_zshcompDATA") == {
        "usr/share/bash-completion/completions/curt",
        "usr/share/zsh/site-functions/_curt"}
    assert make("uninstall-local", "uninstall-dist_zshcompDATA") == set()
