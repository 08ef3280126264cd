/*
 * What the sources of credentials have in common, and the environment as one.
 */
#include "aws/source.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/mem.h"
#include "base/text.h"

/* The largest document of credentials, in bytes. A session token has about a
 * thousand. */
#define DOCUMENT_MAX (1u << 20)

/* The longest token in a file, in bytes: STS takes no longer web identity. */
#define TOKEN_MAX 20000

/* The longest code of a failure that is shown, in bytes. */
#define CODE_MAX 64

void aws_found_free(struct aws_found *found)
{
    mem_free_secret(found->id);
    mem_free_secret(found->secret);
    mem_free_secret(found->token);
    free(found->where);
    *found = (struct aws_found){0};
}

bool aws_source_is_visible(const char *s)
{
    while (*s > ' ' && *s < 0x7f)
        s++;
    return *s == '\0';
}

enum result aws_found_take(struct aws_found *out, const struct aws_keys *keys,
                           int64_t expires, const char *what,
                           struct buf *reason)
{
    const char *id = keys->id != NULL ? keys->id : "";
    const char *secret = keys->secret != NULL ? keys->secret : "";
    const char *token = keys->token != NULL ? keys->token : "";
    const char *fault = NULL;
    *out = (struct aws_found){0};
    if (id[0] == '\0')
        fault = "the access key id is missing";
    else if (secret[0] == '\0')
        fault = "the secret access key is missing";
    else if (!aws_source_is_visible(id))
        fault = "the access key id contains an invalid character";
    else if (!aws_source_is_visible(secret))
        fault = "the secret access key contains an invalid character";
    else if (!aws_source_is_visible(token))
        fault = "the session token contains an invalid character";
    if (fault != NULL) {
        buf_addf(reason, "%s: %s", what, fault);
        return RESULT_DENIED;
    }
    if (expires != 0 && expires <= clock_now()) {
        char text[CLOCK_TEXT_SIZE];
        clock_text(expires, text);
        buf_addf(reason, "%s: expired at %sZ; is this host's clock right?",
                 what, text);
        return RESULT_UNAVAILABLE;
    }
    *out = (struct aws_found){
        .id = mem_dup(id),
        .secret = mem_dup(secret),
        .token = token[0] != '\0' ? mem_dup(token) : NULL,
        .expires = expires,
        .where = mem_dup(what),
    };
    return RESULT_OK;
}

/* As in the SDKs, the key id decides whether this source is configured. */
enum result aws_source_environment(const struct aws_source_request *request,
                                   struct aws_found *out, struct buf *reason)
{
    const struct conf *conf = request->conf;
    const struct aws_keys keys = {
        .id = conf->aws_access_key_id,
        .secret = conf->aws_secret_access_key,
        .token = conf->aws_session_token,
    };
    *out = (struct aws_found){0};
    if (keys.id == NULL) {
        buf_add_str(reason, "AWS_ACCESS_KEY_ID is not set");
        return RESULT_NOT_FOUND;
    }
    if (keys.secret == NULL) {
        buf_add_str(reason, "AWS_ACCESS_KEY_ID is set, but "
                            "AWS_SECRET_ACCESS_KEY is not");
        return RESULT_DENIED;
    }
    return aws_found_take(out, &keys, 0, "environment", reason);
}

/* ---- JSON -------------------------------------------------------------- */

/* The member of that name in any case, because not all services write it as
 * AWS does; NULL: it is absent or null. */
static json_object *document_member(json_object *document, const char *wanted)
{
    json_object_object_foreach(document, name, value)
    {
        if (value != NULL && strcasecmp(name, wanted) == 0)
            return value;
    }
    return NULL;
}

/* The same as text; NULL also where it is not a string, or has a NUL in it. */
static const char *document_text(json_object *document, const char *wanted)
{
    json_object *value = document_member(document, wanted);
    if (!json_object_is_type(value, json_type_string))
        return NULL;
    const char *text = json_object_get_string(value);
    return strlen(text) == (size_t)json_object_get_string_len(value) ? text
                                                                     : NULL;
}

