"""deploy/aws/ allows what curt calls and nothing else: the actions are those of
requests that were really made, and the conditions are applied to each."""

import fnmatch
import json
import re
import subprocess

import botocore.session
import pytest
import yaml

import harness
from aws_wire import HANG_UP, Proxy
from aws_table import ALL_OPTIONS, Aws
from dynamodb_tool import apply_and, create_in, items, once
from dynamodb_tool import start_pool, table  # table is a fixture

DEPLOY = harness.ROOT / "deploy" / "aws"
ROLES = ("redirect", "create", "operate")
ARN = "arn:aws:dynamodb:REGION:ACCOUNT:table/TABLE"

OPERATIONS = set(botocore.session.get_session().get_service_model(
    "dynamodb").operation_names)


def policy(role):
    return json.loads((DEPLOY / ("iam-%s.json" % role)).read_text())


def as_list(value):
    return value if isinstance(value, list) else [value]


def actions_of(*roles):
    return {action.removeprefix("dynamodb:") for role in roles
            for statement in policy(role)["Statement"]
            for action in as_list(statement["Action"])}


# ---- What IAM would say ---------------------------------------------------

# Words of expressions that are no attributes.
WORDS = {"SET", "ADD", "REMOVE", "DELETE", "AND", "OR", "NOT", "BETWEEN", "IN",
         "attribute_exists", "attribute_not_exists", "attribute_type",
         "begins_with", "contains", "size", "if_not_exists", "list_append"}


def attributes_of(body):
    """The top-level attributes that a request names, as dynamodb:Attributes
    has them."""
    found = set(body.get("Key", {})) | set(body.get("Item", {}))
    for name in ("ProjectionExpression", "UpdateExpression",
                 "ConditionExpression"):
        for word in re.findall(r"(?<![\w:.#])#?[A-Za-z_]\w*",
                               body.get(name, "")):
            if word not in WORDS:
                found.add(body["ExpressionAttributeNames"][word]
                          if word.startswith("#") else word)
    return found


def context_of(request):
    """The condition keys of a request."""
    body = request.json
    context = {"dynamodb:Attributes": attributes_of(body)}
    key = (body.get("Key") or body.get("Item") or {}).get("short_id")
    if key is not None:
        context["dynamodb:LeadingKeys"] = {key["S"]}
    if request.action == "GetItem":
        context["dynamodb:Select"] = {
            "SPECIFIC_ATTRIBUTES" if "ProjectionExpression" in body
            else "ALL_ATTRIBUTES"}
    if request.action in ("PutItem", "UpdateItem", "DeleteItem"):
        context["dynamodb:ReturnValues"] = {body.get("ReturnValues", "NONE")}
    return context


def holds(operator, wanted, values):
    """values: None where the request has no such key."""
    name = operator.removeprefix("ForAllValues:").removesuffix("IfExists")
    matches = {"StringEquals": lambda value, pattern: value == pattern,
               "StringLike": fnmatch.fnmatchcase}[name]
    if values is None:
        return operator != name
    return all(any(matches(value, pattern) for pattern in as_list(wanted))
               for value in values)


def allows(statement, request):
    context = context_of(request)
    return ("dynamodb:" + request.action in as_list(statement["Action"])
            and all(holds(operator, wanted, context.get(key))
                    for operator, keys in statement.get("Condition",
                                                        {}).items()
                    for key, wanted in keys.items()))


def allowed(request, *roles):
    return any(allows(statement, request) for role in roles
               for statement in policy(role)["Statement"])


class Fake:
    def __init__(self, action, **body):
        self.action = action
        self.json = body


@pytest.mark.parametrize("request_", [
    Fake("GetItem", Key={"short_id": {"S": "a"}}),
    Fake("GetItem", Key={"short_id": {"S": "a"}},
         ProjectionExpression="short_id, analytics"),
    Fake("GetItem", Key={"short_id": {"S": "a"}},
         ProjectionExpression="short_id, #a",
         ExpressionAttributeNames={"#a": "analytics"}),
    Fake("UpdateItem", Key={"short_id": {"S": "a"}},
         UpdateExpression="SET long_url = :u"),
    Fake("UpdateItem", Key={"short_id": {"S": "a"}},
         UpdateExpression="ADD hits :n SET #n = :u",
         ExpressionAttributeNames={"#n": "long_url"}),
    Fake("UpdateItem", Key={"short_id": {"S": "a"}},
         UpdateExpression="ADD hits :n",
         ConditionExpression="begins_with(long_url, :guess)"),
    Fake("UpdateItem", Key={"short_id": {"S": "a"}},
         UpdateExpression="SET disabled = :t"),
    Fake("UpdateItem", Key={"short_id": {"S": "a"}}, ReturnValues="ALL_OLD",
         UpdateExpression="ADD hits :n"),
    Fake("PutItem", Item={"short_id": {"S": "a"}}),
    Fake("DeleteItem", Key={"short_id": {"S": "a"}}),
    Fake("Scan"),
], ids=lambda request: request.action)
def test_a_redirecting_host_can_do_no_more(request_):
    assert not allowed(request_, "redirect")


