//! Files come back as they were written, and others are refused by name.

use std::io::{self, Cursor, Read};

use proptest::prelude::*;
use webtext::deduplicate::file::Records;
use webtext::deduplicate::record::{Edge, Keyed, Membership, Occurrence, Record};
use webtext::deduplicate::{
    Components, Content, FileError, FileReader, FileWriter, InMemory, MinHashOptions, Runs, Scratch, Signature, Signer,
};

use crate::support::Random;

const NAME: &str = "old/band-003.keys";
const BAND: Content =
    Content::Band { number: 3, options: MinHashOptions { bands: 14, rows: 8, bits: 64, words: 5, seed: 1 } };
/// Bytes of a file before its first record.
const HEADER: usize = 88;

fn written<T: Record>(content: Content, records: &[T], documents: u64) -> Vec<u8> {
    let mut writer = FileWriter::new(NAME, Vec::new(), content);
    records.iter().for_each(|record| writer.push(record).unwrap());
    writer.finish(documents).unwrap()
}

/// Records and number of documents of a file.
fn read<T: Record>(content: Content, bytes: &[u8]) -> Result<(Vec<T>, Option<u64>), FileError> {
    let mut records = FileReader::new(NAME, bytes, bytes.len() as u64, content)?.into_records();
    let read = records.by_ref().collect::<Result<Vec<T>, FileError>>()?;
    Ok((read, records.reader().documents()))
}

fn refused(bytes: &[u8]) -> String {
    read::<Keyed>(BAND, bytes).unwrap_err().to_string()
}

fn keyed(count: u64) -> Vec<Keyed> {
    (0..count).map(|number| Keyed { key: u128::from(number / 2) << 70, id: number }).collect()
}

/// The file with other counts at its end, and a hash that fits.
fn with_counts(mut bytes: Vec<u8>, records: u64) -> Vec<u8> {
    use sha2::{Digest, Sha256};
    let counts = bytes.len() - 48;
    bytes[counts..counts + 8].copy_from_slice(&records.to_le_bytes());
    let hash: [u8; 32] = Sha256::digest(&bytes[..counts + 16]).into();
    bytes[counts + 16..].copy_from_slice(&hash);
    bytes
}

#[test]
fn many_records_come_back_and_the_number_of_documents_with_the_last() {
    for count in [0, 1, 2, 2730, 2731, 10_000] {
        let records = keyed(count);
        let bytes = written(BAND, &records, count + 5);
        assert_eq!(bytes.len(), HEADER + 24 * records.len() + 48);
        assert_eq!(read(BAND, &bytes).unwrap(), (records, Some(count + 5)));
    }
    let bytes = written(BAND, &keyed(3), 3);
    let mut records = FileReader::new(NAME, &bytes[..], bytes.len() as u64, BAND).unwrap().into_records::<Keyed>();
    assert_eq!((records.next().unwrap().unwrap().id, records.reader().documents()), (0, None));
    assert_eq!((records.reader().records(), records.count()), (3, 2));
}

#[test]
fn signatures_of_any_number_of_bits_come_back() {
    for bits in [8, 16, 32, 64] {
        let options = MinHashOptions { bits, ..MinHashOptions::default() };
        let signer = Signer::new(options).unwrap();
        let mut scratch = Scratch::default();
        let mut random = Random::seeded(1);
        let signatures: Vec<(u64, Signature)> =
            (0..200).map(|id| (3 * id, signer.sign(&random.words(30, 100).join(" "), &mut scratch).unwrap())).collect();
        let mut writer = FileWriter::new(NAME, Vec::new(), Content::Signatures(options));
        signatures.iter().for_each(|(id, signature)| writer.push_signature(*id, signature).unwrap());
        let bytes = writer.finish(600).unwrap();
        let mut reader = FileReader::new(NAME, &bytes[..], bytes.len() as u64, Content::Signatures(options)).unwrap();
        let mut read = Vec::new();
        while let Some(signature) = reader.next_signature().unwrap() {
            read.push(signature);
        }
        assert_eq!(read, signatures);
        assert_eq!((reader.documents(), reader.next_signature().unwrap()), (Some(600), None));
    }
}

#[test]
fn a_flipped_bit_anywhere_is_found() {
    let bytes = written(BAND, &keyed(40), 40);
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        let error = refused(&damaged);
        assert!(error.starts_with("old/band-003.keys: "), "byte {at}: {error}");
    }
}

