//! Tests of objects of every kind: whole, cut and damaged.

use std::io::Write;
use std::sync::Arc;

use bytes::Bytes;
use common::config::{OnBadDocument, StorageConfig};
use common::exit_code::ExitCode;
use common::storage::Folder;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::metadata::ParquetMetaDataWriter;
use parquet::file::properties::WriterProperties;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::source::Kind;
use super::*;

fn folder(name: &str) -> Folder {
    Folder::open(&format!("memory://inputs-{name}"), &StorageConfig::default()).unwrap()
}

fn options() -> ReadOptions {
    ReadOptions { text_field: "text".into(), document_bytes_max: 1000 }
}

/// Returns the source of the only object in `folder`.
fn source(folder: &Folder) -> Source {
    let inputs = [folder.url().to_owned()];
    let found = find(&inputs, &StorageConfig::default()).unwrap();
    Sources::open(&inputs, &found, &StorageConfig::default()).unwrap().list.remove(0)
}

/// Reads a piece; returns positions and contents of its documents, and its bad documents.
fn read(source: &Source, range: std::ops::Range<u64>) -> (Vec<(u64, String)>, Vec<BadDocument>) {
    let bytes = range.end - range.start;
    let unit = Unit { pieces: vec![Piece { source: 0, range }], bytes };
    let (sources, options) = ([source.clone()], options());
    let mut batches = Batches::new(&sources, &options, 0, &unit);
    let (mut documents, mut bad) = (Vec::new(), Vec::new());
    while let Some(batch) = batches.next_batch().unwrap() {
        let content = |raw: &RawDocument| String::from_utf8_lossy(&batch.content[raw.range.clone()]).into_owned();
        documents.extend(batch.documents.iter().map(|raw| (raw.position, content(raw))));
        bad.extend(batch.bad);
    }
    assert_eq!(batches.bytes_read(), bytes);
    (documents, bad)
}

