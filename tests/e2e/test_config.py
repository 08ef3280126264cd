"""Configuration: what is refused, with which words, and what is not.

tests/data/config has bad files, NAME.conf, each with the lines that curt.fcgi
must report for it, NAME.expected.
"""

import json
import os
import random
import re
import shutil
import socket
import subprocess

import pytest

import harness
from harness import ROOT, make_dir

DATA = ROOT / "tests" / "data" / "config"
BAD = sorted(path.stem for path in DATA.glob("*.conf"))
GOOD = "APP_URL = https://sho.rt/t/\n"
EX_USAGE, EX_NOPERM, EX_CONFIG = 64, 77, 78


def run(build, args, env, cwd, stdin=subprocess.DEVNULL, program=None):
    return subprocess.run(
        [program or build.fcgi, *map(str, args)], stdin=stdin, cwd=cwd,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
        env=env, check=False)


def said_lines(done):
    """The lines on standard error, without the program's name, as text."""
    text = done.stderr.decode()
    assert done.stdout == b""
    assert text.endswith("\n"), text
    lines = text[:-1].split("\n")
    for line in lines:
        assert line.startswith("curt.fcgi: "), line
        assert not re.search(r"[\x00-\x1f\x7f]", line), line
    return [line[len("curt.fcgi: "):] for line in lines]


class Checker:
    """curt.fcgi -t, with directories that are in order."""

    def __init__(self, build, top):
        self.build = build
        self.top = top
        self.state = make_dir(top / "state")
        self.runtime = make_dir(top / "run")
        self.conf = top / "curt.conf"
        self.env = harness.child_env(make_dir(top / "tmp"), {
            "STATE_DIR": str(self.state), "RUNTIME_DIR": str(self.runtime)})

    def run(self, text=GOOD, args=None, env=(), cwd=None):
        """Checks a file of that text, or what args say."""
        if args is None:
            data = text if isinstance(text, bytes) else text.encode()
            self.conf.write_bytes(data)
            args = ["-c", self.conf]
        full = {**self.env, **dict(env)}
        done = run(self.build, ["-t", *args],
                   {k: v for k, v in full.items() if v is not None},
                   cwd or self.top)
        assert list((self.top / "tmp").iterdir()) == [], "a sanitizer spoke"
        return done

    def check_good(self, *args, **options):
        done = self.run(*args, **options)
        assert said_lines(done) == ["configuration OK"]
        assert done.returncode == 0

    def check_bad(self, *args, **options):
        """The faults, which must be more than none."""
        done = self.run(*args, **options)
        assert done.returncode == EX_CONFIG, done.stderr
        return said_lines(done)

    def values(self, text=GOOD, env=()):
        """The values of all keys, as `curt config` has them."""
        self.conf.write_text(text)
        done = run(self.build, ["-c", self.conf, "--json", "config"],
                   {**self.env, **dict(env)}, self.top,
                   program=self.build.tool)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)


@pytest.fixture
def checker(build, tmp_path):
    return Checker(build, tmp_path)


# Bad files

@pytest.mark.parametrize("name", BAD)
def test_bad_file_gives_its_message(build, tmp_path, name):
    env = harness.child_env(tmp_path)
    expected = (DATA / (name + ".expected")).read_text().splitlines()
    assert expected
    done = run(build, ["-t", "-c", name + ".conf"], env, DATA)
    assert sorted(said_lines(done)) == sorted(expected)
    assert done.returncode == EX_CONFIG


def test_there_is_a_message_for_each_bad_file():
    assert sum(len((DATA / (name + ".expected")).read_text().splitlines())
               for name in BAD) > 80
    assert sorted(p.stem for p in DATA.glob("*.expected")) == BAD
    assert sorted(p.suffix for p in DATA.iterdir()) == sorted(
        [".conf", ".expected"] * len(BAD))


