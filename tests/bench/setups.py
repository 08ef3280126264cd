"""What is measured: an application behind a web server, both really running.

The web servers, their configuration files and curt's pool are those of the
end-to-end tests (tests/e2e), so the shipped deployment files are what is
measured.
"""

import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

import harness  # noqa: E402
import webservers  # noqa: E402
from fcgi_client import FcgiClient  # noqa: E402

FIXED_PATH = "/t/abcdefg"


class BenchLighttpd(webservers.Lighttpd):
    """The shipped configuration, and a redirect of lighttpd's own beside it."""

    def write_main(self, include):
        command = super().write_main(include)
        with open(command[-1], "a") as main:
            main.write('server.modules += ( "mod_redirect" )\n'
                       'url.redirect = ( "^/direct/" =>'
                       ' "https://example.com/" )\n')
        return command


SERVERS = dict(webservers.KINDS, lighttpd=BenchLighttpd)


class MinimalPool(harness.Pool):
    """plain or quick: so many processes on one socket."""

    def __init__(self, program, workers, workdir):
        super().__init__(None, {}, workers, workdir=workdir)
        self.program = program
        self.name = program.name
        self.processes = []

    def start(self, ready=True):
        with self.bind() as listener:
            for _ in range(self.worker_count):
                self.processes.append(subprocess.Popen(
                    harness.end_with_parent([self.program]),
                    stdin=listener))
        return self

    def stop(self, deadline=0):
        self.kill()

    def kill(self):
        for process in self.processes:
            process.kill()
            process.wait()
        self.processes = []

    def workers(self):
        return [process.pid for process in self.processes]

    def janitors(self):
        return []

    def pids(self):
        return self.workers()


class CurtPool(harness.Pool):
    """curt.fcgi, with all its processes known by pid."""

    def start(self, ready=True):
        super().start(ready)
        return self

    def pids(self):
        return [self.pid] + self.children()


class Site:
    """A web server with an application behind it.

    app: "curt", or the path of a minimal program. settings: curt's keys.
    prepare: called with the pool before it starts.
    """

    def __init__(self, build, kind, app, workers, settings=None, prepare=None):
        self.build = build
        self.app = app
        self.workdir = harness.make_workdir()
        self.port = harness.free_port()
        self.url = "http://127.0.0.1:%d" % self.port
        self.prepare = prepare
        self.settings = dict(
            settings or {}, APP_URL=self.url + "/t/", LOG_LEVEL="error",
            LIMITS="off", CREATE_AUTH="open",
            STATE_DIR=str(harness.make_dir(self.workdir / "state")),
            RUNTIME_DIR=str(harness.make_dir(self.workdir / "run")))
        cls = SERVERS[kind]
        program = build.fcgi if app == "curt" else app
        self.pool = None
        if cls.spawns:
            harness.write_conf(self.workdir / "curt.conf", self.settings)
            self.workdir.chmod(0o777)
            program = Path(shutil.copy(program, self.workdir / "program"))
        elif app == "curt":
            self.pool = CurtPool(build, self.settings, workers,
                                 workdir=self.workdir)
        else:
            self.pool = MinimalPool(app, workers, self.workdir)
        self.program = program
        self.server = cls(self.port, self.workdir, self.workdir / "curt.sock",
                          program, self.workdir / "curt.conf")

    def start(self):
        try:
            if self.prepare:
                self.prepare(self)
            if self.pool:
                self.pool.start()
            self.server.start()
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self):
        """Ends everything; how it ended is for the tests to say."""
        self.kill()

    def kill(self):
        self.server.kill()
        if self.pool:
            self.pool.kill()
        shutil.rmtree(self.workdir, ignore_errors=True)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def status(self, path):
        """What a GET is answered with, redirects not followed."""
        try:
            with NO_FOLLOW.open(self.url + path, timeout=20) as answer:
                return answer.status
        except urllib.error.HTTPError as e:
            return e.code

    def tool(self, *args):
        return harness.run_tool(
            self.build, self.workdir, harness.child_env(self.workdir),
            ("-c", self.workdir / "curt.conf"), args)

    def write_conf(self):
        harness.write_conf(self.workdir / "curt.conf", self.settings)

    def make_table(self):
        self.write_conf()
        self.tool("table", "create")

    def pids(self):
        """Two lists: of the web server, of the pool."""
        server = [self.server.pid] + harness.descendants_of(self.server.pid)
        if self.pool:
            return server, self.pool.pids()
        ours = [p for p in server if is_running(p, self.program)]
        return [p for p in server if p not in ours], ours

    def worker_pids(self):
        if self.pool:
            return self.pool.workers()
        return self.pids()[1]

    def janitor_pids(self):
        return self.pool.janitors() if self.pool else []


class NoFollow(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


NO_FOLLOW = urllib.request.build_opener(NoFollow)


def is_running(pid, program):
    try:
        return os.readlink("/proc/%d/exe" % pid) == str(program)
    except OSError:
        return False


class Alone:
    """One process of an application on a socket, without a web server, maybe
    under a tool such as valgrind."""

    def __init__(self, argv, workdir, stderr=subprocess.DEVNULL, env=None):
        self.socket_path = workdir / "alone.sock"
        self.argv = [str(a) for a in argv]
        self.stderr = stderr
        self.env = env
        self.workdir = workdir
        self.process = None

    def __enter__(self):
        pool = harness.Pool(None, {}, workdir=self.workdir)
        pool.socket_path = self.socket_path
        with pool.bind() as listener:
            self.process = subprocess.Popen(
                harness.end_with_parent(self.argv), stdin=listener,
                stderr=self.stderr, env=self.env)
        return self

    def ask(self, request, times=1):
        """Sends the bytes of a request on a connection each time; the bytes
        of the last answer."""
        answer = b""
        for _ in range(times):
            with FcgiClient(self.socket_path, 60) as client:
                client.send(request)
                answer = b""
                while True:
                    more = client.socket.recv(65536)
                    if not more:
                        break
                    answer += more
        return answer

    def finish(self, request):
        """TERM. libfcgi may notice it one request late, so there is one."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(1)
        except subprocess.TimeoutExpired:
            try:
                self.ask(request)
            except OSError:
                pass
            self.process.wait(20)

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
