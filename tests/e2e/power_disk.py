"""The disk as it may be after a power loss, from what tests/power/record.c has
recorded.

The model. A file is sectors of 512 bytes and a size. A write is on the disk for
certain when an fsync() or fdatasync() of its file, begun after it, has ended.
Until then each of its sectors is on the disk or not, whatever came before or
after it; but a sector is never older than the last sync, and never mixed of
two writes: it is as it was after one of them. A sector of a mapped file is as it
was at any look since the last sync. Where a later write made a file longer and
an earlier one is lost, zeros are between them. Names (create, rename, unlink)
are on the disk when an fsync() of their directory has ended; until then each
change of a name has happened or not. A rename is whole.

Not modelled: a disk that lies about a sync, sectors that become unreadable or
are torn within, damage to what was not written, and a file system that loses
what it has synced. Two changes of a mapped sector between two events are one:
the state between them is not seen. SQLite's -shm is garbage, or missing: the
first process that opens the database makes it again.
"""

import ctypes
import json
import os
import struct

SECTOR = 512
ZEROS = bytes(SECTOR)
EVENT = struct.Struct("=IIQqII")
FULL = 1 << 64  # more than any number of an operation


class Recorder:
    """The log, and what makes processes write it."""

    def __init__(self, library, log, root, wait_us):
        self.library, self.log = str(library), str(log)
        self.root = os.path.realpath(root)
        self.wait_us = wait_us
        self.lib = ctypes.CDLL(self.library)
        self.lib.record_open.restype = ctypes.c_void_p
        self.lib.record_used.restype = ctypes.c_size_t
        self.base = self.lib.record_open(self.log.encode(),
                                         self.root.encode())

    def env(self):
        return {"LD_PRELOAD": self.library, "CURT_RECORD": self.log,
                "CURT_RECORD_ROOT": self.root,
                "CURT_RECORD_WAIT": str(self.wait_us)}

    def note(self, *words):
        self.lib.record_note(json.dumps(words).encode())

    def events(self):
        data = ctypes.string_at(self.base, self.lib.record_used())
        found, at = [], 0
        while at < len(data):
            kind, pid, inode, place, path_len, data_len = EVENT.unpack_from(
                data, at)
            at += EVENT.size
            path = data[at:at + path_len].decode()
            at += path_len
            found.append(Event(len(found), chr(kind), pid, inode, place, path,
                               data[at:at + data_len]))
            at += data_len
        return found


class Event:
    __slots__ = ("number", "kind", "pid", "inode", "at", "path", "data")

    def __init__(self, number, kind, pid, inode, at, path, data):
        self.number, self.kind, self.pid, self.inode = number, kind, pid, inode
        self.at, self.path, self.data = at, path, data


class Change:
    """What one event did to a file: whole sectors as they were after it, and
    the size; or to a name."""

    __slots__ = ("number", "owner", "sectors", "end", "size", "name", "gone",
                 "inode")

    def __init__(self, number, owner, sectors=None, end=0, size=None,
                 name=None, gone=None, inode=None):
        self.number, self.owner = number, owner
        self.sectors, self.end, self.size = sectors or {}, end, size
        self.name, self.gone, self.inode = name, gone, inode


