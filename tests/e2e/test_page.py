"""The pages of curt in a real browser, as a person uses them: through each web
server, with and without JavaScript, on a phone and on a desktop."""

import contextlib
import html
import http.server
import json
import re
import shutil
import threading
import urllib.parse
import urllib.request

import pytest

import harness
import proctools
import webservers

PAGE = "/"
BAD_URL = "ftp://example.org/"

# Each value meets each server once; lighttpd-bin-path is lighttpd once more.
CASES = [
    ("lighttpd", True, 360, "light"),
    ("lighttpd", False, 1280, "dark"),
    ("apache-proxy-fcgi", True, 1280, "dark"),
    ("apache-proxy-fcgi", False, 360, "light"),
    ("apache-fcgid", True, 360, "dark"),
    ("apache-fcgid", False, 1280, "light"),
    ("nginx", True, 1280, "light"),
    ("nginx", False, 360, "dark"),
    ("lighttpd-bin-path", True, 1280, "dark"),
]
# Each server once, and each value twice.
FEW_CASES = CASES[0], CASES[2], CASES[5], CASES[7], CASES[8]


def case_id(case):
    kind, script, width, scheme = case
    return "%s-%s-%d-%s" % (kind, "script" if script else "plain", width, scheme)


# Where short links lead: a page of the site itself, or one of another origin.
ARRIVED = "<!DOCTYPE html>\n<html lang=en><title>Arrived</title><p>Here.\n"
LANDING = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Landing</title></head>
<body><p id="marker">you have arrived</p><p id="agent">%s</p></body></html>
"""

# Creates a link from whatever page it is on.
FORGERY = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Forgery</title></head>
<body><script>
fetch("%s/create", {method: "POST", mode: "no-cors", body: JSON.stringify(
    {long_url: "https://www.example.org/" + location.host})}).then((answer) => {
    document.body.innerHTML = "<p id=status>" + answer.status; });
</script></body></html>
"""


