"""Starts and stops curt for the end-to-end tests.

The rules that keep the tests honest: a listening socket is bound here and
handed over, so nothing races for it; start() returns when the program really
answers; a child that dies early fails the test at once and shows its log;
stop() asserts that it ended by itself, with status 0, and that no sanitizer
had anything to say.
"""

import itertools
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

from fcgi_client import FcgiClient

ROOT = Path(__file__).resolve().parents[2]

START_DEADLINE = 30.0
STOP_DEADLINE = 30.0

SANITIZER_REPORT = re.compile(
    r"ERROR: AddressSanitizer|runtime error:|LeakSanitizer"
    r"|UndefinedBehaviorSanitizer"
)

# Processes that are running now, so that a failed test can show their logs.
running = []

# Whether the processes that are started now search for leaks when they end.
# That takes as long as the rest of a run of `curt`, so conftest.py sets it where
# curt takes a way of its own: the other cases run the same code with other
# values. The unit tests always search.
search_leaks = True

# The kinds of processes that have searched in this file of tests ("pool", or a
# verb of `curt`). The others of a kind do not, unless search_each is set.
searched = set()
search_each = False


class Build:
    """The programs under test."""

    def __init__(self, directory=None):
        self.dir = Path(
            directory or os.environ.get("CURT_BUILD") or ROOT / "build-tests"
        ).resolve()
        self.fcgi = self.dir / "curt.fcgi"
        self.tool = self.dir / "curt"

    def check(self):
        missing = [p for p in (self.fcgi, self.tool) if not os.access(p, os.X_OK)]
        if missing:
            raise RuntimeError(
                "not built: %s; build curt there, or set CURT_BUILD to its "
                "build directory" % ", ".join(map(str, missing))
            )


def find_program(*names):
    path = os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin:/sbin"
    for name in names:
        found = shutil.which(name, path=path)
        if found:
            return found
    raise RuntimeError("none of these is installed: " + ", ".join(names))


def wait_until(condition, what, deadline=START_DEADLINE, interval=0.02):
    """Returns the first true value of condition(), or fails. What takes long,
    such as a run of `curt`, gets a longer pause."""
    begin = now = time.monotonic()
    while True:
        value = condition()
        if value:
            return value
        last, now = now, time.monotonic()
        if now > begin + deadline:
            raise AssertionError("%s: not within %g s" % (what, deadline))
        time.sleep(max(interval, min(now - last, 0.3)))
        now = time.monotonic()


def web_user():
    """The account that web servers change to, or None if we are not root."""
    if os.geteuid() != 0:
        return None
    return pwd.getpwnam("www-data")


def make_workdir():
    """A short directory that every account can enter (pytest's are private,
    and the path of a Unix socket must stay below 108 bytes)."""
    path = Path(tempfile.mkdtemp(prefix="curt-", dir="/tmp"))
    path.chmod(0o755)
    return path


def make_dir(path):
    """A directory that curt can write under whatever account it runs."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o777)
    return path


def own_ports():
    """Ports for a process of pytest-xdist, in a circle: no other process has
    one of them. They are outside the range from which the kernel takes the
    ports of outgoing connections."""
    number = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 12
    for n in itertools.count(os.getpid()):
        yield 20000 + 1000 * number + n % 1000


ports = own_ports()


def free_port():
    """A port that nothing takes before the caller does."""
    for port in itertools.islice(ports, 1000):
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("no free port")


def write_conf(path, settings):
    """Writes a configuration file; returns its path."""
    lines = ["%s = %s\n" % item for item in settings.items()]
    path.write_text("".join(lines))
    path.chmod(0o644)
    return path


def child_env(workdir, extra=None):
    """A small environment: nothing of the caller's reaches curt by chance."""
    options = "log_path=%s" % (workdir / "sanitizer")
    env = {
        "PATH": os.environ.get("PATH", "/usr/sbin:/usr/bin:/sbin:/bin"),
        "LANG": "C",
        "TMPDIR": str(workdir),
        "HOME": str(workdir),
        "ASAN_OPTIONS": options + ":detect_leaks=%d:abort_on_error=0:exitcode=99"
                        % search_leaks,
        "UBSAN_OPTIONS": options + ":halt_on_error=1:print_stacktrace=1",
    }
    env.update(extra or {})
    return env


