/* Routing and redirects, from a request to its answer. */
#include "test.h"

#include <time.h>

#include "app_fixture.h"
#include "base/clock.h"
#include "http/router.h"

EACH_TEST(app_set_up, app_tear_down)

/* curt's own calls come here: a clock that steps, after so many calls. */
static unsigned time_calls;
static time_t time_step;

time_t time(time_t *t)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (time_calls > 0)
        time_calls--;
    else
        now.tv_sec += time_step;
    if (t != NULL)
        *t = now.tv_sec;
    return now.tv_sec;
}

/* ---- Routes ---------------------------------------------------------- */

TEST(each_path_knows_its_methods)
{
    struct fixture *f = *state;
    static const struct {
        const char *method;
        const char *path;
        const char *allow;
    } cases[] = {
        {"GET", "/create", "Allow: POST"},
        {"HEAD", "/create", "Allow: POST"},
        {"PUT", "/create", "Allow: POST"},
        {"OPTIONS", "/create", "Allow: POST"},
        {"post", "/create", "Allow: POST"},
        {"BREW", "/%63reate", "Allow: POST"},
        {"POST", "/t/abc", "Allow: GET, HEAD"},
        {"DELETE", "/t/abc", "Allow: GET, HEAD"},
        {"get", "/t/abc", "Allow: GET, HEAD"},
        {"OPTIONS", "/t/abc", "Allow: GET, HEAD"},
        {"", "/t/abc", "Allow: GET, HEAD"},
        {"POST", "/t/abc+", "Allow: GET, HEAD"},
        {"POST", "/", "Allow: GET, HEAD"},
        {"POST", "/t/", "Allow: GET, HEAD"},
        {"PUT", "/t/style.css", "Allow: GET, HEAD"},
        {"POST", "/robots.txt", "Allow: GET, HEAD"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int status = app_request(f, cases[i].method, cases[i].path);
        if (status != 405 || !app_has_field(f, cases[i].allow))
            fail_msg("%s %s: %d\n%s", cases[i].method, cases[i].path, status,
                     f->res.head.data);
        app_assert_problem(f, "\"status\":405");
    }
    assert_int_equal(f->store.gets + f->store.creates, 0);
}

static const char *const not_ids[] = {
    "",
    "/x/",
    "t/abc",
    "/t",
    "/T/abc",
    "/x/abc",
    "/t//abc",
    "//t/abc",
    "/t/abc/def",
    "/t//",
    "/t/./",
    "/t/.",
    "/t/%20",
    "/t/%E2%80%8B",
    "/t/.abc",
    "/t/%20abc",
    "/t/.qr",
    "/t/abc.qr+",
    "/t/abc..qr",
    "/t/abc.qr/x",
    "/t/abc%09",
    "/t/abc%00.",
    "/t/abc.%00",
    "/t/abc%0a",
    "/t/abc%80%8B",
    "/t/abc%E2%80%8C",
    "/t/abc%C2%A0",
    "/t/abc(",
    "/t/abc*",
    "/t/create.",
    "/t/health/",
    "/t/ui",
    "/t/ui/",
    "/t/favicon.ico",
    "/t/yourls-api.php",
    "/t/.well-known/acme-challenge/abc",
    "/t/abc%2Fdef",
    "/t/a.b",
    "/t/a b",
    "/t/a%20b",
    "/t/abc%00",
    "/t/%00abc",
    "/t/%",
    "/t/%zz",
    "/t/%2561bc",
    "/t/../t/abc",
    "/t/..%2ft/abc",
    "/t/\xc3\xa9",
    "/t/%ff",
    "/t/a;b",
    "/t/robots.txt",
    "/t/create",
    "/t/health",
    "/t/metrics",
    "/t/rest",
    "/create/",
    "/create%00",
    "/Create",
    "/creat",
    "/createx",
    "//create",
    "http://sho.rt/t/abc",
    /* 65 characters */
    "/t/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "/t/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.",
};

TEST(what_cannot_be_an_id_is_not_found)
{
    struct fixture *f = *state;
    static const char *const methods[] = {"GET", "HEAD", "POST", "PUT"};
    for (size_t i = 0; i < COUNT(not_ids); i++) {
        for (size_t m = 0; m < COUNT(methods); m++) {
            int status = app_request(f, methods[m], not_ids[i]);
            if (status != 404)
                fail_msg("%s %s: %d", methods[m], not_ids[i], status);
        }
    }
    assert_int_equal(f->store.gets + f->store.creates, 0);
}

TEST(an_id_is_decoded_once)
{
    struct fixture *f = *state;
    static const char *const paths[][2] = {
        {"/t/p7ISNcD", "p7ISNcD"},     {"/t/%70%37ISNcD", "p7ISNcD"},
        {"/%74/p7ISNcD", "p7ISNcD"},   {"/t%2fp7ISNcD", "p7ISNcD"},
        {"%2Ft%2Fp7ISNcD", "p7ISNcD"}, {"/t/a", "a"},
        {"/t/Create", "Create"},       {"/t/0", "0"},
    };
    for (size_t i = 0; i < COUNT(paths); i++) {
        assert_int_equal(app_request(f, "GET", paths[i][0]), 301);
        assert_string_equal(f->store.asked, paths[i][1]);
    }
}

TEST(what_a_sentence_leaves_after_an_id_is_dropped)
{
    struct fixture *f = *state;
    static const char *const after[] = {
        "/",         ".",
        ",",         ";",
        ":",         "!",
        ")",         "]",
        "}",         ">",
        "\"",        "'",
        "%20",       " ",
        "%E2%80%8B", "\xe2\x80\x8b",
        "%2e",       "%2F",
        "%29",       "%22",
        "%3e",       "%5D",
        "%7d",       "...",
        ").",        ">,",
        "'/%20",     "//",
        "/.",        "%20%20%E2%80%8B.%e2%80%8b%e2%80%8b",
    };
    for (size_t i = 0; i < COUNT(after); i++) {
        char path[80];
        snprintf(path, sizeof(path), "/t/p7ISNcD%s", after[i]);
        f->store.asked[0] = '\0';
        if (app_request(f, "GET", path) != 301)
            fail_msg("%s: %d", path, f->res.status);
        assert_string_equal(f->store.asked, "p7ISNcD");
        assert_int_equal(app_request(f, "HEAD", path), 301);
        assert_int_equal(app_request(f, "POST", path), 405);
        assert_true(app_has_field(f, "Allow: GET, HEAD"));
    }
    assert_int_equal(f->store.hits, COUNT(after));
    /* The longest id, and much of it. */
    struct buf path;
    buf_init(&path, 8000);
    buf_add_str(&path, "/t/");
    for (int i = 0; i < 64; i++)
        buf_add_char(&path, 'a');
    for (int i = 0; i < 2000; i++)
        buf_add_char(&path, '.');
    assert_int_equal(app_request(f, "GET", path.data), 301);
    assert_int_equal(strlen(f->store.asked), 64);
    buf_free(&path);
}

TEST(ids_can_live_at_the_root)
{
    struct fixture *f = *state;
    app_serve_at(f, "https://sho.rt/");
    assert_int_equal(app_request(f, "GET", "/p7ISNcD"), 301);
    assert_string_equal(f->store.asked, "p7ISNcD");
    assert_int_equal(app_request(f, "GET", "/t"), 301);
    assert_int_equal(app_request(f, "GET", "/t/p7ISNcD"), 404);
    assert_int_equal(app_request(f, "GET", "/"), 200);
    assert_int_equal(app_request(f, "GET", "/create"), 405);
    assert_int_equal(app_request(f, "HEAD", "/create"), 405);
    static const char *const routes[] = {
        "/health",      "/metrics",        "/rest",    "/robots.tx",
        "/icon.svg/",   "/yourls-api.php", "/ui",      "/.well-known/",
        "/.well-known", "/create%00",      "/create/", "/create.",
        "/ui.",         "/rest/"};
    unsigned before = f->store.gets;
    for (size_t i = 0; i < COUNT(routes); i++)
        assert_int_equal(app_request(f, "GET", routes[i]), 404);
    assert_int_equal(f->store.gets, before);
    assert_int_equal(app_post(f, "{\"long_url\":\"http://x/\"}"), 200);
    assert_memory_equal(f->res.body.data, "https://sho.rt/", 15);
}

TEST(a_prefix_may_be_encoded_and_deep)
{
    struct fixture *f = *state;
    app_serve_at(f, "https://sho.rt/a/%C3%BC/");
    assert_int_equal(app_request(f, "GET", "/a/%c3%bc/abc"), 301);
    assert_int_equal(app_request(f, "GET", "/a/\xc3\xbc/abc"), 301);
    assert_int_equal(app_request(f, "GET", "/a/u/abc"), 404);
    assert_int_equal(app_request(f, "GET", "/t/abc"), 404);
}

/* ---- Redirects ------------------------------------------------------- */

TEST(a_link_redirects)
{
    struct fixture *f = *state;
    f->store.long_url = "https://example.com/?a=1&b='\"<x>#'";
    assert_int_equal(app_request(f, "GET", "/t/abc"), 301);
    assert_true(
        app_has_field(f, "Location: https://example.com/?a=1&b='%22%3Cx%3E#'"));
    assert_true(app_has_field(f, "Cache-Control: private, max-age=90"));
    assert_true(app_has_field(f, "Content-Type: text/html; charset=utf-8"));
    assert_non_null(strstr(f->res.body.data,
                           "<a href=\"https://example.com/?a=1&amp;b=&#39;"
                           "%22%3Cx%3E#&#39;\">"));
    assert_int_equal(f->store.hits, 1);
}

TEST(only_a_get_that_was_sent_on_is_a_hit)
{
    struct fixture *f = *state;
    assert_int_equal(app_request(f, "HEAD", "/t/abc"), 301);
    assert_true(app_has_field(f, "Location: https://example.com/"));
    assert_int_equal(f->store.hits, 0);
    f->store.get_result = RESULT_NOT_FOUND;
    assert_int_equal(app_request(f, "GET", "/t/abc"), 404);
    f->store.get_result = RESULT_CORRUPT;
    assert_int_equal(app_request(f, "GET", "/t/abc"), 500);
    f->store.get_result = RESULT_UNAVAILABLE;
    assert_int_equal(app_request(f, "GET", "/t/abc"), 503);
    f->store.get_result = RESULT_OK;
    f->store.ttl = 1;
    assert_int_equal(app_request(f, "GET", "/t/abc"), 410);
    f->store.ttl = LINK_NEVER;
    f->store.long_url = "nonsense";
    assert_int_equal(app_request(f, "GET", "/t/abc"), 500);
    assert_int_equal(f->store.hits, 0);
}

TEST(a_hit_that_is_lost_keeps_nobody_waiting)
{
    struct fixture *f = *state;
    for (enum result r = RESULT_NOT_FOUND; r <= RESULT_INTERNAL; r++) {
        f->store.hit_result = r;
        assert_int_equal(app_request(f, "GET", "/t/abc"), 301);
        assert_true(app_has_field(f, "Location: https://example.com/"));
    }
}

TEST(each_result_of_get_has_its_status)
{
    struct fixture *f = *state;
    static const struct {
        enum result r;
        int status;
    } cases[] = {
        {RESULT_NOT_FOUND, 404},   {RESULT_CONFLICT, 503},
        {RESULT_INVALID, 503},     {RESULT_CORRUPT, 500},
        {RESULT_DENIED, 503},      {RESULT_THROTTLED, 503},
        {RESULT_UNAVAILABLE, 503}, {RESULT_UNKNOWN, 503},
        {RESULT_INTERNAL, 503},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        f->store.get_result = cases[i].r;
        assert_int_equal(app_request(f, "GET", "/t/abc"), cases[i].status);
        app_assert_problem(f, "\"detail\":");
        assert_int_equal(app_has_field(f, "Retry-After: 2"),
                         cases[i].status == 503);
        /* The store's own text is for the log only. */
        assert_null(strstr(f->res.body.data, "told"));
    }
    assert_int_equal(f->store.hits, 0);
}

/* Expired when it was read from the store, and not any more when the answer is
 * made; and its URL cannot be served. */
TEST(redirect_has_a_target_though_the_clock_goes_back)
{
    struct fixture *f = *state;
    unsigned damaged = 0;
    f->store.long_url = "javascript:alert(1)";
    f->store.ttl = clock_now() - 1800;
    time_step = -3600;
    for (unsigned calls = 0; calls <= 5; calls++) {
        time_calls = calls;
        const int status = app_request(f, "GET", "/t/abc");
        assert_true(status == 410 || status == 500);
        damaged += status == 500;
    }
    time_step = 0;
    time_calls = 0;
    /* Also when it was read before the clock went back. */
    assert_true(damaged >= 2);
}

TEST(an_expired_link_is_gone)
{
    struct fixture *f = *state;
    static const int64_t gone[] = {-1, 0, -3600};
    for (size_t i = 0; i < COUNT(gone); i++) {
        f->store.ttl = clock_now() + gone[i];
        assert_int_equal(app_request(f, "GET", "/t/abc"), 410);
        app_assert_problem(f, "This link has expired.");
        assert_int_equal(app_request(f, "HEAD", "/t/abc"), 410);
    }
    /* It is gone, not damaged, whatever it led to. */
    f->store.long_url = "nonsense";
    assert_int_equal(app_request(f, "GET", "/t/abc"), 410);
    f->store.ttl = INT64_MIN;
    assert_int_equal(app_request(f, "GET", "/t/abc"), 410);
}

TEST(no_browser_keeps_it_beyond_its_end)
{
    struct fixture *f = *state;
    static const struct {
        int64_t left;
        int low, high;
    } cases[] = {
        {3, 1, 3}, {50, 45, 50}, {90, 85, 90}, {91, 86, 90}, {3600, 90, 90}};
    for (size_t i = 0; i < COUNT(cases); i++) {
        int age = -1;
        f->store.ttl = clock_now() + cases[i].left;
        assert_int_equal(app_request(f, "GET", "/t/abc"), 301);
        const char *field = strstr(f->res.head.data, "private, max-age=");
        assert_non_null(field);
        assert_int_equal(sscanf(field, "private, max-age=%d\r\n", &age), 1);
        assert_in_range(age, cases[i].low, cases[i].high);
    }
}

TEST(a_link_of_another_hand_is_made_safe)
{
    struct fixture *f = *state;
    static const char *const cases[][2] = {
        {"HTTP://EXAMPLE.com/A b", "Location: http://example.com/A%20b"},
        {" http://x/ ", "Location: http://x/"},
        {"http://x/\n", "Location: http://x/"},
        {"http://x/\xc3\xbc", "Location: http://x/%C3%BC"},
        {"http://m\xc3\xbcnchen.de/", "Location: http://xn--mnchen-3ya.de/"},
        {"http://x/a|b[c]?d{e}^%",
         "Location: http://x/a%7Cb%5Bc%5D?d%7Be%7D%5E%25"},
        {"http:\\\\x\\y", "Location: http://x/y"},
        {"http://0x7f.1/", "Location: http://127.0.0.1/"},
        {"http://xn--ls8h.la/", "Location: http://xn--ls8h.la/"},
    };
    static const char *const unusable[] = {
        "",
        "example.com",
        "javascript:alert(1)",
        "http://x/\r\nSet-Cookie: a=b",
        "http://x/\r\n\r\n<script>",
        "http://u:p@x/",
        "http://x/\xff",
        "ftp://x/",
        "http://x\\@y/\n/",
        "http://256.1.1.1/",
        "http://a\xe2\x80\x8dx.example/",
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        f->store.long_url = cases[i][0];
        assert_int_equal(app_request(f, "GET", "/t/abc"), 301);
        if (!app_has_field(f, cases[i][1]))
            fail_msg("%s: %s", cases[i][0], f->res.head.data);
    }
    for (size_t i = 0; i < COUNT(unusable); i++) {
        f->store.long_url = unusable[i];
        assert_int_equal(app_request(f, "GET", "/t/abc"), 500);
        app_assert_problem(f, "This link cannot be served.");
    }
}

TEST(only_creates_take_a_body)
{
    static const struct {
        enum http_method method;
        const char *path;
        bool takes;
    } cases[] = {
        {HTTP_POST, "/create", true},   {HTTP_GET, "/create", false},
        {HTTP_HEAD, "/create", false},  {HTTP_OTHER, "/create", false},
        {HTTP_POST, "/t/abc", false},   {HTTP_GET, "/t/abc", false},
        {HTTP_POST, "/create/", false}, {HTTP_POST, "", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        const struct http_request req = {.method = cases[i].method,
                                         .path = cases[i].path,
                                         .path_len = strlen(cases[i].path)};
        if (router_takes_body(&req) != cases[i].takes)
            fail_msg("case %zu: %s", i, cases[i].path);
    }
}
