/*
 * The contract of store.h: the same cases on whichever store the environment
 * configures (STORE, STATE_DIR, TABLE, AWS_..., as curt itself reads them).
 * The ids are new in each run, so that one table serves many runs.
 */
#include "store_contract.h"

#include <json-c/json.h>
#include <sys/random.h>

#include "base/clock.h"
#include "base/mem.h"
#include "test.h"

/* ---- Helpers --------------------------------------------------------- */

char *suite_new_id(struct suite *s)
{
    return mem_printf("%s%u", s->prefix, s->ids++);
}

struct link suite_new_link(char *short_id, const char *long_url)
{
    struct link l;
    link_init(&l);
    l.short_id = short_id;
    l.long_url = mem_dup(long_url);
    l.short_url = mem_printf("https://sho.rt/t/%s", short_id);
    l.created_at = mem_dup("2018-11-29T00:05:02");
    l.ttl = clock_now() + 3600;
    l.analytics = mem_dup("{\"user_agent\":\"curl/7.88.1\",\"source_ip\":"
                          "\"192.0.2.7\",\"xray_trace_id\":\"Root=1-0\"}");
    return l;
}

void suite_set(char **string, const char *value)
{
    free(*string);
    *string = mem_dup(value);
}

/* Makes s->link another link, with an id of its own. */
static void renew(struct suite *s)
{
    link_free(&s->link);
    s->link = suite_new_link(suite_new_id(s), "https://example.com/?a=b#c");
}

void suite_assert_result(struct suite *s, enum result got, enum result wanted)
{
    if (got != wanted)
        fail_msg("%s instead of %s: %s", result_text(got), result_text(wanted),
                 store_error(s->store));
}

static void assert_same_json(const char *a, const char *b)
{
    assert_non_null(a);
    assert_non_null(b);
    json_object *x = json_tokener_parse(a);
    json_object *y = json_tokener_parse(b);
    if (!json_object_equal(x, y))
        fail_msg("%s is not %s", a, b);
    json_object_put(x);
    json_object_put(y);
}

static void assert_same_link(const struct link *a, const struct link *b)
{
    assert_string_equal(a->short_id, b->short_id);
    assert_string_equal(a->long_url, b->long_url);
    assert_string_equal(a->short_url, b->short_url);
    assert_string_equal(a->created_at, b->created_at);
    assert_true(a->ttl == b->ttl);
    assert_true(a->hits == b->hits);
    assert_same_json(a->analytics, b->analytics);
    for (size_t i = 0; i < LINK_FIELDS; i++) {
        if (link_fields[i].type == LINK_NUMBER)
            assert_true(*link_number_at(a, i) == *link_number_at(b, i));
        else if (link_fields[i].type == LINK_FLAG)
            assert_true(*link_flag_at(a, i) == *link_flag_at(b, i));
        else if (*link_text_at(b, i) == NULL)
            assert_null(*link_text_at(a, i));
        else if (link_fields[i].type == LINK_TAGS)
            assert_same_json(*link_text_at(a, i), *link_text_at(b, i));
        else
            assert_string_equal(*link_text_at(a, i), *link_text_at(b, i));
    }
}

void suite_create(struct suite *s)
{
    suite_assert_result(s, store_create(s->store, &s->link, 0), RESULT_OK);
    assert_string_equal(store_error(s->store), "");
}

enum result suite_get(struct suite *s, enum store_view view)
{
    link_free(&s->back);
    return store_get(s->store, s->link.short_id, view, 0, &s->back);
}

void suite_assert_stored(struct suite *s)
{
    suite_assert_result(s, suite_get(s, STORE_WHOLE), RESULT_OK);
    assert_same_link(&s->back, &s->link);
}

/* Asserts that nothing is stored under s->link's id. */
static void assert_missing(struct suite *s)
{
    const enum store_view views[] = {STORE_TARGET, STORE_WHOLE};
    for (size_t i = 0; i < 2; i++) {
        suite_assert_result(s, suite_get(s, views[i]), RESULT_NOT_FOUND);
        assert_null(s->back.short_id);
        assert_null(s->back.long_url);
        assert_null(s->back.short_url);
        assert_null(s->back.created_at);
        assert_null(s->back.analytics);
    }
}

/* ---- One process ----------------------------------------------------- */

