//! Tests with the names and contents of other people's stores and folders: a real prepare and a real training of a tokenizer
//! read what is meant, or are refused with exit code 2 or 3 and what to do.

use std::ffi::OsStr;
use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use common::exit_code::ExitCode;
use common::figures::counted;
use tests::odd_store::{OddStore, addresses};
use tests::process::{launcher, program};
use tests::training::run;

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Returns `launcher prepare` of `input` into `output` in `dir`.
fn prepare(dir: &Path, input: &str, output: &str) -> Command {
    let config = dir.join(format!("{output}.toml"));
    let text = format!("[prepare]\ninputs = [{input:?}]\noutput = {:?}\n", dir.join(output));
    fs::write(&config, text).unwrap();
    let mut command = Command::new(launcher());
    command.args(["prepare", "--ranks", "1", "--config"]).arg(config);
    command
}

/// Returns the command that trains a tokenizer on `input`.
fn tokenizer(dir: &Path, input: &str, output: &str) -> Command {
    let mut command = Command::new(program("prepare"));
    command.args(["tokenizer", "--vocab-size", "260", "--threads", "1", input, "--output"]).arg(dir.join(output));
    command
}

/// Checks that both commands read `documents` documents of `input`.
fn both_read(dir: &Path, (name, input): (&str, &str), documents: u32, environment: &[(&str, String)]) {
    let commands = [prepare(dir, input, &format!("{name}-data")), tokenizer(dir, input, &format!("{name}-bpe"))];
    for mut command in commands {
        command.envs(environment.iter().map(|(key, value)| (key, value)));
        let text = run(command, ExitCode::Done, &[&format!("{}, ", counted(documents.into(), "document"))]);
        assert!(!text.contains("restarting"), "{text}");
    }
}

/// Checks that both commands refuse `input` with `code`, at once.
fn both_refuse(dir: &Path, input: &str, code: ExitCode, words: &[&str], environment: &[(&str, &str)]) {
    for mut command in [prepare(dir, input, "refused"), tokenizer(dir, input, "refused-bpe")] {
        command.envs(environment.iter().copied());
        let text = run(command, code, words);
        assert!(!text.contains("restarting") && !text.contains("panicked"), "{text}");
        assert!(!text.contains("SECRET"), "{text}");
    }
}

#[test]
fn folder_markers_and_odd_keys_of_a_store_are_passed_over() {
    let dir = tempfile::tempdir().unwrap();
    let objects = [
        ("bucket/data/", ""),
        ("bucket/data/a.txt", "the first text"),
        ("bucket/data/b.txt/", ""),
        ("bucket/data/b.txt/c.txt", "the second text"),
        ("bucket/data//d.txt", "never read"),
        ("bucket/data/e\nf.txt", "never read"),
        ("bucket/data/../g.txt", "never read"),
        ("bucket/data/raw/", ""),
        ("bucket/data/raw/1[2].txt", "the third text"),
        ("bucket/data/what? 50%#.txt", "the fourth text"),
        ("bucket/data_$folder$", ""),
    ];
    for (name, address) in addresses() {
        let server = OddStore::start(address, &objects);
        let environment = &server.environment();
        for (what, input, documents) in [
            ("folder", "s3://bucket/data/", 4),
            ("bucket", "s3://bucket", 4),
            ("pattern", "s3://bucket/data/**/*.txt", 4),
            ("brackets", "s3://bucket/data/raw/1[2].txt", 1),
            ("question", "s3://bucket/data/what? 50%#.txt", 1),
        ] {
            if name == "IPv4" || what == "folder" {
                both_read(dir.path(), (&format!("{name}-{what}"), input), documents, environment);
            }
        }
    }
}

#[test]
fn a_signed_url_is_read_and_its_signature_is_nowhere_printed_or_stored() {
    let dir = tempfile::tempdir().unwrap();
    let signature = "X-Amz-Signature=SECRET%2F1&x=*[a]";
    for (name, address) in addresses() {
        let server = OddStore::signed(address, &[("b/a.txt", "some text"), ("b/empty.txt", "")], signature);
        both_read(dir.path(), (name, &format!("{}/b/a.txt?{signature}", server.url())), 1, &[]);
        let (gone, odd) = (format!("{}/b/c.txt?{signature}", server.url()), format!("{}/b/a.txt?SECRET", server.url()));
        both_refuse(dir.path(), &gone, ExitCode::Data, &["/b/c.txt does not exist"], &[]);
        both_refuse(dir.path(), &odd, ExitCode::Data, &["/b/a.txt: access denied"], &[]);
        assert!(server.requests().iter().any(|request| request == &format!("GET /b/a.txt?{signature}")));
    }
    for file in ["prepare.json", "README.md"] {
        let text = fs::read_to_string(dir.path().join("IPv4-data").join(file)).unwrap();
        assert!(text.contains("/b/a.txt") && !text.contains("SECRET"), "{file}: {text}");
    }
}

