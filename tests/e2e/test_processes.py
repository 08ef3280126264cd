"""The processes of a pool: who is there, who is replaced, how it ends."""

import itertools
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import nullcontext

import pytest

import fcgi_client
import harness
import proctools
from harness import Pool, SpawnFcgiPool, alive, wait_until
from proctools import (GroupPool, HalfRequest, age_of, boot_time,
                       check_redirect, descriptors, freeze, make_link, said,
                       started_at, steady, wait_complete, wait_gone)


# The pool and its members

@pytest.fixture(scope="module")
def shared(build):
    """For what leaves the pool as it was."""
    with Pool(build, {"MAX_BODY": 65536}, workers=3).start() as pool:
        yield pool


def check_members(pool, count):
    assert len(pool.children()) == count + 1
    assert len(pool.workers()) == count
    assert len(pool.janitors()) == 1
    # The master opens nothing, least of all a database; the janitor does
    # not hold the web server's socket.
    assert set(descriptors(pool.pid)) == {0, 1, 2}
    janitor = descriptors(pool.janitors()[0])
    assert janitor[0] == "/dev/null"
    for pid in pool.workers():
        assert descriptors(pid)[0] == descriptors(pool.pid)[0]


def test_master_has_its_workers_and_one_janitor(shared):
    check_redirect(shared, make_link(shared))
    check_members(shared, 3)


def next_child(pool, known, deadline=20):
    """The first child that is not among the known ones."""
    return wait_until(lambda: set(pool.children()) - set(known),
                      "a new child", deadline, interval=0.01).pop()


def test_killed_worker_is_replaced_at_once(shared):
    before = shared.workers()
    seen = len(said(shared, "worker killed by signal", "error"))
    wait_until(lambda: min(map(age_of, before)) > 1.1, "workers of 1.1 s")
    for victim in before[:2]:
        known = shared.children()
        os.kill(victim, signal.SIGKILL)
        killed = boot_time()
        fresh = next_child(shared, known)
        # At once; a machine with other things to do may take a while.
        assert started_at(fresh) - killed < 1
    wait_complete(shared)
    assert before[2] in shared.workers()
    assert len(said(shared, "worker killed by signal", "error")) == seen + 2


def test_killed_janitor_is_replaced(shared):
    janitor = steady(shared.janitors, "one janitor")[0]
    workers = shared.workers()
    os.kill(janitor, signal.SIGKILL)
    wait_until(lambda: shared.complete() and shared.janitors() != [janitor],
               "another janitor")
    assert shared.workers() == workers


def test_worker_that_keeps_dying_is_replaced_with_a_growing_delay(build):
    with Pool(build, {}, workers=2).start() as pool:
        keeper, victim = pool.workers()
        wait_until(lambda: age_of(victim) > 1.1, "a worker of 1.1 s")
        # The first death is that of a worker in good health.
        delay, gaps = 0, []
        while len(gaps) < 5:
            known = pool.children()
            lived = age_of(victim)
            os.kill(victim, signal.SIGKILL)
            killed = boot_time()
            # One that was seen too late to die young repeats the last delay.
            if lived < 0.95 and delay:
                delay *= 2
            elif lived < 0.95:
                delay = 0.1
            wait_gone([victim])
            # One that has answered would be replaced at once.
            if delay >= 0.8:
                assert pool.request("GET", "/t/~").status == 404
            victim = next_child(pool, known)
            gap = started_at(victim) - killed
            # The start is known to a hundredth of a second.
            assert delay - 0.03 <= gap < delay + 1, (gap, delay, gaps)
            gaps.append(gap)
        assert delay >= 0.8, gaps
        assert keeper in pool.workers()

        # 10 s later all is forgiven.
        wait_until(lambda: age_of(victim) > 10.2, "a worker of 10 s",
                   interval=0.1)
        known = pool.children()
        os.kill(victim, signal.SIGKILL)
        killed = boot_time()
        assert started_at(next_child(pool, known)) - killed < delay
        wait_complete(pool)
        assert keeper in pool.workers()


def test_worker_that_answered_is_replaced_at_once_at_any_age(build):
    """One bad peer must not slow down the replacement for the others."""
    with Pool(build, {}, workers=1).start() as pool:
        check_members(pool, 1)
        for _ in range(7):
            assert pool.request("GET", "/t/~").status == 404
            known = pool.children()
            victim = pool.workers()[0]
            os.kill(victim, signal.SIGKILL)
            killed = boot_time()
            fresh = next_child(pool, known)
        # The seventh would wait for 6.4 s.
        assert started_at(fresh) - killed < 5
        wait_complete(pool)


