-- Who this journal is, as tags at the account name it: model::Identity.
CREATE TABLE identity (
  one  INTEGER PRIMARY KEY CHECK (one = 1),
  body TEXT NOT NULL
) STRICT;

-- What was bought, or may have been: written together with the intent of the step that buys, so that no purchase is unknown.
CREATE TABLE purchases (
  -- The order that bought, which is what the purchase is tagged with; an id at SCM where `renewd state claim` took it over.
  id        TEXT PRIMARY KEY,
  issuer    TEXT NOT NULL,
  began_at  INTEGER NOT NULL,
  -- `unknown`, `made` or `not-made`.
  outcome   TEXT NOT NULL,
  -- The id at SCM, where it is known.
  reference TEXT
) STRICT, WITHOUT ROWID;
CREATE INDEX purchases_began ON purchases (began_at);
