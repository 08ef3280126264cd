"""Hostile bodies and long URLs, straight at the socket of curt.fcgi.

Each request has its documented answer, nothing that a client says comes back
as a header line or as a log line, no worker dies, the sanitizers stay silent,
and the links that were there before are there unchanged afterwards (hostile.py
has the checks).
"""

import gzip
import json
import random
import re

from hostile import (FORM_TYPE, JSON_TYPE, MAX_BODY, ODD_URLS, check_alive,
                     check_head, check_problem, create, get_items, padded, pool,
                     post)

def member(value):
    """A right body with one more member, of this raw value."""
    return b'{"long_url":"http://x/","a":' + value + b"}"


def nested(levels, opening, closing):
    return member(opening * levels + b"1" + closing * levels)


RIGHT = [
    b'{"long_url":"http://x/"}',
    b' \r\n\t{ "long_url" : "http://x/" }\r\n',
    b'{"long_url":"http:\\/\\/x\\/"}',
    b'{"\\u006cong_url":"http://x/"}',
    b'{"long_url":7,"long_url":"http://x/"}',
    b'{"long_url":"ftp://x/","long_url":"http://x/"}',
    b'{"":"","long_url":"http://x/"}',
    b"\xef\xbb\xbf" + b'{"long_url":"http://x/"}',
    member(b"1e400"),
    member(b"-1e-400"),
    member(b"1" * 5000),
    member(b"-0.0E+00"),
    member(b"123456789012345678901234567890.5"),
    member(b'"\\u0000\\ud800\\udfff"'),
    member(b'"' + b"x" * 60000 + b'"'),
    member(b"[" + b"[]," * 10000 + b"[]]"),
    member(b'{"long_url":{"long_url":1}}'),
    nested(20, b"[", b"]"),
    nested(20, b'{"long_url":', b"}"),
    b'{' + b'"a":1,' * 8000 + b'"long_url":"http://x/"}',
    b'{' + b"".join(b'"a%d":1,' % n for n in range(5000))
    + b'"long_url":"http://x/"}',
]

# Not JSON, and harmless: the link is the one that was sent.
NEARLY_JSON = [
    b'{"long_url":"http://x/\n"}',
    b"{'long_url':\"http://x/\"}",
    b'{"long_url\\u0000":"http://x/"}',
    member(b"NaN"), member(b"Infinity"), member(b"-Infinity"),
    member(b"1."), member(b"-.5"), member(b'"\t"'),
]

