"""What datatrove's filters decide of documents, for `webtext::clean` to be compared with.

    python clean.py golden FILE                     decisions on texts that this script writes itself, for the tests of `webtext`
    python clean.py corpora FOLDER FILE [EVERY]     decisions on documents of ../shared/corpora, openwebtext1000 and nltk_text: all
                                                    3,011, or every EVERYth. A FILE that is there is gone on with.
    python clean.py speed FOLDER                    documents a second of CPU time, on openwebtext1000

Each line of FILE is one document: its text; `words`, the words of every text that a filter asked for, with a space between them;
`sentences`, the number of sentences of every line that the C4 filter asked for and that has not one; `filters`, the reason of each
filter by itself with its defaults; `rules`, whether the rule alone keeps the document; and `fineweb`, reason and text of FineWeb's
filters one after the other, without the language. A text that is the document's is left out. Needs Python 3.10 or later and

    pip install datatrove==0.9.0 spacy==3.8.18 numpy==2.4.6 regex

in an environment of its own. No network: words and sentences are those of spaCy's blank English pipeline.
"""

import itertools
import json
import os
import random
import sys
import time
import zipfile
from pathlib import Path

from datatrove.data import Document
from datatrove.pipeline.filters import c4_filters, fineweb_quality_filter, gopher_quality_filter, gopher_repetition_filter
from datatrove.pipeline.filters.base_filter import get_filter_result
from datatrove.utils import text as datatrove_text

C4 = c4_filters.C4QualityFilter
FineWeb = fineweb_quality_filter.FineWebQualityFilter
Quality = gopher_quality_filter.GopherQualityFilter
Repetition = gopher_repetition_filter.GopherRepetitionFilter

WITHOUT_REPETITION = dict(
    dup_line_frac=None, dup_para_frac=None, dup_line_char_frac=None, dup_para_char_frac=None, top_n_grams=(), dup_n_grams=()
)
WITHOUT_QUALITY = {
    key: None
    for key in (
        "min_doc_words max_doc_words min_avg_word_length max_avg_word_length max_symbol_word_ratio max_bullet_lines_ratio "
        "max_ellipsis_lines_ratio max_non_alpha_words_ratio min_stop_words"
    ).split()
}
WITHOUT_C4 = dict(min_num_sentences=-1, filter_lorem_ipsum=False, filter_curly_bracket=False)
WITHOUT_FINEWEB = dict(line_punct_thr=0, short_line_thr=1.0, char_duplicates_ratio=1.0, new_line_ratio=float("inf"))


def single_rules():
    """The rules of `webtext::clean` by name: datatrove's filter with that rule alone, and the reason that it gives."""
    rules = {}

    def add(name, filter_class, off, reason, **on):
        rules[name] = (filter_class(**{**off, **on}), reason)

    repetition = [
        ("duplicate_paragraphs", "dup_para_frac", 0.3),
        ("duplicate_paragraph_characters", "dup_para_char_frac", 0.2),
        ("duplicate_lines", "dup_line_frac", 0.3),
        ("duplicate_line_characters", "dup_line_char_frac", 0.2),
    ]
    for name, key, limit in repetition:
        add(f"repetition.{name}", Repetition, WITHOUT_REPETITION, key, **{key: limit})
    for n, limit in ((2, 0.2), (3, 0.18), (4, 0.16)):
        add(f"repetition.top_{n}_grams", Repetition, WITHOUT_REPETITION, f"top_{n}_gram", top_n_grams=((n, limit),))
    for n, limit in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10)):
        reason = f"duplicated_{n}_n_grams"
        add(f"repetition.duplicate_{n}_grams", Repetition, WITHOUT_REPETITION, reason, dup_n_grams=((n, limit),))
    quality = [
        ("words_min", "gopher_short_doc", "min_doc_words", 50),
        ("words_max", "gopher_long_doc", "max_doc_words", 100000),
        ("mean_word_length_min", "gopher_below_avg_threshold", "min_avg_word_length", 3),
        ("mean_word_length_max", "gopher_above_avg_threshold", "max_avg_word_length", 10),
        ("hashes", "gopher_too_many_hashes", "max_symbol_word_ratio", 0.1),
        ("ellipses", "gopher_too_many_ellipsis", "max_symbol_word_ratio", 0.1),
        ("bullet_lines", "gopher_too_many_bullets", "max_bullet_lines_ratio", 0.9),
        ("ellipsis_lines", "gopher_too_many_end_ellipsis", "max_ellipsis_lines_ratio", 0.3),
        ("alphabetic_words", "gopher_below_alpha_threshold", "max_non_alpha_words_ratio", 0.8),
        ("stop_words", "gopher_enough_stop_words", "min_stop_words", 2),
    ]
    for name, reason, key, limit in quality:
        add(f"quality.{name}", Quality, WITHOUT_QUALITY, reason, **{key: limit})
    add("c4.lorem_ipsum", C4, WITHOUT_C4, "lorem_ipsum", filter_lorem_ipsum=True)
    add("c4.curly_bracket", C4, WITHOUT_C4, "curly_bracket", filter_curly_bracket=True)
    add("c4.sentences", C4, WITHOUT_C4, "too_few_sentences", min_num_sentences=5)
    add("fineweb.lines", FineWeb, WITHOUT_FINEWEB, "empty")
    add("fineweb.punctuated_lines", FineWeb, WITHOUT_FINEWEB, "line_punct_ratio", line_punct_thr=0.12)
    add("fineweb.short_lines", FineWeb, WITHOUT_FINEWEB, "short_line_ratio", short_line_thr=0.67)
    add("fineweb.duplicate_characters", FineWeb, WITHOUT_FINEWEB, "char_dup_ratio", char_duplicates_ratio=0.01)
    add("fineweb.line_breaks", FineWeb, WITHOUT_FINEWEB, "list_ratio", new_line_ratio=0.3)
    return rules


