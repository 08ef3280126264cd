#include "link/host.h"

#include <arpa/inet.h>
#include <idn2.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "base/percent.h"
#include "base/text.h"
#include "base/utf8.h"

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