def search_once(env, kind):
    """The environment for a process of this kind."""
    if "detect_leaks=1" not in env.get("ASAN_OPTIONS", ""):
        return env
    if search_each or kind not in searched:
        searched.add(kind)
        return env
    return {**env, "ASAN_OPTIONS": env["ASAN_OPTIONS"] + ":detect_leaks=0"}


def parent_of(pid):
    """Parent and state of a process, (0, 'X') if there is none."""
    try:
        stat = Path("/proc/%d/stat" % pid).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0, "X"
    state, ppid = stat.rpartition(")")[2].split()[:2]
    return int(ppid), state


def alive(pid):
    return parent_of(pid)[1] not in "XZ"


def children_of(pid):
    """Pids of the living children of a process. The kernel may skip one while
    another ends, so its list counts when it is the same twice."""
    last = None
    while True:
        lists = []
        tasks = Path("/proc/%d/task" % pid)
        try:
            names = os.listdir(tasks)
        except (FileNotFoundError, ProcessLookupError):
            return []  # it has ended
        for name in names:
            try:
                lists.append((tasks / name / "children").read_text())
            except (FileNotFoundError, ProcessLookupError):
                continue
        found = sorted(map(int, " ".join(lists).split()))
        if found == last:
            return [child for child in found if alive(child)]
        last = found


def descendants_of(pid):
    """Pids of the living children, their children, and so on."""
    found = children_of(pid)
    for child in list(found):
        found += descendants_of(child)
    return found


def catches_term(pid):
    """Whether a process has a handler for SIGTERM. Under a master each worker
    has; the janitor, which waits for its signals where it sleeps, has none."""
    try:
        status = Path("/proc/%d/status" % pid).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    caught = int(re.search(r"^SigCgt:\s*(\w+)", status, re.M).group(1), 16)
    return bool(caught >> (signal.SIGTERM - 1) & 1)


def is_resting(pid):
    """Whether a janitor waits for its signals or the next thing to do; the
    kernel may not say where a process sleeps."""
    try:
        where = Path("/proc/%d/wchan" % pid).read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return parent_of(pid)[1] == "S" and (where == "0"
                                         or "sigtimedwait" in where)


def end_with_parent(argv):
    """The command for a child that ends when the test run is killed. A
    function that Popen calls in the child would do the same, and take several
    times as long: the whole of Python would be copied for it."""
    return ["setpriv", "--pdeathsig", "TERM", "--", *map(str, argv)]


# What most tests need: links from anyone, as many as they like, to anywhere.
# The tests of access, limits and policies set their own.
OPEN_SETTINGS = {
    "APP_URL": "http://127.0.0.1/t/",
    "CREATE_AUTH": "open",
    "LIMITS": "off",
    "PRIVATE_TARGETS": "allow",
    # A busy disk must not look like a store that is unavailable. Tests of that
    # have a limit of their own.
    "STORE_TIMEOUT": "15",
}


