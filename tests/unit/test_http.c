/* HTTP: what Accept asks for, and what an answer looks like. */
#include "test.h"

#include <json-c/json.h>

#include "http/http.h"

/* ---- Accept and Content-Type ----------------------------------------- */

TEST(reads_qualities)
{
    static const struct {
        const char *accept;
        int quality; /* of text/html */
    } cases[] = {
        {NULL, -1},
        {"", -1},
        {" ", -1},
        {",", -1},
        {"text/html", 1000},
        {"TEXT/Html", 1000},
        {" \ttext/html\t ", 1000},
        {"text/htmlx", -1},
        {"text/htm", -1},
        {"xtext/html", -1},
        {"text/plain", -1},
        {"text/plain,text/html", 1000},
        {"text/plain , text/html", 1000},
        {",,text/html,,", 1000},
        /* Wildcards name no type. */
        {"*/*", -1},
        {"text/*", -1},
        {"*/*;q=0.1, text/html", 1000},
        /* Quality values. */
        {"text/html;q=1", 1000},
        {"text/html;q=1.000", 1000},
        {"text/html;q=0", 0},
        {"text/html;q=0.", 0},
        {"text/html;q=0.0", 0},
        {"text/html;q=0.5", 500},
        {"text/html;q=0.05", 50},
        {"text/html;q=0.005", 5},
        {"text/html;q=0.0005", 0},
        {"text/html;q=0.999", 999},
        {"text/html;q=0.9999", 999},
        {"text/html;q=1.5", 1000},
        {"text/html;Q=0.5", 500},
        {"text/html ; q=0.5", 500},
        {"text/html;\tq=0.5 ", 500},
        {"text/html;q=0.5;ext=1", 500},
        {"text/html;level=1;q=0.5", 500},
        {"text/html;level=1", 1000},
        {"text/html;q=0.5,text/plain;q=0.1", 500},
        {"text/plain;q=0.1,text/html;q=0.5", 500},
        {"text/plain,text/html;q=0.5,*/*;q=0.8", 500},
        {"text/html,text/plain;q=0.1", 1000},
        /* Odd ones count as 1. */
        {"text/html;q=", 1000},
        {"text/html;q=x", 1000},
        {"text/html;q=-1", 1000},
        {"text/html;q=2", 1000},
        {"text/html;q", 1000},
        {"text/html;", 1000},
        {"text/html;qq=0.5", 1000},
        /* As browsers send it. */
        {"text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,"
         "image/webp,*/*;q=0.8",
         1000},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        int got = http_accept_quality(cases[i].accept, "text/html");
        if (got != cases[i].quality)
            fail_msg("%s: %d", cases[i].accept, got);
    }
}

TEST(reads_media_types)
{
    static const char *const json[] = {
        "application/json",
        "Application/JSON",
        " application/json",
        "application/json ",
        "application/json;charset=utf-8",
        "application/json ; charset=utf-8",
        "application/json\t;",
    };
    static const char *const other[] = {
        "",
        " ",
        ";",
        "application",
        "application/",
        "application/jsonx",
        "application/json5",
        "xapplication/json",
        "application/problem+json",
        "text/json",
        "application/x-www-form-urlencoded",
    };
    for (size_t i = 0; i < COUNT(json); i++)
        assert_true(http_type_is(json[i], "application/json"));
    for (size_t i = 0; i < COUNT(other); i++)
        assert_false(http_type_is(other[i], "application/json"));
}

/* ---- Answers --------------------------------------------------------- */

struct fixture {
    struct http_request req;
    struct http_response res;
};

static int set_up(void **state)
{
    static struct fixture f;
    f.req = (struct http_request){.body = "", .trace_id = "Root=1-2-3"};
    static char url[] = "https://sho.rt/t/";
    static char host[] = "sho.rt", path[] = "/t/", home[] = "page";
    static const struct conf conf = {
        .app_url = url, .app = {.host = host, .path = path}, .home = home};
    http_response_init(&f.res, &conf);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    http_response_free(&f->res);
    return 0;
}

EACH_TEST(set_up, tear_down)

