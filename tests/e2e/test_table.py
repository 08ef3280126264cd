"""The table on DynamoDB: made with options, completed, compared with what curt
needs. What DynamoDB Local does not know is answered here in AWS's own form."""

import json
import uuid

import pytest

from aws_table import ALL_OPTIONS, ALL_TAGS, Aws, error, success
from aws_wire import Proxy
from dynamodb_tool import Curt, items, once
from dynamodb_tool import nowhere, table  # fixtures

EX_USAGE, EX_DATAERR, EX_NOPERM, EX_TEMPFAIL = 64, 65, 77, 75


def new_name(table, prefix):
    table.env["TABLE"] = prefix + "-" + uuid.uuid4().hex[:12]
    return table.env["TABLE"]


def bodies(proxy, action):
    return [r.json for r in proxy.requests if r.action == action]


def check_text(table, status, lines, notes):
    """The same check in text."""
    assert table("table", "check") == (status, "\n".join(
        [*lines, *("note: " + note for note in notes)]), "")


def notes_of(table):
    """The notes of a check that finds nothing else."""
    answer = json.loads(table.ok("--json", "table", "check"))
    assert answer["ok"] is True and answer["findings"] == []
    return answer["notes"]


def findings_of(table):
    status, out, problem = table("--json", "table", "check")
    answer = json.loads(out)
    assert (status, problem, answer["ok"]) == (1, "", False)
    return answer["findings"]


def provisioned_table(client, name, read=5, write=5):
    """As the tutorial's console makes it."""
    client.create_table(
        TableName=name,
        ProvisionedThroughput={"ReadCapacityUnits": read,
                               "WriteCapacityUnits": write},
        KeySchema=[{"AttributeName": "short_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "short_id",
                               "AttributeType": "S"}])


# ---- Made -----------------------------------------------------------------


def test_the_table_is_made_whole(table, dynamodb_local):
    client = dynamodb_local.client()
    name = new_name(table, "made")
    [finding] = findings_of(table)
    check_text(table, 1, [finding], [])
    assert "not found in eu-west-1" in finding
    assert "`curt table create`" in finding
    assert table.ok("table", "create") == "table OK"
    described = client.describe_table(TableName=name)["Table"]
    assert described["KeySchema"] == [
        {"AttributeName": "short_id", "KeyType": "HASH"}]
    assert described["AttributeDefinitions"] == [
        {"AttributeName": "short_id", "AttributeType": "S"}]
    assert (described["BillingModeSummary"]["BillingMode"]
            == "PAY_PER_REQUEST")
    ttl = client.describe_time_to_live(TableName=name)
    assert ttl["TimeToLiveDescription"]["TimeToLiveStatus"] == "ENABLED"
    assert ttl["TimeToLiveDescription"]["AttributeName"] == "ttl"
    table.ok("create", "https://example.com/")
    table.ok("table", "create")
    assert notes_of(table) == []
    check_text(table, 0, ["table OK"], [])
    assert len(items(table, dynamodb_local)) == 1


def test_nothing_is_asked_for_that_was_not(table, dynamodb_local):
    name = new_name(table, "plain")
    with Proxy(dynamodb_local.endpoint) as proxy:
        table.at(proxy).ok("table", "create")
        table.ok("table", "create", "--billing", "on-demand")
    for body in bodies(proxy, "CreateTable"):
        assert body == {
            "TableName": name, "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [{"AttributeName": "short_id", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "short_id",
                                      "AttributeType": "S"}]}
    assert bodies(proxy, "UpdateTimeToLive") == [
        {"TableName": name, "TimeToLiveSpecification": {
            "Enabled": True, "AttributeName": "ttl"}}]
    assert {"UpdateTable", "UpdateContinuousBackups", "TagResource"}.isdisjoint(
        proxy.actions())


def test_provisioned_capacity(table, dynamodb_local):
    name = new_name(table, "provisioned")
    out = table.ok("table", "create", "--billing", "provisioned",
                   "--read-units", "7", "--write-units", "3")
    described = dynamodb_local.client().describe_table(TableName=name)["Table"]
    assert described["ProvisionedThroughput"]["ReadCapacityUnits"] == 7
    assert described["ProvisionedThroughput"]["WriteCapacityUnits"] == 3
    [note] = notes_of(table)
    assert "note: " + note in out
    assert "7 read and 3 write units" in note


