-- What the journal is asked for by time, so that neither digests nor forgetting go through all of it.

-- A clock that is set makes this another order than that of `seq`.
CREATE INDEX events_at ON events (at);
-- What was issued and what was rolled out since the last digest.
CREATE INDEX revisions_issued ON revisions (issued_at, certificate);
CREATE INDEX rollouts_closed ON rollouts (closed_at) WHERE closed_at IS NOT NULL;
-- Who an order or a rollout was about, when it is forgotten.
CREATE INDEX subjects_of ON subjects (machine, id);
