//! Packings of objects.

use super::*;

#[test]
fn the_packing_follows_from_the_first_bytes_and_not_from_the_name() {
    let records = ["<p>a", "<p>b"].map(record);
    for packing in [Packing::Plain, Packing::Gzip, Packing::Zstd] {
        let (_, object) = packed(packing, &records);
        for name in ["a.warc", "a.warc.gz", "a.warc.zst"] {
            assert_eq!(read(name, &object), [ok("<p>a"), ok("<p>b")], "{packing:?} as {name}");
        }
    }
    // Where the first bytes are damaged, the name says what to look for.
    let (_, mut object) = packed(Packing::Gzip, &records);
    object[0] = b'x';
    assert_eq!(read("a.warc.gz", &object), [Err(Fault::Packing), ok("<p>b")]);
}

#[test]
fn members_need_not_begin_where_records_do() {
    let (_, whole) = packed(Packing::Plain, &["<p>first", "<p>second", "<p>third"].map(record));
    for (packing, name) in [(Packing::Gzip, "a.warc.gz"), (Packing::Zstd, "a.warc.zst")] {
        for bytes in [1, 2, 7, 100, whole.len() / 2] {
            let parts: Vec<_> = whole.chunks(bytes).map(<[u8]>::to_vec).collect();
            let (_, object) = packed(packing, &parts);
            assert_eq!(read(name, &object), [ok("<p>first"), ok("<p>second"), ok("<p>third")], "{name}, by {bytes}");
            let (entries, _) = read_with(name, &object[..], SMALL);
            for entry in &entries {
                let Entry::Page(page) = entry else { panic!("{entry:?}") };
                let from = &object[page.place.at as usize..];
                let again = Pages::at(Format::of(name).unwrap(), page.place, from, SMALL).next().unwrap().unwrap();
                assert_eq!(&again, entry, "{name}, by {bytes}");
            }
        }
    }
}

#[test]
fn skippable_frames_are_skipped() {
    let frame = |number: u8, content: &[u8]| {
        [&[0x50 + number, 0x2a, 0x4d, 0x18], &(content.len() as u32).to_le_bytes()[..], content].concat()
    };
    let (frames, _) = packed(Packing::Zstd, &["<p>a", "<p>b"].map(record));
    let object =
        [&frame(0, b"about the file")[..], &frames[0], &frame(15, b""), &frames[1], &frame(3, &[7; 300])].concat();
    assert_eq!(read("a.warc.zst", &object), [ok("<p>a"), ok("<p>b")]);
}

#[test]
fn a_dictionary_at_the_beginning_is_used_for_every_frame_and_for_reading_one_again() {
    let records = ["<p>a", "<p>b", "<p>c"].map(record);
    let content = records[0].repeat(3);
    for is_packed in [false, true] {
        let stored = if is_packed { zstd::encode_all(&content[..], 0).unwrap() } else { content.clone() };
        let mut object = [&[0x5d, 0x2a, 0x4d, 0x18], &(stored.len() as u32).to_le_bytes()[..], &stored].concat();
        for record in &records {
            let mut encoder = zstd::stream::write::Encoder::with_dictionary(&mut object, 3, &content).unwrap();
            io::Write::write_all(&mut encoder, record).unwrap();
            encoder.finish().unwrap();
        }
        let (entries, _) = read_with("a.warc.zst", &object[..], SMALL);
        assert_eq!(read("a.warc.zst", &object), [ok("<p>a"), ok("<p>b"), ok("<p>c")]);
        let Entry::Page(page) = &entries[1] else { panic!() };
        let dictionary = Dictionary::of(&object[..]).unwrap().unwrap();
        let from = &object[page.place.at as usize..];
        let again = Pages::at(Format::of("a.warc.zst").unwrap(), page.place, from, SMALL).with_dictionary(dictionary);
        assert_eq!(again.take(1).next().unwrap().unwrap(), entries[1]);
    }
    assert_eq!(Dictionary::of(&packed(Packing::Zstd, &records).1[..]).unwrap(), None);
    let error = Dictionary::of(&b"\x5d\x2a\x4d\x18\xff\xff\xff\xff"[..]).unwrap_err();
    assert_eq!(error.to_string(), "the zstd dictionary is larger than 16 MiB");
    // A dictionary that is cut is damage, and the rest is looked for frames.
    assert_eq!(read("a.warc.zst", b"\x5d\x2a\x4d\x18\xff\0\0\0abc"), [Err(Fault::Packing)]);
}

#[test]
fn members_of_nothing_are_read_in_bounded_memory() {
    let (_, empty) = packed(Packing::Gzip, &[Vec::new()]);
    let (_, page) = packed(Packing::Gzip, &[record("<p>a")]);
    let object = [&empty.repeat(10_000)[..], &page, &empty.repeat(10_000), &page].concat();
    assert_eq!(read("a.warc.gz", &object), [ok("<p>a"), ok("<p>a")]);
}

#[test]
fn bytes_that_look_like_members_cost_bounded_time() {
    let (members, _) = packed(Packing::Gzip, &[record("<p>a"), record("<p>b")]);
    let fake = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03".repeat(20_000);
    let object = [&members[0][..], &fake, &members[1]].concat();
    let got = read("a.warc.gz", &object);
    assert_eq!((got.first(), got.last()), (Some(&ok("<p>a")), Some(&ok("<p>b"))));
}

#[test]
fn an_object_that_unpacks_to_far_more_than_its_limits_is_read_in_bounded_memory() {
    // A reader of one member of 40 MB, which is no record from its second byte on.
    let (_, bomb) = packed(Packing::Gzip, &[vec![b'W'; 40 << 20]]);
    let (_, page) = packed(Packing::Gzip, &[record("<p>a")]);
    let object = [&bomb[..], &page].concat();
    let mut pages = Pages::new(Format::of("a.warc.gz").unwrap(), &object[..], SMALL);
    assert!(matches!(pages.next(), Some(Ok(Entry::Damage(Damage { fault: Fault::NotARecord, .. })))));
    assert!(matches!(pages.next(), Some(Ok(Entry::Page(_)))));
    assert!(pages.next().is_none());
    assert_eq!(pages.packed_bytes(), object.len() as u64);
}
