"""deploy/Containerfile and deploy/compose.yaml, without a registry: the stages
"web" and "curt" are overlays of this machine's root, which is Debian with the
packages, and what the files say is done there by mount, chroot and setpriv.
The programs are those under test; the commands of the stage "build" are
compared with README.md."""

import json
import os
import re
import shutil
import signal
import subprocess

import pytest
import yaml

import harness
from debian_package import Package
from test_haproxy import request

DEPLOY = harness.ROOT / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]


def parse():
    """The instructions of each stage, {name: [(instruction, argument)]}."""
    text = (DEPLOY / "Containerfile").read_text()
    text = re.sub(r"^ *#.*\n", "", text, flags=re.M).replace("\\\n", " ")
    stages, name = {}, "before"
    for line in filter(None, map(str.strip, text.splitlines())):
        instruction, argument = line.split(None, 1)
        if instruction == "FROM":
            base, name = argument.split(" AS ")
            assert base == "${BASE}"
        stages.setdefault(name, []).append((instruction, argument))
    return stages


STAGES = parse()


def last(stage, instruction):
    return [a for i, a in STAGES[stage] if i == instruction][-1]


def health_of(stage):
    return json.loads(last(stage, "HEALTHCHECK").removeprefix("CMD "))


class Machine:
    """A mount namespace with a root for each stage. A process holds it."""

    def __init__(self):
        self.dir = harness.make_workdir()
        self.holder = subprocess.Popen(harness.end_with_parent(
            ["unshare", "-m", "--propagation", "private", "sh", "-ec",
             "mount -t tmpfs -o mode=0755 tmpfs '%s'; echo ready;"
             " exec sleep infinity" % self.dir]), stdout=subprocess.PIPE)
        assert self.holder.stdout.readline() == b"ready\n"

    def inside(self, *argv):
        return ["nsenter", "-t", self.holder.pid, "-m", "--", *argv]

    def sh(self, script, *args):
        done = subprocess.run(
            [str(a) for a in self.inside("sh", "-ec", script, "sh", *args)],
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, text=True, timeout=300)
        assert done.returncode == 0, (script, args, done.stdout[-4000:])

    def root(self, stage):
        return self.dir / stage / "root"

    def close(self):
        self.holder.kill()
        self.holder.wait()
        self.holder.stdout.close()
        shutil.rmtree(self.dir, ignore_errors=True)

    # ---- A stage ----

    def built(self, build):
        """What the stage "build" leaves, with the programs under test."""
        self.sh('mkdir -p "$1/usr/bin" "$1/usr/sbin"; cp "$2" "$1/usr/bin"; '
                'cp "$3" "$1/usr/sbin"', self.root("build") / "image",
                build.tool, build.fcgi)

    def build(self, stage):
        self.sh('mkdir -p "$1/up" "$1/work" "$1/root"; mount -t overlay -o '
                '"lowerdir=/,upperdir=$1/up,workdir=$1/work" overlay "$1/root"'
                '; mount --rbind /dev "$1/root/dev"; mount -t proc proc '
                '"$1/root/proc"', self.dir / stage)
        for instruction, argument in STAGES[stage]:
            if instruction == "COPY":
                self.copy(stage, argument.split())
            elif instruction == "RUN":
                self.sh('exec chroot "$1" sh -ec "$2"', self.root(stage),
                        self.offline(argument))

    def copy(self, stage, words):
        source = harness.ROOT
        if words[0].startswith("--from="):
            source = self.root(words.pop(0).removeprefix("--from="))
        *names, target = words
        target = str(self.root(stage)) + target
        for name in names:
            path = source / name.lstrip("/")
            self.sh('mkdir -p "$(dirname "$2x")"; if [ -d "$1" ]; then mkdir -p'
                    ' "$2"; cp -a "$1/." "$2"; else cp "$1" "$2"; fi',
                    path, target)

    def offline(self, command):
        """Nothing is downloaded: each package must be installed here."""
        return command.replace(
            "apt-get -q update", "rm -f /var/lib/apt/lists/*_*").replace(
            "apt-get -q -y", "apt-get -q -y --no-download --no-upgrade")

    # ---- A service ----

    def mount_volumes(self, stage):
        root, service = self.root(stage), SERVICES[stage]
        for volume in service["volumes"]:
            name, path = volume.split(":")
            options = (COMPOSE["volumes"][name] or {}).get("driver_opts")
            self.sh('[ -d "$1" ] || { mkdir -p "$1"; [ -z "$3" ] || mount -t '
                    'tmpfs -o "$3" tmpfs "$1"; [ -n "$3" ] || { chown '
                    '--reference="$2" "$1"; chmod --reference="$2" "$1"; }; };'
                    ' mkdir -p "$2"; mount --bind "$1" "$2"',
                    self.dir / "volumes" / name, str(root) + path,
                    options["o"] if options else "")
        for path in service.get("tmpfs", []):
            self.sh('mount -t tmpfs -o mode=1777 tmpfs "$1"', str(root) + path)
        if service["read_only"]:
            self.sh('mount -o remount,ro "$1"', root)

    def argv(self, stage, command):
        """A command as the service runs it, with what compose.yaml takes from
        it."""
        service, user = SERVICES[stage], last(stage, "USER")
        options = ["--reuid=" + user, "--regid=" + user, "--init-groups"]
        assert service["cap_drop"] == ["ALL"]
        options += ["--bounding-set=-all", "--inh-caps=-all"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        return self.inside("chroot", self.root(stage), "setpriv", *options,
                           "--no-new-privs", "--", *command)

    def status(self, stage, command):
        return subprocess.run(
            [str(a) for a in self.argv(stage, command)], timeout=60,
            stdin=subprocess.DEVNULL, capture_output=True).returncode


class Service(harness.Process):
    """What a service of compose.yaml runs."""

    def __init__(self, machine, stage):
        self.name = stage
        self.stop_signal = getattr(signal, last(stage, "STOPSIGNAL"))
        super().__init__()
        self.machine = machine

    def start(self, **settings):
        environment = {"PATH": os.environ["PATH"],
                       **SERVICES[self.name].get("environment", {}), **settings,
                       "ASAN_OPTIONS": "detect_leaks=0"}
        self.spawn(self.machine.argv(
            self.name, json.loads(last(self.name, "CMD"))), environment)
        self.wait_ready(self.is_healthy)
        return self

    def is_healthy(self):
        return self.machine.status(self.name, health_of(self.name)) == 0


@pytest.fixture(scope="module")
def machine(build):
    if os.geteuid() != 0:
        pytest.skip("mounts overlays")
    made = Machine()
    try:
        made.built(build)
        for stage in SERVICES:
            made.build(stage)
        yield made
    finally:
        made.close()


def test_the_services_work_together(machine):
    """Built, started, healthy, a link and its redirect, stopped and started
    again with the links; nothing else can be written, and no privilege is
    left."""
    port = harness.free_port()
    machine.sh('sed -i "s/8080/$2/" "$1"',
               str(machine.root("web")) + "/etc/lighttpd/lighttpd.conf", port)
    web_health = [a.replace("8080", str(port)) for a in health_of("web")]
    for stage in SERVICES:
        machine.mount_volumes(stage)

    def web_is_healthy():
        return machine.status("web", web_health) == 0

    def redirects():
        status, headers, _ = request(port, "GET", "/" + short_id)
        return (status, headers["Location"]) == (301, "https://example.com/")

    with Service(machine, "curt") as pool, Service(machine, "web") as web:
        web.is_healthy = web_is_healthy
        # The defaults of the programs under test may be other directories.
        settings = {"CREATE_AUTH": "open", "STATE_DIR": "/var/lib/curt",
                    "RUNTIME_DIR": "/run/curt"}
        pool.start(**settings)
        web.start()
        done = subprocess.run(
            ["curl", "-s", "-d", '{"long_url": "https://example.com/"}',
             "http://127.0.0.1:%d/create" % port], capture_output=True,
            text=True, check=True)
        assert done.stdout.startswith("https://sho.rt/"), done
        short_id = done.stdout.strip().rpartition("/")[2]
        assert redirects()

        for pid in [web.pid, pool.pid] + harness.descendants_of(pool.pid):
            with open("/proc/%d/status" % pid) as f:
                text = f.read()
            assert re.search(r"^CapEff:\t0+\nCapBnd:\t0+$", text, re.M)
            assert "\nNoNewPrivs:\t1\n" in text
            assert not re.search(r"^Uid:\t0\b", text, re.M)
        for path in ("/usr/bin/x", "/etc/curt/x", "/x"):
            assert machine.status("curt", ["touch", path]) != 0

        pool.stop()
        assert not pool.is_healthy() and not web_is_healthy()
        assert request(port, "GET", "/" + short_id)[0] == 503
        pool.start(**settings)
        harness.wait_until(redirects, "a redirect after the restart")


def test_the_image_has_the_libraries(build, tmp_path):
    """Each that the programs need, from a package that the stage names. Those
    of the Debian package: the ones under test have static libraries."""
    named = set(last("curt", "RUN").split()) | set(
        STAGES["curt"][1][1].split()) | {"libc6", "libgcc-s1"}
    subprocess.run(["dpkg-deb", "-x", Package(build).deb, tmp_path], check=True)
    done = subprocess.run(
        ["objdump", "-p", tmp_path / "usr/sbin/curt.fcgi",
         tmp_path / "usr/bin/curt"], capture_output=True, text=True, check=True)
    libraries = set(re.findall(r"NEEDED +(\S+)", done.stdout))
    assert len(libraries) > 5
    # Some are other words of the command.
    done = subprocess.run(
        ["dpkg", "-L", *filter(re.compile(r"[a-z0-9][a-z0-9+.-]+$").match,
                               named)],
        capture_output=True, text=True, check=False)
    assert libraries <= set(map(os.path.basename, done.stdout.splitlines()))
