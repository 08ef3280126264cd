"""What the tests of processes, reload, crashes and the janitor share."""

import contextlib
import fcntl
import json
import os
import re
import signal
import sqlite3
import subprocess
import termios
import threading
import time
from pathlib import Path

from fcgi_client import PARAMS, STDIN, begin, pairs, record, stream
from harness import (Pool, SpawnFcgiPool, alive, children_of, descendants_of,
                     parent_of, wait_until)

JSON = {"Content-Type": "application/json", "Accept": "application/json"}
DAY = 86400


class EnvPool(Pool):
    """A pool with more in its environment than where its file is."""

    def __init__(self, *args, environment=(), **options):
        super().__init__(*args, **options)
        self.environment = dict(environment)

    def env(self):
        return {**super().env(), **self.environment}


class GroupPool(Pool):
    """A pool that leads a process group of its own."""

    def command(self, workers):
        return ["setsid"] + super().command(workers)

    def signal_group(self, number):
        os.killpg(self.pid, number)


class DaemonPool(SpawnFcgiPool):
    """spawn-fcgi as an init script calls it, without -n: the master is nobody's
    child, and its standard error is /dev/null."""

    master = 0

    def launch(self):
        pid_file = self.workdir / "pid"
        # "-n" is the second word of what the foreground one runs.
        self.process = subprocess.run(
            self.daemon_command(pid_file), env=self.env(), timeout=30,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, cwd=self.workdir, check=False)
        assert self.process.returncode == 0, self.process.stderr
        self.process = None
        self.master = int(pid_file.read_text())

    def daemon_command(self, pid_file):
        return [str(a) for a in (
            "spawn-fcgi", "-s", self.socket_path, "-M", "0666", "-b", "1024",
            "-P", pid_file, "--", *self.command(self.worker_count))]

    @property
    def pid(self):
        return self.master

    def check_running(self):
        assert alive(self.master), "the master is gone:\n" + self.logs()

    def kill(self):
        """Ends what is left, without any kindness."""
        for pid in [self.master] * alive(self.master) + self.children():
            os.kill(pid, signal.SIGKILL)

    def stop(self, deadline=30):
        everyone = [self.master] + self.children()
        os.kill(self.master, signal.SIGTERM)
        wait_gone(everyone, deadline)
        self.check_sanitizers()


def create(pool, url, timeout=20, headers=()):
    """POST /create; the answer."""
    return pool.client(timeout).request(
        "POST", "/create", {**JSON, **dict(headers)},
        json.dumps({"long_url": url}))


def make_link(pool, url="https://example.com/page", timeout=20):
    """Creates a link that must come into being; its id."""
    answer = create(pool, url, timeout)
    assert answer.status == 200, answer.raw
    return json.loads(answer.body)["short_id"]


def check_redirect(pool, short_id, url="https://example.com/page"):
    answer = pool.request("GET", "/t/" + short_id)
    assert answer.status == 301, answer.raw
    assert answer.headers["location"] == url


def check_unavailable(answer):
    assert answer.status == 503, answer.raw
    assert int(answer.headers["retry-after"]) > 0
    assert json.loads(answer.body)["status"] == 503


def redirect_params(uri="/t/~"):
    return pairs({"REQUEST_METHOD": "GET", "REQUEST_URI": uri,
                  "REMOTE_ADDR": "127.0.0.1"})


def hits_of(pool, short_id):
    """How often a link was followed, as curt itself counts it."""
    return json.loads(pool.tool("get", short_id, "--json").stdout)["hits"]


def pending(pool):
    """Hits that are not in the store yet."""
    return json.loads(pool.tool("hits", "--json").stdout)["pending"]


