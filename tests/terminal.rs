//! What a terminal gets, through a pseudo-terminal of util-linux' `script`: orders in files, names and
//! texts are escaped there, and text through a pipe is as it is.
#![cfg(target_os = "linux")]

use std::io::Write;
use std::process::{Command, Stdio};

/// Everything that a terminal would be sent by `anygpu` with these arguments, where this is typed.
fn on_a_terminal(arguments: &[&str], typed: &str, cache: &std::path::Path) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let words = [&[env!("CARGO_BIN_EXE_anygpu")], arguments].concat();
    let line = words.into_iter().map(quoted).collect::<Vec<_>>().join(" ");
    let mut script = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("ANYGPU_CACHE", cache)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("`script` of util-linux is needed");
    script.stdin.take().expect("a pipe").write_all(typed.as_bytes()).expect("is typed");
    let output = script.wait_with_output().expect("ends");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn orders_to_a_terminal_are_escaped_and_pipes_get_text() {
    let cache = tempfile::tempdir().expect("a folder");
    // A name in an error message.
    let shown = on_a_terminal(&["run", "/no/such\x1b[31m\u{202e}model.gguf", "hi"], "", cache.path());
    assert!(shown.contains("such\\x1b[31m\\u{202e}model.gguf"), "{shown:?}");
    // Text on stdout: what is continued is shown again.
    let arguments =
        ["run", "demo", "A\x1b]0;owned\x07 fox", "--raw", "--no-plan", "-n", "1", "--temperature", "0"];
    let shown = on_a_terminal(&arguments, "", cache.path());
    assert!(shown.contains("A\\x1b]0;owned\\x07 fox") && !shown.contains('\x07'), "{shown:?}");
    let piped = Command::new(env!("CARGO_BIN_EXE_anygpu"))
        .args(arguments)
        .env("ANYGPU_CACHE", cache.path())
        .output()
        .expect("runs");
    let piped = String::from_utf8_lossy(&piped.stdout).into_owned();
    assert!(piped.contains("A\x1b]0;owned\x07 fox"), "{piped:?}");
}

/// Lines that come together, as they do where a terminal pastes them, or somebody types ahead.
#[test]
fn no_line_is_lost_that_was_typed_ahead() {
    let cache = tempfile::tempdir().expect("a folder");
    let lines = "/stats\n/set top_k 7\n/set\n/bye\n";
    let shown = on_a_terminal(&["run", "demo", "--no-plan", "-n", "1"], lines, cache.path());
    for told in ["stats after each answer", "top_k: 7", "top_k           7"] {
        assert!(shown.contains(told), "{told}: {shown}");
    }
}
