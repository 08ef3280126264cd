/* API keys: their form, and who is let in. */
#include "test.h"

#include <json-c/json.h>
#include <zlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "service/access.h"

/* The store: one record, and what was read and written. */
static struct {
    char key[ACCESS_RECORD_SIZE]; /* of the record; "*": of every one */
    char *value;
    enum result result;
    unsigned gets, puts;
    char asked[100][ACCESS_RECORD_SIZE];
} shelf;

static struct conf conf;
static struct store store;
static struct app app;
static struct access_identity who;
static const char *reason;

static enum result shelf_get(struct store *s, const char *key, bool consistent,
                             struct store_record *out)
{
    assert_true(consistent);
    assert_in_range(shelf.gets, 0, COUNT(shelf.asked) - 1);
    snprintf(shelf.asked[shelf.gets++], ACCESS_RECORD_SIZE, "%s", key);
    if (shelf.result != RESULT_OK)
        return store_fail(s, shelf.result, "as told");
    if (strcmp(shelf.key, "*") != 0 && strcmp(shelf.key, key) != 0)
        return RESULT_NOT_FOUND;
    out->version = 1;
    return json_parse(shelf.value, strlen(shelf.value), JSON_LEVELS,
                      &out->value);
}

static enum result shelf_put(struct store *s, const char *key,
                             const struct store_record *record)
{
    assert_string_equal(shelf.key, key);
    assert_int_equal(record->version, 1);
    shelf.puts++;
    if (shelf.result != RESULT_OK)
        return store_fail(s, shelf.result, "as told");
    free(shelf.value);
    shelf.value = mem_dup(json_text(record->value));
    return RESULT_OK;
}

static const struct store_ops ops = {
    .name = "told", .record_get = shelf_get, .record_put = shelf_put};

static int set_up(void **state)
{
    (void)state;
    conf = (struct conf){.store_timeout = 3};
    memset(&shelf, 0, sizeof(shelf));
    store = (struct store){.ops = &ops, .conf = &conf};
    buf_init(&store.error, 100);
    app = (struct app){.conf = &conf, .store = &store};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    free(shelf.value);
    buf_free(&store.error);
    return 0;
}

EACH_TEST(set_up, tear_down)

/* Puts a new key into the store; members: more of its record. */
static void make_key(char key[ACCESS_KEY_SIZE + 1], const char *members)
{
    assert_int_equal(access_make_key(key), RESULT_OK);
    access_record_key(key, shelf.key);
    free(shelf.value);
    shelf.value = mem_printf("{\"name\":\"app\",\"scopes\":\"create\","
                             "\"sha256\":\"%s\"%s}",
                             shelf.key + strlen(ACCESS_RECORD), members);
}

static enum result check(const char *key)
{
    app.deadline = clock_monotonic_ms() + 3000;
    return access_check(&app, key, ACCESS_CREATE, &who, &reason);
}

/* The check of a key says so, after so many reads of the store. */
static void expect(const char *key, enum result wanted, const char *why,
                   unsigned gets)
{
    const unsigned before = shelf.gets;
    const enum result r = check(key);
    if (r != wanted || (why == NULL) != (reason == NULL) ||
        (why != NULL && strcmp(why, reason) != 0))
        fail_msg("%s: %s, %s", key, result_text(r), reason);
    assert_int_equal(shelf.gets - before, gets);
}

TEST(has_a_form_that_scanners_know)
{
    char key[ACCESS_KEY_SIZE + 1], other[ACCESS_KEY_SIZE + 1];
    char record[ACCESS_RECORD_SIZE];
    assert_int_equal(access_make_key(key), RESULT_OK);
    assert_int_equal(access_make_key(other), RESULT_OK);
    assert_int_equal(strlen(key), 54);
    assert_memory_equal(key, "curt_", 5);
    assert_memory_not_equal(key + 5, other + 5, 43);
    /* Known answers: what was handed out must stay valid. */
    access_record_key("abc", record);
    assert_string_equal(record,
                        "~key~ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0");
    expect("curt_"
           "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
           "0JI41v",
           RESULT_INVALID, "is unknown", 1);
}

