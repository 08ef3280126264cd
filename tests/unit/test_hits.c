/* The hit journal: every hit gets to the store, and none twice. */
#include "test.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/syscall.h>

#include "base/clock.h"
#include "base/mapfile.h"
#include "base/text.h"
#include "hits_fixture.h"

EACH_TEST(hits_set_up, hits_tear_down)

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
    assert_int_equal(hits_open_existing(hits_conf, &h, &reason), wanted);
    return h;
}

TEST(what_is_counted_gets_to_the_store)
{
    struct hits *h = open_journal();
    uint64_t hits, links;
    count_hits(h, 0, 3);
    count_hits(h, 1, 5);
    assert_int_equal(hits_pending(h, link_ids[0]), 3);
    assert_int_equal(hits_pending(h, link_ids[1]), 5);
    assert_int_equal(hits_pending(h, link_ids[2]), 0);
    hits_pending_all(h, &hits, &links);
    assert_int_equal(hits, 8);
    assert_int_equal(links, 2);
    struct hits_flushed out = flush_journal(h);
    assert_int_equal(out.hits, 8);
    assert_int_equal(out.links, 2);
    assert_int_equal(out.dropped + out.failed, 0);
    assert_int_equal(stored_hits(0), 3);
    assert_int_equal(stored_hits(1), 5);
    assert_int_equal(pending_hits(h), 0);
    assert_int_equal(hits_pending(h, link_ids[0]), 0);
    count_hits(h, 0, 1);
    out = flush_journal(h);
    assert_int_equal(out.hits, 1);
    assert_int_equal(stored_hits(0), 4);
    const unsigned sendings = atomic_load(&fake_table->sendings);
    (void)flush_journal(h);
    (void)flush_journal(h);
    assert_int_equal(atomic_load(&fake_table->sendings), sendings);
    hits_close(h);
}

TEST(the_parts_of_a_flush_are_the_whole)
{
    struct hits *h = open_journal();
    struct hits_flushed out;
    const char *reason;
    uint64_t sum = 0;
    for (unsigned parts = 1; parts <= 5; parts++) {
        for (unsigned i = 0; i < WINDOW; i++)
            count_hits(h, i, i + 1);
        sum += WINDOW * (WINDOW + 1) / 2;
        for (unsigned part = 0; part < parts; part++) {
            assert_true(hits_begin_flush(h, part, parts, &reason));
            hits_flush(h, &hits_store, part, parts, unlimited(), &out);
        }
        assert_int_equal(pending_hits(h), 0);
    }
    for (unsigned i = 0; i < WINDOW; i++)
        sum -= stored_hits(i);
    assert_int_equal(sum, 0);
    hits_close(h);
}

TEST(without_a_journal_nothing_is_counted)
{
    struct hits_flushed out;
    const char *reason;
    uint64_t hits = 1, links = 1;
    assert_null(open_existing(RESULT_NOT_FOUND));
    assert_false(hits_count(NULL, link_ids[0]));
    assert_int_equal(hits_pending(NULL, link_ids[0]), 0);
    hits_pending_all(NULL, &hits, &links);
    assert_int_equal(hits + links, 0);
    assert_true(hits_begin_flush(NULL, 0, 1, &reason));
    hits_flush(NULL, &hits_store, 0, 1, unlimited(), &out);
    assert_int_equal(out.hits + out.failed, 0);
    hits_close(NULL);
    hits_conf->state_dir[strlen(hits_conf->state_dir) - 1] ^= 1;
    assert_null(hits_open(hits_conf, &(bool){false}));
    hits_conf->state_dir[strlen(hits_conf->state_dir) - 1] ^= 1;
}

/* Ids with one and the same window. */
static void choose_crowd(char crowd[][IDS_MAX + 1], unsigned n)
{
    for (unsigned long i = 0, found = 0; found < n; i++) {
        char id[IDS_MAX + 1];
        snprintf(id, sizeof(id), "crowd%lu", i);
        if (text_hash(id) % SLOTS == SLOTS - 1) /* around the end, too */
            memcpy(crowd[found++], id, sizeof(id));
    }
}

