//! Content-Length of records may be wrong.

use super::*;

const NAMES: [(Packing, &str); 3] =
    [(Packing::Plain, "a.warc"), (Packing::Gzip, "a.warc.gz"), (Packing::Zstd, "a.warc.zst")];

/// Reads three records of which the second has a length that is changed, and checks that nothing of any page is lost.
fn check(change: impl Fn(u64) -> String + Copy, what: &str) {
    let texts = ["<p>first", "<p>second\r\n\r\nhas\r\n\r\nparagraphs", "<p>third"];
    for (packing, name) in NAMES {
        for last in [2, 3] {
            let mut records: Vec<_> = texts[..last].iter().map(|text| record(text)).collect();
            records[1] = with_length(&records[1], change);
            let (_, object) = packed(packing, &records);
            let (entries, _) = read_with(name, &object[..], SMALL);
            let expected: Vec<_> = texts[..last].iter().map(|text| ok(text)).collect();
            assert_eq!(read(name, &object), expected, "{what}, {name}");
            for (number, entry) in entries.iter().enumerate() {
                let Entry::Page(page) = entry else { panic!("{entry:?}") };
                let mends: &[Mend] = if number == 1 { &[Mend::ContentLength] } else { &[] };
                assert_eq!(page.mends, mends, "{what}, {name}, page {number}");
            }
        }
    }
}

#[test]
fn a_content_length_that_is_a_few_bytes_too_large_or_too_small_is_mended() {
    for off in [1, 2, 3, 4, 5, 20, 400] {
        check(|length| (length + off).to_string(), &format!("{off} too large"));
    }
    for off in [1, 2, 3, 5, 20, 70] {
        check(|length| (length - off).to_string(), &format!("{off} too small"));
    }
}

#[test]
fn a_content_length_that_is_missing_or_no_number_is_mended() {
    for length in ["", "many", "-5", "0x10", "99999999999999999999999", "12 bytes"] {
        check(|_| length.to_owned(), length);
    }
}

#[test]
fn a_content_length_beyond_the_limit_costs_its_record_and_not_the_rest_of_the_object() {
    for (packing, name) in NAMES {
        let mut records = vec![record("<p>first"), record("<p>second"), record("<p>third"), record("<p>fourth")];
        records[1] = with_length(&records[1], |_| (1_u64 << 60).to_string());
        let (_, object) = packed(packing, &records);
        let expected = [ok("<p>first"), Err(Fault::TooLong), ok("<p>third"), ok("<p>fourth")];
        assert_eq!(read(name, &object), expected, "{name}");
    }
}

#[test]
fn a_record_that_is_too_long_is_skipped_whole_and_counted() {
    for (packing, name) in NAMES {
        let long = record(&noise(5 * SMALL.record_bytes, 3));
        let content = record(&noise(SMALL.payload_bytes + 1, 4));
        let request = String::from_utf8(long.clone()).unwrap().replacen("response", "request", 1).into_bytes();
        let records = [record("<p>first"), long, content, request, record("<p>last")];
        let (_, object) = packed(packing, &records);
        let expected = [ok("<p>first"), Err(Fault::TooLong), Err(Fault::TooLong), ok("<p>last")];
        assert_eq!(read(name, &object), expected, "{name}");
    }
}

#[test]
fn missing_line_ends_between_records_and_other_ones_cost_nothing() {
    let separate = |separator: &[u8]| {
        let records = ["<p>first", "<p>second", "<p>third"].map(record);
        let cut = records.iter().flat_map(|record| [&record[..record.len() - 4], separator].concat());
        cut.collect::<Vec<u8>>()
    };
    for separator in ["", "\n", "\r\n", "\n\n", "\r\n\r\n", "\r\n\r\n\r\n\r\n\r\n", "\n\n\n", "\r\r"] {
        let (entries, _) = read_with("a.warc", &separate(separator.as_bytes())[..], SMALL);
        let is_right = |entry: &Entry| match entry {
            Entry::Page(page) => page.mends.is_empty() == (separator == "\r\n\r\n"),
            Entry::Damage(_) => false,
        };
        assert!(entries.len() == 3 && entries.iter().all(is_right), "{separator:?}: {entries:?}");
    }
}

fn with_lf_length(record: &str, length: usize) -> String {
    let (before, rest) = record.split_once("Content-Length: ").unwrap();
    let (_, after) = rest.split_once('\n').unwrap();
    format!("{before}Content-Length: {length}\n{after}")
}

#[test]
fn line_ends_may_be_lf_alone_and_the_blank_line_after_a_header_missing() {
    let lf = String::from_utf8(record("<p>a")).unwrap().replace("\r\n", "\n");
    // Content is 3 bytes shorter: three line ends in it.
    let lf = with_lf_length(&lf, message("<p>a").len() - 3);
    assert_eq!(read("a.warc", lf.repeat(2).as_bytes()), [ok("<p>a"), ok("<p>a")]);
    let missing = String::from_utf8(record("<p>a")).unwrap().replacen("\r\n\r\nHTTP", "\r\nHTTP", 1);
    let (entries, _) = read_with("a.warc", missing.as_bytes(), SMALL);
    let page = only_page(entries);
    assert_eq!((&page.payload[..], &page.mends[..]), (&b"<p>a"[..], &[Mend::BlankLine][..]));
}

#[test]
fn a_page_may_quote_records_as_long_as_its_length_is_right() {
    let quoted = String::from_utf8(record("<p>quoted")).unwrap();
    for (packing, name) in NAMES {
        let text = format!("<pre>\r\n\r\n{quoted}</pre>");
        let (_, object) = packed(packing, &[record(&text), record("<p>last")]);
        assert_eq!(read(name, &object), [ok(&text), ok("<p>last")], "{name}");
    }
}
