//! [`Source`]: the bytes of one file, memory-mapped or already in memory, and `Files`: the folder it
//! comes from. The only place of this layer that touches the file system.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{FormatError, Result};

/// The bytes of one file. Cloning shares them.
#[derive(Clone)]
pub struct Source {
    name: Arc<str>,
    data: Arc<Data>,
}

enum Data {
    Mapped(memmap2::Mmap),
    Memory(Cow<'static, [u8]>),
}

impl Source {
    /// Maps a file read-only. Nothing is read until its bytes are looked at, and pages that were read can
    /// be dropped by the system at any time: a mapped file costs no anonymous memory.
    pub fn open(path: &Path) -> Result<Source> {
        let name = path.display().to_string();
        let io = |action| {
            let file = name.clone();
            move |reason| FormatError::Io { file, action, reason }
        };
        let file = File::open(path).map_err(io("open"))?;
        let data = if file.metadata().map_err(io("open"))?.len() == 0 {
            Data::Memory(Cow::Borrowed(&[])) // some systems refuse to map an empty file
        } else {
            Data::Mapped(map(&file).map_err(io("map"))?)
        };
        Ok(Source { name: name.into(), data: Arc::new(data) })
    }

    /// Bytes that are in memory already: embedded in the program (`include_bytes!`), or made by a test.
    pub fn memory(name: &str, bytes: impl Into<Cow<'static, [u8]>>) -> Source {
        Source { name: name.into(), data: Arc::new(Data::Memory(bytes.into())) }
    }

    /// The path as it was given, for messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// All bytes. No alignment is promised.
    pub fn bytes(&self) -> &[u8] {
        match &*self.data {
            Data::Mapped(map) => map,
            Data::Memory(bytes) => bytes,
        }
    }

    /// The content as text.
    pub fn text(&self) -> Result<&str> {
        std::str::from_utf8(self.bytes()).map_err(|e| FormatError::Field {
            file: self.name.to_string(),
            what: "text".into(),
            offset: e.valid_up_to(),
            expected: "UTF-8".into(),
            found: "other bytes".into(),
            next: "download the file again",
        })
    }

    /// An error for what a download without Git LFS leaves in place of a large file.
    pub(super) fn reject_pointer(&self) -> Result<()> {
        if !self.bytes().starts_with(b"version https://git-lfs") {
            return Ok(());
        }
        Err(FormatError::Field {
            file: self.name.to_string(),
            what: "content".into(),
            offset: 0,
            expected: "a model file".into(),
            found: "a Git LFS pointer to one".into(),
            next: "fetch the file itself with `git lfs pull`",
        })
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Source({}, {} bytes)", self.name, self.bytes().len())
    }
}

#[expect(unsafe_code, reason = "mapping a file is the one thing that safe Rust cannot do")]
fn map(file: &File) -> std::io::Result<memmap2::Mmap> {
    // SAFETY: the map is read-only and private to this process, and its bytes are only ever read as `u8`,
    // of which every pattern is valid. What remains is that another program may change the file while it is
    // mapped: values may then be wrong, but every offset was checked against the mapped length, which does
    // not change; a file cut short meanwhile ends the process with a bus error, as in every program that
    // maps model files. The README says not to change a model while it runs.
    unsafe { memmap2::Mmap::map(file) }
}

/// A folder of files: on disk or in memory.
#[derive(Clone, Debug)]
pub(super) enum Files {
    /// A folder of the file system.
    Disk(PathBuf),
    /// Files held in memory, by name.
    Memory(BTreeMap<String, Source>),
}

impl Files {
    /// The folder's name for messages.
    pub(super) fn name(&self) -> String {
        match self {
            Files::Disk(dir) if dir.as_os_str().is_empty() => ".".into(),
            Files::Disk(dir) => dir.display().to_string(),
            Files::Memory(_) => "(in memory)".into(),
        }
    }

    /// Names of the files in it, sorted.
    pub(super) fn list(&self) -> Result<Vec<String>> {
        // Follows links: caches of downloaded models keep the files elsewhere.
        self.list_where(Path::is_file)
    }

    /// Names of the folders in it, sorted.
    pub(super) fn list_folders(&self) -> Result<Vec<String>> {
        match self {
            Files::Memory(_) => Ok(Vec::new()),
            Files::Disk(_) => self.list_where(Path::is_dir),
        }
    }

    fn list_where(&self, wanted: fn(&Path) -> bool) -> Result<Vec<String>> {
        let dir = match self {
            Files::Memory(files) => return Ok(files.keys().cloned().collect()),
            // The folder of a bare file name.
            Files::Disk(dir) if dir.as_os_str().is_empty() => Path::new("."),
            Files::Disk(dir) => dir.as_path(),
        };
        let io = |reason| FormatError::Io { file: self.name(), action: "list", reason };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(io)? {
            let entry = entry.map_err(io)?;
            if wanted(&entry.path()) {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// One of its files; `None` when it is not there.
    pub(super) fn open(&self, name: &str) -> Result<Option<Source>> {
        match self {
            Files::Memory(files) => Ok(files.get(name).cloned()),
            Files::Disk(dir) => {
                let path = dir.join(name);
                if path.exists() { Source::open(&path).map(Some) } else { Ok(None) }
            }
        }
    }
}
