#include "doctor/doctor.h"

#include <grp.h>
#include <json-c/json.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "base/json.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/utf8.h"
#include "doctor/checks.h"

/* Exit status without a name in sysexits(3): not ready. */
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
    json_object_object_add(answer, "ready",
                           json_object_new_boolean(r->worst != REPORT_FAIL));
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
    struct report report = {0};
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

/* ---- Users ----------------------------------------------------------- */

char *doctor_user_name(uid_t user)
{
    const struct passwd *entry = getpwuid(user);
    return entry != NULL ? mem_dup(entry->pw_name)
                         : mem_printf("%lu", (unsigned long)user);
}

bool doctor_can_tell(const struct doctor *d)
{
    return geteuid() == 0 || !d->user_known || d->user == geteuid();
}

/* Root becomes the pool's user for good, with the user's groups and home, so
 * that the files, the keys and the programs that print keys are the pool's, and
 * nothing that this user wrote is acted on with root's rights. */
static void become_pool_user(struct doctor *d)
{
    const struct passwd *entry = getpwuid(d->user);
    const gid_t group = entry != NULL ? entry->pw_gid : (gid_t)d->user;
    if (!doctor_can_tell(d)) {
        char *advice =
            mem_printf("run curt doctor as root or as %s", d->user_name);
        report_add(d->report, REPORT_WARN, "user", advice,
                   "you are not %s, the owner of STATE_DIR or of the pool: not "
                   "everything can be checked",
                   d->user_name);
        free(advice);
        return;
    }
    if (geteuid() != 0 || !d->user_known || d->user == 0)
        return;
    if ((entry != NULL ? initgroups(entry->pw_name, group)
                       : setgroups(0, NULL)) < 0 ||
        setenv("HOME", entry != NULL ? entry->pw_dir : "/", 1) < 0 ||
        setresgid(group, group, group) < 0 ||
        setresuid(d->user, d->user, d->user) < 0)
        report_add(d->report, REPORT_WARN, "user",
                   "run curt doctor where root may change to other users",
                   "the checks run as root: changing to the pool's user is not "
                   "permitted here");
}

/* ---- All checks ------------------------------------------------------ */

int doctor_run(const char *file, bool json)
{
    struct conf conf;
    struct buf faults;
    struct report report = {0};
    buf_init(&faults, CONF_FAULTS_MAX);
    const enum result r = conf_load(file, &conf, &faults);
    int status = r != RESULT_OK ? report_faults(faults.data, json, r) : 0;
    buf_free(&faults);
    if (r != RESULT_OK)
        return status;
    log_set_level(LOG_LEVEL_ERROR); /* the lines report what is found */
    if (conf.store == CONF_STORE_DYNAMODB)
        mem_forbid_core_dumps();
    struct doctor d = {.file = file, .conf = &conf, .report = &report};
    doctor_find_pool(&d);
    become_pool_user(&d);
    doctor_check_conf(&d);
    doctor_check_dirs(&d);
    doctor_check_pool(&d);
    d.store = store_new(&conf);
    store_inspect(d.store, &report);
    doctor_make_link(&d);
    doctor_check_site(&d);
    doctor_check_socket(&d);
    doctor_check_cache(&d);
    doctor_remove_link(&d);
    doctor_check_hits(&d);
    store_free(d.store);
    if (json)
        print_json(&report);
    else
        print_text(&report);
    if (report.worst == REPORT_FAIL)
        status = doctor_can_tell(&d) ? EXIT_NOT_READY : EX_NOPERM;
    free(d.user_name);
    report_free(&report);
    conf_free(&conf);
    return status;
}
