//! Compaction: first the decision is made durable, then the past is deleted, slice by slice, so that
//! writes get their turn in between. A crash half-way leaves only rows that nobody can read any more;
//! the next compaction takes them along.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::schema::BUSY;
use crate::{Revision, StoreError};

/// How many rows one slice looks at.
const SLICE_ROWS: u32 = 1000;

/// How many free pages (of 4 KiB) one slice gives back to the file system.
const SLICE_PAGES: u32 = 1000;

/// How long the checkpoint may wait for readers. Writers wait with it.
const CHECKPOINT_PATIENCE: Duration = Duration::from_millis(100);

/// A compaction under way.
#[derive(Debug)]
pub(super) struct Sweep {
    up_to: Revision,
    stage: Stage,
}

#[derive(Debug)]
enum Stage {
    /// Deleting rows; those up to this revision are done.
    Rows(Revision),
    /// Shrinking the file.
    Pages,
}

impl Sweep {
    /// Makes the compaction durable. From here on nothing before `up_to` is answered.
    pub(super) fn begin(
        connection: &mut Connection,
        up_to: Revision,
        current: Revision,
    ) -> Result<Self, StoreError> {
        let remember = |transaction: &Transaction<'_>| {
            let sql = "UPDATE counter SET value = ?2 WHERE name = ?1";
            transaction.execute(sql, params!["compacted", up_to])?;
            // The row with the newest revision may be swept; revisions must still not repeat.
            transaction.execute(sql, params!["revision", current])
        };
        in_transaction(connection, remember).map_err(StoreError::database("compact"))?;
        Ok(Self {
            up_to,
            stage: Stage::Rows(Revision::ZERO),
        })
    }

    /// Does one slice; `true` when all is done.
    pub(super) fn step(&mut self, connection: &mut Connection) -> Result<bool, StoreError> {
        match self.stage {
            Stage::Rows(done) => {
                let slice = delete_slice(connection, done, self.up_to)
                    .map_err(StoreError::database("delete compacted keys"))?;
                self.stage = slice.map_or(Stage::Pages, Stage::Rows);
                Ok(false)
            }
            Stage::Pages => {
                if release_pages(connection).map_err(StoreError::database("shrink the file"))? {
                    return Ok(false);
                }
                checkpoint(connection).map_err(StoreError::database("checkpoint"))?;
                Ok(true)
            }
        }
    }
}

/// Deletes the superseded and the deleted among the next rows; answers the last revision looked at,
/// `None` at the end. Going upwards matters: an older value must never outlive the write that
/// superseded it, or it would come back to life.
fn delete_slice(
    connection: &mut Connection,
    done: Revision,
    up_to: Revision,
) -> rusqlite::Result<Option<Revision>> {
    in_transaction(connection, |transaction| {
        let slice = "SELECT max(revision) FROM (SELECT revision FROM log \
                     WHERE revision > ?1 AND revision <= ?2 ORDER BY revision LIMIT ?3)";
        let end: Option<i64> =
            transaction.query_row(slice, params![done, up_to, SLICE_ROWS], |row| row.get(0))?;
        let Some(end) = end else { return Ok(None) };
        let delete = "DELETE FROM log AS old \
                      WHERE old.revision > ?1 AND old.revision <= ?2 AND (old.deleted OR EXISTS \
                      (SELECT 1 FROM log AS new WHERE new.key = old.key \
                       AND new.revision > old.revision AND new.revision <= ?3))";
        transaction.execute(delete, params![done, end, up_to])?;
        Ok(u64::try_from(end).ok().map(Revision))
    })
}

/// Gives some free pages back to the file system; `true` if it is worth calling again.
fn release_pages(connection: &Connection) -> rusqlite::Result<bool> {
    let free = || connection.pragma_query_value(None, "freelist_count", |row| row.get::<_, i64>(0));
    let before = free()?;
    if before == 0 {
        return Ok(false);
    }
    // Each step of the statement frees one page, so it must be stepped to its end.
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({SLICE_PAGES})"))?;
    let mut rows = statement.query([])?;
    while rows.next()?.is_some() {}
    Ok(free()? < before)
}

/// Folds the write-ahead log into the file, unless readers are in the way for long.
fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(CHECKPOINT_PATIENCE)?;
    let busy = connection
        .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
            row.get::<_, bool>(0)
        })
        .optional();
    connection.busy_timeout(BUSY)?;
    if busy? == Some(true) {
        tracing::debug!("readers kept the write-ahead log from being folded away");
    }
    Ok(())
}

fn in_transaction<T>(
    connection: &mut Connection,
    work: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<T> {
    let transaction = connection.transaction()?;
    let done = work(&transaction)?;
    transaction.commit()?;
    Ok(done)
}
