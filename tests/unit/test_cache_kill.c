/* The link cache, with writers that are killed: never a wrong target. */
#include "test.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/mapfile.h"
#include "base/mem.h"
#include "base/text.h"
#include "link/ids.h"
#include "processes.h"
#include "service/cache.h"

#define KEYS    40
#define WRITERS 3
#define READERS 3

static struct conf *conf;
static struct {
    _Atomic unsigned gate;
    _Atomic bool stop;
    _Atomic uint64_t reads, found, missing, fills, forgotten;
} * shared;

static int set_up(void **state)
{
    int r = temp_conf_set_up(state);
    conf = *state;
    shared = share_memory(sizeof(*shared));
    return r;
}

EACH_TEST(set_up, temp_conf_tear_down)

static struct cache *open_cache(void)
{
    struct cache *c = cache_open(conf, &(bool){false});
    if (c == NULL)
        _exit(9);
    return c;
}

static void key(unsigned k, char id[20])
{
    snprintf(id, 20, "key%u", k);
}

static uint64_t mix(uint64_t n)
{
    n = (n ^ n >> 33) * 0xff51afd7ed558ccd;
    return n ^ n >> 33;
}

/* What stands in the cache of an id at a serial number: all of it follows from
 * these two, so a reader can tell a torn entry and a wrong one. */
static void compose(const char *id, uint32_t serial, struct cache_entry *e)
{
    uint64_t n = mix(text_hash(id) + serial);
    *e = (struct cache_entry){.exists = n % 5 != 0,
                              .ttl = (int64_t)serial,
                              .read_ms = (int64_t)(n >> 20)};
    if (!e->exists)
        return;
    static const size_t most[] = {120, 120, 900, URL_MAX};
    e->url_len = 60 + (size_t)(n >> 8) % (most[n % 4] - 59);
    int head = snprintf(e->url, sizeof(e->url), "https://example.com/%s/%u/",
                        id, serial);
    for (size_t i = (size_t)head; i < e->url_len; i++)
        e->url[i] = (char)('a' + (n = n * 6364136223846793005 + 1) % 61 % 26);
    e->url[e->url_len] = '\0';
}

static bool is_whole(const char *id, const struct cache_entry *found)
{
    static struct cache_entry e;
    compose(id, (uint32_t)found->ttl, &e);
    return found->exists == e.exists && found->ttl == e.ttl &&
           found->read_ms == e.read_ms && found->url_len == e.url_len &&
           memcmp(found->url, e.url, e.url_len + 1) == 0;
}

static void write_on(void *arg)
{
    struct cache *c = open_cache();
    static struct cache_entry e;
    char id[20];
    (void)arg;
    while (!atomic_load(&shared->stop)) {
        key(random_below(KEYS), id);
        compose(id, random_below(UINT32_MAX), &e);
        if (random_below(20) == 0)
            cache_forget(c, id);
        else
            (void)cache_fill(c, id, &e, cache_generation(c, id));
        atomic_fetch_add(&shared->fills, 1);
    }
}

static void read_on(void *arg)
{
    struct cache *c = open_cache();
    static struct cache_entry e;
    char id[20];
    (void)arg;
    while (!atomic_load(&shared->stop)) {
        key(random_below(KEYS), id);
        atomic_fetch_add(&shared->reads, 1);
        if (!cache_get(c, id, &e))
            continue;
        atomic_fetch_add(&shared->found, 1);
        if (!is_whole(id, &e))
            _exit(1);
    }
}

static void check_writing(void)
{
    struct cache *c = open_cache();
    static struct cache_entry e, found;
    char id[20];
    for (uint32_t serial = 0; serial < 20; serial++) {
        for (unsigned k = 0; k < KEYS; k++) {
            key(k, id);
            compose(id, serial, &e);
            (void)cache_fill(c, id, &e, cache_generation(c, id));
            assert_true(cache_get(c, id, &found));
            assert_int_equal(found.ttl, serial);
            assert_true(is_whole(id, &found));
        }
    }
    cache_close(c);
}

