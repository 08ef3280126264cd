"""What the tests of hostile input share: a pool that is looked at closely
before and after, and what every answer must have."""

import json
import re

import pytest

import harness

JSON_TYPE = "application/json"
FORM_TYPE = "application/x-www-form-urlencoded"
MAX_BODY = 65536
LINKS = 12

FIELDS = {"status", "x-amzn-trace-id", "cache-control", "vary", "allow",
          "content-type", "content-length", "location", "retry-after", "etag"}
PAGE_FIELDS = {"content-language", "content-security-policy",
               "x-content-type-options", "referrer-policy"}
PRINTABLE = re.compile(rb"[\x20-\x7e]*")
MADE_TRACE = re.compile(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24}")
QUOTED = r'"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\]|\\x[0-9a-f]{2})*"'
LOG_LINE = re.compile(
    r"time=\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ level=(error|warning|info|debug) "
    r"proc=(master|worker|janitor) pid=\d+ (trace_id=%s )?msg=%s"
    % (QUOTED, QUOTED))


def check_head(answer):
    """What holds for every answer, whatever the request was."""
    head = answer.raw.partition(b"\r\n\r\n")[0]
    for line in head.split(b"\r\n"):
        assert PRINTABLE.fullmatch(line), line
    assert set(answer.headers) <= FIELDS | PAGE_FIELDS, answer.header_list
    if (answer.headers["content-type"].startswith("text/html")
            and answer.status != 301):
        assert PAGE_FIELDS <= set(answer.headers), answer.header_list
    assert int(answer.headers["content-length"]) == len(answer.body)
    assert answer.stderr == b""
    assert (answer.app_status, answer.protocol_status) == (0, 0)


def check_problem(answer, status):
    assert answer.status == status, answer.raw[:600]
    check_head(answer)
    assert "location" not in answer.headers
    assert answer.headers["content-type"] == "application/problem+json"
    problem = json.loads(answer.body.decode("utf-8"))
    assert set(problem) - {"instance"} == {
        "title", "status", "detail", "trace_id"}
    assert "instance" not in problem or status == 404
    assert problem["status"] == status
    assert problem["trace_id"] == answer.headers["x-amzn-trace-id"]
    assert problem["title"] and problem["detail"]
    assert ("allow" in answer.headers) == (status == 405)
    return problem


def get_items(pool, ids):
    """{id: item} as `curt get` prints them."""
    lines = pool.tool("get", *ids, "--json").stdout.rstrip("\n").split("\n")
    return dict(zip(ids, map(json.loads, lines), strict=True))


def post(pool, body, content_type=JSON_TYPE, headers=(), **options):
    fields = dict(headers)
    if content_type is not None:
        fields["Content-Type"] = content_type
    return pool.request("POST", "/create", fields, body, **options)


def create(pool, long_url, **options):
    """Creates a link and returns its id."""
    answer = post(pool, json.dumps({"long_url": long_url}), **options)
    assert answer.status == 200, answer.raw
    check_head(answer)
    return answer.text.rpartition("/")[2]


def check_alive(pool):
    assert pool.request("GET", "/t/~").status == 404


@pytest.fixture(scope="module")
def pool(build, module_store_settings):
    settings = dict(module_store_settings("sqlite"), LOG_LEVEL="debug")
    with harness.Pool(build, settings, workers=2) as p:
        p.start()
        workers = p.workers()
        ids = [create(p, "https://example.com/%d?n=%d" % (n, n))
               for n in range(LINKS)]
        before = get_items(p, ids)
        yield p
        assert get_items(p, ids) == before
        for short_id in ids:
            answer = p.request("GET", "/t/" + short_id)
            assert answer.status == 301
            assert answer.headers["location"] == before[short_id]["long_url"]
        assert p.workers() == workers, "a worker died:\n" + p.log()
        lines = p.log().splitlines()
        assert len(lines) > LINKS
        for line in lines:
            assert LOG_LINE.fullmatch(line), line


def padded(size):
    body = b'{"long_url":"http://x/"}'
    return body + b" " * (size - len(body))


ODD_URLS = [
    "http://x", "http://x/?", "http://x/#", "http://x/%", "http://x/%zz",
    "http://x/%0d%0aSet-Cookie:%20a=b", "http://x/%00", "http://x/a b",
    "http://x/'\"<>&\\`{}|^", "http://x/<script>alert(1)</script>",
    "http://x/?long_url=http://y/", "http://x/?user_agent=a&source_ip=b",
    "http://x/?" + "&".join("p%d=%d" % (n, n) for n in range(900)),
    "http://x/?a=%ff%fe&%00=b&=c&a%00b=d", "http://x/?" + "&" * 5000,
    "http://x/../../../etc/passwd", "http://x/${jndi:ldap://y/}",
    "http://x/%s%n%x", "http://x/';DROP TABLE links;--",
    "http://x/\u00fc\u20ac\U0001f600", "http://x/\ufeff\u200b\u2028",
    "http://\u00fc.example/", "http://[::1]/", "http://0177.1/",
    "http://127.0.0.1/", "http://127.0.0.1:8080/t/abc",
    "http://x/" + "a" * 7991, "http://x/" + "\u00fc" * 1331,
    "http://x/" + "'" * 7991, "http://x/" + "\"" * 2663, "http:\\\\x\\",
    " \t\r\nhttp://x/ \t\r\n", "\ufeff\u200b\u202ahttp://x/\u202c\u00a0\u3000",
    "http://x/#<script>alert('1')</script>", "http://xn--ls8h.la/",
]
