//! What the tests against golden files share: the files, and the corpora.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use serde::de::DeserializeOwned;

/// Returns the repository's root.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Reads a golden file, which a script in `scripts/golden` made.
pub fn golden<T: DeserializeOwned>(name: &str) -> T {
    let path = repository().join("tests/golden").join(name);
    serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap()
}

/// Corpora, by name and documents, as `scripts/golden/corpora.py` unpacks them.
pub struct Corpora {
    script: Child,
    stream: io::BufReader<ChildStdout>,
}

impl Corpora {
    /// Opens the corpora. Returns `None`, and prints the reason, if there are none.
    pub fn open() -> Option<Self> {
        let folder = match std::env::var_os("CONVOY_CORPORA") {
            Some(folder) => PathBuf::from(folder),
            None => repository().join("../shared/corpora"),
        };
        if !folder.is_dir() {
            println!("skipped: no corpora in {}; CONVOY_CORPORA names another folder", folder.display());
            return None;
        }
        let mut script = Command::new("python3")
            .arg(repository().join("scripts/golden/corpora.py"))
            .arg(&folder)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("cannot start python3, which unpacks the corpora: {e}"));
        let stream = io::BufReader::new(script.stdout.take().unwrap());
        Some(Corpora { script, stream })
    }
}

impl Iterator for Corpora {
    type Item = (String, Vec<Vec<u8>>);

    fn next(&mut self) -> Option<Self::Item> {
        let found = read_corpus(&mut self.stream);
        if found.is_none() {
            assert!(self.script.wait().unwrap().success());
        }
        found
    }
}

/// Reads one record of `scripts/golden/corpora.py`. Returns `None` at the end.
fn read_corpus(stream: &mut impl Read) -> Option<(String, Vec<Vec<u8>>)> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return None,
        result => result.unwrap(),
    }
    let name = String::from_utf8(read_bytes(stream, u32::from_le_bytes(length).into())).unwrap();
    stream.read_exact(&mut length).unwrap();
    let documents = (0..u32::from_le_bytes(length)).map(|_| {
        let mut length = [0; 8];
        stream.read_exact(&mut length).unwrap();
        read_bytes(stream, u64::from_le_bytes(length))
    });
    Some((name, documents.collect()))
}

fn read_bytes(stream: &mut impl Read, length: u64) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(length).unwrap()];
    stream.read_exact(&mut bytes).unwrap();
    bytes
}