class Recorder:
    """Answers the filters' calls for words and sentences by datatrove, once, and keeps the answers."""

    def __init__(self):
        self.words, self.sentences = {}, {}
        for module in (fineweb_quality_filter, gopher_quality_filter, gopher_repetition_filter):
            module.split_into_words = self.split_into_words
        c4_filters.split_into_sentences = self.split_into_sentences

    def split_into_words(self, text, language):
        if text not in self.words:
            self.words[text] = datatrove_text.split_into_words(text, language)
        return self.words[text]

    def split_into_sentences(self, text, language):
        if text not in self.sentences:
            self.sentences[text] = datatrove_text.split_into_sentences(text, language)
        return self.sentences[text]


def decide(a_filter, text):
    """Reason for dropping, None if kept, or "error" where datatrove divides by zero; and the text that is left."""
    document = Document(text=text, id="0")
    try:
        kept, reason = get_filter_result(a_filter.filter(document))
    except ZeroDivisionError:
        return "error", text
    return (None if kept else reason), document.text


def pipeline():
    """FineWeb's filters in the order of datatrove's examples/fineweb.py."""
    return [("repetition", Repetition()), ("quality", Quality()), ("c4", C4(filter_no_terminal_punct=False)), ("fineweb", FineWeb())]


def decisions(texts):
    recorder, rules, steps = Recorder(), single_rules(), pipeline()
    alone = [*((name, step) for name, step in steps if name != "c4"), ("c4", C4())]
    for name, text in texts:
        recorder.words.clear(), recorder.sentences.clear()
        recorder.split_into_words(text, "en")
        found = {"id": name, "text": text, "filters": {}, "rules": {}}
        for key, a_filter in alone:
            reason, left = decide(a_filter, text)
            found["filters"][key] = reason
            if key == "c4" and left != text:
                found["c4_text"] = left
        for key, (a_filter, dropped_as) in rules.items():
            reason, _ = decide(a_filter, text)
            # A rule behind another that one setting switches on with it, or behind a division by zero, is not known.
            found["rules"][key] = {None: True, dropped_as: False}.get(reason)
        left, reason = text, None
        for key, a_filter in steps:
            reason, left = decide(a_filter, left)
            if reason is not None:
                reason = [key, reason]
                break
        found["fineweb"] = {"reason": reason, **({"text": left} if left != text else {})}
        # A word has no white space.
        found["words"] = [[key, " ".join(words)] for key, words in recorder.words.items()]
        found["sentences"] = {key: len(of) for key, of in recorder.sentences.items() if len(of) != 1}
        yield found


