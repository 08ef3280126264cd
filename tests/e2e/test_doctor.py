"""`curt doctor`: a host that is ready is reported as ready, and each fault is
found and named, with what to do. For DynamoDB see test_doctor_dynamodb.py."""

import http.client
import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path

import pytest

import harness
import webservers
from aws_wire import closed_port
from doctor_host import (EX_CONFIG, EX_NOPERM, Host, OtherServer, Report,
                         in_front, make_certificate, serving, tighten)
from dynamodb_local import SECRET_KEY
from fcgi_client import END_REQUEST, STDOUT, record
from harness import Pool, SpawnFcgiPool, wait_until
from proctools import freeze, reload, slay


@pytest.fixture
def settings(store_settings):
    return lambda: tighten(store_settings("sqlite"))


@pytest.fixture
def host(build, settings):
    """A host with SQLite on which nothing runs."""
    return Host(build, settings())


@pytest.fixture(scope="module")
def ready(build, module_store_settings):
    """The host with a pool behind lighttpd that most tests share; other
    settings they give to a host.but()."""
    settings = tighten(module_store_settings("sqlite"))
    with serving(build, dict(settings, HITS_FLUSH=1), workers=1) as host:
        yield host


@pytest.fixture(scope="module")
def apache(ready):
    with in_front(ready, "apache-proxy-fcgi") as host:
        yield host


def stored_ids(host):
    db = sqlite3.connect(host.path("STATE_DIR") / "curt.db")
    try:
        return {row[0] for row in db.execute("SELECT short_id FROM links")}
    finally:
        db.close()


# ---- A host that is ready -------------------------------------------------

def test_a_healthy_host_is_ready(ready):
    kept = ready.run("create", "https://example.com/kept").stdout.strip()
    ids = stored_ids(ready)
    assert kept.rpartition("/")[2] in ids
    report = ready.doctor()
    report.check_ready("sqlite")
    report.says("warn", "configuration", "APP_URL", "https://")
    report.says("ok", "link", "written").says("ok", "link", "removed")
    report.says("ok", "redirect", ready.settings["APP_URL"])
    report.says("ok", "socket", "unix:%s" % ready.pool.socket_path)
    report.says("ok", "pool", "curt.fcgi runs as ")
    report.says("ok", "page", "%s/ is curt's" % ready.site.url)
    # Nothing is left behind, and nothing else is gone.
    assert stored_ids(ready) == ids


@pytest.mark.parametrize("kind", [k for k in webservers.KINDS
                                  if k != "lighttpd"])
def test_every_web_server_is_seen_through(request, build, settings, ready,
                                          kind):
    with (serving(build, settings(), kind) if webservers.KINDS[kind].spawns
          else in_front(ready, kind) if kind == "nginx"
          else nullcontext(request.getfixturevalue("apache"))) as host:
        report = host.doctor()
        assert report.ready, report.show()
        for name in ("redirect", "create", "pool", "link"):
            assert report.of("ok", name), report.show()
        report.says("ok", "page", "%s is curt's"
                    % host.settings["APP_URL"].removesuffix("t/"))
        assert not report.of("fail"), report.show()


def test_a_site_with_a_page_of_its_own_is_ready(ready):
    """Where there is none at "/" the visitor sees an error: a warning, until
    HOME says that nobody is to see curt's page."""
    with in_front(ready, "nginx", own_home=True) as host:
        report = host.doctor()
        report.check_ready("sqlite")
        report.says("ok", "page", "the site's own; curt's page is %s"
                    % host.settings["APP_URL"])
        (host.server.docroot / "index.html").unlink()
        report = host.doctor()
        report.says("warn", "page", "status 403, expected the page", "HOME = off")
        assert report.ready, report.show()
        host.settings["HOME"] = "off"
        assert "page" not in host.doctor().names()


def test_text_has_a_line_per_check_and_what_to_do(ready):
    ready.doctor()  # which creates the database, unless the janitor has
    report = ready.doctor()
    lines = ready.run("doctor").stdout.splitlines()
    heads = [line for line in lines if not line.startswith("      -> ")]
    assert len(heads) == len(report.checks) + 1
    for line, check in zip(heads, report.checks):
        word = {"ok": "ok   ", "warn": "warn "}[check["status"]]
        assert line.startswith("%s %s: " % (word, check["check"]))
    warnings = len(report.of("warn"))
    assert heads[-1] == "ready: %d ok, %d warning%s, 0 failed" % (
        len(report.of("ok")), warnings, "" if warnings == 1 else "s")
    advice = [line for line in lines if line.startswith("      -> ")]
    assert len(advice) == len([c for c in report.checks if c["advice"]])


def test_the_probes_visit_goes_away(ready):
    """The probe's own visit is no hit that waits, and leaves the journal."""
    assert ready.doctor().ready
    wait_until(lambda: json.loads(ready.run("hits", "--json").stdout)["pending"]
               == 0, "an empty journal", interval=0.5)
    assert ready.doctor().ready


# ---- Directories and files ------------------------------------------------


DIRECTORIES = [("STATE_DIR", "state directory"),
               ("RUNTIME_DIR", "runtime directory")]


