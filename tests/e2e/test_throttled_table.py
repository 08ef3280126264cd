"""A table that takes only so many writes a second: creates go first, hits wait
and arrive all the same."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

import dynamodb_local as local
import harness
from aws_faults import NOT_DONE, Fault, FaultServer, Keys, error
from dynamodb_local import all_items
from proctools import check_redirect, create, pending, said


class Units:
    """A fault for a FaultServer: a token bucket in front of its table, as a
    table with provisioned capacity has it (1 unit for each of these small
    writes). Use as server.always."""

    def __init__(self, per_second, burst):
        self.per_second, self.burst = per_second, burst
        self.left, self.at = burst, time.monotonic()
        self.lock = threading.Lock()
        self.refused = []  # (time, action)
        self.fault = Fault("units", NOT_DONE, 0, self.happen)

    def take(self):
        with self.lock:
            now = time.monotonic()
            self.left = min(self.burst, self.left
                            + (now - self.at) * self.per_second)
            self.at = now
            if self.left < 1:
                return False
            self.left -= 1
            return True

    def happen(self, call):
        if call.request.action == "GetItem" or self.take():
            return call.forward()
        self.refused.append((call.request.at, call.request.action))
        return error("ProvisionedThroughputExceededException",
                     "The level of configured provisioned throughput for the "
                     "table was exceeded. Consider increasing your "
                     "provisioning level with the UpdateTable API.")


class Table:
    """A pool of several workers in front of such a table."""

    def __init__(self, build, dynamodb_local, settings, units, **more):
        self.client = dynamodb_local.client()
        self.name = settings["TABLE"]
        self.units = units
        self.server = FaultServer(dynamodb_local.endpoint, Keys.of(settings),
                                  local.REGION)
        self.pool = harness.Pool(build, {
            **settings, "HITS_FLUSH": 1, **more,
            "AWS_ENDPOINT_URL_DYNAMODB": self.server.endpoint}, workers=8)

    def put(self, count):
        """Links by another client, which no units are taken for."""
        ids = ["hot%05d" % i for i in range(count)]
        for short_id in ids:
            self.client.put_item(TableName=self.name, Item={
                "short_id": {"S": short_id}, "hits": {"N": "0"},
                "long_url": {"S": "https://example.com/page"}})
        return ids

    def hits(self):
        return {i: int(item["hits"]["N"])
                for i, item in all_items(self.client, self.name).items()}

    def __enter__(self):
        self.server.__enter__()
        self.pool.start()
        self.server.always = self.units.fault
        return self

    def __exit__(self, *exception):
        self.pool.__exit__(*exception)
        self.server.__exit__(*exception)


@pytest.fixture
def table(build, dynamodb_local, store_settings):
    def make(units, **more):
        return Table(build, dynamodb_local, store_settings("dynamodb"), units,
                     **more)
    return make


def create_steadily(pool, per_second, count):
    """[(status, seconds)] of creates that begin at that rate."""
    begin = time.monotonic()

    def one(i):
        time.sleep(max(0, begin + i / per_second - time.monotonic()))
        sent = time.monotonic()
        answer = create(pool, "https://example.com/%d" % i)
        return answer.status, time.monotonic() - sent

    with ThreadPoolExecutor(16) as threads:
        return list(threads.map(one, range(count)))


def test_throttled_creates_go_before_hits(table):
    """Links have hits all the time; the creates leave them one unit in five."""
    units = Units(5, 5)
    with table(units, STORE_TIMEOUT=5) as t:
        ids = t.put(20)
        done = threading.Event()
        counted = dict.fromkeys(ids, 0)

        def follow():
            while not done.is_set():
                for short_id in ids:
                    check_redirect(t.pool, short_id)
                    counted[short_id] += 1
                done.wait(0.5)

        visitor = threading.Thread(target=follow)
        visitor.start()
        harness.wait_until(lambda: units.refused, "a refusal", 60)
        try:
            answers = create_steadily(t.pool, 4, 24)
        finally:
            done.set()
            visitor.join()
        waiting = pending(t.pool)
        ended = time.monotonic()
        harness.wait_until(lambda: pending(t.pool) == 0,
                           "all hits in the store", 60, 0.5)
        took = sorted(seconds for _, seconds in answers)
        print("503: %d of %d; seconds: median %.2f, 90 %% %.2f, max %.2f; "
              "%d hits pending took %.1f s; refused: %d creates, %d hits" % (
                  sum(status != 200 for status, _ in answers), len(answers),
                  took[len(took) // 2], took[len(took) * 9 // 10], took[-1],
                  waiting, time.monotonic() - ended,
                  sum(a == "PutItem" for _, a in units.refused),
                  sum(a == "UpdateItem" for _, a in units.refused)))
        assert {status for status, _ in answers} == {200}
        assert said(t.pool, "flushing hits failed, will retry: throttled: "
                    "dynamodb:UpdateItem on table")
        stored = t.hits()
        assert {i: stored[i] for i in ids} == counted
        assert len(stored) == len(ids) + len(answers)
