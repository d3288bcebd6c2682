"""Shows that the starter's model on CUDA, as it is compiled, sees no future token and only its windows."""

import sys

sys.path.insert(0, "configs/workspace")
import torch
import train

torch.manual_seed(1)
with torch.device("cuda"):
    model = train.GPT(8192)
model.init_weights()
with torch.no_grad():  # the initial weights let nothing of a block through
    for block in model.blocks:
        block.attention.out.weight.normal_(0, 0.05)
        block.down.weight.normal_(0, 0.05)
    model.head.weight.normal_(0, 0.05)
model.eval()
T, cut = train.MAX_SEQ_LEN, 1000
x = torch.randint(0, 8192, (4, T), device="cuda")
y = torch.randint(0, 8192, (4, T), device="cuda")
changed = x.clone()
changed[:, cut:] = torch.randint(0, 8192, (4, T - cut), device="cuda")
with torch.no_grad():
    before = model(x, y, reduction="none").view(4, T)
    after = model(changed, y, reduction="none").view(4, T)
early = (before[:, :cut] - after[:, :cut]).abs().max().item()
late = (before[:, cut:] - after[:, cut:]).abs().max().item()
print(f"windows {model.windows}: largest change of a loss before the change {early:.2e}, after it {late:.2e}")
sys.exit(0 if early < 1e-3 < late else 1)
