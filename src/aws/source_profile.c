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
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/wait.h>
#include <unistd.h>

#include "aws/endpoint.h"
#include "aws/profile.h"
#include "aws/source.h"
#include "aws/sts.h"
#include "base/child.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"

/* Most profiles of one chain of source_profile. */
#define CHAIN_MAX 8

/* The largest answer of a credential_process, in bytes. */
#define ANSWER_MAX (64u << 10)

/* The largest duration_seconds that is sent. */
#define DURATION_MAX 999999

/* The first and the longest pause between two checks whether a process has
 * ended, in milliseconds. */
#define REST_MIN_MS 1
#define REST_MAX_MS 50

/* ---- credential_process ------------------------------------------------ */

/* Milliseconds until deadline, as poll() takes them. */
static int process_remaining(int64_t deadline)
{
    int64_t ms = deadline - clock_monotonic_ms();
    if (ms > 60000)
        return 60000;
    return ms > 0 ? (int)ms : 0;
}

/* Starts the command with output as its standard output; 0 or an error number.
 * It leads a process group, so that all it starts can be ended with it. AWS_
 * variables that are empty are not passed on: to curt they are absent, but to
 * the AWS CLI an empty AWS_CA_BUNDLE disables the verification of certificates.
 */
static int process_start(const char *command, int output, pid_t *pid)
{
    const char *const argv[] = {"sh", "-c", command, NULL};
    const int fds[] = {CHILD_NULL, output, CHILD_NULL};
    size_t count = 0, kept = 0;
    while (environ[count] != NULL)
        count++;
    char **list = mem_zalloc((count + 1) * sizeof(*list));
    for (size_t i = 0; i < count; i++) {
        const char *value = strchr(environ[i], '=');
        if (strncmp(environ[i], "AWS_", 4) != 0 || value == NULL ||
            value[1] != '\0')
            list[kept++] = environ[i];
    }
    int fault = child_start("/bin/sh", argv, list, fds, 3, true, pid);
    free(list);
    return fault;
}

/* Appends what comes out of the pipe until its end. RESULT_UNAVAILABLE: it did
 * not end in time. RESULT_DENIED: it is more than fits into out. */
static enum result process_collect(int fd, int64_t deadline, struct buf *out)
{
    char bytes[4096];
    enum result r = RESULT_UNAVAILABLE;
    int left;
    while (r == RESULT_UNAVAILABLE &&
           (left = process_remaining(deadline)) > 0) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (poll(&ready, 1, left) <= 0)
            continue;
        ssize_t n = read(fd, bytes, sizeof(bytes));
        if (n == 0)
            r = RESULT_OK;
        else if (n > 0 && (size_t)n > out->max - out->len)
            r = RESULT_DENIED;
        else if (n > 0)
            buf_add(out, bytes, (size_t)n);
        else if (errno != EINTR && errno != EAGAIN)
            break;
    }
    explicit_bzero(bytes, sizeof(bytes));
    return r;
}

/* Waits only for this process: this one's other children belong to others.
 * False: it did not end in time. Where this process was started with SIGCHLD
 * ignored, the status is not available; then it counts as 0. */
static bool process_wait(pid_t pid, int64_t deadline, int *status)
{
    int rest = REST_MIN_MS;
    *status = 0;
    for (;;) {
        pid_t ended = waitpid(pid, status, WNOHANG);
        if (ended == pid || (ended < 0 && errno != EINTR))
            return true;
        int left = process_remaining(deadline);
        if (left == 0)
            return false;
        poll(NULL, 0, rest < left ? rest : left);
        rest = rest * 2 < REST_MAX_MS ? rest * 2 : REST_MAX_MS;
    }
}

enum result aws_source_run(const char *command, int64_t deadline,
                           struct buf *out, struct buf *reason)
{
    const size_t before = out->len;
    int ends[2], status;
    pid_t pid;
    if (pipe2(ends, O_CLOEXEC) < 0) {
        buf_addf(reason, "cannot create a pipe for the command: %s",
                 strerror(errno));
        return RESULT_UNAVAILABLE;
    }
    int fault = process_start(command, ends[1], &pid);
    close(ends[1]);
    if (fault != 0) {
        close(ends[0]);
        buf_addf(reason, "cannot start /bin/sh: %s", strerror(fault));
        return RESULT_UNAVAILABLE;
    }
    enum result r = process_collect(ends[0], deadline, out);
    if (r == RESULT_OK && !process_wait(pid, deadline, &status))
        r = RESULT_UNAVAILABLE;
    if (r != RESULT_OK) {
        /* It was not waited for, so its number is still its own. */
        kill(-pid, SIGKILL);
        while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
            continue;
    }
    close(ends[0]);
    if (r == RESULT_UNAVAILABLE) {
        buf_add_str(reason, "the command did not end in time");
    } else if (r == RESULT_DENIED) {
        buf_addf(reason, "the command printed more than %zu bytes",
                 out->max - before);
    } else if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        if (WIFEXITED(status))
            buf_addf(reason, "the command ended with status %d",
                     WEXITSTATUS(status));
        else
            buf_addf(reason, "the command was ended by signal %d",
                     WTERMSIG(status));
        buf_addf(reason, "; run it as user %u to see why", (unsigned)geteuid());
        r = RESULT_DENIED;
    }
    if (r != RESULT_OK)
        buf_truncate(out, before);
    return r;
}

