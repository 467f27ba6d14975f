//! The file of a SQLite database: its lock, its kind and its permissions.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::records::OpenError;
use crate::records::database::{Fault, Severity};

/// The first bytes of every SQLite database.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";

/// The permissions of the file. Only its owner may read it, because it says who used what.
const MODE: u32 = 0o600;

/// Returns the path with `ending` appended.
pub(super) fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

pub(super) fn failed(path: &Path) -> impl FnOnce(io::Error) -> OpenError {
    move |source| OpenError::File {
        path: path.into(),
        source,
    }
}

/// Creates an empty file, unless there is one. SQLite gives the files beside it the same permissions.
pub(super) fn create(path: &Path) -> Result<File, OpenError> {
    let mut options = OpenOptions::new();
    let made = options.create(true).append(true).mode(MODE).open(path);
    made.map_err(failed(path))
}

/// Locks the file for one broker, as long as the returned handle is kept. The lock is a file of its own: closing any
/// handle of the database would drop SQLite's own locks.
pub(super) fn lock(path: &Path) -> Result<File, OpenError> {
    let place = beside(path, ".lock");
    let file = create(&place)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(path.into())),
        Err(TryLockError::Error(source)) => Err(failed(&place)(source)),
    }
}

/// The path of an open file, and which file that is: its device and its number there.
#[derive(Clone)]
pub(super) struct OpenFile {
    path: PathBuf,
    file: (u64, u64),
}

impl OpenFile {
    /// Returns the file that is at the path now.
    pub(super) fn of(path: &Path) -> Result<Self, OpenError> {
        let found = identify(path).map_err(failed(path))?;
        let (path, file) = (path.into(), found);
        Ok(Self { path, file })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// True unless the file was moved, removed or replaced.
    pub(super) fn is_kept(&self) -> bool {
        identify(&self.path).is_ok_and(|found| found == self.file)
    }

    /// Fails when the file was moved, removed or replaced: what is written into it then is gone at the next start.
    pub(super) fn assert_kept(&self) -> Result<(), Fault> {
        if self.is_kept() {
            return Ok(());
        }
        let path = self.path.display();
        let why = format!(
            "{path} was moved, removed or replaced: put it back, or restart the broker to use what is there now"
        );
        Err(Fault::new(Severity::Broken, why))
    }
}

fn identify(path: &Path) -> io::Result<(u64, u64)> {
    let found = std::fs::metadata(path)?;
    Ok((found.dev(), found.ino()))
}

/// Returns whether a database is at the path; false for an empty file. Changes nothing.
pub(super) fn is_database(path: &Path) -> Result<bool, OpenError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failed(path)(error)),
    };
    let mut start = Vec::new();
    let read = file.take(MAGIC.len() as u64).read_to_end(&mut start);
    match read.map_err(failed(path))? {
        0 => Ok(false),
        _ if start == MAGIC => Ok(true),
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

/// Moves a finished copy to its place, durably.
pub(super) fn put_in_place(copy: &Path, place: &Path) -> Result<(), OpenError> {
    let folder = place
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let sync = |path: &Path| File::open(path).and_then(|file| file.sync_all());
    let moved = sync(copy).and_then(|()| std::fs::rename(copy, place));
    moved.and_then(|()| sync(folder)).map_err(failed(place))
}
