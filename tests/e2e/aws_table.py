"""What a table on AWS has and one on DynamoDB Local has not, in AWS's own
form."""

import json

import botocore.session
from botocore.validate import ParamValidator

from aws_wire import Answer

MODEL = botocore.session.get_session().get_service_model("dynamodb")

# Newer than the botocore of the tests.
NEWER_MEMBERS = {"DeletionProtectionEnabled": bool}


def error(kind, message="", status=400):
    return Answer(json.dumps({"__type": "com.amazonaws.dynamodb.v20120810#"
                              + kind, "message": message}), status)


def success(body):
    return Answer(json.dumps(body))


def check_shape(request):
    """Fails unless the request is what the API's own model describes."""
    body = dict(request.json)
    for name, kind in NEWER_MEMBERS.items():
        assert isinstance(body.pop(name, kind()), kind)
    operation = MODEL.operation_model(request.action)
    report = ParamValidator().validate(body, operation.input_shape)
    assert not report.has_errors(), report.generate_report()


ALL_OPTIONS = ("--deletion-protection", "--point-in-time-recovery",
               "--tag", "team=web", "--tag", "Umgebung=grün = ja",
               "--tag", "empty=")
ALL_TAGS = {"team": "web", "Umgebung": "grün = ja", "empty": ""}


class Aws:
    """A fault that adds what AWS has and DynamoDB Local has not: deletion
    protection, point-in-time recovery and tags. More of the description can be
    given in table; busy: how often each change is refused at first."""

    def __init__(self, busy=0, **table):
        self.protection = False
        self.backups = False
        self.tags = {}
        self.table = table
        self.busy = busy
        self.refused = {}

    def refuses(self, action):
        self.refused[action] = self.refused.get(action, 0) + 1
        return self.refused[action] <= self.busy

    def __call__(self, request, forward):
        check_shape(request)
        answer = getattr(self, request.action, lambda body, forward: None)
        return answer(request.json, forward)

    def add_tags(self, tags):
        self.tags.update((tag["Key"], tag["Value"]) for tag in tags)

    def CreateTable(self, body, forward):
        answer = forward()
        if answer.status == 200:
            self.protection = body.get("DeletionProtectionEnabled", False)
            self.add_tags(body.get("Tags", []))
        return answer

    def DescribeTable(self, body, forward):
        answer = forward()
        if answer.status != 200:
            return answer
        described = json.loads(answer.body)
        described["Table"]["DeletionProtectionEnabled"] = self.protection
        described["Table"].update(self.table)
        return success(described)

    def UpdateTable(self, body, forward):
        if self.refuses("UpdateTable"):
            return error("ResourceInUseException", "Attempt to change a "
                         "resource which is still in use: Table is being "
                         "updated: " + body["TableName"])
        assert set(body) == {"TableName", "DeletionProtectionEnabled"}
        self.protection = body["DeletionProtectionEnabled"]
        return success({"TableDescription": {"TableStatus": "UPDATING"}})

    def described_backups(self):
        return success({"ContinuousBackupsDescription": {
            "ContinuousBackupsStatus": "ENABLED",
            "PointInTimeRecoveryDescription": {
                "PointInTimeRecoveryStatus":
                    "ENABLED" if self.backups else "DISABLED"}}})

    def DescribeContinuousBackups(self, body, forward):
        return self.described_backups()

    def UpdateContinuousBackups(self, body, forward):
        if self.refuses("UpdateContinuousBackups"):
            return error("ContinuousBackupsUnavailableException", "Backups "
                         "are being enabled for the table: %s. Please retry "
                         "later" % body["TableName"])
        self.backups = body["PointInTimeRecoverySpecification"][
            "PointInTimeRecoveryEnabled"]
        return self.described_backups()

    def TagResource(self, body, forward):
        if self.refuses("TagResource"):
            return error("ResourceInUseException")
        assert body["ResourceArn"].endswith(":table/" + self.name)
        self.add_tags(body["Tags"])
        return Answer(b"{}")
