"""Every fault that DynamoDB and the network can have, one at a time and then
all of them at once under load: what is answered is true, nothing is lost,
nothing is counted twice, and nobody waits longer than the deadline."""

import http.client
import json
import random
import statistics
import threading
import time
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

import dynamodb_local as local
import harness
import webservers
from aws_faults import (CLOCK_SKEW, CORAL, FAULTS, NOT_DONE, Fault,
                        FaultServer, Keys, RotatingKeys, error, id_in)
from aws_wire import HANG_UP, Answer
from dynamodb_local import all_items
from proctools import (check_redirect, check_unavailable, create, make_link,
                       pending, said, slay, wait_complete)

STORE_TIMEOUT = 4

# What a client may have to wait beyond STORE_TIMEOUT, in seconds: these are
# sanitizer builds, on a machine that does all the rest at the same time.
MARGIN = 10

# Attempts at one request: the standard retry mode of the SDKs.
ATTEMPTS = 3

APP_URL = "http://127.0.0.1/t/"


class Site:
    """One worker without a cache, so that each request of a client is one to
    the store, and a janitor that flushes when it starts and then not again."""

    def __init__(self, build, server, settings, client):
        self.server = server
        self.table = settings["TABLE"]
        self.client = client  # boto3's
        self.pool = harness.Pool(build, {
            **settings, "APP_URL": APP_URL, "STORE_TIMEOUT": STORE_TIMEOUT,
            "CACHE_TTL": 0, "HITS_FLUSH": 3600,
            "AWS_ENDPOINT_URL_DYNAMODB": server.endpoint}, workers=1)

    def items(self):
        return all_items(self.client, self.table)

    def item(self, short_id):
        return self.client.get_item(
            TableName=self.table, Key={"short_id": {"S": short_id}},
            ConsistentRead=True)["Item"]

    def pending(self):
        return pending(self.pool)

    def hits(self, short_id):
        return int(self.item(short_id)["hits"]["N"])

    def flush(self):
        """Begins a flush: that of a new janitor."""
        slay(self.pool.janitors()[0])
        wait_complete(self.pool)

    def put(self, long_url="https://example.com/page"):
        """A link by another hand."""
        short_id = uuid.uuid4().hex[:10]
        self.client.put_item(TableName=self.table, Item={
            "short_id": {"S": short_id}, "long_url": {"S": long_url},
            "hits": {"N": "0"}})
        return short_id

    def sent(self, before, action, short_id=None):
        """The requests of one action, about one link, after the first
        `before` of all."""
        return [r for r in self.server.since(before) if r.action == action
                and short_id in (None, id_in(r))]


def start_site(build, dynamodb_local, settings, keys):
    server = FaultServer(dynamodb_local.endpoint, keys, local.REGION)
    return server, Site(build, server, settings, dynamodb_local.client())


@pytest.fixture(scope="module")
def shared_site(build, dynamodb_local, module_store_settings):
    settings = module_store_settings("dynamodb")
    server, site = start_site(build, dynamodb_local, settings,
                              Keys.of(settings))
    with server, site.pool:
        site.pool.start()
        yield site
        server.clear()
    server.check_signatures()


@pytest.fixture
def site(shared_site):
    """One for the whole module; a test leaves it without faults, and with a
    request that went well."""
    yield shared_site
    shared_site.server.clear()
    shared_site.server.skew_error = "InvalidSignatureException"
    harness.wait_until(
        lambda: create(shared_site.pool,
                       "https://example.com/after").status == 200,
        "a create that goes well", 15)


@pytest.fixture
def own_site(build, dynamodb_local, store_settings):
    """own_site(), own_site(rotating keys): one for a test alone."""
    settings = store_settings("dynamodb")
    opened = []

    def make(keys=None):
        server, made = start_site(
            build, dynamodb_local,
            temporary(settings, keys) if keys else settings,
            keys or Keys.of(settings))
        opened.append(server.__enter__())
        opened.append(made.pool.start())
        return made

    yield make
    for server in opened[::2]:
        server.clear()
    for thing in reversed(opened):
        thing.__exit__(None, None, None)
    for server in opened[::2]:
        server.check_signatures()


# ---- The server itself ----------------------------------------------------


