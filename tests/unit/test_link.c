/* Links in memory: their analytics, their JSON, their end. */
#include "test.h"

#include <json-c/json.h>

#include "base/mem.h"
#include "link/link.h"

static json_object *json(const char *text)
{
    json_object *object = json_tokener_parse(text);
    assert_non_null(object);
    return object;
}

static void assert_json(const char *got, const char *expected)
{
    json_object *a = json(got);
    json_object *b = json(expected);
    if (!json_object_equal(a, b))
        fail_msg("got %s, expected %s", got, expected);
    json_object_put(a);
    json_object_put(b);
}

/* ---- Analytics ------------------------------------------------------- */

/* A long URL, and what Python 3.11 makes of it with dict(parse_qsl(
 * urlsplit(url).query)), without the three names that are taken. */
static const char *const parameters[][2] = {
    {"http://x/", "{}"},
    {"http://x/?", "{}"},
    {"http://x/?a", "{}"},
    {"http://x/?a=", "{}"},
    {"http://x/?a=1", "{\"a\":\"1\"}"},
    {"http://x/?=1", "{}"},
    {"http://x/?a=1&b=2", "{\"a\":\"1\",\"b\":\"2\"}"},
    {"http://x/?a=1&a=2", "{\"a\":\"2\"}"},
    {"http://x/?b=1&a=2&b=3", "{\"b\":\"3\",\"a\":\"2\"}"},
    {"http://x/?a=1&a=", "{\"a\":\"1\"}"},
    {"http://x/?a=1&a", "{\"a\":\"1\"}"},
    {"http://x/?&&a=1&&b=2&", "{\"a\":\"1\",\"b\":\"2\"}"},
    {"http://x/?a=b=c", "{\"a\":\"b=c\"}"},
    {"http://x/?a==", "{\"a\":\"=\"}"},
    {"http://x/?a=+", "{\"a\":\" \"}"},
    {"http://x/?a+b=c+d", "{\"a b\":\"c d\"}"},
    {"http://x/?a%2Bb=c%2Bd", "{\"a+b\":\"c+d\"}"},
    {"http://x/?a%20b=c%20d", "{\"a b\":\"c d\"}"},
    {"http://x/?a%3Db=c%26d", "{\"a=b\":\"c&d\"}"},
    {"http://x/?a=%", "{\"a\":\"%\"}"},
    {"http://x/?a=%4", "{\"a\":\"%4\"}"},
    {"http://x/?a=%zz", "{\"a\":\"%zz\"}"},
    {"http://x/?a=%2541", "{\"a\":\"%41\"}"},
    {"http://x/?a;b=1;c=2", "{\"a;b\":\"1;c=2\"}"},
    {"http://x/?a=1;b=2", "{\"a\":\"1;b=2\"}"},
    {"http://x/?a=%C3%A9", "{\"a\":\"\\u00e9\"}"},
    {"http://x/?%C3%A9=1", "{\"\\u00e9\":\"1\"}"},
    {"http://x/?a=%E9", "{\"a\":\"\\ufffd\"}"},
    {"http://x/?a=%C3", "{\"a\":\"\\ufffd\"}"},
    {"http://x/?a=%C3%28", "{\"a\":\"\\ufffd(\"}"},
    {"http://x/?a=%E2%82", "{\"a\":\"\\ufffd\"}"},
    {"http://x/?a=%E2%82x%ff", "{\"a\":\"\\ufffdx\\ufffd\"}"},
    {"http://x/?a=%F0%9F%98%80", "{\"a\":\"\\ud83d\\ude00\"}"},
    {"http://x/?a=%ED%A0%80", "{\"a\":\"\\ufffd\\ufffd\\ufffd\"}"},
    {"http://x/?a=%C0%80", "{\"a\":\"\\ufffd\\ufffd\"}"},
    {"http://x/?%ff=1&%fe=2", "{\"\\ufffd\":\"2\"}"},
    {"http://x/?a=%00", "{\"a\":\"\\u0000\"}"},
    {"http://x/?a=b%00c", "{\"a\":\"b\\u0000c\"}"},
    {"http://x/?a=%0D%0A", "{\"a\":\"\\r\\n\"}"},
    {"http://x/?a=%22%5C%2F%3C", "{\"a\":\"\\\"\\\\/<\"}"},
    {"http://x/?a=/?:@", "{\"a\":\"/?:@\"}"},
    {"http://x/?a?b=c?d", "{\"a?b\":\"c?d\"}"},
    {"http://x/?a=1#b=2", "{\"a\":\"1\"}"},
    {"http://x/#?a=1", "{}"},
    {"http://x/#a?b=1", "{}"},
    {"http://x/?#a=1", "{}"},
    {"http://x/p?a=1?b=2", "{\"a\":\"1?b=2\"}"},
    {"http://x/?A=1&a=2", "{\"A\":\"1\",\"a\":\"2\"}"},
    {"http://x/?a[]=1&a[]=2", "{\"a[]\":\"2\"}"},
    {"http://x/?a.b=1&$c=2", "{\"a.b\":\"1\",\"$c\":\"2\"}"},
    {"http://x/?utm_source=mail&utm_medium=e%2Dmail",
     "{\"utm_source\":\"mail\",\"utm_medium\":\"e-mail\"}"},
    {"http://x/?user_agent=evil&source_ip=1&xray_trace_id=2&ok=1",
     "{\"ok\":\"1\"}"},
    {"http://x/?user%5Fagent=evil&source+ip=1", "{\"source ip\":\"1\"}"},
    {"http://x/?User_Agent=1", "{\"User_Agent\":\"1\"}"},
    {"http://x/?+=1", "{\" \":\"1\"}"},
    {"http://x/?%20=1", "{\" \":\"1\"}"},
    {"http://x/?%=1", "{\"%\":\"1\"}"},
    {"http://x/?a=%u0041", "{\"a\":\"%u0041\"}"},
    {"http://x/?a=%F4%90%80%80", "{\"a\":\"\\ufffd\\ufffd\\ufffd\\ufffd\"}"},
    {"http://x/?a=%e1%80%e2%f0%91%92%f1%bfb",
     "{\"a\":\"\\ufffd\\ufffd\\ufffd\\ufffdb\"}"},
};

