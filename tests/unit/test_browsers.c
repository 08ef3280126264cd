/* What browsers get: the page, its files, results, previews. */
#include "test.h"

#include "app_fixture.h"
#include "base/clock.h"
#include "base/utf8.h"

EACH_TEST(app_set_up, app_tear_down)

#define BROWSER "text/html,application/xhtml+xml,*/*;q=0.8"

static bool page_has(const struct fixture *f, const char *text)
{
    return strstr(f->res.body.data, text) != NULL;
}

static void check_page(const struct fixture *f)
{
    assert_true(app_has_field(f, "Content-Type: text/html; charset=utf-8"));
    assert_true(app_has_field(f, "X-Content-Type-Options: nosniff"));
    assert_true(app_has_field(f, "Cache-Control: no-store"));
    const char *policy = strstr(f->res.head.data, "Content-Security-Policy: ");
    assert_non_null(policy);
    assert_null(strstr(policy, "unsafe"));
    assert_true(page_has(f, "<!DOCTYPE html>"));
    assert_true(page_has(f, "</html>"));
    assert_false(page_has(f, "{{"));
    assert_false(page_has(f, "style="));
}

TEST(home_has_the_form)
{
    struct fixture *f = *state;
    static const char *const paths[] = {"/", "/t/", "/t/?x", "/%74/"};
    for (size_t i = 0; i < COUNT(paths); i++) {
        assert_int_equal(app_request(f, "GET", paths[i]), 200);
        check_page(f);
        assert_true(page_has(f, "action=\"/create\""));
        assert_true(page_has(f, "name=\"long_url\""));
        assert_true(page_has(f, "<title>Shorten a link – sho.rt</title>"));
    }
    assert_int_equal(f->store.gets, 0);
}

TEST(home_may_be_off_or_elsewhere)
{
    struct fixture *f = *state;
    static char off[] = "off", url[] = "https://example.org/a?b=c";
    f->conf.home = off;
    assert_int_equal(app_request(f, "GET", "/t/"), 404);
    f->req.accept = BROWSER;
    assert_int_equal(app_request(f, "GET", "/t/"), 404);
    check_page(f);
    assert_false(page_has(f, "<a href=\"/t/\""));
    f->conf.home = url;
    assert_int_equal(app_request(f, "HEAD", "/"), 302);
    assert_true(app_has_field(f, "Location: https://example.org/a?b=c"));
}

/* The path of APP_URL goes into pages as it was written. */
TEST(pages_follow_an_odd_prefix)
{
    struct fixture *f = *state;
    app_serve_at(f, "https://sho.rt/a%3Fb%2541/");
    assert_int_equal(app_request(f, "GET", "/a%3Fb%2541/"), 200);
    assert_true(page_has(f, "href=\"/a%3Fb%2541/style.css?v="));
    assert_int_equal(app_request(f, "GET", "/robots.txt"), 200);
    assert_true(page_has(f, "Disallow: /a%3Fb%2541/*+$\n"));
}

TEST(home_has_the_name_of_the_site)
{
    struct fixture *f = *state;
    static char name[] = "<Ann & \"Bo\">", text[] = "One line</p>.";
    f->conf.site_name = name;
    f->conf.site_text = text;
    assert_int_equal(app_request(f, "GET", "/"), 200);
    assert_true(page_has(f, "&lt;Ann &amp; &quot;Bo&quot;&gt;"));
    assert_true(page_has(f, "One line&lt;/p&gt;."));
    assert_false(page_has(f, name));
}

TEST(files_are_cached_by_their_version)
{
    struct fixture *f = *state;
    static const struct {
        const char *path;
        const char *type;
    } files[] = {
        {"/t/style.css", "Content-Type: text/css; charset=utf-8"},
        {"/t/page.js", "Content-Type: text/javascript; charset=utf-8"},
        {"/t/icon.svg", "Content-Type: image/svg+xml"},
        {"/favicon.ico", "Content-Type: image/x-icon"},
    };
    for (size_t i = 0; i < COUNT(files); i++) {
        char path[64], etag[32], version[32];
        assert_int_equal(app_request(f, "GET", files[i].path), 200);
        assert_true(app_has_field(f, files[i].type));
        assert_true(app_has_field(f, "Cache-Control: public, max-age=3600"));
        assert_true(f->res.body.len > 0);
        const char *at = strstr(f->res.head.data, "ETag: ");
        assert_int_equal(sscanf(at, "ETag: %31s", etag), 1);
        snprintf(version, sizeof(version), "\"%08x\"", page_version(&f->conf));
        assert_string_equal(etag, version);
        f->req.if_none_match = etag;
        assert_int_equal(app_request(f, "GET", files[i].path), 304);
        f->req.if_none_match = NULL;
        snprintf(path, sizeof(path), "%s?v=%08x", files[i].path,
                 page_version(&f->conf));
        assert_int_equal(app_request(f, "GET", path), 200);
        assert_true(app_has_field(
            f, "Cache-Control: public, max-age=31536000, immutable"));
    }
}

