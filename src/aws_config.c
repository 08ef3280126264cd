#include "aws_config.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "mem.h"

const char *aws_config_region(const struct conf *conf)
{
    return conf->aws_region != NULL ? conf->aws_region
                                    : conf->aws_default_region;
}

const char *aws_config_endpoint(const struct conf *conf)
{
    return conf->aws_endpoint_url_dynamodb != NULL
               ? conf->aws_endpoint_url_dynamodb
               : conf->aws_endpoint_url;
}

char *aws_config_url(const struct conf *conf)
{
    const char *endpoint = aws_config_endpoint(conf);
    if (endpoint != NULL)
        return mem_dup(endpoint);
    const char *region = aws_config_region(conf);
    const char *suffix = strncmp(region, "cn-", 3) == 0 ? ".cn" : "";
    return mem_printf("https://dynamodb.%s.amazonaws.com%s/", region, suffix);
}

enum result aws_config_check_region(const struct conf *conf,
                                    const char **reason)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
    const char *region = aws_config_region(conf);
    if (region == NULL) {
        *reason = "no region; set AWS_REGION";
        return RESULT_DENIED;
    }
    if (region[0] == '\0' || strspn(region, allowed) != strlen(region)) {
        *reason = "AWS_REGION is no region's name, such as eu-west-1";
        return RESULT_DENIED;
    }
    return RESULT_OK;
}

/* Whether s can stand in a header and in a signature. */
static bool is_plain(const char *s)
{
    for (; *s != '\0'; s++) {
        if (*s <= ' ' || *s >= 0x7f)
            return false;
    }
    return true;
}

static bool is_empty(const char *s)
{
    return s == NULL || s[0] == '\0';
}

enum result aws_config_credentials(const struct conf *conf,
                                   struct aws_credentials *out,
                                   const char **reason)
{
    const char *id = conf->aws_access_key_id;
    const char *secret = conf->aws_secret_access_key;
    const char *token = conf->aws_session_token;
    *reason = NULL;
    if (is_empty(id) && is_empty(secret))
        *reason = "no credentials; set AWS_ACCESS_KEY_ID and "
                  "AWS_SECRET_ACCESS_KEY";
    else if (is_empty(id))
        *reason = "no credentials; set AWS_ACCESS_KEY_ID";
    else if (is_empty(secret))
        *reason = "no credentials; set AWS_SECRET_ACCESS_KEY";
    else if (!is_plain(id))
        *reason = "AWS_ACCESS_KEY_ID has a character that no key id has";
    else if (!is_plain(secret))
        *reason = "AWS_SECRET_ACCESS_KEY has a character that no key has";
    else if (!is_empty(token) && !is_plain(token))
        *reason = "AWS_SESSION_TOKEN has a character that no token has";
    if (*reason != NULL)
        return RESULT_DENIED;
    *out = (struct aws_credentials){
        .access_key_id = id,
        .secret_access_key = secret,
        .session_token = is_empty(token) ? NULL : token,
    };
    return RESULT_OK;
}