#[test]
fn a_web_object_that_is_not_there_and_a_folder_of_a_web_server_are_called_that() {
    let dir = tempfile::tempdir().unwrap();
    let server = OddStore::start(V4, &[("a/[1].txt", "text")]);
    let url = |path: &str| format!("{}/{path}", server.url());
    both_refuse(dir.path(), &url("a/b.txt"), ExitCode::Data, &["/a/b.txt does not exist"], &[]);
    both_refuse(dir.path(), &url("a"), ExitCode::Data, &["cannot be listed", "name each object"], &[]);
    both_refuse(dir.path(), &url("a/*.txt"), ExitCode::Data, &["cannot be listed", "name each object"], &[]);
    both_read(dir.path(), ("exact", &url("a/[1].txt")), 1, &[]);
    let with_password = url("a/[1].txt").replace("http://", "http://user:SECRET@");
    both_refuse(dir.path(), &with_password, ExitCode::Config, &["user or password in it", "leave them out"], &[]);
    both_refuse(dir.path(), "http://user:SECRET/@h:x/a.txt", ExitCode::Config, &["cannot open http://..."], &[]);
}

#[test]
fn an_endpoint_that_is_no_url_is_refused_with_its_variable() {
    let dir = tempfile::tempdir().unwrap();
    let keys = [("AWS_ACCESS_KEY_ID", "any"), ("AWS_SECRET_ACCESS_KEY", "any"), ("AZURE_STORAGE_ACCOUNT_NAME", "any")];
    for (input, variable, value) in [
        ("s3://bucket/data", "AWS_ENDPOINT_URL", "localhost:9000"),
        ("s3://bucket/data", "AWS_ENDPOINT_URL", "127.0.0.1"),
        ("s3://bucket/data", "AWS_ENDPOINT_URL_S3", "http://::1:9000"),
        ("s3://bucket/data", "AWS_ENDPOINT_URL", "http://user:SECRET@host:x"),
        ("gs://bucket/data", "GOOGLE_BASE_URL", "[::1]:9000"),
        ("az://bucket/data", "AZURE_STORAGE_ENDPOINT", "localhost:10000"),
        ("az://bucket/data", "AZURITE_BLOB_STORAGE_URL", "localhost:10000"),
    ] {
        let environment = [&keys[..], &[(variable, value)]].concat();
        let words = [input, "is no endpoint", variable, "needs http:// or https://"];
        both_refuse(dir.path(), input, ExitCode::Config, &words, &environment);
    }
    let environment = [&keys[..], &[("AWS_REGION", "us east")]].concat();
    let words = ["\"us east\" is no region", "AWS_REGION"];
    both_refuse(dir.path(), "s3://bucket/data", ExitCode::Config, &words, &environment);
}

#[test]
fn names_that_are_meant_exactly_and_ambiguous_ones_on_a_disk() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("[in]");
    fs::create_dir(&root).unwrap();
    for name in ["a[1].txt", "b[1].txt", "b1.txt", "c?#%41.txt"] {
        fs::write(root.join(name), name).unwrap();
    }
    let input = |name: &str| root.join(name).display().to_string();
    both_read(dir.path(), ("folder", &input("")), 4, &[]);
    both_read(dir.path(), ("exact", &input("a[1].txt")), 1, &[]);
    both_read(dir.path(), ("characters", &input("c?#%41.txt")), 1, &[]);
    both_read(dir.path(), ("pattern", &input("?[[]1].txt")), 2, &[]);
    let words = ["b[1].txt: there is something of exactly this name", "matches others", "b1.txt"];
    both_refuse(dir.path(), &input("b[1].txt"), ExitCode::Config, &words, &[]);
    both_refuse(
        dir.path(),
        &input("***.txt"),
        ExitCode::Config,
        &["no pattern, and there is nothing of this name"],
        &[],
    );
}

#[test]
fn loops_of_links_and_names_that_no_object_has_end_no_job() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("in");
    fs::create_dir_all(root.join("deep/er")).unwrap();
    fs::write(root.join("a.txt"), "text").unwrap();
    fs::write(root.join("deep/b.txt"), "text").unwrap();
    for name in [&b"a line\nbreak.txt"[..], b"\xff.txt", b"deep/\xe9t\xe9.txt"] {
        fs::write(root.join(OsStr::from_bytes(name)), "never read").unwrap();
    }
    symlink("loop", root.join("loop")).unwrap();
    symlink("nowhere", root.join("dangling.txt")).unwrap();
    symlink("..", root.join("deep/up")).unwrap();
    symlink("../deep", root.join("deep/er/around")).unwrap();
    let input = |name: &str| root.join(name).display().to_string();
    both_read(dir.path(), ("folder", &input("")), 2, &[]);
    both_read(dir.path(), ("pattern", &input("*.txt")), 1, &[]);
    both_read(dir.path(), ("deep", &input("**/*.txt")), 2, &[]);
}
