"""A Debian machine of its own for a test: systemd runs in it as PID 1.

Its disk is this machine's, with every change kept in memory, so that all
packages of this machine are installed in it and nothing that a test installs
or removes is left. Its network has a loopback interface only, so that every
port is free. systemd-nspawn starts it; the units of a package run in it with
their real sandbox.
"""

import errno
import os
import signal
import subprocess
import tempfile
import uuid
from pathlib import Path

import pytest

import harness

# In namespaces of mounts and processes, so that all of it ends with the first
# process, also when the test run is killed. The machine boots with nothing that
# Debian's packages enable. Each dpkg would make an index of all man pages, and
# each apt-get would read what it could download: there is neither. It starts again after a reboot, which
# systemd-nspawn reports with status 133, and after a kill of its PID 1: 1. Its
# control groups are below one of its own, so that machines side by side do not
# share them.
BOOT = """
set -e
for groups in /sys/fs/cgroup/systemd /sys/fs/cgroup/unified /sys/fs/cgroup; do
    [ -e "$groups/cgroup.procs" ] || continue
    mkdir "$groups/curt-$2"
    echo 0 >"$groups/curt-$2/cgroup.procs"
done
mkdir -p /run/systemd/nspawn
mount -t tmpfs -o mode=755 tmpfs /run/systemd/nspawn
mount -t tmpfs -o mode=755 tmpfs "$1"
mkdir "$1/upper" "$1/work" "$1/root"
mount -t overlay overlay \\
    -o "lowerdir=/,upperdir=$1/upper,workdir=$1/work" "$1/root"
(
    cd "$1/root"
    rm -rf usr/sbin/policy-rc.d etc/rc?.d/S* etc/systemd/system/*.wants \\
        lib/systemd/system-generators/* var/lib/man-db/auto-update \\
        var/lib/apt/lists/*_*
    for unit in udevd networkd resolved timesyncd firstboot; do
        ln -sf /dev/null "etc/systemd/system/systemd-$unit.service"
    done
    echo "$2" >etc/machine-id
    echo machine >etc/hostname
    printf '127.0.0.1 localhost\\n127.0.1.1 machine.example machine\\n' >etc/hosts
)
status=133
while [ "$status" -eq 133 ] || [ "$status" -eq 1 ]; do
    status=0
    systemd-nspawn -q -D "$1/root" --machine="curt-$2" -b --register=no \\
        --keep-unit --private-network --console=pipe \\
        --kill-signal=SIGRTMIN+3 $3 systemd.unit=multi-user.target || status=$?
done
"""


def remove_group(group):
    """Whether a control group is removed: not while processes of it end."""
    try:
        group.rmdir()
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise
        return False
    return True


class Machine:
    """`with Machine() as m: m.run("systemctl start curt")`. `binds` are
    directories of this machine that it can read, where they are not on the
    root's file system."""

    def __init__(self, binds=()):
        self.dir = Path(tempfile.mkdtemp(prefix="curt-machine-", dir="/tmp"))
        self.log = open(str(self.dir) + ".log", "w+b")
        self.binds = ["--bind-ro=%s" % path for path in binds]
        self.id = uuid.uuid4().hex
        self.process = None
        self.pid = 0

    def __enter__(self):
        if os.geteuid() != 0:
            self.kill()
            pytest.skip("a machine of its own needs root")
        try:
            self.boot()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_):
        self.kill()

    def boot(self):
        self.process = subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--",
             "unshare", "-m", "-p", "-f", "--kill-child", "--mount-proc",
             "sh", "-c", BOOT, "sh", str(self.dir), self.id,
             " ".join(self.binds)],
            stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log)
        self.pid = harness.wait_until(self.find_init, "PID 1 of the machine",
                                      120, 0.1)
        harness.wait_until(self.is_up, "the machine's boot", 300, 0.1)

    def find_init(self):
        if self.process.poll() is not None:
            raise AssertionError("the machine did not start:\n" + self.logs())
        for pid in harness.descendants_of(self.process.pid):
            try:
                if Path("/proc/%d/comm" % pid).read_text() == "systemd\n":
                    return pid
            except (FileNotFoundError, ProcessLookupError):
                continue  # it has ended meanwhile
        return None

    def is_up(self):
        state = self.run("systemctl is-system-running --wait", check=False)
        return state.stdout.strip() in ("running", "degraded")

    @property
    def root(self):
        """The machine's file system, as this process can read and write it."""
        return Path("/proc/%d/root" % self.pid)

    def argv(self, command):
        """What runs a shell command, or a list of words, in the machine."""
        if isinstance(command, str):
            command = ["sh", "-c", command]
        return ["nsenter", "-t", str(self.pid), "-m", "-u", "-i", "-n", "-p",
                "-C", "-r", "-w", "--", "env", "-i", "LANG=C", "HOME=/root",
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:"
                "/bin", *map(str, command)]

    def run(self, command, check=True, timeout=600, **options):
        result = subprocess.run(
            self.argv(command), capture_output=True, text=True,
            timeout=timeout, check=False, **options)
        if check and result.returncode != 0:
            raise AssertionError("%s: status %d\n%s%s" % (
                command, result.returncode, result.stdout, result.stderr))
        return result

    def start(self, command, **options):
        """A command in the machine that goes on, and ends with its Popen."""
        return subprocess.Popen(
            self.argv(["setpriv", "--pdeathsig", "KILL", "--", *command]),
            text=True, **options)

    def journal(self, *units):
        """Its lines, with all that was sent to journald until now."""
        self.run("journalctl --sync")
        return self.run(["journalctl", "--no-pager", "-o", "short-monotonic",
                         *("--unit=" + unit for unit in units)]).stdout

    def logs(self):
        self.log.seek(0)
        return self.log.read().decode(errors="replace")[-4000:]

    def reboot(self):
        """An orderly one; the disk stays."""
        self.run("systemctl reboot", check=False)
        self.wait_reboot()

    def crash(self):
        """As after a power failure: every process ends at once, and the
        machine boots again. The disk has what was written, also without a
        sync."""
        os.kill(self.pid, signal.SIGKILL)
        self.wait_reboot()

    def wait_reboot(self):
        before = self.pid
        harness.wait_until(lambda: not harness.alive(before), "the shutdown",
                           300, 0.1)
        self.pid = harness.wait_until(self.find_init, "PID 1 after the reboot",
                                      120, 0.1)
        harness.wait_until(self.is_up, "the machine's boot", 300, 0.1)

    def kill(self):
        """The end of the machine: every process ends at once."""
        if self.process:
            self.process.kill()
            self.process.wait()
            harness.wait_until(lambda: not self.pid or
                               not harness.alive(self.pid), "the end of PID 1")
        for top in Path("/sys/fs/cgroup").glob("**/curt-" + self.id):
            for group in sorted(top.glob("**/"), reverse=True):
                harness.wait_until(lambda: remove_group(group),
                                   "the end of the processes in %s" % group)
        self.log.close()
        Path(self.log.name).unlink()
        self.dir.rmdir()
