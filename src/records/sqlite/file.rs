//! The file of a SQLite database: its lock, its kind and its permissions.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::records::OpenError;

/// The first bytes of every SQLite database.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// The permissions of the file. Only its owner may read it, because it says who used what.
const MODE: u32 = 0o600;

/// The content at a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    Database,
}

/// Returns the path with `ending` appended.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

pub(super) fn failed(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    let path = path.to_owned();
    move |source| OpenError::File { path, source }
}

/// Locks the file for one broker, as long as the returned handle is kept. The lock is a file of its own: closing any
/// handle of the database would drop SQLite's own locks.
pub(super) fn lock(path: &Path) -> Result<File, OpenError> {
    let place = beside(path, ".lock");
    let mut options = OpenOptions::new();
    let file = options.create(true).append(true).mode(MODE).open(&place);
    let file = file.map_err(failed(&place))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.into())),
        Err(TryLockError::Error(source)) => Err(failed(&place)(source)),
    }
}

/// Returns what is at the path. Changes nothing.
pub(super) fn look(path: &Path) -> Result<Found, OpenError> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(failed(path)(error)),
    };
    let mut start = Vec::new();
    let limit = MAGIC.len() as u64;
    let read = file.by_ref().take(limit).read_to_end(&mut start);
    match read.map_err(failed(path))? {
        0 => Ok(Found::Nothing),
        _ if start == MAGIC => Ok(Found::Database),
        _ => Err(OpenError::NotADatabase(path.into())),
    }
}

/// Warns when others may read the file. A file of this program is private, but somebody may have created or restored
/// it otherwise.
pub(super) fn warn_if_open(path: &Path) {
    let mode = std::fs::metadata(path).map_or(MODE, |found| found.permissions().mode());
    if mode & 0o077 != 0 {
        tracing::warn!(
            file = %path.display(),
            mode = format_args!("{:03o}", mode & 0o777),
            "the ledger's file can be read by others than its owner, and says who used what: chmod it to 600"
        );
    }
}

/// Creates an empty file, unless there is one. SQLite gives the files beside it the same permissions.
pub(super) fn create(path: &Path) -> Result<(), OpenError> {
    let mut options = OpenOptions::new();
    let made = options.create(true).append(true).mode(MODE).open(path);
    made.map(drop).map_err(failed(path))
}

/// Moves a finished copy to its place, durably.
pub(super) fn put_in_place(copy: &Path, place: &Path) -> Result<(), OpenError> {
    let moved = File::open(copy)
        .and_then(|file| file.sync_all())
        .and_then(|()| std::fs::rename(copy, place));
    moved.map_err(failed(place))?;
    match place
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        Some(folder) => sync_folder(folder),
        None => sync_folder(Path::new(".")),
    }
}

fn sync_folder(folder: &Path) -> Result<(), OpenError> {
    let synced = File::open(folder).and_then(|file| file.sync_all());
    synced.map_err(failed(folder))
}
