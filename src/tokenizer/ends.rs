//! Tokens that end generation, known by their text.

/// Ends of a turn or of a text in one family or another: taken from every kind of file.
const ENDS: [&str; 14] = [
    "<|im_end|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<end_of_turn>",
    "<|end_of_turn|>",
    "<|end|>",
    "<|endoftext|>",
    "<|end_of_text|>",
    "<|return|>",
    "<｜end▁of▁sentence｜>",
    "<|EOT|>",
    "<EOT>",
    "<end_of_utterance>",
    "<|eot|>",
];

/// More of them, which llama.cpp takes from GGUF files. In a Hugging Face folder generation_config.json
/// says what ends generation, and that is followed there.
const GGUF_ENDS: [&str; 12] = [
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<eos>",
    "</s>",
    "<|call|>",
    "<|calls|>",
    "<|flush|>",
    "<turn|>",
    "<|tool_response>",
    "[e~[",
    "<|file_sep|>",
];

/// Of these groups the first one that the vocabulary has: fill-in-the-middle's padding and repository.
const GGUF_FIRST_OF: [&[&str]; 2] = [
    &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"],
    &["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"],
];

/// Ends among the tokens that `id_of` knows, for a Hugging Face folder.
pub(super) fn of_hf(id_of: impl Fn(&str) -> Option<u32>) -> Vec<u32> {
    all(&ENDS, &id_of)
}

/// Ends among the tokens that `id_of` knows, for a GGUF file.
pub(super) fn of_gguf(id_of: impl Fn(&str) -> Option<u32>) -> Vec<u32> {
    let mut ids = [all(&ENDS, &id_of), all(&GGUF_ENDS, &id_of)].concat();
    ids.extend(GGUF_FIRST_OF.iter().filter_map(|group| group.iter().find_map(|token| id_of(token))));
    let has = |token: &str| id_of(token).is_some();
    // There `<|end|>` ends a message, and others may follow in the same answer.
    let calls = has("<|call|>") || has("<|calls|>");
    if calls && (has("<|return|>") || has("<|flush|>")) {
        ids.retain(|&id| Some(id) != id_of("<|end|>"));
    }
    // There `</s>` is a word like any other.
    if has("<|tool_response>") || has("<|plamo:eos|>") {
        ids.retain(|&id| Some(id) != id_of("</s>"));
    }
    ids
}

fn all(tokens: &[&str], id_of: &impl Fn(&str) -> Option<u32>) -> Vec<u32> {
    tokens.iter().filter_map(|token| id_of(token)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_depend_on_their_neighbours() {
        for (vocabulary, hf, gguf) in [
            (&["<|im_end|>", "[EOT]", "a"][..], &[0][..], &[0, 1][..]),
            (&["<|end|>", "<|return|>", "<|call|>"], &[0, 1], &[1, 2]),
            (&["<|end|>", "<|return|>"], &[0, 1], &[0, 1]),
            (&["<|end|>", "<|calls|>", "<|flush|>"], &[0], &[1, 2]),
            (&["</s>", "<|tool_response>", "<eos>"], &[], &[1, 2]),
            (&["</s>", "<turn|>"], &[], &[0, 1]),
            (&["[PAD]", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>"], &[], &[1, 2, 3]),
        ] {
            let id_of = |token: &str| vocabulary.iter().position(|t| *t == token).map(|ix| ix as u32);
            let sorted = |mut ids: Vec<u32>| {
                ids.sort_unstable();
                ids
            };
            assert_eq!(sorted(of_hf(id_of)), hf, "{vocabulary:?}");
            assert_eq!(sorted(of_gguf(id_of)), gguf, "{vocabulary:?}");
        }
    }
}
