#!/usr/bin/python3
"""Measures curt beside what it could cost at the least, in one run.

"make bench" builds what it needs and calls it; see doc/performance.md. It
measures and never fails: what could not be measured is named in the report.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.dont_write_bytecode = True

import setups  # noqa: E402  (it finds the modules of the end-to-end tests)
import harness  # noqa: E402
import measure  # noqa: E402
import report  # noqa: E402
import sections  # noqa: E402


class Bench:
    """What the sections need to know."""

    def __init__(self, options, cache):
        self.build = harness.Build(options.build)
        self.build.check()
        programs = Path(options.build).resolve() / "tests" / "bench"
        self.plain = programs / "plain"
        self.quick = programs / "quick"
        self.insert = programs / "insert"
        self.cache = cache
        small = options.quick
        self.seconds = options.seconds or (1 if small else 3)
        self.rounds = options.rounds or (1 if small else 3)
        self.warm_up = 1
        self.links = options.links or (100_000 if small else 1_000_000)
        self.dynamodb_links = (options.dynamodb_links
                               or (500 if small else 2_000))
        self.worker_counts = ([1, 4, 16] if small
                              else [1, 2, 4, 8, 16, 32, 64])
        self.mixed_counts = [1, 4] if small else [1, 2, 4, 8, 16]
        self.mixed_redirects = 28
        self.mixed_creates = 4
        self.sizes = [10_000, self.links]
        if options.ten_million:
            self.sizes.append(10_000_000)
        self.hosts = [1, 2] if small else [1, 2, 4]
        self.hosts_warm_up = 5 if small else 15
        self.hosts_seconds = 5 if small else 10
        self.fcgid_warm_up = 5 if small else 15

    def say(self, text):
        print("  " + text, flush=True)


def read_arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--build", default=os.environ.get("CURT_BUILD", "."),
                   help="build directory (default: the current one)")
    p.add_argument("--output", help="directory for report.md, report.json and"
                   " performance.svg (default: bench/ in the build directory)")
    p.add_argument("--doc", metavar="FILE", help="also put the tables into"
                   " this file, between its two marks, and the plot beside it")
    p.add_argument("--quick", action="store_true",
                   help="a look in two minutes: short, once, few links")
    p.add_argument("--seconds", type=int, help="of each measurement")
    p.add_argument("--rounds", type=int, help="how often each is repeated")
    p.add_argument("--links", type=int, help="in SQLite")
    p.add_argument("--dynamodb-links", type=int, help="in DynamoDB Local")
    p.add_argument("--ten-million", action="store_true",
                   help="also with 10 million links in SQLite")
    p.add_argument("--only", metavar="SECTION", nargs="+", default=[],
                   choices=list(sections.ALL),
                   help="some of: " + " ".join(sections.ALL))
    p.add_argument("--from-json", metavar="FILE",
                   help="measure nothing, write the report of an earlier run")
    return p.parse_args()


def run(options):
    """All sections; one that cannot be measured does not end the run."""
    found = {"when": time.strftime("%Y-%m-%d"), "machine": measure.machine(),
             "faults": {}}
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="curt-bench-") as cache:
        bench = Bench(options, Path(cache))
        found["settings"] = {
            "seconds": bench.seconds, "rounds": bench.rounds,
            "connections": measure.CONNECTIONS, "links": bench.links,
            "dynamodb_links": bench.dynamodb_links}
        if b"__asan_init" in bench.build.fcgi.read_bytes():
            found["faults"]["the right program"] = (
                "this build has the sanitizers, so the numbers say nothing")
        for name, section in sections.ALL.items():
            if options.only and name not in options.only:
                continue
            print("%s:" % name, flush=True)
            try:
                found[name] = section(bench)
            except Exception as e:
                traceback.print_exc()
                found["faults"][name] = "%s: %s" % (
                    type(e).__name__, str(e).strip().partition("\n")[0])
    found["took_seconds"] = round(time.monotonic() - began)
    return found


def main():
    options = read_arguments()
    output = Path(options.output or Path(options.build) / "bench")
    output.mkdir(parents=True, exist_ok=True)
    if options.from_json:
        found = json.loads(Path(options.from_json).read_text())
    else:
        found = run(options)
        # As it is read back, so that both ways give one report.
        found = json.loads(json.dumps(found))
    (output / "report.json").write_text(json.dumps(found, indent=1) + "\n")
    report.write(found, output, options.doc)
    print("written: %s" % (output / "report.md"))


if __name__ == "__main__":
    main()
