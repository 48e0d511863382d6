#!/bin/bash
# Synthesize speech, then train on it: run.sh FILES WORK LANGUAGE UNTIL NAME:GPU:WEIGHTS...
# FILES has kokoro.onnx styles.npz kokoro-vocab.json joe.json items-LANGUAGE.jsonl.xz, and for en-us joe.onnx.
# A training for each NAME on its GPU, until UNTIL (seconds since 1970); its snapshots and log are in WORK/NAME.
# WEIGHTS: a pattern; without them the alignment is learned first, as it is for another language than the weights'.
# On a machine without a GPU, SMALL=1 runs a miniature of it.
set -u
files=$1 work=$2 language=$3 until=$4
shift 4
python=${PYTHON:-python3}
mkdir -p "$work/piper" "$work/kokoro"
export OMP_NUM_THREADS=1 TORCHINDUCTOR_CACHE_DIR=$work/inductor PYTHONUNBUFFERED=1
piper_workers=${PIPER_WORKERS:-10} piper_s=700 kokoro_workers=${KOKORO_WORKERS:-6} kokoro_s=${KOKORO_S:-260}
size=(--until "$until")
if [ -n "${SMALL:-}" ]; then
  piper_workers=1 piper_s=30 kokoro_workers=1 kokoro_s=60 size=(--steps 4 --frames 900 --report 1)
fi
synth="$python -m scripts.train_tiny.synth"
common=(--config "$files/joe.json" --items "$files/items-$language.jsonl.xz")

if [ "$language" = en-us ]; then
  voices="af_bella am_michael bm_george am_onyx bf_emma am_puck bm_fable af_kore"
  nice -n 19 $synth piper --model "$files/joe.onnx" "${common[@]}" --out "$work/piper" --seconds $piper_s \
    --workers "$piper_workers" > "$work/piper.log" 2>&1 &
else  # one voice is French; its means with others speak French, too
  voices="ff_siwis ff_siwis ff_siwis ff_siwis ff_siwis+am_michael ff_siwis+bm_george ff_siwis+af_bella ff_siwis+am_onyx"
fi

kokoro() {
  local model=(--model "$files/kokoro.onnx" --styles "$files/styles.npz")
  while [ ! -f "$files/kokoro.onnx" ]; do sleep 1; done
  $python -m scripts.train_tiny.check_devices "${model[@]}" &&
    $synth kokoro "${common[@]}" "${model[@]}" --vocab "$files/kokoro-vocab.json" --voices $voices --backwards \
      --out "$work/kokoro" --shard 20 --seconds "$kokoro_s" --workers "$kokoro_workers"
  touch "$work/kokoro.done"
}
kokoro > "$work/kokoro.log" 2>&1 &

for training in "$@"; do
  IFS=: read -r name gpu weights <<< "$training"
  options=(--muon 8e-4)
  if [ -n "$weights" ]; then options+=(--resume "$weights"); fi
  if [ -n "$weights" ] && [ "$language" = en-us ]; then  # text spread evenly at once, half the rates
    options+=(--alpha-from 1 --muon 4e-4 --adam 2e-4)
  fi
  if [ "$language" = en-us ]; then options+=(--reload 0.1 0.3); fi  # Piper goes on speaking
  mkdir -p "$work/$name"
  CUDA_VISIBLE_DEVICES=$gpu OMP_NUM_THREADS=4 $python -m scripts.train_tiny.train --language "$language" \
    --shards "$work/piper" "$work/kokoro" --out "$work/$name" --wait-for "$work/kokoro.done" --conv plain \
    "${size[@]}" "${options[@]}" --snapshots 0.5 0.75 0.9 > "$work/$name.log" 2>&1 &
  trainings+=($!)
done
wait "${trainings[@]}"
touch "$work/train.done"
wait
