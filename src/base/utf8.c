#include "base/utf8.h"

#include <string.h>

#include "base/text.h"

/* A leading byte's class: how many bytes follow, and between what the first of
 * them must lie (RFC 3629, section 4: no overlong forms, no surrogates,
 * nothing above U+10FFFF). */
static const struct lead {
    unsigned char first, last, following, low, high;
} leads[] = {
    {0xc2, 0xdf, 1, 0x80, 0xbf}, {0xe0, 0xe0, 2, 0xa0, 0xbf},
    {0xe1, 0xec, 2, 0x80, 0xbf}, {0xed, 0xed, 2, 0x80, 0x9f},
    {0xee, 0xef, 2, 0x80, 0xbf}, {0xf0, 0xf0, 3, 0x90, 0xbf},
    {0xf1, 0xf3, 3, 0x80, 0xbf}, {0xf4, 0xf4, 3, 0x80, 0x8f},
};

#define LEADS (sizeof(leads) / sizeof(leads[0]))

uint32_t utf8_next(const char *s, size_t len, size_t *pos)
{
    unsigned char c = (unsigned char)s[(*pos)++];
    if (c < 0x80)
        return c;
    size_t i = 0;
    while (i < LEADS && (c < leads[i].first || c > leads[i].last))
        i++;
    if (i == LEADS)
        return UTF8_BAD;
    const struct lead *lead = &leads[i];
    uint32_t point = c & (0x3fu >> lead->following);
    for (unsigned n = 0; n < lead->following; n++) {
        unsigned char low = n == 0 ? lead->low : 0x80;
        unsigned char high = n == 0 ? lead->high : 0xbf;
        if (*pos == len || (unsigned char)s[*pos] < low ||
            (unsigned char)s[*pos] > high)
            return UTF8_BAD;
        point = point << 6 | ((unsigned char)s[(*pos)++] & 0x3f);
    }
    return point;
}

bool utf8_ok(const char *s, size_t len)
{
    for (size_t pos = 0; pos < len;)
        if (utf8_next(s, len, &pos) == UTF8_BAD)
            return false;
    return true;
}

void utf8_add_clean(struct buf *out, const char *s, size_t len)
{
    for (size_t pos = 0; pos < len;) {
        size_t start = pos;
        if (utf8_next(s, len, &pos) == UTF8_BAD)
            buf_add_str(out, "\xef\xbf\xbd");
        else
            buf_add(out, s + start, pos - start);
    }
}

bool utf8_is_control(uint32_t point)
{
    return point < 0x20 || (point >= 0x7f && point < 0xa0) ||
           (point >= 0x202a && point <= 0x202e) ||
           (point >= 0x2066 && point <= 0x2069);
}

bool utf8_is_shown(const char *s, size_t len)
{
    for (size_t pos = 0; pos < len;) {
        const uint32_t point = utf8_next(s, len, &pos);
        if (point == UTF8_BAD || utf8_is_control(point))
            return false;
    }
    return true;
}

size_t utf8_escape(const char *s, size_t len, size_t *pos, bool ascii,
                   char out[UTF8_ESCAPE_MAX])
{
    const size_t start = *pos;
    const uint32_t point = utf8_next(s, len, pos);
    size_t used = 0;
    if (point != UTF8_BAD && !utf8_is_control(point) &&
        (point < 0x80 || !ascii)) {
        used = *pos - start;
        memcpy(out, s + start, used);
        return used;
    }
    for (size_t i = start; i < *pos; i++) {
        out[used++] = '\\';
        out[used++] = 'x';
        out[used++] = TEXT_HEX[(unsigned char)s[i] >> 4];
        out[used++] = TEXT_HEX[s[i] & 15];
    }
    return used;
}

void utf8_print(FILE *out, const char *text)
{
    char piece[UTF8_ESCAPE_MAX];
    for (size_t len = strlen(text), pos = 0; pos < len;)
        fwrite(piece, 1, utf8_escape(text, len, &pos, false, piece), out);
}

void utf8_add_json(struct buf *out, const char *json)
{
    for (size_t len = strlen(json), pos = 0; pos < len;) {
        const size_t start = pos;
        const uint32_t point = utf8_next(json, len, &pos);
        if (point == UTF8_BAD)
            buf_add_str(out, "\\ufffd");
        else if (point < 0x20) /* white space between two tokens */
            buf_add_char(out, ' ');
        else if (utf8_is_control(point))
            buf_addf(out, "\\u%04x", (unsigned)point);
        else
            buf_add(out, json + start, pos - start);
    }
}
