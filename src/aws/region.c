#include "aws/region.h"

#include <stdlib.h>
#include <string.h>

#include "aws/endpoint.h"
#include "aws/imds.h"
#include "aws/profile.h"
#include "base/mem.h"

#define REGION_PATH "/latest/meta-data/placement/region"

#define REGION_MAX 256
#define REASON_MAX 2048

/* Takes the region that a place names; NULL: it names none, missing is added to
 * reason, and the result is RESULT_NOT_FOUND. */
static enum result take_region(const char *region, const char *place,
                               const char *missing, char **out,
                               struct buf *reason)
{
    if (region == NULL) {
        buf_addf(reason, "%s %s", place, missing);
        return RESULT_NOT_FOUND;
    }
    if (aws_endpoint_is_region(region)) {
        *out = mem_dup(region);
        return RESULT_OK;
    }
    buf_addf(reason, "%s is not a valid region, such as eu-west-1", place);
    return RESULT_DENIED;
}

static enum result look_in_profiles(const struct conf *conf, char **out,
                                    struct buf *reason)
{
    struct aws_profiles *profiles;
    enum result r = aws_profiles_read(conf, &profiles, reason);
    if (r != RESULT_OK)
        return r;
    const char *name = aws_profiles_name(conf);
    const char *file = aws_profiles_config_file(profiles);
    const char *region = aws_profiles_get(profiles, name, "region");
    if (region == NULL && file == NULL) {
        buf_add_str(reason, "the user has no home directory for .aws/config");
        r = RESULT_NOT_FOUND;
    } else {
        char *place = region != NULL
                          ? mem_printf("the region of profile %s", name)
                          : mem_printf("profile %s in %s", name, file);
        r = take_region(region, place,
                        aws_profiles_has(profiles, name) ? "has no region"
                                                         : "does not exist",
                        out, reason);
        free(place);
    }
    aws_profiles_free(profiles);
    return r;
}

static enum result look_at_instance(const struct aws_source_request *request,
                                    char **out, struct buf *reason)
{
    struct buf region;
    buf_init(&region, REGION_MAX);
    enum result r = aws_imds_read(request, REGION_PATH, &region, reason);
    if (r == RESULT_OK) {
        buf_truncate(&region, strcspn(region.data, "\r\n"));
        r = take_region(region.data,
                        "the region of the instance metadata service", "", out,
                        reason);
    }
    buf_free(&region);
    return r;
}

/* The places of the configuration in order, up to the first that decides;
 * reason lists why the others did not. */
static enum result look_in_configuration(const struct conf *conf, char **out,
                                         struct buf *reason)
{
    enum result r =
        take_region(conf->aws_region, "AWS_REGION", "is not set", out, reason);
    if (r == RESULT_NOT_FOUND) {
        buf_add_str(reason, ", ");
        r = take_region(conf->aws_default_region, "AWS_DEFAULT_REGION",
                        "is not set", out, reason);
    }
    if (r == RESULT_NOT_FOUND) {
        buf_add_str(reason, ", ");
        r = look_in_profiles(conf, out, reason);
    }
    return r;
}

enum result aws_region_find(const struct aws_source_request *request,
                            char **out, struct buf *reason)
{
    struct buf list;
    buf_init(&list, REASON_MAX);
    *out = NULL;
    enum result r = look_in_configuration(request->conf, out, &list);
    if (r == RESULT_NOT_FOUND) {
        buf_add_str(&list, ", ");
        r = look_at_instance(request, out, &list);
    }
    if (r != RESULT_OK) {
        buf_addf(reason, "no region: %s", list.data);
        if (r != RESULT_UNAVAILABLE)
            buf_add_str(reason, "; set AWS_REGION to the table's");
    }
    buf_free(&list);
    return r == RESULT_NOT_FOUND ? RESULT_DENIED : r;
}

char *aws_region_configured(const struct conf *conf)
{
    char *region = NULL;
    struct buf reason;
    buf_init(&reason, REASON_MAX);
    enum result r = look_in_configuration(conf, &region, &reason);
    buf_free(&reason);
    return r == RESULT_OK ? region : NULL;
}
