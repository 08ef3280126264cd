/* The policy for long URLs, and APP_URL. Run under LANG=C, as servers are. */
#include "test.h"

#include <locale.h>

#include "base/mem.h"
#include "link/url.h"

/* Normalises len bytes into out; returns the reason of a refusal, or NULL. */
static const char *normalise(const char *in, size_t len, struct buf *out)
{
    const char *reason = NULL;
    buf_init(out, URL_MAX);
    enum result r = url_normalise(NULL, in, len, NULL, out, &reason);
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
    /* What is encoded stays byte for byte. */
    "http://x/%2f%2F%41%c3%BC%20%00?%2f%5c#%2f",
    /* Dot segments are the browser's affair. */
    "http://x/a/../b/./c/..",
    "http://x/a/%2e%2E/b",
    /* All that RFC 3986 allows. */
    "http://x/-._~!$&'()*+,;=:@/?-._~!$&'()*+,;=:@/?",
    "http://x//a//b",
    "http://x/?a?b/c@d:e#f?g/h?i",
    "http://x.y/http://u@z/",
    /* Pages get the fragment from the browser as it is here. */
    "http://x/#!/a|b[c]{d}\\e^f#g%zz%",
    "http://x/#:~:text=a,-b",
    /* Hosts. */
    "http://x./",
    "http://a_b.c-d/",
    "http://r3---sn-4g5e.example/",
    "http://-a.b-/",
    "http://xn--mnchen-3ya.de/",
    "http://xn--ls8h.la/", /* an emoji */
    "http://xn--fa-hia89822c.example/",
    "http://127.0.0.1/",
    "http://1.2.3.4.5.x/",
    "http://1.2.3.4a/",
    "http://0xg/",
    "http://[::1]/",
    "http://[2001:db8::7]:8080/x",
    "http://[1:2:3:4:5:6:7:8]/",
    "http://[1::]/",
    "http://[1:0:2:0:3:0:4:0]/",
    "http://x:80/",
    "https://x:443/",
    "http://x:1/",
    "http://x:65535/",
};

TEST(keeps_what_is_right)
{
    for (size_t i = 0; i < COUNT(unchanged); i++)
        assert_becomes(unchanged[i], unchanged[i]);
}

