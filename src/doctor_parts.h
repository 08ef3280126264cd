/* The parts of `curt doctor`; for doctor*.c alone. */
#ifndef CURT_DOCTOR_PARTS_H
#define CURT_DOCTOR_PARTS_H

#include <stdbool.h>
#include <sys/types.h>

#include "conf.h"
#include "ids.h"
#include "report.h"
#include "store.h"

struct doctor {
    const char *file; /* value of -c, or NULL */
    bool json;
    const struct conf *conf;
    struct store *store;
    struct report *report;

    /* Who runs curt.fcgi: doctor_find_pool(). */
    bool running; /* somebody holds the janitor's lock */
    bool hidden;  /* this user may not see whether */
    pid_t holder; /* who; 0 where the kernel does not say */
    bool user_known;
    uid_t user;

    /* To root's process, where this one has become the user; else -1. */
    int root;

    /* The probe: doctor_make_link(). */
    char id[IDS_MAX + 1];
    bool stored;   /* it is in the store, and was read back */
    bool leftover; /* it may be in the store */
    bool routed;   /* APP_URL leads to it */
    bool blamed;   /* other lines say what is wrong with the store */
};

/* Where the probe leads to. Nobody goes there. */
#define DOCTOR_TARGET "https://example.com/curt-doctor"

/* ---- doctor_pool.c: the processes of this host ----------------------- */

/* Finds out whether a pool runs, and as whom: the holder of the janitor's
 * lock, else the owner of STATE_DIR. Adds no line. */
void doctor_find_pool(struct doctor *d);

/* The pool, and whether its hits get to the store. */
void doctor_check_pool(struct doctor *d);
void doctor_check_hits(struct doctor *d);

/* ---- doctor_socket.c ------------------------------------------------- */

/* The workers, without the web server. */
void doctor_check_socket(struct doctor *d);

/* Asks the workers on behalf of the process at the other end of user, until it
 * closes. The socket may be the web server's and root's alone. */
void doctor_serve_socket(const struct doctor *d, int user);

/* ---- doctor_user.c: with whose eyes ---------------------------------- */

/* Whether the user that looks can see what the pool's user sees. */
void doctor_check_user(struct doctor *d);

/* Runs the rest of the checks and returns what run returns: as root in a
 * process that has become the pool's user for good, so that files, keys and
 * the programs that make keys are those of the pool, and nothing of them is
 * done with root's rights. */
int doctor_run_as_user(struct doctor *d, int (*run)(struct doctor *d));

/* What access(2) says to the pool's user: 0 or an errno; 0, too, where that
 * cannot be found out. */
int doctor_access(const struct doctor *d, const char *path, int mode);

/* The name of a user, or his number; and that of the pool's user, "curt" where
 * it is not known. Text that the caller frees. */
char *doctor_user_name(uid_t user);
char *doctor_wanted_user(const struct doctor *d);

/* ---- doctor_dirs.c: files -------------------------------------------- */

/* The file of the configuration, and what is legal in it but unwise. */
void doctor_check_conf(struct doctor *d);

/* STATE_DIR and RUNTIME_DIR, and what is in them, for the pool's user. */
void doctor_check_dirs(struct doctor *d);

/* ---- doctor_link.c: a link from end to end --------------------------- */

/* Writes a link that expires by itself, and reads it back. */
void doctor_make_link(struct doctor *d);

/* Follows it, through APP_URL, and looks where POST /create would go. */
void doctor_check_site(struct doctor *d);

/* Removes it. */
void doctor_remove_link(struct doctor *d);

/* A worker's 404 of the probe, which was stored a moment ago: waits, and has
 * this host forget it, so that it can be asked again. */
void doctor_wait_for_link(struct doctor *d);

#endif
