/*
 * Credentials from a profile of the shared files.
 *
 * What a profile says is taken in the order of botocore's chain
 * (create_credential_resolver(), ProfileProviderBuilder):
 *
 *   1. role_arn, without web_identity_token_file: STS AssumeRole with the keys
 *      of source_profile or of credential_source;
 *   2. web_identity_token_file and role_arn: STS AssumeRoleWithWebIdentity;
 *   3. keys in the credentials file;
 *   4. credential_process;
 *   5. keys in the config file.
 *
 * A source_profile begins at 2 if it has keys, so that it can be the one that
 * names it. sso_... stands between 2 and 3 there. It needs somebody who signs
 * in, so here it is passed over, and refused where nothing else is left.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "aws_endpoint.h"
#include "aws_process.h"
#include "aws_profile.h"
#include "aws_source.h"
#include "aws_sts.h"
#include "mem.h"
#include "num.h"

/* Most profiles of one chain of source_profile. */
#define CHAIN_MAX 8

/* The largest answer of a credential_process and the largest web identity
 * token, in bytes; STS takes no longer one. */
#define ANSWER_MAX (64u << 10)
#define TOKEN_MAX  20000

/* The longest duration_seconds that is a number at all. */
#define DURATION_MAX 999999

/* One question, with all profiles that it leads to. */
struct asking {
    const struct aws_source_request *request;
    const struct aws_profiles *profiles;
    const char *selected;
    struct buf *reason;
    const char *chain[CHAIN_MAX]; /* the profiles that led here */
    size_t depth;
};

static enum result profile_resolve(struct asking *a, const char *profile,
                                   struct aws_found *out) MUST_CHECK;

static const char *profile_get(const struct asking *a, const char *profile,
                               const char *setting)
{
    return aws_profiles_get(a->profiles, profile, setting);
}

/* Says what is wrong with a profile. */
static enum result profile_deny(struct asking *a, const char *profile,
                                const char *why)
{
    buf_addf(a->reason, "profile %s %s", profile, why);
    return RESULT_DENIED;
}

/* ---- Keys, a process --------------------------------------------------- */

typedef const char *getter(const struct aws_profiles *p, const char *profile,
                           const char *setting);

static enum result take_keys(struct asking *a, const char *profile,
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

static enum result ask_process(struct asking *a, const char *profile,
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
        r = aws_found_read_process(out, answer.data, answer.len, what,
                                   a->reason);
    }
    buf_wipe(&answer);
    free(what);
    return r;
}

/* ---- Roles ------------------------------------------------------------- */

static bool is_set(const char *s)
{
    return s != NULL && s[0] != '\0';
}

/* Where STS is asked for a role of a profile, as in botocore: the environment,
 * then the profile that was selected; then the one with the role. NULL: none
 * says. */
static const char *region_of(const struct asking *a, const char *profile)
{
    const struct conf *conf = a->request->conf;
    if (is_set(conf->aws_region))
        return conf->aws_region;
    if (is_set(conf->aws_default_region))
        return conf->aws_default_region;
    const char *region = profile_get(a, a->selected, "region");
    return region != NULL ? region : profile_get(a, profile, "region");
}

static enum result check_region(struct asking *a, const char *profile)
{
    const char *region = region_of(a, profile);
    if (region == NULL || aws_endpoint_is_region(region))
        return RESULT_OK;
    return profile_deny(a, profile,
                        "has a role, and the region is no name of one, such as "
                        "eu-west-1");
}

static struct aws_sts_role role_of(const struct asking *a, const char *profile)
{
    return (struct aws_sts_role){
        .arn = profile_get(a, profile, "role_arn"),
        .session = profile_get(a, profile, "role_session_name"),
        .external_id = profile_get(a, profile, "external_id"),
        .region = region_of(a, profile),
        .duration = profile_get(a, profile, "duration_seconds"),
    };
}

/* What STS said about a role: where its keys came from, or the end of reason,
 * which begins at mark with whose role it was. */
static enum result finish_role(struct asking *a, const char *profile,
                               enum result r, size_t mark,
                               struct aws_found *out)
{
    if (r != RESULT_OK)
        return r;
    buf_truncate(a->reason, mark);
    free(out->where);
    out->where = mem_printf("role %s of profile %s",
                            profile_get(a, profile, "role_arn"), profile);
    return r;
}

/* Appends whose role is asked for, and returns where that begins. */
static size_t name_profile(struct asking *a, const char *profile)
{
    size_t mark = a->reason->len;
    buf_addf(a->reason, "profile %s: ", profile);
    return mark;
}

/* Reads the token of a web identity; NULL, and reason, if there is none. */
static char *read_token(struct asking *a, const char *profile, const char *path)
{
    char *token = aws_found_read_file(path, TOKEN_MAX);
    if (token != NULL && token[0] != '\0')
        return token;
    const char *why = token != NULL     ? "it is empty"
                      : errno == E2BIG  ? "it is too large"
                      : errno == EILSEQ ? "it has a NUL byte in it"
                                        : strerror(errno);
    buf_addf(a->reason, "web_identity_token_file of profile %s: %s: %s",
             profile, path, why);
    mem_free_secret(token);
    return NULL;
}

static enum result ask_web_identity(struct asking *a, const char *profile,
                                    const char *path, struct aws_found *out)
{
    if (profile_get(a, profile, "role_arn") == NULL)
        return profile_deny(a, profile,
                            "has a web_identity_token_file and no role_arn");
    enum result r = check_region(a, profile);
    char *token = r == RESULT_OK ? read_token(a, profile, path) : NULL;
    if (token == NULL)
        return RESULT_DENIED;
    const struct aws_sts_role role = role_of(a, profile);
    size_t mark = name_profile(a, profile);
    r = aws_sts_web_identity(a->request, &role, token, out, a->reason);
    mem_free_secret(token);
    return finish_role(a, profile, r, mark, out);
}

