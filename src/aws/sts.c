#include "aws/sts.h"

#include <expat.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "aws/endpoint.h"
#include "aws/reply.h"
#include "aws/retry.h"
#include "base/clock.h"
#include "base/mem.h"
#include "base/percent.h"
#include "base/text.h"

#define VERSION "2011-06-15"

/* One attempt, in milliseconds. STS queries the identity provider in turn. */
#define TIMEOUT 5000

/* Bytes of a request: STS takes a web identity token of 20,000 characters. */
#define FORM_MAX 131072

#define DEPTH_MAX   16
#define MESSAGE_MAX 300

/* A message that has this many bytes of a secret in a row is not shown. */
#define SECRET_PART 8

/* ---- Answers --------------------------------------------------------- */

/* The elements that matter, by the one around them. */
static const struct field {
    const char *around;
    const char *name;
    size_t offset;
} fields[] = {
    {"Credentials", "AccessKeyId", offsetof(struct aws_sts_answer, id)},
    {"Credentials", "SecretAccessKey", offsetof(struct aws_sts_answer, secret)},
    {"Credentials", "SessionToken", offsetof(struct aws_sts_answer, token)},
    {"Credentials", "Expiration", offsetof(struct aws_sts_answer, expiration)},
    {"Error", "Code", offsetof(struct aws_sts_answer, code)},
    {"Error", "Message", offsetof(struct aws_sts_answer, message)},
};

struct reader {
    XML_Parser parser;
    struct aws_sts_answer *answer;
    int depth;
    const char *around; /* of fields[], the one that is open; or NULL */
    int around_depth;
    char **value; /* where the text of the open element goes; or NULL */
    struct buf text;
    bool failed;
};

static void give_up(struct reader *r)
{
    r->failed = true;
    XML_StopParser(r->parser, XML_FALSE);
}

static void XMLCALL on_start(void *context, const char *name,
                             const char **attributes)
{
    (void)attributes;
    struct reader *r = context;
    if (r->failed)
        return;
    r->depth++;
    if (r->depth > DEPTH_MAX || r->value != NULL) {
        give_up(r);
        return;
    }
    const char *colon = strrchr(name, ':');
    name = colon != NULL ? colon + 1 : name;
    for (size_t i = 0; i < sizeof(fields) / sizeof(fields[0]); i++) {
        if (r->around == NULL && strcmp(name, fields[i].around) == 0) {
            r->around = fields[i].around;
            r->around_depth = r->depth;
            return;
        }
        if (r->around == NULL || r->depth != r->around_depth + 1 ||
            strcmp(r->around, fields[i].around) != 0 ||
            strcmp(name, fields[i].name) != 0)
            continue;
        r->value = (char **)(void *)((char *)r->answer + fields[i].offset);
        if (*r->value != NULL)
            give_up(r); /* duplicate */
        return;
    }
}

static void XMLCALL on_end(void *context, const char *name)
{
    (void)name;
    struct reader *r = context;
    if (r->failed)
        return;
    if (r->value != NULL) {
        *r->value = mem_dup_bytes(r->text.data, r->text.len);
        r->value = NULL;
        buf_reset(&r->text);
    } else if (r->around != NULL && r->depth == r->around_depth) {
        r->around = NULL;
    }
    r->depth--;
}

static void XMLCALL on_text(void *context, const char *text, int len)
{
    struct reader *r = context;
    if (r->failed || r->value == NULL)
        return;
    buf_add(&r->text, text, (size_t)len);
    if (buf_failed(&r->text))
        give_up(r);
}

static void XMLCALL on_doctype(void *context, const char *name,
                               const char *system_id, const char *public_id,
                               int internal)
{
    (void)name, (void)system_id, (void)public_id, (void)internal;
    give_up(context);
}

