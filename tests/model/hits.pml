/*
 * The protocol of the hit journal (src/service/hits.h), for spin.
 *
 * tests/model/run.sh checks this file in several configurations, and then
 * without one step at a time: each of those must fail. A comment that begins
 * with the name of a C function tells which step of it the next lines are;
 * run.sh checks that each function exists.
 *
 * Checked
 *
 *   every state    what was counted of a link is in the store or pending, and
 *                  no more than that (the process monitor)
 *   a kill         of a worker or janitor is possible between any two steps:
 *                  at most the hit that it was about to answer is counted and
 *                  not answered
 *   a power loss   counts nothing twice, and loses no hit that was counted
 *                  before the last flush began
 *   the end        everything is in the store, no process waits for another
 *   progress       no endless loop while faults are finite: flushes end
 *
 * Abstracted
 *
 *   - A few hits, kills and faults in all: the numbers below. One slot, so that
 *     links compete for it; a window of several is the same, slot by slot. The
 *     generation does not overflow.
 *   - A compare-and-swap, and a load or store of a word, is one step. Steps of
 *     a process are seen by the others in their order.
 *   - A lock is released when its holder dies, by the kernel. A process that
 *     cannot have a lock waits; in src it tries again later.
 *   - A sequence number is the last one plus 1: src takes the clock where that
 *     is larger.
 *   - A request that is on its way to the store is applied at any later time,
 *     also when its sender has given up or is dead, or never. That includes
 *     every fault of SQLite, where the call is the transaction. A link is not
 *     deleted, and its item is sound: otherwise its hits are dropped.
 *   - A hit without room in the journal goes to the store in one step. In src
 *     it can be lost when the store fails, with a line in the log.
 *   - The disk has a slot as it was at one moment: after the last fdatasync of
 *     the file, any. Tearing within a slot is for tests/e2e/test_power_loss.py.
 */

#ifndef HITS
#define HITS 3 /* requests in all */
#endif
#ifndef LINKS
#define LINKS 2
#endif
#ifndef WORKERS
#define WORKERS 2
#endif
#ifndef JANITORS
#define JANITORS 2
#endif
#ifndef NODES
#define NODES 1 /* journals, one after the other: 2 where the file is lost */
#endif
#ifndef KILLS
#define KILLS 1
#endif
#ifndef LOSSES
#define LOSSES 1 /* requests or answers that are lost */
#endif
#ifndef LATE
#define LATE 1 /* requests that are given up before they reach the store */
#endif
#ifndef REMOVALS
#define REMOVALS 0 /* how often janitor.lock is removed */
#endif
#ifndef POWER
#define POWER 0 /* power losses */
#endif

#define PROCESSES (WORKERS + JANITORS)
#define NOBODY 255

/* A journal: one struct hit_slot, and last_seq of the file. gen, used and count
 * are one word. */
typedef journal {
    byte gen; bit used; byte count;
    byte id;
    byte done; byte sent; byte seq;
    byte last_seq;
    bit mark /* of its page, in pages[] */
};

typedef by_link { byte at[LINKS] };

typedef request {
    bool flying;
    byte from; /* the janitor that waits for the answer, or NOBODY */
    byte link; byte n; byte node; byte seq
};

journal file[NODES];
byte current = 0; /* the file that has the name */
byte claim_lock[NODES] = NOBODY;
byte flush_lock[NODES] = NOBODY;
byte janitor_lock = NOBODY;

by_link stored[NODES]; /* by whom it was sent: the store has their sum */
by_link seen[NODES];   /* the last seq of each node, with the link */

request net[2];
mtype = { WAITING, SETTLED, FAILED };
mtype answer[PROCESSES];


/* A kill is a rendezvous: it happens in one step. */
chan kill[PROCESSES] = [0] of { bit };
byte running = (1 << PROCESSES) - 1; /* workers and janitors, by bit */
#define BIT (1 << me)
#define WORKERS_RUN ((running & ((1 << WORKERS) - 1)) != 0)

byte requests = HITS, losses = LOSSES, late = LATE;
byte removals = REMOVALS;
bool dark = false; /* the power is off */
bit other_boot = 0; /* than that in the journal: no mark counts */
byte hurt = 0; /* workers that were killed */

by_link counted[NODES];
byte answered[LINKS];

#define S file[j]

/* next_slot(): whether a flush looks at the slot. */
#define VISIBLE(f) (f.used && (f.mark || other_boot))

/* What of a link the store does not have yet. A request that was applied and
 * whose answer is not known is in the store. */
#define PENDING(f, node, l)                                                    \
    ((f.used && f.id == l)                                                     \
         -> f.count - ((f.sent > f.done && seen[node].at[l] == f.seq)          \
                           -> f.sent : f.done)                                 \
         : 0)

