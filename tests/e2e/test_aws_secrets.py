"""Where the secrets of AWS's keys must not be found: in a log, an answer, what
the tool prints, a command line, a core dump, or a file of curt's that others
can read. Each fault that curt has words for is provoked, by servers that
repeat what they were sent."""

import json
import mmap
import os
import re
import resource
import shutil
import signal
import stat
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

import aws_fakes
import harness
from aws_cloud import KNOWN_ID
from aws_cloud import cloud, known_table  # fixtures
from aws_fakes import ROLE, SILENCE, json_answer, text_answer
from aws_wire import Answer
from harness import wait_until
from proctools import (EnvPool, command_line, create, said, wait_complete,
                       wait_gone)

HTML = {"Accept": "text/html"}


# ---- All that curt says ---------------------------------------------------


def environment(cloud):
    """Temporary keys in curt.conf."""
    return cloud.issuer.issue().env(), None


def web_identity(cloud):
    sts = cloud.sts()
    return cloud.web_identity(sts), sts


def role(cloud):
    """Keys of a profile, and the role's that they get from STS."""
    sts = cloud.sts()
    cloud.aws_file("credentials", "[base]\n"
                   + cloud.issuer.issue().profile())
    cloud.aws_file("config", "[default]\nsource_profile = base\n"
                   "role_arn = %s\n" % ROLE)
    return sts.env(), sts


def process(cloud):
    """A command that has a secret among its arguments."""
    keys = cloud.write(cloud.workdir / "keys",
                       cloud.issuer.issue().process_output())
    cloud.aws_file("config", "[default]\ncredential_process = "
                   "true %s && cat %s\n" % (cloud.secret(), keys))
    return {}, None