def boto(server, secret=local.SECRET_KEY, attempts=1):
    return local.client(server.endpoint, secret, attempts)


def test_the_server_knows_a_wrong_signature(dynamodb_local, store_settings):
    settings = store_settings("dynamodb")
    get = {"TableName": settings["TABLE"], "Key": {"short_id": {"S": "abc"}}}
    with FaultServer(dynamodb_local.endpoint, Keys.of(settings),
                     local.REGION) as server:
        boto(server).get_item(**get)
        server.check_signatures()
        with pytest.raises(ClientError, match="InvalidSignatureException"):
            boto(server, local.SECRET_KEY + "x").get_item(**get)
        with pytest.raises(AssertionError):
            server.check_signatures()
        server.forged.clear()
        server.clock_offset = CLOCK_SKEW
        with pytest.raises(ClientError, match="Signature expired"):
            boto(server).get_item(**get)
        server.clock_offset = -CLOCK_SKEW
        with pytest.raises(ClientError, match="not yet current"):
            boto(server).get_item(**get)
        server.check_signatures()
        with RotatingKeys() as keys:
            server.keys = keys
            with pytest.raises(ClientError, match="InvalidSignature"):
                boto(server).get_item(**get)


def test_another_client_sees_the_faults_as_faults(dynamodb_local,
                                                  store_settings):
    """The SDK for Python meets each once, and tries again."""
    settings = store_settings("dynamodb")
    with FaultServer(dynamodb_local.endpoint, Keys.of(settings),
                     local.REGION) as server:
        client = boto(server, attempts=2)

        def meet(name):
            item = {"short_id": {"S": name},
                    "long_url": {"S": "https://e.com/"}}
            client.put_item(TableName=settings["TABLE"], Item=item)
            server.plan("GetItem", name, short_id=name)
            assert client.get_item(TableName=settings["TABLE"], Key={
                "short_id": {"S": name}})["Item"] == item, name
            assert len([r for r in server.requests if r.action == "GetItem"
                        and id_in(r) == name]) == 2, name

        # All at once, because each waits before it tries again.
        with ThreadPoolExecutor(12) as threads:
            list(threads.map(meet, (
                "http_500", "http_502", "http_503", "http_504",
                "internal_server_error", "throttling",
                "provisioned_throughput_exceeded", "close_before",
                "request_limit_exceeded", "transaction_in_progress",
                "forward_then_close", "reset")))


# ---- Each fault alone -----------------------------------------------------

# Lasting keys do not expire; see the tests of temporary ones.
ALONE = [f for f in FAULTS.values() if f.name != "expired_token"]
OUTCOMES = [pytest.param(f, done, id=f.name + ("-done" * done))
            for f in ALONE for done in f.outcomes]

# The first attempt is the last one: it only takes long.
NO_RETRY = {"delay"}


def timed(work, *args):
    """What work(*args) returned, which must not have taken too long."""
    begun = time.monotonic()
    answer = work(*args)
    took = time.monotonic() - begun
    assert took < STORE_TIMEOUT + MARGIN, "%.2f s" % took
    return answer


@pytest.mark.parametrize("fault", ALONE, ids=repr)
def test_a_redirect_survives(site, fault):
    short_id = site.put("https://example.com/" + fault.name)
    check_redirect(site.pool, short_id, "https://example.com/" + fault.name)
    before = len(site.server.requests)
    site.server.plan("GetItem", fault, short_id=short_id)
    timed(check_redirect, site.pool, short_id,
          "https://example.com/" + fault.name)
    reads = site.sent(before, "GetItem", short_id)
    assert len(reads) == (1 if fault.name in NO_RETRY else 2)
    assert {r.body for r in reads} == {reads[0].body}


