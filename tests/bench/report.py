"""What was measured, as Markdown tables, and a judgement of the goals."""

import statistics
from pathlib import Path

import plot

BEGIN = "<!-- begin of what tests/bench wrote -->"
END = "<!-- end of what tests/bench wrote -->"

QUICK4, CURT4 = "quick, 4 workers", "curt, one link, 4 workers"
QUICK1, CURT1 = "quick, 1 worker", "curt, one link, 1 worker"
ONCE = "curt, each link once, 4 workers"


def median(runs, key):
    return statistics.median(run[key] for run in runs)


def spread(runs, key, digits=0):
    """Median, and least to most where there is more than one round."""
    values = sorted(run[key] for run in runs)
    text = "{:,.{}f}".format(statistics.median(values), digits)
    if len(values) > 1:
        text += " ({:,.{d}f}–{:,.{d}f})".format(values[0], values[-1],
                                                d=digits)
    return text


class Ratio:
    """A round's value over that of its neighbour in the same round."""

    def __init__(self, over, under, key):
        self.values = sorted(a[key] / b[key] for a, b in zip(over, under)
                             if b[key])
        self.median = statistics.median(self.values) if self.values else None

    def __str__(self):
        if not self.values:
            return "–"
        if len(self.values) == 1:
            return "%.2f" % self.median
        return "%.2f (%.2f–%.2f)" % (self.median, self.values[0],
                                     self.values[-1])


def table(head, rows):
    out = ["| " + " | ".join(head) + " |",
           "|" + "|".join([" --- "] + [" ---: "] * (len(head) - 1)) + "|"]
    out += ["| " + " | ".join(str(cell) for cell in row) + " |"
            for row in rows]
    return "\n".join(out) + "\n"


def load_table(load):
    """Requests, latencies and processor time of each candidate."""
    rows = []
    for name, runs in load.items():
        if "p99" not in runs[0]:
            rows.append([name, spread(runs, "rps")] + ["–"] * 6)
            continue
        janitor = median(runs, "cpu_janitor")
        pool = "%.1f" % median(runs, "cpu_pool")
        if janitor >= 0.1:
            pool += " (janitor %.1f)" % janitor
        faults = sum(run["failed"] + run["refused"] for run in runs)
        rows.append([name, spread(runs, "rps")]
                    + ["%.2f" % (median(runs, p) / 1000)
                       for p in ("p50", "p99", "p99.9")]
                    + ["%.1f" % median(runs, "cpu_server"), pool, faults])
    return table(["", "requests/s", "p50, ms", "p99, ms", "p99.9, ms",
                  "CPU µs, server", "CPU µs, pool", "errors"], rows)


