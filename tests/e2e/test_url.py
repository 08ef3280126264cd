"""What curt makes of long URLs beside what a browser makes of them: thousands
of generated URLs, each parsed by curt (tests/unit/url_lines.c) and by Node's
URL. The generator has a fixed seed, so a run is like the one before."""

import json
import random
import re
import string
import subprocess
import unicodedata
from urllib.parse import unquote_to_bytes

import pytest

import harness

APP_HOST = "sho.rt"
APP_URL = "https://%s/t/" % APP_HOST

# What curt drops around a URL (DESIGN, "Long URLs").
BLANKS = (" \t\n\v\f\r\xa0\u3000\u2060\ufeff"
          "\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e")

PCHAR = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"
STORED = re.compile(
    r"https?://(?P<host>[a-z0-9._-]+|\[[0-9a-f:]+\])(?::[0-9]{1,5})?"
    r"(?:/%s*)+(?:\?(?:%s|[/?])*)?(?P<fragment>#.*)?" % (PCHAR, PCHAR))
FRAGMENT = re.compile(r'#[^\x00-\x20"<>`\x7f-\U0010ffff]*')

NODE = """
const lines = JSON.parse(require("fs").readFileSync(0, "utf8"));
console.log(JSON.stringify(lines.map((line) => {
    let u;
    try { u = new URL(line); } catch (e) { return null; }
    return {protocol: u.protocol, host: u.host, hostname: u.hostname,
            port: u.port, path: u.pathname, query: u.search, hash: u.hash,
            user: u.username + u.password};
})));
"""

SCRIPTS = {
    "latin": "äöüßéèñçøåœæıšžłőãıİÄÖÜÉÑ",
    "greek": "αβγδεζηθικλμνξοπρσςτυφχψωάέΑΒΓΣ",
    "cyrillic": "абвгдежзийклмнопрстуфхцчшщъыьэюяЖЯЁ",
    "hebrew": "אבגדהוזחטיכלמנסעפצקרשת",
    "arabic": "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "devanagari": "अआइकखगघचछजटडतथदधनपबभमयरलवशसह",
    "han": "中文网络公司日本語東京大学例域名",
    "kana": "あいうえおかきくけこアイウエオカキクケコ",
    "hangul": "가나다라마바사아자차카타파하한국",
}
ODD = ("\u00ad\u200b\u200c\u200d\u2060\ufe0f\u034f\u180b"  # mostly ignored
       "。．｡／＠：？＃％［］＼"
       "ａｂｃＡＢＣ０１２９－＿"  # fullwidth
       "℀№℡™①⑳⒈ﬀĳǆ㎏Ⅷªº²½…"  # compatibility
       "ẞßςΣ"
       "💩😀☃♥★→∞≠"
       "\u0301\u0308\u0327\u093c\u094d\u064b\u05b0"  # marks
       "\u202e\u2066\u2028\ufdd0\ue000\U000e0041\U0001f1e6")


