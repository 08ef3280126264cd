#include "aws/sts_answer.h"

#include <expat.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define DEPTH_MAX   16
#define MESSAGE_MAX 300

/* A message that has this many bytes of a secret in a row is not shown. */
#define SECRET_PART 8

/* ---- Reading an answer ------------------------------------------------ */

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

static void begin_field(struct reader *r, const char *name)
{
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
    begin_field(r, colon != NULL ? colon + 1 : name);
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

/* ---- Its message ------------------------------------------------------ */

/* Whether part of secret is in text. Both are short. */
static bool shows_part_of(const char *text, const char *secret)
{
    const size_t len = strlen(secret);
    const size_t part = len < SECRET_PART ? len : SECRET_PART;
    for (size_t i = 0; part > 0 && i + part <= len; i++) {
        if (memmem(text, strlen(text), secret + i, part) != NULL)
            return true;
    }
    return false;
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
    for (size_t i = 0; i < count && !secret; i++)
        secret = secrets[i] != NULL && shows_part_of(shown.data, secrets[i]);
    if (!secret)
        buf_add(out, shown.data, shown.len);
    buf_wipe(&shown);
}
