/*
 * The shared configuration files of AWS's SDKs and CLI: ~/.aws/config and
 * ~/.aws/credentials (AWS SDKs and Tools Reference Guide, "Shared config and
 * credentials files"), or those that AWS_CONFIG_FILE and
 * AWS_SHARED_CREDENTIALS_FILE name. Only reads files.
 *
 * The format, where the guide does not specify it as the AWS CLI reads it:
 * - [default] and [profile NAME] in the config file, where [default] is ignored
 *   if [profile default] exists; [NAME] in the credentials file; a name with
 *   spaces in quotes. Other sections are skipped.
 * - `name = value`, or `name: value`; names in any case. The last of several
 *   equal ones counts, also where a profile occurs twice.
 * - Lines that begin with # or ; are comments, and so is the text after white
 *   space and # or ; in a setting, or after a section's ].
 * - A line that is indented more than the setting before it continues that; the
 *   nested settings below an empty one (s3 =) are skipped.
 * - A byte order mark and carriage returns are skipped.
 */
#ifndef CURT_AWS_PROFILE_H
#define CURT_AWS_PROFILE_H

#include "base/buf.h"
#include "base/result.h"
#include "config/conf.h"

/* The largest file, in bytes. */
#define AWS_PROFILES_MAX (1u << 20)

enum aws_profiles_file {
    AWS_PROFILES_CONFIG,
    AWS_PROFILES_CREDENTIALS,
    AWS_PROFILES_FILES
};

/* The contents of both files. */
struct aws_profiles;

/* Reads both files. A missing file is empty, and so is one at the default place
 * in a directory that this user may not search: a service often has the home
 * directory of the user that started it. RESULT_DENIED: a file cannot be read
 * or used; reason has the file, the line and the fault, but no value. On
 * RESULT_OK the caller releases *out with aws_profiles_free(), which wipes it;
 * otherwise *out is NULL. */
enum result aws_profiles_read(const struct conf *conf,
                              struct aws_profiles **out,
                              struct buf *reason) MUST_CHECK;
void aws_profiles_free(struct aws_profiles *p);

/* Appends the path, size, time and inode of each file that exists: another text
 * after every change. */
void aws_profiles_add_versions(const struct conf *conf, struct buf *out);

/* The path of a file, which may not exist. NULL: the user has no home
 * directory. Belongs to p. */
const char *aws_profiles_path(const struct aws_profiles *p,
                              enum aws_profiles_file file);

/* Appends where profiles are read from: "/root/.aws/config or
 * /root/.aws/credentials", and whether a directory could not be searched. */
void aws_profiles_add_places(const struct aws_profiles *p, struct buf *out);

/* The profile that applies: AWS_PROFILE, else "default". */
const char *aws_profiles_name(const struct conf *conf);

/* Whether a profile is in one of the files. */
bool aws_profiles_has(const struct aws_profiles *p, const char *profile);

/* A setting of a profile, such as "region", in lower case; NULL: it is absent
 * or empty. The credentials file goes before the config file. Belongs to p. */
const char *aws_profiles_get(const struct aws_profiles *p, const char *profile,
                             const char *setting);

/* The same, from only one file. */
const char *aws_profiles_get_from(const struct aws_profiles *p,
                                  enum aws_profiles_file file,
                                  const char *profile, const char *setting);

#endif
