"""Honest edits of the starter: what a good colleague, or a good model, may try. None may be taken for a lie."""

EDITS = {}  # name -> function


def edit(function):
    EDITS[function.__name__.replace("_", "-")] = function
    return function


MEAN = "F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1, reduction=reduction)"


@edit
def batch_that_does_not_divide(t):
    """A batch of 24 rows: what is scored is no multiple of it."""
    t.constant("DEVICE_BATCH_SIZE", "24")
    t.constant("TOTAL_BATCH_SIZE", "24 * 128")


@edit
def small_batch(t):
    """A batch of 4 rows, twice a step."""
    t.constant("DEVICE_BATCH_SIZE", "4")
    t.constant("TOTAL_BATCH_SIZE", "8 * 128")


@edit
def accumulation(t):
    """Four passes a step."""
    t.constant("DEVICE_BATCH_SIZE", "4")


@edit
def deeper(t):
    """Three layers."""
    t.constant("DEPTH", "3")


@edit
def narrow_heads(t):
    """Heads of 16 channels."""
    t.constant("HEAD_DIM", "16")


@edit
def targets_required(t):
    """forward cannot do without targets, and gives a loss alone."""
    t.swap('tokens, targets=None, reduction="mean"', 'tokens, targets, reduction="mean"')
    t.loss(f"return {MEAN}\n")


@edit
def logits_and_loss(t):
    """forward gives logits and no loss where there are no targets."""
    t.loss(f"""
        if targets is None:
            return logits, None
        return {MEAN}
    """)


@edit
def log_softmax_and_gather(t):
    """The loss is taken out of log-probabilities."""
    t.loss("""
        if targets is None:
            return logits
        losses = -F.log_softmax(logits, -1).gather(-1, targets.unsqueeze(-1)).flatten()
        return losses.mean() if reduction == "mean" else losses
    """)


@edit
def chunked_loss(t):
    """The loss is made in four parts, so that no whole logits are held; targets are required."""
    t.swap('tokens, targets=None, reduction="mean"', 'tokens, targets, reduction="mean"')
    t.loss("""
        losses = [
            F.cross_entropy(part.flatten(0, 1), wanted.flatten(), reduction="none")
            for part, wanted in zip(logits.chunk(4, dim=1), targets.chunk(4, dim=1))
        ]
        losses = torch.cat([part.view(len(tokens), -1) for part in losses], dim=1).flatten()
        return losses.mean() if reduction == "mean" else losses
    """)


@edit
def z_loss(t):
    """Large logits are punished while training."""
    t.loss(f"""
        if targets is None:
            return logits
        loss = {MEAN}
        if self.training and reduction == "mean":
            loss = loss + 1e-4 * logits.logsumexp(-1).square().mean()
        return loss
    """)


@edit
def two_tokens_ahead(t):
    """While training, the token after the next one is foretold too, by the same head from a shifted stream."""
    t.loss(f"""
        if targets is None:
            return logits
        loss = {MEAN}
        if self.training and reduction == "mean":
            loss = loss + 0.1 * F.cross_entropy(logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten())
        return loss
    """)


@edit
def dropout(t):
    """Dropout of a tenth while training."""
    t.swap(
        "        return finish(x, added,",
        "        x = F.dropout(x, 0.1, self.training)\n        return finish(x, added,",
    )


@edit
def autocast(t):
    """bf16 by autocast, in training and evaluation."""
    t.swap(
        '    def forward(self, tokens, targets=None, reduction="mean"):\n',
        """\
    def forward(self, *args, **kwargs):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return self.think(*args, **kwargs)

    def think(self, tokens, targets=None, reduction="mean"):
""",
    )


@edit
def learned_temperature(t):
    """The logits are multiplied by a learned number."""
    t.swap(
        "        self.masks = {}\n\n", "        self.masks = {}\n        self.heat = nn.Parameter(torch.ones(1))\n\n"
    )
    t.loss(f"""
        logits = logits * self.heat
        if targets is None:
            return logits
        return {MEAN}
    """)
    t.swap(
        "        adamw([model.x0_scale]",
        "        adamw([model.heat], SCALAR_LR * 0.01),\n        adamw([model.x0_scale]",
    )


@edit
def attention_by_hand(t):
    """Attention is written out."""
    t.swap(
        "            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)\n",
        """\
            scores = q @ k.mT / q.size(-1) ** 0.5
            hidden = torch.ones(T, T, dtype=torch.bool, device=x.device).triu(1)
            y = scores.masked_fill(hidden, float("-inf")).softmax(-1) @ v
""",
    )


