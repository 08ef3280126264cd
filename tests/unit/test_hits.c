/* The hit journal: every hit gets to the store, and none twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "clock.h"
#include "hash.h"
#include "hits_ledger.h"
#include "mapfile.h"

/* A disk that fails: curt's own calls come here. */
static bool disk_fails;

int fdatasync(int fd)
{
    if (!disk_fails)
        return (int)syscall(SYS_fdatasync, fd);
    errno = EIO;
    return -1;
}

static struct hits *open_existing(enum result wanted)
{
    struct hits *h;
    const char *reason = "";
    assert_int_equal(hits_open_existing(ledger_conf, &h, &reason), wanted);
    return h;
}

static void what_is_counted_gets_to_the_store(void **state)
{
    (void)state;
    struct hits *h = ledger_open();
    uint64_t hits, links;
    ledger_count(h, 0, 3);
    ledger_count(h, 1, 5);
    assert_int_equal(hits_pending(h, ledger_ids[0]), 3);
    assert_int_equal(hits_pending(h, ledger_ids[1]), 5);
    assert_int_equal(hits_pending(h, ledger_ids[2]), 0);
    hits_pending_all(h, &hits, &links);
    assert_int_equal(hits, 8);
    assert_int_equal(links, 2);
    struct hits_flushed out = ledger_flush(h);
    assert_int_equal(out.hits, 8);
    assert_int_equal(out.links, 2);
    assert_int_equal(out.dropped + out.failed, 0);
    assert_int_equal(ledger_stored(0), 3);
    assert_int_equal(ledger_stored(1), 5);
    assert_int_equal(ledger_pending(h), 0);
    assert_int_equal(hits_pending(h, ledger_ids[0]), 0);
    ledger_count(h, 0, 1);
    out = ledger_flush(h);
    assert_int_equal(out.hits, 1);
    assert_int_equal(ledger_stored(0), 4);
    const unsigned sendings = atomic_load(&ledger->sendings);
    (void)ledger_flush(h);
    (void)ledger_flush(h);
    assert_int_equal(atomic_load(&ledger->sendings), sendings);
    hits_close(h);
}

static void the_parts_of_a_flush_are_the_whole(void **state)
{
    (void)state;
    struct hits *h = ledger_open();
    struct hits_flushed out;
    const char *reason;
    uint64_t sum = 0;
    for (unsigned parts = 1; parts <= 5; parts++) {
        for (unsigned i = 0; i < WINDOW; i++)
            ledger_count(h, i, i + 1);
        sum += WINDOW * (WINDOW + 1) / 2;
        for (unsigned part = 0; part < parts; part++) {
            assert_true(hits_begin_flush(h, part, parts, &reason));
            hits_flush(h, &ledger_store, part, parts, ledger_unlimited(), &out);
        }
        assert_int_equal(ledger_pending(h), 0);
    }
    for (unsigned i = 0; i < WINDOW; i++)
        sum -= ledger_stored(i);
    assert_int_equal(sum, 0);
    hits_close(h);
}

static void without_a_journal_nothing_is_counted(void **state)
{
    (void)state;
    struct hits_flushed out;
    const char *reason;
    uint64_t hits = 1, links = 1;
    assert_null(open_existing(RESULT_NOT_FOUND));
    assert_false(hits_count(NULL, ledger_ids[0]));
    assert_int_equal(hits_pending(NULL, ledger_ids[0]), 0);
    hits_pending_all(NULL, &hits, &links);
    assert_int_equal(hits + links, 0);
    assert_true(hits_begin_flush(NULL, 0, 1, &reason));
    hits_flush(NULL, &ledger_store, 0, 1, ledger_unlimited(), &out);
    assert_int_equal(out.hits + out.failed, 0);
    hits_close(NULL);
    ledger_conf->state_dir[strlen(ledger_conf->state_dir) - 1] ^= 1;
    assert_null(hits_open(ledger_conf, &(bool){false}));
    ledger_conf->state_dir[strlen(ledger_conf->state_dir) - 1] ^= 1;
}