NO_JSON = [
    b"", b" ", b"\0", b"{", b"}", b"[", b'"', b"x", b"nul", b"{}{}", b"{}x",
    b"\xef\xbb\xbf" * 2 + b'{"long_url":"http://x/"}',
    b'{"long_url":"http://x/","a":"\\ud83d"}',
    b'{"long_url":"http://x/\\ude00\\ud83d"}',
    b'{"long_url":"http://x/","\\udfff":1}',
    '{"long_url":"http://x/\u00fc"}'.encode("latin-1"),
    '{"long_url":"http://x/"}'.encode("utf-16"),
    '{"long_url":"http://x/"}'.encode("utf-16-be"),
    '{"long_url":"http://x/"}'.encode("utf-32"),
    b'{"long_url":"http://x/"}\0',
    b'\0{"long_url":"http://x/"}',
    b'{"long_url":\0"http://x/"}',
    b'{"long_url":"http://x/\0"}',
    b'{"long_url\0":"http://x/"}',
    b'{"long_url":"http://x/"}garbage',
    b'{"long_url":"http://x/"},',
    b'{"long_url":"http://x/"}\x0c',
    b'{"long_url":"http://x/",}',
    b'{,"long_url":"http://x/"}',
    b'{"long_url":"http://x/";}',
    b'{"long_url":"http://x/"',
    b'{"long_url":"http://x/',
    b'{"long_url":"http://x/\\',
    b'{"long_url":"http://x/\xff"}',
    b'{"long_url":"http://x/\xc3"}',
    b'{"long_url":"http://x/\xc0\x80"}',
    b'{"long_url":"http://x/\xed\xa0\x80"}',
    b'{"long_url":"http://x/\xf4\x90\x80\x80"}',
    b'{"long_url\xff":"http://x/"}',
    b'{"long_url":"http://x/"}\xff',
    b"{\"long_url\":'http://x/'}",
    b'{long_url:"http://x/"}',
    b'{"long_url":http://x/}',
    b'{"long_url"="http://x/"}',
    b'{"long_url":"http://x/\\x41"}',
    b'{"long_url":"http://x/\\u12"}',
    b'{"long_url":"http://x/\\uzzzz"}',
    b'// c\n{"long_url":"http://x/"}',
    b'/* c */{"long_url":"http://x/"}',
    b'{"long_url":/* c */"http://x/"}',
    b'{"long_url":"http://x/"}# c',
    b'<?xml version="1.0"?><long_url>http://x/</long_url>',
    b"long_url: http://x/",
    b"long_url=http://x/",
    b"%7B%22long_url%22%3A%22http%3A//x/%22%7D",
    gzip.compress(b'{"long_url":"http://x/"}'),
    member(b"nan"), member(b"inf"), member(b"undefined"), member(b"True"),
    member(b"+1"), member(b".5"), member(b"-"),
    member(b"0x10"), member(b"1e"), member(b"1e+"), member(b"--1"),
    member(b"1_000"), member(b'"\xff"'), member(b"[1,]"),
    member(b"[1 2]"), member(b"[,1]"), member(b'{"b":1,}'), member(b'{"b"}'),
    member(b"{1:2}"), member(b""), member(b"]"), member(b"NULL"),
    nested(33, b"[", b"]"),
    nested(33, b'{"a":', b"}"),
    nested(5000, b"[", b"]"),
    nested(5000, b'{"a":', b"}"),
    b"[" * 60000,
    b'{"a":' * 10000,
]

NO_LINK = [
    b"{}", b"[]", b"null", b"true", b"7", b'"http://x/"',
    b'{"LONG_URL":"http://x/"}',
    b'{"long_url ":"http://x/"}',
    b'{"longUrl":"http://x/"}',
    b'{"a":{"long_url":"http://x/"}}',
    b'{"long_url":null}', b'{"long_url":7}', b'{"long_url":true}',
    b'{"long_url":["http://x/"]}', b'{"long_url":{"S":"http://x/"}}',
    b'{"long_url":"http://x/","long_url":null}',
    b'{"long_url":"http://x/\x01"}',
]

BAD_URLS = [
    "", " ", "x", "/t/abc", "//x/", "ftp://x/", "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>", "file:///etc/passwd",
    "http:/x", "http:///x", "http:\\x\\", "http:\\\\\\x", "http://", "http://@x",
    "http://u@x/", "http://u:p@x/", "http://x:99999/", "http://x:y/",
    "http://[::1", "http://[fe80::1%25eth0]/", "http://a b/", "http://a%00b/",
    "http://a%0d%0ab/", "http://a\u2100b/", "http://a\uff0fb/",
    "http://a\uff20b/", "http://a\uff1a80/", "http://a\u202eb/",
    "http://x/\0", "http://x/a\r\nSet-Cookie: a=b", "http://x/a\nb",
    "http://x/a\tb", "http://x/\x7f", "http://x/\x85", "http://x/\x9f",
    "\r\nhttp://x/\r\nLocation: http://y/",
    "http://x/\r\n\r\n<script>alert(1)</script>",
    "http://127.0.0.1/t/abc", "https://127.0.0.1/t/abc",
    "http://2130706433/t/", "http://0x7f.1/t/abc", "http://127.0.0.1./t/abc",
    "http://127.0.0.1:80/%74/abc", "http://127.0.0.1/x/../t/abc",
    "http://256.1.1.1/", "http://x.1/", "http://xn--a/", "http://a..b/",
    "http://fa\u00df\U0001f4a9.example/", "http://a\u200db.example/",
    "http:\\\\127.0.0.1\\t\\abc", "http://127.0.0.1/t/%2f../../abc",
    "http://%31%32%37.1/t/abc", "\u200bhttp://127.0.0.1/t/abc\ufeff",
    "http://127.0.0.1/t\\abc", "http://127.0.0.1/%2e%2e/t%2fabc",
    "http://x/" + "a" * 7992, "http://x/" + "\u00fc" * 1332,
    "http://x/" + "a" * 60000, "http://" + "a" * 9000 + "/",
]

