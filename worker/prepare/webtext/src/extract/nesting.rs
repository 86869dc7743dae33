//! Tags bounded before parsing: their depth, their attributes, and the cells that they claim to span.
//!
//! An HTML parser's time is quadratic in the depth of a tree, and what walks or drops a tree recurses. So depth is looked at in
//! one pass over the tags. It follows how parsers close elements as far as that decides depth: end tags of blocks close what is
//! open within, others close no block, and elements whose end tag may be left out are not counted, because they only nest
//! within counted ones. The depth of a tree may exceed the depth counted here by a small factor.
//!
//! The pass also leaves out what no extractor reads, and what is most of many pages: comments, style sheets, and scripts other
//! than JSON, which may hold a title and a date.

use super::{
    limits::Limits,
    tags::{Tag, Token, Tokens},
};

/// Widest span that the HTML standard knows.
const SPAN_MAX: usize = 1000;
/// Open elements among which the one that an end tag closes is looked for.
const SEARCHED: usize = 512;

/// Elements without content, and elements whose end tag may be left out.
const UNCOUNTED: &[&str] = &[
    "area", "base", "basefont", "bgsound", "body", "br", "caption", "col", "colgroup", "dd", "dt", "embed", "frame",
    "head", "hr", "html", "image", "img", "input", "keygen", "li", "link", "meta", "optgroup", "option", "p", "param",
    "rb", "rp", "rt", "rtc", "source", "tbody", "td", "tfoot", "th", "thead", "tr", "track", "wbr",
];
/// Elements whose end tag closes what is open within.
const BLOCKS: &[&str] = &[
    "address",
    "applet",
    "article",
    "aside",
    "blockquote",
    "button",
    "center",
    "details",
    "dialog",
    "dir",
    "div",
    "dl",
    "fieldset",
    "figcaption",
    "figure",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "header",
    "hgroup",
    "listing",
    "main",
    "marquee",
    "menu",
    "nav",
    "object",
    "ol",
    "pre",
    "search",
    "section",
    "select",
    "summary",
    "table",
    "template",
    "ul",
];
/// Elements that no end tag within them reaches out of.
const BOUNDARIES: &[&str] = &["applet", "marquee", "object", "table", "template"];

/// A page whose tags are bounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bounded {
    /// The page.
    pub html: String,
    /// Tags that were dropped because they were nested too deep; their text remains.
    pub flattened: usize,
}

/// Bounds the tags of a page and removes its NUL characters, or is `None` for a page nested deeper than [`Limits::refused_depth`].
pub fn bound(page: &str, limits: &Limits) -> Option<Bounded> {
    let mut bounded = Bounded { html: String::with_capacity(page.len()), flattened: 0 };
    let mut open = Open::default();
    let mut unread = false;
    for token in Tokens::new(page) {
        let tag = match token {
            Token::Text(source) => {
                // A parser spends a node on each NUL, and then ignores it.
                bounded.html.extend(source.split('\0'));
                continue;
            }
            Token::Other(source) => {
                if !unread && !source.starts_with("<!--") {
                    bounded.html.push_str(source);
                }
                continue;
            }
            Token::Tag(tag) => tag,
        };
        unread = !tag.end && is_unread(&tag);
        let keep = if tag.end { open.end(tag.name) } else { open.start(tag.name, limits.depth) };
        if open.elements.len() > limits.refused_depth {
            return None;
        }
        if keep {
            write_tag(&mut bounded.html, &tag, limits);
        } else {
            bounded.flattened += 1;
        }
    }
    Some(bounded)
}

/// Whether the content of an element is of no use to an extractor.
fn is_unread(tag: &Tag<'_>) -> bool {
    let json = || tag.attributes().any(|attribute| attribute.value.to_ascii_lowercase().contains("json"));
    tag.name.eq_ignore_ascii_case("style") || tag.name.eq_ignore_ascii_case("script") && !json()
}

/// Writes a tag without the attributes that are out of bounds.
fn write_tag(html: &mut String, tag: &Tag<'_>, limits: &Limits) {
    let mut written = 0;
    for attribute in tag.attributes() {
        let spans = attribute.name.eq_ignore_ascii_case("colspan") || attribute.name.eq_ignore_ascii_case("rowspan");
        let too_wide = spans && attribute.value.trim().parse::<usize>().is_ok_and(|span| span > SPAN_MAX);
        let digits = spans && attribute.value.len() > 20;
        if too_wide
            || digits
            || attribute.value.len() > limits.attribute_bytes
            || attribute.name.len() > limits.attribute_bytes
        {
            html.push_str(&tag.source[written..attribute.start]);
            written = attribute.end;
        }
    }
    html.push_str(&tag.source[written..]);
}

/// Elements that are open.
#[derive(Default)]
struct Open {
    elements: Vec<Element>,
    kept: usize,
}

struct Element {
    /// Hash of the name, so that an element is small and foreign names need no copy.
    name: u64,
    kind: Kind,
    kept: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Uncounted,
    Boundary,
    Block,
    Inline,
}

impl Open {
    /// Opens an element, and says whether its tag is kept.
    fn start(&mut self, name: &str, depth: usize) -> bool {
        let kind = kind(name);
        if kind == Kind::Uncounted {
            return true;
        }
        let kept = self.kept < depth;
        self.kept += usize::from(kept);
        self.elements.push(Element { name: hash(name), kind, kept });
        kept
    }

