"""DynamoDB as an enemy would run it: a server in front of DynamoDB Local that
is as strict as AWS about who asks and when, and that fails in every way that a
service and the network in front of it can, one fault at a time or drawn at
random.

Every request is checked by botocore's signer before anything else happens to
it: its signature, its session token, its date. One that AWS would not accept
is answered as AWS does, and kept in FaultServer.forged for the test to see.
"""

import datetime
import json
import os
import random
import re
import secrets
import select
import threading
import time
import zlib
from collections import Counter
from http.server import BaseHTTPRequestHandler

from aws_wire import HANG_UP, RESET, Answer, Proxy, Server

# The seed of every random choice here; without it each run draws its own.
SEED_VARIABLE = "CURT_FAULT_SEED"

# How far X-Amz-Date may be from the server's clock, in seconds.
CLOCK_WINDOW = 300

# How far the clock is off when it is, and for how long a hang lasts at most.
CLOCK_SKEW = 1200
HANG_SECONDS = 30

# Temporary keys are good for so many seconds at least. (AWS's are good for 15
# minutes; a client may believe that fresh ones are not refused at once.)
KEYS_LIVE = 2

DYNAMODB = "com.amazonaws.dynamodb.v20120810#"
CORAL = "com.amazon.coral.service#"
HTML = (b"<html><head><title>Sorry</title></head>\r\n"
        b"<body><h1>We are sorry</h1></body></html>\r\n")


def id_in(request):
    """The short_id of the item that a request is about, None if there is no
    such item."""
    item = request.json.get("Key") or request.json.get("Item") or {}
    return item.get("short_id", {}).get("S")


def seed_from_environment():
    text = os.environ.get(SEED_VARIABLE)
    return int(text) if text else secrets.randbits(32)


def error(kind, message, status=400, namespace=DYNAMODB):
    """An error as DynamoDB answers it, with its checksum."""
    return with_crc32(Answer(json.dumps({"__type": namespace + kind,
                                         "message": message}), status))


def with_crc32(answer, body=None):
    """The answer with x-amz-crc32; body: what the checksum is of, where that
    is not what is sent."""
    value = zlib.crc32(answer.body if body is None else body)
    answer.headers = [*answer.headers, ("x-amz-crc32", str(value))]
    return answer


# ---- Credentials ----------------------------------------------------------


class Keys:
    """The credential sets that the service knows. A set: access key id, secret
    and session token (None: lasting keys)."""

    def __init__(self, *sets):
        self.known = {s[0]: s for s in sets}
        self.expired = set()
        self.lock = threading.Lock()

    @classmethod
    def of(cls, settings):
        """The keys that curt's settings have."""
        return cls((settings["AWS_ACCESS_KEY_ID"],
                    settings["AWS_SECRET_ACCESS_KEY"],
                    settings.get("AWS_SESSION_TOKEN")))

    def expire(self, key_id):
        """That set is refused from now on; lasting keys are not."""

    def may_expire(self):
        """Whether it is time for it."""
        return True


class RotatingKeys(Keys):
    """Temporary sets, one in force at a time, and the endpoint where a host
    gets it, as a container's agent has it. Use as a context manager."""

    def __init__(self):
        super().__init__()
        self.fetches = 0
        self.fetched = time.monotonic()
        self.server = Server(("127.0.0.1", 0), self.Handler)
        self.server.owner = self
        self.thread = threading.Thread(target=self.server.serve_forever,
                                       kwargs={"poll_interval": 0.05})
        self.authorization = secrets.token_hex(16)
        self.rotate()

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

        def do_GET(self):
            status, body = self.server.owner.answer(
                self.path, self.headers.get("Authorization"))
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    def rotate(self):
        self.current = ("ASIA" + secrets.token_hex(8).upper(),
                        secrets.token_urlsafe(30),
                        secrets.token_urlsafe(400) + "/+==")
        self.known[self.current[0]] = self.current

    def expire(self, key_id):
        with self.lock:
            self.expired.add(key_id)
            if self.current[0] == key_id:
                self.rotate()

    def may_expire(self):
        return time.monotonic() - self.fetched > KEYS_LIVE

    def answer(self, path, authorization):
        if path != "/credentials" or authorization != self.authorization:
            return 403, b"{}"
        with self.lock:
            self.fetches += 1
            self.fetched = time.monotonic()
            key_id, secret, token = self.current
        end = (datetime.datetime.now(datetime.timezone.utc)
               + datetime.timedelta(hours=1))
        return 200, json.dumps({
            "AccessKeyId": key_id, "SecretAccessKey": secret, "Token": token,
            "Expiration": end.strftime("%Y-%m-%dT%H:%M:%SZ")}).encode()

    def settings(self):
        """What curt needs to know to ask here."""
        return {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI":
                "http://127.0.0.1:%d/credentials"
                % self.server.server_address[1],
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": self.authorization,
        }

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


