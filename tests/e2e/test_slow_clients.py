"""Peers and clients that send or read slowly, or not at all: they get what is
due to them, and nobody else waits for it."""

import json
import os
import signal
import socket
import time

import pytest

import fcgi_client
from fcgi_client import PARAMS, STDIN, begin, pairs, record, stream
from harness import Pool, wait_until
from proctools import (EnvPool, HalfRequest, check_redirect, connections,
                       freeze, make_link, said)

# What one worker has at most (fcgi.c).
CONNECTIONS_MAX = 512

LONG_URL = "https://example.com/" + "&" * 7900


def head_of(method, uri, length, keep=False):
    """A request up to the end of its parameters."""
    return begin(flags=keep) + stream(PARAMS, pairs({
        "REQUEST_METHOD": method, "REQUEST_URI": uri,
        "CONTENT_TYPE": "application/json", "CONTENT_LENGTH": length}))


def half_body(size=1000):
    return head_of("POST", "/create", size) + record(STDIN, b'{"long_url": ')


# What a slow peer sends before it falls silent.
SLOW = {
    "silent": b"",
    "header": begin()[:5],
    "params": begin() + record(PARAMS, b"\x0b\x05REQUEST"),
    "no body": head_of("POST", "/create", 1000),
    "half body": half_body(),
    "half record": half_body()[:-5],
    "values": record(9, b"\x0f\0FCGI_MPXS_CONNS", request_id=0),
}


def slow_peer(pool, data, receive_buffer=None):
    client = pool.client(60)
    if receive_buffer:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF,
                                 receive_buffer)
    client.send(data)
    return client


def check_redirects(pool, short_id, url, count=20):
    """They do not wait for slow peers: a client gives up after 20 seconds, and
    a slow request may take 60."""
    for _ in range(count):
        check_redirect(pool, short_id, url)


def taken(pool):
    return sum(map(connections, pool.workers() or [pool.pid]))


def wait_taken(pool, condition, what):
    wait_until(lambda: condition(taken(pool)), what, interval=0.1)


def wait_all_closed(pool):
    """A worker closes a connection a little after its client has the answer."""
    wait_taken(pool, lambda count: count == 0, "all connections are closed")


@pytest.fixture(scope="module")
def patient(build):
    """A worker that waits for slow requests for the time of a test."""
    with Pool(build, {"REQUEST_TIMEOUT": 60}, workers=1) as pool:
        yield pool.start()


@pytest.fixture(scope="module")
def hasty(build):
    """A worker that waits for them for one second."""
    with Pool(build, {"REQUEST_TIMEOUT": 1}, workers=1) as pool:
        yield pool.start()


@pytest.mark.parametrize("workers", [2, 0])
def test_slow_peers_hold_up_nobody(build, workers):
    """Eight of them were enough for that."""
    settings = {"REQUEST_TIMEOUT": 60}
    with Pool(build, settings, workers=workers).start() as pool:
        short_id = make_link(pool, LONG_URL)
        wait_all_closed(pool)
        reader = pool.client().request_bytes("GET", "/t/" + short_id)
        peers = [slow_peer(pool, data) for data in SLOW.values()
                 for _ in range(20)]
        peers += [slow_peer(pool, reader, 1) for _ in range(20)]
        wait_taken(pool, lambda count: count >= len(SLOW) * 20, "all are taken")
        check_redirects(pool, short_id, LONG_URL)
        assert make_link(pool)
        for client in peers[-20:]:
            assert client.response().status == 301
        for client in peers:
            client.close()


def drip(client, data, seconds):
    """Sends a byte now and then, until the other side closes."""
    end = time.monotonic() + seconds
    client.socket.setblocking(False)
    for byte in data:
        assert time.monotonic() < end, "still open"
        try:
            client.socket.send(bytes([byte]))
            if client.socket.recv(1) == b"":
                return
        except BlockingIOError:
            pass
        except ConnectionError:
            return
        time.sleep(0.1)


def test_slow_request_ends_after_the_request_timeout(hasty):
    begun = time.monotonic()
    peers = {name: slow_peer(hasty, data) for name, data in SLOW.items()}
    dripping = hasty.client().connect()
    drip(dripping, head_of("GET", "/t/" + "a" * 400, 0), 30)
    assert time.monotonic() - begun > 0.9
    dripping.close()
    for name, client in peers.items():
        if name in ("no body", "half body", "half record"):
            answer = client.response()
            assert answer.status == 408
            assert json.loads(answer.body)["status"] == 408
        elif name == "values":
            assert client.read_record()[0] == 10
        assert client.closed(), name
        client.close()
    # The time counts from the beginning of each request.
    with hasty.client() as kept:
        for _ in range(4):
            assert kept.request("GET", "/t/~", keep=True).status == 404
            time.sleep(0.4)