def test_missing_directories(host):
    for key, _ in DIRECTORIES:
        host.path(key).rmdir()
    report = host.doctor()
    for key, check in DIRECTORIES:
        report.says("fail", check, "No such file", "install -d -m 07")
        assert str(host.path(key)) in report.one("fail", check)["advice"]


def test_a_file_where_a_directory_should_be(host):
    path = host.path("RUNTIME_DIR")
    path.rmdir()
    path.touch()
    host.doctor().says("fail", "runtime directory", "Not a directory")


def test_directory_that_curts_user_cannot_write(host):
    """Root looks with that user's eyes: STATE_DIR says who it is."""
    if os.geteuid() == 0:
        user = harness.web_user()
        os.chown(host.path("STATE_DIR"), user.pw_uid, user.pw_gid)
        name = user.pw_name
    else:
        host.path("RUNTIME_DIR").chmod(0o555)
        name = ""
    report = host.doctor()
    report.says("fail", "runtime directory", name + " cannot write it",
                "chown %s" % name)
    assert not report.of("fail", "state directory"), report.show()


def test_directories_that_everybody_can_write(host):
    for key, _ in DIRECTORIES:
        host.path(key).chmod(0o777)
    report = host.doctor()
    for _, check in DIRECTORIES:
        report.says("fail", check, "every user can write", "chmod 07")


def test_what_everybody_can_read(host):
    host.path("STATE_DIR").chmod(0o755)
    path = host.path("RUNTIME_DIR") / "credentials"
    path.touch()
    path.chmod(0o644)
    report = host.doctor()
    report.says("warn", "state directory", "look into", "chmod 0750")
    assert not report.of("fail", "state directory")
    report.says("fail", "runtime directory", str(path), "chmod o= %s" % path)


def test_configuration_that_everybody_can_change(host):
    host.write_conf()
    conf = host.workdir / "open.conf"
    conf.write_text(host.conf.read_text()
                    + "AWS_SECRET_ACCESS_KEY = %s\n" % SECRET_KEY)

    def look(mode):
        conf.chmod(mode)
        done = harness.run_tool(
            host.build, host.workdir, harness.child_env(host.workdir),
            ("-c", conf), ("doctor", "--json"), check=False)
        assert SECRET_KEY not in done.stdout
        return Report(done)

    look(0o646).says("fail", "configuration", "every user can change it",
                     "chmod 0640 %s" % conf)
    look(0o644).says("warn", "configuration", "contains a secret", "chmod 0640")
    report = look(0o640)
    assert [c["detail"] for c in report.of("ok", "configuration")] == [
        str(conf)]


def test_a_user_who_may_not_look_is_told_so(build, settings, ready):
    """Nothing is called a fault that only this user cannot see."""
    if os.geteuid() != 0:
        host = Host(build, settings())
        with Pool(build, host.settings, workers=1) as pool:
            pool.start()
            (host.path("STATE_DIR") / "janitor.lock").chmod(0)
            report = host.doctor()
    else:
        ready.write_conf()
        tool = Path(shutil.copy(build.tool, ready.workdir / "curt"))
        user = harness.web_user()
        done = subprocess.run(
            [tool, "-c", ready.conf, "--json", "doctor"],
            user=user.pw_uid, group=user.pw_gid, extra_groups=[],
            env=harness.child_env(ready.workdir), cwd="/",
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=60)
        assert done.stderr == ""
        report = Report(done, EX_NOPERM)
        report.says("warn", "user", "you are not root", "as root")
    report.says("warn", "pool", "cannot see", "as root")
    assert not {"pool", "state directory", "runtime directory",
                "configuration"} & report.failed(), report.show()


class OtherUsersPool(Pool):
    """Workers of the web server's account on a socket of mode 0600 that only
    root can open; without root, of our own account."""

    def launch(self):
        user = harness.web_user()
        with self.bind() as listener:
            self.socket_path.chmod(0o600)
            if user:
                os.chown(self.workdir, user.pw_uid, -1)
                self.log_file.touch()
            self.process = subprocess.Popen(
                harness.end_with_parent(self.command(self.worker_count)),
                stdin=listener, stdout=subprocess.DEVNULL,
                stderr=open(self.log_file, "ab"), env=self.env(),
                cwd=self.workdir,
                **({"user": user.pw_uid, "group": user.pw_gid,
                    "extra_groups": []} if user else {}))
        harness.running.append(self)


@contextmanager
def other_users_pool(build, settings):
    """A host with such a pool, and the pool."""
    host = Host(build, settings)
    user = harness.web_user()
    if user:
        give_directories(host)
    with OtherUsersPool(build, host.settings, workers=1) as pool:
        program = Path(shutil.copy(build.fcgi, pool.workdir / "curt.fcgi"))
        pool.command = lambda workers: [program, "-w", workers,
                                        "-c", pool.conf]
        pool.start()
        yield host, pool


def give_directories(host):
    """To the web server's user, who then runs curt.fcgi."""
    user = harness.web_user()
    for key, _ in DIRECTORIES:
        os.chown(host.settings[key], user.pw_uid, user.pw_gid)