@pytest.mark.parametrize("busy", [0, 2])
def test_a_table_with_everything(table, dynamodb_local, busy):
    name = new_name(table, "all")
    aws = Aws(busy)
    with Proxy(dynamodb_local.endpoint, aws) as proxy:
        out = table.at(proxy).ok("table", "create", *ALL_OPTIONS)
        assert out == "table OK"
        assert notes_of(table) == []
    assert (aws.protection, aws.backups, aws.tags) == (True, True, ALL_TAGS)
    [body] = bodies(proxy, "CreateTable")
    assert body["DeletionProtectionEnabled"] is True
    assert body["Tags"] == [{"Key": k, "Value": v}
                            for k, v in ALL_TAGS.items()]
    assert bodies(proxy, "UpdateContinuousBackups") == (busy + 1) * [
        {"TableName": name, "PointInTimeRecoverySpecification": {
            "PointInTimeRecoveryEnabled": True}}]
    # It was made so.
    assert {"UpdateTable", "TagResource"}.isdisjoint(proxy.actions())


def test_the_wait_for_a_new_table(table, dynamodb_local):
    """A real table is CREATING for a while, and not visible at first."""
    looks = []

    def slow(request, forward):
        if request.action != "DescribeTable":
            return None
        looks.append(request)
        if len(looks) == 1:
            return error("ResourceNotFoundException")
        answer = forward()
        if len(looks) < 4:
            answer.body = answer.body.replace(b'"ACTIVE"', b'"CREATING"')
            answer.length = len(answer.body)
        return answer

    new_name(table, "slow")
    with Proxy(dynamodb_local.endpoint, slow) as proxy:
        table.at(proxy).ok("table", "create")
        assert len(looks) >= 4
        assert proxy.actions().count("CreateTable") == 1


# ---- Completed ------------------------------------------------------------


def test_a_table_without_time_to_live_is_completed(table, dynamodb_local):
    """The tutorial's table passes as it is: what curt does with an expired
    link does not depend on its removal."""
    name = new_name(table, "tutorial")
    provisioned_table(dynamodb_local.client(), name)
    ttl, capacity = notes = notes_of(table)
    check_text(table, 0, ["table OK"], notes)
    assert "time to live on ttl is DISABLED, expected ENABLED" in ttl
    assert "`curt table create`" in ttl
    assert table.ok("table", "create") == (
        "table OK\nnote: " + capacity)
    assert notes_of(table) == [capacity]


@pytest.mark.parametrize("busy", [0, 2])
def test_an_existing_table_gets_what_is_asked_for(table, dynamodb_local, busy):
    aws = Aws(busy)
    aws.name = name = table.env["TABLE"]
    with Proxy(dynamodb_local.endpoint, aws) as proxy:
        protection, backups = notes_of(table.at(proxy))
        assert "deletion protection is off" in protection
        assert "`curt table create --deletion-protection`" in protection
        assert "point-in-time recovery is off" in backups
        assert "`curt table create --point-in-time-recovery`" in backups
        assert table.ok("table", "create", *ALL_OPTIONS) == (
            "table OK")
        assert (aws.protection, aws.backups, aws.tags) == (
            True, True, ALL_TAGS)
        assert bodies(proxy, "UpdateTable") == (busy + 1) * [
            {"TableName": name, "DeletionProtectionEnabled": True}]
        assert proxy.actions().count("TagResource") == busy + 1
        if busy:
            return
        # Again: nothing is turned off by not being asked for.
        table.ok("table", "create")
        table.ok("table", "create", *ALL_OPTIONS)
        assert (aws.protection, aws.backups, aws.tags) == (
            True, True, ALL_TAGS)
        assert len(bodies(proxy, "UpdateTable")) == 1
        assert notes_of(table) == []


def test_billing_is_named_and_left_alone(table, dynamodb_local):
    client = dynamodb_local.client()
    name = new_name(table, "billed")
    provisioned_table(client, name, 5, 6)

    def units():
        described = client.describe_table(TableName=name)["Table"]
        mode = described.get("BillingModeSummary", {}).get("BillingMode")
        throughput = described["ProvisionedThroughput"]
        return (mode or "PROVISIONED", throughput["ReadCapacityUnits"],
                throughput["WriteCapacityUnits"])

    def refused(billing, *options):
        status, out, problem = table("table", "create", *options)
        assert (status, out) == (EX_DATAERR, "")
        assert "table %s: its billing is %s, not as requested" % (
            name, billing) in problem

    provisioned = "provisioned with 5 read and 6 write units"
    before = units()
    refused(provisioned, "--billing", "on-demand")
    refused(provisioned, "--billing", "provisioned", "--read-units", "9",
            "--write-units", "6")
    refused(provisioned, "--billing", "provisioned", "--read-units", "5",
            "--write-units", "7")
    assert units() == before == ("PROVISIONED", 5, 6)
    # All else was done.
    ttl = client.describe_time_to_live(TableName=name)
    assert ttl["TimeToLiveDescription"]["TimeToLiveStatus"] == "ENABLED"
    table.ok("table", "create", "--billing", "provisioned", "--read-units",
             "5", "--write-units", "6")
    table.ok("table", "create")

    client.update_table(TableName=name, BillingMode="PAY_PER_REQUEST")
    table.ok("table", "create", "--billing", "on-demand")
    refused("on-demand", "--billing", "provisioned", "--read-units", "1",
            "--write-units", "1")
    assert units()[0] == "PAY_PER_REQUEST"