@pytest.mark.parametrize("fault, done", OUTCOMES)
def test_a_create_survives(site, fault, done):
    long_url = "https://example.com/" + uuid.uuid4().hex
    before = len(site.server.requests)
    site.server.plan("PutItem", fault, done)
    short_id = json.loads(timed(create, site.pool, long_url).body)["short_id"]
    stored = [i for i in site.items().values()
              if i["long_url"]["S"] == long_url]
    assert [i["short_id"]["S"] for i in stored] == [short_id]

    puts = site.sent(before, "PutItem")
    items = [p.json["Item"] for p in puts]
    assert all(i == items[0] for i in items)
    assert items[0]["short_id"]["S"] == short_id
    assert len(items[0]["creation_token"]["S"]) >= 16
    assert all(p.json["ConditionExpression"] for p in puts)
    reads = site.sent(before, "GetItem", short_id)
    assert all(r.json["ConsistentRead"] is True for r in reads)
    if fault.name in NO_RETRY:
        assert len(puts) == 1 and not reads
    elif fault.outcomes == NOT_DONE and fault.name != "close_before":
        # The store said that it did nothing: nothing has to be read back.
        assert len(puts) == 2 and not reads
    else:
        assert 2 <= len(puts) + len(reads) <= ATTEMPTS + 1
        assert len(puts) <= ATTEMPTS
        # What is forwarded late may be too late for the second one.
        assert not done or reads or fault.name == "hang_then_forward"


class Flush:
    """What happened to hits whose first UpdateItem met a fault: by the fault
    and its outcome, the hits of a link of its own, and its UpdateItems."""

    def __init__(self):
        self.hits, self.updates = {}, {}

    def of(self, site, plans):
        links = {plan: site.put() for plan in plans}
        for (fault, done), short_id in links.items():
            site.server.plan("UpdateItem", fault, done, short_id=short_id)
            check_redirect(site.pool, short_id)
        before = len(site.server.requests)
        site.flush()
        harness.wait_until(lambda: not site.pending(),
                           "all hits in the store", 60, 0.5)
        items = site.items()
        for plan, short_id in links.items():
            self.hits[plan] = int(items[short_id]["hits"]["N"])
            self.updates[plan] = site.sent(before, "UpdateItem", short_id)


@pytest.fixture(scope="module")
def flush(shared_site):
    """All faults in one flush, which is the only one; but a throttled answer
    ends a flush, and another one follows it."""
    made = Flush()
    plans = [(f, done) for f in ALONE for done in f.outcomes
             if f.name != "skewed_clock"]
    throttled = [p for p in plans if p[0] in THROTTLED.values()]
    made.of(shared_site, [p for p in plans if p not in throttled])
    made.of(shared_site, throttled)
    shared_site.server.clear()
    return made


@pytest.mark.parametrize(
    "fault, done", [p for p in OUTCOMES if "skewed" not in p.id])
def test_a_flush_of_hits_survives(flush, fault, done):
    assert flush.hits[fault, done] == 1
    updates = flush.updates[fault, done]
    assert len({u.body for u in updates}) == 1
    assert len(updates) == (1 if fault.name in NO_RETRY else 2)


# ---- What is tried again, and when ----------------------------------------


def refuse(kind, namespace=CORAL, status=400):
    return Fault(kind, NOT_DONE, 0,
                 lambda call: error(kind, "No.", status, namespace))


REFUSALS = ["ValidationException", "AccessDeniedException",
            "ResourceNotFoundException", "UnrecognizedClientException",
            "InvalidSignatureException", "SerializationException"]


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_refusal_is_not_tried_again(site, kind):
    short_id = site.put()
    before = len(site.server.requests)
    site.server.plan("GetItem", refuse(kind), short_id=short_id)
    check_unavailable(site.pool.request("GET", "/t/" + short_id))
    assert len(site.sent(before, "GetItem", short_id)) == 1
    site.server.plan("PutItem", refuse(kind))
    check_unavailable(create(site.pool, "https://example.com/refused"))
    [put] = site.sent(before, "PutItem")
    assert not site.sent(before, "GetItem", id_in(put))


def test_a_refused_flush_waits_for_the_next_one(site):
    def failed():
        return len(said(site.pool, "flushing hits failed"))

    short_id = site.put()
    before, failed_before = len(site.server.requests), failed()
    site.server.plan("UpdateItem", refuse("AccessDeniedException"),
                     short_id=short_id)
    check_redirect(site.pool, short_id)
    site.flush()
    harness.wait_until(lambda: failed() > failed_before, "the first flush")
    [first] = site.sent(before, "UpdateItem", short_id)
    site.flush()
    harness.wait_until(lambda: site.hits(short_id) == 1, "the hit")
    [_, second] = site.sent(before, "UpdateItem", short_id)
    assert second.body == first.body


