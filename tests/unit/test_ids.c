/* Short ids: their distribution, and what is none. */
#include "test.h"

#include <openssl/rand.h>

#include "link/ids.h"

#define ALPHABET                                                               \
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
#define LETTERS 62
#define DRAWS   200000

/* Quantiles of the chi-square distribution that a uniform generator passes
 * once in 10^10 runs, by degrees of freedom (upper tail 1e-10). */
#define CHI2_61_DF   159.4
#define CHI2_4_DF    52.7
#define CHI2_63_DF   162.5
#define CHI2_3843_DF 4428
/* The lower tail at 1e-10: counts that are too even are not random either. */
#define CHI2_61_DF_LOW   14.4
#define CHI2_3843_DF_LOW 3311

/* What the generator is to give next, and to fail if told so. Without either
 * it is OpenSSL's own (RAND_priv_bytes() differs from RAND_bytes() in name and
 * state alone). */
static struct {
    const unsigned char *bytes;
    size_t len;
    bool fail;
} script;

/* Stands in front of OpenSSL's. ids.c takes the bytes of a piece from its end;
 * scripted_bytes_are_taken_in_order() notices when that changes. */
int RAND_bytes(unsigned char *out, int size)
{
    if (script.fail)
        return 0;
    if (script.bytes == NULL)
        return RAND_priv_bytes(out, size);
    memset(out, 0, (size_t)size);
    assert_in_range(script.len, 1, size);
    for (size_t i = 0; i < script.len; i++)
        out[(size_t)size - 1 - i] = script.bytes[i];
    script.bytes = NULL;
    return 1;
}

static double chi_square(const size_t *counts, size_t n)
{
    size_t total = 0;
    for (size_t i = 0; i < n; i++)
        total += counts[i];
    double expected = (double)total / (double)n;
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        double difference = (double)counts[i] - expected;
        sum += difference * difference / expected;
    }
    return sum;
}

static void make(size_t min, size_t max, char id[IDS_MAX + 1])
{
    assert_int_equal(ids_make(min, max, id), RESULT_OK);
}

static size_t index_of(char c)
{
    const char *at = c != '\0' ? strchr(ALPHABET, c) : NULL;
    assert_non_null(at);
    return (size_t)(at - ALPHABET);
}

TEST(characters_are_uniform_in_each_place)
{
    static size_t places[7][LETTERS];
    char id[IDS_MAX + 1];
    for (int i = 0; i < DRAWS; i++) {
        make(7, 7, id);
        assert_int_equal(strlen(id), 7);
        for (size_t place = 0; place < 7; place++)
            places[place][index_of(id[place])]++;
    }
    for (size_t place = 0; place < 7; place++) {
        double chi2 = chi_square(places[place], LETTERS);
        if (chi2 > CHI2_61_DF || chi2 < CHI2_61_DF_LOW)
            fail_msg("place %zu: chi-square of %f", place, chi2);
    }
}

TEST(neighbours_are_independent)
{
    static size_t pairs[LETTERS * LETTERS];
    char id[IDS_MAX + 1];
    for (int i = 0; i < DRAWS / 8; i++) {
        make(64, 64, id);
        for (size_t place = 0; place + 1 < 64; place += 2)
            pairs[index_of(id[place]) * LETTERS + index_of(id[place + 1])]++;
    }
    double chi2 = chi_square(pairs, LETTERS * LETTERS);
    if (chi2 > CHI2_3843_DF || chi2 < CHI2_3843_DF_LOW)
        fail_msg("chi-square of %f", chi2);
}

TEST(lengths_are_uniform)
{
    size_t counts[5] = {0};
    char id[IDS_MAX + 1];
    for (int i = 0; i < DRAWS; i++) {
        make(5, 9, id);
        size_t len = strlen(id);
        assert_in_range(len, 5, 9);
        counts[len - 5]++;
    }
    double chi2 = chi_square(counts, 5);
    if (chi2 > CHI2_4_DF)
        fail_msg("chi-square of %f", chi2);
}

TEST(the_whole_range_of_lengths_is_uniform)
{
    static size_t counts[IDS_MAX];
    char id[IDS_MAX + 1];
    for (int i = 0; i < DRAWS; i++) {
        make(1, IDS_MAX, id);
        size_t len = strlen(id);
        assert_in_range(len, 1, IDS_MAX);
        counts[len - 1]++;
    }
    double chi2 = chi_square(counts, IDS_MAX);
    if (chi2 > CHI2_63_DF)
        fail_msg("chi-square of %f", chi2);
}

static int compare(const void *a, const void *b)
{
    return memcmp(a, b, 8);
}

