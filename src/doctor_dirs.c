#include "doctor_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "dirs.h"
#include "mem.h"

#define MIB (1024 * 1024)

/* Free space, in bytes: too little, and little. RUNTIME_DIR needs next to
 * nothing once the cache is there. */
#define STATE_FULL     (8 * MIB)
#define STATE_LITTLE   (128 * MIB)
#define RUNTIME_FULL   (MIB / 4)
#define RUNTIME_LITTLE (4 * MIB)

/* A write-ahead log that is larger has not been emptied for long: curt limits
 * it to 64 MiB. */
#define LOG_LARGE (256 * MIB)

/* SQLite's locks of readers in curt.db-shm, at these bytes ("WAL-mode File
 * Format", section 2.3.2, WAL_READ_LOCK(0) to (4)). */
#define READ_LOCKS  123
#define READERS_MAX 5

/* How often, and how far apart in milliseconds, readers are looked for: one
 * that is found twice in a row is not just a worker with a query. */
#define READER_LOOKS 10
#define READER_MS    50

/* Ids that are shorter can be guessed or used up. */
#define CHAR_LITTLE 5

/* Adds a line about path; advice and detail are freed here. */
static void add_fault(struct doctor *d, enum report_level level,
                      const char *check, const char *path, char *advice,
                      char *detail)
{
    report_add(d->report, level, check, advice, "%s: %s", path, detail);
    free(advice);
    free(detail);
}

/* The command that lets the pool's user enter the directories above path, or
 * finds out who that is; NULL if this is not what is wrong. */
static char *unlock_parent(const struct doctor *d, const char *path)
{
    char *advice = NULL, *dir = mem_dup(path);
    for (char *end = strchr(dir + 1, '/'); end != NULL && advice == NULL;
         end = strchr(end + 1, '/')) {
        *end = '\0';
        if (access(dir, X_OK) < 0 && errno == EACCES)
            advice = geteuid() != 0 && !d->user_known
                         ? mem_dup("run curt doctor as root")
                         : mem_printf("chmod o+x %s", dir);
        *end = '/';
    }
    free(dir);
    return advice;
}

/* ---- The configuration ----------------------------------------------- */

static void check_conf_file(struct doctor *d, const char *user)
{
    const struct conf *conf = d->conf;
    const char *named = d->file != NULL ? d->file : getenv("CURT_CONF");
    const char *path = named != NULL && named[0] != '\0' ? named
                                                         : CURT_SYSCONFDIR
                           "/curt/curt.conf";
    const bool has_secret = (conf->aws_secret_access_key != NULL &&
                             getenv("AWS_SECRET_ACCESS_KEY") == NULL) ||
                            (conf->aws_session_token != NULL &&
                             getenv("AWS_SESSION_TOKEN") == NULL);
    struct stat st = {.st_mode = 0};
    char *chmod = mem_printf("chown root:$(id -gn %s) %s && chmod 0640 %s",
                             user, path, path);
    if (stat(path, &st) < 0 && errno != EACCES) {
        report_add(d->report, REPORT_OK, "configuration", NULL,
                   "the environment and the defaults, without the file %s",
                   path);
    } else if (doctor_can_tell(d) && access(path, R_OK) < 0) {
        char *detail =
            mem_printf("%s cannot read it: %s", user, strerror(errno));
        char *unlock = unlock_parent(d, path);
        add_fault(d, REPORT_FAIL, "configuration", path,
                  unlock != NULL ? unlock : mem_dup(chmod), detail);
    } else if (S_ISREG(st.st_mode) && (st.st_mode & S_IWOTH) != 0) {
        report_add(d->report, REPORT_FAIL, "configuration", chmod,
                   "%s: everybody can change it", path);
    } else if ((st.st_mode & S_IROTH) != 0 && has_secret) {
        report_add(d->report, REPORT_WARN, "configuration", chmod,
                   "%s: has a secret in it, and everybody can read it", path);
    } else {
        report_add(d->report, REPORT_OK, "configuration", NULL, "%s", path);
    }
    free(chmod);
}

void doctor_check_conf(struct doctor *d)
{
    const struct conf *conf = d->conf;
    char *user = doctor_wanted_user(d);
    check_conf_file(d, user);
    free(user);
    if (strncmp(conf->app_url, "https://", 8) != 0)
        report_add(d->report, REPORT_WARN, "configuration",
                   "get a certificate, and let APP_URL begin with https://",
                   "APP_URL is %s: whoever is on the way can read and change "
                   "where links lead to",
                   conf->app_url);
    if (conf->min_char < CHAR_LITTLE)
        report_add(d->report, REPORT_WARN, "configuration",
                   "set MIN_CHAR and MAX_CHAR to 7 or more",
                   "MIN_CHAR is %u: ids of that length are soon used up, and "
                   "easy to guess",
                   (unsigned)conf->min_char);
}

/* ---- Directories ----------------------------------------------------- */

/* A directory that is looked at. */
struct place {
    const char *check; /* name of the check */
    const char *key;
    const char *path;
    bool state;    /* STATE_DIR: lasts, and others may not read it */
    unsigned mode; /* that it should have */
    char *user;    /* that it should belong to */
};

