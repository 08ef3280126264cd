/* QR codes: options, limits, and the answers to requests for one. What is in an
 * image is read by zbar in tests/e2e/test_qr.py. */
#include "test.h"

#include "app_fixture.h"
#include "base/clock.h"
#include "base/mem.h"
#include "link/qr.h"

EACH_TEST(app_set_up, app_tear_down)

/* The longest text of each level in a code of version 40 (ISO/IEC 18004). */
static const size_t longest[] = {2953, 2331, 1663, 1273};

/* Makes a code of len bytes; the result is owned by out. */
static bool draw(struct buf *out, size_t len, struct qr_options *o)
{
    char *text = mem_alloc(len + 1);
    memset(text, 'a', len);
    text[len] = '\0';
    buf_reset(out);
    o->fault[0] = '\0';
    const bool ok = qr_add(out, "", text, o);
    free(text);
    return ok;
}

TEST(an_option_is_set_once_and_in_its_range)
{
    static const struct {
        const char *name, *value;
        bool ok;
        unsigned result;
    } cases[] = {
        {"format", "svg", true, QR_SVG},
        {"format", "png", true, QR_PNG},
        {"format", "SVG", false, 0},
        {"format", "", false, 0},
        {"format", "pngx", false, 0},
        {"level", "L", true, 0},
        {"level", "M", true, 1},
        {"level", "Q", true, 2},
        {"level", "H", true, 3},
        {"level", "", false, 0},
        {"level", "m", false, 0},
        {"level", "LM", false, 0},
        {"level", "A", false, 0},
        {"margin", "0", true, 0},
        {"margin", "16", true, 16},
        {"margin", "17", false, 0},
        {"margin", "-1", false, 0},
        {"margin", "", false, 0},
        {"margin", "4.0", false, 0},
        {"size", "64", true, 64},
        {"size", "2000", true, 2000},
        {"size", "63", false, 0},
        {"size", "2001", false, 0},
        {"size", "", false, 0},
        {"size", "+100", false, 0},
        {"size", "100px", false, 0},
        {"size", "1e2", false, 0},
        {"size", " 100", false, 0},
        {"size", "18446744073709551716", false, 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct qr_options o = {QR_DEFAULTS};
        const bool ok = qr_set(&o, cases[i].name, cases[i].value);
        const unsigned result = cases[i].name[0] == 'f'   ? o.format
                                : cases[i].name[0] == 'l' ? o.level
                                : cases[i].name[0] == 'm' ? o.margin
                                                          : o.size;
        if (ok != cases[i].ok || (ok && result != cases[i].result) ||
            ok != (o.fault[0] == '\0'))
            fail_msg("%s=%s: %s", cases[i].name, cases[i].value, o.fault);
        if (ok && qr_set(&o, cases[i].name, cases[i].value))
            fail_msg("%s=%s twice", cases[i].name, cases[i].value);
    }
    struct qr_options o = {QR_DEFAULTS};
    assert_true(qr_set(&o, "colour", "blue"));
    assert_true(qr_set(&o, "", ""));
    assert_true(qr_set(&o, "Size", "1"));
    assert_int_equal(o.given, 0);
}

TEST(the_largest_images_fit_into_an_answer)
{
    struct buf out;
    buf_init(&out, HTTP_BODY_MAX);
    for (unsigned level = 0; level < 4; level++) {
        for (unsigned format = QR_SVG; format <= QR_PNG; format++) {
            struct qr_options o = {
                .format = format, .level = level, .margin = 16, .size = 2000};
            assert_true(draw(&out, longest[level], &o));
            assert_false(buf_failed(&out));
        }
    }
    buf_free(&out);
    buf_init(&out, QR_MAX);
    for (unsigned format = QR_ASCII; format <= QR_BLOCKS; format++) {
        struct qr_options o = {.format = format, .margin = 16, .colour = true};
        assert_true(draw(&out, longest[0], &o));
        assert_false(buf_failed(&out));
    }
    buf_free(&out);
}

TEST(a_module_has_two_pixels_at_least)
{
    struct buf out;
    buf_init(&out, HTTP_BODY_MAX);
    for (unsigned margin = 0; margin <= 16; margin++) {
        for (unsigned format = QR_SVG; format <= QR_PNG; format++) {
            /* Version 40 has 177 modules in a row. */
            struct qr_options o = {.format = format, .margin = margin};
            o.size = 2 * (177 + 2 * margin);
            assert_true(draw(&out, longest[0], &o));
            char fault[64];
            snprintf(fault, sizeof(fault),
                     "size must be at least %u for this code", o.size--);
            assert_false(draw(&out, longest[0], &o));
            assert_string_equal(o.fault, fault);
        }
    }
    buf_free(&out);
}

TEST(an_svg_is_small_and_white_all_over)
{
    static const char head[] =
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"300\" height=\"300\""
        " viewBox=\"-4 -4.5 33 33\" shape-rendering=\"crispEdges\">"
        "<rect x=\"-4\" y=\"-4.5\" width=\"100%\" height=\"100%\""
        " fill=\"#fff\"/><path stroke=\"#000\" d=\"M0 0h7M";
    struct qr_options o = {QR_DEFAULTS};
    struct buf out;
    buf_init(&out, HTTP_BODY_MAX);
    assert_true(qr_add(&out, "https://sho.rt/t/", "abcdefg", &o));
    assert_memory_equal(out.data, head, sizeof(head) - 1);
    assert_string_equal(out.data + out.len - 10, "\"/></svg>\n");
    assert_in_range(out.len, 1, 2048);
    buf_free(&out);
}

TEST(a_drawing_is_the_same_in_both_kinds_of_text)
{
    struct qr_options ascii = {QR_DEFAULTS}, blocks = {QR_DEFAULTS};
    struct buf a, b;
    ascii.format = QR_ASCII;
    blocks.format = QR_BLOCKS;
    ascii.margin = blocks.margin = 1;
    buf_init(&a, QR_MAX);
    buf_init(&b, QR_MAX);
    assert_true(qr_add(&a, "https://sho.rt/t/", "abcdefg", &ascii));
    assert_true(qr_add(&b, "https://sho.rt/t/", "abcdefg", &blocks));
    /* Version 2 has 25 modules in a row. */
    const size_t row = 2 * 27 + 1;
    assert_int_equal(a.len, 27 * row);
    const char *s = b.data;
    for (size_t y = 0; y < 27; y += 2, s++) {
        for (size_t x = 0; x < 27; x++) {
            const char *upper = a.data + y * row + 2 * x;
            const bool lower = y < 26 && upper[row] == '#';
            const char *wanted = *upper == '#'
                                     ? lower ? "\xe2\x96\x88" : "\xe2\x96\x80"
                                 : lower ? "\xe2\x96\x84"
                                         : " ";
            assert_memory_equal(s, wanted, strlen(wanted));
            s += strlen(wanted);
        }
        assert_int_equal(*s, '\n');
    }
    assert_int_equal(*s, '\0');
    buf_free(&a);
    buf_free(&b);
}

/* ---- Requests --------------------------------------------------------- */

/* The ETag of the answer. */
static void read_etag(const struct fixture *f, char etag[200])
{
    const char *line = strstr(f->res.head.data, "\r\nETag: ");
    assert_non_null(line);
    line += strlen("\r\nETag: ");
    snprintf(etag, 200, "%.*s", (int)strcspn(line, "\r"), line);
}

TEST(a_request_gets_an_image)
{
    struct fixture *f = *state;
    static const char *const queries[] = {
        "",
        "?",
        "?format=svg",
        "?size=300&level=M&margin=4",
        "?colour=red&&format=svg&x",
        "?Size=1&size%00=1",
    };
    for (size_t i = 0; i < COUNT(queries); i++) {
        char *path = mem_printf("/t/abc.qr%s", queries[i]);
        assert_int_equal(app_request(f, i % 2 ? "HEAD" : "GET", path), 200);
        assert_true(app_has_field(f, "Content-Type: image/svg+xml"));
        assert_true(app_has_field(f, "Cache-Control: public, max-age=3600"));
        assert_true(app_has_field(f, "X-Content-Type-Options: nosniff"));
        assert_non_null(strstr(f->res.body.data, "width=\"300\""));
        free(path);
    }
    assert_int_equal(app_request(f, "GET", "/t/abc.qr?format=png&level=H"),
                     200);
    assert_true(app_has_field(f, "Content-Type: image/png"));
    assert_memory_equal(f->res.body.data, "\x89PNG\r\n\x1a\n", 8);
    assert_string_equal(f->store.asked, "abc");
    assert_int_equal(f->store.hits, 0);
    assert_int_equal(app_request(f, "POST", "/t/abc.qr"), 405);
    assert_true(app_has_field(f, "Allow: GET, HEAD"));
}

TEST(the_etag_is_that_of_the_image)
{
    struct fixture *f = *state;
    static const char *const paths[] = {
        "/t/abc.qr",          "/t/abd.qr",         "/t/abc.qr?format=png",
        "/t/abc.qr?size=301", "/t/abc.qr?level=L", "/t/abc.qr?margin=5",
        "/t/abc.qr",
    };
    char etags[COUNT(paths)][200];
    for (size_t i = 0; i < COUNT(paths); i++) {
        if (i == COUNT(paths) - 1)
            app_serve_at(f, "https://sho.rtx/t/");
        f->req.if_none_match = NULL;
        assert_int_equal(app_request(f, "GET", paths[i]), 200);
        read_etag(f, etags[i]);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(etags[i], etags[j]);
        f->req.if_none_match = etags[i];
        assert_int_equal(app_request(f, "GET", paths[i]), 304);
        assert_int_equal(app_request(f, "HEAD", paths[i]), 304);
        f->req.if_none_match = "\"other\"";
        assert_int_equal(app_request(f, "GET", paths[i]), 200);
    }
}

TEST(a_wrong_parameter_is_named)
{
    struct fixture *f = *state;
    static const char *const cases[][2] = {
        {"format=gif", "The parameter format must be one of svg and png."},
        {"format", "The parameter format must be one of svg and png."},
        {"level=X", "The parameter level must be one of L, M, Q and H."},
        {"margin=17", "The parameter margin must be one number from 0 to 16."},
        {"size=63", "The parameter size must be one number from 64 to 2000."},
        {"size=00000000000000000000000000000000300",
         "The parameter size must be one number from 64 to 2000."},
        {"size=300%00",
         "The parameter size must be one number from 64 to 2000."},
        {"size=300&size=300",
         "The parameter size must be one number from 64 to 2000."},
        {"level=M&format=png&level=L",
         "The parameter level must be one of L, M, Q and H."},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        char *path = mem_printf("/t/abc.qr?%s", cases[i][0]);
        assert_int_equal(app_request(f, "GET", path), 400);
        app_assert_problem(f, cases[i][1]);
        free(path);
    }
    assert_int_equal(f->store.gets, 0);
    char *app_url = mem_printf("https://sho.rt/%0100d/", 1);
    app_serve_at(f, app_url);
    char *path = mem_printf("/%0100d/abc.qr?size=64&margin=16", 1);
    assert_int_equal(app_request(f, "GET", path), 400);
    app_assert_problem(
        f, "The parameter size must be at least 154 for this code.");
    f->req.accept = "text/html";
    f->req.accept_language = "de";
    assert_int_equal(app_request(f, "GET", path), 400);
    assert_non_null(strstr(f->res.body.data,
                           "Der Parameter size muss für "
                           "diesen Code mindestens 154 sein"));
    free(app_url);
    free(path);
}

TEST(what_cannot_be_followed_has_no_code)
{
    struct fixture *f = *state;
    static const struct {
        enum result r;
        int status;
    } cases[] = {
        {RESULT_NOT_FOUND, 404},   {RESULT_CORRUPT, 500},
        {RESULT_UNAVAILABLE, 503}, {RESULT_THROTTLED, 503},
        {RESULT_DENIED, 503},      {RESULT_OK, 410},
    };
    f->store.ttl = clock_now() - 1;
    for (size_t i = 0; i < COUNT(cases); i++) {
        f->store.get_result = cases[i].r;
        assert_int_equal(app_request(f, "GET", "/t/abc"), cases[i].status);
        char *body = mem_dup(f->res.body.data);
        char *head = mem_dup(f->res.head.data);
        assert_int_equal(app_request(f, "GET", "/t/abc.qr"), cases[i].status);
        if (cases[i].status != 404) /* that one shows the path */
            assert_string_equal(f->res.body.data, body);
        if (cases[i].status != 404)
            assert_string_equal(f->res.head.data, head);
        free(body);
        free(head);
    }
    assert_int_equal(f->store.hits, 0);
}
