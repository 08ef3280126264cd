"""The Debian package and the systemd units, as shipped, in a machine with
systemd: build, install, run, reload, crash, reboot, upgrade, remove, purge."""

import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from debian_package import Package
from fcgi_client import FcgiClient
from harness import end_with_parent, wait_until
from machine import Machine
from proctools import freeze

APT = ("DEBIAN_FRONTEND=noninteractive apt-get -q -y"
       " --no-install-recommends install")
DB = "/var/lib/curt/curt.db"
LOAD = Path(__file__).with_name("site_load.py")


# ---- Build and install --------------------------------------------------


@pytest.fixture(scope="module")
def package(build):
    return Package(build)


@pytest.fixture(scope="module")
def lintian(package, tmp_path_factory):
    """It takes long, so that it runs beside the tests; the last one waits for
    it. Its output is in a file."""
    with open(tmp_path_factory.mktemp("lintian") / "out", "w+",
              encoding="utf-8") as out:
        process = subprocess.Popen(
            end_with_parent(["lintian", "--allow-root", "--fail-on",
                             "error,warning", "--tag-display-limit", "0",
                             package.changes]),
            stdin=subprocess.DEVNULL, stdout=out, stderr=out)
        yield process, out
        process.kill()
        process.wait()


class Host:
    """A machine in which the package is installed behind lighttpd."""

    def __init__(self, machine, package):
        self.machine = machine
        self.run = machine.run
        self.package = package

    def install(self, deb, command="dpkg -i"):
        target = self.machine.root / "root" / deb.name
        shutil.copyfile(deb, target)
        return self.run("%s /root/%s" % (command, deb.name)).stdout

    def conf(self, text, name="curt"):
        """Adds lines to a configuration."""
        with open(self.machine.root / "etc" / "curt" / (name + ".conf"),
                  "a", encoding="ascii") as out:
            out.write(text)

    def show(self, name, unit="curt.service"):
        return self.run(["systemctl", "show", "-P", name, unit]).stdout.strip()

    def is_active(self, unit="curt.service"):
        return self.show("ActiveState", unit) == "active"

    def wait_active(self, unit="curt.service"):
        wait_until(lambda: self.is_active(unit), unit + " active", 60, 0.1)

    def processes(self):
        main = self.show("MainPID")
        return set(self.run("pgrep -P " + main).stdout.split())

    def reload(self):
        """Until each process has the new configuration: systemd 252 does not
        wait for the replacement of the old ones."""
        before = self.processes()
        self.run("systemctl reload curt")
        wait_until(lambda: not before & self.processes(), "new processes",
                   interval=0.1)

    def wait_web_server(self):
        """lighttpd.service counts as started before lighttpd listens."""
        wait_until(lambda: self.run("curl -s http://machine.example/",
                                    check=False).returncode == 0,
                   "an answer of lighttpd", 60, 0.1)

    def master(self, unit="curt.service"):
        """The pid in this process's name space."""
        return self.outer(int(self.show("MainPID", unit)))

    def outer(self, inner):
        """Where the machine's process inner is, seen from here."""
        for status in Path("/proc").glob("[0-9]*/status"):
            try:
                found = re.search(r"^NSpid:\s(.*)$", status.read_text(), re.M)
            except (FileNotFoundError, ProcessLookupError):
                continue
            pid = int(status.parent.name)
            if (found and found[1].split()[-1] == str(inner) and
                    self.is_inside(pid)):
                return pid
        raise AssertionError("no process %d in the machine" % inner)

    def is_inside(self, pid):
        return (os.readlink("/proc/%d/ns/pid" % pid) ==
                os.readlink("/proc/%d/ns/pid" % self.machine.pid))

    def curl(self, path, *options):
        """(status, headers and body) through the web server."""
        text = self.run(["curl", "-si", "-m", "30", *options,
                         "http://machine.example" + path]).stdout
        return int(text.split()[1]), text

    def create(self):
        status, text = self.curl("/create", "-d",
                                 '{"long_url": "https://www.debian.org/"}')
        assert status == 200, text
        return text.split()[-1].rpartition("/")[2]

    def follow(self, short_id):
        status, text = self.curl("/t/" + short_id)
        assert status == 301, text

    def hits(self):
        """{short_id: hits} when all are in the store."""
        wait_until(lambda: json.loads(self.run(
            "curt hits --json").stdout)["pending"] == 0, "all hits flushed",
            interval=0.2)
        rows = self.query("SELECT short_id, hits FROM links")
        return {short_id: int(hits) for short_id, hits in
                (row.split() for row in rows.splitlines())}

    def query(self, sql):
        return self.run(["sqlite3", "-readonly", "-cmd", ".timeout 30000",
                         "-separator", " ", DB, sql]).stdout

    def links(self):
        return int(self.query("SELECT count(*) FROM links"))

    def wait_links(self, more):
        goal = self.links() + more
        wait_until(lambda: self.links() >= goal, "%d links more" % more, 60,
                   0.2)

    def starts(self):
        return self.machine.journal("curt.service").count("Starting curt")