def test_stopped_worker_holds_nobody_up_and_is_killed_at_the_end(build):
    with Pool(build, {"DRAIN_TIMEOUT": 1}, workers=2).start() as pool:
        stopped = pool.workers()[0]
        freeze(stopped)
        short_id = make_link(pool)
        for _ in range(20):
            check_redirect(pool, short_id)
        begun = time.monotonic()
        pool.signal(signal.SIGTERM)
        assert pool.process.wait(30) == 0
        assert time.monotonic() - begun > 0.9
        assert not alive(stopped)
        assert said(pool, "process did not finish in time, killing it: pid %d"
                    % stopped, "warning")


# The end

@pytest.mark.parametrize("name, in_body", [
    ("TERM", False), ("TERM", True), ("INT", False), ("QUIT", True),
    ("USR1", False)], ids=lambda v: v if isinstance(v, str) else
    "body" if v else "params")
def test_signal_to_the_master_lets_a_begun_request_finish(build, name, in_body):
    with Pool(build, {}, workers=2).start() as pool:
        half = HalfRequest(pool, in_body)
        everyone = pool.children()
        wait_until(lambda: all(map(proctools.listens, pool.workers())),
                   "workers that wait")
        pool.signal(getattr(signal, "SIG" + name))
        wait_until(lambda: len(pool.workers()) == 1, "the idle one gone")
        [busy] = pool.workers()
        wait_until(lambda: not proctools.listens(busy), "the other one told")
        # The socket is still there, but nobody takes a new request.
        late = pool.client(0.5)
        late.send(late.request_bytes("GET", "/t/~"))
        with pytest.raises(socket.timeout):
            late.response()
        half.finish()
        assert pool.process.wait(30) == 0
        assert not [p for p in everyone if alive(p)]
        late.socket.settimeout(20)
        assert late.closed()
        late.close()
        assert not said(pool, "did not finish in time")
        assert said(pool, "stopped", "info")


@pytest.mark.parametrize("name", ["TERM", "INT", "QUIT"])
def test_signal_to_the_whole_group_is_like_one_to_the_master(build, name):
    with GroupPool(build, {}, workers=2).start() as pool:
        half = HalfRequest(pool)
        pool.signal_group(getattr(signal, "SIG" + name))
        wait_until(lambda: len(pool.workers()) <= 1, "the idle one gone")
        half.finish()
        assert pool.process.wait(30) == 0
        assert not said(pool, "killed by signal")


def test_request_that_never_ends_is_given_up_after_the_drain_timeout(build):
    with Pool(build, {"DRAIN_TIMEOUT": 1}, workers=2).start() as pool:
        half = HalfRequest(pool)
        silent = pool.client().connect()
        wait_until(lambda: sum(map(proctools.connections, pool.workers())) == 2,
                   "two connections taken")
        begun = time.monotonic()
        pool.signal(signal.SIGTERM)
        assert pool.process.wait(30) == 0
        assert time.monotonic() - begun > 0.9
        assert half.client.closed()
        half.close()
        silent.close()


def test_second_term_ends_at_once(build):
    with Pool(build, {"DRAIN_TIMEOUT": 600}, workers=2).start() as pool:
        half = HalfRequest(pool)
        pool.signal(signal.SIGTERM)
        wait_until(lambda: len(pool.workers()) == 1, "the idle one gone")
        pool.signal(signal.SIGTERM)
        assert pool.process.wait(15) == 0
        assert half.client.closed()
        half.close()


def test_kept_connection_serves_many_requests_and_does_not_delay_the_end(build):
    with Pool(build, {"DRAIN_TIMEOUT": 600}, workers=2).start() as pool:
        short_id = make_link(pool)
        with pool.client() as kept:
            for _ in range(50):
                answer = kept.request("GET", "/t/" + short_id, keep=True)
                assert answer.status == 301
            pool.signal(signal.SIGHUP)
            assert kept.closed()
        check_redirect(pool, short_id)
        kept = [pool.client() for _ in range(2)]
        for client in kept:
            assert client.request("GET", "/t/~", keep=True).status == 404
        pool.signal(signal.SIGTERM)
        assert pool.process.wait(15) == 0
        for client in kept:
            assert client.closed()
            client.close()


def test_killed_master_leaves_nothing_behind(build):
    with SpawnFcgiPool(build, {"DRAIN_TIMEOUT": 60}, workers=2).start() as pool:
        short_id = make_link(pool)
        half = HalfRequest(pool)
        orphans = pool.children()
        pool.process.kill()
        pool.process.wait(30)
        wait_until(lambda: sum(map(alive, orphans)) == 1, "the idle ones gone")
        half.finish()
        wait_gone(orphans, 15)
        pool.kill()

        # spawn-fcgi finds the socket's file there, and nobody behind it.
        assert pool.socket_path.exists()
        pool.start()
        check_redirect(pool, short_id)


def test_orphans_do_not_wait_longer_than_the_drain_timeout(build):
    pool = Pool(build, {"DRAIN_TIMEOUT": 1}, workers=2).start()
    try:
        half = HalfRequest(pool)
        orphans = pool.children()
        pool.process.kill()
        wait_gone(orphans, 20)
        half.close()
        pool.check_sanitizers()
    finally:
        pool.kill()
        shutil.rmtree(pool.workdir, ignore_errors=True)


