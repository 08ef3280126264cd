"""What is left after a power loss, at each point of a run: power_disk.py has the
model of the disk."""

import ctypes
import json
import multiprocessing
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

import harness
from fcgi_client import END_REQUEST, STDOUT
from harness import Pool, child_env, make_dir, wait_until, write_conf
from power_disk import SECTOR, ZEROS, Disk, Recorder, State, mix, variants
from proctools import JSON, EnvPool, pending

GOAL = 5000  # states
SHARE = 45  # of the variants of a point, in percent, that are looked at
POOLS = 40  # states with which a whole pool is started
PROCESSES = 2
PAGE = 4096
BOOT_AT = 56  # where the journal has its boot, which is over after a power loss
SYNC_US = 2000
LONG_LOG = 1000 * 4096  # with which curt makes a checkpoint
JOURNAL, LOG, DATABASE = "state/hits", "state/curt.db-wal", "state/curt.db"
URL = "https://example.com/"
QUOTA = 20
INSERT = ("INSERT INTO links (short_id, long_url, short_url, created_at, ttl,"
          " hits, analytics) VALUES"
          " ('%s', 'https://example.com/', %s, '', %s, 0, '{}')")
MAX_HITS = 3

SETTINGS = {"APP_URL": "http://127.0.0.1/t/", "CREATE_AUTH": "open",
            "LIMITS": "on", "CREATE_LIMIT": "10000/1",
            "PRIVATE_TARGETS": "allow", "HITS_FLUSH": "1",
            "STORE_TIMEOUT": "15", "MAX_BODY": "1000000"}


# The run

