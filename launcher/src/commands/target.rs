//! What a command is about: a config, or a run folder with the config in it.
//!
//! A file, or a name that ends in `.toml`, is a config. A folder or a URL is a run folder. Its config.toml is the resolved
//! config that the run was last started with.

use std::io;
use std::path::{Path, PathBuf};

use common::config::{RawConfig, StorageConfig};
use common::storage::Folder;

use super::error::CommandError;
use super::overrides;
use crate::cli::shared::TargetArgs;
use crate::error::LaunchError;

/// Name of the config in a run folder.
pub const STORED_CONFIG: &str = "config.toml";

/// What a command is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A config file.
    Config(PathBuf),
    /// A run folder, by its path or URL.
    Run(String),
}

/// Reads the config that `args` name. That of a run folder has this folder as `run.output`, wherever the folder was before.
pub fn config(args: &TargetArgs) -> Result<RawConfig, LaunchError> {
    match Target::of(args)? {
        Target::Config(path) => Ok(RawConfig::load(&path, &args.overrides)?),
        Target::Run(url) => stored_config(&url, &args.overrides),
    }
}

/// Reads the config that the run in the folder at `url` was last started with.
fn stored_config(url: &str, overrides: &[String]) -> Result<RawConfig, LaunchError> {
    let run = existing_run(url)?;
    let no_config = || CommandError::NoConfig { url: run.url().to_owned() };
    let text = run.get_if_exists(STORED_CONFIG)?.ok_or_else(no_config)?;
    let overrides = [&[overrides::set("run.output", url)][..], overrides].concat();
    Ok(RawConfig::parse_bytes(&run.url_of(STORED_CONFIG), &text, &overrides)?)
}

/// Opens the run folder at `url`, which must exist if it is on this machine. An object store has no folders.
pub fn existing_run(url: &str) -> Result<Folder, LaunchError> {
    let folder = Folder::open(url, &StorageConfig::default())?;
    match folder.local() {
        Some(path) if !path.is_dir() => Err(CommandError::NoFolder { url: folder.url().to_owned() }.into()),
        _ => Ok(folder),
    }
}

impl Target {
    /// Returns what `args` name. Refuses two different things.
    pub fn of(args: &TargetArgs) -> Result<Self, LaunchError> {
        let target = args.target.as_deref().map(Self::named);
        match (target, &args.config) {
            (None, None) => unreachable!("clap asks for one of the two"),
            (Some(target), None) => Ok(target),
            (Some(target), Some(config)) if !target.is_of(config, &args.overrides)? => {
                let target = args.target.clone().unwrap_or_default();
                Err(CommandError::TwoTargets { target, config: config.clone() }.into())
            }
            (_, Some(config)) => Ok(Target::Config(config.clone())),
        }
    }

    fn named(name: &str) -> Self {
        let path = Path::new(name);
        let is_url = name.contains("://");
        match !is_url && (path.is_file() || (name.ends_with(".toml") && !path.is_dir())) {
            true => Target::Config(path.to_owned()),
            false => Target::Run(name.to_owned()),
        }
    }

    /// Returns whether this is the file `config`, or the run folder that it names.
    fn is_of(&self, config: &Path, overrides: &[String]) -> Result<bool, LaunchError> {
        match self {
            Target::Config(path) => {
                let is_one_file = || Some(path.canonicalize().ok()? == config.canonicalize().ok()?);
                Ok(path == config || is_one_file().unwrap_or(false))
            }
            Target::Run(url) => {
                let config = RawConfig::load(config, overrides)?.run()?;
                let folder = |url: &str| Folder::open(url, &config.storage);
                Ok(folder(url)?.url() == folder(&config.run.output)?.url())
            }
        }
    }

    /// Returns this, independent of the working directory.
    pub fn absolute(self) -> io::Result<Self> {
        match self {
            Target::Config(path) => Ok(Target::Config(std::path::absolute(path)?)),
            Target::Run(url) if url.contains("://") => Ok(Target::Run(url)),
            Target::Run(path) => Ok(Target::Run(std::path::absolute(path)?.display().to_string())),
        }
    }

    /// Returns the words that name this on a command line.
    pub fn words(&self) -> Vec<String> {
        match self {
            Target::Config(path) => vec!["--config".into(), path.display().to_string()],
            Target::Run(url) => vec![url.clone()],
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use ::tests::base_config::BASE;

    use super::super::run_folder;
    use super::*;

    fn args(target: Option<&str>, config: Option<&Path>, overrides: &[&str]) -> TargetArgs {
        let overrides = overrides.iter().map(|given| (*given).to_owned()).collect();
        TargetArgs { target: target.map(str::to_owned), config: config.map(Path::to_owned), overrides }
    }

    #[test]
    fn a_file_is_a_config_and_a_folder_or_a_url_is_a_run() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("a.toml"), "").unwrap();
        fs::write(path("a.conf"), "").unwrap();
        fs::create_dir(path("run.toml")).unwrap();
        for (name, is_config) in
            [("a.toml", true), ("a.conf", true), ("missing.toml", true), ("run.toml", false), ("missing", false)]
        {
            let path = path(name);
            let named = Target::named(path.to_str().unwrap());
            assert_eq!(matches!(named, Target::Config(_)), is_config, "{name}");
        }
        assert_eq!(Target::named("s3://b/run.toml"), Target::Run("s3://b/run.toml".into()));
    }

    #[test]
    fn two_names_of_one_thing_are_taken_and_two_things_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (config, other, run) = (path("run.toml"), path("other.toml"), path("out"));
        fs::write(&config, BASE).unwrap();
        fs::write(&other, BASE).unwrap();
        let output = format!("run.output={}", run.display());
        let both = |target: &Path| Target::of(&args(target.to_str(), Some(&config), &[&output]));
        for target in [&config, &run, &path("./run.toml")] {
            assert_eq!(both(target).unwrap(), Target::Config(config.clone()));
        }
        for target in [&other, &path("elsewhere")] {
            let error = both(target).unwrap_err().to_string();
            assert!(error.contains("and --config") && error.contains("are two different things"), "{error}");
        }
    }

    #[test]
    fn a_run_folder_has_the_config_of_its_last_start_and_may_have_moved() {
        let folder = tempfile::tempdir().unwrap();
        let run = folder.path().join("moved");
        let read = |overrides: &[&str]| config(&args(run.to_str(), None, overrides))?.run().map_err(LaunchError::from);
        let error = read(&[]).unwrap_err().to_string();
        assert!(error.contains("there is no folder file:///") && error.contains("/moved;"), "{error}");
        fs::create_dir(&run).unwrap();
        let error = read(&[]).unwrap_err().to_string();
        assert!(error.contains("moved has no config.toml"), "{error}");
        fs::write(run.join("config.toml"), BASE).unwrap();
        let read = read(&["run.seed=7"]).unwrap();
        assert_eq!((read.run.output.as_str(), read.run.seed), (run.to_str().unwrap(), 7));
        let opened = run_folder::open(&args(run.to_str(), None, &["storage.concurrency=3"])).unwrap();
        assert_eq!((opened.url(), opened.concurrency()), (&*format!("file://{}", run.display()), 3));
    }
}
