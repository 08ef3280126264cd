#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "base/log.h"

__attribute__((noreturn)) static void out_of_memory(size_t size)
{
    log_error("out of memory (%zu bytes)", size);
    abort();
}

void *mem_alloc(size_t size)
{
    void *p = malloc(size > 0 ? size : 1);
    if (p == NULL)
        out_of_memory(size);
    return p;
}

void *mem_zalloc(size_t size)
{
    return memset(mem_alloc(size), 0, size);
}

void *mem_resize(void *p, size_t size)
{
    void *q = realloc(p, size > 0 ? size : 1);
    if (q == NULL)
        out_of_memory(size);
    return q;
}

char *mem_dup(const char *s)
{
    return s != NULL ? mem_dup_bytes(s, strlen(s)) : NULL;
}

char *mem_dup_bytes(const char *bytes, size_t len)
{
    char *copy = mem_alloc(len + 1);
    if (len > 0)
        memcpy(copy, bytes, len);
    copy[len] = '\0';
    return copy;
}

char *mem_printf(const char *format, ...)
{
    char *s;
    va_list ap;
    va_start(ap, format);
    const int len = vasprintf(&s, format, ap);
    va_end(ap);
    if (len < 0)
        out_of_memory(strlen(format));
    return s;
}

void mem_free_secret(char *s)
{
    if (s != NULL)
        explicit_bzero(s, strlen(s));
    free(s);
}

void mem_forbid_core_dumps(void)
{
    prctl(PR_SET_DUMPABLE, 0);
}
