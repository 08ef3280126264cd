"""What a client sees of curt through each web server, with the deployment
files as shipped: all five set-ups, on both stores."""

import contextlib
import http.client
import json
import re
import socket
import sqlite3
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import webservers
from harness import find_program, free_port, wait_until
from proctools import changed, open_db

LONG_URL = "https://www.example.org/a/path?q=1&lang=en#part"
TRACE = "Root=1-5bff2bce-0123456789abcdef01234567;Sampled=1"
MADE_TRACE = re.compile(r"^Root=1-[0-9a-f]{8}-[0-9a-f]{24}$")
BROWSER = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"

# Fields that belong to the server, the connection or this one transfer.
PASSING = {"date", "server", "connection", "keep-alive", "content-length",
           "transfer-encoding", "accept-ranges"}


def on(setups):
    """Has a test run on some of the set-ups of the fixture "site"."""
    return pytest.mark.parametrize("site", setups, ids=webservers.setup_id,
                                   indirect=True, scope="module")


# What depends on the store and the web server together is shown on each pair;
# errors, pages and headers are the same with each store.
each_server = on(webservers.EACH_SERVER)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.header_list = response.getheaders()
        self.headers = {n.lower(): v for n, v in self.header_list}
        self.body = response.read()

    @property
    def text(self):
        return self.body.decode("utf-8")


def ask(site, method, target, headers=None, body=None, **options):
    """One request, on a connection of its own, with these headers and Host."""
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
    connection.request(method, target, body, headers or {}, **options)
    try:
        return Answer(connection.getresponse())
    finally:
        connection.close()


def create(site, long_url=LONG_URL, headers=None):
    """Creates a link; returns the path of its short URL."""
    fields = {"Content-Type": "application/json"}
    fields.update(headers or {})
    answer = ask(site, "POST", "/create", fields,
                 json.dumps({"long_url": long_url}))
    assert answer.status == 200, answer.text
    assert answer.text.startswith(site.app_url)
    return answer.text[len(site.url):]


def item(site, path):
    return json.loads(site.tool("get", path.rpartition("/")[2], "--json").stdout)


def wait_hits(site, paths, hits):
    """Waits until each link has that many hits: those that move to the store
    count twice for a moment."""
    ids = [path.rpartition("/")[2] for path in paths]

    def counted():
        shown = site.tool("get", *ids, "--json").stdout.splitlines()
        return [json.loads(line)["hits"] for line in shown] == [hits] * len(ids)

    wait_until(counted, "%d hits" % hits, interval=0.2)


def run_curl(*args):
    """The real curl; returns what it printed, byte for byte."""
    done = subprocess.run([find_program("curl"), "-sS", "--max-time", "60", *args],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          timeout=90)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode()


def check_problem(answer, status):
    """The answer is RFC 9457, made by curt and not by the web server."""
    assert answer.status == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    problem = json.loads(answer.text)
    assert problem["status"] == status
    assert problem["title"] and problem["detail"]
    assert problem["trace_id"] == answer.headers["x-amzn-trace-id"]
    return problem


def check_short_url(site, text):
    assert re.fullmatch(re.escape(site.app_url) + "[A-Za-z0-9]{7}", text), text


# ---- Create ------------------------------------------------------------


def test_create_with_json(site):
    answer = ask(site, "POST", "/create", {"Content-Type": "application/json"},
                 json.dumps({"long_url": LONG_URL}))
    assert answer.status == 200
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    check_short_url(site, answer.text)


@each_server
def test_create_with_a_form(site):
    answer = ask(site, "POST", "/create",
                 {"Content-Type": "application/x-www-form-urlencoded"},
                 "long_url=https%3A%2F%2Fwww.example.org%2F%3Fa%3D1%26b%3D2")
    assert answer.status == 200
    check_short_url(site, answer.text)
    target = ask(site, "GET", answer.text[len(site.url):]).headers["location"]
    assert target == "https://www.example.org/?a=1&b=2"