def test_the_keys_of_records_limit_a_host():
    def update(key):
        return Fake("UpdateItem", Key={"short_id": {"S": key}},
                    UpdateExpression="ADD used :n", ReturnValues="UPDATED_NEW")

    assert allowed(update("~quota~me~2026-11"), "create")
    assert not allowed(update("abc"), "create")
    assert not allowed(update("~key~abc"), "create")


def test_the_policies_name_one_table_and_no_wildcard():
    for role in ROLES:
        document = policy(role)
        assert document["Version"] == "2012-10-17"
        for statement in document["Statement"]:
            assert set(statement) <= {"Sid", "Effect", "Action", "Resource",
                                      "Condition"}
            assert statement["Effect"] == "Allow"
            assert statement["Resource"] == ARN
            for action in as_list(statement["Action"]):
                assert action.removeprefix("dynamodb:") in OPERATIONS


# ---- What curt calls ------------------------------------------------------


def looked_again(proxy, short_id):
    """Whether a flush of the link was followed by a read, because its
    condition had failed."""
    actions = [r.action for r in proxy.requests
               if r.json.get("Key") == {"short_id": {"S": short_id}}]
    return ("UpdateItem" in actions and "GetItem"
            in actions[actions.index("UpdateItem"):])


def redirect(table, local, tmp_path):
    """A pool that answers GET, counts, and whose flushes meet every fate."""
    client = local.client()

    def store(short_id, **more):
        client.put_item(TableName=table.env["TABLE"], Item={
            "short_id": {"S": short_id},
            "long_url": {"S": "https://example.com/"}, "hits": {"N": "0"},
            **more})

    def hits():
        return {i["short_id"]["S"]: i["hits"]["N"]
                for i in items(table, local)}

    lost = once("UpdateItem", apply_and(HANG_UP))

    def fault(request, forward):
        if (request.action != "UpdateItem"
                or request.json["Key"]["short_id"]["S"] != "goes"):
            return lost(request, forward)
        client.delete_item(TableName=table.env["TABLE"],
                           Key={"short_id": {"S": "goes"}})
        return None

    with Proxy(local.endpoint, fault) as proxy:
        table.env["HITS_FLUSH"] = "1"
        with start_pool(table, proxy, tmp_path) as pool:
            pool.start()
            for short_id in ("stays", "goes"):
                store(short_id)
                assert pool.request("GET", "/t/" + short_id).status == 301
            assert pool.request("HEAD", "/t/stays").status == 301
            assert pool.request("GET", "/t/unknown").status == 404
            harness.wait_until(lambda: hits().get("stays") == "1", "hit")
            harness.wait_until(lambda: looked_again(proxy, "goes"),
                               "a second look at what is gone")
            store("once", max_hits={"N": "1"})
            assert pool.request("GET", "/t/once").status == 301
            assert pool.request("GET", "/t/once").status == 410
            assert hits() == {"stays": "1", "once": "1"}
        return proxy.requests


def create(table, local, tmp_path):
    """A pool that answers POST, one answer of the store being lost, and the
    tool."""
    lost = once("PutItem", apply_and(HANG_UP))
    table.ok("plan", "set", "small", "--quota", "100/day")
    key = table.ok("key", "create", "me", "--plan", "small").strip()
    table.env["LIMITS"] = "on"
    with Proxy(local.endpoint, lost) as proxy:
        with start_pool(table, proxy, tmp_path) as pool:
            pool.start()
            for i in range(2):
                assert create_in(pool, "https://example.com/").status == 200
            assert create_in(pool, "https://example.com/",
                             ("X-Api-Key", key)).status == 200
        table.ok("create", "https://example.com/")
        links = [i for i in items(table, local) if "long_url" in i]
        assert len(links) == 4
        return proxy.requests


