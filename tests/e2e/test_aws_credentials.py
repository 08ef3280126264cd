"""Where curt finds its keys for AWS: each source alone, and their order. What
happens to a pool at work when keys end is in test_aws_rotation.py."""

import json
import os
import time
from pathlib import Path

import boto3
import pytest
from botocore.config import Config

from aws_cloud import KNOWN_ID, KNOWN_URL
from aws_cloud import cloud, known_table  # fixtures
from aws_fakes import ROLE, SILENCE, Service, sts_error, text_answer
from aws_wire import closed_port
from harness import wait_until

DENIED, AWAY = os.EX_NOPERM, os.EX_TEMPFAIL
STORE_TIMEOUT = 3

# What a busy machine may add, in seconds.
MARGIN = 15


# ---- The services themselves ----------------------------------------------


def boto_error(cloud, keys):
    """DynamoDB's error type for boto3 with these keys, None if there is
    none."""
    client = boto3.session.Session().client(
        "dynamodb", region_name="eu-west-1",
        endpoint_url=cloud.front.endpoint, aws_access_key_id=keys[0],
        aws_secret_access_key=keys[1], aws_session_token=keys[2],
        config=Config(proxies={}, retries={"total_max_attempts": 1}))
    try:
        item = client.get_item(TableName=cloud.table,
                               Key={"short_id": {"S": KNOWN_ID}})["Item"]
    except client.exceptions.ClientError as e:
        return e.response["Error"]["Code"]
    assert item["long_url"] == {"S": KNOWN_URL}
    return None


def test_front_judges_boto3_as_dynamodb_does(cloud):
    lasting = cloud.issuer.issue(None)
    keys = cloud.issuer.issue()
    triple = (keys.id, keys.secret, keys.token)
    assert boto_error(cloud, (lasting.id, lasting.secret, None)) is None
    assert boto_error(cloud, triple) is None
    assert cloud.issuer.used() == [lasting, keys]
    for bad, error in (
            ((keys.id, keys.secret + "x", keys.token),
             "InvalidSignatureException"),
            ((keys.id, keys.secret, keys.token + "x"),
             "UnrecognizedClientException"),
            ((keys.id, keys.secret, None), "UnrecognizedClientException"),
            (("ASIANOBODY", keys.secret, keys.token),
             "UnrecognizedClientException")):
        assert boto_error(cloud, bad) == error
    keys.revoked = True
    assert boto_error(cloud, triple) == "ExpiredTokenException"
    ended = cloud.issuer.issue(-1)
    assert boto_error(cloud, (ended.id, ended.secret, ended.token)) == (
        "ExpiredTokenException")


def test_boto3_gets_keys_from_the_services(cloud, monkeypatch):
    imds = cloud.imds()
    container = cloud.container(authorization="Basic abc")
    for name in [n for n in os.environ if n.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(cloud.home))
    for service, env in (
            (imds, imds.env()),
            (container, {**container.env(),
                         "AWS_CONTAINER_AUTHORIZATION_TOKEN": "Basic abc"})):
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        found = boto3.session.Session().get_credentials()
        frozen = found.get_frozen_credentials()
        assert boto_error(cloud, frozen) is None
        assert cloud.issuer.used()[-1] is cloud.issuer.sets[-1]
        assert len(service.requests) == (3 if service is imds else 1)


def test_boto3_gets_keys_from_sts(cloud):
    sts = cloud.sts()
    sts.tokens = {"token"}
    source = cloud.issuer.issue(None)
    client = boto3.session.Session().client(
        "sts", region_name="eu-west-1", endpoint_url=sts.endpoint,
        aws_access_key_id=source.id, aws_secret_access_key=source.secret,
        config=Config(proxies={}, retries={"total_max_attempts": 1}))
    found = client.assume_role_with_web_identity(
        RoleArn=ROLE, RoleSessionName="session", WebIdentityToken="token")
    assert found["Credentials"]["SessionToken"] == (
        cloud.issuer.sets[-1].token)
    found = client.assume_role(RoleArn=ROLE, RoleSessionName="session")
    assert found["Credentials"]["SecretAccessKey"] == (
        cloud.issuer.sets[-1].secret)
    sts.external_id = "other"
    with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
        client.assume_role(RoleArn=ROLE, RoleSessionName="session")
    with pytest.raises(client.exceptions.ClientError,
                       match="InvalidIdentityToken"):
        client.assume_role_with_web_identity(
            RoleArn=ROLE, RoleSessionName="session", WebIdentityToken="other")


