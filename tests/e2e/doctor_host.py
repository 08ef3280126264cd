"""A host for `curt doctor` to look at, and what it says of it."""

import copy
import json
import os
import shutil
import ssl
import subprocess
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import harness
import webservers
from dynamodb_local import SECRET_KEY

NOT_READY, EX_NOPERM, EX_CONFIG = 1, 77, 78

# Neither this nor SECRET_KEY is ever printed.
TOKEN = "FwoGZXIvYXdzEXAMPLE" + "T0k3n/+=" * 30

# The checks of every host, and those of each store.
COMMON = {"configuration", "state directory", "runtime directory", "link",
          "redirect", "create", "page", "pool", "socket", "cache", "hits"}
OF_STORE = {"sqlite": {"database"},
            "dynamodb": {"region", "credentials", "endpoint", "clock",
                         "table"}}


class Report:
    """What it said, in JSON and, asked a second time, in text."""

    def __init__(self, done, not_ready=NOT_READY):
        self.status = done.returncode
        answer = json.loads(done.stdout)
        assert set(answer) == {"ready", "checks"}
        self.ready = answer["ready"]
        self.checks = answer["checks"]
        for check in self.checks:
            assert set(check) == {"check", "status", "detail", "advice"}
            assert check["status"] in ("ok", "warn", "fail")
            assert check["detail"]
            # What to do, wherever something is to be done.
            assert check["advice"] or check["status"] == "ok", check
        assert self.ready == (not self.of("fail"))
        assert self.status == (0 if self.ready else not_ready)
        assert done.stderr == ""

    def of(self, status, name=None):
        return [c for c in self.checks if c["status"] == status
                and name in (None, c["check"])]

    def one(self, status, name):
        found = self.of(status, name)
        assert len(found) == 1, self.show()
        return found[0]

    def says(self, status, name, detail="", advice=""):
        """One line of that check has this status and these words."""
        assert any(detail in c["detail"] and advice in (c["advice"] or "")
                   for c in self.of(status, name)), (
            "no %s %s with %r and %r in\n%s"
            % (status, name, detail, advice, self.show()))
        return self

    def check_ready(self, store):
        """All checks are there, and none found anything; but the tests have
        no https, may run as root, and their tables may be deleted."""
        assert self.ready, self.show()
        assert self.names() == COMMON | OF_STORE[store]
        assert {c["check"] for c in self.of("warn")} <= {
            "configuration", "pool", "table"}, self.show()
        for name in self.names():
            assert self.of("ok", name), self.show()

    def failed(self):
        return {c["check"] for c in self.of("fail")}

    def names(self):
        return {c["check"] for c in self.checks}

    def show(self):
        return "\n".join("%(status)-4s %(check)s: %(detail)s | %(advice)s" % c
                         for c in self.checks)


class Host:
    """A host to be looked at: settings, and a configuration file of them."""

    def __init__(self, build, settings):
        self.build = build
        self.workdir = Path(settings["STATE_DIR"]).parent
        self.settings = dict(settings)
        self.settings.setdefault("APP_URL", "http://127.0.0.1:1/t/")
        for key, value in harness.OPEN_SETTINGS.items():
            self.settings.setdefault(key, value)
        self.conf = self.workdir / "doctor.conf"

    def path(self, key):
        return Path(self.settings[key])

    def but(self, **settings):
        """The same host with other settings in its configuration file."""
        other = copy.copy(self)
        other.settings = {**self.settings, **settings}
        return other

    def write_conf(self):
        harness.write_conf(self.conf, self.settings)
        # Its user must be able to read it, and nobody else a secret.
        secret = "AWS_SECRET_ACCESS_KEY" in self.settings
        self.conf.chmod(0o640 if secret else 0o644)

    def run(self, *args, env=()):
        self.write_conf()
        env = harness.child_env(self.workdir, dict(env))
        # Each fault is another way through its code; the pools' is elsewhere.
        env["ASAN_OPTIONS"] += ":detect_leaks=1"
        done = harness.run_tool(self.build, self.workdir, env,
                                ("-c", self.conf), args, check=False)
        for secret in (SECRET_KEY, TOKEN):
            assert secret not in done.stdout + done.stderr
        return done

    def doctor(self, env=()):
        return Report(self.run("doctor", "--json", env=env))


def tighten(settings):
    """Directories as an operator makes them; the tests' are open to all."""
    os.chmod(settings["STATE_DIR"], 0o750)
    os.chmod(settings["RUNTIME_DIR"], 0o755)
    return settings


@contextmanager
def serving(build, settings, kind="lighttpd", **options):
    """A host with a pool behind a web server; options: those of Site."""
    if webservers.KINDS[kind].spawns and os.geteuid() == 0:
        # The web server's account runs curt.fcgi, from its own start on.
        for key in ("STATE_DIR", "RUNTIME_DIR"):
            os.chown(settings[key], harness.web_user().pw_uid,
                     harness.web_user().pw_gid)
    with webservers.Site(build, kind, settings, **options) as site:
        host = Host(build, dict(settings, APP_URL=site.app_url))
        host.site, host.pool = site, site.pool
        yield host


@contextmanager
def in_front(host, kind, path="/t/", **options):
    """The host with one more web server before its pool, .server, whose /t/, or
    this path, is APP_URL. kind "proxy": nginx as a reverse proxy before the
    host's web server, with the shipped file; options: those of the server."""
    port, workdir = harness.free_port(), harness.make_workdir()
    if kind == "proxy":
        server = webservers.NginxProxy(
            port, workdir, host.settings["APP_URL"].partition("/t/")[0],
            **options)
    else:
        server = webservers.KINDS[kind](
            port, workdir, host.pool.socket_path, host.build.fcgi,
            host.pool.conf, **options)
    try:
        server.start()
        other = host.but(APP_URL=server.url + path)
        other.server = server
        yield other
        server.stop()
    finally:
        server.kill()
        shutil.rmtree(workdir, ignore_errors=True)


class OtherServer:
    """A web server that is not the one that curt is behind. tls: (certificate
    file, key file)."""

    def __init__(self, status, headers=(), body=b"", tls=None):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(status)
                for name, value in headers:
                    self.send_header(
                        name, value.replace("{path}", self.path).replace(
                            "{port}", str(self.server.server_port)))
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        scheme = "http"
        if tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True,
                do_handshake_on_connect=False)
            self.server.handle_error = lambda *_: None
            scheme = "https"
        self.url = "%s://127.0.0.1:%d/t/" % (scheme,
                                             self.server.server_port)
        self.thread = threading.Thread(target=self.server.serve_forever,
                                       kwargs={"poll_interval": 0.05})

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def make_certificate(directory):
    key, certificate = directory / "key.pem", directory / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
         "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2", "-subj",
         "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout",
         key, "-out", certificate],
        check=True, stderr=subprocess.DEVNULL)
    return certificate, key
