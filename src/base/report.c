#include "base/report.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/utf8.h"

/* Longest detail or advice that is kept, and that can be formatted at all, in
 * bytes. */
#define TEXT_MAX   8192
#define FORMAT_MAX (1u << 20)

void report_free(struct report *r)
{
    for (size_t i = 0; i < r->count; i++) {
        free(r->lines[i].check);
        free(r->lines[i].detail);
        free(r->lines[i].advice);
    }
    free(r->lines);
    *r = (struct report){.lines = NULL};
}

/* A copy that a terminal and JSON can take, on one line. What came from a
 * server may have any bytes. */
static char *clean_copy(const char *text)
{
    char piece[UTF8_ESCAPE_MAX];
    const size_t len = strnlen(text, TEXT_MAX);
    struct buf clean;
    buf_init(&clean, UTF8_ESCAPE_MAX * TEXT_MAX);
    for (size_t pos = 0; pos < len;) {
        const bool ends = text[pos] == '\n';
        size_t n = utf8_escape(text, len, &pos, false, piece);
        buf_add(&clean, ends ? " " : piece, ends ? 1 : n);
    }
    char *copy = mem_dup(clean.data);
    buf_free(&clean);
    return copy;
}

void report_add(struct report *r, enum report_level level, const char *check,
                const char *advice, const char *format, ...)
{
    struct buf detail;
    va_list ap;
    buf_init(&detail, FORMAT_MAX);
    va_start(ap, format);
    buf_vaddf(&detail, format, ap);
    va_end(ap);
    r->lines = mem_resize(r->lines, (r->count + 1) * sizeof(*r->lines));
    r->lines[r->count++] = (struct report_line){
        .level = level,
        .check = mem_dup(check),
        .detail = clean_copy(detail.data),
        .advice = advice != NULL ? clean_copy(advice) : NULL,
    };
    r->worst = level > r->worst ? level : r->worst;
    buf_free(&detail);
}

void report_add_error(struct report *r, enum report_level level,
                      const char *check, const char *advice, const char *error)
{
    const char *cut = NULL;
    for (const char *s = error; (s = strstr(s, "; ")) != NULL; s += 2)
        cut = s;
    if (cut == NULL) {
        report_add(r, level, check, advice, "%s", error);
        return;
    }
    report_add(r, level, check, cut + 2, "%.*s", (int)(cut - error), error);
}