fn whole(folder: &Folder) -> (Vec<(u64, String)>, Vec<BadDocument>) {
    let source = source(folder);
    let bytes = source.bytes;
    read(&source, 0..bytes)
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn xz(content: &[u8]) -> Vec<u8> {
    let mut encoder = liblzma::write::XzEncoder::new(Vec::new(), 1);
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

fn bzip2(content: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

type Pack = fn(&[u8]) -> Vec<u8>;

const PACKINGS: [(&str, Pack); 5] = [
    ("", |content| content.to_vec()),
    (".gz", gzip),
    (".zst", |content| zstd::encode_all(content, 3).unwrap()),
    (".xz", xz),
    (".bz2", bzip2),
];

#[test]
fn lines_are_the_same_however_they_are_packed_and_in_several_streams() {
    let lines = "\u{feff}{\"text\": \"one\"}\n\n{\"text\": \"two\"}\r\n  \n{\"text\": \"three\"}";
    let expected = [(0, "{\"text\": \"one\"}"), (20, "{\"text\": \"two\"}\r"), (40, "{\"text\": \"three\"}")];
    for (end, pack) in PACKINGS {
        let folder = folder(&format!("packed{end}"));
        let (first, second) = lines.as_bytes().split_at(25);
        folder.put(&format!("a.jsonl{end}"), [pack(first), pack(second)].concat().into()).unwrap();
        let (documents, bad) = whole(&folder);
        let documents: Vec<_> = documents.iter().map(|(at, text)| (*at, text.as_str())).collect();
        assert_eq!(documents, expected, "{end}");
        assert_eq!(bad, [], "{end}");
    }
}

#[test]
fn texts_are_one_document_however_they_are_packed() {
    for (end, pack) in PACKINGS {
        let folder = folder(&format!("text{end}"));
        folder.put(&format!("a.txt{end}"), pack("\u{feff}one\n\ntwo\n".as_bytes()).into()).unwrap();
        assert_eq!(whole(&folder), (vec![(0, "one\n\ntwo\n".into())], vec![]), "{end}");
    }
}

#[test]
fn the_size_of_a_text_is_estimated_from_its_beginning() {
    let options = ReadOptions { document_bytes_max: 1 << 20, ..options() };
    let line = |number: usize| serde_json::json!({ "id": number, "text": format!("naïve words {number} ").repeat(50) });
    let texts = |count: usize| (0..count).map(|number| line(number)["text"].as_str().unwrap().to_owned());
    for (end, pack) in PACKINGS {
        // The larger objects are not read to their ends.
        for count in [10, 12_000] {
            let folder = folder(&format!("estimate-{count}{end}"));
            let lines: String = (0..count).map(|number| line(number).to_string() + "\n").collect();
            let text: String = texts(count).collect();
            folder.put(&format!("a.jsonl{end}"), pack(lines.as_bytes()).into()).unwrap();
            folder.put(&format!("b.txt{end}"), pack(text.as_bytes()).into()).unwrap();
            folder.put("empty.txt", Bytes::new()).unwrap();
            let inputs = [folder.url().to_owned()];
            let found = find(&inputs, &StorageConfig::default()).unwrap();
            let sources = Sources::open(&inputs, &found, &StorageConfig::default()).unwrap().list;
            let estimate = estimate(&sources, &options, OnBadDocument::Fail).unwrap();
            let off = |estimated: u64, exact: usize| (estimated as f64 / exact as f64 - 1.0).abs();
            // A packed object is read further than it has been unpacked.
            let most = if count == 10 { 0.11 } else { 0.35 };
            assert!(off(estimate.text_bytes, 2 * text.len()) < most, "{count}{end}: {estimate:?}");
            assert!(off(estimate.documents, count + 1) < most, "{count}{end}: {}", estimate.documents);
            assert!(off(estimate.longest_document_bytes, text.len()) < most, "{count}{end}");
            assert!(estimate.texts.iter().all(|start| start.starts_with("naïve words 0")));
        }
    }
}

#[test]
fn what_cannot_be_read_is_named_where_text_is_estimated() {
    for (name, content, expected) in [
        ("a.txt", &b"\x89PNG\r\n\x1a\n\0"[..], "a.txt: not UTF-8 at byte 0"),
        ("a.txt.gz", b"nothing packed", "a.txt.gz: "),
        ("a.jsonl", b"{\"text\": \"x\"}\n{\"body\": \"y\"}\n", "a.jsonl, line 2: no field \"text\""),
        ("a.parquet", b"no table", "a.parquet: "),
    ] {
        let folder = folder(&format!("estimate-bad-{name}"));
        folder.put(name, content.to_vec().into()).unwrap();
        let error = estimate(&[source(&folder)], &options(), OnBadDocument::Fail).unwrap_err();
        assert_eq!(error.exit_code(), ExitCode::Data);
        assert!(error.to_string().contains(expected), "{error}");
    }
}

#[test]
fn wherever_an_object_is_cut_each_line_is_read_once() {
    let folder = folder("cut");
    let lines: Vec<String> = (0..30).map(|i| format!("{{\"text\": \"{}\"}}", "x".repeat(i % 9))).collect();
    let content = lines.join("\n") + "\n\n";
    let bytes = content.len() as u64;
    folder.put("a.jsonl", content.into()).unwrap();
    let source = source(&folder);
    let (all, _) = read(&source, 0..bytes);
    assert_eq!(all.len(), lines.len());
    for cut in 1..bytes {
        let (first, second) = (read(&source, 0..cut).0, read(&source, cut..bytes).0);
        assert_eq!([first, second].concat(), all, "{cut}");
    }
    let middle = read(&source, 100..101).0;
    assert!(middle.len() <= 1);
}

#[test]
fn zeros_behind_a_gzip_stream_are_nothing_and_other_bytes_are_damage() {
    let folder = folder("padded");
    let (first, second) = (gzip(b"{\"a\": 1}\n"), gzip(b"{\"b\": 2}\n"));
    let read = |content: Vec<u8>| {
        folder.put("a.jsonl.gz", content.into()).unwrap();
        let (documents, bad) = whole(&folder);
        (documents.len(), bad.len())
    };
    let zeros = vec![0; 1 << 20];
    assert_eq!(read([&first[..], &zeros].concat()), (1, 0));
    assert_eq!(read([&first[..], &zeros, &second, &[0]].concat()), (2, 0));
    assert_eq!(read([&first[..], &[0; 10], b"x"].concat()), (1, 1));
    assert_eq!(read([&first[..], &[0; 10], &second[..10]].concat()), (1, 1));
    assert_eq!(read(zeros), (0, 1));
}

/// Returns a zstd frame of one raw block, with a window of 2^`log` bytes.
fn zstd_with_window(log: u8, content: &[u8]) -> Vec<u8> {
    let block = (content.len() as u32) << 3 | 1;
    [&[0x28, 0xb5, 0x2f, 0xfd, 0, (log - 10) << 3], &block.to_le_bytes()[..3], content].concat()
}

#[test]
fn what_zstd_has_packed_with_its_longest_window_is_read() {
    let folder = folder("long-window");
    for (log, expected) in [(27, (1, 0)), (31, (1, 0)), (32, (0, 1))] {
        folder.put("a.txt.zst", zstd_with_window(log, b"text").into()).unwrap();
        let (documents, bad) = whole(&folder);
        assert_eq!((documents.len(), bad.len()), expected, "{log}: {bad:?}");
    }
}

#[test]
fn a_truncated_object_gives_what_comes_before_and_is_named() {
    let lines: String = (0..2000).map(|i| format!("{{\"text\": \"{}\"}}\n", i * 7919)).collect();
    for (end, pack) in &PACKINGS[1..] {
        let folder = folder(&format!("truncated{end}"));
        let packed = pack(lines.as_bytes());
        folder.put(&format!("a.jsonl{end}"), packed[..packed.len() / 2].to_vec().into()).unwrap();
        let (documents, bad) = whole(&folder);
        assert!(documents.len() < 2000);
        let [bad] = &bad[..] else { panic!("{end}: {bad:?}") };
        assert_eq!((bad.fault, bad.place), (Fault::UnreadableObject, Place::Object), "{bad}");
        assert!(bad.to_string().contains(&format!("a.jsonl{end}: ")), "{bad}");
        // These bytes are no stream of any kind.
        folder.put(&format!("a.jsonl{end}"), Bytes::from_static(b"nothing that was ever packed")).unwrap();
        assert_eq!(whole(&folder).1.len(), 1, "{end}");
    }
}

#[test]
fn documents_that_are_too_long_are_named_and_the_rest_is_read() {
    let folder = folder("long");
    let long = "x".repeat(3000);
    let limit = "y".repeat(1000);
    folder.put("a.jsonl", format!("{{\"a\": 1}}\n{long}\n{limit}\n{limit}y\n{long}").into()).unwrap();
    let (documents, bad) = whole(&folder);
    assert_eq!(documents.iter().map(|(at, _)| *at).collect::<Vec<_>>(), [0, 3010]);
    assert_eq!(bad.iter().map(|b| b.place).collect::<Vec<_>>(), [Place::Line(2), Place::Line(4), Place::Line(5)]);
    assert!(bad.iter().all(|b| b.fault == Fault::TooLong && b.reason.contains("max_document_bytes = 1000")));
    folder.delete("a.jsonl").unwrap();
    folder.put("a.txt.gz", gzip(long.as_bytes()).into()).unwrap();
    assert_eq!(whole(&folder).1[0].fault, Fault::TooLong);
}

#[test]
fn a_line_in_the_middle_is_named_by_its_byte_and_found_by_its_line() {
    let folder = folder("byte");
    let long = "x".repeat(2000);
    folder.put("a.jsonl", format!("{{}}\n{{}}\n{long}\n").into()).unwrap();
    let source = source(&folder);
    let bad = read(&source, 2..source.bytes).1.remove(0);
    assert_eq!(bad.place, Place::Byte(6));
    assert_eq!(source.with_line(bad).place, Place::Line(3));
}

/// Returns a file of row groups with these texts. Every other column is there to be skipped.
fn parquet(schema: &str, groups: &[&[Option<&str>]]) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(&format!("message m {{ required int64 id; {schema} }}")).unwrap());
    let is_optional = groups.iter().any(|group| group.contains(&None));
    let properties = WriterProperties::builder()
        .set_compression(parquet::basic::Compression::SNAPPY)
        .set_data_page_row_count_limit(2)
        .set_write_batch_size(1)
        .build();
    let mut content = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut content, schema, Arc::new(properties)).unwrap();
    for group in groups {
        let mut columns = writer.next_row_group().unwrap();
        let mut column = columns.next_column().unwrap().unwrap();
        let ids: Vec<i64> = (0..group.len() as i64).collect();
        column.typed::<Int64Type>().write_batch(&ids, None, None).unwrap();
        column.close().unwrap();
        let mut column = columns.next_column().unwrap().unwrap();
        let texts: Vec<ByteArray> = group.iter().flatten().map(|text| ByteArray::from(*text)).collect();
        let levels: Vec<i16> = group.iter().map(|text| i16::from(text.is_some())).collect();
        let levels = is_optional.then_some(&levels[..]);
        column.typed::<ByteArrayType>().write_batch(&texts, levels, None).unwrap();
        column.close().unwrap();
        columns.close().unwrap();
    }
    writer.close().unwrap();
    content
}

