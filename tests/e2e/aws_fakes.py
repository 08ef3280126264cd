"""What hands out and checks AWS's keys, on loopback ports: EC2 instance
metadata, the container endpoint, STS, and a front of DynamoDB that knows which
keys are valid now. Each records its requests, and fails as it is told to.

They answer as the real ones do: boto3 gets its keys from them, too (see
test_aws_credentials.py).
"""

import calendar
import json
import secrets
import threading
import time
import uuid
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from aws_wire import HANG_UP, Answer, Proxy

ROLE = "arn:aws:iam::123456789012:role/curt"

# How far a signature's date may be off, in seconds.
MAX_SKEW = 300


def iso_time(epoch):
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(epoch))


# ---- Keys -----------------------------------------------------------------


class Keys:
    """One set of keys. origin: which service gave it out."""

    def __init__(self, number, lifetime, origin):
        self.number = number
        self.origin = origin
        self.issued = time.time()
        self.lasting = lifetime is None
        kind = "AKIA" if self.lasting else "ASIA"
        self.id = "%s%016d" % (kind, number)
        # Base64 has these characters; each breaks what forgets to encode it.
        self.secret = "%s/+%s=" % (secrets.token_hex(10), secrets.token_hex(8))
        self.token = None
        self.expires = None
        self.revoked = False
        if not self.lasting:
            self.token = "IQoJb3JpZ2luX2Vj/+%s==" % "/".join(
                secrets.token_hex(60) for _ in range(6))
            # A whole second: that is what the documents can say.
            self.expires = int(self.issued + lifetime)

    def __repr__(self):
        return "<keys %d of %s>" % (self.number, self.origin)

    def left(self):
        """Seconds until they expire."""
        return self.expires - time.time()

    def is_expired(self, signed):
        """For a request signed at that time, in epoch seconds: how long a busy
        machine takes to deliver it does not matter."""
        return self.revoked or not self.lasting and self.expires <= signed

    def env(self):
        env = {"AWS_ACCESS_KEY_ID": self.id,
               "AWS_SECRET_ACCESS_KEY": self.secret}
        if self.token:
            env["AWS_SESSION_TOKEN"] = self.token
        return env

    def profile(self):
        """The lines of a profile."""
        return "".join("%s = %s\n" % (name.lower(), value)
                       for name, value in self.env().items())

    def document(self):
        """What a metadata or container service says."""
        return {"Code": "Success", "LastUpdated": iso_time(time.time()),
                "Type": "AWS-HMAC", "AccessKeyId": self.id,
                "SecretAccessKey": self.secret, "Token": self.token,
                "Expiration": iso_time(self.expires)}

    def process_output(self):
        """What a credential_process prints."""
        out = {"Version": 1, "AccessKeyId": self.id,
               "SecretAccessKey": self.secret}
        if self.token:
            out["SessionToken"] = self.token
            out["Expiration"] = iso_time(self.expires)
        return json.dumps(out)

    def needles(self):
        """Pieces of the secrets that no other text has by chance, and that
        are the same however a secret is escaped."""
        pieces = self.secret.strip("=").split("/+")
        if self.token:
            pieces += [piece.strip("+=") for piece in self.token.split("/")
                       if len(piece) > 40]
        return pieces


class Issuer:
    """Gives keys out, and remembers which are valid now."""

    def __init__(self):
        self.lock = threading.Lock()
        self.sets = []
        self.uses = []  # (keys or None, action, region, answer's type or None)

    def issue(self, lifetime=3600, origin="test"):
        """New keys; lifetime in seconds, None for lasting ones."""
        with self.lock:
            keys = Keys(len(self.sets) + 1, lifetime, origin)
            self.sets.append(keys)
            return keys

    def find(self, key_id):
        with self.lock:
            return next((k for k in self.sets if k.id == key_id), None)

    def revoke(self):
        """All temporary keys that were given out until now end here."""
        with self.lock:
            for keys in self.sets:
                keys.revoked = not keys.lasting

    def used(self):
        """The keys that were used with success, in the order of their first
        use."""
        with self.lock:
            found = []
            for keys, _, _, refusal in self.uses:
                if refusal is None and keys not in found:
                    found.append(keys)
            return found

    def refusals(self):
        with self.lock:
            return [use for use in self.uses if use[3] is not None]

    def needles(self):
        with self.lock:
            return [piece for keys in self.sets for piece in keys.needles()]

    def check(self, request, service, clock_offset=0):
        """(keys, region, error): error is None, or (type, message)."""
        signature = Signature.of(request)
        if signature is None:
            return None, None, ("IncompleteSignature", "no signature")
        keys = self.find(signature.key_id)
        return keys, signature.region, signature.error(
            request, keys, service, clock_offset)

    def front(self, request, forward):
        """A fault function of aws_wire.Proxy: DynamoDB's own checks. It does
        not forward itself, so that others can stand behind it."""
        keys, region, error = self.check(request, "dynamodb")
        with self.lock:
            self.uses.append((keys, request.action, region,
                              error and error[0]))
        if error is None:
            return None
        return Answer(json.dumps({
            "__type": "com.amazon.coral.service#" + error[0],
            "message": error[1]}), 400)


