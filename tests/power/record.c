/*
 * Records what processes do to the files below a directory, for
 * tests/e2e/power_disk.py: preloaded into them (LD_PRELOAD), and loaded by the
 * test itself, which adds notes. All write one log in shared memory, under one
 * lock, so the order of the events is that of their effects.
 *
 * An event is a call that changed a file or a directory, the begin and the end
 * of an fsync(), what was sent to a socket, or a note. Stores into a mapped
 * file are not calls: before each event, and when a lock on the file is
 * released, each sector that has changed in the mapping since the last look is
 * an event. Two changes of a sector between two looks are one.
 *
 * Not seen: calls that the C library makes within itself (stdio; dprintf() is
 * replaced here), sendfile(), copy_file_range(), io_uring. Files of 32-bit
 * programs neither. The test compares the log with the files at the end, so
 * none of this remains unnoticed.
 *
 * CURT_RECORD      the log; absent: nothing is recorded
 * CURT_RECORD_ROOT the directory, as the kernel spells it
 * CURT_RECORD_WAIT how long each sync takes at least, in microseconds: others
 *                  go on while it runs
 * CURT_NO_SYNC     where nothing is recorded: a sync does nothing, and the
 *                  journal stays mapped
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE        4096u
#define SECTOR      512u
#define LOG_SIZE    ((size_t)1 << 29)
#define SHADOW_SIZE ((size_t)40 << 20)
#define MAPPINGS    8
#define KEPT_SIZE   ((size_t)32 << 20)

/* An event in the log, followed by path and data. power_disk.py reads it. */
struct event {
    uint32_t kind; /* a letter, see append_event()'s callers */
    uint32_t pid;
    uint64_t inode;
    int64_t at; /* offset or size */
    uint32_t path_len, data_len;
};

struct recording {
    uint64_t begun; /* 1 when all is there */
    uint64_t used;  /* bytes of log */
    pthread_mutex_t mutex;
    uint64_t mapped; /* inode of the one mapped file */
    uint8_t hot[SHADOW_SIZE / PAGE];
    char shadow[SHADOW_SIZE]; /* the mapped file as it was recorded */
    char log[];
};

static struct recording *recording;
static char root[PATH_MAX];
static size_t root_len;
static useconds_t sync_wait;

/* The mappings of this process; under the mutex. */
static struct mapping {
    char *base;
    size_t size;
    uint64_t inode;
} mappings[MAPPINGS];

/* A file or directory below the root. */
struct place {
    char path[PATH_MAX]; /* relative to the root; "" for itself */
    uint64_t inode;
    bool is_dir;
    int64_t size;
};

/* Opens the log, and begins it where it is new. Returns its first event. */
const char *record_open(const char *log, const char *directory)
{
    int fd = (int)syscall(SYS_openat, AT_FDCWD, log,
                          O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    const long rc = syscall(SYS_ftruncate, fd, LOG_SIZE);
    void *base = (void *)syscall(SYS_mmap, NULL, LOG_SIZE,
                                 PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0L);
    if (fd < 0 || rc < 0 || base == MAP_FAILED)
        abort();
    syscall(SYS_close, fd);
    struct recording *r = base;
    if (r->begun == 0) {
        pthread_mutexattr_t attr;
        pthread_mutexattr_init(&attr);
        pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);
        pthread_mutex_init(&r->mutex, &attr);
        r->begun = 1;
    }
    root_len = strlen(directory);
    memcpy(root, directory, root_len + 1);
    recording = r;
    return r->log;
}

size_t record_used(void)
{
    return recording->used;
}

__attribute__((constructor)) static void start_recording(void)
{
    const char *log = getenv("CURT_RECORD"), *wait = getenv("CURT_RECORD_WAIT");
    if (log != NULL)
        record_open(log, getenv("CURT_RECORD_ROOT"));
    if (wait != NULL)
        sync_wait = (useconds_t)strtoul(wait, NULL, 10);
}

/* ---- The log --------------------------------------------------------- */

static void append_event(char kind, uint64_t inode, int64_t at,
                         const char *path, const void *data, size_t len)
{
    const struct event e = {.kind = (uint32_t)kind,
                            .pid = (uint32_t)getpid(),
                            .inode = inode,
                            .at = at,
                            .path_len = (uint32_t)strlen(path),
                            .data_len = (uint32_t)len};
    char *to = recording->log + recording->used;
    const size_t size = sizeof(e) + e.path_len + len;
    if (sizeof(*recording) + recording->used + size > LOG_SIZE)
        abort();
    memcpy(to, &e, sizeof(e));
    memcpy(to + sizeof(e), path, e.path_len);
    if (len > 0)
        memcpy(to + sizeof(e) + e.path_len, data, len);
    recording->used += size;
}