/* The children of a kind, some of which die and are replaced. */
static void kill_some(process_work *work, pid_t *children, unsigned count)
{
    const unsigned victim = random_below(count);
    process_kill(children[victim]);
    children[victim] = process_start(work, NULL);
}

TEST(readers_see_whole_entries_whoever_is_killed)
{
    pid_t writers[WRITERS], readers[READERS];
    conf->cache_size = 1 << 17; /* room for less than there is */
    for (unsigned i = 0; i < WRITERS; i++)
        writers[i] = process_start(write_on, NULL);
    for (unsigned i = 0; i < READERS; i++)
        readers[i] = process_start(read_on, NULL);
    unsigned kills = 0;
    while (kills < 150 || atomic_load(&shared->found) < 10000 ||
           atomic_load(&shared->fills) < 5000) {
        sleep_us(random_below(4000));
        kill_some(write_on, writers, WRITERS);
        if (++kills % 8 == 0)
            kill_some(read_on, readers, READERS);
    }
    atomic_store(&shared->stop, true);
    for (unsigned i = 0; i < READERS; i++)
        process_wait(readers[i]);
    for (unsigned i = 0; i < WRITERS; i++)
        process_wait(writers[i]);
    check_writing();
}

/* ---- One at a time, at each change that it makes --------------------- */

struct step {
    struct cache *cache;
    char id[20];
    struct cache_entry entry;
};

static void fill_one(void *arg)
{
    struct step *s = arg;
    (void)cache_fill(s->cache, s->id, &s->entry,
                     cache_generation(s->cache, s->id));
}

static void forget_one(void *arg)
{
    struct step *s = arg;
    cache_forget(s->cache, s->id);
}

