/* The hit journal is exact, whoever is killed and whatever the store says. */
#include "test.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/text.h"
#include "hits_fixture.h"

EACH_TEST(hits_set_up, hits_tear_down)

#define ROUNDS 20000

/* Counts hits of a few links at a time, so that others become idle and lose
 * their slots, and keeps its own books behind each. */
static void count_on(void *arg)
{
    struct counter *mine = arg;
    struct hits *h = hits_open(hits_conf, &(bool){false});
    if (h == NULL)
        _exit(1);
    while (!atomic_load(&fake_table->stop)) {
        unsigned first = (unsigned)(clock_monotonic_ms() / 16 * 7);
        unsigned link = (first + random_below(12)) % LINKS;
        if (hits_count(h, link_ids[link]))
            atomic_fetch_add(&mine->counted[link], 1);
        else
            atomic_fetch_add(&mine->refused, 1);
    }
}

static void flush_on(void *arg)
{
    (void)arg;
    struct hits *h = hits_open(hits_conf, &(bool){false});
    struct hits_flushed out;
    const char *reason;
    if (h == NULL)
        _exit(1);
    for (unsigned part = 0;; part = (part + 1) % (SLOTS / 1024)) {
        /* The links are in the first part, and here and there is a look at
         * another one. */
        const unsigned look = part % 16 != 0 ? 0 : part;
        if (!hits_begin_flush(h, look, SLOTS / 1024, &reason))
            _exit(2);
        hits_flush(h, &hits_store, look, SLOTS / 1024, unlimited(), &out);
        atomic_fetch_add(&fake_table->rounds, 1);
    }
}

/* What all of them have counted of a link. */
static uint64_t count_of(unsigned link)
{
    uint64_t counted = 0;
    for (unsigned i = 0; i < COUNTERS; i++)
        counted += atomic_load(&fake_table->counters[i].counted[link]);
    return counted;
}

static uint64_t count_all(void)
{
    uint64_t all = 0;
    for (unsigned link = 0; link < LINKS; link++)
        all += count_of(link);
    return all;
}

static void check_books(unsigned kills)
{
    uint64_t lost = 0, found = 0;
    for (unsigned link = 0; link < LINKS; link++) {
        const uint64_t counted = count_of(link);
        if (stored_hits(link) < counted)
            lost += counted - stored_hits(link);
        else
            found += stored_hits(link) - counted;
    }
    assert_int_equal(lost, 0);
    /* Counted, and killed before it could say so. */
    assert_in_range(found, 0, kills);
}

TEST(every_hit_arrives_once_whoever_is_killed)
{
    hits_close(open_journal());
    pid_t counters[COUNTERS], janitor = process_start(flush_on, NULL);
    unsigned kills = 0;
    atomic_store(&fake_table->trouble, 30);
    for (unsigned i = 0; i < COUNTERS; i++)
        counters[i] = process_start(count_on, &fake_table->counters[i]);
    while (kills < 40 || atomic_load(&fake_table->faults) < 40 ||
           atomic_load(&fake_table->rounds) < 200 || count_all() <= 10000) {
        sleep_us(random_below(8000));
        process_kill(janitor);
        janitor = process_start(flush_on, NULL);
        if (random_below(2) == 0)
            continue;
        const unsigned i = random_below(COUNTERS);
        process_kill(counters[i]);
        counters[i] = process_start(count_on, &fake_table->counters[i]);
        kills++;
    }
    atomic_store(&fake_table->stop, true);
    for (unsigned i = 0; i < COUNTERS; i++)
        process_wait(counters[i]);
    process_kill(janitor);
    atomic_store(&fake_table->trouble, 0);
    struct hits *h = open_journal();
    for (int i = 0; i < 3; i++)
        (void)flush_journal(h);
    assert_int_equal(pending_hits(h), 0);
    check_books(kills);
    hits_close(h);
}

/* The journal refuses a hit while another process holds the lock for longer
 * than a count waits, which happens on a busy machine. */
static void count_hit(struct hits *h, const char *id)
{
    for (unsigned tries = 0; !hits_count(h, id); tries++)
        if (tries == 100)
            _exit(2);
}

static void open_and_count(void *arg)
{
    (void)arg;
    process_barrier(&fake_table->gate,
                    4 * (atomic_load(&fake_table->rounds) + 1));
    struct hits *h = hits_open(hits_conf, &(bool){false});
    if (h == NULL)
        _exit(1);
    count_hit(h, link_ids[0]);
}

/* What is replaced is what was there before, and not what another process has
 * just made, with hits in it. */
