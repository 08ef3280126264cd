/* POST /create, from a request to what is stored and answered. */
#include "test.h"

#include <json-c/json.h>

#include "app_fixture.h"
#include "base/clock.h"

EACH_TEST(app_set_up, app_tear_down)

TEST(a_create_answers_with_the_short_url)
{
    struct fixture *f = *state;
    assert_int_equal(app_post(f, "{\"long_url\":\" http://EXAMPLE.com/ \"}"),
                     200);
    assert_true(app_has_field(f, "Content-Type: text/plain; charset=utf-8"));
    assert_true(app_has_field(f, "Cache-Control: no-store"));
    assert_int_equal(f->res.body.len, strlen("https://sho.rt/t/") + 7);
    const struct link *l = &f->store.stored;
    assert_string_equal(f->res.body.data, l->short_url);
    assert_memory_equal(l->short_url, "https://sho.rt/t/", 17);
    assert_string_equal(l->short_url + 17, l->short_id);
    assert_string_equal(l->long_url, "http://example.com/");
    assert_int_equal(l->hits, 0);
    assert_int_equal(f->store.creates, 1);
    assert_int_equal(f->store.gets, 0);
}

static json_object *parse(const char *text)
{
    json_object *object = json_tokener_parse(text);
    assert_true(json_object_is_type(object, json_type_object));
    return object;
}

static const char *member(json_object *object, const char *name)
{
    json_object *value = NULL;
    if (!json_object_object_get_ex(object, name, &value))
        fail_msg("no member %s", name);
    return json_object_get_string(value);
}

