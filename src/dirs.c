#include "dirs.h"

#include <errno.h>
#include <libgen.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "mem.h"

static void make_dir(const char *key, const char *dir, mode_t mode)
{
    /* chmod: whatever the umask is. */
    if (mkdir(dir, mode) == 0 && chmod(dir, mode) == 0) {
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
    make_dir("STATE_DIR", conf->state_dir, DIRS_STATE_MODE);
    make_dir("RUNTIME_DIR", conf->runtime_dir, DIRS_RUNTIME_MODE);
}

static bool can_be_made(const char *dir)
{
    char *copy = mem_dup(dir);
    bool yes = access(dirname(copy), W_OK | X_OK) == 0;
    free(copy);
    return yes;
}

static void check_dir(const char *key, const char *dir, struct buf *faults)
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
    check_dir("STATE_DIR", conf->state_dir, faults);
    check_dir("RUNTIME_DIR", conf->runtime_dir, faults);
}

enum result dirs_refused(const char *path, int error, struct buf *reason)
{
    const bool denied = error == EACCES || error == EPERM;
    struct stat st = {.st_uid = (uid_t)-1};
    char *dir = mem_dup(path);
    const struct passwd *owner =
        stat(dirname(dir), &st) == 0 ? getpwuid(st.st_uid) : NULL;
    free(dir);
    buf_addf(reason, "cannot open %s: %s; ", path, strerror(error));
    if (!denied)
        buf_add_str(reason, "run `curt doctor`");
    else if (geteuid() == 0 || st.st_uid == 0 || st.st_uid == geteuid())
        buf_add_str(reason, "give it to the user that runs curt.fcgi");
    else
        buf_addf(reason, "run it as root or as the user curt.fcgi runs as%s%s",
                 owner != NULL ? ", " : "",
                 owner != NULL ? owner->pw_name : "");
    return denied ? RESULT_DENIED : RESULT_UNAVAILABLE;
}
