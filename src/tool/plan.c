/* curt plan: the usage plans of API keys (service/plans.h). See curt(1). */
#include <json-c/json.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "base/json.h"
#include "base/mem.h"
#include "service/access.h"
#include "service/plans.h"
#include "tool/main.h"

/* A name that is added to the list of plans, or removed. */
struct plan_entry {
    const char *name;
    bool add;
};

static enum result plan_list(struct ctl *ctl, json_object *index, void *arg)
{
    const struct plan_entry *entry = arg;
    json_object *names;
    const enum result r = ctl_names(ctl, PLANS_INDEX, index, &names);
    if (r == RESULT_OK && entry->add)
        json_object_object_add(names, entry->name,
                               json_object_new_boolean(true));
    else if (r == RESULT_OK)
        json_object_object_del(names, entry->name);
    return r;
}

static bool check_name(const char *name)
{
    if (!plans_is_name(name))
        ctl_say(stderr,
                "curt: plan \"%s\": expected 1 to %d letters, digits, -, _ "
                "and .",
                name, PLANS_NAME_MAX);
    return plans_is_name(name);
}

static void print_plan(const struct ctl *ctl, const char *name,
                       json_object *plan)
{
    const char *rate = json_text_at(plan, "rate");
    const char *quota = json_text_at(plan, "quota");
    if (ctl->json) {
        json_object *answer = json_object_new_object();
        json_add_text(answer, "name", name);
        json_add_text(answer, "rate", rate);
        json_add_text(answer, "quota", quota);
        ctl_print_json(answer);
    } else {
        ctl_say(stdout, "%s: rate %s, quota %s", name,
                rate != NULL ? rate : "unlimited",
                quota != NULL ? quota : "unlimited");
    }
}

/* Why a plan cannot be read or deleted; returns the exit status. */
static int plan_failed(const struct ctl *ctl, const char *name, enum result r)
{
    if (r != RESULT_NOT_FOUND)
        return ctl_store_failed(ctl, r);
    ctl_say(stderr, "curt: plan %s: no such plan; see: curt plan list", name);
    return CTL_NO;
}

int ctl_plan_show(struct ctl *ctl, const char *name)
{
    if (!check_name(name))
        return EX_DATAERR;
    char *key = mem_printf(PLANS_KEY "%s", name);
    struct store_record record;
    const enum result r = store_record_get(ctl->store, key, true, 0, &record);
    free(key);
    if (r != RESULT_OK)
        return plan_failed(ctl, name, r);
    print_plan(ctl, name, record.value);
    json_object_put(record.value);
    return 0;
}

/* Sets what the options of the command name; an empty value removes a limit.
 * arg: where the plan is kept for its caller. */
static enum result plan_change(struct ctl *ctl, json_object *plan, void *arg)
{
    static const char *const limits[] = {"rate", "quota"};
    json_object **copy = arg;
    for (size_t i = 0; i < sizeof(limits) / sizeof(limits[0]); i++) {
        const char *value = ctl_option(ctl, limits[i]);
        if (value != NULL && value[0] == '\0')
            json_object_object_del(plan, limits[i]);
        else if (value != NULL)
            json_add_text(plan, limits[i], value);
    }
    json_object_put(*copy);
    *copy = json_object_get(plan);
    return RESULT_OK;
}

int ctl_plan_set(struct ctl *ctl, const char *name)
{
    const char *rate = ctl_option(ctl, "rate");
    const char *quota = ctl_option(ctl, "quota");
    struct plan plan;
    if (!check_name(name))
        return EX_DATAERR;
    if (rate == NULL && quota == NULL) {
        fputs("curt: plan set needs --rate or --quota, such as: curt plan set "
              "basic --rate 10/1 --quota 1000/month\n",
              stderr);
        return EX_USAGE;
    }
    if (rate != NULL && rate[0] != '\0' && !conf_parse_rate(rate, &plan.rate)) {
        ctl_say(stderr,
                "curt: --rate %s: expected COUNT/SECONDS, such as 10/1: at "
                "most %d links in at most %d seconds",
                rate, CONF_RATE_MAX, CONF_RATE_SECONDS_MAX);
        return EX_USAGE;
    }
    if (quota != NULL && quota[0] != '\0' && !plans_parse_quota(quota, &plan)) {
        ctl_say(stderr,
                "curt: --quota %s: expected COUNT/day, COUNT/week or "
                "COUNT/month, such as 1000/month; COUNT is from 1 to %lld",
                quota, (long long)PLANS_QUOTA_MAX);
        return EX_USAGE;
    }
    /* In the list first: a name there without a plan is left out. */
    struct plan_entry entry = {name, true};
    char *key = mem_printf(PLANS_KEY "%s", name);
    json_object *changed = NULL;
    enum result r = ctl_change_record(ctl, PLANS_INDEX, plan_list, &entry);
    if (r == RESULT_OK)
        r = ctl_change_record(ctl, key, plan_change, &changed);
    if (r == RESULT_OK)
        print_plan(ctl, name, changed);
    json_object_put(changed);
    free(key);
    return r == RESULT_OK ? 0 : ctl_store_failed(ctl, r);
}