def corpora(folder):
    folder = Path(folder)
    for number, line in enumerate((folder / "openwebtext1000/openwebtext-1000.decoded.jsonl").open(encoding="utf-8"), 1):
        yield f"openwebtext1000:{number}", json.loads(line)["text"]
    for path in sorted((folder / "nltk_text").glob("*.zip")):
        with zipfile.ZipFile(path) as archive:
            for member in sorted(name for name in archive.namelist() if not name.endswith("/")):
                # New lines as any reader of text files gives them.
                text = archive.read(member).decode("utf-8", errors="replace").replace("\r\n", "\n")
                yield f"{path.stem}:{member}", text


ONSETS = "b br c ch cl d dr f fl g gr h j k l m n p pl qu r s sh st t th tr v w".split()
VOWELS = "a e i o u ai ea ee oa ou".split()
CODAS = "b ck d ft g ld ll m nd ng nk p rd rk rn s sh sk st t th".split()
FORMS = [
    "the {} {} of the {} {}ed to the {}",
    "every {} that {}ed with a {} {} must be {}",
    "a {}, its {} and the {} have {}ed {} times",
    "{} {}s {}ed because no {} would {} that {}",
    "to {} the {}, her {} {}ed near the {} {}",
]


def word(draw):
    return "".join(draw.choice(ONSETS) + draw.choice(VOWELS) + draw.choice(CODAS) for _ in range(draw.choice((1, 1, 2))))


def sentence(draw):
    """A sentence of words that are none."""
    form = draw.choice(FORMS)
    words = form.format(*(word(draw) for _ in range(form.count("{}"))))
    return words[0].upper() + words[1:] + "."


def prose(draw, paragraphs=3, sentences=3):
    return "\n".join(" ".join(sentence(draw) for _ in range(sentences)) for _ in range(paragraphs))


