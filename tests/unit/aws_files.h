/* A home directory with the files that AWS's tools share. */
#ifndef CURT_TESTS_AWS_FILES_H
#define CURT_TESTS_AWS_FILES_H

#include "base/buf.h"
#include "config/conf.h"

struct aws_files {
    char home[40];
    char config[80];      /* home/.aws/config */
    char credentials[80]; /* home/.aws/credentials */
    char other[80];       /* home/other, for whatever a test needs */
    struct conf conf;     /* empty: the files are at their default places */
    struct buf reason;
};

/* Makes the directories, without files, and sets HOME. 0, or -1. */
int aws_files_make(struct aws_files *f);

/* Removes all of them. 0, or -1. */
int aws_files_remove(struct aws_files *f);

/* Writes both files; NULL removes one. */
void aws_files_set(struct aws_files *f, const char *config,
                   const char *credentials);

/* Asserts the reason and empties it. In expected, CONFIG and CREDENTIALS
 * stand for the paths of the files, and OTHER for that of the other one. */
void aws_files_assert_reason(struct aws_files *f, const char *expected);

/* Changes from root to an unprivileged user, and back. */
void drop_root(void);
void restore_root(void);

#endif
