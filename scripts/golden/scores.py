"""Makes tests/golden/scores.json: what other programs say of a model on small files, item by item.

    python scores.py TOKENIZER OUTPUT

TOKENIZER is a folder with GPT-2's vocab.json and merges.txt, such as a checkpoint's; OUTPUT is tests/golden. Needs Python 3.10 or later
and `pip install torch==2.11.0 'transformers<5' 'lm-eval[hf]==0.4.13'`; no network.

The model is odd_model.py's, and the files are those of common/evaluation/tests/small. Passages are added to LAMBADA's whose last word
is the one that the model expects, since otherwise none would be right. Tasks that lm-evaluation-harness has are scored by it, from the
file to the metric: ../oracles/harness.py. All others are scored by transformers, one request at a time, in float64 from the logits on.
Their requests and metrics are made here, with no code of Convoy's.

The golden file has, by task, `scores`: for each item [log-likelihood, whether it is greedy] of each request; and `results`: metrics, by
Convoy's names.
"""

import json
import math
import re
import shutil
import sys
import tempfile
from pathlib import Path

import torch
from transformers import GPT2LMHeadModel, GPT2Tokenizer, GPT2TokenizerFast

ROOT = Path(__file__).resolve().parents[2]
SMALL = ROOT / "common" / "evaluation" / "tests" / "small"
sys.path.insert(0, str(ROOT / "scripts" / "oracles"))

import evaluation  # noqa: E402
import harness  # noqa: E402
import odd_model  # noqa: E402

# Texts of the small files as people write them. De-tokenizing is Convoy's own way, so that no other program makes these of the files.
STORY = (
    "Once there was a miller who had a cat. The cat didn't like the mill, and the mill didn't like the cat. "
    '"I shall go to the town," said the cat. The miller laughed (he always laughed). So the cat took a bag and a hat. '
    'It was raining. The road was long, and the bag was empty. "Who are you?" asked a goose. '
    '"I am the miller\'s cat," said the cat. "And what is in the bag?" "Nothing; but I\'ve a hat." '
    "The goose wanted to see the hat. The hat was green. A fox came by and saw the hat, too. "
    '"That hat is mine!" cried the fox. "It isn\'t," said the goose. The fox looked at the goose with his yellow eyes. '
    "Then it began to snow. They all went into a barn. In the barn there was a lamp."
)
# What stands before and after the word that is asked for.
BOOKS = {
    "cbt_cn": [(STORY + ' "Give me back my', '," said the fox, "or I\'ll eat you."'), (STORY, " lay on the roof.")],
    "cbt_ne": [(STORY + " But nobody (not even", ") had a match.")],
}
SENTENCES = {
    "1bw": [
        'The mayor said: "We can\'t pay $5 for that."',
        "Prices rose 3% in May, the bank's report says.",
        "It was the players' first win (and the coach's last) since 2009.",
        "Mr. O 'Neill 's co-workers didn't -- and will not -- comment.",
    ],
    "ptb": [
        "the company didn't say why its u.s. unit lost $ N million",
        "mr. <unk>'s offer of N a share wasn't <unk>",
        "it's the buyers' turn now",
    ],
}
ENCYCLOPAEDIA = """
= Lighthouse of Marn =

The Lighthouse of Marn is a <unk>-built tower, 31.5 metres (103 ft) high, on the coast. It was lit in 1871; its keeper, J. N. \
"Lantern" Oster, wrote 1,204 letters there.

= = History = =

The builders' strike of 1869 – and a storm – delayed it: the lamp didn't burn until 3 May. "It's the ships' own fault," Oster \
wrote, "and/or the sea's."
It cost $5,000, or 12% of the town's income! Was it worth it? {No one} knows [citation].

= = = After 1900 = = =

At 40° north the light is N times as bright as' modern 'ones...

= Ada Grunn =

Ada Grunn (1880 – 1951) was a chemist. She is known for the Grunn-Berg salt.
= = Works = =
On Salt., a book of the U.S. edition, sold 7 copies.

= Tin whistle =

The tin whistle, also called the penny whistle (or "whistle"), is a flute with six holes."""


def small(name):
    return (SMALL / name).read_text(encoding="utf-8")


def mean(values):
    values = list(values)
    return sum(values) / len(values)


