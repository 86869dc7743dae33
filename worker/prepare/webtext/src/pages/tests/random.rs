//! Whatever bytes an object has, reading it ends, and what was written in order is read back.

use proptest::prelude::*;

use super::*;

fn packing() -> impl Strategy<Value = (Packing, &'static str)> {
    prop_oneof![
        Just((Packing::Plain, "a.warc")),
        Just((Packing::Gzip, "a.warc.gz")),
        Just((Packing::Zstd, "a.warc.zst"))
    ]
}

/// Reads an object, whose entries cannot be more than its bytes and what they unpack to.
fn reads_to_its_end(name: &str, object: &[u8]) {
    let limits = Limits { header_bytes: 200, record_bytes: 2000, payload_bytes: 1000 };
    let pages = Pages::new(Format::of(name).unwrap(), object, limits);
    let entries = pages.take(100_000).map(Result::unwrap);
    let mut count = 0;
    for entry in entries {
        count += 1;
        if let Entry::Page(page) = entry {
            assert!(page.payload.len() <= 1000);
            assert!(page.place.at <= object.len() as u64);
        }
    }
    assert!(count < 100_000);
}

const NAMES: [&str; 7] = ["a.warc", "a.warc.gz", "a.warc.zst", "a.jsonl", "a.jsonl.gz", "a.html", "a.html.zst"];

/// Pieces of which archives consist, and damaged ones.
fn pieces() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let piece = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..60),
        prop::sample::select(vec![
            "WARC/1.0\r\n",
            "WARC-Type: response\r\n",
            "Content-Length: 30\r\n",
            "Content-Length: 3000\r\n",
            "\r\n",
            "\n",
            "\r\n\r\n",
            "HTTP/1.1 200 OK\r\n",
            "Content-Encoding: gzip\r\n",
            "Transfer-Encoding: chunked\r\n",
            "3\r\nabc\r\n",
            "<p>",
            ": ",
            "Content-Type: application/http\r\n",
            "\0",
            "{\"html\": \"",
            "\"}",
            "\\ud800",
        ])
        .prop_map(|text| text.as_bytes().to_vec()),
        "[a-z]{0,20}".prop_map(|text| record(&text)),
    ];
    prop::collection::vec(piece, 0..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_bytes_are_read_to_their_end(
        begin in prop::sample::select(vec![&b""[..], b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd", b"\x5d\x2a\x4d\x18", b"WARC/1.0\r\n", b"{"]),
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        name in prop::sample::select(NAMES.to_vec()),
    ) {
        reads_to_its_end(name, &[begin, &bytes[..]].concat());
    }

    #[test]
    fn any_pieces_of_archives_are_read_to_their_end(pieces in pieces(), (packing, _) in packing(),
        name in prop::sample::select(NAMES.to_vec()), cut in 0..40_usize, flip in any::<prop::sample::Index>()) {
        let (_, mut object) = packed(packing, &pieces);
        object.truncate(object.len().saturating_sub(cut));
        if !object.is_empty() {
            let at = flip.index(object.len());
            object[at] ^= 1;
        }
        reads_to_its_end(name, &object);
        reads_to_its_end(name, &pieces.concat());
    }

    #[test]
    fn any_pages_that_are_written_are_read_back_with_their_places(
        contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..2000), 0..8),
        (packing, name) in packing(), read_bytes in 1..5000_usize,
    ) {
        struct Slow<'a>(&'a [u8], usize);
        impl Read for Slow<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let bytes = self.1.min(buffer.len());
                self.0.read(&mut buffer[..bytes])
            }
        }
        let mut writer = WarcWriter::new(Vec::new(), packing);
        for (number, content) in contents.iter().enumerate() {
            let message = [b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n", &content[..]].concat();
            writer.response(&format!("https://bees.example/{number}"), DATE, &message).unwrap();
        }
        let object = writer.into_inner();
        let (entries, counts) = read_with(name, Slow(&object, read_bytes), SMALL);
        prop_assert_eq!(counts.pages as usize, contents.len());
        for (number, (entry, content)) in entries.iter().zip(&contents).enumerate() {
            let Entry::Page(page) = entry else { panic!("{entry:?}") };
            prop_assert_eq!(&page.payload, content);
            prop_assert_eq!(page.url.clone(), Some(format!("https://bees.example/{number}")));
            prop_assert!(page.mends.is_empty() && page.place.within == 0);
            let again = Pages::at(Format::of(name).unwrap(), page.place, &object[page.place.at as usize..], SMALL).next();
            prop_assert_eq!(&again.unwrap().unwrap(), entry);
        }
    }

    #[test]
    fn one_damaged_record_among_others_costs_at_most_itself(
        contents in prop::collection::vec("[a-z ]{0,500}", 3..8), is_gzip in any::<bool>(),
        which in any::<prop::sample::Index>(), bytes in prop::collection::vec(any::<u8>(), 0..200), keep in 0..600_usize,
    ) {
        let (packing, name) = if is_gzip { (Packing::Gzip, "a.warc.gz") } else { (Packing::Zstd, "a.warc.zst") };
        let records: Vec<_> = contents.iter().map(|text| record(text)).collect();
        let which = which.index(records.len());
        let (mut parts, _) = packed(packing, &records);
        parts[which].truncate(keep);
        parts[which].extend_from_slice(&bytes);
        let got = read(name, &parts.concat());
        for (number, text) in contents.iter().enumerate().filter(|(number, _)| *number != which) {
            prop_assert!(got.contains(&ok(text)), "{} of {:?}", number, got);
        }
    }
}
