/* The body of POST /create, in all the forms that come. */
#include "test.h"

#include <json-c/json.h>

#include "base/mem.h"
#include "http/body.h"
#include "service/create.h"

#define JSON "application/json"
#define FORM "application/x-www-form-urlencoded"

/* Reads len bytes of body, and the long_url of its members into out. The copy
 * ends where the body ends, so that the address sanitizer sees a read behind
 * its NUL. */
static int read_bytes(const char *type, const char *body, size_t len,
                      struct buf *out, const char **detail)
{
    static char text[BODY_DETAIL_SIZE];
    char *copy = mem_dup_bytes(body, len);
    const struct http_request req = {
        .body = copy, .body_len = len, .content_type = type};
    struct create_request r = {.result = RESULT_OK};
    json_object *members = NULL;
    text[0] = '\0';
    *detail = text;
    buf_init(out, 3 * len);
    link_init(&r.link);
    int status = body_read(&req, &members, text);
    if (status == 0) {
        create_read(members, &r);
        status = r.result == RESULT_OK && r.url != NULL ? 0 : 400;
        snprintf(text, sizeof(text), "The %s %s.",
                 r.reason != NULL ? r.member : "long_url",
                 r.reason != NULL ? r.reason : "is missing");
        if (status == 0)
            buf_add(out, r.url, r.url_len);
    }
    assert_false(buf_failed(out));
    json_object_put(members);
    link_free(&r.link);
    mem_free_secret(copy);
    return status;
}

static void assert_read_bytes(const char *type, const char *body, size_t len,
                              const char *url, size_t url_len)
{
    struct buf out;
    const char *detail;
    if (read_bytes(type, body, len, &out, &detail) != 0)
        fail_msg("%s, %s: %s", type, body, detail);
    assert_int_equal(out.len, url_len);
    assert_memory_equal(out.data, url, url_len + 1);
    buf_free(&out);
}

static void assert_read(const char *type, const char *body, const char *url)
{
    assert_read_bytes(type, body, strlen(body), url, strlen(url));
}

static void assert_fails_bytes(const char *type, const char *body, size_t len,
                               int expected, const char *why)
{
    struct buf out;
    const char *detail;
    int r = read_bytes(type, body, len, &out, &detail);
    if (r != expected)
        fail_msg("%s, %s: %d, \"%s\"", type, body, (int)r, out.data);
    if (detail == NULL || strstr(detail, why) == NULL)
        fail_msg("%s, %s: %s", type, body, detail);
    assert_int_equal(out.len, 0);
    buf_free(&out);
}

static void assert_bad(const char *type, const char *body, const char *why)
{
    assert_fails_bytes(type, body, strlen(body), 400, why);
}

/* ---- Which form it is ------------------------------------------------ */

TEST(json_needs_no_type_of_its_own)
{
    static const char *const types[] = {
        NULL,
        "",
        " ",
        JSON,
        "Application/Json; charset=utf-8",
        "application/vnd.api+json",
        "application/ld+JSON;profile=x",
        "text/plain",
        "text/plain;charset=UTF-8",
        FORM,
        "application/x-www-form-urlencoded; charset=UTF-8",
    };
    for (size_t i = 0; i < COUNT(types); i++) {
        assert_read(types[i], "{\"long_url\": \"http://x/\"}", "http://x/");
        assert_read(types[i], " \t\r\n{\"long_url\": \"http://x/\"}\r\n ",
                    "http://x/");
    }
}

TEST(a_form_has_its_type)
{
    assert_read(FORM, "long_url=http://x/", "http://x/");
    assert_read("Application/X-WWW-Form-URLEncoded ; charset=utf-8",
                "long_url=http://x/", "http://x/");
    assert_bad(NULL, "long_url=http://x/", "no Content-Type");
    assert_bad("", "long_url=http://x/", "no Content-Type");
    assert_bad(JSON, "long_url=http://x/", "not valid JSON");
    assert_fails_bytes("text/plain", "long_url=http://x/", 18, 415,
                       "application/json");
}

TEST(other_types_are_not_supported)
{
    static const char *const types[] = {
        "text/html",
        "application/xml",
        "multipart/form-data; boundary=x",
        "application/octet-stream",
        "application/jsonx",
        "application/json5",
        "text/json",
        "+json/x",
        "application/x-www-form-urlencodedx",
        ";",
        "nonsense",
        "\xff",
    };
    static const char *const bodies[] = {"{\"long_url\":\"http://x/\"}",
                                         "long_url=http://x/", ""};
    for (size_t i = 0; i < COUNT(types); i++)
        for (size_t b = 0; b < COUNT(bodies); b++)
            assert_fails_bytes(types[i], bodies[b], strlen(bodies[b]), 415,
                               "application/json");
}

