/* curt edit, disable and enable, and the options that links have in common. See
 * curt(1). */
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "base/utf8.h"
#include "service/app.h"
#include "service/create.h"
#include "service/lookup.h"
#include "tool/main.h"

/* How often a link is read again that changed in between. */
#define EDIT_TRIES 8

/* The option for a member: --redirect-status, --id. */
static void edit_option_name(const char *member, char name[CTL_OPTION_SIZE])
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
        edit_option_name(member, name);
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
    edit_option_name(r->member, name);
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

/* Sets what a link does to its visitors; the reason is that of this command. */
static int edit_switch(struct ctl *ctl, const char *argument, bool disabled,
                       bool warning, const char *member, const char *done)
{
    const char *reason = ctl_option(ctl, "reason");
    const char *id = ctl_take_id(ctl, argument);
    if (id == NULL)
        return EX_DATAERR;
    if (reason != NULL && (strlen(reason) > LINK_REASON_MAX ||
                           !utf8_is_shown(reason, strlen(reason)))) {
        ctl_say(stderr,
                "curt: invalid value of --reason: expected at most %d bytes of "
                "UTF-8 without control characters",
                LINK_REASON_MAX);
        return EX_DATAERR;
    }
    struct app app = {
        .conf = &ctl->conf, .store = ctl->store, .cache = ctl->cache};
    struct link link;
    enum result r = RESULT_CONFLICT;
    link_init(&link);
    for (int i = 0; r == RESULT_CONFLICT && i < EDIT_TRIES; i++) {
        link_free(&link);
        r = store_get(ctl->store, id, STORE_WHOLE, 0, &link);
        if (r != RESULT_OK)
            break;
        link.rules.disabled = disabled;
        link.rules.warning = warning;
        link_set(&link.reason,
                 reason != NULL && reason[0] != '\0' ? reason : NULL);
        r = store_update(ctl->store, &link, 0);
    }
    link_free(&link);
    if (r == RESULT_OK || r == RESULT_UNKNOWN)
        lookup_changed(&app, id);
    if (r != RESULT_OK)
        return ctl_link_failed(ctl, id, r);
    if (ctl->json) {
        json_object *answer = json_object_new_object();
        json_object_object_add(answer, member, json_object_new_string(id));
        ctl_print_json(answer);
    } else {
        printf("%s %s\n", id, done);
    }
    return 0;
}

int ctl_disable(struct ctl *ctl, const char *argument)
{
    const bool warn = ctl_option(ctl, "warn") != NULL;
    return edit_switch(ctl, argument, !warn, warn, warn ? "warned" : "disabled",
                       warn ? "has a warning" : "is disabled");
}

int ctl_enable(struct ctl *ctl, const char *argument)
{
    return edit_switch(ctl, argument, false, false, "enabled", "is enabled");
}
