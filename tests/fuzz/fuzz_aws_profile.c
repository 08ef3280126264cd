/* The shared files of AWS's tools: the input is both of them, the config file
 * up to the first byte 0x1c, and the credentials file behind it. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "aws/profile.h"
#include "fuzz.h"

#define SEPARATOR 0x1c

struct file {
    int fd;
    char path[40];
};

static void make(struct file *f)
{
    f->fd = memfd_create("profiles", MFD_CLOEXEC);
    MUST(f->fd >= 0);
    snprintf(f->path, sizeof(f->path), "/proc/self/fd/%d", f->fd);
}

static void fill(struct file *f, const uint8_t *data, size_t size)
{
    MUST(ftruncate(f->fd, 0) == 0);
    MUST(pwrite(f->fd, data, size, 0) == (ssize_t)size);
}

/* A value has no more bytes than its file, and no line in it is left with the
 * white space around it. */
static void check_value(const char *value, size_t size)
{
    if (value == NULL)
        return;
    size_t len = strlen(value);
    MUST(len > 0 && len < size);
    MUST(strchr(" \t\n", value[0]) == NULL);
    MUST(strchr(" \t\n", value[len - 1]) == NULL);
    for (const char *s = strchr(value, '\n'); s != NULL;
         s = strchr(s + 1, '\n'))
        MUST(strchr(" \t\n", s[1]) == NULL && strchr(" \t", s[-1]) == NULL);
}

static void check_profile(const struct aws_profiles *p, const char *profile,
                          size_t size)
{
    static const char *const settings[] = {
        "a", "region", "aws_access_key_id", "credential_process", "s3",
    };
    for (size_t i = 0; i < sizeof(settings) / sizeof(settings[0]); i++) {
        const char *name = settings[i];
        const char *value = aws_profiles_get(p, profile, name);
        const char *first =
            aws_profiles_get_from(p, AWS_PROFILES_CREDENTIALS, profile, name);
        const char *second =
            aws_profiles_get_from(p, AWS_PROFILES_CONFIG, profile, name);
        check_value(first, size);
        check_value(second, size);
        MUST(value == (first != NULL ? first : second));
        MUST(value == NULL || aws_profiles_has(p, profile));
    }
}

/* A fault is one line that begins with the file's name. */
static void check_fault(const struct buf *reason, const struct file *config,
                        const struct file *credentials)
{
    MUST(strncmp(reason->data, config->path, strlen(config->path)) == 0 ||
         strncmp(reason->data, credentials->path, strlen(credentials->path)) ==
             0);
    MUST(strchr(reason->data, '\n') == NULL && reason->len < 200);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct file config = {.fd = -1}, credentials;
    if (config.fd < 0) {
        make(&config);
        make(&credentials);
    }
    const uint8_t *split = size > 0 ? memchr(data, SEPARATOR, size) : NULL;
    size_t first = split != NULL ? (size_t)(split - data) : size;
    size_t second = split != NULL ? size - first - 1 : 0;
    fill(&config, data, first);
    fill(&credentials, data + size - second, second);

    const struct conf conf = {.aws_config_file = config.path,
                              .aws_shared_credentials_file = credentials.path};
    struct aws_profiles *p;
    struct buf reason;
    buf_init(&reason, 1000);
    if (aws_profiles_read(&conf, &p, &reason) == RESULT_OK) {
        MUST(reason.len == 0);
        check_profile(p, "default", size);
        check_profile(p, "a", size);
        check_profile(p, "a b", size);
        MUST(!aws_profiles_has(p, ""));
        aws_profiles_free(p);
    } else {
        MUST(p == NULL);
        check_fault(&reason, &config, &credentials);
    }
    buf_free(&reason);
    return 0;
}