/* Ids with one and the same window. */
static void choose_crowd(char crowd[][IDS_MAX + 1], unsigned n)
{
    for (unsigned long i = 0, found = 0; found < n; i++) {
        char id[IDS_MAX + 1];
        snprintf(id, sizeof(id), "crowd%lu", i);
        if (hash_text(id) % SLOTS == SLOTS - 1) /* around the end, too */
            memcpy(crowd[found++], id, sizeof(id));
    }
}

static void a_full_window_says_so_and_slots_come_back(void **state)
{
    (void)state;
    static char crowd[2 * WINDOW + 1][IDS_MAX + 1];
    struct hits *h = ledger_open();
    choose_crowd(crowd, 2 * WINDOW + 1);
    memcpy(ledger_ids, crowd, sizeof(crowd)); /* the ledger must know them */
    for (unsigned i = 0; i < WINDOW; i++)
        ledger_count(h, i, 2);
    assert_false(hits_count(h, crowd[WINDOW]));
    ledger_count(h, 0, 1); /* those that have a slot go on */
    assert_int_equal(ledger_flush(h).hits, 2 * WINDOW + 1);
    (void)ledger_flush(h); /* nothing new: they are given away */
    for (unsigned i = WINDOW; i < 2 * WINDOW; i++)
        ledger_count(h, i, i);
    assert_false(hits_count(h, crowd[0]));
    assert_int_equal(hits_pending(h, crowd[0]), 0);
    (void)ledger_flush(h);
    assert_int_equal(ledger_stored(0), 3);
    for (unsigned i = 1; i < 2 * WINDOW; i++)
        assert_int_equal(ledger_stored(i), i < WINDOW ? 2 : i);
    hits_close(h);
    ledger_choose_ids();
}

static void hits_of_a_deleted_link_are_dropped(void **state)
{
    (void)state;
    struct hits *h = ledger_open();
    ledger_count(h, 0, 7);
    ledger_count(h, 1, 1);
    atomic_store(&ledger->gone[0], true);
    const struct hits_flushed out = ledger_flush(h);
    assert_int_equal(out.dropped, 7);
    assert_int_equal(out.hits, 1);
    assert_int_equal(out.failed, 0);
    assert_int_equal(ledger_pending(h), 0);
    assert_int_equal(ledger_stored(0), 0);
    hits_close(h);
}

static void a_store_that_is_away_costs_no_hit(void **state)
{
    (void)state;
    static const int failures[] = {RESULT_UNAVAILABLE, RESULT_THROTTLED,
                                   RESULT_DENIED, RESULT_INTERNAL,
                                   UNKNOWN_NOT_APPLIED};
    struct hits *h = ledger_open();
    uint64_t expected = 0;
    for (unsigned i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
        ledger_count(h, 0, 10);
        for (unsigned n = 0; n < 3; n++) {
            atomic_store(&ledger->next, failures[i]);
            const struct hits_flushed out = ledger_flush(h);
            assert_int_equal(out.failed, 1);
            assert_int_equal(out.hits + out.links, 0);
            ledger_count(h, 0, 1);
            assert_int_equal(hits_pending(h, ledger_ids[0]), 10 + n + 1);
        }
        /* What was sent once stays as it was; the rest goes after it. */
        assert_int_equal(ledger_flush(h).hits, 10);
        assert_int_equal(ledger_flush(h).hits, 3);
        expected += 13;
        assert_int_equal(ledger_stored(0), expected);
        assert_int_equal(ledger_pending(h), 0);
    }
    hits_close(h);
}

static void a_lost_answer_counts_once(void **state)
{
    (void)state;
    struct hits *h = ledger_open();
    ledger_count(h, 0, 4);
    atomic_store(&ledger->next, UNKNOWN_APPLIED);
    assert_int_equal(ledger_flush(h).failed, 1);
    assert_int_equal(ledger_stored(0), 4);
    ledger_count(h, 0, 3);
    hits_close(h);
    h = ledger_open(); /* another janitor goes on */
    (void)ledger_flush(h);
    (void)ledger_flush(h);
    assert_int_equal(ledger_stored(0), 7);
    assert_int_equal(ledger_pending(h), 0);
    hits_close(h);
}

