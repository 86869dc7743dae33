//! A tokenizer of tags: where each starts and ends, in one pass over a page, without a tree.
//!
//! It follows the HTML standard in what decides where markup is: comments, quoted attributes, and elements whose content is not
//! markup. It resolves no entities and reports no errors.

/// A piece of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// Text between tags, entities as written; also what comments, doctypes and scripts hold.
    Text(&'a str),
    /// A comment, a doctype, or another construct without text.
    Other(&'a str),
    /// A start or an end tag.
    Tag(Tag<'a>),
}

/// A start or an end tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag<'a> {
    /// The whole tag, from `<` to `>`.
    pub source: &'a str,
    /// Its name as written.
    pub name: &'a str,
    /// Whether it begins with `</`.
    pub end: bool,
}

/// Elements whose content is text up to their end tag.
const RAW: [&str; 8] = ["script", "style", "textarea", "title", "xmp", "iframe", "noembed", "noframes"];

/// Iterator over the tokens of a page. Their sources, joined, are the page.
#[derive(Clone, Debug)]
pub struct Tokens<'a> {
    rest: &'a str,
    raw: Option<&'a str>,
}

impl<'a> Tokens<'a> {
    /// Tokens of a page.
    pub fn new(page: &'a str) -> Tokens<'a> {
        Tokens { rest: page, raw: None }
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (head, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        head
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        if self.rest.is_empty() {
            return None;
        }
        if let Some(name) = self.raw.take() {
            let end = raw_end(self.rest, name);
            if end > 0 {
                return Some(Token::Other(self.take(end)));
            }
        }
        let Some(open) = markup(self.rest) else { return Some(Token::Text(self.take(self.rest.len()))) };
        if open > 0 {
            return Some(Token::Text(self.take(open)));
        }
        let bytes = self.rest.as_bytes();
        let end = bytes[1] == b'/';
        let start = 1 + usize::from(end);
        if !bytes.get(start).is_some_and(u8::is_ascii_alphabetic) {
            let length = construct_end(self.rest);
            return Some(Token::Other(self.take(length)));
        }
        let name_end = start + bytes[start..].iter().position(|byte| ends_name(*byte)).unwrap_or(bytes.len() - start);
        let name = &self.rest[start..name_end];
        let length = attributes(self.rest, name_end).last().map_or(name_end, |attribute| attribute.end);
        let length =
            length + bytes[length..].iter().position(|&byte| byte == b'>').map_or(bytes.len() - length, |at| at + 1);
        let source = self.take(length);
        if !end && RAW.iter().any(|raw| raw.eq_ignore_ascii_case(name)) {
            self.raw = Some(name);
        }
        Some(Token::Tag(Tag { source, name, end }))
    }
}

/// An attribute of a tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attribute<'a> {
    /// Name as written.
    pub name: &'a str,
    /// Value without its quotes, entities as written; empty without one.
    pub value: &'a str,
    /// Where the attribute starts within the tag.
    pub start: usize,
    /// Where it ends, closing quote included.
    pub end: usize,
}

impl<'a> Tag<'a> {
    /// Attributes of the tag.
    pub fn attributes(&self) -> Attributes<'a> {
        attributes(self.source, 1 + usize::from(self.end) + self.name.len())
    }
}

/// Iterator over the attributes of a tag.
#[derive(Clone, Debug)]
pub struct Attributes<'a> {
    text: &'a str,
    at: usize,
}

fn attributes(text: &str, at: usize) -> Attributes<'_> {
    Attributes { text, at }
}

impl<'a> Iterator for Attributes<'a> {
    type Item = Attribute<'a>;

