#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/mem.h"
#include "config/dirs.h"
#include "doctor/checks.h"
#include "service/hostlist.h"

#define MIB (1024 * 1024)

/* Free space, in bytes: too little, and little. RUNTIME_DIR needs next to
 * nothing once the cache exists. */
#define STATE_FULL     (8 * MIB)
#define STATE_LITTLE   (128 * MIB)
#define RUNTIME_FULL   (MIB / 4)
#define RUNTIME_LITTLE (4 * MIB)

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

/* What to do about a path with a directory above it that the pool's user cannot
 * search. */
static char *advise_on_parents(const struct doctor *d, const char *path)
{
    return mem_printf("let %s search each directory above it (chmod o+x); as "
                      "root, namei -l %s shows them",
                      d->user_name, path);
}

/* ---- The configuration ----------------------------------------------- */

/* A list of hosts, which the pool's user must be able to read. */
static void check_hosts(struct doctor *d, enum hostlist_kind kind)
{
    size_t count = 0;
    struct buf faults;
    buf_init(&faults, CONF_FAULTS_MAX);
    const enum result r = hostlist_check(d->conf, kind, &count, &faults);
    if (r == RESULT_OK && faults.len == 0)
        report_add(d->report, REPORT_OK, "hosts", NULL, "%s: %zu hosts",
                   hostlist_path(d->conf, kind), count);
    char *rest = faults.data;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;)
        if (*line != '\0')
            report_add(d->report, r == RESULT_OK ? REPORT_WARN : REPORT_FAIL,
                       "hosts",
                       r == RESULT_OK ? "correct the line; it does not count"
                                      : "let the user of curt.fcgi read it; "
                                        "without it creates are refused",
                       "%s", line);
    buf_free(&faults);
}

void doctor_check_conf(struct doctor *d)
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
    const int error = stat(path, &st) < 0 ? errno : 0;
    char *chmod = mem_printf("chown root:$(id -gn %s) %s && chmod 0640 %s",
                             d->user_name, path, path);
    if (error != 0 && error != EACCES)
        report_add(d->report, REPORT_OK, "configuration", NULL,
                   "the environment and the defaults, without the file %s",
                   path);
    else if (doctor_can_tell(d) && access(path, R_OK) < 0)
        add_fault(
            d, REPORT_FAIL, "configuration", path,
            error == EACCES ? advise_on_parents(d, path) : mem_dup(chmod),
            mem_printf("%s cannot read it: %s", d->user_name, strerror(errno)));
    else if (S_ISREG(st.st_mode) && (st.st_mode & S_IWOTH) != 0)
        report_add(d->report, REPORT_FAIL, "configuration", chmod,
                   "%s: every user can change it", path);
    else if ((st.st_mode & S_IROTH) != 0 && has_secret)
        report_add(d->report, REPORT_WARN, "configuration", chmod,
                   "%s: it contains a secret, and every user can read it",
                   path);
    else
        report_add(d->report, REPORT_OK, "configuration", NULL, "%s", path);
    free(chmod);
    if (strncmp(conf->app_url, "https://", 8) != 0)
        report_add(d->report, REPORT_WARN, "configuration",
                   "get a certificate, such as with `curt setup`, and let "
                   "APP_URL begin with https://",
                   "APP_URL is %s: others on the network can read and change "
                   "where links lead to",
                   conf->app_url);
    if (conf->min_char < CHAR_LITTLE)
        report_add(d->report, REPORT_WARN, "configuration",
                   "set MIN_CHAR and MAX_CHAR to 7 or more",
                   "MIN_CHAR is %u: ids of that length are soon used up, and "
                   "easy to guess",
                   (unsigned)conf->min_char);
    check_hosts(d, HOSTLIST_BLOCKED);
    check_hosts(d, HOSTLIST_ALLOWED);
}

/* ---- Directories ----------------------------------------------------- */

struct doctor_dir {
    const char *check; /* name of the check */
    const char *key;
    const char *path;
    bool state;    /* STATE_DIR: it lasts, and others may not read it */
    unsigned mode; /* that it should have */
    const char *const *files;
};

/* What is wrong with the directory itself. True: it can be looked into. */
static bool check_access(struct doctor *d, const struct doctor_dir *p,
                         const struct stat *st, int error)
{
    const char *user = d->user_name;
    const unsigned mode = st->st_mode & 07777u;
    const int write_error =
        error == 0 && access(p->path, R_OK | W_OK | X_OK) < 0 ? errno : 0;
    if ((error != 0 || write_error != 0) && !doctor_can_tell(d))
        return false;
    if (error == ENOTDIR)
        add_fault(d, REPORT_FAIL, p->check, p->path,
                  mem_printf("mv %s %s.old && install -d -m %04o -o %s -g $(id "
                             "-gn %s) %s",
                             p->path, p->path, p->mode, user, user, p->path),
                  mem_printf("%s: %s", p->key, strerror(error)));
    else if (error == ENOENT)
        add_fault(d, REPORT_FAIL, p->check, p->path,
                  mem_printf("install -d -m %04o -o %s -g $(id -gn %s) %s",
                             p->mode, user, user, p->path),
                  mem_printf("%s: %s", p->key, strerror(error)));
    else if (error != 0)
        add_fault(d, REPORT_FAIL, p->check, p->path,
                  advise_on_parents(d, p->path),
                  mem_printf("%s cannot search a directory above it: %s", user,
                             strerror(error)));
    else if (write_error != 0)
        add_fault(d, REPORT_FAIL, p->check, p->path,
                  mem_printf("chown %s %s && chmod %04o %s", user, p->path,
                             p->mode, p->path),
                  mem_printf("%s cannot write it (mode %04o): %s", user, mode,
                             strerror(write_error)));
    else if ((mode & S_IWOTH) != 0)
        add_fault(d, REPORT_FAIL, p->check, p->path,
                  mem_printf("chmod %04o %s", p->mode, p->path),
                  mem_dup("every user can write it, and replace its files"));
    else if (p->state && (mode & (S_IROTH | S_IXOTH)) != 0)
        add_fault(d, REPORT_WARN, p->check, p->path,
                  mem_printf("chmod %04o %s", p->mode, p->path),
                  mem_dup("every user can look into it"));
    return error == 0 && write_error == 0;
}

