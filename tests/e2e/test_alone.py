"""Processes without a master: `curt.fcgi -w 0` under spawn-fcgi -F,
multiwatch and lighttpd."""

import json
import os
import signal
from pathlib import Path

import pytest
import requests

import harness
import proctools
import webservers
from harness import ForkedPool, MultiwatchPool, Pool, children_of, wait_until
from proctools import (EnvPool, HalfRequest, check_redirect, descriptors,
                       is_pending, lone_janitors, make_link, slay, steady,
                       wait_gone)


def lone_pool(kind, build, settings=(), workers=3):
    return {"spawn-fcgi": ForkedPool, "multiwatch": MultiwatchPool}[kind](
        build, settings, workers=workers).start()


LONE = pytest.mark.parametrize("kind", ["spawn-fcgi", "multiwatch"])


def wait_one_janitor(pool, but=()):
    """Asks for something until there is exactly one janitor, and goes on being
    one: it is looked after by the workers as they serve."""
    def janitors():
        assert pool.request("GET", "/t/~").status == 404
        found = lone_janitors(pool.workers())
        return found if len(found) == 1 and found[0] not in but else None

    return steady(janitors, "one janitor", seconds=2.5)[0]


@LONE
def test_alone_each_process_serves_and_one_has_the_janitor(build, kind):
    with lone_pool(kind, build) as pool:
        workers = pool.workers()
        assert len(workers) == 3
        short_id = make_link(pool)
        for worker in workers:
            others = [pid for pid in workers if pid != worker]
            for pid in others:
                proctools.freeze(pid)
            check_redirect(pool, short_id)
            for pid in others:
                os.kill(pid, signal.SIGCONT)

        janitor = wait_one_janitor(pool)
        state = pool.settings["STATE_DIR"]
        assert proctools.lock_holders(state, [janitor]) == [janitor]
        assert proctools.is_locked(state)
        # It does not keep the socket open, nor a client's connection.
        assert not [t for fd, t in descriptors(janitor).items()
                    if fd not in (1, 2) and t.startswith("socket:")]
        slay(janitor)
        another = wait_one_janitor(pool, [janitor])

        # It goes with its worker, and one of the others starts the next.
        worker = harness.parent_of(another)[0]
        assert worker in pool.workers()
        os.kill(worker, signal.SIGKILL)
        wait_gone([worker, another], 15)
        if kind == "spawn-fcgi":
            pool.pids.remove(worker)
        last = wait_one_janitor(pool, [janitor, another])
        assert proctools.is_locked(state)

        # TERM ends all of them.
        workers = pool.workers()
        pool.stop()
        wait_gone(workers + [last], 15)


def test_alone_nothing_is_left_of_dead_janitors(build):
    with Pool(build, {}, workers=0).start() as pool:
        def janitors():
            assert pool.request("GET", "/t/~").status == 404
            return lone_janitors([pool.pid])
        first = steady(janitors, "a janitor")[0]
        os.kill(first, signal.SIGKILL)
        wait_until(lambda: first not in janitors() and janitors(), "another")
        # Not even a zombie.
        assert harness.parent_of(first)[1] == "X"


class Keys:
    """A credential_process that writes down what it has got: its environment,
    its open descriptors and who started it."""

    SCRIPT = """#!/bin/sh
read _ _ _ curt _ < /proc/$PPID/stat  # $PPID is sh
out=$(mktemp %(dir)s/tmp.XXXXXX)
{ tr '\\0' '\\n' < /proc/self/environ; echo; ls /proc/$$/fd; echo
  tr '\\0' ' ' < /proc/$curt/cmdline; } > $out
mv $out %(dir)s/got.$$
cat <<'END'
%(keys)s
END
"""

    def __init__(self, settings):
        self.dir = harness.make_dir(Path(settings["STATE_DIR"]) / "keys")
        script = self.dir / "keys"
        script.write_text(self.SCRIPT % {
            "dir": self.dir, "keys": json.dumps({
                "Version": 1,
                "AccessKeyId": settings.pop("AWS_ACCESS_KEY_ID"),
                "SecretAccessKey": settings.pop("AWS_SECRET_ACCESS_KEY")})})
        script.chmod(0o755)
        config = self.dir / "config"
        config.write_text("[default]\ncredential_process = %s\n" % script)
        settings["AWS_CONFIG_FILE"] = str(config)

    def runs(self):
        """(environment, descriptors, command line of the parent) of each."""
        return [path.read_text().split("\n\n")
                for path in self.dir.glob("got.*")]


@pytest.mark.parametrize("workers", [0, 1])
def test_alone_a_credential_process_gets_curts_environment_only(
        build, store_settings, workers):
    settings = store_settings("dynamodb")
    keys = Keys(settings)
    settings["AWS_CONTAINER_AUTHORIZATION_TOKEN"] = "OnlyInTheFile"
    given = {"AWS_CA_BUNDLE": "", "AWS_ROLE_ARN": "", "AWS_PAGER": "",
             "EMPTY": "", "AWS_MAX_ATTEMPTS": "2", "MIN_CHAR": "5"}
    with EnvPool(build, settings, workers=workers,
                 environment=given).start() as pool:
        [(environment, fds, parent)] = wait_until(keys.runs, "a run")
        assert ("-j" in parent.split()) == (workers == 0)
        wanted = {k: v for k, v in pool.started_env.items()
                  if v or not k.startswith("AWS_")}
        got = dict(line.split("=", 1) for line in environment.split("\n"))
        # Without what sh adds.
        assert {k: v for k, v in got.items()
                if k not in ("PWD", "OLDPWD", "_", "SHLVL")} == wanted
        # sh has its script and copies from 10 on.
        assert {int(fd) for fd in fds.split() if int(fd) < 10} == {0, 1, 2}


