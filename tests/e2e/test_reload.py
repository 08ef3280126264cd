"""HUP: the new configuration is taken over, and nobody notices."""

import json
import os
import signal
import time

import pytest

from harness import (ForkedPool, MultiwatchPool, Pool, alive, catches_term,
                     wait_until)
from proctools import (EnvPool, GroupPool, HalfRequest, Load, check_redirect,
                       create, freeze, lock_holders, lone_janitors, make_link,
                       open_db, read_log, reload, said, slay, steady,
                       wait_gone, wait_said)


def set_length(pool, length):
    pool.settings["MIN_CHAR"] = pool.settings["MAX_CHAR"] = length
    pool.write_conf()


def mixed_work(pool, short_id):
    """Creates and redirects in turn; each must succeed."""
    def work(n):
        if n % 4 == 0:
            make_link(pool, "https://example.com/load/%d" % n)
        else:
            check_redirect(pool, short_id)
    return work


def test_no_request_fails_under_load(build):
    with Pool(build, {"MIN_CHAR": 7, "MAX_CHAR": 7}, workers=3).start() as pool:
        short_id = make_link(pool)
        with Load(mixed_work(pool, short_id)) as load:
            for length in (8, 9, 10):
                load.wait_calls(40)
                set_length(pool, length)
                reload(pool)
                load.check()
                for _ in range(3):
                    assert len(make_link(pool)) == length
            load.wait_calls(40)
        assert load.calls >= 160
        assert len(said(pool, "configuration reloaded")) == 3
        assert not said(pool, "was ended by")
        assert not said(pool, "did not finish in time")


@pytest.mark.parametrize("group", [False, True], ids=["master", "group"])
def test_no_request_fails_when_reloads_overlap(build, group):
    with GroupPool(build, {}, workers=3).start() as pool:
        short_id = make_link(pool)
        with Load(mixed_work(pool, short_id)) as load:
            for length in range(8, 14):
                set_length(pool, length)
                if group:
                    pool.signal_group(signal.SIGHUP)
                else:
                    pool.signal(signal.SIGHUP)
                load.wait_calls(3)
            load.wait_calls(40)
            wait_until(lambda: len(make_link(pool)) == 13 and pool.complete(),
                       "the last configuration")
        assert not said(pool, "did not finish in time")


@pytest.mark.parametrize("kind", [ForkedPool, MultiwatchPool])
def test_alone_no_request_fails_under_load(build, kind):
    with kind(build, {}, workers=3).start() as pool:
        short_id = make_link(pool)
        workers = pool.workers()
        wait_until(lambda: all(map(catches_term, workers)), "handlers set")
        with Load(mixed_work(pool, short_id)) as load:
            for length in range(8, 18):
                set_length(pool, length)
                for pid in workers:
                    os.kill(pid, signal.SIGHUP)
                load.wait_calls(20)
        assert pool.workers() == workers
        # Three connections at once are with three processes.
        held = [pool.client() for _ in range(3)]
        for client in held:
            answer = client.request(
                "POST", "/create", {"Content-Type": "application/json"},
                '{"long_url": "https://example.com/"}', keep=True)
            assert len(answer.text.rpartition("/")[2]) == 17, answer.raw
        # They know the next one, too, while a connection is kept.
        set_length(pool, 20)
        for pid in workers:
            os.kill(pid, signal.SIGHUP)
        for client in held:
            answer = client.request(
                "POST", "/create", {"Content-Type": "application/json"},
                '{"long_url": "https://example.com/"}', keep=True)
            assert len(answer.text.rpartition("/")[2]) == 20, answer.raw
            client.close()


def create_ttl(pool):
    """For how long a link that is created now is good, in seconds."""
    answer = create(pool, "https://example.com/")
    assert answer.status == 200, answer.raw
    ttl = json.loads(answer.body).get("ttl")
    return ttl and ttl - time.time()


