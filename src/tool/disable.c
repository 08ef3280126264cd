/* curt disable and enable. See curt(1). */
#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "base/utf8.h"
#include "service/app.h"
#include "service/lookup.h"
#include "tool/main.h"

/* How often a link is read again that somebody else changed in between. */
#define ATTEMPTS 8

/* Whether a reason can be shown to visitors. */
static bool check_reason(const char *reason)
{
    const size_t len = strlen(reason);
    bool ok = len <= LINK_REASON_MAX;
    for (size_t at = 0; ok && at < len;) {
        const uint32_t point = utf8_next(reason, len, &at);
        ok = point != UTF8_BAD && !utf8_is_control(point);
    }
    if (!ok)
        fprintf(stderr,
                "curt: invalid value of --reason: expected at most %d bytes of "
                "UTF-8 without control characters\n",
                LINK_REASON_MAX);
    return ok;
}

/* Sets what a link does to its visitors; the reason is that of this command. */
static int switch_link(struct ctl *ctl, const char *argument, bool disabled,
                       bool warning, const char *member, const char *done)
{
    const char *reason = ctl_option(ctl, "reason");
    const char *id = ctl_take_id(ctl, argument);
    if (id == NULL || (reason != NULL && !check_reason(reason)))
        return EX_DATAERR;
    struct app app = {
        .conf = &ctl->conf, .store = ctl->store, .cache = ctl->cache};
    struct link link;
    enum result r = RESULT_CONFLICT;
    link_init(&link);
    for (int i = 0; r == RESULT_CONFLICT && i < ATTEMPTS; i++) {
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
    return switch_link(ctl, argument, !warn, warn, warn ? "warned" : "disabled",
                       warn ? "has a warning" : "is disabled");
}

int ctl_enable(struct ctl *ctl, const char *argument)
{
    return switch_link(ctl, argument, false, false, "enabled", "is enabled");
}
