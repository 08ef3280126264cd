"""Reports to a service manager, as sd_notify(3) describes them: readiness,
reload, stop and watchdog. The service manager is a socket of the test."""

import signal
import socket
import time

import pytest

from harness import wait_until
from proctools import EnvPool, freeze, slay, wait_said


class Manager:
    """Receives the datagrams; each is a dictionary in `reports`."""

    def __init__(self, path, abstract):
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind("\0%s" % path if abstract else str(path))
        self.address = "@%s" % path if abstract else str(path)
        if not abstract:
            path.chmod(0o777)
        self.reports = []

    def read(self):
        while True:
            try:
                text = self.socket.recv(4096).decode()
            except BlockingIOError:
                return self.reports
            self.reports.append(dict(line.split("=", 1)
                                     for line in text.split("\n")))

    def wait(self, name, count=1):
        """The last of at least count reports with that name in it."""
        def found():
            return [r for r in self.read() if name in r]
        return wait_until(lambda: len(found()) >= count and found()[-1],
                          "%d reports of %s" % (count, name))

    def count(self, name):
        return sum(name in report for report in self.read())


@pytest.fixture(params=[False, True], ids=["path", "abstract"])
def manager(request, tmp_path):
    manager = Manager(tmp_path / "notify", request.param)
    yield manager
    manager.socket.close()


def managed(build, manager, settings=(), workers=1, **environment):
    return EnvPool(build, dict(settings), workers, environment={
        "NOTIFY_SOCKET": manager.address, **environment})


# For what does not depend on the address.
ONE_ADDRESS = pytest.mark.parametrize("manager", [False], indirect=True)


def test_life_of_a_pool_is_reported(build, manager):
    with managed(build, manager, {"DRAIN_TIMEOUT": 7}, workers=2) as pool:
        pool.start()
        ready = manager.wait("READY")
        assert ready["READY"] == "1"
        assert ready["STATUS"].endswith(", 2 workers"), ready
        pool.signal(signal.SIGHUP)
        assert int(manager.wait("RELOADING")["MONOTONIC_USEC"]) > 0
        manager.wait("READY", 2)
        wait_until(pool.complete, "the reloaded pool")
        pool.settings["MAX_CHAR"] = "none"
        pool.write_conf()
        pool.signal(signal.SIGHUP)
        assert "reload failed" in manager.wait("READY", 3)["STATUS"]
        pool.stop()
        stopping = manager.wait("STOPPING")
        assert int(stopping["EXTEND_TIMEOUT_USEC"]) > 7e6
        assert manager.count("WATCHDOG") == 0
        assert [name for report in manager.reports for name in report
                if name in ("READY", "RELOADING", "STOPPING")] == [
            "READY", "RELOADING", "READY", "RELOADING", "READY", "STOPPING"]


@ONE_ADDRESS
def test_watchdog_hears_only_of_a_master_that_works(build, manager):
    with managed(build, manager, WATCHDOG_USEC="200000") as pool:
        pool.start()
        manager.wait("WATCHDOG", 3)
        freeze(pool.pid)
        before = manager.count("WATCHDOG")
        time.sleep(0.5)
        assert manager.count("WATCHDOG") == before
        pool.signal(signal.SIGCONT)
        manager.wait("WATCHDOG", before + 3)
    manager.wait("STOPPING")


@ONE_ADDRESS
def test_watchdog_of_another_process_gets_nothing(build, manager):
    with managed(build, manager, WATCHDOG_USEC="2000",
                 WATCHDOG_PID="1") as pool:
        pool.start()
        manager.wait("READY")
    assert manager.count("WATCHDOG") == 0


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/notify",
                                     "/" + 200 * "x", "@"])
def test_useless_addresses_do_no_harm(build, address):
    with EnvPool(build, {}, workers=1, environment={
            "NOTIFY_SOCKET": address, "WATCHDOG_USEC": "20000"}) as pool:
        pool.start()
        slay(pool.workers()[0])
        wait_said(pool, "worker killed by signal")
        wait_until(pool.complete, "the new worker")
