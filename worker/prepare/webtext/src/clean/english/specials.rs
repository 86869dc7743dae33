//! Words that are split, or left whole, by a table.
//!
//! They are the exceptions of spaCy's English tokenizer, since the rules' words have to be datatrove's, which are spaCy's. spaCy is
//! © 2016-2024 ExplosionAI GmbH, 2016 spaCy GmbH, 2015 Matthew Honnibal, under the MIT licence. Taken from its
//! `lang/en/tokenizer_exceptions.py` and `lang/tokenizer_exceptions.py`, as facts about how it splits, are the words, where they are
//! split, and the list of faces. The code is Convoy's own.

use rustc_hash::FxHashMap;

use super::affixes::{prefix, suffix};
use super::infixes::infix;

/// Words that end in a mark, or look like two, and are whole.
const WHOLE: &str = "' \\\") <space> '' C++ — em 'em ll 'll nuff 'nuff 'S 's ‘S ‘s and/or w/o 're 'Cause 'cause 'cos 'Cos 'coz 'Coz 'cuz \
    'Cuz 'bout ma'am Ma'am o'clock O'clock lovin' Lovin' havin' Havin' doin' Doin' goin' Goin' nothin' Nothin' nuthin' Nuthin' ol' Ol' \
    somethin' Somethin' 'd";
/// Letters that are whole with a full stop behind them: of English and German.
const LETTERS: &str = "abcdefghijklmnopqrstuvwxyzäöü";
/// Abbreviations of months and of states of the USA.
const MONTHS_AND_STATES: &str = "Jan. Feb. Mar. Apr. Jun. Jul. Aug. Sep. Sept. Oct. Nov. Dec. Ak. Ala. Ariz. Ark. Calif. Colo. Conn. \
    D.C. Del. Fla. Ga. Ia. Id. Ill. Ind. Kan. Kans. Ky. La. Mass. Md. Mich. Minn. Miss. Mo. Mont. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. \
    Nebr. Nev. Okla. Ore. Pa. S.C. Tenn. Va. Wash. Wis.";
/// Other abbreviations: titles, companies, times, Latin.
const ABBREVIATIONS: &str = "Mt. a.m. p.m. Adm. Bros. co. Co. Corp. Dr. e.g. E.g. E.G. Gen. Gov. i.e. I.e. I.E. Inc. Jr. Ltd. Messrs. Mr. \
    Mrs. Ms. Ph.D. Prof. Rep. Rev. Sen. St. vs. v.s.";
/// Faces.
const FACES: &str = ":) :-) :)) :-)) :))) :-))) (: (-: =) (= :] :-] [: [-: [= =] :o) (o: :} :-} 8) 8-) (-8 ;) ;-) (; (-; :( :-( :(( \
    :-(( :((( :-((( ): )-: =( >:( :') :'-) :'( :'-( :/ :-/ =/ =| :| :-| ]= =[ :1 :P :-P :p :-p :O :-O :o :-o :0 :-0 :() >:o :* :-* :3 \
    :-3 =3 :> :-> :X :-X :x :-x :D :-D ;D ;-D =D xD XD xDD XDD 8D 8-D ^_^ ^__^ ^___^ >.< >.> <.< ._. ;_; -_- -__- v.v V.V v_v V_V \
    o_o O_o o_O O_O 0_o o_0 0_0 o.O O.o O.O o.o 0.0 o.0 0.o @_@ <3 <33 <333 </3 (^_^) (-_-) (._.) (>_<) (*_*) (¬_¬) ಠ_ಠ ಠ︵ಠ (ಠ_ಠ) \
    ¯\\(ツ)/¯ (╯°□°）╯︵┻━┻ ><(((*>";
/// Words that are split, at `+`.
const SPLIT: &str = "i+'m I+'m i+m I+m i+'m+a I+'m+a i+m+a I+m+a let+'s Let+'s c'm+on C'm+on can+not Can+not gon+na Gon+na got+ta \
    Got+ta how+'d+'y How+'d+'y y'+all y+all not+'ve not+ve Not+'ve Not+ve °+c+. °+f+. °+k+. °+C+. °+F+. °+K+.";
/// Words that are not split although others like them are.
const EXCLUDED: &str = " Ill ill Its its Hell hell Shell shell Shed shed were Were Well well Whore whore ";

/// The table.
pub(super) struct Specials {
    /// Lengths of the parts in bytes, and whether affixes would have split the word.
    table: FxHashMap<Box<str>, (Box<[u8]>, bool)>,
    /// Bytes of the longest word.
    longest: usize,
}

impl Specials {
    pub(super) fn new() -> Self {
        let mut specials = Specials { table: FxHashMap::default(), longest: 0 };
        for word in [WHOLE, MONTHS_AND_STATES, ABBREVIATIONS, FACES].iter().flat_map(|words| words.split(' ')) {
            specials.add(&[word]);
        }
        for letter in LETTERS.chars() {
            specials.add(&[&format!("{letter}.")]);
        }
        for word in SPLIT.split(' ') {
            specials.add(&word.split('+').collect::<Vec<_>>());
        }
        specials.add_pronouns();
        specials.add_question_words();
        specials.add_verbs();
        for hour in 1..=12_u8 {
            for period in ["a.m.", "am", "p.m.", "pm"] {
                specials.add(&[&hour.to_string(), period]);
            }
        }
        specials
    }