#ifdef BROKEN /* a step is missing: only what the store has counts */
#define EXACT(node, l) (stored[node].at[l] <= counted[node].at[l])
#else
#define EXACT(node, l)                                                         \
    (counted[node].at[l] ==                                                    \
     stored[node].at[l] + PENDING(file[node], node, l))
#endif

#if POWER
journal disk;
byte begun[LINKS]; /* counted before the last flush that wrote down began */
byte writebacks = 1;

#ifdef SQLITE
by_link kept, kept_seen; /* what a power loss leaves of the store */
byte syncs = 1;

/* sqlite_create(): make_durable(), or a checkpoint: at any time. Again only the
 * last one matters. */
active proctype database() {
end:
    d_step {
        syncs > 0;
        syncs--;
        kept.at[0] = stored[0].at[0];
        kept.at[LINKS - 1] = stored[0].at[LINKS - 1];
        kept_seen.at[0] = seen[0].at[0];
        kept_seen.at[LINKS - 1] = seen[0].at[LINKS - 1]
    }
}
#endif

inline write_disk() {
    disk.gen = file[0].gen; disk.used = file[0].used;
    disk.count = file[0].count; disk.id = file[0].id;
    disk.done = file[0].done; disk.sent = file[0].sent;
    disk.seq = file[0].seq; disk.last_seq = file[0].last_seq
}

inline read_disk() {
    file[0].gen = disk.gen; file[0].used = disk.used;
    file[0].count = disk.count; file[0].id = disk.id;
    file[0].done = disk.done; file[0].sent = disk.sent;
    file[0].seq = disk.seq; file[0].last_seq = disk.last_seq;
    file[0].mark = 0 /* it can be lost */
}

/* What the disks have becomes what there is. */
inline lose_memory(l, was) {
    read_disk();
#ifndef SAME_BOOT
    other_boot = 1;
#endif
#ifdef SQLITE /* no request is on its way */
    net[0].flying = false;
    net[1].flying = false;
#endif
    do
    :: l < LINKS ->
#ifdef SQLITE
        was = stored[0].at[l] - kept.at[l];
        stored[0].at[l] = kept.at[l];
        seen[0].at[l] = kept_seen.at[l];
#endif
        assert(stored[0].at[l] + PENDING(file[0], 0, l) <= counted[0].at[l]);
        assert(stored[0].at[l] + PENDING(file[0], 0, l) + was >= begun[l]);
        counted[0].at[l] = stored[0].at[l] + PENDING(file[0], 0, l);
        l++
    :: else -> break
    od;
    l = 0; was = 0
}

/* The kernel writes a page whenever it likes. Only the last time before a power
 * loss matters. */
active proctype kernel() {
end:
    atomic { writebacks > 0; writebacks--; write_disk() }
}
#endif

/* ---- Workers ----------------------------------------------------------- */

/* find_slot(): reads the word, before the id. */
inline read_word() {
    gen = S.gen; used = S.used; count = S.count
}

/* add_one(): one compare-and-swap; again as long as the slot is not freed. */
#ifdef NO_GENERATION
#define SAME_LIFE (S.used == used)
#else
#define SAME_LIFE (S.used == used && S.gen == gen)
#endif
#define ADD_ONE(added, freed)                                                  \
    do                                                                         \
    :: atomic { SAME_LIFE && S.count == count ->                               \
                S.count++; counted[j].at[l]++; goto added }                    \
    :: atomic { SAME_LIFE && S.count != count -> count = S.count }             \
    :: atomic { !SAME_LIFE -> goto freed }                                     \
    od

inline forget_request() {
    busy = false; gen = 0; count = 0; used = 0; l = 0
}

