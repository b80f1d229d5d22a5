-- The journal. `body` and `state` columns hold JSON, versioned by store::codec; the other columns are what is searched by.
CREATE TABLE certificates (
  id    TEXT PRIMARY KEY,
  state TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE targets (
  id              TEXT PRIMARY KEY,
  state           TEXT NOT NULL,
  last_generation INTEGER NOT NULL DEFAULT 0
) STRICT, WITHOUT ROWID;

CREATE TABLE revisions (
  -- Tells which came later where `issued_at`, in whole seconds, does not.
  seq         INTEGER PRIMARY KEY AUTOINCREMENT,
  certificate TEXT NOT NULL,
  id          TEXT NOT NULL,
  issuer      TEXT NOT NULL,
  facts       TEXT NOT NULL,
  issued_at   INTEGER NOT NULL,
  UNIQUE (certificate, id)
) STRICT;

CREATE TABLE orders (
  id          TEXT PRIMARY KEY,
  certificate TEXT NOT NULL,
  body        TEXT NOT NULL,
  opened_at   INTEGER NOT NULL,
  closed_at   INTEGER
) STRICT, WITHOUT ROWID;
-- At most one open order for a certificate, whatever the code believes.
CREATE UNIQUE INDEX orders_open ON orders (certificate) WHERE closed_at IS NULL;
-- How many an issuer was given in the last hour.
CREATE INDEX orders_opened ON orders (opened_at);

CREATE TABLE rollouts (
  id        TEXT PRIMARY KEY,
  target    TEXT NOT NULL,
  body      TEXT NOT NULL,
  opened_at INTEGER NOT NULL,
  closed_at INTEGER
) STRICT, WITHOUT ROWID;
-- At most one open rollout for a target.
CREATE UNIQUE INDEX rollouts_open ON rollouts (target) WHERE closed_at IS NULL;

-- Which certificates an order or a rollout is about, for `renewd history`.
CREATE TABLE subjects (
  certificate TEXT NOT NULL,
  machine     TEXT NOT NULL,
  id          TEXT NOT NULL,
  PRIMARY KEY (certificate, machine, id)
) STRICT, WITHOUT ROWID;

CREATE TABLE events (
  seq     INTEGER PRIMARY KEY AUTOINCREMENT,
  machine TEXT NOT NULL,
  id      TEXT NOT NULL,
  at      INTEGER NOT NULL,
  kind    TEXT NOT NULL,
  step    TEXT,
  phase   TEXT NOT NULL,
  message TEXT NOT NULL,
  output  TEXT NOT NULL DEFAULT '',
  event   TEXT,
  -- Milliseconds since 1970 by the host's clock: how long a step took is the time between two events. `at` is the moment
  -- that decisions are made by.
  written INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER))
) STRICT;
CREATE INDEX events_of ON events (machine, id);

-- The last run of each job.
CREATE TABLE jobs (
  name TEXT PRIMARY KEY,
  run  TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- What was seen of what is watched and not managed.
CREATE TABLE watches (
  id    TEXT PRIMARY KEY,
  state TEXT NOT NULL
) STRICT, WITHOUT ROWID;

-- When each issuer last answered a check.
CREATE TABLE answered (
  issuer TEXT PRIMARY KEY,
  at     INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- When what renewd itself relies on ends; `what` is model::Relied.
CREATE TABLE relied (
  what TEXT PRIMARY KEY,
  ends INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What an issuer said last of the time.
CREATE TABLE clock (
  one   INTEGER PRIMARY KEY CHECK (one = 1),
  heard TEXT NOT NULL
) STRICT;

CREATE TABLE alerts (
  key          TEXT PRIMARY KEY,
  severity     TEXT NOT NULL,
  title        TEXT NOT NULL,
  text         TEXT NOT NULL,
  step         INTEGER NOT NULL DEFAULT 0,
  raised_at    INTEGER NOT NULL,
  delivered_at INTEGER,
  resolved_at  INTEGER
) STRICT, WITHOUT ROWID;

-- Letters about alerts, one row for each recipient, queued by the transaction that raises or resolves the alert.
CREATE TABLE outbox (
  -- In this order they leave.
  seq       INTEGER PRIMARY KEY AUTOINCREMENT,
  channel   TEXT NOT NULL,
  recipient TEXT NOT NULL,
  alert     TEXT NOT NULL,
  raised_at INTEGER NOT NULL,
  -- `raised`, `over`, `digest`, or `test` where a person's test passed.
  occasion  TEXT NOT NULL,
  step      INTEGER NOT NULL,
  -- Of the alert: 0 is a notice, 2 critical.
  severity  INTEGER NOT NULL,
  letter    TEXT NOT NULL,
  queued_at INTEGER NOT NULL,
  -- Of the next attempt.
  due_at    INTEGER NOT NULL,
  attempts  INTEGER NOT NULL DEFAULT 0,
  -- What it waits for beside that: 1 for others, 2 for another day.
  held      INTEGER NOT NULL DEFAULT 0,
  -- It leaves by itself, since it was refused among others.
  alone     INTEGER NOT NULL DEFAULT 0,
  -- It was refused, and is tried again as long as what it tells stands.
  refused   INTEGER NOT NULL DEFAULT 0,
  -- Message-ID of the mail that it left with, or may have left with.
  mail      TEXT,
  -- `waiting`, `sent`, `refused`, `given-up`, `withdrawn` or `spared`.
  state     TEXT NOT NULL DEFAULT 'waiting',
  -- Of the last attempt, and how that ended.
  tried_at  INTEGER,
  said      TEXT NOT NULL DEFAULT '',
  UNIQUE (alert, raised_at, occasion, step, channel, recipient)
) STRICT;
CREATE INDEX outbox_waiting ON outbox (due_at) WHERE state = 'waiting';
CREATE INDEX outbox_sent ON outbox (tried_at) WHERE state = 'sent';
CREATE INDEX outbox_ended ON outbox (channel, recipient, seq) WHERE state <> 'waiting';