#[test]
fn rows_of_parquet_are_documents_and_groups_are_read_where_they_begin() {
    let folder = folder("parquet");
    let groups: [&[_]; 3] = [&[Some("a"), None, Some("c"), Some("d")], &[Some("")], &[Some("ü"), Some("g")]];
    let content = parquet("optional binary text (UTF8);", &groups);
    let bytes = content.len() as u64;
    folder.put("a.parquet", content.into()).unwrap();
    let (documents, bad) = whole(&folder);
    let texts: Vec<_> = documents.iter().map(|(row, text)| (*row, text.as_str())).collect();
    assert_eq!(texts, [(0, "a"), (2, "c"), (3, "d"), (4, ""), (5, "ü"), (6, "g")]);
    assert_eq!((bad.len(), bad[0].place, bad[0].fault), (1, Place::Row(2), Fault::NoText));
    let source = source(&folder);
    for cut in 1..bytes {
        let (first, second) = (read(&source, 0..cut).0, read(&source, cut..bytes).0);
        assert_eq!([first, second].concat(), documents, "{cut}");
    }
}

#[test]
fn parquet_without_the_column_or_damaged_is_named() {
    let folder = folder("bad-parquet");
    let content = parquet("required binary text (UTF8);", &[&[Some("a"), Some("b")]]);
    let refused = |content: &[u8], fault, expected: &str| {
        folder.put("a.parquet", content.to_vec().into()).unwrap();
        let (_, bad) = whole(&folder);
        assert_eq!((bad.len(), bad[0].fault), (1, fault), "{bad:?}");
        assert!(bad[0].reason.contains(expected), "{}", bad[0]);
    };
    refused(&parquet("required binary body (UTF8);", &[&[Some("a")]]), Fault::NoText, "no column \"text\"");
    refused(&content[..content.len() - 9], Fault::UnreadableObject, "");
    refused(b"", Fault::UnreadableObject, "");
    // Any byte is flipped: nothing panics, and what cannot be read is named.
    let sound = parquet("required binary text (UTF8);", &[&[Some("a"), Some("b")], &[Some("c")]]);
    for at in 0..sound.len() {
        let mut content = sound.clone();
        content[at] ^= 0x80;
        folder.put("a.parquet", content.into()).unwrap();
        let (documents, bad) = whole(&folder);
        assert!(documents.len() == 3 || bad.len() == 1, "byte {at}: {documents:?} {bad:?}");
    }
}

