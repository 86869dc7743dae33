//! Makes the names of places that a person writes independent of the working directory.

use std::path::{Component, Path as FilePath, PathBuf};

use url::Url;

use super::error::{Result, StorageError};
use crate::config::RunConfig;
use crate::secrets::{self, unparsed};

/// Returns `url` as an absolute URL. A plain path is a local file or folder, relative to the working directory. Only in web
/// addresses do `?` and `#` end the name.
pub fn absolute_url(url: &str) -> Result<Url> {
    let refuse = |reason: &str| StorageError::Url { url: unparsed(url), reason: reason.to_owned() };
    if url.contains("://") {
        let is_web = url.starts_with("http://") || url.starts_with("https://");
        let name = if is_web { url.to_owned() } else { url.replace('?', "%3F").replace('#', "%23") };
        let parsed = Url::parse(&name).map_err(|e| refuse(&e.to_string()))?;
        return secrets::refusal(&parsed).map_or(Ok(parsed), |reason| Err(refuse(reason)));
    }
    let path = std::path::absolute(FilePath::new(url)).map_err(|e| refuse(&e.to_string()))?;
    Url::from_file_path(without_parents(&path)).map_err(|()| refuse("it is not a path"))
}

/// Returns `path` without `..`, which no store has. Resolves it as the system does if the folders exist, and by text otherwise.
fn without_parents(path: &FilePath) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        if component == Component::ParentDir {
            plain = plain.canonicalize().unwrap_or(plain);
            plain.pop();
        } else {
            plain.push(component);
        }
    }
    plain
}

/// Makes every URL and path of `config` independent of the working directory, so that it holds for processes in other folders.
pub fn make_urls_absolute(config: &mut RunConfig) -> Result<()> {
    let RunConfig { run, data, evaluation, .. } = config;
    let sources = data.train.iter_mut().chain(&mut data.validation).map(|source| &mut source.url);
    let tokenizer = Some(&mut data.tokenizer).filter(|source| source.as_str() != "gpt2");
    let tasks_data = Some(&mut evaluation.tasks_data).filter(|url| !url.is_empty());
    for url in sources.chain([&mut run.output]).chain(tokenizer).chain(tasks_data) {
        *url = absolute_words(url)?;
    }
    for task in &mut evaluation.tasks {
        if let Some((name, file)) = task.split_once('=').filter(|(_, file)| !file.trim().is_empty()) {
            *task = format!("{}={}", name.trim(), absolute_url(file.trim())?);
        }
    }
    Ok(())
}

/// Makes `words` independent of the working directory. A path becomes a URL, and a pattern stays a pattern.
pub fn absolute_words(words: &str) -> Result<String> {
    match pattern_in(words) {
        None => Ok(absolute_url(words)?.to_string()),
        // In a URL, `?` would become part of the name.
        Some(_) if words.contains("://") => absolute_url(words).map(|_| words.to_owned()),
        Some((folder, text)) => {
            let folder = absolute_url(&folder)?.to_string();
            let slash = if folder.ends_with('/') { "" } else { "/" };
            Ok(format!("{folder}{slash}{}", text.replace('%', "%25")))
        }
    }
}

/// Splits `words` into the folder before the pattern, with the query of a web address, and the pattern. Returns `None` if
/// there is no pattern.
pub(super) fn pattern_in(words: &str) -> Option<(String, &str)> {
    let is_web = words.starts_with("http://") || words.starts_with("https://");
    let (place, query) = words.split_at(words.find(['?', '#']).filter(|_| is_web).unwrap_or(words.len()));
    // Brackets in a server's address are no pattern.
    let path = place.find("://").map_or(0, |at| at + 3 + place[at + 3..].find('/').unwrap_or(place.len() - at - 3));
    let at = path + place[path..].find(['*', '?', '['])?;
    let split = place[..at].rfind('/').map_or(0, |slash| slash + 1);
    let folder = if split == 0 { ".".to_owned() } else { format!("{}{query}", &place[..split]) };
    Some((folder, &place[split..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{RawConfig, StorageConfig};
    use crate::exit_code::ExitCode;
    use crate::storage::Folder;

    #[test]
    fn a_url_with_a_password_is_refused_and_not_printed() {
        for url in [
            "https://me:hunter2@host/data",
            "s3://hunter2@bucket/run",
            "abfss://box:hunter2@account/x",
            "http://me:hunter2@[::1/x",
        ] {
            let error = Folder::open(url, &StorageConfig::default()).unwrap_err();
            assert_eq!(error.exit_code(), ExitCode::Config);
            assert!(!error.to_string().contains("hunter2") && error.to_string().contains("://..."), "{error}");
        }
        assert_eq!(absolute_url("abfss://box@account.dfs.core.windows.net/x").unwrap().username(), "box");
        assert!(absolute_url("file:///a/b@c").is_ok());
    }

    #[test]
    fn paths_lead_up_as_the_system_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::os::unix::fs::symlink(root.join("a/b"), root.join("link")).unwrap();
        for (path, expected) in [("a/b/../x", "a/x"), ("link/../x", "a/x"), ("not/there/../../x/.", "x"), ("x", "x")] {
            let url = absolute_url(root.join(path).to_str().unwrap()).unwrap();
            assert_eq!(url.to_file_path().unwrap(), root.join(expected), "{path}");
        }
    }

    #[test]
    fn places_of_evaluation_data_are_made_absolute_and_names_of_tasks_stay() {
        let text = "[run]\noutput = \"x\"\n[model]\npreset = \"tiny-cpu\"\n[data]\ntrain = [{ url = \"a\" }]\n[batch]\n\
                    global_sequences = 8\nmicro_sequences = 4\nsequence_tokens = 64\n[optimizer]\npeak_learning_rate = 1e-3\n\
                    warmup_steps = 1\n[train]\nmax_steps = 10\n\
                    [evaluation]\ntasks = [\"ptb\", \"text = notes.txt\"]\ntasks_data = \"eval\"\n";
        let mut config = RawConfig::parse("of the test", text, &[]).unwrap().run().unwrap();
        make_urls_absolute(&mut config).unwrap();
        let here = absolute_url(".").unwrap().to_string();
        let place = |name: &str| format!("{}/{name}", here.trim_end_matches('/'));
        assert_eq!(config.evaluation.tasks, ["ptb".to_owned(), format!("text={}", place("notes.txt"))]);
        assert_eq!(config.evaluation.tasks_data, place("eval"));
        config.evaluation.tasks_data = String::new();
        make_urls_absolute(&mut config).unwrap();
        assert_eq!(config.evaluation.tasks_data, "", "no folder stays none");
    }
}