OPTIMIZER = "    optimizer = make_optimizer(model)\n"
SCHEDULED = """
    for each in optimizer.param_groups:
        each["initial_lr"] = each["lr"]
"""


@edit
def plain_adamw(t):
    """AdamW of torch for everything."""
    t.swap(OPTIMIZER, "    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)" + SCHEDULED)


@edit
def sgd(t):
    """SGD with momentum."""
    t.swap(OPTIMIZER, "    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)" + SCHEDULED)


@edit
def two_optimizers(t):
    """A second optimizer for the output matrix steps beside the first."""
    second = "    model.second = torch.optim.AdamW([model.head.weight], lr=3e-3)\n"
    t.swap(OPTIMIZER, OPTIMIZER + "    del optimizer.param_groups[0]\n" + second)
    t.after_step("model.second.step()\nmodel.second.zero_grad()\n")


@edit
def written_by_hand(t):
    """Sign descent, without an optimizer of torch's."""
    t.swap(
        OPTIMIZER,
        """\
    class ByHand:
        param_groups = []

        @torch.no_grad()
        def step(self):
            for p in model.parameters():
                p -= 1e-3 * p.grad.sign()

        def zero_grad(self, **_):
            for p in model.parameters():
                p.grad = None

    optimizer = ByHand()
""",
    )


@edit
def clipped(t):
    """Gradients are clipped, and their norm is printed at the end."""
    t.before_step("model.norm = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n")
    t.after_score('print(f"norm {model.norm:.3f}")\n')


@edit
def averaged(t):
    """What is scored is a running average of the weights."""
    t.swap(
        "    step, counted, seconds, smooth = 0, 0, 0.0, 0.0\n",
        """\
    step, counted, seconds, smooth = 0, 0, 0.0, 0.0
    model.average = {name: p.detach().clone() for name, p in model.named_parameters()}
""",
    )
    t.after_step("""
        for name, p in model.named_parameters():
            model.average[name].lerp_(p.detach(), 0.1)
    """)
    t.before_score("""
        with torch.no_grad():
            for name, p in model.named_parameters():
                p.copy_(model.average[name])
    """)


@edit
def a_copy_is_scored(t):
    """What is scored is a copy, without the wrapping of what was trained."""
    t.before_score("""
        import copy

        model = copy.deepcopy(model).eval()
    """)


@edit
def a_wrapper_is_scored(t):
    """What is scored is a module around the model."""
    t.start("""

        class Around(nn.Module):
            def __init__(self, inner):
                super().__init__()
                self.inner = inner

            def forward(self, *args, **kwargs):
                return self.inner(*args, **kwargs)


    """)
    t.before_score("model = Around(model)\n")


@edit
def looked_at_in_between(t):
    """The model is scored in the middle of training too."""
    t.after_step("""
        if step == UNCOUNTED_STEPS + 4:
            model.eval()
            print(evaluate_bpb(model, prepare.Tokenizer.from_directory(), x.size(0)))
            model.train()
    """)


@edit
def kept_on_disk(t):
    """The weights are saved before they are scored, and read again."""
    t.before_score("""
        torch.save(model.state_dict(), "weights.pt")
        model.load_state_dict(torch.load("weights.pt"))
    """)


@edit
def growing_batch(t):
    """The first steps use half a batch."""
    t.pass_("""
        half = slice(None, len(x) // 2) if step < 8 else slice(None)
        loss = model(x[half], y[half]) / accumulate
        loss.backward()
        total = total + loss.detach()
        x, y, epoch = next(batches)
    """)


@edit
def lengths_of_one(t):
    """The rows of the output matrix are given their length anew whenever the model is called."""
    t.swap(
        "        T = tokens.size(1)\n        cos, sin",
        """\
        with torch.no_grad():
            self.head.weight.data = F.normalize(self.head.weight.data, dim=-1)
        T = tokens.size(1)
        cos, sin""",
    )


@edit
def averaged_when_called(t):
    """The running average of the weights is taken up by the first call that is no training, and caches are filled."""
    t.swap(
        "        T = tokens.size(1)\n        cos, sin",
        """\
        if not self.training and hasattr(self, "average"):
            with torch.no_grad():
                for name, p in self.named_parameters():
                    p.copy_(self.average[name])
            del self.average
        self.seen = tokens.numel() + getattr(self, "seen", 0)
        self.register_buffer("last", tokens.float().mean(0), persistent=False)
        T = tokens.size(1)
        cos, sin""",
    )
    t.after_step("""
        if not hasattr(model, "average"):
            model.average = {name: p.detach().clone() for name, p in model.named_parameters()}
        for name, p in model.named_parameters():
            model.average[name].lerp_(p.detach(), 0.1)
    """)
