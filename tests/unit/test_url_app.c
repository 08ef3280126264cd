/* APP_URL, and links that lead back to curt. */
#include "test.h"

#include "link/url.h"

static struct url_app parse_app(const char *app_url)
{
    struct url_app app;
    const char *reason = NULL;
    if (url_app_parse(app_url, &app, &reason) != RESULT_OK)
        fail_msg("%s %s", app_url, reason);
    return app;
}

/* ---- APP_URL --------------------------------------------------------- */

TEST(takes_app_url_apart)
{
    static const struct {
        const char *app_url;
        const char *host;
        const char *path;
        unsigned port;
    } cases[] = {
        {"https://sho.rt/t/", "sho.rt", "/t/", 0},
        {"https://sho.rt/", "sho.rt", "/", 0},
        {"http://sho.rt/t/", "sho.rt", "/t/", 0},
        {"HTTPS://SHO.RT/T/", "sho.rt", "/T/", 0},
        {"https://sho.rt./t/", "sho.rt", "/t/", 0},
        {"https://sho.rt:443/t/", "sho.rt", "/t/", 0},
        {"http://sho.rt:80/t/", "sho.rt", "/t/", 0},
        {"https://sho.rt:80/t/", "sho.rt", "/t/", 80},
        {"http://sho.rt:443/t/", "sho.rt", "/t/", 443},
        {"http://127.0.0.1:8080/t/", "127.0.0.1", "/t/", 8080},
        {"http://[::1]:8080/", "[::1]", "/", 8080},
        {"https://xn--mnchen-3ya.de/a/b/", "xn--mnchen-3ya.de", "/a/b/", 0},
        {"https://sho.rt/%C3%BC/", "sho.rt", "/\xc3\xbc/", 0},
        {"https://sho.rt/%7Ekim/", "sho.rt", "/~kim/", 0},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct url_app app = parse_app(cases[i].app_url);
        assert_string_equal(app.host, cases[i].host);
        assert_string_equal(app.path, cases[i].path);
        assert_int_equal(app.path_len, strlen(cases[i].path));
        assert_int_equal(app.port, cases[i].port);
        assert_int_equal(app.https, (cases[i].app_url[4] | 0x20) == 's');
        url_app_free(&app);
        assert_null(app.host);
        assert_null(app.path);
        url_app_free(&app);
    }
}