enum result aws_sts_answer_read(const char *xml, size_t len,
                                struct aws_sts_answer *out)
{
    *out = (struct aws_sts_answer){.id = NULL};
    if (len > AWS_STS_ANSWER_MAX)
        return RESULT_CORRUPT;
    struct reader r = {.answer = out};
    r.parser = XML_ParserCreate(NULL);
    if (r.parser == NULL)
        return RESULT_INTERNAL;
    buf_init(&r.text, AWS_STS_ANSWER_MAX);
    XML_SetUserData(r.parser, &r);
    XML_SetElementHandler(r.parser, on_start, on_end);
    XML_SetCharacterDataHandler(r.parser, on_text);
    XML_SetStartDoctypeDeclHandler(r.parser, on_doctype);
    bool ok = XML_Parse(r.parser, xml, (int)len, XML_TRUE) == XML_STATUS_OK;
    XML_ParserFree(r.parser);
    buf_free(&r.text);
    if (ok && !r.failed &&
        (out->code != NULL || (out->id != NULL && out->secret != NULL &&
                               out->token != NULL && out->expiration != NULL)))
        return RESULT_OK;
    aws_sts_answer_free(out);
    return RESULT_CORRUPT;
}

void aws_sts_answer_free(struct aws_sts_answer *answer)
{
    mem_free_secret(answer->id);
    mem_free_secret(answer->secret);
    mem_free_secret(answer->token);
    free(answer->expiration);
    free(answer->code);
    free(answer->message);
    *answer = (struct aws_sts_answer){.id = NULL};
}

void aws_sts_answer_add_message(struct buf *out,
                                const struct aws_sts_answer *answer,
                                const char *const *secrets, size_t count)
{
    const char *message = answer->message;
    if (message == NULL || answer->code == NULL ||
        strstr(answer->code, "Signature") != NULL)
        return;
    struct buf shown;
    buf_init(&shown, MESSAGE_MAX);
    for (size_t i = 0; message[i] != '\0' && i < MESSAGE_MAX; i++) {
        const char c = message[i];
        buf_add_char(&shown, c >= ' ' && c <= '~' ? c : '?');
    }
    bool secret = false;
    for (size_t i = 0; i < count && !secret; i++) {
        const size_t len = secrets[i] != NULL ? strlen(secrets[i]) : 0;
        const size_t part = len < SECRET_PART ? len : SECRET_PART;
        for (size_t at = 0; part > 0 && at + part <= len && !secret; at++)
            secret =
                memmem(shown.data, shown.len, secrets[i] + at, part) != NULL;
    }
    if (!secret)
        buf_add(out, shown.data, shown.len);
    buf_wipe(&shown);
}

/* ---- Refusals -------------------------------------------------------- */

/* How to fix what STS refuses; codes without their "Exception". */
static const struct {
    const char *code;
    const char *advice;
} refusals[] = {
    {"AccessDenied",
     "let the role's trust policy allow it, and the caller's policy where it "
     "needs one"},
    {"ExpiredToken",
     "the token or the credentials used have expired: renew them"},
    {"IDPRejectedClaim", "the identity provider must issue a new token"},
    {"InvalidClientTokenId", "the credentials used are unknown to AWS"},
    {"InvalidIdentityToken",
     "the role's account needs an identity provider for the token's issuer "
     "and audience"},
    {"RegionDisabled", "activate STS in this region in the account"},
    {"SignatureDoesNotMatch",
     "the secret key is not the one of the key id, or this host's clock is "
     "wrong"},
    {"RequestExpired", "this host's clock is wrong"},
};

/* A request, and the secrets in it. */
struct sts_call {
    const struct aws_source_request *request;
    const struct aws_sts_role *role;
    const char *action;
    const char *secrets[4]; /* some may be NULL */
};

