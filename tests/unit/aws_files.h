/* A home directory with the shared files of AWS's tools in it, for tests. */
#ifndef CURT_TESTS_AWS_FILES_H
#define CURT_TESTS_AWS_FILES_H

#include "buf.h"
#include "conf.h"

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

/* Writes len bytes, or a string, to one of the paths. */
void aws_files_write_bytes(const char *path, const void *bytes, size_t len);
void aws_files_write(const char *path, const char *text);

/* Writes both files; NULL removes one. */
void aws_files_set(struct aws_files *f, const char *config,
                   const char *credentials);

/* Asserts what reason is, and empties it. In expected, CONFIG and CREDENTIALS
 * stand for the paths of the files, and OTHER for that of the other one. */
void aws_files_assert_reason(struct aws_files *f, const char *expected);

/* From now on, permissions count: root becomes nobody; and back again. */
void aws_files_lose_root(void);
void aws_files_regain_root(void);

#endif