@pytest.fixture(scope="module")
def host(package, lintian):
    with Machine() as machine:
        host = Host(machine, package)
        machine.run("systemctl enable --now lighttpd")
        host.output = host.install(package.deb, APT)
        yield host


def test_install_gives_a_running_service(host):
    """Before the first key there is nobody who may create a link."""
    assert host.is_active() and host.is_active("curt.socket")
    assert host.curl("/")[0] == 200
    status, text = host.curl("/create", "-d",
                             '{"long_url": "https://www.debian.org/"}')
    assert status == 401, text
    key = host.run("curt key create alice").stdout.split()
    key = next(word for word in key if word.startswith("curt_"))
    status, text = host.curl("/create", "-H", "X-Api-Key: " + key, "-d",
                             '{"long_url": "https://www.debian.org/"}')
    assert status == 200, text
    host.follow(text.split()[-1].rpartition("/")[2])
    doctor = host.run("curt doctor").stdout
    assert ", 0 failed" in doctor, doctor
    assert "workers" in host.show("StatusText")
    for path, owner, mode in (
            ("/etc/curt/curt.conf", "root:curt", "640"),
            ("/run/curt/curt.sock", "curt:www-data", "660"),
            ("/run/curt", "curt:curt", "755"),
            ("/var/lib/curt", "curt:curt", "750")):
        shown = host.run(["stat", "-c", "%U:%G %a", path]).stdout.strip()
        assert shown == owner + " " + mode, (path, shown)


# For the tests that follow: links from anyone, as many as they like.
def test_reload_takes_a_configuration_or_fails(host):
    host.conf("CREATE_AUTH = open\nLIMITS = off\nHITS_FLUSH = 1\n")
    host.reload()
    host.follow(host.create())
    host.conf("NO_SUCH_KEY = 1\n")
    failed = host.run("systemctl reload curt", check=False)
    assert failed.returncode != 0
    assert re.search(r"curt.conf:\d+: NO_SUCH_KEY",
                     host.machine.journal("curt.service"))
    host.follow(host.create())
    host.run("sed -i /NO_SUCH_KEY/d /etc/curt/curt.conf")
    host.reload()
    assert host.starts() == 1


# ---- Sandbox ------------------------------------------------------------


def test_units_are_sound_and_strict(host):
    services = ["curt.service", "curt@test.service"]
    done = host.run(["systemd-analyze", "verify", *services, "curt.socket",
                     "curt@test.socket"])
    assert done.stdout + done.stderr == ""
    for service in services:
        shown = host.run(["systemd-analyze", "security", "--no-pager",
                          service]).stdout
        assert float(re.search(r"level for \S+: ([0-9.]+)", shown)[1]) < 2.0


def test_processes_have_no_rights(host):
    pids = host.run("pgrep curt.fcgi").stdout.split()
    assert len(pids) >= 4
    for pid in pids:
        status = host.run(["cat", "/proc/%s/status" % pid]).stdout
        found = dict(re.findall(r"^(\w+):\t(\S+)", status, re.M))
        assert found["Seccomp"] == "2" and found["NoNewPrivs"] == "1"
        for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
            assert int(found[name], 16) == 0, (name, found[name])
    made = host.run([
        "nsenter", "-t", pids[-1], "-m", "sh", "-c",
        "for x in /etc/x /etc/curt/x /usr/sbin/x /var/lib/x /run/x /run/lock/x"
        " /dev/shm/x /home/x /root/x /var/log/x /var/lib/curt/x /run/curt/x; "
        "do touch $x && echo $x && rm $x; done"], check=False)
    assert made.stdout.split() == ["/var/lib/curt/x", "/run/curt/x"]