proctype worker(byte me) {
    byte j, l, gen, count;
    bit used;
    bool busy;
start:
    {
        /* open_store(): hits_open() */
        atomic { !dark; j = current };
next:
        /* hits_count(): find_slot() */
        atomic {
            if
            :: requests > 0 ->
                requests--;
                busy = true;
                if :: l = 0 :: LINKS > 1 -> l = LINKS - 1 fi;
#ifdef ANSWER_FIRST
                answered[l]++;
#endif
                read_word()
            :: requests == 0 -> goto ended
            fi
        };
        atomic { if :: used && S.id == l :: else -> goto claim fi };
        ADD_ONE(reply, claim);

claim:
        /* claim_slot(): mapfile_lock(), and find_slot() again */
#ifdef NO_CLAIM_LOCK
        atomic { read_word() };
#else
        atomic { claim_lock[j] == NOBODY; claim_lock[j] = me; read_word() };
#endif
        atomic { if :: used && S.id == l :: else -> goto free fi };
        ADD_ONE(unlock, again);
again:
        atomic { read_word() };
        atomic { if :: used && S.id == l -> goto no_room :: else fi };
free:
        /* claim_slot(): a free one; its word is written last */
        atomic { read_word(); if :: used -> goto no_room :: else fi };
#ifndef MARK_LAST
        S.mark = 1; /* mark_page() */
#endif
#ifdef WORD_FIRST
        d_step { S.gen = gen + 1; S.used = 1; S.count = 1;
                 counted[j].at[l]++ };
#endif
        S.id = l;
        d_step { S.done = 0; S.sent = 0 };
#ifndef WORD_FIRST
        d_step { S.gen = gen + 1; S.used = 1; S.count = 1;
                 counted[j].at[l]++ };
#endif
#ifdef MARK_LAST
        S.mark = 1;
#endif
        goto unlock;
no_room:
        /* count_hit(): store_add_hits() without a flush */
        atomic { counted[j].at[l]++; stored[j].at[l]++ };
unlock:
        /* claim_slot(): mapfile_unlock() */
        atomic {
            if :: claim_lock[j] == me -> claim_lock[j] = NOBODY :: else fi };
reply:
        /* answer_request(): fcgi_finish(), after the hit was counted */
        atomic {
#ifndef ANSWER_FIRST
            answered[l]++;
#endif
            forget_request() };
        goto next;
ended:
        atomic { !dark; running = running - BIT }
    } unless {
        atomic {
            kill[me] ? _;
            if :: claim_lock[j] == me -> claim_lock[j] = NOBODY :: else fi;
            if :: busy -> hurt++ :: else fi;
            forget_request();
            goto start
        }
    }
}

/* ---- The janitor ------------------------------------------------------- */

/* Nobody waits for the answers any more. */
inline forget_answers() {
    if :: net[0].from == me -> net[0].from = NOBODY :: else fi;
    if :: net[1].from == me -> net[1].from = NOBODY :: else fi
}

inline unlock_all() {
    if :: flush_lock[j] == me -> flush_lock[j] = NOBODY :: else fi;
    if :: janitor_lock == me -> janitor_lock = NOBODY :: else fi
}

/* send_slot(): store_add_hits() with what is written down */
inline send_slot_() {
    if
    :: !net[0].flying -> n = 0
    :: net[0].flying && !net[1].flying -> n = 1
    fi;
    net[n].flying = true; net[n].from = me; net[n].node = j;
    net[n].link = S.id;
#ifdef NO_WRITE_DOWN
    count = S.count;
    S.last_seq++;
    net[n].seq = S.last_seq;
#else
    count = S.sent;
    net[n].seq = S.seq;
#endif
    net[n].n = count - S.done;
    answer[me] = WAITING
}

inline forget_flush() {
    n = 0; count = 0; gen = 0; used = 0; answer[me] = 0;
#if POWER
    first = 0; last = 0
#endif
}

proctype janitor(byte me) {
    byte j, n, count, gen;
    bit used;
#if POWER
    byte first, last;
#endif
start:
    {
        /* janitor_run(): lock_take(); begin_work(): hits_open() */
        atomic {
            !dark;
            if
            :: janitor_lock == NOBODY && (WORKERS_RUN || VISIBLE(file[current])) ->
                janitor_lock = me; j = current
            :: !WORKERS_RUN && !VISIBLE(file[current]) -> goto ended
            fi
        };
work:
        /* janitor_work(): lock_is_valid(); flush_hits() */
        atomic {
            if
            :: janitor_lock != me -> goto close
            :: janitor_lock == me && !WORKERS_RUN && !VISIBLE(S) -> goto close
            :: janitor_lock == me && VISIBLE(S)
            fi
        };
        /* hits_begin_flush(): until hits_close(), one at a time */
#ifndef NO_LOCK
        atomic { flush_lock[j] == NOBODY || flush_lock[j] == me;
                 flush_lock[j] = me };
#endif
        /* hits_begin_flush(): after a boot, mark_page() of what is in use */
        atomic { if :: other_boot && S.used -> S.mark = 1 :: else fi };
        atomic { if :: !VISIBLE(S) -> goto flushed :: else fi };
        /* hits_begin_flush(): prepare_slot() */
        atomic {
            read_word();
#if POWER
            first = counted[0].at[0];
            last = counted[0].at[LINKS - 1];
#endif
            other_boot = 0; /* when it has looked at all slots */
            if
            :: !used -> goto flushed
            :: used && count == S.done && S.sent == S.done -> goto idle
#ifdef NO_WRITE_DOWN
            :: used && count != S.done -> goto send
#else
            :: used && S.sent > S.done -> goto sync
            :: used && S.sent <= S.done && count != S.done
#endif
            fi
        };
        /* prepare_slot(): seq before sent, which makes it count */
#ifdef SENT_FIRST
        S.sent = count;
#endif
        d_step { S.last_seq++; S.seq = S.last_seq };
        S.sent = count;
sync:
        /* hits_begin_flush(): on the disk before it is sent */
#if POWER
        atomic {
#ifndef NO_SYNC
            write_disk();
#endif
            begun[0] = first; begun[LINKS - 1] = last; first = 0; last = 0 };
#endif
send:
        /* hits_flush(): send_slot() */
        atomic {
#ifndef NO_WRITE_DOWN
            if :: !S.used || S.sent <= S.done -> goto flushed :: else fi;
#endif
            send_slot_() };
        atomic {
            if
            :: answer[me] == SETTLED
            :: answer[me] == FAILED -> goto flushed
            :: answer[me] == WAITING && late > 0 ->
                late--;
                forget_answers();
                goto flushed
            fi
        };
        S.done = count;
        goto flushed;
idle:
        /* prepare_slot(): nothing is pending and nothing new, it is freed */
#ifdef FREE_ANYWAY
        S.used = 0;
#else
        atomic { if :: SAME_LIFE && S.count == count -> S.used = 0 :: else fi };
#endif
flushed:
        atomic { forget_flush() };
        goto work;
close:
        /* end_work(): hits_close() */
        atomic { unlock_all(); goto start };
ended:
        atomic { !dark; running = running - BIT }
    } unless {
        atomic {
            kill[me] ? _;
            unlock_all();
            forget_answers();
            forget_flush();
            goto start
        }
    }
}

