#include "base/percent.h"

#include <string.h>

#include "base/text.h"

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

void percent_decode_form(struct buf *out, const char *s, size_t len)
{
    while (len > 0) {
        const char *plus = memchr(s, '+', len);
        const size_t size = plus != NULL ? (size_t)(plus - s) : len;
        percent_decode(out, s, size);
        if (plus == NULL)
            return;
        buf_add_char(out, ' ');
        s = plus + 1;
        len -= size + 1;
    }
}

void percent_encode(struct buf *out, const char *s, size_t len,
                    const char *keep)
{
    static const char hex[] = "0123456789ABCDEF";
    for (size_t i = 0; i < len; i++) {
        const unsigned char c = (unsigned char)s[i];
        const char text[] = {'%', hex[c >> 4], hex[c & 15]};
        if (c != '\0' &&
            (strchr(TEXT_ALNUM "-._~", c) != NULL || strchr(keep, c) != NULL))
            buf_add_char(out, s[i]);
        else
            buf_add(out, text, sizeof(text));
    }
}

bool percent_next_pair(const char **s, size_t *len, struct percent_pair *pair)
{
    while (*len > 0) {
        const char *start = *s;
        const char *amp = memchr(start, '&', *len);
        size_t size = amp != NULL ? (size_t)(amp - start) : *len;
        size_t taken = amp != NULL ? size + 1 : size;
        *s += taken;
        *len -= taken;
        if (size == 0)
            continue;
        const char *equals = memchr(start, '=', size);
        size_t name_len = equals != NULL ? (size_t)(equals - start) : size;
        *pair = (struct percent_pair){.name = start, .name_len = name_len};
        if (equals != NULL) {
            pair->value = equals + 1;
            pair->value_len = size - name_len - 1;
        }
        return true;
    }
    return false;
}