TEST(reads_and_prints_scopes)
{
    static const struct {
        const char *list, *text;
        unsigned scopes;
    } cases[] = {
        {"create", "create", ACCESS_CREATE},
        {"own, create", "create,own", ACCESS_CREATE | ACCESS_OWN},
        {"read manage,admin", "read,manage,admin",
         ACCESS_READ | ACCESS_MANAGE | ACCESS_ADMIN},
    };
    static const char *const wrong[] = {
        "", " ", ",", "creat", "creates", "create;read", "Create"};
    unsigned scopes;
    struct buf text;
    buf_init(&text, 100);
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_true(access_parse_scopes(cases[i].list, &scopes));
        assert_int_equal(scopes, cases[i].scopes);
        buf_reset(&text);
        access_add_scopes(&text, scopes);
        assert_string_equal(text.data, cases[i].text);
    }
    for (size_t i = 0; i < COUNT(wrong); i++)
        assert_false(access_parse_scopes(wrong[i], &scopes));
    buf_free(&text);
}

TEST(a_typo_is_found_without_the_store)
{
    static const char *const malformed[] = {
        "", "curt_", "curt", "hunter2",
        "ghp_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"};
    char key[ACCESS_KEY_SIZE + 2], wrong[ACCESS_KEY_SIZE + 2];
    make_key(key, "");
    for (size_t i = 0; i < COUNT(malformed); i++)
        expect(malformed[i], RESULT_INVALID, "is malformed", 0);
    for (size_t i = 5; i < ACCESS_KEY_SIZE; i++) {
        memcpy(wrong, key, sizeof(wrong));
        wrong[i] = key[i] == 'a' ? 'b' : 'a';
        expect(wrong, RESULT_INVALID, "has a typo", 0);
        wrong[i] = '-';
        expect(wrong, RESULT_INVALID, "is malformed", 0);
        wrong[i] = '\0';
        expect(wrong, RESULT_INVALID, "is malformed", 0);
    }
    memcpy(wrong, key, ACCESS_KEY_SIZE);
    memcpy(wrong + ACCESS_KEY_SIZE, "a", 2);
    expect(wrong, RESULT_INVALID, "is malformed", 0);
}

TEST(lets_a_key_in_as_its_record_says)
{
    char key[ACCESS_KEY_SIZE + 1], members[100];
    make_key(key, ",\"plan\":\"gold\"");
    expect(key, RESULT_OK, NULL, 2); /* and its use is recorded */
    assert_string_equal(who.name, "app");
    assert_string_equal(who.plan, "gold");
    assert_int_equal(who.scopes, ACCESS_CREATE);
    make_key(key, ",\"disabled\":true");
    expect(key, RESULT_INVALID, "is disabled", 1);
    assert_string_equal(who.name, "");
    make_key(key, ",\"revoked\":\"2026-01-01T00:00:00\",\"disabled\":true");
    expect(key, RESULT_INVALID, "is revoked", 1);
    make_key(key, ",\"expires\":1");
    expect(key, RESULT_INVALID, "has expired", 1);
    snprintf(members, sizeof(members), ",\"expires\":%lld",
             (long long)clock_now());
    make_key(key, members);
    expect(key, RESULT_INVALID, "has expired", 1);
    make_key(key, ",\"expires\":4102444800,\"disabled\":false");
    expect(key, RESULT_OK, NULL, 2);
    make_key(key, ",\"scopes\":\"read,own\"");
    expect(key, RESULT_DENIED, "lacks the scope that this needs", 1);
    make_key(key, ",\"scopes\":\"admin\"");
    expect(key, RESULT_OK, NULL, 2);
    make_key(key, ",\"scopes\":\"all\"");
    expect(key, RESULT_INVALID, "is unknown", 1);
}