    fn next(&mut self) -> Option<Attribute<'a>> {
        let bytes = self.text.as_bytes();
        let skip = |from: usize, f: fn(u8) -> bool| from + bytes[from..].iter().take_while(|byte| f(**byte)).count();
        let start = skip(self.at, |byte| byte.is_ascii_whitespace() || byte == b'/');
        self.at = start;
        if start >= bytes.len() || bytes[start] == b'>' {
            return None;
        }
        // A name may begin with an equals sign, and with no other.
        let name_end = skip(start + 1, |byte| !ends_name(byte) && byte != b'=');
        let equals = skip(name_end, |byte| byte.is_ascii_whitespace());
        let mut attribute = Attribute { name: &self.text[start..name_end], value: "", start, end: name_end };
        if bytes.get(equals) == Some(&b'=') {
            let from = skip(equals + 1, |byte| byte.is_ascii_whitespace());
            (attribute.value, attribute.end) = match bytes.get(from) {
                Some(&quote @ (b'"' | b'\'')) => {
                    let length = bytes[from + 1..].iter().position(|&byte| byte == quote);
                    let to = length.map_or(bytes.len(), |length| from + 1 + length);
                    (&self.text[from + 1..to], (to + 1).min(bytes.len()))
                }
                _ => {
                    let to = skip(from, |byte| !byte.is_ascii_whitespace() && byte != b'>');
                    (&self.text[from..to], to)
                }
            };
        }
        self.at = attribute.end;
        Some(attribute)
    }
}

fn ends_name(byte: u8) -> bool {
    byte.is_ascii_whitespace() || byte == b'/' || byte == b'>'
}

/// Where the next `<` lies that begins markup.
fn markup(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let begins = |at: usize| bytes.get(at + 1).is_some_and(|byte| byte.is_ascii_alphabetic() || b"!/?".contains(byte));
    text.match_indices('<').map(|(at, _)| at).find(|&at| begins(at))
}

/// Length of a comment, a doctype, or another construct that begins the text and is no tag.
fn construct_end(text: &str) -> usize {
    let closing = if text.starts_with("<!--") && !text.starts_with("<!-->") { "-->" } else { ">" };
    text[2..].find(closing).map_or(text.len(), |at| 2 + at + closing.len())
}

/// Length of the content of an element that holds no markup.
fn raw_end(text: &str, name: &str) -> usize {
    let closes = |at: usize| {
        let rest = text.as_bytes().get(at + 2..).unwrap_or_default();
        rest.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes()))
            && rest.get(name.len()).is_none_or(|byte| ends_name(*byte))
    };
    text.match_indices("</").map(|(at, _)| at).find(|&at| closes(at)).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(page: &str, expected: &[&str]) {
        let found: Vec<String> = Tokens::new(page)
            .map(|token| match token {
                Token::Text(text) => format!("text {text}"),
                Token::Other(text) => format!("other {text}"),
                Token::Tag(tag) => format!("{} {}", if tag.end { "end" } else { "start" }, tag.name),
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn tags_text_and_comments_are_kept_apart() {
        check("<P class=a>x<!-- <b> -->y</P>", &["start P", "text x", "other <!-- <b> -->", "text y", "end P"]);
        check("a < b <3 & c", &["text a < b <3 & c"]);
        check("<!doctype html><br/>", &["other <!doctype html>", "start br"]);
    }

    #[test]
    fn scripts_hold_no_tags() {
        check(
            "<script>if (a<b) '<p></p>'</script><i>",
            &["start script", "other if (a<b) '<p></p>'", "end script", "start i"],
        );
    }

    #[test]
    fn a_greater_than_sign_in_quotes_ends_no_tag() {
        check("<a title='1 > 0' href=x>y", &["start a", "text y"]);
    }

    #[test]
    fn attributes_are_found_in_every_form() {
        let Some(Token::Tag(tag)) = Tokens::new("<td a = 'x' b=y c d=\"é\"/>").next() else { panic!("no tag") };
        let found: Vec<_> = tag.attributes().map(|attribute| (attribute.name, attribute.value)).collect();
        assert_eq!(found, [("a", "x"), ("b", "y"), ("c", ""), ("d", "é")]);
    }

    #[test]
    fn a_page_that_ends_anywhere_is_read_to_its_end() {
        let page = "<p é='ü' =x>ä<!-- c --><script>1</script></p>";
        for (at, _) in page.char_indices() {
            let joined: String = Tokens::new(&page[..at]).map(source).collect();
            assert_eq!(joined, page[..at]);
        }
    }

    fn source(token: Token<'_>) -> &str {
        match token {
            Token::Text(text) | Token::Other(text) => text,
            Token::Tag(tag) => tag.source,
        }
    }

    proptest::proptest! {
        #[test]
        fn tokens_joined_are_the_page(page in "(<|>|/|!|-|=|'|\"| |p|script|é|\\PC){0,60}") {
            proptest::prop_assert_eq!(Tokens::new(&page).map(source).collect::<String>(), page);
        }
    }
}
