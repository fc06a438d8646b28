//! A template's source, before it is parsed: what Jinja2 does there and the engine does not.

use super::percent;

/// Line ends as Jinja2 reads them, training marks as plain blocks, `%` as a filter.
pub(super) fn prepared(source: &str) -> String {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let mut out = String::with_capacity(source.len());
    let mut rest = source.as_str();
    let mut raw = false;
    while let Some(open) = find_block(rest) {
        let (text, block) = rest.split_at(open);
        out.push_str(text);
        let end = block_end(block);
        let (block, after) = block.split_at(end);
        let tag = tag_of(block);
        match tag {
            "raw" => raw = true,
            "endraw" => raw = false,
            _ => {}
        }
        if raw || block.starts_with("{#") {
            // Within `raw` only its end is a block.
            let keep = if raw && tag != "raw" { 2 } else { block.len() };
            out.push_str(&block[..keep]);
            rest = &rest[open + keep..];
            continue;
        }
        // `{% generation %}` only marks which tokens count in training.
        let marked = match tag {
            "generation" => block.replacen(tag, "if true", 1),
            "endgeneration" => block.replacen(tag, "endif", 1),
            _ => block.to_string(),
        };
        out.push_str(&percent::rewritten(&marked));
        rest = after;
    }
    out + rest
}

/// Start of the next `{{`, `{%` or `{#`.
fn find_block(text: &str) -> Option<usize> {
    let pairs = text.as_bytes().windows(2);
    pairs.into_iter().position(|pair| pair[0] == b'{' && matches!(pair[1], b'{' | b'%' | b'#'))
}

/// Length of the block that `text` begins with; all of it where the block does not end.
fn block_end(text: &str) -> usize {
    let close = match text.as_bytes()[1] {
        b'{' => "}}",
        b'%' => "%}",
        _ => return text.find("#}").map_or(text.len(), |at| at + 2),
    };
    let bytes = text.as_bytes();
    // Inside of brackets `}}` ends two dicts.
    let (mut at, mut depth) = (2, 0usize);
    while at < bytes.len() {
        match bytes[at] {
            b'\'' | b'"' => {
                at = string_end(bytes, at);
                continue;
            }
            _ if depth == 0 && text.is_char_boundary(at) && text[at..].starts_with(close) => {
                return at + 2;
            }
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
    }
    text.len()
}

/// Position behind the string literal that begins at `at`.
pub(super) fn string_end(bytes: &[u8], at: usize) -> usize {
    let mut end = at + 1;
    while end < bytes.len() && bytes[end] != bytes[at] {
        end += if bytes[end] == b'\\' { 2 } else { 1 };
    }
    (end + 1).min(bytes.len())
}

/// The word in `{%- word -%}`; nothing for other blocks.
fn tag_of(block: &str) -> &str {
    let inner = block.strip_prefix("{%").and_then(|block| block.strip_suffix("%}"));
    inner.unwrap_or_default().trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_prepared() {
        for (source, want) in [
            ("a\r\nb\rc\n", "a\nb\nc\n"),
            ("{{ 'x\r\ny' }}", "{{ 'x\ny' }}"),
            ("{%- generation -%}a{% endgeneration %}", "{%- if true -%}a{% endif %}"),
            ("{{ '{% generation %}' }}", "{{ '{% generation %}' }}"),
            ("{# {{ 1 % 2 }} #}{{ {'a': {}} }}", "{# {{ 1 % 2 }} #}{{ {'a': {}} }}"),
            ("{% raw %}{{ 1 % 2 }}{% endraw %}{{a}}", "{% raw %}{{ 1 % 2 }}{% endraw %}{{a}}"),
            ("{{ '%}' }}{{ 'é' ", "{{ '%}' }}{{ 'é' "),
            ("{{", "{{"),
            ("{", "{"),
        ] {
            assert_eq!(prepared(source), want, "{source:?}");
        }
    }
}
