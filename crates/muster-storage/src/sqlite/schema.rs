//! What a connection is set to and what a fresh file holds. The only module that knows the tables'
//! definitions and their versions.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags};

use crate::{Revision, StoreError};

/// "MSTR": tells our files from other SQLite files (`PRAGMA application_id`).
const APPLICATION_ID: i32 = 0x4d53_5452;

/// The version of [`TABLES`] (`PRAGMA user_version`).
const VERSION: u32 = 1;

/// How long a connection waits for a lock that another one holds. Ours never wait on each other for
/// long; this is for someone who looks at the file with a tool.
pub(super) const BUSY: Duration = Duration::from_secs(5);

/// The log holds every write that has not been compacted, under its revision. `prev` is the revision
/// that the write replaced and NULL if it created the key; a delete has no value. The index answers
/// "the newest write to each key up to a revision" without touching the values. `counter` keeps what
/// the log cannot: how far it was compacted, and the newest revision in case its row was compacted.
const TABLES: &str = "
CREATE TABLE log (
    revision INTEGER PRIMARY KEY,
    key      TEXT    NOT NULL,
    created  INTEGER NOT NULL,
    prev     INTEGER,
    deleted  INTEGER NOT NULL CHECK (deleted IN (0, 1)),
    value    BLOB,
    CHECK ((value IS NULL) = deleted)
) STRICT;
CREATE UNIQUE INDEX log_by_key ON log (key, revision, deleted);
CREATE TABLE counter (
    name  TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
INSERT INTO counter (name, value) VALUES ('compacted', 0), ('revision', 0);
";

/// Where a store stands when it is opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct State {
    pub(super) current: Revision,
    pub(super) compacted: Revision,
}

/// The connection that writes, to a file that is ready to be written to.
pub(super) fn open_writer(path: &Path) -> Result<(Connection, State), StoreError> {
    let mut connection = connect(path)?;
    let fresh = identify(&connection, path)?;
    // Only possible before the first page is written, so before the switch to WAL.
    if fresh {
        connection
            .pragma_update(None, "auto_vacuum", "INCREMENTAL")
            .map_err(StoreError::database("set up the file"))?;
    }
    set_durable(&connection)?;
    if fresh {
        create_tables(&mut connection).map_err(StoreError::database("create the tables"))?;
    }
    let state = state(&connection).map_err(StoreError::database("read the revision"))?;
    Ok((connection, state))
}

/// A connection that cannot write.
pub(super) fn open_reader(path: &Path) -> Result<Connection, StoreError> {
    let connection = connect(path)?;
    let set = |name, value| connection.pragma_update(None, name, value);
    set("query_only", 1)
        // In KiB: listings stream through, so a reader needs no cache of its own worth the name.
        .and_then(|()| set("cache_size", -256))
        .map_err(StoreError::database("set up a reader"))?;
    Ok(connection)
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    // No CREATE: the file is there already, with the mode we want.
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)
        .map_err(StoreError::database("open the database"))?;
    connection
        .busy_timeout(BUSY)
        .and_then(|()| connection.pragma_update(None, "foreign_keys", "ON"))
        .map_err(StoreError::database("set up a connection"))?;
    Ok(connection)
}

/// Whether the file is empty; an error if it is someone else's or from the future.
fn identify(connection: &Connection, path: &Path) -> Result<bool, StoreError> {
    let number =
        |pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let tables = connection.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0));
    let tables: i64 = match tables {
        Ok(tables) => tables,
        Err(error) if error.sqlite_error_code() == Some(ErrorCode::NotADatabase) => {
            return Err(StoreError::Foreign {
                path: path.to_owned(),
            });
        }
        Err(error) => return Err(StoreError::database("read the file")(error)),
    };
    let id = number("application_id").map_err(StoreError::database("read the file"))?;
    let version = number("user_version").map_err(StoreError::database("read the file"))?;
    if tables == 0 && id == 0 && version == 0 {
        return Ok(true);
    }
    if id != i64::from(APPLICATION_ID) {
        return Err(StoreError::Foreign {
            path: path.to_owned(),
        });
    }
    match u32::try_from(version) {
        Ok(VERSION) => Ok(false),
        Ok(found) if found > VERSION => Err(StoreError::NewerSchema {
            path: path.to_owned(),
            found,
            known: VERSION,
        }),
        _ => Err(StoreError::Foreign {
            path: path.to_owned(),
        }),
    }
}

/// WAL with FULL: a commit is on the disk when it returns. (NORMAL may lose the last ones with the
/// power; for tokens and journals that would be a lie.)
fn set_durable(connection: &Connection) -> Result<(), StoreError> {
    let failed = "set up the file";
    let mode: String = connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0))
        .map_err(StoreError::database(failed))?;
    if !mode.eq_ignore_ascii_case("wal") {
        let refused = rusqlite::Error::InvalidParameterName(format!("journal_mode={mode}"));
        return Err(StoreError::database(
            "switch the file to write-ahead logging",
        )(refused));
    }
    connection
        .pragma_update(None, "synchronous", "FULL")
        .and_then(|()| {
            // A burst may have grown the log file; do not keep more than this (bytes).
            let limit = ("journal_size_limit", 16 << 20);
            connection.pragma_update_and_check(None, limit.0, limit.1, |_| Ok(()))
        })
        .map_err(StoreError::database(failed))
}

fn create_tables(connection: &mut Connection) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(TABLES)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", VERSION)?;
    transaction.commit()
}

fn state(connection: &Connection) -> rusqlite::Result<State> {
    let number = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
    let revision = |number: i64| Revision(u64::try_from(number).unwrap_or(0));
    let logged = number("SELECT coalesce(max(revision), 0) FROM log")?;
    let counted = number("SELECT value FROM counter WHERE name = 'revision'")?;
    let compacted = number("SELECT value FROM counter WHERE name = 'compacted'")?;
    Ok(State {
        current: revision(logged.max(counted)),
        compacted: revision(compacted),
    })
}
