/* Which hosts links may lead to, and URLs of other schemes. */
#include "test.h"

#include <locale.h>

#include "link/host.h"
#include "link/url.h"

/* What is made of a host before it is examined; "" where it is refused. */
static void assert_hosts(bool (*check)(const char *host), bool expected,
                         const char *const *hosts, size_t count)
{
    setlocale(LC_ALL, "C");
    for (size_t i = 0; i < count; i++) {
        struct buf host;
        buf_init(&host, 1000);
        assert_null(host_normalise(hosts[i], strlen(hosts[i]), &host));
        if (check(host.data) != expected)
            fail_msg("%s (%s): expected %d", hosts[i], host.data, expected);
        buf_free(&host);
    }
}

#define ASSERT_HOSTS(check, expected, ...)                                     \
    do {                                                                       \
        static const char *const hosts[] = {__VA_ARGS__};                      \
        assert_hosts(check, expected, hosts, COUNT(hosts));                    \
    } while (0)

/* ---- Private hosts --------------------------------------------------- */

TEST(addresses_that_are_not_global_are_private)
{
    ASSERT_HOSTS(host_is_private, true, "127.0.0.1", "127.1", "0x7f.1",
                 "017700000001", "2130706433", "0", "0.0.0.0", "0.255.255.255",
                 "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.255",
                 "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.0.0.1",
                 "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.19.255.255",
                 "198.51.100.7", "203.0.113.9", "224.0.0.1", "240.0.0.1",
                 "255.255.255.255", "192.168.1", "%31%30.0.0.1");
    ASSERT_HOSTS(host_is_private, false, "1.1.1.1", "9.255.255.255", "11.0.0.0",
                 "100.63.255.255", "100.128.0.0", "126.255.255.255",
                 "128.0.0.0", "169.253.0.1", "172.15.255.255", "172.32.0.0",
                 "192.0.1.0", "192.0.3.0", "192.167.0.1", "192.169.0.1",
                 "198.17.0.1", "198.20.0.0", "223.255.255.255");
}

TEST(addresses_of_version_6_likewise)
{
    ASSERT_HOSTS(host_is_private, true, "[::1]", "[::]", "[fe80::1]",
                 "[febf::1]", "[fc00::1]", "[fd12:3456::1]", "[ff02::1]",
                 "[fec0::1]", "[2001:db8::1]", "[2001:0:1::]", "[3fff::1]",
                 "[100::1]", "[::ffff:127.0.0.1]", "[::ffff:8.8.8.8]",
                 "[::10.0.0.1]", "[64:ff9b::a00:1]", "[64:ff9b:1::808:808]",
                 "[2002:7f00:1::]", "[2002:c0a8:101::1]");
    ASSERT_HOSTS(host_is_private, false, "[2606:4700::1111]",
                 "[2a00:1450:4001::1]", "[64:ff9b::808:808]",
                 "[2002:808:808::1]", "[2001:4860:4860::8888]");
}

TEST(names_of_the_local_network_are_private)
{
    ASSERT_HOSTS(host_is_private, true, "localhost", "LOCALHOST", "localhost.",
                 "a.localhost", "printer.local", "x.internal", "r.home.arpa",
                 "home.arpa", "nas.lan", "wiki.corp", "a.b.intranet");
    ASSERT_HOSTS(host_is_private, false, "example.com", "localhost.com",
                 "mylocal.example", "notlocal.org", "arpa.net", "home.example",
                 "xlocal", "local.example.com");
    ASSERT_HOSTS(host_is_single_label, true, "intranet", "x.", "a-b");
    ASSERT_HOSTS(host_is_single_label, false, "a.b", "a.b.", "[::1]",
                 "1.2.3.4");
}

TEST(knows_shorteners_and_what_is_below_them)
{
    ASSERT_HOSTS(host_is_shortener, true, "bit.ly", "BIT.LY", "www.bit.ly",
                 "t.co", "t.co.", "tinyurl.com", "is.gd", "rebrand.ly");
    ASSERT_HOSTS(host_is_shortener, false, "reddit.co", "xt.co",
                 "orbit.ly.example", "example.com", "bit.lynx.org", "ly");
}

/* ---- Names that look like others ------------------------------------- */

TEST(mixed_scripts_look_like_others)
{
    ASSERT_HOSTS(host_is_lookalike, true, "p\u0430ypal.com", /* Cyrillic a */
                 "www.g\u03bfogle.com",                      /* Greek omicron */
                 "\u0430\u03b2.com",       /* Cyrillic, Greek */
                 "xn--pypal-4ve.com",      /* in punycode */
                 "\u65e5\ud55c\u3042.com", /* Han, Hangul, Kana */
                 "a\u13a0.com",            /* Cherokee */
                 "\u0e01\u0430.com",       /* Thai, Cyrillic */
                 "b\u0456nance.xn--p1ai");
    ASSERT_HOSTS(host_is_lookalike, false, "example.com", "a-1.example",
                 "m\u00fcnchen.de",
                 "\u0440\u0443\u0441\u0441\u043a\u0438"
                 "\u0439.com", /* has no Latin shapes */
                 "\u65e5\u672c\u8a9e.jp", "\u65e5\u3042\u30a2abc.jp",
                 "\u30b9\u30fc\u30d1\u30fc.jp", /* with U+30FC */
                 "\ud55c\u6f22abc.kr", "abc\u0e01\u0e02.th",
                 "\u05d0\u05d1.co.il", "\u0430\u0431.example.com",
                 "a.\u0431\u0432.com", "1.2.3.4", "[::1]", "xn--ls8h.la");
}