static enum result sts_refuse(const struct sts_call *call, long status,
                              const struct aws_sts_answer *answer,
                              struct buf *reason)
{
    char code[AWS_ERROR_TYPE_SIZE];
    aws_error_type(answer->code, code);
    buf_add_str(reason, code[0] != '\0' ? code : "an error without a code");
    const size_t before = reason->len;
    buf_add_str(reason, ": ");
    const size_t begin = reason->len;
    aws_sts_answer_add_message(reason, answer, call->secrets,
                               sizeof(call->secrets) /
                                   sizeof(call->secrets[0]));
    if (reason->len == begin)
        buf_truncate(reason, before);
    for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
        const size_t len = strlen(refusals[i].code);
        if (strncmp(code, refusals[i].code, len) == 0 &&
            (code[len] == '\0' || strcmp(code + len, "Exception") == 0))
            buf_addf(reason, "; %s", refusals[i].advice);
    }
    return aws_error_is_passing(code, status) ? RESULT_UNAVAILABLE
                                              : RESULT_DENIED;
}

static bool sts_is_passing(const struct http_client_answer *http)
{
    struct aws_sts_answer answer;
    if (aws_retry_is_passing(http))
        return true;
    if (aws_sts_answer_read(http->body, http->len, &answer) != RESULT_OK)
        return http->status == 200; /* damaged on its way */
    const bool passing =
        answer.code != NULL && aws_error_is_passing(answer.code, http->status);
    aws_sts_answer_free(&answer);
    return passing;
}

static enum result sts_result(const struct sts_call *call,
                              const struct http_client_answer *http,
                              struct aws_found *out, struct buf *reason)
{
    struct aws_sts_answer answer;
    int64_t expires;
    enum result r = aws_sts_answer_read(http->body, http->len, &answer);
    if (r == RESULT_OK && answer.code != NULL) {
        r = sts_refuse(call, http->status, &answer, reason);
    } else if (r != RESULT_OK || http->status != 200) {
        buf_addf(reason, "HTTP %ld with an answer that is not from STS",
                 http->status);
        r = http->status == 200 || aws_retry_is_passing(http)
                ? RESULT_UNAVAILABLE
                : RESULT_DENIED;
        if (r == RESULT_DENIED)
            buf_add_str(reason, "; AWS_ENDPOINT_URL_STS or AWS_ENDPOINT_URL "
                                "may name another service");
    } else if (!clock_parse(answer.expiration, &expires)) {
        buf_add_str(reason, "Expiration is not a valid time");
        r = RESULT_UNAVAILABLE;
    } else {
        const struct aws_keys keys = {answer.id, answer.secret, answer.token};
        char *what = mem_printf("role %s (STS)", call->role->arn);
        r = aws_found_take(out, &keys, expires > 0 ? expires : 1, what, reason);
        free(what);
    }
    aws_sts_answer_free(&answer);
    return r;
}

/* ---- Requests -------------------------------------------------------- */

void aws_sts_session(const char *host, char session[AWS_STS_SESSION_SIZE])
{
    static const char prefix[] = "curt-";
    size_t len = sizeof(prefix) - 1;
    memcpy(session, prefix, len);
    for (; *host != '\0' && len < AWS_STS_SESSION_SIZE - 1; host++)
        session[len++] =
            strchr(TEXT_ALNUM "_+=,.@-", *host) != NULL ? *host : '-';
    session[len] = '\0';
}

/* The form of a call; wiped by the caller. Percent-encoded as a query string of
 * AWS has it (RFC 3986: a space is %20). */
static struct buf sts_form(const struct sts_call *call)
{
    const struct aws_sts_role *role = call->role;
    char host[256] = "", session[AWS_STS_SESSION_SIZE];
    if (gethostname(host, sizeof(host) - 1) != 0)
        host[0] = '\0';
    aws_sts_session(host, session);
    const struct {
        const char *name, *value;
    } parameters[] = {
        {"RoleArn", role->arn},
        {"RoleSessionName", role->session != NULL ? role->session : session},
        {"DurationSeconds", role->duration},
        {"ExternalId", role->token == NULL ? role->external_id : NULL},
        {"WebIdentityToken", role->token},
    };
    struct buf form;
    buf_init(&form, FORM_MAX);
    buf_addf(&form, "Action=%s&Version=" VERSION, call->action);
    for (size_t i = 0; i < sizeof(parameters) / sizeof(parameters[0]); i++) {
        const char *value = parameters[i].value;
        if (value == NULL)
            continue;
        buf_addf(&form, "&%s=", parameters[i].name);
        percent_encode(&form, value, strlen(value), "");
    }
    return form;
}