TEST(style_has_the_colour_of_the_site)
{
    struct fixture *f = *state;
    static char dark[] = "#102030", light[] = "#ffd400";
    const uint32_t plain = page_version(&f->conf);
    f->conf.site_color = dark;
    assert_int_equal(app_request(f, "GET", "/t/style.css"), 200);
    assert_true(page_has(f, "--accent:#102030;--on-accent:#fff"));
    assert_int_not_equal(page_version(&f->conf), plain);
    f->conf.site_color = light;
    assert_int_equal(app_request(f, "GET", "/t/style.css"), 200);
    assert_true(page_has(f, "--accent:#ffd400;--on-accent:#000"));
}

TEST(robots_follow_links_and_nothing_else)
{
    struct fixture *f = *state;
    assert_int_equal(app_request(f, "GET", "/robots.txt"), 200);
    assert_true(page_has(f, "User-agent: *\n"));
    assert_true(page_has(f, "Disallow: /create\n"));
    assert_true(page_has(f, "Disallow: /t/*+$\n"));
    assert_false(page_has(f, "Disallow: /\n"));
    assert_int_equal(f->store.gets, 0);
}

TEST(preview_shows_what_a_redirect_would_send)
{
    struct fixture *f = *state;
    static const char *const paths[] = {"/t/abc+", "/t/abc%2B", "/t/abc+.",
                                        "/t/abc+?x=1"};
    f->store.long_url = "https://xn--bcher-kva.example:8080/<b>?'&x=|";
    f->store.ttl = 4102444800;
    for (size_t i = 0; i < COUNT(paths); i++) {
        assert_int_equal(app_request(f, "GET", paths[i]), 200);
        assert_string_equal(f->store.asked, "abc");
        check_page(f);
        assert_true(
            page_has(f, "<strong>xn--bcher-kva.example</strong>:8080/"));
        assert_true(page_has(f, "b\xc3\xbc"
                                "cher.example"));
        assert_true(page_has(f, "href=\"https://xn--bcher-kva.example:8080/"
                                "%3Cb%3E?&#39;&amp;x=%7C\""));
        assert_true(page_has(f, "2100-01-01 00:00"));
        assert_true(page_has(f, "https://sho.rt/t/abc"));
        assert_false(page_has(f, "<b>"));
    }
    assert_int_equal(f->store.hits, 0);
}

TEST(preview_names_an_international_host)
{
    struct fixture *f = *state;
    static const char *const urls[][2] = {
        {"https://xn--e1awd7f.xn--p1ai/", "\xd1\x80\xd1\x84<"},
        {"https://xn--e1awd7f.xn--p1ai:8080/", "\xd1\x80\xd1\x84<"},
        {"https://[2001:db8::1]:8080/a:b",
         "<strong>[2001:db8::1]</strong>:8080/"},
        {"https://example.org:8080/a:b@c",
         "<strong>example.org</strong>:8080/"},
    };
    for (size_t i = 0; i < COUNT(urls); i++) {
        f->store.long_url = urls[i][0];
        assert_int_equal(app_request(f, "GET", "/t/abc+"), 200);
        assert_true(page_has(f, urls[i][1]));
    }
}

TEST(preview_shows_a_url_without_a_host)
{
    struct fixture *f = *state;
    static char schemes[] = "mailto";
    f->conf.url_schemes = schemes;
    f->store.long_url = "mailto:me@example.org?subject=<x>";
    assert_int_equal(app_request(f, "GET", "/t/abc+"), 200);
    check_page(f);
    assert_true(page_has(f, "mailto:<strong></strong>me@example.org?subject="
                            "%3Cx%3E"));
    assert_int_equal(app_request(f, "GET", "/t/abc"), 301);
    assert_true(
        app_has_field(f, "Location: mailto:me@example.org?subject=%3Cx%3E"));
}

