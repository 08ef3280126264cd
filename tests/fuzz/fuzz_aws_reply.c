/* Any bytes as DynamoDB's answer: the first one chooses the status. */
#include <json-c/json.h>
#include <string.h>

#include "aws/reply.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const long statuses[] = {200, 400, 403, 404, 429, 500, 503};
    if (size < 1)
        return 0;
    char *body = malloc(size);
    if (body == NULL)
        return 0;
    memcpy(body, data + 1, size - 1);
    body[size - 1] = '\0';
    const struct http_client_answer http = {
        .status = statuses[data[0] % (sizeof(statuses) / sizeof(statuses[0]))],
        .body = body,
        .len = size - 1};
    struct aws_reply reply;
    struct buf text;
    buf_init(&text, 4096);
    aws_reply_read(&http, NULL, &reply, &text);
    MUST((reply.result == RESULT_OK) == (reply.body != NULL));
    MUST(reply.result == RESULT_OK || text.len > 0);
    MUST(reply.result != RESULT_OK || http.status == 200);
    MUST(reply.result != RESULT_OK || reply.answered);
    for (size_t i = 0; i < text.len; i++)
        MUST((unsigned char)text.data[i] >= 0x20);
    json_object_put(reply.body);
    buf_free(&text);
    free(body);
    return 0;
}
