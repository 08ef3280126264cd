/*
 * Credentials from a profile of the shared files.
 *
 * The settings of a profile are used in the order of botocore's chain
 * (create_credential_resolver(), ProfileProviderBuilder):
 *
 *   1. role_arn, without web_identity_token_file: STS AssumeRole with the keys
 *      of source_profile or of credential_source;
 *   2. web_identity_token_file and role_arn: STS AssumeRoleWithWebIdentity;
 *   3. keys in the credentials file;
 *   4. credential_process;
 *   5. keys in the config file.
 *
 * A source_profile begins at 2 if it has keys, so that a profile can be its
 * own. sso_... is between 2 and 3 there. It needs a person who signs in, so
 * here it is skipped, and refused where there is nothing else.
 */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "aws/endpoint.h"
#include "aws/process.h"
#include "aws/profile.h"
#include "aws/source.h"
#include "aws/sts.h"
#include "base/mem.h"
#include "base/text.h"

/* Most profiles of one chain of source_profile. */
#define CHAIN_MAX 8

/* The largest answer of a credential_process, in bytes. */
#define ANSWER_MAX (64u << 10)

/* The largest duration_seconds that is sent. */
#define DURATION_MAX 999999

/* One search, with all profiles that it leads to. */
struct search {
    const struct aws_source_request *request;
    const struct aws_profiles *profiles;
    const char *selected;
    struct buf *reason;
    const char *chain[CHAIN_MAX]; /* the profiles that led here */
    size_t depth;
};

static enum result profile_resolve(struct search *a, const char *profile,
                                   struct aws_found *out) MUST_CHECK;

static const char *profile_get(const struct search *a, const char *profile,
                               const char *setting)
{
    return aws_profiles_get(a->profiles, profile, setting);
}

static enum result profile_deny(struct search *a, const char *profile,
                                const char *why)
{
    buf_addf(a->reason, "profile %s %s", profile, why);
    return RESULT_DENIED;
}

/* ---- Keys, a process --------------------------------------------------- */

typedef const char *getter(const struct aws_profiles *p, const char *profile,
                           const char *setting);

static enum result take_keys(struct search *a, const char *profile,
                             getter *get_from, const char *path,
                             struct aws_found *out)
{
    const struct aws_profiles *p = a->profiles;
    /* The older name of the token goes first, as in botocore. */
    const char *token = get_from(p, profile, "aws_security_token");
    const struct aws_keys keys = {
        .id = get_from(p, profile, "aws_access_key_id"),
        .secret = get_from(p, profile, "aws_secret_access_key"),
        .token =
            token != NULL ? token : get_from(p, profile, "aws_session_token"),
    };
    char *what = mem_printf("profile %s in %s", profile, path);
    enum result r = aws_found_take(out, &keys, 0, what, a->reason);
    free(what);
    return r;
}

static enum result ask_process(struct search *a, const char *profile,
                               const char *command, struct aws_found *out)
{
    struct buf answer;
    char *what = mem_printf("credential_process of profile %s", profile);
    size_t mark = a->reason->len;
    buf_init(&answer, ANSWER_MAX);
    buf_addf(a->reason, "%s: ", what);
    enum result r =
        aws_process_run(command, a->request->deadline, &answer, a->reason);
    if (r == RESULT_OK) {
        buf_truncate(a->reason, mark);
        r = aws_found_read_json(out, answer.data, answer.len, 1, what,
                                a->reason);
    }
    buf_wipe(&answer);
    free(what);
    return r;
}

/* ---- Roles ------------------------------------------------------------- */

/* Requests the credentials of the profile's role from STS: with a web identity
 * token, or, where that is NULL, with other credentials. The region is chosen
 * as in botocore: the environment, the selected profile, the one with the role.
 */
