"""Optimisers that train any ``torch.nn.Module`` into group sparsity: ProxSG, OBProxSG, HSPG, ADMM.

They need nothing else of the package. Hidden units of a small network, each with its weights and
its bias::

    import torch
    from audioprune.compress.units.declare import Slice, UnitSet, rows
    from audioprune.optim import HSPG, kept_units

    data = torch.Generator().manual_seed(0)
    x = torch.randn(256, 20, generator=data)
    model = torch.nn.Sequential(torch.nn.Linear(20, 64), torch.nn.ReLU(), torch.nn.Linear(64, 1))
    unit = rows(0, 64)
    hidden = UnitSet("hidden", (Slice("0.weight", 0, unit), Slice("0.bias", 0, unit)))
    optimizer = HSPG(model.named_parameters(), 0.05, lmbda=0.05, units=[hidden], prox_steps=200)
    for _ in range(600):
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(model(x), x[:, :1] - x[:, 1:2]).backward()
        optimizer.step()
    kept = kept_units(model.named_parameters(), [hidden])["hidden"].sum()
    print(f"zero units: {optimizer.group_sparsity():.0%}, kept: {kept}")

Which groups a UnitSet names is said in audioprune.compress.units.declare; how zero units leave the
model, in audioprune.compress.units.trim. A further optimiser derives from
``group_optimizer.GroupOptimizer``.
"""

from audioprune.optim.admm import ADMM
from audioprune.optim.groups import kept_units
from audioprune.optim.hspg import HSPG
from audioprune.optim.obproxsg import OBProxSG
from audioprune.optim.proxsg import ProxSG
from audioprune.optim.reach import Reachability, reachability, regulariser_reach
from audioprune.optim.trimmed import sliced_state

__all__ = [
    "ADMM",
    "HSPG",
    "OBProxSG",
    "ProxSG",
    "Reachability",
    "kept_units",
    "reachability",
    "regulariser_reach",
    "sliced_state",
]
