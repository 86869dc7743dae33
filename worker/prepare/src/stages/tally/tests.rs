//! Tests of sums.

use proptest::prelude::*;

use super::*;
use crate::stages::lineage::Verdict;
use crate::stages::lineage::tests::line;

fn counted(lines: &[Line]) -> Tally {
    let mut tally = Tally::default();
    lines.iter().for_each(|line| tally.count(line, &format!("text of {}", line.at)));
    tally
}

fn any_line() -> impl Strategy<Value = Line> {
    // Few ids, so that some are equal.
    (0_u64..200, 0_u8..4, any::<bool>()).prop_map(|(number, rule, kept)| Line {
        id: u128::from(number / 2),
        verdict: if kept { Verdict::Kept } else { Verdict::Dropped },
        rule: if kept { String::new() } else { format!("rule.{rule}") },
        ..line(number)
    })
}

proptest! {
    #[test]
    fn the_sum_does_not_depend_on_the_order_of_documents_or_units(
        lines in prop::collection::vec(any_line(), 0..150),
        cuts in prop::collection::vec(0_usize..150, 0..6),
        seed in any::<u64>(),
    ) {
        let all = counted(&lines);
        let mut ends: Vec<usize> = cuts.into_iter().map(|cut| cut.min(lines.len())).chain([0, lines.len()]).collect();
        ends.sort_unstable();
        let mut parts: Vec<Tally> = ends.windows(2).map(|ends| counted(&lines[ends[0]..ends[1]])).collect();
        parts.sort_by_key(|part| (part.seen ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        // From the left, and as a tree.
        let mut sum = Tally::default();
        parts.iter().for_each(|part| sum.add(part.clone()));
        prop_assert_eq!(&sum, &all);
        while parts.len() > 1 {
            let last = parts.pop().unwrap();
            parts[0].add(last);
        }
        prop_assert_eq!(&parts[0], &all);
        let mut shuffled = lines.clone();
        shuffled.sort_by_key(|line| (line.at ^ seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        prop_assert_eq!(&counted(&shuffled), &all);
        let back: Tally = serde_json::from_value(serde_json::to_value(&all).unwrap()).unwrap();
        prop_assert_eq!(back, all);
    }
}

#[test]
fn examples_are_those_with_the_smallest_ids_and_their_texts_are_short() {
    let lines: Vec<Line> =
        (0..40).map(|n| Line { id: 39 - n, verdict: Verdict::Dropped, rule: "status".into(), ..line(1) }).collect();
    let mut tally = Tally::default();
    lines.iter().for_each(|line| tally.count(line, &"ü".repeat(1000)));
    let dropped = &tally.dropped["status"];
    assert_eq!((dropped.count, dropped.bytes, tally.dropped_documents()), (40, 80, 40));
    let ids: Vec<u128> = dropped.examples.iter().map(|e| u128::from_str_radix(&e.id, 16).unwrap()).collect();
    assert_eq!(ids, (0..10).collect::<Vec<_>>());
    assert!(dropped.examples.iter().all(|example| example.start.len() == START_BYTES_MAX));
}

#[test]
fn the_most_frequent_domains_stay_at_the_end_of_a_stage_alone() {
    let kept = |number: u64| Line {
        verdict: Verdict::Kept,
        url: Some(format!("http://{}.example/", number % 2000)),
        ..line(number)
    };
    let mut unit = counted(&(0..3000).map(kept).collect::<Vec<_>>());
    let mut stage = Tally::default();
    stage.add(unit.clone());
    assert_eq!(stage.domains, unit.domains);
    stage.forget_rare_domains();
    assert_eq!(stage.domains.most_frequent(2000), unit.domains.most_frequent(DOMAINS_MAX));
    unit.forget_rare_domains();
    assert_eq!(stage, unit);
}

#[test]
fn a_domain_is_the_host_without_www() {
    for (url, expected) in [
        ("https://www.Example.com/a?b#c", Some("example.com")),
        ("http://user:secret@a.example:8080/", Some("a.example")),
        ("http://a.example", Some("a.example")),
        ("http://[2001:db8::1]:80/x", Some("[2001:db8::1]")),
        ("dns:example.com", None),
        ("https:///x", None),
        ("https://a b/", None),
        ("", None),
    ] {
        assert_eq!(domain_of(url).as_deref(), expected, "{url}");
    }
}
