/* Links as DynamoDB items: what is written, and what is made of what others
 * wrote. */
#include "test.h"

#include <json-c/json.h>

#include "base/mem.h"
#include "store/dynamodb/item.h"

static json_object *json(const char *text)
{
    json_object *object = json_tokener_parse(text);
    assert_non_null(object);
    return object;
}

/* Asserts that two JSON texts mean the same. */
static void assert_json(const char *got, const char *expected)
{
    json_object *a = json(got);
    json_object *b = json(expected);
    if (!json_object_equal(a, b))
        fail_msg("got %s, expected %s", got, expected);
    json_object_put(a);
    json_object_put(b);
}

static struct link sample(void)
{
    struct link l;
    link_init(&l);
    l.short_id = mem_dup("p7ISNcD");
    l.long_url = mem_dup("https://example.com/");
    l.short_url = mem_dup("https://sho.rt/t/p7ISNcD");
    l.created_at = mem_dup("2018-11-29T00:05:02");
    l.ttl = 1544054702;
    l.hits = 3;
    l.analytics = mem_dup("{\"user_agent\":\"curl\",\"source_ip\":null}");
    return l;
}

static json_object *encode(const struct link *l)
{
    json_object *item = NULL;
    assert_int_equal(dynamodb_item_encode(l, &item), RESULT_OK);
    return item;
}

/* Decodes item's text into a link that the caller releases. */
static struct link decode(const char *text)
{
    struct link l;
    link_init(&l);
    json_object *item = json(text);
    assert_int_equal(dynamodb_item_decode(item, &l), RESULT_OK);
    json_object_put(item);
    return l;
}

static void assert_corrupt(const char *text)
{
    struct link l;
    link_init(&l);
    json_object *item = json(text);
    assert_int_equal(dynamodb_item_decode(item, &l), RESULT_CORRUPT);
    assert_null(l.long_url);
    assert_null(l.short_id);
    assert_null(l.analytics);
    json_object_put(item);
}

/* ---- Encoding -------------------------------------------------------- */

TEST(encodes_the_tutorials_item)
{
    struct link l = sample();
    json_object *item = encode(&l);
    assert_json(json_object_to_json_string(item),
                "{\"short_id\":{\"S\":\"p7ISNcD\"},"
                "\"long_url\":{\"S\":\"https://example.com/\"},"
                "\"short_url\":{\"S\":\"https://sho.rt/t/p7ISNcD\"},"
                "\"created_at\":{\"S\":\"2018-11-29T00:05:02\"},"
                "\"ttl\":{\"N\":\"1544054702\"},\"hits\":{\"N\":\"3\"},"
                "\"analytics\":{\"M\":{\"user_agent\":{\"S\":\"curl\"},"
                "\"source_ip\":{\"NULL\":true}}}}");
    json_object_put(item);
    link_free(&l);
}

TEST(encodes_no_ttl_for_never)
{
    struct link l = sample();
    l.ttl = LINK_NEVER;
    json_object *item = encode(&l);
    assert_false(json_object_object_get_ex(item, "ttl", NULL));
    assert_true(json_object_object_get_ex(item, "hits", NULL));
    json_object_put(item);
    link_free(&l);
}

TEST(encodes_every_kind_of_analytics)
{
    struct link l = sample();
    free(l.analytics);
    l.analytics = mem_dup("{\"e\":\"\",\"t\":true,\"i\":-7,\"d\":1.50,"
                          "\"o\":{\"x\":null},\"a\":[\"\",1,{}]}");
    json_object *item = encode(&l);
    json_object *analytics = NULL;
    json_object_object_get_ex(item, "analytics", &analytics);
    assert_json(json_object_to_json_string(analytics),
                "{\"M\":{\"e\":{\"NULL\":true},\"t\":{\"BOOL\":true},"
                "\"i\":{\"N\":\"-7\"},\"d\":{\"N\":\"1.50\"},"
                "\"o\":{\"M\":{\"x\":{\"NULL\":true}}},"
                "\"a\":{\"L\":[{\"NULL\":true},{\"N\":\"1\"},{\"M\":{}}]}}}");
    json_object_put(item);
    link_free(&l);
}

TEST(refuses_analytics_that_are_not_an_object)
{
    const char *const texts[] = {NULL,    "",         "null", "[]",
                                 "\"x\"", "{\"a\":1", "{} x"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        struct link l = sample();
        free(l.analytics);
        l.analytics = mem_dup(texts[i]);
        json_object *item = NULL;
        assert_int_equal(dynamodb_item_encode(&l, &item), RESULT_INVALID);
        assert_null(item);
        link_free(&l);
    }
}

