//! Opening the file: where it is, who may open it, and how its connections are set up.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::SqliteOptions;
use super::error::{Result, SqliteError};
use super::schema;

/// How long another process's lock is waited for: `sqlite3` at work on the same file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Statements kept ready: some twenty, and two for each day that is being written or read.
const STATEMENTS: usize = 64;

/// Pages of the log, 4 KiB each, after which it is copied into the file.
const CHECKPOINT_PAGES: u32 = 4_096;

/// What the log is cut to once it has been copied.
const LOG_BYTES_MAX: u32 = 64 << 20;

/// The lock that says that this process uses the database, held until dropped.
///
/// On a file of its own: closing any descriptor of the database file itself would drop SQLite's locks.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// Makes the directory and takes the lock.
pub(super) fn lock(path: &Path) -> Result<Lock> {
    if let Some(directory) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        create_directory(directory).map_err(|error| cannot_open(directory, &error))?;
    }
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock_path = PathBuf::from(name);
    let file = private(OpenOptions::new().read(true).append(true).create(true))
        .open(&lock_path)
        .map_err(|error| cannot_open(&lock_path, &error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(SqliteError::InUse(format!("{} is locked", lock_path.display())));
        }
        // A file system without such locks: SQLite's own still keep the file whole.
        Err(TryLockError::Error(error)) if error.kind() == io::ErrorKind::Unsupported => {}
        Err(TryLockError::Error(error)) => return Err(cannot_open(&lock_path, &error)),
    }
    // Command lines hold secrets: the file is its owner's alone. SQLite gives its other files the same.
    private(OpenOptions::new().read(true).append(true).create(true))
        .open(path)
        .map_err(|error| cannot_open(path, &error))?;
    Ok(Lock { _file: file })
}

fn cannot_open(path: &Path, error: &io::Error) -> SqliteError {
    let why = format!("{}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => SqliteError::Full(why),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
            SqliteError::ReadOnly(why)
        }
        _ => SqliteError::CannotOpen(why),
    }
}

#[cfg(unix)]
fn create_directory(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;

    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

#[cfg(not(unix))]
fn create_directory(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;

    options.mode(0o600)
}

#[cfg(not(unix))]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Opens the connection that writes, and brings the schema up to date.
pub(super) fn open_writer(path: &Path, options: &SqliteOptions) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    set_up(&connection)?;
    let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0))?;
    if mode != "wal" {
        return Err(SqliteError::CannotOpen(format!("its journal stays in mode {mode}, not WAL")));
    }
    // An acknowledged write is on the disk. At a thousand rows a transaction this costs nothing.
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
    connection.pragma_update(None, "journal_size_limit", LOG_BYTES_MAX)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.pragma_update(None, "cache_size", -(16 << 10))?;
    // Before it is bounded: what is converted lies there twice for a while.
    schema::migrate(&mut connection)?;
    if let Some(bytes) = options.bytes_max {
        let page: u32 = connection.query_row("PRAGMA page_size", [], |row| row.get(0))?;
        let pages = u32::try_from(bytes / u64::from(page)).unwrap_or(u32::MAX - 1).max(1);
        connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
    }
    Ok(connection)
}

/// Opens a connection that reads.
pub(super) fn open_reader(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    set_up(&connection)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.pragma_update(None, "cache_size", -(4 << 10))?;
    Ok(connection)
}

fn set_up(connection: &Connection) -> Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "cell_size_check", true)?;
    Ok(())
}