class Goals:
    """The goals of the issue, judged by what was found."""

    def __init__(self, found):
        self.found = found
        self.rows = []
        for judge in (self.redirect, self.other_servers, self.process,
                      self.sqlite, self.stores):
            judge()

    def load(self, section):
        return self.found.get(section, {}).get("load", {})

    def add(self, what, goal, shown, met):
        self.rows.append([what, goal, shown, "yes" if met else "**no**"])

    def ratio(self, section, what, over, under, key, goal, least):
        load = self.load(section)
        if over not in load or under not in load:
            return
        r = Ratio(load[over], load[under], key)
        if r.median is not None:
            met = r.median >= goal if least else r.median <= goal
            self.add(what, "%s %g" % ("≥" if least else "≤", goal), r, met)

    def redirect(self):
        for over, under, n in ((CURT1, QUICK1, "1 worker"),
                               (CURT4, QUICK4, "4 workers")):
            self.ratio("lighttpd", "requests/s, curt / quick, " + n,
                       over, under, "rps", 0.95, True)
        self.ratio("lighttpd", "requests/s, curt / plain, 4 workers",
                   CURT4, "plain, 4 workers", "rps", 1.1, True)
        for over, under, n in ((CURT1, QUICK1, "1 worker"),
                               (CURT4, QUICK4, "4 workers")):
            self.ratio("lighttpd", "CPU of the pool, curt / quick, " + n,
                       over, under, "cpu_pool", 1.15, False)
        for over, under, n in ((CURT1, QUICK1, "1 worker"),
                               (CURT4, QUICK4, "4 workers")):
            self.ratio("lighttpd", "p99, curt / quick, " + n,
                       over, under, "p99", 1.1, False)

    def other_servers(self):
        for kind in ("apache-proxy-fcgi", "nginx"):
            self.ratio("servers", "requests/s, curt / quick, " + kind,
                       kind + ", curt", kind + ", quick", "rps", 0.95, True)
        runs = self.load("servers").get("apache-fcgid, curt")
        if runs:
            p99 = median(runs, "p99") / 1000
            self.add("mod_fcgid, p99 once its processes are there",
                     "no stall of a second", "%.1f ms" % p99, p99 < 500)

    def process(self):
        found = self.found.get("process")
        if not found:
            return
        r = found["curt"]["instructions"] / found["quick"]["instructions"]
        self.add("user instructions, curt / quick", "≤ 1.3", "%.2f" % r,
                 r <= 1.3)
        start = found["start_ms"]["median"]
        self.add("start of the pool to its first answer", "< 50 ms",
                 "%.0f ms" % start, start < 50)

    def sqlite(self):
        self.ratio("lighttpd", "requests/s, uncached id on SQLite / quick",
                   ONCE, QUICK4, "rps", 0.8, True)
        for n, name in ((1, "1 process"), (4, "4 processes")):
            self.ratio("create_sqlite",
                       "creates/s, curt / bare durable INSERT, " + name,
                       "curt, create, %d workers" % n,
                       "bare INSERT, %d processes" % n, "rps", 0.8, True)
        memory = self.found.get("lighttpd", {}).get("memory", {})
        for name, m in memory.items():
            if name.startswith("curt"):
                kib = m["worker_private"]
                self.add("private memory of a worker, " + name, "< 2,048 KiB",
                         "{:,.0f} KiB".format(kib), kib < 2048)

    def stores(self):
        hosts = self.found.get("dynamodb", {}).get("hosts", {})
        if hosts:
            n, last = list(hosts.items())[-1]
            used = last["reads"] + last["writes"]
            self.add("store requests per redirect, Zipf over {:,} links in "
                     "DynamoDB Local, {} hosts".format(
                         self.found["settings"]["dynamodb_links"], n),
                     "< 0.05", "%.3f" % used, used < 0.05)

    def text(self):
        return table(["", "goal", "measured", "met"], self.rows)


def process_table(found):
    rows = []
    for name in ("plain", "quick", "curt"):
        calls = found[name]["system_calls"]
        # Now and then is not a call of each request.
        calls = {c: n for c, n in calls.items() if n >= 0.5}
        rows.append([name, "{:,.0f}".format(found[name]["instructions"]),
                     "%g" % round(sum(calls.values())),
                     ", ".join(c if n < 1.5 else "%s ×%.0f" % (c, n)
                               for c, n in calls.items())])
    return table(["", "user instructions", "system calls", "which"], rows)


def memory_table(memory):
    rows = [[name] + ["{:,.0f}".format(m[key]) for key in (
        "worker_private", "worker_rss", "pool_pss", "pool_rss")]
        for name, m in memory.items()]
    return table(["KiB", "private, a worker", "resident, a worker",
                  "proportional, pool", "resident, pool"], rows)


def hosts_table(found):
    def row(name, h):
        return [name, "{:,.0f}".format(h["rps"]), "%.2f" % (h["p99"] / 1000),
                "%.4f" % h["reads"], "%.4f" % h["writes"]]

    rows = [row("%s, Zipf" % n, h) for n, h in found["hosts"].items()]
    rows.append(row("%s, one link" % list(found["hosts"])[-1],
                    found["one_link"]))
    return table(["hosts", "redirects/s, all", "p99, ms",
                  "reads per redirect", "writes per redirect"], rows)


def workers_table(found):
    rows = []
    for n, curt in found["curt"].items():
        quick = found["quick"][n]
        rows.append([n, spread(quick, "rps"), spread(curt, "rps"),
                     Ratio(curt, quick, "rps"),
                     "%.2f" % (median(curt, "p99") / 1000),
                     "%.1f" % median(curt, "cpu_pool")])
    return table(["workers", "quick, requests/s", "curt, requests/s",
                  "curt / quick", "curt, p99, ms", "curt, CPU µs, pool"], rows)