def test_an_id_that_is_taken_is_drawn_again_and_not_tried_again(site):
    before = len(site.server.requests)
    site.server.plan("PutItem", refuse("ConditionalCheckFailedException"))
    short_id = make_link(site.pool, "https://example.com/second")
    first, second = site.sent(before, "PutItem")
    assert id_in(first) != id_in(second) == short_id
    for put in (first, second):
        assert not site.sent(before, "GetItem", id_in(put))
    assert id_in(first) not in site.items()


def test_an_item_that_is_alike_is_not_its_own(site):
    """Another one's item under the same id, the same in all but its token,
    while the answer to ours is lost."""
    before = len(site.server.requests)
    foreign = []

    def steal(call):
        item = {**call.request.json["Item"], "creation_token": {"S": "x" * 22}}
        site.client.put_item(TableName=site.table, Item=item)
        foreign.append(item)
        return HANG_UP

    site.server.plan("PutItem", Fault("steal", NOT_DONE, 0, steal))
    short_id = make_link(site.pool, "https://example.com/alike")
    assert short_id != foreign[0]["short_id"]["S"]
    items = site.items()
    assert items[foreign[0]["short_id"]["S"]] == foreign[0]
    assert items[short_id]["long_url"]["S"] == "https://example.com/alike"
    tokens = {p.json["Item"]["creation_token"]["S"]
              for p in site.sent(before, "PutItem")}
    assert items[short_id]["creation_token"]["S"] in tokens


def test_creations_have_tokens_of_their_own(site):
    before = len(site.server.requests)
    for _ in range(5):
        make_link(site.pool, "https://example.com/same")
    tokens = [p.json["Item"]["creation_token"]["S"]
              for p in site.sent(before, "PutItem")]
    assert len(set(tokens)) == 5


@pytest.mark.parametrize("name", ["http_500", "close_before", "reset",
                                  "truncated_body", "html_502"])
def test_no_request_is_made_more_than_three_times(site, name):
    short_id = site.put()
    before = len(site.server.requests)
    # HEAD is no hit, so that the janitor has no business with this link.
    assert site.pool.request("HEAD", "/t/" + short_id).status == 301
    [kept] = [r.connection for r in site.sent(before, "GetItem", short_id)]
    before = len(site.server.requests)
    site.server.always = FAULTS[name]
    check_unavailable(timed(site.pool.request, "GET", "/t/" + short_id))
    reads = site.sent(before, "GetItem", short_id)
    if name in ("close_before", "reset"):
        # A kept connection that turns out to be dead is no attempt: servers
        # close idle ones, and no request may fail by that.
        assert reads.pop(0).connection == kept
    assert len(reads) == ATTEMPTS
    check_unavailable(timed(create, site.pool, "https://example.com/no"))
    assert 1 <= len(site.sent(before, "PutItem")) <= ATTEMPTS


# A fault that passes, from a server that is there: the circuit stays closed.
PASSING = Fault("passing", NOT_DONE, 0, lambda call: error(
    "InternalServerError", "Try again.", 400))


def test_attempts_back_off_with_jitter(site):
    site.server.always = PASSING
    first, second = [], []
    for _ in range(16):
        short_id = uuid.uuid4().hex[:10]
        before = len(site.server.requests)
        check_unavailable(site.pool.request("GET", "/t/" + short_id))
        a, b, c = [r.at for r in site.sent(before, "GetItem", short_id)]
        first.append(b - a)
        second.append(c - b)
    # Drawn from 0 to 50 and from 0 to 100 ms, and what an attempt takes, which
    # is much on a busy machine: so the shorter ones tell.
    assert max(first) > 0.02 and max(second) > 0.035
    assert sorted(first)[4] < 0.15
    assert sorted(second)[4] < 0.25
    assert statistics.pstdev(second) > 0.005


