/* The policy for long URLs, and APP_URL. Run under LANG=C, as servers are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <locale.h>
#include <string.h>

#include "mem.h"
#include "url.h"

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

/* Normalises len bytes into out; returns the reason of a refusal, or NULL. */
static const char *normalise(const char *in, size_t len, struct buf *out)
{
    const char *reason = NULL;
    buf_init(out, URL_MAX);
    enum result r = url_normalise(in, len, out, &reason);
    if (r == RESULT_OK)
        return NULL;
    assert_int_equal(r, RESULT_INVALID);
    assert_non_null(reason);
    return reason;
}

static void assert_becomes(const char *in, const char *expected)
{
    struct buf out, again;
    const char *reason = normalise(in, strlen(in), &out);
    if (reason != NULL)
        fail_msg("%s was refused: %s", in, reason);
    assert_string_equal(out.data, expected);
    assert_true(url_is_servable(out.data));
    assert_null(normalise(out.data, out.len, &again));
    assert_string_equal(again.data, out.data);
    buf_free(&again);
    buf_free(&out);
}

static void assert_refused_bytes(const char *in, size_t len, const char *why)
{
    struct buf out;
    const char *reason = normalise(in, len, &out);
    if (reason == NULL)
        fail_msg("%s became %s", in, out.data);
    if (strstr(reason, why) == NULL)
        fail_msg("%s was refused because it %s", in, reason);
    buf_free(&out);
}

static void assert_refused(const char *in, const char *why)
{
    assert_refused_bytes(in, strlen(in), why);
}

/* ---- Normalising ----------------------------------------------------- */

static const char *const unchanged[] = {
    "http://example.com/",
    "https://example.com/",
    "https://example.com/a/b?c=d&e=f#g",
    /* What is encoded stays byte for byte, and a lone % stays. */
    "http://x/%2f%2F%41%zz%%20%",
    "http://x/?%",
    /* Dot segments are the browser's affair. */
    "http://x/a/../b/./c/..",
    /* No character of the path is curt's affair. */
    "http://x/a|b\"c<d>`{}^\\e'(*)!$,;=@:",
    "http://x//a//b",
    "http://x/?a?b/c@d:e#f#g?h/i",
    "http://x.y/http://u@z/",
    "http://x./",
    "http://a_b.c-d/",
    "http://xn--mnchen-3ya.de/",
    "http://127.0.0.1/",
    "http://1.2.3.4.5/",
    "http://[::1]/",
    "http://[2001:db8::7]:8080/x",
    "http://x:80/",
    "https://x:443/",
    "http://x:1/",
    "http://x:65535/",
};

static void keeps_what_is_right(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(unchanged); i++)
        assert_becomes(unchanged[i], unchanged[i]);
}

static const char *const changed[][2] = {
    /* White space around is dropped, spaces inside are encoded. */
    {" \t\r\n\v\fhttp://x/ \t\r\n\v\f", "http://x/"},
    {"http://x/a b  c?d e#f g", "http://x/a%20b%20%20c?d%20e#f%20g"},
    {"http://x/a%20 b", "http://x/a%20%20b"},
    /* Scheme and host in lower case, and nothing else. */
    {"HTTP://EXAMPLE.Com/PaTh?Q#F", "http://example.com/PaTh?Q#F"},
    {"hTtPs://X", "https://x/"},
    /* There is always a path. */
    {"http://x", "http://x/"},
    {"http://x?q", "http://x/?q"},
    {"http://x#f", "http://x/#f"},
    {"http://x:80?q", "http://x:80/?q"},
    /* Non-ASCII, as UTF-8. */
    {"http://x/\xc3\xbc?\xe2\x82\xac#\xf0\x9f\x98\x80",
     "http://x/%C3%BC?%E2%82%AC#%F0%9F%98%80"},
    {"http://x/\xc2\xa0\xe3\x80\x80", "http://x/%C2%A0%E3%80%80"},
    {"http://x/\xef\xbb\xbf", "http://x/%EF%BB%BF"},
    /* International host names. */
    {"http://m\xc3\xbcnchen.de/", "http://xn--mnchen-3ya.de/"},
    {"http://M\xc3\x9cNCHEN.DE/", "http://xn--mnchen-3ya.de/"},
    {"http://stra\xc3\x9f"
     "e.de/",
     "http://xn--strae-oqa.de/"},
    {"http://\xe4\xbe\x8b\xe3\x81\x88.jp:81/x", "http://xn--r8jz45g.jp:81/x"},
    {"http://a\xe3\x80\x82"
     "b/",
     "http://a.b/"},
    {"http://\xef\xbd\x98.y/", "http://x.y/"},
    /* A host that is percent-encoded is the host that it encodes. */
    {"http://%65xample.com/", "http://example.com/"},
    {"http://ex%C3%A4mple.com/", "http://xn--exmple-cua.com/"},
    /* Addresses in disguise. */
    {"http://0x7f.1/", "http://127.0.0.1/"},
    {"http://0X7F000001/", "http://127.0.0.1/"},
    {"http://2130706433/", "http://127.0.0.1/"},
    {"http://0177.0.0.01/", "http://127.0.0.1/"},
    {"http://127.1/", "http://127.0.0.1/"},
    {"http://[0:0:0:0:0:0:0:1]/", "http://[::1]/"},
    {"http://[2001:DB8::7]/", "http://[2001:db8::7]/"},
    /* Ports. */
    {"http://x:/", "http://x/"},
    {"http://x:00080/", "http://x:80/"},
};

