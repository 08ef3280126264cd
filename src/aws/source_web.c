/*
 * Web identity: a token in a file, which the platform (such as EKS) replaces in
 * time, is exchanged for the credentials of a role at STS (AWS SDKs and Tools
 * Reference Guide, "Assume role credential provider").
 */
#include <stdlib.h>

#include "aws/region.h"
#include "aws/source.h"
#include "aws/sts.h"
#include "base/mem.h"

enum result aws_source_web_identity(const struct aws_source_request *request,
                                    struct aws_found *out, struct buf *reason)
{
    const struct conf *conf = request->conf;
    const char *path = conf->aws_web_identity_token_file;
    *out = (struct aws_found){0};
    /* Other tools also read AWS_ROLE_ARN: only the token is for this source. */
    if (path == NULL) {
        buf_add_str(reason, "AWS_WEB_IDENTITY_TOKEN_FILE is not set");
        return RESULT_NOT_FOUND;
    }
    if (conf->aws_role_arn == NULL) {
        buf_add_str(reason,
                    "AWS_WEB_IDENTITY_TOKEN_FILE is set, but AWS_ROLE_ARN is "
                    "not; set it to the role, or unset the other");
        return RESULT_DENIED;
    }
    char *token =
        aws_found_read_token("AWS_WEB_IDENTITY_TOKEN_FILE", path, reason);
    if (token == NULL)
        return RESULT_DENIED;
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
