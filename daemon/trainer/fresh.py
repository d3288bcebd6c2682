"""Scores saved weights in a process that has trained nothing: an audit.

train.py is imported, not run, and says what its model is: build_model(tokenizer) returns it as evaluate_bpb gets it,
with any weights. What else it kept in its process while it trained is not here.
"""

import os
import sys

import prepare
import torch
import train

stance = getattr(torch.compiler, "set_stance", None)
if stance:
    stance("force_eager")  # nothing is compiled for one evaluation
saved = torch.load(os.path.join(sys.path[0], "weights.pt"), map_location="cpu", weights_only=True)
tokenizer = prepare.Tokenizer.from_directory()
model = train.build_model(tokenizer)
model.load_state_dict(saved["state"])
model.eval()
size = int(saved["batch"])
while True:
    try:
        print(f"val_bpb: {prepare.evaluate_bpb(model, tokenizer, size):.6f}")
        break
    except torch.cuda.OutOfMemoryError:  # what is not compiled takes more
        if size == 1:
            raise
        size //= 2
        torch.cuda.empty_cache()