class Plain:
    """transformers' model and tokenizer, fed one request at a time."""

    def __init__(self, checkpoint, tokenizer):
        self.model = GPT2LMHeadModel.from_pretrained(checkpoint, torch_dtype=torch.float32).eval()
        self.tokenizer = GPT2Tokenizer(f"{tokenizer}/vocab.json", f"{tokenizer}/merges.txt")

    def tokens(self, context, continuation):
        ids, first = evaluation.split(self.tokenizer, context, continuation)
        return len(ids) - first

    def request(self, context, continuation):
        return list(evaluation.score(self.model, *evaluation.split(self.tokenizer, context, continuation)))

    def last_token(self, text):
        # The passage's other tokens are its context, so that no end-of-text is in front.
        ids = self.tokenizer(text)["input_ids"]
        return list(evaluation.score(self.model, ids, len(ids) - 1))

    def text(self, text):
        parts = [
            evaluation.score(self.model, *window)
            for window in evaluation.windows(self.tokenizer, text, self.model.config.n_positions)
        ]
        return [sum(part[0] for part in parts), all(part[1] for part in parts) if parts else None]

    @torch.no_grad()
    def expected(self, context):
        """The likeliest token after `context`, and by how much it is, in nats."""
        logits = self.model(torch.tensor([self.tokenizer(context)["input_ids"]])).logits[0, -1]
        likeliest = logits.topk(2)
        return likeliest.indices[0].item(), (likeliest.values[0] - likeliest.values[1]).item()


def passages_with_expected_words(plain, passages):
    """Beginnings of `passages`, each with the word that the model expects next, where that is one token and clearly the likeliest."""
    for passage in passages:
        words = passage.split(" ")
        for count in range(len(words) - 1, 8, -1):
            context = " ".join(words[:count])
            token, margin = plain.expected(context)
            word = plain.tokenizer.decode([token])
            whole = plain.tokenizer(context + word)["input_ids"]
            if margin > 0.1 and re.fullmatch(" [a-z]+", word) and whole == plain.tokenizer(context)["input_ids"] + [token]:
                yield context + word
                break


def of_words(scores, metric):
    """A task of one request an item, whose last word is to be expected."""
    perplexity = math.exp(-mean(score[0] for score in scores))
    return {"scores": [[score] for score in scores], "results": {"acc": mean(score[1] for score in scores), metric: perplexity}}


def accuracy(scores, gold, lengths=None):
    """Share of items whose right choice is the likeliest, per unit of its length."""
    right = []
    for item, of_item in enumerate(scores):
        values = [score[0] / (lengths[item][choice] if lengths else 1) for choice, score in enumerate(of_item)]
        right.append(values.index(max(values)) == gold[item])
    return mean(right)


def lambada(plain, texts):
    texts = ["\n" + text.strip().replace("“", '"').replace("”", '"') for text in texts]
    # The white space before the last word is the word's.
    parts = [re.fullmatch(r"(.*\S)(\s+\S+)", text, re.DOTALL).groups() for text in texts]
    return {
        "lambada_openai_last_token": of_words([plain.last_token(text) for text in texts], "last_token_perplexity"),
        "lambada_openai_last_word": of_words([plain.request(*part) for part in parts], "last_word_perplexity"),
    }


def hellaswag(plain, items):
    scores = [[plain.request(item["ctx"], " " + ending) for ending in item["endings"]] for item in items]
    gold = [item["label"] for item in items]
    lengths = {
        "acc_norm": lambda item, ending: len(ending),
        "acc_bytes": lambda item, ending: len(ending.encode()),
        "acc_norm_tokens": lambda item, ending: plain.tokens(item["ctx"], " " + ending),
    }
    results = {"acc": accuracy(scores, gold)}
    for metric, length in lengths.items():
        results[metric] = accuracy(scores, gold, [[length(item, ending) for ending in item["endings"]] for item in items])
    return {"scores": scores, "results": results}


def sentence(item, option):
    """A Winograd schema's whole sentence with an option in the place of its pronoun."""
    pronoun, at = item["pronoun"], item["pronoun_loc"]
    if pronoun.lower() in ("my", "his", "her", "our", "their"):
        option += "'s"
    first, rest = option.split(" ", 1) if " " in option else (option, "")
    begins = item["text"][at - 2] == "."
    if first in ("A", "An", "The", "She", "He", "It", "They", "My", "His", "Her", "Their") and not begins:
        option = f"{first.lower()} {rest}".rstrip()
    return item["text"][:at] + option + " " + item["text"][at + len(pronoun) :].lstrip()


def winograd(plain, items):
    scores = [[plain.request("", sentence(item, option)) for option in item["options"]] for item in items]
    return {"scores": scores, "results": {"acc": accuracy(scores, [item["label"] for item in items])}}