class Content:
    """Of a file: its sectors that are not zeros, its size, and a number that
    differs where they do."""

    __slots__ = ("sectors", "size", "mark")

    def __init__(self, other=None):
        self.sectors = dict(other.sectors) if other else {}
        self.size = other.size if other else 0
        self.mark = other.mark if other else 0

    def put(self, number, data):
        old = self.sectors.get(number, ZEROS)
        if old == data:
            return
        self.mark ^= hash((number, old)) ^ hash((number, data))
        self.sectors[number] = data

    def apply(self, change, keep=None):
        """keep: which sectors of it are on the disk; None: all."""
        if change.size is not None:
            if change.size < self.size:
                for number in [n for n in self.sectors
                               if (n + 1) * SECTOR > change.size]:
                    cut = max(0, change.size - number * SECTOR)
                    self.put(number, self.sectors[number][:cut]
                             + bytes(SECTOR - cut))
            self.size = change.size
        for number, data in change.sectors.items():
            if keep is None or keep(number):
                self.put(number, data)
                self.size = max(self.size,
                                min(change.end, (number + 1) * SECTOR))

    def read(self):
        last = -(-self.size // SECTOR)
        get = self.sectors.get
        return b"".join([get(n, ZEROS) for n in range(last)])[:self.size]


class File:
    """synced: what is certainly on the disk; now: what processes see."""

    def __init__(self, name):
        self.name = name
        self.synced, self.now = Content(), Content()
        self.pending = []

    def write(self, number, at, data):
        sectors, end = {}, at + len(data)
        for n in range(at // SECTOR, -(-end // SECTOR)):
            old = self.now.sectors.get(n, ZEROS)
            begin, stop = max(at - n * SECTOR, 0), min(end - n * SECTOR, SECTOR)
            first = n * SECTOR + begin - at
            sectors[n] = (old[:begin] + data[first:first + stop - begin]
                          + old[stop:])
        self.change(Change(number, self, sectors, end))

    def resize(self, number, size):
        self.change(Change(number, self, size=size))

    def change(self, change):
        self.now.apply(change)
        self.pending.append(change)

    def sync(self, begun):
        for change in self.pending:
            if change.number < begun:
                self.synced.apply(change)
        self.pending = [c for c in self.pending if c.number >= begun]


class Directory:
    """The names of one directory: {path: File}."""

    def __init__(self):
        self.synced, self.now = {}, {}
        self.pending = []

    def change(self, change):
        self.apply(self.now, change)
        self.pending.append(change)

    @staticmethod
    def apply(names, change):
        names.pop(change.gone, None)
        if change.name is not None:
            names[change.name] = change.inode

    def sync(self, begun):
        for change in self.pending:
            if change.number < begun:
                self.apply(self.synced, change)
        self.pending = [c for c in self.pending if c.number >= begun]


class Disk:
    """Takes the events in turn. At each point, variants() has what a power
    loss may leave. ignore(event): an event that did not happen, for the tests of the
    test."""

    def __init__(self, ignore=lambda event: False):
        self.files = {}  # by inode
        self.directories = {}
        self.begun = {}  # {(pid, inode): number of the event}
        self.ignore = ignore

    def directory(self, path):
        return self.directories.setdefault(path, Directory())

    def parent(self, path):
        return self.directory(os.path.dirname(path))

    def take(self, e):
        """False: nothing on the disk has changed."""
        if e.kind in "NS" or (e.kind in "Ee" and self.ignore(e)):
            return False
        if e.kind == "C":
            file = self.files[e.inode] = File(e.path)
            parent = self.parent(e.path)
            parent.change(Change(e.number, parent, name=e.path, inode=file))
        elif e.kind == "U":
            parent = self.parent(e.path)
            parent.change(Change(e.number, parent, gone=e.path))
        elif e.kind == "R":
            parent = self.parent(e.path)
            fresh = e.data.decode()
            assert parent is self.parent(fresh)
            file = parent.now[e.path]
            file.name = fresh
            parent.change(Change(e.number, parent, name=fresh, gone=e.path,
                                 inode=file))
        elif e.kind in "WM":
            self.files[e.inode].write(e.number, e.at, e.data)
        elif e.kind == "T":
            self.files[e.inode].resize(e.number, e.at)
        elif e.kind in "Bb":
            self.begun[e.pid, e.inode] = e.number
            return False
        elif e.kind == "E":
            self.files[e.inode].sync(self.begun[e.pid, e.inode])
        elif e.kind == "e":
            self.directory(e.path).sync(self.begun[e.pid, e.inode])
        else:
            raise AssertionError(e.kind)
        return True

    def pending(self):
        found = [c for part in (self.files, self.directories)
                 for owner in part.values() for c in owner.pending]
        return sorted(found, key=lambda c: c.number)


class State:
    """A disk after a power loss: {path: Content}. whole: all that was written
    to other files than the one called but is there."""

    def __init__(self, disk, chosen, keep, but):
        names, by_owner = {}, {}
        for change in chosen:
            by_owner.setdefault(change.owner, []).append(change)
        for directory in disk.directories.values():
            found = dict(directory.synced)
            for change in by_owner.get(directory, ()):
                directory.apply(found, change)
            names.update(found)
        self.files = {}
        for path, file in names.items():
            if path.endswith("-shm"):
                continue
            self.files[path] = self.content(file, by_owner.get(file), keep)
        self.mark = hash(frozenset(
            (path, c.size, c.mark) for path, c in self.files.items()))
        self.whole = (
            all(names.get(path) is file for d in disk.directories.values()
                for path, file in d.now.items())
            and all((c.mark, c.size) == (f.now.mark, f.now.size) for f, c in (
                (names[path], c) for path, c in self.files.items())
                if f.name != but))

    @staticmethod
    def content(file, changes, keep):
        if not changes:
            return file.synced
        if keep is None and len(changes) == len(file.pending):
            return file.now
        content = Content(file.synced)
        for change in changes:
            content.apply(change, keep and (
                lambda n, change=change: keep(change, n)))
        return content


def mix(*numbers):
    """A number that looks random and is the same each time."""
    x = 0x9e3779b97f4a7c15
    for n in numbers:
        x = (x ^ n) * 0xbf58476d1ce4e5b9 % FULL
        x ^= x >> 29
    return x


def variants(disk, point):
    """What may be on the disk at a point, of all that there is: (kind, the
    pending changes that are, which of their sectors are or None)."""
    pending = disk.pending()
    count = len(pending)
    yield "nothing unsynced", [], None
    if count == 0:
        return
    yield "everything", pending, None
    owners = list(dict.fromkeys(c.owner for c in pending))
    for owner in owners if len(owners) > 1 else ():
        yield "one file", [c for c in pending if c.owner is owner], None
        yield ("all but one file",
               [c for c in pending if c.owner is not owner], None)
    if count > 1:
        few = range(count) if count <= 6 else sorted(
            {mix(point, i) % count for i in range(3)} | {count - 1})
        for i in few:
            yield "one write lost", pending[:i] + pending[i + 1:], None
            yield "one write", [pending[i]], None
        yield ("the last writes",
               pending[-2 - mix(point, 7) % (count - 1):], None)
    last = pending[-1]
    if len(last.sectors) > 1:
        half = min(last.sectors) + len(last.sectors) // 2
        for first in (True, False):
            yield ("the last write torn", pending,
                   lambda c, n, first=first:
                   c is not last or (n < half) == first)
    for i in range(2):
        yield ("some sectors", [c for c in pending if c.sectors
                                or mix(point, i, c.number) & 1],
               lambda c, n, i=i: mix(point, i, c.number, n) & 1)
