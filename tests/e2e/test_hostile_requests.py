"""Hostile paths, methods, headers and FastCGI records, straight at the socket
of curt.fcgi. What holds for all of them is checked by hostile.py."""

import random
import re
import struct

import fcgi_client
from hostile import (JSON_TYPE, MADE_TRACE, PRINTABLE, check_alive, check_head,
                     check_problem, create, get_items, pool, post)

# ---- Paths and methods -------------------------------------------------

PATHS = [
    "", "?", "#", "//", "/t", "/t//", "/T/abc", "t/abc", "*",
    "/x", "/t/a.b", "/t/a b", "/t/a+b", "/t/a~b",
    "/t/abc/-/", "/t/abc/def", "/t/abc%2f-", "/t/abc%2Fdef", "/t/abc%00",
    "/t/%00", "/t/abc%0d%0aSet-Cookie:a=b", "/t/abc\r\nSet-Cookie: a=b",
    "/t/\x01", "/t/\x7f", b"/t/\xff", "/t/%ff", "/t/%", "/t/%4", "/t/%zz",
    "/t/\u00fc", "/t/%C3%BC", "/t/../t/abc", "/t/./abc", "/t/..%2ft/abc",
    "/../t/abc", "/t/%252e", "/t/%2561bc", "/t;x=y/abc", "/t/abc;x=y",
    "/t/create", "/t/health", "/t/metrics", "/t/rest", "/t/robots.txt",
    "/t/favicon.ico", "/t/" + "a" * 65, "/t/" + "a" * 5000,
    "/t/" + "%61" * 65, "/" * 5000, "/t/" * 3000, "/t/" + "a" * 100000,
    "/" + "%41" * 30000, "/create/", "/create%00", "/createx", "/CREATE",
    "//create", "/./create", "/create;x", "/%2fcreate", "/t/'--", "/t/\"",
    "/t/<script>", "/t/${a}", "/t/%s%n", "/t/..", "/.env", "/wp-login.php",
    "HTTP://x/t/abc", "ftp://x/t/abc", "http://", "http://x", "https://x?",
    "x:80", "http:/t/abc", "/t/+", "/t/a++", "/t/a+%2B", "/t/a/+", "/t/a+/b",
    "/t/style.css/", "/t//page.js", "/t/style.css%00", "/t/style.css+",
    "/robots.txt/", "/Favicon.ico", "/style.css",
]

# What is there without any link.
PAGES = ["/", "/t/", "/?", "http://x/", "http:///", "http://x/t/",
         "/%74/", "/?x=/../", "/t/style.css", "/t/page.js?%00",
         "/t/icon%2Esvg", "/favicon.ico?v=\xff", "/robots.txt#x"]


def test_paths_that_can_be_no_link_are_404(pool):
    for method in ("GET", "HEAD", "POST", "PUT", "BREW"):
        for path in PATHS:
            answer = pool.request(method, path)
            assert answer.status == 404, (method, path, answer.raw[:300])
            if method == "HEAD":
                assert answer.body == b""
            else:
                check_problem(answer, 404)


def test_pages_take_get_and_head_only(pool):
    for path in PAGES:
        whole = pool.request("GET", path)
        assert whole.status == 200 and whole.body, path
        check_head(whole)
        head = pool.request("HEAD", path)
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == str(len(whole.body))
        for method in ("POST", "PUT", "BREW"):
            answer = pool.request(method, path, body=b"long_url=http://x/")
            check_problem(answer, 405)
            assert answer.headers["allow"] == "GET, HEAD"


def test_an_id_that_nobody_has_is_404(pool):
    rng = random.Random(7)
    for _ in range(50):
        size = rng.randrange(1, 65)
        short_id = "".join(rng.choices("ABCxyz0189", k=size))
        check_problem(pool.request("GET", "/t/" + short_id), 404)


ODD_METHODS = ["", " ", "get", "Get", "POST ", " POST", "PUT", "DELETE",
               "PATCH", "OPTIONS", "TRACE", "CONNECT", "BREW",
               "GET\r\nX: y", b"\xff", "G" * 70000, "*", "POST,GET", None]


