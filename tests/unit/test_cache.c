/* The link cache: what is found in it, what is forgotten, and what stays. */
#include "test.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/mapfile.h"
#include "base/mem.h"
#include "base/text.h"
#include "link/ids.h"
#include "processes.h"
#include "service/cache.h"

static struct conf *conf;

static int set_up(void **state)
{
    int r = temp_conf_set_up(state);
    conf = *state;
    return r;
}

EACH_TEST(set_up, temp_conf_tear_down)

static struct cache *open_cache(void)
{
    struct cache *c = cache_open(conf, &(bool){false});
    assert_non_null(c);
    return c;
}

/* An entry whose URL has len bytes, and says so from its first one on. */
static struct cache_entry make_entry(size_t len, char filler)
{
    struct cache_entry e = {.exists = true,
                            .ttl = 1000 + (int64_t)len,
                            .read_ms = 5,
                            .url_len = len};
    char text[40];
    snprintf(text, sizeof(text), "https://%zu/%c/", len, filler);
    memset(e.url, filler, len);
    memcpy(e.url, text, len < strlen(text) ? len : strlen(text));
    e.url[len] = '\0';
    return e;
}

static void fill(struct cache *c, const char *id, const struct cache_entry *e)
{
    (void)cache_fill(c, id, e, cache_generation(c, id));
}

static void assert_there(struct cache *c, const char *id,
                         const struct cache_entry *e)
{
    struct cache_entry found;
    memset(&found, 'x', sizeof(found));
    assert_true(cache_get(c, id, &found));
    assert_int_equal(found.exists, e->exists);
    assert_int_equal(found.ttl, e->ttl);
    assert_int_equal(found.read_ms, e->read_ms);
    assert_int_equal(found.url_len, e->url_len);
    assert_string_equal(found.url, e->url);
}

static bool is_there(struct cache *c, const char *id)
{
    struct cache_entry found;
    return cache_get(c, id, &found);
}

TEST(urls_of_every_length_come_back)
{
    struct cache *c = open_cache(), *other = open_cache();
    for (size_t len = 0; len <= URL_MAX; len += len < 1100 ? 1 : 53) {
        const struct cache_entry e = make_entry(len, 'a');
        fill(c, "one", &e);
        assert_there(c, "one", &e);
        assert_there(other, "one", &e);
        assert_false(is_there(c, "two"));
    }
    const struct cache_entry longest = make_entry(URL_MAX, 'b');
    fill(c, "one", &longest);
    assert_there(other, "one", &longest);
    cache_close(c);
    assert_there(other, "one", &longest);
    cache_close(other);
    c = open_cache();
    assert_there(c, "one", &longest);
    cache_close(c);
}

TEST(ids_of_every_length_are_told_apart)
{
    struct cache *c = open_cache();
    char id[IDS_MAX + 1] = "";
    for (size_t len = 1; len <= IDS_MAX; len++) {
        memset(id, 'q', len);
        id[len] = '\0';
        const struct cache_entry e = make_entry(40 + len, 'q');
        fill(c, id, &e);
    }
    for (size_t len = 1; len <= IDS_MAX; len++) {
        memset(id, 'q', len);
        id[len] = '\0';
        const struct cache_entry e = make_entry(40 + len, 'q');
        assert_there(c, id, &e);
        id[len - 1] = 'p';
        assert_false(is_there(c, id));
    }
    cache_close(c);
}

struct alike {
    uint64_t hash;
    uint32_t number;
};

static int by_tag(const void *a, const void *b)
{
    const uint64_t x = ((const struct alike *)a)->hash >> 33,
                   y = ((const struct alike *)b)->hash >> 33;
    return x < y ? -1 : x > y;
}

/* All that is compared before the id itself is the same for them. */
TEST(ids_that_hash_alike_are_told_apart)
{
    enum { MANY = 3000000 };
    struct alike *all = mem_alloc(MANY * sizeof(*all));
    char one[20], two[20];
    unsigned pairs = 0, met = 0;
    for (uint32_t i = 0; i < MANY; i++) {
        snprintf(one, sizeof(one), "like%u", i);
        all[i] = (struct alike){text_hash(one), i};
    }
    qsort(all, MANY, sizeof(*all), by_tag);
    conf->cache_size = 1; /* few sets */
    struct cache *c = open_cache();
    for (uint32_t i = 0; i + 1 < MANY; i++) {
        if (by_tag(&all[i], &all[i + 1]) != 0)
            continue;
        pairs++;
        snprintf(one, sizeof(one), "like%u", all[i].number);
        snprintf(two, sizeof(two), "like%u", all[i + 1].number);
        const struct cache_entry e = make_entry(60, '1'),
                                 f = make_entry(60, '2');
        fill(c, one, &e);
        assert_false(is_there(c, two));
        fill(c, two, &f);
        assert_there(c, two, &f);
        met += is_there(c, one);
    }
    assert_true(pairs > 1000 && met > 0);
    cache_close(c);
    free(all);
}

