#include "base/mapfile.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/lock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/text.h"

/* Which process creates or replaces a file, in the file's directory. */
#define MAKE_LOCK "files.lock"

/* How long a process that makes the file may take, in microseconds. */
#define MAKE_WAIT 2000000

/* The name under which the file of another owner is kept. */
#define KEPT_NAME "%s.%016" PRIx64

bool mapfile_lock(const struct mapfile *m, unsigned wait_us)
{
    return lock_wait(m->fd, wait_us);
}

void mapfile_unlock(const struct mapfile *m)
{
    flock(m->fd, LOCK_UN);
}

uint64_t mapfile_boot(void)
{
    static _Atomic uint64_t boot; /* 0: not read yet */
    char id[64] = "";
    int fd;
    if (boot != 0)
        return boot;
    fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t n = read(fd, id, sizeof(id) - 1);
        id[n > 0 ? n : 0] = '\0';
        close(fd);
    }
    boot = text_hash(id);
    return boot;
}

bool mapfile_is_of_other_user(const char *dir)
{
    struct stat st;
    return geteuid() == 0 && stat(dir, &st) == 0 && st.st_uid != 0;
}

/* Whether the file is what is wanted: RESULT_OK, RESULT_CORRUPT, or
 * RESULT_CONFLICT where only the owner is another one. */
static enum result mapfile_examine(int fd, const struct mapfile_kind *kind,
                                   struct mapfile_header *found)
{
    struct mapfile_header wanted = kind->header;
    struct stat st;
    *found = (struct mapfile_header){.version = 0};
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
        pread(fd, found, sizeof(*found), 0) != (ssize_t)sizeof(*found))
        return RESULT_CORRUPT;
    if (kind->least > 0 && found->size >= kind->least)
        wanted.size = found->size;
    wanted.owner = found->owner;
    if ((uint64_t)st.st_size != found->size || found->size > SIZE_MAX ||
        found->size < found->header_size ||
        memcmp(found, &wanted, sizeof(wanted)) != 0)
        return RESULT_CORRUPT;
    return kind->any_owner || found->owner == kind->header.owner
               ? RESULT_OK
               : RESULT_CONFLICT;
}

/* That the file is of another version; NULL: it is not. Valid until the
 * thread's next call. */
static const char *other_version(const struct mapfile_kind *kind,
                                 const struct mapfile_header *found)
{
    static _Thread_local char text[80];
    if (memcmp(found->magic, kind->header.magic, sizeof(found->magic)) != 0 ||
        found->version == kind->header.version)
        return NULL;
    snprintf(text, sizeof(text),
             "has version %" PRIu32 ", this curt knows version %" PRIu32,
             found->version, kind->header.version);
    return text;
}

/* Maps the open file; takes fd over. */
static enum result mapfile_map(int fd, size_t size, struct mapfile *out,
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
                              const struct mapfile_kind *kind,
                              struct mapfile *out, struct mapfile_header *found,
                              const char **reason)
{
    int fd = openat(dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        *reason = strerror(errno);
        return errno == ENOENT ? RESULT_NOT_FOUND : RESULT_DENIED;
    }
    enum result r = mapfile_examine(fd, kind, found);
    if (r == RESULT_OK)
        return mapfile_map(fd, (size_t)found->size, out, reason);
    close(fd);
    const char *version = other_version(kind, found);
    *reason = r == RESULT_CONFLICT ? "belongs to another store"
              : version != NULL    ? version
                                   : "is of another version or size";
    return r;
}