@pytest.mark.parametrize("args", [["-w", "0"], ["-w", "2"]], ids=" ".join)
def test_bad_file_does_not_start_a_pool(build, tmp_path, args):
    state = tmp_path / "state"
    env = harness.child_env(tmp_path, {"STATE_DIR": str(state)})
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        done = run(build, ["-c", DATA / "number-hex.conf", *args], env,
                   tmp_path, stdin=listener)
    assert done.returncode == EX_CONFIG
    line, = said_lines(done)
    assert line.startswith("%s:2: MAX_CHAR: " % (DATA / "number-hex.conf"))
    assert not state.exists()


def test_tool_refuses_a_bad_file_too(build, tmp_path):
    done = run(build, ["-c", "number-hex.conf", "config"],
               harness.child_env(tmp_path), DATA, program=build.tool)
    assert done.returncode == EX_CONFIG
    expected = (DATA / "number-hex.expected").read_text()
    assert done.stderr.decode().removeprefix("curt: ") == expected


def test_nul_byte_is_refused(checker):
    text = b"# none\n" + GOOD.encode() + b"TABLE = li\0nks\n"
    assert checker.check_bad(text) == [
        "%s:3: the line has a NUL byte in it" % checker.conf]
    assert checker.check_bad(GOOD.encode() + b"\0") \
        == ["%s:2: the line has a NUL byte in it" % checker.conf]


def test_very_long_line_is_refused(checker):
    lines = ["TABLE = ".ljust(length - 1, "x") + "\n"
             for length in (4097, 100_000, 5_000_000)]
    assert checker.check_bad("".join([GOOD, *lines, "MAX_CHAR = 99\n"])) == [
        *("%s:%d: the line is longer than 4096 bytes" % (checker.conf, number)
          for number in (2, 3, 4)),
        "%s:5: MAX_CHAR: invalid value \"99\": expected an integer from 1 to 64"
        % checker.conf]


def test_long_line_within_the_limit_is_read(checker):
    checker.check_good(GOOD + "TABLE = ".ljust(4095, "x") + "\n"
                       + "#" * 4095 + "\n")


def test_thousands_of_faults_end_somewhere(checker):
    lines = checker.check_bad(GOOD + "NO_KEY = 1\n" * 20000)
    assert lines[0] == (
        "%s:2: NO_KEY: unknown key; curt.conf(5) lists the keys" % checker.conf)
    assert len(lines) > 100


@pytest.mark.parametrize("data", [
    random.Random(1).randbytes(5000),
    bytes(range(256)) * 16,
    b"\x7fELF\x02\x01\x01" + bytes(200),
    b"\xff\xfe" + GOOD.encode("utf-16-le"),
], ids=["random", "all bytes", "a program", "UTF-16"])
def test_file_of_anything_is_refused(checker, data):
    done = checker.run(data)
    assert done.returncode == EX_CONFIG
    assert done.stderr.count(b"\n") >= 1
    assert b"%s" % os.fsencode(checker.conf) in done.stderr


def test_control_bytes_of_a_file_do_not_reach_the_terminal(checker):
    bad = ("MIN_CHAR = \x1b[31m7\n", "STORE = a\rb\n", "K\x07EY = 1\n",
           "no \x1b[2J line\n", "LOG_LEVEL = a\x08b\n")
    lines = checker.check_bad(GOOD + "".join(bad))  # asserts there is none
    check_lines(checker, lines, len(bad))


def check_lines(checker, lines, count):
    """One message for each line after the first."""
    assert [re.match(r"%s:(\d+): " % checker.conf, line)[1]
            for line in lines] == [str(2 + i) for i in range(count)], lines


def test_secrets_are_not_said(checker):
    bad = ("AWS_SECRET_ACCESS_KEY hushhush\n",
           "AWS_SECRET_ACCESS_KEY: hushhush\n",
           "AWS_SECRET_ACCESS_KEY = \"hushhush\n",
           "AWS_SESSION_TOKEN = hush\x01hushhush\n",
           "aws_session_token = hushhush\n")
    lines = checker.check_bad(GOOD + "".join(bad))
    check_lines(checker, lines, len(bad))
    assert "hush" not in "\n".join(lines)

# Files that cannot be read

@pytest.mark.parametrize("via", ["-c", "CURT_CONF"])
def test_named_file_must_exist(checker, via):
    missing = checker.top / "missing.conf"
    args = ["-c", missing] if via == "-c" else []
    env = {"CURT_CONF": str(missing)} if via != "-c" else {}
    assert checker.check_bad(args=args, env=env) \
        == ["%s: cannot be read: No such file or directory" % missing]