class HalfRequest:
    """A request of which one half is sent at once, and read by a worker, and
    the other later: the cut is in the middle of the parameters, or of the body
    of a create."""

    def __init__(self, pool, in_body=False):
        self.client = pool.client(60)
        if in_body:
            body = b'{"long_url": "https://example.com/half"}'
            params = pairs({
                "REQUEST_METHOD": "POST", "REQUEST_URI": "/create",
                "CONTENT_TYPE": "application/json",
                "CONTENT_LENGTH": len(body)})
            data = stream(PARAMS, params) + stream(STDIN, body)
            cut = len(data) - 20 - 8
            self.expected = 200
        else:
            data = stream(PARAMS, redirect_params()) + record(STDIN)
            cut = len(data) // 2
            self.expected = 404
        self.rest = data[cut:]
        self.client.send(begin() + data[:cut])
        wait_until(self.is_read, "the half request read")

    def is_read(self):
        """Whether the other side has taken all that was sent."""
        left = fcntl.ioctl(self.client.socket, termios.TIOCOUTQ, bytes(4))
        return left == bytes(4)

    def finish(self):
        """Sends the rest; the answer must be the right one."""
        self.client.send(self.rest)
        answer = self.client.response()
        self.client.close()
        assert answer.status == self.expected, answer.raw
        return answer

    def close(self):
        self.client.close()


def descriptors(pid):
    """What the descriptors of a process are, {number: target}."""
    found = {}
    try:
        for fd in os.listdir("/proc/%d/fd" % pid):
            try:
                found[int(fd)] = os.readlink("/proc/%d/fd/%s" % (pid, fd))
            except FileNotFoundError:
                continue
    except (FileNotFoundError, ProcessLookupError):
        pass
    return found


def connections(pid):
    return sum(1 for fd, target in descriptors(pid).items()
               if fd > 2 and target.startswith("socket:"))


def listens(pid):
    """Whether a worker waits for connections: its epoll has descriptor 0."""
    for fd, target in descriptors(pid).items():
        if target == "anon_inode:[eventpoll]":
            info = Path("/proc/%d/fdinfo/%d" % (pid, fd)).read_text()
            return re.search(r"^tfd:\s+0 ", info, re.M) is not None
    return False


def wait_gone(pids, deadline=30):
    wait_until(lambda: not [p for p in pids if alive(p)],
               "end of %s" % (pids,), deadline)


def freeze(pid):
    """Stops a process, and waits until it really does nothing more."""
    os.kill(pid, signal.SIGSTOP)
    wait_until(lambda: parent_of(pid)[1] == "T", "%d stopped" % pid)


def slay(pid):
    """Kills a process, and waits until it really does nothing more: one that
    is dying may still have taken a connection."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    wait_gone([pid])


def kill_at_once(pool):
    """kill -9 of everything at one moment: a janitor that sees its master end
    would flush."""
    pids = [pool.pid] + descendants_of(pool.pid)
    for pid in reversed(pids):
        freeze(pid)
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    pool.kill()
    wait_gone(pids)  # and the locks that they held
    pool.process = None


def wait_complete(pool, deadline=30):
    wait_until(pool.complete, "a complete pool", deadline)


def reload(pool):
    """Writes the file of a pool, and has it take over its settings."""
    before = set(pool.children())
    pool.write_conf()
    pool.signal(signal.SIGHUP)
    wait_until(lambda: not before & set(pool.children()) and pool.complete(),
               "new children")


@contextlib.contextmanager
def changed(pool, **settings):
    """Gives a running pool other settings for some time."""
    before = pool.settings
    try:
        pool.settings = {**before, **settings}
        reload(pool)
        yield
    finally:
        pool.settings = before
        reload(pool)


def started_at(pid):
    """When a process was started, in seconds since boot."""
    stat = Path("/proc/%d/stat" % pid).read_text()
    ticks = int(stat.rpartition(")")[2].split()[19])
    return ticks / os.sysconf("SC_CLK_TCK")


def boot_time():
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def age_of(pid):
    return boot_time() - started_at(pid)


def is_pending(pid, number):
    """Whether a signal was sent to a process that has not taken it yet."""
    status = Path("/proc/%d/status" % pid).read_text()
    return any(int(bits, 16) >> (number - 1) & 1 for bits in
               re.findall(r"^(?:SigPnd|ShdPnd):\s*(\w+)", status, re.M))


def command_line(pid):
    try:
        data = Path("/proc/%d/cmdline" % pid).read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return []
    return data.decode(errors="replace").split("\0")[:-1]


def lone_janitors(worker_pids):
    """Pids of the janitors that workers without a master started."""
    return [child for pid in worker_pids for child in children_of(pid)
            if "-j" in command_line(child)]


def lock_holders(state_dir, pids):
    """Those of the processes that keep the janitor's lock file open."""
    lock = os.path.realpath(os.path.join(state_dir, "janitor.lock"))
    return [p for p in pids if lock in descriptors(p).values()]