/* What is wrong with the directory itself. True: it can be looked into. */
static bool check_access(struct doctor *d, const struct place *p,
                         const struct stat *st, int error)
{
    if (error == 0 && access(p->path, R_OK | W_OK | X_OK) < 0)
        error = errno;
    char *unlock = error == EACCES ? unlock_parent(d, p->path) : NULL;
    char *owner = doctor_user_name(st->st_uid);
    char *aside = error == ENOTDIR
                      ? mem_printf("mv %s %s.old && ", p->path, p->path)
                      : mem_dup("");
    if (error != 0 && !doctor_can_tell(d)) {
        free(unlock);
    } else if (unlock != NULL) {
        add_fault(d, REPORT_FAIL, p->check, p->path, unlock,
                  mem_printf("%s cannot enter a directory above it", p->user));
    } else if (error == ENOENT || error == ENOTDIR) {
        add_fault(d, REPORT_FAIL, p->check, p->path,
                  mem_printf("%sinstall -d -m %04o -o %s -g $(id -gn %s) %s",
                             aside, p->mode, p->user, p->user, p->path),
                  mem_printf("%s: %s", p->key, strerror(error)));
    } else if (error != 0) {
        add_fault(d, REPORT_FAIL, p->check, p->path,
                  mem_printf("chown %s %s && chmod %04o %s", p->user, p->path,
                             p->mode, p->path),
                  mem_printf("%s cannot write it (owner %s, mode %04o): %s",
                             p->user, owner, st->st_mode & 07777u,
                             strerror(error)));
    } else if ((st->st_mode & S_IWOTH) != 0) {
        add_fault(d, REPORT_FAIL, p->check, p->path,
                  mem_printf("chmod %04o %s", p->mode, p->path),
                  mem_dup("everybody can write it, and so replace what is in "
                          "it"));
    } else if (p->state && (st->st_mode & (S_IROTH | S_IXOTH)) != 0) {
        add_fault(d, REPORT_WARN, p->check, p->path,
                  mem_printf("chmod %04o %s", p->mode, p->path),
                  mem_dup("everybody can look into it"));
    } else {
        error = 0;
    }
    free(aside);
    free(owner);
    return error == 0;
}

/* Free space, and the kind of file system. Returns some words on both. */
static char *check_file_system(struct doctor *d, const struct place *p)
{
    static const struct {
        unsigned type;
        const char *name;
    } networks[] = {{NFS_SUPER_MAGIC, "NFS"},
                    {CIFS_SUPER_MAGIC, "SMB"},
                    {SMB2_SUPER_MAGIC, "SMB"},
                    {CEPH_SUPER_MAGIC, "Ceph"},
                    {V9FS_MAGIC, "9P"}};
    struct statfs fs;
    if (statfs(p->path, &fs) < 0)
        return mem_dup("");
    const unsigned type = (unsigned)fs.f_type;
    const uint64_t block = (uint64_t)fs.f_bsize;
    const uint64_t bytes = (uint64_t)fs.f_bavail * block;
    const bool memory = type == TMPFS_MAGIC || type == RAMFS_MAGIC;
    for (size_t i = 0; i < sizeof(networks) / sizeof(networks[0]); i++)
        if (networks[i].type == type)
            add_fault(d, REPORT_WARN, p->check, p->path,
                      mem_dup("use a disk of this host"),
                      mem_printf("it is on %s, where neither locks nor shared "
                                 "memory are safe",
                                 networks[i].name));
    const bool full = bytes < (p->state ? STATE_FULL : RUNTIME_FULL) ||
                      (fs.f_files > 0 && fs.f_ffree == 0);
    if (full || bytes < (p->state ? STATE_LITTLE : RUNTIME_LITTLE)) {
        struct stat st;
        char *cache = mem_printf("%s/cache", p->path);
        const bool crowded = stat(cache, &st) == 0 &&
                             (uint64_t)st.st_size * 2 >= fs.f_blocks * block;
        add_fault(d, full ? REPORT_FAIL : REPORT_WARN, p->check, p->path,
                  crowded
                      ? mem_printf("make room on this file system, or lower "
                                   "CACHE_SIZE, stop the pool, remove %s (%llu "
                                   "MiB) and start it",
                                   cache, (unsigned long long)st.st_size / MIB)
                      : mem_printf("make room on this file system: du -xh %s "
                                   "| sort -h | tail",
                                   p->path),
                  mem_printf("the file system is %s, %llu KiB are free",
                             full ? "full" : "nearly full",
                             (unsigned long long)bytes / 1024));
        free(cache);
    }
    if (p->state && memory)
        add_fault(d, REPORT_WARN, p->check, p->path,
                  mem_dup("use a directory on a disk, such as /var/lib/curt"),
                  mem_dup("it is in memory: what is not in the store yet is "
                          "lost at a boot"));
    return mem_printf(", %llu MiB free%s", (unsigned long long)bytes / MIB,
                      memory ? " in memory" : "");
}