def test_directory_is_not_a_file(checker):
    assert checker.check_bad(args=["-c", checker.top]) == [
        "%s: cannot be read: Is a directory" % checker.top]


def test_unreadable_file_is_said(checker):
    checker.conf.write_text(GOOD)
    checker.conf.chmod(0)
    line = ("%s: cannot be read: Permission denied; run this as root or as the "
            "user that runs curt.fcgi" % checker.conf)

    def run_as_nobody(program, *args):
        words = [str(program), "-c", str(checker.conf), *args]
        if os.geteuid() == 0:  # for whom permissions do not count
            words[0] = str(shutil.copy(program, checker.top))
            words = ["setpriv", "--reuid=65534", "--regid=65534",
                     "--clear-groups", *words]
            open_path(checker.top)
        return run(checker.build, words[1:], checker.env, "/",
                   program=words[0])

    done = run_as_nobody(checker.build.fcgi, "-t")
    assert (done.returncode, said_lines(done)) == (EX_CONFIG, [line])
    for verb in ("config", "doctor"):
        done = run_as_nobody(checker.build.tool, verb)
        assert done.returncode == EX_NOPERM
        assert done.stderr.decode() == line + "\n"


def open_path(path):
    """Lets every account enter a directory of pytest's."""
    for directory in (path, *path.parents):
        if directory.stat().st_uid == os.geteuid() and \
                directory.stat().st_mode & 0o111 != 0o111:
            directory.chmod(directory.stat().st_mode | 0o111)


def test_absent_default_file_is_fine(checker):
    help_text = run(checker.build, ["-h"], checker.env, checker.top).stdout
    default = re.search(rb"(/\S+/curt\.conf)", help_text).group(1).decode()
    if os.path.exists(default):  # curt is installed here: then it is read
        for line in said_lines(checker.run(args=[], env={"APP_URL": "x"})):
            assert line.startswith((default, "environment: APP_URL: "))
        return
    checker.check_good(args=[], env={"APP_URL": "http://h/t/"})
    assert checker.check_bad(args=[]) == [
        "%s does not exist (-c or CURT_CONF name another file), and APP_URL is "
        "not set; it is the public prefix of short URLs, such as https://sho.rt/t/" % default]
    assert checker.check_bad(args=[], env={"APP_URL": ""})[0].startswith(
        "environment: APP_URL: is not set; ")


def test_option_wins_over_curt_conf(checker):
    other = checker.top / "other.conf"
    other.write_text("NONSENSE\n")
    checker.conf.write_text(GOOD)
    checker.check_good(args=["-c", checker.conf],
                       env={"CURT_CONF": str(other)})
    assert checker.check_bad(args=["-c", other],
                             env={"CURT_CONF": str(checker.conf)})[0] \
        .startswith("%s:1: " % other)
    checker.check_good(args=[], env={"CURT_CONF": str(checker.conf)})


# Files that are fine

@pytest.mark.parametrize("text", [
    "APP_URL=https://sho.rt/t/",
    "\n\n  # a comment = with an equals sign\n\t\n"
    "  APP_URL\t=\t https://sho.rt/t/ \t \n#\n",
    'APP_URL = "https://sho.rt/t/"\nTABLE = "a = b # c"\n',
    '\tAPP_URL = "https://sho.rt/t/" \r\n\r\nMIN_CHAR = 7\r\n# comment\r\n',
    "APP_URL = http://localhost:8080/t/\nAWS_SESSION_TOKEN = abc==\n",
    "APP_URL = https://sho.rt/\nAWS_SESSION_TOKEN =\nAWS_REGION = \"\"\n",
    "APP_URL = http://[::1]:8080/\n"
    "MIN_CHAR = 1\nMAX_CHAR = 64\nSTORE_TIMEOUT = 60\nLINK_TTL = 0\n",
    "APP_URL = https://xn--gre-6ka8i.example/a/b/c%20d/\nMIN_CHAR = 007\n",
], ids=range(8))
def test_good_file(checker, text):
    checker.check_good(text)