def books(plain, task):
    """Choices and answers are in the file's questions, the 21st line of each item."""
    questions = re.findall(r"^21 .*\t(.*)\t\t(.*)$", small(f"cbtest_{task[-2:].upper()}_valid_2000ex.txt"), re.MULTILINE)
    scores, gold = [], []
    for (before, after), (answer, listed) in zip(BOOKS[task], questions, strict=True):
        choices = listed.split("|")
        scores.append([plain.request(before, f" {choice}{after}") for choice in choices])
        gold.append(choices.index(answer))
    return {"scores": scores, "results": {"acc": accuracy(scores, gold)}}


def texts(plain, written, units):
    """Texts, and the numbers of units by which metrics divide their log-likelihood."""
    scores = [plain.text(text) for text in written]
    nats = -sum(score[0] for score in scores)
    bits = {"bits_per_byte", "bits_per_character"}
    value = lambda metric, count: nats / count / math.log(2) if metric in bits else math.exp(nats / count)
    results = {metric: value(metric, count) for metric, count in units.items()}
    return {"scores": [[score] for score in scores], "results": results}


def words(text):
    """Words of a corpus, in which each end of a line is one, too."""
    return sum(len(line.split()) + 1 for line in text.removesuffix("\n").split("\n"))


def all_texts(plain):
    found = {"enwik8": small("enwik8"), "text8": small("text8").removesuffix("\n"), "text": small("text")}
    size = lambda text: len(text.encode())
    per_text = lambda text: {
        "word_perplexity": len(text.split()),
        "byte_perplexity": size(text),
        "bits_per_byte": size(text),
        "token_perplexity": len(plain.tokenizer(text)["input_ids"]),
    }
    documents = [item["text"] for item in harness.json_lines(SMALL / "documents")]
    sums = {metric: sum(per_text(text)[metric] for text in documents) for metric in per_text("")}
    raw, ptb, news = small("wiki.test.raw"), small("ptb.test.txt"), small("news.en.heldout-00000-of-00050")
    wikitext = texts(plain, [ENCYCLOPAEDIA], {"word_perplexity": words(raw), "bits_per_byte": size(raw)})
    return {
        "wikitext2": wikitext,
        "wikitext103": wikitext,
        "ptb": texts(plain, ["\n".join(SENTENCES["ptb"])], {"word_perplexity": words(ptb), "bits_per_byte": size(ptb)}),
        "1bw": texts(plain, SENTENCES["1bw"], {"word_perplexity": words(news)}),
        "enwik8": texts(plain, [found["enwik8"]], {"bits_per_byte": size(found["enwik8"])}),
        "text8": texts(plain, [found["text8"]], {"bits_per_character": len(found["text8"])}),
        "text": texts(plain, [found["text"]], per_text(found["text"])),
        "documents": texts(plain, documents, sums),
    }


def by_transformers(plain, passages):
    return {
        **lambada(plain, passages),
        "hellaswag_mean_token": hellaswag(plain, harness.json_lines(SMALL / "hellaswag_val.jsonl")),
        "wsc273_full": winograd(plain, harness.json_lines(SMALL / "wsc273.jsonl")),
        "cbt_cn": books(plain, "cbt_cn"),
        "cbt_ne": books(plain, "cbt_ne"),
        **all_texts(plain),
    }


def main():
    tokenizer, output = sys.argv[1:]
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, data = Path(folder) / "odd", Path(folder) / "data"
        model_sha256 = odd_model.write(checkpoint)
        plain = Plain(checkpoint, tokenizer)
        passages = [item["text"] for item in harness.json_lines(SMALL / "lambada_test.jsonl")]
        added = list(passages_with_expected_words(plain, passages))
        shutil.copytree(SMALL, data)
        with (data / "lambada_test.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps({"text": text}) + "\n" for text in added)
        fast = GPT2TokenizerFast(f"{tokenizer}/vocab.json", f"{tokenizer}/merges.txt")
        by_harness = harness.evaluate(checkpoint, fast, data)
        tasks = by_harness | by_transformers(plain, passages + added)
    lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(value)}" for name, value in tasks.items())
    head = {"model_sha256": model_sha256, "by_harness": list(by_harness), "added_passages": added}
    text = ",\n".join(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in head.items())
    (Path(output) / "scores.json").write_text(f'{{\n{text},\n"tasks": {{\n{lines}\n}}\n}}\n', encoding="utf-8")
    print(f"{len(tasks)} tasks, {sum(len(item) for task in tasks.values() for item in task['scores'])} requests")


if __name__ == "__main__":
    main()