def test_answer_that_nobody_reads_ends_after_the_request_timeout(hasty):
    short_id = make_link(hasty, LONG_URL)
    wait_all_closed(hasty)
    client = hasty.client()
    data = client.request_bytes("GET", "/t/" + short_id, keep=True)
    client.socket.settimeout(0.1)
    # Requests one after the other until the answers fill the buffers.
    for _ in range(5):
        try:
            client.send(data)
        except (socket.timeout, ConnectionError):
            break
        time.sleep(0.02)
    check_redirects(hasty, short_id, LONG_URL, 3)
    wait_all_closed(hasty)
    client.close()


def test_answer_that_needs_no_body_does_not_wait_for_it(patient):
    for method, uri, length, status in (
            ("GET", "/t/~", 1000, 404), ("HEAD", "/t/~", 1000, 404),
            ("POST", "/t/abc", 1000, 405), ("POST", "/other", 1000, 404),
            ("GET", "/create", 1000, 405), ("POST", "/create", 65537, 413),
            ("POST", "/create", 2 ** 40, 413)):
        head = head_of(method, uri, length, keep=True)
        begun = head + record(STDIN, b"x" * 100)
        with slow_peer(patient, begun) as client:
            assert client.response().status == status
            # The rest is read, and the connection serves the next request.
            client.send(stream(STDIN, b"x" * 900))
            answer = client.request("GET", "/t/~", keep=True)
            assert answer.status == 404
    with slow_peer(patient, begun) as client:
        # It is not waited for any longer than two seconds.
        assert client.response().status == 413
        assert client.closed()


def test_idle_kept_connections_do_not_hold_up_others(hasty):
    short_id = make_link(hasty)
    kept = [hasty.client() for _ in range(20)]
    for client in kept:
        client.request("GET", "/t/~", keep=True)
    check_redirect(hasty, short_id)
    time.sleep(1.2)  # no request was begun, so there is no timeout
    for client in kept:
        answer = client.request("GET", "/t/" + short_id, keep=True)
        assert answer.status == 301
        client.close()


def test_more_connections_than_a_worker_has(patient):
    short_id = make_link(patient)
    wait_all_closed(patient)
    oldest = slow_peer(patient, half_body())
    kept = patient.client()
    assert kept.request("GET", "/t/~", keep=True).status == 404
    others = [slow_peer(patient, SLOW["params"])
              for _ in range(CONNECTIONS_MAX - 3)]
    wait_taken(patient, lambda count: count == CONNECTIONS_MAX - 1,
               "as many as there may be")
    # The idle one goes first, then the oldest request.
    others.append(slow_peer(patient, SLOW["params"]))
    assert kept.closed()
    others.append(slow_peer(patient, SLOW["params"]))
    answer = oldest.response()
    assert answer.status == 503
    assert int(answer.headers["retry-after"]) > 0
    assert oldest.closed()
    for _ in range(100):
        others.append(slow_peer(patient, SLOW["params"]))
    check_redirects(patient, short_id, "https://example.com/page")
    wait_taken(patient, lambda count: count < CONNECTIONS_MAX, "one is free")
    for client in others + [oldest, kept]:
        client.close()


class FewFilesPool(Pool):
    def command(self, workers):
        return ["prlimit", "--nofile=64"] + super().command(workers)


def test_more_connections_than_the_process_may_open_files(build):
    settings = {"REQUEST_TIMEOUT": 60}
    with FewFilesPool(build, settings, workers=1).start() as pool:
        short_id = make_link(pool)
        [worker] = pool.workers()
        freeze(worker)  # so that all of them come at once
        peers = [slow_peer(pool, SLOW["params"]) for _ in range(100)]
        os.kill(worker, signal.SIGCONT)
        check_redirects(pool, short_id, "https://example.com/page")
        assert make_link(pool)
        assert not said(pool, "cannot accept a connection")
        # Those that have waited longest were given up.
        left = [is_open(client) for client in peers]
        assert left == sorted(left) and 0 < sum(left) < 32
        for client in peers:
            client.close()


def test_memory_of_slow_requests_is_bounded(patient):
    """25 of them with 1.9 MB of parameters each."""
    short_id = make_link(patient)
    peers = []
    for _ in range(25):
        client = patient.client(60).connect()
        peers.append(client)
        try:
            client.send(begin() + record(PARAMS, bytes(65000)) * 29)
        except ConnectionError:
            pass
    check_redirect(patient, short_id)
    assert sum(1 for c in peers if is_open(c)) < 20
    for client in peers:
        client.close()