def test_byte_order_mark_is_tolerated(checker):
    """Editors that end lines with CRLF put one there."""
    checker.check_good(b"\xef\xbb\xbf" + GOOD.encode())


def test_values_are_what_was_written(checker):
    values = checker.values(
        GOOD + 'TABLE = "  a = b # c  "\r\nMAX_CHAR = 9\r\n'
        "AWS_ACCESS_KEY_ID = a=b=c\n")
    assert values["TABLE"] == "  a = b # c  "
    assert str(values["MAX_CHAR"]) == "9"
    assert values["AWS_ACCESS_KEY_ID"] == "a=b=c"
    assert values["APP_URL"] == "https://sho.rt/t/"


def test_values_of_the_pages(checker):
    values = checker.values(
        GOOD + "SITE_COLOR = #0B57d0\nSITE_NAME = Bücher \u2603\n"
        'SITE_TEXT = " # \u7b46 "\n')
    assert values["SITE_COLOR"] == "#0B57d0"
    assert values["SITE_NAME"] == "Bücher \u2603"
    assert values["SITE_TEXT"] == " # \u7b46 "
    checker.check_good(GOOD + "SITE_NAME = %s\nSITE_TEXT = %s\n"
                       % ("é" * 100, "\u7b46" * 1000))
    checker.check_good(GOOD + "SITE_NAME =\nSITE_TEXT =\nSITE_COLOR =\n")


@pytest.mark.parametrize("url", [
    "https://sho.rt/", "https://sho.rt/about", "https://sho.rt:444/t/",
    "https://example.org/t/"])
def test_home_leads_elsewhere(checker, url):
    assert checker.values(GOOD + "HOME = %s\n" % url)["HOME"] == url


@pytest.mark.parametrize("url", [
    "https://sho.rt/t/", "http://sho.rt/t/", "https://sho.rt./t/page",
    "https://sho.rt/%74/"])
def test_home_does_not_lead_back(checker, url):
    assert checker.check_bad(GOOD + "HOME = %s\n" % url) == [
        '%s:2: HOME: invalid value "%s": leads back to curt; expected page, off '
        "or the URL of another site" % (checker.conf, url)]


# The environment

def test_home_is_not_read_from_the_environment(checker):
    for home, text, value in (("off", "", "page"), ("/root", "", "page"),
                              ("/root", "HOME = off\n", "off"),
                              ("https://example.org/", "", "page")):
        assert checker.values(GOOD + text, {"HOME": home})["HOME"] == value


def test_text_in_the_environment_is_utf8(checker):
    assert checker.check_bad(env={"SITE_NAME": b"caf\xe9"}) == [
        "environment: SITE_NAME: invalid value: expected up to 100 characters "
        "of UTF-8"]

def test_environment_wins_even_over_a_wrong_value(checker):
    text = GOOD + "MAX_CHAR = seven\nSTORE = mysql\nLINK_TTL = 5\n"
    env = {"MAX_CHAR": "9", "STORE": "sqlite", "LINK_TTL": "6"}
    checker.check_good(text, env=env)
    values = checker.values(text, env)
    assert str(values["MAX_CHAR"]) == "9" and str(values["LINK_TTL"]) == "6"


@pytest.mark.parametrize("faults", [[
    ("MAX_CHAR", "7 ", 'invalid value "7 ": expected an integer from 1 to 64'),
    ("STORE", "SQLITE", 'invalid value "SQLITE": expected sqlite or dynamodb'),
    ("STATE_DIR", "state", 'invalid value "state": expected an absolute path'),
    ("APP_URL", "https://h", "invalid value \"https://h\": must end with '/', "
     "because ids are put right after it; expected e.g. https://sho.rt/t/"),
    ("TABLE", "a\tb", "has a control character in it"),
], [
    ("MAX_CHAR", "", 'invalid value "": expected an integer from 1 to 64'),
    ("APP_URL", "", "is not set; it is the public prefix of short URLs, such as"
     " https://sho.rt/t/"),
], [
    ("MAX_CHAR", '"7"',
     'invalid value ""7"": expected an integer from 1 to 64'),
], [
    ("MIN_CHAR", "8", "MIN_CHAR (8) is larger than MAX_CHAR (7)"),
]], ids=range(4))
def test_wrong_value_in_the_environment(checker, faults):
    found = checker.check_bad(env={key: value for key, value, _ in faults})
    assert sorted(found) == sorted("environment: %s: %s" % (key, message)
                                   for key, _, message in faults)