# What the tool is asked to do in the operator's role; None: it calls nothing.
VERBS = {
    "edit": ["edit", "drawn", "--title", "a test"],
    "get": ["get", "operated"],
    "delete": ["delete", "operated"],
    "disable": ["disable", "drawn", "--reason", "a test"],
    "enable": ["enable", "drawn"],
    "qr": ["qr", "drawn"],
    "key create": ["key", "create", "mine"],
    "key list": ["key", "list"],
    "key show": ["key", "show", "mine"],
    "key disable": ["key", "disable", "mine"],
    "key enable": ["key", "enable", "mine"],
    "key rotate": ["key", "rotate", "other"],
    "key revoke": ["key", "revoke", "mine"],
    "plan set": ["plan", "set", "small", "--rate", "1/1"],
    "plan list": ["plan", "list"],
    "plan show": ["plan", "show", "small"],
    "plan delete": ["plan", "delete", "small"],
    "help": ["help"],
    "hits": ["hits"],
    "config": ["config"],
    "keys": ["keys"],
}

# These have tests of their own here, or are refused without a request:
# test_backup.py, test_dynamodb_has_backups_of_its_own.
OTHER_VERBS = {"create", "table", "doctor", "backup", "restore", "setup"}


def verbs(table):
    text = table.ok("--help").split("\n\n")[1]
    return [" ".join(line.split()[:2 if line.split()[0] in ("key", "plan")
                                  else 1]) for line in text.splitlines()]


def operate(table, local, tmp_path):
    with Proxy(local.endpoint, Aws()) as proxy:
        proxy.fault.name = table.at(proxy).env["TABLE"]
        # The table is there already, so that all of it is completed; but for
        # the time to live, which is missing on one that is new.
        table.ok("table", "create", *ALL_OPTIONS)
        table.ok("table", "check")
        table.env["TABLE"] += "-new"
        proxy.fault = Aws()
        table.ok("table", "create", *ALL_OPTIONS)
        for short_id in ("operated", "drawn"):
            local.client().put_item(TableName=table.env["TABLE"], Item={
                "short_id": {"S": short_id},
                "long_url": {"S": "https://example.com/"}})
        table.ok("key", "create", "other")
        for verb in verbs(table):
            if verb not in OTHER_VERBS:
                table.ok(*VERBS[verb])
        done = subprocess.run(
            [table.build.fcgi, "-t"], timeout=60, stdin=subprocess.DEVNULL,
            env=harness.child_env(tmp_path, {
                k: v for k, v in table.env.items() if v is not None}),
            stderr=subprocess.PIPE, text=True)
        assert done.returncode == 0, done.stderr
        return proxy.requests


RUNS = {"redirect": redirect, "create": create, "operate": operate}


@pytest.mark.parametrize("role", ROLES)
def test_a_policy_is_what_its_role_calls(table, dynamodb_local, tmp_path,
                                         role):
    requests = RUNS[role](table, dynamodb_local, tmp_path)
    assert {r.action for r in requests} == actions_of(role)
    for request in requests:
        assert allowed(request, role), (request.action, request.json)


def test_the_doctor_gets_along_with_all_three(table, dynamodb_local):
    """It tries everything; what it asks for the clock is not signed."""
    assert set(verbs(table)) == set(VERBS) | OTHER_VERBS, "a new verb to drive"
    with Proxy(dynamodb_local.endpoint, Aws()) as proxy:
        table.at(proxy)("doctor")
        requests = [r for r in proxy.requests if r.values("X-Amz-Target")]
    assert {"DescribeTable", "PutItem", "GetItem"} <= {
        r.action for r in requests}
    for request in requests:
        assert allowed(request, *ROLES), (request.action, request.json)


def test_no_action_in_the_sources_is_without_a_policy():
    """Also one that no test has called."""
    found = {}
    for path in (harness.ROOT / "src").rglob("*.c"):
        for word in re.findall(r'"([A-Z][A-Za-z]+)"', path.read_text()):
            if word in OPERATIONS:
                found.setdefault(word, path.name)
    assert set(found) == actions_of(*ROLES), found


# ---- CloudFormation -------------------------------------------------------


class Loader(yaml.SafeLoader):
    """Knows the intrinsic functions by their short names."""


def intrinsic(loader, suffix, node):
    if isinstance(node, yaml.ScalarNode):
        return {suffix: loader.construct_scalar(node)}
    return {suffix: loader.construct_sequence(node, deep=True)}


