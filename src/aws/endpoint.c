#include "aws/endpoint.h"

#include <stdlib.h>
#include <string.h>

#include "aws/http_client.h"
#include "aws/metadata.h"
#include "aws/profile.h"
#include "base/mem.h"
#include "base/text.h"

#define LABEL_MAX 63

#define SPACE " \t\r\n"

/* The region of the endpoints without one. */
#define GLOBAL_REGION "us-east-1"

/* Bytes of a region from the metadata service; of the reason of a search. */
#define REGION_MAX 256
#define REASON_MAX 2048

/* ---- Regions --------------------------------------------------------- */

/* The SDKs' partitions.json. Each name of a partition's region is the prefix,
 * a word, '-' and a number. */
struct partition {
    const char *name;
    const char *prefix;
    const char *suffix;
    const char *dual_stack_suffix;
};

static const struct partition partitions[] = {
    {"aws-cn", "cn-", "amazonaws.com.cn", "api.amazonwebservices.com.cn"},
    {"aws-eusc", "eusc-de-", "amazonaws.eu", "api.amazonwebservices.eu"},
    {"aws-iso", "us-iso-", "c2s.ic.gov", "api.aws.ic.gov"},
    {"aws-iso-b", "us-isob-", "sc2s.sgov.gov", "api.aws.scloud"},
    {"aws-iso-e", "eu-isoe-", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk"},
    {"aws-iso-f", "us-isof-", "csp.hci.ic.gov", "api.aws.hci.ic.gov"},
    {"aws-us-gov", "us-gov-", "amazonaws.com", "api.aws"},
};

/* All other regions', unknown ones included. */
static const struct partition aws = {"aws", "", "amazonaws.com", "api.aws"};

bool aws_endpoint_is_region(const char *region)
{
    if (region == NULL)
        return false;
    const size_t len = strspn(region, TEXT_LOWER TEXT_DIGITS "-");
    return len > 0 && len <= LABEL_MAX && region[len] == '\0' &&
           region[0] != '-' && region[len - 1] != '-';
}

static bool region_is_in(const char *region, const struct partition *p)
{
    const size_t name_len = strlen(p->name);
    if (strncmp(region, p->name, name_len) == 0 &&
        strcmp(region + name_len, "-global") == 0)
        return true;
    const size_t prefix_len = strlen(p->prefix);
    if (strncmp(region, p->prefix, prefix_len) != 0)
        return false;
    const char *word = region + prefix_len;
    const char *dash = word + strspn(word, TEXT_LOWER TEXT_DIGITS);
    if (dash == word || *dash != '-')
        return false;
    const size_t digits = strspn(dash + 1, TEXT_DIGITS);
    return digits > 0 && dash[1 + digits] == '\0';
}

const char *aws_endpoint_signing_region(const char *region)
{
    return region == NULL || strcmp(region, "aws-global") == 0 ||
                   strcmp(region, "local") == 0
               ? GLOBAL_REGION
               : region;
}

char *aws_endpoint_of_region(const char *service, const char *region, bool fips,
                             bool dual_stack)
{
    if (strcmp(service, "dynamodb") == 0 && strcmp(region, "local") == 0)
        return mem_dup("http://localhost:8000/");
    if (strcmp(service, "sts") == 0 && strcmp(region, "aws-global") == 0) {
        if (!fips && !dual_stack)
            return mem_dup("https://sts.amazonaws.com/");
        region = GLOBAL_REGION;
    }
    const struct partition *p = &aws;
    for (size_t i = 0; i < sizeof(partitions) / sizeof(partitions[0]); i++) {
        if (region_is_in(region, &partitions[i]))
            p = &partitions[i];
    }
    /* In the partition that is FIPS as a whole the plain host is it. */
    if (fips && !dual_stack && strcmp(p->name, "aws-us-gov") == 0)
        fips = false;
    return mem_printf("https://%s%s.%s.%s/", service, fips ? "-fips" : "",
                      region, dual_stack ? p->dual_stack_suffix : p->suffix);
}

/* ---- The region of the table ----------------------------------------- */

/* Takes the region that a place names; NULL: it names none, missing is added to
 * reason, and the result is RESULT_NOT_FOUND. */
static enum result region_take(const char *region, const char *place,
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

/* The places of the configuration in order, up to the first that decides;
 * reason lists why the others did not. */
static enum result region_in_configuration(const struct conf *conf, char **out,
                                           struct buf *reason)
{
    struct aws_profiles *profiles;
    enum result r = region_take(conf->aws_region, "AWS_REGION", "is not set, ",
                                out, reason);
    if (r == RESULT_NOT_FOUND)
        r = region_take(conf->aws_default_region, "AWS_DEFAULT_REGION",
                        "is not set, ", out, reason);
    if (r != RESULT_NOT_FOUND)
        return r;
    r = aws_profiles_read(conf, &profiles, reason);
    if (r != RESULT_OK)
        return r;
    const char *name = aws_profiles_name(conf);
    const char *file = aws_profiles_path(profiles, AWS_PROFILES_CONFIG);
    const char *region = aws_profiles_get(profiles, name, "region");
    if (region == NULL && file == NULL) {
        buf_add_str(reason, "the user has no home directory for .aws/config");
        r = RESULT_NOT_FOUND;
    } else {
        char *place = region != NULL
                          ? mem_printf("the region of profile %s", name)
                          : mem_printf("profile %s in %s", name, file);
        r = region_take(region, place,
                        aws_profiles_has(profiles, name) ? "has no region"
                                                         : "does not exist",
                        out, reason);
        free(place);
    }
    aws_profiles_free(profiles);
    return r;
}

enum result aws_region_find(const struct aws_source_request *request,
                            char **out, struct buf *reason)
{
    struct buf list, region;
    buf_init(&list, REASON_MAX);
    buf_init(&region, REGION_MAX);
    *out = NULL;
    enum result r = region_in_configuration(request->conf, out, &list);
    if (r == RESULT_NOT_FOUND) {
        buf_add_str(&list, ", ");
        r = aws_metadata_read(request, "/latest/meta-data/placement/region",
                              &region, &list);
        if (r == RESULT_OK) {
            buf_truncate(&region, strcspn(region.data, "\r\n"));
            r = region_take(region.data,
                            "the region of the instance metadata service", "",
                            out, &list);
        }
    }
    if (r != RESULT_OK) {
        buf_addf(reason, "no region: %s", list.data);
        if (r != RESULT_UNAVAILABLE)
            buf_add_str(reason, "; set AWS_REGION to the table's");
    }
    buf_free(&region);
    buf_free(&list);
    return r == RESULT_NOT_FOUND ? RESULT_DENIED : r;
}

char *aws_region_configured(const struct conf *conf)
{
    char *region = NULL;
    struct buf reason;
    buf_init(&reason, REASON_MAX);
    enum result r = region_in_configuration(conf, &region, &reason);
    buf_free(&reason);
    return r == RESULT_OK ? region : NULL;
}

/* ---- What the configuration names ------------------------------------ */

const char *aws_endpoint_configured(const struct conf *conf)
{
    return conf->aws_endpoint_url_dynamodb != NULL
               ? conf->aws_endpoint_url_dynamodb
               : conf->aws_endpoint_url;
}

/* Takes the first URL off a list: a copy for the caller to free, with one '/'
 * at its end, or NULL for an empty one. *list is what follows the comma, or
 * NULL at the end. */
static char *take_url(const char **list)
{
    const char *first = *list;
    const char *end = first + strcspn(first, ",");
    *list = *end == ',' ? end + 1 : NULL;
    first += strspn(first, SPACE);
    while (end > first && (end[-1] == '/' || strchr(SPACE, end[-1]) != NULL))
        end--;
    if (end <= first)
        return NULL;
    const size_t len = (size_t)(end - first);
    char *url = mem_alloc(len + 2);
    memcpy(url, first, len);
    memcpy(url + len, "/", 2);
    return url;
}

char *aws_endpoint_sts(const struct conf *conf, const char *region)
{
    const char *list = conf->aws_endpoint_url_sts != NULL
                           ? conf->aws_endpoint_url_sts
                           : conf->aws_endpoint_url;
    char *url = list != NULL ? take_url(&list) : NULL;
    if (url != NULL)
        return url;
    return aws_endpoint_of_region(
        "sts", aws_endpoint_is_region(region) ? region : "aws-global",
        conf->aws_use_fips_endpoint != 0,
        conf->aws_use_dualstack_endpoint != 0);
}

/* ---- The endpoints of DynamoDB --------------------------------------- */

/* Takes url over, which may be NULL. False: it cannot be an endpoint. */
static bool endpoint_add(struct aws_endpoints *e, char *url)
{
    bool loopback = false;
    if (url == NULL || strpbrk(url, "?#") != NULL ||
        !http_client_check_url(url, &loopback)) {
        free(url);
        return false;
    }
    e->all[e->count++] =
        (struct aws_endpoint){.url = url, .loopback = loopback};
    return true;
}

enum result aws_endpoints_new(const struct conf *conf, const char *region,
                              uint64_t start, struct aws_endpoints **out,
                              struct buf *reason)
{
    struct aws_endpoints *e = mem_zalloc(sizeof(*e));
    const bool fips = conf->aws_use_fips_endpoint != 0;
    const bool dual_stack = conf->aws_use_dualstack_endpoint != 0;
    const char *list = aws_endpoint_configured(conf);
    const char *key = list == conf->aws_endpoint_url
                          ? "AWS_ENDPOINT_URL"
                          : "AWS_ENDPOINT_URL_DYNAMODB";
    bool usable = true;
    if (list != NULL && (fips || dual_stack)) {
        usable = false;
        buf_addf(reason, "%s and %s cannot be used together; unset one of them",
                 fips ? "AWS_USE_FIPS_ENDPOINT" : "AWS_USE_DUALSTACK_ENDPOINT",
                 key);
    } else if (list == NULL && region == NULL) {
        usable = false;
        buf_add_str(reason, "no region; set AWS_REGION");
    } else if (list == NULL) {
        usable = aws_endpoint_is_region(region) &&
                 endpoint_add(e, aws_endpoint_of_region("dynamodb", region,
                                                        fips, dual_stack));
        if (!usable)
            buf_add_str(reason, "invalid region name, expected e.g. eu-west-1");
    }
    while (usable && list != NULL) {
        usable = e->count < AWS_ENDPOINTS_MAX;
        if (!usable) {
            buf_addf(reason, "%s names more than %d endpoints", key,
                     AWS_ENDPOINTS_MAX);
            break;
        }
        usable = endpoint_add(e, take_url(&list));
        if (!usable)
            buf_addf(reason,
                     "%s: endpoint %zu is not an http or https URL with a "
                     "host, and without a user and a query",
                     key, e->count + 1);
    }
    *out = usable ? e : NULL;
    if (usable)
        e->next = (size_t)(start % e->count);
    else
        aws_endpoints_free(e);
    return usable ? RESULT_OK : RESULT_DENIED;
}

void aws_endpoints_free(struct aws_endpoints *e)
{
    if (e == NULL)
        return;
    for (size_t i = 0; i < e->count; i++)
        free(e->all[i].url);
    free(e);
}

size_t aws_endpoints_choose(struct aws_endpoints *e, int64_t now_ms)
{
    size_t chosen = e->next;
    for (size_t n = 0; n < e->count; n++) {
        const size_t i = (e->next + n) % e->count;
        if (!e->all[i].failed || e->all[i].until_ms <= now_ms) {
            chosen = i;
            break;
        }
        if (e->all[i].until_ms < e->all[chosen].until_ms)
            chosen = i;
    }
    e->next = (chosen + 1) % e->count;
    return chosen;
}

bool aws_endpoints_report(struct aws_endpoints *e, size_t i, int64_t now_ms,
                          bool answered)
{
    struct aws_endpoint *it = &e->all[i];
    const bool changed = it->failed == answered && e->count > 1;
    it->failed = !answered;
    it->until_ms = now_ms + AWS_ENDPOINT_ASIDE_MS;
    return changed;
}
