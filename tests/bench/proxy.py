"""Counts the requests that reach a DynamoDB endpoint, by operation."""

import asyncio
import re
import threading
from urllib.parse import urlsplit

TARGET = re.compile(rb"x-amz-target: *DynamoDB_\d+\.(\w+)\r", re.I)
LONGEST = 100  # of a match


class CountingProxy:
    """Passes bytes on, both ways, in a thread of its own."""

    def __init__(self, endpoint):
        url = urlsplit(endpoint)
        self.target = (url.hostname, url.port)
        self.counts = {}
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever,
                                       daemon=True)

    def start(self):
        """The endpoint to use in place of the other one."""
        self.thread.start()
        server = asyncio.run_coroutine_threadsafe(
            asyncio.start_server(self.serve, "127.0.0.1", 0), self.loop
        ).result(10)
        return "http://127.0.0.1:%d" % server.sockets[0].getsockname()[1]

    def stop(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)

    def count(self, tail, data):
        """Counts what ends in data; the last bytes, for the next call."""
        seen = tail + data
        for match in TARGET.finditer(seen):
            if match.end() > len(tail):
                name = match.group(1).decode()
                self.counts[name] = self.counts.get(name, 0) + 1
        return seen[-LONGEST:]

    async def pump(self, reader, writer, look):
        tail = b""
        try:
            while data := await reader.read(65536):
                if look:
                    tail = self.count(tail, data)
                writer.write(data)
                await writer.drain()
        except ConnectionError:
            pass
        writer.close()

    async def serve(self, reader, writer):
        there, back = await asyncio.open_connection(*self.target)
        await asyncio.gather(self.pump(reader, back, True),
                             self.pump(there, writer, False))