Loader.add_multi_constructor("!", intrinsic)

TEMPLATE = yaml.load((DEPLOY / "template.yaml").read_text(), Loader)
RESOURCES = TEMPLATE["Resources"]


def resolve(value, parameters):
    """value with the references to parameters, and the table, put in."""
    if isinstance(value, list):
        return [resolve(v, parameters) for v in value]
    if not isinstance(value, dict):
        return value
    if value == {"GetAtt": "Table.Arn"}:
        return ARN
    if set(value) == {"Ref"} and value["Ref"] in parameters:
        return parameters[value["Ref"]]
    return {k: resolve(v, parameters) for k, v in value.items()}


def defaults():
    return {name: p["Default"] for name, p in TEMPLATE["Parameters"].items()}


@pytest.mark.parametrize("role", ROLES)
def test_the_template_has_the_same_policy(role):
    resource = RESOURCES[role.capitalize() + "Policy"]
    assert resource["Type"] == "AWS::IAM::ManagedPolicy"
    document = resolve(resource["Properties"]["PolicyDocument"], {})
    assert document == policy(role)


def references(value):
    """Every name that !Ref, !GetAtt or !If uses."""
    if isinstance(value, list):
        for v in value:
            yield from references(v)
    if isinstance(value, dict):
        for k, v in value.items():
            if k in ("Ref", "Condition") and isinstance(v, str):
                yield v
            elif k == "GetAtt":
                yield v.split(".")[0]
            elif k == "If":
                yield v[0]
                yield from references(v[1:])
            else:
                yield from references(v)


def test_the_template_names_what_it_has():
    known = (set(TEMPLATE["Parameters"]) | set(TEMPLATE["Conditions"])
             | set(RESOURCES) | {"AWS::NoValue"})
    used = set(references(TEMPLATE))
    assert used <= known
    assert set(TEMPLATE["Parameters"]) <= used | {"TableName"}
    assert RESOURCES["Table"]["DeletionPolicy"] == "Retain"
    assert RESOURCES["Table"]["UpdateReplacePolicy"] == "Retain"


def made_by_curt(table, local, *options):
    """The requests by which curt makes a table; its name is links."""
    with Proxy(local.endpoint, Aws()) as proxy:
        table.env["TABLE"] = "links-" + table.env["TABLE"]
        table.at(proxy).ok("table", "create", *options)
        found = {r.action: r.json for r in proxy.requests}
    for body in found.values():
        assert body.pop("TableName") == table.env["TABLE"]
    return found


def test_the_template_makes_the_table_that_curt_makes(table, dynamodb_local):
    made = made_by_curt(table, dynamodb_local, "--deletion-protection",
                        "--point-in-time-recovery")
    properties = resolve(RESOURCES["Table"]["Properties"], defaults())
    assert properties.pop("TableName") == "url-shortener-table"
    assert properties.pop("TimeToLiveSpecification") == made[
        "UpdateTimeToLive"]["TimeToLiveSpecification"]
    recovery = properties.pop("PointInTimeRecoverySpecification")
    assert recovery == {"PointInTimeRecoveryEnabled": "true"}
    assert made["UpdateContinuousBackups"] == {
        "PointInTimeRecoverySpecification": {
            "PointInTimeRecoveryEnabled": True}}
    assert properties.pop("DeletionProtectionEnabled") == "true"
    assert made["CreateTable"].pop("DeletionProtectionEnabled") is True
    assert properties == made["CreateTable"]


# ---- commands.sh ----------------------------------------------------------


def run_commands(tmp_path, **env):
    """commands.sh with an aws that writes down what it is called with:
    [(service, command, {option: [word]})]."""
    log = tmp_path / "calls"
    aws = harness.make_dir(tmp_path / "bin") / "aws"
    aws.write_text("#!/bin/sh\nprintf '%s\\0' \"$@\" end-of-call >>'" + str(log)
                   + "'\ncase \"$*\" in\n"
                   "*'--query Arn'*) echo arn:aws:iam::123456789012:user/me;;\n"
                   "sts*) echo 123456789012;;\n"
                   "esac\n")
    aws.chmod(0o755)
    child = harness.child_env(tmp_path, env)
    child["PATH"] = "%s:%s" % (aws.parent, child["PATH"])
    done = subprocess.run(["sh", DEPLOY / "commands.sh"], env=child,
                          stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
                          text=True, timeout=60)
    if done.returncode != 0:
        return done
    calls = []
    for call in log.read_text().split("\0end-of-call\0")[:-1]:
        service, command, *words = call.split("\0")
        options, values = {}, []
        for word in words:
            if word.startswith("--"):
                options[word[2:]] = values = []
            else:
                values.append(word)
        calls.append((service, command, options))
    return calls


