"""A real browser opens short URLs through each web server."""

import html
import http.server
import json
import re
import shutil
import sqlite3
import subprocess
import threading
import urllib.parse
import urllib.request

import pytest

import harness
import webservers
from browser import find_chromium

MARKER = "you have arrived 6f1d2c"

# The page shows where the browser thinks it is, so that a page which only
# looks right does not do.
PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Landing</title></head>
<body><p id="marker">%s</p><p id="where"></p><p id="agent">%s</p>
<script>document.getElementById("where").textContent = location.href;</script>
</body></html>
"""


# Creates a link from whatever page it is on, without asking anyone.
FORGERY = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Forgery</title></head>
<body><p id="status">none</p>
<script>
fetch("%s/create", {method: "POST", mode: "no-cors", body: JSON.stringify(
    {long_url: "https://www.example.org/" + location.host})}).then((answer) => {
    document.getElementById("status").textContent = answer.status; });
</script></body></html>
"""


class Landing(http.server.BaseHTTPRequestHandler):
    """Where long URLs lead; remembers what was asked of it."""

    def do_GET(self):
        self.server.asked.append(self.path)
        page = self.server.page or PAGE % (
            MARKER, html.escape(self.headers.get("User-Agent", "")))
        self.send_response(200)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.end_headers()
        self.wfile.write(page.encode())

    def log_message(self, *_):
        pass


@pytest.fixture
def landing():
    """The server of the long URLs: .url, .asked."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Landing)
    server.asked = []
    server.page = None
    server.url = "http://127.0.0.1:%d" % server.server_port
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class Browser:
    """Headless Chromium, each visit with a new, empty profile."""

    def __init__(self, workdir):
        self.workdir = workdir
        self.program = find_chromium()
        self.visits = 0

    def visit(self, url):
        """Opens url; returns the page it ends on, as the DOM's text."""
        self.visits += 1
        profile = self.workdir / ("profile-%d" % self.visits)
        profile.mkdir()
        process = subprocess.Popen(
            harness.end_with_parent([
             self.program, "--headless", "--no-sandbox", "--disable-gpu",
             "--disable-quic", "--disable-dev-shm-usage", "--no-first-run",
             "--disable-background-networking", "--disable-component-update",
             "--disable-sync", "--disable-extensions", "--no-proxy-server",
             "--user-data-dir=%s" % profile, "--virtual-time-budget=10000",
             "--dump-dom", url]),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, cwd=self.workdir,
            env=harness.child_env(self.workdir, {"HOME": str(self.workdir)}),
            start_new_session=True)
        try:
            out, err = process.communicate(timeout=120)
        except subprocess.TimeoutExpired:
            # The whole session that was made above: chromium is many.
            harness.kill_group(process.pid)
            process.communicate()
            raise
        text = out.decode("utf-8")
        assert process.returncode == 0 and text, (
            process.returncode, err.decode(errors="replace")[-3000:])
        return text


@pytest.fixture(scope="module")
def browser():
    workdir = harness.make_workdir()
    yield Browser(workdir)
    shutil.rmtree(workdir, ignore_errors=True)


# What a browser sees does not depend on the store.
each_server = pytest.mark.parametrize("site", webservers.EACH_SERVER,
                                      ids=webservers.setup_id,
                                      indirect=True, scope="module")


def create(site, long_url):
    """Creates a link and returns its short URL."""
    request = urllib.request.Request(
        site.url + "/create", json.dumps({"long_url": long_url}).encode(),
        {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.read().decode()


def element(dom, name):
    found = re.search(r'<(\w+) id="%s">([^<]*)</\1>' % name, dom)
    assert found, dom[:3000]
    return html.unescape(found.group(2))


@each_server
def test_a_browser_lands_on_the_long_url(site, browser, landing):
    long_url = (landing.url + "/a/long/page;v=1/" + "x" * 1500
                + "?q=caf%C3%A9&list=1&list=2&plus=a+b&pct=100%25#the-part")
    short_url = create(site, long_url)
    dom = browser.visit(short_url)
    assert element(dom, "marker") == MARKER
    assert element(dom, "where") == long_url
    assert "Chrome" in element(dom, "agent")
    target = urllib.parse.urlsplit(long_url)
    assert landing.asked.count(target.path + "?" + target.query) == 1
    shown = json.loads(
        site.tool("get", short_url.rpartition("/")[2], "--json").stdout)
    assert shown["hits"] == 1


@each_server
def test_a_browser_shows_the_page_for_an_unknown_id(site, browser, landing):
    dom = browser.visit(site.app_url + "0000000")
    title = re.search(r"<title>([^<]*)</title>", dom)
    assert title and "There is no such link." in html.unescape(title[1]), dom
    assert element(dom, "detail") == "There is no such link."
    assert webservers.SITE_ERROR.strip() not in dom
    assert MARKER not in dom and landing.asked == []


def test_a_page_of_another_site_creates_nothing(build, store_settings, browser,
                                                landing):
    """The same script on a page of the site, of another port, of another
    host: the browser sends each request, and curt knows which is its own."""
    settings = store_settings("sqlite")
    with webservers.Site(build, "nginx", settings) as site:
        page = landing.page = FORGERY % site.url
        (site.server.docroot / "own.html").write_text(page)
        for url in (landing.url, landing.url.replace("127.0.0.1", "localhost")):
            # Of an answer across origins a page sees nothing.
            assert element(browser.visit(url + "/"), "status") == "0"
        assert element(browser.visit(site.url + "/own.html"), "status") == "200"
        with sqlite3.connect(settings["STATE_DIR"] + "/curt.db") as db:
            links = db.execute("SELECT long_url FROM links").fetchall()
        assert links == [("https://www.example.org/127.0.0.1:%d" % site.port,)]
