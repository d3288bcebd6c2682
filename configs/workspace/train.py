"""Train a small GPT for a fixed budget and score it: the one file that trials change.

    python train.py

The constants below are the search space. One file serves a Hopper GPU (bf16, torch.compile) and a CPU (fp32, eager).

Model: rotary positions (arXiv 2104.09864), RMS norm, queries and keys normed (2010.04159), squared ReLU (2109.08668),
value embeddings behind gates (after ResFormer, 2410.17897), a learned share of the first layer's input in every
layer, capped logits (2408.00118), attention windows.
Optimizer: Muon (Jordan et al. 2024) with Polar Express iterations (2505.16932), NorMuon's variance reduction
(2510.05491) and cautious weight decay (2510.12402) for matrices, AdamW (1711.05101) for everything else.
"""

import os

os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")

import gc
import sys
import time
from contextlib import nullcontext

import torch
import torch.nn.functional as F
from torch import nn

if torch.cuda.is_available():  # seconds that a CPU has no use for; a trial that stands by has them behind it
    import torch._inductor.compile_fx
    from torch.nn.attention.flex_attention import create_block_mask, flex_attention

    try:  # what the first compilation imports, in torch 2.11 to 2.15
        import torch._inductor.codegen.cuda_combined_scheduling
        import torch._inductor.codegen.halide
        import torch._inductor.codegen.pallas
        import torch._inductor.codegen.wrapper_fxir
        import torch._inductor.fx_passes.quantization
        import torch.distributed.tensor.experimental
        import torch.export._trace
        import torch.fx.experimental.validator
    except ImportError:
        pass

import prepare
from prepare import MAX_SEQ_LEN, TIME_BUDGET, UNCOUNTED_STEPS, evaluate_bpb, make_dataloader

# [mar8]: upstream's study exp/H100/mar8, 0.9979 -> 0.9697 in 125 trials of 300 s on an H100; its last value.

# Shape of the model
DEPTH = 9  # layers [mar8; upstream starts at 8]
MODEL_DIM = 640  # width, rounded up to a multiple of HEAD_DIM [mar8: 57 x 9 = 513, which its code made 640]
HEAD_DIM = 128  # width of an attention head, even
MLP_RATIO = 4  # width of the hidden layer / MODEL_DIM
WINDOW_PATTERN = "SSSSL"  # attention per layer, repeated: S short window, L all before; the last layer is L [mar8]
SHORT_WINDOW = 256  # how many tokens back S sees [mar8: an eighth of the context]
ROPE_BASE = 200000.0  # slowest rotary wavelength, in units of 2 pi tokens [mar8]
GATE_CHANNELS = 32  # channels that a value embedding's gate reads
SOFTCAP = 15.0  # logits stay within +- this

# Start values
INIT_SCALE = 0.68  # of the uniform initial matrices, whose deviation is this / sqrt(MODEL_DIM) [mar8]
EMBED_INIT_STD = 1.0  # deviation of the token embeddings
HEAD_INIT_STD = 0.001  # deviation of the output matrix
X0_INIT = 0.05  # share of the first layer's input in every layer [mar8]

# Optimization; AdamW's learning rates hold at width 768 and scale with 1 / sqrt(width)
TOTAL_BATCH_SIZE = 2**18  # tokens per optimizer step [mar8; the study's largest single gain]
DEVICE_BATCH_SIZE = 128  # sequences per forward pass
MATRIX_LR = 0.04  # Muon
EMBEDDING_LR = 0.9  # AdamW: token and value embeddings [mar8]
UNEMBEDDING_LR = 0.005  # AdamW: output matrix [mar8]
SCALAR_LR = 0.5  # AdamW: per-layer scalars; a hundredth of it for the residual ones
WEIGHT_DECAY = 0.2  # Muon: cautious, falling to 0 over the run
EMBEDDING_WEIGHT_DECAY = 0.001  # AdamW: token embeddings [mar8]
VALUE_WEIGHT_DECAY = 0.003  # AdamW: value embeddings [mar8]
UNEMBEDDING_WEIGHT_DECAY = 0.01  # AdamW: output matrix [mar8]
ADAM_BETAS = (0.8, 0.95)  # AdamW's two decay rates
X0_BETAS = (0.96, 0.95)  # the same for the shares of the first layer's input
ADAM_EPS = 1e-10  # AdamW's guard against division by zero
MOMENTUM_START = 0.85  # Muon's momentum at the first step
MOMENTUM = 0.95  # Muon's momentum after the ramp
MOMENTUM_STEPS = 200  # length of the ramp [mar8]
MUON_BETA2 = 0.95  # decay rate of NorMuon's second moment
POLAR_STEPS = 5  # Polar Express iterations, at most 5