class Run:
    """Creates, hits, flushes and so on of real pools, recorded."""

    def __init__(self, build, top):
        self.build, self.top = build, top
        self.disk = make_dir(top / "disk")
        self.state, self.run = make_dir(self.disk / "state"), top / "run"
        make_dir(self.disk / "backup")
        self.recorder = Recorder(build.dir / "tests/power/record.so",
                                 top / "log", self.disk, SYNC_US)
        self.links = {}  # {URL without its beginning: id}
        self.count = 0
        self.lock = threading.Lock()
        self.repeated = {}  # {Idempotency-Key: (body, id)}

    def pool(self):
        settings = {**SETTINGS, "STATE_DIR": self.state,
                    "RUNTIME_DIR": make_dir(self.run)}
        environment = self.recorder.env()
        # A build with a shared sanitizer library wants to be the first.
        environment["ASAN_OPTIONS"] = (
            child_env(self.top)["ASAN_OPTIONS"] + ":verify_asan_link_order=0")
        return EnvPool(self.build, settings, workers=3, workdir=self.top,
                       environment=environment)

    def url(self, kind, size=0):
        with self.lock:
            self.count += 1
            return "%s%s/%d%s" % (URL, kind, self.count, "/" + "x" * size
                                  if size else "")

    def create(self, pool, kind="plain", key=None, repeat=None, **members):
        headers = dict(JSON)
        if key:
            headers["X-Api-Key"] = key
        if repeat:
            headers["Idempotency-Key"] = repeat
        body = json.dumps({"long_url": self.url(kind), **members})
        if repeat and repeat in self.repeated:
            body = self.repeated[repeat]
        elif repeat:
            self.repeated[repeat] = body
        answer = pool.request("POST", "/create", headers, body)
        assert answer.status in (200, 429), answer.raw
        if answer.status == 200:
            link = json.loads(answer.body)
            with self.lock:
                self.links[link["long_url"][len(URL):]] = link["short_id"]
            return link["short_id"]
        return None

    def create_many(self, pool, count, size):
        body = json.dumps([{"long_url": self.url("many", size)}
                           for _ in range(count)])
        answer = pool.request("POST", "/create", JSON, body)
        assert answer.status == 200, answer.raw
        return [result["link"]["short_id"]
                for result in json.loads(answer.body)]

    def follow(self, pool, *ids):
        for short_id in ids:
            self.recorder.note("get", short_id)
            pool.request("GET", "/t/" + short_id)

    def tool(self, pool, verb, short_id, *options):
        self.recorder.note(verb, short_id, *options)
        pool.tool(verb, short_id, *options)
        self.recorder.note("done", short_id)

    def run_sql(self, *statements):
        """As another program would; what it does is recorded as well."""
        code = ("import sqlite3, sys\n"
                "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
                "for statement in sys.argv[2:]:\n"
                "    db.execute(statement)\n")
        subprocess.run([sys.executable, "-c", code, self.state / "curt.db",
                        *statements], check=True, timeout=60,
                       env={**os.environ, **self.recorder.env()})

    def insert_expired(self, count):
        """Links that expired long ago: the next janitor removes them."""
        ids = ["expired%d" % i for i in range(count)]
        self.run_sql("BEGIN IMMEDIATE", *[
            INSERT % (i, "''", int(time.time()) - 2 * 86400) for i in ids],
                     "COMMIT")
        return ids

    def fill_log(self):
        """Few pages of the database, many times: the next commit of curt finds
        the log so long that it copies it into the database."""
        self.run_sql("PRAGMA wal_autocheckpoint = 0",
                     "PRAGMA synchronous = NORMAL",
                     INSERT % ("filler", "zeroblob(60000)", "NULL"),
                     *["UPDATE links SET short_url = randomblob(60000)"
                       " WHERE short_id = 'filler'"] * 62)

    def together(self, *works):
        """Several requests at once."""
        threads = [threading.Thread(target=work) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)

    def flushed(self, pool):
        """Waits for the janitor's next flush that leaves nothing."""
        wait_until(lambda: pending(pool) == 0, "a flush", interval=0.3)

    def learn(self):
        """What the checks need to know of the whole run."""
        self.first_urls = {i: URL for i in self.old}
        truth = Truth(Counter())
        disk = Disk()
        self.durable, full = {}, None
        for e in self.events:
            disk.take(e)
            if e.kind == "W" and e.path == LOG and e.at > LONG_LOG:
                full = full or e.number
            if e.kind == "B" and e.path == LOG:
                self.durable[e.number] = self.hits_of(disk)
                truth.durable = self.durable
            truth.take(e)
            for short_id, link in truth.links.items():
                self.first_urls.setdefault(short_id, min(link["urls"]))
        names = disk.directory("state").now
        self.journal_sectors = set(names[JOURNAL].now.sectors)
        backup = disk.directory("backup").now["backup/curt.db"]
        Truth.backup_mark = backup.now.mark
        assert full and any(
            e.kind == "W" and e.path == LOG and e.at == 0 and e.number > full
            for e in self.events), "the log did not begin again"
        # Nothing was missed: the log makes the same files.
        for name in sorted(os.listdir(self.state)):
            path = "state/" + name
            assert path in names and (
                names[path].now.read() == (self.disk / path).read_bytes()), path
        assert backup.now.read() == (self.disk / backup.name).read_bytes()

    def hits_of(self, disk):
        """The hits in the database as processes see it."""
        top = make_dir(self.top / "hits")
        names = disk.directory("state").now
        for path in (DATABASE, LOG):
            content = names[path].now.read() if path in names else b""
            (top / os.path.basename(path)).write_bytes(content)
        (top / "curt.db-shm").unlink(missing_ok=True)
        db = sqlite3.connect(top / "curt.db")
        try:
            return dict(db.execute("SELECT short_id, hits FROM links"
                                   " WHERE hits > 0"))
        except sqlite3.OperationalError:
            return {}  # there is no table yet
        finally:
            db.close()