TEST(survives_a_round_trip)
{
    struct link l = sample();
    free(l.analytics);
    const char *analytics = "{\"user_agent\":\"\xc3\xa4 \xf0\x9f\x94\x97 "
                            "\\u0000 \\\" \\\\\",\"q\":null}";
    l.analytics = mem_dup(analytics);
    json_object *item = encode(&l);
    struct link back;
    link_init(&back);
    assert_int_equal(dynamodb_item_decode(item, &back), RESULT_OK);
    assert_string_equal(back.short_id, l.short_id);
    assert_string_equal(back.long_url, l.long_url);
    assert_string_equal(back.short_url, l.short_url);
    assert_string_equal(back.created_at, l.created_at);
    assert_true(back.ttl == l.ttl);
    assert_true(back.hits == l.hits);
    assert_json(back.analytics, analytics);
    assert_non_null(strstr(back.analytics, "\\u0000"));
    json_object_put(item);
    link_free(&back);
    link_free(&l);
}

/* ---- Decoding -------------------------------------------------------- */

TEST(decodes_what_is_there)
{
    struct link l = decode("{\"long_url\":{\"S\":\"https://e.com/\"},"
                           "\"owner\":{\"SS\":[\"a\"]},\"ttl\":{\"N\":\"7\"}}");
    assert_string_equal(l.long_url, "https://e.com/");
    assert_true(l.ttl == 7);
    assert_true(l.hits == 0);
    assert_null(l.short_id);
    assert_null(l.short_url);
    assert_null(l.created_at);
    assert_null(l.analytics);
    link_free(&l);
}

TEST(refuses_an_unusable_long_url)
{
    assert_corrupt("{}");
    assert_corrupt("{\"short_id\":{\"S\":\"a\"}}");
    assert_corrupt("{\"long_url\":{\"N\":\"1\"}}");
    assert_corrupt("{\"long_url\":{\"S\":1}}");
    assert_corrupt("{\"long_url\":{\"S\":null}}");
    assert_corrupt("{\"long_url\":{\"NULL\":true}}");
    assert_corrupt("{\"long_url\":{\"SS\":[\"https://e.com/\"]}}");
    assert_corrupt("{\"long_url\":{}}");
    assert_corrupt("{\"long_url\":\"https://e.com/\"}");
    assert_corrupt("{\"long_url\":null}");
    assert_corrupt("{\"long_url\":{\"S\":\"https://e.com/\\u0000x\"},"
                   "\"short_id\":{\"S\":\"a\"}}");
}

static char note[256]; /* ttl_note of the last item */

static int64_t ttl_of(const char *attribute)
{
    char *text = mem_printf("{\"long_url\":{\"S\":\"https://e.com/\"},"
                            "\"ttl\":%s}",
                            attribute);
    struct link l = decode(text);
    int64_t ttl = l.ttl;
    if (l.ttl_note != NULL)
        snprintf(note, sizeof(note), "%s", l.ttl_note);
    else
        note[0] = '\0';
    link_free(&l);
    free(text);
    return ttl;
}

TEST(reads_an_odd_ttl_as_never)
{
    assert_true(ttl_of("{\"N\":\"1544054702\"}") == 1544054702);
    assert_true(ttl_of("{\"N\":\"1544054702.9\"}") == 1544054702);
    assert_true(ttl_of("{\"N\":\"0\"}") == 0);
    assert_true(ttl_of("{\"N\":\"-5\"}") == -5);
    assert_true(ttl_of("{\"N\":\"99999999999999999999\"}") == LINK_NEVER);
    assert_true(ttl_of("{\"S\":\"1544054702\"}") == LINK_NEVER);
    assert_true(ttl_of("{\"N\":1544054702}") == LINK_NEVER);
    assert_true(ttl_of("{\"N\":\"\"}") == LINK_NEVER);
    assert_true(ttl_of("{\"N\":\"soon\"}") == LINK_NEVER);
    assert_true(ttl_of("{\"N\":\"12\\u0000\"}") == LINK_NEVER);
    assert_true(ttl_of("{\"NULL\":true}") == LINK_NEVER);
    assert_true(ttl_of("null") == LINK_NEVER);
}

TEST(notes_a_ttl_that_ends_nothing)
{
    assert_true(ttl_of("{\"N\":\"99999999999\"}") == 99999999999);
    assert_string_equal(note, "");
    assert_true(ttl_of("{\"NULL\":true}") == LINK_NEVER);
    assert_string_equal(note, "");
    assert_true(ttl_of("{\"N\":\"1735689600000\"}") == 1735689600000);
    assert_non_null(strstr(note, "1735689600000 looks like milliseconds"));
    ttl_of("{\"N\":\"99999999999999999999\"}");
    assert_non_null(strstr(note, "milliseconds"));
    ttl_of("{\"S\":\"1735689600\"}");
    assert_non_null(strstr(note, "{\"S\":\"1735689600\"}"));
    ttl_of("{\"S\":\"x\\u001b[31m\u00e4 y\"}");
    assert_null(strchr(note, 27));
    ttl_of("{\"L\":[{\"S\":\"0123456789012345678901234567890123456789\"}]}");
    assert_in_range(strlen(note), 60, 120);
}