/* Sends the form to url, and once more with the time of STS where this host's
 * clock is off by more than a signature may be. */
static enum result sts_send(const struct sts_call *call, const char *url,
                            bool loopback, const char *form,
                            const struct aws_signing *signing,
                            struct http_client_answer *answer)
{
    struct aws_retry_call http = {
        .http = {.method = "POST",
                 .url = url,
                 .headers =
                     (const char *const[]){
                         "Content-Type: application/x-www-form-urlencoded; "
                         "charset=utf-8",
                         "Accept: text/xml", NULL},
                 .body = form,
                 .sign = aws_sign_lines,
                 .signing = signing,
                 .may_repeat = true,
                 .direct = loopback},
        .timeout = TIMEOUT,
        .attempts = AWS_RETRY_ATTEMPTS,
        .is_passing = sts_is_passing,
    };
    enum result r = aws_retry_send(call->request, &http, answer);
    if (r != RESULT_OK || signing == NULL || answer->status == 200 ||
        answer->date == 0)
        return r;
    struct aws_signing corrected = *signing;
    corrected.clock_offset = answer->date - clock_now();
    if (llabs(corrected.clock_offset) < AWS_SIGN_SKEW)
        return r;
    http.http.signing = &corrected;
    return aws_retry_send(call->request, &http, answer);
}

enum result aws_sts_assume_role(const struct aws_source_request *request,
                                const struct aws_sts_role *role,
                                const struct aws_keys *keys,
                                struct aws_found *out, struct buf *reason)
{
    const bool web = role->token != NULL;
    struct aws_signing signing = {
        .region = aws_endpoint_signing_region(role->region),
        .service = "sts",
    };
    if (!web)
        signing.keys = *keys;
    const struct sts_call call = {
        .request = request,
        .role = role,
        .action = web ? "AssumeRoleWithWebIdentity" : "AssumeRole",
        .secrets = {role->token, signing.keys.id, signing.keys.secret,
                    signing.keys.token},
    };
    struct buf form = sts_form(&call);
    char *url = aws_endpoint_sts(request->conf, role->region);
    bool loopback = false;
    enum result r = RESULT_DENIED;
    const size_t mark = reason->len;
    buf_addf(reason, "STS (%s), %s for %s: ",
             role->region != NULL ? role->region : "global", call.action,
             role->arn);
    if (buf_failed(&form)) {
        buf_add_str(reason, "the token is too large for STS");
    } else if (!http_client_check_url(url, &loopback)) {
        buf_add_str(reason, "AWS_ENDPOINT_URL_STS, or else AWS_ENDPOINT_URL, "
                            "must be an http or https URL of a host, without "
                            "user and query");
    } else {
        struct http_client_answer answer;
        r = sts_send(&call, url, loopback, form.data, web ? NULL : &signing,
                     &answer);
        if (r == RESULT_OK)
            r = sts_result(&call, &answer, out, reason);
        else
            buf_add_str(reason, http_client_error(request->http));
    }
    if (r == RESULT_OK)
        buf_truncate(reason, mark);
    buf_wipe(&form);
    free(url);
    return r;
}

/* ---- The source ------------------------------------------------------ */

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
        .token = token,
        .session = conf->aws_role_session_name,
        .region = region,
    };
    enum result r = aws_sts_assume_role(request, &role, NULL, out, reason);
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