@each_server
def test_create_answers_an_object_when_asked(site):
    answer = ask(site, "POST", "/create", {
        "Content-Type": "application/json", "Accept": "application/json",
    }, json.dumps({"long_url": LONG_URL}))
    assert answer.status == 200
    assert answer.headers["content-type"] == "application/json"
    link = json.loads(answer.text)
    check_short_url(site, link["short_url"])
    assert link["short_url"] == site.app_url + link["short_id"]
    assert link["long_url"] == LONG_URL
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", link["created_at"])
    assert abs(link["ttl"] - time.time() - 604800) < 60


@each_server
def test_the_demo_with_curl(site):
    """The tutorial's two lines: create, then follow with curl -iL."""
    long_url = site.url + "/index.html?by=curl"
    short_url = run_curl(
        "-XPOST", "-H", "Content-Type: application/json",
        "-d", '{"long_url": "%s"}' % long_url, site.url + "/create")
    check_short_url(site, short_url)
    shown = run_curl("-iL", short_url)
    assert re.match(r"HTTP/1\.1 301 ", shown)
    assert re.search(r"^location: %s\r$" % re.escape(long_url), shown,
                     re.M | re.I)
    assert shown.endswith(webservers.SITE_FILES["index.html"])


@each_server
def test_curl_without_a_content_type(site):
    """curl -d says that JSON is a form; curt sees what it is."""
    short_url = run_curl("-d", json.dumps({"long_url": LONG_URL}),
                         site.url + "/create")
    check_short_url(site, short_url)
    assert run_curl("-o", "/dev/null", "-w", "%{redirect_url}",
                    short_url) == LONG_URL


@each_server
def test_create_with_a_chunked_body(site):
    body = json.dumps({"long_url": LONG_URL}).encode()
    answer = ask(site, "POST", "/create", {"Content-Type": "application/json"},
                 iter([body[:10], body[10:]]), encode_chunked=True)
    assert answer.status == 200, answer.text
    check_short_url(site, answer.text)


@each_server
def test_create_waits_for_continue(site):
    """Expect: 100-continue, as curl sends it with a large body."""
    long_url = "https://www.example.org/" + "x" * 4000
    short_url = run_curl(
        "-H", "Expect: 100-continue", "-H", "Content-Type: application/json",
        "-d", json.dumps({"long_url": long_url}), site.url + "/create")
    check_short_url(site, short_url)


# ---- Redirect ----------------------------------------------------------


def test_get_redirects(site):
    path = create(site)
    answer = ask(site, "GET", path)
    assert answer.status == 301
    assert answer.headers["location"] == LONG_URL
    assert answer.headers["cache-control"] == "private, max-age=90"
    assert answer.headers["content-type"].startswith("text/html")
    assert LONG_URL.replace("&", "&amp;") in answer.text


@each_server
def test_location_byte_for_byte(site):
    """What a server could be tempted to tidy up comes through as it is."""
    long_url = ("HTTPS://Example.org:443/a/../b//c/%7e%2F%2e;p=1?x=%7a&y=a+b&&="
                "#!/%E2%82%AC?'()*")
    path = create(site, long_url)
    location = ask(site, "GET", path).headers["location"]
    stored = item(site, path)["long_url"]
    assert location == stored
    assert stored.partition("://")[2].lower().startswith("example.org")
    assert stored.endswith(long_url.partition(":443")[2])


@each_server
def test_the_longest_url(site):
    long_url = "https://www.example.org/" + "&" * 7976
    assert len(long_url) == 8000
    path = create(site, long_url)
    answer = ask(site, "GET", path)
    assert answer.status == 301
    assert answer.headers["location"] == long_url
    assert answer.text.count("&amp;") == 2 * 7976
    assert ask(site, "HEAD", path).headers["location"] == long_url


@each_server
def test_a_url_that_is_too_long(site):
    answer = ask(site, "POST", "/create", {"Content-Type": "application/json"},
                 json.dumps({"long_url": "https://www.example.org/" + "a" * 7977}))
    assert "long_url" in check_problem(answer, 400)["detail"]


@each_server
def test_head_is_get_without_a_body(site):
    path = create(site)
    trace = {"X-Amzn-Trace-Id": TRACE}
    get = ask(site, "GET", path, trace)
    head = ask(site, "HEAD", path, trace)
    assert head.status == 301
    assert head.body == b""

    def lasting(answer):
        return sorted((n.lower(), v) for n, v in answer.header_list
                      if n.lower() not in PASSING)

    assert lasting(head) == lasting(get)
    if "content-length" in head.headers:
        assert head.headers["content-length"] == str(len(get.body))