TEST(a_foreign_journal_is_replaced_once)
{
    for (unsigned round = 0; round < 25; round++) {
        pid_t children[4];
        int fd = open(temp_path(hits_conf, "hits"),
                      O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        assert_int_equal(write(fd, "foreign", 7), 7);
        close(fd);
        atomic_store(&fake_table->rounds, round);
        for (unsigned i = 0; i < 4; i++)
            children[i] = process_start(open_and_count, NULL);
        for (unsigned i = 0; i < 4; i++)
            process_wait(children[i]);
        struct hits *h = open_journal();
        assert_int_equal(pending_hits(h), 4);
        hits_close(h);
    }
}

static void round_id(unsigned round, char id[20])
{
    snprintf(id, 20, "round%u", round);
}

static void count_new_links(void *arg)
{
    struct hits *h = hits_open(hits_conf, &(bool){false});
    char id[20];
    (void)arg;
    if (h == NULL)
        _exit(1);
    for (unsigned round = 0; round < ROUNDS; round++) {
        round_id(round, id);
        process_barrier(&fake_table->gate, (round + 1) * 2);
        count_hit(h, id);
        count_hit(h, id);
    }
}

/* Two who are the first to follow a link, at once. */
TEST(a_new_link_gets_one_slot)
{
    char id[20];
    uint64_t hits, links;
    pid_t first = process_start(count_new_links, NULL);
    pid_t second = process_start(count_new_links, NULL);
    process_wait(first);
    process_wait(second);
    struct hits *h = open_journal();
    for (unsigned round = 0; round < ROUNDS; round++) {
        round_id(round, id);
        assert_int_equal(hits_pending(h, id), 4);
    }
    hits_pending_all(h, &hits, &links);
    assert_int_equal(hits, 4 * ROUNDS);
    assert_int_equal(links, ROUNDS);
    hits_close(h);
}

/* One slot's part of a flush, so that a step by step run is short. */
static void flush_one(void *arg)
{
    struct hits_flushed out;
    const char *reason;
    const unsigned slot = (unsigned)(text_hash(link_ids[0]) % SLOTS);
    assert_true(hits_begin_flush(arg, slot, SLOTS, &reason));
    hits_flush(arg, &hits_store, slot, SLOTS, unlimited(), &out);
}

static void count_one(void *arg)
{
    if (!hits_count(arg, link_ids[0]))
        _exit(1);
}

/* Where the file has the id, and a slot's worth of bytes around it. */
static const void *find_slot(size_t *len)
{
    int fd = open(temp_path(hits_conf, "hits"), O_RDONLY | O_CLOEXEC);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    char *base = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_SHARED, fd, 0);
    assert_true(base != MAP_FAILED);
    close(fd);
    const char *at =
        memmem(base, (size_t)st.st_size, link_ids[0], strlen(link_ids[0]) + 1);
    assert_non_null(at);
    *len = 128;
    return at - 16;
}

/* Killed behind each instruction that changes the slot: a flush, with every
 * answer the store can give. */
TEST(a_flush_may_be_killed_at_any_instruction)
{
    static const int answers[] = {APPLY, UNKNOWN_APPLIED, UNKNOWN_NOT_APPLIED,
                                  RESULT_UNAVAILABLE};
    struct hits *h = open_journal();
    size_t len;
    uint64_t expected = 1;
    count_hits(h, 0, 1);
    const void *slot = find_slot(&len);
    for (unsigned i = 0; i < COUNT(answers); i++) {
        bool killed = true;
        unsigned n = 1;
        for (; killed; n++) {
            atomic_store(&fake_table->next, answers[i]);
            killed = process_kill_at_change(flush_one, h, slot, len, n);
            atomic_store(&fake_table->next, 0);
            assert_true(stored_hits(0) + pending_hits(h) >= expected);
            assert_true(stored_hits(0) <= expected);
            flush_one(h);
            assert_int_equal(stored_hits(0), expected);
            assert_int_equal(pending_hits(h), 0);
            count_hits(h, 0, 2);
            expected += 2;
        }
        assert_true(n > 2);
    }
    hits_close(h);
}

/* The same for a hit of a link that has no slot yet, and of one that has. */
TEST(a_count_may_be_killed_at_any_instruction)
{
    struct hits *h = open_journal();
    size_t len;
    count_hits(h, 0, 1);
    const void *slot = find_slot(&len);
    for (int recycled = 0; recycled <= 1; recycled++) {
        bool killed = true;
        unsigned n = 1;
        for (; killed; n++) {
            flush_one(h);
            if (recycled)
                flush_one(h);
            const uint64_t before = stored_hits(0);
            killed = process_kill_at_change(count_one, h, slot, len, n);
            const uint64_t counted = pending_hits(h);
            assert_in_range(counted, killed ? 0 : 1, 1);
            count_hits(h, 0, 1);
            flush_one(h);
            assert_int_equal(stored_hits(0), before + counted + 1);
            assert_int_equal(pending_hits(h), 0);
        }
        assert_true(n > (recycled ? 3 : 2));
    }
    hits_close(h);
}

/* What happens behind the back of a process that counts: its link's slot is
 * given away, and another link of the same window takes it. */
static void give_slot_away(void *arg)
{
    flush_one(arg);
    flush_one(arg);
    assert_true(hits_count(arg, link_ids[1]));
}

static void choose_twins(void)
{
    for (unsigned long i = 0, found = 0; found < 2; i++) {
        char id[IDS_MAX + 1];
        snprintf(id, sizeof(id), "twin%lu", i);
        if (text_hash(id) % SLOTS == 77)
            memcpy(link_ids[found++], id, sizeof(id));
    }
}

/* Interrupted behind any instruction, it counts for the right link. */
TEST(a_slot_may_change_hands_at_any_instruction)
{
    struct hits *h = open_journal();
    struct hits_flushed out;
    const char *reason;
    uint64_t expected = 0;
    choose_twins();
    for (unsigned steps = 40;; steps += 7) {
        count_hits(h, 0, 1);
        flush_one(h);
        const bool interrupted =
            process_interrupt(count_one, h, steps, give_slot_away, h);
        expected++;
        for (int i = 0; i < 3; i++) {
            assert_true(hits_begin_flush(h, 0, SLOTS / 128, &reason));
            hits_flush(h, &hits_store, 0, SLOTS / 128, unlimited(), &out);
        }
        assert_int_equal(stored_hits(0), 2 * expected);
        if (!interrupted)
            break;
        assert_int_equal(stored_hits(1), expected);
    }
    assert_true(expected > 20);
    assert_int_equal(pending_hits(h), 0);
    hits_close(h);
    choose_link_ids();
}
