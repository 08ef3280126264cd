/* The parts of `curt doctor`; only for doctor*.c. */
#ifndef CURT_DOCTOR_PARTS_H
#define CURT_DOCTOR_PARTS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "conf.h"
#include "ids.h"
#include "report.h"
#include "store.h"
#include "url.h"

/* A link for this run. Its target has URL_MAX bytes, the longest Location that
 * a web server has to pass on; nobody goes there. */
struct doctor_probe {
    char id[IDS_MAX + 1];
    char target[URL_MAX + 1];
    bool stored;   /* it is in the store, and was read back */
    bool leftover; /* it may be in the store */
};

struct doctor {
    const char *file; /* value of -c, or NULL */
    bool json;
    const struct conf *conf;
    struct store *store;
    struct report *report;

    /* Who runs curt.fcgi: doctor_find_pool(). */
    bool running; /* a process holds the janitor's lock */
    bool hidden;  /* this user may not see whether */
    pid_t holder; /* which one; 0 where the kernel does not say */
    bool user_known;
    uid_t user;

    /* To root's process, where this one has become the user; else -1. */
    int root;

    struct doctor_probe probe;
    bool blamed; /* other lines say what is wrong with the store */
};

/* ---- doctor_pool.c: the processes of this host ----------------------- */

/* Finds out whether a pool runs, and as whom: the holder of the janitor's
 * lock, else the owner of STATE_DIR. Adds no line. */
void doctor_find_pool(struct doctor *d);

/* The pool, its cache, and whether its hits get to the store. Other lines
 * leave out what follows from a pool that is down. */
void doctor_check_pool(struct doctor *d);
void doctor_check_cache(struct doctor *d);
void doctor_check_hits(struct doctor *d);

/* ---- doctor_socket.c ------------------------------------------------- */

/* The workers, without the web server. */
void doctor_check_socket(struct doctor *d);

/* ---- doctor_listen.c ------------------------------------------------- */

/* A listening socket, as the kernel lists it. */
struct doctor_listener {
    uint32_t inode;   /* of the socket: "socket:[inode]" in /proc/PID/fd */
    uint32_t backlog; /* connections that its queue holds */
};

/* Finds the socket that listens on address (sockname.h; not an abstract one).
 * False: none in this network namespace, or the kernel does not tell. */
bool doctor_find_listener(const char *address, struct doctor_listener *out);

/* Root's process: connects to Unix sockets for the process at the other end of
 * user, until that closes. RUNTIME_DIR/socket is a file of the pool's user, so
 * it connects only to a socket on which a process of that user listens, and it
 * writes nothing. */
void doctor_serve_user(const struct doctor *d, int user);

/* A connection to the socket at path by way of doctor_serve_user(), or by root
 * itself where this process has not become the user: then a process of owner
 * must listen there. -1: refused, or there is no root. */
int doctor_ask_root(const struct doctor *d, uid_t owner, const char *path);

/* ---- doctor_user.c --------------------------------------------------- */

/* Whether this process sees what the pool's user sees; and a line if not. */
bool doctor_can_tell(const struct doctor *d);
void doctor_check_user(struct doctor *d);

/* Runs the rest of the checks and returns what run returns: as root in a
 * process that has become the pool's user for good, so that files, keys and
 * the programs that make keys are those of the pool, and nothing of them is
 * done with root's rights. */
int doctor_run_as_user(struct doctor *d, int (*run)(struct doctor *d));

/* The name of a user, or the number; and that of the pool's user, "curt" where
 * it is not known. Text that the caller frees. */
char *doctor_user_name(uid_t user);
char *doctor_wanted_user(const struct doctor *d);

/* ---- doctor_dirs.c: files -------------------------------------------- */

/* The file of the configuration, and what is legal in it but unwise. */
void doctor_check_conf(struct doctor *d);

/* STATE_DIR and RUNTIME_DIR, and what is in them, for the pool's user. */
void doctor_check_dirs(struct doctor *d);

/* ---- doctor_link.c: a link from end to end --------------------------- */

/* Stores a link that expires, and reads it back. */
void doctor_make_link(struct doctor *d);

/* Sends a request through APP_URL: some web servers start curt.fcgi with the
 * first one. True: curt answered it. */
bool doctor_wake_pool(struct doctor *d);

/* Follows it through APP_URL, and checks where POST /create would go. */
void doctor_check_site(struct doctor *d);

/* Removes it. */
void doctor_remove_link(struct doctor *d);

/* A worker answered 404 for a probe that was stored a moment ago: waits, and
 * lets this host forget that, so that a second request is worth it. */
void doctor_wait_for_link(struct doctor *d, const struct doctor_probe *p);

#endif
