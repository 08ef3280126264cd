"""deploy/haproxy/haproxy.cfg as shipped, in front of two hosts, each lighttpd
and a pool, with one DynamoDB table."""

import http.client
import http.server
import itertools
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import threading
import time
import uuid
from collections import Counter

import pytest

import harness
import webservers
from dynamodb_local import all_items

GUIDE = (harness.ROOT / "doc" / "production.md").read_text()
SHIPPED = harness.ROOT / "deploy" / "haproxy" / "haproxy.cfg"
HOSTS = ("host1", "host2")


class Host(webservers.Site):
    """A host with lighttpd, as haproxy.cfg and curt.conf of lighttpd have it:
    ids at the root of https://sho.rt/, haproxy trusted."""

    def __init__(self, build, settings):
        super().__init__(build, "lighttpd", settings, workers=1, at_root=True,
                         examples=webservers.Lighttpd.forwarded_examples)
        self.pool.settings["APP_URL"] = "https://sho.rt/"

    def slay(self):
        """kill -9 of all its processes."""
        pids = [pid for process in (self.server, self.pool)
                for pid in [process.pid] + harness.descendants_of(process.pid)]
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        harness.wait_until(lambda: not any(map(harness.alive, pids[1:])),
                           "end of the host")
        self.server.kill()
        self.pool.kill()

    def redirects_directly(self, short_id):
        return request(self.port, "GET", "/" + short_id)[0] == 301


class Haproxy(harness.Process):
    name = "haproxy"
    stop_signal = signal.SIGUSR1  # the graceful end

    def __init__(self, ports):
        super().__init__()
        self.ports = ports
        self.http = harness.free_port()
        self.https = harness.free_port()
        self.acme = harness.free_port()
        self.admin = self.workdir / "admin.sock"

    def certify(self):
        """A certificate for sho.rt, and the guide's commands with it."""
        self.ca = self.workdir / "fullchain.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
             "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
             "/CN=sho.rt", "-addext", "subjectAltName=DNS:sho.rt",
             "-keyout", self.workdir / "privkey.pem", "-out", self.ca],
            check=True, capture_output=True)
        script = re.search(r"^    sudo install -d .*\n(?:    .*\n)*?"
                           r".*sho\.rt\.pem$", GUIDE, re.M)[0]
        for old in ("/etc/haproxy", "/etc/letsencrypt/live/sho.rt"):
            assert old in script
            script = script.replace(old, str(self.workdir))
        subprocess.run(["sh", "-ec", script.replace("sudo ", "")], check=True)
        return self.workdir / "certs"

    def start(self):
        text = SHIPPED.read_text()
        root = os.geteuid() == 0
        for old, new in (
            ("bind :::80 v4v6", "bind 127.0.0.1:%d" % self.http),
            ("bind :::443 v4v6", "bind 127.0.0.1:%d" % self.https),
            ("10.0.0.11:80", "127.0.0.1:%d" % self.ports[0]),
            ("10.0.0.12:80", "127.0.0.1:%d" % self.ports[1]),
            ("127.0.0.1:8888", "127.0.0.1:%d" % self.acme),
            ("crt /etc/haproxy/certs/", "crt %s/" % self.certify()),
            ("/run/haproxy/admin.sock", self.admin),
            ("    user haproxy\n    group haproxy\n",
             "    user haproxy\n    group haproxy\n" if root else ""),
            ("    chroot /var/lib/haproxy\n",
             "    chroot /var/lib/haproxy\n" if root else ""),
        ):
            assert text.count(old) == 1, old
            text = text.replace(old, str(new))
        conf = self.workdir / "haproxy.cfg"
        conf.write_text(text)
        haproxy = harness.find_program("haproxy")
        done = subprocess.run([haproxy, "-c", "-f", conf], text=True,
                              capture_output=True, timeout=60)
        assert done.returncode == 0, done.stderr
        assert "WARNING" not in done.stdout + done.stderr
        self.spawn([haproxy, "-db", "-f", conf])
        self.wait_ready(self.checked)
        return self

    def command(self, text):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(str(self.admin))
            s.sendall(text.encode() + b"\n")
            answer = b""
            while data := s.recv(65536):
                answer += data
        return answer.decode()

    def guided(self, text):
        """A command of the guide to this haproxy."""
        [line] = re.findall(r"^    (echo '%s' .*)" % text, GUIDE, re.M)
        assert "/run/haproxy/admin.sock" in line
        done = subprocess.run(
            ["sh", "-ec", line.replace("sudo ", "").replace(
                "/run/haproxy/admin.sock", str(self.admin))],
            check=True, capture_output=True, text=True)
        return done.stdout

    def stats(self):
        try:
            lines = self.command("show stat").strip().splitlines()
        except OSError:
            return {}
        names = lines[0].lstrip("# ").split(",")
        rows = [dict(zip(names, line.split(","))) for line in lines[1:]]
        return {row["svname"]: row for row in rows if row["svname"] in HOSTS}

    def state(self, host):
        """UP, also while a check of two has failed, DOWN or DRAIN."""
        return self.stats()[host]["status"].split()[0]

    def checked(self):
        """Whether each host has answered a health check."""
        return [row["check_status"] for row in self.stats().values()] == [
            "L7OK"] * len(HOSTS)

    def served(self, host):
        """How many requests a host has got."""
        return int(self.stats()[host]["stot"])

    def tls(self, alpn=("http/1.1",)):
        context = ssl.create_default_context(cafile=self.ca)
        context.set_alpn_protocols(list(alpn))
        return context

    def connection(self):
        return Connection("sho.rt", self.https, timeout=60, context=self.tls())