def is_open(client):
    client.socket.setblocking(False)
    try:
        return client.socket.recv(1) != b""
    except BlockingIOError:
        return True
    except ConnectionError:
        return False


@pytest.mark.parametrize("workers", [1, 0])
def test_request_that_came_with_the_signal_is_answered(build, workers):
    """On a kept connection, and to a worker that waits for something on it."""
    with Pool(build, {}, workers=workers).start() as pool:
        worker = (pool.workers() or [pool.pid])[0]
        with pool.client() as kept:
            assert kept.request("GET", "/t/~", keep=True).status == 404
            freeze(worker)
            os.kill(worker, signal.SIGUSR1)
            kept.send(kept.request_bytes("GET", "/t/~", keep=True))
            os.kill(worker, signal.SIGCONT)
            assert kept.response().status == 404
            assert kept.closed()
        if not workers:
            assert pool.process.wait(20) == 0


def test_connection_that_came_with_the_signal_is_answered(build):
    """It wakes one worker only, the first one that waits."""
    with Pool(build, {}, workers=2).start() as pool:
        pair = pool.workers()
        wait_all_closed(pool)
        kept = pool.client()
        assert kept.request("GET", "/t/~", keep=True).status == 404
        # Who has this connection is now the last of the two.
        first = pair[connections(pair[0]) > 0]
        freeze(pool.pid)
        here = os.sched_getaffinity(0)
        try:
            # The worker does not run before both have come.
            os.sched_setaffinity(0, {min(here)})
            os.sched_setaffinity(first, {min(here)})
            os.sched_setscheduler(first, os.SCHED_IDLE, os.sched_param(0))
            client = pool.client().connect()
            os.kill(first, signal.SIGUSR1)
        finally:
            os.sched_setaffinity(0, here)
            os.sched_setaffinity(first, here)
            os.sched_setscheduler(first, os.SCHED_OTHER, os.sched_param(0))
        assert client.request("GET", "/t/~").status == 404
        os.kill(pool.pid, signal.SIGCONT)
        kept.close()


class NonBlockingPool(Pool):
    def bind(self):
        listener = super().bind()
        listener.setblocking(False)
        return listener


@pytest.mark.parametrize("workers", [2, 0])
def test_listener_that_does_not_block(build, workers):
    settings = {"LOG_LEVEL": "debug"}
    with NonBlockingPool(build, settings, workers=workers).start() as pool:
        short_id = make_link(pool)
        for _ in range(20):
            check_redirect(pool, short_id)
        assert not said(pool, "cannot accept a connection")


class TcpPool(EnvPool):
    """On a TCP socket, with FCGI_WEB_SERVER_ADDRS."""

    def bind(self):
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        self.port = listener.getsockname()[1]
        return listener

    def client(self, timeout=20):
        client = fcgi_client.FcgiClient("", timeout)
        client.socket.close()
        client.socket = socket.create_connection(("127.0.0.1", self.port),
                                                 timeout)
        client.connected = True
        return client


@pytest.mark.parametrize("allowed", ["10.0.0.1,127.0.0.1", "10.0.0.1"])
def test_slow_peers_on_tcp(build, allowed):
    pool = TcpPool(build, {"REQUEST_TIMEOUT": 1}, workers=1,
                   environment={"FCGI_WEB_SERVER_ADDRS": allowed})
    if "127" not in allowed:
        with pool.start(ready=False):
            with pool.client() as client:
                assert client.closed()
            wait_until(lambda: said(pool, "not in FCGI_WEB_SERVER_ADDRS"),
                       "the reason")
        return
    with pool.start():
        short_id = make_link(pool, LONG_URL)
        with slow_peer(pool, half_body()) as late, slow_peer(pool, b"") as mute:
            check_redirects(pool, short_id, LONG_URL, 5)
            assert late.response().status == 408
            assert late.closed() and mute.closed()
        with slow_peer(pool, head_of("GET", "/t/" + short_id, 10000)) as client:
            client.send(record(STDIN, bytes(5000)))
            assert client.response().headers["location"] == LONG_URL


def test_slow_create_is_finished_at_a_stop(build):
    with Pool(build, {"REQUEST_TIMEOUT": 60}, workers=1).start() as pool:
        halves = [HalfRequest(pool, in_body) for in_body in (True, False)]
        pool.signal(signal.SIGTERM)
        for half in halves:
            half.finish()
        assert pool.process.wait(30) == 0
