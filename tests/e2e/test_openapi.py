"""doc/openapi.yaml describes each answer of curt.fcgi, and no other."""

import functools
import re
import sqlite3
import time
from json import dumps, loads

import yaml

import harness
from harness import ROOT
from proctools import reload


@functools.cache
def api():
    return yaml.safe_load((ROOT / "doc" / "openapi.yaml").read_text())


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
    """Sends requests to curt.fcgi and keeps (operation, answer)."""

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


# With every member that a link can have.
FULL = {"long_url": "https://www.debian.org/", "ttl": 60, "not_before": 1,
        "max_hits": 5, "redirect_status": 307, "forward_query": True,
        "title": "Debian", "tags": ["a"]}


def ask_preflight(pool):
    a = Answers(pool)
    for origin in ("https://app.example", "https://other.example"):
        a.ask(("/create", "options"), "OPTIONS", "/create", {"Origin": origin})
    return a.seen


def ask_with_limits(pool, unknown):
    """What clients get without a key, and above a limit."""
    a = Answers(pool)
    for accept in ("*/*", "text/html"):
        for _ in range(2):
            a.create(b'{"long_url": "https://www.debian.org/"}',
                     Content_Type="application/json", Accept=accept)
    if unknown:
        a.look("nosuch1")
        a.look("nosuch2")
    return a.seen


def ask_everything(pool):
    """One request for each answer that curt.fcgi has."""
    a = Answers(pool)
    json = {"Content_Type": "application/json"}
    made = a.create(b'{"long_url": "https://www.debian.org/"}', **json)
    as_json = [
        a.create(dumps(body).encode(), Accept="application/json", **json)
        for body in ({"long_url": "https://www.debian.org/"}, FULL,
                     [FULL, {}])]
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
    url = {"long_url": "https://www.debian.org/"}
    for body, key in (({**url, "short_id": "once"}, {}),
                      ({**url, "short_id": "once"}, {}),
                      (url, {"Idempotency_Key": "k"}),
                      ({**url, "ttl": 1}, {"Idempotency_Key": "k"}),
                      ({**url, "max_hits": 0}, {}),
                      ([url, url], {}), ([], {})):
        a.create(dumps(body).encode(), **key, **json)
        a.create(dumps(body).encode(), Accept="text/html", **key, **json)
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

    def rules(**columns):
        with sqlite3.connect(path, timeout=20) as db:
            db.execute("UPDATE links SET " + ", ".join(
                "%s = ?" % name for name in columns) + " WHERE short_id = ?",
                (*columns.values(), short_id))

    rules(long_url="https://www.debian.org/")
    for status in (302, 307, 308):
        rules(redirect_status=status)
        a.look(short_id)
    rules(not_before=int(time.time()) + 3600)
    a.look(short_id)
    rules(not_before=None, warning=1, reason="a test")
    for method in ("GET", "HEAD"):
        for accept in ("*/*", "text/html"):
            a.ask(("/t/{short_id}", method.lower()), method, "/t/" + short_id,
                  {"Accept": accept})
    rules(warning=None, disabled=1)
    a.look(short_id)
    rules(disabled=None, forward_query=1)
    for method in ("GET", "HEAD"):
        a.ask(("/t/{short_id}", method.lower()), method,
              "/t/" + short_id + "?" + 8000 * "q")

    # The store fails: the table does not exist.
    with sqlite3.connect(path, timeout=20) as db:
        db.execute("DROP TABLE links")
    a.look(short_id)
    a.create(b'{"long_url": "https://www.debian.org/"}', **json)
    return a.seen, as_json


def test_api_lists_the_answers_and_no_others(build):
    document = api()
    code = "".join(p.read_text() for p in (ROOT / "src").rglob("*.c"))
    reasons = re.search(r"reasons\[\] = \{(.*?)\};", code, re.S)[1]
    in_code = {int(s) for s in re.findall(r"\{(\d{3}), ", reasons)}
    listed = {(path, method): {int(s) for s in operation["responses"]} & in_code
              for path, item in document["paths"].items()
              for method, operation in item.items() if method != "parameters"}
    # Without the cache: another client changes the file.
    with harness.Pool(build, {"CACHE_TTL": 0, "REQUEST_TIMEOUT": 1},
                      workers=1) as pool:
        pool.start()
        base = pool.settings

        def ask_with(ask, *args, **settings):
            pool.settings = {**base, **settings}
            reload(pool)
            return ask(pool, *args)

        seen = ask_pages(pool, "page")
        for home in ("off", "https://www.debian.org/"):
            seen += ask_with(ask_pages, home, HOME=home)
        seen += ask_with(ask_with_limits, False, CREATE_AUTH="key")
        seen += ask_with(ask_with_limits, False, LIMITS="on",
                         CREATE_LIMIT="1/60")
        seen += ask_with(ask_with_limits, True, LIMITS="on",
                         UNKNOWN_LIMIT="1/60")
        seen += ask_with(ask_preflight, CORS_ORIGINS="https://app.example")
        answers, as_json = ask_with(ask_everything)
        seen += answers
    given = {}
    for operation, answer in seen:
        given.setdefault(operation, set()).add(answer.status)
    assert given == listed

    # There is no status in the code that no request above has got.
    assert in_code == set().union(*listed.values())

    for (path, method), answer in seen:
        check_answer(document, path, method, answer)

    link = document["components"]["schemas"]["Link"]
    one, full, many = [loads(answer.text) for answer in as_json]
    for body in (one, full, many[0]["link"]):
        assert set(link["required"]) <= set(body) <= set(link["properties"])
    assert (set(link["properties"]) - set(full) == {"disabled", "warning",
                                                    "reason"})
    ok, refused = document["components"]["schemas"]["Result"]["oneOf"]
    assert set(many[0]) == set(ok["required"])
    assert set(many[1]) == set(refused["required"])
    assert many[1]["status"] in refused["properties"]["status"]["enum"]
    # Each member that is described is one that curt knows.
    members = document["components"]["schemas"]["Create"]["properties"]
    create = (ROOT / "src" / "service" / "create.c").read_text()
    table = re.search(r"members\[\] = \{(.*?)\n\};", create, re.S)[1]
    assert set(members) == set(re.findall(r'^    \{"(\w+)",', table, re.M))


# Only there where a limit counts the request.
OF_LIMITS = {"ratelimit", "ratelimit-policy"}


def check_answer(document, path, method, answer):
    """Header fields, media type and members are those of the description."""
    where = (path, method, answer.status)
    response = resolve(document, document["paths"][path][method]["responses"]
                       [str(answer.status)])
    headers = {name.lower(): resolve(document, header)
               for name, header in response["headers"].items()}
    given = set(answer.headers) - {"status", "content-type",
                                   "content-length"} - OF_LIMITS
    required = {n for n, h in headers.items() if h.get("required")}
    # The others are those of a page.
    is_page = answer.headers.get("content-type", "").startswith("text/html")
    assert given == (set(headers) - OF_LIMITS if is_page else required), where
    for name in given:
        schema = headers[name]["schema"]
        value = answer.headers[name]
        assert value == schema.get("const", value), where
        assert value in schema.get("enum", [value]), where
    kind = answer.headers.get("content-type", "").partition(";")[0]
    assert kind in response.get("content", [""]), where
    if kind == "application/problem+json" and answer.body:
        problem = loads(answer.text)
        schema = document["components"]["schemas"]["Problem"]
        assert (set(schema["required"]) <= set(problem)
                <= set(schema["properties"])), where
        assert problem["status"] == answer.status