def test_socket_that_the_pools_user_cannot_open(build, settings):
    """It is the web server's: spawn-fcgi -u curt -U www-data -M 0660. Root
    takes the rights of the pool's user and does not connect itself."""
    user = harness.web_user()
    with other_users_pool(build, settings()) as (host, pool):
        report = host.doctor()
        if user:
            report.says("warn", "socket", "Permission denied",
                        "the web server's")
            report.says("ok", "pool", "runs as " + user.pw_name)
            assert not report.of("warn", "pool")
        else:
            report.says("ok", "socket", "same store").says("ok", "pool")
        for path in host.path("STATE_DIR").iterdir():
            assert path.stat().st_uid == (user.pw_uid if user
                                          else os.geteuid()), path
    # The pool ends, and its socket stays.
    pool.workdir.mkdir()
    try:
        with pool.bind():
            pool.socket_path.chmod(0o600)
        report = host.doctor()
        report.says("fail", "pool", "is not running", "start it")
        assert "socket" not in report.names()
    finally:
        shutil.rmtree(pool.workdir)


@pytest.mark.skipif(os.geteuid() != 0, reason="no other user's sockets")
def test_socket_that_only_the_web_server_can_open(ready):
    """That is no warning where the probe came through the web server."""
    def give(user, web_user, mode):
        for key, _ in DIRECTORIES:
            for path in (ready.path(key), *ready.path(key).iterdir()):
                shutil.chown(path, user)
        shutil.chown(ready.pool.socket_path, web_user)
        ready.pool.socket_path.chmod(mode)

    give("daemon", harness.web_user().pw_name, 0o600)
    try:
        report = ready.doctor()
    finally:
        give("root", "root", 0o666)
    report.says("ok", "redirect").says(
        "ok", "socket", "Permission denied for this user; the web server")


def name_path(directory, secret):
    return secret


def name_link(directory, secret):
    link = directory / "link"
    link.symlink_to(secret)
    return link


def name_through_linked_directory(directory, secret):
    link = directory / "directory"
    link.symlink_to(secret.parent)
    return link / secret.name


@pytest.mark.skipif(os.geteuid() != 0, reason="no other user's sockets")
def test_socket_of_another_program_is_not_connected_to(build, settings):
    """RUNTIME_DIR/socket is a file of the pool's user, who may write into it
    the name of a socket that only root or another user can open."""
    with other_users_pool(build, settings()) as (host, pool):
        note = host.path("RUNTIME_DIR") / "socket"
        secret = harness.make_workdir() / "secret.sock"
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(secret))
            secret.chmod(0o600)
            server.listen(8)
            server.setblocking(False)
            for name, owner in ((name_path, "root"), (name_path, "daemon"),
                                (name_link, "daemon"),
                                (name_through_linked_directory, "root")):
                shutil.chown(secret, owner)
                note.write_text("unix:%s\n" % name(pool.workdir, secret))
                report = host.doctor()
                report.says("warn", "socket", "Permission denied")
                with pytest.raises(BlockingIOError):
                    server.accept()
        shutil.rmtree(secret.parent)
        # What the advice says: a new start writes the file again.
        pool.stop()
        pool.start()
        assert note.read_text() == "unix:%s\n" % pool.socket_path


@pytest.mark.skipif(os.geteuid() != 0, reason="no other user's sockets")
def test_root_trusts_no_path_of_another_user(host):
    """STATE_DIR is root's, so nothing tells whose pool it is, and root does
    not become another user; but RUNTIME_DIR is the web server's."""
    user = harness.web_user().pw_uid
    note, secret = host.path("RUNTIME_DIR") / "socket", host.workdir / "s.sock"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(secret))
        secret.chmod(0o600)
        server.listen(8)
        server.setblocking(False)
        note.write_text("unix:%s\n" % secret)
        os.chown(note, user, -1)
        host.doctor().says("fail", "socket", "not connected to",
                           "owned by the user that runs curt.fcgi")
        with pytest.raises(BlockingIOError):
            server.accept()


@pytest.mark.skipif(os.geteuid() != 0, reason="root is not kept out")
def test_directory_above_that_curts_user_cannot_search(host):
    give_directories(host)
    host.write_conf()
    host.workdir.chmod(0o700)
    report = host.doctor()
    for key, check in DIRECTORIES:
        report.says("fail", check, "cannot search a directory above it",
                    "namei -l " + host.settings[key])
    report.says("fail", "configuration", "cannot read it", "chmod o+x")


def remove(host):
    host.path("STATE_DIR").rmdir()


def put_a_file(host):
    host.path("RUNTIME_DIR").rmdir()
    host.path("RUNTIME_DIR").touch()


def take_away(host):
    os.chown(host.path("RUNTIME_DIR"), 0, 0)


def take_the_database(host):
    path = host.path("STATE_DIR") / "curt.db"
    path.touch(mode=0o640)


def open_a_file(host):
    path = host.path("RUNTIME_DIR") / "credentials"
    path.touch()
    os.chown(path, harness.web_user().pw_uid, -1)
    path.chmod(0o644)