/* Takes the credentials of an object, or the fault that it reports. */
static enum result document_take(struct aws_found *out, json_object *document,
                                 const char *what, struct buf *reason)
{
    const char *code = document_text(document, "Code");
    if (code != NULL && strcasecmp(code, "Success") != 0) {
        /* Anything else may repeat a token. */
        const size_t len = strspn(code, TEXT_UPPER TEXT_LOWER);
        if (len > 0 && len <= CODE_MAX && code[len] == '\0')
            buf_addf(reason, "%s answers with the code %s", what, code);
        else
            buf_addf(reason, "%s answers with a failure", what);
        return RESULT_DENIED;
    }
    int64_t expires = 0;
    if (document_member(document, "Expiration") != NULL) {
        const char *text = document_text(document, "Expiration");
        if (text == NULL || !clock_parse(text, &expires)) {
            buf_addf(reason, "%s: Expiration is not an RFC 3339 time", what);
            return RESULT_DENIED;
        }
        if (expires <= 0)
            expires = 1; /* long ago; 0 would mean never */
    }
    const char *token = document_text(document, "SessionToken");
    const struct aws_keys keys = {
        .id = document_text(document, "AccessKeyId"),
        .secret = document_text(document, "SecretAccessKey"),
        .token = token != NULL ? token : document_text(document, "Token"),
    };
    return aws_found_take(out, &keys, expires, what, reason);
}

enum result aws_found_read_json(struct aws_found *out, const char *text,
                                size_t len, int version, const char *what,
                                struct buf *reason)
{
    enum result r = RESULT_DENIED;
    *out = (struct aws_found){0};
    json_object *document = NULL, *found = NULL;
    if (len > DOCUMENT_MAX ||
        json_parse(text, len, JSON_LEVELS, &document) != RESULT_OK ||
        !json_object_is_type(document, json_type_object))
        buf_addf(reason, "%s is not a JSON object", what);
    else if (version != 0 &&
             ((found = document_member(document, "Version")) == NULL ||
              !json_object_is_type(found, json_type_int) ||
              json_object_get_int64(found) != version))
        buf_addf(reason, "%s does not have \"Version\": %d", what, version);
    else
        r = document_take(out, document, what, reason);
    json_object_put(document);
    return r;
}

/* ---- Files ------------------------------------------------------------- */

char *aws_found_read_file(const char *path, size_t max)
{
    /* Does not wait for a writer of a FIFO. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return NULL;
    char *bytes = mem_alloc(max + 1), *copy = NULL;
    size_t len = 0;
    ssize_t n;
    while ((n = read(fd, bytes + len, max + 1 - len)) != 0) {
        if (n < 0 && errno != EINTR)
            break;
        len += n > 0 ? (size_t)n : 0;
    }
    int fault = n < 0 ? errno : 0;
    const size_t all = len;
    if (fault == 0 && len > max)
        fault = E2BIG;
    if (fault == 0 && memchr(bytes, '\0', len) != NULL)
        fault = EILSEQ;
    while (len > 0 && strchr(" \t\r\n", bytes[len - 1]) != NULL)
        len--;
    if (fault == 0)
        copy = mem_dup_bytes(bytes, len);
    explicit_bzero(bytes, all);
    free(bytes);
    close(fd);
    errno = fault;
    return copy;
}

char *aws_found_read_token(const char *setting, const char *path,
                           struct buf *reason)
{
    char *token = aws_found_read_file(path, TOKEN_MAX);
    if (token != NULL && token[0] != '\0')
        return token;
    buf_addf(reason, "%s: %s: %s", setting, path,
             token != NULL                       ? "the file is empty"
             : errno == E2BIG || errno == EILSEQ ? "the file does not contain "
                                                   "a token"
                                                 : strerror(errno));
    mem_free_secret(token);
    return NULL;
}