def test_an_outage_is_not_multiplied(own_site):
    """Retries are paid for from a quota that failures do not fill up."""
    site = own_site()
    site.server.always = PASSING
    counts = []
    for _ in range(75):
        short_id = uuid.uuid4().hex[:10]
        before = len(site.server.requests)
        check_unavailable(site.pool.request("GET", "/t/" + short_id))
        counts.append(len(site.sent(before, "GetItem", short_id)))
    # 500 tokens, 5 for each retry: 50 requests with two of them.
    assert counts[:40] == [ATTEMPTS] * 40
    assert counts[-15:] == [1] * 15
    assert sum(counts) <= 75 + 100
    # Successes fill it again.
    site.server.always = None
    short_id = site.put()
    for _ in range(12):
        check_redirect(site.pool, short_id)
    site.server.plan("GetItem", PASSING, short_id=short_id)
    before = len(site.server.requests)
    check_redirect(site.pool, short_id)
    assert len(site.sent(before, "GetItem", short_id)) == 2


# All that DynamoDB and what is in front of it call throttling.
THROTTLED = {
    "provisioned": FAULTS["provisioned_throughput_exceeded"],
    "on-demand": FAULTS["throttling"],
    "account": FAULTS["request_limit_exceeded"],
    "status": Fault("status 429", NOT_DONE, 0, lambda call: Answer(
        b"slow down", 429, "text/plain")),
    "unavailable": refuse("ThrottlingException", status=503),
}


@pytest.mark.parametrize("kind", THROTTLED)
def test_throttled_requests_of_visitors_use_their_time(site, kind):
    """They are sent again until there are units, far more than three times,
    and throttling alone does not open the circuit."""
    short_id = site.put()
    fault = THROTTLED[kind]
    # Pauses of 50, 100, 200, 400 ... ms at most: 7 of one kind, and of the
    # others one more than other faults have.
    times = 7 if kind == "provisioned" else ATTEMPTS
    before = len(site.server.requests)
    site.server.plan("GetItem", fault, times=times, short_id=short_id)
    timed(check_redirect, site.pool, short_id)
    assert len(site.sent(before, "GetItem", short_id)) == times + 1
    site.server.plan("PutItem", fault, times=times)
    before = len(site.server.requests)
    made = json.loads(timed(create, site.pool, "https://e.com/").body)
    assert len(site.sent(before, "PutItem", made["short_id"])) == times + 1
    assert not said(site.pool, "store unavailable")


def test_throttled_for_longer_than_the_time_is_503(site):
    site.server.always = THROTTLED["provisioned"]
    begun = time.monotonic()
    check_unavailable(timed(create, site.pool, "https://e.com/"))
    assert time.monotonic() - begun > STORE_TIMEOUT / 2
    site.server.clear()
    make_link(site.pool)


# ---- Clock, credentials, consistency --------------------------------------


@pytest.mark.parametrize("kind", ["InvalidSignatureException",
                                  "RequestTimeTooSkewed"])
@pytest.mark.parametrize("offset", [CLOCK_SKEW, -CLOCK_SKEW])
def test_a_wrong_clock_is_corrected_once(site, offset, kind):
    server = site.server
    server.skew_error = kind
    short_id = site.put()
    check_redirect(site.pool, short_id)
    server.clock_offset = offset
    before = len(server.requests)
    check_redirect(site.pool, short_id)
    refused, served = site.sent(before, "GetItem", short_id)
    assert (refused.fault, served.fault) == (kind, None)
    # From now on it knows.
    before = len(server.requests)
    for _ in range(5):
        check_redirect(site.pool, short_id)
    created = make_link(site.pool)
    requests = site.sent(before, "GetItem", short_id) + site.sent(
        before, "PutItem", created)
    assert len(requests) == 6
    assert [r.fault for r in requests] == [None] * 6
    # And when the clock is right again, too.
    server.clock_offset = 0
    before = len(server.requests)
    check_redirect(site.pool, short_id)
    check_redirect(site.pool, short_id)
    assert len(site.sent(before, "GetItem", short_id)) == 3


def test_a_clock_that_is_hours_wrong_makes_no_links(own_site):
    """Neither in the first request of a worker, nor when it knows; and at once
    when the clock was set."""
    site = own_site()
    short_id = site.put()
    told = 0
    for offset in (7200, -7200):
        before = set(site.items())
        site.server.clock_offset = offset
        check_unavailable(create(site.pool, "https://example.com/first"))
        check_unavailable(create(site.pool, "https://example.com/second"))
        check_redirect(site.pool, short_id)
        check_unavailable(create(site.pool, "https://example.com/third"))
        lines = said(site.pool, "so the times of a new link", "error")
        assert "set it" in lines[-1]["msg"] and len(lines) > told
        told = len(lines)
        assert set(site.items()) == before
        site.server.clock_offset = 0
        created = make_link(site.pool)
        assert set(site.items()) == before | {created}
        slay(site.pool.workers()[0])
        wait_complete(site.pool)