# ---- Instances and keys -------------------------------------------------


def test_stages_live_side_by_side(host):
    for name in ("test", "prod"):
        host.conf("APP_URL = http://machine.example/{0}/\n"
                  "STATE_DIR = /var/lib/curt-{0}\n"
                  "RUNTIME_DIR = /run/curt-{0}\n"
                  "CREATE_AUTH = open\n".format(name), name)
        host.run("systemctl enable --now curt@{0}.socket curt@{0}.service"
                 .format(name))
        assert host.is_active("curt@%s.service" % name)
        host.run("curt -c /etc/curt/%s.conf create https://www.debian.org/ "
                 "--id both" % name)
    assert host.run("curt get both", check=False).returncode != 0
    listed = host.run("curt -c /etc/curt/test.conf get both").stdout
    assert "http://machine.example/test/both" in listed
    owner = host.run("stat -c %U:%G:%a /run/curt-test/curt.sock").stdout
    assert owner.strip() == "curt:www-data:660"
    host.run("systemctl restart curt@test")
    host.run("systemctl disable --now curt@prod.socket curt@prod.service")


FAKE_DYNAMODB = """
import http.server
class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        print(self.headers["Authorization"], flush=True)
        body = b'{"__type": "x#ResourceNotFoundException"}'
        self.send_response(400)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
http.server.HTTPServer(("127.0.0.1", 8000), Handler).serve_forever()
"""


def test_keys_are_a_credential_of_the_service(host):
    """Root's file on the disk, which the account curt cannot read."""
    keys = host.machine.root / "etc" / "credstore" / "curt-aws.aws"
    keys.parent.mkdir(exist_ok=True)
    keys.write_text("[default]\naws_access_key_id = AKIDOFCREDSTORE\n"
                    "aws_secret_access_key = secret\n")
    keys.chmod(0o600)
    host.conf("APP_URL = http://machine.example/aws/\n"
              "STATE_DIR = /var/lib/curt-aws\nRUNTIME_DIR = /run/curt-aws\n"
              "STORE = dynamodb\nAWS_REGION = eu-west-1\n"
              "AWS_ENDPOINT_URL_DYNAMODB = http://127.0.0.1:8000\n"
              "AWS_SHARED_CREDENTIALS_FILE = "
              "/run/credentials/curt@aws.service/curt.aws\n", "aws")
    fake = host.machine.start(["python3", "-c", FAKE_DYNAMODB],
                              stdout=subprocess.PIPE)
    try:
        host.run("systemctl start curt@aws.service")
        wait_until(lambda: host.run("ss -ltn").stdout.count(":8000 "),
                   "the fake table")
        socket = host.machine.root / "run" / "curt-aws" / "curt.sock"
        assert FcgiClient(socket).request("GET", "/aws/abc").status == 503
        assert "Credential=AKIDOFCREDSTORE/" in fake.stdout.readline()
        host.run("systemctl stop curt@aws.service curt@aws.socket")
    finally:
        fake.kill()
        fake.wait()


# ---- Crashes ------------------------------------------------------------


def test_killed_master_is_replaced(host):
    link = host.create()
    before = host.show("MainPID")
    os.kill(host.master(), signal.SIGKILL)
    host.follow(link)  # it waits in the socket
    host.wait_active()
    assert host.show("MainPID") != before
    assert host.is_active("curt.socket")


def test_watchdog_replaces_a_stopped_master(host):
    drop_in = host.machine.root / "run/systemd/system/curt.service.d"
    drop_in.mkdir(parents=True)
    (drop_in / "watchdog.conf").write_text("[Service]\nWatchdogSec=1\n")
    host.run("systemctl daemon-reload && systemctl restart curt")
    before = host.show("MainPID")
    freeze(host.master())
    wait_until(lambda: host.show("MainPID") not in ("0", before),
               "another master", 60, 0.2)
    host.wait_active()
    assert "Watchdog timeout" in host.machine.journal("curt.service")
    shutil.rmtree(drop_in)
    host.run("systemctl daemon-reload && systemctl restart curt")


