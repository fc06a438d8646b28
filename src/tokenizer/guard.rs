//! The one place where a panic of a library that reads files is caught.
//!
//! The `tokenizers` crate panics on some damaged files, while it reads them and later while it encodes.
//! Callers get an error instead, and nothing is printed.

use std::cell::{Cell, RefCell};
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
    static WORDS: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs `work`; a panic in it becomes an error with the panic's words, on one line.
///
/// What `work` borrows is used no more after a panic by any caller here: the tokenizer is dropped, or
/// was only read.
pub(super) fn guarded<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| match GUARDED.get() {
            true => WORDS.with_borrow_mut(|words| *words = Some(words_of(info))),
            false => before(info),
        }));
    });
    let outer = GUARDED.replace(true);
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    GUARDED.set(outer);
    done.map_err(|_| WORDS.take().unwrap_or_else(|| "no reason given".to_string()))
}

fn words_of(info: &PanicHookInfo<'_>) -> String {
    let payload = info.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    let line = text.unwrap_or("no reason given").split_whitespace().collect::<Vec<_>>().join(" ");
    line.chars().take(160).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn panics_become_errors() {
        assert_eq!(guarded(|| 3), Ok(3));
        let words = |work: fn()| guarded(work).expect_err("panics");
        assert_eq!(words(|| panic!("two\n lines")), "two lines");
        assert!(words(|| drop(String::from_utf8(vec![255]).expect("wrong bytes"))).contains("wrong bytes"));
        let inner = guarded(|| guarded::<()>(|| panic!("inner")).expect_err("panics"));
        assert_eq!(inner, Ok("inner".to_string()));
        assert!(!GUARDED.get());
    }
}