/// Returns `content` with `bytes` in the place of the byte `at` of the text's pages, in its only row group.
fn with_bytes_in_pages(content: &[u8], at: usize, bytes: &[u8]) -> Vec<u8> {
    let file = SerializedFileReader::new(Bytes::copy_from_slice(content)).unwrap();
    let mut group = file.metadata().row_group(0).clone().into_builder();
    let [id, text] = file.metadata().row_group(0).columns() else { panic!("other columns") };
    let (start, length) = text.byte_range();
    let text = text.clone().into_builder();
    let text = text.set_total_compressed_size((length as usize + bytes.len() - 1) as i64).build().unwrap();
    group = group.set_column_metadata(vec![id.clone(), text]);
    let metadata = file.metadata().clone().into_builder().set_row_groups(vec![group.build().unwrap()]).build();
    let (at, end) = (start as usize + at, (start + length) as usize);
    let mut changed = [&content[..at], bytes, &content[at + 1..end]].concat();
    ParquetMetaDataWriter::new(&mut changed, &metadata).finish().unwrap();
    changed
}

#[test]
fn a_page_that_announces_more_than_it_can_hold_is_damage_before_memory_is_taken() {
    let folder = folder("announced");
    // A dictionary is the first page. Its header: type, unpacked bytes, packed bytes, and a struct that begins with its length.
    let content = parquet("required binary text (UTF8);", &[&[Some("a"), Some("b")]]);
    let refused = |at: usize, expected: &str| {
        let largest = [0xfe, 0xff, 0xff, 0xff, 0x0f];
        folder.put("a.parquet", with_bytes_in_pages(&content, at, &largest).into()).unwrap();
        let (documents, bad) = whole(&folder);
        assert_eq!((documents.len(), bad.len(), bad[0].fault), (0, 1, Fault::UnreadableObject), "{bad:?}");
        assert!(bad[0].reason.contains(expected), "{}", bad[0]);
    };
    refused(3, "damaged: a page of 12 bytes says that it unpacks to 2147483647, expected at most 1288");
    refused(8, "damaged: a dictionary says that it has 2147483647 values, expected at most 2");
    folder.put("a.parquet", with_bytes_in_pages(&content, 8, &[0x84, 0x00]).into()).unwrap();
    assert_eq!(whole(&folder), (vec![(0, "a".into()), (1, "b".into())], vec![]));
}