static void normalises_the_rest(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(changed); i++)
        assert_becomes(changed[i][0], changed[i][1]);
}

static void works_whatever_the_locale(void **state)
{
    (void)state;
    static const char *const locales[] = {"C", "C.UTF-8"};
    for (size_t i = 0; i < COUNT(locales); i++) {
        assert_non_null(setlocale(LC_ALL, locales[i]));
        assert_becomes("http://m\xc3\xbcnchen.de/\xc3\xbc",
                       "http://xn--mnchen-3ya.de/%C3%BC");
        assert_string_equal(setlocale(LC_ALL, NULL), locales[i]);
    }
    setlocale(LC_ALL, "C");
}

static const struct {
    const char *in;
    const char *why;
} refused[] = {
    {"", "is empty"},
    {" \t\n", "is empty"},
    {"x", "is not an absolute http or https URL"},
    {"/x", "is not an absolute http or https URL"},
    {"//x/", "is not an absolute http or https URL"},
    {"www.example.com", "is not an absolute http or https URL"},
    {"ftp://x/", "is not an absolute http or https URL"},
    {"javascript:alert(1)", "is not an absolute http or https URL"},
    {"data:text/html,x", "is not an absolute http or https URL"},
    {"http", "is not an absolute http or https URL"},
    {"http:", "is not an absolute http or https URL"},
    {"http:x", "is not an absolute http or https URL"},
    {"http:/x", "is not an absolute http or https URL"},
    {"http:\\\\x\\", "is not an absolute http or https URL"},
    {"http:/\\x/", "is not an absolute http or https URL"},
    {"http//x/", "is not an absolute http or https URL"},
    {"httpss://x/", "is not an absolute http or https URL"},
    {"http ://x/", "is not an absolute http or https URL"},
    {"\xef\xbb\xbfhttp://x/", "is not an absolute http or https URL"},
    {"\xef\xbd\x88ttp://x/", "is not an absolute http or https URL"},
    {"http://", "has no host"},
    {"http:///x", "has no host"},
    {"http:////x", "has no host"},
    {"http://?q", "has no host"},
    {"http://#f", "has no host"},
    {"http://:80/", "has no host"},
    {"http://:/", "has no host"},
    {"http://@x", "has user information"},
    {"http://u@x/", "has user information"},
    {"http://u:p@x/", "has user information"},
    {"http://:@x/", "has no host"},
    {"http://x@/", "has user information"},
    {"http://u%40h@x/", "has user information"},
    {"http://[::1]@x/", "has user information"},
    {"http://x:65536/", "has no usable host or port"},
    {"http://x:99999999999999999999/", "has no usable host or port"},
    {"http://x:+80/", "has no usable host or port"},
    {"http://x:-1/", "has no usable host or port"},
    {"http://x:8a/", "has no usable host or port"},
    {"http://x: 80/", "has no usable host or port"},
    {"http://x:80:80/", "has no usable host or port"},
    {"http://a b/", "has no usable host or port"},
    {"http:// x/", "has no usable host or port"},
    {"http://a%20b/", "has no usable host or port"},
    {"http://a%2fb/", "has no usable host or port"},
    {"http://a%40b/", "has no usable host or port"},
    {"http://a%3ab/", "has no usable host or port"},
    {"http://a%00b/", "has no usable host or port"},
    {"http://a%0d%0ab/", "has no usable host or port"},
    {"http://a%zz/", "has no usable host or port"},
    {"http://a\\b/", "has no usable host or port"},
    {"http://a;b/", "has no usable host or port"},
    {"http://a,b/", "has no usable host or port"},
    {"http://a*b/", "has no usable host or port"},
    {"http://a<b>/", "has no usable host or port"},
    {"http://a'b/", "has no usable host or port"},
    {"http://a\"b/", "has no usable host or port"},
    {"http://a|b/", "has no usable host or port"},
    {"http://a^b/", "has no usable host or port"},
    {"http://a`b/", "has no usable host or port"},
    {"http://a&b/", "has no usable host or port"},
    {"http://.x/", "has no usable host or port"},
    {"http://./", "has no usable host or port"},
    {"http://[::1/", "has no usable host or port"},
    {"http://::1/", "has no"},
    {"http://[::1]x/", "has no usable host or port"},
    {"http://[]/", "has no usable host or port"},
    {"http://[x]/", "has no usable host or port"},
    {"http://[1.2.3.4]/", "has no usable host or port"},
    {"http://[::1%25eth0]/", "has an IPv6 zone"},
    {"http://[fe80::1%eth0]/", "has an IPv6 zone"},
    /* What IDNA maps to '/', '@', ':' and the like inside a host. */
    {"http://a\xe2\x84\x80"
     "b/",
     "has "}, /* U+2100 a/c */
    {"http://a\xef\xbc\x8f"
     "b/",
     "has "}, /* U+FF0F fullwidth / */
    {"http://a\xef\xbc\xa0"
     "b/",
     "has "}, /* U+FF20 fullwidth @ */
    {"http://a\xef\xbc\x9a"
     "80/",
     "has "}, /* U+FF1A fullwidth : */
    {"http://a\xef\xbc\x9f"
     "b/",
     "has "}, /* U+FF1F fullwidth ? */
    {"http://a\xef\xbc\x83"
     "b/",
     "has "}, /* U+FF03 fullwidth # */
    {"http://a\xef\xbc\x85"
     "41/",
     "has "}, /* U+FF05 fullwidth % */
    {"http://a\xef\xbc\xbc"
     "b/",
     "has "},                          /* U+FF3C fullwidth \ */
    {"http://a\xef\xb9\xab/", "has "}, /* U+FE6B small @ */
    {"http://a%EF%BC%8Fb/", "has "},   /* the same, encoded */
    {"http://a\xc2\xa0/", "has "},     /* no-break space */
    {"http://\xc2\xad/", "has "},      /* soft hyphen alone */
    {"http://a\xe2\x80\xae"
     "b/",
     "has "}, /* right-to-left override */
    {"http://a\xf0\x9f\x92/", "is not valid UTF-8"},
    {"http://x/\xff", "is not valid UTF-8"},
    {"http://x/\xc0\x80", "is not valid UTF-8"},
    {"http://x/\xed\xa0\x80", "is not valid UTF-8"},
    {"http://x/\xe2\x82", "is not valid UTF-8"},
    {"\xff", "is not valid UTF-8"},
};

