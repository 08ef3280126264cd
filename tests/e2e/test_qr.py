"""QR codes: zbar reads every image and drawing again."""

import os
import pty
import re
import sqlite3
import struct
import subprocess
import time
import xml.etree.ElementTree as ElementTree
import zlib

import pytest

import harness
from proctools import changed

LONG_URL = "https://example.com/qr"


def read_codes(files):
    """The texts that zbar finds in the image files, in their order."""
    done = subprocess.run(
        [harness.find_program("zbarimg"), "-q", "--raw", "--nodbus",
         "-Sdisable", "-Sqrcode.enable", *map(str, files)],
        capture_output=True, timeout=120, stdin=subprocess.DEVNULL)
    return done.stdout.decode().splitlines()


def write_pgm(path, rows, scale=1, border=0, around=255):
    """Writes rows of gray values, each pixel scale times wide and high."""
    width = len(rows[0]) * scale + 2 * border
    edge = bytes([around]) * border
    full = [bytes([around]) * width] * border
    for row in rows:
        full += [edge + b"".join(bytes([v]) * scale for v in row) + edge] * scale
    full += [bytes([around]) * width] * border
    path.write_bytes(b"P5 %d %d 255\n" % (width, len(full)) + b"".join(full))


def read_png(data):
    """The rows of gray values of a PNG of one bit, without any library."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    chunks, at = {}, 8
    while at < len(data):
        size, name = struct.unpack(">I4s", data[at:at + 8])
        chunks[name] = chunks.get(name, b"") + data[at + 8:at + 8 + size]
        at += size + 12
    width, height, depth, kind = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert (depth, kind) == (1, 3)
    gray = [chunks[b"PLTE"][3 * i] for i in range(2)]
    stride = (width + 7) // 8 + 1
    raw = zlib.decompress(chunks[b"IDAT"])
    assert len(raw) == height * stride
    rows = []
    for y in range(height):
        line = raw[y * stride:(y + 1) * stride]
        assert line[0] == 0  # no filter
        bits = "".join(format(byte, "08b") for byte in line[1:])[:width]
        rows.append([gray[int(bit)] for bit in bits])
    return rows


@pytest.fixture(scope="module")
def pool(build):
    with harness.Pool(build, {"APP_URL": "https://sho.rt/t/"}, workers=1) as p:
        yield p.start()


@pytest.fixture(scope="module")
def link(pool):
    return pool.tool("create", LONG_URL).stdout.strip()


@pytest.fixture
def longest(pool):
    """The pool with the longest APP_URL and the longest ids."""
    base = "https://sho.rt/"
    with changed(pool, APP_URL=base + "p" * (1000 - len(base) - 1) + "/",
                 MIN_CHAR=64, MAX_CHAR=64):
        yield pool


def get(pool, short_url, query="", method="GET", status=200, **headers):
    path = "/" + short_url.split("/", 3)[3]
    answer = pool.request(method, path + ".qr" + query, headers)
    assert answer.status == status, answer.raw[:500]
    return answer


def hits(pool, short_url):
    return re.search(r"^Hits +(\d+)$",
                     pool.tool("get", short_url).stdout, re.M)[1]


# ---- Images -------------------------------------------------------------


def check_pixels(rows, margin):
    """The code is in the middle, its modules are squares of whole pixels, as
    large as the margin lets them be."""
    size = len(rows)
    top, *_, bottom = [y for y in range(size) if 0 in rows[y]]
    left, *_, right = [x for x in range(size) if 0 in [r[x] for r in rows]]
    assert top == left and right == bottom
    assert top in (size - 1 - bottom, size - 2 - bottom)
    # The first run is the side of a finder pattern: 7 modules.
    pixels = rows[top].index(255, left) - left
    assert pixels % 7 == 0 and (bottom + 1 - top) % (pixels // 7) == 0
    scale = pixels // 7
    modules = (bottom + 1 - top) // scale
    assert modules % 4 == 1 and scale == size // (modules + 2 * margin)


def check_pngs(pool, short_url, queries, tmp_path):
    files = []
    for number, query in enumerate(queries):
        answer = get(pool, short_url, "?format=png&" + query)
        assert answer.headers["content-type"] == "image/png"
        size = int(re.search(r"size=(\d+)", query)[1])
        assert struct.unpack(">II", answer.body[16:24]) == (size, size)
        if size <= 300:
            margin = re.search(r"margin=(\d+)", query)
            check_pixels(read_png(answer.body), int(margin[1]) if margin else 4)
        files.append(tmp_path / ("%03d.png" % number))
        files[-1].write_bytes(answer.body)
    assert read_codes(files) == [short_url] * len(files)


def test_png_of_every_size(pool, link, tmp_path):
    refused = get(pool, link, "?format=png&size=64", status=400)
    least = int(re.search(r"size must be at least (\d+)", refused.text)[1])
    sizes = (list(range(least, least + 12)) + list(range(100, 300, 23))
             + [300, 777, 2000])
    check_pngs(pool, link, ["size=%d" % size for size in sizes], tmp_path)


def test_png_of_every_level_and_margin(pool, link, tmp_path):
    check_pngs(pool, link, [
        "size=%d&level=%s&margin=%d" % (size, level, margin)
        for level in "LMQH" for margin in (1, 2, 4, 16)
        for size in (150, 300)], tmp_path)


def test_longest_url(longest, tmp_path):
    short_url = longest.tool("create", LONG_URL).stdout.strip()
    assert len(short_url) == 1064
    refused = get(longest, short_url, "?size=345&level=H", status=400)
    assert "size must be at least 346 for this code" in refused.text
    check_pngs(longest, short_url, [
        "size=%d&level=%s&margin=4" % case for case in (
            (519, "L"), (519, "M"), (519, "Q"), (519, "H"), (2000, "H"))],
        tmp_path)
    (tmp_path / "small.png").write_bytes(
        get(longest, short_url, "?size=346&level=H&format=png").body)
    (tmp_path / "large.svg").write_bytes(
        get(longest, short_url, "?size=1000&level=H").body)
    assert read_codes([tmp_path / "small.png",
                       render(tmp_path / "large.svg")]) == [short_url] * 2
    done = longest.tool("qr", short_url, "--level", "L", "--ascii")
    assert read_codes([draw(done.stdout, tmp_path / "text.pgm")]) == [short_url]


def render(svg):
    """Makes a PNG of an SVG, at the size that it names."""
    png = svg.with_suffix(".svg.png")
    subprocess.run([harness.find_program("rsvg-convert"), svg, "-o", png],
                   check=True, timeout=60)
    return png


def test_svg(pool, link, tmp_path):
    queries = ["", "?format=svg&size=80", "?size=100", "?size=333&margin=1",
               "?size=2000"] + ["?level=" + level for level in "LMQH"]
    files = []
    for number, query in enumerate(queries):
        answer = get(pool, link, query)
        assert answer.headers["content-type"] == "image/svg+xml"
        assert len(answer.body) < 4096
        names = {node.tag.partition("}")[2]
                 for node in ElementTree.fromstring(answer.body).iter()}
        assert names == {"svg", "rect", "path"}
        assert answer.text.count("//") == 1  # its name space
        svg = tmp_path / ("%03d.svg" % number)
        svg.write_bytes(answer.body)
        files.append(render(svg))
    large = files.pop(1)  # 80 pixels: two for a module, smoothed by nothing
    assert read_codes(files) == [link] * len(files)
    assert large.stat().st_size > 0


# ---- Requests -----------------------------------------------------------


def test_an_image_is_kept_by_caches(pool, link):
    first = get(pool, link)
    etag = first.headers["etag"]
    assert re.fullmatch(r'"[!#-~]+"', etag)
    assert first.headers["cache-control"] == "public, max-age=3600"
    assert "cross-origin-resource-policy" not in first.headers
    again = get(pool, link, status=304, **{"If-None-Match": etag})
    assert again.body == b"" and again.headers["etag"] == etag
    other = get(pool, link, "?size=301", **{"If-None-Match": etag})
    assert other.headers["etag"] != etag
    head = get(pool, link, method="HEAD")
    assert head.body == b""
    assert {n: v for n, v in head.headers.items() if n != "x-amzn-trace-id"} \
        == {n: v for n, v in first.headers.items() if n != "x-amzn-trace-id"}
    get(pool, link, method="HEAD", status=304, **{"If-None-Match": etag})


def test_wrong_parameters_are_refused(pool, link):
    for query, text in [
            ("?format=gif", "format must be one of svg and png"),
            ("?level=X", "level must be one of L, M, Q and H"),
            ("?size=63", "size must be one number from 64 to 2000"),
            ("?size=2001&format=png", "size must be one number from 64 to 2000"),
            ("?size=100&size=100", "size must be one number from 64 to 2000"),
            ("?margin=17", "margin must be one number from 0 to 16")]:
        answer = get(pool, link, query, status=400)
        assert '"detail":"The parameter %s."' % text in answer.text
        assert answer.headers["cache-control"] == "no-store"
    get(pool, link, "?colour=red&size=&x", status=400)
    get(pool, link, "?colour=red&x")


def test_a_code_is_not_a_hit_and_needs_a_link(pool, link):
    before = hits(pool, link)
    get(pool, link)
    get(pool, link, "?format=png")
    assert hits(pool, link) == before
    get(pool, "https://sho.rt/t/nosuch1", status=404)

    expired = pool.tool("create", LONG_URL).stdout.strip()
    path = pool.settings["STATE_DIR"] + "/curt.db"
    with sqlite3.connect(path, timeout=20) as db:
        db.execute("UPDATE links SET ttl = ? WHERE short_id = ?",
                   (int(time.time()) - 5, expired.rpartition("/")[2]))
    get(pool, expired, status=410)
    for short_url, wanted in ((expired, "this link has expired"),
                              ("nosuch1", "no such link (")):
        done = pool.tool("qr", short_url, check=False)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith("curt: %s: %s" % (
            short_url.rpartition("/")[2], wanted))


# ---- The tool -----------------------------------------------------------

BLOCKS = {" ": (0, 0), "#": (1, 1), "▀": (1, 0), "▄": (0, 1), "█": (1, 1)}


def draw(text, path, around=255):
    """Makes an image of what a terminal shows, in a window of that gray."""
    colours = {"16": 0, "231": 255}
    rows, tall = [], "#" in text
    for line in text.splitlines():
        front, back = 255 - around, around
        upper, lower = [], []
        for escape, character in re.findall(r"\x1b\[([\d;]*)m|(.)", line):
            if escape == "0":
                front, back = 255 - around, around
            elif escape:
                assert re.fullmatch(r"38;5;(\d+);48;5;(\d+)", escape)
                _, _, front, _, _, back = escape.split(";")
                front, back = colours[front], colours[back]
            else:
                up, low = BLOCKS[character]
                upper.append(front if up else back)
                lower.append(front if low else back)
        # A character is twice as high as wide: one module, or two.
        rows += [upper, lower]
    assert len(rows) > 20, text
    assert tall or len(rows[0]) in (len(rows), len(rows) - 1), text
    write_pgm(path, rows, 4, 8, around)
    return path


def on_terminal(pool, *args, **env):
    """Runs the tool on a terminal; what that gets."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [pool.build.tool, "-c", pool.conf, *args], stdin=subprocess.DEVNULL,
        stdout=slave, stderr=subprocess.STDOUT, env={**pool.env(), **env})
    os.close(slave)
    shown = b""
    while True:
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        if not part:
            break
        shown += part
    os.close(master)
    assert process.wait(timeout=60) == 0, shown
    return shown.decode().replace("\r\n", "\n")


