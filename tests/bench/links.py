"""Links for the benchmark: many, quickly, with ids that load.lua knows too.

Link number n has the id that n * MULTIPLIER modulo 62^7 is in base 62, lowest
digit first. The multiplier has no factor in common with 62^7, so no two links
share an id, and neighbours in number are far apart in the index, as links that
curt made would be.
"""

import json
import sqlite3
import threading
import urllib.request

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
MULTIPLIER = 715827883
IDS = 62 ** 7


def short_id(n):
    x = n * MULTIPLIER % IDS
    digits = []
    for _ in range(7):
        x, low = divmod(x, 62)
        digits.append(ALPHABET[low])
    return "".join(digits)


def fill_sqlite(path, count):
    """Puts links 0 to count - 1 into the file, whose table is there."""
    digits = " || ".join(
        "substr('%s', 1 + x / %d %% 62, 1)" % (ALPHABET, 62 ** i)
        for i in range(7))
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA synchronous = OFF")
    db.execute("PRAGMA cache_size = -1000000")
    db.execute("BEGIN")
    db.execute(f"""
        WITH RECURSIVE
          number(n) AS (SELECT 0 UNION ALL
                        SELECT n + 1 FROM number WHERE n + 1 < ?),
          key(n, x) AS (SELECT n, n * {MULTIPLIER} % {IDS} FROM number),
          link(n, id) AS (SELECT n, {digits} FROM key)
        INSERT INTO links (short_id, long_url, short_url, created_at, ttl,
                           hits, analytics)
        SELECT id, 'https://example.com/article/' || n || '?from=newsletter',
               'http://127.0.0.1/t/' || id, '2018-11-29T00:05:02', 4102444800,
               0, '{{"user_agent":null,"source_ip":"127.0.0.1",'
               || '"xray_trace_id":"Root=1-00000000-{"0" * 24}"}}'
        FROM link""", (count,))
    db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    [(first, last)] = db.execute(
        "SELECT count(*) FILTER (WHERE short_id = ?),"
        " count(*) FILTER (WHERE short_id = ?) FROM links",
        (short_id(0), short_id(count - 1)))
    db.close()
    if (first, last) != (1, 1):
        raise RuntimeError("the links of the benchmark have other ids")


def item(n):
    i = short_id(n)
    return {
        "short_id": {"S": i},
        "long_url": {"S": "https://example.com/article/%d?from=newsletter" % n},
        "short_url": {"S": "http://127.0.0.1/t/" + i},
        "created_at": {"S": "2018-11-29T00:05:02"},
        "ttl": {"N": "4102444800"},
        "hits": {"N": "0"},
        "analytics": {"M": {"source_ip": {"S": "127.0.0.1"}}},
    }


def fill_dynamodb(server, table, count, threads=4):
    """The same in a table, 25 a request."""
    faults = []

    def work(first):
        client = server.client()
        try:
            for start in range(first * 25, count, threads * 25):
                batch = [{"PutRequest": {"Item": item(n)}}
                         for n in range(start, min(start + 25, count))]
                while batch:
                    left = client.batch_write_item(RequestItems={table: batch})
                    batch = left["UnprocessedItems"].get(table)
        except Exception as e:
            faults.append(e)

    workers = [threading.Thread(target=work, args=(i,)) for i in range(threads)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    if faults:
        raise faults[0]


def create(url, long_url):
    """Makes one link through a web server; its id."""
    request = urllib.request.Request(
        url + "/create", json.dumps({"long_url": long_url}).encode(),
        {"Content-Type": "application/json", "Accept": "application/json"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)["short_id"]