/* What curt keeps there: it must belong to the user that runs curt.fcgi, which
 * cannot open it otherwise; one start as root spoils that. */
static void check_file(struct doctor *d, const struct place *p,
                       const char *name)
{
    struct stat st;
    char *path = mem_printf("%s/%s", p->path, name);
    if (lstat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        add_fault(d, REPORT_FAIL, p->check, path,
                  mem_dup("move it away: another program put it there"),
                  mem_dup("not a regular file"));
    } else if (lstat(path, &st) == 0 && d->user_known && st.st_uid != d->user) {
        char *owner = doctor_user_name(st.st_uid);
        add_fault(
            d, REPORT_FAIL, p->check, path,
            mem_printf("chown %s: %s", p->user, path),
            mem_printf("belongs to %s, but %s runs curt.fcgi", owner, p->user));
        free(owner);
    } else if (lstat(path, &st) == 0 && (st.st_mode & S_IRWXO) != 0) {
        add_fault(d, REPORT_FAIL, p->check, path,
                  mem_printf("chmod o= %s", path),
                  mem_printf("is open to everybody (mode %04o)",
                             st.st_mode & 07777u));
    }
    free(path);
}

static void check_place(struct doctor *d, struct place p,
                        const char *const *names)
{
    struct stat st = {.st_mode = 0};
    const size_t before = d->report->count;
    p.user = doctor_wanted_user(d);
    int error = stat(p.path, &st) < 0 ? errno : 0;
    if (error == 0 && !S_ISDIR(st.st_mode))
        error = ENOTDIR;
    if (check_access(d, &p, &st, error)) {
        char *space = check_file_system(d, &p);
        char *owner = doctor_user_name(st.st_uid);
        if (d->report->count == before)
            report_add(d->report, REPORT_OK, p.check, NULL,
                       "%s: owner %s, mode %04o%s", p.path, owner,
                       st.st_mode & 07777u, space);
        free(owner);
        free(space);
        for (; *names != NULL; names++)
            check_file(d, &p, *names);
    }
    free(p.user);
}

/* ---- The write-ahead log --------------------------------------------- */

/* The process that keeps a snapshot of the database open, 0 if none does. */
static pid_t find_reader(const struct doctor *d)
{
    pid_t last = 0, found = 0;
    char *path = mem_printf("%s/curt.db-shm", d->conf->state_dir);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    free(path);
    for (int i = 0; fd >= 0 && found == 0 && i < READER_LOOKS; i++) {
        struct flock lock = {.l_type = F_WRLCK,
                             .l_whence = SEEK_SET,
                             .l_start = READ_LOCKS,
                             .l_len = READERS_MAX};
        if (fcntl(fd, F_GETLK, &lock) < 0 || lock.l_type == F_UNLCK)
            lock.l_pid = 0;
        found = lock.l_pid > 0 && lock.l_pid == last ? lock.l_pid : 0;
        last = lock.l_pid;
        poll(NULL, 0, READER_MS);
    }
    if (fd >= 0)
        close(fd);
    return found;
}

/* It grows as long as one reader needs what was there at its begin. */
static void check_log(struct doctor *d)
{
    struct stat st;
    char *path = mem_printf("%s/curt.db-wal", d->conf->state_dir);
    const bool large = d->conf->store == CONF_STORE_SQLITE &&
                       stat(path, &st) == 0 && st.st_size > LOG_LARGE;
    const long reader = large ? (long)find_reader(d) : 0;
    if (reader > 0)
        add_fault(d, REPORT_WARN, "database", path,
                  mem_printf("end process %ld (ps -fp %ld shows it); the next "
                             "creates and flushes then shrink the file",
                             reader, reader),
                  mem_printf("%lld MiB, because process %ld keeps a snapshot "
                             "of the database open",
                             (long long)st.st_size / MIB, reader));
    else if (large)
        add_fault(d, REPORT_WARN, "database", path,
                  mem_dup("nothing if it shrinks within a minute of visits; "
                          "otherwise stop and start the pool"),
                  mem_printf("%lld MiB, and no reader needs that any more",
                             (long long)st.st_size / MIB));
    free(path);
}

void doctor_check_dirs(struct doctor *d)
{
    static const char *const lasting[] = {
        "hits",        "janitor.lock", "files.lock", "curt.db", "curt.db-wal",
        "curt.db-shm", "curt.db-lock", "clock",      NULL};
    static const char *const passing[] = {"cache",   "writers", "credentials",
                                          "circuit", "socket",  "files.lock",
                                          NULL};
    const struct place state = {.check = "state directory",
                                .key = "STATE_DIR",
                                .path = d->conf->state_dir,
                                .state = true,
                                .mode = DIRS_STATE_MODE};
    const struct place runtime = {.check = "runtime directory",
                                  .key = "RUNTIME_DIR",
                                  .path = d->conf->runtime_dir,
                                  .mode = DIRS_RUNTIME_MODE};
    check_place(d, state, lasting);
    check_place(d, runtime, passing);
    check_log(d);
}