static void keeps_every_attribute(void **state)
{
    struct suite *s = *state;
    s->link.hits = 41;
    suite_create(s);
    suite_assert_stored(s);
}

/* A value for each field that a link can have. */
static void fill_fields(struct link *l)
{
    l->rules = (struct link_rules){.not_before = 1700000000,
                                   .max_hits = 5000000000,
                                   .redirect_status = 308,
                                   .forward_query = true,
                                   .disabled = true,
                                   .warning = true};
    suite_set(&l->reason, "abuse \xf0\x9f\x94\x97");
    suite_set(&l->title, "A 'title'");
    suite_set(&l->tags, "[\"a\",\"\xc3\xa4\"]");
}

static void keeps_every_field(void **state)
{
    struct suite *s = *state;
    fill_fields(&s->link);
    suite_set(&s->link.key, "alice");
    suite_create(s);
    suite_assert_stored(s);
    suite_assert_result(s, suite_get(s, STORE_TARGET), RESULT_OK);
    assert_memory_equal(&s->back.rules.not_before, &s->link.rules.not_before,
                        3 * sizeof(uint64_t));
    assert_true(s->back.rules.forward_query && s->back.rules.disabled &&
                s->back.rules.warning);
    assert_string_equal(s->back.reason, s->link.reason);
}

static void updates_only_the_version_that_was_read(void **state)
{
    struct suite *s = *state;
    s->link.hits = 7;
    suite_set(&s->link.key, "alice");
    suite_assert_result(s, store_update(s->store, &s->link, 0),
                        RESULT_NOT_FOUND);
    suite_create(s);
    fill_fields(&s->link);
    s->link.ttl = LINK_NEVER;
    suite_set(&s->link.long_url, "https://example.com/second");
    suite_assert_result(s, store_update(s->store, &s->link, 0), RESULT_OK);
    suite_assert_result(s, store_update(s->store, &s->link, 0),
                        RESULT_CONFLICT);
    s->link.version = 1;
    suite_assert_stored(s);
    /* And everything that can be absent is absent again. */
    s->link.rules = (struct link_rules){0};
    suite_set(&s->link.reason, NULL);
    suite_set(&s->link.title, NULL);
    suite_set(&s->link.tags, NULL);
    s->link.ttl = clock_now() + 60;
    suite_assert_result(s, store_update(s->store, &s->link, 0), RESULT_OK);
    s->link.version = 2;
    suite_assert_stored(s);
    suite_assert_result(s, store_delete(s->store, s->link.short_id, 0),
                        RESULT_OK);
    suite_assert_result(s, store_update(s->store, &s->link, 0),
                        RESULT_NOT_FOUND);
    assert_missing(s);
}

static void spends_no_more_hits_than_there_are(void **state)
{
    struct suite *s = *state;
    const char *id = s->link.short_id;
    suite_assert_result(s, store_spend_hit(s->store, id, 0), RESULT_CONFLICT);
    s->link.rules.max_hits = 3;
    s->link.hits = 1;
    suite_create(s);
    suite_assert_result(s, store_spend_hit(s->store, id, 0), RESULT_OK);
    suite_assert_result(s, store_spend_hit(s->store, id, 0), RESULT_OK);
    suite_assert_result(s, store_spend_hit(s->store, id, 0), RESULT_CONFLICT);
    s->link.hits = 3;
    suite_assert_stored(s);
    suite_assert_result(s, store_delete(s->store, id, 0), RESULT_OK);
    suite_assert_result(s, store_spend_hit(s->store, id, 0), RESULT_CONFLICT);
    assert_missing(s);
}

static void creates_many_at_once(void **state)
{
    struct suite *s = *state;
    struct link links[5];
    enum result results[5];
    suite_create(s);
    for (size_t i = 0; i < COUNT(links); i++) {
        char *id = i == 2   ? mem_dup(s->link.short_id)
                   : i == 4 ? mem_dup(links[3].short_id)
                            : suite_new_id(s);
        links[i] = suite_new_link(id, "https://example.com/many");
        suite_set(&links[i].title, "one of many");
    }
    store_create_many(s->store, links, COUNT(links), 0, results);
    for (size_t i = 0; i < COUNT(links); i++)
        suite_assert_result(s, results[i],
                            i == 2 || i == 4 ? RESULT_CONFLICT : RESULT_OK);
    suite_assert_stored(s);
    link_free(&s->link);
    s->link = links[0];
    suite_assert_stored(s);
    for (size_t i = 1; i < COUNT(links); i++)
        link_free(&links[i]);
}