class Signature:
    """What an Authorization header says (Signature Version 4)."""

    def __init__(self, text):
        algorithm, _, rest = text.partition(" ")
        fields = dict(part.strip().split("=", 1) for part in rest.split(","))
        assert algorithm == "AWS4-HMAC-SHA256"
        (self.key_id, self.day, self.region, self.service,
         self.end) = fields["Credential"].split("/")
        self.headers = fields["SignedHeaders"].split(";")
        self.value = fields["Signature"]

    @classmethod
    def of(cls, request):
        """That of a request, None if there is none that can be read."""
        try:
            return cls(request.value("Authorization"))
        except (ValueError, KeyError, AssertionError):
            return None

    def error(self, request, keys, service, clock_offset):
        """Why it does not count: (type, message), None if it does."""
        tokens = request.values("X-Amz-Security-Token")
        if keys is None or tokens != ([keys.token] if keys.token else []):
            return ("UnrecognizedClientException",
                    "The security token included in the request is invalid.")
        wrong = self.fault(request, keys, service, clock_offset)
        if wrong is not None:
            return "InvalidSignatureException", wrong
        if keys.is_expired(date_of(request)):
            return ("ExpiredTokenException",
                    "The security token included in the request is expired")
        return None

    def fault(self, request, keys, service, clock_offset):
        """What is wrong with the signature itself, None if nothing is."""
        needed = {"host", "x-amz-date"} | {
            name.lower() for name, _ in request.headers
            if name.lower() in ("x-amz-security-token", "x-amz-target")}
        if not needed <= set(self.headers):
            return "%s must be signed" % sorted(needed - set(self.headers))
        for name in self.headers:
            if len(request.values(name)) != 1:
                return "'%s' is signed and is there %d times" % (
                    name, len(request.values(name)))
        if (self.day, self.service, self.end) != (
                request.value("X-Amz-Date")[:8], service, "aws4_request"):
            return "Credential should be scoped to correct service: '%s'." % (
                service)
        if self.value != self.by_botocore(request, keys):
            return ("The request signature we calculated does not match the "
                    "signature you provided.")
        if abs(time.time() + clock_offset - date_of(request)) > MAX_SKEW:
            return "Signature expired"
        return None

    def by_botocore(self, request, keys):
        auth = SigV4Auth(Credentials(keys.id, keys.secret, keys.token),
                         self.service, self.region)
        copy = AWSRequest(
            request.method, "http://%s%s" % (request.value("Host"),
                                             request.path),
            headers={name: request.value(name) for name in self.headers},
            data=request.body)
        copy.context["timestamp"] = request.value("X-Amz-Date")
        return auth.signature(
            auth.string_to_sign(copy, auth.canonical_request(copy)), copy)


def date_of(request):
    """When a request was signed, in epoch seconds."""
    return calendar.timegm(time.strptime(request.value("X-Amz-Date"),
                                         "%Y%m%dT%H%M%SZ"))


# ---- Services -------------------------------------------------------------

# A request is taken, and nothing is ever said: a host behind a hop limit, or
# one that hangs.
SILENCE = object()


