//! The queries on the log. Each sees one snapshot: the caller holds the transaction.
//! Refuses to know about queues, threads and watches.

use bytes::Bytes;
use rusqlite::types::{ToSqlOutput, Value};
use rusqlite::{Connection, OptionalExtension, Row, ToSql, params};

use crate::key::prefix_end;
use crate::{Event, EventKind, KeyValue, Page, Revision, StoreError, WatchBatch};

/// The most bytes of values in one batch of events.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// The log as one transaction sees it.
pub(super) struct Log<'a> {
    connection: &'a Connection,
}

impl<'a> Log<'a> {
    pub(super) const fn new(connection: &'a Connection) -> Self {
        Self { connection }
    }

    /// The revision up to which history has been forgotten.
    pub(super) fn compacted(&self) -> Result<Revision, StoreError> {
        self.connection
            .prepare_cached("SELECT value FROM counter WHERE name = 'compacted'")
            .and_then(|mut statement| statement.query_row([], |row| revision(row, 0)))
            .map_err(StoreError::database("read the compacted revision"))
    }

    /// The pair of a key at a revision.
    pub(super) fn alive(&self, key: &str, at: Revision) -> Result<Option<KeyValue>, StoreError> {
        let sql = "SELECT revision, created, deleted, value FROM log \
                   WHERE key = ?1 AND revision <= ?2 ORDER BY revision DESC LIMIT 1";
        let newest = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                let pair = |row: &Row<'_>| {
                    if row.get(2)? {
                        return Ok(None);
                    }
                    let (modified, created) = (revision(row, 0)?, revision(row, 1)?);
                    Ok(Some(KeyValue {
                        key: key.to_owned(),
                        value: blob(row, 3)?,
                        created,
                        modified,
                    }))
                };
                statement.query_row(params![key, at], pair).optional()
            })
            .map_err(StoreError::database("read a key"))?;
        Ok(newest.flatten())
    }

    /// A page of the keys alive at a revision. The scan runs over the index alone; values are fetched
    /// only for what is on the page.
    pub(super) fn page(
        &self,
        prefix: &str,
        at: Revision,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Page, StoreError> {
        self.scan(prefix, at, after, limit)
            .map_err(StoreError::database("list keys"))
    }

    fn scan(
        &self,
        prefix: &str,
        at: Revision,
        after: Option<&str>,
        limit: usize,
    ) -> rusqlite::Result<Page> {
        // A column beside max() is taken from the row that holds the maximum: documented by SQLite.
        let keys = "SELECT max(revision), deleted FROM log \
                    WHERE key >= ?1 AND key < ?2 AND key <> ?3 AND revision <= ?4 GROUP BY key";
        let value = "SELECT key, created, value FROM log WHERE revision = ?1";
        let (mut keys, mut value) = (
            self.connection.prepare_cached(keys)?,
            self.connection.prepare_cached(value)?,
        );
        let passed = after.filter(|after| *after >= prefix);
        let start = passed.unwrap_or(prefix);
        // No key is empty, so that an absent `after` excludes nothing.
        let mut rows = keys.query(params![
            start,
            end_of(prefix),
            passed.unwrap_or_default(),
            at
        ])?;
        let (mut items, mut remaining) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            if row.get(1)? {
                continue;
            }
            if limit > 0 && items.len() == limit {
                remaining += 1;
                continue;
            }
            let modified = revision(row, 0)?;
            items.push(value.query_row(params![modified], |row| {
                let (key, created) = (row.get(0)?, revision(row, 1)?);
                Ok(KeyValue {
                    key,
                    value: blob(row, 2)?,
                    created,
                    modified,
                })
            })?);
        }
        Ok(Page {
            items,
            revision: at,
            more: remaining > 0,
            remaining,
        })
    }

    /// The events under `prefix` after `after` up to `until`, at most `limit` of them or so many as
    /// make up a few megabytes.
    pub(super) fn events(
        &self,
        prefix: &str,
        after: Revision,
        until: Revision,
        limit: usize,
    ) -> Result<WatchBatch, StoreError> {
        self.replay(prefix, after, until, limit)
            .map_err(StoreError::database("read the log"))
    }

    fn replay(
        &self,
        prefix: &str,
        after: Revision,
        until: Revision,
        limit: usize,
    ) -> rusqlite::Result<WatchBatch> {
        // The plus signs keep SQLite off the key index: the order of the log is what is wanted.
        let sql = "SELECT l.revision, l.key, l.created, l.deleted, l.value, l.prev, p.value \
                   FROM log AS l LEFT JOIN log AS p ON p.revision = l.prev \
                   WHERE l.revision > ?1 AND l.revision <= ?2 AND +l.key >= ?3 AND +l.key < ?4 \
                   ORDER BY l.revision";
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![after, until, prefix, end_of(prefix)])?;
        let (mut events, mut bytes) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            let event = event(row)?;
            let revision = event.revision();
            bytes += event.kv.value.len() + event.previous.as_ref().map_or(0, |kv| kv.value.len());
            events.push(event);
            if events.len() >= limit || bytes >= BATCH_BYTES {
                return Ok(WatchBatch { events, revision });
            }
        }
        Ok(WatchBatch {
            events,
            revision: until,
        })
    }

    /// Appends a decided write.
    pub(super) fn append(&self, event: &Event) -> Result<(), StoreError> {
        let sql = "INSERT INTO log (revision, key, created, prev, deleted, value) \
                   VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
        let deleted = event.kind == EventKind::Delete;
        let value = (!deleted).then_some(event.kv.value.as_ref());
        let prev = event.previous.as_ref().map(|kv| kv.modified);
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| {
                let kv = &event.kv;
                statement.execute(params![
                    kv.modified,
                    kv.key,
                    kv.created,
                    prev,
                    deleted,
                    value
                ])
            })
            .map_err(StoreError::database("write a key"))?;
        Ok(())
    }
}

fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    let (modified, key, created) = (
        revision(row, 0)?,
        row.get::<_, String>(1)?,
        revision(row, 2)?,
    );
    let prev = row.get::<_, Option<i64>>(5)?;
    let previous = match prev {
        None => None,
        Some(_) => {
            let (value, modified) = (blob(row, 6)?, revision(row, 5)?);
            Some(KeyValue {
                key: key.clone(),
                value,
                created,
                modified,
            })
        }
    };
    let (kind, value) = match &previous {
        Some(previous) if row.get(3)? => (EventKind::Delete, previous.value.clone()),
        _ => (EventKind::Put, blob(row, 4)?),
    };
    Ok(Event {
        kind,
        kv: KeyValue {
            key,
            value,
            created,
            modified,
        },
        previous,
    })
}

/// The end of a prefix as something to compare a key with. SQLite orders every blob behind every text,
/// so an empty blob is the end of all keys.
fn end_of(prefix: &str) -> Value {
    prefix_end(prefix).map_or_else(|| Value::Blob(Vec::new()), Value::Text)
}

fn blob(row: &Row<'_>, column: usize) -> rusqlite::Result<Bytes> {
    let value = row.get_ref(column)?;
    let blob = value.as_blob().map_err(|error| {
        rusqlite::Error::FromSqlConversionFailure(column, value.data_type(), Box::new(error))
    })?;
    Ok(Bytes::copy_from_slice(blob))
}

fn revision(row: &Row<'_>, column: usize) -> rusqlite::Result<Revision> {
    let number = row.get::<_, i64>(column)?;
    let revision = u64::try_from(number)
        .map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, number))?;
    Ok(Revision(revision))
}

/// SQLite counts to 2⁶³: more than any store will write.
impl ToSql for Revision {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let number = i64::try_from(self.0)
            .map_err(|error| rusqlite::Error::ToSqlConversionFailure(Box::new(error)))?;
        Ok(ToSqlOutput::from(number))
    }
}