/* ---- The search ------------------------------------------------------ */

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

static enum result profile_deny(struct search *a, const char *profile,
                                const char *why)
{
    buf_addf(a->reason, "profile %s %s", profile, why);
    return RESULT_DENIED;
}

/* ---- Keys, a process --------------------------------------------------- */

static enum result profile_keys(struct search *a, const char *profile,
                                enum aws_profiles_file file,
                                struct aws_found *out)
{
    const struct aws_profiles *p = a->profiles;
    /* The older name of the token goes first, as in botocore. */
    const char *token =
        aws_profiles_get_from(p, file, profile, "aws_security_token");
    if (token == NULL)
        token = aws_profiles_get_from(p, file, profile, "aws_session_token");
    const struct aws_keys keys = {
        .id = aws_profiles_get_from(p, file, profile, "aws_access_key_id"),
        .secret =
            aws_profiles_get_from(p, file, profile, "aws_secret_access_key"),
        .token = token,
    };
    char *what =
        mem_printf("profile %s in %s", profile, aws_profiles_path(p, file));
    enum result r = aws_found_take(out, &keys, 0, what, a->reason);
    free(what);
    return r;
}

static enum result profile_query_process(struct search *a, const char *profile,
                                         const char *command,
                                         struct aws_found *out)
{
    struct buf answer;
    char *what = mem_printf("credential_process of profile %s", profile);
    size_t mark = a->reason->len;
    buf_init(&answer, ANSWER_MAX);
    buf_addf(a->reason, "%s: ", what);
    enum result r =
        aws_source_run(command, a->request->deadline, &answer, a->reason);
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
static enum result profile_assume_role(struct search *a, const char *profile,
                                       const char *token,
                                       const struct aws_keys *keys,
                                       struct aws_found *out)
{
    const struct conf *conf = a->request->conf;
    const char *region =
        conf->aws_region != NULL ? conf->aws_region : conf->aws_default_region;
    if (region == NULL)
        region = aws_profiles_get(a->profiles, a->selected, "region");
    if (region == NULL)
        region = aws_profiles_get(a->profiles, profile, "region");
    if (region != NULL && !aws_endpoint_is_region(region))
        return profile_deny(a, profile,
                            "has a role, but the region is not a valid name, "
                            "such as eu-west-1");
    const struct aws_sts_role role = {
        .arn = aws_profiles_get(a->profiles, profile, "role_arn"),
        .token = token,
        .session = aws_profiles_get(a->profiles, profile, "role_session_name"),
        .external_id = aws_profiles_get(a->profiles, profile, "external_id"),
        .region = region,
        .duration = aws_profiles_get(a->profiles, profile, "duration_seconds"),
    };
    const size_t mark = a->reason->len;
    buf_addf(a->reason, "profile %s: ", profile);
    enum result r =
        aws_sts_assume_role(a->request, &role, keys, out, a->reason);
    if (r == RESULT_OK) {
        buf_truncate(a->reason, mark);
        free(out->where);
        out->where = mem_printf("role %s of profile %s", role.arn, profile);
    }
    return r;
}

static enum result profile_query_web_identity(struct search *a,
                                              const char *profile,
                                              const char *path,
                                              struct aws_found *out)
{
    if (aws_profiles_get(a->profiles, profile, "role_arn") == NULL)
        return profile_deny(
            a, profile, "has a web_identity_token_file, but not a role_arn");
    char *setting =
        mem_printf("web_identity_token_file of profile %s", profile);
    char *token = aws_found_read_token(setting, path, a->reason);
    free(setting);
    if (token == NULL)
        return RESULT_DENIED;
    enum result r = profile_assume_role(a, profile, token, NULL, out);
    mem_free_secret(token);
    return r;
}

/* The credentials of credential_source, which must be configured. */
static enum result profile_query_source(struct search *a, const char *profile,
                                        const char *name, struct aws_found *out)
{
    static const struct {
        const char *name;
        aws_source *query;
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
        enum result r = sources[i].query(a->request, out, a->reason);
        if (r == RESULT_OK)
            buf_truncate(a->reason, mark);
        return r == RESULT_NOT_FOUND ? sources[i].absent : r;
    }
    return profile_deny(a, profile,
                        "has a credential_source that is not Environment, "
                        "EcsContainer or Ec2InstanceMetadata");
}

static bool profile_has_keys(const struct search *a, const char *profile)
{
    return aws_profiles_get(a->profiles, profile, "aws_access_key_id") !=
               NULL ||
           aws_profiles_get(a->profiles, profile, "aws_secret_access_key") !=
               NULL;
}

static enum result profile_query_source_profile(struct search *a,
                                                const char *profile,
                                                const char *source,
                                                struct aws_found *out)
{
    if (!aws_profiles_has(a->profiles, source)) {
        buf_addf(a->reason, "the source_profile %s of profile %s is not in ",
                 source, profile);
        aws_profiles_add_places(a->profiles, a->reason);
        return RESULT_DENIED;
    }
    const bool itself = strcmp(source, profile) == 0;
    for (size_t i = 0; i < a->depth && !(itself && profile_has_keys(a, source));
         i++) {
        if (strcmp(a->chain[i], source) == 0)
            return profile_deny(
                a, profile,
                itself ? "is its own source_profile, but does not have keys"
                       : "has a source_profile that leads back to it");
    }
    enum result r = profile_resolve(a, source, out);
    return r == RESULT_NOT_FOUND ? RESULT_DENIED : r;
}

static enum result profile_query_role(struct search *a, const char *profile,
                                      struct aws_found *out)
{
    struct aws_found source = {0};
    uint64_t seconds;
    const char *duration =
        aws_profiles_get(a->profiles, profile, "duration_seconds");
    const char *from_profile =
        aws_profiles_get(a->profiles, profile, "source_profile");
    const char *from_source =
        aws_profiles_get(a->profiles, profile, "credential_source");
    if (from_profile != NULL && from_source != NULL)
        return profile_deny(a, profile,
                            "has both source_profile and credential_source");
    if (from_profile == NULL && from_source == NULL)
        return profile_deny(a, profile,
                            "has role_arn without source_profile, "
                            "credential_source or web_identity_token_file");
    if (aws_profiles_get(a->profiles, profile, "mfa_serial") != NULL)
        return profile_deny(a, profile,
                            "has mfa_serial, but a service cannot enter the "
                            "code; use a role that can be assumed without it");
    if (duration != NULL && !text_number(duration, DURATION_MAX, &seconds))
        return profile_deny(a, profile,
                            "has a duration_seconds that is not a number");
    enum result r =
        from_profile != NULL
            ? profile_query_source_profile(a, profile, from_profile, &source)
            : profile_query_source(a, profile, from_source, &source);
    if (r != RESULT_OK)
        return r;
    const struct aws_keys keys = {source.id, source.secret, source.token};
    r = profile_assume_role(a, profile, NULL, &keys, out);
    aws_found_free(&source);
    return r;
}

/* ---- Profiles ---------------------------------------------------------- */

/* Steps 2 to 5 of the order. */
static enum result profile_query_one(struct search *a, const char *profile,
                                     struct aws_found *out)
{
    static const char id[] = "aws_access_key_id";
    const struct aws_profiles *p = a->profiles;
    const char *token_file =
        aws_profiles_get(a->profiles, profile, "web_identity_token_file");
    const char *command =
        aws_profiles_get(a->profiles, profile, "credential_process");
    if (token_file != NULL)
        return profile_query_web_identity(a, profile, token_file, out);
    if (aws_profiles_get_from(p, AWS_PROFILES_CREDENTIALS, profile, id) != NULL)
        return profile_keys(a, profile, AWS_PROFILES_CREDENTIALS, out);
    if (command != NULL)
        return profile_query_process(a, profile, command, out);
    if (aws_profiles_get_from(p, AWS_PROFILES_CONFIG, profile, id) != NULL)
        return profile_keys(a, profile, AWS_PROFILES_CONFIG, out);
    if (aws_profiles_get(a->profiles, profile, "sso_session") != NULL ||
        aws_profiles_get(a->profiles, profile, "sso_start_url") != NULL ||
        aws_profiles_get(a->profiles, profile, "sso_account_id") != NULL ||
        aws_profiles_get(a->profiles, profile, "sso_role_name") != NULL) {
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
    bool role = aws_profiles_get(a->profiles, profile, "role_arn") != NULL &&
                aws_profiles_get(a->profiles, profile,
                                 "web_identity_token_file") == NULL;
    if (!role || (!first && profile_has_keys(a, profile)))
        return profile_query_one(a, profile, out);
    if (a->depth == CHAIN_MAX)
        return profile_deny(a, profile,
                            "is at the end of a chain of source_profile that "
                            "is too long");
    a->chain[a->depth++] = profile;
    return profile_query_role(a, profile, out);
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
