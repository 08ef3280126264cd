#include "test.h"

#include <ftw.h>
#include <sys/mman.h>

/* ---- Files --------------------------------------------------------------- */

void write_bytes(const char *path, const void *bytes, size_t len)
{
    FILE *out = fopen(path, "we");
    assert_non_null(out);
    assert_int_equal(fwrite(bytes, 1, len, out), len);
    assert_int_equal(fclose(out), 0);
}

void write_file(const char *path, const char *text)
{
    write_bytes(path, text, strlen(text));
}

static int remove_entry(const char *path, const struct stat *st, int type,
                        struct FTW *at)
{
    (void)st;
    (void)type;
    (void)at;
    return remove(path);
}

void remove_dir(const char *path)
{
    assert_int_equal(nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS), 0);
}

/* ---- The log ------------------------------------------------------------- */

static struct {
    int file;
    int stderr_copy;
} capture;

void start_capture(void)
{
    capture.file = memfd_create("stderr", MFD_CLOEXEC);
    capture.stderr_copy = dup(STDERR_FILENO);
    assert_true(capture.file >= 0 && capture.stderr_copy >= 0);
    assert_int_equal(dup2(capture.file, STDERR_FILENO), STDERR_FILENO);
}

size_t end_capture(char *out, size_t size)
{
    dup2(capture.stderr_copy, STDERR_FILENO);
    close(capture.stderr_copy);
    const ssize_t len = size > 0 ? pread(capture.file, out, size - 1, 0) : 0;
    close(capture.file);
    assert_true(len >= 0);
    if (size > 0)
        out[len] = '\0';
    return (size_t)len;
}