@pytest.mark.skipif(os.geteuid() != 0, reason="what it says is for root")
@pytest.mark.parametrize("faults", [
    (remove,), (put_a_file, take_the_database), (take_away,), (open_a_file,)])
def test_advice_about_files_is_what_helps(host, faults):
    """Run as it is printed, by root."""
    give_directories(host)
    files = {"configuration", "state directory", "runtime directory"}
    for fault in faults:
        fault(host)
    checks = [c for c in host.doctor().of("fail") if c["check"] in files]
    assert len(checks) >= len(faults)
    for check in checks:
        advice = check["advice"]
        if remove in faults:  # the only one that says whose it was
            advice = advice.replace(" curt", " www-data").replace(
                " curt)", " www-data)")
        subprocess.run(["sh", "-ec", advice], check=True)
    report = host.doctor()
    assert not {"database", "link", *files} & report.failed(), report.show()


# ---- The configuration ----------------------------------------------------


def test_configuration_with_faults(host):
    host.settings["MIN_CHAR"] = "many"
    host.settings["TYPO"] = "1"
    done = host.run("doctor")
    assert (done.returncode, done.stdout) == (EX_CONFIG, "")
    assert len(done.stderr.splitlines()) == 2
    done = host.run("doctor", "--json")
    assert (done.returncode, done.stderr) == (EX_CONFIG, "")
    answer = json.loads(done.stdout)
    assert answer["ready"] is False
    assert [c["check"] for c in answer["checks"]] == ["configuration"] * 2
    assert all(c["status"] == "fail" and c["advice"]
               for c in answer["checks"])
    assert any("MIN_CHAR" in c["detail"] for c in answer["checks"])


def test_short_ids_are_a_warning(host):
    host.settings["MIN_CHAR"] = "3"
    host.doctor().says("warn", "configuration", "MIN_CHAR is 3", "7 or more")


def test_settings_may_come_from_the_environment(host):
    env = harness.child_env(host.workdir, dict(host.settings,
                                               CURT_CONF="/dev/null"))
    done = harness.run_tool(host.build, host.workdir, env, (),
                            ("doctor", "--json"), check=False)
    Report(done).says("ok", "configuration", "/dev/null")


# ---- The pool -------------------------------------------------------------


def test_no_pool(host):
    """A database is not made either."""
    report = host.doctor()
    report.says("fail", "pool", "is not running", "spawn-fcgi")
    report.says("ok", "database", "does not exist yet")
    report.says("warn", "link", "curt.db does not exist", "curt.fcgi")
    assert "socket" not in report.names()
    assert list(host.path("STATE_DIR").iterdir()) == []
    assert list(host.path("RUNTIME_DIR").iterdir()) == []
    text = host.run("doctor").stdout
    assert text.endswith(", 2 warnings, 2 failed\n"), text


def test_spawn_fcgi_tells_where_it_listens(build, host):
    with SpawnFcgiPool(build, host.settings, workers=1) as pool:
        pool.start()
        host.doctor().says("ok", "socket", "unix:%s:" % pool.socket_path)


class ListeningPool(Pool):
    """Its socket listens in this process as well, which thus changes its
    backlog."""

    def bind(self):
        address = {socket.AF_INET: "127.0.0.1", socket.AF_INET6: "::1"}
        self.listener = (
            super().bind() if self.family == socket.AF_UNIX
            else socket.create_server((address[self.family], 0),
                                      family=self.family))
        self.listener.listen(64)
        return self.listener.dup()

    def answers(self):
        return (Path(self.settings["RUNTIME_DIR"]) / "socket").exists()


@pytest.mark.parametrize("family, address", [
    (socket.AF_UNIX, "unix:"), (socket.AF_INET, "tcp:127.0.0.1:"),
    (socket.AF_INET6, "tcp:[::1]:")], ids=["unix", "ipv4", "ipv6"])
def test_short_queue_of_connections(build, host, family, address):
    pool = ListeningPool(build, host.settings, workers=1)
    pool.family = family
    with pool.start():
        with pool.listener as listener:
            report = host.doctor()
            report.says("ok", "socket")
            report.says("warn", "socket", "its queue holds 64 connections;",
                        "spawn-fcgi -b 1024")
            assert "sysctl" not in report.one("warn", "socket")["advice"]
            listener.listen(1024)
            report = host.doctor()
            name = listener.getsockname()
            report.says("ok", "socket", address + (
                name if family == socket.AF_UNIX else "%d:" % name[1]))
            assert not report.of("warn", "socket"), report.show()