@pytest.mark.parametrize("workers", [2, 0])
def test_each_reloadable_key_is_taken_over(build, workers):
    with Pool(build, {"LINK_TTL": 1000, "STORE_TIMEOUT": 60},
              workers=workers).start() as pool:
        assert 900 < create_ttl(pool) <= 1001
        before = pool.pid
        pool.settings.update(LINK_TTL=0, MAX_BODY=200, MIN_CHAR=3, MAX_CHAR=3,
                             LOG_LEVEL="debug", STORE_TIMEOUT=1,
                             APP_URL="https://sho.rt/x/")
        pool.write_conf()
        if workers:
            reload(pool)
        else:
            pool.signal(signal.SIGHUP)
        # The very first request is under the new configuration.
        assert create(pool, "https://example.com/" + "a" * 200).status == 413
        answer = create(pool, "https://example.com/")
        link = json.loads(answer.body)
        assert "ttl" not in link
        assert link["short_url"] == "https://sho.rt/x/" + link["short_id"]
        assert len(link["short_id"]) == 3
        assert pool.request("GET", "/x/" + link["short_id"]).status == 301
        assert pool.request("GET", "/t/" + link["short_id"]).status == 404
        assert said(pool, "redirect of", "debug")
        with open_db(pool) as db:
            db.execute("BEGIN IMMEDIATE")
            begun = time.monotonic()
            assert create(pool, "https://example.com/").status == 503
            assert time.monotonic() - begun < 20
            db.execute("ROLLBACK")
        db.close()
        assert pool.pid == before


FAILED = "reload failed, keeping the old configuration"


@pytest.mark.parametrize("workers", [2, 0])
def test_broken_file_changes_nothing(build, workers):
    with Pool(build, {}, workers=workers).start() as pool:
        before = pool.workers() if workers else [pool.pid]
        if not workers:  # its janitor reads the file, too, when it starts
            steady(lambda: lock_holders(pool.settings["STATE_DIR"],
                                        lone_janitors([pool.pid])), "janitor")
        good = pool.conf.read_text()
        line, failures = good.count("\n"), 0
        for text, message in (
                ("MAX_CHAR = 99\n", "%s:%d: MAX_CHAR: "
                 % (pool.conf, line + 1)),
                ("\nMAX_CHRA = 9\n", "%s:%d: MAX_CHRA: unknown key"
                 % (pool.conf, line + 2)),
                ("what\n", "%s:%d: " % (pool.conf, line + 1)),
                ("MIN_CHAR = 9\n", "MIN_CHAR (9) is larger than MAX_CHAR (7)"),
        ):
            pool.conf.write_text(good + text)
            pool.signal(signal.SIGHUP)
            if not workers:  # it is loaded by the next request
                assert pool.request("GET", "/t/~").status == 404
            failures += 1
            wait_until(lambda: len(said(pool, FAILED)) == failures, text)
            assert message in said(pool, FAILED)[-1]["msg"]
            assert len(make_link(pool)) == 7
        pool.conf.unlink()
        pool.signal(signal.SIGHUP)
        if not workers:
            assert pool.request("GET", "/t/~").status == 404
        wait_said(pool, "%s: cannot be read: No such file" % pool.conf, "error")
        assert before == (pool.workers() if workers else [pool.pid])
        assert len(make_link(pool)) == 7
        assert len(said(pool, FAILED)) == failures + 1

        # Repaired, it is loaded.
        set_length(pool, 9)
        pool.signal(signal.SIGHUP)
        wait_until(lambda: len(make_link(pool)) == 9, "the new configuration")


@pytest.mark.parametrize("workers", [2, 0])
def test_keys_that_need_a_restart_are_kept(build, workers):
    with Pool(build, {}, workers=workers).start() as pool:
        short_id = make_link(pool)
        old = dict(pool.settings)
        elsewhere = pool.workdir / "elsewhere"
        changed = dict(STORE="dynamodb", STATE_DIR=elsewhere / "state",
                       RUNTIME_DIR=elsewhere / "run", MIN_CHAR=9, MAX_CHAR=9,
                       TABLE="other", AWS_REGION="eu-west-1",
                       AWS_DEFAULT_REGION="eu-west-1",
                       AWS_ENDPOINT_URL="http://127.0.0.1:9",
                       AWS_ENDPOINT_URL_DYNAMODB="http://127.0.0.1:9")
        pool.settings.update(changed)
        pool.write_conf()
        pool.signal(signal.SIGHUP)
        wait_until(lambda: len(make_link(pool)) == 9, "the new configuration")
        for key in set(changed) - {"MIN_CHAR", "MAX_CHAR"}:
            line = wait_said(pool, key + ": changed in the file", "warning")[0]
            assert "restart" in line["msg"]
        check_redirect(pool, short_id)
        assert not elsewhere.exists()
        pool.settings.update(old)