static void refuses_what_cannot_be_a_link(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT(refused); i++)
        assert_refused(refused[i].in, refused[i].why);
}

static void refuses_every_control_character(void **state)
{
    (void)state;
    static const char *const where[] = {"http://x%sy/",   "http://x/a%sb",
                                        "http://x/?a%sb", "http://x/#a%sb",
                                        "ht%stp://x/",    "http:/%s/x/"};
    for (unsigned c = 1; c <= 0x9f; c += c == 0x1f ? 0x60 : 1) {
        const char one[] = {(char)c, '\0'};
        const char two[] = {'\xc2', (char)c, '\0'};
        for (size_t i = 0; i < COUNT(where); i++) {
            struct buf in;
            buf_init(&in, 40);
            const char *place = strstr(where[i], "%s");
            buf_add(&in, where[i], (size_t)(place - where[i]));
            buf_add_str(&in, c < 0x80 ? one : two);
            buf_add_str(&in, place + 2);
            assert_refused(in.data, "has a control character");
            buf_free(&in);
        }
    }
}

static void refuses_nul(void **state)
{
    (void)state;
    assert_refused_bytes("\0http://x/", 10, "control character");
    assert_refused_bytes("http://x\0y/", 11, "control character");
    assert_refused_bytes("http://x/\0", 10, "control character");
    assert_refused_bytes("http://x/a\0b", 12, "control character");
    assert_refused_bytes("http://x/ \0 ", 12, "control character");
}

static void reads_no_more_than_its_bytes(void **state)
{
    (void)state;
    struct buf out;
    assert_null(normalise("http://x/ab\x01", 10, &out));
    assert_string_equal(out.data, "http://x/a");
    buf_free(&out);
}

/* ---- Length ---------------------------------------------------------- */

/* before and then n times piece, of which the result is to be freed. */
static char *repeat(const char *before, const char *piece, size_t n)
{
    struct buf b;
    buf_init(&b, 1u << 20);
    buf_add_str(&b, before);
    for (size_t i = 0; i < n; i++)
        buf_add_str(&b, piece);
    assert_false(buf_failed(&b));
    return b.data; /* not NULL, and owned by the caller from here */
}

static void assert_length(const char *piece, size_t n, size_t len)
{
    struct buf out;
    char *in = repeat("http://x/", piece, n);
    const char *reason = normalise(in, strlen(in), &out);
    if (len > URL_MAX) {
        assert_string_equal(reason, "is longer than 8,000 bytes");
    } else {
        assert_null(reason);
        assert_int_equal(out.len, len);
        assert_true(url_is_servable(out.data));
    }
    buf_free(&out);
    mem_free_secret(in);
}