# ---- Environment ----------------------------------------------------------


def test_environment(cloud):
    lasting = cloud.issuer.issue(None)
    assert cloud.ok(**lasting.env()) is lasting
    temporary = cloud.issuer.issue()
    assert cloud.ok(**temporary.env()) is temporary


def test_half_of_the_environment(cloud):
    """The key id says that this source is meant; a secret alone does not."""
    imds = cloud.imds()
    keys = cloud.issuer.issue(None)
    error = cloud.fails(DENIED, AWS_ACCESS_KEY_ID=keys.id, **imds.env())
    assert "AWS_SECRET_ACCESS_KEY" in error
    assert imds.requests == []
    assert cloud.ok(AWS_SECRET_ACCESS_KEY=keys.secret,
                    **imds.env()).origin == "imds"


# ---- Web identity ---------------------------------------------------------


def test_web_identity(cloud):
    sts = cloud.sts()
    env = cloud.web_identity(sts)
    assert cloud.ok(**env).origin == "sts"
    assert cloud.ok(**env, AWS_ROLE_SESSION_NAME="front-1").origin == "sts"
    [first, second] = sts.calls
    for call in (first, second):
        assert call["Action"] == "AssumeRoleWithWebIdentity"
        assert call["RoleArn"] == ROLE
        assert call["WebIdentityToken"] in sts.tokens
    assert first["RoleSessionName"].startswith("curt-")
    assert second["RoleSessionName"] == "front-1"

    # The end of a line is no part of the token.
    token_file = Path(env["AWS_WEB_IDENTITY_TOKEN_FILE"])
    cloud.write(token_file, token_file.read_text() + "\n")
    assert cloud.ok(**env).origin == "sts"


@pytest.mark.parametrize("code, message, http_status, status", [
    ("AccessDenied", "Not authorized to perform "
     "sts:AssumeRoleWithWebIdentity", 403, DENIED),
    ("ExpiredTokenException", "Token expired: current date/time 1795418400 "
     "must be before the expiration date/time", 400, DENIED),
    ("InvalidIdentityToken", "Couldn't retrieve verification key", 400,
     DENIED),
    ("IDPCommunicationError", "It did not answer: try <again> & again", 400,
     AWAY),
    ("ServiceUnavailable", "later", 503, AWAY),
])
def test_web_identity_is_refused(cloud, code, message, http_status, status):
    """With the code and the words of STS; and nobody else is asked."""
    sts, imds = cloud.sts(), cloud.imds()
    sts.trouble = sts_error(code, message, http_status)
    error = cloud.fails(status, **cloud.web_identity(sts), **imds.env())
    assert code in error and message in error
    assert len(sts.requests) == (3 if status == AWAY else 1)
    assert imds.requests == []


def test_web_identity_after_two_faults(cloud):
    sts = cloud.sts()
    faults = [sts_error("IDPCommunicationError", "again"),
              sts_error("Throttling", "Rate exceeded")]
    sts.trouble = lambda request: faults.pop() if faults else None
    assert cloud.ok(**cloud.web_identity(sts)).origin == "sts"
    assert len(sts.requests) == 3


def test_web_identity_without_its_file(cloud):
    sts, imds = cloud.sts(), cloud.imds()
    env = {**cloud.web_identity(sts), **imds.env()}
    path = Path(env["AWS_WEB_IDENTITY_TOKEN_FILE"])
    path.write_text("")
    assert str(path) in cloud.fails(DENIED, **env)
    path.unlink()
    error = cloud.fails(DENIED, **env)
    assert str(path) in error and "No such file" in error
    assert sts.requests == imds.requests == []


@pytest.mark.parametrize("way", ["silence", "slow", "closed", "html"])
def test_sts_is_away(cloud, way):
    sts = cloud.sts()
    env = cloud.web_identity(sts)
    if way == "silence":
        sts.trouble = SILENCE
    elif way == "slow":
        sts.delay = 20
    elif way == "html":
        sts.trouble = text_answer("<html><body>Service Unavailable", 503)
    else:
        env["AWS_ENDPOINT_URL_STS"] = "http://127.0.0.1:%d" % (
            cloud.stack.enter_context(closed_port()).getsockname()[1])
    begin = time.monotonic()
    error = cloud.fails(AWAY, **env, STORE_TIMEOUT="2")
    assert time.monotonic() - begin < 2 + MARGIN
    assert "STS" in error


