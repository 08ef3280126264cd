#!/usr/bin/python3
"""Makes the pictures of the pages in doc/: run "tests/screenshots.py" after
"sh tests/run.sh", or with CURT_BUILD set to a build directory.

Chromium shows a site of nginx and curt; pngquant makes the files small. Look at
the pictures before they are committed.
"""

import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "e2e"))

import harness
import webservers
from browser import Browser

DOC = Path(__file__).resolve().parents[1] / "doc"

LONG_URL = ("https://en.wikipedia.org/wiki/URL_shortening"
            "?action=history&limit=50#bodyContent")

SIZES = {"": (1280, 640, "light"), "-phone": (360, 640, "dark")}


def shoot(page, name):
    path = DOC / ("page-%s.png" % name)
    page("mouse.move", 0, 0)
    page("waitForLoadState", "networkidle")
    page("screenshot", {"path": str(path), "fullPage": True,
                        "animations": "disabled", "caret": "hide"})
    subprocess.run([harness.find_program("pngquant"), "--force", "--strip",
                    "--ext", ".png", path], check=True)
    print("%s: %d bytes" % (path.name, path.stat().st_size))


def show(browser, site, suffix, width, height, scheme):
    """Takes the pictures of one window as a visitor goes through the pages."""
    page = browser.open(viewport={"width": width, "height": height},
                        colorScheme=scheme, locale="en-GB", timezoneId="UTC")
    page("goto", site.url)
    shoot(page, "home" + suffix)
    page("fill", "#long_url", LONG_URL)
    page("press", "#long_url", "Enter")
    page("waitForSelector", "#short_url")
    shoot(page, "result" + suffix)
    page("click", "#preview")
    page("waitForSelector", "#target")
    shoot(page, "preview" + suffix)
    page("goto", site.url + "/nothing")
    shoot(page, "404" + suffix)
    page("context.close")


class ShortSite(webservers.Site):
    """http://sho.rt/ for the browser, which finds it at a loopback port."""

    def __init__(self, build, settings):
        super().__init__(build, "nginx", settings, at_root=True)
        self.url = self.app_url.rstrip("/")


def main():
    workdir = harness.make_workdir()
    build = harness.Build()
    build.check()
    site = ShortSite(build, {
        "STATE_DIR": harness.make_dir(workdir / "state"),
        "RUNTIME_DIR": harness.make_dir(workdir / "run"),
        "SITE_NAME": "sho.rt", "SITE_TEXT": "Short links by curt"})
    try:
        with site:
            browser = Browser("--host-resolver-rules=MAP sho.rt 127.0.0.1:%d"
                              % site.port)
            try:
                for suffix, window in SIZES.items():
                    show(browser, site, suffix, *window)
            finally:
                browser.close()
    finally:
        shutil.rmtree(workdir)


if __name__ == "__main__":
    main()
