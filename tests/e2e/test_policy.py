"""What may be shortened: schemes, lists of hosts, private hosts, look-alikes."""

import fcntl
import json
import os
import signal
import subprocess
from pathlib import Path

from harness import Pool, wait_until
from proctools import (Load, check_redirect, create, freeze, make_link, said,
                       slay, wait_complete, wait_said)

SETTINGS = {
    "URL_SCHEMES": "http https mailto app",
    "PRIVATE_TARGETS": "refuse",
    "SHORTENER_TARGETS": "refuse",
    "LOOKALIKE_HOSTS": "warn",
}


def start(build, settings, text="bad.example\n", workers=2, **more):
    """A pool with a list of blocked hosts, or without the file (None)."""
    pool = Pool(build, {**settings, **SETTINGS}, workers=workers)
    pool.list = pool.workdir / "blocked.txt"
    pool.settings["BLOCKED_HOSTS"] = str(pool.list)
    pool.settings.update(more)
    if text is not None:
        put_list(pool, text)
    return pool


def put_list(pool, text):
    new = pool.workdir / "blocked.new"
    new.write_text(text)
    new.chmod(0o644)
    new.rename(pool.list)


def check_configuration(pool):
    """curt.fcgi -t."""
    return subprocess.run([pool.build.fcgi, "-c", pool.conf, "-t"],
                          env=pool.env(), text=True, timeout=60,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE)


def detail(answer, status=400):
    assert answer.status == status, answer.raw
    return json.loads(answer.body)["detail"]


def is_blocked(pool, url):
    answer = create(pool, url)
    if answer.status == 200:
        return False
    return detail(answer) == "The long_url leads to a blocked host."


def has_list(pid):
    """Whether a process has the list that was compiled last: of one that was
    replaced the kernel says that it is deleted."""
    maps = Path("/proc/%d/maps" % pid).read_text()
    return any(line.endswith("/blocked-hosts") for line in maps.splitlines())


def wait_blocked(pool, url):
    """Until every worker refuses it: each looks for a new list when it is to
    create a link."""
    with Load(lambda n: create(pool, "http://good.example/")):
        wait_until(lambda: create(pool, url).status == 400 and all(
            map(has_list, pool.workers() or [pool.pid])), url + " is blocked")
    assert is_blocked(pool, url)


REFUSED = {
    "http://bad.example/": "leads to a blocked host.",
    "https://WWW.Bad.Example.:8443/x": "leads to a blocked host.",
    "app://me@bad.example/": "leads to a blocked host.",
    "http://127.1/": "leads to a private or local host;",
    "http://[::ffff:10.0.0.1]/": "leads to a private or local host;",
    "http://printer.local/": "leads to a private or local host;",
    "http://intranet/": "leads to a private or local host;",
    "https://bit.ly/abc": "leads to another URL shortener;",
    "ftp://good.example/": "is not an absolute http or https URL.",
    "javascript:alert(1)": "is not an absolute http or https URL.",
    "mailto:a\r\nLocation: http://x/": "has a control character in it.",
}


def test_targets(build, store_env):
    """What is refused, and what is stored, the same for HTTP and the tool."""
    with start(build, store_env) as pool:
        pool.start()
        for url, why in REFUSED.items():
            assert detail(create(pool, url)).startswith("The long_url " + why)
        done = pool.tool("create", "http://www.bad.example/", check=False)
        assert done.returncode == os.EX_DATAERR
        assert "leads to a blocked host" in done.stderr
        assert "http://www.bad.example/" in done.stderr

        check_redirect(pool, make_link(pool, "https://good.example/"),
                       "https://good.example/")
        for url, target in (
                ("mailto:me@bad.example?subject=a b",
                 "mailto:me@bad.example?subject=a%20b"),
                ("APP:open/1", "app:open/1")):
            short_id = make_link(pool, url)
            check_redirect(pool, short_id, target)
            preview = pool.request("GET", "/t/%s+" % short_id)
            assert preview.status == 200
            assert target.encode() in preview.body

        short_id = make_link(pool, "http://p\u0430ypal.com/")
        link = json.loads(pool.tool("-j", "get", short_id).stdout)
        assert link["warning"] is True
        assert "xn--pypal-4ve.com" in link["reason"]
        link = json.loads(pool.tool("-j", "get", make_link(
            pool, "http://m\u00fcnchen.de/")).stdout)
        assert "warning" not in link