# Wrong ways to start it

class Stdin:
    """The things that descriptor 0 may be and that are no listening socket."""

    @staticmethod
    def closed():
        return None

    @staticmethod
    def dev_null():
        return subprocess.DEVNULL

    @staticmethod
    def pipe():
        return subprocess.PIPE

    @staticmethod
    def file():
        return open(__file__, "rb")

    @staticmethod
    def connected_socket():
        ours, theirs = socket.socketpair()
        ours.close()
        return theirs

    @staticmethod
    def bound_socket():
        idle = socket.socket()
        idle.bind(("127.0.0.1", 0))
        return idle

    @staticmethod
    def datagram_socket():
        idle = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        idle.bind(("127.0.0.1", 0))
        return idle


@pytest.mark.parametrize("kind, workers", [
    pytest.param(kind, workers, id="-".join([kind, *workers]))
    for kind, workers in zip([k for k in vars(Stdin) if k[0] != "_"],
                             itertools.cycle([["-w", "0"], ["-w", "8"], []]))])
def test_without_a_socket_it_says_how_to_start_it(build, tmp_path, kind,
                                                  workers):
    stdin = getattr(Stdin, kind)()
    command = [build.fcgi, *workers]
    if stdin is None:
        command = ["sh", "-c", 'exec "$0" "$@" <&-', *command]
    done = subprocess.run(
        command, stdin=stdin, timeout=60,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=harness.child_env(tmp_path), check=False)
    if hasattr(stdin, "close"):
        stdin.close()
    assert done.returncode == 64
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1 and done.stderr.endswith("\n")
    assert done.stderr.startswith("curt.fcgi: ")
    assert "spawn-fcgi -s SOCKET -- curt.fcgi" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("args", [
    ["-w", "-1"], ["-w", ""], ["-w", "x"], ["-w", "4x"], ["-w", "0x4"],
    ["-w", "100000"], ["-w", "99999999999999999999"], ["-w"], ["-x"], ["-c"],
    ["serve"],
], ids=" ".join)
def test_wrong_arguments_are_refused(build, tmp_path, args):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        done = subprocess.run(
            [build.fcgi, *args], stdin=listener, timeout=60, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False,
            env={**harness.child_env(tmp_path), "APP_URL": "http://h/t/"})
    assert done.returncode == 64
    assert done.stdout == ""
    first = done.stderr.split("\n")[0]
    assert first.startswith((str(build.fcgi), "curt.fcgi: "))
    # getopt(3) names an option by its letter alone.
    assert args[0].strip("-") in first


# Clients that disappear

def vanish(pool, how):
    """A client that goes away at some point of its request."""
    client = pool.client().connect()
    whole = client.request_bytes("POST", "/create", proctools.JSON,
                                 '{"long_url": "https://example.com/gone"}')
    if how == "half":
        client.send(whole[:len(whole) // 2])
    elif how == "no end":
        client.send(whole[:-8])
    elif how == "unread":
        client.send(whole)
    elif how == "aborted":
        client.send(whole[:-8] + fcgi_client.record(fcgi_client.ABORT_REQUEST))
    elif how == "garbage":
        client.send(b"GET / HTTP/1.1\r\n\r\n" + bytes(range(256)))
    elif how == "deaf":
        client.send(whole)
        client.socket.shutdown(socket.SHUT_RD)
    client.close()


@pytest.mark.parametrize("workers", [3, 0])
def test_clients_that_disappear_cost_nothing(request, build, workers):
    with (nullcontext(request.getfixturevalue("shared")) if workers
          else Pool(build, {}, workers=0).start()) as pool:
        short_id = make_link(pool)
        before = pool.children()
        for _ in range(5):
            for how in ("nothing", "half", "no end", "unread", "aborted",
                        "garbage", "deaf"):
                vanish(pool, how)
        for _ in range(10):
            check_redirect(pool, short_id)
        assert pool.children() == before
        assert pool.process.poll() is None
        assert not said(pool, "was ended by")
        # No connection is left open.
        servers = pool.workers() if workers else [pool.pid]
        wait_until(lambda: not sum(map(proctools.connections, servers)),
                   "no connection left")


def test_answer_that_nobody_reads_does_not_kill(shared):
    """Longer than a socket buffer, so the worker is writing when the client
    goes: EPIPE, and SIGPIPE if it were not ignored."""
    before = shared.children()
    url = "https://example.com/" + "&" * 7900
    short_id = make_link(shared, url)
    for _ in range(5):
        with shared.client() as client:
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            data = client.request_bytes("GET", "/t/" + short_id, keep=True)
            # Answers that pile up: nobody takes them.
            client.socket.settimeout(0.5)
            try:
                client.send(data * 20)
            except socket.timeout:
                pass
    check_redirect(shared, short_id, url)
    assert shared.children() == before
