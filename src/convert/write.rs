//! [`fn@write`]: the planned file, streamed beside its final name and renamed when it is complete.

use std::fs::{self, File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::output::Output;
use super::rows::{Rows, Squares};
use super::{ConvertError, Plan, Result};
use crate::formats::{Archive, FormatError};

/// What became of one tensor.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorReport {
    /// Name in the file.
    pub name: String,
    /// Layer's role without its number.
    pub role: String,
    /// Outermost dimension first.
    pub shape: Vec<usize>,
    /// Type it was stored in.
    pub from: String,
    /// Type written.
    pub to: String,
    /// Bytes written.
    pub bytes: u64,
    /// ‖ŵ − w‖ / ‖w‖
    pub relative_rms_error: f64,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// In file order.
    pub tensors: Vec<TensorReport>,
    /// Bytes of the tensors.
    pub tensor_bytes: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
    /// Weights.
    pub n_params: u64,
}

impl Report {
    /// Bits of the tensors per weight.
    pub fn bits_per_weight(&self) -> f64 {
        self.tensor_bytes as f64 * 8.0 / self.n_params.max(1) as f64
    }
}

/// Fails where `to` cannot or must not be written: before anything is computed.
pub fn check_target(archive: &Archive, to: &Path, replace: bool) -> Result<()> {
    let path = to.display().to_string();
    let io = |action, reason| ConvertError::Io { path: path.clone(), action, reason, hint: String::new() };
    if let Ok(real) = fs::canonicalize(to) {
        let is_input = |file: &str| fs::canonicalize(file).is_ok_and(|file| file == real);
        if archive.files().any(is_input) {
            return Err(ConvertError::SameFile { path });
        }
    }
    match fs::symlink_metadata(to) {
        Ok(found) if found.is_dir() => {
            let source = std::io::Error::from(std::io::ErrorKind::IsADirectory);
            Err(io("write to", source))
        }
        // Renaming replaces the name itself, be it /dev/null.
        Ok(found) if !found.is_file() => Err(ConvertError::NotAFile { path }),
        Ok(_) if !replace => Err(ConvertError::Exists { path }),
        _ => Ok(()),
    }
}

/// Writes the file. `progress` gets the bytes of the source done since the last call and returns false to
/// cancel; whatever stops it, nothing is left behind.
pub fn write(
    archive: &Archive,
    plan: &Plan,
    to: &Path,
    replace: bool,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<Report> {
    check_target(archive, to, replace)?;
    let part = Part::create(to)?;
    let (out, tensors) = body(archive, plan, BufWriter::new(&part.file), progress)
        .map_err(|error| part.with_path(error, plan.tensor_bytes()))?;
    drop(out);
    let file_bytes = part.keep(to, replace)?;
    let tensor_bytes = tensors.iter().map(|t| t.bytes).sum();
    Ok(Report { tensors, tensor_bytes, file_bytes, n_params: plan.n_params() })
}

fn body<W: Write>(
    archive: &Archive,
    plan: &Plan,
    out: W,
    progress: &mut dyn FnMut(u64) -> bool,
) -> Result<(W, Vec<TensorReport>)> {
    let mut body = plan.header()?.begin(out)?;
    let mut reports = Vec::with_capacity(plan.outputs.len());
    for output in &plan.outputs {
        let rows = Rows::of(archive, output)?;
        let mut sum = Squares::default();
        for piece in rows.pieces() {
            let read = rows.stored_bytes(&piece);
            let (bytes, squares) = rows.encoded(piece, output.to)?;
            sum = Squares { weights: sum.weights + squares.weights, errors: sum.errors + squares.errors };
            body.write(&bytes)?;
            if !progress(read) {
                return Err(ConvertError::Cancelled);
            }
        }
        reports.push(report(output, sum));
    }
    Ok((body.finish()?, reports))
}

fn report(output: &Output, squares: Squares) -> TensorReport {
    TensorReport {
        name: output.name.clone(),
        role: output.role().to_owned(),
        shape: output.shape.clone(),
        from: output.from.to_string(),
        to: output.to.to_string(),
        bytes: output.bytes(output.to),
        relative_rms_error: squares.relative_error(),
    }
}

/// The file while it is incomplete, removed unless kept.
struct Part {
    file: File,
    path: PathBuf,
    kept: bool,
}

impl Part {
    /// `.NAME.PROCESS.part` in the same folder, so that renaming moves no bytes.
    fn create(to: &Path) -> Result<Part> {
        let name = to.file_name().unwrap_or_default().to_string_lossy();
        let path = to.with_file_name(format!(".{name}.{}.part", std::process::id()));
        let opened = OpenOptions::new().write(true).create(true).truncate(true).open(&path);
        let file = opened.map_err(|reason| {
            let folder = to.parent().filter(|folder| !folder.as_os_str().is_empty());
            let absent = folder.filter(|folder| !folder.is_dir());
            let hint = absent.map(|folder| format!("; make the folder {} first", folder.display()));
            let (path, hint) = (to.display().to_string(), hint.unwrap_or_default());
            ConvertError::Io { path, action: "create", reason, hint }
        })?;
        Ok(Part { file, path, kept: false })
    }

    /// Errors of writing name the file and say how much room it takes.
    fn with_path(&self, error: ConvertError, bytes: u64) -> ConvertError {
        match error {
            ConvertError::Format(FormatError::Io { reason, action: action @ "write", .. }) => {
                let hint = match reason.kind() {
                    std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                        format!("; the file takes {bytes} bytes: make room, or write elsewhere")
                    }
                    _ => String::new(),
                };
                ConvertError::Io { path: self.path.display().to_string(), action, reason, hint }
            }
            other => other,
        }
    }

    /// Gives the complete file its name; its size.
    fn keep(mut self, to: &Path, replace: bool) -> Result<u64> {
        let io = |action| {
            let path = to.display().to_string();
            move |reason| ConvertError::Io { path, action, reason, hint: String::new() }
        };
        self.file.sync_all().map_err(io("write"))?;
        let bytes = self.file.metadata().map_err(io("write"))?.len();
        // Somebody may have written there meanwhile.
        if !replace && fs::symlink_metadata(to).is_ok() {
            return Err(ConvertError::Exists { path: to.display().to_string() });
        }
        fs::rename(&self.path, to).map_err(io("rename the finished file to"))?;
        self.kept = true;
        Ok(bytes)
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.kept {
            // Nothing more can be done about a file that cannot be removed.
            let _ = fs::remove_file(&self.path);
        }
    }
}
