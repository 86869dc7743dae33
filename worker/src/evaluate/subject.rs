//! The checkpoint that is evaluated: found by rank 0, and loaded by every rank.

use common::checkpoint_layout::{CheckpointName, EVALUATIONS_FOLDER, MANIFEST_NAME, Manifest, ManifestError};
use common::checkpoint_store::{CheckpointStoreError, folder_of, run_of};
use common::config::{ModelConfig, RawConfig, RunConfig};
use common::sha256::hex_sha256;
use common::storage::Folder;
use common::tokenizer::Tokenizer;
use serde::{Deserialize, Serialize};
use tch::Device;

use super::error::EvaluateError;
use super::scoring::KIND;
use crate::checkpoint::{self, CheckpointError};
use crate::collectives::Collectives;
use crate::data::DataError;
use crate::error::JobError;
use crate::model::Gpt2;
use crate::saving::snapshot::shapes;

/// A checkpoint, without its weights.
pub struct Subject {
    folder: Folder,
    /// Run folder of the checkpoint; `None` if it lies elsewhere.
    run: Option<Folder>,
    manifest: Manifest,
    /// SHA-256 of the manifest, which identifies the weights.
    pub manifest_sha256: String,
    /// Sizes of the model, as the checkpoint's own config has them.
    pub model: ModelConfig,
    /// Tokenizer that the model was trained with.
    pub tokenizer: Tokenizer,
}

/// What rank 0 tells the others.
#[derive(Serialize, Deserialize)]
struct Found {
    /// Name of the run's newest checkpoint, if no URL is given.
    newest: Option<CheckpointName>,
    manifest: String,
}

impl Subject {
    /// Opens the checkpoint at `url`, or else the newest of the config's run. All ranks must call this together.
    pub fn open(config: &RunConfig, url: Option<&str>, ranks: &dyn Collectives) -> Result<Self, JobError> {
        let found: Found = ranks.share("a checkpoint's manifest", || find(config, url))?;
        let storage = &config.storage;
        let (folder, run) = match (url, &found.newest) {
            (None, Some(name)) => {
                let run = Folder::open(&config.run.output, storage)?;
                (folder_of(&run, name), Some(run))
            }
            (url, _) => {
                let url = url.unwrap_or(&config.run.output);
                (Folder::open(url, storage)?, run_of(url, storage)?)
            }
        };
        let manifest_url = folder.url_of(MANIFEST_NAME);
        let manifest = Manifest::parse(&manifest_url, found.manifest.as_bytes()).map_err(checkpoint_error)?;
        let stored = format!("in {manifest_url}");
        let model = RawConfig::parse(&stored, &manifest.config, &[])?.run()?.model;
        let tokenizer = Tokenizer::open(&config.data.tokenizer, storage).map_err(DataError::from)?;
        check_tokenizer(folder.url(), &manifest, &model, &tokenizer, &config.data.tokenizer)?;
        Ok(Subject { run, folder, manifest_sha256: hex_sha256(found.manifest.as_bytes()), manifest, model, tokenizer })
    }

    /// Returns the URL of the checkpoint.
    pub fn url(&self) -> &str {
        self.folder.url()
    }

    /// Returns the name of the checkpoint.
    pub fn name(&self) -> String {
        self.manifest.name.to_string()
    }

    /// Returns the number of the model's parameters.
    pub fn parameters(&self) -> u64 {
        self.manifest.tensors.iter().filter_map(|tensor| tensor.elements()).sum()
    }

    /// Returns the folder for evaluations: `output`, or else that of the checkpoint's run.
    pub fn evaluations(&self, output: Option<&str>, config: &RunConfig) -> Result<Folder, JobError> {
        match (output, &self.run) {
            (Some(output), _) => Ok(Folder::open(output, &config.storage)?),
            (None, Some(run)) => Ok(run.folder(EVALUATIONS_FOLDER)),
            (None, None) => Err(EvaluateError::NoOutput { url: self.url().to_owned() }.into()),
        }
    }

    /// Loads the model, with every byte verified.
    pub fn load(&self, device: Device) -> Result<Gpt2, JobError> {
        let model = Gpt2::zeros(&self.model, KIND, device);
        checkpoint::check_model(self.folder.url(), &self.manifest, &shapes(&model))?;
        model.layout.load(&model.flat, &checkpoint::read_weights(&self.folder, &self.manifest)?);
        Ok(model)
    }
}

fn find(config: &RunConfig, url: Option<&str>) -> Result<Found, JobError> {
    let (folder, newest) = match url {
        Some(url) => (Folder::open(url, &config.storage)?, None),
        None => {
            let run = Folder::open(&config.run.output, &config.storage)?;
            let found = checkpoint::newest_manifest(&run, config.checkpoint.on_corrupt)?;
            let (folder, manifest) = found.ok_or_else(|| EvaluateError::NoneCommitted { url: run.url().to_owned() })?;
            (folder, Some(manifest.name))
        }
    };
    let content = folder.get(MANIFEST_NAME)?;
    // Its hash is checked here: what is shared is text.
    Manifest::parse(&folder.url_of(MANIFEST_NAME), &content).map_err(checkpoint_error)?;
    Ok(Found { newest, manifest: String::from_utf8_lossy(&content).into_owned() })
}

fn checkpoint_error(error: ManifestError) -> JobError {
    CheckpointError::from(CheckpointStoreError::from(error)).into()
}

/// Refuses a tokenizer that is not the model's; `name` is the config's.
fn check_tokenizer(
    url: &str,
    manifest: &Manifest,
    model: &ModelConfig,
    tokenizer: &Tokenizer,
    name: &str,
) -> Result<(), EvaluateError> {
    if manifest.tokenizer_hash != tokenizer.hash() {
        return Err(EvaluateError::OtherTokenizer {
            url: url.to_owned(),
            expected: manifest.tokenizer_hash.clone(),
            name: name.to_owned(),
            got: tokenizer.hash().to_owned(),
        });
    }
    if u64::from(tokenizer.size()) > model.vocabulary {
        let (vocabulary, tokens) = (model.vocabulary, tokenizer.size());
        return Err(EvaluateError::SmallVocabulary { url: url.to_owned(), vocabulary, tokens });
    }
    Ok(())
}
