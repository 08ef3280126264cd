#include "base/percent.h"

#include <string.h>

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

bool percent_is_encoded(const char *s, size_t len)
{
    return len > 2 && s[0] == '%' && hex_value(s[1]) >= 0 &&
           hex_value(s[2]) >= 0;
}

void percent_decode(struct buf *out, const char *s, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (percent_is_encoded(s + i, len - i)) {
            buf_add_char(
                out, (char)(hex_value(s[i + 1]) << 4 | hex_value(s[i + 2])));
            i += 2;
        } else {
            buf_add_char(out, s[i]);
        }
    }
}

void percent_encode(struct buf *out, const char *s, size_t len,
                    const char *keep)
{
    static const char hex[] = "0123456789ABCDEF";
    static const char unreserved[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                     "abcdefghijklmnopqrstuvwxyz"
                                     "0123456789-._~";
    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)s[i];
        const char text[] = {'%', hex[c >> 4], hex[c & 15]};
        if (c != '\0' &&
            (strchr(unreserved, c) != NULL || strchr(keep, c) != NULL))
            buf_add_char(out, s[i]);
        else
            buf_add(out, text, sizeof(text));
    }
}
