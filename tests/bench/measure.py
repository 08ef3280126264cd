"""The instruments: load, processor time, memory, system calls, instructions."""

import json
import os
import re
import shutil
import socket
import statistics
import struct
import subprocess
import threading
import time
from pathlib import Path

import harness
import setups
from setups import HERE, Alone

CONNECTIONS = 32
TICK = os.sysconf("SC_CLK_TCK")


def cpu_us(pids):
    """Processor time that these processes have used, in microseconds. From
    schedstat, which is exact, or else from stat, in ticks."""
    total = 0
    for pid in pids:
        try:
            tasks = list(Path("/proc/%d/task" % pid).iterdir())
            for task in tasks:
                total += int((task / "schedstat").read_text().split()[0]) / 1e3
        except FileNotFoundError:
            try:
                stat = Path("/proc/%d/stat" % pid).read_text()
            except FileNotFoundError:
                continue
            fields = stat.rpartition(")")[2].split()
            total += (int(fields[11]) + int(fields[12])) * 1e6 / TICK
        except ProcessLookupError:
            continue
    return total


def start_wrk(url, arguments, seconds, connections=CONNECTIONS):
    return subprocess.Popen(
        [harness.find_program("wrk"), "-t1", "-c%d" % connections,
         "-d%ds" % max(1, round(seconds)), "--timeout", "10s", "-s", HERE / "load.lua", url,
         "--"] + [str(a) for a in arguments],
        stdout=subprocess.PIPE, text=True)


def finish_wrk(process):
    output = process.communicate(timeout=120)[0]
    if process.returncode != 0:
        raise RuntimeError("wrk: " + output)
    return json.loads(output.strip().splitlines()[-1])


def wrk(url, arguments, seconds, connections=CONNECTIONS):
    return finish_wrk(start_wrk(url, arguments, seconds, connections))


def put_load(site, arguments, seconds, connections=CONNECTIONS):
    """One measurement of a site under load."""
    server, pool = site.pids()
    janitor = site.janitor_pids()
    groups = [server, pool, janitor]
    before = [cpu_us(pids) for pids in groups]
    result = wrk(site.url, arguments, seconds, connections)
    after = [cpu_us(pids) for pids in groups]
    requests = max(1, result["requests"])
    used = [(b - a) / requests for a, b in zip(before, after)]
    return {
        "requests": result["requests"],
        "rps": result["requests"] / (result["us"] / 1e6),
        "p50": result["p50"], "p99": result["p99"], "p99.9": result["p99.9"],
        "max": result["max"],
        "failed": result["failed"], "refused": result["refused"],
        "cpu_server": used[0], "cpu_pool": used[1], "cpu_janitor": used[2],
    }


def memory(site):
    """Of the pool, in KiB: a worker's private memory (median), and of all
    processes together the resident and the proportional set."""
    def rollup(pid):
        text = Path("/proc/%d/smaps_rollup" % pid).read_text()
        return {name: int(kib) for name, kib in
                re.findall(r"^(\w+):\s+(\d+) kB", text, re.M)}

    workers = [rollup(pid) for pid in site.worker_pids()]
    everyone = [rollup(pid) for pid in site.pids()[1]]
    return {
        "worker_private": statistics.median(
            m["Private_Dirty"] + m["Private_Clean"] for m in workers),
        "worker_dirty": statistics.median(m["Private_Dirty"] for m in workers),
        "worker_rss": statistics.median(m["Rss"] for m in workers),
        "pool_rss": sum(m["Rss"] for m in everyone),
        "pool_pss": sum(m["Pss"] for m in everyone),
    }


def capture_request(build, path):
    """The bytes in which lighttpd hands a GET of this path over, with the
    shipped configuration."""
    site = setups.Site(build, "lighttpd", "curt", 1)
    seen = []
    done = threading.Event()
    end_of_input = struct.pack("!BBHHBx", 1, 5, 1, 0, 0)

    def receive(listener):
        connection = listener.accept()[0]
        with connection:
            data = b""
            while not data.endswith(end_of_input):
                data += connection.recv(65536)
            seen.append(data)
        done.set()

    with site.pool.bind() as listener:
        threading.Thread(target=receive, args=(listener,), daemon=True).start()
        try:
            site.server.start()
            with socket.create_connection(("127.0.0.1", site.port)) as client:
                client.sendall(b"GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
                               % path.encode())
                done.wait(10)
        finally:
            site.kill()
    return seen[0]


