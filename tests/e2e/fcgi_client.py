"""A raw FastCGI client: says exactly what it is told, well-formed or not.

It shares no code with curt or libfcgi, and it needs no web server, so hostile
input that every web server would refuse can be sent too.
"""

import socket
import struct

BEGIN_REQUEST, ABORT_REQUEST, END_REQUEST = 1, 2, 3
PARAMS, STDIN, STDOUT, STDERR = 4, 5, 6, 7
RESPONDER = 1
KEEP_CONN = 1


def record(kind, content=b"", request_id=1, padding=0, version=1):
    """One record; content of at most 65,535 bytes."""
    return struct.pack(
        "!BBHHBx", version, kind, request_id, len(content), padding
    ) + content + bytes(padding)


def stream(kind, data, request_id=1, piece=65535):
    """The records of a stream, with the empty one that ends it."""
    parts = [record(kind, data[i:i + piece], request_id)
             for i in range(0, len(data), piece)]
    return b"".join(parts) + record(kind, b"", request_id)


def begin(request_id=1, role=RESPONDER, flags=0):
    return record(BEGIN_REQUEST, struct.pack("!HB5x", role, flags), request_id)


def as_bytes(text):
    return text if isinstance(text, bytes) else str(text).encode("utf-8")


def pairs(params):
    """Name-value pairs as FastCGI packs them. params: a dict or pairs."""
    def length(n):
        return struct.pack("!B", n) if n < 128 else struct.pack("!I", n | 1 << 31)

    out = []
    for name, value in dict(params).items():
        name, value = as_bytes(name), as_bytes(value)
        out.append(length(len(name)) + length(len(value)) + name + value)
    return b"".join(out)


class Response:
    """What came back: status, headers (in order), body, and the rest."""

    def __init__(self, stdout, stderr, app_status, protocol_status):
        self.raw = stdout
        self.stderr = stderr
        self.app_status = app_status
        self.protocol_status = protocol_status
        head, separator, self.body = stdout.partition(b"\r\n\r\n")
        assert separator, "no end of the header in %r" % stdout[:300]
        self.header_list = []
        for line in head.split(b"\r\n"):
            name, colon, value = line.partition(b":")
            assert colon and name == name.strip(), "bad header line %r" % line
            self.header_list.append(
                (name.decode("ascii"), value.strip().decode("latin-1")))
        self.headers = {n.lower(): v for n, v in self.header_list}
        assert len(self.headers) == len(self.header_list), self.header_list
        self.status = int(self.headers.get("status", "200").split()[0])

    @property
    def text(self):
        return self.body.decode("utf-8")


class FcgiClient:
    """One connection to a FastCGI socket."""

    def __init__(self, path, timeout=20):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(timeout)
        self.path = str(path)
        self.connected = False

    def connect(self):
        if not self.connected:
            self.socket.connect(self.path)
            self.connected = True
        return self

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self.connect()

    def __exit__(self, *_):
        self.close()

    def send(self, data, piece=None):
        """Sends bytes as they are, in writes of `piece` bytes if given."""
        self.connect()
        step = piece or max(1, len(data))
        for i in range(0, len(data), step):
            self.socket.sendall(data[i:i + step])

    def shutdown(self):
        """Says that nothing more will come."""
        self.socket.shutdown(socket.SHUT_WR)

    def read_exactly(self, size):
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise ConnectionError("closed after %r" % data)
            data += more
        return data

    def read_record(self):
        """(type, request id, content) of the next record."""
        version, kind, request_id, length, padding = struct.unpack(
            "!BBHHBx", self.read_exactly(8))
        assert version == 1
        content = self.read_exactly(length)
        self.read_exactly(padding)
        return kind, request_id, content

    def closed(self):
        """Whether the other side has closed: waits for its next word."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True

    def response(self, request_id=1):
        """Reads records up to the end of the request."""
        out, err = [], []
        while True:
            kind, rid, content = self.read_record()
            assert rid == request_id, (kind, rid)
            if kind == STDOUT:
                out.append(content)
            elif kind == STDERR:
                err.append(content)
            else:
                assert kind == END_REQUEST, kind
                app, protocol = struct.unpack("!IB3x", content)
                return Response(b"".join(out), b"".join(err), app, protocol)

    def request_bytes(self, method, uri, headers=(), body=b"", params=(),
                      request_id=1, keep=False, piece=65535):
        """A whole request as bytes. headers: HTTP headers; params: further
        FastCGI parameters, and a value of None takes a default one away."""
        body = as_bytes(body)
        all_params = {
            "GATEWAY_INTERFACE": "CGI/1.1",
            "SERVER_PROTOCOL": "HTTP/1.1",
            "REQUEST_METHOD": method,
            "REQUEST_URI": uri,
            "REMOTE_ADDR": "127.0.0.1",
        }
        if body or method == "POST":
            all_params["CONTENT_LENGTH"] = len(body)
        for name, value in dict(headers).items():
            name = name.upper().replace("-", "_")
            if name != "CONTENT_TYPE":
                name = "HTTP_" + name
            all_params[name] = value
        all_params.update(dict(params))
        sent = {n: v for n, v in all_params.items() if v is not None}
        return (begin(request_id, flags=KEEP_CONN if keep else 0)
                + stream(PARAMS, pairs(sent), request_id, piece)
                + stream(STDIN, body, request_id, piece))

    def request(self, method, uri, headers=(), body=b"", params=(), keep=False,
                request_id=1, piece=65535, send_piece=None):
        """A request and its answer. piece: bytes per record; send_piece:
        bytes per write. Closes the connection unless keep is set."""
        data = self.request_bytes(method, uri, headers, body, params,
                                  request_id, keep, piece)
        try:
            self.send(data, send_piece)
            return self.response(request_id)
        finally:
            if not keep:
                self.close()