class Service(Proxy):
    """A server that answers by itself. trouble: None, or what every request
    gets instead: an Answer, HANG_UP, SILENCE, or a function of the request
    that returns one of these or None. delay: seconds before each answer."""

    def __init__(self):
        super().__init__(fault=self.serve)
        self.trouble = None
        self.delay = 0.0
        self.over = threading.Event()

    def serve(self, request, forward):
        if self.delay:
            self.over.wait(self.delay)
        trouble = self.trouble
        if callable(trouble):
            trouble = trouble(request)
        if trouble is SILENCE:
            self.over.wait()
            return HANG_UP
        return self.answer(request) if trouble is None else trouble

    def answer(self, request):
        raise NotImplementedError

    def paths(self):
        with self.lock:
            return ["%s %s" % (r.method, r.path) for r in self.requests]

    def count(self, line):
        """How often a request was made, such as "PUT /latest/api/token"."""
        return self.paths().count(line)

    def __exit__(self, *exception):
        self.over.set()
        super().__exit__(*exception)


def text_answer(text, status=200, headers=()):
    return Answer(text, status, "text/plain", headers=headers)


def json_answer(value, status=200):
    return Answer(json.dumps(value), status, "application/json")


class Imds(Service):
    """EC2 instance metadata, version 2 only. issue: gives the keys of the
    role; role: its name, None for an instance without one; secret: makes what
    its tokens consist of."""

    TOKEN = "/latest/api/token"
    ROLES = "/latest/meta-data/iam/security-credentials/"
    REGION = "/latest/meta-data/placement/region"
    TTL = "x-aws-ec2-metadata-token-ttl-seconds"

    def __init__(self, issue=None, role="curt-role", region="eu-west-1",
                 secret=lambda: secrets.token_hex(20)):
        super().__init__()
        self.secret = secret
        self.issue = issue
        self.role = role
        self.region = region
        self.tokens = set()

    def env(self):
        return {"AWS_EC2_METADATA_DISABLED": "false",
                "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.endpoint}

    def fetches(self):
        """How often the keys were asked for."""
        return self.count("GET " + self.ROLES + str(self.role))

    def answer(self, request):
        if request.path == self.TOKEN:
            return self.token_answer(request)
        tokens = request.values("X-aws-ec2-metadata-token")
        if request.method != "GET":
            return text_answer("", 405)
        if len(tokens) != 1 or tokens[0] not in self.tokens:
            return text_answer("", 401)
        if request.path == self.REGION and self.region:
            return text_answer(self.region)
        if self.role and request.path == self.ROLES:
            return text_answer(self.role)
        if self.role and request.path == self.ROLES + self.role:
            return text_answer(json.dumps(self.issue().document(), indent=2))
        return text_answer("<html>404 - Not Found</html>", 404)

    def token_answer(self, request):
        ttl = request.values(self.TTL)
        if request.method != "PUT":
            return text_answer("", 405)
        if request.values("X-Forwarded-For"):
            return text_answer("", 403)
        if len(ttl) != 1 or not ttl[0].isdigit() or (
                not 1 <= int(ttl[0]) <= 21600):
            return text_answer("", 400)
        token = "AQAEA%s==" % self.secret()
        self.tokens.add(token)
        return text_answer(token, headers=[(self.TTL, ttl[0])])


class Container(Service):
    """The endpoint of ECS and of EKS Pod Identity. authorization: the header
    that it wants, None for none."""

    PATH = "/v2/credentials/5a2f?x=1"

    def __init__(self, issue, authorization=None):
        super().__init__()
        self.issue = issue
        self.authorization = authorization

    def env(self):
        return {"AWS_CONTAINER_CREDENTIALS_FULL_URI":
                self.endpoint + self.PATH}

    def answer(self, request):
        if request.method != "GET" or request.path != self.PATH:
            return json_answer({"code": "NotFound"}, 404)
        wanted = [self.authorization] if self.authorization else []
        if request.values("Authorization") != wanted:
            return json_answer({"code": "AccessDeniedException",
                                "message": "wrong authorization"}, 403)
        document = self.issue().document()
        return json_answer({"RoleArn": ROLE, **{
            name: document[name] for name in (
                "AccessKeyId", "SecretAccessKey", "Token", "Expiration")}})


class Sts(Service):
    """AWS Security Token Service. issue: gives the keys of a role; issuer:
    knows those that sign AssumeRole; tokens: the web identity tokens that
    count; external_id: what AssumeRole must come with."""

    NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"

    def __init__(self, issuer, issue):
        super().__init__()
        self.issuer = issuer
        self.issue = issue
        self.tokens = set()
        self.roles = {ROLE}
        self.external_id = None
        self.calls = []  # the parameters of each request
        self.regions = []  # of the signatures of each AssumeRole

    def env(self):
        return {"AWS_ENDPOINT_URL_STS": self.endpoint}

    def answer(self, request):
        query = urlsplit(request.path).query
        text = request.body.decode() if request.method == "POST" else query
        parameters = {name: values[-1] for name, values in parse_qs(
            text, keep_blank_values=True).items()}
        with self.lock:
            self.calls.append(parameters)
        action = parameters.get("Action", "")
        if parameters.get("Version") != "2011-06-15":
            return sts_error("NoSuchVersion", "no such version")
        if action not in ("AssumeRole", "AssumeRoleWithWebIdentity"):
            return sts_error("InvalidAction", "no such action")
        if len(parameters.get("RoleSessionName", "")) < 2:
            return sts_error("ValidationError", "RoleSessionName is too short")
        error = (self.check_keys(request, parameters)
                 if action == "AssumeRole"
                 else self.check_token(request, parameters))
        if error is not None:
            return error
        return self.role_answer(action, parameters, self.issue())

    def check_keys(self, request, parameters):
        _, region, error = self.issuer.check(request, "sts", self.clock_offset)
        self.regions.append(region)
        if error is not None and error[0] == "ExpiredTokenException":
            return sts_error("ExpiredToken", error[1], 403)
        if error is not None and error[0] == "InvalidSignatureException":
            return sts_error("SignatureDoesNotMatch", error[1], 403)
        if error is not None:
            return sts_error("InvalidClientTokenId", error[1], 403)
        if (parameters.get("RoleArn") not in self.roles
                or parameters.get("ExternalId") != self.external_id):
            return self.denied("sts:AssumeRole")
        return None

    def check_token(self, request, parameters):
        if request.values("Authorization"):
            return sts_error("SignatureDoesNotMatch", "unsigned, please", 403)
        if parameters.get("RoleArn") not in self.roles:
            return self.denied("sts:AssumeRoleWithWebIdentity")
        if parameters.get("WebIdentityToken") not in self.tokens:
            return sts_error("InvalidIdentityToken",
                             "No OpenIDConnect provider found in your account")
        return None

    @staticmethod
    def denied(action):
        return sts_error("AccessDenied",
                         "Not authorized to perform " + action, 403)

    def role_answer(self, action, parameters, keys):
        fields = [("AccessKeyId", keys.id), ("SecretAccessKey", keys.secret),
                  ("SessionToken", keys.token),
                  ("Expiration", iso_time(keys.expires))]
        arn = "arn:aws:sts::123456789012:assumed-role/curt/" + (
            parameters["RoleSessionName"])
        return Answer(
            '<%sResponse xmlns="%s">\n  <%sResult>\n'
            "    <AssumedRoleUser>\n"
            "      <AssumedRoleId>AROAEXAMPLE:%s</AssumedRoleId>\n"
            "      <Arn>%s</Arn>\n    </AssumedRoleUser>\n"
            "    <Credentials>\n%s    </Credentials>\n  </%sResult>\n"
            "  <ResponseMetadata>\n    <RequestId>%s</RequestId>\n"
            "  </ResponseMetadata>\n</%sResponse>\n" % (
                action, self.NAMESPACE, action,
                escape(parameters["RoleSessionName"]), escape(arn),
                "".join("      <%s>%s</%s>\n" % (name, escape(value), name)
                        for name, value in fields),
                action, uuid.uuid4(), action),
            kind="text/xml")


def sts_error(code, message, status=400):
    return Answer(
        '<ErrorResponse xmlns="%s">\n  <Error>\n'
        "    <Type>%s</Type>\n    <Code>%s</Code>\n"
        "    <Message>%s</Message>\n  </Error>\n"
        "  <RequestId>%s</RequestId>\n</ErrorResponse>\n" % (
            Sts.NAMESPACE, "Sender" if status < 500 else "Receiver", code,
            escape(message), uuid.uuid4()), status, "text/xml")
