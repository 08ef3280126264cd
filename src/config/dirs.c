#include "config/dirs.h"

#include <errno.h>
#include <libgen.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

static void make_dir(const char *key, const char *dir, mode_t mode)
{
    /* chmod: whatever the umask is. */
    if (mkdir(dir, mode) == 0 && chmod(dir, mode) == 0) {
        if (geteuid() == 0)
            log_info("directory created, owned by root: %s %s; give it to the "
                     "user that runs curt.fcgi",
                     key, dir);
    } else if (errno != EEXIST) {
        log_warning("cannot create directory: %s %s: %s; create it and give it "
                    "to the user that runs curt.fcgi",
                    key, dir, strerror(errno));
    }
}

void dirs_make(const struct conf *conf)
{
    make_dir("STATE_DIR", conf->state_dir, DIRS_STATE_MODE);
    make_dir("RUNTIME_DIR", conf->runtime_dir, DIRS_RUNTIME_MODE);
}

static void check_dir(const char *key, const char *dir, struct buf *faults)
{
    struct stat st;
    char *copy = mem_dup(dir);
    int error = 0;
    if (stat(dir, &st) < 0) {
        error = errno;
        /* One that is missing can be created where this process can write. */
        if (error == ENOENT && access(dirname(copy), W_OK | X_OK) == 0)
            error = 0;
        else if (error == ENOENT)
            error = errno;
    } else if (!S_ISDIR(st.st_mode)) {
        error = ENOTDIR;
    } else if (access(dir, R_OK | W_OK | X_OK) < 0) {
        error = errno;
    }
    if (error != 0)
        buf_addf(faults,
                 "%s: %s: %s; expected a directory that the user of curt.fcgi "
                 "can write\n",
                 key, dir, strerror(error));
    free(copy);
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
