//! `text % values`: the engine knows `%` for numbers only, so it becomes a filter, in the source.

use super::source::string_end;

/// Name of the filter; no template can have one like it.
pub(super) const FILTER: &str = "__percent";

/// The block `{{ … }}` or `{% … %}` with `a % b` as `(a)|__percent(b)`.
pub(super) fn rewritten(block: &str) -> String {
    let ends = block.len() >= 4 && (block.ends_with("%}") || block.ends_with("}}"));
    if !ends {
        return block.to_string();
    }
    // Delimiters, with the sign for white space at either side.
    let (mut open, mut close) = (2, block.len() - 2);
    open += usize::from(block[open..close].starts_with(['-', '+']));
    close -= usize::from(block[open..close].ends_with(['-', '+']));
    let inner = &block[open..close];
    if !inner.contains('%') {
        return block.to_string();
    }
    let mut walk = Walk { text: inner, tokens: tokens(inner), next: 0, out: String::new(), depth: 0 };
    match walk.level() {
        Some(()) if walk.next == walk.tokens.len() => {
            let end = walk.tokens.last().map_or(0, |token| token.end);
            format!("{}{}{}{}", &block[..open], walk.out, &inner[end..], &block[close..])
        }
        // What is no expression is left to the parser, which says so.
        _ => block.to_string(),
    }
}

/// Deepest nesting that is followed; the engine's parser has a limit of its own.
const MAX_DEPTH: usize = 150;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Text,
    Word,
    Sign,
}

struct Token {
    kind: Kind,
    start: usize,
    end: usize,
}

fn tokens(text: &str) -> Vec<Token> {
    let bytes = text.as_bytes();
    let (mut all, mut at) = (Vec::new(), 0);
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_' || b >= 0x80;
    while at < bytes.len() {
        let start = at;
        let kind = match bytes[at] {
            b if b.is_ascii_whitespace() => {
                at += 1;
                continue;
            }
            b'\'' | b'"' => {
                at = string_end(bytes, at);
                Kind::Text
            }
            b if word(b) => {
                at += bytes[at..].iter().take_while(|b| word(**b)).count();
                Kind::Word
            }
            _ => {
                let double = ["**", "//", "==", "!=", "<=", ">="];
                let two = bytes.get(at..at + 2);
                at += if double.iter().any(|sign| two == Some(sign.as_bytes())) { 2 } else { 1 };
                Kind::Sign
            }
        };
        all.push(Token { kind, start, end: at });
    }
    all
}

/// Words that stand between operands.
const KEYWORDS: [&str; 22] = [
    "if",
    "else",
    "elif",
    "in",
    "and",
    "or",
    "not",
    "is",
    "for",
    "set",
    "recursive",
    "block",
    "macro",
    "call",
    "filter",
    "with",
    "include",
    "import",
    "from",
    "as",
    "do",
    "extends",
];

struct Walk<'t> {
    text: &'t str,
    tokens: Vec<Token>,
    next: usize,
    out: String,
    depth: usize,
}

impl Walk<'_> {
    fn peek(&self) -> Option<(Kind, &str)> {
        self.tokens.get(self.next).map(|token| (token.kind, &self.text[token.start..token.end]))
    }

    fn is(&self, sign: &str) -> bool {
        self.peek() == Some((Kind::Sign, sign))
    }

    /// Copies a token with the white space in front of it.
    fn copy(&mut self) {
        let from = if self.next == 0 { 0 } else { self.tokens[self.next - 1].end };
        self.out.push_str(&self.text[from..self.tokens[self.next].end]);
        self.next += 1;
    }

    /// Everything to the closing bracket or the end.
    fn level(&mut self) -> Option<()> {
        // Start in `out` of the product that an operand was just added to.
        let mut product: Option<usize> = None;
        while let Some((kind, text)) = self.peek() {
            match (kind, text) {
                (Kind::Sign, ")" | "]" | "}") => return Some(()),
                (Kind::Sign, "%") if product.is_some() => {
                    let start = product?;
                    let white = self.out[start..].len() - self.out[start..].trim_start().len();
                    self.out.insert(start + white, '(');
                    self.out.push_str(")|");
                    self.out.push_str(FILTER);
                    self.out.push('(');
                    self.next += 1;
                    self.operand()?;
                    self.out.push(')');
                }
                (Kind::Sign, "*" | "/" | "//") if product.is_some() => {
                    self.copy();
                    self.operand()?;
                }
                (Kind::Sign, sign) if product.is_some() || !["-", "+", "(", "[", "{"].contains(&sign) => {
                    self.copy();
                    product = None;
                }
                (Kind::Word, word) if KEYWORDS.contains(&word) => {
                    self.copy();
                    product = None;
                }
                _ => {
                    product = Some(self.out.len());
                    self.operand()?;
                }
            }
        }
        Some(())
    }

    /// Signs, one value, and everything that belongs to it: `.name`, `[…]`, `(…)`, `|filter(…)`, `**`.
    fn operand(&mut self) -> Option<()> {
        while self.is("-") || self.is("+") {
            self.copy();
        }
        let text = self.peek()?.0 == Kind::Text;
        self.value()?;
        while text && self.peek().is_some_and(|(kind, _)| kind == Kind::Text) {
            self.copy();
        }
        while let Some((Kind::Sign, sign)) = self.peek() {
            match sign {
                "." => {
                    self.copy();
                    self.peek()?;
                    self.copy();
                }
                "|" => {
                    self.copy();
                    (self.peek()?.0 == Kind::Word).then(|| self.copy())?;
                }
                "[" | "(" => self.group()?,
                "**" => {
                    self.copy();
                    return self.operand();
                }
                _ => break,
            }
        }
        Some(())
    }

    fn value(&mut self) -> Option<()> {
        match self.peek()? {
            (Kind::Sign, "(" | "[" | "{") => self.group(),
            (Kind::Sign, _) => None,
            _ => {
                self.copy();
                Some(())
            }
        }
    }

    fn group(&mut self) -> Option<()> {
        self.depth += 1;
        (self.depth < MAX_DEPTH).then_some(())?;
        self.copy();
        self.level()?;
        self.peek()?;
        self.copy();
        self.depth -= 1;
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operands_are_found() {
        for (block, want) in [
            ("{{ 'a' % x }}", "{{ ('a')|__percent( x) }}"),
            ("{{ a.b[0]|f(1) % (c, d) ~ e }}", "{{ (a.b[0]|f(1))|__percent( (c, d)) ~ e }}"),
            ("{% if i % 2 == 0 %}", "{% if (i)|__percent( 2) == 0 %}"),
            ("{{- 2 * 3 % 4 % 5 -}}", "{{- ((2 * 3)|__percent( 4))|__percent( 5) -}}"),
            ("{{ 1 + 7 % -2 - 1 }}", "{{ 1 + (7)|__percent( -2) - 1 }}"),
            ("{{ f('%s' % x, [y % z]) }}", "{{ f(('%s')|__percent( x), [(y)|__percent( z)]) }}"),
            ("{{ '%' }}", "{{ '%' }}"),
            ("{{ % }}", "{{ % }}"),
            ("{% set x = 'a' 'b' % y if z %}", "{% set x = ('a' 'b')|__percent( y) if z %}"),
        ] {
            assert_eq!(rewritten(block), want, "{block}");
        }
    }
}
