"""From gathered training pairs to the weights of a small UniRain, on one CPU core, over days. docs/train.md explains it.

python -m rainrag.benchmarks.campaign VERB… --pairs DIR --data DIR --work DIR

ledger    scenes of all test sets become known, so that nothing below trains on them
ingest    training pairs of every set in SETS, as datasets
render    rain on clean photographs for what the pairs lack: drops, night; and additive streaks
train     to the deadline given by --until; goes on from where it was broken off
probe     gain on held-out pairs, set by set, and what happens to clean photographs
export    the averaged weights as a folder for ``rainrag derain --weights``
"""