static uint64_t hits_of(const char *attribute)
{
    char *text = mem_printf("{\"long_url\":{\"S\":\"https://e.com/\"},"
                            "\"hits\":%s}",
                            attribute);
    struct link l = decode(text);
    uint64_t hits = l.hits;
    link_free(&l);
    free(text);
    return hits;
}

TEST(reads_odd_hits_as_none)
{
    assert_true(hits_of("{\"N\":\"12\"}") == 12);
    assert_true(hits_of("{\"N\":\"-12\"}") == 0);
    assert_true(hits_of("{\"N\":\"many\"}") == 0);
    assert_true(hits_of("{\"S\":\"12\"}") == 0);
    assert_true(hits_of("{\"L\":[]}") == 0);
}

static void assert_analytics(const char *attribute, const char *expected)
{
    char *text = mem_printf("{\"long_url\":{\"S\":\"https://e.com/\"},"
                            "\"analytics\":%s}",
                            attribute);
    struct link l = decode(text);
    if (expected == NULL)
        assert_null(l.analytics);
    else
        assert_string_equal(l.analytics, expected);
    link_free(&l);
    free(text);
}

TEST(turns_every_type_into_plain_json)
{
    assert_analytics("{\"M\":{}}", "{}");
    assert_analytics("{\"M\":{\"a\":{\"S\":\"x\"},\"b\":{\"NULL\":true},"
                     "\"c\":{\"BOOL\":false}}}",
                     "{\"a\":\"x\",\"b\":null,\"c\":false}");
    assert_analytics("{\"M\":{\"n\":{\"N\":\"-1.5\"},\"z\":"
                     "{\"N\":\"12345678901234567890123456789012345678\"}}}",
                     "{\"n\":-1.5,\"z\":12345678901234567890123456789012345678"
                     "}");
    assert_analytics("{\"M\":{\"l\":{\"L\":[{\"S\":\"x\"},{\"M\":{\"k\":"
                     "{\"N\":\"1\"}}}]}}}",
                     "{\"l\":[\"x\",{\"k\":1}]}");
    assert_analytics("{\"M\":{\"ss\":{\"SS\":[\"x\",\"y\"]},\"ns\":{\"NS\":"
                     "[\"1\",\"2\"]},\"bs\":{\"BS\":[\"AA==\"]},\"b\":{\"B\":"
                     "\"AQ==\"}}}",
                     "{\"ss\":[\"x\",\"y\"],\"ns\":[1,2],\"bs\":[\"AA==\"],"
                     "\"b\":\"AQ==\"}");
    assert_analytics("{\"M\":{\"a\":{\"S\":\"\\ud83d\\udd17 a\\u0000b\"}}}",
                     "{\"a\":\"\xf0\x9f\x94\x97 a\\u0000b\"}");
}

TEST(tolerates_odd_analytics)
{
    assert_analytics("null", NULL);
    assert_analytics("{\"S\":\"x\"}", NULL);
    assert_analytics("{\"M\":[]}", NULL);
    assert_analytics("{\"M\":{\"a\":{\"S\":1},\"b\":{\"N\":\"x\"},\"c\":"
                     "{\"N\":\"[1]\"},\"d\":{\"M\":1},\"e\":{\"L\":{}},"
                     "\"f\":{\"BOOL\":\"yes\"},\"g\":{\"??\":[]},\"h\":{},"
                     "\"i\":7,\"j\":null,\"k\":{\"S\":\"x\",\"N\":\"1\"}}}",
                     "{\"a\":null,\"b\":null,\"c\":null,\"d\":null,\"e\":null,"
                     "\"f\":null,\"g\":null,\"h\":null,\"i\":null,\"j\":null,"
                     "\"k\":null}");
}

TEST(bounds_the_nesting)
{
    /* Built by hand: no text that deep passes the parser. */
    json_object *value = dynamodb_item_string("core");
    for (int i = 0; i < 20000; i++) {
        json_object *list = json_object_new_array();
        json_object_array_add(list, value);
        value = json_object_new_object();
        json_object_object_add(value, "L", list);
    }
    json_object *map = json_object_new_object();
    json_object_object_add(map, "deep", value);
    json_object *analytics = json_object_new_object();
    json_object_object_add(analytics, "M", map);
    json_object *item = json_object_new_object();
    json_object_object_add(item, "long_url",
                           dynamodb_item_string("https://e.com/"));
    json_object_object_add(item, "analytics", analytics);

    struct link l;
    link_init(&l);
    assert_int_equal(dynamodb_item_decode(item, &l), RESULT_OK);
    assert_null(strstr(l.analytics, "core"));
    assert_non_null(strstr(l.analytics, "[[[[[["));
    assert_true(strlen(l.analytics) < 200);
    link_free(&l);
    json_object_put(item);
}
