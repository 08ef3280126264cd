"""The messages of pages: each text that a page can have is in the table of
src/http/pages/messages.txt, in every language, and nothing else is."""

import html
import re
import urllib.parse
from pathlib import Path

import pytest

import harness

ROOT = Path(__file__).resolve().parents[2]
PAGES = ROOT / "src" / "http" / "pages"
TEMPLATES = sorted(PAGES.glob("*.html"))
LANGUAGES = ["en", "de", "fr", "es"]

# The sources whose sentences a client sees, and those that have the reasons
# which complete "The long_url ...".
DETAILS = ["http/admit.c", "http/body.c", "http/h_create.c", "http/h_home.c",
           "http/h_preview.c", "http/h_redirect.c", "http/handlers.c",
           "http/handlers.h", "http/http.c", "http/router.c",
           "process/worker.c"]
REASONS = ["service/create.c", "service/targets.c", "link/host.c",
           "link/url.c"]
# Of APP_URL, or of another member than long_url, which no page has a field for.
NOT_A_REASON = {"is longer than 1,000 bytes",
                "is a reserved word; choose another",
                "is taken; choose another"}

# What h_preview.c, body.c and create.c put together.
COMPOSED = {"in # days", "in # hours", "in # minutes", "in a moment", "once",
            "# times", "The long_url must be a string.",
            "The long_url occurs more than once."}


def read_table():
    """A dictionary of languages per block; comments divide no blocks."""
    blocks = re.split(r"\n\n+", re.sub(r"^#.*\n", "", (
        PAGES / "messages.txt").read_text(encoding="utf-8"), flags=re.M))
    return [[line.split(" ", 1) for line in block.strip("\n").split("\n")]
            for block in blocks if block.strip("\n")]


def english():
    return [dict(block)["en"] for block in read_table()[1:]]


def message_of(key, language):
    return next(dict(block)[language] for block in read_table()
                if dict(block)["en"] == key)


def literals(name):
    """The string literals of a C file, adjacent ones joined."""
    text = (ROOT / "src" / name).read_text(encoding="utf-8")
    text = re.sub(r"/\*.*?\*/", "", text, flags=re.S)
    literal = r'"((?:[^"\\\n]|\\.)*)"'
    for found in re.finditer(r"%s(?:\s*%s)*" % (literal, literal), text):
        joined = "".join(re.findall(literal, found[0]))
        yield re.sub(r'\\([\\"])', r"\1", joined)


def parameter_details():
    """What is wrong with a parameter of a QR code: qr.c has the expectations
    in the order of the names."""
    texts = list(literals("link/qr.c"))
    expected = [text for text in texts if text.startswith("one ")]
    faults = ["%s must be %s" % pair for pair in zip(
        ("format", "level", "margin", "size"), expected, strict=True)]
    faults += [text for text in texts if re.match("[a-z]+ must be [^%]", text)]
    return {"The parameter %s." % re.sub("%u|[0-9]+", "#", text)
            for text in faults}


def details():
    """What the API can say, as the table has it."""
    found = parameter_details()
    for name in DETAILS:
        found.update(re.sub("%l*[ud]", "#", text) for text in literals(name)
                     if re.fullmatch(r"[A-Z].* .*\.", text) and "%s" not in text)
    for name in REASONS:
        found.update("The long_url %s." % text for text in literals(name)
                     if re.match("(is|has|leads) ", text)
                     and text not in NOT_A_REASON)
    found.update("The API key %s." % text
                 for text in literals("service/access.c")
                 if re.match("(is|has|lacks) ", text))
    return found


def texts_of_templates():
    return {text for template in TEMPLATES for text in re.findall(
        r"\{\{@(.*?)\}\}", template.read_text(encoding="utf-8"))}


def test_every_message_is_in_every_language():
    table = read_table()
    for block in table:
        assert [language for language, _ in block] == LANGUAGES, block[0]
        for _, text in block:
            assert text == text.strip() and text, block[0]
            assert text.count("#") == block[0][1].count("#"), text
            assert "'" not in text or text == block[0][1], text
    keys = english()
    assert len(set(keys)) == len(keys)


def test_french_has_its_spaces():
    for block in read_table()[1:]:
        text = re.sub("https?:|(?<=http)s://", "", dict(block)["fr"])
        assert not re.search("[^\u202f][;?!]|[^\u00a0]:|«[^\u00a0]|[^\u00a0]»",
                             text), text


def test_every_text_is_a_message_and_every_message_is_used():
    used = texts_of_templates() | details() | COMPOSED
    assert len(details()) > 40
    assert set(english()) == used


def test_templates_have_no_text_of_their_own():
    for template in TEMPLATES:
        text = template.read_text(encoding="utf-8")
        text = re.sub(r"\{\{.*?\}\}\}?|<(style|script).*?</\1>", "", text)
        text = re.sub(r"<[^>]*>", "", text)
        assert not set(re.findall(r"[A-Za-z]{2,}", text)) - {"UTC"}, template