TEST(refuses_what_ids_cannot_follow)
{
    static const struct {
        const char *app_url;
        const char *why;
    } cases[] = {
        {"", "is empty"},
        {"https://", "has no host"},
        {"sho.rt/t/", "is not an absolute http or https URL"},
        {"/t/", "is not an absolute http or https URL"},
        {"ftp://sho.rt/t/", "is not an absolute http or https URL"},
        {"https://u@sho.rt/t/", "has user information"},
        {"https://sho.rt:99999/t/", "has a port that is not a number"},
        {"https://sho.rt/t", "must end with '/'"},
        {"https://sho.rt", "must end with '/'"},
        {"https://sho.rt//", "must not have '//'"},
        {"https://sho.rt//t/", "must not have '//'"},
        {"http://s/t//", "must not have '//'"},
        {"https://sho.rt/t/?a=/", "must not have a '?' or '#'"},
        {"https://sho.rt/t/#/", "must not have a '?' or '#'"},
        {"https://sho.rt/t /", "must be plain ASCII"},
        {" https://sho.rt/t/", "must be plain ASCII"},
        {"https://m\xc3\xbcnchen.de/", "must be plain ASCII"},
        {"https://sho.rt/\xc3\xbc/", "must be plain ASCII"},
        {"https://sho.rt:/t/", "must be plain ASCII"},
        {"https://0x7f.1/t/", "must be plain ASCII"},
        {"https://sho.rt/[t]/", "must be plain ASCII"},
        {"https://sho.rt/%/", "must be plain ASCII"},
        {"https://sho.rt\\t/", "must be plain ASCII"},
        {"https://256.1.1.1/t/", "has a host that is not a valid IPv4"},
        {"https://sho.rt/t\n/", "has a control character"},
        {"https://sho.rt/\xff/", "is not valid UTF-8"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct url_app app;
        const char *reason = NULL;
        if (url_app_parse(cases[i].app_url, &app, &reason) != RESULT_INVALID)
            fail_msg("%s was taken", cases[i].app_url);
        if (strstr(reason, cases[i].why) == NULL)
            fail_msg("%s: %s", cases[i].app_url, reason);
        url_app_free(&app);
    }
}

TEST(leaves_room_for_links)
{
    char app_url[1100];
    struct url_app app;
    const char *reason = NULL;
    memset(app_url, 'a', sizeof(app_url));
    memcpy(app_url, "https://sho.rt/", 15);
    app_url[999] = '/';
    app_url[1000] = '\0';
    app = parse_app(app_url);
    url_app_free(&app);
    app_url[999] = 'a';
    app_url[1000] = '/';
    app_url[1001] = '\0';
    assert_int_equal(url_app_parse(app_url, &app, &reason), RESULT_INVALID);
    assert_string_equal(reason, "is longer than 1,000 bytes");
}

/* ---- Loops ----------------------------------------------------------- */

/* Normalises url, as every caller does first, and asks. */
static bool is_loop(const char *url, const char *app_url)
{
    struct url_app app = parse_app(app_url);
    struct buf out;
    const char *reason = NULL;
    buf_init(&out, URL_MAX);
    if (url_normalise(NULL, url, strlen(url), NULL, &out, &reason) != RESULT_OK)
        fail_msg("%s %s", url, reason);
    bool loop = url_app_rest(out.data, &app, NULL);
    buf_reset(&out);
    enum result r = url_normalise(NULL, url, strlen(url), &app, &out, &reason);
    assert_int_equal(r, loop ? RESULT_INVALID : RESULT_OK);
    if (loop)
        assert_string_equal(reason, "leads back to this shortener");
    buf_free(&out);
    url_app_free(&app);
    return loop;
}

TEST(finds_loops_in_disguise)
{
    static const char *const loops[] = {
        "https://sho.rt/t/",
        "https://sho.rt/t/abc",
        "https://sho.rt/t/abc/def",
        "https://sho.rt/t//abc",
        "https://sho.rt/t/?x",
        "https://sho.rt/t/a?x#y",
        "https://sho.rt/t/#",
        "http://sho.rt/t/a",
        "HTTPS://SHO.RT/t/a",
        "https://sho.rt./t/a",
        "https://sho.rt:443/t/a",
        "http://sho.rt:80/t/a",
        "https://sho.rt.:443/t/a",
        "https://sho.rt:/t/a",
        "https://sho.rt:00443/t/a",
        "https://sho.r%74/t/a",
        "https://\xef\xbd\x93ho.rt/t/a", /* fullwidth s */
        "https://sho\xe3\x80\x82rt/t/a", /* ideographic full stop */
        "https://sho.rt/%74/a",
        "https://sho.rt/t%2fa",
        "https://sho.rt/t%2Fa",
        "https://sho.rt/%74%2F%61",
        "https://sho.rt/./t/a",
        "https://sho.rt/../t/a",
        "https://sho.rt/x/../t/a",
        "https://sho.rt/x/y/../../t/a",
        "https://sho.rt/%2e/t/a",
        "https://sho.rt/x/%2e%2E/t/a",
        "https://sho.rt/x/.%2e/t/a",
        "https://sho.rt/t/.",
        "https://sho.rt/t/x/..",
        "https://sho.rt/t\\a",
        "https://sho.rt\\t\\a",
        "https:\\\\sho.rt\\t/a",
        "http:/\\sho.rt/t/a",
        "https://sho.rt/x\\..\\t\\a",
        "https://sho.rt/x\\%2e%2e\\t\\a",
        "https://sho.rt/.\\t/a",
        "https://sho.rt/t/%2f../../a", /* %2f.. is not a dot segment */
        "https://sho.rt/a%2fb/../t/a",
        "https://sho.rt/t/..%2fa",
        "https://sho.rt/..%5c/../t/a",
        "https://%73%68%6f.r%74/t/a",
        "https://s\xc2\xadho.rt/t/a", /* soft hyphen */
        "https://sho%E3%80%82rt%2e/t/a",
        " \xef\xbb\xbfhttps://sho.rt/t/a",
        "https://sho.rt/t/a%00",
    };
    for (size_t i = 0; i < COUNT(loops); i++)
        if (!is_loop(loops[i], "https://sho.rt/t/"))
            fail_msg("%s is no loop", loops[i]);
}

TEST(leaves_other_addresses_alone)
{
    static const char *const others[] = {
        "https://sho.rt/",
        "https://sho.rt/t",
        "https://sho.rt/t?a/",
        "https://sho.rt/t#/",
        "https://sho.rt/tea/",
        "https://sho.rt/T/a",
        "https://sho.rt//t/a",
        "https://sho.rt/x/t/a",
        "https://sho.rt/t%5ca",
        "https://sho.rt/t\xe2\x81\x84x", /* fraction slash */
        "https://sho.rt/?\\t\\a",
        "https://sho.rt/x%2f..%2ft/a",
        "https://sho.rt/%2ft/a",
        "https://sho.rt/%2574/a",
        "https://sho.rt/t%252fa",
        "https://sho.rt/t/../x",
        "https://sho.rt/?/t/a",
        "https://sho.rt/?u=https://sho.rt/t/a",
        "https://sho.rt/#/t/a",
        "https://sho.rt/...//t/a",
        "https://sho.rt:8443/t/a",
        "https://sho.rt:80/t/a",
        "http://sho.rt:443/t/a",
        "https://www.sho.rt/t/a",
        "https://sho.rt.example/t/a",
        "https://xsho.rt/t/a",
        "https://sho-rt/t/a",
        "https://example.com/t/a",
    };
    for (size_t i = 0; i < COUNT(others); i++)
        if (is_loop(others[i], "https://sho.rt/t/"))
            fail_msg("%s counts as a loop", others[i]);
}

TEST(cuts_app_url_off)
{
    static const char *const cases[][2] = {
        {"https://sho.rt/t/abc", "abc"},
        {"http://SHO.rt:80/t/abc/?x=/t/y#z", "abc/"},
        {"https://sho.rt/t/a%62c.qr?size=1", "abc.qr"},
        {"https://sho.rt/t", NULL},
        {"https://sho.rt", NULL},
        {"https://sho.rt?x", NULL},
        {"https://sho.rt\\t\\abc", "abc"},
        {"https://sho.rt/t/\x1b\xff", "\x1b\xff"},
        {"https://a@sho.rt/t/abc", NULL},
        {"https:///t/abc", NULL},
        {"https://", NULL},
        {"", NULL},
    };
    struct url_app app = parse_app("https://sho.rt/t/");
    struct buf rest;
    buf_init(&rest, URL_MAX);
    for (size_t i = 0; i < COUNT(cases); i++) {
        buf_reset(&rest);
        const bool below = url_app_rest(cases[i][0], &app, &rest);
        if (below != (cases[i][1] != NULL))
            fail_msg("%s: %d", cases[i][0], below);
        assert_string_equal(rest.data, below ? cases[i][1] : "");
    }
    buf_free(&rest);
    url_app_free(&app);
}

TEST(knows_other_ways_to_serve)
{
    static const struct {
        const char *app_url;
        const char *url;
        bool loop;
    } cases[] = {
        /* At the root every path of the host is curt's. */
        {"https://sho.rt/", "https://sho.rt", true},
        {"https://sho.rt/", "http://sho.rt/x/y?z", true},
        {"https://sho.rt/", "https://sho.rt.", true},
        {"https://sho.rt/", "https://www.sho.rt/", false},
        {"https://sho.rt/", "https://sho.rt:8443/", false},
        /* A port of its own is another site on the same host. */
        {"http://127.0.0.1:8080/t/", "http://127.0.0.1:8080/t/a", true},
        {"http://127.0.0.1:8080/t/", "https://127.0.0.1:8080/t/a", true},
        {"http://127.0.0.1:8080/t/", "http://127.0.0.1/t/a", false},
        {"http://127.0.0.1:8080/t/", "http://127.0.0.1:8081/t/a", false},
        {"http://127.0.0.1:8080/t/", "http://2130706433:8080/t/a", true},
        {"http://127.0.0.1:8080/t/", "http://0x7f.1:8080/t/a", true},
        {"http://127.0.0.1:8080/t/", "http://127.0.0.1.:8080/t/a", true},
        {"http://[::1]/t/", "http://[0:0:0:0:0:0:0:1]/t/a", true},
        {"http://[::1]/t/", "http://[::2]/t/a", false},
        {"http://[::ffff:102:304]/t/", "http://[::FFFF:1.2.3.4]/t/a", true},
        {"http://127.0.0.1/t/", "http://%31%32%37.1/t/a", true},
        {"http://127.0.0.1/t/", "http://0177.0x0.0.1./t/a", true},
        {"http://127.0.0.1/t/",
         "http://\xef\xbc\x91\xef\xbc\x92\xef\xbc\x97"
         ".1/t/a",
         true},
        /* International names, in either form. */
        {"https://xn--mnchen-3ya.de/t/", "https://m\xc3\xbcnchen.de/t/a", true},
        {"https://xn--mnchen-3ya.de/t/", "https://M\xc3\x9cnchen.de/t/a", true},
        /* A prefix of several segments, and one that is encoded. */
        {"https://sho.rt/a/b/", "https://sho.rt/a/b/c", true},
        {"https://sho.rt/a/b/", "https://sho.rt/a/c", false},
        {"https://sho.rt/%C3%BC/", "https://sho.rt/\xc3\xbc/c", true},
        {"https://sho.rt/%7Ekim/", "https://sho.rt/~kim/c", true},
        {"https://sho.rt/~kim/", "https://sho.rt/%7ekim/c", true},
    };
    for (size_t i = 0; i < COUNT(cases); i++)
        if (is_loop(cases[i].url, cases[i].app_url) != cases[i].loop)
            fail_msg("%s, %s", cases[i].app_url, cases[i].url);
}

TEST(what_is_not_a_url_is_not_a_loop)
{
    struct url_app app = parse_app("https://sho.rt/t/");
    assert_false(url_app_rest("", &app, NULL));
    assert_false(url_app_rest("/t/a", &app, NULL));
    assert_false(url_app_rest("https:///t/a", &app, NULL));
    assert_false(url_app_rest("https://sho.rt:x/t/a", &app, NULL));
    url_app_free(&app);
}

/* ---- Origins --------------------------------------------------------- */

TEST(knows_its_own_origin)
{
    static const struct {
        const char *app_url;
        const char *origin;
        bool same;
    } cases[] = {
        {"https://sho.rt/t/", "https://sho.rt", true},
        {"https://sho.rt/t/", "https://sho.rt:443", true},
        {"https://sho.rt:443/t/", "https://sho.rt", true},
        {"https://SHO.rt/t/", "https://sho.rt", true},
        {"http://127.0.0.1:8080/", "http://127.0.0.1:8080", true},
        {"http://[::1]:8080/", "http://[::1]:8080", true},
        {"https://xn--mnchen-3ya.de/", "https://xn--mnchen-3ya.de", true},
        {"https://sho.rt/t/", "http://sho.rt", false},
        {"http://sho.rt/t/", "https://sho.rt", false},
        {"https://sho.rt/t/", "http://sho.rt:443", false},
        {"https://sho.rt/t/", "https://sho.rt:8443", false},
        {"https://sho.rt:8443/t/", "https://sho.rt", false},
        {"https://sho.rt/t/", "https://www.sho.rt", false},
        {"https://sho.rt/t/", "https://sho.rt.evil.example", false},
        {"https://sho.rt/t/", "https://evil.example/https://sho.rt", false},
        {"https://sho.rt/t/", "https://u@sho.rt", false},
        {"https://sho.rt/t/", "null", false},
        {"https://sho.rt/t/", "", false},
        {"https://sho.rt/t/", "sho.rt", false},
        {"https://sho.rt/t/", "https://", false},
        {"https://sho.rt/t/", "https://sho.rt https://evil.example", false},
        {"https://sho.rt/t/", "https://sho.rt, https://sho.rt", false},
        {"https://sho.rt/t/", "chrome-extension://sho.rt", false},
        {"https://sho.rt/t/", "https://\xff", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct url_app app = parse_app(cases[i].app_url);
        if (url_is_origin(cases[i].origin, &app) != cases[i].same)
            fail_msg("%s, %s", cases[i].app_url, cases[i].origin);
        url_app_free(&app);
    }
}
