/* dynamodb_item_decode(): the input is an item as DynamoDB might send it. */
#include <json-c/json.h>
#include <string.h>

#include "base/mem.h"
#include "fuzz.h"
#include "store/dynamodb/item.h"

static bool is_equal(const char *a, const char *b)
{
    return a == NULL || b == NULL ? a == b : strcmp(a, b) == 0;
}

static void fill(char **member)
{
    if (*member == NULL)
        *member = mem_dup("");
}

/* What was read can be written, and read again as the same. */
static void check_round_trip(struct link *l)
{
    fill(&l->short_id);
    fill(&l->short_url);
    fill(&l->created_at);
    json_object *item = NULL;
    if (dynamodb_item_encode(l, &item) != RESULT_OK) {
        MUST(item == NULL);
        return;
    }
    MUST(l->analytics != NULL);
    struct link back;
    link_init(&back);
    MUST(dynamodb_item_decode(item, &back) == RESULT_OK);
    MUST(is_equal(back.long_url, l->long_url));
    MUST(is_equal(back.short_id, l->short_id));
    MUST(is_equal(back.created_at, l->created_at));
    MUST(back.ttl == l->ttl || l->ttl < 0);
    MUST(back.hits == l->hits);
    MUST(back.analytics != NULL);
    link_free(&back);
    json_object_put(item);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    json_tokener *tokener = json_tokener_new_ex(64);
    json_object *item =
        json_tokener_parse_ex(tokener, (const char *)data, (int)size);
    json_tokener_free(tokener);
    struct link l;
    link_init(&l);
    if (json_object_is_type(item, json_type_object)) {
        if (dynamodb_item_decode(item, &l) == RESULT_OK) {
            MUST(l.long_url != NULL);
            check_round_trip(&l);
        } else {
            MUST(l.long_url == NULL && l.short_id == NULL);
            MUST(l.short_url == NULL && l.created_at == NULL);
            MUST(l.analytics == NULL && l.ttl == LINK_NEVER);
        }
    }
    link_free(&l);
    json_object_put(item);
    return 0;
}