def test_other_methods_are_405(pool):
    for method in ODD_METHODS:
        params = {"REQUEST_METHOD": method}
        for path, allowed in (("/create", "POST"), ("/t/abc", "GET, HEAD")):
            answer = pool.request("GET", path, params=params)
            check_problem(answer, 405)
            assert answer.headers["allow"] == allowed, method


def test_methods_of_the_other_route_are_405(pool):
    check_problem(pool.request("GET", "/create"), 405)
    check_problem(pool.request("GET", "/create?long_url=http://x/"), 405)
    check_problem(pool.request("POST", "/t/abc", body=b"x"), 405)


def test_the_absolute_form_is_the_same_address(pool):
    short_id = create(pool, "http://absolute.example/")
    for uri in ("http://127.0.0.1/t/", "https://elsewhere:99/t/", "http:///t/",
                "http://u@x/t/", "http://127.0.0.1/%74/"):
        answer = pool.request("GET", uri + short_id)
        assert answer.status == 301, uri
        assert answer.headers["location"] == "http://absolute.example/"
    answer = post(pool, b'{"long_url":"http://x/"}',
                  params={"REQUEST_URI": "http://127.0.0.1/create?x#y"})
    assert answer.status == 200


def test_without_a_uri_the_web_server_is_at_fault(pool):
    """The one 500 here: no client can cause it."""
    for method in ("GET", "POST", "HEAD", "BREW"):
        answer = pool.request(method, "/", params={"REQUEST_URI": None})
        assert answer.status == 500
        if method != "HEAD":
            check_problem(answer, 500)


# ---- Headers -----------------------------------------------------------

HOSTILE_VALUES = [
    b"", b" ", b"x" * 8192, b"x" * 70000, b"\xff" * 8192, b"\0", b"a\0b",
    b"a\r\nSet-Cookie: a=b", b"\r\n\r\n<script>", b"\n", bytes(range(1, 256)),
    b"\x1b[31m", b"\xc0\x80\xed\xa0\x80\xf4\x90\x80\x80", b"%s%n%x%d",
    b'" msg="forged" level=error', b"\\", b"'; DROP TABLE links; --",
    b"{\"a\":1}", "\u202e\u2028\ufeff".encode(), b"$(id)`id`|id;id",
]


def trace_of(value):
    """What must come back for an X-Amzn-Trace-Id; None for a new one."""
    value = value.split(b"\0")[0]
    ok = 1 <= len(value) <= 256 and PRINTABLE.fullmatch(value)
    return value.decode() if ok else None


def stored_text(value):
    """What is stored of a header."""
    return value.split(b"\0")[0].decode("utf-8", "replace")


def test_hostile_header_values(pool):
    names = ["User-Agent", "X-Amzn-Trace-Id", "Accept", "Host", "Cookie",
             "Referer", "X-Forwarded-For", "Content-Encoding", "Expect",
             "Transfer-Encoding", "Authorization", "If-None-Match",
             "Accept-Language", "Sec-Fetch-Dest"]
    values = {}
    for value in HOSTILE_VALUES:
        headers = {name: value for name in names}
        short_id = create(pool, "http://x/", headers=headers,
                          params={"REMOTE_ADDR": value, "QUERY_STRING": value,
                                  "PATH_INFO": value, "SCRIPT_NAME": value})
        values[short_id] = value
        for path, status in (("/t/" + short_id, 301), ("/t/~", 404),
                             ("/create", 405), ("/t/%s+" % short_id, 200),
                             ("/", 200), ("/t/style.css", 200),
                             ("/robots.txt", 200)):
            answer = pool.request("GET", path, headers)
            assert answer.status == status, (value[:99], path)
            check_head(answer)
            trace = answer.headers["x-amzn-trace-id"]
            if trace_of(value) is None:
                assert MADE_TRACE.fullmatch(trace)
            else:
                # A field value has no white space around it.
                assert trace == trace_of(value).strip()
    for short_id, item in get_items(pool, list(values)).items():
        text = stored_text(values[short_id])
        assert item["analytics"]["user_agent"] == text
        assert item["analytics"]["source_ip"] == text


