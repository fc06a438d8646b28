//! Errors are printed with their causes (`{:#}`): whoever carries a cause must not say it, too, or it stands there twice.

use std::fs;
use std::path::Path;

/// Variants with a cause whose message is their own: (file, line).
fn doubled(name: &str, text: &str) -> Vec<(String, usize)> {
    let (mut message, mut found) = (String::new(), Vec::new());
    for (i, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.starts_with("#[error(") {
            message.clear();
        }
        message.push_str(line);
        let has_cause = line.contains("#[from]")
            || line.contains("#[source]")
            || line.starts_with("source: ") && line.ends_with(',');
        // What thiserror takes for the cause, unless the message is the cause's.
        if has_cause && !message.contains("#[error(transparent)]") {
            found.push((name.to_owned(), i + 1));
        }
    }
    found
}

fn all(dir: &Path, found: &mut Vec<(String, usize)>, enums: &mut usize) {
    for entry in fs::read_dir(dir).expect("a folder").map(|entry| entry.expect("an entry").path()) {
        if entry.is_dir() {
            all(&entry, found, enums);
        } else if let Ok(text) = fs::read_to_string(&entry)
            && text.contains("thiserror::Error")
        {
            *enums += 1;
            found.extend(doubled(&entry.display().to_string(), &text));
        }
    }
}

#[test]
fn no_error_says_its_cause_twice() {
    let bad = "#[error(\"{path}: {source}\")]\n Io {\n path: String,\n source: std::io::Error,\n },";
    assert_eq!(doubled("bad", bad), [("bad".to_owned(), 4)]);
    assert_eq!(doubled("bad", "#[error(\"x: {0}\")]\n A(#[from] B),").len(), 1);
    assert!(doubled("good", "#[error(transparent)]\n A(#[from] B),").is_empty());
    let (mut found, mut enums) = (Vec::new(), 0);
    all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found, &mut enums);
    assert!(enums >= 8, "{enums} error types found");
    assert!(found.is_empty(), "a cause and a message: {found:?}");
}
