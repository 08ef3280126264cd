/* conf_load(): the input is the file. */
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "config/conf.h"
#include "fuzz.h"

static void check_loaded(const struct conf *conf)
{
    MUST(conf->app_url != NULL && conf->app.host != NULL);
    MUST(conf->app.path[conf->app.path_len - 1] == '/');
    MUST(conf->min_char >= 1 && conf->min_char <= conf->max_char);
    MUST(conf->max_char <= CONF_CHAR_MAX);
    MUST(conf->max_body >= 64 && conf->max_body <= CONF_BODY_MAX);
    MUST(conf->store_timeout >= 1 && conf->drain_timeout >= 1);
    MUST(conf->state_dir[0] == '/' && conf->runtime_dir[0] == '/');
    MUST(conf->store != CONF_STORE_DYNAMODB || conf->table != NULL);
    struct buf value;
    buf_init(&value, 100000);
    for (size_t i = 0; i < conf_key_count(); i++) {
        buf_reset(&value);
        if (!conf_value(conf, i, &value))
            continue;
        if (strcmp(conf_key(i).type, "secret") == 0)
            MUST(strcmp(value.data, "********") == 0);
        for (size_t c = 0; c < value.len; c++)
            MUST((unsigned char)value.data[c] >= 0x20 && value.data[c] != 0x7f);
    }
    buf_free(&value);
}

/* A reload from the same file changes nothing. */
static void check_reload(struct conf *conf, const char *file)
{
    struct conf old;
    MUST(conf_reload(file, conf, &old));
    MUST(conf->store == old.store);
    MUST(strcmp(conf->state_dir, old.state_dir) == 0);
    MUST(conf->state_dir != old.state_dir);
    conf_free(&old);
    log_set_level(LOG_LEVEL_ERROR);
}

static void forget_environment(void)
{
    for (size_t i = 0; i < conf_key_count(); i++)
        unsetenv(conf_key(i).name);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    if (fd < 0) {
        forget_environment();
        log_set_level(LOG_LEVEL_ERROR);
        fd = memfd_create("curt.conf", MFD_CLOEXEC);
        MUST(fd >= 0);
    }
    MUST(ftruncate(fd, 0) == 0);
    MUST(pwrite(fd, data, size, 0) == (ssize_t)size);
    char file[40];
    snprintf(file, sizeof(file), "/proc/self/fd/%d", fd);

    static const struct conf empty;
    struct conf conf;
    struct buf faults;
    buf_init(&faults, CONF_FAULTS_MAX);
    if (conf_load(file, &conf, &faults) == RESULT_OK) {
        MUST(faults.len == 0);
        check_loaded(&conf);
        check_reload(&conf, file);
        conf_free(&conf);
    } else {
        MUST(faults.len > 0 || buf_failed(&faults));
        MUST(faults.len == 0 || faults.data[faults.len - 1] == '\n' ||
             buf_failed(&faults));
    }
    MUST(memcmp(&conf, &empty, sizeof(conf)) == 0);
    buf_free(&faults);
    return 0;
}
