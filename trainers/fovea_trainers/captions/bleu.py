"""BLEU: which share of the n-grams of written captions stands in a reference of the same picture, by sacrebleu."""

from collections.abc import Sequence
from typing import Any

ORDERS = (1, 2, 3, 4)


def corpus(written: Sequence[Sequence[str]], references: Sequence[Sequence[Sequence[str]]]) -> dict[str, float]:
    """bleu1 to bleu4 of all captions together, 0 to 1; bleu<n> weighs the orders 1 to n equally.

    Of each picture one written caption and one or more references, as words. No smoothing: without any n-gram of 4 words
    in common, bleu4 is 0.
    """
    from sacrebleu.metrics.bleu import BLEU

    if not written:
        return {f"bleu{order}": 0.0 for order in ORDERS}
    lines = [" ".join(words) for words in written]
    most = max(map(len, references))
    # One list for each place among the references; sacrebleu takes None where a picture has fewer.
    columns: Any = [[" ".join(of[place]) if place < len(of) else None for of in references] for place in range(most)]
    # What is counted is words that were cleaned before: sacrebleu's own tokenizer would change them once more.
    counted = BLEU(tokenize="none", force=True, smooth_method="none").corpus_score(lines, columns)
    return {
        f"bleu{order}": BLEU.compute_bleu(
            counted.counts, counted.totals, counted.sys_len, counted.ref_len, "none", max_ngram_order=order
        ).score
        / 100
        for order in ORDERS
    }