def test_hits_are_counted_exactly(site):
    path = create(site)
    for _ in range(7):
        assert ask(site, "GET", path).status == 301
    for _ in range(3):
        assert ask(site, "HEAD", path).status == 301
    assert ask(site, "POST", path).status == 405
    wait_hits(site, [path], 7)


@each_server
def test_many_at_once(site):
    """Clients at the same time: each create is answered once and is there,
    each redirect is counted."""
    urls = ["https://www.example.org/%d" % n for n in range(24)]
    with ThreadPoolExecutor(4) as clients:
        paths = list(clients.map(lambda u: create(site, u), urls))
        assert len(set(paths)) == len(urls)
        answers = list(clients.map(lambda p: ask(site, "GET", p), paths * 2))
    for answer, url in zip(answers, urls * 2):
        assert (answer.status, answer.headers["location"]) == (301, url)
    wait_hits(site, paths, 2)


@each_server
def test_the_query_of_a_short_url_is_ignored(site):
    path = create(site)
    answer = ask(site, "GET", path + "?utm_source=mail")
    assert (answer.status, answer.headers["location"]) == (301, LONG_URL)


@each_server
def test_what_a_sentence_leaves_after_an_id_is_dropped(site):
    path = create(site)
    after = (".", ",", ";", ":", "!", ")", "]", "%7D", "}", "%3E", "%22", "'",
             "/", "%20", "%E2%80%8B", ").", "./", "%20%E2%80%8B.")
    for text in after:
        for method in ("GET", "HEAD"):
            answer = ask(site, method, path + text)
            assert answer.status == 301, (text, answer.text)
            assert answer.headers["location"] == LONG_URL
    wait_hits(site, [path], len(after))


@each_server
def test_a_page_of_another_site_creates_nothing(site):
    for fields, status in (
            ({"Sec-Fetch-Site": "same-origin",
              "Origin": "http://other.example"}, 200),
            ({"Sec-Fetch-Site": "none"}, 200),
            ({"Sec-Fetch-Site": "cross-site", "Origin": "null"}, 403),
            ({"Sec-Fetch-Site": "same-site"}, 403),
            ({"Origin": site.url}, 200),
            ({"Origin": "http://other.example"}, 403),
            ({"Origin": "null"}, 403)):
        answer = ask(site, "POST", "/create",
                     {**fields, "Content-Type": "text/plain"},
                     '{"long_url": "https://www.example.org/"}')
        assert answer.status == status, (fields, answer.text)
        if status == 403:
            check_problem(answer, 403)


@each_server
def test_an_escaped_short_id(site):
    """Servers differ in what they make of the path; REQUEST_URI they all
    pass on as it came, and curt decodes it once."""
    path = create(site)
    escaped = "/t/" + "".join("%%%02x" % ord(c) for c in path[3:])
    answer = ask(site, "GET", escaped)
    assert (answer.status, answer.headers["location"]) == (301, LONG_URL)
    twice = escaped.replace("%", "%25")
    check_problem(ask(site, "GET", twice), 404)


# ---- Errors ------------------------------------------------------------


@each_server
def test_what_is_not_a_link_is_404(site):
    for target in ("/t/0000000", "/t/no-id", "/t/0000000/x", "/t/" + "a" * 500,
                   "/t/%C3%A9", "/t/x.php", "/t/index.html", "/t/.htaccess",
                   "/t/a;b"):
        check_problem(ask(site, "GET", target), 404)


@each_server
def test_odd_escapes_harm_nobody(site):
    """Some servers refuse these themselves; the others let curt do it."""
    for target in ("/t/abc%2Fdef", "/t/%00", "/t/%0a", "/t/%ff",
                   "/t/..%2fcreate", "/t/%zz"):
        assert ask(site, "GET", target).status in (400, 404), target


