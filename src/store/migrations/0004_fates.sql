-- What must be known of a revision as long as it is valid: events are forgotten, and a certificate's state has the last few only.

-- This host applied for it itself.
ALTER TABLE revisions ADD COLUMN ours INTEGER NOT NULL DEFAULT 0;
-- Its issuer took it back.
ALTER TABLE revisions ADD COLUMN revoked INTEGER NOT NULL DEFAULT 0;

-- Of those that are there already: what events and states tell still.
UPDATE revisions SET ours = 1
 WHERE json_extract(facts, '$.d.reference') <> ''
   AND EXISTS (
     SELECT 1 FROM subjects s JOIN events e ON e.machine = s.machine AND e.id = s.id
      WHERE s.certificate = revisions.certificate AND s.machine = 'order'
        AND e.kind = 'succeeded' AND e.step IN ('submit', 'resolve')
        AND substr(e.message, -length(json_extract(revisions.facts, '$.d.reference')))
            = json_extract(revisions.facts, '$.d.reference'));
UPDATE revisions SET revoked = 1
 WHERE EXISTS (
     SELECT 1 FROM events e
      WHERE e.machine = 'revocation' AND e.id = revisions.id || '/' || revisions.certificate AND e.kind = 'succeeded')
    OR EXISTS (
     SELECT 1 FROM certificates c, json_each(c.state, '$.d.earlier') o
      WHERE c.id = revisions.certificate AND json_extract(o.value, '$.id') = revisions.id
        AND json_extract(o.value, '$.revoked'))
    OR EXISTS (
     SELECT 1 FROM certificates c
      WHERE c.id = revisions.certificate AND json_extract(c.state, '$.d.remote.revision') = revisions.id
        AND json_extract(c.state, '$.d.remote.standing') = 'revoked');
