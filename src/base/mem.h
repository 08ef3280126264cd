/*
 * Allocation that succeeds or ends the process. A worker that cannot get a few
 * kilobytes cannot serve; it logs that and its master replaces it.
 * Sizes that come from outside are bounded before they get here (buf.h).
 */
#ifndef CURT_MEM_H
#define CURT_MEM_H

#include <stddef.h>

/* All results are owned by the caller and released with free(). */
void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull));
void *mem_zalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *mem_resize(void *p, size_t size) __attribute__((returns_nonnull));

/* A copy of s; NULL gives NULL. */
char *mem_dup(const char *s);

/* A copy of len bytes with a NUL after them. */
char *mem_dup_bytes(const char *bytes, size_t len)
    __attribute__((malloc, returns_nonnull));

/* printf into new memory. */
char *mem_printf(const char *format, ...)
    __attribute__((malloc, returns_nonnull, format(printf, 1, 2)));

/* Wipes and frees a secret string; NULL is allowed. */
void mem_free_secret(char *s);

/* From now on this process leaves no core dump, and only root can look into
 * it: for one that has secrets in memory that it cannot choose, its environment
 * and that of libraries. */
void mem_forbid_core_dumps(void);

#endif