/// Returns a file whose row groups have these texts and titles.
fn parquet_with_titles(groups: &[&[(&str, &str)]]) -> Vec<u8> {
    let schema = "message m { required binary text (UTF8); required binary title (UTF8); }";
    let properties = WriterProperties::builder().set_data_page_row_count_limit(2).set_write_batch_size(1).build();
    let mut content = Vec::new();
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut writer = SerializedFileWriter::new(&mut content, schema, Arc::new(properties)).unwrap();
    for group in groups {
        let mut columns = writer.next_row_group().unwrap();
        let (texts, titles): (Vec<&str>, Vec<&str>) = group.iter().copied().unzip();
        for strings in [texts, titles] {
            let mut column = columns.next_column().unwrap().unwrap();
            let strings: Vec<ByteArray> = strings.into_iter().map(ByteArray::from).collect();
            column.typed::<ByteArrayType>().write_batch(&strings, None, None).unwrap();
            column.close().unwrap();
        }
        columns.close().unwrap();
    }
    writer.close().unwrap();
    content
}

/// Returns the texts in `folder`, with their titles.
fn texts_and_titles(folder: &Folder) -> Vec<(String, Option<String>)> {
    let (sources, options) = ([source(folder)], options());
    let bytes = sources[0].bytes;
    let unit = Unit { pieces: vec![Piece { source: 0, range: 0..bytes }], bytes };
    let batch = Batches::new(&sources, &options, 0, &unit).with_columns(&["title"]).next_batch().unwrap().unwrap();
    assert_eq!((batch.is_last, &batch.bad[..]), (true, &[][..]));
    let text = |raw: &RawDocument| String::from_utf8(batch.content[raw.range.clone()].to_vec()).unwrap();
    batch.documents.iter().map(|raw| (text(raw), raw.beside[0].clone())).collect()
}

