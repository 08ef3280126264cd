/*
 * What the sources of credentials have in common: taking keys over, and
 * reading the documents, moments and files that they are written in.
 */
#include "aws_source.h"

#include <errno.h>
#include <fcntl.h>
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "json.h"
#include "mem.h"

/* The largest document of credentials, in bytes. A session token has about a
 * thousand. */
#define DOCUMENT_MAX (1u << 20)

/* The longest code of a failure that is shown, in bytes. */
#define NAME_MAX_SHOWN 64

void aws_found_free(struct aws_found *found)
{
    mem_free_secret(found->id);
    mem_free_secret(found->secret);
    mem_free_secret(found->token);
    free(found->where);
    *found = (struct aws_found){0};
}

static bool is_empty(const char *s)
{
    return s == NULL || s[0] == '\0';
}

/* Whether s can stand in a header and in a signature. */
static bool is_plain(const char *s)
{
    for (; *s != '\0'; s++) {
        if (*s <= ' ' || *s >= 0x7f)
            return false;
    }
    return true;
}

enum result aws_found_take(struct aws_found *out, const struct aws_keys *keys,
                           int64_t expires, const char *what,
                           struct buf *reason)
{
    const char *token = is_empty(keys->token) ? NULL : keys->token;
    const char *fault = NULL;
    *out = (struct aws_found){0};
    if (is_empty(keys->id))
        fault = "has no access key id";
    else if (is_empty(keys->secret))
        fault = "has no secret access key";
    else if (!is_plain(keys->id))
        fault = "has a character in its access key id that no key id has";
    else if (!is_plain(keys->secret))
        fault = "has a character in its secret access key that no key has";
    else if (token != NULL && !is_plain(token))
        fault = "has a character in its session token that no token has";
    if (fault != NULL) {
        buf_addf(reason, "%s %s", what, fault);
        return RESULT_DENIED;
    }
    *out = (struct aws_found){
        .id = mem_dup(keys->id),
        .secret = mem_dup(keys->secret),
        .token = mem_dup(token),
        .expires = expires,
        .where = mem_dup(what),
    };
    return RESULT_OK;
}

/* ---- JSON -------------------------------------------------------------- */

/* The string member of that name, in any case: not all services write it as
 * AWS does. NULL: there is none, or it is no string, or has a NUL in it. */
static const char *json_member(json_object *document, const char *wanted)
{
    json_object_object_foreach(document, name, value)
    {
        if (strcasecmp(name, wanted) != 0 ||
            !json_object_is_type(value, json_type_string))
            continue;
        const char *text = json_object_get_string(value);
        if (strlen(text) == (size_t)json_object_get_string_len(value))
            return text;
    }
    return NULL;
}

/* Whether there is a member of that name with a value that is not null. */
static bool has_member(json_object *document, const char *wanted)
{
    json_object_object_foreach(document, name, value)
    {
        if (strcasecmp(name, wanted) == 0 && value != NULL)
            return true;
    }
    return false;
}

/* Whether a service's own word can be shown: letters and nothing else. What it
 * says besides may repeat what it was asked with, tokens included. */
static bool is_name(const char *s)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
                                  "abcdefghijklmnopqrstuvwxyz";
    size_t len = strspn(s, allowed);
    return len > 0 && len <= NAME_MAX_SHOWN && s[len] == '\0';
}

/* A service that has no keys may say so in a document: Code, Message. */
static bool is_refusal(json_object *document, const char *what,
                       struct buf *reason)
{
    const char *code = json_member(document, "Code");
    if (code == NULL || strcasecmp(code, "Success") == 0)
        return false;
    if (is_name(code))
        buf_addf(reason, "%s answers with the code %s", what, code);
    else
        buf_addf(reason, "%s answers with a failure", what);
    return true;
}

static enum result take_document(struct aws_found *out, json_object *document,
                                 const char *what, struct buf *reason)
{
    if (is_refusal(document, what, reason))
        return RESULT_DENIED;
    int64_t expires = 0;
    if (has_member(document, "Expiration")) {
        const char *text = json_member(document, "Expiration");
        if (text == NULL || !aws_found_read_time(text, &expires)) {
            buf_addf(reason, "%s has an Expiration that is no RFC 3339 time",
                     what);
            return RESULT_DENIED;
        }
        if (expires <= 0)
            expires = 1; /* long ago; 0 would mean never */
    }
    const char *token = json_member(document, "SessionToken");
    struct aws_keys keys = {
        .id = json_member(document, "AccessKeyId"),
        .secret = json_member(document, "SecretAccessKey"),
        .token = token != NULL ? token : json_member(document, "Token"),
    };
    return aws_found_take(out, &keys, expires, what, reason);
}

/* version: what the document's Version has to be; 0: it needs none. */
static bool has_version(json_object *document, int version)
{
    bool same = version == 0;
    json_object_object_foreach(document, name, value)
    {
        if (version != 0 && strcasecmp(name, "Version") == 0)
            same = json_object_is_type(value, json_type_int) &&
                   json_object_get_int64(value) == version;
    }
    return same;
}