class Generator:
    def __init__(self, seed):
        self.rng = random.Random(seed)

    def some(self, characters, low, high):
        return "".join(self.rng.choice(characters)
                       for _ in range(self.rng.randint(low, high)))

    def plain_label(self):
        return self.some(string.ascii_letters + string.digits + "--_", 1, 12)

    def script_label(self):
        """Letters of one script, and perhaps some of ASCII before or after."""
        script = self.rng.choice(sorted(SCRIPTS))
        label = self.some(SCRIPTS[script], 1, 8)
        if script not in ("hebrew", "arabic") and self.rng.random() < 0.3:
            ascii_part = self.some(string.ascii_letters, 1, 5)
            label = self.rng.choice((label + ascii_part, ascii_part + label))
        return label

    def odd_label(self):
        pool = (ODD + "".join(SCRIPTS.values()) + string.ascii_lowercase
                + "0123456789-")
        label = self.some(pool, 1, 6)
        if self.rng.random() < 0.4:
            label += chr(self.rng.choice((
                self.rng.randint(0xa0, 0x2fff), self.rng.randint(0xa0, 0xd7ff),
                self.rng.randint(0xe000, 0xffff),
                self.rng.randint(0x10000, 0x1ffff),
                self.rng.randint(0x20000, 0x10ffff))))
        return label

    def punycode_label(self):
        kind = self.rng.randrange(4)
        if kind == 0:
            return "xn--" + self.some(string.ascii_lowercase + "0123456789-",
                                      0, 9)
        text = (self.script_label, self.odd_label,
                lambda: self.some("💩😀☃♥★\u200d\u200cא1a", 1, 4))[kind - 1]()
        label = "xn--" + text.encode("punycode").decode("ascii")
        return label.upper() if self.rng.random() < 0.1 else label

    def name(self, label):
        labels = [label() for _ in range(self.rng.randint(1, 2))]
        labels += self.rng.choice((["example"], ["com"], [], ["x", "de"]))
        dot = self.rng.choice("......。．｡")
        return dot.join(labels) + self.rng.choice(("", "", "", "", ".", ".."))

    def punctuated(self):
        at = self.rng.choice("!\"$%&'()*+,;<=>[]^`{|}~ \\#?/:@\x7f_-")
        return self.plain_label() + at + self.plain_label() + ".example"

    def ipv4(self):
        numbers = []
        for _ in range(self.rng.choice((1, 2, 3, 4, 4, 4, 4, 5))):
            n = self.rng.choice((0, 1, 7, 8, 9, 127, 255, 256, 0xffff, 0x10000,
                                 0xffffff, 0x1000000, 0x7f000001, 0xffffffff,
                                 0x100000000, 1 << 70,
                                 self.rng.randrange(256)))
            numbers.append(self.rng.choice(
                ("%d", "%d", "%d", "0%o", "0x%x", "0X%X", "00%o", "0%d")) % n)
        if self.rng.random() < 0.2:
            numbers[self.rng.randrange(len(numbers))] = self.rng.choice(
                ("0x", "", "08", "a", "0xg", "-1", "+1", "1e3", "１", "0x0x"))
        return ".".join(numbers) + self.rng.choice(("", "", "", ".", ".."))

    def ipv6(self):
        pieces = [self.rng.choice(("0", "0", "0", "1", "db8", "2001", "FFFF",
                                   "00a0", "0000")) for _ in range(8)]
        if self.rng.random() < 0.3:
            pieces[6:] = ["127.0.0.%d" % self.rng.randrange(300)]
        if self.rng.random() < 0.6:
            begin = self.rng.randrange(len(pieces))
            end = self.rng.randint(begin, len(pieces))
            text = ":".join(pieces[:begin]) + "::" + ":".join(pieces[end:])
        else:
            text = ":".join(pieces)
        if self.rng.random() < 0.2:
            text = self.rng.choice((
                text + "%25eth0", text + "%eth0", text + ":", text[1:],
                "", ":", "g::", "1", "::ffff:1.2.3", "v1.a", "::1]",
                "12345::", " ::1", "::01.2.3.4", "%3a%3a1"))
        return "[" + text + "]"

    def encoded(self, text):
        return "".join(
            "".join(self.rng.choice(("%%%02x", "%%%02X")) % b
                    for b in c.encode()) if self.rng.random() < 0.4 else c
            for c in text)

    def host(self):
        host = self.rng.choice((
            lambda: self.name(self.plain_label),
            lambda: self.name(self.script_label),
            lambda: self.name(self.odd_label),
            lambda: self.name(self.punycode_label),
            self.punctuated, self.ipv4, self.ipv4, self.ipv6,
            lambda: APP_HOST, lambda: APP_HOST,
            lambda: self.rng.choice(("SHO.RT", "ｓｈｏ.rt", "sho。rt", "sho.rt.",
                                     "sho.rt..", "s\u00adho.rt", "%53ho.rt")),
            lambda: "", lambda: "a" * self.rng.choice((63, 64, 253, 256)),
            lambda: ".".join(["a" * 60] * self.rng.randint(3, 6)),
        ))()
        return self.encoded(host) if self.rng.random() < 0.15 else host

    def piece(self):
        if self.rng.random() < 0.01:
            return self.rng.choice("\x7f\t\u0085\0\x1f")
        return self.rng.choice((
            "t", "t", "x", "abc", ".", "..", "...", "%2e", ".%2E", "%2e%2e",
            "%74", "%2f", "%5c", "%5C..", "", "a b", "ü", "💩", "\u200b", "%",
            "%4", "%zz", "%%41", "%C3%BC", "%ff", "\\", "|", "[", "]", "{}",
            "\"", "'", "<b>", "^", "`", "~", "@", ":", "a:b@c", "+", "&", "=",
            ";", ",", "$", "!", "*", "(", ")", "http:",
            "\ufffd", "\U0010ffff", self.some(string.printable[:95], 1, 6)))

    def path(self):
        path = "".join(
            self.rng.choice("/////\\") + self.piece()
            for _ in range(self.rng.choice((0, 1, 1, 2, 2, 3, 4, 6))))
        return path + self.rng.choice(
            ("",) * 5 + ("/t/x", "\\..\\t/", "/../t/x", "/%2e%2E/%74/"))

    def tail(self, mark):
        if self.rng.random() < 0.5:
            return ""
        return mark + "".join(self.rng.choice(("", "/", "?", "\\", "&", "="))
                              + self.piece()
                              for _ in range(self.rng.randint(0, 4)))

    def url(self):
        scheme = self.rng.choice(("http:",) * 40 + ("https:",) * 40 + (
            "HTTP:", "hTTps:", "ftp:", "http", "", "javascript:"))
        slashes = self.rng.choice(("//",) * 80 + (
            "\\\\", "\\\\", "/\\", "\\/", "", "/", "///", "\\\\\\", "/\\/"))
        user = self.rng.choice(("",) * 120 + ("@", "u@", "u:p@", ":@", "a%40b@"))
        port = self.rng.choice(("",) * 60 + (
            ":", ":80", ":443", ":0080", ":8080", ":65535", ":65536", ":0",
            ":-1", ":8a", ":80:80", ": 80", ":99999999999999999999", ":８０"))
        url = (scheme + slashes + user + self.host() + port + self.path()
               + self.tail("?") + self.tail("#"))
        if self.rng.random() < 0.1:
            url = (self.some(BLANKS, 1, 3) + url + self.some(BLANKS, 1, 3))
        return url.replace("\n", "\t")  # a line for url_lines