TEST(a_program_gets_the_link_as_an_object)
{
    struct fixture *f = *state;
    static const struct {
        const char *accept;
        bool json;
    } cases[] = {
        {NULL, false},
        {"*/*", false},
        {"application/json", true},
        {"application/json, text/plain, */*", true},
        {"text/plain, application/json;q=0.9", false},
        {"application/json;q=0", false},
        {"application/*", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        f->req.accept = cases[i].accept;
        f->store.creates = 0;
        assert_int_equal(app_post(f, "{\"long_url\":\"http://x/\"}"), 200);
        assert_int_equal(app_has_field(f, "Content-Type: application/json"),
                         cases[i].json);
        if (!cases[i].json)
            continue;
        const struct link *l = &f->store.stored;
        json_object *link = parse(f->res.body.data);
        assert_string_equal(member(link, "short_id"), l->short_id);
        assert_string_equal(member(link, "short_url"), l->short_url);
        assert_string_equal(member(link, "long_url"), "http://x/");
        assert_string_equal(member(link, "created_at"), l->created_at);
        json_object *ttl = NULL;
        assert_true(json_object_object_get_ex(link, "ttl", &ttl));
        assert_int_equal(json_object_get_int64(ttl), l->ttl);
        json_object_put(link);
    }
}

TEST(a_link_lives_as_long_as_link_ttl)
{
    struct fixture *f = *state;
    static const uint64_t ttls[] = {1, 604800, 3155760000};
    for (size_t i = 0; i < COUNT(ttls); i++) {
        f->conf.link_ttl = ttls[i];
        f->store.creates = 0;
        int64_t now = clock_now();
        assert_int_equal(app_post(f, "{\"long_url\":\"http://x/\"}"), 200);
        int64_t age = f->store.stored.ttl - (int64_t)ttls[i] - now;
        assert_in_range(age, 0, 5);
        char text[CLOCK_TEXT_SIZE];
        clock_text(now + age, text);
        assert_string_equal(f->store.stored.created_at, text);
    }
    f->conf.link_ttl = 0;
    f->store.creates = 0;
    assert_int_equal(app_post(f, "{\"long_url\":\"http://x/\"}"), 200);
    assert_true(f->store.stored.ttl == LINK_NEVER);
}

TEST(who_made_it_is_stored)
{
    struct fixture *f = *state;
    f->req.user_agent = "curl/7.88.1 \"\xff";
    f->req.remote_addr = "192.0.2.7";
    assert_int_equal(
        app_post(f, "{\"long_url\":\"http://x/?a=b+c&source_ip=no\"}"), 200);
    json_object *map = parse(f->store.stored.analytics);
    assert_int_equal(json_object_object_length(map), 4);
    assert_string_equal(member(map, "user_agent"),
                        "curl/7.88.1 \"\xef\xbf\xbd");
    assert_string_equal(member(map, "source_ip"), "192.0.2.7");
    assert_string_equal(member(map, "xray_trace_id"), "Root=1-2-3");
    assert_string_equal(member(map, "a"), "b c");
    json_object_put(map);
}

TEST(an_id_that_is_taken_is_drawn_again)
{
    struct fixture *f = *state;
    for (unsigned taken = 1; taken < CREATE_DRAWS; taken++) {
        f->store.creates = 0;
        f->store.create_conflicts = taken;
        assert_int_equal(app_post(f, "{\"long_url\":\"http://x/\"}"), 200);
        assert_int_equal(f->store.creates, taken + 1);
        assert_string_equal(f->res.body.data, f->store.stored.short_url);
        assert_string_equal(f->store.stored.short_url + 17,
                            f->store.drawn[taken]);
        for (unsigned i = 0; i < taken; i++)
            assert_string_not_equal(f->store.drawn[i], f->store.drawn[i + 1]);
    }
}

TEST(eight_ids_taken_mean_a_full_id_space)
{
    struct fixture *f = *state;
    f->conf.min_char = 3;
    f->conf.max_char = 5;
    f->store.create_conflicts = CREATE_DRAWS;
    assert_int_equal(app_post(f, "{\"long_url\":\"http://x/\"}"), 503);
    app_assert_problem(f, "No free short id was found");
    assert_true(app_has_field(f, "Retry-After: 2"));
    assert_int_equal(f->store.creates, 8);
    /* None is longer than MAX_CHAR. */
    for (unsigned i = 0; i < CREATE_DRAWS; i++)
        assert_in_range(strlen(f->store.drawn[i]), 3, 5);
}

TEST(each_result_of_create_has_its_status)
{
    struct fixture *f = *state;
    static const enum result failures[] = {
        RESULT_INVALID,   RESULT_NOT_FOUND,   RESULT_CORRUPT, RESULT_DENIED,
        RESULT_THROTTLED, RESULT_UNAVAILABLE, RESULT_UNKNOWN, RESULT_INTERNAL,
    };
    for (size_t i = 0; i < COUNT(failures); i++) {
        f->store.creates = 0;
        f->store.create_result = failures[i];
        assert_int_equal(app_post(f, "{\"long_url\":\"http://x/\"}"), 503);
        app_assert_problem(f, "\"detail\":");
        assert_true(app_has_field(f, "Retry-After: 2"));
        /* What may be stored is not tried again under another id. */
        assert_int_equal(f->store.creates, 1);
    }
}

TEST(a_url_that_is_refused_is_not_stored)
{
    struct fixture *f = *state;
    static const struct {
        const char *body;
        const char *why;
    } cases[] = {
        {"{\"long_url\":\"\"}", "long_url is empty"},
        {"{\"long_url\":\"ftp://x/\"}",
         "long_url is not an absolute http or https URL"},
        {"{\"long_url\":\"http://x/\\u0000\"}",
         "long_url has a control character in it"},
        {"{\"long_url\":\"http://x/a\\r\\nSet-Cookie: b\"}",
         "long_url has a control character in it"},
        {"{\"long_url\":\"http://u@x/\"}",
         "long_url has user information in it"},
        {"{\"long_url\":\"https://sho.rt/t/abc\"}",
         "long_url leads back to this shortener"},
        {"{\"long_url\":\"HTTP://SHO.RT.:80/x/%2e%2e/%74/abc\"}",
         "long_url leads back to this shortener"},
        {"{}", "The long_url is missing"},
        {"{\"long_url\":7}", "The long_url must be a string"},
        {"{", "The body is not valid JSON"},
        {"", "The body is empty"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        assert_int_equal(app_post(f, cases[i].body), 400);
        app_assert_problem(f, cases[i].why);
    }
    assert_int_equal(f->store.creates, 0);
}

TEST(other_bodies_have_their_own_status)
{
    struct fixture *f = *state;
    f->req.content_type = "text/html";
    assert_int_equal(app_post(f, "{\"long_url\":\"http://x/\"}"), 415);
    app_assert_problem(f, "\"status\":415");
    f->req.content_type = NULL;
    f->req.body_fault = 413;
    assert_int_equal(app_post(f, ""), 413);
    app_assert_problem(f, "larger than 65536 bytes");
    f->req.body_fault = 400;
    assert_int_equal(app_post(f, ""), 400);
    app_assert_problem(f, "ended early");
    /* The body of another request does not matter to it. */
    assert_int_equal(app_request(f, "GET", "/t/abc"), 301);
    assert_int_equal(f->store.creates, 0);
}

/* A HUP may lower it when the body has come already. */
TEST(a_lower_max_body_cuts_no_body_that_came)
{
    struct fixture *f = *state;
    f->conf.max_body = 8;
    assert_int_equal(
        app_post(f, "{\"long_url\":\"http://x/0123456789abcdefghij\"}"), 200);
    assert_string_equal(f->store.stored.long_url,
                        "http://x/0123456789abcdefghij");
}

TEST(the_longest_url_is_redirected_as_it_was_stored)
{
    struct fixture *f = *state;
    struct buf body, field;
    buf_init(&body, 65536);
    buf_init(&field, 65536);
    buf_add_str(&body, "{\"long_url\":\"http://x/");
    for (int i = 0; i < 7991; i++)
        buf_add_char(&body, '\'');
    buf_add_str(&body, "\"}");
    assert_int_equal(app_post(f, body.data), 200);
    assert_int_equal(strlen(f->store.stored.long_url), 8000);
    f->store.long_url = f->store.stored.long_url;
    assert_int_equal(app_request(f, "GET", "/t/abc"), 301);
    buf_addf(&field, "Location: %s", f->store.stored.long_url);
    assert_true(app_has_field(f, field.data));
    buf_free(&body);
    buf_free(&field);
}

TEST(a_page_of_another_site_creates_nothing)
{
    struct fixture *f = *state;
    static const struct {
        const char *site;
        const char *origin;
        int status;
    } cases[] = {
        {NULL, NULL, 200}, /* no browser */
        {"same-origin", "https://sho.rt", 200},
        {"same-origin", NULL, 200},
        {"none", NULL, 200},
        /* Another front of the same curt: the browser knows. */
        {"same-origin", "https://links.example", 200},
        {"cross-site", "https://evil.example", 403},
        {"cross-site", "https://sho.rt", 403},
        {"cross-site", "null", 403},
        {"cross-site", NULL, 403},
        {"same-site", "https://blog.sho.rt", 403},
        {"", NULL, 403},
        {"Same-Origin", NULL, 403},
        {"same-origin, cross-site", NULL, 403},
        /* A browser without Sec-Fetch-Site. */
        {NULL, "https://sho.rt", 200},
        {NULL, "https://sho.rt:443", 200},
        {NULL, "http://sho.rt", 403},
        {NULL, "https://sho.rt:8443", 403},
        {NULL, "https://blog.sho.rt", 403},
        {NULL, "https://evil.example", 403},
        {NULL, "null", 403},
        {NULL, "", 403},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        f->req.sec_fetch_site = cases[i].site;
        f->req.origin = cases[i].origin;
        f->store.creates = 0;
        int status = app_post(f, "{\"long_url\":\"http://x/\"}");
        if (status != cases[i].status)
            fail_msg("%s, %s: %d", cases[i].site, cases[i].origin, status);
        assert_int_equal(f->store.creates, status == 200);
        if (status == 403)
            app_assert_problem(f, "\"title\":\"Forbidden\"");
        /* A link is followed from anywhere. */
        assert_int_equal(app_request(f, "GET", "/t/abc"), 301);
    }
}
