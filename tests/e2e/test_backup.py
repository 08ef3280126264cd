"""curt backup and curt restore; and a database that was replaced by hand while
its old log is still there."""

import hashlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import pytest

from harness import Pool, descendants_of, make_dir, run_tool, wait_until
from proctools import (DAY, check_redirect, create, freeze, hits_of,
                       insert_links, kill_at_once, make_link, open_db, said,
                       wait_said)

# Without a cache each redirect says what the database says.
SETTINGS = {"CACHE_TTL": 0}


def state(pool, name="curt.db"):
    return Path(pool.settings["STATE_DIR"]) / name


def links_in(path):
    db = sqlite3.connect(path)
    try:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {row[0] for row in db.execute("SELECT short_id FROM links")}
    finally:
        db.close()


def ids(n, prefix="b"):
    return [("%s%06d" % (prefix, i), int(time.time()) + DAY)
            for i in range(n)]


def put(pool, links, padding=0):
    """Puts links beside those that curt makes, a few at a time, so that each
    process of curt that commits sees more than one log."""
    make_link(pool)
    db = open_db(pool)
    db.execute("PRAGMA wal_autocheckpoint = 0")  # that is curt's
    for i in range(0, len(links), 500):
        insert_links(db, links[i:i + 500])
        if padding:
            db.execute("UPDATE links SET long_url = long_url || ? WHERE "
                       "short_id BETWEEN ? AND ?",
                       ("?" + "x" * padding, links[i][0],
                        links[min(i + 499, len(links) - 1)][0]))
        make_link(pool)
    db.close()


def kill_in_use(pool):
    """kill -9 of everything, while the log of SQLite is in use."""
    kill_at_once(pool)
    assert state(pool, "curt.db-wal").stat().st_size > 0


