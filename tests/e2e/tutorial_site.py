"""curt and the tutorial's two Lambda functions (tutorial/) on one table.

The functions run in this process, called as API Gateway calls them, with boto3
as their client. The table is made as the tutorial says, under the tutorial's
name, which is curt's default, too: without a time to live, so an item whose
ttl has passed stays until a test has looked at it.
"""

import functools
import json
import time
import types
from pathlib import Path
from unittest import mock

import boto3
import pytest

import harness
from dynamodb_local import ACCESS_KEY, SECRET_KEY

TABLE = "url-shortener-table"
APP_URL = "https://sho.rt/t/"
MIN_CHAR, MAX_CHAR = 4, 7

CLIENT = {"user_agent": "curl/7.54.0", "source_ip": "203.0.113.9",
          "xray_trace_id": "Root=1-5bff2d6e-3f4b1c0d9a8e7f6a5b4c3d2e"}

# Nothing in them is normalised: what one side stores, both send.
PLAIN_URLS = [
    "https://example.com/",
    "http://example.com/a/b.html?c=d#e",
    "https://example.com:8443/path;v=1/../x?q=%C3%A4%2f%ff&q=+&q",
    "http://example.com/?a=1&b=%7a&c=100%25#f?g=h",
    "http://192.0.2.1/~user/(x)*!$',=:@",
    "http://[2001:db8::1]:8080/",
    "http://xn--exmple-cua.com/%E2%82%AC",
    "https://example.com/" + "long/" * 1000 + "?q=" + "y" * 2000,
]


def make_table(client, name):
    """The tutorial's table: primary key short_id, a string, and what else the
    console of its time filled in."""
    client.create_table(
        TableName=name,
        KeySchema=[{"AttributeName": "short_id", "KeyType": "HASH"}],
        AttributeDefinitions=[{"AttributeName": "short_id",
                               "AttributeType": "S"}],
        ProvisionedThroughput={"ReadCapacityUnits": 5,
                               "WriteCapacityUnits": 5})


@functools.cache
def resource(endpoint, name, **options):
    """boto3.resource(NAME) of that endpoint."""
    session = boto3.session.Session(aws_access_key_id=ACCESS_KEY,
                                    aws_secret_access_key=SECRET_KEY)
    return session.resource(name, endpoint_url=endpoint, **options)


def load_handler(name, endpoint):
    """lambda_handler of tutorial/NAME.py, its client led to endpoint."""
    path = Path(__file__).parent / "tutorial" / (name + ".py")
    module = types.ModuleType("tutorial_" + name)
    with mock.patch.object(boto3, "resource",
                           functools.partial(resource, endpoint)):
        exec(compile(path.read_text(), str(path), "exec"), module.__dict__)
    return module.lambda_handler


def proxy_event(body, headers):
    """What API Gateway hands to a function behind POST /create."""
    return {"resource": "/create", "path": "/create", "httpMethod": "POST",
            "headers": {"Content-Type": "application/json", **headers},
            "queryStringParameters": None, "pathParameters": None,
            "stageVariables": None, "requestContext": {"stage": "test"},
            "body": body, "isBase64Encoded": False}


def short_id_of(short_url):
    """The id at the end of a short URL of either side."""
    assert short_url.startswith(APP_URL)
    return short_url[len(APP_URL):]


class Site:
    """curt and the functions on one table."""

    def __init__(self, server, pool):
        self.client = server.client()
        self.pool = pool
        self.create_handler = load_handler("create", server.endpoint)
        self.retrieve_handler = load_handler("retrieve", server.endpoint)

    # client: what the request says about who makes it; see CLIENT.

    def lambda_create(self, long_url, client=CLIENT):
        return self.lambda_create_from({"long_url": long_url}, client)

    def lambda_create_from(self, body, client=CLIENT):
        names = {"user_agent": "User-Agent", "source_ip": "X-Forwarded-For",
                 "xray_trace_id": "X-Amzn-Trace-Id"}
        headers = {names[name]: value for name, value in client.items()}
        answer = self.create_handler(proxy_event(json.dumps(body), headers),
                                     None)
        assert answer["statusCode"] == 200
        return short_id_of(answer["body"])

    def lambda_get(self, short_id):
        """The Location that API Gateway makes of the function's answer."""
        answer = self.retrieve_handler({"short_id": short_id}, None)
        assert answer["statusCode"] == 301
        return answer["location"]

    def curt_create(self, long_url, client=CLIENT):
        headers = {"Content-Type": "application/json"}
        if "user_agent" in client:
            headers["User-Agent"] = client["user_agent"]
        if "xray_trace_id" in client:
            headers["X-Amzn-Trace-Id"] = client["xray_trace_id"]
        r = self.pool.request(
            "POST", "/create", headers, json.dumps({"long_url": long_url}),
            params={"REMOTE_ADDR": client.get("source_ip")})
        assert r.status == 200, r.text
        return short_id_of(r.text)

    def curt_get(self, short_id, method="GET"):
        return self.pool.request(method, "/t/" + short_id)

    def curt_items(self, ids):
        """The items as `curt get --json` prints them, numbers as text."""
        printed = self.pool.tool("get", *ids, "--json").stdout
        return [json.loads(line, parse_int=str, parse_float=str)
                for line in printed.rstrip("\n").split("\n")]

    def curt_item(self, short_id):
        [item] = self.curt_items([short_id])
        return item

    def item(self, short_id):
        """The item as it is stored; None if there is none."""
        return self.client.get_item(
            TableName=TABLE, Key={"short_id": {"S": short_id}},
            ConsistentRead=True).get("Item")

    def hits(self, short_id):
        return int(self.item(short_id)["hits"]["N"])

    def put(self, item):
        self.client.put_item(TableName=TABLE, Item=item)

    def change(self, short_id, **attributes):
        """Sets attributes of an item; None takes one away."""
        item = {**self.item(short_id), **attributes}
        self.put({name: value for name, value in item.items() if value})


# The fixtures are for the modules that import them.

@pytest.fixture(scope="module")
def lambda_environment():
    """What the tutorial sets in the functions' configuration."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("APP_URL", APP_URL)
        patch.setenv("MIN_CHAR", str(MIN_CHAR))
        patch.setenv("MAX_CHAR", str(MAX_CHAR))
        # Lambda's clock shows UTC.
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def curt_settings(server, **more):
    return {"STORE": "dynamodb", "APP_URL": APP_URL,
            # What is deleted or repaired by the other side is seen at once.
            "CACHE_TTL": 0, "HITS_FLUSH": 1, "MIN_CHAR": MIN_CHAR,
            "MAX_CHAR": MAX_CHAR, **server.env(), **more}


@pytest.fixture(scope="module")
def tutorial(build, dynamodb_local, lambda_environment):
    """A Site on a table of the session's DynamoDB Local."""
    client = dynamodb_local.client()
    make_table(client, TABLE)
    with harness.Pool(build, curt_settings(dynamodb_local)) as pool:
        pool.start()
        yield Site(dynamodb_local, pool)
    client.delete_table(TableName=TABLE)