def test_what_is_json_is_taken(pool):
    for body in RIGHT:
        for content_type in (JSON_TYPE, "application/x+json", FORM_TYPE,
                             "text/plain", None):
            answer = post(pool, body, content_type)
            assert answer.status == 200, (body[:99], content_type, answer.raw)
            check_head(answer)


def test_what_is_nearly_json_is_taken_as_it_was_sent(pool):
    ids = []
    for body in NEARLY_JSON:
        answer = post(pool, body)
        assert answer.status == 200, (body, answer.raw)
        ids.append(answer.body.decode().rsplit("/", 1)[1])
    for item in get_items(pool, ids).values():
        assert item["long_url"] == "http://x/"


def test_what_is_not_json_is_400(pool):
    for body in NO_JSON:
        problem = check_problem(post(pool, body), 400)
        assert "JSON" in problem["detail"], body[:99]


def test_json_without_a_link_is_400(pool):
    for body in NO_LINK:
        check_problem(post(pool, body), 400)


def test_a_url_that_cannot_be_used_is_400(pool):
    for url in BAD_URLS:
        problem = check_problem(post(pool, json.dumps({"long_url": url})), 400)
        assert problem["detail"].startswith("The long_url "), url[:99]
        assert "http" not in problem["detail"].replace("http or https", ""), (
            url[:99])


def test_an_odd_url_comes_back_as_it_was_stored(pool):
    stored = get_items(pool, [create(pool, url) for url in ODD_URLS])
    for short_id, item in stored.items():
        answer = pool.request("GET", "/t/" + short_id)
        assert answer.status == 301
        check_head(answer)
        location = answer.headers["location"]
        assert location == item["long_url"]
        assert answer.raw.count(b"\r\nLocation:") == 1
        assert b"<script" not in answer.body
        assert re.fullmatch(r"[\x21-\x7e]{1,8000}", location)


def test_every_cut_of_a_body_is_400(pool):
    body = b'{"a":[1,2.5,true,null,"\\u00e9"],"long_url":"http://x/"}'
    for size in range(len(body)):
        check_problem(post(pool, body[:size]), 400)
    assert post(pool, body).status == 200


def no_constant(name):
    raise ValueError(name)


def long_url_of(body):
    """The member as a strict parser has it; None where there is none."""
    try:
        root = json.loads(body.decode("utf-8"), parse_constant=no_constant)
    except ValueError:
        return None
    value = root.get("long_url") if isinstance(root, dict) else None
    return value if isinstance(value, str) else None


def test_mutated_bodies_are_what_python_takes_them_for(pool):
    rng = random.Random(20181129)
    alphabet = b'{}[]",:\\/+-.eE0123456789truefalsn \t\n\0\x1f\x7f\xc3\xa9\xff'
    seed = (b'{"a":[0,-1.5e+3,true,false,null,{"b":"\\u00e9\\n\xc3\xa9"}],'
            b'"long_url":"http://x/"}')
    taken = refused = 0
    for _ in range(300):
        body = bytearray(seed)
        for _ in range(rng.choice((1, 1, 2, 3))):
            at = rng.randrange(len(body) - 11)
            kind = rng.randrange(3)
            if kind == 0:
                body[at] = rng.choice(alphabet)
            elif kind == 1:
                body.insert(at, rng.choice(alphabet))
            else:
                del body[at]
        expected = long_url_of(bytes(body))
        answer = post(pool, bytes(body))
        if expected == "http://x/":
            taken += 1
            assert answer.status == 200, (bytes(body), answer.raw)
            check_head(answer)
        elif answer.status == 400:
            refused += 1
            check_problem(answer, 400)
        else:
            assert answer.status == 200, (bytes(body), answer.raw)
    assert taken > 10
    assert refused > 150