#[test]
fn files_that_end_too_early_or_too_late_are_refused() {
    let bytes = written(BAND, &keyed(40), 40);
    for length in 0..bytes.len() {
        assert!(read::<Keyed>(BAND, &bytes[..length]).is_err(), "{length} bytes");
        // A file that shrinks while it is read.
        let reader = FileReader::new(NAME, &bytes[..length], bytes.len() as u64, BAND);
        let last = reader.and_then(|reader| reader.into_records::<Keyed>().collect::<Result<Vec<_>, _>>());
        let error = last.unwrap_err().to_string();
        assert!(error.contains("it ends before byte 1096, at which it should end"), "{length} bytes: {error}");
    }
    let longer = [&bytes[..], &[0; 24]].concat();
    assert!(refused(&longer).contains("damaged"));
    let reader = FileReader::new(NAME, &longer[..], bytes.len() as u64, BAND).unwrap();
    let error = reader.into_records::<Keyed>().find_map(Result::err).unwrap().to_string();
    assert!(error.contains("it goes on behind byte 1096"), "{error}");
    assert_eq!(
        refused(&bytes[..1095]),
        "old/band-003.keys: 1095 bytes: expected 136 and a multiple of 24, the bytes of a record; copy it anew, or make it \
         anew from its documents"
    );
}

#[test]
fn foreign_files_and_other_parameters_are_refused_by_what_differs() {
    let bytes = written(BAND, &keyed(4), 4);
    assert!(refused(b"PAR1").contains("4 bytes: expected 136"));
    assert!(refused(&[b'x'; 160]).contains("not a file of duplicates: it does not begin with CNVDEDUP; copy it anew"));
    let with = |at: usize, value: u64| {
        let mut changed = bytes.clone();
        changed[at..at + 8].copy_from_slice(&value.to_le_bytes());
        refused(&changed)
    };
    for (at, value, expected) in [
        (8, 2, "version 2: expected 1"),
        (16, 3, "kind of records 3: expected 1"),
        (24, 4, "band 4: expected 3"),
        (32, 16, "bytes of a record 16: expected 24"),
        (40, 20, "bands 20: expected 14"),
        (48, 13, "rows 13: expected 8"),
        (56, 32, "bits 32: expected 64"),
        (64, 6, "words of a shingle 6: expected 5"),
        (72, 2, "seed 2: expected 1"),
        (80, 0, "version of the rules for texts 0: expected 1"),
    ] {
        let error = with(at, value);
        assert!(error.starts_with(&format!("{NAME}: {expected}; use the parameters")), "{error}");
    }
    let texts = written(Content::Texts, &keyed(4), 4);
    assert!(refused(&texts).contains("kind of records 3: expected 1"));
    let paragraphs = written(Content::Paragraphs, &[Occurrence { key: 1, id: 2, number: 3 }], 4);
    assert!(refused(&paragraphs).contains("kind of records 5: expected 1"));
}

#[test]
fn what_a_writer_would_never_write_is_refused_even_with_a_hash_that_fits() {
    let bytes = written(BAND, &keyed(40), 40);
    assert!(
        refused(&with_counts(bytes.clone(), 41)).contains("41 records by its end: expected 40, as many as there are")
    );
    for (one, other) in [(3, 4), (4, 4)] {
        let mut unsorted = bytes.clone();
        let record = bytes[HEADER + 24 * one..][..24].to_vec();
        unsorted[HEADER + 24 * (other + 1)..][..24].copy_from_slice(&record);
        let error = refused(&with_counts(unsorted, 40));
        assert!(error.contains("is not greater than the one before"), "{error}");
    }
    // Over the end of a chunk.
    let mut unsorted = written(BAND, &keyed(5460), 0);
    let record = unsorted[HEADER..][..24].to_vec();
    unsorted[HEADER + 24 * 2730..][..24].copy_from_slice(&record);
    assert!(refused(&with_counts(unsorted, 5460)).contains("record 2730 is not greater than the one before"));
}

#[test]
fn records_out_of_order_or_of_another_kind_are_not_written() {
    let mut writer = FileWriter::new(NAME, Vec::new(), BAND);
    writer.push(&Keyed { key: 2, id: 5 }).unwrap();
    for (key, id) in [(2, 5), (2, 4), (1, 9)] {
        let error = writer.push(&Keyed { key, id }).unwrap_err().to_string();
        assert_eq!(
            error,
            "old/band-003.keys: record 1 is not greater than the one before; make it anew from its documents"
        );
    }
    let error = writer.push(&Edge { from: 1, to: 2 }).unwrap_err().to_string();
    assert!(error.contains("a record of 16 bytes: expected 24"), "{error}");
    let error = writer.push_signature(1, &Signature::of_hashes(vec![1])).unwrap_err().to_string();
    assert!(error.contains("a record of 8 bytes: expected 24"), "{error}");
    writer.push(&Keyed { key: 2, id: 6 }).unwrap();
    let bytes = writer.finish(2).unwrap();
    assert_eq!(read::<Keyed>(BAND, &bytes).unwrap().0.len(), 2);
    // The right file, read as another.
    assert!(read::<Edge>(BAND, &bytes).unwrap_err().to_string().contains("a record of 16 bytes: expected 24"));
    let mut reader = FileReader::new(NAME, &bytes[..], bytes.len() as u64, BAND).unwrap();
    assert!(reader.next_signature().is_err() && reader.next_signature().unwrap().is_none());
}