static enum result assume_role(struct search *a, const char *profile,
                               const char *token, const struct aws_keys *keys,
                               struct aws_found *out)
{
    const struct conf *conf = a->request->conf;
    const char *region =
        conf->aws_region != NULL ? conf->aws_region : conf->aws_default_region;
    if (region == NULL)
        region = profile_get(a, a->selected, "region");
    if (region == NULL)
        region = profile_get(a, profile, "region");
    if (region != NULL && !aws_endpoint_is_region(region))
        return profile_deny(a, profile,
                            "has a role, but the region is not a valid name, "
                            "such as eu-west-1");
    const struct aws_sts_role role = {
        .arn = profile_get(a, profile, "role_arn"),
        .session = profile_get(a, profile, "role_session_name"),
        .external_id = profile_get(a, profile, "external_id"),
        .region = region,
        .duration = profile_get(a, profile, "duration_seconds"),
    };
    const size_t mark = a->reason->len;
    buf_addf(a->reason, "profile %s: ", profile);
    enum result r =
        token != NULL
            ? aws_sts_web_identity(a->request, &role, token, out, a->reason)
            : aws_sts_assume_role(a->request, &role, keys, out, a->reason);
    if (r == RESULT_OK) {
        buf_truncate(a->reason, mark);
        free(out->where);
        out->where = mem_printf("role %s of profile %s", role.arn, profile);
    }
    return r;
}

static enum result ask_web_identity(struct search *a, const char *profile,
                                    const char *path, struct aws_found *out)
{
    if (profile_get(a, profile, "role_arn") == NULL)
        return profile_deny(
            a, profile, "has a web_identity_token_file, but not a role_arn");
    char *setting =
        mem_printf("web_identity_token_file of profile %s", profile);
    char *token = aws_found_read_token(setting, path, a->reason);
    free(setting);
    if (token == NULL)
        return RESULT_DENIED;
    enum result r = assume_role(a, profile, token, NULL, out);
    mem_free_secret(token);
    return r;
}

/* The credentials of credential_source, which must be configured. */
static enum result ask_source(struct search *a, const char *profile,
                              const char *name, struct aws_found *out)
{
    static const struct {
        const char *name;
        aws_source *ask;
        enum result absent; /* what an absent one means */
    } sources[] = {
        {"Environment", aws_source_environment, RESULT_DENIED},
        {"EcsContainer", aws_source_container, RESULT_DENIED},
        /* It may not be reachable yet. */
        {"Ec2InstanceMetadata", aws_source_instance, RESULT_UNAVAILABLE},
    };
    for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
        if (strcasecmp(sources[i].name, name) != 0)
            continue;
        size_t mark = a->reason->len;
        buf_addf(a->reason,
                 "credential_source %s of profile %s: ", sources[i].name,
                 profile);
        enum result r = sources[i].ask(a->request, out, a->reason);
        if (r == RESULT_OK)
            buf_truncate(a->reason, mark);
        return r == RESULT_NOT_FOUND ? sources[i].absent : r;
    }
    return profile_deny(a, profile,
                        "has a credential_source that is not Environment, "
                        "EcsContainer or Ec2InstanceMetadata");
}

static bool has_keys(const struct search *a, const char *profile)
{
    return profile_get(a, profile, "aws_access_key_id") != NULL ||
           profile_get(a, profile, "aws_secret_access_key") != NULL;
}

static enum result ask_source_profile(struct search *a, const char *profile,
                                      const char *source, struct aws_found *out)
{
    if (!aws_profiles_has(a->profiles, source)) {
        buf_addf(a->reason, "the source_profile %s of profile %s is not in ",
                 source, profile);
        aws_profiles_add_places(a->profiles, a->reason);
        return RESULT_DENIED;
    }
    const bool itself = strcmp(source, profile) == 0;
    for (size_t i = 0; i < a->depth && !(itself && has_keys(a, source)); i++) {
        if (strcmp(a->chain[i], source) == 0)
            return profile_deny(
                a, profile,
                itself ? "is its own source_profile, but does not have keys"
                       : "has a source_profile that leads back to it");
    }
    enum result r = profile_resolve(a, source, out);
    return r == RESULT_NOT_FOUND ? RESULT_DENIED : r;
}

/* What is wrong with the settings of a role, or NULL. */
static const char *role_fault(const struct search *a, const char *profile)
{
    uint64_t seconds;
    const char *duration = profile_get(a, profile, "duration_seconds");
    const bool source_profile =
        profile_get(a, profile, "source_profile") != NULL;
    const bool credential_source =
        profile_get(a, profile, "credential_source") != NULL;
    if (source_profile && credential_source)
        return "has both source_profile and credential_source";
    if (!source_profile && !credential_source)
        return "has role_arn without source_profile, credential_source or "
               "web_identity_token_file";
    if (profile_get(a, profile, "mfa_serial") != NULL)
        return "has mfa_serial, but a service cannot enter the code; use a "
               "role that can be assumed without it";
    if (duration != NULL && !text_number(duration, DURATION_MAX, &seconds))
        return "has a duration_seconds that is not a number";
    return NULL;
}