@each_server
def test_an_expired_link_is_410(site):
    path = create(site)

    def expire_in(seconds):
        end = int(time.time()) + seconds
        site.tool("edit", path.rpartition("/")[2], "--expires-at", str(end))
        return end

    expire_in(60)
    answer = ask(site, "GET", path)
    assert answer.status == 301
    age = re.fullmatch(r"private, max-age=(\d+)",
                       answer.headers["cache-control"])
    assert int(age[1]) <= 60
    end = expire_in(3)
    wait_until(lambda: ask(site, "GET", path).status == 410, "its end",
               interval=0.1)
    assert time.time() >= end
    check_problem(ask(site, "GET", path), 410)
    assert ask(site, "HEAD", path).status == 410


@each_server
def test_wrong_method(site):
    answer = ask(site, "GET", "/create")
    check_problem(answer, 405)
    assert answer.headers["allow"] == "POST"
    path = create(site)
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        answer = ask(site, method, path)
        check_problem(answer, 405)
        allowed = re.split(r",\s*", answer.headers["allow"])
        assert sorted(allowed) == ["GET", "HEAD"]


@each_server
def test_a_bad_body(site):
    for body, word in (
            ("", "body"),
            ("{", "JSON"),
            ('{"url": "https://example.org/"}', "long_url"),
            ('{"long_url": 5}', "long_url"),
            ('{"long_url": "ftp://example.org/"}', "long_url"),
            ('{"long_url": "https://user:pw@example.org/"}', "long_url"),
            ('{"long_url": "https://example.org/\\r\\nSet-Cookie: a=b"}',
             "long_url")):
        answer = ask(site, "POST", "/create",
                     {"Content-Type": "application/json"}, body)
        assert word in check_problem(answer, 400)["detail"], body
        assert "set-cookie" not in answer.headers


@each_server
def test_a_loop(site):
    answer = ask(site, "POST", "/create", {"Content-Type": "application/json"},
                 json.dumps({"long_url": site.app_url + "abcdefg"}))
    assert "long_url" in check_problem(answer, 400)["detail"]


@each_server
def test_another_media_type(site):
    check_problem(ask(site, "POST", "/create", {"Content-Type": "image/png"},
                      "long_url=https://example.org/"), 415)


@each_server
def test_a_large_body(site):
    """Above MAX_BODY the answer is curt's own, up to what a server buffers."""
    for size in (65537, 200000, 2 << 20):
        check_problem(ask(site, "POST", "/create",
                          {"Content-Type": "application/json"}, b"{" * size),
                      413)


@each_server
def test_a_large_chunked_body(site):
    for size in (65537, 200000):
        check_problem(ask(site, "POST", "/create",
                          {"Content-Type": "application/json"},
                          iter([b"{" * size]), encode_chunked=True), 413)


@each_server
def test_the_largest_body(site):
    body = json.dumps({"long_url": LONG_URL}).ljust(65536)
    answer = ask(site, "POST", "/create", {"Content-Type": "application/json"},
                 body)
    assert answer.status == 200, answer.text


@each_server
def test_a_browser_gets_a_page(site):
    for language, words in (("en", "There is no such link."),
                            ("de-AT,de;q=0.9,en;q=0.5",
                             "Diesen Link gibt es nicht.")):
        answer = ask(site, "GET", "/t/0000000", {
            "Accept": BROWSER, "Accept-Language": language})
        text = check_page(answer, 404)
        assert answer.headers["content-language"] == language[:2]
        assert words in text


# ---- The page and its files ----------------------------------------------

FILES = {
    "style.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


def check_page(answer, status=200):
    """The answer is a page that curt made, with what protects its reader, each
    field once; returns its text."""
    assert answer.status == status, answer.text
    names = [name.lower() for name, _ in answer.header_list]
    for name, value in (
        ("content-type", "text/html; charset=utf-8"),
        ("content-security-policy", "default-src 'none'; "),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "same-origin"),
        ("cache-control", "no-store"),
        ("vary", "Accept"),
    ):
        assert names.count(name) == 1, (name, answer.header_list)
        assert answer.headers[name].startswith(value), answer.header_list
    # Apache httpd takes out the space.
    assert re.fullmatch("Accept, ?Accept-Language", answer.headers["vary"])
    assert answer.text.startswith("<!DOCTYPE html>")
    return answer.text


