#include "link/host.h"

#include <arpa/inet.h>
#include <idn2.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <unictype.h>

#include "base/percent.h"
#include "base/text.h"
#include "base/utf8.h"
#include "link/url.h"

#define NAME_MAX_LEN  253 /* RFC 1035, without the final dot */
#define LABEL_MAX_LEN 63

/* U+1E9E, capital sharp s: "ss" up to Unicode 15.0 and sharp s since, so it
 * leads to different hosts in different browsers. */
#define CAPITAL_SHARP_S "\xe1\xba\x9e"

static const char *const bad_name = "has a host that is not a valid domain "
                                    "name";

static bool has_punycode(const char *name)
{
    for (const char *s = name; s != NULL; s = strchr(s, '.')) {
        s += *s == '.';
        if (strncmp(s, "xn--", 4) == 0)
            return true;
    }
    return false;
}

/* IDN2_OK if text comes back unchanged through punycode. */
static int round_trip(const char *text)
{
    uint8_t *ascii = NULL;
    char *back = NULL;
    int rc =
        idn2_lookup_u8((const uint8_t *)text, &ascii, IDN2_NONTRANSITIONAL);
    if (rc == IDN2_OK)
        rc = idn2_to_unicode_8z8z((const char *)ascii, &back, 0);
    if (rc == IDN2_OK && strcmp(back, text) != 0)
        rc = IDN2_UALABEL_MISMATCH;
    idn2_free(ascii);
    idn2_free(back);
    return rc;
}

/* Whether a browser accepts a name in punycode. libidn2 refuses emoji and other
 * symbols (IDN2_DISALLOWED), as IDNA 2008 has it; browsers accept them. libidn2
 * reports those after the checks of UTS 46, but before it looks at joiners and
 * at the direction of text, so each character has to be harmless after "a". */
static bool is_punycode_valid(const char *name)
{
    int rc = idn2_lookup_u8((const uint8_t *)name, NULL, IDN2_NONTRANSITIONAL);
    char *text = NULL;
    if ((rc != IDN2_OK && rc != IDN2_DISALLOWED) ||
        idn2_to_unicode_8z8z(name, &text, 0) != IDN2_OK)
        return false;
    rc = round_trip(text);
    size_t len = strlen(text);
    for (size_t start = 0, pos = 0; rc == IDN2_DISALLOWED && pos < len;
         start = pos) {
        char two[8] = "a";
        if (utf8_next(text, len, &pos) < 0x80)
            continue;
        memcpy(two + 1, text + start, pos - start);
        int one = round_trip(two);
        if (one != IDN2_OK && one != IDN2_DISALLOWED)
            rc = one;
    }
    idn2_free(text);
    return rc == IDN2_OK || rc == IDN2_DISALLOWED;
}

/* Appends the name in lower-case ASCII. Plain names do not go through libidn2,
 * which refuses some that browsers accept, such as "a--b" and "-a". */
static const char *add_ascii(const char *name, struct buf *out)
{
    int rc = IDN2_OK;
    const char *s = name;
    while (*s != '\0' && (unsigned char)*s < 0x80)
        s++;
    if (*s == '\0') {
        buf_add_str(out, name);
        for (size_t i = 0; i < out->len; i++)
            if (out->data[i] >= 'A' && out->data[i] <= 'Z')
                out->data[i] = (char)(out->data[i] - 'A' + 'a');
    } else {
        uint8_t *found = NULL;
        rc =
            idn2_lookup_u8((const uint8_t *)name, &found, IDN2_NONTRANSITIONAL);
        if (rc == IDN2_OK)
            buf_add_str(out, (const char *)found);
        idn2_free(found);
        if (strstr(name, CAPITAL_SHARP_S) != NULL)
            rc = IDN2_DISALLOWED;
    }
    if (rc == IDN2_DISALLOWED)
        return "has an international host name that IDNA 2008 does not allow; "
               "write it in punycode (xn--...)";
    return rc == IDN2_OK &&
                   (!has_punycode(out->data) || is_punycode_valid(out->data))
               ? NULL
               : bad_name;
}