def is_locked(state_dir):
    """Whether somebody holds the janitor's lock, as the kernel sees it."""
    with open(os.path.join(state_dir, "janitor.lock")) as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def steady(values, what, seconds=1.5, deadline=30):
    """Waits until values() has been the same, and true, for some time."""
    end = time.monotonic() + deadline
    last, since = None, time.monotonic()
    while True:
        now = values()
        if now != last:
            last, since = now, time.monotonic()
        if now and time.monotonic() - since >= seconds:
            return now
        assert time.monotonic() < end, "%s: %r at last" % (what, now)
        time.sleep(0.1)


LOG_LINE = re.compile(
    r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ "
    r"level=(?P<level>error|warning|info|debug) "
    r"proc=(?P<proc>[a-z.]+) pid=(?P<pid>[0-9]+) "
    r'(?:trace_id="(?P<trace_id>(?:[^"\\]|\\["\\]|\\x[0-9a-f]{2})*)" )?'
    r'msg="(?P<msg>(?:[^"\\]|\\["\\]|\\x[0-9a-f]{2})*)"')


def read_log(pool):
    """The lines of the log as dictionaries; each must be a whole one."""
    lines = pool.log_file.read_bytes().split(b"\n")
    assert lines.pop() == b"", "the last line has no end"
    found = []
    for line in lines:
        match = LOG_LINE.fullmatch(line.decode("ascii"))
        assert match, "no log line: %r" % line
        found.append(match.groupdict())
    return found


def said(pool, text, level=None):
    """The lines of the log whose message has text in it."""
    return [line for line in read_log(pool) if text in unescape(line["msg"])
            and level in (None, line["level"])]


def unescape(text):
    return re.sub(
        r"\\(?:x([0-9a-f]{2})|(.))",
        lambda m: chr(int(m.group(1), 16)) if m.group(1) else m.group(2),
        text or "")


def wait_said(pool, text, level=None, deadline=15):
    return wait_until(lambda: said(pool, text, level),
                      "%r in the log" % text, deadline)


def open_db(pool, **options):
    """The pool's SQLite file, by Python's own SQLite."""
    return sqlite3.connect(Path(pool.settings["STATE_DIR"]) / "curt.db",
                           timeout=20, isolation_level=None, **options)


def insert_links(db, links):
    """Puts links, (id, ttl) each, into the store as curt would."""
    db.execute("BEGIN IMMEDIATE")
    db.executemany(
        "INSERT INTO links (short_id, long_url, short_url, created_at, ttl,"
        " hits, analytics) VALUES (?, 'https://example.com/' || ?,"
        " 'http://127.0.0.1/t/' || ?,"
        " strftime('%Y-%m-%dT%H:%M:%S', 'now'), ?, 0, '{}')",
        [(i, i, i, ttl) for i, ttl in links])
    db.execute("COMMIT")


class Load:
    """Threads that each call work(n) with n = 0, 1, … until they are told to
    stop. An exception in one is raised where the load is stopped."""

    def __init__(self, work, threads=3):
        self.work = work
        self.stopping = threading.Event()
        self.errors = []
        self.calls = 0
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(i, threads))
                        for i in range(threads)]

    def run(self, first, step):
        n = first
        while not self.stopping.is_set():
            try:
                self.work(n)
            except Exception as e:  # whatever it is, the test shall see it
                self.errors.append(e)
                return
            with self.lock:
                self.calls += 1
            n += step

    def wait_calls(self, more, deadline=60):
        """Waits until that many more calls were made."""
        goal = self.calls + more
        wait_until(lambda: self.errors or self.calls >= goal,
                   "%d calls" % goal, deadline)
        self.check()

    def check(self):
        if self.errors:
            raise AssertionError(
                "%d of %d threads failed after %d calls: %r"
                % (len(self.errors), len(self.threads), self.calls,
                   self.errors[0])) from self.errors[0]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, kind, value, trace):
        self.stopping.set()
        for thread in self.threads:
            thread.join(60)
        if kind is None:
            assert not [t for t in self.threads if t.is_alive()]
            self.check()
