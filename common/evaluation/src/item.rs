//! What a task asks of a model: items, and the requests by which each is scored.

/// One example of a task.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// Name of the item within its task: the number, from 1, of the line or entry of the data file that it was read from.
    pub id: String,
    /// What is scored: one text, one continuation, or one continuation per choice.
    pub requests: Vec<Request>,
    /// How the scores of the requests become results.
    pub judgement: Judgement,
}

/// A log-likelihood that is asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// Of a continuation after its context.
    Continuation(Continuation),
    /// Of a whole text, of any length, in windows.
    Text(String),
}

/// A text and what follows it. The log-likelihood is that of the second after the first.
#[derive(Debug, Clone, PartialEq)]
pub struct Continuation {
    /// Text in front. White space at its end counts as the beginning of the continuation.
    pub context: String,
    /// Text whose likelihood is asked for.
    pub continuation: String,
    /// Which tokens of the continuation are scored.
    pub scored: Scored,
}

/// Which tokens of a continuation are scored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scored {
    /// All of them.
    All,
    /// The last one only; those before it are context.
    LastToken,
}

/// How the scores of an item's requests become results.
#[derive(Debug, Clone, PartialEq)]
pub enum Judgement {
    /// One request, the last word of a passage: right if every scored token is the likeliest. Stop words can be barred.
    LastWord,
    /// One request per choice.
    Choice {
        /// Index of the right choice.
        gold: usize,
        /// Length of each choice, by which scores are normalized.
        lengths: Vec<Length>,
    },
    /// One request, a text.
    Text(Units),
}

/// Length of a choice as its task's authors wrote it, without the space in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Length {
    /// Unicode code points.
    pub characters: usize,
    /// Bytes in UTF-8.
    pub bytes: usize,
}

impl Length {
    /// Returns the length of `text`.
    pub fn of(text: &str) -> Self {
        Length { characters: text.chars().count(), bytes: text.len() }
    }
}

/// Units of the original text, by which its log-likelihood is divided. De-tokenizing a text does not change them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Units {
    /// Words, as the task counts them.
    pub words: u64,
    /// Unicode code points.
    pub characters: u64,
    /// Bytes in UTF-8.
    pub bytes: u64,
}

impl Request {
    /// Returns the request for all tokens of `continuation` after `context`.
    pub fn continuation(context: impl Into<String>, continuation: impl Into<String>) -> Self {
        Request::Continuation(Continuation {
            context: context.into(),
            continuation: continuation.into(),
            scored: Scored::All,
        })
    }

    /// Returns the request's whole text: context and continuation, or the text.
    pub fn text(&self) -> String {
        match self {
            Request::Continuation(Continuation { context, continuation, .. }) => format!("{context}{continuation}"),
            Request::Text(text) => text.clone(),
        }
    }
}

impl Item {
    /// Returns the item as text, with the right choice if there are several: what a shot shows of it, and what is looked for in
    /// training data.
    pub fn text(&self) -> String {
        let request = match self.judgement {
            Judgement::Choice { gold, .. } => self.requests.get(gold),
            Judgement::LastWord | Judgement::Text(_) => self.requests.first(),
        };
        request.map(Request::text).unwrap_or_default()
    }
}