@pytest.mark.skipif(os.geteuid() != 0, reason="unshare(1) needs root")
def test_queue_that_the_kernel_cut(build, host):
    """spawn-fcgi -b 1024 where net.core.somaxconn is 128, in a network
    namespace of its own."""
    host.write_conf()
    script = """set -e
echo 128 >/proc/sys/net/core/somaxconn
cd %(dir)s
start() {
    spawn-fcgi -s %(dir)s/s.sock -b 1024 -P %(dir)s/pid -- \\
        %(fcgi)s -w 1 -c %(conf)s >/dev/null
    until test -e %(run)s/socket; do sleep 0.1; done
}
stop() {
    kill "$(cat pid)"
    while kill -0 "$(cat pid)" 2>/dev/null; do sleep 0.1; done
    rm -f %(run)s/socket
}
start
%(tool)s -c %(conf)s -j doctor >before || true
stop
sysctl -qw net.core.somaxconn=1024
start
%(tool)s -c %(conf)s -j doctor >after || true
stop
""" % {"dir": host.workdir, "fcgi": build.fcgi, "tool": build.tool,
       "conf": host.conf, "run": host.settings["RUNTIME_DIR"]}
    subprocess.run(["unshare", "-n", "sh", "-c", script], check=True,
                   timeout=60, stdout=subprocess.DEVNULL,
                   env=harness.child_env(host.workdir))

    def of_socket(name):
        checks = json.loads((host.workdir / name).read_text())["checks"]
        return [(c["status"], c["detail"], c["advice"] or "") for c in checks
                if c["check"] == "socket"]

    [ok, (status, detail, advice)] = of_socket("before")
    assert ok[0] == "ok" and status == "warn"
    assert "holds 128 connections, because net.core.somaxconn" in detail
    assert "sysctl -w net.core.somaxconn=1024" in advice
    assert [line[0] for line in of_socket("after")] == ["ok"]


# ---- The cache and the room for it ----------------------------------------


def test_cache_of_another_size_and_none(build, host):
    """CACHE_SIZE was changed while the pool ran."""
    cache = host.path("RUNTIME_DIR") / "cache"
    with Pool(build, host.settings, workers=1) as pool:
        pool.start()
        host.doctor().says("ok", "cache", "64 MiB")
        for size in (1, 256):
            host.settings["CACHE_SIZE"] = str(size << 20)
            host.doctor().says(
                "warn", "cache", "expected CACHE_SIZE, %d KiB" % (size << 10),
                "stop the pool, remove")
        pool.stop()
        cache.unlink()
        pool.settings = dict(host.settings)
        pool.start()
        host.doctor().says("ok", "cache", "256 MiB")
        cache.unlink()
        host.doctor().says("warn", "cache", "missing, 0 KiB, expected CACHE_SIZE",
                           "start the pool")
        host.settings["CACHE_SIZE"] = "0"
        assert "cache" not in host.doctor().names()