def test_invalid_configuration_is_reported_and_not_tried_for_ever(host):
    host.run("systemctl reset-failed")
    host.conf("NO_SUCH_KEY = 1\n")
    assert host.run("systemctl restart curt", check=False).returncode != 0
    shown = host.run("systemctl status curt --no-pager -l",
                     check=False).stdout
    assert re.search(r"curt.conf:\d+: NO_SUCH_KEY", shown), shown
    assert host.show("ExecMainStatus") == "78"
    # Each request starts it again, until systemd has enough.
    for _ in range(7):
        assert host.curl("/t/x")[0] in (500, 503)
    starts = host.starts()
    time.sleep(2)
    assert host.starts() == starts
    host.run("sed -i /NO_SUCH_KEY/d /etc/curt/curt.conf")
    host.run("systemctl reset-failed; systemctl restart curt")
    host.follow(host.create())


# ---- Boot ---------------------------------------------------------------


@pytest.mark.parametrize("how", ["reboot", "crash"])
def test_boot_goes_on_where_it_was(host, how):
    link = host.create()
    for _ in range(3):
        host.follow(link)
    getattr(host.machine, how)()
    host.wait_active()
    host.wait_web_server()
    assert host.hits()[link] == 3
    host.follow(link)
    assert host.hits()[link] == 4
    assert host.is_active("curt@test.service")
    assert not host.is_active("curt@prod.socket")


# ---- Upgrade ------------------------------------------------------------


def test_upgrade_and_downgrade_lose_no_request(host):
    shutil.copyfile(LOAD, host.machine.root / "root" / LOAD.name)
    test_master = host.show("MainPID", "curt@test.service")
    masters = [host.show("MainPID")]
    load = host.machine.start(
        ["python3", "/root/" + LOAD.name, "machine.example", "200"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        host.wait_links(100)
        for deb in (host.package.newer, host.package.deb):
            host.install(deb)
            masters.append(host.show("MainPID"))
            host.run("systemctl reload curt")
            host.wait_links(100)
        text = load.communicate(timeout=120)[0]
    finally:
        load.kill()
        load.wait()
    report = json.loads(text)
    assert len(set(masters)) == 3, masters
    assert host.show("MainPID", "curt@test.service") != test_master
    assert report["failed"] == []
    assert report["requests"] > 1000
    hits = host.hits()
    assert {link: hits.get(link) for link in report["links"]} == \
        report["links"]


# ---- The end ------------------------------------------------------------


def test_removal_keeps_and_purge_leaves_the_links(host):
    link = host.create()
    host.run("dpkg -r curt")
    assert not host.is_active() and not host.is_active("curt.socket")
    assert host.run("pgrep curt.fcgi", check=False).stdout == ""
    host.install(host.package.deb)
    host.wait_active()
    host.follow(link)
    host.run("systemctl start curt@test.socket curt@test.service")
    assert host.hits()[link] == 1
    output = host.run("dpkg -P curt").stdout
    assert "the links stay in /var/lib/curt;" in output
    assert host.run("pgrep curt.fcgi", check=False).stdout == ""
    host.run("test -e %s && test ! -e /etc/curt && test ! -e /run/curt" % DB)
    left = host.run("find /etc /lib/systemd /usr/lib/sysusers.d -name '*curt*'"
                    " ! -path '/etc/credstore/*'").stdout
    assert left == ""
    host.run("getent passwd curt")
    host.run("lighttpd -tt -f /etc/lighttpd/lighttpd.conf")
    assert host.curl("/")[0] != 503


def test_nothing_crashed(host):
    """Of all that the tests before started."""
    lines = host.machine.journal("curt.service",
                                 "curt@test.service").splitlines()
    assert len(lines) > 20
    assert [line for line in lines if "level=error" in line
            and "NO_SUCH_KEY" not in line] == []
    assert "dumped core" not in host.run("journalctl --no-pager").stdout


def test_package_has_no_fault_that_lintian_knows(lintian):
    process, out = lintian
    status = process.wait(600)
    out.seek(0)
    assert status == 0, out.read()
