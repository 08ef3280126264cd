/* curt edit, and the options that links have in common. See curt(1). */
#include <json-c/json.h>
#include <string.h>
#include <sysexits.h>

#include "service/app.h"
#include "service/create.h"
#include "service/lookup.h"
#include "tool/main.h"

/* The option for a member: --redirect-status, --id. */
static void name_option(const char *member, char name[CTL_OPTION_SIZE])
{
    const char *word = strcmp(member, "short_id") == 0 ? "id" : member;
    size_t i = 0;
    for (; word[i] != '\0'; i++)
        name[i] = word[i] == '_' ? '-' : word[i];
    name[i] = '\0';
}

struct json_object *ctl_link_members(const struct ctl *ctl)
{
    char name[CTL_OPTION_SIZE];
    json_object *members = json_object_new_object();
    const char *member;
    for (size_t i = 0; (member = create_member(i)) != NULL; i++) {
        name_option(member, name);
        const char *value = ctl_option(ctl, name);
        if (value != NULL && strcmp(member, "find_if_exists") == 0)
            value = "on";
        if (value != NULL)
            json_object_object_add(members, member,
                                   create_value(member, value, strlen(value)));
    }
    return members;
}

int ctl_refuse_member(const struct create_request *r)
{
    char name[CTL_OPTION_SIZE];
    name_option(r->member, name);
    ctl_say(stderr, "curt: --%s %s", name, r->reason);
    return EX_DATAERR;
}

int ctl_edit(struct ctl *ctl, const char *argument)
{
    const char *id = ctl_take_id(ctl, argument);
    if (id == NULL)
        return EX_DATAERR;
    if (ctl->option_count == 0) {
        ctl_say(stderr, "curt: edit needs an option, such as --ttl 86400; "
                        "see: curt help edit");
        return EX_USAGE;
    }
    json_object *members = ctl_link_members(ctl);
    struct app app = {
        .conf = &ctl->conf, .store = ctl->store, .cache = ctl->cache};
    const struct create_context context = {
        .conf = &ctl->conf, .store = ctl->store, .hosts = ctl->hosts};
    struct create_request r = {.result = RESULT_OK};
    link_init(&r.link);
    enum result result = store_get(ctl->store, id, STORE_WHOLE, 0, &r.link);
    if (result == RESULT_OK) {
        create_read(members, &r);
        result = create_check(&context, &r);
    }
    if (result == RESULT_OK) {
        result = store_update(ctl->store, &r.link, 0);
        if (result == RESULT_OK || result == RESULT_UNKNOWN)
            lookup_changed(&app, id);
    }
    int status = ctl_status(result);
    if (r.reason != NULL)
        status = ctl_refuse_member(&r);
    else if (result == RESULT_CONFLICT)
        ctl_say(stderr,
                "curt: %s: the link was changed by another command meanwhile; "
                "nothing was written, run this again",
                id);
    else if (result != RESULT_OK)
        status = ctl_link_failed(ctl, id, result);
    else if (ctl->json)
        status = ctl_print_link(&r.link);
    else
        printf("%s is changed\n", id);
    json_object_put(members);
    link_free(&r.link);
    return status;
}