class Connection(http.client.HTTPSConnection):
    """To sho.rt, which is on this machine."""

    def connect(self):
        self.sock = self._context.wrap_socket(
            socket.create_connection(("127.0.0.1", self.port), self.timeout),
            server_hostname=self.host)


def talk(connection, method, path, body=None, headers=()):
    connection.request(method, path, body, dict(headers))
    answer = connection.getresponse()
    return answer.status, answer.headers, answer.read()


def request(port, method, path, headers=()):
    """A request over http, to haproxy or straight to a host."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        return talk(connection, method, path,
                    headers={"Host": "sho.rt", **dict(headers)})
    finally:
        connection.close()


JSON = {"Content-Type": "application/json", "Accept": "application/json"}


class Setup:
    """Two hosts, haproxy, and a table."""

    def __init__(self, build, settings, client):
        self.table = settings["TABLE"]
        self.client = client
        for key in ("STATE_DIR", "RUNTIME_DIR"):
            settings.pop(key)  # each host has its own
        self.hosts = [Host(build, settings) for _ in HOSTS]
        self.proxy = Haproxy([host.port for host in self.hosts])

    def __enter__(self):
        try:
            for host in self.hosts:
                host.start()
            self.proxy.start()
        except BaseException:
            self.kill()
            raise
        return self

    def kill(self):
        self.proxy.kill()
        for host in self.hosts:
            host.kill()

    def __exit__(self, kind, value, trace):
        if kind is not None:
            self.kill()
            return
        try:
            self.proxy.cleanup()
            for host in self.hosts:
                host.stop()
        finally:
            self.kill()

    def request(self, method, path, body=None, headers=()):
        connection = self.proxy.connection()
        try:
            return talk(connection, method, path, body, headers)
        finally:
            connection.close()

    def create(self, url, headers=()):
        status, _, body = self.request(
            "POST", "/create", json.dumps({"long_url": url}),
            {**JSON, **dict(headers)})
        assert status == 200, body
        return json.loads(body)["short_id"]

    def items(self):
        return all_items(self.client, self.table)


@pytest.fixture(scope="module")
def setup(build, module_store_settings, dynamodb_local):
    """Shared: each test leaves it complete, and looks at its own links."""
    with Setup(build, module_store_settings("dynamodb"),
               dynamodb_local.client()) as made:
        yield made


class Load:
    """Clients that keep their connections to haproxy, some follow links and
    some create them, each up to 50 a second. A failure is written down and the
    client goes on."""

    REDIRECTS, CREATES = 6, 3

    def __init__(self, setup):
        self.setup = setup
        self.site = "https://%s.example/" % uuid.uuid4().hex
        self.ids = {}           # {id: long URL}, what there is to follow
        for n in range(8):
            url = self.site + "link/%d" % n
            self.ids[setup.create(url)] = url
        self.stopping = threading.Event()
        self.followed = []      # ids
        self.created = {}       # {long URL: id}
        self.failed = []        # ("redirect" or long URL, what)
        self.threads = [
            threading.Thread(target=self.run, args=(n,))
            for n in range(self.REDIRECTS + self.CREATES)]

    def follow(self, connection, n, i):
        short_id = list(self.ids)[(n + i) % len(self.ids)]
        status, headers, body = talk(connection, "GET", "/" + short_id)
        if status != 301 or headers["Location"] != self.ids[short_id]:
            raise http.client.HTTPException(status, body[:200])
        self.followed.append(short_id)

    def create(self, connection, url):
        status, _, body = talk(connection, "POST", "/create",
                               json.dumps({"long_url": url}), JSON)
        if status != 200:
            raise http.client.HTTPException(status, body[:200])
        self.created[url] = json.loads(body)["short_id"]

    def run(self, n):
        connection = self.setup.proxy.connection()
        i = 0
        while not self.stopping.wait(0.02):
            i += 1
            url = self.site + "%d/%d" % (n, i)
            try:
                if n < self.REDIRECTS:
                    self.follow(connection, n, i)
                else:
                    self.create(connection, url)
            except (OSError, http.client.HTTPException) as e:
                self.failed.append((
                    "redirect" if n < self.REDIRECTS else url, repr(e)))
                connection.close()
        connection.close()

    def total(self):
        return len(self.followed) + len(self.created)

    def wait(self, more):
        goal = self.total() + more
        harness.wait_until(lambda: self.total() >= goal, "%d requests" % more,
                           60)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, value, trace):
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)
            assert not thread.is_alive()

    def failures(self, kind):
        """Those of redirects, or of creates."""
        return [f for f in self.failed
                if (f[0] == "redirect") == (kind == "redirect")]


def check_creates(setup, load):
    """Each acknowledged create is there, none is there twice, and a failed
    one at most once."""
    stored = [(item["long_url"]["S"], short_id)
              for short_id, item in setup.items().items()
              if item["long_url"]["S"].startswith(load.site)]
    acknowledged = {**load.created, **{u: i for i, u in load.ids.items()}}
    assert acknowledged.items() <= set(stored)
    more = [url for url, short_id in stored
            if acknowledged.get(url) != short_id]
    assert len(more) == len(set(more))
    assert set(more) <= {url for url, _ in load.failures("create")}


def check_hits(setup, load):
    """Each redirect that arrived is counted, and none twice but those that
    were in flight when their host was killed."""
    def hits():
        items = setup.items()
        return {i: int(items[i]["hits"]["N"]) for i in load.ids}

    wanted = Counter(load.followed)
    harness.wait_until(lambda: all(hits()[i] >= wanted[i] for i in wanted),
                       "the hits of both hosts")
    more = sum(hits().values()) - sum(wanted.values())
    assert 0 <= more <= load.REDIRECTS


def test_a_killed_host_fails_no_redirect(setup):
    """kill -9 under load, and the host comes back."""
    proxy, (victim, _) = setup.proxy, setup.hosts
    with Load(setup) as load:
        load.wait(100)
        assert load.failed == []
        before = proxy.served("host2")
        victim.slay()
        load.wait(100)
        harness.wait_until(lambda: proxy.state("host1") == "DOWN",
                           "host1 down")
        load.wait(50)
        assert proxy.served("host2") > before
        settled, got = len(load.failed), proxy.served("host1")
        load.wait(100)
        assert len(load.failed) == settled
        assert proxy.served("host1") == got

        victim.pool.start()
        victim.server.start()
        harness.wait_until(lambda: proxy.state("host1") == "UP", "host1 up")
        harness.wait_until(lambda: proxy.served("host1") > got + 20,
                           "requests on host1")
        assert len(load.failed) == settled
    # In flight at the kill is at most what the clients had sent.
    assert len(load.failures("redirect")) <= load.REDIRECTS
    assert len(load.failures("create")) <= load.CREATES
    check_creates(setup, load)
    check_hits(setup, load)


def test_a_killed_pool_fails_no_redirect(setup):
    """The web server of the host stays, and answers 500 and 503."""
    proxy, (victim, _) = setup.proxy, setup.hosts
    with Load(setup) as load:
        load.wait(100)
        pids = [victim.pool.pid] + harness.descendants_of(victim.pool.pid)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        victim.pool.kill()
        load.wait(100)
        harness.wait_until(lambda: proxy.state("host1") == "DOWN",
                           "host1 down")
        load.wait(50)
        settled = len(load.failed)
        load.wait(100)
        assert len(load.failed) == settled
        victim.pool.start()
        harness.wait_until(lambda: proxy.state("host1") == "UP", "host1 up")
    # Creates that reached that web server before haproxy knew have failed:
    # they are not sent a second time.
    assert load.failures("redirect") == []
    check_creates(setup, load)


def test_a_drained_host_fails_nothing(setup):
    """The way to upgrade a host: drain, stop, start, ready."""
    proxy, (victim, _) = setup.proxy, setup.hosts
    with Load(setup) as load:
        load.wait(100)
        proxy.guided("set server curt/host1 state drain")
        harness.wait_until(
            lambda: proxy.stats()["host1"]["scur"] == "0", "host1 idle")
        assert "curt/host1" in proxy.guided("show servers conn curt")
        got = proxy.served("host1")
        victim.server.stop()
        victim.pool.stop()
        load.wait(100)
        victim.pool.start()
        victim.server.start()
        proxy.guided("set server curt/host1 state ready")
        harness.wait_until(lambda: proxy.served("host1") > got + 20,
                           "requests on host1")
    assert load.failed == []
    check_creates(setup, load)


class FailingHost(http.server.ThreadingHTTPServer):
    """Well by its health check, and answers other requests with a status, or
    not at all; writes down which it got."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), FailingRequest)
        self.status = 200
        self.got = []
        self.thread = threading.Thread(target=self.serve_forever)
        self.thread.start()

    def stop(self):
        self.shutdown()
        self.server_close()
        self.thread.join()