TEST(a_missing_link_is_remembered_as_missing)
{
    struct cache *c = open_cache();
    const struct cache_entry none = {.exists = false, .read_ms = 77};
    const struct cache_entry some = make_entry(50, 's');
    const uint32_t before = cache_generation(c, "id");
    fill(c, "id", &none);
    assert_there(c, "id", &none);
    /* It comes into being: */
    cache_forget_missing(c, "id");
    assert_false(is_there(c, "id"));
    (void)cache_fill(c, "id", &none, before);
    assert_false(is_there(c, "id"));
    fill(c, "id", &some);
    cache_forget_missing(c, "id"); /* as is said of another id, too */
    assert_there(c, "id", &some);
    fill(c, "id", &none);
    assert_there(c, "id", &none);
    cache_close(c);
}

TEST(only_the_last_entry_of_an_id_is_left)
{
    struct cache *c = open_cache();
    static const size_t lengths[] = {10, 8000, 500, 10, 500, 8000, 151, 152};
    for (size_t i = 0; i < COUNT(lengths); i++) {
        const struct cache_entry e = make_entry(lengths[i], 'l');
        fill(c, "id", &e);
        assert_there(c, "id", &e);
    }
    cache_forget(c, "id");
    assert_false(is_there(c, "id"));
    cache_close(c);
}

TEST(what_is_forgotten_is_gone_for_all)
{
    struct cache *c = open_cache(), *tool = cache_open_existing(conf);
    assert_non_null(tool);
    const struct cache_entry e = make_entry(60, 'f');
    fill(c, "one", &e);
    fill(c, "two", &e);
    cache_forget(tool, "one");
    assert_false(is_there(c, "one"));
    assert_there(c, "two", &e);
    cache_forget(tool, "one"); /* not there: nothing */
    cache_forget(tool, "unheard");
    fill(c, "one", &e);
    assert_there(tool, "one", &e);
    cache_close(c);
    cache_close(tool);
}

TEST(an_answer_from_before_a_change_is_not_kept)
{
    struct cache *c = open_cache(), *tool = open_cache();
    const struct cache_entry old = make_entry(60, 'o');
    const struct cache_entry new = make_entry(60, 'n');
    const uint32_t before = cache_generation(c, "id");
    cache_forget(tool, "id");
    (void)cache_fill(c, "id", &old, before);
    assert_false(is_there(c, "id"));
    fill(c, "id", &new);
    (void)cache_fill(c, "id", &old, before);
    assert_there(c, "id", &new);
    cache_close(c);
    cache_close(tool);
}

TEST(no_cache_knows_nothing)
{
    const struct cache_entry e = make_entry(60, 'z');
    assert_null(cache_open_existing(conf));
    conf->cache_ttl = 0;
    assert_null(cache_open(conf, &(bool){false}));
    conf->cache_ttl = 60;
    conf->cache_size = 0;
    assert_null(cache_open(conf, &(bool){false}));
    assert_int_equal(access(temp_path(conf, "cache"), F_OK), -1);
    fill(NULL, "id", &e);
    assert_false(is_there(NULL, "id"));
    cache_forget(NULL, "id");
    for (int i = 0; i < 2; i++)
        assert_int_equal(cache_begin_flight(NULL, "id", 1, 1000),
                         CACHE_FLIGHT_MINE);
    cache_end_flight(NULL, "id", 1, true);
    cache_close(NULL);
}

TEST(the_smallest_cache_works)
{
    char id[20];
    conf->cache_size = 1;
    struct cache *c = open_cache();
    for (int i = 0; i < 100; i++) {
        const struct cache_entry e = make_entry((size_t)i % 3 * 600, 'm');
        snprintf(id, sizeof(id), "id%d", i);
        fill(c, id, &e);
        assert_there(c, id, &e);
    }
    cache_close(c);
}

TEST(its_memory_is_bounded)
{
    struct stat st;
    for (uint64_t size = 1 << 20; size <= 1 << 24; size *= 4) {
        conf->cache_size = size;
        cache_close(open_cache());
        assert_int_equal(stat(temp_path(conf, "cache"), &st), 0);
        assert_in_range(st.st_size, size / 2, size + 200000);
    }
}

/* The tool has the configuration as it is now, and the pool as it was. */
TEST(the_tool_finds_a_cache_of_another_size)
{
    struct cache *c = open_cache();
    const struct cache_entry e = make_entry(60, 't');
    fill(c, "id", &e);
    conf->cache_size *= 2;
    struct cache *tool = cache_open_existing(conf);
    cache_forget(tool, "id");
    assert_false(is_there(c, "id"));
    cache_close(tool);
    cache_close(c);
}

/* One pool before and after a change of its store, or two that share a
 * directory: the later one has it, and the other one finds nothing more. */