# ---- Profiles -------------------------------------------------------------


def test_profile_with_keys(cloud):
    a, b, c, d = [cloud.issuer.issue(None) for _ in range(4)]
    temporary = cloud.issuer.issue()
    cloud.aws_file("credentials", "[default]\n%s\n[both]\n%s[token]\n%s" % (
        a.profile(), b.profile(), temporary.profile()))
    cloud.aws_file("config", "[default]\nregion = us-west-2\n[profile both]\n"
                   "%s\n# work\n[profile  work]\n%s" % (
                       c.profile(), d.profile()))
    assert cloud.ok() is a
    assert cloud.ok(AWS_PROFILE="both") is b
    assert cloud.ok(AWS_PROFILE="work") is d
    assert cloud.ok(AWS_PROFILE="token") is temporary


def test_profile_files_elsewhere(cloud):
    a, b, home = [cloud.issuer.issue(None) for _ in range(3)]
    cloud.aws_file("credentials", "[default]\n" + home.profile())
    one = cloud.write(cloud.workdir / "one", "[default]\n" + a.profile())
    two = cloud.write(cloud.workdir / "two", "[profile x]\n" + b.profile())
    settings = {"AWS_SHARED_CREDENTIALS_FILE": one, "AWS_CONFIG_FILE": two}
    assert cloud.ok(**settings) is a
    assert cloud.ok(AWS_PROFILE="x", **settings) is b


def process_script(cloud, text, name="process"):
    path = cloud.write(cloud.workdir / name, "#!/bin/sh\n" + text)
    path.chmod(0o700)
    return path


def test_profile_with_a_process(cloud):
    for keys in (cloud.issuer.issue(), cloud.issuer.issue(None)):
        script = process_script(
            cloud, "test \"$1 $2\" = 'a b c' && cat <<'END'\n%s\nEND\n"
            % keys.process_output())
        cloud.aws_file("config", "[profile p]\n"
                       "credential_process = %s 'a b' c\n" % script)
        assert cloud.ok(AWS_PROFILE="p") is keys


@pytest.mark.parametrize("text, status", [
    ("echo %(secret)s; echo %(secret)s >&2; exit 3", DENIED),
    ("echo '{\"Version\": 1, \"AccessKeyId\": \"%(secret)s\"}'", DENIED),
    ("echo '%(secret)s {'", DENIED),
    ("sleep 60 & echo $! > %(pid)s; sleep 60", AWAY),
])
def test_profile_with_a_process_that_fails(cloud, text, status):
    imds = cloud.imds()
    pid_file = cloud.workdir / "pid"
    script = process_script(cloud, text % {
        "secret": cloud.secret(), "pid": pid_file})
    cloud.aws_file("config", "[default]\ncredential_process = %s\n" % script)
    begin = time.monotonic()
    error = cloud.fails(status, **imds.env(), STORE_TIMEOUT="2")
    assert time.monotonic() - begin < 2 + MARGIN
    assert "credential_process" in error
    assert imds.requests == []
    if status == AWAY:
        pid = pid_file.read_text().strip()
        wait_until(lambda: not Path("/proc/" + pid).exists() or ") Z " in
                   Path("/proc/%s/stat" % pid).read_text(),
                   "end of what the command started", 5)


def test_profile_with_a_role(cloud):
    sts = cloud.sts()
    source = cloud.issuer.issue(None)
    sts.external_id = "a b+c&d"
    cloud.aws_file("credentials", "[base]\n" + source.profile())
    cloud.aws_file("config", "[profile app]\nrole_arn = %s\n"
                   "source_profile = base\nexternal_id = a b+c&d\n"
                   "role_session_name = shortener\nduration_seconds = 900\n"
                   % ROLE)
    assert cloud.ok(AWS_PROFILE="app", **sts.env()).origin == "sts"
    [call] = sts.calls
    assert call["Action"] == "AssumeRole"
    assert call["RoleSessionName"] == "shortener"
    assert call["DurationSeconds"] == "900"
    assert sts.regions == ["eu-west-1"]
    sts.external_id = None
    error = cloud.fails(DENIED, AWS_PROFILE="app", **sts.env())
    assert "AccessDenied" in error and "sts:AssumeRole" in error


