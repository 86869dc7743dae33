//! Near duplicates with FineWeb's parameters, in two steps as datatrove takes them: signatures to a file of keys for each band, and
//! from these files to decisions.

use std::convert::Infallible;
use std::error::Error;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use webtext::deduplicate::record::{Cluster, Edge, Keyed, Member};
use webtext::deduplicate::{
    Clusters, Components, Content, Decisions, FileReader, FileWriter, InMemory, MinHashOptions, Scratch, Signer,
    Sorter, Stars,
};

use crate::{Done, Line};

/// Records that a sorter holds at once.
const RECORDS_MAX: usize = 1 << 20;

/// Signs documents, and writes their sorted keys of each band. What has no signature counts as not kept.
pub fn sign(documents: &str, folder: &Path) -> Result<Done, Box<dyn Error>> {
    let options = MinHashOptions::default();
    let signer = Signer::new(options)?;
    let (mut done, mut scratch) = (Done::default(), Scratch::default());
    let mut bands: Vec<_> = (0..options.bands).map(|_| Sorter::new(InMemory::default(), RECORDS_MAX)).collect();
    for (id, line) in (0..).zip(BufReader::new(File::open(documents)?).lines()) {
        let Line { text } = serde_json::from_str(&line?)?;
        done.documents += 1;
        done.bytes += text.len();
        let Some(signature) = signer.sign(&text, &mut scratch) else { continue };
        done.kept += 1;
        for (band, key) in bands.iter_mut().zip(signature.band_keys(&options)) {
            band.push(Keyed { key, id })?;
        }
    }
    std::fs::create_dir_all(folder)?;
    for (number, mut band) in (0..).zip(bands) {
        let path = path_of(folder, number);
        let mut writer =
            FileWriter::new(&path.to_string_lossy(), File::create(&path)?, Content::Band { number, options });
        for keyed in band.sorted()? {
            writer.push(&keyed?)?;
        }
        writer.finish(done.documents as u64)?;
    }
    Ok(done)
}

/// Finds clusters by the keys that [`sign`] has written, and writes which documents stay.
pub fn cluster(folder: &Path) -> Result<Done, Box<dyn Error>> {
    let (mut done, options) = (Done::default(), MinHashOptions::default());
    let mut components = Components::new(InMemory::default(), RECORDS_MAX);
    for number in 0..options.bands {
        let path = path_of(folder, number);
        let (file, bytes) = (File::open(&path)?, path.metadata()?.len());
        let reader = FileReader::new(&path.to_string_lossy(), file, bytes, Content::Band { number, options })?;
        done.documents = reader.records() as usize;
        for edge in Stars::new(reader.into_records::<Keyed>()) {
            let Edge { from, to } = edge?;
            components.connect(from, to)?;
        }
    }
    let mut by_cluster = Sorter::new(InMemory::default(), RECORDS_MAX);
    for membership in components.find(Ok)? {
        let membership = membership?;
        by_cluster.push(Member { cluster: membership.cluster, id: membership.id, value: 0 })?;
    }
    let members: Vec<Member> = by_cluster.sorted()?.collect::<Result<_, _>>()?;
    let members = || members.iter().copied().map(Ok::<Member, Infallible>);
    let clusters: Vec<Cluster> = Clusters::new(members(), 0).collect::<Result<_, _>>()?;
    (done.clusters, done.kept) = (clusters.len(), done.documents);
    let mut by_document = Sorter::new(InMemory::default(), RECORDS_MAX);
    for decision in Decisions::new(members(), clusters.into_iter().map(Ok)) {
        let decision = decision?;
        done.kept -= usize::from(decision.id != decision.kept);
        by_document.push(decision)?;
    }
    let path = folder.join("decisions");
    let mut writer = FileWriter::new(&path.to_string_lossy(), File::create(&path)?, Content::Decisions);
    for decision in by_document.sorted()? {
        writer.push(&decision?)?;
    }
    writer.finish(done.documents as u64)?;
    Ok(done)
}

fn path_of(folder: &Path, band: u32) -> PathBuf {
    folder.join(format!("band-{band:02}"))
}
