#!/usr/bin/env bash
# Tiny runs of all four papers and their reports, for scripts/audit.py: minutes on one core. Finished runs are skipped.
#   scripts/audit_runs.sh AUDIOPRUNE RUNS REPORTS
set -euo pipefail
aprune=$1 runs=$2 reports=$3
quiet() { "$@" >"$runs/last.log" 2>&1 || { tail -n 5 "$runs/last.log" >&2; exit 1; }; }
mkdir -p "$runs"

p2="training.epochs=3 training.finetune_epochs=1 data.minutes=2 data.speakers=6 data.train_mixtures=60 data.test_mixtures=3"
for lambda in 0 1; do
  quiet "$aprune" prune runtime.folder="$runs/p2" experiment=p2/fdnn_demo pipeline=p2_unstructured \
    pipeline.lambda_1=$lambda pipeline.max_iterations=2 model.width=48 $p2
done

p1="model.width=0.0625 task.discriminator.width=0.0625 training.epochs=4 data.train_segments=8"
quiet "$aprune" train runtime.folder="$runs/p1" experiment=p1/dcae_desk $p1
quiet "$aprune" prune runtime.folder="$runs/p1" experiment=p1/dcae_desk pipeline=p1_sensitivity \
  pipeline.calibrate.total_sparsity=0.47 pipeline.ending_epoch=4 $p1

p3="pipeline.rounds=3 pipeline.rewind=2it training.epochs=2"
for lottery in ddsp_nsynth_desk:p3_trim wavenet_nsynth_desk:p3_mask sing_nsynth_desk:p3_trim; do
  quiet "$aprune" prune runtime.folder="$runs/p3" experiment=p3/${lottery%:*} pipeline=${lottery#*:} $p3
done

p4="model.width=4 training.epochs=4 data.clips_per_class=3"
for pipeline in p4_baseline p4_reach p4_admm; do
  for seed in 0 1; do
    quiet "$aprune" prune runtime.folder="$runs/p4" experiment=p4/vgg_2018_desk pipeline=$pipeline seed=$seed $p4
  done
done

for paper in p1 p2 p3 p4; do
  quiet "$aprune" report runs="$runs/$paper" report=$paper out="$reports/$paper"
done
quiet "$aprune" report runs="$runs" report=summary out="$reports/summary"