TEST(fields_come_in_order)
{
    struct fixture *f = *state;
    http_begin(&f->res, &f->req, 200);
    http_field(&f->res, "Location", "http://x/");
    buf_add_str(&f->res.body, "abc");
    http_end(&f->res, "text/plain");
    assert_int_equal(f->res.status, 200);
    assert_string_equal(f->res.head.data, "X-Amzn-Trace-Id: Root=1-2-3\r\n"
                                          "Location: http://x/\r\n"
                                          "Content-Type: text/plain\r\n"
                                          "Content-Length: 3\r\n");
    assert_string_equal(f->res.body.data, "abc");
}

TEST(begin_starts_over)
{
    struct fixture *f = *state;
    http_begin(&f->res, &f->req, 200);
    http_field(&f->res, "A", "b");
    buf_add_str(&f->res.body, "abc");
    http_end(&f->res, "text/plain");
    http_begin(&f->res, &f->req, 404);
    http_end(&f->res, "text/html");
    assert_int_equal(f->res.status, 404);
    assert_string_equal(f->res.head.data, "X-Amzn-Trace-Id: Root=1-2-3\r\n"
                                          "Content-Type: text/html\r\n"
                                          "Content-Length: 0\r\n");
    assert_string_equal(f->res.body.data, "");
}

static json_object *parse_problem(const struct http_response *res)
{
    assert_non_null(strstr(res->head.data,
                           "\r\nContent-Type: application/problem+json\r\n"));
    char length[40];
    snprintf(length, sizeof(length), "\r\nContent-Length: %zu\r\n",
             res->body.len);
    assert_non_null(strstr(res->head.data, length));
    json_object *problem = json_tokener_parse(res->body.data);
    assert_true(json_object_is_type(problem, json_type_object));
    return problem;
}

static const char *member(json_object *object, const char *name)
{
    json_object *value = NULL;
    assert_true(json_object_object_get_ex(object, name, &value));
    assert_true(json_object_is_type(value, json_type_string));
    return json_object_get_string(value);
}

