#include "conf_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

/* U+FEFF in UTF-8: some editors put it at the beginning of a file. */
#define BYTE_ORDER_MARK "\xef\xbb\xbf"

void conf_file_add_text(struct buf *faults, const char *text)
{
    for (; *text != '\0'; text++) {
        bool control = (unsigned char)*text < 0x20 || *text == 0x7f;
        buf_add_char(faults, control ? '?' : *text);
    }
}

static char *trim_space(char *s)
{
    s += strspn(s, " \t");
    size_t len = strlen(s);
    while (len > 0 && strchr(" \t\r\n", s[len - 1]) != NULL)
        s[--len] = '\0';
    return s;
}

/* Takes the optional quotes off a value; NULL if they are not in order. */
static char *remove_quotes(char *s)
{
    size_t len = strlen(s);
    if (s[0] != '"')
        return s;
    if (len < 2 || s[len - 1] != '"')
        return NULL;
    s[len - 1] = '\0';
    return strchr(s + 1, '"') == NULL ? s + 1 : NULL;
}

static void take_line(char *text, unsigned line, conf_file_take *take,
                      void *context)
{
    if (line == 1 && strncmp(text, BYTE_ORDER_MARK, 3) == 0)
        text += 3;
    text = trim_space(text);
    if (text[0] == '\0' || text[0] == '#')
        return;
    char *equals = strchr(text, '=');
    if (equals == NULL || equals == text) {
        take(context, line, NULL, text);
        return;
    }
    *equals = '\0';
    take(context, line, trim_space(text),
         remove_quotes(trim_space(equals + 1)));
}

static int read_lines(FILE *in, const char *path, conf_file_take *take,
                      void *context, struct buf *faults)
{
    char *text = NULL;
    size_t size = 0;
    ssize_t len;
    for (unsigned line = 1; (len = getline(&text, &size, in)) >= 0; line++) {
        /* Each line can be written again with an end. */
        if (len + (text[len - 1] != '\n') > CONF_FILE_LINE_MAX)
            buf_addf(faults, "%s:%u: the line is longer than %d bytes\n", path,
                     line, CONF_FILE_LINE_MAX);
        else if (strlen(text) != (size_t)len)
            buf_addf(faults, "%s:%u: the line has a NUL byte in it\n", path,
                     line);
        else
            take_line(text, line, take, context);
    }
    const int error = ferror(in) ? errno : 0;
    if (text != NULL)
        explicit_bzero(text, size); /* it may have had a secret */
    free(text);
    return error;
}

int conf_file_read(const char *path, conf_file_take *take, void *context,
                   struct buf *faults)
{
    FILE *in = fopen(path, "re");
    if (in == NULL)
        return errno;
    const int error = read_lines(in, path, take, context, faults);
    fclose(in);
    return error;
}