TEST(a_full_window_says_so_and_slots_come_back)
{
    static char crowd[2 * WINDOW + 1][IDS_MAX + 1];
    struct hits *h = open_journal();
    choose_crowd(crowd, 2 * WINDOW + 1);
    memcpy(link_ids, crowd, sizeof(crowd)); /* the fake_table must know them */
    for (unsigned i = 0; i < WINDOW; i++)
        count_hits(h, i, 2);
    assert_false(hits_count(h, crowd[WINDOW]));
    count_hits(h, 0, 1); /* those that have a slot go on */
    assert_int_equal(flush_journal(h).hits, 2 * WINDOW + 1);
    (void)flush_journal(h); /* nothing new: they are given away */
    for (unsigned i = WINDOW; i < 2 * WINDOW; i++)
        count_hits(h, i, i);
    assert_false(hits_count(h, crowd[0]));
    assert_int_equal(hits_pending(h, crowd[0]), 0);
    (void)flush_journal(h);
    assert_int_equal(stored_hits(0), 3);
    for (unsigned i = 1; i < 2 * WINDOW; i++)
        assert_int_equal(stored_hits(i), i < WINDOW ? 2 : i);
    hits_close(h);
    choose_link_ids();
}

TEST(of_a_deleted_link_are_dropped)
{
    struct hits *h = open_journal();
    count_hits(h, 0, 7);
    count_hits(h, 1, 1);
    atomic_store(&fake_table->gone[0], true);
    const struct hits_flushed out = flush_journal(h);
    assert_int_equal(out.dropped, 7);
    assert_int_equal(out.hits, 1);
    assert_int_equal(out.failed, 0);
    assert_int_equal(pending_hits(h), 0);
    assert_int_equal(stored_hits(0), 0);
    hits_close(h);
}

TEST(a_store_that_is_away_costs_no_hit)
{
    static const int failures[] = {RESULT_UNAVAILABLE, RESULT_THROTTLED,
                                   RESULT_DENIED, RESULT_INTERNAL,
                                   UNKNOWN_NOT_APPLIED};
    struct hits *h = open_journal();
    uint64_t expected = 0;
    for (unsigned i = 0; i < COUNT(failures); i++) {
        count_hits(h, 0, 10);
        for (unsigned n = 0; n < 3; n++) {
            atomic_store(&fake_table->next, failures[i]);
            const struct hits_flushed out = flush_journal(h);
            assert_int_equal(out.failed, 1);
            assert_int_equal(out.hits + out.links, 0);
            count_hits(h, 0, 1);
            assert_int_equal(hits_pending(h, link_ids[0]), 10 + n + 1);
        }
        /* What was sent once stays as it was; the rest goes after it. */
        assert_int_equal(flush_journal(h).hits, 10);
        assert_int_equal(flush_journal(h).hits, 3);
        expected += 13;
        assert_int_equal(stored_hits(0), expected);
        assert_int_equal(pending_hits(h), 0);
    }
    hits_close(h);
}

TEST(a_lost_answer_counts_once)
{
    struct hits *h = open_journal();
    count_hits(h, 0, 4);
    atomic_store(&fake_table->next, UNKNOWN_APPLIED);
    assert_int_equal(flush_journal(h).failed, 1);
    assert_int_equal(stored_hits(0), 4);
    count_hits(h, 0, 3);
    hits_close(h);
    h = open_journal(); /* another janitor goes on */
    (void)flush_journal(h);
    (void)flush_journal(h);
    assert_int_equal(stored_hits(0), 7);
    assert_int_equal(pending_hits(h), 0);
    hits_close(h);
}

/* An item that the store will never take, such as one whose hits are text. */
TEST(one_bad_link_does_not_hold_up_the_others)
{
    struct hits *h = open_journal();
    for (unsigned i = 0; i < WINDOW; i++)
        count_hits(h, i, 1);
    atomic_store(&fake_table->refused[5], true);
    for (unsigned i = 0; i < 2 * WINDOW; i++)
        (void)flush_journal(h);
    for (unsigned i = 0; i < WINDOW; i++)
        assert_int_equal(stored_hits(i), i == 5 ? 0 : 1);
    assert_int_equal(pending_hits(h), 1);
    atomic_store(&fake_table->refused[5], false);
    (void)flush_journal(h);
    assert_int_equal(stored_hits(5), 1);
    hits_close(h);
}