def test_fault_in_the_environment_is_one_line(checker):
    keys = ["APP_URL", "MAX_CHAR", "STATE_DIR", "STORE"]
    lines = checker.check_bad(env=dict.fromkeys(
        keys, "one\ncurt.fcgi: two\n\x1b[31mthree"))
    assert len(lines) == len(keys)
    for key, line in zip(keys, sorted(lines)):
        assert line.startswith("environment: %s: " % key)


def test_foreign_variables_are_none_of_curts_business(checker):
    checker.check_good(env={"PORT": "x", "min_char": "x", "CURT_MIN_CHAR": "x"})


# curt.fcgi -t

def listing(top):
    return sorted(str(p) for p in top.rglob("*"))


def test_check_makes_nothing(checker):
    fresh = checker.top / "fresh"
    env = {"STATE_DIR": str(fresh / "state"), "RUNTIME_DIR": str(fresh / "run")}
    fresh.mkdir()
    checker.conf.write_text(GOOD)
    before = listing(checker.top)
    checker.check_good(env=env)
    checker.check_good()
    assert listing(checker.top) == before


def test_check_leaves_the_store_as_it_is(build, checker):
    checker.conf.write_text(GOOD)
    done = run(build, ["-c", checker.conf, "create", "https://example.com/"],
               checker.env, checker.top, program=build.tool)
    assert done.returncode == 0, done.stderr
    before = listing(checker.top)
    data = (checker.state / "curt.db").read_bytes()
    checker.check_good()
    assert listing(checker.top) == before
    assert (checker.state / "curt.db").read_bytes() == data


def test_check_says_which_directory_is_wrong(checker):
    file, path = checker.top / "wrong", checker.top / "no" / "sub" / "dir"
    file.write_text("")
    reasons = {file: "Not a directory", path: "No such file or directory"}
    for state, run_ in ((file, path), (path, file)):
        assert checker.check_bad(env={"STATE_DIR": state, "RUNTIME_DIR": run_}
                                 )[:2] == [
            "%s: %s: %s; expected a directory that the user of curt.fcgi can "
            "write" % (key, wrong, reasons[wrong])
            for key, wrong in (("STATE_DIR", state), ("RUNTIME_DIR", run_))]


def test_check_says_that_the_store_is_broken(checker):
    (checker.state / "curt.db").write_text("no database at all" * 100)
    line, = checker.check_bad()
    assert line.startswith("STORE: ") and str(checker.state / "curt.db") in line


def test_check_says_that_dynamodb_does_not_answer(checker):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        lines = checker.check_bad(env={
            "STORE": "dynamodb", "AWS_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "hushhush",
            "AWS_ENDPOINT_URL_DYNAMODB": "http://127.0.0.1:%d" % port})
    assert len(lines) == 1
    assert lines[0].startswith("STORE: dynamodb:")
    assert "127.0.0.1" in lines[0] and str(port) in lines[0]
    assert "hushhush" not in lines[0]


def test_check_looks_for_the_table(checker, store_settings):
    settings = store_settings("dynamodb")
    checker.check_good(env=settings)
    lines = checker.check_bad(env={**settings, "TABLE": "no-such-table"})
    assert len(lines) == 1
    assert "no-such-table" in lines[0]


def test_check_needs_no_socket_and_help_needs_nothing(build, checker):
    for option, text in (("-h", b"usage: spawn-fcgi -s SOCKET -- curt.fcgi"),
                         ("-V", b"curt.fcgi ")):
        done = run(build, [option], {**checker.env, "MIN_CHAR": "x"},
                   checker.top)
        assert done.returncode == 0
        assert done.stdout.startswith(text)
        assert done.stderr == b""