/* ---- Records --------------------------------------------------------- */

static enum result put_record(struct suite *s, const char *key,
                              const char *text, uint64_t version, int64_t ttl)
{
    const struct store_record record = {
        .value = json_tokener_parse(text), .version = version, .ttl = ttl};
    enum result r = store_record_put(s->store, key, &record, 0);
    json_object_put(record.value);
    return r;
}

static void assert_record(struct suite *s, const char *key, const char *text,
                          uint64_t version, int64_t ttl)
{
    struct store_record record;
    suite_assert_result(s, store_record_get(s->store, key, true, 0, &record),
                        RESULT_OK);
    assert_same_json(json_object_to_json_string(record.value), text);
    assert_true(record.version == version);
    assert_true(record.ttl == ttl);
    json_object_put(record.value);
}

static void keeps_records_by_version(void **state)
{
    struct suite *s = *state;
    struct store_record none;
    char *key = mem_printf("~test~%s", s->link.short_id);
    const char *first = "{\"name\":\"a\",\"scopes\":[\"create\",\"own\"],"
                        "\"disabled\":false,\"n\":5000000000}";
    const char *second = "{\"name\":\"b\",\"plan\":{\"rate\":\"1/2\"}}";
    suite_assert_result(s, store_record_get(s->store, key, true, 0, &none),
                        RESULT_NOT_FOUND);
    suite_assert_result(s, put_record(s, key, second, 1, LINK_NEVER),
                        RESULT_CONFLICT);
    suite_assert_result(s, put_record(s, key, first, 0, LINK_NEVER), RESULT_OK);
    suite_assert_result(s, put_record(s, key, second, 0, LINK_NEVER),
                        RESULT_CONFLICT);
    assert_record(s, key, first, 1, LINK_NEVER);
    const int64_t ttl = clock_now() + 3600;
    suite_assert_result(s, put_record(s, key, second, 1, ttl), RESULT_OK);
    suite_assert_result(s, put_record(s, key, first, 1, ttl), RESULT_CONFLICT);
    assert_record(s, key, second, 2, ttl);
    suite_assert_result(s, store_purge(s->store, key, 0), RESULT_OK);
    suite_assert_result(s, store_purge(s->store, key, 0), RESULT_NOT_FOUND);
    /* A record that has expired counts as absent, removed or not. */
    suite_assert_result(s, put_record(s, key, first, 0, clock_now() - 1),
                        RESULT_OK);
    suite_assert_result(s, store_record_get(s->store, key, true, 0, &none),
                        RESULT_NOT_FOUND);
    suite_assert_result(s, put_record(s, key, second, 0, LINK_NEVER),
                        RESULT_OK);
    assert_record(s, key, second, 1, LINK_NEVER);
    /* It is not a link. */
    suite_set(&s->link.short_id, key);
    suite_assert_result(s, store_spend_hit(s->store, key, 0), RESULT_CONFLICT);
    free(key);
}

static void counts_in_a_record(void **state)
{
    struct suite *s = *state;
    uint64_t total = 0;
    char *key = mem_printf("~test~%s", s->link.short_id);
    const int64_t ttl = clock_now() + 3600;
    for (uint64_t i = 1; i <= 3; i++) {
        suite_assert_result(
            s, store_record_count(s->store, key, 5000000000, ttl, 0, &total),
            RESULT_OK);
        assert_true(total == i * 5000000000);
    }
    free(key);
}

static void keeps_a_long_url_of_8000_bytes(void **state)
{
    struct suite *s = *state;
    char url[8001] = "https://example.com/";
    size_t start = strlen(url);
    memset(url + start, 'x', sizeof(url) - 1 - start);
    memcpy(url + 7990, "%C3%A4&'\"~", 10);
    suite_set(&s->link.long_url, url);
    assert_int_equal(strlen(s->link.long_url), 8000);
    suite_create(s);
    suite_assert_stored(s);
}