def container(cloud):
    authorization = cloud.secret("Bearer ")
    service = cloud.container(authorization=authorization)
    return {**service.env(),
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": authorization}, service


def container_file(cloud):
    authorization = cloud.secret("Bearer ")
    service = cloud.container(authorization=authorization)
    path = cloud.write(cloud.workdir / "authorization", authorization)
    return {**service.env(),
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": path}, service


def instance(cloud):
    imds = cloud.imds()
    return imds.env(), imds


SOURCES = [environment, web_identity, role, process, container,
           container_file, instance]


def everything(request):
    """All that a request had in it."""
    return "%s %s" % (request.headers, request.body.decode())


def repeating_front(request, forward):
    """DynamoDB, as it would be if it repeated its requests in its errors."""
    text = everything(request)
    return Answer(json.dumps({
        "__type": "com.amazon.coral.validate#ValidationException",
        "message": text[-400:] + request.value("Authorization") + text}), 400)


def repeating_service(request):
    """A source of keys that does the same, in each form that they have."""
    text = everything(request)
    if b"Action=" in request.body:
        return aws_fakes.sts_error("AccessDenied", text)
    if request.path in (aws_fakes.Imds.TOKEN, aws_fakes.Imds.ROLES):
        return None
    return json_answer({"Code": "AccessDenied", "Message": text})


def broken_service(keys):
    """One that cuts its documents short, with the keys in them."""
    text = json.dumps(keys.document())

    def answer(request):
        if request.path in (aws_fakes.Imds.TOKEN, aws_fakes.Imds.ROLES):
            return None
        if b"Action=" in request.body:
            return Answer("<AssumeRoleResponse><Credentials><SecretAccessKey>"
                          + keys.secret + "</SecretAccessKey><SessionToken>"
                          + keys.token, kind="text/xml")
        return text_answer(text[:-20])
    return answer


class Heard:
    """Every answer that a pool gave, and all that the tool said."""

    def __init__(self, cloud, pool):
        self.cloud = cloud
        self.pool = pool
        self.turn = 0

    def ask(self, *statuses):
        for headers in ({}, HTML):
            for answer in (
                    self.pool.request("GET", "/t/" + KNOWN_ID, headers),
                    self.pool.request("GET", "/t/nobody", headers),
                    create(self.pool, "https://example.com/", 20, headers)):
                assert answer.status in statuses, answer.raw
                self.cloud.check_clean(answer.raw + answer.stderr,
                                       "an answer")

    def run(self, *args):
        done = self.pool.tool(*args, check=False)
        self.cloud.check_clean(done.stdout + done.stderr,
                               "curt " + " ".join(args))
        return done

    # What reads keys; `curt.fcgi -t` as well.
    VERBS = (["get", KNOWN_ID], ["table", "check"], ["doctor"])

    def tools(self, *verbs):
        """Runs verbs, in JSON each second time."""
        self.turn += 1
        form = ["--json"] * (self.turn % 2)
        for args in verbs:
            done = self.run(*args, *form)
            assert done.returncode != os.EX_USAGE, done.stderr

    def checked(self):
        """`curt.fcgi -t`."""
        tool = harness.Build(self.pool.build.dir)
        tool.tool = tool.fcgi
        done = harness.run_tool(tool, self.pool.workdir, self.pool.env(),
                                ("-c", self.pool.conf), ["-t"], check=False)
        self.cloud.check_clean(done.stdout + done.stderr, "curt.fcgi -t")

    def files(self):
        """A secret is only in files that nobody else can read; those that
        the test wrote itself do not count."""
        holders = set()
        for top in ("STATE_DIR", "RUNTIME_DIR"):
            top = Path(self.pool.settings[top])
            for path in top.rglob("*"):
                mode = path.lstat().st_mode
                if not stat.S_ISREG(mode):
                    continue
                data = path.read_bytes()
                if any(n.encode() in data for n in self.cloud.needles()):
                    assert mode & 0o077 == 0, (path, oct(mode))
                    holders.add(path.name)
        for path in self.pool.workdir.iterdir():
            if path.is_file() and path != self.pool.conf:
                self.cloud.check_clean(path.read_bytes(), str(path))
        return holders

    def processes(self):
        for pid in [self.pool.pid] + self.pool.children():
            self.cloud.check_clean(" ".join(command_line(pid)),
                                   "a command line")


@pytest.mark.parametrize("source", SOURCES, ids=lambda f: f.__name__)
def test_no_secret_is_told(cloud, source):
    settings, service = source(cloud)
    with cloud.pool(workers=1, LOG_LEVEL="debug", HITS_FLUSH=1,
                    **settings) as pool:
        pool.start()
        heard = Heard(cloud, pool)
        heard.ask(200, 301, 404)
        assert len(cloud.issuer.used()) == 1
        heard.tools(*heard.VERBS, ["config"])
        heard.tools(["config"])
        heard.checked()
        heard.processes()
        # What stays is not shared, so it is in no file at all.
        assert heard.files() == (
            set() if source is environment else {"credentials"})

        good, cloud.front.fault = cloud.front.fault, repeating_front
        heard.ask(400, 500, 503)
        heard.tools(*heard.VERBS)
        heard.checked()
        cloud.front.fault = good

        # The keys end, and the source fails in every way. The doctor, which
        # says most, meets each of them.
        troubles = [repeating_service, broken_service(cloud.issuer.issue()),
                    text_answer("no", 500)]
        for i, trouble in enumerate(troubles if service else [None]):
            if service:
                service.trouble = trouble
            else:
                cloud.write(cloud.workdir / "keys", "{")
            cloud.issuer.revoke()
            heard.ask(503)
            heard.tools(*heard.VERBS if i == 0 else [["doctor"]])
        heard.checked()
        wait_until(lambda: said(pool, "", "error") or said(
            pool, "", "warning"), "the fault in the log")
        cloud.check_clean(pool.logs(), "the log")
        heard.processes()
        heard.files()
    cloud.check_clean(pool.logs(), "the log")


# ---- The shared file ------------------------------------------------------


def credentials_of(pool):
    return Path(pool.settings["RUNTIME_DIR"]) / "credentials"


@pytest.mark.parametrize("planted", ["readable", "linked", "symlink"])
def test_keys_are_not_put_where_others_read(cloud, planted):
    """A file that waits there in the place of curt's own, with everything in
    it as it should be."""
    imds = cloud.imds()
    with cloud.pool(workers=1, **imds.env()) as pool:
        pool.start()
        # The server of the keys has a second for its answer.
        wait_until(lambda: pool.request("GET", "/t/" + KNOWN_ID).status == 301,
                   "the first keys")
        path = credentials_of(pool)
        assert path.stat().st_mode & 0o7777 == 0o600
        pool.stop()

        cloud.issuer.revoke()
        other = pool.workdir / "other"
        if planted == "readable":
            path.chmod(0o644)
        elif planted == "linked":
            os.link(path, other)
        else:
            path.rename(other)
            path.symlink_to(other)
        seen = os.open(other if other.exists() else path, os.O_RDONLY)
        pool.start()
        assert pool.request("GET", "/t/" + KNOWN_ID).status == 301
        keys = cloud.issuer.used()[-1]
        assert not keys.revoked
        planted_data = os.read(seen, 1 << 20)
        os.close(seen)
        for needle in keys.needles():
            assert needle.encode() not in planted_data
        if path.exists() and keys.needles()[0].encode() in path.read_bytes():
            assert path.lstat().st_mode & 0o7777 == 0o600


# ---- Core dumps -----------------------------------------------------------


def as_user():
    """What starts a command under another account, where this run has one to
    give."""
    user = harness.web_user()
    if user is None:
        return []
    return ["setpriv", "--reuid", user.pw_uid, "--regid", user.pw_gid,
            "--clear-groups"]


class UserPool(EnvPool):
    """A pool under an account of its own."""

    def command(self, workers):
        return as_user() + super().command(workers)


def is_dumpable(pid):
    """The kernel gives the files in /proc/PID to root where it is not."""
    return os.stat("/proc/%d/mem" % pid).st_uid != 0


def test_processes_with_keys_cannot_be_dumped(cloud):
    """So nobody else of the same account can look into them either."""
    imds = cloud.imds()
    with cloud.pool(workers=1, cls=UserPool, **imds.env()) as pool:
        pool.start()
        assert pool.request("GET", "/t/" + KNOWN_ID).status == 301
        for pid in [pool.pid] + pool.children():
            assert not is_dumpable(pid), command_line(pid)
    with cloud.pool(workers=1, cls=UserPool, STORE="sqlite") as pool:
        pool.start()
        assert all(map(is_dumpable, [pool.pid] + pool.children()))


@pytest.mark.parametrize("program", ["curt", "curt.fcgi"])
def test_the_tool_cannot_be_dumped(cloud, program):
    """Seen while it waits for a source: its configuration has keys, too."""
    container = cloud.container()
    container.trouble = SILENCE
    top = harness.make_workdir()
    env = harness.child_env(top, cloud.settings(
        CURT_CONF="/dev/null", STATE_DIR=harness.make_dir(top / "state"),
        RUNTIME_DIR=harness.make_dir(top / "run"), HOME=top,
        AWS_SECRET_ACCESS_KEY=cloud.secret(), **container.env()))
    args = (["get", KNOWN_ID] if program == "curt" else ["-t"])
    child = subprocess.Popen(
        list(map(str, as_user() + [cloud.build.dir / program] + args)),
        env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, cwd=top)
    try:
        wait_until(lambda: container.requests, "a question", 10)
        assert not is_dumpable(child.pid)
    finally:
        child.kill()
        child.wait()
        shutil.rmtree(top)


def mapped_flags(pid, path):
    """VmFlags of each mapping of a file."""
    text = Path("/proc/%d/smaps" % pid).read_text()
    found = []
    for block in re.split(r"\n(?=[0-9a-f]+-[0-9a-f]+ )", text):
        if block.splitlines()[0].endswith(" " + str(path)):
            found.append(re.search(r"^VmFlags: (.*)", block, re.M).group(1)
                         .split())
    return found


@contextmanager
def cores_allowed():
    """What is started in here may leave a core file of any size. Its value:
    whether this system makes any, in the directory of the process."""
    old = resource.getrlimit(resource.RLIMIT_CORE)
    pattern = Path("/proc/sys/kernel/core_pattern").read_text().strip()
    resource.setrlimit(resource.RLIMIT_CORE, (old[1], old[1]))
    try:
        yield old[1] != 0 and pattern[:1] not in ("|", "/", "")
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, old)


def crash_a_worker(pool):
    """SIGSEGV for a worker that has served; its core file, if it left one."""
    victim = pool.workers()[0]
    os.kill(victim, signal.SIGSEGV)
    wait_gone([victim])
    wait_complete(pool)
    return [p for p in pool.workdir.iterdir()
            if "core" in p.name and not p.name.endswith(".log")]


def test_a_crash_leaves_no_secret(cloud):
    imds = cloud.imds()
    # The sanitizers would catch the signal, and forbid the file.
    crash = {"ASAN_OPTIONS": "handle_segv=0:disable_coredump=0"}
    with cores_allowed() as cores:
        with cloud.pool(workers=1, STORE="sqlite") as pool:
            pool.environment.update(crash)
            pool.start()
            found = crash_a_worker(pool)
            # Otherwise the rest of this test would show nothing.
            assert len(found) == (1 if cores else 0)
        with cloud.pool(workers=1, **imds.env()) as pool:
            pool.environment.update(crash)
            pool.start()
            assert pool.request("GET", "/t/" + KNOWN_ID).status == 301
            if os.geteuid() == 0:
                [worker] = pool.workers()
                maps = mapped_flags(worker, credentials_of(pool))
                assert maps and all("dd" in flags for flags in maps)
            for path in crash_a_worker(pool):
                with open(path, "rb") as f, mmap.mmap(
                        f.fileno(), 0, prot=mmap.PROT_READ) as core:
                    for needle in cloud.needles():
                        assert core.find(needle.encode()) < 0