@pytest.mark.parametrize("offset", [1200, -1200], ids=["behind", "ahead"])
def test_sts_with_another_clock(cloud, offset):
    """This host's clock is off: the request is sent once more, signed with
    the time of STS."""
    sts = cloud.sts()
    sts.clock_offset = offset
    source = cloud.issuer.issue(None)
    cloud.aws_file("credentials", "[base]\n" + source.profile())
    cloud.aws_file("config", "[default]\nrole_arn = %s\n"
                   "source_profile = base\n" % ROLE)

    assert cloud.ok(**sts.env()).origin == "sts"
    assert [call["Action"] for call in sts.calls] == ["AssumeRole"] * 2


def test_profile_with_a_role_from_a_role(cloud):
    sts = cloud.sts()
    first = ROLE + "-first"
    sts.roles.add(first)
    source = cloud.issuer.issue(None)
    cloud.aws_file("credentials", "[base]\n" + source.profile())
    cloud.aws_file("config", "[profile first]\nrole_arn = %s\n"
                   "source_profile = base\n[profile second]\nrole_arn = %s\n"
                   "source_profile = first\n" % (first, ROLE))
    assert cloud.ok(AWS_PROFILE="second", **sts.env()) is (
        cloud.issuer.sets[-1])
    assert [c["RoleArn"] for c in sts.calls] == [first, ROLE]
    assert [k.origin for k in cloud.issuer.sets] == ["test", "sts", "sts"]


def test_profile_with_a_role_on_its_own_keys(cloud):
    sts = cloud.sts()
    source = cloud.issuer.issue(None)
    cloud.aws_file("config", "[default]\nrole_arn = %s\n"
                   "source_profile = default\n%s" % (ROLE, source.profile()))
    assert cloud.ok(**sts.env()).origin == "sts"


@pytest.mark.parametrize("source", ["Ec2InstanceMetadata", "EcsContainer"])
def test_profile_with_a_credential_source(cloud, source):
    sts, imds, container = cloud.sts(), cloud.imds(), cloud.container()
    cloud.aws_file("config", "[default]\nrole_arn = %s\n"
                   "credential_source = %s\n" % (ROLE, source))
    assert cloud.ok(**sts.env(), **imds.env(), **container.env()) is (
        cloud.issuer.sets[-1])
    assert [k.origin for k in cloud.issuer.sets] == [
        "imds" if source == "Ec2InstanceMetadata" else "container", "sts"]


def test_profile_with_a_web_identity(cloud):
    sts = cloud.sts()
    env = cloud.web_identity(sts)
    cloud.aws_file("config", "[default]\nrole_arn = %s\n"
                   "web_identity_token_file = %s\nrole_session_name = one\n"
                   % (ROLE, env["AWS_WEB_IDENTITY_TOKEN_FILE"]))
    assert cloud.ok(**sts.env()).origin == "sts"
    assert [(c["Action"], c["RoleSessionName"]) for c in sts.calls] == [
        ("AssumeRoleWithWebIdentity", "one")]


@pytest.mark.parametrize("config, named", [
    ("[profile other]\nregion = eu-west-1\n", "profile app"),
    ("[profile app]\nrole_arn = %s\nsource_profile = gone\n" % ROLE,
     "source_profile gone"),
    ("[profile app]\nrole_arn = %s\nsource_profile = b\n[profile b]\n"
     "role_arn = %s\nsource_profile = app\n" % (ROLE, ROLE),
     "profile b has a source_profile that leads back"),
    ("[profile app]\nrole_arn = %s\n" % ROLE, "source_profile"),
    ("[profile app]\naws_access_key_id = AKIAEXAMPLE\n",
     "secret access key"),
    ("[profile app\nregion = eu-west-1\n", ".aws/config:1"),
], ids=["missing", "source missing", "loop", "no source", "no secret",
        "no profile"])
def test_profile_that_cannot_be_used(cloud, config, named):
    """The one that AWS_PROFILE names must serve; no other source is asked."""
    imds = cloud.imds()
    cloud.aws_file("config", config)
    error = cloud.fails(DENIED, AWS_PROFILE="app", **imds.env())
    assert named in error
    assert imds.requests == []