/* An item that the store will never take, such as one whose hits are text. */
static void one_bad_link_does_not_hold_up_the_others(void **state)
{
    (void)state;
    struct hits *h = ledger_open();
    for (unsigned i = 0; i < WINDOW; i++)
        ledger_count(h, i, 1);
    atomic_store(&ledger->refused[5], true);
    for (unsigned i = 0; i < 2 * WINDOW; i++)
        (void)ledger_flush(h);
    for (unsigned i = 0; i < WINDOW; i++)
        assert_int_equal(ledger_stored(i), i == 5 ? 0 : 1);
    assert_int_equal(ledger_pending(h), 1);
    atomic_store(&ledger->refused[5], false);
    (void)ledger_flush(h);
    assert_int_equal(ledger_stored(5), 1);
    hits_close(h);
}

/* What is not sent stays; it is not lost, and the next flush has it. */
static void test_hits_flush_ends_at_a_throttled_answer(void **state)
{
    (void)state;
    struct hits *h = ledger_open();
    struct hits_flushed out;
    const char *reason;
    _Atomic int64_t left = 5;
    for (unsigned i = 0; i < WINDOW; i++)
        ledger_count(h, i, 2);
    assert_true(hits_begin_flush(h, 0, 1, &reason));
    hits_flush(h, &ledger_store, 0, 1, &left, &out);
    assert_int_equal(out.links, 5);
    assert_int_equal(out.failed, 0);
    assert_false(out.throttled);
    assert_true(left < 0);
    assert_int_equal(ledger_pending(h), 2 * (WINDOW - 5));

    left = 5;
    assert_true(hits_begin_flush(h, 0, 1, &reason));
    atomic_store(&ledger->next, RESULT_THROTTLED);
    hits_flush(h, &ledger_store, 0, 1, &left, &out);
    assert_int_equal(out.links, 0);
    assert_int_equal(out.failed, 1);
    assert_true(out.throttled);
    assert_string_equal(out.error, "throttled: ");
    assert_int_equal(left, 0);
    /* The other parts send nothing more. */
    hits_flush(h, &ledger_store, 0, 1, &left, &out);
    assert_int_equal(out.links + out.failed, 0);
    assert_int_equal(ledger_pending(h), 2 * (WINDOW - 5));

    left = WINDOW - 5;
    assert_true(hits_begin_flush(h, 0, 1, &reason));
    hits_flush(h, &ledger_store, 0, 1, &left, &out);
    assert_int_equal(out.links, WINDOW - 5);
    assert_int_equal(left, 0); /* and nothing is left to send */
    assert_int_equal(ledger_pending(h), 0);
    for (unsigned i = 0; i < WINDOW; i++)
        assert_int_equal(ledger_stored(i), 2);
    hits_close(h);
}

static void pending_hits_stay_in_the_file(void **state)
{
    (void)state;
    struct hits *h = ledger_open();
    ledger_count(h, 0, 3);
    hits_close(h);
    h = open_existing(RESULT_OK);
    assert_non_null(h);
    assert_int_equal(hits_pending(h, ledger_ids[0]), 3);
    (void)ledger_flush(h);
    char node[STORE_NODE_SIZE];
    memcpy(node, ledger->node, sizeof(node));
    ledger_count(h, 0, 1);
    hits_close(h);
    h = ledger_open();
    (void)ledger_flush(h);
    assert_string_equal(ledger->node, node);
    assert_int_equal(ledger_stored(0), 4);
    hits_close(h);
}

static void a_new_file_is_a_new_node(void **state)
{
    (void)state;
    char nodes[8][STORE_NODE_SIZE];
    for (unsigned i = 0; i < 8; i++) {
        struct hits *h = ledger_open();
        ledger_count(h, i, 1);
        (void)ledger_flush(h);
        memcpy(nodes[i], ledger->node, sizeof(nodes[i]));
        for (unsigned c = 0; c < STORE_NODE_SIZE - 1; c++)
            assert_true(isalnum((unsigned char)nodes[i][c]));
        for (unsigned other = 0; other < i; other++)
            assert_string_not_equal(nodes[i], nodes[other]);
        hits_close(h);
        assert_int_equal(unlink(crew_path(ledger_conf, "hits")), 0);
    }
}