static void keeps_analytics_of_any_text(void **state)
{
    struct suite *s = *state;
    const char *const texts[] = {
        "{}",
        "{\"user_agent\":null,\"source_ip\":null,\"xray_trace_id\":null}",
        "{\"user_agent\":\"\xc3\xa4\xe2\x82\xac\xf0\x9f\x94\x97\xef\xbf\xbd\"}",
        ("{\"\xc3\xbc\":\"1\",\"a b\":\"2\",\"#n\":\"3\",\":v\":\"4\",\"ttl\":"
         "\"5\",\"a.b\":\"6\",\"\xf0\x9f\x94\x97\":\"7\",\"'\":\"'; --\"}"),
        "{\"q\":\"\\\"\\\\\\/\\u0001\\t\\r\\n\\u007f\\u2028\"}",
        "{\"nul\":\"a\\u0000b\"}",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        renew(s);
        suite_set(&s->link.analytics, texts[i]);
        suite_create(s);
        suite_assert_stored(s);
    }
}

static void keeps_large_analytics(void **state)
{
    struct suite *s = *state;
    json_object *map = json_object_new_object();
    for (int i = 0; i < 1500; i++) {
        char name[16];
        snprintf(name, sizeof(name), "p%d", i);
        json_object_object_add(map, name,
                               json_object_new_string("v \xf0\x9f\x94\x97"));
    }
    suite_set(&s->link.analytics, json_object_to_json_string(map));
    json_object_put(map);
    suite_create(s);
    suite_assert_stored(s);
}

static void shows_a_redirect_what_it_needs(void **state)
{
    struct suite *s = *state;
    suite_create(s);
    suite_assert_result(s, suite_get(s, STORE_TARGET), RESULT_OK);
    assert_string_equal(s->back.short_id, s->link.short_id);
    assert_string_equal(s->back.long_url, s->link.long_url);
    assert_true(s->back.ttl == s->link.ttl);
    assert_null(s->back.analytics);
}

static void tells_what_is_not_there(void **state)
{
    assert_missing(*state);
}

static void tells_ids_apart_by_case(void **state)
{
    struct suite *s = *state;
    char *lower = mem_printf("%sabc", s->link.short_id);
    char *upper = mem_printf("%sABC", s->link.short_id);
    suite_set(&s->link.short_id, lower);
    suite_create(s);
    suite_set(&s->link.short_id, upper);
    assert_missing(s);
    suite_set(&s->link.long_url, "https://example.com/upper");
    suite_create(s);
    suite_assert_stored(s);
    suite_set(&s->link.short_id, lower);
    suite_assert_result(s, suite_get(s, STORE_TARGET), RESULT_OK);
    assert_string_not_equal(s->back.long_url, s->link.long_url);
    free(lower);
    free(upper);
}

static void leaves_a_taken_id_alone(void **state)
{
    struct suite *s = *state;
    suite_create(s);
    struct link other =
        suite_new_link(mem_dup(s->link.short_id), "https://example.com/other");
    suite_assert_result(s, store_create(s->store, &other, 0), RESULT_CONFLICT);
    /* The same link once more is no exception. */
    suite_assert_result(s, store_create(s->store, &s->link, 0),
                        RESULT_CONFLICT);
    suite_assert_stored(s);
    link_free(&other);
}

static void removes_a_link_once(void **state)
{
    struct suite *s = *state;
    const char *id = s->link.short_id;
    suite_assert_result(s, store_delete(s->store, id, 0), RESULT_NOT_FOUND);
    suite_create(s);
    suite_assert_result(s, store_delete(s->store, id, 0), RESULT_OK);
    assert_missing(s);
    suite_assert_result(s, store_delete(s->store, id, 0), RESULT_NOT_FOUND);
    /* The id is never given away again. */
    suite_assert_result(s, store_create(s->store, &s->link, 0),
                        RESULT_CONFLICT);
    assert_missing(s);
}

static void purges_a_link(void **state)
{
    struct suite *s = *state;
    const char *id = s->link.short_id;
    suite_assert_result(s, store_purge(s->store, id, 0), RESULT_NOT_FOUND);
    suite_create(s);
    suite_assert_result(s, store_purge(s->store, id, 0), RESULT_OK);
    assert_missing(s);
    /* Nothing is left, so the id is free. */
    suite_create(s);
    suite_assert_stored(s);
}