# ---- Container ------------------------------------------------------------


def test_container(cloud):
    open_one = cloud.container()
    assert cloud.ok(**open_one.env()).origin == "container"
    assert len(open_one.requests) == 1

    authorization = cloud.secret("Bearer ")
    guarded = cloud.container(authorization=authorization)
    assert cloud.ok(AWS_CONTAINER_AUTHORIZATION_TOKEN=authorization,
                    **guarded.env()).origin == "container"
    path = cloud.write(cloud.workdir / "token", authorization + "\n")
    assert cloud.ok(AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=path,
                    **guarded.env()).origin == "container"
    # The file changes from time to time: it goes before what stays.
    assert cloud.ok(AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=path,
                    AWS_CONTAINER_AUTHORIZATION_TOKEN="old",
                    **guarded.env()).origin == "container"


def test_container_refuses(cloud):
    imds = cloud.imds()
    guarded = cloud.container(authorization=cloud.secret("Bearer "))
    wrong = cloud.secret("Bearer ")
    error = cloud.fails(DENIED, AWS_CONTAINER_AUTHORIZATION_TOKEN=wrong,
                        **guarded.env(), **imds.env())
    assert "403" in error
    gone = cloud.workdir / "gone"
    error = cloud.fails(DENIED, AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE=gone,
                        **guarded.env(), **imds.env())
    assert str(gone) in error
    assert len(guarded.requests) == 1
    assert imds.requests == []


@pytest.mark.parametrize("way", ["500", "silence", "closed", "garbage"])
def test_container_is_away(cloud, way):
    imds, container = cloud.imds(), cloud.container()
    env = {**container.env(), **imds.env()}
    container.trouble = {
        "500": text_answer("oh", 500), "silence": SILENCE,
        "garbage": text_answer("<html>Bad Gateway</html>", 502)}.get(way)
    if way == "closed":
        env["AWS_CONTAINER_CREDENTIALS_FULL_URI"] = "http://127.0.0.1:%d/" % (
            cloud.stack.enter_context(closed_port()).getsockname()[1])
    begin = time.monotonic()
    cloud.fails(AWAY, STORE_TIMEOUT="2", **env)
    assert time.monotonic() - begin < 2 + MARGIN
    assert imds.requests == []


@pytest.mark.parametrize("uri", [
    "http://192.0.2.7/x", "http://169.254.170.99/x", "http://example.com/x",
    "http://127.0.0.1.example.com/x", "http://localhost.example.com/x",
    "http://user:password@192.0.2.7/x", "ftp://127.0.0.1/x", "/v2/x"])
def test_container_must_be_a_near_one(cloud, uri):
    """Over plain HTTP the keys go to this host alone, or to AWS's own
    addresses: anybody else is not even asked."""
    imds, proxy = cloud.imds(), cloud.start(Recorder())
    begin = time.monotonic()
    error = cloud.fails(
        DENIED, AWS_CONTAINER_CREDENTIALS_FULL_URI=uri, **imds.env(),
        http_proxy=proxy.endpoint, all_proxy=proxy.endpoint,
        STORE_TIMEOUT="40")
    assert time.monotonic() - begin < 20
    assert "AWS_CONTAINER_CREDENTIALS_FULL_URI" in error
    assert "password" not in error
    assert imds.requests == proxy.requests == []


# ---- Instance metadata ----------------------------------------------------


class Recorder(Service):
    """A proxy that nobody should ask."""

    def answer(self, request):
        return text_answer("no", 502)


def test_instance_metadata(cloud):
    imds = cloud.imds()
    assert cloud.ok(**imds.env()).origin == "imds"
    assert imds.paths() == [
        "PUT " + imds.TOKEN, "GET " + imds.ROLES,
        "GET " + imds.ROLES + imds.role]
    slow = cloud.imds()
    slow.delay = 0.4
    assert cloud.ok(**slow.env()).origin == "imds"


def test_keys_do_not_travel_by_a_proxy(cloud):
    imds, container = cloud.imds(), cloud.container()
    proxy = cloud.start(Recorder())
    proxies = {"http_proxy": proxy.endpoint, "all_proxy": proxy.endpoint}
    assert cloud.ok(**imds.env(), **proxies).origin == "imds"
    assert cloud.ok(**container.env(), **proxies).origin == "container"
    assert proxy.requests == []


