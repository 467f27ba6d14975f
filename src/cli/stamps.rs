//! Notices that files may have changed, without reading them.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// What the file system says of some files, in their order; `None` for a file that cannot be opened.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Stamps(Vec<Option<Stamp>>);

/// The state of one file. Writing changes the times, and putting another file in its place changes the number.
#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    number: u64,
    length: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl Stamps {
    /// Looks at the files at `paths`. Opens each of them: a file system on a network may say old things of closed files.
    pub(super) fn of(paths: &[PathBuf]) -> Self {
        let look = |path: &PathBuf| {
            let file = File::open(path).and_then(|file| file.metadata()).ok()?;
            Some(Stamp {
                device: file.dev(),
                number: file.ino(),
                length: file.len(),
                written: (file.mtime(), file.mtime_nsec()),
                changed: (file.ctime(), file.ctime_nsec()),
            })
        };
        Self(paths.iter().map(look).collect())
    }
}

/// The files at the last two looks.
#[derive(Debug, Default)]
pub(super) struct Watch([Stamps; 2]);

impl Watch {
    /// Takes the next look down. Returns false when the two looks before it saw the same: then the files were read when nobody
    /// wrote into them. One equal look would not say so, because two changes within some milliseconds may have the same time.
    pub(super) fn notices(&mut self, now: Stamps) -> bool {
        let is_quiet = self.0.iter().all(|before| *before == now);
        self.0.rotate_left(1);
        self.0[1] = now;
        !is_quiet
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::path::Path;

    use super::*;

    #[test]
    fn a_file_that_is_written_moved_or_linked_anew_is_noticed_until_two_looks_see_the_same() {
        let folder = std::env::temp_dir().join(format!("stamps-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let [file, other, link] = ["file", "other", "link"].map(|name| folder.join(name));
        let paths = [file.clone(), link.clone()];
        let mut watch = Watch::default();
        let mut noticed = |change: &dyn Fn()| {
            change();
            let looks = [(); 3].map(|()| watch.notices(Stamps::of(&paths)));
            assert_eq!(looks[1..], [looks[0], false]);
            looks[0]
        };
        let write = |path: &Path, text: &str| std::fs::write(path, text).unwrap();
        assert!(noticed(&|| ()), "files that are missing");
        assert!(noticed(&|| write(&file, "one")));
        assert!(!noticed(&|| ()));
        assert!(noticed(&|| write(&file, "three")));
        assert!(noticed(&|| {
            write(&other, "three");
            std::fs::rename(&other, &file).unwrap();
        }));
        assert!(noticed(&|| symlink(&file, &link).unwrap()));
        assert!(noticed(&|| {
            write(&other, "three");
            std::fs::remove_file(&link).unwrap();
            symlink(&other, &link).unwrap();
        }));
        assert!(!noticed(&|| ()));
        std::fs::remove_dir_all(folder).unwrap();
    }
}
