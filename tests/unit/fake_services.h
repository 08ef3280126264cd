/*
 * The credentials of a profile with fake services: STS, the container and the
 * instance. They are linked in place of those in sts.c and, by the linker's
 * --wrap, metadata.c, and record each request.
 */
#ifndef CURT_TEST_FAKE_SERVICES_H
#define CURT_TEST_FAKE_SERVICES_H

#include "aws/source.h"
#include "aws_files.h"

/* The settings of keys with this name, and of a process that prints some. */
#define KEYS(name)                                                             \
    "aws_access_key_id = id-" name "\naws_secret_access_key = secret-" name "\n"
#define PRINTS(name)                                                           \
    "credential_process = echo '{\"Version\": 1, \"AccessKeyId\": \"id-" name  \
    "\", \"SecretAccessKey\": \"secret-" name "\", \"SessionToken\": "         \
    "\"token-" name "\", \"Expiration\": \"2100-01-01T00:00:00Z\"}'\n"
#define ROLE(name) "role_arn = arn:" name "\n"

/* The requests, a line each, in order; and the result of each: RESULT_OK comes
 * with the keys of the name "given". */
extern struct buf service_requests;
extern enum result service_result;

/* Set-up and tear-down: a home directory, and no request. */
int services_set_up(void **state);
int services_tear_down(void **state);

/* Reads the credentials of a profile, NULL for none, with these files. */
enum result query_profile(struct aws_files *f, const char *profile,
                          const char *config, const char *credentials,
                          struct aws_found *found);

/* A profile that has credentials. */
struct profile_case {
    const char *profile; /* AWS_PROFILE; NULL: not set */
    const char *config;
    const char *credentials;
    const char *name;  /* of the keys */
    const char *where; /* CREDENTIALS, CONFIG: the files */
    const char *asked; /* the requests */
};

/* Asserts the keys, their origin and the requests. */
void assert_credentials(struct aws_files *f, const struct profile_case *c);

/* Asserts that there are no credentials, and the reason. */
void assert_no_credentials(struct aws_files *f, const char *profile,
                           const char *config, const char *credentials,
                           enum result result, const char *reason);

#endif