    fn add_pronouns(&mut self) {
        for word in "i you he she it we they".split(' ') {
            self.add_with(word, &[&["'ll"], &["'ll", "'ve"], &["'d"], &["'d", "'ve"]]);
        }
        for word in "i you we they".split(' ') {
            self.add_with(word, &[&["'ve"]]);
        }
        for word in "you we they".split(' ') {
            self.add_with(word, &[&["'re"]]);
        }
        for word in "he she it".split(' ') {
            self.add_with(word, &[&["'s"]]);
        }
    }

    fn add_question_words(&mut self) {
        let both: [&[&str]; 4] = [&["'ll"], &["'ll", "'ve"], &["'d"], &["'d", "'ve"]];
        for word in "who what when where why how there that this these those".split(' ') {
            self.add_with(word, &both);
            if !matches!(word, "these" | "those") {
                self.add_with(word, &[&["'s"]]);
            }
            if !matches!(word, "that" | "this") {
                self.add_with(word, &[&["'re"], &["'ve"]]);
            }
        }
    }

    fn add_verbs(&mut self) {
        for word in "ca could do does did had may might must need ought sha should wo would".split(' ') {
            self.add_with(word, &[&["n't"], &["n't", "'ve"]]);
        }
        for word in "could might must should would".split(' ') {
            self.add_with(word, &[&["'ve"]]);
        }
        for word in "ai are is was were have has dare".split(' ') {
            self.add_with(word, &[&["n't"]]);
        }
    }

    /// Adds a word with each ending, with and without apostrophes, in lower case and as at the beginning of a sentence.
    fn add_with(&mut self, word: &str, endings: &[&[&str]]) {
        let mut title = word.to_owned();
        title[..1].make_ascii_uppercase();
        for word in [word, &title] {
            for ending in endings {
                let with: Vec<&str> = [&[word], *ending].concat();
                self.add(&with);
                let bare: Vec<String> = with.iter().map(|part| part.replace('\'', "")).collect();
                self.add(&bare.iter().map(String::as_str).collect::<Vec<_>>());
            }
        }
    }

    fn add(&mut self, parts: &[&str]) {
        if EXCLUDED.contains(&format!(" {} ", parts.concat())) {
            return;
        }
        for apostrophe in ["'", "’"] {
            let parts: Vec<String> = parts.iter().map(|part| part.replace('\'', apostrophe)).collect();
            let word = parts.concat();
            let lengths = parts.iter().map(|part| part.len() as u8).collect();
            let has_infix = word.char_indices().any(|(at, _)| infix(&word, at) > 0);
            let is_cut = prefix(&word) > 0 || suffix(&word) > 0 || has_infix;
            self.longest = self.longest.max(word.len());
            self.table.insert(word.into(), (lengths, is_cut));
        }
    }

    /// Returns whether a word is in the table.
    pub(super) fn has(&self, word: &str) -> bool {
        word.len() <= self.longest && self.table.contains_key(word)
    }

    /// Pushes the parts of a word that is in the table.
    pub(super) fn split<'t>(&self, word: &'t str, words: &mut Vec<&'t str>) -> bool {
        if word.len() > self.longest {
            return false;
        }
        let Some((lengths, _)) = self.table.get(word) else { return false };
        let mut rest = word;
        for length in lengths {
            let (part, after) = rest.split_at(usize::from(*length));
            words.push(part);
            rest = after;
        }
        true
    }

    /// Puts words from `first` on, which are what `piece` was split into, together again where they are one word of the table, such
    /// as a face. spaCy: `Tokenizer._apply_special_cases`.
    pub(super) fn put_together<'t>(&self, piece: &'t str, first: usize, words: &mut Vec<&'t str>) {
        let mut together: Option<Vec<&str>> = None;
        let (mut at, mut start) = (first, 0);
        while at < words.len() {
            if let Some((count, end)) = self.longest_at(piece, start, &words[at..]) {
                let parts = together.get_or_insert_with(|| words[first..at].to_vec());
                self.split(&piece[start..end], parts);
                (at, start) = (at + count, end);
            } else {
                if let Some(parts) = &mut together {
                    parts.push(words[at]);
                }
                start += words[at].len();
                at += 1;
            }
        }
        if let Some(parts) = together {
            words.truncate(first);
            words.extend(parts);
        }
    }

    /// Returns how many of `words`, the first of which begins at byte `start`, are the longest word of the table, and where they end.
    fn longest_at(&self, piece: &str, start: usize, words: &[&str]) -> Option<(usize, usize)> {
        let (mut longest, mut end) = (None, start);
        for (count, word) in (1..=MOST_PARTS).zip(words) {
            end += word.len();
            if end - start > self.longest {
                break;
            }
            if count > 1 && self.is_cut(&piece[start..end]) {
                longest = Some((count, end));
            }
        }
        longest
    }

    fn is_cut(&self, word: &str) -> bool {
        self.table.get(word).is_some_and(|(_, is_cut)| *is_cut)
    }
}

/// Parts of a word of the table that are looked at: faces have no more.
const MOST_PARTS: usize = 6;
