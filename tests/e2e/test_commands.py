"""The commands of README.md that are not pytest's own: deploy/quickstart.sh,
and the checks of the sources, which must see what they are there to see."""

import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from harness import ROOT


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_):
        return None


OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}),
                                     NoRedirect)


def status_and_location(url):
    try:
        with OPENER.open(url, timeout=10) as answer:
            return answer.status, None
    except urllib.error.HTTPError as answer:
        return answer.code, answer.headers.get("Location")


@pytest.fixture(params=["curt", "a b/" + 12 * "deep-path/" + "curt"],
                ids=["plain", "space-and-deep"])
def checkout(request):
    """A copy of the sources, at a path that other accounts can reach."""
    top = Path(tempfile.mkdtemp(prefix="curt-quickstart-"))
    top.chmod(0o755)
    copy = top / request.param
    shutil.copytree(ROOT, copy, ignore=shutil.ignore_patterns(
        ".git", "build-tests*", "build-quickstart", "__pycache__", "e2e"))
    yield copy
    quickstart(copy, "--stop")
    shutil.rmtree(top)


def quickstart(checkout, *arguments):
    return subprocess.run(
        ["sh", checkout / "deploy" / "quickstart.sh", *arguments], cwd="/",
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=300)


def test_quickstart_starts_again_and_stops(checkout):
    first = quickstart(checkout)
    assert first.returncode == 0, first.stdout
    [link] = re.findall(r"^  (http://127\.0\.0\.1:\d+/t/\w+) -> ",
                        first.stdout, re.M)
    assert status_and_location(link) == (301, "https://www.debian.org/")
    # What to open in a browser, before what to type.
    [page] = re.findall(r"in a browser:\n\n  (\S+)\n\n(?=.*^  curl )",
                        first.stdout, re.M | re.S)
    assert link.startswith(page + "t/")
    with OPENER.open(page, timeout=10) as answer:
        assert b"<form" in answer.read()

    again = quickstart(checkout)
    assert again.returncode == 0, again.stdout
    assert status_and_location(link) == (301, "https://www.debian.org/")

    stopped = quickstart(checkout, "--stop")
    assert stopped.returncode == 0 and "is stopped" in stopped.stdout
    with pytest.raises(urllib.error.URLError):
        OPENER.open(link, timeout=10)
    nothing = quickstart(checkout, "--stop")
    assert nothing.returncode == 0 and "Nothing to stop" in nothing.stdout


def test_quickstart_says_what_failed(checkout):
    with open(checkout / "src" / "main.c", "a") as source:
        source.write("int broken = ;\n")
    failed = quickstart(checkout)
    assert failed.returncode == 1
    assert "quickstart: failed at: Build" in failed.stdout
    assert "src/main.c" in failed.stdout


BAD = {
    "wall": ("src/master.c", "#include <sqlite3.h>\n",
             "src/master.c:1: <sqlite3.h>"),
    "call": ("src/x.c", "char *f(char *a)\n{\n    return strcpy(a, a);\n}\n",
             "src/x.c:3: strcpy"),
    "typedef": ("tests/x.c", "typedef struct x x;\n", "tests/x.c:1: typedef"),
    "tab": ("src/x.h", "int\tx;\n", "src/x.h:1: tab"),
    "columns": ("src/x.h", "/* %s */\n" % (75 * "x"), "src/x.h:1: 81 columns"),
    "file": ("src/x.h", 801 * "\n", "src/x.h:801: file of 801 lines"),
    "function": ("src/x.c", "int f(void)\n{\n%s}\n" % (66 * "    ;\n"),
                 "src/x.c:2: function of 66 lines"),
}


def check(name, root):
    return subprocess.run(["sh", ROOT / "tests" / name, root], text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


@pytest.mark.parametrize("path, text, complaint", BAD.values(), ids=BAD)
def test_check_style_complains(tmp_path, path, text, complaint):
    (tmp_path / "src").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / path).write_text(text)
    found = check("check-style.sh", tmp_path)
    assert found.returncode == 1
    assert found.stdout.startswith(complaint)
    assert found.stdout.endswith("check-style: 1 violations\n")


def test_check_style_allows_what_only_looks_bad(tmp_path):
    (tmp_path / "src").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "src" / "x.c").write_text(
        "/* no strcpy(),\n   no atoi() */\n// sprintf\n"
        "/* %s */\n" % (74 * "ü") +
        "int x = gmtime_r(\"strtok\\\" atoi\", '\"', my_strcat);\n")
    (tmp_path / "src" / "store_sqlite.c").write_text("#include <sqlite3.h>\n")
    found = check("check-style.sh", tmp_path)
    assert (found.returncode, found.stdout) == (
        0, "check-style: 2 files keep the rules\n")


def test_check_format_complains(tmp_path):
    shutil.copy(ROOT / ".clang-format", tmp_path)
    (tmp_path / "src").mkdir()
    (tmp_path / "tests").mkdir()
    (tmp_path / "src" / "x.c").write_text("int  x;\n")
    found = check("check-format.sh", tmp_path)
    assert found.returncode == 1 and "src/x.c:1" in found.stdout
    (tmp_path / "src" / "x.c").write_text("int x;\n")
    assert check("check-format.sh", tmp_path).returncode == 0
