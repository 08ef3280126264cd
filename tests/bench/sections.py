"""The parts of the benchmark. Each returns {candidate: [measurement, ...]},
one measurement a round, or the like; what they mean together is for report.py.
"""

import contextlib
import re
import shutil
import statistics
import time
from pathlib import Path

import dynamodb_local
import harness
import links
import measure
from proxy import CountingProxy
from setups import FIXED_PATH, Site


class Candidate:
    """A site and what is asked of it; arguments(round) is for load.lua."""

    def __init__(self, name, site, arguments, drain=False, warm_up=None):
        self.name = name
        self.site = site
        self.arguments = arguments
        self.drain = drain
        self.warm_up = warm_up


def pending_hits(site):
    found = re.match(r"\d+", site.tool("hits").stdout)
    return int(found.group(0))


def wait_flushed(site, deadline=60):
    """Until the hits of the last load are in the store, so that the next
    measurement does not share the machine with them. Seconds it took."""
    begin = time.monotonic()
    while pending_hits(site) > 0 and time.monotonic() - begin < deadline:
        time.sleep(0.2)
    return time.monotonic() - begin


def interleave(bench, candidates, rounds=None, first=None):
    """A B C A B C ...; first each of them for a moment that does not count,
    and is noted in `first` if that is given."""
    results = {c.name: [] for c in candidates}
    for c in candidates:
        wave = measure.wrk(c.site.url, c.arguments(0),
                           c.warm_up or bench.warm_up)
        if first is not None:
            first[c.name] = wave
        if c.drain:
            wait_flushed(c.site)
    for i in range(rounds or bench.rounds):
        for c in candidates:
            result = measure.put_load(c.site, c.arguments(i + 1),
                                      bench.seconds)
            if c.drain:
                result["flush_seconds"] = wait_flushed(c.site)
            results[c.name].append(result)
            bench.say("%-40s %8.0f/s  p99 %6.2f ms  pool %5.1f us"
                      % (c.name, result["rps"], result["p99"] / 1000,
                         result["cpu_pool"]))
    return results


def fixed(path=FIXED_PATH):
    return lambda i: ["fixed", path]


def draw(kind, count):
    return lambda i: [kind, count, 1000 + i]


def once(bench, count):
    """Each link once: every measurement goes on behind the last one."""
    step = count // (bench.rounds + 1)
    return lambda i: ["once", i * step]


def cached_link(site):
    """The path of a link that was made through the web server."""
    path = "/t/" + links.create(site.url, "https://example.com/some/page")
    if site.status(path) != 301:
        raise RuntimeError("no redirect of " + path)
    return path


def filled(bench, count):
    """Prepares a site: SQLite with so many links. The file is made once."""
    def prepare(site):
        site.make_table()
        target = Path(site.settings["STATE_DIR"]) / "curt.db"
        source = bench.cache / ("links-%d.db" % count)
        if not source.exists():
            links.fill_sqlite(target, count)
            shutil.copy(target, source)
        else:
            for path in target.parent.glob("curt.db-*"):
                path.unlink()
            shutil.copy(source, target)
    return prepare


def lighttpd(bench):
    """a to d of the issue on SQLite, all through lighttpd."""
    with contextlib.ExitStack() as stack:
        def site(app, workers, **options):
            return stack.enter_context(
                Site(bench.build, "lighttpd", app, workers, **options))

        plain, quick1, quick4, curt1, curt4 = (
            site(app, n) for app, n in (
                (bench.plain, 4), (bench.quick, 1), (bench.quick, 4),
                ("curt", 1), ("curt", 4)))
        many = site("curt", 4, prepare=filled(bench, bench.links))
        seldom = site("curt", 4, prepare=filled(bench, bench.links))
        results = interleave(bench, [
            Candidate("lighttpd itself", quick1, fixed("/direct/")),
            Candidate("plain, 4 workers", plain, fixed()),
            Candidate("quick, 1 worker", quick1, fixed()),
            Candidate("curt, one link, 1 worker", curt1,
                      fixed(cached_link(curt1))),
            Candidate("quick, 4 workers", quick4, fixed()),
            Candidate("curt, one link, 4 workers", curt4,
                      fixed(cached_link(curt4))),
            Candidate("curt, Zipf, 4 workers", many,
                      draw("zipf", bench.links), drain=True),
            Candidate("curt, each link once, 4 workers", seldom,
                      once(bench, bench.links), drain=True),
        ])
        memory = {"quick": measure.memory(quick4),
                  "curt, one link": measure.memory(curt4),
                  "curt, each link once": measure.memory(seldom)}
    return {"load": results, "memory": memory}