@pytest.mark.parametrize("change", ["STATE_DIR", "broken"])
def test_alone_a_new_janitor_has_the_configuration_in_force(build, change):
    """It starts after the file changed in a way that is not taken over."""
    with Pool(build, {}, workers=0).start() as pool:
        def janitors():
            assert pool.request("GET", "/t/~").status == 404
            return lone_janitors([pool.pid])

        first = steady(janitors, "a janitor")[0]
        make_link(pool)
        state = pool.settings["STATE_DIR"]
        elsewhere = pool.workdir / "elsewhere"
        if change == "STATE_DIR":
            pool.settings.update(STATE_DIR=elsewhere)
            pool.write_conf()
        else:
            pool.conf.write_text("APP_URL = what\n")
        pool.signal(signal.SIGHUP)
        assert pool.request("GET", "/t/~").status == 404
        slay(first)
        second = steady(janitors, "another janitor", seconds=2)
        assert first not in second
        assert lock_holders(state, second) == second
        assert not elsewhere.exists()
        read_log(pool)  # asserts that nobody says anything outside the log


def test_environment_wins_on_reload_too(build):
    with EnvPool(build, {"MIN_CHAR": 5, "MAX_CHAR": 5}, workers=1,
                 environment={"MIN_CHAR": "8", "MAX_CHAR": "8"}
                 ).start() as pool:
        assert len(make_link(pool)) == 8
        set_length(pool, 12)
        pool.settings["LINK_TTL"] = 0
        pool.write_conf()
        reload(pool)
        assert len(make_link(pool)) == 8
        assert create_ttl(pool) is None
        # A value that the environment replaces need not even be right.
        pool.settings.update(MIN_CHAR="nonsense", LINK_TTL=500)
        pool.write_conf()
        reload(pool)
        assert len(make_link(pool)) == 8
        assert create_ttl(pool) > 400
        pool.settings.update(MIN_CHAR=5)


def test_begun_request_is_finished_by_the_old_worker(build):
    with Pool(build, {}, workers=2).start() as pool:
        half = HalfRequest(pool)
        before = pool.workers()
        set_length(pool, 9)
        pool.signal(signal.SIGHUP)
        wait_until(lambda: len(make_link(pool)) == 9
                   and sum(map(alive, before)) == 1, "the idle one replaced")
        half.finish()
        wait_gone(before, 15)
        assert not said(pool, "did not finish in time")


def test_old_worker_that_does_not_finish_is_killed(build):
    with Pool(build, {"DRAIN_TIMEOUT": 1}, workers=2).start() as pool:
        frozen = pool.workers()[0]
        freeze(frozen)
        reload(pool)
        wait_until(lambda: not alive(frozen), "the frozen one gone", 15)
        wait_said(pool, "process did not finish in time, killing it: pid %d"
                  % frozen)
        make_link(pool)


def test_kept_connection_is_closed_by_the_old_worker(build):
    """The web server must notice, and connect to a new one."""
    with Pool(build, {}, workers=1).start() as pool:
        with pool.client() as kept:
            assert kept.request("GET", "/t/~", keep=True).status == 404
            reload(pool)
            assert kept.closed()
        make_link(pool)


def test_reload_while_a_worker_is_waiting_to_be_replaced(build):
    with Pool(build, {}, workers=2).start() as pool:
        for _ in range(3):
            slay(wait_until(pool.workers, "a worker")[0])
        set_length(pool, 9)
        reload(pool)
        for _ in range(4):
            assert len(make_link(pool)) == 9
        assert len(pool.workers()) == 2