TEST(a_name_of_only_latin_shapes_looks_like_another)
{
    ASSERT_HOSTS(host_is_lookalike, true,
                 "\u0430\u0440\u0440\u04cf\u0435.com", /* apple */
                 "xn--80ak6aa92e.com",
                 "www.\u0430\u0440\u0440\u04cf\u0435.com.",
                 "\u0435\u0440\u0430\u0441-1.org", "\u03bf\u03bd\u03bf.com");
    /* Where the top-level domain is not in ASCII, such words are words. */
    ASSERT_HOSTS(host_is_lookalike, false,
                 "\u0440\u043e\u0441\u0430.\u0440\u0444",
                 "\u0440\u043e\u0441\u0430.xn--p1ai.");
}

/* ---- Other schemes --------------------------------------------------- */

static const char *const schemes = "http https, mailto\ttel app+x ssh";

static const char *normalise(const char *list, const char *in, struct buf *out)
{
    const char *reason = NULL;
    buf_init(out, URL_MAX);
    const enum result r =
        url_normalise(list, in, strlen(in), NULL, out, &reason);
    assert_int_equal(r, reason == NULL ? RESULT_OK : RESULT_INVALID);
    return reason;
}

TEST(listed_schemes_keep_what_follows)
{
    static const char *const cases[][2] = {
        {"mailto:a@example.com", "mailto:a@example.com"},
        {" MAILTO:A@Example.com \n", "mailto:A@Example.com"},
        {"mailto:a@x.org?subject=a b&body=\xc3\xbc",
         "mailto:a@x.org?subject=a%20b&body=%C3%BC"},
        {"tel:+49-30-123", "tel:+49-30-123"},
        {"App+X://open?id=1#x y", "app+x://open?id=1#x%20y"},
        {"app+x:\\path\"<>", "app+x:%5Cpath%22%3C%3E"},
        {"app+x:100%", "app+x:100%25"},
        {"app+x:%41%zz", "app+x:%41%25zz"},
        {"ssh://me@[2001:db8::1]:22/", "ssh://me@[2001:db8::1]:22/"},
        {"http://EXAMPLE.com", "http://example.com/"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buf out, again;
        const char *reason = normalise(schemes, cases[i][0], &out);
        if (reason != NULL)
            fail_msg("%s %s", cases[i][0], reason);
        assert_string_equal(out.data, cases[i][1]);
        assert_null(normalise(schemes, out.data, &again));
        assert_string_equal(again.data, out.data);
        buf_free(&out);
        buf_free(&again);
    }
}

TEST(other_schemes_are_refused)
{
    static const struct {
        const char *list, *in, *why;
    } cases[] = {
        {schemes, "ftp://x/", "is not an absolute http or https URL"},
        {schemes, "mailt:a@b", "is not an absolute http or https URL"},
        {schemes, "mailto", "is not an absolute http or https URL"},
        {schemes, ":x", "is not an absolute http or https URL"},
        {NULL, "mailto:a@b", "is not an absolute http or https URL"},
        {"", "mailto:a@b", "is not an absolute http or https URL"},
        {"javascript data file", "javascript:alert(1)", "is not an absolute"},
        {"JavaScript", "JAVASCRIPT:alert(1)", "is not an absolute"},
        {"data", "data:text/html,x", "is not an absolute"},
        {"blob file vbscript about", "vbscript:x", "is not an absolute"},
        {schemes, "mailto:", "has nothing after its scheme"},
        {schemes, "mailto:a\r\nSet-Cookie: b", "has a control character"},
        {schemes, "mailto:a\x7f\x62", "has a control character"},
        {schemes, "mailto:\xff", "is not valid UTF-8"},
        {schemes, "http://u@x/", "has user information in it"},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        struct buf out;
        const char *reason = normalise(cases[i].list, cases[i].in, &out);
        if (reason == NULL || strstr(reason, cases[i].why) == NULL)
            fail_msg("%s: %s", cases[i].in, reason);
        buf_free(&out);
    }
}

TEST(other_schemes_have_the_same_limit)
{
    struct buf in, out;
    buf_init(&in, 2 * URL_MAX);
    buf_add_str(&in, "tel:");
    while (in.len < URL_MAX)
        buf_add_char(&in, '1');
    assert_null(normalise(schemes, in.data, &out));
    assert_int_equal(out.len, URL_MAX);
    buf_free(&out);
    buf_add_char(&in, '1');
    assert_string_equal(normalise(schemes, in.data, &out),
                        "is longer than 8,000 bytes");
    buf_free(&out);
    buf_free(&in);
}

TEST(finds_the_host_of_a_normalised_url)
{
    static const char *const cases[][2] = {
        {"http://x.org/", "x.org"},
        {"https://x.org:8443/a@b:c", "x.org"},
        {"http://[::1]:80/", "[::1]"},
        {"http://x/?q=://y/", "x"},
        {"ssh://me@y.org:22/", "y.org"},
        {"ssh://me:a@b@[::1]/", "[::1]"},
        {"ssh://me@[::1", "[::1"},
        {"app+x://y?z", "y"},
        {"app+x://y#z@w", "y"},
        {"app+x://", ""},
        {"mailto:a@y.org", ""},
        {"tel:1", ""},
        {"app:/x", ""},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        size_t len;
        const char *host = url_host(cases[i][0], &len);
        assert_int_equal(len, strlen(cases[i][1]));
        assert_memory_equal(host, cases[i][1], len);
        assert_in_range(host - cases[i][0], 1, strlen(cases[i][0]));
    }
}
