#include "aws_files.h"

#include <sys/stat.h>

#include "test.h"

#define NOBODY 65534

static bool was_root;

int aws_files_make(struct aws_files *f)
{
    char dir[60];
    *f = (struct aws_files){.home = "/tmp/curt-test-aws-XXXXXX"};
    if (mkdtemp(f->home) == NULL)
        return -1;
    snprintf(dir, sizeof(dir), "%s/.aws", f->home);
    snprintf(f->config, sizeof(f->config), "%s/config", dir);
    snprintf(f->credentials, sizeof(f->credentials), "%s/credentials", dir);
    snprintf(f->other, sizeof(f->other), "%s/other", f->home);
    buf_init(&f->reason, 4096);
    setenv("HOME", f->home, 1);
    /* For the tests in which root is nobody. */
    return chmod(f->home, 0711) == 0 && mkdir(dir, 0711) == 0 &&
                   chmod(dir, 0711) == 0
               ? 0
               : -1;
}

int aws_files_remove(struct aws_files *f)
{
    char dir[60];
    snprintf(dir, sizeof(dir), "%s/.aws", f->home);
    chmod(dir, 0700);
    unlink(f->config);
    unlink(f->credentials);
    unlink(f->other);
    buf_free(&f->reason);
    return rmdir(dir) == 0 && rmdir(f->home) == 0 ? 0 : -1;
}

static void set(const char *path, const char *text)
{
    if (text != NULL)
        write_file(path, text);
    else
        unlink(path);
}

void aws_files_set(struct aws_files *f, const char *config,
                   const char *credentials)
{
    set(f->config, config);
    set(f->credentials, credentials);
}

void aws_files_assert_reason(struct aws_files *f, const char *expected)
{
    const char *const names[] = {"CONFIG", "CREDENTIALS", "OTHER"};
    const char *const paths[] = {f->config, f->credentials, f->other};
    struct buf whole;
    buf_init(&whole, 4096);
    for (const char *s = expected; *s != '\0';) {
        size_t i = 0;
        while (i < 3 && strncmp(s, names[i], strlen(names[i])) != 0)
            i++;
        if (i < 3) {
            buf_add_str(&whole, paths[i]);
            s += strlen(names[i]);
        } else {
            buf_add_char(&whole, *s++);
        }
    }
    assert_string_equal(f->reason.data, whole.data);
    buf_free(&whole);
    buf_reset(&f->reason);
}

void drop_root(void)
{
    was_root = geteuid() == 0;
    if (was_root)
        assert_int_equal(seteuid(NOBODY), 0);
}

void restore_root(void)
{
    if (was_root)
        assert_int_equal(seteuid(0), 0);
    was_root = false;
}
