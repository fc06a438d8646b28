//! The prompt's pieces: arguments, files, and what comes through stdin.

use std::io::{IsTerminal, Read, Stdin};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use anyhow::{Context, bail};

use super::open::note;

/// Silence on stdin after which a line says what is waited for.
const PATIENCE: Duration = Duration::from_secs(2);

/// A piece of the prompt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// As it is.
    Text(String),
    /// The contents of a file.
    File(PathBuf),
    /// What comes through stdin.
    Stdin,
}

impl Piece {
    /// An argument; `-` is stdin.
    pub(super) fn of_text(text: String) -> Piece {
        if text == "-" { Piece::Stdin } else { Piece::Text(text) }
    }

    /// A file's name; `-` is stdin.
    pub(super) fn of_path(path: &Path) -> Piece {
        if path.as_os_str() == "-" { Piece::Stdin } else { Piece::File(path.to_owned()) }
    }
}

/// Is there a person at the other end of stdin?
pub(super) fn is_terminal() -> bool {
    std::io::stdin().is_terminal()
}

/// The prompt of these pieces, a blank line between them. Stdin joins them where it is not among
/// them but is a pipe or a file: as `cat letter.txt | anygpu run model "Sum up"` means it. Of
/// anything else (terminals, /dev/null, sockets, which programs that start programs hand out and
/// never close) it is read only if nothing else is there.
pub(super) fn read(mut pieces: Vec<Piece>) -> anyhow::Result<String> {
    if pieces.iter().filter(|piece| **piece == Piece::Stdin).count() > 1 {
        bail!("stdin (-) can be read only once");
    }
    let named = pieces.contains(&Piece::Stdin);
    let alone = pieces.is_empty();
    if alone || !named && joins(&std::io::stdin()) {
        pieces.push(Piece::Stdin);
    }
    let mut texts = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(text) => texts.push(text),
            Piece::File(path) => texts.push(file(&path)?),
            Piece::Stdin => {
                let text = stdin(alone || named)?;
                if alone && text.is_empty() {
                    bail!("the prompt is empty: nothing came through stdin; give PROMPT");
                }
                if !alone && !named && !text.is_empty() {
                    note(&format!("the prompt is followed by {} bytes from stdin", text.len()));
                }
                texts.push(text);
            }
        }
    }
    Ok(joined(&texts))
}

fn joined(texts: &[String]) -> String {
    let texts: Vec<&str> = texts.iter().map(String::as_str).filter(|text| !text.is_empty()).collect();
    texts.join("\n\n")
}

fn file(path: &Path) -> anyhow::Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("--file {}", path.display()))?;
    Ok(without_line_end(text))
}

/// All of stdin. Says what it waits for when nothing comes.
fn stdin(asked: bool) -> anyhow::Result<String> {
    let (done, waits) = channel::<()>();
    std::thread::spawn(move || {
        if waits.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            let leave_out = if asked { "" } else { "; `</dev/null` leaves it out" };
            note(&format!("waiting for the end of the text on stdin{leave_out}"));
        }
    });
    let text = all_of_stdin();
    let done: Sender<()> = done;
    drop(done);
    Ok(without_line_end(text?))
}

fn all_of_stdin() -> anyhow::Result<String> {
    let mut text = String::new();
    std::io::stdin().lock().read_to_string(&mut text).context("the prompt on stdin")?;
    Ok(text)
}

/// Without the line end that `echo` and editors add.
fn without_line_end(mut text: String) -> String {
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    text
}

#[cfg(unix)]
fn joins(stdin: &Stdin) -> bool {
    use std::os::fd::AsFd;
    use std::os::unix::fs::FileTypeExt;
    let file = stdin.as_fd().try_clone_to_owned().map(std::fs::File::from);
    let kind = file.and_then(|file| file.metadata()).map(|metadata| metadata.file_type());
    kind.is_ok_and(|kind| kind.is_fifo() || kind.is_file())
}

#[cfg(not(unix))]
fn joins(stdin: &Stdin) -> bool {
    !stdin.is_terminal()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_end_is_the_writer_s() {
        for (text, expected) in
            [("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n"), ("a", "a"), ("", ""), ("\n", "")]
        {
            assert_eq!(without_line_end(text.to_owned()), expected, "{text:?}");
        }
    }

    #[test]
    fn pieces() {
        assert_eq!(Piece::of_text("-".to_owned()), Piece::Stdin);
        assert_eq!(Piece::of_text("--".to_owned()), Piece::Text("--".to_owned()));
        assert_eq!(Piece::of_path(Path::new("-")), Piece::Stdin);
        assert_eq!(Piece::of_path(Path::new("./-")), Piece::File("./-".into()));
        assert_eq!(joined(&["a".to_owned(), String::new(), "b\nc".to_owned()]), "a\n\nb\nc");
        assert!(read(vec![Piece::Stdin, Piece::Stdin]).is_err());
    }
}