/* Writes at the start of a file of this kind, mapped by others or not. */
static bool write_header(int dir, const char *name,
                         const struct mapfile_kind *kind, const void *bytes,
                         size_t len, off_t at)
{
    char magic[sizeof(kind->header.magic)];
    int fd = openat(dir, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    const bool written =
        fd >= 0 &&
        pread(fd, magic, sizeof(magic), 0) == (ssize_t)sizeof(magic) &&
        memcmp(magic, kind->header.magic, sizeof(magic)) == 0 &&
        pwrite(fd, bytes, len, at) == (ssize_t)len;
    if (fd >= 0)
        close(fd);
    return written;
}

/* Removes, renames or takes over what is in the way of a new file. */
static bool clear_way(int dir, const char *name,
                      const struct mapfile_kind *kind, enum result is,
                      const struct mapfile_header *found)
{
    struct stat st;
    if (!kind->keep) {
        (void)write_header(dir, name, kind, "", 1, 0); /* see is_replaced */
        return unlinkat(dir, name, 0) == 0;
    }
    if (is == RESULT_CONFLICT && found->owner == 0)
        return write_header(dir, name, kind, &kind->header.owner,
                            sizeof(kind->header.owner),
                            offsetof(struct mapfile_header, owner));
    const char *version = other_version(kind, found);
    char *base = is == RESULT_CONFLICT
                     ? mem_printf(KEPT_NAME, name, found->owner)
                     : mem_printf("%s.old", name);
    char *kept = mem_dup(base); /* or the first free base.1, base.2, ... */
    for (unsigned n = 1; fstatat(dir, kept, &st, AT_SYMLINK_NOFOLLOW) == 0;
         n++) {
        free(kept);
        kept = mem_printf("%s.%u", base, n);
    }
    const bool done = errno == ENOENT && renameat(dir, name, dir, kept) == 0;
    if (done && version != NULL)
        log_warning("%s: %s; kept as %s, which only that version can flush",
                    name, version, kept);
    else if (done)
        log_warning("%s: not of this version or store, kept as %s", name, kept);
    free(base);
    free(kept);
    return done;
}

/* Gives the file its name back that was kept for this owner. */
static bool bring_back(int dir, const char *name,
                       const struct mapfile_kind *kind)
{
    if (!kind->keep)
        return false;
    char *kept = mem_printf(KEPT_NAME, name, kind->header.owner);
    const bool done = renameat(dir, kept, dir, name) == 0;
    if (done)
        log_info("%s: %s is used again", name, kept);
    free(kept);
    return done;
}

/* Creates the file under another name and renames it when it is whole. */
static enum result mapfile_make(const char *path, int dir, const char *name,
                                const struct mapfile_kind *kind,
                                struct mapfile *out, const char **reason)
{
    struct mapfile_header header = kind->header;
    char *fresh = mem_printf("%s.new", name);
    enum result r = RESULT_UNAVAILABLE;
    /* Left over from a process that died here. */
    unlinkat(dir, fresh, 0);
    if (kind->choose_size != NULL)
        header.size = kind->choose_size(path, header.size);
    int fd =
        header.size == 0
            ? -1
            : openat(dir, fresh,
                     O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    int error = header.size == 0 ? ENOSPC
                : fd < 0         ? errno
                                 : posix_fallocate(fd, 0, (off_t)header.size);
    if (error == 0) {
        lock_give_to_owner(fd, path);
        r = mapfile_map(fd, header.size, out, reason);
        error = r == RESULT_OK ? 0 : errno;
    } else if (fd >= 0) {
        close(fd);
    }
    if (r == RESULT_OK) {
        memcpy(out->base, &header, sizeof(header));
        if (kind->init != NULL)
            kind->init(out->base);
        if ((kind->keep && fsync(out->fd) < 0) ||
            renameat(dir, fresh, dir, name) < 0 ||
            (kind->keep && fsync(dir) < 0)) {
            error = errno;
            mapfile_close(out);
            r = RESULT_UNAVAILABLE;
        }
    }
    if (error != 0) {
        *reason = strerror(error);
        unlinkat(dir, fresh, 0);
    }
    free(fresh);
    return r;
}

/* One process does this at a time, under the lock; the others then find the
 * file. Each turn moves a file out of the way, or back. */
static enum result open_or_make(const char *path, int dir, const char *name,
                                const struct mapfile_kind *kind,
                                struct mapfile *out, const char **reason)
{
    for (;;) {
        struct mapfile_header found;
        enum result r = open_right(dir, name, kind, out, &found, reason);
        if (r == RESULT_NOT_FOUND && !bring_back(dir, name, kind))
            return mapfile_make(path, dir, name, kind, out, reason);
        if (r == RESULT_OK || r == RESULT_DENIED || r == RESULT_UNAVAILABLE)
            return r;
        if (r != RESULT_NOT_FOUND && !clear_way(dir, name, kind, r, &found)) {
            *reason = strerror(errno);
            return RESULT_UNAVAILABLE;
        }
    }
}

enum result mapfile_open(const char *dir, const char *name,
                         const struct mapfile_kind *kind, struct mapfile *out,
                         const char **reason)
{
    struct mapfile_header found;
    *out = (struct mapfile){.fd = -1};
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        *reason = strerror(errno);
        return RESULT_UNAVAILABLE;
    }
    enum result r = open_right(fd, name, kind, out, &found, reason);
    if (r == RESULT_NOT_FOUND || r == RESULT_CORRUPT || r == RESULT_CONFLICT) {
        int lock = lock_take(dir, MAKE_LOCK, MAKE_WAIT);
        if (lock >= 0) {
            r = open_or_make(dir, fd, name, kind, out, reason);
            close(lock);
        } else {
            *reason = errno == EWOULDBLOCK
                          ? "another process does not finish creating it"
                          : strerror(errno);
            r = RESULT_UNAVAILABLE;
        }
    }
    close(fd);
    return r;
}

enum result mapfile_open_existing(const char *dir, const char *name,
                                  const struct mapfile_kind *kind,
                                  struct mapfile *out, const char **reason)
{
    struct mapfile_header found;
    *out = (struct mapfile){.fd = -1};
    int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) {
        *reason = strerror(errno);
        /* In a directory that cannot be read the file may exist. */
        return errno == ENOENT || errno == ENOTDIR ? RESULT_NOT_FOUND
                                                   : RESULT_DENIED;
    }
    enum result r = open_right(fd, name, kind, out, &found, reason);
    close(fd);
    return r == RESULT_CONFLICT ? RESULT_CORRUPT : r;
}

bool mapfile_is_replaced(const struct mapfile *m)
{
    return *(const volatile char *)m->base == '\0';
}

void mapfile_close(struct mapfile *m)
{
    if (m->base == NULL)
        return;
    munmap(m->base, m->size);
    close(m->fd);
    *m = (struct mapfile){.fd = -1};
}