@contextmanager
def small_file_system(path, mib):
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=%dM" % mib, "tmpfs",
                    path], check=True)
    try:
        os.chmod(path, 0o755)
        yield
    finally:
        subprocess.run(["umount", path], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mount(8) needs root")
def test_cache_that_fills_its_file_system(build, host):
    host.settings["CACHE_SIZE"] = str(6 << 20)
    run = host.path("RUNTIME_DIR")
    with small_file_system(run, 8), Pool(build, host.settings,
                                         workers=1) as pool:
        pool.start()
        report = host.doctor()
        report.says("ok", "cache", "6 MiB")
        report.says("warn", "runtime directory", "nearly full",
                    "lower CACHE_SIZE, stop the pool, remove the file cache")
        filler = run / "filler"
        with open(filler, "wb") as f, pytest.raises(OSError):
            f.write(bytes(8 << 20))
        host.doctor().says("fail", "runtime directory", "is full",
                           "lower CACHE_SIZE")
        filler.unlink()
        pool.stop()
        (run / "cache").unlink()
        host.settings["CACHE_SIZE"] = pool.settings["CACHE_SIZE"] = "1000000"
        pool.start()
        report = host.doctor()
        assert not report.of("warn", "runtime directory"), report.show()
        report.says("ok", "cache")


@pytest.mark.skipif(os.geteuid() != 0, reason="mount(8) needs root")
def test_state_directory_without_room(build, host):
    with small_file_system(host.path("STATE_DIR"), 12):
        os.chmod(host.path("STATE_DIR"), 0o750)
        report = host.doctor()
        report.says("warn", "state directory", "nearly full", "free space")
        report.says("warn", "state directory", "in memory", "on a disk")
        with open(host.path("STATE_DIR") / "filler", "wb") as f:
            f.write(bytes(5 << 20))
        host.doctor().says("fail", "state directory", "is full", "free space")


def test_pool_that_is_open_to_the_network_in_name(build, host):
    """What is written down is looked at; nothing listens on all addresses."""
    with closed_port() as port:
        (host.path("RUNTIME_DIR") / "socket").write_text(
            "tcp:0.0.0.0:%d\n" % port.getsockname()[1])
        report = host.doctor()
        report.says("warn", "socket", "other hosts", "127.0.0.1")
        report.says("fail", "pool")


def test_workers_with_another_store(ready):
    """The pool still has the STATE_DIR that the configuration had before."""
    state = harness.make_dir(ready.workdir / "state2")
    state.chmod(0o750)
    host = ready.but(STATE_DIR=state)
    host.doctor().says("fail", "pool", "or with another STATE_DIR")
    host.run("table", "create")
    report = host.doctor()
    report.says("fail", "socket", "status 404, expected its redirect",
                "restart the pool")
    report.says("fail", "redirect", "status 404 from curt for the path",
                "TABLE or STATE_DIR changed")
    report.says("ok", "create")
    assert ready.doctor().ready


@contextmanager
def listener_at(path, answer):
    """A program that is not curt on a Unix socket. answer: what it sends to
    each connection, None for nothing."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen(8)
        server.settimeout(0.05)
        end = threading.Event()
        held = []

        def serve():
            while not end.is_set():
                try:
                    connection, _ = server.accept()
                except socket.timeout:
                    continue
                held.append(connection)
                if answer is not None:
                    connection.recv(65536)
                    connection.sendall(answer)
                    connection.close()

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield
        finally:
            end.set()
            thread.join()
            for connection in held:
                connection.close()


def cgi_answer(text):
    return record(STDOUT, text) + record(END_REQUEST, bytes(8))


@pytest.mark.parametrize("answer, detail, advice", [
    (None, "no answer in time", "stuck"),
    (b"", "closed", "log of curt.fcgi"),
    (b"HTTP/1.1 400 Bad Request\r\n\r\n", "not speak FastCGI",
     "another program"),
    (cgi_answer(b"Status: 200 OK\r\n\r\nhello"), "not curt",
     "another program"),
], ids=["silent", "closes", "http", "another-fcgi"])
def test_something_else_on_the_socket(host, answer, detail, advice):
    path = host.workdir / "other.sock"
    (host.path("RUNTIME_DIR") / "socket").write_text("unix:%s\n" % path)
    with listener_at(path, answer):
        host.doctor().says("fail", "socket", detail, advice)


def test_stopped_workers(ready):
    workers = ready.pool.workers()
    for worker in workers:
        os.kill(worker, signal.SIGSTOP)
    try:
        ready.but(APP_URL="http://127.0.0.1:1/t/").doctor().says(
            "fail", "socket", "no answer in time", "stuck")
    finally:
        for worker in workers:
            os.kill(worker, signal.SIGCONT)


def test_hits_that_wait(build, host):
    """A pool that was killed leaves them; the next one moves them."""
    host.settings["HITS_FLUSH"] = "3600"
    pool = Pool(build, host.settings, workers=1)
    try:
        pool.start()
        url = host.run("create", "https://example.com/").stdout.strip()
        for _ in range(3):
            path = "/t/" + url.rpartition("/")[2]
            assert pool.request("GET", path).status == 301
        host.doctor().says("ok", "hits", "3 hits are pending, and flushed")
        for pid in [*pool.janitors(), *pool.workers(), pool.pid]:
            os.kill(pid, signal.SIGKILL)
    finally:
        pool.kill()
    host.doctor().says("warn", "hits", "3 hits of 1 links are pending",
                       "start the pool")


def test_hits_that_the_store_does_not_take(ready):
    host = ready.but(STORE_TIMEOUT=1)
    url = host.run("create", "https://example.com/").stdout.strip()
    path = "/t/" + url.rpartition("/")[2]
    assert host.pool.request("GET", path).status == 301
    db = sqlite3.connect(host.path("STATE_DIR") / "curt.db",
                         isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    try:
        assert host.pool.request("GET", path).status == 301
        report = host.doctor()
        report.says("warn", "hits", "pending in the journal", "janitor")
        report.says("fail", "link", "could not be written", "locked by another")
    finally:
        db.execute("ROLLBACK")
        db.close()
    report = wait_until(lambda: (r := host.doctor()).of("ok", "hits") and r,
                        "a flush", interval=0.5)
    report.says("ok", "link", "removed")


# ---- The database ---------------------------------------------------------


@pytest.mark.parametrize("begun", ["", "VACUUM", "PRAGMA journal_mode = WAL"])
def test_no_database_yet_is_not_a_fault(host, begun):
    if begun:  # by a worker that has not come further yet
        db = sqlite3.connect(host.path("STATE_DIR") / "curt.db")
        db.execute(begun)
        db.close()
    host.doctor().says("ok", "database", "does not exist yet", "table create")


def test_database_that_is_damaged(host):
    host.run("create", *["https://example.com/%d?%s" % (i, "x" * 900)
                         for i in range(40)])
    path = host.path("STATE_DIR") / "curt.db"
    db = sqlite3.connect(path)
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    db.close()
    host.doctor().says("ok", "database", "curt.db: OK")
    size = path.stat().st_size
    with open(path, "r+b") as f:
        f.seek(size // 2)
        f.write(os.urandom(8192))
    host.doctor().says("fail", "database", str(path), "backup")


def test_database_of_another_program(host):
    path = host.path("STATE_DIR") / "curt.db"
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 7")
    db.close()
    path.chmod(0o640)
    report = host.doctor()
    report.says("fail", "database", "another program",
                "move it to another place")
    report.says("fail", "link")


def test_log_that_grows_behind_a_reader(ready):
    path = ready.path("STATE_DIR") / "curt.db"
    wal = Path("%s-wal" % path)
    reader, writer = (sqlite3.connect(path, timeout=20, isolation_level=None)
                      for _ in range(2))
    with closing(reader), closing(writer):
        reader.execute("BEGIN")  # of a backup or a report that does not end
        reader.execute("SELECT count(*) FROM links").fetchall()
        writer.execute("CREATE TABLE filler (x)")
        writer.execute("INSERT INTO filler VALUES (zeroblob(%d))" % (8 << 20))
        # As long as if there had been more; SQLite reads no further.
        assert wal.stat().st_size > 8 << 20
        os.truncate(wal, 257 << 20)
        ready.doctor().says("warn", "database", "MiB, expected at most 64",
                            "a read transaction open")
    # What it says to do, and what follows.
    wait_until(lambda: ready.run("create", "https://example.com/")
               and wal.stat().st_size < 100 << 20, "a smaller log",
               interval=0.5)
    assert not ready.doctor().of("warn", "database")


def test_file_that_is_not_a_database(host):
    path = host.path("STATE_DIR") / "curt.db"
    path.write_bytes(b"no database at all, but long enough to be one" * 100)
    path.chmod(0o640)
    host.doctor().says("fail", "database", str(path), "backup")


# ---- APP_URL --------------------------------------------------------------


def test_nobody_listens_at_app_url(host):
    with closed_port() as port:
        host.settings["APP_URL"] = "http://127.0.0.1:%d/t/" % (
            port.getsockname()[1])
        report = host.doctor()
        report.says("fail", "redirect", "Failed to connect", "is running")
        assert "create" not in report.names()


def test_app_url_that_does_not_resolve(host):
    host.settings["APP_URL"] = "http://curt-doctor.invalid/t/"
    host.doctor().says("fail", "redirect", "Could not resolve", "DNS")


@pytest.mark.parametrize("status, headers, body, advice", [
    (404, (), b"<h1>Not Found</h1>", "did not reach curt"),
    (200, (), b"a front page", "did not reach curt"),
    (403, (), b"", "without a password"),
    (502, (), b"Bad Gateway", "does not use the socket of this pool"),
    (301, [("Location", "https://127.0.0.1{path}")], b"",
     "scheme that visitors use"),
    (302, [("Location", "/login")], b"", "before other rules"),
    (301, [("Location", "http://127.0.0.1:{port}{path}")], b"",
     "X-Forwarded-Proto"),
    (404, (), b'{"title":"Not Found","trace_id":"1-2-3"}', "another curt"),
    (503, (), b'{"title":"Service Unavailable","trace_id":"1-2-3"}',
     "log of curt.fcgi"),
], ids=["404", "200", "403", "502", "https", "login", "itself",
        "another-curt", "curts-503"])
def test_another_web_server_at_app_url(ready, status, headers, body, advice):
    with OtherServer(status, headers, body) as other:
        report = ready.but(APP_URL=other.url).doctor()
    report.says("fail", "redirect", "status %d" % status, advice)
    # A password for /create, as README.md shows it, is not a fault.
    if status == 403:
        report.says("ok", "create", "status 403: the web server wants a")
    else:
        report.says("fail", "create", "status %d" % status)
        report.says("fail", "create", "/create: status")


def test_redirect_to_another_place_is_shown_without_control_bytes(host):
    with OtherServer(301, [("Location", "http://evil/\x1b[2J\x07")]) as other:
        host.settings["APP_URL"] = other.url
        text = host.run("doctor").stdout
        assert "http://evil/" in text
        assert "\x1b" not in text and "\x07" not in text


def test_another_curt_at_app_url(build, settings, ready):
    """The web server hands the path to the pool of another site."""
    host = Host(build, dict(settings(), APP_URL=ready.settings["APP_URL"]))
    with Pool(build, host.settings, workers=1) as pool:
        pool.start()
        report = host.doctor()
        report.says("fail", "redirect", "status 404 from curt", "another curt")
        report.says("ok", "create").says("ok", "socket", "same store")


def test_web_server_without_its_pool(build, settings, ready):
    ready.pool.stop()
    try:
        report = ready.doctor()
    finally:
        ready.pool.start()
        # lighttpd sends nothing for a second to a pool that was not there, and
        # counts for each path that it passes on.
        site = ready.site.url
        harness.wait_until(
            lambda: [follow(site + path)[0] for path in
                     ("/t/!", "/create", "/")] == [404, 405, 200],
            "the site with its pool")
    report.says("fail", "pool", "is not running", "spawn-fcgi")
    assert report.failed() == {"pool"}, report.show()
    assert not {"redirect", "create", "socket"} & report.names()


def test_janitor_that_has_just_begun(ready):
    """As after a restart: a worker answers, and the janitor comes later."""
    pool = ready.pool
    stopped = [pool.pid, *pool.workers()]
    [janitor] = pool.janitors()
    for pid in stopped:
        freeze(pid)
    slay(janitor)
    with ThreadPoolExecutor() as threads:
        report = threads.submit(ready.doctor)
        try:
            wait_until(lambda: is_queued(pool.socket_path),
                       "the request that sees whether a worker answers")
        finally:
            for pid in reversed(stopped):
                os.kill(pid, signal.SIGCONT)
    report.result().check_ready("sqlite")


def is_queued(path):
    """Whether a connection to a socket waits until it is accepted."""
    shown = subprocess.run(["ss", "-Hxl", "src", str(path)], text=True,
                           check=True, stdout=subprocess.PIPE).stdout
    return int(shown.split()[2]) > 0


def test_web_server_that_replaces_errors(host):
    with OtherServer(405, (), b"<h1>custom error</h1>") as other:
        host.settings["APP_URL"] = other.url
        host.doctor().says("warn", "create", "not curt's", "pass on errors")


def test_certificate_of_app_url(host, tmp_path):
    with OtherServer(404, tls=make_certificate(tmp_path)) as other:
        host.settings["APP_URL"] = other.url
        report = host.doctor()
        report.says("fail", "redirect", "certificate", "valid certificate")
        assert "AWS_CA_BUNDLE" not in report.show()
        assert not report.of("warn", "configuration")


def test_https_where_http_is_served(host):
    """TLS ends elsewhere, and APP_URL has the port behind it."""
    with OtherServer(404) as other:
        host.settings["APP_URL"] = other.url.replace("http:", "https:")
        host.doctor().says("fail", "redirect", "", "speaks TLS")


# ---- A proxy before the web server ---------------------------------------


def follow(url):
    """(status, Location) of a GET without following it."""
    host, _, path = url.partition("://")[2].partition("/")
    connection = http.client.HTTPConnection(host, timeout=20)
    try:
        connection.request("GET", "/" + path)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Location")
    finally:
        connection.close()


@pytest.mark.parametrize("behind", ["ready", "apache"])
def test_proxy_as_shipped_passes_the_longest_location(request, behind):
    with in_front(request.getfixturevalue(behind), "proxy") as host:
        target = "https://example.com/" + "x" * 7980
        url = host.run("create", target).stdout.strip()
        assert follow(url) == (301, target)
        ids = stored_ids(host)
        host.doctor().check_ready("sqlite")
        assert stored_ids(host) == ids


def without(*directives):
    """Drops the lines of these directives from a shipped file."""
    def edit(text):
        for directive in directives:
            text, count = re.subn(r"^ +%s .*\n" % directive, "", text,
                                  flags=re.M)
            assert count
        return text
    return edit


def test_proxy_with_stock_buffers(ready):
    """Short links work, so the fault shows to those with a long one only."""
    ids = stored_ids(ready)
    with in_front(ready, "proxy", edit=without(
            "proxy_buffer_size", "proxy_buffers")) as host:
        report = host.doctor()
        report.says("fail", "redirect", "status 502, expected the probe's",
                    "proxy_buffer_size 16k")
        assert report.failed() == {"redirect"}, report.show()
        assert stored_ids(host) == ids
        # What it says to do is what helps.
        advice = report.one("fail", "redirect")["advice"]
        size = re.search(r"(proxy_buffer_size \d+k) and (proxy_buffers \d+ "
                         r"\d+k)", advice)
        host.server.stop()
        host.server.edit = lambda text: text.replace(
            "proxy_buffer_size 16k;", size[1] + ";").replace(
            "proxy_buffers 4 16k;", size[2] + ";")
        host.server.start()
        host.doctor().check_ready("sqlite")


def test_nginx_with_stock_fastcgi_buffers(ready, monkeypatch):
    shipped = webservers.Nginx.deploy_file

    def deploy_file(server):
        path = shipped(server)
        path.write_text(without("fastcgi_buffer_size", "fastcgi_buffers")(
            path.read_text()))
        return path

    monkeypatch.setattr(webservers.Nginx, "deploy_file", deploy_file)
    with in_front(ready, "nginx") as host:
        report = host.doctor()
        report.says("fail", "redirect", "status 502, expected the probe's",
                    "fastcgi_buffer_size")
        assert report.failed() == {"redirect"}, report.show()


@pytest.mark.parametrize("path, location, target, arrived", [
    ("/s/t/", "^~ /s/", "/", "/t/"),
    ("/t/", "^~ /t/", "/t/app/", "/t/app/"),
    ("/go/", "^~ /go/", "/t/", "/t/"),
], ids=["stripped", "added", "replaced"])
def test_proxy_that_changes_the_path(ready, path, location, target, arrived):
    def edit(text):
        text = text.replace("location ^~ /t/", "location " + location)
        head, tail = text.split("location " + location)
        return head + "location " + location + tail.replace(
            "http://127.0.0.1:8080;", "http://127.0.0.1:8080%s;" % target)

    with in_front(ready, "proxy", path, edit=edit) as host:
        ready.pool.settings["APP_URL"] = host.settings["APP_URL"]
        reload(ready.pool)
        report = host.doctor()
        report.says("fail", "redirect", "status 404 from curt for the path %s"
                    % arrived, "proxy_pass without a path")
        report.says("ok", "create").says("ok", "socket", "same store")
        # A path of its own in lighttpd's file, and none after proxy_pass.
        assert report.failed() == {"redirect"}, report.show()