static void adds_hits(void **state)
{
    struct suite *s = *state;
    suite_create(s);
    const uint64_t each[] = {1, 1, 5000000000};
    for (size_t i = 0; i < 3; i++) {
        suite_assert_result(
            s, store_add_hits(s->store, s->link.short_id, each[i], NULL, 0),
            RESULT_OK);
        s->link.hits += each[i];
    }
    suite_assert_stored(s);
}

static void makes_no_ghost_of_a_hit(void **state)
{
    struct suite *s = *state;
    const char *id = s->link.short_id;
    suite_assert_result(s, store_add_hits(s->store, id, 1, NULL, 0),
                        RESULT_NOT_FOUND);
    assert_missing(s);
    suite_create(s);
    suite_assert_result(s, store_delete(s->store, id, 0), RESULT_OK);
    suite_assert_result(s, store_add_hits(s->store, id, 1, NULL, 0),
                        RESULT_NOT_FOUND);
    assert_missing(s);
}

static void takes_each_flush_once(void **state)
{
    struct suite *s = *state;
    const char *id = s->link.short_id;
    const struct store_flush first = {"NodeNodeNode", 7};
    const struct store_flush next = {"NodeNodeNode", 8};
    suite_create(s);
    suite_assert_result(s, store_add_hits(s->store, id, 3, &first, 0),
                        RESULT_OK);
    suite_assert_result(s, store_add_hits(s->store, id, 3, &first, 0),
                        RESULT_CONFLICT);
    suite_assert_result(s, store_add_hits(s->store, id, 20, &next, 0),
                        RESULT_OK);
    suite_assert_result(s, store_add_hits(s->store, id, 3, &first, 0),
                        RESULT_CONFLICT);
    s->link.hits = 23;
    suite_assert_stored(s);
    /* Another journal has numbers of its own. */
    const struct store_flush other = {"nodenodenode", 1};
    suite_assert_result(s, store_add_hits(s->store, id, 100, &other, 0),
                        RESULT_OK);
    s->link.hits = 123;
    suite_assert_stored(s);
}

static void makes_no_ghost_of_a_flush(void **state)
{
    struct suite *s = *state;
    const char *id = s->link.short_id;
    const struct store_flush flush = {"NodeNodeNode", 7};
    suite_assert_result(s, store_add_hits(s->store, id, 1, &flush, 0),
                        RESULT_NOT_FOUND);
    assert_missing(s);
}

static void keeps_a_link_for_ever(void **state)
{
    struct suite *s = *state;
    s->link.ttl = LINK_NEVER;
    suite_create(s);
    unsigned removed;
    suite_assert_result(
        s, store_expire(s->store, clock_now() + 4000000000, 1000, &removed),
        RESULT_OK);
    suite_assert_stored(s);
    suite_assert_result(s, suite_get(s, STORE_TARGET), RESULT_OK);
    assert_true(s->back.ttl == LINK_NEVER);
}

static void shows_expired_links_as_they_are(void **state)
{
    struct suite *s = *state;
    enum result r = RESULT_NOT_FOUND;
    /* DynamoDB removes what has expired when it likes: it may be faster than
     * a reader, but not three times in a row. */
    for (int i = 0; i < 3 && r == RESULT_NOT_FOUND; i++) {
        renew(s);
        s->link.ttl = clock_now() - 5;
        suite_create(s);
        r = suite_get(s, STORE_WHOLE);
    }
    suite_assert_result(s, r, RESULT_OK);
    assert_same_link(&s->back, &s->link);
    assert_true(link_expired(s->back.ttl, clock_now()));
}

static void expire(struct suite *s, unsigned limit, unsigned expected)
{
    unsigned removed = 77;
    suite_assert_result(s, store_expire(s->store, clock_now(), limit, &removed),
                        RESULT_OK);
    assert_int_equal(removed, expected);
}

