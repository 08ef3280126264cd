/* The store's contract where many processes work on one store. */
#include "test.h"

#include "store_contract.h"

#include <sys/wait.h>

#include "base/mem.h"

#define PROCESSES 6
#define ROUNDS    20

/* What one of the processes does with its own store and one of the ids. */
typedef enum result job(struct store *store, const char *short_id,
                        unsigned process);

/* A process: waits for the end of start, does its job on each id in turn, and
 * writes the results to home. Never returns. */
static void run_process(const struct conf *conf, job *work, unsigned process,
                        char *const ids[ROUNDS], int start, int home)
{
    enum result mine[ROUNDS];
    char none;
    if (read(start, &none, 1) != 0)
        _exit(1);
    struct store *store = store_new(conf);
    for (unsigned i = 0; i < ROUNDS; i++)
        mine[i] = work(store, ids[i], process);
    store_free(store);
    ssize_t sent = write(home, mine, sizeof(mine));
    _exit(sent == (ssize_t)sizeof(mine) ? 0 : 1);
}

/* Lets PROCESSES processes do their job at the same time. */
static void run_together(struct suite *s, job *work, char *const ids[ROUNDS],
                         enum result results[PROCESSES][ROUNDS])
{
    int start[2], home[PROCESSES][2];
    pid_t pids[PROCESSES];
    assert_int_equal(pipe(start), 0);
    for (unsigned p = 0; p < PROCESSES; p++) {
        assert_int_equal(pipe(home[p]), 0);
        pids[p] = fork();
        assert_true(pids[p] >= 0);
        if (pids[p] == 0) {
            close(start[1]);
            run_process(&s->conf, work, p, ids, start[0], home[p][1]);
        }
        close(home[p][1]);
    }
    close(start[0]);
    close(start[1]);
    for (unsigned p = 0; p < PROCESSES; p++) {
        ssize_t got = read(home[p][0], results[p], sizeof(results[p]));
        assert_int_equal(got, sizeof(results[p]));
        close(home[p][0]);
        int status;
        assert_true(waitpid(pids[p], &status, 0) == pids[p]);
        assert_int_equal(status, 0);
    }
}

static char *url_of(unsigned process)
{
    return mem_printf("https://example.com/%u", process);
}

static enum result create_own(struct store *store, const char *short_id,
                              unsigned process)
{
    char *url = url_of(process);
    struct link l = suite_new_link(mem_dup(short_id), url);
    enum result r = store_create(store, &l, 0);
    link_free(&l);
    free(url);
    return r;
}

void suite_lets_one_of_many_win(void **state)
{
    struct suite *s = *state;
    char *ids[ROUNDS];
    for (unsigned i = 0; i < ROUNDS; i++)
        ids[i] = suite_new_id(s);
    enum result results[PROCESSES][ROUNDS];
    run_together(s, create_own, ids, results);

    for (unsigned i = 0; i < ROUNDS; i++) {
        unsigned winners = 0, winner = 0;
        for (unsigned p = 0; p < PROCESSES; p++) {
            if (results[p][i] == RESULT_OK) {
                winners++;
                winner = p;
            } else {
                assert_int_equal(results[p][i], RESULT_CONFLICT);
            }
        }
        assert_int_equal(winners, 1);
        char *url = url_of(winner);
        suite_set(&s->link.short_id, ids[i]);
        suite_assert_result(s, suite_get(s, STORE_WHOLE), RESULT_OK);
        assert_string_equal(s->back.long_url, url);
        free(url);
        free(ids[i]);
    }
}

static enum result add_own_hits(struct store *store, const char *short_id,
                                unsigned process)
{
    return store_add_hits(store, short_id, process + 1, NULL, 0);
}

void suite_loses_no_hit_of_many(void **state)
{
    struct suite *s = *state;
    suite_create(s);
    char *ids[ROUNDS];
    for (unsigned i = 0; i < ROUNDS; i++)
        ids[i] = s->link.short_id;
    enum result results[PROCESSES][ROUNDS];
    run_together(s, add_own_hits, ids, results);
    for (unsigned p = 0; p < PROCESSES; p++) {
        for (unsigned i = 0; i < ROUNDS; i++) {
            assert_int_equal(results[p][i], RESULT_OK);
            s->link.hits += p + 1;
        }
    }
    suite_assert_stored(s);
}