static void *map_file(size_t *len)
{
    int fd = open(temp_path(conf, "cache"), O_RDWR | O_CLOEXEC);
    struct stat st;
    assert_int_equal(fstat(fd, &st), 0);
    *len = (size_t)st.st_size;
    void *base = mmap(NULL, *len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    assert_true(base != MAP_FAILED);
    close(fd);
    return base;
}

/* Whatever stood there before, and whatever was to come: one of both, or
 * nothing. */
static void check_keys(struct step *s, bool killed)
{
    static struct cache_entry found;
    char id[20];
    for (unsigned k = 0; k < 10; k++) {
        key(k, id);
        if (cache_get(s->cache, id, &found))
            assert_true(is_whole(id, &found));
        else if (strcmp(id, s->id) != 0)
            atomic_fetch_add(&shared->missing, 1);
    }
    assert_true(cache_get(s->cache, s->id, &found) || killed);
}

TEST(a_fill_may_be_killed_at_any_instruction)
{
    static struct step s;
    size_t len;
    conf->cache_size = 1; /* one set of each class */
    s.cache = open_cache();
    void *base = map_file(&len);
    bool killed = true;
    unsigned n = 1;
    for (; killed; n++) {
        for (unsigned k = 0; k < 10; k++) {
            key(k, s.id);
            compose(s.id, n + k, &s.entry);
            fill_one(&s);
        }
        key(n % 10, s.id);
        do
            compose(s.id, random_below(UINT32_MAX), &s.entry);
        while (!s.entry.exists || s.entry.url_len > 130);
        killed = process_kill_at_change(fill_one, &s, base, len, n);
        check_keys(&s, killed);
    }
    assert_true(n > 10);
    munmap(base, len);
    cache_close(s.cache);
    check_writing();
}

TEST(a_forget_may_be_killed_at_any_instruction)
{
    static struct step s;
    static struct cache_entry found;
    size_t len;
    conf->cache_size = 1;
    s.cache = open_cache();
    void *base = map_file(&len);
    bool killed = true;
    for (unsigned n = 1; killed; n++) {
        key(n, s.id);
        compose(s.id, n, &s.entry);
        fill_one(&s);
        const uint32_t before = cache_generation(s.cache, s.id);
        killed = process_kill_at_change(forget_one, &s, base, len, n);
        /* Begun is not done; but nothing else may come of it, and an answer
         * from before it is not kept in any case. */
        if (cache_get(s.cache, s.id, &found))
            assert_true(killed && is_whole(s.id, &found));
        cache_forget(s.cache, s.id);
        assert_false(cache_get(s.cache, s.id, &found));
        (void)cache_fill(s.cache, s.id, &s.entry, before);
        assert_false(cache_get(s.cache, s.id, &found));
    }
    munmap(base, len);
    cache_close(s.cache);
}

/* A process that is stopped holds its lock for as long as it likes. */
TEST(a_stopped_writer_keeps_nothing_alive)
{
    static struct cache_entry e, found;
    struct cache *c = open_cache();
    compose("a", 1, &e);
    (void)cache_fill(c, "a", &e, cache_generation(c, "a"));
    compose("b", 1, &e);
    (void)cache_fill(c, "b", &e, cache_generation(c, "b"));
    const uint32_t before = cache_generation(c, "b");
    pid_t holder = process_start_with_lock(temp_path(conf, "cache"));
    process_stop(holder);
    assert_true(cache_get(c, "a", &found)); /* readers go on */
    (void)cache_fill(c, "a", &e, cache_generation(c, "a"));
    cache_forget(c, "b");
    assert_false(cache_get(c, "b", &found));
    process_kill(holder);
    (void)cache_fill(c, "b", &e, before);
    assert_false(cache_get(c, "b", &found));
    assert_true(cache_get(c, "a", &found) && is_whole("a", &found));
    cache_close(c);
}

/* ---- Files that are not what they seem ------------------------------- */

TEST(garbage_behind_a_right_header_is_not_an_entry)
{
    static struct cache_entry found;
    char id[20];
    size_t len;
    conf->cache_size = 1 << 17;
    struct cache *c = open_cache();
    uint32_t *words = map_file(&len);
    for (unsigned round = 0; round < 5; round++) {
        for (size_t i = sizeof(struct mapfile_header) / 4; i < len / 4; i++)
            words[i] = round == 0 ? UINT32_MAX : random_below(UINT32_MAX);
        for (unsigned k = 0; k < 1000; k++) {
            key(k, id);
            assert_false(cache_get(c, id, &found));
        }
    }
    munmap(words, len);
    cache_close(c);
    check_writing();
}

/* Bits that a broken disk or a stranger turned: never past the entry's end. */
TEST(a_length_that_cannot_be_is_not_believed)
{
    struct cache_entry *e = mem_zalloc(sizeof(*e));
    size_t len, turned = 0;
    struct cache *c = open_cache();
    *e = (struct cache_entry){.exists = true, .url_len = URL_MAX};
    memset(e->url, 'u', URL_MAX);
    (void)cache_fill(c, "id", e, cache_generation(c, "id"));
    uint32_t *words = map_file(&len);
    for (size_t i = sizeof(struct mapfile_header) / 4; i < len / 4; i++) {
        if (words[i] != URL_MAX)
            continue;
        turned++;
        for (uint32_t wrong = URL_MAX; wrong < URL_MAX + 200; wrong++) {
            words[i] = wrong;
            if (cache_get(c, "id", e))
                assert_int_equal(e->url_len, URL_MAX);
        }
        words[i] = UINT32_MAX;
        assert_false(cache_get(c, "id", e));
    }
    assert_int_equal(turned, 1);
    munmap(words, len);
    free(e);
    cache_close(c);
}

TEST(a_file_that_was_cut_is_made_anew)
{
    static struct cache_entry e, found;
    static const off_t sizes[] = {0, 1, 32, 4096, 100000};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct cache *c = open_cache();
        compose("id", 1, &e);
        (void)cache_fill(c, "id", &e, cache_generation(c, "id"));
        assert_true(cache_get(c, "id", &found));
        cache_close(c);
        assert_int_equal(truncate(temp_path(conf, "cache"), sizes[i]), 0);
        assert_null(cache_open_existing(conf));
        c = open_cache();
        assert_false(cache_get(c, "id", &found));
        cache_close(c);
        check_writing();
    }
}