TEST(an_empty_body_is_bad)
{
    assert_bad(NULL, "", "The body is empty");
    assert_bad("", "", "The body is empty");
    assert_bad(JSON, "", "not valid JSON");
    assert_bad(FORM, "", "The long_url is missing");
    assert_bad(JSON, "   ", "not valid JSON");
}

/* ---- JSON ------------------------------------------------------------ */

TEST(takes_the_string_as_it_is)
{
    static const char *const cases[][2] = {
        {"{\"long_url\":\"\"}", ""},
        {"{\"long_url\":\" x \"}", " x "},
        {"{\"long_url\":\"\\u0068\\u00fc\\u20ac\"}", "h\xc3\xbc\xe2\x82\xac"},
        {"{\"long_url\":\"\\ud83d\\ude00\"}", "\xf0\x9f\x98\x80"},
        {"{\"long_url\":\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"}", "\"\\/\b\f\n\r\t"},
        {"{\"long_url\":\"h\xc3\xbc\xe2\x82\xac\"}", "h\xc3\xbc\xe2\x82\xac"},
        {"{\"\\u006cong_url\":\"x\"}", "x"},
        /* Unknown members are ignored, whatever they are. */
        {"{\"a\":null,\"long_url\":\"x\",\"b\":[1,{\"long_url\":\"y\"}]}", "x"},
        {"{\"b\":{\"long_url\":\"y\"},\"long_url\":\"x\"}", "x"},
        {"{\"Long_URL\":\"y\",\"long_url\":\"x\",\"long_url \":\"z\"}", "x"},
        {"{\"\":1,\"long_url\":\"x\"}", "x"},
        {"{\"a\":1e400,\"long_url\":\"x\"}", "x"},
        {"{\"a\":123456789012345678901234567890,\"long_url\":\"x\"}", "x"},
        {"{\"a\":-0.0e-0,\"long_url\":\"x\"}", "x"},
        /* The last of repeated members counts. */
        {"{\"long_url\":\"y\",\"long_url\":\"x\"}", "x"},
        {"{\"long_url\":1,\"long_url\":\"x\"}", "x"},
        {"{\"long_url\":\"y\",\"a\":1,\"\\u006cong_url\":\"x\"}", "x"},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_read(JSON, cases[i][0], cases[i][1]);
}

TEST(nul_in_the_string_is_kept)
{
    static const char body[] = "{\"long_url\":\"a\\u0000b\"}";
    assert_read_bytes(JSON, body, sizeof(body) - 1, "a\0b", 3);
}

TEST(what_is_not_the_member_is_named)
{
    static const char *const missing[] = {
        "{}",
        "{\"a\":\"long_url\"}",
        "{\"LONG_URL\":\"x\"}",
        "{\"long_url \":\"x\"}",
    };
    static const char *const no_string[] = {
        "{\"long_url\":null}",
        "{\"long_url\":1}",
        "{\"long_url\":true}",
        "{\"long_url\":[\"x\"]}",
        "{\"long_url\":{\"a\":1}}",
        "{\"long_url\":1.5}",
        "{\"long_url\":\"x\",\"long_url\":null}",
    };
    static const char *const no_object[] = {"\"x\"", "1",    "true",
                                            "1.5e3", "null", " null "};
    for (size_t i = 0; i < COUNT(missing); i++)
        assert_bad(JSON, missing[i], "The long_url is missing");
    for (size_t i = 0; i < COUNT(no_string); i++)
        assert_bad(JSON, no_string[i], "long_url must be a string");
    for (size_t i = 0; i < COUNT(no_object); i++)
        assert_bad(JSON, no_object[i], "must be a JSON object");
}

/* The names of the members that a body has, in their order. */
static void assert_members(const char *type, const char *body,
                           const char *expected)
{
    const struct http_request req = {
        .body = body, .body_len = strlen(body), .content_type = type};
    char detail[BODY_DETAIL_SIZE] = "";
    json_object *members = NULL;
    if (body_read(&req, &members, detail) != 0)
        fail_msg("%s: %s", body, detail);
    assert_string_equal(
        json_object_to_json_string_ext(
            members, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE),
        expected);
    json_object_put(members);
}

