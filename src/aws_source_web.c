/*
 * Web identity: a token in a file, which whoever runs the process (EKS, say)
 * replaces in time, is changed for a role's keys at STS (AWS SDKs and Tools
 * Reference Guide, "Assume role credential provider").
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "aws_region.h"
#include "aws_source.h"
#include "aws_sts.h"
#include "mem.h"

/* STS takes no longer token. */
#define TOKEN_MAX 20000

static bool is_configured(const struct conf *conf)
{
    return conf->aws_web_identity_token_file != NULL &&
           conf->aws_role_arn != NULL;
}

/* A role without a token is nothing of this source's: other tools read
 * AWS_ROLE_ARN too. A token without a role can only be a mistake. */
static enum result not_configured(const struct conf *conf, struct buf *reason)
{
    if (conf->aws_web_identity_token_file == NULL) {
        buf_add_str(reason, "AWS_WEB_IDENTITY_TOKEN_FILE is not set");
        return RESULT_NOT_FOUND;
    }
    buf_add_str(reason, "AWS_WEB_IDENTITY_TOKEN_FILE is set, but not "
                        "AWS_ROLE_ARN; set it to the role, or unset the other");
    return RESULT_DENIED;
}

enum result aws_source_web_identity(const struct aws_source_request *request,
                                    struct aws_found *out, struct buf *reason)
{
    const struct conf *conf = request->conf;
    *out = (struct aws_found){0};
    if (!is_configured(conf))
        return not_configured(conf, reason);
    const char *path = conf->aws_web_identity_token_file;
    char *token = aws_found_read_file(path, TOKEN_MAX);
    if (token == NULL || token[0] == '\0') {
        const char *fault = "the file is empty";
        if (token == NULL)
            fault = errno == E2BIG || errno == EILSEQ
                        ? "what is in the file is no token"
                        : strerror(errno);
        buf_addf(reason, "AWS_WEB_IDENTITY_TOKEN_FILE, %s: %s", path, fault);
        mem_free_secret(token);
        return RESULT_DENIED;
    }
    char *region = aws_region_configured(conf);
    const struct aws_sts_role role = {
        .arn = conf->aws_role_arn,
        .session = conf->aws_role_session_name,
        .region = region,
    };
    enum result r = aws_sts_web_identity(request, &role, token, out, reason);
    if (r == RESULT_OK) {
        free(out->where);
        out->where = mem_printf("role %s by web identity "
                                "(AWS_WEB_IDENTITY_TOKEN_FILE)",
                                role.arn);
    }
    mem_free_secret(token);
    free(region);
    return r;
}
