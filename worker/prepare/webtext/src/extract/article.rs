//! Extraction in this process. Only what calls [`extract`] in a child is safe from pages that cost too much.

use trafilatura::{ExtractResult, ExtractionFocus, Options};

use super::{
    charset,
    limits::Limits,
    mend::mend,
    nesting,
    page::{Article, Page, Verdict},
    paragraphs::paragraphs,
};

/// Characters of a first text that is taken without a look at what other methods find.
///
/// The first method fails by finding too little: a short text is what the others are asked for. docs/webtext.md has what
/// this gains and costs.
const SURE_CHARACTERS: usize = 1_000;

/// Extracts the main text of a page, in this process: time and memory are bounded only by what a parser needs for
/// [`Limits::page_bytes`].
pub fn extract(page: &Page<'_>, limits: &Limits) -> Verdict {
    let bytes = u64::try_from(page.body.len()).unwrap_or(u64::MAX);
    if bytes > limits.page_bytes {
        return Verdict::TooLarge { bytes };
    }
    let decoded = charset::decode(page.body, page.content_type);
    let Some(bounded) = nesting::bound(&decoded.text, limits) else { return Verdict::TooDeep };
    let (charset, charset_source, malformed) = (decoded.charset.to_owned(), decoded.source, decoded.malformed);
    drop(decoded.text);
    let Some(found) = main_text(&bounded.html) else { return Verdict::NoText };
    let mended = mend(&paragraphs(&found.content_html));
    let text = mended.text.trim();
    if text.is_empty() {
        return Verdict::NoText;
    }
    Verdict::Text(Article {
        text: text.to_owned(),
        title: mend(&found.metadata.title).text.split_whitespace().collect::<Vec<_>>().join(" "),
        date: found.metadata.date.map(|date| date.to_string()),
        charset,
        charset_source,
        malformed,
        mended: mended.repairs,
        removed: mended.removed,
        spaces: mended.spaces,
        flattened: bounded.flattened,
    })
}

/// Returns what the first method finds where that is long, and otherwise the best of several methods, which cost as much again.
///
/// The options are those that measured best: docs/webtext.md has the table.
fn main_text(html: &str) -> Option<ExtractResult> {
    let options = Options::default().with_focus(ExtractionFocus::FavorPrecision).with_exclude_comments(true);
    let first = trafilatura::extract(html, &options);
    if let Ok(found) = first
        && found.content_text.chars().nth(SURE_CHARACTERS - 1).is_some()
    {
        return Some(found);
    }
    trafilatura::extract(html, &options.with_fallback(true)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SENTENCE: &str =
        "The ferry leaves the harbour at seven, and it carries letters, bread and whoever has got up in time. ";

    fn page(article: &str) -> String {
        format!(
            "<html><head><title>The ferry | Harbour News</title><meta property='og:title' content='The ferry'>\
             <meta property='article:published_time' content='2016-03-05T07:00:00Z'></head><body>\
             <nav><ul><li><a href=/>Home</a></li><li><a href=/about>About</a></li></ul></nav>\
             <article><h1>The ferry</h1>{article}</article><footer>Copyright Harbour News</footer></body></html>"
        )
    }

    fn text(html: &[u8], content_type: Option<&str>) -> Article {
        match extract(&Page { body: html, content_type }, &Limits::default()) {
            Verdict::Text(article) => article,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_text_comes_with_title_and_date_and_without_its_frame() {
        let (first, second) = (SENTENCE.repeat(3), SENTENCE.repeat(2));
        let article = text(page(&format!("<p>{first}</p><p>{second}</p>")).as_bytes(), None);
        assert!(article.text.contains(&format!("{}\n\n{}", first.trim(), second.trim())), "{article:?}");
        assert!(!article.text.contains("Copyright") && !article.text.contains("About"), "{article:?}");
        assert_eq!((article.title.as_str(), article.date.as_deref()), ("The ferry", Some("2016-03-05")));
    }

    #[test]
    fn a_legacy_charset_and_double_escapes_are_read_right() {
        let html = page(&format!("<p>{}Caf\u{1} &amp;amp; more.</p>", SENTENCE.repeat(4)));
        let bytes: Vec<u8> = html.bytes().map(|byte| if byte == 1 { 0xE9 } else { byte }).collect();
        let article = text(&bytes, Some("text/html; charset=iso-8859-1"));
        assert!(article.text.contains("Café & more."), "{article:?}");
        assert_eq!((article.charset.as_str(), article.mended), ("windows-1252", 1));
    }

    #[test]
    fn pages_without_text_say_so() {
        for html in ["", " ", "<html></html>", "<script>alert(1)</script>", "\0\0\0", "<!--"] {
            assert_eq!(
                extract(&Page { body: html.as_bytes(), content_type: None }, &Limits::default()),
                Verdict::NoText,
                "{html:?}"
            );
        }
    }

    #[test]
    fn a_page_above_the_limit_is_not_read() {
        let limits = Limits { page_bytes: 9, ..Limits::default() };
        assert_eq!(extract(&Page { body: &[b'x'; 10], content_type: None }, &limits), Verdict::TooLarge { bytes: 10 });
    }

    #[test]
    fn nul_bytes_surrogates_and_malformed_bytes_leave_the_rest() {
        let html = page(&format!("<p>{}a\0b &#xD800; &#xDFFF; &#0; end.</p>", SENTENCE.repeat(4)));
        let mut bytes = html.into_bytes();
        let at = bytes.windows(4).position(|window| window == b"end.").unwrap();
        bytes.splice(at..at, *b"\xFF\xFE\xC0 ");
        let article = text(&bytes, Some("text/html; charset=utf-8"));
        assert!(article.text.contains("end.") && !article.text.contains('\0'), "{article:?}");
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
        #[test]
        fn arbitrary_bytes_never_panic(body: Vec<u8>, content_type: Option<String>) {
            extract(&Page { body: &body, content_type: content_type.as_deref() }, &Limits::default());
        }

        #[test]
        fn arbitrary_markup_never_panics(body in "(</?(p|div|table|td|b|a|li|ul|article|svg|template|select)( x=')?>|&#?[a-z0-9]{0,6};?|<!--|-->|\\PC| ){0,60}") {
            extract(&Page { body: body.as_bytes(), content_type: None }, &Limits::default());
        }
    }
}
