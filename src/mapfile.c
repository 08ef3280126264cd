#include "mapfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "ids.h"
#include "log.h"
#include "mem.h"

/* How long a process that makes the file may take, in microseconds. */
#define MAKE_WAIT 2000000

static void nap(unsigned us)
{
    const struct timespec time = {0, (long)us * 1000};
    nanosleep(&time, NULL);
}

static bool lock_fd(int fd, unsigned wait_us)
{
    unsigned waited = 0, step = 20;
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK || waited >= wait_us)
            return false;
        nap(step);
        waited += step;
        step = step < 1000 ? step * 2 : step;
    }
    return true;
}

bool mapfile_lock(const struct mapfile *m, unsigned wait_us)
{
    return lock_fd(m->fd, wait_us);
}

void mapfile_unlock(const struct mapfile *m)
{
    flock(m->fd, LOCK_UN);
}

uint64_t mapfile_boot(void)
{
    char id[IDS_MAX + 1] = "";
    int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t n = read(fd, id, sizeof(id) - 1);
        id[n > 0 ? n : 0] = '\0';
        close(fd);
    }
    return ids_hash(id);
}

/* Whether the file is what is wanted; *size is how large it is. */
static bool is_right(int fd, struct mapfile_header wanted, size_t *size)
{
    struct mapfile_header found;
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
        pread(fd, &found, sizeof(found), 0) != (ssize_t)sizeof(found))
        return false;
    if (wanted.size == 0)
        wanted.size = found.size;
    *size = (size_t)found.size;
    return (uint64_t)st.st_size == found.size &&
           found.size >= found.header_size &&
           memcmp(&found, &wanted, sizeof(found)) == 0;
}

/* Maps the open file; takes fd over. */
static enum result map(int fd, size_t size, struct mapfile *out,
                       const char **reason)
{
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (base == MAP_FAILED) {
        *reason = strerror(errno);
        close(fd);
        return RESULT_UNAVAILABLE;
    }
    *out = (struct mapfile){.base = base, .size = size, .fd = fd};
    return RESULT_OK;
}

static enum result open_right(int dir, const char *name,
                              const struct mapfile_header *header,
                              struct mapfile *out, const char **reason)
{
    int fd = openat(dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        *reason = strerror(errno);
        return errno == ENOENT ? RESULT_NOT_FOUND : RESULT_DENIED;
    }
    size_t size;
    if (!is_right(fd, *header, &size)) {
        close(fd);
        *reason = "is of another version or size";
        return RESULT_CORRUPT;
    }
    return map(fd, size, out, reason);
}

/* A file that root makes (curt run by hand) is for the workers, too. */
static void give_to_owner(int dir, int fd)
{
    struct stat st;
    if (geteuid() == 0 && fstat(dir, &st) == 0 &&
        fchown(fd, st.st_uid, st.st_gid) < 0)
        log_warning("a shared file cannot be given to the owner of its "
                    "directory: %s",
                    strerror(errno));
}

/* Makes the file under another name and gives it its name when it is whole. */
static enum result make(int dir, const char *name,
                        const struct mapfile_header *header,
                        void (*init)(void *base), struct mapfile *out,
                        const char **reason)
{
    char *fresh = mem_printf("%s.new", name);
    /* Of one who died here, with who knows what mode, owner and other names. */
    unlinkat(dir, fresh, 0);
    int fd = openat(dir, fresh,
                    O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    int error = fd < 0 ? errno : posix_fallocate(fd, 0, (off_t)header->size);
    if (error == 0)
        give_to_owner(dir, fd);
    enum result r = RESULT_UNAVAILABLE;
    if (error != 0)
        *reason = strerror(error);
    else
        r = map(fd, header->size, out, reason);
    if (error != 0 && fd >= 0)
        close(fd);
    if (r == RESULT_OK) {
        memcpy(out->base, header, sizeof(*header));
        init(out->base);
        if (renameat(dir, fresh, dir, name) < 0) {
            *reason = strerror(errno);
            mapfile_close(out);
            r = RESULT_UNAVAILABLE;
        }
    }
    if (r != RESULT_OK)
        unlinkat(dir, fresh, 0);
    free(fresh);
    return r;
}

/* Puts aside what has the name of a file that is to be made. */
static void keep_other(int dir, const char *name)
{
    char *kept = mem_printf("%s.old", name);
    if (renameat(dir, name, dir, kept) == 0)
        log_error("%s is not of this version; it is kept as %s", name, kept);
    free(kept);
}

static int open_dir(const char *dir, const char **reason)
{
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        *reason = strerror(errno);
    return fd;
}

static enum result open_or_make(const char *dir, const char *name,
                                const struct mapfile_header *header,
                                void (*init)(void *base), bool keep,
                                struct mapfile *out, const char **reason)
{
    *out = (struct mapfile){.fd = -1};
    int fd = open_dir(dir, reason);
    if (fd < 0)
        return RESULT_UNAVAILABLE;
    enum result r = open_right(fd, name, header, out, reason);
    if (r == RESULT_NOT_FOUND || r == RESULT_CORRUPT) {
        /* One process makes it; the others then find it. */
        if (lock_fd(fd, MAKE_WAIT)) {
            r = open_right(fd, name, header, out, reason);
            if (r == RESULT_CORRUPT && keep)
                keep_other(fd, name);
            if (r == RESULT_NOT_FOUND || r == RESULT_CORRUPT)
                r = make(fd, name, header, init, out, reason);
        } else {
            *reason = "another process does not finish making it";
            r = RESULT_UNAVAILABLE;
        }
    }
    close(fd); /* and releases the lock */
    return r;
}

enum result mapfile_open(const char *dir, const char *name,
                         const struct mapfile_header *header,
                         void (*init)(void *base), struct mapfile *out,
                         const char **reason)
{
    return open_or_make(dir, name, header, init, false, out, reason);
}

enum result mapfile_open_keeping(const char *dir, const char *name,
                                 const struct mapfile_header *header,
                                 void (*init)(void *base), struct mapfile *out,
                                 const char **reason)
{
    return open_or_make(dir, name, header, init, true, out, reason);
}

enum result mapfile_open_existing(const char *dir, const char *name,
                                  const struct mapfile_header *header,
                                  struct mapfile *out, const char **reason)
{
    *out = (struct mapfile){.fd = -1};
    int fd = open_dir(dir, reason);
    /* Where this user may not look there may well be one. */
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? RESULT_NOT_FOUND
                                                   : RESULT_DENIED;
    enum result r = open_right(fd, name, header, out, reason);
    close(fd);
    return r;
}

void mapfile_close(struct mapfile *m)
{
    if (m->base == NULL)
        return;
    munmap(m->base, m->size);
    close(m->fd);
    *m = (struct mapfile){.fd = -1};
}