# Schedule, in shares of the budget
WARMUP_RATIO = 0.0  # learning rates rise from 0
WARMDOWN_RATIO = 0.75  # learning rates fall at the end [mar8]
FINAL_LR_FRAC = 0.05  # down to this share [mar8]

# What a search has no business with is lower case.
started = time.time()
device = "cuda" if torch.cuda.is_available() else "cpu"
on_gpu = device == "cuda"
dtype = torch.bfloat16 if on_gpu else torch.float32  # of activations and of matrix products
window_kernel = "flex" if on_gpu else "sdpa"  # "flex": FlexAttention skips what is masked; "sdpa": a boolean mask
prefer_cudnn = False  # full attention through cuDNN's kernel where SDPA can choose
peak_flops = 989.5e12  # dense bf16 of an H100 or H200 SXM; what mfu is a share of
step_budget = getattr(prepare, "STEP_BUDGET", 0)  # counted steps that replace TIME_BUDGET; 0: none


# ---- model ---------------------------------------------------------------------------------------------------------

if on_gpu:
    torch._dynamo.config.recompile_limit = 64  # graphs of a function: blocks are of several kinds


def kernel(function):
    """A function that is compiled where there is a GPU. What is compiled in parts is compiled sooner."""
    return torch.compile(function, dynamic=False, fullgraph=True) if on_gpu else function


def rms_norm(x):
    return F.rms_norm(x, (x.size(-1),))


def rotate(x, cos, sin):
    """Rotary embedding of x (B, T, H, D); cos and sin are (T, 1, D/2)."""
    a, b = x.chunk(2, dim=-1)
    return torch.cat((a * cos + b * sin, b * cos - a * sin), dim=-1)


def has_value_embedding(layer):
    """Every second layer, counted from the last."""
    return (DEPTH - 1 - layer) % 2 == 0


def layer_windows():
    """How many tokens back each layer sees; at least MAX_SEQ_LEN means all. ValueError for another letter."""
    if not WINDOW_PATTERN or set(WINDOW_PATTERN) - set("SL"):
        raise ValueError(f"WINDOW_PATTERN is made of S and L, not {WINDOW_PATTERN!r}")
    spans = {"S": min(SHORT_WINDOW, MAX_SEQ_LEN), "L": MAX_SEQ_LEN}
    return [spans[WINDOW_PATTERN[i % len(WINDOW_PATTERN)]] for i in range(DEPTH - 1)] + [MAX_SEQ_LEN]


class Linear(nn.Module):
    """x (..., fan_in) -> (..., fan_out); an fp32 weight that multiplies in x's type."""

    def __init__(self, fan_in, fan_out):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(fan_out, fan_in))

    def forward(self, x):
        return F.linear(x, self.weight.to(x.dtype))


