#include "json_text.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "utf8.h"

/* What is still to be read. No read passes end: the NUL there fits nothing. */
struct text {
    const char *s;
    const char *end;
    bool lone_surrogate; /* it stopped the reading */
};

static bool take_byte(struct text *t, char c)
{
    if (t->s == t->end || *t->s != c)
        return false;
    t->s++;
    return true;
}

static bool take_word(struct text *t, const char *word)
{
    size_t len = strlen(word);
    if ((size_t)(t->end - t->s) < len || memcmp(t->s, word, len) != 0)
        return false;
    t->s += len;
    return true;
}

static void skip_space(struct text *t)
{
    t->s += strspn(t->s, " \t\r\n");
}

static bool take_digits(struct text *t)
{
    size_t n = strspn(t->s, "0123456789");
    t->s += n;
    return n > 0;
}

static bool take_number(struct text *t)
{
    take_byte(t, '-');
    if (!take_byte(t, '0') && !take_digits(t))
        return false;
    if (take_byte(t, '.') && !take_digits(t))
        return false;
    if (!take_byte(t, 'e') && !take_byte(t, 'E'))
        return true;
    if (!take_byte(t, '+'))
        take_byte(t, '-');
    return take_digits(t);
}

/* The four hexadecimal digits of an escape. */
static bool take_unit(struct text *t, unsigned *unit)
{
    if (strspn(t->s, "0123456789abcdefABCDEF") < 4)
        return false;
    *unit = 0;
    for (int i = 0; i < 4; i++, t->s++)
        *unit = *unit << 4 | ((unsigned)(*t->s & 15) + (*t->s > '9' ? 9u : 0u));
    return true;
}

/* What follows a backslash. */
static bool take_escape(struct text *t, bool nul_allowed)
{
    unsigned unit, low;
    if (!take_byte(t, 'u')) {
        bool ok = t->s < t->end && *t->s != '\0' &&
                  strchr("\"\\/bfnrt", *t->s) != NULL;
        t->s += ok;
        return ok;
    }
    if (!take_unit(t, &unit) || (!nul_allowed && unit == 0))
        return false;
    t->lone_surrogate = unit >= 0xd800 && unit <= 0xdfff &&
                        (unit >= 0xdc00 || !take_word(t, "\\u") ||
                         !take_unit(t, &low) || low < 0xdc00 || low > 0xdfff);
    return !t->lone_surrogate;
}

static bool take_string(struct text *t, bool nul_allowed)
{
    if (!take_byte(t, '"'))
        return false;
    while (t->s < t->end && *t->s != '"') {
        size_t pos = 0;
        uint32_t c = utf8_next(t->s, (size_t)(t->end - t->s), &pos);
        if (c == UTF8_BAD || c < 0x20)
            return false;
        t->s += pos;
        if (c == '\\' && !take_escape(t, nul_allowed))
            return false;
    }
    return take_byte(t, '"');
}

static bool take_value(struct text *t, int levels);

static bool take_member(struct text *t, int levels)
{
    skip_space(t);
    if (!take_string(t, false))
        return false;
    skip_space(t);
    return take_byte(t, ':') && take_value(t, levels);
}

/* An array or object after its opening bracket. */
static bool take_items(struct text *t, char close,
                       bool (*take_item)(struct text *t, int levels),
                       int levels)
{
    skip_space(t);
    if (take_byte(t, close))
        return true;
    do {
        if (!take_item(t, levels))
            return false;
    } while (take_byte(t, ','));
    return take_byte(t, close);
}

/* A value, and the white space around it. */
static bool take_value(struct text *t, int levels)
{
    bool ok;
    skip_space(t);
    if (take_byte(t, '{'))
        ok = levels > 0 && take_items(t, '}', take_member, levels - 1);
    else if (take_byte(t, '['))
        ok = levels > 0 && take_items(t, ']', take_value, levels - 1);
    else if (*t->s == '"')
        ok = take_string(t, true);
    else
        ok = take_word(t, "true") || take_word(t, "false") ||
             take_word(t, "null") || take_number(t);
    skip_space(t);
    return ok;
}

const char *json_text_fault(const char *s, size_t len)
{
    struct text t = {s, s + len, false};
    if (take_value(&t, JSON_TEXT_LEVELS) && t.s == t.end)
        return NULL;
    return t.lone_surrogate ? "The body is not valid JSON: a string has half "
                              "of a surrogate pair, such as \\ud83d."
                            : "The body is not valid JSON.";
}
