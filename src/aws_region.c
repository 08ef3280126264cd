#include "aws_region.h"

#include <stdlib.h>
#include <string.h>

#include "aws_endpoint.h"
#include "aws_imds.h"
#include "aws_profile.h"
#include "mem.h"

#define REGION_PATH "/latest/meta-data/placement/region"

#define REGION_MAX 256
#define REASON_MAX 2048

/* Takes what a place names over. */
static enum result take_region(const char *region, const char *place,
                               char **out, struct buf *reason)
{
    if (aws_endpoint_is_region(region)) {
        *out = mem_dup(region);
        return RESULT_OK;
    }
    buf_addf(reason, "%s is no region's name, such as eu-west-1", place);
    return RESULT_DENIED;
}

static enum result look_in_key(const char *value, const char *key, char **out,
                               struct buf *reason)
{
    if (value != NULL && value[0] != '\0')
        return take_region(value, key, out, reason);
    buf_addf(reason, "%s is not set", key);
    return RESULT_NOT_FOUND;
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
    r = RESULT_NOT_FOUND;
    if (region != NULL && region[0] != '\0') {
        char *place = mem_printf("the region of profile %s", name);
        r = take_region(region, place, out, reason);
        free(place);
    } else if (file == NULL) {
        buf_add_str(reason, "the user has no home directory for .aws/config");
    } else {
        buf_addf(reason, "profile %s in %s %s", name, file,
                 aws_profiles_has(profiles, name) ? "has no region"
                                                  : "is not there");
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
                        "the region of the instance metadata service", out,
                        reason);
    }
    buf_free(&region);
    return r;
}

/* The places that the configuration names, in order, up to the first that
 * decides; the reasons why the ones before did not are divided by ", ". */
static enum result look_in_configuration(const struct conf *conf, char **out,
                                         struct buf *reason)
{
    enum result r = look_in_key(conf->aws_region, "AWS_REGION", out, reason);
    if (r == RESULT_NOT_FOUND) {
        buf_add_str(reason, ", ");
        r = look_in_key(conf->aws_default_region, "AWS_DEFAULT_REGION", out,
                        reason);
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
