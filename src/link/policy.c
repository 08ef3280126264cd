#include "link/policy.h"

#include <arpa/inet.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unictype.h>

#include "base/buf.h"
#include "base/utf8.h"
#include "link/host.h"
#include "link/url.h"

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

bool policy_is_private(const char *host)
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

bool policy_is_single_label(const char *host)
{
    const char *dot = strchr(host, '.');
    return host[0] != '[' && (dot == NULL || dot[1] == '\0');
}

bool policy_is_shortener(const char *host)
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

bool policy_is_lookalike(const char *host)
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
