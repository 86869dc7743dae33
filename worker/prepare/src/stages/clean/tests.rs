//! Tests of cleaning Parquet.

use std::ops::Range;
use std::sync::Arc;

use common::config::RawConfig;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use webtext::clean::CleanOptions;
use webtext::clean::c4::C4Options;
use webtext::clean::normalise::NormaliseOptions;

use super::*;
use crate::job;
use crate::ranks::Ranks;
use crate::stages::document::DocumentReader;
use crate::stages::lineage::tests::folder;
use crate::stages::lineage::{LineageFile, lineage_of};
use crate::stages::names::documents_name;
use crate::stages::options::StageOptions;
use crate::stages::record::StageRecord;

/// Columns of a file whose dates are no strings.
const COLUMNS: &str = "message m {
    optional binary title (UTF8);
    required binary text (UTF8);
    required int64 date;
    optional binary url (UTF8);
}";

fn text_of(number: u64) -> String {
    format!("document {number} has more words than it needs")
}

fn url_of(number: u64) -> Option<String> {
    match number % 3 {
        0 => None,
        1 => Some(format!("http://a.example/{number}")),
        _ => Some(format!("https://en.wikipedia.org/wiki/{number}")),
    }
}

/// Returns a file with these documents, a row group for each range of numbers.
fn parquet(groups: &[Range<u64>]) -> Vec<u8> {
    let (mut content, columns) = (Vec::new(), Arc::new(parse_message_type(COLUMNS).unwrap()));
    let mut file = SerializedFileWriter::new(&mut content, columns, Arc::default()).unwrap();
    for numbers in groups {
        let mut group = file.next_row_group().unwrap();
        let titles: Vec<ByteArray> = numbers.clone().map(|number| format!("T{number}").as_str().into()).collect();
        put::<ByteArrayType>(&mut group, &titles, Some(&vec![1_i16; titles.len()]));
        let texts: Vec<ByteArray> = numbers.clone().map(|number| text_of(number).as_str().into()).collect();
        put::<ByteArrayType>(&mut group, &texts, None);
        put::<Int64Type>(&mut group, &vec![20_261_130_i64; texts.len()], None);
        let levels: Vec<i16> = numbers.clone().map(|number| i16::from(url_of(number).is_some())).collect();
        let urls: Vec<ByteArray> = numbers.clone().filter_map(url_of).map(|url| url.as_str().into()).collect();
        put::<ByteArrayType>(&mut group, &urls, Some(&levels));
        group.close().unwrap();
    }
    file.finish().unwrap();
    drop(file);
    content
}

fn put<T: DataType>(group: &mut SerializedRowGroupWriter<'_, &mut Vec<u8>>, values: &[T::T], levels: Option<&[i16]>) {
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<T>().write_batch(values, levels, None).unwrap();
    column.close().unwrap();
}

#[test]
fn a_note_has_the_numbers_of_what_was_changed() {
    let mut options = CleanOptions { normalise: NormaliseOptions::ALL, ..CleanOptions::off() };
    options.c4 = C4Options { min_sentences: 0, ..C4Options::default() };
    let cleaner = Cleaner::new(options).unwrap();
    let note = |text| note(&cleaner.judge(Judged { text, url: None }, Depth::UntilDropped));
    let text = "\u{feff}One line of five words.\r\nshort\r\nPlease enable JavaScript now.\nA line of [12] words.\0";
    let expected = "text changed; 2 line ends normalised; removed 1 controls, 1 byte order marks, 1 citations, \
                    1 lines of few words, 1 lines about JavaScript";
    assert_eq!(note(text), expected);
    assert_eq!(note("  One line of five words."), "text changed");
    assert_eq!(note("One line of five words."), "");
}

#[test]
fn columns_of_parquet_are_to_rules_what_fields_of_json_lines_are() {
    let root = folder("clean-parquet");
    root.put("in/a.parquet", parquet(&[0..150, 150..151, 151..300]).into()).unwrap();
    let config = "[prepare]\ninputs = [\"memory://lineage-clean-parquet/in\"]\noutput = \"memory://lineage-clean-parquet/out\"\n\
                  stages = [\"clean\"]\nvalidation_fraction = 0.0\n[webtext]\n\
                  clean = { set = \"paper\", length = { min_words = 5 }, language = { kept = [] } }\n";
    let config = RawConfig::parse("of the test", config, &[]).unwrap().prepare().unwrap();
    let options = StageOptions::read(&config.prepare, &config.webtext).unwrap();
    job::run(&config.prepare, &options, &config.storage, &Ranks::One, 1, &mut ()).unwrap();
    let stages = root.folder("out").folder("stages");
    let stage = stages.folder(&stages.list_folders().unwrap()[0]);

    let units = lineage_of(&stage).unwrap();
    let lines = units.iter().flat_map(|unit| LineageFile::open(&stage, unit).unwrap().lines().unwrap());
    let lines: Vec<Line> = lines.collect();
    assert_eq!(lines.len(), 300);
    for (number, line) in (0..).zip(&lines) {
        assert_eq!((line.at, &line.url, &line.date), (number, &url_of(number), &None));
        let rule = if number % 3 == 2 { "address.excluded_host" } else { "" };
        assert_eq!(line.rule, rule, "{line:?}");
    }
    let record: StageRecord = serde_json::from_slice(&stage.get("stage.json").unwrap()).unwrap();
    let mut documents = DocumentReader::open(&stage, &documents_name(0), &record.units[0]).unwrap();
    let kept = documents.next_group().unwrap().unwrap();
    assert_eq!(kept.len(), 200);
    for document in kept {
        let expected = (text_of(document.at), url_of(document.at), Some(format!("T{}", document.at)));
        assert_eq!((document.text, document.url, document.title), expected);
    }
}