def mixed_table(found):
    rows = []
    for n, rounds in found.items():
        row = [n]
        for kind in ("redirect", "create"):
            runs = [r[kind] for r in rounds]
            row += [spread(runs, "rps"), "%.2f" % (median(runs, "p50") / 1000),
                    "%.2f" % (median(runs, "p99") / 1000)]
        rows.append(row)
    return table(["workers", "redirects/s", "p50, ms", "p99, ms",
                  "creates/s", "p50, ms", "p99, ms"], rows)


def first_table(first):
    """How mod_fcgid does while its processes are not there yet."""
    rows = [[name, "%.1f" % (w["us"] / 1e6),
             "{:,.0f}".format(w["requests"] / (w["us"] / 1e6))]
            + ["%.2f" % (w[p] / 1000) for p in ("p50", "p99", "p99.9", "max")]
            for name, w in first.items() if "fcgid" in name]
    return table(["the first wave", "seconds", "requests/s", "p50, ms",
                  "p99, ms", "p99.9, ms", "longest, ms"], rows)


def sizes_table(found):
    rows = [["{:,}".format(int(count)),
             spread(load["uncached"], "rps"),
             "%.1f" % median(load["uncached"], "cpu_pool"),
             spread(load["create"], "rps"),
             "%.1f" % median(load["create"], "cpu_pool")]
            for count, load in found.items()]
    return table(["links in SQLite", "uncached redirects/s", "CPU µs, pool",
                  "creates/s", "CPU µs, pool"], rows)


def machine_text(found):
    m = dict(found["machine"])
    s = found["settings"]
    head = "%s: %s, %d cores, %g GiB; %s, Linux %s" % (
        found["when"], m.pop("processor"), m.pop("cores"),
        m.pop("memory_gib"), m.pop("system"), m.pop("kernel"))
    versions = ", ".join("%s %s" % item for item in m.items() if item[1])
    return ("%s; %s. %d rounds of %g s each, %d connections, wrk on the same "
            "cores; the whole run took %d s.\n"
            % (head, versions, s["rounds"], s["seconds"], s["connections"],
               found["took_seconds"]))


SECTIONS = (
    ("process", "One worker by itself, per cached redirect", process_table),
    ("lighttpd", "Redirects through lighttpd",
     lambda f: load_table(f["load"])
     + "\nMemory after that:\n\n"
     + memory_table(f["memory"])),
    ("servers", "One link under the other web servers",
     lambda f: load_table(f["load"]) + "\n" + first_table(f["first"])),
    ("create_sqlite", "Creates on SQLite", lambda f: load_table(f["load"])),
    ("dynamodb", "DynamoDB Local",
     lambda f: load_table(f["load"]) + "\nSeveral hosts on one table:\n\n"
     + hosts_table(f)),
    ("workers", "The number of workers, one cached link", workers_table),
    ("mixed", "28 connections that redirect and 4 that create, on SQLite",
     mixed_table),
    ("sizes", "The number of links (cache off, 4 workers)", sizes_table),
)


def markdown(found):
    parts = [machine_text(found)]
    goals = Goals(found)
    if goals.rows:
        parts += ["### Goals\n", goals.text()]
    for name, title, show in SECTIONS:
        if name in found:
            parts += ["### %s\n" % title, show(found[name])]
    for name, fault in found["faults"].items():
        parts.append("Not measured: %s (%s)\n" % (name, fault))
    return "\n".join(parts)


def update_doc(path, text):
    """Puts the text between the two marks of the file."""
    doc = Path(path).read_text()
    before, begin, rest = doc.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit("%s: the marks of the benchmark are missing" % path)
    Path(path).write_text(before + begin + "\n\n" + text + "\n" + end + after)


def write(found, output, doc=None):
    text = markdown(found)
    (output / "report.md").write_text(text)
    svg = plot.draw(found)
    (output / "performance.svg").write_text(svg)
    if doc:
        update_doc(doc, text)
        Path(doc).with_suffix(".svg").write_text(svg)