class Process:
    """A program in the foreground, our child, its output in a file."""

    name = "process"
    stop_signal = signal.SIGTERM

    def __init__(self, workdir=None):
        self.owns_workdir = workdir is None
        self.workdir = Path(workdir or make_workdir())
        self.log_file = self.workdir / (self.name + ".log")
        self.process = None

    def spawn(self, argv, env=None, stdin=subprocess.DEVNULL):
        self.started_env = search_once(env or child_env(self.workdir), self.name)
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                end_with_parent(argv),
                stdin=stdin,
                stdout=log,
                stderr=log,
                cwd=self.workdir,
                env=self.started_env,
            )
        running.append(self)

    @property
    def pid(self):
        return self.process.pid

    def log(self):
        if not self.log_file.exists():
            return ""
        return self.log_file.read_text(errors="replace")

    def logs(self):
        """All that was said anywhere, for people and for the sanitizer check."""
        texts = [self.log()]
        for path in sorted(self.workdir.glob("sanitizer.*")):
            texts.append(path.read_text(errors="replace"))
        return "\n".join(texts)

    def check_running(self):
        if self.process.poll() is not None:
            raise AssertionError(
                "%s ended with status %s:\n%s"
                % (self.name, self.process.returncode, self.logs()[-8000:])
            )

    def wait_ready(self, ready):
        """Waits until ready() is true; fails when the child dies before."""

        def condition():
            self.check_running()
            return ready()

        try:
            wait_until(condition, self.name + " ready")
        except AssertionError as e:
            text = self.logs()[-8000:]
            self.kill()
            raise AssertionError("%s\n%s" % (e, text)) from None

    def signal(self, number):
        os.kill(self.pid, number)

    def kill(self):
        """The end for a child that would not stop, and for what it started;
        asserts nothing."""
        if self.process and self.process.poll() is None:
            started = descendants_of(self.pid)
            self.process.kill()
            self.process.wait()
            for pid in filter(alive, started):
                os.kill(pid, signal.SIGKILL)
        if self in running:
            running.remove(self)

    def stop(self, deadline=STOP_DEADLINE):
        """TERM, and the child must end by itself, well and in time."""
        if self.process is None:
            return
        if self.process.poll() is None:
            self.process.send_signal(self.stop_signal)
        try:
            status = self.process.wait(deadline)
        except subprocess.TimeoutExpired:
            text = self.logs()[-8000:]
            self.kill()
            raise AssertionError(
                "%s did not end within %g s of its signal:\n%s"
                % (self.name, deadline, text)
            ) from None
        self.kill()
        self.process = None
        self.check_sanitizers()
        assert status == 0, "%s ended with status %d:\n%s" % (
            self.name, status, self.logs()[-8000:])

    def check_sanitizers(self):
        text = self.logs()
        report = SANITIZER_REPORT.search(text)
        assert not report, "%s: sanitizer report:\n%s" % (
            self.name, text[max(0, report.start() - 500):][:8000])

    def cleanup(self):
        """Stops if that was not done, and removes the directory."""
        try:
            self.stop()
        finally:
            self.kill()
            if self.owns_workdir:
                shutil.rmtree(self.workdir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, value, trace):
        if kind is None:
            self.cleanup()
            return
        # The test failed already; its own message is the one to show.
        print("log of %s:\n%s" % (self.name, self.logs()[-4000:]))
        self.kill()
        if self.owns_workdir:
            shutil.rmtree(self.workdir, ignore_errors=True)


class Pool(Process):
    """curt.fcgi with its listening socket on descriptor 0.

    settings: configuration keys. via_env: give them in the environment and
    not in a file. args: more arguments for curt.fcgi.
    """

    name = "pool"

    def __init__(self, build, settings, workers=2, via_env=False, args=(),
                 workdir=None):
        super().__init__(workdir)
        self.build = build
        self.settings = dict(settings)
        for key, value in OPEN_SETTINGS.items():
            self.settings.setdefault(key, value)
        self.settings.setdefault("STATE_DIR", str(make_dir(self.workdir / "state")))
        self.settings.setdefault("RUNTIME_DIR", str(make_dir(self.workdir / "run")))
        self.worker_count = workers
        self.via_env = via_env
        self.args = [str(a) for a in args]
        self.socket_path = self.workdir / "curt.sock"
        self.conf = self.workdir / "curt.conf"

    def env(self):
        extra = self.settings if self.via_env else {"CURT_CONF": str(self.conf)}
        return child_env(self.workdir, {k: str(v) for k, v in extra.items()})

    def command(self, workers):
        return [self.build.fcgi, "-w", workers, "-c", self.conf] + self.args

    def write_conf(self):
        """(Re)writes the file; for a reload, change settings and call this."""
        write_conf(self.conf, {} if self.via_env else self.settings)

    def bind(self):
        self.socket_path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(self.socket_path))
        self.socket_path.chmod(0o666)
        listener.listen(1024)
        return listener

    def launch(self):
        with self.bind() as listener:
            self.spawn(self.command(self.worker_count), self.env(), listener)

    def start(self, ready=True):
        self.write_conf()
        self.launch()
        if ready:
            # Waits in the socket, and not by looking again and again.
            self.wait_ready(self.answers)
            self.wait_ready(self.complete)
        # A janitor flushes at once when it starts. Where no other flush shall
        # come for the time of a test, that one must be over.
        if ready and str(self.settings.get("HITS_FLUSH")) == "3600":
            self.wait_ready(lambda: all(map(is_resting, self.janitors())))
        return self

    def answers(self):
        """Whether a request that needs no store is answered."""
        try:
            return self.client().request("GET", "/t/~").status == 404
        except OSError:
            return False

    def client(self, timeout=20):
        return FcgiClient(self.socket_path, timeout)

    def request(self, method, uri, headers=(), body=b"", **options):
        """One request straight to the socket, without a web server."""
        return self.client().request(method, uri, headers, body, **options)

    def children(self):
        """Pids of the master's children: the workers and the janitor."""
        return children_of(self.pid)

    def janitors(self):
        """Pids of the children that are a janitor."""
        return [pid for pid in self.children() if not catches_term(pid)]

    def workers(self):
        """Pids of the children that are a worker."""
        return [pid for pid in self.children() if catches_term(pid)]

    def complete(self):
        """Whether all workers and the janitor are there; -w 0 has neither."""
        if self.worker_count == 0:
            return True
        workers = [catches_term(pid) for pid in self.children()]
        return workers.count(True) == self.worker_count == len(workers) - 1

    def tool(self, *args, check=True, stdin=None):
        """Runs the curt tool with the configuration of this pool."""
        return run_tool(self.build, self.workdir, self.env(),
                        ("-c", self.conf), args, check, stdin)


