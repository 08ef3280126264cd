#include "report.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "mem.h"
#include "utf8.h"

/* Longest detail or advice that is kept, and that can be formatted at all, in
 * bytes. */
#define TEXT_MAX   8192
#define FORMAT_MAX (1u << 20)

void report_init(struct report *r)
{
    *r = (struct report){.lines = NULL};
}

void report_free(struct report *r)
{
    for (size_t i = 0; i < r->count; i++) {
        free(r->lines[i].check);
        free(r->lines[i].detail);
        free(r->lines[i].advice);
    }
    free(r->lines);
    report_init(r);
}

/* A copy that a terminal and JSON can take: UTF-8 on one line, without control
 * characters (those of C1 are two bytes). What came from a server may have
 * any. */
static char *clean_copy(const char *text)
{
    struct buf clean;
    buf_init(&clean, 3 * TEXT_MAX + 1);
    utf8_add_clean(&clean, text, strnlen(text, TEXT_MAX));
    unsigned char *c = (unsigned char *)clean.data;
    for (size_t i = 0; i < clean.len; i++) {
        if (c[i] < 0x20 || c[i] == 0x7f)
            c[i] = ' ';
        else if (c[i] == 0xc2 && c[i + 1] < 0xa0)
            c[i] = c[i + 1] = ' ';
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

enum report_level report_worst(const struct report *r)
{
    enum report_level worst = REPORT_OK;
    for (size_t i = 0; i < r->count; i++)
        if (r->lines[i].level > worst)
            worst = r->lines[i].level;
    return worst;
}