UTF8 = {"LC_ALL": "C.UTF-8"}


@pytest.mark.parametrize("args, env, ascii", [
    ([], UTF8, False),
    ([], {"LC_ALL": "", "LC_CTYPE": "", "LANG": "en_US.utf8"}, False),
    ([], {"LC_ALL": "C", "LANG": "C.UTF-8"}, True),
    ([], {"LC_ALL": "", "LC_CTYPE": "", "LANG": ""}, True),
    (["--ascii"], UTF8, True),
    (["--level", "H", "--margin", "2"], UTF8, False)])
def test_terminal_of_any_colour(pool, link, tmp_path, args, env, ascii):
    shown = on_terminal(pool, "qr", link, *args, **env)
    assert shown.isascii() == ascii
    assert "\x1b[" in shown
    assert read_codes([draw(shown, tmp_path / "dark.pgm", 0),
                       draw(shown, tmp_path / "light.pgm", 255)]) == [link] * 2


def test_text_without_colour(pool, link, tmp_path):
    shown = on_terminal(pool, "qr", link, NO_COLOR="1", **UTF8)
    printed = pool.tool("qr", link, "--ascii").stdout
    for text, name in ((shown, "a.pgm"), (printed, "b.pgm")):
        assert "\x1b" not in text
        assert read_codes([draw(text, tmp_path / name)]) == [link]