static void a_file_of_another_version_is_not_read(void **state)
{
    (void)state;
    struct hits *h = ledger_open();
    ledger_count(h, 0, 3);
    (void)ledger_flush(h);
    ledger_count(h, 0, 2);
    hits_close(h);
    char node[STORE_NODE_SIZE];
    memcpy(node, ledger->node, sizeof(node));
    int fd = open(crew_path(ledger_conf, "hits"), O_RDWR | O_CLOEXEC);
    const uint32_t version = 99;
    assert_int_equal(pwrite(fd, &version, sizeof(version),
                            offsetof(struct mapfile_header, version)),
                     sizeof(version));
    close(fd);
    assert_null(open_existing(RESULT_CORRUPT));
    h = ledger_open();
    assert_int_equal(ledger_pending(h), 0);
    ledger_count(h, 0, 1);
    (void)ledger_flush(h);
    assert_string_not_equal(ledger->node, node);
    hits_close(h);
}

static void set_header(size_t at, const void *bytes, size_t len)
{
    int fd = open(crew_path(ledger_conf, "hits"), O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, bytes, len, (off_t)at), len);
    close(fd);
}

static bool is_in_state_dir(const char *name)
{
    return access(crew_path(ledger_conf, name), F_OK) == 0;
}

static void hits_old_journals_are_all_kept(void **state)
{
    (void)state;
    static const char *const names[] = {"hits.old", "hits.old.1", "hits.old.2"};
    for (uint32_t i = 0; i < 3; i++) {
        const uint32_t version = 90 + i;
        struct hits *h = ledger_open();
        ledger_count(h, i, i + 1);
        hits_close(h);
        set_header(offsetof(struct mapfile_header, version), &version,
                   sizeof(version));
        hits_close(ledger_open());
        for (uint32_t n = 0; n < 3; n++)
            assert_int_equal(is_in_state_dir(names[n]), n <= i);
    }
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t version = 0;
        int fd = open(crew_path(ledger_conf, names[i]), O_RDONLY | O_CLOEXEC);
        assert_int_equal(pread(fd, &version, sizeof(version),
                               offsetof(struct mapfile_header, version)),
                         sizeof(version));
        assert_int_equal(version, 90 + i);
        close(fd);
    }
}

static void hits_of_a_version_without_owners_are_taken_over(void **state)
{
    (void)state;
    const uint64_t none = 0;
    char node[STORE_NODE_SIZE];
    struct hits *h = ledger_open();
    ledger_count(h, 0, 3);
    (void)ledger_flush(h);
    memcpy(node, ledger->node, sizeof(node));
    ledger_count(h, 0, 4);
    hits_close(h);
    set_header(offsetof(struct mapfile_header, owner), &none, sizeof(none));
    h = ledger_open();
    assert_int_equal(ledger_pending(h), 4);
    (void)ledger_flush(h);
    assert_string_equal(ledger->node, node);
    assert_int_equal(ledger_stored(0), 7);
    hits_close(h);
    assert_int_equal(hits_of_other_stores(ledger_conf), 0);
}

/* Another table, region, endpoint or store: their hits wait for them. */
static void hits_of_another_store_wait_for_it(void **state)
{
    (void)state;
    static char table[] = "other", region[] = "eu-west-1",
                endpoint[] = "http://127.0.0.1:8000";
    struct conf *c = ledger_conf;
    struct hits *all[5];
    for (unsigned i = 0; i < 5; i++) {
        if (i == 1)
            c->store = CONF_STORE_DYNAMODB;
        c->table = i >= 2 ? table : NULL;
        c->aws_region = i >= 3 ? region : NULL;
        c->aws_endpoint_url = i >= 4 ? endpoint : NULL;
        all[i] = ledger_open();
        assert_int_equal(ledger_pending(all[i]), 0);
        assert_int_equal(hits_of_other_stores(c), i * (i + 1) / 2);
        ledger_count(all[i], i, i + 1);
        hits_close(open_existing(RESULT_OK));
    }
    /* A process that has it open goes on with its own. */
    ledger_count(all[0], 0, 1);
    assert_int_equal(ledger_flush(all[4]).hits, 5);
    for (unsigned i = 5; i-- > 0;) {
        c->aws_endpoint_url = i >= 4 ? endpoint : NULL;
        c->aws_region = i >= 3 ? region : NULL;
        c->table = i >= 2 ? table : NULL;
        c->store = i >= 1 ? CONF_STORE_DYNAMODB : CONF_STORE_SQLITE;
        hits_close(all[i]);
        struct hits *h = ledger_open();
        assert_int_equal(ledger_pending(h), i == 0 ? 2 : i == 4 ? 0 : i + 1);
        (void)ledger_flush(h);
        assert_int_equal(ledger_stored(i), i == 0 ? 2 : i + 1);
        hits_close(h);
    }
    assert_int_equal(hits_of_other_stores(c), 0);
}