TEST(an_array_is_several_links)
{
    static const char *const types[] = {NULL, JSON, "text/plain", FORM};
    struct buf body;
    for (size_t i = 0; i < COUNT(types); i++)
        assert_members(types[i], "\xef\xbb\xbf [{\"long_url\":\"x\"},1]\n",
                       "[{\"long_url\":\"x\"},1]");
    assert_bad(JSON, "[]", "An array must have 1 to 100 links, not 0.");
    buf_init(&body, 1000);
    buf_add_str(&body, "[0");
    for (int i = 1; i < 101; i++)
        buf_add_str(&body, ",0");
    buf_add_str(&body, "]");
    assert_bad(JSON, body.data, "An array must have 1 to 100 links, not 101.");
    buf_truncate(&body, body.len - 3);
    buf_add_str(&body, "]");
    assert_bad(JSON, body.data, "The long_url is missing.");
    buf_free(&body);
}

/* The text of a field becomes what the member wants, where it can. */
TEST(a_form_has_the_members_of_json)
{
    assert_members(FORM,
                   "long_url=http%3A//x/&ttl=60&max_hits=5&title=A+b&tags="
                   "b,+a+,,c&forward_query=on&find_if_exists=off&expires_at="
                   "2030-01-01T00:00:00Z&not_before=1900000000&unknown=1",
                   "{\"long_url\":\"http://x/\",\"ttl\":60,\"max_hits\":5,"
                   "\"title\":\"A b\",\"tags\":[\"b\",\"a\",\"c\"],"
                   "\"forward_query\":true,\"find_if_exists\":false,"
                   "\"expires_at\":\"2030-01-01T00:00:00Z\","
                   "\"not_before\":1900000000}");
    assert_members(FORM, "ttl=&title=&tags=&long_url=",
                   "{\"ttl\":null,\"title\":null,\"tags\":null,\"long_url\":"
                   "\"\"}");
    assert_members(FORM, "ttl=-1&max_hits=1e3&forward_query=1&short_id=123",
                   "{\"ttl\":\"-1\",\"max_hits\":\"1e3\",\"forward_query\":"
                   "\"1\",\"short_id\":\"123\"}");
    assert_bad(FORM, "long_url=x&ttl=1&ttl=2", "The ttl occurs more than once");
    assert_bad(FORM, "long_url=x&max_hits=-1", "max_hits must be an integer");
}

TEST(fields_follow_a_url_without_a_query_that_was_not_encoded)
{
    assert_members(
        FORM, "long_url=https://x/a+b&ttl=60&title=%26",
        "{\"long_url\":\"https://x/a+b\",\"ttl\":60,\"title\":\"&\"}");
    assert_members(FORM, "ttl=60&long_url=https://x/?a",
                   "{\"ttl\":60,\"long_url\":\"https://x/?a\"}");
    assert_bad(FORM, "long_url=https://x/?a&ttl=60", "Encode it");
    assert_bad(FORM, "long_url=https://x/&b=2", "Encode it");
    assert_bad(FORM, "long_url=https://x/&ttl=60&b=2", "Encode it");
    assert_bad(FORM, "long_url=https://x/&", "Encode it");
}

TEST(broken_json_is_bad)
{
    static const char *const broken[] = {
        "{",
        "}",
        "{\"long_url\"}",
        "{\"long_url\":}",
        "{\"long_url\":\"x\"",
        "{\"long_url\":\"x",
        "{\"long_url\":\"x\\",
        "{\"long_url\":\"x\",",
        "{\"long_url\":\"x\",}",
        "{,\"long_url\":\"x\"}",
        "{\"long_url\" \"x\"}",
        "{\"long_url\":\"x\"}}",
        "{\"long_url\":\"x\"} x",
        "{\"long_url\":\"x\"}{}",
        "{\"long_url\":\"x\"},",
        "{\"long_url\":\"x\" \"a\":1}",
        "{long_url:\"x\"}",
        "{\"long_url\":'x'}",
        "{\"long_url\":x}",
        "{\"long_url\":\"\\x41\"}",
        "{\"long_url\":\"\\u12\"}",
        "{\"long_url\":\"\\u12g4\"}",
        "/*c*/{\"long_url\":\"x\"}",
        "{\"long_url\":\"x\"}//c",
        "{\"long_url\":/*c*/\"x\"}",
        "#\n{\"long_url\":\"x\"}",
        "{\"long_url\":\"x\",\"a\":[1,]}",
        "{\"long_url\":\"x\",\"a\":[1 2]}",
        "{\"long_url\":\"x\",\"a\":[1}",
        "{\"long_url\":\"x\",\"a\":tru}",
        "{\"long_url\":\"x\",\"a\":TRUE}",
        "{\"long_url\":\"x\",\"a\":nul}",
        "{\"long_url\":\"x\",\"a\":undefined}",
        "{\"long_url\":\"x\"}\f",
        "\v{\"long_url\":\"x\"}",
    };
    for (size_t i = 0; i < COUNT(broken); i++)
        assert_bad(JSON, broken[i], "The body is not valid JSON");
}

