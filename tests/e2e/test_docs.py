"""The documentation says what the programs do: manuals, sample file, README,
NEWS and the description of the API are compared with the programs, and what
can be run is run."""

import base64
import json
import os
import re
import sqlite3
import subprocess
import time
import urllib.error
import urllib.request
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml

import harness
import webservers
from aws_wire import Proxy
from harness import ROOT, find_program, wait_until
from proctools import hits_of, insert_links, make_link, open_db

DOC = ROOT / "doc"
README = ROOT / "README.md"
SAMPLE = DOC / "curt.conf.sample"
MANUALS = ("curt.1", "curt.conf.5", "curt.fcgi.8")

# Where the documentation says that a directory is, if it is built as README.md
# says.
DOCUMENTED_DIRS = (("runstatedir", "/run"), ("localstatedir", "/var"))


def run(command, tmp_path, env=None):
    return subprocess.run(
        [str(c) for c in command], env=harness.child_env(tmp_path, env),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, timeout=60)


def built_in_dirs(build):
    """[(as it was built in, as it is documented)] of the directories."""
    text = (build.dir / "Makefile").read_text()
    variables = dict(re.findall(r"^(\w+) = (.*)$", text, re.M))

    def expand(value):
        while "${" in value:
            value = re.sub(r"\$\{(\w+)\}", lambda m: variables[m[1]], value)
        return value

    return [(expand(variables[name]), documented)
            for name, documented in DOCUMENTED_DIRS]


@pytest.fixture
def keys(build, tmp_path):
    """{name: (type, range, default or "", reload or restart)} of `curt keys`,
    the directories as they are documented."""
    done = run([build.tool, "keys"], tmp_path)
    assert done.returncode == 0, done.stderr
    found = {}
    for line in done.stdout.splitlines():
        name, kind, values, default, change = line.split("\t")
        if kind == "directory":
            # The longer one first: runstatedir may be below localstatedir.
            built_in, documented = max(
                (d for d in built_in_dirs(build)
                 if default.startswith(d[0] + "/")), key=lambda d: len(d[0]))
            default = documented + default[len(built_in):]
        found[name] = (kind, values, "" if default == "-" else default, change)
    assert len(found) == len(done.stdout.splitlines()) > 20
    return found


# ---- Manuals ------------------------------------------------------------


@pytest.mark.parametrize("name", MANUALS)
def test_manual_is_clean(name, tmp_path):
    done = run([find_program("mandoc"), "-T", "lint", "-W", "warning",
                DOC / name], tmp_path)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout


def test_there_is_no_other_manual():
    found = {p.name for p in DOC.iterdir() if re.search(r"\.\d$", p.name)}
    assert found == set(MANUALS)


def test_verbs_are_in_the_manual(build, tmp_path):
    shown = run([build.tool, "--help"], tmp_path).stdout
    verbs = re.findall(r"^  (\w+) +([A-Z]*|create\|check) ", shown, re.M)
    there = set()
    for verb, argument in verbs:
        if "|" in argument:
            there |= {verb + " " + word for word in argument.split("|")}
        else:
            there.add((verb + " " + argument.lower()).strip())
    page = (DOC / "curt.1").read_text()
    documented = {" ".join(m).replace("Ar ", "").strip() for m in re.findall(
        r"^\.It Cm ([a-z ]+?)(?: (Ar \w+)(?: \.\.\.)?)?$", page, re.M)}
    assert documented == there
    assert len(verbs) > 5


def options_of(page):
    """The options that a manual lists, `.It Fl c Ar file , Fl -config`."""
    found = set()
    for item in re.findall(r"^\.It (Fl .*)$", page, re.M):
        found |= {"-" + name for name in re.findall(r"Fl (-?[\w-]+)", item)}
    return found


@pytest.mark.parametrize("program, name", [
    ("fcgi", "curt.fcgi.8"), ("tool", "curt.1")])
def test_options_are_in_the_manual(build, tmp_path, program, name):
    done = run([getattr(build, program), "-h"], tmp_path)
    assert done.returncode == 0
    options = "".join(re.findall(r"^  -.*\n", done.stdout, re.M))
    there = set(re.findall(r"(?<![\w-])(--?[A-Za-z][A-Za-z-]*)(?=[ ,\n])",
                           options))
    assert options_of((DOC / name).read_text()) == there
    assert {"-c", "-h", "-V"} <= there


@pytest.mark.parametrize("name, sources, more", [
    ("curt.1", ("ctl*.c", "doctor*.c"), {0, 1}),
    ("curt.fcgi.8", ("main.c",), {0, 1})])
def test_exit_statuses_are_in_the_manual(name, sources, more):
    page = (DOC / name).read_text()
    section = page.split(".Sh EXIT STATUS\n")[1].split("\n.Sh ")[0]
    documented = {int(n) for n in re.findall(r"^\.It (\d+)$", section, re.M)}
    code = "".join(path.read_text() for source in sources
                   for path in (ROOT / "src").glob(source))
    used = {getattr(os, n) for n in re.findall(r"\bEX_[A-Z]+\b", code)}
    assert documented == used | more
    assert len(used) >= 3