/* Whether DNS and RFC 3986 know such a name; a final dot is allowed. */
static bool is_name(const char *name)
{
    size_t label = 0;
    for (const char *s = name; *s != '\0'; s++) {
        if (*s == '.' && label == 0)
            return false;
        label = *s == '.' ? 0 : label + 1;
        if (label > LABEL_MAX_LEN)
            return false;
    }
    size_t len = strlen(name);
    return len > 0 && len - (label == 0) <= NAME_MAX_LEN &&
           strspn(name, TEXT_LOWER TEXT_DIGITS "-._") == len;
}

/* One number of an IPv4 address: decimal, octal (0...) or hexadecimal (0x...).
 * Nothing follows 0x: zero. Values above 32 bits stay above. */
static bool read_ipv4_number(const char *s, size_t len, uint64_t *out)
{
    unsigned base = 10;
    if (len == 0)
        return false;
    if (len >= 2 && s[0] == '0') {
        base = s[1] == 'x' ? 16 : 8;
        s += base == 16 ? 2 : 1;
        len -= base == 16 ? 2 : 1;
    }
    *out = 0;
    for (; len > 0; s++, len--) {
        unsigned digit =
            *s >= 'a' ? (unsigned)(*s - 'a' + 10) : (unsigned)(*s - '0');
        if (digit >= base)
            return false;
        if (*out <= UINT32_MAX)
            *out = *out * base + digit;
    }
    return true;
}

/* Appends the name, or the IPv4 address that it is: in a browser a host whose
 * last label is a number is an address, or invalid. */
static const char *add_name(const char *name, struct buf *out)
{
    uint64_t address = 0, number = 0;
    size_t len = strlen(name);
    len -= len > 1 && name[len - 1] == '.';
    const char *last = memrchr(name, '.', len);
    last = last != NULL ? last + 1 : name;
    size_t last_len = (size_t)(name + len - last);
    if (strspn(last, "0123456789") < last_len &&
        !read_ipv4_number(last, last_len, &number)) {
        buf_add_str(out, name);
        return NULL;
    }
    /* Each number but the last is a byte; the last fills what remains. */
    unsigned bits = 32;
    for (const char *s = name; s <= last; s += strcspn(s, ".") + 1) {
        size_t n = s == last ? last_len : strcspn(s, ".");
        bool ok = read_ipv4_number(s, n, &number);
        if (!ok || bits == 0 || number >> (s == last ? bits : 8) != 0)
            return "has a host that is not a valid IPv4 address";
        bits -= 8;
        address |= s == last ? number : number << bits;
    }
    buf_addf(out, "%u.%u.%u.%u", (unsigned)(address >> 24),
             (unsigned)(address >> 16 & 255), (unsigned)(address >> 8 & 255),
             (unsigned)(address & 255));
    return NULL;
}

/* Appends "[...]" with the longest run of zeros left out, and, unlike
 * inet_ntop(3), without an IPv4 address at its end. */
static const char *add_ipv6(const char *s, size_t len, struct buf *out)
{
    struct in6_addr address;
    char text[INET6_ADDRSTRLEN] = "";
    if (len - 2 < sizeof(text) && s[len - 1] == ']')
        memcpy(text, s + 1, len - 2);
    if (strlen(text) != len - 2 || inet_pton(AF_INET6, text, &address) != 1)
        return "has a host that is not a valid IPv6 address";
    unsigned piece[8], best = 8, best_len = 1;
    for (unsigned i = 0; i < 8; i++)
        piece[i] =
            (unsigned)address.s6_addr[2 * i] << 8 | address.s6_addr[2 * i + 1];
    for (unsigned i = 0; i < 8; i++) {
        unsigned n = 0;
        while (i + n < 8 && piece[i + n] == 0)
            n++;
        if (n > best_len) {
            best = i;
            best_len = n;
        }
    }
    buf_add_char(out, '[');
    for (unsigned i = 0; i < 8; i++) {
        if (i == best) {
            buf_add_str(out, "::");
            i += best_len - 1;
        } else {
            const bool first = i == 0 || i == best + best_len;
            buf_addf(out, first ? "%x" : ":%x", piece[i]);
        }
    }
    buf_add_char(out, ']');
    return NULL;
}