def test_the_script_finds_what_it_uses():
    """Its words are in data- attributes of the page."""
    script = (PAGES / "page.js").read_text(encoding="utf-8")
    page = "".join(t.read_text(encoding="utf-8") for t in TEMPLATES)
    for name in set(re.findall(r"dataset\.(\w+)", script)) - {"label"}:
        assert ' data-%s="{{@' % name in page, name
    for name in set(re.findall(r'element\("(\w+)"\)', script)):
        assert ' id="%s"' % name in page, name


def test_nothing_is_inline_or_from_elsewhere():
    for template in TEMPLATES:
        text = template.read_text(encoding="utf-8")
        assert not re.search(r"<style|\sstyle=|\son\w+=|//[a-z]+\.[a-z]", text)
        assert not re.findall(r"<script(?! src=\"\{\{prefix\}\})", text)
    files = [PAGES / "style.css", PAGES / "page.js"]
    assert sum(f.stat().st_size for f in files) < 20 * 1024
    assert not re.search("url\\(|@import", files[0].read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def pool(build):
    with harness.Pool(build, {"SITE_NAME": "sho.rt"}, workers=1) as started:
        yield started.start()


def get_page(pool, language, method, uri, **options):
    headers = [("Accept", "text/html"), ("Accept-Language", language)]
    if method == "POST":
        headers.append(("Content-Type", "application/x-www-form-urlencoded"))
    answer = pool.request(method, uri, headers, **options)
    assert answer.headers["content-language"] == language
    page = answer.body.decode()
    assert '<html lang="%s">' % language in page
    assert "{{" not in page
    return answer.status, html.unescape(page)


def test_pages_are_in_one_language(pool):
    """Home, result, preview and errors, with no word of another language."""
    table = [dict(block) for block in read_table()[1:]]
    for language in LANGUAGES:
        def get(*args, **options):
            return get_page(pool, language, *args, **options)
        pages = [get("GET", "/t/"),
                 get("POST", "/create", body=b"long_url=https%3A%2F%2Fm%C3%BCnchen.de"),
                 get("POST", "/create", body=b"long_url=http%3A%2F%2Fexample.org"),
                 get("POST", "/create", body=b"long_url=nonsense"),
                 get("POST", "/create", body=b"%s=1" % (b"x" * 65536)),
                 get("GET", "/t/nothere"), get("GET", "/create")]
        for page in pages[1:3]:
            short_id = re.search("/t/([A-Za-z0-9]+)\\+", page[1])[1]
            pages.append(get("GET", "/t/%s+" % short_id))
        assert [status for status, _ in pages] == [
            200, 200, 200, 400, 413, 404, 405, 200, 200]
        whole = "".join(page for _, page in pages)
        for message in table:
            for other in set(LANGUAGES) - {language}:
                if len(message[other]) > 20 and "#" not in message[other]:
                    assert message[other] not in whole, message[other]
        for key in ("This address does not allow that method.",
                    "This address is for programs and for the form of this "
                    "site. It cannot be opened directly.",
                    "The long_url is not an absolute http or https URL.",
                    "Your short link", "Where this link leads"):
            assert message_of(key, language) in whole
        for key, number in (("The body is larger than # bytes.", "65536"),
                            ("in # days", "7"), ("# times", "0")):
            assert message_of(key, language).replace("#", number) in whole


def test_an_error_page_has_what_to_do_for_its_status():
    """A section of error.html is for a status that curt has."""
    page = (PAGES / "error.html").read_text(encoding="utf-8")
    sections = set(re.findall(r"\{\{#is_(\d+)\}\}", page))
    known = set(re.findall(r"\{([45]\d\d), ", (
        ROOT / "src" / "http" / "http.c").read_text(encoding="utf-8")))
    assert sections == known


def test_the_preview_names_what_the_link_is(pool):
    def preview(long_url):
        form = b"long_url=" + urllib.parse.quote(long_url, safe="").encode()
        short_id = re.search("/t/([A-Za-z0-9]+)\\+", get_page(
            pool, "en", "POST", "/create", body=form)[1])[1]
        assert pool.request("GET", "/t/" + short_id).status == 301
        return get_page(pool, "en", "GET", "/t/%s+" % short_id)[1]

    caution = "The connection to this address is not encrypted (http)."
    page = preview("https://www.example.org:81/a?<b>")
    assert ('https://<strong>www.example.org</strong>:81/a?%3Cb%3E</bdi></a>'
            in page)
    assert "<dd>once</dd>" in page
    assert "International" not in page and caution not in page
    page = preview("http://m\u00fcnchen.de/")
    assert "http://<strong>xn--mnchen-3ya.de</strong>/</bdi></a>" in page
    assert '<bdi id="host_unicode">m\u00fcnchen.de</bdi>' in page
    assert caution in page
    # The largest page: each byte of the longest URL is escaped.
    longest = "https://www.example.org/" + "&" * 7976
    assert preview(longest).count(longest[23:]) == 3
