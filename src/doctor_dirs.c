#include "doctor_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

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

/* ---- The configuration ----------------------------------------------- */

static const char *conf_path(const struct doctor *d)
{
    const char *named = d->file != NULL ? d->file : getenv("CURT_CONF");
    return named != NULL && named[0] != '\0' ? named
                                             : CURT_SYSCONFDIR
               "/curt/curt.conf";
}

static bool has_secret_in_file(const struct conf *conf)
{
    return (conf->aws_secret_access_key != NULL &&
            getenv("AWS_SECRET_ACCESS_KEY") == NULL) ||
           (conf->aws_session_token != NULL &&
            getenv("AWS_SESSION_TOKEN") == NULL);
}

static void check_conf_file(struct doctor *d)
{
    const char *path = conf_path(d);
    struct stat st;
    if (stat(path, &st) < 0) {
        report_add(d->report, REPORT_OK, "configuration", NULL,
                   "the environment and the defaults, without the file %s",
                   path);
        return;
    }
    char *user = doctor_wanted_user(d);
    char *chmod =
        mem_printf("chown root:%s %s && chmod 0640 %s", user, path, path);
    const int error = doctor_access(d, path, R_OK);
    if (error != 0)
        report_add(d->report, REPORT_FAIL, "configuration", chmod,
                   "%s: %s cannot read it: %s", path, user, strerror(error));
    else if (S_ISREG(st.st_mode) && (st.st_mode & S_IWOTH) != 0)
        report_add(d->report, REPORT_FAIL, "configuration", chmod,
                   "%s: everybody can change it", path);
    else if ((st.st_mode & S_IROTH) != 0 && has_secret_in_file(d->conf))
        report_add(d->report, REPORT_WARN, "configuration", chmod,
                   "%s: has a secret in it, and everybody can read it", path);
    else
        report_add(d->report, REPORT_OK, "configuration", NULL, "%s", path);
    free(chmod);
    free(user);
}

void doctor_check_conf(struct doctor *d)
{
    const struct conf *conf = d->conf;
    check_conf_file(d);
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
    struct doctor *d;
    const char *check; /* name of the check */
    const char *key;
    const char *path;
    bool state;       /* STATE_DIR: lasts, and is nobody else's to read */
    const char *mode; /* that it should have */
    char *user;       /* that it should belong to */
    unsigned faults;
};

static void fault(struct place *p, enum report_level level, const char *advice,
                  const char *detail)
{
    report_add(p->d->report, level, p->check, advice, "%s %s: %s", p->key,
               p->path, detail);
    p->faults++;
}

static void check_missing(struct place *p, int error)
{
    char *advice = mem_printf("install -d -m %s -o %s -g %s %s", p->mode,
                              p->user, p->user, p->path);
    fault(p, REPORT_FAIL, advice, strerror(error));
    free(advice);
}

static void check_access(struct place *p, const struct stat *st)
{
    const int error = doctor_access(p->d, p->path, R_OK | W_OK | X_OK);
    if (error != 0) {
        char *owner = doctor_user_name(st->st_uid);
        char *advice = mem_printf(
            "chown %s %s && chmod %s %s, and see that the directories above "
            "it can be entered",
            p->user, p->path, p->mode, p->path);
        char *detail =
            mem_printf("%s cannot write it (owner %s, mode %04o): "
                       "%s",
                       p->user, owner, st->st_mode & 07777u, strerror(error));
        fault(p, REPORT_FAIL, advice, detail);
        free(detail);
        free(advice);
        free(owner);
    }
    char *chmod = mem_printf("chmod %s %s", p->mode, p->path);
    if ((st->st_mode & S_IWOTH) != 0)
        fault(p, REPORT_FAIL, chmod,
              "everybody can write it, and so replace what is in it");
    else if (p->state && (st->st_mode & (S_IROTH | S_IXOTH)) != 0)
        fault(p, REPORT_WARN, chmod, "everybody can look into it");
    free(chmod);
}

/* Free space, and the kind of file system. Returns some words on both. */
static char *check_file_system(struct place *p)
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
    const uint64_t bytes = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
    const bool memory = type == TMPFS_MAGIC || type == RAMFS_MAGIC;
    for (size_t i = 0; i < sizeof(networks) / sizeof(networks[0]); i++)
        if (networks[i].type == type) {
            char *detail = mem_printf(
                "it is on %s, where neither locks nor shared memory are safe",
                networks[i].name);
            fault(p, REPORT_WARN, "use a disk of this host", detail);
            free(detail);
        }
    const bool full = bytes < (p->state ? STATE_FULL : RUNTIME_FULL) ||
                      (fs.f_files > 0 && fs.f_ffree == 0);
    if (full || bytes < (p->state ? STATE_LITTLE : RUNTIME_LITTLE)) {
        char *cache = mem_printf("%s/cache", p->path);
        struct stat st;
        /* At least half of the file system. */
        const bool crowded = !p->state && stat(cache, &st) == 0 &&
                             (uint64_t)st.st_size * 2 >=
                                 (uint64_t)fs.f_blocks * (uint64_t)fs.f_bsize;
        char *advice =
            crowded ? mem_printf("make room on this file system, or lower "
                                 "CACHE_SIZE, stop the pool, remove %s (%llu "
                                 "MiB) and start it",
                                 cache, (unsigned long long)st.st_size / MIB)
                    : mem_printf("make room on this file system: du -xh %s | "
                                 "sort -h | tail",
                                 p->path);
        char *detail = mem_printf("the file system is %s, %llu KiB are free",
                                  full ? "full" : "nearly full",
                                  (unsigned long long)bytes / 1024);
        fault(p, full ? REPORT_FAIL : REPORT_WARN, advice, detail);
        free(detail);
        free(advice);
        free(cache);
    }
    if (p->state && memory)
        fault(p, REPORT_WARN,
              "use a directory on a disk, such as /var/lib/curt",
              "it is in memory: what is not in the store yet is lost at a "
              "boot");
    return mem_printf(", %llu MiB free%s", (unsigned long long)bytes / MIB,
                      memory ? " in memory" : "");
}