/* Free space, and the kind of file system. Returns the free bytes. */
static uint64_t check_file_system(struct doctor *d, const struct doctor_dir *p)
{
    struct statfs fs;
    if (statfs(p->path, &fs) < 0)
        return 0;
    const unsigned type = (unsigned)fs.f_type;
    const uint64_t bytes = (uint64_t)fs.f_bavail * (uint64_t)fs.f_bsize;
    const bool full = bytes < (p->state ? STATE_FULL : RUNTIME_FULL) ||
                      (fs.f_files > 0 && fs.f_ffree == 0);
    if (type == NFS_SUPER_MAGIC || type == CIFS_SUPER_MAGIC ||
        type == SMB2_SUPER_MAGIC)
        add_fault(d, REPORT_WARN, p->check, p->path,
                  mem_dup("use a disk of this host"),
                  mem_dup("it is on a network file system, where neither locks "
                          "nor shared memory are safe"));
    if (full || bytes < (p->state ? STATE_LITTLE : RUNTIME_LITTLE))
        add_fault(d, full ? REPORT_FAIL : REPORT_WARN, p->check, p->path,
                  mem_printf("free space on this file system (du -xh %s | sort "
                             "-h)%s",
                             p->path,
                             p->state ? ""
                                      : ", or lower CACHE_SIZE, stop the pool, "
                                        "remove the file cache, start the "
                                        "pool"),
                  mem_printf("the file system is %s, %llu KiB are free",
                             full ? "full" : "nearly full",
                             (unsigned long long)bytes / 1024));
    if (p->state && (type == TMPFS_MAGIC || type == RAMFS_MAGIC))
        add_fault(d, REPORT_WARN, p->check, p->path,
                  mem_dup("use a directory on a disk, such as /var/lib/curt"),
                  mem_dup("it is in memory: what is not in the store yet is "
                          "lost at a boot"));
    return bytes;
}

/* A file of curt in the directory: it must belong to the user that runs
 * curt.fcgi, which cannot open it otherwise; one start as root spoils that. */
static void check_file(struct doctor *d, const struct doctor_dir *p,
                       const char *name)
{
    struct stat st;
    char *path = mem_printf("%s/%s", p->path, name);
    const bool exists = lstat(path, &st) == 0;
    if (exists && !S_ISREG(st.st_mode)) {
        add_fault(d, REPORT_FAIL, p->check, path,
                  mem_dup("move it to another place: curt did not create it"),
                  mem_dup("not a regular file"));
    } else if (exists && d->user_known && st.st_uid != d->user) {
        char *owner = doctor_user_name(st.st_uid);
        add_fault(d, REPORT_FAIL, p->check, path,
                  mem_printf("chown %s: %s", d->user_name, path),
                  mem_printf("belongs to %s, but %s runs curt.fcgi", owner,
                             d->user_name));
        free(owner);
    } else if (exists && (st.st_mode & S_IRWXO) != 0) {
        add_fault(d, REPORT_FAIL, p->check, path,
                  mem_printf("chmod o= %s", path),
                  mem_printf("is open to every user (mode %04o)",
                             st.st_mode & 07777u));
    }
    free(path);
}

static void check_dir(struct doctor *d, const struct doctor_dir *p)
{
    struct stat st = {.st_mode = 0};
    const size_t before = d->report->count;
    int error = stat(p->path, &st) < 0 ? errno : 0;
    if (error == 0 && !S_ISDIR(st.st_mode))
        error = ENOTDIR;
    if (!check_access(d, p, &st, error))
        return;
    const uint64_t bytes = check_file_system(d, p);
    char *owner = doctor_user_name(st.st_uid);
    if (d->report->count == before)
        report_add(d->report, REPORT_OK, p->check, NULL,
                   "%s: owner %s, mode %04o, %llu MiB free", p->path, owner,
                   st.st_mode & 07777u, (unsigned long long)bytes / MIB);
    free(owner);
    for (size_t i = 0; p->files[i] != NULL; i++)
        check_file(d, p, p->files[i]);
}

void doctor_check_dirs(struct doctor *d)
{
    static const char *const lasting[] = {
        "hits",        "janitor.lock", "files.lock", "curt.db", "curt.db-wal",
        "curt.db-shm", "curt.db-lock", "clock",      NULL};
    static const char *const passing[] = {
        "cache",         "limits",     "writers",    "credentials",
        "circuit",       "socket",     "files.lock", "blocked-hosts",
        "allowed-hosts", "hosts.lock", NULL};
    const struct doctor_dir state = {.check = "state directory",
                                     .key = "STATE_DIR",
                                     .path = d->conf->state_dir,
                                     .state = true,
                                     .mode = DIRS_STATE_MODE,
                                     .files = lasting};
    const struct doctor_dir runtime = {.check = "runtime directory",
                                       .key = "RUNTIME_DIR",
                                       .path = d->conf->runtime_dir,
                                       .mode = DIRS_RUNTIME_MODE,
                                       .files = passing};
    check_dir(d, &state);
    check_dir(d, &runtime);
}