TEST(seven_characters_hardly_ever_repeat)
{
    /* 62^7 ids: 2e10 / 3.5e12 repetitions are expected among 200,000; ten
     * are less likely than 1e-20. */
    static char ids[DRAWS][8];
    char id[IDS_MAX + 1];
    for (int i = 0; i < DRAWS; i++) {
        make(7, 7, id);
        memcpy(ids[i], id, 8);
    }
    qsort(ids, DRAWS, sizeof(ids[0]), compare);
    unsigned repeated = 0;
    for (int i = 1; i < DRAWS; i++)
        repeated += memcmp(ids[i - 1], ids[i], 8) == 0;
    assert_in_range(repeated, 0, 10);
}

TEST(every_single_letter_is_drawn)
{
    bool seen[LETTERS] = {false};
    char id[IDS_MAX + 1];
    for (int i = 0; i < 5000; i++) {
        make(1, 1, id);
        assert_int_equal(strlen(id), 1);
        seen[index_of(id[0])] = true;
    }
    for (size_t i = 0; i < LETTERS; i++)
        assert_true(seen[i]);
}

TEST(what_is_made_is_valid)
{
    char id[IDS_MAX + 1];
    for (int i = 0; i < 20000; i++) {
        make(4, 7, id);
        assert_true(ids_valid(id, strlen(id)));
    }
}

/* Makes an id as long as word from the bytes that lead to word. */
static void make_from(const char *word, char id[IDS_MAX + 1])
{
    unsigned char bytes[IDS_MAX + 1];
    size_t len = strlen(word);
    bytes[0] = 0; /* the length, for which there is one choice */
    for (size_t i = 0; i < len; i++)
        bytes[i + 1] = (unsigned char)index_of(word[i]);
    script.bytes = bytes;
    script.len = len + 1;
    make(len, len, id);
    assert_null(script.bytes);
    assert_int_equal(strlen(id), len);
}

TEST(scripted_bytes_are_taken_in_order)
{
    char id[IDS_MAX + 1];
    make_from("p7ISNcD", id);
    assert_string_equal(id, "p7ISNcD");
    make_from("resT", id);
    assert_string_equal(id, "resT");
    make_from("Health", id);
    assert_string_equal(id, "Health");
}

TEST(a_route_name_is_never_made)
{
    static const char *const names[] = {"rest", "create", "health", "metrics",
                                        "ui"};
    char id[IDS_MAX + 1];
    for (size_t i = 0; i < COUNT(names); i++) {
        make_from(names[i], id);
        /* The bytes behind the script are zeros: the first letter. */
        assert_int_equal(strspn(id, "A"), strlen(names[i]));
    }
}

TEST(bytes_that_would_bias_are_thrown_away)
{
    /* 248 is 4 * 62: with one byte more, some letters would come more often. */
    static const unsigned char letters[] = {0, 255, 248, 247, 249, 62, 252, 61};
    static const unsigned char lengths[] = {255, 255, 254, 1, 1, 250, 2};
    char id[IDS_MAX + 1];
    script.bytes = letters;
    script.len = sizeof(letters);
    make(3, 3, id);
    assert_string_equal(id, "9A9");
    /* 255 is 85 * 3, so 255 itself is thrown away; 254 % 3 is 2. */
    script.bytes = lengths;
    script.len = sizeof(lengths);
    make(1, 3, id);
    assert_string_equal(id, "BBC");
}

TEST(says_when_there_are_no_random_bytes)
{
    char id[IDS_MAX + 1];
    script.fail = true;
    enum result r = ids_make(7, 7, id);
    script.fail = false;
    assert_int_equal(r, RESULT_INTERNAL);
}

TEST(knows_what_is_not_an_id)
{
    static const char *const valid[] = {
        "a",       "Z",      "0",     "p7ISNcD", "Create",  "creat",
        "creates", "CREATE", "rests", "Rest",    "healthz", "metric",
        "uis",     "UI",     "a-b",   "_",       "-",       "my_link"};
    static const char *const none[] = {
        "",   "create",     "health",      "metrics",        "rest",
        "ui", "robots.txt", "favicon.ico", "yourls-api.php", ".well-known"};
    for (size_t i = 0; i < COUNT(valid); i++)
        assert_true(ids_valid(valid[i], strlen(valid[i])));
    for (size_t i = 0; i < COUNT(none); i++)
        assert_false(ids_valid(none[i], strlen(none[i])));
    for (int c = 0; c < 256; c++) {
        const char id[] = {'a', (char)c, 'b'};
        bool letter = c != 0 && strchr(ALPHABET "-_", c) != NULL;
        assert_int_equal(ids_valid(id, sizeof(id)), letter);
        assert_int_equal(ids_valid(id + 1, 1), letter);
    }
}

TEST(an_id_has_64_characters_at_most)
{
    char id[IDS_MAX + 2];
    memset(id, 'a', sizeof(id));
    assert_true(ids_valid(id, IDS_MAX));
    assert_false(ids_valid(id, IDS_MAX + 1));
    assert_false(ids_valid(id, 0));
}
