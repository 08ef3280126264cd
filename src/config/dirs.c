#include "config/dirs.h"

#include <errno.h>
#include <libgen.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"

void dirs_make(const struct conf *conf)
{
    const struct {
        const char *key, *path;
        mode_t mode;
    } dirs[] = {{"STATE_DIR", conf->state_dir, DIRS_STATE_MODE},
                {"RUNTIME_DIR", conf->runtime_dir, DIRS_RUNTIME_MODE}};
    for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
        const char *key = dirs[i].key, *path = dirs[i].path;
        /* chmod: whatever the umask is. */
        const bool made =
            mkdir(path, dirs[i].mode) == 0 && chmod(path, dirs[i].mode) == 0;
        if (made && geteuid() == 0)
            log_info("directory created, owned by root: %s %s; give it to the "
                     "user that runs curt.fcgi",
                     key, path);
        else if (!made && errno != EEXIST)
            log_warning("cannot create directory: %s %s: %s; create it and "
                        "give it to the user that runs curt.fcgi",
                        key, path, strerror(errno));
    }
}

void dirs_check(const struct conf *conf, struct buf *faults)
{
    const char *const dirs[][2] = {{"STATE_DIR", conf->state_dir},
                                   {"RUNTIME_DIR", conf->runtime_dir}};
    for (size_t i = 0; i < sizeof(dirs) / sizeof(dirs[0]); i++) {
        const char *path = dirs[i][1];
        struct stat st;
        char *copy = mem_dup(path);
        int error = 0;
        if (stat(path, &st) < 0) {
            error = errno;
            /* One that is missing can be created where this process can write.
             */
            if (error == ENOENT)
                error = access(dirname(copy), W_OK | X_OK) < 0 ? errno : 0;
        } else if (!S_ISDIR(st.st_mode)) {
            error = ENOTDIR;
        } else if (access(path, R_OK | W_OK | X_OK) < 0) {
            error = errno;
        }
        if (error != 0)
            buf_addf(faults,
                     "%s: %s: %s; expected a directory that the user of "
                     "curt.fcgi can write\n",
                     dirs[i][0], path, strerror(error));
        free(copy);
    }
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
