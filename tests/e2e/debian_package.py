"""The Debian package, built once for all tests of a run."""

import fcntl
import os
import re
import shutil
import subprocess

from harness import ROOT


def run(command, cwd, env=None):
    done = subprocess.run([str(c) for c in command], cwd=cwd, env=env,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, timeout=1800,
                          check=False)
    assert done.returncode == 0, "%s\n%s" % (command, done.stdout[-8000:])
    return done.stdout


def repack(deb, version, workdir):
    """The same package with another version."""
    tree = workdir / version
    run(["dpkg-deb", "-R", deb, tree], workdir)
    control = tree / "DEBIAN" / "control"
    control.write_text(re.sub(r"(?m)^Version: .*", "Version: " + version,
                              control.read_text()))
    run(["dpkg-deb", "-Znone", "-b", tree, workdir], workdir)
    return next(workdir.glob("curt_%s_*.deb" % version))


class Package:
    """From the tarball, always in the same directory, so that ccache knows the
    files. The first process of a run builds it; distcheck makes a tarball in
    the build directory at the same time, so this one is made elsewhere."""

    def __init__(self, build):
        self.top = build.dir / "cache" / "package"
        self.top.parent.mkdir(exist_ok=True)
        this_run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
        with open(build.dir / "package.lock", "a+", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.seek(0)
            if lock.read() != this_run:
                self.build(build.dir)
                lock.truncate(0)
                lock.write(this_run)
        [self.changes] = self.top.glob("*.changes")
        [self.newer] = self.top.glob("curt_*+new_*.deb")
        [self.deb] = set(self.top.glob("curt_*.deb")) - {self.newer}

    def build(self, build_dir):
        home = os.environ.get("HOME", "/root")
        env = {"PATH": "/usr/lib/ccache:/usr/sbin:/usr/bin:/sbin:/bin",
               "LANG": "C", "HOME": home, "CONFIG_SHELL": "/bin/sh",
               # debhelper gives its commands another HOME.
               "CCACHE_DIR": home + "/.cache/ccache",
               "CCACHE_NOHASHDIR": "1", "CCACHE_BASEDIR": str(self.top),
               # No other build has these optimizations, which bring warnings.
               "DEB_CFLAGS_APPEND": "-Werror",
               "XZ_OPT": "-0", "DPKG_DEB_COMPRESSOR_LEVEL": "0"}
        dist = build_dir / "package-dist"
        shutil.rmtree(dist, ignore_errors=True)
        dist.mkdir()
        name = "curt-" + re.search(r"(?m)^VERSION = (.*)", (
            build_dir / "Makefile").read_text())[1]
        run(["make", "-s", "distdir", "distdir=%s/%s" % (dist, name)],
            build_dir, env)
        run(["tar", "-cJf", name + ".tar.xz", name], dist, env)
        run(["sh", ROOT / "deploy" / "debian-package.sh",
             dist / (name + ".tar.xz"), self.top], dist, env)
        shutil.rmtree(dist)
        [deb] = self.top.glob("curt_*.deb")
        repack(deb, deb.name.split("_")[1] + "+new", self.top)
