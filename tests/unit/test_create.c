/* POST /create, from a request to what is stored and answered. */
#include "test.h"

#include <json-c/json.h>

#include "app_fixture.h"
#include "base/clock.h"
#include "base/mem.h"

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

/* What a member of the request does to the link. */
TEST(members_are_stored)
{
    struct fixture *f = *state;
    const struct link *l = &f->store.stored;
    f->conf.link_ttl = 0;
    assert_int_equal(
        app_post(f, "{\"long_url\":\"http://x/\",\"short_id\":\"My-alias_1\","
                    "\"ttl\":3600,\"not_before\":\"2020-01-01T00:00:00Z\","
                    "\"max_hits\":5,\"redirect_status\":307,"
                    "\"forward_query\":true,\"title\":\"\\u00fc \\\"x\\\"\","
                    "\"tags\":[\"b\",\"a\",\"b\"],\"key\":\"no\",\"hits\":9,"
                    "\"disabled\":true}"),
        200);
    assert_string_equal(l->short_id, "My-alias_1");
    assert_string_equal(l->short_url, "https://sho.rt/t/My-alias_1");
    assert_in_range(l->ttl - clock_now(), 3595, 3600);
    assert_int_equal(l->rules.not_before, 1577836800);
    assert_int_equal(l->rules.max_hits, 5);
    assert_int_equal(l->rules.redirect_status, 307);
    assert_true(l->rules.forward_query);
    assert_string_equal(l->title, "\xc3\xbc \"x\"");
    assert_string_equal(l->tags, "[\"a\",\"b\"]");
    /* These are not the client's. */
    assert_null(l->key);
    assert_int_equal(l->hits, 0);
    assert_false(l->rules.disabled);
    /* null, and what is empty, is as if it were not there. */
    f->store.creates = 0;
    f->conf.link_ttl = 100;
    assert_int_equal(
        app_post(f,
                 "{\"long_url\":\"http://x/\",\"short_id\":null,\"ttl\":null,"
                 "\"max_hits\":null,\"title\":\"\",\"tags\":[],"
                 "\"forward_query\":null,\"expires_at\":null}"),
        200);
    assert_int_equal(strlen(l->short_id), 7);
    assert_in_range(l->ttl - clock_now(), 95, 100);
    assert_int_equal(l->rules.max_hits, 0);
    assert_null(l->title);
    assert_null(l->tags);
    static const char *const never[] = {"\"ttl\":0",
                                        "\"ttl\":0,\"expires_at\":null"};
    for (size_t i = 0; i < COUNT(never); i++) {
        char *body = mem_printf("{\"long_url\":\"http://x/\",%s}", never[i]);
        f->store.creates = 0;
        assert_int_equal(app_post(f, body), 200);
        assert_true(l->ttl == LINK_NEVER);
        free(body);
    }
    f->store.creates = 0;
    assert_int_equal(app_post(f, "{\"long_url\":\"http://x/\",\"expires_at\":"
                                 "\"2099-12-31T23:00:00+01:00\"}"),
                     200);
    assert_int_equal(l->ttl, 4102437600);
}

