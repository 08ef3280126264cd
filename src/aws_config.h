/*
 * What a call to AWS needs to know before it is made: region, endpoint and
 * credentials, as the configuration has them. Asked anew for each attempt, so
 * that other sources of credentials can stand behind it.
 */
#ifndef CURT_AWS_CONFIG_H
#define CURT_AWS_CONFIG_H

#include "conf.h"
#include "result.h"

/* Strings belong to the configuration. */
struct aws_credentials {
    const char *access_key_id;
    const char *secret_access_key;
    const char *session_token; /* NULL for lasting keys */
};

/* The region, or NULL where none is configured. */
const char *aws_config_region(const struct conf *conf);

/* The endpoint that the configuration names; NULL: the region's own. */
const char *aws_config_endpoint(const struct conf *conf);

/* The URL to send to, which the caller frees. There must be a region. */
char *aws_config_url(const struct conf *conf);

/* Whether there is a region that can be used. RESULT_DENIED: *reason, static
 * text, says what to set. */
enum result aws_config_check_region(const struct conf *conf,
                                    const char **reason) MUST_CHECK;

/* The credentials. RESULT_DENIED: there are none that can be used; *reason,
 * static text, says what to set. */
enum result aws_config_credentials(const struct conf *conf,
                                   struct aws_credentials *out,
                                   const char **reason) MUST_CHECK;

#endif