class FailingRequest(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        status = 200
        if self.path != "/robots.txt":
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.server.got.append(self.command)
            status = self.server.status
        if status:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

    do_HEAD = do_POST = do_GET

    def log_message(self, *args):
        pass


def test_only_get_and_head_are_repeated():
    """Whatever becomes of a POST that a host has received."""
    hosts = [FailingHost() for _ in HOSTS]
    cases = itertools.product((None, 500, 502, 503),
                              (("POST", 1), ("GET", 3), ("HEAD", 3)))
    try:
        with Haproxy([host.server_port for host in hosts]).start() as proxy:
            for status, (method, times) in cases:
                for host in hosts:
                    host.status = status
                    host.got.clear()
                connection = proxy.connection()
                got = talk(connection, method, "/create", b"x" * (
                    10 if method == "POST" else 0))[0]
                connection.close()
                assert got == (status or 502)
                assert sorted(hosts[0].got + hosts[1].got) == [method] * times
                if times > 1:
                    assert hosts[0].got and hosts[1].got
    finally:
        for host in hosts:
            host.stop()


def test_a_failing_store_removes_no_host(build, store_settings,
                                         dynamodb_local):
    """The health check needs a worker of curt and no store."""
    settings = store_settings("dynamodb")
    settings["AWS_ENDPOINT_URL_DYNAMODB"] = "http://127.0.0.1:9"
    settings["STORE_TIMEOUT"] = "1"
    with Setup(build, settings, dynamodb_local.client()) as setup:
        for _ in range(4):
            status, _, body = setup.request("GET", "/abcdefg")
            assert status == 503, body
        time.sleep(2.5)  # two checks of each host
        assert [setup.proxy.state(host) for host in HOSTS] == ["UP", "UP"]


def test_https_addresses_and_long_links(setup):
    """http leads to https, the ACME path to the client of the authority; the
    hosts get the client's address, and not one that it made up."""
    proxy = setup.proxy
    status, headers, _ = request(proxy.http, "GET", "/abc?x=1")
    assert (status, headers["Location"]) == (301, "https://sho.rt/abc?x=1")

    with socket.create_server(("127.0.0.1", proxy.acme)) as authority:
        def answer():
            connection, _ = authority.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\na token")
        thread = threading.Thread(target=answer)
        thread.start()
        assert request(proxy.http, "GET", "/.well-known/acme-challenge/t")[
            2] == b"a token"
        thread.join()

    long_url = "https://example.com/" + "x" * 7900
    short_id = setup.create(long_url, {"X-Forwarded-For": "203.0.113.66"})
    for _ in range(4):
        status, headers, _ = setup.request("GET", "/" + short_id)
        assert (status, headers["Location"]) == (301, long_url)
        assert headers["Strict-Transport-Security"] == "max-age=31536000"
    analytics = str(setup.items()[short_id]["analytics"])
    assert "127.0.0.1" in analytics and "203.0.113.66" not in analytics

    with proxy.tls(("h2", "http/1.1")).wrap_socket(
            socket.create_connection(("127.0.0.1", proxy.https)),
            server_hostname="sho.rt") as s:
        assert s.selected_alpn_protocol() == "h2"
        assert s.version() == "TLSv1.3"
    done = subprocess.run(
        ["openssl", "s_client", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0",
         "-connect", "127.0.0.1:%d" % proxy.https], text=True, timeout=60,
        stdin=subprocess.DEVNULL, capture_output=True)
    assert done.returncode != 0 and "protocol version" in done.stderr