def test_a_signature_that_is_wrong_by_the_right_clock_is_not_a_skew(site):
    short_id = site.put()
    before = len(site.server.requests)
    site.server.plan("GetItem", Fault(
        "no skew", NOT_DONE, 0, lambda call: site.server.forgery(
            call.request, "said so")), short_id=short_id)
    check_unavailable(site.pool.request("GET", "/t/" + short_id))
    assert len(site.sent(before, "GetItem", short_id)) == 1
    assert site.server.forged.pop()[0] == "said so"


def temporary(settings, keys):
    """The settings of a host whose keys come from a container's agent."""
    own = {k: v for k, v in settings.items()
           if k not in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    return {**own, **keys.settings()}


def test_keys_that_expire_are_fetched_anew(own_site):
    with RotatingKeys() as keys:
        site = own_site(keys)
        short_id = site.put()
        check_redirect(site.pool, short_id)
        assert keys.fetches >= 1
        for action in ("GetItem", "PutItem"):
            fetches = keys.fetches
            harness.wait_until(keys.may_expire, "keys that are not quite new")
            before = len(site.server.requests)
            site.server.plan(action, "expired_token")
            if action == "GetItem":
                check_redirect(site.pool, short_id)
            else:
                assert site.item(make_link(site.pool))
            refused, served = site.sent(before, action)
            assert refused.fault == "expired_token"
            assert served.fault is None
            assert refused.key_id != served.key_id == keys.current[0]
            assert keys.fetches == fetches + 1
            # The next ones take what was fetched.
            check_redirect(site.pool, short_id)
            assert keys.fetches == fetches + 1
            assert site.sent(before, "GetItem")[-1].key_id == served.key_id


def test_lasting_keys_that_expire_are_said_and_not_tried_again(site):
    short_id = site.put()
    before = len(site.server.requests)
    site.server.plan("GetItem", "expired_token", short_id=short_id)
    check_unavailable(site.pool.request("GET", "/t/" + short_id))
    assert len(site.sent(before, "GetItem", short_id)) == 1
    assert said(site.pool, "ExpiredTokenException")


def test_a_redirect_reads_at_half_the_price_first(site):
    short_id = site.put()
    before = len(site.server.requests)
    check_redirect(site.pool, short_id)
    [read] = site.sent(before, "GetItem", short_id)
    assert not read.json.get("ConsistentRead")
    nobody = uuid.uuid4().hex[:10]
    assert site.pool.request("GET", "/t/" + nobody).status == 404
    first, second = site.sent(before, "GetItem", nobody)
    assert not first.json.get("ConsistentRead")
    assert second.json["ConsistentRead"] is True


def test_a_new_link_is_there_at_once_though_replicas_are_behind(site):
    site.server.lag = 2
    try:
        short_id = make_link(site.pool)
        before = len(site.server.requests)
        check_redirect(site.pool, short_id)
        assert len(site.sent(before, "GetItem", short_id)) == 2
    finally:
        site.server.lag = 0


# ---- All at once ----------------------------------------------------------

HOSTS = 2
CLIENTS = 4  # of each host, which has as many workers
CREATES = 640
FOLLOWS_EACH = 2  # redirects for each create; and a HEAD for some
PROBABILITY = 0.2

# So long that only a request that hangs again and again comes near it.
PROOF_TIMEOUT = 6


class Host:
    """A web server and a pool, with directories of its own."""

    def __init__(self, build, settings):
        self.site = webservers.Site(build, "lighttpd", settings,
                                    workers=CLIENTS)

    @property
    def pool(self):
        return self.site.pool

    def ask(self, method, path, body=None, headers={}):
        """Status, Location and body of one request, and how long it took."""
        begun = time.monotonic()
        connection = http.client.HTTPConnection("127.0.0.1", self.site.port,
                                                timeout=30)
        try:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        return (response.status, response.headers, text,
                time.monotonic() - begun)

    def __enter__(self):
        self.site.start()
        return self

    def __exit__(self, *exception):
        self.site.__exit__(*exception)


class Books:
    """What all clients were answered."""

    def __init__(self, hosts):
        self.hosts = hosts
        self.lock = threading.Lock()
        self.created = {}        # {short_id: (long_url, short_url)}
        self.order = []          # the ids, as they came
        self.refused = set()     # long URLs of creates that got a 503
        self.followed = Counter()  # 301s of GETs, by id
        self.answers = Counter()   # (method, status)
        self.took = []
        self.errors = []

    def ask(self, host, method, path, *rest):
        status, headers, text, took = host.ask(method, path, *rest)
        with self.lock:
            self.answers[method, status] += 1
            self.took.append(took)
        if status == 503:
            # It waits, as it is told; else an open circuit, which a busy
            # machine may have, would refuse the rest of its requests at once.
            seconds = int(headers["Retry-After"])
            assert seconds > 0
            time.sleep(seconds)
        return status, headers, text

    def create(self, host, long_url):
        status, _, text = self.ask(
            host, "POST", "/create", json.dumps({"long_url": long_url}),
            {"Content-Type": "application/json"})
        assert status in (200, 503), (status, text)
        with self.lock:
            if status == 503:
                self.refused.add(long_url)
                return
            assert text.startswith(host.site.app_url), text
            short_id = text.removeprefix(host.site.app_url)
            assert short_id not in self.created, "an id for two"
            self.created[short_id] = (long_url, text)
            self.order.append(short_id)

    def choose(self, generator):
        """An id: one of the newest, or one of few that all want, or any."""
        with self.lock:
            if not self.order:
                return None
            kind = generator.random()
            if kind < 0.3:
                return generator.choice(self.order[-4:])
            if kind < 0.6:
                return generator.choice(self.order[:12])
            return generator.choice(self.order)

    def follow(self, host, short_id, method="GET"):
        status, headers, text = self.ask(host, method, "/t/" + short_id)
        assert status in (301, 503), (status, text)
        if status == 301:
            assert headers["Location"] == self.created[short_id][0]
            if method == "GET":
                with self.lock:
                    self.followed[short_id] += 1

    def client(self, number, seed):
        """One client: what it does depends on its number and the seed."""
        generator = random.Random("%d %d" % (seed, number))
        try:
            for i in range(CREATES // (HOSTS * CLIENTS)):
                home = self.hosts[number % HOSTS]
                self.create(home, "https://example.com/%d/%d?%s" % (
                    number, i, "x" * generator.randrange(40)))
                for k in range(FOLLOWS_EACH + (i % 5 == 0)):
                    short_id = self.choose(generator)
                    if short_id is not None:
                        self.follow(generator.choice(self.hosts), short_id,
                                    "GET" if k < FOLLOWS_EACH else "HEAD")
        except Exception as e:  # whatever it is, the test shall see it
            self.errors.append(e)

    def run(self, seed, meanwhile):
        """All clients; meanwhile(done) is called as often as it takes, with
        how much of their work is done, from 0 to 1."""
        threads = [threading.Thread(target=self.client, args=(n, seed))
                   for n in range(HOSTS * CLIENTS)]
        for thread in threads:
            thread.start()
        while any(t.is_alive() for t in threads):
            time.sleep(0.1)
            meanwhile((len(self.order) + len(self.refused)) / CREATES)
        if self.errors:
            raise AssertionError("%d clients failed: %r" % (
                len(self.errors), self.errors[0])) from self.errors[0]


def check_table(books, items):
    """What clients were told is what the table has."""
    for short_id, (long_url, short_url) in books.created.items():
        assert short_id in items, "%s is lost" % short_id
        assert items[short_id]["long_url"]["S"] == long_url
        assert items[short_id]["short_url"]["S"] == short_url
    # A create that was refused may have come to be, but once at most.
    stray = [i["long_url"]["S"] for short_id, i in items.items()
             if short_id not in books.created]
    assert len(set(stray)) == len(stray) <= len(books.refused)
    assert set(stray) <= books.refused
    wrong = {i: (books.followed[i], int(item["hits"]["N"]))
             for i, item in items.items()
             if books.followed[i] != int(item["hits"]["N"])}
    assert not wrong, "(301s, hits) by link: %r" % wrong


# What is not an attempt at a request: a refusal that says what to do better,
# and the loss of a connection that was kept from an earlier one.
REFUSED = {"skewed_clock", "InvalidSignatureException", "expired_token",
           "ExpiredTokenException", "provisioned_throughput_exceeded",
           "throttling", "request_limit_exceeded"}
LOST = {"close_before", "forward_then_close", "reset"}


def check_attempts(server):
    """What was tried again is what was asked for, and not too often."""
    puts, used = {}, set()
    for request in server.requests:
        kept = request.connection in used
        used.add(request.connection)
        if request.action == "PutItem":
            attempt = (request.fault not in REFUSED
                       and not (kept and request.fault in LOST))
            puts.setdefault(id_in(request), []).append(
                (request.body, attempt))
    assert all(len({body for body, _ in same}) == 1
               for same in puts.values())
    counts = Counter(sum(attempt for _, attempt in same)
                     for same in puts.values())
    assert max(counts) == ATTEMPTS, counts
    assert counts[2] > CREATES * PROBABILITY / 4, counts
    assert max(map(len, puts.values())) <= ATTEMPTS + 6


def check_faults(server, share):
    assert set(server.happened) == set(FAULTS)
    assert 0.15 < share < 0.25
    assert server.refused["InvalidSignatureException"] > 0
    server.check_signatures()


def test_thousands_of_requests_while_a_fifth_of_the_calls_fails(
        build, dynamodb_local, store_settings):
    settings = store_settings("dynamodb")
    for key in ("STATE_DIR", "RUNTIME_DIR"):
        del settings[key]
    with RotatingKeys() as keys, FaultServer(
            dynamodb_local.endpoint, keys, local.REGION, lag=0.3) as server:
        print("seed:", server.seed)
        settings = {**temporary(settings, keys), "CACHE_TTL": 1,
                    "HITS_FLUSH": 2, "STORE_TIMEOUT": PROOF_TIMEOUT,
                    "AWS_ENDPOINT_URL_DYNAMODB": server.endpoint}
        with Host(build, settings) as first, Host(build, settings) as second:
            books = Books([first, second])
            for i in range(2 * CLIENTS):
                books.create(books.hosts[i % 2], "https://example.com/w/%d" % i)
            server.probability = PROBABILITY
            to_slay = [0.3, 0.6]
            planned = set()

            def meanwhile(done):
                """The process that flushes the hits is killed. A fault that
                was not drawn in the first half is planned."""
                if to_slay and done > to_slay[0] and first.pool.janitors():
                    del to_slay[0]
                    slay(first.pool.janitors()[0])
                missing = set(FAULTS) - set(server.happened) - planned
                for name in missing if done > 0.5 else ():
                    if name != "expired_token" or keys.may_expire():
                        planned.add(name)
                        server.plan("PutItem", name)

            books.run(server.seed, meanwhile)
            assert not to_slay
            share = sum(server.happened.values()) / len(server.requests)
            server.clear()
            for host in books.hosts:
                # A new janitor flushes all at once; one whose flushes were
                # throttled takes long.
                wait_complete(host.pool)
                slay(host.pool.janitors()[0])
                harness.wait_until(lambda: pending(host.pool) == 0,
                                   "all hits in the store", 60, 0.5)
                wait_complete(host.pool)
            harness.wait_until(lambda: not server.active, "late requests", 30)
            report(books, server)

            # Three attempts make good nearly all of it.
            assert books.answers["GET", 301] > (
                FOLLOWS_EACH * CREATES * 0.97)
            assert len(books.created) > CREATES * 0.97
            assert max(books.took) < PROOF_TIMEOUT + MARGIN
            check_table(books, all_items(
                dynamodb_local.client(), settings["TABLE"]))
            check_faults(server, share)
            check_attempts(server)
            for host in books.hosts:
                text = host.site.logs()
                assert not [k for k in keys.known.values()
                            if k[1] in text or k[2] in text]


def report(books, server):
    """For whoever has to find out why it failed."""
    print("answers:", dict(books.answers))
    print("slowest:", sorted(books.took)[-10:])
    print("requests:", Counter(r.action for r in server.requests))
    print("faults:", dict(server.happened))
    print("refused:", dict(server.refused))