#[test]
fn a_damaged_column_beside_the_text_costs_no_text_and_is_absent_from_its_row_group_alone() {
    let folder = folder("beside");
    let groups: [&[_]; 2] = [&[("a", "A"), ("b", "B"), ("c", "C")], &[("d", "D")]];
    let content = parquet_with_titles(&groups);
    let file = SerializedFileReader::new(Bytes::copy_from_slice(&content)).unwrap();
    let pages = |group: usize| {
        let (start, length) = file.metadata().row_group(group).column(1).byte_range();
        start as usize..(start + length) as usize
    };
    let read = |changed: Vec<u8>| {
        folder.put("a.parquet", changed.into()).unwrap();
        let (texts, titles): (Vec<String>, Vec<Option<String>>) = texts_and_titles(&folder).into_iter().unzip();
        assert_eq!(texts, ["a", "b", "c", "d"]);
        titles.into_iter().map(|title| title.unwrap_or_else(|| "none".into())).collect::<Vec<_>>()
    };
    assert_eq!(read(content.clone()), ["A", "B", "C", "D"]);
    let without = |group: usize| {
        let mut changed = content.clone();
        changed[pages(group)].fill(0xff);
        read(changed)
    };
    assert_eq!(without(0), ["none", "none", "none", "D"]);
    assert_eq!(without(1), ["A", "B", "C", "none"]);
    // Whichever byte is flipped, each text is there, and the other row group's titles are, too.
    for at in pages(0) {
        let mut changed = content.clone();
        changed[at] ^= 0x80;
        assert_eq!(read(changed)[3], "D", "byte {at}");
    }
}

/// Returns a file without rows, with this column beside another.
fn parquet_without_rows(column: &str) -> Vec<u8> {
    let schema = parse_message_type(&format!("message m {{ required int64 id; {column} }}")).unwrap();
    let mut content = Vec::new();
    SerializedFileWriter::new(&mut content, Arc::new(schema), Arc::default()).unwrap().close().unwrap();
    content
}

#[test]
fn a_column_of_lists_or_structs_is_said_to_be_that() {
    let folder = folder("nested");
    for (column, expected) in [
        ("optional group text (LIST) { repeated group list { optional binary element (UTF8); } }", "holds lists, not"),
        ("repeated binary text (UTF8);", "holds lists, not"),
        ("required group text { required binary body (UTF8); optional int64 n; }", "holds structs of body, n, not"),
        (
            "optional group text (MAP) { repeated group key_value { required binary key (UTF8); optional int64 value; } }",
            "holds maps, not",
        ),
        ("optional double text;", "holds values of type DOUBLE, not"),
        ("optional group other { optional binary text (UTF8); }", "no column \"text\""),
    ] {
        folder.put("a.parquet", parquet_without_rows(column).into()).unwrap();
        let (_, bad) = whole(&folder);
        assert_eq!((bad.len(), bad[0].fault), (1, Fault::NoText), "{bad:?}");
        assert!(bad[0].reason.contains(expected), "{}", bad[0]);
    }
}