TEST(half_a_surrogate_pair_is_bad)
{
    static const char *const lone[] = {
        "\\ud83d",
        "\\uDBFF",
        "\\ude00",
        "\\uDC00",
        "x\\ud800y",
        "\\ud83d\\ud83d",
        "\\ud83d\\ue000",
        "\\ud83d\\n",
        "\\ud83d \\ude00",
        "\\ude00\\ud83d",
        "\\ud83d\\ude00\\ude00",
        "\\ud83d\\\\ude00",
        "\\ud83d\\u0020",
    };
    static const char *const where[] = {
        "{\"long_url\":\"http://x/%s\"}",
        "{\"long_url\":\"http://x/\",\"title\":\"%s\"}",
        "{\"%s\":1,\"long_url\":\"http://x/\"}",
        "{\"long_url%s\":1,\"long_url\":\"http://x/\"}",
        "{\"a\":[{\"b\":\"%s\"}],\"long_url\":\"http://x/\"}",
    };
    for (size_t w = 0; w < COUNT(where); w++) {
        for (size_t i = 0; i < COUNT(lone); i++) {
            struct buf body;
            const char *place = strstr(where[w], "%s");
            buf_init(&body, 200);
            buf_add(&body, where[w], (size_t)(place - where[w]));
            buf_add_str(&body, lone[i]);
            buf_add_str(&body, place + 2);
            assert_bad(JSON, body.data, "half of a surrogate pair");
            buf_free(&body);
        }
    }
    assert_read(JSON, "{\"\\ud83d\\uDE00\":1,\"long_url\":\"\\uDBFF\\udfff\"}",
                "\xf4\x8f\xbf\xbf");
    assert_read(JSON, "{\"long_url\":\"\\\\ud83d\\ud7ff\\ue000\"}",
                "\\ud83d\xed\x9f\xbf\xee\x80\x80");
}

TEST(a_byte_order_mark_is_skipped)
{
    static const char *const types[] = {NULL, JSON, "text/plain", FORM};
    for (size_t i = 0; i < COUNT(types); i++) {
        assert_read(types[i], "\xef\xbb\xbf{\"long_url\":\"x\"}", "x");
        assert_read(types[i], "\xef\xbb\xbf \n{\"long_url\":\"x\"}", "x");
    }
    assert_read(FORM, "\xef\xbb\xbflong_url=x", "x");
    assert_bad(JSON, "\xef\xbb\xbf\xef\xbb\xbf{\"long_url\":\"x\"}",
               "not valid JSON");
    assert_bad(JSON, " \xef\xbb\xbf{\"long_url\":\"x\"}", "not valid JSON");
    assert_bad(JSON, "{\xef\xbb\xbf\"long_url\":\"x\"}", "not valid JSON");
    assert_bad(JSON, "{\"long_url\":\"x\"}\xef\xbb\xbf", "not valid JSON");
    assert_bad(JSON, "\xef\xbb\xbf", "not valid JSON");
    assert_bad(NULL, "\xef\xbb\xbf", "The body is empty");
}

TEST(what_is_not_utf_8_is_named)
{
    static const struct {
        const char *body;
        size_t len;
    } bodies[] = {
#define BODY(text) {text, sizeof(text) - 1}
        BODY("{\"long_url\":\"http://x/\xfc\"}"), /* Latin-1 */
        BODY("{\"long_url\":\"\xff\"}"),
        BODY("{\"a\":\"\xc0\x80\",\"long_url\":\"x\"}"),
        BODY("{\"a\":\"\xed\xa0\x80\",\"long_url\":\"x\"}"),
        BODY("{\"long_url\":\"\xc3\"}"),
        BODY("{\"long_url\xff\":\"x\"}"),
        BODY("{\"long_url\":\"x\"}\xff"),
        BODY("\xff\xfe{\0\"\0l\0"), /* UTF-16, either byte order */
        BODY("\xfe\xff\0{\0\"\0l"),
        BODY("\xff\xfe\0\0{\0\0\0"), /* UTF-32 */
        BODY("\xef\xbb\xbf{\"long_url\":\"\xfc\"}"),
        BODY("long_url=http://x/\xfc"),
        BODY("long_url=x&a=\xfc"),
        BODY("\x1f\x8b\x08"), /* gzip */
#undef BODY
    };
    static const char *const types[] = {
        NULL, "", JSON, FORM, "text/plain", "application/x+json"};
    for (size_t i = 0; i < COUNT(bodies); i++)
        for (size_t t = 0; t < COUNT(types); t++)
            assert_fails_bytes(types[t], bodies[i].body, bodies[i].len, 400,
                               "not valid UTF-8");
}

