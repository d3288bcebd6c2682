"""train.py: the model's causality and windows, the optimizer against plain references, whole runs."""

import os
import re
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

import torch
from common import prepare, prepared_cache, train, write_workspace
from torch.optim.optimizer import register_optimizer_step_post_hook


def random_model(vocab=64, **constants):
    """A model with nothing left at zero, so that every path carries signal."""
    with mock.patch.multiple(train, **{"DEPTH": 2, **constants}):
        torch.manual_seed(0)
        model = train.GPT(vocab)
        model.init_weights()
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p) * 0.2)
    return model


class Model(unittest.TestCase):
    def losses(self, model, tokens):
        with torch.no_grad():
            return model(tokens[:, :-1], tokens[:, 1:], reduction="none").view(len(tokens), -1)

    def test_the_future_does_not_reach_the_past(self):
        model = random_model()
        tokens = torch.randint(64, (2, 33))
        before = self.losses(model, tokens)
        for at in (1, 7, 20, 31):
            changed = tokens.clone()
            changed[:, at] = (changed[:, at] + 1) % 64
            after = self.losses(model, changed)
            self.assertTrue(torch.equal(before[:, : at - 1], after[:, : at - 1]), at)
            self.assertFalse(torch.equal(before[:, at:], after[:, at:]), at)

    def test_a_window_ends_where_it_should(self):
        # One windowed layer and no path through a full one: the last layer is always full, so look at its input.
        model = random_model()
        attention, T = model.blocks[0].attention, 32
        self.assertEqual(model.windows, [8, 32])
        x, tokens, table = torch.randn(1, T, 32), torch.randint(64, (1, T)), torch.randn(64, 32)
        cos, sin = model.cos, model.sin
        with torch.no_grad():
            before = attention(x, tokens, table, cos, sin, {})
            changed = x.clone()
            changed[0, 10] += 1
            moved = (attention(changed, tokens, table, cos, sin, {}) - before).abs().sum(-1)[0] > 0
        self.assertEqual(moved.nonzero().flatten().tolist(), list(range(10, 19)))

    def test_flex_attention_sees_the_same_as_the_mask(self):
        from torch.nn.attention import flex_attention

        tokens = torch.randint(64, (2, 257))
        sizes = {"MAX_SEQ_LEN": 256, "SHORT_WINDOW": 100}
        plain = random_model(**sizes)
        flex = {"create_block_mask": flex_attention.create_block_mask, "flex_attention": flex_attention.flex_attention}
        with (
            mock.patch.multiple(train, create=True, **flex),
            mock.patch.object(flex_attention, "_validate_device", lambda *_: None),  # it refuses gradients on a CPU
            mock.patch.multiple(train, window_kernel="flex", **sizes),
        ):
            masked = random_model(window_kernel="flex", **sizes)
            self.assertEqual(list(masked.masks), [100])
            # The compiler's front end traces it as on a GPU; the kernel is run by definition.
            compiled = torch.compile(masked, backend="eager", dynamic=False, fullgraph=True)
            loss = compiled(tokens[:, :-1], tokens[:, 1:])
            loss.backward()
        expected = plain(tokens[:, :-1], tokens[:, 1:])
        expected.backward()
        torch.testing.assert_close(loss, expected, atol=1e-5, rtol=1e-5)
        for p, q in zip(masked.parameters(), plain.parameters(), strict=True):
            torch.testing.assert_close(p.grad, q.grad, atol=1e-4, rtol=1e-3)

    def test_losses_are_a_distribution_and_logits_agree(self):
        model = random_model()
        tokens = torch.randint(64, (1, 9))
        with torch.no_grad():
            logits = model(tokens[:, :-1])
            each = torch.stack([model(tokens[:, :-1], torch.full((1, 8), t), reduction="none") for t in range(64)])
        torch.testing.assert_close((-each).exp().sum(0), torch.ones(8))
        self.assertLessEqual(logits.abs().max().item(), train.SOFTCAP)
        self.assertEqual(tuple(logits.shape), (1, 8, 64))

    def test_bad_constants_are_named(self):
        said = "WINDOW_PATTERN is made of S and L, not 'SX'"
        with mock.patch.object(train, "WINDOW_PATTERN", "SX"), self.assertRaisesRegex(ValueError, said):
            train.GPT(8)
        said = "TOTAL_BATCH_SIZE = 100 is no multiple of"
        with mock.patch.object(train, "TOTAL_BATCH_SIZE", 100), self.assertRaisesRegex(ValueError, said):
            train.micro_batches()

    def test_a_small_batch_is_one_pass(self):
        tokens = train.MAX_SEQ_LEN
        for total, device, want in ((8, 4, (4, 2)), (8, 8, (8, 1)), (4, 8, (4, 1)), (1, 8, (1, 1))):
            with (
                mock.patch.object(train, "TOTAL_BATCH_SIZE", total * tokens),
                mock.patch.object(train, "DEVICE_BATCH_SIZE", device),
            ):
                self.assertEqual(train.micro_batches(), want)