#[test]
fn an_object_that_is_gone_ends_the_job_unless_it_was_gone_before() {
    let folder = folder("gone");
    folder.put("a.txt", Bytes::from_static(b"text")).unwrap();
    let source = source(&folder);
    folder.delete("a.txt").unwrap();
    let unit = Unit { pieces: vec![Piece { source: 0, range: 0..4 }], bytes: 4 };
    let error = Batches::new(std::slice::from_ref(&source), &options(), 0, &unit).next_batch().unwrap_err();
    assert!(error.to_string().contains("memory://inputs-gone/a.txt does not exist; start again"), "{error}");

    // An object that is known to be gone from the beginning is left out, once for all pieces.
    let inputs = [folder.url().to_owned()];
    folder.put("a.txt", Bytes::from_static(b"text")).unwrap();
    let mut found = find(&inputs, &StorageConfig::default()).unwrap();
    folder.delete("a.txt").unwrap();
    probe(&inputs, &mut found, &StorageConfig::default()).unwrap();
    let source = Sources::open(&inputs, &found, &StorageConfig::default()).unwrap().list.remove(0);
    let (documents, bad) = read(&source, 0..4);
    assert_eq!((documents.len(), bad.len()), (0, 1));
    assert_eq!(bad[0].to_string(), "memory://inputs-gone/a.txt: memory://inputs-gone/a.txt does not exist");
    assert_eq!(read(&source, 2..4).1, []);
}

#[test]
fn patterns_and_folders_find_what_they_name() {
    let folder = folder("patterns");
    for name in ["a/1.txt", "a/2.jsonl.gz", "a/x.md", "a/deeper/3.txt", "b/4.parquet", "[5].txt"] {
        folder.put(name, Bytes::from_static(b"x")).unwrap();
    }
    let names = |input: &str| -> Vec<String> {
        let inputs = [format!("{}/{input}", folder.url())];
        find(&inputs, &StorageConfig::default()).unwrap().into_iter().map(|f| f.name).collect()
    };
    assert_eq!(names("a"), ["1.txt", "2.jsonl.gz", "deeper/3.txt"]);
    assert_eq!(names("a/*.txt"), ["1.txt"]);
    assert_eq!(names("a/**/*.txt"), ["1.txt", "deeper/3.txt"]);
    assert_eq!(names("*/*"), ["a/1.txt", "a/2.jsonl.gz", "b/4.parquet"]);
    assert_eq!(names("b/[0-9].parquet"), ["4.parquet"]);
    assert_eq!(names("[[]5].txt"), ["[5].txt"]);
    let error = |input: &str| find(&[format!("{}/{input}", folder.url())], &StorageConfig::default()).unwrap_err();
    assert!(error("c").to_string().contains("nothing to read"));
    assert_eq!(names("a/*.md"), ["x.md"]);
    assert!(error("a/*.rst").to_string().contains("nothing to read"));
    assert!(error("a/***.txt").to_string().contains("no pattern"));
}

#[test]
fn large_objects_are_divided_and_small_ones_go_together() {
    let folder = folder("units");
    let source = |number, bytes, name: &str| {
        let kind = Kind::of(name).unwrap();
        Source { number, name: name.into(), bytes, unreadable: None, folder: folder.clone(), kind }
    };
    let mib = 1 << 20;
    let mut sources = vec![
        source(0, 70 * mib, "a.jsonl"),
        source(1, mib, "b.txt"),
        source(2, 0, "c.txt"),
        source(3, 70 * mib, "d.jsonl.gz"),
        source(4, 70 * mib, "e.txt"),
        source(5, 33 * mib, "f.parquet"),
        source(6, 3000 * mib, "g.txt"),
    ];
    let units_of = |sources: &[Source]| -> Vec<_> {
        units(sources).iter().map(|unit| (unit.bytes / mib, unit.pieces.len())).collect()
    };
    assert_eq!(units_of(&sources), [(32, 1), (32, 1), (7, 3), (70, 1), (70, 1), (32, 1), (1, 1), (3000, 1)]);
    sources.pop();
    // Less content makes smaller units: 70 + 1 + 70 + 70 + 33 = 244 MiB, a 64th of which is 3.8.
    assert_eq!(units_of(&sources)[..2], [(3, 1), (3, 1)]);
    assert_eq!(
        units(&sources).iter().map(|unit| unit.bytes).sum::<u64>(),
        sources.iter().map(|s| s.bytes).sum::<u64>()
    );
}
