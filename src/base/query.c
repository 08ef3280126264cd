#include "base/query.h"

#include <string.h>

#include "base/percent.h"

void query_form_decode(struct buf *out, const char *s, size_t len)
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
