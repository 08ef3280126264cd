"""`curt doctor` where the links are in a DynamoDB table."""

import email.utils
import json
import os
import shutil
import time

import pytest

import aws_wire
import harness
from aws_wire import Answer, Proxy, closed_port
from doctor_host import TOKEN, Host, make_certificate, serving, tighten
from dynamodb_local import SECRET_KEY

TARGET = "https://example.com/curt-doctor"


@pytest.fixture
def settings(store_settings):
    return lambda: tighten(store_settings("dynamodb"))


@pytest.fixture
def proxy(dynamodb_local):
    """An endpoint that says its time, as AWS does."""
    with Proxy(dynamodb_local.endpoint) as p:
        yield p


@pytest.fixture
def table(build, settings):
    """A host with a table on DynamoDB Local on which nothing runs."""
    return Host(build, dict(settings(), STORE_TIMEOUT="2"))


def test_a_healthy_host_is_ready(build, settings, dynamodb_local, proxy):
    with serving(build, dict(
            settings(), AWS_ENDPOINT_URL_DYNAMODB=proxy.endpoint)) as host:
        kept = host.run("create", "https://example.com/kept").stdout.strip()
        report = host.doctor()
        report.check_ready("dynamodb")
        report.says("ok", "region", "eu-west-1")
        report.says("ok", "region", "AWS_REGION")
        report.says("ok", "credentials", "do not expire")
        report.says("ok", "endpoint", proxy.endpoint)
        report.says("ok", "socket", "same store")
        items = dynamodb_local.client().scan(
            TableName=host.settings["TABLE"])["Items"]
        assert [i["short_id"]["S"] for i in items] == [
            kept.rpartition("/")[2]]


def test_store_that_is_down(build, settings):
    with closed_port() as port:
        endpoint = "http://127.0.0.1:%d" % port.getsockname()[1]
        with serving(build, dict(
                settings(), STORE_TIMEOUT="1",
                AWS_ENDPOINT_URL_DYNAMODB=endpoint)) as host:
            report = host.doctor()
    report.says("fail", "endpoint", "connect", "the firewall")
    report.says("fail", "table").says("fail", "link", "not be written")
    report.says("warn", "clock", "not known")
    report.says("warn", "redirect", "status 503", "fix the store")
    assert report.failed() == {"endpoint", "table", "link"}, report.show()
    for name in ("credentials", "create", "socket", "pool", "hits"):
        assert report.of("ok", name), report.show()


def test_endpoint_that_does_not_resolve(table):
    table.settings["AWS_ENDPOINT_URL_DYNAMODB"] = (
        "http://dynamodb.curt-doctor.invalid")
    table.doctor().says("fail", "endpoint", "Could not resolve",
                        "resolv.conf")


def test_one_of_two_endpoints_is_away(table):
    good = table.settings["AWS_ENDPOINT_URL_DYNAMODB"]
    with closed_port() as port:
        bad = "http://127.0.0.1:%d" % port.getsockname()[1]
        table.settings["AWS_ENDPOINT_URL_DYNAMODB"] = good + "," + bad
        report = table.doctor()
        report.says("ok", "endpoint", good).says("warn", "endpoint", bad)
        report.says("ok", "link", "removed")
        assert not report.of("fail", "endpoint")


def test_missing_table(table):
    table.settings["TABLE"] = "no-such-table"
    report = table.doctor()
    report.says("fail", "table", "no-such-table", "curt table create")
    report.says("fail", "link", "not be written")
    report.says("ok", "endpoint").says("ok", "credentials")


def test_no_region(table):
    del table.settings["AWS_REGION"]
    report = table.doctor(env={"AWS_EC2_METADATA_DISABLED": "true",
                               "HOME": str(table.workdir)})
    report.says("fail", "region", "AWS_REGION is not set", "set AWS_REGION")
    report.says("fail", "link")


def test_no_credentials(table):
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del table.settings[key]
    report = table.doctor(env={"AWS_EC2_METADATA_DISABLED": "true",
                               "HOME": str(table.workdir)})
    report.says("fail", "credentials", "AWS_ACCESS_KEY_ID")
    report.says("ok", "endpoint").says("ok", "region")