def check_file(server, target, kind, caching, host):
    """A file of the page: what it is, and that a client which has it is told
    so, whatever encodings it takes. Returns its body."""
    fields = {**host, "Accept-Encoding": "gzip, deflate, br"}
    answer = ask(server, "GET", target, fields)
    assert answer.status == 200, (target, answer.text)
    names = [name.lower() for name, _ in answer.header_list]
    for name, value in (("content-type", kind), ("cache-control", caching),
                        ("x-content-type-options", "nosniff"), ("etag", None)):
        assert names.count(name) == 1, (name, answer.header_list)
        assert answer.headers[name] == value or value is None
    tag = answer.headers["etag"]
    for tags in (tag, '"other", W/%s' % tag):
        again = ask(server, "GET", target, {**fields, "If-None-Match": tags})
        assert (again.status, again.body) == (304, b"")
        assert again.headers["etag"] == tag
    assert ask(server, "GET", target,
               {**fields, "If-None-Match": '"other"'}).body == answer.body
    return answer.body


def check_page_and_files(server, prefix, host=None, homes=("/",)):
    """What a browser gets that opens the short domain. The page has the same
    text wherever it is, and names its files with their version."""
    host = host or {}
    text = check_page(ask(server, "GET", prefix, host))
    for target in homes:
        for path in (target, target + "?utm_source=mail"):
            assert check_page(ask(server, "GET", path, host)) == text
        head = ask(server, "HEAD", target, host)
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-type"] == "text/html; charset=utf-8"
    for name, kind in FILES.items():
        [versioned] = re.findall(
            r'"%s(\?v=[0-9a-f]+)"' % re.escape(prefix + name), text)
        body = check_file(server, prefix + name + versioned, kind,
                          "public, max-age=31536000, immutable", host)
        # A "+" is not a space, and another query not this version.
        for query in ("", "?v=0", versioned + "+", versioned + "&"):
            assert check_file(server, prefix + name + query, kind,
                              "public, max-age=3600", host) == body


def check_root_files(server, prefix, host=None):
    """robots.txt and favicon.ico; returns the latter's body."""
    host = host or {}
    robots = ask(server, "GET", "/robots.txt", host)
    assert robots.status == 200
    assert robots.headers["content-type"] == "text/plain; charset=utf-8"
    assert "Disallow: %s*+$\n" % prefix in robots.text
    return check_file(server, "/favicon.ico", "image/x-icon",
                      "public, max-age=3600", host)


@each_server
def test_the_page_and_its_files(site):
    check_page_and_files(site, "/t/")


@each_server
def test_robots_and_the_icon(site):
    assert check_root_files(site, "/t/")[:4] == b"\0\0\1\0"


@each_server
def test_a_preview_and_a_qr_code(site):
    """Neither is a hit."""
    path = create(site)
    for plus in ("+", "%2B", "%2b", "+?a=b"):
        text = check_page(ask(site, "GET", path + plus))
        assert site.url + path in text and "www.example.org" in text
        assert ask(site, "HEAD", path + plus).status == 200
    check_page(ask(site, "GET", "/t/0000000+", {"Accept": BROWSER}), 404)
    for query, kind, start in (
            ("", "image/svg+xml", b"<"),
            ("?format=png&size=300", "image/png", b"\x89PNG\r\n\x1a\n")):
        assert check_file(site, path + ".qr" + query, kind,
                          "public, max-age=3600", {}).startswith(start)
    assert item(site, path)["hits"] == 0


@each_server
def test_path_and_query_arrive_as_they_were_sent(site):
    target = "/t/no-id+%2B.qr?format=png&size=300&a=%2B+%20&&b=?c=/../"
    problem = check_problem(ask(site, "GET", target), 404)
    assert problem["instance"] == target