/* What curt keeps there: it must belong to the user that runs curt.fcgi, which
 * cannot open it otherwise; one start as root spoils that. */
static void check_files(struct place *p, const char *const *names)
{
    for (; *names != NULL; names++) {
        struct stat st;
        char *path = mem_printf("%s/%s", p->path, *names);
        if (lstat(path, &st) == 0) {
            char *owner = doctor_user_name(st.st_uid);
            char *chown = mem_printf("chown %s: %s", p->user, path);
            char *chmod = mem_printf("chmod o= %s", path);
            if (!S_ISREG(st.st_mode))
                report_add(p->d->report, REPORT_FAIL, p->check,
                           "move it away: another program put it there",
                           "%s: not a regular file", path);
            else if (p->d->user_known && st.st_uid != p->d->user)
                report_add(p->d->report, REPORT_FAIL, p->check, chown,
                           "%s: belongs to %s, but %s runs curt.fcgi", path,
                           owner, p->user);
            else if ((st.st_mode & S_IRWXO) != 0)
                report_add(p->d->report, REPORT_FAIL, p->check, chmod,
                           "%s: is open to everybody (mode %04o)", path,
                           st.st_mode & 07777u);
            free(chmod);
            free(chown);
            free(owner);
        }
        free(path);
    }
}

static void check_place(struct place *p, const char *const *names)
{
    struct stat st;
    p->user = doctor_wanted_user(p->d);
    if (stat(p->path, &st) < 0) {
        check_missing(p, errno);
    } else if (!S_ISDIR(st.st_mode)) {
        check_missing(p, ENOTDIR);
    } else {
        check_access(p, &st);
        char *space = check_file_system(p);
        char *owner = doctor_user_name(st.st_uid);
        if (p->faults == 0)
            report_add(p->d->report, REPORT_OK, p->check, NULL,
                       "%s: owner %s, mode %04o%s", p->path, owner,
                       st.st_mode & 07777u, space);
        free(owner);
        free(space);
        check_files(p, names);
    }
    free(p->user);
}

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

/* The write-ahead log, which grows as long as one reader needs what was there
 * at its begin. */
static void check_log(const struct doctor *d)
{
    struct stat st;
    char *path = mem_printf("%s/curt.db-wal", d->conf->state_dir);
    const bool large = d->conf->store == CONF_STORE_SQLITE &&
                       stat(path, &st) == 0 && st.st_size > LOG_LARGE;
    const pid_t reader = large ? find_reader(d) : 0;
    if (reader > 0) {
        char name[64] = "?";
        char *comm = mem_printf("/proc/%ld/comm", (long)reader);
        FILE *f = fopen(comm, "re");
        if (f != NULL && fgets(name, sizeof(name), f) != NULL)
            name[strcspn(name, "\n")] = '\0';
        if (f != NULL)
            fclose(f);
        char *advice = mem_printf(
            "end process %ld; the next creates and flushes then empty the file",
            (long)reader);
        report_add(d->report, REPORT_WARN, "database", advice,
                   "%s: %lld MiB, because process %ld (%s) keeps a snapshot of "
                   "the database open",
                   path, (long long)st.st_size / MIB, (long)reader, name);
        free(advice);
        free(comm);
    } else if (large) {
        report_add(d->report, REPORT_WARN, "database",
                   "nothing if it shrinks within a minute of visits; otherwise "
                   "stop and start the pool",
                   "%s: %lld MiB, and no reader needs that any more", path,
                   (long long)st.st_size / MIB);
    }
    free(path);
}

void doctor_check_dirs(struct doctor *d)
{
    static const char *const lasting[] = {
        "hits", "janitor.lock", "curt.db", "curt.db-wal", "curt.db-shm", NULL};
    static const char *const passing[] = {"cache",   "writers", "credentials",
                                          "circuit", "socket",  NULL};
    struct place state = {.d = d,
                          .check = "state directory",
                          .key = "STATE_DIR",
                          .path = d->conf->state_dir,
                          .state = true,
                          .mode = "0750"};
    struct place runtime = {.d = d,
                            .check = "runtime directory",
                            .key = "RUNTIME_DIR",
                            .path = d->conf->runtime_dir,
                            .mode = "0755"};
    check_place(&state, lasting);
    check_place(&runtime, passing);
    check_log(d);
}