def test_usage_statuses(build, tmp_path):
    """The ones that need no more than a command line."""
    cases = (
        ((build.tool, "keys"), os.EX_OK),
        ((build.tool, "nonsense"), os.EX_USAGE),
        ((build.tool, "-c", "/dev/null", "config"), os.EX_CONFIG),
        ((build.fcgi, "-V"), os.EX_OK),
        ((build.fcgi, "-w", "many"), os.EX_USAGE),
        ((build.fcgi,), os.EX_USAGE),
        ((build.fcgi, "-c", "/dev/null", "-t"), os.EX_CONFIG),
    )
    for command, status in cases:
        done = run(command, tmp_path)
        assert done.returncode == status, (command, done.stderr)


# ---- Configuration keys -------------------------------------------------


def described(text):
    """(type, range, default, change) of "number: 1 to 64; default 7; reload"
    or "string: text; no default; reload"."""
    m = re.fullmatch(
        r"(\w+): (.+?); (?:no default|default (\S+)); (reload|restart)", text)
    assert m, text
    return m[1], m[2], m[3] or "", m[4]


def test_keys_are_in_the_manual(keys):
    page = (DOC / "curt.conf.5").read_text()
    section = page.split(".Sh KEYS\n")[1].split("\n.Sh ")[0]
    items = re.findall(r"^\.It Cm (\S+)\n\.Pq (.+)$", section, re.M)
    assert [name for name, _ in items] == list(keys)
    assert {name: described(text) for name, text in items} == keys
    assert len(re.findall(r"^\.It ", section, re.M)) == len(keys)


def test_keys_are_in_the_sample(keys):
    text = SAMPLE.read_text()
    items = re.findall(r"^# (\w+: .*; (?:reload|restart))\n#(\w+) =(.*)$", text,
                       re.M)
    assert [name for _, name, _ in items] == list(keys)
    assert {name: described(line) for line, name, _ in items} == keys
    for _, name, value in items:
        if name != "APP_URL":
            assert value.strip() == keys[name][2], name
    assert all(not line or line.startswith("#") for line in text.splitlines())


def test_keys_are_in_the_readme(keys):
    rows = re.findall(
        r"^\| `([A-Z0-9_]+)` \| (\w+): (.+?) \| (?:`(\S+)`)? ?\| (\w+) \| \S.* \|$",
        README.read_text(), re.M)
    assert [row[0] for row in rows] == list(keys)
    assert {row[0]: row[1:] for row in rows} == keys