TEST(reads_parameters_as_python_does)
{
    static const struct link_client client = {"agent", "192.0.2.7", "trace"};
    for (size_t i = 0; i < COUNT(parameters); i++) {
        char *text = link_analytics(parameters[i][0], &client);
        json_object *expected = json(parameters[i][1]);
        json_object_object_add(expected, "user_agent",
                               json_object_new_string("agent"));
        json_object_object_add(expected, "source_ip",
                               json_object_new_string("192.0.2.7"));
        json_object_object_add(expected, "xray_trace_id",
                               json_object_new_string("trace"));
        json_object *got = json(text);
        if (!json_object_equal(got, expected))
            fail_msg("%s: got %s, expected %s", parameters[i][0], text,
                     json_object_to_json_string(expected));
        json_object_put(got);
        json_object_put(expected);
        free(text);
    }
}

static void assert_analytics(const char *url, const struct link_client *client,
                             const char *expected)
{
    char *text = link_analytics(url, client);
    assert_json(text, expected);
    free(text);
}

TEST(headers_that_are_absent_are_null)
{
    assert_analytics(
        "http://x/", &(struct link_client){NULL, NULL, NULL},
        "{\"user_agent\":null,\"source_ip\":null,\"xray_trace_id\":null}");
    assert_analytics(
        "http://x/", &(struct link_client){"", "::1", NULL},
        "{\"user_agent\":\"\",\"source_ip\":\"::1\",\"xray_trace_id\":null}");
}

TEST(a_parameter_never_replaces_a_header)
{
    assert_analytics(
        "http://x/?user_agent=a&source_ip=b&xray_trace_id=c&user%5fagent=d",
        &(struct link_client){NULL, NULL, NULL},
        "{\"user_agent\":null,\"source_ip\":null,\"xray_trace_id\":null}");
}

TEST(names_that_dynamodb_has_not_are_left_out)
{
    assert_analytics("http://x/?=1&%00=2&a%00b=3&user_agent%00=4&%00a=5&c=6",
                     &(struct link_client){NULL, NULL, NULL},
                     "{\"user_agent\":null,\"source_ip\":null,"
                     "\"xray_trace_id\":null,\"c\":\"6\"}");
}

TEST(headers_of_any_bytes_become_utf8)
{
    assert_analytics(
        "http://x/",
        &(struct link_client){"\xff\x01\"\\\r\n\x7f", "\xc3\xa9", "\xe2\x82"},
        "{\"user_agent\":\"\\ufffd\\u0001\\\"\\\\\\r\\n\\u007f\","
        "\"source_ip\":\"\\u00e9\","
        "\"xray_trace_id\":\"\\ufffd\"}");
}