def record_run(build, top):
    r = Run(build, top)
    # 1. A new installation.
    with r.pool().start() as pool:
        first = [r.create(pool) for _ in range(4)]
        pool.tool("plan", "set", "small", "--quota", "%d/month" % QUOTA)
        key = pool.tool("key", "create", "one", "--plan",
                        "small").stdout.strip()
        r.follow(pool, *first, *first, first[0])
        r.together(*[lambda i=i: r.create(pool, repeat="key-%d" % (i // 3))
                     for i in range(9)])
        r.create(pool, "alias", short_id="an-alias")
        r.follow(pool, "an-alias", *first)
        r.flushed(pool)
        r.follow(pool, "an-alias", *first)
        for _ in range(5):
            r.create(pool, "key", key=key)
        limited = r.create(pool, "limited", max_hits=MAX_HITS)
        r.follow(pool, *[limited] * (MAX_HITS + 1))
        r.create(pool, "short", ttl=1)
        r.follow(pool, *first)
    # 2. The log is gone, and there are old links.
    r.old = r.insert_expired(3)
    with r.pool().start() as pool:
        more = [r.create(pool) for _ in range(6)]
        r.tool(pool, "edit", more[0], "--long-url", r.url("edited"))
        r.tool(pool, "delete", more[1])
        r.tool(pool, "delete", first[3])
        same = r.url("same")
        r.together(*[lambda: r.create(pool, long_url=same, find_if_exists=True)
                     for _ in range(4)])
        r.together(*[lambda: r.follow(pool, *more[2:], *first[:3])
                     for _ in range(3)],
                   *[lambda: r.create(pool, "key", key=key)
                     for _ in range(3)])
        r.flushed(pool)
        r.follow(pool, *more[2:], *first[:3])
        r.tool(pool, "edit", more[0], "--long-url", r.url("edited"))
        r.follow(pool, more[0])
    # 3. The log becomes so long that it begins again.
    with r.pool().start() as pool:
        many = r.create(pool, "limited", max_hits=1000)
        r.follow(pool, *r.create_many(pool, 16, 7900)[:2], *[many] * 60)
        for _ in range(QUOTA):
            r.create(pool, "key", key=key)
        r.flushed(pool)
        r.fill_log()
        r.follow(pool, *first[:3], *[many] * 3)
        r.together(*[lambda: r.create(pool) for _ in range(3)])
        r.flushed(pool)
        pool.tool("backup", r.disk / "backup/curt.db")
        r.recorder.note("backup")
        r.follow(pool, *first[:3])
    r.events = r.recorder.events()
    r.learn()
    return r


@pytest.fixture(scope="module")
def run(build, tmp_path_factory):
    top = Path("/dev/shm" if os.access("/dev/shm", os.W_OK) else "/tmp",
               "curt-power-%d" % os.getpid())
    make_dir(top)
    try:
        yield record_run(build, top)
    finally:
        shutil.rmtree(top, ignore_errors=True)


# What must be true of a state

class Truth:
    """What clients were told up to a point, and what they had asked for."""

    def __init__(self, durable):
        self.durable = durable  # {number of a sync's begin: {id: hits}}
        self.links = {}  # {id: {"urls", "ttl", "there", "limited"}}
        self.begun, self.answered = Counter(), Counter()
        self.stored, self.counted = {}, {}  # hits, for certain
        self.by_key = 0
        self.backup = False
        self.wanted = {}
        self.streams, self.syncs = {}, {}

    def take(self, e):
        if e.kind == "N":
            self.take_note(*json.loads(e.path))
        elif e.kind == "S" and (e.data[:1] == b"\1"
                                or (e.pid, e.inode) in self.streams):
            self.take_answer((e.pid, e.inode), e.data)
        elif e.kind == "B" and e.path in (LOG, JOURNAL):
            self.syncs[e.pid, e.inode] = (
                self.durable[e.number] if e.path == LOG else dict(self.answered))
        elif e.kind == "E" and e.path == LOG:
            self.stored = self.syncs[e.pid, e.inode]
        elif e.kind == "E" and e.path == JOURNAL:
            self.counted = self.syncs[e.pid, e.inode]

    def take_note(self, what, short_id=None, *options):
        if what == "get":
            self.begun[short_id] += 1
        elif what == "edit":
            self.links[short_id]["urls"].add(options[1])
            self.wanted[short_id] = {options[1]}
        elif what == "delete":
            self.links[short_id]["there"] = None
        elif what == "done" and short_id in self.wanted:
            self.links[short_id]["urls"] = self.wanted.pop(short_id)
        elif what == "done":
            self.links[short_id]["there"] = False
        elif what == "backup":
            self.backup = True

    def take_answer(self, stream, data):
        """Bytes of a FastCGI answer. It counts when its end is sent."""
        data = self.streams.pop(stream, b"") + data
        text, at = b"", 0
        while at + 8 <= len(data):
            size = int.from_bytes(data[at + 4:at + 6], "big")
            if data[at + 1] == STDOUT:
                text += data[at + 8:at + 8 + size]
            elif data[at + 1] == END_REQUEST:
                self.take_response(*text.split(b"\r\n\r\n", 1))
                return
            at += 8 + size + data[at + 6]
        self.streams[stream] = data

    def take_response(self, head, body):
        status = head.split()[1]
        if status == b"301":
            url = head.split(b"Location: ")[1].split(b"\r")[0].decode()
            for short_id, link in self.links.items():
                if url in link["urls"]:
                    self.answered[short_id] += 1
        elif status == b"200" and body[:1] in b"{[":
            links = json.loads(body)
            for link in links if isinstance(links, list) else [links]:
                link = link.get("link", link)
                if link["short_id"] not in self.links:
                    self.by_key += "/key/" in link["long_url"]
                self.links.setdefault(link["short_id"], {
                    "urls": {link["long_url"]}, "ttl": link.get("ttl"),
                    "there": True, "limited": "max_hits" in link})

    def faults(self, found, state):
        """What is wrong with a state."""
        for text in found.faults:
            yield "fault: " + text
        for short_id, link in self.links.items():
            row = found.links.get(short_id)
            if row is None:
                if link["there"]:
                    yield "lost: acknowledged link " + short_id
                continue
            hits, ttl, url = row
            if link["there"] is False:
                yield "back: deleted link " + short_id
            if url not in link["urls"]:
                yield "changed: URL of " + short_id
            if ttl != link["ttl"]:
                yield "changed: ttl of " + short_id
            least = self.stored.get(short_id, 0)
            if link["limited"]:
                least = self.answered[short_id]
            elif state.whole:
                least = max(least, self.counted.get(short_id, 0))
            if hits < least and link["there"]:
                yield "lost: hits of %s, %d of %d" % (short_id, hits, least)
            if hits > self.begun[short_id]:
                yield "twice: hits of %s, %d of %d" % (
                    short_id, hits, self.begun[short_id])
        for short_id, (hits, ttl, url) in found.links.items():
            if short_id not in self.links and hits > 0:
                yield "twice: hits of " + short_id
            if short_id.startswith("expired"):
                yield "back: expired link " + short_id
        if found.used < self.by_key:
            yield "quota: %d of %d are counted" % (found.used, self.by_key)
        backup = state.files.get("backup/curt.db")
        if self.backup and (backup is None or backup.mark != self.backup_mark):
            yield "lost: the backup"

    backup_mark = None


class Found:
    """What tests/power/check has printed of a state."""

    __slots__ = ("links", "used", "faults")

    def __init__(self, lines, urls):
        self.links, self.used, self.faults = {}, 0, []
        for line in lines:
            kind, *words = line.split("\t")
            if kind == "link":
                short_id, hits, ttl, _, url = words
                self.links[short_id] = (
                    int(hits), None if int(ttl) == 2 ** 63 - 1 else int(ttl),
                    urls[short_id] if url == "=" else url)
            elif kind == "used":
                self.used += int(words[1])
            else:
                self.faults.append(" ".join(words))


def keep_memory():
    """Memory that is free goes back to the kernel late: to map it again costs
    more than all that is done with it."""
    libc = ctypes.CDLL(None)
    assert libc.mallopt(-3, 1 << 24) and libc.mallopt(-1, 1 << 28)


def write_over(fd, data):
    """Makes data of what a file has: writes the pages that differ."""
    old = os.pread(fd, len(data), 0)
    if old != data:
        for at in range(0, len(data), PAGE):
            if old[at:at + PAGE] != data[at:at + PAGE]:
                os.pwrite(fd, data[at:at + PAGE], at)


class Checker:
    """tests/power/check in directories of its own."""

    def __init__(self, run, name):
        self.top = make_dir(run.top / name)
        self.state = make_dir(self.top / "state")
        self.urls = run.first_urls
        self.sectors = run.journal_sectors
        self.settings = {**SETTINGS, "STORE": "sqlite", "STATE_DIR": self.state,
                         "RUNTIME_DIR": make_dir(self.top / "run")}
        conf = write_conf(self.top / "curt.conf", self.settings)
        ids = self.top / "ids"
        ids.write_text("".join("%s\t%s\n" % item
                               for item in self.urls.items()))
        # The header has 4096 bytes, a part of the slots 8192.
        parts = sorted({str(n * SECTOR // 4096 - 1 >> 1) for n in self.sectors
                        if n * SECTOR >= 4096})
        env = child_env(self.top, {
            "LD_PRELOAD": run.recorder.library, "CURT_NO_SYNC": "1",
            "MALLOC_TRIM_THRESHOLD_": "100000000",
            "MALLOC_MMAP_THRESHOLD_": "16000000"})
        self.log = open(self.top / "check.log", "w+")
        self.process = subprocess.Popen(
            [run.build.dir / "tests/power/check", conf, ids, *parts], env=env,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log)

    def place(self, state, shm):
        """Makes the files those of a state: writes what differs from what the
        one before has left. shm: with one that is garbage."""
        files = {path.partition("/")[2]: content
                 for path, content in state.files.items()
                 if path.startswith("state/")}
        for name in os.listdir(self.state):
            if name not in files and not (shm and name == "curt.db-shm"):
                os.unlink(self.state / name)
        for name, content in files.items():
            fd = os.open(self.state / name, os.O_RDWR | os.O_CREAT, 0o600)
            os.ftruncate(fd, content.size)
            if content.size < 1 << 24:
                write_over(fd, content.read())
            else:
                get = content.sectors.get
                for n in self.sectors | content.sectors.keys():
                    sector = get(n, ZEROS)
                    if os.pread(fd, SECTOR, n * SECTOR) != sector:
                        os.pwrite(fd, sector, n * SECTOR)
                os.pwrite(fd, bytes(8), BOOT_AT)
            os.close(fd)
        if shm:
            (self.state / "curt.db-shm").write_bytes(b"\x5a" * 32768)

    def check(self, state, number):
        """number: of the event. Not all can be looked at in full."""
        self.place(state, number % 2 == 0)
        self.process.stdin.write(b"%s\n" % (
            b"all" if number % 4 == 0 else b"links"))
        self.process.stdin.flush()
        lines = []
        for line in self.process.stdout:
            if line == b"end\n":
                return Found(lines, self.urls)
            lines.append(line.decode().rstrip("\n"))
        self.log.seek(0)
        raise AssertionError("check died: " + self.log.read()[-4000:])

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(30) == 0


def looked_at(events, disk):
    """The events in turn whose states are looked at: few of those within a long
    row of writes."""
    row = 0
    for e in events:
        changed = disk.take(e)
        row = row + 1 if e.kind == "W" else 0
        few = row > 16 and mix(e.number) % 32 > 0
        if (changed or e.kind in "SN") and not few:
            yield e


def check_states(job):
    """Checks a part of the states, in a process of its own. Returns how many
    different ones there were of each kind, and what is wrong."""
    run, part, ignore, wanted = job
    keep_memory()
    disk, truth = Disk(ignore), Truth(run.durable)
    checker = Checker(run, "check-%d" % part)
    kinds, seen, faults = Counter(), {}, []
    truth_at = 0
    for e in looked_at(run.events, disk):
        for other in run.events[truth_at:e.number + 1]:
            truth.take(other)
        truth_at = e.number + 1
        for i, (kind, chosen, keep) in enumerate(variants(disk, e.number)):
            if i + (e.kind not in "ES") > 0 and mix(e.number, i) % 100 >= SHARE:
                continue
            state = State(disk, chosen, keep, JOURNAL)
            if state.mark not in seen:
                mine = len(seen) % PROCESSES == part
                seen[state.mark] = mine and checker.check(
                    state, e.number)
                kinds[kind] += mine
            found = seen[state.mark]
            if found:
                faults += ["%d, %s: %s" % (e.number, kind, fault)
                           for fault in truth.faults(found, state)]
        if len(faults) >= 100 if wanted is None else any(
                wanted in fault for fault in faults):
            break
    checker.close()
    return kinds, faults


def start_pools(job):
    """Starts a pool with some of the states, and follows every link. The first
    of them searches for leaks: the others do the same."""
    run, part, _, _ = job
    keep_memory()
    disk, truth, faults, count = Disk(), Truth(run.durable), [], 0
    checker = Checker(run, "pool-%d" % part)
    points = [e.number for e in looked_at(run.events, Disk())]
    mine = {points[len(points) * i // POOLS]
            for i in range(part, POOLS, PROCESSES)}
    for e in run.events:
        disk.take(e)
        truth.take(e)
        if e.number not in mine:
            continue
        every = list(variants(disk, e.number))
        kind, chosen, keep = every[mix(e.number) % len(every)]
        # From nothing: place() does not know what the pool before has left in
        # other parts of the journal.
        for directory in checker.state, Path(checker.settings["RUNTIME_DIR"]):
            shutil.rmtree(directory)
            make_dir(directory)
        checker.place(State(disk, chosen, keep, JOURNAL), True)
        harness.search_leaks = count == part == 0
        faults += ["%d, %s: %s" % (e.number, kind, fault)
                   for fault in pool_faults(run, truth, checker)]
        count += 1
    checker.close()
    return Counter({"started": count}), faults


def pool_faults(run, truth, checker):
    with Pool(run.build, checker.settings, workers=1,
              workdir=checker.top) as pool:
        pool.start()
        with pool.client() as client:
            yield from answer_faults(run, truth, client)
        pool.stop()
    db = sqlite3.connect(checker.state / "curt.db")
    for short_id, hits in db.execute("SELECT short_id, hits FROM links"):
        if hits > truth.begun[short_id] + 1:
            yield "twice: %s, %d" % (short_id, hits)
    db.close()


def answer_faults(run, truth, client):
    """All requests over one connection."""
    def get(short_id):
        return client.request("GET", "/t/" + short_id, keep=True)

    for short_id, link in truth.links.items():
        answer = get(short_id)
        ended = link["limited"] or (
            link["ttl"] is not None and link["ttl"] <= time.time())
        allowed = ({True: {301}, None: {301, 404}, False: {404}}
                   [link["there"]] | ({410} if ended else set()))
        if answer.status not in allowed:
            yield "%s: %d" % (short_id, answer.status)
        elif (answer.status == 301
              and answer.headers["location"] not in link["urls"]):
            yield "%s: %s" % (short_id, answer.headers["location"])
    for key, body in run.repeated.items():
        answer = client.request("POST", "/create",
                                {**JSON, "Idempotency-Key": key}, body,
                                keep=True)
        short_id = json.loads(answer.body).get("short_id")
        told = [i for i, link in truth.links.items()
                if json.loads(body)["long_url"] in link["urls"]]
        if told and short_id not in told:
            yield "repeated %s: %d %s" % (key, answer.status, short_id)
    for short_id in run.old:
        if get(short_id).status not in (404, 410):
            yield "expired link is back"


JOBS = []


def run_job(number):
    """The work is not sent to the process: it has it since its fork."""
    function, *job = JOBS[number]
    return function(job)


def divide(function, run, ignore=lambda event: False, wanted=None):
    """Runs the parts in processes, each until it has found the wanted fault;
    the sums of their kinds, and all faults."""
    JOBS[:] = [(function, run, part, ignore, wanted)
               for part in range(PROCESSES)]
    with multiprocessing.get_context("fork").Pool(PROCESSES) as processes:
        results = processes.map(run_job, range(PROCESSES), 1)
    return (sum((kinds for kinds, _ in results), Counter()),
            [fault for _, faults in results for fault in faults])


def test_every_state_is_sound(run):
    began = time.monotonic()
    kinds, faults = divide(check_states, run)
    text = "%d events, %d states in %.1f s: %s" % (
        len(run.events), kinds.total(), time.monotonic() - began,
        ", ".join("%s %d" % item for item in kinds.most_common()))
    print(text)
    assert not faults, "%s\n%d faults, such as:\n%s" % (
        text, len(faults), "\n".join(faults[:20]))
    assert kinds.total() >= GOAL, text


def test_a_pool_starts_with_it(run):
    kinds, faults = divide(start_pools, run)
    assert not faults, "\n".join(faults[:20])
    assert kinds["started"] >= POOLS


# A disk, or a curt, that does not sync: then the checks must find it.

def test_log_that_is_not_synced_is_found(run):
    wanted = "lost: acknowledged link"
    _, faults = divide(check_states, run, wanted=wanted, ignore=lambda e:
                       e.kind == "E" and e.path == LOG)
    assert [f for f in faults if wanted in f], faults


def test_journal_that_is_not_synced_is_found(run):
    wanted = "twice: hits"
    _, faults = divide(check_states, run, wanted=wanted, ignore=lambda e:
                       e.kind == "E" and e.path == JOURNAL)
    assert [f for f in faults if wanted in f], faults