def servers(bench):
    """One cached link under the other web servers, quick beside it."""
    with contextlib.ExitStack() as stack:
        candidates = []
        for kind in ("nginx", "apache-proxy-fcgi", "apache-fcgid"):
            # mod_fcgid starts its processes one a second or so.
            warm_up = bench.fcgid_warm_up if kind == "apache-fcgid" else None
            for app, name in ((bench.quick, "quick"), ("curt", "curt")):
                site = stack.enter_context(
                    Site(bench.build, kind, app, 4))
                path = cached_link(site) if app == "curt" else FIXED_PATH
                candidates.append(Candidate(
                    "%s, %s" % (kind, name), site, fixed(path),
                    warm_up=warm_up))
        first = {}
        return {"load": interleave(bench, candidates, first=first),
                "first": first}


def create_sqlite(bench):
    """e on SQLite: curt's creates, and the bare INSERT beside them."""
    rates = {}
    with contextlib.ExitStack() as stack:
        sites = {n: stack.enter_context(
            Site(bench.build, "lighttpd", "curt", n)) for n in (1, 4)}
        raw = stack.enter_context(Site(bench.build, "lighttpd", "curt", 1))
        cached_link(raw)  # makes the table
        database = Path(raw.settings["STATE_DIR"]) / "curt.db"
        candidates = [Candidate("curt, create, %d workers" % n, sites[n],
                                lambda i: ["create", time.time_ns()])
                      for n in sites]
        for c in candidates:
            measure.wrk(c.site.url, c.arguments(0), bench.warm_up)
        for _ in range(bench.rounds):
            for c, n in zip(candidates, sites):
                name = "bare INSERT, %d processes" % n
                rate = measure.insert_rate(bench.insert, database, n,
                                           bench.seconds)
                rates.setdefault(name, []).append(rate)
                bench.say("%-40s %8.0f/s" % (name, rate["rps"]))
                rate = measure.put_load(c.site, c.arguments(1), bench.seconds)
                rates.setdefault(c.name, []).append(rate)
                bench.say("%-40s %8.0f/s  p99 %6.2f ms"
                          % (c.name, rate["rps"], rate["p99"] / 1000))
    return {"load": rates}


def dynamodb(bench):
    """d, e and the hosts on DynamoDB Local."""
    with contextlib.ExitStack() as stack:
        server = dynamodb_local.DynamoDBLocal()
        stack.callback(server.stop)
        server.start()
        table = server.create_table("bench")
        begin = time.monotonic()
        links.fill_dynamodb(server, table, bench.dynamodb_links)
        bench.say("%d links in DynamoDB Local in %.0f s"
                  % (bench.dynamodb_links, time.monotonic() - begin))
        settings = dict(server.env(), STORE="dynamodb", TABLE=table)
        load = bare_dynamodb(bench, server, table, settings)
        proxy = CountingProxy(server.endpoint)
        stack.callback(proxy.stop)
        settings["AWS_ENDPOINT_URL_DYNAMODB"] = proxy.start()
        hosts = {n: several_hosts(bench, proxy, settings, n)
                 for n in bench.hosts}
        hot = several_hosts(bench, proxy, settings, bench.hosts[-1],
                            ["fixed", "/t/" + links.short_id(0)])
    return {"load": load, "hosts": hosts, "one_link": hot}


class Endpoint:
    """DynamoDB Local as something to put load on."""

    def __init__(self, server):
        self.url = server.endpoint
        self.pid = server.process.pid

    def pids(self):
        return [self.pid], []

    def janitor_pids(self):
        return []


def bare_dynamodb(bench, server, table, settings):
    with Site(bench.build, "lighttpd", "curt", 16, settings) as site:
        bare = Endpoint(server)
        path = "/t/" + links.short_id(0)
        if site.status(path) != 301:
            raise RuntimeError("no redirect of %s from DynamoDB" % path)
        return interleave(bench, [
            Candidate("DynamoDB Local, bare PutItem", bare,
                      lambda i: ["put", table, time.time_ns()]),
            Candidate("curt on DynamoDB, create, 16 workers", site,
                      lambda i: ["create", time.time_ns()]),
            Candidate("DynamoDB Local, bare GetItem", bare,
                      lambda i: ["get", table, bench.dynamodb_links, i]),
            Candidate("curt on DynamoDB, Zipf, 16 workers", site,
                      draw("zipf", bench.dynamodb_links)),
        ])