/* What another program wrote: a time is shown if it is one. */
TEST(preview_shows_times_only)
{
    struct fixture *f = *state;
    static const char *const others[] = {
        NULL,
        "",
        "T",
        "yesterday, at noon",
        "<b>2018-11-29T00:05:02</b>",
        "\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82\xac\xe2\x82"
        "\xac",
    };
    f->store.long_url = "https://example.com/";
    f->store.ttl = 4102444800000; /* in milliseconds */
    for (size_t i = 0; i < COUNT(others); i++) {
        f->store.created_at = others[i];
        assert_int_equal(app_request(f, "GET", "/t/abc+"), 200);
        check_page(f);
        assert_false(page_has(f, "<time"));
        assert_true(page_has(f, "never"));
    }
    f->store.created_at = "2018-11-29T00:05:02";
    f->store.ttl = 4102444800;
    assert_int_equal(app_request(f, "GET", "/t/abc+"), 200);
    assert_true(page_has(f, ">2018-11-29 00:05 UTC<"));
    assert_true(page_has(f, ">2100-01-01 00:00 UTC<"));
}

TEST(preview_refuses_what_a_redirect_refuses)
{
    struct fixture *f = *state;
    static const struct {
        const char *long_url;
        enum result result;
        int64_t ttl;
    } cases[] = {
        {"https://example.com/", RESULT_NOT_FOUND, LINK_NEVER},
        {"https://example.com/", RESULT_CORRUPT, LINK_NEVER},
        {"https://example.com/", RESULT_UNAVAILABLE, LINK_NEVER},
        {"https://example.com/", RESULT_OK, 1},
        {"javascript:alert(1)", RESULT_OK, LINK_NEVER},
        {"", RESULT_OK, LINK_NEVER},
    };
    f->req.accept = BROWSER;
    for (size_t i = 0; i < COUNT(cases); i++) {
        f->store.long_url = cases[i].long_url;
        f->store.get_result = cases[i].result;
        f->store.ttl = cases[i].ttl;
        const int status = app_request(f, "GET", "/t/abc");
        assert_true(status >= 400);
        assert_int_equal(app_request(f, "GET", "/t/abc+"), status);
        check_page(f);
        assert_false(page_has(f, "javascript:"));
    }
}

TEST(create_answers_a_browser_with_a_page)
{
    struct fixture *f = *state;
    f->req.accept = BROWSER;
    f->req.content_type = "application/x-www-form-urlencoded";
    assert_int_equal(app_post(f, "long_url=https%3A%2F%2Fexample.com%2F"), 200);
    check_page(f);
    char id[80];
    snprintf(id, sizeof(id), "href=\"https://sho.rt/t/%s\"",
             f->store.stored.short_id);
    assert_true(page_has(f, id));
    f->req.accept = "text/html;q=0.9,text/plain";
    assert_int_equal(app_post(f, "long_url=https%3A%2F%2Fexample.com%2F"), 200);
    assert_true(app_has_field(f, "Content-Type: text/plain; charset=utf-8"));
}

TEST(create_keeps_what_was_typed)
{
    struct fixture *f = *state;
    f->req.accept = BROWSER;
    f->req.content_type = "application/x-www-form-urlencoded";
    assert_int_equal(app_post(f, "long_url=%3Cscript%3E%22%27"), 400);
    check_page(f);
    assert_true(page_has(f, "value=\"&lt;script&gt;&quot;&#39;\""));
    assert_true(page_has(f, "id=\"error\""));
    assert_false(page_has(f, "<script>"));
    f->req.accept_language = "de";
    assert_int_equal(app_post(f, ""), 400);
    check_page(f);
    assert_true(page_has(f, "<html lang=\"de\""));
    static const char *const bytes[] = {"%FF", "a%C0%AF", "%ED%A0%80", "%E2%82",
                                        "%F4%90%80%80"};
    for (size_t i = 0; i < COUNT(bytes); i++) {
        char form[32];
        snprintf(form, sizeof(form), "long_url=%s", bytes[i]);
        assert_int_equal(app_post(f, form), 400);
        assert_true(utf8_ok(f->res.body.data, f->res.body.len));
    }
    /* Whatever it was, the answer is whole. */
    static char body[65536];
    memset(body, '\'', sizeof(body) - 1);
    memcpy(body, "long_url=", 9);
    assert_int_equal(app_post(f, body), 400);
    check_page(f);
}