/* What is not sent stays; it is not lost, and the next flush has it. */
TEST(flush_ends_at_a_throttled_answer)
{
    struct hits *h = open_journal();
    struct hits_flushed out;
    const char *reason;
    _Atomic int64_t left = 5;
    for (unsigned i = 0; i < WINDOW; i++)
        count_hits(h, i, 2);
    assert_true(hits_begin_flush(h, 0, 1, &reason));
    hits_flush(h, &hits_store, 0, 1, &left, &out);
    assert_int_equal(out.links, 5);
    assert_int_equal(out.failed, 0);
    assert_false(out.throttled);
    assert_true(left < 0);
    assert_int_equal(pending_hits(h), 2 * (WINDOW - 5));

    left = 5;
    assert_true(hits_begin_flush(h, 0, 1, &reason));
    atomic_store(&fake_table->next, RESULT_THROTTLED);
    hits_flush(h, &hits_store, 0, 1, &left, &out);
    assert_int_equal(out.links, 0);
    assert_int_equal(out.failed, 1);
    assert_true(out.throttled);
    assert_string_equal(out.error, "throttled: ");
    assert_int_equal(left, 0);
    /* The other parts send nothing more. */
    hits_flush(h, &hits_store, 0, 1, &left, &out);
    assert_int_equal(out.links + out.failed, 0);
    assert_int_equal(pending_hits(h), 2 * (WINDOW - 5));

    left = WINDOW - 5;
    assert_true(hits_begin_flush(h, 0, 1, &reason));
    hits_flush(h, &hits_store, 0, 1, &left, &out);
    assert_int_equal(out.links, WINDOW - 5);
    assert_int_equal(left, 0); /* and nothing is left to send */
    assert_int_equal(pending_hits(h), 0);
    for (unsigned i = 0; i < WINDOW; i++)
        assert_int_equal(stored_hits(i), 2);
    hits_close(h);
}

TEST(pending_hits_stay_in_the_file)
{
    struct hits *h = open_journal();
    count_hits(h, 0, 3);
    hits_close(h);
    h = open_existing(RESULT_OK);
    assert_non_null(h);
    assert_int_equal(hits_pending(h, link_ids[0]), 3);
    (void)flush_journal(h);
    char node[STORE_NODE_SIZE];
    memcpy(node, fake_table->node, sizeof(node));
    count_hits(h, 0, 1);
    hits_close(h);
    h = open_journal();
    (void)flush_journal(h);
    assert_string_equal(fake_table->node, node);
    assert_int_equal(stored_hits(0), 4);
    hits_close(h);
}

TEST(a_new_file_is_a_new_node)
{
    char nodes[8][STORE_NODE_SIZE];
    for (unsigned i = 0; i < 8; i++) {
        struct hits *h = open_journal();
        count_hits(h, i, 1);
        (void)flush_journal(h);
        memcpy(nodes[i], fake_table->node, sizeof(nodes[i]));
        for (unsigned c = 0; c < STORE_NODE_SIZE - 1; c++)
            assert_true(isalnum((unsigned char)nodes[i][c]));
        for (unsigned other = 0; other < i; other++)
            assert_string_not_equal(nodes[i], nodes[other]);
        hits_close(h);
        assert_int_equal(unlink(temp_path(hits_conf, "hits")), 0);
    }
}

TEST(a_file_of_another_version_is_not_read)
{
    struct hits *h = open_journal();
    count_hits(h, 0, 3);
    (void)flush_journal(h);
    count_hits(h, 0, 2);
    hits_close(h);
    char node[STORE_NODE_SIZE];
    memcpy(node, fake_table->node, sizeof(node));
    int fd = open(temp_path(hits_conf, "hits"), O_RDWR | O_CLOEXEC);
    const uint32_t version = 99;
    assert_int_equal(pwrite(fd, &version, sizeof(version),
                            offsetof(struct mapfile_header, version)),
                     sizeof(version));
    close(fd);
    assert_null(open_existing(RESULT_CORRUPT));
    h = open_journal();
    assert_int_equal(pending_hits(h), 0);
    count_hits(h, 0, 1);
    (void)flush_journal(h);
    assert_string_not_equal(fake_table->node, node);
    hits_close(h);
}

static void set_header(size_t at, const void *bytes, size_t len)
{
    int fd = open(temp_path(hits_conf, "hits"), O_RDWR | O_CLOEXEC);
    assert_int_equal(pwrite(fd, bytes, len, (off_t)at), len);
    close(fd);
}

