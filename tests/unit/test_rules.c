/* What the rules of a link do when it is followed. */
#include "test.h"

#include "app_fixture.h"
#include "base/clock.h"
#include "base/mem.h"

EACH_TEST(app_set_up, app_tear_down)

/* The whole field of the answer's head, or NULL. */
static bool has_location(const struct fixture *f, const char *url)
{
    char *line = mem_printf("Location: %s", url);
    const bool found = app_has_field(f, line);
    free(line);
    return found;
}

TEST(a_redirect_has_the_status_of_its_link)
{
    struct fixture *f = *state;
    static const struct {
        uint64_t own;
        int configured; /* as REDIRECT_STATUS is stored */
        int status;
        const char *cache;
    } cases[] = {
        {0, 0, 301, "Cache-Control: private, max-age=90"},
        {0, 1, 302, "Cache-Control: private, no-cache"},
        {0, 2, 307, "Cache-Control: private, no-cache"},
        {0, 3, 308, "Cache-Control: private, max-age=90"},
        {301, 1, 301, "Cache-Control: private, max-age=90"},
        {302, 0, 302, "Cache-Control: private, no-cache"},
        {307, 0, 307, "Cache-Control: private, no-cache"},
        {308, 0, 308, "Cache-Control: private, max-age=90"},
        /* Of another program. */
        {200, 0, 301, "Cache-Control: private, max-age=90"},
        {(1ull << 32) + 302, 0, 301, "Cache-Control: private, max-age=90"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        f->conf.redirect_status = cases[i].configured;
        f->store.rules.redirect_status = cases[i].own;
        assert_int_equal(app_request(f, "GET", "/t/abc"), cases[i].status);
        assert_true(app_has_field(f, cases[i].cache));
        assert_true(has_location(f, "https://example.com/"));
        assert_non_null(
            strstr(f->res.body.data, "<a href=\"https://example.com/\">"));
        assert_int_equal(app_request(f, "HEAD", "/t/abc"), cases[i].status);
    }
    assert_int_equal(f->store.hits, COUNT(cases));
}

TEST(a_query_is_forwarded)
{
    struct fixture *f = *state;
    static const char *const cases[][3] = {
        {"http://x/", "/t/abc?a=1&b", "http://x/?a=1&b"},
        {"http://x/", "/t/abc", "http://x/"},
        {"http://x/", "/t/abc?", "http://x/"},
        {"http://x/?q", "/t/abc?a=1", "http://x/?q&a=1"},
        {"http://x/#f?g", "/t/abc?a=1", "http://x/?a=1#f?g"},
        {"http://x/?q=1#f", "/t/abc?a=1", "http://x/?q=1&a=1#f"},
        {"http://x/", "/t/abc?a=%20%C3%A4%", "http://x/?a=%20%C3%A4%25"},
        {"http://x/", "/t/abc?a=%zz+b?c", "http://x/?a=%25zz+b?c"},
        {"http://x/", "/t/abc?a=\r\nX: y", "http://x/?a=%0D%0AX:%20y"},
        {"http://x/", "/t/abc?a=%0d%0aX", "http://x/?a=%0d%0aX"},
        {"http://x/", "/t/abc?\x01\x7f\xff\xc3\xa4",
         "http://x/?%01%7F%FF%C3%A4"},
        {"http://x/", "/t/abc?a#b<c>\"'`{|}[]^\\",
         "http://x/?a%23b%3Cc%3E%22'%60%7B%7C%7D%5B%5D%5E%5C"},
    };
    f->store.rules.forward_query = true;
    for (size_t i = 0; i < COUNT(cases); i++) {
        f->store.long_url = cases[i][0];
        assert_int_equal(app_request(f, "GET", cases[i][1]), 301);
        if (!has_location(f, cases[i][2]))
            fail_msg("%s: %s", cases[i][1], f->res.head.data);
    }
    f->store.rules.forward_query = false;
    assert_int_equal(app_request(f, "GET", "/t/abc?a=1"), 301);
    assert_true(has_location(f, "http://x/"));
}

TEST(a_query_that_does_not_fit_is_refused)
{
    struct fixture *f = *state;
    struct buf path;
    buf_init(&path, URL_MAX + 20);
    f->store.rules.forward_query = true;
    f->store.long_url = "http://x/#f";
    buf_add_str(&path, "/t/abc?");
    for (size_t i = 0; i < URL_MAX - strlen("http://x/?#f"); i++)
        buf_add_char(&path, 'a');
    assert_int_equal(app_request(f, "GET", path.data), 301);
    assert_int_equal(f->store.hits, 1);
    buf_add_char(&path, 'a');
    assert_int_equal(app_request(f, "GET", path.data), 414);
    app_assert_problem(f, "The query is too long to be added to the long URL.");
    assert_int_equal(f->store.hits, 1);
    buf_free(&path);
}

TEST(a_link_begins_at_its_time)
{
    struct fixture *f = *state;
    f->store.rules.not_before = 4102444800;
    assert_int_equal(app_request(f, "GET", "/t/abc"), 404);
    app_assert_problem(f, "\"detail\":\"This link is not active yet.\"");
    app_assert_problem(f, "\"not_before\":\"2100-01-01T00:00:00Z\"");
    assert_true(app_has_field(f, "Cache-Control: no-store"));
    assert_int_equal(app_request(f, "GET", "/t/abc+"), 404);
    assert_int_equal(app_request(f, "GET", "/t/abc.qr"), 200);
    f->req.accept = "text/html";
    assert_int_equal(app_request(f, "GET", "/t/abc"), 404);
    assert_non_null(strstr(f->res.body.data, "datetime=\"2100-01-01T00:00"));
    assert_null(strstr(f->res.body.data, "typing error"));
    f->req.accept = NULL;
    assert_int_equal(f->store.hits, 0);
    f->store.rules.not_before = (uint64_t)clock_now();
    assert_int_equal(app_request(f, "GET", "/t/abc"), 301);
    assert_int_equal(app_request(f, "GET", "/t/abc+"), 200);
    /* It ends before it begins. */
    f->store.rules.not_before = 4102444800;
    f->store.ttl = 1;
    assert_int_equal(app_request(f, "GET", "/t/abc"), 410);
}

TEST(a_link_with_max_hits_counts_first)
{
    struct fixture *f = *state;
    static const struct {
        enum result r;
        int status;
    } cases[] = {
        {RESULT_OK, 301},          {RESULT_CONFLICT, 410},
        {RESULT_UNAVAILABLE, 503}, {RESULT_THROTTLED, 503},
        {RESULT_UNKNOWN, 503},     {RESULT_DENIED, 503},
    };
    f->store.rules.max_hits = 3;
    for (size_t i = 0; i < COUNT(cases); i++) {
        f->store.spend_result = cases[i].r;
        assert_int_equal(app_request(f, "GET", "/t/abc"), cases[i].status);
        assert_true(app_has_field(f, "Cache-Control: no-store"));
        assert_int_equal(f->store.spent, i + 1);
        if (cases[i].r != RESULT_OK)
            app_assert_problem(f, cases[i].r == RESULT_CONFLICT
                                      ? "This link has had all its visits."
                                      : "Please try again.");
        assert_int_equal(app_request(f, "HEAD", "/t/abc"), 301);
        assert_int_equal(f->store.spent, i + 1);
    }
    assert_int_equal(f->store.hits, 0);
    f->store.link_hits = 1;
    f->req.accept = "text/html";
    assert_int_equal(app_request(f, "GET", "/t/abc+"), 200);
    assert_non_null(strstr(f->res.body.data, "<dt>Visits left</dt><dd>2</dd>"));
    f->store.link_hits = 3;
    assert_int_equal(app_request(f, "GET", "/t/abc+"), 410);
    assert_int_equal(f->store.spent, COUNT(cases));
}

TEST(a_disabled_link_is_gone_for_a_reason)
{
    struct fixture *f = *state;
    static const char *const suffixes[] = {"", "+", ".qr"};
    f->store.rules.disabled = true;
    f->store.reason = "phishing <b> \xc3\xa4\xff";
    for (size_t i = 0; i < COUNT(suffixes); i++) {
        char path[20];
        snprintf(path, sizeof(path), "/t/abc%s", suffixes[i]);
        f->req.accept = NULL;
        assert_int_equal(app_request(f, "GET", path), 410);
        app_assert_problem(f, "\"detail\":\"This link has been disabled.\"");
        app_assert_problem(f,
                           "\"reason\":\"phishing <b> \xc3\xa4\xef\xbf\xbd\"");
        f->req.accept = "text/html";
        assert_int_equal(app_request(f, "GET", path), 410);
        assert_non_null(strstr(
            f->res.body.data,
            "Reason: <bdi>phishing &lt;b&gt; \xc3\xa4\xef\xbf\xbd</bdi>"));
    }
    f->store.reason = NULL;
    assert_int_equal(app_request(f, "GET", "/t/abc"), 410);
    assert_null(strstr(f->res.body.data, "Reason"));
    f->req.accept = NULL;
    assert_int_equal(app_request(f, "GET", "/t/abc"), 410);
    assert_null(strstr(f->res.body.data, "reason"));
    assert_int_equal(f->store.hits, 0);
    /* It is gone before it begins. */
    f->store.rules.not_before = 4102444800;
    assert_int_equal(app_request(f, "GET", "/t/abc"), 410);
}

TEST(a_warning_comes_before_the_redirect)
{
    struct fixture *f = *state;
    f->store.rules.warning = true;
    f->store.reason = "a <look-alike>";
    f->store.long_url = "http://xn--mnchen-3ya.de/a?b=\"";
    f->req.accept = "text/html,*/*;q=0.8";
    assert_int_equal(app_request(f, "GET", "/t/abc?x=1"), 200);
    assert_true(app_has_field(f, "Cache-Control: no-store"));
    assert_null(strstr(f->res.head.data, "Location"));
    static const char *const texts[] = {
        "<meta name=\"robots\" content=\"noindex\">",
        "<bdi id=\"reason\">a &lt;look-alike&gt;</bdi>",
        "http://<strong>xn--mnchen-3ya.de</strong>/a?b=%22",
        "<bdi id=\"host_unicode\">m\xc3\xbcnchen.de</bdi>",
        "href=\"?proceed\"",
    };
    for (size_t i = 0; i < COUNT(texts); i++)
        if (strstr(f->res.body.data, texts[i]) == NULL)
            fail_msg("%s is not in %s", texts[i], f->res.body.data);
    assert_null(strstr(f->res.body.data, "href=\"http"));

    f->req.accept = "*/*";
    assert_int_equal(app_request(f, "GET", "/t/abc"), 403);
    app_assert_problem(f, "\"reason\":\"a <look-alike>\"");
    assert_int_equal(app_request(f, "HEAD", "/t/abc"), 403);
    assert_int_equal(f->store.hits, 0);
}

TEST(a_warning_is_passed_from_its_page)
{
    struct fixture *f = *state;
    static const struct {
        const char *query, *site;
        bool passes;
    } cases[] = {
        {"?proceed", "same-origin", true},   {"?proceed", NULL, true},
        {"?proceed&a=1", NULL, true},        {"?proceed", "none", false},
        {"?proceed", "cross-site", false},   {"?proceed", "same-site", false},
        {"?proceeds", "same-origin", false}, {"?a&proceed", NULL, false},
        {"?procee", "same-origin", false},   {"", "same-origin", false},
    };
    unsigned hits = 0;
    f->store.rules.warning = true;
    f->req.accept = "text/html";
    for (size_t i = 0; i < COUNT(cases); i++) {
        char path[40];
        snprintf(path, sizeof(path), "/t/abc%s", cases[i].query);
        f->req.sec_fetch_site = cases[i].site;
        const int status = app_request(f, "GET", path);
        if (status != (cases[i].passes ? 301 : 200))
            fail_msg("%s, %s: %d", path, cases[i].site, status);
        assert_true(app_has_field(f, "Cache-Control: no-store"));
        hits += cases[i].passes;
        assert_int_equal(f->store.hits, hits);
        if (cases[i].passes)
            assert_true(has_location(f, "https://example.com/"));
    }
    /* With the visitor's own query. */
    f->store.rules.forward_query = true;
    f->req.sec_fetch_site = "cross-site";
    assert_int_equal(app_request(f, "GET", "/t/abc?a=\"1&b"), 200);
    assert_non_null(
        strstr(f->res.body.data, "href=\"?proceed&amp;a=%221&amp;b\""));
    assert_int_equal(app_request(f, "GET", "/t/abc?proceed&a=1"), 200);
    assert_non_null(strstr(f->res.body.data, "href=\"?proceed&amp;a=1\""));
    f->req.sec_fetch_site = "same-origin";
    assert_int_equal(app_request(f, "GET", "/t/abc?proceed&a=%221&b"), 301);
    assert_true(has_location(f, "https://example.com/?a=%221&b"));
    /* A preview shows it. */
    assert_int_equal(app_request(f, "GET", "/t/abc+"), 200);
    assert_non_null(strstr(f->res.body.data, "warns you about this link"));
}

TEST(capital_letters_of_ids_do_not_count)
{
    struct fixture *f = *state;
    assert_int_equal(app_request(f, "GET", "/t/AbC-_9"), 301);
    assert_string_equal(f->store.asked, "AbC-_9");
    f->conf.case_insensitive = 1;
    assert_int_equal(app_request(f, "GET", "/t/AbC-_9"), 301);
    assert_string_equal(f->store.asked, "abc-_9");
    assert_int_equal(app_request(f, "GET", "/t/ABC.qr"), 200);
    assert_string_equal(f->store.asked, "abc");
    assert_int_equal(app_request(f, "GET", "/T/abc"), 404);
    assert_int_equal(app_request(f, "GET", "/t/Create"), 404);
    f->conf.case_insensitive = 0;
    assert_int_equal(app_request(f, "GET", "/t/Create"), 301);
}
