/*
 * What the files of the operator's tool share: main.c has the commands, their
 * options and the help, link.c "create", "get" and "delete", and the others
 * the commands of their names.
 */
#ifndef CURT_TOOL_H
#define CURT_TOOL_H

#include <stdbool.h>
#include <stdio.h>

#include "base/result.h"
#include "config/conf.h"
#include "link/ids.h"
#include "link/qr.h"
#include "service/cache.h"
#include "service/hits.h"
#include "service/hostlist.h"
#include "store/store.h"

struct json_object;

/* Longest output of one command, in bytes. */
#define CTL_OUTPUT_MAX (4u << 20)

/* Exit status for a negative answer, for which sysexits(3) has none. */
#define CTL_NO 1

/* The options of `table create`. */
struct ctl_table_options {
    bool given;                /* one of them was there */
    struct store_table wanted; /* units 0: not given; its tags are in argv */
};

/* The options of `qr` and `create --qr`. */
struct ctl_qr {
    bool given, ascii, for_create; /* one of them, --ascii, --qr */
    const char *output;            /* a file, or "-"; NULL: the terminal */
    struct qr_options image;       /* begins as {QR_DEFAULTS} */
};

/* The other options, which have a text as value or none: what was given. */
struct ctl_option {
    const char *name;  /* without "--" */
    const char *value; /* "" where the option has none */
};

#define CTL_OPTIONS_MAX 32
#define CTL_OPTION_SIZE 32 /* longest name and its NUL */

/* What a command works with. */
struct ctl {
    const char *file; /* that -c names, or NULL */
    const char *verb; /* the command's name, such as "key list" */
    struct conf conf;
    struct store *store;
    struct hits *hits; /* of the pool on this host, if there is one */
    enum result hits_result;
    const char *hits_reason;
    struct cache *cache; /* likewise */
    struct hostlist hosts[HOSTLIST_KINDS];
    bool json;
    struct ctl_table_options table;
    struct ctl_qr qr;
    struct ctl_option options[CTL_OPTIONS_MAX];
    size_t option_count;
    char id[IDS_MAX + 1]; /* of the last ctl_take_id() */
    unsigned shown;       /* links that `get` has printed as text */
};

/* The value of an option that belongs to the command; NULL: it was not given.
 */
const char *ctl_option(const struct ctl *ctl, const char *name);

/* The exit status for a result. */
int ctl_status(enum result r);

/* Prints a line. Its arguments can come from any source: what a terminal would
 * interpret is escaped, see utf8_print(). */
void ctl_say(FILE *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Changes a record's value, an empty object for a new record. What it returns
 * is the result of ctl_change_record(), and only RESULT_OK stores the record.
 */
typedef enum result ctl_change(struct ctl *ctl, struct json_object *value,
                               void *arg);

/* Reads a record, changes it and stores it; all again where another process has
 * changed it in between, so change can be called several times. */
enum result ctl_change_record(struct ctl *ctl, const char *key,
                              ctl_change *change, void *arg) MUST_CHECK;

/* The member "names" of an index (its key is ACCESS_INDEX or PLANS_INDEX),
 * which owns it: an object whose members are names; the members of the index
 * itself are attributes of the item. RESULT_CORRUPT: it is something else. */
enum result ctl_names(struct ctl *ctl, const char *key,
                      struct json_object *index,
                      struct json_object **names) MUST_CHECK;

/* Reads an index; a missing one is empty. index->value is the caller's. */
enum result ctl_read_names(struct ctl *ctl, const char *key,
                           struct store_record *index,
                           struct json_object **names) MUST_CHECK;

/* Prints on standard error why the last operation of the store failed; r is its
 * result, and the exit status for it is returned. */
int ctl_store_failed(const struct ctl *ctl, enum result r);

/* Writes out what was printed. False: it could not be written, because of a
 * full disk or a closed pipe, which is reported on standard error. */
bool ctl_flush(void);

/* The id in an argument: an id, or a short URL that begins with APP_URL, with
 * either scheme or none; after it may be a query, a fragment, a suffix of
 * curt's such as ".qr", or punctuation. Valid until the next call. NULL: not
 * an id; the reason is on standard error, and the exit status is EX_DATAERR. */
const char *ctl_take_id(struct ctl *ctl, const char *argument);

/* The commands "create", "edit", "get" and "delete", for one argument; they
 * return the exit status. url NULL or "-": all lines of standard input. */
int ctl_create(struct ctl *ctl, const char *url);
int ctl_edit(struct ctl *ctl, const char *argument);
int ctl_get(struct ctl *ctl, const char *argument);
int ctl_delete(struct ctl *ctl, const char *argument);

/* The commands "disable" and "enable", likewise; ctl->verb is which. */
int ctl_switch(struct ctl *ctl, const char *argument);

/* The commands "key ..." (key.c), for the name of a key; they return the exit
 * status. ctl_key_switch() is "key disable", "key enable" and "key revoke". */
int ctl_key_create(struct ctl *ctl, const char *name);
int ctl_key_list(struct ctl *ctl, const char *argument);
int ctl_key_show(struct ctl *ctl, const char *name);
int ctl_key_switch(struct ctl *ctl, const char *name);
int ctl_key_rotate(struct ctl *ctl, const char *name);

/* Adds a number to an object. */
void ctl_add_number(struct json_object *object, const char *name, uint64_t n);

/* Prints an object on a line and releases it. */
void ctl_print_json(struct json_object *object);

/* The commands "backup" and "restore"; they return the exit status. */
int ctl_backup(struct ctl *ctl, const char *file);
int ctl_restore(struct ctl *ctl, const char *file);

/* The command "setup"; returns the exit status. */
int ctl_setup(struct ctl *ctl, const char *argument);

/* Prints the lines of text, which is cut up, each after prefix, likewise. */
void ctl_print_lines(FILE *out, const char *prefix, char *text);

/* The commands "plan set", "plan list", "plan show" and "plan delete"; they
 * return the exit status. */
int ctl_plan_set(struct ctl *ctl, const char *name);
int ctl_plan_list(struct ctl *ctl, const char *argument);
int ctl_plan_show(struct ctl *ctl, const char *name);
int ctl_plan_delete(struct ctl *ctl, const char *name);

/* ---- The command "table" --------------------------------------------- */

/* What getopt_long returns for them. */
enum ctl_table_code {
    CTL_BILLING = 256,
    CTL_READ_UNITS,
    CTL_WRITE_UNITS,
    CTL_PROTECTION,
    CTL_BACKUPS,
    CTL_TAG
};

/* Takes one of the options. False: it cannot be used; the reason is on
 * standard error. argument is changed, and must live as long as t. */
bool ctl_table_option(struct ctl_table_options *t, int code, char *argument);

/* Reports that these options belong to `table create`; returns the exit
 * status. */
int ctl_table_misplaced(void);

/* Runs `table create` or `table check`; returns the exit status. */
int ctl_table(struct ctl *ctl, const char *action);

/* Takes an option by its name, like ctl_table_option(). */
bool ctl_qr_option(struct ctl_qr *q, const char *name, const char *argument);

/* Whether the options fit each other and the command, which has one argument
 * or not; else the reason is on standard error. */
bool ctl_qr_ready(struct ctl_qr *q, const char *verb, bool one);

/* The verb "qr"; returns the exit status. */
int ctl_qr(struct ctl *ctl, const char *argument);

#endif