def test_only_allowed_hosts_and_no_look_alikes(build, store_settings):
    with start(build, store_settings("sqlite"), LOOKALIKE_HOSTS="refuse") as pool:
        allowed = pool.workdir / "allowed.txt"
        allowed.write_text("good.example\n*.co.uk\n")
        pool.settings["ALLOWED_HOSTS"] = str(allowed)
        pool.start()
        make_link(pool, "http://a.good.example/")
        make_link(pool, "http://shop.co.uk/")
        assert "one of the allowed hosts" in detail(
            create(pool, "http://other.example/"))
        assert "mistaken for another" in detail(
            create(pool, "http://p\u0430ypal.com/"))


def test_list_changes_without_a_pause(build, store_settings):
    """While the janitor compiles, stopped in the middle, the old list counts;
    when it is killed there, the next one compiles."""
    with start(build, store_settings("sqlite"), workers=3) as pool:
        pool.start()
        wait_blocked(pool, "http://bad.example/")
        # Now each worker has a list: without one it would compile it.
        load = Load(lambda n: make_link(pool, "http://good.example/%d" % n))
        with load:
            put_list(pool, "new.example\n" + "".join(
                "host-%d.example.net\n" % n for n in range(30000)))
            lock = Path(pool.settings["RUNTIME_DIR"]) / "hosts.lock"
            [janitor] = pool.janitors()
            with open(lock) as file:
                def is_held():
                    try:
                        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        return True
                    fcntl.flock(file, fcntl.LOCK_UN)
                    return False

                wait_until(is_held, "the janitor compiles", interval=0.005)
                freeze(janitor)
                assert is_held()
            calls = load.calls
            for _ in range(10):
                assert is_blocked(pool, "http://bad.example/")
                assert not is_blocked(pool, "http://new.example/")
            wait_until(lambda: load.calls > calls + 50, "creates go on")
            slay(janitor)
            wait_blocked(pool, "http://w.new.example/")
            wait_blocked(pool, "http://host-29999.example.net/")
        wait_complete(pool)
        assert not is_blocked(pool, "http://bad.example/")
        assert said(pool, "list of hosts compiled: BLOCKED_HOSTS: 30001 hosts")


def test_faults_of_a_list(build, store_settings):
    """A file that is missing at the start, comes, has faults, and goes."""
    with start(build, store_settings("sqlite"), None) as pool:
        pool.start()
        done = pool.tool("create", "http://good.example/", check=False)
        assert done.returncode == os.EX_TEMPFAIL
        assert "BLOCKED_HOSTS" in done.stderr
        for _ in range(10):
            assert create(pool, "http://good.example/").status == 503
        assert pool.request("GET", "/t/none").status == 404
        lines = said(pool, "creates are refused until it is there", "error")
        assert 1 <= len(lines) <= 3  # one for each process
        assert all("BLOCKED_HOSTS" in line["msg"] for line in lines)
        test = check_configuration(pool)
        assert test.returncode == os.EX_CONFIG
        assert "blocked.txt: No such file" in test.stderr
        checks = json.loads(pool.tool("-j", "doctor", check=False).stdout)
        [hosts] = [c for c in checks["checks"] if c["check"] == "hosts"]
        assert hosts["status"] == "fail" and "No such file" in hosts["detail"]

        put_list(pool, "bad.example\nnot a host\n")
        wait_blocked(pool, "http://bad.example/")
        assert said(pool, "blocked.txt:2: not a host name or address: not a")
        assert check_configuration(pool).returncode == 0
        checks = json.loads(pool.tool("-j", "doctor", check=False).stdout)
        [hosts] = [c for c in checks["checks"] if c["check"] == "hosts"]
        assert hosts["status"] == "warn" and ":2: not a host" in hosts["detail"]

        pool.list.unlink()
        wait_said(pool, "the one before stays", "error")
        for pid in pool.workers():
            slay(pid)
        wait_complete(pool)
        for _ in range(10):
            assert is_blocked(pool, "http://bad.example/")


def test_a_reload_names_another_list(build, store_settings):
    """Also for a worker without a master."""
    with start(build, store_settings("sqlite"), workers=0) as pool:
        pool.start()
        assert is_blocked(pool, "http://bad.example/")
        other = pool.workdir / "other.txt"
        other.write_text("other.example\n")
        pool.settings["BLOCKED_HOSTS"] = str(other)
        pool.write_conf()
        pool.signal(signal.SIGHUP)
        wait_blocked(pool, "http://other.example/")
        assert not is_blocked(pool, "http://bad.example/")