class Attention(nn.Module):
    """Causal attention over x (B, T, C), queries and keys rotated and normed, within `window` tokens back."""

    def __init__(self, width, window, gated):
        super().__init__()
        self.heads = width // HEAD_DIM
        self.window = window
        self.query = Linear(width, width)
        self.key = Linear(width, width)
        self.value = Linear(width, width)
        self.out = Linear(width, width)
        self.gate = Linear(min(GATE_CHANNELS, width), self.heads) if gated else None

    def forward(self, x, tokens, table, cos, sin, masks):
        B, T, C = x.shape
        shape = (B, T, self.heads, C // self.heads)
        q = rms_norm(rotate(self.query(x).view(shape), cos, sin))
        k = rms_norm(rotate(self.key(x).view(shape), cos, sin))
        v = self.value(x).view(shape)
        if self.gate is not None:
            gate = 2 * torch.sigmoid(self.gate(x[..., : self.gate.weight.size(1)]))  # 1 at the start
            v = v + gate.unsqueeze(-1) * F.embedding(tokens, table).view(shape)
        q, k, v = (t.to(v.dtype).transpose(1, 2) for t in (q, k, v))
        if self.window >= T:
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        elif self.window in masks and T == MAX_SEQ_LEN and torch.compiler.is_compiling():
            y = flex_attention(q, k, v, block_mask=masks[self.window])
        else:
            back = torch.arange(T, device=x.device).view(T, 1) - torch.arange(T, device=x.device)
            y = F.scaled_dot_product_attention(q, k, v, attn_mask=(back >= 0) & (back <= self.window))
        return self.out(y.transpose(1, 2).reshape(B, T, C))


class Block(nn.Module):
    """A layer: x is the stream, `added` what the layer before is still to add to it. Gives both for the next one.

    Blocks are compiled by themselves, once for each kind. Two of them meet at the result of a matrix product, which is
    written to memory in any case, so that what stands on either side of it is fused as if there were no blocks.
    """

    def __init__(self, width, window, gated):
        super().__init__()
        self.attention = Attention(width, window, gated)
        self.up = Linear(width, MLP_RATIO * width)
        self.down = Linear(MLP_RATIO * width, width)

    @kernel
    def forward(self, x, added, x0, scale, share, tokens, table, cos, sin, masks):
        x = scale * (x + added) + share * x0
        x = x + self.attention(rms_norm(x), tokens, table, cos, sin, masks)
        return x, self.down(F.relu(self.up(rms_norm(x))).square())


def band_mask(window):
    """FlexAttention's mask for a causal window; query i sees keys i - window to i."""

    def visible(batch, head, query, key):
        return (key <= query) & (query - key <= window)

    return create_block_mask(visible, None, None, MAX_SEQ_LEN, MAX_SEQ_LEN, device=device)


@kernel
def embed(tokens, table):
    return rms_norm(F.embedding(tokens, table))


@kernel
def finish(x, added, head, targets, reduction):
    """The stream's logits, or what GPT gives for targets."""
    capped = (head / SOFTCAP).to(x.dtype)  # dividing the logits instead would be one more pass over them
    logits = SOFTCAP * torch.tanh(F.linear(rms_norm(x + added), capped).float())
    if targets is None:
        return logits
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=-1, reduction=reduction)


