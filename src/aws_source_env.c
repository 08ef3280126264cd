/*
 * Credentials from the environment, or from curt's own configuration file,
 * which has the same names.
 */
#include "aws_source.h"

static bool is_set(const char *s)
{
    return s != NULL && s[0] != '\0';
}

/* As the SDKs: the key id says whether this source is meant, and a secret alone
 * says nothing. */
enum result aws_source_environment(const struct aws_source_request *request,
                                   struct aws_found *out, struct buf *reason)
{
    const struct conf *conf = request->conf;
    const struct aws_keys keys = {
        .id = conf->aws_access_key_id,
        .secret = conf->aws_secret_access_key,
        .token = conf->aws_session_token,
    };
    *out = (struct aws_found){0};
    if (!is_set(keys.id)) {
        buf_add_str(reason, "AWS_ACCESS_KEY_ID is not set");
        return RESULT_NOT_FOUND;
    }
    if (!is_set(keys.secret)) {
        buf_add_str(reason, "AWS_ACCESS_KEY_ID is set, and "
                            "AWS_SECRET_ACCESS_KEY is not");
        return RESULT_DENIED;
    }
    return aws_found_take(out, &keys, 0, "environment", reason);
}