def run_tool(build, workdir, env, options, args, check=True, stdin=None):
    """Runs `curt`; with check, fails unless it ends with status 0."""
    verb = next((a for a in args if not str(a).startswith("-")), "")
    done = subprocess.run(
        [str(a) for a in (build.tool, *options, *args)],
        cwd=workdir, env=search_once(env, verb), input=stdin, text=True,
        timeout=60,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        stdin=None if stdin is not None else subprocess.DEVNULL,
    )
    assert not SANITIZER_REPORT.search(done.stderr), done.stderr
    if check:
        assert done.returncode == 0, "curt %s: status %d\n%s%s" % (
            " ".join(map(str, args)), done.returncode, done.stdout, done.stderr)
    return done


class SpawnFcgiPool(Pool):
    """The same, started by the real spawn-fcgi in the foreground, which then
    becomes the master."""

    def launch(self):
        self.spawn(
            [find_program("spawn-fcgi"), "-n", "-s", self.socket_path, "-M", "0666",
             "-b", "1024", "--"] + self.command(self.worker_count),
            self.env())


class MultiwatchPool(Pool):
    """Processes without a master, looked after by multiwatch."""

    def launch(self):
        self.spawn(
            [find_program("spawn-fcgi"), "-n", "-s", self.socket_path, "-M", "0666",
             "-b", "1024", "--", find_program("multiwatch"), "-f", self.worker_count, "--"]
            + self.command(0),
            self.env())

    def workers(self):
        return self.children()

    def complete(self):
        return len(self.workers()) == self.worker_count


class ForkedPool(Pool):
    """Processes without a master, started by `spawn-fcgi -F N`, which leaves
    them alone afterwards. They are nobody's children, so their end is seen and
    their exit status is not; their log goes to syslog."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.pids = []

    def launch(self):
        pid_file = self.workdir / "pids"
        self.spawn(
            [find_program("spawn-fcgi"), "-F", self.worker_count, "-P", pid_file,
             "-s", self.socket_path, "-M", "0666", "-b", "1024", "--"]
            + self.command(0),
            self.env())
        status = self.process.wait(START_DEADLINE)
        assert status == 0, "spawn-fcgi: status %d\n%s" % (status, self.logs())
        self.pids = [int(p) for p in pid_file.read_text().split()]
        assert len(self.pids) == self.worker_count, self.pids

    def check_running(self):
        dead = [pid for pid in self.pids if not alive(pid)]
        assert not dead, "processes %s are gone:\n%s" % (dead, self.logs())

    def workers(self):
        return [pid for pid in self.pids if alive(pid)]

    children = workers

    def complete(self):
        return True

    def stop(self, deadline=STOP_DEADLINE):
        for pid in self.workers():
            os.kill(pid, signal.SIGTERM)
        try:
            wait_until(lambda: not self.workers(), "end after TERM", deadline)
        finally:
            self.kill()
        self.process = None
        self.check_sanitizers()

    def kill(self):
        for pid in self.workers():
            os.kill(pid, signal.SIGKILL)
        if self in running:
            running.remove(self)
