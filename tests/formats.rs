//! Model files: damaged ones are refused with a message that names the damage, sound ones give back exactly
//! what was put in. Rows of damage per header field; the small files are built here byte by byte, apart from
//! the writer under test.

mod common;

#[path = "formats/damage_gguf.rs"]
mod damage_gguf;
#[path = "formats/damage_safetensors.rs"]
mod damage_safetensors;
#[path = "formats/folders.rs"]
mod folders;
#[path = "formats/places.rs"]
mod places;
#[path = "formats/raw.rs"]
mod raw;
#[path = "formats/real_files.rs"]
mod real_files;
#[path = "formats/round_trip.rs"]
mod round_trip;
#[path = "formats/variants.rs"]
mod variants;

use anygpu::formats::Archive;

/// Opens `files` and compares the message with `expected`: every part of it, separated by `…`, must occur,
/// in this order.
fn refuse(case: &str, files: Vec<(String, Vec<u8>)>, expected: &str) {
    let message = match Archive::from_memory(files) {
        Ok(_) => panic!("{case}: was accepted, expected \"{expected}\""),
        Err(error) => error.to_string(),
    };
    let mut rest = message.as_str();
    for part in expected.split('…') {
        let at =
            rest.find(part).unwrap_or_else(|| panic!("{case}: expected \"{expected}\", got \"{message}\""));
        rest = &rest[at + part.len()..];
    }
}

#[test]
#[should_panic(expected = "was accepted")]
fn the_check_fails_on_sound_files() {
    refuse("sound", raw::gguf_files(&raw::Gguf::sound()), "");
}

#[test]
#[should_panic(expected = "expected \"no such words\"")]
fn the_check_fails_on_other_messages() {
    refuse("empty", vec![("model.gguf".into(), vec![])], "no such words");
}