TEST(a_cache_of_another_store_is_not_believed)
{
    const struct cache_entry e = make_entry(60, 'i');
    static char tables[][8] = {"first", "second"};
    conf->store = CONF_STORE_DYNAMODB;
    conf->table = tables[0];
    struct cache *first = open_cache();
    fill(first, "id", &e);
    assert_false(cache_is_replaced(first));
    conf->table = tables[1];
    struct cache *second = open_cache();
    assert_false(is_there(second, "id"));
    assert_true(cache_is_replaced(first));
    assert_false(is_there(first, "id"));
    fill(second, "id", &e);
    assert_there(second, "id", &e);
    assert_false(cache_is_replaced(second));
    assert_false(cache_is_replaced(NULL));
    cache_close(second);
    cache_close(first);
}

/* The pool has its region from the environment, the tool from a profile. */
TEST(of_the_pool_is_the_tools_whatever_its_region)
{
    const struct cache_entry e = make_entry(60, 'i');
    static char region[] = "eu-west-1";
    conf->store = CONF_STORE_DYNAMODB;
    for (int pools = 0; pools <= 1; pools++) {
        conf->aws_region = pools ? region : NULL;
        struct cache *pool = open_cache();
        fill(pool, "id", &e);
        conf->aws_region = pools ? NULL : region;
        struct cache *tool = cache_open_existing(conf);
        assert_non_null(tool);
        assert_there(tool, "id", &e);
        cache_forget(tool, "id");
        assert_false(is_there(pool, "id"));
        cache_close(tool);
        cache_close(pool);
    }
    conf->aws_region = NULL;
}

/* Sizes that a header of a file of another user may name. */
TEST(crafted_file_harms_nobody)
{
    struct mapfile_header header;
    const char *path = temp_path(conf, "cache");
    cache_close(open_cache());
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(pread(fd, &header, sizeof(header), 0), sizeof(header));
    static const uint64_t sizes[] = {
        0, 1, 48, 4096, 40960, 100000, 1 << 19, INT64_MAX, UINT64_MAX};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        header.size = sizes[i];
        assert_int_equal(pwrite(fd, &header, sizeof(header), 0),
                         sizeof(header));
        if (sizes[i] <= 1 << 20)
            assert_int_equal(ftruncate(fd, (off_t)sizes[i]), 0);
        assert_null(cache_open_existing(conf));
    }
    close(fd);
}

TEST(size_that_is_not_set_is_agreed_on)
{
    struct stat st;
    conf->cache_size_chosen = true;
    conf->cache_size = 1 << 20;
    struct cache *c = open_cache();
    const struct cache_entry e = make_entry(60, 'a');
    fill(c, "id", &e);
    assert_int_equal(stat(temp_path(conf, "cache"), &st), 0);
    assert_in_range(st.st_size, 1 << 20, (1 << 20) + 200000);
    /* With more room, or less, a file that exists is kept. */
    conf->cache_size = 1 << 24;
    struct cache *other = open_cache();
    assert_there(other, "id", &e);
    cache_close(other);
    /* But not when it is set, to the same number too, or not any more. */
    for (int chosen = 0; chosen <= 1; chosen++) {
        conf->cache_size = chosen ? 1 << 22 : 1 << 20;
        conf->cache_size_chosen = chosen;
        other = open_cache();
        assert_true(cache_is_replaced(c));
        cache_close(c);
        c = other;
        assert_int_equal(stat(temp_path(conf, "cache"), &st), 0);
        assert_in_range(st.st_size, conf->cache_size,
                        conf->cache_size + 200000);
    }
    cache_close(c);
}

/* How many of n lookups of hot ids hit, while `cold` new ids come and go
 * between two of them. What misses is put in, as a redirect does it. */
static unsigned scan(struct cache *c, const char *hot, unsigned hot_count,
                     unsigned n, unsigned cold)
{
    static unsigned next_cold;
    struct cache_entry e = make_entry(60, 'h');
    unsigned found = 0;
    char id[20];
    for (unsigned i = 0; i < n; i++) {
        snprintf(id, sizeof(id), "%s%u", hot, random_below(hot_count));
        if (is_there(c, id))
            found++;
        else
            fill(c, id, &e);
        for (unsigned j = 0; j < cold; j++) {
            snprintf(id, sizeof(id), "cold%u", next_cold++);
            e.read_ms = next_cold;
            if (!is_there(c, id))
                fill(c, id, &e);
        }
    }
    return found;
}

TEST(hot_links_stay_while_cold_ones_pass)
{
    struct cache *c = open_cache(); /* 1 MiB: 2,560 short entries */
    (void)scan(c, "hot", 600, 4000, 4);
    /* Between two reads of one of them come 4,800 others. */
    assert_in_range(scan(c, "hot", 600, 6000, 8), 6000 * 90 / 100, 6000);
    assert_in_range(scan(c, "hot", 600, 6000, 8), 6000 * 98 / 100, 6000);
    /* And what is hot may change. */
    (void)scan(c, "new", 600, 6000, 4);
    assert_in_range(scan(c, "new", 600, 6000, 4), 6000 * 90 / 100, 6000);
    cache_close(c);
}
