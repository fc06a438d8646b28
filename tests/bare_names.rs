//! Models named from inside of their folder. Alone in its program: the working folder is the process's.

use std::path::Path;

use anygpu::base::DType;
use anygpu::formats::Archive;
use anygpu::formats::gguf::GgufWriter;

fn part(no: u16) -> Vec<u8> {
    let mut writer = GgufWriter::new();
    writer.set("split.no", u32::from(no));
    writer.set("split.count", 2u32);
    writer.tensor(&format!("t{no}"), DType::F32, &[4]).expect("a sound tensor");
    let mut body = writer.begin(Vec::new()).expect("a sound header");
    body.write(&[0; 16]).expect("written");
    body.finish().expect("complete")
}

#[test]
fn a_part_by_its_bare_name() {
    let dir = tempfile::tempdir().expect("temporary folder");
    for no in 0..2 {
        let name = format!("m-0000{}-of-00002.gguf", no + 1);
        std::fs::write(dir.path().join(name), part(no)).expect("written");
    }
    std::env::set_current_dir(dir.path()).expect("entered");
    let names = ["m-00001-of-00002.gguf", "m-00002-of-00002.gguf", "./m-00001-of-00002.gguf", "."];
    let check = |name: &str| {
        let archive = Archive::open(Path::new(name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(archive.tensors.len(), 2, "{name}");
    };
    names.into_iter().for_each(check);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("m-00002-of-00002.gguf", "link.gguf").expect("linked");
        check("link.gguf");
    }
    std::fs::remove_file("m-00002-of-00002.gguf").expect("removed");
    let message = Archive::open(Path::new(names[0])).expect_err("a part is missing").to_string();
    assert!(message.starts_with("m-00001-of-00002.gguf: refers to 'm-00002-of-00002.gguf'"), "{message}");
}