@pytest.mark.parametrize("minutes", [None, 90])
def test_source_and_end_of_credentials(table, proxy, minutes):
    """From a program that a profile names; never the keys themselves."""
    answer = {"Version": 1, "AccessKeyId": "ASIDEXAMPLE",
              "SecretAccessKey": SECRET_KEY, "SessionToken": TOKEN}
    end = int(time.time()) + 60 * (minutes or 0)
    if minutes:
        answer["Expiration"] = time.strftime("%Y-%m-%dT%H:%M:%SZ",
                                             time.gmtime(end))
    program = table.workdir / "keys"
    program.write_text("#!/bin/sh\ncat <<'END'\n%s\nEND\n"
                       % json.dumps(answer))
    program.chmod(0o755)
    config = table.workdir / "aws-config"
    config.write_text("[profile short]\ncredential_process = %s\n"
                      % program)
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del table.settings[key]
    table.settings.update(AWS_CONFIG_FILE=config, AWS_PROFILE="short",
                          AWS_ENDPOINT_URL_DYNAMODB=proxy.endpoint)
    report = table.doctor()
    report.says("ok", "credentials", "credential_process")
    report.says("ok", "link", "removed")
    found = report.one("ok", "credentials")["detail"]
    if minutes:
        assert time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(end)) in found
        assert "in 89 min" in found or "in 90 min" in found
    else:
        assert "do not expire" in found


def test_root_sees_what_the_pools_user_sees(build, settings, proxy):
    """Keys that root alone can read do not help a pool of another user."""
    user = harness.web_user()
    owner = user.pw_uid if user else os.geteuid()
    home = harness.make_workdir()
    settings = dict(settings(),
                    AWS_ENDPOINT_URL_DYNAMODB=proxy.endpoint)
    keys = home / "credentials"
    keys.write_text("[default]\naws_access_key_id = AKIDEXAMPLE\n"
                    "aws_secret_access_key = %s\n" % SECRET_KEY)
    keys.chmod(0o600 if user else 0)
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        del settings[key]
    try:
        for key in ("STATE_DIR", "RUNTIME_DIR"):
            os.chown(settings[key], owner, -1)
        host = Host(build, dict(settings, AWS_SHARED_CREDENTIALS_FILE=keys))
        report = host.doctor(env={"AWS_EC2_METADATA_DISABLED": "true"})
        report.says("fail", "credentials", str(keys), "curt.conf(5)")
        report.says("fail", "table", "without credentials")
        os.chown(keys, owner, -1)
        keys.chmod(0o600)
        report = host.doctor(env={"AWS_EC2_METADATA_DISABLED": "true"})
        report.says("ok", "credentials").says("ok", "link", "removed")
    finally:
        shutil.rmtree(home)


def test_source_of_credentials_that_fails(table):
    config = table.workdir / "aws-config"
    config.write_text("[default]\nregion = eu-west-1\n"
                      "credential_process = /bin/false\n")
    for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):
        del table.settings[key]
    table.settings["AWS_CONFIG_FILE"] = config
    report = table.doctor()
    report.says("fail", "credentials", "credential_process")
    report.says("ok", "region", "eu-west-1, from the profile")
    report.says("ok", "endpoint")


def refusal(kind, message="Refused."):
    return Answer(json.dumps({
        "__type": "com.amazon.coral.service#" + kind, "message": message}),
        status=400)


def test_credentials_that_are_refused(table, dynamodb_local):
    def fault(request, ask):
        if request.method == "GET":
            return None
        return refusal("UnrecognizedClientException",
                       "The security token in the request is invalid: "
                       + table.settings["AWS_SECRET_ACCESS_KEY"])

    table.settings["AWS_SESSION_TOKEN"] = TOKEN
    with Proxy(dynamodb_local.endpoint, fault) as proxy:
        table.settings["AWS_ENDPOINT_URL_DYNAMODB"] = proxy.endpoint
        report = table.doctor()
        report.says("fail", "table", "UnrecognizedClientException")
        report.says("fail", "link", "UnrecognizedClientException")
        report.says("ok", "endpoint")
        assert report.one("fail", "table")["advice"]


