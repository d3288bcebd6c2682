from torch.optim import optimizer

__all__ = ["optimizer"]