/// A store that fails.
struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the store is away"))
    }
}

impl io::Write for Broken {
    fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        Err(io::Error::other("the store is away"))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn errors_of_a_store_are_passed_on_with_the_name_of_the_file() {
    let expected =
        "old/band-003.keys: cannot read or write it: the store is away; try again when it can be read and written";
    let bytes = written(BAND, &keyed(4), 4);
    assert_eq!(FileReader::new(NAME, Broken, 1096, BAND).err().unwrap().to_string(), expected);
    let reader = FileReader::new(NAME, bytes[..100].chain(Broken), bytes.len() as u64, BAND).unwrap();
    let read: Vec<Result<Keyed, FileError>> = reader.into_records().collect();
    assert_eq!(read.len(), 1);
    assert_eq!(read[0].as_ref().unwrap_err().to_string(), expected);
    assert_eq!(FileWriter::new(NAME, Broken, BAND).finish(0).err().unwrap().to_string(), expected);
}

#[test]
fn memory_does_not_grow_with_the_length_that_a_file_is_said_to_have() {
    let bytes = written(BAND, &keyed(4), 4);
    let reader = FileReader::new(NAME, &bytes[..], 136 + 24 * (1 << 50), BAND).unwrap();
    assert!(reader.into_records::<Keyed>().next().unwrap().is_err());
    let error = FileReader::new(NAME, &bytes[..], u64::MAX, BAND).err().unwrap().to_string();
    assert!(error.contains("18446744073709551615 bytes: expected 136"), "{error}");
}

/// Runs of edges as files.
#[derive(Default)]
struct Files(Vec<Vec<u8>>);

impl Runs<Edge> for Files {
    type Error = FileError;
    type Run = Records<Cursor<Vec<u8>>, Edge>;

    fn keep(&mut self, run: &[Edge]) -> Result<(), FileError> {
        let mut writer = FileWriter::new("run", Vec::new(), Content::Edges);
        run.iter().try_for_each(|edge| writer.push(edge))?;
        self.0.push(writer.finish(0)?);
        Ok(())
    }

    fn take(&mut self) -> Result<Vec<Self::Run>, FileError> {
        let open = |bytes: Vec<u8>| -> Result<Self::Run, FileError> {
            let length = bytes.len() as u64;
            Ok(FileReader::new("run", Cursor::new(bytes), length, Content::Edges)?.into_records())
        };
        std::mem::take(&mut self.0).into_iter().map(open).collect()
    }
}

#[test]
fn components_over_files_are_those_in_memory() {
    let mut random = Random::seeded(9);
    let (mut files, mut memory) = (Components::new(Files::default(), 50), Components::new(InMemory::default(), 5000));
    for _ in 0..700 {
        let (one, other) = (random.below(1000) as u64, random.below(1000) as u64);
        files.connect(one, other).unwrap();
        memory.connect(one, other).unwrap();
    }
    let of_files: Vec<Membership> = files.find(Ok).unwrap().map(Result::unwrap).collect();
    let in_memory: Vec<Membership> = memory.find(Ok).unwrap().map(Result::unwrap).collect();
    assert!(in_memory.len() > 500 && of_files == in_memory);
    assert_eq!(files.rounds(), memory.rounds());
}

proptest! {
    #[test]
    fn records_come_back_from_their_file(keys in prop::collection::btree_set((any::<u128>(), any::<u64>()), 0..40), documents in any::<u64>()) {
        let records: Vec<Keyed> = keys.into_iter().map(|(key, id)| Keyed { key, id }).collect();
        let bytes = written(Content::Urls, &records, documents);
        prop_assert_eq!(read(Content::Urls, &bytes).unwrap(), (records, Some(documents)));
    }

    #[test]
    fn hostile_files_are_refused_without_a_panic(
        noise in prop::collection::vec(any::<u8>(), 0..200), keep in 0..200_usize, length in any::<u64>()
    ) {
        let bytes = [&written(BAND, &keyed(4), 4)[..keep], &noise[..]].concat();
        for length in [bytes.len() as u64, length] {
            let reader = FileReader::new(NAME, &bytes[..], length, BAND);
            let read = reader.and_then(|reader| reader.into_records::<Keyed>().collect::<Result<Vec<_>, _>>());
            prop_assert!(read.is_err());
        }
    }
}
