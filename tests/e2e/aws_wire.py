"""A recording proxy in front of DynamoDB Local, with faults on demand, and a
second opinion on every signature: botocore's."""

import json
import os
import socket
import ssl
import struct
import threading
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials


class Request:
    """One request, as it came, and when (time.monotonic())."""

    def __init__(self, connection, method, path, headers, body):
        self.at = time.monotonic()
        self.socket = None  # of the connection
        self.connection = connection  # a number for each TCP connection
        self.method = method
        self.path = path
        self.headers = headers  # [(name, value)] in the order of the wire
        self.body = body

    def values(self, name):
        return [v for n, v in self.headers if n.lower() == name.lower()]

    def value(self, name):
        [value] = self.values(name)
        return value

    @property
    def action(self):
        return self.value("X-Amz-Target").removeprefix("DynamoDB_20120810.")

    @property
    def json(self):
        return json.loads(self.body)

    def signed_headers(self):
        authorization = self.value("Authorization")
        [part] = [p.strip() for p in authorization.split(",")
                  if p.strip().startswith("SignedHeaders=")]
        return part.removeprefix("SignedHeaders=").split(";")

    def authorization_by_botocore(self, env, scheme="http"):
        """The Authorization header that botocore gives the same request."""
        credentials = Credentials(env["AWS_ACCESS_KEY_ID"],
                                  env["AWS_SECRET_ACCESS_KEY"])
        auth = SigV4Auth(credentials, "dynamodb", env["AWS_REGION"])
        request = AWSRequest(
            self.method, "%s://%s%s" % (scheme, self.value("Host"), self.path),
            headers={name: self.value(name) for name in self.signed_headers()},
            data=self.body)
        request.context["timestamp"] = self.value("X-Amz-Date")
        text = auth.string_to_sign(request, auth.canonical_request(request))
        auth._inject_signature_to_request(
            request, auth.signature(text, request))
        return request.headers["Authorization"]


class Answer:
    """What a fault sends. length: Content-Length, where it is not true; None
    leaves it out. cut: close the connection behind the bytes."""

    def __init__(self, body=b"", status=200, kind="application/x-amz-json-1.0",
                 length=-1, cut=False, headers=()):
        self.body = body.encode() if isinstance(body, str) else body
        self.status = status
        self.kind = kind
        self.length = len(self.body) if length == -1 else length
        self.cut = cut
        self.headers = headers


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1

    def setup(self):
        super().setup()
        self.upstream = None
        self.number = self.server.owner.new_connection()

    def finish(self):
        if self.upstream is not None:
            self.upstream.close()
        try:
            super().finish()
        except OSError:
            pass

    def log_message(self, format, *args):
        pass

    def date_time_string(self, timestamp=None):
        """The Date header, by the clock that the server has."""
        return super().date_time_string(time.time()
                                        + self.server.owner.clock_offset)

    def forward(self, request):
        """The answer of DynamoDB Local."""
        if self.upstream is None:
            self.upstream = HTTPConnection(
                self.server.owner.upstream, timeout=30)
        self.upstream.request(request.method, request.path, request.body,
                              dict(request.headers))
        response = self.upstream.getresponse()
        return Answer(response.read(), response.status,
                      response.getheader("Content-Type"))

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        request = Request(self.number, self.command, self.path,
                          self.headers.items(), body)
        request.socket = self.connection
        owner = self.server.owner
        owner.record(request)
        answer = None
        if owner.fault is not None:
            answer = owner.fault(request, lambda: self.forward(request))
        if answer is None:
            answer = self.forward(request)
        try:
            self.send(answer)
        except OSError:
            self.close_connection = True

    do_GET = do_PUT = do_HEAD = do_POST

    def send(self, answer):
        if answer is HANG_UP:
            self.close_connection = True
            return
        if answer is RESET:
            self.close_connection = True
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                       struct.pack("ii", 1, 0))
            os.close(self.connection.detach())
            return
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.kind)
        if answer.length is not None:
            self.send_header("Content-Length", str(answer.length))
        for name, value in answer.headers:
            self.send_header(name, value)
        self.end_headers()
        if callable(getattr(answer.body, "__next__", None)):
            for part in answer.body:
                self.wfile.write(part)
                self.wfile.flush()
        else:
            self.wfile.write(answer.body)
        self.close_connection = answer.cut or answer.length is None


# The connection is closed without one byte of an answer, in good order or as
# if the machine had lost its memory of it.
HANG_UP = object()
RESET = object()


class Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = False

    def handle_error(self, request, client_address):
        pass  # clients that leave are part of the tests


class Proxy:
    """Use as a context manager. upstream: the endpoint of DynamoDB Local, or
    None where a fault answers everything. fault: a function of the request
    and of one that asks upstream; it returns an Answer, HANG_UP, RESET, or
    None for what upstream says. tls: (certificate file, key file).
    clock_offset: seconds that its Date header is ahead."""

    def __init__(self, upstream=None, fault=None, tls=None):
        self.upstream = urlsplit(upstream).netloc if upstream else None
        self.fault = fault
        self.requests = []
        self.connections = 0
        self.clock_offset = 0
        self.lock = threading.Lock()
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.owner = self
        self.scheme = "http"
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            # The handshake belongs to the connection's own thread.
            self.server.socket = context.wrap_socket(
                self.server.socket, server_side=True,
                do_handshake_on_connect=False)
            self.scheme = "https"
        self.thread = threading.Thread(target=self.server.serve_forever,
                                       kwargs={"poll_interval": 0.05})

    @property
    def port(self):
        return self.server.server_address[1]

    @property
    def endpoint(self):
        return "%s://127.0.0.1:%d" % (self.scheme, self.port)

    def new_connection(self):
        with self.lock:
            self.connections += 1
            return self.connections

    def record(self, request):
        with self.lock:
            self.requests.append(request)

    def actions(self):
        return [r.action for r in self.requests]

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def closed_port():
    """A bound socket that listens to nobody: its port refuses connections."""
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    return s