/* M: a sector of the mapped file. all: also of pages that never changed. */
static void look_at_mappings(bool all)
{
    for (size_t m = 0; m < MAPPINGS; m++) {
        const struct mapping *map = &mappings[m];
        if (map->inode == 0 || map->inode != recording->mapped)
            continue;
        for (size_t page = 0; page < map->size / PAGE; page++) {
            const char *now = map->base + page * PAGE;
            char *was = recording->shadow + page * PAGE;
            if ((!all && !recording->hot[page]) || memcmp(now, was, PAGE) == 0)
                continue;
            recording->hot[page] = 1;
            for (size_t at = 0; at < PAGE; at += SECTOR) {
                char sector[SECTOR];
                memcpy(sector, now + at, SECTOR);
                if (memcmp(sector, was + at, SECTOR) == 0)
                    continue;
                memcpy(was + at, sector, SECTOR);
                append_event('M', map->inode, (int64_t)(page * PAGE + at), "",
                             sector, SECTOR);
            }
        }
        return; /* all mappings of the file show the same */
    }
}

static void lock_log(void)
{
    pthread_mutex_lock(&recording->mutex);
    look_at_mappings(false);
}

static void unlock_log(void)
{
    const int error = errno;
    pthread_mutex_unlock(&recording->mutex);
    errno = error;
}

/* N: a note of the test. */
void record_note(const char *text)
{
    lock_log();
    append_event('N', 0, 0, text, NULL, 0);
    unlock_log();
}

static bool below_root(const char *path)
{
    return strncmp(path, root, root_len) == 0 &&
           (path[root_len] == '/' || path[root_len] == '\0');
}

/* Whether an open file is to be recorded. */
static bool find_place(int fd, struct place *p)
{
    char name[32], path[PATH_MAX];
    struct stat st;
    const int error = errno;
    if (recording == NULL)
        return false;
    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    const ssize_t n = readlink(name, path, sizeof(path) - 1);
    path[n > 0 ? n : 0] = '\0';
    bool found = below_root(path) && fstat(fd, &st) == 0;
    if (found) {
        const char *rest = path + root_len;
        snprintf(p->path, sizeof(p->path), "%s", rest + (*rest == '/'));
        p->inode = st.st_ino;
        p->is_dir = S_ISDIR(st.st_mode);
        p->size = st.st_size;
    }
    errno = error;
    return found;
}

/* The path of a name relative to the root; false: it is elsewhere. */
static bool name_path(int dir, const char *name, char path[PATH_MAX])
{
    char link[32], whole[2 * PATH_MAX];
    const int error = errno;
    ssize_t n = 0;
    if (recording == NULL)
        return false;
    if (*name != '/') {
        snprintf(link, sizeof(link), "/proc/self/fd/%d", dir);
        n = readlink(dir == AT_FDCWD ? "/proc/self/cwd" : link, whole,
                     PATH_MAX - 1);
        n = n > 0 ? n : 0;
        whole[n++] = '/';
    }
    snprintf(whole + n, PATH_MAX, "%s", name);
    errno = error;
    if (!below_root(whole) || whole[root_len] == '\0')
        return false;
    snprintf(path, PATH_MAX, "%s", whole + root_len + 1);
    return true;
}

/* ---- Files ----------------------------------------------------------- */

/* C: a new file; T: of another size. */
static int open_file(int dir, const char *name, int flags, mode_t mode)
{
    struct place p;
    struct stat st;
    if (recording == NULL || (flags & (O_CREAT | O_TRUNC)) == 0)
        return (int)syscall(SYS_openat, dir, name, flags, mode);
    lock_log();
    errno = 0;
    const bool is_new = fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0;
    const int fd = (int)syscall(SYS_openat, dir, name, flags, mode);
    if (fd >= 0 && (flags & O_TMPFILE) != O_TMPFILE && find_place(fd, &p)) {
        if (is_new)
            append_event('C', p.inode, 0, p.path, NULL, 0);
        else if ((flags & O_TRUNC) != 0)
            append_event('T', p.inode, 0, p.path, NULL, 0);
    }
    unlock_log();
    return fd;
}

#define OPEN(name)                                                             \
    int name(const char *path, int flags, ...)                                 \
    {                                                                          \
        va_list rest;                                                          \
        va_start(rest, flags);                                                 \
        const mode_t mode = (mode_t)va_arg(rest, int);                         \
        va_end(rest);                                                          \
        return open_file(AT_FDCWD, path, flags, mode);                         \
    }