def instructions(argv, workdir, request):
    """User instructions of one process per request: the difference of two
    counts, so that the start and the end do not matter."""
    few, many = 200, 1200

    def count(times):
        log = workdir / "callgrind.log"
        with open(log, "wb") as stderr, Alone(
                [harness.find_program("valgrind"), "--tool=callgrind",
                 "--callgrind-out-file=/dev/null"] + argv, workdir,
                stderr) as alone:
            alone.ask(request, times)
            alone.finish(request)
        found = re.search(r"Collected : (\d+)", log.read_text())
        return int(found.group(1))

    return (count(many) - count(few)) / (many - few)


def system_calls(argv, workdir, request):
    """{name: calls per request} of one process."""
    times = 200
    trace = workdir / "strace.out"
    with Alone(argv, workdir) as alone:
        alone.ask(request, 20)
        strace = subprocess.Popen(
            [harness.find_program("strace"), "-qq", "-o", trace,
             "-p", str(alone.process.pid)], stderr=subprocess.DEVNULL)
        harness.wait_until(lambda: is_traced(alone.process.pid), "strace")
        alone.ask(request, times)
        # The process is back in its wait for a connection.
        time.sleep(0.2)
        strace.terminate()
        strace.wait(10)
    counts = {}
    for line in trace.read_text().splitlines():
        name = re.match(r"(\w+)\(", line)
        if name:
            counts[name.group(1)] = counts.get(name.group(1), 0) + 1
    # Of the two waits at both ends one is not of these requests.
    return {name: round(n / times, 2) for name, n in counts.items()
            if n >= times / 100}


def is_traced(pid):
    status = Path("/proc/%d/status" % pid).read_text()
    return not re.search(r"^TracerPid:\s+0$", status, re.M)


def start_time(command, workdir, request, env=None):
    """Milliseconds from the start of a pool to its first answer."""
    begin = time.perf_counter()
    with Alone(command, workdir, env=env) as alone:
        alone.ask(request)
        took = (time.perf_counter() - begin) * 1000
        alone.process.terminate()
        try:
            alone.process.wait(20)
        except subprocess.TimeoutExpired:
            pass
    return took


def insert_rate(program, database, processes, seconds):
    """Durable inserts per second of so many processes at a time."""
    running = [subprocess.Popen(
        [program, database, str(seconds), str(time.time_ns() % 60000 + i)],
        stdout=subprocess.PIPE, text=True) for i in range(processes)]
    rows = [int(p.communicate(timeout=120)[0] or 0) for p in running]
    return {"rps": sum(rows) / seconds, "least": min(rows) / seconds,
            "most": max(rows) / seconds}


def machine():
    """What it ran on."""
    def first(path, pattern):
        try:
            found = re.search(pattern, Path(path).read_text(), re.M)
        except OSError:
            return None
        return found and found.group(1).strip()

    def version(*command):
        program = shutil.which(command[0], path=os.environ.get("PATH", "")
                               + ":/usr/sbin:/sbin")
        if not program:
            return None
        done = subprocess.run([program, *command[1:]], text=True, check=False,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        found = re.search(r"\d+\.\d+[\w.]*", done.stdout)
        return found and found.group(0)

    uname = os.uname()
    memory_kib = int(first("/proc/meminfo", r"^MemTotal:\s+(\d+)") or 0)
    return {
        "processor": first("/proc/cpuinfo", r"^model name\s*:(.*)$")
        or uname.machine,
        "cores": os.cpu_count(),
        "memory_gib": round(memory_kib / 2 ** 20, 1),
        "system": first("/etc/os-release", r'^PRETTY_NAME="(.*)"$'),
        "kernel": uname.release,
        "lighttpd": version("lighttpd", "-v"),
        "nginx": version("nginx", "-v"),
        "Apache httpd": version("apache2", "-v"),
        "SQLite": version("sqlite3", "--version"),
        "gcc": version("gcc", "-dumpfullversion"),
    }
