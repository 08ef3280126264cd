"""The curt tool and a pool against one endpoint and one table of DynamoDB
Local, and faults for single requests."""

import json
import subprocess
import uuid

import pytest

import harness

SECRET = "s3cr3t/with:odd+characters%2F=&EXAMPLE"


class Curt:
    """The curt tool against one endpoint and one table."""

    def __init__(self, build, workdir, local, **settings):
        self.build = build
        self.workdir = workdir
        self.env = {
            "CURT_CONF": "/dev/null",
            "APP_URL": "https://sho.rt/t/",
            "STORE": "dynamodb",
            "STATE_DIR": str(workdir / "state"),
            "RUNTIME_DIR": str(workdir / "run"),
            "TABLE": "links-" + uuid.uuid4().hex[:12],
            "AWS_REGION": "eu-west-1",
            "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
            "AWS_SECRET_ACCESS_KEY": SECRET,
            # What answers there is not for tests to ask.
            "AWS_EC2_METADATA_DISABLED": "true",
        }
        if local is not None:
            self.env.update(local.env())
        self.env.update(settings)

    def at(self, proxy):
        self.env["AWS_ENDPOINT_URL_DYNAMODB"] = proxy.endpoint
        return self

    def __call__(self, *args):
        """Status, standard output and standard error."""
        done = subprocess.run(
            [self.build.tool, *args],
            env=harness.child_env(self.workdir, {
                k: v for k, v in self.env.items() if v is not None}),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, timeout=60)
        reports = list(self.workdir.glob("sanitizer*"))
        assert reports == [], reports[0].read_text()
        for secret in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
            value = self.env.get(secret)
            assert not value or value not in done.stdout + done.stderr
        return done.returncode, done.stdout.strip(), done.stderr.strip()

    def ok(self, *args):
        status, out, error = self(*args)
        assert (status, error) == (0, ""), (args, status, out, error)
        return out


@pytest.fixture
def table(build, tmp_path, dynamodb_local):
    """curt with a table of its own on DynamoDB Local."""
    curt = Curt(build, tmp_path, dynamodb_local, STORE_TIMEOUT="15")
    dynamodb_local.create_table(curt.env["TABLE"])
    return curt


@pytest.fixture
def nowhere(build, tmp_path):
    """curt where the other end is a fault alone."""
    return Curt(build, tmp_path, None, STORE_TIMEOUT="10")


def items(table, local):
    return local.client().scan(TableName=table.env["TABLE"],
                               ConsistentRead=True)["Items"]


def id_of(short_url):
    return short_url.removeprefix("https://sho.rt/t/")


def start_pool(table, proxy, workdir):
    settings = {k: v for k, v in table.at(proxy).env.items()
                if k != "CURT_CONF"}
    return harness.Pool(table.build, {**settings, "HITS_FLUSH": 1}, workers=1,
                        workdir=harness.make_dir(workdir / "pool"))


def create_in(pool, url, *fields):
    response = pool.request("POST", "/create",
                            [("Content-Type", "application/json"), *fields],
                            json.dumps({"long_url": url}).encode())
    return response


def once(action, what):
    """A fault for the first request of one action."""
    left = [what]

    def fault(request, forward):
        if request.action == action and left:
            return left.pop()(request, forward)
        return None
    return fault


def apply_and(answer):
    """The request is carried out, and then answered otherwise."""
    def fault(request, forward):
        assert forward().status == 200
        return answer() if callable(answer) else answer
    return fault