#define OPENAT(name)                                                           \
    int name(int dir, const char *path, int flags, ...)                        \
    {                                                                          \
        va_list rest;                                                          \
        va_start(rest, flags);                                                 \
        const mode_t mode = (mode_t)va_arg(rest, int);                         \
        va_end(rest);                                                          \
        return open_file(dir, path, flags, mode);                              \
    }
OPEN(open)
OPEN(open64)
OPENAT(openat)
OPENAT(openat64)

/* W: bytes of a file; S: bytes that are about to be sent to a socket, with its
 * descriptor for an inode. */
static ssize_t write_bytes(int fd, const void *data, size_t len, off_t at)
{
    struct place p;
    struct stat st;
    if (!find_place(fd, &p)) {
        if (recording != NULL && at < 0 && fstat(fd, &st) == 0 &&
            S_ISSOCK(st.st_mode)) {
            lock_log();
            append_event('S', (uint64_t)fd, 0, "", data, len);
            unlock_log();
        }
        return at < 0 ? syscall(SYS_write, fd, data, len)
                      : syscall(SYS_pwrite64, fd, data, len, at);
    }
    lock_log();
    const bool end = (fcntl(fd, F_GETFL) & O_APPEND) != 0;
    const int64_t place = at >= 0 ? at : end ? p.size : lseek(fd, 0, SEEK_CUR);
    const ssize_t n = at < 0 ? syscall(SYS_write, fd, data, len)
                             : syscall(SYS_pwrite64, fd, data, len, at);
    if (n > 0)
        append_event('W', p.inode, place, p.path, data, (size_t)n);
    unlock_log();
    return n;
}

ssize_t write(int fd, const void *data, size_t len)
{
    return write_bytes(fd, data, len, -1);
}

ssize_t pwrite(int fd, const void *data, size_t len, off_t at)
{
    return write_bytes(fd, data, len, at);
}

ssize_t pwrite64(int fd, const void *data, size_t len, off64_t at)
{
    return write_bytes(fd, data, len, at);
}

ssize_t send(int fd, const void *data, size_t len, int flags)
{
    if (recording != NULL) {
        lock_log();
        append_event('S', (uint64_t)fd, 0, "", data, len);
        unlock_log();
    }
    return syscall(SYS_sendto, fd, data, len, flags, NULL, 0);
}

static int print_to(int fd, const char *format, va_list rest)
{
    char text[4096];
    const int n = vsnprintf(text, sizeof(text), format, rest);
    return n < 0 || (size_t)n >= sizeof(text)
               ? -1
               : (int)write_bytes(fd, text, (size_t)n, -1);
}

int dprintf(int fd, const char *format, ...)
{
    va_list rest;
    va_start(rest, format);
    const int n = print_to(fd, format, rest);
    va_end(rest);
    return n;
}

int __dprintf_chk(int fd, int flag, const char *format, ...)
{
    (void)flag;
    va_list rest;
    va_start(rest, format);
    const int n = print_to(fd, format, rest);
    va_end(rest);
    return n;
}

int ftruncate(int fd, off_t size)
{
    struct place p;
    if (!find_place(fd, &p))
        return (int)syscall(SYS_ftruncate, fd, size);
    lock_log();
    const int rc = (int)syscall(SYS_ftruncate, fd, size);
    if (rc == 0)
        append_event('T', p.inode, size, p.path, NULL, 0);
    unlock_log();
    return rc;
}

int ftruncate64(int fd, off64_t size)
{
    return ftruncate(fd, size);
}

int posix_fallocate(int fd, off_t at, off_t len)
{
    struct place p;
    const bool found = find_place(fd, &p);
    const int error = errno;
    if (found)
        lock_log();
    const long rc = syscall(SYS_fallocate, fd, 0, at, len);
    const int fault = rc < 0 ? errno : 0;
    if (found && rc == 0 && at + len > p.size)
        append_event('T', p.inode, at + len, p.path, NULL, 0);
    if (found)
        unlock_log();
    errno = error;
    return fault;
}

int posix_fallocate64(int fd, off64_t at, off64_t len)
{
    return posix_fallocate(fd, at, len);
}

/* B and E: begin and end of a sync; b and e: of a directory. What was there
 * before its begin is on the disk after its end. */
static int sync_file(int fd, long call)
{
    struct place p;
    if (!find_place(fd, &p))
        return recording == NULL && getenv("CURT_NO_SYNC") != NULL
                   ? 0
                   : (int)syscall(call, fd);
    lock_log();
    if (p.inode == recording->mapped)
        look_at_mappings(true);
    append_event(p.is_dir ? 'b' : 'B', p.inode, 0, p.path, NULL, 0);
    unlock_log();
    usleep(sync_wait);
    const int rc = (int)syscall(call, fd);
    lock_log();
    if (rc == 0)
        append_event(p.is_dir ? 'e' : 'E', p.inode, 0, p.path, NULL, 0);
    unlock_log();
    return rc;
}