const char *host_normalise(const char *s, size_t len, struct buf *out)
{
    if (s[0] == '[')
        return len > 2 ? add_ipv6(s, len, out)
                       : "has a host that is not a valid IPv6 address";
    struct buf decoded, name;
    buf_init(&decoded, len);
    buf_init(&name, len + NAME_MAX_LEN + 1);
    percent_decode(&decoded, s, len);
    const char *reason = bad_name;
    if (strlen(decoded.data) == decoded.len)
        reason = add_ascii(decoded.data, &name);
    if (reason == NULL)
        reason = is_name(name.data) ? add_name(name.data, out) : bad_name;
    buf_free(&decoded);
    buf_free(&name);
    return reason;
}

void host_add_unicode(struct buf *out, const char *host)
{
    char *unicode = NULL;
    if (idn2_to_unicode_8z8z(host, &unicode, 0) == IDN2_OK) {
        buf_add_str(out, unicode);
        idn2_free(unicode);
    } else {
        buf_add_str(out, host);
    }
}

/* ---- Kinds of hosts ------------------------------------------------------ */

/* Whether the list, words, has the name or a domain that it is in; a final dot
 * does not count. */
static bool is_in_domain(const char *name, const char *domains)
{
    size_t len = strlen(name);
    len -= len > 0 && name[len - 1] == '.';
    for (const char *s = name, *end = name + len; s < end;
         s += strcspn(s, ".") + 1)
        if (url_list_has(domains, s, (size_t)(end - s)))
            return true;
    return false;
}

/* IANA IPv4 Special-Purpose Address Registry, those not globally reachable, and
 * multicast. */
#define NET(a, b, c, bits)                                                     \
    {                                                                          \
        (uint32_t)(a) << 24 | (b) << 16 | (c) << 8, bits                       \
    }
static bool is_private_ipv4(uint32_t address)
{
    static const struct {
        uint32_t net;
        unsigned bits;
    } nets[] = {
        NET(0, 0, 0, 8),     NET(10, 0, 0, 8),      NET(100, 64, 0, 10),
        NET(127, 0, 0, 8),   NET(169, 254, 0, 16),  NET(172, 16, 0, 12),
        NET(192, 0, 0, 24),  NET(192, 0, 2, 24),    NET(192, 168, 0, 16),
        NET(198, 18, 0, 15), NET(198, 51, 100, 24), NET(203, 0, 113, 24),
        NET(224, 0, 0, 3)};
    for (size_t i = 0; i < sizeof(nets) / sizeof(nets[0]); i++)
        if ((address ^ nets[i].net) >> (32 - nets[i].bits) == 0)
            return true;
    return false;
}

/* Global unicast is 2000::/3; the rest of it that is not globally reachable is
 * in the IANA IPv6 Special-Purpose Address Registry. */
static bool is_private_ipv6(const struct in6_addr *address)
{
    const uint8_t *a = address->s6_addr;
    static const uint8_t nat64[12] = {0, 0x64, 0xff, 0x9b};
    uint32_t ipv4;
    if (memcmp(a, nat64, sizeof(nat64)) == 0) {
        memcpy(&ipv4, a + 12, sizeof(ipv4));
        return is_private_ipv4(ntohl(ipv4));
    }
    if (a[0] == 0x20 && a[1] == 0x02) { /* 6to4 */
        memcpy(&ipv4, a + 2, sizeof(ipv4));
        return is_private_ipv4(ntohl(ipv4));
    }
    return a[0] >> 5 != 1 ||
           (a[0] == 0x20 && a[1] == 0x01 && a[2] < 2) || /* 2001::/23 */
           (a[0] == 0x20 && a[1] == 0x01 && a[2] == 0x0d && a[3] == 0xb8) ||
           (a[0] == 0x3f && a[1] == 0xff && a[2] < 0x10); /* 3fff::/20 */
}

bool host_is_private(const char *host)
{
    char text[INET6_ADDRSTRLEN] = "";
    struct in6_addr ipv6;
    struct in_addr ipv4;
    if (inet_pton(AF_INET, host, &ipv4) == 1)
        return is_private_ipv4(ntohl(ipv4.s_addr));
    if (host[0] != '[')
        return is_in_domain(host, "localhost local internal home.arpa intranet "
                                  "private corp home localdomain lan");
    const size_t len = strcspn(host + 1, "]");
    if (len < sizeof(text))
        memcpy(text, host + 1, len);
    return inet_pton(AF_INET6, text, &ipv6) != 1 || is_private_ipv6(&ipv6);
}

