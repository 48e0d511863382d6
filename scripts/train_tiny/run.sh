#!/bin/bash
# Synthesize on all cores and the GPU while the model trains: run.sh FILES WORK SECONDS [WEIGHTS]
# FILES: joe.onnx joe.json items.jsonl.xz kokoro.onnx styles.npz kokoro-vocab.json
# WEIGHTS: go on from these, text spread evenly from the first update; without them the alignment is learned first.
# On a machine without a GPU, SMALL=1 runs a miniature of it.
set -u
files=$1 work=$2 seconds=$3 weights=${4:-}
python=${PYTHON:-python3}
mkdir -p "$work/joe" "$work/kokoro" "$work/out"
export OMP_NUM_THREADS=1 TORCHINDUCTOR_CACHE_DIR=$work/inductor PYTHONUNBUFFERED=1
joe_workers=10 joe_s=900 kokoro_workers=6 kokoro_s=200 size=(--seconds "$seconds")
if [ -n "${SMALL:-}" ]; then
  joe_workers=1 joe_s=30 kokoro_workers=1 kokoro_s=60 size=(--steps 4 --frames 900 --report 1)
fi
synth="$python -m scripts.train_tiny.synth"
common=(--config "$files/joe.json" --items "$files/items.jsonl.xz")

nice $synth piper --model "$files/joe.onnx" "${common[@]}" --out "$work/joe" --seconds $joe_s \
  --workers $joe_workers > "$work/joe.log" 2>&1 &

kokoro() {
  local voices=(--model "$files/kokoro.onnx" --styles "$files/styles.npz")
  local more=(--vocab "$files/kokoro-vocab.json" --out "$work/kokoro" --backwards --shard 20)
  if $python -m scripts.train_tiny.check_devices "${voices[@]}"; then
    $synth kokoro "${common[@]}" "${voices[@]}" "${more[@]}" --seconds $kokoro_s --workers $kokoro_workers
  else  # on the cores, while the model trains: a hundredth as fast
    CUDA_VISIBLE_DEVICES= $synth kokoro "${common[@]}" "${voices[@]}" "${more[@]}" --seconds 900 --workers 6 &
    sleep 90
  fi
  touch "$work/kokoro.done"
}
kokoro > "$work/kokoro.log" 2>&1 &

start=()
[ -n "$weights" ] && start=(--resume "$weights" --alpha-from 1)
OMP_NUM_THREADS=4 $python -m scripts.train_tiny.train --shards "$work/joe" "$work/kokoro" --out "$work/out" \
  --wait-for "$work/kokoro.done" --conv plain --muon 7e-4 "${size[@]}" "${start[@]}" \
  --reload 0.12 0.3 0.5 --snapshots 0.25 0.5 0.75 0.9 > "$work/train.log" 2>&1
touch "$work/train.done"
wait