/* The keys of credential_source. What it does not have is a fault here, since
 * the profile counts on it. */
static enum result ask_source(struct asking *a, const char *profile,
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

static bool has_keys(const struct asking *a, const char *profile)
{
    return profile_get(a, profile, "aws_access_key_id") != NULL ||
           profile_get(a, profile, "aws_secret_access_key") != NULL;
}

/* Whether source, which profile names, can be gone to. */
static enum result check_source_profile(struct asking *a, const char *profile,
                                        const char *source)
{
    if (!aws_profiles_has(a->profiles, source)) {
        buf_addf(a->reason, "the source_profile %s of profile %s is not in ",
                 source, profile);
        aws_profiles_add_places(a->profiles, a->reason);
        return RESULT_DENIED;
    }
    bool itself = strcmp(source, profile) == 0;
    if (itself && has_keys(a, source))
        return RESULT_OK;
    for (size_t i = 0; i < a->depth; i++) {
        if (strcmp(a->chain[i], source) == 0)
            return profile_deny(
                a, profile,
                itself ? "is its own source_profile and has no keys"
                       : "has a source_profile that leads back to it");
    }
    return RESULT_OK;
}

static enum result ask_source_profile(struct asking *a, const char *profile,
                                      const char *source, struct aws_found *out)
{
    enum result r = check_source_profile(a, profile, source);
    if (r == RESULT_OK)
        r = profile_resolve(a, source, out);
    return r == RESULT_NOT_FOUND ? RESULT_DENIED : r;
}

static enum result check_role(struct asking *a, const char *profile)
{
    uint64_t seconds;
    const char *duration = profile_get(a, profile, "duration_seconds");
    bool source_profile = profile_get(a, profile, "source_profile") != NULL;
    bool credential_source =
        profile_get(a, profile, "credential_source") != NULL;
    if (source_profile && credential_source)
        return profile_deny(a, profile,
                            "has both source_profile and credential_source");
    if (!source_profile && !credential_source)
        return profile_deny(
            a, profile,
            "has role_arn without source_profile, credential_source "
            "or web_identity_token_file");
    if (profile_get(a, profile, "mfa_serial") != NULL)
        return profile_deny(
            a, profile,
            "has mfa_serial, and nobody is there to type the code; "
            "use a role that can be assumed without it");
    if (duration != NULL && !num_parse(duration, DURATION_MAX, &seconds))
        return profile_deny(a, profile,
                            "has a duration_seconds that is no number");
    return check_region(a, profile);
}

static enum result ask_role(struct asking *a, const char *profile,
                            struct aws_found *out)
{
    struct aws_found source = {0};
    const char *source_profile = profile_get(a, profile, "source_profile");
    enum result r = check_role(a, profile);
    if (r != RESULT_OK)
        return r;
    if (source_profile != NULL)
        r = ask_source_profile(a, profile, source_profile, &source);
    else
        r = ask_source(a, profile, profile_get(a, profile, "credential_source"),
                       &source);
    if (r != RESULT_OK)
        return r;
    const struct aws_sts_role role = role_of(a, profile);
    const struct aws_keys keys = {source.id, source.secret, source.token};
    size_t mark = name_profile(a, profile);
    r = aws_sts_assume_role(a->request, &role, &keys, out, a->reason);
    aws_found_free(&source);
    return finish_role(a, profile, r, mark, out);
}

/* ---- Profiles ---------------------------------------------------------- */

static bool has_sso(const struct asking *a, const char *profile)
{
    return profile_get(a, profile, "sso_session") != NULL ||
           profile_get(a, profile, "sso_start_url") != NULL ||
           profile_get(a, profile, "sso_account_id") != NULL ||
           profile_get(a, profile, "sso_role_name") != NULL;
}

/* Steps 2 to 5 of the order. */
static enum result ask_itself(struct asking *a, const char *profile,
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
    if (has_sso(a, profile)) {
        buf_addf(a->reason,
                 "profile %s is for `aws sso login`, which a service cannot "
                 "do; give curt a profile with credential_process = aws "
                 "configure export-credentials --profile %s",
                 profile, profile);
        return RESULT_DENIED;
    }
    buf_addf(a->reason, "profile %s has no credentials in ", profile);
    aws_profiles_add_places(p, a->reason);
    return RESULT_NOT_FOUND;
}

static enum result profile_resolve(struct asking *a, const char *profile,
                                   struct aws_found *out)
{
    bool first = a->depth == 0;
    bool role = profile_get(a, profile, "role_arn") != NULL &&
                profile_get(a, profile, "web_identity_token_file") == NULL;
    if (!role || (!first && has_keys(a, profile)))
        return ask_itself(a, profile, out);
    if (a->depth == CHAIN_MAX)
        return profile_deny(a, profile,
                            "ends too long a chain of source_profile");
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
    struct asking a = {
        .request = request,
        .profiles = profiles,
        .selected = aws_profiles_name(request->conf),
        .reason = reason,
    };
    if (aws_profiles_has(profiles, a.selected)) {
        r = profile_resolve(&a, a.selected, out);
    } else {
        bool named = is_set(request->conf->aws_profile);
        buf_addf(reason,
                 named ? "profile %s (AWS_PROFILE) is not in "
                       : "no profile %s in ",
                 a.selected);
        aws_profiles_add_places(profiles, reason);
        r = named ? RESULT_DENIED : RESULT_NOT_FOUND;
    }
    aws_profiles_free(profiles);
    return r;
}