/* Memory of the mapped journal that this process has touched, in KiB. */
static unsigned long touched_memory(void)
{
    FILE *maps = fopen("/proc/self/smaps", "re");
    char line[512];
    bool journal = false;
    unsigned long sum = 0, size, from, to;
    assert_non_null(maps);
    while (fgets(line, sizeof(line), maps) != NULL) {
        if (sscanf(line, "%lx-%lx ", &from, &to) == 2)
            journal = strstr(line, "/hits\n") != NULL;
        else if (journal && sscanf(line, "Rss: %lu kB", &size) == 1)
            sum += size;
    }
    fclose(maps);
    return sum;
}

TEST(a_flush_touches_only_pages_that_were_used)
{
    struct hits *h = open_journal();
    count_hits(h, 0, 3);
    assert_int_equal(flush_journal(h).hits, 3);
    assert_int_equal(flush_journal(h).hits, 0);
    assert_int_equal(pending_hits(h), 0);
    /* The kernel maps up to 64 KiB at once. */
    assert_in_range(touched_memory(), 8, 1024);
    hits_close(h);
}

/* What a power loss can leave: slots, and not the marks of their pages. */
TEST(the_first_flush_after_a_boot_finds_slots_without_marks)
{
    static const char zeros[8 + 1024];
    struct hits *h = open_journal();
    count_hits(h, 0, 3);
    set_header(56, zeros, sizeof(zeros)); /* the boot, and the marks */
    assert_int_equal(pending_hits(h), 3);
    assert_int_equal(flush_journal(h).hits, 3);
    assert_in_range(touched_memory(), SLOTS / 8, SLOTS / 8 + 4);
    hits_close(h);
    h = open_journal();
    count_hits(h, 0, 2); /* of a slot that is in use: its page has a mark */
    assert_int_equal(flush_journal(h).hits, 2);
    assert_in_range(touched_memory(), 8, 1024);
    hits_close(h);
}

static bool is_in_state_dir(const char *name)
{
    return access(temp_path(hits_conf, name), F_OK) == 0;
}

TEST(old_journals_are_all_kept)
{
    static const char *const names[] = {"hits.old", "hits.old.1", "hits.old.2"};
    for (uint32_t i = 0; i < 3; i++) {
        const uint32_t version = 90 + i;
        struct hits *h = open_journal();
        count_hits(h, i, i + 1);
        hits_close(h);
        set_header(offsetof(struct mapfile_header, version), &version,
                   sizeof(version));
        hits_close(open_journal());
        for (uint32_t n = 0; n < 3; n++)
            assert_int_equal(is_in_state_dir(names[n]), n <= i);
    }
    for (uint32_t i = 0; i < 3; i++) {
        uint32_t version = 0;
        int fd = open(temp_path(hits_conf, names[i]), O_RDONLY | O_CLOEXEC);
        assert_int_equal(pread(fd, &version, sizeof(version),
                               offsetof(struct mapfile_header, version)),
                         sizeof(version));
        assert_int_equal(version, 90 + i);
        close(fd);
    }
}

TEST(of_a_version_without_owners_are_taken_over)
{
    const uint64_t none = 0;
    char node[STORE_NODE_SIZE];
    struct hits *h = open_journal();
    count_hits(h, 0, 3);
    (void)flush_journal(h);
    memcpy(node, fake_table->node, sizeof(node));
    count_hits(h, 0, 4);
    hits_close(h);
    set_header(offsetof(struct mapfile_header, owner), &none, sizeof(none));
    h = open_journal();
    assert_int_equal(pending_hits(h), 4);
    (void)flush_journal(h);
    assert_string_equal(fake_table->node, node);
    assert_int_equal(stored_hits(0), 7);
    hits_close(h);
    assert_int_equal(hits_of_other_stores(hits_conf), 0);
}