def several_hosts(bench, proxy, settings, count, arguments=None):
    """So many hosts on one table, all asked at the same time."""
    with contextlib.ExitStack() as stack:
        sites = [stack.enter_context(
            Site(bench.build, "lighttpd", "curt", 2, settings))
            for _ in range(count)]

        def load(seconds, seed):
            running = [measure.start_wrk(
                s.url, arguments or ["zipf", bench.dynamodb_links, seed + i],
                seconds, max(1, measure.CONNECTIONS // count))
                for i, s in enumerate(sites)]
            return [measure.finish_wrk(p) for p in running]

        load(bench.hosts_warm_up, 1)
        before = dict(proxy.counts)
        done = load(bench.hosts_seconds, 100)
        used = {name: n - before.get(name, 0)
                for name, n in proxy.counts.items()}
        requests = sum(d["requests"] for d in done)
        result = {
            "rps": sum(d["requests"] / (d["us"] / 1e6) for d in done),
            "p99": max(d["p99"] for d in done),
            "refused": sum(d["refused"] for d in done),
            "reads": used.get("GetItem", 0) / requests,
            "writes": sum(n for name, n in used.items()
                          if name != "GetItem") / requests,
        }
        bench.say("%d hosts: %.0f/s, %.4f reads and %.4f writes a redirect"
                  % (count, result["rps"], result["reads"],
                     result["writes"]))
        return result


def workers(bench):
    """1 to 64 workers, quick beside curt; few at a time, so that idle
    processes stay few."""
    results = {"quick": {}, "curt": {}}
    for n in bench.worker_counts:
        with Site(bench.build, "lighttpd", bench.quick, n) as quick, \
                Site(bench.build, "lighttpd", "curt", n) as curt:
            load = interleave(bench, [
                Candidate("quick, %d" % n, quick, fixed()),
                Candidate("curt, %d" % n, curt, fixed(cached_link(curt))),
            ], rounds=min(2, bench.rounds))
        for name in results:
            results[name][n] = load["%s, %d" % (name, n)]
    return results


def mixed(bench):
    """Redirects of one link and durable creates at the same time, on SQLite,
    by the number of workers."""
    results = {}
    for n in bench.mixed_counts:
        with Site(bench.build, "lighttpd", "curt", n) as site:
            path = cached_link(site)
            for i in range(min(2, bench.rounds) + 1):
                seconds = bench.seconds if i > 0 else bench.warm_up
                running = [
                    measure.start_wrk(site.url, arguments, seconds, clients)
                    for arguments, clients in (
                        (["fixed", path], bench.mixed_redirects),
                        (["create", time.time_ns()], bench.mixed_creates))]
                done = [measure.finish_wrk(p) for p in running]
                for d in done:
                    d["rps"] = d["requests"] / (d["us"] / 1e6)
                if i == 0:
                    continue
                results.setdefault(n, []).append(
                    {"redirect": done[0], "create": done[1]})
                bench.say("%2d workers: %8.0f redirects/s, p99 %6.2f ms;"
                          " %6.0f creates/s, p99 %6.2f ms"
                          % (n, done[0]["rps"], done[0]["p99"] / 1000,
                             done[1]["rps"], done[1]["p99"] / 1000))
    return results


def sizes(bench):
    """The number of links in SQLite: redirects that all ask the store, and
    creates."""
    results = {}
    for count in bench.sizes:
        with Site(bench.build, "lighttpd", "curt", 4, {"CACHE_SIZE": "0"},
                  filled(bench, count)) as site:
            load = interleave(bench, [
                Candidate("uncached, %d links" % count, site,
                          draw("uniform", count), drain=True),
                Candidate("create, %d links" % count, site,
                          lambda i: ["create", time.time_ns()], drain=True),
            ], rounds=min(2, bench.rounds))
        results[count] = {name.split(",")[0]: runs
                          for name, runs in load.items()}
    return results


def process(bench):
    """One worker by itself: instructions, system calls; and the start."""
    workdir = harness.make_workdir()
    try:
        return look_at_process(bench, workdir)
    finally:
        shutil.rmtree(workdir, ignore_errors=True)


def look_at_process(bench, workdir):
    site = Site(bench.build, "lighttpd", "curt", 4)
    filled(bench, 1000)(site)
    conf = site.workdir / "curt.conf"
    path = "/t/" + links.short_id(7)
    request = measure.capture_request(bench.build, path)
    curt = [bench.build.fcgi, "-w", "0", "-c", conf]
    results = {}
    try:
        for name, argv in (("plain", [bench.plain]), ("quick", [bench.quick]),
                           ("curt", curt)):
            results[name] = {
                "instructions": measure.instructions(argv, workdir, request),
                "system_calls": measure.system_calls(argv, workdir, request),
            }
            bench.say("%-40s %8.0f instructions  %s"
                      % (name, results[name]["instructions"],
                         results[name]["system_calls"]))
        starts = [measure.start_time(
            [bench.build.fcgi, "-w", "4", "-c", conf], workdir, request)
            for _ in range(5)]
        results["start_ms"] = {"median": statistics.median(starts),
                               "most": max(starts)}
        bench.say("first answer after %.1f ms" % statistics.median(starts))
    finally:
        site.kill()
    return results


ALL = {f.__name__: f for f in (process, lighttpd, servers, create_sqlite,
                               dynamodb, workers, mixed, sizes)}