@each_server
def test_the_form_of_the_page(site):
    """As a browser posts it; the same for all who have no JavaScript."""
    fields = {"Accept": BROWSER, "Origin": site.url,
              "Sec-Fetch-Site": "same-origin",
              "Content-Type": "application/x-www-form-urlencoded"}
    text = check_page(ask(site, "POST", "/create", fields,
                          "long_url=https%3A%2F%2Fwww.example.org%2Fa%2Bb"))
    [path] = set(re.findall(r'href="%s(/t/\w+)"' % re.escape(site.url), text))
    assert ask(site, "GET", path).headers["location"] == \
        "https://www.example.org/a+b"
    text = check_page(ask(site, "POST", "/create", fields,
                          "long_url=ftp%3A%2F%2Fx%2F%22"), 400)
    assert "ftp://x/&quot;" in text and 'role="alert"' in text


# ---- What the web server tells curt -------------------------------------


@each_server
def test_the_trace_id_comes_back(site):
    answer = ask(site, "GET", "/t/0000000", {"X-Amzn-Trace-Id": TRACE})
    assert answer.headers["x-amzn-trace-id"] == TRACE
    assert json.loads(answer.text)["trace_id"] == TRACE


@each_server
def test_a_trace_id_is_made(site):
    path = create(site)
    first, second = (ask(site, "GET", path).headers["x-amzn-trace-id"]
                     for _ in range(2))
    assert MADE_TRACE.match(first) and MADE_TRACE.match(second)
    assert first != second


def test_what_is_stored_of_the_client(site):
    path = create(site, headers={"User-Agent": "tester/1.0 (né)".encode("utf-8"),
                                 "X-Amzn-Trace-Id": TRACE})
    stored = item(site, path)
    assert stored["long_url"] == LONG_URL
    assert stored["short_url"] == site.url + path
    assert stored["analytics"] == {
        "user_agent": "tester/1.0 (né)",
        "source_ip": "127.0.0.1",
        "xray_trace_id": TRACE,
        "q": "1",
        "lang": "en",
    }


@pytest.fixture
def stored(site, request):
    """stored(ID): long_url, source_ip and hits, read by another program than
    curt: SQLite's own or boto3."""
    if site.store == "sqlite":
        file = site.settings["STATE_DIR"] + "/curt.db"
        with contextlib.closing(sqlite3.connect(
                "file:%s?mode=ro" % file, uri=True)) as database:
            def read(short_id):
                [(long_url, analytics, hits)] = database.execute(
                    "SELECT long_url, analytics, hits FROM links"
                    " WHERE short_id = ?", [short_id]).fetchall()
                return long_url, json.loads(analytics)["source_ip"], hits

            yield read
        return
    client = request.getfixturevalue("dynamodb_local").client()

    def read(short_id):
        item = client.get_item(
            TableName=site.settings["TABLE"], ConsistentRead=True,
            Key={"short_id": {"S": short_id}})["Item"]
        return (item["long_url"]["S"], item["analytics"]["M"]["source_ip"]["S"],
                int(item["hits"]["N"]))

    yield read


def test_the_link_is_in_the_store_itself(site, stored):
    path = create(site)
    short_id = path.rpartition("/")[2]
    item = (LONG_URL, "127.0.0.1")
    assert stored(short_id) == (*item, 0)
    assert ask(site, "GET", path).status == 301
    wait_until(lambda: stored(short_id) == (*item, 1),
               "the hit is moved to the store", interval=0.1)


@each_server
def test_a_client_cannot_choose_its_address(site):
    """Nor is an absent User-Agent anything but null."""
    path = create(site, headers={"X-Forwarded-For": "203.0.113.9",
                                 "Remote-Addr": "203.0.113.9",
                                 "X-Real-IP": "203.0.113.9"})
    analytics = item(site, path)["analytics"]
    assert analytics["source_ip"] == "127.0.0.1"
    assert analytics["user_agent"] is None


# ---- The site around it --------------------------------------------------


def check_site_file(server, target, name=None, host=None):
    """The answer is that file of the site."""
    answer = ask(server, "GET", target, host)
    expected = webservers.SITE_FILES[name or target[1:]]
    assert (answer.status, answer.text) == (200, expected), target


@each_server
def test_other_paths_are_untouched(site):
    for name in webservers.SITE_FILES.keys() - {
            "t/index.html", "robots.txt", "favicon.ico"}:
        check_site_file(site, "/" + name)
    for target in ("/create.d/", "/tea/", "/sub/t/"):
        check_site_file(site, target, target[1:] + "index.html")
    for target in ("/Create", "/T/abcdefg", "/creat", "/create/x", "/nothing",
                   "/robots.tx", "/robotsxtxt", "/favicon.ico2", "/style.css"):
        answer = ask(site, "GET", target)
        assert answer.text == webservers.SITE_ERROR, target