def nothing(cloud, **settings):
    """The message where there are no keys at all: everything that was looked
    at, in order."""
    error = cloud.fails(DENIED, **settings)
    places = ["AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE",
              str(cloud.home / ".aws"), "AWS_CONTAINER_CREDENTIALS", "metadata"]
    found = [error.find(place) for place in places]
    assert -1 not in found and found == sorted(found), error
    return error[error.find(places[3]):]


def test_nothing_is_found(cloud):
    """Each time with the reason why the last source did not serve."""
    imds = cloud.imds(role=None)
    assert "AWS_EC2_METADATA_DISABLED" in nothing(cloud)
    assert "role" in nothing(cloud, **imds.env())
    assert len(imds.requests) == 2

    imds.trouble = SILENCE
    begin = time.monotonic()
    nothing(cloud, **imds.env(), STORE_TIMEOUT="40")
    assert time.monotonic() - begin < 20

    port = cloud.stack.enter_context(closed_port()).getsockname()[1]
    closed = "http://127.0.0.1:%d" % port
    assert closed in nothing(cloud, AWS_EC2_METADATA_DISABLED="false",
                             AWS_EC2_METADATA_SERVICE_ENDPOINT=closed)

    # A profile that is there and has no keys is no fault while nobody named
    # it; it is told.
    cloud.aws_file("config", "[default]\nregion = eu-west-1\n")
    assert "AWS_EC2_METADATA_DISABLED" in nothing(cloud)


@pytest.mark.parametrize("status, expected", [(403, DENIED), (500, AWAY)])
def test_instance_metadata_fails(cloud, status, expected):
    imds = cloud.imds()
    for path in (imds.TOKEN, imds.ROLES, imds.ROLES + imds.role):
        imds.trouble = lambda request: (
            text_answer("", status) if request.path == path else None)
        begin = time.monotonic()
        error = cloud.fails(expected, **imds.env())
        assert time.monotonic() - begin < STORE_TIMEOUT + MARGIN
        assert "metadata" in error and str(status) in error


@pytest.mark.parametrize("document", [
    "", "<html>", "[]", "{\"Code\": \"Success\"}",
    json.dumps({"Code": "AssumeRoleUnauthorizedAccess",
                "Message": "EC2 cannot assume the role"}),
    json.dumps({"Code": "Success", "AccessKeyId": "AKIA",
                "SecretAccessKey": "a\nb", "Token": "c",
                "Expiration": "2100-01-01T00:00:00Z"}),
    json.dumps({"Code": "Success", "AccessKeyId": "AKIA",
                "SecretAccessKey": "b", "Token": "c",
                "Expiration": "tomorrow"}),
])
def test_instance_metadata_says_nonsense(cloud, document):
    imds = cloud.imds()
    imds.trouble = lambda request: (
        text_answer(document) if request.path == imds.ROLES + imds.role
        else None)
    done = cloud.tool("get", KNOWN_ID, **imds.env())
    assert done.returncode in (DENIED, AWAY), done.stderr
    assert "metadata" in done.stderr
    assert cloud.issuer.uses == []


# ---- The order ------------------------------------------------------------


def test_the_first_source_that_is_configured_serves(cloud):
    sts, container, imds = cloud.sts(), cloud.container(), cloud.imds()
    lasting, profile = [cloud.issuer.issue(None) for _ in range(2)]
    cloud.aws_file("credentials", "[default]\n" + profile.profile())
    chain = [("test", lasting.env()), ("sts", cloud.web_identity(sts)),
             ("profile", {}), ("container", container.env()),
             ("imds", imds.env())]
    services = {"sts": sts, "container": container, "imds": imds}
    for i, (name, _) in enumerate(chain):
        settings = {}
        for _, env in chain[i:]:
            settings.update(env)
        if name == "container":
            (cloud.home / ".aws" / "credentials").unlink()
        before = {n: len(s.requests) for n, s in services.items()}
        keys = cloud.ok(**settings)
        if name == "profile":
            assert keys is profile
        else:
            assert keys.origin == name
        asked = [n for n, s in services.items()
                 if len(s.requests) != before[n]]
        assert asked == ([name] if name in services else [])
