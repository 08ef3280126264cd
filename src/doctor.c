#include "doctor.h"

#include <json-c/json.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "doctor_parts.h"
#include "json.h"
#include "log.h"
#include "mem.h"
#include "utf8.h"

/* Exit status where sysexits(3) has no word for it: not ready. */
#define EXIT_NOT_READY 1

static const char *const json_levels[] = {
    [REPORT_OK] = "ok", [REPORT_WARN] = "warn", [REPORT_FAIL] = "fail"};
static const char *const text_levels[] = {
    [REPORT_OK] = "ok", [REPORT_WARN] = "warn", [REPORT_FAIL] = "FAIL"};

static void print_json(const struct report *r)
{
    json_object *answer = json_object_new_object();
    json_object *checks = json_object_new_array();
    for (size_t i = 0; i < r->count; i++) {
        const struct report_line *line = &r->lines[i];
        json_object *check = json_object_new_object();
        json_add_text(check, "check", line->check);
        json_add_text(check, "status", json_levels[line->level]);
        json_add_text(check, "detail", line->detail);
        json_add_text(check, "advice", line->advice);
        json_object_array_add(checks, check);
    }
    json_object_object_add(
        answer, "ready",
        json_object_new_boolean(report_worst(r) != REPORT_FAIL));
    json_object_object_add(answer, "checks", checks);
    puts(json_text(answer));
    json_object_put(answer);
}

static void print_text(const struct report *r)
{
    unsigned counts[] = {[REPORT_OK] = 0, [REPORT_WARN] = 0, [REPORT_FAIL] = 0};
    for (size_t i = 0; i < r->count; i++) {
        const struct report_line *line = &r->lines[i];
        counts[line->level]++;
        printf("%-5s %s: %s\n", text_levels[line->level], line->check,
               line->detail);
        if (line->advice != NULL)
            printf("      -> %s\n", line->advice);
    }
    printf("%s: %u ok, %u warning%s, %u failed\n",
           counts[REPORT_FAIL] == 0 ? "ready" : "not ready", counts[REPORT_OK],
           counts[REPORT_WARN], counts[REPORT_WARN] == 1 ? "" : "s",
           counts[REPORT_FAIL]);
}

/* A configuration that cannot be used: its faults, as every verb prints them.
 */
static int report_faults(char *faults, bool json, enum result r)
{
    struct report report;
    report_init(&report);
    char *rest = NULL;
    for (char *line = strtok_r(faults, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        report_add_error(
            &report, REPORT_FAIL, "configuration",
            "correct it; `curt keys` prints the values of each key", line);
        if (!json) {
            utf8_print(stderr, line);
            fputc('\n', stderr);
        }
    }
    if (json)
        print_json(&report);
    report_free(&report);
    return r == RESULT_DENIED ? EX_NOPERM : EX_CONFIG;
}

/* The files, the pool, the store and all that uses it. Returns the exit
 * status. */
static int run_checks(struct doctor *d)
{
    const struct report *r = d->report;
    doctor_check_conf(d);
    doctor_check_dirs(d);
    doctor_check_pool(d);
    const size_t before = r->count;
    d->store = store_new(d->conf);
    store_inspect(d->store, d->report);
    for (size_t i = 0; i < r->count; i++)
        if (r->lines[i].level == REPORT_FAIL &&
            (i >= before ||
             (d->conf->store == CONF_STORE_SQLITE &&
              strcmp(r->lines[i].check, "state directory") == 0)))
            d->blamed = true;
    doctor_make_link(d);
    doctor_check_site(d);
    doctor_check_socket(d);
    doctor_check_cache(d);
    doctor_remove_link(d);
    doctor_check_hits(d);
    store_free(d->store);
    if (d->json)
        print_json(r);
    else
        print_text(r);
    if (report_worst(r) != REPORT_FAIL)
        return 0;
    return doctor_can_tell(d) ? EXIT_NOT_READY : EX_NOPERM;
}

int doctor_run(const char *file, bool json)
{
    struct conf conf;
    struct buf faults;
    struct report report;
    buf_init(&faults, CONF_FAULTS_MAX);
    const enum result r = conf_load(file, &conf, &faults);
    if (r != RESULT_OK) {
        int status = report_faults(faults.data, json, r);
        buf_free(&faults);
        return status;
    }
    buf_free(&faults);
    log_set_level(LOG_LEVEL_ERROR); /* what is found is in the lines */
    if (conf.store == CONF_STORE_DYNAMODB)
        mem_forbid_core_dumps();
    report_init(&report);
    struct doctor d = {.file = file,
                       .json = json,
                       .conf = &conf,
                       .report = &report,
                       .root = -1};
    doctor_find_pool(&d);
    doctor_check_user(&d);
    int status = doctor_run_as_user(&d, run_checks);
    report_free(&report);
    conf_free(&conf);
    return status;
}