def config_of(build, tmp_path, path, env=None):
    done = run([build.tool, "-c", path, "config"], tmp_path, env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_sample_loads_as_shipped(build, tmp_path):
    env = {"APP_URL": "https://example.org/t/"}
    expected = config_of(build, tmp_path, "/dev/null", env)
    assert config_of(build, tmp_path, SAMPLE, env) == expected
    refused = run([build.tool, "-c", SAMPLE, "config"], tmp_path)
    assert refused.returncode == os.EX_CONFIG
    assert "APP_URL: is not set" in refused.stderr


def test_sample_has_the_defaults(build, tmp_path):
    """Every setting switched on is the same as none."""
    text, count = re.subn(r"^#([A-Z0-9_]+ =)", r"\1", SAMPLE.read_text(),
                          flags=re.M)
    assert count > 40
    for built_in, documented in built_in_dirs(build):
        text = re.sub(r"^(\w+_DIR = )%s/" % documented, r"\1%s/" % built_in,
                      text, flags=re.M)
    path = tmp_path / "curt.conf"
    path.write_text(text)
    defaults = config_of(build, tmp_path, "/dev/null",
                         {"APP_URL": "https://example.org/t/"})
    # With a size that is set the cache does not adapt to the room there is.
    assert config_of(build, tmp_path, path) == re.sub(
        r"# CACHE_SIZE is not set.*\n", "", defaults)


def test_examples_of_the_manual_load(build, tmp_path):
    page = (DOC / "curt.conf.5").read_text()
    section = page.split(".Sh EXAMPLES\n")[1].split("\n.Sh ")[0]
    examples = re.findall(r"^\.Bd .*\n((?:[A-Z].*\n)+)\.Ed", section, re.M)
    assert len(examples) == 5
    for number, text in enumerate(examples):
        path = tmp_path / ("%d.conf" % number)
        path.write_text(text)
        assert "APP_URL = https://" in config_of(build, tmp_path, path)


# ---- README, NEWS, picture ----------------------------------------------


def anchors(text):
    """The anchors that a Markdown page gives its headings."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```", "", text,
                                               flags=re.M | re.S), re.M)
    return {re.sub(r"[^\w\- ]", "", h.lower()).replace(" ", "-")
            for h in headings}


def test_readme_links_lead_somewhere():
    text = README.read_text()
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert len(links) > 15
    for link in links:
        if link.startswith("#"):
            assert link[1:] in anchors(text), link
        elif not re.match(r"https?://", link):
            assert (ROOT / link.partition("#")[0]).exists(), link


def test_readme_names_files_that_exist():
    names = set(re.findall(r"\b(?:sh|install -m \S+ -g \w+) "
                           r"((?:deploy|tests|doc)/[\w./-]+)",
                           README.read_text()))
    assert {"deploy/quickstart.sh", "tests/run.sh"} <= names
    for name in names:
        assert (ROOT / name).is_file(), name


def test_readme_names_every_document():
    text = README.read_text()
    for path in DOC.iterdir():
        if path.suffix in (".md", ".sample", ".yaml", *".1 .5 .8".split()):
            assert "(doc/%s)" % path.name in text, path


def test_readme_names_every_deployment_file():
    text = README.read_text()
    files = [p for p in (ROOT / "deploy").glob("*/*.conf")]
    assert len(files) >= 5
    for path in files:
        assert "(%s)" % path.relative_to(ROOT) in text


def test_log_lines_of_the_readme_are_in_the_code():
    code = "".join(p.read_text() for p in sorted((ROOT / "src").glob("*.c")))
    # Strings that the compiler joins; %s and its like may be anything.
    code = re.sub(r'"\s*(?:CURT_\w+|NAME)?\s*"', "", code)
    section = README.read_text().split("## When something is wrong\n")[1]
    section = section.split("\n## ")[0]
    rows = [row for row in re.findall(r"^\| (.+?) \| .+ \|$", section, re.M)
            if "`" in row]
    assert len(rows) > 20
    for row in rows:
        for line in re.findall(r"`([^`]+)`", row):
            assert line in code, line


def test_build_packages_of_the_readme():
    """Those that deploy/debian-packages.sh installs to build, and no fewer."""
    script = (ROOT / "deploy" / "debian-packages.sh").read_text()
    wanted = re.search(r"^    build\)\n        echo ((?:.*\\\n)*.*)$", script,
                       re.M)[1]
    wanted = {w.strip('"').split("|")[0]
              for w in wanted.replace("\\\n", " ").split()}
    section = README.read_text().split("## Build and install\n")[1]
    listed = re.search(r"apt-get install ((?:.*\\\n)*.*)$", section, re.M)[1]
    listed = set(listed.replace("\\\n", " ").split())
    assert listed == wanted | {"libcmocka-dev", "spawn-fcgi"}


def test_version_is_the_same_everywhere(build, tmp_path):
    version = run([build.tool, "-V"], tmp_path).stdout.split()[1]
    assert run([build.fcgi, "-V"], tmp_path).stdout.split()[1] == version
    news = (ROOT / "NEWS").read_text()
    assert news.splitlines()[0].split() == ["curt", version]
    assert news.split("\n\n")[1].strip().startswith("Security")
    assert api()["info"]["version"] == version


def test_picture_is_well_formed():
    root = ElementTree.parse(DOC / "architecture.svg").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert root.find("{http://www.w3.org/2000/svg}title").text
    text = (DOC / "architecture.svg").read_text()
    assert "<script" not in text and "href" not in text


# ---- The description of the API -----------------------------------------


def api():
    return yaml.safe_load((DOC / "openapi.yaml").read_text())


def resolve(document, node):
    while "$ref" in node:
        target = document
        for name in node["$ref"].removeprefix("#/").split("/"):
            target = target[name]
        node = target
    return node


def references(node):
    if isinstance(node, dict):
        if "$ref" in node:
            yield node
        for child in node.values():
            yield from references(child)
    elif isinstance(node, list):
        for child in node:
            yield from references(child)


def test_api_references_resolve():
    document = api()
    assert document["openapi"].startswith("3.1.")
    found = list(references(document))
    assert len(found) > 20
    for node in found:
        assert resolve(document, node), node


class Answers:
    """Asks curt.fcgi and keeps (operation, answer)."""

    def __init__(self, pool):
        self.pool = pool
        self.seen = []

    def ask(self, operation, method, path, headers=(), body=b""):
        answer = self.pool.request(method, path, headers, body)
        self.seen.append((operation, answer))
        return answer

    def create(self, body=b"", method="POST", **headers):
        return self.ask(("/create", "post"), method, "/create",
                        {k.replace("_", "-"): v for k, v in headers.items()},
                        body)

    def follow(self, short_id, method="GET"):
        for operation in ("get", "head"):
            if method == "POST" or operation == method.lower():
                for suffix in ("", ".qr"):
                    self.ask(("/t/{short_id}" + suffix, operation), method,
                             "/t/" + short_id + suffix)

    def draw(self, path, **headers):
        for method in ("GET", "HEAD"):
            self.ask(("/t/{short_id}.qr", method.lower()), method, path,
                     {k.replace("_", "-"): v for k, v in headers.items()})

    def look(self, short_id):
        self.follow(short_id)
        self.follow(short_id, "HEAD")
        self.page("/t/{short_id}+", short_id)

    def page(self, path, short_id="", method="GET", **headers):
        """What has no operation but GET."""
        self.ask((path, "get"), method, path.format(short_id=short_id),
                 {k.replace("_", "-"): v for k, v in headers.items()})


def ask_pages(pool, home):
    """What needs no link, with that HOME."""
    a = Answers(pool)
    a.page("/")
    a.page("/t/")
    if home != "page":
        return a.seen
    a.page("/robots.txt")
    for path in ("/", "/t/", "/robots.txt", "/t/{short_id}+"):
        a.page(path, "abc", "POST")
    for path in ("/favicon.ico", "/t/icon.svg", "/t/style.css", "/t/page.js"):
        a.page(path)
        a.page(path, If_None_Match=a.seen[-1][1].headers["etag"])
        a.page(path, method="POST")
    return a.seen


def ask_everything(pool):
    """One request for each answer that curt.fcgi has."""
    a = Answers(pool)
    json = {"Content_Type": "application/json"}
    made = a.create(b'{"long_url": "https://www.debian.org/"}', **json)
    as_json = a.create(b'{"long_url": "https://www.debian.org/"}',
                       Accept="application/json", **json)
    for accept in ("*/*", "text/html"):
        a.create(b"long_url=https://www.debian.org/", Accept=accept,
                 Content_Type="application/x-www-form-urlencoded")
    a.create(b"{", **json)
    a.create(b"{", Accept="text/html", **json)
    a.create(b'{"long_url": "https://www.debian.org/"}', Accept="text/html",
             **json)
    a.create(b"x" * 65537, **json)
    a.create(b"<a/>", Content_Type="text/xml")
    a.create(b'{"long_url": "https://www.debian.org/"}',
             Sec_Fetch_Site="cross-site", **json)
    a.create(method="DELETE")
    with pool.client() as late:
        late.send(late.request_bytes("POST", "/create", json, b"{")[:-9])
        a.seen.append((("/create", "post"), late.response()))
    short_id = made.text.rpartition("/")[2]
    a.look(short_id)
    a.look("nosuch1")
    a.look("no-id")
    a.follow(short_id, "POST")
    a.draw("/t/" + short_id + ".qr?format=png")
    a.draw("/t/" + short_id + ".qr?size=1")
    a.draw("/t/" + short_id + ".qr", If_None_Match="*")

    path = pool.settings["STATE_DIR"] + "/curt.db"
    with sqlite3.connect(path, timeout=20) as db:
        db.execute("UPDATE links SET ttl = ? WHERE short_id = ?",
                   (int(time.time()) - 5, short_id))
    a.look(short_id)
    with sqlite3.connect(path, timeout=20) as db:
        db.execute("UPDATE links SET ttl = NULL, long_url = 'gopher://x/'"
                   " WHERE short_id = ?", (short_id,))
    a.look(short_id)

    # The store goes away: a table that is not there.
    with sqlite3.connect(path, timeout=20) as db:
        db.execute("DROP TABLE links")
    a.look(short_id)
    a.create(b'{"long_url": "https://www.debian.org/"}', **json)
    return a.seen, as_json


def test_api_lists_the_answers_and_no_others(build):
    document = api()
    listed = {(path, method): {int(s) for s in operation["responses"]}
              for path, item in document["paths"].items()
              for method, operation in item.items() if method != "parameters"}
    # Without the cache: another hand changes the file under the pool.
    with harness.Pool(build, {"CACHE_TTL": 0, "REQUEST_TIMEOUT": 1}) as pool:
        pool.start()
        seen, as_json = ask_everything(pool)
    for home in ("page", "off", "https://www.debian.org/"):
        with harness.Pool(build, {"HOME": home}) as pool:
            pool.start()
            seen += ask_pages(pool, home)
    given = {}
    for operation, answer in seen:
        given.setdefault(operation, set()).add(answer.status)
    assert given == listed

    # There is no status in the code that no request above has got.
    reasons = re.search(r"reasons\[\] = \{(.*?)\};",
                        (ROOT / "src" / "http.c").read_text(), re.S)[1]
    in_code = {int(s) for s in re.findall(r"\{(\d{3}), ", reasons)}
    assert in_code == set().union(*listed.values())

    for (path, method), answer in seen:
        check_answer(document, path, method, answer)

    link = document["components"]["schemas"]["Link"]
    body = yaml.safe_load(as_json.text)
    assert set(link["required"]) <= set(body) <= set(link["properties"])


def check_answer(document, path, method, answer):
    """Header fields, media type and members are those of the description."""
    where = (path, method, answer.status)
    response = resolve(document, document["paths"][path][method]["responses"]
                       [str(answer.status)])
    headers = {name.lower(): resolve(document, header)
               for name, header in response["headers"].items()}
    given = set(answer.headers) - {"status", "content-type", "content-length"}
    required = {n for n, h in headers.items() if h.get("required")}
    # The others are those of a page.
    is_page = answer.headers.get("content-type", "").startswith("text/html")
    assert given == (set(headers) if is_page else required), where
    for name in given:
        schema = headers[name]["schema"]
        value = answer.headers[name]
        assert value == schema.get("const", value), where
        assert value in schema.get("enum", [value]), where
    kind = answer.headers.get("content-type", "").partition(";")[0]
    assert kind in response.get("content", [""]), where
    if kind == "application/problem+json" and answer.body:
        problem = yaml.safe_load(answer.text)
        schema = document["components"]["schemas"]["Problem"]
        assert (set(schema["required"]) <= set(problem)
                <= set(schema["properties"])), where
        assert problem["status"] == answer.status


# ---- Files, changes, hits, costs -----------------------------------------


def documented_files():
    """{path in README.md: (what it is, back it up, delete it)}."""
    section = README.read_text().split("## What is kept where\n")[1]
    section = section.split("\n## ")[0]
    found = {}
    for row in re.findall(r"^\| (`/.*) \|$", section, re.M):
        names, what, backup, delete = row.split(" | ")
        names = re.findall(r"`([^`]+)`", names)
        for name in names:
            path = str(Path(names[0]).parent / name)
            found[path] = what, backup, delete
    return found


def files_of(store):
    """{path: (what it is, back it up, delete it)} with that store."""
    other = {"sqlite": "dynamodb", "dynamodb": "sqlite"}[store]
    return {path: row for path, row in documented_files().items()
            if "`STORE = %s`" % other not in row[0]}


def settings_for(store, store_settings, tmp_path):
    """Settings of a fresh store; keys come from elsewhere than curt.conf, as
    they do on AWS."""
    settings = store_settings(store)
    if store == "dynamodb":
        path = tmp_path / "aws-credentials"
        path.write_text("[default]\n" + "".join(
            "%s = %s\n" % (name.lower(), settings.pop(name))
            for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")))
        settings["AWS_SHARED_CREDENTIALS_FILE"] = str(path)
    return settings


def file_stats(directory):
    return {p.name: p.stat() for p in Path(directory).iterdir()}


# Those that processes share by mapping them.
MAPPED = {"hits", "cache", "circuit", "credentials"}


def test_documented_files_are_in_the_manual():
    page = (DOC / "curt.fcgi.8").read_text()
    section = page.split(".Sh FILES\n")[1].split("\n.Sh ")[0]
    in_manual = set(re.findall(r"^\.It Pa (/(?:var|run)/\S+)$", section, re.M))
    in_manual |= {"/var/lib/curt/" + name for name in
                  re.findall(r"^\.Pa (curt\.db-\w+)\b", section, re.M)}
    assert set(documented_files()) == in_manual
    # What can be lost is what the table says.
    assert {path for path, (_, _, delete) in documented_files().items()
            if delete == "never"} == {"/var/lib/curt/curt.db" + end
                                      for end in ("", "-wal", "-shm")}


@pytest.mark.parametrize("store", ["sqlite", "dynamodb"])
def test_files_are_those_of_the_documentation(build, store, store_settings,
                                              tmp_path):
    documented = files_of(store)
    settings = settings_for(store, store_settings, tmp_path)
    with harness.Pool(build, settings) as pool:
        pool.start()
        assert pool.request("GET", "/t/" + make_link(pool)).status == 301
        if store == "sqlite":  # the janitor writes that one
            clock = Path(pool.settings["STATE_DIR"]) / "clock"
            harness.wait_until(clock.exists, "the clock's file")
        state = file_stats(pool.settings["STATE_DIR"])
        runtime = file_stats(pool.settings["RUNTIME_DIR"])
    there = {"/var/lib/curt/" + n for n in state}
    there |= {"/run/curt/" + n for n in runtime}
    assert there == set(documented)
    # As large as README.md says; the cache within a thousandth.
    assert "32 MiB" in documented["/var/lib/curt/hits"][0]
    assert round(state["hits"].st_size / 2**20) == 32
    assert state["janitor.lock"].st_size == 0
    assert abs(runtime["cache"].st_size - 2**26) < 2**26 / 1000
    # Nobody else may read them, and what is shared not even the group.
    for name, found in (state | runtime).items():
        allowed = 0o600 if name in MAPPED else 0o660
        assert found.st_mode & 0o777 & ~allowed == 0, name


@pytest.mark.parametrize("store", ["sqlite", "dynamodb"])
def test_what_may_be_deleted_is_not_missed(build, store, store_settings,
                                           tmp_path):
    """All but curt.db, with the pool stopped and nothing pending."""
    settings = settings_for(store, store_settings, tmp_path)
    with harness.Pool(build, settings) as pool:
        pool.start()
        short_id = make_link(pool)
        assert pool.request("GET", "/t/" + short_id).status == 301
        pool.stop()
        assert pending(pool) == (0, 0)
        for path, (_, _, delete) in files_of(store).items():
            key = "STATE_DIR" if path.startswith("/var/") else "RUNTIME_DIR"
            if delete != "never":
                (Path(pool.settings[key]) / Path(path).name).unlink()
        pool.start()
        assert pool.request("GET", "/t/" + short_id).status == 301
        harness.wait_until(lambda: hits_of(pool, short_id) == 2, "two hits")


def pending(pool):
    """(hits, links) of `curt hits`, which says the same in words."""
    answer = json.loads(pool.tool("-j", "hits").stdout)
    assert set(answer) == {"pending", "links"}
    assert pool.tool("hits").stdout == (
        "%d hits of %d links are pending\n"
        % (answer["pending"], answer["links"]))
    return answer["pending"], answer["links"]


def test_hits_are_pending_until_they_are_moved(build):
    """`curt hits` is as curt(1) shows it, `curt get` adds what is pending, and
    an orderly stop moves everything."""
    page = (DOC / "curt.1").read_text()
    assert "\n0 hits of 0 links are pending\n" in page
    example = json.loads(re.search(
        r'^\.Ql (\{"pending".*\}) ,$', page, re.M)[1])
    assert set(example) == {"pending", "links"}
    with harness.Pool(build, {"HITS_FLUSH": 3600}) as pool:
        pool.start()
        assert pending(pool) == (0, 0)
        first, second = make_link(pool), make_link(pool)
        for short_id in (first, first, second):
            assert pool.request("GET", "/t/" + short_id).status == 301
        assert pool.request("HEAD", "/t/" + first).status == 301
        assert pending(pool) == (3, 2)
        assert hits_of(pool, first) == 2
        query = "SELECT hits, node, seq FROM links WHERE short_id = ?"
        with open_db(pool) as db:
            assert db.execute(query, (first,)).fetchone() == (0, None, None)
        pool.stop()
        assert pending(pool) == (0, 0)
        with open_db(pool) as db:
            hits, node, seq = db.execute(query, (first,)).fetchone()
        assert hits == 2 and seq > 0
        assert re.fullmatch("[A-Za-z0-9]{12}", node)


def test_changes_are_seen_when_the_documentation_says(build):
    ttl = 3
    with harness.Pool(build, {"CACHE_TTL": ttl}) as pool:
        pool.start()

        def location(short_id):
            answer = pool.request("GET", "/t/" + short_id)
            return answer.headers.get("location", answer.status)

        # By curt: the next request.
        short_id = make_link(pool, "https://example.com/old")
        assert location(short_id) == "https://example.com/old"
        pool.tool("delete", short_id)
        assert location(short_id) == 404
        # By another hand: within CACHE_TTL, and not before the cache has to.
        short_id = make_link(pool, "https://example.com/old")
        assert location(short_id) == "https://example.com/old"
        with open_db(pool) as db:
            db.execute("UPDATE links SET long_url = 'https://example.com/new'")
        changed = time.monotonic()
        assert location(short_id) == "https://example.com/old"
        wait_until(lambda: location(short_id) == "https://example.com/new",
                   "the new URL", ttl + 1)
        # A new one by another hand whose id was asked for: 5 seconds.
        assert location("another") == 404
        with open_db(pool) as db:
            insert_links(db, [("another", None)])
        assert location("another") == 404
        wait_until(lambda: location("another") != 404, "the new link", 6)
        assert time.monotonic() - changed > ttl * 0.8


TUTORIAL_ATTRIBUTES = {"short_id", "long_url", "short_url", "created_at",
                       "ttl", "hits", "analytics"}


def test_what_redirects_cost_the_table(build, store_settings, dynamodb_local):
    """One read for a link that is visited, two for an id that is not there,
    one write for all hits; and nothing is left in the item but what the
    documentation says."""
    with Proxy(dynamodb_local.endpoint) as proxy:
        settings = store_settings("dynamodb")
        settings["AWS_ENDPOINT_URL_DYNAMODB"] = proxy.endpoint
        settings.update({"HITS_FLUSH": 3600, "CACHE_TTL": 600})
        with harness.Pool(build, settings, workers=3) as pool:
            pool.start()
            short_id = make_link(pool)
            for _ in range(100):
                assert pool.request("GET", "/t/" + short_id).status == 301
            begun = time.monotonic()
            asked = 0
            while time.monotonic() - begun < 3 and asked < 100:
                assert pool.request("GET", "/t/nosuch1").status == 404
                asked += 1
            assert asked > 10
            pool.stop()
        actions = proxy.actions()
        updates = [r.json for r in proxy.requests if r.action == "UpdateItem"]
        reads = [(r.json["Key"]["short_id"]["S"], r.json["ConsistentRead"])
                 for r in proxy.requests if r.action == "GetItem"]
    assert sorted(actions) == ["GetItem"] * 3 + ["PutItem", "UpdateItem"]
    assert reads == [(short_id, False), ("nosuch1", False), ("nosuch1", True)]
    [update] = updates
    assert update["ExpressionAttributeValues"][":n"] == {"N": "100"}
    item = dynamodb_local.client().get_item(
        TableName=settings["TABLE"], ConsistentRead=True,
        Key={"short_id": {"S": short_id}})["Item"]
    assert item["hits"] == {"N": "100"}
    assert TUTORIAL_ATTRIBUTES <= set(item)
    token, node = sorted(set(item) - TUTORIAL_ATTRIBUTES)
    assert token == "creation_token"
    assert re.fullmatch("node_[A-Za-z0-9]{12}", node)
    length = int(re.search(r"^\| `creation_token` \| (\d+) letters and digits",
                           README.read_text(), re.M)[1])
    assert re.fullmatch("[A-Za-z0-9]{%d}" % length, item[token]["S"])
    assert "\n| `node_` and 12 letters or digits |" in README.read_text()


def constant(source, name):
    code = (ROOT / "src" / source).read_text()
    return int(re.search(r"^#define %s +(\d+)\b" % name, code, re.M)[1])


def amount(cell):
    """The number that a cell of the example ends with: its product is right."""
    formula, _, result = cell.rpartition(" = ")
    value = int(result.replace(",", ""))
    if formula:
        factors = formula.replace(",", "")
        product, _, divisor = factors.partition(" ÷ ")
        hosts, links, seconds = (int(n) for n in product.split(" × "))
        assert hosts * links * seconds == value * int(divisor), cell
    return value


def costs():
    section = README.read_text().split("### What it costs\n")[1]
    return section.split("\n### ")[0]


def rows_of(section, names):
    """{first cell: the others} of the rows whose first cell matches."""
    rows = {name: cells.split(" | ") for name, cells in re.findall(
        r"^\| (%s) \| (.+) \|$" % names, section, re.M)}
    assert rows
    return rows


# What an eventually consistent read of an item of up to 4 KB costs, and a
# consistent one; in read units.
EVENTUAL, CONSISTENT = Decimal("0.5"), 1


class Costs:
    """The example of README.md, for each of its three columns."""

    def __init__(self):
        section = costs()
        self.rows = rows_of(section, r"(?:writes|reads), [^|]+")
        assert len(self.rows) == 4
        self.write, self.read = (Decimal(n) for n in re.search(
            r"at \$([\d.]+) for a million write units and \$([\d.]+) for a "
            r"million read", section).groups())

    def count(self, kind, column):
        return sum(amount(cells[column]) for name, cells in self.rows.items()
                   if name.startswith(kind))

    def units(self, column, more=0):
        """(write units, read units); more: requests of either kind."""
        return (self.count("writes", column) + more,
                (self.count("reads", column) + more) * EVENTUAL)

    def dollars(self, column, more=0, divisor=1):
        writes, reads = self.units(column, more)
        sum_ = (writes * self.write + reads * self.read) / 10**6 / divisor
        return "$" + str(sum_.quantize(Decimal("0.01"), ROUND_HALF_UP))


def test_costs_of_the_readme_add_up(keys):
    section = costs()
    # The intervals are those of the program and its defaults.
    ahead = int(keys["CACHE_TTL"][2]) * constant("lookup.c", "AHEAD_PERCENT")
    assert ("in %d seconds, four fifths of `CACHE_TTL`" % (ahead / 100)
            in section)
    again = constant("lookup.c", "NEGATIVE_MS") * constant(
        "lookup.c", "AHEAD_PERCENT")
    assert "two GetItem per host in %d seconds" % (again / 100000) in section
    missing = EVENTUAL + CONSISTENT
    assert "| %s read units for both |" % missing in section
    assert "costs %s read units for each different one" % missing in section
    example = Costs()
    shipped, slow, _ = example.rows["writes, the 100 links"]
    assert " ÷ %s = " % keys["HITS_FLUSH"][2] in shipped
    assert " ÷ 60 = " in slow
    assert " ÷ %d = " % (ahead / 100) in example.rows[
        "reads, the 100 links"][0]
    assert rows_of(section, "sum")["sum"] == [
        example.dollars(column) for column in range(3)]
    assert ("make the third %s." % example.dollars(2, more=81 * 10**6)
            in section)


def test_costs_of_a_million_redirects_add_up():
    """A tenth of the example's day."""
    example = Costs()
    rows = rows_of(costs(), r"requests|(?:write|read) units|price")
    for column in range(3):
        writes, reads = example.units(column)
        requests = sum(example.count(kind, column)
                       for kind in ("writes", "reads"))
        assert [rows[name][column] for name in (
            "requests", "write units", "read units", "price")] == [
                "{:,}".format(requests // 10), "{:,}".format(writes // 10),
                "{:,.0f}".format(reads / 10),
                example.dollars(column, divisor=10)]
    # The most that they can cost: a read and a write for each.
    assert [rows[name][2] for name in ("write units", "read units")] == [
        "1,000,000", "{:,.0f}".format(10**6 * EVENTUAL)]


def test_numbers_for_operators_are_those_of_the_code(keys):
    section = README.read_text().split("### For operators\n")[1]
    section = " ".join(section.split("\n## ")[0].split())
    pause = constant("aws_retry.h", "AWS_RETRY_BASE_MS")
    numbers = (
        ("up to %d times", constant("aws_retry.h", "AWS_RETRY_ATTEMPTS")),
        ("at most %d, then %d ms", (pause, 2 * pause)),
        ("`STORE_TIMEOUT`, %s seconds", keys["STORE_TIMEOUT"][2]),
        ("pauses of at most %d ms",
         constant("aws_retry.h", "AWS_RETRY_THROTTLED_MAX_MS")),
        ("a quota of %d (a retry takes %d, after a timeout %d,",
         tuple(constant("aws_retry.h", "AWS_RETRY_" + name)
               for name in ("QUOTA", "COST", "COST_TIMEOUT"))),
        ("After %d calls in a row", constant("circuit.h", "CIRCUIT_FAILURES")),
        ("after %g seconds, then after twice as long each time, at most %d,",
         (constant("circuit.h", "CIRCUIT_OPEN_MS") / 1000,
          constant("circuit.h", "CIRCUIT_OPEN_MAX_MS") / 1000)),
    )
    for text, values in numbers:
        assert text % values in section, text % values
    renewed = constant("aws_refresh.h", "AWS_REFRESH_DUE") / 60
    aside = constant("aws_endpoint.h", "AWS_ENDPOINT_ASIDE_MS") / 1000
    text = " ".join(README.read_text().split())
    # They are due up to a third later.
    assert ("renewed %d to %d minutes before" % (renewed * 2 / 3, renewed)
            in text)
    assert "is left alone for %d seconds" % aside in text


def test_actions_of_the_readme_are_those_of_the_policies():
    rows = re.findall(r"^\| .+ \| `(iam-\w+\.json)` \| (.+) \|$",
                      README.read_text(), re.M)
    assert {name for name, _ in rows} == {
        p.name for p in (ROOT / "deploy" / "aws").glob("iam-*.json")}
    for name, cell in rows:
        policy = json.loads((ROOT / "deploy" / "aws" / name).read_text())
        actions = [a for statement in policy["Statement"]
                   for a in ([statement["Action"]] if
                             isinstance(statement["Action"], str)
                             else statement["Action"])]
        assert set(re.findall(r"`(dynamodb:\w+)`", cell)) == set(actions)


# ---- The password in front of /create -----------------------------------


def snippet(language):
    """The code block of README.md in that language; there is one."""
    [text] = re.findall(r"^```%s\n(.*?)^```$" % language, README.read_text(),
                        re.M | re.S)
    assert "/etc/curt/htpasswd" in text
    return text


@pytest.mark.parametrize("status", [0, 1])
def test_password_file_of_the_readme(tmp_path, status):
    """What makes it writes no entry where openssl refuses the password: two
    that differ, say."""
    [recipe] = re.findall(r"^    hash=.*\n(?:        .*\n)*",
                          README.read_text(), re.M)
    users = tmp_path / "htpasswd"
    for name, text in (("sudo", 'exec "$@"'), (
            "openssl", "[ %d = 0 ] && echo '$6$salt$hash' || exit 1" % status)):
        path = tmp_path / name
        path.write_text("#!/bin/sh\n%s\n" % text)
        path.chmod(0o755)
    done = run(["sh", "-c", recipe.replace("/etc/curt/htpasswd", str(users))],
               tmp_path, {"PATH": "%s:%s" % (tmp_path, os.environ["PATH"])})
    assert (done.returncode, done.stdout, done.stderr) == (status, "", "")
    assert users.exists() == (status == 0)
    if status == 0:
        assert users.read_text() == "alice:$6$salt$hash\n"


class WithPassword:
    """A web server whose configuration has what README.md says, and where."""

    def deploy_file(self):
        path = super().deploy_file()
        users = self.workdir / "htpasswd"
        done = subprocess.run(
            [find_program("openssl"), "passwd", "-6", "-stdin"],
            input="open sesame\n", stdout=subprocess.PIPE, text=True,
            check=True, timeout=60)
        users.write_text("alice:" + done.stdout)
        users.chmod(0o644)
        lines = snippet(self.language).replace("/etc/curt/htpasswd",
                                               str(users))
        path.write_text(self.put(path.read_text(), lines))
        return path


class LighttpdPut:
    language = "lighttpd"

    def put(self, shipped, lines):
        return lines + shipped


class ApachePut:
    language = "apache"
    password_modules = ("auth_basic", "authn_core", "authn_file", "authz_user")

    @property
    def modules(self):
        return super().modules + self.password_modules

    def put(self, shipped, lines):
        return shipped + lines


class NginxPut:
    language = "nginx"

    def put(self, shipped, lines):
        start = "location = /create {\n"
        assert shipped.count(start) == 1
        return shipped.replace(start, start + lines)


PUT = {"lighttpd": LighttpdPut, "lighttpd-bin-path": LighttpdPut,
       "apache-proxy-fcgi": ApachePut, "apache-fcgid": ApachePut,
       "nginx": NginxPut}


@pytest.fixture(params=sorted(webservers.KINDS))
def site_with_password(request, build, store_settings, monkeypatch):
    kind = request.param
    server = type("Server", (WithPassword, PUT[kind], webservers.KINDS[kind]),
                  {})
    monkeypatch.setitem(webservers.KINDS, kind, server)
    with webservers.Site(build, kind, store_settings("sqlite")) as site:
        yield site


def post_create(site, path="/create", password=None, form=False):
    """(status, body) of a create over HTTP; form: as a browser sends it. A
    refusal makes a browser ask for the password."""
    body = b'{"long_url": "https://www.debian.org/"}'
    headers = {"Content-Type": "application/json"}
    if form:
        body = b"long_url=https%3A%2F%2Fwww.debian.org%2F"
        headers = {"Accept": "text/html,*/*;q=0.8", "Origin": site.url,
                   "Sec-Fetch-Site": "same-origin"}
    request = urllib.request.Request(site.url + path, body, headers)
    if password:
        value = base64.b64encode(("alice:" + password).encode()).decode()
        request.add_header("Authorization", "Basic " + value)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as e:
        if e.code == 401:
            assert e.headers["WWW-Authenticate"].startswith(
                'Basic realm="curt"')
        return e.code, e.read().decode()


def raw_post(site, target):
    """The whole answer to a create whose request line has this target."""
    body = b'{"long_url": "https://www.debian.org/"}'
    answer = b""
    with harness.socket.create_connection(("127.0.0.1", site.port), 20) as s:
        s.sendall(b"POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\n"
                  b"Content-Type: application/json\r\nConnection: close\r\n"
                  b"Content-Length: %d\r\n\r\n%s"
                  % (target.encode(), len(body), body))
        while more := s.recv(65536):
            answer += more
    return answer


# Ways to write /create of which one might pass by the password.
DISGUISES = (
    "/%63reate", "/create?x", "/create#/t/x", "/create#/../t/x",
    "/create?/../t/x", "/t/../create", "/t/%2e%2e/create", "/t/..%2fcreate",
    "//create", "/./create", "/create/", "/create/../create", "/create%00",
    "/create;x", "/CREATE", "\\create", "/t/x/../../create",
    "http://127.0.0.1/create", "http://127.0.0.1/%63reate",
    "http://127.0.0.1/create#/../t/x", "/create%23/../t/x",
    "/create%3f/../t/x", "/create/../t/x", "/create/..", "/create#/..",
    "/create?/..", "/create%23/..", "/create%3f/../robots.txt",
)


def test_password_protects_create(site_with_password):
    site = site_with_password
    assert post_create(site)[0] == 401
    assert post_create(site, password="wrong")[0] == 401
    status, short_url = post_create(site, password="open sesame")
    assert status == 200
    for target in DISGUISES:
        answer = raw_post(site, target)
        assert answer and site.app_url.encode() not in answer, target
    # Links are followed without it.
    client = urllib.request.build_opener(NoRedirect)
    with pytest.raises(urllib.error.HTTPError) as followed:
        client.open(short_url, timeout=20)
    assert followed.value.code == 301
    assert followed.value.headers["Location"] == "https://www.debian.org/"
    # So is the page, whose form needs it.
    with client.open(site.url + "/", timeout=20) as page:
        assert 'action="/create"' in page.read().decode()
    assert post_create(site, form=True)[0] == 401
    # And nothing was made on the way.
    path = site.settings["STATE_DIR"] + "/curt.db"
    with sqlite3.connect(path, timeout=20) as db:
        assert db.execute("SELECT count(*) FROM links").fetchone() == (1,)
    status, text = post_create(site, password="open sesame", form=True)
    assert status == 200 and text.startswith("<!DOCTYPE html>")
    assert site.app_url in text


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None
