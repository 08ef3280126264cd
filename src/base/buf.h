/*
 * A growing byte buffer with a hard maximum.
 *
 * An append that would pass the maximum leaves the buffer as it was and marks
 * it as failed; every later append does nothing. So a caller appends freely
 * and checks buf_failed() once, at the end. The bytes are always followed by a
 * NUL that is not counted, so that b.data can be read as a C string.
 */
#ifndef CURT_BUF_H
#define CURT_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    char *data; /* never NULL after buf_init; owned by the buffer */
    size_t len; /* bytes in use, without the final NUL */
    size_t cap;
    size_t max;
    bool failed;
};

/* An empty buffer that may grow to max bytes. Allocates nothing yet. */
void buf_init(struct buf *b, size_t max);

/* Releases the memory; the buffer may be used again, empty. */
void buf_free(struct buf *b);

/* Overwrites the bytes with zeros, then releases them: for secrets. */
void buf_wipe(struct buf *b);

/* Empties the buffer and clears the failure; keeps the memory. */
void buf_reset(struct buf *b);

void buf_add(struct buf *b, const void *bytes, size_t len);
void buf_add_str(struct buf *b, const char *s);
void buf_add_char(struct buf *b, char c);
/* Appends n in decimal. */
void buf_add_num(struct buf *b, uint64_t n);

void buf_addf(struct buf *b, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void buf_vaddf(struct buf *b, const char *format, va_list ap)
    __attribute__((format(printf, 2, 0)));

/* Cuts the buffer to len bytes; len above the length does nothing. */
void buf_truncate(struct buf *b, size_t len);

/* Whether an append since buf_init or buf_reset did not fit. */
bool buf_failed(const struct buf *b);

#endif