TEST(members_that_are_refused_are_named)
{
    struct fixture *f = *state;
    static const char long_id[] =
        "\"short_id\":\"0123456789012345678901234567890123456789012345678901234"
        "567890abcde\"";
    static const char *const cases[][2] = {
        {"\"short_id\":7", "The short_id must be 1 to 64 letters"},
        {"\"short_id\":\"\"", "The short_id must be 1 to 64 letters"},
        {"\"short_id\":\"a.b\"", "The short_id must be 1 to 64 letters"},
        {"\"short_id\":\"a\\u0000\"", "The short_id must be 1 to 64 letters"},
        {"\"short_id\":\"\\u00fc\"", "The short_id must be 1 to 64 letters"},
        {long_id, "The short_id must be 1 to 64 letters"},
        {"\"short_id\":\"health\"", "The short_id is a reserved word"},
        {"\"ttl\":-1", "The ttl must be a number of seconds from 0 to 31557"},
        {"\"ttl\":3155760001", "The ttl must be a number of seconds"},
        {"\"ttl\":\"60\"", "The ttl must be a number of seconds"},
        {"\"ttl\":60.5", "The ttl must be a number of seconds"},
        {"\"ttl\":1e99", "The ttl must be a number of seconds"},
        {"\"ttl\":60,\"expires_at\":4102437600",
         "The ttl cannot be combined with expires_at."},
        {"\"expires_at\":1", "The expires_at must be in the future."},
        {"\"expires_at\":\"2020-01-01T00:00:00Z\"", "must be in the future."},
        {"\"expires_at\":\"tomorrow\"",
         "The expires_at must be an RFC 3339 ti"},
        {"\"expires_at\":4102437600000",
         "The expires_at must be an RFC 3339 t"},
        {"\"not_before\":-1", "The not_before must be an RFC 3339 time, such"},
        {"\"not_before\":\"2030-02-30T00:00:00Z\"",
         "The not_before must be an"},
        {"\"not_before\":4102437600",
         "The not_before must be before the link expires."},
        {"\"max_hits\":0", "The max_hits must be an integer from 1 to 1000000"},
        {"\"max_hits\":1000000001", "The max_hits must be an integer"},
        {"\"max_hits\":true", "The max_hits must be an integer"},
        {"\"redirect_status\":303", "must be 301, 302, 307 or 308."},
        {"\"redirect_status\":\"301\"", "must be 301, 302, 307 or 308."},
        {"\"forward_query\":1", "The forward_query must be true or false."},
        {"\"find_if_exists\":\"yes\"", "The find_if_exists must be true or "},
        {"\"title\":7", "The title must be a string of at most 512 bytes"},
        {"\"title\":\"a\\nb\"", "The title must be a string"},
        {"\"title\":\"a\\u202eb\"", "The title must be a string"},
        {"\"tags\":\"a\"", "The tags must be an array of at most 32 strings"},
        {"\"tags\":[\"a\",1]", "The tags must be an array"},
        {"\"tags\":[\"\"]", "The tags must be an array"},
        {"\"tags\":[\"a,b\"]", "The tags must be an array"},
        {"\"tags\":[\"a\\u0000\"]", "The tags must be an array"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *body = mem_printf("{\"long_url\":\"http://x/\",%s}", cases[i][0]);
        if (app_post(f, body) != 400)
            fail_msg("%s: %d", body, f->res.status);
        app_assert_problem(f, cases[i][1]);
        free(body);
    }
    assert_int_equal(f->store.creates, 0);
}

TEST(limits_of_texts_and_tags)
{
    struct fixture *f = *state;
    char *text = mem_alloc(LINK_TITLE_MAX + 2);
    for (size_t extra = 0; extra < 2; extra++) {
        memset(text, 'x', LINK_TITLE_MAX + 1);
        text[LINK_TITLE_MAX + extra] = '\0';
        char *body =
            mem_printf("{\"long_url\":\"http://x/\",\"title\":\"%s\"}", text);
        assert_int_equal(app_post(f, body), extra == 0 ? 200 : 400);
        free(body);
    }
    text[LINK_TAG_MAX] = '\0';
    for (int count = 32; count <= 33; count++) {
        struct buf body;
        buf_init(&body, 10000);
        buf_addf(&body, "{\"long_url\":\"http://x/\",\"tags\":[\"%s\"", text);
        for (int i = 1; i < count; i++)
            buf_addf(&body, ",\"%d\"", i);
        buf_add_str(&body, "]}");
        f->store.creates = 0;
        assert_int_equal(app_post(f, body.data), count == 32 ? 200 : 400);
        buf_free(&body);
    }
    free(text);
}

TEST(ids_of_one_case)
{
    struct fixture *f = *state;
    f->conf.case_insensitive = 1;
    assert_int_equal(
        app_post(f, "{\"long_url\":\"http://x/\",\"short_id\":\"ABC-d\"}"),
        200);
    assert_string_equal(f->store.stored.short_id, "abc-d");
    assert_string_equal(f->res.body.data, "https://sho.rt/t/abc-d");
    assert_int_equal(
        app_post(f, "{\"long_url\":\"http://x/\",\"short_id\":\"Create\"}"),
        400);
    for (int i = 0; i < 50; i++) {
        f->store.creates = 0;
        assert_int_equal(app_post(f, "{\"long_url\":\"http://x/\"}"), 200);
        assert_int_equal(strspn(f->store.stored.short_id,
                                "abcdefghijklmnopqrstuvwxyz0123456789"),
                         7);
    }
}

TEST(an_alias_that_is_taken_is_409)
{
    struct fixture *f = *state;
    f->store.create_conflicts = 1;
    assert_int_equal(
        app_post(f, "{\"long_url\":\"http://x/\",\"short_id\":\"a\"}"), 409);
    app_assert_problem(f, "The short_id is taken; choose another.");
    assert_int_equal(f->store.creates, 1);
}

/* The status of each result, and its text. */
static void assert_results(struct fixture *f, const char *body,
                           const char *expected)
{
    struct buf found;
    buf_init(&found, 10000);
    assert_int_equal(app_post(f, body), 200);
    assert_true(app_has_field(f, "Content-Type: application/json"));
    assert_true(app_has_field(f, "Cache-Control: no-store"));
    json_object *results = json_tokener_parse(f->res.body.data);
    assert_true(json_object_is_type(results, json_type_array));
    for (size_t i = 0; i < json_object_array_length(results); i++) {
        json_object *result = json_object_array_get_idx(results, i), *link;
        const int status = (int)strtol(member(result, "status"), NULL, 10);
        if (status == 200) {
            assert_true(json_object_object_get_ex(result, "link", &link));
            buf_addf(&found, "200 %s\n", member(link, "long_url"));
        } else {
            buf_addf(&found, "%d %s: %s\n", status, member(result, "title"),
                     member(result, "detail"));
        }
    }
    json_object_put(results);
    assert_string_equal(found.data, expected);
    buf_free(&found);
}

TEST(each_link_of_an_array_has_its_result)
{
    struct fixture *f = *state;
    f->req.accept = "text/html";
    assert_results(f,
                   "[{\"long_url\":\"http://x/1\"},{\"long_url\":\"ftp://x\"},"
                   "7,{\"long_url\":\"http://x/2\",\"title\":3},"
                   "{\"long_url\":\"http://x/3\"}]",
                   "200 http://x/1\n"
                   "400 Bad Request: The long_url is not an absolute http or "
                   "https URL.\n"
                   "400 Bad Request: The long_url is missing.\n"
                   "400 Bad Request: The title must be a string of at most 512 "
                   "bytes without control characters.\n"
                   "200 http://x/3\n");
    assert_int_equal(f->store.creates, 2);
    /* Only the ids that were taken are drawn again. */
    f->store.creates = 0;
    f->store.create_conflicts = 1;
    assert_results(
        f, "[{\"long_url\":\"http://x/1\"},{\"long_url\":\"http://x/2\"}]",
        "200 http://x/1\n200 http://x/2\n");
    assert_int_equal(f->store.creates, 3);
    assert_string_equal(f->store.stored.long_url, "http://x/1");
    f->store.creates = 0;
    assert_results(f,
                   "[{\"long_url\":\"http://x/1\",\"short_id\":\"a\"},"
                   "{\"long_url\":\"http://x/2\",\"short_id\":\"b\"}]",
                   "409 Conflict: The short_id is taken; choose another.\n"
                   "200 http://x/2\n");
    f->store.creates = 0;
    f->store.create_conflicts = 0;
    f->store.create_result = RESULT_UNAVAILABLE;
    assert_results(f, "[{\"long_url\":\"http://x/1\"}]",
                   "503 Service Unavailable: " H_STORE_FAILED "\n");
}

TEST(an_idempotency_key_is_checked)
{
    struct fixture *f = *state;
    static const char *const bad[] = {"", "a\tb", "\xc3\xbc", "\x7f"};
    char *key = mem_alloc(CREATE_KEY_MAX + 2);
    for (size_t i = 0; i < COUNT(bad); i++) {
        f->req.idempotency_key = bad[i];
        assert_int_equal(app_post(f, "{\"long_url\":\"http://x/\"}"), 400);
        app_assert_problem(f, "The Idempotency-Key must be 1 to 255 printable");
    }
    memset(key, 'x', CREATE_KEY_MAX + 1);
    key[CREATE_KEY_MAX + 1] = '\0';
    f->req.idempotency_key = key;
    assert_int_equal(app_post(f, "{\"long_url\":\"http://x/\"}"), 400);
    app_assert_problem(f, "The Idempotency-Key must be 1 to 255");
    key[CREATE_KEY_MAX] = '\0';
    assert_int_equal(app_post(f, "[{\"long_url\":\"http://x/\"}]"), 400);
    app_assert_problem(f, "An Idempotency-Key is for one link.");
    assert_int_equal(app_post(f, "{\"long_url\":\"http://x/\","
                                 "\"find_if_exists\":true}"),
                     400);
    app_assert_problem(f, "The Idempotency-Key cannot be combined with");
    assert_int_equal(f->store.creates, 0);
    free(key);
}

TEST(a_link_that_exists_is_durable_before_it_is_answered)
{
    struct fixture *f = *state;
    const char *body = "{\"long_url\":\"http://x/\",\"short_id\":\"mine\","
                       "\"find_if_exists\":true}";
    f->store.create_result = RESULT_CONFLICT;
    f->store.long_url = "http://x/";
    assert_int_equal(app_post(f, body), 200);
    assert_int_equal(f->store.settled, 1);
    f->store.creates = 0;
    f->store.settle_result = RESULT_UNKNOWN;
    assert_int_equal(app_post(f, body), 503);
    assert_int_equal(f->store.settled, 2);
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
