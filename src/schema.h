/* The schema of the SQLite file, as the steps that lead to it. */
#ifndef CURT_SCHEMA_H
#define CURT_SCHEMA_H

/* "curt" in PRAGMA application_id: tells the file from any other. */
#define SCHEMA_APPLICATION_ID 0x63757274

/* PRAGMA user_version of a file that is up to date. */
#define SCHEMA_VERSION 2

/* SQL that takes the schema from version i to i + 1. Steps are never changed,
 * only added. */
extern const char *const schema_steps[SCHEMA_VERSION];

#endif