/* ---- The store --------------------------------------------------------- */

/* store_add_hits(): sqlite_add_hits(), dynamodb_add_hits() */
inline apply(i) {
#ifdef NO_TOKEN
    stored[net[i].node].at[net[i].link] =
        stored[net[i].node].at[net[i].link] + net[i].n
#else
    if
    :: seen[net[i].node].at[net[i].link] < net[i].seq ->
        seen[net[i].node].at[net[i].link] = net[i].seq;
        stored[net[i].node].at[net[i].link] =
            stored[net[i].node].at[net[i].link] + net[i].n
    :: else /* RESULT_CONFLICT: it has this number or a later one */
    fi
#endif
}

inline settle(i, result) {
    if
    :: net[i].from != NOBODY -> answer[net[i].from] = result
    :: else
    fi;
    net[i].flying = false;
    net[i].from = NOBODY; net[i].link = 0; net[i].n = 0; net[i].node = 0;
    net[i].seq = 0
}

active proctype store() {
    byte i = 0;
end:
    do
    :: atomic {
        if
        :: net[0].flying -> i = 0
        :: net[1].flying -> i = 1
        fi;
        if
        :: apply(i); settle(i, SETTLED)
        :: losses > 0 -> losses--; apply(i); settle(i, FAILED)
        :: losses > 0 -> losses--; settle(i, FAILED)
        fi;
        i = 0 }
    od
}

/* ---- Faults, and what is checked --------------------------------------- */

#if KILLS
active [KILLS] proctype killer() {
end:
    if
    :: kill[0] ! 0
    :: kill[1] ! 0
    :: kill[PROCESSES - 1] ! 0
    fi
}
#endif

#if POWER
/* A power loss: nothing starts or ends until all have been killed. */
active proctype outage() {
    byte p = 0, was = 0;
end:
    atomic { running != 0 -> dark = true };
    do
    :: p < PROCESSES ->
        if
        :: kill[p] ! 0
        :: (running & (1 << p)) == 0
        fi;
        p++
    :: else -> break
    od;
    atomic { p = 0; lose_memory(p, was); dark = false }
}
#endif

/* janitor.lock is removed, or the journal. */
active proctype operator() {
end:
    do
    :: atomic { removals > 0 && janitor_lock != NOBODY ->
                removals--; janitor_lock = NOBODY }
    :: atomic { current < NODES - 1 -> current++ }
    od
}

active proctype monitor() {
end:
    if
    :: !EXACT(0, 0) -> assert(false)
    :: !EXACT(0, LINKS - 1) -> assert(false)
    :: !EXACT(NODES - 1, 0) -> assert(false)
    :: !EXACT(NODES - 1, LINKS - 1) -> assert(false)
    fi
}

init {
    byte p = 0, sum = 0;
    atomic {
        net[0].from = NOBODY;
        net[1].from = NOBODY;
        do
        :: p < WORKERS -> run worker(p); p++
        :: p >= WORKERS && p < PROCESSES -> run janitor(p); p++
        :: else -> break
        od;
        p = 0
    };
    /* All workers and janitors have ended. */
    d_step {
        running == 0;
        do
        :: p < LINKS ->
            assert(stored[current].at[p] == counted[current].at[p]);
#if !POWER
            sum = counted[0].at[p] +
                (NODES > 1 -> counted[NODES - 1].at[p] : 0);
            assert(answered[p] <= sum && sum - answered[p] <= hurt);
#endif
            p++
        :: else -> break
        od;
        p = 0
    }
}
