#include "dbfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "mem.h"

void dbfile_make(const char *path, const char *dir)
{
    int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0640);
    if (fd < 0)
        return;
    struct stat st;
    if (geteuid() == 0 && stat(dir, &st) == 0 &&
        fchown(fd, st.st_uid, st.st_gid) < 0)
        log_warning("%s: cannot be given to the owner of its directory: %s",
                    path, strerror(errno));
    close(fd);
}

bool dbfile_sync_log(const char *path, int *fd)
{
    if (*fd < 0) {
        char *log = mem_printf("%s-wal", path);
        *fd = open(log, O_RDWR | O_CLOEXEC);
        free(log);
    }
    return *fd >= 0 && fdatasync(*fd) == 0;
}
