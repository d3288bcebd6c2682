"""Edits of the starter's train.py, by the places that they hold on to.

Each place must be there once, so that an edit which the starter has outgrown is a loud failure.
"""

import textwrap

IMPORTED = "from prepare import MAX_SEQ_LEN, TIME_BUDGET, UNCOUNTED_STEPS, evaluate_bpb, make_dataloader\n"
SCORED = "    val_bpb = evaluate_bpb(model, tokenizer, sequences)\n"
FINISH = "        return finish(x, added, self.head.weight, targets, reduction)\n"
LOGITS = "        logits = finish(x, added, self.head.weight, None, reduction)\n"
STEP = "        optimizer.step()\n"
LOADER = '    batches = make_dataloader(tokenizer, sequences, MAX_SEQ_LEN, "train")\n'
PASS = """\
            loss = model(x, y) / accumulate
            loss.backward()
            total = total + loss.detach()
            x, y, epoch = next(batches)
"""


class Edits:
    """train.py and what is done to it."""

    def __init__(self, text):
        self.text = text

    def swap(self, old, new):
        if self.text.count(old) != 1:
            raise ValueError(f"the starter has {self.text.count(old)} times, not once:\n{old}")
        self.text = self.text.replace(old, new)

    def constant(self, name, value):
        line = next(line for line in self.text.splitlines() if line.startswith(f"{name} = "))
        self.swap(line + "\n", f"{name} = {value}\n")

    def start(self, code):
        """code runs before any model is built."""
        self.swap(IMPORTED, IMPORTED + textwrap.dedent(code))

    def before_score(self, code):
        self.swap(SCORED, indent(code, 4) + SCORED)

    def after_score(self, code):
        self.swap(SCORED, SCORED + indent(code, 4))

    def loss(self, code):
        """code ends forward: it has tokens, targets, logits and reduction."""
        self.swap(FINISH, LOGITS + indent(code, 8))

    def pass_(self, code):
        """code is one forward and backward pass in train."""
        self.swap(PASS, indent(code, 12))

    def before_step(self, code):
        self.swap(STEP, indent(code, 8) + STEP)

    def after_step(self, code):
        self.swap(STEP, STEP + indent(code, 8))


def indent(code, blanks):
    return textwrap.indent(textwrap.dedent(code).lstrip("\n"), " " * blanks)