TEST(a_problem_has_four_members)
{
    struct fixture *f = *state;
    static const struct {
        int status;
        const char *title;
    } cases[] = {
        {400, "Bad Request"},           {404, "Not Found"},
        {405, "Method Not Allowed"},    {410, "Gone"},
        {413, "Content Too Large"},     {415, "Unsupported Media Type"},
        {500, "Internal Server Error"}, {503, "Service Unavailable"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        http_problem(&f->res, &f->req, cases[i].status, "Why it is so.");
        assert_int_equal(f->res.status, cases[i].status);
        json_object *problem = parse_problem(&f->res);
        json_object *status = NULL;
        assert_int_equal(json_object_object_length(problem), 4);
        assert_string_equal(member(problem, "title"), cases[i].title);
        assert_string_equal(http_reason(cases[i].status), cases[i].title);
        assert_string_equal(member(problem, "detail"), "Why it is so.");
        assert_string_equal(member(problem, "trace_id"), "Root=1-2-3");
        assert_true(json_object_object_get_ex(problem, "status", &status));
        assert_true(json_object_is_type(status, json_type_int));
        assert_int_equal(json_object_get_int(status), cases[i].status);
        json_object_put(problem);
    }
    assert_string_equal(http_reason(299), "");
}

TEST(a_404_has_the_uri_of_the_request)
{
    struct fixture *f = *state;
    static const char *const good[] = {"/t/x", "/s/t/a%20b?c=1&d='", "/",
                                       "http://h/t/x"};
    static const char *const bad[] = {
        "", "/t/\"", "/t/a b", "/t/\xc3\xa9", "/<script>", "/t/\\", "/\n"};
    char longest[1026];
    for (size_t i = 0; i < COUNT(good); i++) {
        f->req.uri = good[i];
        http_problem(&f->res, &f->req, 404, "x");
        json_object *problem = parse_problem(&f->res);
        assert_string_equal(member(problem, "instance"), good[i]);
        json_object_put(problem);
    }
    for (size_t i = 0; i < COUNT(bad) + 2; i++) {
        memset(longest, 'x', 1025);
        longest[1025] = '\0';
        f->req.uri = i < COUNT(bad) ? bad[i] : i == COUNT(bad) ? NULL : longest;
        http_problem(&f->res, &f->req, 404, "x");
        json_object *problem = parse_problem(&f->res);
        assert_false(json_object_object_get_ex(problem, "instance", NULL));
        json_object_put(problem);
    }
    f->req.uri = "/t/x";
    http_problem(&f->res, &f->req, 405, "x");
    assert_null(strstr(f->res.body.data, "instance"));
}

TEST(a_problem_is_kept_by_no_cache)
{
    struct fixture *f = *state;
    http_problem(&f->res, &f->req, 404, "x");
    assert_non_null(
        strstr(f->res.head.data, "\r\nCache-Control: no-store\r\n"));
    assert_non_null(
        strstr(f->res.head.data, "\r\nVary: Accept, Accept-Language\r\n"));
    assert_memory_equal(f->res.head.data, "X-Amzn-Trace-Id: Root=1-2-3\r\n",
                        29);
}

TEST(a_503_has_a_retry_after)
{
    struct fixture *f = *state;
    http_problem(&f->res, &f->req, 503, "Away.");
    assert_int_equal(f->res.status, 503);
    assert_non_null(strstr(f->res.head.data, "\r\nRetry-After: 2\r\n"));
    json_object *problem = parse_problem(&f->res);
    assert_string_equal(member(problem, "detail"), "Away.");
    json_object_put(problem);
}

TEST(details_of_any_bytes_are_json)
{
    struct fixture *f = *state;
    snprintf(f->req.trace_id, sizeof(f->req.trace_id), "a\"b\\c</script>");
    http_problem(&f->res, &f->req, 400, "\"\\\n\r\t\x01\x7f</script>\xff\xc3");
    json_object *problem = parse_problem(&f->res);
    assert_string_equal(member(problem, "detail"),
                        "\"\\\n\r\t\x01\x7f</script>\xef\xbf\xbd\xef\xbf\xbd");
    assert_string_equal(member(problem, "trace_id"), "a\"b\\c</script>");
    json_object_put(problem);
    /* One line: the only control character is the newline at its end. */
    for (size_t i = 0; i + 1 < f->res.body.len; i++)
        assert_true((unsigned char)f->res.body.data[i] >= 0x20);
    assert_int_equal(f->res.body.data[f->res.body.len - 1], '\n');
}

TEST(details_are_cut_not_lost)
{
    struct fixture *f = *state;
    static char detail[100000];
    memset(detail, 0xff, sizeof(detail) - 1);
    http_problem(&f->res, &f->req, 400, detail);
    assert_false(buf_failed(&f->res.body));
    json_object *problem = parse_problem(&f->res);
    size_t len = strlen(member(problem, "detail"));
    assert_in_range(len, 1000, 4096);
    json_object_put(problem);
}

TEST(a_page_is_escaped)
{
    struct fixture *f = *state;
    f->req.accept = "text/html";
    snprintf(f->req.trace_id, sizeof(f->req.trace_id), "<b>&\"'");
    http_problem(&f->res, &f->req, 500, "<script>alert('x')&\"</script>");
    assert_non_null(strstr(f->res.head.data,
                           "\r\nContent-Type: text/html; charset=utf-8\r\n"));
    const char *page = f->res.body.data;
    assert_memory_equal(page, "<!DOCTYPE html>", 15);
    assert_null(strstr(page, "<script>"));
    assert_null(strstr(page, "<b>"));
    assert_non_null(strstr(page, "&lt;script&gt;alert(&#39;x&#39;)&amp;&quot;"
                                 "&lt;/script&gt;"));
    assert_non_null(strstr(page, "&lt;b&gt;&amp;&quot;&#39;"));
    assert_null(strstr(page, "{{"));
}

TEST(browsers_get_pages_and_programs_problems)
{
    struct fixture *f = *state;
    static const struct {
        const char *accept;
        bool page;
    } cases[] = {
        {NULL, false},
        {"", false},
        {"*/*", false},
        {"text/*", false},
        {"text/html", true},
        {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
         true},
        {"application/json", false},
        {"application/problem+json", false},
        {"text/html;q=0", false},
        {"text/html;q=0.5,application/json", false},
        {"text/html,application/json", true},
        {"text/html;q=0.9,application/json;q=0.8", true},
        {"application/problem+json,text/html;q=0.9", false},
        {"text/plain", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        f->req.accept = cases[i].accept;
        http_problem(&f->res, &f->req, 404, "x");
        bool page = f->res.body.data[0] == '<';
        if (page != cases[i].page)
            fail_msg("%s: %s", cases[i].accept, f->res.body.data);
        assert_non_null(strstr(f->res.head.data, page ? "text/html" : "+json"));
    }
}

TEST(html_escapes_five_characters)
{
    struct buf out;
    buf_init(&out, 1000);
    page_add_html(&out, "");
    assert_string_equal(out.data, "");
    page_add_html(&out, "a<b>c&d\"e'f`g/\xc3\xa9&amp;");
    assert_string_equal(out.data, "a&lt;b&gt;c&amp;d&quot;e&#39;f`g/\xc3\xa9"
                                  "&amp;amp;");
    buf_free(&out);
}

TEST(the_longest_location_has_room)
{
    struct fixture *f = *state;
    static char url[8001];
    memset(url, '"', 8000);
    memset(f->req.trace_id, 'a', TRACE_ID_MAX);
    f->req.trace_id[TRACE_ID_MAX] = '\0';
    http_begin(&f->res, &f->req, 301);
    http_field(&f->res, "Location", url);
    page_add_html(&f->res.body, url);
    page_add_html(&f->res.body, url);
    buf_add_str(&f->res.body, "and a page around it, of some hundred bytes");
    http_end(&f->res, "text/html; charset=utf-8");
    assert_false(buf_failed(&f->res.head));
    assert_false(buf_failed(&f->res.body));
}

TEST(pages_are_in_the_preferred_language)
{
    struct fixture *f = *state;
    static const struct page_value none[] = {{NULL, NULL}};
    static const struct {
        const char *accept;
        const char *language;
    } cases[] = {
        {NULL, "en"},
        {"", "en"},
        {"de", "de"},
        {"DE-at", "de"},
        {"fr-CH, fr;q=0.9, en;q=0.8, de;q=0.7, *;q=0.5", "fr"},
        {"en-US,en;q=0.9,de;q=0.8", "en"},
        {"ja,es;q=0.3,de;q=0.4", "de"},
        {"ja", "en"},
        {"de;q=0", "en"},
        {"de;q=0, es;q=0.001", "es"},
        {"deu, dex", "en"},
        {"d, , ;, -, -de, *", "en"},
        {"de;q=0.5;x=1,fr ; q=0.6", "fr"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char field[40];
        f->req.accept_language = cases[i].accept;
        http_page(&f->res, &f->req, 200, "home.html", none);
        snprintf(field, sizeof(field), "\r\nContent-Language: %s\r\n",
                 cases[i].language);
        if (strstr(f->res.head.data, field) == NULL)
            fail_msg("%s: %s", cases[i].accept, f->res.head.data);
    }
}

TEST(answers_304_to_who_has_it)
{
    struct fixture *f = *state;
    static const struct {
        const char *if_none_match;
        int status;
    } cases[] = {
        {NULL, 200},
        {"", 200},
        {"\"abc\"", 304},
        {"W/\"abc\"", 304},
        {"\"x\", \"abc\"", 304},
        {" ,W/\"x\" ,\t\"abc\",", 304},
        {"*", 304},
        {"abc", 200},
        {"\"abc", 200},
        {"\"ab\"", 200},
        {"\"abcd\"", 200},
        {"W/W/\"abc\"", 200},
        {",,,", 200},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        f->req.if_none_match = cases[i].if_none_match;
        const bool begun =
            http_begin_cached(&f->res, &f->req, "\"abc\"", "max-age=1");
        if (f->res.status != cases[i].status || begun != (f->res.status == 200))
            fail_msg("%s: %d", cases[i].if_none_match, f->res.status);
        assert_non_null(strstr(f->res.head.data, "\r\nETag: \"abc\"\r\n"));
        assert_null(strstr(f->res.head.data, "Content-Length"));
        assert_int_equal(f->res.body.len, 0);
    }
}