static enum result read_document(struct aws_found *out, const char *text,
                                 size_t len, int version, const char *what,
                                 struct buf *reason)
{
    enum result r = RESULT_DENIED;
    *out = (struct aws_found){0};
    json_object *document = NULL;
    if (len > DOCUMENT_MAX ||
        json_parse(text, len, JSON_LEVELS, &document) != RESULT_OK ||
        !json_object_is_type(document, json_type_object))
        buf_addf(reason, "%s is no JSON object", what);
    else if (!has_version(document, version))
        buf_addf(reason, "%s has no \"Version\": %d", what, version);
    else
        r = take_document(out, document, what, reason);
    json_object_put(document);
    return r;
}

enum result aws_found_read_json(struct aws_found *out, const char *text,
                                size_t len, const char *what,
                                struct buf *reason)
{
    return read_document(out, text, len, 0, what, reason);
}

enum result aws_found_read_process(struct aws_found *out, const char *text,
                                   size_t len, const char *what,
                                   struct buf *reason)
{
    return read_document(out, text, len, 1, what, reason);
}

/* ---- Times ------------------------------------------------------------- */

/* Reads Z or +hh:mm, the end of a time, as seconds. */
static bool read_offset(const char *s, int *seconds)
{
    int hours, minutes, end = 0;
    *seconds = 0;
    if (strcasecmp(s, "Z") == 0)
        return true;
    if ((*s != '+' && *s != '-') || strspn(s + 1, "0123456789:") != 5 ||
        sscanf(s + 1, "%2d:%2d%n", &hours, &minutes, &end) != 2 || end != 5 ||
        s[6] != '\0' || hours > 23 || minutes > 59)
        return false;
    *seconds = (hours * 60 + minutes) * (*s == '-' ? -60 : 60);
    return true;
}

bool aws_found_read_time(const char *text, int64_t *out)
{
    static const char form[] = "0000-00-00?00:00:00";
    struct tm tm = {.tm_isdst = 0};
    int offset;
    for (size_t i = 0; form[i] != '\0'; i++)
        if (text[i] == '\0' ||
            strchr(form[i] == '0'   ? "0123456789"
                   : form[i] == '?' ? "Tt "
                                    : (char[]){form[i], '\0'},
                   text[i]) == NULL)
            return false;
    sscanf(text, "%4d-%2d-%2d%*c%2d:%2d:%2d", &tm.tm_year, &tm.tm_mon,
           &tm.tm_mday, &tm.tm_hour, &tm.tm_min, &tm.tm_sec);
    const char *rest = text + sizeof(form) - 1;
    if (*rest == '.') {
        const size_t digits = strspn(rest + 1, "0123456789");
        if (digits == 0)
            return false;
        rest += 1 + digits;
    }
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    const struct tm given = tm;
    const bool leap_second = tm.tm_sec == 60;
    tm.tm_sec -= leap_second;
    const time_t t = timegm(&tm);
    /* timegm() takes 2026-02-30 as 2026-03-02. */
    if (!read_offset(rest, &offset) || tm.tm_mon != given.tm_mon ||
        tm.tm_mday != given.tm_mday || tm.tm_hour != given.tm_hour ||
        tm.tm_min != given.tm_min || tm.tm_year != given.tm_year ||
        given.tm_year < -1899)
        return false;
    *out = t + leap_second - offset;
    return true;
}

/* ---- Files ------------------------------------------------------------- */

/* Reads until the end or until size bytes are there; -1 and errno if that
 * fails. */
static ssize_t read_all(int fd, char *bytes, size_t size)
{
    size_t len = 0;
    while (len < size) {
        ssize_t n = read(fd, bytes + len, size - len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        if (n == 0)
            break;
        len += (size_t)n;
    }
    return (ssize_t)len;
}

/* Makes a string of len bytes without the white space at their end; NULL and
 * errno if they are none. */
static char *trimmed_copy(const char *bytes, size_t len, size_t max)
{
    if (len > max) {
        errno = E2BIG;
        return NULL;
    }
    if (memchr(bytes, '\0', len) != NULL) {
        errno = EILSEQ;
        return NULL;
    }
    while (len > 0 && strchr(" \t\r\n", bytes[len - 1]) != NULL)
        len--;
    return mem_dup_bytes(bytes, len);
}

char *aws_found_read_file(const char *path, size_t max)
{
    /* Without waiting for who may write into a FIFO. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return NULL;
    char *bytes = mem_alloc(max + 1);
    ssize_t len = read_all(fd, bytes, max + 1);
    char *copy = len >= 0 ? trimmed_copy(bytes, (size_t)len, max) : NULL;
    int reason = errno;
    mem_wipe(bytes, len > 0 ? (size_t)len : 0);
    free(bytes);
    close(fd);
    errno = reason;
    return copy;
}