def test_two_who_turn_time_to_live_on(table, dynamodb_local):
    """Enabling it twice is an error at DynamoDB, and none at curt."""
    def beaten(request, forward):
        forward()
        return forward()

    new_name(table, "raced")
    with Proxy(dynamodb_local.endpoint,
               once("UpdateTimeToLive", beaten)) as proxy:
        table.at(proxy).ok("table", "create")
        assert proxy.actions().count("UpdateTimeToLive") == 1


def test_a_time_to_live_that_is_refused(table, dynamodb_local):
    """AWS allows one change of it within an hour."""
    new_name(table, "changed")
    text = ("Time to live has been modified multiple times within a fixed "
            "interval")
    with Proxy(dynamodb_local.endpoint, once(
            "UpdateTimeToLive", lambda request, forward: error(
                "ValidationException", text))) as proxy:
        status, out, problem = table.at(proxy)("table", "create")
        assert (status, out) == (EX_DATAERR, "")
        assert "dynamodb:UpdateTimeToLive" in problem and text in problem
        table.ok("table", "create")


def test_a_refused_change_is_an_error(table, dynamodb_local):
    aws = Aws()
    aws.UpdateContinuousBackups = lambda body, forward: error(
        "AccessDeniedException", "User: arn:aws:iam::123456789012:user/u is "
        "not authorized to perform: dynamodb:UpdateContinuousBackups")
    with Proxy(dynamodb_local.endpoint, aws) as proxy:
        status, out, problem = table.at(proxy)(
            "table", "create", "--point-in-time-recovery")
    assert (status, out) == (EX_NOPERM, "")
    assert "dynamodb:UpdateContinuousBackups" in problem
    assert aws.backups is False


def test_what_a_server_does_not_know_is_not_claimed(table, dynamodb_local):
    """DynamoDB Local has neither of the three; others ignore a member of a
    request that they do not know."""
    for options in (["--deletion-protection"], ["--point-in-time-recovery"],
                    ["--tag", "a=b"]):
        status, out, problem = table("table", "create", *options)
        assert status in (EX_DATAERR, EX_TEMPFAIL), options
        assert out == "" and problem != ""

    def ignores(request, forward):
        return success({}) if request.action == "UpdateTable" else None

    with Proxy(dynamodb_local.endpoint, ignores) as proxy:
        status, out, problem = table.at(proxy)(
            "table", "create", "--deletion-protection")
    assert (status, out) == (EX_DATAERR, "")
    assert "this server has no deletion protection" in problem


# ---- Options that cannot be -----------------------------------------------

MANY_TAGS = [word for i in range(51) for word in ("--tag", "k%d=v" % i)]


@pytest.mark.parametrize("options, words", [
    (["--billing", "cheap"], "on-demand or provisioned"),
    (["--billing", ""], "on-demand or provisioned"),
    (["--billing", "provisioned"], "needs --read-units and --write-units"),
    (["--billing", "provisioned", "--read-units", "5"],
     "needs --read-units and --write-units"),
    (["--read-units", "5", "--write-units", "5"],
     "only for --billing provisioned"),
    (["--billing", "on-demand", "--write-units", "5"],
     "only for --billing provisioned"),
    (["--billing", "provisioned", "--read-units", "0", "--write-units", "1"],
     "--read-units 0: expected an integer from 1"),
    (["--billing", "provisioned", "--read-units", "1", "--write-units", "-1"],
     "--write-units -1: expected an integer from 1"),
    (["--read-units", "1e3"], "expected an integer from 1"),
    (["--read-units", "18446744073709551617"], "expected an integer from 1"),
    (["--tag", "team"], "expected KEY=VALUE"),
    (["--tag", "=web"], "1 to 128 characters"),
    (["--tag", "ä" * 129 + "=web"], "1 to 128 characters"),
    (["--tag", "a=" + "ä" * 257], "at most 256 characters"),
    (["--tag", b"\xff=a"], "--tag, number 1: expected UTF-8"),
    (["--tag", b"a=\xed\xa0\x80"], "--tag, number 1: expected UTF-8"),
    (["--tag", "AWS:team=web"], "reserved for AWS"),
    (["--tag", "a=1", "--tag", "a=2"], "--tag, number 2: duplicate key"),
    (MANY_TAGS, "at most 50 tags"),
], ids=lambda value: None if isinstance(value, list) else value[:20])
def test_options_that_cannot_be(nowhere, options, words):
    with Proxy(None, lambda request, forward: error("Unasked")) as proxy:
        status, out, problem = nowhere.at(proxy)("table", "create", *options)
        assert (status, out) == (EX_USAGE, "")
        assert words in problem and len(problem.splitlines()) == 1
        assert proxy.requests == []


