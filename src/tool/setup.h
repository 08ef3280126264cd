/*
 * The steps of `curt setup`: files, links and commands that it shows, does and
 * takes back.
 */
#ifndef CURT_SETUP_H
#define CURT_SETUP_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#include "base/buf.h"

/* Largest file or output of a command that is read, in bytes. */
#define SETUP_TEXT_MAX (1u << 20)

/* In a template, every occurrence of key is replaced by text; a line with a key
 * whose text is NULL is left out. */
struct setup_pair {
    const char *key;
    char *text;
};

/* What was there before a step: to take it back. */
struct setup_undo {
    char *path;
    char *text; /* of a file, or what a link led to; NULL: it did not exist */
    bool is_link;
};

#define SETUP_PAIRS_MAX 48
#define SETUP_UNDO_MAX  16

/* Begins as zeros, and out. Every text that a function below takes is a
 * template, but for the names of built-in files. */
struct setup_steps {
    FILE *out;     /* where each step is shown */
    bool dry_run;  /* only show them */
    bool checking; /* only find out whether the files may be written */
    bool failed;   /* a step failed; the later ones do nothing */
    bool changed;  /* a file or link was written, or would be */
    struct setup_pair pairs[SETUP_PAIRS_MAX]; /* with the text's memory */
    size_t pair_count;
    struct setup_undo undo[SETUP_UNDO_MAX];
    size_t undo_count;
};

/* Adds a pair to those that templates are filled with: its text is filled with
 * the pairs before it. key has static storage. Returns the text, which belongs
 * to s. */
const char *setup_add_pair(struct setup_steps *s, const char *key,
                           const char *text);

/* The text of a template with the pairs replaced, which the caller frees. */
char *setup_fill(const struct setup_steps *s, const char *template);

/* Reads a whole file; NULL and errno if that fails. The caller frees it. */
char *setup_read(const char *path);

/* Makes path a file of text after a line that marks it, with a digest of text.
 * A file that has this text, or had it before it was edited, stays as it is;
 * any other is replaced only if curt setup wrote it and nothing was edited
 * since, else the step fails. group: its group, and mode 0640; (gid_t)-1: mode
 * 0644. True: it was written. */
bool setup_write(struct setup_steps *s, const char *path, gid_t group,
                 const char *text);

/* setup_write() for the text of a built-in file, such as "setup/nginx.conf",
 * which must exist. */
void setup_write_file(struct setup_steps *s, const char *path,
                      const char *name);

/* Whether setup_write() would fail for path. */
bool setup_is_foreign(const struct setup_steps *s, const char *path,
                      const char *text);

/* Makes path a symbolic link to target; or removes the link to target that path
 * is. */
void setup_link(struct setup_steps *s, const char *target, const char *path);
void setup_unlink(struct setup_steps *s, const char *target, const char *path);

/* Runs a command, which is words; one with spaces is in single quotes. Its
 * output is appended to output, which may be NULL. Returns its exit status, 127
 * if it cannot be run. It runs in a dry run as well. */
int setup_probe(const struct setup_steps *s, const char *command,
                struct buf *output);

/* Shows a command and runs it as a step. A failure is reported with the end of
 * the output and the advice. */
void setup_run(struct setup_steps *s, const char *command, const char *advice);

/* Reports a failed step on standard error. advice: what to do; neither it nor
 * format is a template. */
void setup_fail(struct setup_steps *s, const char *advice, const char *format,
                ...) __attribute__((format(printf, 3, 4)));

/* Brings back the files and links as they were before the first step, or
 * before setup_keep(). */
void setup_take_back(struct setup_steps *s);
void setup_keep(struct setup_steps *s);

/* Releases what s has. */
void setup_free(struct setup_steps *s);

#endif