bool host_is_single_label(const char *host)
{
    const char *dot = strchr(host, '.');
    return host[0] != '[' && (dot == NULL || dot[1] == '\0');
}

bool host_is_shortener(const char *host)
{
    return is_in_domain(
        host, "adf.ly bit.do bit.ly bitly.com bl.ink buff.ly clck.ru cutt.ly "
              "cutt.us dub.sh gg.gg goo.gl goo.su is.gd j.mp ow.ly qr.ae rb.gy "
              "rebrand.ly s.id short.gy short.io shorturl.at soo.gd surl.li "
              "t.co t.ly t2m.io tiny.cc tiny.one tinyurl.com trib.al u.to "
              "urlz.fr v.gd vk.cc");
}

/* Groups of scripts that can stand together in a label. Those of the last one
 * stand with Latin, each without another ("recommended" in UAX 31, without
 * Cyrillic and Greek). */
static const char *const groups[] = {
    "Latin",
    "Han",
    "Hiragana Katakana",
    "Bopomofo",
    "Hangul",
    "Arabic Armenian Bengali Devanagari Ethiopic Georgian Gujarati Gurmukhi "
    "Hebrew Kannada Khmer Lao Malayalam Myanmar Oriya Sinhala Tamil Telugu "
    "Thaana Thai Tibetan",
};

enum { LATIN = 1, HAN = 2, KANA = 4, BOPOMOFO = 8, HANGUL = 16, OTHER = 32 };

/* Letters that look like those of ASCII: Cyrillic, Greek, Armenian. */
static const char latin_shapes[] =
    "\u0430\u0441\u0501\u0435\u050d\u04bb\u0456\u0458\u04cf\u043e\u0440\u051b"
    "\u0455\u051d\u0445\u0443\u044a\u044c\u04bd\u043f\u0433\u0475\u0461\u0442"
    "\u03b1\u03b9\u03ba\u03bd\u03c1\u03c5\u03c9\u03b7\u03bf\u03c4\u03c7"
    "\u0578\u057d\u0570\u0585\u0566\u0581\u0575\u0584\u0574";

/* One label, in Unicode. */
static bool is_label_lookalike(const char *s, size_t len, bool ascii_tld)
{
    static const unsigned together[] = {LATIN | HAN | KANA,
                                        LATIN | HAN | BOPOMOFO,
                                        LATIN | HAN | HANGUL, LATIN | OTHER};
    const char *alone = NULL; /* a script of no group but the last */
    unsigned found = 0;
    bool allowed = false, shaped = true;
    for (size_t pos = 0, at = 0; pos < len; at = pos) {
        const uint32_t c = utf8_next(s, len, &pos);
        const uc_script_t *script = c != UTF8_BAD ? uc_script(c) : NULL;
        char letter[8] = "";
        unsigned i = 0;
        if (script == NULL || url_list_has("Common Inherited", script->name,
                                           strlen(script->name)))
            continue;
        while (i < 6 &&
               !url_list_has(groups[i], script->name, strlen(script->name)))
            i++;
        if (i >= 5 && alone != NULL && strcmp(alone, script->name) != 0)
            return true;
        alone = i >= 5 ? script->name : alone;
        found |= 1u << i;
        memcpy(letter, s + at, pos - at);
        shaped = shaped && strstr(latin_shapes, letter) != NULL;
    }
    for (size_t i = 0; i < sizeof(together) / sizeof(together[0]); i++)
        allowed = allowed || (found & ~together[i]) == 0;
    /* A script of no group has the label for itself. */
    return (!allowed && (found & (found - 1)) != 0) ||
           (shaped && found != 0 && ascii_tld);
}

bool host_is_lookalike(const char *host)
{
    if (strstr(host, "xn--") == NULL)
        return false;
    struct buf text;
    bool found = false;
    const char *tld = memrchr(host, '.', strlen(host) - 1);
    const bool ascii_tld = tld == NULL || strncmp(tld, ".xn--", 5) != 0;
    buf_init(&text, 4 * strlen(host) + 1);
    host_add_unicode(&text, host);
    for (const char *s = text.data; *s != '\0' && !found;) {
        const size_t len = strcspn(s, ".");
        found = is_label_lookalike(s, len, ascii_tld);
        s += len + (s[len] == '.');
    }
    buf_free(&text);
    return found;
}