def test_alone_the_janitor_has_the_workers_configuration(
        build, store_settings):
    """Also where the file has changed since, and values that are hard to
    write down; and no connection of the worker."""
    settings = store_settings("dynamodb")
    keys = Keys(settings)
    odd = harness.make_dir(keys.dir / 'a # "b" \\c = é')
    settings.update(STATE_DIR=str(odd), HITS_FLUSH=1,
                    AWS_ROLE_SESSION_NAME='" spaces "')
    with Pool(build, settings, workers=0).start() as pool:
        def janitors():
            assert pool.request("GET", "/t/~").status == 404
            return lone_janitors([pool.pid])
        short_id = make_link(pool)
        first = steady(janitors, "a janitor")[0]
        pool.conf.write_text("BROKEN\n")
        os.kill(first, signal.SIGKILL)
        fresh = wait_until(lambda: [j for j in janitors() if j != first],
                           "another")[0]
        wait_until(lambda: str(odd / "janitor.lock")
                   in descriptors(fresh).values(), "the lock held")
        assert [t for t in descriptors(pool.pid).values()
                if t.startswith("socket:")]
        assert not [t for fd, t in descriptors(fresh).items() if fd > 2
                    and (t.startswith(("socket:", "/memfd:")))]
        # It has no more in its environment than the worker.
        environ = "/proc/%d/environ"
        with open(environ % fresh) as a, open(environ % pool.pid) as b:
            assert a.read() == b.read()
        check_redirect(pool, short_id)
        pool.write_conf()
        wait_until(lambda: json.loads(pool.tool(
            "hits", "--json").stdout)["pending"] == 0, "a flush")


@pytest.mark.parametrize("name, in_body", [
    ("TERM", False), ("TERM", True), ("INT", False), ("QUIT", True),
    ("USR1", False)], ids=lambda v: v if isinstance(v, str) else
    "body" if v else "params")
def test_alone_a_begun_request_is_finished(build, name, in_body):
    with Pool(build, {}, workers=0).start() as pool:
        half = HalfRequest(pool, in_body)
        pool.signal(getattr(signal, "SIG" + name))
        late = pool.client(0.5)
        late.send(late.request_bytes("GET", "/t/~"))
        half.finish()
        assert pool.process.wait(30) == 0
        late.socket.settimeout(20)
        # Not accepted; or it came before the process saw the signal.
        assert late.closed() or b"404" in late.socket.recv(65536)
        late.close()


def test_alone_a_second_term_ends_at_once(build):
    with Pool(build, {"DRAIN_TIMEOUT": 600}, workers=0).start() as pool:
        half = HalfRequest(pool)
        pool.signal(signal.SIGTERM)
        wait_until(lambda: not is_pending(pool.pid, signal.SIGTERM),
                   "the first one taken")  # or both would be one
        assert pool.process.poll() is None
        pool.signal(signal.SIGTERM)
        assert pool.process.wait(15) == 0
        half.close()


def test_alone_an_idle_kept_connection_does_not_delay_the_end(build):
    with Pool(build, {"DRAIN_TIMEOUT": 600}, workers=0).start() as pool:
        with pool.client() as kept:
            assert kept.request("GET", "/t/~", keep=True).status == 404
            pool.signal(signal.SIGTERM)
            assert pool.process.wait(15) == 0
            assert kept.closed()


def test_lighttpd_starts_and_ends_the_processes(build, store_settings):
    settings = store_settings("sqlite")
    with webservers.Site(build, "lighttpd-bin-path", settings) as site:
        def get(path):
            return requests.get(site.url + path, allow_redirects=False,
                                timeout=20)

        def janitors():
            assert get("/t/!").status_code == 404
            found = lone_janitors(children_of(site.server.pid))
            return found if len(found) == 1 else None

        workers = children_of(site.server.pid)
        assert len(workers) == 4
        janitor = steady(janitors, "one janitor", seconds=2.5)[0]
        assert proctools.is_locked(settings["STATE_DIR"])
        slay(janitor)
        fresh = steady(janitors, "one janitor", seconds=2.5)[0]

        # HUP to each: the next requests know the new configuration.
        harness.write_conf(site.conf, {**site.settings, "MIN_CHAR": 12,
                                       "MAX_CHAR": 12})
        for pid in workers:
            os.kill(pid, signal.SIGHUP)
        for _ in range(8):
            answer = requests.post(
                site.url + "/create", timeout=20,
                json={"long_url": "https://example.com/lighttpd"})
            assert answer.status_code == 200, answer.text
            assert len(answer.text) == len(site.app_url) + 12
        assert children_of(site.server.pid) == workers
        site.server.stop()
        wait_gone(workers + [janitor, fresh], 15)