static void hits_beside_sqlite_stay_when_the_directory_moves(void **state)
{
    (void)state;
    struct hits *h = ledger_open();
    ledger_count(h, 0, 3);
    hits_close(h);
    char *dir = ledger_conf->state_dir, other[200];
    snprintf(other, sizeof(other), "%s/.", dir);
    ledger_conf->state_dir = other;
    h = ledger_open();
    assert_int_equal(ledger_pending(h), 3);
    hits_close(h);
    ledger_conf->state_dir = dir;
}

static void hits_are_not_sent_when_the_disk_fails(void **state)
{
    (void)state;
    const char *reason = NULL;
    struct hits *h = ledger_open();
    ledger_count(h, 0, 3);
    for (unsigned i = 0; i < 3; i++) {
        disk_fails = true;
        assert_false(hits_begin_flush(h, 0, 1, &reason));
        disk_fails = false;
        assert_string_equal(reason, strerror(EIO));
        assert_int_equal(atomic_load(&ledger->sendings), 0);
        ledger_count(h, 1, 1);
    }
    assert_int_equal(ledger_pending(h), 6);
    (void)ledger_flush(h);
    (void)ledger_flush(h);
    assert_int_equal(ledger_stored(0), 3);
    assert_int_equal(ledger_stored(1), 3);
    hits_close(h);
}

/* Bytes that this process has given the disk to write (proc(5)). */
static unsigned long long written_bytes(void)
{
    unsigned long long n = 0;
    char line[80];
    FILE *io = fopen("/proc/self/io", "r");
    assert_non_null(io);
    while (fgets(line, sizeof(line), io) != NULL)
        (void)sscanf(line, "write_bytes: %llu", &n);
    fclose(io);
    return n;
}

/* While a table is throttled there is a flush a second. */
static void hits_that_wait_are_not_written_again(void **state)
{
    (void)state;
    const char *reason;
    struct hits *h = ledger_open();
    for (unsigned i = 0; i < 1000; i++) {
        char id[IDS_MAX + 1];
        snprintf(id, sizeof(id), "wait%u", i);
        assert_true(hits_count(h, id));
    }
    assert_true(hits_begin_flush(h, 0, 1, &reason));
    const unsigned long long before = written_bytes();
    assert_true(hits_begin_flush(h, 0, 1, &reason));
    assert_true(written_bytes() - before < 100 * 4096);
    hits_close(h);
}

/* Whatever became of the janitor's lock. */
static void hits_are_flushed_by_one_process_at_a_time(void **state)
{
    (void)state;
    const char *reason = "";
    struct hits *first = ledger_open(), *second = ledger_open();
    ledger_count(second, 0, 3);
    assert_true(hits_begin_flush(first, 0, 1, &reason));
    assert_false(hits_begin_flush(second, 0, 1, &reason));
    assert_null(reason);
    assert_true(hits_begin_flush(first, 0, 1, &reason));
    ledger_count(second, 1, 1); /* counting needs none of it */
    hits_close(first);
    assert_int_equal(ledger_flush(second).hits, 4);
    hits_close(second);
}

static enum result take_any(struct store *s, const char *short_id, uint64_t n,
                            const struct store_flush *flush)
{
    (void)s;
    (void)n;
    assert_true(strlen(short_id) <= IDS_MAX);
    assert_true(strlen(flush->node) < STORE_NODE_SIZE);
    return RESULT_OK;
}