@each_server
def test_a_kept_connection(site):
    """Many requests of all kinds, one after the other, on one connection.
    (Not those that get a 400: Apache httpd closes after it.)"""
    path = create(site)
    connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
    connection.connect()
    port = connection.sock.getsockname()
    for _ in range(5):
        for method, target, body, status in (
            ("GET", path, None, 301),
            ("HEAD", path, None, 301),
            ("GET", "/t/0000000", None, 404),
            ("POST", "/create", json.dumps({"long_url": LONG_URL}), 200),
            ("GET", "/index.html", None, 200),
            ("GET", "/create", None, 405),
            ("PUT", path, "{", 405),
        ):
            connection.request(method, target, body)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == status, (method, target)
            assert connection.sock, "closed after %s %s" % (method, target)
            assert connection.sock.getsockname() == port
    connection.close()


# Requests of clients that send slowly.
SLOW = [
    b"",
    b"GET /t/abc HTTP/1.1\r\nHost: x\r\nX-Slow: ",
    b"POST /create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Content-Length: 60000\r\n\r\n{",
    b"POST /create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Content-Length: 60000\r\n\r\n{" + b" " * 40000,
    b"GET /t/zz HTTP/1.1\r\nHost: x\r\nContent-Length: 60000\r\n\r\n{",
]


@each_server
def test_slow_clients(site):
    """200 of them: more than Apache has threads by default, and more than a
    pool has workers."""
    long_url = "https://example.com/" + "&" * 7900
    path = create(site, long_url)
    slow = []
    reader = ("GET %s HTTP/1.1\r\nHost: x\r\n\r\n" % path).encode()
    for data in SLOW + [reader]:
        for _ in range(34):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            client.settimeout(60)
            client.connect(("127.0.0.1", site.port))
            client.sendall(data)
            slow.append(client)
    # mod_fcgid starts processes for them first.
    for client in slow[-34:]:
        assert client.recv(1) == b"H"
    for _ in range(20):
        assert ask(site, "GET", path).headers["location"] == long_url
    for client in slow:
        client.close()


@on(webservers.EACH_SERVER[:1])
def test_a_domain_for_links_only(site):
    """HOME says what GET of "/" and of the prefix is. Links are what they
    were, and so are robots.txt and favicon.ico."""
    for home in ("off", "https://www.example.org/a?b=+c"):
        with changed(site.pool, HOME=home):
            for target in ("/", "/t/"):
                answer = ask(site, "GET", target)
                if home == "off":
                    check_problem(answer, 404)
                    page = ask(site, "GET", target, {"Accept": BROWSER})
                    assert "<form" not in check_page(page, 404)
                else:
                    assert (answer.status, answer.headers["location"]) == (
                        302, home)
            check_root_files(site, "/t/")
            path = create(site)
            assert ask(site, "GET", path).status == 301
            check_page(ask(site, "GET", path + "+"))


@on(webservers.EACH_SERVER[:1])
def test_the_page_needs_no_store(site):
    """The database is not one: what is not about a link is answered."""
    path = create(site)
    with contextlib.closing(open_db(site.pool)) as db:
        db.execute("ALTER TABLE links RENAME TO gone")
        try:
            assert ask(site, "GET", path + "+").status == 503
            check_page_and_files(site, "/t/")
            check_root_files(site, "/t/")
        finally:
            db.execute("ALTER TABLE gone RENAME TO links")


@on(webservers.EACH_SERVER[2:3])
def test_the_page_through_a_proxy(site):
    """nginx before Apache httpd, with the shipped files of both; then as a
    proxy that has the three paths itself."""
    with webservers.NginxProxy(free_port(), None, site.url) as proxy:
        proxy.start()
        check_page_and_files(proxy, "/t/")
        check_root_files(proxy, "/t/")
        target = "/t/no-id+%2B.qr?format=png&a=%2B+%20"
        problem = check_problem(ask(proxy, "GET", target), 404)
        assert problem["instance"] == target
        check_page(ask(proxy, "GET", create(site) + "+"))
    with webservers.NginxProxy(free_port(), None, site.url,
                               own_home=True) as proxy:
        proxy.start()
        check_site_file(proxy, "/", "index.html")
        check_site_file(proxy, "/robots.txt")
        check_page_and_files(proxy, "/t/", homes=())


