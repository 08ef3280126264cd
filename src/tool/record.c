/* The records of curt key and curt plan. See store.h. */
#include <json-c/json.h>

#include "tool/main.h"

/* How often a record is read and written again that another process changes at
 * the same time. */
#define RECORD_TRIES 20

enum result ctl_change_record(struct ctl *ctl, const char *key,
                              ctl_change *change, void *arg)
{
    enum result r = RESULT_CONFLICT;
    for (int i = 0; i < RECORD_TRIES && r == RESULT_CONFLICT; i++) {
        struct store_record record;
        r = store_record_get(ctl->store, key, true, 0, &record);
        if (r == RESULT_NOT_FOUND) {
            record = (struct store_record){.value = json_object_new_object(),
                                           .ttl = LINK_NEVER};
            r = RESULT_OK;
        } else if (r != RESULT_OK) {
            return r;
        }
        r = change(ctl, record.value, arg);
        if (r == RESULT_OK)
            r = store_record_put(ctl->store, key, &record, 0);
        json_object_put(record.value);
    }
    cache_forget(ctl->cache, key); /* also where the outcome is unknown */
    return r;
}

enum result ctl_names(struct ctl *ctl, const char *key, json_object *index,
                      json_object **names)
{
    if (json_object_object_length(index) == 0)
        json_object_object_add(index, "names", json_object_new_object());
    *names = json_object_object_get(index, "names");
    if (json_object_is_type(*names, json_type_object))
        return RESULT_OK;
    return store_fail(ctl->store, RESULT_CORRUPT,
                      "the record %s is not a list of names", key);
}

enum result ctl_read_names(struct ctl *ctl, const char *key,
                           struct store_record *index, json_object **names)
{
    enum result r = store_record_get(ctl->store, key, true, 0, index);
    if (r == RESULT_NOT_FOUND)
        index->value = json_object_new_object();
    if (r == RESULT_OK || r == RESULT_NOT_FOUND)
        r = ctl_names(ctl, key, index->value, names);
    else
        index->value = NULL;
    return r;
}