FORMS = [
    (b"long_url=http://x/", 200),
    (b"long_url=http%3A%2F%2Fx%2F", 200),
    (b"&&a=b&long_url=http%3A//x/&&", 200),
    (b"a=b&long_url=http://x/", 200),
    (b"long_url=http://x/&a=b", 400),
    (b"long_url=http://x/?c&", 400),
    (b"long_url=http://x/%00", 200),
    (b"long_url=http://x/%0d%0aSet-Cookie:+a=b", 200),
    (b"long_url=http%3A//x/%00", 400),
    (b"long_url=http%3A//x/%0d%0aSet-Cookie:+a=b", 400),
    (b"long_url=http://x/\0", 400),
    (b"long_url=http://x/%ff", 200),
    (b"long_url=http%3A//x/%ff", 400),
    (b"long_url=http://x/\xff", 400),
    (b"long_url=", 400),
    (b"long_url", 400),
    (b"", 400),
    (b"&", 400),
    (b"a=b", 400),
    (b"LONG_URL=http://x/", 400),
    (b"long_url=http://x/&long_url=http://x/", 400),
    (b"long_url=http://x/&%6cong_url=http://y/", 400),
    (b"long_url%00=http://x/", 400),
    (b"a=1&" * 15000 + b"long_url=http://x/", 200),
    (b"long_url&" * 7000, 400),
    (b"%" * 60000, 400),
    (b"=" * 60000, 400),
]


def test_forms(pool):
    for body, status in FORMS:
        answer = post(pool, body, FORM_TYPE)
        if status == 200:
            assert answer.status == 200, (body[:99], answer.raw)
            check_head(answer)
        else:
            check_problem(answer, status)


def test_other_media_types_are_415(pool):
    for content_type in (
            "text/html", "application/xml", "multipart/form-data; boundary=x",
            "application/octet-stream", "application/json5", "text/json",
            "application/jsonx", "x" * 8192, ";", "\xff", "a\tb", "json",
            "application/x-www-form-urlencoded-not", "image/png", "*/*"):
        check_problem(post(pool, b'{"long_url":"http://x/"}', content_type),
                      415)


def test_the_limit_of_a_body(pool):
    for size in (MAX_BODY - 1, MAX_BODY, MAX_BODY + 1, 2 * MAX_BODY, 3 << 20):
        for params in ({}, {"CONTENT_LENGTH": None}):
            answer = post(pool, padded(size), params=params)
            if size > MAX_BODY:
                check_problem(answer, 413)
            else:
                assert answer.status == 200, (size, params, answer.raw)


def test_a_length_that_lies(pool):
    """Longer than the body: it ended early. What is no number says nothing;
    FastCGI has its own end of the body."""
    for length, status in (
            ("26", 400), ("27", 400), (str(MAX_BODY), 400),
            (str(MAX_BODY + 1), 413), ("18446744073709551615", 413), ("", 200),
            ("x", 200), ("-1", 200), ("+24", 200), ("24 ", 200), ("0x18", 200),
            ("18446744073709551616", 200), ("9" * 5000, 200)):
        answer = post(pool, b'{"long_url":"http://x/"}',
                      params={"CONTENT_LENGTH": length})
        if status == 200:
            assert answer.status == 200, (length, answer.raw)
            check_head(answer)
        else:
            check_problem(answer, status)


def test_a_body_that_ends_with_the_connection_creates_nothing(pool):
    unique = "http://ended-early.example/"
    body = json.dumps({"long_url": unique}).encode()
    whole = pool.client().request_bytes(
        "POST", "/create", {"Content-Type": JSON_TYPE}, body,
        params={"CONTENT_LENGTH": len(body) + 9})
    for cut in (1, 8, 9, 20, len(body)):
        with pool.client() as client:
            client.send(whole[:-cut])
    check_alive(pool)
    assert unique not in pool.log()