def test_the_longest_tags_there_can_be(table, dynamodb_local):
    new_name(table, "tagged")
    options = ["--tag", "ä" * 128 + "=" + "ö" * 256]
    options += MANY_TAGS[:98]
    with Proxy(dynamodb_local.endpoint, Aws()) as proxy:
        table.at(proxy).ok("table", "create", *options)
        [body] = bodies(proxy, "CreateTable")
    assert len(body["Tags"]) == 50
    assert body["Tags"][0] == {"Key": "ä" * 128, "Value": "ö" * 256}


@pytest.mark.parametrize("arguments", [
    ["table", "check", "--deletion-protection"],
    ["get", "abc", "--tag", "a=b"],
    ["config", "--billing", "on-demand"],
], ids=lambda arguments: arguments[0])
def test_options_at_another_verb(nowhere, arguments):
    status, out, problem = nowhere(*arguments)
    assert (status, out) == (EX_USAGE, "")
    assert "only for table create" in problem


def test_sqlite_has_no_such_options(build, tmp_path):
    curt = Curt(build, tmp_path, None, STORE="sqlite")
    for options in (["--deletion-protection"], ["--point-in-time-recovery"],
                    ["--tag", "a=b"], ["--billing", "on-demand"]):
        status, out, problem = curt("table", "create", *options)
        assert (status, out) == (EX_USAGE, "")
        assert problem == ("curt: table create: STORE is sqlite, and these "
                           "options are only for DynamoDB")
    assert not (tmp_path / "state").exists()
    assert curt.ok("table", "create") == "table OK"
    assert json.loads(curt.ok("--json", "table", "check")) == {
        "ok": True, "findings": [], "notes": []}


# ---- Differences ----------------------------------------------------------


def other_table(client, name, keys, types):
    client.create_table(
        TableName=name, BillingMode="PAY_PER_REQUEST",
        KeySchema=[{"AttributeName": k, "KeyType": t} for k, t in keys],
        AttributeDefinitions=[{"AttributeName": k, "AttributeType": t}
                              for k, t in types])


@pytest.mark.parametrize("keys, types", [
    ([("id", "HASH")], [("id", "S")]),
    ([("short_id", "HASH")], [("short_id", "N")]),
    ([("short_id", "HASH"), ("at", "RANGE")], [("short_id", "S"),
                                               ("at", "N")]),
], ids=["name", "type", "sort key"])
def test_a_table_with_another_key_is_refused(table, dynamodb_local, keys,
                                             types):
    name = new_name(table, "odd")
    other_table(dynamodb_local.client(), name, keys, types)
    [finding] = findings_of(table)
    assert "its key is not only the string hash key short_id" in finding
    assert "deploy/aws/template.yaml" in finding
    with Proxy(dynamodb_local.endpoint) as proxy:
        status, out, problem = table.at(proxy)("table", "create",
                                               *ALL_OPTIONS)
        assert status == EX_DATAERR
        assert problem == "curt: " + finding
        assert set(proxy.actions()) == {"CreateTable", "DescribeTable"}, (
            "a table that is not curt's must not be changed")
        status, out, problem = table("create", "https://example.com/")
        assert (status, out) == (EX_TEMPFAIL, "")
        assert "curt table check" in problem


def test_time_to_live_on_another_attribute(table, dynamodb_local):
    client = dynamodb_local.client()
    name = new_name(table, "late")
    other_table(client, name, [("short_id", "HASH")], [("short_id", "S")])
    client.update_time_to_live(
        TableName=name, TimeToLiveSpecification={
            "Enabled": True, "AttributeName": "expires"})
    [finding] = findings_of(table)
    assert "another attribute" in finding
    status, out, problem = table("table", "create")
    assert status == EX_DATAERR
    assert "another attribute" in problem


