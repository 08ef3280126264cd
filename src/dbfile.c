#include "dbfile.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <unistd.h>

#include "lock.h"
#include "mem.h"

void dbfile_make(const char *path, const char *dir)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (fd < 0)
        return;
    lock_give_to_owner(fd, dir);
    close(fd);
}

bool dbfile_sync_log(const char *path, int *fd)
{
    if (*fd < 0) {
        char *log = mem_printf("%s-wal", path);
        char *dir = mem_dup(path);
        /* Both files may be new, and so must be on the disk by name. */
        int names = open(dirname(dir), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (names >= 0 && fsync(names) == 0)
            *fd = open(log, O_RDWR | O_CLOEXEC);
        const int reason = errno;
        if (names >= 0)
            close(names);
        errno = reason;
        free(dir);
        free(log);
    }
    return *fd >= 0 && fdatasync(*fd) == 0;
}