def test_a_trace_id_of_256_bytes_is_the_longest(pool):
    for size in (255, 256, 257):
        value = "Root=" + "\"" * (size - 5)
        answer = pool.request("GET", "/t/~", {"X-Amzn-Trace-Id": value})
        check_problem(answer, 404)
        assert (answer.headers["x-amzn-trace-id"] == value) == (size <= 256)


def test_a_page_has_nothing_of_the_client_unescaped(pool):
    headers = {"Accept": "text/html",
               "X-Amzn-Trace-Id": "<script>alert('1')</script>&\""}
    answer = pool.request("GET", "/t/<script>", headers)
    assert answer.status == 404
    check_head(answer)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    # The page's own has a source.
    assert re.findall(rb"<script.", answer.body) == [b"<script "]
    assert b"alert(" not in answer.body


def test_odd_accept_fields_get_an_answer(pool):
    for accept in (
            ",", ";", ",;,;", "text/html;" * 2000, "," * 60000, "text/html;q=",
            "text/html;q=9999999999", "text/html;q=-1",
            "text/html;q=0.0000000001", "application/json;q=nan",
            "a/b;c=\"text/html,\";q=0", "/", "*", "q=1"):
        headers = {"Accept": accept, "Accept-Language": accept}
        answer = pool.request("GET", "/t/~", headers)
        assert answer.status == 404, accept[:99]
        check_head(answer)
        assert answer.headers["content-type"] in (
            "application/problem+json", "text/html; charset=utf-8")
        answer = post(pool, b'{"long_url":"http://x/"}', headers=headers)
        assert answer.status == 200, accept[:99]
        check_head(answer)


def test_thousands_of_headers(pool):
    short_id = create(pool, "http://many.example/")
    headers = {"X-Header-%d" % n: "value %d" % n for n in range(5000)}
    answer = pool.request("GET", "/t/" + short_id, headers)
    assert answer.status == 301
    answer = pool.request("GET", "/t/" + short_id, {"X-Big": "x" * 1000000})
    assert answer.status == 301
    answer = pool.request("GET", "/t/" + short_id, headers, piece=11)
    assert answer.status == 301


# ---- Records -----------------------------------------------------------

def wire(pool, data):
    """Sends bytes, says that nothing follows, and returns what comes back
    until the other side closes."""
    with pool.client() as client:
        received = b""
        try:
            client.send(data)
            client.shutdown()
            while True:
                more = client.socket.recv(65536)
                if not more:
                    return received
                received += more
        except ConnectionError:
            return received


def params_record(names):
    return fcgi_client.stream(fcgi_client.PARAMS, names)


def request_bytes(pool):
    return pool.client().request_bytes("GET", "/t/~")


def test_every_cut_of_a_request_is_survived(pool):
    """No part of a request is answered with a link, until it has its
    parameters."""
    short_id = create(pool, "http://x/")
    whole = pool.client().request_bytes("GET", "/t/" + short_id,
                                        params={"REQUEST_URI": None})
    uri = fcgi_client.pairs({"REQUEST_URI": "/t/" + short_id})
    end = len(fcgi_client.begin())
    whole = (whole[:end] + fcgi_client.record(fcgi_client.PARAMS, uri)
             + whole[end:])
    for size in range(len(whole)):
        answer = wire(pool, whole[:size])
        if size < end + 8 + len(uri):
            assert b"Location:" not in answer
    assert b"Location: http://x/" in wire(pool, whole)
    check_alive(pool)


def test_random_bytes_are_survived(pool):
    rng = random.Random(1)
    for size in (1, 7, 8, 9, 16, 100, 5000):
        for _ in range(8):
            wire(pool, rng.randbytes(size))
    check_alive(pool)


def test_mutated_requests_are_survived(pool):
    """No more is promised for what no web server sends than that it hurts
    nobody else."""
    rng = random.Random(2)
    whole = request_bytes(pool)
    answered = 0
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(rng.choice((1, 2, 4))):
            data[rng.randrange(len(data))] = rng.randrange(256)
        answered += b"Status: " in wire(pool, bytes(data))
    check_alive(pool)
    assert answered > 0


