/*
 * The role of an EC2 instance, from its metadata service (Amazon EC2 User
 * Guide, "Retrieve security credentials from instance metadata").
 */
#include <stdlib.h>
#include <string.h>

#include "aws_imds.h"
#include "aws_source.h"
#include "clock.h"
#include "mem.h"

#define ROLES "/latest/meta-data/iam/security-credentials/"

#define ROLE_MAX     1024 /* bytes of the list of roles; there is one */
#define DOCUMENT_MAX 65536

/* Cuts the list at the end of its first line. False: what is left cannot be
 * the name of a role, which is a part of a URL next. */
static bool take_role(struct buf *list)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "abcdefghijklmnopqrstuvwxyz"
                                  "0123456789_+=,.@-";
    buf_truncate(list, strcspn(list->data, "\r\n"));
    return list->len > 0 && strspn(list->data, allowed) == list->len &&
           strspn(list->data, ".") != list->len;
}

static enum result get_role(struct aws_imds *imds, struct buf *role,
                            struct buf *reason)
{
    enum result r = aws_imds_get(imds, ROLES, role, reason);
    if (r == RESULT_NOT_FOUND) {
        buf_add_str(reason, ": the instance has no role");
        return r;
    }
    if (r == RESULT_OK && !take_role(role)) {
        buf_add_str(reason, "what the instance metadata service names is no "
                            "role's name");
        return RESULT_UNAVAILABLE;
    }
    return r;
}

/* The service goes on giving the old keys when it gets no new ones. Some
 * SDKs use them beyond their end; AWS would refuse every request. */
static enum result instance_check(struct aws_found *found, struct buf *reason)
{
    const char *fault = NULL;
    if (found->token == NULL)
        fault = "has no token";
    else if (found->expires == 0)
        fault = "has no Expiration";
    else if (found->expires <= clock_now())
        fault = "has keys that have expired; is this host's clock right?";
    if (fault == NULL)
        return RESULT_OK;
    buf_addf(reason, "%s %s", found->where, fault);
    aws_found_free(found);
    return RESULT_UNAVAILABLE;
}

static enum result get_keys(struct aws_imds *imds, const char *role,
                            struct aws_found *out, struct buf *reason)
{
    char *path = mem_printf(ROLES "%s", role);
    char *what = mem_printf("role %s of the instance (metadata service)", role);
    struct buf document;
    buf_init(&document, DOCUMENT_MAX);
    enum result r = aws_imds_get(imds, path, &document, reason);
    if (r == RESULT_NOT_FOUND)
        r = RESULT_UNAVAILABLE; /* it was named a moment ago */
    if (r == RESULT_OK) {
        while (document.len > 0 &&
               strchr(" \t\r\n", document.data[document.len - 1]) != NULL)
            buf_truncate(&document, document.len - 1);
        r = aws_found_read_json(out, document.data, document.len, what, reason);
    }
    if (r == RESULT_OK)
        r = instance_check(out, reason);
    buf_wipe(&document);
    free(what);
    free(path);
    return r;
}

enum result aws_source_instance(const struct aws_source_request *request,
                                struct aws_found *out, struct buf *reason)
{
    *out = (struct aws_found){0};
    struct aws_imds *imds;
    enum result r = aws_imds_open(request, &imds, reason);
    if (r != RESULT_OK)
        return r;
    struct buf role;
    buf_init(&role, ROLE_MAX);
    r = get_role(imds, &role, reason);
    if (r == RESULT_OK)
        r = get_keys(imds, role.data, out, reason);
    buf_free(&role);
    aws_imds_close(imds);
    return r;
}
