#include "dirs.h"

#include <errno.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem.h"

static void make(const char *key, const char *dir)
{
    if (mkdir(dir, 0750) == 0) {
        if (geteuid() == 0)
            log_info("%s: %s was made and belongs to root; give it to the "
                     "user that runs curt.fcgi",
                     key, dir);
    } else if (errno != EEXIST) {
        log_warning("%s: %s cannot be made: %s; make it and give it to the "
                    "user that runs curt.fcgi",
                    key, dir, strerror(errno));
    }
}

void dirs_make(const struct conf *conf)
{
    make("STATE_DIR", conf->state_dir);
    make("RUNTIME_DIR", conf->runtime_dir);
}

static bool can_be_made(const char *dir)
{
    char *copy = mem_dup(dir);
    bool yes = access(dirname(copy), W_OK | X_OK) == 0;
    free(copy);
    return yes;
}

static void check(const char *key, const char *dir, struct buf *faults)
{
    struct stat st;
    const char *fault = NULL;
    if (stat(dir, &st) < 0) {
        if (errno != ENOENT || !can_be_made(dir))
            fault = strerror(errno);
    } else if (!S_ISDIR(st.st_mode)) {
        fault = strerror(ENOTDIR);
    } else if (access(dir, R_OK | W_OK | X_OK) < 0) {
        fault = strerror(errno);
    }
    if (fault != NULL)
        buf_addf(faults,
                 "%s: %s: %s; make it a directory that the user who runs "
                 "curt.fcgi can write\n",
                 key, dir, fault);
}

void dirs_check(const struct conf *conf, struct buf *faults)
{
    check("STATE_DIR", conf->state_dir, faults);
    check("RUNTIME_DIR", conf->runtime_dir, faults);
}

void dirs_give_to_owner(const char *path, int fd)
{
    struct stat st;
    char *copy = mem_dup(path);
    if (geteuid() == 0 && stat(dirname(copy), &st) == 0 &&
        fchown(fd, st.st_uid, st.st_gid) < 0)
        log_warning("%s: cannot be given to the owner of its directory: %s",
                    path, strerror(errno));
    free(copy);
}