static enum result ask_role(struct search *a, const char *profile,
                            struct aws_found *out)
{
    struct aws_found source = {0};
    const char *source_profile = profile_get(a, profile, "source_profile");
    const char *fault = role_fault(a, profile);
    if (fault != NULL)
        return profile_deny(a, profile, fault);
    enum result r =
        source_profile != NULL
            ? ask_source_profile(a, profile, source_profile, &source)
            : ask_source(a, profile,
                         profile_get(a, profile, "credential_source"), &source);
    if (r != RESULT_OK)
        return r;
    const struct aws_keys keys = {source.id, source.secret, source.token};
    r = assume_role(a, profile, NULL, &keys, out);
    aws_found_free(&source);
    return r;
}

/* ---- Profiles ---------------------------------------------------------- */

/* Steps 2 to 5 of the order. */
static enum result ask_profile(struct search *a, const char *profile,
                               struct aws_found *out)
{
    static const char id[] = "aws_access_key_id";
    const struct aws_profiles *p = a->profiles;
    const char *token_file = profile_get(a, profile, "web_identity_token_file");
    const char *command = profile_get(a, profile, "credential_process");
    if (token_file != NULL)
        return ask_web_identity(a, profile, token_file, out);
    if (aws_profiles_get_credentials(p, profile, id) != NULL)
        return take_keys(a, profile, aws_profiles_get_credentials,
                         aws_profiles_credentials_file(p), out);
    if (command != NULL)
        return ask_process(a, profile, command, out);
    if (aws_profiles_get_config(p, profile, id) != NULL)
        return take_keys(a, profile, aws_profiles_get_config,
                         aws_profiles_config_file(p), out);
    if (profile_get(a, profile, "sso_session") != NULL ||
        profile_get(a, profile, "sso_start_url") != NULL ||
        profile_get(a, profile, "sso_account_id") != NULL ||
        profile_get(a, profile, "sso_role_name") != NULL) {
        buf_addf(a->reason,
                 "profile %s is for `aws sso login`, which a service cannot "
                 "do; give curt a profile with credential_process = aws "
                 "configure export-credentials --profile %s",
                 profile, profile);
        return RESULT_DENIED;
    }
    buf_addf(a->reason, "profile %s does not have credentials in ", profile);
    aws_profiles_add_places(p, a->reason);
    return RESULT_NOT_FOUND;
}

static enum result profile_resolve(struct search *a, const char *profile,
                                   struct aws_found *out)
{
    bool first = a->depth == 0;
    bool role = profile_get(a, profile, "role_arn") != NULL &&
                profile_get(a, profile, "web_identity_token_file") == NULL;
    if (!role || (!first && has_keys(a, profile)))
        return ask_profile(a, profile, out);
    if (a->depth == CHAIN_MAX)
        return profile_deny(a, profile,
                            "is at the end of a chain of source_profile that "
                            "is too long");
    a->chain[a->depth++] = profile;
    return ask_role(a, profile, out);
}

enum result aws_source_profile(const struct aws_source_request *request,
                               struct aws_found *out, struct buf *reason)
{
    struct aws_profiles *profiles;
    *out = (struct aws_found){0};
    enum result r = aws_profiles_read(request->conf, &profiles, reason);
    if (r != RESULT_OK)
        return r;
    struct search a = {
        .request = request,
        .profiles = profiles,
        .selected = aws_profiles_name(request->conf),
        .reason = reason,
    };
    if (aws_profiles_has(profiles, a.selected)) {
        r = profile_resolve(&a, a.selected, out);
    } else {
        const bool named = request->conf->aws_profile != NULL;
        buf_addf(reason,
                 named ? "profile %s (AWS_PROFILE) is not in "
                       : "profile %s is not in ",
                 a.selected);
        aws_profiles_add_places(profiles, reason);
        r = named ? RESULT_DENIED : RESULT_NOT_FOUND;
    }
    aws_profiles_free(profiles);
    return r;
}