@pytest.mark.parametrize("described, words", [
    ({"TableStatus": "DELETING", "KeySchema": [], "AttributeDefinitions": []},
     "its status is DELETING, expected ACTIVE"),
    ({"TableStatus": "CREATING"}, "its status is CREATING, expected ACTIVE"),
    ({"TableStatus": "INACCESSIBLE_ENCRYPTION_CREDENTIALS"},
     "its status is INACCESSIBLE_ENCRYPTION_CREDENTIALS, expected ACTIVE"),
    ({"TableStatus": "ARCHIVED"}, "its status is ARCHIVED, expected ACTIVE"),
    ({"TableStatus": "A`B\n"}, "its status is unknown, expected ACTIVE"),
], ids=["deleting", "creating", "kms", "archived", "strange"])
def test_a_table_that_cannot_be_used(table, dynamodb_local, described, words):
    with Proxy(dynamodb_local.endpoint, Aws(**described)) as proxy:
        table.at(proxy)
        [finding] = findings_of(table)
        assert words in finding
        if described["TableStatus"] != "CREATING":
            status, out, problem = table("table", "create", *ALL_OPTIONS)
            assert (status, out) == (EX_DATAERR, "")
            assert finding in problem
        assert not {a for a in proxy.actions() if a.startswith("Update")}


# ---- Notes ----------------------------------------------------------------


def test_a_table_whose_backups_are_secret_passes(table, dynamodb_local):
    aws = Aws()
    aws.protection = True
    aws.DescribeContinuousBackups = lambda body, forward: error(
        "AccessDeniedException", "User: arn:aws:iam::123456789012:user/u is "
        "not authorized to perform: dynamodb:DescribeContinuousBackups")
    with Proxy(dynamodb_local.endpoint, aws) as proxy:
        [note] = notes_of(table.at(proxy))
    assert "cannot read whether point-in-time recovery is on" in note
    assert "dynamodb:DescribeContinuousBackups" in note


REPLICAS = [{"RegionName": "us-east-1", "ReplicaStatus": "ACTIVE"}]


def test_a_global_table(table, dynamodb_local):
    aws = Aws(GlobalTableVersion="2019.11.21", Replicas=REPLICAS)
    aws.protection = aws.backups = True
    with Proxy(dynamodb_local.endpoint, aws) as proxy:
        [note] = notes_of(table.at(proxy))
        assert "global table" in note and "AWS_REGION = eu-west-1" in note
        assert "hits are lost" in note
        aws.table["MultiRegionConsistency"] = "STRONG"
        assert notes_of(table) == []


def test_a_global_table_that_cannot_have_a_time_to_live(table,
                                                        dynamodb_local):
    name = new_name(table, "strong")
    other_table(dynamodb_local.client(), name, [("short_id", "HASH")],
                [("short_id", "S")])
    aws = Aws(Replicas=REPLICAS, MultiRegionConsistency="STRONG")
    aws.protection = aws.backups = True
    with Proxy(dynamodb_local.endpoint, aws) as proxy:
        [note] = notes_of(table.at(proxy))
    assert "cannot have it" in note
    assert "table create" not in note


@pytest.mark.parametrize("kind", ["UnknownOperationException",
                                  "ValidationException"])
def test_a_server_without_time_to_live(table, dynamodb_local, kind):
    """ScyllaDB's Alternator, depending on its release and options."""
    name = new_name(table, "alternator")

    def alternator(request, forward):
        if "TimeToLive" in request.action or "Backups" in request.action:
            return error(kind, request.action + " not yet supported.")
        return None

    with Proxy(dynamodb_local.endpoint, alternator) as proxy:
        out = table.at(proxy).ok("table", "create")
        [note] = notes_of(table)
        assert out == "table OK\nnote: " + note
        assert "this server does not have time to live" in note
        assert "alternator-ttl" in note
        assert "UpdateTimeToLive" not in proxy.actions()
        table.ok("create", "https://example.com/")
    assert name == table.env["TABLE"]


@pytest.mark.parametrize("action", ["DescribeTable", "DescribeTimeToLive"])
def test_a_table_that_may_not_be_looked_at(table, dynamodb_local, action):
    def denied(request, forward):
        if request.action == action:
            return error("AccessDeniedException", "User: u is not authorized "
                         "to perform: dynamodb:" + action)
        return None

    with Proxy(dynamodb_local.endpoint, denied) as proxy:
        status, out, problem = table.at(proxy)("table", "check")
    assert (status, out) == (EX_NOPERM, "")
    assert "dynamodb:" + action in problem
