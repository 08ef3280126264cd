"""Chromium as the tests drive it: by Playwright for Node.js, through
browser.js. Playwright's documentation tells what the methods of a page do.
"""

import json
import select
import shutil
import subprocess
from pathlib import Path

import harness
import npm_package

PLAYWRIGHT = (
    "playwright-core@1.60.0",
    "f5b5bacef5ff9b49446e04ca27a629a4e2b1f07dd538f04c382161da2ad714e4"
    "f805b1e0af1e613e3c0960b4f8d0bbbee2ab43dfaa8a73f1e7e7a4ad516e7b20")
AXE = (
    "axe-core@4.14.1",
    "1477dafa598d8d065f273d6af302aa203c02e83131707b7fa648cd41bd3d6b73"
    "4f8c22a0dab86ee6a6f64b8afbe804b214d36db85a2826965edfb3a0b9d546b5")


def find_chromium():
    """The shell without windows needs half the time of the whole browser."""
    return harness.find_program("chromium-headless-shell", "chromium",
                                "chromium-browser")


# For one command; browser.js itself waits less.
DEADLINE = 90

# What axe finds, and what it cannot tell but for the contrast of colours.
RUN_AXE = """axe.run(%s).then((found) =>
    found.violations.concat(found.incomplete).flatMap((rule) =>
        rule.nodes.map((node) => rule.id + ": " + node.html + ": "
                       + node.failureSummary)))"""


class Page:
    """A tab with an empty profile. page("fill", "#long_url", "http://x/") is
    Playwright's page.fill(); a dotted name reaches what the page has, such as
    "keyboard.press" and "context.setOffline"."""

    def __init__(self, browser, options):
        self.browser = browser
        self.number = browser.command(open=options)

    def __call__(self, method, *args):
        return self.browser.command(**{"page": self.number, "call": method,
                                       "with": args})

    def seen(self):
        """{"requests": URLs, "console": lines, "errors": texts} since the last
        call."""
        return self.browser.command(page=self.number, seen=True)

    def axe(self, options=None):
        """The faults of accessibility that axe-core finds, as texts; options
        are those of its axe.run()."""
        if self("evaluate", "typeof axe") == "undefined":
            self("evaluate", self.browser.axe)
        return self("evaluate", RUN_AXE % json.dumps(
            {"resultTypes": ["violations", "incomplete"], **(options or {})}))


class Browser:
    """Headless Chromium; each page has a profile of its own. arguments: more
    options of Chromium."""

    def __init__(self, *arguments):
        self.workdir = harness.make_workdir()
        self.axe = (npm_package.fetch(*AXE) / "axe.min.js").read_text()
        self.log = open(self.workdir / "browser.log", "w+b")
        self.process = subprocess.Popen(
            harness.end_with_parent([
             harness.find_program("node", "nodejs"),
             Path(__file__).with_name("browser.js"),
             npm_package.fetch(*PLAYWRIGHT),
             find_chromium(),
             *arguments]),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log,
            env=harness.child_env(self.workdir), cwd=self.workdir)

    def command(self, **command):
        self.process.stdin.write(json.dumps(command).encode() + b"\n")
        self.process.stdin.flush()
        line = b""
        if select.select([self.process.stdout], [], [], DEADLINE)[0]:
            line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            raise AssertionError("no answer from the browser to %r:\n%s" % (
                command, self.log.read().decode(errors="replace")[-3000:]))
        answer = json.loads(line)
        assert "error" not in answer, "%r: %s" % (command, answer["error"])
        return answer.get("value")

    def open(self, **options):
        """A page; options are those of Playwright's browser.newContext()."""
        return Page(self, options)

    def close(self):
        try:
            self.process.stdin.close()
            self.process.wait(30)
        finally:
            self.process.kill()
            self.process.wait()
            self.log.close()
            shutil.rmtree(self.workdir, ignore_errors=True)