int fsync(int fd)
{
    return sync_file(fd, SYS_fsync);
}

int fdatasync(int fd)
{
    return sync_file(fd, SYS_fdatasync);
}

/* ---- Names ----------------------------------------------------------- */

/* U: a name is gone. */
int unlinkat(int dir, const char *name, int flags)
{
    char path[PATH_MAX];
    if (!name_path(dir, name, path))
        return (int)syscall(SYS_unlinkat, dir, name, flags);
    lock_log();
    const int rc = (int)syscall(SYS_unlinkat, dir, name, flags);
    if (rc == 0)
        append_event('U', 0, 0, path, NULL, 0);
    unlock_log();
    return rc;
}

int unlink(const char *name)
{
    return unlinkat(AT_FDCWD, name, 0);
}

/* R: path is now called data. */
int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
    char path[PATH_MAX], fresh[PATH_MAX];
    if (!name_path(from_dir, from, path) || !name_path(to_dir, to, fresh))
        return (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, 0);
    lock_log();
    const int rc = (int)syscall(SYS_renameat2, from_dir, from, to_dir, to, 0);
    if (rc == 0)
        append_event('R', 0, 0, path, fresh, strlen(fresh));
    unlock_log();
    return rc;
}

int rename(const char *from, const char *to)
{
    return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

/* ---- Mapped files ---------------------------------------------------- */

/* SQLite's -shm is not recorded: it does not outlive a boot (see
 * power_disk.py). */
static void add_mapping(char *base, size_t size, int fd)
{
    struct place p;
    if (!find_place(fd, &p) || strstr(p.path, "-shm") != NULL)
        return;
    pthread_mutex_lock(&recording->mutex);
    if (recording->mapped == 0)
        recording->mapped = p.inode;
    if (recording->mapped != p.inode || size > SHADOW_SIZE)
        abort(); /* there is one such file */
    size_t free = 0;
    while (free < MAPPINGS && mappings[free].base != NULL)
        free++;
    if (free == MAPPINGS)
        abort();
    mappings[free] = (struct mapping){base, size, p.inode};
    unlock_log();
}

/* CURT_NO_SYNC: a file as large as a journal stays mapped until another one is,
 * which saves tests/power/check most of its time. The mapping has a descriptor
 * of its own: it would keep the locks of the caller's. */
static struct mapping kept;

static void *keep_mapping(size_t size, int fd)
{
    char name[32];
    struct stat st;
    if (fstat(fd, &st) == 0 && kept.inode == st.st_ino && kept.size == size)
        return kept.base;
    if (kept.base != NULL)
        syscall(SYS_munmap, kept.base, kept.size);
    snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
    fd = (int)syscall(SYS_openat, AT_FDCWD, name, O_RDWR | O_CLOEXEC);
    void *base = (void *)syscall(SYS_mmap, NULL, size, PROT_READ | PROT_WRITE,
                                 MAP_SHARED, fd, 0L);
    syscall(SYS_close, fd);
    if (base == MAP_FAILED)
        abort();
    kept = (struct mapping){base, size, st.st_ino};
    return base;
}

void *mmap64(void *at, size_t size, int access, int flags, int fd, off64_t from)
{
    if (recording == NULL && fd >= 0 && size >= KEPT_SIZE &&
        getenv("CURT_NO_SYNC") != NULL)
        return keep_mapping(size, fd);
    void *base = (void *)syscall(SYS_mmap, at, size, access, flags, fd, from);
    if (base != MAP_FAILED && fd >= 0 && (flags & MAP_SHARED) != 0 &&
        (access & PROT_WRITE) != 0)
        add_mapping(base, size, fd);
    return base;
}

void *mmap(void *at, size_t size, int access, int flags, int fd, off_t from)
{
    return mmap64(at, size, access, flags, fd, from);
}

int munmap(void *base, size_t size)
{
    for (size_t i = 0; recording != NULL && i < MAPPINGS; i++) {
        if (mappings[i].base != base)
            continue;
        lock_log();
        mappings[i] = (struct mapping){0};
        unlock_log();
    }
    if (base == kept.base)
        return 0;
    return (int)syscall(SYS_munmap, base, size);
}

/* A slot of the journal is claimed under this lock. */
int flock(int fd, int how)
{
    struct place p;
    if (how == LOCK_UN && find_place(fd, &p) && p.inode == recording->mapped) {
        pthread_mutex_lock(&recording->mutex);
        look_at_mappings(true);
        unlock_log();
    }
    return (int)syscall(SYS_flock, fd, how);
}