static const char *const changed[][2] = {
    /* Blanks around are dropped, those inside are encoded. */
    {" \t\r\n\v\fhttp://x/ \t\r\n\v\f", "http://x/"},
    {"\xef\xbb\xbf\xe2\x80\x8bhttp://x/\xc2\xa0\xe3\x80\x80", "http://x/"},
    {"\xe2\x80\xaa \xe2\x80\x8ehttp://x/\xe2\x80\xac\n\xe2\x81\xa0",
     "http://x/"},
    {"http://x/\xe2\x80\x8b\xc2\xa0y?\xe2\x80\x8dz#\xef\xbb\xbf.",
     "http://x/%E2%80%8B%C2%A0y?%E2%80%8Dz#%EF%BB%BF."},
    {"http://x/\xe2\x80\x8a", "http://x/%E2%80%8A"},
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
    /* A backslash is a slash up to the query. */
    {"http:\\\\x\\a/b\\..\\c", "http://x/a/b/../c"},
    {"https:/\\x:81\\", "https://x:81/"},
    {"https:\\/x\\?a\\b#c\\d", "https://x/?a%5Cb#c\\d"},
    {"http://x\\@y/", "http://x/@y/"},
    /* What RFC 3986 does not allow. */
    {"http://x/a|b\"c<d>`{}^[e]'(*)!$,;=@:",
     "http://x/a%7Cb%22c%3Cd%3E%60%7B%7D%5E%5Be%5D'(*)!$,;=@:"},
    {"http://x/?a|b\"c<d>`{}^[e]'(*)!$,;=@:",
     "http://x/?a%7Cb%22c%3Cd%3E%60%7B%7D%5E%5Be%5D'(*)!$,;=@:"},
    {"http://x/#a\"c<d>`e f", "http://x/#a%22c%3Cd%3E%60e%20f"},
    {"http://x/%", "http://x/%25"},
    {"http://x/%4", "http://x/%254"},
    {"http://x/%4\xc3\xbc", "http://x/%254%C3%BC"},
    {"http://x/%zz%%20%?%g0&%0g%", "http://x/%25zz%25%20%25?%25g0&%250g%25"},
    {"http://x/%%41?%%%41%", "http://x/%25%41?%25%25%41%25"},
    {"http://x/%u00e9", "http://x/%25u00e9"},
    /* Non-ASCII, as UTF-8. */
    {"http://x/\xc3\xbc?\xe2\x82\xac#\xf0\x9f\x98\x80",
     "http://x/%C3%BC?%E2%82%AC#%F0%9F%98%80"},
    {"http://x/\xe2\x80\xa8/\xef\xbf\xbf", "http://x/%E2%80%A8/%EF%BF%BF"},
    /* International host names. */
    {"http://m\xc3\xbcnchen.de/", "http://xn--mnchen-3ya.de/"},
    {"http://M\xc3\x9cNCHEN.DE/", "http://xn--mnchen-3ya.de/"},
    {"http://XN--MNCHEN-3YA.DE/", "http://xn--mnchen-3ya.de/"},
    {"http://stra\xc3\x9f"
     "e.de/",
     "http://xn--strae-oqa.de/"},
    {"http://\xcf\x82.gr/", "http://xn--3xa.gr/"}, /* final sigma */
    {"http://\xe4\xbe\x8b\xe3\x81\x88.jp:81/x", "http://xn--r8jz45g.jp:81/x"},
    {"http://a\xe3\x80\x82"
     "b/",
     "http://a.b/"},
    {"http://\xef\xbd\x98.y/", "http://x.y/"},
    {"http://a\xc2\xad"
     "b/",
     "http://ab/"}, /* soft hyphen */
    {"http://XN--LS8H.la/", "http://xn--ls8h.la/"},
    /* A joiner where the script needs it. */
    {"http://\xe0\xa4\x95\xe0\xa5\x8d\xe2\x80\x8d\xe0\xa4\xb7.x/",
     "http://xn--11b2ezcw70k.x/"},
    /* A host that is percent-encoded is the host that it encodes. */
    {"http://%65xample.com/", "http://example.com/"},
    {"http://ex%C3%A4mple.com/", "http://xn--exmple-cua.com/"},
    {"http://%31%32%37.1/", "http://127.0.0.1/"},
    {"http://a%e3%80%82%62/", "http://a.b/"},
    /* Addresses in disguise. */
    {"http://0x7f.1/", "http://127.0.0.1/"},
    {"http://0X7F000001/", "http://127.0.0.1/"},
    {"http://2130706433/", "http://127.0.0.1/"},
    {"http://0177.0.0.01/", "http://127.0.0.1/"},
    {"http://127.1/", "http://127.0.0.1/"},
    {"http://127.0.0.1./", "http://127.0.0.1/"},
    {"http://0x.0x/", "http://0.0.0.0/"},
    {"http://1.2.772/", "http://1.2.3.4/"},
    {"http://1.2.3.\xef\xbc\x94/", "http://1.2.3.4/"}, /* fullwidth 4 */
    {"http://4294967295/", "http://255.255.255.255/"},
    {"http://[0:0:0:0:0:0:0:1]/", "http://[::1]/"},
    {"http://[2001:DB8::7]/", "http://[2001:db8::7]/"},
    {"http://[::127.0.0.1]/", "http://[::7f00:1]/"},
    {"http://[::ffff:1.2.3.4]/", "http://[::ffff:102:304]/"},
    {"http://[1:0:0:2:0:0:0:3]/", "http://[1:0:0:2::3]/"},
    {"http://[1:0:0:2:3:0:0:4]/", "http://[1::2:3:0:0:4]/"},
    {"http://[1:2:3:4:5:6:7::]/", "http://[1:2:3:4:5:6:7:0]/"},
    {"http://[0:0:0:0:0:0:0:0]/", "http://[::]/"},
    /* Ports. */
    {"http://x:/", "http://x/"},
    {"http://x:00080/", "http://x:80/"},
    {"http://[::1]:", "http://[::1]/"},
};

TEST(normalises_the_rest)
{
    for (size_t i = 0; i < COUNT(changed); i++)
        assert_becomes(changed[i][0], changed[i][1]);
}

