/*
 * The shared configuration files of AWS's SDKs and of its command line:
 * ~/.aws/config and ~/.aws/credentials (AWS SDKs and Tools Reference Guide,
 * "Shared config and credentials files"), or what AWS_CONFIG_FILE and
 * AWS_SHARED_CREDENTIALS_FILE name. Reads files, and nothing else.
 *
 * The format, where the guide is silent as the command line takes it:
 * - [default] and [profile NAME] in the config file, of which [profile default]
 *   counts and [default] does not when both are there; [NAME] in the
 *   credentials file; a name with spaces in quotes. Other sections are skipped.
 * - `name = value`, or `name: value`; names in any case. The last one of equals
 *   counts, also of a profile that is there twice.
 * - Lines that begin with # or ; are comments, and so is what follows a white
 *   space and # or ; in a setting, or a section's ].
 * - A line further to the right than the setting before it continues that; the
 *   nested settings below an empty one (s3 =) are skipped.
 * - A byte order mark and carriage returns are skipped.
 */
#ifndef CURT_AWS_PROFILE_H
#define CURT_AWS_PROFILE_H

#include "buf.h"
#include "conf.h"
#include "result.h"

/* The largest file, in bytes. */
#define AWS_PROFILES_MAX (1u << 20)

/* Both files, as they were when they were read. */
struct aws_profiles;

/* Reads both files. A file that is not there is empty, and so is one at the
 * default place in a directory that this user may not look into: a service
 * often has the home directory of whoever started it. RESULT_DENIED: one is
 * there and cannot be read or used; reason names the file, the line and the
 * fault, without quoting a value. On RESULT_OK the caller releases *out with
 * aws_profiles_free(), which wipes it; otherwise *out is NULL. */
enum result aws_profiles_read(const struct conf *conf,
                              struct aws_profiles **out,
                              struct buf *reason) MUST_CHECK;
void aws_profiles_free(struct aws_profiles *p);

/* Where the two files are, or would be. NULL: there is no home directory. They
 * belong to p. */
const char *aws_profiles_config_file(const struct aws_profiles *p);
const char *aws_profiles_credentials_file(const struct aws_profiles *p);

/* Appends where a profile was looked for: "/root/.aws/config or
 * /root/.aws/credentials", with a word on what could not be looked into. */
void aws_profiles_add_places(const struct aws_profiles *p, struct buf *out);

/* The profile that applies: AWS_PROFILE, else "default". */
const char *aws_profiles_name(const struct conf *conf);

/* Whether a profile is in one of the files. */
bool aws_profiles_has(const struct aws_profiles *p, const char *profile);

/* A setting of a profile, such as "region", in lower case; NULL: it is absent
 * or empty. What the credentials file says goes before what the config file
 * says. Belongs to p. */
const char *aws_profiles_get(const struct aws_profiles *p, const char *profile,
                             const char *setting);

/* The same, from one file alone. */
const char *aws_profiles_get_config(const struct aws_profiles *p,
                                    const char *profile, const char *setting);
const char *aws_profiles_get_credentials(const struct aws_profiles *p,
                                         const char *profile,
                                         const char *setting);

#endif