def pairs(words):
    """["a=b,c=d"] as [{"a": "b", "c": "d"}]."""
    return [dict(pair.split("=") for pair in word.split(","))
            for word in words]


def test_the_commands_make_the_table_that_curt_makes(table, dynamodb_local,
                                                     tmp_path):
    made = made_by_curt(table, dynamodb_local, "--deletion-protection",
                        "--point-in-time-recovery")
    calls = [(command, options) for service, command, options
             in run_commands(tmp_path, AWS_REGION="eu-west-1", TABLE="links")
             if service == "dynamodb"]
    assert [command for command, _ in calls] == [
        "create-table", "wait", "update-time-to-live",
        "update-continuous-backups"]
    for command, options in calls:
        assert options.pop("region") == ["eu-west-1"]
        assert options.pop("table-name") == ["links"]
    creation = dict(calls)["create-table"]
    assert creation.pop("deletion-protection-enabled") == []
    assert {
        "KeySchema": pairs(creation.pop("key-schema")),
        "AttributeDefinitions": pairs(creation.pop("attribute-definitions")),
        "BillingMode": creation.pop("billing-mode")[0],
        "DeletionProtectionEnabled": True,
    } == made["CreateTable"]
    assert creation == {}
    assert pairs(dict(calls)["update-time-to-live"][
        "time-to-live-specification"]) == [
            {"Enabled": "true", "AttributeName": "ttl"}]
    assert made["UpdateTimeToLive"]["TimeToLiveSpecification"] == {
        "Enabled": True, "AttributeName": "ttl"}
    assert pairs(dict(calls)["update-continuous-backups"][
        "point-in-time-recovery-specification"]) == [
            {"PointInTimeRecoveryEnabled": "true"}]


def test_the_commands_make_the_role_of_the_template(tmp_path):
    calls = [(command, options) for service, command, options
             in run_commands(tmp_path, AWS_REGION="eu-west-1")
             if service == "iam"]
    arn = ("arn:aws:dynamodb:eu-west-1:123456789012:table/"
           "url-shortener-table")
    made = {options["policy-name"][0]: json.loads(
        options["policy-document"][0])
        for command, options in calls if command == "create-policy"}
    assert made == {
        "curt-" + role: json.loads(json.dumps(policy(role)).replace(ARN, arn))
        for role in ROLES}
    attached = {options["policy-arn"][0] for command, options in calls
                if command == "attach-role-policy"}
    assert attached == {"arn:aws:iam::123456789012:policy/curt-redirect",
                        "arn:aws:iam::123456789012:policy/curt-create"}

    role = resolve(RESOURCES["HostRole"]["Properties"], defaults())
    assert role["ManagedPolicyArns"] == [
        {"Ref": "RedirectPolicy"},
        {"If": ["Creates", {"Ref": "CreatePolicy"}, {"Ref": "AWS::NoValue"}]}]
    [(_, options)] = [c for c in calls if c[0] == "create-role"]
    trust = json.loads(options["assume-role-policy-document"][0])
    [wanted] = role["AssumeRolePolicyDocument"]["Statement"]
    # Sessions with tags are for EKS, which these commands do not set up.
    assert wanted.pop("Action") == ["sts:AssumeRole", "sts:TagSession"]
    [statement] = trust["Statement"]
    assert statement.pop("Action") == "sts:AssumeRole"
    assert statement == wanted
    [(_, options)] = [c for c in calls if c[0] == "put-role-policy"]
    assert json.loads(options["policy-document"][0]) == role["Policies"][0][
        "PolicyDocument"]
    assert [c for c, _ in calls][-2:] == ["create-instance-profile",
                                          "add-role-to-instance-profile"]


def test_the_commands_want_a_region(tmp_path):
    done = run_commands(tmp_path)
    assert done.returncode != 0
    assert "AWS_REGION" in done.stderr
    assert not (tmp_path / "calls").exists()


def test_the_readme_names_every_file():
    text = (DEPLOY / "README.md").read_text()
    for path in DEPLOY.iterdir():
        if path.name != "README.md":
            assert "`%s`" % path.name in text, path.name