TEST(the_longest_query_is_kept_whole)
{
    /* 2,659 bytes of which each becomes U+FFFD, three bytes long. */
    struct buf url, expected;
    buf_init(&url, 8000);
    buf_init(&expected, 30000);
    buf_add_str(&url, "http://x/?a=");
    buf_add_str(&expected, "{\"user_agent\":null,\"source_ip\":null,"
                           "\"xray_trace_id\":null,\"a\":\"");
    while (url.len + 3 <= 8000) {
        buf_add_str(&url, "%ff");
        buf_add_str(&expected, "\xef\xbf\xbd");
    }
    buf_add_str(&expected, "\"}");
    assert_false(buf_failed(&expected));
    assert_analytics(url.data, &(struct link_client){NULL, NULL, NULL},
                     expected.data);
    buf_free(&url);
    buf_free(&expected);
}

TEST(thousands_of_parameters_are_kept)
{
    struct buf url;
    buf_init(&url, 8000);
    buf_add_str(&url, "http://x/?");
    size_t n = 0;
    for (; url.len + 6 <= 8000; n++)
        buf_addf(&url, "%03zx=1&", n);
    assert_false(buf_failed(&url));
    char *text =
        link_analytics(url.data, &(struct link_client){NULL, NULL, NULL});
    json_object *map = json(text);
    assert_int_equal(json_object_object_length(map), n + 3);
    json_object_put(map);
    free(text);
    buf_free(&url);
}

/* ---- Links ----------------------------------------------------------- */

static struct link sample(void)
{
    struct link l;
    link_init(&l);
    link_set(&l.short_id, "p7ISNcD");
    link_set(&l.long_url, "https://example.com/\"\\</script>");
    link_set(&l.short_url, "https://sho.rt/t/p7ISNcD");
    link_set(&l.created_at, "2018-11-29T00:05:02");
    link_set(&l.analytics, "{\"user_agent\":\"curl\",\"source_ip\":null}");
    l.ttl = 1544054702;
    l.hits = 3;
    return l;
}

static void assert_link_json(const struct link *l, bool whole,
                             const char *expected)
{
    struct buf out;
    buf_init(&out, 65536);
    buf_add_str(&out, "[");
    link_to_json(l, whole, &out);
    buf_add_str(&out, "]");
    char *wrapped = mem_printf("[%s]", expected);
    assert_json(out.data, wrapped);
    assert_null(strchr(out.data, '\n'));
    free(wrapped);
    buf_free(&out);
}

TEST(becomes_json_with_the_tables_names)
{
    struct link l = sample();
    assert_link_json(&l, false,
                     "{\"short_id\":\"p7ISNcD\",\"short_url\":"
                     "\"https://sho.rt/t/p7ISNcD\",\"long_url\":"
                     "\"https://example.com/\\\"\\\\</script>\",\"created_at\":"
                     "\"2018-11-29T00:05:02\",\"ttl\":1544054702,\"hits\":3}");
    assert_link_json(
        &l, true,
        "{\"short_id\":\"p7ISNcD\",\"short_url\":"
        "\"https://sho.rt/t/p7ISNcD\",\"long_url\":"
        "\"https://example.com/\\\"\\\\</script>\",\"created_at\":"
        "\"2018-11-29T00:05:02\",\"ttl\":1544054702,\"hits\":3,\"analytics\":{"
        "\"user_agent\":\"curl\",\"source_ip\":null}}");
    link_free(&l);
}

TEST(what_is_missing_is_null_and_no_ttl_is_left_out)
{
    struct link l;
    link_init(&l);
    assert_link_json(&l, true,
                     "{\"short_id\":null,\"short_url\":null,\"long_url\":null,"
                     "\"created_at\":null,\"hits\":0,\"analytics\":null}");
    l.hits = UINT64_MAX;
    l.ttl = 0;
    link_set(&l.analytics, "no JSON");
    assert_link_json(&l, true,
                     "{\"short_id\":null,\"short_url\":null,\"long_url\":null,"
                     "\"created_at\":null,\"ttl\":0,"
                     "\"hits\":18446744073709551615,\"analytics\":null}");
    link_free(&l);
}