int ctl_plan_list(struct ctl *ctl, const char *argument)
{
    (void)argument;
    struct store_record index, record;
    json_object *names;
    enum result r = ctl_read_names(ctl, PLANS_INDEX, &index, &names);
    if (r != RESULT_OK) {
        json_object_put(index.value);
        return ctl_store_failed(ctl, r);
    }
    struct json_object_iter at;
    json_object_object_foreachC(names, at)
    {
        char *key = mem_printf(PLANS_KEY "%s", at.key);
        r = store_record_get(ctl->store, key, true, 0, &record);
        free(key);
        if (r == RESULT_OK) {
            print_plan(ctl, at.key, record.value);
            json_object_put(record.value);
        } else if (r != RESULT_NOT_FOUND) {
            break;
        }
        r = RESULT_OK;
    }
    json_object_put(index.value);
    return r == RESULT_OK ? 0 : ctl_store_failed(ctl, r);
}

/* A key that has this plan and can be used, in *user, which the caller frees;
 * NULL: there is none. */
static enum result find_user(struct ctl *ctl, const char *name, char **user)
{
    struct store_record index, record;
    json_object *names;
    enum result r = ctl_read_names(ctl, ACCESS_INDEX, &index, &names);
    *user = NULL;
    if (r != RESULT_OK) {
        json_object_put(index.value);
        return r;
    }
    struct json_object_iter at;
    json_object_object_foreachC(names, at)
    {
        /* The newest is the last. */
        json_object *digest = json_object_array_get_idx(
            at.val, json_object_array_length(at.val) - 1);
        char *key =
            mem_printf(ACCESS_RECORD "%s", json_object_get_string(digest));
        r = store_record_get(ctl->store, key, true, 0, &record);
        free(key);
        if (r == RESULT_OK) {
            const char *plan = json_text_at(record.value, "plan");
            if (plan != NULL && strcmp(plan, name) == 0 &&
                !json_object_object_get_ex(record.value, "revoked", NULL))
                *user = mem_dup(at.key);
            json_object_put(record.value);
        } else if (r == RESULT_NOT_FOUND) {
            r = RESULT_OK;
        }
        if (r != RESULT_OK || *user != NULL)
            break;
    }
    json_object_put(index.value);
    return r;
}

int ctl_plan_delete(struct ctl *ctl, const char *name)
{
    char *user;
    if (!check_name(name))
        return EX_DATAERR;
    enum result r = find_user(ctl, name, &user);
    if (user != NULL) {
        ctl_say(stderr,
                "curt: plan %s is that of key %s, which would have no limit "
                "without it; revoke the key first: curt key revoke %s",
                name, user, user);
        free(user);
        return EX_DATAERR;
    }
    char *key = mem_printf(PLANS_KEY "%s", name);
    if (r == RESULT_OK)
        r = store_purge(ctl->store, key, 0);
    cache_forget(ctl->cache, key);
    free(key);
    struct plan_entry entry = {name, false};
    if (r == RESULT_OK)
        r = ctl_change_record(ctl, PLANS_INDEX, plan_list, &entry);
    if (r != RESULT_OK)
        return plan_failed(ctl, name, r);
    if (ctl->json) {
        json_object *answer = json_object_new_object();
        json_add_text(answer, "deleted", name);
        ctl_print_json(answer);
    } else {
        printf("plan %s is deleted\n", name);
    }
    return 0;
}