class GPT(nn.Module):
    """model(tokens) gives fp32 logits (B, T, vocabulary); model(tokens, targets) the loss in nats.

    reduction "mean" is a scalar, "none" (B * T,). A target of -1 is ignored.
    """

    def __init__(self, vocab_size):
        super().__init__()
        self.width = -(-MODEL_DIM // HEAD_DIM) * HEAD_DIM
        self.windows = layer_windows()
        self.wte = nn.Parameter(torch.empty(vocab_size, self.width, dtype=dtype))
        self.value_embeds = nn.ParameterDict(
            {
                str(i): nn.Parameter(torch.empty(vocab_size, self.width, dtype=dtype))
                for i in range(DEPTH)
                if has_value_embedding(i)
            }
        )
        self.blocks = nn.ModuleList(Block(self.width, w, has_value_embedding(i)) for i, w in enumerate(self.windows))
        self.head = Linear(self.width, vocab_size)
        self.residual_scale = nn.Parameter(torch.ones(DEPTH))
        self.x0_scale = nn.Parameter(torch.full((DEPTH,), X0_INIT))
        angles = torch.outer(
            torch.arange(MAX_SEQ_LEN).float(), ROPE_BASE ** -(torch.arange(0, HEAD_DIM, 2).float() / HEAD_DIM)
        ).unsqueeze(1)
        self.register_buffer("cos", angles.cos().to(dtype), persistent=False)
        self.register_buffer("sin", angles.sin().to(dtype), persistent=False)
        self.masks = {}

    @torch.no_grad()
    def init_weights(self):
        """Uniform matrices, zero where a block writes to the stream and in the gates; masks for the windows."""
        bound = INIT_SCALE * (3 / self.width) ** 0.5
        self.wte.normal_(0, EMBED_INIT_STD)
        self.head.weight.normal_(0, HEAD_INIT_STD)
        for table in self.value_embeds.values():
            table.uniform_(-bound, bound)
        for block in self.blocks:
            a = block.attention
            for matrix in (a.query, a.key, a.value, block.up):
                matrix.weight.uniform_(-bound, bound)
            for matrix in (a.out, a.gate, block.down):
                if matrix is not None:
                    matrix.weight.zero_()
        if window_kernel == "flex" and MAX_SEQ_LEN % 128 == 0:
            self.masks = {w: band_mask(w) for w in set(self.windows) if w < MAX_SEQ_LEN}

    def forward(self, tokens, targets=None, reduction="mean"):
        T = tokens.size(1)
        cos, sin = self.cos[:T], self.sin[:T]
        # An evaluation runs the blocks that training has compiled: without gradients they would be traced anew.
        alone = on_gpu and not torch.is_grad_enabled()
        with torch.enable_grad() if alone else nullcontext():
            x = x0 = embed(tokens, self.wte)
            added = torch.zeros_like(x)
            scales, shares = self.residual_scale.unbind(), self.x0_scale.unbind()
            for i, block in enumerate(self.blocks):
                table = self.value_embeds[str(i)] if has_value_embedding(i) else None
                x, added = block(x, added, x0, scales[i], shares[i], tokens, table, cos, sin, self.masks)
                if alone:  # what backward would need of the block is freed
                    x, added = x.detach().requires_grad_(), added.detach().requires_grad_()
        return finish(x, added, self.head.weight, targets, reduction)

    def flops_per_token(self):
        """Forward and backward: 6 per weight of a matrix product, 12 x width x window for the attention scores."""
        weights = sum(p.numel() for p in self.blocks.parameters()) + self.head.weight.numel()
        return 6 * weights + sum(12 * self.width * window for window in self.windows)


# ---- optimizer -----------------------------------------------------------------------------------------------------

# Polar Express: X <- a X + (b A + c A A) X with A = X X', one (a, b, c) per iteration.
polar_a = (8.156554524902461, 4.042929935166739, 3.8916678022926607, 3.285753657755655, 2.3465413258596377)
polar_b = (-22.48329292557795, -2.808917465908714, -2.772484153217685, -2.3681294933425376, -1.7097828382687081)
polar_c = (15.878769915207462, 0.5000178451051316, 0.5060648178503393, 0.46449024233003106, 0.42323551169305323)
polar = list(zip(polar_a, polar_b, polar_c, strict=True))


def orthogonalize(update):
    """The nearest (semi-)orthogonal matrix to each of update (N, R, C), roughly: singular values near 1."""
    x = update.to(dtype)
    tall = x.size(-2) > x.size(-1)
    if tall:
        x = x.mT
    x = x / (1.02 * x.norm(dim=(-2, -1), keepdim=True) + 1e-6)
    for a, b, c in polar[:POLAR_STEPS]:
        gram = x @ x.mT
        x = a * x + (b * gram + c * (gram @ gram)) @ x
    return x.mT if tall else x


@kernel
def muon_update(weights, grads, momentum, second, lr, decay, mu):
    """One Muon step on a stack of matrices, in place. All (N, R, C) but `second`, (N, R, 1) or (N, 1, C), fp32.

    lr, decay and mu are 0-d tensors on the CPU, so that a changed value compiles nothing anew.
    """
    momentum.lerp_(grads, 1 - mu)
    update = orthogonalize(torch.lerp(grads, momentum, mu)).float()  # Nesterov's look ahead
    # NorMuon: divide each row (or column) by its running size, and keep the whole matrix's size.
    along = -1 if second.size(-1) == 1 else -2
    power = update.square().mean(dim=along, keepdim=True)
    second.lerp_(power, 1 - MUON_BETA2)
    scale = second.clamp_min(1e-10).rsqrt()
    before = power.sum(dim=(-2, -1), keepdim=True).sqrt()
    after = (power * scale.square()).sum(dim=(-2, -1), keepdim=True).sqrt()
    update = update * scale * (before / after.clamp_min(1e-10))
    # Cautious decay: only where the step shrinks the weight as well.
    shrinking = (update * weights) >= 0
    weights.sub_(lr * (update + decay * weights * shrinking))


@kernel
def adamw_update(weight, grad, first, second, lr, decay, fix1, fix2, beta1: float, beta2: float):
    """One AdamW step in place. The moments are fp32; fix1 and fix2 are 1 - beta ** step; scalars as in muon_update."""
    grad = grad.float()
    first.lerp_(grad, 1 - beta1)
    second.lerp_(grad.square(), 1 - beta2)
    change = first / fix1 / ((second / fix2).sqrt() + ADAM_EPS)
    weight.copy_(weight.float() * (1 - lr * decay) - lr * change)


class MuonAndAdamW(torch.optim.Optimizer):
    """Muon for groups with "momentum", whose parameters share one shape; AdamW for groups with "betas"."""

    def __init__(self, groups):
        super().__init__(groups, {})
        for group in self.param_groups:
            group["initial_lr"] = group["lr"]
        self.knobs = {}  # 0-d CPU tensors by name: the same objects every step

    def knob(self, name, value):
        return self.knobs.setdefault(name, torch.tensor(0.0)).fill_(value)

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            (self.step_muon if "momentum" in group else self.step_adamw)(group)

    def step_muon(self, group):
        weights = group["params"]
        rows, columns = weights[0].shape
        stack = torch.stack(weights)
        state = self.state[weights[0]]
        if not state:
            state["momentum"] = torch.zeros_like(stack)
            state["second"] = torch.zeros_like(stack[..., :1] if rows >= columns else stack[:, :1])
        muon_update(
            stack,
            torch.stack([w.grad for w in weights]),
            state["momentum"],
            state["second"],
            self.knob("muon lr", group["lr"] * max(1.0, rows / columns) ** 0.5),
            self.knob("muon decay", group["weight_decay"]),
            self.knob("muon momentum", group["momentum"]),
        )
        torch._foreach_copy_(weights, list(stack.unbind()))

    def step_adamw(self, group):
        beta1, beta2 = group["betas"]
        for weight in group["params"]:
            state = self.state[weight]
            if not state:
                state["step"] = 0
                state["first"] = torch.zeros_like(weight, dtype=torch.float32)
                state["second"] = torch.zeros_like(weight, dtype=torch.float32)
            state["step"] += 1
            adamw_update(
                weight,
                weight.grad,
                state["first"],
                state["second"],
                self.knob("lr", group["lr"]),
                self.knob("decay", group["weight_decay"]),
                self.knob("fix1", 1 - beta1 ** state["step"]),
                self.knob("fix2", 1 - beta2 ** state["step"]),
                beta1,
                beta2,
            )


def make_optimizer(model):
    """Every parameter in one group: Muon by shape, AdamW by role."""
    scale = (model.width / 768) ** -0.5

    def adamw(params, lr, decay=0.0, betas=ADAM_BETAS):
        return {"params": list(params), "lr": lr, "betas": betas, "weight_decay": decay}

    groups = [
        adamw([model.head.weight], UNEMBEDDING_LR * scale, UNEMBEDDING_WEIGHT_DECAY),
        adamw([model.wte], EMBEDDING_LR * scale, EMBEDDING_WEIGHT_DECAY),
        adamw(model.value_embeds.values(), EMBEDDING_LR * scale, VALUE_WEIGHT_DECAY),
        adamw([model.residual_scale], SCALAR_LR * 0.01),
        adamw([model.x0_scale], SCALAR_LR, betas=X0_BETAS),
    ]
    matrices = {}
    for weight in model.blocks.parameters():
        matrices.setdefault(tuple(weight.shape), []).append(weight)
    for same in matrices.values():
        groups.append({"params": same, "lr": MATRIX_LR, "momentum": MOMENTUM_START, "weight_decay": WEIGHT_DECAY})
    return MuonAndAdamW(groups)


# ---- training ------------------------------------------------------------------------------------------------------


def lr_multiplier(progress):
    """What the learning rates are multiplied by at a share of the budget, 0 to 1."""
    if progress < WARMUP_RATIO:
        return progress / WARMUP_RATIO
    left = 1.0 - progress
    if left >= WARMDOWN_RATIO:
        return 1.0
    return FINAL_LR_FRAC + (1.0 - FINAL_LR_FRAC) * left / WARMDOWN_RATIO


def set_schedule(optimizer, progress, step):
    """Learning rates and Muon's decay follow the budget, its momentum the steps. Returns the rates' multiplier."""
    multiplier = lr_multiplier(progress)
    ramp = min(step / max(1, MOMENTUM_STEPS), 1.0)
    groups = optimizer.param_groups
    for group in groups:
        group["lr"] = group["initial_lr"] * multiplier
        if "momentum" in group:
            group["momentum"] = MOMENTUM_START + (MOMENTUM - MOMENTUM_START) * ramp
            group["weight_decay"] = WEIGHT_DECAY * (1 - progress)
    return multiplier


def micro_batches():
    """Sequences per forward pass, and forward passes per optimizer step: one where the whole batch is the smaller.

    ValueError where the batch sizes do not divide.
    """
    sequences = min(DEVICE_BATCH_SIZE, max(TOTAL_BATCH_SIZE // MAX_SEQ_LEN, 1))
    count, rest = divmod(TOTAL_BATCH_SIZE, sequences * MAX_SEQ_LEN)
    if rest or not count:
        raise ValueError(
            f"TOTAL_BATCH_SIZE = {TOTAL_BATCH_SIZE} is no multiple of DEVICE_BATCH_SIZE x MAX_SEQ_LEN = "
            f"{sequences} x {MAX_SEQ_LEN}"
        )
    return sequences, count


def synchronize():
    if on_gpu:
        torch.cuda.synchronize()


def train(model, optimizer, batches, flops):
    """The counted loop. Returns (steps, counted seconds, counted steps); exits 1 when the loss diverges."""
    _, accumulate = micro_batches()
    x, y, epoch = next(batches)
    print(f"budget: {f'{step_budget} steps' if step_budget else f'{TIME_BUDGET} s'}, {accumulate} micro batches a step")
    step, counted, seconds, smooth = 0, 0, 0.0, 0.0
    while True:
        synchronize()
        begun = time.perf_counter()
        total = 0.0
        for _ in range(accumulate):
            loss = model(x, y) / accumulate
            loss.backward()
            total = total + loss.detach()
            x, y, epoch = next(batches)
        progress = min(1.0, counted / step_budget if step_budget else seconds / TIME_BUDGET)
        multiplier = set_schedule(optimizer, progress, step)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss_now = float(total)
        if not loss_now <= 100:  # NaN too
            print("FAIL")
            sys.exit(1)
        synchronize()
        spent = time.perf_counter() - begun
        if step >= UNCOUNTED_STEPS:
            seconds += spent
            counted += 1

        smooth += 0.1 * (loss_now - smooth)
        rate = TOTAL_BATCH_SIZE / spent
        left = (
            max(0.0, seconds / counted * (step_budget - counted) if counted else 0)
            if step_budget
            else max(0.0, TIME_BUDGET - seconds)
        )
        fields = [
            f"step {step:05d} ({100 * progress:.1f}%)",
            f"loss: {smooth / (1 - 0.9 ** (step + 1)):.6f}",
            f"lrm: {multiplier:.2f}",
            f"dt: {1000 * spent:.0f}ms",
            f"tok/sec: {int(rate):,}",
            f"mfu: {mfu_percent(flops, rate):.1f}%",
            f"epoch: {epoch}",
            f"remaining: {left:.0f}s",
        ]
        print("\r" + " | ".join(fields), end="    ", flush=True)

        if step == 0:  # a collection in mid-run costs half a second
            gc.collect()
            gc.freeze()
            gc.disable()
        step += 1
        if step % 5000 == 0:
            gc.collect()
        if counted >= step_budget if step_budget else step >= UNCOUNTED_STEPS and seconds >= TIME_BUDGET:
            print()
            return step, seconds, counted


def mfu_percent(flops, tokens_per_second):
    """Model flops as a percentage of the GPU's peak; 0 on a CPU."""
    return 100 * flops * tokens_per_second / peak_flops if on_gpu else 0.0


def build_model(tokenizer):
    """The model with its first weights, as evaluate_bpb gets it. An audit puts saved ones there."""
    with torch.device(device):
        model = GPT(tokenizer.get_vocab_size())
    model.init_weights()
    return model


def main():
    torch.manual_seed(42)
    torch.set_float32_matmul_precision(precision="high")
    if prefer_cudnn:
        torch.backends.cuda.enable_flash_sdp(False)
        torch.backends.cuda.enable_mem_efficient_sdp(False)
    tokenizer = prepare.Tokenizer.from_directory()
    model = build_model(tokenizer)
    optimizer = make_optimizer(model)
    parameters = sum(p.numel() for p in model.parameters())
    flops = model.flops_per_token()
    print(
        f"resolved: depth={DEPTH} model_dim={model.width} heads={model.width // HEAD_DIM} windows={model.windows} "
        f"vocab_size={tokenizer.get_vocab_size()} parameters={parameters} flops_per_token={flops} device={device}"
    )
    sequences, _ = micro_batches()
    batches = make_dataloader(tokenizer, sequences, MAX_SEQ_LEN, "train")
    steps, seconds, counted = train(model, optimizer, batches, flops)

    # Give back what training held, so that another trial can start up while this one is scored.
    del batches
    model.eval()
    if on_gpu:
        torch.cuda.empty_cache()
    val_bpb = evaluate_bpb(model, tokenizer, sequences)

    corrected = getattr(prepare, "last_corrected_bpb", None)
    peak = torch.cuda.max_memory_allocated() / 2**20 if on_gpu else 0.0
    mfu = mfu_percent(flops, TOTAL_BATCH_SIZE * counted / seconds) if seconds else 0.0
    summary = {
        "val_bpb": f"{val_bpb:.6f}",
        "training_seconds": f"{seconds:.1f}",
        "total_seconds": f"{time.time() - started:.1f}",
        "peak_vram_mb": f"{peak:.1f}",
        "mfu_percent": f"{mfu:.2f}",
        "total_tokens_M": f"{steps * TOTAL_BATCH_SIZE / 1e6:.1f}",
        "num_steps": f"{steps}",
        "num_params_M": f"{parameters / 1e6:.1f}",
        "depth": f"{DEPTH}",
    }
    if corrected is not None:
        summary["val_bpb_corrected"] = f"{corrected:.6f}"
    print("---")
    for name, value in summary.items():
        print(f"{name + ':':<17} {value}")


if __name__ == "__main__":
    main()