def digests(directory):
    """What the files of the database contain; -shm is not data."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest()
            for p in Path(directory).glob("curt.db*")
            if not p.name.endswith("-shm")}


def backup_of(pool, name="backup.db", how="curt"):
    path = pool.workdir / name
    if how == "curt":
        pool.tool("backup", path)
    elif how == "vacuum":
        db = open_db(pool)
        db.execute("VACUUM INTO ?", (str(path),))
        db.close()
    else:
        db, copy = open_db(pool), sqlite3.connect(path)
        db.backup(copy)
        copy.close()
        db.close()
    return path


def copy_all(directory, to):
    """The hit journal is 32 MiB, of which nearly all is zeros."""
    subprocess.run(["cp", "-a", "--sparse=always", directory, to], check=True)


def no_log(path):
    return not path.with_name(path.name + "-wal").exists()


# ---- Backup ---------------------------------------------------------------


def test_backup_while_links_are_made(build):
    with Pool(build, SETTINGS, workers=2).start() as pool:
        put(pool, ids(2000))
        made, stop = [], threading.Event()

        def work():
            while not stop.is_set():
                made.append(make_link(pool))

        thread = threading.Thread(target=work)
        thread.start()
        wait_until(lambda: len(made) > 5, "links")
        before = set(made)
        answer = json.loads(pool.tool(
            "--json", "backup", pool.workdir / "b").stdout)
        during = len(made)
        wait_until(lambda: len(made) > during + 2, "links after the backup")
        stop.set()
        thread.join()
        path = pool.workdir / "b"
        found = links_in(path)
        assert before <= found and {i for i, _ in ids(2000)} <= found
        assert answer == {"links": len(found), "pending": 0,
                          "bytes": path.stat().st_size}
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.read_bytes()[18:20] == b"\1\1" and no_log(path)
        assert list(pool.workdir.glob("b?*")) == []
        # The next one replaces it; hits that wait are named.
        pool.settings["HITS_FLUSH"] = 60
        text = pool.tool("backup", path).stdout
        assert "%d links" % (len(set(made)) + len(found - set(made))) in text
        assert links_in(path) >= set(made)


def test_backup_refuses_what_is_not_a_backup(build):
    with Pool(build, SETTINGS, workers=1).start() as pool:
        make_link(pool)
        own = pool.workdir / "own"
        own.write_text("mine")
        link = pool.workdir / "link"
        link.symlink_to(state(pool))
        itself = "is the database itself; choose another name"
        exists = "exists and was not made by `curt backup`; choose another name"
        for path, why in ((own, exists), (state(pool), itself), (link, itself),
                          (pool.workdir, "is a directory; name a file in it"),
                          (Path("/dev/null"), exists),
                          (own / "b", "Not a directory"),
                          (backup_of(pool, "sqlite", "sqlite"), exists)):
            was = path.read_bytes()[:100] if path.is_file() else None
            done = pool.tool("backup", path, check=False)
            assert done.returncode == 65
            assert done.stderr == "curt: backup failed: %s: %s\n" % (
                path, why)
            assert was is None or path.read_bytes()[:100] == was
        done = pool.tool("backup", pool.workdir / "no" / "b", check=False)
        assert (done.returncode, done.stderr) == (
            65, "curt: backup failed: cannot create a file in %s: No such "
            "file or directory\n" % (pool.workdir / "no"))


def test_backup_without_a_database(build):
    with Pool(build, SETTINGS) as pool:
        pool.write_conf()
        done = pool.tool("backup", pool.workdir / "b", check=False)
        assert (done.returncode, done.stderr) == (
            1, "curt: backup failed: %s does not exist; there are no links"
            " yet\n" % state(pool))
        assert list(state(pool).parent.iterdir()) == []


@pytest.fixture
def small_disk(tmp_path):
    path = tmp_path / "small"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=45m,mode=777", "none",
                    str(path)], check=True)
    yield path
    subprocess.run(["umount", "-l", str(path)], check=True)


def fill(disk):
    """Leaves a mebibyte."""
    with open(disk / "ballast", "ab") as f:
        f.write(b"x" * (shutil.disk_usage(disk).free - (1 << 20)))


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounts a tmpfs")


@needs_root
def test_full_disk_leaves_what_was_there(build, small_disk):
    """32 MiB of it are the journal."""
    settings = {**SETTINGS, "STATE_DIR": str(make_dir(small_disk / "state"))}
    with Pool(build, settings, workers=1) as pool:
        pool.start()
        put(pool, ids(300), 7000)
        old = backup_of(pool, "old.db")
        put(pool, ids(300, "c"), 7000)
        full = backup_of(pool, "full.db")
        target = small_disk / "b.db"
        shutil.copy(old, target)
        fill(small_disk)
        for path in (target, small_disk / "new.db"):
            done = pool.tool("backup", path, check=False)
            assert (done.returncode, done.stderr) == (
                75, "curt: backup failed: %s.part: database or disk is "
                "full\n" % path)
        assert target.read_bytes() == old.read_bytes()
        assert sorted(p.name for p in small_disk.iterdir()) == [
            "b.db", "ballast", "state"]
        pool.stop()
        fill(small_disk)
        was = digests(small_disk / "state")
        done = pool.tool("restore", full, check=False)
        assert done.returncode == 75 and "space" in done.stderr, done.stderr
        assert digests(small_disk / "state") == was
        pool.start()
        check_redirect(pool, make_link(pool))


def test_dynamodb_has_backups_of_its_own(build, tmp_path):
    env = {"STORE": "dynamodb", "TABLE": "mine", "STATE_DIR": str(tmp_path),
           "RUNTIME_DIR": str(tmp_path), "APP_URL": "http://sho.rt/",
           "PATH": os.environ["PATH"]}
    for verb in ("backup", "restore"):
        done = run_tool(build, tmp_path, env, (), (verb, "x"), check=False)
        assert done.returncode == 64 and "create-backup" in done.stderr
        assert "point-in-time" in done.stderr and "mine" in done.stderr


# ---- Restore --------------------------------------------------------------


@pytest.mark.parametrize("how", ["curt", "sqlite", "vacuum"])
def test_restore_after_a_clean_stop(build, how):
    with Pool(build, {"HITS_FLUSH": 60}, workers=1).start() as pool:
        old, hit = make_link(pool, "https://example.com/old"), make_link(pool)
        check_redirect(pool, old, "https://example.com/old")
        backup = backup_of(pool, how=how)
        was = backup.read_bytes(), backup.stat().st_mtime_ns
        new = make_link(pool)
        for _ in range(2):
            check_redirect(pool, hit)
        for _ in range(3):
            check_redirect(pool, new)
        kill_in_use(pool)  # with hits in the journal, and a warm cache
        answer = json.loads(pool.tool("--json", "restore", backup).stdout)
        assert answer == {"links": 2, "hits": 3, "dropped": 3,
                          "bytes": backup.stat().st_size}
        assert (backup.read_bytes(), backup.stat().st_mtime_ns) == was
        assert no_log(state(pool)) and links_in(state(pool)) == {old, hit}
        # What was there, its log included, is kept for a way back.
        pool.tool("restore", state(pool, "curt.db-old"))
        assert links_in(state(pool)) == {old, hit, new}
        pool.tool("restore", state(pool, "curt.db-old"))
        assert links_in(state(pool)) == {old, hit}
        owner = state(pool).parent.stat()
        for name in ("curt.db", "curt.db-lock", "janitor.lock"):
            made = state(pool, name).stat()
            assert (made.st_uid, made.st_gid) == (owner.st_uid, owner.st_gid)
        pool.start()
        check_redirect(pool, old, "https://example.com/old")
        assert pool.request("GET", "/t/" + new).status == 404
        wait_until(lambda: hits_of(pool, hit) == 2, "two hits", interval=0.2)
        assert make_link(pool)


def test_restore_leaves_hits_of_another_store(build, store_settings):
    dynamodb = store_settings("dynamodb")
    with Pool(build, {**dynamodb, "HITS_FLUSH": 3600}, workers=1) as pool:
        pool.settings["STORE"] = "sqlite"
        pool.write_conf()
        pool.tool("create", "https://example.com/")
        backup = backup_of(pool)
        pool.settings["STORE"] = "dynamodb"
        pool.start()
        link = make_link(pool)
        for _ in range(3):
            check_redirect(pool, link)
        kill_at_once(pool)
        pool.settings["STORE"] = "sqlite"
        pool.write_conf()
        answer = json.loads(pool.tool("--json", "restore", backup).stdout)
        assert (answer["hits"], answer["dropped"]) == (0, 0)
        assert "3 hits wait for another table" in pool.tool("hits").stdout
        pool.settings["STORE"] = "dynamodb"
        pool.start()
        # What moves to the store counts twice for a moment (curt get).
        wait_until(lambda: hits_of(pool, link) == 3, "three hits",
                   interval=0.2)


def test_restore_on_a_new_host(build):
    with Pool(build, SETTINGS, workers=1) as other, \
            Pool(build, SETTINGS, workers=1) as pool:
        other.start()
        link = make_link(other)
        backup = backup_of(other)
        pool.write_conf()
        shutil.rmtree(state(pool).parent)
        pool.tool("restore", backup)
        pool.start()
        check_redirect(pool, link)


def test_restore_keeps_owner_and_mode_and_migrates(build):
    with Pool(build, SETTINGS, workers=1) as pool:
        pool.write_conf()
        link = pool.tool("create", "https://example.com/").stdout.strip()
        db = open_db(pool)
        backup = backup_of(pool)
        db.close()
        old = sqlite3.connect(backup)
        # As the first version had it.
        kept = {"short_id", "long_url", "short_url", "created_at", "ttl",
                "hits", "analytics"}
        columns = {row[1] for row in old.execute("PRAGMA table_info(links)")}
        assert kept < columns
        old.executescript("".join(
            "ALTER TABLE links DROP COLUMN %s;" % c for c in columns - kept)
            + "DROP TABLE records; PRAGMA user_version = 1")
        old.close()
        if os.geteuid() == 0:
            os.chown(state(pool), 1234, 2345)
        state(pool).chmod(0o660)
        was = state(pool).stat()
        pool.tool("restore", backup)
        now = state(pool).stat()
        assert (now.st_uid, now.st_gid, now.st_mode) == (
            was.st_uid, was.st_gid, was.st_mode)
        assert json.loads(pool.tool("--json", "get", link).stdout)["hits"] == 0
        db = open_db(pool)
        assert db.execute("PRAGMA user_version").fetchone() == (3,)
        db.close()


def test_restore_refuses_while_somebody_uses_it(build):
    with Pool(build, SETTINGS, workers=1).start() as pool:
        link = make_link(pool)
        backup = backup_of(pool)
        new = make_link(pool)
        done = pool.tool("restore", backup, check=False)
        assert done.returncode == 75 and "stop curt.fcgi" in done.stderr
        assert "process " in done.stderr
        shell = subprocess.Popen(
            ["sqlite3", str(state(pool))], stdin=subprocess.PIPE, text=True,
            stdout=subprocess.PIPE)
        shell.stdin.write("SELECT count(*) FROM links;\n")
        shell.stdin.flush()
        assert shell.stdout.readline() == "2\n"
        pool.stop()
        was = digests(state(pool).parent)
        done = pool.tool("restore", backup, check=False)
        assert done.returncode == 75, done.stderr
        assert "process %d (sqlite3)" % shell.pid in done.stderr
        assert digests(state(pool).parent) == was
        shell.communicate()
        pool.tool("restore", backup)
        assert links_in(state(pool)) == {link} and new != link


def test_restore_refuses_what_is_not_sound(build):
    with Pool(build, SETTINGS, workers=1).start() as pool:
        put(pool, ids(300), 500)
        backup = backup_of(pool)
        pool.stop()
        was = digests(state(pool).parent)

        def variant(name, change):
            path = pool.workdir / name
            shutil.copy(backup, path)
            change(path)
            return path

        def sql(text):
            def change(path):
                db = sqlite3.connect(path)
                db.executescript(text)
                db.close()
            return change

        def damage(path):
            with open(path, "r+b") as f:
                f.seek(path.stat().st_size // 2)
                f.write(os.urandom(9000))

        def cut(path):
            os.truncate(path, path.stat().st_size // 2)

        for path, word in (
                (variant("other", sql("PRAGMA application_id = 7")),
                 "not a database of curt"),
                (variant("newer", sql("PRAGMA user_version = 99")), "newer"),
                (variant("column", sql("ALTER TABLE links RENAME COLUMN "
                                       "long_url TO target")), "long_url"),
                (variant("table", sql("DROP TABLE links")), "links"),
                (variant("damaged", damage), ""), (variant("cut", cut), ""),
                (variant("text", lambda p: p.write_text("x" * 5000)),
                 "not a database"),
                (variant("empty", lambda p: p.write_text("")),
                 "not an SQLite"),
                (pool.workdir / "none", ""), (pool.workdir, ""),
                (state(pool), "itself")):
            done = pool.tool("restore", path, check=False)
            assert done.returncode == 65, (path, done.stderr)
            assert word in done.stderr and str(path) in done.stderr
            assert digests(state(pool).parent) == was, path
        # A cache that cannot be removed leaves the old database as it was.
        cache = Path(pool.settings["RUNTIME_DIR"]) / "cache"
        cache.mkdir()
        done = pool.tool("restore", backup, check=False)
        assert done.returncode == 75 and str(cache) in done.stderr
        assert digests(state(pool).parent) == was
        cache.rmdir()
        pool.start()
        check_redirect(pool, make_link(pool))


# Before the copy, in it, after it, and at each kind of step of the exchange.
KILLS = (("sendfile", 1), ("fsync", 2), ("rename", 1), ("rename", 2),
         ("rename", 3), ("rename", 4), ("unlink", 10), ("ftruncate", 1),
         ("rename", 5), ("fsync", 5))


def test_restore_that_is_killed(build):
    """Killed at each of its steps it leaves the old links or the new ones, or
    a database that is not opened; the next restore is as good as any."""
    outcomes = set()
    with Pool(build, SETTINGS, workers=1) as pool:
        pool.start()
        first = make_link(pool)
        backup = backup_of(pool)
        second = make_link(pool)
        kill_in_use(pool)
        saved = pool.workdir / "saved"
        copy_all(state(pool).parent, saved)
        for call, number in KILLS:
            shutil.rmtree(state(pool).parent)
            copy_all(saved, state(pool).parent)
            trace = pool.workdir / "trace"
            env = dict(pool.env())
            env["ASAN_OPTIONS"] += ":detect_leaks=0"
            done = subprocess.run(
                ["strace", "-f", "-o", str(trace), "-e", "trace=" + call, "-e",
                 "inject=%s:signal=KILL:when=%d" % (call, number),
                 str(build.tool), "-c", str(pool.conf), "restore",
                 str(backup)], env=env, stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE, check=False, timeout=60)
            killed = done.returncode != 0
            get = [pool.tool("get", i, check=False) for i in (first, second)]
            found = [g.returncode for g in get]
            outcomes.add((killed, *found))
            if found[0] != 75:
                continue
            assert "run it again" in get[0].stderr, get[0].stderr
            pool.tool("restore", backup)
            assert links_in(state(pool)) == {first}
            assert not list(state(pool).parent.glob("curt.db-re*"))
    assert outcomes == {(True, 0, 0), (True, 75, 75), (True, 0, 1)}, outcomes


def test_workers_that_start_in_a_restore_wait(build):
    """The lock of a restore, held here, keeps everybody out; and then not."""
    import fcntl
    with Pool(build, {**SETTINGS, "STORE_TIMEOUT": 1}, workers=1) as pool:
        pool.write_conf()
        link = pool.tool("create", "https://example.com/page").stdout
        with open(state(pool, "curt.db-lock"), "r+b") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            pool.start()
            assert create(pool, "https://example.com/").status == 503
            wait_said(pool, "`curt restore` is running", "error")
        check_redirect(pool, link.strip().rpartition("/")[2])


# ---- A file that was put into place by hand --------------------------------


AMOUNTS = {"100": (100, 0), "3000long": (3000, 1500), "5000": (5000, 0)}


@pytest.mark.parametrize("amount, how, copy", [
    ("100", "sqlite", shutil.copyfile), ("100", "curt", os.replace),
    ("5000", "sqlite", shutil.copyfile), ("3000long", "vacuum", shutil.copy2),
], ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_copied_over_a_killed_pool(build, amount, how, copy):
    count, padding = AMOUNTS[amount]
    with Pool(build, SETTINGS, workers=2) as pool:
        pool.start()
        put(pool, ids(100))
        backup = backup_of(pool, how=how)
        links = links_in(backup)
        put(pool, ids(count, "n"), padding)
        kill_in_use(pool)
        copy(shutil.copy(backup, pool.workdir / "copy"), state(pool))
        was = digests(state(pool).parent)
        pool.start()
        assert pool.request("GET", "/t/b000001").status == 503
        assert create(pool, "https://example.com/").status == 503
        line = wait_said(pool, "was replaced", "error")[0]["msg"]
        assert "curt restore" in line
        done = pool.tool("get", "b000001", check=False)
        assert done.returncode == 70 and "curt restore" in done.stderr
        assert done.stderr.startswith("curt: %s was replaced" % state(pool))
        assert pool.tool("backup", pool.workdir / "x", check=False).returncode
        report = json.loads(
            pool.tool("doctor", "--json", check=False).stdout)["checks"]
        assert any(c["check"] == "database" and c["status"] == "fail"
                   and "curt restore" in c["advice"] for c in report), report
        assert "internal error" not in str(report)
        pool.stop()
        done = subprocess.run([build.fcgi, "-c", pool.conf, "-t"],
                              env=pool.env(), stderr=subprocess.PIPE,
                              text=True, check=False)
        assert done.returncode == 78 and "curt restore" in done.stderr
        assert digests(state(pool).parent) == was
        # The copy where it is, or the backup.
        pool.tool("restore", state(pool) if how == "curt" else backup)
        assert links_in(state(pool)) == links
        pool.start()
        for link in random.sample(sorted(links), 5):
            assert pool.request("GET", "/t/" + link).status == 301
        assert make_link(pool)


def test_copied_beside_an_idle_shell(build):
    """A clean stop leaves the log when another program has the file open."""
    with Pool(build, SETTINGS, workers=1) as pool:
        pool.start()
        link = make_link(pool)
        backup = backup_of(pool, how="sqlite")
        new = make_link(pool)
        db = open_db(pool)
        assert db.execute("SELECT count(*) FROM links").fetchone() == (2,)
        pool.stop()
        shutil.copyfile(backup, state(pool))
        pool.start()
        assert create(pool, "https://example.com/").status == 503
        pool.stop()
        db.close()  # the process itself is not one that restore sees
        pool.tool("restore", backup)
        pool.start()
        check_redirect(pool, link)
        assert pool.request("GET", "/t/" + new).status == 404


def test_replaced_while_it_runs(build):
    with Pool(build, SETTINGS, workers=1) as pool:
        pool.start()
        make_link(pool)
        backup = backup_of(pool, how="sqlite")
        os.replace(backup, state(pool))
        done = pool.tool("create", "https://example.com/", check=False)
        assert done.returncode == 70 and "was replaced" in done.stderr


def open_copy(build, top, made, start):
    """Opens a copy of STATE_DIR: all links that were made before
    the copy was taken must be there."""
    copy = Pool(build, {**SETTINGS, "STATE_DIR": str(top)}, workers=1)
    with copy:
        copy.write_conf()
        copy.tool("backup", copy.workdir / "all")
        assert set(made) <= links_in(copy.workdir / "all")
        if start:
            copy.start()
            assert make_link(copy)
            assert not said(copy, "was replaced")


def test_no_false_alarm(build):
    """Whatever leaves the database and its log together is opened: copies by
    any means, at any moment of the pool's work, with and without the rest of
    STATE_DIR, after another program's writes and checkpoints."""
    rng = random.Random(8)
    ways = {
        "cp -a": lambda a, b: subprocess.run(["cp", "-a", a, b], check=True),
        "cp -r": lambda a, b: subprocess.run(["cp", "-r", a, b], check=True),
        "pair": lambda a, b: (b.mkdir(), [shutil.copyfile(a / n, b / n)
                                          for n in ("curt.db", "curt.db-wal")]),
    }
    with Pool(build, SETTINGS, workers=2) as pool:
        pool.start()
        made, shell = [], open_db(pool)
        first = None
        for turn in range(3):
            for _ in range(rng.randrange(10, 40)):
                made.append(make_link(pool, "https://example.com/%s"
                                      % ("x" * rng.randrange(3000))))
            if turn % 2:
                insert_links(shell, ids(rng.randrange(1, 60), "s%d" % turn))
            if turn:
                shell.execute("PRAGMA wal_checkpoint(%s)" % (
                    "PASSIVE" if turn == 1 else "RESTART")).fetchall()
            pids = [pool.pid] + descendants_of(pool.pid)
            for pid in reversed(pids):
                freeze(pid)
            for name, way in ways.items():
                to = pool.workdir / ("copy %d %s" % (turn, name))
                way(state(pool).parent, to)
                open_copy(build, to, made, turn == 2)
            if first is None:
                first = pool.workdir / "first", list(made)
                ways["cp -a"](state(pool).parent, first[0])
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        shell.close()
        kill_in_use(pool)
        # An older pair over a younger one, in place, and with all the rest.
        for names in (("curt.db", "curt.db-wal"),
                      ("curt.db", "curt.db-wal", "curt.db-lock")):
            for name in names:
                shutil.copyfile(first[0] / name, state(pool, name))
            links = set(first[1])
            assert json.loads(pool.tool("--json", "backup", pool.workdir /
                                        "last").stdout)["links"] >= len(links)
            assert links <= links_in(pool.workdir / "last")
