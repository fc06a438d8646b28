//! Numbers in sentences.

/// `1 token`, `2 tokens`, `0 tokens`: `n` of what `one` of is called so.
pub fn counted(n: usize, one: &str) -> String {
    match n {
        1 => format!("1 {one}"),
        n => format!("{n} {one}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        for (n, expected) in [(0, "0 tokens"), (1, "1 token"), (2, "2 tokens")] {
            assert_eq!(counted(n, "token"), expected);
        }
    }
}
