#include "query.h"

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

bool query_is_encoded(const char *s, size_t len)
{
    return len > 2 && s[0] == '%' && hex_value(s[1]) >= 0 &&
           hex_value(s[2]) >= 0;
}

static void query_decode(struct buf *out, const char *s, size_t len, bool plus)
{
    for (size_t i = 0; i < len; i++) {
        if (query_is_encoded(s + i, len - i)) {
            buf_add_char(
                out, (char)(hex_value(s[i + 1]) << 4 | hex_value(s[i + 2])));
            i += 2;
        } else {
            buf_add_char(out, plus && s[i] == '+' ? ' ' : s[i]);
        }
    }
}

void query_percent_decode(struct buf *out, const char *s, size_t len)
{
    query_decode(out, s, len, false);
}

void query_form_decode(struct buf *out, const char *s, size_t len)
{
    query_decode(out, s, len, true);
}

void query_percent_encode(struct buf *out, unsigned char c)
{
    static const char hex[] = "0123456789ABCDEF";
    const char text[] = {'%', hex[c >> 4], hex[c & 15]};
    buf_add(out, text, sizeof(text));
}

bool query_next(const char **s, size_t *len, struct query_pair *pair)
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
        *pair = (struct query_pair){.name = start, .name_len = name_len};
        if (equals != NULL) {
            pair->value = equals + 1;
            pair->value_len = size - name_len - 1;
        }
        return true;
    }
    return false;
}
