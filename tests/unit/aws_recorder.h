/*
 * Asks for the credentials of a profile, with the network's ends recorded: what
 * STS is asked for and with whose keys, and that the other sources are asked.
 * They stand in for aws_sts.c, aws_source_container.c and
 * aws_source_instance.c, which have tests of their own.
 */
#ifndef CURT_TESTS_AWS_RECORDER_H
#define CURT_TESTS_AWS_RECORDER_H

#include "aws_files.h"
#include "aws_source.h"

/* The settings of keys with this name, and of a process that prints some. */
#define KEYS(name)                                                             \
    "aws_access_key_id = id-" name "\naws_secret_access_key = secret-" name "\n"
#define PRINTS(name)                                                           \
    "credential_process = echo '{\"Version\": 1, \"AccessKeyId\": \"id-" name  \
    "\", \"SecretAccessKey\": \"secret-" name "\", \"SessionToken\": "         \
    "\"token-" name "\", \"Expiration\": \"2100-01-01T00:00:00Z\"}'\n"
#define ROLE(name) "role_arn = arn:" name "\n"

/* What is asked of the network, a line for each question, in order; and what
 * it answers: RESULT_OK gives the keys of the name "given". */
extern struct buf recorder_asked;
extern enum result recorder_answer;

/* For cmocka: a home directory, and nothing asked. */
int recorder_set_up(void **state);
int recorder_tear_down(void **state);

/* Asks for the profile, NULL for none, with this text in the files. */
enum result recorder_ask(struct aws_files *f, const char *profile,
                         const char *config, const char *credentials,
                         struct aws_found *found);

/* A profile that has credentials. */
struct recorder_case {
    const char *profile; /* AWS_PROFILE; NULL: not set */
    const char *config;
    const char *credentials;
    const char *name;  /* of the keys */
    const char *where; /* CREDENTIALS, CONFIG: the files */
    const char *asked; /* of the network */
};

/* Asserts which keys there are, where from, and what the network was asked. */
void recorder_check_good(struct aws_files *f, const struct recorder_case *c);

/* Asserts that there are none, and why. */
void recorder_check_bad(struct aws_files *f, const char *profile,
                        const char *config, const char *credentials,
                        enum result result, const char *reason);

#endif