def test_create_draws_its_code(pool, tmp_path):
    first, _, rest = pool.tool("create", LONG_URL, "--qr").stdout.partition("\n")
    assert read_codes([draw(rest, tmp_path / "a.pgm")]) == [first]
    done = pool.tool("create", LONG_URL, "--qr", "--json", "--output",
                     tmp_path / "b.png")
    assert read_codes([tmp_path / "b.png"])[0] in done.stdout


def test_files(pool, link, tmp_path):
    short_id = link.rpartition("/")[2]
    pool.tool("qr", short_id, "--output", tmp_path / "a.png", "--size", "400")
    pool.tool("qr", link, "--output", tmp_path / "a.svg")
    pool.tool("qr", link, "--output", tmp_path / "a", "--format", "png")
    assert read_codes([tmp_path / "a.png", render(tmp_path / "a.svg"),
                       tmp_path / "a"]) == [link] * 3
    assert len(read_png((tmp_path / "a.png").read_bytes())) == 400
    svg = (tmp_path / "a.svg").read_text()
    assert pool.tool("qr", link, "--output", "-").stdout == svg
    assert pool.tool("qr", link, "--format", "svg").stdout == svg
    assert get(pool, link).text == svg
    # What is there is replaced, whole.
    pool.tool("qr", link, "--output", tmp_path / "a.svg", "--size", "301")
    assert 'width="301"' in (tmp_path / "a.svg").read_text()
    assert {p.name for p in tmp_path.iterdir()} == {
        "a", "a.png", "a.svg", "a.svg.png"}