TEST(works_whatever_the_locale)
{
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
    {"http//x/", "is not an absolute http or https URL"},
    {"httpss://x/", "is not an absolute http or https URL"},
    {"http ://x/", "is not an absolute http or https URL"},
    {"\xef\xbd\x88ttp://x/", "is not an absolute http or https URL"},
    {"http://", "has no host"},
    {"http:\\x", "is not an absolute http or https URL"},
    {"http:///x", "has no host"},
    {"http:\\\\\\x", "has no host"},
    {"http://\\x", "has no host"},
    {"http:////x", "has no host"},
    {"http://?q", "has no host"},
    {"http://#f", "has no host"},
    {"http://:80/", "has no host"},
    {"http://:/", "has no host"},
    {"http://@x", "has user information"},
    {"http://u@x/", "has user information"},
    {"http://u:p@x/", "has user information"},
    {"http://:@x/", "has user information"},
    {"http://x@/", "has user information"},
    {"http://u%40h@x/", "has user information"},
    {"http://[::1]@x/", "has user information"},
    {"http://x:65536/", "has a port that is not a number"},
    {"http://x:99999999999999999999/", "has a port that is not a number"},
    {"http://x:0/", "has a port that is not a number"},
    {"http://x:+80/", "has a port that is not a number"},
    {"http://x:-1/", "has a port that is not a number"},
    {"http://x:8a/", "has a port that is not a number"},
    {"http://x: 80/", "has a port that is not a number"},
    {"http://x:80:80/", "has a port that is not a number"},
    {"http://a b/", "is not a valid domain name"},
    {"http:// x/", "is not a valid domain name"},
    {"http://a%20b/", "is not a valid domain name"},
    {"http://a%2fb/", "is not a valid domain name"},
    {"http://a%40b/", "is not a valid domain name"},
    {"http://a%3ab/", "is not a valid domain name"},
    {"http://a%00b/", "is not a valid domain name"},
    {"http://a%0d%0ab/", "is not a valid domain name"},
    {"http://a%zz/", "is not a valid domain name"},
    {"http://a;b/", "is not a valid domain name"},
    {"http://a,b/", "is not a valid domain name"},
    {"http://a*b/", "is not a valid domain name"},
    {"http://a<b>/", "is not a valid domain name"},
    {"http://a'b/", "is not a valid domain name"},
    {"http://a\"b/", "is not a valid domain name"},
    {"http://a|b/", "is not a valid domain name"},
    {"http://a^b/", "is not a valid domain name"},
    {"http://a`b/", "is not a valid domain name"},
    {"http://a&b/", "is not a valid domain name"},
    {"http://.x/", "is not a valid domain name"},
    {"http://./", "is not a valid domain name"},
    {"http://[::1/", "has a host that is not a valid IPv6"},
    {"http://::1/", "has no host"},
    {"http://[::1]x/", "has a port that is not"},
    {"http://[]/", "has a host that is not a valid IPv6"},
    {"http://[x]/", "has a host that is not a valid IPv6"},
    {"http://[1.2.3.4]/", "has a host that is not a valid IPv6"},
    {"http://[::1%25eth0]/", "has a host that is not a valid IPv6"},
    {"http://[fe80::1%eth0]/", "has a host that is not a valid IPv6"},
    {"http://[::1::]/", "has a host that is not a valid IPv6"},
    {"http://[1:2:3:4:5:6:7:8:9]/", "has a host that is not a valid IPv6"},
    {"http://[::12345]/", "has a host that is not a valid IPv6"},
    {"http://[::1.2.3.256]/", "has a host that is not a valid IPv6"},
    {"http://[", "has a host that is not a valid IPv6"},
    {"http://%5b%3a%3a1%5d/", "is not a valid domain name"},
    /* A host that ends in a number is an address, or nothing. */
    {"http://256.1.1.1/", "has a host that is not a valid IPv4"},
    {"http://1.2.3.4.5/", "has a host that is not a valid IPv4"},
    {"http://1.2.3.256/", "has a host that is not a valid IPv4"},
    {"http://4294967296/", "has a host that is not a valid IPv4"},
    {"http://0x100000000/", "has a host that is not a valid IPv4"},
    {"http://99999999999999999999999999/",
     "has a host that is not a valid IPv4"},
    {"http://x.1/", "has a host that is not a valid IPv4"},
    {"http://1.x.09/", "has a host that is not a valid IPv4"},
    {"http://1.2.3.08/", "has a host that is not a valid IPv4"},
    {"http://x.0x1./", "has a host that is not a valid IPv4"},
    {"http://1.65536.1/", "has a host that is not a valid IPv4"},
    /* Punycode that is none, or of what is not allowed or not normal. */
    {"http://xn--a/", "is not a valid domain name"},
    {"http://xn--/", "is not a valid domain name"},
    {"http://x.xn--a.de/", "is not a valid domain name"},
    {"http://xn--0.pt/", "is not a valid domain name"},
    {"http://xn--abc-.x/", "is not a valid domain name"},
    {"http://xn--u-ccb.x/", "is not a valid domain name"},
    {"http://xn--ug7c.x/", "is not a valid domain name"},
    {"http://xn--ug7c\xe3\x80\x82x/", "is not a valid domain name"},
    {"http://xn--a-0hc.x/", "is not a valid domain name"},
    {"http://xn--ab-j1t.x/", "is not a valid domain name"},
    /* What libcurl makes another host of: transitional processing. */
    {"http://fa\xc3\x9f\xf0\x9f\x92\xa9.x/", "IDNA 2008 does not allow"},
    {"http://a\xe2\x80\x8d"
     "b.x/",
     "is not a valid domain name"},
    {"http://a\xe2\x80\x8c"
     "b.x/",
     "is not a valid domain name"},
    {"http://STRA\xe1\xba\x9e"
     "E.x/",
     "IDNA 2008 does not allow"},
    {"http://\xf0\x9f\x92\xa9.la/", "write it in punycode"},
    /* Names that DNS does not have. */
    {"http://a..b/", "is not a valid domain name"},
    {"http://a../", "is not a valid domain name"},
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

TEST(refuses_what_cannot_be_a_link)
{
    for (size_t i = 0; i < COUNT(refused); i++)
        assert_refused(refused[i].in, refused[i].why);
}

TEST(refuses_every_control_character)
{
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

TEST(refuses_nul)
{
    assert_refused_bytes("\0http://x/", 10, "control character");
    assert_refused_bytes("http://x\0y/", 11, "control character");
    assert_refused_bytes("http://x/\0", 10, "control character");
    assert_refused_bytes("http://x/a\0b", 12, "control character");
    assert_refused_bytes("http://x/ \0 ", 12, "control character");
}

TEST(reads_no_more_than_its_bytes)
{
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
    }
    buf_free(&out);
    mem_free_secret(in);
}

TEST(allows_8000_bytes_after_normalising)
{
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

TEST(room_for_more_allows_no_more)
{
    struct buf out;
    const char *reason = NULL;
    char *in = repeat("http://x/", "a", 7992);
    buf_init(&out, 1u << 20);
    assert_int_equal(url_normalise(NULL, in, strlen(in), NULL, &out, &reason),
                     RESULT_INVALID);
    assert_string_equal(reason, "is longer than 8,000 bytes");
    buf_free(&out);
    mem_free_secret(in);
}

TEST(white_space_around_does_not_count)
{
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

TEST(a_path_that_is_added_counts)
{
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

/* labels labels of size letters each, divided by dots, and end. */
static const char *normalise_name(size_t labels, size_t size, const char *end)
{
    struct buf in, out;
    buf_init(&in, 1u << 20);
    buf_add_str(&in, "http://");
    for (size_t i = 0; i < labels * size; i++)
        buf_add_str(&in, i > 0 && i % size == 0 ? ".a" : "a");
    buf_add_str(&in, end);
    const char *reason = normalise(in.data, in.len, &out);
    buf_free(&in);
    buf_free(&out);
    return reason;
}

TEST(names_have_the_lengths_of_dns)
{
    const char *why = "has a host that is not a valid domain name";
    assert_null(normalise_name(1, 63, "/"));
    assert_string_equal(normalise_name(1, 64, "/"), why);
    assert_string_equal(normalise_name(1, 64, ".x/"), why);
    assert_null(normalise_name(4, 62, ".x/"));  /* 253 */
    assert_null(normalise_name(4, 62, ".x./")); /* and the final dot */
    assert_string_equal(normalise_name(4, 62, ".xy/"), why);
    assert_string_equal(normalise_name(4, 62, ".xy./"), why);
    assert_string_equal(normalise_name(1, 7900, "/"), why);
    assert_string_equal(normalise_name(1, 20000, "\xc3\xbc/"), why);
    assert_string_equal(normalise_name(1000, 5, "\xc3\xbc/"), why);
    assert_string_equal(normalise_name(1, 60, "\xc3\xbc/"), why);
}