@on([setup for setup in webservers.EACH_SERVER
     if not webservers.KINDS[setup[0]].spawns])
def test_the_pool_is_started_again(site):
    """A web server that found no pool asks again at once when there is one;
    only lighttpd takes a moment."""
    path = create(site)
    site.pool.stop()
    assert ask(site, "GET", path).status in (500, 502, 503)
    site.pool.start()
    if site.kind == "lighttpd":
        wait_until(lambda: ask(site, "GET", path).status == 301,
                   "the first redirect")
    for _ in range(5):
        assert ask(site, "GET", path).status == 301


# ---- Set-ups of their own -------------------------------------------------


@pytest.mark.parametrize("kind", webservers.KINDS)
def test_a_site_with_a_page_of_its_own(build, store_settings, kind):
    """It does what the file says, and keeps the three paths. Where the file has
    example lines for those behind a proxy, it has them as well."""
    examples = webservers.KINDS[kind].forwarded_examples
    with webservers.Site(build, kind, store_settings("sqlite"), workers=1,
                         examples=examples, own_home=True) as site:
        for target, name in (("/", "index.html"), ("/robots.txt", None),
                             ("/favicon.ico", None)):
            check_site_file(site, target, name)
        check_page_and_files(site, "/t/", homes=())
        assert ask(site, "GET", create(site)).status == 301
        if examples:
            check_behind_a_proxy(site)


def check_behind_a_proxy(site):
    """The address is the client's, and it is only believed from who is
    trusted."""
    for forwarded, address in (("203.0.113.9", "203.0.113.9"),
                               ("198.51.100.7, 203.0.113.9", "203.0.113.9"),
                               (None, "127.0.0.1")):
        path = create(site, headers=forwarded
                      and {"X-Forwarded-For": forwarded})
        assert item(site, path)["analytics"]["source_ip"] == address


@pytest.mark.parametrize("kind", webservers.KINDS)
def test_ids_at_the_root(build, store_settings, kind):
    """The variant for a short domain: ids are at the root, and /.well-known/
    stays with the site; or with a proxy before it."""
    host = {"Host": "sho.rt"}
    with webservers.Site(build, kind, store_settings("sqlite"), workers=1,
                         at_root=True) as site:
        answer = ask(site, "POST", "/create",
                     {**host, "Content-Type": "application/json"},
                     json.dumps({"long_url": LONG_URL}))
        assert answer.status == 200, answer.text
        assert re.fullmatch(r"http://sho\.rt/[A-Za-z0-9]+", answer.text)
        path = answer.text[len("http://sho.rt"):]
        for target in (path, path + ".", path + "/"):
            answer = ask(site, "GET", target, host)
            assert answer.status == 301
            assert answer.headers["location"] == LONG_URL
        token = ask(site, "GET", "/.well-known/acme-challenge/token", host)
        assert (token.status, token.text) == (200, "a token of the site\n")
        assert ask(site, "GET", "/.well-known/nothing", host).status == 404
        check_problem(ask(site, "GET", "/create", host), 405)
        check_page_and_files(site, "/", host)
        check_root_files(site, "/", host)
        if kind == "nginx":
            check_proxy_at_the_root(site, host)


def check_proxy_at_the_root(site, host):
    """There /.well-known/ stays with the proxy."""
    with webservers.NginxProxy(free_port(), None, site.url,
                               at_root=True) as proxy:
        name = "/.well-known/acme-challenge/token"
        (proxy.docroot / name[1:]).write_text("a token of the proxy\n")
        proxy.start()
        assert ask(proxy, "GET", name, host).text == "a token of the proxy\n"
        check_problem(ask(proxy, "GET", "/abc", host), 404)
        check_page_and_files(proxy, "/", host)
        check_root_files(proxy, "/", host)
