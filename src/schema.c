#include "schema.h"

const char *const schema_steps[SCHEMA_VERSION] = {
    "CREATE TABLE links ("
    " short_id TEXT NOT NULL PRIMARY KEY,"
    " long_url TEXT NOT NULL,"
    " short_url TEXT NOT NULL,"
    " created_at TEXT NOT NULL,"
    " ttl INTEGER,"
    " hits INTEGER NOT NULL DEFAULT 0,"
    " analytics TEXT NOT NULL);"
    "CREATE INDEX links_ttl ON links (ttl) WHERE ttl IS NOT NULL;",

    /* The last flush of hits that the link has seen (store.h). One node will
     * do: the journal lies beside this file. */
    "ALTER TABLE links ADD COLUMN node TEXT;"
    "ALTER TABLE links ADD COLUMN seq INTEGER;",
};