    /// Closes the element that an end tag belongs to, and says whether the tag is kept.
    fn end(&mut self, name: &str) -> bool {
        let (kind, name) = (kind(name), hash(name));
        if kind == Kind::Uncounted {
            return true;
        }
        // Blocks that are open within the element: all of them, and those that the parser sees.
        let (mut blocks, mut blocks_seen) = (false, false);
        let searched = self.elements.len().saturating_sub(SEARCHED);
        for at in (searched..self.elements.len()).rev() {
            let element = &self.elements[at];
            if element.name == name {
                let kept = element.kept;
                self.close(at, blocks, !kept || blocks_seen);
                return kept;
            }
            if element.kind == Kind::Boundary {
                // The tag closes nothing, and must not reach a parser that does not see the boundary.
                return element.kept;
            }
            let block = element.kind == Kind::Block && kind == Kind::Inline;
            blocks |= block;
            blocks_seen |= block && element.kept;
        }
        // What was not looked at may be what a parser would close.
        searched == 0
    }

    /// Closes the element at `at`. What is open within it stays open: what the parser does not see if `unseen_stay`, and what
    /// it sees if `seen_stay`.
    fn close(&mut self, at: usize, unseen_stay: bool, seen_stay: bool) {
        for (within, element) in self.elements.split_off(at).into_iter().enumerate() {
            let stays = within > 0 && if element.kept { seen_stay } else { unseen_stay };
            if stays {
                self.elements.push(element);
            } else {
                self.kept -= usize::from(element.kept);
            }
        }
    }
}

fn kind(name: &str) -> Kind {
    let among = |names: &[&str]| names.iter().any(|known| known.eq_ignore_ascii_case(name));
    if among(UNCOUNTED) {
        Kind::Uncounted
    } else if among(BOUNDARIES) {
        Kind::Boundary
    } else if among(BLOCKS) {
        Kind::Block
    } else {
        Kind::Inline
    }
}

/// FNV-1a over the name in lower case.
fn hash(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(0x0100_0000_01B3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(depth: usize) -> Limits {
        Limits { depth, refused_depth: 4 * depth, attribute_bytes: 32, ..Limits::default() }
    }

    fn check(page: &str, depth: usize, expected: &str) {
        assert_eq!(bound(page, &limits(depth)).unwrap().html, expected);
    }

    #[test]
    fn tags_beyond_the_depth_are_dropped_in_pairs_and_their_text_stays() {
        check("<div>a<div>b<div>c<i>d</i></div>e</div>f</div>g<b>h</b>", 2, "<div>a<div>bcde</div>f</div>g<b>h</b>");
    }

    #[test]
    fn elements_with_optional_end_tags_do_not_count() {
        let page = "<ul>".to_owned() + &"<li>x<p>y".repeat(100) + "</ul>";
        check(&page, 2, &page);
    }

    #[test]
    fn a_block_that_ends_closes_what_is_open_within() {
        let page = "<div><span><em>x</div>".repeat(100);
        check(&page, 3, &page);
    }

    #[test]
    fn inline_elements_that_end_leave_blocks_open() {
        let bounded = bound(&"<b><div></b>".repeat(8), &limits(4)).unwrap();
        assert_eq!(bounded.html.matches("<div>").count(), 3);
        assert!(bound(&"<b><div></b>".repeat(100), &limits(4)).is_none());
    }

    #[test]
    fn a_hundred_thousand_nested_tags_are_refused() {
        assert_eq!(bound(&"<div>".repeat(100_000), &Limits::default()), None);
    }

    #[test]
    fn scripts_styles_and_comments_are_left_out_and_json_stays() {
        let page = "<style>p{}</style><!-- <p> --><script>a()</script><script type='application/ld+json'>{}</script><title>t</title>";
        let expected = "<style></style><script></script><script type='application/ld+json'>{}</script><title>t</title>";
        check(page, 4, expected);
    }

    #[test]
    fn huge_attributes_and_spans_go_and_the_rest_of_a_tag_stays() {
        let page = format!("<td id=a colspan=1000000000 title='{}' class=b>x", "y".repeat(100));
        check(&page, 4, "<td id=a   class=b>x");
        check("<td colspan=3 rowspan=99999999999999999999999>x", 4, "<td colspan=3 >x");
    }

    #[test]
    fn an_end_tag_within_a_table_that_was_dropped_closes_nothing_around_it() {
        check("<div><div><table>a</div>b</table>c</div>d</div>", 2, "<div><div>abc</div>d</div>");
    }

    proptest::proptest! {
        #[test]
        fn what_was_bounded_is_within_the_bounds(
            page in "(<b>|<i>|<div>|<h1>|</b>|</i>|</div>|</h1>|<table>|</table>|<p>|x){0,80}",
        ) {
            if let Some(bounded) = bound(&page, &limits(3)) {
                let again = Bounded { flattened: 0, ..bounded.clone() };
                proptest::prop_assert_eq!(bound(&bounded.html, &limits(3)), Some(again));
                proptest::prop_assert_eq!(bounded.html.matches('x').count(), page.matches('x').count());
            }
        }
    }
}