def test_a_file_is_whole_or_not_there(pool, link, tmp_path):
    old = tmp_path / "old.svg"
    old.write_text("old")
    full = subprocess.run(
        ["sh", "-c", 'ulimit -f 1; trap "" XFSZ; exec "$@"', "sh",
         pool.build.tool, "-c", pool.conf, "qr", link, "--level", "H",
         "--output", old], env=pool.env(), capture_output=True, text=True,
        timeout=60)
    assert (full.returncode, full.stderr) == (
        os.EX_IOERR, "curt: %s: File too large\n" % old)
    special = tmp_path / "special.svg"
    os.mkfifo(special)
    for target, reason in ((special, "File exists"),
                           (tmp_path / "no" / "x.svg",
                            "No such file or directory")):
        done = pool.tool("qr", link, "--output", target, check=False)
        assert (done.returncode, done.stderr) == (
            os.EX_IOERR, "curt: %s: %s\n" % (target, reason))
    assert old.read_text() == "old" and special.is_fifo()
    assert {p.name for p in tmp_path.iterdir()} == {"old.svg", "special.svg"}


def test_options_that_do_not_fit_are_refused(pool, link, tmp_path):
    for args, text in [
            (["--size", "63", "qr", link],
             "--size must be one number from 64 to 2000"),
            (["qr", link, "--output", "x.jpg"],
             "--output x.jpg: the format must be one of svg and png, or add "
             "--format"),
            (["get", link, "--level", "H"],
             "QR code options are for qr and create --qr"),
            (["create", LONG_URL, "--ascii"],
             "QR code options are for qr and create --qr")]:
        done = pool.tool(*args, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (
            os.EX_USAGE, "", "curt: %s\n" % text)
    done = pool.tool("qr", "no id", check=False)
    assert done.returncode == os.EX_DATAERR
