"""A load on a site, as a program of its own, so that it can run in the network
of a machine: creates and redirects at a rate, until standard input ends.

usage: python3 site_load.py HOST REQUESTS-PER-SECOND

Prints a JSON object: "failed", the texts of what was neither 200 nor 301;
"links", {short_id: number of answers 301}; "requests".
"""

import http.client
import json
import random
import sys
import threading
import time
from urllib.parse import urlsplit

THREADS = 8
# A new link each so many requests.
CREATE_EACH = 5


class Client(threading.Thread):
    def __init__(self, host, rate, stopping):
        super().__init__()
        self.host = host
        self.pause = THREADS / rate
        self.stopping = stopping
        self.failed = []
        self.links = {}
        self.requests = 0
        self.connection = http.client.HTTPConnection(host, timeout=30)

    def run(self):
        due = time.monotonic() + random.random() * self.pause
        while not self.stopping.wait(max(0, due - time.monotonic())):
            due += self.pause
            try:
                self.step()
            except Exception as e:  # the report has it
                self.failed.append(repr(e))
                self.connection.close()
        self.connection.close()

    def step(self):
        if self.requests % CREATE_EACH == 0:
            body = json.dumps({"long_url": "https://www.debian.org/%d" %
                               self.requests})
            status, text, _ = self.send("POST", "/create", body)
            if status == 200:
                self.links[urlsplit(text).path[len("/t/"):]] = 0
            else:
                self.failed.append("create: %d %s" % (status, text))
        elif self.links:
            short_id = random.choice(list(self.links))
            status, text, location = self.send("GET", "/t/" + short_id)
            if status == 301 and location.startswith("https://www.debian.org"):
                self.links[short_id] += 1
            else:
                self.failed.append("redirect: %d %s" % (status, text))

    def send(self, method, path, body=None):
        self.requests += 1
        self.connection.request(method, path, body, {"Host": self.host})
        answer = self.connection.getresponse()
        return (answer.status, answer.read().decode(errors="replace"),
                answer.headers.get("Location", ""))


def main():
    host, rate = sys.argv[1], float(sys.argv[2])
    stopping = threading.Event()
    clients = [Client(host, rate, stopping) for _ in range(THREADS)]
    for client in clients:
        client.start()
    sys.stdin.read()
    stopping.set()
    links = {}
    for client in clients:
        client.join()
        links.update(client.links)
    json.dump({"failed": sum((c.failed for c in clients), []), "links": links,
               "requests": sum(c.requests for c in clients)}, sys.stdout)


if __name__ == "__main__":
    main()