/* A right header, and after it what no curt has written. */
static void hits_crafted_file_harms_nobody(void **state)
{
    (void)state;
    static const struct store_ops ops = {.add_hits = take_any};
    struct store store = {.ops = &ops, .conf = ledger_conf};
    const size_t begin = sizeof(struct mapfile_header), len = SLOTS * 128;
    unsigned char *junk = malloc(len);
    assert_non_null(junk);
    for (unsigned round = 0; round < 3; round++) {
        hits_close(ledger_open());
        uint32_t random = crew_random(UINT32_MAX);
        for (size_t i = 0; i < len; i++) {
            random = random * 1664525 + 1013904223;
            junk[i] = round == 0 ? 0xff : (unsigned char)(random >> 24);
        }
        for (size_t i = 0; round == 2 && i < len; i += 4096)
            memset(junk + i, 'y', 1024); /* used, with ids that do not end */
        set_header(begin, junk, len);
        struct hits *h = open_existing(RESULT_OK);
        const char *reason;
        struct hits_flushed out;
        (void)hits_count(h, ledger_ids[0]);
        (void)hits_pending(h, ledger_ids[1]);
        (void)ledger_pending(h);
        assert_true(hits_begin_flush(h, 0, SLOTS / 4096, &reason));
        hits_flush(h, &store, 0, SLOTS / 4096, ledger_unlimited(), &out);
        hits_close(h);
    }
    free(junk);
}

static void hold_the_lock(void *arg)
{
    (void)arg;
    const char *path = crew_path(ledger_conf, "hits");
    struct mapfile m = {.fd = open(path, O_RDWR | O_CLOEXEC)};
    if (m.fd < 0 || !mapfile_lock(&m, 1000000))
        _exit(1);
    atomic_store(&ledger->gate, 1);
    for (;;)
        pause();
}

static void a_stopped_claimer_holds_up_nobody(void **state)
{
    (void)state;
    struct hits *h = ledger_open();
    ledger_count(h, 0, 1);
    pid_t holder = crew_start(hold_the_lock, NULL);
    while (atomic_load(&ledger->gate) == 0)
        crew_sleep_us(1000);
    crew_freeze(holder);
    const int64_t begun = clock_monotonic_ms();
    ledger_count(h, 0, 1000); /* needs no lock */
    (void)ledger_flush(h);    /* nor does this */
    assert_int_equal(ledger_stored(0), 1001);
    (void)hits_count(h, ledger_ids[1]);
    assert_true(clock_monotonic_ms() - begun < 2000);
    crew_slay(holder);
    ledger_count(h, 1, 1);
    hits_close(h);
}

#define TEST(name)                                                             \
    cmocka_unit_test_setup_teardown(name, ledger_set_up, ledger_tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_is_counted_gets_to_the_store),
        TEST(the_parts_of_a_flush_are_the_whole),
        TEST(without_a_journal_nothing_is_counted),
        TEST(a_full_window_says_so_and_slots_come_back),
        TEST(hits_of_a_deleted_link_are_dropped),
        TEST(a_store_that_is_away_costs_no_hit),
        TEST(a_lost_answer_counts_once),
        TEST(one_bad_link_does_not_hold_up_the_others),
        TEST(test_hits_flush_ends_at_a_throttled_answer),
        TEST(pending_hits_stay_in_the_file),
        TEST(a_new_file_is_a_new_node),
        TEST(a_file_of_another_version_is_not_read),
        TEST(a_stopped_claimer_holds_up_nobody),
        TEST(hits_old_journals_are_all_kept),
        TEST(hits_of_a_version_without_owners_are_taken_over),
        TEST(hits_of_another_store_wait_for_it),
        TEST(hits_beside_sqlite_stay_when_the_directory_moves),
        TEST(hits_are_not_sent_when_the_disk_fails),
        TEST(hits_that_wait_are_not_written_again),
        TEST(hits_are_flushed_by_one_process_at_a_time),
        TEST(hits_crafted_file_harms_nobody),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
