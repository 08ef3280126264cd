/* The checks of `curt doctor`; only for the files of this folder. */
#ifndef CURT_DOCTOR_CHECKS_H
#define CURT_DOCTOR_CHECKS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/report.h"
#include "config/conf.h"
#include "link/ids.h"
#include "link/url.h"
#include "store/store.h"

struct doctor {
    const char *file; /* value of -c, or NULL */
    const struct conf *conf;
    struct store *store;
    struct report *report;

    /* Set by doctor_find_pool(). */
    bool running;    /* a janitor holds its lock */
    bool hidden;     /* this user may not see whether */
    bool user_known; /* the user that the pool should have */
    uid_t user;
    uid_t runner;    /* the user that it has */
    char *user_name; /* or "curt" */

    /* The probe: a link for this run. Its target has URL_MAX bytes, the longest
     * Location that a web server has to pass on; it is not requested. */
    char id[IDS_MAX + 1];
    char target[URL_MAX + 1];
    bool stored;   /* it was written and read back */
    bool leftover; /* it may be in the store */
    bool routed;   /* APP_URL redirected it */
};

/* Finds out whether a pool runs on this host, and its user: the owner of
 * STATE_DIR, which the pool cannot change, or where that is root the runner,
 * the owner of what the pool wrote at its start (RUNTIME_DIR/socket). Adds no
 * line. */
void doctor_find_pool(struct doctor *d);

/* Whether this process sees what the pool's user sees. */
bool doctor_can_tell(const struct doctor *d);

/* The name of a user, or the number, which the caller frees. */
char *doctor_user_name(uid_t user);

/* ---- files.c --------------------------------------------------------- */

void doctor_check_conf(struct doctor *d);

/* STATE_DIR, RUNTIME_DIR and the files in them. */
void doctor_check_dirs(struct doctor *d);

/* ---- pool.c ---------------------------------------------------------- */

/* Whether a pool runs. Other lines leave out what follows from one that is
 * down. */
void doctor_check_pool(struct doctor *d);

/* Whether the workers answer without the web server, and use this store. */
void doctor_check_socket(struct doctor *d);

void doctor_check_cache(struct doctor *d);

/* Whether counted hits get from the journal to the store. */
void doctor_check_hits(struct doctor *d);

/* ---- link.c: a link from end to end ---------------------------------- */

/* Stores the probe, which expires, and reads it back. */
void doctor_make_link(struct doctor *d);

/* Sends a request through APP_URL: some web servers start curt.fcgi with the
 * first one. True: curt answered it. */
bool doctor_wake_pool(struct doctor *d);

/* The probe, POST /create and the page through APP_URL. */
void doctor_check_site(struct doctor *d);

void doctor_remove_link(struct doctor *d);

/* After a worker has answered 404 for a probe that was stored a moment ago:
 * waits, and lets this host forget that, so that a second request is worth it.
 */
void doctor_wait_for_link(struct doctor *d);

#endif
