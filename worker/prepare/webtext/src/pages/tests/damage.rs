//! Damage costs its record and nothing else.

use super::*;

fn pages() -> Vec<Vec<u8>> {
    (0..5).map(|number| record(&format!("<p>page {number} {}", noise(3000, number)))).collect()
}

fn texts() -> Vec<Result<String, Fault>> {
    (0..5).map(|number| ok(&format!("<p>page {number} {}", noise(3000, number)))).collect()
}

/// Reads an object of five records of which the third is damaged, and checks the damage.
fn check(name: &str, object: &[u8], fault: Fault, place: u64) {
    let (entries, _) = read_with(name, object, SMALL);
    let mut expected = texts();
    expected[2] = Err(fault);
    assert_eq!(read(name, object), expected, "{entries:?}");
    let Entry::Damage(damage) = &entries[2] else { panic!("{entries:?}") };
    assert_eq!(damage.place, Place { at: place, within: 0 }, "{damage}");
}

#[test]
fn a_cut_gzip_member_costs_its_record_and_nothing_else() {
    let (members, _) = packed(Packing::Gzip, &pages());
    let place = (members[0].len() + members[1].len()) as u64;
    for kept in [members[2].len() - 1, members[2].len() - 8, 1000, 20, 11] {
        let cut = [&members[0][..], &members[1], &members[2][..kept], &members[3], &members[4]].concat();
        check("a.warc.gz", &cut, Fault::Packing, place);
    }
}

#[test]
fn a_cut_zstd_frame_costs_its_record_and_nothing_else() {
    let (frames, _) = packed(Packing::Zstd, &pages());
    let place = (frames[0].len() + frames[1].len()) as u64;
    for kept in [frames[2].len() - 1, frames[2].len() - 4, 1000, 20] {
        let cut = [&frames[0][..], &frames[1], &frames[2][..kept], &frames[3], &frames[4]].concat();
        check("a.warc.zst", &cut, Fault::Packing, place);
    }
}

#[test]
fn a_cut_at_the_end_of_the_object_is_damage_and_never_silent() {
    for (packing, name, fault) in [
        (Packing::Plain, "a.warc", Fault::Cut),
        (Packing::Gzip, "a.warc.gz", Fault::Packing),
        (Packing::Zstd, "a.warc.zst", Fault::Packing),
    ] {
        let (all, object) = packed(packing, &pages());
        let last = all[4].len();
        for lost in [5, 8, 20, 1000, last - 20] {
            let mut expected = texts();
            expected[4] = Err(fault);
            assert_eq!(read(name, &object[..object.len() - lost]), expected, "{name} without {lost} bytes");
        }
    }
}

#[test]
fn any_changed_byte_of_a_packed_record_costs_that_record() {
    for (packing, name) in [(Packing::Gzip, "a.warc.gz"), (Packing::Zstd, "a.warc.zst")] {
        let (members, object) = packed(packing, &pages());
        let start = members[0].len() + members[1].len();
        let mut fine = 0;
        for at in (0..12).chain((12..members[2].len()).step_by(53)).chain(members[2].len() - 8..members[2].len()) {
            let mut changed = object.clone();
            changed[start + at] ^= 0x10;
            let got = read(name, &changed);
            // Some bytes of a header, such as the time, mean nothing.
            fine += usize::from(got == texts());
            let is_lost = |got: &[Result<String, Fault>]| {
                got.len() == 5 && got[2] == Err(Fault::Packing) && got[..2] == texts()[..2] && got[3..] == texts()[3..]
            };
            assert!(got == texts() || is_lost(&got), "{name} byte {at}: {got:?}");
        }
        assert!(fine <= 8, "{name}: {fine}");
    }
}

#[test]
fn bytes_between_members_are_skipped_and_counted_and_zeros_are_padding() {
    let (members, _) = packed(Packing::Gzip, &pages());
    let noise = b"neither a member nor zeros \x1f\x8b\x08 and \x1f\x8b\x08\x00\x00\x00\x00\x00\x07\x03 at all";
    let object = [&members[0][..], &[0; 700], &members[1], noise, &members[2], &members[3], &members[4]].concat();
    let mut expected = texts();
    expected.insert(2, Err(Fault::Packing));
    assert_eq!(read("a.warc.gz", &object), expected);
}

#[test]
fn a_member_that_is_no_record_is_skipped_and_counted() {
    for (packing, name) in [(Packing::Plain, "a.warc"), (Packing::Gzip, "a.warc.gz"), (Packing::Zstd, "a.warc.zst")] {
        let mut records = pages();
        let place = packed(packing, &records[..2]).1.len() as u64;
        records[2] = b"This is no record,\r\nbut there is a version in it:\r\nWARC/1.0\r\n\r\n".to_vec();
        check(name, &packed(packing, &records).1, Fault::NotARecord, place);
        // Its first byte is damaged.
        records[2] = record("<p>x");
        records[2][1] = b'X';
        check(name, &packed(packing, &records).1, Fault::NotARecord, place);
    }
}

#[test]
fn a_header_without_end_costs_its_record_in_bounded_memory() {
    let mut records = pages();
    let begin = packed(Packing::Plain, &records[..2]).1;
    let place = begin.len() as u64;
    records[2] = format!("WARC/1.0\r\nWARC-Type: response\r\nX: {}", noise(200 << 10, 1)).into_bytes();
    check(
        "a.warc.gz",
        &packed(Packing::Gzip, &records).1,
        Fault::Header,
        packed(Packing::Gzip, &records[..2]).1.len() as u64,
    );
    records[2].extend_from_slice(b"\r\n\r\n");
    check("a.warc", &packed(Packing::Plain, &records).1, Fault::Header, place);
    // A header that ends with its member.
    records[2] = b"WARC/1.0\r\nWARC-Type: response\r\nContent-Le".to_vec();
    check(
        "a.warc.gz",
        &packed(Packing::Gzip, &records).1,
        Fault::Cut,
        packed(Packing::Gzip, &records[..2]).1.len() as u64,
    );
}

#[test]
fn a_record_in_one_member_with_others_is_found_again_by_its_place() {
    for (packing, name) in [(Packing::Plain, "a.warc"), (Packing::Gzip, "a.warc.gz"), (Packing::Zstd, "a.warc.zst")] {
        let (_, object) = packed(packing, &[pages().concat(), record("<p>last")]);
        let (entries, _) = read_with(name, &object[..], SMALL);
        assert_eq!(entries.len(), 6);
        for entry in &entries {
            let Entry::Page(page) = entry else { panic!("{entry:?}") };
            let from = &object[page.place.at as usize..];
            let again = Pages::at(Format::of(name).unwrap(), page.place, from, SMALL).next().unwrap().unwrap();
            assert_eq!(&again, entry, "{name}");
        }
    }
}

#[test]
fn what_lies_before_damage_in_a_long_member_has_been_read() {
    let (members, _) = packed(Packing::Gzip, &[pages().concat(), record("<p>last")]);
    let cut = [&members[0][..members[0].len() - 1500], &members[1]].concat();
    let got = read("a.warc.gz", &cut);
    assert_eq!(got[..4], texts()[..4]);
    assert_eq!(got[4..], [Err(Fault::Packing), ok("<p>last")]);
}