def parse_by_curt(build, urls):
    """A list of ("ok" or "loop" or "no", stored URL or reason)."""
    done = subprocess.run(
        [build.dir / "tests" / "unit" / "url_lines", APP_URL],
        input="".join(url + "\n" for url in urls).encode(), timeout=120,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert (done.returncode, done.stderr) == (0, b"")
    lines = done.stdout.decode("ascii").split("\n")[:-1]
    assert len(lines) == len(urls)
    return [tuple(line.split(" ", 1)) for line in lines]


def parse_by_node(urls):
    done = subprocess.run(
        [harness.find_program("node"), "-e", NODE], timeout=120, check=True,
        input=json.dumps(urls).encode(), stdout=subprocess.PIPE)
    return json.loads(done.stdout)


def is_loop(seen):
    """What DESIGN calls a loop, for a URL as the browser has it."""
    host = seen["hostname"]
    host = host[:-1] if host.endswith(".") else host
    return (host == APP_HOST and seen["port"] == ""
            and unquote_to_bytes(seen["path"]).startswith(b"/t/"))


def may_refuse(url, seen):
    """Why curt may refuse what the browser accepts: the beginning of its
    reason, or several."""
    reasons = []
    rest = re.sub(r"^[A-Za-z]+:", "", url)
    slashes = len(rest) - len(rest.lstrip("/\\"))
    host = unquote_to_bytes(seen["hostname"]).decode()
    given = unquote_to_bytes(
        re.split(r"[/\\?#]", rest.lstrip("/\\"))[0]).decode(errors="replace")
    labels = host.rstrip(".").split(".")
    if any(unicodedata.category(c) == "Cc" for c in url):
        reasons.append("has a control character")
    if seen["protocol"] not in ("http:", "https:") or slashes < 2:
        reasons.append("is not an absolute http or https URL")
    if slashes > 2:
        reasons.append("has no host")
    if seen["port"] == "0":
        reasons.append("has a port that is not a number from 1 to 65535")
    if "@" in given:
        reasons += ["has user information", "has no host"]
    if (not re.fullmatch(r"[a-z0-9._-]+", host) or "" in labels
            or host.endswith("..")
            or max(map(len, labels)) > 63 or len(host.rstrip(".")) > 253):
        reasons.append("has a host that is not a valid domain name")
    # libidn2 keeps to IDNA 2008, which allows less than browsers do.
    if not given.isascii():
        reasons.append("has an international host name that IDNA 2008")
    if not given.isascii() or "xn--" in host:
        reasons.append("has a host that is not a valid domain name")
    return reasons


def compare(url, seen, verdict, text):
    """Whether curt accepted the URL; asserts that it was right in that."""
    if verdict == "no":
        if seen is not None:
            reasons = may_refuse(url, seen)
            assert any(map(text.startswith, reasons)), (url, seen, text)
        return False
    assert seen is not None, (url, text)
    stored = STORED.fullmatch(text)
    assert stored, (url, text)
    assert FRAGMENT.fullmatch(stored["fragment"] or "#"), (url, text)
    assert stored["host"] == seen["hostname"], (url, seen, text)
    assert (verdict == "loop") == is_loop(seen), (url, seen, text)
    return True


@pytest.mark.parametrize("seed", [20181129, 3986])
def test_generated_urls_lead_where_a_browser_goes(build, seed):
    generator = Generator(seed)
    urls = [generator.url() for _ in range(12000)]
    seen = parse_by_node([url.strip(BLANKS) for url in urls])
    made = parse_by_curt(build, urls)
    taken = [n for n in range(len(urls))
             if compare(urls[n].strip(BLANKS), seen[n], *made[n])]
    loops = [n for n in taken if made[n][0] == "loop"]
    assert len(taken) > 3500 and len(loops) > 100, (len(taken), len(loops))

    stored = [made[n][1] for n in taken]
    assert parse_by_curt(build, stored) == [made[n] for n in taken]
    for n, again in zip(taken, parse_by_node(stored)):
        before = seen[n]
        case = (urls[n], stored)
        assert again["protocol"] == before["protocol"], case
        assert again["host"] == before["host"], case
        assert again["user"] == "", case
        for part in ("path", "query"):
            assert (unquote_to_bytes(again[part])
                    == unquote_to_bytes(before[part])), (part, urls[n])
        assert again["hash"] == before["hash"], (urls[n], again["hash"])


def test_ordinary_international_names_are_accepted(build):
    """The comparison above cannot pass because too much is refused."""
    generator = Generator(2008)
    urls = ["https://%s.example/" % generator.script_label()
            for _ in range(3000)]
    seen = parse_by_node(urls)
    refused = [(url, text) for url, before, (verdict, text)
               in zip(urls, seen, parse_by_curt(build, urls))
               if before is not None and verdict == "no"]
    assert refused == []
