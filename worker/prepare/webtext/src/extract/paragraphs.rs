//! Cleaned markup into paragraphs, separated by blank lines.
//!
//! The extractor's own plain text joins paragraphs by spaces, so its markup is read instead. White space is collapsed as browsers
//! do, except in `<pre>`; `<br>` is a line feed; cells of a row are separated by a space.

use super::tags::{Token, Tokens};

/// Elements that begin and end a paragraph.
const BREAKS: &[&str] = &[
    "address",
    "article",
    "aside",
    "blockquote",
    "caption",
    "dd",
    "div",
    "dl",
    "dt",
    "figcaption",
    "figure",
    "footer",
    "form",
    "graphic",
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "head",
    "header",
    "hr",
    "item",
    "li",
    "list",
    "main",
    "nav",
    "ol",
    "p",
    "pre",
    "quote",
    "row",
    "section",
    "table",
    "tbody",
    "tfoot",
    "thead",
    "tr",
    "ul",
];

/// Text of markup as a serializer writes it: entities are those that a serializer must write.
pub fn paragraphs(html: &str) -> String {
    let mut text = Paragraphs::default();
    for token in Tokens::new(html) {
        match token {
            Token::Text(source) => text.push(source),
            Token::Other(_) => {}
            Token::Tag(tag) => text.tag(&tag.name.to_ascii_lowercase(), tag.end),
        }
    }
    text.end_paragraph();
    text.done
}

#[derive(Default)]
struct Paragraphs {
    done: String,
    paragraph: String,
    /// Whether white space was seen since the last character.
    space: bool,
    preformatted: usize,
}

impl Paragraphs {
    fn tag(&mut self, name: &str, end: bool) {
        match name {
            "br" | "lb" => {
                self.paragraph.truncate(self.paragraph.trim_end_matches(' ').len());
                self.paragraph.push('\n');
                self.space = false;
            }
            "td" | "th" | "cell" => self.space = true,
            _ if BREAKS.contains(&name) => {
                self.end_paragraph();
                if name == "pre" {
                    self.preformatted = if end { self.preformatted.saturating_sub(1) } else { self.preformatted + 1 };
                }
            }
            _ => {}
        }
    }

    fn push(&mut self, source: &str) {
        let mut rest = source;
        while let Some(character) = rest.chars().next() {
            let (character, length) = entity(rest).unwrap_or((character, character.len_utf8()));
            rest = &rest[length..];
            if self.preformatted > 0 {
                self.paragraph.push(character);
            } else if character.is_whitespace() {
                self.space = true;
            } else {
                if self.space && !self.paragraph.is_empty() && !self.paragraph.ends_with('\n') {
                    self.paragraph.push(' ');
                }
                self.space = false;
                self.paragraph.push(character);
            }
        }
    }

    fn end_paragraph(&mut self) {
        let paragraph = self.paragraph.trim_end();
        let paragraph =
            if self.preformatted > 0 { paragraph.trim_start_matches(['\r', '\n']) } else { paragraph.trim_start() };
        if !paragraph.trim().is_empty() {
            if !self.done.is_empty() {
                self.done.push_str("\n\n");
            }
            self.done.push_str(paragraph);
        }
        self.paragraph.clear();
        self.space = false;
    }
}

/// The character that an entity at the start of the text stands for, and the entity's length.
fn entity(text: &str) -> Option<(char, usize)> {
    const ENTITIES: [(&str, char); 5] =
        [("&amp;", '&'), ("&lt;", '<'), ("&gt;", '>'), ("&quot;", '"'), ("&nbsp;", '\u{A0}')];
    ENTITIES.iter().find(|(name, _)| text.starts_with(name)).map(|(name, character)| (*character, name.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_kept_apart_and_white_space_is_collapsed() {
        assert_eq!(paragraphs("<p>One\n  two</p>\n<p>three <i>four</i>.</p>"), "One two\n\nthree four.");
        assert_eq!(paragraphs("<ul><li>a</li><li>b</li></ul>c"), "a\n\nb\n\nc");
    }

    #[test]
    fn breaks_are_line_feeds_and_cells_are_spaced() {
        assert_eq!(paragraphs("<p>a <br/> b</p>"), "a\nb");
        assert_eq!(paragraphs("<table><tr><td>1</td><td>2</td></tr><tr><td>3</td></tr></table>"), "1 2\n\n3");
    }

    #[test]
    fn preformatted_text_keeps_its_spaces() {
        assert_eq!(paragraphs("<pre>\nif a:\n    b\n</pre>"), "if a:\n    b");
    }

    #[test]
    fn entities_are_resolved_once() {
        assert_eq!(paragraphs("<p>AT&amp;T &lt;b&gt; &amp;lt;</p>"), "AT&T <b> &lt;");
    }
}
