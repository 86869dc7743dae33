//! Checkpoints that each rank keeps on its own host, between those in the run folder: saved more often, on a fast
//! disk, and allowed to be lost.
//!
//! ```text
//! <checkpoint.local_dir>/<id of the run>/rank-00002-of-00004/checkpoints/step-00001000-a0003-<id>/
//! ```
//!
//! has the objects that this rank wrote, and a manifest identical to every other rank's: together they are a
//! checkpoint. No other rank of the host reads or writes there, and only a rank with this number and world size finds
//! the folder again. Hosts therefore need to share nothing, and one that comes back empty contributes nothing.
//!
//! No attempt is fenced here: as in the run folder, commits of an attempt that no longer holds the run are void.

use common::attempt::History;
use common::checkpoint_layout::hugging_face::{CONFIG_NAME, INDEX_NAME, model_object, optimizer_object};
use common::checkpoint_layout::{CHECKPOINTS_FOLDER, CheckpointName, Manifest, host_folder};
use common::checkpoint_store::{Found, folder_of, prune_host};
use common::config::{CheckpointConfig, StorageConfig};
use common::figures::counted;
use common::storage::{Folder, StorageError};
use common::topology::{Rank, WorldSize};

use super::error::CheckpointError;
use super::read::read_manifest;
use crate::own_folder;

/// Kind of place that a checkpoint is saved to, or restored from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// In the run folder.
    Run,
    /// On the ranks' hosts.
    Hosts,
}

/// Folder of one rank on its host.
#[derive(Debug, Clone)]
pub struct HostFolder {
    run: Folder,
    folder: Folder,
    rank: Rank,
    world: WorldSize,
    keep_last: u64,
}

impl HostFolder {
    /// Opens the folder of `rank` for the run with the id `run`. Returns `None` if the config asks for none. Fails if
    /// another user owns the run's folder or can write to it.
    pub fn open(
        (config, storage): (&CheckpointConfig, &StorageConfig),
        run: &str,
        rank: Rank,
        world: WorldSize,
    ) -> Result<Option<Self>, CheckpointError> {
        if config.local_dir.is_empty() {
            return Ok(None);
        }
        let run = Folder::open(&config.local_dir, storage)?.folder(run);
        if let Some(path) = run.local() {
            match own_folder::make(&path) {
                // Others could put checkpoints there, and hashes that match them.
                Err(source) if own_folder::is_anothers(&source) => {
                    return Err(CheckpointError::HostFolder { path: path.display().to_string(), source });
                }
                // A disk that has failed costs the run only the saves there.
                _ => {}
            }
        }
        let folder = run.folder(&host_folder(rank, world));
        Ok(Some(HostFolder { run, folder, rank, world, keep_last: config.local_keep_last }))
    }

    /// Returns the URL of the folder.
    pub fn url(&self) -> &str {
        self.folder.url()
    }

    /// Returns the folder of checkpoint `name`.
    pub fn folder_of(&self, name: &CheckpointName) -> Folder {
        folder_of(&self.folder, name)
    }

    /// Lists the checkpoints that were committed here and count by the run's `history`, oldest first.
    pub fn list(&self, history: &History) -> Result<Vec<CheckpointName>, StorageError> {
        let objects = self.folder.folder(CHECKPOINTS_FOLDER).list()?;
        Ok(Found::among(&objects, history).into_iter().filter(Found::counts).map(|found| found.name).collect())
    }

    /// Reads the manifest of checkpoint `name`, reduced to the objects that are here.
    pub fn read_manifest(&self, name: &CheckpointName) -> Result<(Folder, Manifest), CheckpointError> {
        let (folder, mut manifest) = read_manifest(&self.folder, name)?;
        if manifest.world_size != self.world.get() {
            let (url, ranks) = (folder.url().to_owned(), counted(manifest.world_size.into(), "rank"));
            return Err(CheckpointError::Content { url, reason: format!("saved by {ranks}, not by {}", self.world) });
        }
        let (model, optimizer) = (model_object(self.rank, self.world), optimizer_object(self.rank, self.world));
        let here = [model.as_str(), &optimizer, CONFIG_NAME, INDEX_NAME];
        manifest.objects.retain(|object| here.contains(&object.name.as_str()));
        Ok((folder, manifest))
    }

    /// Makes room for attempt `holder`: deletes leftovers of that attempt and of older ones, and all but the newest
    /// checkpoints.
    pub fn prune(&self, holder: u32) -> Result<(), CheckpointError> {
        Ok(prune_host(&self.folder, self.keep_last, holder)?)
    }

    /// Deletes what ranks of other world sizes have left here. An attempt that has recorded the checkpoint it starts
    /// from never needs it: any newer checkpoint is void.
    pub fn forget_other_worlds(&self) -> Result<(), CheckpointError> {
        let of_this = format!("-of-{:05}", self.world);
        let others = self.run.list_folders()?.into_iter().filter(|name| !name.ends_with(&of_this));
        others.map(|name| self.run.folder(&name)).try_for_each(|folder| Ok(folder.delete_all()?))
    }
}