def plain_muon(weight, grad, momentum, second, lr, decay, mu):
    """Muon on one matrix in double precision, by singular values where train.py iterates."""
    momentum.mul_(mu).add_(grad, alpha=1 - mu)
    look = (1 - mu) * grad + mu * momentum
    u, s, v = torch.linalg.svd(look, full_matrices=False)
    s = s / (1.02 * look.norm() + 1e-6)
    for a, b, c in train.polar:
        s = a * s + b * s**3 + c * s**5
    update = u @ torch.diag(s) @ v
    axis = 1 if weight.size(0) >= weight.size(1) else 0
    power = update.square().mean(axis, keepdim=True)
    second.mul_(train.MUON_BETA2).add_(power, alpha=1 - train.MUON_BETA2)
    scaled = update / second.clamp_min(1e-10).sqrt()
    update = scaled * update.norm() / scaled.norm()
    weight -= lr * update + lr * decay * weight * (update * weight >= 0)


class Optimizer(unittest.TestCase):
    def test_muon_equals_a_plain_one(self):
        dice = torch.Generator().manual_seed(5)
        for shape in ((12, 12), (24, 8), (8, 24)):
            weights = [torch.nn.Parameter(torch.randn(shape, generator=dice)) for _ in range(3)]
            group = {"params": weights, "lr": 0.02, "momentum": 0.9, "weight_decay": 0.1}
            optimizer = train.MuonAndAdamW([group])
            plain = [w.detach().double() for w in weights]
            moments = [torch.zeros(shape).double() for _ in weights]
            seconds = [torch.zeros((shape[0], 1) if shape[0] >= shape[1] else (1, shape[1])).double() for _ in weights]
            for _ in range(4):
                for w, p, m, s in zip(weights, plain, moments, seconds, strict=True):
                    w.grad = torch.randn(shape, generator=dice)
                    plain_muon(p, w.grad.double(), m, s, 0.02 * max(1, shape[0] / shape[1]) ** 0.5, 0.1, 0.9)
                optimizer.step()
                for w, p in zip(weights, plain, strict=True):
                    torch.testing.assert_close(w.detach().double(), p, atol=2e-4, rtol=1e-3)

    def test_adamw_equals_torchs(self):
        start = torch.randn(7, 5)
        ours, theirs = torch.nn.Parameter(start.clone()), torch.nn.Parameter(start.clone())
        group = {"params": [ours], "lr": 0.03, "betas": (0.8, 0.95), "weight_decay": 0.1}
        mine = train.MuonAndAdamW([group])
        reference = torch.optim.AdamW([theirs], lr=0.03, betas=(0.8, 0.95), eps=train.ADAM_EPS, weight_decay=0.1)
        for _ in range(6):
            ours.grad = torch.randn(7, 5)
            theirs.grad = ours.grad.clone()
            mine.step()
            reference.step()
        torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)

    def test_every_parameter_is_in_one_group(self):
        model = random_model()
        optimizer = train.make_optimizer(model)
        grouped = [id(p) for group in optimizer.param_groups for p in group["params"]]
        self.assertEqual(sorted(grouped), sorted(id(p) for p in model.parameters()))
        self.assertEqual([sum("momentum" in g for g in optimizer.param_groups)], [4])

    def test_the_global_hook_fires_once_a_step_after_the_batches(self):
        events = []
        with prepared_cache(), mock.patch.object(train, "step_budget", 3):
            tokenizer = prepare.Tokenizer.from_directory()
            model = random_model(prepare.VOCAB_SIZE)
            optimizer = train.make_optimizer(model)

            def batches():
                for batch in prepare.make_dataloader(tokenizer, 8, 32, "train"):
                    events.append("batch")
                    yield batch

            handle = register_optimizer_step_post_hook(lambda *_: events.append("step"))
            self.addCleanup(handle.remove)
            with mock.patch("sys.stdout"):
                steps, seconds, counted = train.train(model, optimizer, batches(), 1)
        self.assertEqual((steps, counted), (prepare.UNCOUNTED_STEPS + 3, 3))
        self.assertGreater(seconds, 0)
        self.assertEqual(events, ["batch"] + ["batch", "batch", "step"] * steps)

    def test_schedule(self):
        with mock.patch.multiple(train, WARMUP_RATIO=0.1, WARMDOWN_RATIO=0.5, FINAL_LR_FRAC=0.2):
            shape = [round(train.lr_multiplier(p), 6) for p in (0, 0.05, 0.1, 0.5, 0.75, 1.0)]
        self.assertEqual(shape, [0.0, 0.5, 1.0, 1.0, 0.6, 0.2])


