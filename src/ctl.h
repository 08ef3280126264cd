/*
 * What the files of the operator's tool share: ctl.c has the verbs and their
 * options, ctl_table.c "table", ctl_qr.c "qr", ctl_backup.c backup and restore.
 */
#ifndef CURT_CTL_H
#define CURT_CTL_H

#include <stdbool.h>
#include <stdio.h>

#include "cache.h"
#include "conf.h"
#include "hits.h"
#include "qr.h"
#include "result.h"
#include "store.h"

struct json_object;

/* Longest output of one verb, in bytes. */
#define CTL_OUTPUT_MAX (4u << 20)

/* Exit status where sysexits(3) has no word for it: the answer is no. */
#define CTL_NO 1

/* What the options of `table create` ask for. */
struct ctl_table_options {
    bool given; /* one of them was there */
    bool read_given;
    bool write_given;
    struct store_table wanted; /* its tags point into argv */
};

/* What the options of `qr` and `create --qr` ask for. */
struct ctl_qr {
    bool given, ascii, for_create; /* one of them, --ascii, --qr */
    const char *output;            /* a file, or "-"; NULL: the terminal */
    struct qr_options image;       /* begins as {QR_DEFAULTS} */
};

/* What a verb works with. */
struct ctl {
    const char *file; /* that -c names, or NULL */
    struct conf conf;
    struct store *store;
    struct hits *hits; /* of the pool on this host, if there is one */
    enum result hits_result;
    const char *hits_reason;
    struct cache *cache; /* likewise */
    bool json;
    struct ctl_table_options table;
    struct ctl_qr qr;
};

/* The id in an argument; NULL, and a line on standard error: there is none. */
const char *ctl_take_id(const struct ctl *ctl, const char *argument);

/* The exit status for a result. */
int ctl_status(enum result r);

/* Prints a line, whose arguments may come from anywhere, so that a terminal
 * only shows them: utf8_print(). */
void ctl_say(FILE *out, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Says on standard error why the last operation of the store failed; r is its
 * result, and the exit status for it is returned. */
int ctl_store_failed(const struct ctl *ctl, enum result r);

/* Prints an object on a line and releases it. */
void ctl_print_json(struct json_object *object);

/* The verbs "backup" and "restore"; they return the exit status. */
int ctl_backup(struct ctl *ctl, const char *file);
int ctl_restore(struct ctl *ctl, const char *file);

/* Prints the lines of text, which is cut up, each after prefix, likewise. */
void ctl_print_lines(FILE *out, const char *prefix, char *text);

/* ---- The verb "table" ------------------------------------------------ */

/* What getopt_long returns for them. */
enum ctl_table_code {
    CTL_BILLING = 256,
    CTL_READ_UNITS,
    CTL_WRITE_UNITS,
    CTL_PROTECTION,
    CTL_BACKUPS,
    CTL_TAG
};

/* Takes one of the options. False: it cannot be used, and standard error has
 * said why. argument is changed, and must live as long as t. */
bool ctl_table_option(struct ctl_table_options *t, int code, char *argument);

/* Says that these options belong to `table create`; returns the exit status. */
int ctl_table_misplaced(void);

/* Runs `table create` or `table check`; returns the exit status. */
int ctl_table(struct ctl *ctl, const char *action);

/* Takes an option by its name, like ctl_table_option(). */
bool ctl_qr_option(struct ctl_qr *q, const char *name, const char *argument);

/* Whether the options fit each other and the verb; else it says why not. */
bool ctl_qr_ready(struct ctl_qr *q, const char *verb);

/* Draws the code of an id; and the verb "qr". They return the exit status. */
int ctl_qr_draw(struct ctl *ctl, const char *id);
int ctl_qr(struct ctl *ctl, const char *argument);

#endif