/* Another table, region, endpoint or store: their hits wait for them. */
TEST(of_another_store_wait_for_it)
{
    static char table[] = "other", region[] = "eu-west-1",
                endpoint[] = "http://127.0.0.1:8000";
    struct conf *c = hits_conf;
    struct hits *all[5];
    for (unsigned i = 0; i < 5; i++) {
        if (i == 1)
            c->store = CONF_STORE_DYNAMODB;
        c->table = i >= 2 ? table : NULL;
        c->aws_region = i >= 3 ? region : NULL;
        c->aws_endpoint_url = i >= 4 ? endpoint : NULL;
        all[i] = open_journal();
        assert_int_equal(pending_hits(all[i]), 0);
        assert_int_equal(hits_of_other_stores(c), i * (i + 1) / 2);
        count_hits(all[i], i, i + 1);
        hits_close(open_existing(RESULT_OK));
    }
    /* A process that has it open goes on with its own. */
    count_hits(all[0], 0, 1);
    assert_int_equal(flush_journal(all[4]).hits, 5);
    for (unsigned i = 5; i-- > 0;) {
        c->aws_endpoint_url = i >= 4 ? endpoint : NULL;
        c->aws_region = i >= 3 ? region : NULL;
        c->table = i >= 2 ? table : NULL;
        c->store = i >= 1 ? CONF_STORE_DYNAMODB : CONF_STORE_SQLITE;
        hits_close(all[i]);
        struct hits *h = open_journal();
        assert_int_equal(pending_hits(h), i == 0 ? 2 : i == 4 ? 0 : i + 1);
        (void)flush_journal(h);
        assert_int_equal(stored_hits(i), i == 0 ? 2 : i + 1);
        hits_close(h);
    }
    assert_int_equal(hits_of_other_stores(c), 0);
}

TEST(beside_sqlite_stay_when_the_directory_moves)
{
    struct hits *h = open_journal();
    count_hits(h, 0, 3);
    hits_close(h);
    char *dir = hits_conf->state_dir, other[200];
    snprintf(other, sizeof(other), "%s/.", dir);
    hits_conf->state_dir = other;
    h = open_journal();
    assert_int_equal(pending_hits(h), 3);
    hits_close(h);
    hits_conf->state_dir = dir;
}

TEST(are_not_sent_when_the_disk_fails)
{
    const char *reason = NULL;
    struct hits *h = open_journal();
    count_hits(h, 0, 3);
    for (unsigned i = 0; i < 3; i++) {
        disk_fails = true;
        assert_false(hits_begin_flush(h, 0, 1, &reason));
        disk_fails = false;
        assert_string_equal(reason, strerror(EIO));
        assert_int_equal(atomic_load(&fake_table->sendings), 0);
        count_hits(h, 1, 1);
    }
    assert_int_equal(pending_hits(h), 6);
    (void)flush_journal(h);
    (void)flush_journal(h);
    assert_int_equal(stored_hits(0), 3);
    assert_int_equal(stored_hits(1), 3);
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
TEST(that_wait_are_not_written_again)
{
    const char *reason;
    struct hits *h = open_journal();
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
TEST(are_flushed_by_one_process_at_a_time)
{
    const char *reason = "";
    struct hits *first = open_journal(), *second = open_journal();
    count_hits(second, 0, 3);
    assert_true(hits_begin_flush(first, 0, 1, &reason));
    assert_false(hits_begin_flush(second, 0, 1, &reason));
    assert_null(reason);
    assert_true(hits_begin_flush(first, 0, 1, &reason));
    count_hits(second, 1, 1); /* counting needs none of it */
    hits_close(first);
    assert_int_equal(flush_journal(second).hits, 4);
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
TEST(crafted_file_harms_nobody)
{
    static const struct store_ops ops = {.add_hits = take_any};
    struct store store = {.ops = &ops, .conf = hits_conf};
    const size_t begin = sizeof(struct mapfile_header), len = SLOTS * 128;
    unsigned char *junk = malloc(len);
    assert_non_null(junk);
    for (unsigned round = 0; round < 3; round++) {
        hits_close(open_journal());
        uint32_t random = random_below(UINT32_MAX);
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
        (void)hits_count(h, link_ids[0]);
        (void)hits_pending(h, link_ids[1]);
        (void)pending_hits(h);
        assert_true(hits_begin_flush(h, 0, SLOTS / 4096, &reason));
        hits_flush(h, &store, 0, SLOTS / 4096, unlimited(), &out);
        hits_close(h);
    }
    free(junk);
}

TEST(a_stopped_claimer_holds_up_nobody)
{
    struct hits *h = open_journal();
    count_hits(h, 0, 1);
    pid_t holder = process_start_with_lock(temp_path(hits_conf, "hits"));
    process_stop(holder);
    count_hits(h, 0, 1000); /* needs no lock */
    (void)flush_journal(h); /* nor does this */
    assert_int_equal(stored_hits(0), 1001);
    (void)hits_count(h, link_ids[1]);
    process_kill(holder);
    count_hits(h, 1, 1);
    hits_close(h);
}