def golden_texts():
    """Texts of this script's own, each rule broken by some of them, just or well."""
    draw = random.Random(31)
    yield from ((f"prose {i}", prose(draw, 1 + i % 6, 1 + i % 5)) for i in range(12))
    lines = lambda n: [sentence(draw) for _ in range(n)]
    for copies in (1, 2, 3, 4, 6):
        base = lines(8)
        yield f"lines {copies} times", "\n".join(base + base[:copies] * 2)
        yield f"paragraphs {copies} times", "\n\n".join(base[:5] + base[:copies])
        yield f"phrase {copies} times", prose(draw) + " of the long bright morning sun" * (4 * copies)
        yield f"pair {copies} times", prose(draw, 2) + " well now" * (9 * copies)
    between = lambda text, mark, every: "".join(w + (mark if i % every == 0 else " ") for i, w in enumerate(text.split()))
    for every in (5, 9, 10, 11, 14):
        yield f"hash every {every}", between(prose(draw), " # ", every)
        yield f"dots every {every}", between(prose(draw), "... ", every)
        yield f"ellipsis every {every}", between(prose(draw), "… ", every)
        yield f"numbers every {every}", between(prose(draw), " 12 34 ", every)
        yield f"line end every {every}", between(prose(draw), "\n", every)
        yield f"line end twice every {every}", between(prose(draw), "\n\n", every)
    for mark in ("- ", "• ", "  -", "* "):
        yield f"bullets {mark!r}", "\n".join(mark + line for line in lines(12))
        yield f"most bullets {mark!r}", "\n".join([mark + line for line in lines(17)] + lines(2))
    for share in (3, 4, 5):
        ends = ["..." if i % share == 0 else "." for i in range(12)]
        yield f"every {share}rd line cut", "\n".join(line[:-1] + end for line, end in zip(lines(12), ends))
    yield "short words", " ".join("it is as if we do so at an ox".split() * 3 + lines(1)) * 2
    yield "long words", " ".join("incomprehensibilities" + str(i) + "counterrevolutionaries" for i in range(60)) + " the of."
    yield "no stop words", " ".join(f"Ships sail past port {i}, boats follow soon." for i in range(30))
    yield "one stop word", " ".join(f"Ships sail past the port {i}, boats follow soon." for i in range(30))
    odd = ["lorem ipsum dolor and so on here.", "Lorem  Ipsum dolor, once more.", "A { bracket } in a line here.", "{ short }"]
    odd += ["Please enable JavaScript to go on.", "Our Privacy Policy has changed today.", "We use coo\u212aies on these pages."]
    odd += ["A line without an end", "A line that is cut...", "A claim.[12]", "A claim [citation needed] is here.", "A claim. [3]"]
    odd += ["x" * 1001 + " is one long word.", "y" * 1000 + " is one long word.", "Two words.", "[edit]", "He asked, \"Why not?\""]
    odd += ["It ends in a quote'", "Tabs\tand\u00a0spaces\u2003are white space here.", "A claim.[\u0663] is Arabic."]
    for i, line in enumerate(odd):
        base = lines(6)
        yield f"odd line {i}", "\n".join(base[:3] + [line] + base[3:])
        yield f"odd line {i} of few", "\n".join([line] + base[:2])
    yield "curly then lorem", "\n".join(lines(3) + odd[2:3] + odd[0:1] + lines(3))
    yield "lorem then curly", "\n".join(lines(3) + odd[0:1] + odd[2:3] + lines(3))
    for separator in ("\r\n", "\r", "\u2028", "\u0085", "\x1c", "\x0b", "\n \n", "\n\n\n"):
        yield f"separator {separator!r}", separator.join(lines(9))
    yield "short lines", "\n".join(line[:30] for line in lines(20))
    yield "lines of 31", "\n".join(line[:31] for line in lines(20))
    yield "many short lines", "\n".join([line[:29] + "." for line in lines(14)] + lines(6))
    yield "no final punctuation", "\n".join(line[:-1] for line in lines(10))
    for marked in (1, 2):
        yield f"{marked} of 10 punctuated", "\n".join([line[:-1] for line in lines(10 - marked)] + lines(marked))
    yield "surrounded", "\n\n\n" + prose(draw) + "\n\n \n\n"
    yield "contractions", " ".join(f"It's {i}pm, I don't think they'd've gone; can't you see? We'll e-mail Mr. O'Neil." for i in range(9))
    yield "addresses", " ".join(f"See http://example.com/a-b?c={i}, or write to me@example.org. The U.S. paid $5.50 (10%)." for i in range(9))
    yield "scripts", " ".join(["Ελλάδα και Россия の本を読む。", "नमस्ते दुनिया।", "مرحبا بالعالم؟", "数字１２３，标点。"] * 8 + lines(2))
    yield "marks", " ".join(["Ⅷ ⅷ ①", "🙂🙂 ok :-) x", "a.b.C d,e f/g h<i", "3-4 a-b --- -- ~ 5km 7°C. “quoted” ‘single’"] * 9 + lines(2))
    yield "one character", "a"
    yield "only marks", "... !!! ???\n# # #"
    yield "one line end", "\n"
    yield "a space", " "
    yield "empty", ""


def written(path):
    """The documents in a file of decisions. A last line that was cut is removed."""
    ids = set()
    if path.exists():
        with path.open("rb+") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    file.seek(-len(line), os.SEEK_END)
                    file.truncate()
                    break
                ids.add(json.loads(line)["id"])
    return ids


def write(path, texts):
    there = written(path)
    with path.open("a", encoding="utf-8") as file:
        for found in decisions((name, text) for name, text in texts if name not in there):
            file.write(json.dumps(found, ensure_ascii=False) + "\n")
            there.add(found["id"])
    print(f"{len(there)} documents, {time.process_time():.0f} s of CPU time")


def speed(folder):
    texts = [text for name, text in corpora(folder) if name.startswith("openwebtext1000")]
    steps = pipeline()
    decide(steps[0][1], texts[0])
    start, kept = time.process_time(), 0
    for text in texts:
        for _, step in steps:
            reason, text = decide(step, text)
            if reason is not None:
                break
        kept += reason is None
    seconds = time.process_time() - start
    print(f"datatrove: {len(texts)} documents, {kept} kept, {seconds:.2f} s of CPU time, {len(texts) / seconds:.1f} documents/s")


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if command == "golden":
        Path(arguments[0]).unlink(missing_ok=True)
        write(Path(arguments[0]), golden_texts())
    elif command == "corpora":
        every = int(arguments[2]) if len(arguments) > 2 else 1
        write(Path(arguments[1]), itertools.islice(corpora(arguments[0]), 0, None, every))
    else:
        speed(arguments[0])