TEST(what_is_not_a_number_is_bad)
{
    static const char *const none[] = {
        "nan", "+1", ".5", "0x1", "1e", "1e+", "-", "--1", "1-1", "1e5.5",
    };
    for (size_t i = 0; i < COUNT(none); i++) {
        char *body = mem_printf("{\"long_url\":\"x\",\"a\":%s}", none[i]);
        assert_bad(JSON, body, "The body is not valid JSON");
        mem_free_secret(body);
    }
}

TEST(nul_beside_the_json_is_bad)
{
    static const char behind[] = "{\"long_url\":\"x\"}\0";
    static const char between[] = "{\"long_url\":\0\"x\"}";
    static const char within[] = "{\"long_url\":\"x\0y\"}";
    static const char before[] = "\0{\"long_url\":\"x\"}";
    const char *why = "The body is not valid JSON";
    /* sizeof counts the final NUL, so this body has the one written above. */
    assert_fails_bytes(JSON, behind, sizeof(behind) - 1, 400, why);
    assert_fails_bytes(JSON, between, sizeof(between) - 1, 400, why);
    assert_fails_bytes(JSON, within, sizeof(within) - 1, 400, why);
    assert_fails_bytes(JSON, before, sizeof(before) - 1, 400, why);
}

/* A body whose member "a" nests that many levels of open, closed by close. */
static char *nested(size_t levels, const char *open, char close)
{
    struct buf b;
    buf_init(&b, 1u << 20);
    buf_add_str(&b, "{\"long_url\":\"x\",\"a\":");
    for (size_t i = 0; i < levels; i++)
        buf_add_str(&b, open);
    buf_add_str(&b, "1");
    for (size_t i = 0; close != '\0' && i < levels; i++)
        buf_add_char(&b, close);
    buf_add_str(&b, "}");
    return b.data; /* owned by the caller from here */
}