static void allows_8000_bytes_after_normalising(void **state)
{
    (void)state;
    assert_length("a", 7990, 7999);
    assert_length("a", 7991, 8000);
    assert_length("a", 7992, 8001);
    assert_length(" ", 0, 9);
    assert_length("\xc3\xbc", 1331, 7995);
    assert_length("\xc3\xbc", 1332, 8001);
    assert_length("a b", 1598, 7999);
    assert_length("a b", 1599, 8004);
    assert_length("a", 24000, 24009);
    assert_length("a", 100000, 100009);
}

static void room_for_more_allows_no_more(void **state)
{
    (void)state;
    struct buf out;
    const char *reason = NULL;
    char *in = repeat("http://x/", "a", 7992);
    buf_init(&out, 1u << 20);
    assert_int_equal(url_normalise(in, strlen(in), &out, &reason),
                     RESULT_INVALID);
    assert_string_equal(reason, "is longer than 8,000 bytes");
    buf_free(&out);
    mem_free_secret(in);
}

static void white_space_around_does_not_count(void **state)
{
    (void)state;
    char *spaces = repeat("", " ", 60000);
    struct buf in, out;
    buf_init(&in, 1u << 20);
    buf_addf(&in, "%shttp://x/%s", spaces, spaces);
    assert_null(normalise(in.data, in.len, &out));
    assert_string_equal(out.data, "http://x/");
    buf_free(&in);
    buf_free(&out);
    mem_free_secret(spaces);
}

static void a_path_that_is_added_counts(void **state)
{
    (void)state;
    struct buf out;
    char *in = repeat("http://x?", "a", 7990); /* 7,999 bytes, plus '/' */
    assert_null(normalise(in, strlen(in), &out));
    assert_int_equal(out.len, 8000);
    buf_free(&out);
    mem_free_secret(in);
    in = repeat("http://x?", "a", 7991);
    assert_string_equal(normalise(in, strlen(in), &out),
                        "is longer than 8,000 bytes");
    buf_free(&out);
    mem_free_secret(in);
}

static void long_hosts_end_well(void **state)
{
    (void)state;
    static const size_t sizes[] = {63, 64, 253, 255, 256, 1000, 7900, 9000};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        struct buf out;
        char *in = repeat("http://", "a", sizes[i]);
        const char *reason = normalise(in, strlen(in), &out);
        if (reason == NULL) {
            assert_true(url_is_servable(out.data));
            assert_int_equal(out.len, strlen(in) + 1);
        }
        assert_true(sizes[i] <= URL_MAX || reason != NULL);
        buf_free(&out);
        mem_free_secret(in);
    }
}

/* ---- What is stored -------------------------------------------------- */

static void tells_what_can_be_served(void **state)
{
    (void)state;
    assert_true(url_is_servable("http://x/"));
    assert_true(url_is_servable("HTTPS://X"));
    assert_true(url_is_servable("http://x/%0d%0a"));
    static const char *const not_servable[] = {
        "",
        "x",
        "/",
        "//x/",
        "ftp://x/",
        "javascript:alert(1)",
        "http:/x",
        "http:///x",
        "http://u@x/",
        "http://x/ ",
        " http://x/",
        "http://x/\r\nSet-Cookie: a=b",
        "http://x/\n",
        "http://x/\t",
        "http://x/\x7f",
        "http://x/\x01",
        "http://x/\xc3\xbc",
        "http://x/\x80",
    };
    for (size_t i = 0; i < COUNT(not_servable); i++)
        if (url_is_servable(not_servable[i]))
            fail_msg("%s counts as servable", not_servable[i]);
    char *url = repeat("http://x/", "a", 7991);
    assert_true(url_is_servable(url));
    mem_free_secret(url);
    url = repeat("http://x/", "a", 7992);
    assert_false(url_is_servable(url));
    mem_free_secret(url);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keeps_what_is_right),
        cmocka_unit_test(normalises_the_rest),
        cmocka_unit_test(works_whatever_the_locale),
        cmocka_unit_test(refuses_what_cannot_be_a_link),
        cmocka_unit_test(refuses_every_control_character),
        cmocka_unit_test(refuses_nul),
        cmocka_unit_test(reads_no_more_than_its_bytes),
        cmocka_unit_test(allows_8000_bytes_after_normalising),
        cmocka_unit_test(room_for_more_allows_no_more),
        cmocka_unit_test(white_space_around_does_not_count),
        cmocka_unit_test(a_path_that_is_added_counts),
        cmocka_unit_test(long_hosts_end_well),
        cmocka_unit_test(tells_what_can_be_served),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