/* Analytics as another client may have stored them; NULL: null is printed. */
static const char *const foreign[][2] = {
    {"{\"a\":[1,{\"b\":null}]}", "{\"a\":[1,{\"b\":null}]}"},
    {" \t\r\n{\"a\":\n[1,\r2]}\n", "    {\"a\": [1, 2]} "},
    {"{\"n\":123456789012345678901234567890}",
     "{\"n\":123456789012345678901234567890}"},
    {"{\"a\x7f\":\"\xc2\x9b\xe2\x80\xae\xc3\xa9\"}",
     "{\"a\\u007f\":\"\\u009b\\u202e\xc3\xa9\"}"},
    {"{\"a\":1},\"hits\":999", NULL},
    {"{\"a\":1}{\"b\":2}", NULL},
    {"{\"a\":1}}", NULL},
    {"{\"a\":1}\n,\"hits\":999", NULL},
    {"{\"a\":1", NULL},
    {"[1]", NULL},
    {"5", NULL},
    {"\"x\"", NULL},
    {"null", NULL},
    {"", NULL},
    {"{'a':'b'}", NULL},
    {"{\"a\":1,}", NULL},
    {"/* */{\"a\":1}", NULL},
    {"{\"a\":\"\xff\"}", NULL},
    {"\xef\xbb\xbf{\"a\":1}", NULL},
};

static void assert_analytics_in_json(const char *text, const char *expected)
{
    struct link l = sample();
    struct buf out;
    buf_init(&out, 65536);
    link_set(&l.analytics, text);
    link_to_json(&l, true, &out);
    const char *found = strstr(out.data, "\"analytics\":");
    assert_non_null(found);
    char *end =
        mem_printf("\"analytics\":%s}", expected != NULL ? expected : "null");
    assert_string_equal(found, end);
    free(end);
    buf_free(&out);
    link_free(&l);
}

TEST(to_json_takes_one_object_as_analytics)
{
    for (size_t i = 0; i < COUNT(foreign); i++)
        assert_analytics_in_json(foreign[i][0], foreign[i][1]);
    struct buf deep;
    buf_init(&deep, 1000);
    for (int levels = 32; levels <= 33; levels++) {
        buf_reset(&deep);
        for (int i = 0; i < levels; i++)
            buf_add_str(&deep, "{\"a\":");
        buf_add_char(&deep, '1');
        for (int i = 0; i < levels; i++)
            buf_add_char(&deep, '}');
        assert_analytics_in_json(deep.data, levels == 32 ? deep.data : NULL);
    }
    buf_free(&deep);
}

TEST(to_json_escapes_what_is_not_text)
{
    struct link l;
    link_init(&l);
    link_set(&l.long_url,
             "\x1b[2J\n\x7f\xc2\x9b\xe2\x81\xa6\xff\xc3\"\xc3\xa9");
    assert_link_json(&l, false,
                     "{\"short_id\":null,\"short_url\":null,\"long_url\":"
                     "\"\\u001b[2J\\n\\u007f\\u009b\\u2066\\ufffd\\ufffd\\\""
                     "\xc3\xa9\",\"created_at\":null,\"hits\":0}");
    link_free(&l);
}

TEST(expires_at_its_ttl)
{
    struct link l;
    link_init(&l);
    assert_int_equal(l.ttl, LINK_NEVER);
    assert_false(link_expired(l.ttl, 0));
    assert_false(link_expired(l.ttl, INT64_MAX));
    l.ttl = 1000;
    assert_false(link_expired(l.ttl, 999));
    assert_true(link_expired(l.ttl, 1000));
    assert_true(link_expired(l.ttl, 1001));
    l.ttl = 0;
    assert_true(link_expired(l.ttl, 1));
    l.ttl = INT64_MIN;
    assert_true(link_expired(l.ttl, 0));
}

TEST(strings_are_copies_and_are_released)
{
    struct link l = sample();
    char id[] = "other";
    link_set(&l.short_id, id);
    id[0] = 'x';
    assert_string_equal(l.short_id, "other");
    link_set(&l.short_id, l.short_id);
    assert_string_equal(l.short_id, "other");
    link_set(&l.short_id, NULL);
    assert_null(l.short_id);
    link_free(&l);
    assert_null(l.long_url);
    assert_null(l.short_url);
    assert_null(l.created_at);
    assert_null(l.analytics);
    assert_int_equal(l.ttl, LINK_NEVER);
    assert_int_equal(l.hits, 0);
    link_free(&l);
}