class WholeRun(unittest.TestCase):
    def run_script(self, folder, cache):
        env = {**os.environ, "AUTORESEARCH_CACHE": cache, "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "train.py"]
        return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False)

    def test_a_step_budget_gives_the_same_losses_twice(self):
        with prepared_cache() as cache, tempfile.TemporaryDirectory() as folder:
            write_workspace(folder, STEP_BUDGET=6)
            runs = [self.run_script(folder, cache) for _ in range(2)]
        curves = [re.findall(r"step (\d{5}) \((\S+)%\) \| loss: (\S+)", r.stdout) for r in runs]
        first = prepare.UNCOUNTED_STEPS
        self.assertEqual(len(curves[0]), first + 6, runs[0].stderr)
        self.assertEqual(curves[0], curves[1])
        self.assertEqual([p for _, p, _ in curves[0]][first - 1 : first + 2], ["0.0", "0.0", "16.7"])
        summaries = [dict(re.findall(r"(?m)^(\w+): +(\S+)$", r.stdout.split("---\n")[1])) for r in runs]
        names = "val_bpb training_seconds total_seconds peak_vram_mb mfu_percent total_tokens_M num_steps num_params_M"
        self.assertEqual(list(summaries[0]), [*names.split(), "depth", "val_bpb_corrected"])
        self.assertEqual(summaries[0]["val_bpb"], summaries[1]["val_bpb"])
        self.assertEqual((summaries[0]["num_steps"], summaries[0]["depth"]), (f"{first + 6}", "2"))
        self.assertGreaterEqual(float(summaries[0]["val_bpb_corrected"]), float(summaries[0]["val_bpb"]))
        line = (
            r"\rstep \d{5} \(\d+\.\d%\) \| loss: \d+\.\d{6} \| lrm: \d\.\d\d \| dt: \d+ms \| tok/sec: [\d,]+ "
            r"\| mfu: \d+\.\d% \| epoch: \d+ \| remaining: \d+s    "
        )
        self.assertRegex(runs[0].stdout.replace("\n", "\r"), line)

    def test_divergence_prints_fail_and_exits_1(self):
        with prepared_cache() as cache, tempfile.TemporaryDirectory() as folder:
            write_workspace(folder, STEP_BUDGET=3, SOFTCAP=1e9, HEAD_INIT_STD=1000.0)
            run = self.run_script(folder, cache)
        self.assertEqual((run.returncode, run.stdout.rstrip().split("\n")[-1]), (1, "FAIL"), run.stderr)


if __name__ == "__main__":
    unittest.main()
