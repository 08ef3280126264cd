#include "base/lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

bool lock_wait(int fd, unsigned wait_us)
{
    unsigned waited = 0, step = 20;
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK || waited >= wait_us)
            return false;
        usleep(step);
        waited += step;
        step = step < 1000 ? step * 2 : step;
    }
    return true;
}

void lock_give_to_owner(int fd, const char *dir)
{
    struct stat st;
    if (geteuid() == 0 && stat(dir, &st) == 0 &&
        fchown(fd, st.st_uid, st.st_gid) < 0)
        log_warning("%s: cannot give a new file to the owner of the "
                    "directory: %s",
                    dir, strerror(errno));
}

int lock_open(const char *dir, const char *path)
{
    const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW;
    struct stat st;
    int fd = open(path, flags);
    if (fd < 0 && errno == ENOENT) {
        fd = open(path, flags | O_CREAT | O_EXCL, 0600);
        if (fd >= 0)
            lock_give_to_owner(fd, dir);
        else if (errno == EEXIST) /* another process was faster */
            fd = open(path, flags);
    }
    if (fd < 0 || fstat(fd, &st) < 0)
        return fd;
    if ((st.st_mode & 077) != 0 && fchmod(fd, 0600) < 0) {
        close(fd);
        errno = EPERM;
        return -1;
    }
    return fd;
}

bool lock_is_valid(int fd, const char *dir, const char *name)
{
    struct stat mine, found;
    char *path = mem_printf("%s/%s", dir, name);
    const bool same = fstat(fd, &mine) == 0 && lstat(path, &found) == 0 &&
                      mine.st_dev == found.st_dev &&
                      mine.st_ino == found.st_ino;
    free(path);
    return same;
}

int lock_take(const char *dir, const char *name, unsigned wait_us)
{
    char *path = mem_printf("%s/%s", dir, name);
    int fd;
    while ((fd = lock_open(dir, path)) >= 0) {
        const bool locked = lock_wait(fd, wait_us);
        if (locked && lock_is_valid(fd, dir, name))
            break;
        const int reason = errno;
        close(fd);
        fd = -1;
        errno = reason;
        if (!locked)
            break;
    }
    free(path); /* which keeps errno */
    return fd;
}