static void removes_what_expired_long_ago(void **state)
{
    struct suite *s = *state;
    struct link old[3];
    for (size_t i = 0; i < 3; i++) {
        old[i] = suite_new_link(suite_new_id(s), "https://example.com/");
        old[i].ttl = clock_now() - STORE_KEEP_EXPIRED - 10;
        suite_assert_result(s, store_create(s->store, &old[i], 0), RESULT_OK);
    }
    suite_create(s);
    /* DynamoDB removes them by itself, some time. */
    bool removes = s->conf.store == CONF_STORE_SQLITE;
    for (size_t i = 0; i < 3 && removes; i++)
        suite_assert_result(
            s, store_get(s->store, old[i].short_id, STORE_WHOLE, 0, &s->back),
            RESULT_NOT_FOUND);
    expire(s, 2, removes ? 2 : 0);
    expire(s, 2, removes ? 1 : 0);
    expire(s, 2, 0);
    /* They are gone, not only out of sight. */
    for (size_t i = 0; i < 3 && removes; i++)
        suite_assert_result(s, store_delete(s->store, old[i].short_id, 0),
                            RESULT_NOT_FOUND);
    suite_assert_stored(s);
    for (size_t i = 0; i < 3; i++)
        link_free(&old[i]);
}

static void makes_the_table_once(void **state)
{
    struct suite *s = *state;
    suite_create(s);
    suite_assert_result(s, store_table_create(s->store, NULL), RESULT_OK);
    suite_assert_result(s, store_table_create(s->store, NULL), RESULT_OK);
    suite_assert_stored(s);
}

static void finds_nothing_wrong_with_its_table(void **state)
{
    struct suite *s = *state;
    struct buf findings;
    buf_init(&findings, 4096);
    enum result r = store_table_check(s->store, &findings, NULL);
    assert_string_equal(findings.data, "");
    suite_assert_result(s, r, RESULT_OK);
    buf_free(&findings);
}

static void opens_what_another_one_wrote(void **state)
{
    struct suite *s = *state;
    suite_create(s);
    store_free(s->store);
    s->store = store_new(&s->conf);
    suite_assert_stored(s);
}

/* ---- The suite ------------------------------------------------------- */

static void make_prefix(char prefix[9])
{
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
    unsigned char random[8];
    assert_int_equal(getrandom(random, sizeof(random), 0), sizeof(random));
    for (size_t i = 0; i < sizeof(random); i++)
        prefix[i] = letters[random[i] % (sizeof(letters) - 1)];
}

static int open_store(void **state)
{
    struct suite *s = mem_zalloc(sizeof(*s));
    struct buf faults;
    buf_init(&faults, 4096);
    enum result r = conf_load(NULL, &s->conf, &faults);
    fputs(faults.data, stderr);
    buf_free(&faults);
    if (r != RESULT_OK)
        return 1;
    make_prefix(s->prefix);
    link_init(&s->link);
    link_init(&s->back);
    s->store = store_new(&s->conf);
    *state = s;
    if (store_table_create(s->store, NULL) == RESULT_OK)
        return 0;
    fprintf(stderr, "table: %s\n", store_error(s->store));
    return 1;
}

static int close_store(void **state)
{
    struct suite *s = *state;
    store_free(s->store);
    conf_free(&s->conf);
    free(s);
    return 0;
}

static int begin_case(void **state)
{
    renew(*state);
    return 0;
}

static int end_case(void **state)
{
    struct suite *s = *state;
    link_free(&s->link);
    link_free(&s->back);
    return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, begin_case, end_case)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(keeps_every_attribute),
        CASE(keeps_every_field),
        CASE(updates_only_the_version_that_was_read),
        CASE(spends_no_more_hits_than_there_are),
        CASE(creates_many_at_once),
        CASE(keeps_records_by_version),
        CASE(counts_in_a_record),
        CASE(keeps_a_long_url_of_8000_bytes),
        CASE(keeps_analytics_of_any_text),
        CASE(keeps_large_analytics),
        CASE(shows_a_redirect_what_it_needs),
        CASE(tells_what_is_not_there),
        CASE(tells_ids_apart_by_case),
        CASE(leaves_a_taken_id_alone),
        CASE(removes_a_link_once),
        CASE(purges_a_link),
        CASE(adds_hits),
        CASE(makes_no_ghost_of_a_hit),
        CASE(takes_each_flush_once),
        CASE(makes_no_ghost_of_a_flush),
        CASE(keeps_a_link_for_ever),
        CASE(shows_expired_links_as_they_are),
        CASE(removes_what_expired_long_ago),
        CASE(makes_the_table_once),
        CASE(finds_nothing_wrong_with_its_table),
        CASE(opens_what_another_one_wrote),
        CASE(suite_lets_one_of_many_win),
        CASE(suite_loses_no_hit_of_many),
    };
    return cmocka_run_group_tests_name("store contract", tests, open_store,
                                       close_store);
}
