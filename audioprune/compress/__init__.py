"""Compression of any ``torch.nn.Module``: masks, units, criteria, searches, shared values.

The library knows nothing of audio, corpora or pipelines. A module imports only those above it.

Plain modules:
    eval_mode: look at a model without training it
    schedule: how much is pruned at which epoch
    ties: parameters that share memory
    weight_norm: fold weight normalisation into plain weights
    masks: ``Mask``, the kept weights of a model, and which weights may be pruned
    select: scores -> kept positions, by exact counts, sparsities and thresholds

quantize, weights as few shared values:
    kmeans: k-means in one dimension, and ``quantize_`` for a model
    kmeans_kernels: its compiled loops

units, parts of a model that live or die together:
    declare: ``UnitSet`` and ``Slice``, and what a model declares
    builders: the slices of standard layers in few words
    chains: the units of a plain chain of layers
    derive: the units of an unknown model, from one traced forward pass, proved
    trace: what every operation of a pass does with units, one file of rules per kind
    explain: what each layer writes and reads, or why it has no units
    verify: proof that units are complete
    find: ``unit_sets_of`` any model, declared or derived and proved
    weight_groups: rows, filters, kernels or whole units as groups of weights
    module_sizes: sizes that modules store beside their tensors
    freed_parameters: how many parameters leave with units
    zero: masked units, and units that are dead
    trim: take units out of a model for real
    trimmed_layers: norms that count what left, and attention with fewer heads

Above units:
    penalties: l1 and sparse group lasso, added to a training loss
    weight_summary: a table of the sparsity of every weight

criteria, how important a weight or unit is:
    data: the validation data of a criterion
    activations: where the output of a unit can be read
    mutual_information: the estimator EDGE
    information: units scored by what they tell about the target
    importance: all other scores, and ``criterion(of, name)`` to look one up

search, a model measured while one tensor at a time is changed:
    perturbed_loss: the loss, with no more work than a decision needs
    candidates: what may be removed step by step
    sensitivity: how much of each tensor can go
    cluster_counts: how many shared values each tensor needs
    budget: the smallest file while a score drops no further than allowed

Above all:
    lottery: which units or weights the next lottery ticket keeps
"""
