#include "doctor_parts.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "dirs.h"
#include "mem.h"

/* Magic numbers of file systems: linux/magic.h, and fs/smb, fs/fuse. */
#define FS_TMPFS 0x01021994
#define FS_RAMFS 0x858458f6
#define FS_NFS   0x6969
#define FS_CIFS  0xff534d42
#define FS_SMB2  0xfe534d42
#define FS_CEPH  0x00c36400
#define FS_9P    0x01021997

#define MIB (1024 * 1024)

/* Free space, in bytes: too little, and little. */
#define SPACE_NONE   (8 * MIB)
#define SPACE_LITTLE (128 * MIB)

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
                   "let MIN_CHAR and MAX_CHAR be 7 or more",
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
    bool state;    /* STATE_DIR: lasts, and is nobody else's to read */
    unsigned mode; /* that it should have */
    char *user;    /* that it should belong to */
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
    char *advice = mem_printf("install -d -m %04o -o %s -g %s %s", p->mode,
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
            "chown %s %s && chmod %04o %s, and see that the directories above "
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
    char *chmod = mem_printf("chmod %04o %s", p->mode, p->path);
    if ((st->st_mode & S_IWOTH) != 0)
        fault(p, REPORT_FAIL, chmod,
              "everybody can write it, and so replace what is in it");
    else if (p->state && (st->st_mode & (S_IROTH | S_IXOTH)) != 0)
        fault(p, REPORT_WARN, chmod, "everybody can look into it");
    free(chmod);
}

static const char *network_name(long type)
{
    switch ((unsigned)type) {
    case FS_NFS:
        return "NFS";
    case FS_CIFS:
    case FS_SMB2:
        return "SMB";
    case FS_CEPH:
        return "Ceph";
    case FS_9P:
        return "9P";
    default:
        return NULL;
    }
}

/* Free space, and the kind of file system. Returns some words on both. */
static char *check_file_system(struct place *p)
{
    struct statvfs space;
    struct statfs kind;
    if (statvfs(p->path, &space) < 0 || statfs(p->path, &kind) < 0)
        return mem_dup("");
    const unsigned type = (unsigned)kind.f_type;
    const uint64_t bytes = (uint64_t)space.f_bavail * space.f_frsize;
    const bool memory = type == FS_TMPFS || type == FS_RAMFS;
    const char *network = network_name(kind.f_type);
    if (network != NULL) {
        char *detail = mem_printf("it is on %s, where neither the locks nor "
                                  "the memory that processes share are safe",
                                  network);
        fault(p, REPORT_WARN, "use a disk of this host", detail);
        free(detail);
    }
    if (bytes < SPACE_NONE || (space.f_files > 0 && space.f_favail == 0))
        fault(p, REPORT_FAIL, "make room on this file system",
              "the file system is full");
    else if (p->state && bytes < SPACE_LITTLE)
        fault(p, REPORT_WARN, "make room on this file system",
              "little space is left");
    if (p->state && memory)
        fault(p, REPORT_WARN,
              "let STATE_DIR be on a disk: hits, and the links of SQLite, "
              "must outlive a boot",
              "it is in memory");
    return mem_printf(", %llu MiB free%s", (unsigned long long)(bytes / MIB),
                      memory ? " in memory" : "");
}

/* What curt keeps there: it must belong to the user that runs it, who could
 * not open it otherwise; root running curt.fcgi once by hand spoils that. */
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
                           "move it away: something else put it there",
                           "%s: is no file", path);
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

void doctor_check_dirs(struct doctor *d)
{
    static const char *const lasting[] = {
        "hits",        "janitor.lock", "files.lock", "curt.db",
        "curt.db-wal", "curt.db-shm",  NULL};
    static const char *const passing[] = {"cache",   "writers", "credentials",
                                          "circuit", "socket",  "files.lock",
                                          NULL};
    struct place state = {.d = d,
                          .check = "state directory",
                          .key = "STATE_DIR",
                          .path = d->conf->state_dir,
                          .state = true,
                          .mode = DIRS_STATE_MODE};
    struct place runtime = {.d = d,
                            .check = "runtime directory",
                            .key = "RUNTIME_DIR",
                            .path = d->conf->runtime_dir,
                            .mode = DIRS_RUNTIME_MODE};
    check_place(&state, lasting);
    check_place(&runtime, passing);
}