# ---- Faults ---------------------------------------------------------------


class Call:
    """One request to which a fault happens. carried_out: whether the table
    gets it, where the fault leaves that open."""

    def __init__(self, server, request, forward, carried_out):
        self.server = server
        self.request = request
        self.forward = forward
        self.carried_out = carried_out

    def outcome(self):
        """Does what is to be done, however it is answered then."""
        if self.carried_out:
            return self.forward()
        return None

    def wait_gone(self, seconds):
        """Waits until the client gives up, at most so long."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and not self.server.stopping.is_set():
            if select.select([self.request.socket], [], [], 0.1)[0]:
                return


class Fault:
    """name: as in FAULTS. outcomes: whether the request may have been carried
    out (True), or not (False), or either. weight: its share of the random
    ones. happen: a function of the call that returns what is answered."""

    def __init__(self, name, outcomes, weight, happen):
        self.name = name
        self.outcomes = outcomes
        self.weight = weight
        self.happen = happen

    def __repr__(self):
        return self.name


FAULTS = {}
NOT_DONE, DONE, EITHER = (False,), (True,), (False, True)


def fault(outcomes, weight=1.0):
    def register(happen):
        FAULTS[happen.__name__] = Fault(happen.__name__, outcomes, weight,
                                        happen)
        return happen
    return register


@fault(EITHER)
def http_500(call):
    call.outcome()
    return Answer(b"", 500)


@fault(EITHER)
def http_502(call):
    call.outcome()
    return Answer(b"", 502)


@fault(EITHER)
def http_503(call):
    call.outcome()
    return error("ServiceUnavailable", "Service is unavailable", 503, CORAL)


@fault(EITHER)
def http_504(call):
    call.outcome()
    return Answer(b"upstream request timeout", 504, "text/plain")


@fault(EITHER)
def internal_server_error(call):
    call.outcome()
    return error("InternalServerError", "The request processing has failed "
                 "because of an unknown error, exception or failure.", 500)


@fault(NOT_DONE)
def provisioned_throughput_exceeded(call):
    return error("ProvisionedThroughputExceededException",
                 "The level of configured provisioned throughput for the "
                 "table was exceeded.")


@fault(NOT_DONE)
def throttling(call):
    return error("ThrottlingException", "Rate exceeded", 400,
                 "com.amazon.coral.availability#")


@fault(NOT_DONE)
def request_limit_exceeded(call):
    return error("RequestLimitExceeded",
                 "Throughput exceeds the current throughput limit for your "
                 "account.")


@fault(NOT_DONE)
def transaction_in_progress(call):
    return error("TransactionInProgressException",
                 "The transaction with the given request token is already in "
                 "progress")


@fault(DONE)
def delay(call):
    time.sleep(call.server.draw(lambda r: r.uniform(0.2, 0.6)))
    return with_crc32(call.forward())


@fault(EITHER, weight=0.25)
def hang(call):
    """Nothing comes until the client gives up."""
    call.outcome()
    call.wait_gone(HANG_SECONDS)
    return HANG_UP


@fault(DONE, weight=0.15)
def hang_then_forward(call):
    """The request was on its way all the time, longer than anybody waited."""
    call.wait_gone(HANG_SECONDS)
    call.forward()
    return HANG_UP


@fault(NOT_DONE)
def close_before(call):
    return HANG_UP


@fault(DONE)
def forward_then_close(call):
    call.forward()
    return HANG_UP


@fault(EITHER)
def reset(call):
    call.outcome()
    return RESET


@fault(DONE)
def truncated_body(call):
    """The connection ends in the middle of the body."""
    answer = with_crc32(call.forward())
    whole = answer.body
    answer.body = whole[:len(whole) // 2]
    answer.length = len(whole)
    answer.cut = True
    return answer


@fault(DONE)
def flipped_byte(call):
    """One bit is another one, where possible so that the body is still JSON:
    the checksum alone knows."""
    answer = call.forward()
    whole = answer.body
    answer.body = call.server.draw(lambda r: flip(whole, r))
    return with_crc32(answer, whole)


def flip(body, generator):
    url = re.search(rb'"long_url":\{"S":"[^"]*', body)
    places = [m.start() for m in re.finditer(rb"[A-Za-z0-9]", body)]
    if url and generator.random() < 0.5:
        places = [url.end() - 1]
    generator.shuffle(places)
    for place in places:
        changed = (body[:place] + bytes([body[place] ^ 1])
                   + body[place + 1:])
        try:
            if json.loads(changed) != json.loads(body):
                return changed
        except ValueError:
            continue
    return bytes([body[0] ^ 1]) + body[1:]


@fault(EITHER)
def html_200(call):
    """A captive portal, or a proxy that means well."""
    call.outcome()
    return Answer(HTML, 200, "text/html")


@fault(EITHER)
def html_502(call):
    call.outcome()
    return Answer(HTML, 502, "text/html")


@fault(EITHER)
def empty_200(call):
    call.outcome()
    return Answer(b"", 200)


@fault(NOT_DONE, weight=0.3)
def expired_token(call):
    call.server.keys.expire(call.request.key_id)
    return token_expired()


@fault(NOT_DONE, weight=0.15)
def skewed_clock(call):
    """From now on the server's clock is another one, and the request is, by
    that clock, too old or not valid yet."""
    server = call.server
    now = server.clock_offset
    server.clock_offset = server.draw(lambda r: r.choice(
        [o for o in (0, CLOCK_SKEW, -CLOCK_SKEW)
         if abs(o - now) > CLOCK_WINDOW]))
    return server.refused_date(call.request)


def token_expired():
    return error("ExpiredTokenException",
                 "The security token included in the request is expired", 400,
                 CORAL)


# ---- The server -----------------------------------------------------------


class FaultServer(Proxy):
    """A Proxy with the checks and the faults of this module.

    keys: who may ask. probability: of a fault to happen to a request, drawn
    from FAULTS by weight. seed: of all draws; see seed_from_environment().
    lag: for so many seconds after it was written an item is not there for
    reads that are not consistent, as on a replica that is behind.
    """

    def __init__(self, upstream, keys, region, probability=0.0, seed=None,
                 lag=0.0):
        super().__init__(upstream, self.answer)
        self.keys = keys
        self.region = region
        self.probability = probability
        self.seed = seed_from_environment() if seed is None else seed
        self.lag = lag
        self.random = random.Random(self.seed)
        self.happened = Counter()  # by the fault's name
        self.refused = Counter()   # by the error's type
        self.forged = []           # what was wrong with them
        self.skew_error = "InvalidSignatureException"
        self.always = None         # a fault for every request
        self.planned = []          # [(action, id, fault, carried_out)]
        self.written = {}          # {short_id: when}
        self.active = 0            # requests that are not answered yet
        self.stopping = threading.Event()

    def __exit__(self, *exception):
        self.stopping.set()
        super().__exit__(*exception)

    def draw(self, choose):
        """choose(the generator), for one thread at a time."""
        with self.lock:
            return choose(self.random)

    # -- What a test asks for

    def plan(self, action, name, carried_out=None, times=1, short_id=None):
        """That fault happens to the next requests of one action (about one
        link)."""
        chosen = FAULTS[name] if isinstance(name, str) else name
        if carried_out is None:
            carried_out = chosen.outcomes[0]
        assert carried_out in chosen.outcomes
        with self.lock:
            self.planned += [(action, short_id, chosen, carried_out)] * times

    def clear(self):
        """No fault from now on, and the right clock."""
        with self.lock:
            self.planned.clear()
        self.always = None
        self.probability = 0.0
        self.clock_offset = 0

    def since(self, number):
        """The requests after the first `number` of them."""
        with self.lock:
            return self.requests[number:]

    def check_signatures(self):
        assert not self.forged, self.forged[:3]

    # -- What happens to a request

    def answer(self, request, forward):
        with self.lock:
            self.active += 1
        try:
            return self.meet(request, forward)
        finally:
            with self.lock:
                self.active -= 1

    def meet(self, request, forward):
        refusal = self.refusal(request)
        if refusal is not None:
            return refusal
        chosen, carried_out = self.choose(request)

        def carry_out():
            return self.carry_out(request, forward)

        if chosen is None:
            return with_crc32(carry_out())
        request.fault = chosen.name
        with self.lock:
            self.happened[chosen.name] += 1
        return chosen.happen(Call(self, request, carry_out, carried_out))

    def choose(self, request):
        """The fault that happens to a request, or None."""
        with self.lock:
            for i, (action, short_id, chosen,
                    carried_out) in enumerate(self.planned):
                if (action == request.action
                        and short_id in (None, id_in(request))):
                    del self.planned[i]
                    return chosen, carried_out
            chosen = self.always
            if chosen is None and self.random.random() < self.probability:
                everything = [f for f in FAULTS.values()
                              if f.name != "expired_token"
                              or self.keys.may_expire()]
                [chosen] = self.random.choices(
                    everything, [f.weight for f in everything])
            if chosen is None:
                return None, None
            return chosen, self.random.choice(chosen.outcomes)

    def carry_out(self, request, forward):
        body = request.json
        if (self.lag and request.action == "GetItem"
                and not body.get("ConsistentRead")
                and time.monotonic() < self.lag + self.written.get(
                    body["Key"]["short_id"]["S"], 0)):
            return Answer(b"{}")
        answer = forward()
        if request.action == "PutItem" and answer.status == 200:
            self.written[body["Item"]["short_id"]["S"]] = time.monotonic()
        return answer

    # -- Who asks, and when

    def refusal(self, request):
        """What AWS answers to a request that it does not accept, or None."""
        request.fault = None
        request.key_id = None
        try:
            found = self.check(request)
        except (ValueError, KeyError, AttributeError) as e:
            found = self.forgery(request, "no AWS request: %r" % e)
        if found is not None:
            kind = found.body.decode().partition("#")[2].partition('"')[0]
            request.fault = kind
            with self.lock:
                self.refused[kind] += 1
        return found

    def forgery(self, request, what):
        with self.lock:
            self.forged.append((what, request.headers, request.body[:500]))
        return error("InvalidSignatureException",
                     "The request signature we calculated does not match the "
                     "signature you provided. Check your AWS Secret Access "
                     "Key and signing method.", 400, CORAL)

    def check(self, request):
        authorization = request.value("Authorization")
        scope = re.fullmatch(
            r"AWS4-HMAC-SHA256 Credential=(\w+)/(\d{8})/([a-z0-9-]+)"
            r"/dynamodb/aws4_request, ?SignedHeaders=([a-z0-9;-]+), ?"
            r"Signature=[0-9a-f]{64}", authorization)
        if scope is None:
            return self.forgery(request, "authorization")
        request.key_id, day, region, signed = scope.groups()
        if region != self.region:
            return self.forgery(request, "region " + region)
        if request.key_id not in self.keys.known:
            return self.forgery(request, "unknown key")
        _, secret, token = self.keys.known[request.key_id]
        must = {"host", "x-amz-date", "x-amz-target", "content-type"}
        if token is not None:
            must.add("x-amz-security-token")
        if not must <= set(signed.split(";")):
            return self.forgery(request, "signed headers " + signed)
        if day != request.value("X-Amz-Date")[:8]:
            return self.forgery(request, "day of the scope")
        if request.values("X-Amz-Security-Token") != ([token] if token
                                                      else []):
            return self.forgery(request, "session token of another key")
        if authorization != request.authorization_by_botocore({
                "AWS_ACCESS_KEY_ID": request.key_id,
                "AWS_SECRET_ACCESS_KEY": secret, "AWS_REGION": region}):
            return self.forgery(request, "signature")
        if request.key_id in self.keys.expired:
            return token_expired()
        return self.refused_date(request)

    def clock(self):
        return datetime.datetime.fromtimestamp(
            time.time() + self.clock_offset, datetime.timezone.utc)

    def refused_date(self, request):
        """What the server says to a request that is too old, or comes from
        the future; None if it is neither."""
        form = "%Y%m%dT%H%M%SZ"
        text = request.value("X-Amz-Date")
        date = datetime.datetime.strptime(text, form).replace(
            tzinfo=datetime.timezone.utc)
        now = self.clock()
        ahead = (date - now).total_seconds()
        if abs(ahead) <= CLOCK_WINDOW:
            return None
        if self.skew_error == "RequestTimeTooSkewed":
            return error(self.skew_error,
                         "The difference between the request time and the "
                         "current time is too large.", 403, CORAL)
        limit = now + datetime.timedelta(
            seconds=CLOCK_WINDOW if ahead > 0 else -CLOCK_WINDOW)
        return error(self.skew_error, "Signature %s: %s is now %s than %s "
                     "(%s %s 5 min.)" % (
                         "not yet current" if ahead > 0 else "expired", text,
                         "later" if ahead > 0 else "earlier",
                         limit.strftime(form), now.strftime(form),
                         "+" if ahead > 0 else "-"), 400, CORAL)
