"""curt on AWS, as far as a test can tell: DynamoDB Local behind a front that
judges every signature, the services that hand out keys, and a home directory
with shared files. `cloud` is the fixture."""

import secrets
import uuid
from contextlib import ExitStack
from pathlib import Path

import pytest

import harness
from aws_fakes import ROLE, Container, Imds, Issuer, Sts
from aws_wire import Proxy
from proctools import EnvPool

KNOWN_ID, KNOWN_URL = "known01", "https://example.com/known"


class Cloud:
    """A table behind the front, and whichever services a test starts. curt
    gets its whole configuration from the environment, and a home of its own;
    nothing of this machine's AWS set-up reaches it."""

    def __init__(self, build, workdir, local, table):
        self.build = build
        self.workdir = workdir
        self.local = local
        self.table = table
        self.issuer = Issuer()
        self.more_needles = []
        self.stack = ExitStack()
        self.front = self.start(Proxy(local.endpoint, self.issuer.front))
        self.home = workdir / "home"
        (self.home / ".aws").mkdir(parents=True)
        self.outputs = []

    def start(self, service):
        return self.stack.enter_context(service)

    def issuing(self, origin, lifetime=3600):
        """A function that gives out new keys each time."""
        return lambda: self.issuer.issue(lifetime, origin)

    def imds(self, lifetime=3600, **options):
        return self.start(Imds(self.issuing("imds", lifetime),
                               secret=self.secret, **options))

    def container(self, lifetime=3600, authorization=None):
        return self.start(Container(self.issuing("container", lifetime),
                                    authorization))

    def sts(self, lifetime=3600):
        return self.start(Sts(self.issuer, self.issuing("sts", lifetime)))

    def web_identity(self, sts, token_file="token", token=None):
        """Settings with a token that sts accepts, in a file."""
        token = token or self.secret("eyJhbGciOiJSUzI1NiJ9.")
        sts.tokens = {token}
        path = self.workdir / token_file
        self.write(path, token)
        return {**sts.env(), "AWS_ROLE_ARN": ROLE,
                "AWS_WEB_IDENTITY_TOKEN_FILE": str(path)}

    def secret(self, begin=""):
        """Another secret, which must not show up anywhere either."""
        piece = secrets.token_hex(20)
        self.more_needles.append(piece)
        return begin + piece

    def needles(self):
        return self.issuer.needles() + self.more_needles

    @staticmethod
    def write(path, text):
        """Replaces a private file, at once."""
        path = Path(path)
        new = path.with_name(path.name + ".new")
        new.touch(0o600)
        new.write_text(text)
        new.rename(path)
        return path

    def aws_file(self, name, text):
        return self.write(self.home / ".aws" / name, text)

    def settings(self, **more):
        found = {
            "STORE": "dynamodb",
            "TABLE": self.table,
            "APP_URL": "http://127.0.0.1/t/",
            "AWS_REGION": "eu-west-1",
            "AWS_ENDPOINT_URL_DYNAMODB": self.front.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            # A busy machine must not look like a service that is unavailable.
            "STORE_TIMEOUT": "15",
            **more}
        return {n: str(v) for n, v in found.items() if v is not None}

    def tool(self, *args, **settings):
        """Runs the tool; settings are keys of the configuration."""
        env = harness.child_env(self.workdir, {
            "CURT_CONF": "/dev/null", "HOME": str(self.home),
            "STATE_DIR": str(harness.make_dir(self.workdir / "state")),
            "RUNTIME_DIR": str(harness.make_dir(self.workdir / "run")),
            **self.settings(**settings)})
        done = harness.run_tool(self.build, self.workdir, env, (), args,
                                check=False)
        self.check_clean(done.stdout + done.stderr, "curt " + " ".join(args))
        return done

    def ok(self, **settings):
        """A call of DynamoDB that must go well; the keys that signed it."""
        before = len(self.issuer.uses)
        done = self.tool("get", KNOWN_ID, **settings)
        assert done.returncode == 0, done.stderr
        assert KNOWN_URL in done.stdout
        [(keys, action, _, refusal)] = self.issuer.uses[before:]
        assert (action, refusal) == ("GetItem", None)
        return keys

    def fails(self, status, **settings):
        """A call that fails for want of keys, DynamoDB unasked; the error."""
        before = len(self.issuer.uses)
        done = self.tool("get", KNOWN_ID, **settings)
        assert (done.returncode, done.stdout) == (status, ""), done.stderr
        assert self.issuer.uses[before:] == []
        assert done.stderr.startswith("curt: ")
        assert done.stderr.count("\n") == 1, done.stderr
        return done.stderr

    def check_clean(self, text, where):
        """No secret is in text."""
        data = text if isinstance(text, bytes) else text.encode()
        for needle in self.needles():
            assert needle.encode() not in data, "a secret in " + where

    def pool(self, workers=4, cls=EnvPool, **settings):
        settings.setdefault("CACHE_SIZE", "0")
        return cls(self.build, self.settings(**settings), workers=workers,
                   environment={"HOME": str(self.home)})

    def close(self):
        self.stack.close()


@pytest.fixture(scope="module")
def known_table(dynamodb_local):
    """A table with one link in it."""
    name = dynamodb_local.create_table("links-" + uuid.uuid4().hex[:12])
    dynamodb_local.client().put_item(TableName=name, Item={
        "short_id": {"S": KNOWN_ID}, "long_url": {"S": KNOWN_URL},
        "short_url": {"S": "http://127.0.0.1/t/" + KNOWN_ID},
        "created_at": {"S": "2018-11-29T00:05:02"}, "hits": {"N": "0"},
        "analytics": {"M": {}}})
    return name


@pytest.fixture
def cloud(build, tmp_path, dynamodb_local, known_table):
    made = Cloud(build, tmp_path, dynamodb_local, known_table)
    yield made
    made.close()