class Landing(http.server.BaseHTTPRequestHandler):
    """Keeps the paths that are requested."""

    def do_GET(self):
        self.server.paths.append(self.path)
        page = self.server.page or LANDING % html.escape(
            self.headers["User-Agent"])
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(page.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def landing():
    """A site of another origin: .url, .paths; .page replaces its page."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Landing) as server:
        server.paths, server.page = [], None
        server.url = "http://127.0.0.1:%d" % server.server_port
        threading.Thread(target=server.serve_forever, args=(0.05,)).start()
        yield server
        server.shutdown()


class Visitor:
    """A tab of a visitor of one site, watched all the time."""

    def __init__(self, page, site, scheme="light", width=1280):
        self.site = site
        self.page = page
        self.seen = {}
        self("emulateMedia", {"colorScheme": scheme})
        self("setViewportSize", {"width": width, "height": 800})

    def __call__(self, *args):
        return self.page(*args)

    def go(self, path=PAGE):
        """Opens a page; returns the status of the answer."""
        return self("goto", self.site.url + path)

    def text(self, selector):
        return self("innerText", selector)

    def until(self, expression):
        """Waits until an expression of JavaScript is true."""
        harness.wait_until(lambda: self("evaluate", expression), expression)

    def focused(self):
        return self("evaluate", "document.activeElement.id")

    def shorten(self, url):
        """Sends a URL by the form and waits for the result; returns the short
        URL."""
        shown = self("evaluate", "document.querySelector('#short_url')?.href")
        self.send(url)
        self("waitForSelector", "#short_url:not([href='%s'])" % shown)
        short_url = self.text("#short_url")
        assert re.fullmatch(re.escape(self.site.app_url) + r"\w+", short_url)
        return short_url

    def send(self, url):
        """Puts a URL into the form, and presses Enter, once the answer to what
        was sent before is shown."""
        self.wait_idle()
        self("fill", "#long_url", url)
        self("press", "#long_url", "Enter")

    def wait_idle(self):
        self("waitForSelector", "#create:not([aria-busy='true'])")

    def refused(self, url):
        """The same for a URL that is refused: returns its message."""
        self.send(url)
        self.wait_idle()
        self("waitForSelector", "#error")
        return self.text("#error")

    def check(self, status=None):
        """Nothing was reported, nothing came from elsewhere, nothing is wider
        than the window. status: of an answer that was expected to be one of an
        error, which the browser reports."""
        if status:
            self.reported("the server responded with a status of %s " % status)
        self.look()
        assert self.seen["console"] == self.seen["errors"] == []
        assert self.seen["requests"]
        assert [url for url in self.seen["requests"]
                if not url.startswith((self.site.url + "/", "blob:"))] == []
        self.seen.clear()
        assert self("evaluate", "document.documentElement.scrollWidth"
                    " <= document.documentElement.clientWidth")

    def look(self):
        """Adds what the browser has told since the last look to self.seen."""
        for kind, lines in self.page.seen().items():
            self.seen.setdefault(kind, []).extend(lines)

    def reported(self, text):
        """Waits until the browser has reported text, which it may do a little
        after the page shows it; and all it reports is that."""
        def others():
            self.look()
            return [line for line in self.seen["console"] if text not in line]

        harness.wait_until(lambda: others() != self.seen["console"], text)
        self.seen["console"] = others()


@pytest.fixture(scope="module")
def sites(build, module_store_settings):
    """sites("nginx"): a site of that kind, started at the first call."""
    started = {}

    def get(kind):
        if kind not in started:
            site = webservers.Site(build, kind, module_store_settings("sqlite"),
                                   workers=1)
            (site.server.docroot / "arrived.html").write_text(ARRIVED)
            site.target = site.url + "/arrived.html"
            started[kind] = site.start()
        return started[kind]

    yield get
    for site in started.values():
        site.stop()


@pytest.fixture(scope="module")
def tabs(browser, sites):
    """Tabs for visitors, by their options: a new one takes most of the time of
    a test. They are closed before the web servers end: lighttpd waits for the
    connections that the browser opened and does not use."""
    opened = {}
    yield opened
    for page in opened.values():
        page("context.close")


@pytest.fixture
def visit(browser, sites, tabs):
    """visit(…): a Visitor. What it stores is removed after the test; with new,
    it has a profile of its own and closes its tab."""
    visitors = []

    def open_page(site="nginx", new=False, scheme="light", width=1280,
                  **options):
        if isinstance(site, str):
            site = sites(site)
        options = {"locale": "en-GB", "javaScriptEnabled": True,
                   "bypassCSP": False, **options}
        key = tuple(options.values())
        page = None if new else tabs.pop(key, None)
        page = page or browser.open(**options)
        visitors.append((None if new else key, Visitor(page, site, scheme,
                                                       width)))
        return visitors[-1][1]

    yield open_page
    for key, visitor in visitors:
        if key is None:
            visitor("context.close")
            continue
        visitor.go("/t/style.css")
        visitor("evaluate", "localStorage.clear()")
        visitor("goto", "about:blank")
        visitor.page.seen()
        tabs[key] = visitor.page


@pytest.fixture(params=CASES, ids=case_id)
def visitor(request, visit):
    kind, script, width, scheme = request.param
    return visit(kind, javaScriptEnabled=script, width=width, scheme=scheme)


def item(site, short_url):
    return json.loads(
        site.tool("get", short_url.rpartition("/")[2], "--json").stdout)


# ---- What it is for ----------------------------------------------------


def test_a_link_is_made_and_followed(visitor, landing):
    long_url = (landing.url + "/a/long/page;v=1/" + "x" * 1500 + "?q=caf%C3%A9"
                "&x=<1>&list=1&list=2&plus=a+b&pct=100%25#the-part")
    visitor.go()
    short_url = visitor.shorten(long_url)
    long_url = long_url.replace("<1>", "%3C1%3E")
    assert item(visitor.site, short_url)["long_url"] == long_url
    assert visitor("getAttribute", "#short_url", "href") == short_url
    assert long_url in visitor.text("#result")
    visitor.check()
    visitor("click", "#preview")
    visitor("waitForSelector", "#target")
    assert visitor("getAttribute", "#target", "href") == long_url
    visitor.check()
    visitor("click", "#target")
    visitor("waitForURL", long_url)
    visitor("goto", short_url)
    assert visitor("url") == long_url
    assert visitor.text("#marker") == "you have arrived"
    assert "Chrome" in visitor.text("#agent")
    target = urllib.parse.urlsplit(long_url)
    assert landing.paths.count(target.path + "?" + target.query) == 2
    # Of the short link only. During a flush "curt get" may count a hit twice.
    harness.wait_until(lambda: item(visitor.site, short_url)["hits"] == 1,
                       "one hit")


@pytest.mark.parametrize("visitor", FEW_CASES, ids=case_id, indirect=True)
def test_mistakes_are_shown(visitor):
    """Of the form: beside the field, which keeps its text. Of an address: on a
    page."""
    visitor.go()
    assert "http" in visitor.refused(BAD_URL)
    assert visitor("inputValue", "#long_url") == BAD_URL
    assert visitor.focused() == "long_url"
    assert visitor("getAttribute", "#long_url", "aria-invalid") == "true"
    assert "error" in visitor("getAttribute", "#long_url", "aria-describedby")
    visitor.check(400)
    assert visitor.refused("")
    assert visitor.focused() == "long_url"
    visitor.shorten(visitor.site.target)
    assert not visitor("isVisible", "#error")
    visitor.check(400)
    assert visitor.go("/t/0000000") == 404
    for text in (visitor.text("h1"), visitor.text("#detail"), visitor("title")):
        assert "There is no such link." in text
    assert webservers.SITE_ERROR.strip() not in visitor("content")
    visitor.check(404)
    assert visitor.go("/create") == 405
    assert visitor.text("h1")
    visitor.check(405)


# ---- With JavaScript ---------------------------------------------------


CLIPBOARD = {"permissions": ["clipboard-read", "clipboard-write"]}


def test_the_copy_button(visit):
    """Also where the browser has no clipboard for scripts: over http."""
    page = visit(new=True, **CLIPBOARD)
    for hide in ("", "delete Navigator.prototype.clipboard;"):
        page("addInitScript", {"content": hide})
        page.go()
        short_url = page.shorten(page.site.target)
        label = page.text("#copy")
        page("click", "#copy")
        page.until("document.querySelector('#copy').innerText !== %s"
                   % json.dumps(label))
        # Read by pasting it where a person would.
        page("fill", "#long_url", "")
        page("press", "#long_url", "Control+V")
        assert page("inputValue", "#long_url") == short_url
        page.check()


def recent(page):
    """The short URLs in the list of recent links, if it is shown."""
    if not page("isVisible", "#recent"):
        return []
    return page("evaluate", "[...document.querySelectorAll('#recent a')]"
                ".map((a) => a.innerText)")


def test_recent_links_stay_until_they_are_forgotten(visit):
    page = visit()
    page.go()
    assert recent(page) == []
    first = page.shorten(page.site.target)
    second = page.shorten(page.site.target + "?2")
    assert recent(page) == [second, first]
    page("reload")
    assert recent(page) == [second, first]
    assert not page("isVisible", "#short_url")
    page("click", "#forget")
    assert recent(page) == [] and not page("isVisible", "#forget")
    assert page("evaluate", "localStorage.length") == 0
    page("reload")
    assert recent(page) == []
    page.check()


RECENT = "localStorage.setItem('curt.recent', %s);"
STORAGES = [RECENT % json.dumps(text) for text in (
    "{", "null", "7", "[null, 7, {}, []]", '{"a": 1}',
    # Of a hostile script.
    json.dumps([{"short": "javascript:document.title=1", "long": "http://x/",
                 "date": 0}, {"short": 7},
                {"short": "http://x/", "date": "<b>",
                 "long": "<img src=x onerror=document.title=1>"}]))] + [
    # It is full, or denied.
    "for (let size = 1 << 22; size > 0; size >>= 1) try {"
    " localStorage.setItem(size, 'x'.repeat(size)); } catch {}",
    "Object.defineProperty(window, 'localStorage', {get() {"
    " throw new DOMException('denied', 'SecurityError'); }});"]


def test_any_local_storage_will_do(visit):
    page = visit(new=True)
    page.go()
    for storage in STORAGES:
        if "denied" in storage:
            page("addInitScript", {"content": storage})
        else:
            page("evaluate", "localStorage.clear();" + storage)
        page("reload")
        assert all(url.startswith("http://") for url in recent(page))
        page.shorten(page.site.target)
        assert page("title") != "1"
        page.check()


def test_the_keyboard_is_enough(visit):
    page = visit(new=True, **CLIPBOARD)
    page.go()
    for _ in range(5):
        if page.focused() == "long_url":
            break
        page("keyboard.press", "Tab")
    page("keyboard.type", page.site.target)
    page("keyboard.press", "Enter")
    page("waitForSelector", "#short_url")
    reached = []
    for _ in range(12):
        page("keyboard.press", "Tab")
        reached.append(page.focused())
        # What has the focus is seen to have it.
        assert page("evaluate", "getComputedStyle(document.activeElement)"
                    ".outlineStyle") != "none" or reached[-1] == ""
        if reached[-1] == "copy":
            page("keyboard.press", "Enter")
    for name in ("short_url", "copy", "preview", "long_url", "forget"):
        assert name in reached, reached
    page.until("navigator.clipboard.readText().then((text) => text === %s)"
               % json.dumps(page.text("#short_url")))
    page.check()


def test_a_server_that_is_gone(visit, sites):
    site = sites("lighttpd")
    page = visit(site)
    page.go()
    site.server.kill()
    try:
        assert "server" in page.refused(site.target)
        assert page("inputValue", "#long_url") == site.target
        assert page.focused() == "long_url"
        page.reported("net::ERR_")
    finally:
        site.server.start()
    page.shorten(site.target)
    page.check()


def test_a_store_that_is_away(visit, build):
    """What was typed is kept for the time when the store is back."""
    workdir = harness.make_workdir()
    settings = {
        "STORE": "dynamodb", "TABLE": "links", "STORE_TIMEOUT": 1,
        "STATE_DIR": harness.make_dir(workdir / "state"),
        "RUNTIME_DIR": harness.make_dir(workdir / "run"),
        "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "x", "AWS_ENDPOINT_URL_DYNAMODB":
        "http://127.0.0.1:%d" % harness.free_port()}
    try:
        with webservers.Site(build, "lighttpd", settings, workers=1) as site:
            for script in (True, False):
                page = visit(site, new=True, javaScriptEnabled=script)
                page.go()
                page.send("https://example.org/")
                page("waitForSelector", "#error")
                assert "try again" in page.text("#error")
                assert page("inputValue", "#long_url") == "https://example.org/"
                page.check(503)
                assert page.go("/t/someId") == 503
                assert page.text("h1")
                page.check(503)
                page("context.close")
    finally:
        shutil.rmtree(workdir)


def test_a_domain_for_links_only(visit, sites):
    site = sites("nginx")
    with proctools.changed(site.pool, HOME="off"):
        page = visit(site)
        assert page.go() == 404
        assert page("evaluate", "document.querySelector('form')") is None
        page.check(404)
        request = urllib.request.Request(
            site.url + "/create", b'{"long_url": "https://example.org/"}')
        with urllib.request.urlopen(request) as answer:
            short_url = answer.read().decode()
        assert page("goto", short_url + "+") == 200
        assert page("getAttribute", "#target", "href") == "https://example.org/"
        page.check()


def test_a_page_of_another_site_creates_nothing(visit, sites, landing):
    """The same script on a page of the site, of another port, of another
    host: the browser sends each request, and curt knows which is its own."""
    site = sites("nginx")
    landing.page = FORGERY % site.url
    (site.server.docroot / "own.html").write_text(landing.page)
    page = visit(site)
    for url, status in (
            # Of an answer across origins a page sees nothing.
            (landing.url + "/", "0"),
            (landing.url.replace("127.0.0.1", "localhost") + "/", "0"),
            (site.url + "/own.html", "200")):
        page("goto", url)
        assert page.text("#status") == status
    with proctools.open_db(site.pool) as db:
        links = db.execute("SELECT long_url FROM links WHERE"
                           " long_url LIKE 'https://www.example.org/%'")
        assert links.fetchall() == [
            ("https://www.example.org/127.0.0.1:%d" % site.port,)]


# ---- Everybody can use it ----------------------------------------------


def pages_of(page):
    """Goes to each kind of page in turn; yields its name."""
    page.go()
    yield "home"
    page.refused(BAD_URL)
    yield "error"
    short_url = page.shorten(page.site.target)
    yield "result"
    page("goto", short_url + "+")
    yield "preview"
    page.go("/t/0000000")
    yield "404"


@pytest.mark.parametrize("color", [None, "#ffd400", "#ffffff"])
def test_axe_finds_nothing(visit, sites, color):
    faults = {}
    site = sites("lighttpd")
    with (proctools.changed(site.pool, SITE_COLOR=color) if color
          else contextlib.nullcontext()):
        page = visit(site, width=360)
        for name in pages_of(page):
            for scheme in ("light", "dark"):
                page("emulateMedia", {"colorScheme": scheme})
                # All but the colours is the same in both.
                faults[name, scheme] = page.page.axe(
                    {"runOnly": ["color-contrast"]}
                    if color or scheme == "dark" else None)
    assert {key: found for key, found in faults.items() if found} == {}
    assert len(faults) == 10


# ---- Fast and small ----------------------------------------------------


FIRST_LOAD = """(() => {
    const entries = performance.getEntriesByType("navigation")
        .concat(performance.getEntriesByType("resource"));
    const paint = performance.getEntriesByName("first-contentful-paint");
    return {bytes: entries.reduce((sum, e) => sum + e.transferSize, 0),
            paint: paint.length && paint[0].startTime};
})()"""


def test_the_first_load_is_small(visit, capsys):
    """The browser that draws no window fetches no icon: it is counted in."""
    page = visit("lighttpd", new=True)
    page.go()
    page.until(FIRST_LOAD + ".paint > 0")
    load = page("evaluate", FIRST_LOAD)
    requests = page.page.seen()["requests"]
    icon = page("evaluate", "document.querySelector('[rel=icon]').href")
    if icon not in requests:
        with urllib.request.urlopen(icon) as answer:
            load["bytes"] += len(answer.read()) + 300
        requests.append(icon)
    assert len(requests) <= 4, requests
    assert load["bytes"] <= 40 * 1024
    with capsys.disabled():
        print("\nfirst load: %d requests, %d bytes, first paint after %.0f ms"
              % (len(requests), load["bytes"], load["paint"]))


# ---- Hostile texts -----------------------------------------------------


SCRIPT = "<script>ran=1</script>"

# What goes into the form; all but the first two are refused.
TYPED = [
    "https://example.org/'\"><img src=x onerror=ran=1>" + SCRIPT,
    "https://example.org/" + "\u202egpj.exe/" + "%41" * 2600,
    "\"><img src=x onerror=ran=1>" + SCRIPT + "' onfocus=ran=1 autofocus x='",
    "javascript:ran=1//</title></textarea>" + SCRIPT,
    "http://\u202egpj.exe/", "{{short_url}}{{{main}}}",
    "https://example.org/" + "x" * 8000, "x" * 40000,
]

# What another program may have put into the store: whether it can be served.
STORED = {
    "https://example.org/?'\"><img src=x onerror=ran=1>" + SCRIPT: True,
    "https://example.org/\u202egpj.exe\u2066": True,
    "https://example.org/" + "x" * 7980: True,
    "https://xn--mnchen-3ya.de/</title>" + SCRIPT: True,
    "javascript:ran=1//http://x/": False,
    " java\nscript:ran=1": False,
    "data:text/html," + SCRIPT: False,
    SCRIPT: False,
    "https://example.org/" + "x" * 9000: False,
    b"https://example.org/\xff\xfe<script>": False,
}


def check_nothing_ran(page):
    """No script, no image and no attribute came from a text."""
    assert page("evaluate", """[typeof ran, document.scripts.length,
        [...document.querySelectorAll("*")].flatMap((e) =>
            e.getAttributeNames().filter((name) => name.startsWith("on"))),
        [...document.images].every((image) => image.src.endsWith(".qr"))]
        """) == ["undefined", 1, [], True]


@pytest.mark.parametrize("script, csp", [
    (True, True), (True, False), (False, False)],
    ids=["script-csp", "script", "plain"])
def test_hostile_texts_in_the_form(visit, script, csp):
    page = visit(javaScriptEnabled=script, bypassCSP=not csp, width=360)
    page.go()
    for i, text in enumerate(TYPED):
        if i < 2:
            page.shorten(text)
        else:
            page.refused(text)
        if i >= 2 and len(text) < 20000:
            assert page("inputValue", "#long_url") == text
        check_nothing_ran(page)
        page.check(400 if i >= 2 else None)
    page.go()
    assert len(recent(page)) == (2 if script else 0)
    check_nothing_ran(page)
    if script:
        # The check itself: what the policy allows, and what it prevents.
        page("evaluate", "document.body.insertAdjacentHTML('beforeend',"
             " '<img src=x onerror=ran=1>')")
        page.until("typeof ran === %r" % ("undefined" if csp else "number"))


@pytest.mark.parametrize("csp", [True, False], ids=["csp", "no-csp"])
def test_hostile_items(visit, sites, csp):
    """The preview of a foreign item leads where the redirect leads, or is
    refused as that is."""
    site = sites("nginx")
    page = visit(site, bypassCSP=not csp, width=360)
    other = "'\"><img src=x onerror=ran=1>\u202e" + SCRIPT
    for i, (long_url, served) in enumerate(STORED.items()):
        short_id = "hostile%d%d" % (i, csp)
        with proctools.open_db(site.pool) as db:
            db.execute("INSERT INTO links (short_id, long_url, short_url,"
                       " created_at, ttl, hits, analytics) VALUES"
                       " (?, CAST(? AS TEXT), ?, ?, NULL, 0, '{}')",
                       (short_id, long_url, "javascript:ran=1//" + other, other))
        redirect = site.pool.request("GET", "/t/" + short_id)
        assert redirect.status == (301 if served else 500), long_url
        status = page.go("/t/%s+" % short_id)
        assert status == (200 if served else 500), long_url
        check_nothing_ran(page)
        page.check(None if served else 500)
        targets = page("evaluate", "[...document.querySelectorAll('main a')]"
                       ".map((a) => a.getAttribute('href'))")
        if served:
            target = redirect.headers["location"]
            assert targets.count(target) == 2
            assert page.text("#target") == target
            assert page.text("h1") and other[:5] not in page.text("main")
        assert [t for t in targets if not t.startswith(("http", "/"))] == []


# ---- Languages ---------------------------------------------------------


# All that is read or read out of a document, hidden or not: the texts and the
# attributes, and the language first.
TEXTS = """(page) => {
    const texts = [page.documentElement.lang, page.title];
    const walker = page.createTreeWalker(page.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode())
        texts.push(walker.currentNode.data);
    for (const element of page.querySelectorAll("*"))
        for (const {name, value} of element.attributes)
            if (/^(alt|title|placeholder|data-.*|aria-label)$/.test(name))
                texts.push(value);
    return texts.map((text) => text.trim());
}"""

# The same of a page that is not opened.
FETCH = """fetch("%s", {headers: {Accept: "text/html"}})
    .then((answer) => answer.text())
    .then((text) => new DOMParser().parseFromString(text, "text/html"))
    .then(TEXTS)""".replace("TEXTS", TEXTS.replace("%", "%%"))

# Not a language's: addresses, names, numbers, times, references.
NEUTRAL = re.compile(r"(https?://\S*|[\w.-]+\.\w+|curt|Root=\S+|[\W\d]+|UTC)*")


def texts_of(page, paths):
    """{page: its texts, the language first}"""
    shown = "(%s)(document)" % TEXTS
    page.go()
    found = {path: page("evaluate", FETCH % path) for path in paths}
    found["home"] = page("evaluate", shown)
    page.refused(BAD_URL)
    found["refused"] = page("evaluate", shown)
    page.shorten(page.site.target)
    found["result"] = page("evaluate", shown)
    return found


def test_every_page_in_every_language(visit, sites):
    site = sites("nginx")
    short_id = proctools.make_link(site.pool, site.target)
    with proctools.open_db(site.pool) as db:
        proctools.insert_links(db, [("expired1", 1700000000)])
        db.execute("UPDATE links SET ttl = unixepoch() - 60 WHERE"
                   " short_id = 'expired1'")
        proctools.insert_links(db, [("damaged1", None)])
        db.execute("UPDATE links SET long_url = 'x' WHERE short_id = 'damaged1'")
    paths = ["/t/0000000", "/create", "/t/expired1", "/t/damaged1",
             "/t/%s+" % short_id]
    found = {locale: texts_of(visit(site, locale=locale), paths)
             for locale in ("en-GB", "de-AT", "fr", "es-MX")}
    left = {}
    for locale, pages in found.items():
        for name, texts in pages.items():
            assert texts[0] == locale[:2] and len(set(texts)) > 5
            left[locale, name] = {
                text for text in set(texts) & set(found["en-GB"][name])
                if not NEUTRAL.fullmatch(text)}
    # The check itself.
    assert all(left.pop(("en-GB", name)) for name in found["en-GB"])
    assert {key: same for key, same in left.items() if same} == {}