TEST(an_unknown_key_is_not_an_outage)
{
    char key[ACCESS_KEY_SIZE + 1], other[ACCESS_KEY_SIZE + 1];
    make_key(other, "");
    assert_int_equal(access_make_key(key), RESULT_OK);
    expect(key, RESULT_INVALID, "is unknown", 1);
    shelf.result = RESULT_DENIED; /* by the store */
    expect(other, RESULT_UNAVAILABLE, NULL, 1);
    assert_string_equal(store_error(&store), "as told");
    shelf.result = RESULT_THROTTLED;
    expect(other, RESULT_UNAVAILABLE, NULL, 1);
}

/* Gives a key that was changed the right checksum. */
static void seal(char key[ACCESS_KEY_SIZE + 1])
{
    static const char digits[] = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                 "abcdefghijklmnopqrstuvwxyz";
    uint64_t n = crc32(0, (const unsigned char *)key, 48);
    for (size_t i = ACCESS_KEY_SIZE; i-- > 48; n /= 62)
        key[i] = digits[n % 62];
}

/* However much of a wrong key is right, the store is read once, for a digest
 * that has nothing in common with that of the key. Only digests are compared,
 * so no time can tell how near a guess is. */
TEST(a_wrong_key_costs_the_same_however_much_is_right)
{
    char key[ACCESS_KEY_SIZE + 1], wrong[ACCESS_KEY_SIZE + 1];
    const size_t begin = strlen(ACCESS_RECORD);
    make_key(key, "");
    for (size_t right = 0; right < 43; right++) {
        memcpy(wrong, key, sizeof(wrong));
        wrong[5 + right] = key[5 + right] == 'a' ? 'b' : 'a';
        seal(wrong);
        expect(wrong, RESULT_INVALID, "is unknown", 1);
        assert_memory_not_equal(shelf.asked[right] + begin, shelf.key + begin,
                                6);
    }
    assert_int_equal(shelf.gets, 43);
}

TEST(a_record_of_another_key_lets_nobody_in)
{
    char key[ACCESS_KEY_SIZE + 1], other[ACCESS_KEY_SIZE + 1];
    make_key(key, "");
    assert_int_equal(access_make_key(other), RESULT_OK);
    snprintf(shelf.key, sizeof(shelf.key), "*");
    expect(other, RESULT_INVALID, "is unknown", 1);
}

TEST(records_the_use_of_a_key_once_a_day)
{
    char key[ACCESS_KEY_SIZE + 1], day[CLOCK_TEXT_SIZE];
    char *expected;
    make_key(key, "");
    expect(key, RESULT_OK, NULL, 2);
    assert_int_equal(shelf.puts, 1);
    clock_text(clock_now(), day);
    expected = mem_printf("\"last_used\":\"%.10s\"", day);
    assert_non_null(strstr(shelf.value, expected));
    free(expected);
    expect(key, RESULT_OK, NULL, 1);
    assert_int_equal(shelf.puts, 1);
    make_key(key, ",\"last_used\":\"2020-01-01\"");
    expect(key, RESULT_OK, NULL, 2);
    assert_int_equal(shelf.puts, 2);
}

static enum result refuse_put(struct store *s, const char *key,
                              const struct store_record *record)
{
    (void)key;
    (void)record;
    shelf.puts++;
    return store_fail(s, RESULT_DENIED, "as told");
}

/* A store that cannot record the use is not tried with each request. */
TEST(a_key_whose_use_cannot_be_recorded_is_let_in)
{
    static const struct store_ops read_only = {
        .name = "told", .record_get = shelf_get, .record_put = refuse_put};
    char key[ACCESS_KEY_SIZE + 1];
    store.ops = &read_only;
    make_key(key, "");
    expect(key, RESULT_OK, NULL, 2);
    expect(key, RESULT_OK, NULL, 1);
    assert_int_equal(shelf.puts, 1);
    app.touch_ms = 0;
    expect(key, RESULT_OK, NULL, 2);
    assert_int_equal(shelf.puts, 2);
}
