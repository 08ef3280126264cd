/* What the cases of the store's contract share. */
#ifndef CURT_STORE_CONTRACT_H
#define CURT_STORE_CONTRACT_H

#include "store/store.h"

/* The suite's state, as cmocka hands it to each case. */
struct suite {
    struct conf conf;
    struct store *store;
    char prefix[9];
    unsigned ids;
    /* For one case: a link that is not stored yet, and one to read into. */
    struct link link;
    struct link back;
};

/* A new id, to be freed. */
char *suite_new_id(struct suite *s);

/* A link with an id that it takes over, which expires in an hour. */
struct link suite_new_link(char *short_id, const char *long_url);

/* Gives one of a link's strings a copy of another value. */
void suite_set(char **string, const char *value);

/* Stores s->link, which must succeed. */
void suite_create(struct suite *s);

/* Reads the item of s->link's id into s->back. */
enum result suite_get(struct suite *s, enum store_view view);

void suite_assert_result(struct suite *s, enum result got, enum result wanted);

/* Asserts that s->link is stored as it is here. */
void suite_assert_stored(struct suite *s);

/* The cases with many processes. */
void suite_lets_one_of_many_win(void **state);
void suite_loses_no_hit_of_many(void **state);

#endif