NO_REQUESTS = [
    b"GET / HTTP/1.0\r\n\r\n",
    fcgi_client.record(1, bytes(8), version=0),
    fcgi_client.record(1, bytes(8), version=2),
    fcgi_client.record(1, bytes(3)),
    fcgi_client.record(1, bytes(800)),
    fcgi_client.begin(request_id=0),
    fcgi_client.begin(role=0),
    fcgi_client.begin(role=9),
    fcgi_client.record(fcgi_client.PARAMS, b""),
    fcgi_client.record(fcgi_client.STDIN, b"x"),
    fcgi_client.begin() + fcgi_client.record(fcgi_client.ABORT_REQUEST),
    fcgi_client.begin() * 1000,
    fcgi_client.begin() + fcgi_client.record(fcgi_client.STDIN, b"x"),
    fcgi_client.begin() + fcgi_client.record(fcgi_client.STDOUT, b"x"),
    fcgi_client.begin() + fcgi_client.record(99, b"x"),
    fcgi_client.record(9, b"\x0e\0FCGI_MAX_CONNS", request_id=0) * 100,
    fcgi_client.begin() + b"\x01\x04\x00\x01\xff\xff\xff\x00" + b"x" * 100,
]


def test_records_that_make_no_request_are_survived(pool):
    for data in NO_REQUESTS:
        assert b"Status: 200" not in wire(pool, data), data[:99]
        for _ in range(2 * pool.worker_count):
            check_alive(pool)


def test_lengths_of_parameters_that_lie(pool):
    """They are compared with what has come, and no worker dies of them."""
    before = pool.children()
    for name_len, value_len in (
            (127, 0), (0, 127), (1000, 1000), (100000000, 0), (0, 100000000),
            (100000000, 100000000), (2 ** 31 - 1, 0), (0, 2 ** 31 - 1),
            (2 ** 31 - 1, 2 ** 31 - 1), (2 ** 31 - 16, 16)):
        lengths = struct.pack("!II", name_len | 1 << 31, value_len | 1 << 31)
        data = (fcgi_client.begin()
                + params_record(lengths + b"REQUEST_URI/t/~")
                + fcgi_client.record(fcgi_client.STDIN))
        assert wire(pool, data) == b"", (name_len, value_len)
        for _ in range(2 * pool.worker_count):
            check_alive(pool)
    assert pool.children() == before


def test_an_aborted_request_creates_nothing(pool):
    body = b'{"long_url":"http://aborted.example/"}'
    whole = pool.client().request_bytes(
        "POST", "/create", {"Content-Type": JSON_TYPE}, body)
    end = len(whole) - 8 - len(body) - 8
    data = (whole[:end + 8 + 10]
            + fcgi_client.record(fcgi_client.ABORT_REQUEST))
    assert b"Status: 200" not in wire(pool, data)
    check_alive(pool)


def test_requests_right_after_an_aborted_one(pool):
    abort = (fcgi_client.begin(flags=1)
             + fcgi_client.record(fcgi_client.ABORT_REQUEST))
    with pool.client() as client:
        request = client.request_bytes("GET", "/t/~", keep=True)
        client.send(abort + request + request)
        assert client.read_record() == (3, 1, bytes(8))
        assert client.response().status == 404
        assert client.response().status == 404


def test_padding_and_tiny_records_are_the_same_request(pool):
    params = fcgi_client.pairs({"REQUEST_METHOD": "GET",
                                "REQUEST_URI": "/t/~"})
    data = fcgi_client.begin()
    for n, byte in enumerate(params):
        data += fcgi_client.record(fcgi_client.PARAMS, bytes([byte]),
                                   padding=n % 256)
    data += fcgi_client.record(fcgi_client.PARAMS, padding=255)
    data += fcgi_client.record(fcgi_client.STDIN, padding=1)
    assert b"Status: 404" in wire(pool, data)