TEST(nesting_is_bounded)
{
    static const struct {
        size_t levels;
        const char *open;
        char close;
        bool ok;
    } cases[] = {
        {20, "[", ']', true},       {20, "{\"b\":", '}', true},
        {40, "[", ']', false},      {40, "{\"b\":", '}', false},
        {400000, "[", ']', false},  {100000, "{\"b\":", '}', false},
        {900000, "[", '\0', false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *body = nested(cases[i].levels, cases[i].open, cases[i].close);
        if (cases[i].ok)
            assert_read(JSON, body, "x");
        else
            assert_bad(JSON, body, "The body is not valid JSON");
        mem_free_secret(body);
    }
}

TEST(every_cut_of_a_body_is_bad)
{
    static const char body[] =
        "{\"a\":[1,2.5e3,true,null,\"\\u00e9\"],\"long_url\":\"http://x/\"}";
    for (size_t len = 0; len < sizeof(body) - 1; len++)
        assert_fails_bytes(JSON, body, len, 400, "not valid JSON");
    assert_read(JSON, body, "http://x/");
}

/* ---- Forms ----------------------------------------------------------- */

TEST(takes_the_field_decoded_once)
{
    static const char *const cases[][2] = {
        {"long_url=", ""},
        {"long_url", ""},
        {"long_url=a+b%20c", "a b c"},
        {"long_url=%2B%26%3D", "+&="},
        {"long_url=a=b=c", "a=b=c"},
        {"long_url=%2541", "%41"},
        {"long_url=%", "%"},
        {"long_url=%zz", "%zz"},
        {"long_url=%FF\xc3\xbc", "\xff\xc3\xbc"},
        {"%6c%6Fng_url=x", "x"},
        {"a=1&long_url=x&b=2", "x"},
        {"&&long_url=x&&", "x"},
        {"Long_url=y&long_url=x", "x"},
        {"long_url[]=y&long_url=x&long%20url=z", "x"},
        {"long_url%00=y&long_url=x", "x"},
        {"=y&long_url=x&=", "x"},
        {"a&b&long_url=x", "x"},
        {"long_url=a;b", "a;b"},
        {"long_url=x\r\n", "x\r\n"},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        assert_read(FORM, cases[i][0], cases[i][1]);
    assert_read_bytes(FORM, "long_url=a%00b", 14, "a\0b", 3);
    assert_read_bytes(FORM, "long_url=a\0b&c", 14, "a\0b", 3);
}

TEST(a_field_is_there_once)
{
    static const char *const missing[] = {
        "a=1",         "&",          "=",           "long_ur=x",
        "long_urls=x", "LONG_URL=x", " long_url=x", "long%5furl%00=x",
        "a=long_url",  "[1]",
    };
    static const char *const repeated[] = {
        "long_url=x&long_url=x",         "long_url=x&a=1&long_url=y",
        "long_url=x&%6cong_url=y",       "long_url&long_url",
        "long_url=&long_url=&long_url=",
    };
    for (size_t i = 0; i < COUNT(missing); i++)
        assert_bad(FORM, missing[i], "The long_url is missing");
    for (size_t i = 0; i < COUNT(repeated); i++) {
        struct buf out;
        const char *detail;
        assert_int_equal(
            read_bytes(FORM, repeated[i], strlen(repeated[i]), &out, &detail),
            400);
        assert_non_null(strstr(detail, "more than once"));
        buf_free(&out);
    }
}

TEST(a_url_that_was_not_encoded_is_taken_as_it_is)
{
    static const char *const cases[][2] = {
        {"https://x/a+b?c=1+2#d+e", "https://x/a+b?c=1+2#d+e"},
        {"https://x/%2B%26%41%", "https://x/%2B%26%41%"},
        {"https://x/?u=http%3A%2F%2Fy%2F%3Fa%3D1%26b%3D2",
         "https://x/?u=http%3A%2F%2Fy%2F%3Fa%3D1%26b%3D2"},
        {"https://x/?u=http://y/?a+b", "https://x/?u=http://y/?a+b"},
        {"HTTPS:\\\\x\\a+b", "HTTPS:\\\\x\\a+b"},
        {"https://x/;a=b=c", "https://x/;a=b=c"},
        {" https://x/a b\r\n", " https://x/a b\r\n"},
        {"%20https://x/", "%20https://x/"},
        /* Encoded, with another URL inside that is not. */
        {"https%3A%2F%2Fx%2F%3Fu=http://y/+z", "https://x/?u=http://y/ z"},
        {"https%3a//x/a+b", "https://x/a b"},
        {"https:%2F%2Fx/a+b", "https://x/a b"},
        {"https:/%2fx/a+b", "https://x/a b"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *body = mem_printf("long_url=%s", cases[i][0]);
        assert_read(FORM, body, cases[i][1]);
        mem_free_secret(body);
        body = mem_printf("a=b&c&&%%6Cong%%5furl=%s", cases[i][0]);
        assert_read(FORM, body, cases[i][1]);
        mem_free_secret(body);
    }
}

TEST(nothing_follows_a_url_that_was_not_encoded)
{
    static const char *const cut[] = {
        "long_url=https://shop.example/item?id=7&size=xl",
        "long_url=https://x/?a&b",
        "long_url=https://x/?a=1&long_url=2",
        "long_url=https://x/?a=1&amp;b=2",
        "long_url=https://x/?a&",
        "long_url=https://x/?a&&",
        "long_url=https://x/#a&b",
        "long_url=https://x/?u=http%3A%2F%2Fy%2F&b=2",
        "long_url=http:\\\\x?a&b",
        "a=b&long_url=https://x/?a=1&c=d",
    };
    for (size_t i = 0; i < COUNT(cut); i++)
        assert_bad(FORM, cut[i], "Encode it (curl --data-urlencode)");
    assert_read(FORM, "long_url=https%3A//x/%3Fa%26b&size=xl",
                "https://x/?a&b");
}

TEST(thousands_of_fields_end_well)
{
    struct buf b;
    buf_init(&b, 1u << 20);
    for (int i = 0; i < 50000; i++)
        buf_addf(&b, "a%d=%d&", i, i);
    buf_add_str(&b, "long_url=x");
    assert_false(buf_failed(&b));
    assert_read(FORM, b.data, "x");
    buf_free(&b);
}