def test_policy_without_describe_table_is_a_warning(table, dynamodb_local):
    """Keys that may only use the table are enough to serve."""
    def fault(request, ask):
        if request.method == "POST" and request.action.startswith("Describe"):
            return refusal("AccessDeniedException",
                           "User is not authorized to perform: "
                           "dynamodb:" + request.action)
        return None

    with Proxy(dynamodb_local.endpoint, fault) as proxy:
        table.settings["AWS_ENDPOINT_URL_DYNAMODB"] = proxy.endpoint
        report = table.doctor()
        report.says("warn", "table", "AccessDeniedException")
        report.says("ok", "link", "removed")


@pytest.mark.parametrize("action, detail", [
    ("PutItem", "could not be written"), ("GetItem", "could not be read"),
    ("DeleteItem", "was not removed")])
def test_policy_without_one_action(table, dynamodb_local, action, detail):
    def fault(request, ask):
        return (refusal("AccessDeniedException") if request.action == action
                else None)

    with Proxy(dynamodb_local.endpoint, fault) as proxy:
        table.settings["AWS_ENDPOINT_URL_DYNAMODB"] = proxy.endpoint
        report = table.doctor()
        status = "warn" if action == "DeleteItem" else "fail"
        report.says(status, "link", detail)
        assert "AccessDenied" in report.one(status, "link")["detail"]
    # It is removed, also when it could not be read; or goes away by itself.
    items = dynamodb_local.client().scan(
        TableName=table.settings["TABLE"])["Items"]
    if action == "DeleteItem":
        [item] = items
        assert 0 < int(item["ttl"]["N"]) - time.time() <= 300
        assert item["long_url"]["S"].startswith(TARGET)
    else:
        assert items == []


@pytest.mark.parametrize("seconds, status", [
    (20, "ok"), (90, "warn"), (-90, "warn"), (1000, "fail"),
    (-1000, "fail")])
def test_clock(table, dynamodb_local, monkeypatch, seconds, status):
    monkeypatch.setattr(
        aws_wire.Handler, "date_time_string",
        lambda self, timestamp=None: email.utils.formatdate(
            time.time() + seconds, usegmt=True))
    with Proxy(dynamodb_local.endpoint) as proxy:
        table.settings["AWS_ENDPOINT_URL_DYNAMODB"] = proxy.endpoint
        report = table.doctor()
        clock = report.one(status, "clock")
        if status != "ok":
            assert ("behind" if seconds > 0 else "ahead") in clock["detail"]
            assert "NTP" in clock["advice"]


def test_certificate_of_the_endpoint(table, tmp_path, dynamodb_local):
    certificate, key = make_certificate(tmp_path)
    with Proxy(dynamodb_local.endpoint, tls=(certificate, key)) as proxy:
        table.settings["AWS_ENDPOINT_URL_DYNAMODB"] = proxy.endpoint
        report = table.doctor()
        report.says("fail", "endpoint", "certificate", "AWS_CA_BUNDLE")
        # On a busy machine an attempt may be too short for the handshake.
        harness.wait_until(
            lambda: any("certificate" in c["detail"]
                        for c in table.doctor().of("fail", "link")),
            "the certificate refused for the probe")
        table.settings["AWS_CA_BUNDLE"] = str(certificate)
        report = table.doctor()
        report.says("ok", "endpoint", proxy.endpoint)
        report.says("ok", "link", "removed")


def test_table_of_another_shape(table, dynamodb_local):
    name = table.settings["TABLE"] + "-other"
    dynamodb_local.client().create_table(
        TableName=name, BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "id",
                               "AttributeType": "S"}])
    table.settings["TABLE"] = name
    report = table.doctor()
    report.says("fail", "table", "key")
    report.says("fail", "link")
