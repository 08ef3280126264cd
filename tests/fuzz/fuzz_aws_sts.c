/* aws_sts_answer_read(): the input is what STS might answer. The last line of
 * an input that has several is a secret that no message may show. */
#include <stdbool.h>
#include <string.h>

#include "aws/sts.h"
#include "base/mem.h"
#include "fuzz.h"

static bool has(const char *text, size_t len, const char *part)
{
    return memmem(text, len, part, strlen(part)) != NULL;
}

/* Whether text surely has a document type declaration: nothing in it can hide
 * the same bytes, such as a comment, or another encoding (which has NULs). */
static bool has_doctype(const char *text, size_t len)
{
    return has(text, len, "<!DOCTYPE") && !has(text, len, "<!--") &&
           !has(text, len, "<![CDATA[") && !has(text, len, "<?") &&
           memchr(text, '\0', len) == NULL;
}

static void check_message(const struct aws_sts_answer *answer,
                          const char *secret)
{
    struct buf out;
    buf_init(&out, 1000);
    aws_sts_answer_add_message(&out, answer, &secret, 1);
    MUST(!buf_failed(&out) && out.len <= 300);
    for (size_t i = 0; i < out.len; i++)
        MUST(out.data[i] >= ' ' && out.data[i] <= '~');
    if (secret[0] != '\0')
        MUST(strstr(out.data, secret) == NULL);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    /* A copy that ends where the input ends, and has a NUL there. */
    char *text = mem_dup_bytes((const char *)data, size);
    const char *end = memrchr(text, '\n', size);
    const size_t len = end != NULL ? (size_t)(end - text) : size;
    const char *secret = end != NULL ? end + 1 : "";
    struct aws_sts_answer answer;
    enum result r = aws_sts_answer_read(text, len, &answer);
    MUST(r == RESULT_OK || r == RESULT_CORRUPT);
    if (r == RESULT_OK) {
        MUST(len <= AWS_STS_ANSWER_MAX);
        MUST(answer.code != NULL || (answer.id != NULL && answer.secret &&
                                     answer.token && answer.expiration));
        MUST(!has_doctype(text, len));
        check_message(&answer, secret);
        aws_sts_answer_free(&answer);
    }
    MUST(answer.id == NULL && answer.secret == NULL && answer.token == NULL);
    MUST(answer.expiration == NULL && answer.code == NULL);
    MUST(answer.message == NULL);
    free(text);
    return 0;
}
