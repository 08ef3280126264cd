/* The lines of a configuration file: what is a key, what is its value. */
#ifndef CURT_CONF_FILE_H
#define CURT_CONF_FILE_H

#include "buf.h"
#include "result.h"

/* Longest line, in bytes, its end included. */
#define CONF_FILE_LINE_MAX 4096

/* Called for each line that is not empty and no comment. name is NULL where
 * the line is not `KEY = value`: then value is the whole line. value is NULL
 * where it begins or ends with a quote but not both, or has one inside. */
typedef void conf_file_take(void *context, unsigned line, const char *name,
                            const char *value);

/* Reads the file and hands over its lines. One that is too long, or has a NUL
 * byte in it, is appended to faults instead. Returns 0, or the errno for which
 * the file, or the rest of it, cannot be read. */
int conf_file_read(const char *path, conf_file_take *take, void *context,
                   struct buf *faults) MUST_CHECK;

/* Appends text from a user to a fault, ASCII control characters as '?', so that
 * it stays on one line. Whoever prints it escapes the others: utf8_print(). */
void conf_file_add_text(struct buf *faults, const char *text);

#endif
